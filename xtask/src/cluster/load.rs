//! What runs during the test, and when it must have run: the tasks as they are applied, and an oracle of their instants
//! that shares no code with the product. An instant is anchor + k × period, added up on paper.

use std::fmt::Write as _;
use std::path::Path;

use crate::field::effects::Effects;
use crate::field::programs::SHELL;
use crate::field::spelling::rfc3339;

/// The destination that existed before.
pub const LEGACY_QUEUE: &str = "legacy.orders";
/// The body that its listener expects.
pub const LEGACY_BODY: &str = "<order id='1'/>";
/// The queues that the workers work on.
pub const QUEUES: &str = "default,slow,programs";

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An HTTP effect that answers at once.
    Quick,
    /// An HTTP effect that takes a while: what a worker holds when it dies.
    Slow,
    /// The same, started at most once.
    Once,
    /// A program on the worker's machine.
    Program,
    /// A message for the listener that existed before.
    Order,
}

/// One task.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// The time between two instants.
    pub period_ms: i64,
    /// The first instant.
    pub anchor_ms: i64,
}

/// All tasks, in the order of their names.
pub fn tasks(start_ms: i64) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut add = |name: String, kind, period_ms, phase_ms| {
        tasks.push(Task {
            name,
            kind,
            period_ms,
            anchor_ms: start_ms + phase_ms,
        });
    };
    for n in 0..100 {
        let kind = if n % 10 == 0 { Kind::Slow } else { Kind::Quick };
        add(format!("effect-{n:02}"), kind, 1_000, n * 10);
    }
    for n in 0..3 {
        add(format!("once-{n}"), Kind::Once, 1_000, n * 333);
    }
    add("order".to_owned(), Kind::Order, 1_000, 500);
    for n in 0..5 {
        add(format!("program-{n}"), Kind::Program, 5_000, n * 1_000);
    }
    tasks
}

/// The task file.
pub fn file(tasks: &[Task], effects: &Effects, script: &Path) -> String {
    let mut text = String::new();
    for task in tasks {
        let name = &task.name;
        let (queue, handler) = match task.kind {
            Kind::Quick => ("default", http(&effects.url(name, false))),
            Kind::Slow | Kind::Once => ("slow", http(&effects.url(name, true))),
            Kind::Order => (
                "legacy",
                format!(
                    "{{ external = {{ destination = \"{LEGACY_QUEUE}\", body = \"payload\", reply = \"none\" }} }}"
                ),
            ),
            Kind::Program => (
                "programs",
                format!(
                    "{{ command = {{ argv = [\"{SHELL}\", \"{}\"] }} }}",
                    script.display()
                ),
            ),
        };
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "[[task]]\nname = \"{name}\"\nschedule = \"every {}s\"\nanchor = \"{}\"\nqueue = \"{queue}\"\nhandler = {handler}",
            task.period_ms / 1_000,
            rfc3339(task.anchor_ms)
        );
        match task.kind {
            Kind::Once => text.push_str("start = \"at-most-once\"\n"),
            Kind::Order => {
                let _ = writeln!(text, "payload = \"{LEGACY_BODY}\"");
            }
            Kind::Quick | Kind::Slow | Kind::Program => {}
        }
        text.push('\n');
    }
    text
}

fn http(url: &str) -> String {
    format!("{{ http = {{ url = \"{url}\", method = \"POST\" }} }}")
}

/// The instants that a task must have an account of, given when it was paused (between these two moments by the
/// clock of the one who asked): all up to the request must be there, none from after the answer may be.
pub fn expected(task: &Task, asked_ms: i64, answered_ms: i64) -> (Vec<i64>, Vec<i64>) {
    let mut must = Vec::new();
    let mut may = Vec::new();
    let mut at = task.anchor_ms;
    while at <= answered_ms {
        if at < asked_ms {
            must.push(at);
        } else {
            may.push(at);
        }
        at += task.period_ms;
    }
    (must, may)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_there_ends_at_the_pause() {
        let task = Task {
            name: String::new(),
            kind: Kind::Quick,
            period_ms: 1_000,
            anchor_ms: 10,
        };
        let (must, may) = expected(&task, 2_010, 2_020);
        assert_eq!(must, [10, 1_010]);
        assert_eq!(may, [2_010]);
    }

    #[test]
    fn names_are_unique_and_phases_are_spread() {
        let tasks = tasks(0);
        let names: std::collections::BTreeSet<_> = tasks.iter().map(|t| &t.name).collect();
        assert_eq!(names.len(), tasks.len());
        let phases: std::collections::BTreeSet<_> = tasks.iter().map(|t| t.anchor_ms).collect();
        assert!(phases.len() > 100);
    }
}
