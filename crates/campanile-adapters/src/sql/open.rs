//! From a URL to a store: which database, with which session settings. The connections are made in [`super::pools`]; the lock
//! has one of its own (see [`super::lock`]).

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use campanile_core::system::Random;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use super::dialect::Dialect;
use super::error::{OpenError, remedy};
use super::gate::Gate;
use super::mariadb::{Servers, place as mariadb};
use super::migration::{self, Broken, Migration};
use super::patience::Patience;
use super::pools::Pools;
use super::session::Session;
use super::statement::Statement;
use super::store::{SERVER, Store};
use crate::service_url::{self, ServiceUrl};

const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const STATEMENTS_KEPT: usize = 200;

/// Session settings without which a paused node could hold others up, and what the server must say of them.
const POSTGRES_LIMITS: [(&str, &str); 3] = [
    ("idle_in_transaction_session_timeout", "3s"),
    ("lock_timeout", "2s"),
    ("statement_timeout", "8s"),
];

/// Session settings that keep plans stable: every hot statement looks rows up by primary key, and a plan that was made
/// while a table was small must not scan it once it is large.
const POSTGRES_PLANS: [(&str, &str); 3] = [
    ("enable_seqscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
];

/// The options that a URL of PostgreSQL may have.
const POSTGRES_OPTIONS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// The settings as the server has them.
static IN_FORCE: Statement = Statement::new(
    "SELECT CAST(name AS TEXT), current_setting(name) FROM pg_settings WHERE name IN \
        ('idle_in_transaction_session_timeout', 'lock_timeout', 'statement_timeout')",
)
.on_mariadb(&[mariadb::IN_FORCE]);

/// What is done about tables that a store lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrate {
    /// They are made.
    Always,
    /// They are made where there are none at all; a store of an earlier version is refused with [`OpenError::Older`].
    IfEmpty,
    /// The store is opened as it is, and calls fail.
    Never,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// This node's name; PostgreSQL shows it in its list of sessions.
    pub node_name: String,
    /// Connections for workers, API and pages together; the leader has its own beside them. Not for SQLite.
    pub max_connections: u32,
    /// What is done about tables that lack.
    pub migrate: Migrate,
    /// What stands before each statement of this store: for tests that step it. `None` everywhere else.
    pub gate: Option<Arc<dyn Gate>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node_name: "node".to_owned(),
            max_connections: 8,
            migrate: Migrate::Always,
            gate: None,
        }
    }
}

/// Where the store is, for whoever connects later.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>, ServiceUrl),
    MariaDb(Arc<Servers>),
}

impl Place {
    /// A connection of its own.
    pub(super) async fn connect(&self) -> Result<Session, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(options) => Session::OwnSqlite(Box::new(
                sqlx::SqliteConnection::connect_with(options).await?,
            )),
            Self::Postgres(options, _) => {
                Session::OwnPostgres(Box::new(sqlx::PgConnection::connect_with(options).await?))
            }
            Self::MariaDb(servers) => Session::OwnMariaDb(Box::new(servers.connect().await?)),
        })
    }

    /// How people may be shown it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Sqlite(options) => format!("sqlite:{}", options.get_filename().display()),
            Self::Postgres(_, url) => url.shown(),
            Self::MariaDb(servers) => servers.url().shown(),
        }
    }

    /// A text about it without its password.
    pub(super) fn scrub(&self, text: &str) -> String {
        match self {
            Self::Sqlite(_) => text.to_owned(),
            Self::Postgres(_, url) => url.scrub(text),
            Self::MariaDb(servers) => servers.url().scrub(text),
        }
    }
}

/// Opens the store at `url` (`sqlite:FILE`, `postgres://…`, `mysql://…`), makes the tables that lack, and checks that the session
/// settings are in force.
///
/// # Errors
/// Why not, with the remedy.
pub async fn open(url: &str, options: Options) -> Result<Arc<Store>, OpenError> {
    let place = place(url, &options)?;
    if let Place::Sqlite(sqlite) = &place {
        make_file(sqlite.get_filename())?;
    }
    let mut session = first_session(&place).await?;
    check_settings(&mut session).await?;
    check_version(&mut session, &place).await?;
    let migrated = match options.migrate {
        Migrate::Always => migration::migrate(&mut session).await,
        Migrate::IfEmpty => migration::make(&mut session).await,
        Migrate::Never => Ok(()),
    };
    migrated.map_err(|broken| explain(broken, &place))?;
    session.close().await;
    let pools = Pools::new(&place, &options);
    Ok(Arc::new(Store::new(place, pools, Random::from_system())))
}

/// Reads a store's URL and touches nothing.
///
/// # Errors
/// As [`open`], for a URL that can't be one.
pub fn check_url(url: &str) -> Result<(), OpenError> {
    place(url, &Options::default()).map(drop)
}

/// The migrations that the store at `url` lacks; changes nothing.
///
/// # Errors
/// As [`open`].
pub async fn pending(url: &str) -> Result<Vec<Migration>, OpenError> {
    let place = match place(url, &Options::default())? {
        Place::Sqlite(options) if !options.get_filename().exists() => {
            Place::Sqlite(Box::new(SqliteConnectOptions::new().in_memory(true)))
        }
        there => there,
    };
    let mut session = first_session(&place).await?;
    let (todo, _) = migration::pending(&mut session)
        .await
        .map_err(|broken| explain(broken, &place))?;
    session.close().await;
    Ok(todo)
}

async fn first_session(place: &Place) -> Result<Session, OpenError> {
    let mut patience = Patience::with_busy();
    loop {
        let error = match place.connect().await {
            Ok(session) => return Ok(session),
            Err(error) => error,
        };
        let waited = patience.wait(error).await;
        waited.map_err(|error| unreachable(error, place))?;
    }
}

fn unreachable(error: sqlx::Error, place: &Place) -> OpenError {
    OpenError::Unreachable {
        url: place.shown(),
        remedy: remedy(&error),
        source: error.into(),
    }
}

fn explain(broken: Broken, place: &Place) -> OpenError {
    match broken {
        Broken::Refused(error) => error,
        Broken::Driver(error) => unreachable(error, place),
        Broken::Answer(error) => OpenError::Unreachable {
            url: place.shown(),
            remedy: "check that it is this cluster's database",
            source: error.into(),
        },
    }
}

pub(super) fn place(url: &str, options: &Options) -> Result<Place, OpenError> {
    let scheme = url.split(':').next().unwrap_or("");
    let shown = ServiceUrl::new(url);
    let refused = |remedy: &str| OpenError::Url {
        url: shown.shown(),
        remedy: shown.scrub(remedy),
    };
    match scheme {
        "sqlite" => Ok(Place::Sqlite(Box::new(sqlite_options(&sqlite_path(
            url, refused,
        )?)))),
        "postgres" | "postgresql" => {
            check_options(url, "PostgreSQL", POSTGRES_OPTIONS)
                .map_err(|remedy| refused(&remedy))?;
            let parsed = PgConnectOptions::from_str(url).map_err(|error| {
                refused(&format!(
                    "{error}; write postgres://user:password@host:5432/database"
                ))
            })?;
            Ok(Place::Postgres(
                Box::new(postgres_options(parsed, &options.node_name)),
                shown,
            ))
        }
        "mysql" | "mariadb" => {
            let servers = Servers::read(url).map_err(|remedy| refused(&remedy))?;
            Ok(Place::MariaDb(Arc::new(servers)))
        }
        _ => Err(refused(
            "write sqlite:FILE, postgres://user:password@host:5432/database or mysql://user:password@host:3306/database",
        )),
    }
}

fn sqlite_path(url: &str, refused: impl Fn(&str) -> OpenError) -> Result<PathBuf, OpenError> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.starts_with(':') || path.contains('?') || path.ends_with('/') {
        return Err(refused(
            "the store is a file that outlives the program: write sqlite:FILE, as in sqlite:/var/lib/campanile/store.db",
        ));
    }
    Ok(PathBuf::from(path))
}

/// What the driver would not say, or would say with the password in it: it logs the value of every option that it
/// doesn't know.
pub(super) fn check_options(url: &str, database: &str, known: &[&str]) -> Result<(), String> {
    if service_url::has_stray_at(url) {
        return Err(service_url::STRAY_AT.to_owned());
    }
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = service_url::option_name(pair);
        if !known.contains(&name) {
            return Err(format!(
                "unknown option `{name}`; {database}'s are {}",
                known.join(", ")
            ));
        }
    }
    Ok(())
}

fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(SQLITE_BUSY_TIMEOUT)
        .foreign_keys(true)
        .statement_cache_capacity(STATEMENTS_KEPT)
        .row_buffer_size(1_024)
        .disable_statement_logging()
}

fn postgres_options(parsed: PgConnectOptions, node_name: &str) -> PgConnectOptions {
    parsed
        .application_name(&format!("campanile:{node_name}"))
        .options(POSTGRES_LIMITS)
        .options(POSTGRES_PLANS)
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging()
}

/// Makes the file, readable by nobody else: SQLite gives its side files the same permissions.
fn make_file(path: &Path) -> Result<(), OpenError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
    made.map(drop).map_err(|error| OpenError::File {
        path: path.display().to_string(),
        source: error.into(),
    })
}

/// A pooler that shares server sessions between clients drops startup options without a word; then nothing would bound
/// a paused leader's transaction.
async fn check_settings(session: &mut Session) -> Result<(), OpenError> {
    let limits: &[(&str, &str)] = match session.dialect() {
        Dialect::Sqlite => return Ok(()),
        Dialect::Postgres => &POSTGRES_LIMITS,
        Dialect::MariaDb => &mariadb::LIMITS,
    };
    let unknown = |error: &dyn std::fmt::Display| OpenError::Settings {
        setting: limits[0].0.to_owned(),
        found: error.to_string(),
    };
    let rows = session.rows(IN_FORCE.text(session.dialect()), &[]).await;
    let mut found = std::collections::HashMap::new();
    for mut row in rows.map_err(|error| unknown(&error))? {
        let name = row.text("pg_settings").map_err(|error| unknown(&error))?;
        found.insert(
            name,
            row.text("pg_settings").map_err(|error| unknown(&error))?,
        );
    }
    for (setting, wanted) in limits {
        let value = found.get(*setting).map_or("", String::as_str);
        if value != *wanted {
            return Err(OpenError::Settings {
                setting: (*setting).to_owned(),
                found: value.to_owned(),
            });
        }
    }
    Ok(())
}

/// An older MariaDB would refuse statements one by one, each for another reason.
async fn check_version(session: &mut Session, place: &Place) -> Result<(), OpenError> {
    if session.dialect() != Dialect::MariaDb {
        return Ok(());
    }
    let rows = session.rows(SERVER.text(Dialect::MariaDb), &[]).await;
    let rows = rows.map_err(|error| unreachable(error, place))?;
    let version = rows.into_iter().next().map(|mut row| row.text("server"));
    let version = version.and_then(Result::ok).unwrap_or_default();
    if mariadb::is_new_enough(&version) {
        return Ok(());
    }
    Err(OpenError::Unreachable {
        url: place.shown(),
        remedy: "it is no MariaDB of version 10.6 or later: use one",
        source: format!("its version is {version}").into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        place(url, &Options::default())
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn urls_that_name_no_store_are_refused_with_the_remedy() {
        for url in [
            "sqlite:",
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite:x.db?mode=memory",
            "sqlite:/tmp/",
        ] {
            assert!(
                refusal(url).contains("write sqlite:FILE"),
                "{url}: {}",
                refusal(url)
            );
        }
        assert_eq!(refusal("mysql://u:p@h/d"), "");
        assert!(refusal("mysql://u:secret@h").contains("names no database"));
        assert!(!refusal("mysql://u:secret@h").contains("secret"));
        assert!(refusal("redis://h").contains("postgres://"));
        assert_eq!(refusal("sqlite:x.db"), "");
        assert_eq!(refusal("postgres://u:p@h:1/d"), "");
    }

    #[test]
    fn a_password_is_never_shown() {
        let place = place("postgres://u:secret@h:5433/d", &Options::default()).unwrap();
        assert_eq!(place.shown(), "postgres://u:***@h:5433/d");
        for (url, told) in [
            ("postgres://u:pa/secret@h/d", "write %2F for /"),
            ("postgres://u:12/secret@h/d", "write %2F for /"),
            ("postgres://u:pa?secret@h/d", "%3F for ?"),
            (
                "postgres://h/d?passwrod=secret",
                "unknown option `passwrod`",
            ),
            ("postgres://h/d?secret", "unknown option `***`"),
            ("postgres://u:secret", "port"),
            ("postgres://u:secret@h:x/d", "port"),
            ("postgres://u:secret@[h/d", "postgres://"),
            ("mysql://u:secret@h/d?charset=x", "unknown option"),
            ("u:secret@h/d", "write sqlite:FILE, postgres://"),
        ] {
            let said = refusal(url);
            assert!(said.contains(told), "{url}: {said}");
            assert!(!said.contains("secret"), "{url}: {said}");
        }
        assert_eq!(
            refusal("postgres://h/d?password=secret&sslmode=disable"),
            ""
        );
    }
}
