//! The engine: async shells around [`crate::decide`]. They read the world through the ports, hand what they saw to
//! the pure functions, and carry out the effects; they decide nothing themselves.
//!
//! Every `select!` here is `biased`: what ends something is looked at before what goes on, and tokio's own dice, which no
//! seed reaches, decide nothing. So a simulation replays a history from its seed.
//!
//! [`node::Node`] is one process's part: an `elector` that contends for the lock, a `leader` that runs only while a
//! term is ours, and a `worker` that takes runs from queues. Read `node.rs` first.

mod attempt;
pub mod edit;
mod fire;
mod lead;
mod member;
pub mod node;
mod publish;
mod told;

use std::sync::Arc;
use std::time::Duration;

pub use self::attempt::handlers::Handlers;
pub use node::{Node, Status};

use crate::decide::publish::routing::Abilities;
use crate::port::broker::Broker;
use crate::port::clock::Clock;
use crate::port::lock::Lock;
use crate::port::store::{Store, WorkerStore};
use crate::system::Random;
use crate::task::QueueName;

/// What a node is made of: the five ports and the source of randomness. Each part of the node gets the part of the store
/// that it may use: `S` says which.
pub struct Parts<S: ?Sized = dyn Store> {
    pub store: Arc<S>,
    /// Who may try to lead.
    pub lock: Arc<dyn Lock>,
    pub broker: Arc<dyn Broker>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<Random>,
    pub handlers: Handlers,
}

impl Parts {
    /// The same with a part of the store.
    fn with<S: ?Sized>(&self, store: Arc<S>) -> Parts<S> {
        Parts {
            store,
            lock: Arc::clone(&self.lock),
            broker: Arc::clone(&self.broker),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            handlers: self.handlers.clone(),
        }
    }
}

impl<S: ?Sized> Clone for Parts<S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            lock: Arc::clone(&self.lock),
            broker: Arc::clone(&self.broker),
            clock: Arc::clone(&self.clock),
            random: Arc::clone(&self.random),
            handlers: self.handlers.clone(),
        }
    }
}

impl<S: ?Sized> std::fmt::Debug for Parts<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parts")
    }
}

/// What all parts of a node share.
pub(crate) struct Shared {
    /// Of the store what a member and a worker may do.
    pub parts: Parts<dyn WorkerStore>,
    pub settings: Settings,
    pub time: crate::time::database::DatabaseTime,
    pub metrics: Arc<crate::metrics::Metrics>,
    pub mint: Arc<crate::id::Mint>,
    /// Where message keys come from.
    pub secret: crate::decide::publish::message::Secret,
    /// Wakes the planner, if this node leads.
    pub wake: Arc<tokio::sync::Notify>,
    /// Whether a duty has died.
    pub failed: tokio::sync::watch::Sender<bool>,
    /// Where what takes long is computed.
    pub pool: crate::system::Pool,
    /// Fires when a drain has no patience any more.
    pub hurry: tokio_util::sync::CancellationToken,
}

/// What a leader's duties share with the rest of the node: all but the store, of which they have a part.
pub(crate) struct ForLeader {
    pub clock: Arc<dyn Clock>,
    pub broker: Arc<dyn Broker>,
    pub settings: Settings,
    pub time: crate::time::database::DatabaseTime,
    pub metrics: Arc<crate::metrics::Metrics>,
    pub mint: Arc<crate::id::Mint>,
    /// Where message keys come from.
    pub secret: crate::decide::publish::message::Secret,
    pub wake: Arc<tokio::sync::Notify>,
    /// Where what takes long is computed.
    pub pool: crate::system::Pool,
}

impl Shared {
    /// What this node announces.
    fn abilities(&self) -> Abilities {
        Abilities {
            no_listeners: !self.parts.broker.reaches_listeners(),
            ..self.parts.handlers.abilities()
        }
    }

    /// What the duties of a term get of it.
    pub fn for_leader(&self) -> ForLeader {
        ForLeader {
            clock: Arc::clone(&self.parts.clock),
            broker: Arc::clone(&self.parts.broker),
            settings: self.settings.clone(),
            time: self.time.clone(),
            metrics: Arc::clone(&self.metrics),
            mint: Arc::clone(&self.mint),
            secret: self.secret.clone(),
            wake: Arc::clone(&self.wake),
            pool: self.pool.clone(),
        }
    }

    /// Hints to the leader, whoever it is, that something may be due or somebody came. It scans in any case.
    pub fn tell_leader(&self) {
        self.wake.notify_one();
        let lock = Arc::clone(&self.parts.lock);
        crate::system::spawn(async move {
            let _ = lock.signal(crate::port::lock::Signal::Work).await;
        });
    }
}

#[derive(Debug, Clone)]
pub struct Settings {
    /// The node's name, for people.
    pub name: String,
    /// Whether it contends for the lead.
    pub scheduler: bool,
    /// Whether it runs tasks.
    pub worker: bool,
    /// Whether it serves the API; only shown to people.
    pub api: bool,
    /// The queues that it works on.
    pub queues: Vec<QueueName>,
    /// How many runs it runs at once.
    pub slots: u32,
    /// The lock's time to live.
    pub lock_ttl: Duration,
    /// How long it may stay silent before its runs are given to others.
    pub lease: Duration,
    /// The most that this worker keeps of one attempt's output, whatever its task says.
    pub log_bytes_max: usize,
    /// Published and unclaimed runs of one queue that the leader allows.
    pub in_flight_max: usize,
    /// How many missed occurrences are started in a second, at most, after an outage.
    pub catch_up_per_second: u32,
    /// How long running handlers may go on after a stop was asked for.
    pub drain: Duration,
    /// How long finished runs are kept.
    pub retention: Duration,
    /// How long lines of the audit are kept.
    pub audit_retention: Duration,
    /// Whether the elector has a thread of its own, so that a busy node renews its lock all the same, and what takes long
    /// is computed on threads of its own. A simulation has one thread for everything, or one seed would have many
    /// histories.
    pub elector_thread: bool,
    /// The tasks that have figures of their own: names, in which `*` stands for anything.
    pub metrics_tasks: Vec<String>,
    /// The name of the zone rules by which this node computes instants: those of its process, except in a simulation.
    pub zone_rules: Arc<str>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "campanile".to_owned(),
            scheduler: true,
            worker: true,
            api: false,
            queues: vec![QueueName::default()],
            slots: 64,
            lock_ttl: Duration::from_secs(5),
            lease: Duration::from_secs(10),
            log_bytes_max: crate::limits::LOG_BYTES_MAX,
            in_flight_max: crate::limits::IN_FLIGHT_MAX,
            catch_up_per_second: 100,
            drain: Duration::from_secs(30),
            retention: Duration::from_secs(30 * 86_400),
            audit_retention: Duration::from_secs(400 * 86_400),
            elector_thread: true,
            metrics_tasks: Vec::new(),
            zone_rules: crate::system::zone_rules().into(),
        }
    }
}
