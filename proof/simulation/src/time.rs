//! Simulated time: one line of milliseconds that only the driver moves, the sleepers on it in a fixed order, and each
//! node's own clocks on top of it. A node's wall clock may be wrong and may step; its monotonic clock counts from another
//! moment, and is never wrong. Nothing here reads a real clock.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use campanile_core::port::clock::Clock;
use campanile_core::time::Monotonic;
use campanile_schedule::time::Timestamp;

/// When every history begins: a Sunday at noon, UTC.
pub const START_MS: i64 = 1_792_929_600_000;

/// The one line of time.
#[derive(Debug, Default)]
pub struct Time(Mutex<Line>);

#[derive(Debug, Default)]
struct Line {
    now_ms: u64,
    next_place: u64,
    /// By instant, then by who came first.
    sleepers: BTreeMap<(u64, u64), Waker>,
    /// Waits at this moment that were over before they began.
    idle_waits: u64,
}

/// Above this many waits for nothing at one moment, somebody spins; he waits for ever from then on.
const IDLE_WAITS_MAX: u64 = 200_000;

impl Time {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the history began.
    pub fn now_ms(&self) -> u64 {
        self.line().now_ms
    }

    /// The true wall time.
    pub fn wall(&self) -> Timestamp {
        Timestamp::from_ms(START_MS + signed(self.now_ms()))
    }

    /// When the next sleeper wants to wake.
    pub fn next_ms(&self) -> Option<u64> {
        self.line().sleepers.keys().next().map(|(at, _)| *at)
    }

    /// Moves time on and wakes whose instant has come, in order.
    pub fn advance(&self, to_ms: u64) {
        let mut line = self.line();
        line.now_ms = line.now_ms.max(to_ms);
        line.idle_waits = 0;
        let later = line.sleepers.split_off(&(to_ms + 1, 0));
        let due = std::mem::replace(&mut line.sleepers, later);
        drop(line);
        for waker in due.into_values() {
            waker.wake();
        }
    }

    /// Whether somebody waits for nothing again and again.
    pub fn spins(&self) -> bool {
        self.line().idle_waits > IDLE_WAITS_MAX
    }

    /// Returns at an instant.
    pub fn until(self: &Arc<Self>, at_ms: u64) -> Sleep {
        Sleep {
            time: Arc::clone(self),
            at_ms,
            place: None,
        }
    }

    /// Returns after so many milliseconds; zero does not even yield.
    pub async fn pass(self: &Arc<Self>, ms: u64) {
        let at = self.now_ms() + ms;
        self.until(at).await;
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// A wait for an instant.
pub struct Sleep {
    time: Arc<Time>,
    at_ms: u64,
    place: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let time = Arc::clone(&self.time);
        let mut line = time.line();
        if line.now_ms >= self.at_ms {
            line.idle_waits += 1;
            if line.idle_waits <= IDLE_WAITS_MAX {
                return Poll::Ready(());
            }
        }
        let place = match self.place {
            Some(place) => place,
            None => {
                line.next_place += 1;
                line.next_place
            }
        };
        self.place = Some(place);
        let key = (self.at_ms, place);
        line.sleepers.insert(key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.time.line().sleepers.remove(&(self.at_ms, place));
        }
    }
}

/// The clocks of one process.
#[derive(Debug)]
pub struct NodeClock {
    time: Arc<Time>,
    /// How far its wall clock is ahead.
    skew_ms: AtomicI64,
    /// What its monotonic clock showed when the history began.
    base_ms: u64,
}

impl NodeClock {
    /// Clocks that are right, but for where the monotonic one began to count.
    pub fn new(time: Arc<Time>, base_ms: u64) -> Self {
        Self {
            time,
            skew_ms: AtomicI64::new(0),
            base_ms,
        }
    }

    /// Whether the wall clock shows the true time.
    pub fn is_right(&self) -> bool {
        self.skew_ms() == 0
    }

    /// How far the wall clock is ahead of the true time, in milliseconds.
    pub fn skew_ms(&self) -> i64 {
        self.skew_ms.load(Ordering::Relaxed)
    }

    /// Sets the wall clock apart from the true time by this much.
    pub fn step(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for NodeClock {
    fn now(&self) -> Timestamp {
        let skew = self.skew_ms.load(Ordering::Relaxed);
        Timestamp::from_ms(self.time.wall().as_ms() + skew)
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_ms(self.base_ms).plus(Duration::from_millis(self.time.now_ms()))
    }

    async fn sleep_until(&self, until: Monotonic) {
        let at = until.as_ms().saturating_sub(self.base_ms);
        self.time.until(at).await;
    }
}
