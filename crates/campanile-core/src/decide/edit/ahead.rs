//! What the leader planned ahead of its instant, and what becomes of it when the task is paused or its instants change: a
//! run that nobody may start any more is taken back, in the transaction that says so, and its instant is as if nobody
//! had planned it. Pure: the store's statements are these functions written as conditions. It decides nothing about
//! runs that people asked for, nor about instants that have come.

use std::time::Duration;

use campanile_schedule::time::Timestamp;

use crate::decide::attempt::{drop_waiting, waits};
use crate::id::{RunId, TaskId};
use crate::port::fire::DueKey;
use crate::run::{Origin, Reason, Run};
use crate::task::TaskSpec;

/// What happens to a task's due row when the task changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DueChange {
    /// Its schedule is as before: the row stays.
    Keep,
    /// The row is replaced.
    Replace {
        /// Where the row stood when the change was decided (`None`: there was none). If it has moved since, instants
        /// were fired that the decision did not know of, and the edit is stale.
        seen: Option<Timestamp>,
        /// The new row (`None`: the task has no next occurrence).
        next: Option<DueKey>,
    },
    /// The task is paused from now on: its row goes, and with it what was planned ahead of its instant
    /// ([`is_ahead`] at the store's clock, inside the transaction). From where on it is paused is then
    /// [`paused_from`], whatever the upsert says.
    Pause {
        /// How far the task's starts lie behind their instants.
        offset: Duration,
    },
}

/// What was planned ahead of its instant for a task whose instants change, and is taken back: just these runs, or the
/// edit is stale.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unplan {
    pub task: TaskId,
    /// How far its starts lie behind their instants.
    pub offset: Duration,
    /// All of its runs that are ahead of their instants.
    pub runs: Vec<RunId>,
}

/// Whether a run of a schedule waits for a start that is still to come at `now`, by the store's clock: nobody can have
/// claimed it. `offset` is how far its task's starts lie behind their instants. A run that waits for a permit, for its
/// place in a catch-up or for its next attempt has an instant that has come, and stays.
#[must_use]
pub fn is_ahead(run: &Run, offset: Duration, now: Timestamp) -> bool {
    run.origin == Origin::Schedule && waits(run, 1) && run.due_at.plus(offset) > now
}

/// From which instant on a task is paused: the first that has no row. That is the earliest of those that were taken back and
/// are still to come, and of the due row's; a task that has neither rests from now on. `looked` is the store's clock before
/// what is ahead was looked for, `now` the clock when it has been taken back: an instant that came between may have been
/// claimed, and then it is none of the rest's.
#[must_use]
pub fn paused_from(
    looked: Timestamp,
    now: Timestamp,
    due_row: Option<Timestamp>,
    taken_back: impl Iterator<Item = Timestamp>,
) -> Timestamp {
    let to_come = taken_back.filter(|at| *at > looked);
    let behind = now.max(looked).plus(Duration::from_millis(1));
    due_row.into_iter().chain(to_come).min().unwrap_or(behind)
}

/// The row of a run that a rest takes back though its instant has come, for jitter starts it later: it does not run. The
/// end of the rest can't say so: the task may have another schedule than the one that it was planned by.
#[must_use]
pub fn answered_by_rest(run: &Run, spec: &TaskSpec, now: Timestamp) -> Option<Run> {
    let reason = if spec.enabled {
        Reason::Paused
    } else {
        Reason::Disabled
    };
    let has_come = run.due_at <= now;
    let row = drop_waiting(run, 1, reason, now).filter(|_| has_come)?;
    Some(Run {
        queued_at: None,
        limited: false,
        in_turn: false,
        deadline_at: None,
        skipped: Some((run.due_at, 1)),
        ..row
    })
}

/// Whether what is ahead of its instant now is just what was taken back in the decision.
#[must_use]
pub fn is_as_seen(unplan: &Unplan, ahead: impl Iterator<Item = RunId>) -> bool {
    let (mut seen, mut now): (Vec<RunId>, Vec<RunId>) = (unplan.runs.clone(), ahead.collect());
    seen.sort_unstable();
    now.sort_unstable();
    seen == now
}

#[cfg(test)]
#[path = "../../../tests/decide/edit/ahead_tests.rs"]
mod tests;
