//! All that a store shows of itself, spelled so that a real store's and the reference's can be compared; and the
//! snapshot on which the invariants are asked. It goes through the ports; only who is blocked is read from its table,
//! because no port tells it.

use std::collections::HashMap;

use campanile_core::decide::invariants::{Chained, Snapshot};
use campanile_core::decide::permits::{Blocked, LimitKey, Permit};
use campanile_core::port::ask::{Quarantined, RunFilter, TaskFilter};
use campanile_core::port::fire::ScanLimits;
use campanile_core::port::lead::LeaderRow;
use campanile_core::port::member::Node;
use campanile_core::port::store::Store;
use campanile_core::run::{AttemptEnd, Run};
use campanile_core::task::{Chain, Task};
use campanile_schedule::time::Timestamp;

use super::ops::{plain, spelled};

const ROWS_MAX: usize = 1_000;

/// What a store holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// One line for each row, sorted.
    pub(super) lines: Vec<String>,
    /// The same as a value, with the store's clock in it.
    pub(super) snapshot: Snapshot,
}

impl Content {
    /// The lines in which two stores differ: `-` is the reference's, `+` the real one's.
    pub(super) fn differences(&self, reference: &Self) -> Vec<String> {
        let lacks = |of: &[String], line: &&String| !of.contains(*line);
        let missing = reference.lines.iter().filter(|l| lacks(&self.lines, l));
        let more = self.lines.iter().filter(|l| lacks(&reference.lines, l));
        missing
            .map(|l| format!("- {l}"))
            .chain(more.map(|l| format!("+ {l}")))
            .collect()
    }
}

/// Reads all of a store. `keys` are the limits that the scene knows.
pub(super) async fn read(store: &dyn Store, keys: &[LimitKey], blocked: Vec<Blocked>) -> Content {
    let mut lines = vec![leader(&store.leader().await.unwrap())];
    let runs = store.runs(&RunFilter::default(), None, ROWS_MAX).await;
    let runs = runs.unwrap();
    for run in &runs {
        lines.push(of_run(store, run).await);
    }
    let limits = ScanLimits {
        default: ROWS_MAX,
        rooms: HashMap::new(),
    };
    let scan = store.scan(Timestamp::from_ms(i64::MAX), &limits).await;
    let due: Vec<_> = scan.unwrap().rows.into_iter().map(|row| row.key).collect();
    lines.extend(due.iter().map(|key| format!("due {key:?}")));
    let rows = store.outbox(None, ROWS_MAX).await.unwrap();
    let kept = rows.iter().flat_map(|row| &row.waiting);
    let outbox: Vec<_> = kept.map(|w| (w.run.id, w.run.attempt)).collect();
    lines.extend(rows.iter().map(|row| {
        let runs: Vec<_> = row
            .waiting
            .iter()
            .map(|w| (w.run.id, w.run.attempt))
            .collect();
        format!("outbox {} {runs:?}", row.id)
    }));
    let permits = permits(store, keys).await;
    lines.extend(permits.iter().map(|permit| format!("{permit:?}")));
    lines.extend(blocked.iter().map(|blocked| format!("{blocked:?}")));
    let tasks = store
        .tasks(&TaskFilter::default(), None, ROWS_MAX)
        .await
        .unwrap()
        .tasks;
    lines.extend(tasks.iter().map(|task| format!("{task:?}")));
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    let pauses = store.pauses(&ids).await.unwrap();
    lines.extend(pauses.iter().map(|(id, pause)| format!("{id} {pause:?}")));
    let chained = chained(store, &tasks).await;
    lines.extend(chained.iter().map(|chained| format!("{chained:?}")));
    let resting = tasks
        .iter()
        .filter_map(|t| Some((t.id, t.paused_from?)))
        .collect();
    lines.push(format!("deletions {:?}", store.deletions().await.unwrap()));
    let aside = store.quarantine(None, ROWS_MAX).await.unwrap();
    let aside = aside.into_iter().map(|q| Quarantined { id: 0, ..q });
    lines.extend(aside.map(|q| format!("{q:?}")));
    lines.extend(inbox(store).await);
    let nodes = store.nodes().await.unwrap();
    lines.extend(nodes.iter().map(of_node));
    let limits = store.rules().await.unwrap().limits;
    lines.extend(limits.iter().map(|(key, n)| format!("limit {key} {n}")));
    lines.sort();
    Content {
        lines,
        snapshot: Snapshot {
            answered: std::collections::HashSet::new(),
            runs,
            due,
            outbox,
            living: nodes.iter().map(|node| node.id).collect(),
            permits,
            blocked,
            resting,
            deleted: Vec::new(),
            chained,
        },
    }
}

/// Tasks that go on from the ends of their runs, and who holds their chains.
async fn chained(store: &dyn Store, tasks: &[Task]) -> Vec<Chained> {
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    let holders = store.chain_holders(&ids).await.unwrap();
    let chained = tasks.iter().filter_map(|task| {
        Some(Chained {
            task: task.id,
            chain: Chain::of(&task.spec)?,
            holder: holders.get(&task.id).copied(),
            aside: false,
        })
    });
    chained.collect()
}

/// What is in the inbox, and what became of what was and is no run. Numbers are each store's own.
async fn inbox(store: &dyn Store) -> Vec<String> {
    let left = store.inbox().await.unwrap().rows;
    let left = left
        .into_iter()
        .map(|row| format!("left {:?}", row.request));
    let others = store.unfulfilled(None, ROWS_MAX).await.unwrap();
    let others = others
        .iter()
        .map(|row| format!("became {:?} at {}", row.became, row.at));
    left.chain(others).collect()
}

fn leader(row: &LeaderRow) -> String {
    let row = LeaderRow {
        since: row.since.map(spelled),
        now: Timestamp::from_ms(0),
        ..row.clone()
    };
    format!("{row:?}")
}

async fn of_run(store: &dyn Store, run: &Run) -> String {
    let detail = store.run(run.id).await.unwrap();
    let (spec, attempts) = detail.map_or((None, Vec::new()), |d| (d.spec, d.attempts));
    let attempts: Vec<AttemptEnd> = attempts
        .into_iter()
        .map(|a| AttemptEnd {
            started_at: a.started_at.map(spelled),
            ..a
        })
        .collect();
    let logs = store.logs(run.id).await.unwrap();
    format!("{:?} {spec:?} {attempts:?} {logs:?}", plain(run))
}

fn of_node(node: &Node) -> String {
    let node = Node {
        heartbeat_at: spelled(node.heartbeat_at),
        ..node.clone()
    };
    format!("{node:?}")
}

async fn permits(store: &dyn Store, keys: &[LimitKey]) -> Vec<Permit> {
    let standings = store.standings(keys).await.unwrap();
    let mut permits: Vec<Permit> = standings
        .into_iter()
        .flat_map(|(key, standing)| {
            let permit = move |held: campanile_core::decide::permits::Held| Permit {
                key: key.clone(),
                n: held.n,
                run: held.run,
            };
            standing.held.into_iter().map(permit)
        })
        .collect();
    permits.sort_by(|a, b| (&a.key, a.n).cmp(&(&b.key, b.n)));
    permits
}

/// Lets a store learn the queues' numbers, as one that has worked for a while has.
pub(super) async fn warm(store: &dyn Store) {
    let limits = ScanLimits {
        default: 1,
        rooms: HashMap::new(),
    };
    store.scan(Timestamp::MIN, &limits).await.unwrap();
}
