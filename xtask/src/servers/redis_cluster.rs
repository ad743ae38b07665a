//! A private Redis Cluster: three masters that share the slots, a replica for each, and a short time-out after which a
//! silent master is replaced. It breaks, moves slots and mends on request; whom it loses writes of is its own affair,
//! which is what a lock in it must survive.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::process::Process;
use super::redis::{answers, launch};
use super::redis_guard::{Ports, RedisGuard};
use super::temp::{TempDir, free_port};
use super::{Error, START_LIMIT, holds_within, wait_ready};

const MASTERS: u16 = 3;
const SLOTS: u16 = 16_384;
/// Silence after which a node is called dead.
pub const NODE_TIMEOUT_MS: u32 = 1_500;

/// A private cluster. Each node is named by the port that its clients use.
#[derive(Debug)]
pub struct RedisCluster {
    // Before the folder, so that they are ended first.
    nodes: Mutex<BTreeMap<u16, Node>>,
    guard: RedisGuard,
    folder: TempDir,
}

#[derive(Debug)]
struct Node {
    process: Process,
    ports: Ports,
    bus: u16,
    id: String,
}

impl RedisCluster {
    /// Starts three masters and three replicas, and waits until each node says that all is well.
    ///
    /// # Errors
    /// [`Error::Missing`] without Debian's `redis-server`, [`Error::Failed`] when the cluster doesn't come together.
    pub fn start() -> Result<Self, Error> {
        Self::start_guarded(RedisGuard::default())
    }

    /// Starts one behind a guard.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_guarded(guard: RedisGuard) -> Result<Self, Error> {
        if let Some(package) = super::redis::missing() {
            return Err(Error::Missing {
                packages: vec![package],
            });
        }
        let folder = TempDir::new("redis-cluster")
            .map_err(|error| Error::failed("make a folder for Redis Cluster", error))?;
        let cluster = Self {
            nodes: Mutex::default(),
            guard,
            folder,
        };
        for _ in 0..MASTERS * 2 {
            cluster.launch_node(cluster.guard.ports(), free_port())?;
        }
        cluster.join()?;
        cluster.wait_well()?;
        Ok(cluster)
    }

    /// An unguarded cluster that the tests of this process share, and that nobody breaks.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn shared() -> Result<Arc<Self>, Error> {
        static HERE: Mutex<Weak<RedisCluster>> = Mutex::new(Weak::new());
        let mut here = HERE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = here.upgrade() {
            return Ok(cluster);
        }
        let cluster = Arc::new(Self::start()?);
        *here = Arc::downgrade(&cluster);
        Ok(cluster)
    }

    /// All nodes as a list of hosts: `127.0.0.1:p1,127.0.0.1:p2,…`.
    #[must_use]
    pub fn hosts(&self) -> String {
        let ports = self.ports();
        let hosts: Vec<String> = ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        hosts.join(",")
    }

    /// The lock URL of an unguarded cluster.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+cluster://{}", self.hosts())
    }

    /// The nodes' ports.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.nodes().keys().copied().collect()
    }

    /// The ports of those that call themselves masters and answer.
    #[must_use]
    pub fn masters(&self) -> Vec<u16> {
        let is_master = |port: &u16| {
            self.cli(*port, &["ROLE"])
                .is_ok_and(|r| r.starts_with("master"))
        };
        self.ports().into_iter().filter(is_master).collect()
    }

    /// The slot of a key.
    ///
    /// # Panics
    /// When no node answers.
    #[must_use]
    pub fn slot_of(&self, key: &str) -> u16 {
        let ask = |port: u16| {
            self.cli(port, &["CLUSTER", "KEYSLOT", key])
                .ok()?
                .parse()
                .ok()
        };
        let Some(slot) = self.ports().into_iter().find_map(ask) else {
            panic!("no node answers")
        };
        slot
    }

    /// The port of the slot's master as the node at `seen_by` sees it.
    #[must_use]
    pub fn master_seen_by(&self, seen_by: u16, slot: u16) -> Option<u16> {
        let answer = self.cli(seen_by, &["CLUSTER", "NODES"]).ok()?;
        let serves = |line: &str| {
            line.split(' ').skip(8).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let (first, last) = (first.parse::<u16>(), last.parse::<u16>());
                matches!((first, last), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
            })
        };
        let line = answer.lines().find(|line| serves(line))?;
        let id = line.split(' ').next()?;
        self.nodes()
            .iter()
            .find_map(|(port, node)| (node.id == id).then_some(*port))
    }

    /// The port of the slot's master, as a majority of the nodes that answer sees it.
    #[must_use]
    pub fn master_of(&self, slot: u16) -> Option<u16> {
        let mut votes = BTreeMap::<u16, usize>::new();
        for port in self.ports() {
            if let Some(master) = self.master_seen_by(port, slot) {
                *votes.entry(master).or_default() += 1;
            }
        }
        let all = self.ports().len();
        votes
            .into_iter()
            .find_map(|(port, count)| (count > all / 2).then_some(port))
    }

    /// The replica of the node at this port.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn replica_of(&self, master: u16) -> u16 {
        let info = self
            .cli(master, &["CLUSTER", "REPLICAS", &self.id(master)])
            .unwrap_or_default();
        let id = info.split(' ').next().unwrap_or_default().to_owned();
        let nodes = self.nodes();
        let Some((port, _)) = nodes.iter().find(|(_, node)| node.id == id) else {
            panic!("the master on port {master} has no replica")
        };
        *port
    }

    /// Kills a node at once.
    pub fn kill9(&self, port: u16) {
        self.with(port, Process::kill9);
    }

    /// Halts a node where it stands.
    pub fn pause(&self, port: u16) {
        self.with(port, Process::sigstop);
    }

    /// Lets a paused node go on.
    pub fn resume(&self, port: u16) {
        self.with(port, Process::sigcont);
    }

    /// Starts a killed node again, empty but for what it knew of the cluster.
    ///
    /// # Errors
    /// [`Error::Failed`] when it doesn't answer.
    pub fn restart(&self, port: u16) -> Result<(), Error> {
        let Some(node) = self.nodes().remove(&port) else {
            return Err(Error::failed(
                "start Redis again",
                "it was none of the cluster",
            ));
        };
        let (ports, bus) = (node.ports, node.bus);
        drop(node);
        self.launch_node(ports, bus)
    }

    /// Waits until every node says that all slots are served.
    ///
    /// # Errors
    /// [`Error::Failed`] when they don't.
    pub fn wait_well(&self) -> Result<(), Error> {
        let nodes = usize::from(MASTERS) * 2;
        let known = format!("cluster_known_nodes:{nodes}");
        let sees_all = |port: u16| {
            let info = self.cli(port, &["CLUSTER", "INFO"]).unwrap_or_default();
            let synced = self.cli(port, &["INFO", "replication"]).unwrap_or_default();
            info.contains("cluster_state:ok")
                && info.contains(&known)
                && info.contains("cluster_slots_ok:16384")
                && (synced.contains("role:master") || synced.contains("master_link_status:up"))
        };
        let well = || self.ports().into_iter().all(sees_all);
        if holds_within(START_LIMIT, well) {
            return Ok(());
        }
        Err(Error::failed(
            "wait for Redis Cluster",
            "its nodes don't see all slots served",
        ))
    }

    /// Begins to move a slot between two masters: from now on keys that are not in the old place are asked for in the new.
    ///
    /// # Errors
    /// [`Error::Failed`] with Redis's message.
    pub fn begin_move(&self, slot: u16, from: u16, to: u16) -> Result<(), Error> {
        let slot = slot.to_string();
        self.cli(
            to,
            &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)],
        )?;
        self.cli(
            from,
            &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)],
        )?;
        Ok(())
    }

    /// Carries one key over, if it is there.
    ///
    /// # Errors
    /// [`Error::Failed`] with Redis's message.
    pub fn carry(&self, key: &str, from: u16, to: u16) -> Result<String, Error> {
        let to = to.to_string();
        self.cli(from, &["MIGRATE", "127.0.0.1", &to, key, "0", "1000"])
    }

    /// Gives the slot to the master at `to` for good.
    ///
    /// # Errors
    /// [`Error::Failed`] with Redis's message.
    pub fn end_move(&self, slot: u16, from: u16, to: u16) -> Result<(), Error> {
        let (slot, id) = (slot.to_string(), self.id(to));
        for port in [to, from] {
            self.cli(port, &["CLUSTER", "SETSLOT", &slot, "NODE", &id])?;
        }
        Ok(())
    }

    /// Runs one command on the node at `port`, as [`super::Redis::cli`] does.
    ///
    /// # Errors
    /// [`Error::Failed`] with its message.
    pub fn cli(&self, port: u16, arguments: &[&str]) -> Result<String, Error> {
        let plain = self.nodes().get(&port).map(|node| node.ports.plain);
        self.guard.cli(plain.unwrap_or(port), arguments)
    }

    /// The folder of their files and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn id(&self, port: u16) -> String {
        self.nodes()
            .get(&port)
            .map_or_else(String::new, |node| node.id.clone())
    }

    fn with(&self, port: u16, act: impl FnOnce(&Process)) {
        let nodes = self.nodes();
        let Some(node) = nodes.get(&port) else {
            panic!("the cluster has no Redis on port {port}")
        };
        act(&node.process);
    }

    fn launch_node(&self, ports: Ports, bus: u16) -> Result<(), Error> {
        let port = ports.plain;
        let (state, bus_port) = (format!("nodes-{port}.conf"), bus.to_string());
        let timeout = NODE_TIMEOUT_MS.to_string();
        let mut arguments = vec![
            "--cluster-enabled",
            "yes",
            "--cluster-config-file",
            &state,
            "--cluster-port",
            &bus_port,
            "--cluster-node-timeout",
            &timeout,
            "--cluster-announce-ip",
            "127.0.0.1",
        ];
        if ports.tls.is_some() {
            arguments.extend(["--tls-cluster", "yes"]);
        }
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let process = launch(self.folder.path(), ports, &self.guard, &arguments)?;
        wait_ready("Redis Cluster", &process, || answers(port))?;
        let id = self.guard.cli(port, &["CLUSTER", "MYID"])?;
        let node = Node {
            process,
            ports,
            bus,
            id,
        };
        self.nodes().insert(ports.service(), node);
        Ok(())
    }

    /// Makes a cluster of the nodes: the first three share the slots, the others follow them.
    fn join(&self) -> Result<(), Error> {
        let ports = self.ports();
        let (masters, replicas) = ports.split_at(usize::from(MASTERS));
        let share = SLOTS / MASTERS;
        for (n, &port) in (0..).zip(masters) {
            let last = if n + 1 == MASTERS {
                SLOTS
            } else {
                (n + 1) * share
            } - 1;
            let (first, last) = ((n * share).to_string(), last.to_string());
            self.cli(port, &["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
        }
        let first = ports[0].to_string();
        let bus = self
            .nodes()
            .get(&ports[0])
            .map_or(0, |node| node.bus)
            .to_string();
        for (epoch, &port) in (1..).zip(&ports) {
            let epoch: u32 = epoch;
            self.cli(port, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch.to_string()])?;
            if port != ports[0] {
                self.cli(port, &["CLUSTER", "MEET", "127.0.0.1", &first, &bus])?;
            }
        }
        for (&replica, &master) in replicas.iter().zip(masters) {
            let id = self.id(master);
            let follow = || self.cli(replica, &["CLUSTER", "REPLICATE", &id]).is_ok();
            if !holds_within(START_LIMIT, follow) {
                let why = "a replica does not hear of its master";
                return Err(Error::failed("start Redis Cluster", why));
            }
        }
        Ok(())
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<u16, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
