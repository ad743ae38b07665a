//! The text of a calendar event, taken apart into sets. Owns the grammar of systemd.time(7); what the sets are good for is
//! the parent's.

use crate::error::quoted;
use crate::fields::{YEAR_FIELD_MAX, YEAR_FIELD_MIN};
use crate::zone::TimeZoneName;

/// The days of the week, as bits from 0.
pub(super) const WEEKDAYS: [&str; 7] = ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
const WEEKDAYS_LONG: [&str; 7] = [
    "MONDAY",
    "TUESDAY",
    "WEDNESDAY",
    "THURSDAY",
    "FRIDAY",
    "SATURDAY",
    "SUNDAY",
];

/// Shorthands and what they stand for.
const SHORTHANDS: [(&str, &str); 12] = [
    ("minutely", "*-*-* *:*:00"),
    ("hourly", "*-*-* *:00:00"),
    ("daily", "*-*-* 00:00:00"),
    ("weekly", "Mon *-*-* 00:00:00"),
    ("monthly", "*-*-01 00:00:00"),
    ("quarterly", "*-01,04,07,10-01 00:00:00"),
    ("semiannually", "*-01,07-01 00:00:00"),
    ("semi-annually", "*-01,07-01 00:00:00"),
    ("biannually", "*-01,07-01 00:00:00"),
    ("bi-annually", "*-01,07-01 00:00:00"),
    ("yearly", "*-01-01 00:00:00"),
    ("annually", "*-01-01 00:00:00"),
];

/// Days counted from a month's end: bit 1 is the last one. None = days are counted from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Last(pub(super) u32);

/// What an event allows; `None` = everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Event {
    /// Monday is bit 0.
    pub(super) weekdays: Option<u8>,
    pub(super) years: Option<Vec<u32>>,
    pub(super) months: Option<u64>,
    pub(super) days: Option<u64>,
    pub(super) last: Last,
    pub(super) hours: Option<u64>,
    pub(super) minutes: Option<u64>,
    pub(super) seconds: Option<u64>,
    pub(super) timezone: Option<String>,
}

/// Reads an event.
pub(super) fn event(text: &str) -> Result<Event, String> {
    let strange = |part: &str| {
        format!(
            "{} is not understood in {}: write it as in systemd.time(7)",
            quoted(part),
            quoted(text)
        )
    };
    let mut parts: Vec<&str> = text.split_ascii_whitespace().collect();
    let timezone = zone_of(&mut parts)?;
    let expanded = match parts.as_slice() {
        [] => return Err("an empty calendar event names no time".to_owned()),
        [word] => SHORTHANDS
            .iter()
            .find(|(s, _)| s.eq_ignore_ascii_case(word)),
        _ => None,
    };
    if let Some((_, meaning)) = expanded {
        parts = meaning.split(' ').collect();
    }
    let mut event = Event {
        timezone,
        ..Event::default()
    };
    let mut rest = parts.as_slice();
    if let [word, after @ ..] = rest
        && word.starts_with(|c: char| c.is_ascii_alphabetic())
    {
        let days = weekdays(word).ok_or_else(|| strange(word))?;
        event.weekdays = (days != 0b111_1111).then_some(days);
        rest = after;
    }
    if let [word, after @ ..] = rest
        && !word.contains(':')
    {
        date(&mut event, word).ok_or_else(|| strange(word))?;
        rest = after;
    }
    match rest {
        [] => {
            let midnight = Some(1);
            (event.hours, event.minutes, event.seconds) = (midnight, midnight, midnight);
        }
        [word] => time(&mut event, word).map_err(|e| e.unwrap_or_else(|| strange(word)))?,
        [_, word, ..] => return Err(strange(word)),
    }
    Ok(event)
}

/// The zone behind an event, taken away from its parts.
fn zone_of(parts: &mut Vec<&str>) -> Result<Option<String>, String> {
    let Some(last) = parts.last().copied() else {
        return Ok(None);
    };
    let lower = last.to_ascii_lowercase();
    let letters = last.starts_with(|c: char| c.is_ascii_alphabetic());
    let shorthand = SHORTHANDS.iter().any(|(s, _)| *s == lower);
    if !letters || shorthand || weekdays(last).is_some() || parts.len() < 2 {
        return Ok(None);
    }
    let zone = TimeZoneName::parse(last).map_err(|e| e.to_string())?;
    parts.pop();
    Ok(Some(zone.name().to_owned()))
}

/// `Mon,Wed..Fri`
fn weekdays(text: &str) -> Option<u8> {
    let day = |name: &str| {
        let name = name.to_ascii_uppercase();
        let is = |names: &[&str; 7]| names.iter().position(|n| *n == name);
        is(&WEEKDAYS).or_else(|| is(&WEEKDAYS_LONG))
    };
    let mut set = 0;
    for item in text.trim_end_matches(',').split(',') {
        let (from, to) = item
            .split_once("..")
            .or_else(|| item.split_once('-'))
            .unwrap_or((item, item));
        let (from, to) = (day(from)?, day(to)?);
        if from > to {
            return None;
        }
        for n in from..=to {
            set |= 1 << n;
        }
    }
    Some(set)
}

/// `2026-*-01`, `05~07/1`
fn date(event: &mut Event, text: &str) -> Option<()> {
    let from_end = text.contains('~');
    let (before, day) = match text.rsplit_once('~') {
        Some(parts) => parts,
        None => text.rsplit_once('-')?,
    };
    let (year, month) = match before.rsplit_once('-') {
        Some((year, month)) => (year, month),
        None => ("*", before),
    };
    let (low, high) = (u32::from(YEAR_FIELD_MIN), u32::from(YEAR_FIELD_MAX));
    event.years = chain(year, low, high, &|n| match n {
        0..=69 => n + 2_000,
        70..=99 => n + 1_900,
        n => n,
    })?
    .map(|items| items.iter().flat_map(|i| i.numbers(high)).collect())
    .map(|mut years: Vec<u32>| {
        years.sort_unstable();
        years.dedup();
        years
    });
    event.months = set(month, 1, 12)?;
    if !from_end {
        event.days = set(day, 1, 31)?;
        return Some(());
    }
    let Some(items) = chain(day, 1, 31, &|n| n)? else {
        return Some(());
    };
    for item in items {
        // The first of a range is the furthest from the month's end, and steps lead towards it.
        let (from, to) = match item.to {
            Some(to) => (to, item.from),
            None if item.step.is_some() => (item.from, 1),
            None => (item.from, item.from),
        };
        let step = usize::try_from(item.step.unwrap_or(1)).ok()?;
        for n in (to..=from).rev().step_by(step) {
            event.last.0 |= 1 << n;
        }
    }
    Some(())
}

/// `08:00`, `*:0/15:30`; `None` in an error = not understood at all.
fn time(event: &mut Event, text: &str) -> Result<(), Option<String>> {
    let parts: Vec<&str> = text.split(':').collect();
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] => (*hour, *minute, "00"),
        [hour, minute, second] => (*hour, *minute, *second),
        _ => return Err(None),
    };
    let fraction = |item: &str| {
        let numbers = item.split("..").flat_map(|part| part.split('/'));
        let mut parts = numbers.filter_map(|n| n.split_once('.'));
        parts.any(|(_, part)| part.bytes().any(|b| b != b'0'))
    };
    if second.split(',').any(fraction) {
        let text = quoted(text);
        return Err(Some(format!(
            "{text} has parts of a second: schedules know whole seconds"
        )));
    }
    let whole = |text: &str| {
        let items = text.split(',').map(|item| {
            let ranges = item.split("..").map(|part| {
                let numbers = part.split('/').map(|n| n.split('.').next().unwrap_or(n));
                numbers.collect::<Vec<_>>().join("/")
            });
            ranges.collect::<Vec<_>>().join("..")
        });
        items.collect::<Vec<_>>().join(",")
    };
    event.hours = set(hour, 0, 23).ok_or(None)?;
    event.minutes = set(minute, 0, 59).ok_or(None)?;
    event.seconds = set(&whole(second), 0, 59).ok_or(None)?;
    Ok(())
}

/// One of a list: `5`, `1..7`, `0/15`, `1..20/5`.
#[derive(Debug, Clone, Copy)]
struct Item {
    from: u32,
    to: Option<u32>,
    step: Option<u32>,
}

impl Item {
    fn numbers(self, high: u32) -> impl Iterator<Item = u32> {
        let to = match (self.to, self.step) {
            (Some(to), _) => to,
            (None, Some(_)) => high,
            (None, None) => self.from,
        };
        let step = usize::try_from(self.step.unwrap_or(1)).unwrap_or(1);
        (self.from..=to).step_by(step.max(1))
    }
}

/// A component as a set of bits; `Some(None)` = `*`.
fn set(text: &str, low: u32, high: u32) -> Option<Option<u64>> {
    let items = chain(text, low, high, &|n| n)?;
    Some(items.map(|items| {
        let numbers = items.into_iter().flat_map(|item| item.numbers(high));
        numbers.fold(0, |set, n| set | 1 << n)
    }))
}

/// A component as a list; `Some(None)` = `*`.
fn chain(text: &str, low: u32, high: u32, meant: &dyn Fn(u32) -> u32) -> Option<Option<Vec<Item>>> {
    if text == "*" {
        return Some(None);
    }
    let number = |text: &str| {
        let plain = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse::<u32>().ok()).flatten()
    };
    let within = |n: u32| Some(meant(n)).filter(|n| (low..=high).contains(n));
    let item = |text: &str| {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|s| *s > 0)?)),
            None => (text, None),
        };
        let (from, to) = match range.split_once("..") {
            Some((from, to)) => (from, Some(within(number(to)?)?)),
            None => (range, None),
        };
        let from = within(number(from)?)?;
        let in_order = to.is_none_or(|to| from <= to);
        in_order.then_some(Item { from, to, step })
    };
    let items: Option<Vec<Item>> = text.split(',').map(item).collect();
    Some(Some(items?))
}
