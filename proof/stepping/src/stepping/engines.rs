//! The databases under the stores: how each is started and emptied, and how one asks it which sessions wait for which.
//! Whoever adds a database adds an [`Engine`] and one line in `mod.rs`.

use async_trait::async_trait;
use campanile_core::decide::permits::Blocked;
use campanile_core::id::RunId;
use campanile_core::task::QueueName;
use campanile_schedule::time::Timestamp;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection};
use std::collections::BTreeSet;
use std::sync::Arc;
use xtask::servers::{Postgres, TempDir};

/// The tables that a scene changes.
pub(super) const TABLES: &[&str] = &[
    "leader",
    "task",
    "task_label",
    "pause",
    "answered",
    "calendar",
    "setting",
    "due",
    "run",
    "chain",
    "run_history",
    "run_spec",
    "run_attempt",
    "run_log",
    "run_chunk",
    "inbox",
    "inbox_settled",
    "submission",
    "run_key",
    "outbox",
    "node",
    "node_name",
    "permit",
    "blocked",
    "concurrency_limit",
    "deletion",
    "quarantine",
];

/// The others: names of queues, which stores remember; what no scene touches; and the audit, whose lines are never changed.
const OTHERS: &[&str] = &[
    "queue",
    "schema_version",
    "store_lock",
    "token",
    "user",
    "session",
    "audit",
    "audit_head",
    "offer",
];

/// The state before any scene: no rows, and a leader row that nobody had.
pub(super) const UNTOUCHED: &str =
    "INSERT INTO campanile_leader (id, epoch, holder, node, node_name, since, seq, edits, resign_epoch)
    VALUES (1, 0, NULL, NULL, '', NULL, 0, 0, 0)";

fn for_tables(each: impl Fn(&str) -> String) -> String {
    let each = TABLES.iter().map(|t| each(&format!("campanile_{t}")));
    each.collect::<Vec<_>>().join("; ")
}

/// Removes all rows.
fn empty() -> String {
    format!(
        "{}; {UNTOUCHED}",
        for_tables(|t| format!("DELETE FROM {t}"))
    )
}

/// Keeps all rows as they are, beside their tables.
fn keep() -> String {
    for_tables(|t| {
        format!("DROP TABLE IF EXISTS kept_{t}; CREATE TABLE kept_{t} AS SELECT * FROM {t}")
    })
}

/// Puts the kept rows in the place of all that are there.
fn restore() -> String {
    let whole = for_tables(|t| format!("DELETE FROM {t}; INSERT INTO {t} SELECT * FROM kept_{t}"));
    // The inbox's numbers are the database's own to give.
    let plain = "INTO campanile_inbox SELECT *";
    whole.replace(plain, "INTO campanile_inbox (request) SELECT request")
}

pub(super) const BLOCKED: &str =
    "SELECT limit_key, place, at, run FROM campanile_blocked ORDER BY limit_key, place, at, run";

/// A session whose statement was sent and is not done.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    /// Which session.
    pub(super) session: usize,
    /// What it sent.
    pub(super) sql: String,
    /// Whether it is inside a transaction.
    pub(super) in_tx: bool,
}

/// A database, asked from a connection of the driver's own.
#[async_trait]
pub(super) trait Engine: Send {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Where stores are opened.
    fn url(&self) -> String;
    /// Where a session opens its store.
    fn url_of(&self, _session: usize) -> String {
        self.url()
    }
    /// Runs statements in one transaction.
    async fn all_at_once(&mut self, sql: String);
    /// Whether a statement neither sees nor locks anything, so that it does not matter when it is sent.
    fn is_idle(&self, sql: &str) -> bool;

    /// Removes all rows.
    async fn empty(&mut self) {
        self.all_at_once(empty()).await;
    }

    /// Keeps all rows for [`Self::restore`].
    async fn keep(&mut self) {
        self.all_at_once(keep()).await;
    }

    /// Goes back to the rows that were kept.
    async fn restore(&mut self) {
        self.all_at_once(restore()).await;
    }

    /// Who is blocked.
    async fn blocked(&mut self) -> Vec<Blocked>;
    /// How many deadlocks the database has broken.
    async fn deadlocks(&mut self) -> i64;
    /// Which of these statements wait for a lock, each with a session that has it. `holders` stand before a statement
    /// inside their transactions.
    async fn waits(&mut self, flying: &[InFlight], holders: &[usize]) -> Vec<(usize, usize)>;
}

pub(super) fn blocked_of((key, place, at, run): (String, i64, i64, i64)) -> Blocked {
    Blocked {
        key: key.parse().unwrap(),
        priority: u8::try_from(9 - place).unwrap(),
        ready_at: Timestamp::from_ms(at),
        run: RunId::from_i64(run),
        queue: QueueName::default(),
    }
}

/// SQLite: one writer at a time, for the whole file.
pub(super) struct Sqlite {
    folder: TempDir,
    driver: SqliteConnection,
}

impl Sqlite {
    pub(super) async fn start() -> Option<Self> {
        let folder = TempDir::new("stepping").unwrap();
        let url = format!("sqlite:{}", folder.join("store.db").display());
        // Its tables are made before the driver looks at it.
        super::open(&url, None).await.close().await;
        let mut driver = SqliteConnection::connect(&url).await.unwrap();
        driver.execute("PRAGMA busy_timeout = 0").await.unwrap();
        // A table that is neither put back nor known to stand would carry one walk into the next.
        let tables = "SELECT substr(name, 11) FROM sqlite_master WHERE type = 'table' AND name LIKE 'campanile@_%' ESCAPE '@'";
        let tables: Vec<String> = sqlx::query_scalar(tables)
            .fetch_all(&mut driver)
            .await
            .unwrap();
        let known = BTreeSet::from_iter(TABLES.iter().chain(OTHERS).copied());
        assert_eq!(
            tables.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            known
        );
        Some(Self { folder, driver })
    }
}

#[async_trait]
impl Engine for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite"
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.folder.join("store.db").display())
    }

    async fn all_at_once(&mut self, sql: String) {
        let whole = format!("BEGIN IMMEDIATE; {sql}; COMMIT");
        let whole = sqlx::raw_sql(sqlx::AssertSqlSafe(whole));
        self.driver.execute(whole).await.unwrap();
    }

    fn is_idle(&self, _sql: &str) -> bool {
        false
    }

    async fn blocked(&mut self) -> Vec<Blocked> {
        let rows = sqlx::query_as(BLOCKED).fetch_all(&mut self.driver).await;
        rows.unwrap().into_iter().map(blocked_of).collect()
    }

    /// One writer can't meet another.
    async fn deadlocks(&mut self) -> i64 {
        0
    }

    /// A statement that writes waits as long as another session's transaction is open. That the file's one write lock
    /// is taken is asked of the file: a writer that would not wait for it is refused.
    async fn waits(&mut self, flying: &[InFlight], holders: &[usize]) -> Vec<(usize, usize)> {
        let Some(holder) = holders.first() else {
            return Vec::new();
        };
        if self.driver.execute("BEGIN IMMEDIATE").await.is_ok() {
            self.driver.execute("ROLLBACK").await.unwrap();
            return Vec::new();
        }
        let writes = |f: &&InFlight| !f.in_tx && !f.sql.starts_with("SELECT");
        let waiting = flying.iter().filter(writes);
        waiting.map(|f| (f.session, *holder)).collect()
    }
}

/// PostgreSQL: locks on rows, and statements that look again when the row they waited for has changed.
pub(super) struct Pg {
    _server: Arc<Postgres>,
    url: String,
    driver: PgConnection,
}

impl Pg {
    pub(super) async fn start() -> Option<Self> {
        let server = xtask::or_skip(Postgres::shared())?;
        let url = server.create_database("stepping").unwrap();
        let mut driver = PgConnection::connect(&url).await.unwrap();
        // A deadlock is found at once, so that a test that makes many of them is quick.
        let name = url.rsplit('/').next().unwrap().to_owned();
        let quick = format!("ALTER DATABASE \"{name}\" SET deadlock_timeout = '5ms'");
        let quick = sqlx::raw_sql(sqlx::AssertSqlSafe(quick));
        driver.execute(quick).await.unwrap();
        super::open(&url, None).await.close().await;
        // Plans rest on what the server believes of a table. What makes it choose the riskiest is a table in which it
        // once saw a single row; left to itself it would look at a moment of its own.
        for sql in [
            "INSERT INTO campanile_blocked VALUES ('group:g', 0, 0, 0, 0)",
            "ALTER TABLE campanile_blocked SET (autovacuum_enabled = off)",
            "ANALYZE campanile_blocked",
            "DELETE FROM campanile_blocked",
        ] {
            driver.execute(sql).await.unwrap();
        }
        Some(Self {
            _server: server,
            url,
            driver,
        })
    }
}

#[async_trait]
impl Engine for Pg {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    async fn all_at_once(&mut self, sql: String) {
        // Statements that are sent as one are one transaction.
        let whole = sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
        self.driver.execute(whole).await.unwrap();
    }

    /// A transaction that is READ COMMITTED sees nothing before its first statement.
    fn is_idle(&self, sql: &str) -> bool {
        sql.starts_with("BEGIN")
    }

    async fn restore(&mut self) {
        // Its numbers are the database's to give, unless one insists.
        let plain = "INTO campanile_quarantine SELECT";
        let kept = "INTO campanile_quarantine OVERRIDING SYSTEM VALUE SELECT";
        self.all_at_once(restore().replace(plain, kept)).await;
    }

    async fn blocked(&mut self) -> Vec<Blocked> {
        let widened = BLOCKED.replace("place,", "place::bigint,");
        let rows = sqlx::query_as(sqlx::AssertSqlSafe(widened));
        let rows = rows.fetch_all(&mut self.driver).await;
        rows.unwrap().into_iter().map(blocked_of).collect()
    }

    async fn deadlocks(&mut self) -> i64 {
        let asked = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        sqlx::query_scalar(asked)
            .fetch_one(&mut self.driver)
            .await
            .unwrap()
    }

    /// The server says who waits for whom. Locks are handed on before a commit is answered, so what it says after an
    /// answer is no older than that answer.
    async fn waits(&mut self, _flying: &[InFlight], _holders: &[usize]) -> Vec<(usize, usize)> {
        let rows = sqlx::query(
            "SELECT a.application_name, b.application_name FROM pg_stat_activity AS a
             CROSS JOIN LATERAL unnest(pg_blocking_pids(a.pid)) AS p JOIN pg_stat_activity AS b ON b.pid = p
             WHERE a.datname = current_database() AND a.wait_event_type = 'Lock'",
        );
        let rows = rows.fetch_all(&mut self.driver).await.unwrap();
        let session = |name: String| name.strip_prefix("campanile:s")?.parse::<usize>().ok();
        rows.iter()
            .filter_map(|row| Some((session(row.get(0))?, session(row.get(1))?)))
            .collect()
    }
}
