//! What a task's timetable says about an instant: whether it is one, what happens then, and which are around it. Pure,
//! with fuel; the instant may be meant by the start that the task's jitter makes of it.

use std::time::Duration;

use crate::Error;
use campanile_core::decide::permits::Rules;
use campanile_core::task::Task;
use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;
use campanile_schedule::{Event, Timetable, What};

/// Excluded instants that are passed over in the search for the next that is due.
const EXCLUDED_MAX: usize = 1_000;

/// What a task's schedule and calendars say about an instant and around it.
pub(super) struct Seen {
    /// The instant, or the one whose start was asked about.
    pub(super) at: Timestamp,
    pub(super) previous: Option<Timestamp>,
    pub(super) next: Option<Timestamp>,
    /// What happens at it, if it is an instant at all.
    pub(super) what: Option<What>,
    /// The schedule's own instant, where a calendar moved it to this one.
    pub(super) moved_from: Option<Timestamp>,
    /// The calendar's name and version.
    pub(super) excluded_by: Option<(String, i64)>,
}

/// Looks at an instant, or at the start of one.
pub(super) fn seen(
    task: &Task,
    asked: Timestamp,
    rules: &Rules,
    fuel: &Fuel,
) -> Result<Seen, Error> {
    let timetable = timetable(task, rules, fuel)?;
    let event = event_at(&timetable, asked, fuel)
        .or_else(|| started_at(&timetable, asked, task.spec.jitter_offset(), fuel));
    let at = event.map_or(asked, |event| event.at);
    let calendar = timetable.excluded_by(at);
    let seen = Seen {
        at,
        previous: timetable.previous_by(at, fuel).map(|event| event.at),
        next: timetable.next_by(at, fuel).map(|event| event.at),
        what: event.map(|event| event.what),
        moved_from: event.and_then(|event| timetable.moved_from_by(event.at, fuel)),
        excluded_by: calendar.map(|c| (c.spec.name.clone(), c.version)),
    };
    check(fuel)?;
    Ok(seen)
}

/// The instants around another: what a timetable had last, whatever happened then, and what is due next.
pub(super) fn around(
    task: &Task,
    now: Timestamp,
    rules: &Rules,
    fuel: &Fuel,
) -> Result<(Option<Timestamp>, Option<Timestamp>), Error> {
    let timetable = timetable(task, rules, fuel)?;
    let last = timetable.previous_by(Timestamp::from_ms(now.as_ms() + 1), fuel);
    let mut due = timetable
        .events(now, fuel)
        .take(EXCLUDED_MAX)
        .filter(|event| event.what == What::Due);
    let next = due.next().or_else(|| timetable.next_by(now, fuel));
    check(fuel)?;
    Ok((last.map(|event| event.at), next.map(|event| event.at)))
}

fn timetable(task: &Task, rules: &Rules, fuel: &Fuel) -> Result<Timetable, Error> {
    let find = |name: &str| rules.calendar(name);
    Ok(task.spec.timetable_by(task.created_at, &find, fuel)?)
}

fn event_at(timetable: &Timetable, at: Timestamp, fuel: &Fuel) -> Option<Event> {
    let before = Timestamp::from_ms(at.as_ms().saturating_sub(1));
    timetable
        .next_by(before, fuel)
        .filter(|event| event.at == at)
}

/// The instant that starts at this one by the task's jitter. A start that is told in whole seconds is that second.
fn started_at(
    timetable: &Timetable,
    start: Timestamp,
    offset: Duration,
    fuel: &Fuel,
) -> Option<Event> {
    if offset.is_zero() {
        return None;
    }
    let within_ms = if start.as_ms() % 1_000 == 0 { 999 } else { 0 };
    let first = start.minus(offset);
    let before = Timestamp::from_ms(first.as_ms().saturating_sub(1));
    let event = timetable.next_by(before, fuel)?;
    (event.at.as_ms() - first.as_ms() <= within_ms).then_some(event)
}

fn check(fuel: &Fuel) -> Result<(), Error> {
    let remedy = "the task's schedules and calendars are too much for one question; give it fewer";
    fuel.check()
        .map_err(|spent| Error::spent("schedule", spent, remedy))
}
