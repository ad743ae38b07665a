//! The abstract store: what the tables hold, and each transaction as one step. The rows are changed by
//! [`campanile::protocol::run`]'s functions, as in the memory store; a guard that is switched off is a lie about the
//! row or the request that such a function is given. Never decides when a step happens.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use campanile::id::{ClaimId, NodeId, OutboxId, RunId, TaskId};
use campanile::port::Written;
use campanile::protocol::invariants::Snapshot;
use campanile::protocol::occurrences::rested;
use campanile::protocol::permits::{LimitKey, Parked, Permit};
use campanile::protocol::work::{DueKey, End, Finish, Fired, Firing, Owner, Term};
use campanile::protocol::{ahead, run as transitions};
use campanile::run::{Reason, Run, State};
use campanile_schedule::time::Timestamp;

use super::bounds::{Fence, Guards, TASK, occurrence};
use super::world::Scene;
use super::zones::Zones;

/// A run's row, shared between the worlds that have it in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row(pub Arc<Run>);

impl Hash for Row {
    fn hash<H: Hasher>(&self, to: &mut H) {
        let run = &*self.0;
        (run.id, run.due_at, run.ready_at, run.state, run.reason).hash(to);
        (
            run.attempt,
            run.failures,
            run.losses,
            run.epoch,
            run.limited,
        )
            .hash(to);
        (run.queued_at, run.started_at, run.finished_at).hash(to);
        (run.worker, run.claim, run.cancel, run.priority).hash(to);
    }
}

/// The tables.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Store {
    /// The leader row's term; `None` before the first.
    pub term: Option<Arc<Term>>,
    /// Edits of the task so far.
    pub edits: i64,
    /// Due rows.
    pub due: BTreeSet<DueKey>,
    /// Live and ended runs, by id.
    pub runs: Vec<Row>,
    /// Outbox rows.
    pub outbox: Vec<(OutboxId, Vec<(RunId, u32)>)>,
    /// The living nodes.
    pub living: Vec<NodeId>,
    /// Permits that are held.
    pub permits: BTreeSet<Permit>,
    /// Who waits for one, in their order.
    pub parked: BTreeSet<(LimitKey, u8, Timestamp, Parked)>,
    /// While the task rests: the instant from which on it does.
    pub rests_from: Option<Timestamp>,
    /// Zone rules.
    pub zones: Zones,
}

/// What a claim won.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Won {
    pub run: RunId,
    pub attempt: u32,
    pub claim: ClaimId,
    pub failures: u32,
}

impl Store {
    pub fn epoch(&self) -> i64 {
        self.term.as_ref().map_or(0, |t| t.epoch)
    }

    /// Whether this is the present term.
    pub fn is_present(&self, term: &Term) -> bool {
        self.term.as_deref() == Some(term)
    }

    /// The fence, as far as it is switched on.
    pub fn holds(&self, term: &Term, guards: &Guards) -> bool {
        match guards.fence {
            Fence::Write if guards.holder_is_compared => self.is_present(term),
            Fence::Write => self.epoch() == term.epoch,
            Fence::Look | Fence::Off => true,
        }
    }

    pub fn begin_term(&mut self, read_epoch: i64, term: &Term, guards: &Guards) -> Written {
        if guards.begin_demands_epoch && self.epoch() != read_epoch {
            return Written::Stale;
        }
        self.term = Some(Arc::new(term.clone()));
        Written::Applied
    }

    pub fn run(&self, id: RunId) -> Option<&Arc<Run>> {
        let place = self.runs.binary_search_by_key(&id, |row| row.0.id).ok()?;
        Some(&self.runs[place].0)
    }

    /// A run that has not ended.
    pub fn live(&self, id: RunId) -> Option<&Arc<Run>> {
        self.run(id).filter(|run| !run.state.is_terminal())
    }

    pub fn waits(&self, id: RunId, attempt: u32) -> bool {
        self.live(id)
            .is_some_and(|run| transitions::waits(run, attempt))
    }

    fn write(&mut self, run: Run) {
        match self.runs.binary_search_by_key(&run.id, |row| row.0.id) {
            Ok(place) => self.runs[place] = Row(Arc::new(run)),
            Err(place) => self.runs.insert(place, Row(Arc::new(run))),
        }
    }

    /// Puts a run where its state belongs; one that has ended gives its permits back.
    pub fn settle(&mut self, run: Run, guards: &Guards) {
        let (id, ended) = (run.id, run.state.is_terminal());
        self.write(run);
        if ended {
            self.release(id, true, guards);
        }
    }

    /// One firing. Answers as the store does.
    pub fn fire(&mut self, term: &Term, firing: &Firing, guards: &Guards) -> Fired {
        if !self.holds(term, guards) {
            return Fired::Fenced;
        }
        let edited = guards.firing_demands_edits && self.edits != firing.edits;
        let gone = guards.consume_demands_rows
            && firing.consumed.iter().any(|key| !self.due.contains(key));
        if edited || gone || !self.permits_allow(firing, guards) {
            return Fired::Edited;
        }
        for key in &firing.consumed {
            self.due.remove(key);
            if let Owner::Run(id) = key.owner
                && let Some(run) = self.live(id)
            {
                let mut run = Run::clone(run);
                run.epoch = firing.epoch;
                self.write(run);
            }
        }
        self.due.extend(firing.advanced.iter().cloned());
        for run in firing.runs.iter().chain(&firing.skipped) {
            self.write(run.clone());
        }
        self.fire_permits(firing, guards);
        if let Some(entry) = firing.outbox.as_ref().filter(|_| guards.outbox_is_written) {
            self.outbox.push((entry.id, entry.runs.clone()));
            self.outbox.sort_unstable();
        }
        Fired::Applied
    }

    pub fn mark_sent(
        &mut self,
        term: &Term,
        marks: &[(RunId, u32)],
        at: Timestamp,
        done: &[OutboxId],
        guards: &Guards,
    ) -> Written {
        if !self.holds(term, guards) {
            return Written::Stale;
        }
        for (id, attempt) in marks {
            let Some(run) = self.live(*id) else { continue };
            let mut seen = Run::clone(run);
            if !guards.mark_demands_state {
                seen.state = State::Scheduled;
            }
            if let Some(marked) = transitions::mark_queued(&seen, *attempt, at) {
                self.write(marked);
            }
        }
        self.outbox.retain(|(row, _)| !done.contains(row));
        Written::Applied
    }

    /// A claim of one run by one node, at the store's clock.
    pub fn claim(
        &mut self,
        (id, attempt): (RunId, u32),
        claim: ClaimId,
        node: NodeId,
        now: Timestamp,
        guards: &Guards,
    ) -> Option<Won> {
        let living = self.living.contains(&node) || !guards.claim_demands_living;
        let parked = self.is_parked(id) && guards.claim_refuses_parked;
        let mut seen = Run::clone(self.live(id).filter(|_| living && !parked)?);
        if !guards.claim_demands_waiting && seen.state == State::Running {
            seen.state = State::Queued;
        }
        let asked = if guards.claim_demands_attempt {
            attempt
        } else {
            seen.attempt
        };
        let now_seen = if guards.claim_demands_instant {
            now
        } else {
            now.max(seen.ready_at)
        };
        let claimed = transitions::claim(&seen, asked, claim, node, now_seen)?;
        let won = Won {
            run: id,
            attempt,
            claim,
            failures: claimed.failures,
        };
        self.write(Run {
            started_at: Some(now),
            ..claimed
        });
        Some(won)
    }

    /// One end under its claim; answers whether it was written.
    pub fn finish(&mut self, finish: &Finish, guards: &Guards) -> bool {
        let Some(run) = self.run(finish.run) else {
            return false;
        };
        let mut seen = Run::clone(run);
        if !guards.end_demands_running {
            seen.state = State::Running;
        }
        let attempt = if guards.end_demands_attempt {
            finish.attempt
        } else {
            seen.attempt
        };
        if !guards.end_demands_claim {
            seen.claim = Some(finish.claim);
        }
        let Some(mut new) =
            transitions::finish(&seen, attempt, finish.claim, finish.end, finish.at, None)
        else {
            return false;
        };
        if new.state.is_terminal() {
            self.settle(new, guards);
            return true;
        }
        if !guards.requeue_bumps_attempt {
            new.attempt = seen.attempt;
        }
        if guards.requeue_puts_timer {
            self.due.insert(DueKey {
                queue: new.queue.clone(),
                at: new.ready_at,
                owner: Owner::Run(new.id),
            });
        }
        let id = new.id;
        self.write(new);
        self.release(id, false, guards);
        true
    }

    /// Somebody asks for a run's end. Answers whether that changed anything.
    pub fn cancel(&mut self, id: RunId, at: Timestamp, guards: &Guards) -> bool {
        let changed = self
            .live(id)
            .and_then(|run| transitions::cancel(run, at).1.filter(|new| *new != **run));
        let Some(run) = changed else { return false };
        self.settle(run, guards);
        true
    }

    /// The task rests from now on: its due row goes, and what was planned ahead of its instant.
    pub fn pause(&mut self, now: Timestamp, guards: &Guards) {
        self.edits += 1;
        let ahead = |row: &Row| ahead::is_ahead(&row.0, Duration::ZERO, now);
        let (gone, stay): (Vec<Row>, Vec<Row>) = std::mem::take(&mut self.runs)
            .into_iter()
            .partition(|row| guards.pause_takes_back && ahead(row));
        self.runs = stay;
        for row in &gone {
            self.release(row.0.id, true, guards);
            self.due.retain(|key| key.owner != Owner::Run(row.0.id));
        }
        let of_task = |key: &DueKey| matches!(key.owner, Owner::Task(_));
        let row = self.due.iter().find(|key| of_task(key)).map(|key| key.at);
        self.due.retain(|key| !of_task(key));
        let taken = gone.iter().map(|row| row.0.due_at);
        self.rests_from = Some(ahead::rests_from(now, row, taken));
    }

    /// It goes on: what passed meanwhile has one row, and the next instant that has no row is due again.
    pub fn resume(&mut self, scene: &Scene, now: Timestamp) {
        let Some(from) = self.rests_from.take() else {
            return;
        };
        self.edits += 1;
        let compiled = scene.task(self.edits);
        let until = now.plus(Duration::from_millis(1));
        let schedule = compiled.timetable.schedule();
        if let Some(range) = rested(
            schedule,
            from,
            until,
            Reason::Paused,
            &campanile_schedule::fuel::Fuel::endless(),
        ) {
            let id = RunId::from_i64(1_000 + self.edits);
            self.write(transitions::skip(id, &compiled.task, &range, 0, now));
        }
        let planned = |at: &Timestamp| self.runs.iter().any(|row| row.0.due_at == *at);
        let instants = (0..i64::from(scene.bounds.occurrences)).map(occurrence);
        let next = instants.filter(|at| *at > now).find(|at| !planned(at));
        self.due.extend(next.map(|at| DueKey {
            queue: compiled.task.spec.queue.clone(),
            at,
            owner: Owner::Task(compiled.task.id),
        }));
    }

    /// Runs that are running and that nobody living holds.
    pub fn orphans(&self) -> impl Iterator<Item = &Arc<Run>> {
        let orphan = |run: &&Arc<Run>| {
            run.state == State::Running && run.worker.is_none_or(|w| !self.living.contains(&w))
        };
        self.runs.iter().map(|row| &row.0).filter(orphan)
    }

    /// All of it, for the invariants.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            answered: std::collections::HashSet::new(),
            runs: self.runs.iter().map(|row| Run::clone(&row.0)).collect(),
            due: self.due.iter().cloned().collect(),
            outbox: self
                .outbox
                .iter()
                .flat_map(|(_, runs)| runs)
                .copied()
                .collect(),
            living: self.living.clone(),
            permits: self.permits.iter().cloned().collect(),
            parked: self.parked.iter().map(|p| p.3.clone()).collect(),
            resting: self
                .rests_from
                .map(|from| (TaskId::from_i64(TASK), from))
                .into_iter()
                .collect(),
            // Nobody deletes a task in the model.
            deleted: Vec::new(),
        }
    }
}

/// An end's parts, as numbers that can be hashed.
pub fn end_parts(end: End) -> (u8, i64, i64) {
    match end {
        End::Succeeded => (0, 0, 0),
        End::Failed(reason) => (1, reason.as_i64(), 0),
        End::Cancelled(reason) => (2, reason.as_i64(), 0),
        End::Again { ready_at, why } => (3, why.as_i64(), ready_at.as_ms()),
        End::Withdrawn { ready_at } => (4, 0, ready_at.as_ms()),
        End::Refused { ready_at } => (5, 0, ready_at.as_ms()),
    }
}
