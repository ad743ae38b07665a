//! One connection: a statement and its arguments as each driver wants them, and the rows that come back. It knows no
//! transaction and no pool's purpose; those are [`super::connection`]'s.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{
    Column as _, Connection as _, Executor as _, Postgres, Row as _, Sqlite, TypeInfo as _,
    ValueRef as _,
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
    /// Of its own, outside every pool.
    OwnSqlite(Box<sqlx::SqliteConnection>),
    OwnPostgres(Box<sqlx::PgConnection>),
}

impl Session {
    pub(super) const fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) | Self::OwnSqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) | Self::OwnPostgres(_) => Dialect::Postgres,
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
        }
    }

    /// Takes leave of the database, as far as it listens.
    pub(super) async fn close(self) {
        let _ = match self {
            Self::Sqlite(c) => c.close().await,
            Self::Postgres(c) => c.close().await,
            Self::OwnSqlite(c) => c.close().await,
            Self::OwnPostgres(c) => c.close().await,
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
    let cell = |row: &SqliteRow, at: usize| {
        let kind = {
            let raw = row.try_get_raw(at)?;
            if raw.is_null() {
                return Ok(Value::Null);
            }
            match raw.type_info().name() {
                "TEXT" => Kind::Text,
                "BLOB" => Kind::Bytes,
                _ => Kind::Wide,
            }
        };
        match kind {
            Kind::Text => row.try_get_unchecked(at).map(Value::Text),
            Kind::Bytes => row.try_get_unchecked(at).map(Value::Bytes),
            _ => row.try_get_unchecked(at).map(Value::Int),
        }
    };
    let read = |row: &SqliteRow| {
        let cells = (0..row.len()).map(|at| cell(row, at));
        cells.collect::<Result<Vec<_>, sqlx::Error>>().map(Row::new)
    };
    rows.iter().map(read).collect()
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
    let cell = |row: &PgRow, at: usize, kind: Kind| {
        let cell = match kind {
            Kind::Wide => row.try_get_unchecked::<Option<i64>, _>(at)?.map(Value::Int),
            Kind::Middle => {
                let n = row.try_get_unchecked::<Option<i32>, _>(at)?;
                n.map(|n| Value::Int(n.into()))
            }
            Kind::Narrow => {
                let n = row.try_get_unchecked::<Option<i16>, _>(at)?;
                n.map(|n| Value::Int(n.into()))
            }
            Kind::Bytes => row.try_get_unchecked::<Option<_>, _>(at)?.map(Value::Bytes),
            Kind::Text => row.try_get_unchecked::<Option<_>, _>(at)?.map(Value::Text),
        };
        Ok(cell.unwrap_or(Value::Null))
    };
    let read = |row: &PgRow| {
        let cells = kinds.iter().enumerate();
        let cells = cells.map(|(at, kind)| cell(row, at, *kind));
        cells.collect::<Result<Vec<_>, sqlx::Error>>().map(Row::new)
    };
    rows.iter().map(read).collect()
}
