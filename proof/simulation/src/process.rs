//! One process: a node of the production engine with a runtime of its own on the one thread. To crash it is to drop the
//! runtime, wherever its tasks stand; to pause it is not to run it. Its ids, clocks and wrong wall time begin again with
//! every start.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use campanile_adapters::offers::OfferBroker;
use campanile_core::engine::{Handlers, Node, Parts, Settings};
use campanile_core::memory::broker::MemoryBroker;
use campanile_core::memory::lock::MemoryLock;
use campanile_core::memory::store::MemoryStore;
use campanile_core::metrics::{Counter, Metrics};
use campanile_core::port::broker::Broker;
use campanile_core::system::Random;
use tokio::runtime::{Builder, Runtime};

use crate::broker::FaultyBroker;
use crate::handler::{Rare, Worker};
use crate::lock::FaultyLock;
use crate::net::{Link, Net};
use crate::offers::{FaultyOffers, Offers};
use crate::store::FaultyStore;
use crate::tally::Seen;
use crate::time::NodeClock;

/// The services that all processes share.
pub struct Services {
    /// The truth.
    pub store: Arc<MemoryStore>,
    /// The conveyor.
    pub broker: Arc<MemoryBroker>,
    /// What carries runs in its place, where the broker is a table of the store.
    pub offers: Option<Arc<Offers>>,
    /// The lock.
    pub lock: MemoryLock,
    /// Whether the lock passes hints on.
    pub hints: bool,
    /// The clock that the store reads.
    pub store_clock: Arc<NodeClock>,
}

/// What the process's own tasks tell the driver.
#[derive(Default)]
struct Cell {
    node: Mutex<Option<Node>>,
    metrics: Mutex<Option<Arc<Metrics>>>,
    stopped: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process, running or not.
pub struct Process {
    link: Link,
    settings: Settings,
    /// How often it was started.
    pub starts: u64,
    runtime: Option<Runtime>,
    cell: Arc<Cell>,
    clock: Arc<NodeClock>,
    /// It stands still until somebody lets it go on.
    pub paused: bool,
    /// It was asked to stop.
    pub stopping: bool,
}

/// A runtime that does all there is to do before it looks at anything else.
pub fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().event_interval(1_000_000);
    match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => panic!("no runtime: {error}"),
    }
}

/// The zone rules of one start: of two releases, so that leaders find the due rows of the other. They say the same of
/// every zone: a due row that moves stood elsewhere for another reason.
fn zone_rules(own: u64) -> &'static str {
    ["2026a old", "2026b new"][usize::from(Random::from_seed(own ^ 0x20_7e5).below(2) == 1)]
}

/// Runs what is ready, and what that makes ready.
pub fn run_ready(runtime: &Runtime) {
    runtime.block_on(async {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    });
}

impl Process {
    /// A process that is not running yet.
    pub fn new(net: Arc<Net>, node: usize, settings: Settings) -> Self {
        let clock = Arc::new(NodeClock::new(Arc::clone(&net.time), 1));
        Self {
            link: Link { net, node },
            settings,
            starts: 0,
            runtime: None,
            cell: Arc::default(),
            clock,
            paused: false,
            stopping: false,
        }
    }

    /// Starts it under a new identity.
    pub fn start(&mut self, seed: u64, services: &Services) {
        self.starts += 1;
        let (net, node) = (Arc::clone(&self.link.net), self.link.node);
        let place = u64::try_from(node).unwrap_or(0);
        let own = seed ^ ((self.starts << 32) | (place + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let base_ms = 1 + Random::from_seed(own).below(1 << 40);
        self.clock = Arc::new(NodeClock::new(Arc::clone(&net.time), base_ms));
        self.cell = Arc::default();
        (self.paused, self.stopping) = (false, false);
        let wrong_ms = Arc::new(AtomicI64::new(0));
        let parts: Parts = Parts {
            store: Arc::new(FaultyStore {
                inner: Arc::clone(&services.store),
                link: self.link.clone(),
                clock: Arc::clone(&self.clock),
                wrong_ms: Arc::clone(&wrong_ms),
            }),
            lock: Arc::new(FaultyLock {
                inner: services.lock.handle(),
                link: self.link.clone(),
                hints: services.hints,
            }),
            broker: self.broker(services),
            clock: Arc::clone(&self.clock) as _,
            random: Arc::new(Random::from_seed(own)),
            handlers: self.handlers(own),
        };
        net.event(node, "starts", || self.settings.name.clone());
        let (cell, mut settings) = (Arc::clone(&self.cell), self.settings.clone());
        settings.zone_rules = zone_rules(own).into();
        let store_clock = Arc::clone(&services.store_clock);
        let runtime = runtime();
        runtime.spawn(async move {
            loop {
                match Node::start(parts.clone(), settings.clone()).await {
                    Ok(node) => {
                        // Two wrong clocks: it believes what both say. What it plans by them is no more than that.
                        let wrong_ms = wrong_ms.load(Ordering::Relaxed);
                        if settings.scheduler && wrong_ms > 0 {
                            net.believe_ahead(wrong_ms, store_clock.is_right());
                        }
                        *lock(&cell.metrics) = Some(node.metrics());
                        *lock(&cell.node) = Some(node);
                        return;
                    }
                    // As a supervisor would.
                    Err(_) => net.time.pass(500).await,
                }
            }
        });
        self.runtime = Some(runtime);
    }

    fn broker(&self, services: &Services) -> Arc<dyn Broker> {
        let link = self.link.clone();
        match &services.offers {
            Some(offers) => {
                let table = FaultyOffers::new(Arc::clone(offers), link);
                let clock = Arc::clone(&self.clock) as _;
                Arc::new(OfferBroker::new(Arc::new(table), clock))
            }
            None => Arc::new(FaultyBroker {
                inner: Arc::clone(&services.broker),
                link,
            }),
        }
    }

    /// What this start of it can do. The first of those that only work can do everything, so that a world comes to rest.
    fn handlers(&self, own: u64) -> Handlers {
        let handlers = Handlers::new().native(Worker(self.link.clone()));
        let always = self.settings.name == "w0";
        if always || Random::from_seed(own).below(2) == 0 {
            handlers.native(Rare(Worker(self.link.clone())))
        } else {
            handlers
        }
    }

    /// Whether it exists, paused or not.
    pub fn is_up(&self) -> bool {
        self.runtime.is_some()
    }

    /// Runs it, if there is something to run; says whether there was.
    pub fn turn(&self, whatever: bool) -> bool {
        let Some(runtime) = self.runtime.as_ref().filter(|_| !self.paused) else {
            return false;
        };
        let ready = runtime.metrics().global_queue_depth() > 0;
        if ready || whatever {
            run_ready(runtime);
        }
        ready
    }

    /// Drops it where it stands.
    pub fn crash(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            self.link.net.event(self.link.node, "is gone", String::new);
            self.settle_meters();
            drop(lock(&self.cell.node).take());
            drop(runtime);
        }
        (self.paused, self.stopping) = (false, false);
    }

    fn settle_meters(&self) {
        let Some(metrics) = lock(&self.cell.metrics).take() else {
            return;
        };
        let mut ledger = self.link.net.ledger();
        for Counter { name, value: n, .. } in metrics.counters() {
            match name {
                "self_fenced" => ledger.tally.seen(Seen::SelfFenced, n),
                "attempts_refused" => ledger.tally.seen(Seen::RefusedBeforeStart, n),
                "messages_refused" => ledger.tally.seen(Seen::MessageRefused, n),
                _ => {}
            }
        }
    }

    /// Asks it to stop in order; [`Process::has_stopped`] says when it has.
    pub fn stop(&mut self) -> bool {
        let node = lock(&self.cell.node).take();
        let (Some(node), Some(runtime)) = (node, &self.runtime) else {
            return false;
        };
        self.stopping = true;
        let cell = Arc::clone(&self.cell);
        runtime.spawn(async move {
            node.stop().await;
            cell.stopped.store(true, Ordering::Relaxed);
        });
        true
    }

    /// Whether an orderly stop has come to its end.
    pub fn has_stopped(&self) -> bool {
        self.cell.stopped.load(Ordering::Relaxed)
    }

    /// Tells its leader, if it is one, to step down.
    pub fn step_down(&self) {
        if let Some(node) = &*lock(&self.cell.node) {
            node.step_down();
        }
    }

    /// Sets its wall clock wrong by this much.
    pub fn step_clock(&self, skew_ms: i64) {
        self.clock.step(skew_ms);
    }

    /// Whether it runs and has not begun yet: it has not settled which clock it believes.
    pub fn is_starting(&self) -> bool {
        self.is_up() && lock(&self.cell.metrics).is_none()
    }

    /// By how much its wall clock is ahead of the true time.
    pub fn clock_ms(&self) -> i64 {
        self.clock.skew_ms()
    }

    /// Whether one of its duties has died, which must not be.
    pub fn has_failed(&self) -> bool {
        let (Some(runtime), Some(node)) = (&self.runtime, lock(&self.cell.node).take()) else {
            return false;
        };
        let failed = runtime.block_on(async {
            tokio::select! {
                biased;
                () = node.failed() => true,
                () = std::future::ready(()) => false,
            }
        });
        *lock(&self.cell.node) = Some(node);
        failed
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.settle_meters();
    }
}
