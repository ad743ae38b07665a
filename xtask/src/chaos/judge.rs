//! The verdict over a campaign: what must hold of every instant, every start and every request, whatever was broken
//! meanwhile and however often. Pure functions on what was gathered outside the product.
//!
//! Under constant faults an instant may be late, skipped with its reason, lost with its worker and run again. It may not
//! be missing, be there twice, or have started early; and no attempt may start twice.

mod starts;

use std::collections::{BTreeMap, BTreeSet};

use super::books::{Attempt, Run};
use super::campaign::People;
use super::load::{Kind, Task};
use super::watch::Sealed;
use crate::field::effects::Effect;
use crate::field::listener::Order;
use crate::field::programs::ProgramLine;
use crate::field::rows::{reason, state};
use crate::field::spelling::id_of;
use crate::field::verdict::{Check, check};

/// `origin` as the store keeps it: an instant of a schedule.
const BY_SCHEDULE: i64 = 1;
/// A rest may begin so long before the request for it: with what was overdue then.
const OVERDUE_MS: i64 = 10_000;
/// A confirmed message that nobody took may be lost with the broker's disk for so long.
const ON_THE_WAY_MS: i64 = 10_000;

/// All that was gathered.
#[derive(Default)]
pub struct Evidence {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// By task: when its last pause was asked for, and when that was answered.
    pub pauses: BTreeMap<String, (i64, i64)>,
    /// By task: the instant from which on the store says that it rests. What is overdue when a task is paused belongs to
    /// its rest, whose row is written when it ends.
    pub rest_from: BTreeMap<String, i64>,
    /// What the store says became of every run.
    pub runs: Vec<Run>,
    /// What the store says of attempts that did not end well.
    pub attempts: Vec<Attempt>,
    /// Rows in tables that should be empty.
    pub leftovers: Vec<(&'static str, i64)>,
    /// The log of effects.
    pub effects: Vec<Effect>,
    /// The programs' own log.
    pub programs: Vec<ProgramLine>,
    /// What the listener got.
    pub orders: Vec<Order>,
    /// What people were told.
    pub people: People,
    /// When the broker lost what it had.
    pub wiped: Vec<i64>,
    /// What was in the name of terms that were over.
    pub sealed: Sealed,
    /// What is in the name of each term at the end.
    pub fired: BTreeMap<i64, i64>,
    /// Processes that did not end well, or still live.
    pub left: Vec<String>,
}

/// The evidence, with what every verdict looks up.
struct Case<'a> {
    evidence: &'a Evidence,
    runs: BTreeMap<i64, &'a Run>,
    kinds: BTreeMap<&'a str, Kind>,
    /// Every start of every attempt, by HTTP or as a program.
    starts: Vec<&'a Effect>,
    /// Attempts that died with their worker.
    lost: BTreeSet<(i64, i64)>,
}

/// Every verdict.
pub fn judge(evidence: &Evidence) -> Vec<Check> {
    let case = Case::of(evidence);
    let left: Vec<String> = evidence.left.clone();
    vec![
        case.none_lost(),
        case.none_twice(),
        case.none_made_up(),
        case.attempts_once(),
        case.at_most_once(),
        case.none_early(),
        case.none_forged(),
        case.one_at_a_time(),
        case.ends(),
        case.ends_had_starts(),
        case.none_wedged(),
        case.nothing_left(),
        case.rests_kept(),
        case.requests_kept(),
        case.terms_sealed(),
        case.orders_arrived(),
        check("no process left behind", &left, "all ended well".to_owned()),
    ]
}

impl<'a> Case<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        let programs = evidence.programs.iter().filter(|line| line.start);
        let programs = programs.map(|line| &line.effect);
        let lost = evidence.attempts.iter();
        let lost = lost.filter(|attempt| attempt.reason == reason::LOST);
        Self {
            evidence,
            runs: evidence.runs.iter().map(|run| (run.id, run)).collect(),
            kinds: evidence
                .tasks
                .iter()
                .map(|task| (task.name.as_str(), task.kind))
                .collect(),
            starts: evidence.effects.iter().chain(programs).collect(),
            lost: lost.map(|attempt| (attempt.run, attempt.attempt)).collect(),
        }
    }

    fn kind(&self, task: &str) -> Option<Kind> {
        self.kinds.get(task).copied()
    }

    fn run_of(&self, start: &Effect) -> Option<&'a Run> {
        self.runs.get(&id_of(&start.run)?).copied()
    }

    /// By task, its rows that stand for instants of its schedule: first and last instant.
    fn spans(&self) -> BTreeMap<&'a str, Vec<(i64, i64)>> {
        let mut spans: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
        let scheduled = self.evidence.runs.iter();
        for run in scheduled.filter(|run| run.origin == BY_SCHEDULE) {
            let last = run.due_ms.max(run.skipped_last_ms);
            spans
                .entry(run.task.as_str())
                .or_default()
                .push((run.due_ms, last));
        }
        for of_task in spans.values_mut() {
            of_task.sort_unstable();
        }
        spans
    }

    fn none_lost(&self) -> Check {
        let spans = self.spans();
        let (mut wrong, mut instants) = (Vec::new(), 0);
        for task in &self.evidence.tasks {
            let Some((asked, _)) = self.evidence.pauses.get(&task.name) else {
                wrong.push(format!("{} was never paused", task.name));
                continue;
            };
            let own = spans.get(task.name.as_str()).map_or(&[][..], Vec::as_slice);
            let rests = self.evidence.rest_from.get(&task.name).copied();
            let until = rests
                .unwrap_or(i64::MAX)
                .max(asked - OVERDUE_MS)
                .min(*asked);
            for at in task.instants(until) {
                instants += 1;
                // The last row that begins at or before the instant must reach it.
                let before = own.partition_point(|(first, _)| *first <= at);
                let reached = own[..before].iter().rev().take(3);
                if !reached.into_iter().any(|(_, last)| *last >= at) {
                    wrong.push(format!("{} at {at} has no row", task.name));
                }
            }
        }
        let good = format!("{instants} instants by the independent list, each has its row");
        check("no instant lost", &wrong, good)
    }

    fn none_twice(&self) -> Check {
        let mut wrong = Vec::new();
        let mut rows = 0;
        for (task, spans) in self.spans() {
            rows += spans.len();
            for pair in spans.windows(2) {
                if pair[1].0 <= pair[0].1 {
                    wrong.push(format!("{task}: {:?} and {:?}", pair[0], pair[1]));
                }
            }
        }
        check("no instant recorded twice", &wrong, format!("{rows} rows"))
    }

    fn none_made_up(&self) -> Check {
        let tasks: BTreeMap<&str, &Task> = self
            .evidence
            .tasks
            .iter()
            .map(|task| (task.name.as_str(), task))
            .collect();
        let mut wrong = Vec::new();
        let scheduled = self.evidence.runs.iter();
        for run in scheduled.filter(|run| run.origin == BY_SCHEDULE) {
            let pause = self.evidence.pauses.get(&run.task);
            let latest = pause.map_or(i64::MAX, |(_, answered)| *answered);
            let Some(task) = tasks.get(run.task.as_str()) else {
                wrong.push(format!("{} is no task", run.task));
                continue;
            };
            let last = run.due_ms.max(run.skipped_last_ms);
            let count = (last - run.due_ms) / task.period_ms + 1;
            let honest = task.has(run.due_ms) && task.has(last) && run.due_ms <= latest;
            if !honest || count != run.skipped.max(1) {
                wrong.push(format!(
                    "{} from {} to {last} for {} instants",
                    run.task, run.due_ms, run.skipped
                ));
            }
        }
        check(
            "no instant made up",
            &wrong,
            "every row is on the list".to_owned(),
        )
    }

    /// Which ends a run of this kind may have.
    fn may_end(&self, run: &Run) -> bool {
        use Kind::{
            Flaky, Long, Missed, Once, Order, People, Program, Queue, Quick, Replace, Skip,
        };
        let Some(kind) = self.kind(&run.task) else {
            return false;
        };
        match (run.state, run.reason) {
            (state::SUCCEEDED, reason::HANDED_OVER) => kind == Order,
            (state::SUCCEEDED, reason::NONE) => kind != Order,
            // At most once: at the first loss, or when its worker drained; the others at the third loss.
            (state::FAILED, reason::LOST) => kind == Once || run.losses >= 3,
            (state::CANCELLED, reason::REQUESTED) => kind == People,
            (state::CANCELLED | state::SKIPPED, reason::REPLACED) => kind == Replace,
            (state::SKIPPED, reason::OVERLAP) => matches!(kind, Skip | Queue | Replace),
            (state::SKIPPED, reason::PAUSED) => kind == People,
            (state::SKIPPED, reason::MISFIRE | reason::CATCH_UP_LIMIT) => matches!(
                kind,
                Missed
                    | Quick
                    | Long
                    | Once
                    | Flaky
                    | Skip
                    | Queue
                    | Replace
                    | People
                    | Program
                    | Order
            ),
            _ => false,
        }
    }

    fn ends(&self) -> Check {
        let ended = self.evidence.runs.iter().filter(|run| !run.live);
        let mut count: BTreeMap<(i64, i64), u32> = BTreeMap::new();
        let mut wrong = Vec::new();
        for run in ended {
            *count.entry((run.state, run.reason)).or_default() += 1;
            if !self.may_end(run) {
                wrong.push(format!(
                    "{} at {} ended in state {}, reason {}, {} failures, {} losses",
                    run.task, run.due_ms, run.state, run.reason, run.failures, run.losses
                ));
            }
        }
        let of = |state: i64| -> u32 {
            let these = count.iter().filter(|((s, _), _)| *s == state);
            these.map(|(_, n)| n).sum()
        };
        let good = format!(
            "{} succeeded, {} failed as lost, {} cancelled, {} rows of skips",
            of(state::SUCCEEDED),
            of(state::FAILED),
            of(state::CANCELLED),
            of(state::SKIPPED)
        );
        check("every run ended as it may", &wrong, good)
    }

    fn none_wedged(&self) -> Check {
        let live = self.evidence.runs.iter().filter(|run| run.live);
        let wrong: Vec<String> = live
            .map(|run| format!("{} at {} is in state {}", run.task, run.due_ms, run.state))
            .collect();
        let good = format!("{} runs have ended", self.evidence.runs.len());
        check("no run wedged", &wrong, good)
    }

    fn nothing_left(&self) -> Check {
        let left = self.evidence.leftovers.iter().filter(|(_, n)| *n > 0);
        let wrong: Vec<String> = left
            .map(|(table, n)| format!("{n} rows in {table}"))
            .collect();
        let names: Vec<&str> = self.evidence.leftovers.iter().map(|(t, _)| *t).collect();
        let good = format!("nothing in {}", names.join(", "));
        check("nothing left in the store", &wrong, good)
    }

    fn rests_kept(&self) -> Check {
        let mut wrong = Vec::new();
        let mut length_ms = 0;
        for (task, from, to) in &self.evidence.people.rests {
            let from = *from;
            length_ms += (to - from).max(0);
            let inside = self.evidence.runs.iter().filter(|run| {
                run.task == *task && run.origin == BY_SCHEDULE && (from..*to).contains(&run.due_ms)
            });
            let ran = inside.filter(|run| run.state != state::SKIPPED);
            wrong.extend(ran.map(|run| format!("{task} ran at {}", run.due_ms)));
        }
        let good = format!(
            "{} rests, {length_ms} ms in all",
            self.evidence.people.rests.len()
        );
        check("a paused task rests", &wrong, good)
    }

    fn requests_kept(&self) -> Check {
        let accepted = &self.evidence.people.accepted;
        let known = |id: &&String| id_of(id).is_some_and(|id| self.runs.contains_key(&id));
        let lost = accepted.iter().filter(|id| !known(id));
        let wrong: Vec<String> = lost.map(|id| format!("run {id} was accepted")).collect();
        let good = format!("{} accepted, each has its row", accepted.len());
        check("no request lost", &wrong, good)
    }

    fn terms_sealed(&self) -> Check {
        let sealed = &self.evidence.sealed;
        let mut wrong = Vec::new();
        for (epoch, count) in &self.evidence.fired {
            if let Some(most) = sealed.most(*epoch).filter(|most| count > most) {
                wrong.push(format!(
                    "{most} instants were in the name of term {epoch} when it was over, and {count} at the end"
                ));
            }
        }
        let good = format!("{} terms with instants were seen over", sealed.least.len());
        check("no term wrote after the next began", &wrong, good)
    }

    fn orders_arrived(&self) -> Check {
        let came: BTreeSet<&str> = self
            .evidence
            .orders
            .iter()
            .map(|o| o.key.as_str())
            .collect();
        let (mut wrong, mut sent, mut wiped) = (Vec::new(), 0, 0);
        for run in &self.evidence.runs {
            if self.kind(&run.task) != Some(Kind::Order) || run.state != state::SUCCEEDED {
                continue;
            }
            sent += 1;
            let key = format!("{}:{}", run.task, run.due_ms);
            // What the broker had confirmed and lost with its disk is nobody's but the broker's.
            let gone =
                |at: &i64| (-ON_THE_WAY_MS..=ON_THE_WAY_MS).contains(&(at - run.finished_ms));
            if came.contains(key.as_str()) {
                continue;
            }
            if self.evidence.wiped.iter().any(gone) {
                wiped += 1;
            } else {
                wrong.push(format!("{key} never came"));
            }
        }
        let good = format!("{sent} sent, {wiped} lost with the broker's disk");
        check("the old listener got every message", &wrong, good)
    }
}

#[cfg(test)]
mod tests;
