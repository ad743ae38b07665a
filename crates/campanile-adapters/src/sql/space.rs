//! Whether the store's disk is full, as its own writes tell: a write that was refused for want of space says so, and a
//! write that is done some time later takes it back. (Not the very next one: a small write may find room where a larger
//! one does not.) Beside it, how often a row could not be read. It never writes anything itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use campanile_core::port::clock::Clock as _;
use campanile_core::port::store::Error;
use campanile_core::system::SystemClock;

/// How long after the last refusal a write has to be done for the disk to count as having room again.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// What is known of the store's disk and of the state of its rows.
#[derive(Debug, Default)]
pub struct Space {
    clock: SystemClock,
    /// The monotonic reading of the last refusal, in milliseconds from 1; 0 = there is room.
    refused_ms: AtomicU64,
    rows_unread: AtomicU64,
}

impl Space {
    /// Whether a write was refused for want of space and none was done since.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.refused_ms.load(Ordering::Relaxed) != 0
    }

    /// How many times a row could not be read, since the process began: the same row counts each time.
    #[must_use]
    pub fn rows_unread(&self) -> u64 {
        self.rows_unread.load(Ordering::Relaxed)
    }

    pub(super) fn unread(&self) {
        self.rows_unread.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how a write ended.
    pub(super) fn note<T>(&self, written: &Result<T, Error>) {
        match written {
            Ok(_) if self.is_full() => self.written(self.now_ms()),
            Err(Error::Full(_)) => self.refused(self.now_ms()),
            _ => {}
        }
    }

    fn now_ms(&self) -> u64 {
        self.clock.monotonic().as_ms() + 1
    }

    fn refused(&self, now_ms: u64) {
        if self.refused_ms.swap(now_ms, Ordering::Relaxed) == 0 {
            tracing::error!(
                "the store's disk is full: nothing can be recorded until there is room; free some, or give it more"
            );
        }
    }

    fn written(&self, now_ms: u64) {
        let refused = self.refused_ms.load(Ordering::Relaxed);
        let settled = u64::try_from(SETTLED_AFTER.as_millis()).unwrap_or(u64::MAX);
        if now_ms.saturating_sub(refused) < settled {
            return;
        }
        let back =
            self.refused_ms
                .compare_exchange(refused, 0, Ordering::Relaxed, Ordering::Relaxed);
        if back.is_ok() && refused != 0 {
            tracing::info!("the store's disk has room again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_stands_until_a_write_is_done_some_time_later() {
        let space = Space::default();
        space.written(1);
        assert!(!space.is_full());
        space.refused(1_000);
        assert!(space.is_full());
        space.written(1_001);
        assert!(space.is_full(), "a small write may find room at once");
        space.refused(4_000);
        space.written(6_500);
        assert!(space.is_full(), "another one was refused since");
        space.written(9_000);
        assert!(!space.is_full());
        space.note::<()>(&Err(Error::Refused("a defect".into())));
        assert!(!space.is_full());
        space.note::<()>(&Err(Error::Full("full".into())));
        assert!(space.is_full());
    }
}
