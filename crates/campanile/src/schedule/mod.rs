//! When a task is due: cron expressions, fixed intervals, single instants, or only on request. Everything here is a
//! pure function of its arguments (and the tz data): no clock is read, nothing is stored, so any node asks the same
//! question and gets the same answer.
//!
//! [`Schedule`] is the whole interface: text in, and from any instant the next and the previous occurrence. Behind it,
//! `parse` turns expressions into the bit sets of `fields`, which find allowed wall times on the calendar of `civil`;
//! `cron` maps those to instants through the stretches of unchanged offset of `zone`. [`crontab`] reads the files of
//! other crons.

mod bounds;
pub(crate) mod civil;
mod cron;
pub mod crontab;
mod describe;
mod every;
mod explain;
mod fields;
mod foreign;
mod item;
mod parse;
mod recur;
mod rules;
mod steps;
#[cfg(test)]
mod tests;
mod timetable;
mod translate;
mod walls;
mod zone;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::bounds::{Bounded, Bounds};
pub use self::cron::Cron;
pub use self::every::{Every, INTERVAL_MIN};
pub use self::explain::{Line, LineKind};
pub use self::recur::Recur;
pub use self::rules::zone_rules;
pub use self::timetable::{Event, MOVES_OF_A_DAY_MAX, Timetable, What};
pub use self::translate::NoTranslation;
pub use self::zone::{TimeZoneName, format_in_zone, weekday_in_zone};
use crate::fuel::{Fuel, Spent};
use crate::protocol::limits;
use crate::time::{Timestamp, duration_ms, parse_duration};

/// Characters of a user's text that an error repeats.
const QUOTED_CHARS_MAX: usize = 40;

/// What follows `every` and `at` is shorter than this, whatever it says.
const AFTER_WORD_BYTES_MAX: usize = 100;

/// When a task is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// At the times of a cron expression.
    Cron(Cron),
    /// At a fixed interval.
    Every(Every),
    /// At the times of an RFC 5545 recurrence.
    Recur(Recur),
    /// Once.
    At(Timestamp),
    /// At the times of each of several; an instant of two of them is one occurrence.
    Union(Vec<Schedule>),
    /// Only within bounds.
    Bounded(Box<Bounded>),
    /// Never by itself.
    OnRequest,
}

/// What a schedule's text leaves open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// How cron expressions are read.
    pub dialect: Dialect,
    /// The zone whose wall time cron expressions are about; default UTC.
    pub timezone: TimeZoneName,
    /// What happens where the clocks are changed.
    pub dst: Dst,
    /// What intervals are counted from: a task's creation, or what its `anchor` says.
    pub anchor: Timestamp,
    /// What `H` in an expression is spread by: a task's name. Without one, `H` is refused.
    pub name_for_hash: String,
}

/// What happens to wall times where the clocks are changed. It is about times that are listed; `*` and open steps in
/// hours or minutes follow elapsed time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dst {
    /// To times that the clocks leave out.
    pub gap: Gap,
    /// To times that the clocks show twice.
    pub repeat: Repeat,
}

/// What happens to a listed time that the clocks leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// It fires at the first instant after the gap; several of one gap fire there once.
    #[default]
    NextValid,
    /// It does not fire.
    Skip,
    /// It fires later by the length of the gap, as if the clock had not been changed: 02:30 at 03:30.
    Shift,
}

/// What happens to a listed time that the clocks show twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    /// It fires the first time.
    #[default]
    First,
    /// It fires both times.
    Both,
    /// It fires the last time.
    Last,
}

/// The family of cron expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// By the number of fields: 5 are unix, 7 quartz; 6 are spring's and quartz's, and refused where the two would
    /// mean other days.
    #[default]
    Auto,
    /// `minute hour day-of-month month day-of-week`, Sunday 0 or 7; two restricted day fields mean either.
    Unix,
    /// `second minute hour day-of-month month day-of-week`, Sunday 0 or 7; two restricted day fields mean both. As
    /// Spring reads it since 5.3 (before, `*/n` counted days of the month from 0, and `L`, `W`, `#` were unknown).
    Spring,
    /// `second minute hour day-of-month month day-of-week [year]`, Sunday 1; exactly one day field is `?`.
    Quartz,
}

/// Why a schedule's text was refused. Its `Display` names the field, shows the offending text and says what would be
/// right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {message}")]
pub struct Error {
    /// What is wrong: `minute`, `day-of-week`, `timezone`, `interval`, …, or `schedule` for the whole.
    pub field: &'static str,
    /// Where the offending text begins: bytes from the beginning of the schedule's text.
    pub at: usize,
    /// The rest of the sentence that the field begins.
    pub message: String,
    never_fires: bool,
}

impl Error {
    fn new(field: &'static str, at: usize, message: impl Into<String>) -> Self {
        Self {
            field,
            at,
            message: message.into(),
            never_fires: false,
        }
    }

    /// About a well-formed expression that has no instant.
    fn never(field: &'static str, at: usize, message: impl Into<String>) -> Self {
        Self {
            never_fires: true,
            ..Self::new(field, at, message)
        }
    }

    /// Whether the text is a well-formed expression that no instant satisfies (30 February), rather than a malformed
    /// one.
    #[must_use]
    pub fn never_fires(&self) -> bool {
        self.never_fires
    }
}

/// A place within `width` that is a name's own: the same on every machine, and spread evenly over names.
#[must_use]
pub fn hash_spread(name: &str, width: Duration) -> Duration {
    let width_ms = u64::try_from(duration_ms(width)).unwrap_or(0);
    match width_ms {
        0 => Duration::ZERO,
        width_ms => Duration::from_millis(item::fingerprint(name, "jitter") % width_ms),
    }
}

/// A user's text in an error: in back-ticks, cut where it is long, and without what would move a terminal's cursor.
fn quoted(text: &str) -> String {
    let shown: String = text
        .chars()
        .take(QUOTED_CHARS_MAX)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    let more = if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        "…"
    } else {
        ""
    };
    format!("`{shown}{more}`")
}

/// What could not be worked out.
fn too_much(spent: &Spent) -> Error {
    let remedy = "write a plainer rule, a smaller COUNT, or several schedules";
    Error::new("schedule", 0, format!("{spent}: {remedy}"))
}

impl Schedule {
    /// Reads a schedule: a cron expression (`0 2 * * *`, `@daily`), `every 10s`, `at 2026-12-01T08:00:00+01:00`,
    /// `rrule FREQ=WEEKLY;BYDAY=MO`, or nothing for only on request.
    ///
    /// # Errors
    /// Names the field that can't be read and what would be right. What can never fire is refused as well.
    pub fn parse(text: Option<&str>, options: &Options) -> Result<Self, Error> {
        Self::parse_by(text, options, &Fuel::endless())
    }

    /// The same with fuel: what a recurrence counts, and whether it ever fires, is looked for with it.
    ///
    /// # Errors
    /// As [`Schedule::parse`]; what can't be worked out with the fuel is refused as well.
    pub fn parse_by(text: Option<&str>, options: &Options, fuel: &Fuel) -> Result<Self, Error> {
        Self::read(text, options, fuel).map_err(|error| {
            let named = text.and_then(|text| foreign::named(text, options));
            named.filter(|_| !error.never_fires).unwrap_or(error)
        })
    }

    fn read(text: Option<&str>, options: &Options, fuel: &Fuel) -> Result<Self, Error> {
        let Some(text) = text else {
            return Ok(Self::OnRequest);
        };
        let start = text.len() - text.trim_start().len();
        let (word, rest) = text
            .trim()
            .split_once(|c: char| c.is_ascii_whitespace())
            .unwrap_or((text.trim(), ""));
        let rest_at = (start + word.len() + 1).min(text.len());
        match word {
            "every" | "at" if rest.len() > AFTER_WORD_BYTES_MAX => {
                let message = format!(
                    "{} is longer than {AFTER_WORD_BYTES_MAX} bytes: write `every 10s` or `at 2026-12-01T08:00:00Z`",
                    quoted(rest)
                );
                Err(Error::new("schedule", rest_at, message))
            }
            "every" => {
                let interval = parse_duration(rest)
                    .map_err(|message| Error::new("interval", rest_at, message))?;
                let every =
                    Every::new(interval, options.anchor).map_err(|e| Error { at: rest_at, ..e })?;
                Ok(Self::Every(every))
            }
            "at" => {
                let instant = Timestamp::parse(rest.trim())
                    .map_err(|message| Error::new("at", rest_at, message))?;
                Ok(Self::At(instant))
            }
            _ if Recur::is_meant(word) => {
                let recur = Recur::parse_by(text, options, fuel);
                // Run out, it looks as if it never fired.
                fuel.check().map_err(|spent| too_much(&spent))?;
                recur.map(Self::Recur)
            }
            _ => Cron::parse(text, options).map(Self::Cron),
        }
    }

    /// Reads the schedules of one task: none = only on request.
    ///
    /// # Errors
    /// As [`Schedule::parse`]; of several, the one at fault is named by its number.
    pub fn parse_all(texts: &[String], options: &Options) -> Result<Self, Error> {
        Self::parse_all_by(texts, options, &Fuel::endless())
    }

    /// The same with fuel; see [`Schedule::parse_by`].
    ///
    /// # Errors
    /// As [`Schedule::parse_by`]; of several, the one at fault is named by its number.
    pub fn parse_all_by(texts: &[String], options: &Options, fuel: &Fuel) -> Result<Self, Error> {
        if texts.len() > limits::SCHEDULES_MAX {
            let message = format!(
                "has {} entries: write {} at most",
                texts.len(),
                limits::SCHEDULES_MAX
            );
            return Err(Error::new("schedule", 0, message));
        }
        match texts {
            [] => Ok(Self::OnRequest),
            [one] => Self::parse_by(Some(one), options, fuel),
            many => {
                let one = |(n, text): (usize, &String)| {
                    Self::parse_by(Some(text), options, fuel).map_err(|e| Error {
                        message: format!("{} (in schedule {} of the list)", e.message, n + 1),
                        ..e
                    })
                };
                let all = many.iter().enumerate().map(one);
                Ok(Self::Union(all.collect::<Result<_, _>>()?))
            }
        }
    }

    /// The first occurrence strictly after an instant; `None` when there is none any more.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.next_by(after, &Fuel::endless())
    }

    /// The last occurrence strictly before an instant; `None` when there was none.
    #[must_use]
    pub fn previous(&self, before: Timestamp) -> Option<Timestamp> {
        self.previous_by(before, &Fuel::endless())
    }

    /// [`Schedule::next`] with fuel: the answer counts only if the fuel's check says so.
    #[must_use]
    pub fn next_by(&self, after: Timestamp, fuel: &Fuel) -> Option<Timestamp> {
        match self {
            _ if !fuel.burn() => None,
            Self::Cron(cron) => cron.next_by(after, fuel),
            Self::Every(every) => every.next(after),
            Self::Recur(recur) => recur.next_by(after, fuel),
            Self::At(instant) => (*instant > after).then_some(*instant),
            Self::Union(all) => all.iter().filter_map(|s| s.next_by(after, fuel)).min(),
            Self::Bounded(bounded) => bounded.next_by(after, fuel),
            Self::OnRequest => None,
        }
    }

    /// [`Schedule::previous`] with fuel: the answer counts only if the fuel's check says so.
    #[must_use]
    pub fn previous_by(&self, before: Timestamp, fuel: &Fuel) -> Option<Timestamp> {
        match self {
            _ if !fuel.burn() => None,
            Self::Cron(cron) => cron.previous_by(before, fuel),
            Self::Every(every) => every.previous(before),
            Self::Recur(recur) => recur.previous_by(before, fuel),
            Self::At(instant) => (*instant < before).then_some(*instant),
            Self::Union(all) => all.iter().filter_map(|s| s.previous_by(before, fuel)).max(),
            Self::Bounded(bounded) => bounded.previous_by(before, fuel),
            Self::OnRequest => None,
        }
    }
}

impl fmt::Display for Schedule {
    /// What [`Schedule::parse`] reads back; `on request` where there is nothing to read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron(cron) => cron.fmt(f),
            Self::Every(every) => every.fmt(f),
            Self::Recur(recur) => recur.fmt(f),
            Self::At(instant) => write!(f, "at {instant}"),
            Self::Union(all) => {
                let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join("; "))
            }
            Self::Bounded(bounded) => bounded.inner().fmt(f),
            Self::OnRequest => f.write_str("on request"),
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Unix => "unix",
            Self::Spring => "spring",
            Self::Quartz => "quartz",
        })
    }
}

impl FromStr for Dialect {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "auto" => Ok(Self::Auto),
            "unix" => Ok(Self::Unix),
            "spring" => Ok(Self::Spring),
            "quartz" => Ok(Self::Quartz),
            _ => {
                let message = format!(
                    "{} is not known: write auto, unix, spring or quartz",
                    quoted(text)
                );
                Err(Error::new("dialect", 0, message))
            }
        }
    }
}
