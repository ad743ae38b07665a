//! The table of offers: what [`crate::offers`] asks of a database, and the hints between processes on one that has them.
//! Every statement goes by the key (destination, place); none reads or writes a run. All moments are the database's own.
//!
//! A hint is a notification outside of every transaction, so that no leader's commit stands in a queue with others.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use campanile_core::port::broker::{Error, Message};
use campanile_core::port::clock::Clock as _;
use campanile_core::port::store;
use campanile_core::system::{SystemClock, pause, within};
use campanile_core::{causes, limits};
use campanile_schedule::time::duration_ms;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::Mutex;

use crate::offers::{HELD, Hint, Key, Table, Taken};
use crate::sql::mariadb::steps;
use crate::sql::open::Place;
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::{self, Row};

/// What a delivery shows as its signature.
const SIGNATURE: &str = "campanile_sig";
/// Where processes tell each other of offers.
const CHANNEL: &str = "campanile_offer";
/// Bytes of one notification: PostgreSQL takes fewer than 8,000.
const HINT_BYTES_MAX: usize = 7_500;
/// The wait before another try to listen; doubles up to [`LISTEN_RETRY_MAX`].
const LISTEN_RETRY: Duration = Duration::from_secs(1);
const LISTEN_RETRY_MAX: Duration = Duration::from_secs(60);
/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// An offer that nobody takes is removed at this age: its run is offered again at least every [`limits::REPUBLISH_MAX`].
const KEPT: Duration = limits::REPUBLISH_MAX.saturating_mul(2);
/// How often such offers are looked for, by whoever offers.
const SWEEP_PERIOD: Duration = Duration::from_secs(600);

/// Of a place: the bits behind the milliseconds, in which a batch numbers its messages and tells itself from others.
const NUMBER_BITS: u32 = 18;
const BATCH_BITS: u32 = 11;

/// Offers messages. Their places: by priority, highest first (`r`); then by the database's clock; then by their number (`n`).
/// 1767225600000 is the beginning of 2026.
static PUT: Statement = Statement::new(
    "INSERT INTO campanile_offer (destination, place, held_until, taken, body, signature)
     SELECT d, r * 576460752303423488 + ((SELECT @now) - 1767225600000) * 262144 + n, 0, 0, body, signature
     FROM @rows(r int, n int, d text, body text, signature text) AS v WHERE true",
);

/// Which destinations have an offer that nobody holds. Nobody holds one for longer than `hold`: what says so was taken by
/// a clock that has been set back since. Twice as long, because a statement that waited has read the clock before another
/// took what it looks at, and none lasts that long.
static LOOK: Statement = Statement::new(
    "SELECT v.d FROM @names(d text) AS v WHERE EXISTS (SELECT 1 FROM campanile_offer AS offer
     WHERE offer.destination = v.d AND (offer.held_until <= (SELECT @now) OR offer.held_until > (SELECT @now) + :hold + :hold))",
);

/// Takes the first offers of a destination that nobody holds, and passes over those that others are about to take.
static TAKE: Statement = Statement::differs(
    "UPDATE campanile_offer SET held_until = (SELECT @now) + :hold, taken = taken + 1
     WHERE destination = :d AND place IN (SELECT place FROM campanile_offer WHERE destination = :d
     AND (held_until <= (SELECT @now) OR held_until > (SELECT @now) + :hold + :hold) ORDER BY place LIMIT :most)
     RETURNING place, held_until, taken, body, signature",
    "UPDATE campanile_offer SET held_until = (SELECT @now) + :hold, taken = taken + 1
     WHERE destination = :d AND place = ANY(ARRAY(SELECT place FROM campanile_offer WHERE destination = :d
     AND (held_until <= (SELECT @now) OR held_until > (SELECT @now) + :hold + :hold) ORDER BY place LIMIT :most
     FOR UPDATE SKIP LOCKED)) RETURNING place, held_until, taken, body, signature",
)
.on_mariadb(steps::TAKE_OFFERS);

/// Removes offers, whoever holds them by now: what they offer was claimed, or can't be.
static DONE: Statement = Statement::new(
    "DELETE FROM campanile_offer WHERE destination = :d AND place IN (SELECT p FROM @keys(p int) AS v)",
);

/// Lets others have offers that are held as they were.
static GIVE_BACK: Statement = Statement::new(
    "UPDATE campanile_offer AS offer SET held_until = 0 FROM @keys(p int, h int) AS v
     WHERE offer.destination = :d AND offer.place = v.p AND offer.held_until = v.h",
);

/// Removes what is old, or was offered by a clock that was ahead for long. A walk over the table, seldom.
static SWEEP: Statement = Statement::new(
    "DELETE FROM campanile_offer WHERE (place & 576460752303423487) NOT BETWEEN
     ((SELECT @now) - 1767225600000 - :kept) * 262144 AND ((SELECT @now) - 1767225600000 + :kept) * 262144",
);

/// Tells whoever listens. For PostgreSQL.
static TELL: Statement = Statement::new("SELECT 1 FROM pg_notify(:channel, :names) AS told");

/// The offers of one store.
pub(super) struct Offers {
    store: Arc<Store>,
    listener: Mutex<Listener>,
    clock: SystemClock,
    /// When old offers are looked for next.
    sweep_at: AtomicU64,
}

/// The connection on which hints come.
#[derive(Default)]
struct Listener {
    live: Option<PgListener>,
    /// How often it could not be had, one time after the other.
    failures: u32,
}

impl Offers {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            listener: Mutex::default(),
            clock: SystemClock::new(),
            sweep_at: AtomicU64::new(0),
        }
    }

    /// Once in a while; a failure is the next one's.
    async fn sweep(&self) {
        let now = self.clock.monotonic();
        if now.as_ms() < self.sweep_at.load(Ordering::Relaxed) {
            return;
        }
        let next = now.plus(SWEEP_PERIOD).as_ms();
        self.sweep_at.store(next, Ordering::Relaxed);
        let args = [("kept", duration_ms(KEPT).into())];
        if let Err(error) = self.store.pools.main.write(&SWEEP, &args).await {
            tracing::debug!(error = %causes(&error), "old offers were not removed");
        }
    }

    async fn listen(
        &self,
        options: &sqlx::postgres::PgConnectOptions,
    ) -> Result<PgListener, sqlx::Error> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_LIMIT)
            .connect_lazy_with(options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(listener)
    }
}

fn failed(error: store::Error) -> Error {
    match error {
        store::Error::Ambiguous(_) => Error::Unconfirmed(store::CALL_TIMEOUT),
        error @ (store::Error::Unreachable(_) | store::Error::Contended(_)) => {
            Error::Unreachable(error.into())
        }
        error => Error::Refused(error.into()),
    }
}

/// No database keeps a NUL in a text: it is spelled with two characters, and so is the first of those.
fn spelled(text: &str) -> String {
    text.replace('\u{1}', "\u{1}1").replace('\0', "\u{1}0")
}

fn read(text: &str) -> String {
    let mut parts = text.split('\u{1}');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push(if part.starts_with('0') { '\0' } else { '\u{1}' });
        out.push_str(part.get(1..).unwrap_or_default());
    }
    out
}

/// Numbers a batch's messages, and tells them from those of another batch at the same moment: two that are alike are
/// refused, and offered once more.
fn numbers(count: usize, batch: u64) -> impl Iterator<Item = i64> {
    let batch = i64::try_from(batch % (1 << BATCH_BITS)).unwrap_or(0);
    let most = 1 << (NUMBER_BITS - BATCH_BITS);
    (0..count).map(move |n| ((i64::try_from(n).unwrap_or(0) % most) << BATCH_BITS) | batch)
}

fn table_of(messages: &[Message], batch: u64) -> value::Table {
    let rank = |m: &Message| 9 - i64::from(m.priority.min(9));
    let signature = |m: &Message| {
        let mut properties = m.properties.iter();
        let found = properties.find(|(name, _)| *name == SIGNATURE);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    value::Table::of(messages.iter().map(rank))
        .ints(numbers(messages.len(), batch))
        .texts(messages.iter().map(|m| m.destination.clone()))
        .texts(messages.iter().map(|m| spelled(&m.body)))
        .texts(messages.iter().map(signature))
}

fn keys_of(keys: &[Key]) -> value::Table {
    value::Table::of(keys.iter().map(|key| key.place)).ints(keys.iter().map(|key| key.held_until))
}

fn taken_of(mut row: Row) -> Result<Taken, store::Error> {
    const TABLE: &str = "offer";
    Ok(Taken {
        key: Key {
            place: row.int(TABLE)?,
            held_until: row.int(TABLE)?,
        },
        again: row.int(TABLE)? > 1,
        body: read(&row.text(TABLE)?),
        signature: row.text(TABLE)?,
    })
}

/// The names of a hint: as many as fit; none says that there are more.
fn hint(destinations: &BTreeSet<String>) -> String {
    let names: Vec<&str> = destinations.iter().map(String::as_str).collect();
    let text = names.join("\n");
    if text.len() > HINT_BYTES_MAX {
        return String::new();
    }
    text
}

fn heard(text: &str) -> Hint {
    if text.is_empty() {
        return Hint::Missed;
    }
    Hint::Offered(text.lines().map(str::to_owned).collect())
}

#[async_trait]
impl Table for Offers {
    async fn put(&self, messages: &[Message]) -> Result<(), Error> {
        self.sweep().await;
        for some in messages.chunks(limits::PUBLISH_BATCH_MAX) {
            let args = [("rows", table_of(some, self.store.random.next()).into())];
            let put = self.store.pools.main.write(&PUT, &args).await;
            put.map_err(failed)?;
        }
        Ok(())
    }

    async fn look(&self, destinations: &[String]) -> Result<Vec<String>, Error> {
        let names = value::Table::default().texts(destinations.iter().cloned());
        let args = [("names", names.into()), ("hold", duration_ms(HELD).into())];
        let rows = self.store.pools.reader.rows(&LOOK, &args).await;
        let found = rows
            .map_err(failed)?
            .into_iter()
            .map(|mut row| row.text("offer"));
        found.collect::<Result<_, _>>().map_err(failed)
    }

    async fn take(&self, destination: &str, most: usize) -> Result<Vec<Taken>, Error> {
        let args = [
            ("d", destination.into()),
            ("most", i64::try_from(most).unwrap_or(i64::MAX).into()),
            ("hold", duration_ms(HELD).into()),
            // For a database whose changes answer nothing: what was taken is asked for by it.
            (
                "taker",
                i64::try_from(self.store.random.next() >> 1)
                    .unwrap_or(0)
                    .into(),
            ),
        ];
        let rows = self.store.pools.main.rows(&TAKE, &args).await;
        let taken = rows.map_err(failed)?.into_iter().map(taken_of);
        let mut taken: Vec<Taken> = taken.collect::<Result<_, _>>().map_err(failed)?;
        taken.sort_by_key(|taken| taken.key.place);
        Ok(taken)
    }

    async fn done(&self, destination: &str, keys: &[Key]) -> Result<(), Error> {
        let places = value::Table::of(keys.iter().map(|key| key.place));
        let args = [("d", destination.into()), ("keys", places.into())];
        let done = self.store.pools.main.write(&DONE, &args).await;
        done.map(drop).map_err(failed)
    }

    async fn give_back(&self, destination: &str, keys: &[Key]) -> Result<(), Error> {
        let args = [("d", destination.into()), ("keys", keys_of(keys).into())];
        let back = self.store.pools.main.write(&GIVE_BACK, &args).await;
        back.map(drop).map_err(failed)
    }

    async fn tell(&self, destinations: &BTreeSet<String>) -> Result<(), Error> {
        let Place::Postgres(..) = self.store.place else {
            return Ok(());
        };
        let args = [
            ("channel", CHANNEL.into()),
            ("names", hint(destinations).as_str().into()),
        ];
        let told = self.store.pools.main.rows(&TELL, &args).await;
        told.map(drop).map_err(failed)
    }

    async fn hear(&self) -> Hint {
        let Place::Postgres(options, _) = &self.store.place else {
            return std::future::pending().await;
        };
        let mut listener = self.listener.lock().await;
        loop {
            if let Some(live) = listener.live.as_mut() {
                if let Ok(Some(told)) = live.try_recv().await {
                    return heard(told.payload());
                }
                listener.live = None;
            }
            match within(CONNECT_LIMIT, self.listen(options)).await {
                Some(Ok(live)) => {
                    *listener = Listener {
                        live: Some(live),
                        failures: 0,
                    };
                    return Hint::Missed;
                }
                Some(Err(error)) => tracing::debug!(
                    error = %self.store.place.scrub(&error.to_string()),
                    "no hints are heard: this worker looks for offers once a second"
                ),
                None => tracing::debug!(
                    "no hints are heard: this worker looks for offers once a second"
                ),
            }
            let wait = LISTEN_RETRY.saturating_mul(1 << listener.failures.min(6));
            listener.failures = listener.failures.saturating_add(1);
            pause(wait.min(LISTEN_RETRY_MAX)).await;
        }
    }
}

#[cfg(test)]
#[path = "offers_tests.rs"]
mod tests;
