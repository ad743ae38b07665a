//! The intake of one destination, a queue's own or a lane of it: takes offers as they arrive, as many as there are free slots, has them claimed in one batch,
//! and acknowledges after that. It never reads ahead of the free slots: a full worker unsubscribes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::elector::causes;
use super::meters::Meters;
use super::worker::{Worker, claim, free_slots};
use crate::failpoint::{self, Failpoint};
use crate::id::RunId;
use crate::port::broker::{Consumer, Delivery};
use crate::protocol::limits;
use crate::protocol::message::{self, Key, Refusal};
use crate::protocol::routing::Abilities;
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
        Self::new(worker, queue, destination, None)
    }

    /// The intake of what goes to those alone who have announced the same as this worker.
    pub fn of_lane(worker: Arc<Worker>, queue: QueueName) -> Self {
        let lane = worker.announced.watch();
        // It is named at the first step.
        Self::new(worker, queue, String::new(), Some(lane))
    }

    fn new(
        worker: Arc<Worker>,
        queue: QueueName,
        destination: String,
        lane: Option<watch::Receiver<Abilities>>,
    ) -> Self {
        let key = worker.shared.secret.queue_key(&queue);
        Self {
            destination,
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
        Meters::add(&worker.shared.meters.messages_received, deliveries.len());
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
        if let Some((_, prefetch)) = &self.consumer
            && *prefetch <= free
            && *prefetch * 8 >= free
        {
            return Ok(());
        }
        self.consumer = None;
        let prefetch = free.div_ceil(2).min(limits::CLAIM_ROWS_MAX);
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
        Meters::add(&shared.meters.messages_refused, 1);
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
        let permits = free_slots(&worker.slots, deliveries.len().min(limits::CLAIM_ROWS_MAX));
        let free = permits
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let mut settled = Vec::with_capacity(deliveries.len());
        let mut offers: Vec<(RunId, u32)> = Vec::with_capacity(deliveries.len());
        let mut left = 0;
        for delivery in &deliveries {
            match message::read(&delivery.body, &delivery.signature, &self.queue, &self.key) {
                Ok(offer) if offers.len() < free => {
                    offers.push(offer);
                    settled.push(delivery.token);
                }
                Ok(_) => left += 1,
                Err(refusal) => {
                    self.refuse(refusal);
                    settled.push(delivery.token);
                }
            }
        }
        offers.sort_unstable();
        offers.dedup();
        if let Some(permits) = permits.filter(|_| !offers.is_empty()) {
            // The claim and the start are one task, so that a stop between them can't leave a won attempt unstarted.
            let claiming = worker.tracker.spawn(claim(
                Arc::clone(&worker),
                offers,
                permits,
                self.queue.clone(),
            ));
            claiming.await.map_err(|e| e.to_string())??;
        }
        if let Some((consumer, _)) = self.consumer.as_mut() {
            consumer.ack(&settled).await.map_err(|e| causes(&e))?;
            failpoint::reach(Failpoint::ClaimAcknowledged);
        }
        if left > 0 {
            // More than there are slots for: others may have them.
            self.consumer = None;
        }
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
