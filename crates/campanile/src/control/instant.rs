//! Instants as people say them: whole, or as a wall time in a task's zone. Reads text; never a clock.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use crate::time::Timestamp;

/// Reads `2026-11-22T02:30:00+01:00`, or a wall time of the zone: `2026-11-22 02:30` (the first of two, where a clock
/// that was put back makes two), `02:30` (the latest that is not after `now`).
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse(text: &str, zone: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    if let Ok(instant) = Timestamp::parse(text) {
        return Ok(instant);
    }
    let zone = TimeZone::get(zone).map_err(|e| e.to_string())?;
    if let Ok(civil) = text.parse::<DateTime>() {
        return instant(civil, &zone);
    }
    let wrong = || {
        format!(
            "`{text}` is not an instant: write 2026-11-22T02:30:00+01:00, or 2026-11-22T02:30 or 02:30 in the task's zone"
        )
    };
    let time: Time = text.parse().map_err(|_| wrong())?;
    let today: Date = jiff::Timestamp::from_millisecond(now.as_ms())
        .map_err(|_| wrong())?
        .to_zoned(zone.clone())
        .date();
    let at = instant(today.to_datetime(time), &zone)?;
    if at <= now {
        return Ok(at);
    }
    let yesterday = today.yesterday().map_err(|_| wrong())?;
    instant(yesterday.to_datetime(time), &zone)
}

fn instant(civil: DateTime, zone: &TimeZone) -> Result<Timestamp, String> {
    zone.to_ambiguous_timestamp(civil)
        .compatible()
        .map(|t| Timestamp::from_ms(t.as_millisecond()))
        .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_time_is_of_the_zone_and_the_latest_that_was() {
        let now = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
        for (text, expected) in [
            ("2026-11-22T02:30:00+01:00", "2026-11-22T01:30:00Z"),
            ("2026-11-22T02:30", "2026-11-22T01:30:00Z"),
            ("2026-11-22 02:30", "2026-11-22T01:30:00Z"),
            ("02:30", "2026-11-22T01:30:00Z"),
            ("13:00", "2026-11-22T12:00:00Z"),
            ("13:00:01", "2026-11-21T12:00:01Z"),
        ] {
            let expected = Timestamp::parse(expected).unwrap();
            assert_eq!(parse(text, "Europe/Berlin", now), Ok(expected), "{text}");
        }
        for wrong in ["", "yesterday", "25:00", "2026-13-01 00:00"] {
            assert!(parse(wrong, "UTC", now).is_err(), "{wrong}");
        }
    }
}
