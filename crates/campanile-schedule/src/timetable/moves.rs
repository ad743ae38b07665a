//! The search for moves that end between two instants. Owns the walk over the days that they can come from; the rule by
//! which an instant is moved is the timetable's.
//!
//! A move keeps the wall time. So what ends in a stretch of time comes from the same stretch some days away, and for
//! each number of days only that stretch is looked at: for a schedule that is dense, the stretch between two of its
//! instants holds nothing. The walk ends at the first days on which no calendar rests, because nothing is moved across
//! a day that would take it. Where the clocks are changed, wall times shift; there, more is looked at.

use super::{DAY_MS, LOOK_UNITS, Move, Pick, Timetable, before};
use crate::fuel::Fuel;
use crate::limits;
use crate::time::Timestamp;
use crate::timetable::OnExcluded;

/// More than clocks are changed by at once.
const CHANGE_MAX_MS: i64 = 26 * 3_600_000;
/// A target is no further from its origin than this.
const REACH_MS: i64 = limits::MOVED_DAYS_MAX * DAY_MS + 2 * CHANGE_MAX_MS;
/// Days that are walked: a change of the clocks can make one more of them.
const WALKED_DAYS_MAX: i64 = limits::MOVED_DAYS_MAX + 2;

/// A stretch of time in which targets are looked for; both ends are left out.
pub(super) struct Moves<'a> {
    timetable: &'a Timetable,
    low: Timestamp,
    high: Timestamp,
    low_wall_ms: i64,
    high_wall_ms: i64,
    /// Whether instants are moved to later days.
    later: bool,
    /// Whether the clocks are unchanged in the stretch.
    calm: bool,
}

impl<'a> Moves<'a> {
    /// `None` where nothing can be.
    pub(super) fn between(
        timetable: &'a Timetable,
        low: Timestamp,
        high: Option<Timestamp>,
    ) -> Option<Self> {
        // What is moved to a later day comes from below `low`, for there is no instant in between; and the other way
        // around.
        let later = timetable.on_excluded == OnExcluded::Next;
        let (low, high) = if later {
            let reach = Timestamp::from_ms(low.as_ms() + REACH_MS);
            (low, high.unwrap_or(reach).min(reach))
        } else {
            let high = high?;
            (low.max(Timestamp::from_ms(high.as_ms() - REACH_MS)), high)
        };
        let mut moves = Self {
            timetable,
            low,
            high,
            low_wall_ms: timetable.zone.wall_ms(low),
            high_wall_ms: timetable.zone.wall_ms(high),
            later,
            calm: false,
        };
        moves.calm = moves.is_calm(low, high);
        Some(moves)
    }

    /// The move whose target comes first, or last.
    pub(super) fn find(&self, pick: Pick, fuel: &Fuel) -> Option<Move> {
        let mut best: Option<Move> = None;
        for days in 1..=WALKED_DAYS_MAX {
            if !fuel.burn_units(LOOK_UNITS) {
                return None;
            }
            let (mut at, until) = self.origins(days);
            let mut day_end = Timestamp::MIN;
            while let Some(from) = self.next_origin(at, until, fuel) {
                at = from;
                if at >= day_end {
                    let day = self.timetable.day_of(at);
                    day_end = self.timetable.zone.day_start(day + 1);
                    if self.timetable.is_crowded(day, fuel) {
                        at = before(day_end);
                        continue;
                    }
                }
                let Some(to) = self.target(from, days, fuel) else {
                    continue;
                };
                let better = best.is_none_or(|b| match pick {
                    Pick::First => to < b.to,
                    Pick::Last => to > b.to,
                });
                if better {
                    best = Some(Move { from, to });
                }
            }
            if self.is_last(days) {
                break;
            }
        }
        best
    }

    fn next_origin(&self, after: Timestamp, until: Timestamp, fuel: &Fuel) -> Option<Timestamp> {
        let next = self.timetable.schedule.next_by(after, fuel);
        next.filter(|t| *t < until)
    }

    /// Where what is moved by so many days can come from: after the first instant and before the second. Stretches
    /// longer than a day would overlap; so each is cut to what the one before has not seen.
    fn origins(&self, days: i64) -> (Timestamp, Timestamp) {
        let (low, high, shift) = (self.low_wall_ms, self.high_wall_ms, days * DAY_MS);
        let (from, until) = if self.later {
            (low - shift, (high - shift).min(low - shift + DAY_MS + 1))
        } else {
            let seen = high + shift - DAY_MS - 1;
            ((low + shift).max(seen), high + shift)
        };
        let zone = &self.timetable.zone;
        let (from, until) = (zone.at_wall_ms(from), zone.at_wall_ms(until));
        let (from, until) = if self.calm && self.is_calm(from, until) {
            (from, until)
        } else {
            let wider = |t: Timestamp, by| Timestamp::from_ms(t.as_ms() + by);
            (wider(from, -CHANGE_MAX_MS), wider(until, CHANGE_MAX_MS))
        };
        if self.later {
            (from, until.min(Timestamp::from_ms(self.low.as_ms() + 1)))
        } else {
            (from.max(before(self.high)), until)
        }
    }

    /// Whether the clocks are unchanged from well before an instant to well after another.
    fn is_calm(&self, from: Timestamp, until: Timestamp) -> bool {
        let from_s = (from.as_ms() - CHANGE_MAX_MS).div_euclid(1_000);
        let segment = self.timetable.zone.segment_at(from_s);
        segment.end_s > (until.as_ms() + CHANGE_MAX_MS).div_euclid(1_000)
    }

    /// The target of an instant that is excluded, if it lies in the stretch. Candidates near the stretch are asked
    /// first: they decide most often.
    fn target(&self, from: Timestamp, days: i64, fuel: &Fuel) -> Option<Timestamp> {
        let timetable = self.timetable;
        let wall_ms = timetable.zone.wall_ms(from);
        let open = |t: Timestamp| timetable.excluded_by(t).is_none();
        let in_stretch = |t: Timestamp| self.low < t && t < self.high;
        // Two days of margin, for changes of the clocks.
        let near = (days - 2).max(1);
        let mut found = None;
        for days in near..=limits::MOVED_DAYS_MAX {
            if !fuel.burn_units(LOOK_UNITS) {
                return None;
            }
            let to = timetable.candidate(wall_ms, days);
            let passed = if self.later {
                to >= self.high
            } else {
                to <= self.low
            };
            if passed {
                return None;
            }
            if open(to) {
                found = Some(to);
                break;
            }
        }
        let to = found.filter(|t| in_stretch(*t) && timetable.window().contains(t))?;
        let nearer_is_open = (1..near)
            .rev()
            .any(|days| open(timetable.candidate(wall_ms, days)));
        (!nearer_is_open && !open(from)).then_some(to)
    }

    /// Whether nothing that comes from further away ends in the stretch: it would stop on one of two days that are
    /// wholly open.
    fn is_last(&self, days: i64) -> bool {
        let (timetable, edge, edge_wall_ms) = match self.later {
            true => (self.timetable, self.low, self.low_wall_ms),
            false => (self.timetable, self.high, self.high_wall_ms),
        };
        let wall_day = edge_wall_ms.div_euclid(DAY_MS);
        let first = if self.later {
            wall_day - days + 1
        } else {
            wall_day + days - 1
        };
        let between = if self.later {
            days >= 3 && first + 2 <= timetable.day_of(edge)
        } else {
            days >= 2 && first > timetable.day_of(edge)
        };
        between && timetable.is_free(first, first + 2)
    }
}
