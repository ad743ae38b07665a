//! What scenes are made of: one small world whose every id and instant follows from its beginning, so that each
//! interleaving, on each store, is given the very same operations.

use std::sync::Arc;
use std::time::Duration;

use campanile_core::decide::attempt;
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::decide::edit::keys::{Key, Scope};
use campanile_core::decide::permits::{Blocked, LimitKey, Permit};
use campanile_core::id::{ClaimId, Mint, NodeId, RunId, TaskId};
use campanile_core::port::attempt::{Chunks, Claim, End, Finish};
use campanile_core::port::edit::{Edit, Move, Submission, Upsert};
use campanile_core::port::fire::{DueKey, Firing, OutboxEntry, Owner};
use campanile_core::port::lead::{Bid, Term};
use campanile_core::port::member::Node;
use campanile_core::run::{Reason, Run};
use campanile_core::system::Random;
use campanile_core::task::{QueueName, Task, TaskSpec};
use campanile_schedule::time::Timestamp;

use super::ops::Op;
use super::scenes::Scene;

/// Seconds after the instant at which all scenes begin: in the past by every store's clock.
pub(super) const fn at(seconds: i64) -> Timestamp {
    Timestamp::from_ms(1_760_000_000_000 + seconds * 1_000)
}

/// A scene's world: a term that leads, two workers, and what was done in it before the sessions meet.
pub(super) struct World {
    pub(super) mint: Mint,
    pub(super) term: Term,
    pub(super) workers: [NodeId; 2],
    pub(super) setup: Vec<Op>,
    pub(super) keys: Vec<LimitKey>,
    pub(super) edits: i64,
}

impl World {
    pub(super) fn new() -> Self {
        let mint = Mint::new(Arc::new(Random::from_seed(7)));
        let bid = bid(&mint, 0, 1);
        let workers = [mint.node(), mint.node()];
        let joins = workers.map(|id| Op::Join(Box::new(node(id))));
        let mut setup = vec![Op::Begin(bid.clone())];
        setup.extend(joins);
        Self {
            mint,
            term: bid.term,
            workers,
            setup,
            keys: Vec::new(),
            edits: 0,
        }
    }

    /// The scene in which these sessions meet.
    pub(super) fn meet(self, name: &'static str, sessions: Vec<Vec<Op>>) -> Scene {
        Scene {
            name,
            setup: self.setup,
            sessions,
            keys: self.keys,
            reorders: false,
            reorders_on: &[],
            open_on: &[],
        }
    }

    /// A bid for the term after the present one.
    pub(super) fn bid(&self, epoch: i64) -> Bid {
        bid(&self.mint, 1, epoch)
    }

    /// A task whose next occurrence is at the beginning.
    pub(super) fn task(&mut self, name: &str) -> Task {
        let spec = spec(name);
        let id = self.mint.task(at(0));
        let next = Some(due(id, at(0)));
        let upsert = Upsert {
            id,
            expected: None,
            spec: spec.clone(),
            paused_from: None,
            due: DueChange::Replace { seen: None, next },
        };
        self.setup.push(Op::Edit(Box::new(Edit {
            upserts: vec![upsert],
            ..Edit::default()
        })));
        self.edits += 1;
        Task {
            id,
            version: 1,
            spec,
            created_at: at(0),
            updated_at: at(0),
            paused_from: None,
        }
    }

    /// The firing of a task's occurrence, and its run.
    pub(super) fn firing(&self, task: &Task, from: i64) -> (Firing, Run) {
        let id = self.mint.runs(at(from), 1)[0];
        let run = attempt::occurrence(id, task, at(from), self.term.epoch);
        let firing = Firing {
            edits: self.edits,
            at: at(from),
            consumed: vec![due(task.id, at(from))],
            advanced: vec![due(task.id, at(from + 10))],
            runs: vec![run.clone()],
            outbox: Some(OutboxEntry {
                id: self.mint.outbox(at(from)),
                runs: vec![(id, 1)],
            }),
            epoch: self.term.epoch,
            ..Firing::default()
        };
        (firing, run)
    }

    /// The same as an operation of the present term.
    pub(super) fn fire(&self, firing: Firing) -> Op {
        Op::Fire(self.term.clone(), Box::new(firing))
    }

    /// A run that waits, of this task's occurrence at this second.
    pub(super) fn waiting(&mut self, task: &Task, from: i64) -> Run {
        let (firing, run) = self.firing(task, from);
        self.setup.push(self.fire(firing));
        run
    }

    /// A run that the first worker runs, and the claim.
    pub(super) fn running(&mut self, task: &Task, from: i64) -> (RunId, ClaimId) {
        let run = self.waiting(task, from).id;
        (run, self.claimed(run))
    }

    /// Lets the first worker run a run.
    pub(super) fn claimed(&mut self, run: RunId) -> ClaimId {
        let claim = self.claim(0, &[(run, 1)]);
        self.setup.push(Op::Claim(claim.clone()));
        claim.id
    }

    pub(super) fn claim(&self, worker: usize, runs: &[(RunId, u32)]) -> Claim {
        Claim {
            node: self.workers[worker],
            id: self.mint.claim(),
            runs: runs.to_vec(),
        }
    }

    /// A run that a request made, with its timer.
    pub(super) fn submission(&self, key: Option<&str>) -> Submission {
        let id = self.mint.runs(at(0), 1)[0];
        Submission {
            run: attempt::request(id, None, &spec("request"), at(0)),
            spec: None,
            key: key.map(|text| Key {
                scope: Scope::Handler("http".to_owned()),
                text: text.to_owned(),
                content: None,
            }),
        }
    }

    /// The firing of a run's timer.
    pub(super) fn timer(&self, run: &Run) -> Firing {
        Firing {
            edits: self.edits,
            at: at(1),
            consumed: vec![timer(run)],
            seen: vec![(run.id, run.attempt)],
            outbox: Some(OutboxEntry {
                id: self.mint.outbox(at(1)),
                runs: vec![(run.id, run.attempt)],
            }),
            epoch: self.term.epoch,
            ..Firing::default()
        }
    }

    /// A run that waits, and holds permit `n` of the key.
    pub(super) fn holding(&mut self, task: &Task, from: i64, key: &LimitKey, n: u32) -> Run {
        let (firing, run) = self.firing(task, from);
        self.setup
            .push(self.fire(acquiring(firing, key, n, run.id)));
        run
    }

    /// A run that is blocked under the key, of which these permits are held.
    pub(super) fn blocked(&mut self, task: &Task, from: i64, key: &LimitKey, full: &[u32]) -> Run {
        let (firing, run) = self.firing(task, from);
        self.setup
            .push(self.fire(blocking(firing, key, full, &run)));
        run
    }

    /// An edit of a task that leaves its due row where it stands: only the edit counter tells a firing of it.
    pub(super) fn pause(&self, task: &Task) -> Op {
        Op::Edit(Box::new(Edit {
            upserts: vec![Upsert {
                id: task.id,
                expected: Some(1),
                spec: task.spec.clone(),
                paused_from: None,
                due: DueChange::Keep,
            }],
            ..Edit::default()
        }))
    }
}

/// Seconds from [`at`]'s beginning to an instant that no test lives to see.
pub(super) const FAR: i64 = 300_000_000;

impl World {
    /// A run that is planned ahead: its instant is still to come by every store's clock. The task's due row stands there
    /// first.
    pub(super) fn planned(&mut self, task: &Task) -> Run {
        self.setup.push(Op::Edit(Box::new(Edit {
            moves: vec![Move {
                task: task.id,
                seen: Some(at(0)),
                next: Some(due(task.id, at(FAR))),
            }],
            ..Edit::default()
        })));
        self.edits += 1;
        self.waiting(task, FAR)
    }

    /// An edit of a task: it is paused from now on, and what was planned ahead is taken back.
    pub(super) fn rest(&self, task: &Task) -> Op {
        let Op::Edit(mut edit) = self.pause(task) else {
            return self.pause(task);
        };
        edit.upserts[0].due = DueChange::Pause {
            offset: Duration::ZERO,
        };
        Op::Edit(edit)
    }
}

fn bid(mint: &Mint, read_epoch: i64, epoch: i64) -> Bid {
    Bid {
        read_epoch,
        term: Term {
            epoch,
            holder: mint.holder(),
        },
        node: mint.node(),
        node_name: format!("node-{epoch}"),
    }
}

pub(super) fn node(id: NodeId) -> Node {
    Node {
        id,
        name: "worker".to_owned(),
        roles: vec!["worker".to_owned()],
        queues: vec![QueueName::default()],
        slots: 4,
        busy: 0,
        lease: Duration::from_secs(15),
        started_at: at(0),
        heartbeat_seq: 1,
        heartbeat_at: at(0),
        version: "1".to_owned(),
        abilities: None,
    }
}

pub(super) fn spec(name: &str) -> TaskSpec {
    serde_json::from_value(serde_json::json!({
        "name": name, "schedule": "every 10s", "handler": {"native": "noop"},
    }))
    .unwrap()
}

pub(super) fn due(task: TaskId, at: Timestamp) -> DueKey {
    DueKey {
        queue: QueueName::default(),
        at,
        owner: Owner::Task(task),
    }
}

/// The timer of a run.
pub(super) fn timer(run: &Run) -> DueKey {
    DueKey {
        queue: run.queue.clone(),
        at: run.ready_at,
        owner: Owner::Run(run.id),
    }
}

/// A firing whose run takes permit `n` of the key.
pub(super) fn acquiring(firing: Firing, key: &LimitKey, n: u32, run: RunId) -> Firing {
    Firing {
        acquired: vec![Permit {
            key: key.clone(),
            n,
            run,
        }],
        ..firing
    }
}

/// A firing whose run is blocked under the key, because these permits of it are held; nothing is published.
pub(super) fn blocking(firing: Firing, key: &LimitKey, full: &[u32], run: &Run) -> Firing {
    Firing {
        blocked: vec![Blocked {
            key: key.clone(),
            priority: run.priority,
            ready_at: run.ready_at,
            run: run.id,
            queue: run.queue.clone(),
        }],
        full: full.iter().map(|n| (key.clone(), *n)).collect(),
        outbox: None,
        ..firing
    }
}

/// An end of a first attempt.
pub(super) fn finish(run: RunId, claim: ClaimId, end: End) -> Finish {
    Finish {
        run,
        attempt: 1,
        claim,
        end,
        at: at(50),
        error: matches!(end, End::Failed(_) | End::Again { .. }).then(|| "no".to_owned()),
        // Of one end only: the log's own key would refuse a second one, and hide what let it through.
        class: None,
        log: (end == End::Succeeded).then(|| Chunks::of("a line")),
        result: (end == End::Succeeded).then(|| "7".to_owned()),
        limited: false,
    }
}

/// A claim in doubt is abandoned.
pub(super) const WITHDRAWN: End = End::Abandoned { ready_at: at(20) };

/// Back to wait for the next attempt.
pub(super) const AGAIN: End = End::Again {
    ready_at: at(20),
    why: Reason::Error,
};

/// Lost with its worker, and back to wait.
pub(super) const LOST: End = End::Again {
    ready_at: at(30),
    why: Reason::Lost,
};
