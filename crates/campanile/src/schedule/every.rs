//! A fixed interval: the instants anchor + k × interval, k from 0 upwards. Plain arithmetic on milliseconds; no zone,
//! no wall time, nothing stored between occurrences, so neither restarts nor late runs move the beat.

use std::fmt;
use std::time::Duration;

use super::Error;
use crate::time::{Timestamp, duration_ms, format_duration};

/// The shortest interval: below it a store transaction for each occurrence costs more than what it starts.
pub const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// An interval and the instant it is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every {
    anchor: Timestamp,
    interval: Duration,
}

impl Every {
    /// An interval of whole milliseconds, counted from `anchor`, which is its first occurrence.
    ///
    /// # Errors
    /// When the interval is below [`INTERVAL_MIN`].
    pub fn new(interval: Duration, anchor: Timestamp) -> Result<Self, Error> {
        if interval < INTERVAL_MIN {
            let (got, least) = (format_duration(interval), format_duration(INTERVAL_MIN));
            return Err(Error::new(
                "interval",
                0,
                format!("`{got}` is too short: the shortest is {least}"),
            ));
        }
        Ok(Self { anchor, interval })
    }

    /// The interval.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The first occurrence.
    #[must_use]
    pub fn anchor(&self) -> Timestamp {
        self.anchor
    }

    /// The first occurrence strictly after an instant.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        if after < self.anchor {
            return Some(self.anchor);
        }
        self.occurrence(self.passed(after) / duration_ms(self.interval) + 1)
    }

    /// The last occurrence strictly before an instant.
    #[must_use]
    pub fn previous(&self, before: Timestamp) -> Option<Timestamp> {
        if before <= self.anchor {
            return None;
        }
        self.occurrence((self.passed(before) - 1) / duration_ms(self.interval))
    }

    /// Milliseconds from the anchor; instants are close enough together that their difference can't overflow.
    fn passed(&self, at: Timestamp) -> i64 {
        at.as_ms() - self.anchor.as_ms()
    }

    fn occurrence(&self, k: i64) -> Option<Timestamp> {
        let ms = k
            .checked_mul(duration_ms(self.interval))?
            .checked_add(self.anchor.as_ms())?;
        (ms <= Timestamp::MAX.as_ms()).then(|| Timestamp::from_ms(ms))
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "every {}", format_duration(self.interval))
    }
}
