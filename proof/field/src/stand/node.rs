//! One node of the product: its process, its port, and a proxy of its own in front of each server that it talks to over
//! a socket. Owns starting it again for as long as it takes; never chooses what is done to it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use xtask::proxy::Proxy;
use xtask::servers::{Process, free_port, holds_within};

use crate::{Outcome, http};

/// How long one start may take before it is tried again.
const START_LIMIT: Duration = Duration::from_secs(15);
/// How long a node is started again and again, while what it needs is broken.
const PATIENCE: Duration = Duration::from_secs(120);
/// The wait between two starts.
const RETRY: Duration = Duration::from_millis(300);

/// What a node talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server {
    /// Where tasks and runs are kept.
    Store,
    /// Who decides who tries to lead.
    Lock,
    /// What carries runs to workers.
    Broker,
}

impl Server {
    /// The word in the account.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Lock => "lock",
            Self::Broker => "broker",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    All,
    Scheduler,
    Worker,
}

impl Role {
    /// Whether it schedules, and has an API.
    pub fn schedules(self) -> bool {
        self != Self::Worker
    }

    pub fn works(self) -> bool {
        self != Self::Scheduler
    }

    /// As the product's settings spell it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::All => "scheduler,worker,api",
            Self::Scheduler => "scheduler,api",
            Self::Worker => "worker",
        }
    }
}

pub struct Node {
    pub name: &'static str,
    pub port: u16,
    pub role: Role,
    /// The file whose text libfaketime adds to the node's wall clock, if it runs under one.
    pub clock: Option<PathBuf>,
    pub links: Vec<(Server, Proxy)>,
    /// Held by whoever does something to its process or links.
    pub turn: Mutex<()>,
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    log: PathBuf,
    process: Mutex<Option<Process>>,
    lives: AtomicU64,
    /// Where in its log the present life begins.
    born_at: AtomicU64,
}

/// The product's program, with nothing in its environment of what was meant for this tool.
pub fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CAMPANILE_") {
            command.env_remove(name);
        }
    }
    command.env("CAMPANILE_TOKEN", http::TOKEN);
    command
}

impl Node {
    /// A node that has not started; `arguments` are all but its name and address.
    pub fn new(
        name: &'static str,
        role: Role,
        program: &Path,
        arguments: &[String],
        log: PathBuf,
    ) -> Self {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let mut all: Vec<String> = ["serve", "--name", name, "--listen", &listen]
            .map(str::to_owned)
            .into();
        all.extend_from_slice(arguments);
        Self {
            name,
            port,
            role,
            clock: None,
            links: Vec::new(),
            turn: Mutex::new(()),
            program: program.to_owned(),
            arguments: all,
            variables: Vec::new(),
            log,
            process: Mutex::new(None),
            lives: AtomicU64::new(0),
            born_at: AtomicU64::new(0),
        }
    }

    /// The same behind these links.
    pub fn behind(mut self, links: Vec<(Server, Proxy)>) -> Self {
        self.links = links;
        self
    }

    /// The same under the clock in this file, which this library reads.
    pub fn under(mut self, clock: Option<(PathBuf, PathBuf)>) -> Self {
        if let Some((file, library)) = clock {
            let own = [
                ("LD_PRELOAD", library.display().to_string()),
                ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
                ("FAKETIME_CACHE_DURATION", "1".to_owned()),
                ("DONT_FAKE_MONOTONIC", "1".to_owned()),
                ("NO_FAKE_STAT", "1".to_owned()),
            ];
            let own = own.map(|(name, value)| (name.to_owned(), value));
            self.variables.extend(own);
            self.clock = Some(file);
        }
        self
    }

    /// Starts it again and again until it answers.
    pub fn start(&self) -> Outcome<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            if self.try_start()? {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("{} did not start within {PATIENCE:?}", self.name).into());
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Starts it once; whether it answered. A node ends at its start when it finds no store.
    fn try_start(&self) -> Outcome<bool> {
        self.spawn(&[])?;
        let mut answers = false;
        holds_within(START_LIMIT, || {
            answers = self.answers();
            answers || !self.is_alive()
        });
        Ok(answers)
    }

    /// Starts it with more variables, and does not wait for it.
    pub fn spawn(&self, variables: &[(&str, &str)]) -> Outcome<()> {
        let mut serve = program(&self.program);
        serve.args(&self.arguments);
        let own = self.variables.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        serve.envs(own).envs(variables.iter().copied());
        // The old process is gone before the new one takes its port.
        *self.process() = None;
        let born_at = std::fs::metadata(&self.log).map_or(0, |log| log.len());
        self.born_at.store(born_at, Ordering::SeqCst);
        let process = Process::spawn(&serve, &self.log)?;
        self.lives.fetch_add(1, Ordering::SeqCst);
        *self.process() = Some(process);
        Ok(())
    }

    /// Whether it answers at all.
    pub fn answers(&self) -> bool {
        http::call(self.port, "GET", "/healthz").is_ok_and(|(status, _)| status == 200)
    }

    /// Whether it answers, and has all that it needs.
    pub fn is_ready(&self) -> bool {
        http::call(self.port, "GET", "/readyz").is_ok_and(|(status, _)| status == 200)
    }

    /// Whether its process runs (a stopped one does).
    pub fn is_alive(&self) -> bool {
        self.process().as_ref().is_some_and(Process::is_alive)
    }

    /// Does something with its process.
    pub fn with<T>(&self, act: impl FnOnce(&Process) -> T) -> Outcome<T> {
        let process = self.process();
        let process = process.as_ref();
        Ok(act(process.ok_or_else(|| {
            format!("{} was never started", self.name)
        })?))
    }

    /// The file of all that it has said.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// All that it has said, in all of its lives.
    pub fn said(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether it has said this in its present life.
    pub fn says(&self, text: &str) -> bool {
        let born_at = usize::try_from(self.born_at.load(Ordering::SeqCst)).unwrap_or(0);
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let own = bytes.get(born_at..).unwrap_or_default();
        String::from_utf8_lossy(own).contains(text)
    }

    /// How often it was started.
    pub fn lives(&self) -> u64 {
        self.lives.load(Ordering::SeqCst)
    }

    /// Lets everything pass again on all of its links.
    pub fn heal(&self) {
        for (_, proxy) in &self.links {
            proxy.heal();
        }
    }

    /// One of its counters; 0 when it does not answer or has no such counter.
    pub fn counter(&self, counter: &str) -> u64 {
        let series = format!("{counter}_total");
        let metrics = self.metrics().unwrap_or_default();
        let is_it = |name: &str| name.split('{').next() == Some(&series);
        let value = metrics.iter().find(|(name, _)| is_it(name));
        value.map_or(0, |(_, value)| *value as u64)
    }

    /// Its numbers, as `/metrics` says them: each series without labels, and with them.
    pub fn metrics(&self) -> Outcome<Vec<(String, f64)>> {
        let text = http::ask(self.port, "GET", "/metrics")?;
        Ok(read_metrics(&text))
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every series with its value; the common beginning of the names is left out.
pub fn read_metrics(text: &str) -> Vec<(String, f64)> {
    let read = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        let name = name.strip_prefix("campanile_")?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(read)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_with_their_labels() {
        let text = "# TYPE campanile_x counter\ncampanile_x_total 3\ncampanile_skew -250\n\
                    campanile_occurrences_skipped_total{reason=\"overlap\"} 7\n# EOF\n";
        let read = read_metrics(text);
        assert_eq!(read[0], ("x_total".to_owned(), 3.0));
        assert_eq!(read[1], ("skew".to_owned(), -250.0));
        assert_eq!(read[2].0, "occurrences_skipped_total{reason=\"overlap\"}");
    }
}
