//! People who hold the cluster for a while, and look that nothing begins meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use campanile_core::decide::invariants::Start;
use campanile_core::decide::lead::hold::Cause;
use campanile_core::id::RunId;
use campanile_core::port::lead::LeadStore as _;
use campanile_core::run::{Run, State};
use campanile_core::system::Random;
use campanile_schedule::time::Timestamp;
use tokio::runtime::Runtime;

use super::People;
use crate::net::HOME;
use crate::plan::{between, percent};
use crate::tally::Seen;

impl People {
    /// Holds the cluster for a while: until somebody ends that, or until it ends by itself.
    pub(super) fn hold(&mut self, home: &Runtime, dice: &Random) {
        let length_ms = between(dice, 500, 10_000);
        let end = self.net.time.wall().plus(Duration::from_millis(length_ms));
        let by_itself = percent(dice, 50);
        let until = by_itself.then_some(end);
        let answer = home.block_on(self.control.hold(Cause::Asked, "a look", until));
        let Some(held) = self.done("hold", "", answer) else {
            return;
        };
        self.net.seen(HOME, Seen::Held, 1, String::new);
        let runs = self.services.store.snapshot().runs;
        let starts = self.net.ledger().starts.len();
        self.held = Some(Holding {
            since: held.since,
            begun: Holding::begun(&runs),
            starts,
            end_ms: match by_itself {
                true => u64::MAX,
                false => self.net.time.now_ms() + length_ms,
            },
        });
    }

    /// While a hold holds nothing begins. Ends it when it has held long enough; in any case, if somebody says so.
    pub fn look_at_hold(&mut self, home: &Runtime, end: bool) {
        let Some(holding) = &self.held else { return };
        let store = Arc::clone(&self.services.store);
        let row = home.block_on(store.leader());
        let present = row.ok().and_then(|row| row.hold);
        if present.is_none_or(|hold| hold.since != holding.since) {
            self.held = None;
            return;
        }
        let runs = self.services.store.snapshot().runs;
        let starts: Vec<_> = self
            .net
            .ledger()
            .starts
            .iter()
            .skip(holding.starts)
            .copied()
            .collect();
        if let Some((run, attempt)) = holding.intruder(&runs, &starts) {
            let what = format!("hold: {run}:{attempt} began while the cluster was held");
            self.net.violation(what);
        }
        if end || holding.end_ms <= self.net.time.now_ms() {
            let answer = home.block_on(self.control.end_hold());
            self.done("end of a hold", "", answer);
            self.held = None;
        }
    }
}

/// A hold of the cluster, and what had begun when it was answered.
pub(super) struct Holding {
    since: Timestamp,
    begun: BTreeSet<(RunId, u32)>,
    starts: usize,
    end_ms: u64,
}

impl Holding {
    /// The attempts that run.
    fn begun(runs: &[Run]) -> BTreeSet<(RunId, u32)> {
        let running = runs.iter().filter(|run| run.state == State::Running);
        running.map(|run| (run.id, run.attempt)).collect()
    }

    /// An attempt that runs, or was started since, and had not begun.
    fn intruder(&self, runs: &[Run], starts: &[Start]) -> Option<(RunId, u32)> {
        let running = Self::begun(runs).into_iter();
        let started = starts.iter().map(|start| (start.run, start.attempt));
        running
            .chain(started)
            .find(|attempt| !self.begun.contains(attempt))
    }
}
