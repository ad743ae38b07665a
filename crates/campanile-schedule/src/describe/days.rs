//! The days of a sentence: days of the month, days of the week, how the two go together, and months.

use super::words::{Shape, listed, numbers, ordinal, runs, shape};
use crate::fields::{ALL_DATES, ALL_WEEKDAYS, Days, Fields};

pub(super) const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// The days that `W` knows.
const WEEKDAY: &str = "weekday (Monday to Friday)";

/// What follows the times. `daily`: whether ` every day` is said where nothing is restricted.
pub(super) fn phrase(fields: &Fields, daily: bool) -> String {
    let days = fields.days.plain();
    let month = Months(fields.months);
    let dates = dates(&days).map(|dates| format!("on {dates} of {}", month.of()));
    let Some(dates) = dates else {
        return match weekdays(&days, month) {
            Some(weekdays) if weekdays.starts_with("on ") => format!(" {weekdays}"),
            Some(weekdays) => format!(", {weekdays}"),
            None if daily => format!(" every day{}", month.alone()),
            None => month.apart(),
        };
    };
    match weekdays(&days, month) {
        None => format!(" {dates}"),
        Some(weekdays) if days.either => format!(" {dates}, and also {weekdays}"),
        Some(_) => format!(" {dates}, if that is {}", alternatives(&days)),
    }
}

/// The allowed months.
#[derive(Clone, Copy)]
struct Months(u64);

impl Months {
    fn names(self) -> Option<String> {
        let months = numbers(self.0);
        if months.len() == 12 {
            return None;
        }
        let name = |month: u32| name(&MONTHS, month.saturating_sub(1)).to_owned();
        let parts: Vec<String> = runs(&months)
            .into_iter()
            .map(|(from, to)| match from == to {
                true => name(from),
                false => format!("{} to {}", name(from), name(to)),
            })
            .collect();
        Some(listed(&parts, "and"))
    }

    /// After ` of `.
    fn of(self) -> String {
        self.names().unwrap_or_else(|| "each month".to_owned())
    }

    /// ` in March`; nothing for all.
    fn alone(self) -> String {
        self.names()
            .map_or_else(String::new, |names| format!(" in {names}"))
    }

    /// `, in March`; nothing for all.
    fn apart(self) -> String {
        self.names()
            .map_or_else(String::new, |names| format!(", in {names}"))
    }
}

fn name<'a>(names: &[&'a str], n: u32) -> &'a str {
    usize::try_from(n)
        .ok()
        .and_then(|n| names.get(n).copied())
        .unwrap_or_default()
}

/// `the 1st, the 15th and the last day`; `None` where every day of the month is allowed.
fn dates(days: &Days) -> Option<String> {
    if days.dates == ALL_DATES {
        return None;
    }
    let mut parts = Vec::new();
    let dates = numbers(u64::from(days.dates));
    match shape(&dates, 1, 31) {
        Shape::Steps { step, from, to } if to + step > 31 => {
            parts.push(format!(
                "every {} day from the {}",
                ordinal(step),
                ordinal(from)
            ));
        }
        Shape::Steps { step, from, to } => {
            let (from, to) = (ordinal(from), ordinal(to));
            parts.push(format!(
                "every {} day from the {from} to the {to}",
                ordinal(step)
            ));
        }
        _ => parts.extend(runs(&dates).into_iter().map(|(from, to)| match from == to {
            true => format!("the {}", ordinal(from)),
            false => format!("the {} to the {}", ordinal(from), ordinal(to)),
        })),
    }
    let near = numbers(u64::from(days.near)).into_iter();
    parts.extend(near.map(|day| format!("the {WEEKDAY} nearest to the {}", ordinal(day))));
    let before_last = |n: u32| match n {
        0 => "the last day".to_owned(),
        n => format!("the {} day before the last", ordinal(n)),
    };
    parts.extend(
        numbers(u64::from(days.from_last))
            .into_iter()
            .map(before_last),
    );
    let near_last = numbers(u64::from(days.near_from_last)).into_iter();
    parts.extend(near_last.map(|n| match n {
        0 => format!("the last {WEEKDAY}"),
        n => format!("the {WEEKDAY} nearest to {}", before_last(n)),
    }));
    Some(listed(&parts, "and"))
}

/// `Monday to Friday`, `on Mondays and on the last Friday of each month`; `None` where every day of the week is
/// allowed.
fn weekdays(days: &Days, months: Months) -> Option<String> {
    if days.weekdays == ALL_WEEKDAYS {
        return None;
    }
    let in_months = numbered(days);
    let plain = match week_run(days.weekdays) {
        Some((from, to)) => Some(format!("{from} to {to}")),
        None if days.weekdays == 0 => None,
        None => {
            let names = week(days.weekdays).map(|name| format!("{name}s"));
            Some(format!("on {}", listed(&names.collect::<Vec<_>>(), "and")))
        }
    };
    let plain = plain.map(|plain| match in_months.is_empty() {
        true => format!(
            "{plain}{}",
            match plain.starts_with("on ") {
                true => months.alone(),
                false => months.apart(),
            }
        ),
        false => format!("{plain}{}", months.alone()),
    });
    let numbered = (!in_months.is_empty())
        .then(|| format!("on {} of {}", listed(&in_months, "and"), months.of()));
    let parts: Vec<String> = plain.into_iter().chain(numbered).collect();
    Some(parts.join(", and "))
}

/// What the day of the week must be, after `if that is `.
fn alternatives(days: &Days) -> String {
    let plain = match week_run(days.weekdays) {
        Some((from, to)) => vec![format!("{from} to {to}")],
        None => week(days.weekdays)
            .map(|name| format!("a {name}"))
            .collect(),
    };
    let all: Vec<String> = plain.into_iter().chain(numbered(days)).collect();
    listed(&all, "or")
}

/// `the 2nd Monday`, `the last Friday`.
fn numbered(days: &Days) -> Vec<String> {
    let mut out = Vec::new();
    for (nth, set) in (1..).zip(days.nth_weekdays) {
        out.extend(week(set).map(|name| format!("the {} {name}", ordinal(nth))));
    }
    out.extend(week(days.last_weekdays).map(|name| format!("the last {name}")));
    out
}

/// The names of a set of days of the week, from Monday to Sunday.
fn week(set: u8) -> impl Iterator<Item = &'static str> {
    [1_u32, 2, 3, 4, 5, 6, 0]
        .into_iter()
        .filter(move |day| set >> day & 1 == 1)
        .map(|day| name(&WEEKDAYS, day))
}

/// The first and the last day of three or more that follow each other, also around the end of the week.
fn week_run(set: u8) -> Option<(&'static str, &'static str)> {
    let count = set.count_ones();
    if !(3..7).contains(&count) {
        return None;
    }
    let has = |day: u32| set >> (day % 7) & 1 == 1;
    let first = (0..7).find(|day| has(*day) && !has(*day + 6))?;
    let unbroken = (first..first + count).all(has);
    let last = (first + count - 1) % 7;
    unbroken.then(|| (name(&WEEKDAYS, first), name(&WEEKDAYS, last)))
}
