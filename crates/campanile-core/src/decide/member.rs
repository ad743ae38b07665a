//! Which workers are dead: decided by the leader from what its own node saw. No wall clock takes part: a worker is dead
//! when that node saw its `heartbeat_seq` unchanged for the worker's whole lease on its own monotonic clock. Every scheduler
//! node watches all the time, whoever leads; a failed read of the store starts all of its waits again.

use std::collections::HashMap;
use std::time::Duration;

use crate::id::NodeId;
use crate::port::member::Node;
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
    heartbeat_seq: i64,
    since: Monotonic,
}

/// Expired nodes in one look above which the leader doubts itself (or the store) first, if they are the majority.
const MASS_MIN: usize = 3;

impl Watch {
    /// Takes one look at the members: the new memory, and who is dead.
    #[must_use]
    pub fn look(mut self, nodes: &[Node], now: Monotonic) -> (Self, Vec<NodeId>) {
        let mut seen = HashMap::with_capacity(nodes.len());
        let mut expired = Vec::new();
        let mut longest = Duration::ZERO;
        for node in nodes {
            let entry = match self.seen.get(&node.id) {
                Some(old) if old.heartbeat_seq == node.heartbeat_seq => *old,
                _ => Seen {
                    heartbeat_seq: node.heartbeat_seq,
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

    /// Whether somebody who was seen before is not among these: whoever left, or was evicted, may have left runs behind.
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

/// When a worker that could not write its heartbeat must have stopped its handlers: two thirds of the lease after the last
/// heartbeat that was *sent* and answered. The leader waits the whole lease, so the handlers stop first.
#[must_use]
pub fn stop_by(last_heartbeat_sent: Monotonic, lease: Duration) -> Monotonic {
    last_heartbeat_sent.plus(lease * 2 / 3)
}

/// How often a node heartbeats.
#[must_use]
pub fn heartbeat_period(lease: Duration) -> Duration {
    lease / 4
}

#[cfg(test)]
#[path = "../../tests/decide/member_tests.rs"]
mod tests;
