//! Which days an event takes, from its start to its end, in the spellings that programs have for "all day". Owns the
//! reading of dates and durations; what repeats is [`super::repeats`]'s.

use super::lines::{Event, Property};
use crate::civil::{DAY_S, Date, days_in_month, days_of};

/// The longest event, in days: ten years.
const DAYS_MAX: i64 = 3_660;

/// A date, with the time on the wall where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Days since 1970-01-01.
    pub(super) day: i64,
    /// Seconds since midnight; `None` for a date alone.
    pub(super) time_s: Option<i64>,
    /// Whether the time is UTC's, by whose midnight no calendar goes.
    pub(super) utc: bool,
}

impl Moment {
    /// Reads `20261225`, `20261225T000000` or `20261225T000000Z`.
    pub(super) fn read(value: &str) -> Result<Self, String> {
        let value = value.trim();
        let (date, rest) = value.split_at_checked(8).ok_or_else(|| unreadable(value))?;
        let day = day_of(date).ok_or_else(|| unreadable(value))?;
        if rest.is_empty() {
            let (time_s, utc) = (None, false);
            return Ok(Self { day, time_s, utc });
        }
        let digits = rest.trim_end_matches(['Z', 'z']).strip_prefix(['T', 't']);
        let time_s = digits.and_then(time_of).ok_or_else(|| unreadable(value))?;
        Ok(Self {
            day,
            time_s: Some(time_s),
            utc: rest.ends_with(['Z', 'z']),
        })
    }

    fn seconds(self) -> i64 {
        self.day * DAY_S + self.time_s.unwrap_or(0)
    }

    /// The day whose midnight is nearest: what a program means that writes whole days as instants of UTC.
    pub(super) fn nearest_day(self) -> i64 {
        (self.seconds() + DAY_S / 2).div_euclid(DAY_S)
    }
}

/// The first day of an event and how many it lasts.
pub(super) fn of(event: &Event) -> Result<(i64, i64), String> {
    let start = event
        .get("DTSTART")
        .ok_or("has no DTSTART: it happens at no time")?;
    let start = Moment::read(&start.value)?;
    let end = event
        .get("DTEND")
        .map(|p| Moment::read(&p.value))
        .transpose()?;
    let lasts = event.get("DURATION").map(duration_s).transpose()?;
    if end.is_some_and(|end| end.day < start.day) {
        return Err("ends before it begins: DTEND is before DTSTART".to_owned());
    }
    if event.says("X-MICROSOFT-CDO-ALLDAYEVENT", "TRUE") {
        return all_day(start, end, lasts);
    }
    let length = match (start.time_s, end, lasts) {
        (Some(s), _, _) if s != 0 => return Err(timed()),
        // Some programs write the same day at both ends of one day.
        (_, Some(end), _) => days_until(start.day, end)?,
        (_, None, Some(lasts)) => whole_days(lasts).ok_or_else(timed)?,
        (None, None, None) => 1,
        (Some(_), None, None) => {
            return Err("has a time of day and no end: write it by hand".to_owned());
        }
    };
    bounded(start.day, length)
}

fn bounded(first: i64, length: i64) -> Result<(i64, i64), String> {
    if length > DAYS_MAX {
        return Err(format!(
            "lasts {length} days, over the limit of {DAYS_MAX}: write it by hand"
        ));
    }
    Ok((first, length.max(1)))
}

/// Outlook says that an event is of whole days, and writes its ends as instants, often of UTC.
fn all_day(start: Moment, end: Option<Moment>, lasts: Option<i64>) -> Result<(i64, i64), String> {
    let first = start.nearest_day();
    let length = match (end, lasts) {
        (Some(end), _) => (end.seconds() - start.seconds() + DAY_S / 2).div_euclid(DAY_S),
        (None, Some(lasts)) => (lasts + DAY_S / 2).div_euclid(DAY_S),
        (None, None) => 1,
    };
    bounded(first, length)
}

/// Days up to an end, which is the midnight after the last or that day's last second or minute.
fn days_until(first: i64, end: Moment) -> Result<i64, String> {
    match end.time_s {
        None | Some(0) => Ok(end.day - first),
        Some(s) if is_last_moment(s) => Ok(end.day - first + 1),
        Some(_) => Err(timed()),
    }
}

/// 23:59:59, 23:59:00: how programs write the end of a day.
const fn is_last_moment(second_of_day: i64) -> bool {
    second_of_day == DAY_S - 1 || second_of_day == DAY_S - 60
}

/// A duration as days, if it is of whole ones, or a second or a minute short of them.
fn whole_days(seconds: i64) -> Option<i64> {
    let rest = seconds.rem_euclid(DAY_S);
    match rest {
        0 => Some(seconds / DAY_S),
        rest if is_last_moment(rest) => Some(seconds / DAY_S + 1),
        _ => None,
    }
}

pub(super) fn timed() -> String {
    "has a time of day: write it under `hours` by hand if tasks shall rest then".to_owned()
}

pub(super) fn unreadable(value: &str) -> String {
    let shown: String = value
        .chars()
        .take(40)
        .flat_map(char::escape_debug)
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

/// `235959` as a second of the day.
fn time_of(time: &str) -> Option<i64> {
    let plain = time.len() == 6 && time.bytes().all(|b| b.is_ascii_digit());
    let number = |from, to| time.get(from..to).filter(|_| plain)?.parse::<i64>().ok();
    let (hour, minute, second) = (number(0, 2)?, number(2, 4)?, number(4, 6)?);
    (hour < 24 && minute < 60 && second <= 60).then(|| hour * 3_600 + minute * 60 + second.min(59))
}

/// `P1W`, `P1D`, `PT24H`, `P1DT0H0M0S` in seconds.
fn duration_s(property: &Property) -> Result<i64, String> {
    let value = property.value.trim().to_ascii_uppercase();
    let wrong = || unreadable(&value);
    let mut rest = value
        .strip_prefix('+')
        .unwrap_or(&value)
        .strip_prefix('P')
        .filter(|rest| !rest.is_empty())
        .ok_or_else(wrong)?;
    let (mut total, mut in_time) = (0_i64, false);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            (in_time, rest) = (true, after);
            continue;
        }
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: i64 = rest
            .get(..digits)
            .and_then(|d| d.parse().ok())
            .ok_or_else(wrong)?;
        let unit = rest[digits..].chars().next().ok_or_else(wrong)?;
        let seconds = match (unit, in_time) {
            ('W', false) => 7 * DAY_S,
            ('D', false) => DAY_S,
            ('H', true) => 3_600,
            ('M', true) => 60,
            ('S', true) => 1,
            _ => return Err(wrong()),
        };
        let part = number
            .checked_mul(seconds)
            .filter(|s| *s <= DAYS_MAX * DAY_S);
        total = total.saturating_add(part.ok_or_else(wrong)?);
        rest = &rest[digits + unit.len_utf8()..];
    }
    Ok(total)
}
