//! Behaviours of scanning and firing: how due rows become runs.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::fixture::{Fixture, at, end, limits, range, spec};
use crate::somebody;
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::id::RunId;
use campanile_core::port::Written;
use campanile_core::port::ask::{Former, RunFilter};
use campanile_core::port::attempt::End;
use campanile_core::port::edit::{Edit, Upsert};
use campanile_core::port::fire::{DueKey, Fired, Firing, Owner, ScanLimits};
use campanile_core::port::store::Store;
use campanile_core::run::{Reason, RunRules, RunSpec};
use campanile_core::task::QueueName;

/// A scan takes each queue's earliest rows, as many as it has room for, and none of the future.
pub async fn a_scan_takes_each_queues_earliest_rows(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    for (name, queue, due) in [
        ("a", "q1", 30),
        ("b", "q1", 10),
        ("c", "q1", 20),
        ("d", "q2", 40),
        ("e", "q3", 5),
    ] {
        let mut spec = spec(name);
        spec.queue = QueueName::new(queue);
        assert_eq!(
            f.edit(vec![f.creation(spec, Some(at(due)))]).await,
            Written::Applied
        );
    }
    let limits = ScanLimits {
        default: 2,
        rooms: HashMap::from([(QueueName::new("q3"), 0), (QueueName::new("q2"), 7)]),
    };
    let scan = f.store.scan(at(40), &limits).await.unwrap();
    assert_eq!(scan.edits, f.edits().await);
    let of = |queue: &str| {
        let rows = scan
            .rows
            .iter()
            .filter(|row| row.key.queue.as_str() == queue);
        rows.map(|row| row.key.at).collect::<Vec<_>>()
    };
    assert_eq!(
        (of("q1"), of("q2"), of("q3")),
        (vec![at(10), at(20)], vec![at(40)], vec![])
    );
    assert!(scan.rows.iter().all(|row| row.waiting.is_none()));
    assert_eq!(f.due(at(29)).await.len(), 3);
}

/// The timer of a run comes with the run and what it carries; the timer of a cancelled run comes without.
pub async fn a_scan_brings_the_runs_of_timers(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let own = RunSpec {
        handler: None,
        payload: Some(serde_json::json!({"a": 1})),
        rules: Some(RunRules {
            timeout: Some(Duration::from_secs(3)),
            ..RunRules::default()
        }),
    };
    let (with, cancelled) = (
        f.submit_with(own.clone()).await,
        f.submit(1).await.remove(0),
    );
    f.cancel(cancelled.id).await;
    let scan = f.store.scan(at(0), &limits()).await.unwrap();
    let found = |id| {
        scan.rows
            .iter()
            .find(|row| row.key.owner == Owner::Run(id))
            .unwrap()
    };
    let waiting = found(with.id).waiting.clone().unwrap();
    assert_eq!((waiting.run, waiting.spec), (with, Some(own)));
    assert_eq!(found(cancelled.id).waiting, None);
}

/// One firing consumes, advances, inserts and notes what is to be published.
pub async fn a_firing_is_one_transaction(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(10)).await;
    let firing = f.firing(&term, &task, at(10)).await;
    assert_eq!(f.store.fire(&term, &firing).await.unwrap(), Fired::Applied);
    assert_eq!(f.due(at(1_000)).await, firing.advanced);
    assert_eq!(f.store.next_due(task.id).await.unwrap(), Some(at(20)));
    assert_eq!(f.all_runs().await, firing.runs);
    let outbox = f.store.outbox(None, 10).await.unwrap();
    assert_eq!(outbox.len(), 1);
    assert_eq!(
        Some(outbox[0].id),
        firing.outbox.as_ref().map(|entry| entry.id)
    );
    assert_eq!(outbox[0].waiting[0].run, firing.runs[0]);
}

/// A due row is the right to fire: it is consumed once, and a firing that comes second leaves no trace.
pub async fn a_due_row_fires_once(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let (task, other) = (f.task("t", at(10)).await, f.task("u", at(10)).await);
    let mut second = f.firing(&term, &task, at(10)).await;
    second.consumed.push(Fixture::task_key(&other, at(10)));
    f.fire(&term, &task, at(10)).await;
    assert_eq!(f.store.fire(&term, &second).await.unwrap(), Fired::Edited);
    assert_eq!(f.all_runs().await.len(), 1);
    assert_eq!(f.store.outbox(None, 10).await.unwrap().len(), 1);
    assert_eq!(f.store.next_due(other.id).await.unwrap(), Some(at(10)));
}

/// Two terms that saw the same due row make one run of it.
pub async fn two_terms_fire_one_due_row_once(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let old = f.lead().await;
    let task = f.task("t", at(10)).await;
    let of_old = f.firing(&old, &task, at(10)).await;
    let new = f.lead().await;
    let of_new = f.firing(&new, &task, at(10)).await;
    let (first, second) =
        futures_util::join!(f.store.fire(&old, &of_old), f.store.fire(&new, &of_new));
    assert_eq!(
        (first.unwrap(), second.unwrap()),
        (Fired::Fenced, Fired::Applied)
    );
    assert_eq!(f.all_runs().await, of_new.runs);
}

/// Decisions that rest on tasks as they were are not carried out.
pub async fn a_firing_after_an_edit_is_refused(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(10)).await;
    let firing = f.firing(&term, &task, at(10)).await;
    f.task("u", at(50)).await;
    assert_eq!(f.store.fire(&term, &firing).await.unwrap(), Fired::Edited);
    assert!(f.all_runs().await.is_empty());
    f.fire(&term, &task, at(10)).await;
}

/// A run whose timer is consumed is stamped with the term that fired it.
pub async fn firing_a_timer_stamps_the_term(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let run = f.submit(1).await.remove(0);
    assert_eq!(run.epoch, 0);
    let firing = Firing {
        edits: f.edits().await,
        consumed: vec![Fixture::run_key(&run)],
        seen: vec![(run.id, 1)],
        outbox: Some(f.outbox_entry(&[(run.id, 1)])),
        epoch: term.epoch,
        ..Firing::default()
    };
    assert_eq!(f.store.fire(&term, &firing).await.unwrap(), Fired::Applied);
    assert_eq!(f.row(run.id).await.epoch, term.epoch);
    assert!(f.due(at(1_000)).await.is_empty());
}

/// A run that runs at the scan and waits again at the firing has a timer of its own, though it stands where one stood.
pub async fn a_timer_that_was_put_anew_is_not_consumed(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (term, node) = (f.lead().await, f.node().await);
    let mut submission = f.requests(1).remove(0);
    let deadline = f.tomorrow().await;
    submission.run.deadline_at = Some(deadline);
    let run = submission.run.clone();
    f.store.submit(somebody(), &[submission]).await.unwrap();
    let timer = DueKey {
        at: deadline,
        ..Fixture::run_key(&run)
    };
    let fire = async |consumed: DueKey, seen: Vec<(RunId, u32)>, advanced: Vec<DueKey>| {
        let firing = Firing {
            edits: f.edits().await,
            consumed: vec![consumed],
            seen,
            advanced,
            epoch: term.epoch,
            ..Firing::default()
        };
        f.store.fire(&term, &firing).await.unwrap()
    };
    let start = Fixture::run_key(&run);
    let started = fire(start, vec![(run.id, 1)], vec![timer.clone()]).await;
    assert_eq!(started, Fired::Applied);
    let (claim, won) = f.claim(node, &[(run.id, 1)]).await;
    assert_eq!(won.len(), 1);
    // Its worker can't do it: it is looked at again at its deadline, where its timer is already.
    let refused = End::Refused {
        ready_at: deadline.plus(Duration::from_secs(60)),
    };
    assert_eq!(f.finish(end(&run, claim, refused)).await, Written::Applied);
    for seen in [vec![], vec![(run.id, 1)]] {
        let fired = fire(timer.clone(), seen, vec![]).await;
        assert_eq!(fired, Fired::Edited);
        assert!(f.due(deadline).await.contains(&timer));
    }
    let fired = fire(timer.clone(), vec![(run.id, 2)], vec![]).await;
    assert_eq!(fired, Fired::Applied);
    assert!(!f.due(deadline).await.contains(&timer));
}

/// Skips go straight into history with their reason and their range, and an instant has one answer there.
pub async fn skips_are_recorded_once(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(10)).await;
    let skip = f.skip(&term, &task, &range(-50, -10, 5)).await;
    assert_eq!(f.row(skip.id).await, skip);
    f.skip(&term, &task, &range(-50, -50, 1)).await;
    assert_eq!(f.all_runs().await, vec![skip]);
}

/// A new leader finds what a former one may not have published: oldest first, without what was claimed or went on.
pub async fn the_outbox_brings_back_what_still_waits(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let node = f.node().await;
    let runs = f.submit(4).await;
    let mut entries = Vec::new();
    for pair in runs.chunks(2) {
        let entry = f.outbox_entry(&[(pair[0].id, 1), (pair[1].id, 1)]);
        let firing = Firing {
            edits: f.edits().await,
            consumed: pair.iter().map(Fixture::run_key).collect(),
            seen: pair.iter().map(|run| (run.id, 1)).collect(),
            outbox: Some(entry.clone()),
            epoch: term.epoch,
            ..Firing::default()
        };
        assert_eq!(f.store.fire(&term, &firing).await.unwrap(), Fired::Applied);
        entries.push(entry.id);
    }
    let (claim, _) = f.claim(node, &[(runs[0].id, 1)]).await;
    let again = End::Again {
        ready_at: at(5),
        why: Reason::None,
    };
    assert_eq!(
        f.finish(end(&runs[0], claim, again)).await,
        Written::Applied
    );
    let found = f.store.outbox(None, 10).await.unwrap();
    let ids: Vec<_> = found
        .iter()
        .map(|row| {
            (
                row.id,
                row.waiting.iter().map(|w| w.run.id).collect::<Vec<_>>(),
            )
        })
        .collect();
    assert_eq!(
        ids,
        [
            (entries[0], vec![runs[1].id]),
            (entries[1], vec![runs[2].id, runs[3].id])
        ]
    );
    assert_eq!(f.store.outbox(None, 1).await.unwrap().len(), 1);
    assert_eq!(
        f.store.outbox(Some(entries[0]), 10).await.unwrap()[0].id,
        entries[1]
    );
    assert_eq!(
        f.store
            .mark_sent(&term, &[], at(1), &entries[..1])
            .await
            .unwrap(),
        Written::Applied
    );
    assert_eq!(f.store.outbox(None, 10).await.unwrap().len(), 1);
}

/// A pause takes the due row away; a firing that rests on it is refused.
pub async fn a_paused_task_does_not_fire(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(10)).await;
    let mut firing = f.firing(&term, &task, at(10)).await;
    let mut paused = task.spec.clone();
    paused.paused = true;
    let pause = Upsert {
        id: task.id,
        expected: Some(task.version),
        spec: paused,
        paused_from: Some(at(10)),
        due: DueChange::Replace {
            seen: Some(at(10)),
            next: None,
        },
    };
    assert_eq!(f.edit(vec![pause]).await, Written::Applied);
    assert_eq!(f.store.next_due(task.id).await.unwrap(), None);
    assert_eq!(f.store.fire(&term, &firing).await.unwrap(), Fired::Edited);
    firing.edits = f.edits().await;
    assert_eq!(f.store.fire(&term, &firing).await.unwrap(), Fired::Edited);
    assert!(f.all_runs().await.is_empty());
    assert!(f.due(at(1_000)).await.is_empty());
}

/// A deleted task fires no more, its name is free, and its runs stay as they are.
pub async fn a_deleted_task_leaves_its_history(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(10)).await;
    let fired = f.fire(&term, &task, at(10)).await;
    let mut delete = f.deletion(task.id, task.version).await;
    let edit = Edit {
        deletes: vec![delete],
        ..Edit::default()
    };
    // Decided before the firing: what it fired was not known of.
    delete.seen = Some(at(10));
    let late = Edit {
        deletes: vec![delete],
        ..Edit::default()
    };
    assert_eq!(
        f.store.edit(somebody(), &late, at(11)).await.unwrap(),
        Written::Stale
    );
    assert_eq!(
        f.store.edit(somebody(), &edit, at(11)).await.unwrap(),
        Written::Applied
    );
    assert_eq!(f.named("t").await, None);
    let former = f.store.former_tasks("t", 10).await.unwrap();
    let told = |f: &Former| (f.task.id, f.task.spec.clone(), f.deleted_at);
    assert_eq!(
        former.iter().map(told).collect::<Vec<_>>(),
        [(task.id, task.spec.clone(), at(11))]
    );
    assert!(f.store.tasks_by_id(&[task.id]).await.unwrap().is_empty());
    assert_eq!(f.store.next_due(task.id).await.unwrap(), None);
    let filter = RunFilter {
        tasks: vec![task.id],
        ..RunFilter::default()
    };
    assert_eq!(
        f.store.runs(&filter, None, 10).await.unwrap(),
        std::slice::from_ref(&fired)
    );
    // The next start finds that its task is gone.
    let node = f.node().await;
    assert_eq!(f.claim(node, &[(fired.id, 1)]).await.1[0].task, None);
    let again = f.task("t", at(20)).await;
    assert_ne!(again.id, task.id);
    assert_eq!(
        f.store.edit(somebody(), &edit, at(13)).await.unwrap(),
        Written::Stale
    );
}
