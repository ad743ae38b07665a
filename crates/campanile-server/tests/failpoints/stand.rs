//! The processes of one scene: what they are started with, how they are asked, how they end. It knows two kinds of
//! stand, and judges nothing.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use campanile::failpoint::Failpoint;
use campanile::system;
use serde_json::Value;
use xtask::servers::{ActiveMq, Postgres, Process, Redis, TempDir};

use super::load::SHELL;
use crate::support::TOKEN;

/// How long a fact may take to come true on a machine that does other things beside.
pub const PATIENCE: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(40);

/// The servers that the scenes of a cluster share.
#[derive(Clone)]
pub struct Servers {
    /// Stores.
    pub postgres: Arc<Postgres>,
    /// Locks.
    pub redis: Arc<Redis>,
    /// Brokers.
    pub broker: Arc<ActiveMq>,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    All,
    /// It schedules and answers.
    Scheduler,
    /// It runs tasks.
    Worker,
}

impl Role {
    const fn flags(self) -> &'static str {
        match self {
            Self::All => "scheduler,worker,api",
            Self::Scheduler => "scheduler,api",
            Self::Worker => "worker",
        }
    }
}

/// What a process does at its failpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It dies.
    Dies,
    /// It stops where it stands.
    Stops,
}

/// One process.
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// The process itself.
    pub process: Process,
}

impl Node {
    /// Where it answers, once it does.
    fn url(&self) -> Option<String> {
        let log = self.process.log();
        // The broker's address may be in the log before.
        let (_, behind) = log.split_once("the node runs address=")?;
        let address = behind.split_whitespace().next()?;
        Some(format!("http://{address}"))
    }

    /// Whether its log has a text.
    pub fn said(&self, text: &str) -> bool {
        self.process.log().contains(text)
    }

    /// Whether it said that it reached this point, and was not to go on.
    pub fn reached(&self, point: Failpoint) -> bool {
        self.said(&format!("failpoint {} reached: ", point.name()))
    }
}

/// Where the processes of one scene live.
pub struct Stand {
    /// The scene's name.
    pub scene: String,
    /// The store's URL.
    pub store: String,
    /// Logs, scripts, and the store if it is a file.
    pub folder: TempDir,
    /// The processes that have been started last.
    pub nodes: Vec<Node>,
    servers: Option<Servers>,
    client: reqwest::Client,
}

impl Stand {
    /// A stand without processes: of one process on a file, or of several on servers.
    pub fn new(scene: &str, servers: Option<Servers>) -> Self {
        let folder = TempDir::new("failpoints").unwrap();
        let store = match &servers {
            Some(servers) => servers.postgres.create_database(scene).unwrap(),
            None => format!("sqlite:{}", folder.join("c.db").display()),
        };
        Self {
            scene: scene.to_owned(),
            store,
            folder,
            nodes: Vec::new(),
            servers,
            client: reqwest::Client::new(),
        }
    }

    /// Whether it has several processes.
    pub const fn is_cluster(&self) -> bool {
        self.servers.is_some()
    }

    /// Starts a process in the place of the one of that name, and tells it where to end.
    pub fn start(&mut self, name: &str, role: Role, armed: Option<(Failpoint, Fate)>) {
        let queue = |of: &str| format!("{}-{of}", self.scene);
        let (lock, broker) = self.servers.as_ref().map_or_else(
            || ("store:".to_owned(), "memory:".to_owned()),
            |s| (s.redis.url(), s.broker.stomp_url()),
        );
        // As short as a busy machine allows: what goes over servers is slower there.
        let (ttl, lease) = if self.is_cluster() {
            ("2s", "3s")
        } else {
            ("1s", "2s")
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_campanile"));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("CAMPANILE_") {
                command.env_remove(variable);
            }
        }
        command
            .args(["serve", "--name", name, "--roles", role.flags()])
            .args(["--store", &self.store, "--lock", &lock, "--broker", &broker])
            .args(["--cluster", &self.scene, "--listen", "127.0.0.1:0"])
            .args(["--lock-ttl", ttl, "--lease", lease, "--drain", "500ms"])
            .args(["--slots", "32", "--queues"])
            .arg(format!("{},{}", queue("default"), queue("more")))
            .args(["--allow-commands", SHELL, "--allow-private-targets"])
            .env("CAMPANILE_TOKEN", TOKEN);
        if let Some((point, fate)) = armed {
            let word = if fate == Fate::Stops { ":1:stop" } else { "" };
            let value = format!("{}{word}", point.name());
            command.env(campanile_server::failpoint::VARIABLE, value);
        }
        let count = self.nodes.iter().filter(|n| n.name == name).count();
        let log = self.log(&format!("{name}-{count}"));
        let process = Process::spawn(&command, &log).unwrap();
        self.nodes.push(Node {
            name: name.to_owned(),
            role,
            process,
        });
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(&format!("{name}.log"))
    }

    /// The process that was started last under this name.
    pub fn node(&self, name: &str) -> &Node {
        self.nodes.iter().rfind(|n| n.name == name).unwrap()
    }

    /// Those that live.
    pub fn living(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|n| n.process.is_alive())
    }

    /// Whether a process that lived was taken for dead: on a busy machine its beats may come late. Each process that did
    /// die may be said to be silent once.
    pub fn took_a_living_one_for_dead(&self) -> bool {
        let logs: String = self.nodes.iter().map(|n| n.process.log()).collect();
        self.nodes.iter().any(|node| {
            let name = &node.name;
            let dead = |n: &&Node| n.name == *name && !n.process.is_alive();
            let said = format!("node `{name}` was silent for its lease");
            logs.matches(&said).count() > self.nodes.iter().filter(dead).count()
        })
    }

    /// The ends of all logs, for whoever looks for the reason of a failure.
    pub fn tails(&self) -> String {
        let tail = |n: &Node| format!("--- {}\n{}\n", n.name, n.process.log_tail());
        self.nodes.iter().map(tail).collect()
    }

    /// Asks the oldest living process that has an API; `None` if there is none, or it died over the question.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Option<(u16, Value)> {
        let api = |n: &&Node| n.role != Role::Worker;
        let url = self.living().filter(api).find_map(Node::url)?;
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self
            .client
            .request(method, format!("{url}/api/v1{path}"))
            .timeout(Duration::from_secs(10))
            .bearer_auth(TOKEN);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let text = response.text().await.ok()?;
        Some((
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        ))
    }
}

/// Waits for a fact.
pub async fn holds(limit: Duration, mut fact: impl AsyncFnMut() -> bool) -> bool {
    let looked = system::within(limit, async {
        while !fact().await {
            system::pause(LOOK).await;
        }
    });
    looked.await.is_some()
}
