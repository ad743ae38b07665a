//! The truth, as a port: intentions of the protocol, each one transaction. No connection, transaction or row count is
//! in a signature. Three traits by who calls them, and [`Store`], which is all three.
//!
//! What every adapter keeps:
//! - READ COMMITTED or stronger; any error inside a transaction rolls the whole of it back.
//! - The fence: a leader write's first statement is `UPDATE leader SET seq = seq + 1 WHERE id = 1 AND epoch = :e AND
//!   holder = :h`, and one row is demanded. People's edits of tasks begin with the same statement without the condition
//!   on the term: so edits and leader writes are serial, and the edit counter is exact.
//! - Transitions are those of [`crate::protocol::run`], guarded in the statement itself by state, attempt and claim.
//! - Terminal rows never change.
//! - A run that ends, or waits for its next attempt, gives its permits back in the same transaction (see
//!   [`crate::protocol::permits`]), and the first run that is parked under each gets its timer.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;

use super::{Cause, Written};
use crate::actor::Actor;
use crate::id::{NodeId, OutboxId, RunId, TaskId};
use crate::protocol::jump::{Answered, PutBack};
use crate::protocol::keys::Scope;
use crate::protocol::permits::{LimitKey, Rules, Standing};
use crate::protocol::routing::Abilities;
use crate::protocol::work::{
    Aside, Backlog, Beaten, Bid, Cancel, Claim, Claimed, Deletions, Edit, Finish, Fired, Firing,
    Former, LeaderRow, Moved, Named, Node, OnBehalfOf, Orphans, OutboxRow, Quarantined, QueueCount,
    Released, RunDetail, RunFilter, Scan, ScanLimits, Spoiled, Submission, Submitted, TaskPage,
    Term,
};
use crate::run::Run;
use crate::task::Task;

/// What the leader asks of the store. Every write takes the [`Term`] and answers [`Written::Stale`] (or
/// [`Fired::Fenced`]) once another term began.
#[async_trait]
pub trait Leading: Send + Sync + 'static {
    /// The leader row and the store's clock.
    async fn leader(&self) -> Result<LeaderRow, Error>;

    /// Begins a term if the row still has the epoch that was read. Clears a pending request to resign.
    async fn begin_term(&self, bid: &Bid) -> Result<Written, Error>;

    /// Due rows with `at <= until`, within the limits for each queue, earliest first in each.
    async fn scan(&self, until: Timestamp, limits: &ScanLimits) -> Result<Scan, Error>;

    /// Calendars, and the limits of queues and groups.
    async fn rules(&self) -> Result<Rules, Error>;

    /// Who holds the permits of these limits, and how many runs wait for one; a limit that is missing from the answer
    /// has neither.
    async fn standings(&self, keys: &[LimitKey]) -> Result<HashMap<LimitKey, Standing>, Error>;

    /// Takes permits back whose runs have ended (a program that knows no permits may have ended them), and lets runs go
    /// on that are parked under a limit of which nobody holds a permit (a handing-on may have been rolled back).
    /// Answers how many runs go on, or `None` if fenced.
    async fn sweep_permits(&self, term: &Term) -> Result<Option<usize>, Error>;

    /// How many runs are blocked because nobody can carry them out, by limit ([`LimitKey::Ability`]).
    async fn blocked(&self) -> Result<Vec<(LimitKey, u64)>, Error>;

    /// Lets the runs go on that are blocked under these limits. Answers how many, or `None` if fenced.
    async fn unblock(&self, term: &Term, keys: &[LimitKey]) -> Result<Option<usize>, Error>;

    /// Consumes due rows, puts the next ones, inserts runs, skips and the outbox row, gives out permits and parks runs:
    /// one transaction.
    async fn fire(&self, term: &Term, firing: &Firing) -> Result<Fired, Error>;

    /// Outbox rows after `after`, oldest first.
    async fn outbox(&self, after: Option<OutboxId>, limit: usize) -> Result<Vec<OutboxRow>, Error>;

    /// Which of these still wait to be claimed, at that attempt.
    async fn waiting(&self, runs: &[(RunId, u32)]) -> Result<Vec<RunId>, Error>;

    /// The same, under the fence, so that no edit is under way meanwhile: what waits at its instant can't be taken back any
    /// more. `None` if fenced. Asked for runs that start by being published, and for no others.
    async fn still_wait(
        &self,
        term: &Term,
        runs: &[(RunId, u32)],
    ) -> Result<Option<Vec<RunId>>, Error>;

    /// Marks published runs that still are `scheduled` at that attempt as `queued`, and removes outbox rows that have
    /// done their duty.
    async fn mark_sent(
        &self,
        term: &Term,
        queued: &[(RunId, u32)],
        at: Timestamp,
        done: &[OutboxId],
    ) -> Result<Written, Error>;

    /// Ends runs whose message an external listener has been given: `scheduled|queued` at that attempt →
    /// `succeeded(handed-over)`, into history. Runs that are elsewhere by now are left as they are.
    async fn hand_over(
        &self,
        term: &Term,
        runs: &[(RunId, u32)],
        at: Timestamp,
    ) -> Result<Written, Error>;

    /// Runs in state running, after `after` in the order of ids: of one node, or (with `None`) of all nodes that are
    /// not among the living.
    async fn running_on(
        &self,
        node: Option<NodeId>,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<Run>, Error>;

    /// Takes a node out of the living. From its commit on no claim by it succeeds.
    async fn bury(&self, term: &Term, node: NodeId) -> Result<Written, Error>;

    /// Records the ends that the leader decides (lost runs): as [`Working::finish`], under the fence.
    async fn finish_lost(
        &self,
        term: &Term,
        ends: &[Finish],
    ) -> Result<Option<Vec<Written>>, Error>;

    /// Deleted tasks whose waiting runs are still looked for; `None` = there are none.
    async fn deletions(&self) -> Result<Option<Deletions>, Error>;

    /// Of the first `look` live runs after `after`, in the order of ids: those that wait, and whose task is one of
    /// [`Leading::deletions`].
    async fn orphans(&self, after: Option<RunId>, look: usize) -> Result<Orphans, Error>;

    /// Ends waiting runs whose task was deleted: `scheduled|queued` at that attempt → `cancelled(task-deleted)`, into
    /// history, with their timers and permits. Runs that are elsewhere by now are left as they are. Answers how many
    /// ended, or `None` if fenced.
    async fn end_orphans(
        &self,
        term: &Term,
        runs: &[Run],
        at: Timestamp,
    ) -> Result<Option<usize>, Error>;

    /// Looks no more for runs of up to `limit` tasks that were deleted at or before `before`. Answers for how many, or
    /// `None` if fenced.
    async fn forget_deletions(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error>;

    /// Tasks with a row of their schedule for an instant after `beyond`, in the order of ids, after `after`: what was planned
    /// by a clock that was ahead. (Deleted ones too.) What is looked at was minted at most
    /// [`crate::protocol::jump::MINTED_BEFORE`] before `beyond`.
    async fn tasks_ahead(
        &self,
        beyond: Timestamp,
        after: Option<TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, Error>;

    /// Those rows of these tasks ([`crate::protocol::jump::is_early`]), minted no earlier.
    async fn rows_ahead(&self, tasks: &[TaskId], beyond: Timestamp) -> Result<Vec<Run>, Error>;

    /// A leader's edit on somebody's behalf: as [`Control::edit`], under the fence. [`Fired::Edited`] where that is stale.
    async fn edit_for(
        &self,
        term: &Term,
        on_behalf_of: OnBehalfOf,
        edit: &Edit,
        at: Timestamp,
    ) -> Result<Fired, Error>;

    /// Takes back what was planned ahead of the clock: removes runs that wait at their first attempt, with their timers and
    /// permits, and skips; puts due rows back; keeps which instants are answered. All or nothing: [`Fired::Edited`] if
    /// something is not as it was seen.
    async fn put_back(&self, term: &Term, back: &PutBack) -> Result<Fired, Error>;

    /// Instants that have a row though their due rows have not come to them yet.
    async fn answered(&self) -> Result<Answered, Error>;

    /// Removes up to `limit` finished runs that ended before `before`, with all that hangs on them. Answers how many,
    /// or `None` if fenced.
    async fn prune(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error>;
}

/// What a worker asks of the store.
#[async_trait]
pub trait Working: Send + Sync + 'static {
    /// Adds this start of a node to the living.
    async fn join(&self, node: &Node) -> Result<(), Error>;

    /// Says anew what a node can carry out.
    async fn announce(&self, node: NodeId, abilities: &Abilities) -> Result<(), Error>;

    /// Beats, and learns what was asked of its running runs.
    async fn beat(&self, node: NodeId, busy: u32, running: &[RunId]) -> Result<Beaten, Error>;

    /// Takes itself out of the living, after its runs ended or were given back.
    async fn leave(&self, node: NodeId) -> Result<(), Error>;

    /// Wins those of the runs that wait at that attempt, may start by the store's own clock and are not parked for want
    /// of a permit, if the node is among the living.
    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, Error>;

    /// Records ends, each guarded by its (attempt, claim); answers one [`Written`] for each, in order.
    async fn finish(&self, ends: &[Finish]) -> Result<Vec<Written>, Error>;

    /// Sets aside what the store refuses to record, so that nothing waits for it and people see it: a run ends its part in
    /// everything (state [`crate::run::State::Quarantined`], permits given back), a task's due row is taken away. Under the fence if a
    /// term is given; stale if it is over, or the thing is not as it was seen.
    async fn set_aside(&self, term: Option<&Term>, aside: &Aside) -> Result<Written, Error>;

    /// Tasks by id; deleted ones are missing from the answer.
    async fn tasks_by_id(&self, ids: &[TaskId]) -> Result<Vec<Task>, Error>;
}

/// What API and CLI ask of the store. Every write names who asks for it.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// Tasks in the order of their names, after `after`: of this owner, or with an empty name of none, or all.
    async fn tasks(
        &self,
        owner: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<TaskPage, Error>;

    /// Tasks by name; unknown names are missing from the answer.
    async fn tasks_by_name(&self, names: &[String]) -> Result<Vec<Task>, Error>;

    /// Deleted tasks that had this name when they were deleted, the last one first.
    async fn former_tasks(&self, name: &str, limit: usize) -> Result<Vec<Former>, Error>;

    /// Up to `limit` tasks that have or had this name: the living one, then the deleted ones, the last one first.
    async fn namesakes(&self, name: &str, limit: usize) -> Result<Vec<TaskId>, Error>;

    /// What tasks are or were called; unknown ids are missing from the answer.
    async fn task_names(&self, ids: &[TaskId]) -> Result<Vec<Named>, Error>;

    /// The waiting runs of these tasks; tasks without any are missing from the answer. A run of the schedule counts
    /// when it was due before `overdue`.
    async fn backlogs(&self, tasks: &[TaskId], overdue: Timestamp) -> Result<Vec<Backlog>, Error>;

    /// Whether this program still knows the store's schema; [`Error::Outdated`] if not. A store that lives in this
    /// program always has the one that it knows.
    async fn check_schema(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The value of a setting of the cluster.
    async fn setting(&self, name: &str) -> Result<Option<String>, Error>;

    /// Changes tasks, calendars and limits: all or nothing. Stale if a version is another, a new name is taken, or a due
    /// row has moved.
    async fn edit(&self, actor: &Actor, edit: &Edit, at: Timestamp) -> Result<Written, Error>;

    /// Inserts runs with their timers: all or nothing; one answer for each, in order. If one of them is
    /// [`Submitted::taken`], nothing was stored. [`Error::Contended`]
    /// if a task of theirs was deleted meanwhile.
    async fn submit(
        &self,
        actor: &Actor,
        submissions: &[Submission],
    ) -> Result<Vec<Submitted>, Error>;

    /// Runs, live and finished, newest id first, with ids below `before`.
    async fn runs(
        &self,
        filter: &RunFilter,
        before: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<Run>, Error>;

    /// One run.
    async fn run(&self, id: RunId) -> Result<Option<RunDetail>, Error>;

    /// What became of one instant of a task: its run or its skip (also one that stands for a range around it).
    async fn occurrence(&self, task: TaskId, at: Timestamp) -> Result<Option<Run>, Error>;

    /// The due row of a task's next occurrence.
    async fn next_due(&self, task: TaskId) -> Result<Option<Timestamp>, Error>;

    /// The due rows of these tasks' next occurrences; tasks without one are missing from the answer.
    async fn next_dues(&self, tasks: &[TaskId]) -> Result<HashMap<TaskId, Timestamp>, Error>;

    /// When a run of each of these tasks last ended well, among the `look` rows of its history with the latest instants;
    /// tasks without one there are missing from the answer.
    async fn last_successes(
        &self,
        tasks: &[TaskId],
        look: usize,
    ) -> Result<HashMap<TaskId, Timestamp>, Error>;

    /// Cancels a run that has not started, or asks its worker to.
    async fn cancel(&self, actor: &Actor, id: RunId, at: Timestamp) -> Result<Cancel, Error>;

    /// Lets a run that waits for its timer start at another instant: the timer is replaced in the same transaction.
    async fn move_run(&self, actor: &Actor, id: RunId, to: Timestamp) -> Result<Moved, Error>;

    /// The runs that a key stands for, one for each scope but the engine's, at most `limit`.
    async fn runs_of_key(&self, key: &str, limit: usize) -> Result<Vec<(Scope, RunId)>, Error>;

    /// What is set aside, oldest first, after this one.
    async fn quarantine(&self, after: Option<i64>, limit: usize)
    -> Result<Vec<Quarantined>, Error>;

    /// Lets go on what is set aside: its end is recorded now, or it waits for its start again.
    async fn release(&self, actor: &Actor, id: i64, at: Timestamp) -> Result<Released, Error>;

    /// Forgets what is set aside, and its run with it.
    async fn drop_quarantined(&self, actor: &Actor, id: i64) -> Result<Written, Error>;

    /// The logs of a run's attempts.
    async fn logs(&self, id: RunId) -> Result<Vec<(u32, String)>, Error>;

    /// The living nodes.
    async fn nodes(&self) -> Result<Vec<Node>, Error>;

    /// Live runs by queue.
    async fn queues(&self, now: Timestamp) -> Result<Vec<QueueCount>, Error>;

    /// The secret that all nodes share, from which the queues' signing keys are derived: `fresh` is kept if there is
    /// none yet, and the kept one is returned.
    async fn secret(&self, fresh: [u8; 32]) -> Result<[u8; 32], Error>;

    /// Asks the term with this epoch to end.
    async fn request_resign(&self, actor: &Actor, epoch: i64) -> Result<Written, Error>;
}

/// A store: all three.
pub trait Store: Leading + Working + Control {}

impl<T: Leading + Working + Control> Store for T {}

/// Why the store did not do as asked. After any of them nothing of the transaction stands, except after
/// [`Error::Ambiguous`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or none free in time.
    #[error("reach the store")]
    Unreachable(#[source] Cause),
    /// The connection broke at a moment when the commit may or may not have happened.
    #[error("learn from the store whether a transaction committed")]
    Ambiguous(#[source] Cause),
    /// A deadlock, a serialization failure, a lock or statement timeout, a busy file: rolled back, may be tried again.
    #[error("get through to the store's rows in time")]
    Contended(#[source] Cause),
    /// The store has no room for a write: its disk is full. Nothing of the write stands; it may be made again once there
    /// is room.
    #[error("write to the store, whose disk is full")]
    Full(#[source] Cause),
    /// The store refused what it was given: a constraint, a value that it can't keep. It would take something else.
    #[error("have the store take what it was given")]
    Refused(#[source] Cause),
    /// The store does it for nobody: a missing right or table, a copy that can only be read, a defect of ours.
    #[error("have the store do its work")]
    Unable(#[source] Cause),
    /// A newer program has migrated the store since this one opened it: what can't be read may be whole.
    #[error(
        "read what a newer version may have written: the store's schema is {found}, and this version knows {known}; \
         upgrade this node"
    )]
    Outdated {
        /// The store's schema.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// A row holds what this version can't read.
    #[error("read a row of {table}{}: {message}", of_row(*row))]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// What the row is about, where that is known.
        row: Option<Spoiled>,
        /// What is wrong.
        message: String,
    },
}

impl Error {
    /// Whether the same call may simply be made again after a short wait: nothing was done and nothing is broken.
    #[must_use]
    pub const fn is_contended(&self) -> bool {
        matches!(self, Self::Contended(_))
    }

    /// The same about this row, if it is about one and does not say which.
    #[must_use]
    pub fn about(self, about: Spoiled) -> Self {
        match self {
            Self::Corrupt {
                table,
                row,
                message,
            } => Self::Corrupt {
                table,
                row: row.or(Some(about)),
                message,
            },
            other => other,
        }
    }

    /// The row that can't be read, if it is that and is known.
    #[must_use]
    pub const fn spoiled(&self) -> Option<Spoiled> {
        match self {
            Self::Corrupt { row, .. } => *row,
            _ => None,
        }
    }

    /// Whether it is about what was asked, and not about the store: a batch may be asked for again in halves, until what
    /// is refused stands alone.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Corrupt { .. })
    }
}

fn of_row(row: Option<Spoiled>) -> String {
    row.map_or_else(String::new, |row| format!(" ({row})"))
}

/// The setting of the cluster that names the zone rules with which the due rows were computed: a
/// [`crate::protocol::zones::Kept`].
pub const ZONE_RULES: &str = "zone_rules";

/// The setting of the cluster that says what the leader makes of the store's clock: a
/// [`crate::protocol::clock_state::ClockState`]. Missing = it never was anything but right.
pub const CLOCK_STATE: &str = "clock_state";

/// How long a store call may take before its adapter gives it up.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
