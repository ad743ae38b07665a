//! Calendars: named sets of days and hours on which tasks rest. Owns what a calendar is and whether it excludes an
//! instant; who rests because of it is [`crate::schedule::Timetable`]'s. No clock, no file, no store.

use serde::{Deserialize, Serialize};

use crate::schedule::TimeZoneName;
use crate::time::Timestamp;

/// A calendar as people define it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarSpec {
    /// Unique among calendars; letters, digits, `.`, `_`, `-`.
    pub name: String,
}

/// A calendar as the store keeps it, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// What people wrote.
    pub spec: CalendarSpec,
    /// Grows with every change.
    pub version: i64,
}

impl Calendar {
    /// Whether it excludes an instant, seen on the wall clocks of `zone` (a task's).
    #[must_use]
    pub fn excludes(&self, _at: Timestamp, _zone: &TimeZoneName) -> bool {
        false
    }
}
