//! The STOMP broker: the port's conformance suite against ActiveMQ, and what only a real broker can show: its death and
//! return, its silence, its refusals, and what a Java listener sees of our messages.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests: a panic is their verdict"
)]

mod breakage;
mod hostile;
mod java;
mod network;
mod rabbitmq;
mod secure;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use campanile_adapters::stomp::{self, Confirms, Options, StompBroker};
use campanile_conformance::broker::Fixture;
use campanile_core::port::broker::{Broker, Consumer, Delivery, Message};
use campanile_core::system;
use xtask::servers::{ActiveMq, ActiveMqOptions};

pub use self::hostile::aside;

/// How long anything may take that must happen, a broker's restart included.
const SOON: Duration = Duration::from_secs(60);

async fn activemq() -> Option<Fixture> {
    fixture(Options::default())
}

async fn activemq_with_single_confirms() -> Option<Fixture> {
    fixture(Options {
        confirms: Confirms::Each,
        ..Options::default()
    })
}

campanile_conformance::broker!(activemq);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_publish_at_once_with_single_confirms() {
    if let Some(fixture) = activemq_with_single_confirms().await {
        campanile_conformance::broker::many_publish_at_once(fixture).await;
    }
}

fn fixture(options: Options) -> Option<Fixture> {
    let server = shared()?;
    let broker = stomp::connect(&server.stomp_url(), options).unwrap();
    Some(Fixture {
        broker,
        prefix: prefix(),
        by_priority: false,
        keep: Box::new(server),
    })
}

fn shared() -> Option<Arc<ActiveMq>> {
    tokio::task::block_in_place(|| xtask::or_skip(ActiveMq::shared()))
}

fn private(options: ActiveMqOptions) -> Option<ActiveMq> {
    tokio::task::block_in_place(|| xtask::or_skip(ActiveMq::start_with(options)))
}

/// No other test of this run has the same: those over AMQP share a server with some of these.
pub fn prefix() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("test.{}.{count}", std::process::id())
}

fn connect(url: &str) -> Arc<StompBroker> {
    stomp::connect(url, Options::default()).unwrap()
}

/// Options that notice trouble soon.
fn hasty() -> Options {
    Options {
        heart_beat: Duration::from_millis(500),
        confirm_timeout: Duration::from_secs(2),
        ..Options::default()
    }
}

pub fn message(queue: &str, body: &str) -> Message {
    Message {
        destination: queue.to_owned(),
        body: body.to_owned(),
        correlation_id: "9:1".to_owned(),
        reply_to: String::new(),
        priority: 4,
        properties: vec![("campanile_sig", "sig".to_owned())],
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

pub async fn acknowledge(consumer: &mut dyn Consumer, deliveries: &[Delivery]) {
    let tokens: Vec<u64> = deliveries.iter().map(|d| d.token).collect();
    consumer.ack(&tokens).await.unwrap();
}

/// An error with all its causes.
pub fn shown(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
