//! What runs on the field: tasks with their definitions, and the list of their instants, which shares no code with the
//! product: anchor + k × period, added up on paper. How many of which kind there are, each scene says itself.

use serde_json::{Value, json};

use super::effects::{Effects, Manner};
use super::spelling::rfc3339;

pub const SHELL: &str = "/bin/sh";
/// The destination of the listener that existed before.
pub const LEGACY_QUEUE: &str = "legacy.orders";
/// The body that it expects.
pub const LEGACY_BODY: &str = "<order id='1'/>";
/// The queues that workers work on where a scene has none of its own.
pub const QUEUES: &str = "default,slow,programs";

/// What a task is there to show, and so how its runs may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Succeeds, however often it is tried.
    Well,
    Once,
    /// Fails at its first attempt and is tried again.
    Flaky,
    Never,
    /// Takes longer than its period: `overlap = "skip"`.
    Skip,
    /// Takes most of its period: `overlap = "queue"`.
    Queue,
    /// Takes longer than its period: `overlap = "replace"`.
    Replace,
    Missed,
    /// Is due so long after the end of its run before.
    After,
    /// What people edit, pause, trigger and cancel.
    People,
    /// A program on the worker's machine.
    Program,
    /// A message for a listener that existed before.
    Order,
    /// Is not due while the scene runs.
    Far,
    Cancelled,
    /// A message whose end the store refuses to record, because history has one already.
    Refused,
}

impl Kind {
    /// Whether two runs of such a task may never be at work at the same time.
    pub const fn is_exclusive(self) -> bool {
        matches!(self, Self::Skip | Self::Queue | Self::Replace)
    }
}

#[derive(Debug, Clone)]
pub struct Task {
    pub name: String,
    /// What it is there to show.
    pub kind: Kind,
    /// The time between two instants; none runs on request only.
    pub period_ms: Option<i64>,
    pub anchor_ms: i64,
    /// Its definition as the API takes it.
    pub definition: Value,
}

impl Task {
    /// A task that fires every so many seconds from `anchor_ms` on, or on request only.
    pub fn new(name: &str, kind: Kind, period_s: Option<i64>, anchor_ms: i64) -> Self {
        let mut definition = json!({ "name": name });
        if let Some(period) = period_s {
            definition["schedule"] = json!(format!("every {period}s"));
            definition["anchor"] = json!(rfc3339(anchor_ms));
        }
        if kind == Kind::Once {
            definition["start"] = json!("at-most-once");
        }
        Self {
            name: name.to_owned(),
            kind,
            period_ms: period_s.map(|s| s * 1_000),
            anchor_ms,
            definition,
        }
    }

    /// The same with a field of its definition.
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.definition[field] = value;
        self
    }

    /// The same, in this queue, as a request to the log of effects that is answered in one manner at its first attempt and
    /// in another at every later one.
    pub fn http(self, effects: &Effects, queue: &str, first: Manner, then: Manner) -> Self {
        let url = effects.url(&self.name, first, then);
        let handler = json!({ "http": { "url": url, "method": "POST" } });
        self.with("queue", json!(queue)).with("handler", handler)
    }

    /// The same, in this queue, as a program.
    pub fn program(self, queue: &str, argv: &[&str]) -> Self {
        let handler = json!({ "command": { "argv": argv } });
        self.with("queue", json!(queue)).with("handler", handler)
    }

    /// The same as a message for a listener.
    pub fn order(self, destination: &str) -> Self {
        let external = json!({ "destination": destination, "body": "payload", "reply": "none" });
        self.with("queue", json!("legacy"))
            .with("payload", json!(LEGACY_BODY))
            .with("handler", json!({ "external": external }))
    }

    /// Whether it has an instant then.
    pub fn has(&self, at_ms: i64) -> bool {
        let fits = |period| (at_ms - self.anchor_ms) % period == 0;
        at_ms >= self.anchor_ms && self.period_ms.is_some_and(fits)
    }

    pub fn instants(&self, until_ms: i64) -> impl Iterator<Item = i64> + use<> {
        let (anchor, period) = (self.anchor_ms, self.period_ms);
        (0..)
            .map_while(move |k| Some(anchor + k * period?))
            .take_while(move |at| *at < until_ms)
    }

    /// The instants of which it must have an account, and those of which it may: it lives from its creation to its pause,
    /// and what was asked takes effect between the question and the answer.
    pub fn accounted(&self, made: Asked, paused: Asked) -> (Vec<i64>, Vec<i64>) {
        let alive = self.instants(paused.answered_ms + 1);
        alive
            .filter(|at| *at >= made.asked_ms)
            .partition(|at| *at > made.answered_ms && *at < paused.asked_ms)
    }
}

/// When somebody asked for something, and when that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// Before it was asked, the first time.
    pub asked_ms: i64,
    pub answered_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_begin_at_the_anchor_and_end_before_the_end() {
        let task = Task::new("t", Kind::Well, Some(1), 10_000);
        let instants: Vec<i64> = task.instants(13_000).collect();
        assert_eq!(instants, [10_000, 11_000, 12_000]);
        assert!(task.has(11_000) && !task.has(11_001) && !task.has(9_000));
        let asked = Task::new("t", Kind::Well, None, 10_000);
        assert_eq!(
            (asked.instants(20_000).count(), asked.has(10_000)),
            (0, false)
        );
    }

    #[test]
    fn what_must_be_there_begins_with_the_task_and_ends_at_the_pause() {
        let task = Task::new("t", Kind::Well, Some(1), 10);
        let asked = |asked_ms, answered_ms| Asked {
            asked_ms,
            answered_ms,
        };
        let (must, may) = task.accounted(Asked::default(), asked(2_010, 2_020));
        assert_eq!((must, may), (vec![10, 1_010], vec![2_010]));
        let (must, may) = task.accounted(asked(1_005, 1_010), asked(3_000, 3_010));
        assert_eq!((must, may), (vec![2_010], vec![1_010, 3_010]));
    }
}
