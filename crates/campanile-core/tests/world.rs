//! What the engine's tests share: a store, a lock and a broker in memory, and nodes over them with handlers that note
//! their starts.

use campanile_conformance::somebody;
use campanile_core::decide::attempt as transitions;
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::decide::invariants;
use campanile_core::decide::invariants::Start;
use campanile_core::engine::{Handlers, Node, Parts, Settings};
use campanile_core::id::{Mint, TaskId};
use campanile_core::memory::broker::MemoryBroker;
use campanile_core::memory::lock::MemoryLock;
use campanile_core::memory::store::MemoryStore;
use campanile_core::port::ask::AskTasks as _;
use campanile_core::port::attempt::AttemptStore as _;
use campanile_core::port::clock::Clock;
use campanile_core::port::edit::EditStore as _;
use campanile_core::port::edit::{Edit, Submission, Upsert};
use campanile_core::port::fire::{DueKey, Owner};
use campanile_core::port::handler::{Context, Failure, Handler};
use campanile_core::port::member::MemberStore as _;

use campanile_core::run::{Run, State};
use campanile_core::system::{Random, SystemClock};
use campanile_core::task::TaskSpec;
use campanile_schedule::time::Timestamp;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    type Output = ();

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
    type Output = ();

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
    type Output = ();

    async fn run(&self, context: Context, _: Self::Args) -> Result<(), Failure> {
        self.0.lock().unwrap().push(Start {
            run: context.run,
            attempt: context.attempt,
        });
        while self.1.load(Ordering::SeqCst) == 0 {
            tokio::select! {
                () = context.stop.cancelled() => return Err(Failure::retry("stopped")),
                () = campanile_core::system::pause(Duration::from_millis(5)) => {}
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
        let clock = Arc::clone(&self.clock) as _;
        self.node_with(name, clock, change).await
    }

    /// The same, on a machine with this clock.
    pub async fn node_with(
        &self,
        name: &str,
        clock: Arc<dyn Clock>,
        change: impl FnOnce(&mut Settings),
    ) -> Node {
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
            clock,
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
            paused_from: None,
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

    pub async fn submit(&self, task: TaskId, at: Timestamp) -> campanile_core::id::RunId {
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
    pub async fn zombie(&self, runs: &[campanile_core::id::RunId], lease: Duration) {
        use campanile_core::port;

        let (node, now) = (self.mint.node(), self.clock.now());
        let row = port::member::Node {
            id: node,
            name: "zombie".to_owned(),
            roles: vec![],
            queues: vec![],
            slots: 2,
            busy: 0,
            lease,
            started_at: now,
            heartbeat_seq: 0,
            heartbeat_at: now,
            version: String::new(),
            abilities: None,
        };
        self.store.join(&row).await.unwrap();
        let claim = port::attempt::Claim {
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
