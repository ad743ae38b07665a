//! The engine end to end, in one process: occurrences fire and run, leaders change, workers die, runs retry, and after
//! every history the invariants hold.

use campanile::conformance::somebody;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use campanile::engine::{Handlers, Node, Parts, Settings};
use campanile::id::{Mint, TaskId};
use campanile::memory::broker::MemoryBroker;
use campanile::memory::lock::MemoryLock;
use campanile::memory::store::MemoryStore;
use campanile::port::clock::Clock;
use campanile::port::handler::{Context, Failure, Handler};
use campanile::port::store::Control;
use campanile::protocol::invariants::{self, Start};
use campanile::protocol::run as transitions;
use campanile::protocol::work::{DueChange, DueKey, Edit, Owner, Submission, Upsert};
use campanile::run::{Origin, Reason, Run, State};
use campanile::system::{Random, SystemClock};
use campanile::task::TaskSpec;
use campanile_schedule::time::Timestamp;
use serde_json::json;

use crate::support::until;

pub type Starts = Arc<Mutex<Vec<Start>>>;

pub struct World {
    pub clock: Arc<SystemClock>,
    pub store: Arc<MemoryStore>,
    pub lock: MemoryLock,
    pub broker: Arc<MemoryBroker>,
    pub mint: Mint,
    pub starts: Starts,
    pub gate: Arc<AtomicUsize>,
}

struct Record(Starts);

impl Handler for Record {
    const NAME: &'static str = "record";
    type Args = serde_json::Value;

    async fn run(&self, context: Context, _: Self::Args) -> Result<(), Failure> {
        self.0.lock().unwrap().push(Start {
            run: context.run,
            attempt: context.attempt,
        });
        Ok(())
    }
}

struct Fail(Starts);

impl Handler for Fail {
    const NAME: &'static str = "fail";
    type Args = serde_json::Value;

    async fn run(&self, context: Context, _: Self::Args) -> Result<(), Failure> {
        self.0.lock().unwrap().push(Start {
            run: context.run,
            attempt: context.attempt,
        });
        context.log.push("trying\n");
        Err(Failure::retry("no luck"))
    }
}

/// Runs until it is told to stop, or until the gate opens.
pub struct Hang(pub Starts, pub Arc<AtomicUsize>);

impl Handler for Hang {
    const NAME: &'static str = "hang";
    type Args = serde_json::Value;

    async fn run(&self, context: Context, _: Self::Args) -> Result<(), Failure> {
        self.0.lock().unwrap().push(Start {
            run: context.run,
            attempt: context.attempt,
        });
        while self.1.load(Ordering::SeqCst) == 0 {
            tokio::select! {
                () = context.stop.cancelled() => return Err(Failure::retry("stopped")),
                () = campanile::system::pause(Duration::from_millis(5)) => {}
            }
        }
        Ok(())
    }
}

impl World {
    pub fn new() -> Self {
        let clock = Arc::new(SystemClock::new());
        Self {
            store: Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>)),
            lock: MemoryLock::new(Arc::clone(&clock) as Arc<dyn Clock>),
            broker: Arc::new(MemoryBroker::new()),
            mint: Mint::new(Arc::new(Random::from_seed(7))),
            starts: Arc::default(),
            gate: Arc::default(),
            clock,
        }
    }

    pub async fn node(&self, name: &str, change: impl FnOnce(&mut Settings)) -> Node {
        let mut settings = Settings {
            name: name.to_owned(),
            lock_ttl: Duration::from_millis(600),
            lease: Duration::from_millis(800),
            drain: Duration::from_secs(5),
            ..Settings::default()
        };
        change(&mut settings);
        let handlers = Handlers::new()
            .native(Record(Arc::clone(&self.starts)))
            .native(Fail(Arc::clone(&self.starts)))
            .native(Hang(Arc::clone(&self.starts), Arc::clone(&self.gate)));
        let parts = Parts {
            store: Arc::clone(&self.store) as _,
            lock: Arc::new(self.lock.handle()),
            broker: Arc::clone(&self.broker) as _,
            clock: Arc::clone(&self.clock) as _,
            random: Arc::new(Random::from_system()),
            handlers,
        };
        Node::start(parts, settings).await.unwrap()
    }

    pub async fn task(&self, spec: serde_json::Value) -> TaskId {
        let spec: TaskSpec = serde_json::from_value(spec).unwrap();
        let now = self.clock.now();
        let id = self.mint.task(now);
        let schedule = spec.compile(now).unwrap();
        let next = schedule.next(now).map(|at| DueKey {
            queue: spec.queue.clone(),
            at,
            owner: Owner::Task(id),
        });
        let upsert = Upsert {
            id,
            expected: None,
            spec,
            rests_from: None,
            due: DueChange::Replace { seen: None, next },
        };
        let edit = Edit {
            upserts: vec![upsert],
            ..Edit::default()
        };
        assert!(
            self.store
                .edit(somebody(), &edit, now)
                .await
                .unwrap()
                .is_applied()
        );
        id
    }

    pub async fn submit(&self, task: TaskId, at: Timestamp) -> campanile::id::RunId {
        use campanile::port::store::Working;
        let task = self.store.tasks_by_id(&[task]).await.unwrap().remove(0);
        let id = self.mint.runs(self.clock.now(), 1)[0];
        let run = transitions::request(id, Some(&task), &task.spec, at);
        let submission = Submission {
            run,
            spec: None,
            key: None,
        };
        self.store.submit(somebody(), &[submission]).await.unwrap()[0].run
    }

    /// A worker that claims these runs and is never heard of again.
    pub async fn zombie(&self, runs: &[campanile::id::RunId], lease: Duration) {
        use campanile::port::store::Working;
        use campanile::protocol::work;
        let (node, now) = (self.mint.node(), self.clock.now());
        let row = work::Node {
            id: node,
            name: "zombie".to_owned(),
            roles: vec![],
            queues: vec![],
            slots: 2,
            busy: 0,
            lease,
            started_at: now,
            beat_seq: 0,
            beat_at: now,
            version: String::new(),
            abilities: None,
        };
        self.store.join(&row).await.unwrap();
        let claim = work::Claim {
            node,
            id: self.mint.claim(),
            runs: runs.iter().map(|r| (*r, 1)).collect(),
        };
        let won = self.store.claim(&claim).await.unwrap();
        assert_eq!(won.len(), runs.len());
    }

    pub fn runs(&self) -> Vec<Run> {
        self.store.snapshot().runs
    }

    pub fn count(&self, state: State) -> usize {
        self.runs().iter().filter(|r| r.state == state).count()
    }

    /// What must hold after any history.
    pub fn assert_sound(&self) {
        self.store.check().unwrap();
        invariants::started_once(&self.starts.lock().unwrap(), &HashSet::new()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn occurrences_fire_once_and_never_early() {
    let world = World::new();
    let node = world.node("n1", |_| {}).await;
    let task = world
        .task(json!({"name": "tick", "schedule": "every 100ms", "handler": {"native": "record"}}))
        .await;
    until("twenty runs succeeded", || {
        world.count(State::Succeeded) >= 20
    })
    .await;
    node.stop().await;
    world.assert_sound();
    let runs = world.runs();
    let mut due: Vec<Timestamp> = runs
        .iter()
        .filter(|r| r.state == State::Succeeded)
        .map(|r| r.due_at)
        .collect();
    due.sort_unstable();
    assert!(
        due.windows(2)
            .all(|w| w[1].since(w[0]) == Duration::from_millis(100)),
        "{due:?}"
    );
    invariants::no_gap(task, &due, &runs).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_hands_over_and_no_occurrence_is_lost_or_doubled() {
    let world = World::new();
    let first = world.node("n1", |_| {}).await;
    let mut status = first.status();
    status.wait_for(|s| s.leading.is_some()).await.unwrap();
    let second = world.node("n2", |_| {}).await;
    let task = world
        .task(json!({"name": "tick", "schedule": "every 100ms", "handler": {"native": "record"}}))
        .await;
    until("five runs succeeded", || world.count(State::Succeeded) >= 5).await;
    first.stop().await;
    let mut status = second.status();
    status.wait_for(|s| s.leading.is_some()).await.unwrap();
    let so_far = world.count(State::Succeeded);
    until("ten more succeeded", || {
        world.count(State::Succeeded) >= so_far + 10
    })
    .await;
    second.stop().await;
    world.assert_sound();
    let runs = world.runs();
    let instants: Vec<Timestamp> = runs
        .iter()
        .filter(|r| r.origin == Origin::Schedule)
        .map(|r| r.due_at)
        .collect();
    let (first, last) = (
        instants.iter().min().unwrap(),
        instants.iter().max().unwrap(),
    );
    let expected: Vec<Timestamp> = (0..=last.since(*first).as_millis() / 100)
        .map(|k| first.plus(Duration::from_millis(100 * k as u64)))
        .collect();
    invariants::no_gap(task, &expected, &runs).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_lock_ends_the_term_and_the_next_one_goes_on() {
    let world = World::new();
    let node = world.node("n1", |_| {}).await;
    world
        .task(json!({"name": "tick", "schedule": "every 100ms", "handler": {"native": "record"}}))
        .await;
    let mut status = node.status();
    let epoch = status
        .wait_for(|s| s.leading.is_some())
        .await
        .unwrap()
        .leading;
    until("three runs succeeded", || {
        world.count(State::Succeeded) >= 3
    })
    .await;
    world.lock.forget();
    status
        .wait_for(|s| s.leading.is_some() && s.leading != epoch)
        .await
        .unwrap();
    let so_far = world.count(State::Succeeded);
    until("five more succeeded", || {
        world.count(State::Succeeded) >= so_far + 5
    })
    .await;
    node.stop().await;
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_tried_again_up_to_the_limit() {
    let world = World::new();
    let node = world.node("n1", |_| {}).await;
    let retry = json!({"max_attempts": 3, "initial": "20ms", "max": "50ms"});
    let task = world
        .task(json!({"name": "f", "handler": {"native": "fail"}, "retry": retry}))
        .await;
    let run = world.submit(task, world.clock.now()).await;
    node.wake();
    until("it failed for good", || world.count(State::Failed) == 1).await;
    let detail = world.store.run(run).await.unwrap().unwrap();
    assert_eq!(
        (detail.run.attempt, detail.run.failures, detail.run.reason),
        (3, 3, Reason::Error)
    );
    assert_eq!(detail.attempts.len(), 3);
    assert_eq!(detail.run.error.as_deref(), Some("no luck"));
    assert_eq!(world.store.logs(run).await.unwrap().len(), 3);
    node.stop().await;
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_run_is_cancelled_and_a_timeout_ends_an_attempt() {
    let world = World::new();
    let node = world.node("n1", |_| {}).await;
    let task = world
        .task(json!({"name": "h", "handler": {"native": "hang"}}))
        .await;
    let run = world.submit(task, world.clock.now()).await;
    node.wake();
    until("it runs", || world.count(State::Running) == 1).await;
    world
        .store
        .cancel(somebody(), run, world.clock.now())
        .await
        .unwrap();
    until("it is cancelled", || world.count(State::Cancelled) == 1).await;
    let slow = world
        .task(json!({"name": "slow", "handler": {"native": "hang"}, "timeout": "50ms"}))
        .await;
    world.submit(slow, world.clock.now()).await;
    node.wake();
    until("it timed out", || world.count(State::Failed) == 1).await;
    assert!(world.runs().iter().any(|r| r.reason == Reason::Timeout));
    node.stop().await;
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_gives_runs_back_and_counts_neither_failure_nor_loss() {
    let world = World::new();
    let scheduler = world.node("s", |s| s.worker = false).await;
    let first = world
        .node("w1", |s| {
            s.scheduler = false;
            s.drain = Duration::from_millis(50);
        })
        .await;
    let task = world
        .task(json!({"name": "h", "handler": {"native": "hang"}}))
        .await;
    world.submit(task, world.clock.now()).await;
    scheduler.wake();
    until("it runs", || world.count(State::Running) == 1).await;
    first.stop().await;
    world.gate.store(1, Ordering::SeqCst);
    let second = world.node("w2", |s| s.scheduler = false).await;
    until("it succeeded elsewhere", || {
        world.count(State::Succeeded) == 1
    })
    .await;
    let run = world.runs().remove(0);
    assert_eq!((run.attempt, run.failures, run.losses), (2, 0, 0));
    second.stop().await;
    scheduler.stop().await;
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_workers_run_is_lost_and_started_again_elsewhere() {
    let world = World::new();
    let scheduler = world.node("s", |s| s.worker = false).await;
    let task = world
        .task(json!({"name": "r", "handler": {"native": "record"}}))
        .await;
    let once = json!({"name": "once", "handler": {"native": "record"}, "start": "at-most-once"});
    let once = world.task(once).await;
    let runs = [
        world.submit(task, world.clock.now()).await,
        world.submit(once, world.clock.now()).await,
    ];
    world.zombie(&runs, Duration::from_millis(300)).await;
    let worker = world.node("w", |s| s.scheduler = false).await;
    until("both ended", || {
        world.count(State::Succeeded) == 1 && world.count(State::Failed) == 1
    })
    .await;
    let runs = world.runs();
    let again = runs.iter().find(|r| r.state == State::Succeeded).unwrap();
    assert_eq!(
        (again.task, again.attempt, again.losses),
        (Some(task), 2, 1)
    );
    let lost = runs.iter().find(|r| r.state == State::Failed).unwrap();
    assert_eq!(
        (lost.task, lost.attempt, lost.reason),
        (Some(once), 1, Reason::Lost)
    );
    worker.stop().await;
    scheduler.stop().await;
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_runs_is_all_done_once() {
    let world = World::new();
    // A busy machine must not look like a dead worker: losses are another test's.
    let node = world
        .node("n1", |s| {
            s.slots = 500;
            s.lease = Duration::from_secs(30);
        })
        .await;
    let task = world
        .task(json!({"name": "r", "handler": {"native": "record"}}))
        .await;
    let at = world.clock.now();
    for _ in 0..3_000 {
        world.submit(task, at).await;
    }
    node.wake();
    until("all succeeded", || {
        world.store.snapshot().outbox.is_empty() && world.count(State::Succeeded) == 3_000
    })
    .await;
    node.stop().await;
    world.assert_sound();
    assert_eq!(world.starts.lock().unwrap().len(), 3_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_exists_gets_its_payload_and_the_run_is_handed_over() {
    use campanile::port::broker::Broker;
    let world = World::new();
    let node = world.node("n1", |_| {}).await;
    let external = json!({"destination": "legacy.orders", "body": "payload", "reply": "none"});
    let task =
        json!({"name": "x", "handler": {"external": external}, "payload": "<order id='1'/>"});
    let task = world.task(task).await;
    let run = world.submit(task, world.clock.now()).await;
    node.wake();
    let mut consumer = world.broker.consume("legacy.orders", 10).await.unwrap();
    let delivery = consumer.receive().await.unwrap().remove(0);
    assert_eq!(delivery.body, "<order id='1'/>");
    until("it is handed over", || world.count(State::Succeeded) == 1).await;
    let detail = world.store.run(run).await.unwrap().unwrap();
    assert_eq!(detail.run.reason, Reason::HandedOver);
    node.stop().await;
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_and_malformed_messages_start_nothing_and_block_nobody() {
    use campanile::port::broker::{Broker, Message};
    let world = World::new();
    let node = world.node("n1", |_| {}).await;
    let task = world
        .task(json!({"name": "r", "handler": {"native": "record"}}))
        .await;
    let later = world.submit(task, Timestamp::MAX).await;
    let forged = format!(r#"{{"v":1,"run":"{later}","attempt":1,"queue":"default"}}"#);
    for body in [forged.as_str(), "", "[", "not json"] {
        let message = Message {
            destination: "campanile.default".to_owned(),
            body: body.to_owned(),
            correlation_id: String::new(),
            reply_to: String::new(),
            priority: 4,
            properties: vec![("campanile_sig", "00".repeat(32))],
        };
        world.broker.publish(&[message]).await.unwrap();
    }
    world.submit(task, world.clock.now()).await;
    node.wake();
    until("the genuine run succeeded", || {
        world.count(State::Succeeded) == 1
    })
    .await;
    let refused = || node.meters().messages_refused.load(Ordering::Relaxed);
    until("four messages were refused", || refused() == 4).await;
    node.stop().await;
    world.assert_sound();
    assert_eq!(world.starts.lock().unwrap().len(), 1);
}
