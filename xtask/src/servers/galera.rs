//! Three private MariaDB servers that are one cluster (Galera), each of which takes writes: for tests of what a store does when
//! one of them is killed, halted, or comes back.

use std::path::Path;

use super::mariadb::{MariaDb, Options};
use super::temp::free_port;
use super::{Error, START_LIMIT, holds_within};

const PROVIDER: &str = "/usr/lib/galera/libgalera_smm.so";
const NODES: usize = 3;
/// How soon a node that says nothing is taken for dead: sooner than by default, so that tests don't wait.
const QUICK: &str = "gcache.size=64M;evs.keepalive_period=PT0.5S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S";

/// A cluster of three.
#[derive(Debug)]
pub struct Galera {
    nodes: Vec<MariaDb>,
    settings: Vec<Vec<(String, String)>>,
}

impl Galera {
    /// Starts a cluster, and waits until each node takes writes.
    ///
    /// # Errors
    /// [`Error::Missing`] without Debian's `galera-4` and `rsync`, [`Error::Failed`] when it doesn't start.
    pub fn start() -> Result<Self, Error> {
        let packages = missing();
        if !packages.is_empty() {
            return Err(Error::Missing { packages });
        }
        let groups: Vec<u16> = (0..NODES).map(|_| free_port()).collect();
        let all: Vec<String> = groups
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let settings: Vec<_> = groups
            .iter()
            .map(|port| settings(*port, &all.join(",")))
            .collect();
        let mut cluster = Self {
            nodes: Vec::with_capacity(NODES),
            settings,
        };
        for at in 0..NODES {
            let mut own = cluster.settings[at].clone();
            if at == 0 {
                // The first one has nobody to join.
                own.push(("wsrep-cluster-address".to_owned(), "gcomm://".to_owned()));
            }
            let node = MariaDb::start_on(free_port(), with(own))?;
            cluster.nodes.push(node);
            cluster.wait_joined(at)?;
        }
        Ok(cluster)
    }

    /// One of the nodes.
    #[must_use]
    pub fn node(&self, at: usize) -> &MariaDb {
        &self.nodes[at]
    }

    /// The URL of a new database, with all nodes in their order.
    ///
    /// # Errors
    /// [`Error::Failed`] with the server's message.
    pub fn create_database(&self, name: &str) -> Result<String, Error> {
        let url = self.nodes[0].create_database(name)?;
        let (_, database) = url.rsplit_once('/').unwrap_or(("", &url));
        let hosts = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port()));
        let hosts: Vec<String> = hosts.collect();
        Ok(format!("mysql://root@{}/{database}", hosts.join(",")))
    }

    /// Starts a killed node again; it joins the others, and takes over what it has missed.
    ///
    /// # Errors
    /// [`Error::Failed`] when it doesn't.
    pub fn restart(&self, at: usize) -> Result<(), Error> {
        self.nodes[at].restart_with(&with(self.settings[at].clone()))?;
        self.wait_joined(at)
    }

    fn wait_joined(&self, at: usize) -> Result<(), Error> {
        let node = &self.nodes[at];
        let joined = holds_within(START_LIMIT, || {
            let said = node.sql("SHOW STATUS LIKE 'wsrep_ready'");
            said.is_ok_and(|said| said.contains("ON"))
        });
        if joined {
            return Ok(());
        }
        Err(Error::failed(
            "join a MariaDB cluster",
            "the node did not get ready in time",
        ))
    }
}

pub(super) fn missing() -> Vec<&'static str> {
    let lacks = [
        ("galera-4", !Path::new(PROVIDER).is_file()),
        ("rsync", !super::on_path("rsync")),
    ];
    let lacks = lacks.into_iter().filter(|(_, lacks)| *lacks);
    lacks.map(|(package, _)| package).collect()
}

fn with(settings: Vec<(String, String)>) -> Options {
    Options {
        settings,
        ..Options::default()
    }
}

fn settings(group: u16, all: &str) -> Vec<(String, String)> {
    let (states, copies) = (free_port(), free_port());
    let provider = format!(
        "gmcast.listen_addr=tcp://127.0.0.1:{group};ist.recv_addr=127.0.0.1:{states};{QUICK}"
    );
    [
        ("wsrep-on", "ON".to_owned()),
        ("wsrep-provider", PROVIDER.to_owned()),
        ("wsrep-cluster-name", "campanile".to_owned()),
        ("wsrep-cluster-address", format!("gcomm://{all}")),
        ("wsrep-node-address", format!("127.0.0.1:{group}")),
        ("wsrep-sst-method", "rsync".to_owned()),
        ("wsrep-sst-receive-address", format!("127.0.0.1:{copies}")),
        ("wsrep-provider-options", provider),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}
