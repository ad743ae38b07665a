//! Where a due row may be put, since the leader plans a little ahead of the instants: what has its run already is passed
//! over. Asked by all that put a due row elsewhere; it writes nothing.

use std::time::Duration;

use campanile_schedule::Timetable;
use campanile_schedule::fuel::{Fuel, Spent};
use campanile_schedule::time::Timestamp;

use crate::id::{RunId, TaskId};
use crate::port::store::{Error, Store};
use crate::protocol::ahead::is_ahead;
use crate::protocol::limits;
use crate::protocol::work::{RunFilter, Unplan};
use crate::run::State;
use crate::task::Task;

/// Instants up to this far ahead may have been planned already: they are looked up before a due row is put on one.
pub(super) const PLANNED_AHEAD: Duration = Duration::from_secs(10);

/// The first instant of a timetable, from `first` on, behind all that have a run or skip already: the leader plans a
/// little ahead, and an instant has one run. Those whose runs the same edit takes back have none.
///
/// # Errors
/// The store's; inside, that more is due within those moments than can be looked at.
pub async fn first_unplanned(
    store: &dyn Store,
    task: TaskId,
    timetable: &Timetable,
    first: Option<Timestamp>,
    now: Timestamp,
    taken_back: &[RunId],
) -> Result<Result<Option<Timestamp>, Spent>, Error> {
    let fuel = Fuel::of(limits::AHEAD_FUEL);
    let (mut at, mut unplanned) = (first, first);
    while let Some(instant) = at.filter(|t| *t <= now.plus(PLANNED_AHEAD)) {
        at = timetable.next_by(instant, &fuel).map(|event| event.at);
        if let Err(spent) = fuel.check() {
            return Ok(Err(spent));
        }
        let row = store.occurrence(task, instant).await?;
        if row.is_some_and(|run| !taken_back.contains(&run.id)) {
            unplanned = at;
        }
    }
    Ok(Ok(unplanned))
}

/// What is planned ahead of its instant for a task, and is taken back because the task's instants change: `None` if its
/// due row stands at its first instant after now, so that nothing can be. An instant that has come keeps its run, though
/// jitter may start that later: it is one of the schedule that it was planned by.
///
/// # Errors
/// The store's.
pub async fn planned_ahead(
    store: &dyn Store,
    task: &Task,
    due_row: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Unplan>, Error> {
    // Calendars may move instants; without them the schedule says where the row stands if nothing is ahead.
    let stands_first = || {
        // One that takes long to read is looked up below.
        let fuel = Fuel::of(limits::LEADER_TASK_FUEL);
        let schedule = task.spec.compile_by(task.created_at, &fuel);
        schedule
            .is_ok_and(|schedule| schedule.next_by(now, &fuel) == due_row && fuel.check().is_ok())
    };
    if task.spec.rests() || (task.spec.calendars.is_empty() && stands_first()) {
        return Ok(None);
    }
    let mut runs = Vec::new();
    for state in [State::Scheduled, State::Queued] {
        let filter = RunFilter {
            tasks: vec![task.id],
            state: Some(state),
            since: Some(now),
            ..RunFilter::default()
        };
        let waiting = store.runs(&filter, None, limits::PAGE_ROWS_MAX).await?;
        let ahead = waiting
            .iter()
            .filter(|run| is_ahead(run, Duration::ZERO, now));
        runs.extend(ahead.map(|run| run.id));
    }
    Ok(Some(Unplan {
        task: task.id,
        offset: Duration::ZERO,
        runs,
    }))
}
