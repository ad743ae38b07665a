//! A program that takes part, and what it asks: tasks, runs, their results. Everything here goes the way that the API and
//! the CLI go.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use campanile_adapters::open::Ports;
use campanile_ask::{Control, Editor};
use campanile_core::actor::Actor;
use campanile_core::engine::Node;
use campanile_core::id::{Mint, RunId};
use campanile_core::metrics::Metrics;
use campanile_core::port::clock::Clock;
use campanile_core::port::handler::Handler;
use campanile_core::port::store::Store;
use campanile_core::system::{Pool, Random};
use campanile_core::time::database::DatabaseTime;
use campanile_schedule::time::Timestamp;

use crate::builder::{Builder, Memory, Url};
use crate::error::Error;
use crate::run::Run;
use crate::submit::Submit;
use crate::task::Task;

/// A program that takes part: it may lead, it runs what it has handlers for, and it is a [`Client`].
///
/// [`stop`](Self::stop) drains it. Dropped without that, it gives the lock back and tells its handlers to stop; their runs
/// go to another program, or start again here next time.
#[derive(Debug)]
pub struct Campanile {
    pub(crate) client: Client,
    pub(crate) node: Option<Node>,
}

impl Campanile {
    /// On the store at this URL: `sqlite:FILE`, `postgres://user:password@host:port/database`, or
    /// `mysql://user:password@host:port/database` for MariaDB. An empty store gets its tables; one of an earlier version is refused, unless [`Builder::migrate`] says otherwise.
    pub fn open(store: impl Into<String>) -> Builder<Url> {
        Builder::open(store.into())
    }

    /// All of it in this process, with a clock that only [`InMemory::advance`](crate::InMemory::advance) moves: for tests.
    pub fn in_memory() -> Builder<Memory> {
        Builder::in_memory()
    }

    /// What asks, for other parts of the program. It may outlive this: what it submits is run by whoever is there.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Whether this program leads just now.
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.node
            .as_ref()
            .is_some_and(|node| node.status().borrow().leading.is_some())
    }

    /// Gives the lead up, takes no more runs, and waits for its handlers: as long as [`Builder::drain`] says, then they are
    /// told to stop and their runs go to others.
    pub async fn stop(mut self) {
        if let Some(node) = self.node.take() {
            node.stop().await;
        }
    }
}

impl Deref for Campanile {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// What defines tasks, submits runs and waits for them. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    editor: Editor,
    store: Arc<dyn Store>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// What a client shares with the node of its process, if there is one.
pub(crate) struct Process {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<Random>,
    pub(crate) time: DatabaseTime,
    pub(crate) mint: Arc<Mint>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) pool: Pool,
    pub(crate) waker: Option<Arc<tokio::sync::Notify>>,
}

impl Client {
    pub(crate) fn of(ports: &Ports, process: Process, name: &str) -> Self {
        let waker = process.waker;
        let control = Control::new(campanile_ask::Parts {
            store: Arc::clone(&ports.store),
            lock: Arc::clone(&ports.lock),
            clock: process.clock,
            time: process.time,
            random: process.random,
            mint: process.mint,
            metrics: process.metrics,
            pool: process.pool,
            on_work: Arc::new(move || {
                if let Some(waker) = &waker {
                    waker.notify_one();
                }
            }),
        });
        Self {
            editor: control.by(Actor::new(name, "its own process")),
            store: Arc::clone(&ports.store),
        }
    }

    /// Without a node in this process.
    pub(crate) fn alone(ports: &Ports, clock: Arc<dyn Clock>, pool: Pool, name: &str) -> Self {
        let random = Arc::new(Random::from_system());
        let process = Process {
            time: DatabaseTime::new(Arc::clone(&clock)),
            mint: Arc::new(Mint::new(Arc::clone(&random))),
            metrics: Arc::default(),
            clock,
            random,
            pool,
            waker: None,
        };
        Self::of(ports, process, name)
    }

    /// A task that runs `H`, to be described and applied.
    pub fn task<H: Handler>(&self, name: impl Into<String>) -> Task<'_, H> {
        Task::new(self, name.into())
    }

    /// A run of `H` with these arguments, now or later. Await it to submit it.
    pub fn submit<H: Handler>(&self, args: &H::Args) -> Submit<'_, H> {
        Submit::new(self, args)
    }

    /// Starts a task out of turn, with its own payload.
    ///
    /// # Errors
    /// There is no such task, it is disabled, or the store does not answer.
    pub async fn trigger<H: Handler>(&self, task: &str) -> Result<Run<H>, Error> {
        let submitted = self.editor.trigger(task, None).await?;
        Ok(Run::new(self.clone(), submitted.run))
    }

    /// The handle of a run that was submitted earlier, or elsewhere.
    #[must_use]
    pub fn run<H: Handler>(&self, id: RunId) -> Run<H> {
        Run::new(self.clone(), id)
    }

    /// The store's time.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        Ok(self.editor.now().await?)
    }

    /// All that the API and the CLI can ask: lists, pauses, deletions, explanations. Its types are `campanile_core`'s and
    /// may change with any release.
    #[must_use]
    pub fn editor(&self) -> &Editor {
        &self.editor
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }
}
