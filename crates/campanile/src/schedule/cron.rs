//! A cron schedule: allowed wall times in a zone, and what happens to them where the clocks are changed. Owns the
//! mapping between wall time and instants; the search for an allowed wall time is [`Fields`]'s.
//!
//! A schedule that lists its hours and minutes is about the wall, and its [`Dst`] says what happens to a time that is
//! left out and to one that comes twice; the default is the rule of Debian's cron. A schedule with `*` or an open step
//! in hours or minutes is about elapsed time, whatever its [`Dst`] says: it fires in both passes, and has nothing to
//! fire in a gap.
//!
//! Evaluation goes by stretches of unchanged offset. Inside one, wall time and instants differ by a constant, so one
//! search answers; what happens at its edges is which wall times belong to it, and for shifted times a second search
//! with the old offset. Instants therefore only ever increase.

use std::fmt;

use super::fields::Fields;
use super::parse::{self, Parsed};
use super::zone::{Segment, TimeZoneName};
use super::{Dialect, Dst, Error, Gap, Options, Repeat};
use crate::time::Timestamp;

/// Stretches looked at before a search gives up: at the four changes a year of the busiest zones, 250 years. Only a
/// schedule whose every wall time falls into a gap gets there.
pub(super) const SEGMENTS_MAX: u32 = 1_000;
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
    listed: bool,
    dst: Dst,
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
            listed,
        } = parse::expression(text, options.dialect, &options.name_for_hash)?;
        let cron = Self {
            fields,
            zone: options.timezone.clone(),
            text: text.into(),
            dialect,
            listed,
            dst: options.dst,
        };
        if cron.next(Timestamp::MIN).is_none() {
            let message = format!(
                "`{cron}` can never fire in {}: the clocks leave its times out, and it has no others",
                cron.zone
            );
            return Err(Error::never("schedule", 0, message));
        }
        Ok(cron)
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

    /// What the expression allows.
    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// What happens to listed times where the clocks are changed.
    #[must_use]
    pub fn dst(&self) -> Dst {
        self.dst
    }

    /// Whether hours and minutes are all listed, so that the rules of [`Dst`] apply; otherwise the expression follows
    /// elapsed time.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.listed
    }

    /// The first fire time strictly after an instant. Bounded: it looks 400 years ahead at most (the calendar
    /// repeats after them) and at 1,000 changes of the clocks; what is not found within them is `None`. It jumps from
    /// one allowed field to the next and never walks seconds.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from_s = after.as_ms().div_euclid(1_000) + 1;
        for _ in 0..SEGMENTS_MAX {
            let segment = self.zone.segment_at(from_s);
            let low = self.lowest_wall(&segment, from_s);
            let wall = self.fields.next_wall(low);
            let own_s = wall
                .filter(|wall| *wall < self.end_of_walls(&segment))
                .map(|wall| (wall - segment.offset_s).max(segment.start_s));
            let shifted_s = self.shifted_at_or_after(&segment, from_s);
            let first_s = own_s.into_iter().chain(shifted_s).min();
            if let Some(first_s) = first_s.filter(|first_s| *first_s < segment.end_s) {
                return instant(first_s);
            }
            // Nothing is allowed from `low` up to `wall`; only a repeat that reaches below `low` could still hold more.
            let clear = low <= segment.end_wall_s() - OFFSETS_APART_MAX_S;
            from_s = if clear {
                segment.end_s.max(wall? - OFFSETS_APART_MAX_S)
            } else {
                segment.end_s
            };
        }
        None
    }

    /// The last fire time strictly before an instant, within the bounds of [`Self::next`].
    #[must_use]
    pub fn previous(&self, before: Timestamp) -> Option<Timestamp> {
        let mut to_s = (before.as_ms() - 1).div_euclid(1_000);
        for _ in 0..SEGMENTS_MAX {
            let segment = self.zone.segment_at(to_s);
            let high = (to_s + segment.offset_s).min(self.end_of_walls(&segment) - 1);
            let wall = self.fields.previous_wall(high);
            let own_s = wall
                .filter(|wall| *wall >= self.start_of_walls(&segment))
                .map(|wall| (wall - segment.offset_s).max(segment.start_s));
            if let Some(last_s) = own_s.max(self.shifted_at_or_before(&segment, to_s)) {
                return instant(last_s);
            }
            let clear = high >= segment.own_wall_s().saturating_add(OFFSETS_APART_MAX_S);
            let last = segment.start_s.saturating_sub(1);
            to_s = if clear {
                last.min(wall? + OFFSETS_APART_MAX_S)
            } else {
                last
            };
        }
        None
    }

    /// The lowest wall time that may fire at or after an instant of a stretch. What a gap left out belongs to the
    /// stretch's first instant.
    fn lowest_wall(&self, segment: &Segment, from_s: i64) -> i64 {
        let start = self.start_of_walls(segment);
        if from_s == segment.start_s {
            return start;
        }
        (from_s + segment.offset_s).max(start)
    }

    /// The first of the wall times that fire in a stretch at all: below its own first one where a gap's listed times
    /// fire at its end, above it where those that come a second time are over.
    fn start_of_walls(&self, segment: &Segment) -> i64 {
        let own = segment.own_wall_s();
        if !self.listed {
            return own;
        }
        let gap = segment.old_wall_s < own;
        match (gap, self.dst.gap, self.dst.repeat) {
            (true, Gap::NextValid, _) | (false, _, Repeat::First) => segment.old_wall_s,
            _ => own,
        }
    }

    /// The first of the wall times that don't fire in a stretch any more: before its end where those that come again
    /// wait for the last time.
    fn end_of_walls(&self, segment: &Segment) -> i64 {
        if self.listed && self.dst.repeat == Repeat::Last {
            segment.end_wall_s().min(segment.next_wall_s)
        } else {
            segment.end_wall_s()
        }
    }

    /// The first instant, at or after one of a stretch, of a time that the gap before the stretch left out and that is
    /// shifted by the gap's length: the instant that it would have had with the old offset.
    fn shifted_at_or_after(&self, segment: &Segment, from_s: i64) -> Option<i64> {
        let old_offset_s = self.shifting_offset(segment)?;
        let low = from_s + old_offset_s;
        if low >= segment.own_wall_s() {
            return None;
        }
        let wall = self.fields.next_wall(low)?;
        (wall < segment.own_wall_s()).then_some(wall - old_offset_s)
    }

    /// The same backwards.
    fn shifted_at_or_before(&self, segment: &Segment, to_s: i64) -> Option<i64> {
        let old_offset_s = self.shifting_offset(segment)?;
        let high = (to_s + old_offset_s).min(segment.own_wall_s() - 1);
        let wall = self.fields.previous_wall(high)?;
        (wall >= segment.old_wall_s).then_some(wall - old_offset_s)
    }

    /// The offset before a stretch, where the gap in between shifts times into the stretch. It is longer than the gap
    /// then: a test holds that for every zone.
    fn shifting_offset(&self, segment: &Segment) -> Option<i64> {
        let shifts = self.listed
            && self.dst.gap == Gap::Shift
            && segment.start_s != i64::MIN
            && segment.old_wall_s < segment.own_wall_s();
        shifts.then(|| segment.old_wall_s - segment.start_s)
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
