//! Every failpoint, one scene each: a process is killed exactly there, another goes on, and what then stands in the
//! store and in a log outside is judged. The scenes come from the list of failpoints alone: a new step that nobody
//! reaches, or that a death breaks, fails here.
//!
//! Read `scene.rs` for what happens, `load.rs` for what runs, `judge.rs` for what must hold all the same.

mod effects;
mod facts;
mod judge;
mod load;
mod people;
mod scene;
mod sites;
mod stand;

use std::sync::Arc;

use campanile::failpoint::Failpoint;
use campanile::system::wall_now;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use effects::Effects;
use scene::{Outcome, Plan, play};
use stand::{Fate, Servers};

/// Scenes that are played at once; most of a scene is waiting for leases.
const AT_ONCE: usize = 12;

/// Plays all plans and gives their outcomes with their names.
async fn play_all(
    stand: &'static str,
    plans: Vec<Plan>,
    servers: Option<Servers>,
) -> Vec<(Plan, Outcome)> {
    // The error is that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let effects = Effects::start().await;
    let seats = Arc::new(Semaphore::new(AT_ONCE));
    // On one thread: what a scene does is waiting.
    let mut under_way = JoinSet::new();
    let here = LocalSet::new();
    for (n, plan) in plans.into_iter().enumerate() {
        let (effects, seats, servers) = (effects.clone(), Arc::clone(&seats), servers.clone());
        let scene = async move {
            let _seat = seats.acquire_owned().await;
            // The process is in it, so that runs of this test on one broker do not meet.
            let name = format!("{stand}{n}p{}", std::process::id());
            (plan, play(&name, plan, &effects, servers).await)
        };
        under_way.spawn_local_on(scene, &here);
    }
    let mut outcomes = Vec::new();
    here.run_until(async {
        while let Some(outcome) = under_way.join_next().await {
            outcomes.push(outcome.unwrap());
        }
    })
    .await;
    outcomes
}

/// The points in the order in which their scenes begin: those that wait longest first. `CAMPANILE_FAILPOINTS_ONLY` takes
/// those whose names begin with its value, for whoever looks into one.
fn points() -> Vec<Failpoint> {
    let only = std::env::vars_os()
        .find(|(name, _)| name == "CAMPANILE_FAILPOINTS_ONLY")
        .map(|(_, value)| value.to_string_lossy().into_owned())
        .unwrap_or_default();
    let (slow, quick): (Vec<_>, Vec<_>) = Failpoint::ALL
        .iter()
        .copied()
        .filter(|p| p.name().starts_with(&only))
        .partition(|p| p.name().starts_with("prune."));
    slow.into_iter().chain(quick).collect()
}

/// One line of figures, and what was wrong.
fn account(stand: &str, outcomes: &[(Plan, Outcome)], seconds: i64) -> (String, Vec<String>) {
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(|(_, o)| of(o)).sum::<usize>();
    let line = json!({
        "stand": stand,
        "failpoints": outcomes.len(),
        "kills": sum(|o| o.killed),
        "restarts": sum(|o| o.restarts),
        "instants": sum(|o| o.verdict.instants),
        "lost": sum(|o| o.verdict.lost),
        "doubled": sum(|o| o.verdict.doubled),
        "wedged": sum(|o| o.verdict.wedged),
        "seconds": seconds,
    });
    let wrong = outcomes.iter().filter(|(_, o)| !o.verdict.wrong.is_empty());
    let told = wrong.map(|(plan, o)| {
        let (point, shown) = (plan.point.name(), o.verdict.wrong.len().min(12));
        let list = o.verdict.wrong[..shown].join("\n  ");
        format!("{point} ({:?}):\n  {list}\n{}", plan.fate, o.logs)
    });
    (line.to_string(), told.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_dies_at_every_failpoint_and_the_next_puts_everything_right() {
    let begun = wall_now();
    let dies = |point| Plan {
        point,
        fate: Fate::Dies,
    };
    let plans: Vec<Plan> = points().into_iter().map(dies).collect();
    let outcomes = play_all("one", plans, None).await;
    let seconds = (wall_now().as_ms() - begun.as_ms()) / 1_000;
    let (line, wrong) = account("one process, SQLite", &outcomes, seconds);
    println!("{line}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
