//! The hold of the cluster: nothing starts while it holds. And what is said of a task's pause.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use super::fixture::{Fixture, at, end, limits};
use crate::somebody;
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::decide::lead::hold::{Cause, Hold};
use campanile_core::port::Written;
use campanile_core::port::attempt::End;
use campanile_core::port::edit::{Edit, Upsert};
use campanile_core::port::fire::Fired;
use campanile_core::port::store::{Error, Store};
use campanile_core::task::Pause;

fn hold(until: Option<Timestamp>) -> Hold {
    Hold {
        cause: Cause::LostCommits,
        by: "ada".to_owned(),
        why: "restored".to_owned(),
        since: at(0),
        until,
    }
}

/// While a hold holds, no firing that was planned before it is taken, no claim wins, whoever joins when, and nothing is told
/// to wait still. What runs ends. Afterwards all of it goes on.
pub async fn a_held_cluster_starts_nothing(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(0)).await;
    let runs_already = f.fire(&term, &task, at(0)).await;
    let waits = f.fire(&term, &task, at(10)).await;
    let node = f.node().await;
    let (claim, won) = f.claim(node, &[(runs_already.id, 1)]).await;
    assert_eq!(won.len(), 1);
    let planned = f.firing(&term, &task, at(20)).await;
    let held = hold(None);
    f.store.hold(somebody(), Some(&held)).await.unwrap();
    assert_eq!(f.store.leader().await.unwrap().hold, Some(held.clone()));
    assert_eq!(f.store.fire(&term, &planned).await.unwrap(), Fired::Edited);
    let scan = f.store.scan(at(1_000), &limits()).await.unwrap();
    assert_eq!((scan.rows.len(), scan.hold), (0, Some(held)));
    let late = f.node().await;
    for node in [node, late] {
        assert!(f.claim(node, &[(waits.id, 1)]).await.1.is_empty());
    }
    let told = f.store.still_wait(&term, &[(waits.id, 1)]).await;
    assert!(matches!(told, Err(Error::Contended(_))), "{told:?}");
    let ended = f.finish(end(&runs_already, claim, End::Succeeded)).await;
    assert_eq!(ended, Written::Applied);
    f.store.hold(somebody(), None).await.unwrap();
    assert_eq!(f.store.leader().await.unwrap().hold, None);
    assert!(!f.due(at(1_000)).await.is_empty());
    let waiting = f.store.still_wait(&term, &[(waits.id, 1)]).await.unwrap();
    assert_eq!(waiting, Some(vec![waits.id]));
    assert_eq!(f.claim(late, &[(waits.id, 1)]).await.1.len(), 1);
    // What was planned while it was held rests on another edit counter.
    assert_eq!(f.store.fire(&term, &planned).await.unwrap(), Fired::Edited);
}

/// A hold ends at its end by the store's clock, by the present term alone, and only the one that was seen.
pub async fn a_hold_ends_under_the_term(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let (past, to_come) = (at(10), f.tomorrow().await);
    assert_eq!(f.store.end_hold(&term, past).await.unwrap(), Fired::Edited);
    f.store
        .hold(somebody(), Some(&hold(Some(to_come))))
        .await
        .unwrap();
    let early = f.store.end_hold(&term, to_come).await.unwrap();
    assert_eq!(early, Fired::Edited, "its end has not come");
    f.store
        .hold(somebody(), Some(&hold(Some(past))))
        .await
        .unwrap();
    let other = f.store.end_hold(&term, at(9)).await.unwrap();
    assert_eq!(other, Fired::Edited, "another was seen");
    let old = term;
    let term = f.lead().await;
    assert_eq!(f.store.end_hold(&old, past).await.unwrap(), Fired::Fenced);
    assert!(f.store.leader().await.unwrap().hold.is_some());
    assert_eq!(f.store.end_hold(&term, past).await.unwrap(), Fired::Applied);
    assert_eq!(f.store.leader().await.unwrap().hold, None);
}

/// What is said of a pause is kept with it and goes with it, whoever ends it; pauses whose end has come are told in the order
/// of their ends.
pub async fn a_pause_keeps_who_and_why(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let tasks = [f.task("a", at(0)).await, f.task("b", at(0)).await];
    let pause = |until| Pause {
        by: "ada".to_owned(),
        reason: Some("the disk is full".to_owned()),
        since: at(1),
        until,
    };
    let ends = [at(30), at(20)];
    for (task, end) in tasks.iter().zip(ends) {
        let mut spec = task.spec.clone();
        spec.paused = true;
        let edit = Edit {
            upserts: vec![Upsert {
                id: task.id,
                expected: Some(1),
                spec,
                paused_from: None,
                due: DueChange::Pause {
                    offset: Duration::ZERO,
                },
            }],
            pauses: vec![(task.id, pause(Some(end)))],
            ..Edit::default()
        };
        let written = f.store.edit(somebody(), &edit, at(1)).await.unwrap();
        assert_eq!(written, Written::Applied);
    }
    let ids = [tasks[0].id, tasks[1].id];
    let kept = f.store.pauses(&ids).await.unwrap();
    assert_eq!(kept[&ids[0]], pause(Some(ends[0])));
    let over = f.store.pauses_over(at(19), 10).await.unwrap();
    assert_eq!(over, [], "none has come");
    let over = f.store.pauses_over(at(30), 10).await.unwrap();
    assert_eq!(over, [(ids[1], ends[1]), (ids[0], ends[0])]);
    assert_eq!(f.store.pauses_over(at(30), 1).await.unwrap().len(), 1);
    // Another word about a pause takes the place of the first.
    let edit = Edit {
        pauses: vec![(ids[1], pause(None))],
        ..Edit::default()
    };
    let written = f.store.edit(somebody(), &edit, at(2)).await.unwrap();
    assert_eq!(written, Written::Applied);
    let over = f.store.pauses_over(at(30), 10).await.unwrap();
    assert_eq!(over, [(ids[0], ends[0])]);
    let resumed = Upsert {
        id: ids[0],
        expected: Some(2),
        spec: tasks[0].spec.clone(),
        paused_from: None,
        due: DueChange::Replace {
            seen: None,
            next: None,
        },
    };
    assert_eq!(f.edit(vec![resumed]).await, Written::Applied);
    let delete = f.deletion(ids[1], 2).await;
    let edit = Edit {
        deletes: vec![delete],
        ..Edit::default()
    };
    let written = f.store.edit(somebody(), &edit, at(3)).await.unwrap();
    assert_eq!(written, Written::Applied);
    assert!(f.store.pauses(&ids).await.unwrap().is_empty());
}
