//! What a campaign allows, and the verdict that is its own: which ends a run may have under faults that never stop, and
//! that no term wrote after the next one began.

use std::collections::BTreeMap;

use campanile_core::run::{Reason, State};

use super::watch::Sealed;
use crate::book::Run;
use crate::judge::verdict::{Check, check};
use crate::judge::{Case, Rule};
use crate::load::{Kind, Task};

/// Attempts that may die with their worker before the run is given up.
const LOSSES_MAX: u32 = 3;

pub const RULE: Rule = Rule {
    may_end,
    overdue_ms: 10_000,
};

fn may_end(_: &Case<'_>, task: &Task, run: &Run) -> bool {
    let kind = task.kind;
    match run.end() {
        (State::Succeeded, Reason::HandedOver) => kind == Kind::Order,
        (State::Succeeded, Reason::None) => kind != Kind::Order,
        // At most once: at the first loss, or when its worker drained; the others at the third loss.
        (State::Failed, Reason::Lost) => kind == Kind::Once || run.row.losses >= LOSSES_MAX,
        (State::Cancelled, Reason::Requested) => kind == Kind::People,
        (State::Cancelled | State::Skipped, Reason::Replaced) => kind == Kind::Replace,
        (State::Skipped, Reason::Overlap) => kind.is_exclusive(),
        (State::Skipped, Reason::Paused) => kind == Kind::People,
        (State::Skipped, Reason::Misfire | Reason::CatchUpLimit) => true,
        _ => false,
    }
}

/// What is in the name of each term at the end was in it when it was over.
pub fn terms_sealed(sealed: &Sealed, fired: &[(i64, i64)]) -> Check {
    let fired: BTreeMap<i64, i64> = fired.iter().copied().collect();
    let mut wrong = Vec::new();
    for (epoch, count) in &fired {
        if let Some(most) = sealed.most(*epoch).filter(|most| count > most) {
            wrong.push(format!(
                "{most} instants were in the name of term {epoch} when it was over, and {count} at the end"
            ));
        }
    }
    let good = format!("{} terms with instants were seen over", sealed.least.len());
    check("no term wrote after the next began", wrong, good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_that_grew_after_its_end_is_condemned() {
        let sealed = Sealed {
            below: 2,
            least: [(1, 3)].into(),
        };
        assert!(terms_sealed(&sealed, &[(1, 3), (2, 4)]).passed);
        assert!(!terms_sealed(&sealed, &[(1, 4), (2, 4)]).passed);
    }
}
