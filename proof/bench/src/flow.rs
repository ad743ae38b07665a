//! The life of a run by the store's own batch calls and nothing else: insert, scan and fire, claim, finish. No engine, no
//! broker, no handler. It is the ceiling that the engine is held against, and the quick way to many finished runs. It
//! begins a term of its own, so no other node may lead meanwhile.

#[cfg(test)]
mod loads;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use campanile_core::actor::Actor;
use campanile_core::decide::attempt as transitions;
use campanile_core::decide::fire::{CatchUp, Compiled, Lookup, Moment, Planned, Planner};
use campanile_core::decide::permits::{Board, Rules};
use campanile_core::decide::publish::routing::Routes;
use campanile_core::id::{Mint, NodeId, OutboxId, RunId, TaskId};
use campanile_core::limits;
use campanile_core::port::attempt::{Claim, End, Finish};
use campanile_core::port::edit::Submission;
use campanile_core::port::fire::{Fired, Scan, ScanLimits};
use campanile_core::port::lead::{Bid, Term};
use campanile_core::port::member::Node;
use campanile_core::port::store::Store;
use campanile_core::system::{spawn, wall_now};
use campanile_core::task::Task;
use campanile_schedule::time::Timestamp;
use tokio::sync::{Mutex, mpsc};

use super::clock::{now_us, seconds_since};
use super::progress::Progress;
use super::site::Site;
use super::{Error, prepare};

/// Runs of one message to one of our own workers.
const GROUP: usize = 100;

/// A fired batch, or one worker's share of it, on its way to the lanes that claim and finish.
struct Fresh {
    /// What is off the leader's list with the end of these runs.
    sent: Vec<OutboxId>,
    runs: Vec<(RunId, u32)>,
    worker: NodeId,
}

/// How long each stage took, one after the other on one connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stages {
    /// Insert.
    pub insert_s: f64,
    /// Scan and fire.
    pub fire_s: f64,
    /// Claim.
    pub claim_s: f64,
    /// Finish, and the removal of the outbox rows.
    pub finish_s: f64,
}

/// A term and workers by hand.
#[derive(Clone)]
pub struct Flow {
    store: Arc<dyn Store>,
    mint: Arc<Mint>,
    term: Term,
    /// They take groups of a batch by turns, each its own in one claim.
    workers: Vec<NodeId>,
    /// Due rows of one firing, at most.
    batch: usize,
    /// The one whose runs are asked for.
    task: Arc<Compiled>,
    /// That one, and those with schedules.
    tasks: HashMap<TaskId, Arc<Compiled>>,
}

fn actor() -> Actor {
    Actor::new("a benchmark", "this process")
}

fn compiled(task: Task) -> Result<Arc<Compiled>, Error> {
    let timetable = task.spec.timetable(task.created_at, &|_| None);
    Ok(Arc::new(Compiled {
        timetable: timetable.map_err(|e| Error::Impossible(e.to_string()))?,
        task: Arc::new(task),
    }))
}

impl Flow {
    /// Begins a term and joins the members.
    ///
    /// # Errors
    /// The store's; a leader that does not give way.
    pub async fn begin(site: &Site) -> Result<Self, Error> {
        let task = compiled(prepare::task(site, &site.control(), "flow").await?)?;
        let mint = Arc::new(Mint::new(Arc::clone(&site.random)));
        let store = Arc::clone(&site.ports.store);
        let row = store.leader().await?;
        let node = mint.node();
        let term = Term {
            epoch: row.epoch + 1,
            holder: mint.holder(),
        };
        let bid = Bid {
            read_epoch: row.epoch,
            term: term.clone(),
            node,
            node_name: "bench-flow".to_owned(),
        };
        if !store.begin_term(&bid).await?.is_applied() {
            return Err(Error::Impossible(
                "another node leads in this store: stop it first".to_owned(),
            ));
        }
        store.join(&worker(node, row.now)).await?;
        Ok(Self {
            store,
            mint,
            term,
            workers: vec![node],
            batch: limits::SCAN_ROWS_MAX,
            tasks: HashMap::from([(task.task.id, Arc::clone(&task))]),
            task,
        })
    }

    /// The same with firings of so many rows at most.
    #[must_use]
    pub fn in_batches_of(&self, batch: usize) -> Self {
        Self {
            batch,
            ..self.clone()
        }
    }

    /// Leaves the members.
    ///
    /// # Errors
    /// The store's.
    pub async fn end(self) -> Result<(), Error> {
        for worker in self.workers {
            self.store.leave(worker).await?;
        }
        Ok(())
    }

    /// Stores runs that are due now.
    ///
    /// # Errors
    /// The store's.
    pub async fn insert(&self, count: usize) -> Result<(), Error> {
        let now = self.store.leader().await?.now;
        let mut left = count;
        while left > 0 {
            let some = left.min(prepare::BATCH);
            let ids = self.mint.runs(now, some);
            let batch: Vec<Submission> =
                ids.into_iter().map(|id| self.submission(id, now)).collect();
            self.store.submit(&actor(), &batch).await?;
            left -= some;
        }
        Ok(())
    }

    fn submission(&self, id: RunId, at: Timestamp) -> Submission {
        Submission {
            run: transitions::request(id, Some(&self.task.task), &self.task.task.spec, at),
            spec: None,
            key: None,
        }
    }

    /// Each stage by itself, on one connection.
    ///
    /// # Errors
    /// The store's.
    pub async fn stages(&self, count: usize) -> Result<Stages, Error> {
        let began = now_us();
        self.insert(count).await?;
        let insert_s = seconds_since(began);
        Ok(Stages {
            insert_s,
            ..self.life().await?
        })
    }

    /// The stages of whatever is due.
    ///
    /// # Errors
    /// The store's.
    pub async fn life(&self) -> Result<Stages, Error> {
        let began = now_us();
        let mut fired = Vec::new();
        let mut scanned = Scan::default();
        while let Some(fresh) = self.fire(&mut scanned).await? {
            fired.extend(self.shares(fresh));
        }
        let fire_s = seconds_since(began);
        let began = now_us();
        let mut ends = Vec::with_capacity(fired.len());
        for fresh in fired {
            let claim = self.claim(&fresh).await?;
            ends.push((fresh, claim));
        }
        let claim_s = seconds_since(began);
        let began = now_us();
        for (fresh, claim) in &ends {
            self.finish(fresh, claim).await?;
        }
        Ok(Stages {
            insert_s: 0.0,
            fire_s,
            claim_s,
            finish_s: seconds_since(began),
        })
    }

    /// What each worker gets of a batch.
    fn shares(&self, fresh: Fresh) -> Vec<Fresh> {
        let mut shares: Vec<Fresh> = Vec::with_capacity(self.workers.len());
        for (n, group) in fresh.runs.chunks(GROUP).enumerate() {
            match shares.get_mut(n % self.workers.len()) {
                Some(share) => share.runs.extend(group),
                None => shares.push(Fresh {
                    sent: Vec::new(),
                    runs: group.to_vec(),
                    worker: self.workers[n],
                }),
            }
        }
        if let Some(last) = shares.last_mut() {
            last.sent = fresh.sent;
        }
        shares
    }

    /// Stores runs and brings them to their end on so many connections; answers with the seconds from the first scan to
    /// the last finish.
    ///
    /// # Errors
    /// The store's.
    pub async fn lives(
        &self,
        count: usize,
        lanes: usize,
        progress: &Progress,
    ) -> Result<f64, Error> {
        self.insert(count).await?;
        let began = now_us();
        let mut scanned = Scan::default();
        let mut done = 0;
        if lanes <= 1 {
            while let Some(fresh) = self.fire(&mut scanned).await? {
                done += fresh.runs.len();
                self.claim_and_finish(fresh).await?;
                progress.at(done);
            }
            return Ok(seconds_since(began));
        }
        let (sender, receiver) = mpsc::channel::<Fresh>(2 * lanes);
        let receiver = Arc::new(Mutex::new(receiver));
        let others: Vec<_> = (1..lanes)
            .map(|_| spawn(self.clone().lane(Arc::clone(&receiver))))
            .collect();
        drop(receiver);
        while let Some(fresh) = self.fire(&mut scanned).await? {
            done += fresh.runs.len();
            progress.at(done);
            if sender.send(fresh).await.is_err() {
                break;
            }
        }
        drop(sender);
        for lane in others {
            lane.await
                .map_err(|e| Error::Impossible(format!("a lane died: {e}")))??;
        }
        Ok(seconds_since(began))
    }

    async fn lane(self, fresh: Arc<Mutex<mpsc::Receiver<Fresh>>>) -> Result<(), Error> {
        loop {
            let next = fresh.lock().await.recv().await;
            match next {
                Some(fresh) => self.claim_and_finish(fresh).await?,
                None => return Ok(()),
            }
        }
    }

    async fn claim_and_finish(&self, fresh: Fresh) -> Result<(), Error> {
        let claim = self.claim(&fresh).await?;
        self.finish(&fresh, &claim).await
    }

    /// Fires the next batch; scans when nothing scanned is left. `None` = nothing is due.
    async fn fire(&self, scanned: &mut Scan) -> Result<Option<Fresh>, Error> {
        let now = wall_now();
        if scanned.rows.is_empty() {
            let limits = ScanLimits {
                default: limits::SCAN_ROWS_MAX,
                rooms: HashMap::new(),
            };
            *scanned = self
                .store
                .scan(now.plus(limits::LOOK_AHEAD), &limits)
                .await?;
        }
        if scanned.rows.is_empty() {
            return Ok(None);
        }
        let moment = Moment {
            now,
            horizon: now.plus(limits::LOOK_AHEAD),
            epoch: self.term.epoch,
            edits: scanned.edits,
        };
        let row = self.mint.outbox(now);
        let planner = Planner {
            answered: &Default::default(),
            tasks: &|id| {
                self.tasks
                    .get(&id)
                    .map_or(Lookup::Gone, |t| Lookup::Here(Arc::clone(t)))
            },
            rules: &Rules::default(),
            board: &mut Board::default(),
            routes: &Routes::default(),
            catch_up: &mut CatchUp::new(u32::MAX),
            moment,
            outbox: row,
            mint: &|count| self.mint.runs(now, count),
        };
        let Planned {
            firing,
            entries,
            covered,
            ..
        } = planner.firing(&scanned.rows[..scanned.rows.len().min(self.batch)]);
        match self.store.fire(&self.term, &firing).await? {
            Fired::Applied => {}
            Fired::Fenced | Fired::Edited => {
                return Err(Error::Impossible(
                    "another node works in this store: stop it first".to_owned(),
                ));
            }
        }
        scanned.rows.drain(..covered);
        let runs = entries
            .iter()
            .map(|e| (e.waiting.run.id, e.waiting.run.attempt))
            .collect();
        Ok(Some(Fresh {
            sent: vec![row],
            runs,
            worker: self.workers[0],
        }))
    }

    async fn claim(&self, fresh: &Fresh) -> Result<Claim, Error> {
        let claim = Claim {
            node: fresh.worker,
            id: self.mint.claim(),
            runs: fresh.runs.clone(),
        };
        let won = self.store.claim(&claim).await?.len();
        if won == claim.runs.len() {
            Ok(claim)
        } else {
            Err(Error::Impossible(format!(
                "of {} runs {won} were claimed: another node works in this store",
                claim.runs.len()
            )))
        }
    }

    async fn finish(&self, fresh: &Fresh, claim: &Claim) -> Result<(), Error> {
        let at = wall_now();
        let ends: Vec<Finish> = fresh
            .runs
            .iter()
            .map(|(run, attempt)| Finish {
                run: *run,
                attempt: *attempt,
                claim: claim.id,
                end: End::Succeeded,
                at,
                error: None,
                class: None,
                log: None,
                result: None,
                limited: false,
            })
            .collect();
        self.store.finish(&ends).await?;
        if !fresh.sent.is_empty() {
            let sent = self.store.mark_sent(&self.term, &[], at, &fresh.sent);
            let _ = sent.await?;
        }
        Ok(())
    }
}

/// A worker that is never called dead while the bench lasts.
fn worker(id: NodeId, now: Timestamp) -> Node {
    Node {
        id,
        name: "bench-flow".to_owned(),
        roles: Vec::new(),
        queues: Vec::new(),
        slots: 0,
        busy: 0,
        lease: Duration::from_secs(86_400),
        started_at: now,
        heartbeat_seq: 0,
        heartbeat_at: now,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        abilities: None,
    }
}
