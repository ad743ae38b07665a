//! What a driver's error means to the protocol, and why a store could not be opened. The one place that knows
//! databases' error codes.

use campanile_core::port::{Cause, store};

use super::outage::{cause, is_down};

/// Why the store could not be opened. Every text names the setting and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL names no store that we can open.
    #[error("store: `{url}` can't be used: {remedy}")]
    Url {
        /// The URL, without its password.
        url: String,
        /// What to write instead.
        remedy: String,
    },
    /// The database did not answer, or refused us.
    #[error("store: {url} can't be reached: {remedy}")]
    Unreachable {
        /// The URL, without its password.
        url: String,
        /// What to look at.
        remedy: &'static str,
        /// The driver's error.
        #[source]
        source: Cause,
    },
    /// Our session settings did not arrive.
    #[error(
        "store: the server ignores our session setting {setting} (it says `{found}`): connect to PostgreSQL itself, or \
         to a pooler in session mode that passes startup options; without it a paused leader could block its successor"
    )]
    Settings {
        /// Which setting.
        setting: String,
        /// What is in force.
        found: String,
    },
    /// A newer program has changed the store.
    #[error(
        "store: its schema is version {found} and this program knows version {known}: run a newer campanile, or restore \
         the copy from before the upgrade"
    )]
    Newer {
        /// The store's version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// An earlier program made the store, and nobody asked for a migration.
    #[error(
        "store: its schema is version {found} and this program needs version {known}: stop the programs of earlier versions, \
         keep a copy, and migrate it, with `.migrate(true)` or `campanile migrate`"
    )]
    Older {
        /// The store's version.
        found: i64,
        /// The version that this program needs.
        known: i64,
    },
    /// A migration that the store has applied is not the one that this program has.
    #[error(
        "store: its migration {version} ({name}) is another one than this program's: it was made by a changed build; \
         use the build that made it, or a new database"
    )]
    Changed {
        /// Which migration.
        version: i64,
        /// Its name here.
        name: String,
    },
    /// A database with tables of our names that we did not make.
    #[error(
        "store: the database holds a table `{table}` but no `schema_version`, so it is not ours or half made: use an \
         empty database (or schema) of its own"
    )]
    Foreign {
        /// The table.
        table: String,
    },
    /// A migration failed; nothing of it stands.
    #[error("store: migration {version} ({name}) failed and was rolled back: see the cause")]
    Migration {
        /// Which migration.
        version: i64,
        /// Its name.
        name: String,
        /// The driver's error.
        #[source]
        source: Cause,
    },
    /// A migration failed where changes of tables commit by themselves; what it had made stands.
    #[error(
        "store: migration {version} ({name}) stopped half-way, and what it had made stays, for MariaDB commits each change of a \
         table: see the cause, and start again; it goes on from there"
    )]
    HalfMade {
        /// Which migration.
        version: i64,
        /// Its name.
        name: String,
        /// The driver's error.
        #[source]
        source: Cause,
    },
    /// The file can't be made or read.
    #[error(
        "store: {path} can't be opened as a database file: check the folder and its permissions"
    )]
    File {
        /// The path.
        path: String,
        /// The operating system's error.
        #[source]
        source: Cause,
    },
}

/// What went wrong inside a transaction.
#[derive(Debug)]
pub(super) enum Failure {
    /// The driver says no.
    Driver(sqlx::Error),
    /// We do.
    Store(store::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    /// What it means before a commit was asked for: nothing stands.
    pub(super) fn settled(self) -> store::Error {
        match self {
            Self::Store(error) => error,
            Self::Driver(error) => match kind(&error) {
                Kind::Contended => store::Error::Contended(error.into()),
                Kind::Broken => store::Error::Unreachable(cause(error)),
                Kind::Full => store::Error::Full(error.into()),
                Kind::Refused => store::Error::Refused(error.into()),
                Kind::Unable => store::Error::Unable(error.into()),
            },
        }
    }

    /// What it means when the connection may have broken after the database did its work.
    pub(super) fn in_doubt(self) -> store::Error {
        match self {
            Self::Driver(error) if is_broken(&error) && !is_down(&error) => {
                store::Error::Ambiguous(error.into())
            }
            other => other.settled(),
        }
    }
}

/// Where to look when no connection could be made: as near to the cause as the driver's error tells it.
pub(super) fn remedy(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Database(said) if number(&**said).is_some() => {
            number(&**said).map_or("", mariadb_remedy)
        }
        sqlx::Error::Database(said) => match said.code().as_deref() {
            Some("28P01" | "28000") => "check the user and the password in the setting `store`",
            Some("3D000") => "make the database, or name another one in the setting `store`",
            Some("42501") => "give the user of the setting `store` the rights that it lacks",
            Some("53300") => {
                "it has no connection left: raise its `max_connections`, or run fewer nodes"
            }
            Some("57P03") => "it starts or stops: wait for it",
            _ => "check the setting `store` and the server's log",
        },
        sqlx::Error::Io(cause) => match cause.kind() {
            std::io::ErrorKind::ConnectionRefused => {
                "nothing listens there: check host and port in the setting `store`, and that the server runs"
            }
            std::io::ErrorKind::TimedOut => {
                "nobody answers: check the host in the setting `store`, and the network"
            }
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::NotFound => {
                "check the path in the setting `store`, and its permissions"
            }
            _ if cause.to_string().contains("lookup") => {
                "the name of the host is not known here: check the host in the setting `store`"
            }
            _ => "check the address, the user and that the server runs (setting `store`)",
        },
        sqlx::Error::Tls(_) => {
            "TLS failed: check `sslmode` and `sslrootcert` in the setting `store`, and the server's certificate"
        }
        _ => "check the address, the user and that the server runs (setting `store`)",
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Contended,
    Broken,
    /// It does not take what it was given.
    Refused,
    /// The disk is full.
    Full,
    /// It does it for nobody.
    Unable,
}

/// Whether the connection is gone, as opposed to a statement that was refused.
pub(super) fn is_broken(error: &sqlx::Error) -> bool {
    kind(error) == Kind::Broken
}

/// Whether others were in the way, so that the same may simply be tried again.
pub(super) fn is_contended(error: &sqlx::Error) -> bool {
    kind(error) == Kind::Contended
}

/// Whether a key was taken.
pub(super) fn is_taken(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// MariaDB's number of an error: its states tell too little.
fn number(error: &dyn sqlx::error::DatabaseError) -> Option<u16> {
    let error = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>();
    error.map(sqlx::mysql::MySqlDatabaseError::number)
}

fn mariadb_remedy(number: u16) -> &'static str {
    match number {
        1045 | 1698 => "check the user and the password in the setting `store`",
        1049 => "make the database, or name another one in the setting `store`",
        1044 | 1142 | 1227 => "give the user of the setting `store` the rights that it lacks",
        1040 | 1203 | 1226 => {
            "it has no connection left: raise its `max_connections`, or run fewer nodes"
        }
        1053 => "it stops: wait for it",
        1193 => "it is no MariaDB of version 10.6 or later: use one",
        _ => "check the setting `store` and the server's log",
    }
}

fn kind(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::Database(error) => match number(&**error) {
            Some(number) => number_kind(number, error.message()),
            None => error.code().map_or(Kind::Unable, |code| code_kind(&code)),
        },
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::BeginFailed
        | sqlx::Error::WorkerCrashed => Kind::Broken,
        sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => {
            Kind::Refused
        }
        _ => Kind::Unable,
    }
}

/// PostgreSQL's codes have five characters, SQLite's are numbers whose low byte is the class.
fn code_kind(code: &str) -> Kind {
    if code.len() == 5 {
        return match code {
            // Serialization failure, deadlock, lock timeout, statement timeout.
            "40001" | "40P01" | "55P03" | "57014" => Kind::Contended,
            // Too many connections; the server stops, starts or ended our session.
            "53300" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Kind::Broken,
            // Disk full.
            "53100" => Kind::Full,
            _ if code.starts_with("08") => Kind::Broken,
            // A trigger says no; a broken page, a broken index.
            "P0001" | "XX001" | "XX002" => Kind::Refused,
            // Data that can't be, a constraint, a row that is too big.
            _ if ["22", "23", "54"]
                .iter()
                .any(|class| code.starts_with(class)) =>
            {
                Kind::Refused
            }
            _ => Kind::Unable,
        };
    }
    match code.parse::<i64>().map(|code| code & 0xff) {
        // Busy, locked.
        Ok(5 | 6) => Kind::Contended,
        // The disk, or what the database file may have of it.
        Ok(13) => Kind::Full,
        // Can't be opened.
        Ok(14) => Kind::Broken,
        // A broken page, too big, a constraint (also a trigger's no), a wrong type.
        Ok(11 | 18 | 19 | 20) => Kind::Refused,
        _ => Kind::Unable,
    }
}

/// MariaDB's numbers. Of those that are contended some have ended the transaction and some have not: all of it is made again.
fn number_kind(number: u16, message: &str) -> Kind {
    match number {
        // Lock wait, deadlock (also with another server of a cluster, at the commit), statement time, interrupted, changed.
        1205 | 1213 | 1969 | 1317 | 1020 => Kind::Contended,
        // Not ready, killed, gone, lost; too many connections; the server stops; and 1180: nobody knows whether it was
        // committed.
        1047
        | 1927
        | 2006
        | 2013
        | 1040
        | 1203
        | 1226
        | 1053
        | 1080
        | 1129
        | 1152
        | 1158..=1161
        | 1180
        | 1184 => Kind::Broken,
        1021 | 1114 => Kind::Full,
        // An error of the engine's or of a file's, with the system's number of it.
        1026 | 1030 if message.contains("28") => Kind::Full,
        // A constraint, a value that can't be, a row or packet that is too big, a trigger's no, a broken page or index.
        1022
        | 1048
        | 1062
        | 1118
        | 1153
        | 1169
        | 1216
        | 1217
        | 1264..=1265
        | 1292
        | 1364..=1366
        | 1406
        | 1451
        | 1452
        | 1557
        | 1586
        | 1644
        | 1690
        | 1712
        | 1877
        | 4025 => Kind::Refused,
        _ => Kind::Unable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_mariadb_are_told_apart() {
        let kind = |number| number_kind(number, "");
        for number in [1205, 1213, 1969, 1317] {
            assert_eq!(kind(number), Kind::Contended, "{number}");
        }
        for number in [1047, 1927, 2006, 2013, 1180, 1040] {
            assert_eq!(kind(number), Kind::Broken, "{number}");
        }
        for number in [1062, 1048, 1264, 1366, 1406, 1644, 4025] {
            assert_eq!(kind(number), Kind::Refused, "{number}");
        }
        assert_eq!(kind(1114), Kind::Full);
        assert_eq!(
            number_kind(1030, "Got error 28 \"No space left on device\""),
            Kind::Full
        );
        for number in [1064, 1142, 1146, 1290, 1030, 4037] {
            assert_eq!(kind(number), Kind::Unable, "{number}");
        }
    }

    #[test]
    fn codes_of_both_databases_are_told_apart() {
        for code in ["40001", "40P01", "55P03", "57014", "5", "517", "262"] {
            assert_eq!(code_kind(code), Kind::Contended, "{code}");
        }
        for code in ["57P01", "08006", "53300", "25P03", "14"] {
            assert_eq!(code_kind(code), Kind::Broken, "{code}");
        }
        for code in [
            "22021", "23505", "23503", "54000", "P0001", "XX001", "19", "1811", "2067", "18", "11",
        ] {
            assert_eq!(code_kind(code), Kind::Refused, "{code}");
        }
        for code in ["53100", "13"] {
            assert_eq!(code_kind(code), Kind::Full, "{code}");
        }
        // A missing right or table, a copy that can only be read: nothing is to blame that was asked.
        for code in ["42601", "42501", "42P01", "25006", "0A000", "1", "8", "26"] {
            assert_eq!(code_kind(code), Kind::Unable, "{code}");
        }
    }

    #[test]
    fn a_connection_lost_at_the_commit_is_in_doubt_and_before_it_is_not() {
        let lost = || Failure::from(sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()));
        assert!(matches!(lost().settled(), store::Error::Unreachable(_)));
        assert!(matches!(lost().in_doubt(), store::Error::Ambiguous(_)));
        let full = Failure::from(sqlx::Error::PoolTimedOut);
        assert!(matches!(full.in_doubt(), store::Error::Unreachable(_)));
    }
}
