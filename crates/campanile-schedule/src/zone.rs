//! Time zones: a validated name, the stretches of unchanged offset around an instant, and instants as a zone's people
//! write them. Rules come from `jiff` (the system's tz data first, a bundled copy otherwise); nothing here decides
//! what a schedule does about a clock change.

use std::fmt;

use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Error;
use crate::civil::{self, DAY_S};
use crate::time::Timestamp;

/// Up to here the rules of two zones are compared: 2100-01-01.
const COMPARED_UNTIL_S: i64 = 4_102_444_800;

/// The name of a zone that exists, as in `Europe/Berlin`, with its rules (shared between all who hold it). Default:
/// UTC.
#[derive(Clone, PartialEq, Eq)]
pub struct TimeZoneName(TimeZone);

impl TimeZoneName {
    /// Looks a name up, in any case.
    ///
    /// # Errors
    /// Names the field `timezone` when the tz data knows no such zone.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let unknown = || {
            let text = crate::error::quoted(name);
            Error::new(
                "timezone",
                0,
                format!("{text} is not known: write an IANA name, as in Europe/Berlin or UTC"),
            )
        };
        if name.eq_ignore_ascii_case("Z") {
            return Ok(Self::utc());
        }
        let zone = TimeZone::get(name).map_err(|_| unknown())?;
        if zone.iana_name().is_some() {
            Ok(Self(zone))
        } else {
            Err(unknown())
        }
    }

    /// Whether both are one zone: one name, or names for the same rules at all times, as `Europe/Kiev` and
    /// `Europe/Kyiv` are.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let rules = |zone: &Self| {
            let first = jiff::Timestamp::MIN;
            let until = instant(COMPARED_UNTIL_S);
            let changes = zone.0.following(first);
            let changes: Vec<_> = changes
                .take_while(|c| c.timestamp() < until)
                .map(|c| (c.timestamp(), c.offset()))
                .collect();
            (zone.0.to_offset(first), changes)
        };
        self.name() == other.name() || rules(self) == rules(other)
    }

    /// Whether a name is one of this zone's.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name)
            || Self::parse(name).is_ok_and(|other| self.is_same(&other))
    }

    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// The name, in the tz data's own spelling.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// The stretch of unchanged offset that holds an instant (seconds since the epoch).
    pub(super) fn segment_at(&self, at_s: i64) -> Segment {
        let before = self.0.preceding(instant(at_s.saturating_add(1))).next();
        let after = self.0.following(instant(at_s)).next();
        let start_s = before.as_ref().map(|t| t.timestamp().as_second());
        let end_s = after.as_ref().map(|t| t.timestamp().as_second());
        let next_offset_s = after.map(|t| i64::from(t.offset().seconds()));
        Segment {
            start_s: start_s.unwrap_or(i64::MIN),
            end_s: end_s.unwrap_or(i64::MAX),
            offset_s: match before {
                Some(t) => i64::from(t.offset().seconds()),
                None => self.offset_at(at_s),
            },
            old_wall_s: start_s.map_or(i64::MIN, |start| start + self.offset_at(start - 1)),
            next_wall_s: end_s
                .zip(next_offset_s)
                .map_or(i64::MAX, |(end, offset)| end + offset),
        }
    }

    /// What a wall in this zone shows at an instant: milliseconds since 1970-01-01T00:00 on that wall.
    pub(crate) fn wall_ms(&self, at: Timestamp) -> i64 {
        at.as_ms() + self.offset_at(at.as_ms().div_euclid(1_000)) * 1_000
    }

    /// The instant of a wall time in milliseconds: of one that comes twice the first, and one that the clocks leave out
    /// as if they had not been changed.
    pub(crate) fn at_wall_ms(&self, wall_ms: i64) -> Timestamp {
        let (wall_s, ms) = (wall_ms.div_euclid(1_000), wall_ms.rem_euclid(1_000));
        let wall = Offset::UTC.to_datetime(instant(wall_s));
        let at_s = match self.0.to_ambiguous_timestamp(wall).compatible() {
            Ok(t) => t.as_second(),
            Err(_) => wall_s,
        };
        Timestamp::from_ms(at_s * 1_000 + ms)
    }

    /// The first instant of a day (its number since 1970-01-01) on this zone's walls, or of the next day where the
    /// clocks leave the whole day out.
    pub(crate) fn day_start(&self, day: i64) -> Timestamp {
        let wall_s = day * DAY_S;
        let midnight = Offset::UTC.to_datetime(instant(wall_s));
        let at_s = match self.0.to_ambiguous_timestamp(midnight).offset() {
            AmbiguousOffset::Unambiguous { offset } => wall_s - i64::from(offset.seconds()),
            AmbiguousOffset::Fold { before, .. } => wall_s - i64::from(before.seconds()),
            AmbiguousOffset::Gap { before, .. } => {
                self.segment_at(wall_s - i64::from(before.seconds()))
                    .start_s
            }
        };
        Timestamp::from_ms(at_s * 1_000)
    }

    /// Seconds east of UTC at an instant.
    fn offset_at(&self, at_s: i64) -> i64 {
        i64::from(self.0.to_offset(instant(at_s)).seconds())
    }
}

/// The instant of a second; outside of what `jiff` can say, the nearest it can.
fn instant(at_s: i64) -> jiff::Timestamp {
    let nearest = if at_s < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    };
    jiff::Timestamp::from_second(at_s).unwrap_or(nearest)
}

/// A stretch of time in which a zone's offset doesn't change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// The first second, or `i64::MIN`.
    pub(super) start_s: i64,
    /// The first second of the next stretch, or `i64::MAX`.
    pub(super) end_s: i64,
    /// Seconds east of UTC.
    pub(super) offset_s: i64,
    /// What the wall would show at `start_s` had the clock not been changed: below `start_s + offset_s` where wall
    /// time was left out, above it where wall time comes a second time.
    pub(super) old_wall_s: i64,
    /// What the wall shows at `end_s`, with the next stretch's offset; `i64::MAX` without an end.
    pub(super) next_wall_s: i64,
}

impl Segment {
    /// What the wall shows at `start_s`; `i64::MIN` without a start.
    pub(super) fn own_wall_s(&self) -> i64 {
        self.start_s.saturating_add(self.offset_s)
    }

    /// What the wall would show at `end_s` were the clock not changed; `i64::MAX` without an end.
    pub(super) fn end_wall_s(&self) -> i64 {
        self.end_s.saturating_add(self.offset_s)
    }
}

/// Writes an instant as RFC 3339 with the zone's offset there (`Z` when it is none), to the second, or to the
/// millisecond where there are any. Before standard time zones had whole minutes, UTC stands in.
#[must_use]
pub fn format_in_zone(t: Timestamp, zone: &TimeZoneName) -> String {
    let (at_s, ms) = (t.as_ms().div_euclid(1_000), t.as_ms().rem_euclid(1_000));
    let offset_s = zone.offset_at(at_s);
    let offset_s = if offset_s % 60 == 0 { offset_s } else { 0 };
    let wall = at_s + offset_s;
    let date = civil::date_of(wall.div_euclid(DAY_S));
    let s = wall.rem_euclid(DAY_S);
    let mut out = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        date.year,
        date.month,
        date.day,
        s / 3_600,
        s / 60 % 60,
        s % 60
    );
    if ms != 0 {
        out.push_str(&format!(".{ms:03}"));
    }
    if offset_s == 0 {
        out.push('Z');
    } else {
        let sign = if offset_s < 0 { '-' } else { '+' };
        let minutes = offset_s.abs() / 60;
        out.push_str(&format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60));
    }
    out
}

/// The day of the week that a zone's people call an instant, in English.
#[must_use]
pub fn weekday_in_zone(t: Timestamp, zone: &TimeZoneName) -> &'static str {
    let at_s = t.as_ms().div_euclid(1_000);
    match civil::weekday_of((at_s + zone.offset_at(at_s)).div_euclid(DAY_S)) {
        0 => "Sunday",
        1 => "Monday",
        2 => "Tuesday",
        3 => "Wednesday",
        4 => "Thursday",
        5 => "Friday",
        _ => "Saturday",
    }
}

impl Default for TimeZoneName {
    fn default() -> Self {
        Self::utc()
    }
}

impl fmt::Display for TimeZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for TimeZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimeZoneName({})", self.name())
    }
}

impl Serialize for TimeZoneName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for TimeZoneName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let name = String::deserialize(d)?;
        Self::parse(&name).map_err(de::Error::custom)
    }
}
