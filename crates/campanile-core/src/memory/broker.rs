//! A broker in memory: bounded queues, priorities, prefetch, redelivery. It keeps the port's promises as a real broker
//! does, save that nothing survives the process: the store is the queue, so nothing has to.
//!
//! Publishers and consumers meet under one short lock for each queue, and nobody waits while holding it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::limits;
use crate::port::broker::{Broker, Consumer, Delivery, Error, Message, destination_problem};
use crate::system;

/// Messages that one queue holds, delivered and unacknowledged ones included; a publisher waits for room.
pub const QUEUE_MESSAGES_MAX: usize = 100_000;
const PRIORITIES: usize = 10;
/// The property that a delivery shows.
const SIGNATURE: &str = "campanile_sig";

#[derive(Debug)]
pub struct MemoryBroker {
    queues: Mutex<HashMap<String, Arc<Queue>>>,
    messages_max: usize,
    confirm_timeout: Duration,
}

impl Default for MemoryBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBroker {
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(QUEUE_MESSAGES_MAX, limits::CONFIRM_TIMEOUT)
    }

    /// An empty broker whose queues hold so many messages, and whose publishers wait so long for room.
    #[must_use]
    pub fn with_limits(messages_max: usize, confirm_timeout: Duration) -> Self {
        Self {
            queues: Mutex::default(),
            messages_max,
            confirm_timeout,
        }
    }

    /// How many messages a queue holds, delivered and unacknowledged ones included.
    #[must_use]
    pub fn len(&self, destination: &str) -> usize {
        let queue = lock(&self.queues).get(destination).cloned();
        queue.map_or(0, |queue| lock(&queue.state).held)
    }

    /// Whether a queue holds nothing.
    #[must_use]
    pub fn is_empty(&self, destination: &str) -> bool {
        self.len(destination) == 0
    }

    fn queue(&self, destination: &str) -> Arc<Queue> {
        let mut queues = lock(&self.queues);
        if let Some(queue) = queues.get(destination) {
            return Arc::clone(queue);
        }
        let queue = Arc::<Queue>::default();
        queues.insert(destination.to_owned(), Arc::clone(&queue));
        queue
    }

    /// Puts messages of one destination in, waiting for room as often as it takes.
    async fn put_all(&self, messages: &[Message]) {
        let Some(first) = messages.first() else {
            return;
        };
        let queue = self.queue(&first.destination);
        let mut rest = messages;
        loop {
            // Register interest, then look, then wait.
            let mut room = std::pin::pin!(queue.room.notified());
            room.as_mut().enable();
            rest = queue.put(rest, self.messages_max);
            if rest.is_empty() {
                return;
            }
            room.await;
        }
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn publish(&self, messages: &[Message]) -> Result<(), Error> {
        for message in messages {
            message.check()?;
        }
        let put = async {
            for run in messages.chunk_by(|a, b| a.destination == b.destination) {
                self.put_all(run).await;
            }
        };
        let put = system::within(self.confirm_timeout, put).await;
        put.ok_or(Error::Unconfirmed(self.confirm_timeout))
    }

    async fn consume(
        &self,
        destination: &str,
        prefetch: usize,
    ) -> Result<Box<dyn Consumer>, Error> {
        if let Some(problem) = destination_problem(destination) {
            return Err(Error::Refused(problem.into()));
        }
        Ok(Box::new(MemoryConsumer {
            queue: self.queue(destination),
            prefetch: prefetch.max(1),
            unacknowledged: HashMap::new(),
            next_token: 0,
        }))
    }
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    /// Wakes one consumer, which wakes the next if it leaves something.
    arrival: Notify,
    /// Wakes the publishers that wait.
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: [VecDeque<Item>; PRIORITIES],
    held: usize,
}

#[derive(Debug)]
struct Item {
    body: Arc<str>,
    signature: String,
    priority: usize,
    redelivered: bool,
}

impl State {
    fn next(&mut self) -> Option<Item> {
        self.ready.iter_mut().rev().find_map(VecDeque::pop_front)
    }

    fn has_ready(&self) -> bool {
        self.ready.iter().any(|items| !items.is_empty())
    }
}

impl Queue {
    /// Puts in what fits; returns the rest.
    fn put<'a>(&self, messages: &'a [Message], messages_max: usize) -> &'a [Message] {
        let mut state = lock(&self.state);
        let fit = messages_max.saturating_sub(state.held).min(messages.len());
        let (now, rest) = messages.split_at(fit);
        for message in now {
            let signature = message.properties.iter().find(|(n, _)| *n == SIGNATURE);
            let item = Item {
                body: message.body.as_str().into(),
                signature: signature
                    .map(|(_, value)| value.clone())
                    .unwrap_or_default(),
                priority: usize::from(message.priority).min(PRIORITIES - 1),
                redelivered: false,
            };
            state.ready[item.priority].push_back(item);
        }
        state.held += fit;
        drop(state);
        if fit > 0 {
            self.arrival.notify_one();
        }
        rest
    }
}

struct MemoryConsumer {
    queue: Arc<Queue>,
    prefetch: usize,
    unacknowledged: HashMap<u64, Item>,
    next_token: u64,
}

impl MemoryConsumer {
    /// Everything that is there and allowed.
    fn take(&mut self) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        let mut state = lock(&self.queue.state);
        while self.unacknowledged.len() < self.prefetch {
            let Some(item) = state.next() else {
                break;
            };
            let token = self.next_token;
            self.next_token += 1;
            deliveries.push(Delivery {
                body: item.body.as_ref().to_owned(),
                signature: item.signature.clone(),
                redelivered: item.redelivered,
                token,
            });
            self.unacknowledged.insert(token, item);
        }
        let more = state.has_ready();
        drop(state);
        if more {
            self.queue.arrival.notify_one();
        }
        deliveries
    }
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn receive(&mut self) -> Result<Vec<Delivery>, Error> {
        loop {
            if self.unacknowledged.len() >= self.prefetch {
                // Only an acknowledgement changes this, and that needs the consumer that this call borrows.
                std::future::pending::<()>().await;
            }
            let queue = Arc::clone(&self.queue);
            let mut arrival = std::pin::pin!(queue.arrival.notified());
            arrival.as_mut().enable();
            let deliveries = self.take();
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
            arrival.await;
        }
    }

    async fn ack(&mut self, tokens: &[u64]) -> Result<(), Error> {
        let mut done = 0;
        for token in tokens {
            done += usize::from(self.unacknowledged.remove(token).is_some());
        }
        lock(&self.queue.state).held -= done;
        self.queue.room.notify_waiters();
        Ok(())
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        let mut items: Vec<_> = self.unacknowledged.drain().collect();
        items.sort_unstable_by_key(|(token, _)| *token);
        let mut state = lock(&self.queue.state);
        for (_, mut item) in items.into_iter().rev() {
            item.redelivered = true;
            state.ready[item.priority].push_front(item);
        }
        drop(state);
        self.queue.arrival.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "../../tests/memory/broker_tests.rs"]
mod tests;
