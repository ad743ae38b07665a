//! One connection: a statement and its arguments as each driver wants them, and the rows that come back. It knows no
//! transaction and no pool's purpose; those are [`super::connection`]'s.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgValueRef;
use sqlx::sqlite::SqliteValueRef;
use sqlx::{
    Column as _, Connection as _, Database, Decode, Executor as _, MySql, Postgres, Row as _,
    Sqlite, TypeInfo as _, ValueRef as _,
};

use super::dialect::Dialect;
use super::statement::Text;
use super::value::{Arg, Args, Column, Row, Value};

/// Statements that this process sent, `BEGIN` and `COMMIT` included.
static STATEMENTS: AtomicU64 = AtomicU64::new(0);

/// How many statements this process has sent to its databases: for benchmarks.
#[must_use]
pub fn statements() -> u64 {
    STATEMENTS.load(Ordering::Relaxed)
}

/// One connection, for as long as it is held.
pub(super) enum Session {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
    MariaDb(PoolConnection<MySql>),
    /// Of its own, outside every pool.
    OwnSqlite(Box<sqlx::SqliteConnection>),
    OwnPostgres(Box<sqlx::PgConnection>),
    OwnMariaDb(Box<sqlx::MySqlConnection>),
}

impl Session {
    pub(super) const fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) | Self::OwnSqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) | Self::OwnPostgres(_) => Dialect::Postgres,
            Self::MariaDb(_) | Self::OwnMariaDb(_) => Dialect::MariaDb,
        }
    }

    pub(super) async fn rows(
        &mut self,
        text: &Text,
        args: Args<'_>,
    ) -> Result<Vec<Row>, sqlx::Error> {
        STATEMENTS.fetch_add(1, Ordering::Relaxed);
        match self {
            Self::Sqlite(c) => sqlite_rows(c, text, args).await,
            Self::OwnSqlite(c) => sqlite_rows(c, text, args).await,
            Self::Postgres(c) => postgres_rows(c, text, args).await,
            Self::OwnPostgres(c) => postgres_rows(c, text, args).await,
            Self::MariaDb(c) => mariadb_rows(c, text, args).await,
            Self::OwnMariaDb(c) => mariadb_rows(c, text, args).await,
        }
    }

    pub(super) async fn write(&mut self, text: &Text, args: Args<'_>) -> Result<u64, sqlx::Error> {
        STATEMENTS.fetch_add(1, Ordering::Relaxed);
        match self {
            Self::Sqlite(c) => Ok(sqlite_query(text, args)?
                .execute(&mut **c)
                .await?
                .rows_affected()),
            Self::OwnSqlite(c) => Ok(sqlite_query(text, args)?
                .execute(&mut **c)
                .await?
                .rows_affected()),
            Self::Postgres(c) => Ok(postgres_query(text, args)?
                .execute(&mut **c)
                .await?
                .rows_affected()),
            Self::OwnPostgres(c) => Ok(postgres_query(text, args)?
                .execute(&mut **c)
                .await?
                .rows_affected()),
            Self::MariaDb(c) => mariadb_write(c, text, args).await,
            Self::OwnMariaDb(c) => mariadb_write(c, text, args).await,
        }
    }

    /// Statements without parameters, several at once if need be.
    pub(super) async fn run_raw(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        STATEMENTS.fetch_add(1, Ordering::Relaxed);
        let sql = || sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
        match self {
            Self::Sqlite(c) => c.execute(sql()).await.map(drop),
            Self::OwnSqlite(c) => c.execute(sql()).await.map(drop),
            Self::Postgres(c) => c.execute(sql()).await.map(drop),
            Self::OwnPostgres(c) => c.execute(sql()).await.map(drop),
            Self::MariaDb(c) => c.execute(sql()).await.map(drop),
            Self::OwnMariaDb(c) => c.execute(sql()).await.map(drop),
        }
    }

    /// Takes leave of the database, as far as it listens.
    pub(super) async fn close(self) {
        let _ = match self {
            Self::Sqlite(c) => c.close().await,
            Self::Postgres(c) => c.close().await,
            Self::OwnSqlite(c) => c.close().await,
            Self::OwnPostgres(c) => c.close().await,
            Self::MariaDb(c) => c.close().await,
            Self::OwnMariaDb(c) => c.close().await,
        };
    }
}

type SqliteQuery = sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments>;
type PostgresQuery = sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments>;

fn arg<'a>(args: Args<'a>, name: &str) -> Result<&'a Arg, sqlx::Error> {
    args.iter()
        .find(|(known, _)| *known == name)
        .map(|(_, arg)| arg)
        .ok_or_else(|| {
            sqlx::Error::InvalidArgument(format!("the statement's parameter {name} was not given"))
        })
}

fn sqlite_query(text: &Text, args: Args<'_>) -> Result<SqliteQuery, sqlx::Error> {
    let mut query = sqlx::query(sqlx::AssertSqlSafe(text.sql.clone()));
    for name in &text.params {
        query = match arg(args, name)? {
            Arg::Int(n) => query.bind(*n),
            Arg::Text(text) => query.bind(text.clone()),
            Arg::Bytes(bytes) => query.bind(bytes.clone()),
            Arg::Table(table) => query.bind(table.to_json()),
        };
    }
    Ok(query)
}

fn postgres_query(text: &Text, args: Args<'_>) -> Result<PostgresQuery, sqlx::Error> {
    let mut query = sqlx::query(sqlx::AssertSqlSafe(text.sql.clone()));
    for name in &text.params {
        match arg(args, name)? {
            Arg::Int(n) => query = query.bind(*n),
            Arg::Text(text) => query = query.bind(text.as_str()),
            Arg::Bytes(bytes) => query = query.bind(bytes.as_slice()),
            Arg::Table(table) => {
                for column in &table.0 {
                    query = match column {
                        Column::Ints(cells) => query.bind(cells.as_slice()),
                        Column::Texts(cells) => query.bind(cells.as_slice()),
                    };
                }
            }
        }
    }
    Ok(query)
}

async fn sqlite_rows(
    connection: &mut sqlx::SqliteConnection,
    text: &Text,
    args: Args<'_>,
) -> Result<Vec<Row>, sqlx::Error> {
    let rows = sqlite_query(text, args)?.fetch_all(connection).await?;
    let mut read = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut cells = Vec::with_capacity(row.len());
        for at in 0..row.len() {
            cells.push(sqlite_cell(row.try_get_raw(at)?)?);
        }
        read.push(Row::new(cells));
    }
    Ok(read)
}

/// Each cell has a type of its own there.
fn sqlite_cell(raw: SqliteValueRef<'_>) -> Result<Value, sqlx::Error> {
    if raw.is_null() {
        return Ok(Value::Null);
    }
    match raw.type_info().name() {
        "TEXT" => decoded::<Sqlite, _>(raw).map(Value::Text),
        "BLOB" => decoded::<Sqlite, _>(raw).map(Value::Bytes),
        _ => decoded::<Sqlite, _>(raw).map(Value::Int),
    }
}

fn decoded<'r, DB: Database, T: Decode<'r, DB>>(raw: DB::ValueRef<'r>) -> Result<T, sqlx::Error> {
    T::decode(raw).map_err(sqlx::Error::Decode)
}

/// What a cell holds.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Wide,
    Middle,
    Narrow,
    Bytes,
    Text,
}

impl Kind {
    /// By PostgreSQL's name of it.
    fn named(name: &str) -> Self {
        match name {
            "INT8" => Self::Wide,
            "INT4" => Self::Middle,
            "INT2" => Self::Narrow,
            "BYTEA" => Self::Bytes,
            _ => Self::Text,
        }
    }
}

async fn postgres_rows(
    connection: &mut sqlx::PgConnection,
    text: &Text,
    args: Args<'_>,
) -> Result<Vec<Row>, sqlx::Error> {
    let rows = postgres_query(text, args)?.fetch_all(connection).await?;
    let Some(first) = rows.first() else {
        return Ok(Vec::new());
    };
    // Of all rows of an answer the same.
    let columns = first.columns().iter();
    let kinds: Vec<Kind> = columns
        .map(|column| Kind::named(column.type_info().name()))
        .collect();
    let mut read = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut cells = Vec::with_capacity(kinds.len());
        for (at, kind) in kinds.iter().enumerate() {
            cells.push(postgres_cell(row.try_get_raw(at)?, *kind)?);
        }
        read.push(Row::new(cells));
    }
    Ok(read)
}

fn postgres_cell(raw: PgValueRef<'_>, kind: Kind) -> Result<Value, sqlx::Error> {
    if raw.is_null() {
        return Ok(Value::Null);
    }
    match kind {
        Kind::Wide => decoded::<Postgres, _>(raw).map(Value::Int),
        Kind::Middle => decoded::<Postgres, i32>(raw).map(|n| Value::Int(n.into())),
        Kind::Narrow => decoded::<Postgres, i16>(raw).map(|n| Value::Int(n.into())),
        Kind::Bytes => decoded::<Postgres, _>(raw).map(Value::Bytes),
        Kind::Text => decoded::<Postgres, _>(raw).map(Value::Text),
    }
}

fn mariadb_query(
    text: &Text,
    args: Args<'_>,
) -> Result<sqlx::query::Query<'static, MySql, sqlx::mysql::MySqlArguments>, sqlx::Error> {
    let mut query = sqlx::query(sqlx::AssertSqlSafe(text.sql.clone()));
    for name in &text.params {
        query = match arg(args, name)? {
            Arg::Int(n) => query.bind(*n),
            Arg::Text(text) => query.bind(text.as_str()),
            Arg::Bytes(bytes) => query.bind(bytes.as_slice()),
            Arg::Table(table) => query.bind(table.to_json()),
        };
    }
    Ok(query)
}

async fn mariadb_write(
    connection: &mut sqlx::MySqlConnection,
    text: &Text,
    args: Args<'_>,
) -> Result<u64, sqlx::Error> {
    let done = mariadb_query(text, args)?.execute(connection).await?;
    Ok(done.rows_affected())
}

async fn mariadb_rows(
    connection: &mut sqlx::MySqlConnection,
    text: &Text,
    args: Args<'_>,
) -> Result<Vec<Row>, sqlx::Error> {
    let rows = mariadb_query(text, args)?.fetch_all(connection).await?;
    let Some(first) = rows.first() else {
        return Ok(Vec::new());
    };
    // Texts of our columns are told from bytes by nothing.
    let is_number = |name: &str| name.contains("INT") || name == "BOOLEAN";
    let columns = first.columns().iter();
    let numbers: Vec<bool> = columns
        .map(|column| is_number(column.type_info().name()))
        .collect();
    let mut read = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut cells = Vec::with_capacity(numbers.len());
        for (at, is_number) in numbers.iter().enumerate() {
            let raw = row.try_get_raw(at)?;
            cells.push(match (raw.is_null(), is_number) {
                (true, _) => Value::Null,
                (false, true) => decoded::<MySql, _>(raw).map(Value::Int)?,
                (false, false) => decoded::<MySql, _>(raw).map(Value::Bytes)?,
            });
        }
        read.push(Row::new(cells));
    }
    Ok(read)
}
