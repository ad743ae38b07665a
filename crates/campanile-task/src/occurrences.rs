//! Which occurrences of a task run: the decision for one due row, from its timetable, its policy and the time. Bounded
//! whatever the outage was: one call looks at [`limits::CATCH_UP_STEPS_MAX`] instants at most and leaves the next due
//! instant where it stopped, so that the following scan goes on from there.

use std::collections::BTreeSet;
use std::time::Duration;

use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;
use campanile_schedule::{Event, Schedule, Timetable, What};

use crate::limits;
use crate::run::Reason;
use crate::task::{Chain, Misfire, TaskSpec};

/// Occurrences that do not run, as one row: neighbours in the timetable, with one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The first instant.
    pub first: Timestamp,
    /// The last instant.
    pub last: Timestamp,
    /// How many.
    pub count: u64,
    /// Why.
    pub reason: Reason,
    /// For [`Reason::Moved`]: the instant at which it runs instead.
    pub moved_to: Option<Timestamp>,
}

/// An occurrence that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Its instant.
    pub at: Timestamp,
    /// Whether it was missed and is caught up: then it goes behind what is on time.
    pub catch_up: bool,
}

/// What a due row becomes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Occurrences that run, earliest first.
    pub runs: Vec<Due>,
    /// Occurrences that do not.
    pub skips: Vec<Skip>,
    /// Where the due row goes; `None` removes it.
    pub next: Option<Timestamp>,
}

/// What becomes of one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Run,
    CatchUp,
    Skip(Reason),
    Moved(Timestamp),
}

/// Decides the instants of a due row that stands at `first`, up to `horizon`.
///
/// An instant later than the task's `misfire_limit` was missed, and the policy decides; one later than `max_lateness`
/// or `start_deadline` never runs; what a calendar excludes is skipped, however late.
#[must_use]
pub fn occurrences(
    timetable: &Timetable,
    spec: &TaskSpec,
    first: Timestamp,
    now: Timestamp,
    horizon: Timestamp,
) -> Plan {
    let answered = BTreeSet::new();
    let fuel = Fuel::endless();
    occurrences_by(timetable, spec, first, now, horizon, (&answered, &fuel))
}

/// The same. Instants in `answered` have a row already, made while the store's clock was ahead, and are passed over. What it burns taken from `fuel`: it stops like one that has looked at enough instants when it has
/// burnt [`limits::PLAN_FUEL`], and has always looked at one.
#[must_use]
pub fn occurrences_by(
    timetable: &Timetable,
    spec: &TaskSpec,
    first: Timestamp,
    now: Timestamp,
    horizon: Timestamp,
    (answered, fuel): (&BTreeSet<Timestamp>, &Fuel),
) -> Plan {
    if let Some(chain) = Chain::of(spec) {
        return chained(&chain, spec, first, now, horizon);
    }
    let after = |at: Timestamp| {
        let mut next = timetable.next_by(at, fuel);
        while let Some(event) = next.filter(|event| answered.contains(&event.at)) {
            next = timetable.next_by(event.at, fuel);
        }
        next
    };
    let until_burnt = fuel.burnt().saturating_add(limits::PLAN_FUEL);
    let missed_before = now.minus(spec.misfire_limit);
    let mut events = Vec::new();
    let mut on_time = 0;
    let mut next = after(Timestamp::from_ms(first.as_ms() - 1));
    while let Some(event) = next {
        let enough = events.len() == limits::CATCH_UP_STEPS_MAX
            || on_time == limits::FIRE_ROWS_MAX / 2
            || (fuel.burnt() >= until_burnt && !events.is_empty());
        if event.at > horizon || enough {
            break;
        }
        on_time += usize::from(event.what == What::Due && event.at >= missed_before);
        events.push(event);
        next = after(event.at);
    }
    let next = next.map(|event| event.at);
    let caught_up = next.is_none_or(|next| next >= missed_before);
    let mut outcomes = outcomes(&events, spec, now);
    keep_missed(
        &mut outcomes,
        spec.misfire,
        caught_up && on_time == 0,
        caught_up,
    );
    Plan {
        runs: runs(&outcomes),
        skips: skips(&outcomes),
        next,
    }
}

/// Decides the one instant of a schedule that goes on from the ends of its runs. If it runs, its end says where the due row
/// goes; if not, this decision does.
fn chained(
    chain: &Chain,
    spec: &TaskSpec,
    at: Timestamp,
    now: Timestamp,
    horizon: Timestamp,
) -> Plan {
    if at > horizon {
        return Plan {
            next: Some(at),
            ..Plan::default()
        };
    }
    let due = Event {
        at,
        what: What::Due,
    };
    let mut outcomes = outcomes(&[due], spec, now);
    keep_missed(&mut outcomes, spec.misfire, true, true);
    let (runs, skips) = (runs(&outcomes), skips(&outcomes));
    let next = chain.next(at, now).filter(|_| runs.is_empty());
    Plan { runs, skips, next }
}

/// What each instant becomes; a missed one as if the policy dropped it.
fn outcomes(events: &[Event], spec: &TaskSpec, now: Timestamp) -> Vec<(Timestamp, Outcome)> {
    let later_than =
        |at: Timestamp, limit: Option<Duration>| limit.is_some_and(|limit| at < now.minus(limit));
    let dropped = match spec.misfire {
        Misfire::All => Reason::CatchUpLimit,
        Misfire::Last | Misfire::Skip => Reason::Misfire,
    };
    let outcome = |event: &Event| match event.what {
        What::Excluded => Outcome::Skip(Reason::Calendar),
        What::Moved(to) => Outcome::Moved(to),
        What::Due if later_than(event.at, spec.max_lateness) => Outcome::Skip(Reason::TooLate),
        What::Due if later_than(event.at, spec.start_deadline) => {
            Outcome::Skip(Reason::StartDeadline)
        }
        What::Due if later_than(event.at, Some(spec.misfire_limit)) => Outcome::Skip(dropped),
        What::Due => Outcome::Run,
    };
    events.iter().map(|e| (e.at, outcome(e))).collect()
}

/// Takes those missed instants back in that the policy runs: the latest ones. `latest_is_missed` says that no instant is
/// on time, and none that was missed lies behind this plan: only then the latest missed one is the last.
fn keep_missed(
    outcomes: &mut [(Timestamp, Outcome)],
    policy: Misfire,
    latest_is_missed: bool,
    caught_up: bool,
) {
    let keep = match policy {
        Misfire::Skip => 0,
        Misfire::Last => usize::from(latest_is_missed),
        Misfire::All if caught_up => limits::CATCH_UP_RUNS_MAX,
        Misfire::All => 0,
    };
    let missed = |o: &Outcome| matches!(o, Outcome::Skip(Reason::Misfire | Reason::CatchUpLimit));
    let open = outcomes.iter_mut().rev().filter(|(_, o)| missed(o));
    for (_, outcome) in open.take(keep) {
        *outcome = Outcome::CatchUp;
    }
}

fn runs(outcomes: &[(Timestamp, Outcome)]) -> Vec<Due> {
    let due = |(at, outcome): &(Timestamp, Outcome)| match outcome {
        Outcome::Run | Outcome::CatchUp => Some(Due {
            at: *at,
            catch_up: *outcome == Outcome::CatchUp,
        }),
        Outcome::Skip(_) | Outcome::Moved(_) => None,
    };
    outcomes.iter().filter_map(due).collect()
}

/// Neighbours with one reason as one row.
fn skips(outcomes: &[(Timestamp, Outcome)]) -> Vec<Skip> {
    let mut out: Vec<Skip> = Vec::new();
    let mut follows = false;
    for (at, outcome) in outcomes {
        let (reason, moved_to) = match outcome {
            Outcome::Run | Outcome::CatchUp => {
                follows = false;
                continue;
            }
            Outcome::Skip(reason) => (*reason, None),
            Outcome::Moved(to) => (Reason::Moved, Some(*to)),
        };
        let last = out.last_mut().filter(|s| {
            follows && s.reason == reason && s.moved_to.is_none() && moved_to.is_none()
        });
        match last {
            Some(last) => {
                last.last = *at;
                last.count += 1;
            }
            None => out.push(Skip {
                first: *at,
                last: *at,
                count: 1,
                reason,
                moved_to,
            }),
        }
        follows = true;
    }
    out
}

/// All instants from one on and before another, as rows that say why they do not run: what a pause, or a change of the
/// schedule, leaves behind. Past [`limits::REST_STEPS_MAX`], or without fuel, the count is of those that were counted, and
/// the row still reaches to the end. Plain intervals are counted whole.
#[must_use]
pub fn rested(
    schedule: &Schedule,
    from: Timestamp,
    until: Timestamp,
    reason: Reason,
    fuel: &Fuel,
) -> Option<Skip> {
    if schedule.after().is_some() {
        // Only one that is due is an instant at all: `from`, unless the task rested and nobody knew of any.
        let known = !matches!(reason, Reason::Paused | Reason::Disabled) && from < until;
        return known.then_some(Skip {
            first: from,
            last: from,
            count: 1,
            reason,
            moved_to: None,
        });
    }
    let first = schedule
        .next(Timestamp::from_ms(from.as_ms() - 1))
        .filter(|t| *t < until)?;
    let last = schedule.previous(until).unwrap_or(first).max(first);
    Some(Skip {
        first,
        last,
        count: schedule.count(first, last, limits::REST_STEPS_MAX, fuel),
        reason,
        moved_to: None,
    })
}

#[cfg(test)]
#[path = "occurrences_tests.rs"]
mod tests;
