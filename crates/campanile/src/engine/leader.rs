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

use super::aside::Pen;
use super::dispatcher::{self, Desk};
use super::elector::{Leadership, causes};
use super::meters::Meters;
use super::reaper::Silent;
use super::{Shared, clock_state, orphans, planner, put_back, reaper, router, zones};
use crate::failpoint::{self, Failpoint};
use crate::port::Written;
use crate::port::store::Error;
use crate::protocol::limits;

/// What every duty of a term holds.
pub struct Duty {
    /// The term.
    pub leadership: Arc<Leadership>,
    /// What all parts of the node share.
    pub shared: Arc<Shared>,
    /// The term's memory of what is to be published.
    pub desk: Arc<Desk>,
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

impl Duty {
    /// Takes the store's answer to a leader write: goes on, or ends the term.
    ///
    /// # Errors
    /// The term is over: the guard matched no row, or nobody knows whether the write is committed.
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
            store: &*self.shared.parts.store,
            meters: &self.shared.meters,
            term: Some(&self.leadership.term),
        }
    }

    /// The guard matched no row.
    pub fn fenced(&self) -> TermOver {
        let epoch = self.leadership.term.epoch;
        tracing::warn!(epoch, "term {epoch} is fenced: a successor's term began");
        Meters::add(&self.shared.meters.terms_broken, 1);
        Meters::add(&self.shared.meters.writes_fenced, 1);
        self.leadership.broken();
        TermOver
    }

    /// A store call failed: contention is tried again by the caller's own loop; anything else ends the term.
    ///
    /// # Errors
    /// The term is over.
    pub fn failed(&self, error: &Error) -> Result<(), TermOver> {
        Meters::add(&self.shared.meters.store_failures, 1);
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
        Meters::add(&self.shared.meters.terms_broken, 1);
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
        Meters::add(&self.shared.meters.chores_refused, 1);
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
            () = self.shared.parts.clock.sleep(length) => Ok(()),
        }
    }
}

/// What the leader of each term is made from.
pub struct Leader {
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
            () = reaper::look_on(&self.shared, &self.silent) => {}
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
            shared: Arc::clone(&self.shared),
            desk: Arc::new(Desk {
                dispatch: Mutex::default(),
                changed: Notify::new(),
                hungry: Notify::new(),
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
        if planner::recover(&duty).await.is_err() {
            return;
        }
        failpoint::reach(Failpoint::OutboxRecovered);
        let mut duties = JoinSet::new();
        duties.spawn(planner::run(Arc::clone(&duty)));
        duties.spawn(dispatcher::publish(Arc::clone(&duty)));
        duties.spawn(dispatcher::settle(Arc::clone(&duty)));
        duties.spawn(reaper::sweep(Arc::clone(&duty)));
        duties.spawn(reaper::retention(Arc::clone(&duty)));
        duties.spawn(router::keep(Arc::clone(&duty)));
        duties.spawn(orphans::look_after(Arc::clone(&duty)));
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
