//! The intake of one destination, a queue's own, a lane of it, or that of its groups: takes offers as they arrive, as many as
//! there are free slots, has them claimed in one batch, and acknowledges after that. It never reads ahead of the free slots:
//! a full worker unsubscribes, and what a group offers beyond them is offered again at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::causes;
use crate::decide::publish::group::{self, Offer};
use crate::decide::publish::message;
use crate::decide::publish::message::{Key, Refusal};
use crate::decide::publish::routing::Abilities;
use crate::engine::attempt::{Worker, claim, free_slots};
use crate::failpoint::{self, Failpoint};
use crate::limits;
use crate::metrics::Metrics;
use crate::port::broker::{Consumer, Delivery};
use crate::task::QueueName;
use crate::time::Monotonic;

/// The first wait after broker or store failed an intake; doubles up to [`RETRY_MAX`].
const RETRY_INITIAL: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Refusals come as fast as somebody sends them: the log has one line in this time, with how many there were.
const COMPLAINT_PERIOD: Duration = Duration::from_secs(5);

/// The intake of one destination.
pub struct Intake {
    worker: Arc<Worker>,
    queue: QueueName,
    destination: String,
    /// Runs of its largest message.
    most: usize,
    /// Of the lane: it changes with what the worker announces. `None`: it is the queue's own.
    lane: Option<watch::Receiver<Abilities>>,
    key: Key,
    consumer: Option<(Box<dyn Consumer>, usize)>,
    /// Messages refused since the log's last line about that, and when that was.
    refused: u64,
    complained: Option<Monotonic>,
}

impl Intake {
    /// The intake of what all of the queue's workers may take; [`Intake::run`] makes it take.
    pub fn of_queue(worker: Arc<Worker>, queue: QueueName) -> Self {
        let destination = message::destination(&queue);
        Self::new(worker, queue, destination, 1, None)
    }

    /// The intake of messages that offer several runs; `None` for a worker that is too small for any.
    pub fn of_groups(worker: Arc<Worker>, queue: QueueName) -> Option<Self> {
        let settings = &worker.shared.settings;
        let slots = usize::try_from(settings.slots).unwrap_or(1);
        let most = group::most_of(slots, settings.queues.len());
        let destination = message::group_destination(&queue);
        (most > 1).then(|| Self::new(worker, queue, destination, most, None))
    }

    /// The intake of what goes to those alone who have announced the same as this worker.
    pub fn of_lane(worker: Arc<Worker>, queue: QueueName) -> Self {
        let lane = worker.announced.watch();
        // It is named at the first step.
        Self::new(worker, queue, String::new(), 1, Some(lane))
    }

    fn new(
        worker: Arc<Worker>,
        queue: QueueName,
        destination: String,
        most: usize,
        lane: Option<watch::Receiver<Abilities>>,
    ) -> Self {
        let key = worker.shared.secret.queue_key(&queue);
        Self {
            destination,
            most,
            lane,
            worker,
            queue,
            key,
            consumer: None,
            refused: 0,
            complained: None,
        }
    }

    /// Takes until the worker closes or is fenced.
    pub async fn run(mut self) {
        let worker = Arc::clone(&self.worker);
        let over = async {
            tokio::select! {
                biased;
                () = worker.closing.cancelled() => {}
                () = worker.stops.fence.cancelled() => {}
            }
        };
        // Dropped at an await: what was received and not claimed is given back with the consumer; what was claimed is
        // started by a task of its own, which is not dropped.
        tokio::select! {
            biased;
            () = over => {}
            () = self.take_in() => {}
        }
    }

    async fn take_in(&mut self) {
        let mut wait = RETRY_INITIAL;
        loop {
            match self.step().await {
                Ok(()) => wait = RETRY_INITIAL,
                Err(why) => {
                    self.consumer = None;
                    tracing::warn!(queue = %self.queue, why, "queue `{}`: {why}; trying again", self.queue);
                    self.worker.shared.parts.clock.sleep(wait).await;
                    wait = (wait * 2).min(RETRY_MAX);
                }
            }
        }
    }

    async fn step(&mut self) -> Result<(), String> {
        let worker = Arc::clone(&self.worker);
        self.follow_lane();
        let freed = worker.freed.notified();
        let free = worker.slots.available_permits() / worker.shared.settings.queues.len().max(1);
        if free == 0 && worker.slots.available_permits() == 0 {
            // Full: what is at the broker is for others.
            self.consumer = None;
            freed.await;
            return Ok(());
        }
        self.subscribe(free.max(1)).await?;
        let Some((consumer, _)) = self.consumer.as_mut() else {
            return Ok(());
        };
        let received = tokio::select! {
            biased;
            () = changed(&mut self.lane) => return Ok(()),
            received = consumer.receive() => received,
        };
        let deliveries = received.map_err(|e| causes(&e))?;
        failpoint::reach(Failpoint::MessageReceived);
        Metrics::add(&worker.shared.metrics.messages_received, deliveries.len());
        self.take(deliveries).await
    }

    /// Makes the destination be that of the lane as it is now.
    fn follow_lane(&mut self) {
        let Some(lane) = &mut self.lane else {
            return;
        };
        let destination = message::lane_destination(&self.queue, &lane.borrow_and_update().lane);
        if destination != self.destination {
            self.consumer = None;
            self.destination = destination;
        }
    }

    /// Subscribes so that the broker holds no more for us than there are free slots, and not needlessly few.
    async fn subscribe(&mut self, free: usize) -> Result<(), String> {
        let prefetch = group::credit(free, self.most);
        if let Some((_, held)) = &self.consumer
            && *held <= (free / self.most).max(1)
            && *held * 4 >= prefetch
        {
            return Ok(());
        }
        self.consumer = None;
        let consumer = self
            .worker
            .shared
            .parts
            .broker
            .consume(&self.destination, prefetch)
            .await
            .map_err(|e| causes(&e))?;
        self.consumer = Some((consumer, prefetch));
        Ok(())
    }

    /// Counts a message that starts nothing, and says so now and then.
    fn refuse(&mut self, refusal: Refusal) {
        let shared = &self.worker.shared;
        Metrics::add(&shared.metrics.messages_refused, 1);
        self.refused += 1;
        let now = shared.parts.clock.monotonic();
        let quiet = |at| now.since(at) < COMPLAINT_PERIOD;
        if self.complained.is_some_and(quiet) {
            return;
        }
        self.complained = Some(now);
        let count = std::mem::take(&mut self.refused);
        tracing::warn!(
            queue = %self.queue, %refusal, count,
            "a message is dropped: {refusal}; {count} since the last such line"
        );
    }

    /// Claims what free slots allow, acknowledges what is settled, starts what was won.
    async fn take(&mut self, deliveries: Vec<Delivery>) -> Result<(), String> {
        let worker = Arc::clone(&self.worker);
        let (mut offers, mut priorities, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
        let mut settled = Vec::with_capacity(deliveries.len());
        for delivery in &deliveries {
            match message::read(&delivery.body, &delivery.signature, &self.queue, &self.key) {
                Ok(read) => {
                    offers.push(read.runs);
                    priorities.push(read.priority);
                    tokens.push(delivery.token);
                }
                Err(refusal) => {
                    self.refuse(refusal);
                    settled.push(delivery.token);
                }
            }
        }
        let offered = offers.iter().map(Vec::len).sum::<usize>();
        let permits = free_slots(&worker.slots, offered.min(limits::CLAIM_ROWS_MAX));
        let free = permits.as_ref().map_or(0, |permits| permits.num_permits());
        let share = group::share(&offers, free);
        let claiming = permits.filter(|_| !share.claim.is_empty()).map(|permits| {
            // The claim and the start are one task, so that a stop between them can't leave a won attempt unstarted.
            worker.tracker.spawn(claim(
                Arc::clone(&worker),
                share.claim,
                permits,
                self.queue.clone(),
            ))
        });
        let again = match share.split {
            Some(split) => self.offer_again(&share.again, priorities[split]).await,
            None => Ok(()),
        };
        if let Some(claiming) = claiming {
            claiming.await.map_err(|e| e.to_string())??;
        }
        // Nobody knows whether others have the rest of a group whose publish failed: then all of it comes again.
        let kept = share.split.filter(|_| again.is_err());
        let whole = share.settled.iter().filter(|place| Some(**place) != kept);
        settled.extend(whole.map(|place| tokens[*place]));
        if let Some((consumer, _)) = self.consumer.as_mut() {
            consumer.ack(&settled).await.map_err(|e| causes(&e))?;
            failpoint::reach(Failpoint::ClaimAcknowledged);
        }
        if share.left {
            // More than there are slots for: others may have them.
            self.consumer = None;
        }
        again
    }

    /// Gives to others what a group offers beyond the free slots. Until that is confirmed the group is not acknowledged.
    async fn offer_again(&mut self, runs: &[Offer], priority: u8) -> Result<(), String> {
        let shared = &self.worker.shared;
        let messages = message::offer_again(&self.queue, priority, runs, &self.key);
        failpoint::reach(Failpoint::OfferAgainBefore);
        let answer = shared.parts.broker.publish(&messages).await;
        answer.map_err(|e| causes(&e))?;
        failpoint::reach(Failpoint::OfferAgainConfirmed);
        Metrics::add(&shared.metrics.runs_offered_again, runs.len());
        Ok(())
    }
}

/// Waits until a lane changes; for ever if there is none.
async fn changed(lane: &mut Option<watch::Receiver<Abilities>>) {
    if let Some(lane) = lane
        && lane.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}
