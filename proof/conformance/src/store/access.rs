//! Behaviours of tokens, and of the audit: each act leaves one line, in its own transaction and in a chain without a gap.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::sync::Arc;

use campanile_access::audit::{Chain, Deed, Filter, Kept};
use campanile_access::token::{ApiToken, digest};
use campanile_access::{Actor, Rights, Role, Scope};
use campanile_schedule::time::Timestamp;
use serde_json::{Value, json};

use super::fixture::{Fixture, at};
use crate::somebody;
use campanile_core::port::Written;
use campanile_core::port::edit::Cancel;
use campanile_core::port::store::Store;

fn token(name: &str, expires_at: Option<Timestamp>) -> ApiToken {
    ApiToken {
        name: name.to_owned(),
        rights: Rights::of(Role::Executor)
            .with_data(true)
            .within(Scope::of(&["queue:q", "prefix:a-"]).unwrap()),
        created_at: at(0),
        created_by: "library:somebody".to_owned(),
        expires_at,
        used_at: None,
        revoked_at: None,
    }
}

async fn acts(f: &Fixture) -> Vec<String> {
    let lines = f.store.audit_behind(0, 1_000).await.unwrap();
    lines.iter().map(|line| line.line().unwrap().act).collect()
}

async fn verify(f: &Fixture) -> Result<usize, String> {
    let head = f.store.audit_head().await.unwrap();
    let lines = f.store.audit_behind(0, 1_000).await.unwrap();
    let mut chain = Chain::behind(head.anchor.clone());
    lines.iter().try_for_each(|line| chain.take(line))?;
    chain.end(&head)?;
    Ok(lines.len())
}

/// A token is found by its digest, as it was put; its name is free again once it is over.
pub async fn a_token_is_found_by_its_digest(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let first = token("ci", Some(at(100)));
    let put = |token: ApiToken, text: &'static str, now| {
        let store = Arc::clone(&f.store);
        async move {
            let put = store
                .put_token(somebody(), &token, &digest(text), now)
                .await;
            put.unwrap()
        }
    };
    assert_eq!(put(first.clone(), "one", at(1)).await, Written::Applied);
    assert_eq!(put(first.clone(), "two", at(2)).await, Written::Stale);
    assert_eq!(
        f.store.token_of(&digest("one")).await.unwrap(),
        Some(first.clone())
    );
    assert_eq!(f.store.token_of(&digest("two")).await.unwrap(), None);
    f.store.use_token("ci", at(60)).await.unwrap();
    f.store.use_token("ci", at(50)).await.unwrap();
    let used = f.store.token_of(&digest("one")).await.unwrap().unwrap();
    assert_eq!(used.used_at, Some(at(60)));
    // The first is over.
    assert_eq!(
        put(token("ci", None), "three", at(100)).await,
        Written::Applied
    );
    assert_eq!(f.store.token_of(&digest("one")).await.unwrap(), None);
    assert_eq!(
        put(token("b", None), "four", at(100)).await,
        Written::Applied
    );
    let names: Vec<String> = f
        .store
        .tokens()
        .await
        .unwrap()
        .into_iter()
        .map(|t| t.name)
        .collect();
    assert_eq!(names, ["b", "ci"]);
    for (name, expected) in [
        ("ci", Written::Applied),
        ("ci", Written::Stale),
        ("x", Written::Stale),
    ] {
        let revoked = f.store.revoke_token(somebody(), name, at(101)).await;
        assert_eq!(revoked.unwrap(), expected, "{name}");
    }
    let revoked = f.store.token_of(&digest("three")).await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(at(101)));
    assert_eq!(
        put(token("ci", None), "five", at(102)).await,
        Written::Applied
    );
    let expected = [
        "token.create",
        "token.create",
        "token.create",
        "token.revoke",
        "token.create",
    ];
    assert_eq!(acts(&f).await, expected);
    assert_eq!(verify(&f).await, Ok(5));
}

/// What changes something leaves a line, and nothing else does: not what came too late, and not a submission.
pub async fn every_act_leaves_its_line(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let task = f.task("t", at(10)).await;
    assert_eq!(acts(&f).await, ["edit"]);
    assert_eq!(
        f.edit(vec![f.creation(task.spec.clone(), None)]).await,
        Written::Stale
    );
    let runs = f.submit(3).await;
    assert_eq!(acts(&f).await.len(), 1, "a submission is told by its run");
    let by = Actor::new("ada", "10.0.0.1")
        .in_request("r-1")
        .because(Some("it is late"));
    let deed = Deed::new("run.cancel", "run", "its name").changing(json!({ "a": 1 }), Value::Null);
    let cancelled = f
        .store
        .cancel(&by.doing(deed), runs[0].id, at(5))
        .await
        .unwrap();
    assert_eq!(cancelled, Cancel::Cancelled);
    assert!(matches!(f.cancel(runs[0].id).await, Cancel::Ended(_)));
    let lines = f.store.audit_behind(1, 10).await.unwrap();
    let line = lines[0].line().unwrap();
    assert_eq!((line.seq, lines.len()), (2, 1));
    assert_eq!(
        (
            line.actor.as_str(),
            line.from.as_str(),
            line.request.as_deref(),
            line.reason.as_deref()
        ),
        ("library:ada", "10.0.0.1", Some("r-1"), Some("it is late"))
    );
    assert_eq!(
        (line.object.as_str(), line.before, line.after),
        ("run:its name", json!({ "a": 1 }), Value::Null)
    );
    verify(&f).await.unwrap();
}

/// What runs and is asked to end, a term that is asked to, what a submission is beside one, and what is no act of its own.
pub async fn acts_of_every_kind_leave_their_lines(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    // Running, it is asked to end: that is an act as well.
    let (_, _, running) = f.running().await;
    assert_eq!(f.cancel(running.id).await, Cancel::Requested);
    let term = f.lead().await;
    assert!(
        f.store
            .request_resign(somebody(), term.epoch + 7)
            .await
            .unwrap()
            == Written::Stale
    );
    assert!(
        f.store
            .request_resign(somebody(), term.epoch)
            .await
            .unwrap()
            .is_applied()
    );
    let by = somebody().doing(Deed::new("run.retry", "run", "x"));
    f.store.submit(&by, &f.requests(1)).await.unwrap();
    f.store
        .note(&somebody().doing(Deed::new("denied", "request", "x")))
        .await
        .unwrap();
    let told = acts(&f).await;
    let told: Vec<&str> = told
        .iter()
        .map(String::as_str)
        .filter(|act| *act != "edit")
        .collect();
    assert_eq!(told, ["run.cancel", "leader.resign", "run.retry", "denied"]);
    verify(&f).await.unwrap();
}

/// Many who act at once leave one chain.
pub async fn lines_of_many_at_once_form_one_chain(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let runs = f.submit(24).await;
    let acts = runs.iter().map(|run| {
        let store = Arc::clone(&f.store);
        let (id, n) = (run.id, run.id.as_i64());
        async move {
            loop {
                let done = match n % 2 {
                    0 => store.cancel(somebody(), id, at(1)).await.map(drop),
                    _ => {
                        store
                            .note(&somebody().doing(Deed::new("denied", "request", "x")))
                            .await
                    }
                };
                match done {
                    Err(error) if error.is_contended() => {}
                    done => return done.unwrap(),
                }
            }
        }
    });
    futures_util::future::join_all(acts).await;
    assert_eq!(verify(&f).await, Ok(24));
}

/// Lines are found by who, what and when, page by page.
pub async fn lines_are_found_by_who_what_and_when(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    for n in 0..6 {
        let who = Actor::new(if n % 2 == 0 { "even" } else { "odd" }, "here");
        let deed = Deed::new(
            "task.put",
            if n < 4 { "task" } else { "tasks" },
            &format!("t{n}"),
        );
        f.store.note(&who.doing(deed)).await.unwrap();
    }
    let of = |actor: Option<&str>, object: Option<&str>| Filter {
        actor: actor.map(str::to_owned),
        object: object.map(str::to_owned),
        ..Filter::default()
    };
    let seqs = |filter: Filter, before, limit| {
        let store = Arc::clone(&f.store);
        async move {
            let lines: Vec<Kept> = store.audit(&filter, before, limit).await.unwrap();
            lines.iter().map(|line| line.seq).collect::<Vec<_>>()
        }
    };
    assert_eq!(seqs(Filter::default(), None, 2).await, [6, 5]);
    assert_eq!(seqs(Filter::default(), Some(5), 9).await, [4, 3, 2, 1]);
    assert_eq!(
        seqs(of(Some("library:odd"), None), None, 9).await,
        [6, 4, 2]
    );
    assert_eq!(seqs(of(None, Some("task")), None, 9).await, [4, 3, 2, 1]);
    assert_eq!(seqs(of(None, Some("task:t2")), None, 9).await, [3]);
    assert_eq!(
        seqs(of(Some("library:odd"), Some("task:t2")), None, 9).await,
        [0_i64; 0]
    );
    let lines = f.store.audit_behind(0, 9).await.unwrap();
    let last = lines.last().unwrap().at;
    let times = |since: Option<Timestamp>, until: Option<Timestamp>| Filter {
        since,
        until,
        ..Filter::default()
    };
    let late = lines
        .iter()
        .rev()
        .filter(|line| line.at >= last)
        .map(|line| line.seq);
    assert_eq!(
        seqs(times(Some(last), None), None, 9).await,
        late.collect::<Vec<_>>()
    );
    let early = lines
        .iter()
        .rev()
        .filter(|line| line.at < last)
        .map(|line| line.seq);
    assert_eq!(
        seqs(times(None, Some(last)), None, 9).await,
        early.collect::<Vec<_>>()
    );
}

/// The oldest lines are removed under the fence, and the chain begins behind them.
pub async fn the_oldest_lines_are_pruned(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    for _ in 0..5 {
        f.store
            .note(&somebody().doing(Deed::new("denied", "request", "x")))
            .await
            .unwrap();
    }
    let old = f.lead().await;
    let after = f.tomorrow().await;
    let prune = |term, before, limit| {
        let store = Arc::clone(&f.store);
        async move { store.prune_audit(term, before, limit).await.unwrap() }
    };
    assert_eq!(prune(&old, after, 2).await, Some(2));
    assert_eq!(verify(&f).await, Ok(3));
    let term = f.lead().await;
    assert_eq!(prune(&old, after, 2).await, None);
    assert_eq!(prune(&term, Timestamp::from_ms(1), 9).await, Some(0));
    assert_eq!(prune(&term, after, 9).await, Some(3));
    assert_eq!(verify(&f).await, Ok(0));
    f.store
        .note(&somebody().doing(Deed::new("denied", "request", "y")))
        .await
        .unwrap();
    assert_eq!(verify(&f).await, Ok(1));
    assert_eq!(f.store.audit_behind(0, 9).await.unwrap()[0].seq, 6);
}
