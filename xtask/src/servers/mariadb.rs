//! A private MariaDB from Debian's binaries: no password on loopback, a data folder of its own, and the settings that we tell
//! people to use (`deploy/mariadb/campanile.cnf`). It never touches the machine's own server, and never runs as root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::postgres::ids_of;
use super::process::{Process, output_of};
use super::temp::{TempDir, effective_uid, free_port};
use super::{Error, on_path, shared_port, wait_ready};

/// Names the port of the instance that a whole test run shares.
pub const SHARED_VARIABLE: &str = "CAMPANILE_TEST_MARIADB";
/// The settings that people copy.
const SETTINGS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../deploy/mariadb/campanile.cnf"
);
const SERVER: &str = "/usr/sbin/mariadbd";
/// The user that Debian's package makes; the server runs as it when the tests run as root.
const SYSTEM_USER: &str = "mysql";
const PACKAGE: &str = "mariadb-server";
/// MariaDB takes names of 64 characters; the rest is for the unique end.
const NAME_BYTES_MAX: usize = 40;

/// What an instance is to be like.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether commits reach the disk: off for tests, on for benchmarks.
    pub fsync: bool,
    /// Further server settings, by name.
    pub settings: Vec<(String, String)>,
}

/// A private MariaDB server.
#[derive(Debug)]
pub struct MariaDb {
    port: u16,
    /// `None` when it is the run's shared one, which somebody else owns.
    own: Option<Instance>,
}

#[derive(Debug)]
struct Instance {
    // Before the folder, so that it is ended first.
    process: Mutex<Process>,
    folder: TempDir,
    options: Options,
}

impl MariaDb {
    /// Starts an instance for tests: nothing is synced to the disk.
    ///
    /// # Errors
    /// [`Error::Missing`] without Debian's `mariadb-server`, [`Error::Failed`] when it doesn't start.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(Options::default())
    }

    /// Starts an instance with these options.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(options: Options) -> Result<Self, Error> {
        Self::start_on(free_port(), options)
    }

    /// The same, on a port that the caller has chosen.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_on(port: u16, options: Options) -> Result<Self, Error> {
        let server = Self::launch_on(port, options)?;
        server.wait_ready()?;
        Ok(server)
    }

    /// The same, without waiting until it answers.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn launch_on(port: u16, options: Options) -> Result<Self, Error> {
        if missing().is_some() {
            return Err(Error::Missing {
                packages: vec![PACKAGE],
            });
        }
        let folder =
            new_folder().map_err(|error| Error::failed("make a folder for MariaDB", error))?;
        init(&folder)?;
        let process = launch(&folder, port, &options)?;
        let own = Instance {
            process: Mutex::new(process),
            folder,
            options,
        };
        Ok(Self {
            port,
            own: Some(own),
        })
    }

    /// The instance of this test run; without one, an instance shared by this process.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn shared() -> Result<Arc<Self>, Error> {
        static HERE: Mutex<Weak<MariaDb>> = Mutex::new(Weak::new());
        let mut here = HERE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = here.upgrade() {
            return Ok(server);
        }
        let server = match shared_port(SHARED_VARIABLE) {
            Some(port) => Self { port, own: None },
            None => Self::start()?,
        };
        let server = Arc::new(server);
        *here = Arc::downgrade(&server);
        Ok(server)
    }

    /// Its port on 127.0.0.1 (to put a proxy in front of it).
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server.
    ///
    /// # Panics
    /// On the shared instance.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.own().process().pid()
    }

    /// Makes a new, empty database and gives its URL. `name` is a hint for people: the real name is unique. Its character
    /// set is not ours, as a careless administrator's may be.
    ///
    /// # Errors
    /// [`Error::Failed`] with the server's message.
    pub fn create_database(&self, name: &str) -> Result<String, Error> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let plain = name
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
            .take(NAME_BYTES_MAX);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let plain = plain.collect::<String>().to_ascii_lowercase();
        let unique = format!("t_{plain}_{}_{count}", std::process::id());
        self.sql(&format!("CREATE DATABASE {unique} CHARACTER SET latin1"))?;
        Ok(self.url_of(&unique))
    }

    /// The URL of a database of this name.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs statements through `mariadb`, in no database, and gives their plain output.
    ///
    /// # Errors
    /// [`Error::Failed`] with the server's message.
    pub fn sql(&self, statement: &str) -> Result<String, Error> {
        self.run(None, statement)
    }

    /// The same, in the database at `url`: for tests that look from outside.
    ///
    /// # Errors
    /// [`Error::Failed`] with the server's message.
    pub fn sql_at(&self, url: &str, statement: &str) -> Result<String, Error> {
        let (_, database) = url.rsplit_once('/').unwrap_or(("", url));
        self.run(Some(database), statement)
    }

    fn run(&self, database: Option<&str>, statement: &str) -> Result<String, Error> {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "--user=root", "--host=127.0.0.1"]);
        client.args([
            "--batch",
            "--skip-column-names",
            "--default-character-set=utf8mb4",
        ]);
        client.arg(format!("--port={}", self.port));
        client.args(["--execute", statement]).args(database);
        output_of(&mut client).map_err(|why| Error::failed(format!("run `{statement}`"), why))
    }

    /// Halts the server where it stands: connections stay open and nothing answers.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn pause(&self) {
        self.own().process().sigstop();
    }

    /// Lets a paused server go on.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn resume(&self) {
        self.own().process().sigcont();
    }

    /// Kills it at once, as a power cut would.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn kill9(&self) {
        self.own().process().kill9_family();
    }

    /// Starts it again on the same data and port, after [`Self::kill9`] or from a running state (then it is killed).
    ///
    /// # Errors
    /// [`Error::Failed`] when it doesn't come back.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn restart(&self) -> Result<(), Error> {
        self.restart_with(&self.own().options)
    }

    /// The same, with other options.
    ///
    /// # Errors
    /// As [`Self::restart`].
    ///
    /// # Panics
    /// On the shared instance.
    pub fn restart_with(&self, options: &Options) -> Result<(), Error> {
        self.kill9();
        let own = self.own();
        *own.process() = launch(&own.folder, self.port, options)?;
        self.wait_ready()
    }

    /// The folder of its files and logs.
    ///
    /// # Panics
    /// On the shared instance.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.own().folder.path()
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// [`Error::Failed`] with the end of its log when it does not.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn wait_ready(&self) -> Result<(), Error> {
        wait_ready("MariaDB", &self.own().process(), || {
            self.sql("SELECT 1").is_ok()
        })
    }

    fn own(&self) -> &Instance {
        let Some(own) = &self.own else {
            panic!("the run's shared MariaDB is not ours to break: start a private one")
        };
        own
    }
}

impl Instance {
    fn process(&self) -> std::sync::MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let process = self
            .process
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        process.signal_family(nix::sys::signal::Signal::SIGCONT);
        process.kill9_family();
    }
}

pub(super) fn missing() -> Option<&'static str> {
    let is_there =
        Path::new(SERVER).is_file() && on_path("mariadb-install-db") && on_path("mariadb");
    (!is_there).then_some(PACKAGE)
}

/// The user to become, when this process is root.
fn server_user() -> Option<&'static str> {
    (effective_uid() == 0).then_some(SYSTEM_USER)
}

/// A folder that the server's user owns.
fn new_folder() -> std::io::Result<TempDir> {
    let folder = TempDir::new("mariadb")?;
    if let Some(user) = server_user() {
        let (uid, gid) = ids_of(user)
            .ok_or_else(|| std::io::Error::other(format!("no user {user} on this machine")))?;
        std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid))?;
    }
    Ok(folder)
}

fn data(folder: &TempDir) -> PathBuf {
    folder.join("data")
}

/// A server that starts removes the temporary tables that it finds: those of others, if they share a folder.
fn temporary(folder: &TempDir) -> String {
    format!("--tmpdir={}", folder.path().display())
}

fn init(folder: &TempDir) -> Result<(), Error> {
    let mut install = Command::new("mariadb-install-db");
    install.args([
        "--no-defaults",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--skip-name-resolve",
        "--innodb-flush-log-at-trx-commit=0",
    ]);
    install
        .arg(format!("--datadir={}", data(folder).display()))
        .arg(temporary(folder))
        .current_dir(folder.path());
    let run = Process::spawn_as(server_user(), &install, &folder.join("install.log"));
    let process = run.map_err(|error| Error::failed("run mariadb-install-db", error))?;
    let status = process.wait_exit(super::START_LIMIT);
    if status.is_some_and(|status| status.success()) {
        return Ok(());
    }
    Err(Error::failed(
        "make a MariaDB data folder",
        process.log_tail(),
    ))
}

fn launch(folder: &TempDir, port: u16, options: &Options) -> Result<Process, Error> {
    let mut server = Command::new(SERVER);
    server
        .arg(format!("--defaults-file={SETTINGS}"))
        .arg(format!("--datadir={}", data(folder).display()))
        .arg(temporary(folder))
        .arg(format!("--socket={}", folder.join("socket").display()))
        .arg(format!("--pid-file={}", folder.join("pid").display()))
        .arg(format!("--port={port}"))
        .current_dir(folder.path());
    server.args(["--bind-address=127.0.0.1", "--innodb-buffer-pool-size=64M"]);
    if !options.fsync {
        // Commits are with the operating system: a killed server keeps them, a machine without power does not.
        server.args([
            "--innodb-flush-log-at-trx-commit=2",
            "--sync-binlog=0",
            "--innodb-doublewrite=OFF",
            "--innodb-flush-method=nosync",
            "--innodb-file-per-table=0",
        ]);
    }
    for (name, value) in &options.settings {
        server.arg(format!("--{name}={value}"));
    }
    let started = Process::spawn_as(server_user(), &server, &folder.join("mariadb.log"));
    started.map_err(|error| Error::failed("start MariaDB", error))
}
