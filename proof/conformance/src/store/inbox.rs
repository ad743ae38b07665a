//! Behaviours of the inbox: what strangers leave there becomes a run exactly once, or is kept as what it became instead.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;

use super::fixture::{Fixture, at};
use crate::somebody;
use campanile_core::decide::edit::inbox::{
    Became, Decision, Drained, Inbox, Settled, decide, open,
};
use campanile_core::id::RunId;
use campanile_core::limits;
use campanile_core::port::edit::Edit;
use campanile_core::port::lead::Term;
use campanile_core::port::store::Store;
use campanile_core::run::{Origin, State};

fn greet(key: &str, payload: i64) -> String {
    format!(
        r#"{{"handler": {{"native": "greet"}}, "payload": {payload}, "idempotency_key": "{key}"}}"#
    )
}

impl Fixture {
    async fn leave(&self, request: &str) -> i64 {
        self.store.leave_request(request).await.unwrap()
    }

    async fn look(&self) -> (Inbox, Vec<Decision>) {
        let inbox = self.store.inbox().await.unwrap();
        let ids = self.mint.runs(at(1), inbox.rows.len());
        let rows = inbox.rows.iter().zip(ids);
        let settlings = rows.map(|(row, id)| decide(open(row), &[], id, at(1)));
        (inbox.clone(), settlings.collect())
    }

    /// Takes out all that is there.
    async fn drained(&self, term: &Term) -> Vec<Settled> {
        let (inbox, rows) = self.look().await;
        match self
            .store
            .drain(term, inbox.edits, &rows, at(2))
            .await
            .unwrap()
        {
            Drained::Done(settled) => settled,
            other => panic!("{other:?}"),
        }
    }

    async fn became(&self, id: i64) -> Option<Became> {
        self.store.settled(id).await.unwrap().map(|s| s.became)
    }
}

fn run_of(became: Option<Became>) -> RunId {
    match became {
        Some(Became::Run(run)) => run,
        other => panic!("{other:?}"),
    }
}

/// What is left becomes a run with its timer, once, and tells where it came from.
pub async fn what_is_left_becomes_a_run(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    assert_eq!(f.drained(&term).await, []);
    let left = f.leave(&greet("a", 7)).await;
    assert_eq!(f.became(left).await, None);
    let settled = f.drained(&term).await;
    let run = run_of(f.became(left).await);
    let expected = Settled {
        id: left,
        at: at(2),
        became: Became::Run(run),
    };
    assert_eq!(settled, [expected]);
    let detail = f.detail(run).await;
    assert_eq!(
        (detail.run.origin, detail.run.state),
        (Origin::Inbox, State::Scheduled)
    );
    assert_eq!(detail.spec.unwrap().payload, Some(7.into()));
    assert_eq!(f.due(at(9)).await.len(), 1);
    assert_eq!(f.drained(&term).await, [], "it is taken out");
    // A worker that wins it is given what it carries.
    let node = f.node().await;
    let (_, won) = f.claim(node, &[(run, 1)]).await;
    assert!(won[0].spec.is_some());
}

/// A key that is taken, by a submission or by an earlier row, lets its own row alone become none.
pub async fn a_key_of_the_inbox_stands_for_one_run(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let first = f.leave(&greet("k", 1)).await;
    let (same, other) = (f.leave(&greet("k", 1)).await, f.leave(&greet("k", 2)).await);
    let free = f.leave(&greet("l", 1)).await;
    assert_eq!(f.drained(&term).await.len(), 4);
    let run = run_of(f.became(first).await);
    assert_eq!(f.became(same).await, Some(Became::Duplicate(run)));
    assert_eq!(f.became(other).await, Some(Became::Conflict(run)));
    run_of(f.became(free).await);
    // The same in another transaction, and against a submission by another way.
    let again = f.leave(&greet("k", 1)).await;
    f.drained(&term).await;
    assert_eq!(f.became(again).await, Some(Became::Duplicate(run)));
    let mut submission = f.requests(1).remove(0);
    let row = decide(
        open(&campanile_core::decide::edit::inbox::Left {
            id: 0,
            request: Some(greet("k", 1)),
        }),
        &[],
        submission.run.id,
        at(1),
    );
    if let campanile_core::decide::edit::inbox::Decided::Run(asked) = row.decided {
        submission.key = asked.key;
    }
    let answer = f.store.submit(somebody(), &[submission]).await.unwrap();
    assert_eq!(
        (answer[0].run, answer[0].created, answer[0].taken),
        (run, false, false)
    );
    assert_eq!(f.all_runs().await.len(), 2);
    let others = f.store.unfulfilled(None, 10).await.unwrap();
    let ids: Vec<i64> = others.iter().map(|s| s.id).collect();
    assert_eq!(ids, [again, other, same]);
    let page = f.store.unfulfilled(Some(again), 1).await.unwrap();
    assert_eq!(page.iter().map(|s| s.id).collect::<Vec<_>>(), [other]);
}

/// What can't be a run is kept with its reason, whatever it is, and holds nothing up.
pub async fn what_is_refused_is_kept_with_its_reason(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let long = format!("\"{}\"", "x".repeat(limits::BODY_BYTES_MAX));
    let mut bad = Vec::new();
    for text in ["", "{", "{}", r#"{"task": "nobody"}"#, long.as_str()] {
        bad.push(f.leave(text).await);
    }
    let good = f.leave(&greet("g", 1)).await;
    f.drained(&term).await;
    for id in bad {
        let became = f.became(id).await;
        assert!(
            matches!(became, Some(Became::Refused(ref why)) if !why.is_empty()),
            "{became:?}"
        );
    }
    run_of(f.became(good).await);
}

/// Only the present term takes rows out, and only by the definitions as they are.
pub async fn the_inbox_is_emptied_under_the_fence(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let old = f.lead().await;
    let left = f.leave(&greet("a", 1)).await;
    let (inbox, rows) = f.look().await;
    let term = f.lead().await;
    let drain = async |term: &Term| {
        f.store
            .drain(term, inbox.edits, &rows, at(2))
            .await
            .unwrap()
    };
    assert_eq!(drain(&old).await, Drained::Fenced);
    let nothing = Edit::default();
    assert!(
        f.store
            .edit(somebody(), &nothing, at(2))
            .await
            .unwrap()
            .is_applied()
    );
    assert_eq!(drain(&term).await, Drained::Edited);
    assert_eq!(f.became(left).await, None);
    assert_eq!(f.drained(&term).await.len(), 1);
    // Asked again with what it saw before, it takes out nothing more.
    let (again, _) = f.look().await;
    let twice = f
        .store
        .drain(&term, again.edits, &rows, at(2))
        .await
        .unwrap();
    assert_eq!(twice, Drained::Done(Vec::new()));
    assert_eq!(f.all_runs().await.len(), 1);
}

/// What became of rows is forgotten with the history of its time, and what is left is not.
pub async fn retention_forgets_what_rows_became(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let old = f.leave("{}").await;
    f.drained(&term).await;
    let waits = f.leave("{}").await;
    assert_eq!(f.store.prune(&term, at(2), 10).await.unwrap(), Some(0));
    assert!(f.became(old).await.is_some());
    assert_eq!(f.store.prune(&term, at(3), 10).await.unwrap(), Some(0));
    assert_eq!(f.became(old).await, None);
    f.drained(&term).await;
    assert!(f.became(waits).await.is_some());
}
