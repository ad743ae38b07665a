//! The shapes of what tasks share, and of backfills.

use campanile::control::{Backfilled, CalendarRow, LimitRow};
use campanile_schedule::calendar::CalendarSpec;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A limit with its use.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LimitView {
    /// `queue:NAME` or `group:NAME`.
    #[schema(example = "group:database")]
    pub limit: String,
    /// How many runs may be handed to workers at once.
    pub max_running: u32,
    /// How many are: published, or running.
    pub running: u32,
    /// How many wait for their turn.
    pub waiting: u32,
    /// That it limits nothing now: no task is of its group, or nobody listens on its queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl From<LimitRow> for LimitView {
    fn from(row: LimitRow) -> Self {
        Self {
            limit: row.key.to_string(),
            max_running: row.max_running,
            running: row.held,
            waiting: row.parked,
            warning: row.warning,
        }
    }
}

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

/// What a backfill starts, or would.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BackfillView {
    /// Instants of the schedule in the range, calendars obeyed.
    pub instants: usize,
    /// Of them, those that have a run already.
    pub ran: usize,
    /// Of them, those that are to be run.
    pub count: usize,
    /// The first of those.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first: Option<Timestamp>,
    /// The last of those.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last: Option<Timestamp>,
    /// New runs.
    pub created: usize,
    /// Whether nothing was done.
    pub dry_run: bool,
    /// The task's zone, on whose wall the instants are.
    pub timezone: String,
}

impl From<Backfilled> for BackfillView {
    fn from(b: Backfilled) -> Self {
        Self {
            instants: b.instants,
            ran: b.ran,
            count: b.count,
            first: b.first,
            last: b.last,
            created: b.created,
            dry_run: b.dry_run,
            timezone: b.timezone,
        }
    }
}
