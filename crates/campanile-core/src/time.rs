//! The monotonic clock's readings, in whole milliseconds. This file owns the type and its arithmetic; it never reads a
//! clock: readings come from [`crate::port::clock::Clock`]. Instants are [`campanile_schedule::time`]'s.

pub mod database;

use std::time::Duration;

/// A reading of the monotonic clock: milliseconds since some fixed moment of this process. Only differences mean
/// anything; leases and beliefs are judged by it alone, because wall clocks step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(u64);

impl Monotonic {
    /// A reading from milliseconds.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// The reading in milliseconds.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// Time passed since `earlier`; zero if it is later than `self`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
