//! Where ids come from: [`Mint`], over the process's own randomness. What an id is made of and how it is spelled is
//! [`campanile_task::id`]'s.

use std::sync::Mutex;

use campanile_schedule::time::Timestamp;
pub use campanile_task::id::*;

use crate::system::Random;

/// Mints ids. One per process: batches of one process never collide; those of two processes that mint in the same
/// millisecond collide once in 4,096 times if they are full, once in some millions if they are small, and then the
/// store's primary key refuses the second, whole.
#[derive(Debug)]
pub struct Mint {
    random: std::sync::Arc<Random>,
    last_batch: Mutex<i64>,
}

impl Mint {
    /// A mint over a source of randomness.
    #[must_use]
    pub const fn new(random: std::sync::Arc<Random>) -> Self {
        Self {
            random,
            last_batch: Mutex::new(0),
        }
    }

    /// A batch, and a random number.
    fn batch(&self, now: Timestamp) -> (i64, u64) {
        let random = self.random.next();
        let low = i64::try_from(random >> (u64::BITS - RANDOM_BITS)).unwrap_or(0);
        let fresh = ((now.as_ms() - BATCH_EPOCH_MS).max(0) << RANDOM_BITS) | low;
        let mut last = self
            .last_batch
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *last = fresh.max(*last + 1);
        (*last, random)
    }

    /// The first id of `count` in a batch of their own.
    fn first(&self, now: Timestamp, count: usize) -> i64 {
        let (batch, random) = self.batch(now);
        let room = u64::try_from(BATCH_RUNS_MAX.saturating_sub(count) + 1).unwrap_or(1);
        (batch << NUMBER_BITS) + i64::try_from(random % room).unwrap_or(0)
    }

    /// Ids for `count` runs of one firing or submission, growing, in as few batches as hold them.
    #[must_use]
    pub fn runs(&self, now: Timestamp, count: usize) -> Vec<RunId> {
        let mut out = Vec::with_capacity(count);
        while out.len() < count {
            let take = (count - out.len()).min(BATCH_RUNS_MAX);
            let first = self.first(now, take);
            out.extend((0..take).map(|n| RunId::from_i64(first + i64::try_from(n).unwrap_or(0))));
        }
        out
    }

    /// An id for a task.
    #[must_use]
    pub fn task(&self, now: Timestamp) -> TaskId {
        TaskId::from_i64(self.first(now, 1))
    }

    /// An id for an outbox row: grows with time, so that a new leader reads oldest first.
    #[must_use]
    pub fn outbox(&self, now: Timestamp) -> OutboxId {
        OutboxId::from_i64(self.first(now, 1))
    }

    /// An id for this start of a node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId::from_i64(self.random.next_id())
    }

    #[must_use]
    pub fn claim(&self) -> ClaimId {
        ClaimId::from_i64(self.random.next_id())
    }

    #[must_use]
    pub fn holder(&self) -> Holder {
        Holder::from_spelling(format!(
            "{:016x}{:016x}",
            self.random.next(),
            self.random.next()
        ))
    }
}

#[cfg(test)]
#[path = "../tests/decide/id_tests.rs"]
mod tests;
