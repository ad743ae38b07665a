//! What runs in a scene, and when it must have run. An instant is anchor + k × period, added up on paper: this list
//! shares no code with the product.

use std::path::Path;

use campanile_schedule::time::Timestamp;
use serde_json::{Value, json};

use super::effects::{Effects, Manner};

/// What command handlers run.
pub const SHELL: &str = "/bin/sh";
const WELL: Manner = (200, 0);

/// What a task does, and so how its runs may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Succeeds, however often it is tried.
    Well,
    /// The same, started at most once: lost if its worker dies.
    Once,
    /// Fails for good.
    Never,
    /// Is handed over to a listener.
    Order,
    /// A program: the same as [`Kind::Well`], with its own log.
    Program,
    /// Is not due while the test runs.
    Far,
    /// Is ended by somebody.
    Cancelled,
}

/// One task.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// The time between two instants; none runs on request only.
    pub period_ms: Option<i64>,
    /// The first instant.
    pub anchor_ms: i64,
    definition: Value,
}

impl Task {
    /// A task of which only the instants matter.
    pub fn of(name: &'static str, kind: Kind, period_ms: i64, anchor_ms: i64) -> Self {
        Self {
            name,
            kind,
            period_ms: Some(period_ms),
            anchor_ms,
            definition: Value::Null,
        }
    }
}

/// Where a scene's tasks go.
pub struct Place<'a> {
    /// The scene.
    pub scene: &'a str,
    /// The log of effects.
    pub effects: &'a Effects,
    /// What programs run.
    pub script: &'a Path,
    /// The first instant.
    pub base_ms: i64,
}

/// The script of programs: one line for each start.
pub const SCRIPT: &str =
    "echo \"$CAMPANILE_KEY $CAMPANILE_RUN $CAMPANILE_ATTEMPT\" >> \"$0.log\"\nsleep 0.2\n";

impl Place<'_> {
    /// A queue of this scene.
    pub fn queue(&self, name: &str) -> String {
        format!("{}-{name}", self.scene)
    }

    fn task(&self, name: &'static str, kind: Kind, period_s: Option<i64>, more: &Value) -> Task {
        let mut definition = json!({ "name": name, "queue": self.queue("default") });
        let anchor_ms = self.base_ms + if kind == Kind::Far { 1_800_000 } else { 0 };
        if let Some(period) = period_s {
            definition["schedule"] = json!(format!("every {period}s"));
            definition["anchor"] = json!(Timestamp::from_ms(anchor_ms).to_string());
        }
        for (field, value) in more.as_object().into_iter().flatten() {
            definition[field] = value.clone();
        }
        Task {
            name,
            kind,
            period_ms: period_s.map(|s| s * 1_000),
            anchor_ms,
            definition,
        }
    }

    fn http(&self, task: &str, first: Manner, then: Manner) -> Value {
        json!({ "http": { "url": self.effects.url(self.scene, task, first, then), "method": "POST" } })
    }

    /// The tasks at the start.
    pub fn tasks(&self) -> Vec<Task> {
        let http = |name, first, then| json!({ "handler": self.http(name, first, then) });
        let with = |mut value: Value, field: &str, what: Value| {
            value[field] = what;
            value
        };
        let thrice = json!({ "max_attempts": 3, "initial": "200ms" });
        let twice = json!({ "max_attempts": 2, "initial": "200ms" });
        let once = |value| with(value, "start", json!("at-most-once"));
        let order = json!({ "payload": "<order/>", "handler": { "external":
            { "destination": format!("legacy.{}", self.scene), "body": "payload", "reply": "none" } } });
        let program = json!({ "handler": { "command": { "argv": [SHELL, self.script.display().to_string()] } } });
        let line = with(
            http("line", (200, 400), (200, 400)),
            "overlap",
            json!("queue"),
        );
        let waits = with(
            http("waits", WELL, WELL),
            "queue",
            json!(self.queue("nobody")),
        );
        // Its name is that of an allowed program and its place is not: only the worker can tell, and refuses it.
        let elsewhere = self.script.with_file_name("sh");
        let strange =
            json!({ "handler": { "command": { "argv": [elsewhere.display().to_string()] } } });
        let gone = with(
            http("gone", WELL, WELL),
            "queue",
            json!(self.queue("nobody")),
        );
        let again = with(http("again", (500, 0), WELL), "retry", thrice);
        vec![
            self.task("tick", Kind::Well, Some(1), &http("tick", WELL, WELL)),
            self.task(
                "once",
                Kind::Once,
                Some(1),
                &once(http("once", (200, 300), WELL)),
            ),
            self.task("again", Kind::Well, Some(2), &again),
            self.task(
                "never",
                Kind::Never,
                Some(3),
                &with(http("never", (500, 0), (500, 0)), "retry", twice),
            ),
            self.task("line", Kind::Well, Some(2), &line),
            self.task("order", Kind::Order, Some(1), &order),
            self.task("refused", Kind::Order, None, &order),
            self.task("program", Kind::Program, Some(3), &program),
            self.task("far", Kind::Far, Some(3_600), &http("far", WELL, WELL)),
            self.task("ahead", Kind::Far, Some(3_600), &http("ahead", WELL, WELL)),
            self.task("asked", Kind::Well, None, &http("asked", WELL, WELL)),
            self.task("hold", Kind::Well, None, &http("hold", (200, 20_000), WELL)),
            self.task(
                "hold-once",
                Kind::Once,
                None,
                &once(http("hold-once", (200, 20_000), WELL)),
            ),
            self.task("strange", Kind::Cancelled, None, &strange),
            self.task("waits", Kind::Cancelled, None, &waits),
            self.task("gone", Kind::Cancelled, None, &gone),
            self.task(
                "long",
                Kind::Cancelled,
                None,
                &http("long", (200, 20_000), (200, 20_000)),
            ),
        ]
    }

    /// What an edit brings: another priority for one task, and a new one in a queue that nobody has named.
    pub fn edited(&self) -> Vec<Task> {
        let again = self.tasks().into_iter().find(|t| t.name == "again");
        let changed = again.map(|mut task| {
            task.definition["priority"] = json!(5);
            task
        });
        let http =
            json!({ "handler": self.http("extra", WELL, WELL), "queue": self.queue("more") });
        changed
            .into_iter()
            .chain([self.task("extra", Kind::Well, Some(1), &http)])
            .collect()
    }
}

/// A list to apply.
pub fn list(tasks: &[Task]) -> Value {
    let definitions: Vec<&Value> = tasks.iter().map(|t| &t.definition).collect();
    json!({ "tasks": definitions })
}

/// When somebody asked for something, and when that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Before it was asked, the first time.
    pub asked_ms: i64,
    /// After it was answered.
    pub answered_ms: i64,
}

/// The instants of which a task must have an account, and those of which it may: it lives from its creation to its
/// pause, and what was asked takes effect between the question and the answer.
pub fn instants(task: &Task, made: Asked, paused: Asked) -> (Vec<i64>, Vec<i64>) {
    let (mut must, mut may) = (Vec::new(), Vec::new());
    let Some(period) = task.period_ms else {
        return (must, may);
    };
    let mut at = task.anchor_ms;
    while at <= paused.answered_ms {
        if at > made.answered_ms && at < paused.asked_ms {
            must.push(at);
        } else if at >= made.asked_ms {
            may.push(at);
        }
        at += period;
    }
    (must, may)
}
