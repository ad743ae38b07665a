//! Every failpoint, one scene each: a process is killed exactly there, another goes on, and what then stands in the
//! store and in a log outside is judged. The scenes come from the list of failpoints alone: a new step that nobody
//! reaches, or that a death breaks, fails here.
//!
//! Read `scene.rs` for what happens, `load.rs` for what runs, `judge.rs` for what must hold all the same. The tests that play
//! them are those of the program (`crates/campanile-server/tests/failpoints.rs`): nothing else is built with failpoints.

mod death;
mod facts;
mod judge;
mod load;
mod people;
mod scene;
#[cfg(test)]
mod sites;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use campanile_core::failpoint::Failpoint;
use serde_json::json;
use xtask::servers::{ActiveMq, Error, Postgres, PostgresOptions, Redis};

use crate::say;
use scene::{Fate, Outcome, Plan, Shared, play};

/// Scenes of one process that are played at once; most of a scene is waiting for leases.
const AT_ONCE: usize = 7;
/// The same in a cluster, where each has five processes and shares its servers.
const CLUSTERS_AT_ONCE: usize = 5;

/// Plays all plans and gives their outcomes with their names.
fn play_all(
    stand: &str,
    plans: Vec<Plan>,
    program: &Path,
    shared: Option<&Shared>,
) -> Vec<(Plan, Outcome)> {
    let at_once = if shared.is_some() {
        CLUSTERS_AT_ONCE
    } else {
        AT_ONCE
    };
    let plans: Mutex<VecDeque<_>> = Mutex::new(plans.into_iter().enumerate().collect());
    let outcomes = Mutex::new(Vec::new());
    // What a scene does is waiting.
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = plans
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some((n, plan)) = next else { return };
                    // The process is in it, so that runs of this test on one broker do not meet.
                    let name = format!("{stand}{n}p{}", std::process::id());
                    let outcome = play(&name, plan, program, shared);
                    let mut all = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push((plan, outcome));
                }
            });
        }
    });
    outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
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
        "heartbeat.",
        "prune.",
        "resign.",
        "access.",
        "forget.",
        "delete.",
    ];
    let is_near_another = match point {
        F::PublishBefore | F::HandOverBefore | F::BeginTermCommitted | F::FireCommitted => false,
        F::HandOverCommitted | F::ClaimCommitted | F::FinishCommitted | F::LeaveCommitted => false,
        F::CancelRequestBefore | F::CancelRequestWritten => true,
        F::FireConsumed | F::FireInserted | F::FireAdmitted | F::SubmitKeyed => true,
        _ => [".before", ".fenced", ".committed"]
            .iter()
            .any(|end| name.ends_with(end)),
    };
    !is_near_another && !is_the_same.iter().any(|same| name.starts_with(same))
}

/// Where a process stops and wakes long after others took over: leaders inside their transactions and between store and
/// broker, workers on both sides of a start.
const STOPS: [Failpoint; 9] = [
    Failpoint::BeginTermWritten,
    Failpoint::FireFenced,
    Failpoint::FireWritten,
    Failpoint::SettleWritten,
    Failpoint::HandOverWritten,
    Failpoint::PublishBefore,
    Failpoint::ClaimCommitted,
    Failpoint::Start,
    Failpoint::FinishWritten,
];

/// Prints one line of figures; gives what was wrong.
fn account(stand: &str, outcomes: &[(Plan, Outcome)], begun: Instant) -> Vec<String> {
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
        "seconds": begun.elapsed().as_secs(),
    });
    say(&line.to_string());
    let wrong = outcomes.iter().filter(|(_, o)| !o.verdict.wrong.is_empty());
    let told = wrong.map(|(plan, o)| {
        let (point, shown) = (plan.point.name(), o.verdict.wrong.len().min(12));
        let list = o.verdict.wrong[..shown].join("\n  ");
        format!("{point} ({:?}):\n  {list}\n{}", plan.fate, o.logs)
    });
    told.collect()
}

/// A process of this program dies at every failpoint, over one file; gives what was wrong.
pub fn one_process(program: &Path) -> Vec<String> {
    let begun = Instant::now();
    let plans = chosen(Failpoint::ALL.iter().map(dies));
    let outcomes = play_all("one", plans, program, None);
    account("one process, SQLite", &outcomes, begun)
}

/// In a cluster a process dies or stops at the failpoints that differ there, and others go on; gives what was wrong.
pub fn cluster(program: &Path) -> Result<Vec<String>, Error> {
    // Of its own, for more connections than the shared one has.
    let options = PostgresOptions {
        disk_mib: None,
        fsync: false,
        settings: vec![("max_connections".to_owned(), "500".to_owned())],
    };
    let shared = Shared {
        postgres: Arc::new(Postgres::start_with(options)?),
        redis: Redis::shared()?,
        broker: ActiveMq::shared()?,
    };
    let begun = Instant::now();
    let stops = STOPS.iter().map(|point| Plan {
        point: *point,
        fate: Fate::Stops,
    });
    let deaths = Failpoint::ALL.iter().filter(|p| differs_in_a_cluster(p));
    let plans = chosen(stops.chain(deaths.map(dies)));
    let outcomes = play_all("many", plans, program, Some(&shared));
    Ok(account(
        "cluster, PostgreSQL, Redis, ActiveMQ",
        &outcomes,
        begun,
    ))
}
