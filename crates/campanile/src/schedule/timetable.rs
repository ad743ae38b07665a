//! A schedule together with the calendars that its task names: what happens at which instant. Owns what an excluded
//! occurrence becomes; which days are excluded is [`crate::calendar`]'s.

use std::sync::Arc;

use super::{Schedule, TimeZoneName};
use crate::calendar::Calendar;
use crate::task::OnExcluded;
use crate::time::Timestamp;

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

    /// What happens next, strictly after an instant; `None` when nothing does any more.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Event> {
        let at = self.schedule.next(after)?;
        let what = match self.excluded_by(at) {
            None => What::Due,
            Some(_) => What::Excluded,
        };
        Some(Event { at, what })
    }

    /// What happened last, strictly before an instant; `None` when nothing did.
    #[must_use]
    pub fn previous(&self, before: Timestamp) -> Option<Event> {
        let at = self.schedule.previous(before)?;
        let what = match self.excluded_by(at) {
            None => What::Due,
            Some(_) => What::Excluded,
        };
        Some(Event { at, what })
    }
}
