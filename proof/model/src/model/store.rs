//! The abstract store: what the tables hold, and each transaction as one step. The rows are changed by
//! [`campanile_core::decide::attempt`]'s functions, as in the memory store; a guard that is switched off is a lie about the
//! row or the request that such a function is given. Never decides when a step happens.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use campanile_core::decide::attempt as transitions;
use campanile_core::decide::invariants::Snapshot;
use campanile_core::decide::permits::{Blocked, LimitKey, Permit};
use campanile_core::id::{ClaimId, NodeId, OutboxId, RunId, TaskId};
use campanile_core::port::Written;
use campanile_core::port::attempt::{End, Finish};
use campanile_core::port::fire::{DueKey, Fired, Firing, Owner};
use campanile_core::port::lead::Term;
use campanile_core::run::{Run, State};
use campanile_core::task::Chain;
use campanile_schedule::time::Timestamp;

use super::bounds::{Fence, Guards, TASK};
use super::edits::{Asked, Definition};
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
    /// The task's definition.
    pub definition: Definition,
    /// Which instants its definitions have asked for.
    pub asked: Asked,
    /// Instants behind its due row that have a row already.
    pub answered: BTreeSet<Timestamp>,
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
    pub blocked: BTreeSet<(LimitKey, u8, Timestamp, Blocked)>,
    /// While the task is paused: the instant from which on it does.
    pub paused_from: Option<Timestamp>,
    /// Whether the cluster is held.
    pub held: bool,
    /// How the task goes on, if it does from the ends of its runs.
    pub chain: Option<Chain>,
    /// The run whose end puts its next due row.
    pub holder: Option<RunId>,
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
    /// Its task was deleted before it was won.
    pub orphaned: bool,
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

    pub fn write(&mut self, run: Run) {
        match self.runs.binary_search_by_key(&run.id, |row| row.0.id) {
            Ok(place) => self.runs[place] = Row(Arc::new(run)),
            Err(place) => self.runs.insert(place, Row(Arc::new(run))),
        }
    }

    /// Puts a run where its state belongs; one that has ended gives its permits back.
    pub fn settle(&mut self, run: Run, guards: &Guards) {
        let (id, ended) = (run.id, run.state.is_terminal());
        if ended {
            self.end_chain(&run, guards);
        }
        self.write(run);
        if ended {
            self.release(id, true, guards);
        }
    }

    /// Whether the runs whose timers a firing consumes wait at the attempts that it saw, if they wait.
    fn waits_as_seen(&self, firing: &Firing) -> bool {
        firing.consumed.iter().all(|key| match key.owner {
            Owner::Run(id) => self.live(id).is_none_or(|run| {
                let waits = transitions::waits(run, run.attempt);
                !waits || firing.seen.contains(&(id, run.attempt))
            }),
            Owner::Task(_) => true,
        })
    }

    /// One firing. Answers as the store does.
    pub fn fire(&mut self, term: &Term, firing: &Firing, guards: &Guards) -> Fired {
        if !self.holds(term, guards) {
            return Fired::Fenced;
        }
        let edited = guards.firing_demands_edits && self.edits != firing.edits;
        let gone = guards.consume_demands_rows
            && firing.consumed.iter().any(|key| !self.due.contains(key));
        if edited || gone || !self.waits_as_seen(firing) || !self.permits_allow(firing, guards) {
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
        let chained = firing.chained.first().map(|(_, run)| *run);
        self.holder = chained.or(self.holder);
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
        if self.held && guards.claims_refuse_the_held {
            return None;
        }
        let blocked = self.is_blocked(id) && guards.claim_refuses_blocked;
        let mut seen = Run::clone(self.live(id).filter(|_| living && !blocked)?);
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
            orphaned: self.definition.deleted && guards.claims_tell_deletions,
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
            answered: (self.answered.iter())
                .map(|at| (TaskId::from_i64(TASK), *at))
                .collect(),
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
            blocked: self.blocked.iter().map(|p| p.3.clone()).collect(),
            resting: self
                .paused_from
                .map(|from| (TaskId::from_i64(TASK), from))
                .into_iter()
                .collect(),
            deleted: self.deleted(),
            chained: self.chained(),
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
        End::Abandoned { ready_at } => (4, 0, ready_at.as_ms()),
        End::Refused { ready_at } => (5, 0, ready_at.as_ms()),
    }
}
