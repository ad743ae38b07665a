//! Behaviours of what attempts write while they run, and of the names of who ran them.

#![expect(
    clippy::unwrap_used,
    reason = "a suite of tests: a panic is how it fails"
)]

use std::ops::Range;
use std::sync::Arc;

use super::fixture::{Fixture, at, end};
use campanile_core::decide::attempt;
use campanile_core::id::{ClaimId, RunId};
use campanile_core::port::Written;
use campanile_core::port::attempt::{Append, Chunk, Chunks, End, Finish};
use campanile_core::port::store::Store;
use campanile_core::run::{Reason, Run};
use campanile_core::task::StartMode;

fn chunks(put: &[(u64, &str)], gone: Option<Range<u64>>) -> Chunks {
    let chunk = |(at, text): &(u64, &str)| Chunk {
        at: *at,
        text: (*text).to_owned(),
    };
    Chunks {
        put: put.iter().map(chunk).collect(),
        gone,
    }
}

fn append(run: &Run, claim: ClaimId, chunks: Chunks) -> Append {
    Append {
        run: run.id,
        attempt: run.attempt,
        claim,
        chunks,
    }
}

async fn append_one(f: &Fixture, append: Append) -> Written {
    f.store.append(&[append]).await.unwrap()[0]
}

async fn rows(f: &Fixture, run: RunId) -> Vec<(u32, u64, String)> {
    let log = f.store.log(run, 0, 0, 1_000).await.unwrap();
    let rows = log.into_iter().map(|(attempt, c)| (attempt, c.at, c.text));
    rows.collect()
}

fn row(attempt: u32, at: u64, text: &str) -> (u32, u64, String) {
    (attempt, at, text.to_owned())
}

/// What an attempt writes is there while it runs, chunk by chunk, and stays with its run when that has ended.
pub async fn output_is_kept_while_the_attempt_runs(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (_, claim, run) = f.running().await;
    assert_eq!(rows(&f, run.id).await, []);
    let first = append(&run, claim, chunks(&[(0, "one ü\n")], None));
    assert_eq!(append_one(&f, first).await, Written::Applied);
    assert_eq!(rows(&f, run.id).await, [row(1, 0, "one ü\n")]);
    // The same chunk with more in it, and another.
    let more = chunks(&[(0, "one ü\ntwo\n"), (11, "three\n")], None);
    assert_eq!(
        append_one(&f, append(&run, claim, more)).await,
        Written::Applied
    );
    let kept = [row(1, 0, "one ü\ntwo\n"), row(1, 11, "three\n")];
    assert_eq!(rows(&f, run.id).await, kept);
    let mut done = end(&run, claim, End::Succeeded);
    done.log = Some(chunks(&[(17, "end\n")], None));
    done.result = Some("7".to_owned());
    assert_eq!(f.finish(done).await, Written::Applied);
    let logs = f.store.logs(run.id).await.unwrap();
    assert_eq!(logs, [(1, "one ü\ntwo\nthree\nend\n".to_owned())]);
    assert_eq!(f.detail(run.id).await.result.as_deref(), Some("7"));
    assert!(f.store.append(&[]).await.unwrap().is_empty());
}

/// Nothing is written but under the claim of an attempt that runs: not before, not after, not for another, not by one who was
/// evicted. What was written until then stays, and the next attempt has a log of its own.
pub async fn an_append_needs_its_claim(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let waiting = f.submit(1).await.remove(0);
    let early = append(&waiting, f.mint.claim(), chunks(&[(0, "early")], None));
    assert_eq!(append_one(&f, early).await, Written::Stale);
    let (node, claim, run) = f.running().await;
    let good = append(&run, claim, chunks(&[(0, "good\n")], None));
    let forged = append(
        &run,
        f.mint.claim(),
        chunks(&[(0, "forged, and longer")], Some(0..9)),
    );
    let other = Append {
        attempt: 2,
        ..append(&run, claim, chunks(&[(0, "other")], None))
    };
    let answers = f.store.append(&[good, other]).await.unwrap();
    assert_eq!(answers, [Written::Applied, Written::Stale]);
    assert_eq!(append_one(&f, forged).await, Written::Stale);
    let term = f.lead().await;
    assert_eq!(f.store.evict(&term, node).await.unwrap(), Written::Applied);
    // Evicted, and not yet given to others: it has its claim, and may end.
    let last = append(&run, claim, chunks(&[(5, "last\n")], None));
    assert_eq!(append_one(&f, last).await, Written::Applied);
    let lost = attempt::lose(&run, StartMode::default(), at(3)).unwrap();
    let ended = f.store.finish_lost(&term, &[lost]).await.unwrap();
    assert_eq!(ended, Some(vec![Written::Applied]));
    let late = append(&run, claim, chunks(&[(10, "late")], Some(0..9)));
    assert_eq!(append_one(&f, late.clone()).await, Written::Stale);
    let kept = [row(1, 0, "good\n"), row(1, 5, "last\n")];
    assert_eq!(rows(&f, run.id).await, kept);
    let (again, _) = f.claim(f.node().await, &[(run.id, 2)]).await;
    let second = f.row(run.id).await;
    let new = append(&second, again, chunks(&[(0, "second\n")], None));
    let answers = f.store.append(&[late, new]).await.unwrap();
    assert_eq!(answers, [Written::Stale, Written::Applied]);
    let mut done = end(&second, again, End::Failed(Reason::Error));
    done.error = Some("no".to_owned());
    assert_eq!(f.finish(done).await, Written::Applied);
    let after = append(&second, again, chunks(&[(7, "after")], None));
    assert_eq!(append_one(&f, after).await, Written::Stale);
    let kept = [kept[0].clone(), kept[1].clone(), row(2, 0, "second\n")];
    assert_eq!(rows(&f, run.id).await, kept);
    assert_eq!(rows(&f, waiting.id).await, []);
}

/// Chunks of the middle are let go, by an append and by an end; of two that begin at one place the longer one stays.
pub async fn chunks_are_let_go_and_the_longer_stays(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (_, claim, run) = f.running().await;
    let put = chunks(&[(0, "head"), (4, "aaaa"), (8, "bbbb"), (12, "cccc")], None);
    assert_eq!(
        append_one(&f, append(&run, claim, put)).await,
        Written::Applied
    );
    let next = chunks(&[(12, "ccccdd"), (90, "tail")], Some(4..12));
    let next = append(&run, claim, next);
    assert_eq!(append_one(&f, next.clone()).await, Written::Applied);
    let kept = [row(1, 0, "head"), row(1, 12, "ccccdd"), row(1, 90, "tail")];
    assert_eq!(rows(&f, run.id).await, kept);
    // Late, and again.
    let late = append(&run, claim, chunks(&[(12, "cccc"), (90, "t")], None));
    assert_eq!(append_one(&f, late).await, Written::Applied);
    assert_eq!(append_one(&f, next).await, Written::Applied);
    assert_eq!(rows(&f, run.id).await, kept);
    let mut done = end(&run, claim, End::Succeeded);
    done.log = Some(chunks(&[(90, "tail and end")], Some(4..90)));
    assert_eq!(f.finish(done).await, Written::Applied);
    let kept = [row(1, 0, "head"), row(1, 90, "tail and end")];
    assert_eq!(rows(&f, run.id).await, kept);
    let logs = f.store.logs(run.id).await.unwrap();
    let text = "head\n[86 bytes are left out here]\ntail and end".to_owned();
    assert_eq!(logs, [(1, text)]);
}

/// A log is read from any place on, in order through all attempts, and not more of it than was asked for.
pub async fn a_log_is_read_from_any_place(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (node, claim, run) = f.running().await;
    let again = End::Again {
        ready_at: at(3),
        why: Reason::Error,
    };
    let mut first = end(&run, claim, again);
    first.log = Some(chunks(&[(0, "0123"), (4, "4567")], None));
    assert_eq!(f.finish(first).await, Written::Applied);
    let (claim, _) = f.claim(node, &[(run.id, 2)]).await;
    let second = f.row(run.id).await;
    let put = append(&second, claim, chunks(&[(0, "ab"), (2, "cd")], None));
    assert_eq!(append_one(&f, put).await, Written::Applied);
    let read = async |attempt, from, limit| {
        let log = f.store.log(run.id, attempt, from, limit).await.unwrap();
        let texts = log.into_iter().map(|(attempt, c)| (attempt, c.text));
        texts
            .map(|(n, text)| format!("{n}{text}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(read(0, 0, 10).await, ["10123", "14567", "2ab", "2cd"]);
    assert_eq!(read(1, 3, 10).await, ["10123", "14567", "2ab", "2cd"]);
    assert_eq!(read(1, 4, 2).await, ["14567", "2ab"]);
    assert_eq!(read(1, 8, 10).await, ["2ab", "2cd"]);
    assert_eq!(read(2, 3, 10).await, ["2cd"]);
    assert!(read(2, 4, 10).await.is_empty() && read(3, 0, 10).await.is_empty());
    let unknown = f.requests(1)[0].run.id;
    assert!(f.store.log(unknown, 0, 0, 10).await.unwrap().is_empty());
}

/// Output is removed with its run's history.
pub async fn pruning_removes_output(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let (_, claim, run) = f.running().await;
    let put = append(&run, claim, chunks(&[(0, "text")], None));
    assert_eq!(append_one(&f, put).await, Written::Applied);
    let done = end(&run, claim, End::Succeeded);
    assert_eq!(f.finish(done).await, Written::Applied);
    let term = f.lead().await;
    assert_eq!(f.store.prune(&term, at(60), 10).await.unwrap(), Some(1));
    assert_eq!(rows(&f, run.id).await, []);
}

/// A node's name is known as long as its runs may name it: also when it was evicted or has left.
pub async fn names_of_nodes_outlive_them(store: Arc<dyn Store>) {
    let f = Fixture::new(store);
    let term = f.lead().await;
    let mut nodes = Vec::new();
    for name in ["stays", "leaves", "dies"] {
        let row = campanile_core::port::member::Node {
            name: name.to_owned(),
            ..f.node_row()
        };
        f.store.join(&row).await.unwrap();
        nodes.push(row.id);
    }
    f.store.leave(nodes[1]).await.unwrap();
    assert_eq!(
        f.store.evict(&term, nodes[2]).await.unwrap(),
        Written::Applied
    );
    let asked = [nodes[0], nodes[1], nodes[2], f.mint.node()];
    let names = async || {
        let found = f.store.node_names(&asked).await.unwrap();
        let mut names: Vec<String> = found.into_values().collect();
        names.sort();
        names
    };
    assert_eq!(names().await, ["dies", "leaves", "stays"]);
    assert_eq!(f.store.prune(&term, at(60), 10).await.unwrap(), Some(0));
    assert_eq!(names().await, ["dies", "leaves", "stays"]);
    let later = f.tomorrow().await;
    assert_eq!(f.store.prune(&term, later, 10).await.unwrap(), Some(0));
    assert_eq!(names().await, ["stays"]);
    assert!(f.store.node_names(&[]).await.unwrap().is_empty());
}

/// What was written stays when the end is set aside, and when it is released.
pub async fn output_outlives_what_is_set_aside(store: Arc<dyn Store>) {
    use campanile_core::port::attempt::{Aside, Thing};
    let f = Fixture::new(store);
    let (_, claim, run) = f.running().await;
    let put = append(&run, claim, chunks(&[(0, "text")], None));
    assert_eq!(append_one(&f, put.clone()).await, Written::Applied);
    let refused = Finish {
        log: None,
        ..end(&run, claim, End::Succeeded)
    };
    let aside = Aside {
        thing: Thing::End(refused),
        at: at(3),
        error: "no".to_owned(),
    };
    assert_eq!(f.store.set_aside(&aside).await.unwrap(), Written::Applied);
    assert_eq!(append_one(&f, put).await, Written::Stale);
    assert_eq!(rows(&f, run.id).await, [row(1, 0, "text")]);
}
