//! What the store refuses must not keep anything else waiting: a batch is halved until the culprit stands alone, less is
//! recorded of that one, or it is set aside. Every decision is [`crate::decide::attempt::refusal`]'s. A store that is away, busy
//! or full refuses nothing: then the callers ask again.

use campanile_schedule::time::Timestamp;

use crate::causes;
use crate::decide::attempt::refusal::{Parts, with_less};
use crate::id::{OutboxId, RunId, TaskId};
use crate::limits;
use crate::metrics::Metrics;
use crate::port::Written;
use crate::port::attempt::{Aside, Claim, Claimed, Finish, Spoiled, Thing};
use crate::port::lead::Term;
use crate::port::store::{Error, LeaderStore, WorkerStore};
use crate::run::Run;
use crate::task::Task;

/// Who writes, and what he may do with the store.
#[derive(Clone, Copy)]
pub enum Hand<'a> {
    /// A worker, under its claims.
    Worker(&'a dyn WorkerStore),
    /// The leader, under the fence.
    Leader(&'a dyn LeaderStore, &'a Term),
}

/// What both record with.
pub struct Pen<'a> {
    pub hand: Hand<'a>,
    pub metrics: &'a Metrics,
}

impl Pen<'_> {
    async fn try_finish(&self, ends: &[Finish]) -> Result<Option<Vec<Written>>, Error> {
        match self.hand {
            Hand::Leader(store, term) => store.finish_lost(term, ends).await,
            Hand::Worker(store) => store.finish(ends).await.map(Some),
        }
    }

    async fn try_set_aside(&self, aside: &Aside) -> Result<Written, Error> {
        match self.hand {
            Hand::Leader(store, term) => store.set_aside_for(term, aside).await,
            Hand::Worker(store) => store.set_aside(aside).await,
        }
    }

    async fn check_schema(&self) -> Result<(), Error> {
        match self.hand {
            Hand::Leader(store, _) => store.check_schema().await,
            Hand::Worker(store) => store.check_schema().await,
        }
    }

    async fn tasks_by_id(&self, ids: &[TaskId]) -> Result<Vec<Task>, Error> {
        match self.hand {
            Hand::Leader(store, _) => store.tasks_by_id(ids).await,
            Hand::Worker(store) => store.tasks_by_id(ids).await,
        }
    }

    /// Records ends; `None` if the term is over.
    ///
    /// # Errors
    /// The store did not answer, or is busy or full: nobody knows which of the ends are recorded, and all may be asked
    /// for again.
    pub async fn finish(
        &self,
        ends: &[Finish],
        now: Timestamp,
    ) -> Result<Option<Vec<Written>>, Error> {
        let mut answers = vec![Written::Stale; ends.len()];
        let mut parts = Parts::of(ends.len());
        while let Some(part) = parts.take() {
            match self.try_finish(&ends[part.clone()]).await {
                Ok(Some(written)) => {
                    for (n, written) in part.zip(written) {
                        answers[n] = written;
                    }
                }
                Ok(None) => return Ok(None),
                Err(error) if error.is_refusal() => {
                    let Some(n) = parts.refused(&part) else {
                        continue;
                    };
                    let Some(written) = self.finish_alone(&ends[n], now, &error).await? else {
                        return Ok(None);
                    };
                    answers[n] = written;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(answers))
    }

    async fn finish_alone(
        &self,
        end: &Finish,
        now: Timestamp,
        error: &Error,
    ) -> Result<Option<Written>, Error> {
        for step in with_less(end, now) {
            match self.try_finish(std::slice::from_ref(&step)).await {
                Ok(None) => return Ok(None),
                Ok(Some(written)) => {
                    let written = written.first().copied().unwrap_or(Written::Stale);
                    if written.is_applied() {
                        Metrics::add(&self.metrics.ends_cut, 1);
                        tracing::error!(run = %end.run, attempt = end.attempt, error = %causes(error),
                            "the store refuses what run {} ended with: it is recorded without its texts ({}); mend the \
                             cause, then look at the run", end.run, step.end.in_words());
                    }
                    return Ok(Some(written));
                }
                Err(error) if error.is_refusal() => {}
                Err(error) => return Err(error),
            }
        }
        self.set_aside(Thing::End(end.clone()), now, error)
            .await
            .map(Some)
    }

    /// Sets something aside, and says so in one line.
    ///
    /// # Errors
    /// The store did not answer, or is busy or full. [`Error::Outdated`]: what can't be read may be a newer version's, and
    /// is left alone.
    pub async fn set_aside(
        &self,
        thing: Thing,
        now: Timestamp,
        error: &Error,
    ) -> Result<Written, Error> {
        if matches!(error, Error::Corrupt { .. }) {
            // What a newer version wrote is not spoiled.
            self.check_schema().await?;
        }
        let said = causes(error);
        let cut = said.floor_char_boundary(limits::ERROR_BYTES_MAX.min(said.len()));
        let aside = Aside {
            thing,
            at: now,
            error: said[..cut].replace('\0', "\u{fffd}"),
        };
        let what = match &aside.thing {
            Thing::End(Finish { run, .. })
            | Thing::HandedOver { run, .. }
            | Thing::Start { run, .. } => format!("run {run}, {}", aside.what()),
            Thing::Row(Spoiled::Outbox(id)) => {
                return self.rebuild(*id, &aside).await;
            }
            Thing::Row(row) => format!("{row}, whose row can't be read"),
            Thing::Due(key) => format!("{:?}, {}", key.owner, aside.what()),
        };
        match self.try_set_aside(&aside).await {
            Ok(written) => {
                if written.is_applied() {
                    Metrics::add(&self.metrics.quarantined, 1);
                    tracing::error!(error = %aside.error,
                        "{what}: the store refuses it; it is set aside, and nothing waits for it; mend the cause, then \
                         `campanile quarantine list` and `campanile quarantine release ID`");
                }
                Ok(written)
            }
            Err(error) if error.is_refusal() => {
                tracing::error!(error = %causes(&error),
                    "the store refuses to record {what}, and to set it aside: it is left as it stands; `campanile doctor`");
                Ok(Written::Stale)
            }
            Err(error) => Err(error),
        }
    }

    /// A list of what is to be published that can't be read: what it held is fired again.
    async fn rebuild(&self, id: OutboxId, aside: &Aside) -> Result<Written, Error> {
        let written = self.try_set_aside(aside).await?;
        if written.is_applied() {
            Metrics::add(&self.metrics.quarantined, 1);
            tracing::error!(outbox = %id, error = %aside.error,
                "list {id} of what is to be published can't be read: it is dropped, and runs that wait are published again; \
                 nothing is to be done");
        }
        Ok(written)
    }

    /// A read failed because of one row: it is set aside, so that the same read goes by it. Answers whether it was: else
    /// the error stands.
    ///
    /// # Errors
    /// The store did not answer, or is busy or full.
    pub async fn unreadable(&self, error: &Error, now: Timestamp) -> Result<bool, Error> {
        let Some(row) = error.spoiled() else {
            return Ok(false);
        };
        let written = self.set_aside(Thing::Row(row), now, error).await?;
        Ok(written.is_applied())
    }

    /// Tasks by id, and which of them can't be read.
    ///
    /// # Errors
    /// The store did not answer, or is busy.
    pub async fn tasks(&self, ids: &[TaskId]) -> Result<(Vec<Task>, Vec<(TaskId, Error)>), Error> {
        let (mut tasks, mut unreadable) = (Vec::with_capacity(ids.len()), Vec::new());
        let mut parts = Parts::of(ids.len());
        while let Some(part) = parts.take() {
            match self.tasks_by_id(&ids[part.clone()]).await {
                Ok(found) => tasks.extend(found),
                Err(error) if error.is_refusal() => {
                    if let Some(n) = parts.refused(&part) {
                        unreadable.push((ids[n], error));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok((tasks, unreadable))
    }

    /// Claims, and what kept the rest from being claimed.
    pub async fn claim(
        &self,
        store: &dyn WorkerStore,
        claim: &Claim,
        now: Timestamp,
    ) -> (Vec<Claimed>, Option<Error>) {
        let (mut won, mut left) = (Vec::new(), None);
        let mut parts = Parts::of(claim.runs.len());
        while let Some(part) = parts.take() {
            let some = Claim {
                runs: claim.runs[part.clone()].to_vec(),
                ..claim.clone()
            };
            let error = match store.claim(&some).await {
                Ok(more) => {
                    won.extend(more);
                    continue;
                }
                Err(error) if error.is_refusal() => error,
                Err(error) => return (won, Some(error)),
            };
            let Some(n) = parts.refused(&part) else {
                continue;
            };
            let (run, attempt) = claim.runs[n];
            let thing = match error {
                Error::Corrupt { .. } => Thing::Row(Spoiled::Run(run)),
                _ => Thing::Start { run, attempt },
            };
            match self.set_aside(thing, now, &error).await {
                Ok(_) => {}
                // It is left to a newer worker: its message is not acknowledged.
                Err(error @ Error::Outdated { .. }) => left = Some(error),
                Err(error) => return (won, Some(error)),
            }
        }
        (won, left)
    }
}

/// What the leader alone records with.
pub struct LeaderPen<'a> {
    pub store: &'a dyn LeaderStore,
    pub term: &'a Term,
    pub metrics: &'a Metrics,
}

impl<'a> LeaderPen<'a> {
    const fn pen(&self) -> Pen<'a> {
        Pen {
            hand: Hand::Leader(self.store, self.term),
            metrics: self.metrics,
        }
    }

    /// Marks runs as queued, and removes outbox rows that did their duty.
    ///
    /// # Errors
    /// The store did not answer, or is busy or full.
    pub async fn mark_sent(
        &self,
        queued: &[(RunId, u32)],
        at: Timestamp,
        done: &[OutboxId],
    ) -> Result<Written, Error> {
        match self.store.mark_sent(self.term, queued, at, done).await {
            Err(error) if error.is_refusal() && !queued.is_empty() => {}
            answer => return answer,
        }
        let mut parts = Parts::of(queued.len());
        while let Some(part) = parts.take() {
            let some = &queued[part.clone()];
            match self.store.mark_sent(self.term, some, at, &[]).await {
                Ok(Written::Applied) => {}
                Ok(Written::Stale) => return Ok(Written::Stale),
                Err(error) if error.is_refusal() => {
                    if let Some(n) = parts.refused(&part) {
                        let (run, attempt) = queued[n];
                        let thing = Thing::Start { run, attempt };
                        let _ = self.pen().set_aside(thing, at, &error).await?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.store.mark_sent(self.term, &[], at, done).await
    }

    /// Ends waiting runs of deleted tasks. Answers how many ended; `None` if the term is over.
    ///
    /// # Errors
    /// The store did not answer, or is busy or full.
    pub async fn end_orphans(&self, runs: &[Run], at: Timestamp) -> Result<Option<usize>, Error> {
        let (mut parts, mut ended) = (Parts::of(runs.len()), 0);
        while let Some(part) = parts.take() {
            match self
                .store
                .end_orphans(self.term, &runs[part.clone()], at)
                .await
            {
                Ok(Some(some)) => ended += some,
                Ok(None) => return Ok(None),
                Err(error) if error.is_refusal() => {
                    if let Some(n) = parts.refused(&part) {
                        let (run, attempt) = (runs[n].id, runs[n].attempt);
                        let thing = Thing::Start { run, attempt };
                        let _ = self.pen().set_aside(thing, at, &error).await?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(ended))
    }

    /// Ends runs whose messages external listeners have.
    ///
    /// # Errors
    /// The store did not answer, or is busy or full.
    pub async fn hand_over(&self, runs: &[(RunId, u32)], at: Timestamp) -> Result<Written, Error> {
        let mut parts = Parts::of(runs.len());
        while let Some(part) = parts.take() {
            match self
                .store
                .hand_over(self.term, &runs[part.clone()], at)
                .await
            {
                Ok(Written::Applied) => {}
                Ok(Written::Stale) => return Ok(Written::Stale),
                Err(error) if error.is_refusal() => {
                    if let Some(n) = parts.refused(&part) {
                        let (run, attempt) = runs[n];
                        let _ = self
                            .pen()
                            .set_aside(Thing::HandedOver { run, attempt }, at, &error)
                            .await?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Written::Applied)
    }
}
