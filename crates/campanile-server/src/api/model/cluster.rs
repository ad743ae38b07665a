//! The shapes of nodes and signing keys, and of the answer to "why".

use campanile_ask::Why;
use campanile_core::port;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};
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
    /// When its last heartbeat came.
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

impl From<port::member::Node> for Node {
    fn from(node: port::member::Node) -> Self {
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
            beat_at: node.heartbeat_at,
            version: node.version,
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
