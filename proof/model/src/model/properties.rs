//! What must hold in every world, what must be possible in some, and how a step is judged. The predicates are those of
//! [`campanile_core::decide::invariants`], which the engine's tests and the history checker ask too; this file gives them
//! their worlds. Never changes anything but a world's record of what was broken.

use std::collections::HashSet;
use std::sync::Arc;

use campanile_core::decide::invariants;
use campanile_core::decide::invariants::{Snapshot, Start};
use campanile_core::decide::lead::zones::Kept;
use campanile_core::id::TaskId;
use campanile_core::port::attempt::{End, Finish};
use campanile_core::port::lead::Term;
use campanile_core::run::{Reason, Run, State};
use campanile_core::task::StartMode;
use campanile_schedule::time::Timestamp;
use stateright::{Model as _, Property};

use super::bounds::TASK;
use super::chains;
use super::edits::Definition;
use super::scheduler::Scheduler;
use super::store::{Row, Store};
use super::world::{Scene, World};
use super::zones::Duty;

pub const I1: &str = "I1 an occurrence has one run";
pub const I2: &str = "I2 terms and attempts grow";
pub const I3: &str = "I3 only the present term writes";
pub const I4: &str = "I4 an attempt starts once";
pub const I5: &str = "I5 an end is final";
pub const I5_HOLDER: &str = "I5 only the claim's holder ends a run";
pub const I6: &str = "I6 nothing starts early";
pub const I6_CLAIM: &str = "I6 a start follows its claim";
pub const I7: &str = "I7 counts agree";
pub const I8: &str = "I8 permits fit";
pub const I8_ONE: &str = "I8 one at a time";
pub const I9: &str = "I9 whatever waits is kept";
pub const I9_WORK: &str = "I9 work goes on";
pub const I11: &str = "I11 a rest holds";
pub const I12: &str = "I12 a turn is kept";
pub const I13: &str = "I13 what counts as a failure was started";
pub const I17: &str = "I17 a chain goes on";
pub const G2: &str = "G2 no gap";
pub const EDITS: &str = "edits: a firing rests on the present definitions";

pub const ASKED: &str = "edits: what starts is an instant of a definition in its time";

pub const ZONES: &str = "zones: rules that are named are those of every row";

pub const HELD: &str = "hold: while the cluster is held nothing starts";

/// The properties that must always hold, in the order of their bits. The last is judged by what can happen next.
const ALWAYS: [&str; 21] = [
    I1, I2, I3, I4, I5, I6, I6_CLAIM, I7, I8, I8_ONE, I9, G2, EDITS, I5_HOLDER, I11, I12, I13,
    ZONES, ASKED, HELD, I17,
];

/// What a step broke: one bit for each of [`ALWAYS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Broken(u32);

impl Broken {
    fn note(&mut self, name: &str, holds: bool) {
        if !holds && let Some(bit) = ALWAYS.iter().position(|n| *n == name) {
            self.0 |= 1 << bit;
        }
    }

    const fn has(self, bit: u32) -> bool {
        self.0 & (1 << bit) != 0
    }

    /// A leader's transaction was written (or not) while this was the store's term.
    pub fn note_write(&mut self, store: &Store, term: &Term, written: bool) {
        self.note(I3, !written || store.is_present(term));
    }

    /// An end was written (or not) over this row.
    pub fn note_end(&mut self, row: Option<&Run>, end: &Finish, written: bool) {
        // A abandonment may find that nobody has the run yet.
        let abandoned = matches!(end.end, End::Abandoned { .. });
        let mine = |r: &Run| r.claim == Some(end.claim) || (abandoned && r.state != State::Running);
        let held = row.is_some_and(|r| r.attempt == end.attempt && mine(r));
        self.note(I5_HOLDER, !written || held);
    }

    /// Whether a firing that was written rests on the present edit counter.
    pub fn note_edits(&mut self, present: bool) {
        self.note(EDITS, present);
    }
}

/// Judges the step from one world to the next.
pub fn judge(scene: &Scene, last: &World, world: &mut World) {
    let mut broken = world.broken;
    let (before, after) = (&last.store, &world.store);
    broken.note(ZONES, after.zones.is_whole());
    broken.note(HELD, !before.held || nothing_began(before, after));
    let began = before.term != after.term;
    broken.note(I2, !began || after.epoch() > before.epoch());
    if let Err(violation) = forward(before, after) {
        broken.note(if violation == "I2" { I2 } else { I5 }, false);
    }
    let spec = &scene.task(after).task.spec;
    let at_most_once = |run: &Row| (spec.start == StartMode::AtMostOnce).then_some(run.0.id);
    let once = after.runs.iter().filter_map(at_most_once).collect();
    let starts = world.starts.iter().map(|(run, attempt)| Start {
        run: *run,
        attempt: *attempt,
    });
    let starts: Vec<Start> = starts.collect();
    broken.note(I4, invariants::started_once(&starts, &once).is_ok());
    let runs = after.runs.iter().map(|row| &*row.0);
    let started = invariants::failures_were_started(runs, &starts);
    broken.note(I13, started.is_ok());
    let claimed = |s: &Start| after.run(s.run).is_some() && !after.waits(s.run, s.attempt);
    broken.note(I6_CLAIM, starts.iter().all(claimed));
    let started = world.starts.len() > last.starts.len();
    let asked_for = |run: &Arc<Run>| after.is_asked_for(run.due_at, scene);
    let newest = world.starts.last().filter(|_| started);
    let newest = newest.and_then(|(run, _)| after.run(*run));
    broken.note(ASKED, newest.is_none_or(asked_for));
    if before != after {
        moment(scene, after, &mut broken);
        let chained = after.chain.is_some();
        let goes_on = !chained || chains::goes_on(&after.snapshot(), world);
        broken.note(I17, goes_on);
    }
    world.broken = broken;
}

/// Whether no occurrence was fired and no attempt was won from one store to the next.
fn nothing_began(before: &Store, after: &Store) -> bool {
    let fired = |row: &Row| before.run(row.0.id).is_none() && row.0.state != State::Skipped;
    let runs = |run: &Run| run.state == State::Running;
    let won = |row: &Row| runs(&row.0) && before.run(row.0.id).is_none_or(|run| !runs(run));
    !after.runs.iter().any(|row| fired(row) || won(row))
}

/// The predicates over one moment of the store.
fn moment(scene: &Scene, store: &Store, broken: &mut Broken) {
    let snapshot = &store.snapshot();
    let runs = &snapshot.runs;
    broken.note(I1, invariants::one_run_per_occurrence(runs).is_ok());
    for run in runs {
        broken.note(I6, invariants::never_early(run).is_ok());
        broken.note(I7, invariants::counts_within_limits(run).is_ok());
    }
    broken.note(I8, invariants::permits_fit(snapshot).is_ok());
    let task = TaskId::from_i64(TASK);
    let first = scene.definition(Definition::default());
    if first.task.spec.is_exclusive() {
        let exclusive = HashSet::from([task]);
        broken.note(
            I8_ONE,
            invariants::one_at_a_time(snapshot, &exclusive).is_ok(),
        );
    }
    broken.note(I9, invariants::no_wedge(snapshot).is_ok());
    broken.note(I12, invariants::turns_are_kept(runs).is_ok());
    broken.note(I11, invariants::a_rest_holds(snapshot).is_ok());
    let passed: Vec<Timestamp> = store.passed(scene).into_iter().collect();
    broken.note(G2, invariants::no_gap(task, &passed, runs).is_ok());
}

/// [`invariants::only_forward`] over the rows that a step changed.
fn forward(before: &Store, after: &Store) -> Result<(), &'static str> {
    let changed = |row: &&Row| {
        after
            .run(row.0.id)
            .is_none_or(|new| !Arc::ptr_eq(new, &row.0))
    };
    let of = |runs: Vec<Run>| Snapshot {
        runs,
        ..Snapshot::default()
    };
    let old: Vec<Run> = before
        .runs
        .iter()
        .filter(changed)
        .map(|row| Run::clone(&row.0))
        .collect();
    if old.is_empty() {
        return Ok(());
    }
    let new = old.iter().filter_map(|run| after.run(run.id));
    let new = new.map(|run| Run::clone(run)).collect();
    invariants::only_forward(&of(old), &of(new)).map_err(|violation| violation.invariant)
}

/// Whether all occurrences were fired and all runs have ended.
pub fn is_done(world: &World) -> bool {
    let ended = |row: &Row| row.0.state.is_terminal();
    world.store.due.is_empty() && world.store.runs.iter().all(ended)
}

/// I9: while a leader and a worker are well, either all is done, or one of them can do something about it. Worlds
/// without a leader are not judged: where the bounds allow another term, the worlds that follow are.
fn work_goes_on(scene: &Scene, world: &World) -> bool {
    let present = |s: &Scheduler| s.leads().is_some_and(|term| world.store.is_present(&term));
    if is_done(world) || !world.schedulers.iter().any(present) {
        return true;
    }
    let mut actions = Vec::new();
    scene.actions(world, &mut actions);
    let works = |a: &super::actions::Action| a.is_work() && scene.step(world, *a).is_some();
    actions.iter().any(works)
}

/// What must be possible, or the checks above say nothing: name and whether it is so in a world.
type Sometimes = (&'static str, fn(&Scene, &World) -> bool);

pub const ALL_DONE: &str = "all is done";
pub const FENCED: &str = "a leader is deposed between plan and commit";
pub const STALE_CLAIM: &str = "a stale claim is refused";
pub const TWICE: &str = "a message is delivered twice";
pub const RECOVERED: &str = "a lost run is recovered";
pub const ZOMBIE: &str = "a zombie ends what others were given";
pub const LATE_REAPER: &str = "a run ends before its worker's eviction is seen through";
pub const INHERITED: &str = "a leader publishes what another one fired";
pub const MOVE_TAKEN_OVER: &str = "a move to other zone rules is left half done";
pub const ZONES_MOVED: &str = "all rows stand by the rules of the second leader";
pub const RETRIED: &str = "a failed run succeeds";
pub const WAITS: &str = "a run waits for a permit";
pub const REFUSED: &str = "an occurrence is refused";
pub const REPLACED: &str = "a run's place is taken";
pub const CANCELLED: &str = "a run is cancelled";
pub const EDITED: &str = "a firing rests on an older definition";
pub const DRAINED: &str = "a worker gives a run back";
pub const GIVEN_BACK: &str = "a run that a worker refused succeeds";
pub const LOST: &str = "a run ends lost";
pub const ALL_MISSED_RAN: &str = "all that was missed together ran";
pub const TAKEN_BACK: &str = "a message of a run that was taken back is delivered";
pub const STALE_EDIT: &str = "an edit rests on a due row that has moved";
pub const LEFT: &str = "an edit leaves an instant that is overdue";
pub const UNPLANNED: &str = "an edit takes back what was planned ahead";
pub const ORPHANED: &str = "a run of a deleted task is cancelled";
pub const RESUMED: &str = "an instant whose pause ended before it runs";

pub const HELD_MAIL: &str = "a message is delivered while the cluster is held";
pub const HELD_PLAN: &str = "a firing is planned when the cluster is held";
pub const LATE_END: &str = "a deposed leader would end a pause";

fn sometimes() -> Vec<Sometimes> {
    let mut all: Vec<Sometimes> = vec![
        (ALL_DONE, |_, w| is_done(w)),
        (FENCED, |_, w| {
            let deposed = |s: &Scheduler| s.leads().is_some_and(|t| !w.store.is_present(&t));
            w.schedulers
                .iter()
                .any(|s| s.memory.pending.is_some() && deposed(s))
        }),
        (STALE_CLAIM, |_, w| {
            let stale = |m: &super::world::Message| {
                w.store.live(m.run).is_some_and(|r| r.attempt > m.attempt)
            };
            w.workers.iter().any(|w| w.up && w.hand.is_empty()) && w.mail.iter().any(stale)
        }),
        (TWICE, |_, w| {
            let won = |m: &super::world::Message| w.starts.contains(&(m.run, m.attempt));
            w.mail.iter().any(won)
        }),
        (RECOVERED, |_, w| {
            any_run(w, |r| r.losses > 0 && r.state == State::Succeeded)
        }),
        (ZOMBIE, |_, w| {
            let void = |h: &super::worker::InHand| {
                h.started
                    && w.store
                        .run(h.won.run)
                        .is_some_and(|r| r.claim != Some(h.won.claim))
            };
            w.workers.iter().any(|w| w.up && w.hand.iter().any(void))
        }),
        (LATE_REAPER, |_, w| {
            let ended = |s: &Scheduler| {
                let ends = s.memory.ends.iter().flat_map(|e| e.0.iter());
                ends.into_iter().any(|e| w.store.live(e.run).is_none())
            };
            w.schedulers.iter().any(ended)
        }),
        (INHERITED, |_, w| {
            let inherited = |s: &Scheduler| {
                let epoch = s.leads().map_or(0, |t| t.epoch);
                s.memory.buffer.iter().any(|e| e.row.as_i64() / 32 < epoch)
            };
            w.schedulers.iter().any(inherited)
        }),
    ];
    all.extend(of_zones());
    all.extend(of_runs());
    all.extend(of_turns_and_rests());
    all.extend(of_holds());
    all
}

fn of_zones() -> Vec<Sometimes> {
    vec![
        (MOVE_TAKEN_OVER, |_, w| {
            let zones = &w.store.zones;
            let mixed = zones.rows.iter().any(|row| *row != zones.rows[0]);
            mixed && w.store.epoch() == 2 && matches!(zones.kept, Kept::MovingTo(_))
        }),
        (ZONES_MOVED, |_, w| {
            let zones = &w.store.zones;
            let all = !zones.rows.is_empty() && zones.rows.iter().all(|row| *row == 1);
            let done = |s: &Scheduler| s.memory.zones == Duty::Done;
            all && w.store.epoch() == 2 && done(&w.schedulers[1])
        }),
    ]
}

fn of_runs() -> Vec<Sometimes> {
    vec![
        (RETRIED, |_, w| {
            any_run(w, |r| r.failures > 0 && r.state == State::Succeeded)
        }),
        (WAITS, |_, w| !w.store.blocked.is_empty()),
        (REFUSED, |_, w| any_run(w, |r| r.reason == Reason::Overlap)),
        (REPLACED, |_, w| {
            any_run(w, |r| r.reason == Reason::Replaced && r.state.is_terminal())
        }),
        (CANCELLED, |_, w| {
            any_run(w, |r| r.state == State::Cancelled)
        }),
        (EDITED, |_, w| {
            let old = |s: &Scheduler| {
                let pending = s.memory.pending.as_ref();
                pending.is_some_and(|p| p.0.edits < w.store.edits)
            };
            w.schedulers.iter().any(old)
        }),
        (DRAINED, |_, w| {
            any_run(w, |r| r.attempt > 1 + r.failures + r.losses)
        }),
        (GIVEN_BACK, |_, w| {
            any_run(w, |r| {
                r.attempt > 1 && r.failures == 0 && r.state == State::Succeeded
            })
        }),
        (LOST, |_, w| any_run(w, |r| r.reason == Reason::Lost)),
    ]
}

fn of_holds() -> Vec<Sometimes> {
    vec![
        (HELD_MAIL, |_, w| w.store.held && !w.mail.is_empty()),
        (HELD_PLAN, |_, w| {
            let pending = |s: &Scheduler| s.memory.pending.is_some();
            w.store.held && w.schedulers.iter().any(pending)
        }),
        (LATE_END, |_, w| {
            let of_leader = w.draft.as_ref().and_then(|d| d.of_leader.as_ref());
            of_leader.is_some_and(|(term, _)| !w.store.is_present(term))
        }),
    ]
}

fn of_turns_and_rests() -> Vec<Sometimes> {
    vec![
        (ALL_MISSED_RAN, |_, w| {
            let ran = w.store.runs.iter();
            let ran = ran.filter(|r| r.0.in_turn && r.0.state == State::Succeeded);
            ran.count() > 1
        }),
        (TAKEN_BACK, |_, w| {
            w.mail.iter().any(|m| w.store.run(m.run).is_none())
        }),
        (STALE_EDIT, |_, w| {
            w.draft.as_ref().is_some_and(|d| !d.stands(&w.store))
        }),
        (LEFT, |_, w| {
            any_run(w, |r| {
                matches!(r.reason, Reason::Changed | Reason::TaskDeleted)
                    && r.state == State::Skipped
            })
        }),
        (UNPLANNED, |_, w| {
            w.store.definition.edited && w.mail.iter().any(|m| w.store.run(m.run).is_none())
        }),
        (ORPHANED, |_, w| {
            any_run(w, |r| {
                r.reason == Reason::TaskDeleted && r.state == State::Cancelled
            })
        }),
        (RESUMED, |s, w| {
            let ended = w.store.paused_from.is_none() && w.left.pauses < s.bounds.left.pauses;
            ended && w.clock > 0 && any_run(w, |r| r.state == State::Succeeded)
        }),
    ]
}

fn any_run(world: &World, is: impl Fn(&Run) -> bool) -> bool {
    world.store.runs.iter().any(|row| is(&row.0))
}

/// All properties, for the checker.
pub fn all() -> Vec<Property<Scene>> {
    macro_rules! always {
        ($($bit:literal),*) => {
            vec![$(Property::<Scene>::always(ALWAYS[$bit], |_, w| !w.broken.has($bit))),*]
        };
    }
    let mut all = always!(
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20
    );
    all.push(Property::always(I9_WORK, work_goes_on));
    let sometimes = sometimes().into_iter();
    all.extend(sometimes.map(|(name, is)| Property::sometimes(name, is)));
    all
}
