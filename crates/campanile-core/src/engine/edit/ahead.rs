//! Reads what an edit of a task's instants is decided by: which of the instants that come have rows, and what was planned
//! ahead. Asked by all that put a due row elsewhere. What it means is decided in [`crate::decide::edit::place`]; this
//! writes nothing.

use campanile_schedule::Timetable;
use campanile_schedule::fuel::{Fuel, Spent};
use campanile_schedule::time::Timestamp;

use crate::decide::attempt as transitions;
use crate::decide::edit::ahead::Unplan;
use crate::decide::edit::place::{Future, Left, Near, instant_of, may_be_ahead, taken_back};
use crate::id::{Mint, TaskId};
use crate::limits;
use crate::port::ask::{AskStore, RunFilter};
use crate::port::store::Error;
use crate::run::{Run, State};
use crate::system::{Pool, PoolError};
use crate::task::Task;

/// What comes by a task's timetable as it will be, from its instant `first` on. Nothing is taken back.
///
/// # Errors
/// The store's; inside, that more is due within the next moments than can be looked at.
pub async fn future<S: AskStore + ?Sized>(
    store: &S,
    task: TaskId,
    timetable: &Timetable,
    first: Option<Timestamp>,
    now: Timestamp,
) -> Result<Result<Future, Spent>, Error> {
    let near = match Near::of(timetable, first, now) {
        Ok(near) => near,
        Err(spent) => return Ok(Err(spent)),
    };
    let mut rows = Vec::new();
    for instant in near.instants.iter().copied() {
        let row = store.occurrence(task, instant).await?;
        rows.extend(row.map(|run| (instant, run.id)));
    }
    Ok(Ok(Future {
        near,
        rows,
        unplan: None,
    }))
}

/// The row of the instants that an edit leaves to nobody, counted apart from what serves others.
///
/// # Errors
/// The store's; inside, that the pool did not count.
pub async fn left_row<S: AskStore + ?Sized>(
    store: &S,
    pool: &Pool,
    mint: &Mint,
    old: &Task,
    left: Option<Left>,
    now: Timestamp,
) -> Result<Result<Option<Run>, PoolError>, Error> {
    let mut next = left;
    while let Some(left) = next {
        let (spec, created_at) = (old.spec.clone(), old.created_at);
        let count = move |fuel: &Fuel| left.row(&spec, created_at, fuel);
        let range = match pool.run_with(limits::REST_FUEL, count).await {
            Ok(Some(range)) => range,
            Ok(None) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error)),
        };
        let answered = store.occurrence(old.id, range.first).await?;
        if answered.is_none_or(|run| run.due_at != range.first) {
            let id = mint.runs(now, 1).pop();
            return Ok(Ok(id.map(|id| transitions::skip(id, old, &range, 0, now))));
        }
        next = left.behind_instant(range.first);
    }
    Ok(Ok(None))
}

/// What is planned ahead of its instant for a task, and is taken back because the task's instants change; `None` if
/// nothing can be.
///
/// # Errors
/// The store's.
pub async fn planned_ahead<S: AskStore + ?Sized>(
    store: &S,
    task: &Task,
    due_row: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Unplan>, Error> {
    let instant = due_row.map(|at| instant_of(task, at));
    if !may_be_ahead(task, instant, now) {
        return Ok(None);
    }
    let mut waiting = Vec::new();
    for state in [State::Scheduled, State::Queued] {
        let filter = RunFilter {
            tasks: vec![task.id],
            state: Some(state),
            since: Some(now),
            ..RunFilter::default()
        };
        waiting.extend(store.runs(&filter, None, limits::PAGE_ROWS_MAX).await?);
    }
    Ok(Some(taken_back(task.id, waiting.iter(), now)))
}
