//! What the test allows, and the verdicts that are its own: nothing is skipped, nothing fails, and only a worker that was
//! killed explains a second attempt; messages came twice and were refused; no term wrote after the next one began.

use std::collections::BTreeSet;

use campanile_core::run::{Reason, State};

use super::facts::Leader;
use crate::book::Run;
use crate::judge::verdict::{Check, check};
use crate::judge::{Case, Evidence, Rule};
use crate::load::{Kind, Task};

/// What the test allows. A run that was lost is explained by [`explained`].
pub const RULE: Rule = Rule {
    may_end,
    overdue_ms: 0,
};

fn may_end(_: &Case<'_>, task: &Task, run: &Run) -> bool {
    match run.end() {
        (State::Succeeded, Reason::HandedOver) => task.kind == Kind::Order,
        (State::Succeeded, Reason::None) => task.kind != Kind::Order,
        (State::Failed, Reason::Lost) => task.kind == Kind::Once,
        _ => false,
    }
}

/// Second attempts, and runs that were lost, have the death of a worker that was killed in the store.
pub fn explained(evidence: &Evidence, killed: &[i64]) -> Check {
    let (mut wrong, mut again) = (Vec::new(), 0);
    let lost = evidence.attempts.iter();
    let lost = lost.filter(|a| a.reason == Reason::Lost && killed.contains(&a.worker));
    let lost: BTreeSet<i64> = lost.map(|attempt| attempt.run).collect();
    for run in &evidence.runs {
        let (row, was_lost) = (&run.row, lost.contains(&run.id()));
        let second = row.attempt > 1;
        if second && was_lost && row.attempt == row.losses + 1 {
            again += 1;
        }
        let unexplained = second && !(was_lost && row.attempt == row.losses + 1);
        let gone = row.reason == Reason::Lost && !was_lost;
        if row.failures > 0 || unexplained || gone {
            wrong.push(format!(
                "{} at {}: attempt {}, {} failures, {} losses",
                run.task,
                run.due_ms(),
                row.attempt,
                row.failures,
                row.losses
            ));
        }
    }
    for attempt in &evidence.attempts {
        if attempt.reason != Reason::Lost || !killed.contains(&attempt.worker) {
            wrong.push(format!("an attempt ended: {attempt:?}"));
        }
    }
    if again == 0 && !killed.is_empty() {
        wrong.push("a worker died with runs in hand and nothing started again".to_owned());
    }
    let good = format!("{again} runs started again");
    check("second attempts explained by a dead worker", wrong, good)
}

/// There were deliveries beyond the one that won, and they started nothing.
pub fn duplicates(refused: u64) -> Check {
    let wrong = (refused == 0).then(|| "no claim was refused".to_owned());
    let good = format!("{refused} claims refused");
    check(
        "duplicates were delivered and refused",
        wrong.into_iter().collect(),
        good,
    )
}

/// Terms follow one another, and every run was minted while its term was the last one.
pub fn one_term_at_a_time(terms: &[Leader], runs: &[Run]) -> Check {
    let mut wrong = Vec::new();
    for pair in terms.windows(2) {
        if pair[1].epoch <= pair[0].epoch || pair[1].since_ms < pair[0].since_ms {
            wrong.push(format!("term {} followed {}", pair[1].epoch, pair[0].epoch));
        }
    }
    for run in runs {
        let (id, epoch) = (run.id(), run.row.epoch);
        if !terms.iter().any(|t| t.epoch == epoch) {
            wrong.push(format!("run {id} of an unknown term {epoch}"));
        }
        let next = terms.iter().find(|t| t.epoch > epoch);
        let minted_ms = run.row.id.minted_at().as_ms();
        if next.is_some_and(|next| minted_ms > next.since_ms) {
            wrong.push(format!(
                "run {id} was minted in term {epoch} after that was over"
            ));
        }
    }
    let good = format!("{} terms", terms.len());
    check("no term wrote after the next began", wrong, good)
}

#[cfg(test)]
mod tests;
