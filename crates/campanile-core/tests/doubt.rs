//! A node on a machine whose wall clock is wrong, in real time: until it knows whether the store's clock is right, it takes
//! back nothing that was planned in time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use campanile_core::port::ask::AskCluster as _;
use campanile_core::port::clock::Clock;
use campanile_core::port::store::CLOCK_STATE;
use campanile_core::run::{Reason, Run, State};
use campanile_core::system::{SystemClock, pause};
use campanile_core::time::Monotonic;
use campanile_schedule::time::Timestamp;
use serde_json::json;

use crate::rests::people;
use crate::support::until;
use crate::world::World;

/// How far this machine's wall clock is behind.
const BEHIND: Duration = Duration::from_secs(3_600);

struct Behind(Arc<SystemClock>);

#[async_trait]
impl Clock for Behind {
    fn now(&self) -> Timestamp {
        self.0.now().minus(BEHIND)
    }

    fn monotonic(&self) -> Monotonic {
        self.0.monotonic()
    }

    fn boot(&self) -> Monotonic {
        self.0.boot()
    }

    async fn sleep_until(&self, until: Monotonic) {
        self.0.sleep_until(until).await;
    }
}

/// Waits until what the leader makes of the store's clock is so.
async fn told(world: &World, is: impl Fn(&str) -> bool) {
    for _ in 0..8_000 {
        let state = world.store.setting(CLOCK_STATE).await.unwrap();
        if state.is_some_and(|state| is(&state)) {
            return;
        }
        pause(Duration::from_millis(5)).await;
    }
    panic!("the leader never said it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_own_clock_is_behind_takes_back_nothing() {
    let world = World::new();
    let spec = json!({ "name": "t", "schedule": "every 1s", "handler": { "native": "record" } });
    let task = world.task(spec).await;
    let people = people(&world);
    let of_task = |state: State| -> Vec<Run> {
        let runs = world.runs().into_iter();
        let mine = runs.filter(|r| r.task == Some(task) && r.state == state);
        mine.collect()
    };
    let first = world.node("first", |_| {}).await;
    until("it ran", || !of_task(State::Succeeded).is_empty()).await;
    people.pause("t").await.unwrap();
    let paused_at = world.clock.now();
    until("an instant has passed over it", || {
        world.clock.now() >= paused_at.plus(Duration::from_secs(2))
    })
    .await;
    people.resume("t").await.unwrap();
    people.pause("t").await.unwrap();
    first.stop().await;
    let skips = of_task(State::Skipped);
    assert!(
        skips.iter().any(|r| r.reason == Reason::Paused),
        "{skips:?}"
    );
    let clock = Arc::new(Behind(Arc::clone(&world.clock)));
    let late = world.node_with("late", clock, |_| {}).await;
    told(&world, |state| state.contains("\"held_ms\":3")).await;
    told(&world, |state| state.contains("\"held_ms\":null")).await;
    late.stop().await;
    assert_eq!(of_task(State::Skipped), skips);
    world.assert_sound();
}
