//! The store in memory: the tables as maps, the transitions as the pure functions of [`crate::protocol::run`]. One
//! mutex is the transaction. It is the reference that the SQL stores are compared with, and what simulations run on.

mod control;
mod editing;
mod jumps;
mod leading;
mod permits;
mod quarantine;
mod successes;
mod working;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use campanile_schedule::calendar::Calendar;
use campanile_schedule::time::Timestamp;

use crate::id::{NodeId, OutboxId, RunId, TaskId};
use crate::port::clock::Clock;
use crate::port::store::Error;
use crate::protocol::invariants::{self, Snapshot};
use crate::protocol::keys::{Digest, Scope};
use crate::protocol::permits::{LimitKey, Permit};
use crate::protocol::run as transitions;
use crate::protocol::work::{
    DueKey, End, Finish, Former, LeaderRow, Node, Owner, Quarantined, Term, Thing, Waiting,
};
use crate::run::{AttemptEnd, Reason, Run, RunSpec};
use crate::task::Task;

/// The store. Share it as `Arc<MemoryStore>`.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    epoch: i64,
    holder: Option<crate::id::Holder>,
    leader_node: Option<NodeId>,
    leader_name: String,
    since: Option<Timestamp>,
    edits: i64,
    resign_epoch: i64,
    secret: Option<[u8; 32]>,
    tasks: BTreeMap<TaskId, Task>,
    names: BTreeMap<String, TaskId>,
    former: Vec<Former>,
    deletions: BTreeMap<TaskId, Timestamp>,
    /// Instants that were answered before they came.
    answered: BTreeSet<(TaskId, Timestamp)>,
    due: BTreeSet<DueKey>,
    live: BTreeMap<RunId, Run>,
    history: BTreeMap<RunId, Run>,
    occurrences: HashMap<(TaskId, Timestamp), RunId>,
    specs: HashMap<RunId, RunSpec>,
    attempts: HashMap<RunId, Vec<AttemptEnd>>,
    logs: HashMap<RunId, Vec<(u32, String)>>,
    keys: BTreeMap<(String, Scope), (RunId, Option<Digest>)>,
    outbox: BTreeMap<OutboxId, Vec<(RunId, u32)>>,
    nodes: BTreeMap<NodeId, Node>,
    calendars: BTreeMap<String, Calendar>,
    limits: HashMap<LimitKey, u32>,
    permits: BTreeMap<(LimitKey, u32), RunId>,
    parked: permits::ParkedRuns,
    quarantine: BTreeMap<i64, (Quarantined, Thing)>,
    next_aside: i64,
    settings: HashMap<String, String>,
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tables = self.lock();
        write!(
            f,
            "MemoryStore({} live, {} finished)",
            tables.live.len(),
            tables.history.len()
        )
    }
}

impl MemoryStore {
    /// An empty store whose clock is `clock`'s wall time.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            tables: Mutex::new(Tables::default()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// All of the store at this moment, for the invariants.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let tables = self.lock();
        Snapshot {
            runs: tables
                .live
                .values()
                .chain(tables.history.values())
                .cloned()
                .collect(),
            due: tables.due.iter().cloned().collect(),
            outbox: tables.outbox.values().flatten().copied().collect(),
            living: tables.nodes.keys().copied().collect(),
            permits: tables
                .permits
                .iter()
                .map(|((key, n), run)| Permit {
                    key: key.clone(),
                    n: *n,
                    run: *run,
                })
                .collect(),
            parked: tables.parked.values().cloned().collect(),
            resting: tables
                .tasks
                .values()
                .filter_map(|t| Some((t.id, t.rests_from?)))
                .collect(),
            answered: tables.answered.iter().copied().collect(),
            deleted: tables
                .former
                .iter()
                .map(|f| (f.task.id, tables.deletions.contains_key(&f.task.id)))
                .collect(),
        }
    }

    /// All heartbeats of the living so far.
    pub fn beats(&self) -> i64 {
        self.lock().nodes.values().map(|node| node.beat_seq).sum()
    }

    /// Makes a node's row be as that of a program that announces nothing.
    pub fn forget_abilities(&self, node: NodeId) {
        if let Some(row) = self.lock().nodes.get_mut(&node) {
            row.abilities = None;
        }
    }

    /// Checks every invariant that one moment can show.
    ///
    /// # Errors
    /// The first that is broken.
    pub fn check(&self) -> Result<(), invariants::Violation> {
        invariants::check(&self.snapshot())
    }
}

impl Tables {
    fn leader_row(&self, now: Timestamp) -> LeaderRow {
        LeaderRow {
            epoch: self.epoch,
            holder: self.holder.clone(),
            node: self.leader_node,
            node_name: self.leader_name.clone(),
            since: self.since,
            edits: self.edits,
            resign_epoch: self.resign_epoch,
            now,
        }
    }

    /// The fence.
    fn holds(&self, term: &Term) -> bool {
        self.epoch == term.epoch && self.holder.as_ref() == Some(&term.holder)
    }

    fn waiting(&self, id: RunId, attempt: Option<u32>) -> Option<Waiting> {
        let run = self.live.get(&id)?;
        let waits = transitions::waits(run, attempt.unwrap_or(run.attempt));
        waits.then(|| Waiting {
            run: run.clone(),
            spec: self.specs.get(&id).cloned(),
        })
    }

    /// Moves an ended run into history, where (task, instant) is unique for occurrences.
    fn archive(&mut self, run: Run) -> Result<(), Error> {
        if let (crate::run::Origin::Schedule, Some(task)) = (run.origin, run.task)
            && self
                .occurrences
                .insert((task, run.due_at), run.id)
                .is_some_and(|other| other != run.id)
        {
            return Err(Error::Refused(
                format!("a second row for task {task} at {}", run.due_at).into(),
            ));
        }
        self.live.remove(&run.id);
        self.release(run.id, true);
        self.history.insert(run.id, run);
        Ok(())
    }

    /// Records a skip. An instant that history has an answer for keeps it.
    fn put_skip(&mut self, skip: &Run) -> Result<(), Error> {
        let answered = skip
            .task
            .is_some_and(|task| self.occurrences.contains_key(&(task, skip.due_at)));
        if answered {
            return Ok(());
        }
        self.archive(skip.clone())
    }

    /// Puts a run where its state belongs: among the live, or into history.
    fn settle(&mut self, run: Run) -> Result<(), Error> {
        if run.state.is_terminal() {
            return self.archive(run);
        }
        self.live.insert(run.id, run);
        Ok(())
    }

    fn finish_one(&mut self, finish: &Finish) -> Result<bool, Error> {
        let Some(old) = self.live.get(&finish.run) else {
            return Ok(false);
        };
        let error = finish.error.as_deref();
        let Some(new) = transitions::finish(
            old,
            finish.attempt,
            finish.claim,
            finish.end,
            finish.at,
            error,
        ) else {
            return Ok(false);
        };
        let why = match finish.end {
            End::Failed(reason) | End::Again { why: reason, .. } => reason,
            End::Refused { .. } => Reason::NotAllowed,
            End::Succeeded | End::Cancelled(_) | End::Withdrawn { .. } => Reason::None,
        };
        // A deadline that was met needs no timer: one that is found later would be taken for a start.
        let met = old.deadline_at.filter(|_| new.deadline_at.is_none());
        if why != Reason::None {
            self.attempts
                .entry(finish.run)
                .or_default()
                .push(AttemptEnd {
                    attempt: finish.attempt,
                    worker: old.worker,
                    started_at: old.started_at,
                    finished_at: finish.at,
                    reason: why,
                    error: finish.error.as_ref().and(new.error.clone()),
                    class: finish.class.as_ref().map(ToString::to_string),
                });
        }
        if let Some(log) = finish.log.as_ref().filter(|l| !l.is_empty()) {
            self.logs
                .entry(finish.run)
                .or_default()
                .push((finish.attempt, log.clone()));
        }
        if new.state.is_terminal() {
            self.archive(new)?;
        } else {
            self.release(new.id, false);
            if let Some(at) = met {
                self.due.remove(&DueKey {
                    queue: new.queue.clone(),
                    at,
                    owner: Owner::Run(new.id),
                });
            }
            self.due.insert(DueKey {
                queue: new.queue.clone(),
                at: transitions::look_at(&new),
                owner: Owner::Run(new.id),
            });
            self.live.insert(new.id, new);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::store::Store;
    use crate::system::SystemClock;

    async fn memory() -> Option<(Arc<dyn Store>, ())> {
        Some((Arc::new(MemoryStore::new(Arc::new(SystemClock::new()))), ()))
    }

    crate::conformance::store!(memory);
}
