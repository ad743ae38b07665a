//! The shapes of nodes, leader and queues, of differences, and of the answer to "why".

use campanile::control::{Deletion, Diff, Leader, QueueRow, Stats, Why};
use campanile::protocol::work;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Run;

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
    /// Native handlers that it has; null = it does not say.
    pub native: Option<Vec<String>>,
    /// Programs that it may start, `*` = any; null = it does not say.
    pub commands: Option<Vec<String>>,
    /// What it has refused to carry out, though it was not to be foreseen.
    pub refuses: Vec<String>,
}

impl From<work::Node> for Node {
    fn from(node: work::Node) -> Self {
        let can = node.abilities.unwrap_or_default();
        let says = node.roles.iter().any(|role| role == "worker") && !can.lane.is_empty();
        Self {
            native: says.then(|| can.native.into_iter().collect()),
            commands: can.commands.map(|all| all.into_iter().collect()),
            refuses: can.refuses.into_iter().collect(),
            id: node.id.to_string(),
            name: node.name,
            roles: node.roles,
            queues: node.queues.iter().map(ToString::to_string).collect(),
            slots: node.slots,
            busy: node.busy,
            lease_ms: campanile_schedule::time::duration_ms(node.lease),
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
    /// Living workers that listen on it.
    pub listeners: u64,
    /// Of the waiting ones: blocked, because no living worker of the queue can carry them out.
    pub blocked: u64,
    /// What keeps its runs from being taken, in words.
    pub warnings: Vec<String>,
}

impl From<QueueRow> for Queue {
    fn from(row: QueueRow) -> Self {
        Self {
            name: row.count.queue.to_string(),
            future: row.count.future,
            waiting: row.count.waiting,
            running: row.count.running,
            listeners: row.listeners,
            blocked: row.blocked,
            warnings: row.warnings,
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
    /// After the store's clock went back: where it was. Until it is there again no instant is due.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub clock_behind_until: Option<Timestamp>,
    /// By how many milliseconds the store's clock stepped forward; 0 unless that is not followed yet.
    pub clock_held_ms: u64,
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
            clock_behind_until: s.clock_behind_until,
            clock_held_ms: s.clock_held_ms,
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
    /// Tasks that are still to go: the same request, with `confirm`, goes on.
    #[serde(default)]
    pub remaining: usize,
    /// Runs that wait for tasks that go: they are cancelled.
    #[serde(default)]
    pub waiting_runs: u64,
    /// The token that confirms the deletion of the tasks that go, or that remain; null = none is wanted.
    #[serde(default)]
    pub confirm: Option<String>,
    /// Tasks that somebody paused and that stay paused, though the list does not say so.
    pub kept_paused: Vec<String>,
    /// Calendars that are new or change.
    #[serde(default)]
    pub calendars: Vec<String>,
    /// Limits that are new or change, as in `queue:reports = 5`.
    #[serde(default)]
    pub limits: Vec<String>,
    /// What would keep runs of these tasks from being taken now.
    #[serde(default)]
    pub warnings: Vec<String>,
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
            remaining: diff.remaining,
            waiting_runs: diff.waiting_runs,
            confirm: diff.confirm,
            kept_paused: diff.kept_paused,
            calendars: diff.calendars,
            limits: diff.limits,
            warnings: diff.warnings,
        }
    }
}

/// What deleting a task takes along.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeletionView {
    /// The task.
    pub name: String,
    /// Whether it was done.
    pub deleted: bool,
    /// Its runs that wait: they are cancelled.
    pub waiting_runs: u64,
    /// Its runs that run: they go on. Counted up to 1000.
    pub running_runs: usize,
    /// The token that confirms the deletion; null = none is wanted.
    pub confirm: Option<String>,
}

impl DeletionView {
    /// What a deletion would take along, or has.
    #[must_use]
    pub fn of(deletion: Deletion, deleted: bool) -> Self {
        Self {
            name: deletion.name,
            deleted,
            waiting_runs: deletion.waiting_runs,
            running_runs: deletion.running_runs,
            confirm: deletion.confirm,
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
    /// The task's IANA zone.
    pub timezone: String,
    /// `ran`, `waiting`, `skipped`, `cancelled`, `not-an-instant`, `not-created-yet`, `paused`, `disabled`, `not-due-yet`,
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
            timezone: why.timezone,
            verdict: why.verdict.as_str().to_owned(),
            run: why.run.map(Into::into),
            previous: why.previous,
            next: why.next,
            sentences: why.sentences,
        }
    }
}
