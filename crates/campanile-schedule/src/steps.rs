//! One instant of a schedule after the other. Owns the merging of several schedules: each is asked only when its own
//! instant was taken, so a walk over many instants of twenty schedules costs what the instants cost, not twenty times as
//! much.

use crate::Schedule;
use crate::fuel::Fuel;
use crate::time::Timestamp;

/// The instants of a schedule, in order, each once. It ends early when the fuel is spent.
#[derive(Debug)]
pub struct Steps<'a> {
    heads: Vec<(&'a Schedule, Option<Timestamp>)>,
    last: Timestamp,
    fuel: &'a Fuel,
}

impl Schedule {
    /// Its instants strictly after one, in order, each once; they are all of them only if the fuel's check says so.
    pub fn steps<'a>(&'a self, after: Timestamp, fuel: &'a Fuel) -> Steps<'a> {
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

impl Schedule {
    /// How many instants it has from one of them to another, both counted; `most` at most where they are counted one by
    /// one, and fewer without fuel.
    pub fn count(&self, first: Timestamp, last: Timestamp, most: usize, fuel: &Fuel) -> u64 {
        let plain = match self {
            Self::Bounded(bounded) => bounded.inner(),
            other => other,
        };
        if let Self::Every(every) = plain {
            let whole = last.since(first).as_millis() / every.interval().as_millis().max(1) + 1;
            return u64::try_from(whole).unwrap_or(u64::MAX);
        }
        let before = Timestamp::from_ms(first.as_ms() - 1);
        let all = self.steps(before, fuel).take_while(|t| *t <= last);
        u64::try_from(all.take(most).count()).unwrap_or(u64::MAX)
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
