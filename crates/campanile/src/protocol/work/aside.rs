//! What the store refuses to record, or can't read any more, and is set aside: what it was, what is shown of it, and what
//! becomes of it. Values only.

use std::fmt;

use campanile_schedule::time::Timestamp;

use super::{DueKey, End, Finish};
use crate::id::{OutboxId, RunId, TaskId};
use crate::task::QueueName;

/// A row that can't be read: what it is, or belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spoiled {
    /// A run, or what it carries of its own.
    Run(RunId),
    /// A task.
    Task(TaskId),
    /// A list of what is to be published.
    Outbox(OutboxId),
}

impl fmt::Display for Spoiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(run) => write!(f, "run {run}"),
            Self::Task(task) => write!(f, "task {task}"),
            Self::Outbox(id) => write!(f, "outbox {id}"),
        }
    }
}

/// What is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    /// An attempt that ended, under its claim; its texts are not kept.
    End(Finish),
    /// A run of which an external listener has the message.
    HandedOver {
        /// Which run.
        run: RunId,
        /// At which attempt.
        attempt: u32,
    },
    /// A run that waits, and whose step towards its start is refused.
    Start {
        /// Which run.
        run: RunId,
        /// At which attempt.
        attempt: u32,
    },
    /// A row that can't be read. A run goes aside whatever its state is; a task, with its due row; the runs of a list of
    /// what is to be published get their timers back, and the list is gone.
    Row(Spoiled),
    /// A due row that can't be fired: of a task's next occurrence, or of a run that waits.
    Due(DueKey),
}

impl Thing {
    /// Whether it may be about a run that waits: so is what nobody claims. A withdrawn claim may not have arrived; it wins
    /// nothing either when it does.
    #[must_use]
    pub const fn may_wait(&self) -> bool {
        match self {
            Self::End(finish) => matches!(finish.end, End::Withdrawn { .. }),
            Self::HandedOver { .. } | Self::Start { .. } | Self::Row(_) | Self::Due(_) => true,
        }
    }
}

/// Something to set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// What.
    pub thing: Thing,
    /// When.
    pub at: Timestamp,
    /// What the store said, cut to [`super::super::limits::ERROR_BYTES_MAX`].
    pub error: String,
}

impl Aside {
    /// What was to be recorded, in words.
    #[must_use]
    pub fn what(&self) -> String {
        match &self.thing {
            Thing::End(finish) => format!("its end: {}", finish.end.in_words()),
            Thing::HandedOver { .. } => "its end: handed over to an external listener".to_owned(),
            Thing::Due(key) => format!("its start, due at {}", key.at),
            Thing::Start { .. } => "its start".to_owned(),
            Thing::Row(_) => "nothing: its row can't be read".to_owned(),
        }
    }
}

/// Something that is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its number.
    pub id: i64,
    /// Of which task.
    pub task: Option<TaskId>,
    /// Which run; `None` for a task's next occurrence.
    pub run: Option<RunId>,
    /// At which attempt; 0 without a run.
    pub attempt: u32,
    /// Of which queue.
    pub queue: QueueName,
    /// The instant that it is about.
    pub due_at: Timestamp,
    /// Since when.
    pub at: Timestamp,
    /// What was to be recorded.
    pub what: String,
    /// What the store said.
    pub error: String,
}

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
