//! What runs during a campaign: the tasks with their definitions, and the list of their instants, which shares no code
//! with the product: anchor + k × period, added up on paper.

use serde_json::{Value, json};

use crate::field::effects::Effects;
use crate::field::programs::SHELL;
use crate::field::spelling::rfc3339;

/// The destination of the listener that existed before.
pub const LEGACY_QUEUE: &str = "legacy.orders";
/// The body that it expects.
pub const LEGACY_BODY: &str = "<order id='1'/>";
/// The queues that the workers work on.
pub const QUEUES: &str = "default,slow,programs";

/// What a task is there to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An effect that is done at once.
    Quick,
    /// An effect that takes a second: what a worker holds when it dies.
    Long,
    /// Started at most once.
    Once,
    /// Fails once for each instant and is tried again.
    Flaky,
    /// Takes longer than its period: `overlap = "skip"`.
    Skip,
    /// Takes most of its period: `overlap = "queue"`.
    Queue,
    /// Takes longer than its period: `overlap = "replace"`.
    Replace,
    /// Misses its instants after a second: `misfire` is `last`, `skip`, `all`.
    Missed,
    /// What people edit, pause, trigger and cancel.
    People,
    /// A program on the worker's machine, with a child.
    Program,
    /// A message for the listener that existed before.
    Order,
}

impl Kind {
    /// Whether two runs of such a task may never be at work at the same time.
    pub const fn is_exclusive(self) -> bool {
        matches!(self, Self::Skip | Self::Queue | Self::Replace)
    }
}

/// How many tasks of each kind there are, and their period in seconds.
const TASKS: [(Kind, &str, i64, i64); 11] = [
    (Kind::Quick, "quick", 16, 1),
    (Kind::Long, "long", 4, 2),
    (Kind::Once, "once", 3, 1),
    (Kind::Flaky, "flaky", 3, 1),
    (Kind::Skip, "skip", 2, 1),
    (Kind::Queue, "queue", 2, 1),
    (Kind::Replace, "replace", 2, 1),
    (Kind::Missed, "missed", 3, 1),
    (Kind::People, "people", 4, 1),
    (Kind::Program, "program", 2, 5),
    (Kind::Order, "order", 1, 1),
];

/// One task.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// What it is there to show.
    pub kind: Kind,
    /// The time between two instants.
    pub period_ms: i64,
    /// The first instant.
    pub anchor_ms: i64,
}

impl Task {
    /// Whether it has an instant then.
    pub const fn has(&self, at_ms: i64) -> bool {
        at_ms >= self.anchor_ms && (at_ms - self.anchor_ms) % self.period_ms == 0
    }

    /// Every instant before `until_ms`.
    pub fn instants(&self, until_ms: i64) -> impl Iterator<Item = i64> + use<> {
        let (anchor, period) = (self.anchor_ms, self.period_ms);
        (0..)
            .map(move |k| anchor + k * period)
            .take_while(move |at| *at < until_ms)
    }
}

/// All tasks; their instants are spread over the second.
pub fn tasks(start_ms: i64) -> Vec<Task> {
    let mut tasks = Vec::new();
    for (kind, name, count, period_s) in TASKS {
        for n in 0..count {
            let place = i64::try_from(tasks.len()).unwrap_or(0);
            tasks.push(Task {
                name: format!("{name}-{n}"),
                kind,
                period_ms: period_s * 1_000,
                anchor_ms: start_ms + place * 37 % 1_000,
            });
        }
    }
    tasks
}

/// A task's definition as the API takes it; `edition` changes nothing that is judged.
pub fn definition(task: &Task, effects: &Effects, script: &str, edition: u64) -> Value {
    let http = |manner: &str| json!({"http": {"url": effects.url_in(manner, &task.name), "method": "POST"}});
    let (queue, handler) = match task.kind {
        Kind::Quick | Kind::Missed => ("default", http("quick")),
        Kind::Long => ("slow", http("for-1000")),
        Kind::Once => ("slow", http("for-400")),
        Kind::Flaky => ("default", http("flaky")),
        Kind::Skip => ("slow", http("for-1300")),
        Kind::Queue => ("slow", http("for-700")),
        Kind::Replace => ("slow", http("for-1500")),
        Kind::People => ("default", http("for-300")),
        Kind::Program => ("programs", json!({"command": {"argv": [SHELL, script]}})),
        Kind::Order => (
            "legacy",
            json!({"external": {"destination": LEGACY_QUEUE, "body": "payload", "reply": "none"}}),
        ),
    };
    let mut spec = json!({
        "name": task.name,
        "description": format!("edition {edition}"),
        "schedule": format!("every {}s", task.period_ms / 1_000),
        "anchor": rfc3339(task.anchor_ms),
        "queue": queue,
        "handler": handler,
        "priority": 3 + edition % 4,
    });
    for (field, value) in policies(task) {
        spec[field] = value;
    }
    spec
}

/// The fields that make a task of its kind.
fn policies(task: &Task) -> Vec<(&'static str, Value)> {
    match task.kind {
        Kind::Once => vec![("start", json!("at-most-once"))],
        Kind::Flaky => vec![(
            "retry",
            json!({"max_attempts": 5, "backoff": "fixed", "initial": "300ms"}),
        )],
        Kind::Skip => vec![("overlap", json!("skip"))],
        Kind::Queue => vec![
            ("overlap", json!("queue")),
            ("overlap_queue_max", json!(10)),
        ],
        Kind::Replace => vec![("overlap", json!("replace"))],
        Kind::Missed => {
            let misfire = match task.name.as_str() {
                "missed-0" => "last",
                "missed-1" => "skip",
                _ => "all",
            };
            vec![("misfire", json!(misfire)), ("misfire_limit", json!("1s"))]
        }
        Kind::Order => vec![("payload", json!(LEGACY_BODY))],
        Kind::Quick | Kind::Long | Kind::People | Kind::Program => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_begin_at_the_anchor_and_end_before_the_end() {
        let task = &tasks(10_000)[0];
        let instants: Vec<i64> = task.instants(13_000).collect();
        assert_eq!(instants, [10_000, 11_000, 12_000]);
        assert!(task.has(11_000) && !task.has(11_001) && !task.has(9_000));
    }

    #[test]
    fn names_are_unique_and_every_kind_is_there() {
        let tasks = tasks(0);
        let names: std::collections::BTreeSet<_> = tasks.iter().map(|t| &t.name).collect();
        assert_eq!(names.len(), tasks.len());
        let kinds: std::collections::BTreeSet<_> = tasks.iter().map(|t| t.kind).collect();
        assert_eq!(kinds.len(), TASKS.len());
    }
}
