//! From wall times to instants: what happens to them where the clocks are changed, as a [`Dst`] says. Owns the mapping for
//! cron expressions and recurrences; which wall times there are, they say themselves.
//!
//! The search goes by stretches of unchanged offset. Inside one, wall time and instants differ by a constant; what a
//! change leaves out or shows twice belongs to the edges of the two stretches that it parts. So instants only increase.

use crate::fuel::Fuel;
use crate::time::Timestamp;
use crate::zone::{Segment, TimeZoneName};
use crate::{Dst, Gap, Repeat};

/// What follows elapsed time: it fires in both passes of what the clocks show twice, and has nothing in what they leave
/// out.
pub(super) const ELAPSED: Dst = Dst {
    gap: Gap::Skip,
    repeat: Repeat::Both,
};
/// Stretches looked at before a search gives up: at the four changes a year of the busiest zones, 250 years. Only a
/// schedule whose every wall time falls into a gap gets there.
const SEGMENTS_MAX: u32 = 1_000;
/// More than any two offsets of one zone differ by: further from a change of the clocks, wall times come in order.
const OFFSETS_APART_MAX_S: i64 = 52 * 3_600;

/// Fuel for a look at a stretch of a zone.
const SEGMENT_UNITS: u64 = 4;

/// Wall times, in seconds since 1970-01-01T00:00 on the wall. A search that runs out of fuel finds none.
pub(super) trait Walls {
    /// The first at or after a wall time.
    fn next_wall(&self, from_s: i64, fuel: &Fuel) -> Option<i64>;
    /// The last at or before a wall time.
    fn previous_wall(&self, to_s: i64, fuel: &Fuel) -> Option<i64>;
}

/// The first instant strictly after another.
pub(super) fn next(
    walls: &impl Walls,
    zone: &TimeZoneName,
    dst: Dst,
    after: Timestamp,
    fuel: &Fuel,
) -> Option<Timestamp> {
    let mut from_s = after.as_ms().div_euclid(1_000) + 1;
    for _ in 0..SEGMENTS_MAX {
        if !fuel.burn_units(SEGMENT_UNITS) {
            return None;
        }
        let segment = zone.segment_at(from_s);
        let (low, high) = own_walls(&segment, dst.repeat);
        let wall = walls.next_wall((from_s + segment.offset_s).max(low), fuel);
        let own = wall.filter(|w| *w < high).map(|w| w - segment.offset_s);
        let left_out = next_left_out(walls, &segment, dst.gap, from_s, fuel);
        if let Some(at_s) = own.into_iter().chain(left_out).min() {
            return instant(at_s);
        }
        if segment.end_s == i64::MAX {
            return None;
        }
        // Only where the end is far may what comes before `from_s` on the wall be forgotten: it may be shown again.
        let clear = from_s <= segment.end_s - OFFSETS_APART_MAX_S;
        from_s = match wall {
            None if clear => return None,
            Some(wall) if clear => segment.end_s.max(wall - OFFSETS_APART_MAX_S),
            _ => segment.end_s,
        };
    }
    None
}

/// The last instant strictly before another.
pub(super) fn previous(
    walls: &impl Walls,
    zone: &TimeZoneName,
    dst: Dst,
    before: Timestamp,
    fuel: &Fuel,
) -> Option<Timestamp> {
    let mut to_s = (before.as_ms() - 1).div_euclid(1_000);
    for _ in 0..SEGMENTS_MAX {
        if !fuel.burn_units(SEGMENT_UNITS) {
            return None;
        }
        let segment = zone.segment_at(to_s);
        let (low, high) = own_walls(&segment, dst.repeat);
        let wall = walls.previous_wall((to_s + segment.offset_s).min(high - 1), fuel);
        let own = wall.filter(|w| *w >= low).map(|w| w - segment.offset_s);
        let left_out = previous_left_out(walls, &segment, dst.gap, to_s, fuel);
        if let Some(at_s) = own.into_iter().chain(left_out).max() {
            return instant(at_s);
        }
        if segment.start_s == i64::MIN {
            return None;
        }
        let clear = to_s >= segment.start_s + OFFSETS_APART_MAX_S;
        let last = segment.start_s - 1;
        to_s = match wall {
            None if clear => return None,
            Some(wall) if clear => last.min(wall + OFFSETS_APART_MAX_S),
            _ => last,
        };
    }
    None
}

/// The first wall time that fires at its own place in a stretch, and the first that does so no more.
fn own_walls(segment: &Segment, repeat: Repeat) -> (i64, i64) {
    let (start, end) = (segment.own_wall_s(), segment.end_wall_s());
    match repeat {
        Repeat::Both => (start, end),
        Repeat::First => (start.max(segment.old_wall_s), end),
        Repeat::Last => (start, end.min(segment.next_wall_s)),
    }
}

/// Wall times that the change at the beginning of a stretch left out: the first and the one after the last, and the
/// offset before the change.
fn gap_of(segment: &Segment) -> Option<(i64, i64, i64)> {
    let own = segment.own_wall_s();
    let gap = segment.start_s != i64::MIN && segment.old_wall_s < own;
    gap.then(|| {
        (
            segment.old_wall_s,
            own,
            segment.old_wall_s - segment.start_s,
        )
    })
}

fn next_left_out(
    walls: &impl Walls,
    segment: &Segment,
    gap: Gap,
    from_s: i64,
    fuel: &Fuel,
) -> Option<i64> {
    let (first, end, offset_s) = gap_of(segment)?;
    let left_out = |from: i64| walls.next_wall(from, fuel).filter(|w| *w < end);
    match gap {
        Gap::Skip => None,
        Gap::NextValid if from_s > segment.start_s => None,
        Gap::NextValid => left_out(first).map(|_| segment.start_s),
        Gap::Shift if from_s + offset_s >= end => None,
        Gap::Shift => left_out(first.max(from_s + offset_s)).map(|w| w - offset_s),
    }
}

fn previous_left_out(
    walls: &impl Walls,
    segment: &Segment,
    gap: Gap,
    to_s: i64,
    fuel: &Fuel,
) -> Option<i64> {
    let (first, end, offset_s) = gap_of(segment)?;
    let left_out = |to: i64| walls.previous_wall(to, fuel).filter(|w| *w >= first);
    match gap {
        Gap::Skip => None,
        Gap::NextValid => left_out(end - 1).map(|_| segment.start_s),
        Gap::Shift => left_out((end - 1).min(to_s + offset_s)).map(|w| w - offset_s),
    }
}

/// The instant of a second, if instants reach so far.
fn instant(at_s: i64) -> Option<Timestamp> {
    let ms = at_s.saturating_mul(1_000);
    (Timestamp::MIN.as_ms()..=Timestamp::MAX.as_ms())
        .contains(&ms)
        .then(|| Timestamp::from_ms(ms))
}
