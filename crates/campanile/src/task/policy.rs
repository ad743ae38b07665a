//! Policies of a task: what happens to occurrences that were missed, that fall on an excluded day, that are due while
//! an earlier run is active, and to runs that failed. Values only; [`crate::protocol::plan`] and
//! [`crate::protocol::run`] decide by them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What happens to missed occurrences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Misfire {
    /// The latest missed one runs; those before it are skipped.
    #[default]
    Last,
    /// All missed ones are skipped.
    Skip,
    /// All missed ones run, the latest [`CATCH_UP_RUNS_MAX`](crate::protocol::limits::CATCH_UP_RUNS_MAX) of them at most.
    All,
}

/// What happens when an earlier run of the task is still active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// They run side by side.
    #[default]
    Allow,
    /// It is skipped.
    Skip,
    /// It waits for the earlier run to end; at most `overlap_queue_max` wait.
    Queue,
    /// The earlier run is cancelled, and it starts when that has ended.
    Replace,
}

/// What happens to an occurrence on an excluded day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum OnExcluded {
    /// It is skipped.
    #[default]
    Skip,
    /// It runs on the next day that is not excluded, at the same wall time.
    Next,
    /// It runs on the last day before that is not excluded, at the same wall time.
    Previous,
}

/// Whether a run may start more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum StartMode {
    /// Until one attempt's end is recorded.
    #[default]
    AtLeastOnce,
    /// 0 or 1 times: a worker that dies after its claim gives `failed(lost)`, and a failure is not tried again.
    AtMostOnce,
}

/// What happens after a failure: up to `max_attempts` starts, each later than the last by a growing wait with full
/// jitter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Starts in all, the first included.
    pub max_attempts: u32,
    /// How the wait grows.
    pub backoff: Backoff,
    /// The first wait.
    #[serde(with = "crate::time::duration")]
    pub initial: Duration,
    /// The longest wait.
    #[serde(with = "crate::time::duration")]
    pub max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: 1,
            backoff: Backoff::Exponential,
            initial: Duration::from_secs(1),
            max: Duration::from_secs(300),
        }
    }
}

/// How the wait between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Backoff {
    /// Always `initial`.
    Fixed,
    /// `initial`, twice, four times … `max`.
    #[default]
    Exponential,
}
