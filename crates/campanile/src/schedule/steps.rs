//! One instant of a schedule after the other. Owns the merging of several schedules: each is asked only when its own
//! instant was taken, so a walk over many instants of twenty schedules costs what the instants cost, not twenty times as
//! much.

use super::Schedule;
use crate::fuel::Fuel;
use crate::time::Timestamp;

/// The instants of a schedule, in order, each once. It ends early when the fuel is spent.
#[derive(Debug)]
pub(crate) struct Steps<'a> {
    heads: Vec<(&'a Schedule, Option<Timestamp>)>,
    last: Timestamp,
    fuel: &'a Fuel,
}

impl Schedule {
    /// Its instants strictly after one; they are all of them only if the fuel's check says so.
    pub(crate) fn steps<'a>(&'a self, after: Timestamp, fuel: &'a Fuel) -> Steps<'a> {
        let (after, last, inner) = match self {
            Self::Bounded(bounded) => {
                let (first, last) = bounded.ends();
                let before = Timestamp::from_ms(first.as_ms().saturating_sub(1));
                (after.max(before), last, bounded.inner())
            }
            other => (after, Timestamp::MAX, other),
        };
        let head = |schedule: &'a Self| (schedule, schedule.next_by(after, fuel));
        let heads = match inner {
            Self::Union(all) => all.iter().map(head).collect(),
            one => vec![head(one)],
        };
        Steps { heads, last, fuel }
    }
}

impl Iterator for Steps<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        let at = self.heads.iter().filter_map(|(_, head)| *head).min()?;
        // Without fuel a head may be missing, and then this is not the next.
        if at > self.last || !self.fuel.burn() {
            return None;
        }
        for (schedule, head) in &mut self.heads {
            if *head == Some(at) {
                *head = schedule.next_by(at, self.fuel);
            }
        }
        Some(at)
    }
}
