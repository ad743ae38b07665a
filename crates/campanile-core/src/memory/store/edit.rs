//! Edit: what people change, and what the leader changes for them.

use std::collections::BTreeMap;

use async_trait::async_trait;
use campanile_access::audit::Deed;
use campanile_schedule::time::Timestamp;

use super::ask::due_of_task;
use super::quarantine::as_state;
use super::{MemoryStore, Tables};
use crate::actor::Actor;
use crate::decide::attempt as transitions;
use crate::decide::lead::hold::Hold;
use crate::id::{RunId, TaskId};
use crate::port::Written;
use crate::port::attempt::{Spoiled, Thing};
use crate::port::edit::{
    Cancel, Deletions, Edit, EditForStore, EditStore, Moved, OnBehalfOf, OrphanStore, Orphans,
    Released, Submission, Submitted,
};
use crate::port::fire::{DueKey, Fired, Owner};
use crate::port::lead::Term;
use crate::port::store::Error;
use crate::run::{Run, State};
use crate::task::StartMode;

#[async_trait]
impl EditStore for MemoryStore {
    async fn edit(&self, actor: &Actor, edit: &Edit, at: Timestamp) -> Result<Written, Error> {
        let now = self.clock.now();
        let mut tables = self.lock();
        let written = tables.edit(edit, at, now)?;
        if written.is_applied() {
            tables.note(actor, now, || edit.deed());
        }
        Ok(written)
    }

    async fn submit(
        &self,
        actor: &Actor,
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
            tables.put_request(s);
            tables.submitters.insert(s.run.id, actor.identity());
            answers.push(Submitted {
                created: true,
                ..known(s.run.id)
            });
        }
        // A submission is told by its run; what is told beside that is somebody's act of another kind.
        if let Some(deed) = actor.deed() {
            let now = self.clock.now();
            tables.audit.note(actor, deed, now);
        }
        Ok(answers)
    }

    async fn leave_request(&self, request: &str) -> Result<i64, Error> {
        let inbox = &mut self.lock().inbox;
        inbox.last += 1;
        inbox.rows.insert(inbox.last, request.to_owned());
        Ok(inbox.last)
    }

    async fn cancel(&self, actor: &Actor, id: RunId, at: Timestamp) -> Result<Cancel, Error> {
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
            tables.note(actor, self.clock.now(), || on_run("run.cancel", id));
        }
        Ok(answer)
    }

    async fn move_run(&self, actor: &Actor, id: RunId, to: Timestamp) -> Result<Moved, Error> {
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
            tables.note(actor, self.clock.now(), || on_run("run.move", id));
        }
        Ok(answer)
    }

    async fn release(
        &self,
        actor: &Actor,
        id: i64,
        at: Timestamp,
        if_lost: StartMode,
    ) -> Result<Released, Error> {
        let mut tables = self.lock();
        let released = tables.let_go(id, at, if_lost)?;
        if released != Released::Unknown {
            let deed = || Deed::new("quarantine.release", "quarantine", &id.to_string());
            tables.note(actor, self.clock.now(), deed);
        }
        Ok(released)
    }

    async fn drop_quarantined(&self, actor: &Actor, id: i64) -> Result<Written, Error> {
        let mut tables = self.lock();
        let dropped = tables.drop_aside(id, self.clock.now());
        if dropped.is_applied() {
            let deed = || Deed::new("quarantine.drop", "quarantine", &id.to_string());
            tables.note(actor, self.clock.now(), deed);
        }
        Ok(dropped)
    }

    async fn request_resign(&self, actor: &Actor, epoch: i64) -> Result<Written, Error> {
        let mut tables = self.lock();
        if tables.epoch != epoch || tables.holder.is_none() {
            return Ok(Written::Stale);
        }
        tables.resign_epoch = epoch;
        let deed = || Deed::new("leader.resign", "term", &epoch.to_string());
        tables.note(actor, self.clock.now(), deed);
        Ok(Written::Applied)
    }

    async fn hold(&self, actor: &Actor, hold: Option<&Hold>) -> Result<(), Error> {
        let mut tables = self.lock();
        tables.edits += 1;
        tables.hold = hold.cloned();
        let act = if hold.is_some() {
            "hold.set"
        } else {
            "hold.end"
        };
        tables.note(actor, self.clock.now(), || Deed::new(act, "cluster", ""));
        Ok(())
    }

    async fn secret(&self, fresh: [u8; 32]) -> Result<[u8; 32], Error> {
        Ok(*self.lock().secret.get_or_insert(fresh))
    }
}

#[async_trait]
impl EditForStore for MemoryStore {
    async fn edit_for(
        &self,
        term: &Term,
        on_behalf_of: OnBehalfOf,
        edit: &Edit,
        at: Timestamp,
    ) -> Result<Fired, Error> {
        let now = self.clock.now();
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(Fired::Fenced);
        }
        Ok(match tables.edit(edit, at, now)? {
            Written::Applied => {
                if edit.deed().count > 0 {
                    tables.note(&on_behalf_of.actor(), now, || edit.deed());
                }
                Fired::Applied
            }
            Written::Stale => Fired::Edited,
        })
    }

    async fn pauses_over(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TaskId, Timestamp)>, Error> {
        let tables = self.lock();
        let over = tables.pauses.iter();
        let over = over.filter_map(|(id, pause)| Some((*id, pause.ended_at(now)?)));
        let mut over: Vec<(TaskId, Timestamp)> = over.collect();
        over.sort_by_key(|(id, until)| (*until, *id));
        over.truncate(limit);
        Ok(over)
    }

    async fn end_hold(&self, term: &Term, until: Timestamp) -> Result<Fired, Error> {
        let now = self.clock.now();
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(Fired::Fenced);
        }
        let hold = tables.hold.as_ref();
        if !hold.is_some_and(|hold| hold.until == Some(until) && hold.is_over(now)) {
            return Ok(Fired::Edited);
        }
        tables.edits += 1;
        tables.hold = None;
        let by = OnBehalfOf::HoldUntil.actor();
        tables.note(&by, now, || Deed::new("hold.end", "cluster", ""));
        Ok(Fired::Applied)
    }

    async fn prune_audit(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error> {
        let mut tables = self.lock();
        let holds = tables.holds(term);
        Ok(holds.then(|| tables.audit.prune(before, limit)))
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
        tables.inbox.prune(before);
        tables
            .node_names
            .retain(|_, (_, gone_at)| gone_at.is_none_or(|t| t >= before));
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
            tables.submitters.remove(&run.id);
            tables.attempts.remove(&run.id);
            tables.left.remove(&run.id);
            tables.keys.retain(|_, (id, _)| *id != run.id);
            if let Some(task) = run.task {
                tables.occurrences.remove(&(task, run.due_at));
            }
        }
        Ok(Some(gone.len()))
    }
}

#[async_trait]
impl OrphanStore for MemoryStore {
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
}

/// The due row of a run that waits for its start.
fn timer(run: &Run) -> DueKey {
    DueKey {
        queue: run.queue.clone(),
        at: run.ready_at,
        owner: Owner::Run(run.id),
    }
}

fn on_run(act: &'static str, id: RunId) -> Deed {
    Deed::new(act, "run", &id.to_string())
}

const fn known(run: RunId) -> Submitted {
    Submitted {
        run,
        created: false,
        taken: false,
    }
}

impl Tables {
    fn let_go(&mut self, id: i64, at: Timestamp, start: StartMode) -> Result<Released, Error> {
        let Some((shown, thing)) = self.quarantine.remove(&id) else {
            return Ok(Released::Unknown);
        };
        match thing {
            Thing::Due(key) => match key.owner {
                Owner::Task(task) => {
                    let is_there = self.tasks.contains_key(&task);
                    let goes_on = self.chains.contains_key(&task);
                    if !is_there || goes_on || !due_of_task(&self.due, task).is_empty() {
                        return Ok(Released::Superseded);
                    }
                    self.due.insert(key);
                }
                Owner::Run(run) => self.wait_again(run),
            },
            Thing::Start { run, .. } => self.wait_again(run),
            Thing::Row(Spoiled::Run(run)) => self.take_up(run, at, start)?,
            // Of a task its due row is set aside; of the outbox nothing.
            Thing::Row(Spoiled::Task(_) | Spoiled::Outbox(_)) => return Ok(Released::Superseded),
            Thing::End(end) => self.end_again(&end)?,
            Thing::HandedOver { run, attempt } => {
                let waiting = self.live.get(&run).map(|r| as_state(r, State::Scheduled));
                let ended = waiting.and_then(|r| transitions::hand_over(&r, attempt, shown.at));
                if let Some(ended) = ended {
                    self.settle(ended)?;
                }
            }
        }
        let run = shown.run.and_then(|id| self.live.get(&id));
        let task = run
            .filter(|r| r.state == State::Scheduled)
            .and_then(|r| r.task);
        // A deleted task is looked after again: while its run was set aside, it may have been forgotten.
        if let Some(task) = task.filter(|task| !self.tasks.contains_key(task)) {
            self.deletions.insert(task, at);
        }
        Ok(Released::Done)
    }

    fn drop_aside(&mut self, id: i64, now: Timestamp) -> Written {
        let Some((shown, _)) = self.quarantine.remove(&id) else {
            return Written::Stale;
        };
        if let Some(run) = shown.run {
            self.live.remove(&run);
            self.specs.remove(&run);
            self.attempts.remove(&run);
            self.left.remove(&run);
            self.keys.retain(|_, (of, _)| *of != run);
        }
        self.go_on_without(&shown, now);
        Written::Applied
    }

    /// Stores a run that is asked for, with its key and its timer.
    pub(super) fn put_request(&mut self, s: &Submission) {
        if let Some(key) = &s.key {
            let place = (key.text.clone(), key.scope.clone());
            self.keys.insert(place, (s.run.id, key.content.clone()));
        }
        if let Some(spec) = &s.spec {
            self.specs.insert(s.run.id, spec.clone());
        }
        self.due.insert(timer(&s.run));
        self.live.insert(s.run.id, s.run.clone());
    }

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
