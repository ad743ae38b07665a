//! Behaviours of the leader's part of the port.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;

use super::fixture::{Fixture, at, end, key, limits};
use crate::somebody;
use campanile_core::decide::attempt;
use campanile_core::port::Written;
use campanile_core::port::attempt::{Chunks, End};
use campanile_core::port::fire::Fired;
use campanile_core::port::lead::Term;
use campanile_core::port::store::Store;
use campanile_core::run::{Reason, RunSpec, State};

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
        f.store
            .request_resign(somebody(), term.epoch + 1)
            .await
            .unwrap(),
        Written::Stale
    );
    assert_eq!(
        f.store
            .request_resign(somebody(), term.epoch)
            .await
            .unwrap(),
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
        assert_eq!(f.store.evict(term, node).await.unwrap(), Written::Stale);
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
        attempt::mark_queued(&runs[0], 1, at(3))
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
        attempt::hand_over(&runs[0], 1, at(3))
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
    let ids = |runs: Vec<campanile_core::run::Run>| {
        runs.into_iter().map(|run| run.id).collect::<Vec<_>>()
    };
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
    assert_eq!(f.store.evict(&term, dead).await.unwrap(), Written::Applied);
    let orphans = f.store.running_on(None, None, 10).await.unwrap();
    assert_eq!(ids(orphans), [runs[0].id, runs[1].id, runs[2].id]);
}

/// An evicted node wins nothing and learns that it is unknown.
pub async fn an_evicted_node_wins_nothing(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let node = f.node().await;
    let run = f.submit(1).await.remove(0);
    assert_eq!(f.store.evict(&term, node).await.unwrap(), Written::Applied);
    assert!(f.claim(node, &[(run.id, 1)]).await.1.is_empty());
    assert!(!f.store.heartbeat(node, 0, &[]).await.unwrap().known);
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
        submission.key = Some(key(&format!("key-{n}")));
        submission.spec = Some(RunSpec::default());
    }
    f.store.submit(somebody(), &keyed).await.unwrap();
    for submission in &keyed[..2] {
        f.cancel(submission.run.id).await;
    }
    let mut failed = end(&running, claim, End::Failed(Reason::Error));
    failed.log = Some(Chunks::of("a line"));
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
    fresh[0].key = Some(key("key-0"));
    fresh[1].key = Some(key("key-2"));
    let answers = f.store.submit(somebody(), &fresh).await.unwrap();
    assert_eq!(
        answers.iter().map(|a| a.created).collect::<Vec<_>>(),
        [true, false]
    );
}
