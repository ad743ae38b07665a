//! The time that judges what is due: the store's clock, carried on by this node's monotonic clock. So all nodes agree
//! about "now", whatever their own wall clocks say, and a wall clock that steps moves nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::port::clock::Clock;
use crate::time::{Monotonic, Timestamp};

/// The store's clock, as this node carries it on.
#[derive(Clone)]
pub struct DatabaseTime {
    clock: Arc<dyn Clock>,
    /// Store's milliseconds minus monotonic milliseconds.
    offset_ms: Arc<AtomicI64>,
    sampled: Arc<AtomicBool>,
}

impl std::fmt::Debug for DatabaseTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DatabaseTime({})", self.now())
    }
}

impl DatabaseTime {
    /// Starts from the node's own wall clock, until the first sample.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let offset_ms = clock.now().as_ms() - ms(clock.monotonic());
        Self {
            clock,
            offset_ms: Arc::new(AtomicI64::new(offset_ms)),
            sampled: Arc::default(),
        }
    }

    /// The store's time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_ms(
            ms(self.clock.monotonic()).saturating_add(self.offset_ms.load(Ordering::Relaxed)),
        )
    }

    /// Takes a sample: the store's time was `at` at some moment after `asked_at` and before now. So the true offset
    /// lies between two bounds; what was believed is kept where it lies between them, and otherwise becomes the lower
    /// one. A slow answer therefore changes nothing, and this clock is never ahead of the store's: nothing is early.
    pub fn sample(&self, at: Timestamp, asked_at: Monotonic) {
        let answered_at = self.clock.monotonic();
        // Both clocks are read in whole milliseconds: one is taken off, so that rounding can't put us ahead.
        let lowest = at.as_ms() - ms(answered_at) - 1;
        let highest = at.as_ms() - ms(asked_at);
        let believed = self.offset_ms.load(Ordering::Relaxed);
        let first = !self.sampled.swap(true, Ordering::Relaxed);
        if first || !(lowest..=highest).contains(&believed) {
            self.offset_ms.store(lowest, Ordering::Relaxed);
        }
    }

    /// How far this node's wall clock is from the store's, in milliseconds; positive = this node is ahead.
    #[must_use]
    pub fn skew_ms(&self) -> i64 {
        self.clock.now().as_ms() - self.now().as_ms()
    }

    /// When, on the monotonic clock, the store's time will be `at`.
    #[must_use]
    pub fn when(&self, at: Timestamp) -> Monotonic {
        let due = at
            .as_ms()
            .saturating_sub(self.offset_ms.load(Ordering::Relaxed));
        Monotonic::from_ms(u64::try_from(due).unwrap_or(0))
    }
}

fn ms(reading: Monotonic) -> i64 {
    i64::try_from(reading.as_ms()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::memory::clock::ManualClock;

    #[test]
    fn a_slow_answer_changes_nothing_and_a_step_is_followed_downwards() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_ms(1_000_000)));
        let time = DatabaseTime::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let asked = clock.monotonic();
        time.sample(Timestamp::from_ms(2_000_000), asked);
        assert_eq!(time.now(), Timestamp::from_ms(1_999_999));
        // The answer took half a second; the store read its clock at the start of it.
        let asked = clock.monotonic();
        clock.advance(Duration::from_millis(500));
        time.sample(Timestamp::from_ms(2_000_001), asked);
        assert_eq!(time.now(), Timestamp::from_ms(2_000_499));
        // The store's clock was set back: never ahead of it.
        time.sample(Timestamp::from_ms(1_990_000), clock.monotonic());
        assert_eq!(time.now(), Timestamp::from_ms(1_989_999));
        assert!(time.skew_ms() < 0);
    }
}
