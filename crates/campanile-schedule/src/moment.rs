//! Instants as definitions name them: whole, or as a wall time of the zone in which they are read. Owns the form and what a
//! change of the clocks makes of a wall time; it knows no clock.
//!
//! ```
//! use campanile_schedule::{Dst, Moment, TimeZoneName};
//!
//! let berlin = TimeZoneName::parse("Europe/Berlin")?;
//! let moment = Moment::parse("2026-12-01 08:00").unwrap();
//! assert_eq!(moment.to_string(), "2026-12-01T08:00:00");
//! assert_eq!(moment.first_in(&berlin, Dst::default()).to_string(), "2026-12-01T07:00:00.000Z");
//! # Ok::<(), campanile_schedule::Error>(())
//! ```

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::civil::{self, DAY_S};
use crate::error::{Error, quoted};
use crate::fuel::Fuel;
use crate::time::Timestamp;
use crate::walls::{self, Walls};
use crate::zone::TimeZoneName;
use crate::{Dst, Gap, Repeat};

/// Longer texts are no instant, whatever they say.
const TEXT_BYTES_MAX: usize = 60;

/// A time on some wall, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime {
    /// Seconds since 1970-01-01T00:00 on that wall.
    wall_s: i64,
}

/// An instant, or a wall time of whatever zone it is read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// The same everywhere.
    Instant(Timestamp),
    /// A matter of the zone.
    Wall(WallTime),
}

impl WallTime {
    /// Reads `2026-12-01T08:00` or `2026-12-01 08:00:00`: a date and a time, no offset.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            let text = quoted(text);
            format!("{text} is not a wall time: write date and time, as in 2026-12-01T08:00")
        };
        let plain = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | 'T' | 't' | ' ' | '.');
        // A date alone could mean its beginning or its end.
        if text.len() > TEXT_BYTES_MAX || !text.chars().all(plain) || !text.contains(':') {
            return Err(wrong());
        }
        let wall: DateTime = text.trim().parse().map_err(|_| wrong())?;
        if wall.subsec_nanosecond() != 0 {
            let text = quoted(text);
            return Err(format!(
                "{text} has a part of a second: write whole seconds"
            ));
        }
        let at = Offset::UTC.to_timestamp(wall).map_err(|_| wrong())?;
        let wall_s = at.as_second();
        Ok(Self { wall_s })
    }
}

impl fmt::Display for WallTime {
    /// `2026-12-01T08:00:00`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = civil::date_of(self.wall_s.div_euclid(DAY_S));
        let s = self.wall_s.rem_euclid(DAY_S);
        let (hour, minute, second) = (s / 3_600, s / 60 % 60, s % 60);
        write!(
            f,
            "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}",
            date.year, date.month, date.day
        )
    }
}

impl Walls for WallTime {
    fn next_wall(&self, from_s: i64, _: &Fuel) -> Option<i64> {
        (self.wall_s >= from_s).then_some(self.wall_s)
    }

    fn previous_wall(&self, to_s: i64, _: &Fuel) -> Option<i64> {
        (self.wall_s <= to_s).then_some(self.wall_s)
    }
}

impl Moment {
    /// Reads RFC 3339 with an offset, or a wall time without one.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        match Timestamp::parse(text) {
            Ok(at) => Ok(Self::Instant(at)),
            Err(wrong) => match WallTime::parse(text) {
                Ok(wall) => Ok(Self::Wall(wall)),
                Err(part) if part.contains("part of a second") => Err(part),
                Err(_) => Err(wrong),
            },
        }
    }

    /// Its instant in a zone, as the beginning of something: of a wall time that comes twice the first, unless the last
    /// alone fires there; of one that the clocks leave out what `dst.gap` makes of it, and the first instant after the
    /// gap where that is nothing.
    #[must_use]
    pub fn first_in(&self, zone: &TimeZoneName, dst: Dst) -> Timestamp {
        self.edge_in(zone, dst, Repeat::First)
    }

    /// Its instant in a zone, as the end of something: likewise, but of a wall time that fires twice the last.
    #[must_use]
    pub fn last_in(&self, zone: &TimeZoneName, dst: Dst) -> Timestamp {
        self.edge_in(zone, dst, Repeat::Last)
    }

    fn edge_in(&self, zone: &TimeZoneName, dst: Dst, of_both: Repeat) -> Timestamp {
        let wall = match self {
            Self::Instant(at) => return *at,
            Self::Wall(wall) => wall,
        };
        let dst = Dst {
            gap: match dst.gap {
                Gap::Skip => Gap::NextValid,
                other => other,
            },
            repeat: match dst.repeat {
                Repeat::Both => of_both,
                other => other,
            },
        };
        let found = walls::next(wall, zone, dst, Timestamp::MIN, &Fuel::endless());
        found.unwrap_or_else(|| zone.at_wall_ms(wall.wall_s.saturating_mul(1_000)))
    }
}

impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self::Instant(at)
    }
}

impl fmt::Display for Moment {
    /// What [`Moment::parse`] reads back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instant(at) => at.fmt(f),
            Self::Wall(wall) => wall.fmt(f),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// One wall time of a zone as a schedule: once, or twice where the clocks show it twice and both count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    wall: WallTime,
    zone: TimeZoneName,
    dst: Dst,
}

impl Once {
    /// # Errors
    /// If the clocks leave it out, and what they leave out does not fire.
    pub(super) fn new(wall: WallTime, zone: TimeZoneName, dst: Dst) -> Result<Self, Error> {
        let once = Self { wall, zone, dst };
        let (fuel, zone) = (Fuel::endless(), &once.zone);
        if once.next_by(Timestamp::MIN, &fuel).is_none() {
            let message = format!(
                "never fires: the clocks of {zone} leave {wall} out, and dst.gap is \"skip\": write another time, or \
                 dst.gap = \"next-valid\""
            );
            return Err(Error::never("at", 0, message));
        }
        Ok(once)
    }

    /// The wall time.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        self.wall
    }

    /// The zone whose wall it is on.
    #[must_use]
    pub fn timezone(&self) -> &TimeZoneName {
        &self.zone
    }

    pub(super) fn next_by(&self, after: Timestamp, fuel: &Fuel) -> Option<Timestamp> {
        walls::next(&self.wall, &self.zone, self.dst, after, fuel)
    }

    pub(super) fn previous_by(&self, before: Timestamp, fuel: &Fuel) -> Option<Timestamp> {
        walls::previous(&self.wall, &self.zone, self.dst, before, fuel)
    }
}
