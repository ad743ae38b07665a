//! What was counted on one database, and the line that says so.

use std::collections::BTreeMap;

use super::driver::Walk;
use super::ops::Kind;
use super::reference::Order;

/// Sums over all interleavings of a database.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) scenes: u64,
    /// Scenes of which every interleaving was walked.
    pub(super) whole: u64,
    pub(super) interleavings: u64,
    pub(super) statements: u64,
    /// How often a statement waited for another session's lock.
    pub(super) blocked: u64,
    pub(super) done: u64,
    pub(super) stale: u64,
    /// Given up after three deadlocks or timeouts.
    pub(super) failed: u64,
    /// Transactions that were begun again within one operation: the database broke them, or a cancel looked again.
    pub(super) again: u64,
    /// Deadlocks that the database says it has broken.
    pub(super) deadlocks: i64,
    /// Interleavings that another order than that of the commits explains.
    pub(super) reordered: u64,
    /// Choices that were not there when they were to be made again.
    pub(super) diverged: u64,
    /// Scenes of which an interleaving is known to be wrong, and was.
    pub(super) open: u64,
    /// Outcomes by operation: how many changed something, how many did not.
    pub(super) by_op: BTreeMap<&'static str, (u64, u64)>,
}

impl Counts {
    pub(super) fn note(&mut self, walk: &Walk) {
        self.interleavings += 1;
        self.statements += walk.statements();
        self.blocked += walk.blocked;
        self.again += walk.again();
        for done in &walk.done {
            let (changed, not) = self.by_op.entry(done.op.name()).or_default();
            match done.answer.kind {
                Kind::Done => {
                    self.done += 1;
                    *changed += 1;
                }
                Kind::Stale => {
                    self.stale += 1;
                    *not += 1;
                }
                Kind::Failed | Kind::Broken => self.failed += 1,
            }
        }
    }

    pub(super) fn explained(&mut self, order: Order) {
        self.reordered += u64::from(order == Order::Another);
    }

    /// Interleavings, waits, and interleavings that only another order explains, so far.
    pub(super) const fn sums(&self) -> [u64; 3] {
        [self.interleavings, self.blocked, self.reordered]
    }

    /// That what the sessions met for did happen: they waited for each other, were refused by guards, and did their
    /// work; and nothing was given up.
    pub(super) fn are_of_interest(&self) {
        assert!(
            self.done > 0 && self.stale > 0 && self.blocked > 0,
            "{self:?}"
        );
        assert_eq!(self.failed, 0, "given up: {self:?}");
        for (op, (changed, _)) in &self.by_op {
            assert!(*changed > 0, "{op} never changed anything: {self:?}");
        }
        let refused = [
            "begin", "fire", "claim", "finish", "lost", "edit", "cancel", "submit", "move",
        ];
        for op in refused {
            let not = self.by_op.get(op).map_or(0, |(_, not)| *not);
            assert!(not > 0, "{op} was never refused: {self:?}");
        }
    }

    /// All of it, as one line.
    pub(super) fn line(&self, engine: &str) -> String {
        let by_op = |of: fn(&(u64, u64)) -> u64| -> std::collections::BTreeMap<&str, u64> {
            let pairs = self.by_op.iter();
            pairs.map(|(op, counts)| (*op, of(counts))).collect()
        };
        serde_json::json!({
            "record": "stepping", "part": engine, "scenes": self.scenes, "scenes walked whole": self.whole,
            "interleavings": self.interleavings, "statements": self.statements, "waits for another session": self.blocked,
            "operations that changed something": self.done, "operations refused": self.stale,
            "operations given up": self.failed, "transactions begun again": self.again, "deadlocks": self.deadlocks,
            "explained by another order than the commits'": self.reordered, "not walked as chosen": self.diverged,
            "scenes with an interleaving that is known to be wrong": self.open,
            "changed something": by_op(|counts| counts.0), "refused": by_op(|counts| counts.1),
        })
        .to_string()
    }
}
