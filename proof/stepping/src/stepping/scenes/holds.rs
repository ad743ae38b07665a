//! The hold of the cluster beside all that would start something, and the end of a pause by the leader.

use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::decide::lead::hold::{Cause, Hold};
use campanile_core::port::edit::{Edit, Upsert};
use campanile_core::port::member::Node;
use campanile_core::task::Pause;
use campanile_schedule::time::Timestamp;

use super::super::fixture::{World, at, due, node};
use super::super::ops::Op;
use super::Scene;

fn hold(until: Option<Timestamp>) -> Op {
    Op::Hold(Some(Hold {
        cause: Cause::Asked,
        by: "ada".to_owned(),
        why: "a look".to_owned(),
        since: at(0),
        until,
    }))
}

pub(super) fn holds() -> Vec<Scene> {
    let beside = |name, other: fn(&mut World) -> Vec<Op>| {
        let mut w = World::new();
        let others = other(&mut w);
        w.meet(name, vec![vec![hold(None)], others])
    };
    vec![
        beside("hold, claim", |w| {
            let task = w.task("a");
            let run = w.waiting(&task, 0);
            vec![Op::Claim(w.claim(0, &[(run.id, 1)]))]
        }),
        beside("hold, fire", |w| {
            let task = w.task("a");
            vec![w.fire(w.firing(&task, 0).0)]
        }),
        beside("hold, join and claim", |w| {
            let task = w.task("a");
            let run = w.waiting(&task, 0);
            let late: Node = node(w.mint.node());
            w.workers[1] = late.id;
            let claim = Op::Claim(w.claim(1, &[(run.id, 1)]));
            vec![Op::Join(Box::new(late)), claim]
        }),
        beside("hold, finish", |w| {
            let task = w.task("a");
            let (run, claim) = w.running(&task, 0);
            let end = campanile_core::port::attempt::End::Succeeded;
            vec![Op::Finish(vec![super::super::fixture::finish(
                run, claim, end,
            )])]
        }),
        beside("hold, evict", |w| {
            vec![Op::Evict(w.term.clone(), w.workers[0])]
        }),
        beside("hold, end of it", |_| vec![Op::Hold(None)]),
        ended("end of a hold, begin", |w| Op::Begin(w.bid(2))),
        ended("end of a hold, another hold", |_| hold(Some(at(70)))),
        ended("end of a hold, claim", |w| {
            let task = w.task("a");
            let run = w.waiting(&task, 0);
            Op::Claim(w.claim(0, &[(run.id, 1)]))
        }),
    ]
}

/// The leader ends a hold whose end has come.
fn ended(name: &'static str, other: fn(&mut World) -> Op) -> Scene {
    let mut w = World::new();
    let other = other(&mut w);
    w.setup.push(hold(Some(at(50))));
    let end = Op::EndHold(w.term.clone(), at(50));
    w.meet(name, vec![vec![end], vec![other]])
}

/// A leader that ends a pause, beside whoever resumes the task before, says another end, or leads next.
pub(super) fn pauses() -> Vec<Scene> {
    let scene = |name, other: fn(&World, Upsert, Pause) -> Op| {
        let mut w = World::new();
        let task = w.task("a");
        let pause = Pause {
            by: "ada".to_owned(),
            reason: None,
            since: at(1),
            until: Some(at(50)),
        };
        let Op::Edit(mut rest) = w.rest(&task) else {
            unreachable!("a rest is an edit")
        };
        rest.upserts[0].spec.paused = true;
        rest.pauses = vec![(task.id, pause.clone())];
        w.setup.push(Op::Edit(rest));
        w.edits += 1;
        let resumed = Upsert {
            id: task.id,
            expected: Some(2),
            spec: task.spec.clone(),
            paused_from: None,
            due: DueChange::Replace {
                seen: None,
                next: Some(due(task.id, at(60))),
            },
        };
        let other = other(&w, resumed.clone(), pause);
        let end = Edit {
            upserts: vec![resumed],
            edits: Some(w.edits),
            ..Edit::default()
        };
        let end = Op::EndPause(w.term.clone(), Box::new(end));
        w.meet(name, vec![vec![end], vec![other]])
    };
    vec![
        scene("end of a pause, begin", |w, _, _| Op::Begin(w.bid(2))),
        scene("end of a pause, resume", |_, resumed, _| {
            Op::Edit(Box::new(Edit {
                upserts: vec![resumed],
                ..Edit::default()
            }))
        }),
        scene("end of a pause, another end", |_, resumed, pause| {
            let later = Pause {
                until: Some(at(500)),
                ..pause
            };
            let pauses = vec![(resumed.id, later)];
            let mut paused = Upsert {
                due: DueChange::Keep,
                ..resumed
            };
            paused.spec.paused = true;
            Op::Edit(Box::new(Edit {
                upserts: vec![paused],
                pauses,
                ..Edit::default()
            }))
        }),
    ]
}
