//! What runs during a campaign: tasks of every kind, and what people change in them.

use serde_json::{Value, json};

use crate::effects::{Effects, WELL};
use crate::load::{Kind, LEGACY_QUEUE, SHELL, Task};

/// How many tasks of each kind there are, their name and their period in seconds.
const TASKS: [(Kind, &str, i64, i64); 11] = [
    (Kind::Well, "quick", 16, 1),
    (Kind::Well, "long", 4, 2),
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

/// All tasks; their instants are spread over the second.
pub fn tasks(start_ms: i64, effects: &Effects, script: &str) -> Vec<Task> {
    let mut tasks = Vec::new();
    for (kind, name, count, period_s) in TASKS {
        for n in 0..count {
            let place = i64::try_from(tasks.len()).unwrap_or(0);
            let anchor_ms = start_ms + place * 37 % 1_000;
            let task = Task::new(&format!("{name}-{n}"), kind, Some(period_s), anchor_ms);
            tasks.push(edition(&finished(task, effects, script), 0));
        }
    }
    tasks
}

/// A task with what makes it one of its kind.
fn finished(task: Task, effects: &Effects, script: &str) -> Task {
    let lasts = |task: Task, ms| task.http(effects, "slow", (200, ms), (200, ms));
    match task.kind {
        Kind::Well if task.name.starts_with("long") => lasts(task, 1_000),
        Kind::Once => lasts(task, 400),
        Kind::Flaky => {
            let retry = json!({"max_attempts": 5, "backoff": "fixed", "initial": "300ms"});
            task.http(effects, "default", (503, 0), WELL)
                .with("retry", retry)
        }
        Kind::Skip => lasts(task, 1_300).with("overlap", json!("skip")),
        Kind::Queue => lasts(task, 700)
            .with("overlap", json!("queue"))
            .with("overlap_queue_max", json!(10)),
        Kind::Replace => lasts(task, 1_500).with("overlap", json!("replace")),
        Kind::Missed => {
            let misfire = match task.name.as_str() {
                "missed-0" => "last",
                "missed-1" => "skip",
                _ => "all",
            };
            task.http(effects, "default", WELL, WELL)
                .with("misfire", json!(misfire))
                .with("misfire_limit", json!("1s"))
        }
        Kind::People => task.http(effects, "default", (200, 300), (200, 300)),
        Kind::Program => task.program("programs", &[SHELL, script]),
        Kind::Order => task.order(LEGACY_QUEUE),
        _ => task.http(effects, "default", WELL, WELL),
    }
}

/// The same task in another edition, which changes nothing that is judged.
pub fn edition(task: &Task, edition: u64) -> Task {
    let description: Value = json!(format!("edition {edition}"));
    task.clone()
        .with("description", description)
        .with("priority", json!(3 + edition % 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_kind_is_there() {
        let folder = xtask::servers::TempDir::new("load").unwrap();
        let effects = Effects::start(&folder.join("effects.tsv")).unwrap();
        let tasks = tasks(0, &effects, "program.sh");
        let names: std::collections::BTreeSet<_> = tasks.iter().map(|t| &t.name).collect();
        assert_eq!((names.len(), tasks.len()), (42, 42));
        for (kind, ..) in TASKS {
            let mut of_kind = tasks.iter().filter(|task| task.kind == kind);
            assert!(of_kind.all(|task| !task.definition["handler"].is_null()));
        }
    }
}
