//! A fixed delay after the end of a run: no instant is known before the run before it has ended. What ends, and when, is
//! its owner's to say; here is only the sum, and that it is bounded. Asked for the instant after another one, it answers as
//! if something had ended there: so the first occurrence is one delay behind what is new, and a look ahead is of runs that
//! take no time.

use std::fmt;
use std::time::Duration;

use crate::Error;
use crate::every::INTERVAL_MIN;
use crate::time::{Timestamp, format_duration};

/// A delay that begins with the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    delay: Duration,
}

impl After {
    /// A delay of whole milliseconds.
    ///
    /// # Errors
    /// When the delay is below [`INTERVAL_MIN`].
    pub fn new(delay: Duration) -> Result<Self, Error> {
        if delay < INTERVAL_MIN {
            let (got, least) = (format_duration(delay), format_duration(INTERVAL_MIN));
            let message = format!("`{got}` is too short: the shortest is {least}");
            return Err(Error::new("delay", 0, message));
        }
        Ok(Self { delay })
    }

    /// The delay.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// When something is due whose run before ended then; `None` beyond all instants.
    #[must_use]
    pub fn next(&self, end: Timestamp) -> Option<Timestamp> {
        Some(end.plus(self.delay)).filter(|at| *at < Timestamp::MAX)
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {}", format_duration(self.delay))
    }
}
