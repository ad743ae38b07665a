//! A private Redis under Sentinel: one master, its replicas, and the sentinels that choose the next master. Acknowledged
//! writes can be lost in a fail-over (`min-replicas-to-write` is off), which is what a lock in it must survive.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::process::Process;
use super::redis::{answers, launch};
use super::redis_guard::{Ports, RedisGuard};
use super::temp::TempDir;
use super::{Error, START_LIMIT, holds_within, on_path, wait_ready, write_config};

const PACKAGES: [&str; 2] = ["redis-server", "redis-sentinel"];

/// What a group is to be like.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many sentinels; a majority of them must agree.
    pub sentinels: usize,
    /// How many replicas beside the master.
    pub replicas: usize,
    /// Silence of the master after which a sentinel calls it down.
    pub down_after: Duration,
    /// The time given to one fail-over before the next attempt.
    pub failover_timeout: Duration,
    /// How servers and sentinels are guarded; the settings' file is for the servers alone.
    pub guard: RedisGuard,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sentinels: 3,
            replicas: 2,
            down_after: Duration::from_millis(1_500),
            failover_timeout: Duration::from_secs(6),
            guard: RedisGuard::default(),
        }
    }
}

/// A private group of Redis servers under Sentinel. Each is named by the port that its clients use.
#[derive(Debug)]
pub struct Sentinel {
    // Before the folder, so that they are ended first.
    nodes: Mutex<BTreeMap<u16, Member>>,
    sentinels: Mutex<BTreeMap<u16, Member>>,
    guard: RedisGuard,
    folder: TempDir,
}

/// One server or sentinel.
#[derive(Debug)]
struct Member {
    process: Process,
    ports: Ports,
}

impl Sentinel {
    /// The service name that the sentinels watch.
    pub const SERVICE: &str = "mymaster";

    /// Starts one master, `replicas` replicas and `sentinels` sentinels, and waits until each knows all others.
    ///
    /// # Errors
    /// [`Error::Missing`] without Debian's Redis packages, [`Error::Failed`] when the group doesn't come together.
    pub fn start(sentinels: usize, replicas: usize) -> Result<Self, Error> {
        Self::start_with(&Options {
            sentinels,
            replicas,
            ..Options::default()
        })
    }

    /// Starts a group with these options.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(options: &Options) -> Result<Self, Error> {
        if missing().is_some() || super::redis::missing().is_some() {
            return Err(Error::Missing {
                packages: PACKAGES.to_vec(),
            });
        }
        let folder = TempDir::new("sentinel")
            .map_err(|error| Error::failed("make a folder for Sentinel", error))?;
        let group = Self {
            nodes: Mutex::default(),
            sentinels: Mutex::default(),
            guard: options.guard.clone(),
            folder,
        };
        let ports = group.guard.ports();
        let master = ports.service();
        group.launch_node(ports, None)?;
        for _ in 0..options.replicas {
            group.launch_node(group.guard.ports(), Some(master))?;
        }
        // In sync first: a sentinel asks a new master for its replicas at once, and then only every ten seconds.
        if !holds_within(START_LIMIT, || group.synced_replicas() == options.replicas) {
            return Err(Error::failed(
                "start Redis replicas",
                "they are not in sync with their master",
            ));
        }
        for _ in 0..options.sentinels {
            group.launch_sentinel(master, options)?;
        }
        group.wait_complete(options)?;
        Ok(group)
    }

    /// The lock URL: `redis+sentinel://127.0.0.1:p1,127.0.0.1:p2,…/mymaster`.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self
            .sentinel_ports()
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        format!("redis+sentinel://{}/{}", hosts.join(","), Self::SERVICE)
    }

    /// The sentinels' ports.
    #[must_use]
    pub fn sentinel_ports(&self) -> Vec<u16> {
        lock(&self.sentinels).keys().copied().collect()
    }

    /// The ports of all Redis servers of the group, whichever leads.
    #[must_use]
    pub fn node_ports(&self) -> Vec<u16> {
        lock(&self.nodes).keys().copied().collect()
    }

    /// The master's port, as a sentinel that answers sees it; `None` when none answers.
    #[must_use]
    pub fn master_port(&self) -> Option<u16> {
        self.sentinel_ports().into_iter().find_map(|port| {
            let ask = ["SENTINEL", "get-master-addr-by-name", Self::SERVICE];
            let answer = self.cli(port, &ask).ok()?;
            answer.lines().nth(1)?.parse().ok()
        })
    }

    /// Kills the master at once and gives its port. Wait for another [`Self::master_port`] to see the fail-over.
    ///
    /// # Panics
    /// When no sentinel answers.
    pub fn kill9_master(&self) -> u16 {
        self.with_master(Process::kill9)
    }

    /// Halts the master where it stands and gives its port; it still believes in itself when it goes on.
    ///
    /// # Panics
    /// When no sentinel answers.
    pub fn pause_master(&self) -> u16 {
        self.with_master(Process::sigstop)
    }

    /// Lets a paused server go on.
    ///
    /// # Panics
    /// When the group has no server on this port.
    pub fn resume(&self, port: u16) {
        let nodes = lock(&self.nodes);
        let Some(node) = nodes.get(&port) else {
            panic!("the group has no Redis on port {port}")
        };
        node.process.sigcont();
    }

    /// Starts a killed server again, empty; the sentinels make it a replica.
    ///
    /// # Errors
    /// [`Error::Failed`] when it doesn't answer.
    pub fn restart_node(&self, port: u16) -> Result<(), Error> {
        let Some(node) = lock(&self.nodes).remove(&port) else {
            return Err(Error::failed(
                "start Redis again",
                "it was none of the group",
            ));
        };
        let ports = node.ports;
        drop(node);
        self.launch_node(ports, None)
    }

    /// Runs one command on the server or sentinel at `port`, as [`super::Redis::cli`] does.
    ///
    /// # Errors
    /// [`Error::Failed`] with its message.
    pub fn cli(&self, port: u16, arguments: &[&str]) -> Result<String, Error> {
        let members = [&self.nodes, &self.sentinels];
        let plain = members
            .iter()
            .find_map(|members| lock(members).get(&port).map(|member| member.ports.plain));
        self.guard.cli(plain.unwrap_or(port), arguments)
    }

    /// The folder of their files and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn with_master(&self, act: impl FnOnce(&Process)) -> u16 {
        let Some(port) = self.master_port() else {
            panic!("no sentinel names a master")
        };
        let nodes = lock(&self.nodes);
        let Some(node) = nodes.get(&port) else {
            panic!("the sentinels name a stranger on port {port}")
        };
        act(&node.process);
        port
    }

    fn launch_node(&self, ports: Ports, master: Option<u16>) -> Result<(), Error> {
        let arguments: Vec<String> = match master {
            Some(master) => ["--replicaof", "127.0.0.1", &master.to_string()]
                .map(str::to_owned)
                .to_vec(),
            None => Vec::new(),
        };
        let process = launch(self.folder.path(), ports, &self.guard, &arguments)?;
        wait_ready("Redis", &process, || answers(ports.plain))?;
        lock(&self.nodes).insert(ports.service(), Member { process, ports });
        Ok(())
    }

    fn launch_sentinel(&self, master: u16, options: &Options) -> Result<(), Error> {
        let ports = self.guard.ports();
        let port = ports.plain;
        let (service, folder) = (Self::SERVICE, self.folder.path().display());
        let quorum = options.sentinels / 2 + 1;
        let text = match &self.guard.sentinel {
            Some(text) => text
                .replace(
                    "port 26379",
                    &format!("port {port}\nbind 127.0.0.1\ndir {folder}"),
                )
                .replace("10.0.0.1 6379 2", &format!("127.0.0.1 {master} {quorum}")),
            None => format!(
                "port {port}\nbind 127.0.0.1\ndir {folder}\n\
                 sentinel monitor {service} 127.0.0.1 {master} {quorum}\n\
                 sentinel down-after-milliseconds {service} {}\n\
                 sentinel failover-timeout {service} {}\n\
                 sentinel parallel-syncs {service} 2\n",
                options.down_after.as_millis(),
                options.failover_timeout.as_millis(),
            ),
        };
        let text = format!("{}{text}", self.tls_lines(ports));
        // Each keeps its state in its own file: Sentinel rewrites it.
        let config = self.folder.join(&format!("sentinel-{port}.conf"));
        write_config(&config, &text)?;
        let mut server = Command::new("redis-sentinel");
        server.arg(&config);
        let started = Process::spawn(&server, &self.folder.join(&format!("sentinel-{port}.log")));
        let process = started.map_err(|error| Error::failed("start Sentinel", error))?;
        wait_ready("Sentinel", &process, || answers(port))?;
        lock(&self.sentinels).insert(ports.service(), Member { process, ports });
        Ok(())
    }

    fn tls_lines(&self, ports: Ports) -> String {
        let settings = self.guard.tls_settings(ports).into_iter();
        settings
            .map(|(name, value)| format!("{name} {value}\n"))
            .collect()
    }

    /// A fail-over works once every sentinel knows all replicas and all other sentinels, and the replicas are in sync.
    fn wait_complete(&self, options: &Options) -> Result<(), Error> {
        let complete = |port: u16| {
            let ask = ["SENTINEL", "MASTER", Self::SERVICE];
            let state = self.guard.cli(port, &ask).unwrap_or_default();
            field(&state, "num-slaves") == Some(options.replicas)
                && field(&state, "num-other-sentinels") == Some(options.sentinels.saturating_sub(1))
                && self.synced_replicas() == options.replicas
        };
        let sentinels = lock(&self.sentinels);
        for member in sentinels.values() {
            let port = member.ports.plain;
            let what = "Sentinel's view of its group";
            wait_ready(what, &member.process, || complete(port))?;
        }
        Ok(())
    }

    fn synced_replicas(&self) -> usize {
        let up = |port: &u16| {
            self.cli(*port, &["INFO", "replication"])
                .is_ok_and(|info| info.contains("master_link_status:up"))
        };
        self.node_ports().iter().filter(|port| up(port)).count()
    }
}

pub(super) fn missing() -> Option<&'static str> {
    (!on_path("redis-sentinel")).then_some("redis-sentinel")
}

/// The number after the line `name` in an answer of alternating names and values.
fn field(answer: &str, name: &str) -> Option<usize> {
    let mut lines = answer.lines();
    lines.find(|line| *line == name)?;
    lines.next()?.parse().ok()
}

fn lock(group: &Mutex<BTreeMap<u16, Member>>) -> MutexGuard<'_, BTreeMap<u16, Member>> {
    group.lock().unwrap_or_else(PoisonError::into_inner)
}
