//! A cluster of one in a test's own process, and the clock that the test moves.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use campanile_core::memory::clock::ManualClock;
use campanile_core::memory::store::MemoryStore;
use campanile_core::port::clock::Clock as _;
use campanile_core::system::{pause, within};
use campanile_schedule::time::Timestamp;

use crate::client::Campanile;

/// The node's time stays this far behind its store's clock, so that nothing is early: the clock is so much ahead of the time
/// that the test is told.
pub(crate) const LEAD: Duration = Duration::from_millis(1);
/// How long an instant may take, in real time, until all that is due then has started.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// How long handlers that run may take, in real time, until the time goes on without them.
const RUN_PATIENCE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(1);

/// A [`Campanile`] in memory, whose time stands still until [`advance`](Self::advance).
///
/// ```
/// use std::time::Duration;
/// use campanile::prelude::*;
///
/// struct Count;
/// impl Handler for Count {
///     const NAME: &'static str = "count";
///     type Args = ();
///     type Output = String;
///     async fn run(&self, context: Context, (): ()) -> Result<String, Failure> {
///         Ok(context.due_at.to_string())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let campanile = Campanile::in_memory().handler(Count).start().await?;
/// let tomorrow = campanile.time().plus(Duration::from_secs(86_400));
/// let run = campanile.submit::<Count>(&()).at(tomorrow).await?;
/// campanile.advance(Duration::from_secs(86_400)).await;
/// assert_eq!(run.wait().await?, "2026-01-02T00:00:00.000Z");
/// # campanile.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct InMemory {
    pub(crate) campanile: Campanile,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Arc<MemoryStore>,
}

impl Deref for InMemory {
    type Target = Campanile;

    fn deref(&self) -> &Campanile {
        &self.campanile
    }
}

impl InMemory {
    /// The time.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.clock.now().minus(LEAD)
    }

    /// Lets time pass, from one instant at which something is due to the next. The clock stands at each until what is due
    /// has started and ended; a handler that takes longer than a second of real time is not waited for.
    pub async fn advance(&self, by: Duration) {
        let until = self.time().plus(by);
        loop {
            self.settle().await;
            let now = self.time();
            let next = self.store.next_instant(now).unwrap_or(until).min(until);
            self.clock.advance(next.since(now));
            if next == until {
                break;
            }
        }
        self.settle().await;
    }

    /// Stops it.
    pub async fn stop(self) {
        self.campanile.stop().await;
    }

    async fn settle(&self) {
        let now = self.time();
        let started = async {
            while self.store.unsettled(now).0 > 0 {
                pause(LOOK).await;
            }
        };
        let _ = within(START_PATIENCE, started).await;
        let ended = async {
            while self.store.unsettled(now) != (0, 0) {
                pause(LOOK).await;
            }
        };
        let _ = within(RUN_PATIENCE, ended).await;
    }
}
