//! Instants as people say them: whole, or as a wall time in a task's zone. Reads text; never a clock.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use crate::time::Timestamp;

/// Reads `2026-11-22T02:30:00+01:00`, or a wall time of the zone: `2026-11-22 02:30` (the first of two, where a clock
/// that was put back makes two), `02:30` (of the day that it is in the zone, passed or to come).
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
    instant(today.to_datetime(time), &zone)
}

/// An instant for people: on the wall of the zone, with the UTC behind it; in UTC alone where that is the zone.
#[must_use]
pub fn show(at: Timestamp, zone: &str) -> String {
    let local = TimeZone::get(zone).ok().and_then(|tz| {
        let instant = jiff::Timestamp::from_millisecond(at.as_ms()).ok()?;
        Some(instant.to_zoned(tz))
    });
    match local {
        Some(local) if local.time_zone() != &TimeZone::UTC && !is_utc(zone) => {
            format!("{} {zone} ({at})", local.strftime("%Y-%m-%dT%H:%M:%S%:z"))
        }
        _ => at.to_string(),
    }
}

/// Whether a zone's wall always shows UTC.
#[must_use]
pub fn is_utc(zone: &str) -> bool {
    let names = [
        "UTC",
        "Z",
        "Etc/UTC",
        "Etc/UCT",
        "UCT",
        "Zulu",
        "Etc/Zulu",
        "Universal",
        "Etc/Universal",
    ];
    names.iter().any(|name| name.eq_ignore_ascii_case(zone))
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
    fn an_instant_is_shown_on_the_wall_of_its_zone_and_in_utc() {
        let at = Timestamp::parse("2026-10-25T01:30:00Z").unwrap();
        assert_eq!(
            show(at, "Europe/Berlin"),
            "2026-10-25T02:30:00+01:00 Europe/Berlin (2026-10-25T01:30:00.000Z)"
        );
        for utc in ["UTC", "Etc/UTC", "Nowhere/At_All"] {
            assert_eq!(show(at, utc), "2026-10-25T01:30:00.000Z", "{utc}");
        }
    }

    #[test]
    fn a_wall_time_is_of_the_zone_and_of_its_day() {
        let now = Timestamp::parse("2026-11-22T12:00:00Z").unwrap();
        for (text, expected) in [
            ("2026-11-22T02:30:00+01:00", "2026-11-22T01:30:00Z"),
            ("2026-11-22T02:30", "2026-11-22T01:30:00Z"),
            ("2026-11-22 02:30", "2026-11-22T01:30:00Z"),
            ("02:30", "2026-11-22T01:30:00Z"),
            ("13:00", "2026-11-22T12:00:00Z"),
            ("13:00:01", "2026-11-22T12:00:01Z"),
            ("23:59", "2026-11-22T22:59:00Z"),
        ] {
            let expected = Timestamp::parse(expected).unwrap();
            assert_eq!(parse(text, "Europe/Berlin", now), Ok(expected), "{text}");
        }
        for wrong in ["", "yesterday", "25:00", "2026-13-01 00:00"] {
            assert!(parse(wrong, "UTC", now).is_err(), "{wrong}");
        }
    }
}
