//! What attempts wrote, as it goes over the wire; and what a stream of it tells beside.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What one attempt wrote, from a place on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptLog {
    /// Which attempt.
    pub attempt: u32,
    /// `running`, or how it ended: as the run, or as the timeline calls it (`failed-attempt`, `timeout`, `lost`, `refused`,
    /// `given-back`).
    #[serde(default)]
    pub state: String,
    /// Who runs or ran it: the node's name.
    #[serde(default)]
    pub worker: Option<String>,
    /// Where this begins, in bytes of all that the attempt wrote.
    #[serde(default)]
    pub from: u64,
    /// Where it ends: ask with `from` set to this for what follows.
    #[serde(default)]
    pub next: u64,
    /// All of this as people read it; where something is missing, a line says how much.
    pub text: String,
    /// Up to where nothing is missing; null = nothing is missing in `text`.
    #[serde(default)]
    pub head: Option<String>,
    /// How much is missing behind the head, in bytes: what was written between the beginning and the end that are kept.
    #[serde(default)]
    pub missing_bytes: u64,
    /// What follows; null as for `head`.
    #[serde(default)]
    pub tail: Option<String>,
}

impl From<campanile_ask::AttemptLog> for AttemptLog {
    fn from(one: campanile_ask::AttemptLog) -> Self {
        let log = one.log;
        let cut = log.missing > 0;
        Self {
            attempt: one.attempt,
            state: one.state.to_owned(),
            worker: one.worker,
            from: log.from,
            next: log.next,
            text: log.text(),
            head: cut.then_some(log.head),
            missing_bytes: log.missing,
            tail: cut.then_some(log.tail),
        }
    }
}

/// An attempt began or ended: data of a stream's event `attempt`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptStanding {
    /// Which attempt.
    pub attempt: u32,
    /// As in an attempt's log.
    pub state: String,
    /// Who runs or ran it: the node's name.
    pub worker: Option<String>,
}

/// The run has ended: data of a stream's event `end`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunEnd {
    /// Its state.
    pub state: String,
    /// Why it ended like that, where there is something to say.
    pub reason: Option<String>,
    /// The last error.
    pub error: Option<String>,
}
