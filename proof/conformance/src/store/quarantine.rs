//! Behaviours of what is set aside: nothing waits for it, people see it, and it goes on when it is released.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;

use super::fixture::{Fixture, at, end, key};
use crate::somebody;
use campanile_core::decide::invariants::{Snapshot, set_aside_is_idle};
use campanile_core::decide::permits::{LimitKey, Permit};
use campanile_core::id::RunId;
use campanile_core::port::Written;
use campanile_core::port::attempt::{Aside, Claim, End, Spoiled, Thing};
use campanile_core::port::edit::{Cancel, Moved, Released};
use campanile_core::port::fire::{DueKey, Firing, Owner};
use campanile_core::port::lead::Term;
use campanile_core::port::store::Store;
use campanile_core::run::{Reason, Run, State};
use campanile_core::task::StartMode;

fn aside(thing: Thing) -> Aside {
    Aside {
        thing,
        at: at(5),
        error: "constraint <b>failed</b>".to_owned(),
    }
}

impl Fixture {
    async fn put_aside(&self, term: Option<&Term>, entry: &Aside) -> Written {
        let answer = match term {
            Some(term) => self.store.set_aside_for(term, entry).await,
            None => self.store.set_aside(entry).await,
        };
        answer.unwrap()
    }

    async fn let_go(&self, id: i64) -> Released {
        self.store
            .release(somebody(), id, at(7), StartMode::default())
            .await
            .unwrap()
    }
}

/// An end that can't be recorded: its run is out of everybody's way, keeps nothing, and is seen; released, it ends so.
pub async fn an_end_is_set_aside_and_released(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    for (kind, state) in [
        (End::Succeeded, State::Succeeded),
        (End::Failed(Reason::Timeout), State::Failed),
        (End::Cancelled(Reason::Requested), State::Cancelled),
    ] {
        let (node, claim, run) = f.running().await;
        let thing = Thing::End(end(&run, claim, kind));
        let other = Thing::End(end(&run, f.mint.claim(), kind));
        assert_eq!(f.put_aside(None, &aside(other)).await, Written::Stale);
        let entry = aside(thing);
        assert_eq!(f.put_aside(None, &entry).await, Written::Applied);
        assert_eq!(f.put_aside(None, &entry).await, Written::Stale);
        // Nobody meets it again: no worker, no leader, no end, no cancel, no move.
        assert_eq!(f.row(run.id).await.state, State::Quarantined);
        assert!(f.claim(node, &[(run.id, 1)]).await.1.is_empty());
        assert_eq!(f.finish(end(&run, claim, kind)).await, Written::Stale);
        let here = f.store.running_on(Some(node), None, 10).await.unwrap();
        assert!(here.is_empty());
        assert_eq!(f.store.evict(&term, node).await.unwrap(), Written::Applied);
        assert!(f.store.running_on(None, None, 10).await.unwrap().is_empty());
        let ended = State::Quarantined;
        assert_eq!(f.cancel(run.id).await, Cancel::Ended(ended));
        assert_eq!(
            f.store.move_run(somebody(), run.id, at(9)).await.unwrap(),
            Moved::Ended(ended)
        );
        let seen = f.store.quarantine(None, 10).await.unwrap();
        assert_eq!(seen.len(), 1);
        let seen = &seen[0];
        assert_eq!((seen.run, seen.attempt, seen.task), (Some(run.id), 1, None));
        assert_eq!(
            (seen.at, seen.due_at, &seen.queue),
            (at(5), run.due_at, &run.queue)
        );
        assert_eq!(
            (seen.what.clone(), &seen.error),
            (entry.what(), &entry.error)
        );
        let after = f.store.quarantine(Some(seen.id), 10).await.unwrap();
        assert!(after.is_empty());
        assert_eq!(f.let_go(seen.id).await, Released::Done);
        let row = f.row(run.id).await;
        assert_eq!((row.state, row.claim), (state, Some(claim)));
        assert_eq!(f.let_go(seen.id).await, Released::Unknown);
    }
    assert!(f.store.quarantine(None, 10).await.unwrap().is_empty());
}

/// One that was to be tried again is tried again when it is released.
pub async fn a_retry_is_set_aside_and_released(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (_, claim, run) = f.running().await;
    let again = End::Again {
        ready_at: at(9),
        why: Reason::Error,
    };
    let entry = aside(Thing::End(end(&run, claim, again)));
    assert_eq!(f.store.set_aside(&entry).await.unwrap(), Written::Applied);
    let id = f.store.quarantine(None, 10).await.unwrap()[0].id;
    assert_eq!(
        f.store
            .release(somebody(), id, at(7), StartMode::default())
            .await
            .unwrap(),
        Released::Done
    );
    let row = f.row(run.id).await;
    assert_eq!(
        (row.state, row.attempt, row.failures),
        (State::Scheduled, 2, 1)
    );
    assert!(f.due(at(9)).await.contains(&Fixture::run_key(&row)));
}

/// A claim in doubt that can't be abandoned: it wins nothing, whether it has arrived, arrives later, or never does.
pub async fn an_abandonment_is_set_aside_and_released(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let node = f.node().await;
    let abandoned = End::Abandoned { ready_at: at(9) };
    for arrives_before in [true, false] {
        let run = f.submit(1).await.remove(0);
        let late = Claim {
            node,
            id: f.mint.claim(),
            runs: vec![(run.id, 1)],
        };
        let entry = aside(Thing::End(end(&run, late.id, abandoned)));
        let another = f.mint.claim();
        if arrives_before {
            assert_eq!(f.store.claim(&late).await.unwrap().len(), 1);
            let others = aside(Thing::End(end(&run, another, abandoned)));
            assert_eq!(f.store.set_aside(&others).await.unwrap(), Written::Stale);
        }
        assert_eq!(f.store.set_aside(&entry).await.unwrap(), Written::Applied);
        assert!(f.store.claim(&late).await.unwrap().is_empty());
        assert_eq!(f.row(run.id).await.state, State::Quarantined);
        let id = f.store.quarantine(None, 10).await.unwrap()[0].id;
        assert_eq!(
            f.store
                .release(somebody(), id, at(7), StartMode::default())
                .await
                .unwrap(),
            Released::Done
        );
        let row = f.row(run.id).await;
        assert_eq!(
            (row.state, row.attempt, row.failures, row.losses),
            (State::Scheduled, 2, 0, 0)
        );
        assert!(f.due(at(9)).await.contains(&Fixture::run_key(&row)));
        assert!(f.store.claim(&late).await.unwrap().is_empty());
    }
}

/// What is set aside gives its permits back, and whoever waits for one goes on.
pub async fn nothing_waits_for_what_is_set_aside(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(10)).await;
    let group = LimitKey::Group("g".to_owned());
    let mut firing = f.firing(&term, &task, at(10)).await;
    let run = firing.runs[0].id;
    let permit = Permit {
        key: group.clone(),
        n: 0,
        run,
    };
    firing.acquired = vec![permit.clone()];
    assert!(matches!(
        f.store.fire(&term, &firing).await,
        Ok(campanile_core::port::fire::Fired::Applied)
    ));
    let node = f.node().await;
    let (claim, _) = f.claim(node, &[(run, 1)]).await;
    let row = f.row(run).await;
    let entry = aside(Thing::End(end(&row, claim, End::Succeeded)));
    assert_eq!(f.store.set_aside(&entry).await.unwrap(), Written::Applied);
    let keys = [group.clone()];
    let held = f.store.standings(&keys).await.unwrap();
    assert!(
        held.get(&group)
            .is_none_or(|standing| standing.held.is_empty())
    );
    // The predicate sees one that kept its permit.
    let mut snapshot = Snapshot {
        runs: f.all_runs().await,
        ..Snapshot::default()
    };
    assert_eq!(set_aside_is_idle(&snapshot), Ok(()));
    snapshot.permits = vec![permit];
    assert!(set_aside_is_idle(&snapshot).is_err());
}

/// A listener has the message, and that can't be recorded: it is not sent again.
pub async fn a_hand_over_is_set_aside_and_released(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let run = f.submit(1).await.remove(0);
    let thing = Thing::HandedOver {
        run: run.id,
        attempt: 1,
    };
    let entry = aside(thing);
    assert_eq!(
        f.store.set_aside_for(&term, &entry).await.unwrap(),
        Written::Applied
    );
    assert!(f.store.waiting(&[(run.id, 1)]).await.unwrap().is_empty());
    let id = f.store.quarantine(None, 10).await.unwrap()[0].id;
    assert_eq!(
        f.store
            .release(somebody(), id, at(7), StartMode::default())
            .await
            .unwrap(),
        Released::Done
    );
    let row = f.row(run.id).await;
    assert_eq!(
        (row.state, row.reason),
        (State::Succeeded, Reason::HandedOver)
    );
}

/// A due row that can't be fired is taken away, and put back by its release; not over a task that goes on since.
pub async fn a_due_row_is_set_aside_and_released(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(10)).await;
    let of_task = Fixture::task_key(&task, at(10));
    let run = f.submit(1).await.remove(0);
    let of_run = Fixture::run_key(&run);
    let old = Term {
        epoch: term.epoch - 1,
        ..term.clone()
    };
    let of = |key: &DueKey| aside(Thing::Due(key.clone()));
    assert_eq!(f.put_aside(Some(&old), &of(&of_task)).await, Written::Stale);
    for key in [&of_task, &of_run] {
        assert_eq!(f.put_aside(Some(&term), &of(key)).await, Written::Applied);
        assert_eq!(f.put_aside(Some(&term), &of(key)).await, Written::Stale);
    }
    assert!(f.due(at(1_000)).await.is_empty());
    assert_eq!(f.store.next_due(task.id).await.unwrap(), None);
    assert_eq!(f.row(run.id).await.state, State::Quarantined);
    let seen = f.store.quarantine(None, 10).await.unwrap();
    let told: Vec<_> = seen.iter().map(|q| (q.task, q.run, q.due_at)).collect();
    assert_eq!(
        told,
        [(Some(task.id), None, at(10)), (None, Some(run.id), at(0))]
    );
    for entry in &seen {
        assert_eq!(f.let_go(entry.id).await, Released::Done);
    }
    assert_eq!(f.due(at(1_000)).await, {
        let mut keys = vec![of_task.clone(), of_run];
        keys.sort();
        keys
    });
    // At another attempt: its permits went back, and a message of before must not start it beside who has them now.
    let again = Run {
        attempt: 2,
        ..run.clone()
    };
    assert_eq!(f.row(run.id).await, again);
    let node = f.node().await;
    assert!(f.claim(node, &[(run.id, 1)]).await.1.is_empty());
    // Set aside again; then its task is given another instant.
    assert_eq!(
        f.put_aside(Some(&term), &of(&of_task)).await,
        Written::Applied
    );
    let firing = Firing {
        edits: f.edits().await,
        consumed: Vec::new(),
        advanced: vec![Fixture::task_key(&task, at(99))],
        epoch: term.epoch,
        ..Firing::default()
    };
    let _ = f.store.fire(&term, &firing).await.unwrap();
    let id = f.store.quarantine(None, 10).await.unwrap()[0].id;
    assert_eq!(f.let_go(id).await, Released::Superseded);
    assert_eq!(f.store.next_due(task.id).await.unwrap(), Some(at(99)));
    assert!(f.store.quarantine(None, 10).await.unwrap().is_empty());
    assert!(
        f.due(at(1_000))
            .await
            .iter()
            .any(|key| key.owner == Owner::Run(run.id))
    );
}

/// A run that can't be read goes aside whatever it does, a run that may not change while it waits; a task's row takes its
/// next occurrence along. Each is seen, nobody meets it, and it goes on when it is released.
pub async fn a_row_that_can_not_be_read_is_set_aside(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let (node, claim, running) = f.running().await;
    let waiting = f.submit(1).await.remove(0);
    let refused = f.submit(1).await.remove(0);
    let start = |run, attempt| Thing::Start { run, attempt };
    let spoiled = |run| Thing::Row(Spoiled::Run(run));
    // Whoever runs it could read it: a worker that can't leaves it alone.
    let entry = aside(spoiled(running.id));
    let written = f.store.set_aside(&entry).await.unwrap();
    assert_eq!(written, Written::Stale);
    assert_eq!(f.row(running.id).await, running);
    // What may not change is set aside where it waits, at the attempt that was seen.
    for (thing, expected) in [
        (start(refused.id, 2), Written::Stale),
        (start(running.id, 1), Written::Stale),
        (start(refused.id, 1), Written::Applied),
        (start(refused.id, 1), Written::Stale),
        (spoiled(waiting.id), Written::Applied),
        (spoiled(waiting.id), Written::Stale),
        (spoiled(running.id), Written::Applied),
        (spoiled(running.id), Written::Stale),
        (spoiled(RunId::from_i64(7)), Written::Stale),
    ] {
        let entry = aside(thing);
        let written = f.store.set_aside_for(&term, &entry).await.unwrap();
        assert_eq!(written, expected, "{entry:?}");
    }
    assert_eq!(
        f.finish(end(&running, claim, End::Succeeded)).await,
        Written::Stale
    );
    for run in [&waiting, &refused, &running] {
        assert_eq!(f.row(run.id).await.state, State::Quarantined);
        assert!(f.claim(node, &[(run.id, 1)]).await.1.is_empty());
    }
    let due = f.due(at(1_000)).await;
    assert!(!due.contains(&Fixture::run_key(&waiting)), "{due:?}");
    let seen = f.store.quarantine(None, 10).await.unwrap();
    assert_eq!(seen.len(), 3);
    for entry in seen {
        assert_eq!(
            f.store
                .release(somebody(), entry.id, at(7), StartMode::default())
                .await
                .unwrap(),
            Released::Done
        );
    }
    for run in [&waiting, &refused, &running] {
        let row = f.row(run.id).await;
        assert_eq!((row.state, row.attempt), (State::Scheduled, 2));
        assert!(f.due(at(1_000)).await.contains(&Fixture::run_key(&row)));
        assert_eq!(row.losses, u32::from(run.id == running.id));
    }
    // A task, by its row alone.
    let task = f.task("t", at(10)).await;
    let entry = aside(Thing::Row(Spoiled::Task(task.id)));
    for expected in [Written::Applied, Written::Stale] {
        let written = f.store.set_aside_for(&term, &entry).await.unwrap();
        assert_eq!(written, expected);
    }
    assert_eq!(f.store.next_due(task.id).await.unwrap(), None);
    let seen = f.store.quarantine(None, 10).await.unwrap();
    assert_eq!((seen[0].task, seen[0].run), (Some(task.id), None));
    f.store
        .release(somebody(), seen[0].id, at(7), StartMode::default())
        .await
        .unwrap();
    assert_eq!(f.store.next_due(task.id).await.unwrap(), Some(at(10)));
}

/// Of a run that was running when it went aside nobody knows how far it came: released, it was lost with its worker, and goes
/// on as its task allows.
pub async fn what_ran_when_it_went_aside_was_lost(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    for (mode, cancelled, expected) in [
        (
            StartMode::AtLeastOnce,
            false,
            (State::Scheduled, Reason::None),
        ),
        (StartMode::AtMostOnce, false, (State::Failed, Reason::Lost)),
        (
            StartMode::AtLeastOnce,
            true,
            (State::Cancelled, Reason::Requested),
        ),
    ] {
        let (node, claim, run) = f.running().await;
        if cancelled {
            assert_eq!(f.cancel(run.id).await, Cancel::Requested);
        }
        assert_eq!(f.store.evict(&term, node).await.unwrap(), Written::Applied);
        let entry = aside(Thing::Row(Spoiled::Run(run.id)));
        assert_eq!(f.put_aside(Some(&term), &entry).await, Written::Applied);
        let id = f.store.quarantine(None, 10).await.unwrap()[0].id;
        let released = f.store.release(somebody(), id, at(7), mode).await;
        assert_eq!(released.unwrap(), Released::Done);
        let row = f.row(run.id).await;
        assert_eq!((row.state, row.reason), expected);
        // The worker that was taken for dead writes nothing any more.
        let late = f.finish(end(&run, claim, End::Succeeded)).await;
        assert_eq!(late, Written::Stale);
        let waits = row.state == State::Scheduled;
        assert_eq!(
            (row.attempt, row.losses),
            if waits { (2, 1) } else { (1, row.losses) }
        );
        let due = f.due(at(1_000)).await;
        assert_eq!(due.contains(&Fixture::run_key(&row)), waits);
        assert!(f.store.quarantine(None, 10).await.unwrap().is_empty());
    }
}

/// A list of what is to be published that can't be read is dropped, and what waits gets its timer back.
pub async fn a_list_that_can_not_be_read_is_made_anew(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(10)).await;
    let firing = f.firing(&term, &task, at(10)).await;
    let _ = f.store.fire(&term, &firing).await.unwrap();
    let listed = f.store.outbox(None, 10).await.unwrap();
    let run = f.row(listed[0].waiting[0].run.id).await;
    assert!(!f.due(at(1_000)).await.contains(&Fixture::run_key(&run)));
    let entry = aside(Thing::Row(Spoiled::Outbox(listed[0].id)));
    for expected in [Written::Applied, Written::Stale] {
        let written = f.store.set_aside_for(&term, &entry).await.unwrap();
        assert_eq!(written, expected);
    }
    assert!(f.store.outbox(None, 10).await.unwrap().is_empty());
    assert!(f.due(at(1_000)).await.contains(&Fixture::run_key(&run)));
    assert_eq!(f.row(run.id).await, run);
    assert!(f.store.quarantine(None, 10).await.unwrap().is_empty());
}

/// What is dropped is gone, with its run and its key.
pub async fn what_is_dropped_is_gone(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let node = f.node().await;
    let mut request = f.requests(1).remove(0);
    request.key = Some(key("k"));
    f.store
        .submit(somebody(), std::slice::from_ref(&request))
        .await
        .unwrap();
    let (claim, _) = f.claim(node, &[(request.run.id, 1)]).await;
    let row = f.row(request.run.id).await;
    let entry = aside(Thing::End(end(&row, claim, End::Succeeded)));
    assert_eq!(f.store.set_aside(&entry).await.unwrap(), Written::Applied);
    let id = f.store.quarantine(None, 10).await.unwrap()[0].id;
    assert_eq!(
        f.store.drop_quarantined(somebody(), id).await.unwrap(),
        Written::Applied
    );
    assert_eq!(
        f.store.drop_quarantined(somebody(), id).await.unwrap(),
        Written::Stale
    );
    assert!(f.store.run(row.id).await.unwrap().is_none());
    assert!(f.store.runs_of_key("k", 1).await.unwrap().is_empty());
    assert!(f.store.quarantine(None, 10).await.unwrap().is_empty());
}
