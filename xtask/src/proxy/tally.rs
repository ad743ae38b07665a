//! What a proxy's faults really did, so that a test can tell a fault that broke something from one that met an idle
//! connection; and a memory of what was sent last, so that a test can send it again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What faults have done since the proxy's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Bytes that were held for a delay.
    pub delayed_bytes: u64,
    /// Looks at a stalled connection that found bytes waiting.
    pub stalled_looks: u64,
    /// Bytes that vanished.
    pub lost_bytes: u64,
    /// Connections that were cut.
    pub cut: u64,
    /// Connections that were reset or refused.
    pub reset: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) delayed_bytes: AtomicU64,
    pub(super) stalled_looks: AtomicU64,
    pub(super) lost_bytes: AtomicU64,
    pub(super) cut: AtomicU64,
    pub(super) reset: AtomicU64,
    /// How many bytes are remembered.
    remembered_max: AtomicUsize,
    remembered: Mutex<VecDeque<u8>>,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(u64::try_from(n).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Tally {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally {
            delayed_bytes: of(&self.delayed_bytes),
            stalled_looks: of(&self.stalled_looks),
            lost_bytes: of(&self.lost_bytes),
            cut: of(&self.cut),
            reset: of(&self.reset),
        }
    }

    pub(super) fn remember(&self, bytes_max: usize) {
        self.remembered_max.store(bytes_max, Ordering::Relaxed);
    }

    pub(super) fn note(&self, bytes: &[u8]) {
        let most = self.remembered_max.load(Ordering::Relaxed);
        if most == 0 {
            return;
        }
        let mut remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered.extend(bytes);
        let over = remembered.len().saturating_sub(most);
        remembered.drain(..over);
    }

    pub(super) fn remembered(&self) -> Vec<u8> {
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        remembered.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_bytes_are_remembered_and_only_on_request() {
        let counters = Counters::default();
        counters.note(b"unasked");
        assert!(counters.remembered().is_empty());
        counters.remember(4);
        counters.note(b"abc");
        counters.note(b"def");
        assert_eq!(counters.remembered(), b"cdef");
        Counters::add(&counters.cut, 2);
        assert_eq!((counters.now().cut, counters.now().reset), (2, 0));
    }
}
