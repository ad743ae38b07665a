//! Scenes of three sessions: too many interleavings to walk them all, so dice choose.

use campanile_core::port::attempt::End;

use super::super::fixture::{AGAIN, LOST, World, blocking, finish};
use super::super::ops::Op;
use super::Scene;
use super::permits::two_hold_two_wait;

/// All of them.
pub(in super::super) fn threes() -> Vec<Scene> {
    let mut scenes = Vec::new();
    let mut w = World::new();
    let task = w.task("a");
    let sessions = vec![
        vec![w.fire(w.firing(&task, 0).0)],
        vec![w.pause(&task)],
        vec![Op::Begin(w.bid(2))],
    ];
    scenes.push(w.meet("fire, pause, begin", sessions));

    let mut w = World::new();
    let task = w.task("a");
    let run = w.waiting(&task, 0).id;
    let sessions = vec![
        vec![Op::Claim(w.claim(0, &[(run, 1)]))],
        vec![Op::Claim(w.claim(1, &[(run, 1)]))],
        vec![Op::Evict(w.term.clone(), w.workers[0]), Op::Begin(w.bid(2))],
    ];
    scenes.push(w.meet("claim, claim, evict and begin", sessions));

    let mut w = World::new();
    let task = w.task("a");
    let (run, claim) = w.running(&task, 0);
    let sessions = vec![
        vec![
            Op::Finish(vec![finish(run, claim, AGAIN)]),
            Op::Claim(w.claim(0, &[(run, 2)])),
        ],
        vec![Op::Lost(w.term.clone(), vec![finish(run, claim, LOST)])],
        vec![Op::Cancel(run)],
    ];
    scenes.push(w.meet("requeue and claim, lost, cancel", sessions));
    scenes.extend(more());
    scenes
}

fn more() -> Vec<Scene> {
    let mut scenes = Vec::new();
    let mut w = World::new();
    let (key, [one, two], _) = two_hold_two_wait(&mut w);
    w.keys.push(key.clone());
    let b = w.task("b");
    let (firing, run) = w.firing(&b, 0);
    let sessions = vec![
        vec![Op::Finish(vec![finish(one.0, one.1, End::Succeeded)])],
        vec![Op::Finish(vec![finish(two.0, two.1, End::Succeeded)])],
        vec![w.fire(blocking(firing, &key, &[0, 1], &run))],
    ];
    scenes.push(w.meet("end, end, fire that blocks", sessions));

    let mut w = World::new();
    let request = w.submission(Some("k"));
    w.setup.push(Op::Submit(vec![request.clone()]));
    let run = request.run;
    let sessions = vec![
        vec![
            w.fire(w.timer(&run)),
            Op::Mark(w.term.clone(), vec![(run.id, 1)], Vec::new()),
        ],
        vec![
            Op::Cancel(run.id),
            Op::Submit(vec![w.submission(Some("k"))]),
        ],
        vec![Op::Claim(w.claim(0, &[(run.id, 1)]))],
    ];
    scenes.push(w.meet("fire and mark, cancel and submit, claim", sessions));

    let w = World::new();
    let sessions = [(), (), ()].map(|()| vec![Op::Submit(vec![w.submission(Some("k"))])]);
    scenes.push(w.meet("submit, submit, submit of one key", sessions.into()));

    let mut w = World::new();
    let task = w.task("a");
    let (run, claim) = w.running(&task, 0);
    let sessions = vec![
        vec![Op::Finish(vec![finish(run, claim, End::Succeeded)])],
        vec![Op::Lost(w.term.clone(), vec![finish(run, claim, LOST)])],
        vec![Op::Begin(w.bid(2))],
    ];
    scenes.push(w.meet("finish, lost, begin", sessions));

    let mut w = World::new();
    let task = w.task("a");
    let run = w.waiting(&task, 0).id;
    let sessions = vec![
        vec![Op::Claim(w.claim(0, &[(run, 1)]))],
        vec![Op::Cancel(run)],
        vec![Op::Evict(w.term.clone(), w.workers[0])],
    ];
    scenes.push(w.meet("claim, cancel, evict", sessions));
    scenes
}
