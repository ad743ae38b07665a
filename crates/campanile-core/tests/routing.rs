//! Workers that can do different things, on the production engine: no worker ends a run that it can't carry out, runs
//! find those who can, and what nobody can do waits without a stir until somebody comes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use campanile_conformance::somebody;
use campanile_core::decide::invariants;
use campanile_core::decide::invariants::Start;
use campanile_core::decide::permits::LimitKey;
use campanile_core::decide::publish::routing::Abilities;
use campanile_core::engine::{Handlers, Node, Parts, Settings};
use campanile_core::id::TaskId;
use campanile_core::port::ask::AskCluster as _;
use campanile_core::port::clock::Clock;
use campanile_core::port::edit::Edit;
use campanile_core::port::edit::EditStore as _;
use campanile_core::port::handler::{Context, Executor, Failure, Handler, Returned};
use campanile_core::port::member::MemberStore as _;

use campanile_core::run::{Reason, State};
use campanile_core::system::Random;
use campanile_core::task::{HandlerSpec, QueueName};
use serde_json::json;

use crate::support::until;
use crate::world::{Starts, World};

/// A handler under a name of its own.
macro_rules! named {
    ($name:ident, $text:literal) => {
        struct $name(Starts);

        impl Handler for $name {
            const NAME: &'static str = $text;
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
    };
}

named!(X, "x");
named!(Y, "y");

/// Programs that are allowed by another path than the task's: nobody can tell but the worker. Whether it does is the test's.
struct Programs {
    starts: Starts,
    list: Option<Vec<String>>,
    allows: Mutex<bool>,
    asked: Mutex<u32>,
}

#[async_trait]
impl Executor for Programs {
    async fn refusal(&self, _: &HandlerSpec) -> Option<String> {
        *self.asked.lock().unwrap() += 1;
        (!*self.allows.lock().unwrap())
            .then(|| "not among the programs that this worker runs".to_owned())
    }

    fn programs(&self) -> Option<Vec<String>> {
        self.list.clone()
    }

    async fn execute(&self, _: &HandlerSpec, context: Context) -> Result<Returned, Failure> {
        self.starts.lock().unwrap().push(Start {
            run: context.run,
            attempt: context.attempt,
        });
        Ok(None)
    }
}

fn programs(world: &World, list: Option<&[&str]>, allows: bool) -> Arc<Programs> {
    Arc::new(Programs {
        starts: Arc::clone(&world.starts),
        list: list.map(|l| l.iter().map(|p| (*p).to_owned()).collect()),
        allows: Mutex::new(allows),
        asked: Mutex::default(),
    })
}

async fn node(world: &World, name: &str, scheduler: bool, handlers: Handlers) -> Node {
    let settings = Settings {
        name: name.to_owned(),
        scheduler,
        lock_ttl: Duration::from_millis(600),
        lease: Duration::from_millis(800),
        drain: Duration::from_secs(5),
        ..Settings::default()
    };
    let parts = Parts {
        store: Arc::clone(&world.store) as _,
        lock: Arc::new(world.lock.handle()),
        broker: Arc::clone(&world.broker) as _,
        clock: Arc::clone(&world.clock) as _,
        random: Arc::new(Random::from_system()),
        handlers,
    };
    let node = Node::start(parts, settings).await.unwrap();
    let mut status = node.status();
    status.wait_for(|s| s.node.is_some()).await.unwrap();
    node
}

impl World {
    /// Sets the limit of a group or a queue.
    pub async fn edit_limit(&self, key: LimitKey, most: u32) {
        let edit = Edit {
            limits: vec![(key, Some(most))],
            ..Edit::default()
        };
        let now = self.clock.now();
        assert!(
            self.store
                .edit(somebody(), &edit, now)
                .await
                .unwrap()
                .is_applied()
        );
    }
}

fn x(world: &World) -> Handlers {
    Handlers::new().native(X(Arc::clone(&world.starts)))
}

fn y(world: &World) -> Handlers {
    Handlers::new().native(Y(Arc::clone(&world.starts)))
}

async fn submit(world: &World, task: TaskId, count: usize) {
    for _ in 0..count {
        world.submit(task, world.clock.now()).await;
    }
}

fn assert_started_and_failed_by_nobody(world: &World) {
    world.assert_sound();
    let runs = world.runs();
    assert!(
        runs.iter()
            .all(|r| r.failures == 0 && r.losses == 0 && r.reason != Reason::NotAllowed)
    );
    invariants::failures_were_started(&runs, &world.starts.lock().unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_workers_the_one_with_the_handler_runs_everything() {
    let world = World::new();
    let first = node(
        &world,
        "able",
        true,
        x(&world).native(Y(Arc::clone(&world.starts))),
    )
    .await;
    let second = node(&world, "unable", false, y(&world)).await;
    let spec = |name: &str, start: &str, of: &str| json!({"name": name, "start": start, "handler": {"native": of}});
    for (name, start, of) in [
        ("a", "at-least-once", "x"),
        ("b", "at-most-once", "x"),
        ("c", "at-least-once", "y"),
    ] {
        let task = world.task(spec(name, start, of)).await;
        submit(&world, task, 20).await;
    }
    first.wake();
    until("all runs succeeded", || world.count(State::Succeeded) == 60).await;
    assert_started_and_failed_by_nobody(&world);
    let starts = world.starts.lock().unwrap().clone();
    let once: HashSet<_> = starts.iter().map(|s| s.run).collect();
    assert_eq!(once.len(), starts.len(), "each was started once");
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_do_waits_without_a_stir_until_somebody_comes() {
    let world = World::new();
    let first = node(&world, "unable", true, y(&world)).await;
    let task = world
        .task(json!({"name": "t", "overlap": "queue", "handler": {"native": "x"}}))
        .await;
    submit(&world, task, 5).await;
    first.wake();
    let key = || LimitKey::Ability(QueueName::default(), "native:x".to_owned());
    until("one is blocked, four wait behind it", || {
        let blocked = world.store.snapshot().blocked;
        blocked.len() == 5 && blocked.iter().filter(|p| p.key == key()).count() == 1
    })
    .await;
    until("the leader has counted it", || {
        first.metrics().blocked().values().sum::<u64>() == 1
    })
    .await;
    // From then on nothing stirs: nothing is published, nobody is asked, however often the leader looks.
    let counters = || {
        let all = first.metrics().counters();
        let of = |name: &str| all.iter().find(|c| c.name == name).unwrap().value;
        [
            "attempts_refused",
            "messages_published",
            "timers_fired",
            "attempts_claimed",
        ]
        .map(of)
    };
    let before = counters();
    assert!(
        before[0] <= 1,
        "a leader that has just begun knows nobody yet"
    );
    let heartbeats = world.store.heartbeats();
    until("the leader has looked often", || {
        world.store.heartbeats() > heartbeats + 20
    })
    .await;
    assert_eq!(counters(), before);
    assert!(
        world
            .runs()
            .iter()
            .all(|r| r.state == State::Scheduled && r.failures == 0)
    );
    let second = node(&world, "able", false, x(&world)).await;
    until("all ran", || world.count(State::Succeeded) == 5).await;
    until("nothing is blocked", || {
        first.metrics().blocked().is_empty()
    })
    .await;
    assert_started_and_failed_by_nobody(&world);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_run_while_a_task_of_their_limit_is_blocked() {
    let world = World::new();
    world.edit_limit(LimitKey::Group("db".to_owned()), 1).await;
    let first = node(&world, "unable", true, y(&world)).await;
    let spec =
        |name: &str, of: &str| json!({"name": name, "group": "db", "handler": {"native": of}});
    let blocked = world.task(spec("a", "x")).await;
    let task = world.task(spec("b", "y")).await;
    submit(&world, blocked, 3).await;
    submit(&world, task, 3).await;
    first.wake();
    until("the others ran", || world.count(State::Succeeded) == 3).await;
    assert_eq!(world.count(State::Scheduled), 3);
    first.stop().await;
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_finds_another_worker_when_the_able_one_is_gone() {
    let world = World::new();
    let leader = node(&world, "unable", true, y(&world)).await;
    let able = node(
        &world,
        "able",
        false,
        x(&world).native(crate::world::Hang(
            Arc::clone(&world.starts),
            Arc::clone(&world.gate),
        )),
    )
    .await;
    // It is full, so that what is published on its lane stays there.
    let hang = world
        .task(json!({"name": "h", "handler": {"native": "hang"}}))
        .await;
    submit(&world, hang, 64).await;
    leader.wake();
    until("it is full", || world.count(State::Running) == 64).await;
    let task = world
        .task(json!({"name": "t", "handler": {"native": "x"}}))
        .await;
    submit(&world, task, 10).await;
    leader.wake();
    until("ten are published", || {
        let all = leader.metrics().counters();
        all.into_iter()
            .any(|c| c.name == "messages_published" && c.value >= 74)
    })
    .await;
    world.gate.store(1, Ordering::SeqCst);
    able.stop().await;
    until("they are blocked, or have run", || {
        let blocked = world.store.snapshot().blocked.len();
        world.count(State::Succeeded) - 64 + blocked == 10
    })
    .await;
    let able = node(&world, "able again", false, x(&world)).await;
    until("all ran", || world.count(State::Succeeded) == 74).await;
    assert_started_and_failed_by_nobody(&world);
    leader.stop().await;
    able.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_refuses_what_only_it_can_tell_and_is_spared_from_then_on() {
    let world = World::new();
    let (refuses, allows) = (
        programs(&world, Some(&["/usr/bin/df"]), false),
        programs(&world, Some(&["/usr/bin/df"]), true),
    );
    let first = node(
        &world,
        "refuses",
        true,
        Handlers::new().command(Arc::clone(&refuses) as _),
    )
    .await;
    let task = world
        .task(json!({"name": "t", "start": "at-most-once", "handler": {"command": {"argv": ["/bin/df"]}}}))
        .await;
    submit(&world, task, 1).await;
    first.wake();
    // It is the only one: it refuses once, says so, and the run is blocked.
    until("it is blocked", || {
        world.store.snapshot().blocked.len() == 1
    })
    .await;
    assert_eq!(*refuses.asked.lock().unwrap(), 1);
    let told = world
        .store
        .nodes()
        .await
        .unwrap()
        .remove(0)
        .abilities
        .unwrap();
    let refused: Vec<&str> = told
        .refuses
        .iter()
        .filter_map(|t| t.split_once('#'))
        .map(|(t, _)| t)
        .collect();
    assert_eq!(refused, ["command:/bin/df"]);
    let run = world.runs().remove(0);
    assert!(run.attempt > 1);
    assert_eq!((run.failures, run.losses), (0, 0));
    let second = node(
        &world,
        "allows",
        false,
        Handlers::new().command(Arc::clone(&allows) as _),
    )
    .await;
    submit(&world, task, 20).await;
    first.wake();
    until("all ran", || world.count(State::Succeeded) == 21).await;
    assert_eq!(
        *refuses.asked.lock().unwrap(),
        1,
        "it is not offered what it refused"
    );
    assert_started_and_failed_by_nobody(&world);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_refused_is_skipped_at_its_start_deadline() {
    let world = World::new();
    let refuses = programs(&world, Some(&["/usr/bin/df"]), false);
    let handlers = Handlers::new().command(Arc::clone(&refuses) as _);
    let leader = node(&world, "refuses", true, handlers).await;
    let spec = json!({
        "name": "t", "start_deadline": "1s", "handler": {"command": {"argv": ["/bin/df"]}},
    });
    let task = world.task(spec).await;
    submit(&world, task, 1).await;
    leader.wake();
    until("it is over", || world.count(State::Skipped) == 1).await;
    let run = world.runs().remove(0);
    assert!(*refuses.asked.lock().unwrap() == 1 && run.attempt > 1);
    assert_eq!(run.reason, Reason::StartDeadline);
    let deadline = run.due_at.plus(Duration::from_secs(1));
    assert!(run.finished_at.unwrap() >= deadline, "not before");
    let blocked = world.store.snapshot().blocked;
    assert!(blocked.is_empty(), "{blocked:?}");
    world.assert_sound();
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_workers_of_an_older_program_runs_find_who_can() {
    let world = World::new();
    let first = node(&world, "unable", true, y(&world)).await;
    // A worker that announces nothing may be able: then the queue's own destination is for all.
    let second = node(&world, "silent", false, x(&world)).await;
    let silent = second.status().borrow().node.unwrap();
    let task = world
        .task(json!({"name": "t", "handler": {"native": "x"}}))
        .await;
    world.store.forget_abilities(silent);
    submit(&world, task, 10).await;
    first.wake();
    until("all ran", || world.count(State::Succeeded) == 10).await;
    assert_started_and_failed_by_nobody(&world);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_more_handlers_than_it_can_announce_is_found() {
    let world = World::new();
    let first = node(&world, "unable", true, y(&world)).await;
    let second = node(&world, "able", false, x(&world)).await;
    let many = second.status().borrow().node.unwrap();
    let names = (0..5_000).map(|n| format!("handler-{n}"));
    let told = Abilities::announce(names, false, Some(vec![]));
    let lane = world
        .store
        .nodes()
        .await
        .unwrap()
        .into_iter()
        .find(|n| n.id == many);
    let told = Abilities {
        lane: lane.unwrap().abilities.unwrap().lane,
        ..told
    };
    assert!(told.partial);
    world.store.announce(many, &told).await.unwrap();
    let task = world
        .task(json!({"name": "t", "handler": {"native": "x"}}))
        .await;
    submit(&world, task, 5).await;
    first.wake();
    until("all ran", || world.count(State::Succeeded) == 5).await;
    assert_started_and_failed_by_nobody(&world);
    first.stop().await;
    second.stop().await;
}
