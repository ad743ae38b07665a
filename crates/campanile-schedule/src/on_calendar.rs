//! systemd's calendar events (`OnCalendar=`, systemd.time(7)) as schedules. Owns their translation: `read` takes a text
//! apart into sets, and here the sets become a cron expression, or an instant, that means the same. What none means is
//! refused with its reason.
//!
//! ```
//! use campanile_schedule::on_calendar::translate;
//!
//! let of = |text: &str| translate(text).map(|event| event.schedule);
//! assert_eq!(of("Mon..Fri *-*-* 08:00").as_deref(), Ok("0 8 * * MON-FRI"));
//! assert_eq!(of("*:0/15").as_deref(), Ok("*/15 * * * *"));
//! assert_eq!(of("Mon *-05~07/1").as_deref(), Ok("0 0 0 L-6,L-5,L-4,L-3,L-2,L-1,L 5 MON"));
//! assert_eq!(of("2026-12-01 08:00").as_deref(), Ok("at 2026-12-01T08:00:00"));
//! ```

mod read;
mod span;

pub use self::span::span;

use self::read::{Event, Last, WEEKDAYS};
use crate::error::quoted;
use crate::fields::{YEAR_FIELD_MAX, YEAR_FIELD_MIN};
use crate::translate::{first, ranges, spellings};

/// Longer texts are no calendar event.
pub const TEXT_BYTES_MAX: usize = 500;

/// What a calendar event is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    /// A schedule's text; its dialect goes by its shape ([`crate::Dialect::Auto`]).
    pub schedule: String,
    /// The zone that the event names.
    pub timezone: Option<String>,
}

/// Translates one event: weekdays, dates and times with lists, ranges and steps, days counted from a month's end, a zone
/// behind it, and the shorthands (`hourly`, `weekly`, …).
///
/// # Errors
/// A sentence that says what is not understood, or what no schedule can say.
pub fn translate(text: &str) -> Result<Translated, String> {
    if text.len() > TEXT_BYTES_MAX {
        let text = quoted(text);
        return Err(format!("{text} is longer than {TEXT_BYTES_MAX} bytes"));
    }
    let event = read::event(text)?;
    let schedule = match single(&event) {
        Some(at) => at,
        None => expression(&event).map_err(|why| format!("{} {why}", quoted(text)))?,
    };
    Ok(Translated {
        schedule,
        timezone: event.timezone,
    })
}

/// The one instant that an event is, if it is no more.
fn single(event: &Event) -> Option<String> {
    let one = |set: u64| (set.count_ones() == 1).then(|| set.trailing_zeros());
    let Some(&[year]) = event.years.as_deref() else {
        return None;
    };
    if event.weekdays.is_some() || event.last != Last::default() {
        return None;
    }
    let (month, day) = (one(event.months?)?, one(event.days?)?);
    let (hour, minute) = (one(event.hours?)?, one(event.minutes?)?);
    let second = one(event.seconds?)?;
    Some(format!(
        "at {year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    ))
}

/// An event as a cron expression: of five fields where these say it, of seven where there are seconds or years, and of
/// six, which want both of two day fields, where it has both.
fn expression(event: &Event) -> Result<String, String> {
    let (days, weekdays) = (day_field(event), event.weekdays.map(weekday_field));
    let plain_minute = event.seconds == Some(1);
    let open_steps = !plain_minute || event.years.is_some();
    let field = |set: Option<u64>, low, high, open_steps| match set {
        None => "*".to_owned(),
        Some(set) => first(spellings(set, low, high, open_steps)),
    };
    let both = days.is_some() && weekdays.is_some();
    let open_steps = open_steps || both;
    let second = field(event.seconds, 0, 59, open_steps);
    let (minute, hour) = (
        field(event.minutes, 0, 59, open_steps),
        field(event.hours, 0, 23, open_steps),
    );
    let month = field(event.months, 1, 12, open_steps);
    if both && event.years.is_some() {
        let reason = "names years, days of the month and days of the week at once, which no schedule here can: leave one \
                      of them out, and bound the task by starts_at and ends_at";
        return Err(reason.to_owned());
    }
    if both {
        let (day, weekday) = (days.unwrap_or_default(), weekdays.unwrap_or_default());
        return Ok(format!("{second} {minute} {hour} {day} {month} {weekday}"));
    }
    if plain_minute && event.years.is_none() {
        let star = || "*".to_owned();
        let (day, weekday) = (days.unwrap_or_else(star), weekdays.unwrap_or_else(star));
        return Ok(format!("{minute} {hour} {day} {month} {weekday}"));
    }
    let (day, weekday) = match (days, weekdays) {
        (None, Some(weekday)) => ("?".to_owned(), weekday),
        (day, _) => (day.unwrap_or_else(|| "*".to_owned()), "?".to_owned()),
    };
    let year = match &event.years {
        None => "*".to_owned(),
        Some(years) => year_field(years)?,
    };
    Ok(format!(
        "{second} {minute} {hour} {day} {month} {weekday} {year}"
    ))
}

/// `1,15`, or `L-2,L` where days are counted from the month's end; `None` = every day.
fn day_field(event: &Event) -> Option<String> {
    if event.last == Last::default() {
        let set = event.days?;
        return Some(first(spellings(set, 1, 31, false)));
    }
    let last = event.last.0;
    // The first of a list is the furthest from the end.
    let days = (1..=31_u32).rev().filter(|n| last >> n & 1 == 1);
    let spelt = days.map(|n| match n {
        1 => "L".to_owned(),
        n => format!("L-{}", n - 1),
    });
    Some(spelt.collect::<Vec<_>>().join(","))
}

/// `MON-FRI`
fn weekday_field(set: u8) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut at = 0;
    while at < WEEKDAYS.len() {
        let run = (at..WEEKDAYS.len()).take_while(|n| set >> n & 1 == 1);
        let length = run.count();
        let name = |n: usize| WEEKDAYS.get(n).copied().unwrap_or_default();
        match length {
            0 => {}
            1 | 2 => parts.extend((at..at + length).map(|n| name(n).to_owned())),
            // A range that ends on Sunday is none in every dialect.
            _ if at + length == 7 && length == 3 => {
                parts.extend((at..7).map(|n| name(n).to_owned()));
            }
            _ if at + length == 7 => {
                parts.push(format!("{}-{}", name(at), name(5)));
                parts.push(name(6).to_owned());
            }
            _ => parts.push(format!("{}-{}", name(at), name(at + length - 1))),
        }
        at += length.max(1);
    }
    parts.join(",")
}

fn year_field(years: &[u32]) -> Result<String, String> {
    let (low, high) = (u32::from(YEAR_FIELD_MIN), u32::from(YEAR_FIELD_MAX));
    let known: Vec<u32> = years
        .iter()
        .copied()
        .filter(|year| (low..=high).contains(year))
        .collect();
    if known.is_empty() {
        return Err(format!("names no year from {low} to {high}"));
    }
    Ok(ranges(&known))
}
