//! The worker: claims what its intakes were offered, reads the definitions, starts the handlers, hands their ends to the
//! finisher, and drains. An attempt starts only after its claim committed.

pub(super) mod aside;
mod finisher;
mod flush;
pub(super) mod handlers;
mod intake;
mod learned;
pub(super) mod refusing;
pub(super) mod running;
mod secrets;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::causes;
use crate::decide::attempt::conclude;
use crate::engine::Shared;
use crate::engine::attempt::flush::flush;
use crate::engine::attempt::intake::Intake;
use crate::engine::attempt::learned::{Known, attempt, learn};
use crate::engine::attempt::refusing::Announced;
use crate::engine::attempt::running::{Attempt, Done, InHand, Stops, Voice};
use crate::engine::member::heartbeat::heartbeat;
use crate::engine::told::telling;
use crate::failpoint::{self, Failpoint};
use crate::id::{ClaimId, NodeId, RunId, TaskId};
use crate::limits;
use crate::metrics::About;
use crate::metrics::Metrics;
use crate::port::attempt::{Claim, Claimed, End, Finish};
use crate::port::store::Error;
use crate::run::lateness_ms;
use crate::task::{QueueName, TaskSpec};

/// The first wait after the store failed; doubles up to [`RETRY_MAX`].
pub const RETRY_INITIAL: Duration = Duration::from_millis(50);
pub const RETRY_MAX: Duration = Duration::from_secs(2);
/// Tasks that a worker remembers; past this it forgets all and reads again.
pub const CACHE_TASKS_MAX: usize = 10_000;

/// Everything that the parts of one worker share. One value for each joining of the node: a worker that was fenced
/// drops it and joins again.
pub struct Worker {
    /// What all parts of the node share.
    pub shared: Arc<Shared>,
    /// This joining of the node.
    pub node: NodeId,
    pub slots: Arc<Semaphore>,
    /// Wakes the intakes that wait for a free slot.
    pub freed: Arc<Notify>,
    pub in_hand: Arc<InHand>,
    pub ends: mpsc::Sender<Finish>,
    /// Some attempt has written what the store lacks.
    pub output: Arc<Notify>,
    pub tracker: TaskTracker,
    /// No new offers are taken.
    pub closing: CancellationToken,
    pub stops: Stops,
    /// What it can carry out.
    pub announced: Announced,
    pub tasks: Mutex<HashMap<TaskId, Known>>,
}

/// How a worker's time ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to; its runs ended or were given back.
    Drained,
    /// It was declared dead, or could not heartbeat: it must join again.
    Fenced,
}

/// Works under one joining of the node until `closing` fires and all is drained, or until it is fenced.
pub async fn work(shared: &Arc<Shared>, node: NodeId, closing: CancellationToken) -> Ended {
    let (ends, received) = mpsc::channel(limits::FINISH_ROWS_MAX * 4);
    let slots = usize::try_from(shared.settings.slots).unwrap_or(1).max(1);
    let worker = Arc::new(Worker {
        shared: Arc::clone(shared),
        node,
        slots: Arc::new(Semaphore::new(slots)),
        freed: Arc::new(Notify::new()),
        in_hand: Arc::default(),
        ends,
        output: Arc::default(),
        tracker: TaskTracker::new(),
        closing,
        stops: Stops::default(),
        announced: Announced::of(shared.abilities()),
        tasks: Mutex::default(),
    });
    let fence = worker.stops.fence.clone();
    let finisher = finisher::run(
        worker.shared.parts.clone(),
        Arc::clone(&worker.shared.metrics),
        received,
        Arc::clone(&worker.in_hand),
        fence.clone(),
        (Arc::clone(&shared.wake), shared.time.clone()),
    );
    let finisher = crate::system::spawn(telling(shared.failed.clone(), finisher));
    let intakes = TaskTracker::new();
    for queue in worker.shared.settings.queues.clone() {
        let intakes_of = [
            Some(Intake::of_queue(Arc::clone(&worker), queue.clone())),
            Some(Intake::of_lane(Arc::clone(&worker), queue.clone())),
            Intake::of_groups(Arc::clone(&worker), queue),
        ];
        for intake in intakes_of.into_iter().flatten() {
            intakes.spawn(telling(shared.failed.clone(), intake.run()));
        }
    }
    intakes.close();
    let heart = telling(shared.failed.clone(), heartbeat(Arc::clone(&worker)));
    let heart = crate::system::spawn(heart);
    let flusher = telling(shared.failed.clone(), flush(Arc::clone(&worker)));
    let flusher = crate::system::spawn(flusher);
    let ended = tokio::select! {
        biased;
        () = fence.cancelled() => Ended::Fenced,
        () = worker.closing.cancelled() => drain(&worker, &intakes).await,
    };
    intakes.wait().await;
    worker.tracker.close();
    worker.tracker.wait().await;
    for task in [heart, flusher] {
        task.abort();
        let _ = task.await;
    }
    drop(worker);
    let _ = finisher.await;
    ended
}

/// Lets running handlers end by themselves, until the patience is over; then gives their runs back.
async fn drain(worker: &Worker, intakes: &TaskTracker) -> Ended {
    intakes.wait().await;
    failpoint::reach(Failpoint::Drain);
    worker.tracker.close();
    let shared = &worker.shared;
    let patience = async {
        tokio::select! {
            biased;
            () = shared.hurry.cancelled() => {}
            () = shared.parts.clock.sleep(shared.settings.drain) => {}
        }
    };
    tokio::select! {
        biased;
        () = worker.tracker.wait() => {}
        () = worker.stops.fence.cancelled() => return Ended::Fenced,
        () = patience => {
            tracing::warn!(runs = worker.in_hand.len(), "drain: {} runs are stopped and given back", worker.in_hand.len());
            worker.stops.drain.cancel();
            worker.tracker.wait().await;
        }
    }
    Ended::Drained
}

/// As many free slots as there are, up to `most`; `None` if there is none.
pub fn free_slots(slots: &Arc<Semaphore>, most: usize) -> Option<OwnedSemaphorePermit> {
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

/// Claims offers and starts what was won; the permits are the slots that were taken for it.
pub async fn claim(
    worker: Arc<Worker>,
    offers: Vec<(RunId, u32)>,
    permits: OwnedSemaphorePermit,
    queue: QueueName,
) -> Result<(), String> {
    let offered = offers.len();
    let claim = Claim {
        node: worker.node,
        id: worker.shared.mint.claim(),
        runs: offers,
    };
    failpoint::reach(Failpoint::ClaimBefore);
    let now = worker.shared.time.now();
    let (won, failed) = worker
        .pen()
        .claim(&*worker.shared.parts.store, &claim, now)
        .await;
    if let Some(error) = &failed {
        Metrics::add(&worker.shared.metrics.store_failures, 1);
        if matches!(error, Error::Ambiguous(_)) {
            let is_won = |run: &RunId| won.iter().any(|claimed| claimed.run == *run);
            let mut rest = claim.clone();
            rest.runs.retain(|(run, _)| !is_won(run));
            abandon(&worker, &rest).await;
        }
    }
    if !won.is_empty() {
        failpoint::reach(Failpoint::ClaimCommitted);
    }
    if failed.is_none() {
        Metrics::add(&worker.shared.metrics.claims_refused, offered - won.len());
    }
    Metrics::add(&worker.shared.metrics.attempts_claimed, won.len());
    for run in &won {
        let late = lateness_ms(run.origin, run.run, run.due_at, run.started_at);
        worker
            .shared
            .metrics
            .observe_lateness(u64::try_from(late).unwrap_or(0));
    }
    start(&worker, won, claim.id, permits, &queue).await;
    failed.map_or(Ok(()), |error| Err(causes(&error)))
}

/// Nobody knows whether this claim committed, or still will: a network may hold it back for longer than the call may take.
/// Its attempts are used up either way: nothing was started, and while this worker lives nobody else would ever end them.
async fn abandon(worker: &Worker, claim: &Claim) {
    let now = worker.shared.time.now();
    let runs = claim.runs.len();
    tracing::warn!(
        runs,
        "a claim of {runs} runs is in doubt: their attempts are used up"
    );
    for (run, attempt) in &claim.runs {
        let end = Finish {
            run: *run,
            attempt: *attempt,
            claim: claim.id,
            end: End::Abandoned { ready_at: now },
            at: now,
            error: Some("nobody knew whether its claim was committed".to_owned()),
            class: None,
            log: None,
            result: None,
            limited: true,
        };
        let _ = worker.ends.send(end).await;
    }
}

async fn start(
    worker: &Arc<Worker>,
    won: Vec<Claimed>,
    claim: ClaimId,
    mut permits: OwnedSemaphorePermit,
    queue: &QueueName,
) {
    // From here the runs are ours: cancellation and heartbeats must know them before their definitions are read.
    let tokens: Vec<CancellationToken> = won
        .iter()
        .map(|c| worker.in_hand.take(c.run, c.attempt))
        .collect();
    let Some(known) = learn(worker, &won).await else {
        // Fenced before the store answered. Whether their tasks exist is not known, so there is no end to record: nothing
        // was started, and the leader gives these runs on.
        for claimed in &won {
            worker.in_hand.release(claimed.run, claimed.attempt);
        }
        return;
    };
    let (mut last, log_of) = (None, |spec: &TaskSpec| worker.log_of(spec));
    for (claimed, cancel) in won.into_iter().zip(tokens) {
        let Some(permit) = permits.split(1) else {
            break;
        };
        match attempt(&known, claimed, claim, cancel, &log_of) {
            Ok(attempt) => {
                let about = about(&mut last, &attempt.task_name, queue);
                let (run, number) = (attempt.claimed.run, attempt.claimed.attempt);
                let voice = Voice {
                    claim,
                    reported: attempt.reported.clone(),
                    log: attempt.log.clone(),
                };
                worker.in_hand.name(run, number, about, voice);
                worker
                    .tracker
                    .spawn(carry_out(Arc::clone(worker), attempt, permit));
            }
            Err(finish) => {
                let _ = worker.ends.send(*finish).await;
            }
        }
    }
    drop(permits);
    worker.freed.notify_waiters();
}

/// What a run is called by. Neighbours are of one task more often than not, and share it.
fn about(last: &mut Option<Arc<About>>, task: &str, queue: &QueueName) -> Arc<About> {
    if let Some(same) = last.as_ref().filter(|about| about.task == task) {
        return Arc::clone(same);
    }
    let about = About {
        task: task.to_owned(),
        queue: queue.clone(),
    };
    Arc::clone(last.insert(Arc::new(about)))
}

async fn carry_out(worker: Arc<Worker>, attempt: Attempt, permit: OwnedSemaphorePermit) {
    let ended = match refusing::refusal(&worker, &attempt).await {
        Err(refused) => Some(Done {
            outcome: refused,
            returned: None,
            log: None,
        }),
        Ok(given) => {
            failpoint::reach(Failpoint::Start);
            let (handlers, clock) = (&worker.shared.parts.handlers, &worker.shared.parts.clock);
            let ended = running::run(&attempt, given, handlers, &**clock, &worker.stops).await;
            failpoint::reach(Failpoint::HandlerEnded);
            ended
        }
    };
    drop(permit);
    worker.freed.notify_waiters();
    let claimed = &attempt.claimed;
    let Some(Done {
        outcome,
        returned,
        log,
    }) = ended
    else {
        worker.in_hand.release(claimed.run, claimed.attempt);
        return;
    };
    let now = worker.shared.time.now();
    let end = conclude(
        &outcome,
        &attempt.spec,
        claimed.failures,
        now,
        worker.shared.parts.random.next(),
    );
    let finish = Finish {
        run: claimed.run,
        attempt: claimed.attempt,
        claim: attempt.claim,
        end,
        at: now,
        error: running::error_text(&outcome, attempt.spec.timeout),
        class: outcome.class(),
        log,
        result: returned,
        limited: claimed.limited,
    };
    let _ = worker.ends.send(finish).await;
}

#[cfg(test)]
#[path = "../../tests/engine/attempt_tests.rs"]
mod tests;
