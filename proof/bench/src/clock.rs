//! The bench's own stopwatch and its idea of the store's clock. The stopwatch is the machine's monotonic clock in
//! microseconds, the same in every process of this machine; the engine's own clocks are whole milliseconds, too coarse
//! for what is measured here. Nothing of the system reads these: measuring must not change what is measured.

use campanile_core::port::store::{Error, Store};
use nix::time::{ClockId, clock_gettime};

/// Readings of one measurement.
const READINGS: usize = 25;

/// Microseconds on the machine's monotonic clock.
#[must_use]
pub fn now_us() -> i64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |t| t.tv_sec() * 1_000_000 + t.tv_nsec() / 1_000)
}

/// Seconds since an earlier reading.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "a bench lasts less than 2^52 microseconds"
)]
pub fn seconds_since(earlier_us: i64) -> f64 {
    (now_us() - earlier_us) as f64 / 1e6
}

/// Where the store's clock stands beside the stopwatch: the true offset lies between two bounds, each of which every
/// reading can only bring closer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreClock {
    low_us: i64,
    high_us: i64,
}

impl StoreClock {
    /// Reads the store's clock some times over.
    ///
    /// # Errors
    /// The store's.
    pub async fn measure(store: &dyn Store) -> Result<Self, Error> {
        let mut clock = Self {
            low_us: i64::MIN,
            high_us: i64::MAX,
        };
        for _ in 0..READINGS {
            let asked = now_us();
            let row = store.leader().await?;
            clock.observe(row.now.as_ms(), asked, now_us());
        }
        Ok(clock)
    }

    /// The store said `ms` (whole milliseconds, cut) at some moment between asking and answering.
    fn observe(&mut self, ms: i64, asked_us: i64, answered_us: i64) {
        self.low_us = self.low_us.max(ms * 1_000 - answered_us);
        self.high_us = self.high_us.min((ms + 1) * 1_000 - asked_us);
    }

    /// This measurement and a later one: a clock that was set or slewed between them makes the answer less sure, not
    /// wrong.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        Self {
            low_us: self.low_us.min(later.low_us),
            high_us: self.high_us.max(later.high_us),
        }
    }

    /// The store's time at a reading of the stopwatch, in microseconds since the epoch: the best guess.
    #[must_use]
    pub const fn at_us(&self, reading_us: i64) -> i64 {
        reading_us + self.low_us.midpoint(self.high_us)
    }

    /// The latest that the store's time can have been.
    #[must_use]
    pub const fn latest_us(&self, reading_us: i64) -> i64 {
        let high = if self.high_us > self.low_us {
            self.high_us
        } else {
            self.low_us
        };
        reading_us + high
    }

    /// The reading of the stopwatch at an instant of the store's clock.
    #[must_use]
    pub const fn reading_us(&self, at_ms: i64) -> i64 {
        at_ms * 1_000 - self.low_us.midpoint(self.high_us)
    }

    /// How far the guess can be off, in milliseconds.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "bounds are a few thousand apart"
    )]
    pub fn doubt_ms(&self) -> f64 {
        (self.high_us - self.low_us).abs() as f64 / 2_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_close_in_on_the_offset_and_never_shut_it_out() {
        // The store's clock is the stopwatch plus 5.3 s and 400 µs.
        let truth = 5_300_400;
        let mut clock = StoreClock {
            low_us: i64::MIN,
            high_us: i64::MAX,
        };
        for (asked, journey) in [(1_000_000, 900), (1_234_567, 300), (1_777_123, 5_000)] {
            let read_at = asked + journey / 3;
            let said_ms = (read_at + truth) / 1_000;
            clock.observe(said_ms, asked, asked + journey);
            assert!(clock.low_us <= truth && truth <= clock.high_us, "{clock:?}");
        }
        assert!(clock.doubt_ms() < 0.7, "{clock:?}");
        assert!((clock.at_us(0) - truth).abs() < 700);
        assert!(clock.latest_us(0) >= truth);
        assert_eq!(clock.reading_us(clock.at_us(0) / 1_000) / 1_000, 0);
    }

    #[test]
    fn two_measurements_that_differ_widen_the_doubt() {
        let (early, late) = (
            StoreClock {
                low_us: 10,
                high_us: 20,
            },
            StoreClock {
                low_us: 30,
                high_us: 40,
            },
        );
        assert_eq!(
            early.and(late),
            StoreClock {
                low_us: 10,
                high_us: 40
            }
        );
    }
}
