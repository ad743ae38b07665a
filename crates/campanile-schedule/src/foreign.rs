//! Schedules as other systems write them: an error names the form and says what to write here instead. Owns the
//! recognising alone; it is asked only about text that can't be read, and it reads nothing into a schedule.

use std::time::Duration;

use crate::moment::Moment;
use crate::time::{format_duration, parse_duration};
use crate::{Cron, Dialect, Error, Options};

/// Longer texts are no schedule of anybody.
const TEXT_BYTES_MAX: usize = 200;
const YEAR_MS: f64 = 365.0 * 86_400_000.0;

/// What to write instead of a text that another system reads.
pub(super) fn named(text: &str, options: &Options) -> Option<Error> {
    let text = text.trim();
    if text.is_empty() || text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let said = zone_in_text(text)
        .or_else(|| interval(text))
        .or_else(|| call(text, options))
        .or_else(|| random(text, options))
        .or_else(|| systemd(text, options))
        .or_else(|| instant(text))?;
    let message = format!("{} {said}", crate::error::quoted(text));
    Some(Error::new("schedule", 0, message))
}

/// `CRON_TZ=Europe/London 0 2 * * *`, as Go, Kubernetes and some crontabs have it.
fn zone_in_text(text: &str) -> Option<String> {
    let (head, rest) = text.split_once(|c: char| c.is_ascii_whitespace())?;
    let (name, zone) = head.split_once('=')?;
    let meant = ["CRON_TZ", "TZ"]
        .iter()
        .any(|n| n.eq_ignore_ascii_case(name));
    meant.then(|| {
        format!(
            "names its zone in its text: write schedule = \"{}\" and timezone = \"{zone}\"",
            rest.trim()
        )
    })
}

/// `@every 1h30m`, `every 5 minutes`, `PT5M`, `R/…/PT5M`, a bare `10 minutes`, and words for a heartbeat.
fn interval(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let every = |length: Duration| format!("`every {}`", format_duration(length));
    if let Some(rest) = lower.strip_prefix("@every") {
        let length = length(rest)?;
        return Some(format!(
            "is Go's way to say an interval: write {}",
            every(length)
        ));
    }
    if let Some(rest) = lower.strip_prefix("every ") {
        // What is read and refused has its own reason.
        let length = length(rest).filter(|_| parse_duration(rest).is_err())?;
        return Some(format!("spells its unit out: write {}", every(length)));
    }
    if let Some(rest) = lower.strip_prefix("after ") {
        let length = length(rest).filter(|_| parse_duration(rest).is_err())?;
        let length = format_duration(length);
        return Some(format!("spells its unit out: write `after {length}`"));
    }
    if let Some(rest) = lower.strip_prefix("in ") {
        let _ = length(rest)?;
        return Some(
            "is counted from when it is read, which is no instant: write `at` with the instant, as in `at 2026-12-01T08:00:00Z`"
                .to_owned(),
        );
    }
    let word = match lower.as_str() {
        "minutely" | "@minutely" | "@every_minute" => Some("* * * * *"),
        "@secondly" => Some("every 1s"),
        "hourly" | "daily" | "weekly" | "monthly" | "yearly" | "annually" => None,
        "quarterly" | "@quarterly" => Some("0 0 1 */3 *"),
        "semiannually" | "@semiannually" => Some("0 0 1 */6 *"),
        "@once" | "@none" => {
            return Some(
                "names no time: leave the schedule out, or write `at` with the instant".to_owned(),
            );
        }
        _ => Some(""),
    };
    match word {
        None => return Some(format!("is a word: write `@{lower}`")),
        Some("") => {}
        Some(known) => return Some(format!("is another system's word: write `{known}`")),
    }
    let (heartbeat, from) = match lower.strip_prefix("r/").and_then(|r| r.rsplit_once('/')) {
        Some((from, heartbeat)) => (heartbeat.to_owned(), Some(from.to_ascii_uppercase())),
        None => (lower.clone(), None),
    };
    let length =
        iso_length(&heartbeat).or_else(|| length(&heartbeat).filter(|_| from.is_none()))?;
    let anchor = from.map_or(String::new(), |from| format!(" and anchor = \"{from}\""));
    Some(format!(
        "is a length of time alone: write {}{anchor}",
        every(length)
    ))
}

/// `1h30m`, `1.5h`, `5 minutes`, `1 hour and 30 minutes`, `minute`.
fn length(text: &str) -> Option<Duration> {
    let text = text.replace(" and ", " ").replace(',', " ");
    let mut rest = text.trim();
    let mut sum_ms = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let number: f64 = if number.is_empty() {
            1.0
        } else {
            number.parse().ok()?
        };
        let after = after.trim_start();
        let unit = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        sum_ms += number * unit_ms(unit)?;
        rest = after.trim_start();
    }
    of_ms(sum_ms)
}

fn unit_ms(unit: &str) -> Option<f64> {
    Some(match unit {
        "ms" | "millisecond" | "milliseconds" => 1.0,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600_000.0,
        "d" | "day" | "days" => 86_400_000.0,
        "w" | "week" | "weeks" => 604_800_000.0,
        _ => return None,
    })
}

fn of_ms(ms: f64) -> Option<Duration> {
    (1.0..=YEAR_MS)
        .contains(&ms)
        .then(|| Duration::from_secs_f64(ms.round() / 1_000.0))
}

/// `pt5m`, `p1d`, `p1dt12h`, `p2w`.
fn iso_length(text: &str) -> Option<Duration> {
    let (days, times) = match text.strip_prefix('p')?.split_once('t') {
        Some((days, times)) => (days, times),
        None => (text.strip_prefix('p')?, ""),
    };
    // Months and years have no length of their own.
    let plain = days.chars().all(|c| c.is_ascii_digit() || "dw".contains(c));
    let starts = |text: &str| text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit());
    let whole = plain && starts(days) && starts(times);
    whole.then(|| length(&format!("{days} {times}")))?
}

/// `cron(…)`, `rate(…)`, `at(…)` of AWS, `crontab(…)` of Celery.
fn call(text: &str, options: &Options) -> Option<String> {
    let (name, inner) = text.strip_suffix(')')?.split_once('(')?;
    match name.trim().to_ascii_lowercase().as_str() {
        "rate" => {
            let length = length(&inner.to_ascii_lowercase())?;
            Some(format!(
                "is AWS's way to say an interval: write `every {}`",
                format_duration(length)
            ))
        }
        "at" => Some(format!(
            "is AWS's way to name an instant: write `at {}Z`",
            inner.trim()
        )),
        "cron" => {
            let fields = inner.split_ascii_whitespace().count();
            let (expression, dialect) = match fields {
                5 => (inner.trim().to_owned(), Dialect::Unix),
                _ => (format!("0 {}", inner.trim()), Dialect::Quartz),
            };
            reads(&expression, dialect, options).then(|| {
                format!("is AWS's: write schedule = \"{expression}\" and dialect = \"{dialect}\"")
            })
        }
        "crontab" => {
            let expression = celery(inner)?;
            reads(&expression, Dialect::Unix, options)
                .then(|| format!("is Celery's: write schedule = \"{expression}\""))
        }
        _ => None,
    }
}

/// The fields of `minute=0, hour='*/3'`, the missing ones open.
fn celery(inner: &str) -> Option<String> {
    let names = [
        "minute",
        "hour",
        "day_of_month",
        "month_of_year",
        "day_of_week",
    ];
    let mut fields = ["*"; 5].map(str::to_owned);
    let mut last = 0;
    for part in inner.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let Some((name, value)) = part.split_once('=') else {
            // A list within quotes goes on.
            let field = fields.get_mut(last)?;
            field.push_str(&format!(",{}", part.trim_matches(['\'', '"'])));
            continue;
        };
        last = names.iter().position(|n| *n == name.trim())?;
        let value = value.trim().trim_matches(['\'', '"']);
        value.clone_into(fields.get_mut(last)?);
    }
    Some(fields.join(" "))
}

/// `0~59 4 * * *`, as OpenBSD's cron and some of its kin have it.
fn random(text: &str, options: &Options) -> Option<String> {
    let mut fields: Vec<String> = text.split_ascii_whitespace().map(str::to_owned).collect();
    if !(5..=7).contains(&fields.len()) || !text.contains('~') {
        return None;
    }
    let first = fields.len().saturating_sub(5).min(1);
    for (n, field) in fields.iter_mut().enumerate() {
        let Some((from, rest)) = field.split_once('~') else {
            continue;
        };
        let (to, step) = match rest.split_once('/') {
            Some((to, step)) => (to, format!("/{step}")),
            None => (rest, String::new()),
        };
        let (low, high) = match (n + 1).checked_sub(first) {
            Some(0 | 1) => ("0", "59"),
            Some(2) => ("0", "23"),
            Some(3) => ("1", "31"),
            Some(4) => ("1", "12"),
            _ => ("0", "6"),
        };
        let from = if from.is_empty() { low } else { from };
        let to = if to.is_empty() { high } else { to };
        *field = format!("H({from}-{to}){step}");
    }
    let expression = fields.join(" ");
    let named = Options {
        name_for_hash: "any".to_owned(),
        ..options.clone()
    };
    reads(&expression, options.dialect, &named).then(|| {
        format!("has `~` for a time of its own: write schedule = \"{expression}\", where H is the same on every machine")
    })
}

/// `Mon..Fri *-*-* 08:00`, as systemd's timers have it.
fn systemd(text: &str, options: &Options) -> Option<String> {
    let (mut weekdays, mut date, mut time) = (None, None, None);
    for part in text.split_ascii_whitespace() {
        if part.contains(':') {
            time = Some(part);
        } else if part.contains('-') && part.matches('-').count() == 2 {
            date = Some(part);
        } else if part.starts_with(|c: char| c.is_ascii_alphabetic()) {
            weekdays = Some(part);
        } else {
            return None;
        }
    }
    let field = |text: &str| {
        let zeros = |n: &str| match n.trim_start_matches('0') {
            "" => "0".to_owned(),
            rest => rest.to_owned(),
        };
        let item = |item: &str| match item.split_once('/') {
            Some(("00" | "0", step)) => format!("*/{step}"),
            Some((from, step)) => format!(
                "{}/{step}",
                if from == "*" {
                    "*".to_owned()
                } else {
                    zeros(from)
                }
            ),
            None => item
                .split("..")
                .map(|n| if n == "*" { n.to_owned() } else { zeros(n) })
                .collect::<Vec<_>>()
                .join("-"),
        };
        text.split(',').map(item).collect::<Vec<_>>().join(",")
    };
    let named = weekdays.map_or(Some("*".to_owned()), |days| {
        let letters = |day: &str| day.get(..3).map(str::to_ascii_uppercase);
        let item = |item: &str| item.split("..").map(letters).collect::<Option<Vec<_>>>();
        let items = days.trim_end_matches(',').split(',').map(item);
        let items: Option<Vec<String>> = items.map(|i| Some(i?.join("-"))).collect();
        Some(items?.join(","))
    })?;
    let mut parts = date.unwrap_or("*-*-*").split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let mut clock = time.unwrap_or("00:00").split(':');
    let (hour, minute) = (clock.next()?, clock.next()?);
    let plain =
        year == "*" && clock.next().is_none_or(|s| s == "00") && (date.is_some() || time.is_some());
    let expression = format!(
        "{} {} {} {} {named}",
        field(minute),
        field(hour),
        field(day),
        field(month)
    );
    // Two restricted day fields are either of them here, and both of them there.
    let both = day != "*" && named != "*";
    (plain && !both && reads(&expression, Dialect::Unix, options))
        .then(|| format!("is systemd's: write schedule = \"{expression}\""))
}

/// An instant without its word.
fn instant(text: &str) -> Option<String> {
    Moment::parse(text)
        .is_ok()
        .then(|| format!("is an instant alone: write `at {text}`"))
}

fn reads(expression: &str, dialect: Dialect, options: &Options) -> bool {
    let options = Options {
        dialect,
        ..options.clone()
    };
    Cron::parse(expression, &options).is_ok()
}
