//! What the memory store has set aside. It refuses nothing itself: whoever stands before it may.

use super::Tables;
use super::ask::due_of_task;
use crate::decide::attempt as transitions;
use crate::id::{ClaimId, RunId};
use crate::port::Written;
use crate::port::ask::Quarantined;
use crate::port::attempt::{Aside, End, Finish, Spoiled, Thing};
use crate::port::fire::{DueKey, Owner};
use crate::port::store::Error;
use crate::run::{Run, State};
use crate::task::StartMode;
use campanile_schedule::time::Timestamp;

fn timer_of(run: &Run) -> DueKey {
    DueKey {
        queue: run.queue.clone(),
        at: run.ready_at,
        owner: Owner::Run(run.id),
    }
}

pub(super) fn as_state(run: &Run, state: State) -> Run {
    Run {
        state,
        ..run.clone()
    }
}

impl Tables {
    /// Only a leader may take a run that can't be read and is running.
    pub(super) fn set_aside(&mut self, aside: &Aside, leads: bool) -> Written {
        let done = match &aside.thing {
            Thing::End(end) => self.aside_run(aside, (end.run, end.attempt), Some(end.claim)),
            Thing::HandedOver { run, attempt } | Thing::Start { run, attempt } => {
                self.aside_run(aside, (*run, *attempt), None)
            }
            Thing::Row(row) => self.aside_row(aside, *row, leads),
            Thing::Due(key) => self.aside_due(aside, key),
        };
        if done {
            Written::Applied
        } else {
            Written::Stale
        }
    }

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

    fn aside_row(&mut self, aside: &Aside, row: Spoiled, leads: bool) -> bool {
        match row {
            Spoiled::Run(id) => {
                let run = self.live.get(&id).filter(|r| r.state != State::Quarantined);
                let Some(run) = run.filter(|r| leads || r.state != State::Running) else {
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

    pub(super) fn wait_again(&mut self, id: RunId) {
        if let Some(run) = self.live.get_mut(&id) {
            *run = transitions::wait_again(run);
            let timer = timer_of(run);
            self.due.insert(timer);
        }
    }

    /// One that was running when it went aside was lost with its worker; any other waits again.
    pub(super) fn take_up(
        &mut self,
        id: RunId,
        at: Timestamp,
        start: StartMode,
    ) -> Result<(), Error> {
        let run = self.live.get(&id);
        let Some(lost) = run.and_then(|run| transitions::lose(run, start, at)) else {
            self.wait_again(id);
            return Ok(());
        };
        if let Some(run) = self.live.get_mut(&id) {
            run.state = State::Running;
        }
        self.finish_one(&lost).map(drop)
    }

    /// The end is recorded as it was to be, without its texts.
    pub(super) fn end_again(&mut self, end: &Finish) -> Result<(), Error> {
        let abandoned = matches!(end.end, End::Abandoned { .. });
        if let Some(run) = self.live.get_mut(&end.run) {
            run.state = if abandoned {
                State::Scheduled
            } else {
                State::Running
            };
        }
        let bare = Finish {
            error: None,
            class: None,
            log: None,
            result: None,
            ..end.clone()
        };
        self.finish_one(&bare).map(drop)
    }
}
