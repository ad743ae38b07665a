//! A clock that stands still until a test moves it. Wall and monotonic time can be moved apart, as a stepped wall
//! clock does in life.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;
use tokio::sync::watch;

use crate::port::clock::Clock;
use crate::time::Monotonic;

/// The clock. Share it as `Arc<ManualClock>`.
#[derive(Debug)]
pub struct ManualClock {
    monotonic: watch::Sender<Monotonic>,
    wall: Mutex<Timestamp>,
}

impl ManualClock {
    /// A clock that shows `wall`.
    #[must_use]
    pub fn new(wall: Timestamp) -> Self {
        Self {
            monotonic: watch::Sender::new(Monotonic::from_ms(1)),
            wall: Mutex::new(wall),
        }
    }

    /// Moves both clocks on, and wakes the sleepers whose time has come.
    pub fn advance(&self, by: Duration) {
        {
            let mut wall = self
                .wall
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            *wall = wall.plus(by);
        }
        self.monotonic.send_modify(|m| *m = m.plus(by));
    }

    /// Steps the wall clock alone.
    pub fn step_wall(&self, to: Timestamp) {
        *self
            .wall
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = to;
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self
            .wall
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn monotonic(&self) -> Monotonic {
        *self.monotonic.borrow()
    }

    async fn sleep_until(&self, until: Monotonic) {
        let mut readings = self.monotonic.subscribe();
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = readings.wait_for(|now| *now >= until).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::conformance;
    use crate::conformance::clock::Pass;

    fn manual() -> (Arc<dyn Clock>, Pass) {
        let clock = Arc::new(ManualClock::new(Timestamp::from_ms(1_800_000_000_000)));
        let moved = Arc::clone(&clock);
        (clock, Arc::new(move |by| moved.advance(by)))
    }

    conformance::clock!(manual);
}
