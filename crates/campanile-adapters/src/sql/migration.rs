//! How a database gets our tables: an ordered list of migrations, each in a transaction of its own, under a lock, with
//! its checksum recorded. Old ones are never edited. A store that a newer program has changed is refused, and so is a
//! database with tables of our names that we did not make.

use super::dialect::Dialect;
use super::error::OpenError;
use super::session::Session;
use super::statement::{Statement, Text};
use super::value::Row;

/// One step of the schema, as `migrate --dry-run` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its place in the order, from 1.
    pub version: i64,
    /// What it is called.
    pub name: &'static str,
    /// What the database is sent.
    pub sql: String,
}

/// All of them, oldest first. What rows hold in a form that the release before can't read (a field of a definition, say)
/// wants one too, if only an empty one: by it older nodes know that they are outdated, and leave such rows alone.
const MIGRATIONS: &[(&str, &str)] = &[
    ("first", include_str!("migrations/0001_first.sql")),
    ("permits", include_str!("migrations/0002_permits.sql")),
    (
        "former-tasks",
        include_str!("migrations/0003_former_tasks.sql"),
    ),
    ("run-rules", include_str!("migrations/0004_run_rules.sql")),
    ("run-keys", include_str!("migrations/0005_run_keys.sql")),
    ("quarantine", include_str!("migrations/0006_quarantine.sql")),
    (
        "node-abilities",
        include_str!("migrations/0007_node_abilities.sql"),
    ),
    (
        "attempt-class",
        include_str!("migrations/0008_attempt_class.sql"),
    ),
    ("owners", include_str!("migrations/0009_owners.sql")),
    ("answered", include_str!("migrations/0010_answered.sql")),
];

/// Serializes migrations on PostgreSQL: any number will do, as long as it is always this one.
const ADVISORY_LOCK: i64 = 0x0063_616d_7061_6e69;

/// Where the applied migrations are written down.
const TABLE: &str = "CREATE TABLE schema_version (
    version BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at BIGINT NOT NULL
)";

/// Tables of ours, or of somebody who uses our names.
static TABLES: Statement = Statement::differs(
    "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
    "SELECT CAST(tablename AS TEXT) FROM pg_catalog.pg_tables WHERE schemaname = current_schema() ORDER BY tablename",
);

/// What was applied, in order.
static APPLIED: Statement =
    Statement::new("SELECT version, checksum FROM schema_version ORDER BY version");

/// Writes one down.
static RECORD: Statement = Statement::new(
    "INSERT INTO schema_version (version, name, checksum, applied_at) VALUES (:version, :name, :checksum, @now)",
);

/// The newest version that this program knows.
pub(super) fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn all(dialect: Dialect) -> impl Iterator<Item = Migration> {
    (1..)
        .zip(MIGRATIONS)
        .map(move |(version, (name, template))| Migration {
            version,
            name,
            sql: Text::render(template, dialect).sql.to_string(),
        })
}

/// Whether a table of this name would be ours.
fn is_ours(table: &str) -> bool {
    MIGRATIONS
        .iter()
        .flat_map(|(_, sql)| sql.lines())
        .filter_map(|line| line.strip_prefix("CREATE TABLE "))
        .any(|rest| rest.split(' ').next() == Some(table))
}

/// FNV-1a of the text: tells an edited migration from the one that was applied.
fn checksum(sql: &str) -> String {
    let hash = sql.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// What a store still lacks, and the version that it has.
pub(super) async fn pending(session: &mut Session) -> Result<(Vec<Migration>, i64), Broken> {
    let dialect = session.dialect();
    let tables = column(session.rows(TABLES.text(dialect), &[]).await?)?;
    if !tables.iter().any(|name| name == "schema_version") {
        return match tables.into_iter().find(|name| is_ours(name)) {
            Some(table) => Err(Broken::Refused(OpenError::Foreign { table })),
            None => Ok((all(dialect).collect(), 0)),
        };
    }
    let mut version = 0;
    for mut row in session.rows(APPLIED.text(dialect), &[]).await? {
        let (found, applied) = (row.int("schema_version")?, row.text("schema_version")?);
        if found > known() {
            return Err(Broken::Refused(OpenError::Newer {
                found,
                known: known(),
            }));
        }
        if let Some(ours) = all(dialect).find(|m| m.version == found && checksum(&m.sql) != applied)
        {
            return Err(Broken::Refused(OpenError::Changed {
                version: found,
                name: ours.name.to_owned(),
            }));
        }
        version = found;
    }
    Ok((
        all(dialect).filter(|m| m.version > version).collect(),
        version,
    ))
}

fn column(rows: Vec<Row>) -> Result<Vec<String>, campanile::port::store::Error> {
    rows.into_iter().map(|mut row| row.text("schema")).collect()
}

/// Applies what a store lacks.
pub(super) async fn migrate(session: &mut Session) -> Result<(), Broken> {
    // One migration a round, each judged anew under the lock: another process may have been quicker.
    loop {
        let (todo, _) = pending(session).await?;
        if todo.is_empty() {
            return Ok(());
        }
        session.run_raw(begin(session.dialect())).await?;
        let outcome = next(session).await;
        session
            .run_raw(if outcome.is_ok() {
                "COMMIT"
            } else {
                "ROLLBACK"
            })
            .await?;
        outcome?;
    }
}

const fn begin(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "BEGIN EXCLUSIVE",
        Dialect::Postgres => {
            "BEGIN ISOLATION LEVEL READ COMMITTED; \
             SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0; SET LOCAL client_min_messages = warning"
        }
    }
}

async fn next(session: &mut Session) -> Result<(), Broken> {
    if session.dialect() == Dialect::Postgres {
        session
            .run_raw(&format!("SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
            .await?;
    }
    let (todo, version) = pending(session).await?;
    let Some(migration) = todo.into_iter().next() else {
        return Ok(());
    };
    let made = apply(session, &migration, version == 0).await;
    made.map_err(|source| {
        Broken::Refused(OpenError::Migration {
            version: migration.version,
            name: migration.name.to_owned(),
            source: source.into(),
        })
    })
}

async fn apply(
    session: &mut Session,
    migration: &Migration,
    fresh: bool,
) -> Result<(), sqlx::Error> {
    if fresh {
        session.run_raw(TABLE).await?;
    }
    session.run_raw(&migration.sql).await?;
    let record = RECORD.text(session.dialect());
    let args = [
        ("version", migration.version.into()),
        ("name", migration.name.into()),
        ("checksum", checksum(&migration.sql).as_str().into()),
    ];
    session.write(record, &args).await?;
    Ok(())
}

/// Why migrating stopped: the caller knows the URL and makes the rest of the sentence.
#[derive(Debug)]
pub(super) enum Broken {
    /// The store is not as we need it.
    Refused(OpenError),
    /// The database gave no proper answer.
    Driver(sqlx::Error),
    /// It answered with what we can't read.
    Answer(campanile::port::store::Error),
}

impl From<sqlx::Error> for Broken {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

impl From<campanile::port::store::Error> for Broken {
    fn from(error: campanile::port::store::Error) -> Self {
        Self::Answer(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_tables_are_known_by_name() {
        for ours in ["run", "run_history", "leader", "store_lock"] {
            assert!(is_ours(ours), "{ours}");
        }
        assert!(!is_ours("runs") && !is_ours("schema_version"));
    }

    #[test]
    fn no_mark_is_left_in_a_rendered_migration() {
        for dialect in Dialect::ALL {
            for migration in all(dialect) {
                assert!(
                    !migration.sql.contains('@'),
                    "{dialect:?} {}",
                    migration.name
                );
            }
        }
    }

    #[test]
    fn applied_migrations_keep_their_text() {
        let sums = |dialect| all(dialect).map(|m| checksum(&m.sql)).collect::<Vec<_>>();
        // A failure here means that an old migration was edited: write a new one instead.
        assert_eq!(
            sums(Dialect::Sqlite),
            [
                "ecc78def207d5a4e",
                "fc77054d623dae01",
                "eab4ebc0118e7446",
                "3f5e14e1865afdde",
                "7f874bdbb71a66c9",
                "150928d72cc62876",
                "ac5c866f98f9f7ea",
                "b980b0c2c045bd6a",
                "6c166c14ebb97931",
                "81f6f8c1c6141fb2"
            ]
        );
        assert_eq!(
            sums(Dialect::Postgres),
            [
                "9c94648775810df3",
                "e73819521c4e1ef9",
                "eab4ebc0118e7446",
                "3f5e14e1865afdde",
                "1449ae6c5e0dfeca",
                "60f81f45879500ec",
                "ac5c866f98f9f7ea",
                "b980b0c2c045bd6a",
                "27d7bf69fbf5d586",
                "81f6f8c1c6141fb2"
            ]
        );
    }
}
