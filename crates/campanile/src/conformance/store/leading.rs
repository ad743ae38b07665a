//! Behaviours of the leader's part of the port.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::collections::HashMap;
use std::sync::Arc;

use super::fixture::{Fixture, at, end, limits, range, spec};
use crate::port::Written;
use crate::port::store::Store;
use crate::protocol::run;
use crate::protocol::work::{
    DueChange, Edit, End, Fired, Firing, Owner, RunFilter, ScanLimits, Term, Upsert,
};
use crate::run::{Reason, RunSpec, State};
use crate::task::QueueName;

/// A term begins only on the epoch that was read, and the row says who holds it.
pub async fn a_term_begins_on_the_epoch_that_was_read(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let before = f.store.leader().await.unwrap();
    assert_eq!(
        (before.epoch, before.holder, before.resign_epoch),
        (0, None, 0)
    );
    let bid = f.bid(0);
    assert_eq!(f.store.begin_term(&bid).await.unwrap(), Written::Applied);
    assert_eq!(f.store.begin_term(&f.bid(0)).await.unwrap(), Written::Stale);
    let row = f.store.leader().await.unwrap();
    assert_eq!((row.epoch, row.holder), (1, Some(bid.term.holder)));
    assert_eq!(
        (row.node, row.node_name.as_str()),
        (Some(bid.node), "node-1")
    );
    assert!(row.since.is_some_and(|since| since <= row.now));
}

/// Of many bids for one epoch, one wins.
pub async fn of_many_bids_one_begins(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let bids: Vec<_> = (0..8).map(|_| f.bid(0)).collect();
    let answers =
        futures_util::future::join_all(bids.iter().map(|bid| f.store.begin_term(bid))).await;
    let won: Vec<usize> = (0..8)
        .filter(|i| answers[*i].as_ref().unwrap().is_applied())
        .collect();
    assert_eq!(won.len(), 1);
    let row = f.store.leader().await.unwrap();
    assert_eq!(row.holder.as_ref(), Some(&bids[won[0]].term.holder));
}

/// A request to resign reaches the term it names, and only it; the next term starts without one.
pub async fn a_request_to_resign_is_for_one_term(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    assert_eq!(
        f.store.request_resign(term.epoch + 1).await.unwrap(),
        Written::Stale
    );
    assert_eq!(
        f.store.request_resign(term.epoch).await.unwrap(),
        Written::Applied
    );
    assert_eq!(f.store.leader().await.unwrap().resign_epoch, term.epoch);
    assert_eq!(
        f.store.scan(at(0), &limits()).await.unwrap().resign_epoch,
        term.epoch
    );
    f.lead().await;
    assert_eq!(f.store.leader().await.unwrap().resign_epoch, 0);
}

/// Nothing of a term is written once another began.
pub async fn every_write_of_an_old_term_is_refused(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let old = f.lead().await;
    let task = f.task("t", at(10)).await;
    let (node, claim, running) = f.running().await;
    let waiting = f.submit(1).await.remove(0);
    let firing = f.firing(&old, &task, at(10)).await;
    let new = f.lead().await;
    let same_epoch = Term {
        epoch: new.epoch,
        holder: old.holder.clone(),
    };
    for term in [&old, &same_epoch] {
        assert_eq!(f.store.fire(term, &firing).await.unwrap(), Fired::Fenced);
        let runs = [(waiting.id, 1)];
        assert_eq!(
            f.store.mark_sent(term, &runs, at(1), &[]).await.unwrap(),
            Written::Stale
        );
        assert_eq!(
            f.store.hand_over(term, &runs, at(1)).await.unwrap(),
            Written::Stale
        );
        assert_eq!(f.store.bury(term, node).await.unwrap(), Written::Stale);
        let ends = [end(&running, claim, End::Failed(Reason::Lost))];
        assert_eq!(f.store.finish_lost(term, &ends).await.unwrap(), None);
        assert_eq!(f.store.prune(term, at(1_000_000), 10).await.unwrap(), None);
    }
    assert_eq!(f.row(waiting.id).await, waiting);
    assert_eq!(f.row(running.id).await, running);
    assert_eq!(f.store.nodes().await.unwrap().len(), 1);
    assert!(f.store.outbox(None, 10).await.unwrap().is_empty());
    assert_eq!(f.store.next_due(task.id).await.unwrap(), Some(at(10)));
}

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
        outbox: Some(f.outbox_entry(&[(run.id, 1)])),
        epoch: term.epoch,
        ..Firing::default()
    };
    assert_eq!(f.store.fire(&term, &firing).await.unwrap(), Fired::Applied);
    assert_eq!(f.row(run.id).await.epoch, term.epoch);
    assert!(f.due(at(1_000)).await.is_empty());
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

/// Which runs wait is told by id and attempt.
pub async fn waiting_is_told_by_attempt(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let node = f.node().await;
    let runs = f.submit(3).await;
    f.claim(node, &[(runs[0].id, 1)]).await;
    let asked: Vec<_> = runs.iter().map(|run| (run.id, 1)).collect();
    let mut found = f.store.waiting(&asked).await.unwrap();
    found.sort();
    assert_eq!(found, [runs[1].id, runs[2].id]);
    assert!(
        f.store
            .waiting(&[(runs[1].id, 2)])
            .await
            .unwrap()
            .is_empty()
    );
    assert!(f.store.waiting(&[]).await.unwrap().is_empty());
}

/// Marking as queued never touches a run that was claimed meanwhile, nor another attempt.
pub async fn marking_leaves_claimed_runs_alone(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let (_, _, running) = f.running().await;
    let runs = f.submit(2).await;
    let sent = [(running.id, 1), (runs[0].id, 1), (runs[1].id, 2)];
    assert_eq!(
        f.store.mark_sent(&term, &sent, at(3), &[]).await.unwrap(),
        Written::Applied
    );
    assert_eq!(f.row(running.id).await, running);
    assert_eq!(
        Some(f.row(runs[0].id).await),
        run::mark_queued(&runs[0], 1, at(3))
    );
    assert_eq!(f.row(runs[1].id).await, runs[1]);
    let node = f.node().await;
    assert_eq!(f.claim(node, &[(runs[0].id, 1)]).await.1.len(), 1);
}

/// A hand-over ends what still waits and leaves what is elsewhere.
pub async fn a_hand_over_ends_waiting_runs(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let (_, _, running) = f.running().await;
    let runs = f.submit(2).await;
    let given = [(running.id, 1), (runs[0].id, 1), (runs[1].id, 2)];
    assert_eq!(
        f.store.hand_over(&term, &given, at(3)).await.unwrap(),
        Written::Applied
    );
    assert_eq!(
        Some(f.row(runs[0].id).await),
        run::hand_over(&runs[0], 1, at(3))
    );
    assert_eq!(f.row(running.id).await, running);
    assert_eq!(f.row(runs[1].id).await, runs[1]);
}

/// Running runs are found by node, page by page, and those of nobody who lives.
pub async fn running_runs_are_found_by_node(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let (dead, living) = (f.node().await, f.node().await);
    let runs = f.submit(4).await;
    let pairs: Vec<_> = runs.iter().map(|run| (run.id, 1)).collect();
    f.claim(dead, &pairs[..3]).await;
    f.claim(living, &pairs[3..]).await;
    let ids = |runs: Vec<crate::run::Run>| runs.into_iter().map(|run| run.id).collect::<Vec<_>>();
    let page = ids(f.store.running_on(Some(dead), None, 2).await.unwrap());
    assert_eq!(page, [runs[0].id, runs[1].id]);
    assert_eq!(
        ids(f
            .store
            .running_on(Some(dead), Some(page[1]), 2)
            .await
            .unwrap()),
        [runs[2].id]
    );
    assert!(f.store.running_on(None, None, 10).await.unwrap().is_empty());
    assert_eq!(f.store.bury(&term, dead).await.unwrap(), Written::Applied);
    let orphans = f.store.running_on(None, None, 10).await.unwrap();
    assert_eq!(ids(orphans), [runs[0].id, runs[1].id, runs[2].id]);
}

/// A buried node wins nothing and learns that it is unknown.
pub async fn a_buried_node_wins_nothing(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let node = f.node().await;
    let run = f.submit(1).await.remove(0);
    assert_eq!(f.store.bury(&term, node).await.unwrap(), Written::Applied);
    assert!(f.claim(node, &[(run.id, 1)]).await.1.is_empty());
    assert!(!f.store.beat(node, 0, &[]).await.unwrap().known);
    assert_eq!(f.row(run.id).await, run);
}

/// The leader ends what a dead node ran: back to wait with one loss more, or for good; a finish that was quicker stands.
pub async fn lost_runs_are_ended_by_the_leader(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let node = f.node().await;
    let runs = f.submit(3).await;
    let pairs: Vec<_> = runs.iter().map(|run| (run.id, 1)).collect();
    let (claim, _) = f.claim(node, &pairs).await;
    assert_eq!(
        f.finish(end(&runs[2], claim, End::Succeeded)).await,
        Written::Applied
    );
    let again = End::Again {
        ready_at: at(3),
        why: Reason::Lost,
    };
    let ends = [
        end(&runs[0], claim, again),
        end(&runs[1], claim, End::Failed(Reason::Lost)),
        end(&runs[2], claim, again),
    ];
    let answers = f.store.finish_lost(&term, &ends).await.unwrap().unwrap();
    assert_eq!(
        answers,
        [Written::Applied, Written::Applied, Written::Stale]
    );
    let requeued = f.row(runs[0].id).await;
    assert_eq!(
        (
            requeued.state,
            requeued.attempt,
            requeued.losses,
            requeued.failures
        ),
        (State::Scheduled, 2, 1, 0)
    );
    let failed = f.row(runs[1].id).await;
    assert_eq!(
        (failed.state, failed.reason, failed.losses),
        (State::Failed, Reason::Lost, 1)
    );
    assert_eq!(f.row(runs[2].id).await.state, State::Succeeded);
    assert_eq!(f.detail(runs[0].id).await.attempts[0].reason, Reason::Lost);
}

/// Pruning removes what ended before the instant, oldest first, up to its limit, with all that hangs on it.
pub async fn pruning_removes_old_history(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let (_, claim, running) = f.running().await;
    let live = f.submit(1).await.remove(0);
    let mut keyed = f.requests(3);
    for (n, submission) in keyed.iter_mut().enumerate() {
        submission.idempotency_key = Some(format!("key-{n}"));
        submission.spec = Some(RunSpec::default());
    }
    f.store.submit(&keyed).await.unwrap();
    for submission in &keyed[..2] {
        f.cancel(submission.run.id).await;
    }
    let mut failed = end(&running, claim, End::Failed(Reason::Error));
    failed.log = Some("a line".to_owned());
    assert_eq!(f.finish(failed).await, Written::Applied);
    assert_eq!(f.store.prune(&term, at(2), 10).await.unwrap(), Some(0));
    assert_eq!(f.store.prune(&term, at(3), 2).await.unwrap(), Some(2));
    assert_eq!(f.store.prune(&term, at(3), 10).await.unwrap(), Some(1));
    assert!(f.store.run(running.id).await.unwrap().is_none());
    assert!(f.store.logs(running.id).await.unwrap().is_empty());
    let left: Vec<_> = f.all_runs().await.into_iter().map(|run| run.id).collect();
    assert_eq!(left, [keyed[2].run.id, live.id]);
    // The key of a pruned run is free, that of a live one is not.
    let mut fresh = f.requests(2);
    fresh[0].idempotency_key = Some("key-0".to_owned());
    fresh[1].idempotency_key = Some("key-2".to_owned());
    let answers = f.store.submit(&fresh).await.unwrap();
    assert_eq!(
        answers.iter().map(|a| a.created).collect::<Vec<_>>(),
        [true, false]
    );
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
        due: DueChange::Replace(None),
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
    let edit = Edit {
        upserts: Vec::new(),
        deletes: vec![(task.id, task.version)],
    };
    assert_eq!(f.store.edit(&edit, at(11)).await.unwrap(), Written::Applied);
    assert_eq!(f.named("t").await, None);
    assert!(f.store.tasks_by_id(&[task.id]).await.unwrap().is_empty());
    assert_eq!(f.store.next_due(task.id).await.unwrap(), None);
    let filter = RunFilter {
        task: Some(task.id),
        ..RunFilter::default()
    };
    assert_eq!(
        f.store.runs(&filter, None, 10).await.unwrap(),
        [fired.clone()]
    );
    // The next start finds that its task is gone.
    let node = f.node().await;
    assert_eq!(f.claim(node, &[(fired.id, 1)]).await.1[0].task, None);
    let again = f.task("t", at(20)).await;
    assert_ne!(again.id, task.id);
    assert_eq!(f.store.edit(&edit, at(13)).await.unwrap(), Written::Stale);
}
