//! Fire, as a port: due rows, the runs that they become, and the permits that those take.

use std::collections::HashMap;

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;

use crate::decide::lead::hold::Hold;
use crate::decide::lead::jump::{Answered, PutBack};
use crate::decide::permits::{Blocked, LimitKey, Permit, Rules, Standing};
use crate::id::{OutboxId, RunId, TaskId};
use crate::port::lead::Term;
use crate::port::store::Error;
use crate::run::{Reason, Run, RunSpec};
use crate::task::QueueName;

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
    pub at: Timestamp,
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
    pub key: DueKey,
    /// For a run's timer: the run, if it still waits. `None` for a run that was cancelled meanwhile: the timer is
    /// consumed and nothing fires.
    pub waiting: Option<Waiting>,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scan {
    /// Due rows, by instant within each queue; none while the cluster is held.
    pub rows: Vec<DueRow>,
    /// The edit counter at the time of the scan.
    pub edits: i64,
    /// The term that was asked to resign; 0 = none.
    pub resign_epoch: i64,
    /// While nothing starts in the cluster: why.
    pub hold: Option<Hold>,
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
    /// The runs whose timers those are and that were seen to wait, at their attempts. One that waits otherwise by now makes
    /// the whole firing be refused: its timer was put again, at the same instant perhaps.
    pub seen: Vec<(RunId, u32)>,
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
    pub blocked: Vec<Blocked>,
    /// Permits whose holders are why those wait: one that is free by now makes the firing be refused.
    pub full: Vec<(LimitKey, u32)>,
    /// Runs that wait at this attempt and never start: they end skipped.
    pub dropped: Vec<(RunId, u32, Reason)>,
    /// Runs whose place a later occurrence takes.
    pub replaced: Vec<Replaced>,
    /// New runs that hold their tasks' chains ([`crate::task::Chain`]): the end of each puts its task's next due row.
    pub chained: Vec<(TaskId, RunId)>,
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
    pub id: OutboxId,
    pub runs: Vec<(RunId, u32)>,
}

/// How a firing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Fired {
    Applied,
    /// The term is over: drop everything.
    Fenced,
    /// Tasks were edited since the scan (or a due row is gone): nothing is done; scan again.
    Edited,
}

/// What the leader asks of the store to turn due rows into runs. Every write takes the [`Term`] and is refused
/// once another term began.
#[async_trait]
pub trait FireStore: Send + Sync + 'static {
    /// Due rows with `at <= until`, within the limits for each queue, earliest first in each.
    async fn scan(&self, until: Timestamp, limits: &ScanLimits) -> Result<Scan, Error>;

    /// Calendars, and the limits of queues and groups.
    async fn rules(&self) -> Result<Rules, Error>;

    /// Consumes due rows, puts the next ones, inserts runs, skips and the outbox row, gives out permits and blocks runs:
    /// one transaction.
    async fn fire(&self, term: &Term, firing: &Firing) -> Result<Fired, Error>;
}

/// Permits beside a firing: who holds them, and who goes on.
#[async_trait]
pub trait PermitStore: Send + Sync + 'static {
    /// Who holds the permits of these limits, and how many runs wait for one; a limit that is missing from the answer
    /// has neither.
    async fn standings(&self, keys: &[LimitKey]) -> Result<HashMap<LimitKey, Standing>, Error>;

    /// Takes permits back whose runs have ended (a program that knows no permits may have ended them), and lets runs go
    /// on that are blocked under a limit of which nobody holds a permit (a handing-on may have been rolled back).
    /// Answers how many runs go on, or `None` if fenced.
    async fn sweep_permits(&self, term: &Term) -> Result<Option<usize>, Error>;

    /// How many runs are blocked because nobody can carry them out, by limit ([`LimitKey::Ability`]).
    async fn blocked(&self) -> Result<Vec<(LimitKey, u64)>, Error>;

    /// Lets the runs go on that are blocked under these limits. Answers how many, or `None` if fenced.
    async fn unblock(&self, term: &Term, keys: &[LimitKey]) -> Result<Option<usize>, Error>;
}

/// What was planned while the clock was ahead, and taking it back.
#[async_trait]
pub trait AheadStore: Send + Sync + 'static {
    /// Tasks with a row of their schedule for an instant after `beyond`, in the order of ids, after `after`: what was planned
    /// by a clock that was ahead. (Deleted ones too.) What is looked at was minted at most
    /// [`crate::decide::lead::jump::MINTED_BEFORE`] before `beyond`.
    async fn tasks_ahead(
        &self,
        beyond: Timestamp,
        after: Option<TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, Error>;

    /// Those rows of these tasks ([`crate::decide::lead::jump::is_early`]), minted no earlier.
    async fn rows_ahead(&self, tasks: &[TaskId], beyond: Timestamp) -> Result<Vec<Run>, Error>;

    /// Takes back what was planned ahead of the clock: removes runs that wait at their first attempt, with their timers and
    /// permits, and skips; puts due rows back; keeps which instants are answered. All or nothing: [`Fired::Edited`] if
    /// something is not as it was seen.
    async fn put_back(&self, term: &Term, back: &PutBack) -> Result<Fired, Error>;

    /// Instants that have a row though their due rows have not come to them yet.
    async fn answered(&self) -> Result<Answered, Error>;
}
