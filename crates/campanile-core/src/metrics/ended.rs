//! What is said of the ends that were recorded: one log line for each run that failed and for each attempt after which
//! another one follows, counters by queue, state and reason, and for the tasks that somebody asked for figures of their
//! own. Decides nothing, and every table of it is bounded.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use campanile_schedule::time::Timestamp;

use crate::limits;
use crate::port::attempt::{End, Finish};
use crate::run::{Reason, State};
use crate::task::QueueName;

/// What people call an attempt by, in the log and in figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its task; empty for a run with its own handler.
    pub task: String,
    /// Where it was taken from.
    pub queue: QueueName,
}

impl About {
    /// The task in a sentence.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.task.is_empty() {
            "no task (its own handler)"
        } else {
            &self.task
        }
    }
}

/// How much of an error's text is logged; the run's row has more.
const LOGGED_CHARS_MAX: usize = 300;
/// Under this name queues are counted that are too many to have a line each.
const OTHERS: &str = "_others";

/// Runs that ended, by where and how.
pub type Ended = ((QueueName, State, Reason), u64);

/// The runs that ended, of a task that is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TaskFigures {
    /// Ended well.
    pub succeeded: u64,
    /// Ended badly, for good.
    pub failed: u64,
    /// Ended because somebody asked.
    pub cancelled: u64,
    /// Attempts after which another one follows.
    pub retried: u64,
    /// When one last ended well.
    pub last_success: Option<Timestamp>,
    /// When one last ended badly, for good.
    pub last_failure: Option<Timestamp>,
}

/// The tables.
#[derive(Debug, Default)]
pub struct Figures {
    ended: Mutex<BTreeMap<(QueueName, State, Reason), u64>>,
    /// Names, in which `*` stands for anything.
    watched: Vec<String>,
    tasks: Mutex<HashMap<String, TaskFigures>>,
}

impl Figures {
    /// Empty, with the tasks that are looked at.
    #[must_use]
    pub fn watching(patterns: &[String]) -> Self {
        Self {
            watched: patterns.to_vec(),
            ..Self::default()
        }
    }

    /// Runs that ended, by queue, state and reason.
    #[must_use]
    pub fn ended(&self) -> Vec<Ended> {
        let ended = lock(&self.ended);
        ended.iter().map(|(key, n)| (key.clone(), *n)).collect()
    }

    /// The tasks that are looked at and had an end, by name.
    #[must_use]
    pub fn tasks(&self) -> Vec<(String, TaskFigures)> {
        let tasks = lock(&self.tasks);
        let mut all: Vec<_> = tasks.iter().map(|(name, f)| (name.clone(), *f)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Counts a run that ended.
    pub fn end(&self, queue: &QueueName, state: State, reason: Reason) {
        let mut ended = lock(&self.ended);
        let key = (queue.clone(), state, reason);
        if ended.len() >= limits::METRIC_SERIES_MAX && !ended.contains_key(&key) {
            *ended
                .entry((QueueName::new(OTHERS), state, reason))
                .or_default() += 1;
        } else {
            *ended.entry(key).or_default() += 1;
        }
    }

    fn task(&self, name: &str, change: impl FnOnce(&mut TaskFigures)) {
        if !self.watched.iter().any(|pattern| matches(pattern, name)) {
            return;
        }
        let mut tasks = lock(&self.tasks);
        if tasks.len() < limits::METRIC_SERIES_MAX || tasks.contains_key(name) {
            change(tasks.entry(name.to_owned()).or_default());
        }
    }

    /// Takes note of an end that was recorded.
    pub fn note(&self, end: &Finish, about: &About) {
        match end.end {
            End::Succeeded => {
                self.end(&about.queue, State::Succeeded, Reason::None);
                self.task(&about.task, |t| {
                    t.succeeded += 1;
                    t.last_success = Some(end.at);
                });
            }
            End::Failed(reason) => {
                self.end(&about.queue, State::Failed, reason);
                self.task(&about.task, |t| {
                    t.failed += 1;
                    t.last_failure = Some(end.at);
                });
                say_failed(end, about, reason);
            }
            End::Cancelled(reason) => {
                self.end(&about.queue, State::Cancelled, reason);
                self.task(&about.task, |t| t.cancelled += 1);
            }
            End::Again { ready_at, why } if why != Reason::None => {
                self.task(&about.task, |t| t.retried += 1);
                say_again(end, about, why, ready_at);
            }
            _ => {}
        }
    }
}

fn say_failed(end: &Finish, about: &About, reason: Reason) {
    let (task, run, attempt) = (about.name(), end.run, end.attempt);
    let reason = reason.as_str();
    let error = short(end.error.as_deref());
    tracing::warn!(
        task, %run, attempt, reason, queue = %about.queue, next_step = "none",
        "run {run} of {task} failed ({reason}) at attempt {attempt}: {error}; it is not tried again: `campanile run \
         retry {run}` makes it happen again"
    );
}

fn say_again(end: &Finish, about: &About, why: Reason, ready_at: Timestamp) {
    let (task, run, attempt) = (about.name(), end.run, end.attempt);
    let reason = why.as_str();
    let (error, next) = (short(end.error.as_deref()), attempt + 1);
    tracing::info!(
        task, %run, attempt, reason, queue = %about.queue, next_step = "retry", %ready_at,
        "attempt {attempt} of run {run} of {task} failed ({reason}): {error}; attempt {next} starts at {ready_at} or later"
    );
}

fn short(error: Option<&str>) -> String {
    let error = error.unwrap_or("no error was given");
    match error.char_indices().nth(LOGGED_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &error[..at]),
        None => error.to_owned(),
    }
}

/// Whether a name is one of a pattern's, in which `*` stands for anything. Takes no more steps than the product of the
/// lengths.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pattern.rsplit_once('*').map(|(_, last)| last) else {
        return rest.is_empty();
    };
    let middle: Vec<&str> = parts.collect();
    let between = middle.len().saturating_sub(1);
    for part in middle.into_iter().take(between) {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "../../tests/decide/ended_tests.rs"]
mod tests;
