//! What API and CLI ask of the memory store.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;

use super::leading::due_of_task;
use super::{MemoryStore, Tables};
use crate::actor::Actor;
use crate::id::{RunId, TaskId};
use crate::port::Written;
use crate::port::store::{Control, Error};
use crate::protocol::keys::Scope;
use crate::protocol::run as transitions;
use crate::protocol::work::{
    Backlog, Cancel, DueKey, Edit, Former, Moved, Named, Node, Owner, Quarantined, QueueCount,
    Released, RunDetail, RunFilter, Submission, Submitted, TaskPage,
};
use crate::run::{Origin, Run, State};
use crate::task::Task;

/// The due row of a run that waits for its start.
fn timer(run: &Run) -> DueKey {
    DueKey {
        queue: run.queue.clone(),
        at: run.ready_at,
        owner: Owner::Run(run.id),
    }
}

const fn known(run: RunId) -> Submitted {
    Submitted {
        run,
        created: false,
        taken: false,
    }
}

impl Tables {
    /// Why nothing of these submissions is stored: a key that another request has taken, which is an answer, or an id
    /// that is there, which is an error.
    fn refusal(&self, submissions: &[Submission]) -> Result<Option<Vec<Submitted>>, Error> {
        let mut batch = BTreeMap::new();
        let mut answers = Vec::with_capacity(submissions.len());
        for s in submissions {
            let Some(key) = &s.key else {
                answers.push(known(s.run.id));
                continue;
            };
            let place = (key.text.clone(), key.scope.clone());
            let (run, content) = match self.keys.get(&place) {
                Some(kept) => kept,
                None => batch
                    .entry(place)
                    .or_insert((s.run.id, key.content.clone())),
            };
            answers.push(Submitted {
                taken: !key.is_same(content.as_ref()),
                ..known(*run)
            });
        }
        if answers.iter().any(|a| a.taken) {
            return Ok(Some(answers));
        }
        let mut fresh = submissions
            .iter()
            .zip(&answers)
            .filter(|(s, a)| s.run.id == a.run);
        let is_new = |s: &Submission| {
            let place = s.key.as_ref().map(|k| (k.text.clone(), k.scope.clone()));
            place.is_none_or(|place| !self.keys.contains_key(&place))
        };
        match fresh.find(|(s, _)| is_new(s) && self.live.contains_key(&s.run.id)) {
            Some((s, _)) => Err(Error::Refused(format!("run {} exists", s.run.id).into())),
            None => Ok(None),
        }
    }
}

#[async_trait]
impl Control for MemoryStore {
    async fn tasks(
        &self,
        owner: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<TaskPage, Error> {
        let tables = self.lock();
        let owned = |id: &TaskId| {
            let of = tables.tasks.get(id).and_then(|t| t.spec.owner.as_deref());
            owner.is_none_or(|owner| of.unwrap_or_default() == owner)
        };
        let mut names = tables
            .names
            .iter()
            .filter(|(n, id)| after.is_none_or(|a| n.as_str() > a) && owned(id));
        let tasks: Vec<Task> = names
            .by_ref()
            .take(limit)
            .filter_map(|(_, id)| tables.tasks.get(id))
            .cloned()
            .collect();
        let next = names.next().and(tasks.last()).map(|t| t.spec.name.clone());
        Ok(TaskPage { tasks, next })
    }

    async fn tasks_by_name(&self, names: &[String]) -> Result<Vec<Task>, Error> {
        let tables = self.lock();
        Ok(names
            .iter()
            .filter_map(|n| tables.tasks.get(tables.names.get(n)?))
            .cloned()
            .collect())
    }

    async fn edit(&self, _actor: &Actor, edit: &Edit, at: Timestamp) -> Result<Written, Error> {
        let now = self.clock.now();
        self.lock().edit(edit, at, now)
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

    async fn setting(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.lock().settings.get(name).cloned())
    }

    async fn submit(
        &self,
        _actor: &Actor,
        submissions: &[Submission],
    ) -> Result<Vec<Submitted>, Error> {
        let mut tables = self.lock();
        if let Some(refused) = tables.refusal(submissions)? {
            return Ok(refused);
        }
        let is_new = |s: &&Submission| {
            let place = s.key.as_ref().map(|k| (k.text.clone(), k.scope.clone()));
            place.is_none_or(|place| !tables.keys.contains_key(&place))
        };
        let mut wanted = submissions.iter().filter(is_new).filter_map(|s| s.run.task);
        if wanted.any(|task| !tables.tasks.contains_key(&task)) {
            return Err(Error::Contended("a task was deleted meanwhile".into()));
        }
        let mut answers = Vec::with_capacity(submissions.len());
        for s in submissions {
            let place = s.key.as_ref().map(|k| (k.text.clone(), k.scope.clone()));
            if let Some((first, _)) = place.as_ref().and_then(|k| tables.keys.get(k)) {
                answers.push(known(*first));
                continue;
            }
            if let Some((place, key)) = place.zip(s.key.as_ref()) {
                tables.keys.insert(place, (s.run.id, key.content.clone()));
            }
            if let Some(spec) = &s.spec {
                tables.specs.insert(s.run.id, spec.clone());
            }
            tables.due.insert(timer(&s.run));
            tables.live.insert(s.run.id, s.run.clone());
            answers.push(Submitted {
                created: true,
                ..known(s.run.id)
            });
        }
        Ok(answers)
    }

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

    async fn run(&self, id: RunId) -> Result<Option<RunDetail>, Error> {
        let tables = self.lock();
        let run = tables.live.get(&id).or_else(|| tables.history.get(&id));
        Ok(run.map(|run| RunDetail {
            run: run.clone(),
            spec: tables.specs.get(&id).cloned(),
            attempts: tables.attempts.get(&id).cloned().unwrap_or_default(),
        }))
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

    async fn next_due(&self, task: TaskId) -> Result<Option<Timestamp>, Error> {
        Ok(due_of_task(&self.lock().due, task).first().map(|k| k.at))
    }

    async fn last_successes(
        &self,
        tasks: &[TaskId],
        look: usize,
    ) -> Result<HashMap<TaskId, Timestamp>, Error> {
        Ok(self.lock().last_successes(tasks, look))
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

    async fn cancel(&self, _actor: &Actor, id: RunId, at: Timestamp) -> Result<Cancel, Error> {
        let mut tables = self.lock();
        let Some(run) = tables.live.get(&id) else {
            return Ok(tables
                .history
                .get(&id)
                .map_or(Cancel::Unknown, |r| Cancel::Ended(r.state)));
        };
        let (answer, changed) = transitions::cancel(run, at);
        if let Some(run) = changed {
            tables.settle(run)?;
        }
        Ok(answer)
    }

    async fn move_run(&self, _actor: &Actor, id: RunId, to: Timestamp) -> Result<Moved, Error> {
        let mut tables = self.lock();
        let Some(run) = tables.live.get(&id) else {
            let ended = tables.history.get(&id);
            return Ok(ended.map_or(Moved::Unknown, |r| Moved::Ended(r.state)));
        };
        let old = timer(run);
        let (answer, moved) = transitions::move_to(run, tables.due.contains(&old), to);
        if let Some(run) = moved {
            tables.due.remove(&old);
            tables.due.insert(timer(&run));
            tables.live.insert(id, run);
        }
        Ok(answer)
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

    async fn quarantine(
        &self,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, Error> {
        Ok(self.all_aside(after, limit))
    }

    async fn release(&self, _actor: &Actor, id: i64, at: Timestamp) -> Result<Released, Error> {
        self.let_go(id, at)
    }

    async fn drop_quarantined(&self, _actor: &Actor, id: i64) -> Result<Written, Error> {
        Ok(self.forget(id))
    }

    async fn logs(&self, id: RunId) -> Result<Vec<(u32, String)>, Error> {
        Ok(self.lock().logs.get(&id).cloned().unwrap_or_default())
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

    async fn secret(&self, fresh: [u8; 32]) -> Result<[u8; 32], Error> {
        Ok(*self.lock().secret.get_or_insert(fresh))
    }

    async fn request_resign(&self, _actor: &Actor, epoch: i64) -> Result<Written, Error> {
        let mut tables = self.lock();
        if tables.epoch != epoch || tables.holder.is_none() {
            return Ok(Written::Stale);
        }
        tables.resign_epoch = epoch;
        Ok(Written::Applied)
    }
}
