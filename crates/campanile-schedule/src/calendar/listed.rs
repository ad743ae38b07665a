//! What a calendar lists, as numbers: days since 1970-01-01, days of every year, weekdays, and seconds of a week. Owns
//! the reading of a calendar's entries and the search in them; whether being listed means work or rest is the
//! calendar's. It knows no zone: it is asked about wall time.

use super::{CalendarSpec, DayRange, Hours};
use crate::check::Invalid;
use crate::civil::{DAY_S, Date, date_of, days_in_month, days_of, weekday_of};

const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const WEEK_S: i64 = 7 * DAY_S;
/// Any leap year: days of every year are checked against it.
const LEAP_YEAR: i32 = 2_000;

const DAY_REMEDY: &str =
    "write a date, as in 2026-12-25, or month and day for every year, as in 12-25";
const WEEKDAY_REMEDY: &str = "write SUN, MON, TUE, WED, THU, FRI, SAT or a range, as in MON-FRI";
const TIME_REMEDY: &str = "write hours and minutes, as in 08:30, up to 24:00";

/// The entries of a calendar.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Listed {
    /// First and last day of stretches, in order, none touching another.
    spans: Box<[(i64, i64)]>,
    /// Bit d of month m - 1: the day d of that month, in every year.
    yearly: [u32; 12],
    /// Bit w: the weekday w, Sunday 0.
    weekdays: u32,
    /// Second of the week at which stretches begin and end, in order, none touching another.
    hours: Box<[(i64, i64)]>,
}

/// A day as people write it.
enum Day {
    Once(i64),
    Yearly(Date),
}

impl Listed {
    /// Reads the entries.
    pub(super) fn of(spec: &CalendarSpec) -> Result<Self, Invalid> {
        let mut listed = Self::default();
        let mut spans = Vec::with_capacity(spec.dates.len() + spec.ranges.len());
        for (n, text) in spec.dates.iter().enumerate() {
            match day(text).ok_or_else(|| wrong(format!("dates[{n}]"), text, DAY_REMEDY))? {
                Day::Once(day) => spans.push((day, day)),
                Day::Yearly(date) => listed.add_yearly(date),
            }
        }
        for (n, range) in spec.ranges.iter().enumerate() {
            listed.add_range(&mut spans, n, range)?;
        }
        listed.weekdays = weekdays("weekdays", &spec.weekdays)?;
        let mut hours = Vec::new();
        for (n, entry) in spec.hours.iter().enumerate() {
            add_hours(&mut hours, n, entry)?;
        }
        // Days are whole: the one after the last of a stretch touches it. Seconds are not: `to` is the first after.
        listed.spans = merged(spans, 1);
        listed.hours = merged(hours, 0);
        Ok(listed)
    }

    /// Whether nothing is listed.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a second on the wall is listed.
    pub(super) fn has(&self, wall_s: i64) -> bool {
        self.has_day(wall_s.div_euclid(DAY_S)) || {
            let s = second_of_week(wall_s);
            let at = self.hours.partition_point(|(from, _)| *from <= s);
            at > 0 && self.hours.get(at - 1).is_some_and(|(_, to)| s < *to)
        }
    }

    /// Whether any part of a day is listed.
    pub(super) fn touches(&self, day: i64) -> bool {
        let start = second_of_week(day * DAY_S);
        let overlaps = |(from, to): &(i64, i64)| *from < start + DAY_S && start < *to;
        self.has_day(day) || self.hours.iter().any(overlaps)
    }

    /// Whether the whole of a day is listed.
    pub(super) fn covers(&self, day: i64) -> bool {
        let start = second_of_week(day * DAY_S);
        let covers = |(from, to): &(i64, i64)| *from <= start && start + DAY_S <= *to;
        self.has_day(day) || self.hours.iter().any(covers)
    }

    fn has_day(&self, day: i64) -> bool {
        if self.weekdays >> weekday_of(day) & 1 == 1 {
            return true;
        }
        let at = self.spans.partition_point(|(first, _)| *first <= day);
        if at > 0 && self.spans.get(at - 1).is_some_and(|(_, last)| day <= *last) {
            return true;
        }
        self.yearly.iter().any(|days| *days != 0) && {
            let date = date_of(day);
            self.yearly[month_index(date)] >> date.day & 1 == 1
        }
    }

    fn add_yearly(&mut self, date: Date) {
        self.yearly[month_index(date)] |= 1 << date.day;
    }

    fn add_range(
        &mut self,
        spans: &mut Vec<(i64, i64)>,
        n: usize,
        range: &DayRange,
    ) -> Result<(), Invalid> {
        let read = |name: &str, text: &String| {
            day(text).ok_or_else(|| wrong(format!("ranges[{n}].{name}"), text, DAY_REMEDY))
        };
        match (read("from", &range.from)?, read("to", &range.to)?) {
            (Day::Once(from), Day::Once(to)) if from <= to => spans.push((from, to)),
            (Day::Once(_), Day::Once(_)) => {
                let remedy = format!("is before `from` ({}): write a later day", range.from);
                return Err(wrong(format!("ranges[{n}].to"), &range.to, &remedy));
            }
            (Day::Yearly(from), Day::Yearly(to)) => {
                let (mut day, last) = (days_of(from), days_of(to));
                // Over the new year where the last day comes first.
                let last = if last < day { last + 366 } else { last };
                while day <= last {
                    self.add_yearly(date_of(if day >= next_year() { day - 366 } else { day }));
                    day += 1;
                }
            }
            _ => {
                let remedy =
                    "must be of one kind with `from`: write two dates, or month and day in both";
                return Err(wrong(format!("ranges[{n}].to"), &range.to, remedy));
            }
        }
        Ok(())
    }
}

fn next_year() -> i64 {
    days_of(Date {
        year: LEAP_YEAR + 1,
        month: 1,
        day: 1,
    })
}

/// 0 to 11.
fn month_index(date: Date) -> usize {
    usize::try_from(date.month.clamp(1, 12) - 1).unwrap_or(0)
}

/// Seconds since Sunday's midnight.
fn second_of_week(wall_s: i64) -> i64 {
    i64::from(weekday_of(wall_s.div_euclid(DAY_S))) * DAY_S + wall_s.rem_euclid(DAY_S)
}

fn wrong(field: String, text: &str, remedy: &str) -> Invalid {
    let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    Invalid {
        field,
        message: format!("`{shown}`: {remedy}"),
    }
}

/// Reads `2026-12-25`, or `12-25` in the leap year that stands for all.
fn day(text: &str) -> Option<Day> {
    let number = |digits: &str, width: usize| -> Option<u32> {
        let plain = digits.len() == width && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok())?
    };
    let parts: Vec<&str> = text.split('-').collect();
    let (year, month, day) = match parts.as_slice() {
        [year, month, day] => (Some(number(year, 4)?), number(month, 2)?, number(day, 2)?),
        [month, day] => (None, number(month, 2)?, number(day, 2)?),
        _ => return None,
    };
    let date = Date {
        year: year.map_or(Some(LEAP_YEAR), |y| i32::try_from(y).ok())?,
        month,
        day,
    };
    let exists = (1..=12).contains(&month)
        && (1..=days_in_month(date.year, month)).contains(&day)
        && date.year > 0;
    exists.then(|| match year {
        Some(_) => Day::Once(days_of(date)),
        None => Day::Yearly(date),
    })
}

/// Reads names of weekdays and ranges of them, which may go over Saturday (`FRI-MON`), into a set.
fn weekdays(field: &str, texts: &[String]) -> Result<u32, Invalid> {
    let number = |name: &str| {
        let name = name.trim();
        WEEKDAYS.iter().position(|w| w.eq_ignore_ascii_case(name))
    };
    let mut set = 0;
    for (n, text) in texts.iter().enumerate() {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(wrong(format!("{field}[{n}]"), text, WEEKDAY_REMEDY));
        };
        for step in 0..=(last + 7 - first) % 7 {
            set |= 1 << ((first + step) % 7);
        }
    }
    Ok(set)
}

/// Reads `HH:MM` into seconds of a day.
fn time_of_day(text: &str) -> Option<i64> {
    let (hour, minute) = text.split_once(':')?;
    let two = |digits: &str| -> Option<i64> {
        let plain = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok())?
    };
    let s = two(hour)? * 3_600 + Some(two(minute)?).filter(|m| *m < 60)? * 60;
    (s <= DAY_S).then_some(s)
}

fn add_hours(hours: &mut Vec<(i64, i64)>, n: usize, entry: &Hours) -> Result<(), Invalid> {
    let read = |name: &str, text: &String| {
        time_of_day(text).ok_or_else(|| wrong(format!("hours[{n}].{name}"), text, TIME_REMEDY))
    };
    let (from, to) = (read("from", &entry.from)?, read("to", &entry.to)?);
    if from == to || from == DAY_S {
        let remedy =
            "would be empty or a whole day: write another time, or `weekdays` for whole days";
        return Err(wrong(format!("hours[{n}].to"), &entry.to, remedy));
    }
    let set = match entry.days.as_slice() {
        [] => 0x7f,
        days if days.len() > WEEKDAYS.len() => {
            let count = format!("{} entries", days.len());
            return Err(wrong(format!("hours[{n}].days"), &count, WEEKDAY_REMEDY));
        }
        days => weekdays(&format!("hours[{n}].days"), days)?,
    };
    let to = if to < from { to + DAY_S } else { to };
    for weekday in (0..7).filter(|w| set >> w & 1 == 1) {
        let start = weekday * DAY_S;
        hours.push((start + from, (start + to).min(WEEK_S)));
        if start + to > WEEK_S {
            hours.push((0, start + to - WEEK_S));
        }
    }
    Ok(())
}

/// Puts stretches in order and joins those that overlap or have no more than `apart` between end and begin.
fn merged(mut stretches: Vec<(i64, i64)>, apart: i64) -> Box<[(i64, i64)]> {
    stretches.sort_unstable();
    let mut out: Vec<(i64, i64)> = Vec::with_capacity(stretches.len());
    for (from, to) in stretches {
        match out.last_mut() {
            Some((_, end)) if from <= *end + apart => *end = to.max(*end),
            _ => out.push((from, to)),
        }
    }
    out.into_boxed_slice()
}
