//! Overlap, limits, deadlines and zone rules on the production engine: what must not run side by side does not, whatever
//! dies in between, and whoever waits goes on.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use campanile_conformance::somebody;
use campanile_core::decide::invariants;
use campanile_core::decide::permits::LimitKey;
use campanile_core::id::TaskId;
use campanile_core::port::ask::{AskCluster as _, AskRuns as _, AskTasks as _};
use campanile_core::port::clock::Clock;
use campanile_core::port::edit::EditStore as _;
use campanile_core::port::edit::{Edit, Move};
use campanile_core::port::fire::{DueKey, Owner};

use campanile_core::run::{Reason, Run, State};
use serde_json::json;

use crate::support::until;
use crate::world::World;

/// Waits for a fact, and asks at every look whether at most one run of the task runs.
async fn until_alone(world: &World, task: TaskId, what: &str, mut fact: impl FnMut() -> bool) {
    let exclusive = HashSet::from([task]);
    until(what, || {
        invariants::one_at_a_time(&world.store.snapshot(), &exclusive).unwrap();
        world.store.check().unwrap();
        fact()
    })
    .await;
}

fn reasons(world: &World, reason: Reason) -> Vec<Run> {
    let runs = world.runs().into_iter();
    runs.filter(|r| r.reason == reason).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued_occurrences_run_one_after_the_other() {
    let world = World::new();
    let node = world.node("n1", |_| {}).await;
    let task = world
        .task(json!({
            "name": "q", "schedule": "every 100ms", "handler": {"native": "hang"},
            "overlap": "queue", "overlap_queue_max": 3,
        }))
        .await;
    until_alone(
        &world,
        task,
        "one runs, three wait, more are skipped",
        || {
            let blocked = world.store.snapshot().blocked.len();
            let skipped = reasons(&world, Reason::Overlap).len();
            world.count(State::Running) == 1 && blocked == 3 && skipped >= 2
        },
    )
    .await;
    world.gate.store(1, Ordering::SeqCst);
    until_alone(&world, task, "they all ran", || {
        world.count(State::Succeeded) >= 8
    })
    .await;
    node.stop().await;
    world.assert_sound();
    // In the order of their instants, as none was retried.
    let mut runs = world.runs();
    runs.retain(|r| r.state == State::Succeeded);
    runs.sort_by_key(|r| r.started_at);
    assert!(runs.windows(2).all(|w| w[0].due_at < w[1].due_at));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_occurrence_that_meets_an_active_run_is_skipped() {
    let world = World::new();
    let node = world.node("n1", |_| {}).await;
    let task = world
        .task(json!({
            "name": "s", "schedule": "every 100ms", "handler": {"native": "hang"}, "overlap": "skip",
        }))
        .await;
    until_alone(
        &world,
        task,
        "one has started and three were skipped",
        || {
            let started = world.starts.lock().unwrap().len();
            assert!(started <= 1, "{started} started beside each other");
            started == 1 && reasons(&world, Reason::Overlap).len() >= 3
        },
    )
    .await;
    world.gate.store(1, Ordering::SeqCst);
    until_alone(&world, task, "the next ones run", || {
        world.count(State::Succeeded) >= 3
    })
    .await;
    node.stop().await;
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_occurrence_replaces_the_one_that_runs() {
    let world = World::new();
    let node = world.node("n1", |_| {}).await;
    let task = world
        .task(json!({
            "name": "r", "schedule": "every 1s", "handler": {"native": "hang"}, "overlap": "replace",
        }))
        .await;
    until_alone(&world, task, "two were replaced while they ran", || {
        let replaced = reasons(&world, Reason::Replaced);
        let ran = replaced.iter().filter(|r| r.state == State::Cancelled);
        ran.count() >= 2
    })
    .await;
    node.stop().await;
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_shares_its_limit_and_everybody_gets_a_turn() {
    let world = World::new();
    let node = world.node("n1", |_| {}).await;
    let limit = Edit {
        limits: vec![(LimitKey::Group("db".to_owned()), Some(2))],
        ..Edit::default()
    };
    assert!(
        world
            .store
            .edit(somebody(), &limit, world.clock.now())
            .await
            .unwrap()
            .is_applied()
    );
    for name in ["a", "b"] {
        let task = world
            .task(json!({"name": name, "handler": {"native": "hang"}, "group": "db"}))
            .await;
        for _ in 0..5 {
            world.submit(task, world.clock.now()).await;
        }
    }
    node.wake();
    until("two run and eight wait", || {
        world.count(State::Running) == 2 && world.store.snapshot().blocked.len() == 8
    })
    .await;
    world.gate.store(1, Ordering::SeqCst);
    until("all ran, never more than two at once", || {
        assert!(world.count(State::Running) <= 2);
        world.store.check().unwrap();
        world.count(State::Succeeded) == 10
    })
    .await;
    node.stop().await;
    world.assert_sound();
    assert!(world.store.snapshot().permits.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_workers_run_keeps_its_place_and_who_waits_goes_on() {
    let world = World::new();
    let scheduler = world.node("s", |s| s.worker = false).await;
    let task = world
        .task(json!({"name": "q", "handler": {"native": "record"}, "overlap": "queue"}))
        .await;
    for _ in 0..3 {
        world.submit(task, world.clock.now()).await;
    }
    scheduler.wake();
    until("one has the permit and two wait", || {
        let snapshot = world.store.snapshot();
        snapshot.permits.len() == 1 && snapshot.blocked.len() == 2
    })
    .await;
    let holder = world.store.snapshot().permits[0].run;
    world.zombie(&[holder], Duration::from_millis(300)).await;
    let worker = world.node("w", |s| s.scheduler = false).await;
    until_alone(&world, task, "all ended", || {
        world.count(State::Succeeded) == 3
    })
    .await;
    let first = world.store.run(holder).await.unwrap().unwrap().run;
    assert_eq!((first.losses, first.attempt), (1, 2));
    // It kept its place: the others started after its second attempt had ended.
    let runs = world.runs();
    let others = runs.iter().filter(|r| r.id != holder);
    assert!(others.clone().all(|r| r.started_at >= first.finished_at));
    scheduler.stop().await;
    worker.stop().await;
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_goes_on_with_what_is_blocked() {
    let world = World::new();
    let worker = world.node("w", |s| s.scheduler = false).await;
    let first = world.node("s1", |s| s.worker = false).await;
    let task = world
        .task(json!({"name": "q", "handler": {"native": "hang"}, "overlap": "queue"}))
        .await;
    for _ in 0..4 {
        world.submit(task, world.clock.now()).await;
    }
    first.wake();
    until("one runs and three wait", || {
        world.count(State::Running) == 1 && world.store.snapshot().blocked.len() == 3
    })
    .await;
    let mut status = first.status();
    let epoch = status.borrow().leading;
    world.lock.forget();
    status
        .wait_for(|s| s.leading.is_some() && s.leading != epoch)
        .await
        .unwrap();
    world.gate.store(1, Ordering::SeqCst);
    until_alone(&world, task, "all ended", || {
        world.count(State::Succeeded) == 4
    })
    .await;
    first.stop().await;
    worker.stop().await;
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_worker_takes_in_time_is_skipped() {
    let world = World::new();
    let scheduler = world.node("s", |s| s.worker = false).await;
    let task = world
        .task(json!({
            "name": "d", "handler": {"native": "record"}, "start_deadline": "1s",
        }))
        .await;
    let run = world.submit(task, world.clock.now()).await;
    scheduler.wake();
    until("it is skipped", || world.count(State::Skipped) == 1).await;
    let row = world.store.run(run).await.unwrap().unwrap().run;
    assert_eq!(row.reason, Reason::StartDeadline);
    let over = row.finished_at.unwrap().since(row.due_at);
    assert!(over >= Duration::from_secs(1), "{over:?}");
    scheduler.stop().await;
    world.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn due_rows_of_older_zone_rules_are_moved() {
    let world = World::new();
    let task = world
        .task(json!({
            "name": "z", "schedule": "30 2 * * *", "timezone": "Europe/Berlin", "handler": {"native": "record"},
        }))
        .await;
    let right = world.store.next_due(task).await.unwrap().unwrap();
    // As a node with other rules would have left it: an hour late.
    let wrong = right.plus(Duration::from_secs(3_600));
    let edit = Edit {
        moves: vec![Move {
            task,
            seen: Some(right),
            next: Some(DueKey {
                queue: campanile_core::task::QueueName::default(),
                at: wrong,
                owner: Owner::Task(task),
            }),
        }],
        settings: vec![("zone_rules", "1999a 00000000".to_owned())],
        ..Edit::default()
    };
    assert!(
        world
            .store
            .edit(somebody(), &edit, world.clock.now())
            .await
            .unwrap()
            .is_applied()
    );
    assert_eq!(world.store.next_due(task).await.unwrap(), Some(wrong));
    let node = world.node("n1", |_| {}).await;
    let rules = campanile_core::system::zone_rules();
    for _ in 0..4_000 {
        let kept = world.store.setting("zone_rules").await.unwrap();
        if kept.as_deref() == Some(rules) {
            break;
        }
        campanile_core::system::pause(Duration::from_millis(5)).await;
    }
    assert_eq!(world.store.next_due(task).await.unwrap(), Some(right));
    node.stop().await;
}
