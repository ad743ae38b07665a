//! systemd's time spans (`5min 20s`, systemd.time(7)). Owns their units; a month is 30.44 days there and a year 365.25.

use std::time::Duration;

use crate::error::quoted;

/// Units and their length in microseconds.
const UNITS: [(&[&str], u64); 9] = [
    (&["usec", "us", "µs", "μs"], 1),
    (&["msec", "ms"], 1_000),
    (&["seconds", "second", "sec", "s", ""], 1_000_000),
    (&["minutes", "minute", "min", "m"], 60_000_000),
    (&["hours", "hour", "hr", "h"], 3_600_000_000),
    (&["days", "day", "d"], 86_400_000_000),
    (&["weeks", "week", "w"], 604_800_000_000),
    (&["months", "month", "M"], 2_629_800_000_000),
    (&["years", "year", "y"], 31_557_600_000_000),
];

/// Longer texts are no span.
const TEXT_BYTES_MAX: usize = 200;

/// Reads a span: numbers with their units, one without is seconds. `None` = `infinity`.
///
/// # Errors
/// A sentence that says what is not understood.
///
/// ```
/// use std::time::Duration;
/// use campanile_schedule::on_calendar::span;
///
/// assert_eq!(span("1h 30min"), Ok(Some(Duration::from_secs(5_400))));
/// assert_eq!(span("90"), Ok(Some(Duration::from_secs(90))));
/// assert_eq!(span("infinity"), Ok(None));
/// ```
pub fn span(text: &str) -> Result<Option<Duration>, String> {
    let wrong = || {
        let text = quoted(text);
        format!("{text} is not a time span: write it as in systemd.time(7), 5min 20s")
    };
    let mut rest = text.trim();
    if rest == "infinity" {
        return Ok(None);
    }
    if rest.is_empty() || rest.len() > TEXT_BYTES_MAX {
        return Err(wrong());
    }
    let mut sum_us = 0_u64;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let end = after
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let known = UNITS.iter().find(|(names, _)| names.contains(&unit));
        let (_, unit_us) = known.ok_or_else(wrong)?;
        let part = microseconds(number, *unit_us).ok_or_else(wrong)?;
        sum_us = sum_us.checked_add(part).ok_or_else(wrong)?;
        rest = after.trim_start();
    }
    Ok(Some(Duration::from_micros(sum_us)))
}

/// A number with up to six decimals, in a unit.
fn microseconds(number: &str, unit_us: u64) -> Option<u64> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || decimals.len() > 6 || decimals.contains('.') {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let parts: u64 = if decimals.is_empty() {
        0
    } else {
        decimals.parse().ok()?
    };
    let scale = 10_u64.pow(u32::try_from(decimals.len()).ok()?);
    let parts = u128::from(parts) * u128::from(unit_us) / u128::from(scale);
    whole
        .checked_mul(unit_us)?
        .checked_add(u64::try_from(parts).ok()?)
}
