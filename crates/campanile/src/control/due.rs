//! Where a task's due row goes when the task changes, and what becomes of the instants that will not run because of it.
//! An instant of the schedule that passes while the task rests, or that was overdue when its schedule was changed or
//! the task deleted, is recorded as skipped: nothing disappears because somebody edited a task.

use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::fuel::{Fuel, Spent};
use campanile_schedule::time::Timestamp;
use campanile_schedule::{TimeZoneName, Timetable};

use super::{Editor, Error};
use crate::engine::ahead::{first_unplanned, planned_ahead};
use crate::id::TaskId;
use crate::protocol::limits;
use crate::protocol::occurrences::rested;
use crate::protocol::permits::Rules;
use crate::protocol::run as transitions;
use crate::protocol::work::{Delete, DueChange, DueKey, Owner, Unplan, Upsert};
use crate::run::{Reason, Run};
use crate::system::PoolError;
use crate::task::{Task, TaskSpec, Texts};

/// A task to write, with the instants that will not run because of it.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) upsert: Upsert,
    pub(super) skipped: Option<Run>,
    /// What was planned ahead by the old schedule.
    pub(super) unplan: Option<Unplan>,
}

/// Where the due row goes, and since when the task rests.
struct Placed {
    due: DueChange,
    rests_from: Option<Timestamp>,
    skipped: Option<Run>,
    unplan: Option<Unplan>,
}

impl Placed {
    const fn at(due: DueChange, rests_from: Option<Timestamp>) -> Self {
        Self {
            due,
            rests_from,
            skipped: None,
            unplan: None,
        }
    }
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
            let id = self.parts.mint.task(now);
            let upsert = Upsert {
                id,
                expected: None,
                rests_from: spec.rests().then_some(now),
                due: DueChange::Replace {
                    seen: None,
                    next: first
                        .filter(|_| !spec.rests())
                        .map(|at| due_key(&spec, at, id)),
                },
                spec,
            };
            return Ok(Some(Change {
                upsert,
                skipped: None,
                unplan: None,
            }));
        };
        let placed = self.place(&old, &spec, &timetable, first, now).await?;
        let upsert = Upsert {
            id: old.id,
            expected: Some(old.version),
            spec,
            rests_from: placed.rests_from,
            due: placed.due,
        };
        Ok(Some(Change {
            upsert,
            skipped: placed.skipped,
            unplan: placed.unplan,
        }))
    }

    async fn place(
        &self,
        old: &Task,
        spec: &TaskSpec,
        timetable: &Timetable,
        first: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Placed, Error> {
        let same = same_instants(&old.spec, spec);
        let same_rest = old.spec.paused == spec.paused && old.spec.enabled == spec.enabled;
        let same_place = old.spec.queue == spec.queue && old.spec.jitter == spec.jitter;
        if same && same_rest && (same_place || spec.rests()) {
            return Ok(Placed::at(DueChange::Keep, old.rests_from));
        }
        if old.spec.has_instants() && self.parts.store.next_due(old.id).await?.is_none() {
            self.put_back(&[old.id], now).await?;
        }
        if spec.rests() && !old.spec.rests() {
            // From where on is found in the transaction itself: what was planned ahead is taken back by it.
            let offset = old.spec.jitter_offset();
            return Ok(Placed::at(DueChange::Rest { offset }, None));
        }
        // Read before anything is looked up: what fires after this makes the edit stale.
        let (seen, instant) = self.due_row(old).await?;
        let replace = |next: Option<Timestamp>| DueChange::Replace {
            seen,
            next: next.map(|at| due_key(spec, at, old.id)),
        };
        if same && same_rest {
            return Ok(Placed::at(replace(instant), None));
        }
        let left = self.left_behind(old, instant, Reason::Changed, now);
        let skipped = left.await?;
        if spec.rests() {
            return Ok(Placed {
                skipped,
                ..Placed::at(replace(None), Some(now))
            });
        }
        let store = &*self.parts.store;
        let unplan = planned_ahead(store, old, instant, now).await?;
        let taken_back = unplan.as_ref().map_or(&[][..], |u| &u.runs);
        let next = first_unplanned(store, old.id, timetable, first, now, taken_back).await?;
        let next = next.map_err(too_dense)?;
        Ok(Placed {
            skipped,
            unplan,
            ..Placed::at(replace(next), None)
        })
    }

    /// What deletes a task, and the row of its instants, up to now, that nobody has fired.
    /// `seen` is where its due row stands.
    pub(super) async fn plan_delete(
        &self,
        old: &Task,
        seen: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(Delete, Option<Run>), Error> {
        let instant = seen.map(|at| at.minus(old.spec.jitter_offset()));
        let delete = Delete {
            task: old.id,
            version: old.version,
            seen,
        };
        let left = self.left_behind(old, instant, Reason::TaskDeleted, now);
        Ok((delete, left.await?))
    }

    /// Where a task's due row stands, and the instant that it is for.
    async fn due_row(&self, task: &Task) -> Result<(Option<Timestamp>, Option<Timestamp>), Error> {
        let seen = self.parts.store.next_due(task.id).await?;
        Ok((seen, seen.map(|at| at.minus(task.spec.jitter_offset()))))
    }

    /// The row of the old schedule's instants, up to now, that will not run: while it rested, or `overdue` at its end.
    async fn left_behind(
        &self,
        old: &Task,
        overdue: Option<Timestamp>,
        ended_by: Reason,
        now: Timestamp,
    ) -> Result<Option<Run>, Error> {
        let (from, reason) = match (old.rests_from, overdue) {
            (Some(from), _) if !old.spec.enabled => (from, Reason::Disabled),
            (Some(from), _) => (from, Reason::Paused),
            (None, Some(overdue)) => (overdue, ended_by),
            (None, None) => return Ok(None),
        };
        if from > now {
            return Ok(None);
        }
        // An instant of this very millisecond too: what comes next is strictly after now.
        let until = now.plus(Duration::from_millis(1));
        let (spec, created_at) = (old.spec.clone(), old.created_at);
        let count = move |fuel: &Fuel| {
            let schedule = spec.compile_by(created_at, &fuel.share(limits::TASK_FUEL));
            rested(&schedule.ok()?, from, until, reason, fuel)
        };
        let counted = self.parts.pool.run_with(limits::REST_FUEL, count).await?;
        let id = self.parts.mint.runs(now, 1).pop();
        let row = counted.zip(id);
        Ok(row.map(|(range, id)| transitions::skip(id, old, &range, 0, now)))
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

/// The due row of an instant of a task's timetable.
pub(super) fn due_key(spec: &TaskSpec, instant: Timestamp, id: TaskId) -> DueKey {
    DueKey {
        queue: spec.queue.clone(),
        at: instant.plus(spec.jitter_offset()),
        owner: Owner::Task(id),
    }
}

/// An interval is counted from an instant that does not move: the one that is written, or that of the task's creation.
fn fix_anchor(spec: &mut TaskSpec, old: Option<&Task>, now: Timestamp) {
    let texts = spec.schedule.as_ref().map_or(&[][..], Texts::as_slice);
    let counted = |text: &String| {
        let word = text.trim_start().to_ascii_lowercase();
        ["every", "rrule"].iter().any(|w| word.starts_with(w))
    };
    if texts.iter().any(counted) && spec.anchor.is_none() {
        spec.anchor = Some(old.map_or(now, |t| t.spec.anchor.unwrap_or(t.created_at)));
    }
}

fn same_instants(a: &TaskSpec, b: &TaskSpec) -> bool {
    a.schedule == b.schedule
        && a.dialect == b.dialect
        && same_zone(&a.timezone, &b.timezone)
        && a.anchor == b.anchor
        && a.dst == b.dst
        && (a.starts_at, a.ends_at, a.max_count) == (b.starts_at, b.ends_at, b.max_count)
        && a.calendars == b.calendars
        && a.on_excluded == b.on_excluded
}

/// Whether two names are one zone's: `Europe/Kiev` is `Europe/Kyiv`.
fn same_zone(a: &str, b: &str) -> bool {
    a == b || TimeZoneName::parse(a).is_ok_and(|zone| zone.is_named(b))
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
        (None, Some(end)) => format!(" up to its ends_at ({end})"),
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
