//! What the memory store has set aside. It refuses nothing itself: whoever stands before it may.

use campanile_schedule::time::Timestamp;

use super::leading::due_of_task;
use super::{MemoryStore, Tables};
use crate::id::{ClaimId, RunId};
use crate::port::Written;
use crate::port::store::Error;
use crate::protocol::run as transitions;
use crate::protocol::work::{
    Aside, DueKey, End, Finish, Owner, Quarantined, Released, Spoiled, Term, Thing,
};
use crate::run::{Run, State};

impl MemoryStore {
    pub(super) fn put_aside(&self, term: Option<&Term>, aside: &Aside) -> Written {
        let mut tables = self.lock();
        if term.is_some_and(|term| !tables.holds(term)) {
            return Written::Stale;
        }
        let done = match &aside.thing {
            Thing::End(end) => tables.aside_run(aside, (end.run, end.attempt), Some(end.claim)),
            Thing::HandedOver { run, attempt } | Thing::Start { run, attempt } => {
                tables.aside_run(aside, (*run, *attempt), None)
            }
            Thing::Row(row) => tables.aside_row(aside, *row),
            Thing::Due(key) => tables.aside_due(aside, key),
        };
        if done {
            Written::Applied
        } else {
            Written::Stale
        }
    }

    pub(super) fn let_go(&self, id: i64, at: Timestamp) -> Result<Released, Error> {
        let mut tables = self.lock();
        let Some((shown, thing)) = tables.quarantine.remove(&id) else {
            return Ok(Released::Unknown);
        };
        match thing {
            Thing::Due(key) => match key.owner {
                Owner::Task(task) => {
                    let is_there = tables.tasks.contains_key(&task);
                    if !is_there || !due_of_task(&tables.due, task).is_empty() {
                        return Ok(Released::Superseded);
                    }
                    tables.due.insert(key);
                }
                Owner::Run(run) => tables.wait_again(run),
            },
            Thing::Start { run, .. } | Thing::Row(Spoiled::Run(run)) => tables.wait_again(run),
            // Of a task its due row is set aside; of the outbox nothing.
            Thing::Row(Spoiled::Task(_) | Spoiled::Outbox(_)) => return Ok(Released::Superseded),
            Thing::End(end) => tables.end_again(&end)?,
            Thing::HandedOver { run, attempt } => {
                let waiting = tables.live.get(&run).map(|r| as_state(r, State::Scheduled));
                let ended = waiting.and_then(|r| transitions::hand_over(&r, attempt, shown.at));
                if let Some(ended) = ended {
                    tables.settle(ended)?;
                }
            }
        }
        let run = shown.run.and_then(|id| tables.live.get(&id));
        let task = run
            .filter(|r| r.state == State::Scheduled)
            .and_then(|r| r.task);
        // A deleted task is looked after again: while its run was set aside, it may have been forgotten.
        if let Some(task) = task.filter(|task| !tables.tasks.contains_key(task)) {
            tables.deletions.insert(task, at);
        }
        Ok(Released::Done)
    }

    pub(super) fn forget(&self, id: i64) -> Written {
        let mut tables = self.lock();
        let Some((shown, _)) = tables.quarantine.remove(&id) else {
            return Written::Stale;
        };
        if let Some(run) = shown.run {
            tables.live.remove(&run);
            tables.specs.remove(&run);
            tables.attempts.remove(&run);
            tables.logs.remove(&run);
            tables.keys.retain(|_, (of, _)| *of != run);
        }
        Written::Applied
    }

    pub(super) fn all_aside(&self, after: Option<i64>, limit: usize) -> Vec<Quarantined> {
        let tables = self.lock();
        let from = after.map_or(i64::MIN, |id| id.saturating_add(1));
        let found = tables.quarantine.range(from..).take(limit);
        found.map(|(_, (shown, _))| shown.clone()).collect()
    }
}

fn timer_of(run: &Run) -> DueKey {
    DueKey {
        queue: run.queue.clone(),
        at: run.ready_at,
        owner: Owner::Run(run.id),
    }
}

fn as_state(run: &Run, state: State) -> Run {
    Run {
        state,
        ..run.clone()
    }
}

impl Tables {
    fn keep_aside(&mut self, aside: &Aside, run: Option<&Run>, key: Option<&DueKey>) {
        self.next_aside += 1;
        let of_task = match key.map(|key| key.owner) {
            Some(Owner::Task(task)) => Some(task),
            _ => None,
        };
        let queue = run.map(|r| &r.queue).or(key.map(|key| &key.queue));
        let shown = Quarantined {
            id: self.next_aside,
            task: run.and_then(|r| r.task).or(of_task),
            run: run.map(|r| r.id),
            attempt: run.map_or(0, |r| r.attempt),
            queue: queue.cloned().unwrap_or_default(),
            due_at: run
                .map(|r| r.due_at)
                .or(key.map(|k| k.at))
                .unwrap_or(aside.at),
            at: aside.at,
            what: aside.what(),
            error: aside.error.clone(),
        };
        self.quarantine
            .insert(shown.id, (shown, aside.thing.clone()));
    }

    fn aside_run(
        &mut self,
        aside: &Aside,
        (id, attempt): (RunId, u32),
        claim: Option<ClaimId>,
    ) -> bool {
        let may_wait = aside.thing.may_wait();
        let run = self.live.get(&id);
        let run = run.and_then(|r| transitions::set_aside(r, attempt, claim, may_wait));
        let Some(run) = run else {
            return false;
        };
        self.live.insert(id, run.clone());
        self.release(id, true);
        self.keep_aside(aside, Some(&run), None);
        true
    }

    fn aside_row(&mut self, aside: &Aside, row: Spoiled) -> bool {
        match row {
            Spoiled::Run(id) => {
                let Some(run) = self.live.get(&id).filter(|r| r.state != State::Quarantined) else {
                    return false;
                };
                let run = as_state(run, State::Quarantined);
                self.live.insert(id, run.clone());
                self.due.retain(|key| key.owner != Owner::Run(id));
                self.release(id, true);
                self.keep_aside(aside, Some(&run), None);
                true
            }
            Spoiled::Task(id) => {
                let Some(key) = due_of_task(&self.due, id).into_iter().next() else {
                    return false;
                };
                let due = Aside {
                    thing: Thing::Due(key.clone()),
                    ..aside.clone()
                };
                self.aside_due(&due, &key)
            }
            Spoiled::Outbox(id) => {
                if self.outbox.remove(&id).is_none() {
                    return false;
                }
                let waiting = self
                    .live
                    .values()
                    .filter(|r| matches!(r.state, State::Scheduled | State::Queued));
                let timers: Vec<DueKey> = waiting.map(timer_of).collect();
                self.due.extend(timers);
                true
            }
        }
    }

    fn aside_due(&mut self, aside: &Aside, key: &DueKey) -> bool {
        if !self.due.remove(key) {
            return false;
        }
        match key.owner {
            Owner::Task(_) => self.keep_aside(aside, None, Some(key)),
            Owner::Run(run) => {
                if let Some(attempt) = self.live.get(&run).map(|r| r.attempt) {
                    self.aside_run(aside, (run, attempt), None);
                }
            }
        }
        true
    }

    fn wait_again(&mut self, id: RunId) {
        if let Some(run) = self.live.get_mut(&id) {
            run.state = State::Scheduled;
            // Its permits went back: a message of before must not start it beside who has them now.
            run.attempt += 1;
            let timer = timer_of(run);
            self.due.insert(timer);
        }
    }

    /// The end is recorded as it was to be, without its texts.
    fn end_again(&mut self, end: &Finish) -> Result<(), Error> {
        let withdrawn = matches!(end.end, End::Withdrawn { .. });
        if let Some(run) = self.live.get_mut(&end.run) {
            run.state = if withdrawn {
                State::Scheduled
            } else {
                State::Running
            };
        }
        let bare = Finish {
            error: None,
            class: None,
            log: None,
            ..end.clone()
        };
        self.finish_one(&bare).map(drop)
    }
}
