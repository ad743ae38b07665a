//! A fixed interval: the instants anchor + k × interval, k from 0 upwards. Plain arithmetic on milliseconds; no zone,
//! no wall time, nothing stored between occurrences, so neither restarts nor late runs move the heartbeat.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::Error;
use crate::fuel::Fuel;
use crate::time::{Timestamp, duration_ms, format_duration};

/// The shortest interval: below it a store transaction for each occurrence costs more than what it starts.
pub const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// An interval and the instant it is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every {
    anchor: Timestamp,
    interval: Duration,
}

impl Every {
    /// An interval of whole milliseconds, counted from `anchor`, which is its first occurrence.
    ///
    /// # Errors
    /// When the interval is below [`INTERVAL_MIN`].
    pub fn new(interval: Duration, anchor: Timestamp) -> Result<Self, Error> {
        if interval < INTERVAL_MIN {
            let (got, least) = (format_duration(interval), format_duration(INTERVAL_MIN));
            return Err(Error::new(
                "interval",
                0,
                format!("`{got}` is too short: the shortest is {least}"),
            ));
        }
        Ok(Self { anchor, interval })
    }

    /// The interval.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The first occurrence.
    #[must_use]
    pub fn anchor(&self) -> Timestamp {
        self.anchor
    }

    /// The first occurrence strictly after an instant.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        if after < self.anchor {
            return Some(self.anchor);
        }
        self.occurrence(self.passed(after) / duration_ms(self.interval) + 1)
    }

    /// The last occurrence strictly before an instant.
    #[must_use]
    pub fn previous(&self, before: Timestamp) -> Option<Timestamp> {
        if before <= self.anchor {
            return None;
        }
        self.occurrence((self.passed(before) - 1) / duration_ms(self.interval))
    }

    /// The occurrence that is so many after the first one strictly after an instant; the last there is where that would
    /// be beyond all instants.
    fn nth(&self, after: Timestamp, n: u64) -> Option<Timestamp> {
        let first = i128::from(self.next(after)?.as_ms());
        let at = first + i128::from(n) * i128::from(duration_ms(self.interval));
        let at = at.min(i128::from(Timestamp::MAX.as_ms()));
        Some(Timestamp::from_ms(i64::try_from(at).unwrap_or(i64::MAX)))
    }

    /// Milliseconds from the anchor; instants are close enough together that their difference can't overflow.
    fn passed(&self, at: Timestamp) -> i64 {
        at.as_ms() - self.anchor.as_ms()
    }

    fn occurrence(&self, k: i64) -> Option<Timestamp> {
        let ms = k
            .checked_mul(duration_ms(self.interval))?
            .checked_add(self.anchor.as_ms())?;
        (ms <= Timestamp::MAX.as_ms()).then(|| Timestamp::from_ms(ms))
    }
}

/// The instant with a number (1 is the first strictly after an instant) among those of several intervals that are counted
/// from one anchor: what belongs to two of them counts once. By arithmetic, whatever the number; `None` where the
/// anchors differ. With one interval it costs nothing; with more it burns fuel for the multiples that they share.
pub(super) fn numbered(
    all: &[Every],
    after: Timestamp,
    number: u64,
    fuel: &Fuel,
) -> Option<Timestamp> {
    let (first, rest) = all.split_first()?;
    let before_first = number.checked_sub(1)?;
    if rest.is_empty() {
        return first.nth(after, before_first);
    }
    if rest.iter().any(|e| e.anchor != first.anchor) {
        return None;
    }
    let shortest = all.iter().min_by_key(|e| e.interval)?;
    // It has at least as many as its most frequent part has.
    let latest = shortest.nth(after, before_first)?;
    let range = latest.as_ms() - first.anchor.as_ms();
    let multiples = multiples(all, range, fuel);
    // Places are counted from the anchor, which is one itself.
    let count_to = |place: i64| -> i128 {
        let sum = multiples
            .iter()
            .map(|(step, sign)| i128::from(place / step) * i128::from(*sign));
        1 + sum.sum::<i128>()
    };
    let passed = after.as_ms() - first.anchor.as_ms();
    let wanted = i128::from(number) + if passed < 0 { 0 } else { count_to(passed) };
    let (mut low, mut high) = (passed.max(-1), range);
    // Above `low` and up to `high` lies the first place up to which there are as many as wanted.
    while low + 1 < high {
        if !fuel.burn_units(u64::try_from(multiples.len()).unwrap_or(u64::MAX)) {
            return None;
        }
        let middle = low + (high - low) / 2;
        if count_to(middle) >= wanted {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(Timestamp::from_ms(first.anchor.as_ms() + high))
}

/// The least common multiples of all groups of intervals, with how often each counts (an odd group adds, an even one
/// takes away), as far as they are within a range.
fn multiples(all: &[Every], range_ms: i64, fuel: &Fuel) -> BTreeMap<i64, i64> {
    let mut steps: Vec<i64> = all.iter().map(|e| duration_ms(e.interval)).collect();
    steps.sort_unstable();
    steps.dedup();
    let mut kept: Vec<i64> = Vec::new();
    let mut out: BTreeMap<i64, i64> = BTreeMap::new();
    for step in steps {
        // All that a multiple of another interval has, that one has.
        if step > range_ms || kept.iter().any(|other| step % other == 0) {
            continue;
        }
        kept.push(step);
        let others = out.iter().take_while(|_| fuel.burn());
        let shared = others.filter_map(|(other, sign)| {
            Some((common(*other, step).filter(|m| *m <= range_ms)?, -sign))
        });
        let shared: Vec<(i64, i64)> = shared.chain([(step, 1)]).collect();
        for (multiple, sign) in shared {
            *out.entry(multiple).or_default() += sign;
        }
        out.retain(|_, sign| *sign != 0);
    }
    out
}

/// The least common multiple, if it is a number of milliseconds at all.
fn common(a: i64, b: i64) -> Option<i64> {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x).checked_mul(b)
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "every {}", format_duration(self.interval))
    }
}
