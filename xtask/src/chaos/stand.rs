//! What a campaign breaks: the servers, three scheduler nodes and two workers over them, the effects' log, and a listener
//! that existed before. Owns how they are plugged together and ended; never breaks anything.

use std::path::{Path, PathBuf};
use std::time::Duration;

use xtask::liar::Liar;
use xtask::proxy::Proxy;
use xtask::servers::{ActiveMq, Postgres, PostgresOptions, Redis, TempDir, Tmpfs};

use super::books::Books;
use super::load::{LEGACY_QUEUE, QUEUES};
use super::node::{Node, Plan, Server};
use crate::field::Outcome;
use crate::field::effects::Effects;
use crate::field::listener::Listener;
use crate::field::processes::processes;
use crate::field::programs::{SCRIPT, SHELL};

/// How long the lock of a leader that died is waited for.
pub const LOCK_TTL: Duration = Duration::from_secs(3);
/// How long a worker may stay silent.
const LEASE: &str = "6s";
/// How long a node that is to end waits for its runs.
const DRAIN: &str = "3s";
/// The scheduler nodes; the last one lives under a clock of its own where there can be one.
const SCHEDULERS: [&str; 3] = ["s1", "s2", "s3"];
const SKEWED: &str = "s3";
const WORKERS: [&str; 2] = ["w1", "w2"];
/// Sessions that PostgreSQL takes: enough for all nodes, and few enough to use up.
pub const CONNECTIONS_MAX: usize = 90;
/// The size of the store's disk in MiB: room for a campaign, and soon filled.
const DISK_MIB: u32 = 900;
/// How much of what nodes send to the broker is remembered.
const REMEMBERED_BYTES: usize = 256 * 1024;
/// Where Debian keeps libfaketime, below the folder of the machine's libraries.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

/// Which store is under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// A PostgreSQL server.
    Postgres,
    /// One file that all nodes open.
    Sqlite,
}

/// The store.
pub enum Store {
    /// A server and the database in it.
    Postgres(Postgres, String),
    /// A file.
    Sqlite {
        /// Where it is.
        file: PathBuf,
        /// The disk that it lies on, where there can be one: unmounted before its folder is removed.
        disk: Option<Tmpfs>,
        /// The folder of both.
        _folder: TempDir,
    },
}

impl Store {
    fn start(which: Which) -> Outcome<Self> {
        if which == Which::Sqlite {
            let folder = TempDir::new("sqlite")?;
            let disk = Tmpfs::mount(folder.path(), DISK_MIB, None).ok();
            return Ok(Self::Sqlite {
                file: folder.join("store.db"),
                disk,
                _folder: folder,
            });
        }
        let settings = [
            ("max_connections", CONNECTIONS_MAX.to_string()),
            ("max_wal_size", "64MB".to_owned()),
            ("min_wal_size", "32MB".to_owned()),
        ];
        let options = PostgresOptions {
            fsync: true,
            settings: settings
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            disk_mib: xtask::servers::is_root().then_some(DISK_MIB),
        };
        let server = Postgres::start_with(options)?;
        let database = server.create_database("chaos")?;
        Ok(Self::Postgres(server, database))
    }

    /// The disk that can be filled.
    pub fn disk(&self) -> Option<&Tmpfs> {
        match self {
            Self::Postgres(server, _) => server.disk(),
            Self::Sqlite { disk, .. } => disk.as_ref(),
        }
    }

    /// The view from outside.
    pub fn books(&self) -> Books<'_> {
        match self {
            Self::Postgres(server, url) => Books::Postgres(server, url.clone()),
            Self::Sqlite { file, .. } => Books::Sqlite(file.clone()),
        }
    }

    /// The URL for a node, and the link that it goes through where there is one.
    fn way(&self) -> Outcome<(String, Option<Proxy>)> {
        match self {
            Self::Postgres(server, url) => {
                let proxy = Proxy::start(server.port())?;
                let (direct, through) = (format!(":{}/", server.port()), proxy.port());
                let url = url.replace(&direct, &format!(":{through}/"));
                Ok((url, Some(proxy)))
            }
            Self::Sqlite { file, .. } => Ok((format!("sqlite:{}", file.display()), None)),
        }
    }
}

/// All of it.
pub struct Stand {
    // Before the servers, so that they are ended first.
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The log of effects.
    pub effects: Effects,
    /// The listener that existed before.
    pub listener: Listener,
    /// The store.
    pub store: Store,
    /// The lock.
    pub redis: Redis,
    /// What says that it is the lock where there is none, one for each scheduler.
    pub liars: Vec<Liar>,
    /// The broker.
    pub broker: ActiveMq,
    /// What the programs are.
    pub script: PathBuf,
    folder: PathBuf,
}

impl Stand {
    /// Starts servers and nodes. Without a lock every scheduler is told that it has it.
    pub fn start(which: Which, locked: bool, program: &Path, folder: &Path) -> Outcome<Self> {
        let (store, redis, broker) = std::thread::scope(|scope| {
            let store = scope.spawn(|| Store::start(which));
            let redis = scope.spawn(Redis::start);
            let broker = scope.spawn(ActiveMq::start);
            (store.join(), redis.join(), broker.join())
        });
        let store = store.map_err(|_| "the store's start panicked")??;
        let broker = broker.map_err(|_| "ActiveMQ's start panicked")??;
        let script = folder.join("program.sh");
        std::fs::write(&script, SCRIPT)?;
        let mut stand = Self {
            nodes: Vec::new(),
            effects: Effects::start(&folder.join("effects.tsv"))?,
            listener: Listener::start(broker.stomp_port(), LEGACY_QUEUE),
            store,
            redis: redis.map_err(|_| "Redis' start panicked")??,
            liars: Vec::new(),
            broker,
            script,
            folder: folder.to_owned(),
        };
        for name in SCHEDULERS.into_iter().chain(WORKERS) {
            let node = stand.node(name, which, locked, program)?;
            node.start()?;
            stand.nodes.push(node);
        }
        Ok(stand)
    }

    fn node(
        &mut self,
        name: &'static str,
        which: Which,
        locked: bool,
        program: &Path,
    ) -> Outcome<Node> {
        let worker = WORKERS.contains(&name);
        let (store, store_link) = self.store.way()?;
        let mut links = Vec::new();
        links.extend(store_link.map(|proxy| (Server::Store, proxy)));
        let lock = if locked || worker {
            let proxy = Proxy::start(self.redis.port())?;
            let url = format!("redis://127.0.0.1:{}", proxy.port());
            // A worker never asks for the lock: a fault on that link would meet nothing.
            if !worker {
                links.push((Server::Lock, proxy));
            }
            url
        } else {
            let liar = Liar::start()?;
            let url = liar.url();
            self.liars.push(liar);
            url
        };
        let proxy = Proxy::start(self.broker.stomp_port())?;
        if !worker {
            proxy.remember(REMEMBERED_BYTES);
        }
        let broker = format!("stomp://127.0.0.1:{}", proxy.port());
        links.push((Server::Broker, proxy));
        // A file's clock is that of whoever writes: there a step is the store's own, which no node can tell.
        let skewed = name == SKEWED && which == Which::Postgres;
        let clock = if skewed {
            faketime(&self.folder)?
        } else {
            None
        };
        Ok(Node::new(Plan {
            name,
            worker,
            program,
            arguments: arguments(worker, &store, &lock, &broker),
            links,
            clock,
            folder: &self.folder,
        }))
    }

    /// The scheduler nodes.
    pub fn schedulers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| !node.worker)
    }

    /// The port of a scheduler node that answers.
    pub fn api_port(&self) -> Option<u16> {
        let answering = self.schedulers().find(|node| node.answers());
        answering.map(|node| node.port)
    }

    /// A command of the product against the API of the first scheduler node that answers.
    pub fn cli(&self, arguments: &[&str]) -> Outcome<String> {
        let port = self.api_port().ok_or("no scheduler node answers")?;
        let node = self.nodes.first().ok_or("there are no nodes")?;
        let mut cli = node.program();
        cli.args(arguments)
            .env("CAMPANILE_TOKEN", super::node::TOKEN)
            .env("CAMPANILE_URL", format!("http://127.0.0.1:{port}"));
        let output = cli.output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("campanile {}: {said}", arguments.join(" ")).into())
    }

    /// Asks every node to end, waits, and tells which did not, and what still lives of this run.
    pub fn stop_all(&self, limit: Duration) -> Vec<String> {
        let mut wrong = Vec::new();
        for node in &self.nodes {
            let _ = node.with(xtask::servers::Process::sigterm);
        }
        for node in &self.nodes {
            match node.with(|process| process.wait_exit(limit)) {
                Ok(Some(status)) if status.success() => {}
                Ok(Some(status)) => wrong.push(format!("{} ended with {status}", node.name)),
                Ok(None) => wrong.push(format!("{} had not ended after {limit:?}", node.name)),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        let mark = self.folder.display().to_string();
        let ours = std::process::id();
        let left = processes().into_iter();
        let left = left.filter(|(pid, line)| *pid != ours && line.contains(&mark));
        wrong.extend(left.map(|(pid, line)| format!("{pid} still lives: {line}")));
        wrong
    }

    /// Copies the servers' logs into the folder, for whoever looks for the reason of a failure.
    pub fn keep_logs(&self) {
        let mut own = vec![self.redis.folder(), self.broker.folder()];
        if let Store::Postgres(server, _) = &self.store {
            own.push(server.folder());
        }
        for entry in own.iter().flat_map(std::fs::read_dir).flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let _ = std::fs::copy(&path, self.folder.join(entry.file_name()));
            }
        }
    }
}

fn arguments(worker: bool, store: &str, lock: &str, broker: &str) -> Vec<String> {
    let ttl = format!("{}s", LOCK_TTL.as_secs());
    let mut all = vec![
        "--store",
        store,
        "--lock",
        lock,
        "--broker",
        broker,
        "--lock-ttl",
        &ttl,
        "--lease",
        LEASE,
        "--drain",
        DRAIN,
    ];
    if worker {
        all.extend(["--roles", "worker", "--queues", QUEUES, "--slots", "64"]);
        all.extend(["--allow-commands", SHELL, "--allow-private-targets"]);
    } else {
        all.extend(["--roles", "scheduler,api"]);
    }
    all.into_iter().map(str::to_owned).collect()
}

/// The file that says how far a clock is off (not at all, to begin with), and the library that reads it.
fn faketime(folder: &Path) -> Outcome<Option<(PathBuf, PathBuf)>> {
    let folders = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let library = folders
        .map(|folder| folder.path().join(FAKETIME))
        .find(|library| library.is_file());
    let Some(library) = library else {
        return Ok(None);
    };
    let file = folder.join("clock");
    std::fs::write(&file, "+0\n")?;
    Ok(Some((file, library)))
}
