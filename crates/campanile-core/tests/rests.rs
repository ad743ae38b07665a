//! Pauses beside the production engine, in real time: what the leader had planned ahead, and had in its hands, does not
//! start after the answer.

use std::sync::Arc;
use std::time::Duration;

use campanile_ask::{Control, Editor, Parts};
use campanile_conformance::somebody;
use campanile_core::decide::invariants;
use campanile_core::id::{Mint, TaskId};
use campanile_core::port::broker::Broker as _;
use campanile_core::port::clock::Clock;
use campanile_core::run::{Origin, Run, State};
use campanile_core::system::{Pool, Random};
use campanile_core::time::database::DatabaseTime;
use campanile_schedule::time::Timestamp;
use serde_json::json;

use crate::support::until;
use crate::world::World;

const LOOK_AHEAD: Duration = campanile_core::limits::LOOK_AHEAD;

/// What people ask.
pub fn people(world: &World) -> Editor {
    let clock: Arc<dyn Clock> = Arc::clone(&world.clock) as _;
    let random = Arc::new(Random::from_seed(11));
    Control::new(Parts {
        store: Arc::clone(&world.store) as _,
        lock: Arc::new(world.lock.handle()),
        time: DatabaseTime::new(Arc::clone(&clock)),
        clock,
        mint: Arc::new(Mint::new(Arc::clone(&random))),
        random,
        metrics: Arc::default(),
        on_work: Arc::new(|| {}),
        pool: Pool::inline(),
    })
    .by(somebody().clone())
}

fn of(world: &World, task: TaskId) -> Vec<Run> {
    let runs = world.runs();
    runs.into_iter().filter(|r| r.task == Some(task)).collect()
}

/// Waits until a task that nobody pauses has run beyond all that was planned at an instant.
async fn passed(world: &World, witness: TaskId, instant: Timestamp) {
    let later = instant.plus(2 * LOOK_AHEAD);
    until("the witness has run on", || {
        let ended = |r: &Run| r.state == State::Succeeded && r.due_at >= later;
        of(world, witness).iter().any(ended)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_holds_from_its_answer_on() {
    let world = World::new();
    let node = world.node("n1", |_| {}).await;
    let spec =
        |name| json!({"name": name, "schedule": "every 100ms", "handler": {"native": "record"}});
    let (task, witness) = (world.task(spec("t")).await, world.task(spec("w")).await);
    let people = people(&world);
    let mut instants = Vec::new();
    for _ in 0..3 {
        let so_far = of(&world, task).len();
        until("it runs, and more is planned", || {
            of(&world, task).len() > so_far + 20
        })
        .await;
        let paused = people.pause("t").await.unwrap();
        let from = paused.task.paused_from.unwrap();
        world.store.check().unwrap();
        passed(&world, witness, from).await;
        world.store.check().unwrap();
        people.resume("t").await.unwrap();
        instants.push(from);
    }
    node.stop().await;
    world.assert_sound();
    let runs = of(&world, task);
    for from in &instants {
        let rest = runs.iter().find(|r| r.due_at == *from).unwrap();
        assert_eq!(rest.state, State::Skipped, "each rest has its row");
    }
    let all = runs.iter().filter(|r| r.origin == Origin::Schedule);
    let all: Vec<Timestamp> = all.map(|r| r.due_at).collect();
    let (first, last) = (*all.iter().min().unwrap(), *all.iter().max().unwrap());
    let expected: Vec<Timestamp> = (0..=last.since(first).as_millis() / 100)
        .map(|k| first.plus(Duration::from_millis(100 * u64::try_from(k).unwrap())))
        .collect();
    invariants::no_gap(task, &expected, &runs).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_gets_no_message_of_what_a_pause_took_back() {
    let world = World::new();
    let node = world.node("n1", |_| {}).await;
    let spec = |name: &str| {
        let external = json!({"destination": "legacy", "body": "payload", "reply": "none"});
        json!({"name": name, "schedule": "every 100ms", "handler": {"external": external}, "payload": name})
    };
    let (task, witness) = (world.task(spec("t")).await, world.task(spec("w")).await);
    until("it runs", || of(&world, task).len() > 20).await;
    let paused = people(&world).pause("t").await.unwrap();
    passed(&world, witness, paused.task.paused_from.unwrap()).await;
    node.stop().await;
    world.assert_sound();
    let mut consumer = world.broker.consume("legacy", 10_000).await.unwrap();
    let messages = consumer.receive().await.unwrap();
    let mine = messages.iter().filter(|m| m.body == "t").count();
    assert!(mine > 0);
    assert_eq!(
        mine,
        of(&world, task).len(),
        "one for each run that there is"
    );
}
