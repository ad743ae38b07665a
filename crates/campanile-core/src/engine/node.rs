//! One node: what one process takes part with. Always: it joins the members and heartbeats. As a scheduler: an elector that
//! contends for the lock, and a leader that runs while a term is ours. As a worker: intakes, handlers, a finisher.
//!
//! What runs when:
//!
//! | duty | runs | file |
//! |---|---|---|
//! | elector | always, on its own thread (in a simulation: as a task) | `elector.rs` |
//! | planner, dispatcher, settler, reaper, retention, orphans | while a term is ours | `leader.rs` |
//! | intake of each queue, handlers, finisher, heartbeats | always, on a worker | `worker.rs` |
//! | heartbeats of a node that is no worker | always | here |
//!
//! Stopping: the lead is given up first (a successor takes over within milliseconds), then the worker drains, then the
//! node leaves the members.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::told::telling;
use super::{Parts, Settings, Shared};
use crate::causes;
use crate::decide::lead;
use crate::decide::lead::clock::anchor;
use crate::decide::member::heartbeat_period;
use crate::decide::publish::message::Secret;
use crate::engine::attempt;
use crate::engine::attempt::Ended;
use crate::engine::lead::duty::Leader;
use crate::engine::lead::{Command, Elector, Handle, Leadership, Setup as ElectorSetup};
use crate::failpoint::{self, Failpoint};
use crate::id::{Mint, NodeId};
use crate::metrics::Metrics;
use crate::port;
use crate::port::lead::LeadStore;
use crate::port::store::{Error, LeaderStore, WorkerStore};
use crate::system::{self, Pool};
use crate::time::database::DatabaseTime;

/// The wait before a worker that was fenced, or could not join, joins again.
const JOIN_WAIT: Duration = Duration::from_millis(500);

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The epoch of the term that this node leads.
    pub leading: Option<i64>,
    /// Whether the broker confirmed what the leader last gave it (true on nodes that don't lead).
    pub broker_ok: bool,
    /// This joining of the node; a worker that was fenced joins under a new id.
    pub node: Option<NodeId>,
}

pub struct Node {
    status: watch::Receiver<Status>,
    metrics: Arc<Metrics>,
    mint: Arc<Mint>,
    time: DatabaseTime,
    wake: Arc<Notify>,
    pool: Pool,
    commands: Option<mpsc::UnboundedSender<Command>>,
    elector: Option<Electing>,
    closing: CancellationToken,
    member: tokio::task::JoinHandle<()>,
    leader: Option<tokio::task::JoinHandle<()>>,
    failed: watch::Receiver<bool>,
    hurry: CancellationToken,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({:?})", self.status.borrow())
    }
}

impl Node {
    /// Starts a node. Reads the shared secret first, so a store that can't be reached is known at once.
    ///
    /// # Errors
    /// The store's, or the operating system's refusal of a thread (as [`Error::Refused`]).
    pub async fn start(parts: Parts, settings: Settings) -> Result<Self, Error> {
        let time = DatabaseTime::new(Arc::clone(&parts.clock));
        // Nodes that left in order leave no row: what is there was written by members, or by who died.
        let nodes = parts.store.nodes().await?;
        let asked_at = parts.clock.monotonic();
        let now = parts.store.leader().await?.now;
        let heartbeat = nodes.iter().map(|node| node.heartbeat_at).max();
        time.anchor(anchor(now, heartbeat, parts.clock.now()));
        time.sample(now, asked_at);
        let secret = Secret::new(parts.store.secret(parts.random.secret()).await?);
        failpoint::reach(Failpoint::SecretKept);
        let pool = if settings.elector_thread {
            Pool::new().map_err(|e| Error::Refused(e.into()))?
        } else {
            Pool::inline()
        };
        let shared = Arc::new(Shared {
            secret,
            pool,
            mint: Arc::new(Mint::new(Arc::clone(&parts.random))),
            metrics: Arc::new(Metrics::watching(&settings.metrics_tasks)),
            wake: Arc::default(),
            failed: watch::Sender::new(false),
            hurry: CancellationToken::new(),
            settings,
            time,
            // Upcasts, here and for the scheduler: no part of a node can name a write that is not its own.
            parts: parts.with(Arc::clone(&parts.store) as Arc<dyn WorkerStore>),
        });
        let status = watch::Sender::new(Status {
            leading: None,
            broker_ok: true,
            node: None,
        });
        let closing = CancellationToken::new();
        let failed = shared.failed.clone();
        let seen = status.subscribe();
        let failed_seen = failed.subscribe();
        let (commands, elector, leader) = if shared.settings.scheduler {
            let (commands, elector, leader) = scheduler(&parts, &shared, &status, &failed)?;
            (Some(commands), Some(elector), Some(leader))
        } else {
            (None, None, None)
        };
        let member = system::spawn(watched(
            member(Arc::clone(&shared), status, closing.clone()),
            failed,
        ));
        Ok(Self {
            status: seen,
            metrics: Arc::clone(&shared.metrics),
            mint: Arc::clone(&shared.mint),
            time: shared.time.clone(),
            wake: Arc::clone(&shared.wake),
            pool: shared.pool.clone(),
            commands,
            elector,
            closing,
            member,
            leader,
            failed: failed_seen,
            hurry: shared.hurry.clone(),
        })
    }

    /// What the node says of itself, as it changes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// The process's mint of ids: batches of one mint never collide.
    #[must_use]
    pub fn mint(&self) -> Arc<Mint> {
        Arc::clone(&self.mint)
    }

    /// The store's time as this node carries it on.
    #[must_use]
    pub fn time(&self) -> DatabaseTime {
        self.time.clone()
    }

    /// The threads on which this process computes what takes long. They stop when the node does.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.pool.clone()
    }

    /// Makes the leader, if it is this node, scan at once: something became due.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// A handle that wakes like [`Node::wake`].
    #[must_use]
    pub fn waker(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Gives the lead up for this time; another node may take it.
    pub fn step_down(&self) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(Command::StepDown);
        }
    }

    /// Returns when a duty has died, which must end the process: a node that only seems to live is worse than none.
    pub async fn failed(&self) {
        let mut failed = self.failed.clone();
        if failed.wait_for(|f| *f).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Gives the lead up, drains the worker, leaves the members.
    pub async fn stop(mut self) {
        if let Some(commands) = self.commands.take() {
            let _ = commands.send(Command::Stop);
        }
        self.closing.cancel();
        // Nobody is made to wait for the end by what somebody asked to be computed.
        self.pool.close();
        if let Some(leader) = self.leader.take() {
            let _ = leader.await;
        }
        let _ = (&mut self.member).await;
        if let Some(elector) = self.elector.take() {
            // It has ended its term already; what is left of it is the thread.
            match elector {
                Electing::Thread(thread) => {
                    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
                }
                Electing::Task(task) => {
                    let _ = task.await;
                }
            }
        }
    }
}

/// Nobody waits for this end: the lock is given back, handlers are told to stop and their runs are given back, without the
/// patience of [`Node::stop`], as long as there is a runtime that goes on.
impl Drop for Node {
    fn drop(&mut self) {
        if let Some(commands) = self.commands.take() {
            let _ = commands.send(Command::Stop);
        }
        self.hurry.cancel();
        self.closing.cancel();
        self.pool.close();
    }
}

/// Where the elector runs.
enum Electing {
    Thread(std::thread::JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
}

type Scheduler = (
    mpsc::UnboundedSender<Command>,
    Electing,
    tokio::task::JoinHandle<()>,
);

fn scheduler(
    parts: &Parts,
    shared: &Arc<Shared>,
    status: &watch::Sender<Status>,
    failed: &watch::Sender<bool>,
) -> Result<Scheduler, Error> {
    let (elector, handle) = Elector::new(ElectorSetup {
        parts: parts.with(Arc::clone(&parts.store) as Arc<dyn LeadStore>),
        time: shared.time.clone(),
        metrics: Arc::clone(&shared.metrics),
        mint: Arc::clone(&shared.mint),
        node: shared.mint.node(),
        node_name: shared.settings.name.clone(),
        config: lead::Config {
            ttl: shared.settings.lock_ttl,
        },
        wake: Arc::clone(&shared.wake),
    });
    let Handle { commands, terms } = handle;
    let electing = if shared.settings.elector_thread {
        let failed = failed.clone();
        let run = move || telling(failed, elector.run());
        let thread =
            system::dedicated("campanile-elector", run).map_err(|e| Error::Refused(e.into()))?;
        Electing::Thread(thread)
    } else {
        Electing::Task(system::spawn(elector.run()))
    };
    let broker_ok = watch::Sender::new(true);
    let leader = Leader {
        store: Arc::clone(&parts.store) as Arc<dyn LeaderStore>,
        shared: Arc::clone(shared),
        broker_ok: broker_ok.clone(),
        silent: Arc::default(),
    };
    let said = system::spawn(say(status.clone(), terms.clone(), broker_ok.subscribe()));
    let leading = async move {
        leader.run(terms).await;
        said.abort();
    };
    let leader = system::spawn(watched(leading, failed.clone()));
    Ok((commands, electing, leader))
}

/// Keeps the status up to date.
async fn say(
    status: watch::Sender<Status>,
    mut terms: watch::Receiver<Option<Arc<Leadership>>>,
    mut broker_ok: watch::Receiver<bool>,
) {
    loop {
        let leading = terms.borrow_and_update().as_ref().map(|l| l.term.epoch);
        let broker_ok_now = *broker_ok.borrow_and_update() || leading.is_none();
        status.send_modify(|s| {
            s.leading = leading;
            s.broker_ok = broker_ok_now;
        });
        tokio::select! {
            biased;
            changed = terms.changed() => if changed.is_err() { return },
            changed = broker_ok.changed() => if changed.is_err() { return },
        }
    }
}

/// Tells when a duty panicked. One that returns has been asked to.
async fn watched<F: Future<Output = ()> + Send + 'static>(duty: F, failed: watch::Sender<bool>) {
    if let Err(error) = system::spawn(duty).await
        && error.is_panic()
    {
        tracing::error!(%error, "a duty of this node died");
        failed.send_replace(true);
    }
}

/// The node's membership: joins, works (or only heartbeats), leaves; joins again when it was fenced.
async fn member(shared: Arc<Shared>, status: watch::Sender<Status>, closing: CancellationToken) {
    while !closing.is_cancelled() {
        let id = shared.mint.node();
        failpoint::reach(Failpoint::JoinBefore);
        if let Err(error) = shared.parts.store.join(&description(&shared, id)).await {
            tracing::warn!(error = %causes(&error), "could not join the members; trying again");
            shared.parts.clock.sleep(JOIN_WAIT).await;
            continue;
        }
        failpoint::reach(Failpoint::JoinCommitted);
        if shared.settings.worker {
            shared.tell_leader();
        }
        status.send_modify(|s| s.node = Some(id));
        let ended = if shared.settings.worker {
            attempt::work(&shared, id, closing.clone()).await
        } else {
            only_heartbeat(&shared, id, &closing).await
        };
        status.send_modify(|s| s.node = None);
        match ended {
            Ended::Drained => {
                failpoint::reach(Failpoint::LeaveBefore);
                if let Err(error) = shared.parts.store.leave(id).await {
                    tracing::warn!(error = %causes(&error), "could not leave the members; the leader will find out");
                }
                failpoint::reach(Failpoint::LeaveCommitted);
            }
            Ended::Fenced => shared.parts.clock.sleep(JOIN_WAIT).await,
        }
    }
}

fn description(shared: &Shared, id: NodeId) -> port::member::Node {
    let settings = &shared.settings;
    let roles = [
        ("scheduler", settings.scheduler),
        ("worker", settings.worker),
        ("api", settings.api),
    ];
    port::member::Node {
        id,
        name: settings.name.clone(),
        roles: roles
            .iter()
            .filter(|(_, on)| *on)
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        queues: if settings.worker {
            settings.queues.clone()
        } else {
            Vec::new()
        },
        slots: if settings.worker { settings.slots } else { 0 },
        busy: 0,
        lease: settings.lease,
        started_at: shared.time.now(),
        heartbeat_seq: 0,
        heartbeat_at: shared.time.now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        abilities: Some(shared.abilities()).filter(|told| settings.worker || told.no_listeners),
    }
}

/// A node without a worker has no runs to lose; it heartbeats so that people see it.
async fn only_heartbeat(shared: &Shared, id: NodeId, closing: &CancellationToken) -> Ended {
    loop {
        let period = shared
            .time
            .read_again(heartbeat_period(shared.settings.lease));
        tokio::select! {
            biased;
            () = closing.cancelled() => return Ended::Drained,
            () = shared.parts.clock.sleep(period) => {}
        }
        let asked_at = shared.parts.clock.monotonic();
        match shared.parts.store.heartbeat(id, 0, &[]).await {
            Ok(beaten) if beaten.known => shared.time.sample(beaten.now, asked_at),
            Ok(_) => return Ended::Fenced,
            Err(error) => tracing::warn!(error = %causes(&error), "a heartbeat failed"),
        }
    }
}
