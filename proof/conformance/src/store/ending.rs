//! Behaviours of ends: how an attempt ends, goes on or is given up, and what is kept of it.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::collections::HashMap;
use std::sync::Arc;

use super::fixture::{Fixture, at, end, limits};
use crate::somebody;
use campanile_core::decide::attempt;
use campanile_core::limits::ERROR_BYTES_MAX;
use campanile_core::port::Written;
use campanile_core::port::attempt::{Chunks, Claim, End, Finish};
use campanile_core::port::edit::Cancel;
use campanile_core::port::fire::Owner;
use campanile_core::port::member::Progress;
use campanile_core::port::store::Store;
use campanile_core::run::{Reason, State};
use campanile_core::task::Class;

/// Each kind of end makes of the row what the protocol says.
pub async fn ends_are_as_the_protocol_says(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let node = f.node().await;
    let kinds = [
        End::Succeeded,
        End::Failed(Reason::Error),
        End::Refused { ready_at: at(9) },
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
        expected.push(attempt::finish(&row, 1, claim, kind, at(2), Some("it broke")).unwrap());
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

/// Runs of one batch that ended well, by turns with others: ended otherwise, under another claim, at another attempt, gone
/// already. Each is answered and kept as if it had been alone.
pub async fn good_ends_of_a_batch_are_kept_one_by_one(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let node = f.node().await;
    let pairs: Vec<_> = f.submit(60).await.iter().map(|run| (run.id, 1)).collect();
    let (early, late) = pairs.split_at(30);
    let claims = [f.claim(node, early).await, f.claim(node, late).await];
    assert_eq!((claims[0].1.len(), claims[1].1.len()), (30, 30));
    let mut ends = Vec::new();
    for (n, pair) in (0..).zip(&pairs) {
        let row = f.row(pair.0).await;
        let claim = claims[usize::from(n >= 30)].0;
        // Each ends at an instant of its own, so that no two can be taken for each other.
        let mut finish = end(&row, claim, End::Succeeded);
        finish.at = at(100 + n);
        ends.push(finish);
    }
    ends.reverse();
    // All are as expected.
    let (first, rest) = ends.split_at_mut(20);
    let answers = f.store.finish(first).await.unwrap();
    assert!(answers.iter().all(|answer| answer.is_applied()));
    // One ended otherwise: the others don't mind.
    rest[4].end = End::Failed(Reason::Error);
    rest[9].result = Some("7".to_owned());
    let answers = f.store.finish(&rest[..20]).await.unwrap();
    assert!(answers.iter().all(|answer| answer.is_applied()));
    // Some are not as expected, and none of the others.
    let last = &mut rest[20..];
    last[3].claim = claims[1].0;
    last[7].attempt = 2;
    let mut batch = vec![first[0].clone()];
    batch.extend(last.iter().cloned());
    batch.push(last[0].clone());
    let answers = f.store.finish(&batch).await.unwrap();
    let stale: Vec<usize> = (0..batch.len())
        .filter(|n| !answers[*n].is_applied())
        .collect();
    assert_eq!(stale, [0, 4, 8, 21]);
    for (n, pair) in (0..).zip(&pairs) {
        let row = f.row(pair.0).await;
        let ended = match n {
            16 | 12 => (State::Running, None),
            35 => (State::Failed, Some(at(100 + n))),
            _ => (State::Succeeded, Some(at(100 + n))),
        };
        assert_eq!((row.state, row.finished_at), ended, "{n}");
    }
}

/// A worker that was called dead and wakes ends nothing: its attempt was given to another.
pub async fn a_zombie_ends_nothing(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let (dead, old_claim, run) = f.running().await;
    assert_eq!(f.store.evict(&term, dead).await.unwrap(), Written::Applied);
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

/// A claim in doubt is abandoned: its attempt is used up, so that it wins nothing when it arrives late, whoever lives.
pub async fn an_abandoned_attempt_is_used_up(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(10)).await;
    let node = f.node().await;
    let abandoned = End::Abandoned { ready_at: at(12) };
    // Not there yet when it is abandoned.
    let run = f.fire(&term, &task, at(10)).await;
    let late = f.mint.claim();
    let abandonment = end(&run, late, abandoned);
    assert_eq!(f.finish(abandonment.clone()).await, Written::Applied);
    let claim = Claim {
        node,
        id: late,
        runs: vec![(run.id, 1)],
    };
    assert!(f.store.claim(&claim).await.unwrap().is_empty());
    let row = f.row(run.id).await;
    assert_eq!((row.state, row.attempt), (State::Scheduled, 2));
    assert_eq!((row.failures, row.losses, row.ready_at), (0, 0, at(12)));
    assert!(f.due(at(12)).await.contains(&Fixture::run_key(&row)));
    // Once is enough, and another's claim is left alone.
    assert_eq!(f.finish(abandonment).await, Written::Stale);
    let others = f.claim(node, &[(run.id, 2)]).await.0;
    let row = f.row(run.id).await;
    assert_eq!(f.finish(end(&row, late, abandoned)).await, Written::Stale);
    assert_eq!(
        (f.row(run.id).await, row.state),
        (row.clone(), State::Running)
    );
    // Committed before it is abandoned: as if it were given back.
    let given = end(&row, others, abandoned);
    assert_eq!(f.finish(given).await, Written::Applied);
    let row = f.row(run.id).await;
    assert_eq!((row.state, row.attempt), (State::Scheduled, 3));
    // What has ended stays.
    f.cancel(run.id).await;
    assert_eq!(f.finish(end(&row, late, abandoned)).await, Written::Stale);
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
        finish.class = (why == Reason::Error).then_some(Class::Exit(75));
        assert_eq!(f.finish(finish).await, Written::Applied);
        let (next, won) = f.claim(node, &[(run.id, run.attempt + 1)]).await;
        assert_eq!(won.len(), 1);
        (claim, run) = (next, f.row(run.id).await);
    }
    let mut last = end(&run, claim, End::Failed(Reason::Error));
    last.class = Some(Class::named("quota"));
    assert_eq!(f.finish(last).await, Written::Applied);
    let kept = f.detail(run.id).await.attempts;
    let classes: Vec<_> = kept.iter().map(|a| a.class.as_deref()).collect();
    assert_eq!(classes, [Some("exit:75"), None, Some("class:quota")]);
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
    first.log = Some(Chunks::of("one\ntwo"));
    let mut refused = first.clone();
    refused.claim = f.mint.claim();
    assert_eq!(f.finish(refused).await, Written::Stale);
    assert_eq!(f.finish(first).await, Written::Applied);
    let (claim, _) = f.claim(node, &[(run.id, 2)]).await;
    let mut last = end(&f.row(run.id).await, claim, End::Succeeded);
    last.log = Some(Chunks::default());
    assert_eq!(f.finish(last).await, Written::Applied);
    assert_eq!(
        f.store.logs(run.id).await.unwrap(),
        [(1, "one\ntwo".to_owned())]
    );
}

/// What an attempt that ended well returned is shown with its run; what a stale end brings is not.
pub async fn a_result_is_kept_with_its_run(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (_, claim, run) = f.running().await;
    assert_eq!(f.detail(run.id).await.result, None);
    let mut done = end(&run, claim, End::Succeeded);
    done.result = Some(r#"{"a": "ü\u0000'; --", "n": 9007199254740993}"#.to_owned());
    let stale = Finish {
        claim: f.mint.claim(),
        result: Some("1".to_owned()),
        ..done.clone()
    };
    assert_eq!(f.finish(stale).await, Written::Stale);
    assert_eq!(f.finish(done.clone()).await, Written::Applied);
    assert_eq!(f.detail(run.id).await.result, done.result);
    // It is no log.
    assert_eq!(f.store.logs(run.id).await.unwrap(), []);
}

/// How far an attempt says that it is, is kept while it runs there, and stays when it has ended.
pub async fn progress_is_kept_while_the_attempt_runs(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (node, claim, run) = f.running().await;
    let said = |percent, attempt| Progress {
        run: run.id,
        attempt,
        percent,
        message: format!("{percent} of 100"),
        at: at(2),
    };
    let report = async |node, progress| f.store.report(node, &[progress]).await.unwrap();
    report(node, said(10, 1)).await;
    report(node, said(40, 1)).await;
    // Another node's, another attempt's, and after the end: nobody's.
    report(f.node().await, said(50, 1)).await;
    report(node, said(60, 2)).await;
    assert_eq!(f.detail(run.id).await.progress, Some(said(40, 1)));
    let mut done = end(&run, claim, End::Succeeded);
    done.log = Some(Chunks::of("a line"));
    done.result = Some("7".to_owned());
    assert_eq!(f.finish(done).await, Written::Applied);
    report(node, said(99, 1)).await;
    let detail = f.detail(run.id).await;
    assert_eq!(detail.progress, Some(said(40, 1)));
    assert_eq!(detail.result.as_deref(), Some("7"));
    let log = [(1, "a line".to_owned())];
    assert_eq!(f.store.logs(run.id).await.unwrap(), log);
}

/// Texts that people and programs write come back as they were; what no database keeps is replaced, what is too long
/// is cut.
pub async fn texts_survive(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let node = f.node().await;
    let hostile = "'; DROP TABLE campanile_run; -- \"<script>alert(1)</script>\" \u{202e}üñî \u{1f600} \r\n\t\u{1b}[31m %s ${x} :a @b ?1 $1";
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
        finish.log = Some(Chunks::of(text.clone()));
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

/// A task's last success is the latest end among its newest rows, whatever else is in its history.
pub async fn last_successes_are_read_for_many_tasks(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (task, other) = (f.task("t", at(900)).await, f.task("u", at(900)).await);
    let node = f.node().await;
    let mut asked = f.requests(5);
    for (n, one) in (1..).zip(&mut asked) {
        one.run.task = Some(if n == 5 { other.id } else { task.id });
        one.run.due_at = at(n * 10);
    }
    f.store.submit(somebody(), &asked).await.unwrap();
    let pairs: Vec<_> = asked.iter().map(|one| (one.run.id, 1)).collect();
    let (claim, won) = f.claim(node, &pairs).await;
    assert_eq!(won.len(), 5);
    let read = async |look| {
        let ids = [task.id, other.id, f.mint.task(at(0))];
        f.store.last_successes(&ids, look).await.unwrap()
    };
    assert_eq!(read(10).await, HashMap::new(), "nothing has ended");
    for (one, (kind, ended)) in asked.iter().zip([
        (End::Succeeded, 100),
        (End::Succeeded, 95),
        (End::Failed(Reason::Error), 110),
        (End::Failed(Reason::Timeout), 120),
        (End::Failed(Reason::Error), 130),
    ]) {
        let mut finish = end(&f.row(one.run.id).await, claim, kind);
        finish.at = at(ended);
        assert_eq!(f.finish(finish).await, Written::Applied);
    }
    assert_eq!(read(10).await, HashMap::from([(task.id, at(100))]));
    assert_eq!(read(3).await, HashMap::from([(task.id, at(95))]));
    assert_eq!(read(2).await, HashMap::new(), "so far and no further");
    assert_eq!(read(0).await, HashMap::new());
    let none = f.store.last_successes(&[], 10).await.unwrap();
    assert_eq!(none, HashMap::new());
}
