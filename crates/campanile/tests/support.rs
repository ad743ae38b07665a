//! What the engine's tests share: a cluster of nodes over one memory store, and waiting for facts.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use campanile::port::broker::{Broker, Consumer, Delivery, Error, Message};
use tokio::sync::Notify;

#[derive(Default)]
pub struct TestBroker {
    queues: Mutex<HashMap<String, VecDeque<Message>>>,
    arrived: Notify,
}

#[async_trait]
impl Broker for TestBroker {
    async fn publish(&self, messages: &[Message]) -> Result<(), Error> {
        let mut queues = self.queues.lock().unwrap();
        for m in messages {
            queues
                .entry(m.destination.clone())
                .or_default()
                .push_back(m.clone());
        }
        self.arrived.notify_waiters();
        Ok(())
    }

    async fn consume(
        &self,
        destination: &str,
        prefetch: usize,
    ) -> Result<Box<dyn Consumer>, Error> {
        panic!("{destination} {prefetch}")
    }
}

pub struct TestConsumer {
    broker: Arc<TestBroker>,
    destination: String,
    prefetch: usize,
}

#[async_trait]
impl Consumer for TestConsumer {
    async fn receive(&mut self) -> Result<Vec<Delivery>, Error> {
        loop {
            let arrived = self.broker.arrived.notified();
            {
                let mut queues = self.broker.queues.lock().unwrap();
                let queue = queues.entry(self.destination.clone()).or_default();
                let n = queue.len().min(self.prefetch);
                if n > 0 {
                    return Ok(queue
                        .drain(..n)
                        .map(|m| Delivery {
                            signature: m
                                .properties
                                .iter()
                                .find(|(n, _)| *n == "campanile_sig")
                                .unwrap()
                                .1
                                .clone(),
                            body: m.body,
                            redelivered: false,
                            token: 0,
                        })
                        .collect());
                }
            }
            arrived.await;
        }
    }

    async fn ack(&mut self, _: &[u64]) -> Result<(), Error> {
        Ok(())
    }
}

pub struct SharedBroker(pub Arc<TestBroker>);

#[async_trait]
impl Broker for SharedBroker {
    async fn publish(&self, messages: &[Message]) -> Result<(), Error> {
        self.0.publish(messages).await
    }

    async fn consume(
        &self,
        destination: &str,
        prefetch: usize,
    ) -> Result<Box<dyn Consumer>, Error> {
        Ok(Box::new(TestConsumer {
            broker: Arc::clone(&self.0),
            destination: destination.to_owned(),
            prefetch,
        }))
    }
}

/// Waits until `fact` holds; panics with `what` after twenty seconds.
pub async fn until(what: &str, mut fact: impl FnMut() -> bool) {
    for _ in 0..4_000 {
        if fact() {
            return;
        }
        campanile::system::pause(Duration::from_millis(5)).await;
    }
    panic!("never came true: {what}");
}
