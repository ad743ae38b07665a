//! Every failpoint, one scene each: a process is killed exactly there, another goes on, and what then stands in the
//! store and in a log outside is judged. The scenes come from the list of failpoints alone: a new step that nobody
//! reaches, or that a death breaks, fails here.
//!
//! Read `scene.rs` for what happens, `load.rs` for what runs, `judge.rs` for what must hold all the same.

mod effects;
mod facts;
mod judge;
mod judge_tests;
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
use xtask::servers::{ActiveMq, Postgres, PostgresOptions, Redis};

use effects::Effects;
use scene::{Outcome, Plan, play};
use stand::{Fate, Servers};

/// Scenes of one process that are played at once; most of a scene is waiting for leases.
const AT_ONCE: usize = 8;
/// The same in a cluster, where each has five processes and shares its servers.
const CLUSTERS_AT_ONCE: usize = 6;

/// Plays all plans and gives their outcomes with their names.
async fn play_all(
    stand: &'static str,
    plans: Vec<Plan>,
    servers: Option<Servers>,
) -> Vec<(Plan, Outcome)> {
    // The error is that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let effects = Effects::start().await;
    let at_once = if servers.is_some() {
        CLUSTERS_AT_ONCE
    } else {
        AT_ONCE
    };
    let seats = Arc::new(Semaphore::new(at_once));
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

/// The plans whose points' names begin with what `CAMPANILE_FAILPOINTS_ONLY` says, for whoever looks into one; those that
/// wait longest begin first.
fn chosen(plans: impl Iterator<Item = Plan>) -> Vec<Plan> {
    let only = std::env::vars_os()
        .find(|(name, _)| name == "CAMPANILE_FAILPOINTS_ONLY")
        .map(|(_, value)| value.to_string_lossy().into_owned())
        .unwrap_or_default();
    let (slow, quick): (Vec<_>, Vec<_>) = plans
        .filter(|plan| plan.point.name().starts_with(&only))
        .partition(|plan| plan.point.name().starts_with("prune."));
    slow.into_iter().chain(quick).collect()
}

fn dies(point: &Failpoint) -> Plan {
    Plan {
        point: *point,
        fate: Fate::Dies,
    }
}

/// Whether a death at this point leaves something behind on servers that one process on a file does not know: an open
/// transaction, a lock, messages. Of each transaction one point inside is enough; what it does is played on the file.
fn differs_in_a_cluster(point: &Failpoint) -> bool {
    use Failpoint as F;
    let name = point.name();
    let is_the_same = [
        "zones.",
        "put-back.",
        "secret.",
        "queue.",
        "join.",
        "beat.",
        "prune.",
        "resign.",
        "forget.",
        "delete.",
    ];
    let is_near_another = match point {
        F::PublishBefore | F::HandOverBefore | F::BeginTermCommitted | F::FireCommitted => false,
        F::HandOverCommitted | F::ClaimCommitted | F::FinishCommitted | F::LeaveCommitted => false,
        F::FireConsumed | F::FireInserted | F::FireAdmitted | F::SubmitKeyed => true,
        _ => [".before", ".guarded", ".committed"]
            .iter()
            .any(|end| name.ends_with(end)),
    };
    !is_near_another && !is_the_same.iter().any(|same| name.starts_with(same))
}

/// Where a process stops and wakes long after others took over: leaders inside their transactions and between store and
/// broker, workers on both sides of a start.
const STOPS: [Failpoint; 9] = [
    Failpoint::BeginTermWritten,
    Failpoint::FireGuarded,
    Failpoint::FireWritten,
    Failpoint::SettleWritten,
    Failpoint::HandOverWritten,
    Failpoint::PublishBefore,
    Failpoint::ClaimCommitted,
    Failpoint::Start,
    Failpoint::FinishWritten,
];

/// One line of figures, and what was wrong.
fn account(stand: &str, outcomes: &[(Plan, Outcome)], seconds: i64) -> (String, Vec<String>) {
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(|(_, o)| of(o)).sum::<usize>();
    let line = json!({
        "record": "failpoints",
        "part": stand,
        "failpoints": outcomes.len(),
        "kills": sum(|o| o.killed),
        "stops": sum(|o| o.stopped),
        "takeover_ms_max": outcomes.iter().map(|(_, o)| o.takeover_ms).max(),
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
    let plans = chosen(Failpoint::ALL.iter().map(dies));
    let outcomes = play_all("one", plans, None).await;
    let seconds = (wall_now().as_ms() - begun.as_ms()) / 1_000;
    let (line, wrong) = account("one process, SQLite", &outcomes, seconds);
    println!("{line}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_others_go_on_when_a_process_dies_or_stops_at_a_failpoint() {
    // Of its own, for more connections than the shared one has.
    let options = PostgresOptions {
        disk_mib: None,
        fsync: false,
        settings: vec![("max_connections".to_owned(), "500".to_owned())],
    };
    let (Some(postgres), Some(redis), Some(broker)) = (
        xtask::or_skip(Postgres::start_with(options).map(Arc::new)),
        xtask::or_skip(Redis::shared()),
        xtask::or_skip(ActiveMq::shared()),
    ) else {
        return;
    };
    let servers = Servers {
        postgres,
        redis,
        broker,
    };
    let begun = wall_now();
    let stops = STOPS.iter().map(|point| Plan {
        point: *point,
        fate: Fate::Stops,
    });
    let deaths = Failpoint::ALL.iter().filter(|p| differs_in_a_cluster(p));
    let plans = chosen(stops.chain(deaths.map(dies)));
    let outcomes = play_all("many", plans, Some(servers)).await;
    let seconds = (wall_now().as_ms() - begun.as_ms()) / 1_000;
    let (line, wrong) = account("cluster, PostgreSQL, Redis, ActiveMQ", &outcomes, seconds);
    println!("{line}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
