//! Runs that wait their turn: of one backfill, or missed together and all to be run, of a task whose runs must not overlap.
//! They go on one after the other, in the order of their instants; the policy keeps its meaning for all others.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use super::fixture::{Fixture, at, end};
use super::policies::Leader;
use crate::somebody;
use campanile_core::decide::attempt;
use campanile_core::decide::fire::CatchUp;
use campanile_core::decide::invariants;
use campanile_core::id::{ClaimId, NodeId};
use campanile_core::port::attempt::End;
use campanile_core::port::edit::{Edit, Submission};
use campanile_core::port::store::Store;
use campanile_core::run::{Reason, Run, State};
use campanile_core::task::{Task, TaskSpec};

/// A leader and a worker that ends what it started before it takes more.
struct Stage {
    leader: Leader,
    catch_up: CatchUp,
    node: NodeId,
    task: Task,
    running: Option<(Run, ClaimId)>,
    now: Timestamp,
    started: Vec<Timestamp>,
}

impl Stage {
    async fn new(leader: Leader, overlap: &str, first: Timestamp) -> Self {
        let spec = serde_json::json!({
            "name": "t", "schedule": "every 5s", "anchor": first, "handler": {"native": "noop"},
            "misfire": "all", "overlap": overlap,
        });
        let spec: TaskSpec = serde_json::from_value(spec).unwrap();
        let upsert = leader.f.creation(spec, Some(first));
        assert!(leader.f.edit(vec![upsert]).await.is_applied());
        let task = leader.f.named("t").await.unwrap();
        Self {
            node: leader.f.node().await,
            task,
            leader,
            catch_up: CatchUp::new(100),
            running: None,
            now: first,
            started: Vec::new(),
        }
    }

    async fn tick(&mut self, now: Timestamp) {
        self.now = now;
        self.leader.tick(now, &mut self.catch_up).await;
    }

    async fn runs(&self) -> Vec<Run> {
        let mut runs = self.leader.runs(self.task.id).await;
        runs.sort_by_key(|run| (run.due_at, run.id));
        invariants::turns_are_kept(&runs).unwrap();
        runs
    }

    /// Claims what may start: one, or none.
    async fn start(&mut self) -> Option<Timestamp> {
        let waiting = self.runs().await;
        let waiting = waiting.iter().filter(|r| r.state == State::Scheduled);
        let offers: Vec<_> = waiting.map(|r| (r.id, r.attempt)).collect();
        let (claim, won) = self.leader.f.claim(self.node, &offers).await;
        let busy = usize::from(self.running.is_some());
        assert!(won.len() + busy <= 1, "one at a time");
        let run = self.leader.f.row(won.first()?.run).await;
        self.started.push(run.due_at);
        self.running = Some((run, claim));
        self.started.last().copied()
    }

    async fn finish(&mut self) {
        if let Some((run, claim)) = self.running.take() {
            let ended = self.leader.f.finish(end(&run, claim, End::Succeeded)).await;
            assert!(ended.is_applied());
        }
    }

    /// Lets all that waits run, one after the other.
    async fn drain(&mut self) {
        loop {
            self.finish().await;
            self.tick(self.now.plus(Duration::from_millis(1))).await;
            if self.start().await.is_none() {
                return;
            }
        }
    }

    async fn backfill(&self, instants: &[Timestamp]) {
        let ids = self.leader.f.mint.runs(self.now, instants.len());
        let one = |(instant, id): (&Timestamp, _)| Submission {
            run: attempt::backfill(id, &self.task, *instant, self.now),
            spec: None,
            key: None,
        };
        let submissions: Vec<_> = instants.iter().zip(ids).map(one).collect();
        let answers = self
            .leader
            .f
            .store
            .submit(somebody(), &submissions)
            .await
            .unwrap();
        assert!(answers.iter().all(|a| a.created));
    }

    async fn reason_of(&self, instant: Timestamp) -> (State, Reason) {
        let runs = self.runs().await;
        let run = runs.iter().rev().find(|r| r.due_at == instant).unwrap();
        (run.state, run.reason)
    }

    /// The task goes, so that the next one may have its name.
    async fn close(self) -> Leader {
        let f = &self.leader.f;
        let edit = Edit {
            deletes: vec![f.deletion(self.task.id, self.task.version).await],
            ..Edit::default()
        };
        let gone = f.store.edit(somebody(), &edit, self.now).await.unwrap();
        assert!(gone.is_applied());
        self.leader
    }
}

fn seconds(from: i64, count: i64) -> Vec<Timestamp> {
    (0..count).map(|n| at(from + 5 * n)).collect()
}

/// After an outage all that was missed runs, one after the other and in order; behind it the policy is what it was.
pub async fn all_that_was_missed_runs_in_turn(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let mut leader = Leader { f, term };
    for overlap in ["skip", "replace", "queue"] {
        let mut stage = Stage::new(leader, overlap, at(5)).await;
        stage.tick(at(39)).await;
        assert_eq!(stage.start().await, Some(at(5)), "{overlap}");
        stage.drain().await;
        assert_eq!(stage.started, seconds(5, 7), "{overlap}");
        // The next one is on time, and alone.
        stage.tick(at(40)).await;
        assert_eq!(stage.start().await, Some(at(40)), "{overlap}");
        stage.tick(at(45)).await;
        let next = match overlap {
            "skip" => (State::Skipped, Reason::Overlap),
            _ => (State::Scheduled, Reason::None),
        };
        assert_eq!(stage.reason_of(at(45)).await, next, "{overlap}");
        let (running, _) = stage.running.clone().unwrap();
        let told = stage.leader.f.row(running.id).await.cancel.is_some();
        assert_eq!(told, overlap == "replace");
        stage.drain().await;
        leader = stage.close().await;
    }
}

/// The runs of one backfill wait for each other and for a scheduled run that is active; a scheduled one that falls due
/// meanwhile takes nobody's place.
pub async fn the_runs_of_a_backfill_run_in_turn(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let mut leader = Leader { f, term };
    for overlap in ["skip", "replace"] {
        let mut stage = Stage::new(leader, overlap, at(100)).await;
        stage.tick(at(100)).await;
        assert_eq!(stage.start().await, Some(at(100)), "{overlap}");
        stage.backfill(&seconds(0, 3)).await;
        stage.tick(at(101)).await;
        assert_eq!(stage.start().await, None, "it waits for the scheduled one");
        stage.finish().await;
        stage.tick(at(102)).await;
        assert_eq!(stage.start().await, Some(at(0)), "{overlap}");
        // Two instants of the schedule while a run of the backfill runs.
        stage.tick(at(105)).await;
        stage.tick(at(110)).await;
        let (held, _) = stage.running.clone().unwrap();
        assert_eq!(stage.leader.f.row(held.id).await.cancel, None, "{overlap}");
        let (first, second) = (
            stage.reason_of(at(105)).await,
            stage.reason_of(at(110)).await,
        );
        let rest = match overlap {
            "skip" => {
                assert_eq!(first, (State::Skipped, Reason::Overlap));
                assert_eq!(second, (State::Skipped, Reason::Overlap));
                vec![at(5), at(10)]
            }
            _ => {
                assert_eq!(first, (State::Skipped, Reason::Replaced));
                assert_eq!(second, (State::Scheduled, Reason::None));
                // On time goes before what is made up for.
                vec![at(110), at(5), at(10)]
            }
        };
        stage.drain().await;
        let started = [vec![at(100), at(0)], rest].concat();
        assert_eq!(stage.started, started, "{overlap}");
        leader = stage.close().await;
    }
}
