//! The shape of a calendar: its definition, and what is known of it. What a calendar means is not decided here.

use campanile_ask::CalendarRow;
use campanile_schedule::calendar::CalendarSpec;
use serde::Serialize;

/// The fields of an answered calendar that are not part of its definition: ignored where a definition is put.
pub const CALENDAR_EXTRAS: [&str; 2] = ["version", "tasks"];

/// A calendar: its definition, and what is known of it.
#[derive(Debug, Clone, Serialize)]
pub struct CalendarView {
    /// The definition.
    #[serde(flatten)]
    pub spec: CalendarSpec,
    /// Grows with every change.
    pub version: i64,
    /// Tasks that name it.
    pub tasks: Vec<String>,
}

impl From<CalendarRow> for CalendarView {
    fn from(row: CalendarRow) -> Self {
        Self {
            spec: row.calendar.spec.clone(),
            version: row.calendar.version,
            tasks: row.tasks,
        }
    }
}
