//! Calendars: named sets of days and hours on which tasks (whatever is due) rest. Owns what a calendar is, what a valid one looks like and
//! whether it excludes an instant; what becomes of an occurrence that it excludes is [`crate::Timetable`]'s.
//! No clock, no file, no store.
//!
//! A calendar lists dates, ranges, weekdays and weekly hours. Tasks rest in what is listed, or, with `mode = "include"`,
//! in all that is not. [`ics`] makes one from the file of a calendar program.

pub mod ics;
mod listed;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::listed::Listed;
use crate::TimeZoneName;
use crate::check::check_zone;
use crate::check::{Invalid, check_name};
use crate::civil::DAY_S;
use crate::time::Timestamp;

/// Dates of one calendar, and as many ranges: a century of public holidays is a tenth of it.
pub const ENTRIES_MAX: usize = 10_000;
/// Stretches of weekly hours of one calendar.
pub const HOURS_MAX: usize = 500;
/// A calendar's description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1_000;

const DAY_MS: i64 = DAY_S * 1_000;

/// A calendar as people define it: the same in TOML, YAML, JSON and the API. Unknown keys are refused by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarSpec {
    /// Unique among calendars; letters, digits, `.`, `_`, `-`, at most 200 bytes.
    pub name: String,
    /// What it is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether tasks rest in what is listed, or in all else.
    #[serde(default, skip_serializing_if = "Mode::is_exclude")]
    pub mode: Mode,
    /// IANA zone in which its days and hours are meant; absent = that of the task that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Days: `2026-12-25`, or `12-25` for every year.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dates: Vec<String>,
    /// Ranges of days.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<DayRange>,
    /// Whole weekdays: `SAT`, or `SAT-SUN`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weekdays: Vec<String>,
    /// Hours of every week.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hours: Vec<Hours>,
}

/// What being listed means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Tasks rest in what is listed.
    #[default]
    Exclude,
    /// Tasks run in what is listed, and rest in all else.
    Include,
}

impl Mode {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands a reference to the field"
    )]
    fn is_exclude(&self) -> bool {
        *self == Self::Exclude
    }
}

/// Days from one to another, both included. Both are dates, or both are days of every year (`12-24` to `01-06` goes
/// over the new year).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DayRange {
    /// The first day.
    pub from: String,
    /// The last day.
    pub to: String,
}

/// A part of some days of every week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// The weekdays on which it begins: `MON`, `MON-FRI`; absent = all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<String>,
    /// `HH:MM`, the first moment of it.
    pub from: String,
    /// `HH:MM` up to `24:00`, the first moment after it; one that is earlier than `from` is of the next day.
    pub to: String,
}

/// A calendar as the store keeps it, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// What people wrote.
    pub spec: CalendarSpec,
    /// Grows with every change.
    pub version: i64,
    listed: Listed,
    zone: Option<TimeZoneName>,
}

impl CalendarSpec {
    /// Checks every field against the limits.
    ///
    /// # Errors
    /// The first field at fault (`ranges[2].to`), with what would be valid.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.read().map(drop)
    }

    fn read(&self) -> Result<(Listed, Option<TimeZoneName>), Invalid> {
        check_name("name", &self.name)?;
        let described = self.description.as_ref().map_or(0, String::len);
        if described > DESCRIPTION_BYTES_MAX {
            let message = format!(
                "{described} bytes are over the limit of {DESCRIPTION_BYTES_MAX}: write a sentence"
            );
            return Err(Invalid::new("description", message));
        }
        for (field, count, max) in [
            ("dates", self.dates.len(), ENTRIES_MAX),
            ("ranges", self.ranges.len(), ENTRIES_MAX),
            ("weekdays", self.weekdays.len(), 7),
            ("hours", self.hours.len(), HOURS_MAX),
        ] {
            if count > max {
                let message = format!(
                    "has {count} entries, over the limit of {max}: write ranges, or a second calendar"
                );
                return Err(Invalid::new(field, message));
            }
        }
        self.timezone.as_deref().map_or(Ok(()), check_zone)?;
        let zone = self.timezone.as_deref().map(TimeZoneName::parse);
        let zone = zone
            .transpose()
            .map_err(|e| Invalid::new("timezone", e.message))?;
        let listed = Listed::of(self)?;
        if self.mode == Mode::Include && listed.is_empty() {
            let message = "lists nothing, so its tasks would never run: write dates, ranges, weekdays or hours";
            return Err(Invalid::new("mode", message));
        }
        Ok((listed, zone))
    }
}

impl Calendar {
    /// Reads a definition into the form that answers fast.
    ///
    /// # Errors
    /// As [`CalendarSpec::validate`].
    pub fn compile(spec: CalendarSpec, version: i64) -> Result<Self, Invalid> {
        let (listed, zone) = spec.read()?;
        Ok(Self {
            spec,
            version,
            listed,
            zone,
        })
    }

    /// Whether it excludes an instant, seen on the wall clocks of its own zone, or of `zone` (the task's) if it has
    /// none.
    #[must_use]
    pub fn excludes(&self, at: Timestamp, zone: &TimeZoneName) -> bool {
        let zone = self.zone.as_ref().unwrap_or(zone);
        let listed = self.listed.has(zone.wall_ms(at).div_euclid(1_000));
        listed == (self.spec.mode == Mode::Exclude)
    }

    /// Whether it may exclude anything from one instant up to before another. `false` is certain.
    pub(crate) fn rests_within(
        &self,
        from: Timestamp,
        until: Timestamp,
        zone: &TimeZoneName,
    ) -> bool {
        let zone = self.zone.as_ref().unwrap_or(zone);
        // A day more on each side: where the clocks go back over midnight, walls show yesterday again.
        let first = zone.wall_ms(from).div_euclid(DAY_MS) - 1;
        let last = (zone.wall_ms(until) - 1).div_euclid(DAY_MS) + 1;
        (first..=last).any(|day| match self.spec.mode {
            Mode::Exclude => self.listed.touches(day),
            Mode::Include => !self.listed.covers(day),
        })
    }
}
