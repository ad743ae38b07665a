//! The verdict: what must hold of every instant, every start and every term, whatever was broken meanwhile. Pure
//! functions on what was gathered outside the product; nothing here asks a node anything.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Attempt, Leader, Run};
use super::load::{Kind, LEGACY_BODY, Task, expected};
use crate::field::effects::Effect;
use crate::field::listener::Order;
use crate::field::programs::ProgramLine;
use crate::field::rows::{reason, state};
use crate::field::spelling::id_of;
use crate::field::verdict::{Check, check};

/// All that was gathered.
#[derive(Default)]
pub struct Evidence {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// By task: when its pause was asked for, and when that was answered.
    pub pauses: BTreeMap<String, (i64, i64)>,
    /// What the store says became of every instant.
    pub runs: Vec<Run>,
    /// What the store says of attempts that did not end well.
    pub attempts: Vec<Attempt>,
    /// The log of effects.
    pub effects: Vec<Effect>,
    /// The programs' own log.
    pub programs: Vec<ProgramLine>,
    /// What the listener got.
    pub orders: Vec<Order>,
    /// Every term.
    pub terms: Vec<Leader>,
    /// Workers that were killed.
    pub killed: Vec<i64>,
    /// Claims that were refused: deliveries beyond the one that won.
    pub refused: u64,
    /// Processes that did not end well, or still live.
    pub left: Vec<String>,
}

impl Evidence {
    /// Every verdict.
    pub fn judge(&self) -> Vec<Check> {
        let starts = self.starts();
        vec![
            self.none_lost(),
            self.none_twice(),
            self.ends(),
            self.attempts_once(&starts),
            self.ends_had_starts(&starts),
            self.at_most_once(&starts),
            self.none_early(&starts),
            self.retries_explained(),
            self.duplicates(),
            self.one_term_at_a_time(),
            self.orders_arrived(),
            self.programs_ended(),
            check(
                "no process left behind",
                &self.left,
                "all ended well".to_owned(),
            ),
        ]
    }

    /// Every start of every attempt, by HTTP or as a program.
    fn starts(&self) -> Vec<&Effect> {
        let programs = self.programs.iter().filter(|line| line.start);
        let programs = programs.map(|line| &line.effect);
        self.effects.iter().chain(programs).collect()
    }

    fn kind(&self, task: &str) -> Option<Kind> {
        self.tasks.iter().find(|t| t.name == task).map(|t| t.kind)
    }

    fn none_lost(&self) -> Check {
        let mut wrong = Vec::new();
        let mut instants = 0;
        for task in &self.tasks {
            let Some((asked, answered)) = self.pauses.get(&task.name) else {
                wrong.push(format!("{} was never paused", task.name));
                continue;
            };
            let (must, may) = expected(task, *asked, *answered);
            let runs = self.runs.iter().filter(|run| run.task == task.name);
            let mut there: BTreeSet<i64> = runs.map(|run| run.due_ms).collect();
            instants += must.len();
            for at in must.iter().filter(|at| !there.contains(at)) {
                wrong.push(format!("{} at {at} has no run", task.name));
            }
            let beyond = may.iter().skip_while(|at| there.contains(at));
            for at in beyond.filter(|at| there.contains(at)) {
                wrong.push(format!("{} at {at} comes after a gap", task.name));
            }
            there.retain(|at| !must.contains(at) && !may.contains(at));
            for at in there {
                wrong.push(format!("{} at {at} is no instant of it", task.name));
            }
        }
        check(
            "no instant lost",
            &wrong,
            format!("{instants} instants by the independent list, each has its run"),
        )
    }

    fn none_twice(&self) -> Check {
        let mut seen = BTreeSet::new();
        let twice = self
            .runs
            .iter()
            .filter(|run| !seen.insert((&run.task, run.due_ms)));
        let wrong: Vec<String> = twice
            .map(|run| format!("{} at {}", run.task, run.due_ms))
            .collect();
        check(
            "no instant recorded twice",
            &wrong,
            format!("{} runs", self.runs.len()),
        )
    }

    fn ends(&self) -> Check {
        let mut wrong = Vec::new();
        let (mut well, mut lost) = (0, 0);
        for run in &self.runs {
            let kind = self.kind(&run.task);
            let may_be_lost = kind == Some(Kind::Once) && self.was_lost(run);
            let good = if kind == Some(Kind::Order) {
                reason::HANDED_OVER
            } else {
                reason::NONE
            };
            match (run.live, run.state, run.reason) {
                (false, state::SUCCEEDED, reason) if reason == good => well += 1,
                (false, state::FAILED, reason::LOST) if may_be_lost => lost += 1,
                (false, state::SKIPPED, reason) => wrong.push(format!(
                    "{} at {}: {} instants skipped for reason {reason}",
                    run.task, run.due_ms, run.skipped
                )),
                (live, state, reason) => wrong.push(format!(
                    "{} at {} is in state {state}, reason {reason}{}",
                    run.task,
                    run.due_ms,
                    if live { ", and still live" } else { "" }
                )),
            }
        }
        check(
            "every run ended as it should",
            &wrong,
            format!("{well} succeeded, {lost} at-most-once runs lost with their worker, 0 skipped"),
        )
    }

    /// Whether the store has an attempt of this run that died with a worker that was killed.
    fn was_lost(&self, run: &Run) -> bool {
        let lost = |a: &Attempt| {
            a.run == run.id && a.reason == reason::LOST && self.killed.contains(&a.worker)
        };
        self.attempts.iter().any(lost)
    }

    fn attempts_once(&self, starts: &[&Effect]) -> Check {
        let runs: BTreeMap<i64, &Run> = self.runs.iter().map(|run| (run.id, run)).collect();
        let mut seen = BTreeSet::new();
        let mut wrong = Vec::new();
        for start in starts {
            if !seen.insert((&start.run, start.attempt)) {
                wrong.push(format!(
                    "{} attempt {} started again",
                    start.key, start.attempt
                ));
            }
            let known = id_of(&start.run).and_then(|id| runs.get(&id));
            let fits = known.is_some_and(|run| {
                i64::from(start.attempt) <= run.attempt
                    && start.key == format!("{}:{}", run.task, run.due_ms)
            });
            if !fits {
                wrong.push(format!(
                    "{} attempt {} is not in the store",
                    start.key, start.attempt
                ));
            }
        }
        check(
            "no attempt started twice",
            &wrong,
            format!("{} starts, each known to the store", starts.len()),
        )
    }

    fn ends_had_starts(&self, starts: &[&Effect]) -> Check {
        let started: BTreeSet<(i64, i64)> = starts
            .iter()
            .filter_map(|s| Some((id_of(&s.run)?, i64::from(s.attempt))))
            .collect();
        let ours =
            |run: &&Run| run.state == state::SUCCEEDED && self.kind(&run.task) != Some(Kind::Order);
        let without: Vec<String> = self
            .runs
            .iter()
            .filter(ours)
            .filter(|run| !started.contains(&(run.id, run.attempt)))
            .map(|run| format!("{} at {} attempt {}", run.task, run.due_ms, run.attempt))
            .collect();
        check(
            "every success had its effect",
            &without,
            "store and log of effects agree".to_owned(),
        )
    }

    fn at_most_once(&self, starts: &[&Effect]) -> Check {
        let mut count: BTreeMap<&str, u32> = BTreeMap::new();
        let once = |s: &&&Effect| self.kind(&s.task) == Some(Kind::Once);
        for start in starts.iter().filter(once) {
            *count.entry(&start.key).or_default() += 1;
        }
        let wrong: Vec<String> = count
            .iter()
            .filter(|(_, n)| **n > 1)
            .map(|(key, n)| format!("{key} started {n} times"))
            .collect();
        check(
            "at-most-once tasks started at most once",
            &wrong,
            format!("{} instants started once", count.len()),
        )
    }

    fn retries_explained(&self) -> Check {
        let mut wrong = Vec::new();
        let mut again = 0;
        for run in &self.runs {
            let lost = run.attempt == run.losses + 1 && self.was_lost(run);
            if run.attempt > 1 && lost {
                again += 1;
            }
            if run.failures > 0 || (run.attempt > 1 && !lost) {
                wrong.push(format!(
                    "{} at {}: attempt {}, {} failures, {} losses",
                    run.task, run.due_ms, run.attempt, run.failures, run.losses
                ));
            }
        }
        for attempt in &self.attempts {
            if attempt.reason != reason::LOST || !self.killed.contains(&attempt.worker) {
                wrong.push(format!(
                    "run {} attempt {} ended for reason {} on worker {}",
                    attempt.run, attempt.attempt, attempt.reason, attempt.worker
                ));
            }
        }
        if again == 0 && !self.killed.is_empty() {
            wrong.push("a worker died with runs in hand and nothing started again".to_owned());
        }
        check(
            "second attempts explained by a dead worker",
            &wrong,
            format!("{again} runs started again"),
        )
    }

    fn duplicates(&self) -> Check {
        Check {
            name: "duplicates were delivered and refused",
            passed: self.refused > 0,
            detail: format!("{} claims refused", self.refused),
            violations: usize::from(self.refused == 0),
        }
    }

    fn one_term_at_a_time(&self) -> Check {
        let mut wrong = Vec::new();
        for pair in self.terms.windows(2) {
            if pair[1].epoch <= pair[0].epoch || pair[1].since_ms < pair[0].since_ms {
                wrong.push(format!("term {} followed {}", pair[1].epoch, pair[0].epoch));
            }
        }
        for run in &self.runs {
            if !self.terms.iter().any(|t| t.epoch == run.epoch) {
                wrong.push(format!("run {} of an unknown term {}", run.id, run.epoch));
            }
            let next = self.terms.iter().find(|t| t.epoch > run.epoch);
            if next.is_some_and(|next| run.minted_ms() > next.since_ms) {
                wrong.push(format!(
                    "run {} was minted in term {} after that was over",
                    run.id, run.epoch
                ));
            }
        }
        check(
            "no term wrote after the next began",
            &wrong,
            format!("{} terms", self.terms.len()),
        )
    }

    fn orders_arrived(&self) -> Check {
        let mut count: BTreeMap<&str, u32> = BTreeMap::new();
        let mut wrong = Vec::new();
        for order in &self.orders {
            *count.entry(&order.key).or_default() += 1;
            if order.body != LEGACY_BODY {
                wrong.push(format!("{} came with the body {:?}", order.key, order.body));
            }
        }
        let mut instants = 0;
        for run in &self.runs {
            if self.kind(&run.task) == Some(Kind::Order) {
                instants += 1;
                let key = format!("{}:{}", run.task, run.due_ms);
                if !count.contains_key(key.as_str()) {
                    wrong.push(format!("{key} never came"));
                }
            }
        }
        let again: u32 = count.values().map(|n| n - 1).sum();
        check(
            "the old listener got every message",
            &wrong,
            format!("{instants} instants, {again} messages came again"),
        )
    }

    fn none_early(&self, starts: &[&Effect]) -> Check {
        let mut wrong = Vec::new();
        let mut least = i64::MAX;
        let orders = self.orders.iter().map(|order| (&order.key, order.at_ms));
        let all = starts.iter().map(|s| (&s.key, s.at_ms)).chain(orders);
        for (key, at) in all {
            let Some(due) = key
                .rsplit_once(':')
                .and_then(|(_, due)| due.parse::<i64>().ok())
            else {
                wrong.push(format!("the key {key:?} names no instant"));
                continue;
            };
            least = least.min(at - due);
            if at < due {
                wrong.push(format!("{key} came {} ms early", due - at));
            }
        }
        check(
            "none started early",
            &wrong,
            format!("the nearest came {least} ms after its instant"),
        )
    }

    fn programs_ended(&self) -> Check {
        let ended: BTreeSet<(&str, u32)> = self
            .programs
            .iter()
            .filter(|line| !line.start)
            .map(|line| (line.effect.key.as_str(), line.effect.attempt))
            .collect();
        let mut wrong = Vec::new();
        let mut runs = 0;
        for run in &self.runs {
            if self.kind(&run.task) == Some(Kind::Program) && run.state == state::SUCCEEDED {
                runs += 1;
                let key = format!("{}:{}", run.task, run.due_ms);
                let attempt = u32::try_from(run.attempt).unwrap_or(0);
                if !ended.contains(&(key.as_str(), attempt)) {
                    wrong.push(format!("{key} succeeded before its program ended"));
                }
            }
        }
        check(
            "programs ran to their ends",
            &wrong,
            format!("{runs} runs of programs"),
        )
    }
}

#[cfg(test)]
mod tests;
