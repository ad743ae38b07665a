//! What happens after an outage: which of its instants still run and which are skipped. Decided by the function that the
//! leader itself calls, with the arguments that it would have; only added up here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campanile_schedule::Timetable;
use campanile_schedule::fuel::Fuel;

use super::report::{CatchUp, CatchUpTask, Cut};
use super::starts::{Budget, just_before};
use super::{CATCH_UP_STEPS_MAX, Outage};
use crate::limits;
use crate::occurrences::occurrences_by;
use crate::run::Reason;
use crate::task::TaskSpec;

/// Tasks that are kept while it is not yet known which are the worst.
const KEPT_MAX: usize = 1_000;

/// The sum over tasks.
#[derive(Debug)]
pub(super) struct Sum {
    outage: Outage,
    budget: Budget,
    fuel: Arc<Fuel>,
    tasks: u64,
    starts: u64,
    late: u64,
    skipped: BTreeMap<String, u64>,
    top: Vec<CatchUpTask>,
}

impl Sum {
    pub(super) const fn new(outage: Outage, fuel: Arc<Fuel>) -> Self {
        Self {
            outage,
            budget: Budget::of(CATCH_UP_STEPS_MAX),
            fuel,
            tasks: 0,
            starts: 0,
            late: 0,
            skipped: BTreeMap::new(),
            top: Vec::new(),
        }
    }

    /// Adds a task: plans it again and again at the outage's end, as the leader does until it has caught up. Jitter moves
    /// the whole timetable, so the outage is seen that much earlier.
    pub(super) fn add(&mut self, spec: &TaskSpec, timetable: &Timetable) {
        let offset = spec.jitter_offset();
        let now = self.outage.until.minus(offset);
        let horizon = now.plus(limits::LOOK_AHEAD);
        let before = just_before(self.outage.from.minus(offset).as_ms());
        let mut next = timetable
            .next_by(before, &self.fuel)
            .map(|e| e.at)
            .filter(|t| *t < now);
        if next.is_none() || self.budget.is_spent() {
            return;
        }
        let (mut starts, mut skipped) = (0, 0);
        while let Some(first) = next.filter(|t| *t < now) {
            let plan = occurrences_by(
                timetable,
                spec,
                first,
                now,
                horizon,
                (&BTreeSet::new(), &self.fuel),
            );
            let mut steps = 1;
            for run in plan.runs.iter().filter(|run| run.at < now) {
                steps += 1;
                starts += 1;
                self.late += u64::from(!run.catch_up);
            }
            for skip in &plan.skips {
                steps += skip.count;
                // With or without an outage, these don't run at their instants.
                if !matches!(skip.reason, Reason::Calendar | Reason::Moved) {
                    let reason = skip.reason.as_str().to_owned();
                    *self.skipped.entry(reason).or_default() += skip.count;
                    skipped += skip.count;
                }
            }
            if !self.budget.spend(steps) {
                break;
            }
            next = plan.next;
        }
        self.tasks += 1;
        self.starts += starts;
        self.top.push(CatchUpTask {
            task: spec.name.clone(),
            misfire: spec.misfire,
            starts,
            skipped,
        });
        if self.top.len() == KEPT_MAX * 2 {
            self.keep(KEPT_MAX);
        }
    }

    fn keep(&mut self, most: usize) {
        self.top.sort_by(|a, b| {
            let key = |t: &CatchUpTask| (t.starts, t.skipped);
            key(b).cmp(&key(a)).then_with(|| a.task.cmp(&b.task))
        });
        self.top.truncate(most);
    }

    pub(super) fn finish(mut self, top: usize, cut: &mut Cut) -> CatchUp {
        cut.catch_up = self.budget.is_spent();
        self.keep(top);
        let named = u64::try_from(self.top.len()).unwrap_or(0);
        CatchUp {
            from: self.outage.from,
            until: self.outage.until,
            tasks: self.tasks,
            starts: self.starts,
            late: self.late,
            skipped: self.skipped.values().sum(),
            skipped_by_reason: self.skipped,
            top: self.top,
            other_tasks: self.tasks - named,
        }
    }
}
