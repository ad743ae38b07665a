//! Runs as values: states, reasons, and the row of a run as every reader sees it. Transitions live in
//! `decide::attempt`; this file never decides anything.

use std::time::Duration;

use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{ClaimId, NodeId, RunId, TaskId};
use crate::task::{HandlerSpec, QueueName, Retry, TaskSpec};

/// Where a run stands. The numbers are what the store keeps; they never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i16)]
pub enum State {
    /// Waiting for its instant, or for its message to be taken.
    Scheduled = 1,
    /// Published and confirmed by the broker, and seen unclaimed after that. Written lazily: most runs never are.
    Queued = 2,
    /// Claimed by a worker.
    Running = 3,
    /// Ended well, or handed over to an external listener.
    Succeeded = 4,
    /// Ended badly, for good.
    Failed = 5,
    /// Ended because somebody asked.
    Cancelled = 6,
    /// An occurrence that did not run, with its reason.
    Skipped = 7,
    /// Set aside, because the store refuses to record what became of it. Nothing waits for it; somebody releases it, or
    /// drops it.
    Quarantined = 8,
}

impl State {
    /// All states, in the order of a run's life.
    pub const ALL: [Self; 8] = [
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Skipped,
        Self::Quarantined,
    ];

    /// Whether a row in this state never changes again.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Skipped
        )
    }

    /// Whether it waits to be claimed.
    #[must_use]
    pub const fn is_waiting(self) -> bool {
        matches!(self, Self::Scheduled | Self::Queued)
    }

    /// The number in the store.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self as i64
    }

    /// From the number in the store.
    #[must_use]
    pub fn from_i64(raw: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_i64() == raw)
    }

    /// The word in API, CLI and pages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Quarantined => "quarantined",
        }
    }
}

/// Why a run ended, or did not run. `None` is the plain success, or a run still under way.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "kebab-case")]
#[repr(i16)]
pub enum Reason {
    /// Nothing to say.
    #[default]
    None = 0,
    /// The handler said no, and no attempt is left (or it said that trying again is no use).
    Error = 1,
    /// The handler took longer than the task's timeout, and no attempt is left.
    Timeout = 2,
    /// The worker died after its claim, and the run may not start again (`at-most-once`, or too many losses).
    Lost = 3,
    /// The broker confirmed the message for an external listener that does not answer.
    HandedOver = 4,
    /// Somebody asked for the end.
    Requested = 5,
    /// The occurrence was later than the task's `misfire_limit`, and the policy drops it.
    Misfire = 6,
    /// The occurrence was older than the task's `max_lateness`.
    TooLate = 7,
    /// More occurrences were missed than catch-up takes.
    CatchUpLimit = 8,
    /// The task was deleted before the run started.
    TaskDeleted = 9,
    /// The worker's own settings do not allow this handler (commands off, unknown native name).
    NotAllowed = 10,
    /// An earlier run of the task was active, and the policy lets no more wait.
    Overlap = 11,
    /// It had not started when its `start_deadline` passed.
    StartDeadline = 12,
    /// A calendar excludes the instant.
    Calendar = 13,
    /// A calendar excludes the instant, and the occurrence runs on another day instead (`ready_at` of the row).
    Moved = 14,
    /// The task was paused.
    Paused = 15,
    /// The task was disabled by its definition.
    Disabled = 16,
    /// The task's schedule was changed before the overdue instant was planned.
    Changed = 17,
    /// A later occurrence took its place.
    Replaced = 18,
    /// The store refused to record its end; all that it took is that it is over.
    Unrecordable = 19,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 20] = [
        Self::None,
        Self::Error,
        Self::Timeout,
        Self::Lost,
        Self::HandedOver,
        Self::Requested,
        Self::Misfire,
        Self::TooLate,
        Self::CatchUpLimit,
        Self::TaskDeleted,
        Self::NotAllowed,
        Self::Overlap,
        Self::StartDeadline,
        Self::Calendar,
        Self::Moved,
        Self::Paused,
        Self::Disabled,
        Self::Changed,
        Self::Replaced,
        Self::Unrecordable,
    ];

    /// The number in the store.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self as i64
    }

    /// From the number in the store.
    #[must_use]
    pub fn from_i64(raw: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_i64() == raw)
    }

    /// The word in API, CLI and pages; empty for [`Reason::None`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unrecordable => "unrecordable",
            Self::None => "",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Lost => "lost",
            Self::HandedOver => "handed-over",
            Self::Requested => "requested",
            Self::Misfire => "misfire",
            Self::TooLate => "too-late",
            Self::CatchUpLimit => "catch-up-limit",
            Self::TaskDeleted => "task-deleted",
            Self::NotAllowed => "not-allowed",
            Self::Overlap => "overlap",
            Self::StartDeadline => "start-deadline",
            Self::Calendar => "calendar",
            Self::Moved => "moved",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
            Self::Changed => "changed",
            Self::Replaced => "replaced",
        }
    }
}

/// What made a run. The number is what the store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(i16)]
pub enum Origin {
    /// A due instant of the task's schedule: one run for each (task, instant).
    Schedule = 1,
    /// A submission or a trigger.
    Request = 2,
    /// A past instant of the task's schedule that somebody asked to have run after all. An instant may have several: one
    /// that did not run is no answer to the next request.
    Backfill = 3,
    /// A request that another program left in the inbox, inside a transaction of its own.
    Inbox = 4,
}

impl Origin {
    /// The number in the store.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self as i64
    }

    /// From the number in the store.
    #[must_use]
    pub fn from_i64(raw: i64) -> Option<Self> {
        [Self::Schedule, Self::Request, Self::Backfill, Self::Inbox]
            .into_iter()
            .find(|o| o.as_i64() == raw)
    }

    /// Whether somebody asked for it, and it stands for no instant of a schedule.
    #[must_use]
    pub const fn is_request(self) -> bool {
        matches!(self, Self::Request | Self::Inbox)
    }

    /// Whether it stands for an instant of a schedule: then its effects are told apart by that instant.
    #[must_use]
    pub const fn is_occurrence(self) -> bool {
        matches!(self, Self::Schedule | Self::Backfill)
    }
}

/// One run as it stands: the live row, or the row in history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Who it is.
    pub id: RunId,
    /// Of which task; `None` for a run submitted with its own handler.
    pub task: Option<TaskId>,
    /// What made it.
    pub origin: Origin,
    /// The instant it was meant for. With the task it is an occurrence's identity, and never changes; a request's is
    /// another once it was moved.
    pub due_at: Timestamp,
    /// When the present attempt may start: `due_at`, or later after a failure.
    pub ready_at: Timestamp,
    /// Where it is delivered.
    pub queue: QueueName,
    /// JMS priority, 0 to 9.
    pub priority: u8,
    /// Where it stands.
    pub state: State,
    /// Why it ended.
    pub reason: Reason,
    /// Fence number: grows on every requeue.
    pub attempt: u32,
    /// How many attempts ended in failure.
    pub failures: u32,
    /// How many attempts died with their worker.
    pub losses: u32,
    /// The term in which it was fired; 0 for a run that is still waiting for its timer.
    pub epoch: i64,
    /// When it was seen published and unclaimed.
    pub queued_at: Option<Timestamp>,
    /// When the present (or last) attempt was claimed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Who holds or held the present (or last) attempt.
    pub worker: Option<NodeId>,
    /// The claim of the present (or last) attempt.
    pub claim: Option<ClaimId>,
    /// Why its end was asked for while it was running: [`Reason::Requested`] or [`Reason::Replaced`].
    pub cancel: Option<Reason>,
    /// Whether it needs permits: those that it holds are given back when it ends.
    pub limited: bool,
    /// Whether it is one of many that were missed together and all run: it waits for its turn where its task's overlap
    /// policy would skip it, or let it take another's place. A backfill does so by its origin ([`Run::waits_its_turn`]).
    pub in_turn: bool,
    /// If its first attempt has not started by then, it never does.
    pub deadline_at: Option<Timestamp>,
    /// The last error's text, cut to [`crate::limits::ERROR_BYTES_MAX`].
    pub error: Option<String>,
    /// For a skipped row that stands for many: the last instant and how many. A single skip has (`due_at`, 1).
    pub skipped: Option<(Timestamp, u64)>,
}

impl Run {
    /// A request of no task that waits for its first attempt, and of which nobody has written anything.
    #[must_use]
    pub const fn untouched(id: RunId, queue: QueueName, priority: u8, due_at: Timestamp) -> Self {
        Self {
            id,
            task: None,
            origin: Origin::Request,
            due_at,
            ready_at: due_at,
            queue,
            priority,
            state: State::Scheduled,
            reason: Reason::None,
            attempt: 1,
            failures: 0,
            losses: 0,
            epoch: 0,
            queued_at: None,
            started_at: None,
            finished_at: None,
            worker: None,
            claim: None,
            cancel: None,
            limited: false,
            in_turn: false,
            deadline_at: None,
            error: None,
            skipped: None,
        }
    }

    /// Whether it waits for those that run, and is waited for, whatever its task's overlap policy says.
    #[must_use]
    pub fn waits_its_turn(&self) -> bool {
        self.in_turn || self.origin == Origin::Backfill
    }

    /// Start minus due in milliseconds, once started ([`lateness_ms`]).
    #[must_use]
    pub fn lateness_ms(&self) -> Option<i64> {
        self.started_at
            .map(|started| lateness_ms(self.origin, self.id, self.due_at, started))
    }
}

/// Start minus due in milliseconds. What people asked for after its instant, a backfill or a request for an instant that had
/// passed, is late from the asking on.
#[must_use]
pub fn lateness_ms(origin: Origin, id: RunId, due_at: Timestamp, started_at: Timestamp) -> i64 {
    let from = match origin {
        Origin::Schedule => due_at,
        Origin::Request | Origin::Backfill | Origin::Inbox => due_at.max(id.minted_at()),
    };
    started_at.as_ms() - from.as_ms()
}

/// What a submitted run carries of its own, beside its task's definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct RunSpec {
    /// Its own handler; `None` = its task's.
    pub handler: Option<HandlerSpec>,
    /// Its own payload; `None` = its task's.
    pub payload: Option<serde_json::Value>,
    /// Its own rules of retry and time; `None` = its task's, or the defaults.
    pub rules: Option<RunRules>,
}

/// Rules that a submitted run brings with it, in place of its task's or of the defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct RunRules {
    /// How often it is tried, and after which waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How long one attempt may take.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "campanile_schedule::time::optional_duration"
    )]
    pub timeout: Option<Duration>,
}

impl RunRules {
    /// A definition with these rules in place of its own.
    pub fn put_over(&self, spec: &mut TaskSpec) {
        if let Some(retry) = &self.retry {
            spec.retry = retry.clone();
        }
        if let Some(timeout) = self.timeout {
            spec.timeout = timeout;
        }
    }
}

/// One attempt that has ended other than well: what the timeline of a run shows beside its row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptEnd {
    /// Which attempt.
    pub attempt: u32,
    /// Who held it.
    pub worker: Option<NodeId>,
    /// When it was claimed.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Why: [`Reason::Error`], [`Reason::Timeout`] or [`Reason::Lost`].
    pub reason: Reason,
    /// The error's text.
    pub error: Option<String>,
    /// What kind of failure it was, as `retry.on` names it; `None` in rows that an older program wrote.
    pub class: Option<String>,
}
