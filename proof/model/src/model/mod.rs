//! The model: the protocol's own functions, checked in every order of steps that small bounds allow. `world` says what
//! can happen, `properties` what must hold, `mutants` what each guard is good for. `docs/contribute/model.md` explains it.

mod actions;
mod bounds;
mod chains;
mod edits;
mod finish;
mod groups;
mod mutants;
mod permits;
mod properties;
mod scenes;
mod scheduler;
mod store;
mod worker;
mod world;
mod zones;

use std::collections::BTreeSet;

use campanile_core::port::clock::Clock as _;
use campanile_core::system::SystemClock;
use stateright::{Checker as _, Expectation, HasDiscoveries, Model as _};

use bounds::Guards;
use finish::finishable;
use scenes::Named;
use world::Scene;

/// Checks all of a scene and prints what it took. Fails with a trace if a property is broken, and if the scene does not
/// reach what it is there for.
fn check(scene: Named) -> (usize, usize) {
    let Named {
        name,
        bounds,
        reaches,
    } = scene;
    let clock = SystemClock::new();
    let start = clock.monotonic();
    let model = Scene::new(bounds, Guards::default());
    let checker = model.clone().checker().threads(2).spawn_bfs().join();
    let (unique, depth) = (checker.unique_state_count(), checker.max_depth());
    let mut found = checker.discoveries();
    for property in checker.model().properties() {
        let path = found.remove(property.name);
        let reached = property.expectation == Expectation::Sometimes;
        if reached && path.is_none() {
            let here = reaches.contains(&property.name);
            assert!(!here, "{name} no longer reaches: {}", property.name);
        } else if reached {
            eprintln!("model: {name}: reached: {}", property.name);
        } else if path.is_some() {
            // Once more, for a short way to it.
            let when = HasDiscoveries::AnyOf(BTreeSet::from([property.name]));
            let again = model.checker().finish_when(when).spawn_bfs().join();
            let way = again
                .discovery(property.name)
                .map(stateright::Path::into_actions);
            panic!("{name} breaks {}: {way:?}", property.name);
        }
    }
    let seconds = clock.monotonic().since(start).as_secs_f64();
    eprintln!("model: {name}: {unique} states, depth {depth}, {seconds:.1} s");
    (unique, depth)
}

/// Checks these scenes, and tells their counts as one line for machines.
fn check_all(bounds: &str, all: Vec<Named>) {
    let scenes = all.len();
    let counts: Vec<(usize, usize)> = all.into_iter().map(check).collect();
    tell(&serde_json::json!({
        "record": "model", "part": format!("{bounds} scenes"), "scenes": scenes,
        "states": counts.iter().map(|(states, _)| states).sum::<usize>(),
        "deepest": counts.iter().map(|(_, depth)| *depth).max(),
    }));
}

/// Prints a line for machines: `cargo xtask evidence` keeps it.
fn tell(line: &serde_json::Value) {
    println!("{line}");
}

#[test]
fn small_scenes_keep_every_promise() {
    check_all("small", scenes::small());
}

#[test]
fn once_nothing_more_goes_wrong_all_work_can_be_finished() {
    // Where terms end, worlds without a leader are the end of the bounds and not of the protocol: one leader is enough.
    let (mut scenes, mut states) = (0, 0);
    for scene in scenes::small().into_iter().filter(|s| s.bounds.terms == 1) {
        let (worlds, way) = finishable(&Scene::new(scene.bounds, Guards::default()));
        assert_eq!(way, None, "{} gets stuck", scene.name);
        eprintln!(
            "model: {}: an end is in reach of {worlds} states",
            scene.name
        );
        (scenes, states) = (scenes + 1, states + worlds);
    }
    tell(&serde_json::json!({
        "record": "model", "part": "an end is in reach", "scenes": scenes, "states": states,
    }));
}

/// The variable that asks for the deep scenes; `cargo xtask model --deep` sets it.
const DEEP: &str = "CAMPANILE_MODEL_DEEP";

#[test]
fn deep_scenes_keep_every_promise() {
    if std::env::var_os(DEEP).is_none() {
        eprintln!("model: the deep scenes take minutes: cargo xtask model --deep");
        return;
    }
    check_all("deep", scenes::deep());
}
