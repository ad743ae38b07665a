//! What people ask of the system, as functions over the ports: define tasks, request runs, look, cancel, explain. The
//! API, the CLI and the pages are renderings of these functions; this module knows no HTTP and prints nothing. It
//! leads nothing and runs nothing: it writes rows through [`crate::port::store::Control`] and lets the leader know.

mod apply;
mod backfill;
mod cluster;
mod delete;
mod due;
mod error;
mod forecast;
mod keys;
mod quarantine;
mod reach;
mod runs;
mod shared;
mod silence;
mod strays;
mod submit;
mod successes;
mod tasks;
mod why;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub use self::apply::{Apply, Changed, Definitions, Diff, FieldChange};
pub use self::backfill::{Backfill, Backfilled, PER_SECOND as BACKFILL_PER_SECOND};
pub use self::cluster::{Leader, Stats, newest_record};
pub use self::delete::Deletion;
pub use self::error::Error;
pub use self::forecast::ForecastQuery;
pub use self::keys::KeyQuery;
pub use self::quarantine::QuarantineRow;
pub use self::reach::QueueRow;
pub use self::runs::{Event, RunPage, RunQuery, RunRow, RunStory};
pub use self::shared::{CalendarRow, LimitRow};
pub use self::strays::Groups;
pub use self::submit::Request;
pub use self::successes::Successes;
pub use self::tasks::{TaskRow, TaskRows};
pub use self::why::{Verdict, Why};

use campanile_schedule::time::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::actor::Actor;
use crate::engine::Meters;
use crate::engine::database_time::DatabaseTime;
use crate::id::Mint;
use crate::port::clock::Clock;
use crate::port::lock::{Lock, Signal};
use crate::port::store::Store;
use crate::protocol::limits;
use crate::system::{self, Pool, Random};
use crate::time::Monotonic;

/// How often an edit is planned anew when somebody else edits the same tasks meanwhile.
const EDIT_TRIES_MAX: usize = 8;
/// How old the last reading of the store's clock may be before a request asks for another.
const SAMPLE_AGE_MAX: Duration = Duration::from_secs(10);
/// How long a hint may take before it is given up: the leader's scan finds the work anyway.
const SIGNAL_LIMIT: Duration = Duration::from_secs(2);

/// What control is made of.
#[derive(Clone)]
pub struct Parts {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// Through which the leader is told that there is work.
    pub lock: Arc<dyn Lock>,
    /// For the age of time samples.
    pub clock: Arc<dyn Clock>,
    /// The store's clock, shared with the node of this process if there is one.
    pub time: DatabaseTime,
    /// For the first signing secret.
    pub random: Arc<Random>,
    /// The one mint of this process.
    pub mint: Arc<Mint>,
    /// Counts, shared with the node of this process if there is one: what edits leave behind.
    pub meters: Arc<Meters>,
    /// Where what takes long is computed, shared with the node of this process if there is one.
    pub pool: Pool,
    /// Called after every change, for a leader in the same process.
    pub on_work: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("control::Parts")
    }
}

/// What people ask of the system. Cheap to clone. What changes something is [`Editor`]'s.
#[derive(Debug, Clone)]
pub struct Control {
    parts: Parts,
    /// The monotonic reading of the last time sample, in milliseconds; 0 = none yet.
    sampled_ms: Arc<AtomicU64>,
    /// A hint is under way: another one would say the same.
    signalling: Arc<AtomicBool>,
    /// One seat, for who writes many rows at once.
    bulk: Arc<Semaphore>,
}

/// Control in the hands of somebody: what changes something, in the name of an [`Actor`].
#[derive(Debug, Clone)]
pub struct Editor {
    control: Control,
    actor: Actor,
}

impl Editor {
    /// As [`Control::now`], for what is written: not by the time of a node that has just started and may be far behind. By that
    /// what is running would be ahead, and be taken back.
    ///
    /// # Errors
    /// [`Error::ClockInDoubt`]; as [`Control::now`].
    async fn now(&self) -> Result<Timestamp, Error> {
        let now = self.control.now().await?;
        if self.parts.time.has_followed() {
            return Ok(now);
        }
        let ahead_s = self.parts.time.held().unwrap_or_default().as_secs();
        Err(Error::ClockInDoubt { ahead_s })
    }
}

impl Deref for Editor {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl Control {
    /// Over these ports.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            sampled_ms: Arc::default(),
            signalling: Arc::default(),
            bulk: Arc::new(Semaphore::new(1)),
        }
    }

    /// In the hands of somebody.
    #[must_use]
    pub fn by(&self, actor: Actor) -> Editor {
        Editor {
            control: self.clone(),
            actor,
        }
    }

    /// Waits until nobody else in this process writes many rows at once; who writes few does not wait. Stores with one
    /// writer serve in turn, and who has a term or a run to keep would stand behind every bulk that came before.
    async fn bulk_seat(&self, rows: usize) -> Option<SemaphorePermit<'_>> {
        if rows < limits::BULK_ROWS_MIN {
            return None;
        }
        self.bulk.acquire().await.ok()
    }

    /// Where what takes long is computed: `control.pool().run(|fuel| …).await`.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.parts.pool
    }

    /// The store's time now, from a sample that is at most a few seconds old.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when a sample is needed and the store does not answer.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        let reading = self.parts.clock.monotonic();
        let last = Monotonic::from_ms(self.sampled_ms.load(Ordering::Relaxed));
        if last == Monotonic::default() || reading.since(last) > SAMPLE_AGE_MAX {
            self.leader_row().await?;
        }
        Ok(self.parts.time.now())
    }

    /// Whether what is written is not refused for [`Error::ClockInDoubt`].
    #[must_use]
    pub fn knows_the_time(&self) -> bool {
        self.parts.time.has_followed()
    }

    async fn leader_row(&self) -> Result<crate::protocol::work::LeaderRow, Error> {
        let asked_at = self.parts.clock.monotonic();
        let row = self.parts.store.leader().await?;
        self.parts.time.sample(row.now, asked_at);
        let reading = self.parts.clock.monotonic().as_ms().max(1);
        self.sampled_ms.store(reading, Ordering::Relaxed);
        Ok(row)
    }

    /// Lets the leader know that there is work: here at once, elsewhere as a hint that may get lost.
    fn work(&self) {
        (self.parts.on_work)();
        if self.signalling.swap(true, Ordering::AcqRel) {
            return;
        }
        let (lock, under_way) = (Arc::clone(&self.parts.lock), Arc::clone(&self.signalling));
        system::spawn(async move {
            under_way.store(false, Ordering::Release);
            if let Some(Err(error)) = system::within(SIGNAL_LIMIT, lock.signal(Signal::Work)).await
            {
                tracing::debug!(%error, "the hint that there is work was not sent; the leader's scan finds it");
            }
        });
    }
}

#[cfg(test)]
mod bulk_tests;
