//! How a database gets our tables: an ordered list of migrations, each in a transaction of its own, under a lock, with
//! its checksum recorded. Old ones are never edited. A store that a newer program has changed is refused, and so is a
//! database with tables of our names that we did not make.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use super::dialect::Dialect;
use super::error::OpenError;
use super::patience::Patience;
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
    pub sql: Arc<str>,
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
    ("results", include_str!("migrations/0011_results.sql")),
    ("inbox", include_str!("migrations/0012_inbox.sql")),
    ("words", include_str!("migrations/0013_words.sql")),
    ("submitters", include_str!("migrations/0014_submitters.sql")),
    (
        "task-labels",
        include_str!("migrations/0015_task_labels.sql"),
    ),
    ("output", include_str!("migrations/0016_output.sql")),
    ("logins", include_str!("migrations/0017_logins.sql")),
    ("hold", include_str!("migrations/0018_hold.sql")),
    ("access", include_str!("migrations/0019_access.sql")),
    ("ranges", include_str!("migrations/0020_ranges.sql")),
    ("chain", include_str!("migrations/0021_chain.sql")),
    ("offers", include_str!("migrations/0022_offers.sql")),
];

/// Serializes migrations on PostgreSQL: any number will do, as long as it is always this one.
const ADVISORY_LOCK: i64 = 0x0063_616d_7061_6e69;

/// Where the applied migrations are written down.
const TABLE: &str = "CREATE TABLE campanile_schema_version (
    version BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at BIGINT NOT NULL
)";

/// What all our tables and indexes are called by, so that they can live in a database of somebody else's.
const PREFIX: &str = "campanile_";

/// The one migration that is not written down: it renames what is there.
const ADOPTION: &str = "prefix";

/// The checksums of the migrations as they were when tables had no prefix, for SQLite and for PostgreSQL.
const BEFORE_PREFIX: [[&str; 11]; 2] = [
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
        "81f6f8c1c6141fb2",
        "45d9a32a441141bd",
    ],
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
        "81f6f8c1c6141fb2",
        "45d9a32a441141bd",
    ],
];

/// What was applied while tables had no prefix, in order.
static APPLIED_BEFORE: Statement =
    Statement::new("SELECT version, checksum FROM schema_version ORDER BY version");

/// Tables of ours, or of somebody who uses our names.
static TABLES: Statement = Statement::differs(
    "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
    "SELECT CAST(tablename AS TEXT) FROM pg_catalog.pg_tables WHERE schemaname = current_schema() ORDER BY tablename",
);

/// What was applied, in order.
static APPLIED: Statement =
    Statement::new("SELECT version, checksum FROM campanile_schema_version ORDER BY version");

/// Writes one down.
static RECORD: Statement = Statement::new(
    "INSERT INTO campanile_schema_version (version, name, checksum, applied_at) VALUES (:version, :name, :checksum, @now)",
);

/// The newest version that this program knows.
pub(super) fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// All of them as one text.
#[cfg(test)]
pub(super) fn script(dialect: Dialect) -> String {
    let texts: Vec<&str> = all(dialect).iter().map(|m| &*m.sql).collect();
    texts.join("\n")
}

/// All of them, rendered once: a store is asked again after each.
fn all(dialect: Dialect) -> &'static [Migration] {
    static ALL: [OnceLock<Vec<Migration>>; 2] = [OnceLock::new(), OnceLock::new()];
    let render = |(version, (name, template)): (i64, &(&'static str, &str))| Migration {
        version,
        name,
        sql: Text::render(template, dialect).sql,
    };
    ALL[dialect.index()].get_or_init(|| (1..).zip(MIGRATIONS).map(render).collect())
}

/// Whether a table of this name would be ours.
fn is_ours(table: &str) -> bool {
    MIGRATIONS
        .iter()
        .flat_map(|(_, sql)| sql.lines())
        .any(|line| named(line, "CREATE TABLE ") == Some(table))
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
    if !tables.iter().any(|name| name == "campanile_schema_version") {
        if let Some(found) = without_prefix(session, &tables).await? {
            let adoption = adoption(dialect, found);
            return Ok((
                std::iter::once(adoption)
                    .chain(after(dialect, found))
                    .collect(),
                found,
            ));
        }
        return match tables.into_iter().find(|name| is_ours(name)) {
            Some(table) => Err(Broken::Refused(OpenError::Foreign { table })),
            None => Ok((all(dialect).to_vec(), 0)),
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
        let ours = all(dialect).iter().find(|m| m.version == found);
        if let Some(ours) = ours.filter(|m| checksum(&m.sql) != applied) {
            return Err(Broken::Refused(OpenError::Changed {
                version: found,
                name: ours.name.to_owned(),
            }));
        }
        version = found;
    }
    Ok((after(dialect, version).collect(), version))
}

fn after(dialect: Dialect, version: i64) -> impl Iterator<Item = Migration> {
    let later = all(dialect).iter().filter(move |m| m.version > version);
    later.cloned()
}

/// The version of a store of ours whose tables still have no prefix. Tables of such names that are somebody else's are
/// left alone.
async fn without_prefix(session: &mut Session, tables: &[String]) -> Result<Option<i64>, Broken> {
    let dialect = session.dialect();
    if !["schema_version", "leader"]
        .iter()
        .all(|ours| tables.iter().any(|name| name == ours))
    {
        return Ok(None);
    }
    let known = BEFORE_PREFIX[dialect.index()];
    let Ok(rows) = session.rows(APPLIED_BEFORE.text(dialect), &[]).await else {
        return Ok(None);
    };
    let mut version = 0;
    for (mut row, ours) in rows.into_iter().zip(known) {
        let (found, applied) = (row.int("schema_version")?, row.text("schema_version")?);
        if found != version + 1 || applied != ours {
            return Ok(None);
        }
        version = found;
    }
    Ok((version > 0).then_some(version))
}

/// Gives the tables and indexes of a store of that version their prefix. It writes nothing down: the migrations behind it
/// are the same, by their present text.
fn adoption(dialect: Dialect, version: i64) -> Migration {
    let applied = || all(dialect).iter().filter(|m| m.version <= version);
    let mut sql = String::from("ALTER TABLE schema_version RENAME TO campanile_schema_version;\n");
    for line in applied().flat_map(|m| m.sql.lines()) {
        let made =
            |what| named(line, what).and_then(|name| Some((name.strip_prefix(PREFIX)?, name)));
        if let Some((old, name)) = made("CREATE TABLE ") {
            let _ = writeln!(sql, "ALTER TABLE {old} RENAME TO {name};");
        }
        if let Some((old, name)) = made("CREATE INDEX ").or_else(|| made("CREATE UNIQUE INDEX ")) {
            let _ = match dialect {
                Dialect::Sqlite => writeln!(sql, "DROP INDEX {old};\n{line}"),
                Dialect::Postgres => writeln!(sql, "ALTER INDEX {old} RENAME TO {name};"),
            };
        }
    }
    for migration in applied() {
        let (sum, version) = (checksum(&migration.sql), migration.version);
        let _ = writeln!(
            sql,
            "UPDATE campanile_schema_version SET checksum = '{sum}' WHERE version = {version};"
        );
    }
    Migration {
        version,
        name: ADOPTION,
        sql: sql.into(),
    }
}

/// The name of what a line of a migration makes, if it begins like this.
fn named<'l>(line: &'l str, what: &str) -> Option<&'l str> {
    line.strip_prefix(what)?.split(' ').next()
}

fn column(rows: Vec<Row>) -> Result<Vec<String>, campanile_core::port::store::Error> {
    rows.into_iter().map(|mut row| row.text("schema")).collect()
}

/// Applies what a store lacks.
pub(super) async fn migrate(session: &mut Session) -> Result<(), Broken> {
    // One migration a round, each judged again under the lock: another process may have been quicker.
    let mut patience = Patience::with_busy();
    loop {
        let (todo, _) = pending(session).await?;
        if todo.is_empty() {
            return Ok(());
        }
        if let Err(error) = session.run_raw(begin(session.dialect())).await {
            patience.wait(error).await?;
            continue;
        }
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

/// Makes the tables of a store that has none; a store of an earlier version is refused, unless somebody else is about to
/// make or migrate it.
pub(super) async fn make(session: &mut Session) -> Result<(), Broken> {
    let mut patience = Patience::with_older();
    loop {
        let (todo, found) = pending(session).await?;
        if todo.is_empty() || found == 0 {
            return migrate(session).await;
        }
        if !patience.again(found).await {
            let known = known();
            return Err(Broken::Refused(OpenError::Older { found, known }));
        }
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
    if migration.name == ADOPTION {
        return Ok(());
    }
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
    Answer(campanile_core::port::store::Error),
}

impl From<sqlx::Error> for Broken {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

impl From<campanile_core::port::store::Error> for Broken {
    fn from(error: campanile_core::port::store::Error) -> Self {
        Self::Answer(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_tables_are_known_by_name() {
        for ours in ["campanile_run", "campanile_run_history", "campanile_leader"] {
            assert!(is_ours(ours), "{ours}");
        }
        assert!(!is_ours("run") && !is_ours("campanile_schema_version"));
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
        let sums = |dialect| {
            all(dialect)
                .iter()
                .map(|m| checksum(&m.sql))
                .collect::<Vec<_>>()
        };
        // A failure here means that an old migration was edited: write a new one instead.
        assert_eq!(
            sums(Dialect::Sqlite),
            [
                "f3861445227235a9",
                "29d3dab05602adba",
                "a6cc82ac654d40d4",
                "7893f8cf4eab2b29",
                "99c8f7d5f2e5c4b6",
                "d662a5e4615817fb",
                "10d86004ed2a816d",
                "9a3f9ad84a4426ab",
                "bfa5cf0f16789861",
                "e3e2bbd48e43a7e3",
                "427f5de501d6f3b1",
                "69874ea994e96497",
                "656c4d16725a4e74",
                "06b143c964147a1a",
                "2499226a5a460045",
                "0499cf1200a4f302",
                "b8c4f29266751ae8",
                "41a26e8c68006a30",
                "48e78098ae1b2c11",
                "e014c955e8a544a6",
                "2ff02c0dc4f2d59f",
                "3f4830c30b9da225"
            ]
        );
        assert_eq!(
            sums(Dialect::Postgres),
            [
                "9ec9b83702b04f08",
                "120e92d526d99018",
                "a6cc82ac654d40d4",
                "7893f8cf4eab2b29",
                "8aa3133c7a7bb1cb",
                "ad2cbb442b2a70df",
                "10d86004ed2a816d",
                "9a3f9ad84a4426ab",
                "3c405a4d0771ca5c",
                "e3e2bbd48e43a7e3",
                "427f5de501d6f3b1",
                "2d95141774b46ad7",
                "656c4d16725a4e74",
                "06b143c964147a1a",
                "c5cf0ffb00270c76",
                "879f55c66cf26dcb",
                "7d23205f019fa21a",
                "3df9af7a42171787",
                "2e29f70ad96aaaf3",
                "32e904ee69b3bc6b",
                "a9d1c0bcc7a95234",
                "49eb76c9fdb1ce21"
            ]
        );
    }
    /// So a store whose tables have no prefix is known for ours, and is brought to the present text.
    #[test]
    fn without_the_prefix_the_text_is_the_one_of_before() {
        for dialect in Dialect::ALL {
            let stripped = all(dialect)
                .iter()
                .take(11)
                .map(|m| checksum(&m.sql.replace(PREFIX, "")));
            let sums: Vec<String> = stripped.collect();
            assert_eq!(sums, BEFORE_PREFIX[dialect.index()]);
        }
    }
}
