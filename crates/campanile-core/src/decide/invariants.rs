//! What must hold always, as predicates. The memory store checks them after every step of the tests; the model checker
//! and the history checker ask the same questions. Numbers are those of `docs/contribute/protocol.md`.

mod chains;

use std::collections::{HashMap, HashSet};

use campanile_schedule::time::Timestamp;

use crate::decide::permits::{Blocked, Permit};
use crate::decide::publish::group::{Offer, Share};
use crate::id::{NodeId, RunId, TaskId};
use crate::limits;
use crate::port::fire::{DueKey, Owner};
use crate::run::{Origin, Reason, Run, State};
use crate::task::Chain;

pub use self::chains::{chains_go_on, one_of_a_chain};

/// All of a store at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Live and finished runs.
    pub runs: Vec<Run>,
    pub due: Vec<DueKey>,
    /// Runs that some outbox row keeps.
    pub outbox: Vec<(RunId, u32)>,
    pub living: Vec<NodeId>,
    /// Permits that are held.
    pub permits: Vec<Permit>,
    /// Runs that wait for a permit.
    pub blocked: Vec<Blocked>,
    /// Tasks that are paused, and from which instant on.
    pub resting: Vec<(TaskId, Timestamp)>,
    /// Instants that were answered before they came, while the store's clock was ahead.
    pub answered: HashSet<(TaskId, Timestamp)>,
    /// Deleted tasks, and of those the ones whose waiting runs are still looked for.
    pub deleted: Vec<(TaskId, bool)>,
    /// Tasks whose schedules go on from the ends of their runs.
    pub chained: Vec<Chained>,
}

/// Where a task stands whose schedule goes on from the ends of its runs.
#[derive(Debug, Clone)]
pub struct Chained {
    pub task: TaskId,
    pub chain: Chain,
    /// The run whose end puts its next due row.
    pub holder: Option<RunId>,
    /// Whether its due row is set aside.
    pub aside: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {what}")]
pub struct Violation {
    pub invariant: &'static str,
    pub what: String,
}

fn broken(invariant: &'static str, what: String) -> Result<(), Violation> {
    Err(Violation { invariant, what })
}

/// All predicates over one moment.
///
/// # Errors
/// The first that is broken.
pub fn check(snapshot: &Snapshot) -> Result<(), Violation> {
    one_run_per_occurrence(&snapshot.runs)?;
    for run in &snapshot.runs {
        counts_within_limits(run)?;
        never_early(run)?;
        never_late(run)?;
    }
    no_wedge(snapshot)?;
    a_rest_holds(snapshot)?;
    turns_are_kept(&snapshot.runs)?;
    chains_go_on(snapshot)?;
    orphans_are_looked_for(snapshot)?;
    permits_fit(snapshot)?;
    set_aside_is_idle(snapshot)
}

/// I15: runs that share a message are first attempts of one queue and one priority, without permits, and not too many.
///
/// # Errors
/// The run that should have had its message to itself.
pub fn a_group_is_plain(runs: &[&Run]) -> Result<(), Violation> {
    let [first, others @ ..] = runs else {
        return Ok(());
    };
    let same = |r: &&&Run| (&r.queue, r.priority) == (&first.queue, first.priority);
    let is_plain = |r: &&&Run| r.attempt == 1 && !r.limited && same(r);
    let of_others = others.iter().find(|r| !is_plain(r) || !is_plain(&first));
    let odd = of_others.copied().filter(|_| !others.is_empty());
    match odd.or_else(|| runs.get(limits::GROUP_RUNS_MAX).copied()) {
        Some(run) => broken("I15", format!("run {} shares its message", run.id)),
        None => Ok(()),
    }
}

/// I16: of what it was sent a worker claims no more than it has slots for, and what it acknowledges it claims or offers
/// again.
///
/// # Errors
/// What is claimed beyond the slots, or lost.
pub fn a_share_is_whole(sent: &[Vec<Offer>], free: usize, share: &Share) -> Result<(), Violation> {
    if share.claim.len() > free {
        return broken(
            "I16",
            format!("{} runs for {free} slots", share.claim.len()),
        );
    }
    let kept: HashSet<&Offer> = share.claim.iter().chain(&share.again).collect();
    let settled = share.settled.iter().filter_map(|place| sent.get(*place));
    match settled.flatten().find(|offer| !kept.contains(offer)) {
        Some((run, _)) => broken(
            "I16",
            format!("run {run} is acknowledged, and nobody has it"),
        ),
        None => Ok(()),
    }
}

/// I13: nothing waits for a run that is set aside: it holds no permit and stands in no line.
///
/// # Errors
/// The run for which something waits.
pub fn set_aside_is_idle(snapshot: &Snapshot) -> Result<(), Violation> {
    let aside = snapshot
        .runs
        .iter()
        .filter(|r| r.state == State::Quarantined);
    let aside: HashSet<RunId> = aside.map(|r| r.id).collect();
    let holders = snapshot.permits.iter().map(|p| p.run);
    let mut all = holders.chain(snapshot.blocked.iter().map(|p| p.run));
    match all.find(|run| aside.contains(run)) {
        Some(run) => broken(
            "I13",
            format!("run {run} is set aside, and others wait for it"),
        ),
        None => Ok(()),
    }
}

/// I12: what waits its turn (a backfill, what was missed together and all runs) is neither skipped for an overlap nor
/// replaced.
///
/// # Errors
/// The run that lost its turn.
pub fn turns_are_kept(runs: &[Run]) -> Result<(), Violation> {
    let lost = |r: &&Run| matches!(r.reason, Reason::Overlap | Reason::Replaced);
    let mut in_turn = runs.iter().filter(|r| r.waits_its_turn());
    match in_turn.find(lost) {
        Some(run) => broken(
            "I12",
            format!(
                "run {} waits its turn and is {}",
                run.id,
                run.reason.as_str()
            ),
        ),
        None => Ok(()),
    }
}

/// I11: while a task is paused, none of its instants from there on has a run that waits, runs or has run: a rest holds from
/// its commit on, whatever was planned ahead of it. (One that was cancelled before it started is none of these.)
///
/// # Errors
/// The run that starts in spite of it.
pub fn a_rest_holds(snapshot: &Snapshot) -> Result<(), Violation> {
    let resting: HashMap<TaskId, Timestamp> = snapshot.resting.iter().copied().collect();
    let never_ran = |r: &Run| match r.state {
        State::Skipped => true,
        State::Cancelled => r.started_at.is_none(),
        _ => false,
    };
    let scheduled = |r: &&Run| r.origin == Origin::Schedule && !never_ran(r);
    for run in snapshot.runs.iter().filter(scheduled) {
        let from = run.task.and_then(|task| resting.get(&task));
        // What started while the clock was ahead, before the rest, has an instant that is still to come.
        let before = run.task.map(|task| (task, run.due_at));
        let before = before.is_some_and(|instant| snapshot.answered.contains(&instant));
        if from.is_some_and(|from| *from <= run.due_at) && !before {
            let (id, due) = (run.id, run.due_at);
            return broken(
                "I11",
                format!("run {id} for {due} is there while its task is paused"),
            );
        }
    }
    Ok(())
}

/// I10: a run that waits for a task that is gone is still looked for, so that it ends.
///
/// # Errors
/// The run that would wait for ever.
pub fn orphans_are_looked_for(snapshot: &Snapshot) -> Result<(), Violation> {
    let deleted: HashMap<TaskId, bool> = snapshot.deleted.iter().copied().collect();
    let waits = |run: &&Run| matches!(run.state, State::Scheduled | State::Queued);
    for run in snapshot.runs.iter().filter(waits) {
        if run.task.and_then(|task| deleted.get(&task)) == Some(&false) {
            return broken(
                "I10",
                format!(
                    "run {} waits for a deleted task and nobody looks for it",
                    run.id
                ),
            );
        }
    }
    Ok(())
}

/// I8: a permit has one holder, which is live, and whoever is blocked waits. (Whoever is blocked behind nobody is found by
/// the leader's next sweep.)
///
/// # Errors
/// The permit or the blocked run that does not fit.
pub fn permits_fit(snapshot: &Snapshot) -> Result<(), Violation> {
    let live: HashMap<RunId, State> = snapshot
        .runs
        .iter()
        .filter(|r| !r.state.is_terminal())
        .map(|r| (r.id, r.state))
        .collect();
    let mut places = HashSet::new();
    for permit in &snapshot.permits {
        if !places.insert((&permit.key, permit.n)) {
            return broken("I8", format!("permit {} {} twice", permit.key, permit.n));
        }
        if !live.contains_key(&permit.run) {
            return broken("I8", format!("{} is held by an ended run", permit.key));
        }
    }
    for blocked in &snapshot.blocked {
        if !matches!(
            live.get(&blocked.run),
            Some(State::Scheduled | State::Queued)
        ) {
            return broken(
                "I8",
                format!("run {} is blocked and does not wait", blocked.run),
            );
        }
    }
    Ok(())
}

/// I8: of the tasks whose runs must not overlap, each has at most one run that is running.
///
/// # Errors
/// The task that has two.
pub fn one_at_a_time(snapshot: &Snapshot, exclusive: &HashSet<TaskId>) -> Result<(), Violation> {
    let mut busy = HashSet::new();
    let running = snapshot.runs.iter().filter(|r| r.state == State::Running);
    for task in running
        .filter_map(|r| r.task)
        .filter(|t| exclusive.contains(t))
    {
        if !busy.insert(task) {
            return broken("I8", format!("task {task} has two runs at once"));
        }
    }
    Ok(())
}

/// I1: for each task and instant, at most one run of the schedule, and no run inside a range that was skipped.
///
/// # Errors
/// The task and instant that has two.
pub fn one_run_per_occurrence(runs: &[Run]) -> Result<(), Violation> {
    let mut seen: HashSet<(TaskId, Timestamp)> = HashSet::new();
    let scheduled = runs.iter().filter(|r| r.origin == Origin::Schedule);
    for run in scheduled {
        let Some(task) = run.task else { continue };
        if !seen.insert((task, run.due_at)) {
            return broken("I1", format!("task {task} has two rows for {}", run.due_at));
        }
    }
    Ok(())
}

/// I7: failures, losses and attempts agree with each other and with the limits.
///
/// # Errors
/// The run whose counts can't be.
pub fn counts_within_limits(run: &Run) -> Result<(), Violation> {
    if run.losses > limits::LOSSES_MAX {
        return broken(
            "I7",
            format!("run {} was lost {} times", run.id, run.losses),
        );
    }
    let ended_last = u32::from(run.state == State::Failed);
    if run.failures + run.losses > run.attempt - 1 + ended_last {
        return broken(
            "I7",
            format!("run {} counts more ends than attempts", run.id),
        );
    }
    Ok(())
}

/// I6: no attempt was claimed before its instant.
///
/// # Errors
/// The run that started early.
pub fn never_early(run: &Run) -> Result<(), Violation> {
    match run.started_at {
        Some(started) if started < run.due_at => broken(
            "I6",
            format!("run {} started before {}", run.id, run.due_at),
        ),
        _ => Ok(()),
    }
}

/// I14: no attempt was claimed after the run's start deadline, however often the run was refused before. (One that has
/// started has none any more, and a listener's is handed over when it may be.)
///
/// # Errors
/// The run that started late.
pub fn never_late(run: &Run) -> Result<(), Violation> {
    let late = run.started_at.zip(run.deadline_at);
    match late.filter(|(started, deadline)| started >= deadline) {
        Some((_, deadline)) if run.reason != Reason::HandedOver => broken(
            "I14",
            format!("run {} started after its deadline {deadline}", run.id),
        ),
        _ => Ok(()),
    }
}

/// I9: every run that has not ended has a timer, is kept by an outbox row, waits for a permit, or is held by a member
/// (or by one that the next sweep of the leader finds: such a run is in state running). One that waits for a deleted task
/// that is still looked after is ended by the leader's next look.
///
/// # Errors
/// The run that nobody would ever move again.
pub fn no_wedge(snapshot: &Snapshot) -> Result<(), Violation> {
    let timers: HashSet<RunId> = snapshot
        .due
        .iter()
        .filter_map(|d| match d.owner {
            Owner::Run(run) => Some(run),
            Owner::Task(_) => None,
        })
        .collect();
    let kept: HashSet<(RunId, u32)> = snapshot.outbox.iter().copied().collect();
    let blocked: HashSet<RunId> = snapshot.blocked.iter().map(|p| p.run).collect();
    let deleted = snapshot
        .deleted
        .iter()
        .filter(|(_, looked_for)| *looked_for);
    let deleted: HashSet<TaskId> = deleted.map(|(task, _)| *task).collect();
    for run in &snapshot.runs {
        let waits = matches!(run.state, State::Scheduled | State::Queued);
        let ends = run.task.is_some_and(|task| deleted.contains(&task));
        let kept = kept.contains(&(run.id, run.attempt)) || blocked.contains(&run.id) || ends;
        if waits && !timers.contains(&run.id) && !kept {
            return broken("I9", format!("run {} waits and nothing keeps it", run.id));
        }
    }
    Ok(())
}

/// I2 and I5: between two moments no attempt decreases, and no terminal row changes (retention may remove it).
///
/// # Errors
/// The run that went back or changed after its end.
pub fn only_forward(before: &Snapshot, after: &Snapshot) -> Result<(), Violation> {
    let now: HashMap<RunId, &Run> = after.runs.iter().map(|r| (r.id, r)).collect();
    for old in &before.runs {
        let Some(new) = now.get(&old.id) else {
            continue;
        };
        if old.state.is_terminal() && old != *new {
            return broken("I5", format!("run {} changed after its end", old.id));
        }
        if new.attempt < old.attempt {
            return broken(
                "I2",
                format!("run {} went back to attempt {}", old.id, new.attempt),
            );
        }
    }
    Ok(())
}

/// What a handler's start looked like from outside: for I4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Start {
    pub run: RunId,
    pub attempt: u32,
}

/// I4: no attempt is started twice, and runs that may start once did.
///
/// # Errors
/// The attempt or run with a second start.
pub fn started_once(starts: &[Start], at_most_once: &HashSet<RunId>) -> Result<(), Violation> {
    let mut attempts = HashSet::new();
    let mut runs = HashSet::new();
    for start in starts {
        if !attempts.insert(*start) {
            return broken(
                "I4",
                format!(
                    "attempt {} of run {} was started twice",
                    start.attempt, start.run
                ),
            );
        }
        if !runs.insert(start.run) && at_most_once.contains(&start.run) {
            return broken(
                "I4",
                format!("at-most-once run {} was started again", start.run),
            );
        }
    }
    Ok(())
}

/// I13: what counts as a failure was started: a worker that can't carry a run out takes none of its attempts from it.
///
/// # Errors
/// The run that failed more often than it was started.
pub fn failures_were_started<'a>(
    runs: impl IntoIterator<Item = &'a Run>,
    starts: &[Start],
) -> Result<(), Violation> {
    for run in runs.into_iter().filter(|run| run.failures > 0) {
        let started = starts.iter().filter(|start| start.run == run.id).count();
        if usize::try_from(run.failures).unwrap_or(usize::MAX) > started {
            return broken(
                "I13",
                format!(
                    "run {} failed {} times and was started {started} times",
                    run.id, run.failures
                ),
            );
        }
    }
    Ok(())
}

/// G2: every expected instant of a task is a run or lies in a skip with a reason; nothing else is there.
///
/// # Errors
/// The first instant that is missing or was not expected.
pub fn no_gap(task: TaskId, expected: &[Timestamp], runs: &[Run]) -> Result<(), Violation> {
    let mine = runs
        .iter()
        .filter(|r| r.task == Some(task) && r.origin == Origin::Schedule);
    let (skips, ran): (Vec<&Run>, Vec<&Run>) = mine.partition(|r| r.state == State::Skipped);
    let ran: HashSet<Timestamp> = ran.iter().map(|r| r.due_at).collect();
    let skipped = |t: Timestamp| {
        skips.iter().any(|s| {
            s.reason != Reason::None
                && s.due_at <= t
                && t <= s.skipped.map_or(s.due_at, |(last, _)| last)
        })
    };
    match expected.iter().find(|t| !ran.contains(t) && !skipped(**t)) {
        Some(t) => broken(
            "G2",
            format!("task {task} has neither run nor skip for {t}"),
        ),
        None => Ok(()),
    }
}

#[cfg(test)]
#[path = "../../tests/decide/invariants_tests.rs"]
mod tests;
