//! What a seed decides before its history begins: how many processes of which roles, which tasks, how the services
//! misbehave, and which faults the world itself has in store. Owns the ranges; carries nothing out.

use std::time::Duration;

use campanile_core::engine::Settings;
use campanile_core::system::Random;
use campanile_core::task::{HandlerSpec, QueueName, TaskSpec};
use campanile_schedule::time::Timestamp;
use serde_json::{Value, json};

use crate::net::Knobs;
use crate::oracle::Grid;
use crate::tally::Fault;
use crate::time::START_MS;

/// The faults that happen to processes and services as a whole.
const WORLD_FAULTS: [Fault; 14] = [
    Fault::Crash,
    Fault::Pause,
    Fault::PausePastLease,
    Fault::ClockStep,
    Fault::StoreClockStep,
    Fault::Restart,
    Fault::RollingRestart,
    Fault::StepDown,
    Fault::LockForgotten,
    Fault::LockCut,
    Fault::StoreCut,
    Fault::BrokerCut,
    Fault::BrokerWiped,
    Fault::ForeignMessage,
];

/// A task, and what the oracle knows of it.
#[derive(Debug, Clone)]
pub struct PlannedTask {
    /// As people define it.
    pub spec: TaskSpec,
    /// Its instants; `None` = it runs on request alone, or goes on from the ends of its runs.
    pub grid: Option<Grid>,
}

/// All that a seed decides.
#[derive(Debug)]
pub struct Plan {
    /// How calls misbehave.
    pub knobs: Knobs,
    /// The processes' settings.
    pub processes: Vec<Settings>,
    /// The tasks at the beginning.
    pub tasks: Vec<PlannedTask>,
    /// How many runs of the tasks' group may run at once.
    pub group_limit: Option<u32>,
    /// Whether the lock passes hints on.
    pub hints: bool,
    /// How long faults go on.
    pub span_ms: u64,
    /// The mean time from one of the world's faults to the next.
    pub fault_gap_ms: u64,
    /// The mean time from one of people's acts to the next.
    pub act_gap_ms: u64,
    /// What the world has in store.
    pub faults: Vec<Fault>,
    /// The longer of the lock's life and the lease.
    pub patience_ms: u64,
}

/// A number from `from` to `to`, both included.
pub fn between(dice: &Random, from: u64, to: u64) -> u64 {
    from + dice.below(to - from + 1)
}

/// One of these.
pub fn pick<T: Copy>(dice: &Random, of: &[T]) -> T {
    let at = dice.below(u64::try_from(of.len()).unwrap_or(1));
    of[usize::try_from(at).unwrap_or(0)]
}

/// Whether something with this chance in a hundred happens.
pub fn percent(dice: &Random, chance: u64) -> bool {
    dice.below(100) < chance
}

impl Plan {
    /// Draws a plan; a `short` one ends early, for the tests of every day.
    pub fn draw(dice: &Random, short: bool) -> Self {
        let ttl_ms = between(dice, 1_000, 5_000);
        let lease_ms = between(dice, 2_000, 10_000);
        let tasks = between(dice, 2, 5);
        let longest = if short { 90_000 } else { 300_000 };
        let faults = WORLD_FAULTS.into_iter().filter(|_| percent(dice, 55));
        Self {
            knobs: knobs(dice),
            faults: faults.collect(),
            processes: processes(dice, ttl_ms, lease_ms),
            tasks: (0..tasks).map(|n| task(dice, n)).collect(),
            group_limit: percent(dice, 50).then(|| if percent(dice, 50) { 1 } else { 2 }),
            hints: percent(dice, 80),
            span_ms: between(dice, 60_000, longest),
            fault_gap_ms: pick(dice, &[2_000, 5_000, 10_000, 30_000]),
            act_gap_ms: pick(dice, &[1_000, 3_000, 10_000]),
            patience_ms: ttl_ms.max(lease_ms),
        }
    }
}

impl Plan {
    /// The same where the broker is a table of the store: no listener but our own workers can be reached, and what happens to
    /// a broker alone does not happen.
    pub fn on_store_broker(&mut self) {
        for task in &mut self.tasks {
            if matches!(task.spec.handler, HandlerSpec::External(_)) {
                task.spec.handler = HandlerSpec::Native("work".to_owned());
            }
        }
        let brokers = [Fault::BrokerCut, Fault::BrokerWiped, Fault::ForeignMessage];
        self.faults.retain(|fault| !brokers.contains(fault));
    }
}

fn knobs(dice: &Random) -> Knobs {
    // Two in five seeds lack a given fault wholly; the others have little or much of it.
    let level = |little: u64, much: u64| match dice.below(5) {
        0 | 1 => 0,
        2 | 3 => little,
        _ => much,
    };
    Knobs {
        store_failed: level(3, 20),
        store_contended: level(10, 60),
        commit_in_doubt: level(3, 15),
        store_slow: level(3, 15),
        rows_refused: level(5, 30),
        way_ms: pick(dice, &[0, 1, 5, 40]),
        broker_failed: level(5, 40),
        dropped: level(20, 150),
        doubled: level(50, 300),
        delayed: level(50, 300),
        confirm_lost: level(10, 60),
        ack_lost: level(20, 100),
        lock_failed: level(10, 80),
        hint_lost: level(100, 600),
        crash_in_call: level(20, 150),
    }
}

fn processes(dice: &Random, ttl_ms: u64, lease_ms: u64) -> Vec<Settings> {
    let base = Settings {
        lock_ttl: Duration::from_millis(ttl_ms),
        lease: Duration::from_millis(lease_ms),
        in_flight_max: usize::try_from(pick(dice, &[4, 8, 50, 10_000])).unwrap_or(4),
        catch_up_per_second: pick(dice, &[2, 10, 100]),
        drain: Duration::from_millis(between(dice, 0, 5_000)),
        queues: vec![QueueName::default(), QueueName::new("other")],
        elector_thread: false,
        ..Settings::default()
    };
    let (schedulers, workers) = (between(dice, 1, 3), between(dice, 1, 3));
    let together = percent(dice, 30);
    let mut out = Vec::new();
    for n in 0..schedulers {
        out.push(Settings {
            name: format!("s{n}"),
            worker: together,
            slots: slots(dice),
            ..base.clone()
        });
    }
    for n in 0..workers {
        out.push(Settings {
            name: format!("w{n}"),
            scheduler: false,
            slots: slots(dice),
            ..base.clone()
        });
    }
    out
}

fn slots(dice: &Random) -> u32 {
    // The largest ones, of two queues, are sent groups of two.
    pick(dice, &[1, 2, 4, 32])
}

/// When a task is due: what is written in its definition, and the same for the oracle.
pub fn schedule(dice: &Random) -> (String, Option<Timestamp>, Grid) {
    if percent(dice, 55) {
        let step_ms = pick(dice, &[1_000, 2_000, 3_000, 5_000, 7_000, 20_000]);
        let phase_ms = START_MS + i64::try_from(dice.below(1_000)).unwrap_or(0);
        let grid = Grid { step_ms, phase_ms };
        let text = format!("every {}s", step_ms / 1_000);
        return (text, Some(Timestamp::from_ms(phase_ms)), grid);
    }
    let seconds = pick(dice, &[1, 2, 3, 5, 10, 15, 30, 60]);
    let text = match seconds {
        60 => "* * * * *".to_owned(),
        n => format!("*/{n} * * * * *"),
    };
    let grid = Grid {
        step_ms: seconds * 1_000,
        phase_ms: 0,
    };
    (text, None, grid)
}

fn task(dice: &Random, n: u64) -> PlannedTask {
    let mut spec = json!({
        "name": format!("t{n}"),
        "handler": {"native": if n % 3 == 2 { "rare" } else { "work" }},
        "payload": payload(dice),
        "queue": if percent(dice, 25) { "other" } else { "default" },
        "priority": between(dice, 0, 9),
    });
    let mut grid = None;
    if percent(dice, 85) {
        let (text, anchor, due) = schedule(dice);
        if text == "every 2s" {
            spec["schedule"] = json!("after 2s");
        } else {
            spec["schedule"] = json!(text);
            grid = Some(due);
            if let Some(anchor) = anchor {
                spec["anchor"] = json!(anchor);
            }
        }
    }
    let overlap = pick(dice, &["allow", "allow", "skip", "queue", "replace"]);
    spec["overlap"] = json!(overlap);
    spec["overlap_queue_max"] = json!(between(dice, 1, 5));
    if overlap == "allow" && percent(dice, 20) {
        spec["max_running"] = json!(between(dice, 1, 3));
    }
    if percent(dice, 25) {
        spec["group"] = json!("g");
    }
    if percent(dice, 25) {
        spec["start"] = json!("at-most-once");
    } else if percent(dice, 60) {
        spec["retry"] = retry(dice);
    }
    policies(dice, &mut spec);
    if spec["schedule"] == "after 2s"
        && let Some(fields) = spec.as_object_mut()
    {
        fields.remove("jitter");
    }
    if percent(dice, 7) {
        spec["handler"] =
            json!({"external": {"destination": "legacy", "body": "payload", "reply": "none"}});
    }
    PlannedTask {
        spec: read(spec),
        grid,
    }
}

fn policies(dice: &Random, spec: &mut Value) {
    spec["misfire"] = json!(pick(dice, &["last", "skip", "all"]));
    spec["misfire_limit"] = json!(pick(dice, &["1s", "3s", "10s", "60s"]));
    if percent(dice, 25) {
        spec["max_lateness"] = json!(pick(dice, &["5s", "20s"]));
    }
    if percent(dice, 25) {
        spec["start_deadline"] = json!(pick(dice, &["2s", "5s", "20s"]));
    }
    if percent(dice, 20) {
        spec["jitter"] = json!(pick(dice, &["500ms", "3s"]));
    }
    if percent(dice, 40) {
        spec["timeout"] = json!(pick(dice, &["1s", "5s", "20s"]));
    }
}

fn retry(dice: &Random) -> Value {
    json!({
        "max_attempts": between(dice, 2, 4),
        "backoff": pick(dice, &["fixed", "exponential"]),
        "initial": pick(dice, &["100ms", "1s", "3s"]),
        "max": "5s",
    })
}

/// What a handler is asked to do.
pub fn payload(dice: &Random) -> Value {
    let ms = match dice.below(10) {
        0 => between(dice, 3_000, 15_000),
        1..=3 => between(dice, 500, 3_000),
        _ => between(dice, 0, 500),
    };
    json!({
        "ms": ms,
        "fails": pick(dice, &[0, 0, 0, 20, 60, 100]),
        "panics": percent(dice, 10),
        "stubborn": percent(dice, 10),
    })
}

/// A definition from its JSON, which this file has written itself.
pub fn read(spec: Value) -> TaskSpec {
    match serde_json::from_value(spec) {
        Ok(spec) => spec,
        Err(error) => panic!("a simulated task can't be read: {error}"),
    }
}
