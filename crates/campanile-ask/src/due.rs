//! Carries out what [`campanile_core::decide::edit::place`] decides about a task that changes: checks definitions and looks at
//! their schedules apart from what serves others, reads what the decision asks for, and makes the rows of it.

use std::sync::Arc;

use campanile_schedule::Timetable;
use campanile_schedule::fuel::{Fuel, Spent};
use campanile_schedule::time::Timestamp;

use crate::{Editor, Error};
use campanile_core::decide::edit::ahead::Unplan;
use campanile_core::decide::edit::place::{
    self, Course, Future, Left, Sight, fix_anchor, lacks_due_row, same_instants,
};
use campanile_core::decide::permits::Rules;
use campanile_core::engine::edit::ahead::{future, left_row, planned_ahead};
use campanile_core::id::TaskId;
use campanile_core::limits;
use campanile_core::port::edit::{Delete, Upsert};
use campanile_core::run::Run;
use campanile_core::system::PoolError;
use campanile_core::task::{Task, TaskSpec};

/// A task to write, with the instants that will not run because of it.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) upsert: Upsert,
    pub(super) skipped: Option<Run>,
    /// What was planned ahead by the old schedule.
    pub(super) unplan: Option<Unplan>,
    /// Instants that keep their rows.
    pub(super) answered: Vec<(TaskId, Timestamp)>,
}

/// A definition, with the task that has its name.
pub(super) struct Draft {
    pub(super) old: Option<Task>,
    pub(super) spec: TaskSpec,
}

/// A definition that was checked and whose schedule was looked at.
pub(super) struct Ready {
    pub(super) old: Option<Task>,
    spec: TaskSpec,
    /// Nothing where the store has it already.
    looked: Option<Looked>,
}

/// What was seen of a schedule.
struct Looked {
    timetable: Timetable,
    /// The first instant from now on of which it says something.
    first: Option<Timestamp>,
}

impl Editor {
    /// Checks definitions and looks at their schedules, apart from what serves others. `units` is what all of them may
    /// burn together; it is lessened by what they do.
    pub(super) async fn ready(
        &self,
        rules: &Arc<Rules>,
        drafts: Vec<Draft>,
        now: Timestamp,
        units: &mut u64,
    ) -> Result<Vec<Result<Ready, Error>>, Error> {
        let rules = Arc::clone(rules);
        // What lies before where the store's clock was, before it went back, has been answered.
        let from = self.unanswered_from(now);
        let work = move |fuel: &Fuel| {
            let one = |draft| {
                let share = fuel.share(limits::TASK_FUEL);
                let ready = ready(draft, &rules, (now, from), &share);
                fuel.settle(&share);
                match share.check() {
                    Err(Spent::Cancelled) => Err(Error::Busy(PoolError::Stopping)),
                    _ => ready,
                }
            };
            let all: Vec<Result<Ready, Error>> = drafts.into_iter().map(one).collect();
            (all, fuel.burnt())
        };
        let (all, burnt) = self.parts.pool.run_with(*units, work).await?;
        *units = units.saturating_sub(burnt);
        Ok(all)
    }

    /// The row to write for one definition, or `None` when the store has it already.
    pub(super) async fn plan_upsert(
        &self,
        rules: &Arc<Rules>,
        old: Option<&Task>,
        spec: TaskSpec,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        let old = old.cloned();
        let drafts = vec![Draft { old, spec }];
        let mut units = limits::TASK_FUEL;
        let mut ready = self.ready(rules, drafts, now, &mut units).await?;
        match ready.pop() {
            Some(ready) => self.plan_ready(ready?, now).await,
            None => Ok(None),
        }
    }

    /// The row to write for a definition that was looked at, or `None` when the store has it already.
    pub(super) async fn plan_ready(
        &self,
        ready: Ready,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        let Ready { old, spec, looked } = ready;
        let Some(Looked { timetable, first }) = looked else {
            return Ok(None);
        };
        let Some(old) = old else {
            let upsert = place::create(self.parts.mint.task(now), spec, first, now);
            return Ok(Some(Change {
                upsert,
                skipped: None,
                unplan: None,
                answered: Vec::new(),
            }));
        };
        let course = Course::of(&old.spec, &spec);
        let due_row = self.due_row(&old, course, now).await?;
        let future = match course {
            Course::Anew => {
                self.future_of(&old, &timetable, first, due_row, now)
                    .await?
            }
            _ => Future::default(),
        };
        let placed = place::place(&Sight {
            old: &old,
            spec: &spec,
            due_row,
            future: &future,
            now,
        });
        let upsert = Upsert {
            id: old.id,
            expected: Some(old.version),
            paused_from: placed.paused_from,
            due: placed.due,
            spec,
        };
        Ok(Some(Change {
            upsert,
            skipped: self.row_of(&old, placed.left, now).await?,
            unplan: placed.unplan,
            answered: placed.answered,
        }))
    }

    /// Where a task's due row stands, if an edit on this course rests on it. Before, what is set aside of its instants is
    /// put back. Read before anything else is looked up: what fires after this makes the edit stale.
    async fn due_row(
        &self,
        old: &Task,
        course: Course,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        if course == Course::Keep {
            return Ok(None);
        }
        let mut due_row = self.parts.store.next_due(old.id).await?;
        if lacks_due_row(old, due_row) && self.put_back(&[old.id], now).await? > 0 {
            due_row = self.parts.store.next_due(old.id).await?;
        }
        Ok(due_row.filter(|_| course.asks_for_due_row()))
    }

    /// What comes of a task whose instants change, and what is taken back of those it had.
    async fn future_of(
        &self,
        old: &Task,
        timetable: &Timetable,
        first: Option<Timestamp>,
        due_row: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Future, Error> {
        let store = &*self.parts.store;
        let unplan = planned_ahead(store, old, due_row, now).await?;
        let future = future(store, old.id, timetable, first, now).await?;
        let future = future.map_err(too_dense)?;
        Ok(Future { unplan, ..future })
    }

    /// What deletes a task whose due row stands there, and the row of its instants that nobody will run.
    pub(super) async fn plan_delete(
        &self,
        old: &Task,
        due_row: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(Delete, Option<Run>), Error> {
        let (delete, left) = place::delete(old, due_row, now);
        Ok((delete, self.row_of(old, left, now).await?))
    }

    /// The row of the instants that an edit leaves to nobody, counted apart from what serves others.
    async fn row_of(
        &self,
        old: &Task,
        left: Option<Left>,
        now: Timestamp,
    ) -> Result<Option<Run>, Error> {
        let parts = &self.parts;
        let row = left_row(&*parts.store, &parts.pool, &parts.mint, old, left, now).await?;
        Ok(row?)
    }
}

/// Checks a definition and looks at its schedule, from where instants are still to be answered.
fn ready(
    draft: Draft,
    rules: &Rules,
    (now, from): (Timestamp, Timestamp),
    fuel: &Fuel,
) -> Result<Ready, Error> {
    let Draft { old, mut spec } = draft;
    fix_anchor(&mut spec, old.as_ref(), now);
    // What is kept was valid when it was written, and may be over by now: it is no mistake to write it again.
    if old.as_ref().is_some_and(|old| old.spec == spec) {
        return Ok(Ready {
            old,
            spec,
            looked: None,
        });
    }
    let created_at = old.as_ref().map_or(now, |t| t.created_at);
    spec.validate_fields()?;
    let timetable = spec.timetable_by(created_at, &|name| rules.calendar(name), fuel)?;
    let first = timetable.next_by(from, fuel).map(|event| event.at);
    let remedy = "write fewer schedules, or calendars that exclude less";
    fuel.check()
        .map_err(|spent| Error::spent("schedule", spent, remedy))?;
    let is_new = |old: &Task| !same_instants(&old.spec, &spec);
    if first.is_none() && old.as_ref().is_none_or(is_new) {
        check_fires(&spec, from)?;
    }
    Ok(Ready {
        old,
        spec,
        looked: Some(Looked { timetable, first }),
    })
}

/// A due row has no place, because too much is due within the next seconds.
pub(super) fn too_dense(spent: Spent) -> Error {
    let remedy = "write longer intervals, or fewer schedules";
    Error::spent("schedule", spent, remedy)
}

/// A schedule that has no instant any more is a mistake where it is new, and said to be one.
fn check_fires(spec: &TaskSpec, now: Timestamp) -> Result<(), Error> {
    let Some(texts) = spec.schedule.as_ref().filter(|texts| !texts.is_empty()) else {
        return Ok(());
    };
    let bound = match (spec.max_count, spec.ends_at) {
        (Some(count), _) => format!(
            " within its max_count of {count}, which is counted from starts_at, or from the task's creation"
        ),
        (None, Some(end)) => format!(" up to its ends_at ({end}, in {})", spec.timezone),
        (None, None) => String::new(),
    };
    Err(Error::invalid(
        "schedule",
        format!(
            "`{texts}` can never fire: it has no instant after now ({now}){bound}; write one that is still to come, or leave \
             the schedule out for a task that runs on request"
        ),
    ))
}
