//! The lock as a process meets it: slow, unreachable, done without an answer, hints that get lost. What the lock itself
//! does is the memory adapter's; that it forgets everything is the driver's doing.

use std::time::Duration;

use async_trait::async_trait;
use campanile_core::id::Holder;
use campanile_core::memory::lock::MemoryLock;
use campanile_core::port::lock::{Acquired, Error, Lock, Signal};

use crate::net::{Link, Service};
use crate::tally::Fault;

/// One process's handle.
pub struct FaultyLock {
    /// What it stands before.
    pub inner: MemoryLock,
    /// The way there.
    pub link: Link,
    /// Whether it passes hints on at all.
    pub hints: bool,
}

fn unreachable() -> Error {
    Error::Unreachable("simulated".into())
}

impl FaultyLock {
    async fn call<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let knobs = &self.link.net.knobs;
        self.link.way().await;
        let fails = self.link.is_cut(Service::Lock)
            || self.link.hit(knobs.lock_failed, Fault::LockFailed, what);
        if fails {
            // Even a refused connection takes a moment.
            self.link.net.time.pass(1).await;
            return Err(unreachable());
        }
        self.link.maybe_die(what).await;
        let answer = call.await;
        self.link.maybe_die(what).await;
        self.link.way().await;
        if self
            .link
            .hit(knobs.lock_failed, Fault::LockAnswerLost, what)
        {
            return Err(unreachable());
        }
        answer
    }
}

#[async_trait]
impl Lock for FaultyLock {
    async fn acquire(&self, holder: &Holder, ttl: Duration) -> Result<Acquired, Error> {
        self.call("acquire", self.inner.acquire(holder, ttl)).await
    }

    async fn renew(&self, holder: &Holder, ttl: Duration) -> Result<bool, Error> {
        self.call("renew", self.inner.renew(holder, ttl)).await
    }

    async fn release(&self, holder: &Holder) -> Result<(), Error> {
        self.call("release", self.inner.release(holder)).await
    }

    fn has_signals(&self) -> bool {
        self.hints
    }

    async fn signal(&self, signal: Signal) -> Result<(), Error> {
        let lost = self.link.net.knobs.hint_lost;
        if self.link.hit(lost, Fault::HintLost, "signal") {
            return Ok(());
        }
        self.call("signal", self.inner.signal(signal)).await
    }

    async fn next_signal(&self) -> Signal {
        if !self.hints {
            return std::future::pending().await;
        }
        self.inner.next_signal().await
    }
}
