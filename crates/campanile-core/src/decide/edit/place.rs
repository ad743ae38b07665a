//! Where a task's due row goes when the task changes, and what becomes of the instants that will not run because of it.
//! An instant that passes while the task is paused, or that was overdue when its schedule was changed or the task deleted,
//! is recorded as skipped: nothing disappears because somebody edited a task. Pure: from all that was seen to all that is
//! to be written; reading and writing are the callers'. Due rows that calendars or zone rules move are
//! [`crate::decide::edit::moves`]'.

use std::time::Duration;

use campanile_schedule::fuel::{Fuel, Spent};
use campanile_schedule::time::Timestamp;
use campanile_schedule::{TimeZoneName, Timetable};

use crate::decide::edit::ahead::{DueChange, Unplan, is_ahead};
use crate::decide::occurrences::{Skip, rested};
use crate::id::{RunId, TaskId};
use crate::limits;
use crate::port::edit::{Delete, Upsert};
use crate::port::fire::{DueKey, Owner};
use crate::run::{Reason, Run};
use crate::task::{Task, TaskSpec, Texts};

/// Instants up to this far ahead may have been planned already: they are looked up before a due row is put on one.
pub const PLANNED_AHEAD: Duration = Duration::from_secs(10);

/// What an edit means for the task's due row, and so what has to be seen before it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// The same instants at the same place: nothing has to be seen.
    Keep,
    /// It rests from now on: the store finds from where on, in the edit's own transaction.
    Rest,
    /// The same instants in another queue, or with other jitter: the due row has to be seen.
    Carry,
    /// It rested, rests on, and something of its instants has changed: the due row has to be seen.
    RestAnew,
    /// Other instants, or the end of a rest: the due row has to be seen, and the [`Future`].
    Anew,
}

impl Course {
    /// Of an edit from one definition to another.
    #[must_use]
    pub fn of(old: &TaskSpec, new: &TaskSpec) -> Self {
        let same_rest = old.paused == new.paused && old.enabled == new.enabled;
        let same = same_rest && same_instants(old, new);
        let same_place = old.queue == new.queue && old.jitter == new.jitter;
        match (same, new.is_paused()) {
            (true, rests) if rests || same_place => Self::Keep,
            (true, _) => Self::Carry,
            (false, true) if old.is_paused() => Self::RestAnew,
            (false, true) => Self::Rest,
            (false, false) => Self::Anew,
        }
    }

    /// Whether where the due row stands is to be read: before anything else, so that what fires after it makes the edit
    /// stale.
    #[must_use]
    pub const fn asks_for_due_row(self) -> bool {
        matches!(self, Self::Carry | Self::RestAnew | Self::Anew)
    }
}

/// The instants of a timetable of which some may have a run or a skip already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Near {
    /// Those within [`PLANNED_AHEAD`], in their order: they are looked up.
    pub instants: Vec<Timestamp>,
    /// The first one behind them.
    pub beyond: Option<Timestamp>,
}

impl Near {
    /// Of a timetable, from its instant `first` on.
    ///
    /// # Errors
    /// More is due within those moments than can be looked at.
    pub fn of(
        timetable: &Timetable,
        first: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Self, Spent> {
        let fuel = Fuel::of(limits::AHEAD_FUEL);
        let mut near = Self {
            instants: Vec::new(),
            beyond: first,
        };
        while let Some(instant) = near.beyond.filter(|t| *t <= now.plus(PLANNED_AHEAD)) {
            near.instants.push(instant);
            near.beyond = timetable.next_by(instant, &fuel).map(|event| event.at);
            fuel.check()?;
        }
        Ok(near)
    }
}

/// What was seen of the instants that come, by the schedule as it will be.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Future {
    /// Those that may have a row already.
    pub near: Near,
    /// Those of them that have one, and which.
    pub rows: Vec<(Timestamp, RunId)>,
    /// What was planned ahead by the schedule as it was, and is taken back.
    pub unplan: Option<Unplan>,
}

impl Future {
    /// Where the due row goes: the leader plans a little ahead, and an instant has one run. Those whose runs the same edit
    /// takes back have none.
    #[must_use]
    pub fn open(&self) -> Open {
        let taken_back = self.unplan.as_ref().map_or(&[][..], |u| &u.runs);
        let stays = |(_, run): &&(Timestamp, RunId)| !taken_back.contains(run);
        let rows: Vec<Timestamp> = self.rows.iter().filter(stays).map(|(at, _)| *at).collect();
        let mut instants = self.near.instants.iter().copied();
        let next = instants.find(|at| !rows.contains(at));
        Open {
            next: next.or(self.near.beyond),
            answered: instants.filter(|at| rows.contains(at)).collect(),
        }
    }
}

/// Where a due row goes, and what it passes over then.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Open {
    /// The first instant that has no row.
    pub next: Option<Timestamp>,
    /// Instants behind it that have one and keep it, for they were cancelled, say: they do not fire again.
    pub answered: Vec<Timestamp>,
}

/// All that an edit of a task is decided by.
#[derive(Debug, Clone)]
pub struct Sight<'a> {
    /// The task as it is.
    pub old: &'a Task,
    /// Its definition as it will be.
    pub spec: &'a TaskSpec,
    /// Where its due row stands, if its [`Course`] asks for that.
    pub due_row: Option<Timestamp>,
    /// What comes, if its [`Course`] asks for that.
    pub future: &'a Future,
    pub now: Timestamp,
}

/// What is written for a task that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Where its due row goes.
    pub due: DueChange,
    /// While it is paused: from where on, unless the store finds that.
    pub paused_from: Option<Timestamp>,
    /// Its instants that nobody will run.
    pub left: Option<Left>,
    /// What was planned ahead and is taken back.
    pub unplan: Option<Unplan>,
    /// Its instants behind the due row that have a row and keep it.
    pub answered: Vec<(TaskId, Timestamp)>,
}

/// Decides an edit of a task.
#[must_use]
pub fn place(sight: &Sight<'_>) -> Placed {
    let Sight { old, spec, now, .. } = *sight;
    let placed = |due, paused_from| Placed {
        due,
        paused_from,
        left: None,
        unplan: None,
        answered: Vec::new(),
    };
    let replace = |next: Option<Timestamp>| DueChange::Replace {
        seen: sight.due_row,
        next: next.map(|at| due_key(spec, at, old.id)),
    };
    let instant = sight.due_row.map(|at| instant_of(old, at));
    let left = || Left::behind(old, instant, Reason::Changed, now);
    match Course::of(&old.spec, spec) {
        Course::Keep => placed(DueChange::Keep, old.paused_from),
        Course::Rest => {
            // From where on is found in the transaction itself: what was planned ahead is taken back by it.
            let offset = old.spec.jitter_offset();
            placed(DueChange::Pause { offset }, None)
        }
        Course::Carry => placed(replace(instant), None),
        Course::RestAnew => Placed {
            left: left(),
            ..placed(replace(None), Some(now))
        },
        Course::Anew => {
            let Open { next, answered } = sight.future.open();
            Placed {
                left: left(),
                unplan: sight.future.unplan.clone(),
                answered: answered.into_iter().map(|at| (old.id, at)).collect(),
                ..placed(replace(next), None)
            }
        }
    }
}

/// What a new task is written as. `first` is the first instant of its timetable.
#[must_use]
pub fn create(id: TaskId, spec: TaskSpec, first: Option<Timestamp>, now: Timestamp) -> Upsert {
    let next = first.filter(|_| !spec.is_paused());
    Upsert {
        id,
        expected: None,
        paused_from: spec.is_paused().then_some(now),
        due: DueChange::Replace {
            seen: None,
            next: next.map(|at| due_key(&spec, at, id)),
        },
        spec,
    }
}

/// What deletes a task whose due row stands there, and its instants up to now that nobody has fired.
#[must_use]
pub fn delete(old: &Task, due_row: Option<Timestamp>, now: Timestamp) -> (Delete, Option<Left>) {
    let delete = Delete {
        task: old.id,
        version: old.version,
        seen: due_row,
    };
    let instant = due_row.map(|at| instant_of(old, at));
    let left = Left::behind(old, instant, Reason::TaskDeleted, now);
    (delete, left)
}

/// Instants of a schedule, from one on and before another, that will not run, for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// The first that may be one.
    pub from: Timestamp,
    pub until: Timestamp,
    pub reason: Reason,
}

impl Left {
    /// What an edit at `now` leaves behind of a task: what passed while it rested, or is `overdue` at the end of its
    /// schedule.
    #[must_use]
    pub fn behind(
        old: &Task,
        overdue: Option<Timestamp>,
        ended_by: Reason,
        now: Timestamp,
    ) -> Option<Self> {
        let (from, reason) = match (old.paused_from, overdue) {
            (Some(from), _) if !old.spec.enabled => (from, Reason::Disabled),
            (Some(from), _) => (from, Reason::Paused),
            (None, Some(overdue)) => (overdue, ended_by),
            (None, None) => return None,
        };
        // An instant of this very millisecond too: what comes next is strictly after now.
        let until = now.plus(Duration::from_millis(1));
        (from <= now).then_some(Self {
            from,
            until,
            reason,
        })
    }

    /// The same behind one of its instants, which has a row already: its run was cancelled ahead of it, and the task had
    /// no other to rest from.
    #[must_use]
    pub fn behind_instant(self, instant: Timestamp) -> Option<Self> {
        let from = instant.plus(Duration::from_millis(1));
        (from < self.until).then_some(Self { from, ..self })
    }

    /// The row that says so, if there is an instant among them. It may take long: `fuel` bounds the count.
    #[must_use]
    pub fn row(&self, spec: &TaskSpec, created_at: Timestamp, fuel: &Fuel) -> Option<Skip> {
        let schedule = spec.compile_by(created_at, &fuel.share(limits::TASK_FUEL));
        rested(&schedule.ok()?, self.from, self.until, self.reason, fuel)
    }
}

/// Whether something of a task may be planned ahead of its instant: not if its due row stands at its first instant after
/// now. `instant` is what the due row is for.
#[must_use]
pub fn may_be_ahead(task: &Task, instant: Option<Timestamp>, now: Timestamp) -> bool {
    if task.spec.is_paused() {
        return false;
    }
    // Calendars may move instants; without them the schedule says where the row stands if nothing is ahead.
    if !task.spec.calendars.is_empty() {
        return true;
    }
    // One that takes long to read is looked up.
    let fuel = Fuel::of(limits::LEADER_TASK_FUEL);
    let schedule = task.spec.compile_by(task.created_at, &fuel);
    let stands_first =
        schedule.is_ok_and(|s| s.next_by(now, &fuel) == instant && fuel.check().is_ok());
    !stands_first
}

/// What is taken back of a task whose instants change: of its waiting runs those that are ahead of their instants. An
/// instant that has come keeps its run, though jitter may start that later: it is one of the schedule that it was planned
/// by.
#[must_use]
pub fn taken_back<'a>(
    task: TaskId,
    waiting: impl Iterator<Item = &'a Run>,
    now: Timestamp,
) -> Unplan {
    let ahead = waiting.filter(|run| is_ahead(run, Duration::ZERO, now));
    Unplan {
        task,
        offset: Duration::ZERO,
        runs: ahead.map(|run| run.id).collect(),
    }
}

/// Whether a task lacks the due row that it should have: then its occurrence is set aside, and whoever edits the task
/// puts it back first, so that no instant is left without a record.
#[must_use]
pub const fn lacks_due_row(task: &Task, due_row: Option<Timestamp>) -> bool {
    task.spec.has_instants() && due_row.is_none()
}

/// The instant that a task's due row is for.
#[must_use]
pub fn instant_of(task: &Task, due_row: Timestamp) -> Timestamp {
    due_row.minus(task.spec.jitter_offset())
}

/// The due row of an instant of a task's timetable.
#[must_use]
pub fn due_key(spec: &TaskSpec, instant: Timestamp, id: TaskId) -> DueKey {
    DueKey {
        queue: spec.queue.clone(),
        at: instant.plus(spec.jitter_offset()),
        owner: Owner::Task(id),
    }
}

/// An interval is counted from an instant that does not move: the one that is written, or that of the task's creation.
pub fn fix_anchor(spec: &mut TaskSpec, old: Option<&Task>, now: Timestamp) {
    let texts = spec.schedule.as_ref().map_or(&[][..], Texts::as_slice);
    let counted = |text: &String| {
        let word = text.trim_start().to_ascii_lowercase();
        ["every", "rrule"].iter().any(|w| word.starts_with(w))
    };
    if texts.iter().any(counted) && spec.anchor.is_none() {
        spec.anchor = Some(old.map_or(now, |t| t.spec.anchor.unwrap_or(t.created_at)));
    }
}

/// Whether two definitions have the same instants.
#[must_use]
pub fn same_instants(a: &TaskSpec, b: &TaskSpec) -> bool {
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

#[cfg(test)]
#[path = "../../../tests/decide/edit/place_tests.rs"]
mod tests;
