//! The one legal site of ambient things: the system's clocks, the operating system's randomness, spawning, and bounds
//! on outside calls. Everything else in the workspace receives these as values, so that a test can hold them still
//! (`clippy.toml` keeps it so).

mod pool;

use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

pub use self::pool::{Error as PoolError, Pool};
use crate::port::clock::Clock;
use crate::time::Monotonic;
pub use campanile_schedule::zone_rules;

/// Starts a future on the current runtime. Callers that must be waited for use a `TaskTracker` around it.
#[expect(clippy::disallowed_methods, reason = "the one legal site")]
pub fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

/// Bounds a call to the outside: `None` when `limit` passed first. For sockets and processes only; the engine's own
/// waiting goes through the Clock port.
#[expect(clippy::disallowed_methods, reason = "the one legal site")]
pub async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(limit, future).await.ok()
}

/// Waits for outside things (a socket's back-off, a process's grace); the engine's own waiting goes through the Clock
/// port.
#[expect(clippy::disallowed_methods, reason = "the one legal site")]
pub async fn pause(length: Duration) {
    tokio::time::sleep(length).await;
}

/// The wall clock, read once. For what has no Clock at hand (ids in a client, log lines); decisions use the port.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one legal site")]
pub fn wall_now() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Runs a future to its end on an operating-system thread of its own, with a small runtime of its own: what must not
/// starve behind a busy runtime (lock renewal) lives there.
///
/// # Errors
/// The operating system's, when it refuses the thread or the runtime.
pub fn dedicated<F, M>(name: &str, make: M) -> std::io::Result<std::thread::JoinHandle<()>>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || runtime.block_on(make()))
}

/// The system's clocks. Monotonic readings count from the making of this value.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one legal site")]
    pub fn new() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        wall_now()
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_ms(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    #[cfg(target_os = "linux")]
    fn boot(&self) -> Monotonic {
        let since = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
        since.map_or_else(
            |_| self.monotonic(),
            |t| {
                let ms = std::time::Duration::from(t).as_millis();
                Monotonic::from_ms(u64::try_from(ms).unwrap_or(u64::MAX))
            },
        )
    }

    #[expect(clippy::disallowed_methods, reason = "the one legal site")]
    async fn sleep_until(&self, until: Monotonic) {
        tokio::time::sleep_until((self.start + Duration::from_millis(until.as_ms())).into()).await;
    }
}

/// A stream of random numbers from one seed: ids, jitter. Not for keys or tokens (see [`Random::secret`]).
#[derive(Debug)]
pub struct Random(Mutex<StdRng>);

impl Random {
    /// Seeded by the operating system.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one legal site")]
    pub fn from_system() -> Self {
        Self(Mutex::new(StdRng::from_rng(&mut rand::rng())))
    }

    /// The same numbers for the same seed: what a simulation uses.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    #[must_use]
    pub fn next(&self) -> u64 {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .next_u64()
    }

    /// A uniform number that fits a BIGINT column: 0 to `i64::MAX`.
    #[must_use]
    pub fn next_id(&self) -> i64 {
        i64::try_from(self.next() >> 1).unwrap_or(0)
    }

    /// A uniform number below `bound` (zero for a bound of zero).
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// 256 bits for a token or a key; the generator is a CSPRNG that the operating system seeded.
    #[must_use]
    pub fn secret(&self) -> [u8; 32] {
        let mut out = [0; 32];
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .fill_bytes(&mut out);
        out
    }
}
