//! Instants as people say them: whole, or as a wall time in a zone. Reads text; never a clock.
//!
//! ```
//! use campanile_schedule::{Timestamp, instant};
//!
//! let now = Timestamp::parse("2026-11-22T12:00:00Z")?;
//! let at = instant::parse("02:30", "Europe/Berlin", now)?;
//! assert_eq!(instant::show(at, "Europe/Berlin"), "2026-11-22T02:30:00+01:00 Europe/Berlin (2026-11-22T01:30:00.000Z)");
//! # Ok::<(), String>(())
//! ```

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use crate::time::Timestamp;

/// What a person's text means on the wall of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    /// One instant.
    One(Timestamp),
    /// A wall time that the clocks show twice.
    Twice(Timestamp, Timestamp),
    /// A wall time that the clocks leave out.
    LeftOut {
        /// The first instant after the gap.
        next_valid: Timestamp,
        /// The wall time had the clock not been changed.
        shifted: Timestamp,
    },
}

/// Reads `2026-11-22T02:30:00+01:00`, or a wall time of the zone: `2026-11-22 02:30` (the first of two, where a clock
/// that was put back makes two), `02:30` (of the day that it is in the zone, passed or to come).
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse(text: &str, zone: &str, now: Timestamp) -> Result<Timestamp, String> {
    read(text, zone, now).map(|meant| match meant {
        Meant::One(at) | Meant::Twice(at, _) | Meant::LeftOut { shifted: at, .. } => at,
    })
}

/// The same, and what the clocks do to it. An instant with the offset from before a gap, which no wall shows, is one that
/// is left out.
///
/// # Errors
/// As [`parse`].
pub fn read(text: &str, zone: &str, now: Timestamp) -> Result<Meant, String> {
    let text = text.trim();
    let wall = text.parse::<DateTime>();
    if let Ok(at) = Timestamp::parse(text) {
        let zone = TimeZone::get(zone).ok();
        let meant = wall.ok().zip(zone).map(|(wall, zone)| meant(wall, &zone));
        return Ok(match meant {
            Some(Ok(left_out @ Meant::LeftOut { shifted, .. })) if shifted == at => left_out,
            _ => Meant::One(at),
        });
    }
    let zone = TimeZone::get(zone).map_err(|e| e.to_string())?;
    if let Ok(wall) = wall {
        return meant(wall, &zone);
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
    meant(today.to_datetime(time), &zone)
}

/// Both instants of the wall time that a zone shows at one, if it shows it twice.
#[must_use]
pub fn shown_twice(at: Timestamp, zone: &str) -> Option<(Timestamp, Timestamp)> {
    let zone = TimeZone::get(zone).ok()?;
    let instant = jiff::Timestamp::from_millisecond(at.as_ms()).ok()?;
    let wall = instant.to_zoned(zone.clone()).datetime();
    match meant(wall, &zone).ok()? {
        Meant::Twice(first, last) => Some((first, last)),
        _ => None,
    }
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

fn meant(wall: DateTime, zone: &TimeZone) -> Result<Meant, String> {
    let by = |offset: Offset| {
        let at = offset.to_timestamp(wall).map_err(|e| e.to_string())?;
        Ok::<_, String>(Timestamp::from_ms(at.as_millisecond()))
    };
    Ok(match zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } => Meant::One(by(offset)?),
        AmbiguousOffset::Fold { before, after } => Meant::Twice(by(before)?, by(after)?),
        AmbiguousOffset::Gap { before, after } => {
            let before_change = after.to_timestamp(wall).map_err(|e| e.to_string())?;
            let change = zone.following(before_change).next();
            let change = change.map(|t| Timestamp::from_ms(t.timestamp().as_millisecond()));
            let shifted = by(before)?;
            Meant::LeftOut {
                next_valid: change.unwrap_or(shifted),
                shifted,
            }
        }
    })
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

    #[test]
    fn a_wall_time_at_a_change_of_the_clocks_is_left_out_or_comes_twice() {
        let at = |text| Timestamp::parse(text).unwrap();
        let gap = Meant::LeftOut {
            next_valid: at("2026-03-29T01:00:00Z"),
            shifted: at("2026-03-29T01:30:00Z"),
        };
        let fold = (at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z"));
        for (text, expected) in [
            ("2026-03-29T02:30", gap),
            ("2026-03-29T02:30:00+01:00", gap),
            (
                "2026-03-29T03:30:00+02:00",
                Meant::One(at("2026-03-29T01:30:00Z")),
            ),
            (
                "2026-03-29T01:30:00Z",
                Meant::One(at("2026-03-29T01:30:00Z")),
            ),
            ("2026-10-25T02:30", Meant::Twice(fold.0, fold.1)),
            ("2026-10-25T02:30:00+01:00", Meant::One(fold.1)),
        ] {
            assert_eq!(read(text, "Europe/Berlin", fold.0), Ok(expected), "{text}");
        }
        assert_eq!(shown_twice(fold.1, "Europe/Berlin"), Some(fold));
        assert_eq!(shown_twice(fold.1, "UTC"), None);
    }
}
