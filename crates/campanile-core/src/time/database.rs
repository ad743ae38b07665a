//! The time that judges what is due: the store's clock, carried on by this node's monotonic clock. So all nodes agree
//! about "now", whatever their own wall clocks say, and a wall clock that steps moves nothing. A step of the store's clock
//! is judged by [`crate::decide::lead::clock`] and said here, once; while one forward is not followed, the time goes on as it
//! was.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use crate::decide::lead::clock::{Judgement, READ_WHILE_HELD, Reading, Watch};
use crate::decide::lead::clock_state::Settling;
use crate::port::clock::Clock;
use crate::time::Monotonic;

/// The store's clock, as this node carries it on.
#[derive(Clone)]
pub struct DatabaseTime {
    clock: Arc<dyn Clock>,
    /// Store's milliseconds minus monotonic milliseconds.
    offset_ms: Arc<AtomicI64>,
    sampled: Arc<AtomicBool>,
    watch: Arc<Mutex<Watch>>,
    /// How often the store's clock was seen to go back.
    steps_back: Arc<AtomicU64>,
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
            watch: Arc::default(),
            steps_back: Arc::default(),
        }
    }

    /// The store's time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_ms(
            ms(self.clock.monotonic()).saturating_add(self.offset_ms.load(Ordering::Relaxed)),
        )
    }

    /// How often the store's clock was seen to go back: what was planned for moments that have not come is taken back then.
    #[must_use]
    pub fn steps_back(&self) -> u64 {
        self.steps_back.load(Ordering::Acquire)
    }

    /// Takes a sample: the store's time was `at` at some moment after `asked_at` and before now. So the true offset
    /// lies between two bounds; what was believed is kept where it lies between them, and otherwise becomes the lower
    /// one. A slow answer therefore changes nothing, and this clock is never ahead of the store's: nothing is early.
    pub fn sample(&self, at: Timestamp, asked_at: Monotonic) {
        let answered_at = self.clock.monotonic();
        let judgement = self.judge(at, answered_at.since(asked_at));
        if !judgement.is_followed() {
            return;
        }
        // Both clocks are read in whole milliseconds: one is taken off, so that rounding can't put us ahead.
        let lowest = at.as_ms() - ms(answered_at) - 1;
        let highest = at.as_ms() - ms(asked_at);
        let believed = self.offset_ms.load(Ordering::Relaxed);
        let first = !self.sampled.swap(true, Ordering::Relaxed);
        if first || !(lowest..=highest).contains(&believed) {
            self.offset_ms.store(lowest, Ordering::Relaxed);
        }
        if judgement.is_back() {
            // Behind the offset: who sees it reads the time that goes with it.
            self.steps_back.fetch_add(1, Ordering::Release);
        }
    }

    fn judge(&self, at: Timestamp, took: Duration) -> Judgement {
        let answered = self.clock.boot();
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let asked = Monotonic::from_ms(answered.as_ms().saturating_sub(took_ms));
        let reading = Reading {
            store: at,
            asked,
            answered,
        };
        let judgement = self.watch().take(reading);
        say(judgement);
        judgement
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a process that has read nothing yet: the newest moment that the store has a record of, if it has one.
    pub fn anchor(&self, newest: Option<Timestamp>) {
        let Some(newest) = newest else { return };
        let reading = self.clock.boot();
        self.watch().anchor(newest, reading);
        // Until the store's clock is followed, the time goes on from there.
        let offset = newest.as_ms() - ms(self.clock.monotonic());
        self.offset_ms.store(offset, Ordering::Relaxed);
    }

    /// By how much a step forward of the store's clock goes that is not followed yet.
    #[must_use]
    pub fn held(&self) -> Option<Duration> {
        self.watch().held()
    }

    /// Whether this process does not know yet whether it may believe the store's clock: nothing is decided then that more
    /// time could prove wrong, save what is not early by either clock.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        !self.has_followed() || self.held().is_some()
    }

    /// Whether this process has followed the store's clock at all. One that has just started does not where the store's clock
    /// is far ahead of its own wall clock: either may be wrong, and its time may be far behind until it knows.
    #[must_use]
    pub fn has_followed(&self) -> bool {
        self.sampled.load(Ordering::Relaxed)
    }

    /// When whoever reads every `period` is to read again: soon, while a step forward is not followed.
    #[must_use]
    pub fn read_again(&self, period: Duration) -> Duration {
        if self.held().is_some() {
            period.min(READ_WHILE_HELD)
        } else {
            period
        }
    }

    /// While the store's clock is behind where it was: where that is. Until then no instant is due.
    #[must_use]
    pub fn behind_until(&self) -> Option<Timestamp> {
        self.watch().behind_until()
    }

    /// Steps forward of it that were followed and have not stood for long.
    #[must_use]
    pub fn settling(&self) -> Option<Settling> {
        self.watch().settling()
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

/// One line for each step, and one for its end.
fn say(judgement: Judgement) {
    match judgement {
        Judgement::Follow | Judgement::StillHold(_) => {}
        Judgement::Hold(by) => tracing::warn!(
            by_s = by.as_secs(),
            "the store's clock stepped forward by {} s: the time goes on as it was until three readings over ten seconds agree",
            by.as_secs()
        ),
        Judgement::Returned => {
            tracing::info!("the store's clock is where it was; nothing was planned in its step");
        }
        Judgement::Accept(by) => tracing::warn!(
            by_s = by.as_secs(),
            "the store's clock is followed after its step forward by {} s: what it passed over is caught up by policy",
            by.as_secs()
        ),
        Judgement::SetRight { by } => tracing::warn!(
            by_s = by.as_secs(),
            "the store's clock went back by {} s: its step forward is taken back, and with it what was planned in it and has not started",
            by.as_secs()
        ),
        Judgement::Back { by, until } => tracing::warn!(
            by_s = by.as_secs(), %until,
            "the store's clock went back by {} s: schedules wait until it reaches {until}",
            by.as_secs()
        ),
        Judgement::CaughtUp => {
            tracing::info!(
                "the store's clock is where it was before it went back; schedules go on"
            );
        }
    }
}

fn ms(reading: Monotonic) -> i64 {
    i64::try_from(reading.as_ms()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "../../tests/time/database_tests.rs"]
mod tests;
