//! What people ask of the system, as functions over the ports: define tasks, request runs, look, cancel, explain. The
//! API, the CLI and the pages are renderings of these functions; this module knows no HTTP and prints nothing. It
//! leads nothing and runs nothing: it writes rows through [`campanile_core::port::edit::EditStore`] and lets the leader know.

mod access;
mod apply;
mod audit;
mod backfill;
mod cluster;
mod delete;
mod due;
mod error;
mod follow;
mod forecast;
mod hold;
mod inbox;
mod keys;
mod lists;
mod logs;
mod pauses;
mod quarantine;
mod reach;
mod runs;
mod shared;
mod silence;
mod strays;
mod submit;
mod successes;
mod tasks;
mod tokens;
mod why;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub use self::apply::{Apply, Changed, Definitions, Diff, FieldChange, Limit};
pub use self::audit::{AuditPage, AuditPlace, AuditVerified, stranger};
pub use self::backfill::{Backfill, Backfilled, PER_SECOND as BACKFILL_PER_SECOND};
pub use self::cluster::{Leader, Stats, newest_record};
pub use self::delete::Deletion;
pub use self::error::Error;
pub use self::follow::{FOLLOWERS_MAX, Followed, Follower, Place};
pub use self::forecast::ForecastQuery;
pub use self::hold::Held;
pub use self::keys::KeyQuery;
pub use self::logs::{AttemptLog, LogPage, LogQuery};
pub use self::pauses::NewPause;
pub use self::quarantine::{QuarantinePage, QuarantineRow};
pub use self::reach::{QueueRow, blocked_because};
pub use self::runs::{Event, RunDetail, RunPage, RunQuery, RunRow};
pub use self::shared::{CalendarRow, LimitRow};
pub use self::strays::Groups;
pub use self::submit::NewRun;
pub use self::successes::Successes;
pub use self::tasks::{TaskRow, TaskRows};
pub use self::tokens::NewToken;
pub use self::why::{Verdict, Why};

use campanile_schedule::time::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};

use campanile_core::actor::Actor;
use campanile_core::id::Mint;
use campanile_core::limits;
use campanile_core::metrics::Metrics;
use campanile_core::port::clock::Clock;
use campanile_core::port::lock::{Lock, Signal};
use campanile_core::port::store::Store;
use campanile_core::system::{self, Pool, Random};
use campanile_core::task::mask::Masks;
use campanile_core::time::Monotonic;
use campanile_core::time::database::DatabaseTime;

/// How often an edit is replanned when somebody else edits the same tasks meanwhile.
const EDIT_TRIES_MAX: usize = 8;
/// How old the last reading of the store's clock may be before a request asks for another.
const SAMPLE_AGE_MAX: Duration = Duration::from_secs(10);
/// How long [`Control::know_the_time`] waits, and how often it looks.
const CLOCK_WAIT: Duration = Duration::from_secs(60);
const CLOCK_LOOK: Duration = Duration::from_millis(200);
/// How long a hint may take before it is given up: the leader's scan finds the work anyway.
const SIGNAL_LIMIT: Duration = Duration::from_secs(2);

/// What control is made of.
#[derive(Clone)]
pub struct Parts {
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
    pub metrics: Arc<Metrics>,
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

/// What people ask of the system. Cheap to clone. Nothing is answered here: see [`Control::by`].
#[derive(Debug, Clone)]
pub struct Control {
    parts: Parts,
    /// The monotonic reading of the last time sample, in milliseconds; 0 = none yet.
    sampled_ms: Arc<AtomicU64>,
    /// A hint is under way: another one would say the same.
    signalling: Arc<AtomicBool>,
    /// One seat, for who writes many rows at once.
    bulk: Arc<Semaphore>,
    /// What is masked where definitions are shown.
    masks: Arc<Masks>,
    /// The runs that are followed here.
    feeds: follow::Feeds,
    /// API tokens that were looked up lately.
    tokens: Arc<tokens::Known>,
}

/// Control in the hands of somebody: all that is looked at or changed, in the name of an [`Actor`] and within his rights.
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
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            sampled_ms: Arc::default(),
            signalling: Arc::default(),
            bulk: Arc::new(Semaphore::new(1)),
            masks: Arc::default(),
            feeds: follow::Feeds::default(),
            tokens: Arc::default(),
        }
    }

    /// The same with other names whose values are masked.
    #[must_use]
    pub fn masking(self, masks: Masks) -> Self {
        Self {
            masks: Arc::new(masks),
            ..self
        }
    }

    /// What is masked where a definition, a difference or a payload is shown. What control answers itself is whole, but for
    /// differences.
    #[must_use]
    pub fn masks(&self) -> &Masks {
        &self.masks
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

    /// Waits, for a while, until this process knows whether the store's clock is right: what is written before is refused.
    /// Answers whether it does.
    pub async fn know_the_time(&self) -> bool {
        let known = async {
            while !self.knows_the_time() {
                if self.leader_row().await.is_err() || !self.knows_the_time() {
                    system::pause(CLOCK_LOOK).await;
                }
            }
        };
        system::within(CLOCK_WAIT, known).await.is_some()
    }

    async fn leader_row(&self) -> Result<campanile_core::port::lead::LeaderRow, Error> {
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
