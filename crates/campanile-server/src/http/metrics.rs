//! `/metrics` in OpenMetrics text: the node's own counters, as they are. Names are `campanile_` and the counter's name;
//! the labels that hold what users name (queues, and tasks that a setting asks for) have so many values and no more.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use campanile::control::{Control, Successes};
use campanile::engine::database_time::DatabaseTime;
use campanile::engine::{Counter, LATENESS_BOUNDS_MS, Meters, Node, Status};
use campanile::system;
use campanile_schedule::time::Timestamp;
use tokio::sync::watch;

/// Queues whose blocked runs are told.
const QUEUES_MAX: usize = 1_000;

/// Reads the counters.
#[derive(Debug)]
pub struct Metrics {
    meters: Arc<Meters>,
    status: watch::Receiver<Status>,
    time: DatabaseTime,
    control: Arc<Control>,
    successes: Successes,
}

/// How long a look at the store may hold an answer up.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

impl Metrics {
    /// Of a node, and what its store has of the tasks of these names.
    #[must_use]
    pub fn of(node: &Node, control: Arc<Control>, tasks: &[String]) -> Self {
        Self {
            meters: node.meters(),
            status: node.status(),
            time: node.time(),
            control,
            successes: Successes::of(tasks),
        }
    }

    /// Looks in the store when tasks last succeeded, if that was not done lately. A store that does not answer leaves what
    /// is known.
    pub async fn refresh(&self) {
        let look = self.successes.refresh(&self.control);
        match system::within(LOOK_LIMIT, look).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%error, "tasks' last successes can't be read"),
            None => tracing::debug!("tasks' last successes can't be read in time"),
        }
    }

    /// All of them, now.
    #[must_use]
    pub fn text(&self) -> String {
        let status = self.status.borrow().clone();
        let mut out = String::with_capacity(4_096);
        gauge(
            &mut out,
            "leading",
            "Whether this node leads",
            i64::from(status.leading.is_some()),
        );
        gauge(
            &mut out,
            "term_epoch",
            "The term that this node leads; 0 = none",
            status.leading.unwrap_or(0),
        );
        gauge(
            &mut out,
            "broker_ok",
            "Whether the leader's last messages were confirmed",
            i64::from(status.broker_ok),
        );
        gauge(
            &mut out,
            "member",
            "Whether this node is among the living",
            i64::from(status.node.is_some()),
        );
        gauge(
            &mut out,
            "clock_skew_milliseconds",
            "This node's wall clock minus the store's",
            self.time.skew_ms(),
        );
        let behind = self.time.behind_until();
        let behind = behind.map_or(0, |until| until.since(self.time.now()).as_secs());
        gauge(
            &mut out,
            "clock_behind_seconds",
            "How long schedules wait until the store's clock is where it was before it went back",
            i64::try_from(behind).unwrap_or(i64::MAX),
        );
        let held = self.time.held().map_or(0, |by| by.as_secs());
        gauge(
            &mut out,
            "clock_held_seconds",
            "By how much the store's clock stepped forward and is not followed yet",
            i64::try_from(held).unwrap_or(i64::MAX),
        );
        for Counter { name, help, value } in self.meters.counters() {
            let help = help.trim_end_matches('.');
            let _ = writeln!(
                out,
                "# TYPE campanile_{name} counter\n# HELP campanile_{name} {help}\ncampanile_{name}_total {value}"
            );
        }
        if status.leading.is_some() {
            self.blocked(&mut out);
        }
        self.skipped(&mut out);
        self.ended(&mut out);
        self.tasks(&mut out);
        self.successes(&mut out);
        self.lateness(&mut out);
        out.push_str("# EOF\n");
        out
    }

    /// By queue: as many as have any, up to a bound.
    fn blocked(&self, out: &mut String) {
        let name = "campanile_runs_blocked";
        let _ = writeln!(
            out,
            "# TYPE {name} gauge\n# HELP {name} Runs that no living worker of their queue can carry out, as the leader sees them"
        );
        for (queue, count) in self.meters.blocked().into_iter().take(QUEUES_MAX) {
            let _ = writeln!(out, "{name}{{queue=\"{queue}\"}} {count}");
        }
    }

    fn skipped(&self, out: &mut String) {
        let name = "campanile_occurrences_skipped";
        let _ = writeln!(
            out,
            "# TYPE {name} counter\n# HELP {name} Occurrences that did not run, by their reason"
        );
        for (reason, count) in self.meters.skipped() {
            let reason = reason.as_str();
            let _ = writeln!(out, "{name}_total{{reason=\"{reason}\"}} {count}");
        }
    }

    fn ended(&self, out: &mut String) {
        let name = "campanile_runs_ended";
        head(
            out,
            name,
            "counter",
            "Runs whose end this node recorded, by queue, state and reason",
        );
        for ((queue, state, reason), count) in self.meters.figures.ended() {
            let (state, reason) = (state.as_str(), reason.as_str());
            let _ = writeln!(
                out,
                "{name}_total{{queue=\"{queue}\",state=\"{state}\",reason=\"{reason}\"}} {count}"
            );
        }
    }

    /// Of the tasks that the setting `metrics_tasks` names, and that had an end on this node.
    fn tasks(&self, out: &mut String) {
        let tasks = self.meters.figures.tasks();
        if tasks.is_empty() {
            return;
        }
        let name = "campanile_task_runs_ended";
        head(
            out,
            name,
            "counter",
            "Runs of a task whose end this node recorded, by state; retried: attempts",
        );
        for (task, f) in &tasks {
            let counts = [
                ("succeeded", f.succeeded),
                ("failed", f.failed),
                ("cancelled", f.cancelled),
                ("retried", f.retried),
            ];
            for (state, count) in counts {
                let _ = writeln!(
                    out,
                    "{name}_total{{task=\"{task}\",state=\"{state}\"}} {count}"
                );
            }
        }
        let failures = tasks.iter();
        let failures = failures.filter_map(|(task, f)| Some((task, f.last_failure?)));
        let help = "When a run of the task last failed, as this node recorded it";
        last(out, "failure", help, failures);
    }

    /// Of the same tasks, whoever recorded it.
    fn successes(&self, out: &mut String) {
        let mut all = self.successes.known();
        for (task, f) in self.meters.figures.tasks() {
            if let Some(at) = f.last_success {
                let kept = all.entry(task).or_insert(at);
                *kept = at.max(*kept);
            }
        }
        if !all.is_empty() {
            let help = "When a run of the task last ended well, on any node";
            last(
                out,
                "success",
                help,
                all.iter().map(|(task, at)| (task, *at)),
            );
        }
    }

    fn lateness(&self, out: &mut String) {
        let name = "campanile_lateness_seconds";
        let _ = writeln!(
            out,
            "# TYPE {name} histogram\n# UNIT {name} seconds\n# HELP {name} Start minus due"
        );
        let (counts, sum_ms) = self.meters.lateness();
        let mut all = 0;
        for (at, count) in counts.iter().enumerate() {
            all += count;
            let bound = LATENESS_BOUNDS_MS
                .get(at)
                .map_or_else(|| "+Inf".to_owned(), |ms| seconds(*ms));
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {all}");
        }
        let _ = writeln!(out, "{name}_count {all}\n{name}_sum {}", seconds(sum_ms));
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# TYPE {name} {kind}\n# HELP {name} {help}");
}

fn last<'a>(
    out: &mut String,
    which: &str,
    help: &str,
    ended: impl Iterator<Item = (&'a String, Timestamp)>,
) {
    let name = format!("campanile_task_last_{which}_timestamp_seconds");
    head(out, &name, "gauge", help);
    for (task, at) in ended {
        let at = u64::try_from(at.as_ms()).unwrap_or(0);
        let _ = writeln!(out, "{name}{{task=\"{task}\"}} {}", seconds(at));
    }
}

fn gauge(out: &mut String, name: &str, help: &str, value: i64) {
    let _ = writeln!(
        out,
        "# TYPE campanile_{name} gauge\n# HELP campanile_{name} {help}\ncampanile_{name} {value}"
    );
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}
