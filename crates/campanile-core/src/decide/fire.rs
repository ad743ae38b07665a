//! How due rows become one firing: which occurrences run ([`crate::decide::occurrences`]), which runs get their permits
//! ([`crate::decide::permits`]) and which wait or never start, and where each due row goes. One firing is one transaction, of
//! bounded size.

mod candidate;
mod chain;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::Timetable;
use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;

use self::candidate::Candidate;
use crate::decide::attempt as transitions;
use crate::decide::lead::jump::Answered;
use crate::decide::occurrences::{Due, occurrences_by};
use crate::decide::permits::{Blocked, Board, Full, LimitKey, Rules};
use crate::decide::publish::Entry;
use crate::decide::publish::routing::{Route, Routes};
use crate::id::{OutboxId, RunId, TaskId};
use crate::limits;
use crate::port::fire::{DueKey, DueRow, Firing, OutboxEntry, Owner, Replaced, Waiting};
use crate::run::{Reason, Run, State};
use crate::task::{Chain, Misfire, Overlap, Task};

/// A task with its compiled timetable.
#[derive(Debug)]
pub struct Compiled {
    pub task: Arc<Task>,
    /// When it is due.
    pub timetable: Timetable,
}

/// What is known of a task.
#[derive(Debug, Clone)]
pub enum Lookup {
    Here(Arc<Compiled>),
    Gone,
    /// Its definition can't be read by this node (a newer version's, or a zone that is not known here), or is still
    /// being read: its due rows are left alone, for a leader that can, or for later.
    Unreadable,
}

/// When a firing happens, and in which term.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// By the store's time.
    pub now: Timestamp,
    /// Up to which instants are decided.
    pub horizon: Timestamp,
    pub epoch: i64,
    /// The edit counter that the tasks were read at.
    pub edits: i64,
}

/// Spaces the starts of what is caught up, so that an outage is not followed by a herd. The leader's memory: a new
/// leader begins with an empty one.
#[derive(Debug, Clone, Copy)]
pub struct CatchUp {
    apart: Duration,
    next_at: Timestamp,
}

impl CatchUp {
    /// At most this many starts a second.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self {
            apart: Duration::from_secs(1) / per_second.max(1),
            next_at: Timestamp::MIN,
        }
    }

    /// The next start that is free, and takes it.
    pub fn slot(&mut self, now: Timestamp) -> Timestamp {
        let at = self.next_at.max(now);
        self.next_at = at.plus(self.apart.max(Duration::from_millis(1)));
        at
    }
}

/// What a plan rests on, and what it is written into.
pub struct Planner<'a> {
    pub tasks: &'a dyn Fn(TaskId) -> Lookup,
    /// Limits of queues and groups.
    pub rules: &'a Rules,
    /// Who holds which permit.
    pub board: &'a mut Board,
    /// Who can carry out what.
    pub routes: &'a Routes,
    /// Instants that have a row.
    pub answered: &'a Answered,
    /// When the next catch-up run may start.
    pub catch_up: &'a mut CatchUp,
    /// When and in which term.
    pub moment: Moment,
    /// The id of the outbox row.
    pub outbox: OutboxId,
    /// Gives as many growing ids as it is asked for.
    pub mint: &'a dyn Fn(usize) -> Vec<RunId>,
}

impl std::fmt::Debug for Planner<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Planner({:?})", self.moment)
    }
}

/// A firing of bounded size.
#[derive(Debug, Default)]
pub struct Planned {
    /// The transaction to write.
    pub firing: Firing,
    /// What the dispatcher takes over once it is committed.
    pub entries: Vec<Entry>,
    /// How many of the rows it looked at; the rest belongs to the next firing.
    pub covered: usize,
    /// The first of those rows that were left alone because they are decided at their instant and not before.
    pub later: Option<Timestamp>,
    /// The fuel that its timetables burnt.
    pub burnt: u64,
}

impl Planned {
    fn is_full(&self) -> bool {
        let firing = &self.firing;
        let rows = self.entries.len()
            + firing.skipped.len()
            + firing.blocked.len()
            + firing.dropped.len()
            + firing.replaced.len();
        rows >= limits::FIRE_ROWS_MAX
            || self.burnt >= limits::FIRE_FUEL
            || firing.consumed.len() == limits::FIRE_ROWS_MAX
    }

    fn leave(&mut self, at: Timestamp) {
        self.later = Some(self.later.map_or(at, |t| t.min(at)));
    }

    fn put_timer(&mut self, run: &Run, at: Timestamp) {
        self.firing.advanced.push(DueKey {
            queue: run.queue.clone(),
            at,
            owner: Owner::Run(run.id),
        });
    }
}

impl Planner<'_> {
    /// Turns due rows into one firing.
    #[must_use]
    pub fn firing(mut self, rows: &[DueRow]) -> Planned {
        let mut planned = Planned {
            firing: Firing {
                edits: self.moment.edits,
                at: self.moment.now,
                epoch: self.moment.epoch,
                ..Firing::default()
            },
            ..Planned::default()
        };
        for row in rows {
            if planned.is_full() {
                break;
            }
            planned.covered += 1;
            match (row.key.owner, &row.waiting) {
                (Owner::Task(id), _) => self.task_row(&mut planned, row, id),
                (Owner::Run(_), Some(waiting)) => self.run_row(&mut planned, row, waiting),
                (Owner::Run(_), None) => planned.firing.consumed.push(row.key.clone()),
            }
        }
        if !planned.entries.is_empty() {
            let entries = planned.entries.iter();
            let runs = entries.map(|e| (e.waiting.run.id, e.waiting.run.attempt));
            planned.firing.outbox = Some(OutboxEntry {
                id: self.outbox,
                runs: runs.collect(),
            });
        }
        planned
    }

    fn task_row(&mut self, planned: &mut Planned, row: &DueRow, id: TaskId) {
        let compiled = match (self.tasks)(id) {
            Lookup::Here(compiled) => compiled,
            Lookup::Gone => return planned.firing.consumed.push(row.key.clone()),
            Lookup::Unreadable => return,
        };
        let task = &compiled.task;
        let keys = self.rules.keys(Some(task), &task.spec.queue);
        if !keys.is_empty() && row.key.at > self.moment.now {
            return planned.leave(row.key.at);
        }
        planned.firing.consumed.push(row.key.clone());
        if !task.spec.is_paused() {
            self.fire_task(planned, &compiled, row.key.at, &keys);
        }
    }

    fn fire_task(
        &mut self,
        planned: &mut Planned,
        compiled: &Arc<Compiled>,
        due_at: Timestamp,
        keys: &[(LimitKey, u32)],
    ) {
        let task = &compiled.task;
        let moment = self.moment;
        // Jitter moves the whole timetable: seen from there, everything is as without it.
        let offset = task.spec.jitter_offset();
        let horizon = if keys.is_empty() {
            moment.horizon
        } else {
            moment.now
        };
        let (fuel, none) = (Fuel::endless(), BTreeSet::new());
        let plan = occurrences_by(
            &compiled.timetable,
            &task.spec,
            due_at.minus(offset),
            moment.now.minus(offset),
            horizon.minus(offset),
            (self.answered.get(&task.id).unwrap_or(&none), &fuel),
        );
        planned.burnt = planned.burnt.saturating_add(fuel.burnt());
        let mut ids = (self.mint)(plan.runs.len() + plan.skips.len()).into_iter();
        for (skip, id) in plan.skips.iter().zip(&mut ids) {
            let row = transitions::skip(id, task, skip, moment.epoch, moment.now);
            planned.firing.skipped.push(row);
        }
        let last = plan.runs.len();
        // What was missed together and all runs, runs one after the other.
        let missed = last > 1 || plan.runs.iter().any(|due| due.catch_up);
        let chain = Chain::of(&task.spec);
        let all = task.spec.misfire == Misfire::All && chain.is_none();
        let in_turn = missed && all && task.spec.is_exclusive();
        for (n, (due, id)) in plan.runs.iter().zip(&mut ids).enumerate() {
            let mut run = self.occurrence(id, task, *due);
            (run.in_turn, run.limited) = (in_turn, in_turn || chain.is_some());
            if task.spec.overlap == Overlap::Replace && !in_turn && n + 1 < last {
                // Several at once: each would be replaced by the one behind it.
                self.skip_one(planned, &run, Reason::Replaced);
                continue;
            }
            let candidate = Candidate {
                waiting: Waiting { run, spec: None },
                task: Some(compiled),
                exists: false,
            };
            self.admit(planned, candidate, keys);
        }
        let next = match &chain {
            Some(chain) => self.hold_or_go_on(planned, task.id, chain, &plan),
            None => plan.next,
        };
        if let Some(at) = next {
            planned.firing.advanced.push(DueKey {
                queue: task.spec.queue.clone(),
                at: at.plus(offset),
                owner: Owner::Task(task.id),
            });
        }
    }

    fn occurrence(&mut self, id: RunId, task: &Task, due: Due) -> Run {
        let run = transitions::occurrence(id, task, due.at, self.moment.epoch);
        if !due.catch_up {
            return run;
        }
        Run {
            priority: transitions::catch_up_priority(run.priority),
            ready_at: run.ready_at.max(self.catch_up.slot(self.moment.now)),
            ..run
        }
    }

    /// The timer of a run that exists: its start; any other is a deadline's, which may have been met, and starts nothing.
    fn run_row(&mut self, planned: &mut Planned, row: &DueRow, waiting: &Waiting) {
        let (run, now) = (&waiting.run, self.moment.now);
        let compiled = match run.task.map(self.tasks) {
            Some(Lookup::Here(compiled)) => Some(compiled),
            Some(Lookup::Unreadable) => return,
            Some(Lookup::Gone) | None => None,
        };
        let is_deadline = row.key.at != run.ready_at;
        let keys = self
            .rules
            .keys(compiled.as_ref().map(|c| &*c.task), &run.queue);
        if row.key.at > now && (is_deadline || !keys.is_empty()) {
            return planned.leave(row.key.at);
        }
        planned.firing.consumed.push(row.key.clone());
        planned.firing.seen.push((run.id, run.attempt));
        let mut replaced = planned.firing.replaced.iter();
        if replaced.any(|r| r.run == run.id && !r.running && !r.kept) {
            // Its place was taken a row before: this firing ends it.
            return;
        }
        if transitions::is_past_deadline(run, now) {
            let over = (run.id, run.attempt, Reason::StartDeadline);
            planned.firing.dropped.push(over);
            self.board.release(run.id);
        } else if !is_deadline {
            let candidate = Candidate {
                waiting: waiting.clone(),
                task: compiled.as_ref(),
                exists: true,
            };
            self.admit(planned, candidate, &keys);
        }
    }

    /// Lets a run through if it gets its permits; else it waits, or goes by its task's overlap policy.
    fn admit(
        &mut self,
        planned: &mut Planned,
        mut candidate: Candidate<'_>,
        keys: &[(LimitKey, u32)],
    ) {
        if candidate.run().ready_at > self.moment.horizon {
            return self.place(planned, candidate);
        }
        // What nobody can carry out takes nothing that others need; its task's own permit it takes, for it is active.
        let blocked = self.blocked(&candidate);
        let kept: Vec<(LimitKey, u32)>;
        let keys = if blocked.is_some() {
            let own = keys.iter().filter(|(key, _)| key.is_kept());
            kept = own.cloned().collect();
            &kept
        } else {
            keys
        };
        if keys.is_empty() {
            return self.let_through(planned, candidate, blocked);
        }
        candidate.waiting.run.limited = true;
        // A run that has started once waits for its turn, whatever the policy says of those that have not.
        let (run, first) = (candidate.run().id, candidate.run().attempt == 1);
        let in_turn = candidate.run().waits_its_turn();
        let mut taken = self.board.take(run, in_turn, keys);
        if let Err(full) = &taken
            && full.key.is_kept()
            && first
            && !in_turn
        {
            match candidate.spec_task().map(|t| t.spec.overlap) {
                Some(Overlap::Skip) => return self.refuse(planned, &candidate, Reason::Overlap),
                Some(Overlap::Replace) if self.replace(planned, full) => {
                    taken = self.board.take(run, in_turn, keys);
                }
                _ => {}
            }
        }
        match taken {
            Ok(got) => {
                planned.firing.acquired.extend(got);
                self.let_through(planned, candidate, blocked);
            }
            Err(full) => self.block(planned, &candidate, full),
        }
    }

    /// Under what a run waits that no living worker of its queue can carry out.
    fn blocked(&self, candidate: &Candidate<'_>) -> Option<LimitKey> {
        let (queue, handler) = (&candidate.run().queue, candidate.handler()?);
        let task = candidate.spec_task();
        if self.routes.route_of(queue, Some(handler), task) != Route::Blocked {
            return None;
        }
        let need = self.routes.need(handler, task);
        need.map(|need| LimitKey::Ability(queue.clone(), need.exact()))
    }

    fn let_through(
        &self,
        planned: &mut Planned,
        mut candidate: Candidate<'_>,
        blocked: Option<LimitKey>,
    ) {
        let Some(key) = blocked else {
            return self.place(planned, candidate);
        };
        candidate.waiting.run.limited = true;
        planned
            .firing
            .blocked
            .push(Blocked::of(key, candidate.run()));
        self.insert(planned, &candidate);
    }

    /// Ends who holds the task's permit, so that its place is free: at once if it waits, else when its worker has ended
    /// it; not one that waits its turn, behind which the new one waits too. Answers whether the permit is free now.
    fn replace(&mut self, planned: &mut Planned, full: &Full) -> bool {
        let Some(holder) = full.held.first() else {
            return false;
        };
        let firing = &mut planned.firing;
        // What this firing gives to a run, or makes it wait for, is not taken back by it.
        let fresh = firing.acquired.iter().any(|p| p.run == holder.run)
            || firing.blocked.iter().any(|p| p.run == holder.run);
        if fresh || firing.replaced.iter().any(|r| r.run == holder.run) {
            return false;
        }
        let (running, kept) = (holder.state == State::Running, holder.in_turn);
        firing.replaced.push(Replaced {
            key: full.key.clone(),
            run: holder.run,
            running,
            kept,
        });
        self.board.standing(&full.key).blocked = 0;
        let free = !running && !kept;
        if free {
            self.board.release(holder.run);
        }
        free
    }

    fn block(&mut self, planned: &mut Planned, candidate: &Candidate<'_>, full: Full) {
        let standing = self.board.standing(&full.key);
        let most = candidate
            .spec_task()
            .map_or(0, |t| t.spec.overlap_queue_max);
        let first = candidate.run().attempt == 1;
        let in_turn = candidate.run().waits_its_turn();
        if full.key.is_kept() && first && !in_turn && standing.blocked >= most {
            return self.refuse(planned, candidate, Reason::Overlap);
        }
        standing.blocked += 1;
        let key = full.key.clone();
        planned
            .firing
            .blocked
            .push(Blocked::of(key, candidate.run()));
        planned.firing.acquired.extend(full.got);
        let held = full.held.iter().map(|h| (full.key.clone(), h.n));
        planned.firing.full.extend(held);
        self.insert(planned, candidate);
    }

    /// It never starts. (It waits at its first attempt: others are not refused.)
    fn refuse(&mut self, planned: &mut Planned, candidate: &Candidate<'_>, reason: Reason) {
        let run = candidate.run();
        if !candidate.exists {
            self.skip_one(planned, run, reason);
        } else {
            planned.firing.dropped.push((run.id, run.attempt, reason));
        }
    }

    fn skip_one(&self, planned: &mut Planned, run: &Run, reason: Reason) {
        planned.firing.skipped.push(Run {
            state: State::Skipped,
            reason,
            finished_at: Some(self.moment.now),
            skipped: Some((run.due_at, 1)),
            limited: false,
            in_turn: false,
            ..run.clone()
        });
    }

    /// Into the dispatcher's hands, or behind a timer if it starts later.
    fn place(&self, planned: &mut Planned, candidate: Candidate<'_>) {
        self.insert(planned, &candidate);
        if candidate.run().ready_at > self.moment.horizon {
            let run = candidate.run().clone();
            return planned.put_timer(&run, run.ready_at);
        }
        planned.entries.push(Entry {
            task: candidate.task.map(|c| Arc::clone(&c.task)),
            waiting: candidate.waiting,
            row: self.outbox,
        });
    }

    fn insert(&self, planned: &mut Planned, candidate: &Candidate<'_>) {
        let run = candidate.run();
        if let Some(deadline) = transitions::start_deadline(run) {
            planned.put_timer(run, deadline);
        }
        if !candidate.exists {
            planned.firing.runs.push(run.clone());
        }
    }
}

#[cfg(test)]
#[path = "../../tests/decide/fire_tests.rs"]
mod tests;
