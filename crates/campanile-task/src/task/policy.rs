//! Policies of a task: what happens to occurrences that were missed, that fall on an excluded day, that are due while
//! an earlier run is active, and to runs that failed. Values only; `decide::fire` and
//! `decide::attempt` decide by them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::classes::{Class, Classes};

/// What happens to missed occurrences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Misfire {
    /// The latest missed one runs; those before it are skipped.
    #[default]
    Last,
    /// All missed ones are skipped.
    Skip,
    /// All missed ones run, the latest [`CATCH_UP_RUNS_MAX`](crate::limits::CATCH_UP_RUNS_MAX) of them at most.
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

/// What happens after a failure: up to `max_attempts` starts, each later than the last by a wait with jitter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Starts in all, the first included.
    pub max_attempts: u32,
    /// How the wait grows.
    pub backoff: Backoff,
    /// The first wait.
    #[serde(with = "campanile_schedule::time::duration")]
    pub initial: Duration,
    /// The longest wait between attempts of an exponential back-off. What a target asks for (`Retry-After`) may be longer.
    #[serde(with = "campanile_schedule::time::duration")]
    pub max: Duration,
    /// Which failures are tried again; empty = those for which that may help (the word `default`).
    #[serde(skip_serializing_if = "Classes::is_empty")]
    pub on: Classes,
    /// Which failures are never tried again, whatever `on` says.
    #[serde(skip_serializing_if = "Classes::is_empty")]
    pub never_on: Classes,
}

impl Retry {
    /// Whether a failure of this class is tried again while attempts are left. `may_help`: whether its handler thinks
    /// that another attempt may help.
    #[must_use]
    pub fn takes(&self, class: &Class, may_help: bool) -> bool {
        if self.never_on.names(class, may_help) {
            return false;
        }
        if self.on.is_empty() {
            may_help
        } else {
            self.on.names(class, may_help)
        }
    }

    /// Whether a run whose worker died may start again.
    #[must_use]
    pub fn takes_lost(&self) -> bool {
        !self.never_on.names(&Class::Lost, true)
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: 1,
            backoff: Backoff::Exponential,
            initial: Duration::from_secs(1),
            max: Duration::from_secs(300),
            on: Classes::default(),
            never_on: Classes::default(),
        }
    }
}

/// How the wait between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Backoff {
    /// Always `initial` at least, and up to a tenth more.
    Fixed,
    /// `initial`, twice, four times … `max`: between half of that and the whole.
    #[default]
    Exponential,
}
