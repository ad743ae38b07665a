//! Ask, in memory: all that is only read. It changes no table.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;

use super::MemoryStore;
use crate::decide::attempt as transitions;
use crate::decide::edit::inbox::{Became, Settled};
use crate::decide::edit::keys::Scope;
use crate::id::{NodeId, RunId, TaskId};
use crate::port::ask::{
    AskCluster, AskRuns, AskTasks, Backlog, Former, Named, Quarantined, QueueCount, RunFilter,
    RunRecord, TaskFilter, TaskPage,
};
use crate::port::attempt::Chunk;
use crate::port::fire::{DueKey, Owner};
use crate::port::member::Node;
use crate::port::store::Error;
use crate::run::{Origin, Run, State};
use crate::task::{Pause, Task};

#[async_trait]
impl AskTasks for MemoryStore {
    async fn tasks(
        &self,
        filter: &TaskFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<TaskPage, Error> {
        let tables = self.lock();
        let allowed = |id: &TaskId| tables.tasks.get(id).is_some_and(|t| filter.allows(t));
        let mut names = tables
            .names
            .iter()
            .filter(|(n, id)| after.is_none_or(|a| n.as_str() > a) && allowed(id));
        let tasks: Vec<Task> = names
            .by_ref()
            .take(limit)
            .filter_map(|(_, id)| tables.tasks.get(id))
            .cloned()
            .collect();
        let next = names.next().and(tasks.last()).map(|t| t.spec.name.clone());
        Ok(TaskPage { tasks, next })
    }

    async fn tasks_by_id(&self, ids: &[TaskId]) -> Result<Vec<Task>, Error> {
        let tables = self.lock();
        Ok(ids
            .iter()
            .filter_map(|id| tables.tasks.get(id))
            .cloned()
            .collect())
    }

    async fn pauses(&self, ids: &[TaskId]) -> Result<HashMap<TaskId, Pause>, Error> {
        let tables = self.lock();
        let pause = |id: &TaskId| Some((*id, tables.pauses.get(id)?.clone()));
        Ok(ids.iter().filter_map(pause).collect())
    }

    async fn tasks_by_name(&self, names: &[String]) -> Result<Vec<Task>, Error> {
        let tables = self.lock();
        Ok(names
            .iter()
            .filter_map(|n| tables.tasks.get(tables.names.get(n)?))
            .cloned()
            .collect())
    }

    async fn former_tasks(&self, name: &str, limit: usize) -> Result<Vec<Former>, Error> {
        let tables = self.lock();
        let had_name = tables.former.iter().filter(|f| f.task.spec.name == name);
        Ok(had_name.rev().take(limit).cloned().collect())
    }

    async fn namesakes(&self, name: &str, limit: usize) -> Result<Vec<TaskId>, Error> {
        let tables = self.lock();
        let living = tables.names.get(name).copied();
        let former = tables.former.iter().rev();
        let former = former.filter(|f| f.task.spec.name == name);
        let all = living.into_iter().chain(former.map(|f| f.task.id));
        Ok(all.take(limit).collect())
    }

    async fn task_names(&self, ids: &[TaskId]) -> Result<Vec<Named>, Error> {
        let tables = self.lock();
        let living = tables.tasks.values().map(|task| (task, None));
        let former = tables.former.iter();
        let former = former.map(|f| (&f.task, Some(f.deleted_at)));
        let named = living.chain(former).filter(|(t, _)| ids.contains(&t.id));
        Ok(named
            .map(|(task, deleted_at)| Named {
                id: task.id,
                name: task.spec.name.clone(),
                owner: task.spec.owner.clone(),
                timezone: task.spec.timezone.clone(),
                deleted_at,
            })
            .collect())
    }

    async fn backlogs(&self, tasks: &[TaskId], overdue: Timestamp) -> Result<Vec<Backlog>, Error> {
        let tables = self.lock();
        let wanted: HashSet<&TaskId> = tasks.iter().collect();
        let mut found: BTreeMap<TaskId, Backlog> = BTreeMap::new();
        for run in tables.live.values() {
            let Some(task) = run.task.filter(|t| wanted.contains(t)) else {
                continue;
            };
            let requested = run.origin != Origin::Schedule;
            let counts = requested || run.attempt > 1 || run.ready_at < overdue;
            if !transitions::waits(run, run.attempt) || !counts {
                continue;
            }
            let backlog = found.entry(task).or_insert(Backlog {
                task,
                waiting: 0,
                requested: 0,
                newest: None,
            });
            backlog.waiting += 1;
            if requested {
                backlog.requested += 1;
                backlog.newest = backlog.newest.max(Some(run.id));
            }
        }
        Ok(found.into_values().collect())
    }

    async fn next_due(&self, task: TaskId) -> Result<Option<Timestamp>, Error> {
        Ok(due_of_task(&self.lock().due, task).first().map(|k| k.at))
    }

    async fn next_dues(&self, tasks: &[TaskId]) -> Result<HashMap<TaskId, Timestamp>, Error> {
        let tables = self.lock();
        let wanted: HashSet<&TaskId> = tasks.iter().collect();
        let of_task = tables.due.iter().filter_map(|key| match key.owner {
            Owner::Task(id) if wanted.contains(&id) => Some((id, key.at)),
            Owner::Task(_) | Owner::Run(_) => None,
        });
        Ok(of_task.collect())
    }

    async fn chain_holders(&self, tasks: &[TaskId]) -> Result<HashMap<TaskId, RunId>, Error> {
        Ok(self.lock().chain_holders(tasks))
    }

    async fn last_successes(
        &self,
        tasks: &[TaskId],
        look: usize,
    ) -> Result<HashMap<TaskId, Timestamp>, Error> {
        Ok(self.lock().last_successes(tasks, look))
    }
}

#[async_trait]
impl AskRuns for MemoryStore {
    async fn runs(
        &self,
        filter: &RunFilter,
        before: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<Run>, Error> {
        let tables = self.lock();
        let mut found: Vec<Run> = tables
            .live
            .values()
            .chain(tables.history.values())
            .filter(|r| {
                before.is_none_or(|b| r.id < b)
                    && (filter.tasks.is_empty()
                        || r.task.is_some_and(|t| filter.tasks.contains(&t)))
                    && filter.state.is_none_or(|s| r.state == s)
                    && filter.since.is_none_or(|t| r.due_at >= t)
                    && filter.until.is_none_or(|t| r.due_at < t)
            })
            .cloned()
            .collect();
        found.sort_unstable_by_key(|r| std::cmp::Reverse(r.id));
        found.truncate(limit);
        Ok(found)
    }

    async fn run(&self, id: RunId) -> Result<Option<RunRecord>, Error> {
        let tables = self.lock();
        let run = tables.live.get(&id).or_else(|| tables.history.get(&id));
        let left = || {
            tables
                .left
                .get(&id)
                .into_iter()
                .flat_map(|all| all.values().rev())
        };
        Ok(run.map(|run| RunRecord {
            run: run.clone(),
            spec: tables.specs.get(&id).cloned(),
            attempts: tables.attempts.get(&id).cloned().unwrap_or_default(),
            result: left().find_map(|left| left.result.clone()),
            progress: left().find_map(|left| left.progress.clone()),
            submitter: tables.submitters.get(&id).cloned(),
        }))
    }

    async fn submitters(&self, ids: &[RunId]) -> Result<HashMap<RunId, String>, Error> {
        let tables = self.lock();
        let of = |id: &RunId| Some((*id, tables.submitters.get(id)?.clone()));
        Ok(ids.iter().filter_map(of).collect())
    }

    async fn occurrence(&self, task: TaskId, at: Timestamp) -> Result<Option<Run>, Error> {
        let tables = self.lock();
        let covers = |r: &&Run| {
            r.task == Some(task)
                && r.origin == Origin::Schedule
                && r.due_at <= at
                && r.skipped.map_or(r.due_at, |(last, _)| last) >= at
        };
        Ok(tables
            .history
            .values()
            .chain(tables.live.values())
            .find(covers)
            .cloned())
    }

    async fn runs_of_key(&self, key: &str, limit: usize) -> Result<Vec<(Scope, RunId)>, Error> {
        let tables = self.lock();
        let found = tables
            .keys
            .iter()
            .filter(|((text, scope), _)| text == key && *scope != Scope::Engine);
        Ok(found
            .take(limit)
            .map(|((_, scope), (run, _))| (scope.clone(), *run))
            .collect())
    }

    async fn log(
        &self,
        id: RunId,
        attempt: u32,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u32, Chunk)>, Error> {
        let tables = self.lock();
        let attempts = tables.left.get(&id).into_iter();
        let chunks = attempts.flatten().flat_map(|(attempt, left)| {
            let chunk = |(at, text): (&u64, &String)| Chunk {
                at: *at,
                text: text.clone(),
            };
            left.log.iter().map(move |log| (*attempt, chunk(log)))
        });
        let is_wanted = |(of, chunk): &(u32, Chunk)| {
            let end = chunk.at + u64::try_from(chunk.text.len()).unwrap_or(u64::MAX);
            *of > attempt || (*of == attempt && end > from)
        };
        Ok(chunks.filter(is_wanted).take(limit).collect())
    }

    async fn node_names(&self, ids: &[NodeId]) -> Result<HashMap<NodeId, String>, Error> {
        let tables = self.lock();
        let names = ids.iter().filter_map(|id| {
            let (name, _) = tables.node_names.get(id)?;
            Some((*id, name.clone()))
        });
        Ok(names.collect())
    }
}

#[async_trait]
impl AskCluster for MemoryStore {
    async fn setting(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.lock().settings.get(name).cloned())
    }

    async fn nodes(&self) -> Result<Vec<Node>, Error> {
        Ok(self.lock().nodes.values().cloned().collect())
    }

    async fn queues(&self, now: Timestamp) -> Result<Vec<QueueCount>, Error> {
        let tables = self.lock();
        let mut counts: BTreeMap<_, QueueCount> = BTreeMap::new();
        for run in tables.live.values() {
            let count = counts
                .entry(run.queue.clone())
                .or_insert_with(|| QueueCount {
                    queue: run.queue.clone(),
                    future: 0,
                    waiting: 0,
                    running: 0,
                });
            match run.state {
                State::Running => count.running += 1,
                State::Scheduled if run.ready_at > now => count.future += 1,
                _ => count.waiting += 1,
            }
        }
        Ok(counts.into_values().collect())
    }

    async fn quarantine(
        &self,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, Error> {
        let tables = self.lock();
        let from = after.map_or(i64::MIN, |id| id.saturating_add(1));
        let found = tables.quarantine.range(from..).take(limit);
        Ok(found.map(|(_, (shown, _))| shown.clone()).collect())
    }

    async fn settled(&self, id: i64) -> Result<Option<Settled>, Error> {
        Ok(self.lock().inbox.settled.get(&id).cloned())
    }

    async fn unfulfilled(&self, before: Option<i64>, limit: usize) -> Result<Vec<Settled>, Error> {
        let tables = self.lock();
        let rows = tables
            .inbox
            .settled
            .range(..before.unwrap_or(i64::MAX))
            .rev();
        Ok(rows
            .map(|(_, settled)| settled)
            .filter(|settled| !matches!(settled.became, Became::Run(_)))
            .take(limit)
            .cloned()
            .collect())
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
