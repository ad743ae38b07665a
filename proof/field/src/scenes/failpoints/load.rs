//! What runs in a scene of a failpoint: schedules of every kind that a step of the protocol needs, and what people ask for.

use std::path::Path;

use serde_json::{Value, json};

use crate::effects::{Effects, Manner, WELL};
use crate::load::{Kind, SHELL, Task};

/// From now to what is not due while a scene runs.
const FAR_MS: i64 = 1_800_000;
/// Tasks of a crowd: more than there are slots, all due at one instant.
const CROWD: usize = 80;
/// So long that the slots of some are taken while others come.
const BUSY: Manner = (200, 700);
/// Longer than the process that holds it lives.
const HELD: Manner = (200, 20_000);

/// From the end of a run of [`Kind::After`] to the next one.
pub const DELAY_MS: i64 = 500;

/// Where a scene's tasks go.
pub struct Place<'a> {
    pub scene: &'a str,
    pub effects: &'a Effects,
    /// Whether there are more runs at a time than slots.
    pub crowded: bool,
    pub script: &'a Path,
    pub base_ms: i64,
}

impl Place<'_> {
    /// A queue of this scene.
    pub fn queue(&self, name: &str) -> String {
        format!("{}-{name}", self.scene)
    }

    fn task(&self, name: &str, kind: Kind, period_s: Option<i64>) -> Task {
        let far = if kind == Kind::Far { FAR_MS } else { 0 };
        Task::new(name, kind, period_s, self.base_ms + far)
    }

    /// A task whose first attempt is answered one way, every later one another.
    fn http(&self, name: &str, kind: Kind, period_s: Option<i64>, answers: [Manner; 2]) -> Task {
        let [first, then] = answers;
        let queue = self.queue("default");
        self.task(name, kind, period_s)
            .http(self.effects, &queue, first, then)
    }

    /// A task in a queue that no worker works on.
    fn unheard(&self, name: &str) -> Task {
        let queue = self.queue("nobody");
        self.task(name, Kind::Cancelled, None)
            .http(self.effects, &queue, WELL, WELL)
    }

    fn order(&self, name: &str, kind: Kind, period_s: Option<i64>) -> Task {
        let destination = format!("legacy.{}", self.scene);
        let order = self.task(name, kind, period_s).order(&destination);
        order.with("queue", json!(self.queue("default")))
    }

    fn program(&self, name: &str, kind: Kind, period_s: Option<i64>, argv: &[&str]) -> Task {
        let queue = self.queue("default");
        self.task(name, kind, period_s).program(&queue, argv)
    }

    /// The tasks at the start.
    pub fn tasks(&self) -> Vec<Task> {
        let retry = |most: u32| json!({ "max_attempts": most, "initial": "200ms" });
        let script = self.script.display().to_string();
        // Its name is that of an allowed program and its place is not: only the worker can tell, and refuses it.
        let elsewhere = self.script.with_file_name("sh").display().to_string();
        let failed: Manner = (500, 0);
        let line: Manner = (200, 400);
        let crowd = (0..CROWD).filter(|_| self.crowded).map(|n| {
            let name = format!("crowd-{n}");
            self.http(&name, Kind::Well, Some(3), [BUSY, BUSY])
        });
        let mut tasks = vec![
            self.http("tick", Kind::Well, Some(1), [WELL, WELL]),
            self.http("once", Kind::Once, Some(1), [(200, 300), WELL]),
            self.http("again", Kind::Flaky, Some(2), [failed, WELL])
                .with("retry", retry(3)),
            self.http("never", Kind::Never, Some(3), [failed, failed])
                .with("retry", retry(2)),
            self.http("line", Kind::Queue, Some(2), [line, line])
                .with("overlap", json!("queue")),
            self.http("next", Kind::After, None, [WELL, WELL])
                .with("schedule", json!(format!("after {DELAY_MS}ms"))),
            self.order("order", Kind::Order, Some(1)),
            self.order("refused", Kind::Refused, None),
            self.program("program", Kind::Program, Some(3), &[SHELL, &script]),
            self.http("far", Kind::Far, Some(3_600), [WELL, WELL]),
            self.http("ahead", Kind::Far, Some(3_600), [WELL, WELL]),
            self.http("asked", Kind::Well, None, [WELL, WELL]),
            self.http("hold", Kind::Well, None, [HELD, WELL]),
            self.http("hold-once", Kind::Once, None, [HELD, WELL]),
            self.program("strange", Kind::Cancelled, None, &[&elsewhere]),
            self.unheard("waits"),
            self.unheard("gone"),
            self.http("long", Kind::Cancelled, None, [HELD, HELD]),
        ];
        tasks.extend(crowd);
        tasks
    }

    /// What an edit brings: another priority for one task, and a new one in a queue that nobody has named.
    pub fn edited(&self) -> Vec<Task> {
        let again = self.tasks().into_iter().find(|t| t.name == "again");
        let changed = again.map(|task| task.with("priority", json!(5)));
        let extra = self.http("extra", Kind::Well, Some(1), [WELL, WELL]);
        let extra = extra.with("queue", json!(self.queue("more")));
        changed.into_iter().chain([extra]).collect()
    }
}

pub fn list(tasks: &[Task]) -> Value {
    let definitions: Vec<&Value> = tasks.iter().map(|t| &t.definition).collect();
    json!({ "tasks": definitions })
}
