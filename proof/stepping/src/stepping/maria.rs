//! MariaDB under the stores: how it is emptied and put back, and how one asks it which sessions wait. Its sessions have no
//! names, so each has a user of its own.

use std::sync::Arc;

use async_trait::async_trait;
use campanile_core::decide::permits::Blocked;
use sqlx::{Connection as _, Executor as _, MySqlConnection, Row as _};
use xtask::servers::MariaDb;

use super::engines::{BLOCKED, Engine, InFlight, TABLES, UNTOUCHED, blocked_of};

/// A table that programs of before had, and a store on MariaDB never.
const NEVER_THERE: &str = "submission";

/// MariaDB: locks on rows, and statements that see what was committed before each of them.
pub(super) struct Maria {
    _server: Arc<MariaDb>,
    url: String,
    driver: MySqlConnection,
    /// Tables, each with its columns less those that are made of others.
    tables: Vec<(String, String)>,
}

impl Maria {
    pub(super) async fn start() -> Option<Self> {
        let server = xtask::or_skip(MariaDb::shared())?;
        let url = server.create_database("stepping").unwrap();
        super::open(&url, None).await.close().await;
        let engine = Self {
            driver: MySqlConnection::connect(&url).await.unwrap(),
            _server: Arc::clone(&server),
            tables: Vec::new(),
            url,
        };
        for session in 0..super::driver::SESSIONS {
            let user = engine.user(session);
            let made = format!("CREATE USER '{user}'@'%'; GRANT ALL ON *.* TO '{user}'@'%'");
            server.sql(&made).unwrap();
        }
        Some(engine.knowing_tables().await)
    }

    async fn knowing_tables(mut self) -> Self {
        for table in TABLES.iter().filter(|table| **table != NEVER_THERE) {
            let table = format!("campanile_{table}");
            let columns: String = sqlx::query_scalar(
                "SELECT GROUP_CONCAT(column_name ORDER BY ordinal_position) FROM information_schema.columns
                 WHERE table_schema = DATABASE() AND table_name = ? AND is_generated = 'NEVER'",
            )
            .bind(&table)
            .fetch_one(&mut self.driver)
            .await
            .unwrap();
            self.tables.push((table, columns));
        }
        self
    }

    fn user(&self, session: usize) -> String {
        let (_, database) = self.url.rsplit_once("/t_stepping_").unwrap();
        format!("s{session}_{database}")
    }

    fn for_tables(&self, each: impl Fn(&str, &str) -> String) -> String {
        let each = self
            .tables
            .iter()
            .map(|(table, columns)| each(table, columns));
        each.collect::<Vec<_>>().join("; ")
    }

    async fn status(&mut self) -> String {
        let rows = self.driver.fetch_one("SHOW ENGINE INNODB STATUS").await;
        rows.unwrap().get(2)
    }
}

#[async_trait]
impl Engine for Maria {
    fn name(&self) -> &'static str {
        "MariaDB"
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    fn url_of(&self, session: usize) -> String {
        self.url
            .replace("//root@", &format!("//{}@", self.user(session)))
    }

    async fn all_at_once(&mut self, sql: String) {
        let whole = format!("BEGIN; {sql}; COMMIT");
        let whole = sqlx::raw_sql(sqlx::AssertSqlSafe(whole));
        self.driver.execute(whole).await.unwrap();
    }

    /// A transaction that is READ COMMITTED sees nothing before its first statement.
    fn is_idle(&self, sql: &str) -> bool {
        sql.starts_with("BEGIN")
    }

    async fn empty(&mut self) {
        let all = self.for_tables(|table, _| format!("DELETE FROM {table}"));
        self.all_at_once(format!("{all}; {UNTOUCHED}")).await;
    }

    async fn keep(&mut self) {
        let all = self.for_tables(|t, columns| {
            format!(
                "DROP TABLE IF EXISTS kept_{t}; CREATE TABLE kept_{t} AS SELECT {columns} FROM {t}"
            )
        });
        self.all_at_once(all).await;
    }

    async fn restore(&mut self) {
        let all = self.for_tables(|t, columns| {
            format!("DELETE FROM {t}; INSERT INTO {t} ({columns}) SELECT {columns} FROM kept_{t}")
        });
        self.all_at_once(all).await;
    }

    async fn blocked(&mut self) -> Vec<Blocked> {
        let widened = BLOCKED
            .replace("place,", "CAST(place AS SIGNED),")
            .replacen(
                "ORDER BY limit_key, CAST(place AS SIGNED),",
                "ORDER BY limit_key, place,",
                1,
            );
        let rows = sqlx::query_as(sqlx::AssertSqlSafe(widened));
        let rows = rows.fetch_all(&mut self.driver).await;
        rows.unwrap().into_iter().map(blocked_of).collect()
    }

    async fn deadlocks(&mut self) -> i64 {
        let row = self
            .driver
            .fetch_one("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
            .await;
        row.unwrap().get::<String, _>(1).parse().unwrap()
    }

    /// The server says who waits, in a report that is as of now; its tables of waits are up to a tenth of a second old.
    /// It doesn't say for whom: those that wait for others that wait are told apart by nobody, and in the end all of them
    /// wait for one that stands.
    async fn waits(&mut self, flying: &[InFlight], holders: &[usize]) -> Vec<(usize, usize)> {
        if holders.is_empty() {
            return Vec::new();
        }
        let status = self.status().await;
        let waiting: Vec<&str> = status
            .split("---TRANSACTION")
            .filter(|part| part.contains("\nLOCK WAIT"))
            .collect();
        let waits = |f: &&InFlight| {
            let user = format!(" {} ", self.user(f.session));
            waiting.iter().any(|part| part.contains(&user))
        };
        let waiting = flying.iter().filter(waits).map(|f| f.session);
        let pairs = waiting.flat_map(|waiter| holders.iter().map(move |holder| (waiter, *holder)));
        pairs.collect()
    }
}
