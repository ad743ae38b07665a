//! What the store refuses is set aside, and goes on, beside claims, ends, firings, requests and a successor; and blocked
//! runs are let go.

use campanile_core::decide::permits::LimitKey;
use campanile_core::id::RunId;
use campanile_core::port::attempt::{Aside, End, Thing};
use campanile_core::run::Run;
use campanile_core::task::QueueName;

use super::super::fixture::{AGAIN, WITHDRAWN, World, at, blocking, due, finish};
use super::super::ops::Op;
use super::Scene;
use super::permits::group;

fn aside(thing: Thing) -> Box<Aside> {
    Box::new(Aside {
        thing,
        at: at(50),
        error: "refused".to_owned(),
    })
}

const fn handed_over(run: RunId) -> Thing {
    Thing::HandedOver { run, attempt: 1 }
}

/// Setting something aside, beside whoever else wants it.
pub(super) fn asides() -> Vec<Scene> {
    let scene = |name, sessions: fn(&mut World, Run) -> [Op; 2]| {
        let mut w = World::new();
        let task = w.task("a");
        let run = w.waiting(&task, 0);
        let [one, other] = sessions(&mut w, run);
        w.meet(name, vec![vec![one], vec![other]])
    };
    let mut scenes = vec![
        scene("set aside, its end", |w, run| {
            let claim = w.claimed(run.id);
            let end = finish(run.id, claim, AGAIN);
            [
                Op::Aside(None, aside(Thing::End(end.clone()))),
                Op::Finish(vec![end]),
            ]
        }),
        scene("claim, set aside of its abandonment", |w, run| {
            let ambiguous = w.claim(0, &[(run.id, 1)]);
            let end = finish(run.id, ambiguous.id, WITHDRAWN);
            [
                Op::Claim(ambiguous),
                Op::Aside(None, aside(Thing::End(end))),
            ]
        }),
        scene("claim, set aside of another's abandonment", |w, run| {
            let ambiguous = w.claim(0, &[(run.id, 1)]);
            let end = finish(run.id, ambiguous.id, WITHDRAWN);
            [
                Op::Claim(w.claim(1, &[(run.id, 1)])),
                Op::Aside(None, aside(Thing::End(end))),
            ]
        }),
        scene("set aside of a hand-over, cancel", |w, run| {
            [
                Op::Aside(Some(w.term.clone()), aside(handed_over(run.id))),
                Op::Cancel(run.id),
            ]
        }),
        scene("set aside of a hand-over, begin", |w, run| {
            [
                Op::Aside(Some(w.term.clone()), aside(handed_over(run.id))),
                Op::Begin(w.bid(2)),
            ]
        }),
    ];
    let mut w = World::new();
    let task = w.task("a");
    let set = Op::Aside(Some(w.term.clone()), aside(Thing::Due(due(task.id, at(0)))));
    let fire = w.fire(w.firing(&task, 0).0);
    scenes.push(w.meet(
        "set aside of a due row, its fire",
        vec![vec![set], vec![fire]],
    ));
    let mut w = World::new();
    let key = group(&mut w);
    let (a, b) = (w.task("a"), w.task("b"));
    let held = w.holding(&a, 0, &key, 0).id;
    let end = finish(held, w.claimed(held), End::Succeeded);
    let set = Op::Aside(None, aside(Thing::End(end)));
    let (firing, run) = w.firing(&b, 0);
    let block = w.fire(blocking(firing, &key, &[0], &run));
    scenes.push(w.meet("set aside, fire that blocks", vec![vec![set], vec![block]]));
    scenes.extend(releases());
    scenes
}

/// What is set aside goes on or is gone, once, whoever asks.
fn releases() -> Vec<Scene> {
    let scene = |name, sessions: fn(&mut World, Run) -> [Op; 2]| {
        let mut w = World::new();
        let task = w.task("a");
        let run = w.waiting(&task, 0);
        let [one, other] = sessions(&mut w, run);
        w.meet(name, vec![vec![one], vec![other]])
    };
    vec![
        scene("release, release", |w, run| {
            let claim = w.claimed(run.id);
            let end = finish(run.id, claim, AGAIN);
            w.setup.push(Op::Aside(None, aside(Thing::End(end))));
            [Op::Release(run.id), Op::Release(run.id)]
        }),
        scene("release, cancel", |w, run| {
            let claim = w.claimed(run.id);
            let end = finish(run.id, claim, AGAIN);
            w.setup.push(Op::Aside(None, aside(Thing::End(end))));
            [Op::Release(run.id), Op::Cancel(run.id)]
        }),
        scene("release, drop", |w, run| {
            let claim = w.claimed(run.id);
            let end = finish(run.id, claim, End::Succeeded);
            w.setup.push(Op::Aside(None, aside(Thing::End(end))));
            [Op::Release(run.id), Op::Drop(run.id)]
        }),
    ]
}

/// Runs that nobody could carry out are let go, beside whoever else moves them; who waits for something else waits on.
pub(super) fn unblocked() -> Vec<Scene> {
    let scene = |name, other: fn(&World, &Run) -> Op| {
        let mut w = World::new();
        let group = group(&mut w);
        let needs = LimitKey::Ability(QueueName::default(), "native:rare".to_owned());
        let (a, b) = (w.task("a"), w.task("b"));
        let (firing, blocked) = w.firing(&a, 0);
        w.setup
            .push(w.fire(blocking(firing, &needs, &[], &blocked)));
        w.holding(&b, 0, &group, 0);
        w.blocked(&b, 10, &group, &[0]);
        let other = other(&w, &blocked);
        let unblock = Op::Unblock(w.term.clone(), vec![needs]);
        w.meet(name, vec![vec![unblock], vec![other]])
    };
    vec![
        scene("unblock, begin", |w, _| Op::Begin(w.bid(2))),
        scene("unblock, cancel", |_, run| Op::Cancel(run.id)),
        scene("unblock, sweep", |w, _| Op::Sweep(w.term.clone())),
        scene("unblock, claim of an old message", |w, run| {
            Op::Claim(w.claim(0, &[(run.id, 1)]))
        }),
    ]
}
