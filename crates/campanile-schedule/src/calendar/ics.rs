//! Calendars from iCalendar files (RFC 5545), as calendar programs and lists of public holidays are published. Owns what
//! of an event becomes days of a calendar; it reads a text, never a file or an address.
//!
//! Events that last whole days are taken; all else is named in the remarks, so that nothing is left out in silence: each
//! event is counted as taken, or has its remark.
//! Whether an event is shown as free or busy does not matter: lists of holidays mark theirs as free.
//!
//! ```
//! use campanile_schedule::calendar::ics;
//!
//! let file = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:New Year\nDTSTART;VALUE=DATE:20260101\nRRULE:FREQ=YEARLY\n\
//!             END:VEVENT\nEND:VCALENDAR\n";
//! let imported = ics::parse(file, "holidays", 2036)?;
//! assert_eq!((imported.taken, imported.spec.dates), (1, vec!["01-01".to_owned()]));
//! # Ok::<(), campanile_schedule::Invalid>(())
//! ```

mod days;
mod groups;
mod lines;
mod repeats;
#[cfg(test)]
mod tests;

use std::fmt;

use self::groups::Group;
use self::lines::Event;
use self::repeats::Budget;
use super::{CalendarSpec, DayRange};
use crate::check::Invalid;
use crate::civil::{Date, date_of};
use crate::fuel::Fuel;
use crate::limits;

/// Longer files are refused.
pub const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// More days than this are written as ranges wherever they touch.
const DATES_APART_MAX: usize = 1_000;

const DAY_MS: i64 = super::DAY_MS;

/// A calendar that was made from a file, and what there is to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The calendar; valid.
    pub spec: CalendarSpec,
    /// What was left out, in whole or in part.
    pub remarks: Vec<Remark>,
    /// How many events were taken, changes of single days among them.
    pub taken: usize,
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

/// What becomes of a file's events.
#[derive(Debug, Default)]
struct Days {
    /// Days of every year, by any year of theirs.
    yearly: Vec<Span>,
    once: Vec<Span>,
    remarks: Vec<Remark>,
    taken: usize,
}

/// Reads the bytes of a file; see [`parse`].
///
/// # Errors
/// Also bytes that are not UTF-8, with their line.
pub fn parse_bytes(bytes: &[u8], name: &str, through_year: i32) -> Result<Imported, Invalid> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = bytes.get(..e.valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        let byte = bytes.get(e.valid_up_to()).copied().unwrap_or_default();
        let message =
            format!("line {line}: the byte 0x{byte:02X} is not UTF-8: save the file as UTF-8");
        Invalid::new("ics", message)
    })?;
    parse(text, name, through_year)
}

/// Makes a calendar of an iCalendar text. Events that repeat for ever without being the same day of every year are
/// spelled out to the end of `through_year`.
///
/// # Errors
/// `ics`, if the text is no calendar file or would take too much to be worked out, and what
/// [`CalendarSpec::validate`] refuses (a name, too many days).
pub fn parse(text: &str, name: &str, through_year: i32) -> Result<Imported, Invalid> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!(
            "{} bytes are over the limit of {TEXT_BYTES_MAX}: leave out what has passed",
            text.len()
        );
        return Err(Invalid::new("ics", message));
    }
    let file = lines::read(text)?;
    let budget = Budget {
        fuel: Fuel::of(limits::ICS_STEPS_MAX),
        end: repeats::end_of(through_year),
    };
    let mut days = Days {
        remarks: file.remarks,
        ..Days::default()
    };
    let (groups, left_out) = groups::of(&file.events);
    for (event, message) in left_out {
        days.leave_out(event, message);
    }
    for group in &groups {
        days.add(group, through_year, &budget);
        if days.once.len() > limits::ICS_DAYS_MAX || budget.fuel.check().is_err() {
            let line = group
                .event
                .or(group.changes.first().map(|(_, e)| *e))
                .map_or(0, |e| e.line);
            let message = format!(
                "line {line}: with the events up to here, over {} days would be spelled out: name an earlier year \
                 (--through), or leave events out",
                limits::ICS_DAYS_MAX
            );
            return Err(Invalid::new("ics", message));
        }
    }
    let spec = days.calendar(name, file.name);
    spec.validate()?;
    days.remarks.sort_by_key(|r| r.line);
    Ok(Imported {
        spec,
        remarks: days.remarks,
        taken: days.taken,
    })
}

impl Days {
    fn remark(&mut self, event: &Event, left_out: bool, message: String) {
        self.remarks.push(Remark {
            line: event.line,
            entry: event.summary.clone(),
            left_out,
            message,
        });
    }

    fn leave_out(&mut self, event: &Event, message: String) {
        self.remark(event, true, message);
    }

    fn add(&mut self, group: &Group<'_>, through_year: i32, budget: &Budget) {
        let mut changed = group.changes.clone();
        if let Some(event) = group.event {
            if is_cancelled(event) {
                for (_, change) in changed.drain(..) {
                    let message = "changes a day of an event that is cancelled";
                    self.leave_out(change, message.to_owned());
                }
            }
            match self.add_event(event, &mut changed, through_year, budget) {
                Ok(()) => self.taken += 1,
                Err(message) => self.leave_out(event, message),
            }
        }
        for (_, change) in changed {
            if is_cancelled(change) {
                let message = "cancels a day that no event of the file has";
                self.leave_out(change, message.to_owned());
                continue;
            }
            // A day that was moved, or one whose event is not in the file.
            match days::of(change) {
                Ok((first, length)) => {
                    self.once.push((first, first + length - 1));
                    self.taken += 1;
                }
                Err(message) => self.leave_out(change, message),
            }
        }
    }

    /// Adds the days of an event but those that are changed, and takes those that are cancelled out of the changes.
    fn add_event(
        &mut self,
        event: &Event,
        changes: &mut Vec<(i64, &Event)>,
        through_year: i32,
        budget: &Budget,
    ) -> Result<(), String> {
        if is_cancelled(event) {
            return Err("is cancelled".to_owned());
        }
        let (first, length) = days::of(event)?;
        let span = |day: i64| (day, day + length - 1);
        if !repeats::repeats(event) && changes.is_empty() {
            self.once.push(span(first));
            return Ok(());
        }
        if changes.is_empty() && length < 366 && repeats::is_every_year(event, first) {
            self.yearly.push(span(first));
            return Ok(());
        }
        let mut begins = repeats::begins(event, first, budget)?;
        let mut cancelled = 0;
        changes.retain(|(day, change)| {
            let was = begins.days.remove(day);
            let done = was && is_cancelled(change);
            cancelled += usize::from(done);
            !done
        });
        self.taken += cancelled;
        self.once.extend(begins.days.into_iter().map(span));
        for remark in begins.remarks {
            self.remark(event, false, remark);
        }
        if begins.cut {
            let message =
                format!("goes on after {through_year}: read the file again before that year ends");
            self.remark(event, false, message);
        }
        Ok(())
    }

    /// The days as a calendar has them: each once, in order.
    fn calendar(&mut self, name: &str, description: Option<String>) -> CalendarSpec {
        let mut spec = CalendarSpec {
            name: name.to_owned(),
            description,
            ..CalendarSpec::default()
        };
        self.once.sort_unstable();
        self.once.dedup();
        if self.once.len() > DATES_APART_MAX {
            self.once = joined(&self.once);
        }
        for span in &self.yearly {
            add(&mut spec, *span, month_and_day);
        }
        for span in &self.once {
            add(&mut spec, *span, whole_date);
        }
        spec.dates.sort_unstable();
        spec.dates.dedup();
        spec.ranges
            .sort_unstable_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
        spec.ranges.dedup();
        spec
    }
}

/// Spans in order, those that touch made one.
fn joined(spans: &[Span]) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::new();
    for (first, last) in spans {
        match out.last_mut() {
            Some((_, end)) if *first <= *end + 1 => *end = (*end).max(*last),
            _ => out.push((*first, *last)),
        }
    }
    out
}

fn is_cancelled(event: &Event) -> bool {
    event.says("STATUS", "CANCELLED")
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
