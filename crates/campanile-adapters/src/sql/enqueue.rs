//! Enqueue in a transaction of a program's own: the one statement that leaves a request in the inbox, given to whatever
//! transaction the program has open. What is left is a run if and only if that transaction commits.

use async_trait::async_trait;
use sqlx::{Database, MySql, Postgres, Sqlite, Transaction};

/// The statement. A program in any other language sends the same, with the placeholder in its driver's way; what the request
/// may say is in `docs/guide/enqueue.md`.
pub const LEAVE: &str = "INSERT INTO campanile_inbox (request) VALUES ($1) RETURNING id";

/// The same with MariaDB's placeholder.
const LEAVE_IN_MARIADB: &str = "INSERT INTO campanile_inbox (request) VALUES (?) RETURNING id";

mod sealed {
    /// Databases that have our tables.
    pub trait Ours {}
    impl Ours for sqlx::Sqlite {}
    impl Ours for sqlx::Postgres {}
    impl Ours for sqlx::MySql {}
}

/// A database in which Campanile's tables can be: SQLite, PostgreSQL or MariaDB.
#[async_trait]
pub trait Inbox: Database + sealed::Ours {
    /// Leaves a request inside this transaction, and answers its row's number.
    ///
    /// # Errors
    /// The database's.
    async fn leave(
        transaction: &mut Transaction<'_, Self>,
        request: &str,
    ) -> Result<i64, sqlx::Error>;
}

/// The same text for each: bounds that say it once for all databases are longer than what they save.
macro_rules! inbox_in {
    ($($database:ty: $leave:expr),+) => {$(
        #[async_trait]
        impl Inbox for $database {
            async fn leave(
                transaction: &mut Transaction<'_, Self>,
                request: &str,
            ) -> Result<i64, sqlx::Error> {
                let left = sqlx::query_scalar($leave).bind(request);
                left.fetch_one(&mut **transaction).await
            }
        }
    )+};
}

inbox_in!(Sqlite: LEAVE, Postgres: LEAVE, MySql: LEAVE_IN_MARIADB);
