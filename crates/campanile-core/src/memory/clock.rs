//! A clock that stands still until a test moves it. Wall and monotonic time can be moved apart, as a stepped wall
//! clock does in life.

use std::time::Duration;

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;
use tokio::sync::watch;

use crate::port::clock::Clock;
use crate::time::Monotonic;

/// The clock. Share it as `Arc<ManualClock>`.
#[derive(Debug)]
pub struct ManualClock(watch::Sender<Reading>);

/// Both clocks, moved at once: who reads one and then the other must not take a move for a step.
#[derive(Debug, Clone, Copy)]
struct Reading {
    monotonic: Monotonic,
    wall: Timestamp,
}

impl ManualClock {
    /// A clock that shows `wall`.
    #[must_use]
    pub fn new(wall: Timestamp) -> Self {
        Self(watch::Sender::new(Reading {
            monotonic: Monotonic::from_ms(1),
            wall,
        }))
    }

    /// Moves both clocks on, and wakes the sleepers whose time has come.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|reading| {
            reading.monotonic = reading.monotonic.plus(by);
            reading.wall = reading.wall.plus(by);
        });
    }

    /// Steps the wall clock alone.
    pub fn step_wall(&self, to: Timestamp) {
        self.0.send_modify(|reading| reading.wall = to);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.0.borrow().wall
    }

    fn monotonic(&self) -> Monotonic {
        self.0.borrow().monotonic
    }

    async fn sleep_until(&self, until: Monotonic) {
        let mut readings = self.0.subscribe();
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = readings.wait_for(|now| now.monotonic >= until).await;
    }
}
