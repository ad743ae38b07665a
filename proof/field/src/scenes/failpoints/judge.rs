//! What a scene of a failpoint allows, the verdicts that are its own, and its figures: attempts, failures and losses agree
//! with what is noted of them, each key has one run, what had ended at the death did not change, a rest stands alone.

use std::collections::{BTreeMap, BTreeSet};

use campanile_core::limits::LOSSES_MAX;
use campanile_core::run::{Reason, State};
use campanile_schedule::time::Timestamp;

use crate::book::Run;
use crate::judge::verdict::{Check, check};
use crate::judge::{Case, Evidence, Rule, judge};
use crate::load::{Kind, Task};
use crate::scenes::failpoints::load::DELAY_MS;
use crate::spelling::id_of;

/// What a scene allows: what is overdue when its task is paused belongs to the rest, whose row is written when it ends.
pub const RULE: Rule = Rule {
    may_end,
    overdue_ms: i64::MAX,
};

/// How often a task of [`Kind::Never`] is tried.
const TRIED: u32 = 2;

fn may_end(case: &Case<'_>, task: &Task, run: &Run) -> bool {
    let seen = &case.evidence.circumstances;
    let losses = run.row.losses;
    match (task.kind, run.row.state, run.row.reason) {
        (Kind::Order | Kind::Refused, State::Succeeded, Reason::HandedOver) => true,
        (
            Kind::Well | Kind::Once | Kind::Flaky | Kind::Queue | Kind::Program | Kind::After,
            State::Succeeded,
            Reason::None,
        ) => case.was_begun(run),
        (Kind::Once, State::Failed, Reason::Lost) => losses > 0 || seen.drained,
        (
            Kind::Well | Kind::Flaky | Kind::Queue | Kind::Program | Kind::After,
            State::Failed,
            Reason::Lost,
        ) => seen.late && losses == LOSSES_MAX,
        (Kind::Never, State::Failed, Reason::Error) => {
            case.was_begun(run) && run.row.failures == TRIED
        }
        (Kind::Cancelled, State::Cancelled, _) => true,
        (_, State::Skipped, Reason::Paused) => task.name == "tick" && run.row.attempt == 1,
        _ => false,
    }
}

/// What only such a scene knows.
pub struct Own {
    /// History right after the death, and at the end.
    pub ended: [Vec<String>; 2],
    /// The runs that people got for their keys.
    pub asked: BTreeMap<&'static str, String>,
}

/// What a scene counted, and what is wrong.
#[derive(Debug, Default, Clone)]
pub struct Verdict {
    /// Instants that must have an answer.
    pub instants: usize,
    /// Of them, and of what people asked for, those without one.
    pub lost: usize,
    /// Instants with two answers, attempts that started twice, at-most-once runs that did, runs that nobody asked for.
    pub doubled: usize,
    /// Runs and rows that are left.
    pub wedged: usize,
    pub wrong: Vec<String>,
}

pub fn verdict(evidence: &Evidence, own: &Own) -> Verdict {
    let case = Case::of(evidence);
    let mut checks = judge(&case);
    let (unanswered, unasked) = requests_answered(evidence, &own.asked);
    checks.extend([
        counts_agree(evidence),
        rests_alone(evidence),
        one_after_the_other(evidence),
        unanswered,
        unasked,
        unchanged(&own.ended),
    ]);
    let count = |names: &[&str]| {
        let of = checks.iter().filter(|check| names.contains(&check.name));
        of.map(|check| check.wrong.len()).sum()
    };
    let lines = |check: &Check| {
        let name = check.name;
        let lines = check
            .wrong
            .iter()
            .map(|line| format!("not so: {name}: {line}"));
        lines.collect::<Vec<_>>()
    };
    Verdict {
        instants: evidence.instants(),
        lost: count(&["no instant lost", ANSWERED]),
        doubled: count(&[
            "no instant recorded twice",
            "no attempt started twice",
            "at-most-once tasks started at most once",
            ALONE,
            ASKED,
        ]),
        wedged: count(&["nothing left in the store"]),
        wrong: checks.iter().flat_map(lines).collect(),
    }
}

/// An attempt more for each that failed, was lost, or was given back; the store has a row for each of the first two.
fn counts_agree(evidence: &Evidence) -> Check {
    let seen = &evidence.circumstances;
    let mut noted: BTreeMap<i64, i64> = BTreeMap::new();
    for attempt in &evidence.attempts {
        *noted.entry(attempt.run).or_default() += 1;
    }
    let mut wrong = Vec::new();
    for run in &evidence.runs {
        let row = &run.row;
        let noted = noted.get(&run.id()).copied().unwrap_or(0);
        let bad = i64::from(row.failures + row.losses);
        let last = i64::from(row.state != State::Failed);
        let given_back = i64::from(row.attempt) - bad - last;
        let fits = given_back == 0
            || (given_back == 1 && seen.drained)
            || (given_back > 0 && seen.doubted);
        // A drain ends an at-most-once run for good, which counts as no loss.
        let drained_once = seen.drained && run.end() == (State::Failed, Reason::Lost);
        // What its worker refuses is given back as often as a new one is asked; each refusal is noted.
        let refused = run.task == "strange";
        let is_noted = noted == bad || (refused && (bad..=bad + given_back).contains(&noted));
        if !(fits || refused || drained_once) || !is_noted || row.losses > LOSSES_MAX {
            wrong.push(format!(
                "{} at {}: attempt {}, {} failures, {} losses, {noted} noted",
                run.task,
                run.due_ms(),
                row.attempt,
                row.failures,
                row.losses
            ));
        }
    }
    check("attempts and their ends agree", wrong, String::new())
}

const ALONE: &str = "a rest has no row yet";

/// From where a task rests on, nothing has an answer beside the rest.
fn rests_alone(evidence: &Evidence) -> Check {
    let mut wrong = Vec::new();
    for (_, task, from) in &evidence.rests {
        let rows = evidence.runs.iter();
        let rows = rows.filter(|run| run.task == *task && run.is_scheduled());
        let inside = rows.filter(|run| run.last_ms() >= *from);
        wrong.extend(inside.map(|run| format!("{task} at {}, rests from {from}", run.due_ms())));
    }
    check(ALONE, wrong, String::new())
}

/// Who is due after the end of his run before is due one delay after it, and never before.
fn one_after_the_other(evidence: &Evidence) -> Check {
    let after = evidence.tasks.iter().filter(|t| t.kind == Kind::After);
    let after: BTreeSet<&str> = after.map(|t| t.name.as_str()).collect();
    let mine = evidence.runs.iter();
    let mine = mine.filter(|run| run.is_scheduled() && after.contains(run.task.as_str()));
    let mut mine: Vec<&Run> = mine.collect();
    mine.sort_unstable_by_key(|run| run.due_ms());
    let mut wrong = Vec::new();
    for pair in mine.windows(2) {
        let end = pair[0].row.finished_at.map(Timestamp::as_ms);
        let next = end.map(|end| end.max(pair[0].due_ms()) + DELAY_MS);
        if next != Some(pair[1].due_ms()) {
            let due = pair[1].due_ms();
            wrong.push(format!("{} at {due} after an end at {end:?}", pair[1].task));
        }
    }
    let good = format!("{} runs, one after the other", mine.len());
    check("each end has its next run", wrong, good)
}

const ANSWERED: &str = "every request has its run";
const ASKED: &str = "every run of a request was asked for";

/// Each key stands for one run, and there are no other requests.
fn requests_answered(
    evidence: &Evidence,
    asked: &BTreeMap<&'static str, String>,
) -> (Check, Check) {
    let known: BTreeSet<i64> = asked.values().filter_map(|id| id_of(id)).collect();
    let requested = evidence.runs.iter().filter(|run| !run.is_scheduled());
    let there: BTreeSet<i64> = requested.map(Run::id).collect();
    let told = |ids: Vec<&i64>| ids.iter().map(|id| format!("run {id}")).collect();
    let lost = told(known.difference(&there).collect());
    let more = told(there.difference(&known).collect());
    let good = format!("{} requests", known.len());
    (
        check(ANSWERED, lost, good.clone()),
        check(ASKED, more, good),
    )
}

/// What had ended at the death is the same at the end, all columns.
fn unchanged(ended: &[Vec<String>; 2]) -> Check {
    let after: BTreeSet<&String> = ended[1].iter().collect();
    let changed = ended[0].iter().filter(|row| !after.contains(row)).cloned();
    let good = format!("{} rows", ended[0].len());
    check("what had ended did not change", changed.collect(), good)
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
