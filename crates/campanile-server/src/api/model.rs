//! The shapes of the API: what goes over the wire, with the names that scripts rely on. The CLI reads the same types.
//! They are made from control's values and decide nothing.

use campanile::control::{Diff, Event, Leader, RunRow, RunStory, Stats, TaskRow, Why};
use campanile::id::RunId;
use campanile::protocol::work::{self, QueueCount};
use campanile::run::Reason;
use campanile::task::TaskSpec;
use campanile::time::Timestamp;
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
pub const TASK_EXTRAS: [&str; 4] = ["version", "next_due_at", "created_at", "updated_at"];

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
    /// Its task; null for a run with its own handler, or of a deleted task.
    pub task: Option<String>,
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
    /// `schedule` or `request`.
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
            state: run.state.as_str().to_owned(),
            reason: (run.reason != Reason::None).then(|| run.reason.as_str().to_owned()),
            attempt: run.attempt,
            failures: run.failures,
            losses: run.losses,
            origin: match run.origin {
                campanile::run::Origin::Schedule => "schedule".to_owned(),
                campanile::run::Origin::Request => "request".to_owned(),
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
            cancel_requested: run.cancel_requested,
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
    /// What: `created`, `due`, `queued`, `started`, `failed-attempt`, `timeout`, `lost`, `given-back`, or its end's state.
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
    /// Its attempts that ended other than well.
    pub attempts: Vec<Attempt>,
    /// What happened, in order.
    pub timeline: Vec<TimelineEntry>,
}

impl From<RunStory> for RunDetail {
    fn from(story: RunStory) -> Self {
        let own = story.detail.spec.unwrap_or_default();
        Self {
            run: story.row.into(),
            handler: own.handler.and_then(|h| serde_json::to_value(h).ok()),
            payload: own.payload,
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

/// A node.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// This start of it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `scheduler`, `worker`, `api`.
    pub roles: Vec<String>,
    /// Queues that it works on.
    pub queues: Vec<String>,
    /// Runs that it can run at once.
    pub slots: u32,
    /// Runs that it runs now.
    pub busy: u32,
    /// How long it may stay silent.
    pub lease_ms: i64,
    /// When it joined.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it last beat.
    #[schema(value_type = String, format = DateTime)]
    pub beat_at: Timestamp,
    /// The program's version.
    pub version: String,
}

impl From<work::Node> for Node {
    fn from(node: work::Node) -> Self {
        Self {
            id: node.id.to_string(),
            name: node.name,
            roles: node.roles,
            queues: node.queues.iter().map(ToString::to_string).collect(),
            slots: node.slots,
            busy: node.busy,
            lease_ms: campanile::time::duration_ms(node.lease),
            started_at: node.started_at,
            beat_at: node.beat_at,
            version: node.version,
        }
    }
}

/// Who leads.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LeaderView {
    /// The present term's number; 0 = nobody has led yet.
    pub epoch: i64,
    /// The leader's name; null = nobody has led yet.
    pub node: Option<String>,
    /// Its id.
    pub node_id: Option<String>,
    /// When its term began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Whether it is among the living.
    pub alive: bool,
    /// Whether it was asked to hand over and has not yet.
    pub resigning: bool,
    /// The store's clock.
    #[schema(value_type = String, format = DateTime)]
    pub now: Timestamp,
}

impl From<Leader> for LeaderView {
    fn from(leader: Leader) -> Self {
        Self {
            epoch: leader.epoch,
            node: leader.node.map(|_| leader.name),
            node_id: leader.node.map(|id| id.to_string()),
            since: leader.since,
            alive: leader.alive,
            resigning: leader.resigning,
            now: leader.now,
        }
    }
}

/// A queue's live runs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Scheduled for a later instant.
    pub future: u64,
    /// Due and not yet claimed.
    pub waiting: u64,
    /// Claimed.
    pub running: u64,
}

impl From<QueueCount> for Queue {
    fn from(q: QueueCount) -> Self {
        Self {
            name: q.queue.to_string(),
            future: q.future,
            waiting: q.waiting,
            running: q.running,
        }
    }
}

/// A queue's signing key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct QueueKey {
    /// The queue.
    pub queue: String,
    /// The key's public name.
    pub kid: String,
    /// The key: hex.
    pub key: String,
}

/// How things stand.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StatsView {
    /// Runs scheduled for a later instant.
    pub future: u64,
    /// Runs due and not yet claimed.
    pub waiting: u64,
    /// Runs claimed.
    pub running: u64,
    /// Living nodes.
    pub nodes: u64,
    /// Their slots together.
    pub slots: u64,
    /// Of which taken.
    pub busy: u64,
    /// How far the answering node's wall clock is ahead of the store's.
    pub skew_ms: i64,
}

impl From<Stats> for StatsView {
    fn from(s: Stats) -> Self {
        Self {
            future: s.future,
            waiting: s.waiting,
            running: s.running,
            nodes: s.nodes,
            slots: s.slots,
            busy: s.busy,
            skew_ms: s.skew_ms,
        }
    }
}

/// A field that differs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// Its path.
    pub field: String,
    /// Before; null = it was not there.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// After; null = it is gone.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
}

/// A task that changes.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ChangedTask {
    /// Its name.
    pub name: String,
    /// Its fields that differ.
    pub fields: Vec<FieldChange>,
}

/// What an apply changes, or would.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// Whether it was done.
    pub applied: bool,
    /// New tasks.
    pub created: Vec<String>,
    /// Tasks that change.
    pub changed: Vec<ChangedTask>,
    /// Tasks that stay.
    pub unchanged: Vec<String>,
    /// Tasks that go.
    pub deleted: Vec<String>,
    /// Tasks that somebody paused and that stay paused, though the list does not say so.
    pub kept_paused: Vec<String>,
}

impl From<Diff> for Applied {
    fn from(diff: Diff) -> Self {
        let field = |f: campanile::control::FieldChange| FieldChange {
            field: f.field,
            before: f.before,
            after: f.after,
        };
        Self {
            applied: diff.applied,
            created: diff.created,
            changed: diff
                .changed
                .into_iter()
                .map(|c| ChangedTask {
                    name: c.name,
                    fields: c.fields.into_iter().map(field).collect(),
                })
                .collect(),
            unchanged: diff.unchanged,
            deleted: diff.deleted,
            kept_paused: diff.kept_paused,
        }
    }
}

/// The answer to "why did X not run at 02:30?".
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WhyView {
    /// The task.
    pub task: String,
    /// The instant.
    #[schema(value_type = String, format = DateTime)]
    pub instant: Timestamp,
    /// `ran`, `waiting`, `skipped`, `cancelled`, `not-an-instant`, `not-created-yet`, `paused`, `not-due-yet`,
    /// `not-planned-yet` or `no-record`.
    pub verdict: String,
    /// The instant's run, if it has one.
    pub run: Option<Run>,
    /// The schedule's last instant before.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub previous: Option<Timestamp>,
    /// The schedule's first instant after.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next: Option<Timestamp>,
    /// The answer in sentences.
    pub sentences: Vec<String>,
}

impl From<Why> for WhyView {
    fn from(why: Why) -> Self {
        Self {
            task: why.task,
            instant: why.instant,
            verdict: why.verdict.as_str().to_owned(),
            run: why.run.map(Into::into),
            previous: why.previous,
            next: why.next,
            sentences: why.sentences,
        }
    }
}
