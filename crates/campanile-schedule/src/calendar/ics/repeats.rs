//! The days on which an event that repeats begins. Owns how RRULE, RDATE, EXRULE and EXDATE add up, in whole days, and
//! the bounds on how much of it is worked out; a rule's own meaning is [`crate::Recur`]'s.

use std::collections::BTreeSet;

use super::days::Moment;
use super::lines::{Event, Property};
use crate::civil::{Date, date_of, days_of};
use crate::fuel::Fuel;
use crate::time::Timestamp;
use crate::{Options, Recur};

const DAY_MS: i64 = super::DAY_MS;

/// The days on which an event begins.
#[derive(Debug, Default)]
pub(super) struct Begins {
    /// Days since 1970-01-01.
    pub(super) days: BTreeSet<i64>,
    /// Whether there are later ones.
    pub(super) cut: bool,
    /// What was read otherwise than it is written.
    pub(super) remarks: Vec<String>,
}

/// What of a file may still be worked out.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) fuel: Fuel,
    /// The first day that is too late.
    pub(super) end: i64,
}

/// Whether an event repeats at all.
pub(super) fn repeats(event: &Event) -> bool {
    ["RRULE", "RDATE", "EXRULE", "EXDATE"]
        .iter()
        .any(|name| !event.filled(name).is_empty())
}

/// Whether an event means its start's month and day in every year.
pub(super) fn is_every_year(event: &Event, first: i64) -> bool {
    let others = ["RDATE", "EXRULE", "EXDATE"];
    let alone = others.iter().all(|name| event.filled(name).is_empty());
    match event.filled("RRULE").as_slice() {
        [rule] => alone && rule_is_every_year(&without_odd_count(&rule.value).0, first),
        _ => false,
    }
}

/// Works out the days.
///
/// # Errors
/// Why they can't be: the event is left out.
pub(super) fn begins(event: &Event, first: i64, budget: &Budget) -> Result<Begins, String> {
    let mut out = Begins::default();
    let rules = event.filled("RRULE");
    // The start is one of the days, whatever the rules say of it only where there is one.
    if rules.is_empty() {
        out.days.insert(first);
    }
    for rule in rules {
        let (text, odd) = without_odd_count(&rule.value);
        if odd {
            let remark =
                "has a COUNT below 1, which is passed over: it repeats by the rest of its rule";
            out.remarks.push(remark.to_owned());
        }
        let (days, cut) = spelled_out(first, &text, budget)?;
        out.days.extend(days);
        out.cut |= cut;
    }
    for date in dates(event, "RDATE") {
        let day = Moment::read(date.split('/').next().unwrap_or_default())?;
        match day.time_s {
            None | Some(0) => out.days.insert(day.day),
            Some(_) => return Err(super::days::timed()),
        };
    }
    for rule in event.filled("EXRULE") {
        let (text, _) = without_odd_count(&rule.value);
        for day in spelled_out(first, &text, budget)?.0 {
            out.days.remove(&day);
        }
    }
    let whole = event
        .get("DTSTART")
        .is_some_and(|p| !p.value.contains(['T', 't']));
    for date in dates(event, "EXDATE") {
        let moment = Moment::read(date)?;
        if let (true, Some(_)) = (whole, moment.time_s) {
            let remark = "names days that are left out with a time of day: they are read as days";
            if !out.remarks.iter().any(|r| r == remark) {
                out.remarks.push(remark.to_owned());
            }
        }
        if !out.days.remove(&moment.day) && moment.utc {
            out.days.remove(&moment.nearest_day());
        }
    }
    Ok(out)
}

fn dates<'e>(event: &'e Event, name: &str) -> impl Iterator<Item = &'e str> {
    let all: Vec<&Property> = event.filled(name);
    let values = all.into_iter().flat_map(|p| p.value.split(','));
    values.map(str::trim).filter(|value| !value.is_empty())
}

/// A rule without a COUNT that says nothing: some programs write -1 beside an UNTIL. Whether there was one.
fn without_odd_count(rule: &str) -> (String, bool) {
    let parts: Vec<&str> = rule.trim().split(';').filter(|p| !p.is_empty()).collect();
    let kept: Vec<&str> = parts
        .iter()
        .copied()
        .filter(|part| !is_odd_count(part))
        .collect();
    (kept.join(";"), kept.len() < parts.len())
}

fn is_odd_count(part: &str) -> bool {
    part.split_once('=').is_some_and(|(key, value)| {
        key.trim().eq_ignore_ascii_case("COUNT")
            && value.trim().parse::<i64>().is_ok_and(|count| count < 1)
    })
}

fn rule_is_every_year(rule: &str, first: i64) -> bool {
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

/// The days of a rule up to the budget's end, and whether there are later ones.
fn spelled_out(first: i64, rule: &str, budget: &Budget) -> Result<(Vec<i64>, bool), String> {
    let Date { year, month, day } = date_of(first);
    // As wall time of UTC: a rule may end at a time of day.
    let text = format!("DTSTART;VALUE=DATE:{year:04}{month:02}{day:02} RRULE:{rule}");
    let recur = Recur::parse(&text, &Options::default()).map_err(|e| {
        format!("repeats in a way that is not understood ({e}): write its days by hand")
    })?;
    let mut days: Vec<i64> = Vec::new();
    let mut after = Timestamp::from_ms(first * DAY_MS - 1);
    while budget.fuel.burn() {
        let Some(at) = recur.next(after) else {
            return Ok((days, false));
        };
        let day = at.as_ms().div_euclid(DAY_MS);
        if day >= budget.end {
            return Ok((days, true));
        }
        days.push(day);
        // One question for each day, however often the rule repeats within it.
        after = Timestamp::from_ms((day + 1) * DAY_MS - 1);
    }
    Ok((days, true))
}

/// The first day after a year.
pub(super) fn end_of(year: i32) -> i64 {
    days_of(Date {
        year: year.clamp(1, 9_998) + 1,
        month: 1,
        day: 1,
    })
}
