//! What a history amounts to: which expected starts are missing, which came twice, which came early. Counted two times
//! over, from the store's rows and from the handler's own record, and believed only when both agree: a bench that
//! counts by one witness finds what it wants to find.
//!
//! - missed: expected, and without a recorded end that is a success.
//! - doubled: a second start of one run that no recorded loss of its worker explains, or a second row of one occurrence.
//! - early: started before its instant.
//! - restarted: a start that a recorded loss explains (at-least-once keeps its promise so); counted apart.

use std::collections::{HashMap, HashSet};

use campanile_core::id::RunId;
use serde::Serialize;

/// What is expected to start once: an occurrence, or a run that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// An instant (in milliseconds) of the task with this number.
    Occurrence(u32, i64),
    /// A submitted run.
    Run(RunId),
}

/// One start, as the handler recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// What started.
    pub key: Key,
    /// Under which run.
    pub run: RunId,
    /// In which attempt.
    pub attempt: u32,
    /// The instant it was meant for, as the handler was told, in milliseconds.
    pub due_ms: i64,
    /// The latest that the store's time can have been at the start, in microseconds.
    pub latest_us: i64,
}

/// One row, as the store keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What it is of.
    pub key: Key,
    /// Which run.
    pub run: RunId,
    /// Its last attempt.
    pub attempt: u32,
    /// Attempts that died with their worker.
    pub losses: u32,
    /// Whether it ended well.
    pub succeeded: bool,
    /// Its instant.
    pub due_ms: i64,
    /// When its last attempt was claimed.
    pub started_ms: Option<i64>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Expected and not done.
    pub missed: usize,
    /// Done twice.
    pub doubled: usize,
    /// Done before the time.
    pub early: usize,
    /// Started again after a loss.
    pub restarted: usize,
}

impl Counts {
    /// Adds what another history came to.
    pub const fn add(&mut self, other: Self) {
        self.missed += other.missed;
        self.doubled += other.doubled;
        self.early += other.early;
        self.restarted += other.restarted;
    }
}

/// Why two witnesses can't both be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// They count differently.
    #[error("the store's rows say {rows} {what}, the handler's record says {starts}")]
    Counts {
        /// Of what.
        what: &'static str,
        /// By the rows.
        rows: usize,
        /// By the record.
        starts: usize,
    },
    /// A start without a row.
    #[error("the handler recorded a start of run {0}, which the store does not know")]
    Unknown(RunId),
    /// An end without a start.
    #[error("the store says that run {0} succeeded, and the handler never started it")]
    NeverStarted(RunId),
    /// The handler was told another instant than the row has.
    #[error("run {run} is due at {row_ms} by its row, and its handler was told {told_ms}")]
    Due {
        /// Which.
        run: RunId,
        /// By the row.
        row_ms: i64,
        /// By the record.
        told_ms: i64,
    },
}

/// The counts, if both witnesses agree. Rows and starts of what was not expected count as far as they are doubled or
/// early; they can't be missed.
///
/// # Errors
/// Where they differ.
pub fn judge(expected: &[Key], rows: &[Row], starts: &[Start]) -> Result<Counts, Disagreement> {
    same_runs(rows, starts)?;
    let by_rows = of_rows(expected, rows);
    let by_starts = of_starts(expected, rows, starts);
    for (what, rows, starts) in [
        ("missed", by_rows.missed, by_starts.missed),
        ("doubled", by_rows.doubled, by_starts.doubled),
        ("early", by_rows.early, by_starts.early),
    ] {
        if rows != starts {
            return Err(Disagreement::Counts { what, rows, starts });
        }
    }
    Ok(by_rows)
}

fn same_runs(rows: &[Row], starts: &[Start]) -> Result<(), Disagreement> {
    let known: HashMap<RunId, &Row> = rows.iter().map(|r| (r.run, r)).collect();
    for start in starts {
        let Some(row) = known.get(&start.run) else {
            return Err(Disagreement::Unknown(start.run));
        };
        if row.due_ms != start.due_ms {
            return Err(Disagreement::Due {
                run: start.run,
                row_ms: row.due_ms,
                told_ms: start.due_ms,
            });
        }
    }
    let started: HashSet<RunId> = starts.iter().map(|s| s.run).collect();
    match rows
        .iter()
        .find(|r| r.succeeded && !started.contains(&r.run))
    {
        Some(row) => Err(Disagreement::NeverStarted(row.run)),
        None => Ok(()),
    }
}

fn of_rows(expected: &[Key], rows: &[Row]) -> Counts {
    let mut of_key: HashMap<Key, usize> = HashMap::new();
    for row in rows {
        *of_key.entry(row.key).or_default() += 1;
    }
    let done: HashSet<Key> = rows.iter().filter(|r| r.succeeded).map(|r| r.key).collect();
    let unexplained = |r: &Row| (r.attempt.saturating_sub(1)).saturating_sub(r.losses) as usize;
    Counts {
        missed: expected.iter().filter(|key| !done.contains(key)).count(),
        doubled: of_key.values().map(|n| n - 1).sum::<usize>()
            + rows.iter().map(unexplained).sum::<usize>(),
        early: rows
            .iter()
            .filter(|r| r.started_ms.is_some_and(|at| at < r.due_ms))
            .count(),
        restarted: rows.iter().map(|r| r.losses as usize).sum(),
    }
}

fn of_starts(expected: &[Key], rows: &[Row], starts: &[Start]) -> Counts {
    let losses: HashMap<RunId, usize> = rows.iter().map(|r| (r.run, r.losses as usize)).collect();
    let mut of_run: HashMap<RunId, usize> = HashMap::new();
    let mut runs_of_key: HashMap<Key, HashSet<RunId>> = HashMap::new();
    for start in starts {
        *of_run.entry(start.run).or_default() += 1;
        runs_of_key.entry(start.key).or_default().insert(start.run);
    }
    // A lost attempt may have died before its handler began, so a loss explains a start and demands none.
    let unexplained =
        |(run, n): (&RunId, &usize)| (n - 1).saturating_sub(losses.get(run).copied().unwrap_or(0));
    let again: usize = of_run.iter().map(unexplained).sum();
    let second_runs: usize = runs_of_key.values().map(|runs| runs.len() - 1).sum();
    Counts {
        missed: expected
            .iter()
            .filter(|key| !runs_of_key.contains_key(key))
            .count(),
        doubled: again + second_runs,
        early: starts
            .iter()
            .filter(|s| s.latest_us < s.due_ms * 1_000)
            .count(),
        restarted: starts.len() - of_run.len() - again,
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
