//! What was planned while the store's clock was ahead, once it is set right: instants of schedules that have not come and
//! have rows already. A run that nobody has claimed and a skip are taken back, as if nobody had planned them, and the
//! task's due row goes back, so that the instant is decided when it comes. What has started stays, and is passed over
//! then. Facts decide, not memory: whatever lies ahead of the clock was planned by one that was ahead. Pure; what people
//! asked for is left alone.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use crate::decide::edit::ahead::is_ahead;
use crate::id::{RunId, TaskId};
use crate::limits;
use crate::port::fire::DueKey;
use crate::run::{Origin, Reason, Run, State};

/// How long before the instants that it plans a row may have been minted: the look-ahead, and two clocks' difference. So
/// what lies ahead of the clock has an id that is not far behind it.
pub const MINTED_BEFORE: Duration = Duration::from_secs(10);

/// A part of what is taken back of one task: from an instant on, nothing that could be taken back has a row. Parts are
/// written in order, the latest instants first, so that each leaves everything in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Part {
    /// The first instant that has no row any more; `None` if nothing is taken back.
    pub from: Option<Timestamp>,
    /// Runs that nobody has claimed.
    pub runs: Vec<Run>,
    pub skips: Vec<RunId>,
    /// Instants from there on that have a row and keep it: they do not fire again.
    pub answered: Vec<Timestamp>,
}

/// What becomes of one task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskBack {
    pub task: TaskId,
    /// The due row as it was seen, and where it stands from now on; nothing if nothing is taken back, or the task is paused.
    pub due: Option<(Option<DueKey>, DueKey)>,
    /// For a task that is paused: no later than this from now on.
    pub paused_from: Option<Timestamp>,
    /// What goes, and what stays.
    pub part: Part,
}

/// One transaction of the leader. All or nothing: a run that was claimed, a skip that is gone or a due row that has moved
/// makes it be refused.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PutBack {
    /// The edit counter that it rests on. It is increased.
    pub edits: i64,
    pub tasks: Vec<TaskBack>,
    /// Answered instants before this are forgotten, of tasks whose due row is behind them and that do not rest from before.
    pub forget: Option<Timestamp>,
    /// Settings of the cluster to write: name and value.
    pub settings: Vec<(&'static str, String)>,
}

impl PutBack {
    /// How many rows go, and how many instants keep theirs.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let parts = self.tasks.iter().map(|t| &t.part);
        parts.fold((0, 0), |(gone, kept), part| {
            let more = part.runs.len() + part.skips.len();
            (gone + more, kept + part.answered.len())
        })
    }
}

/// Instants of tasks' schedules that lie ahead and have a row already.
pub type Answered = HashMap<TaskId, BTreeSet<Timestamp>>;

/// The last instant that a row stands for.
fn end(run: &Run) -> Timestamp {
    run.skipped.map_or(run.due_at, |(last, _)| last)
}

/// Whether the row of a schedule stands for an instant that is still to come at `now`, or waits for a start that is.
#[must_use]
pub fn is_early(run: &Run, now: Timestamp) -> bool {
    run.origin == Origin::Schedule && (end(run) > now || waits_for_later(run, now))
}

/// A first attempt whose start is still to come: no claim can have won it.
fn waits_for_later(run: &Run, now: Timestamp) -> bool {
    is_ahead(run, run.ready_at.since(run.due_at), now)
}

/// Whether a plan said that the instants do not run. What an edit left behind has passed for whoever made the edit.
const fn is_planned(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::Paused | Reason::Disabled | Reason::Changed | Reason::TaskDeleted
    )
}

fn is_taken_back(run: &Run, now: Timestamp) -> bool {
    match run.state {
        State::Skipped => end(run) > now && (is_planned(run.reason) || run.due_at > now),
        _ => waits_for_later(run, now),
    }
}

/// The first instant of what is taken back among these rows of one task's schedule; `None` = nothing is.
#[must_use]
pub fn first_taken_back(rows: &[Run], now: Timestamp) -> Option<Timestamp> {
    // A range that an edit left behind, and that has begun: nothing before its end is decided again.
    let kept = |r: &&Run| r.state == State::Skipped && !is_taken_back(r, now);
    let kept = rows.iter().filter(kept).map(end).filter(|t| *t > now).max();
    let taken = rows.iter().filter(|r| is_taken_back(r, now));
    let taken = taken.filter(|r| kept.is_none_or(|kept| r.due_at > kept));
    taken.map(|r| r.due_at).min()
}

/// What is taken back of one task, and what is kept, from all rows of its schedule that are early and all from
/// [`first_taken_back`] on.
#[must_use]
pub fn parts(rows: &[Run], now: Timestamp) -> Vec<Part> {
    let mine = rows.iter().filter(|r| r.origin == Origin::Schedule);
    let Some(from) = first_taken_back(rows, now) else {
        let answered = mine.map(|r| r.due_at).filter(|t| *t > now).collect();
        return vec![Part {
            answered,
            ..Part::default()
        }];
    };
    let again = |r: &Run| {
        let planned = r.state == State::Skipped && is_planned(r.reason);
        r.due_at >= from && (is_taken_back(r, now) || planned)
    };
    let (mut gone, kept): (Vec<&Run>, Vec<&Run>) = mine.partition(|r| again(r));
    gone.sort_unstable_by_key(|r| std::cmp::Reverse((r.due_at, r.id)));
    let kept: BTreeSet<Timestamp> = kept.iter().map(|r| r.due_at).collect();
    let mut parts = Vec::new();
    let mut later = None;
    for chunk in gone.chunks(limits::TAKE_BACK_ROWS_MAX) {
        let first = chunk.last().map_or(from, |r| r.due_at);
        let (skips, runs): (Vec<&Run>, Vec<&Run>) =
            chunk.iter().partition(|r| r.state == State::Skipped);
        let answered = kept.range(first..).copied();
        parts.push(Part {
            from: Some(first),
            runs: runs.into_iter().cloned().collect(),
            skips: skips.iter().map(|r| r.id).collect(),
            answered: answered.filter(|t| later.is_none_or(|l| *t < l)).collect(),
        });
        later = Some(first);
    }
    // Those before it too: an edit may put a due row before them.
    if let Some(last) = parts.last_mut() {
        let before = kept.range(..from).copied().filter(|t| *t > now);
        last.answered.extend(before);
    }
    parts
}

#[cfg(test)]
#[path = "../../../tests/decide/lead/jump_tests.rs"]
mod tests;
