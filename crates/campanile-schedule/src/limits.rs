//! The limits of schedules, calendars and the files that they are read from: sizes in bytes, and counts. A limit lives here
//! when two modules, or somebody who reads files for them, must agree on it.

/// A name: of a calendar here, of tasks, queues and nodes elsewhere.
pub const NAME_BYTES_MAX: usize = 200;
/// One schedule, as it is written in a definition.
pub const SCHEDULE_BYTES_MAX: usize = 4_000;
/// The name of a time zone.
pub const TIMEZONE_BYTES_MAX: usize = 100;
/// A crontab to import.
pub const CRONTAB_BYTES_MAX: u64 = 1024 * 1024;
/// Events and other entries of a calendar file.
pub const ICS_COMPONENTS_MAX: usize = 20_000;
/// Days of events that repeat, spelled out of one calendar file: 500 that come each week for ten years are 260,000.
pub const ICS_DAYS_MAX: usize = 300_000;
/// Steps that are taken to spell them out.
pub const ICS_STEPS_MAX: u64 = 300_000;
/// Schedules that are read as one.
pub const SCHEDULES_MAX: usize = 20;
/// Occurrences that `max_count` (and COUNT of a recurrence) may ask for where they are counted one by one, whenever the
/// schedule is read. Intervals are counted by arithmetic and have no such limit.
pub const MAX_COUNT_MAX: u32 = 10_000;
/// Days over which an excluded occurrence is moved; what finds no day within them is skipped.
pub const MOVED_DAYS_MAX: i64 = 31;
