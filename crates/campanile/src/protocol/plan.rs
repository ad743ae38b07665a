//! Which occurrences run: the decision for one due row of a task, from its schedule, its policy and the time. Bounded
//! whatever the outage was: one call looks at [`limits::CATCH_UP_STEPS_MAX`] instants at most and leaves the next due
//! instant where it stopped, so that the following scan goes on from there.

use std::sync::Arc;

use super::dispatch::Entry;
use super::work::{DueKey, DueRow, Firing, OutboxEntry, Owner, Waiting};
use super::{limits, run as transitions};
use crate::id::{OutboxId, RunId, TaskId};
use crate::run::Reason;
use crate::schedule::Schedule;
use crate::task::{Misfire, Task, TaskSpec};
use crate::time::Timestamp;

/// A task with its compiled schedule.
#[derive(Debug)]
pub struct Compiled {
    /// The task.
    pub task: Arc<Task>,
    /// Its schedule.
    pub schedule: Schedule,
}

/// When a firing happens, and in which term.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// By the store's time.
    pub now: Timestamp,
    /// Up to which instants are decided.
    pub horizon: Timestamp,
    /// The term.
    pub epoch: i64,
    /// The edit counter that the tasks were read at.
    pub edits: i64,
}

/// Turns due rows into one firing of bounded size: the transaction to write, what the dispatcher takes over once it is
/// committed, and how many of the rows it covers (the rest belongs to the next firing). `mint` gives as many growing
/// ids as it is asked for.
pub fn firing(
    rows: &[DueRow],
    tasks: &dyn Fn(TaskId) -> Option<Arc<Compiled>>,
    moment: Moment,
    outbox: OutboxId,
    mint: &dyn Fn(usize) -> Vec<RunId>,
) -> (Firing, Vec<Entry>, usize) {
    let mut firing = Firing {
        edits: moment.edits,
        epoch: moment.epoch,
        ..Firing::default()
    };
    let mut entries = Vec::new();
    let mut covered = 0;
    for row in rows {
        if entries.len() + firing.skipped.len() >= limits::FIRE_ROWS_MAX
            || covered == limits::FIRE_ROWS_MAX
        {
            break;
        }
        covered += 1;
        firing.consumed.push(row.key.clone());
        match (row.key.owner, &row.waiting) {
            (Owner::Task(id), _) => {
                if let Some(compiled) = tasks(id).filter(|c| !c.task.spec.paused) {
                    fire_task(
                        &mut firing,
                        &mut entries,
                        &compiled,
                        row.key.at,
                        moment,
                        outbox,
                        mint,
                    );
                }
            }
            (Owner::Run(_), Some(waiting)) => {
                let task = waiting
                    .run
                    .task
                    .and_then(tasks)
                    .map(|c| Arc::clone(&c.task));
                entries.push(Entry {
                    waiting: waiting.clone(),
                    task,
                    row: outbox,
                });
            }
            (Owner::Run(_), None) => {}
        }
    }
    if !entries.is_empty() {
        let runs = entries
            .iter()
            .map(|e| (e.waiting.run.id, e.waiting.run.attempt))
            .collect();
        firing.outbox = Some(OutboxEntry { id: outbox, runs });
    }
    (firing, entries, covered)
}

fn fire_task(
    firing: &mut Firing,
    entries: &mut Vec<Entry>,
    compiled: &Compiled,
    first: Timestamp,
    moment: Moment,
    outbox: OutboxId,
    mint: &dyn Fn(usize) -> Vec<RunId>,
) {
    let task = &compiled.task;
    let plan = occurrences(
        &compiled.schedule,
        &task.spec,
        first,
        moment.now,
        moment.horizon,
    );
    let mut ids = mint(plan.runs.len() + plan.skips.len()).into_iter();
    for (at, id) in plan.runs.iter().zip(&mut ids) {
        let run = transitions::occurrence(id, task, *at, moment.epoch);
        firing.runs.push(run.clone());
        entries.push(Entry {
            waiting: Waiting { run, spec: None },
            task: Some(Arc::clone(task)),
            row: outbox,
        });
    }
    for (skip, id) in plan.skips.iter().zip(&mut ids) {
        firing
            .skipped
            .push(transitions::skip(id, task, skip, moment.epoch, moment.now));
    }
    if let Some(at) = plan.next {
        firing.advanced.push(DueKey {
            queue: task.spec.queue.clone(),
            at,
            owner: Owner::Task(task.id),
        });
    }
}

/// Consecutive instants that do not run, for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skip {
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// How many.
    pub count: u64,
    /// Why.
    pub reason: Reason,
}

/// What becomes of a due row: its instants each run or are skipped, and `next` is where the row moves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Instants that run.
    pub runs: Vec<Timestamp>,
    /// Instants that don't.
    pub skips: Vec<Skip>,
    /// The first instant that this plan says nothing about; `None` = the schedule has ended.
    pub next: Option<Timestamp>,
}

/// Decides about the instants from `first` up to `horizon`. An instant is *missed* when `now` is past it by more than
/// the task's `misfire_limit`; missed ones go by the policy, the others run.
#[must_use]
pub fn occurrences(
    schedule: &Schedule,
    spec: &TaskSpec,
    first: Timestamp,
    now: Timestamp,
    horizon: Timestamp,
) -> Plan {
    let missed_before = now.minus(spec.misfire_limit);
    let mut plan = Plan::default();
    let mut missed = Vec::new();
    let mut steps = 0;
    let mut at = Some(first);
    while let Some(instant) = at {
        if instant > horizon
            || steps == limits::CATCH_UP_STEPS_MAX
            || plan.runs.len() == limits::FIRE_ROWS_MAX / 2
        {
            break;
        }
        steps += 1;
        if instant < missed_before {
            missed.push(instant);
        } else {
            plan.runs.push(instant);
        }
        at = schedule.next(instant);
    }
    plan.next = at;
    let caught_up = at.is_none_or(|next| next >= missed_before);
    settle_missed(&mut plan, &missed, spec, now, caught_up);
    plan
}

/// Sorts the missed instants into runs and skips. `caught_up` says that no missed instant lies behind this plan: only
/// then the latest of them is known.
fn settle_missed(
    plan: &mut Plan,
    missed: &[Timestamp],
    spec: &TaskSpec,
    now: Timestamp,
    caught_up: bool,
) {
    let too_late = spec
        .max_lateness
        .map_or(0, |max| missed.partition_point(|t| *t < now.minus(max)));
    let keep = match spec.misfire {
        Misfire::Skip => 0,
        Misfire::Last => usize::from(caught_up && plan.runs.is_empty()),
        Misfire::All if caught_up => limits::CATCH_UP_RUNS_MAX,
        Misfire::All => 0,
    };
    let (old, open) = missed.split_at(too_late);
    let (dropped, kept) = open.split_at(open.len().saturating_sub(keep));
    let reason = if spec.misfire == Misfire::All {
        Reason::CatchUpLimit
    } else {
        Reason::Misfire
    };
    plan.skips.extend(range(old, Reason::TooLate));
    plan.skips.extend(range(dropped, reason));
    plan.runs.splice(0..0, kept.iter().copied());
}

fn range(instants: &[Timestamp], reason: Reason) -> Option<Skip> {
    let (first, last) = (*instants.first()?, *instants.last()?);
    Some(Skip {
        first,
        last,
        count: u64::try_from(instants.len()).unwrap_or(u64::MAX),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::schedule::Options;

    fn spec(misfire: Misfire) -> TaskSpec {
        serde_json::from_value(serde_json::json!({
            "name": "t", "schedule": "every 10s", "handler": {"native": "noop"}, "misfire": misfire,
        }))
        .unwrap()
    }

    fn every_10s() -> Schedule {
        let options = Options {
            anchor: at(0),
            ..Options::default()
        };
        Schedule::parse(Some("every 10s"), &options).unwrap()
    }

    fn at(s: i64) -> Timestamp {
        Timestamp::from_ms(1_800_000_000_000 + s * 1_000)
    }

    #[test]
    fn due_instants_inside_the_horizon_run_and_the_row_moves_on() {
        let plan = occurrences(&every_10s(), &spec(Misfire::Last), at(10), at(10), at(35));
        assert_eq!(
            plan,
            Plan {
                runs: vec![at(10), at(20), at(30)],
                skips: vec![],
                next: Some(at(40))
            }
        );
    }

    #[test]
    fn lateness_within_the_limit_is_no_misfire() {
        let plan = occurrences(&every_10s(), &spec(Misfire::Skip), at(10), at(60), at(60));
        assert_eq!(plan.runs, (1..=6).map(|k| at(k * 10)).collect::<Vec<_>>());
        assert!(plan.skips.is_empty());
    }

    #[test]
    fn after_an_outage_each_policy_accounts_for_every_instant() {
        // now = 1000 s: instants 10..=930 are missed, 940..=1000 are merely late.
        for misfire in [Misfire::Last, Misfire::Skip, Misfire::All] {
            let plan = occurrences(&every_10s(), &spec(misfire), at(10), at(1_000), at(1_000));
            let skipped: u64 = plan.skips.iter().map(|s| s.count).sum();
            assert_eq!(skipped + plan.runs.len() as u64, 100, "{misfire:?}");
            assert!(plan.runs.windows(2).all(|w| w[0] < w[1]));
            assert_eq!(plan.next, Some(at(1_010)));
        }
        // An hourly kind of outage: nothing within the limit, so `last` runs the latest missed one.
        let options = Options {
            anchor: at(0),
            ..Options::default()
        };
        let hourly = Schedule::parse(Some("every 1h"), &options).unwrap();
        let plan = occurrences(
            &hourly,
            &spec(Misfire::Last),
            at(3_600),
            at(12_000),
            at(12_000),
        );
        assert_eq!(plan.runs, vec![at(10_800)]);
        assert_eq!(
            plan.skips,
            vec![Skip {
                first: at(3_600),
                last: at(7_200),
                count: 2,
                reason: Reason::Misfire
            }]
        );
        let plan = occurrences(
            &hourly,
            &spec(Misfire::Skip),
            at(3_600),
            at(12_000),
            at(12_000),
        );
        assert_eq!((plan.runs.len(), plan.skips[0].count), (0, 3));
    }

    #[test]
    fn a_long_outage_is_worked_off_in_bounded_steps_with_nothing_silent() {
        for (misfire, runs) in [
            (Misfire::All, limits::CATCH_UP_RUNS_MAX + 7),
            (Misfire::Last, 7),
            (Misfire::Skip, 7),
        ] {
            let now = at(300_000);
            let (mut next, mut counted, mut ran) = (Some(at(10)), 0, 0);
            while let Some(first) = next.filter(|t| *t <= now) {
                let plan = occurrences(&every_10s(), &spec(misfire), first, now, now);
                let seen = plan.skips.iter().map(|s| s.count).sum::<u64>() + plan.runs.len() as u64;
                assert!(seen > 0 && seen <= limits::CATCH_UP_STEPS_MAX as u64);
                counted += seen;
                ran += plan.runs.len();
                next = plan.next;
            }
            assert_eq!(counted, 30_000);
            assert_eq!(ran, runs, "{misfire:?}");
        }
    }

    #[test]
    fn max_lateness_beats_the_policy() {
        let mut spec = spec(Misfire::All);
        spec.max_lateness = Some(Duration::from_secs(100));
        let plan = occurrences(&every_10s(), &spec, at(10), at(1_000), at(1_000));
        assert_eq!(plan.runs.first(), Some(&at(900)));
        assert_eq!(
            plan.skips,
            vec![Skip {
                first: at(10),
                last: at(890),
                count: 89,
                reason: Reason::TooLate
            }]
        );
    }
}
