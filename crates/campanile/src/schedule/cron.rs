//! A cron schedule: allowed wall times in a zone, and what happens to them where the clocks are changed. Owns the
//! mapping between wall time and instants; the search for an allowed wall time is [`Fields`]'s.
//!
//! The rule for clock changes is the one of Debian's cron. A schedule that lists its hours and minutes is about the
//! wall: a time that is left out fires once, at the first instant after the gap, and a time that comes twice fires the
//! first time only. A schedule with `*` or an open step in them is about elapsed time: it fires in both passes, and
//! has nothing to fire in a gap.
//!
//! Evaluation goes by stretches of unchanged offset. Inside one, wall time and instants differ by a constant, so one
//! search answers; at its edges the two rules above are one comparison each. Instants therefore only ever increase.

use std::fmt;

use super::fields::Fields;
use super::parse::{self, Parsed};
use super::zone::{Segment, TimeZoneName};
use super::{Dialect, Error, Options};
use crate::time::Timestamp;

/// Stretches looked at before a search gives up: at the four changes a year of the busiest zones, 250 years. Only a
/// schedule whose every wall time falls into a gap gets there.
const SEGMENTS_MAX: u32 = 1_000;
/// More than any two offsets of one zone differ by: further from a change of the clocks, wall times come in order.
const OFFSETS_APART_MAX_S: i64 = 52 * 3_600;

/// A cron expression in its zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    fields: Fields,
    zone: TimeZoneName,
    text: Box<str>,
    dialect: Dialect,
    /// Whether hours and minutes are listed; see the head of this file.
    fixed_time: bool,
}

impl Cron {
    /// Reads an expression; see [`super::Schedule::parse`].
    ///
    /// # Errors
    /// Names the field that can't be read, and what would be right.
    pub fn parse(text: &str, options: &Options) -> Result<Self, Error> {
        let Parsed {
            fields,
            dialect,
            text,
            fixed_time,
        } = parse::expression(text, options.dialect, &options.name_for_hash)?;
        Ok(Self {
            fields,
            zone: options.timezone.clone(),
            text: text.into(),
            dialect,
            fixed_time,
        })
    }

    /// The dialect that the expression was read in; never [`Dialect::Auto`].
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The zone whose wall time the expression is about.
    #[must_use]
    pub fn timezone(&self) -> &TimeZoneName {
        &self.zone
    }

    /// The first fire time strictly after an instant.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from_s = after.as_ms().div_euclid(1_000) + 1;
        for _ in 0..SEGMENTS_MAX {
            let segment = self.zone.segment_at(from_s);
            let low = self.lowest_wall(&segment, from_s);
            let wall = self.fields.next_wall(low)?;
            let fire_s = (wall - segment.offset_s).max(segment.start_s);
            if fire_s < segment.end_s {
                return instant(fire_s);
            }
            // Nothing is allowed from `low` up to `wall`; only a repeat that reaches below `low` could still hold more.
            let old_end = segment.end_s + segment.offset_s;
            let clear = low <= old_end - OFFSETS_APART_MAX_S;
            from_s = if clear {
                segment.end_s.max(wall - OFFSETS_APART_MAX_S)
            } else {
                segment.end_s
            };
        }
        None
    }

    /// The last fire time strictly before an instant.
    #[must_use]
    pub fn previous(&self, before: Timestamp) -> Option<Timestamp> {
        let mut to_s = (before.as_ms() - 1).div_euclid(1_000);
        for _ in 0..SEGMENTS_MAX {
            let segment = self.zone.segment_at(to_s);
            let high = to_s + segment.offset_s;
            let wall = self.fields.previous_wall(high)?;
            let own_start = segment.start_s.saturating_add(segment.offset_s);
            let lowest = if self.fixed_time {
                segment.old_wall_s
            } else {
                own_start
            };
            if wall >= lowest {
                return instant((wall - segment.offset_s).max(segment.start_s));
            }
            let clear = high >= own_start.saturating_add(OFFSETS_APART_MAX_S);
            let last = segment.start_s.saturating_sub(1);
            to_s = if clear {
                last.min(wall + OFFSETS_APART_MAX_S)
            } else {
                last
            };
        }
        None
    }

    /// The lowest wall time that may fire at or after an instant of a stretch. Where hours and minutes are listed, what
    /// a gap left out belongs to the stretch's first instant, and what comes a second time is over.
    fn lowest_wall(&self, segment: &Segment, from_s: i64) -> i64 {
        let wall = from_s + segment.offset_s;
        match self.fixed_time {
            true if from_s == segment.start_s => segment.old_wall_s,
            true => wall.max(segment.old_wall_s),
            false => wall,
        }
    }
}

/// The instant of a second, if instants reach so far.
fn instant(at_s: i64) -> Option<Timestamp> {
    let ms = at_s.saturating_mul(1_000);
    (Timestamp::MIN.as_ms()..=Timestamp::MAX.as_ms())
        .contains(&ms)
        .then(|| Timestamp::from_ms(ms))
}

impl fmt::Display for Cron {
    /// The expression as it was written, with one space between fields and names in capitals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
