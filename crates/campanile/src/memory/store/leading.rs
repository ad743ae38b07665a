//! What the leader asks of the memory store.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;

use super::MemoryStore;
use crate::id::{NodeId, OutboxId, RunId, TaskId};
use crate::port::Written;
use crate::port::store::{Error, Leading};
use crate::protocol::jump::{Answered, PutBack};
use crate::protocol::permits::{LimitKey, Rules, Standing};
use crate::protocol::run as transitions;
use crate::protocol::work::{
    Bid, Deletions, DueKey, DueRow, Edit, Finish, Fired, Firing, LeaderRow, OnBehalfOf, Orphans,
    OutboxRow, Owner, Scan, ScanLimits, Term,
};
use crate::run::{Run, State};

fn written(applied: bool) -> Written {
    if applied {
        Written::Applied
    } else {
        Written::Stale
    }
}

#[async_trait]
impl Leading for MemoryStore {
    async fn leader(&self) -> Result<LeaderRow, Error> {
        Ok(self.lock().leader_row(self.clock.now()))
    }

    async fn begin_term(&self, bid: &Bid) -> Result<Written, Error> {
        let now = self.clock.now();
        let mut tables = self.lock();
        if tables.epoch != bid.read_epoch {
            return Ok(Written::Stale);
        }
        tables.epoch = bid.term.epoch;
        tables.holder = Some(bid.term.holder.clone());
        tables.leader_node = Some(bid.node);
        tables.leader_name.clone_from(&bid.node_name);
        tables.since = Some(now);
        tables.resign_epoch = 0;
        Ok(Written::Applied)
    }

    async fn scan(&self, until: Timestamp, limits: &ScanLimits) -> Result<Scan, Error> {
        let tables = self.lock();
        let mut taken: std::collections::HashMap<&crate::task::QueueName, usize> =
            std::collections::HashMap::new();
        let mut rows = Vec::new();
        for key in tables.due.iter().filter(|k| k.at <= until) {
            let room = limits
                .rooms
                .get(&key.queue)
                .copied()
                .unwrap_or(limits.default);
            let used = taken.entry(&key.queue).or_default();
            if *used >= room {
                continue;
            }
            *used += 1;
            let waiting = match key.owner {
                Owner::Run(run) => tables.waiting(run, None),
                Owner::Task(_) => None,
            };
            rows.push(DueRow {
                key: key.clone(),
                waiting,
            });
        }
        Ok(Scan {
            rows,
            edits: tables.edits,
            resign_epoch: tables.resign_epoch,
        })
    }

    async fn rules(&self) -> Result<Rules, Error> {
        let tables = self.lock();
        let calendars = tables.calendars.iter();
        Ok(Rules {
            calendars: calendars
                .map(|(name, c)| (name.clone(), Arc::new(c.clone())))
                .collect(),
            limits: tables.limits.clone(),
        })
    }

    async fn standings(&self, keys: &[LimitKey]) -> Result<HashMap<LimitKey, Standing>, Error> {
        let tables = self.lock();
        Ok(keys
            .iter()
            .map(|key| (key.clone(), tables.standing(key)))
            .collect())
    }

    async fn sweep_permits(&self, term: &Term) -> Result<Option<usize>, Error> {
        let mut tables = self.lock();
        Ok(tables.holds(term).then(|| tables.sweep_permits()))
    }

    async fn blocked(&self) -> Result<Vec<(LimitKey, u64)>, Error> {
        Ok(self.lock().blocked())
    }

    async fn unblock(&self, term: &Term, keys: &[LimitKey]) -> Result<Option<usize>, Error> {
        let mut tables = self.lock();
        let holds = tables.holds(term);
        let mut go_on = || keys.iter().map(|key| tables.unpark(key, usize::MAX)).sum();
        Ok(holds.then(&mut go_on))
    }

    async fn fire(&self, term: &Term, firing: &Firing) -> Result<Fired, Error> {
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(Fired::Fenced);
        }
        if tables.edits != firing.edits
            || firing.consumed.iter().any(|k| !tables.due.contains(k))
            || !tables.permits_allow(firing)
        {
            return Ok(Fired::Edited);
        }
        for key in &firing.consumed {
            tables.due.remove(key);
            if let Owner::Run(run) = key.owner
                && let Some(run) = tables.live.get_mut(&run)
                && transitions::waits(run, run.attempt)
            {
                run.epoch = firing.epoch;
            }
        }
        tables.due.extend(firing.advanced.iter().cloned());
        for run in &firing.runs {
            tables.live.insert(run.id, run.clone());
        }
        for skip in &firing.skipped {
            tables.put_skip(skip)?;
        }
        tables.fire_permits(firing)?;
        if let Some(entry) = &firing.outbox {
            tables.outbox.insert(entry.id, entry.runs.clone());
        }
        Ok(Fired::Applied)
    }

    async fn outbox(&self, after: Option<OutboxId>, limit: usize) -> Result<Vec<OutboxRow>, Error> {
        let tables = self.lock();
        let rows = tables
            .outbox
            .iter()
            .filter(|(id, _)| after.is_none_or(|a| **id > a))
            .take(limit);
        Ok(rows
            .map(|(id, runs)| OutboxRow {
                id: *id,
                waiting: runs
                    .iter()
                    .filter_map(|(run, attempt)| tables.waiting(*run, Some(*attempt)))
                    .collect(),
            })
            .collect())
    }

    async fn waiting(&self, runs: &[(RunId, u32)]) -> Result<Vec<RunId>, Error> {
        let tables = self.lock();
        let waits = |(id, attempt): &&(RunId, u32)| {
            tables
                .live
                .get(id)
                .is_some_and(|r| transitions::waits(r, *attempt))
        };
        Ok(runs.iter().filter(waits).map(|(id, _)| *id).collect())
    }

    async fn still_wait(
        &self,
        term: &Term,
        runs: &[(RunId, u32)],
    ) -> Result<Option<Vec<RunId>>, Error> {
        if !self.lock().holds(term) {
            return Ok(None);
        }
        let waiting = self.waiting(runs).await?;
        let tables = self.lock();
        let lives = |id: &RunId| {
            let task = tables.live.get(id).and_then(|run| run.task);
            task.is_none_or(|task| tables.tasks.contains_key(&task))
        };
        Ok(Some(waiting.into_iter().filter(lives).collect()))
    }

    async fn mark_sent(
        &self,
        term: &Term,
        queued: &[(RunId, u32)],
        at: Timestamp,
        done: &[OutboxId],
    ) -> Result<Written, Error> {
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(Written::Stale);
        }
        for (id, attempt) in queued {
            if let Some(run) = tables.live.get_mut(id)
                && let Some(marked) = transitions::mark_queued(run, *attempt, at)
            {
                *run = marked;
            }
        }
        for row in done {
            tables.outbox.remove(row);
        }
        Ok(Written::Applied)
    }

    async fn hand_over(
        &self,
        term: &Term,
        runs: &[(RunId, u32)],
        at: Timestamp,
    ) -> Result<Written, Error> {
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(Written::Stale);
        }
        for (id, attempt) in runs {
            if let Some(ended) = tables
                .live
                .get(id)
                .and_then(|r| transitions::hand_over(r, *attempt, at))
            {
                tables.archive(ended)?;
            }
        }
        Ok(Written::Applied)
    }

    async fn running_on(
        &self,
        node: Option<NodeId>,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<Run>, Error> {
        let tables = self.lock();
        let held = |run: &&Run| {
            run.state == State::Running
                && after.is_none_or(|a| run.id > a)
                && match node {
                    Some(node) => run.worker == Some(node),
                    None => run.worker.is_none_or(|w| !tables.nodes.contains_key(&w)),
                }
        };
        Ok(tables
            .live
            .values()
            .filter(held)
            .take(limit)
            .cloned()
            .collect())
    }

    async fn bury(&self, term: &Term, node: NodeId) -> Result<Written, Error> {
        let mut tables = self.lock();
        let holds = tables.holds(term);
        if holds {
            tables.nodes.remove(&node);
        }
        Ok(written(holds))
    }

    async fn finish_lost(
        &self,
        term: &Term,
        ends: &[Finish],
    ) -> Result<Option<Vec<Written>>, Error> {
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(None);
        }
        let mut answers = Vec::with_capacity(ends.len());
        for end in ends {
            let applied = tables.finish_one(end)?;
            let row = tables.live.get(&end.run).filter(|_| applied);
            let waits = row.filter(|r| transitions::waits(r, r.attempt));
            // A deleted task is looked after again: while its run ran, it may have been forgotten.
            let task = waits.and_then(|r| r.task);
            if let Some(task) = task.filter(|task| !tables.tasks.contains_key(task)) {
                tables.deletions.insert(task, end.at);
            }
            answers.push(written(applied));
        }
        Ok(Some(answers))
    }

    async fn deletions(&self) -> Result<Option<Deletions>, Error> {
        let tables = self.lock();
        let (first, last) = (
            tables.deletions.values().min(),
            tables.deletions.values().max(),
        );
        let ends = first.copied().zip(last.copied());
        Ok(ends.map(|(first_at, last_at)| Deletions {
            count: u64::try_from(tables.deletions.len()).unwrap_or(u64::MAX),
            first_at,
            last_at,
        }))
    }

    async fn orphans(&self, after: Option<RunId>, look: usize) -> Result<Orphans, Error> {
        let tables = self.lock();
        let rest = tables
            .live
            .values()
            .filter(|run| after.is_none_or(|a| run.id > a));
        let page: Vec<&Run> = rest.take(look).collect();
        let is_orphan = |run: &&&Run| {
            let deleted = run.task.is_some_and(|t| tables.deletions.contains_key(&t));
            deleted && transitions::waits(run, run.attempt)
        };
        Ok(Orphans {
            runs: page
                .iter()
                .filter(is_orphan)
                .map(|run| (*run).clone())
                .collect(),
            next: page.last().map(|run| run.id),
        })
    }

    async fn end_orphans(
        &self,
        term: &Term,
        runs: &[Run],
        at: Timestamp,
    ) -> Result<Option<usize>, Error> {
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(None);
        }
        let mut ended = 0;
        for run in runs {
            let orphan = tables.live.get(&run.id);
            if let Some(over) = orphan.and_then(|r| transitions::orphan(r, run.attempt, at)) {
                tables.due.remove(&DueKey {
                    queue: run.queue.clone(),
                    at: run.ready_at,
                    owner: Owner::Run(run.id),
                });
                tables.archive(over)?;
                ended += 1;
            }
        }
        Ok(Some(ended))
    }

    async fn forget_deletions(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error> {
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(None);
        }
        let old = tables.deletions.iter().filter(|(_, at)| **at <= before);
        let old: Vec<_> = old.map(|(task, _)| *task).take(limit).collect();
        for task in &old {
            tables.deletions.remove(task);
        }
        Ok(Some(old.len()))
    }

    async fn tasks_ahead(
        &self,
        beyond: Timestamp,
        after: Option<TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, Error> {
        Ok(self.lock().tasks_ahead(beyond, after, limit))
    }

    async fn rows_ahead(&self, tasks: &[TaskId], beyond: Timestamp) -> Result<Vec<Run>, Error> {
        Ok(self.lock().rows_ahead(tasks, beyond))
    }

    async fn edit_for(
        &self,
        term: &Term,
        _on_behalf_of: OnBehalfOf,
        edit: &Edit,
        at: Timestamp,
    ) -> Result<Fired, Error> {
        let now = self.clock.now();
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(Fired::Fenced);
        }
        Ok(match tables.edit(edit, at, now)? {
            Written::Applied => Fired::Applied,
            Written::Stale => Fired::Edited,
        })
    }

    async fn put_back(&self, term: &Term, back: &PutBack) -> Result<Fired, Error> {
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(Fired::Fenced);
        }
        Ok(tables.put_back(back))
    }

    async fn answered(&self) -> Result<Answered, Error> {
        let mut answered = Answered::new();
        for (task, at) in &self.lock().answered {
            answered.entry(*task).or_default().insert(*at);
        }
        Ok(answered)
    }

    async fn prune(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error> {
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(None);
        }
        let old = |r: &&Run| r.finished_at.is_some_and(|t| t < before);
        let gone: Vec<Run> = tables
            .history
            .values()
            .filter(old)
            .take(limit)
            .cloned()
            .collect();
        for run in &gone {
            tables.history.remove(&run.id);
            tables.specs.remove(&run.id);
            tables.attempts.remove(&run.id);
            tables.logs.remove(&run.id);
            tables.keys.retain(|_, (id, _)| *id != run.id);
            if let Some(task) = run.task {
                tables.occurrences.remove(&(task, run.due_at));
            }
        }
        Ok(Some(gone.len()))
    }
}

/// Due rows of one task, which edits replace.
pub(super) fn due_of_task(
    due: &std::collections::BTreeSet<DueKey>,
    task: crate::id::TaskId,
) -> Vec<DueKey> {
    due.iter()
        .filter(|k| k.owner == Owner::Task(task))
        .cloned()
        .collect()
}
