//! Runs of a worker that died are requeued, whatever the lead does meanwhile.

use std::time::Duration;

use campanile_core::port::clock::Clock as _;
use campanile_core::port::lead::LeadStore as _;

use campanile_core::run::State;
use serde_json::json;

use crate::world::World;

/// The dead worker's lease; every term is much shorter.
const LEASE: Duration = Duration::from_millis(1_500);

/// Found by `cargo xtask chaos` (seeds 1 and 2): the watch over silent nodes began again with each term, so while terms
/// were shorter than the lease nobody was evicted and the runs stayed with the dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_workers_runs_are_requeued_though_no_term_lasts_for_its_lease() {
    let world = World::new();
    let task = world
        .task(json!({"name": "job", "handler": {"native": "record"}}))
        .await;
    let run = world.submit(task, world.clock.now()).await;
    world.zombie(&[run], LEASE).await;
    let nodes = [
        world.node("n1", |s| s.lease = LEASE).await,
        world.node("n2", |s| s.lease = LEASE).await,
    ];
    let mut last = (0, world.clock.monotonic());
    let mut terms = Vec::new();
    let began = world.clock.monotonic();
    while world.count(State::Succeeded) == 0 {
        assert!(
            world.clock.monotonic().since(began) < LEASE * 10,
            "the run stayed with the dead: {terms:?}"
        );
        let epoch = world.store.leader().await.unwrap().epoch;
        if epoch != last.0 {
            terms.push(world.clock.monotonic().since(last.1));
            last = (epoch, world.clock.monotonic());
        }
        if world.clock.monotonic().since(last.1) > LEASE / 6 {
            nodes
                .iter()
                .for_each(campanile_core::engine::Node::step_down);
        }
        campanile_core::system::pause(Duration::from_millis(5)).await;
    }
    // The first entry is the time before the first term.
    let longest = terms.iter().skip(1).max();
    assert!(
        terms.len() > 3 && longest.is_some_and(|term| *term < LEASE),
        "{terms:?}"
    );
    for node in nodes {
        node.stop().await;
    }
    world.assert_sound();
}
