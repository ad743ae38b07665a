//! Bounds of a schedule: its first and its last instant, and how many there are. A count becomes a last instant when
//! the schedule is read: by arithmetic for intervals, by counting with fuel for all else. So no counter is kept that a
//! crash could leave wrong.

use std::ops::RangeInclusive;

use crate::every::numbered;
use crate::fuel::Fuel;
use crate::time::Timestamp;
use crate::{Every, Schedule};

/// What bounds a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// The first instant that may be due.
    pub starts_at: Option<Timestamp>,
    /// The last instant that may be due.
    pub ends_at: Option<Timestamp>,
    /// How many occurrences there are.
    pub max_count: Option<u32>,
    /// If `starts_at` is absent, they are counted from the first one after this instant.
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
    ///
    /// ```
    /// use campanile_schedule::{Bounds, Options, Schedule, Timestamp};
    ///
    /// let hourly = Schedule::parse(Some("@hourly"), &Options::default())?;
    /// let twice = hourly.bounded(&Bounds { max_count: Some(2), ..Bounds::default() });
    /// let second = Timestamp::parse("1970-01-01T02:00:00Z").unwrap();
    /// assert_eq!(twice.previous(Timestamp::MAX), Some(second));
    /// # Ok::<(), campanile_schedule::Error>(())
    /// ```
    #[must_use]
    pub fn bounded(self, bounds: &Bounds) -> Self {
        self.bounded_by(bounds, &Fuel::endless())
    }

    /// The same with fuel for the counting; the answer counts only if the fuel's check says so.
    #[must_use]
    pub fn bounded_by(self, bounds: &Bounds, fuel: &Fuel) -> Self {
        if bounds.starts_at.is_none() && bounds.ends_at.is_none() && bounds.max_count.is_none() {
            return self;
        }
        let mut first = bounds.starts_at.unwrap_or(Timestamp::MIN);
        let mut last = bounds.ends_at.unwrap_or(Timestamp::MAX);
        if let Some(count) = bounds.max_count {
            // What is due at its creation has no start any more: an `every` that is counted from there begins one
            // interval later.
            let start = bounds.starts_at.map(just_before);
            let after = start.map_or(bounds.counted_from, |start| start.max(bounds.counted_from));
            first = Timestamp::from_ms(after.as_ms().saturating_add(1));
            last = last.min(self.numbered(after, count, fuel));
        }
        Self::Bounded(Box::new(Bounded {
            inner: self,
            first,
            last,
            starts_at: bounds.starts_at.unwrap_or(Timestamp::MIN),
            ends_at: bounds.ends_at.unwrap_or(Timestamp::MAX),
        }))
    }

    /// Whether a count of it costs nothing, whatever the number: intervals are counted by arithmetic, all else one by one.
    #[must_use]
    pub fn counts_by_arithmetic(&self) -> bool {
        match self {
            Self::Every(_) => true,
            Self::Union(all) => all.iter().all(|s| matches!(s, Self::Every(_))),
            Self::Bounded(bounded) => bounded.inner.counts_by_arithmetic(),
            _ => false,
        }
    }

    /// The instant with a number (1 is the first strictly after an instant), or the last one where there are fewer.
    fn numbered(&self, after: Timestamp, number: u32, fuel: &Fuel) -> Timestamp {
        let every: Option<Vec<Every>> = match self {
            Self::Every(every) => Some(vec![*every]),
            Self::Union(all) => all.iter().map(Self::as_every).collect(),
            _ => None,
        };
        let by_arithmetic = every.and_then(|all| numbered(&all, after, u64::from(number), fuel));
        by_arithmetic.unwrap_or_else(|| {
            let steps = self.steps(after, fuel);
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            steps.take(number).last().unwrap_or(after)
        })
    }

    fn as_every(&self) -> Option<Every> {
        match self {
            Self::Every(every) => Some(*every),
            _ => None,
        }
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

    pub(super) fn next_by(&self, after: Timestamp, fuel: &Fuel) -> Option<Timestamp> {
        if after < self.first && self.inner.after().is_some() {
            // A delay has no instants of its own to begin with: it begins at the bound.
            return Some(self.first).filter(|t| *t <= self.last);
        }
        let after = after.max(just_before(self.first));
        self.inner.next_by(after, fuel).filter(|t| *t <= self.last)
    }

    pub(super) fn previous_by(&self, before: Timestamp, fuel: &Fuel) -> Option<Timestamp> {
        let before = before.min(Timestamp::from_ms(self.last.as_ms() + 1));
        self.inner
            .previous_by(before, fuel)
            .filter(|t| *t >= self.first)
    }

    /// The instants that are due at the earliest and at the latest.
    pub(super) fn ends(&self) -> (Timestamp, Timestamp) {
        (self.first, self.last)
    }
}

fn just_before(t: Timestamp) -> Timestamp {
    Timestamp::from_ms(t.as_ms() - 1)
}
