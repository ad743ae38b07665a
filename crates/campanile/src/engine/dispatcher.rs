//! The dispatcher: publishes what is ready at its instant, with many confirms in flight, and settles afterwards: asks
//! the store which published runs were taken, marks the others queued, and removes outbox rows that did their duty.
//! The state and every decision are [`crate::protocol::dispatch`]'s.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::elector::causes;
use super::leader::{Duty, TermOver};
use super::meters::Meters;
use crate::failpoint::{self, Failpoint};
use crate::port::broker::{Error, Message};
use crate::port::store;
use crate::protocol::dispatch::{Dispatch, Entry, LOOK_OTHERS, LOOK_ROWS_MAX, Pace};
use crate::protocol::limits;
use crate::protocol::message::{self, Key};
use crate::protocol::routing::Route;
use crate::protocol::work::{End, Finish, Term};
use crate::task::{HandlerSpec, QueueName};

/// The first wait after a publish that was not confirmed; doubles up to [`RETRY_MAX`].
const RETRY_INITIAL: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The term's memory, shared by planner, publisher and settler.
pub struct Desk {
    /// What is to be published and what was.
    pub dispatch: Mutex<Dispatch>,
    /// Something became ready.
    pub changed: Notify,
    /// A scan left rows behind for want of room.
    pub hungry: Notify,
    /// Somebody may have come or refused.
    pub members: Notify,
}

impl Desk {
    /// Looks at the memory or changes it; never held over an await.
    pub fn with<T>(&self, f: impl FnOnce(&mut Dispatch) -> T) -> T {
        f(&mut self
            .dispatch
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

type Batch = Vec<Arc<Entry>>;

/// How a publish went.
enum Sent {
    /// The broker answered about these; `gone` were not sent, for their runs wait no more.
    Tried {
        batch: Batch,
        gone: Batch,
        answer: Result<(), Error>,
    },
    /// Nothing was sent: the store did not say which of these may start.
    Untold(Batch, Result<(), store::Error>),
}

struct Publisher<'a> {
    duty: &'a Duty,
    keys: HashMap<QueueName, Key>,
    under_way: JoinSet<Sent>,
    failures: u32,
}

/// Publishes until the term ends.
pub async fn publish(duty: Arc<Duty>) {
    let mut publisher = Publisher {
        duty: &duty,
        keys: HashMap::new(),
        under_way: JoinSet::new(),
        failures: 0,
    };
    let _ = publisher.run().await;
}

impl Publisher<'_> {
    async fn run(&mut self) -> Result<(), TermOver> {
        loop {
            let changed = self.duty.desk.changed.notified();
            self.start_publishes()?;
            self.give_back_blocked().await?;
            let next = self.duty.desk.with(|d| d.next_ready());
            // Without room it is the end of a publish that is waited for: what is ready already must not be asked about
            // again and again meanwhile.
            let room = self.under_way.len() < self.publishes_max();
            let (clock, time) = (&self.duty.shared.parts.clock, &self.duty.shared.time);
            // Not for longer than what is planned lies ahead: meanwhile the store's clock may have been followed forwards.
            let longest = clock.monotonic().plus(limits::LOOK_AHEAD);
            let sleep = async {
                match next.filter(|_| room) {
                    Some(at) => clock.sleep_until(time.when(at).min(longest)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.duty.leadership.over.cancelled() => return Err(TermOver),
                Some(Ok(sent)) = self.under_way.join_next() => self.ended(sent).await?,
                () = changed => {}
                () = sleep => {}
            }
        }
    }

    /// After a failure one publish at a time finds out whether the broker is back.
    const fn publishes_max(&self) -> usize {
        if self.failures == 0 {
            limits::PUBLISHES_MAX
        } else {
            1
        }
    }

    fn start_publishes(&mut self) -> Result<(), TermOver> {
        while self.under_way.len() < self.publishes_max() {
            let batch = self
                .duty
                .desk
                .with(|d| d.take_due(self.duty.shared.time.now()));
            if batch.is_empty() {
                return Ok(());
            }
            if !self.duty.leadership.is_trusted() {
                return Err(TermOver);
            }
            let routes = self
                .duty
                .desk
                .with(|d| batch.iter().map(|e| d.route_of(e)).collect::<Vec<Route>>());
            let mut messages: Vec<Vec<Message>> = Vec::with_capacity(batch.len());
            for (entry, route) in batch.iter().zip(&routes) {
                messages.push(message::build_all(entry, self.key(entry), route));
            }
            let parts = &self.duty.shared.parts;
            let (broker, store) = (Arc::clone(&parts.broker), Arc::clone(&parts.store));
            let term = self.duty.leadership.term.clone();
            let send = async move { send(&*broker, &*store, &term, batch, messages).await };
            self.under_way.spawn(send);
        }
        Ok(())
    }

    /// Takes runs that nobody living can carry out any more out of the dispatcher's hands: their attempts are used up, so
    /// that no message of them counts, and their timers let the planner see that they are blocked.
    async fn give_back_blocked(&self) -> Result<(), TermOver> {
        let duty = self.duty;
        let blocked = duty.desk.with(Dispatch::take_blocked);
        if blocked.is_empty() {
            return Ok(());
        }
        let now = duty.shared.time.now();
        let ends: Vec<Finish> = blocked
            .iter()
            .map(|e| Finish {
                run: e.waiting.run.id,
                attempt: e.waiting.run.attempt,
                claim: duty.shared.mint.claim(),
                end: End::Withdrawn { ready_at: now },
                at: now,
                error: None,
                class: None,
                log: None,
                limited: true,
            })
            .collect();
        match duty.pen().finish(&ends, now).await {
            Ok(Some(_)) => {
                duty.desk.with(|d| d.resolved(&blocked));
                duty.shared.wake.notify_one();
                Ok(())
            }
            Ok(None) => Err(duty.fenced()),
            Err(error) => {
                duty.failed(&error)?;
                duty.desk
                    .with(|d| d.unconfirmed(&blocked, now, RETRY_INITIAL));
                Ok(())
            }
        }
    }

    fn key(&mut self, entry: &Entry) -> &Key {
        let queue = &entry.waiting.run.queue;
        if !self.keys.contains_key(queue) {
            self.keys
                .insert(queue.clone(), self.duty.shared.secret.queue_key(queue));
        }
        &self.keys[queue]
    }

    async fn ended(&mut self, sent: Sent) -> Result<(), TermOver> {
        let duty = self.duty;
        match sent {
            Sent::Tried {
                batch,
                gone,
                answer,
            } => {
                duty.desk.with(|d| d.resolved(&gone));
                if batch.is_empty() {
                    return Ok(());
                }
                self.answered(batch, answer).await
            }
            Sent::Untold(batch, answer) => {
                answer.map_or_else(|error| duty.failed(&error), |()| Err(duty.fenced()))?;
                let now = duty.shared.time.now();
                duty.desk
                    .with(|d| d.unconfirmed(&batch, now, RETRY_INITIAL));
                Ok(())
            }
        }
    }

    async fn answered(&mut self, batch: Batch, answer: Result<(), Error>) -> Result<(), TermOver> {
        let duty = self.duty;
        match answer {
            Ok(()) => {
                self.failures = 0;
                duty.broker_ok
                    .send_if_modified(|ok| !std::mem::replace(ok, true));
                Meters::add(&duty.shared.meters.messages_published, batch.len());
                let (external, ours): (Batch, Batch) = batch.into_iter().partition(is_external);
                let tight = duty.desk.with(|d| {
                    d.confirmed(&ours, duty.shared.parts.clock.monotonic());
                    d.is_tight()
                });
                if tight {
                    duty.desk.hungry.notify_one();
                }
                if external.is_empty() {
                    Ok(())
                } else {
                    self.hand_over(&external).await
                }
            }
            Err(error) => {
                let wait = RETRY_INITIAL
                    .saturating_mul(1 << self.failures.min(6))
                    .min(RETRY_MAX);
                self.failures += 1;
                duty.broker_ok
                    .send_if_modified(|ok| std::mem::replace(ok, false));
                tracing::warn!(error = %causes(&error), runs = batch.len(), "a publish of {} runs was not confirmed; they stay in the store", batch.len());
                Meters::add(&duty.shared.meters.messages_unconfirmed, batch.len());
                duty.desk
                    .with(|d| d.unconfirmed(&batch, duty.shared.time.now(), wait));
                Ok(())
            }
        }
    }

    /// Records that external listeners have been given their messages.
    async fn hand_over(&self, batch: &[Arc<Entry>]) -> Result<(), TermOver> {
        let duty = self.duty;
        let runs: Vec<_> = batch
            .iter()
            .map(|e| (e.waiting.run.id, e.waiting.run.attempt))
            .collect();
        let term = &duty.leadership.term;
        let now = duty.shared.time.now();
        let answer = duty.pen().hand_over(term, &runs, now).await;
        if duty.guarded(answer)? {
            Meters::add(&duty.shared.meters.runs_handed_over, runs.len());
            duty.desk.with(|d| d.resolved(batch));
        } else {
            // Busy: sent again and recorded then. At least once is what an external listener is promised.
            duty.desk
                .with(|d| d.unconfirmed(batch, duty.shared.time.now(), RETRY_INITIAL));
        }
        Ok(())
    }
}

fn is_external(entry: &Arc<Entry>) -> bool {
    matches!(entry.handler(), Some(HandlerSpec::External(_)))
}

/// One publish of a batch. A run of an external listener starts by its message, and no claim refuses it: the store is
/// asked first whether it still waits, so that what was taken back or cancelled before its instant is not sent.
async fn send(
    broker: &dyn crate::port::broker::Broker,
    store: &dyn crate::port::store::Store,
    term: &Term,
    batch: Batch,
    messages: Vec<Vec<Message>>,
) -> Sent {
    let external = batch.iter().filter(|e| is_external(e));
    let asked: Vec<_> = external
        .map(|e| (e.waiting.run.id, e.waiting.run.attempt))
        .collect();
    if asked.is_empty() {
        let answer = publish_all(broker, &messages.concat()).await;
        return Sent::Tried {
            batch,
            gone: Vec::new(),
            answer,
        };
    }
    let waiting = match store.still_wait(term, &asked).await {
        Ok(Some(waiting)) => waiting,
        Ok(None) => return Sent::Untold(batch, Ok(())),
        Err(error) => return Sent::Untold(batch, Err(error)),
    };
    let may_start =
        |e: &Arc<Entry>| !is_external(e) || waiting.iter().any(|run| *run == e.waiting.run.id);
    let pairs = batch.into_iter().zip(messages);
    let (sent, gone): (Vec<_>, Vec<_>) = pairs.partition(|(entry, _)| may_start(entry));
    let (batch, messages): (Batch, Vec<Vec<Message>>) = sent.into_iter().unzip();
    let messages = messages.concat();
    let answer = if messages.is_empty() {
        Ok(())
    } else {
        publish_all(broker, &messages).await
    };
    Sent::Tried {
        batch,
        gone: gone.into_iter().map(|(entry, _)| entry).collect(),
        answer,
    }
}

/// One publish. A message that can't be sent at all must not hold the others back: then each goes alone.
async fn publish_all(
    broker: &dyn crate::port::broker::Broker,
    messages: &[Message],
) -> Result<(), Error> {
    failpoint::reach(Failpoint::PublishBefore);
    let answer = broker.publish(messages).await;
    if answer.is_ok() {
        failpoint::reach(Failpoint::PublishConfirmed);
    }
    match answer {
        Err(Error::Unsendable(_)) if messages.len() > 1 => {
            let mut answer = Ok(());
            for message in messages {
                if let Err(error) = broker.publish(std::slice::from_ref(message)).await {
                    answer = Err(error);
                }
            }
            answer
        }
        answer => answer,
    }
}

/// Settles until the term ends.
pub async fn settle(duty: Arc<Duty>) {
    let _ = settle_for_ever(&duty).await;
}

async fn settle_for_ever(duty: &Duty) -> Result<(), TermOver> {
    let cap = duty.shared.settings.in_flight_max;
    let mut pace = Pace::default();
    loop {
        let hungry = duty.desk.hungry.notified();
        if duty.desk.with(|d| d.is_tight()) {
            duty.rest(pace.wait).await?;
            let (asked, taken) = look(duty, Duration::ZERO, pace.rows).await?;
            pace = pace.after(asked, taken);
            if duty.desk.with(|d| d.has_room_again(cap)) {
                duty.shared.wake.notify_one();
            }
        } else {
            // Nothing is short: one look a second is enough.
            tokio::select! {
                biased;
                () = hungry => continue,
                rested = duty.rest(limits::MARK_AFTER) => rested?,
            }
            look(duty, limits::MARK_AFTER, LOOK_ROWS_MAX).await?;
        }
    }
}

/// Asks the store which of the published runs were taken, and settles what that means. Says about how many it asked and
/// how many were taken.
async fn look(duty: &Duty, age: Duration, rows: usize) -> Result<(usize, usize), TermOver> {
    let now = duty.shared.parts.clock.monotonic();
    let check = duty.desk.with(|d| d.to_check(now, age, rows, LOOK_OTHERS));
    if check.is_empty() && !duty.desk.with(|d| d.has_done_rows()) {
        return Ok((0, 0));
    }
    let waiting = if check.is_empty() {
        Vec::new()
    } else {
        match duty.shared.parts.store.waiting(&check).await {
            Ok(waiting) => waiting,
            Err(error) => return duty.failed(&error).map(|()| (0, 0)),
        }
    };
    let found = (check.len(), check.len() - waiting.len());
    let settled = duty
        .desk
        .with(|d| d.checked(&check, &waiting, now, duty.shared.time.now()));
    duty.desk.changed.notify_one();
    if settled.mark.is_empty() && settled.done.is_empty() {
        return Ok(found);
    }
    let term = &duty.leadership.term;
    let at = duty.shared.time.now();
    let answer = duty
        .pen()
        .mark_sent(term, &settled.mark, at, &settled.done)
        .await;
    if duty.guarded(answer)? {
        Meters::add(&duty.shared.meters.runs_marked_queued, settled.mark.len());
    } else {
        duty.desk.with(|d| d.give_back(settled.done));
    }
    Ok(found)
}
