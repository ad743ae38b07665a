//! Who meets whom: pairs of operations of which every interleaving is walked, and threes for a seed's dice.

mod aside;
mod chains;
mod holds;
mod inbox;
mod logs;
mod orphans;
mod permits;
mod plain;
mod threes;

use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::decide::permits::LimitKey;
use campanile_core::id::{ClaimId, RunId};
use campanile_core::port::attempt::End;
use campanile_core::port::edit::{Delete, Edit, Move, Upsert};
use campanile_core::port::fire::{DueKey, Firing};
use campanile_core::run::{Reason, Run};
use campanile_core::task::Task;
use campanile_schedule::time::Timestamp;

use super::fixture::{AGAIN, FAR, LOST, WITHDRAWN, World, at, due, finish, spec, timer};
use super::ops::Op;
use permits::group;
pub(super) use threes::threes;

/// When all operations say that they happen.
pub(super) const LATER: Timestamp = at(100);

/// Sessions that meet in a world.
pub(super) struct Scene {
    pub(super) name: &'static str,
    /// What was done before, one after another.
    pub(super) setup: Vec<Op>,
    /// Each session's operations.
    pub(super) sessions: Vec<Vec<Op>>,
    /// The limits that it knows.
    pub(super) keys: Vec<LimitKey>,
    /// Whether some of its interleavings are explained by another order than that of the commits alone.
    pub(super) reorders: bool,
    /// The same on these databases alone, where what is one statement elsewhere is several.
    pub(super) reorders_on: &'static [&'static str],
    /// Databases on which some interleaving is known to be wrong: it must be seen there, so that whoever mends it
    /// finds this list.
    pub(super) open_on: &'static [&'static str],
}

impl Scene {
    fn reordering(self) -> Self {
        Self {
            reorders: true,
            ..self
        }
    }

    fn reordering_on(self, databases: &'static [&'static str]) -> Self {
        Self {
            reorders_on: databases,
            ..self
        }
    }

    /// Whether that may be on this database.
    pub(super) fn may_reorder(&self, database: &str) -> bool {
        self.reorders || self.reorders_on.contains(&database)
    }
}

/// Pairs: few enough interleavings to walk them all.
pub(super) fn pairs() -> Vec<Scene> {
    let mut scenes = vec![two_bids()];
    scenes.extend(deposed());
    scenes.extend(edits());
    scenes.extend(claims());
    scenes.extend(ends());
    scenes.extend(plain::plain_ends());
    scenes.extend(orphans::orphans());
    scenes.extend(chains::chains());
    scenes.extend(aside::asides());
    scenes.extend(aside::unblocked());
    scenes.extend(permits::permits());
    scenes.extend(permits::requests());
    scenes.extend(inbox::inbox());
    scenes.extend(logs::logs());
    scenes.extend(holds::holds());
    scenes.extend(holds::pauses());
    scenes
}

fn two_bids() -> Scene {
    let w = World::new();
    // The second one's epoch is further ahead, as the wall clock's is.
    let sessions = vec![vec![Op::Begin(w.bid(2))], vec![Op::Begin(w.bid(3))]];
    w.meet("begin, begin", sessions)
}

/// A successor begins its term while the deposed leader writes.
fn deposed() -> Vec<Scene> {
    let scene = |name, write: fn(&mut World) -> Op| {
        let mut w = World::new();
        let write = write(&mut w);
        let sessions = vec![vec![write], vec![Op::Begin(w.bid(2))]];
        w.meet(name, sessions)
    };
    vec![
        scene("fire, begin", |w| {
            let task = w.task("a");
            w.fire(w.firing(&task, 0).0)
        }),
        scene("mark, begin", |w| {
            let task = w.task("a");
            let run = w.waiting(&task, 0).id;
            Op::Mark(w.term.clone(), vec![(run, 1)], Vec::new())
        }),
        scene("hand over, begin", |w| {
            let task = w.task("a");
            let run = w.waiting(&task, 0).id;
            Op::HandOver(w.term.clone(), vec![(run, 1)])
        }),
        scene("evict, begin", |w| Op::Evict(w.term.clone(), w.workers[0])),
        scene("lost, begin", |w| {
            let task = w.task("a");
            let (run, claim) = w.running(&task, 0);
            Op::Lost(w.term.clone(), vec![finish(run, claim, LOST)])
        }),
        scene("drop, begin", |w| {
            let task = w.task("a");
            let run = w.waiting(&task, 0);
            let (firing, _) = w.firing(&task, 10);
            let dropped = vec![(run.id, 1, Reason::StartDeadline)];
            w.fire(Firing { dropped, ..firing })
        }),
        scene("sweep, begin", |w| {
            // Who is blocked behind nobody waits for the sweep: a firing that counted on no permit.
            let key = group(w);
            let task = w.task("a");
            w.blocked(&task, 0, &key, &[]);
            Op::Sweep(w.term.clone())
        }),
        scene("move by the zone's rules, begin", |w| {
            let task = w.task("a");
            moved(&task)
        }),
        scene("set a limit, begin", |_| set_a_limit()),
        scene("prune, begin", |w| {
            let task = w.task("a");
            let (run, claim) = w.running(&task, 0);
            w.setup
                .push(Op::Finish(vec![finish(run, claim, End::Succeeded)]));
            Op::Prune(w.term.clone(), at(60))
        }),
    ]
}

fn set_a_limit() -> Op {
    Op::Edit(Box::new(Edit {
        limits: vec![(LimitKey::Group("g".to_owned()), Some(2))],
        ..Edit::default()
    }))
}

/// A due row that is put elsewhere, by an edit that rests on all that was there.
fn moved(task: &Task) -> Op {
    Op::Edit(Box::new(Edit {
        edits: Some(1),
        moves: vec![Move {
            task: task.id,
            seen: Some(at(0)),
            next: Some(due(task.id, at(5))),
        }],
        ..Edit::default()
    }))
}

/// Edits of tasks, beside firings and beside each other.
fn edits() -> Vec<Scene> {
    let against_fire = |name, edit: fn(&mut World, &Task) -> Op| {
        let mut w = World::new();
        let task = w.task("a");
        let edit = edit(&mut w, &task);
        let fire = w.fire(w.firing(&task, 0).0);
        w.meet(name, vec![vec![fire], vec![edit]])
    };
    let mut scenes = vec![
        against_fire("fire, pause", |w, task| w.pause(task)),
        against_fire("fire, delete", |_, task| {
            Op::Edit(Box::new(Edit {
                deletes: vec![Delete {
                    task: task.id,
                    version: 1,
                    seen: Some(at(0)),
                }],
                ..Edit::default()
            }))
        }),
        against_fire("fire, set a limit", |_, _| set_a_limit()),
        against_fire("fire, move by the zone's rules", |_, task| moved(task)),
    ];
    scenes.extend(rests());
    let mut w = World::new();
    let task = w.task("a");
    let (one, two) = (w.firing(&task, 0).0, w.firing(&task, 0).0);
    let sessions = vec![vec![w.fire(one)], vec![w.fire(two)]];
    scenes.push(w.meet("fire, fire of one occurrence", sessions));
    let mut w = World::new();
    let task = w.task("a");
    let sessions = vec![vec![moved(&task)], vec![w.pause(&task)]];
    scenes.push(w.meet("move by the zone's rules, pause", sessions));
    let mut w = World::new();
    let task = w.task("a");
    let renamed = Op::Edit(Box::new(Edit {
        upserts: vec![Upsert {
            id: task.id,
            expected: Some(1),
            spec: spec("b"),
            paused_from: None,
            due: DueChange::Keep,
        }],
        ..Edit::default()
    }));
    let sessions = vec![vec![w.pause(&task)], vec![renamed]];
    scenes.push(w.meet("apply, apply", sessions));
    scenes
}

/// A rest takes back what is planned ahead, beside all that may have the run in hand.
fn rests() -> Vec<Scene> {
    let scene = |name, meet: fn(&mut World, &Task, Run) -> Op| {
        let mut w = World::new();
        let task = w.task("a");
        let run = w.planned(&task);
        let other = meet(&mut w, &task, run);
        let rest = w.rest(&task);
        w.meet(name, vec![vec![rest], vec![other]])
    };
    vec![
        scene("rest, fire of what is next", |w, task, _| {
            w.fire(w.firing(task, FAR + 10).0)
        }),
        scene("rest, cancel of what is planned", |_, _, run| {
            Op::Cancel(run.id)
        }),
        scene("rest, mark of what is planned", |w, _, run| {
            Op::Mark(w.term.clone(), vec![(run.id, 1)], Vec::new())
        }),
        scene("rest, rest", |w, task, _| w.rest(task)),
    ]
}

/// Claims, beside all that may take the run or the worker from them.
fn claims() -> Vec<Scene> {
    let scene = |name, meet: fn(&mut World, Run) -> [Op; 2]| {
        let mut w = World::new();
        let task = w.task("a");
        let run = w.waiting(&task, 0);
        let [one, two] = meet(&mut w, run);
        w.meet(name, vec![vec![one], vec![two]])
    };
    vec![
        scene("claim, claim", |w, run| {
            [0, 1].map(|worker| Op::Claim(w.claim(worker, &[(run.id, 1)])))
        }),
        scene("claim, evict", |w, run| {
            let evict = Op::Evict(w.term.clone(), w.workers[0]);
            [Op::Claim(w.claim(0, &[(run.id, 1)])), evict]
        }),
        scene("claim, leave", |w, run| {
            [
                Op::Claim(w.claim(0, &[(run.id, 1)])),
                Op::Leave(w.workers[0]),
            ]
        }),
        scene("claim, cancel", |w, run| {
            [Op::Claim(w.claim(0, &[(run.id, 1)])), Op::Cancel(run.id)]
        }),
        scene("claim, mark", |w, run| {
            let mark = Op::Mark(w.term.clone(), vec![(run.id, 1)], Vec::new());
            [Op::Claim(w.claim(0, &[(run.id, 1)])), mark]
        }),
        scene("claim, hand over", |w, run| {
            let hand = Op::HandOver(w.term.clone(), vec![(run.id, 1)]);
            [Op::Claim(w.claim(0, &[(run.id, 1)])), hand]
        }),
        scene("hand over, cancel", |w, run| {
            let hand = Op::HandOver(w.term.clone(), vec![(run.id, 1)]);
            [hand, Op::Cancel(run.id)]
        }),
        scene("cancel, cancel", |_, run| {
            [Op::Cancel(run.id), Op::Cancel(run.id)]
        }),
        scene("claim, drop", |w, run| {
            let (firing, _) = w.firing(&first_task(w), 10);
            let dropped = vec![(run.id, 1, Reason::StartDeadline)];
            let drop = w.fire(Firing { dropped, ..firing });
            [Op::Claim(w.claim(0, &[(run.id, 1)])), drop]
        }),
        scene("claim of an old message, give-back", |w, run| {
            let held = w.claim(0, &[(run.id, 1)]);
            w.setup.push(Op::Claim(held.clone()));
            let back = Op::Finish(vec![finish(run.id, held.id, AGAIN)]);
            [Op::Claim(w.claim(1, &[(run.id, 1)])), back]
        }),
        scene("claim, its give-back", |w, run| {
            let held = w.claim(0, &[(run.id, 1)]);
            w.setup.push(Op::Claim(held.clone()));
            let back = Op::Finish(vec![finish(run.id, held.id, AGAIN)]);
            [Op::Claim(w.claim(1, &[(run.id, 2)])), back]
        }),
        scene("claim, its abandonment", |w, run| {
            let ambiguous = w.claim(0, &[(run.id, 1)]);
            let abandonment = Op::Finish(vec![finish(run.id, ambiguous.id, WITHDRAWN)]);
            [Op::Claim(ambiguous), abandonment]
        }),
        scene("claim, abandonment of another's", |w, run| {
            let ambiguous = w.claim(0, &[(run.id, 1)]);
            let abandonment = Op::Finish(vec![finish(run.id, ambiguous.id, WITHDRAWN)]);
            [Op::Claim(w.claim(1, &[(run.id, 1)])), abandonment]
        }),
    ]
}

/// The task that a world made first, as its edits know it.
fn first_task(w: &World) -> Task {
    let made = w.setup.iter().find_map(|op| match op {
        Op::Edit(edit) => edit.upserts.first(),
        _ => None,
    });
    let made = made.unwrap();
    Task {
        id: made.id,
        version: 1,
        spec: made.spec.clone(),
        created_at: at(0),
        updated_at: at(0),
        paused_from: None,
    }
}

/// A worker that can't do it gives a run back whose deadline comes first: its timer is put where one stands that the
/// leader has found while the run ran.
fn given_back_at_its_deadline() -> Scene {
    let mut w = World::new();
    let task = w.task("a");
    let (mut firing, mut run) = w.firing(&task, 0);
    run.deadline_at = Some(at(FAR));
    let timer = DueKey {
        at: at(FAR),
        ..timer(&run)
    };
    firing.runs = vec![run.clone()];
    firing.advanced.push(timer.clone());
    w.setup.push(w.fire(firing));
    let claim = w.claimed(run.id);
    let refused = End::Refused {
        ready_at: at(FAR + 60),
    };
    let back = Op::Finish(vec![finish(run.id, claim, refused)]);
    let found = w.fire(Firing {
        edits: w.edits,
        at: at(1),
        consumed: vec![timer],
        epoch: w.term.epoch,
        ..Firing::default()
    });
    let name = "give-back at its deadline, fire of that timer";
    w.meet(name, vec![vec![back], vec![found]])
}

/// Ends, beside each other and beside requests for the end.
fn ends() -> Vec<Scene> {
    let scene = |name, meet: fn(&World, RunId, ClaimId) -> [Op; 2]| {
        let mut w = World::new();
        let task = w.task("a");
        let (run, claim) = w.running(&task, 0);
        let [one, two] = meet(&w, run, claim);
        w.meet(name, vec![vec![one], vec![two]])
    };
    let mut scenes = vec![
        scene("finish, finish", |_, run, claim| {
            [End::Succeeded, End::Failed(Reason::Error)]
                .map(|end| Op::Finish(vec![finish(run, claim, end)]))
        }),
        scene("finish, lost", |w, run, claim| {
            let lost = Op::Lost(w.term.clone(), vec![finish(run, claim, LOST)]);
            [Op::Finish(vec![finish(run, claim, End::Succeeded)]), lost]
        }),
        scene("finish, cancel", |_, run, claim| {
            [
                Op::Finish(vec![finish(run, claim, End::Succeeded)]),
                Op::Cancel(run),
            ]
        }),
        scene("requeue, finish", |_, run, claim| {
            [AGAIN, End::Succeeded].map(|end| Op::Finish(vec![finish(run, claim, end)]))
        }),
        scene("requeue, cancel", |_, run, claim| {
            [Op::Finish(vec![finish(run, claim, AGAIN)]), Op::Cancel(run)]
        }),
        scene("finish, prune", |w, run, claim| {
            let prune = Op::Prune(w.term.clone(), at(60));
            [Op::Finish(vec![finish(run, claim, End::Succeeded)]), prune]
        })
        .reordering(),
        given_back_at_its_deadline(),
    ];
    let mut w = World::new();
    let task = w.task("a");
    let (run, claim) = w.running(&task, 0);
    let back = Op::Finish(vec![finish(run, claim, AGAIN)]);
    let next = Op::Claim(w.claim(1, &[(run, 2)]));
    let zombie = Op::Finish(vec![finish(run, claim, End::Succeeded)]);
    let name = "finish and claim again, finish of the first claim";
    scenes.push(w.meet(name, vec![vec![back, next], vec![zombie]]));
    let mut w = World::new();
    let task = w.task("a");
    let (run, claim) = w.running(&task, 0);
    let leader = vec![
        Op::Evict(w.term.clone(), w.workers[0]),
        Op::Lost(w.term.clone(), vec![finish(run, claim, LOST)]),
    ];
    let end = Op::Finish(vec![finish(run, claim, End::Succeeded)]);
    scenes.push(w.meet("finish, evict and lost", vec![vec![end], leader]));
    // A worker that was called dead writes its ends while the leader writes others for it: each ends one run and puts
    // the other back, so their locks may cross.
    let mut w = World::new();
    let task = w.task("a");
    let (one, two) = (w.running(&task, 0), w.running(&task, 10));
    let worker = vec![
        finish(one.0, one.1, End::Succeeded),
        finish(two.0, two.1, AGAIN),
    ];
    let failed = End::Failed(Reason::Lost);
    let leader = vec![finish(one.0, one.1, LOST), finish(two.0, two.1, failed)];
    let lost = Op::Lost(w.term.clone(), leader);
    scenes.push(w.meet(
        "ends that cross",
        vec![vec![Op::Finish(worker)], vec![lost]],
    ));
    scenes
}
