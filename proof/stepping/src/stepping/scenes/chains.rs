//! A schedule that goes on from the ends of its runs: the end of the run that holds the chain, beside another end of it and
//! beside edits of its task.

use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::id::{ClaimId, RunId};
use campanile_core::port::attempt::End;
use campanile_core::port::edit::{Delete, Edit, Upsert};
use campanile_core::run::Reason;
use campanile_core::task::Task;
use campanile_schedule::time::Timestamp;

use super::super::fixture::{AGAIN, World, at, due, finish};
use super::super::ops::Op;
use super::Scene;

/// A task that is due at the beginning, and 30 s after each end.
fn task(w: &mut World) -> Task {
    let mut task = w.task("a");
    task.spec.schedule = Some("after 30s".into());
    if let Some(Op::Edit(edit)) = w.setup.last_mut() {
        edit.upserts[0].spec = task.spec.clone();
    }
    task
}

/// Fires its occurrence at this second: the run holds the chain.
fn fire(w: &World, task: &Task, from: i64) -> (Op, RunId) {
    let (mut firing, run) = w.firing(task, from);
    firing.advanced.clear();
    firing.runs[0].limited = true;
    firing.chained = vec![(task.id, run.id)];
    (w.fire(firing), run.id)
}

/// A run that holds the chain, and runs.
fn running(w: &mut World, task: &Task) -> (RunId, ClaimId) {
    let (fire, run) = fire(w, task, 0);
    w.setup.push(fire);
    (run, w.claimed(run))
}

/// What changes its schedule, with a due row at this second if no run holds its chain.
fn change(task: &Task, schedule: &str, (version, seen): (i64, Option<Timestamp>), to: i64) -> Op {
    let mut spec = task.spec.clone();
    spec.schedule = Some(schedule.into());
    let next = Some(due(task.id, at(to)));
    Op::Edit(Box::new(Edit {
        upserts: vec![Upsert {
            id: task.id,
            expected: Some(version),
            spec,
            paused_from: None,
            due: DueChange::Replace { seen, next },
        }],
        ..Edit::default()
    }))
}

fn end((run, claim): (RunId, ClaimId)) -> Op {
    Op::Finish(vec![finish(run, claim, End::Succeeded)])
}

pub(super) fn chains() -> Vec<Scene> {
    let scene = |name, other: fn(&World, &Task, (RunId, ClaimId)) -> Op| {
        let mut w = World::new();
        let task = task(&mut w);
        let held = running(&mut w, &task);
        let other = other(&w, &task, held);
        w.meet(name, vec![vec![end(held)], vec![other]])
    };
    let mut scenes = vec![
        scene("end of a chain, its loss", |w, _, (run, claim)| {
            let lost = finish(run, claim, End::Failed(Reason::Lost));
            Op::Lost(w.term.clone(), vec![lost])
        }),
        scene("end of a chain, its retry", |_, _, (run, claim)| {
            Op::Finish(vec![finish(run, claim, AGAIN)])
        }),
        scene("end of a chain, change of its delay", |_, task, _| {
            change(task, "after 1m", (1, None), 500)
        }),
        scene("end of a chain, change to an interval", |_, task, _| {
            change(task, "every 10s", (1, None), 500)
        }),
        scene("end of a chain, delete", |_, task, _| {
            Op::Edit(Box::new(Edit {
                deletes: vec![Delete {
                    task: task.id,
                    version: 1,
                    seen: None,
                }],
                ..Edit::default()
            }))
        }),
    ];
    scenes.push(of_a_run_before());
    scenes.push(changed_while_held());
    scenes
}

/// A change of the delay while a run holds the chain, and then the run's end, whatever else goes on.
fn changed_while_held() -> Scene {
    let mut w = World::new();
    let task = task(&mut w);
    let held = running(&mut w, &task);
    let change = change(&task, "after 1m", (1, None), 500);
    let begin = Op::Begin(w.bid(2));
    let name = "change of a chain's delay and its end, begin";
    w.meet(name, vec![vec![change, end(held)], vec![begin]])
}

/// The run of a chain that was edited away ends while the task's new chain begins.
fn of_a_run_before() -> Scene {
    let mut w = World::new();
    let task = task(&mut w);
    let held = running(&mut w, &task);
    let away = change(&task, "every 10s", (1, None), 20);
    let back = change(&task, "after 30s", (2, Some(at(20))), 40);
    w.setup.extend([away, back]);
    w.edits += 2;
    let (fire, _) = fire(&w, &task, 40);
    w.meet(
        "end of a run of before, fire of its chain",
        vec![vec![end(held)], vec![fire]],
    )
}
