//! The verdicts over starts: what the log of effects and the programs' own log say, held against the store.

use std::collections::{BTreeMap, BTreeSet};

use super::{BY_SCHEDULE, Case};
use crate::chaos::books::Run;
use crate::chaos::load::{Kind, LEGACY_BODY};
use crate::field::effects::Effect;
use crate::field::rows::state;
use crate::field::spelling::id_of;
use crate::field::verdict::{Check, check};

/// By how much two starts of one task may seem to lie in each other: threads of the log that note an end late, on a
/// machine with more to do than it can. What overlaps for real does so for a large part of an effect's second.
const NOTED_LATE_MS: i64 = 100;

impl Case<'_> {
    pub(super) fn attempts_once(&self) -> Check {
        let mut seen = BTreeSet::new();
        let again = self.starts.iter();
        let again = again.filter(|start| !seen.insert((&start.run, start.attempt)));
        let wrong: Vec<String> = again
            .map(|start| format!("{} attempt {} started again", start.key, start.attempt))
            .collect();
        let good = format!("{} starts", self.starts.len());
        check("no attempt started twice", &wrong, good)
    }

    pub(super) fn at_most_once(&self) -> Check {
        let mut count: BTreeMap<&str, u32> = BTreeMap::new();
        for start in &self.starts {
            if self.kind(&start.task) == Some(Kind::Once) {
                *count.entry(&start.key).or_default() += 1;
            }
        }
        let more = count.iter().filter(|(_, n)| **n > 1);
        let wrong: Vec<String> = more
            .map(|(key, n)| format!("{key} started {n} times"))
            .collect();
        let good = format!("{} instants started once", count.len());
        check("at-most-once tasks started at most once", &wrong, good)
    }

    pub(super) fn none_early(&self) -> Check {
        let mut wrong = Vec::new();
        let mut least = i64::MAX;
        let starts = self.starts.iter();
        let starts = starts.filter_map(|s| Some((&s.key, self.run_of(s)?.due_ms, s.at_ms)));
        let orders = self.evidence.orders.iter();
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
        check("none started early", &wrong, good)
    }

    /// A start that the store knows nothing of, or that is not what the store says.
    pub(super) fn none_forged(&self) -> Check {
        let mut wrong = Vec::new();
        for start in &self.starts {
            let fits = self.run_of(start).is_some_and(|run| fits(run, start));
            if !fits || start.forged {
                wrong.push(format!(
                    "{} of run {} attempt {}",
                    start.key, start.run, start.attempt
                ));
            }
        }
        let odd = self.evidence.orders.iter();
        let odd = odd.filter(|order| order.body != LEGACY_BODY);
        wrong.extend(odd.map(|order| format!("{} with the body {:?}", order.key, order.body)));
        let good = format!("{} starts are as the store says", self.starts.len());
        check("no forged start", &wrong, good)
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
        check("exclusive tasks ran one at a time", &wrong, good)
    }

    fn was_lost(&self, effect: &Effect) -> bool {
        id_of(&effect.run).is_some_and(|run| self.lost.contains(&(run, effect.attempt.into())))
    }

    /// What succeeded had its start, its answer was a good one, and its program had ended.
    pub(super) fn ends_had_starts(&self) -> Check {
        let mut good_starts = BTreeSet::new();
        for effect in &self.evidence.effects {
            if effect.status == 200 {
                good_starts.extend(id_of(&effect.run).map(|id| (id, i64::from(effect.attempt))));
            }
        }
        for line in self.evidence.programs.iter().filter(|line| !line.start) {
            let effect = &line.effect;
            good_starts.extend(id_of(&effect.run).map(|id| (id, i64::from(effect.attempt))));
        }
        let (mut wrong, mut count) = (Vec::new(), 0);
        for run in &self.evidence.runs {
            if run.state != state::SUCCEEDED || self.kind(&run.task) == Some(Kind::Order) {
                continue;
            }
            count += 1;
            if !good_starts.contains(&(run.id, run.attempt)) {
                wrong.push(format!(
                    "{} at {} succeeded with attempt {}, which nobody saw end well",
                    run.task, run.due_ms, run.attempt
                ));
            }
        }
        let good = format!("{count} successes, each seen outside");
        check("every success had its effect", &wrong, good)
    }
}

/// Whether a start is one that the store knows of.
fn fits(run: &Run, start: &Effect) -> bool {
    let key = if run.origin == BY_SCHEDULE {
        format!("{}:{}", run.task, run.due_ms)
    } else {
        format!("{}:{}", run.task, start.run)
    };
    i64::from(start.attempt) <= run.attempt && start.key == key && start.task == run.task
}

fn overlap(before: &Effect, effect: &Effect) -> bool {
    let ended = if before.ended_ms == 0 {
        i64::MAX
    } else {
        before.ended_ms
    };
    effect.at_ms + NOTED_LATE_MS < ended
}
