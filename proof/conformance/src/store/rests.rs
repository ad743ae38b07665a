//! Rests and changes of instants beside what was planned ahead: taken back with all that hangs on it, and nothing else.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use super::fixture::{Fixture, at, spec};
use crate::somebody;
use campanile_core::decide::attempt;
use campanile_core::decide::edit::ahead::{DueChange, Unplan};
use campanile_core::decide::permits::{LimitKey, Permit};
use campanile_core::limits::TAKE_BACK_ROWS_MAX;
use campanile_core::port::Written;
use campanile_core::port::ask::TaskFilter;
use campanile_core::port::edit::{Edit, Submission, Submitted, Upsert};
use campanile_core::port::fire::{Fired, Firing};
use campanile_core::port::lead::Term;
use campanile_core::port::store::Store;
use campanile_core::run::{Run, State};
use campanile_core::task::Task;

/// Fires an occurrence ahead of its instant, as a leader does whose clock is the store's.
async fn plan(f: &Fixture, term: &Term, task: &Task, due: Timestamp) -> Run {
    let now = f.store.leader().await.unwrap().now;
    let id = f.mint.runs(now, 1)[0];
    let run = attempt::occurrence(id, task, due, term.epoch);
    let firing = Firing {
        runs: vec![run.clone()],
        outbox: Some(f.outbox_entry(&[(id, 1)])),
        ..f.firing(term, task, due).await
    };
    let fired = f.store.fire(term, &firing).await.unwrap();
    assert_eq!(fired, Fired::Applied);
    run
}

fn rest(task: &Task) -> Upsert {
    let mut spec = task.spec.clone();
    spec.paused = true;
    Upsert {
        id: task.id,
        expected: Some(task.version),
        spec,
        paused_from: None,
        due: DueChange::Pause {
            offset: task.spec.jitter_offset(),
        },
    }
}

/// A rest takes back what was planned ahead, with its timers and permits; and an instant that was taken back can be
/// planned again.
pub async fn a_rest_takes_back_what_is_planned(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let due = f.tomorrow().await;
    let task = f.task("t", due).await;
    let now = f.store.leader().await.unwrap().now;
    let id = f.mint.runs(now, 1)[0];
    let deadline = due.plus(Duration::from_secs(30));
    let run = Run {
        limited: true,
        deadline_at: Some(deadline),
        ..attempt::occurrence(id, &task, due, term.epoch)
    };
    let key = LimitKey::Group("g".to_owned());
    let firing = f.firing(&term, &task, due).await;
    let mut timer = Fixture::run_key(&run);
    timer.at = deadline;
    let planned = Firing {
        runs: vec![run.clone()],
        outbox: Some(f.outbox_entry(&[(id, 1)])),
        acquired: vec![Permit {
            key: key.clone(),
            n: 0,
            run: id,
        }],
        advanced: [firing.advanced.clone(), vec![timer]].concat(),
        ..firing
    };
    let fired = f.store.fire(&term, &planned).await.unwrap();
    assert_eq!(fired, Fired::Applied);
    assert_eq!(f.edit(vec![rest(&task)]).await, Written::Applied);
    assert_eq!(f.store.run(id).await.unwrap(), None);
    assert!(
        f.due(deadline.plus(Duration::from_secs(60)))
            .await
            .is_empty()
    );
    assert_eq!(f.store.waiting(&[(id, 1)]).await.unwrap(), []);
    let standings = f.store.standings(std::slice::from_ref(&key)).await.unwrap();
    assert!(standings.get(&key).is_none_or(|s| s.held.is_empty()));
    let rested = f.named("t").await.unwrap();
    assert_eq!(
        rested.paused_from,
        Some(due),
        "from the instant that was taken back"
    );
    let node = f.node().await;
    assert!(f.claim(node, &[(id, 1)]).await.1.is_empty());
    // The rest ends before the instant.
    let resumed = Upsert {
        spec: task.spec.clone(),
        expected: Some(rested.version),
        paused_from: None,
        due: DueChange::Replace {
            seen: None,
            next: Some(Fixture::task_key(&task, due)),
        },
        ..rest(&task)
    };
    assert_eq!(f.edit(vec![resumed]).await, Written::Applied);
    let again = plan(&f, &term, &task, due).await;
    assert_eq!(f.row(again.id).await.due_at, due);
}

/// What has come waits on, what people asked for too; a task of which nothing is planned rests from its due row on.
pub async fn a_rest_keeps_what_has_come_and_what_was_asked_for(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(10)).await;
    let come = f.fire(&term, &task, at(10)).await;
    let asked = Submission {
        run: attempt::request(
            f.mint.runs(at(0), 1)[0],
            Some(&task),
            &task.spec,
            f.tomorrow().await,
        ),
        spec: None,
        key: None,
    };
    let created = Submitted {
        run: asked.run.id,
        created: true,
        taken: false,
    };
    let answers = f
        .store
        .submit(somebody(), std::slice::from_ref(&asked))
        .await
        .unwrap();
    assert_eq!(answers, [created]);
    assert_eq!(f.edit(vec![rest(&task)]).await, Written::Applied);
    assert_eq!(f.row(come.id).await, come);
    assert_eq!(f.row(asked.run.id).await.state, State::Scheduled);
    assert_eq!(f.named("t").await.unwrap().paused_from, Some(at(20)));
    let node = f.node().await;
    assert_eq!(f.claim(node, &[(come.id, 1)]).await.1.len(), 1);
    let timers = f.due(asked.run.ready_at).await;
    assert_eq!(timers, [Fixture::run_key(&asked.run)]);
}

/// More tasks than one statement takes rest at once: of each, what was planned goes, and others' stays.
pub async fn many_tasks_rest_at_once(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let (due, now) = (f.tomorrow().await, f.store.leader().await.unwrap().now);
    let count = TAKE_BACK_ROWS_MAX + 20;
    let creations: Vec<Upsert> = (0..count)
        .map(|n| f.creation(spec(&format!("t{n:04}")), Some(due)))
        .collect();
    assert_eq!(f.edit(creations).await, Written::Applied);
    let tasks = f
        .store
        .tasks(&TaskFilter::default(), None, count)
        .await
        .unwrap()
        .tasks;
    let ids = f.mint.runs(now, count);
    let runs: Vec<Run> = tasks
        .iter()
        .zip(&ids)
        .map(|(task, id)| attempt::occurrence(*id, task, due, term.epoch))
        .collect();
    let next = due.plus(Duration::from_secs(10));
    let firing = Firing {
        edits: f.edits().await,
        consumed: tasks.iter().map(|t| Fixture::task_key(t, due)).collect(),
        advanced: tasks.iter().map(|t| Fixture::task_key(t, next)).collect(),
        runs,
        epoch: term.epoch,
        ..Firing::default()
    };
    let fired = f.store.fire(&term, &firing).await.unwrap();
    assert_eq!(fired, Fired::Applied);
    let (last, resting) = tasks.split_last().unwrap();
    let edit = resting.iter().map(rest).collect();
    assert_eq!(f.edit(edit).await, Written::Applied);
    let left = f.all_runs().await;
    let left: Vec<_> = left.iter().map(|run| (run.id, run.task)).collect();
    assert_eq!(left, [(*ids.last().unwrap(), Some(last.id))]);
    let rested = f
        .store
        .tasks(&TaskFilter::default(), None, count)
        .await
        .unwrap()
        .tasks;
    let from = |t: &&Task| t.paused_from == Some(due);
    assert_eq!(rested.iter().filter(from).count(), resting.len());
    assert_eq!(f.due(next).await, [Fixture::task_key(last, next)]);
}

/// An edit that changes a task's instants takes back what it saw planned; if that is not all, it is stale.
pub async fn a_change_takes_back_just_what_it_saw(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let due = f.tomorrow().await;
    let task = f.task("t", due).await;
    let run = plan(&f, &term, &task, due).await;
    let (seen, before) = (f.store.next_due(task.id).await.unwrap(), f.edits().await);
    let edit = |runs: Vec<_>| Edit {
        upserts: vec![Upsert {
            due: DueChange::Replace {
                seen,
                next: Some(Fixture::task_key(&task, due)),
            },
            spec: task.spec.clone(),
            ..rest(&task)
        }],
        unplans: vec![Unplan {
            task: task.id,
            offset: Duration::ZERO,
            runs,
        }],
        ..Edit::default()
    };
    let stale = f
        .store
        .edit(somebody(), &edit(Vec::new()), at(0))
        .await
        .unwrap();
    assert_eq!(stale, Written::Stale);
    assert_eq!(f.row(run.id).await, run, "nothing was done");
    assert_eq!(f.edits().await, before);
    let done = f
        .store
        .edit(somebody(), &edit(vec![run.id]), at(0))
        .await
        .unwrap();
    assert_eq!(done, Written::Applied);
    assert_eq!(f.store.run(run.id).await.unwrap(), None);
    assert_eq!(f.store.next_due(task.id).await.unwrap(), Some(due));
}

/// Which runs still wait is told under the term alone.
pub async fn what_still_waits_is_told_under_the_term(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(10)).await;
    let run = f.fire(&term, &task, at(10)).await;
    let ended = f.fire(&term, &task, at(20)).await;
    f.cancel(ended.id).await;
    let asked = [(run.id, 1), (run.id, 2), (ended.id, 1)];
    let waiting = f.store.still_wait(&term, &asked).await.unwrap();
    assert_eq!(waiting, Some(vec![run.id]));
    f.lead().await;
    assert_eq!(f.store.still_wait(&term, &asked).await.unwrap(), None);
}
