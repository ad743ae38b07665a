//! Schedules that go on from the ends of their runs, in memory: who holds which chain, and its end. When the next is due is
//! [`Chain::next`]'s.

use std::collections::HashMap;

use campanile_schedule::time::Timestamp;

use super::Tables;
use super::ask::due_of_task;
use crate::decide::edit::place::due_key;
use crate::decide::invariants::Chained;
use crate::id::{RunId, TaskId};
use crate::port::ask::Quarantined;
use crate::run::Run;
use crate::task::Chain;

impl Tables {
    /// A run has ended: if it held its task's chain, the next due row is put.
    pub(super) fn go_on(&mut self, run: &Run, ended_at: Timestamp) {
        let Some(task) = run
            .task
            .filter(|task| self.chains.get(task) == Some(&run.id))
        else {
            return;
        };
        self.chains.remove(&task);
        self.put_next(task, run.due_at, ended_at);
    }

    /// What is set aside of a chain is dropped: the task goes on all the same.
    pub(super) fn go_on_without(&mut self, dropped: &Quarantined, now: Timestamp) {
        let Some(task) = dropped.task else {
            return;
        };
        let holder = self.chains.get(&task).copied();
        let stands = due_of_task(&self.due, task).is_empty() && holder == dropped.run;
        if stands {
            self.chains.remove(&task);
            self.put_next(task, dropped.due_at, now);
        }
    }

    fn put_next(&mut self, task: TaskId, due_at: Timestamp, ended_at: Timestamp) {
        let Some(spec) = self.tasks.get(&task).map(|task| &task.spec) else {
            return;
        };
        let next = Chain::of(spec).and_then(|chain| chain.next(due_at, ended_at));
        self.due.extend(next.map(|at| due_key(spec, at, task)));
    }

    /// A run is taken back as if nobody had planned it.
    pub(super) fn let_chain_go(&mut self, run: RunId) {
        self.chains.retain(|_, holder| *holder != run);
    }

    pub(super) fn chain_holders(&self, tasks: &[TaskId]) -> HashMap<TaskId, RunId> {
        let held = tasks
            .iter()
            .filter_map(|t| Some((*t, *self.chains.get(t)?)));
        held.collect()
    }

    pub(super) fn chained(&self) -> Vec<Chained> {
        let aside = |id| {
            let mut entries = self.quarantine.values();
            entries.any(|(shown, _)| shown.run.is_none() && shown.task == Some(id))
        };
        let chained = self.tasks.values().filter_map(|task| {
            Some(Chained {
                task: task.id,
                chain: Chain::of(&task.spec)?,
                holder: self.chains.get(&task.id).copied(),
                aside: aside(task.id),
            })
        });
        chained.collect()
    }
}
