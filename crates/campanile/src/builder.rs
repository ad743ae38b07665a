//! What a program says before it starts: where the store is, what it can run, and as what it takes part.

use std::sync::Arc;
use std::time::Duration;

use campanile_adapters::open::{self, Ports, Urls};
use campanile_adapters::secrets::{Options as SecretOptions, Vault};
use campanile_adapters::service_url::ServiceUrl;
use campanile_adapters::sql::Migrate;
use campanile_core::engine::{Handlers, Node, Parts, Settings};
use campanile_core::memory::broker::MemoryBroker;
use campanile_core::memory::clock::ManualClock;
use campanile_core::memory::lock::MemoryLock;
use campanile_core::memory::store::MemoryStore;
use campanile_core::port::clock::Clock;
use campanile_core::port::handler::Handler;
use campanile_core::system::{Pool, Random, SystemClock};
use campanile_core::task::QueueName;
use campanile_schedule::check_name;
use campanile_schedule::time::Timestamp;

use crate::client::{Campanile, Client, Process};
use crate::error::Error;
use crate::in_memory::{InMemory, LEAD};

/// Where the truth is kept: at a URL.
#[derive(Debug)]
pub struct Url {
    store: String,
    lock: String,
    broker: String,
    cluster: String,
    migrate: bool,
    client_only: bool,
}

/// Where the truth is kept: in this process, for a test.
#[derive(Debug)]
pub struct Memory {
    starts_at: Timestamp,
}

/// A program that is about to take part: see [`Campanile::open`] and [`Campanile::in_memory`].
#[derive(Debug)]
#[must_use = "nothing happens before `.start().await`"]
pub struct Builder<Place> {
    place: Place,
    pub(crate) handlers: Handlers,
    pub(crate) runs_something: bool,
    settings: Settings,
}

/// Where a test's clock stands at first: 2026-01-01T00:00:00Z, a Thursday.
const FIRST_MOMENT: Timestamp = Timestamp::from_ms(1_767_225_600_000);
/// Longer than any test lets its clock go on: nobody is taken for dead because a test moved the clock.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Builder<Url> {
    pub(crate) fn open(store: String) -> Self {
        let place = Url {
            store,
            lock: "store:".to_owned(),
            broker: "memory:".to_owned(),
            cluster: "campanile".to_owned(),
            migrate: false,
            client_only: false,
        };
        Self::at(place)
    }

    /// Who may try to lead is decided here: `store:` (the default), `redis://host:port`, `redis+sentinel://…`.
    pub fn lock(mut self, url: impl Into<String>) -> Self {
        self.place.lock = url.into();
        self
    }

    /// What carries runs to workers: `memory:` (the default, inside this process alone), `store:` (the database itself),
    /// `stomp://user:password@host:port`, `amqp://user:password@host:port/virtual-host`.
    pub fn broker(mut self, url: impl Into<String>) -> Self {
        self.place.broker = url.into();
        self
    }

    /// The cluster's name: clusters that share a Redis are told apart by it. Absent = `campanile`.
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.place.cluster = name.into();
        self
    }

    /// Whether a store that an earlier version made is migrated. (An empty one gets its tables in any case.) Programs of
    /// the earlier version must have stopped.
    pub fn migrate(mut self, yes: bool) -> Self {
        self.place.migrate = yes;
        self
    }

    /// Only defines tasks, submits runs and waits for them; schedules nothing and runs nothing. Other programs on the same
    /// store do.
    pub fn client_only(mut self) -> Self {
        self.place.client_only = true;
        self
    }

    /// Opens the store and starts to take part.
    ///
    /// # Errors
    /// The first thing that can't be had, with the remedy; nothing is left running.
    pub async fn start(self) -> Result<Campanile, Error> {
        self.check()?;
        let urls = Urls {
            store: ServiceUrl::new(&self.place.store),
            lock: ServiceUrl::new(&self.place.lock),
            broker: ServiceUrl::new(&self.place.broker),
            cluster: self.place.cluster.clone(),
            node: self.settings.name.clone(),
        };
        let migrate = if self.place.migrate {
            Migrate::Always
        } else {
            Migrate::IfEmpty
        };
        let ports = open::ports(&urls, migrate).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let client_only = self.place.client_only;
        let (node, client) = if client_only {
            let pool = Pool::new().map_err(|e| Error::Setting {
                what: "client_only",
                message: format!("the operating system gives no thread: {e}"),
            })?;
            (
                None,
                Client::alone(&ports, clock, pool, &self.settings.name),
            )
        } else {
            self.take_part(&ports, clock).await?
        };
        if !client.editor().know_the_time().await {
            tracing::warn!(
                "this program does not know yet whether the store's clock is right: what it writes is refused until it does"
            );
        }
        Ok(Campanile { client, node })
    }
}

impl Builder<Memory> {
    pub(crate) fn in_memory() -> Self {
        Self::at(Memory {
            starts_at: FIRST_MOMENT,
        })
    }

    /// Where the clock stands at first; absent = 2026-01-01T00:00:00Z.
    pub fn starts_at(mut self, at: Timestamp) -> Self {
        self.place.starts_at = at;
        self
    }

    /// Starts a whole cluster of one in this process.
    ///
    /// # Errors
    /// What the builder was told and can't be.
    pub async fn start(mut self) -> Result<InMemory, Error> {
        self.check()?;
        let clock = Arc::new(ManualClock::new(self.place.starts_at.plus(LEAD)));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        let store = Arc::new(MemoryStore::new(Arc::clone(&shared)));
        let ports = Ports {
            store: Arc::clone(&store) as Arc<dyn campanile_core::port::store::Store>,
            lock: Arc::new(MemoryLock::new(Arc::clone(&shared))),
            broker: Arc::new(MemoryBroker::new()),
            space: None,
            logins: None,
        };
        self.settings.lock_ttl = FOR_EVER;
        self.settings.lease = FOR_EVER;
        self.settings.retention = FOR_EVER;
        self.settings.drain = Duration::ZERO;
        let (node, client) = self.take_part(&ports, shared).await?;
        Ok(InMemory {
            campanile: Campanile { client, node },
            clock,
            store,
        })
    }
}

impl<Place> Builder<Place> {
    fn at(place: Place) -> Self {
        let name = format!("embedded-{}", std::process::id());
        Self {
            place,
            handlers: Handlers::new(),
            runs_something: false,
            settings: Settings {
                name,
                ..Settings::default()
            },
        }
    }

    /// Runs what is submitted or scheduled for this handler. A program without any runs nothing.
    pub fn handler<H: Handler>(mut self, handler: H) -> Self {
        self.handlers = self.handlers.native(handler);
        self.runs_something = true;
        self
    }

    /// Where the values of secrets are that tasks name, and which tasks may use them here: without it none may.
    pub fn secrets(mut self, options: SecretOptions) -> Self {
        self.handlers = self.handlers.secrets(Arc::new(Vault::new(options)));
        self
    }

    /// What this process is called, for people; absent = `embedded-` and its process number.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// The queues whose runs this program takes; absent = `default`.
    pub fn queues<Q: AsRef<str>>(mut self, queues: impl IntoIterator<Item = Q>) -> Self {
        self.settings.queues = queues
            .into_iter()
            .map(|queue| QueueName::new(queue.as_ref()))
            .collect();
        self
    }

    /// How many runs this program runs at once; absent = 64.
    pub fn slots(mut self, slots: u32) -> Self {
        self.settings.slots = slots;
        self
    }

    /// How long running handlers may go on after [`Campanile::stop`]; absent = 30 seconds.
    pub fn drain(mut self, patience: Duration) -> Self {
        self.settings.drain = patience;
        self
    }

    fn check(&self) -> Result<(), Error> {
        let settings = &self.settings;
        let refused = |what, message| Err(Error::Setting { what, message });
        if let Err(e) = check_name("name", &settings.name) {
            return refused("name", e.message);
        }
        for queue in &settings.queues {
            if let Err(e) = check_name("queues", queue.as_str()) {
                return refused("queues", e.message);
            }
        }
        if self.runs_something && settings.queues.is_empty() {
            return refused(
                "queues",
                "is empty: name one, or leave it out for `default`".to_owned(),
            );
        }
        if settings.slots == 0 || settings.slots > SLOTS_MAX {
            return refused("slots", format!("write 1 to {SLOTS_MAX}"));
        }
        Ok(())
    }

    async fn take_part(
        self,
        ports: &Ports,
        clock: Arc<dyn Clock>,
    ) -> Result<(Option<Node>, Client), Error> {
        let random = Arc::new(Random::from_system());
        let parts = Parts {
            store: Arc::clone(&ports.store),
            lock: Arc::clone(&ports.lock),
            broker: Arc::clone(&ports.broker),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
            handlers: self.handlers,
        };
        let name = self.settings.name.clone();
        let settings = Settings {
            worker: self.runs_something,
            ..self.settings
        };
        let node = Node::start(parts, settings).await.map_err(Error::Start)?;
        let process = Process {
            clock,
            random,
            time: node.time(),
            mint: node.mint(),
            metrics: node.metrics(),
            pool: node.pool(),
            waker: Some(node.waker()),
        };
        let client = Client::of(ports, process, &name);
        Ok((Some(node), client))
    }
}

/// Of what one process runs at once.
const SLOTS_MAX: u32 = 10_000;
