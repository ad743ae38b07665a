//! A worker by itself: what becomes of runs whose tasks it can't learn of.

use super::*;
use crate::decide::publish::message::Secret;
use crate::engine::{Handlers, Parts, Settings};
use crate::id::Mint;
use crate::memory::{broker::MemoryBroker, lock::MemoryLock, store::MemoryStore};
use crate::port::clock::Clock;
use crate::port::edit::EditStore as _;

use crate::run::{Origin, Reason};
use crate::system::{Random, SystemClock};
use crate::time::database::DatabaseTime;

/// A worker by itself, and where its ends go.
async fn worker() -> (Arc<Worker>, mpsc::Receiver<Finish>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let random = Arc::new(Random::from_seed(1));
    let store = Arc::new(MemoryStore::new(Arc::clone(&clock)));
    let secret = store.secret(random.secret()).await.unwrap_or_default();
    let shared = Arc::new(Shared {
        settings: Settings::default(),
        time: DatabaseTime::new(Arc::clone(&clock)),
        metrics: Arc::default(),
        mint: Arc::new(Mint::new(Arc::clone(&random))),
        secret: Secret::new(secret),
        wake: Arc::default(),
        failed: tokio::sync::watch::Sender::new(false),
        pool: crate::system::Pool::inline(),
        hurry: CancellationToken::new(),
        parts: Parts {
            store,
            lock: Arc::new(MemoryLock::new(Arc::clone(&clock))),
            broker: Arc::new(MemoryBroker::new()),
            clock,
            random,
            handlers: Handlers::new(),
        },
    });
    let (ends, received) = mpsc::channel(8);
    let worker = Arc::new(Worker {
        node: shared.mint.node(),
        announced: Announced::of(shared.abilities()),
        shared,
        slots: Arc::new(Semaphore::new(4)),
        freed: Arc::default(),
        in_hand: Arc::default(),
        ends,
        output: Arc::default(),
        tracker: TaskTracker::new(),
        closing: CancellationToken::new(),
        stops: Stops::default(),
        tasks: Mutex::default(),
    });
    (worker, received)
}

/// What became of a won run whose task the worker does not know: the end, if one was sent.
async fn started(fenced: bool) -> Option<End> {
    let (worker, mut received) = worker().await;
    if fenced {
        worker.stops.fence.cancel();
    }
    let now = worker.shared.time.now();
    let won = Claimed {
        run: RunId::floor(now),
        attempt: 1,
        task: Some((worker.shared.mint.task(now), 1)),
        origin: Origin::Schedule,
        due_at: now,
        started_at: now,
        failures: 0,
        losses: 0,
        limited: false,
        orphaned: false,
        spec: None,
    };
    let permits = free_slots(&worker.slots, 1).unwrap();
    let queue = QueueName::default();
    start(
        &worker,
        vec![won],
        worker.shared.mint.claim(),
        permits,
        &queue,
    )
    .await;
    let end = received.try_recv().ok().map(|finish| finish.end);
    assert_eq!(worker.in_hand.len(), usize::from(end.is_some()));
    end
}

#[tokio::test]
async fn only_a_store_that_answered_says_that_a_task_is_gone() {
    let gone = End::Cancelled(Reason::TaskDeleted);
    assert_eq!(started(false).await, Some(gone));
    // The task may well be there: its run is requeued with all that this worker held.
    assert_eq!(started(true).await, None);
}
