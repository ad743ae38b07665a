//! The lock that decides who may *try* to lead. Safety never rests on it: the store's guard decides who *may*.

use std::time::Duration;

use async_trait::async_trait;

use super::Cause;
use crate::id::Holder;

/// What another node may want to know at once. A signal is a hint and may be lost; the scan is the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The lock was given back: waiting nodes try now.
    Released,
    /// Something became due or changed: the leader scans now.
    Work,
}

/// The answer to an attempt at the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// It is ours for the asked time.
    Yes,
    /// Somebody else has it; it ends by itself after this time unless renewed.
    No {
        /// Time left, as the lock service sees it.
        expires_in: Duration,
    },
}

/// One named lock with an expiry.
#[async_trait]
pub trait Lock: Send + Sync + 'static {
    /// Takes the lock if nobody has it. A holder that asks again while holding is given it again.
    async fn acquire(&self, holder: &Holder, ttl: Duration) -> Result<Acquired, Error>;

    /// Extends the lock if `holder` still has it; `false` if not. Also the check "is it still mine".
    async fn renew(&self, holder: &Holder, ttl: Duration) -> Result<bool, Error>;

    /// Gives the lock back if `holder` has it (compare-and-delete), and signals [`Signal::Released`].
    async fn release(&self, holder: &Holder) -> Result<(), Error>;

    /// Whether [`Lock::next_signal`] ever has anything to tell. Where it has not, waiting nodes ask again every tenth of
    /// the lock's life.
    fn has_signals(&self) -> bool {
        true
    }

    /// Sends a hint to all nodes.
    async fn signal(&self, signal: Signal) -> Result<(), Error>;

    /// The next hint from any node. Waits for ever where the service has none to give; never fails: what breaks
    /// underneath is mended underneath.
    async fn next_signal(&self) -> Signal;
}

/// Why the lock service did not answer. The caller's belief is bounded by its deadline whatever the cause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer, or none in time.
    #[error("reach the lock service")]
    Unreachable(#[source] Cause),
    /// An answer that refuses: wrong password, read-only replica, unknown command.
    #[error("be served by the lock service")]
    Refused(#[source] Cause),
}
