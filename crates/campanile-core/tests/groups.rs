//! Messages that offer several runs, on the production engine: what a worker has no slot for is with others at once, and
//! where somebody does not read groups there are none.

use std::sync::atomic::Ordering;
use std::time::Duration;

use campanile_core::decide::publish::message;
use campanile_core::decide::publish::routing::Abilities;
use campanile_core::engine::Node;
use campanile_core::id::TaskId;
use campanile_core::port::clock::Clock;
use campanile_core::port::member;
use campanile_core::port::member::MemberStore as _;
use campanile_core::run::State;
use campanile_core::task::QueueName;
use serde_json::json;

use crate::support::until;
use crate::world::World;

fn counted(node: &Node, name: &str) -> u64 {
    let all = node.metrics().counters();
    all.into_iter()
        .find(|counter| counter.name == name)
        .map(|counter| counter.value)
        .unwrap()
}

/// Runs that are all due at one instant.
async fn together(world: &World, leader: &Node, task: TaskId, count: usize) {
    let at = world.clock.now().plus(Duration::from_millis(300));
    for _ in 0..count {
        world.submit(task, at).await;
    }
    leader.wake();
}

async fn hangs(world: &World) -> TaskId {
    world
        .task(json!({"name": "t", "handler": {"native": "hang"}}))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_group_offers_beyond_the_slots_is_with_another_worker_at_once() {
    let world = World::new();
    let first = world.node("first", |_| {}).await;
    let mut status = first.status();
    status.wait_for(|s| s.node.is_some()).await.unwrap();
    let task = hangs(&world).await;
    together(&world, &first, task, 3).await;
    until("three run", || world.count(State::Running) == 3).await;
    // Its groups are of eight, and 61 slots are left.
    together(&world, &first, task, 100).await;
    until("it is full", || world.count(State::Running) == 64).await;
    until("a group was split", || {
        counted(&first, "runs_offered_again") > 0
    })
    .await;
    let published = counted(&first, "messages_published");
    assert!(published < 60, "{published} messages for 103 runs");
    // What was left would be published again after a minute.
    let second = world.node("second", |s| s.scheduler = false).await;
    until("all run", || world.count(State::Running) == 103).await;
    world.gate.store(1, Ordering::SeqCst);
    until("all ended", || world.count(State::Succeeded) == 103).await;
    first.stop().await;
    second.stop().await;
    world.assert_sound();
    assert!(world.runs().iter().all(|run| run.attempt == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_worker_that_reads_no_groups_each_run_has_its_message() {
    let world = World::new();
    let leader = world.node("new", |_| {}).await;
    let now = world.clock.now();
    let old = member::Node {
        id: world.mint.node(),
        name: "old".to_owned(),
        roles: vec!["worker".to_owned()],
        queues: vec![QueueName::default()],
        slots: 64,
        busy: 0,
        lease: Duration::from_secs(600),
        started_at: now,
        heartbeat_seq: 0,
        heartbeat_at: now,
        version: String::new(),
        abilities: Some(Abilities {
            groups: false,
            ..Abilities::announce(["record".to_owned()], true, None)
        }),
    };
    world.store.join(&old).await.unwrap();
    let mut status = leader.status();
    status.wait_for(|s| s.node.is_some()).await.unwrap();
    let task = world
        .task(json!({"name": "t", "handler": {"native": "record"}}))
        .await;
    // The leader reads its members each second: from here on it has seen both.
    together(&world, &leader, task, 1).await;
    until("one ran", || world.count(State::Succeeded) == 1).await;
    let seen = world.clock.monotonic().plus(Duration::from_millis(1_500));
    until("its next look is over", || world.clock.monotonic() >= seen).await;
    together(&world, &leader, task, 20).await;
    until("all ran", || world.count(State::Succeeded) == 21).await;
    assert!(counted(&leader, "messages_published") >= 21);
    let groups = message::group_destination(&QueueName::default());
    assert!(world.broker.is_empty(&groups));
    leader.stop().await;
    world.assert_sound();
}
