//! The engine end to end, in one process: occurrences fire and run, leaders change, workers die, runs retry, and after
//! every history the invariants hold.

use std::sync::atomic::Ordering;
use std::time::Duration;

use campanile_conformance::somebody;
use campanile_core::decide::invariants;
use campanile_core::port::ask::AskRuns as _;
use campanile_core::port::clock::Clock;
use campanile_core::port::edit::EditStore as _;

use campanile_core::run::{Origin, Reason, State};
use campanile_schedule::time::Timestamp;
use serde_json::json;

use crate::support::until;
use crate::world::World;

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
    use campanile_core::port::broker::Broker;
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
    use campanile_core::port::broker::{Broker, Message};
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
    let refused = || node.metrics().messages_refused.load(Ordering::Relaxed);
    until("four messages were refused", || refused() == 4).await;
    node.stop().await;
    world.assert_sound();
    assert_eq!(world.starts.lock().unwrap().len(), 1);
}
