//! What must have come of a history: which instants a task has, counted by plain arithmetic that shares nothing with the
//! product's schedules, and what the store and the handlers' own ledger say of them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use campanile_core::decide::invariants;
use campanile_core::decide::invariants::{Snapshot, Start};
use campanile_core::id::{RunId, TaskId};
use campanile_core::port::ask::Quarantined;
use campanile_core::run::{Origin, Reason, Run, State};
use campanile_schedule::time::Timestamp;

use crate::net::{Ended, Ledger};
use crate::tally::{Seen, Tally};

/// Evenly spaced instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// From one to the next.
    pub step_ms: u64,
    /// One of them.
    pub phase_ms: i64,
}

impl Grid {
    /// The instants after one moment and up to another.
    pub fn instants(&self, after_ms: i64, until_ms: i64) -> Vec<Timestamp> {
        let step = i64::try_from(self.step_ms).unwrap_or(i64::MAX);
        let first = after_ms + step - (after_ms - self.phase_ms).rem_euclid(step);
        let mut out = Vec::new();
        let mut at = first;
        while at <= until_ms {
            out.push(Timestamp::from_ms(at));
            at += step;
        }
        out
    }
}

/// Occurrences are planned so far ahead of their instants, and a bit.
const AHEAD_MS: i64 = 2_000;
/// Rounding, and a clock that is read a millisecond behind.
const ROUND_MS: i64 = 10;

/// What is known of a task, from outside.
#[derive(Debug, Clone)]
pub struct Known {
    /// Who.
    pub id: TaskId,
    /// Its name.
    pub name: String,
    /// Whether its runs must not overlap.
    pub exclusive: bool,
    /// Whether its runs may start once.
    pub at_most_once: bool,
    /// Whether it goes on from the ends of its runs: nobody knows its instants before.
    pub chained: bool,
    /// Its schedules, each from a moment on until another.
    pub spans: Vec<Span>,
    /// How things stood when its deletion was answered, if it was deleted.
    pub deleted: Option<Deleted>,
}

/// What had begun when a deletion was answered. It is told by the order in which things happened, and not by the times
/// that the store writes: its clock may be wrong for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// How many attempts of all runs had started.
    pub starts: usize,
    /// The task's attempts that had been won, or were over.
    pub begun: BTreeSet<(RunId, u32)>,
}

impl Deleted {
    /// As things stand now.
    pub fn of(task: TaskId, runs: &[Run], starts: usize) -> Self {
        let begun = |run: &&Run| match run.state {
            State::Scheduled | State::Queued => false,
            // What is set aside while it waits may wait again.
            State::Quarantined => run.claim.is_some(),
            _ => true,
        };
        let mine = runs.iter().filter(|run| run.task == Some(task));
        let begun = mine.filter(begun).map(|run| (run.id, run.attempt));
        Self {
            starts,
            begun: begun.collect(),
        }
    }
}

/// A schedule while it was in force.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Its instants.
    pub grid: Grid,
    /// From when on; exactly, if it is the first.
    pub from_ms: i64,
    /// Until when; `None` = to the end.
    pub until_ms: Option<i64>,
    /// Whether it took another's place.
    pub edited: bool,
}

impl Known {
    /// The instants that must have a run or a skip.
    fn expected(&self, until_ms: i64) -> Vec<Timestamp> {
        let mut out = Vec::new();
        for span in &self.spans {
            let from = span.from_ms + if span.edited { ROUND_MS } else { 0 };
            let until = span
                .until_ms
                .map_or(until_ms, |t| (t - ROUND_MS).min(until_ms));
            out.extend(span.grid.instants(from, until));
        }
        out
    }

    /// The instants that may have one.
    fn allowed(&self, until_ms: i64, furthest_ms: i64) -> BTreeSet<Timestamp> {
        let mut out = BTreeSet::new();
        for (at, span) in self.spans.iter().enumerate() {
            // What was planned ahead goes with a schedule that is replaced, and stays with a task that is deleted.
            let replaced = at + 1 < self.spans.len();
            let more = if replaced { ROUND_MS } else { AHEAD_MS };
            let until = span
                .until_ms
                .map_or(until_ms, |t| (t + more).max(furthest_ms));
            out.extend(span.grid.instants(span.from_ms - ROUND_MS, until));
        }
        out
    }
}

/// The moments that a history is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Moments {
    /// When the faults ended: up to then nothing may be missing.
    pub faults_ended_ms: i64,
    /// Now, by the true clock.
    pub now_ms: i64,
    /// The furthest that the store's clock has shown while it was ahead: what it started stands for instants to come.
    pub furthest_ms: i64,
}

/// Judges a history that has come to rest.
///
/// # Errors
/// The first thing that must not be.
pub fn judge(
    snapshot: &Snapshot,
    ledger: &Ledger,
    known: &[Known],
    moments: Moments,
) -> Result<(), String> {
    invariants::check(snapshot).map_err(|v| v.to_string())?;
    let once: HashSet<TaskId> = known
        .iter()
        .filter(|k| k.at_most_once)
        .map(|k| k.id)
        .collect();
    let runs = snapshot.runs.iter();
    let once = runs.filter(|r| r.task.is_some_and(|t| once.contains(&t)));
    let once: HashSet<RunId> = once.map(|r| r.id).collect();
    invariants::started_once(&ledger.starts, &once).map_err(|v| v.to_string())?;
    // A payload that can't be read fails its run before the handler sees it.
    let runs = snapshot.runs.iter();
    let read = runs.filter(|r| !ledger.unread.contains(&r.id));
    invariants::failures_were_started(read, &ledger.starts).map_err(|v| v.to_string())?;
    nobody_ended_unable(&snapshot.runs)?;
    for task in known {
        let mut expected = task.expected(moments.faults_ended_ms);
        // What a rest takes back is recorded when the rest ends.
        let resting = snapshot.resting.iter().find(|(id, _)| *id == task.id);
        expected.retain(|at| resting.is_none_or(|(_, from)| at < from));
        invariants::no_gap(task.id, &expected, &snapshot.runs)
            .map_err(|v| format!("{v} ({})", task.name))?;
        if !task.chained {
            nothing_invented(task, &snapshot.runs, moments)?;
        }
    }
    gone_with_its_task(known, &snapshot.runs)?;
    nothing_starts_without_its_task(known, &snapshot.runs, &ledger.starts)?;
    ends_agree(&snapshot.runs, ledger)
}

/// What is set aside is seen, and once: each run in that state has one entry, and no other run has any.
///
/// # Errors
/// The run with none, or too many.
pub fn set_aside_once(runs: &[Run], aside: &[Quarantined]) -> Result<(), String> {
    let mut entries: Vec<RunId> = aside.iter().filter_map(|entry| entry.run).collect();
    let states = runs.iter().filter(|run| run.state == State::Quarantined);
    let mut states: Vec<RunId> = states.map(|run| run.id).collect();
    entries.sort_unstable();
    states.sort_unstable();
    if entries == states {
        return Ok(());
    }
    Err(format!(
        "I13: set aside are {states:?}, and seen {entries:?}"
    ))
}

/// No worker ends a run that it can't carry out.
fn nobody_ended_unable(runs: &[Run]) -> Result<(), String> {
    match runs.iter().find(|run| run.reason == Reason::NotAllowed) {
        Some(run) => Err(format!(
            "I13: {} was ended by a worker that can't do it",
            run.id
        )),
        None => Ok(()),
    }
}

/// A run is cancelled for want of its task only if somebody deleted that.
fn gone_with_its_task(known: &[Known], runs: &[Run]) -> Result<(), String> {
    let there: HashSet<TaskId> = known
        .iter()
        .filter(|k| k.deleted.is_none())
        .map(|k| k.id)
        .collect();
    let gone = runs.iter().find(|run| {
        run.reason == Reason::TaskDeleted && run.task.is_some_and(|task| there.contains(&task))
    });
    match gone {
        Some(run) => Err(format!(
            "G3: {} was cancelled because its task was deleted, and nobody deleted it",
            run.id
        )),
        None => Ok(()),
    }
}

/// An attempt that was won after the answer to its task's deletion is not started: its run ends cancelled, and not as a
/// handler ends one. (What a listener has been sent counts as started before.)
fn nothing_starts_without_its_task(
    known: &[Known],
    runs: &[Run],
    starts: &[Start],
) -> Result<(), String> {
    let of: BTreeMap<RunId, TaskId> = runs.iter().filter_map(|r| Some((r.id, r.task?))).collect();
    for (task, deleted) in known
        .iter()
        .filter_map(|k| Some((k.id, k.deleted.as_ref()?)))
    {
        let later = starts.iter().skip(deleted.starts);
        let later = later.filter(|start| of.get(&start.run) == Some(&task));
        let later = later.map(|start| (start.run, start.attempt));
        let ended = runs.iter().filter(|run| run.task == Some(task));
        let ended = ended.filter(|run| ended_by_handler(run));
        let ended = ended.map(|run| (run.id, run.attempt));
        if let Some((run, attempt)) = later.chain(ended).find(|a| !deleted.begun.contains(a)) {
            return Err(format!(
                "I10: {run}:{attempt} started though its task was deleted before"
            ));
        }
    }
    Ok(())
}

fn ended_by_handler(run: &Run) -> bool {
    matches!(run.state, State::Succeeded | State::Failed)
        && !matches!(
            run.reason,
            Reason::HandedOver | Reason::Lost | Reason::Unrecordable
        )
}

/// No run stands for an instant that the task does not have.
fn nothing_invented(task: &Known, runs: &[Run], moments: Moments) -> Result<(), String> {
    let now_ms = moments.now_ms.max(moments.furthest_ms);
    let allowed = task.allowed(now_ms + AHEAD_MS, moments.furthest_ms);
    let mine = runs
        .iter()
        .filter(|r| r.task == Some(task.id) && r.origin == Origin::Schedule)
        // Planned ahead, and cancelled by somebody before its schedule was replaced: it is over, and stays.
        .filter(|r| !(r.state == State::Cancelled && r.finished_at.is_some_and(|t| t < r.due_at)));
    match mine.into_iter().find(|r| !allowed.contains(&r.due_at)) {
        Some(run) => Err(format!(
            "G2: {} has a run or a skip for {}, which is none of its instants",
            task.name, run.due_at
        )),
        None => Ok(()),
    }
}

/// What the store says of ends is what the handlers did.
fn ends_agree(runs: &[Run], ledger: &Ledger) -> Result<(), String> {
    let mut last_start: BTreeMap<RunId, u32> = BTreeMap::new();
    for start in &ledger.starts {
        let last = last_start.entry(start.run).or_default();
        *last = start.attempt.max(*last);
    }
    for run in runs {
        let last = last_start.get(&run.id).copied().unwrap_or(0);
        if last > run.attempt {
            return Err(format!(
                "I2: attempt {last} of {} was started, the row has {}",
                run.id, run.attempt
            ));
        }
        let ended = Ended {
            run: run.id,
            attempt: run.attempt,
        };
        let well = run.state == State::Succeeded && run.reason == Reason::None;
        if well && !ledger.ended_well.contains(&ended) {
            return Err(format!(
                "G6: {} succeeded by the store, and no handler says so",
                run.id
            ));
        }
        if run.state == State::Skipped && last > 0 {
            return Err(format!(
                "{} is skipped ({}) and was started",
                run.id,
                run.reason.as_str()
            ));
        }
    }
    Ok(())
}

/// Counts what the rows tell.
pub fn count(tally: &mut Tally, runs: &[Run]) {
    for run in runs {
        let seen = match (run.state, run.reason) {
            (State::Succeeded, Reason::HandedOver) => Some(Seen::HandedOver),
            (State::Succeeded, _) if run.losses > 0 => Some(Seen::LostRecovered),
            (State::Succeeded, _) if run.failures > 0 => Some(Seen::RetriedWell),
            (State::Failed, Reason::Lost) => Some(Seen::LostForGood),
            (State::Failed, Reason::Timeout) => Some(Seen::TimedOut),
            (State::Failed, Reason::Error) => Some(Seen::FailedForGood),
            (State::Cancelled, Reason::Replaced) => Some(Seen::ReplacedRunning),
            (State::Cancelled, Reason::TaskDeleted) => Some(Seen::TaskGone),
            (State::Cancelled, _) => Some(Seen::Cancelled),
            (_, Reason::Replaced) => Some(Seen::ReplacedWaiting),
            (_, Reason::Overlap) => Some(Seen::OverlapSkipped),
            (_, Reason::Misfire | Reason::CatchUpLimit) => Some(Seen::MisfireSkipped),
            (_, Reason::TooLate) => Some(Seen::TooLateSkipped),
            (_, Reason::StartDeadline) => Some(Seen::DeadlineSkipped),
            (_, Reason::Paused | Reason::Changed) => Some(Seen::RestSkipped),
            (_, Reason::TaskDeleted) => Some(Seen::GoneSkipped),
            _ => None,
        };
        if let Some(seen) = seen {
            tally.seen(seen, 1);
        }
    }
    tally.runs += u64::try_from(runs.len()).unwrap_or(0);
}

/// Counts the ends from which tasks went on.
pub fn count_chained<'k>(
    tally: &mut Tally,
    runs: &[Run],
    chained: impl Iterator<Item = &'k Known>,
) {
    let chained: HashSet<TaskId> = chained.map(|k| k.id).collect();
    let mine = runs.iter().filter(|r| r.origin == Origin::Schedule);
    let mine = mine.filter(|r| r.task.is_some_and(|task| chained.contains(&task)));
    let ended = mine.filter(|r| r.state.is_terminal() && r.state != State::Skipped);
    let ended = u64::try_from(ended.count()).unwrap_or(0);
    tally.seen(Seen::ChainWentOn, ended);
}

#[cfg(test)]
mod tests {
    use campanile_core::decide::attempt::claim;
    use campanile_core::id::ClaimId;
    use campanile_core::task::QueueName;

    use super::*;

    const TASK: TaskId = TaskId::from_i64(7);

    fn waiting(id: i64) -> Run {
        let at = Timestamp::from_ms(1_000);
        Run {
            task: Some(TASK),
            origin: Origin::Schedule,
            epoch: 1,
            ..Run::untouched(RunId::from_i64(id), QueueName::default(), 4, at)
        }
    }

    /// Won at this moment of the store's clock.
    fn won(id: i64, at_ms: i64) -> Run {
        let node = campanile_core::id::NodeId::from_i64(1);
        let at = Timestamp::from_ms(at_ms);
        claim(&waiting(id), 1, ClaimId::from_i64(id), node, at).unwrap()
    }

    fn known(deleted: Deleted) -> [Known; 1] {
        [Known {
            id: TASK,
            name: "t".to_owned(),
            exclusive: false,
            at_most_once: false,
            chained: false,
            spans: Vec::new(),
            deleted: Some(deleted),
        }]
    }

    fn start(id: i64, attempt: u32) -> Start {
        let run = RunId::from_i64(id);
        Start { run, attempt }
    }

    /// The store's clock was an hour ahead while the run was won, and right again when its task was deleted.
    #[test]
    fn what_was_won_before_the_deletion_may_start_whatever_the_clock_says() {
        let run = won(1, 3_600_000);
        let deleted = Deleted::of(TASK, std::slice::from_ref(&run), 0);
        let ended = Run {
            state: State::Succeeded,
            ..run
        };
        let judged = nothing_starts_without_its_task(&known(deleted), &[ended], &[start(1, 1)]);
        assert_eq!(judged, Ok(()));
    }

    #[test]
    fn what_is_set_aside_is_seen_once() {
        let run = Run {
            state: State::Quarantined,
            ..won(1, 2_000)
        };
        let entry = |id: i64| Quarantined {
            id,
            task: run.task,
            run: Some(run.id),
            attempt: 1,
            queue: QueueName::default(),
            due_at: run.due_at,
            at: run.due_at,
            what: "its end".to_owned(),
            error: "refused".to_owned(),
        };
        let runs = std::slice::from_ref(&run);
        assert!(set_aside_once(runs, &[entry(1)]).is_ok());
        assert!(set_aside_once(runs, &[]).is_err());
        assert!(set_aside_once(runs, &[entry(1), entry(2)]).is_err());
        assert!(set_aside_once(&[won(1, 2_000)], &[entry(1)]).is_err());
    }

    /// The clock went back behind the deletion meanwhile: the order tells.
    #[test]
    fn what_was_won_after_the_deletion_must_not_start() {
        let deleted = Deleted::of(TASK, &[waiting(1)], 1);
        let earlier = start(9, 1);
        let run = won(1, 2_000);
        let started = nothing_starts_without_its_task(
            &known(deleted.clone()),
            &[run],
            &[earlier, start(1, 1)],
        );
        assert!(started.unwrap_err().starts_with("I10: "));
        let ended = Run {
            state: State::Failed,
            reason: Reason::Error,
            ..won(1, 2_000)
        };
        assert!(nothing_starts_without_its_task(&known(deleted), &[ended], &[]).is_err());
    }

    #[test]
    fn a_retry_after_the_deletion_must_not_start() {
        let run = won(1, 2_000);
        let deleted = Deleted::of(TASK, std::slice::from_ref(&run), 1);
        let again = Run { attempt: 2, ..run };
        let starts = [start(1, 1), start(1, 2)];
        assert!(nothing_starts_without_its_task(&known(deleted), &[again], &starts).is_err());
    }
}
