//! The AMQP 0-9-1 broker: the port's conformance suite against RabbitMQ, with quorum queues and with classic ones, and what
//! only a real broker can show: its death and return, its silence, its refusals, a cluster that loses a node.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests: a panic is their verdict"
)]

mod breakage;
mod cluster;
mod hostile;
mod network;

use std::sync::Arc;
use std::time::Duration;

use campanile_adapters::amqp::{self, AmqpBroker, Options};
use campanile_conformance::broker::Fixture;
use campanile_core::port::broker::{Broker, Consumer, Delivery, Message};
use campanile_core::system;
use xtask::servers::{RabbitMq, RabbitMqOptions};

use crate::broker::{acknowledge, message, prefix, shown};

/// How long anything may take that must happen, a broker's restart included.
const SOON: Duration = Duration::from_secs(90);

mod quorum {
    async fn rabbitmq() -> Option<super::Fixture> {
        super::fixture("", false)
    }

    campanile_conformance::broker!(rabbitmq);
}

mod classic {
    async fn rabbitmq() -> Option<super::Fixture> {
        super::fixture("?queues=classic", true)
    }

    campanile_conformance::broker!(rabbitmq);
}

fn fixture(options: &str, by_priority: bool) -> Option<Fixture> {
    let server = shared()?;
    let broker = connect(&format!("{}{options}", server.url()));
    Some(Fixture {
        broker,
        prefix: prefix(),
        by_priority,
        keep: Box::new(server),
    })
}

fn shared() -> Option<Arc<RabbitMq>> {
    tokio::task::block_in_place(|| xtask::or_skip(RabbitMq::shared()))
}

fn private(options: RabbitMqOptions) -> Option<RabbitMq> {
    tokio::task::block_in_place(|| xtask::or_skip(RabbitMq::start_with(options)))
}

fn connect(url: &str) -> Arc<AmqpBroker> {
    amqp::connect(url, Options::default()).unwrap()
}

/// Options that notice trouble soon.
fn hasty() -> Options {
    Options {
        heart_beat: Duration::from_secs(1),
        confirm_timeout: Duration::from_secs(2),
    }
}

/// Publishes until the broker confirms.
async fn publish_at_last(broker: &dyn Broker, messages: &[Message]) {
    let published = system::within(SOON, async {
        while broker.publish(messages).await.is_err() {
            system::pause(Duration::from_millis(20)).await;
        }
    });
    published.await.expect("the broker confirms in the end");
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let held = system::within(SOON, async {
        while !condition() {
            system::pause(Duration::from_millis(10)).await;
        }
    });
    assert!(held.await.is_some(), "waited in vain until {what}");
}

/// Consumes until the broker takes us.
async fn consume_at_last(broker: &dyn Broker, queue: &str, prefetch: usize) -> Box<dyn Consumer> {
    let consuming = system::within(SOON, async {
        loop {
            if let Ok(consumer) = broker.consume(queue, prefetch).await {
                return consumer;
            }
            system::pause(Duration::from_millis(20)).await;
        }
    });
    consuming.await.expect("the broker takes a consumer")
}

async fn receive(consumer: &mut dyn Consumer) -> Vec<Delivery> {
    let received = system::within(SOON, consumer.receive()).await;
    received
        .expect("something arrives in time")
        .expect("the consumer lives")
}
