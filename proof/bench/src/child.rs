//! A node as a process of its own: `campanile-bench node`, the same program again, which starts what `serve` starts and notes its
//! starts in a file. It ends when its parent does: it reads from a pipe that only the parent holds.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use campanile_core::system::within;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::{ChildStdin, Command};

use super::Error;
use super::program::own_program;
use super::record::Record;
use super::site::{Place, Site};
use campanile_server::config::Hidden;
use campanile_server::lifecycle::{self, Signals};

/// `campanile-bench node`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The node's name
    #[arg(long)]
    name: String,
    /// The file to note starts in
    #[arg(long)]
    record: PathBuf,
    /// How long a leader that died is waited for
    #[arg(long, default_value = "5s")]
    lock_ttl: String,
    /// The node's roles
    #[arg(long, default_value = "scheduler,worker,api")]
    roles: String,
    /// Where it listens
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// The file that holds what it lets in
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A node that runs.
#[derive(Debug)]
pub struct Child {
    /// Its name.
    pub name: String,
    process: tokio::process::Child,
    /// The pipe that it reads from. Kept apart: waiting for a process closes its pipe.
    _input: Option<ChildStdin>,
    log: PathBuf,
}

/// Runs the node until it is told to stop or its parent is gone.
///
/// # Errors
/// What it lacks.
pub async fn run(args: &Args) -> Result<ExitCode, Error> {
    let unavailable = |source| Error::File {
        path: args.record.clone(),
        source,
    };
    let signals = Signals::listen().map_err(unavailable)?;
    let record = Record::in_file(&args.record).map_err(unavailable)?;
    let more = [
        ("lock_ttl", args.lock_ttl.as_str()),
        ("roles", &args.roles),
        ("listen", &args.listen),
    ];
    let mut site = Site::join(&args.place, &args.name, &more).await?;
    if let Some(file) = &args.token_file {
        let token = std::fs::read_to_string(file).map_err(unavailable)?;
        site.settings.http.token = Some(Hidden::new(token));
    }
    let app = site.start(&record).await?;
    let drain = site.settings.node.drain;
    tokio::select! {
        code = lifecycle::run(app, signals, drain, None) => Ok(code),
        () = parent_gone() => Ok(ExitCode::FAILURE),
    }
}

/// Returns when the other end of the standard input, a pipe, is closed.
pub async fn parent_gone() {
    let owned = std::io::stdin().as_fd().try_clone_to_owned();
    let Ok(mut input) = owned.and_then(pipe::Receiver::from_owned_fd) else {
        // No pipe: started by hand.
        return std::future::pending().await;
    };
    let mut nothing = [0; 16];
    while input.read(&mut nothing).await.is_ok_and(|n| n > 0) {}
}

impl Child {
    /// Starts a node.
    ///
    /// # Errors
    /// The operating system's.
    pub fn spawn(
        place: &Place,
        name: &str,
        record: &Path,
        more: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let log = record.with_extension("log");
        let file = |source| Error::File {
            path: log.clone(),
            source,
        };
        let program = own_program()?;
        let errors = std::fs::File::create(&log).map_err(file)?;
        let mut command = Command::new(program);
        command
            .args(["node", "--name", name])
            .arg("--record")
            .arg(record);
        for (flag, value) in [("--lock", &place.lock), ("--broker", &place.broker)] {
            command.args([flag, value]);
        }
        if let Some(store) = &place.store {
            command.args(["--store", store]);
        }
        command.args(["--slots", &place.slots.to_string()]);
        for (flag, value) in more {
            command.args([flag, value]);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(errors)
            .kill_on_drop(true);
        let mut process = command.spawn().map_err(file)?;
        Ok(Self {
            name: name.to_owned(),
            _input: process.stdin.take(),
            process,
            log,
        })
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// A node that was gone, or does not stop, with the end of its log.
    pub async fn stop(mut self, patience: Duration) -> Result<(), Error> {
        self.signal(Signal::SIGTERM)?;
        match within(patience, self.process.wait()).await {
            Some(Ok(status)) if status.success() => Ok(()),
            ended => Err(self.trouble(&format!("it did not stop well ({ended:?})"))),
        }
    }

    /// Kills it where it stands.
    ///
    /// # Errors
    /// A node that was gone.
    pub async fn kill(mut self) -> Result<(), Error> {
        self.signal(Signal::SIGKILL)?;
        self.process
            .wait()
            .await
            .map(drop)
            .map_err(|e| self.trouble(&e.to_string()))
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.ok_or_else(|| self.trouble("it is gone"))?;
        kill(Pid::from_raw(pid), signal).map_err(|e| self.trouble(&e.to_string()))
    }

    fn trouble(&self, what: &str) -> Error {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let end: Vec<&str> = log.lines().rev().take(5).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        Error::Impossible(format!(
            "node `{}`: {what}; the end of its log:\n{}",
            self.name,
            end.join("\n")
        ))
    }
}
