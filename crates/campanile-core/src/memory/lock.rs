//! The lock in memory: several handles on one shared state, each handle one node's. It owns the holder, the expiry (by
//! the clock's monotonic reading, so that simulated time moves it) and the hints; it never sleeps and never fails.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::id::Holder;
use crate::port::clock::Clock;
use crate::port::lock::{Acquired, Error, Lock, Signal};
use crate::time::Monotonic;

/// One node's handle on a lock that lives in this process.
pub struct MemoryLock {
    shared: Arc<Shared>,
    hints: Arc<Hints>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    held: Mutex<Option<Held>>,
    nodes: Mutex<Vec<Weak<Hints>>>,
}

struct Held {
    holder: Holder,
    until: Monotonic,
}

impl MemoryLock {
    /// A new lock that nobody has, and the first handle on it.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::new(Shared {
            clock,
            held: Mutex::default(),
            nodes: Mutex::default(),
        });
        Self::on(shared)
    }

    /// Another handle on the same lock, as another node has it.
    #[must_use]
    pub fn handle(&self) -> Self {
        Self::on(self.shared.clone())
    }

    /// The lock service loses all it knew, as a cache without a disk does when it is restarted.
    pub fn forget(&self) {
        *self.shared.held() = None;
    }

    fn on(shared: Arc<Shared>) -> Self {
        let hints = Arc::new(Hints::default());
        let mut nodes = shared.nodes();
        nodes.retain(|node| node.strong_count() > 0);
        nodes.push(Arc::downgrade(&hints));
        drop(nodes);
        Self { shared, hints }
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Weak<Hints>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, signal: Signal) {
        for node in self.nodes().iter().filter_map(Weak::upgrade) {
            node.deliver(signal);
        }
    }
}

#[async_trait]
impl Lock for MemoryLock {
    async fn acquire(&self, holder: &Holder, ttl: Duration) -> Result<Acquired, Error> {
        let now = self.shared.clock.monotonic();
        let mut held = self.shared.held();
        match &*held {
            Some(other) if other.holder != *holder && now < other.until => Ok(Acquired::No {
                expires_in: other.until.since(now),
            }),
            _ => {
                *held = Some(Held {
                    holder: holder.clone(),
                    until: now.plus(ttl),
                });
                Ok(Acquired::Yes)
            }
        }
    }

    async fn renew(&self, holder: &Holder, ttl: Duration) -> Result<bool, Error> {
        let now = self.shared.clock.monotonic();
        let mut held = self.shared.held();
        match &mut *held {
            Some(mine) if mine.holder == *holder && now < mine.until => {
                mine.until = now.plus(ttl);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn release(&self, holder: &Holder) -> Result<(), Error> {
        let now = self.shared.clock.monotonic();
        let mut held = self.shared.held();
        let mine = held
            .as_ref()
            .is_some_and(|held| held.holder == *holder && now < held.until);
        if mine {
            *held = None;
        }
        drop(held);
        if mine {
            self.shared.tell(Signal::Released);
        }
        Ok(())
    }

    async fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.shared.tell(signal);
        Ok(())
    }

    async fn next_signal(&self) -> Signal {
        self.hints.next().await
    }
}

/// The hints that arrived at one node. Everybody who waits gets each; what arrives while nobody waits is kept for the
/// next who asks, once per kind. Giving up a wait loses nothing. Other adapters of the lock port use it too.
#[derive(Debug)]
pub struct Hints(watch::Sender<Arrived>);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Arrived {
    released: Kind,
    work: Kind,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Kind {
    /// How many arrived in all.
    count: u64,
    /// Whether the last has been given to nobody yet.
    kept: bool,
}

impl Default for Hints {
    fn default() -> Self {
        Self(watch::Sender::new(Arrived::default()))
    }
}

impl Hints {
    pub fn deliver(&self, signal: Signal) {
        self.0.send_modify(|arrived| {
            let kind = arrived.kind(signal);
            kind.count += 1;
            kind.kept = true;
        });
    }

    pub async fn next(&self) -> Signal {
        let mut news = self.0.subscribe();
        let since = *news.borrow_and_update();
        loop {
            if let Some(signal) = self.take(since) {
                return signal;
            }
            if news.changed().await.is_err() {
                // The sender is a field of `self`, which is borrowed: it can't be gone.
                return std::future::pending().await;
            }
        }
    }

    /// A hint that was kept, or that came after `since` even if another who waited was faster.
    fn take(&self, since: Arrived) -> Option<Signal> {
        let mut taken = None;
        self.0.send_if_modified(|arrived| {
            for (signal, before) in [
                (Signal::Released, since.released),
                (Signal::Work, since.work),
            ] {
                let kind = arrived.kind(signal);
                if kind.kept || kind.count != before.count {
                    kind.kept = false;
                    taken = Some(signal);
                    break;
                }
            }
            // Taking is no news for the others who wait.
            false
        });
        taken
    }
}

impl Arrived {
    const fn kind(&mut self, signal: Signal) -> &mut Kind {
        match signal {
            Signal::Released => &mut self.released,
            Signal::Work => &mut self.work,
        }
    }
}

#[cfg(test)]
#[path = "../../tests/memory/lock_tests.rs"]
mod tests;
