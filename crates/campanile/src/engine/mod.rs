//! The engine: async shells around [`crate::protocol`]. They read the world through the ports, hand what they saw to
//! the pure functions, and carry out the effects; they decide nothing themselves.
//!
//! Every `select!` here is `biased`: what ends something is looked at before what goes on, and tokio's own dice, which no
//! seed reaches, decide nothing. So a simulation replays a history from its seed.
//!
//! [`node::Node`] is one process's part: an `elector` that contends for the lock, a `leader` that runs only while a
//! term is ours, and a `worker` that takes runs from queues. Read `node.rs` first.

pub(crate) mod ahead;
mod aside;
mod clock_state;
pub mod database_time;
mod dispatcher;
mod elector;
mod ended;
mod finisher;
mod handlers;
mod heart;
mod intake;
mod leader;
mod learned;
mod meters;
pub mod node;
mod orphans;
mod planner;
mod put_back;
mod reaper;
mod refusing;
mod router;
mod running;
mod shelf;
mod told;
mod worker;
mod zones;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use ended::matches;
pub use ended::{Ended, Figures, TaskFigures};
pub use handlers::Handlers;
pub use meters::{Counter, LATENESS_BOUNDS_MS, Meters};
pub use node::{Node, Status};

use crate::port::broker::Broker;
use crate::port::clock::Clock;
use crate::port::lock::Lock;
use crate::port::store::Store;
use crate::system::Random;
use crate::task::QueueName;

/// What a node is made of: the five ports and the source of randomness.
#[derive(Clone)]
pub struct Parts {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// Who may try to lead.
    pub lock: Arc<dyn Lock>,
    /// The conveyor.
    pub broker: Arc<dyn Broker>,
    /// This node's clocks.
    pub clock: Arc<dyn Clock>,
    /// Ids and jitter.
    pub random: Arc<Random>,
    /// What runs.
    pub handlers: Handlers,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Parts")
    }
}

/// What all parts of a node share.
pub(crate) struct Shared {
    /// The node's parts.
    pub parts: Parts,
    /// Its settings.
    pub settings: Settings,
    /// The store's time.
    pub time: database_time::DatabaseTime,
    /// Counters.
    pub meters: Arc<Meters>,
    /// Ids.
    pub mint: Arc<crate::id::Mint>,
    /// Where message keys come from.
    pub secret: crate::protocol::message::Secret,
    /// Wakes the planner, if this node leads.
    pub wake: Arc<tokio::sync::Notify>,
    /// Whether a duty has died.
    pub failed: tokio::sync::watch::Sender<bool>,
    /// Where what takes long is computed.
    pub pool: crate::system::Pool,
}

impl Shared {
    /// Hints to the leader, whoever it is, that something may be due or somebody came. It scans in any case.
    pub fn tell_leader(&self) {
        self.wake.notify_one();
        let lock = Arc::clone(&self.parts.lock);
        crate::system::spawn(async move {
            let _ = lock.signal(crate::port::lock::Signal::Work).await;
        });
    }
}

/// A node's settings.
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
    /// Published and unclaimed runs of one queue that the leader allows.
    pub in_flight_max: usize,
    /// How many missed occurrences are started in a second, at most, after an outage.
    pub catch_up_per_second: u32,
    /// How long running handlers may go on after a stop was asked for.
    pub drain: Duration,
    /// How long finished runs are kept.
    pub retention: Duration,
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
            in_flight_max: crate::protocol::limits::IN_FLIGHT_MAX,
            catch_up_per_second: 100,
            drain: Duration::from_secs(30),
            retention: Duration::from_secs(30 * 86_400),
            elector_thread: true,
            metrics_tasks: Vec::new(),
            zone_rules: crate::system::zone_rules().into(),
        }
    }
}
