//! Attempt, as a port: claims, ends, and what is set aside because the store refuses it.

use std::fmt;

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;
pub use campanile_task::log::{Chunk, Chunks};

use crate::id::{ClaimId, NodeId, OutboxId, RunId, TaskId};
use crate::port::Written;
use crate::port::fire::DueKey;
use crate::port::store::Error;
use crate::run::{Origin, Reason, RunSpec};
use crate::task::Class;

/// A worker's attempt to win runs. The store judges by its own clock whether they may start: no run with a later
/// `ready_at` is won.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub node: NodeId,
    /// The claim's random id.
    pub id: ClaimId,
    /// Which runs, at which attempts.
    pub runs: Vec<(RunId, u32)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    pub run: RunId,
    pub attempt: u32,
    /// Its task and the version in force now; `None` for a run without a task, or whose task was deleted.
    pub task: Option<(TaskId, i64)>,
    /// Its task was deleted before it was won: it does not start, whatever handler it carries.
    pub orphaned: bool,
    pub origin: Origin,
    pub due_at: Timestamp,
    /// When it was won, by the store's clock.
    pub started_at: Timestamp,
    pub failures: u32,
    pub losses: u32,
    /// Whether it holds permits, for which others may wait.
    pub limited: bool,
    /// What it carries of its own.
    pub spec: Option<RunSpec>,
}

/// How an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
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
    Abandoned {
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
            Self::Again { .. } | Self::Refused { .. } | Self::Abandoned { .. } => {
                "to be tried again"
            }
        }
    }
}

/// One end to record, guarded by the claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    pub run: RunId,
    pub attempt: u32,
    /// Which claim: without it nothing is written.
    pub claim: ClaimId,
    pub end: End,
    pub at: Timestamp,
    pub error: Option<String>,
    /// What kind of failure it was.
    pub class: Option<Class>,
    /// What of the attempt's log the store lacks; `None` or nothing in it = nothing more is kept.
    pub log: Option<Chunks>,
    /// What its handler returned, as JSON; `None` = nothing is kept.
    pub result: Option<String>,
    /// Whether the run holds permits, for which others may wait: then the leader is told at once.
    pub limited: bool,
}

/// What an attempt wrote while it runs, guarded by its claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    pub run: RunId,
    pub attempt: u32,
    /// Which claim: without it nothing is written.
    pub claim: ClaimId,
    pub chunks: Chunks,
}

/// A row that can't be read: what it is, or belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spoiled {
    /// A run, or what it carries of its own.
    Run(RunId),
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
    HandedOver { run: RunId, attempt: u32 },
    /// A run that waits, and whose step towards its start is refused.
    Start { run: RunId, attempt: u32 },
    /// A row that can't be read. A run goes aside whatever its state is; a task, with its due row; the runs of a list of
    /// what is to be published get their timers back, and the list is gone.
    Row(Spoiled),
    /// A due row that can't be fired: of a task's next occurrence, or of a run that waits.
    Due(DueKey),
}

impl Thing {
    /// Whether it may be about a run that waits: so is what nobody claims. An abandoned claim may not have arrived; it wins
    /// nothing either when it does.
    #[must_use]
    pub const fn may_wait(&self) -> bool {
        match self {
            Self::End(finish) => matches!(finish.end, End::Abandoned { .. }),
            Self::HandedOver { .. } | Self::Start { .. } | Self::Row(_) | Self::Due(_) => true,
        }
    }
}

/// Something to set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    pub thing: Thing,
    pub at: Timestamp,
    /// What the store said, cut to [`crate::limits::ERROR_BYTES_MAX`].
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

/// What a worker asks of the store.
#[async_trait]
pub trait AttemptStore: Send + Sync + 'static {
    /// Wins those of the runs that wait at that attempt, may start by the store's own clock and are not blocked for want
    /// of a permit, if the node is among the members and the cluster is not held.
    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, Error>;

    /// Records ends, each guarded by its (attempt, claim); answers one [`Written`] for each, in order.
    async fn finish(&self, ends: &[Finish]) -> Result<Vec<Written>, Error>;

    /// Keeps what attempts wrote, each named once, that run under these claims; answers one [`Written`] for each, in order. Stale for an attempt
    /// that ended, was given to others or is set aside: of that nothing is changed.
    async fn append(&self, logs: &[Append]) -> Result<Vec<Written>, Error>;

    /// Sets aside what the store refuses to record, so that nothing waits for it and people see it: a run ends its part in
    /// everything (state [`crate::run::State::Quarantined`], permits given back), a task's due row is taken away. Stale if the
    /// thing is not as it was seen, and for a run that can't be read here while another worker runs it: that one could read
    /// it, and its end is awaited.
    async fn set_aside(&self, aside: &Aside) -> Result<Written, Error>;
}
