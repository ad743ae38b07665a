//! Which workers are dead: decided by the leader from what its own node saw. No wall clock takes part: a worker is dead
//! when that node saw its `beat_seq` unchanged for the worker's whole lease on its own monotonic clock. Every scheduler
//! node watches all the time, whoever leads; a failed read of the store starts all of its waits anew.

use std::collections::HashMap;
use std::time::Duration;

use super::work::Node;
use crate::id::NodeId;
use crate::time::Monotonic;

/// What a scheduler node has seen of each node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    seen: HashMap<NodeId, Seen>,
    /// Until when a mass expiry is held back, once one was seen.
    held_until: Option<Monotonic>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    beat_seq: i64,
    since: Monotonic,
}

/// Expired nodes in one look above which the leader doubts itself (or the store) first, if they are the majority.
const MASS_MIN: usize = 3;

impl Watch {
    /// Takes one look at the living nodes: the new memory, and who is dead.
    #[must_use]
    pub fn look(mut self, nodes: &[Node], now: Monotonic) -> (Self, Vec<NodeId>) {
        let mut seen = HashMap::with_capacity(nodes.len());
        let mut expired = Vec::new();
        let mut longest = Duration::ZERO;
        for node in nodes {
            let entry = match self.seen.get(&node.id) {
                Some(old) if old.beat_seq == node.beat_seq => *old,
                _ => Seen {
                    beat_seq: node.beat_seq,
                    since: now,
                },
            };
            if now.since(entry.since) >= node.lease {
                expired.push(node.id);
                longest = longest.max(node.lease);
            }
            seen.insert(node.id, entry);
        }
        self.seen = seen;
        let mass = expired.len() >= MASS_MIN && expired.len() * 2 > nodes.len();
        if !mass {
            self.held_until = None;
            return (self, expired);
        }
        let until = *self.held_until.get_or_insert(now.plus(longest));
        if now < until {
            (self, Vec::new())
        } else {
            (self, expired)
        }
    }

    /// Whether somebody who was seen before is not among these: whoever left, or was buried, may have left runs behind.
    #[must_use]
    pub fn misses(&self, nodes: &[Node]) -> bool {
        let there = |id: &NodeId| nodes.iter().any(|node| node.id == *id);
        self.seen.keys().any(|id| !there(id))
    }

    /// The store could not be read: what was seen before proves nothing.
    #[must_use]
    pub fn blind(self) -> Self {
        Self::default()
    }
}

/// When a worker that could not write its beat must have stopped its handlers: two thirds of the lease after the last
/// beat that was *sent* and answered. The leader waits the whole lease, so the handlers stop first.
#[must_use]
pub fn stop_by(last_beat_sent: Monotonic, lease: Duration) -> Monotonic {
    last_beat_sent.plus(lease * 2 / 3)
}

/// How often a node beats.
#[must_use]
pub fn beat_period(lease: Duration) -> Duration {
    lease / 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use campanile_schedule::time::Timestamp;

    fn node(id: i64, beat_seq: i64) -> Node {
        Node {
            id: NodeId::from_i64(id),
            name: format!("n{id}"),
            roles: vec![],
            queues: vec![],
            slots: 1,
            busy: 0,
            lease: Duration::from_secs(10),
            started_at: Timestamp::MIN,
            beat_seq,
            beat_at: Timestamp::MIN,
            version: String::new(),
            abilities: None,
        }
    }

    fn s(seconds: u64) -> Monotonic {
        Monotonic::from_ms(seconds * 1_000)
    }

    #[test]
    fn silence_for_a_whole_lease_is_death_and_a_beat_resets_it() {
        let (w, dead) = Watch::default().look(&[node(1, 5), node(2, 9)], s(100));
        assert!(dead.is_empty());
        let (w, dead) = w.look(&[node(1, 5), node(2, 10)], s(109));
        assert!(dead.is_empty());
        let (w, dead) = w.look(&[node(1, 5), node(2, 10)], s(110));
        assert_eq!(dead, vec![NodeId::from_i64(1)]);
        let (_, dead) = w.blind().look(&[node(1, 5)], s(111));
        assert!(
            dead.is_empty(),
            "after a failed read every wait starts anew"
        );
    }

    #[test]
    fn who_was_there_and_is_not_any_more_is_missed() {
        let (w, _) = Watch::default().look(&[node(1, 1), node(2, 1)], s(0));
        assert!(!w.misses(&[node(2, 2), node(1, 1), node(3, 1)]));
        assert!(w.misses(&[node(2, 2), node(3, 1)]));
        assert!(!Watch::default().misses(&[]));
    }

    #[test]
    fn a_mass_expiry_is_held_for_one_lease_more() {
        let nodes = [node(1, 1), node(2, 1), node(3, 1)];
        let (w, _) = Watch::default().look(&nodes, s(0));
        let (w, dead) = w.look(&nodes, s(10));
        assert!(dead.is_empty());
        let (_, dead) = w.look(&nodes, s(20));
        assert_eq!(dead.len(), 3);
    }
}
