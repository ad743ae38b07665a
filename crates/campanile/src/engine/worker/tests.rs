//! What a worker does with a claim that it can't begin.

use super::*;
use crate::engine::database_time::DatabaseTime;
use crate::engine::{Handlers, Parts, Settings};
use crate::id::Mint;
use crate::memory::broker::MemoryBroker;
use crate::memory::lock::MemoryLock;
use crate::memory::store::MemoryStore;
use crate::port::clock::Clock;
use crate::protocol::message::Secret;
use crate::run::Origin;
use crate::system::{Random, SystemClock};

/// A worker on a store that has nothing, and where its ends go.
fn worker() -> (Arc<Worker>, mpsc::Receiver<Finish>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let random = Arc::new(Random::from_seed(1));
    let parts = Parts {
        store: Arc::new(MemoryStore::new(Arc::clone(&clock))),
        lock: Arc::new(MemoryLock::new(Arc::clone(&clock)).handle()),
        broker: Arc::new(MemoryBroker::new()),
        clock: Arc::clone(&clock),
        random: Arc::clone(&random),
        handlers: Handlers::new(),
    };
    let mint = Arc::new(Mint::new(random));
    let (ends, received) = mpsc::channel(8);
    let worker = Worker {
        node: mint.node(),
        shared: Arc::new(Shared {
            parts,
            settings: Settings::default(),
            time: DatabaseTime::new(clock),
            meters: Arc::default(),
            mint,
            secret: Secret::new([0; 32]),
            wake: Arc::default(),
        }),
        slots: Arc::new(Semaphore::new(1)),
        freed: Arc::default(),
        in_hand: Arc::default(),
        ends,
        tracker: TaskTracker::new(),
        closing: CancellationToken::new(),
        stops: Stops::default(),
        tasks: Mutex::default(),
    };
    (Arc::new(worker), received)
}

/// Starts a run of a task that the store does not have, and gives its end.
async fn started(worker: &Arc<Worker>, received: &mut mpsc::Receiver<Finish>) -> Option<Finish> {
    let shared = &worker.shared;
    let now = shared.time.now();
    let won = Claimed {
        run: shared.mint.runs(now, 1)[0],
        attempt: 1,
        task: Some((shared.mint.task(now), 1)),
        origin: Origin::Schedule,
        due_at: now,
        started_at: now,
        failures: 0,
        losses: 0,
        limited: false,
        spec: None,
    };
    let permits = free_slots(&worker.slots, 1)?;
    start(worker, vec![won], shared.mint.claim(), permits).await;
    received.try_recv().ok()
}

/// Found by `cargo xtask chaos --store postgres --seed 3`: the run was cancelled, and the reason given was a lie.
#[tokio::test]
async fn a_worker_that_is_fenced_before_it_knows_a_task_does_not_say_that_it_was_deleted() {
    let (worker, mut received) = worker();
    let gone = started(&worker, &mut received).await.unwrap();
    assert_eq!(gone.end, End::Cancelled(Reason::TaskDeleted));
    worker.stops.fence.cancel();
    let fenced = started(&worker, &mut received).await.unwrap();
    assert!(matches!(fenced.end, End::Again { .. }), "{:?}", fenced.end);
    assert_eq!(worker.slots.available_permits(), 1);
}
