//! The way to MariaDB: one server, or several in the order in which they are wanted (a Galera cluster). What its URL may
//! say, what a session is told at its beginning, and which server is used. A server that can't be written to is passed
//! over; which of them is right is nobody's decision but their own.

use std::str::FromStr as _;
use std::time::Duration;

use campanile_core::system::within;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, MySqlConnection, MySqlPool, Row as _,
};

use crate::service_url::ServiceUrl;
use crate::sql::open::check_options;

/// The options that a URL of MariaDB may have.
const OPTIONS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslca",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "socket",
];

/// How long one server of several may take to answer.
const HOST_LIMIT: Duration = Duration::from_secs(3);
/// Servers that a URL may name.
const HOSTS_MAX: usize = 16;
const STATEMENTS_KEPT: usize = 200;

/// What every session is told: texts and numbers that a column can't take are refused and never cut, assignments of one
/// statement see the row as it was, each statement sees what was committed before it, and nobody who stands still holds
/// others up.
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,\
    NO_ENGINE_SUBSTITUTION,PIPES_AS_CONCAT,SIMULTANEOUS_ASSIGNMENT', tx_isolation = 'READ-COMMITTED', autocommit = 1, \
    idle_transaction_timeout = 3, innodb_lock_wait_timeout = 2, max_statement_time = 8";

/// The settings without which a paused node could hold others up, as the server has them.
pub(in crate::sql) const IN_FORCE: &str =
    "SELECT 'idle_transaction_timeout', CAST(@@idle_transaction_timeout AS CHAR)
    UNION ALL SELECT 'innodb_lock_wait_timeout', CAST(@@innodb_lock_wait_timeout AS CHAR)
    UNION ALL SELECT 'max_statement_time', CAST(CAST(@@max_statement_time AS SIGNED) AS CHAR)
    UNION ALL SELECT 'tx_isolation', @@tx_isolation";

/// What it must say of them.
pub(in crate::sql) const LIMITS: [(&str, &str); 4] = [
    ("idle_transaction_timeout", "3"),
    ("innodb_lock_wait_timeout", "2"),
    ("max_statement_time", "8"),
    ("tx_isolation", "READ-COMMITTED"),
];

/// Whether the server is one of a cluster, and whether it takes writes of ours.
const STANDING: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_on', 'read_only')";
/// Whether it is in touch with most of the others.
const READY: &str = "SHOW GLOBAL STATUS LIKE 'wsrep_ready'";
/// What is read was committed by any of them before.
const SEE_ALL: &str = "SET SESSION wsrep_sync_wait = 1";

/// One server or several.
#[derive(Debug, Clone)]
pub(in crate::sql) struct Servers {
    /// In the order in which they are wanted.
    hosts: Vec<MySqlConnectOptions>,
    url: ServiceUrl,
}

impl Servers {
    /// Reads a URL; the error is the remedy.
    pub(in crate::sql) fn read(url: &str) -> Result<Self, String> {
        check_options(url, "MariaDB", OPTIONS)?;
        let hosts = one_each(url)?;
        let hosts = hosts.iter().map(|url| {
            let parsed = MySqlConnectOptions::from_str(url).map_err(|error| {
                format!("{error}; write mysql://user:password@host:3306/database")
            })?;
            if parsed.get_database().is_none() {
                return Err(
                    "it names no database; write mysql://user:password@host:3306/database"
                        .to_owned(),
                );
            }
            let options = parsed.charset("utf8mb4").collation("utf8mb4_nopad_bin");
            let options = options.statement_cache_capacity(STATEMENTS_KEPT);
            Ok(options.disable_statement_logging())
        });
        Ok(Self {
            hosts: hosts.collect::<Result<_, String>>()?,
            url: ServiceUrl::new(url),
        })
    }

    /// As people may see it.
    pub(in crate::sql) const fn url(&self) -> &ServiceUrl {
        &self.url
    }

    /// A connection of its own, to the first server that takes writes.
    pub(in crate::sql) async fn connect(&self) -> Result<MySqlConnection, sqlx::Error> {
        self.first().await.map(|(connection, _)| connection)
    }

    async fn first(&self) -> Result<(MySqlConnection, &MySqlConnectOptions), sqlx::Error> {
        let mut last = sqlx::Error::PoolClosed;
        for host in &self.hosts {
            match self.connect_to(host).await {
                Ok(connection) => return Ok((connection, host)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect_to(&self, host: &MySqlConnectOptions) -> Result<MySqlConnection, sqlx::Error> {
        let connect = async {
            let mut connection = MySqlConnection::connect_with(host).await?;
            prepare(&mut connection).await?;
            Ok(connection)
        };
        if self.hosts.len() == 1 {
            return connect.await;
        }
        let late = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        within(HOST_LIMIT, connect)
            .await
            .unwrap_or_else(|| Err(late()))
    }

    /// A pool of so many connections, to the first server until another one is chosen.
    pub(in crate::sql) fn pool(&self, size: u32, acquire_timeout: Duration) -> MySqlPool {
        let pool = MySqlPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(acquire_timeout)
            .test_before_acquire(false)
            .after_connect(|connection, _| Box::pin(prepare(connection)));
        let first = self.hosts.first().cloned().unwrap_or_default();
        pool.connect_lazy_with(first)
    }

    /// Lets a pool that got no connection make them to another server. Answers whether there is one.
    pub(in crate::sql) async fn choose(&self, pool: &MySqlPool) -> bool {
        if self.hosts.len() == 1 {
            return false;
        }
        let Ok((connection, host)) = self.first().await else {
            return false;
        };
        let _ = connection.close().await;
        let (name, port) = (host.get_host(), host.get_port());
        let present = pool.connect_options();
        if (present.get_host(), present.get_port()) == (name, port) {
            // It is there; its connections are all in use.
            return false;
        }
        tracing::warn!("the store is used on {name}:{port} from now on");
        pool.set_connect_options(host.clone());
        true
    }
}

/// Whether a server of this version has what our statements need: tables out of JSON, and rows passed over that are locked.
pub(in crate::sql) fn is_new_enough(version: &str) -> bool {
    let mut numbers = version
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let (major, minor) = (numbers.next(), numbers.next());
    version.contains("MariaDB") && major.zip(minor) >= Some((10, 6))
}

/// Prepares a session, or says why this server is of no use.
async fn prepare(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    connection.execute(SESSION).await?;
    let mut in_cluster = false;
    for row in connection.fetch_all(STANDING).await? {
        let (name, value): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        match (name.as_str(), value.as_str()) {
            ("wsrep_on", "ON") => in_cluster = true,
            ("read_only", "ON") => return Err(useless("it only takes reads (read_only)")),
            _ => {}
        }
    }
    if !in_cluster {
        return Ok(());
    }
    let ready = connection.fetch_optional(READY).await?;
    let ready: Option<String> = ready.map(|row| row.try_get(1)).transpose()?;
    if ready.as_deref() != Some("ON") {
        return Err(useless(
            "it is not in touch with most of its cluster (wsrep_ready)",
        ));
    }
    connection.execute(SEE_ALL).await.map(drop)
}

fn useless(why: &str) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(why))
}

/// A URL for each of the hosts that this one lists.
fn one_each(url: &str) -> Result<Vec<String>, String> {
    let written = "write mysql://user:password@host:3306/database";
    let (_, rest) = url.split_once("://").ok_or(written)?;
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (format!("{login}@"), rest),
        None => (String::new(), rest),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (hosts, path) = rest.split_at(end);
    let hosts: Vec<&str> = hosts.split(',').collect();
    if hosts.len() > HOSTS_MAX {
        return Err(format!("it names more than {HOSTS_MAX} hosts"));
    }
    if hosts.len() > 1 && hosts.iter().any(|host| host.is_empty()) {
        return Err(format!(
            "one of its hosts is empty; {written}, with a comma between hosts"
        ));
    }
    let urls = hosts
        .iter()
        .map(|host| format!("mysql://{login}{host}{path}"));
    Ok(urls.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_have_what_we_need() {
        for version in [
            "10.6.0-MariaDB",
            "10.11.19-MariaDB-0+deb12u1",
            "11.4.2-MariaDB-log",
        ] {
            assert!(is_new_enough(version), "{version}");
        }
        for version in ["10.5.26-MariaDB", "8.0.39", "11.0.1", "MariaDB", ""] {
            assert!(!is_new_enough(version), "{version}");
        }
    }

    #[test]
    fn hosts_in_their_order() {
        let several = Servers::read("mariadb://u:p@a:1,b,[::1]:3/d?ssl-mode=disabled").unwrap();
        let hosts = several.hosts.iter().map(|h| (h.get_host(), h.get_port()));
        let hosts: Vec<_> = hosts.collect();
        assert_eq!(hosts, [("a", 1), ("b", 3306), ("[::1]", 3)]);
        assert_eq!(
            several.url().shown(),
            "mariadb://u:***@a:1,b,[::1]:3/d?ssl-mode=disabled"
        );
    }

    #[test]
    fn what_names_no_store_is_refused_with_the_remedy() {
        for (url, told) in [
            ("mysql://u:secret@h", "names no database"),
            ("mysql://u:secret@h:x/d", "write mysql://"),
            ("mysql://u:secret@a,,b/d", "hosts is empty"),
            ("mysql://u:pa/secret@h/d", "write %2F for /"),
            ("mysql://h/d?charset=latin1", "unknown option `charset`"),
            ("mysql://h/d?secret", "unknown option `***`"),
        ] {
            let said = Servers::read(url).err().unwrap_or_default();
            assert!(said.contains(told), "{url}: {said}");
            assert!(!said.contains("secret"), "{url}: {said}");
        }
        let many = format!("mysql://{}/d", ["h"; 17].join(","));
        assert!(Servers::read(&many).is_err());
    }
}
