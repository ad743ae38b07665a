//! How many lives of runs a store carries: `cargo run --profile ci --example store_rate -- URL [RUNS] [BATCH]`. A life is
//! fire → claim → finish, in batches, one caller; the tasks' due rows are put beforehand and each firing puts the next
//! ones, as recurring tasks do. Prints one line of JSON.

#![expect(clippy::print_stdout, reason = "the figures are this program's output")]
#![expect(clippy::unwrap_used, reason = "a measurement: a failure is its end")]

use std::sync::Arc;
use std::time::Duration;

use campanile_adapters::sql;
use campanile_conformance::somebody;
use campanile_core::decide::attempt;
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::id::{Mint, NodeId};
use campanile_core::port::attempt::AttemptStore as _;
use campanile_core::port::attempt::{Claim, End, Finish};
use campanile_core::port::clock::Clock as _;
use campanile_core::port::edit::EditStore as _;
use campanile_core::port::edit::{Edit, Submission, Upsert};
use campanile_core::port::fire::FireStore as _;
use campanile_core::port::fire::{DueKey, Fired, Firing, OutboxEntry, Owner, ScanLimits};
use campanile_core::port::lead::LeadStore as _;
use campanile_core::port::lead::{Bid, Term};
use campanile_core::port::member::MemberStore as _;
use campanile_core::port::member::Node;

use campanile_core::run::Run;
use campanile_core::system::{Random, SystemClock};
use campanile_core::task::{Task, TaskSpec};
use campanile_schedule::time::Timestamp;

struct Bench {
    store: Arc<sql::Store>,
    mint: Mint,
    term: Term,
    node: NodeId,
    now: Timestamp,
    batch: usize,
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let url = args
        .next()
        .unwrap_or_else(|| "sqlite:store-rate.db".to_owned());
    let runs: usize = args.next().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let batch: usize = args.next().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    let bench = Bench::new(&url, batch).await;
    let clock = SystemClock::new();
    let mut marks = vec![clock.monotonic()];
    let tasks = bench.tasks(runs).await;
    marks.push(clock.monotonic());
    let fired = bench.fire(&tasks).await;
    marks.push(clock.monotonic());
    bench.claim_and_finish(&fired, &mut marks, &clock).await;
    let requests = bench.submit(runs).await;
    marks.push(clock.monotonic());
    bench.fire_timers(&requests).await;
    marks.push(clock.monotonic());
    bench.claim_and_finish(&requests, &mut marks, &clock).await;
    let rates: Vec<u64> = marks
        .windows(2)
        .map(|pair| 1_000 * runs as u64 / (pair[1].since(pair[0]).as_millis() as u64).max(1))
        .collect();
    let life = |stages: &[usize]| 1.0 / stages.iter().map(|i| 1.0 / rates[*i] as f64).sum::<f64>();
    println!(
        "{}",
        serde_json::json!({
            "url": url.split(':').next(), "runs": runs, "batch": batch,
            "recurring": {"define": rates[0], "fire": rates[1], "claim": rates[2], "finish": rates[3],
                          "lives": life(&[1, 2, 3]).round()},
            "submitted": {"submit": rates[4], "fire": rates[5], "claim": rates[6], "finish": rates[7],
                          "lives": life(&[5, 6, 7]).round()},
        })
    );
}

impl Bench {
    async fn new(url: &str, batch: usize) -> Self {
        let store = sql::open(url, sql::Options::default()).await.unwrap();
        let mint = Mint::new(Arc::new(Random::from_system()));
        let row = store.leader().await.unwrap();
        let bid = Bid {
            read_epoch: row.epoch,
            term: Term {
                epoch: row.epoch + 1,
                holder: mint.holder(),
            },
            node: mint.node(),
            node_name: "bench".to_owned(),
        };
        assert!(store.begin_term(&bid).await.unwrap().is_applied());
        let node = Node {
            id: bid.node,
            name: "bench".to_owned(),
            roles: Vec::new(),
            queues: Vec::new(),
            slots: 1,
            busy: 0,
            lease: Duration::from_secs(10),
            started_at: row.now,
            heartbeat_seq: 0,
            heartbeat_at: row.now,
            version: String::new(),
            abilities: None,
        };
        store.join(&node).await.unwrap();
        Self {
            store,
            mint,
            term: bid.term,
            node: bid.node,
            now: row.now,
            batch,
        }
    }

    fn spec(&self, name: &str) -> TaskSpec {
        let task = serde_json::json!({"name": name, "schedule": "every 10s", "handler": {"native": "noop"},
            "payload": {"text": "x".repeat(200)}});
        serde_json::from_value(task).unwrap()
    }

    async fn tasks(&self, count: usize) -> Vec<Task> {
        let due = self.now.minus(Duration::from_secs(1));
        let mut all = Vec::new();
        for first in (0..count).step_by(self.batch) {
            let mut edit = Edit::default();
            for n in first..count.min(first + self.batch) {
                let spec = self.spec(&format!("task-{}-{n}", self.term.epoch));
                let id = self.mint.task(self.now);
                let key = DueKey {
                    queue: spec.queue.clone(),
                    at: due,
                    owner: Owner::Task(id),
                };
                all.push(Task {
                    id,
                    version: 1,
                    spec: spec.clone(),
                    created_at: self.now,
                    updated_at: self.now,
                    paused_from: None,
                });
                edit.upserts.push(Upsert {
                    id,
                    expected: None,
                    spec,
                    paused_from: None,
                    due: DueChange::Replace {
                        seen: None,
                        next: Some(key),
                    },
                });
            }
            assert!(
                self.store
                    .edit(somebody(), &edit, self.now)
                    .await
                    .unwrap()
                    .is_applied()
            );
        }
        all
    }

    /// Scans and fires as the leader does, until nothing is due.
    async fn fire(&self, tasks: &[Task]) -> Vec<Run> {
        let by_id: std::collections::HashMap<_, _> =
            tasks.iter().map(|task| (task.id, task)).collect();
        let mut all = Vec::new();
        loop {
            let scan = self.store.scan(self.now, &self.limits()).await.unwrap();
            if scan.rows.is_empty() {
                return all;
            }
            let mut firing = self.firing(scan.edits);
            let ids = self.mint.runs(self.now, scan.rows.len());
            for (row, id) in scan.rows.into_iter().zip(ids) {
                let Owner::Task(task) = row.key.owner else {
                    continue;
                };
                firing.runs.push(attempt::occurrence(
                    id,
                    by_id[&task],
                    row.key.at,
                    self.term.epoch,
                ));
                firing.advanced.push(DueKey {
                    at: row.key.at.plus(Duration::from_secs(3_600)),
                    ..row.key.clone()
                });
                firing.consumed.push(row.key);
            }
            all.extend(firing.runs.iter().cloned());
            self.carry_out(firing).await;
        }
    }

    async fn fire_timers(&self, _runs: &[Run]) {
        loop {
            let scan = self.store.scan(self.now, &self.limits()).await.unwrap();
            if scan.rows.is_empty() {
                return;
            }
            let mut firing = self.firing(scan.edits);
            let ids = scan
                .rows
                .iter()
                .filter_map(|row| row.waiting.as_ref().map(|w| (w.run.id, w.run.attempt)));
            firing.outbox = Some(OutboxEntry {
                id: self.mint.outbox(self.now),
                runs: ids.collect(),
            });
            firing.consumed = scan.rows.into_iter().map(|row| row.key).collect();
            assert_eq!(
                self.store.fire(&self.term, &firing).await.unwrap(),
                Fired::Applied
            );
        }
    }

    fn limits(&self) -> ScanLimits {
        ScanLimits {
            default: self.batch,
            rooms: std::collections::HashMap::new(),
        }
    }

    fn firing(&self, edits: i64) -> Firing {
        Firing {
            edits,
            epoch: self.term.epoch,
            ..Firing::default()
        }
    }

    async fn carry_out(&self, mut firing: Firing) {
        firing.outbox = Some(OutboxEntry {
            id: self.mint.outbox(self.now),
            runs: firing
                .runs
                .iter()
                .map(|run| (run.id, run.attempt))
                .collect(),
        });
        assert_eq!(
            self.store.fire(&self.term, &firing).await.unwrap(),
            Fired::Applied
        );
    }

    async fn submit(&self, count: usize) -> Vec<Run> {
        let spec = self.spec("request");
        let mut all = Vec::new();
        for first in (0..count).step_by(self.batch) {
            let ids = self.mint.runs(self.now, self.batch.min(count - first));
            let batch: Vec<Submission> = ids
                .into_iter()
                .map(|id| Submission {
                    run: attempt::request(id, None, &spec, self.now),
                    spec: None,
                    key: None,
                })
                .collect();
            self.store.submit(somebody(), &batch).await.unwrap();
            all.extend(batch.into_iter().map(|s| s.run));
        }
        all
    }

    async fn claim_and_finish(
        &self,
        runs: &[Run],
        marks: &mut Vec<campanile_core::time::Monotonic>,
        clock: &SystemClock,
    ) {
        let mut claims = Vec::new();
        for batch in runs.chunks(self.batch) {
            let claim = Claim {
                node: self.node,
                id: self.mint.claim(),
                runs: batch.iter().map(|run| (run.id, run.attempt)).collect(),
            };
            let won = self.store.claim(&claim).await.unwrap();
            assert_eq!(won.len(), batch.len());
            claims.push(claim.id);
        }
        marks.push(clock.monotonic());
        for (batch, claim) in runs.chunks(self.batch).zip(claims) {
            let ends: Vec<Finish> = batch
                .iter()
                .map(|run| Finish {
                    run: run.id,
                    attempt: run.attempt,
                    claim,
                    end: End::Succeeded,
                    at: self.now,
                    error: None,
                    class: None,
                    log: None,
                    result: None,
                    limited: false,
                })
                .collect();
            let answers = self.store.finish(&ends).await.unwrap();
            assert!(answers.iter().all(|answer| answer.is_applied()));
        }
        marks.push(clock.monotonic());
    }
}
