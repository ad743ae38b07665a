//! A schedule together with the calendars that its task names: what happens at which instant. Owns what an excluded
//! occurrence becomes; which days are excluded is [`crate::calendar`]'s.
//!
//! What is due is a set: the schedule's instants that no calendar excludes, and the targets of those that are moved. An
//! instant that is both, or the target of several, is one occurrence. Where an excluded instant stays in the stream, as
//! a mark, nothing else can be: a target is never excluded. So instants only ever increase, in both directions, and the
//! answer depends on the instant asked about alone.
//!
//! Which instants are moved between two neighbours of the schedule is `moves`'s to find.

mod moves;

use std::ops::RangeInclusive;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::moves::Moves;
use crate::calendar::Calendar;
use crate::check::Invalid;
use crate::civil::DAY_S;
use crate::fuel::Fuel;
use crate::limits;
use crate::time::Timestamp;
use crate::{Schedule, TimeZoneName};

/// Occurrences of one day that are moved: one each quarter of an hour. On a day with more, what is excluded is skipped.
pub const MOVES_OF_A_DAY_MAX: usize = 96;
/// Days with occurrences that [`Timetable::check`] looks at.
const CHECKED_DAYS_MAX: usize = 8;

/// Fuel for a look at the calendars: each is some searches in its days, on some zone's wall.
const LOOK_UNITS: u64 = 8;

const DAY_MS: i64 = DAY_S * 1_000;

/// What a timetable says about one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What happens then.
    pub what: What,
}

/// What happens at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// An occurrence is due: the schedule's own, or one that was moved here.
    Due,
    /// The schedule has an instant here, a calendar excludes it, and it does not run.
    Excluded,
    /// The schedule has an instant here, a calendar excludes it, and it runs at this one instead.
    Moved(Timestamp),
}

/// What happens to an occurrence on an excluded day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum OnExcluded {
    /// It is skipped.
    #[default]
    Skip,
    /// It runs on the next day that is not excluded, at the same wall time.
    Next,
    /// It runs on the last day before that is not excluded, at the same wall time.
    Previous,
}

/// A schedule with its calendars.
#[derive(Debug, Clone)]
pub struct Timetable {
    schedule: Schedule,
    calendars: Vec<Arc<Calendar>>,
    on_excluded: OnExcluded,
    zone: TimeZoneName,
}

impl Timetable {
    /// Of a schedule, calendars that are seen on the wall clocks of `zone`, and what happens to what they exclude.
    #[must_use]
    pub fn new(
        schedule: Schedule,
        calendars: Vec<Arc<Calendar>>,
        on_excluded: OnExcluded,
        zone: TimeZoneName,
    ) -> Self {
        Self {
            schedule,
            calendars,
            on_excluded,
            zone,
        }
    }

    /// The schedule alone.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The calendar that excludes an instant, if one does.
    #[must_use]
    pub fn excluded_by(&self, at: Timestamp) -> Option<&Calendar> {
        let excludes = |c: &&Arc<Calendar>| c.excludes(at, &self.zone);
        self.calendars.iter().find(excludes).map(AsRef::as_ref)
    }

    /// Checks that what is excluded can be moved, if it shall be. `near` is an instant from which on the schedule is
    /// looked at.
    ///
    /// # Errors
    /// `on_excluded`, for a schedule with more than [`MOVES_OF_A_DAY_MAX`] occurrences a day.
    pub fn check(&self, near: Timestamp, fuel: &Fuel) -> Result<(), Invalid> {
        if !self.moves() {
            return Ok(());
        }
        let mut after = near;
        for _ in 0..CHECKED_DAYS_MAX {
            let Some(at) = self.schedule.next_by(after, fuel) else {
                break;
            };
            let day = self.day_of(at);
            if self.is_crowded(day, fuel) {
                return Err(Invalid::new(
                    "on_excluded",
                    format!(
                        "more than {MOVES_OF_A_DAY_MAX} occurrences a day can't be moved to another day: write on_excluded = \"skip\", or a schedule with fewer"
                    ),
                ));
            }
            after = before(self.zone.day_start(day + 1)).max(at);
        }
        Ok(())
    }

    /// What happens next, strictly after an instant; `None` when nothing does any more.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Event> {
        self.next_by(after, &Fuel::endless())
    }

    /// The same with fuel; the answer counts only if the fuel's check says so.
    #[must_use]
    pub fn next_by(&self, after: Timestamp, fuel: &Fuel) -> Option<Event> {
        let own = self.schedule.next_by(after, fuel);
        match self.moved_into(after, own, Pick::First, fuel) {
            Some(moved) => Some(moved.due()),
            None => own.map(|at| self.event(at, fuel)),
        }
    }

    /// Its events strictly after an instant, in order; they are all of them only if the fuel's check says so.
    pub fn events<'a>(
        &'a self,
        after: Timestamp,
        fuel: &'a Fuel,
    ) -> impl Iterator<Item = Event> + 'a {
        let first = self.next_by(after, fuel);
        std::iter::successors(first, |event| self.next_by(event.at, fuel))
            .take_while(|_| fuel.burn())
    }

    /// What happened last, strictly before an instant; `None` when nothing did.
    #[must_use]
    pub fn previous(&self, before: Timestamp) -> Option<Event> {
        self.previous_by(before, &Fuel::endless())
    }

    /// The same with fuel; the answer counts only if the fuel's check says so.
    #[must_use]
    pub fn previous_by(&self, before: Timestamp, fuel: &Fuel) -> Option<Event> {
        let own = self.schedule.previous_by(before, fuel);
        let low = own.unwrap_or(Timestamp::MIN);
        match self.moved_into(low, Some(before), Pick::Last, fuel) {
            Some(moved) => Some(moved.due()),
            None => own.map(|at| self.event(at, fuel)),
        }
    }

    /// The schedule's instant (one of them, if there are several) that was moved to this one. `None` where none was,
    /// and where the schedule has this one itself.
    #[must_use]
    pub fn moved_from(&self, at: Timestamp) -> Option<Timestamp> {
        self.moved_from_by(at, &Fuel::endless())
    }

    /// The same with fuel; the answer counts only if the fuel's check says so.
    #[must_use]
    pub fn moved_from_by(&self, at: Timestamp, fuel: &Fuel) -> Option<Timestamp> {
        if self.schedule.next_by(before(at), fuel) == Some(at) {
            return None;
        }
        let end = Timestamp::from_ms(at.as_ms() + 1);
        let moved = self.moved_into(before(at), Some(end), Pick::First, fuel)?;
        Some(moved.from)
    }

    /// What becomes of an instant of the schedule.
    fn event(&self, at: Timestamp, fuel: &Fuel) -> Event {
        let movable = || self.moves() && !self.is_crowded(self.day_of(at), fuel);
        let what = if self.excluded_by(at).is_none() {
            What::Due
        } else if movable() {
            self.target(at, fuel).map_or(What::Excluded, What::Moved)
        } else {
            What::Excluded
        };
        Event { at, what }
    }

    fn moves(&self) -> bool {
        self.on_excluded != OnExcluded::Skip && !self.calendars.is_empty()
    }

    /// Where an excluded instant goes: day by day, at its wall time, to the first that is not excluded. Nothing goes out
    /// of the schedule's bounds.
    fn target(&self, at: Timestamp, fuel: &Fuel) -> Option<Timestamp> {
        let window = self.window();
        let wall_ms = self.zone.wall_ms(at);
        (1..=limits::MOVED_DAYS_MAX)
            .map(|days| self.candidate(wall_ms, days))
            .take_while(|t| window.contains(t) && fuel.burn_units(LOOK_UNITS))
            .find(|t| self.excluded_by(*t).is_none())
    }

    /// Where a wall time comes when it is moved by a number of days.
    fn candidate(&self, wall_ms: i64, days: i64) -> Timestamp {
        let sign = if self.on_excluded == OnExcluded::Previous {
            -1
        } else {
            1
        };
        self.zone.at_wall_ms(wall_ms + days * sign * DAY_MS)
    }

    /// The instants at which anything may be due.
    fn window(&self) -> RangeInclusive<Timestamp> {
        match &self.schedule {
            Schedule::Bounded(bounded) => bounded.window(),
            _ => Timestamp::MIN..=Timestamp::MAX,
        }
    }

    fn moved_into(
        &self,
        low: Timestamp,
        high: Option<Timestamp>,
        pick: Pick,
        fuel: &Fuel,
    ) -> Option<Move> {
        if !self.moves() {
            return None;
        }
        Moves::between(self, low, high)?.find(pick, fuel)
    }

    /// Whether a day has more occurrences than are moved.
    fn is_crowded(&self, day: i64, fuel: &Fuel) -> bool {
        let end = self.zone.day_start(day + 1);
        let mut at = before(self.zone.day_start(day));
        for _ in 0..=MOVES_OF_A_DAY_MAX {
            match self.schedule.next_by(at, fuel) {
                Some(next) if next < end => at = next,
                _ => return false,
            }
        }
        true
    }

    /// The day of an instant. Days are the stretches between their first instants: where the clocks go back over
    /// midnight, the minutes that show yesterday again belong to today.
    fn day_of(&self, at: Timestamp) -> i64 {
        let mut day = self.zone.wall_ms(at).div_euclid(DAY_MS);
        while self.zone.day_start(day) > at {
            day -= 1;
        }
        while self.zone.day_start(day + 1) <= at {
            day += 1;
        }
        day
    }

    /// Whether no calendar rests from the beginning of one day to that of another.
    fn is_free(&self, first: i64, end: i64) -> bool {
        let (from, until) = (self.zone.day_start(first), self.zone.day_start(end));
        let rests = |c: &Arc<Calendar>| c.rests_within(from, until, &self.zone);
        !self.calendars.iter().any(rests)
    }
}

/// Which of several moves is asked for, by their targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pick {
    First,
    Last,
}

/// An excluded instant and where it goes.
#[derive(Debug, Clone, Copy)]
struct Move {
    from: Timestamp,
    to: Timestamp,
}

impl Move {
    fn due(self) -> Event {
        Event {
            at: self.to,
            what: What::Due,
        }
    }
}

fn before(at: Timestamp) -> Timestamp {
    Timestamp::from_ms(at.as_ms() - 1)
}
