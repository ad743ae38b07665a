//! Scenes about permits and requests: what is taken, waited for, given back and handed on; keys, timers, retention.

use campanile_core::decide::permits::LimitKey;
use campanile_core::id::{ClaimId, RunId};
use campanile_core::port::attempt::End;
use campanile_core::port::fire::{Firing, Replaced};
use campanile_core::run::Run;
use campanile_schedule::time::Timestamp;

use super::super::fixture::{AGAIN, World, acquiring, at, blocking, finish};
use super::super::ops::Op;
use super::{Scene, set_a_limit};

pub(super) fn group(w: &mut World) -> LimitKey {
    let key = LimitKey::Group("g".to_owned());
    w.keys.push(key.clone());
    key
}

pub(super) type Holder = (RunId, ClaimId);

/// Two runs hold the permits of a group, two wait for one.
pub(super) fn two_hold_two_wait(w: &mut World) -> (LimitKey, [Holder; 2], [RunId; 2]) {
    let key = LimitKey::Group("g".to_owned());
    let a = w.task("a");
    let held = [0, 1].map(|n| {
        let run = w.holding(&a, 10 * i64::from(n), &key, n).id;
        (run, w.claimed(run))
    });
    let blocked = [20, 30].map(|from| w.blocked(&a, from, &key, &[0, 1]).id);
    (key, held, blocked)
}

/// Permits: taken, waited for, given back and handed on.
pub(super) fn permits() -> Vec<Scene> {
    let mut scenes = Vec::new();
    let mut w = World::new();
    let key = group(&mut w);
    let (a, b) = (w.task("a"), w.task("b"));
    let sessions = [&a, &b].map(|task| {
        let (firing, run) = w.firing(task, 0);
        vec![w.fire(acquiring(firing, &key, 0, run.id))]
    });
    scenes.push(w.meet("fire, fire of one permit", sessions.into()));

    let mut w = World::new();
    let key = group(&mut w);
    let (a, b) = (w.task("a"), w.task("b"));
    let held = w.holding(&a, 0, &key, 0).id;
    let end = Op::Finish(vec![finish(held, w.claimed(held), End::Succeeded)]);
    let (firing, run) = w.firing(&b, 0);
    let block = w.fire(blocking(firing, &key, &[0], &run));
    scenes.push(w.meet("end, fire that blocks", vec![vec![end], vec![block]]));

    let mut w = World::new();
    let key = group(&mut w);
    let (a, b) = (w.task("a"), w.task("b"));
    let held = w.holding(&a, 0, &key, 0).id;
    let end = Op::Finish(vec![finish(held, w.claimed(held), AGAIN)]);
    let (firing, run) = w.firing(&b, 0);
    let take = w.fire(acquiring(firing, &key, 0, run.id));
    scenes.push(w.meet(
        "requeue, fire that takes its permit",
        vec![vec![end], vec![take]],
    ));

    let mut w = World::new();
    let (key, [one, _], _) = two_hold_two_wait(&mut w);
    w.keys.push(key);
    let end = Op::Finish(vec![finish(one.0, one.1, End::Succeeded)]);
    let scene = w.meet("end, set a limit", vec![vec![end], vec![set_a_limit()]]);
    // Each passes over the blocked run that the other lets go, as if it had been second, and may commit first.
    scenes.push(scene.reordering());

    let mut w = World::new();
    let (key, [one, two], _) = two_hold_two_wait(&mut w);
    w.keys.push(key);
    let ends = [one, two].map(|(run, claim)| vec![Op::Finish(vec![finish(run, claim, AGAIN)])]);
    scenes.push(w.meet("two ends that hand on", ends.into()));

    let mut w = World::new();
    let (key, [one, _], blocked) = two_hold_two_wait(&mut w);
    w.keys.push(key);
    let end = Op::Finish(vec![finish(one.0, one.1, End::Succeeded)]);
    let cancel = Op::Cancel(blocked[0]);
    let scene = w.meet("end, cancel of who is next", vec![vec![end], vec![cancel]]);
    // An end passes over a blocked run that is about to leave, as if the cancel had been first, and may commit before it.
    scenes.push(scene.reordering());
    scenes.extend(replaced_and_blocked());
    scenes
}

/// A run that is replaced, or blocked, while its claim or its end is under way.
fn replaced_and_blocked() -> Vec<Scene> {
    let mut scenes = Vec::new();
    let mut w = World::new();
    let a = w.task("a");
    let key = LimitKey::Overlap(a.id);
    w.keys.push(key.clone());
    let held = w.holding(&a, 0, &key, 0).id;
    let claim = w.claimed(held);
    let (firing, run) = w.firing(&a, 10);
    let replaced = vec![Replaced {
        key: key.clone(),
        run: held,
        running: true,
        kept: false,
    }];
    let firing = blocking(firing, &key, &[0], &run);
    let replace = w.fire(Firing { replaced, ..firing });
    let end = Op::Finish(vec![finish(held, claim, End::Succeeded)]);
    scenes.push(w.meet("end, fire that replaces it", vec![vec![end], vec![replace]]));

    let mut w = World::new();
    let key = group(&mut w);
    let a = w.task("a");
    w.holding(&a, 0, &key, 0);
    let request = w.submission(None);
    w.setup.push(Op::Submit(vec![request.clone()]));
    let run = request.run;
    let block = w.fire(blocking(w.timer(&run), &key, &[0], &run));
    let claim = Op::Claim(w.claim(0, &[(run.id, 1)]));
    let scene = w.meet("claim, fire that blocks it", vec![vec![claim], vec![block]]);
    // The claim looks for blocked runs as of its statement's begin, and the run's row as the firing left it.
    scenes.push(Scene {
        open_on: &["PostgreSQL"],
        ..scene
    });
    scenes
}

/// Requests: keys, timers, retention.
pub(super) fn requests() -> Vec<Scene> {
    let mut scenes = Vec::new();
    let w = World::new();
    let sessions = [(), ()].map(|()| vec![Op::Submit(vec![w.submission(Some("k"))])]);
    scenes.push(w.meet("submit, submit of one key", sessions.into()));

    let mut w = World::new();
    let first = w.submission(Some("k"));
    w.setup.push(Op::Submit(vec![first.clone()]));
    let claim = w.claimed(first.run.id);
    let end = finish(first.run.id, claim, End::Succeeded);
    w.setup.push(Op::Finish(vec![end]));
    let submit = Op::Submit(vec![w.submission(Some("k"))]);
    let prune = Op::Prune(w.term.clone(), at(60));
    let scene = w.meet(
        "submit, prune of the key's run",
        vec![vec![submit], vec![prune]],
    );
    scenes.push(scene);

    let mut w = World::new();
    let request = w.submission(None);
    w.setup.push(Op::Submit(vec![request.clone()]));
    let timer = w.fire(w.timer(&request.run));
    let cancel = Op::Cancel(request.run.id);
    scenes.push(w.meet("fire of a timer, cancel", vec![vec![timer], vec![cancel]]));
    scenes.extend(moves());
    scenes
}

/// A request is moved to another instant, beside all that may begin or end it.
fn moves() -> Vec<Scene> {
    // Long after the clocks of all stores: who is moved there is not claimed.
    const FAR: Timestamp = Timestamp::from_ms(4_000_000_000_000);
    let scene = |name, other: fn(&World, &Run) -> Op| {
        let mut w = World::new();
        let request = w.submission(None);
        w.setup.push(Op::Submit(vec![request.clone()]));
        let other = other(&w, &request.run);
        let moved = Op::Move(request.run.id, FAR);
        w.meet(name, vec![vec![moved], vec![other]])
    };
    vec![
        scene("move, fire of its timer", |w, run| w.fire(w.timer(run))),
        scene("move, claim", |w, run| {
            Op::Claim(w.claim(0, &[(run.id, 1)]))
        }),
        scene("move, cancel", |_, run| Op::Cancel(run.id)),
        scene("move, move", |_, run| Op::Move(run.id, at(500))),
    ]
}
