//! The shapes of the API: what goes over the wire, with the names that scripts rely on. The CLI reads the same types.
//! They are made from control's values and decide nothing. Here: tasks and runs; the rest is in `model/cluster.rs`.

mod cluster;
mod forecast;
mod rules;

pub use self::cluster::{
    Applied, ChangedTask, DeletionView, FieldChange, LeaderView, Node, Queue, QueueKey, StatsView,
    WhyView,
};
pub use self::forecast::Plan;

pub use self::rules::{BackfillView, CALENDAR_EXTRAS, CalendarView, LimitView};

use campanile::control::{Event, RunRow, RunStory, TaskRow};
use campanile::id::{RunId, TaskId};
use campanile::protocol::work;
use campanile::run::Reason;
use campanile::task::TaskSpec;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Pass it as `cursor` for the next page; null = this was the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A list that is always whole.
    #[must_use]
    pub const fn whole(items: Vec<T>) -> Self {
        Self {
            items,
            next_cursor: None,
        }
    }
}

/// The fields of an answered task that are not part of its definition: ignored where a definition is put.
pub const TASK_EXTRAS: [&str; 5] = [
    "version",
    "next_due_at",
    "warning",
    "created_at",
    "updated_at",
];

/// A task: its definition, and what is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct Task {
    /// The definition.
    #[serde(flatten)]
    pub spec: TaskSpec,
    /// Grows with every change.
    pub version: i64,
    /// Its next instant by its schedule; null when it has none, or rests.
    pub next_due_at: Option<Timestamp>,
    /// What keeps its runs from being taken now; null = nothing that is known.
    pub warning: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl From<TaskRow> for Task {
    fn from(row: TaskRow) -> Self {
        Self {
            spec: row.task.spec,
            version: row.task.version,
            next_due_at: row.next_due_at,
            warning: row.warning,
            created_at: row.task.created_at,
            updated_at: row.task.updated_at,
        }
    }
}

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// Its id, for ever.
    #[schema(value_type = String, example = "00m3c9v7q8e01")]
    pub id: RunId,
    /// Its task's name, also of a deleted one; null for a run without a task.
    pub task: Option<String>,
    /// Its task's IANA zone, on whose wall its instants are meant; null as for `task`.
    pub timezone: Option<String>,
    /// Its task: tells tasks of one name apart.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub task_id: Option<TaskId>,
    /// When its task was deleted; null = it was not. The name may be another task's by now.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub task_deleted_at: Option<Timestamp>,
    /// `scheduled`, `queued`, `running`, `succeeded`, `failed`, `cancelled` or `skipped`.
    pub state: String,
    /// Why it ended like that, where there is something to say.
    pub reason: Option<String>,
    /// Fence number: grows on every requeue.
    pub attempt: u32,
    /// Attempts that failed.
    pub failures: u32,
    /// Attempts that died with their worker.
    pub losses: u32,
    /// `schedule`, `request` or `backfill`.
    pub origin: String,
    /// Where it is delivered.
    pub queue: String,
    /// 0 (last) to 9 (first).
    pub priority: u8,
    /// The instant that it is meant for.
    #[schema(value_type = String, format = DateTime)]
    pub due_at: Timestamp,
    /// When the present attempt may start: `due_at`, or later after a failure.
    #[schema(value_type = String, format = DateTime)]
    pub ready_at: Timestamp,
    /// When it was seen published and unclaimed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub queued_at: Option<Timestamp>,
    /// When the present (or last) attempt started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// Who runs or ran it: the node's name while it lives, then its id.
    pub worker: Option<String>,
    /// The same, always by id.
    pub worker_id: Option<String>,
    /// The term in which it was fired; 0 = it still waits for its timer.
    pub epoch: i64,
    /// Start minus due.
    pub lateness_ms: Option<i64>,
    /// Somebody asked for its end while it was running.
    pub cancel_requested: bool,
    /// The last error.
    pub error: Option<String>,
    /// For a skipped row that stands for many instants: the last of them.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub skipped_until: Option<Timestamp>,
    /// For a skipped row: how many instants it stands for.
    pub skipped_count: Option<u64>,
}

impl From<RunRow> for Run {
    fn from(row: RunRow) -> Self {
        let run = row.run;
        let worker_id = run.worker.map(|id| id.to_string());
        Self {
            id: run.id,
            task: row.task,
            timezone: row.timezone,
            task_id: run.task,
            task_deleted_at: row.task_deleted_at,
            state: run.state.as_str().to_owned(),
            reason: (run.reason != Reason::None).then(|| run.reason.as_str().to_owned()),
            attempt: run.attempt,
            failures: run.failures,
            losses: run.losses,
            origin: match run.origin {
                campanile::run::Origin::Schedule => "schedule".to_owned(),
                campanile::run::Origin::Request => "request".to_owned(),
                campanile::run::Origin::Backfill => "backfill".to_owned(),
            },
            queue: run.queue.to_string(),
            priority: run.priority,
            due_at: run.due_at,
            ready_at: run.ready_at,
            queued_at: run.queued_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            worker: row.worker.or_else(|| worker_id.clone()),
            worker_id,
            epoch: run.epoch,
            lateness_ms: run.lateness_ms(),
            cancel_requested: run.cancel.is_some(),
            skipped_until: run.skipped.map(|(last, _)| last),
            skipped_count: run.skipped.map(|(_, count)| count),
            error: run.error,
        }
    }
}

/// One thing that happened to a run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TimelineEntry {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What: `created`, `due`, `queued`, `started`, `failed-attempt`, `refused`, `timeout`, `lost`, `given-back`, or its end's state.
    pub event: String,
    /// Of which attempt.
    pub attempt: Option<u32>,
    /// By which worker.
    pub worker: Option<String>,
    /// The error's text, or a reason.
    pub message: Option<String>,
}

impl From<Event> for TimelineEntry {
    fn from(event: Event) -> Self {
        Self {
            at: event.at,
            event: event.what.to_owned(),
            attempt: event.attempt,
            worker: event.worker,
            message: event.message,
        }
    }
}

/// One attempt that ended other than well.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Which.
    pub attempt: u32,
    /// When it started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub finished_at: Timestamp,
    /// Who held it, by id.
    pub worker_id: Option<String>,
    /// Why it ended; empty = given back by a worker that stopped.
    pub reason: String,
    /// What kind of failure it was, as `retry.on` names it: `503`, `exit:75`, `timeout` …
    pub class: Option<String>,
    /// The error's text.
    pub error: Option<String>,
}

/// A run with all that is known of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RunDetail {
    /// The run.
    #[serde(flatten)]
    pub run: Run,
    /// Its own handler, if it was submitted with one.
    #[schema(value_type = Option<Object>)]
    pub handler: Option<Value>,
    /// Its own payload, if it was submitted with one.
    #[schema(value_type = Option<Object>)]
    pub payload: Option<Value>,
    /// Its own retry, if it was submitted with one.
    #[schema(value_type = Option<Object>)]
    pub retry: Option<Value>,
    /// How long one of its attempts may take, if it was submitted with that: `30s`.
    pub timeout: Option<String>,
    /// Why nobody takes it, if it is due and no living worker can; null = nothing is known against it.
    pub blocked: Option<String>,
    /// Its attempts that ended other than well.
    pub attempts: Vec<Attempt>,
    /// What happened, in order.
    pub timeline: Vec<TimelineEntry>,
}

impl From<RunStory> for RunDetail {
    fn from(story: RunStory) -> Self {
        let own = story.detail.spec.unwrap_or_default();
        let rules = own.rules.unwrap_or_default();
        Self {
            run: story.row.into(),
            blocked: story.blocked,
            handler: own.handler.and_then(|h| serde_json::to_value(h).ok()),
            payload: own.payload,
            retry: rules.retry.and_then(|r| serde_json::to_value(r).ok()),
            timeout: rules.timeout.map(campanile_schedule::time::format_duration),
            attempts: story
                .detail
                .attempts
                .into_iter()
                .map(|end| Attempt {
                    attempt: end.attempt,
                    started_at: end.started_at,
                    finished_at: end.finished_at,
                    worker_id: end.worker.map(|id| id.to_string()),
                    reason: end.reason.as_str().to_owned(),
                    class: end.class,
                    error: end.error,
                })
                .collect(),
            timeline: story.timeline.into_iter().map(Into::into).collect(),
        }
    }
}

/// The answer to one submission.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Submitted {
    /// The run: the new one, or the one that the idempotency key named already.
    #[schema(value_type = String)]
    pub id: RunId,
    /// Whether it is new.
    pub created: bool,
}

impl From<work::Submitted> for Submitted {
    fn from(s: work::Submitted) -> Self {
        Self {
            id: s.run,
            created: s.created,
        }
    }
}

/// The answer to a cancellation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Cancelled {
    /// The run.
    #[schema(value_type = String)]
    pub id: RunId,
    /// `cancelled`: it never starts. `requested`: its worker has been told.
    pub outcome: String,
}

/// The log of one attempt.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AttemptLog {
    /// Which attempt.
    pub attempt: u32,
    /// What it said.
    pub text: String,
}
