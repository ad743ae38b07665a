//! Behaviours of start deadlines: who has not started by then never starts, at whatever attempt it waits; who has started
//! may try again.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use super::fixture::{Fixture, at, end};
use crate::somebody;
use campanile_core::decide::attempt as transitions;
use campanile_core::id::RunId;
use campanile_core::port::Written;
use campanile_core::port::attempt::{Aside, End, Spoiled, Thing};
use campanile_core::port::edit::Released;
use campanile_core::port::fire::{DueKey, Fired, Firing, Owner};
use campanile_core::port::store::Store;
use campanile_core::run::{Reason, Run, State};
use campanile_core::task::StartMode;

/// No run starts after its deadline; one that has started once may try again.
pub async fn nothing_starts_after_its_deadline(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let node = f.node().await;
    let mut submissions = f.requests(3);
    submissions[0].run.deadline_at = Some(at(1));
    submissions[1].run.deadline_at = Some(f.tomorrow().await);
    submissions[2].run.deadline_at = Some(f.tomorrow().await);
    f.store.submit(somebody(), &submissions).await.unwrap();
    // The timers of their deadlines, as a firing puts them.
    let (term, deadline) = (f.lead().await, submissions[2].run.deadline_at.unwrap());
    let timer = DueKey {
        at: deadline,
        ..Fixture::run_key(&submissions[2].run)
    };
    let firing = Firing {
        edits: f.edits().await,
        consumed: vec![Fixture::run_key(&submissions[2].run)],
        seen: vec![(submissions[2].run.id, 1)],
        advanced: vec![timer],
        epoch: term.epoch,
        ..Firing::default()
    };
    assert_eq!(f.store.fire(&term, &firing).await.unwrap(), Fired::Applied);
    let ids: Vec<RunId> = submissions.iter().map(|s| s.run.id).collect();
    let (claim, won) = f
        .claim(node, &[(ids[0], 1), (ids[1], 1), (ids[2], 1)])
        .await;
    let mut won: Vec<RunId> = won.into_iter().map(|c| c.run).collect();
    won.sort();
    assert_eq!(won, vec![ids[1], ids[2]]);
    assert_eq!(f.row(ids[0]).await.deadline_at, Some(at(1)));
    let again = End::Again {
        ready_at: at(2),
        why: Reason::Error,
    };
    let failed = f.row(ids[2]).await;
    let expected = transitions::finish(&failed, 1, claim, again, at(2), None).unwrap();
    assert_eq!(f.finish(end(&failed, claim, again)).await, Written::Applied);
    let row = f.row(ids[2]).await;
    let told = (row.deadline_at, row.started_at, row.attempt);
    assert_eq!(told, (None, expected.started_at, 2), "it was met");
    let timers = f.due(f.tomorrow().await).await;
    let mine = timers.iter().filter(|key| key.owner == Owner::Run(ids[2]));
    let mine: Vec<Timestamp> = mine.map(|key| key.at).collect();
    assert_eq!(mine, [at(2)], "and its timer is gone");
    assert_eq!(f.claim(node, &[(ids[2], 2)]).await.1.len(), 1);
}

/// A run that had been claimed when it was set aside has met its deadline: released, it may start after it. One that had
/// not is still bound by its own.
pub async fn a_deadline_that_was_met_is_no_more_after_a_release(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (term, node) = (f.lead().await, f.node().await);
    let deadline = f.tomorrow().await;
    let mut submissions = f.requests(2);
    for submission in &mut submissions {
        submission.run.deadline_at = Some(deadline);
    }
    f.store.submit(somebody(), &submissions).await.unwrap();
    let (claimed, waiting) = (submissions[0].run.id, submissions[1].run.id);
    assert_eq!(f.claim(node, &[(claimed, 1)]).await.1.len(), 1);
    for (run, kept) in [(claimed, None), (waiting, Some(deadline))] {
        let before = f.row(run).await;
        let entry = Aside {
            thing: Thing::Row(Spoiled::Run(run)),
            at: at(5),
            error: "not to be read".to_owned(),
        };
        let aside = f.store.set_aside_for(&term, &entry).await.unwrap();
        assert_eq!(aside, Written::Applied);
        let seen = f.store.quarantine(None, 10).await.unwrap().remove(0);
        let released = f
            .store
            .release(somebody(), seen.id, at(7), StartMode::default())
            .await
            .unwrap();
        assert_eq!(released, Released::Done);
        let row = f.row(run).await;
        let expected = transitions::wait_again(&before);
        let told = |r: &Run| (r.deadline_at, r.started_at, r.attempt, r.state);
        assert_eq!(told(&row), told(&expected));
        assert_eq!(row.deadline_at, kept);
    }
}

/// The deadline of a run that was given back before it started, or whose claim was abandoned, is its own as it was: its
/// timer is there, nobody starts it afterwards, and it ends skipped at whatever attempt it waits.
pub async fn a_deadline_binds_what_was_refused(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (term, node) = (f.lead().await, f.node().await);
    let ends = [
        End::Refused { ready_at: at(50) },
        End::Abandoned { ready_at: at(50) },
    ];
    let deadline = f.tomorrow().await;
    for (n, back) in ends.into_iter().enumerate() {
        let mut submissions = f.requests(2);
        let (soon, late) = (submissions[0].run.id, submissions[1].run.id);
        for submission in &mut submissions {
            submission.run.deadline_at = Some(deadline);
        }
        f.store.submit(somebody(), &submissions).await.unwrap();
        let (claim, won) = f.claim(node, &[(soon, 1), (late, 1)]).await;
        assert_eq!(won.len(), 2, "case {n}");
        let held = f.row(soon).await;
        let expected = transitions::finish(&held, 1, claim, back, at(2), None).unwrap();
        assert_eq!(f.finish(end(&held, claim, back)).await, Written::Applied);
        let row = f.row(soon).await;
        let told = |r: &Run| (r.deadline_at, r.started_at, r.ready_at, r.attempt);
        assert_eq!(told(&row), told(&expected));
        assert_eq!(told(&row), (Some(deadline), None, at(50), 2));
        assert!(f.due(at(50)).await.contains(&Fixture::run_key(&row)));
        // Refused for longer than it may wait: its timer is its deadline.
        let held = f.row(late).await;
        let after = deadline.plus(Duration::from_secs(60));
        let longer = End::Refused { ready_at: after };
        assert_eq!(f.finish(end(&held, claim, longer)).await, Written::Applied);
        let row = f.row(late).await;
        let timer = DueKey {
            at: deadline,
            ..Fixture::run_key(&row)
        };
        let due = f.due(deadline).await;
        assert!(due.contains(&timer), "{timer:?} of {due:?}");
        let drop_at = async |attempt: u32, consumed: Vec<DueKey>| {
            let firing = Firing {
                edits: f.edits().await,
                consumed,
                seen: vec![(late, attempt)],
                dropped: vec![(late, attempt, Reason::StartDeadline)],
                epoch: term.epoch,
                ..Firing::default()
            };
            let fired = f.store.fire(&term, &firing).await.unwrap();
            let row = f.row(late).await;
            (fired, row.state, row.reason)
        };
        // Planned at another attempt: it keeps its timer, which that firing would have consumed.
        let waits = (Fired::Edited, State::Scheduled, Reason::None);
        assert_eq!(drop_at(1, vec![timer.clone()]).await, waits);
        assert!(f.due(deadline).await.contains(&timer));
        let over = (Fired::Applied, State::Skipped, Reason::StartDeadline);
        assert_eq!(drop_at(2, vec![timer]).await, over);
    }
}
