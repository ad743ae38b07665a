//! A private PostgreSQL from Debian's binaries: trust authentication on loopback, a data folder of its own, faults on
//! request. It never touches the machine's cluster, and never runs as root (PostgreSQL refuses to).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::sys::signal::Signal;

use super::process::{Process, output_of};
use super::temp::{TempDir, effective_uid, free_port};
use super::tmpfs::Tmpfs;
use super::{Error, shared_port, wait_ready};

/// Names the port of the instance that a whole test run shares.
pub const SHARED_VARIABLE: &str = "CAMPANILE_TEST_POSTGRES";
const VERSIONS: &str = "/usr/lib/postgresql";
/// The user that Debian's package makes; the server runs as it when the tests run as root.
const SYSTEM_USER: &str = "postgres";
const PACKAGE: &str = "postgresql";
/// How long an immediate shutdown may take before the processes are killed.
const STOP_LIMIT: std::time::Duration = std::time::Duration::from_secs(5);
/// PostgreSQL cuts names after 63 bytes; the rest is for the unique end.
const NAME_BYTES_MAX: usize = 40;

/// What an instance is to be like.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether commits reach the disk: off for tests, on for benchmarks and the cluster test.
    pub fsync: bool,
    /// Further server settings, as in `postgresql.conf`.
    pub settings: Vec<(String, String)>,
    /// The size in MiB of a disk of its own, which a test can fill; `None` = an ordinary folder. Needs root.
    pub disk_mib: Option<u32>,
}

/// A private PostgreSQL server.
#[derive(Debug)]
pub struct Postgres {
    binaries: PathBuf,
    port: u16,
    /// `None` when it is the run's shared one, which somebody else owns.
    own: Option<Instance>,
}

#[derive(Debug)]
struct Instance {
    // Before the folder, so that it is ended first.
    process: Mutex<Process>,
    // Before the folder that it is mounted in.
    disk: Option<Tmpfs>,
    folder: TempDir,
    options: Options,
}

impl Postgres {
    /// Starts an instance for tests: nothing is synced to the disk.
    ///
    /// # Errors
    /// [`Error::Missing`] without Debian's `postgresql`, [`Error::Failed`] when it doesn't start.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(Options::default())
    }

    /// Starts an instance with these options.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(options: Options) -> Result<Self, Error> {
        let binaries = binaries().ok_or(Error::Missing {
            packages: vec![PACKAGE],
        })?;
        let folder =
            new_folder().map_err(|error| Error::failed("make a folder for PostgreSQL", error))?;
        let disk = options.disk_mib.map(|mib| new_disk(&folder, mib));
        let disk = disk
            .transpose()
            .map_err(|error| Error::failed("mount a disk for PostgreSQL", error))?;
        init(&binaries, &folder)?;
        let port = free_port();
        let process = launch(&binaries, &folder, port, &options)?;
        let own = Instance {
            process: Mutex::new(process),
            disk,
            folder,
            options,
        };
        let server = Self {
            binaries,
            port,
            own: Some(own),
        };
        server.wait_ready()?;
        Ok(server)
    }

    /// The instance of this test run; without one, an instance shared by this process.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn shared() -> Result<Arc<Self>, Error> {
        static HERE: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut here = HERE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = here.upgrade() {
            return Ok(server);
        }
        let server = match shared_port(SHARED_VARIABLE) {
            Some(port) => {
                let binaries = binaries().ok_or(Error::Missing {
                    packages: vec![PACKAGE],
                })?;
                Self {
                    binaries,
                    port,
                    own: None,
                }
            }
            None => Self::start()?,
        };
        let server = Arc::new(server);
        *here = Arc::downgrade(&server);
        Ok(server)
    }

    /// The URL of the database that always exists.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Its port on 127.0.0.1 (to put a proxy in front of it).
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server's first process.
    ///
    /// # Panics
    /// On the shared instance.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.own().process().pid()
    }

    /// Makes a new, empty database and gives its URL. `name` is a hint for people: the real name is unique.
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
        let unique = format!(
            "{}_{}_{count}",
            plain.collect::<String>().to_ascii_lowercase(),
            std::process::id()
        );
        self.sql(&format!(
            "CREATE DATABASE \"t_{unique}\" TEMPLATE template0"
        ))?;
        Ok(self.url_of(&format!("t_{unique}")))
    }

    /// Runs one statement in the database `postgres` through `psql` and gives its unaligned output.
    ///
    /// # Errors
    /// [`Error::Failed`] with the server's message.
    pub fn sql(&self, statement: &str) -> Result<String, Error> {
        self.sql_at(&self.url(), statement)
    }

    /// The same, in the database at `url`: for tests that look from outside.
    ///
    /// # Errors
    /// [`Error::Failed`] with the server's message.
    pub fn sql_at(&self, url: &str, statement: &str) -> Result<String, Error> {
        let mut psql = self.psql(url);
        psql.args(["--command", statement]);
        output_of(&mut psql).map_err(|why| Error::failed(format!("run `{statement}`"), why))
    }

    /// `psql` on the database at `url`, with plain output and no settings of the user's: for tests that need more than
    /// one answer of it.
    #[must_use]
    pub fn psql(&self, url: &str) -> Command {
        let mut psql = Command::new(self.binaries.join("psql"));
        psql.args([
            "--no-psqlrc",
            "--quiet",
            "--tuples-only",
            "--no-align",
            "--set",
            "ON_ERROR_STOP=1",
            "--dbname",
            url,
        ]);
        psql
    }

    /// Halts every process of the server where it stands: connections stay open and nothing answers.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn pause(&self) {
        self.own().process().signal_family(Signal::SIGSTOP);
    }

    /// Lets a paused server go on.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn resume(&self) {
        self.own().process().signal_family(Signal::SIGCONT);
    }

    /// Kills every process of the server at once, as a power cut would.
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
        self.kill9();
        let own = self.own();
        *own.process() = launch(&self.binaries, &own.folder, self.port, &own.options)?;
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

    /// The disk that its data lies on, if it has one of its own.
    ///
    /// # Panics
    /// On the shared instance.
    #[must_use]
    pub fn disk(&self) -> Option<&Tmpfs> {
        self.own().disk.as_ref()
    }

    fn own(&self) -> &Instance {
        let Some(own) = &self.own else {
            panic!("the run's shared PostgreSQL is not ours to break: start a private one")
        };
        own
    }

    fn url_of(&self, database: &str) -> String {
        format!(
            "postgres://{SYSTEM_USER}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    fn wait_ready(&self) -> Result<(), Error> {
        wait_ready("PostgreSQL", &self.own().process(), || {
            self.sql("SELECT 1").is_ok()
        })
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
        process.signal_family(Signal::SIGCONT);
        // An immediate shutdown: nothing is written, and the kernel's shared memory is given back.
        process.sigquit();
        if process.wait_exit(STOP_LIMIT).is_none() {
            process.kill9_family();
        }
        free_shared_memory(self.folder.path());
    }
}

/// A killed server leaves a small segment of System V shared memory behind, which only its next start would free. Its
/// number stands in the file that the server also leaves.
pub(super) fn free_shared_memory(folder: &Path) {
    let Ok(note) = std::fs::read_to_string(folder.join("data").join("postmaster.pid")) else {
        return;
    };
    let segment = note
        .lines()
        .nth(6)
        .and_then(|line| line.split_whitespace().nth(1));
    if let Some(segment) = segment {
        // An error means that it is gone already.
        let _ = output_of(Command::new("ipcrm").args(["--shmem-id", segment]));
    }
}

pub(super) fn missing() -> Option<&'static str> {
    binaries().is_none().then_some(PACKAGE)
}

/// The folder of the newest installed version's programs.
fn binaries() -> Option<PathBuf> {
    let entries = std::fs::read_dir(VERSIONS).ok()?;
    let versions = entries.flatten().filter_map(|entry| {
        let folder = entry.path().join("bin");
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let complete = ["initdb", "postgres", "psql"]
            .iter()
            .all(|program| folder.join(program).is_file());
        complete.then_some((number, folder))
    });
    versions.max().map(|(_, folder)| folder)
}

/// The user to become, when this process is root.
fn server_user() -> Option<&'static str> {
    (effective_uid() == 0).then_some(SYSTEM_USER)
}

/// A folder that the server's user owns.
fn new_folder() -> std::io::Result<TempDir> {
    let folder = TempDir::new("postgres")?;
    if let Some(user) = server_user() {
        let (uid, gid) = ids_of(user)
            .ok_or_else(|| std::io::Error::other(format!("no user {user} on this machine")))?;
        std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid))?;
    }
    Ok(folder)
}

/// A disk of its own for the data, which the server's user owns.
fn new_disk(folder: &TempDir, mib: u32) -> std::io::Result<Tmpfs> {
    let data = folder.join("data");
    std::fs::create_dir(&data)?;
    Tmpfs::mount(&data, mib, server_user().and_then(ids_of))
}

pub(super) fn ids_of(user: &str) -> Option<(u32, u32)> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users
        .lines()
        .find(|line| line.split(':').next() == Some(user))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn init(binaries: &Path, folder: &TempDir) -> Result<(), Error> {
    let mut initdb = Command::new(binaries.join("initdb"));
    initdb.args([
        "--no-sync",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--username",
        SYSTEM_USER,
    ]);
    initdb
        .arg("--pgdata")
        .arg(folder.join("data"))
        .current_dir(folder.path());
    let run = Process::spawn_as(server_user(), &initdb, &folder.join("initdb.log"));
    let process = run.map_err(|error| Error::failed("run initdb", error))?;
    let status = process.wait_exit(super::START_LIMIT);
    if status.is_some_and(|status| status.success()) {
        return Ok(());
    }
    Err(Error::failed(
        "make a PostgreSQL data folder",
        process.log_tail(),
    ))
}

fn launch(
    binaries: &Path,
    folder: &TempDir,
    port: u16,
    options: &Options,
) -> Result<Process, Error> {
    let mut server = Command::new(binaries.join("postgres"));
    server
        .arg("-D")
        .arg(folder.join("data"))
        .current_dir(folder.path());
    let sync = if options.fsync { "on" } else { "off" };
    let port = port.to_string();
    let fixed = [
        ("port", port.as_str()),
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("fsync", sync),
        ("full_page_writes", sync),
        ("max_connections", "300"),
        ("max_prepared_transactions", "0"),
    ];
    for (name, value) in fixed {
        server.arg("-c").arg(format!("{name}={value}"));
    }
    for (name, value) in &options.settings {
        server.arg("-c").arg(format!("{name}={value}"));
    }
    let started = Process::spawn_as(server_user(), &server, &folder.join("postgres.log"));
    started.map_err(|error| Error::failed("start PostgreSQL", error))
}
