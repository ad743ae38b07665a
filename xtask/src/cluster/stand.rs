//! The cluster under test: private servers, scheduler nodes and workers, each an operating-system process of its own on
//! loopback. Owns their processes, ports and logs; never judges what they do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use xtask::servers::{
    ActiveMq, Postgres, PostgresOptions, Process, Sentinel, free_port, wait_until,
};

use super::load::QUEUES;
use crate::field::processes::processes;
use crate::field::programs::SHELL;
use crate::field::{Outcome, http};

/// How long the lock of a leader that died is waited for.
pub const LOCK_TTL: Duration = Duration::from_secs(5);
/// How long a node may take to answer after its start.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// The scheduler nodes, by name.
pub const SCHEDULERS: [&str; 3] = ["s1", "s2", "s3"];
/// The workers, by name.
pub const WORKERS: [&str; 2] = ["w1", "w2"];
/// The token of API and metrics; nothing but this run ever accepts it.
pub const TOKEN: &str = "cluster-Jm3xV8qHt5ZcRw6NyKb2";

/// The servers that the nodes share.
pub struct Servers {
    /// The store.
    pub postgres: Postgres,
    /// The database in it.
    pub database: String,
    /// The lock.
    pub sentinel: Sentinel,
    /// The broker.
    pub broker: ActiveMq,
}

impl Servers {
    /// Starts all of them, side by side.
    pub fn start() -> Outcome<Self> {
        let options = PostgresOptions {
            fsync: true,
            ..PostgresOptions::default()
        };
        let (postgres, sentinel, broker) = std::thread::scope(|scope| {
            let postgres = scope.spawn(|| Postgres::start_with(options));
            let sentinel = scope.spawn(|| Sentinel::start(3, 2));
            let broker = scope.spawn(ActiveMq::start);
            (postgres.join(), sentinel.join(), broker.join())
        });
        let postgres = postgres.map_err(|_| "PostgreSQL's start panicked")??;
        let database = postgres.create_database("cluster")?;
        Ok(Self {
            postgres,
            database,
            sentinel: sentinel.map_err(|_| "Sentinel's start panicked")??,
            broker: broker.map_err(|_| "ActiveMQ's start panicked")??,
        })
    }

    /// Copies the servers' logs into `folder`, for whoever looks for the reason of a failure.
    pub fn keep_logs(&self, folder: &Path) {
        let own = [
            self.postgres.folder(),
            self.sentinel.folder(),
            self.broker.folder(),
        ];
        for entry in own.iter().flat_map(std::fs::read_dir).flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let _ = std::fs::copy(&path, folder.join(entry.file_name()));
            }
        }
    }
}

/// One node.
struct Member {
    port: u16,
    process: Process,
}

/// All nodes, over the servers.
pub struct Stand {
    // Before the servers, so that they are ended first.
    members: BTreeMap<&'static str, Member>,
    /// The servers.
    pub servers: Servers,
    program: PathBuf,
    folder: PathBuf,
}

impl Stand {
    /// A stand without nodes; `folder` takes their logs.
    pub fn new(servers: Servers, program: PathBuf, folder: PathBuf) -> Self {
        Self {
            members: BTreeMap::new(),
            servers,
            program,
            folder,
        }
    }

    /// Starts a node, or starts it again at its old address, and waits until it answers.
    pub fn start(&mut self, name: &'static str) -> Outcome<()> {
        let port = self
            .members
            .get(name)
            .map_or_else(free_port, |member| member.port);
        let mut serve = self.command(&["serve", "--name", name]);
        serve
            .arg("--store")
            .arg(&self.servers.database)
            .arg("--lock")
            .arg(self.servers.sentinel.url())
            .arg("--broker")
            .arg(self.servers.broker.stomp_url())
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--lock-ttl", &format!("{}s", LOCK_TTL.as_secs())]);
        if WORKERS.contains(&name) {
            serve.args(["--roles", "worker", "--queues", QUEUES, "--slots", "64"]);
            serve.args(["--allow-commands", SHELL, "--allow-private-targets"]);
        } else {
            serve.args(["--roles", "scheduler,api"]);
        }
        let process = Process::spawn(&serve, &self.folder.join(format!("{name}.log")))?;
        self.members.insert(name, Member { port, process });
        let member = &self.members[name];
        let ready = xtask::servers::holds_within(READY_LIMIT, || {
            !member.process.is_alive()
                || http::call(port, "GET", "/readyz", TOKEN).is_ok_and(|(status, _)| status == 200)
        });
        if ready && member.process.is_alive() {
            return Ok(());
        }
        let tail = member.process.log_tail();
        Err(format!("node {name} did not become ready; end of its log:\n{tail}").into())
    }

    /// A command of the product against the API of the first scheduler node that answers.
    pub fn cli(&self, arguments: &[&str]) -> Outcome<String> {
        let port = self
            .api_port()
            .ok_or("no scheduler node answers")?
            .to_string();
        let mut cli = self.command(arguments);
        cli.env("CAMPANILE_URL", format!("http://127.0.0.1:{port}"));
        let output = cli.output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!(
            "campanile {}: {}: {said}",
            arguments.join(" "),
            output.status
        )
        .into())
    }

    /// The product's program, with nothing in its environment of what was meant for this tool.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CAMPANILE_") {
                command.env_remove(name);
            }
        }
        command.env("CAMPANILE_TOKEN", TOKEN);
        command
    }

    /// The port of a scheduler node that answers.
    pub fn api_port(&self) -> Option<u16> {
        SCHEDULERS.iter().find_map(|name| {
            let port = self.members.get(name)?.port;
            let (status, _) = http::call(port, "GET", "/healthz", TOKEN).ok()?;
            (status == 200).then_some(port)
        })
    }

    /// A node's process.
    pub fn process(&self, name: &str) -> &Process {
        &self.members[name].process
    }

    /// The names of the nodes that have been started, as the compiler knows them.
    pub fn known(name: &str) -> Outcome<&'static str> {
        let all = SCHEDULERS.iter().chain(&WORKERS).copied();
        all.into_iter()
            .find(|known| *known == name)
            .ok_or_else(|| format!("the store names a node `{name}` that nobody started").into())
    }

    /// One counter of a node's `/metrics`; 0 when the node doesn't answer or has no such counter.
    pub fn counter(&self, name: &str, counter: &str) -> u64 {
        let Some(member) = self.members.get(name) else {
            return 0;
        };
        let text = http::ask(member.port, "GET", "/metrics", TOKEN).unwrap_or_default();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .find(|(series, _)| {
                let name = series.split('{').next().unwrap_or_default();
                name == format!("campanile_{counter}_total")
                    || name == format!("campanile_{counter}")
            })
            .and_then(|(_, value)| value.parse::<f64>().ok())
            .map_or(0, |value| value as u64)
    }

    /// The resident memory of each node now, and at its highest, in MiB.
    pub fn memory(&self) -> Vec<(String, u64, u64)> {
        let of = |pid: u32, field: &str| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|l| l.strip_prefix(field));
            let kib = line.and_then(|l| l.trim_start_matches(':').split_whitespace().next());
            kib.and_then(|k| k.parse::<u64>().ok()).unwrap_or(0) / 1_024
        };
        self.members
            .iter()
            .map(|(name, member)| {
                let pid = member.process.pid();
                ((*name).to_owned(), of(pid, "VmRSS"), of(pid, "VmHWM"))
            })
            .collect()
    }

    /// Asks every node to end, waits, and tells which did not end well.
    pub fn stop_all(&self, limit: Duration) -> Vec<String> {
        for member in self.members.values() {
            member.process.sigterm();
        }
        let mut wrong = Vec::new();
        for (name, member) in &self.members {
            match member.process.wait_exit(limit) {
                Some(status) if status.success() => {}
                Some(status) => wrong.push(format!("{name} ended with {status}")),
                None => wrong.push(format!("{name} had not ended after {limit:?}")),
            }
        }
        wrong
    }

    /// Processes of this run that still live: those of our program with our broker's address, and those of our scripts.
    pub fn left_behind(&self) -> Vec<String> {
        let marks = [
            self.servers.broker.stomp_url(),
            self.folder.display().to_string(),
        ];
        processes()
            .into_iter()
            .filter(|(pid, line)| {
                *pid != std::process::id() && marks.iter().any(|mark| line.contains(mark))
            })
            .map(|(pid, line)| format!("{pid}: {line}"))
            .collect()
    }

    /// Waits for the first leader.
    pub fn wait_for_api(&self) {
        wait_until("the API answers", READY_LIMIT, || self.api_port().is_some());
    }
}
