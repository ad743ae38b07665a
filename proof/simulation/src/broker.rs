//! The broker as a process meets it: messages that are dropped, doubled, delayed behind others, delivered without a
//! confirm; subscriptions that break; acknowledgements that get lost. Queues are the memory adapter's.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use campanile_core::memory::broker::MemoryBroker;
use campanile_core::port::broker::{Broker, Consumer, Delivery, Error, Message};

use crate::net::{Link, Service};
use crate::tally::{Fault, Seen};

/// A delayed message comes at most so late.
const LATE_MS_MAX: u64 = 20_000;

/// One process's connection.
pub struct FaultyBroker {
    /// What it stands before.
    pub inner: Arc<MemoryBroker>,
    /// The way there.
    pub link: Link,
}

fn unreachable() -> Error {
    Error::Unreachable("simulated".into())
}

impl FaultyBroker {
    async fn deliver(&self, message: &Message) -> Result<(), Error> {
        let (net, id) = (&self.link.net, message.correlation_id.as_str());
        if self.link.hit(net.knobs.dropped, Fault::MessageDropped, id) {
            return Ok(());
        }
        let doubled = self.link.hit(net.knobs.doubled, Fault::MessageDoubled, id);
        if self.link.hit(net.knobs.delayed, Fault::MessageDelayed, id) {
            self.deliver_late(message.clone());
            if !doubled {
                return Ok(());
            }
        } else if doubled {
            self.inner.publish(std::slice::from_ref(message)).await?;
        }
        self.inner.publish(std::slice::from_ref(message)).await
    }

    fn deliver_late(&self, message: Message) {
        let net = Arc::clone(&self.link.net);
        let wait = 1 + net.dice.below(LATE_MS_MAX);
        let inner = Arc::clone(&self.inner);
        let Some(home) = net.home.get().cloned() else {
            return;
        };
        home.spawn(async move {
            net.time.pass(wait).await;
            // What a wiped or stopped broker would have kept, this one delivers all the same: later than anybody asked.
            let _ = inner.publish(&[message]).await;
        });
    }
}

/// Counts a message by the attempts that it offers.
pub fn count_again(link: &Link, message: &Message) {
    let ids = offered(message);
    link.seen(Seen::Grouped, usize::from(ids.len() > 1), || {
        message.correlation_id.clone()
    });
    for id in ids {
        let mut ledger = link.net.ledger();
        let times = ledger.published.entry(id.clone()).or_default();
        *times += 1;
        let again = *times > 1;
        drop(ledger);
        link.seen(Seen::Republished, usize::from(again), || id.clone());
    }
}

/// The attempts that a message of ours offers.
fn offered(message: &Message) -> Vec<String> {
    let body: Option<serde_json::Value> = serde_json::from_str(&message.body).ok();
    let runs = body.as_ref().and_then(|body| body.get("runs")?.as_array());
    let spell = |run: &serde_json::Value| Some(format!("{}:{}", run[0].as_str()?, run[1]));
    match runs {
        Some(runs) => runs.iter().filter_map(spell).collect(),
        None if message.correlation_id.is_empty() => Vec::new(),
        None => vec![message.correlation_id.clone()],
    }
}

#[async_trait]
impl Broker for FaultyBroker {
    async fn publish(&self, messages: &[Message]) -> Result<(), Error> {
        let knobs = &self.link.net.knobs;
        self.link.way().await;
        let fails = self.link.is_cut(Service::Broker)
            || self
                .link
                .hit(knobs.broker_failed, Fault::BrokerFailed, "publish");
        if fails {
            return Err(unreachable());
        }
        self.link.maybe_die("publish").await;
        for message in messages {
            message.check()?;
            count_again(&self.link, message);
            self.deliver(message).await?;
        }
        self.link.maybe_die("publish").await;
        self.link.way().await;
        if self
            .link
            .hit(knobs.confirm_lost, Fault::ConfirmLost, "publish")
        {
            let wait = Duration::from_secs(5);
            self.link.net.time.pass(5_000).await;
            return Err(Error::Unconfirmed(wait));
        }
        Ok(())
    }

    async fn consume(
        &self,
        destination: &str,
        prefetch: usize,
    ) -> Result<Box<dyn Consumer>, Error> {
        let knobs = &self.link.net.knobs;
        self.link.way().await;
        let fails = self.link.is_cut(Service::Broker)
            || self
                .link
                .hit(knobs.broker_failed, Fault::BrokerFailed, "consume");
        if fails {
            return Err(unreachable());
        }
        Ok(Box::new(FaultyConsumer {
            inner: self.inner.consume(destination, prefetch).await?,
            link: self.link.clone(),
            arrived: Vec::new(),
        }))
    }
}

struct FaultyConsumer {
    inner: Box<dyn Consumer>,
    link: Link,
    /// On the way: kept here, so that a dropped call loses nothing.
    arrived: Vec<Delivery>,
}

#[async_trait]
impl Consumer for FaultyConsumer {
    async fn receive(&mut self) -> Result<Vec<Delivery>, Error> {
        if self.arrived.is_empty() {
            self.arrived = self.inner.receive().await?;
        }
        self.link.way().await;
        let breaks = self.link.net.knobs.broker_failed;
        let fails = self.link.is_cut(Service::Broker)
            || self.link.hit(breaks, Fault::ConsumerBroken, "receive");
        if fails {
            return Err(unreachable());
        }
        Ok(std::mem::take(&mut self.arrived))
    }

    async fn ack(&mut self, tokens: &[u64]) -> Result<(), Error> {
        self.link.way().await;
        self.link.maybe_die("ack").await;
        let lost = self.link.net.knobs.ack_lost;
        if self.link.is_cut(Service::Broker) || self.link.hit(lost, Fault::AckLost, "ack") {
            return Err(unreachable());
        }
        self.inner.ack(tokens).await
    }
}
