//! A schedule that goes on from the ends of its runs (`after 10m`): each run that starts holds its task's *chain* until it
//! has ended, and its end puts the next due row. Owns what such a schedule means for a task; who holds a chain is the
//! store's to keep, and when it is written is the protocol's.

use std::time::Duration;

use campanile_schedule::time::Timestamp;
use campanile_schedule::{Invalid, Options, Schedule, TimeZoneName};

use super::{TaskSpec, Texts};

/// How a task with such a schedule goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chain {
    /// From the end of a run to the next one.
    pub delay: Duration,
    /// The first instant that may be due, and the last.
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
    /// Whether it is paused or disabled: then nothing is put.
    pub rests: bool,
}

impl Chain {
    /// Of a definition, if its schedule is one that goes on from the ends of its runs.
    #[must_use]
    pub fn of(spec: &TaskSpec) -> Option<Self> {
        let delay = spec.after()?;
        // A zone that is not known was refused with the definition.
        let zone = TimeZoneName::parse(&spec.timezone).unwrap_or_default();
        Some(Self {
            delay,
            first: spec.starts_at.map(|at| at.first_in(&zone, spec.dst)),
            last: spec.ends_at.map(|at| at.last_in(&zone, spec.dst)),
            rests: spec.is_paused(),
        })
    }

    /// When the next occurrence is due after one that was due then and ended, or was decided not to run, then; `None`: the
    /// task rests, or its schedule is over. Never within one delay of the one before, though a clock went back.
    #[must_use]
    pub fn next(&self, due_at: Timestamp, ended_at: Timestamp) -> Option<Timestamp> {
        let end = ended_at.max(due_at);
        let next = match self.first {
            Some(first) if end < first => first,
            _ => end.plus(self.delay),
        };
        let last = self.last.unwrap_or(Timestamp::MAX);
        Some(next).filter(|at| !self.rests && *at <= last)
    }
}

impl TaskSpec {
    /// The delay after the end of a run, if that is its schedule.
    #[must_use]
    pub fn after(&self) -> Option<Duration> {
        let [text] = self.schedule.as_ref().map_or(&[][..], Texts::as_slice) else {
            return None;
        };
        if text.split_whitespace().next() != Some("after") {
            return None;
        }
        let schedule = Schedule::parse(Some(text), &Options::default()).ok()?;
        schedule.after().map(|after| after.delay())
    }
}

/// Checks what has no meaning where nobody knows an instant before the run before it has ended.
pub(super) fn check(spec: &TaskSpec) -> Result<(), Invalid> {
    if spec.after().is_none() {
        return Ok(());
    }
    let wrong = |field, why| Err(Invalid::new(field, why));
    if !spec.jitter.is_zero() {
        return wrong(
            "jitter",
            "an `after` schedule begins with the end of a run, and has no instant that others share: leave it out",
        );
    }
    if !spec.calendars.is_empty() {
        return wrong(
            "calendars",
            "an `after` schedule has no instants that a calendar could leave out before they are due: leave them out, or \
             write a cron expression or `every`",
        );
    }
    if spec.max_count.is_some() {
        return wrong(
            "max_count",
            "the instants of an `after` schedule can't be counted before its runs have ended: write `ends_at` instead",
        );
    }
    Ok(())
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
