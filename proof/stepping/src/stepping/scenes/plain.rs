//! Ends that are nothing but good, which go into history by ranges of ids, beside all that may have one of the runs in hand:
//! others' ends of them, requests to cancel them, and whoever gives their permits on. And timers that were put again.

use campanile_core::id::{ClaimId, RunId};
use campanile_core::port::attempt::{End, Finish};
use campanile_core::run::Reason;

use super::super::fixture::{AGAIN, LOST, World, at, blocking, finish};
use super::super::ops::Op;
use super::Scene;
use super::permits::{Holder, group};

/// An end that leaves nothing but that it was good.
fn plain(run: RunId, claim: ClaimId) -> Finish {
    Finish {
        log: None,
        result: None,
        ..finish(run, claim, End::Succeeded)
    }
}

/// Two runs end well in one batch, beside somebody else.
fn two_end(name: &'static str, meet: fn(&World, [Holder; 2]) -> Vec<Op>) -> Scene {
    let mut w = World::new();
    let task = w.task("a");
    let both = [w.running(&task, 0), w.running(&task, 10)];
    let ends = Op::Finish(both.map(|(run, claim)| plain(run, claim)).to_vec());
    let others = meet(&w, both);
    w.meet(name, vec![vec![ends], others])
}

pub(super) fn plain_ends() -> Vec<Scene> {
    let mut scenes = vec![
        two_end("plain ends, cancel of one", |_, [_, two]| {
            vec![Op::Cancel(two.0)]
        }),
        two_end("plain ends, a bad end of one", |_, [one, _]| {
            vec![Op::Finish(vec![finish(
                one.0,
                one.1,
                End::Failed(Reason::Error),
            )])]
        }),
        two_end("plain ends, plain ends", |_, both| {
            let again = both.map(|(run, claim)| plain(run, claim));
            vec![Op::Finish(again.to_vec())]
        }),
        // In the other order: the leader ends the second and puts the first back.
        two_end("plain ends, evict and lost", |w, [one, two]| {
            let failed = End::Failed(Reason::Lost);
            let lost = vec![finish(two.0, two.1, failed), finish(one.0, one.1, LOST)];
            vec![
                Op::Evict(w.term.clone(), w.workers[0]),
                Op::Lost(w.term.clone(), lost),
            ]
        }),
    ];
    scenes.push(split_batch());
    scenes.push(zombie());
    scenes.push(holder());
    scenes.push(timer_put_again());
    scenes
}

/// A batch that holds another end is split; the leader has the same runs in the other order.
fn split_batch() -> Scene {
    let mut w = World::new();
    let task = w.task("a");
    let [one, two, three] = [0, 10, 20].map(|from| w.running(&task, from));
    let ends = vec![
        plain(one.0, one.1),
        finish(two.0, two.1, AGAIN),
        plain(three.0, three.1),
    ];
    let lost = vec![finish(three.0, three.1, LOST), finish(one.0, one.1, LOST)];
    let lost = Op::Lost(w.term.clone(), lost);
    let name = "plain ends and a requeue, lost";
    w.meet(name, vec![vec![Op::Finish(ends)], vec![lost]])
}

/// The run was put back and claimed again: its first claim ends nothing any more.
fn zombie() -> Scene {
    let mut w = World::new();
    let task = w.task("a");
    let (run, claim) = w.running(&task, 0);
    let back = Op::Finish(vec![finish(run, claim, AGAIN)]);
    let next = Op::Claim(w.claim(1, &[(run, 2)]));
    let late = Op::Finish(vec![plain(run, claim)]);
    let name = "requeue and claim again, plain end of the first claim";
    w.meet(name, vec![vec![back, next], vec![late]])
}

/// It holds a permit, for which another is about to wait.
fn holder() -> Scene {
    let mut w = World::new();
    let key = group(&mut w);
    let (a, b) = (w.task("a"), w.task("b"));
    let held = w.holding(&a, 0, &key, 0).id;
    let end = Op::Finish(vec![plain(held, w.claimed(held))]);
    let (firing, run) = w.firing(&b, 0);
    let block = w.fire(blocking(firing, &key, &[0], &run));
    let name = "plain end of a holder, fire that blocks";
    w.meet(name, vec![vec![end], vec![block]])
}

/// A request is claimed and given back while its timer fires: the timer stands where it was, for the next attempt.
fn timer_put_again() -> Scene {
    let mut w = World::new();
    let request = w.submission(None);
    w.setup.push(Op::Submit(vec![request.clone()]));
    let run = request.run;
    let fire = w.fire(w.timer(&run));
    let claim = w.claim(0, &[(run.id, 1)]);
    let refused = End::Refused { ready_at: at(0) };
    let back = Op::Finish(vec![finish(run.id, claim.id, refused)]);
    let name = "fire of a timer, claim and give-back at its instant";
    w.meet(name, vec![vec![fire], vec![Op::Claim(claim), back]])
}
