//! Behaviours of the workers' part of the port.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fixture::{Fixture, at, end, limits, spec};
use crate::port::Written;
use crate::port::store::Store;
use crate::protocol::limits::ERROR_BYTES_MAX;
use crate::protocol::run;
use crate::protocol::work::{Cancel, Claim, DueChange, End, Finish, Owner, Upsert};
use crate::run::{Origin, Reason, RunSpec, State};
use crate::task::HandlerSpec;

/// A node is among the living from its joining to its leaving, as it described itself; its beats are counted.
pub async fn a_node_joins_beats_and_leaves(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let node = f.node_row();
    f.store.join(&node).await.unwrap();
    let found = f.store.nodes().await.unwrap();
    assert_eq!(found.len(), 1);
    let first_beat = found[0].beat_at;
    let expected = crate::protocol::work::Node {
        beat_at: first_beat,
        ..node.clone()
    };
    assert_eq!(found, [expected]);
    let beaten = f.store.beat(node.id, 3, &[]).await.unwrap();
    assert!(beaten.known && beaten.cancel.is_empty() && beaten.now >= first_beat);
    let found = f.store.nodes().await.unwrap().remove(0);
    assert_eq!((found.busy, found.beat_seq > node.beat_seq), (3, true));
    f.store.leave(node.id).await.unwrap();
    assert!(f.store.nodes().await.unwrap().is_empty());
    assert!(!f.store.beat(node.id, 0, &[]).await.unwrap().known);
    f.store.leave(node.id).await.unwrap();
}

/// A beat brings the requests to cancel of the node's own running runs.
pub async fn a_beat_brings_requests_to_cancel(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (node, _, run) = f.running().await;
    let (other, _, quiet) = f.running().await;
    assert_eq!(f.cancel(run.id).await, Cancel::Requested);
    let asked = [run.id, quiet.id];
    assert_eq!(
        f.store.beat(node, 1, &asked).await.unwrap().cancel,
        [run.id]
    );
    assert!(
        f.store
            .beat(other, 1, &asked)
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
        run::claim(&run, 1, claim, one, won[0].started_at)
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
    f.store.submit(&later).await.unwrap();
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
        rests_from: None,
        due: DueChange::Keep,
    };
    assert_eq!(f.edit(vec![change]).await, Written::Applied);
    let own = RunSpec {
        handler: Some(HandlerSpec::Native("other".to_owned())),
        payload: Some(serde_json::Value::Null),
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

/// Each kind of end makes of the row what the protocol says.
pub async fn ends_are_as_the_protocol_says(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let node = f.node().await;
    let kinds = [
        End::Succeeded,
        End::Failed(Reason::Error),
        End::Failed(Reason::Timeout),
        End::Failed(Reason::Lost),
        End::Cancelled(Reason::Requested),
        End::Again {
            ready_at: at(9),
            why: Reason::Error,
        },
        End::Again {
            ready_at: at(9),
            why: Reason::None,
        },
    ];
    let runs = f.submit(kinds.len()).await;
    let pairs: Vec<_> = runs.iter().map(|run| (run.id, 1)).collect();
    let (claim, _) = f.claim(node, &pairs).await;
    let mut ends = Vec::new();
    let mut expected = Vec::new();
    for (id, kind) in pairs.iter().zip(kinds) {
        let row = f.row(id.0).await;
        expected.push(run::finish(&row, 1, claim, kind, at(2), Some("it broke")).unwrap());
        let mut finish = end(&row, claim, kind);
        finish.error = Some("it broke".to_owned());
        ends.push(finish);
    }
    let answers = f.store.finish(&ends).await.unwrap();
    assert!(answers.iter().all(|answer| answer.is_applied()));
    for row in expected {
        assert_eq!(f.row(row.id).await, row);
    }
}

/// Only the present claim of the present attempt ends a run, once; each end of a batch is answered by itself.
pub async fn a_run_ends_once_under_its_claim(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (_, claim, run) = f.running().await;
    let right = end(&run, claim, End::Succeeded);
    let other_claim = Finish {
        claim: f.mint.claim(),
        ..right.clone()
    };
    let other_attempt = Finish {
        attempt: 2,
        ..right.clone()
    };
    let unknown = Finish {
        run: f.requests(1)[0].run.id,
        ..right.clone()
    };
    let ends = [
        other_claim,
        other_attempt,
        unknown,
        right.clone(),
        right.clone(),
    ];
    let answers = f.store.finish(&ends).await.unwrap();
    let applied: Vec<bool> = answers.iter().map(|answer| answer.is_applied()).collect();
    assert_eq!(applied, [false, false, false, true, false]);
    let ended = f.row(run.id).await;
    let mut late = right;
    late.end = End::Failed(Reason::Error);
    assert_eq!(f.finish(late).await, Written::Stale);
    assert_eq!(f.row(run.id).await, ended);
    assert!(f.store.finish(&[]).await.unwrap().is_empty());
}

/// A worker that was called dead and wakes ends nothing: its attempt was given to another.
pub async fn a_zombie_ends_nothing(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let (dead, old_claim, run) = f.running().await;
    assert_eq!(f.store.bury(&term, dead).await.unwrap(), Written::Applied);
    let again = End::Again {
        ready_at: at(3),
        why: Reason::Lost,
    };
    f.store
        .finish_lost(&term, &[end(&run, old_claim, again)])
        .await
        .unwrap();
    let zombie = end(&run, old_claim, End::Succeeded);
    assert_eq!(f.finish(zombie.clone()).await, Written::Stale);
    let node = f.node().await;
    let (claim, won) = f.claim(node, &[(run.id, 2)]).await;
    assert_eq!((won[0].attempt, won[0].losses), (2, 1));
    assert_eq!(f.finish(zombie).await, Written::Stale);
    let row = f.row(run.id).await;
    assert_eq!(
        f.finish(end(&row, claim, End::Succeeded)).await,
        Written::Applied
    );
}

/// A retry puts a timer back, at its instant, and the next attempt starts no earlier.
pub async fn a_retry_waits_for_its_instant(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let tomorrow = f.tomorrow().await;
    for (ready_at, starts) in [(at(30), true), (tomorrow, false)] {
        let (node, claim, run) = f.running().await;
        let why = Reason::Error;
        assert_eq!(
            f.finish(end(&run, claim, End::Again { ready_at, why }))
                .await,
            Written::Applied
        );
        let scan = f.store.scan(ready_at, &limits()).await.unwrap();
        let timer = scan.rows.iter().find(|row| row.key.at == ready_at).unwrap();
        assert_eq!(timer.key.owner, Owner::Run(run.id));
        let waiting = timer.waiting.clone().unwrap().run;
        assert_eq!(
            (waiting.attempt, waiting.failures, waiting.claim),
            (2, 1, None)
        );
        assert!(f.claim(node, &[(run.id, 1)]).await.1.is_empty());
        let won = f.claim(node, &[(run.id, 2)]).await.1;
        let told: Vec<_> = won.iter().map(|w| (w.attempt, w.failures)).collect();
        assert_eq!(told, if starts { vec![(2, 1)] } else { Vec::new() });
    }
}

/// Attempts that ended other than well are kept, the others not.
pub async fn bad_attempts_are_kept(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (node, mut claim, mut run) = f.running().await;
    let mut starts = Vec::new();
    for why in [Reason::Error, Reason::None, Reason::Timeout] {
        starts.push(run.started_at);
        let mut finish = end(
            &run,
            claim,
            End::Again {
                ready_at: at(3),
                why,
            },
        );
        finish.error = Some(format!("because {}", why.as_str()));
        assert_eq!(f.finish(finish).await, Written::Applied);
        let (next, won) = f.claim(node, &[(run.id, run.attempt + 1)]).await;
        assert_eq!(won.len(), 1);
        (claim, run) = (next, f.row(run.id).await);
    }
    assert_eq!(
        f.finish(end(&run, claim, End::Failed(Reason::Error))).await,
        Written::Applied
    );
    let kept = f.detail(run.id).await.attempts;
    let told: Vec<_> = kept
        .iter()
        .map(|a| (a.attempt, a.reason, a.error.as_deref()))
        .collect();
    let expected = [
        (1, Reason::Error, Some("because error")),
        (3, Reason::Timeout, Some("because timeout")),
        (4, Reason::Error, None),
    ];
    assert_eq!(told, expected);
    assert!(
        kept.iter()
            .all(|a| a.worker == Some(node) && a.finished_at == at(2))
    );
    assert_eq!(
        (kept[0].started_at, kept[1].started_at),
        (starts[0], starts[2])
    );
}

/// What attempts wrote is kept by attempt; nothing is kept of silence, or of an end that was refused.
pub async fn logs_are_kept_by_attempt(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (node, claim, run) = f.running().await;
    let again = End::Again {
        ready_at: at(3),
        why: Reason::None,
    };
    let mut first = end(&run, claim, again);
    first.log = Some("one\ntwo".to_owned());
    let mut refused = first.clone();
    refused.claim = f.mint.claim();
    assert_eq!(f.finish(refused).await, Written::Stale);
    assert_eq!(f.finish(first).await, Written::Applied);
    let (claim, _) = f.claim(node, &[(run.id, 2)]).await;
    let mut last = end(&f.row(run.id).await, claim, End::Succeeded);
    last.log = Some(String::new());
    assert_eq!(f.finish(last).await, Written::Applied);
    assert_eq!(
        f.store.logs(run.id).await.unwrap(),
        [(1, "one\ntwo".to_owned())]
    );
}

/// Texts that people and programs write come back as they were; what no database keeps is replaced, what is too long
/// is cut.
pub async fn texts_survive(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let node = f.node().await;
    let hostile = "'; DROP TABLE run; -- \"<script>alert(1)</script>\" \u{202e}üñî \u{1f600} \r\n\t\u{1b}[31m %s ${x} :a @b ?1 $1";
    let runs = f.submit(3).await;
    let pairs: Vec<_> = runs.iter().map(|run| (run.id, 1)).collect();
    let (claim, _) = f.claim(node, &pairs).await;
    let texts = [
        hostile.to_owned(),
        "a\0b".to_owned(),
        "ü".repeat(ERROR_BYTES_MAX),
    ];
    let mut ends = Vec::new();
    for (run, text) in runs.iter().zip(&texts) {
        let mut finish = end(run, claim, End::Failed(Reason::Error));
        finish.error = Some(text.clone());
        finish.log = Some(text.clone());
        ends.push(finish);
    }
    assert!(
        f.store
            .finish(&ends)
            .await
            .unwrap()
            .iter()
            .all(|answer| answer.is_applied())
    );
    assert_eq!(f.row(runs[0].id).await.error.as_deref(), Some(hostile));
    assert_eq!(
        f.store.logs(runs[0].id).await.unwrap(),
        [(1, hostile.to_owned())]
    );
    let replaced = f.row(runs[1].id).await.error.unwrap();
    assert!(
        replaced.starts_with('a') && replaced.ends_with('b'),
        "{replaced:?}"
    );
    assert_eq!(
        f.row(runs[2].id).await.error.unwrap().len(),
        ERROR_BYTES_MAX
    );
    assert_eq!(
        f.detail(runs[0].id).await.attempts[0].error.as_deref(),
        Some(hostile)
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

/// A run whose cancel was asked for while it ran ends as its worker says.
pub async fn a_cancelled_running_run_ends_by_its_worker(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (_, claim, run) = f.running().await;
    assert_eq!(f.cancel(run.id).await, Cancel::Requested);
    assert!(f.row(run.id).await.cancel == Some(Reason::Requested));
    assert_eq!(
        f.finish(end(&run, claim, End::Cancelled(Reason::Requested)))
            .await,
        Written::Applied
    );
    let ended = f.row(run.id).await;
    assert_eq!(
        (ended.state, ended.reason),
        (State::Cancelled, Reason::Requested)
    );
}
