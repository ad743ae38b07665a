//! Where a task's due row goes when the task changes, and what becomes of the instants that will not run because of it.
//! An instant of the schedule that passes while the task rests, or that was overdue when its schedule was changed or
//! the task deleted, is recorded as skipped: nothing disappears because somebody edited a task.

use std::time::Duration;

use super::{Control, Error};
use crate::engine::ahead::{first_unplanned, planned_ahead};
use crate::id::TaskId;
use crate::protocol::occurrences::rested;
use crate::protocol::permits::Rules;
use crate::protocol::run as transitions;
use crate::protocol::work::{Delete, DueChange, DueKey, Owner, Unplan, Upsert};
use crate::run::{Reason, Run};
use crate::schedule::Timetable;
use crate::task::{Task, TaskSpec, Texts};
use crate::time::Timestamp;

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

impl Control {
    /// The row to write for a definition, or `None` when the store has it already.
    pub(super) async fn plan_upsert(
        &self,
        rules: &Rules,
        old: Option<&Task>,
        mut spec: TaskSpec,
        now: Timestamp,
    ) -> Result<Option<Change>, Error> {
        fix_anchor(&mut spec, old, now);
        let created_at = old.map_or(now, |t| t.created_at);
        spec.validate(created_at)?;
        let timetable = spec.timetable(created_at, &|name| rules.calendar(name))?;
        // What lies before where the store's clock was, before it went back, has been answered.
        let first = first_event(&timetable, &spec, self.unanswered_from(now))?;
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
        if old.spec == spec {
            return Ok(None);
        }
        let placed = self.place(old, &spec, &timetable, first, now).await?;
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
        let skipped = self.left_behind(old, instant, Reason::Changed, now);
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
        Ok(Placed {
            skipped,
            unplan,
            ..Placed::at(replace(next), None)
        })
    }

    /// What deletes a task, and the row of its instants, up to now, that nobody has fired.
    /// `seen` is where its due row stands.
    pub(super) fn plan_delete(
        &self,
        old: &Task,
        seen: Option<Timestamp>,
        now: Timestamp,
    ) -> (Delete, Option<Run>) {
        let instant = seen.map(|at| at.minus(old.spec.jitter_offset()));
        let delete = Delete {
            task: old.id,
            version: old.version,
            seen,
        };
        let skipped = self.left_behind(old, instant, Reason::TaskDeleted, now);
        (delete, skipped)
    }

    /// Where a task's due row stands, and the instant that it is for.
    async fn due_row(&self, task: &Task) -> Result<(Option<Timestamp>, Option<Timestamp>), Error> {
        let seen = self.parts.store.next_due(task.id).await?;
        Ok((seen, seen.map(|at| at.minus(task.spec.jitter_offset()))))
    }

    /// The row of the old schedule's instants, up to now, that will not run: while it rested, or `overdue` at its end.
    fn left_behind(
        &self,
        old: &Task,
        overdue: Option<Timestamp>,
        ended_by: Reason,
        now: Timestamp,
    ) -> Option<Run> {
        let (from, reason) = match (old.rests_from, overdue) {
            (Some(from), _) if !old.spec.enabled => (from, Reason::Disabled),
            (Some(from), _) => (from, Reason::Paused),
            (None, Some(overdue)) => (overdue, ended_by),
            (None, None) => return None,
        };
        let schedule = old.spec.compile(old.created_at).ok()?;
        // An instant of this very millisecond too: what comes next is strictly after now.
        let until = now.plus(Duration::from_millis(1));
        let range = rested(&schedule, from, until, reason)?;
        let id = self.parts.mint.runs(now, 1).pop()?;
        Some(transitions::skip(id, old, &range, 0, now))
    }
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
        && a.timezone == b.timezone
        && a.anchor == b.anchor
        && a.dst == b.dst
        && (a.starts_at, a.ends_at, a.max_count) == (b.starts_at, b.ends_at, b.max_count)
        && a.calendars == b.calendars
        && a.on_excluded == b.on_excluded
}

/// The first instant from now on of which the timetable says something; a schedule that has none is a mistake, and said
/// to be one.
fn first_event(
    timetable: &Timetable,
    spec: &TaskSpec,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let first = timetable.next(now).map(|event| event.at);
    match &spec.schedule {
        Some(texts) if first.is_none() && !texts.is_empty() => Err(Error::invalid(
            "schedule",
            format!(
                "`{texts}` can never fire: it has no instant after now ({now}); write one that is still to come, or leave \
                 the schedule out for a task that runs on request"
            ),
        )),
        _ => Ok(first),
    }
}
