//! The worker: takes offers from its queues, claims them in batches, acknowledges, and only then starts handlers. Never
//! reads ahead of its free slots. It fences itself: without a beat in the store for two thirds of its lease it stops its
//! handlers, because the leader is about to give their runs to others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::database_time::DatabaseTime;
use super::elector::causes;
use super::meters::Meters;
use super::running::{self, Attempt, InHand, Stops};
use super::{Parts, Settings, finisher};
use crate::id::{ClaimId, Mint, NodeId, RunId, TaskId};
use crate::port::broker::{Consumer, Delivery};
use crate::protocol::limits;
use crate::protocol::lost::{beat_period, stop_by};
use crate::protocol::message::{self, Key, Secret};
use crate::protocol::run::conclude;
use crate::protocol::work::{Claim, Claimed, End, Finish};
use crate::run::Reason;
use crate::task::{QueueName, TaskSpec};

/// The first wait after broker or store failed an intake; doubles up to [`RETRY_MAX`].
const RETRY_INITIAL: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// How often a worker beats while it runs something, at least: it learns of cancellations so.
const BUSY_BEAT: Duration = Duration::from_secs(1);
/// Tasks that a worker remembers; past this it forgets all and reads again.
const CACHE_TASKS_MAX: usize = 10_000;

/// Everything that the parts of one worker share. One value for each joining of the node: a worker that was fenced
/// drops it and joins anew.
pub struct Worker {
    /// The node's parts.
    pub parts: Parts,
    /// Its settings.
    pub settings: Arc<Settings>,
    /// The store's time.
    pub time: DatabaseTime,
    /// Counters.
    pub meters: Arc<Meters>,
    /// Ids.
    pub mint: Arc<Mint>,
    /// Where message keys come from.
    pub secret: Secret,
    /// This joining of the node.
    pub node: NodeId,
    /// Free slots.
    pub slots: Arc<Semaphore>,
    /// Wakes the intakes that wait for a free slot.
    pub freed: Arc<Notify>,
    /// Runs in hand.
    pub in_hand: Arc<InHand>,
    /// Where ends go.
    pub ends: mpsc::Sender<Finish>,
    /// Handlers under way.
    pub tracker: TaskTracker,
    /// No new offers are taken.
    pub closing: CancellationToken,
    /// What stops handlers.
    pub stops: Stops,
    tasks: Mutex<HashMap<TaskId, Known>>,
}

struct Known {
    version: i64,
    spec: Arc<TaskSpec>,
    name: String,
}

/// How a worker's time ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to; its runs ended or were given back.
    Drained,
    /// It was declared dead, or could not beat: it must join anew.
    Fenced,
}

/// What a worker is made from.
pub struct Setup {
    /// The node's parts.
    pub parts: Parts,
    /// Its settings.
    pub settings: Arc<Settings>,
    /// The store's time.
    pub time: DatabaseTime,
    /// Counters.
    pub meters: Arc<Meters>,
    /// Ids.
    pub mint: Arc<Mint>,
    /// Where message keys come from.
    pub secret: Secret,
    /// Wakes the planner, if this node leads.
    pub wake: Arc<Notify>,
}

/// Works under one joining of the node until `closing` fires and all is drained, or until it is fenced.
pub async fn work(setup: &Setup, node: NodeId, closing: CancellationToken) -> Ended {
    let (ends, received) = mpsc::channel(limits::FINISH_ROWS_MAX * 4);
    let slots = usize::try_from(setup.settings.slots).unwrap_or(1).max(1);
    let worker = Arc::new(Worker {
        parts: setup.parts.clone(),
        settings: Arc::clone(&setup.settings),
        time: setup.time.clone(),
        meters: Arc::clone(&setup.meters),
        mint: Arc::clone(&setup.mint),
        secret: setup.secret.clone(),
        node,
        slots: Arc::new(Semaphore::new(slots)),
        freed: Arc::new(Notify::new()),
        in_hand: Arc::default(),
        ends,
        tracker: TaskTracker::new(),
        closing,
        stops: Stops::default(),
        tasks: Mutex::default(),
    });
    let fence = worker.stops.fence.clone();
    let finisher = crate::system::spawn(finisher::run(
        worker.parts.clone(),
        Arc::clone(&worker.meters),
        received,
        Arc::clone(&worker.in_hand),
        fence.clone(),
        Arc::clone(&setup.wake),
    ));
    let intakes = TaskTracker::new();
    for queue in worker.settings.queues.clone() {
        intakes.spawn(Intake::new(Arc::clone(&worker), queue).run());
    }
    intakes.close();
    let heart = crate::system::spawn(beat(Arc::clone(&worker)));
    let ended = tokio::select! {
        () = fence.cancelled() => Ended::Fenced,
        () = worker.closing.cancelled() => drain(&worker, &intakes).await,
    };
    intakes.wait().await;
    worker.tracker.close();
    worker.tracker.wait().await;
    heart.abort();
    let _ = heart.await;
    drop(worker);
    let _ = finisher.await;
    ended
}

/// Lets running handlers end by themselves, until the patience is over; then gives their runs back.
async fn drain(worker: &Worker, intakes: &TaskTracker) -> Ended {
    intakes.wait().await;
    worker.tracker.close();
    tokio::select! {
        () = worker.tracker.wait() => {}
        () = worker.stops.fence.cancelled() => return Ended::Fenced,
        () = worker.parts.clock.sleep(worker.settings.drain) => {
            tracing::warn!(runs = worker.in_hand.len(), "drain: {} runs are stopped and given back", worker.in_hand.len());
            worker.stops.drain.cancel();
            worker.tracker.wait().await;
        }
    }
    Ended::Drained
}

/// Beats until aborted; fences the worker when the store counts it dead or can't be reached for too long.
async fn beat(worker: Arc<Worker>) {
    let clock = Arc::clone(&worker.parts.clock);
    let lease = worker.settings.lease;
    let mut answered = clock.monotonic();
    loop {
        let period = beat_period(lease);
        let busy = worker.in_hand.len();
        clock
            .sleep(if busy > 0 {
                period.min(BUSY_BEAT)
            } else {
                period
            })
            .await;
        let sent = clock.monotonic();
        let runs = worker.in_hand.runs();
        let busy = u32::try_from(runs.len()).unwrap_or(u32::MAX);
        let answer = tokio::select! {
            answer = worker.parts.store.beat(worker.node, busy, &runs) => answer,
            () = clock.sleep_until(stop_by(answered, lease)) => {
                fence(&worker, "its beat was not answered in time");
                return;
            }
        };
        match answer {
            Ok(beaten) if beaten.known => {
                answered = sent;
                worker.time.sample(beaten.now, sent);
                for run in beaten.cancel {
                    worker.in_hand.cancel(run);
                }
            }
            Ok(_) => {
                fence(&worker, "the leader had declared it dead");
                return;
            }
            Err(error) => {
                Meters::add(&worker.meters.store_failures, 1);
                tracing::warn!(error = %causes(&error), "a beat failed");
                if clock.monotonic() >= stop_by(answered, lease) {
                    fence(&worker, "its beats failed for too long");
                    return;
                }
            }
        }
    }
}

fn fence(worker: &Worker, why: &str) {
    let runs = worker.in_hand.len();
    tracing::warn!(node = %worker.node, runs, "this worker stops its {runs} runs and joins anew: {why}");
    Meters::add(&worker.meters.self_fenced, 1);
    worker.stops.fence.cancel();
}

/// One queue's intake.
struct Intake {
    worker: Arc<Worker>,
    queue: QueueName,
    destination: String,
    key: Key,
    consumer: Option<(Box<dyn Consumer>, usize)>,
}

impl Intake {
    fn new(worker: Arc<Worker>, queue: QueueName) -> Self {
        let key = worker.secret.queue_key(&queue);
        Self {
            destination: message::destination(&queue),
            worker,
            queue,
            key,
            consumer: None,
        }
    }

    async fn run(mut self) {
        let worker = Arc::clone(&self.worker);
        let over = async {
            tokio::select! {
                () = worker.closing.cancelled() => {}
                () = worker.stops.fence.cancelled() => {}
            }
        };
        // Dropped at an await: what was received and not claimed is given back with the consumer; what was claimed is
        // started by a task of its own, which is not dropped.
        tokio::select! {
            () = over => {}
            () = self.take_in() => {}
        }
    }

    async fn take_in(&mut self) {
        let mut wait = RETRY_INITIAL;
        loop {
            match self.step().await {
                Ok(()) => wait = RETRY_INITIAL,
                Err(why) => {
                    self.consumer = None;
                    tracing::warn!(queue = %self.queue, why, "queue `{}`: {why}; trying again", self.queue);
                    self.worker.parts.clock.sleep(wait).await;
                    wait = (wait * 2).min(RETRY_MAX);
                }
            }
        }
    }

    async fn step(&mut self) -> Result<(), String> {
        let worker = Arc::clone(&self.worker);
        let freed = worker.freed.notified();
        let free = worker.slots.available_permits() / worker.settings.queues.len().max(1);
        if free == 0 && worker.slots.available_permits() == 0 {
            // Full: what is at the broker is for others.
            self.consumer = None;
            freed.await;
            return Ok(());
        }
        self.subscribe(free.max(1)).await?;
        let Some((consumer, _)) = self.consumer.as_mut() else {
            return Ok(());
        };
        let deliveries = consumer.receive().await.map_err(|e| causes(&e))?;
        Meters::add(&worker.meters.messages_received, deliveries.len());
        self.take(deliveries).await
    }

    /// Subscribes so that the broker holds no more for us than there are free slots, and not needlessly few.
    async fn subscribe(&mut self, free: usize) -> Result<(), String> {
        if let Some((_, prefetch)) = &self.consumer
            && *prefetch <= free
            && *prefetch * 8 >= free
        {
            return Ok(());
        }
        self.consumer = None;
        let prefetch = free.div_ceil(2).min(limits::CLAIM_ROWS_MAX);
        let consumer = self
            .worker
            .parts
            .broker
            .consume(&self.destination, prefetch)
            .await
            .map_err(|e| causes(&e))?;
        self.consumer = Some((consumer, prefetch));
        Ok(())
    }

    /// Claims what free slots allow, acknowledges what is settled, starts what was won.
    async fn take(&mut self, deliveries: Vec<Delivery>) -> Result<(), String> {
        let worker = Arc::clone(&self.worker);
        let permits = free_slots(&worker.slots, deliveries.len().min(limits::CLAIM_ROWS_MAX));
        let free = permits
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let mut settled = Vec::with_capacity(deliveries.len());
        let mut offers: Vec<(RunId, u32)> = Vec::with_capacity(deliveries.len());
        let mut left = 0;
        for delivery in &deliveries {
            match message::read(&delivery.body, &delivery.signature, &self.queue, &self.key) {
                Ok(offer) if offers.len() < free => {
                    offers.push(offer);
                    settled.push(delivery.token);
                }
                Ok(_) => left += 1,
                Err(refusal) => {
                    Meters::add(&worker.meters.messages_refused, 1);
                    tracing::warn!(queue = %self.queue, %refusal, "a message is dropped: {refusal}");
                    settled.push(delivery.token);
                }
            }
        }
        offers.sort_unstable();
        offers.dedup();
        if let Some(permits) = permits.filter(|_| !offers.is_empty()) {
            // The claim and the start are one task, so that a stop between them can't leave a won attempt unstarted.
            let claiming = worker
                .tracker
                .spawn(claim(Arc::clone(&worker), offers, permits));
            claiming.await.map_err(|e| e.to_string())??;
        }
        if let Some((consumer, _)) = self.consumer.as_mut() {
            consumer.ack(&settled).await.map_err(|e| causes(&e))?;
        }
        if left > 0 {
            // More than there are slots for: others may have them.
            self.consumer = None;
        }
        Ok(())
    }
}

/// As many free slots as there are, up to `most`; `None` if there is none.
fn free_slots(slots: &Arc<Semaphore>, most: usize) -> Option<OwnedSemaphorePermit> {
    loop {
        let n = slots.available_permits().min(most);
        if n == 0 {
            return None;
        }
        // Another queue's intake may have been quicker: look again.
        if let Ok(permits) =
            Arc::clone(slots).try_acquire_many_owned(u32::try_from(n).unwrap_or(u32::MAX))
        {
            return Some(permits);
        }
    }
}

async fn claim(
    worker: Arc<Worker>,
    offers: Vec<(RunId, u32)>,
    permits: OwnedSemaphorePermit,
) -> Result<(), String> {
    let offered = offers.len();
    let claim = Claim {
        node: worker.node,
        id: worker.mint.claim(),
        runs: offers,
    };
    let won = worker.parts.store.claim(&claim).await.map_err(|e| {
        Meters::add(&worker.meters.store_failures, 1);
        causes(&e)
    })?;
    Meters::add(&worker.meters.claims_refused, offered - won.len());
    Meters::add(&worker.meters.attempts_claimed, won.len());
    for run in &won {
        let late = run.started_at.as_ms() - run.due_at.as_ms();
        worker
            .meters
            .observe_lateness(u64::try_from(late).unwrap_or(0));
    }
    start(&worker, won, claim.id, permits).await;
    Ok(())
}

async fn start(
    worker: &Arc<Worker>,
    won: Vec<Claimed>,
    claim: ClaimId,
    mut permits: OwnedSemaphorePermit,
) {
    // From here the runs are ours: cancellation and beats must know them before their definitions are read.
    let tokens: Vec<CancellationToken> = won
        .iter()
        .map(|c| worker.in_hand.take(c.run, c.attempt))
        .collect();
    learn(worker, &won).await;
    for (claimed, cancel) in won.into_iter().zip(tokens) {
        let Some(permit) = permits.split(1) else {
            break;
        };
        match attempt(worker, claimed, claim) {
            Ok(attempt) => {
                let stops = Stops {
                    cancel,
                    ..worker.stops.clone()
                };
                worker
                    .tracker
                    .spawn(carry_out(Arc::clone(worker), attempt, stops, permit));
            }
            Err(finish) => {
                let _ = worker.ends.send(finish).await;
            }
        }
    }
    drop(permits);
    worker.freed.notify_waiters();
}

/// Reads the definitions that the won runs need and that are not known in the version in force. Asks until the store
/// answers: the runs are ours meanwhile.
async fn learn(worker: &Worker, won: &[Claimed]) {
    let missing: Vec<TaskId> = {
        let known = worker
            .tasks
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let stale =
            |(id, version): &(TaskId, i64)| known.get(id).is_none_or(|k| k.version < *version);
        let mut missing: Vec<TaskId> = won
            .iter()
            .filter_map(|c| c.task)
            .filter(stale)
            .map(|(id, _)| id)
            .collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    };
    let mut wait = RETRY_INITIAL;
    while !missing.is_empty() && !worker.stops.fence.is_cancelled() {
        match worker.parts.store.tasks_by_id(&missing).await {
            Ok(tasks) => {
                let mut known = worker
                    .tasks
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                if known.len() > CACHE_TASKS_MAX {
                    known.clear();
                }
                for task in tasks {
                    let name = task.spec.name.clone();
                    known.insert(
                        task.id,
                        Known {
                            version: task.version,
                            spec: Arc::new(task.spec),
                            name,
                        },
                    );
                }
                return;
            }
            Err(error) => {
                tracing::warn!(error = %causes(&error), "could not read the tasks of claimed runs; asking again");
                worker.parts.clock.sleep(wait).await;
                wait = (wait * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Puts an attempt together; a run whose task is gone is cancelled instead.
fn attempt(worker: &Worker, claimed: Claimed, claim: ClaimId) -> Result<Attempt, Finish> {
    let known = worker
        .tasks
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let definition = claimed.task.and_then(|(id, _)| known.get(&id));
    let own = claimed.spec.as_ref().and_then(|s| s.handler.clone());
    let (spec, task_name) = match (definition, own) {
        (Some(known), _) => (Arc::clone(&known.spec), known.name.clone()),
        (None, Some(handler)) => (Arc::new(TaskSpec::for_handler(handler)), String::new()),
        (None, None) => {
            return Err(Finish {
                run: claimed.run,
                attempt: claimed.attempt,
                claim,
                end: End::Cancelled(Reason::TaskDeleted),
                at: claimed.started_at,
                error: Some("its task was deleted before it started".to_owned()),
                log: None,
            });
        }
    };
    Ok(Attempt {
        claimed,
        claim,
        spec,
        task_name,
    })
}

async fn carry_out(
    worker: Arc<Worker>,
    attempt: Attempt,
    stops: Stops,
    permit: OwnedSemaphorePermit,
) {
    let ended = running::run(
        &attempt,
        &worker.parts.handlers,
        &*worker.parts.clock,
        &stops,
    )
    .await;
    drop(permit);
    worker.freed.notify_waiters();
    let claimed = &attempt.claimed;
    let Some((outcome, log)) = ended else {
        worker.in_hand.release(claimed.run, claimed.attempt);
        return;
    };
    let now = worker.time.now();
    let end = conclude(
        &outcome,
        &attempt.spec,
        claimed.failures,
        now,
        worker.parts.random.next(),
    );
    let finish = Finish {
        run: claimed.run,
        attempt: claimed.attempt,
        claim: attempt.claim,
        end,
        at: now,
        error: running::error_text(&outcome, attempt.spec.timeout),
        log: Some(log).filter(|l| !l.is_empty()),
    };
    let _ = worker.ends.send(finish).await;
}
