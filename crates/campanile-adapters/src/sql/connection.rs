//! The thin layer over the drivers: pools and the one helper that opens transactions. Above it nobody knows
//! which database answers. Any error inside a transaction rolls the whole of it back here, and a session that was left
//! in the middle of something (an error, a dropped future) is closed and never used again.

use std::sync::Arc;
use std::time::Duration;

use campanile_core::failpoint::{self, Around};
use campanile_core::port::store::{self, CALL_TIMEOUT};
use campanile_core::system::{Random, pause, within};
use sqlx::{MySqlPool, PgPool, SqlitePool};

use super::dialect::Dialect;
use super::error::{Failure, is_broken, is_taken};
use super::gate::{MaybeGate, admit, admit_raw};
use super::mariadb::Servers;
use super::outage::{Outage, is_down};
use super::session::Session;
use super::space::Space;
use super::statement::{Statement, Text};
use super::value::{Args, Row};

/// Transactions that met a deadlock, a timeout or a busy file are made again this often.
const TRIES_MAX: u32 = 3;
/// The first wait before another try; doubles, with jitter.
const RETRY_WAIT: Duration = Duration::from_millis(20);

/// Connections to one database for one purpose.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pub(super) connections: Connections,
    /// Who knows why there is none.
    pub(super) outage: Arc<Outage>,
    pub(super) gate: MaybeGate,
    pub(super) space: Arc<Space>,
}

/// The driver's pool.
#[derive(Debug, Clone)]
pub(super) enum Connections {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    MariaDb(MySqlPool, Arc<Servers>),
}

/// How the body of a transaction ends.
pub(super) enum Verdict<T> {
    Commit(T),
    /// Nothing is to stand, and that is no error.
    Rollback(T),
}

#[derive(Debug, Clone, Copy)]
enum Want {
    Rows,
    Count,
}

/// A transaction under way. Dropped without an end, its session is closed, and with it the transaction.
pub(super) struct Tx {
    session: Session,
    open: bool,
    gate: MaybeGate,
    space: Arc<Space>,
}

impl Pool {
    pub(super) const fn dialect(&self) -> Dialect {
        match self.connections {
            Connections::Sqlite(_) => Dialect::Sqlite,
            Connections::Postgres(_) => Dialect::Postgres,
            Connections::MariaDb(..) => Dialect::MariaDb,
        }
    }

    async fn acquire(&self) -> Result<Session, sqlx::Error> {
        let got = match &self.connections {
            Connections::Sqlite(pool) => pool.acquire().await.map(Session::Sqlite),
            Connections::Postgres(pool) => pool.acquire().await.map(Session::Postgres),
            Connections::MariaDb(pool, servers) => match pool.acquire().await {
                Err(error) if is_broken(&error) && servers.choose(pool).await => {
                    pool.acquire().await
                }
                got => got,
            }
            .map(Session::MariaDb),
        };
        match got {
            Ok(session) => Ok(session),
            Err(error) => Err(self.outage.explained(error).await),
        }
    }

    /// Begins a transaction; on an idle connection that turns out to be broken, once more on another.
    pub(super) async fn begin(&self) -> Result<Tx, store::Error> {
        let begin = async {
            match self.try_begin().await {
                Err(error) if is_broken(&error) && !is_down(&error) => self.try_begin().await,
                answer => answer,
            }
        };
        match within(CALL_TIMEOUT, begin).await {
            Some(answer) => answer.map_err(|error| Failure::from(error).settled()),
            None => Err(no_answer()),
        }
    }

    async fn try_begin(&self) -> Result<Tx, sqlx::Error> {
        let mut tx = self.held().await?;
        tx.run_raw(begin(self.dialect())).await?;
        Ok(tx)
    }

    /// A session that is closed if it is dropped in the middle of something.
    async fn held(&self) -> Result<Tx, sqlx::Error> {
        Ok(Tx {
            session: self.acquire().await?,
            open: true,
            gate: self.gate.clone(),
            space: Arc::clone(&self.space),
        })
    }

    /// One statement by itself, of the kind that may be repeated without harm: a read, or a write that changes nothing
    /// when it is made twice. Repeated once if the connection turns out to be broken.
    pub(super) async fn rows(
        &self,
        statement: &Statement,
        args: Args<'_>,
    ) -> Result<Vec<Row>, store::Error> {
        self.rows_of(statement.text(self.dialect()), args).await
    }

    /// The same, for a text that was made for this call.
    pub(super) async fn rows_of(
        &self,
        text: &Text,
        args: Args<'_>,
    ) -> Result<Vec<Row>, store::Error> {
        Ok(self.repeated(text, args, Want::Rows).await?.0)
    }

    /// As [`Self::rows`], for a statement without an answer: how many rows it changed.
    pub(super) async fn write(
        &self,
        statement: &Statement,
        args: Args<'_>,
    ) -> Result<u64, store::Error> {
        let text = statement.text(self.dialect());
        let written = self.repeated(text, args, Want::Count).await;
        self.space.note(&written);
        Ok(written?.1)
    }

    async fn repeated(
        &self,
        text: &Text,
        args: Args<'_>,
        want: Want,
    ) -> Result<(Vec<Row>, u64), store::Error> {
        let call = async {
            match self.once(text, args, want).await {
                Err(error) if is_broken(&error) && !is_down(&error) => {
                    self.once(text, args, want).await
                }
                answer => answer,
            }
        };
        let is_read = text.answers() && text.then.is_empty();
        match within(CALL_TIMEOUT, call).await {
            Some(answer) if is_read => answer.map_err(|error| Failure::from(error).settled()),
            Some(answer) => answer.map_err(|error| Failure::from(error).in_doubt()),
            None if is_read => Err(no_answer()),
            None => Err(store::Error::Ambiguous("no answer in time".into())),
        }
    }

    async fn once(
        &self,
        text: &Text,
        args: Args<'_>,
        want: Want,
    ) -> Result<(Vec<Row>, u64), sqlx::Error> {
        if !text.then.is_empty() {
            return self.whole(text, args).await;
        }
        let mut held = self.held().await?;
        let answer = held.one(text, args, want).await?;
        held.open = false;
        Ok(answer)
    }

    /// A statement of several steps, which needs a transaction.
    async fn whole(&self, text: &Text, args: Args<'_>) -> Result<(Vec<Row>, u64), sqlx::Error> {
        let mut tx = self.try_begin().await?;
        match tx.steps(text, args).await {
            Ok(answer) => {
                tx.run_raw("COMMIT").await?;
                tx.open = false;
                Ok(answer)
            }
            Err(error) => {
                tx.roll_back().await;
                Err(error)
            }
        }
    }

    pub(super) async fn close(&self) {
        match &self.connections {
            Connections::Sqlite(pool) => pool.close().await,
            Connections::Postgres(pool) => pool.close().await,
            Connections::MariaDb(pool, _) => pool.close().await,
        }
    }
}

impl Tx {
    /// The rows that a statement answers with.
    pub(super) async fn rows(
        &mut self,
        statement: &Statement,
        args: Args<'_>,
    ) -> Result<Vec<Row>, Failure> {
        let text = statement.text(self.session.dialect());
        Ok(self.all(text, args, Want::Rows).await?.0)
    }

    /// How many rows a statement changed.
    pub(super) async fn write(
        &mut self,
        statement: &Statement,
        args: Args<'_>,
    ) -> Result<u64, Failure> {
        let text = statement.text(self.session.dialect());
        Ok(self.all(text, args, Want::Count).await?.1)
    }

    /// The same of an insert that changes nothing when a key of it is taken. MariaDB counts what it left alone as changed, so
    /// there the insert fails; nothing of it stands, and the transaction goes on.
    pub(super) async fn write_if_free(
        &mut self,
        statement: &Statement,
        args: Args<'_>,
    ) -> Result<u64, Failure> {
        match self.write(statement, args).await {
            Err(Failure::Driver(error))
                if self.dialect() == Dialect::MariaDb && is_taken(&error) =>
            {
                Ok(0)
            }
            answer => answer,
        }
    }

    async fn all(
        &mut self,
        text: &Text,
        args: Args<'_>,
        want: Want,
    ) -> Result<(Vec<Row>, u64), sqlx::Error> {
        if text.then.is_empty() {
            self.one(text, args, want).await
        } else {
            self.steps(text, args).await
        }
    }

    async fn one(
        &mut self,
        text: &Text,
        args: Args<'_>,
        want: Want,
    ) -> Result<(Vec<Row>, u64), sqlx::Error> {
        let text = &*admit(&self.gate, text).await;
        Ok(match want {
            Want::Rows => (self.session.rows(text, args).await?, 0),
            Want::Count => (Vec::new(), self.session.write(text, args).await?),
        })
    }

    /// The steps of one statement: see [`Text::is_guard`].
    async fn steps(&mut self, text: &Text, args: Args<'_>) -> Result<(Vec<Row>, u64), sqlx::Error> {
        let (mut rows, mut count) = (Vec::new(), 0);
        for step in std::iter::once(text).chain(&text.then) {
            let found = if step.answers() {
                rows = self.one(step, args, Want::Rows).await?.0;
                !rows.is_empty()
            } else {
                count = self.one(step, args, Want::Count).await?.1;
                count > 0
            };
            if step.is_guard() && !found {
                return Ok((Vec::new(), 0));
            }
        }
        Ok((rows, count))
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.session.dialect()
    }

    async fn run_raw(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let sql = admit_raw(&self.gate, sql).await;
        self.session.run_raw(&sql).await
    }

    /// Ends the transaction as its body says; any error of the body, or none in time, rolls it back.
    pub(super) async fn settle<T>(
        mut self,
        body: Option<Result<Verdict<T>, Failure>>,
        around: &Around,
    ) -> Result<T, store::Error> {
        let (space, commits) = (
            Arc::clone(&self.space),
            !matches!(body, Some(Ok(Verdict::Rollback(_)))),
        );
        let ended = self.end(body, around).await;
        if commits {
            space.note(&ended);
        }
        ended
    }

    async fn end<T>(
        &mut self,
        body: Option<Result<Verdict<T>, Failure>>,
        around: &Around,
    ) -> Result<T, store::Error> {
        match body {
            Some(Ok(Verdict::Commit(answer))) => {
                failpoint::reach(around.written);
                match within(CALL_TIMEOUT, self.run_raw("COMMIT")).await {
                    Some(Ok(())) => {
                        failpoint::reach(around.committed);
                        self.open = false;
                        Ok(answer)
                    }
                    Some(Err(error)) => Err(Failure::from(error).in_doubt()),
                    None => Err(store::Error::Ambiguous("no answer in time".into())),
                }
            }
            Some(Ok(Verdict::Rollback(answer))) => {
                self.roll_back().await;
                Ok(answer)
            }
            Some(Err(failure)) => {
                self.roll_back().await;
                Err(failure.settled())
            }
            // In the middle of a statement: the session is of no use any more.
            None => Err(no_answer()),
        }
    }

    async fn roll_back(&mut self) {
        let answer = within(CALL_TIMEOUT, self.run_raw("ROLLBACK")).await;
        self.open = !matches!(answer, Some(Ok(())));
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if self.open {
            match &mut self.session {
                Session::Sqlite(connection) => connection.close_on_drop(),
                Session::Postgres(connection) => connection.close_on_drop(),
                Session::MariaDb(connection) => connection.close_on_drop(),
                Session::OwnSqlite(_) | Session::OwnPostgres(_) | Session::OwnMariaDb(_) => {}
            }
        }
    }
}

/// How a transaction begins. MariaDB's sessions are told their isolation once.
const fn begin(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "BEGIN IMMEDIATE",
        Dialect::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        Dialect::MariaDb => "BEGIN",
    }
}

pub(super) fn no_answer() -> store::Error {
    store::Error::Unreachable("no answer in time (setting `store`)".into())
}

/// How often a transaction was tried.
#[derive(Debug, Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// The answer, or `None` after a wait when the transaction is to be made again.
    pub(super) async fn judge<T>(
        &mut self,
        answer: Result<T, store::Error>,
        random: &Random,
    ) -> Option<Result<T, store::Error>> {
        self.0 += 1;
        if self.0 >= TRIES_MAX || !answer.as_ref().is_err_and(store::Error::is_contended) {
            return Some(answer);
        }
        let whole = RETRY_WAIT * (1 << self.0);
        let jitter = random.below(u64::try_from(whole.as_millis()).unwrap_or(0));
        pause(Duration::from_millis(jitter)).await;
        None
    }
}

/// Runs a body inside a transaction of a pool, whole and again where the database asks for that. The body is an
/// expression over the named transaction that gives a future of `Result<Verdict<T>, Failure>`. The failpoints around it
/// are named with it, so that no transaction is without.
macro_rules! transaction {
    ($around:expr, $pool:expr, $random:expr, $tx:ident => $body:expr) => {{
        campanile_core::failpoint::reach($around.before);
        let mut tries = $crate::sql::connection::Tries::default();
        loop {
            let answer = match $pool.begin().await {
                Ok(mut owned) => {
                    let body = {
                        let $tx = &mut owned;
                        campanile_core::system::within(
                            campanile_core::port::store::CALL_TIMEOUT,
                            $body,
                        )
                        .await
                    };
                    owned.settle(body, &$around).await
                }
                Err(error) => Err(error),
            };
            if let Some(answer) = tries.judge(answer, $random).await {
                break answer;
            }
        }
    }};
}
pub(super) use transaction;
