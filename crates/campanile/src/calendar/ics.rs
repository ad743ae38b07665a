//! Calendars from iCalendar files (RFC 5545), as calendar programs and lists of public holidays are published. Owns what
//! of an event becomes days of a calendar; it reads a text, never a file or an address.
//!
//! Events that last whole days are taken; all else is named in the remarks, so that nothing is left out in silence.
//! Whether an event is shown as free or busy does not matter: lists of holidays mark theirs as free.

mod lines;
#[cfg(test)]
mod tests;

use std::fmt;

use self::lines::{Event, Property};
use super::{CalendarSpec, DayRange, ENTRIES_MAX};
use crate::schedule::civil::{Date, date_of, days_in_month, days_of};
use crate::schedule::{Options, Recur};
use crate::task::Invalid;
use crate::time::Timestamp;

/// Longer files are refused.
pub const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

const DAY_MS: i64 = super::DAY_MS;

/// A calendar that was made from a file, and what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The calendar; valid.
    pub spec: CalendarSpec,
    /// What was left out, in whole or in part.
    pub remarks: Vec<Remark>,
}

/// Something in a file that is not, or not wholly, in the calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The line at which it begins, from 1.
    pub line: usize,
    /// What the file calls it.
    pub entry: String,
    /// Whether nothing of it was taken.
    pub left_out: bool,
    /// Why, and what to do.
    pub message: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: `{}` {}", self.line, self.entry, self.message)
    }
}

/// Days of an event, first and last.
type Span = (i64, i64);

/// What became of an event.
enum Taken {
    /// The same days of every year.
    Yearly(Span),
    /// Days; `cut` says that the event goes on after them.
    Days { spans: Vec<Span>, cut: bool },
}

/// Makes a calendar of an iCalendar text. Events that repeat for ever without being the same day of every year are
/// spelled out to the end of `through_year`.
///
/// # Errors
/// `ics`, if the text is no calendar file, and what [`CalendarSpec::validate`] refuses (a name, too many days).
pub fn parse(text: &str, name: &str, through_year: i32) -> Result<Imported, Invalid> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!(
            "{} bytes are over the limit of {TEXT_BYTES_MAX}: leave out what has passed",
            text.len()
        );
        return Err(Invalid::new("ics", message));
    }
    let file = lines::read(text)?;
    let mut spec = CalendarSpec {
        name: name.to_owned(),
        description: file.name,
        ..CalendarSpec::default()
    };
    let mut remarks = file.remarks;
    for event in &file.events {
        let remark = |left_out, message: String| Remark {
            line: event.line,
            entry: event.summary.clone(),
            left_out,
            message,
        };
        match take(event, through_year) {
            Ok(Taken::Yearly(span)) => add(&mut spec, span, month_and_day),
            Ok(Taken::Days { spans, cut }) => {
                for span in spans {
                    add(&mut spec, span, whole_date);
                }
                if cut {
                    let message = format!(
                        "goes on after {through_year}: read the file again before that year ends"
                    );
                    remarks.push(remark(false, message));
                }
            }
            Err(message) => remarks.push(remark(true, message)),
        }
    }
    spec.dates.sort_unstable();
    spec.dates.dedup();
    spec.ranges
        .sort_unstable_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
    spec.ranges.dedup();
    remarks.sort_by_key(|r| r.line);
    spec.validate()?;
    Ok(Imported { spec, remarks })
}

fn add(spec: &mut CalendarSpec, (first, last): Span, text: fn(i64) -> String) {
    if first == last {
        spec.dates.push(text(first));
    } else {
        spec.ranges.push(DayRange {
            from: text(first),
            to: text(last),
        });
    }
}

fn whole_date(day: i64) -> String {
    let Date { year, month, day } = date_of(day);
    format!("{year:04}-{month:02}-{day:02}")
}

fn month_and_day(day: i64) -> String {
    let Date { month, day, .. } = date_of(day);
    format!("{month:02}-{day:02}")
}

/// The days of an event, or why it has none.
fn take(event: &Event, through_year: i32) -> Result<Taken, String> {
    if event.has("RECURRENCE-ID") {
        return Err("changes one day of an event that repeats: write that day by hand".to_owned());
    }
    if event
        .get("STATUS")
        .is_some_and(|p| p.value.eq_ignore_ascii_case("CANCELLED"))
    {
        return Err("is cancelled".to_owned());
    }
    let start = event
        .get("DTSTART")
        .ok_or("has no DTSTART: it happens at no time")?;
    let first = whole_day(start)?;
    let length = length_of(event, first)?;
    let rules: Vec<&Property> = event.all("RRULE").collect();
    let more: Vec<&Property> = event.all("RDATE").chain(event.all("EXDATE")).collect();
    let span = |day: i64| (day, day + length - 1);
    match rules.as_slice() {
        [] if more.is_empty() => Ok(Taken::Days {
            spans: vec![span(first)],
            cut: false,
        }),
        [rule] if more.is_empty() && length < 366 && is_every_year(&rule.value, first) => {
            Ok(Taken::Yearly(span(first)))
        }
        [] | [_] => {
            let (days, cut) = spelled_out(first, rules.first(), &more, through_year)?;
            Ok(Taken::Days {
                spans: days.into_iter().map(span).collect(),
                cut,
            })
        }
        _ => Err("repeats by several rules: write its days by hand".to_owned()),
    }
}

/// The day of a DTSTART or DTEND; midnight on a wall counts as a day's beginning.
fn whole_day(property: &Property) -> Result<i64, String> {
    let timed =
        || "has a time of day: write it under `hours` by hand if tasks shall rest then".to_owned();
    let value = property.value.trim();
    let (date, time) = value.split_at_checked(8).ok_or_else(|| unreadable(value))?;
    if !matches!(time, "" | "T000000") {
        return Err(timed());
    }
    day_of(date).ok_or_else(|| unreadable(value))
}

fn unreadable(value: &str) -> String {
    let shown: String = value
        .chars()
        .take(40)
        .flat_map(char::escape_default)
        .collect();
    format!("has `{shown}`, which is not understood: write its days by hand")
}

/// `20261225` as a day.
fn day_of(date: &str) -> Option<i64> {
    let plain = date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit());
    let number = |from, to| date.get(from..to).filter(|_| plain)?.parse::<u32>().ok();
    let year = i32::try_from(number(0, 4)?).ok().filter(|y| *y > 0)?;
    let (month, day) = (number(4, 6)?, number(6, 8)?);
    let exists = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    exists.then(|| days_of(Date { year, month, day }))
}

/// How many days it lasts: DTEND is the first day after it.
fn length_of(event: &Event, first: i64) -> Result<i64, String> {
    if let Some(end) = event.get("DTEND") {
        // Some programs write the same day at both ends of one day.
        return whole_day(end).map(|end| (end - first).max(1));
    }
    let Some(duration) = event.get("DURATION") else {
        let timed = event.get("DTSTART").is_some_and(|p| p.value.contains('T'));
        return if timed {
            Err("has a time of day and no end: write it by hand".to_owned())
        } else {
            Ok(1)
        };
    };
    let amount = |unit: char| -> Option<i64> {
        let digits = duration.value.strip_prefix('P')?.strip_suffix(unit)?;
        digits.parse().ok().filter(|n| (1..=3_660).contains(n))
    };
    let weeks = amount('W').map(|n| n * 7);
    amount('D')
        .or(weeks)
        .ok_or_else(|| unreadable(&duration.value))
}

/// Whether a rule means the start's month and day in every year.
fn is_every_year(rule: &str, first: i64) -> bool {
    let date = date_of(first);
    let mut yearly = false;
    let all = rule.split(';').filter(|p| !p.is_empty()).all(|part| {
        let part = part.to_ascii_uppercase();
        let (key, value) = part.split_once('=').unwrap_or((&part, ""));
        let is = |n: u32| value.parse() == Ok(n);
        match key {
            "FREQ" => {
                yearly = value == "YEARLY";
                yearly
            }
            "INTERVAL" => is(1),
            "BYMONTH" => is(date.month),
            "BYMONTHDAY" => is(date.day),
            "WKST" => true,
            _ => false,
        }
    });
    // A day of the month without its month comes in every month.
    let upper = rule.to_ascii_uppercase();
    all && yearly && (!upper.contains("BYMONTHDAY") || upper.contains("BYMONTH="))
}

/// The days on which an event that repeats begins, to the end of a year, and whether there are later ones.
fn spelled_out(
    first: i64,
    rule: Option<&&Property>,
    more: &[&Property],
    through_year: i32,
) -> Result<(Vec<i64>, bool), String> {
    let compact = |day: i64| whole_date(day).replace('-', "");
    let mut text = format!("DTSTART;VALUE=DATE:{}", compact(first));
    match rule {
        Some(rule) => text.push_str(&format!(" RRULE:{}", rule.value.trim())),
        // Without a rule, the start is one of the dates.
        None => text.push_str(&format!(" RDATE;VALUE=DATE:{}", compact(first))),
    }
    for property in more {
        for value in property.value.split(',') {
            let day = whole_day(&Property {
                value: value.to_owned(),
                ..Property::default()
            })?;
            text.push_str(&format!(" {};VALUE=DATE:{}", property.name, compact(day)));
        }
    }
    let recur = Recur::parse(&text, &Options::default()).map_err(|e| {
        format!("repeats in a way that is not understood ({e}): write its days by hand")
    })?;
    let end = days_of(Date {
        year: through_year.clamp(1, 9_998) + 1,
        month: 1,
        day: 1,
    });
    let mut days: Vec<i64> = Vec::new();
    let mut after = Timestamp::from_ms(first * DAY_MS - 1);
    while let Some(at) = recur.next(after) {
        let day = at.as_ms().div_euclid(DAY_MS);
        if day >= end || days.len() > ENTRIES_MAX {
            return Ok((days, true));
        }
        days.push(day);
        // One question for each day, however often the rule repeats within it.
        after = Timestamp::from_ms((day + 1) * DAY_MS - 1);
    }
    Ok((days, false))
}
