//! The one judge of the field: what must hold of every instant, every start and every request, whatever was broken
//! meanwhile and however often. Pure functions on what was gathered outside the product: the store's book, which is held
//! against the core's own invariants, and what the world saw.
//!
//! An instant may be late, skipped with its reason, lost with its worker and run again, as the scene's rule allows. It may
//! not be missing, be there twice, or have started early; and no attempt may start twice.

mod starts;
pub mod verdict;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use campanile_core::decide::invariants::{self, Snapshot, Start};
use campanile_core::id::{RunId, TaskId};
use campanile_core::run::{self, Reason, State};
use campanile_schedule::time::Timestamp;

use crate::Outcome;
use crate::book::{Attempt, Book, Run};
use crate::effects::Effect;
use crate::listener::Order;
use crate::load::{Asked, Kind, Task};
use crate::programs::ProgramLine;
use crate::spelling::id_of;
use crate::stand::Stand;

use verdict::{Check, check};

/// A confirmed message that nobody took may be lost with the broker's disk for so long.
const ON_THE_WAY_MS: i64 = 10_000;

#[derive(Clone, Copy)]
pub struct Rule {
    /// Whether a run of this task may have ended as it did.
    pub may_end: fn(&Case<'_>, &Task, &Run) -> bool,
    /// How long before the request for it a task's rest may begin: with what was overdue then, whose row is written when
    /// the rest ends.
    pub overdue_ms: i64,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            may_end: |_, _, _| true,
            overdue_ms: 0,
        }
    }
}

/// What explains more than a scene allows as a rule.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances {
    /// A worker was asked to end, and so gave runs back.
    pub drained: bool,
    /// A worker said that a claim of its is in doubt: that uses attempts up, and counts as neither failure nor loss. On a
    /// busy machine the store may not answer in time.
    pub doubted: bool,
    /// A process that lived was taken for dead: it loses its attempts beside those that the scene ends.
    pub late: bool,
}

/// What people did, as they know it themselves.
#[derive(Debug, Clone, Default)]
pub struct People {
    /// Runs that the API said it took, by id.
    pub accepted: Vec<String>,
    /// Rests of tasks: the name, when the pause was answered, when the resumption was asked for.
    pub rests: Vec<(String, i64, i64)>,
}

#[derive(Default)]
pub struct Evidence {
    pub rule: Rule,
    pub tasks: Vec<Task>,
    /// By task, when it was made; the others were there before their first instants.
    pub made: BTreeMap<String, Asked>,
    /// By task, its last pause.
    pub pauses: BTreeMap<String, Asked>,
    /// The tasks that are paused, and the instant from which on the store says so.
    pub rests: Vec<(TaskId, String, i64)>,
    /// What the store says became of every run.
    pub runs: Vec<Run>,
    /// What the store says of attempts that did not end well.
    pub attempts: Vec<Attempt>,
    /// Rows in tables that should be empty.
    pub leftovers: Vec<(&'static str, i64)>,
    pub effects: Vec<Effect>,
    pub programs: Vec<ProgramLine>,
    /// What the listener got; nothing where none listens.
    pub orders: Option<Vec<Order>>,
    pub people: People,
    /// When the broker lost what it had.
    pub wiped: Vec<i64>,
    /// What explains more than the rule allows.
    pub circumstances: Circumstances,
    /// Processes that did not end well, or still live.
    pub left: Vec<String>,
}

impl Evidence {
    /// Adds what the store and the world say when all is over.
    pub fn gather(&mut self, stand: &Stand, book: &Book) -> Outcome<()> {
        self.runs = book.runs()?;
        self.attempts = book.attempts()?;
        self.rests = book.paused()?;
        self.effects = stand.effects.all();
        self.orders = stand.listener.as_ref().map(|listener| listener.all());
        self.programs = stand.programs();
        Ok(())
    }

    /// Writes what the verdict rests on to files, for whoever looks for the reason of a failure.
    pub fn dump(&self, folder: &Path) -> Outcome<()> {
        let write = |name: &str, rows: Vec<String>| {
            std::fs::write(folder.join(name), rows.join("\n") + "\n")
        };
        let runs = self.runs.iter().map(|run| format!("{run:?}"));
        write("runs.txt", runs.collect())?;
        let attempts = self.attempts.iter().map(|a| format!("{a:?}"));
        write("attempts.txt", attempts.collect())?;
        let effects = self.effects.iter().map(|e| format!("{e:?}"));
        write("effects.txt", effects.collect())?;
        Ok(())
    }

    /// How many instants must have an account.
    pub fn instants(&self) -> usize {
        let tasks = self.tasks.iter();
        tasks.map(|task| self.accounted(task).0.len()).sum()
    }

    /// Every start of every attempt, by HTTP or as a program.
    pub fn starts(&self) -> impl Iterator<Item = &Effect> {
        let programs = self.programs.iter().filter(|line| line.start);
        self.effects.iter().chain(programs.map(|line| &line.effect))
    }

    /// The instants that must have an account, and those that may.
    fn accounted(&self, task: &Task) -> (Vec<i64>, Vec<i64>) {
        let made = self.made.get(&task.name).copied().unwrap_or_default();
        let paused = self.pauses.get(&task.name).copied();
        task.accounted(made, paused.unwrap_or_default())
    }

    /// The store as the core sees it.
    fn snapshot(&self) -> Snapshot {
        let resting = self.rests.iter();
        Snapshot {
            runs: self.runs.iter().map(|run| run.row.clone()).collect(),
            resting: resting
                .map(|(task, _, from)| (*task, Timestamp::from_ms(*from)))
                .collect(),
            ..Snapshot::default()
        }
    }
}

/// The evidence, with what every verdict looks up.
pub struct Case<'a> {
    pub evidence: &'a Evidence,
    pub runs: BTreeMap<i64, &'a Run>,
    tasks: BTreeMap<&'a str, &'a Task>,
    starts: Vec<&'a Effect>,
    /// Attempts whose effect was answered well, or whose program came to its end.
    well: BTreeSet<(i64, i64)>,
    begun: BTreeSet<(i64, i64)>,
    /// Attempts that died with their worker.
    lost: BTreeSet<(i64, i64)>,
}

/// Every verdict that all scenes share.
pub fn judge(case: &Case<'_>) -> Vec<Check> {
    let mut checks = vec![
        case.none_lost(),
        case.none_twice(),
        case.none_made_up(),
        case.invariants(),
        case.attempts_once(),
        case.at_most_once(),
        case.none_early(),
        case.none_forged(),
        case.one_at_a_time(),
        case.ends(),
        case.ends_had_starts(),
        case.none_wedged(),
        case.nothing_left(),
    ];
    checks.extend(case.orders_arrived());
    let left = case.evidence.left.clone();
    checks.push(check(
        "no process left behind",
        left,
        "all ended well".to_owned(),
    ));
    checks
}

impl<'a> Case<'a> {
    pub fn of(evidence: &'a Evidence) -> Self {
        let attempt = |e: &Effect| Some((id_of(&e.run)?, i64::from(e.attempt)));
        let answered = evidence.effects.iter().filter(|e| e.status == 200);
        let ended = evidence.programs.iter().filter(|line| !line.start);
        let well = answered.chain(ended.map(|line| &line.effect));
        let lost = evidence.attempts.iter();
        let lost = lost.filter(|attempt| attempt.reason == Reason::Lost);
        Self {
            evidence,
            runs: evidence.runs.iter().map(|run| (run.id(), run)).collect(),
            tasks: evidence
                .tasks
                .iter()
                .map(|t| (t.name.as_str(), t))
                .collect(),
            starts: evidence.starts().collect(),
            well: well.filter_map(attempt).collect(),
            begun: evidence.starts().filter_map(attempt).collect(),
            lost: lost.map(|attempt| (attempt.run, attempt.attempt)).collect(),
        }
    }

    /// Whether the last attempt of this run was seen to begin.
    pub fn was_begun(&self, run: &Run) -> bool {
        self.begun.contains(&(run.id(), i64::from(run.row.attempt)))
    }

    /// What a task is there to show.
    pub fn kind(&self, task: &str) -> Option<Kind> {
        self.tasks.get(task).map(|task| task.kind)
    }

    fn run_of(&self, start: &Effect) -> Option<&'a Run> {
        self.runs.get(&id_of(&start.run)?).copied()
    }

    /// By task, its rows that stand for instants of its schedule.
    fn scheduled(&self) -> BTreeMap<&'a str, Vec<&'a Run>> {
        let mut rows: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
        let scheduled = self.evidence.runs.iter();
        for run in scheduled.filter(|run| run.is_scheduled()) {
            rows.entry(run.task.as_str()).or_default().push(run);
        }
        for of_task in rows.values_mut() {
            of_task.sort_unstable_by_key(|run| run.due_ms());
        }
        rows
    }

    fn none_lost(&self) -> Check {
        let scheduled = self.scheduled();
        let (mut wrong, mut instants) = (Vec::new(), 0);
        let rests: BTreeMap<&str, i64> = self
            .evidence
            .rests
            .iter()
            .map(|(_, name, from)| (name.as_str(), *from))
            .collect();
        for task in &self.evidence.tasks {
            let Some(pause) = self.evidence.pauses.get(&task.name) else {
                wrong.push(format!("{} was never paused", task.name));
                continue;
            };
            let (must, may) = self.evidence.accounted(task);
            instants += must.len();
            let rows = scheduled.get(task.name.as_str());
            let rows = rows.map_or(&[][..], Vec::as_slice);
            let rests = rests.get(task.name.as_str()).copied().unwrap_or(i64::MAX);
            let overdue = pause.asked_ms.saturating_sub(self.evidence.rule.overdue_ms);
            for at in must.into_iter().filter(|at| *at < rests.max(overdue)) {
                if !is_answered(rows, at) {
                    wrong.push(format!("{} at {at} has no row", task.name));
                }
            }
            // The look-ahead may reach past the pause, but not past a hole.
            let reached = |at: &i64| *at < pause.asked_ms || is_answered(rows, *at);
            for at in may.into_iter().skip_while(reached) {
                if rows.iter().any(|run| is_run_for(run, at)) {
                    wrong.push(format!("{} at {at} comes after a gap", task.name));
                }
            }
        }
        let good = format!("{instants} instants by the independent list, each has its row");
        check("no instant lost", wrong, good)
    }

    fn none_twice(&self) -> Check {
        let (mut wrong, mut count) = (Vec::new(), 0);
        for (task, rows) in self.scheduled() {
            count += rows.len();
            for pair in rows.windows(2) {
                let (before, after) = (pair[0], pair[1]);
                if after.due_ms() <= before.last_ms() {
                    let (first, last) = (before.due_ms(), before.last_ms());
                    wrong.push(format!("{task}: {first} to {last}, and {}", after.due_ms()));
                }
            }
        }
        check("no instant recorded twice", wrong, format!("{count} rows"))
    }

    fn none_made_up(&self) -> Check {
        let mut wrong = Vec::new();
        let scheduled = self.evidence.runs.iter();
        for run in scheduled.filter(|run| run.is_scheduled()) {
            let Some(task) = self.tasks.get(run.task.as_str()) else {
                wrong.push(format!("{} is no task", run.task));
                continue;
            };
            if task.kind == Kind::After {
                continue;
            }
            let made = self.evidence.made.get(&run.task);
            let earliest = made.map_or(i64::MIN, |made| made.asked_ms);
            let pause = self.evidence.pauses.get(&run.task);
            let latest = pause.map_or(i64::MAX, |pause| pause.answered_ms);
            let (due, last) = (run.due_ms(), run.last_ms());
            let count = (last - due) / task.period_ms.unwrap_or(i64::MAX) + 1;
            let honest = task.has(due) && task.has(last) && (earliest..=latest).contains(&due);
            if !honest || count != run.count() {
                let said = run.count();
                wrong.push(format!(
                    "{} from {due} to {last} for {said} instants",
                    run.task
                ));
            }
        }
        let good = "every row is on the list".to_owned();
        check("no instant made up", wrong, good)
    }

    /// The core's own predicates over the store's book, and over what the world saw start.
    fn invariants(&self) -> Check {
        let snapshot = self.evidence.snapshot();
        let starts = self.starts.iter().filter_map(|start| {
            Some(Start {
                run: RunId::from_i64(id_of(&start.run)?),
                attempt: start.attempt,
            })
        });
        let starts: Vec<Start> = starts.collect();
        let failed = snapshot.runs.iter();
        let failed = failed.filter(|run| run.failures > 0);
        let verdicts = [
            invariants::check(&snapshot),
            invariants::failures_were_started(failed, &starts),
        ];
        let wrong = verdicts.into_iter().filter_map(Result::err);
        let wrong = wrong.map(|violation| violation.to_string()).collect();
        let good = format!("{} runs, {} starts", snapshot.runs.len(), starts.len());
        check("the core's invariants hold", wrong, good)
    }

    fn ends(&self) -> Check {
        let mut count: BTreeMap<State, u32> = BTreeMap::new();
        let mut wrong = Vec::new();
        for run in &self.evidence.runs {
            let (state, reason) = run.end();
            *count.entry(state).or_default() += 1;
            let task = self.tasks.get(run.task.as_str());
            if !run.live && !task.is_some_and(|task| (self.evidence.rule.may_end)(self, task, run))
            {
                let (row, begun) = (&run.row, self.was_begun(run));
                wrong.push(format!(
                    "{} at {} ended {} {reason:?}, attempt {}, {} failures, {} losses, begun: {begun}",
                    run.task,
                    run.due_ms(),
                    state.as_str(),
                    row.attempt,
                    row.failures,
                    row.losses
                ));
            }
        }
        let of = |state| count.get(&state).copied().unwrap_or(0);
        let good = format!(
            "{} succeeded, {} failed, {} cancelled, {} rows of skips",
            of(State::Succeeded),
            of(State::Failed),
            of(State::Cancelled),
            of(State::Skipped)
        );
        check("every run ended as it may", wrong, good)
    }

    fn none_wedged(&self) -> Check {
        let live = self.evidence.runs.iter().filter(|run| run.live);
        let told = |run: &Run| format!("{} at {} {:?}", run.task, run.due_ms(), run.row.state);
        let good = format!("{} runs have ended", self.evidence.runs.len());
        check("no run wedged", live.map(told).collect(), good)
    }

    fn nothing_left(&self) -> Check {
        let left = self.evidence.leftovers.iter().filter(|(_, n)| *n > 0);
        let wrong = left.map(|(table, n)| format!("{n} rows in {table}"));
        let names: Vec<&str> = self.evidence.leftovers.iter().map(|(t, _)| *t).collect();
        let good = format!("nothing in {}", names.join(", "));
        check("nothing left in the store", wrong.collect(), good)
    }

    /// A paused task stays paused, as people saw it.
    pub fn rests_kept(&self) -> Check {
        let (mut wrong, mut length_ms) = (Vec::new(), 0);
        let rests = &self.evidence.people.rests;
        for (task, from, to) in rests {
            length_ms += (to - from).max(0);
            let inside = self.evidence.runs.iter().filter(|run| {
                run.task == *task && run.is_scheduled() && (*from..*to).contains(&run.due_ms())
            });
            let ran = inside.filter(|run| run.row.state != State::Skipped);
            wrong.extend(ran.map(|run| format!("{task} ran at {}", run.due_ms())));
        }
        let good = format!("{} rests, {length_ms} ms in all", rests.len());
        check("a paused task stays paused", wrong, good)
    }

    /// What the API took has its row.
    pub fn requests_kept(&self) -> Check {
        let accepted = &self.evidence.people.accepted;
        let known = |id: &&String| id_of(id).is_some_and(|id| self.runs.contains_key(&id));
        let lost = accepted.iter().filter(|id| !known(id));
        let wrong = lost.map(|id| format!("run {id} was accepted")).collect();
        let good = format!("{} accepted, each has its row", accepted.len());
        check("no request lost", wrong, good)
    }

    fn orders_arrived(&self) -> Option<Check> {
        let orders = self.evidence.orders.as_ref()?;
        let came: HashSet<&str> = orders.iter().map(|o| o.key.as_str()).collect();
        let again = orders.len() - came.len();
        let (mut wrong, mut sent, mut wiped) = (Vec::new(), 0, 0);
        for run in &self.evidence.runs {
            let handed_over = run.end() == (State::Succeeded, Reason::HandedOver);
            if self.kind(&run.task) != Some(Kind::Order) || !handed_over {
                continue;
            }
            sent += 1;
            let key = starts::key_of(run);
            if came.contains(key.as_str()) {
                continue;
            }
            // What the broker had confirmed and lost with its disk is nobody's but the broker's.
            let ended = run.row.finished_at.map_or(0, Timestamp::as_ms);
            let gone = |at: &i64| (-ON_THE_WAY_MS..=ON_THE_WAY_MS).contains(&(at - ended));
            if self.evidence.wiped.iter().any(gone) {
                wiped += 1;
            } else {
                wrong.push(format!("{key} never came"));
            }
        }
        let good = format!("{sent} sent, {again} came again, {wiped} lost with the broker's disk");
        Some(check("the old listener got every message", wrong, good))
    }
}

/// Whether a row stands for this instant, by the core's own predicate.
fn is_answered(rows: &[&Run], at: i64) -> bool {
    // The last rows that begin at or before the instant are the ones that may reach it.
    let before = rows.partition_point(|run| run.due_ms() <= at);
    let near = rows[..before].iter().rev().take(3);
    let near: Vec<run::Run> = near.map(|run| run.row.clone()).collect();
    let task = near.first().and_then(|run| run.task);
    let at = [Timestamp::from_ms(at)];
    task.is_some_and(|task| invariants::no_gap(task, &at, &near).is_ok())
}

/// Whether it is a run, and no skip, for this instant.
fn is_run_for(run: &Run, at: i64) -> bool {
    run.due_ms() == at && run.row.state != State::Skipped
}

#[cfg(test)]
pub(crate) mod tests;
