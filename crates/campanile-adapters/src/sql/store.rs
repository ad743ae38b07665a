//! The store over SQL: what the ports promise, statement by statement. The statements live by who calls them
//! ([`leading`] with [`firing`] and [`permits`], [`working`], [`control`] with [`tasks`] and [`shared`]) and in [`ends`],
//! the one way into history; [`rows`] turns rows into values. Each call is one transaction, and its guards are the transitions of
//! `campanile_core::decide::attempt` as WHERE clauses.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use campanile_core::failpoint::{self, Failpoint};
use campanile_core::id::RunId;
use campanile_core::port::store::Error;
use campanile_core::system::Random;
use campanile_core::task::QueueName;

use super::dialect::Dialect;
use super::lock::Lock;
use super::migration;
use super::offers::Offers;
use super::open::Place;
use super::pools::Pools;
use super::space::Space;
use super::statement::Statement;
use super::value::{Row, Table};

pub(super) use crate::sql::points::BEGIN_TERM as BIDDING;
pub use crate::sql::unreadable::Unreadable;

/// Rows of history that are remembered as not let go.
const STUCK_MAX: usize = 1_000;

/// Is anybody there?
static PING: Statement = Statement::new("SELECT 1");

/// The server's version, in its own words.
pub(super) static SERVER: Statement = Statement::differs(
    "SELECT sqlite_version()",
    "SELECT current_setting('server_version')",
)
.on_mariadb(&["SELECT VERSION()"]);

/// The schema's version.
static SCHEMA: Statement = Statement::new("SELECT MAX(version) FROM campanile_schema_version");

/// Takes about a megabyte until its session ends. For PostgreSQL.
static TRY_ROOM: Statement = Statement::new(
    "CREATE TEMPORARY TABLE campanile_room ON COMMIT DROP AS SELECT n FROM generate_series(1, 30000) AS n",
);

/// All names of queues.
pub(super) static QUEUES: Statement = Statement::new("SELECT id, name FROM campanile_queue");

/// Gives new names their numbers; whoever is second changes nothing.
static ADD_QUEUES: Statement = Statement::new(
    "INSERT INTO campanile_queue (name) SELECT name FROM @names(name text) AS v WHERE true ON CONFLICT (name) DO NOTHING",
);

/// A store in an SQL database. Made by [`super::open()`].
#[derive(Debug)]
pub struct Store {
    pub(super) place: Place,
    pub(super) pools: Pools,
    pub(super) random: Random,
    pub(super) queues: RwLock<Queues>,
    /// Rows of history that the database does not let go.
    pub(super) stuck: Mutex<BTreeSet<i64>>,
}

/// What `doctor` shows of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `SQLite`, `PostgreSQL` or `MariaDB`.
    pub kind: &'static str,
    /// Where, without the password.
    pub url: String,
    /// The server's version.
    pub server: String,
    /// The schema's version.
    pub schema: i64,
    /// The newest schema that this program knows.
    pub known_schema: i64,
}

/// Names of queues and their numbers, as far as they were met. Neither ever changes.
#[derive(Debug, Default)]
pub(super) struct Queues {
    pub(super) ids: HashMap<QueueName, i64>,
    pub(super) names: HashMap<i64, QueueName>,
}

impl Store {
    pub(super) fn new(place: Place, pools: Pools, random: Random) -> Self {
        Self {
            place,
            pools,
            random,
            queues: RwLock::default(),
            stuck: Mutex::default(),
        }
    }

    /// Asks the database whether it is there.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if not.
    pub async fn ping(&self) -> Result<(), Error> {
        self.pools.reader.rows(&PING, &[]).await.map(drop)
    }

    /// What and where this store is.
    ///
    /// # Errors
    /// The store's.
    pub async fn describe(&self) -> Result<Description, Error> {
        let server = self.one(&SERVER).await?.text("server")?;
        Ok(Description {
            kind: self.pools.main.dialect().name(),
            url: self.place.shown(),
            server,
            schema: self.schema().await?,
            known_schema: migration::known(),
        })
    }

    pub(super) async fn schema(&self) -> Result<i64, Error> {
        let schema = self.one(&SCHEMA).await?.opt_int("schema_version")?;
        Ok(schema.unwrap_or(0))
    }

    pub(super) async fn one(&self, statement: &Statement) -> Result<Row, Error> {
        let rows = self.pools.reader.rows(statement, &[]).await?;
        first(rows, "server")
    }

    /// Whether the database takes a megabyte more, of which nothing stays; `None` where that can't be tried (a SQLite file,
    /// whose folder tells as much, a user who may make no temporary table, or MariaDB, which keeps those elsewhere).
    ///
    /// # Errors
    /// The store's, other than a full disk.
    pub async fn has_room(&self) -> Result<Option<bool>, Error> {
        if self.dialect() != Dialect::Postgres {
            return Ok(None);
        }
        // Dropped without an end, the session is closed, and with it all that it made.
        let mut tx = self.pools.main.begin().await?;
        match tx.write(&TRY_ROOM, &[]).await {
            Ok(_) => Ok(Some(true)),
            Err(failure) => match failure.settled() {
                Error::Full(_) => Ok(Some(false)),
                Error::Refused(_) => Ok(None),
                other => Err(other),
            },
        }
    }

    /// What is known of the room on its disk.
    #[must_use]
    pub fn space(&self) -> Arc<Space> {
        Arc::clone(&self.pools.main.space)
    }

    /// The `store:` lock of this name.
    #[must_use]
    pub fn lock(&self, name: &str) -> Lock {
        Lock::new(self.place.clone(), name)
    }

    /// What the broker `store:` keeps in this store.
    #[must_use]
    pub fn offers(self: &Arc<Self>) -> Arc<dyn crate::offers::Table> {
        Arc::new(Offers::new(Arc::clone(self)))
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pools.close().await;
    }

    /// Rows of history that were not let go when they were to be removed.
    pub(super) fn stuck(&self) -> Vec<i64> {
        let stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        stuck.iter().copied().collect()
    }

    /// Remembers one more, until the next start or until there are too many; then all are tried again.
    pub(super) fn is_stuck(&self, id: i64, error: &Error) {
        let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
        if stuck.len() >= STUCK_MAX {
            stuck.clear();
        }
        stuck.insert(id);
        let run = RunId::from_i64(id);
        tracing::error!(%run, ?error, "run {run} is old, and the database does not let its row go: it stays in the history; \
            look for a foreign key or a trigger of your own on our tables");
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.pools.main.dialect()
    }

    /// Sees to it that each of these names has a number that we know. By itself, before a transaction that needs them:
    /// what is kept here must be committed.
    pub(super) async fn intern(
        &self,
        names: impl IntoIterator<Item = &QueueName> + Send,
    ) -> Result<(), Error> {
        let unknown: BTreeSet<String> = {
            let known = self.queues.read().unwrap_or_else(PoisonError::into_inner);
            let unknown = names
                .into_iter()
                .filter(|name| !known.ids.contains_key(*name));
            unknown.map(|name| name.as_str().to_owned()).collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        self.know_queues(self.pools.main.rows(&QUEUES, &[]).await?)?;
        let args = [("names", Table::default().texts(unknown).into())];
        self.pools.main.write(&ADD_QUEUES, &args).await?;
        failpoint::reach(Failpoint::QueueNamed);
        self.know_queues(self.pools.main.rows(&QUEUES, &[]).await?)
    }

    /// Takes over what [`QUEUES`] answered.
    pub(super) fn know_queues(&self, rows: Vec<Row>) -> Result<(), Error> {
        let mut known = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        for mut row in rows {
            let (id, name) = (row.int("queue")?, row.text("queue")?);
            if !known.names.contains_key(&id) {
                let name = QueueName::new(&name);
                known.ids.insert(name.clone(), id);
                known.names.insert(id, name);
            }
        }
        Ok(())
    }

    /// The number of a name that was interned.
    pub(super) fn queue_id(&self, name: &QueueName) -> Result<i64, Error> {
        let known = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        known.ids.get(name).copied().ok_or_else(|| Error::Corrupt {
            table: "queue",
            row: None,
            message: format!("no number for the queue {name}"),
        })
    }

    /// Looks the names up that these rows' numbers (in column `at`) stand for, if any is new to us.
    pub(super) async fn learn_queues(&self, rows: &[Row], at: usize) -> Result<(), Error> {
        let all_known = {
            let known = self.queues.read().unwrap_or_else(PoisonError::into_inner);
            rows.iter()
                .filter_map(|row| row.peek_int(at))
                .all(|id| known.names.contains_key(&id))
        };
        if all_known {
            return Ok(());
        }
        self.know_queues(self.pools.reader.rows(&QUEUES, &[]).await?)
    }

    pub(super) fn queue_name(&self, id: i64) -> Result<QueueName, Error> {
        let known = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        known.names.get(&id).cloned().ok_or_else(|| Error::Corrupt {
            table: "queue",
            row: None,
            message: format!("no name for the queue number {id}"),
        })
    }
}

/// The one row of an answer that always has one.
pub(super) fn first(rows: Vec<Row>, table: &'static str) -> Result<Row, Error> {
    rows.into_iter().next().ok_or_else(|| Error::Corrupt {
        table,
        row: None,
        message: "the row is missing".to_owned(),
    })
}
