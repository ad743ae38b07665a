//! Behaviours of the workers' part of the port.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::fixture::{Fixture, at, spec};
use crate::somebody;
use campanile_core::decide::attempt;
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::port::Written;
use campanile_core::port::attempt::Claim;
use campanile_core::port::edit::{Cancel, Upsert};
use campanile_core::port::store::Store;
use campanile_core::run::{Origin, RunRules, RunSpec};
use campanile_core::task::{HandlerSpec, Retry};

/// A node is among the members from its joining to its leaving, as it described itself; its heartbeats are counted.
pub async fn a_node_joins_heartbeats_and_leaves(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let node = f.node_row();
    f.store.join(&node).await.unwrap();
    let found = f.store.nodes().await.unwrap();
    assert_eq!(found.len(), 1);
    let first_heartbeat = found[0].heartbeat_at;
    let expected = campanile_core::port::member::Node {
        heartbeat_at: first_heartbeat,
        ..node.clone()
    };
    assert_eq!(found, [expected]);
    let beaten = f.store.heartbeat(node.id, 3, &[]).await.unwrap();
    assert!(beaten.known && beaten.cancel.is_empty() && beaten.now >= first_heartbeat);
    let found = f.store.nodes().await.unwrap().remove(0);
    assert_eq!(
        (found.busy, found.heartbeat_seq > node.heartbeat_seq),
        (3, true)
    );
    f.store.leave(node.id).await.unwrap();
    assert!(f.store.nodes().await.unwrap().is_empty());
    assert!(!f.store.heartbeat(node.id, 0, &[]).await.unwrap().known);
    f.store.leave(node.id).await.unwrap();
}

/// A heartbeat brings the requests to cancel of the node's own running runs.
pub async fn a_heartbeat_brings_requests_to_cancel(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (node, _, run) = f.running().await;
    let (other, _, quiet) = f.running().await;
    assert_eq!(f.cancel(run.id).await, Cancel::Requested);
    let asked = [run.id, quiet.id];
    assert_eq!(
        f.store.heartbeat(node, 1, &asked).await.unwrap().cancel,
        [run.id]
    );
    assert!(
        f.store
            .heartbeat(other, 1, &asked)
            .await
            .unwrap()
            .cancel
            .is_empty()
    );
}

/// A run is won once, and its row says by whom.
pub async fn a_run_is_won_once(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (one, two) = (f.node().await, f.node().await);
    let run = f.submit(1).await.remove(0);
    let (claim, won) = f.claim(one, &[(run.id, 1)]).await;
    assert_eq!((won.len(), won[0].run, won[0].attempt), (1, run.id, 1));
    assert_eq!(
        (won[0].origin, won[0].due_at, won[0].task),
        (Origin::Request, run.due_at, None)
    );
    assert!(f.claim(two, &[(run.id, 1)]).await.1.is_empty());
    assert!(f.claim(one, &[(run.id, 1)]).await.1.is_empty());
    assert_eq!(
        Some(f.row(run.id).await),
        attempt::claim(&run, 1, claim, one, won[0].started_at)
    );
}

/// No run is won before it may start by the store's clock, at another attempt, or by a node that never joined; the
/// others of the same claim are.
pub async fn only_what_may_start_is_won(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let node = f.node().await;
    let mut later = f.requests(1);
    later[0].run.due_at = f.tomorrow().await;
    later[0].run.ready_at = later[0].run.due_at;
    f.store.submit(somebody(), &later).await.unwrap();
    let later = later[0].run.id;
    let runs = f.submit(2).await;
    let asked = [
        (later, 1),
        (runs[0].id, 2),
        (runs[1].id, 1),
        (f.requests(1)[0].run.id, 1),
    ];
    assert!(f.claim(f.mint.node(), &asked).await.1.is_empty());
    let before = f.store.leader().await.unwrap().now;
    let (_, won) = f.claim(node, &asked).await;
    assert_eq!(won.iter().map(|w| w.run).collect::<Vec<_>>(), [runs[1].id]);
    let after = f.store.leader().await.unwrap().now;
    assert!(
        (before..=after).contains(&won[0].started_at),
        "{before} {} {after}",
        won[0].started_at
    );
    assert!(f.claim(node, &[]).await.1.is_empty());
}

/// However many ask at once, each run is won by one.
pub async fn each_of_many_runs_is_won_by_one(store: Arc<dyn Store>) {
    const NODES: usize = 6;
    let f = Fixture::new(store);
    let runs: Vec<_> = f
        .submit(200)
        .await
        .into_iter()
        .map(|run| (run.id, 1))
        .collect();
    let mut claims = Vec::new();
    for n in 0..NODES {
        let mut asked = runs.clone();
        asked.rotate_left(n * runs.len() / NODES);
        claims.push(Claim {
            node: f.node().await,
            id: f.mint.claim(),
            runs: asked,
        });
    }
    let answers =
        futures_util::future::join_all(claims.iter().map(|claim| f.store.claim(claim))).await;
    let mut winners = BTreeMap::new();
    for (claim, answer) in claims.iter().zip(answers) {
        for won in answer.unwrap() {
            assert_eq!(
                winners.insert(won.run, claim.id),
                None,
                "run {} was won twice",
                won.run
            );
        }
    }
    assert_eq!(winners.len(), runs.len());
    for (id, claim) in winners {
        assert_eq!(f.row(id).await.claim, Some(claim));
    }
}

/// A claim brings the version of the task that is in force now, and what the run carries of its own.
pub async fn a_claim_brings_what_the_start_needs(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let node = f.node().await;
    let task = f.task("t", at(1)).await;
    let fired = f.fire(&term, &task, at(1)).await;
    let change = Upsert {
        id: task.id,
        expected: Some(task.version),
        spec: task.spec.clone(),
        paused_from: None,
        due: DueChange::Keep,
    };
    assert_eq!(f.edit(vec![change]).await, Written::Applied);
    let own = RunSpec {
        handler: Some(HandlerSpec::Native("other".to_owned())),
        payload: Some(serde_json::Value::Null),
        rules: Some(RunRules {
            retry: Some(Retry {
                max_attempts: 7,
                ..Retry::default()
            }),
            timeout: Some(Duration::from_millis(1_500)),
        }),
    };
    let request = f.submit_with(own.clone()).await;
    let (_, won) = f.claim(node, &[(fired.id, 1), (request.id, 1)]).await;
    let of = |id| won.iter().find(|w| w.run == id).unwrap();
    assert_eq!(of(fired.id).task, Some((task.id, task.version + 1)));
    assert_eq!(
        (of(fired.id).origin, of(fired.id).spec.clone()),
        (Origin::Schedule, None)
    );
    assert_eq!(
        (of(request.id).task, of(request.id).spec.clone()),
        (None, Some(own))
    );
}

/// Tasks are found by id; deleted and unknown ones are missing.
pub async fn tasks_are_found_by_id(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let task = f.task("t", at(10)).await;
    let unknown = f.mint.task(at(0));
    assert_eq!(
        f.store.tasks_by_id(&[task.id, unknown]).await.unwrap(),
        std::slice::from_ref(&task)
    );
    assert_eq!(
        (task.version, task.spec, task.created_at),
        (1, spec("t"), at(0))
    );
    assert!(f.store.tasks_by_id(&[]).await.unwrap().is_empty());
}
