//! One node of the product: its process, its port, and a proxy of its own in front of each server that it talks to over
//! a socket. Owns starting it again for as long as it takes; never chooses what is done to it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use xtask::proxy::Proxy;
use xtask::servers::{Process, free_port, holds_within};

use crate::field::{Outcome, http};

/// The token of API and metrics; nothing but this run ever accepts it.
pub const TOKEN: &str = "chaos-Wd7kQ2vTz9RbXn4LsYp1";
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

/// One node.
pub struct Node {
    /// Its name.
    pub name: &'static str,
    /// Where it serves HTTP.
    pub port: u16,
    /// Whether it runs tasks; else it schedules.
    pub worker: bool,
    /// The file whose text libfaketime adds to the node's wall clock, if it runs under one.
    pub clock: Option<PathBuf>,
    /// Its links to servers.
    pub links: Vec<(Server, Proxy)>,
    /// Held by whoever does something to its process or links.
    pub turn: Mutex<()>,
    program: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    log: PathBuf,
    process: Mutex<Option<Process>>,
    /// Grows with each start.
    lives: AtomicU64,
}

/// What a node is to be.
pub struct Plan<'a> {
    /// Its name.
    pub name: &'static str,
    /// Whether it runs tasks.
    pub worker: bool,
    /// The program.
    pub program: &'a Path,
    /// Its arguments, but name and address.
    pub arguments: Vec<String>,
    /// Its links.
    pub links: Vec<(Server, Proxy)>,
    /// The file of its clock, and the library that reads it.
    pub clock: Option<(PathBuf, PathBuf)>,
    /// Where logs go.
    pub folder: &'a Path,
}

impl Node {
    /// A node that has not started.
    pub fn new(plan: Plan<'_>) -> Self {
        let port = free_port();
        let mut arguments = vec!["serve".to_owned()];
        let own = [
            ("--name", plan.name.to_owned()),
            ("--listen", format!("127.0.0.1:{port}")),
        ];
        for (flag, value) in own {
            arguments.extend([flag.to_owned(), value]);
        }
        arguments.extend(plan.arguments);
        let mut variables = vec![("CAMPANILE_TOKEN".to_owned(), TOKEN.to_owned())];
        if let Some((file, library)) = &plan.clock {
            let own = [
                ("LD_PRELOAD", library.display().to_string()),
                ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
                ("FAKETIME_CACHE_DURATION", "1".to_owned()),
                ("DONT_FAKE_MONOTONIC", "1".to_owned()),
                ("NO_FAKE_STAT", "1".to_owned()),
            ];
            variables.extend(own.map(|(name, value)| (name.to_owned(), value)));
        }
        Self {
            name: plan.name,
            port,
            worker: plan.worker,
            clock: plan.clock.map(|(file, _)| file),
            links: plan.links,
            turn: Mutex::new(()),
            program: plan.program.to_owned(),
            arguments,
            variables,
            log: plan.folder.join(format!("{}.log", plan.name)),
            process: Mutex::new(None),
            lives: AtomicU64::new(0),
        }
    }

    /// The product's program, with nothing in its environment of what was meant for this tool.
    pub fn program(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CAMPANILE_") {
                command.env_remove(name);
            }
        }
        command
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
        let mut serve = self.program();
        serve.args(&self.arguments);
        for (name, value) in &self.variables {
            serve.env(name, value);
        }
        // The old process is gone before the new one takes its port.
        *self.process() = None;
        let process = Process::spawn(&serve, &self.log)?;
        self.lives.fetch_add(1, Ordering::SeqCst);
        *self.process() = Some(process);
        let mut answers = false;
        holds_within(START_LIMIT, || {
            answers = self.answers();
            answers || !self.is_alive()
        });
        Ok(answers)
    }

    /// Whether it answers at all.
    pub fn answers(&self) -> bool {
        http::call(self.port, "GET", "/healthz", TOKEN).is_ok_and(|(status, _)| status == 200)
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

    /// Its numbers, as `/metrics` says them: each series without labels, and with them.
    pub fn metrics(&self) -> Outcome<Vec<(String, f64)>> {
        let text = http::ask(self.port, "GET", "/metrics", TOKEN)?;
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
