//! The dialect table: the few words in which the databases truly differ. Statements are written once with these words
//! in them (`@now`, `@share`); whoever adds a database adds a column here and little else.

/// A database's way of speaking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
    /// MariaDB, by the protocol of MySQL.
    MariaDb,
}

/// Word, SQLite, PostgreSQL, MariaDB.
const WORDS: &[(&str, &str, &str, &str)] = &[
    // The database's clock in milliseconds; at the moment of asking, not of the transaction's begin.
    (
        "now",
        "CAST(ROUND(unixepoch('subsec') * 1000) AS INTEGER)",
        "CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)",
        "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)",
    ),
    // Keeps the row that was read from being removed until this transaction ends.
    ("share", "", "FOR KEY SHARE", "LOCK IN SHARE MODE"),
    // Keeps the rows that were read from everybody else, and waits for those who keep them.
    ("lock", "", "FOR UPDATE", "FOR UPDATE"),
    // Keeps the row from being changed, and sees it as it is then.
    ("lock_shared", "", "FOR SHARE", "LOCK IN SHARE MODE"),
    // Passes over rows that somebody else is about to change.
    ("skip_locked", "", "FOR UPDATE SKIP LOCKED", "FOR UPDATE SKIP LOCKED"),
    // Keeps the rows of `run` that were read from being changed until this transaction ends.
    ("lock_run", "", "FOR UPDATE OF run", "FOR UPDATE"),
    // Separates the rows of a table parameter from what they are joined to: the parameter comes first.
    ("with", "CROSS JOIN", "JOIN", "STRAIGHT_JOIN"),
    ("on", "WHERE", "ON", "ON"),
    // Column types and table options.
    ("row_id", "INTEGER PRIMARY KEY", "BIGINT PRIMARY KEY", "BIGINT PRIMARY KEY"),
    (
        "counted_id",
        "INTEGER PRIMARY KEY AUTOINCREMENT",
        "INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "INTEGER AUTO_INCREMENT PRIMARY KEY",
    ),
    (
        "counted_wide_id",
        "INTEGER PRIMARY KEY AUTOINCREMENT",
        "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "BIGINT AUTO_INCREMENT PRIMARY KEY",
    ),
    ("bytes", "BLOB", "BYTEA", "LONGBLOB"),
    ("name", "TEXT COLLATE BINARY", "TEXT COLLATE \"C\"", "VARCHAR(255)"),
    ("clustered", "WITHOUT ROWID", "", ""),
    ("in_place", "", "WITH (fillfactor = 50)", ""),
    // Found by its key alone, and rows that live for moments, each changed once.
    (
        "offers",
        "WITHOUT ROWID",
        "WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.02)",
        "",
    ),
    // Rows that live for moments: room for their next versions in the same page, and a cleaning that neither comes for every
    // few of them nor waits for a fifth of all that wait.
    (
        "hot_tables",
        "",
        "ALTER TABLE campanile_run SET (fillfactor = 30, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE campanile_due SET (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.02);",
        "",
    ),
];

impl Dialect {
    #[cfg(test)]
    pub(super) const ALL: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::MariaDb];

    /// Its place in a table with one entry for each.
    pub(super) const fn index(self) -> usize {
        match self {
            Self::Sqlite => 0,
            Self::Postgres => 1,
            Self::MariaDb => 2,
        }
    }

    /// Its name, for people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::MariaDb => "MariaDB",
        }
    }

    /// What a word means here.
    pub(super) fn word(self, word: &str) -> Option<&'static str> {
        let (_, sqlite, postgres, mariadb) = WORDS.iter().find(|(name, ..)| *name == word)?;
        Some(match self {
            Self::Sqlite => sqlite,
            Self::Postgres => postgres,
            Self::MariaDb => mariadb,
        })
    }

    /// The placeholder number `n`, counted from 1.
    pub(super) fn placeholder(self, n: usize) -> String {
        match self {
            Self::Sqlite => format!("?{n}"),
            Self::Postgres => format!("${n}"),
            Self::MariaDb => "?".to_owned(),
        }
    }

    /// A table parameter that begins at placeholder `n`, under `alias`; and how many placeholders it takes.
    pub(super) fn table(self, n: usize, columns: &[(&str, &str)], alias: &str) -> (String, usize) {
        match self {
            Self::Sqlite => (json_table(n, columns, alias), 1),
            Self::Postgres => (array_table(n, columns, alias), columns.len()),
            Self::MariaDb => (json_rows(columns, alias), 1),
        }
    }
}

fn json_table(n: usize, columns: &[(&str, &str)], alias: &str) -> String {
    let cells: Vec<String> = match columns {
        [(only, _)] => vec![format!("value AS {only}")],
        many => (0..)
            .zip(many)
            .map(|(place, (name, _))| format!("value->>{place} AS {name}"))
            .collect(),
    };
    format!(
        "(SELECT {} FROM json_each(?{n})) AS {alias}",
        cells.join(", ")
    )
}

fn array_table(n: usize, columns: &[(&str, &str)], alias: &str) -> String {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let arrays: Vec<String> = (n..)
        .zip(columns)
        .map(|(n, (_, kind))| {
            let kind = if *kind == "text" { "text" } else { "bigint" };
            format!("${n}::{kind}[]")
        })
        .collect();
    format!(
        "unnest({}) AS {alias}({})",
        arrays.join(", "),
        names.join(", ")
    )
}

/// Whatever a column does not take it gives as another value, without a word: a text of another character set as question
/// marks, one that is too long cut, a number beyond 64 bits as the highest. So texts are of no length and of our own
/// collation, and a number is a [`i64`] before it is sent.
fn json_rows(columns: &[(&str, &str)], alias: &str) -> String {
    let path = |place: usize| match columns.len() {
        1 => "$".to_owned(),
        _ => format!("$[{place}]"),
    };
    let cells: Vec<String> = (0..)
        .zip(columns)
        .map(|(place, (name, kind))| {
            let kind = if *kind == "text" {
                "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"
            } else {
                "BIGINT"
            };
            format!("{name} {kind} PATH '{}'", path(place))
        })
        .collect();
    format!(
        "JSON_TABLE(?, '$[*]' COLUMNS({})) AS {alias}",
        cells.join(", ")
    )
}
