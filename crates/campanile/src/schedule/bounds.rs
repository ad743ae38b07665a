//! Bounds of a schedule: its first and its last instant, and how many there are. A count becomes a last instant when
//! the schedule is read, by counting: so no counter is kept that a crash could leave wrong.

use std::ops::RangeInclusive;

use super::Schedule;
use crate::time::Timestamp;

/// What bounds a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// The first instant that may be due.
    pub starts_at: Option<Timestamp>,
    /// The last instant that may be due.
    pub ends_at: Option<Timestamp>,
    /// How many occurrences there are.
    pub max_count: Option<u32>,
    /// From where they are counted if `starts_at` is absent.
    pub counted_from: Timestamp,
}

/// A schedule within bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounded {
    inner: Schedule,
    first: Timestamp,
    last: Timestamp,
    /// What was written, without what a count made of it.
    starts_at: Timestamp,
    ends_at: Timestamp,
}

impl Schedule {
    /// This schedule within bounds; itself where there are none.
    #[must_use]
    pub fn bounded(self, bounds: &Bounds) -> Self {
        if bounds.starts_at.is_none() && bounds.ends_at.is_none() && bounds.max_count.is_none() {
            return self;
        }
        let mut first = bounds.starts_at.unwrap_or(Timestamp::MIN);
        let mut last = bounds.ends_at.unwrap_or(Timestamp::MAX);
        if let Some(count) = bounds.max_count {
            first = bounds.starts_at.unwrap_or(bounds.counted_from);
            let mut at = just_before(first);
            for _ in 0..count {
                let Some(next) = self.next(at) else { break };
                at = next;
            }
            last = last.min(at);
        }
        Self::Bounded(Box::new(Bounded {
            inner: self,
            first,
            last,
            starts_at: bounds.starts_at.unwrap_or(Timestamp::MIN),
            ends_at: bounds.ends_at.unwrap_or(Timestamp::MAX),
        }))
    }
}

impl Bounded {
    /// The schedule that is bounded.
    #[must_use]
    pub fn inner(&self) -> &Schedule {
        &self.inner
    }

    /// The first and the last instant at which anything may be due, also what a calendar moves. A count is none of
    /// them: the last occurrence counts, wherever it is moved.
    pub(super) fn window(&self) -> RangeInclusive<Timestamp> {
        self.starts_at..=self.ends_at
    }

    pub(super) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = after.max(just_before(self.first));
        self.inner.next(after).filter(|t| *t <= self.last)
    }

    pub(super) fn previous(&self, before: Timestamp) -> Option<Timestamp> {
        let before = before.min(Timestamp::from_ms(self.last.as_ms() + 1));
        self.inner.previous(before).filter(|t| *t >= self.first)
    }
}

fn just_before(t: Timestamp) -> Timestamp {
    Timestamp::from_ms(t.as_ms() - 1)
}
