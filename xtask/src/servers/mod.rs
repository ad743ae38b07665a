//! Private servers for tests: each on loopback, on free ports, in a folder of its own, ended by its process id when
//! its value is dropped. Nothing here uses a server that the machine runs for somebody else, and nothing stays behind:
//! the kernel ends a server whose test process died.
//!
//! `shared()` gives the instance that `cargo xtask test` started for the whole run; without one, an instance that lives
//! as long as somebody in this process holds it. Tests that share isolate themselves by database name, key prefix or
//! queue prefix. Tests that break a server start a private one.

mod activemq;
mod galera;
mod mariadb;
mod postgres;
mod process;
mod rabbitmq;
mod redis;
mod redis_cluster;
mod redis_guard;
mod resp;
mod sentinel;
mod temp;
mod tmpfs;

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

pub use activemq::{ActiveMq, Options as ActiveMqOptions, SHARED_VARIABLE as ACTIVEMQ_VARIABLE};
pub use galera::Galera;
pub use mariadb::{MariaDb, Options as MariaDbOptions, SHARED_VARIABLE as MARIADB_VARIABLE};
pub use postgres::{Options as PostgresOptions, Postgres, SHARED_VARIABLE as POSTGRES_VARIABLE};
pub use process::{Process, children_of};
pub use rabbitmq::{
    Certificate as RabbitMqCertificate, Options as RabbitMqOptions, RabbitMq,
    SHARED_VARIABLE as RABBITMQ_VARIABLE,
};
pub use redis::{Redis, SHARED_VARIABLE as REDIS_VARIABLE};
pub use redis_cluster::RedisCluster;
pub use redis_guard::{RedisGuard, RedisUsers};
pub use sentinel::{Options as SentinelOptions, Sentinel};
pub use temp::{TempDir, free_port, sweep};
pub use tmpfs::Tmpfs;

/// How long a server may take to answer after its start, on a machine that builds at the same time.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The time between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);

/// Why a private server is not there.
#[derive(Debug)]
pub enum Error {
    /// Its programs aren't installed. The text is the one command that installs them.
    Missing {
        /// The Debian packages to install.
        packages: Vec<&'static str>,
    },
    /// It is installed and did not start, or refused a command.
    Failed {
        /// What was tried.
        what: String,
        /// What went wrong, with the end of the server's log where there is one.
        why: String,
    },
}

impl Error {
    fn failed(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self::Failed {
            what: what.into(),
            why: why.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { packages } => formatter.write_str(&install_line(packages)),
            Self::Failed { what, why } => write!(formatter, "{what}: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// The single line that installs `packages` on Debian.
#[must_use]
pub fn install_line(packages: &[&str]) -> String {
    format!(
        "apt-get update && apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    )
}

/// The Debian packages that the tests need and this machine lacks; empty when everything is there.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    let mut packages = Vec::new();
    packages.extend(postgres::missing());
    packages.extend(mariadb::missing());
    packages.extend(galera::missing());
    packages.extend(redis::missing());
    packages.extend(sentinel::missing());
    packages.extend(activemq::missing());
    packages.extend(rabbitmq::missing());
    packages
}

/// Whether a program of this name is on the search path.
#[must_use]
pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Whether this process acts as root.
#[must_use]
pub fn is_root() -> bool {
    temp::effective_uid() == 0
}

/// Looks at `condition` until it holds.
///
/// # Panics
/// When it does not hold within `limit`; the message names `what`.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, condition: impl FnMut() -> bool) {
    assert!(
        holds_within(limit, condition),
        "waited {limit:?} in vain until {what}"
    );
}

/// Whether `condition` came to hold within `limit`.
pub fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

/// Waits until a started server answers; fails early when its process ends, and with the end of its log.
fn wait_ready(
    what: &str,
    process: &Process,
    mut answers: impl FnMut() -> bool,
) -> Result<(), Error> {
    let mut ended = false;
    let ready = holds_within(START_LIMIT, || {
        if answers() {
            return true;
        }
        ended = !process.is_alive();
        ended
    });
    if ready && !ended {
        return Ok(());
    }
    let state = if ended {
        "its process ended"
    } else {
        "it gave no answer"
    };
    Err(Error::failed(
        format!("start {what}"),
        format!("{state}; end of its log:\n{}", process.log_tail()),
    ))
}

/// Whether something accepts connections on this loopback port.
fn accepts(port: u16) -> bool {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// The number in an environment variable that names a shared server's port.
fn shared_port(variable: &str) -> Option<u16> {
    std::env::var(variable)
        .ok()
        .and_then(|value| value.parse().ok())
}

/// Writes a file that a server reads at its start.
fn write_config(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text)
        .map_err(|error| Error::failed(format!("write {}", path.display()), error))
}
