//! Behaviours of routing: what a node announces is kept, a refused attempt costs its run nothing, and what nobody can
//! carry out waits until it is let go.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fixture::{Fixture, at, end};
use campanile_core::decide::permits::{Blocked, LimitKey, Permit};
use campanile_core::decide::publish::routing::Abilities;
use campanile_core::port::Written;
use campanile_core::port::attempt::{Claim, End};
use campanile_core::port::fire::Fired;
use campanile_core::port::lead::Term;
use campanile_core::port::store::Store;
use campanile_core::run::{Reason, Run, State};
use campanile_core::task::{Class, QueueName, Task};

fn abilities() -> Abilities {
    let native = ["close.books", "send"].map(str::to_owned);
    Abilities::announce(native, true, Some(vec!["/usr/bin/df".to_owned()]))
}

/// What a node can carry out is kept as it says it, also when it says it again; who says nothing has said nothing.
pub async fn what_a_node_announces_is_kept(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let silent = f.node().await;
    let mut row = f.node_row();
    row.abilities = Some(abilities());
    f.store.join(&row).await.unwrap();
    let of = async |id| {
        let nodes = f.store.nodes().await.unwrap();
        nodes.into_iter().find(|n| n.id == id).unwrap().abilities
    };
    assert_eq!(of(row.id).await, Some(abilities()));
    assert_eq!(of(silent).await, None);
    let refusing = abilities().refusing(BTreeSet::from(["command:/bin/df".to_owned()]));
    f.store.announce(row.id, &refusing).await.unwrap();
    assert_eq!(of(row.id).await, Some(refusing.clone()));
    assert_eq!(of(silent).await, None);
    // Of a node that is gone nothing is kept.
    f.store.leave(row.id).await.unwrap();
    f.store.announce(row.id, &refusing).await.unwrap();
    assert_eq!(f.store.nodes().await.unwrap().len(), 1);
}

/// A worker that can't carry a run out gives it back under its claim: the next attempt waits for its instant, nothing is
/// counted, and the attempt is kept with its reason.
pub async fn a_refusal_costs_a_run_nothing(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (node, claim, run) = f.running().await;
    let mut refusal = end(&run, claim, End::Refused { ready_at: at(12) });
    refusal.error = Some("no native handler `x`".to_owned());
    refusal.class = Some(Class::NotAllowed);
    let mut foreign = refusal.clone();
    foreign.claim = f.mint.claim();
    assert_eq!(f.finish(foreign).await, Written::Stale);
    assert_eq!(f.finish(refusal.clone()).await, Written::Applied);
    assert_eq!(f.finish(refusal).await, Written::Stale);
    let row = f.row(run.id).await;
    assert_eq!((row.state, row.attempt), (State::Scheduled, 2));
    assert_eq!((row.failures, row.losses, row.claim), (0, 0, None));
    assert!(f.due(at(12)).await.contains(&Fixture::run_key(&row)));
    let kept = f.detail(run.id).await.attempts;
    let told: Vec<_> = kept
        .iter()
        .map(|a| (a.attempt, a.reason, a.worker))
        .collect();
    assert_eq!(told, [(1, Reason::NotAllowed, Some(node))]);
    // A refusal needs its claim: of a run that waits nothing is given back.
    let late = Claim {
        node,
        id: f.mint.claim(),
        runs: vec![(run.id, 2)],
    };
    let row = f.row(run.id).await;
    let early = end(&row, late.id, End::Refused { ready_at: at(13) });
    assert_eq!(f.finish(early).await, Written::Stale);
    assert_eq!(f.store.claim(&late).await.unwrap()[0].attempt, 2);
    let row = f.row(run.id).await;
    assert_eq!(
        f.finish(end(&row, late.id, End::Succeeded)).await,
        Written::Applied
    );
    assert_eq!(f.row(run.id).await.error, None);
}

fn need() -> LimitKey {
    LimitKey::Ability(QueueName::default(), "native:close.books".to_owned())
}

/// Fires an occurrence that nobody can carry out. It holds the task's own permit.
async fn blocked(f: &Fixture, term: &Term, task: &Task) -> Run {
    let due = f.store.next_due(task.id).await.unwrap().unwrap();
    let mut firing = f.firing(term, task, due).await;
    firing.outbox = None;
    firing.runs[0].limited = true;
    let run = firing.runs[0].clone();
    firing.acquired = vec![Permit {
        key: LimitKey::Overlap(task.id),
        n: 0,
        run: run.id,
    }];
    firing.blocked = vec![Blocked {
        key: need(),
        priority: run.priority,
        ready_at: run.ready_at,
        run: run.id,
        queue: run.queue.clone(),
    }];
    assert_eq!(f.store.fire(term, &firing).await.unwrap(), Fired::Applied);
    run
}

/// A run that nobody can carry out waits under what it needs, whatever sweeps there are; let go, it has its timer.
pub async fn a_blocked_run_waits_until_it_is_let_go(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    assert!(f.store.blocked().await.unwrap().is_empty());
    let (a, b) = (f.task("a", at(10)).await, f.task("b", at(10)).await);
    let (first, second) = (blocked(&f, &term, &a).await, blocked(&f, &term, &b).await);
    assert_eq!(f.store.blocked().await.unwrap(), [(need(), 2)]);
    assert_eq!(f.store.sweep_permits(&term).await.unwrap(), Some(0));
    let node = f.node().await;
    assert!(f.claim(node, &[(first.id, 1)]).await.1.is_empty());
    let other = LimitKey::Ability(QueueName::default(), "http".to_owned());
    assert_eq!(f.store.unblock(&term, &[other]).await.unwrap(), Some(0));
    assert_eq!(f.store.blocked().await.unwrap(), [(need(), 2)]);
    // One that is cancelled waits for nothing.
    f.cancel(second.id).await;
    assert_eq!(f.store.blocked().await.unwrap(), [(need(), 1)]);
    assert_eq!(f.store.unblock(&term, &[need()]).await.unwrap(), Some(1));
    assert!(f.store.blocked().await.unwrap().is_empty());
    assert!(f.due(at(10)).await.contains(&Fixture::run_key(&first)));
    assert_eq!(f.claim(node, &[(first.id, 1)]).await.1.len(), 1);
}

/// Nobody lets blocked runs go under a term that is over.
pub async fn an_old_term_lets_nobody_go(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let old = f.lead().await;
    let task = f.task("a", at(10)).await;
    let run = blocked(&f, &old, &task).await;
    let term = f.lead().await;
    assert_eq!(f.store.unblock(&old, &[need()]).await.unwrap(), None);
    assert_eq!(f.store.blocked().await.unwrap(), [(need(), 1)]);
    assert_eq!(f.store.unblock(&term, &[need()]).await.unwrap(), Some(1));
    assert!(f.due(at(10)).await.contains(&Fixture::run_key(&run)));
}

/// What the leader had published, and nobody can carry out any more, it takes back: its attempt is used up.
pub async fn a_leader_takes_back_what_it_published(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(10)).await;
    let (waits, runs) = (
        f.fire(&term, &task, at(10)).await,
        f.fire(&term, &task, at(20)).await,
    );
    let node = f.node().await;
    f.claim(node, &[(runs.id, 1)]).await;
    let back = |run: &Run| end(run, f.mint.claim(), End::Abandoned { ready_at: at(21) });
    let ends = [back(&waits), back(&runs)];
    let answer = f.store.finish_lost(&term, &ends).await.unwrap().unwrap();
    assert_eq!(answer, [Written::Applied, Written::Stale]);
    let row = f.row(waits.id).await;
    assert_eq!(
        (row.state, row.attempt, row.failures, row.losses),
        (State::Scheduled, 2, 0, 0)
    );
    assert!(f.claim(node, &[(waits.id, 1)]).await.1.is_empty());
    assert!(f.due(at(21)).await.contains(&Fixture::run_key(&row)));
    assert_eq!(f.row(runs.id).await.state, State::Running);
}
