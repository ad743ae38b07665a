//! The dispatcher: publishes what is ready at its instant, with many confirms in flight, and settles afterwards: asks
//! the store which published runs were taken, marks the others queued, and removes outbox rows that did their duty.
//! The state and every decision are [`crate::decide::publish`]'s.

pub(super) mod router;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::causes;
use crate::decide::publish::group::Parcel;
use crate::decide::publish::message;
use crate::decide::publish::message::Key;
use crate::decide::publish::{Dispatch, Entry, LOOK_OTHERS, LOOK_ROWS_MAX, Pace};
use crate::engine::lead::duty::{Duty, TermOver};
use crate::failpoint::{self, Failpoint};
use crate::limits;
use crate::metrics::Metrics;
use crate::port::attempt::{End, Finish};
use crate::port::broker::{Error, Message};
use crate::port::lead::Term;
use crate::port::store;
use crate::task::{HandlerSpec, QueueName};

/// The first wait after a publish that was not confirmed; doubles up to [`RETRY_MAX`].
const RETRY_INITIAL: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The term's memory, shared by planner, publisher and settler.
pub struct DispatchBuffer {
    /// What is to be published and what was.
    pub dispatch: Mutex<Dispatch>,
    pub changed: Notify,
    /// A scan left rows behind for want of room.
    pub wants_more: Notify,
    /// Somebody may have come or refused.
    pub members: Notify,
}

impl DispatchBuffer {
    /// Looks at the memory or changes it; never held over an await.
    pub fn with<T>(&self, f: impl FnOnce(&mut Dispatch) -> T) -> T {
        f(&mut self
            .dispatch
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

type Batch = Vec<Arc<Entry>>;
/// Runs that go out together, with their messages.
type Packed = (Batch, Vec<Message>);

/// How a publish went.
enum Sent {
    /// The broker answered about these; `gone` were not sent, for their runs wait no more.
    Tried {
        batch: Batch,
        gone: Batch,
        messages: usize,
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
            let changed = self.duty.buffer.changed.notified();
            self.start_publishes()?;
            self.give_back_blocked().await?;
            let next = self.duty.buffer.with(|d| d.next_ready());
            // Without room it is the end of a publish that is waited for: what is ready already must not be asked about
            // again and again meanwhile.
            let room = self.under_way.len() < self.publishes_max();
            let (clock, time) = (&self.duty.shared.clock, &self.duty.shared.time);
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
                .buffer
                .with(|d| d.take_due(self.duty.shared.time.now()));
            if batch.is_empty() {
                return Ok(());
            }
            if !self.duty.leadership.is_trusted() {
                return Err(TermOver);
            }
            let parcels = self.duty.buffer.with(|d| d.pack(&batch));
            let pack = |parcel: Parcel| {
                let key = self.key(parcel.entries.first()?);
                let messages = message::build_parcel(&parcel, key);
                Some((parcel.entries, messages))
            };
            let packed: Vec<Packed> = parcels.into_iter().filter_map(pack).collect();
            let duty = self.duty;
            let (broker, store) = (Arc::clone(&duty.shared.broker), Arc::clone(&duty.store));
            let term = self.duty.leadership.term.clone();
            let send = async move { send(&*broker, &*store, &term, packed).await };
            self.under_way.spawn(send);
        }
        Ok(())
    }

    /// Takes runs that nobody living can carry out any more out of the dispatcher's hands: their attempts are used up, so
    /// that no message of them counts, and their timers let the planner see that they are blocked.
    async fn give_back_blocked(&self) -> Result<(), TermOver> {
        let duty = self.duty;
        let blocked = duty.buffer.with(Dispatch::take_blocked);
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
                end: End::Abandoned { ready_at: now },
                at: now,
                error: None,
                class: None,
                log: None,
                result: None,
                limited: true,
            })
            .collect();
        match duty.pen().finish(&ends, now).await {
            Ok(Some(_)) => {
                duty.buffer.with(|d| d.resolved(&blocked));
                duty.shared.wake.notify_one();
                Ok(())
            }
            Ok(None) => Err(duty.fenced()),
            Err(error) => {
                duty.failed(&error)?;
                duty.buffer
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
                messages,
                answer,
            } => {
                duty.buffer.with(|d| d.resolved(&gone));
                if batch.is_empty() {
                    return Ok(());
                }
                self.answered(batch, messages, answer).await
            }
            Sent::Untold(batch, answer) => {
                answer.map_or_else(|error| duty.failed(&error), |()| Err(duty.fenced()))?;
                let now = duty.shared.time.now();
                duty.buffer
                    .with(|d| d.unconfirmed(&batch, now, RETRY_INITIAL));
                Ok(())
            }
        }
    }

    async fn answered(
        &mut self,
        batch: Batch,
        messages: usize,
        answer: Result<(), Error>,
    ) -> Result<(), TermOver> {
        let duty = self.duty;
        match answer {
            Ok(()) => {
                self.failures = 0;
                duty.broker_ok
                    .send_if_modified(|ok| !std::mem::replace(ok, true));
                Metrics::add(&duty.shared.metrics.messages_published, messages);
                let (external, ours): (Batch, Batch) = batch.into_iter().partition(is_external);
                let tight = duty.buffer.with(|d| {
                    d.confirmed(&ours, duty.shared.clock.monotonic());
                    d.is_tight()
                });
                if tight {
                    duty.buffer.wants_more.notify_one();
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
                Metrics::add(&duty.shared.metrics.messages_unconfirmed, messages);
                duty.buffer
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
        let now = duty.shared.time.now();
        let answer = duty.leader_pen().hand_over(&runs, now).await;
        if duty.guarded(answer)? {
            Metrics::add(&duty.shared.metrics.runs_handed_over, runs.len());
            duty.buffer.with(|d| d.resolved(batch));
        } else {
            // Busy: sent again and recorded then. At least once is what an external listener is promised.
            duty.buffer
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
    store: &dyn crate::port::store::LeaderStore,
    term: &Term,
    mut packed: Vec<Packed>,
) -> Sent {
    let entries = packed.iter().flat_map(|(entries, _)| entries);
    let external = entries.filter(|e| is_external(e));
    let asked: Vec<_> = external
        .map(|e| (e.waiting.run.id, e.waiting.run.attempt))
        .collect();
    let mut gone = Vec::new();
    if !asked.is_empty() {
        let all = |packed: Vec<Packed>| packed.into_iter().flat_map(|(entries, _)| entries);
        let waiting = match store.still_wait(term, &asked).await {
            Ok(Some(waiting)) => waiting,
            Ok(None) => return Sent::Untold(all(packed).collect(), Ok(())),
            Err(error) => return Sent::Untold(all(packed).collect(), Err(error)),
        };
        let may_start =
            |e: &Arc<Entry>| !is_external(e) || waiting.iter().any(|run| *run == e.waiting.run.id);
        let (sent, not): (Vec<_>, Vec<_>) = packed
            .into_iter()
            .partition(|(entries, _)| entries.iter().all(may_start));
        (packed, gone) = (sent, all(not).collect());
    }
    let (batch, messages): (Vec<Batch>, Vec<Vec<Message>>) = packed.into_iter().unzip();
    let messages = messages.concat();
    let answer = publish_all(broker, &messages).await;
    Sent::Tried {
        batch: batch.concat(),
        gone,
        messages: messages.len(),
        answer,
    }
}

/// One publish. A message that can't be sent at all must not hold the others back: then each goes alone.
async fn publish_all(
    broker: &dyn crate::port::broker::Broker,
    messages: &[Message],
) -> Result<(), Error> {
    failpoint::reach(Failpoint::PublishBefore);
    for some in messages.chunks(limits::PUBLISH_BATCH_MAX) {
        match broker.publish(some).await {
            Err(Error::Unsendable(_)) if some.len() > 1 => {
                let mut answer = Ok(());
                for message in some {
                    if let Err(error) = broker.publish(std::slice::from_ref(message)).await {
                        answer = Err(error);
                    }
                }
                answer?;
            }
            answer => answer?,
        }
    }
    failpoint::reach(Failpoint::PublishConfirmed);
    Ok(())
}

/// Settles until the term ends.
pub async fn settle(duty: Arc<Duty>) {
    let _ = settle_for_ever(&duty).await;
}

async fn settle_for_ever(duty: &Duty) -> Result<(), TermOver> {
    let cap = duty.shared.settings.in_flight_max;
    let mut pace = Pace::default();
    loop {
        let wants_more = duty.buffer.wants_more.notified();
        if duty.buffer.with(|d| d.is_tight()) {
            duty.rest(pace.wait).await?;
            let (asked, taken) = look(duty, Duration::ZERO, pace.rows).await?;
            pace = pace.after(asked, taken);
            if duty.buffer.with(|d| d.has_room_again(cap)) {
                duty.shared.wake.notify_one();
            }
        } else {
            // Nothing is short: one look a second is enough.
            tokio::select! {
                biased;
                () = wants_more => continue,
                rested = duty.rest(limits::MARK_AFTER) => rested?,
            }
            look(duty, limits::MARK_AFTER, LOOK_ROWS_MAX).await?;
        }
    }
}

/// Asks the store which of the published runs were taken, and settles what that means. Says about how many it asked and
/// how many were taken.
async fn look(duty: &Duty, age: Duration, rows: usize) -> Result<(usize, usize), TermOver> {
    let now = duty.shared.clock.monotonic();
    let check = duty
        .buffer
        .with(|d| d.to_check(now, age, rows, LOOK_OTHERS));
    if check.is_empty() && !duty.buffer.with(|d| d.has_done_rows()) {
        return Ok((0, 0));
    }
    let waiting = if check.is_empty() {
        Vec::new()
    } else {
        match duty.store.waiting(&check).await {
            Ok(waiting) => waiting,
            Err(error) => return duty.failed(&error).map(|()| (0, 0)),
        }
    };
    let found = (check.len(), check.len() - waiting.len());
    let settled = duty
        .buffer
        .with(|d| d.checked(&check, &waiting, now, duty.shared.time.now()));
    duty.buffer.changed.notify_one();
    if settled.mark.is_empty() && settled.done.is_empty() {
        return Ok(found);
    }
    let at = duty.shared.time.now();
    let answer = duty
        .leader_pen()
        .mark_sent(&settled.mark, at, &settled.done)
        .await;
    if duty.guarded(answer)? {
        Metrics::add(&duty.shared.metrics.runs_marked_queued, settled.mark.len());
    } else {
        duty.buffer.with(|d| d.give_back(settled.done));
    }
    Ok(found)
}
