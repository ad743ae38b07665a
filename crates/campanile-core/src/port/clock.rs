//! Time as a port: reading it and waiting for it, together, or half of time escapes a test.

use std::time::Duration;

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;

use crate::time::Monotonic;

/// This node's clocks. Whose wall time judges what is due is another matter: see [`crate::time::database`].
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// The monotonic clock: for every duration, lease and belief.
    fn monotonic(&self) -> Monotonic;

    /// A clock that nobody sets and that goes on while the machine sleeps: what the store's clock is compared with. Where
    /// there is none, the monotonic clock.
    fn boot(&self) -> Monotonic {
        self.monotonic()
    }

    /// Returns once the monotonic clock has reached `until`, never before it.
    async fn sleep_until(&self, until: Monotonic);

    /// Returns after `length` on the monotonic clock.
    async fn sleep(&self, length: Duration) {
        self.sleep_until(self.monotonic().plus(length)).await;
    }
}
