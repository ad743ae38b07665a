//! The starts of one task in a window, in order: from its timetable one by one, or by arithmetic where it is a plain
//! interval. Owns the bound on steps; counts nothing itself.

use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;
use campanile_schedule::{Event, Schedule, Timetable, What};

use super::ms_of;
use crate::task::{Overlap, TaskSpec};

/// The time that is looked at: from the first (included) to the last (not included), in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from_ms: i64,
    pub(super) until_ms: i64,
}

impl Window {
    pub(super) fn from(self) -> Timestamp {
        Timestamp::from_ms(self.from_ms)
    }

    pub(super) fn until(self) -> Timestamp {
        Timestamp::from_ms(self.until_ms)
    }

    pub(super) fn minutes(self) -> usize {
        usize::try_from((self.until_ms - self.from_ms) / super::MINUTE_MS).unwrap_or(0)
    }

    /// The number of the minute that holds an instant of the window.
    pub(super) fn minute_of(self, at_ms: i64) -> usize {
        usize::try_from((at_ms - self.from_ms) / super::MINUTE_MS).unwrap_or(0)
    }

    /// The minute with a number.
    pub(super) fn minute(self, n: usize) -> Self {
        let n = i64::try_from(n).unwrap_or(0);
        let from_ms = self.from_ms + n * super::MINUTE_MS;
        Self {
            from_ms,
            until_ms: from_ms + super::MINUTE_MS,
        }
    }

    /// The same length of time, earlier.
    fn earlier(self, by_ms: i64) -> Self {
        Self {
            from_ms: self.from_ms - by_ms,
            until_ms: self.until_ms - by_ms,
        }
    }
}

/// Steps that may still be taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    left: u64,
}

impl Budget {
    pub(super) const fn of(steps: u64) -> Self {
        Self { left: steps }
    }

    /// Takes one; false when there is none left.
    pub(super) const fn take(&mut self) -> bool {
        self.spend(1)
    }

    /// Takes some, or all that are left and says so.
    pub(super) const fn spend(&mut self, steps: u64) -> bool {
        let enough = self.left >= steps;
        self.left = self.left.saturating_sub(steps);
        enough
    }

    pub(super) const fn is_spent(&self) -> bool {
        self.left == 0
    }
}

/// What is kept of a task until the forecast is done.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) name: Box<str>,
    pub(super) timetable: Timetable,
    fuel: Arc<Fuel>,
    /// How long after its instant an occurrence starts.
    pub(super) offset_ms: i64,
    /// Whether no calendar has a say, so that a plain interval may be reckoned with.
    plain: bool,
    pub(super) overlap: Overlap,
    pub(super) queue_max: u32,
    /// The number of its schedule's text.
    pub(super) schedule: u32,
    /// Starts in the window.
    pub(super) starts: u64,
    /// The shortest distance between two starts.
    pub(super) gap_ms: Option<i64>,
}

impl Subject {
    pub(super) fn new(spec: &TaskSpec, timetable: Timetable, fuel: Arc<Fuel>) -> Self {
        Self {
            fuel,
            name: spec.name.as_str().into(),
            timetable,
            offset_ms: ms_of(spec.jitter_offset()),
            plain: spec.calendars.is_empty(),
            overlap: spec.overlap,
            queue_max: spec.overlap_queue_max,
            schedule: 0,
            starts: 0,
            gap_ms: None,
        }
    }

    /// Its starts in a window as a plain interval, if it is one.
    pub(super) fn grid(&self, window: Window) -> Option<Grid> {
        let schedule = self.timetable.schedule();
        let step_ms = ms_of(interval(schedule).filter(|_| self.plain)?);
        let instants = window.earlier(self.offset_ms);
        // Bounds cut an interval off at its ends and nowhere else.
        let first = schedule.next_by(just_before(instants.from_ms), &self.fuel);
        let last = schedule.previous_by(instants.until(), &self.fuel);
        let (first, last) = (first?.as_ms(), last?.as_ms());
        Some(Grid {
            first_ms: first + self.offset_ms,
            last_ms: last + self.offset_ms,
            step_ms,
        })
    }

    /// What its timetable says in a window of starts, each event at the instant of its start.
    pub(super) fn events(&self, window: Window) -> Events<'_> {
        let instants = window.earlier(self.offset_ms);
        Events {
            timetable: &self.timetable,
            fuel: &self.fuel,
            after: just_before(instants.from_ms),
            until: instants.until(),
            offset: Duration::from_millis(self.offset_ms.unsigned_abs()),
        }
    }

    /// Its starts in a window, in milliseconds.
    pub(super) fn starts(&self, window: Window) -> Box<dyn Iterator<Item = i64> + '_> {
        let by_arithmetic = interval(self.timetable.schedule()).is_some() && self.plain;
        if by_arithmetic {
            let grid = self.grid(window);
            return Box::new(grid.into_iter().flat_map(Grid::starts));
        }
        let due = self.events(window).filter(|e| e.what == What::Due);
        Box::new(due.map(|e| e.at.as_ms()))
    }
}

pub(super) fn just_before(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms - 1)
}

fn interval(schedule: &Schedule) -> Option<Duration> {
    match schedule {
        Schedule::Every(every) => Some(every.interval()),
        Schedule::Bounded(bounded) => interval(bounded.inner()),
        _ => None,
    }
}

/// Starts at one distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) first_ms: i64,
    /// Before the first where there is none.
    pub(super) last_ms: i64,
    pub(super) step_ms: i64,
}

impl Grid {
    pub(super) fn count(self) -> u64 {
        if self.last_ms < self.first_ms {
            return 0;
        }
        let steps = (self.last_ms - self.first_ms) / self.step_ms;
        u64::try_from(steps + 1).unwrap_or(0)
    }

    /// How many are in a window.
    pub(super) fn count_in(self, window: Window) -> u64 {
        let first_ms = if window.from_ms <= self.first_ms {
            self.first_ms
        } else {
            let behind = window.from_ms - self.first_ms;
            self.first_ms + (behind + self.step_ms - 1) / self.step_ms * self.step_ms
        };
        let last_ms = self.last_ms.min(window.until_ms - 1);
        Self {
            first_ms,
            last_ms,
            ..self
        }
        .count()
    }

    fn starts(self) -> impl Iterator<Item = i64> {
        let next = move |at: &i64| Some(at + self.step_ms).filter(|t| *t <= self.last_ms);
        std::iter::successors(Some(self.first_ms).filter(|t| *t <= self.last_ms), next)
    }
}

/// What a timetable says in a window.
#[derive(Debug)]
pub(super) struct Events<'a> {
    timetable: &'a Timetable,
    fuel: &'a Fuel,
    after: Timestamp,
    until: Timestamp,
    offset: Duration,
}

impl Iterator for Events<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let event = self.timetable.next_by(self.after, self.fuel)?;
        if event.at >= self.until {
            return None;
        }
        self.after = event.at;
        Some(Event {
            at: event.at.plus(self.offset),
            ..event
        })
    }
}
