//! What the behaviours share: a term, a node, tasks and runs, made through the port alone.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use crate::somebody;
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::decide::edit::keys::{Key, Scope};
use campanile_core::decide::{attempt, occurrences};
use campanile_core::id::{ClaimId, Mint, NodeId, RunId, TaskId};
use campanile_core::port::Written;
use campanile_core::port::ask::{RunFilter, RunRecord};
use campanile_core::port::attempt::{Claim, Claimed, End, Finish};
use campanile_core::port::edit::{Cancel, Delete, Edit, Submission, Upsert};
use campanile_core::port::fire::{DueKey, Fired, Firing, OutboxEntry, Owner, ScanLimits};
use campanile_core::port::lead::{Bid, Term};
use campanile_core::port::member::Node;
use campanile_core::port::store::Store;
use campanile_core::run::{Reason, Run, RunSpec};
use campanile_core::system::Random;
use campanile_core::task::{QueueName, Task, TaskSpec};

pub(super) struct Fixture {
    pub(super) store: Arc<dyn Store>,
    pub(super) mint: Mint,
}

/// Seconds after the instant at which everything here begins: in the past by every store's clock.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_ms(1_790_000_000_000 + seconds * 1_000)
}

pub(super) fn spec(name: &str) -> TaskSpec {
    serde_json::from_value(serde_json::json!({
        "name": name, "schedule": "every 10s", "handler": {"native": "noop"},
    }))
    .unwrap()
}

pub(super) fn limits() -> ScanLimits {
    ScanLimits {
        default: 100,
        rooms: std::collections::HashMap::new(),
    }
}

impl Fixture {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            mint: Mint::new(Arc::new(Random::from_system())),
        }
    }

    pub(super) fn bid(&self, read_epoch: i64) -> Bid {
        Bid {
            read_epoch,
            term: Term {
                epoch: read_epoch + 1,
                holder: self.mint.holder(),
            },
            node: self.mint.node(),
            node_name: "node-1".to_owned(),
        }
    }

    /// Begins the next term.
    pub(super) async fn lead(&self) -> Term {
        let bid = self.bid(self.store.leader().await.unwrap().epoch);
        assert_eq!(self.store.begin_term(&bid).await.unwrap(), Written::Applied);
        bid.term
    }

    /// Adds a living node.
    pub(super) async fn node(&self) -> NodeId {
        let node = self.node_row();
        self.store.join(&node).await.unwrap();
        node.id
    }

    pub(super) fn node_row(&self) -> Node {
        Node {
            id: self.mint.node(),
            name: "node-1".to_owned(),
            roles: vec!["scheduler".to_owned(), "worker".to_owned()],
            queues: vec![QueueName::default(), QueueName::new("reports")],
            slots: 8,
            busy: 0,
            lease: Duration::from_secs(15),
            started_at: at(0),
            heartbeat_seq: 1,
            heartbeat_at: at(0),
            version: "0.1.0".to_owned(),
            abilities: None,
        }
    }

    /// The edit that makes a task with this next occurrence.
    pub(super) fn creation(&self, spec: TaskSpec, due: Option<Timestamp>) -> Upsert {
        let id = self.mint.task(at(0));
        let due = due.map(|at| DueKey {
            queue: spec.queue.clone(),
            at,
            owner: Owner::Task(id),
        });
        Upsert {
            id,
            expected: None,
            spec,
            paused_from: None,
            due: DueChange::Replace {
                seen: None,
                next: due,
            },
        }
    }

    pub(super) async fn edit(&self, upserts: Vec<Upsert>) -> Written {
        let edit = Edit {
            upserts,
            ..Edit::default()
        };
        self.store.edit(somebody(), &edit, at(0)).await.unwrap()
    }

    /// What deletes a task as it stands.
    pub(super) async fn deletion(&self, task: TaskId, version: i64) -> Delete {
        Delete {
            task,
            version,
            seen: self.store.next_due(task).await.unwrap(),
        }
    }

    /// Makes a task whose next occurrence is at `due`.
    pub(super) async fn task(&self, name: &str, due: Timestamp) -> Task {
        let upsert = self.creation(spec(name), Some(due));
        assert_eq!(self.edit(vec![upsert]).await, Written::Applied);
        self.named(name).await.expect("the task that was just made")
    }

    pub(super) async fn named(&self, name: &str) -> Option<Task> {
        self.store
            .tasks_by_name(&[name.to_owned()])
            .await
            .unwrap()
            .pop()
    }

    pub(super) fn task_key(task: &Task, at: Timestamp) -> DueKey {
        DueKey {
            queue: task.spec.queue.clone(),
            at,
            owner: Owner::Task(task.id),
        }
    }

    pub(super) fn run_key(run: &Run) -> DueKey {
        DueKey {
            queue: run.queue.clone(),
            at: run.ready_at,
            owner: Owner::Run(run.id),
        }
    }

    /// A firing of one occurrence of a task.
    pub(super) async fn firing(&self, term: &Term, task: &Task, due: Timestamp) -> Firing {
        let id = self.mint.runs(at(0), 1)[0];
        Firing {
            edits: self.edits().await,
            consumed: vec![Self::task_key(task, due)],
            advanced: vec![Self::task_key(task, due.plus(Duration::from_secs(10)))],
            runs: vec![attempt::occurrence(id, task, due, term.epoch)],
            outbox: Some(self.outbox_entry(&[(id, 1)])),
            epoch: term.epoch,
            ..Firing::default()
        }
    }

    pub(super) fn outbox_entry(&self, runs: &[(RunId, u32)]) -> OutboxEntry {
        OutboxEntry {
            id: self.mint.outbox(at(0)),
            runs: runs.to_vec(),
        }
    }

    /// An instant that is still to come, by the store's clock.
    pub(super) async fn tomorrow(&self) -> Timestamp {
        self.store
            .leader()
            .await
            .unwrap()
            .now
            .plus(Duration::from_secs(86_400))
    }

    pub(super) async fn edits(&self) -> i64 {
        self.store.leader().await.unwrap().edits
    }

    /// Fires one occurrence of a task.
    pub(super) async fn fire(&self, term: &Term, task: &Task, due: Timestamp) -> Run {
        let firing = self.firing(term, task, due).await;
        assert_eq!(
            self.store.fire(term, &firing).await.unwrap(),
            Fired::Applied
        );
        firing.runs[0].clone()
    }

    /// Records a skip of these instants.
    pub(super) async fn skip(&self, term: &Term, task: &Task, range: &occurrences::Skip) -> Run {
        let run = attempt::skip(self.mint.runs(at(0), 1)[0], task, range, term.epoch, at(1));
        let firing = Firing {
            edits: self.edits().await,
            skipped: vec![run.clone()],
            epoch: term.epoch,
            ..Firing::default()
        };
        assert_eq!(
            self.store.fire(term, &firing).await.unwrap(),
            Fired::Applied
        );
        run
    }

    /// Requests without a task, due at the beginning.
    pub(super) fn requests(&self, count: usize) -> Vec<Submission> {
        let ids = self.mint.runs(at(0), count);
        let submissions = ids.into_iter().map(|id| Submission {
            run: attempt::request(id, None, &spec("request"), at(0)),
            spec: None,
            key: None,
        });
        submissions.collect()
    }

    /// Submits requests and gives their rows.
    pub(super) async fn submit(&self, count: usize) -> Vec<Run> {
        let submissions = self.requests(count);
        let answers = self.store.submit(somebody(), &submissions).await.unwrap();
        assert!(answers.iter().all(|answer| answer.created));
        submissions.into_iter().map(|s| s.run).collect()
    }

    pub(super) async fn submit_with(&self, own: RunSpec) -> Run {
        let mut submissions = self.requests(1);
        submissions[0].spec = Some(own);
        self.store.submit(somebody(), &submissions).await.unwrap();
        submissions[0].run.clone()
    }

    pub(super) async fn claim(
        &self,
        node: NodeId,
        runs: &[(RunId, u32)],
    ) -> (ClaimId, Vec<Claimed>) {
        let claim = Claim {
            node,
            id: self.mint.claim(),
            runs: runs.to_vec(),
        };
        (claim.id, self.store.claim(&claim).await.unwrap())
    }

    /// A submitted run that a node has claimed.
    pub(super) async fn running(&self) -> (NodeId, ClaimId, Run) {
        let node = self.node().await;
        let run = self.submit(1).await.remove(0);
        let (claim, won) = self.claim(node, &[(run.id, 1)]).await;
        assert_eq!(won.len(), 1);
        (node, claim, self.row(run.id).await)
    }

    pub(super) async fn finish(&self, finish: Finish) -> Written {
        self.store.finish(&[finish]).await.unwrap()[0]
    }

    pub(super) async fn detail(&self, id: RunId) -> RunRecord {
        self.store
            .run(id)
            .await
            .unwrap()
            .expect("a run that exists")
    }

    pub(super) async fn row(&self, id: RunId) -> Run {
        self.detail(id).await.run
    }

    pub(super) async fn cancel(&self, id: RunId) -> Cancel {
        self.store.cancel(somebody(), id, at(2)).await.unwrap()
    }

    pub(super) async fn all_runs(&self) -> Vec<Run> {
        self.store
            .runs(&RunFilter::default(), None, 1_000)
            .await
            .unwrap()
    }

    /// The keys of all due rows up to an instant.
    pub(super) async fn due(&self, until: Timestamp) -> Vec<DueKey> {
        let scan = self.store.scan(until, &limits()).await.unwrap();
        let mut keys: Vec<DueKey> = scan.rows.into_iter().map(|row| row.key).collect();
        keys.sort();
        keys
    }
}

pub(super) fn end(run: &Run, claim: ClaimId, end: End) -> Finish {
    Finish {
        run: run.id,
        attempt: run.attempt,
        claim,
        end,
        at: at(2),
        error: None,
        class: None,
        log: None,
        result: None,
        limited: run.limited,
    }
}

pub(super) fn range(first: i64, last: i64, count: u64) -> occurrences::Skip {
    occurrences::Skip {
        first: at(first),
        last: at(last),
        count,
        reason: Reason::Misfire,
        moved_to: None,
    }
}

/// A key of runs with an HTTP handler of their own.
pub(super) fn key(text: &str) -> Key {
    Key {
        scope: Scope::Handler("http".to_owned()),
        text: text.to_owned(),
        content: None,
    }
}
