//! The verdicts over starts: what the log of effects and the programs' own log say, held against the store.

use std::collections::{BTreeMap, HashSet};

use campanile_core::decide::invariants::{Start, started_once};
use campanile_core::id::RunId;
use campanile_core::run::{Reason, State};

use super::Case;
use super::verdict::{Check, check};
use crate::book::Run;
use crate::effects::Effect;
use crate::load::{Kind, LEGACY_BODY};
use crate::spelling::id_of;

/// By how much two starts of one task may seem to lie in each other: threads of the log that note an end late, on a
/// machine with more to do than it can. What overlaps for real does so for a large part of an effect's second.
const NOTED_LATE_MS: i64 = 100;

impl Case<'_> {
    /// By run, what was seen to start.
    fn starts_by_run(&self) -> BTreeMap<i64, Vec<&Effect>> {
        let mut by_run: BTreeMap<i64, Vec<&Effect>> = BTreeMap::new();
        for start in &self.starts {
            if let Some(run) = id_of(&start.run) {
                by_run.entry(run).or_default().push(start);
            }
        }
        by_run
    }

    /// The runs whose starts break the core's predicate, with the names of their effects.
    fn started_again(&self, at_most_once: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        for (run, effects) in self.starts_by_run() {
            let run = RunId::from_i64(run);
            let start = |effect: &&Effect| Start {
                run,
                attempt: effect.attempt,
            };
            let starts: Vec<Start> = effects.iter().map(start).collect();
            let mut once = HashSet::new();
            if at_most_once {
                let is_once = self.kind(&effects[0].task) == Some(Kind::Once);
                once.extend(is_once.then_some(run));
                if once.is_empty() {
                    continue;
                }
            }
            if let Err(violation) = started_once(&starts, &once) {
                wrong.push(format!("{}: {violation}", effects[0].key));
            }
        }
        wrong
    }

    pub(super) fn attempts_once(&self) -> Check {
        let good = format!("{} starts", self.starts.len());
        check("no attempt started twice", self.started_again(false), good)
    }

    pub(super) fn at_most_once(&self) -> Check {
        let once = |start: &&&Effect| self.kind(&start.task) == Some(Kind::Once);
        let count = self.starts.iter().filter(once).count();
        let good = format!("{count} runs started once");
        let wrong = self.started_again(true);
        check("at-most-once tasks started at most once", wrong, good)
    }

    pub(super) fn none_early(&self) -> Check {
        let (mut wrong, mut least) = (Vec::new(), i64::MAX);
        let starts = self.starts.iter();
        let starts = starts.filter_map(|s| Some((&s.key, self.run_of(s)?.due_ms(), s.at_ms)));
        let orders = self.evidence.orders.iter().flatten();
        let orders = orders.filter_map(|o| {
            let due = o.key.rsplit_once(':')?.1.parse().ok()?;
            Some((&o.key, due, o.at_ms))
        });
        for (key, due, at) in starts.chain(orders) {
            least = least.min(at - due);
            if at < due {
                wrong.push(format!("{key} came {} ms early", due - at));
            }
        }
        let good = format!("the nearest came {least} ms after its instant");
        check("none started early", wrong, good)
    }

    /// A start that the store knows nothing of, or that is not what the store says.
    pub(super) fn none_forged(&self) -> Check {
        let mut wrong = Vec::new();
        for start in &self.starts {
            let fits = self.run_of(start).is_some_and(|run| fits(run, start));
            if !fits || start.forged {
                let Effect {
                    key, run, attempt, ..
                } = start;
                wrong.push(format!("{key} of run {run} attempt {attempt}"));
            }
        }
        let odd = self.evidence.orders.iter().flatten();
        let odd = odd.filter(|order| order.body != LEGACY_BODY);
        wrong.extend(odd.map(|order| format!("{} with the body {:?}", order.key, order.body)));
        let good = format!("{} starts are as the store says", self.starts.len());
        check("no forged start", wrong, good)
    }

    /// Of a task whose runs must not overlap, no two effects were at work at once. One whose attempt was given up for lost
    /// may be a zombie's: its worker was stopped between its claim and its request.
    pub(super) fn one_at_a_time(&self) -> Check {
        let mut by_task: BTreeMap<&str, Vec<&Effect>> = BTreeMap::new();
        for effect in &self.evidence.effects {
            if self.kind(&effect.task).is_some_and(Kind::is_exclusive) {
                by_task.entry(&effect.task).or_default().push(effect);
            }
        }
        let (mut wrong, mut zombies, mut count) = (Vec::new(), 0, 0);
        for effects in by_task.values_mut() {
            effects.sort_by_key(|effect| effect.at_ms);
            count += effects.len();
            let mut last: Option<&Effect> = None;
            for effect in effects.iter() {
                if let Some(before) = last.filter(|b| overlap(b, effect)) {
                    if self.was_lost(before) || self.was_lost(effect) {
                        zombies += 1;
                    } else {
                        wrong.push(format!(
                            "{} attempt {} began at {}, {} attempt {} ended at {}",
                            effect.key,
                            effect.attempt,
                            effect.at_ms,
                            before.key,
                            before.attempt,
                            before.ended_ms
                        ));
                    }
                }
                if last.is_none_or(|before| before.ended_ms <= effect.ended_ms) {
                    last = Some(effect);
                }
            }
        }
        let good =
            format!("{count} effects one after another, {zombies} beside one given up for lost");
        check("exclusive tasks ran one at a time", wrong, good)
    }

    fn was_lost(&self, effect: &Effect) -> bool {
        id_of(&effect.run).is_some_and(|run| self.lost.contains(&(run, effect.attempt.into())))
    }

    /// What succeeded had its start, its answer was a good one, and its program had ended.
    pub(super) fn ends_had_starts(&self) -> Check {
        let (mut wrong, mut count) = (Vec::new(), 0);
        for run in &self.evidence.runs {
            if run.end() != (State::Succeeded, Reason::None) {
                continue;
            }
            count += 1;
            let attempt = i64::from(run.row.attempt);
            if !self.well.contains(&(run.id(), attempt)) {
                let due = run.due_ms();
                wrong.push(format!(
                    "{} at {due} succeeded with attempt {attempt}, which nobody saw end well",
                    run.task
                ));
            }
        }
        let good = format!("{count} successes, each seen outside");
        check("every success had its effect", wrong, good)
    }
}

/// The key that tells a run's effects apart.
pub(super) fn key_of(run: &Run) -> String {
    if run.is_scheduled() {
        format!("{}:{}", run.task, run.due_ms())
    } else {
        format!("{}:{}", run.task, run.row.id)
    }
}

/// Whether a start is one that the store knows of.
fn fits(run: &Run, start: &Effect) -> bool {
    start.attempt <= run.row.attempt && start.key == key_of(run) && start.task == run.task
}

fn overlap(before: &Effect, effect: &Effect) -> bool {
    let ended = if before.ended_ms == 0 {
        i64::MAX
    } else {
        before.ended_ms
    };
    effect.at_ms + NOTED_LATE_MS < ended
}
