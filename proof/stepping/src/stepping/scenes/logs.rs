//! Output that is appended, beside all that takes the attempt from its worker: its end, its eviction, the next attempt. An append
//! holds nobody up, and counts as made at the moment at which it looked.

use campanile_core::id::{ClaimId, RunId};
use campanile_core::port::attempt::{Append, Chunk, Chunks, End};

use super::super::fixture::{AGAIN, LOST, World, finish};
use super::super::ops::Op;
use super::Scene;

fn append(run: RunId, attempt: u32, claim: ClaimId, put: &[(u64, &str)]) -> Op {
    let chunk = |(at, text): &(u64, &str)| Chunk {
        at: *at,
        text: (*text).to_owned(),
    };
    Op::Append(vec![Append {
        run,
        attempt,
        claim,
        chunks: Chunks {
            put: put.iter().map(chunk).collect(),
            gone: Some(1..3),
        },
    }])
}

/// All of them.
pub(in super::super) fn logs() -> Vec<Scene> {
    let scene = |name, meet: fn(&World, RunId, ClaimId) -> Op| {
        let mut w = World::new();
        let task = w.task("a");
        let (run, claim) = w.running(&task, 0);
        let other = meet(&w, run, claim);
        let written = append(run, 1, claim, &[(0, "ab"), (6, "tail")]);
        w.meet(name, vec![vec![written], vec![other]]).reordering()
    };
    let mut scenes = vec![
        scene("append, finish", |_, run, claim| {
            Op::Finish(vec![finish(run, claim, End::Succeeded)])
        }),
        scene("append, requeue", |_, run, claim| {
            Op::Finish(vec![finish(run, claim, AGAIN)])
        }),
        scene("append, lost", |w, run, claim| {
            Op::Lost(w.term.clone(), vec![finish(run, claim, LOST)])
        }),
        scene("append, evict", |w, _, _| {
            Op::Evict(w.term.clone(), w.workers[0])
        }),
        scene("append, append of the same and more", |_, run, claim| {
            append(run, 1, claim, &[(0, "abcd")])
        }),
    ];
    let mut w = World::new();
    let task = w.task("a");
    let (run, claim) = w.running(&task, 0);
    let lost = Op::Lost(w.term.clone(), vec![finish(run, claim, LOST)]);
    let next = w.claim(1, &[(run, 2)]);
    let second = append(run, 2, next.id, &[(0, "second")]);
    let leader = vec![lost, Op::Claim(next), second];
    let late = append(run, 1, claim, &[(0, "first")]);
    let name = "append, lost and claim again and append";
    scenes.push(w.meet(name, vec![vec![late], leader]).reordering());
    scenes.push(late_append());
    scenes
}

/// Who appends after the loss is answered that it is late, whatever else goes on.
fn late_append() -> Scene {
    let mut w = World::new();
    let task = w.task("a");
    let (run, claim) = w.running(&task, 0);
    let lost = Op::Lost(w.term.clone(), vec![finish(run, claim, LOST)]);
    let late = append(run, 1, claim, &[(0, "late")]);
    let begin = Op::Begin(w.bid(2));
    w.meet(
        "lost and append, begin",
        vec![vec![lost, late], vec![begin]],
    )
}
