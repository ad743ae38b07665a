//! Ask, as a port: all that is only read, for API, CLI and pages, and by the leader. Nothing here changes a row.

use std::collections::HashMap;

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;

use crate::decide::attempt::log;
use crate::decide::edit::inbox::Settled;
use crate::decide::edit::keys::Scope;
use crate::id::{NodeId, RunId, TaskId};
use crate::port::attempt::Chunk;
use crate::port::member::{Node, Progress};
use crate::port::store::Error;
use crate::run::{AttemptEnd, Run, RunSpec, State};
use crate::task::{Label, Pause, QueueName, Task};

/// Which tasks to list; by default all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskFilter {
    /// Of this owner; empty = of none.
    pub owner: Option<String>,
    /// With each of these labels.
    pub labels: Vec<Label>,
}

impl TaskFilter {
    /// Those of an owner.
    #[must_use]
    pub fn of(owner: Option<&str>) -> Self {
        Self {
            owner: owner.map(str::to_owned),
            labels: Vec::new(),
        }
    }

    /// Whether it lets a task through.
    #[must_use]
    pub fn allows(&self, task: &Task) -> bool {
        let of = task.spec.owner.as_deref().unwrap_or_default();
        self.owner.as_deref().is_none_or(|owner| owner == of)
            && self
                .labels
                .iter()
                .all(|label| label.is_of(&task.spec.labels))
    }
}

/// Which runs to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFilter {
    /// Of any of these tasks; empty = of all, and of none.
    pub tasks: Vec<TaskId>,
    pub state: Option<State>,
    /// Due at or after.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// A run with all that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    pub run: Run,
    /// What it carries of its own.
    pub spec: Option<RunSpec>,
    /// Its attempts that ended other than well.
    pub attempts: Vec<AttemptEnd>,
    /// What it returned, as JSON, if it ended well and returned something.
    pub result: Option<String>,
    /// How far it last said that it was.
    pub progress: Option<Progress>,
    /// Who submitted it, where that is known: the identity of an actor.
    pub submitter: Option<String>,
}

/// How many live runs stand where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueCount {
    pub queue: QueueName,
    /// Scheduled for a later instant.
    pub future: u64,
    /// Due and not yet claimed (scheduled or queued).
    pub waiting: u64,
    pub running: u64,
}

/// A page of tasks: in the order of their names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskPage {
    pub tasks: Vec<Task>,
    /// The name after which the next page begins; `None` = this was the last.
    pub next: Option<String>,
}

/// Something that is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    pub id: i64,
    pub task: Option<TaskId>,
    /// Which run; `None` for a task's next occurrence.
    pub run: Option<RunId>,
    /// At which attempt; 0 without a run.
    pub attempt: u32,
    pub queue: QueueName,
    /// The instant that it is about.
    pub due_at: Timestamp,
    pub at: Timestamp,
    /// What was to be recorded.
    pub what: String,
    /// What the store said.
    pub error: String,
}

/// A task that was deleted. Its history stays, and can be asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Former {
    /// As it was last.
    pub task: Task,
    /// When it was deleted.
    pub deleted_at: Timestamp,
}

/// What a task is or was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub id: TaskId,
    /// Its name, or the one that it had when it was deleted.
    pub name: String,
    /// Its owner, by its last definition.
    pub owner: Option<String>,
    /// Its zone, likewise.
    pub timezone: String,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

/// The runs of a task that wait: what its deletion would cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    pub task: TaskId,
    /// How many wait: all that people asked for, all between two attempts, and those of the schedule that are overdue.
    /// (A schedule's next run, made a moment ahead of its instant, is no backlog.)
    pub waiting: u64,
    /// Of those, how many people asked for.
    pub requested: u64,
    /// The newest of those.
    pub newest: Option<RunId>,
}

/// What is asked of the store about tasks.
#[async_trait]
pub trait AskTasks: Send + Sync + 'static {
    /// Tasks in the order of their names, after `after`.
    async fn tasks(
        &self,
        filter: &TaskFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<TaskPage, Error>;

    /// Tasks by id; deleted ones are missing from the answer.
    async fn tasks_by_id(&self, ids: &[TaskId]) -> Result<Vec<Task>, Error>;

    /// What is known of the pauses of these tasks; one that is not paused is missing from the answer, and so is one whom an
    /// older program paused.
    async fn pauses(&self, ids: &[TaskId]) -> Result<HashMap<TaskId, Pause>, Error>;

    /// Tasks by name; unknown names are missing from the answer.
    async fn tasks_by_name(&self, names: &[String]) -> Result<Vec<Task>, Error>;

    /// Deleted tasks that had this name when they were deleted, the last one first.
    async fn former_tasks(&self, name: &str, limit: usize) -> Result<Vec<Former>, Error>;

    /// Up to `limit` tasks that have or had this name: the present one, then the deleted ones, the last one first.
    async fn namesakes(&self, name: &str, limit: usize) -> Result<Vec<TaskId>, Error>;

    /// What tasks are or were called; unknown ids are missing from the answer.
    async fn task_names(&self, ids: &[TaskId]) -> Result<Vec<Named>, Error>;

    /// The waiting runs of these tasks; tasks without any are missing from the answer. A run of the schedule counts
    /// when it was due before `overdue`.
    async fn backlogs(&self, tasks: &[TaskId], overdue: Timestamp) -> Result<Vec<Backlog>, Error>;

    /// The due row of a task's next occurrence.
    async fn next_due(&self, task: TaskId) -> Result<Option<Timestamp>, Error>;

    /// The due rows of these tasks' next occurrences; tasks without one are missing from the answer.
    async fn next_dues(&self, tasks: &[TaskId]) -> Result<HashMap<TaskId, Timestamp>, Error>;

    /// Of these tasks those whose next due row is put by the end of a run, and which; the others are missing from the answer.
    async fn chain_holders(&self, tasks: &[TaskId]) -> Result<HashMap<TaskId, RunId>, Error>;

    /// When a run of each of these tasks last ended well, among the `look` rows of its history that were made last;
    /// tasks without one there are missing from the answer.
    async fn last_successes(
        &self,
        tasks: &[TaskId],
        look: usize,
    ) -> Result<HashMap<TaskId, Timestamp>, Error>;
}

/// What is asked of it about runs.
#[async_trait]
pub trait AskRuns: Send + Sync + 'static {
    /// Runs, live and finished, newest id first, with ids below `before`.
    async fn runs(
        &self,
        filter: &RunFilter,
        before: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<Run>, Error>;

    async fn run(&self, id: RunId) -> Result<Option<RunRecord>, Error>;

    /// Who submitted these runs; those of whom that is not known are missing from the answer.
    async fn submitters(&self, ids: &[RunId]) -> Result<HashMap<RunId, String>, Error>;

    /// What became of one instant of a task: its run or its skip (also one that stands for a range around it).
    async fn occurrence(&self, task: TaskId, at: Timestamp) -> Result<Option<Run>, Error>;

    /// The runs that a key stands for, one for each scope but the engine's, at most `limit`.
    async fn runs_of_key(&self, key: &str, limit: usize) -> Result<Vec<(Scope, RunId)>, Error>;

    /// What a run's attempts wrote, in order, at most `limit` chunks: of the attempt `attempt` those that end behind `from`, and all
    /// of later ones.
    async fn log(
        &self,
        id: RunId,
        attempt: u32,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u32, Chunk)>, Error>;

    /// All that a run's attempts wrote, as people read it, by attempt.
    async fn logs(&self, id: RunId) -> Result<Vec<(u32, String)>, Error> {
        let all = self.log(id, 0, 0, usize::MAX).await?;
        let attempts = all.chunk_by(|(one, _), (other, _)| one == other);
        let logs = attempts.map(|of_one| {
            let (numbers, chunks): (Vec<u32>, Vec<Chunk>) = of_one.iter().cloned().unzip();
            let number = numbers.first().copied().unwrap_or_default();
            (number, log::join(0, &chunks).text())
        });
        Ok(logs.collect())
    }

    /// What nodes are or were called; unknown ids are missing from the answer.
    async fn node_names(&self, ids: &[NodeId]) -> Result<HashMap<NodeId, String>, Error>;
}

/// What is asked of it about the cluster: its settings, members and queues, what is set aside, what became of the inbox.
#[async_trait]
pub trait AskCluster: Send + Sync + 'static {
    /// Whether this program still knows the store's schema; [`Error::Outdated`] if not. A store that lives in this
    /// program always has the one that it knows.
    async fn check_schema(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The value of a setting of the cluster.
    async fn setting(&self, name: &str) -> Result<Option<String>, Error>;

    async fn nodes(&self) -> Result<Vec<Node>, Error>;

    /// Live runs by queue.
    async fn queues(&self, now: Timestamp) -> Result<Vec<QueueCount>, Error>;

    /// What is set aside, oldest first, after this one.
    async fn quarantine(&self, after: Option<i64>, limit: usize)
    -> Result<Vec<Quarantined>, Error>;

    /// What has become of a row of the inbox; `None` while it is there, or if there is none.
    async fn settled(&self, id: i64) -> Result<Option<Settled>, Error>;

    /// Rows of the inbox that became no run, newest first, with numbers below `before`.
    async fn unfulfilled(&self, before: Option<i64>, limit: usize) -> Result<Vec<Settled>, Error>;
}

/// All that is asked of the store: reads alone.
pub trait AskStore: AskTasks + AskRuns + AskCluster {}

impl<T: AskTasks + AskRuns + AskCluster> AskStore for T {}
