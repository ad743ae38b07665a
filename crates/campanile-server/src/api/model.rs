//! The shapes of the API: what goes over the wire, with the names that scripts rely on. The CLI reads the same types.
//! They are made from control's values and decide nothing. Here: tasks and runs; the rest is in `model/cluster.rs`.

mod cluster;
mod forecast;
mod logs;
mod rules;

pub use self::cluster::{Node, QueueKey, WhyView};
pub use self::forecast::Plan;
pub use self::logs::{AttemptLog, AttemptStanding, RunEnd};

pub use self::rules::{CALENDAR_EXTRAS, CalendarView};

use std::collections::HashMap;

use campanile_ask::{self, Event, RunRow, TaskRow};
use campanile_core::id::{NodeId, RunId, TaskId};
use campanile_core::port;
use campanile_core::run::Reason;
use campanile_core::task::TaskSpec;
use campanile_core::task::mask::Masks;
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
pub const TASK_EXTRAS: [&str; 8] = [
    "version",
    "next_due_at",
    "next_after_run",
    "pause",
    "warning",
    "created_at",
    "updated_at",
    "hidden",
];

/// What is known of a task's pause.
#[derive(Debug, Clone, Serialize)]
pub struct Pause {
    /// Who paused it.
    pub by: String,
    /// Why; null = nobody said.
    pub reason: Option<String>,
    pub since: Timestamp,
    /// When it ends by itself; null = somebody has to resume the task.
    pub until: Option<Timestamp>,
}

impl From<campanile_core::task::Pause> for Pause {
    fn from(pause: campanile_core::task::Pause) -> Self {
        Self {
            by: pause.by,
            reason: pause.reason,
            since: pause.since,
            until: pause.until,
        }
    }
}

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
    /// Of a schedule `after 10m`: the run that has to end before the next instant is known; null = none.
    pub next_after_run: Option<RunId>,
    /// Who paused it, why and until when; null = it is not paused, or nobody knows.
    pub pause: Option<Pause>,
    /// What keeps its runs from being taken now; null = nothing that is known.
    pub warning: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Fields of the definition that are not shown, for want of the right `data`: it can't be put back as it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<&'static str>,
}

impl Task {
    /// As it is shown: without the values that nobody should read.
    #[must_use]
    pub fn of(row: TaskRow, masks: &Masks) -> Self {
        let mut spec = row.task.spec;
        masks.task(&mut spec);
        Self {
            spec,
            version: row.task.version,
            next_due_at: row.next_due_at,
            next_after_run: row.next_after_run,
            pause: row.pause.map(Pause::from),
            warning: row.warning,
            created_at: row.task.created_at,
            updated_at: row.task.updated_at,
            hidden: row.hidden,
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
    /// Who runs or ran it: the node's name.
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
                campanile_core::run::Origin::Schedule => "schedule".to_owned(),
                campanile_core::run::Origin::Request => "request".to_owned(),
                campanile_core::run::Origin::Backfill => "backfill".to_owned(),
                campanile_core::run::Origin::Inbox => "inbox".to_owned(),
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
    /// Who held it: the node's name.
    #[serde(default)]
    pub worker: Option<String>,
    /// The same by id.
    pub worker_id: Option<String>,
    /// Why it ended; empty = given back by a worker that stopped.
    pub reason: String,
    /// What kind of failure it was, as `retry.on` names it: `503`, `exit:75`, `timeout` …
    pub class: Option<String>,
    /// The error's text.
    pub error: Option<String>,
}

/// How far an attempt says that it is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Which attempt.
    pub attempt: u32,
    /// 0 to 100.
    pub percent: u8,
    /// In words.
    pub message: String,
    /// When its worker told the store.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
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
    /// What its handler returned, if it ended well and returned something.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
    /// How far it last said that it was.
    pub progress: Option<Progress>,
    /// Why nobody takes it, if it is due and no living worker can; null = nothing is known against it.
    pub blocked: Option<String>,
    /// Who submitted it, where that is known: `token:NAME`, `user:NAME`; null for an occurrence.
    #[serde(default)]
    pub submitter: Option<String>,
    /// What is not shown, for want of the right `data`: `payload`, `result`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<String>,
    /// Its attempts that ended other than well.
    pub attempts: Vec<Attempt>,
    /// What happened, in order.
    pub timeline: Vec<Event>,
}

impl From<port::member::Progress> for Progress {
    fn from(said: port::member::Progress) -> Self {
        Self {
            attempt: said.attempt,
            percent: said.percent,
            message: said.message,
            at: said.at,
        }
    }
}

impl RunDetail {
    /// As it is shown: without the values that nobody should read.
    #[must_use]
    pub fn of(detail: campanile_ask::RunDetail, masks: &Masks) -> Self {
        let mut own = detail.record.spec.unwrap_or_default();
        own.handler
            .iter_mut()
            .for_each(|handler| masks.handler(handler));
        own.payload
            .iter_mut()
            .for_each(|payload| masks.mask(payload));
        let rules = own.rules.unwrap_or_default();
        Self {
            run: detail.row.into(),
            blocked: detail.blocked,
            submitter: detail.record.submitter,
            hidden: detail.hidden.into_iter().map(str::to_owned).collect(),
            result: detail
                .record
                .result
                .map(|json| serde_json::from_str(&json).unwrap_or(Value::String(json))),
            progress: detail.record.progress.map(Progress::from),
            handler: own.handler.and_then(|h| serde_json::to_value(h).ok()),
            payload: own.payload,
            retry: rules.retry.and_then(|r| serde_json::to_value(r).ok()),
            timeout: rules.timeout.map(campanile_schedule::time::format_duration),
            attempts: detail
                .record
                .attempts
                .into_iter()
                .map(|end| Attempt {
                    attempt: end.attempt,
                    started_at: end.started_at,
                    finished_at: end.finished_at,
                    worker: end.worker.map(|id| name(&detail.workers, id)),
                    worker_id: end.worker.map(|id| id.to_string()),
                    reason: end.reason.as_str().to_owned(),
                    class: end.class,
                    error: end.error,
                })
                .collect(),
            timeline: detail.timeline,
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

impl From<port::edit::Submitted> for Submitted {
    fn from(s: port::edit::Submitted) -> Self {
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

/// A node's name, or its id if nobody knows it any more.
fn name(names: &HashMap<NodeId, String>, id: NodeId) -> String {
    names.get(&id).cloned().unwrap_or_else(|| id.to_string())
}
