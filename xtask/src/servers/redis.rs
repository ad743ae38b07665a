//! A private Redis without persistence: what it held is gone when it is killed, which is the case that a lock in it
//! must survive. It never talks to the machine's own Redis.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::process::Process;
use super::redis_guard::{Ports, RedisGuard};
use super::resp::command;
use super::temp::TempDir;
use super::{Error, on_path, shared_port, wait_ready};

/// Names the port of the instance that a whole test run shares.
pub const SHARED_VARIABLE: &str = "CAMPANILE_TEST_REDIS";
const PACKAGE: &str = "redis-server";

/// A private Redis server.
#[derive(Debug)]
pub struct Redis {
    ports: Ports,
    guard: RedisGuard,
    /// `None` when it is the run's shared one, which somebody else owns.
    own: Option<Instance>,
}

#[derive(Debug)]
struct Instance {
    // Before the folder, so that it is ended first.
    process: Mutex<Process>,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Redis {
    /// Starts an instance.
    ///
    /// # Errors
    /// [`Error::Missing`] without Debian's `redis-server`, [`Error::Failed`] when it doesn't start.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(&[])
    }

    /// Starts an instance with further arguments, such as `--requirepass secret`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(arguments: &[&str]) -> Result<Self, Error> {
        Self::start_guarded(RedisGuard::default(), arguments)
    }

    /// Starts an instance behind a guard.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_guarded(guard: RedisGuard, arguments: &[&str]) -> Result<Self, Error> {
        if missing().is_some() {
            return Err(Error::Missing {
                packages: vec![PACKAGE],
            });
        }
        let folder = TempDir::new("redis")
            .map_err(|error| Error::failed("make a folder for Redis", error))?;
        let ports = guard.ports();
        let arguments: Vec<String> = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        let process = Mutex::new(launch(folder.path(), ports, &guard, &arguments)?);
        let server = Self {
            ports,
            guard,
            own: Some(Instance {
                process,
                folder,
                arguments,
            }),
        };
        server.wait_ready()?;
        Ok(server)
    }

    /// The instance of this test run; without one, an instance shared by this process.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn shared() -> Result<Arc<Self>, Error> {
        static HERE: Mutex<Weak<Redis>> = Mutex::new(Weak::new());
        let mut here = HERE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = here.upgrade() {
            return Ok(server);
        }
        let server = match shared_port(SHARED_VARIABLE) {
            Some(plain) => Self {
                ports: Ports { plain, tls: None },
                guard: RedisGuard::default(),
                own: None,
            },
            None => Self::start()?,
        };
        let server = Arc::new(server);
        *here = Arc::downgrade(&server);
        Ok(server)
    }

    /// Its URL: `redis://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.ports.plain
    }

    /// The port of TLS, where it has one.
    #[must_use]
    pub const fn tls_port(&self) -> Option<u16> {
        self.ports.tls
    }

    /// Runs one command, such as `["SET", "key", "value"]`, and gives its answer as lines (nested lists flat, nil empty).
    ///
    /// # Errors
    /// [`Error::Failed`] with Redis's message.
    pub fn cli(&self, arguments: &[&str]) -> Result<String, Error> {
        self.guard.cli(self.port(), arguments)
    }

    /// Kills it at once; all that it held is lost.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn kill9(&self) {
        self.process().kill9();
    }

    /// Halts it where it stands: connections stay open and nothing answers.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn pause(&self) {
        self.process().sigstop();
    }

    /// Lets a paused server go on.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn resume(&self) {
        self.process().sigcont();
    }

    /// Starts it again, empty, on the same port (a running one is killed first).
    ///
    /// # Errors
    /// [`Error::Failed`] when it doesn't come back.
    ///
    /// # Panics
    /// On the shared instance.
    pub fn restart(&self) -> Result<(), Error> {
        self.kill9();
        let own = self.own();
        *self.process() = launch(own.folder.path(), self.ports, &self.guard, &own.arguments)?;
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

    fn own(&self) -> &Instance {
        let Some(own) = &self.own else {
            panic!("the run's shared Redis is not ours to break: start a private one")
        };
        own
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.own()
            .process
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_ready(&self) -> Result<(), Error> {
        wait_ready("Redis", &self.process(), || answers(self.port()))
    }
}

pub(super) fn missing() -> Option<&'static str> {
    (!on_path("redis-server")).then_some(PACKAGE)
}

/// Whether a Redis or Sentinel answers on this port, be it with a demand for a password.
pub(super) fn answers(port: u16) -> bool {
    match command(port, None, &["PING"]) {
        Ok(answer) => answer == "PONG",
        Err(refusal) => refusal.to_string().starts_with("NOAUTH"),
    }
}

/// Starts an empty Redis that keeps nothing on disk.
pub(super) fn launch(
    folder: &Path,
    ports: Ports,
    guard: &RedisGuard,
    arguments: &[String],
) -> Result<Process, Error> {
    let port = ports.plain;
    // A replica writes what it receives from its master to this file, and would load it at its next start.
    let image = format!("replicated-{port}.rdb");
    let _ = std::fs::remove_file(folder.join(&image));
    let port = port.to_string();
    let mut server = Command::new("redis-server");
    server.args(&guard.config);
    server.args([
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]);
    server.args([
        "--repl-diskless-sync-delay",
        "0",
        "--dbfilename",
        &image,
        "--dir",
    ]);
    server
        .arg(folder)
        .args(guard.arguments(ports))
        .args(arguments);
    let started = Process::spawn(&server, &folder.join(format!("redis-{port}.log")));
    started.map_err(|error| Error::failed("start Redis", error))
}
