//! The model: the protocol's own functions, checked in every order of steps that small bounds allow. `world` says what
//! can happen, `properties` what must hold, `mutants` what each guard is good for. `docs/guide/model.md` explains it.

mod bounds;
mod permits;
mod properties;
mod scheduler;
mod store;
mod worker;
mod world;

use std::time::Instant;

use stateright::{Checker as _, Model as _};

use bounds::{Bounds, Guards, Left};
use world::Scene;

fn go(name: &str, bounds: Bounds) {
    let start = Instant::now();
    let checker = Scene::new(bounds, Guards::default())
        .checker()
        .threads(2)
        .spawn_bfs()
        .join();
    eprintln!(
        "{name}: {} unique {} depth {} {:?}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        start.elapsed()
    );
    for (name, path) in checker.discoveries() {
        eprintln!(
            "   {name}: {}",
            if name.contains("I") {
                format!("{:?}", path.into_actions())
            } else {
                String::new()
            }
        );
    }
}
#[test]
fn first() {
    let l = Left::default();
    let b = Bounds::default();
    go(
        "elections",
        Bounds {
            led: false,
            terms: 2,
            left: Left { stops: 1, ..l },
            ..b.clone()
        },
    );
    go(
        "messages",
        Bounds {
            left: Left {
                losses: 1,
                duplicates: 1,
                stops: 1,
                ..l
            },
            ..b.clone()
        },
    );
    go(
        "crash",
        Bounds {
            schedulers: 1,
            workers: 2,
            left: Left {
                crashes: 1,
                duplicates: 1,
                ..l
            },
            ..b.clone()
        },
    );
    go(
        "zombie",
        Bounds {
            schedulers: 1,
            workers: 2,
            left: Left {
                zombies: 1,
                unanswered_ends: 1,
                ..l
            },
            ..b.clone()
        },
    );
    go(
        "crash and change",
        Bounds {
            left: Left {
                crashes: 1,
                stops: 1,
                ..l
            },
            ..b.clone()
        },
    );
    go(
        "early",
        Bounds {
            schedulers: 1,
            first_tick: 0,
            left: Left { losses: 1, ..l },
            ..b.clone()
        },
    );
    go(
        "retry",
        Bounds {
            schedulers: 1,
            marks: true,
            left: Left {
                failures: 1,
                duplicates: 1,
                cancels: 1,
                ..l
            },
            ..b.clone()
        },
    );
    go(
        "doubt",
        Bounds {
            left: Left {
                doubts: 1,
                edits: 1,
                ..l
            },
            ..b.clone()
        },
    );
    for policy in ["skip", "queue", "replace"] {
        go(
            policy,
            Bounds {
                schedulers: 1,
                workers: 2,
                occurrences: 2,
                last_tick: 2,
                task: serde_json::json!({"overlap": policy}),
                left: Left { failures: 1, ..l },
                ..b.clone()
            },
        );
    }
}
