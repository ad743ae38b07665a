//! The store in memory: the tables as maps, the transitions as the pure functions of [`crate::decide::attempt`]. One
//! mutex is the transaction. It is the reference that the SQL stores are compared with, and what simulations run on.

mod access;
mod ask;
mod attempt;
mod chains;
mod edit;
mod editing;
mod fire;
mod inbox;
mod jumps;
mod lead;
mod member;
mod permits;
mod publish;
mod quarantine;
mod successes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use campanile_schedule::calendar::Calendar;
use campanile_schedule::time::Timestamp;

use crate::decide::attempt as transitions;
use crate::decide::edit::keys::{Digest, Scope};
use crate::decide::invariants;
use crate::decide::invariants::Snapshot;
use crate::decide::lead::hold::Hold;
use crate::decide::permits::{LimitKey, Permit};
use crate::id::{NodeId, OutboxId, RunId, TaskId};
use crate::port::ask::{Former, Quarantined};
use crate::port::attempt::{Chunks, End, Finish, Thing};
use crate::port::clock::Clock;
use crate::port::fire::{DueKey, Owner, Waiting};
use crate::port::lead::{LeaderRow, Term};
use crate::port::member::{Node, Progress};
use crate::port::store::Error;
use crate::run::{AttemptEnd, Reason, Run, RunSpec, State};
use crate::task::{Pause, Task};

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
    hold: Option<Hold>,
    secret: Option<[u8; 32]>,
    tasks: BTreeMap<TaskId, Task>,
    names: BTreeMap<String, TaskId>,
    pauses: BTreeMap<TaskId, Pause>,
    former: Vec<Former>,
    deletions: BTreeMap<TaskId, Timestamp>,
    /// Instants that were answered before they came.
    answered: BTreeSet<(TaskId, Timestamp)>,
    due: BTreeSet<DueKey>,
    /// The runs whose ends put their tasks' next due rows.
    chains: BTreeMap<TaskId, RunId>,
    live: BTreeMap<RunId, Run>,
    history: BTreeMap<RunId, Run>,
    occurrences: HashMap<(TaskId, Timestamp), RunId>,
    specs: HashMap<RunId, RunSpec>,
    submitters: HashMap<RunId, String>,
    tokens: HashMap<String, campanile_access::token::ApiToken>,
    audit: campanile_access::audit::Book,
    attempts: HashMap<RunId, Vec<AttemptEnd>>,
    left: HashMap<RunId, BTreeMap<u32, Left>>,
    keys: BTreeMap<(String, Scope), (RunId, Option<Digest>)>,
    outbox: BTreeMap<OutboxId, Vec<(RunId, u32)>>,
    nodes: BTreeMap<NodeId, Node>,
    /// What nodes are called, also those that are gone, and since when.
    node_names: BTreeMap<NodeId, (String, Option<Timestamp>)>,
    calendars: BTreeMap<String, Calendar>,
    limits: HashMap<LimitKey, u32>,
    permits: BTreeMap<(LimitKey, u32), RunId>,
    blocked: permits::BlockedRuns,
    quarantine: BTreeMap<i64, (Quarantined, Thing)>,
    next_aside: i64,
    settings: HashMap<String, String>,
    inbox: inbox::Boxes,
}

/// What an attempt leaves beside its end.
#[derive(Default)]
struct Left {
    log: BTreeMap<u64, String>,
    result: Option<String>,
    progress: Option<Progress>,
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
            blocked: tables.blocked.values().cloned().collect(),
            resting: tables
                .tasks
                .values()
                .filter_map(|t| Some((t.id, t.paused_from?)))
                .collect(),
            answered: tables.answered.iter().copied().collect(),
            deleted: tables
                .former
                .iter()
                .map(|f| (f.task.id, tables.deletions.contains_key(&f.task.id)))
                .collect(),
            chained: tables.chained(),
        }
    }

    /// All heartbeats of the members so far.
    pub fn heartbeats(&self) -> i64 {
        self.lock()
            .nodes
            .values()
            .map(|node| node.heartbeat_seq)
            .sum()
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

impl MemoryStore {
    /// The next moment after this one at which something is to happen: a due row's instant, or the start of a run that waits.
    #[must_use]
    pub fn next_instant(&self, after: Timestamp) -> Option<Timestamp> {
        let tables = self.lock();
        let due = tables.due.iter().map(|key| key.at);
        let waiting = tables.live.values().filter(|run| run.state.is_waiting());
        due.chain(waiting.map(|run| run.ready_at))
            .filter(|at| *at > after)
            .min()
    }

    /// What was due by this moment and is not done: due rows that have not fired, runs that could start, and runs that run.
    #[must_use]
    pub fn unsettled(&self, by: Timestamp) -> (usize, usize) {
        let tables = self.lock();
        let fires = tables.due.iter().filter(|key| key.at <= by).count();
        let waits_for_its_timer = |run: &Run| {
            let own = Owner::Run(run.id);
            tables.due.iter().any(|key| key.owner == own && key.at > by)
        };
        let starts = tables.live.values().filter(|run| {
            let may_start = run.state.is_waiting() && run.ready_at <= by;
            may_start && !tables.is_blocked(run.id) && !waits_for_its_timer(run)
        });
        let running = tables.live.values().filter(|r| r.state == State::Running);
        (fires + starts.count(), running.count())
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
            hold: self.hold.clone(),
            now,
        }
    }

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
        self.go_on(&run, run.finished_at.unwrap_or(run.due_at));
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

    /// Of two chunks that begin at one place the longer one stays.
    fn write_log(&mut self, run: RunId, attempt: u32, chunks: &Chunks) {
        let left = self.left.entry(run).or_default();
        let log = &mut left.entry(attempt).or_default().log;
        for chunk in &chunks.put {
            let kept = log.entry(chunk.at).or_default();
            if kept.len() < chunk.text.len() {
                kept.clone_from(&chunk.text);
            }
        }
        if let Some(gone) = &chunks.gone {
            log.retain(|at, _| !gone.contains(at));
        }
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
            End::Succeeded | End::Cancelled(_) | End::Abandoned { .. } => Reason::None,
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
        if let Some(chunks) = &finish.log {
            self.write_log(finish.run, finish.attempt, chunks);
        }
        if finish.result.is_some() {
            let left = self.left.entry(finish.run).or_default();
            let left = left.entry(finish.attempt).or_default();
            left.result.clone_from(&finish.result);
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
