//! Looks on while a campaign runs: every node's counters once a second, and what the store says of terms that are over.
//! Counters of a process that died are those of the last look, so sums are at most too small.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::campaign::lock;
use crate::stand::Stand;
use crate::stand::node::Node;

/// The present term with 0, and how many instants are in the name of each that is over: one statement, so that it sees one
/// moment. The rows of rests and changes are the API's, of no term.
const SEALED: &str = "SELECT l.epoch, 0 FROM campanile_leader l UNION ALL SELECT r.epoch, COUNT(*) FROM campanile_leader l, \
    (SELECT epoch, origin, 0 AS reason FROM campanile_run UNION ALL SELECT epoch, origin, reason FROM campanile_run_history) r \
    WHERE r.epoch > 0 AND r.epoch < l.epoch AND r.origin = 1 AND r.reason NOT IN (15, 16, 17) GROUP BY r.epoch";
const PERIOD: Duration = Duration::from_millis(1_000);
/// The time between two looks at who believes to lead.
const BELIEF_PERIOD: Duration = Duration::from_millis(100);

/// How many instants were in the name of each term that was over. A later term may take a run over whose timer it fires,
/// so the number may fall; it can't grow any more.
#[derive(Debug, Clone, Default)]
pub struct Sealed {
    /// Every term below this one was seen over.
    pub below: i64,
    /// The least that was seen of each.
    pub least: BTreeMap<i64, i64>,
}

impl Sealed {
    /// Takes a look: the present term, and the terms that are over with their numbers.
    pub fn look(&mut self, look: &[(i64, i64)]) {
        let now = look.iter().map(|(epoch, _)| *epoch).max().unwrap_or(0);
        let counts: BTreeMap<i64, i64> = look.iter().copied().filter(|(e, _)| *e < now).collect();
        for (epoch, least) in &mut self.least {
            *least = (*least).min(counts.get(epoch).copied().unwrap_or(0));
        }
        for (epoch, count) in counts {
            // One that was seen over before and had nothing then has no entry, and can't get one.
            if epoch >= self.below {
                self.least.insert(epoch, count);
            }
        }
        self.below = self.below.max(now);
    }

    /// The most that may be in the name of this term at the end; `None` if it was never seen over.
    pub fn most(&self, epoch: i64) -> Option<i64> {
        (epoch < self.below).then(|| self.least.get(&epoch).copied().unwrap_or(0))
    }
}

type Counters = BTreeMap<String, f64>;

#[derive(Default)]
pub struct Watch {
    counters: Mutex<BTreeMap<(&'static str, u64), Counters>>,
    /// What was in the name of terms that were over.
    sealed: Mutex<Sealed>,
    /// The most runs that were seen waiting for a permit.
    blocked_most: AtomicU64,
    /// Looks in which several nodes said that they lead, and all looks.
    beliefs: [AtomicU64; 2],
    ending: AtomicBool,
}

impl Watch {
    pub fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    fn ends(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// Reads one node's counters again and again.
    pub fn node(&self, node: &Node) {
        while !self.ends() {
            self.scrape(node);
            std::thread::sleep(PERIOD);
        }
    }

    /// Reads one node's counters once.
    pub fn scrape(&self, node: &Node) {
        let life = node.lives();
        let Ok(metrics) = node.metrics() else { return };
        // Started again meanwhile: whose numbers these are can't be told.
        if life == node.lives() {
            let counters = metrics.into_iter().collect();
            lock(&self.counters).insert((node.name, life), counters);
        }
    }

    /// Asks the store again and again.
    pub fn store(&self, stand: &Stand) {
        let book = stand.servers.store.book();
        while !self.ends() {
            // A store that is broken on purpose gives no answer; the next look may get one.
            if let Ok(look) = book.pairs(SEALED) {
                lock(&self.sealed).look(&look);
            }
            let blocked = book
                .number("SELECT COUNT(*) FROM campanile_blocked")
                .unwrap_or(0);
            let blocked = u64::try_from(blocked).unwrap_or(0);
            self.blocked_most.fetch_max(blocked, Ordering::SeqCst);
            std::thread::sleep(PERIOD);
        }
    }

    /// Asks all schedulers again and again whether they lead.
    pub fn beliefs(&self, stand: &Stand) {
        while !self.ends() {
            let leads = |node: &&Node| {
                let metrics = node.metrics().unwrap_or_default();
                metrics.iter().any(|(n, v)| n == "leading" && *v > 0.5)
            };
            let leading = stand.schedulers().filter(leads).count();
            self.beliefs[0].fetch_add(u64::from(leading > 1), Ordering::SeqCst);
            self.beliefs[1].fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(BELIEF_PERIOD);
        }
    }

    /// The sum of a counter over all nodes and lives.
    pub fn sum(&self, counter: &str) -> u64 {
        let series = format!("{counter}_total");
        let counters = lock(&self.counters);
        let values = counters.values().filter_map(|c| c.get(&series));
        values.sum::<f64>() as u64
    }

    /// What was in the name of terms that were over.
    pub fn sealed(&self) -> Sealed {
        lock(&self.sealed).clone()
    }

    /// The most runs that were seen waiting for a permit.
    pub fn blocked_most(&self) -> u64 {
        self.blocked_most.load(Ordering::SeqCst)
    }

    /// Looks in which several nodes believed to lead, and all looks.
    pub fn believed(&self) -> (u64, u64) {
        let [several, all] = &self.beliefs;
        (several.load(Ordering::SeqCst), all.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_name_of_a_term_that_is_over_only_shrinks() {
        let mut sealed = Sealed::default();
        sealed.look(&[(3, 0), (1, 10)]);
        assert_eq!(
            (sealed.most(1), sealed.most(2), sealed.most(3)),
            (Some(10), Some(0), None)
        );
        sealed.look(&[(5, 0), (1, 8), (3, 4), (2, 7)]);
        assert_eq!(
            (sealed.most(1), sealed.most(2), sealed.most(3)),
            (Some(8), Some(0), Some(4))
        );
        sealed.look(&[(5, 0), (1, 9)]);
        assert_eq!((sealed.most(1), sealed.most(3)), (Some(8), Some(0)));
    }

    #[test]
    fn lives_of_one_node_are_added_up() {
        let watch = Watch::default();
        for (life, value) in [(1, 5.0), (2, 7.0)] {
            let counters = [("x_total".to_owned(), value)].into();
            lock(&watch.counters).insert(("s1", life), counters);
        }
        assert_eq!((watch.sum("x"), watch.sum("y")), (12, 0));
    }
}
