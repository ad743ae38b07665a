//! The nouns that the protocol hands to the store and gets back: terms, due rows, firings, claims, ends. Values only;
//! what is done with them is decided in the modules beside this one and carried out by [`crate::port::store`].

mod aside;
mod asked;
mod edits;

use std::collections::HashMap;
use std::time::Duration;

use campanile_schedule::time::Timestamp;

pub use super::ahead::{DueChange, Unplan};
use super::permits::{LimitKey, Parked, Permit};
use super::routing::Abilities;
use crate::id::{ClaimId, Holder, NodeId, OutboxId, RunId, TaskId};
use crate::run::{AttemptEnd, Origin, Reason, Run, RunSpec, State};
use crate::task::{Class, QueueName, Task};

pub use self::aside::{Aside, Quarantined, Released, Spoiled, Thing};
pub use self::asked::{Cancel, Moved, Submission, Submitted};
pub use self::edits::{
    Backlog, Delete, Deletions, Edit, Former, Move, Named, OnBehalfOf, Orphans, Upsert,
};

/// One holder's time as leader. Every leader write carries it and is refused once another term began.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Term {
    /// Minted in the store: grows with every term.
    pub epoch: i64,
    /// The term's random name.
    pub holder: Holder,
}

/// The one leader row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderRow {
    /// The present term's number; 0 before the first.
    pub epoch: i64,
    /// The present term's name; `None` before the first.
    pub holder: Option<Holder>,
    /// Which node holds it.
    pub node: Option<NodeId>,
    /// The node's name.
    pub node_name: String,
    /// When the term began.
    pub since: Option<Timestamp>,
    /// Grows with every change of a task; lets the leader's cache of tasks be exact.
    pub edits: i64,
    /// A term that was asked to end; 0 = none.
    pub resign_epoch: i64,
    /// The store's clock when the row was read.
    pub now: Timestamp,
}

/// A new term, asked for with the epoch that was read while the lock was held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bid {
    /// The epoch that the row must still have.
    pub read_epoch: i64,
    /// The term to begin: its epoch is greater than `read_epoch`.
    pub term: Term,
    /// The bidding node.
    pub node: NodeId,
    /// Its name, for people.
    pub node_name: String,
}

/// What a due row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// The next occurrence of a task's schedule.
    Task(TaskId),
    /// The start, or the retry, of a run that exists.
    Run(RunId),
}

/// A due row: an instant and what it is for. The row *is* the right to fire; firing consumes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DueKey {
    /// The queue, so that a full one can't keep the others waiting.
    pub queue: QueueName,
    /// When.
    pub at: Timestamp,
    /// What for.
    pub owner: Owner,
}

/// A live run with what it carries of its own: enough to build its message.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The row, in state scheduled or queued.
    pub run: Run,
    /// Its own handler and payload, if it was submitted with any.
    pub spec: Option<RunSpec>,
}

/// One row of a scan.
#[derive(Debug, Clone, PartialEq)]
pub struct DueRow {
    /// The row's key.
    pub key: DueKey,
    /// For a run's timer: the run, if it still waits. `None` for a run that was cancelled meanwhile: the timer is
    /// consumed and nothing fires.
    pub waiting: Option<Waiting>,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scan {
    /// Due rows, by instant within each queue.
    pub rows: Vec<DueRow>,
    /// The edit counter at the time of the scan.
    pub edits: i64,
    /// The term that was asked to resign; 0 = none.
    pub resign_epoch: i64,
}

/// How many due rows a scan may take from each queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanLimits {
    /// Of a queue that `rooms` does not name.
    pub default: usize,
    /// Of these queues; zero = leave it alone.
    pub rooms: HashMap<QueueName, usize>,
}

/// One leader transaction that turns due rows into runs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Firing {
    /// The edit counter that the decisions rest on.
    pub edits: i64,
    /// When they were made, by the store's time.
    pub at: Timestamp,
    /// Due rows that must all still be there; they are removed.
    pub consumed: Vec<DueKey>,
    /// Due rows that are put: the tasks' next occurrences, the timers of runs that start later, and their deadlines.
    pub advanced: Vec<DueKey>,
    /// New runs, in state scheduled.
    pub runs: Vec<Run>,
    /// Occurrences that do not run, in state skipped: straight into history.
    pub skipped: Vec<Run>,
    /// The runs that are now the leader's to publish: new ones and those whose timers were consumed.
    pub outbox: Option<OutboxEntry>,
    /// The term, for the runs whose timers were consumed.
    pub epoch: i64,
    /// Permits that runs take. One that is taken already makes the whole firing be refused.
    pub acquired: Vec<Permit>,
    /// Runs that wait for a permit.
    pub parked: Vec<Parked>,
    /// Permits whose holders are why those wait: one that is free by now makes the firing be refused.
    pub full: Vec<(LimitKey, u32)>,
    /// Runs that wait at this attempt and never start: they end skipped.
    pub dropped: Vec<(RunId, u32, Reason)>,
    /// Runs whose place a later occurrence takes.
    pub replaced: Vec<Replaced>,
}

impl Firing {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.consumed.is_empty()
    }
}

/// A run whose place a later occurrence of its task takes, with all that wait behind it and do not wait their turn
/// ([`Run::waits_its_turn`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The key whose permit it holds.
    pub key: LimitKey,
    /// The run.
    pub run: RunId,
    /// Whether it was seen running: then its worker is told to end it. Otherwise it ends at once. If it has gone on
    /// meanwhile, the firing is refused.
    pub running: bool,
    /// Whether it keeps its place, for it waits its turn: then only those go that wait behind it and do not.
    pub kept: bool,
}

/// An outbox row to write: runs with the attempt that may be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// The row's id.
    pub id: OutboxId,
    /// Runs and attempts.
    pub runs: Vec<(RunId, u32)>,
}

/// An outbox row as a new leader reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    /// The row's id.
    pub id: OutboxId,
    /// Its runs that still wait to be claimed, at the attempt that the row names.
    pub waiting: Vec<Waiting>,
}

/// How a firing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Fired {
    /// It is committed.
    Applied,
    /// The term is over: drop everything.
    Fenced,
    /// Tasks were edited since the scan (or a due row is gone): nothing is done; scan again.
    Edited,
}

/// A worker's attempt to win runs. The store judges by its own clock whether they may start: no run with a later
/// `ready_at` is won.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who.
    pub node: NodeId,
    /// The claim's random id.
    pub id: ClaimId,
    /// Which runs, at which attempts.
    pub runs: Vec<(RunId, u32)>,
}

/// A run won.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// Which run.
    pub run: RunId,
    /// Which attempt.
    pub attempt: u32,
    /// Its task and the version in force now; `None` for a run without a task, or whose task was deleted.
    pub task: Option<(TaskId, i64)>,
    /// Its task was deleted before it was won: it does not start, whatever handler it carries.
    pub orphaned: bool,
    /// What made it.
    pub origin: Origin,
    /// Its instant.
    pub due_at: Timestamp,
    /// When it was won, by the store's clock.
    pub started_at: Timestamp,
    /// Failures so far.
    pub failures: u32,
    /// Losses so far.
    pub losses: u32,
    /// Whether it holds permits, for which others may wait.
    pub limited: bool,
    /// What it carries of its own.
    pub spec: Option<RunSpec>,
}

/// How an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Well.
    Succeeded,
    /// Badly and for good.
    Failed(Reason),
    /// By request, or because its task is gone.
    Cancelled(Reason),
    /// Back to scheduled with the next attempt, which may start at this instant.
    Again {
        /// When the next attempt is due.
        ready_at: Timestamp,
        /// Why the attempt ended; [`Reason::None`] for a drain, which counts as neither failure nor loss.
        why: Reason,
    },
    /// Its worker could not carry it out and did not start it: the next attempt may start at this instant. Neither a
    /// failure nor a loss.
    Refused {
        /// When the next attempt is due.
        ready_at: Timestamp,
    },
    /// Nobody knows whether its claim was committed, or will be: the attempt is used up, also if the run still waits at
    /// it, so that the claim wins nothing when it arrives after this. Nothing was started.
    Withdrawn {
        /// When the next attempt is due.
        ready_at: Timestamp,
    },
}

impl End {
    /// In words, for people.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed(_) => "failed",
            Self::Cancelled(_) => "cancelled",
            Self::Again { .. } | Self::Refused { .. } | Self::Withdrawn { .. } => {
                "to be tried again"
            }
        }
    }
}

/// One end to record, guarded by the claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// Which run.
    pub run: RunId,
    /// Which attempt.
    pub attempt: u32,
    /// Which claim: without it nothing is written.
    pub claim: ClaimId,
    /// How.
    pub end: End,
    /// When.
    pub at: Timestamp,
    /// The error's text.
    pub error: Option<String>,
    /// What kind of failure it was.
    pub class: Option<Class>,
    /// The attempt's log; `None` or empty = nothing is kept.
    pub log: Option<String>,
    /// Whether the run holds permits, for which others may wait: then the leader is told at once.
    pub limited: bool,
}

/// A node as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// This start of the node.
    pub id: NodeId,
    /// Its name, for people; several starts may share it.
    pub name: String,
    /// `scheduler`, `worker`, `api`.
    pub roles: Vec<String>,
    /// Queues that it works on.
    pub queues: Vec<QueueName>,
    /// Runs that it can run at once; 0 if it is no worker.
    pub slots: u32,
    /// Runs that it runs now.
    pub busy: u32,
    /// How long it may stay silent before the leader calls it dead.
    pub lease: Duration,
    /// When it joined.
    pub started_at: Timestamp,
    /// Grows with every beat.
    pub beat_seq: i64,
    /// When it last beat, by the store's clock; shown to people, judged by nobody.
    pub beat_at: Timestamp,
    /// The program's version.
    pub version: String,
    /// What it can carry out; `None` = it does not say, as an older program.
    pub abilities: Option<Abilities>,
}

/// The answer to a beat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beaten {
    /// Whether the store still counts this node among the living. If not, its claims are void: it drops them and joins
    /// under a new id.
    pub known: bool,
    /// Those of its running runs that somebody asked to cancel.
    pub cancel: Vec<RunId>,
    /// The store's clock.
    pub now: Timestamp,
}

/// Which runs to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFilter {
    /// Of any of these tasks; empty = of all, and of none.
    pub tasks: Vec<TaskId>,
    /// In this state.
    pub state: Option<State>,
    /// Due at or after.
    pub since: Option<Timestamp>,
    /// Due before.
    pub until: Option<Timestamp>,
}

/// A run with all that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunDetail {
    /// The row.
    pub run: Run,
    /// What it carries of its own.
    pub spec: Option<RunSpec>,
    /// Its attempts that ended other than well.
    pub attempts: Vec<AttemptEnd>,
}

/// How many live runs stand where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueCount {
    /// The queue.
    pub queue: QueueName,
    /// Scheduled for a later instant.
    pub future: u64,
    /// Due and not yet claimed (scheduled or queued).
    pub waiting: u64,
    /// Claimed.
    pub running: u64,
}

/// A page of tasks: in the order of their names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// The name after which the next page begins; `None` = this was the last.
    pub next: Option<String>,
}
