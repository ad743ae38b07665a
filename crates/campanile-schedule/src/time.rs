//! Instants and durations in whole milliseconds, and how people write them. This file owns the type and its arithmetic; it
//! never reads a clock.
//!
//! Milliseconds everywhere, because DATETIME columns round silently and a rounded instant breaks the unique key
//! (task, due instant).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An instant: milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// 9999-12-31T23:59:59.999Z: the last instant that RFC 3339 can spell.
const LAST_MS: i64 = 253_402_300_799_999;
/// 0001-01-01T00:00:00Z.
const FIRST_MS: i64 = -62_135_596_800_000;

impl Timestamp {
    /// The earliest instant.
    pub const MIN: Self = Self(FIRST_MS);
    /// The latest instant.
    pub const MAX: Self = Self(LAST_MS);

    /// An instant from milliseconds since the epoch, clamped into the years 1 to 9999.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        if ms < FIRST_MS {
            Self(FIRST_MS)
        } else if ms > LAST_MS {
            Self(LAST_MS)
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// This instant moved later, clamped at [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self::from_ms(self.0.saturating_add(duration_ms(by)))
    }

    /// This instant moved earlier, clamped at [`Timestamp::MIN`].
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self::from_ms(self.0.saturating_sub(duration_ms(by)))
    }

    /// How long ago `earlier` was; zero if it is later than `self`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads an RFC 3339 instant with a zone offset (`2026-12-01T08:00:00+01:00`).
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.parse::<jiff::Timestamp>()
            .map(|t| Self::from_ms(t.as_millisecond()))
            .map_err(|_| unreadable(text))
    }
}

/// What is wrong with a text that is no instant.
fn unreadable(text: &str) -> String {
    let is_wall = |text: &str| text.parse::<jiff::civil::DateTime>().is_ok();
    let time = text.split(['T', 't', ' ']).nth(1).unwrap_or_default();
    let is_whole = match text.strip_suffix(['Z', 'z']) {
        Some(wall) => is_wall(wall),
        None => time.contains(['+', '-']) && is_wall(text),
    };
    if is_whole {
        return format!(
            "`{text}` is out of range: write an instant from 0001-01-01T00:00:00Z to 9999-12-30T22:00:00Z"
        );
    }
    if is_wall(text) {
        return format!(
            "`{text}` has no offset: write 2026-12-01T08:00:00+01:00, or 2026-12-01T07:00:00Z in UTC"
        );
    }
    format!(
        "`{text}` is not an instant: write RFC 3339 with an offset, as in 2026-12-01T08:00:00+01:00"
    )
}

impl fmt::Display for Timestamp {
    /// RFC 3339 UTC with three digits of milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// A duration in whole milliseconds, saturating.
#[must_use]
pub fn duration_ms(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

/// Reads a duration as people write it: `250ms`, `10s`, `5m`, `2h`, `1d`, `2w`, or several parts (`1m30s`). A day is 24
/// hours and a week seven such days, whatever the clocks do.
///
/// # Errors
/// A sentence that says what was expected.
///
/// ```
/// use campanile_schedule::time::{format_duration, parse_duration};
///
/// assert_eq!(format_duration(parse_duration("90m")?), "1h30m");
/// assert_eq!(format_duration(parse_duration("2w")?), "14d");
/// # Ok::<(), String>(())
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "`{text}` is not a duration: write a number and a unit (ms, s, m, h, d, w), as in 30s or 1m30s"
        )
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit_end = rest[digits..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |at| digits + at);
        let unit_ms: u64 = match rest[digits..unit_end].trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return Err(wrong()),
        };
        total_ms = number
            .checked_mul(unit_ms)
            .and_then(|part| total_ms.checked_add(part))
            .ok_or_else(wrong)?;
        rest = &rest[unit_end..];
    }
    Ok(Duration::from_millis(total_ms))
}

/// Writes a duration so that [`parse_duration`] reads it back: the largest units first, none that is zero.
#[must_use]
pub fn format_duration(d: Duration) -> String {
    let mut ms = u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, unit_ms) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ] {
        if ms >= unit_ms {
            out.push_str(&format!("{}{unit}", ms / unit_ms));
            ms %= unit_ms;
        }
    }
    out
}

/// Serde for durations as people write them: `#[serde(with = "campanile_schedule::time::duration")]`.
pub mod duration {
    use super::{
        Deserialize, Deserializer, Duration, Serializer, de, format_duration, parse_duration,
    };

    /// Writes `1m30s`.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&format_duration(*d))
    }

    /// Reads `1m30s`.
    ///
    /// # Errors
    /// What was expected, when the text is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(d)?;
        parse_duration(&text).map_err(de::Error::custom)
    }
}

/// The same for a duration that may be absent or null: `#[serde(with = "campanile_schedule::time::optional_duration")]`.
pub mod optional_duration {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    /// Writes `1m30s`, or null.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S: Serializer>(d: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
        match d {
            Some(d) => super::duration::serialize(d, s),
            None => s.serialize_none(),
        }
    }

    /// Reads `1m30s`, or null.
    ///
    /// # Errors
    /// What was expected, when the text is no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
        #[derive(Deserialize)]
        struct Wrapped(#[serde(with = "super::duration")] Duration);
        Ok(Option::<Wrapped>::deserialize(d)?.map(|w| w.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_what_they_wrote() {
        for text in ["250ms", "10s", "1m30s", "2h", "1d2h3m4s5ms", "0s"] {
            let d = parse_duration(text).unwrap();
            assert_eq!(format_duration(d), text);
        }
        assert_eq!(parse_duration("1w2d"), parse_duration("9d"));
        for wrong in ["", "10", "s", "1x", "-1s", "99999999999999999d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn instants_print_milliseconds_and_read_offsets() {
        let t = Timestamp::parse("2026-12-01T08:00:00+01:00").unwrap();
        assert_eq!(t.to_string(), "2026-12-01T07:00:00.000Z");
        assert!(Timestamp::parse("2026-12-01 08:00").is_err());
        assert_eq!(Timestamp::from_ms(i64::MAX), Timestamp::MAX);
    }
}
