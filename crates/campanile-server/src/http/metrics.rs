//! `/metrics` in OpenMetrics text: the node's own counters, as they are. Names are `campanile_` and the counter's name;
//! the labels that hold what users name (queues, and tasks that a setting asks for) have so many values and no more.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use campanile_ask::{Control, Successes};
use campanile_core::engine::{Node, Status};
use campanile_core::metrics::{Counter, LATENESS_BOUNDS_MS, Metrics};
use campanile_core::system;
use campanile_core::time::database::DatabaseTime;
use campanile_schedule::time::Timestamp;
use tokio::sync::watch;

use crate::config;

/// Queues whose blocked runs are told.
const QUEUES_MAX: usize = 1_000;

/// Reads the counters.
#[derive(Debug)]
pub struct Exposition {
    metrics: Arc<Metrics>,
    status: watch::Receiver<Status>,
    time: DatabaseTime,
    control: Arc<Control>,
    successes: Successes,
    held: AtomicBool,
}

/// How long a look at the store may hold an answer up.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

impl Exposition {
    /// Of a node, and what its store has of the tasks that settings name, with the labels that they name.
    #[must_use]
    pub fn of(node: &Node, control: Arc<Control>, settings: &config::Http) -> Self {
        Self {
            metrics: node.metrics(),
            status: node.status(),
            time: node.time(),
            control,
            successes: Successes::of(&settings.metrics_tasks).showing(&settings.metrics_labels),
            held: AtomicBool::new(false),
        }
    }

    /// Looks in the store when tasks last succeeded, if that was not done lately. A store that does not answer leaves what
    /// is known.
    pub async fn refresh(&self) {
        if let Some(Ok(held)) = system::within(LOOK_LIMIT, self.control.held()).await {
            self.held.store(held.is_some(), Ordering::Relaxed);
        }
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
            "Whether this node is among the members",
            i64::from(status.node.is_some()),
        );
        gauge(
            &mut out,
            "clock_skew_milliseconds",
            "This node's wall clock minus the store's",
            self.time.skew_ms(),
        );
        let held = i64::from(self.held.load(Ordering::Relaxed));
        gauge(&mut out, "held", "Whether the cluster is held", held);
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
        for Counter { name, help, value } in self.metrics.counters() {
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
        let labels = self.labels();
        self.tasks(&mut out, &labels);
        self.successes(&mut out, &labels);
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
        for (queue, count) in self.metrics.blocked().into_iter().take(QUEUES_MAX) {
            let _ = writeln!(out, "{name}{{queue=\"{queue}\"}} {count}");
        }
    }

    fn skipped(&self, out: &mut String) {
        let name = "campanile_occurrences_skipped";
        let _ = writeln!(
            out,
            "# TYPE {name} counter\n# HELP {name} Occurrences that did not run, by their reason"
        );
        for (reason, count) in self.metrics.skipped() {
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
        for ((queue, state, reason), count) in self.metrics.figures.ended() {
            let (state, reason) = (state.as_str(), reason.as_str());
            let _ = writeln!(
                out,
                "{name}_total{{queue=\"{queue}\",state=\"{state}\",reason=\"{reason}\"}} {count}"
            );
        }
    }

    /// What stands behind the name of a task: the labels that the setting `metrics_labels` asks for.
    fn labels(&self) -> BTreeMap<String, String> {
        let all = self.successes.labels().into_iter();
        all.map(|(task, labels)| {
            let pairs = labels
                .iter()
                .map(|(key, value)| format!(",{}=\"{value}\"", label_name(key)));
            (task, pairs.collect())
        })
        .collect()
    }

    /// Of the tasks that the setting `metrics_tasks` names, and that had an end on this node.
    fn tasks(&self, out: &mut String, labels: &BTreeMap<String, String>) {
        let tasks = self.metrics.figures.tasks();
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
            let more = labels.get(task).map_or("", String::as_str);
            let counts = [
                ("succeeded", f.succeeded),
                ("failed", f.failed),
                ("cancelled", f.cancelled),
                ("retried", f.retried),
            ];
            for (state, count) in counts {
                let _ = writeln!(
                    out,
                    "{name}_total{{task=\"{task}\"{more},state=\"{state}\"}} {count}"
                );
            }
        }
        let failures = tasks.iter();
        let failures = failures.filter_map(|(task, f)| Some((task, f.last_failure?)));
        let help = "When a run of the task last failed, as this node recorded it";
        last(out, "failure", help, failures, labels);
    }

    /// Of the same tasks, whoever recorded it.
    fn successes(&self, out: &mut String, labels: &BTreeMap<String, String>) {
        let mut all = self.successes.known();
        for (task, f) in self.metrics.figures.tasks() {
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
                labels,
            );
        }
    }

    fn lateness(&self, out: &mut String) {
        let name = "campanile_lateness_seconds";
        let _ = writeln!(
            out,
            "# TYPE {name} histogram\n# UNIT {name} seconds\n# HELP {name} Start minus due"
        );
        let (counts, sum_ms) = self.metrics.lateness();
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

/// The key of a label as metrics can name it: `label_team`, `label_app_kubernetes_io_name`.
fn label_name(key: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = key.chars().map(plain).collect();
    format!("label_{name}")
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# TYPE {name} {kind}\n# HELP {name} {help}");
}

fn last<'a>(
    out: &mut String,
    which: &str,
    help: &str,
    ended: impl Iterator<Item = (&'a String, Timestamp)>,
    labels: &BTreeMap<String, String>,
) {
    let name = format!("campanile_task_last_{which}_timestamp_seconds");
    head(out, &name, "gauge", help);
    for (task, at) in ended {
        let at = u64::try_from(at.as_ms()).unwrap_or(0);
        let more = labels.get(task).map_or("", String::as_str);
        let _ = writeln!(out, "{name}{{task=\"{task}\"{more}}} {}", seconds(at));
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
