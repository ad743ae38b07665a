//! The nouns of edits: what is written of tasks, calendars and limits, and what a deletion leaves to do.

use std::collections::HashMap;
use std::time::Duration;

use campanile_schedule::calendar::CalendarSpec;
use campanile_schedule::time::Timestamp;

use super::DueKey;
use crate::id::{RunId, TaskId};
use crate::protocol::ahead::{DueChange, Unplan};
use crate::protocol::permits::LimitKey;
use crate::run::Run;
use crate::task::{Task, TaskSpec};

/// A task to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Upsert {
    /// Its id; new ids are minted by the caller.
    pub id: TaskId,
    /// The version that the row must have; `None` = the task must not exist.
    pub expected: Option<i64>,
    /// The definition.
    pub spec: TaskSpec,
    /// While it rests: the instant from which on its occurrences do not run. With [`DueChange::Rest`] the store finds it.
    pub rests_from: Option<Timestamp>,
    /// Its due row.
    pub due: DueChange,
}

/// For whom a leader edits what people define.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBehalfOf {
    /// Nobody: the zone rules have changed, and due rows move with them.
    ZoneRules,
}

/// A change of tasks, calendars and limits: all of it or nothing. Runs that are parked under a limit of a task that
/// changes, or under a limit that changes, are looked at again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Edit {
    /// Tasks to write.
    pub upserts: Vec<Upsert>,
    /// Tasks to delete.
    pub deletes: Vec<Delete>,
    /// The edit counter that all of it rests on; `None` = the versions of the tasks are enough.
    pub edits: Option<i64>,
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
    /// Settings of the cluster to write: name and value.
    pub settings: Vec<(&'static str, String)>,
}

impl Edit {
    /// Of which tasks what was planned ahead is taken back, and how far their starts lie behind their instants.
    #[must_use]
    pub fn taking_back(&self) -> HashMap<TaskId, Duration> {
        let resting = self.upserts.iter().filter_map(|u| match u.due {
            DueChange::Rest { offset } => Some((u.id, offset)),
            DueChange::Keep | DueChange::Replace { .. } => None,
        });
        let changed = self.unplans.iter().map(|u| (u.task, u.offset));
        resting.chain(changed).collect()
    }

    /// The limits under which parked runs are to be looked at again. Not those of tasks that are deleted: who waits
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
    /// Which.
    pub task: TaskId,
    /// The version that it must have.
    pub version: i64,
    /// Where its due row stood when this was decided. If it has moved since, instants were fired that the decision did
    /// not know of, and the edit is stale.
    pub seen: Option<Timestamp>,
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
    /// Which.
    pub id: TaskId,
    /// Its name, or the one that it had when it was deleted.
    pub name: String,
    /// Its zone, by its last definition.
    pub timezone: String,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

/// The runs of a task that wait: what its deletion would cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Whose.
    pub task: TaskId,
    /// How many wait: all that people asked for, all between two attempts, and those of the schedule that are overdue.
    /// (A schedule's next run, made a moment ahead of its instant, is no backlog.)
    pub waiting: u64,
    /// Of those, how many people asked for.
    pub requested: u64,
    /// The newest of those.
    pub newest: Option<RunId>,
}

/// Deleted tasks whose waiting runs the leader still looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletions {
    /// How many.
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
    /// Whose.
    pub task: TaskId,
    /// Where the row stood when this was decided. If it has moved since, the edit is stale.
    pub seen: Option<Timestamp>,
    /// The new row.
    pub next: Option<DueKey>,
}
