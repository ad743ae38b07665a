//! What a node counts. Plain atomics, read by `/metrics`, `/stats` and the benchmarks; nothing decides by them.

mod ended;

pub use self::ended::matches;
pub use self::ended::{About, Ended, Figures, TaskFigures};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::run::{Reason, Run};
use crate::task::QueueName;

/// Upper bounds of the lateness buckets in milliseconds; a last bucket holds the rest.
pub const LATENESS_BOUNDS_MS: [u64; 14] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 60_000,
];

/// A counter as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// Its name.
    pub name: &'static str,
    /// What it counts, in a sentence.
    pub help: &'static str,
    /// Since the process began.
    pub value: u64,
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// The counters. All grow from 0 at the start of the process.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $name: AtomicU64,)+
            skipped: [AtomicU64; Reason::ALL.len()],
            lateness: [AtomicU64; LATENESS_BOUNDS_MS.len() + 1],
            lateness_sum_ms: AtomicU64,
            blocked: Mutex<BTreeMap<QueueName, u64>>,
            /// By queue, state and reason, and those of tasks that somebody looks at.
            pub figures: Figures,
        }

        impl Metrics {
            /// Every counter with its name and what it counts, in a fixed order.
            #[must_use]
            pub fn counters(&self) -> Vec<Counter> {
                vec![$(Counter {
                    name: stringify!($name),
                    help: concat!($($doc),+).trim_ascii(),
                    value: self.$name.load(Ordering::Relaxed),
                },)+]
            }
        }
    };
}

counters!(
    /// Terms that this node began.
    terms_begun,
    /// Terms that ended because a guard matched no row or a commit was in doubt.
    terms_broken,
    /// Of those, writes that were refused because another term had begun.
    writes_fenced,
    /// Occurrences that got their run.
    runs_fired,
    /// Timers of runs (submissions, retries) that fired.
    timers_fired,
    /// Messages that a broker confirmed.
    messages_published,
    /// Messages of publishes that were not confirmed.
    messages_unconfirmed,
    /// Runs marked queued.
    runs_marked_queued,
    /// Ends that the store refused, and of which it took less: without their texts, or that they are over.
    ends_cut,
    /// What the store refused altogether, and was set aside.
    quarantined,
    /// Housekeeping of the leader that the store refused.
    chores_refused,
    /// Runs handed over to external listeners.
    runs_handed_over,
    /// Nodes found dead.
    nodes_evicted,
    /// Attempts that died with their node.
    attempts_lost,
    /// Rows of the inbox that became runs.
    inbox_runs,
    /// Rows of the inbox that became none: duplicates, conflicts, refusals.
    inbox_others,
    /// Waiting runs of deleted tasks that were cancelled.
    runs_orphaned,
    /// Runs and skips that were planned while the store's clock was ahead, and were taken back when it was set right.
    planned_taken_back,
    /// Finished runs removed by retention.
    runs_pruned,
    /// Messages received.
    messages_received,
    /// Messages refused: forged, malformed, too large.
    messages_refused,
    /// Runs of groups that there were no slots for: offered to others.
    runs_offered_again,
    /// Messages whose attempt was claimed, ended or replaced already.
    claims_refused,
    /// Attempts won.
    attempts_claimed,
    /// Attempts that ended well.
    attempts_succeeded,
    /// Attempts that ended badly and will be tried again.
    attempts_retried,
    /// Attempts that this worker refused before their start: it can't carry them out.
    attempts_refused,
    /// Attempts that ended badly for good.
    attempts_failed,
    /// Attempts that were cancelled.
    attempts_cancelled,
    /// Ends that came too late: the attempt was no longer ours.
    ends_stale,
    /// Times that this worker stopped its own handlers because its lease could not be kept.
    self_fenced,
    /// Calls to the store that failed.
    store_failures,
    /// Calls to the lock service that failed.
    lock_failures,
);

impl Metrics {
    /// At 0, with figures of the tasks of these names, in which `*` stands for anything.
    #[must_use]
    pub fn watching(patterns: &[String]) -> Self {
        Self {
            figures: Figures::watching(patterns),
            ..Self::default()
        }
    }

    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts occurrences that do not run, by their reason.
    pub fn skip(&self, reason: Reason, n: u64) {
        if let Some(counter) = usize::try_from(reason.as_i64())
            .ok()
            .and_then(|i| self.skipped.get(i))
        {
            counter.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Counts the occurrences for which these rows stand.
    pub fn skip_all(&self, rows: &[Run]) {
        for row in rows {
            self.skip(row.reason, row.skipped.map_or(1, |(_, n)| n));
        }
    }

    /// Occurrences that did not run: every reason that was met, with its count.
    #[must_use]
    pub fn skipped(&self) -> Vec<(Reason, u64)> {
        let counts = self.skipped.iter().map(|c| c.load(Ordering::Relaxed));
        let all = Reason::ALL.into_iter().zip(counts);
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// Runs that are blocked because no living worker of their queue can carry them out, by queue: as this node saw it
    /// last, while it led.
    #[must_use]
    pub fn blocked(&self) -> BTreeMap<QueueName, u64> {
        let blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        blocked.clone()
    }

    /// Takes note of them.
    pub fn set_blocked(&self, blocked: BTreeMap<QueueName, u64>) {
        *self.blocked.lock().unwrap_or_else(PoisonError::into_inner) = blocked;
    }

    /// Counts a start by its lateness.
    pub fn observe_lateness(&self, late_ms: u64) {
        let bucket = LATENESS_BOUNDS_MS
            .iter()
            .position(|b| late_ms <= *b)
            .unwrap_or(LATENESS_BOUNDS_MS.len());
        self.lateness[bucket].fetch_add(1, Ordering::Relaxed);
        self.lateness_sum_ms.fetch_add(late_ms, Ordering::Relaxed);
    }

    /// Starts by lateness: one count for each bound and one for the rest, and the sum in milliseconds.
    #[must_use]
    pub fn lateness(&self) -> (Vec<u64>, u64) {
        let counts = self
            .lateness
            .iter()
            .map(|b| b.load(Ordering::Relaxed))
            .collect();
        (counts, self.lateness_sum_ms.load(Ordering::Relaxed))
    }
}
