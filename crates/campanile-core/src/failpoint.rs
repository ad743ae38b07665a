//! Failpoints: a name for every step of the protocol at which a process may die. Owns the list of names and the one
//! function that the sites call; never decides what happens there, which whoever armed a point does. Without the
//! feature `failpoints` it is nothing: no site leaves an instruction behind, and no program can be armed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Whether this build has failpoints. A program that is shipped has none.
pub const ENABLED: bool = crate::FAILPOINTS;

/// What is done at the armed point.
pub type Act = Box<dyn Fn(Failpoint) + Send + Sync>;

struct Armed {
    point: Failpoint,
    left: AtomicU32,
    act: Act,
}

/// A process is armed once, at its start.
static ARMED: OnceLock<Armed> = OnceLock::new();

macro_rules! failpoints {
    ($(#[doc = $doc:literal] $variant:ident = $name:literal,)*) => {
        /// A step of the protocol: what has happened when it is reached.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Failpoint {
            $(#[doc = $doc] $variant,)*
        }

        impl Failpoint {
            /// All of them, in the order of a run's life.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name, for ever.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What has happened when it is reached.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $doc.trim_ascii(),)*
                }
            }
        }
    };
}

failpoints! {
    /// The lock is ours; nothing was asked of the store.
    LockAcquired = "lock.acquired",
    /// The lock was found to be still ours.
    LockRenewed = "lock.renewed",
    /// The lock was given back.
    LockReleased = "lock.released",
    /// The epoch was read; the lock is not verified.
    EpochRead = "epoch.read",
    /// A bid is about to be made.
    BeginTermBefore = "begin-term.before",
    /// The bid is written, not committed.
    BeginTermWritten = "begin-term.written",
    /// The term began; its node does not know.
    BeginTermCommitted = "begin-term.committed",
    /// The term's memory is empty; the outbox is not read.
    TermStarted = "term.started",
    /// The outbox is read; no duty runs.
    OutboxRecovered = "outbox.recovered",
    /// The term is over; the lock is still held.
    TermEnded = "term.ended",
    /// A firing is planned.
    FireBefore = "fire.before",
    /// The fence holds the leader row.
    FireFenced = "fire.fenced",
    /// The due rows are deleted.
    FireConsumed = "fire.consumed",
    /// Runs, skips and next due rows are put; no permit is given out.
    FireInserted = "fire.inserted",
    /// Runs that find their limit full are blocked.
    FireBlocked = "fire.blocked",
    /// The whole firing is written, not committed.
    FireWritten = "fire.written",
    /// The firing is committed; the planner does not know.
    FireCommitted = "fire.committed",
    /// The firing's runs are in the term's memory.
    FireAdmitted = "fire.admitted",
    /// Messages are made, none is sent.
    PublishBefore = "publish.before",
    /// The broker confirmed; nobody knows.
    PublishConfirmed = "publish.confirmed",
    /// What became of published runs is known and not recorded.
    SettleBefore = "settle.before",
    /// The fence holds the leader row.
    SettleFenced = "settle.fenced",
    /// Runs are marked queued and outbox rows removed, not committed.
    SettleWritten = "settle.written",
    /// The same, committed.
    SettleCommitted = "settle.committed",
    /// The broker has an external listener's messages; no run has ended.
    HandOverBefore = "hand-over.before",
    /// The fence holds the leader row.
    HandOverFenced = "hand-over.fenced",
    /// The runs are in history, not committed.
    HandOverWritten = "hand-over.written",
    /// The same, committed.
    HandOverCommitted = "hand-over.committed",
    /// A node is believed dead.
    EvictBefore = "evict.before",
    /// The fence holds the leader row.
    EvictFenced = "evict.fenced",
    /// The node is removed, not committed.
    EvictWritten = "evict.written",
    /// The node is removed; its runs are nobody's.
    EvictCommitted = "evict.committed",
    /// Runs that no member holds are about to be requeued.
    FinishLostBefore = "finish-lost.before",
    /// The fence holds the leader row.
    FinishLostFenced = "finish-lost.fenced",
    /// They are requeued or ended, not committed.
    FinishLostWritten = "finish-lost.written",
    /// The same, committed.
    FinishLostCommitted = "finish-lost.committed",
    /// Permits are left over.
    SweepBefore = "sweep.before",
    /// The fence holds the leader row.
    SweepFenced = "sweep.fenced",
    /// They are taken back, not committed.
    SweepWritten = "sweep.written",
    /// The same, committed.
    SweepCommitted = "sweep.committed",
    /// Somebody can carry blocked runs out; they do not go on yet.
    UnblockBefore = "unblock.before",
    /// The fence holds the leader row.
    UnblockFenced = "unblock.fenced",
    /// They have their timers, not committed.
    UnblockWritten = "unblock.written",
    /// The same, committed.
    UnblockCommitted = "unblock.committed",
    /// What becomes of rows of the inbox is decided; none is taken out.
    DrainBefore = "inbox.before",
    /// The fence holds the leader row.
    DrainFenced = "inbox.fenced",
    /// The rows are taken out; no run is put.
    DrainTaken = "inbox.taken",
    /// Runs are put and what became of the rows is kept, not committed.
    DrainWritten = "inbox.written",
    /// The same, committed; the planner does not know.
    DrainCommitted = "inbox.committed",
    /// Runs that wait for deleted tasks are found; none is cancelled.
    OrphansBefore = "orphans.before",
    /// The fence holds the leader row.
    OrphansFenced = "orphans.fenced",
    /// They are in history, not committed.
    OrphansWritten = "orphans.written",
    /// The same, committed.
    OrphansCommitted = "orphans.committed",
    /// No run waits for a deleted task, and none can come any more.
    ForgetBefore = "forget.before",
    /// The fence holds the leader row.
    ForgetFenced = "forget.fenced",
    /// The task is not looked after any more, not committed.
    ForgetWritten = "forget.written",
    /// The same, committed.
    ForgetCommitted = "forget.committed",
    /// What was planned while the store's clock was ahead is found; nothing is taken back.
    PutBackBefore = "put-back.before",
    /// The fence holds the leader row, and the edit counter is increased.
    PutBackFenced = "put-back.fenced",
    /// Runs and skips are gone; due rows stand where they stood.
    PutBackRemoved = "put-back.removed",
    /// Due rows are back, not committed.
    PutBackWritten = "put-back.written",
    /// The same, committed.
    PutBackCommitted = "put-back.committed",
    /// A batch is put back; others may be left.
    PutBackBatched = "put-back.batched",
    /// Old history is about to be removed.
    PruneBefore = "prune.before",
    /// The fence holds the leader row.
    PruneFenced = "prune.fenced",
    /// It is removed, not committed.
    PruneWritten = "prune.written",
    /// The same, committed.
    PruneCommitted = "prune.committed",
    /// The cluster's zone rules are not ours; no due row was moved.
    ZonesBefore = "zones.before",
    /// The setting says that due rows are being moved; none has moved.
    ZonesAnnounced = "zones.announced",
    /// The leader edits on somebody's behalf: nothing is begun.
    EditForBefore = "edit-for.before",
    /// The fence holds the leader row, and the edit counter is increased.
    EditForFenced = "edit-for.fenced",
    /// The edit is written, not committed.
    EditForWritten = "edit-for.written",
    /// The same, committed.
    EditForCommitted = "edit-for.committed",
    /// A due row was moved; the rules are not kept.
    ZonesMoved = "zones.moved",
    /// The rules are kept.
    ZonesKept = "zones.kept",
    /// The cluster's secret is in the store; no node runs.
    SecretKept = "secret.kept",
    /// A queue's name has its number; what names it is not written.
    QueueNamed = "queue.named",
    /// A node is about to join the members.
    JoinBefore = "join.before",
    /// It is among the members; it does not work yet.
    JoinCommitted = "join.committed",
    /// A heartbeat is due.
    HeartbeatBefore = "heartbeat.before",
    /// The heartbeat is written; its answer is not read.
    HeartbeatCommitted = "heartbeat.committed",
    /// Messages arrived; none is claimed.
    MessageReceived = "message.received",
    /// A group offers more than there are slots for; the rest is not offered again.
    OfferAgainBefore = "offer-again.before",
    /// The broker has the rest, each run alone; the group is not acknowledged.
    OfferAgainConfirmed = "offer-again.confirmed",
    /// A claim is about to be made.
    ClaimBefore = "claim.before",
    /// Runs are claimed; none is started or acknowledged.
    ClaimCommitted = "claim.committed",
    /// The broker has the acknowledgement.
    ClaimAcknowledged = "claim.acknowledged",
    /// An attempt is about to start.
    Start = "start",
    /// A worker is about to say that it refuses what it was thought to do.
    AnnounceBefore = "announce.before",
    /// It has said so; the refused attempt is not recorded.
    AnnounceCommitted = "announce.committed",
    /// An attempt is refused before its start; nobody knows.
    Refused = "refused",
    /// Attempts have written something; the store has none of it.
    LogsBefore = "logs.before",
    /// It is in the store, not committed.
    LogsWritten = "logs.written",
    /// The same, committed; the worker does not know.
    LogsCommitted = "logs.committed",
    /// A handler ended; nobody knows.
    HandlerEnded = "handler.ended",
    /// Ends are gathered, none is recorded.
    FinishBefore = "finish.before",
    /// Ends are written, not committed.
    FinishWritten = "finish.written",
    /// The same, committed; the worker does not know.
    FinishCommitted = "finish.committed",
    /// The others were told that something may be due; the runs are still in hand.
    FinishAnnounced = "finish.announced",
    /// A run went into history; its permits are not given back.
    EndMoved = "end.moved",
    /// A run that held its task's chain has ended; the next due row is not put.
    ChainTaken = "chain.taken",
    /// A run waits for its next attempt, with its timer; its permits are not given back.
    RequeuePut = "requeue.put",
    /// Blocked runs have their timers; their transaction goes on.
    PermitsHandedOn = "permits.handed-on",
    /// The store refuses something; it is not set aside.
    AsideBefore = "aside.before",
    /// The fence holds the leader row.
    AsideFenced = "aside.fenced",
    /// It is set aside, not committed.
    AsideWritten = "aside.written",
    /// The same, committed; who was refused does not know.
    AsideCommitted = "aside.committed",
    /// What was set aside is about to be released or dropped.
    ReleaseBefore = "release.before",
    /// It goes on or is gone, not committed.
    ReleaseWritten = "release.written",
    /// The same, committed; who asked has no answer.
    ReleaseCommitted = "release.committed",
    /// A worker takes nothing new; its runs go on.
    Drain = "drain",
    /// A drained node is about to leave the members.
    LeaveBefore = "leave.before",
    /// It has left; its process lives.
    LeaveCommitted = "leave.committed",
    /// A request is about to be stored.
    SubmitBefore = "submit.before",
    /// Its key is put; its run is not.
    SubmitKeyed = "submit.keyed",
    /// Runs and timers are put, not committed.
    SubmitWritten = "submit.written",
    /// The same, committed; who asked has no answer.
    SubmitCommitted = "submit.committed",
    /// A run is about to be moved to another instant.
    MoveBefore = "move.before",
    /// Its timer is replaced, not committed.
    MoveWritten = "move.written",
    /// The same, committed; who asked has no answer.
    MoveCommitted = "move.committed",
    /// A user, or a session, is about to be changed.
    PeopleBefore = "people.before",
    /// It is changed, not committed.
    PeopleWritten = "people.written",
    /// The same, committed; who asked has no answer.
    PeopleCommitted = "people.committed",
    /// An edit is planned.
    EditBefore = "edit.before",
    /// The edit counter is increased; the leader row is held.
    EditFenced = "edit.fenced",
    /// What was planned ahead of a rest or a new schedule is taken back; the tasks are as they were.
    EditTakenBack = "edit.taken-back",
    /// Tasks and due rows are changed, not committed.
    EditWritten = "edit.written",
    /// The same, committed; who asked has no answer.
    EditCommitted = "edit.committed",
    /// The cluster is about to be held, or its hold ended.
    HoldBefore = "hold.before",
    /// The edit counter is increased; the leader row is held.
    HoldFenced = "hold.fenced",
    /// The leader row says so; the members' rows do not.
    HoldSet = "hold.set",
    /// All of it is written, not committed.
    HoldWritten = "hold.written",
    /// The same, committed; who asked has no answer.
    HoldCommitted = "hold.committed",
    /// The end of a hold has come.
    EndHoldBefore = "end-hold.before",
    /// The fence holds the leader row, and the edit counter is increased.
    EndHoldFenced = "end-hold.fenced",
    /// It is ended, not committed.
    EndHoldWritten = "end-hold.written",
    /// The same, committed; the planner does not know.
    EndHoldCommitted = "end-hold.committed",
    /// A batch of tasks is deleted; others may be left, and who asked has no answer.
    DeleteBatched = "delete.batched",
    /// A run is about to be cancelled.
    CancelBefore = "cancel.before",
    /// The end is written if the run waited, not committed.
    CancelWritten = "cancel.written",
    /// The same, committed.
    CancelCommitted = "cancel.committed",
    /// A running run's worker is about to be asked to end it.
    CancelRequestBefore = "cancel.request-before",
    /// It is asked to, not committed.
    CancelRequestWritten = "cancel.request-written",
    /// A running run's worker is asked to end it.
    CancelRequested = "cancel.requested",
    /// A token is about to be made or revoked, or a refusal to be written down.
    AccessBefore = "access.before",
    /// It is, with its line in the audit; not committed.
    AccessWritten = "access.written",
    /// The same, committed.
    AccessCommitted = "access.committed",
    /// A term is about to be asked to end.
    ResignBefore = "resign.before",
    /// It is asked to, not committed.
    ResignWritten = "resign.written",
    /// It is asked to; who asked has no answer.
    ResignRequested = "resign.requested",
}

impl Failpoint {
    /// The point of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|p| p.name() == name)
    }
}

/// The points around and inside one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Around {
    /// Before it begins.
    pub before: Failpoint,
    /// After its guard has matched, where it has one that locks the leader row.
    pub guarded: Option<Failpoint>,
    /// All is written, and the commit not sent.
    pub written: Failpoint,
    /// The commit was answered; the caller does not know.
    pub committed: Failpoint,
}

impl Around {
    /// Says that the guard has matched.
    #[inline]
    pub fn reach_guarded(&self) {
        if let Some(point) = self.guarded {
            reach(point);
        }
    }
}

/// Says that the process is at this point of the protocol.
#[inline]
pub fn reach(point: Failpoint) {
    if !ENABLED {
        return;
    }
    if let Some(armed) = ARMED.get()
        && armed.point == point
        && armed.left.fetch_sub(1, Ordering::AcqRel) == 1
    {
        (armed.act)(point);
    }
}

/// Arms one point of this process: at the `count`th time that it is reached (from 1), `act` is called there, once.
/// Answers whether it did: not in a build without failpoints, nor a second time.
pub fn arm(point: Failpoint, count: u32, act: Act) -> bool {
    ENABLED
        && ARMED
            .set(Armed {
                point,
                left: AtomicU32::new(count.max(1)),
                act,
            })
            .is_ok()
}

#[cfg(test)]
#[path = "../tests/decide/failpoint_tests.rs"]
mod tests;
