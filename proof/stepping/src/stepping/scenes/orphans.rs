//! A task's deletion and the end of the runs that wait for it, beside claims, firings, requests and a successor.

use campanile_core::decide::attempt as transitions;
use campanile_core::id::TaskId;
use campanile_core::port::edit::{Delete, Edit, Submission};
use campanile_core::run::Run;
use campanile_core::task::Task;
use campanile_schedule::time::Timestamp;

use super::super::fixture::{World, at, spec};
use super::super::ops::Op;
use super::{LATER, Scene};

/// The deletion of a task of which one occurrence was fired.
fn deletion(task: TaskId, seen: Option<Timestamp>) -> Op {
    Op::Edit(Box::new(Edit {
        deletes: vec![Delete {
            task,
            version: 1,
            seen,
        }],
        ..Edit::default()
    }))
}

/// A run of a task that was deleted while it waited.
fn orphan(w: &mut World) -> Run {
    let task = w.task("a");
    let run = w.waiting(&task, 0);
    w.setup.push(deletion(task.id, Some(at(10))));
    run
}

/// A run that somebody asks for, of a task.
fn asked(w: &World, task: &Task) -> Submission {
    let id = w.mint.runs(at(0), 1)[0];
    Submission {
        run: transitions::request(id, Some(task), &spec("a"), at(0)),
        spec: None,
        key: None,
    }
}

pub(super) fn orphans() -> Vec<Scene> {
    let scene = |name, other: fn(&World, &Run) -> Op| {
        let mut w = World::new();
        let run = orphan(&mut w);
        let other = other(&w, &run);
        let end = Op::Orphans(w.term.clone(), vec![run]);
        w.meet(name, vec![vec![end], vec![other]])
    };
    let mut scenes = vec![
        scene("orphans, claim", |w, run| {
            Op::Claim(w.claim(0, &[(run.id, 1)]))
        }),
        scene("orphans, cancel", |_, run| Op::Cancel(run.id)),
        scene("orphans, mark", |w, run| {
            Op::Mark(w.term.clone(), vec![(run.id, 1)], Vec::new())
        }),
        scene("orphans, begin", |w, _| Op::Begin(w.bid(2))),
        scene("orphans, forget", |w, _| Op::Forget(w.term.clone(), LATER)),
    ];
    let mut w = World::new();
    let run = orphan(&mut w);
    let forget = Op::Forget(w.term.clone(), LATER);
    drop(run);
    let begin = Op::Begin(w.bid(2));
    scenes.push(w.meet("forget, begin", vec![vec![forget], vec![begin]]));
    let mut w = World::new();
    let task = w.task("a");
    let run = w.waiting(&task, 0);
    let claim = Op::Claim(w.claim(0, &[(run.id, 1)]));
    let delete = deletion(task.id, Some(at(10)));
    let scene = w.meet("delete, claim", vec![vec![delete], vec![claim]]);
    // There a claim looks at the task in a step of its own: it may see it living and be committed behind its deletion.
    scenes.push(scene.reordering_on(&["MariaDB"]));
    // Whoever saw the task living may be quicker or slower than its deletion; slower, he is refused.
    let mut w = World::new();
    let task = w.task("a");
    let submit = Op::Submit(vec![asked(&w, &task)]);
    let delete = deletion(task.id, Some(at(0)));
    // One that was checked before the deletion and commits after it is found by the leader's second look.
    let scene = w.meet("submit, delete", vec![vec![submit], vec![delete]]);
    scenes.push(scene.reordering());
    // The timer of a run that waits for a deleted task fires while the run is ended.
    let mut w = World::new();
    let task = w.task("a");
    let own = asked(&w, &task);
    w.setup.push(Op::Submit(vec![own.clone()]));
    w.setup.push(deletion(task.id, Some(at(0))));
    w.edits += 1;
    let timer = w.fire(w.timer(&own.run));
    let end = Op::Orphans(w.term.clone(), vec![own.run]);
    scenes.push(w.meet("fire of its timer, orphans", vec![vec![timer], vec![end]]));
    scenes
}
