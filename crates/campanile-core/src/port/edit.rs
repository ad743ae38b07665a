//! Edit, as a port: what people change, and what the leader changes for them.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use campanile_access::audit::Deed;
use campanile_access::{Kind, Rights};
use campanile_schedule::calendar::CalendarSpec;
use campanile_schedule::time::Timestamp;
use serde_json::Value;

use crate::actor::Actor;
use crate::decide::edit::ahead::{DueChange, Unplan, answered_by_rest};
use crate::decide::edit::inbox::{Decision, Drained, Inbox};
use crate::decide::edit::keys::Key;
use crate::decide::lead::hold::Hold;
use crate::decide::permits::LimitKey;
use crate::id::{RunId, TaskId};
use crate::port::Written;
use crate::port::fire::{DueKey, Fired};
use crate::port::lead::Term;
use crate::port::store::Error;
use crate::run::{Run, RunSpec, State};
use crate::task::{Pause, StartMode, TaskSpec};

/// The answer to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// It goes on, or its end is recorded.
    Done,
    /// Its task goes on by itself since: nothing was to be done.
    Superseded,
    /// Nothing of this number is set aside.
    Unknown,
}

/// A task to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Upsert {
    /// Its id; new ids are minted by the caller.
    pub id: TaskId,
    /// The version that the row must have; `None` = the task must not exist.
    pub expected: Option<i64>,
    pub spec: TaskSpec,
    /// While it is paused: the instant from which on its occurrences do not run. With [`DueChange::Pause`] the store finds it.
    pub paused_from: Option<Timestamp>,
    pub due: DueChange,
}

/// For whom a leader edits what people define.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBehalfOf {
    /// Nobody: the zone rules have changed, and due rows move with them.
    ZoneRules,
    /// Whoever said until when a task is paused.
    PauseUntil,
    /// Whoever said until when the cluster is held.
    HoldUntil,
}

impl OnBehalfOf {
    /// As who the edit is written down.
    #[must_use]
    pub fn actor(self) -> Actor {
        let name = match self {
            Self::ZoneRules => "the zone rules",
            Self::PauseUntil => "the end of a pause",
            Self::HoldUntil => "the end of a hold",
        };
        Actor::of(Kind::Leader, name, "the leader", Rights::all())
    }
}

/// A change of tasks, calendars and limits: all of it or nothing. Runs that are blocked under a limit of a task that
/// changes, or under a limit that changes, are looked at again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Edit {
    pub upserts: Vec<Upsert>,
    pub deletes: Vec<Delete>,
    /// The edit counter that all of it rests on; `None` = the versions of the tasks are enough.
    pub edits: Option<i64>,
    /// Who pauses which of these tasks, why and until when. It goes with the pause, whoever ends that.
    pub pauses: Vec<(TaskId, Pause)>,
    /// Calendars to write, or (without a definition) to delete.
    pub calendars: Vec<(String, Option<CalendarSpec>)>,
    /// Limits of queues and groups to set, or (without a number) to lift.
    pub limits: Vec<(LimitKey, Option<u32>)>,
    /// Due rows of tasks that stay as they are.
    pub moves: Vec<Move>,
    /// What was planned ahead for tasks whose instants change.
    pub unplans: Vec<Unplan>,
    /// Instants that will not run, for what the edit says: rows of history.
    pub skipped: Vec<Run>,
    /// Instants of tasks, behind their due rows, that have a row already and do not fire again.
    pub answered: Vec<(TaskId, Timestamp)>,
    /// Settings of the cluster to write: name and value.
    pub settings: Vec<(&'static str, String)>,
}

impl Edit {
    /// What is written down of it where nobody says more.
    #[must_use]
    pub fn deed(&self) -> Deed {
        let rows = self.upserts.len() + self.deletes.len() + self.moves.len();
        let count = rows + self.calendars.len() + self.limits.len();
        let paused = self.upserts.iter();
        let paused = paused.map(|u| (u.spec.name.clone(), u.spec.paused.into()));
        Deed::new("edit", "tasks", "")
            .changing(Value::Null, Value::Object(paused.collect()))
            .of_many(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// Of which tasks what was planned ahead is taken back, and how far their starts lie behind their instants.
    #[must_use]
    pub fn taking_back(&self) -> HashMap<TaskId, Duration> {
        let resting = self.upserts.iter().filter_map(|u| match u.due {
            DueChange::Pause { offset } => Some((u.id, offset)),
            DueChange::Keep | DueChange::Replace { .. } => None,
        });
        let changed = self.unplans.iter().map(|u| (u.task, u.offset));
        resting.chain(changed).collect()
    }

    /// The rows of those runs that a rest takes back though their instants have come.
    #[must_use]
    pub fn answers<'r>(&self, gone: impl Iterator<Item = &'r Run>, now: Timestamp) -> Vec<Run> {
        let rests = |u: &&Upsert| matches!(u.due, DueChange::Pause { .. });
        let resting: HashMap<TaskId, &TaskSpec> = self
            .upserts
            .iter()
            .filter(rests)
            .map(|u| (u.id, &u.spec))
            .collect();
        let answer = |run: &Run| answered_by_rest(run, resting.get(&run.task?)?, now);
        gone.filter_map(answer).collect()
    }

    /// The limits under which blocked runs are to be looked at again. Not those of tasks that are deleted: who waits
    /// under them ends with its task.
    #[must_use]
    pub fn limit_keys(&self) -> Vec<LimitKey> {
        let changed = self.upserts.iter().filter(|u| u.expected.is_some());
        let tasks = changed.map(|u| u.id);
        let of_task = |id| [LimitKey::Overlap(id), LimitKey::Task(id)];
        let limits = self.limits.iter().map(|(key, _)| key.clone());
        tasks.flat_map(of_task).chain(limits).collect()
    }
}

/// A task to delete, with its due row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delete {
    pub task: TaskId,
    /// The version that it must have.
    pub version: i64,
    /// Where its due row stood when this was decided. If it has moved since, instants were fired that the decision did
    /// not know of, and the edit is stale.
    pub seen: Option<Timestamp>,
}

/// Deleted tasks whose waiting runs the leader still looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletions {
    pub count: u64,
    /// When the first of them was deleted.
    pub first_at: Timestamp,
    /// When the last was.
    pub last_at: Timestamp,
}

/// A look at the live runs, for those that wait though their task is deleted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Orphans {
    /// Those that were found.
    pub runs: Vec<Run>,
    /// Where the next look begins; `None` = there are no more live runs.
    pub next: Option<RunId>,
}

/// A due row that is put elsewhere, because a calendar or the zone database changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub task: TaskId,
    /// Where the row stood when this was decided. If it has moved since, the edit is stale.
    pub seen: Option<Timestamp>,
    pub next: Option<DueKey>,
}

/// A run to submit.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The row, in state scheduled, origin request.
    pub run: Run,
    /// What it carries of its own.
    pub spec: Option<RunSpec>,
    /// A second submission with the same key, that says the same, returns the first run.
    pub key: Option<Key>,
}

/// The answer to one submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The run: the new one, or the one that the key named already.
    pub run: RunId,
    /// Whether it is new.
    pub created: bool,
    /// Whether the key's run is another request's, so that nothing of the batch was stored.
    pub taken: bool,
}

/// The answer to a request to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// It had not started; it never will.
    Cancelled,
    /// It runs; its worker has been told and will end it.
    Requested,
    /// It had ended already, like this.
    Ended(State),
    Unknown,
}

/// The answer to a request to start a run at another instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It starts at the new instant.
    Done,
    /// It is on its way to a worker, or waits for a permit: its instant has come.
    Due,
    Started(State),
    /// It had ended already, like this.
    Ended(State),
    /// It is an occurrence: its instant is its schedule's.
    Occurrence,
    Unknown,
}

/// What people ask of the store. Every write names who asks for it, and leaves a line in the audit in its own transaction:
/// what its actor is doing, or what the write is. A submission leaves one only if its actor is doing something beside it.
#[async_trait]
pub trait EditStore: Send + Sync + 'static {
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

    /// Leaves a request in the inbox, as any program does with one `INSERT`: it becomes a run, or is refused, when the leader
    /// takes it out. Answers its number.
    async fn leave_request(&self, request: &str) -> Result<i64, Error>;

    /// Cancels a run that has not started, or asks its worker to.
    async fn cancel(&self, actor: &Actor, id: RunId, at: Timestamp) -> Result<Cancel, Error>;

    /// Lets a run that waits for its timer start at another instant: the timer is replaced in the same transaction.
    async fn move_run(&self, actor: &Actor, id: RunId, to: Timestamp) -> Result<Moved, Error>;

    /// Lets go on what is set aside: its end is recorded now, or it waits for its start again. A run that was running when it
    /// went aside was lost with its worker: it goes on as [`crate::decide::attempt::lose`] says of `if_lost`.
    async fn release(
        &self,
        actor: &Actor,
        id: i64,
        at: Timestamp,
        if_lost: StartMode,
    ) -> Result<Released, Error>;

    /// Forgets what is set aside, and its run with it.
    async fn drop_quarantined(&self, actor: &Actor, id: i64) -> Result<Written, Error>;

    /// Asks the term with this epoch to end.
    async fn request_resign(&self, actor: &Actor, epoch: i64) -> Result<Written, Error>;

    /// Holds the cluster, or (with `None`) ends its hold: an edit. From its answer on nothing starts: no firing that rests on
    /// an older edit counter is taken, no claim wins, and nothing is told to still wait.
    async fn hold(&self, actor: &Actor, hold: Option<&Hold>) -> Result<(), Error>;

    /// The secret that all nodes share, from which the queues' signing keys are derived: `fresh` is kept if there is
    /// none yet, and the kept one is returned.
    async fn secret(&self, fresh: [u8; 32]) -> Result<[u8; 32], Error>;
}

/// What the leader edits, on somebody's behalf and under its term: what an edit leaves to do.
#[async_trait]
pub trait EditForStore: Send + Sync + 'static {
    /// A leader's edit on somebody's behalf: as [`EditStore::edit`], under the fence. [`Fired::Edited`] where that is stale.
    async fn edit_for(
        &self,
        term: &Term,
        on_behalf_of: OnBehalfOf,
        edit: &Edit,
        at: Timestamp,
    ) -> Result<Fired, Error>;

    /// Of up to `limit` paused tasks whose pauses end at or before `now`: which, and when. The earliest first.
    async fn pauses_over(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TaskId, Timestamp)>, Error>;

    /// Ends the hold whose end is this one, if that has come by the store's own clock. [`Fired::Edited`] if it is another.
    async fn end_hold(&self, term: &Term, until: Timestamp) -> Result<Fired, Error>;

    /// Removes up to `limit` of the oldest lines of the audit that were written before `before`; the chain begins behind
    /// them. Answers how many, or `None` if fenced.
    async fn prune_audit(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error>;

    /// Removes up to `limit` finished runs that ended before `before`, with all that hangs on them. Answers how many,
    /// or `None` if fenced.
    async fn prune(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error>;
}

/// Taking requests out of the inbox, under the fence.
#[async_trait]
pub trait InboxStore: Send + Sync + 'static {
    /// The oldest rows of the inbox, as many as [`crate::decide::edit::inbox::fit`] lets be read at once.
    async fn inbox(&self) -> Result<Inbox, Error>;

    /// Takes these rows out of the inbox and keeps what has become of them, under the fence: runs are stored as submissions
    /// are, and a key that is taken lets its row alone be a duplicate or a conflict. [`Drained::Edited`] if tasks are not as
    /// they were at `edits`.
    async fn drain(
        &self,
        term: &Term,
        edits: i64,
        rows: &[Decision],
        at: Timestamp,
    ) -> Result<Drained, Error>;
}

/// The waiting runs of deleted tasks, and their end.
#[async_trait]
pub trait OrphanStore: Send + Sync + 'static {
    /// Deleted tasks whose waiting runs are still looked for; `None` = there are none.
    async fn deletions(&self) -> Result<Option<Deletions>, Error>;

    /// Of the first `look` live runs after `after`, in the order of ids: those that wait, and whose task is one of
    /// [`OrphanStore::deletions`].
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
}
