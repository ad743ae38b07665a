//! When something is due: cron expressions in three dialects, RFC 5545 recurrences, fixed intervals, delays after an end and single instants,
//! in a time zone, with calendars of days on which they rest. Everything here is a pure function of its arguments and of
//! the zone rules: no clock is read and nothing is stored, so every machine asks the same question and gets the same
//! answer.
//!
//! ```
//! use campanile_schedule::{Options, Schedule, TimeZoneName, Timestamp, format_in_zone};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let berlin = TimeZoneName::parse("Europe/Berlin")?;
//! let options = Options { timezone: berlin.clone(), ..Options::default() };
//! let schedule = Schedule::parse(Some("30 2 * * MON-FRI"), &options)?;
//! assert_eq!(schedule.describe(), "At 02:30, Monday to Friday, in Europe/Berlin");
//!
//! let friday = Timestamp::parse("2026-11-27T12:00:00+01:00")?;
//! let next = schedule.next(friday).map(|at| format_in_zone(at, &berlin));
//! assert_eq!(next.as_deref(), Some("2026-11-30T02:30:00+01:00"));
//! let last = schedule.previous(friday).map(|at| format_in_zone(at, &berlin));
//! assert_eq!(last.as_deref(), Some("2026-11-27T02:30:00+01:00"));
//! # Ok(())
//! # }
//! ```
//!
//! A *task*, here and in errors, is whatever is due: what has the schedule.
//!
//! # Where what is
//!
//! - [`Schedule`] is the interface: text in, and from any instant the next and the previous one. [`Options`] say what the
//!   text leaves open; [`Dst`] says what happens where the clocks are changed; an [`Error`] names the field, the place in
//!   the text and what would be right.
//! - [`Cron`] also translates between dialects; [`Schedule::describe`] writes a sentence, and [`Schedule::explain`] the next
//!   instants with each change of the clocks.
//! - [`Bounds`] give a schedule a first and a last instant, and a count.
//! - [`calendar`] has days and hours on which things rest, and reads the `.ics` files of calendar programs; a [`Timetable`]
//!   is a schedule with its calendars, and says what becomes of an instant that they exclude.
//! - [`crontab`] reads the files of other crons, [`on_calendar`] the timers of systemd; [`instant`] reads and shows single instants as people write them.
//! - [`fuel`] bounds the work: where a stranger chooses the text, ask the functions that end in `_by`.
//! - [`time`] has the instants; [`limits`] the sizes and counts beyond which texts are refused.
//!
//! Behind it, `parse` turns cron expressions into the bit sets of `fields`, which find allowed wall times on the calendar
//! of `civil`; `walls` maps those to instants through the stretches of unchanged offset of `zone`.
//!
//! Zone rules are `jiff`'s: the system's zone database where there is one, otherwise the copy that is compiled in. That is
//! the only thing here that may touch a disk. [`zone_rules`] says which rules a process computes with.

#![warn(missing_docs)]

mod after;
mod bounds;
pub mod calendar;
mod check;
mod civil;
mod cron;
pub mod crontab;
mod describe;
mod error;
mod every;
mod explain;
mod fields;
mod foreign;
pub mod fuel;
pub mod instant;
mod item;
pub mod limits;
mod moment;
pub mod on_calendar;
mod options;
mod parse;
mod recur;
mod rules;
mod schedule;
mod spread;
mod steps;
#[cfg(test)]
mod tests;
pub mod time;
mod timetable;
mod translate;
mod walls;
mod zone;

pub use self::after::After;
pub use self::bounds::{Bounded, Bounds};
pub use self::check::{Invalid, check_bytes, check_name, check_zone};
pub use self::cron::Cron;
pub use self::error::Error;
pub use self::every::{Every, INTERVAL_MIN};
pub use self::explain::{Line, LineKind};
pub use self::moment::{Moment, Once, WallTime};
pub use self::options::{Dialect, Dst, Gap, Options, Repeat};
pub use self::recur::Recur;
pub use self::rules::{zone_fingerprint, zone_rules};
pub use self::schedule::Schedule;
pub use self::spread::hash_spread;
pub use self::steps::Steps;
pub use self::time::Timestamp;
pub use self::timetable::{Event, MOVES_OF_A_DAY_MAX, OnExcluded, Timetable, What};
pub use self::translate::NoTranslation;
pub use self::zone::{TimeZoneName, format_in_zone, weekday_in_zone};

/// The examples of the README, tested with those of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
