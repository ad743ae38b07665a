//! The inbox, emptied by a leader, beside strangers who leave something, requests with the same key, another look, and a
//! successor's term.

use campanile_core::decide::edit::inbox::{Decided, Left, decide, open};
use campanile_core::id::RunId;
use campanile_core::port::edit::Submission;
use campanile_core::run::Origin;

use super::super::fixture::{World, at};
use super::super::ops::Op;
use super::Scene;

/// A request with a key, as a stranger writes it.
fn text(payload: i64) -> String {
    format!(r#"{{"handler": {{"native": "greet"}}, "payload": {payload}, "idempotency_key": "k"}}"#)
}

fn run(w: &World) -> RunId {
    w.mint.runs(at(0), 1)[0]
}

fn drain(w: &World) -> Op {
    Op::Drain(w.term.clone(), run(w))
}

/// The same request, as the API asks for it.
fn asked(w: &World, payload: i64) -> Op {
    let left = Left {
        id: 0,
        request: Some(text(payload)),
    };
    let decision = decide(open(&left), &[], run(w), at(0));
    let submissions: Vec<Submission> = match decision.decided {
        Decided::Run(mut submission) => {
            submission.run.origin = Origin::Request;
            vec![*submission]
        }
        Decided::Refused(_) => Vec::new(),
    };
    Op::Submit(submissions)
}

pub(super) fn inbox() -> Vec<Scene> {
    let scene = |name, other: fn(&World) -> Vec<Op>| {
        let w = World::new();
        let leader = vec![Op::LeaveRequest(text(1)), drain(&w)];
        let other = other(&w);
        w.meet(name, vec![leader, other])
    };
    vec![
        // What is left between a drain's look and its write waits for the next look.
        scene("drain, leave", |_| vec![Op::LeaveRequest(text(1))]).reordering(),
        scene("drain, leave of other content", |_| {
            vec![Op::LeaveRequest(text(2))]
        })
        .reordering(),
        scene("drain, drain", |w| vec![drain(w)]).reordering(),
        scene("drain, submit of its key", |w| vec![asked(w, 1)]),
        scene("drain, submit of its key with other content", |w| {
            vec![asked(w, 2)]
        }),
        scene("drain, begin", |w| vec![Op::Begin(w.bid(2))]),
    ]
}
