//! Behaviours of idempotency keys: whose they are, what they stand for, how runs are found and moved by them.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;

use super::fixture::{Fixture, at, key};
use crate::somebody;
use campanile_core::decide::attempt;
use campanile_core::decide::edit::keys::{Digest, Key, Scope};
use campanile_core::id::RunId;
use campanile_core::limits;
use campanile_core::port::edit::{Moved, Submission};
use campanile_core::port::fire::{Fired, Firing};
use campanile_core::port::store::Store;
use campanile_core::run::{Origin, State};

impl Fixture {
    fn keyed(&self, key: Key) -> Submission {
        let mut submission = self.requests(1).remove(0);
        submission.key = Some(key);
        submission
    }
}

fn saying(what: &str, key: Key) -> Key {
    Key {
        content: Some(Digest::from_spelling(what.to_owned())),
        ..key
    }
}

/// A second submission with the same key gives the first run, alone, in a batch, and after the run has ended.
pub async fn a_key_stands_for_one_run(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let keyed = |text: &str| f.keyed(key(text));
    let first = keyed("k");
    assert!(
        f.store
            .submit(somebody(), std::slice::from_ref(&first))
            .await
            .unwrap()[0]
            .created
    );
    let batch = [
        keyed("k"),
        keyed("l"),
        f.requests(1).remove(0),
        keyed("l"),
        first.clone(),
    ];
    let answers = f.store.submit(somebody(), &batch).await.unwrap();
    let expected = [
        (first.run.id, false),
        (batch[1].run.id, true),
        (batch[2].run.id, true),
        (batch[1].run.id, false),
        (first.run.id, false),
    ];
    let told: Vec<_> = answers.iter().map(|a| (a.run, a.created)).collect();
    assert_eq!(told, expected);
    assert_eq!(f.all_runs().await.len(), 3);
    assert_eq!(f.due(at(0)).await.len(), 3);
    f.cancel(first.run.id).await;
    assert_eq!(
        f.store.submit(somebody(), &[keyed("k")]).await.unwrap()[0].run,
        first.run.id
    );
}

/// However many submit one key at once, one run is made.
pub async fn many_submit_one_key(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let mut submissions = f.requests(6);
    for submission in &mut submissions {
        submission.key = Some(key("'k\" <ü>"));
    }
    let calls = submissions
        .iter()
        .map(|s| f.store.submit(somebody(), std::slice::from_ref(s)));
    let answers = futures_util::future::join_all(calls).await;
    let answers: Vec<_> = answers
        .into_iter()
        .map(|answer| answer.unwrap()[0])
        .collect();
    assert_eq!(answers.iter().filter(|a| a.created).count(), 1);
    assert!(answers.iter().all(|a| a.run == answers[0].run));
    assert_eq!(f.all_runs().await.len(), 1);
}

/// A key belongs to a task or a handler; the engine's are nobody else's.
pub async fn a_key_belongs_to_its_scope(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (one, two) = (f.task("one", at(10)).await, f.task("two", at(10)).await);
    let of = |scope: Scope| Key {
        scope,
        ..saying("x", key("2026-11-28"))
    };
    let scopes = [
        Scope::Task(one.id),
        Scope::Task(two.id),
        Scope::Handler("http".to_owned()),
        Scope::Handler("native:engine".to_owned()),
        Scope::Engine,
    ];
    let batch: Vec<Submission> = scopes.iter().map(|s| f.keyed(of(s.clone()))).collect();
    let answers = f.store.submit(somebody(), &batch).await.unwrap();
    assert!(answers.iter().all(|answer| answer.created));
    let again: Vec<Submission> = scopes.iter().map(|s| f.keyed(of(s.clone()))).collect();
    let answers = f.store.submit(somebody(), &again).await.unwrap();
    let firsts: Vec<_> = batch.iter().map(|s| (s.run.id, false)).collect();
    let told: Vec<_> = answers.iter().map(|a| (a.run, a.created)).collect();
    assert_eq!(told, firsts);
    let mut found = f.store.runs_of_key("2026-11-28", 10).await.unwrap();
    found.sort();
    let mut expected: Vec<_> = scopes[..4]
        .iter()
        .cloned()
        .zip(batch.iter().map(|s| s.run.id))
        .collect();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(f.store.runs_of_key("2026-11-28", 1).await.unwrap().len(), 1);
    assert!(f.store.runs_of_key("2026", 10).await.unwrap().is_empty());
}

/// A key that another request has is refused, and nothing of the batch is stored; what is asked for again is answered.
pub async fn a_taken_key_refuses_the_batch(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let first = f.keyed(saying("this", key("k")));
    let unsaid = f.keyed(key("old"));
    let both = [first.clone(), unsaid.clone()];
    f.store.submit(somebody(), &both).await.unwrap();
    let batch = [
        f.keyed(saying("new", key("l"))),
        f.keyed(saying("that", key("k"))),
        f.requests(1).remove(0),
        f.keyed(saying("this", key("k"))),
    ];
    let answers = f.store.submit(somebody(), &batch).await.unwrap();
    let told: Vec<_> = answers.iter().map(|a| (a.created, a.taken)).collect();
    assert_eq!(
        told,
        [
            (false, false),
            (false, true),
            (false, false),
            (false, false)
        ]
    );
    assert_eq!(answers[1].run, first.run.id);
    // Within one batch as well.
    let batch = [
        f.keyed(saying("this", key("m"))),
        f.keyed(saying("that", key("m"))),
    ];
    let answers = f.store.submit(somebody(), &batch).await.unwrap();
    assert!(!answers[0].created && answers[1].taken);
    assert_eq!(f.all_runs().await.len(), 2);
    assert_eq!(f.due(at(0)).await.len(), 2);
    // Nothing of theirs is kept: the keys are free.
    for free in ["l", "m"] {
        let later = f.keyed(saying("other", key(free)));
        assert!(
            f.store.submit(somebody(), &[later]).await.unwrap()[0].created,
            "{free}"
        );
    }
    // A key of which it was not kept what was said with it stands for anything.
    let later = f.keyed(saying("anything", key("old")));
    let answer = f.store.submit(somebody(), &[later]).await.unwrap()[0];
    assert_eq!((answer.run, answer.taken), (unsaid.run.id, false));
}

/// Many requests that were all made before are answered with their runs, in their order, also where one of them says
/// something else; with one that is new among them, that one is stored, and once.
pub async fn many_that_are_asked_for_again_are_answered(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let count = limits::BULK_ROWS_MIN + 20;
    let keyed = |n: usize, what: &str| f.keyed(saying(what, key(&format!("k{n}"))));
    let all: Vec<Submission> = (0..count).map(|n| keyed(n, "this")).collect();
    assert!(
        f.store
            .submit(somebody(), &all)
            .await
            .unwrap()
            .iter()
            .all(|a| a.created)
    );
    let ids: Vec<RunId> = all.iter().rev().map(|s| s.run.id).collect();
    let mut again: Vec<Submission> = (0..count).rev().map(|n| keyed(n, "this")).collect();
    let answers = f.store.submit(somebody(), &again).await.unwrap();
    assert!(answers.iter().all(|a| !a.created && !a.taken));
    assert_eq!(answers.iter().map(|a| a.run).collect::<Vec<_>>(), ids);
    again[7] = keyed(count - 8, "that");
    let answers = f.store.submit(somebody(), &again).await.unwrap();
    let taken: Vec<usize> = (0..count).filter(|n| answers[*n].taken).collect();
    assert_eq!((taken, answers[7].run), (vec![7], ids[7]));
    for odd in [f.requests(1).remove(0), keyed(count, "this")] {
        let before = f.all_runs().await.len();
        again[7] = odd;
        let answers = f.store.submit(somebody(), &again).await.unwrap();
        let created: Vec<usize> = (0..count).filter(|n| answers[*n].created).collect();
        assert_eq!((created, answers[7].run), (vec![7], again[7].run.id));
        assert_eq!(f.all_runs().await.len(), before + 1);
    }
}

/// However many submit one key with other content at once, one run is made, and the others are told whose key it is.
pub async fn many_submit_one_key_with_other_content(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let all: Vec<Submission> = (0..6)
        .map(|n| f.keyed(saying(&n.to_string(), key("k"))))
        .collect();
    let calls = all
        .iter()
        .map(|s| f.store.submit(somebody(), std::slice::from_ref(s)));
    let answers = futures_util::future::join_all(calls).await;
    let answers: Vec<_> = answers.into_iter().map(|a| a.unwrap()[0]).collect();
    let first: Vec<_> = answers.iter().filter(|a| a.created).collect();
    assert_eq!(first.len(), 1);
    let others = answers.iter().filter(|a| !a.created);
    assert!(others.clone().all(|a| a.taken && a.run == first[0].run));
    assert_eq!(others.count(), 5);
    assert_eq!(f.all_runs().await.len(), 1);
}

/// A run that waits for its timer is moved with it; its deadline keeps its distance.
pub async fn a_waiting_run_is_moved(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let mut request = f.requests(1).remove(0);
    request.run.deadline_at = Some(at(7));
    f.store
        .submit(somebody(), std::slice::from_ref(&request))
        .await
        .unwrap();
    let id = request.run.id;
    for to in [at(50), at(-20)] {
        let before = f.row(id).await;
        let (answer, expected) = attempt::move_to(&before, true, to);
        assert_eq!(f.store.move_run(somebody(), id, to).await.unwrap(), answer);
        let row = f.row(id).await;
        assert_eq!(Some(&row), expected.as_ref());
        assert_eq!((row.due_at, row.ready_at), (to, to));
        assert_eq!(
            row.deadline_at,
            Some(to.plus(std::time::Duration::from_secs(7)))
        );
        assert_eq!(f.due(at(1_000)).await, [Fixture::run_key(&row)]);
    }
    let tomorrow = f.tomorrow().await;
    assert_eq!(
        f.store.move_run(somebody(), id, tomorrow).await.unwrap(),
        Moved::Done
    );
    let node = f.node().await;
    assert!(f.claim(node, &[(id, 1)]).await.1.is_empty());
}

/// What does not wait for its timer is not moved, and nothing of it changes.
pub async fn what_has_begun_is_not_moved(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let task = f.task("t", at(10)).await;
    let occurrence = f.fire(&term, &task, at(10)).await;
    let (_, claim, running) = f.running().await;
    let requests = f.submit(3).await;
    let fired = Firing {
        edits: f.edits().await,
        consumed: vec![Fixture::run_key(&requests[0])],
        seen: vec![(requests[0].id, 1)],
        outbox: Some(f.outbox_entry(&[(requests[0].id, 1)])),
        epoch: term.epoch,
        ..Firing::default()
    };
    assert_eq!(f.store.fire(&term, &fired).await.unwrap(), Fired::Applied);
    f.cancel(requests[1].id).await;
    let again = campanile_core::port::attempt::End::Again {
        ready_at: at(3),
        why: campanile_core::run::Reason::Error,
    };
    let unknown = f.requests(1)[0].run.id;
    assert_eq!(occurrence.origin, Origin::Schedule);
    let expected = [
        (occurrence.id, Moved::Occurrence),
        (running.id, Moved::Started(State::Running)),
        (requests[0].id, Moved::Due),
        (requests[1].id, Moved::Ended(State::Cancelled)),
        (unknown, Moved::Unknown),
    ];
    let before = (f.all_runs().await, f.due(at(1_000)).await);
    for (run, answer) in expected {
        assert_eq!(
            f.store.move_run(somebody(), run, at(500)).await.unwrap(),
            answer
        );
    }
    assert_eq!((f.all_runs().await, f.due(at(1_000)).await), before);
    let given_back = f.finish(super::fixture::end(&running, claim, again)).await;
    assert!(given_back.is_applied());
    let retries = Moved::Started(State::Scheduled);
    assert_eq!(
        f.store
            .move_run(somebody(), running.id, at(500))
            .await
            .unwrap(),
        retries
    );
}

/// A move and the firing of the timer at the same moment: the run starts once, at the one instant or the other.
pub async fn a_move_and_a_firing_do_not_miss_each_other(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    for _ in 0..8 {
        let run = f.submit(1).await.remove(0);
        let firing = Firing {
            edits: f.edits().await,
            consumed: vec![Fixture::run_key(&run)],
            seen: vec![(run.id, 1)],
            outbox: Some(f.outbox_entry(&[(run.id, 1)])),
            epoch: term.epoch,
            ..Firing::default()
        };
        let (fired, moved) = futures_util::join!(
            f.store.fire(&term, &firing),
            f.store.move_run(somebody(), run.id, at(90))
        );
        let row = f.row(run.id).await;
        match (fired.unwrap(), moved.unwrap()) {
            (Fired::Applied, Moved::Due) => {
                assert_eq!((row.ready_at, row.epoch), (at(0), term.epoch));
            }
            (Fired::Edited, Moved::Done) => {
                assert_eq!((row.ready_at, row.epoch), (at(90), 0));
                assert!(f.due(at(90)).await.contains(&Fixture::run_key(&row)));
            }
            other => panic!("{other:?}"),
        }
    }
}
