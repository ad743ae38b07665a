//! Rests beside what was planned ahead of its instant, over the memory store: each instant keeps one answer.

use std::time::Duration;

use campanile_core::decide::attempt as transitions;
use campanile_core::decide::invariants;
use campanile_core::port::fire::Firing;
use campanile_core::run::{Reason, Run, State};
use campanile_core::task::Task;
use campanile_schedule::time::Timestamp;

use crate::control::{World, at, spec, world};

impl World {
    /// Fires these instants ahead, as a leader does; its due row stands at `next` then.
    async fn plan(&self, task: &Task, instants: &[Timestamp], next: Timestamp) {
        let offset = task.spec.jitter_offset();
        self.fire(|term| {
            let ids = self.mint.runs(instants[0], instants.len());
            let runs = ids.into_iter().zip(instants);
            let runs = runs.map(|(id, at)| transitions::occurrence(id, task, *at, term.epoch));
            Firing {
                consumed: vec![World::key(task, instants[0].plus(offset))],
                advanced: vec![World::key(task, next.plus(offset))],
                runs: runs.collect(),
                ..Firing::default()
            }
        })
        .await;
    }

    fn runs_of(&self, task: &Task) -> Vec<Run> {
        let mut runs = self.store.snapshot().runs;
        runs.retain(|run| run.task == Some(task.id));
        runs
    }

    fn hold(&self) {
        invariants::check(&self.store.snapshot()).unwrap();
    }
}

/// An instant that has come and waits for its jitter belongs to the schedule that it was planned by. A rest that takes it
/// back answers it at once: when the rest ends, the schedule is another.
#[tokio::test]
async fn a_rest_answers_what_had_come_by_a_schedule_that_is_no_more() {
    let w = world();
    let mut every = spec("e", "every 10s");
    every.jitter = Duration::from_secs(5);
    let task = w.put(&every).await;
    assert!(task.spec.jitter_offset() > Duration::from_millis(100));
    let come = at("12:00:10");
    w.plan(&task, &[come], at("12:00:20")).await;
    w.clock.advance(Duration::from_millis(10_050));
    every.schedule = Some("* * * * *".into());
    w.put(&every).await;
    assert_eq!(
        w.runs_of(&task).len(),
        1,
        "it has come, and stays as it was"
    );
    w.control.pause("e").await.unwrap();
    w.hold();
    let told = w.runs_of(&task);
    let states: Vec<_> = told.iter().map(|r| (r.due_at, r.state, r.reason)).collect();
    assert_eq!(states, [(come, State::Skipped, Reason::Paused)]);
    w.clock.advance(Duration::from_secs(60));
    w.control.resume("e").await.unwrap();
    let instants = [come, at("12:01:00")];
    invariants::no_gap(task.id, &instants, &w.runs_of(&task)).unwrap();
    assert_eq!(
        w.due(&task).await,
        Some(at("12:02:00").plus(task.spec.jitter_offset()))
    );
    w.hold();
}

/// What was cancelled ahead of its instant stays when the rest takes back what was planned before it, and that is planned
/// again if the rest ends in time.
#[tokio::test]
async fn what_was_cancelled_ahead_hides_nothing_before_it() {
    let w = world();
    let task = w.put(&spec("e", "every 1s")).await;
    let [first, second] = [at("12:00:01"), at("12:00:02")];
    w.plan(&task, &[first, second], at("12:00:03")).await;
    let cancelled = w
        .runs_of(&task)
        .into_iter()
        .find(|r| r.due_at == second)
        .unwrap();
    w.control.cancel(cancelled.id).await.unwrap();
    w.control.pause("e").await.unwrap();
    w.hold();
    w.clock.advance(Duration::from_millis(100));
    w.control.resume("e").await.unwrap();
    assert_eq!(w.due(&task).await, Some(first), "it has no row");
    w.hold();
}
