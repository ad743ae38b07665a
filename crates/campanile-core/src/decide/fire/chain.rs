//! How a firing goes on with a schedule that goes on from the ends of its runs.

use campanile_schedule::time::Timestamp;

use super::{Planned, Planner};
use crate::decide::occurrences::Plan;
use crate::id::TaskId;
use crate::run::{Origin, Run};
use crate::task::Chain;

impl Planner<'_> {
    /// A run of a chain holds it, and its end says what is next; what was not let through says so now.
    pub(super) fn hold_or_go_on(
        &self,
        planned: &mut Planned,
        task: TaskId,
        chain: &Chain,
        plan: &Plan,
    ) -> Option<Timestamp> {
        let Some(due) = plan.runs.first() else {
            return plan.next;
        };
        let mine = |r: &&Run| (r.task, r.origin) == (Some(task), Origin::Schedule);
        let last = planned.firing.runs.last().filter(mine);
        let Some(run) = last.filter(|r| r.due_at == due.at).map(|r| r.id) else {
            return chain.next(due.at, self.moment.now);
        };
        planned.firing.chained.push((task, run));
        None
    }
}
