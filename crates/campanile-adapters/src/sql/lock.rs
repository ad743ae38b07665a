//! The `store:` lock: a lease on a name, judged by the database's own clock alone. For clusters without another lock
//! service. It has a connection of its own, made on first use where it is used, so that its renewal never waits behind
//! the store's other work. It gives no hints: waiting nodes ask again by themselves.

use std::time::Duration;

use async_trait::async_trait;
use campanile_core::id::Holder;
use campanile_core::port::lock::{self, Acquired, Signal};
use campanile_core::system::within;
use campanile_schedule::time::duration_ms;
use tokio::sync::Mutex;

use super::error::is_broken;
use super::mariadb::steps;
use super::open::Place;
use super::outage;
use super::session::Session;
use super::statement::Statement;
use super::value::{Args, Row};

/// How long one call may take: less than the shortest life of a lock.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Takes the lease if it is free, ours, or over.
static ACQUIRE: Statement = Statement::new(
    "INSERT INTO campanile_store_lock AS store_lock (name, holder, expires_at) VALUES (:name, :holder, @now + :ttl)
     ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
     WHERE store_lock.holder = excluded.holder OR store_lock.expires_at <= @now",
)
.on_mariadb(steps::ACQUIRE_LOCK);

/// Who has the lease, and for how long. What the statement above changed is never asked of its count.
static HELD: Statement =
    Statement::new("SELECT holder, expires_at - @now FROM campanile_store_lock WHERE name = :name");

/// Extends the lease if it is ours and not over.
static RENEW: Statement = Statement::new(
    "UPDATE campanile_store_lock SET expires_at = @now + :ttl WHERE name = :name AND holder = :holder AND expires_at > @now",
);

/// Gives it back if it is ours.
static RELEASE: Statement =
    Statement::new("DELETE FROM campanile_store_lock WHERE name = :name AND holder = :holder");

/// One named lock in the store.
pub struct Lock {
    place: Place,
    name: String,
    session: Mutex<Option<Session>>,
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lock({} in {})", self.name, self.place.shown())
    }
}

impl Lock {
    pub(super) fn new(place: Place, name: &str) -> Self {
        Self {
            place,
            name: name.to_owned(),
            session: Mutex::new(None),
        }
    }

    /// One statement on the lock's own connection, which is dropped at any failure and made again the next time. A
    /// connection that broke while it was idle is replaced at once.
    async fn call(
        &self,
        statement: &Statement,
        args: Args<'_>,
    ) -> Result<(Vec<Row>, u64), lock::Error> {
        let mut held = self.session.lock().await;
        let fresh = held.is_none();
        let call = async {
            match self.on_session(held.take(), statement, args).await {
                Err(error) if !fresh && is_broken(&error) => {
                    self.on_session(None, statement, args).await
                }
                answer => answer,
            }
        };
        match within(CALL_TIMEOUT, call).await {
            Some(Ok((session, rows, count))) => {
                *held = Some(session);
                Ok((rows, count))
            }
            Some(Err(error @ sqlx::Error::Database(_))) if !is_broken(&error) => {
                Err(lock::Error::Refused(error.into()))
            }
            Some(Err(error)) => Err(lock::Error::Unreachable(outage::cause(error))),
            None => Err(lock::Error::Unreachable(
                "no answer in time (setting `store`)".into(),
            )),
        }
    }

    async fn on_session(
        &self,
        session: Option<Session>,
        statement: &Statement,
        args: Args<'_>,
    ) -> Result<(Session, Vec<Row>, u64), sqlx::Error> {
        let mut session = match session {
            Some(session) => session,
            None => outage::connect(&self.place).await?,
        };
        let text = statement.text(session.dialect());
        if statement.answers() {
            let rows = session.rows(text, args).await?;
            return Ok((session, rows, 0));
        }
        let count = session.write(text, args).await?;
        Ok((session, Vec::new(), count))
    }
}

fn unreadable(error: campanile_core::port::store::Error) -> lock::Error {
    lock::Error::Refused(error.into())
}

#[async_trait]
impl lock::Lock for Lock {
    async fn acquire(&self, holder: &Holder, ttl: Duration) -> Result<Acquired, lock::Error> {
        let args = [
            ("name", self.name.as_str().into()),
            ("holder", holder.as_str().into()),
            ("ttl", duration_ms(ttl).into()),
        ];
        self.call(&ACQUIRE, &args).await?;
        let (rows, _) = self.call(&HELD, &args[..1]).await?;
        // Released by another between the two statements: the next try will have it.
        let Some(mut row) = rows.into_iter().next() else {
            return Ok(Acquired::No {
                expires_in: Duration::ZERO,
            });
        };
        let found = row.text("store_lock").map_err(unreadable)?;
        let left = row.int("store_lock").map_err(unreadable)?;
        if found == holder.as_str() && left > 0 {
            return Ok(Acquired::Yes);
        }
        Ok(Acquired::No {
            expires_in: Duration::from_millis(u64::try_from(left).unwrap_or(0)),
        })
    }

    async fn renew(&self, holder: &Holder, ttl: Duration) -> Result<bool, lock::Error> {
        let args = [
            ("name", self.name.as_str().into()),
            ("holder", holder.as_str().into()),
            ("ttl", duration_ms(ttl).into()),
        ];
        Ok(self.call(&RENEW, &args).await?.1 == 1)
    }

    async fn release(&self, holder: &Holder) -> Result<(), lock::Error> {
        let args = [
            ("name", self.name.as_str().into()),
            ("holder", holder.as_str().into()),
        ];
        self.call(&RELEASE, &args).await.map(drop)
    }

    fn has_signals(&self) -> bool {
        false
    }

    async fn signal(&self, _: Signal) -> Result<(), lock::Error> {
        Ok(())
    }

    async fn next_signal(&self) -> Signal {
        std::future::pending().await
    }
}
