//! Where a workload runs: the ports behind the URLs, or a temporary SQLite file when nothing is named, and a node over
//! them whose only handler is the one that notes its starts. Refuses a store that holds somebody's tasks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use campanile::engine::{Handlers, Node, Parts, Settings};
use campanile::id::Mint;
use campanile::memory::broker::MemoryBroker;
use campanile::memory::lock::MemoryLock;
use campanile::memory::store::MemoryStore;
use campanile::port::broker::Broker;
use campanile::port::clock::Clock;
use campanile::port::lock::Lock;
use campanile::port::store::{Control as _, Store};
use campanile::system::{Random, SystemClock, within};
use campanile::task::QueueName;
use campanile::time::Timestamp;
use campanile_adapters::{redis, stomp};

use super::Error;
use super::record::{Noop, Record};
use super::usage::Watched;

/// Every task of the bench has a name that begins so.
pub const PREFIX: &str = "bench-";
/// The queue that the bench's tasks are on.
pub const QUEUE: &str = "bench";
/// How long a node may take to lead.
const LEAD_WITHIN: Duration = Duration::from_secs(60);

/// What is named on the command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// The store, as for `serve`; default: a temporary SQLite file. `memory:` = the engine alone
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// The lock, as for `serve`; default: the store's own
    #[arg(long, value_name = "URL")]
    pub lock: Option<String>,
    /// The broker, as for `serve`; default: in memory
    #[arg(long, value_name = "URL")]
    pub broker: Option<String>,
    /// Runs that the worker runs at once
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub slots: u32,
    /// Process id of the database's first process, for its CPU time
    #[arg(long, value_name = "PID")]
    pub database_pid: Option<u32>,
    /// Process id of the broker, for its CPU time
    #[arg(long, value_name = "PID")]
    pub broker_pid: Option<u32>,
}

impl Place {
    /// Whose CPU time is read.
    #[must_use]
    pub const fn watched(&self) -> Watched {
        Watched {
            database: self.database_pid,
            broker: self.broker_pid,
        }
    }
}

/// A folder that is removed with its value.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new folder under the system's temporary folder.
    ///
    /// # Errors
    /// The file system's.
    pub fn new(random: &Random) -> Result<Self, Error> {
        let name = format!(
            "campanile-bench-{}-{:08x}",
            std::process::id(),
            random.below(1 << 32)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(|source| Error::File {
            path: path.clone(),
            source,
        })?;
        Ok(Self(path))
    }

    /// A path inside it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed lies in the temporary folder, where the system clears up.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The words for what the ports are, as they stand in the figures.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Kinds {
    /// `sqlite`, `postgres`, `memory`.
    pub store: String,
    /// `store`, `redis`, …
    pub lock: String,
    /// `memory`, `stomp`, …
    pub broker: String,
}

/// The ports of a workload.
pub struct Site {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// This process's clocks.
    pub clock: Arc<SystemClock>,
    /// Ids for runs and tasks that the bench asks for.
    pub mint: Mint,
    /// What they are.
    pub kinds: Kinds,
    random: Arc<Random>,
    lock: Arc<dyn Lock>,
    // Last: removed when nothing uses it any more.
    _scratch: Option<Scratch>,
}

impl Site {
    /// Opens what is named, and refuses a store that is in use.
    ///
    /// # Errors
    /// What can't be reached; a store that is not the bench's.
    pub async fn open(place: &Place) -> Result<Self, Error> {
        let site = Self::join(place).await?;
        site.demand_own().await?;
        Ok(site)
    }

    /// Opens what is named, whoever else uses it.
    ///
    /// # Errors
    /// What can't be reached.
    pub async fn join(place: &Place) -> Result<Self, Error> {
        let clock = Arc::new(SystemClock::new());
        let random = Arc::new(Random::from_system());
        let (store, store_lock, scratch) = open_store(place, &clock, &random).await?;
        let lock = open_lock(place.lock.as_deref().unwrap_or("store:"), store_lock)?;
        let broker = open_broker(place.broker.as_deref().unwrap_or("memory:"))?;
        let kinds = Kinds {
            store: scheme(place.store.as_deref().unwrap_or("sqlite:")),
            lock: scheme(place.lock.as_deref().unwrap_or("store:")),
            broker: scheme(place.broker.as_deref().unwrap_or("memory:")),
        };
        Ok(Self {
            store,
            broker,
            mint: Mint::new(Arc::clone(&random)),
            kinds,
            clock,
            random,
            lock,
            _scratch: scratch,
        })
    }

    async fn demand_own(&self) -> Result<(), Error> {
        let page = self.store.tasks(None, 1_000).await?;
        match page.tasks.iter().find(|t| !t.spec.name.starts_with(PREFIX)) {
            Some(task) => Err(Error::InUse(task.spec.name.clone())),
            None => Ok(()),
        }
    }

    /// A node over these ports that notes its starts, leading.
    ///
    /// # Errors
    /// The store's; a node that does not come to lead.
    pub async fn node(&self, record: &Arc<Record>, slots: u32) -> Result<Node, Error> {
        let settings = Settings {
            name: "bench".to_owned(),
            slots,
            queues: vec![QueueName::new(QUEUE)],
            ..Settings::default()
        };
        let node = self.start(record, settings).await?;
        let mut status = node.status();
        let leads = within(LEAD_WITHIN, status.wait_for(|s| s.leading.is_some())).await;
        if matches!(leads, Some(Ok(_))) {
            drop(leads);
            Ok(node)
        } else {
            drop(leads);
            node.stop().await;
            Err(Error::NotLeading)
        }
    }

    /// A node over these ports that notes its starts, with these settings.
    ///
    /// # Errors
    /// The store's.
    pub async fn start(&self, record: &Arc<Record>, settings: Settings) -> Result<Node, Error> {
        let parts = Parts {
            store: Arc::clone(&self.store),
            lock: Arc::clone(&self.lock),
            broker: Arc::clone(&self.broker),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            random: Arc::clone(&self.random),
            handlers: Handlers::new().native(Noop(Arc::clone(record))),
        };
        Ok(Node::start(parts, settings).await?)
    }

    /// The store's time.
    ///
    /// # Errors
    /// The store's.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        Ok(self.store.leader().await?.now)
    }

    /// A folder for this workload's files.
    ///
    /// # Errors
    /// The file system's.
    pub fn scratch(&self) -> Result<Scratch, Error> {
        Scratch::new(&self.random)
    }

    /// A uniform number below `bound`.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        self.random.below(bound)
    }
}

fn scheme(url: &str) -> String {
    url.split_once(':')
        .map_or(url, |(scheme, _)| scheme)
        .to_owned()
}

type Opened = (Arc<dyn Store>, Arc<dyn Lock>, Option<Scratch>);

async fn open_store(
    place: &Place,
    clock: &Arc<SystemClock>,
    random: &Random,
) -> Result<Opened, Error> {
    let clock = || Arc::clone(clock) as Arc<dyn Clock>;
    let _ = (place, random);
    Ok((
        Arc::new(MemoryStore::new(clock())),
        Arc::new(MemoryLock::new(clock())),
        None,
    ))
}

fn open_lock(url: &str, of_store: Arc<dyn Lock>) -> Result<Arc<dyn Lock>, Error> {
    if url.starts_with("store:") {
        return Ok(of_store);
    }
    let lock = redis::connect(url, redis::Options::default())
        .map_err(|e| Error::Impossible(e.to_string()))?;
    Ok(lock)
}

fn open_broker(url: &str) -> Result<Arc<dyn Broker>, Error> {
    if url.starts_with("memory:") {
        return Ok(Arc::new(MemoryBroker::new()));
    }
    let broker = stomp::connect(url, stomp::Options::default())
        .map_err(|e| Error::Impossible(e.to_string()))?;
    Ok(broker)
}
