//! What was planned while the clock was ahead, in memory: found, and taken back under the one mutex. What that is, is
//! [`crate::decide::lead::jump`]'s.

use std::collections::BTreeSet;

use campanile_schedule::time::Timestamp;

use super::Tables;
use super::ask::due_of_task;
use crate::decide::attempt as transitions;
use crate::decide::lead::jump::{MINTED_BEFORE, PutBack, TaskBack, is_early};
use crate::id::{RunId, TaskId};
use crate::port::fire::{Fired, Owner};
use crate::run::{Run, State};

impl Tables {
    fn early(&self, beyond: Timestamp) -> impl Iterator<Item = &Run> {
        let first = RunId::floor(beyond.minus(MINTED_BEFORE));
        let all = self.live.values().chain(self.history.values());
        all.filter(move |run| run.id >= first && is_early(run, beyond))
    }

    pub(super) fn tasks_ahead(
        &self,
        beyond: Timestamp,
        after: Option<TaskId>,
        limit: usize,
    ) -> Vec<TaskId> {
        // What waits alone is found with its task, and is no reason to look.
        let stands_ahead =
            |run: &&Run| run.due_at > beyond || run.skipped.is_some_and(|(last, _)| last > beyond);
        let tasks = self.early(beyond).filter(stands_ahead);
        let tasks: BTreeSet<TaskId> = tasks.filter_map(|run| run.task).collect();
        let tasks = tasks
            .into_iter()
            .filter(|task| after.is_none_or(|a| *task > a));
        tasks.take(limit).collect()
    }

    pub(super) fn rows_ahead(&self, tasks: &[TaskId], beyond: Timestamp) -> Vec<Run> {
        let mine = |run: &&Run| run.task.is_some_and(|task| tasks.contains(&task));
        self.early(beyond).filter(mine).cloned().collect()
    }

    pub(super) fn put_back(&mut self, back: &PutBack) -> Fired {
        if self.edits != back.edits || !back.tasks.iter().all(|task| self.is_as_seen(task)) {
            return Fired::Edited;
        }
        self.edits += 1;
        for task in &back.tasks {
            self.put_task_back(task);
        }
        if let Some(before) = back.forget {
            let (due, tasks) = (&self.due, &self.tasks);
            let comes = |task: TaskId, at: Timestamp| {
                let row = due_of_task(due, task).first().map(|key| key.at);
                let rests = tasks.get(&task).and_then(|task| task.paused_from);
                row.into_iter().chain(rests).any(|from| from <= at)
            };
            self.answered
                .retain(|(task, at)| *at >= before || comes(*task, *at));
        }
        for (name, value) in &back.settings {
            self.settings.insert((*name).to_owned(), value.clone());
        }
        Fired::Applied
    }

    fn is_as_seen(&self, back: &TaskBack) -> bool {
        let waits = |run: &Run| {
            let row = self.live.get(&run.id);
            row.is_some_and(|row| transitions::waits(row, 1))
        };
        let is_skip = |id: &RunId| {
            let row = self.history.get(id);
            row.is_some_and(|row| row.state == State::Skipped)
        };
        let stands = back
            .due
            .as_ref()
            .is_none_or(|(seen, _)| due_of_task(&self.due, back.task).first() == seen.as_ref());
        back.part.runs.iter().all(waits) && back.part.skips.iter().all(is_skip) && stands
    }

    fn put_task_back(&mut self, back: &TaskBack) {
        for run in &back.part.runs {
            self.live.remove(&run.id);
            self.release(run.id, true);
            self.let_chain_go(run.id);
            self.due.retain(|key| key.owner != Owner::Run(run.id));
        }
        for id in &back.part.skips {
            if let Some(run) = self.history.remove(id) {
                self.attempts.remove(id);
                self.left.remove(id);
                self.occurrences.remove(&(back.task, run.due_at));
            }
        }
        if let Some((seen, next)) = &back.due {
            if let Some(seen) = seen {
                self.due.remove(seen);
            }
            self.due.insert(next.clone());
        }
        if let Some(from) = back.paused_from
            && let Some(task) = self.tasks.get_mut(&back.task)
        {
            task.paused_from = task.paused_from.map(|t| t.min(from));
        }
        let answered = back.part.answered.iter();
        self.answered.extend(answered.map(|at| (back.task, *at)));
    }
}
