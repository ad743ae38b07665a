//! What runs only while a term is ours: planner, dispatcher, settler, router, reaper, retention, the care for what deleted
//! tasks leave behind, the taking back of what a wrong clock planned and the watch over the zone database, started together with empty memory and dropped together; only
//! who is silent is watched across terms.
//! Whichever finds the term over ends them all.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::causes;
use crate::engine::attempt::aside::{Hand, LeaderPen, Pen};
use crate::engine::lead::Leadership;
use crate::engine::lead::{clock_state, put_back, zones};
use crate::engine::member::Silent;
use crate::engine::publish;
use crate::engine::publish::DispatchBuffer;
use crate::engine::publish::router;
use crate::engine::{ForLeader, Shared, edit, fire, member};
use crate::failpoint::{self, Failpoint};
use crate::limits;
use crate::metrics::Metrics;
use crate::port::Written;
use crate::port::store::{Error, LeaderStore};

/// What every duty of a term holds.
pub struct Duty {
    pub leadership: Arc<Leadership>,
    /// What a leader may do with the store: it reads, or writes under its term.
    pub store: Arc<dyn LeaderStore>,
    /// What it shares with other parts of the node.
    pub shared: ForLeader,
    /// The term's memory of what is to be published.
    pub buffer: Arc<DispatchBuffer>,
    /// Whether the broker confirmed what it was last given.
    pub broker_ok: watch::Sender<bool>,
    /// Who was silent for his lease. It outlives terms: it is what this node saw, not what a term decided.
    pub silent: Arc<Silent>,
    /// Rows that could not be read, one after the other.
    spoiled: AtomicU32,
    /// Of what the log has told in this term that the store refuses it.
    said: Mutex<BTreeSet<&'static str>>,
}

/// Why a duty stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TermOver;

/// Why a step of a duty ended early.
pub enum Stopped {
    Over(TermOver),
    Failed(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<TermOver> for Stopped {
    fn from(over: TermOver) -> Self {
        Self::Over(over)
    }
}

impl Duty {
    /// Takes the store's answer to a leader write: goes on, or ends the term.
    ///
    /// # Errors
    /// The term is over: the fence matched no row, or nobody knows whether the write is committed.
    pub fn guarded(&self, answer: Result<Written, Error>) -> Result<bool, TermOver> {
        match answer {
            Ok(Written::Applied) => Ok(true),
            Ok(Written::Stale) => Err(self.fenced()),
            Err(error) => self.failed(&error).map(|()| false),
        }
    }

    /// What the leader records with.
    pub fn pen(&self) -> Pen<'_> {
        Pen {
            hand: Hand::Leader(&*self.store, &self.leadership.term),
            metrics: &self.shared.metrics,
        }
    }

    /// What the leader alone records with.
    pub fn leader_pen(&self) -> LeaderPen<'_> {
        LeaderPen {
            store: &*self.store,
            term: &self.leadership.term,
            metrics: &self.shared.metrics,
        }
    }

    /// The fence matched no row.
    pub fn fenced(&self) -> TermOver {
        let epoch = self.leadership.term.epoch;
        tracing::warn!(epoch, "term {epoch} is fenced: a successor's term began");
        Metrics::add(&self.shared.metrics.terms_broken, 1);
        Metrics::add(&self.shared.metrics.writes_fenced, 1);
        self.leadership.broken();
        TermOver
    }

    /// A store call failed: contention is tried again by the caller's own loop; anything else ends the term.
    ///
    /// # Errors
    /// The term is over.
    pub fn failed(&self, error: &Error) -> Result<(), TermOver> {
        Metrics::add(&self.shared.metrics.store_failures, 1);
        if error.is_contended() {
            tracing::debug!(error = %causes(error), "the store was busy; trying again");
            return Ok(());
        }
        let epoch = self.leadership.term.epoch;
        if matches!(error, Error::Outdated { .. }) {
            tracing::error!(epoch, error = %causes(error),
                "term {epoch} ends, so that a newer node may lead: this one failed to {error}");
            self.leadership.resign();
            return Err(TermOver);
        }
        tracing::warn!(epoch, error = %causes(error), "term {epoch} ends: the store failed");
        Metrics::add(&self.shared.metrics.terms_broken, 1);
        self.leadership.broken();
        Err(TermOver)
    }

    /// A read failed: a row that can't be read is set aside, and the caller reads again; anything else is
    /// [`Duty::failed`]. So is one row too many after the other: then it is not the rows.
    ///
    /// # Errors
    /// The term is over.
    pub async fn unread(&self, error: &Error) -> Result<(), TermOver> {
        let in_a_row = self.spoiled.fetch_add(1, Ordering::Relaxed);
        if error.spoiled().is_none() || in_a_row >= limits::SET_ASIDE_IN_A_ROW_MAX {
            return self.failed(error);
        }
        match self.pen().unreadable(error, self.shared.time.now()).await {
            Ok(true) => Ok(()),
            Ok(false) => self.failed(error),
            Err(error) => self.failed(&error),
        }
    }

    /// A read went well.
    pub fn readable(&self) {
        self.spoiled.store(0, Ordering::Relaxed);
    }

    /// Housekeeping that is not about one thing failed: what the store refuses there is said, and keeps neither the term
    /// nor other work from going on.
    ///
    /// # Errors
    /// The term is over.
    pub fn put_off(&self, what: &'static str, error: &Error) -> Result<(), TermOver> {
        if !error.is_refusal() {
            return self.failed(error);
        }
        Metrics::add(&self.shared.metrics.chores_refused, 1);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.insert(what) {
            tracing::error!(what, error = %causes(error),
                "the store refuses {what}: the rest goes on without it; mend the cause (`campanile doctor` tries the store)");
        }
        Ok(())
    }

    /// Waits, unless the term ends first.
    ///
    /// # Errors
    /// The term is over.
    pub async fn rest(&self, length: Duration) -> Result<(), TermOver> {
        tokio::select! {
            biased;
            () = self.leadership.over.cancelled() => Err(TermOver),
            () = self.shared.clock.sleep(length) => Ok(()),
        }
    }
}

/// What the leader of each term is made from.
pub struct Leader {
    /// What a leader may do with the store.
    pub store: Arc<dyn LeaderStore>,
    /// What all parts of the node share.
    pub shared: Arc<Shared>,
    /// Whether the broker confirmed what it was last given.
    pub broker_ok: watch::Sender<bool>,
    /// Who was silent for his lease.
    pub silent: Arc<Silent>,
}

impl Leader {
    /// Runs the duties of every term that the elector announces, until the elector is gone, and looks on in between.
    pub async fn run(self, terms: watch::Receiver<Option<Arc<Leadership>>>) {
        tokio::select! {
            biased;
            () = self.lead_terms(terms) => {}
            () = member::look_on(&self.shared, &self.silent) => {}
        }
    }

    async fn lead_terms(&self, mut terms: watch::Receiver<Option<Arc<Leadership>>>) {
        loop {
            let next = terms.borrow_and_update().clone();
            if let Some(leadership) = next.filter(|l| !l.over.is_cancelled()) {
                self.lead(leadership).await;
            }
            if terms.changed().await.is_err() {
                return;
            }
        }
    }

    async fn lead(&self, leadership: Arc<Leadership>) {
        let duty = Arc::new(Duty {
            leadership: Arc::clone(&leadership),
            store: Arc::clone(&self.store),
            shared: self.shared.for_leader(),
            buffer: Arc::new(DispatchBuffer {
                dispatch: Mutex::default(),
                changed: Notify::new(),
                wants_more: Notify::new(),
                members: Notify::new(),
            }),
            broker_ok: self.broker_ok.clone(),
            silent: Arc::clone(&self.silent),
            spoiled: AtomicU32::new(0),
            said: Mutex::default(),
        });
        failpoint::reach(Failpoint::TermStarted);
        if router::read(&duty).await.is_err() {
            return;
        }
        if fire::recover(&duty).await.is_err() {
            return;
        }
        failpoint::reach(Failpoint::OutboxRecovered);
        let mut duties = JoinSet::new();
        duties.spawn(fire::run(Arc::clone(&duty)));
        duties.spawn(publish::publish(Arc::clone(&duty)));
        duties.spawn(publish::settle(Arc::clone(&duty)));
        duties.spawn(member::sweep(Arc::clone(&duty)));
        duties.spawn(member::retention(Arc::clone(&duty)));
        duties.spawn(router::keep(Arc::clone(&duty)));
        duties.spawn(edit::look_after(Arc::clone(&duty)));
        duties.spawn(edit::inbox::empty(Arc::clone(&duty)));
        duties.spawn(edit::rests::end(Arc::clone(&duty)));
        duties.spawn(zones::keep(Arc::clone(&duty)));
        duties.spawn(put_back::keep(Arc::clone(&duty)));
        duties.spawn(clock_state::keep(Arc::clone(&duty)));
        let first = tokio::select! {
            biased;
            () = leadership.over.cancelled() => None,
            ended = duties.join_next() => ended,
        };
        if let Some(Err(panic)) = first {
            tracing::error!(%panic, "a duty of the leader died; its term ends");
            leadership.broken();
        }
        duties.shutdown().await;
    }
}
