//! The time that judges what is due: the store's clock, carried on by this node's monotonic clock. So all nodes agree
//! about "now", whatever their own wall clocks say, and a wall clock that steps moves nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::port::clock::Clock;
use crate::time::{Monotonic, Timestamp};

/// The store's clock, as this node carries it on.
#[derive(Clone)]
pub struct DatabaseTime {
    clock: Arc<dyn Clock>,
    /// Store's milliseconds minus monotonic milliseconds.
    offset_ms: Arc<AtomicI64>,
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
        }
    }

    /// The store's time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_ms(
            ms(self.clock.monotonic()).saturating_add(self.offset_ms.load(Ordering::Relaxed)),
        )
    }

    /// Takes a sample: the store has just answered that its time was `at`. The reading is set against the moment of
    /// the answer, so this clock lags the store's by the answer's journey and is never ahead of it: nothing is early.
    pub fn sample(&self, at: Timestamp) {
        self.offset_ms
            .store(at.as_ms() - ms(self.clock.monotonic()), Ordering::Relaxed);
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
