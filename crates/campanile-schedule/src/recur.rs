//! RFC 5545 recurrences: `RRULE` with `DTSTART`, `EXDATE` and `RDATE`, as calendar programs write them. Owns the set that
//! these make together; `rule` searches one rule, `read` and `parts` read the text, and `walls` maps wall times to
//! instants in the task's zone, so that all schedules share one idea of zones and of clock changes.
//!
//! Why this is not left to a crate is told in `docs/decisions/008-rrule.md`.

mod parts;
mod read;
pub(super) mod rule;

use std::fmt;

use self::rule::Rule;
use crate::civil::DAY_S;
use crate::fuel::Fuel;
use crate::time::Timestamp;
use crate::walls::{self, Walls};
use crate::zone::TimeZoneName;
use crate::{Dst, Error, Options};

/// A recurrence in its zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recur {
    set: Box<Set>,
    zone: TimeZoneName,
    dst: Dst,
}

/// The wall times of a recurrence: those of its rule and the added ones, without those taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) rule: Option<Rule>,
    pub(super) added: Vec<i64>,
    pub(super) taken_out: Vec<i64>,
    pub(super) days_taken_out: Vec<i64>,
    /// The last instant of the rule, where its last wall time does not say it.
    last: Timestamp,
    text: String,
}

impl Recur {
    /// Whether a schedule's text is a recurrence: by its first word.
    pub(super) fn is_meant(text: &str) -> bool {
        let word = text.split([' ', '\t', '\r', '\n', ':', ';', '=']).next();
        let known = ["RRULE", "DTSTART", "EXDATE", "RDATE", "FREQ"];
        word.is_some_and(|w| known.iter().any(|k| k.eq_ignore_ascii_case(w)))
    }

    /// Reads a recurrence; see [`super::Schedule::parse`].
    ///
    /// # Errors
    /// Names the property or the part that can't be read, and what would be right.
    pub fn parse(text: &str, options: &Options) -> Result<Self, Error> {
        Self::parse_by(text, options, &Fuel::endless())
    }

    /// The same with fuel; the answer counts only if the fuel's check says so.
    pub(super) fn parse_by(text: &str, options: &Options, fuel: &Fuel) -> Result<Self, Error> {
        let set = Box::new(read::recurrence(text, options, fuel)?);
        if set.next_wall(i64::MIN / 2, fuel).is_none() {
            return Err(Error {
                never_fires: true,
                ..Error::new(
                    "rrule",
                    0,
                    "never fires: no day and time from DTSTART on satisfies all of its parts",
                )
            });
        }
        Ok(Self {
            set,
            zone: options.timezone.clone(),
            dst: options.dst,
        })
    }

    /// The zone whose wall time it is about.
    #[must_use]
    pub fn timezone(&self) -> &TimeZoneName {
        &self.zone
    }

    /// What it is made of.
    pub(super) fn set(&self) -> &Set {
        &self.set
    }

    /// What happens to its wall times where the clocks are changed: what its task says, or, if it goes on in hours,
    /// minutes or seconds, what elapsed time does.
    pub(super) fn rule_of_clocks(&self) -> Dst {
        if self.is_listed() {
            self.dst
        } else {
            walls::ELAPSED
        }
    }

    /// Whether its times are listed, so that the rules of [`Dst`] apply; otherwise it follows elapsed time.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        !self.set.rule.as_ref().is_some_and(Rule::is_elapsed)
    }

    /// The first occurrence strictly after an instant.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.next_by(after, &Fuel::endless())
    }

    /// The last occurrence strictly before an instant.
    #[must_use]
    pub fn previous(&self, before: Timestamp) -> Option<Timestamp> {
        self.previous_by(before, &Fuel::endless())
    }

    pub(super) fn next_by(&self, after: Timestamp, fuel: &Fuel) -> Option<Timestamp> {
        let (set, rule) = (self.set.as_ref(), self.rule_of_clocks());
        let at = walls::next(set, &self.zone, rule, after, fuel)?;
        if at <= set.last {
            return Some(at);
        }
        walls::next(&Added(set), &self.zone, rule, after.max(set.last), fuel)
    }

    pub(super) fn previous_by(&self, before: Timestamp, fuel: &Fuel) -> Option<Timestamp> {
        let (set, rule) = (self.set.as_ref(), self.rule_of_clocks());
        let added = walls::previous(&Added(set), &self.zone, rule, before, fuel);
        if let Some(at) = added.filter(|at| *at > set.last) {
            return Some(at);
        }
        let end = Timestamp::from_ms(set.last.as_ms().saturating_add(1));
        walls::previous(set, &self.zone, rule, before.min(end), fuel)
    }
}

/// The added dates alone: all that lies behind the last instant of a rule.
struct Added<'a>(&'a Set);

impl Walls for Added<'_> {
    fn next_wall(&self, from_s: i64, fuel: &Fuel) -> Option<i64> {
        let at = self.0.added.partition_point(|w| *w < from_s);
        let mut rest = self.0.added.iter().skip(at);
        let found = rest.find(|w| !fuel.burn() || !self.0.is_taken_out(**w));
        found.filter(|w| !self.0.is_taken_out(**w)).copied()
    }

    fn previous_wall(&self, to_s: i64, fuel: &Fuel) -> Option<i64> {
        let end = self.0.added.partition_point(|w| *w <= to_s);
        let mut rest = self.0.added.iter().take(end).rev();
        let found = rest.find(|w| !fuel.burn() || !self.0.is_taken_out(**w));
        found.filter(|w| !self.0.is_taken_out(**w)).copied()
    }
}

impl fmt::Display for Recur {
    /// On one line, as it is read back: properties apart by a space, in capitals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.set.text)
    }
}

impl Set {
    fn is_taken_out(&self, wall_s: i64) -> bool {
        self.taken_out.binary_search(&wall_s).is_ok()
            || self
                .days_taken_out
                .binary_search(&wall_s.div_euclid(DAY_S))
                .is_ok()
    }

    /// The first wall time at or after another that is not taken out as part of a whole day.
    fn skip(&self, wall_s: i64, step: i64) -> i64 {
        match self.days_taken_out.binary_search(&wall_s.div_euclid(DAY_S)) {
            Ok(_) if step > 0 => (wall_s.div_euclid(DAY_S) + 1) * DAY_S,
            Ok(_) => wall_s.div_euclid(DAY_S) * DAY_S - 1,
            Err(_) => wall_s + step,
        }
    }
}

impl Walls for Set {
    // Each round takes one written exception, and those are bounded.
    fn next_wall(&self, from_s: i64, fuel: &Fuel) -> Option<i64> {
        let mut from_s = from_s;
        loop {
            let rule = self.rule.as_ref().and_then(|r| r.next_wall(from_s, fuel));
            let at = self.added.partition_point(|w| *w < from_s);
            let wall = rule.into_iter().chain(self.added.get(at).copied()).min()?;
            if !self.is_taken_out(wall) {
                return Some(wall);
            }
            from_s = self.skip(wall, 1);
        }
    }

    fn previous_wall(&self, to_s: i64, fuel: &Fuel) -> Option<i64> {
        let mut to_s = to_s;
        loop {
            let rule = self.rule.as_ref().and_then(|r| r.previous_wall(to_s, fuel));
            let at = self.added.partition_point(|w| *w <= to_s);
            let added = at.checked_sub(1).and_then(|at| self.added.get(at)).copied();
            let wall = rule.into_iter().chain(added).max()?;
            if !self.is_taken_out(wall) {
                return Some(wall);
            }
            to_s = self.skip(wall, -1);
        }
    }
}
