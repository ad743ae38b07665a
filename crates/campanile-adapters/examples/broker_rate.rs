//! How many messages a second pass through the broker port: published in batches, consumed and acknowledged, in memory
//! and over a private ActiveMQ. It prints JSON lines and judges nothing.
//! `cargo run --profile ci -p campanile-adapters --example broker_rate`
#![expect(clippy::print_stdout, reason = "a measurement is read from its output")]

use std::sync::Arc;

use campanile_adapters::stomp::{self, Options};
use campanile_core::limits;
use campanile_core::memory::broker::MemoryBroker;
use campanile_core::port::broker::{Broker, Error, Message};
use campanile_core::port::clock::Clock as _;
use campanile_core::system::{self, SystemClock};
use xtask::servers::{ActiveMq, ActiveMqOptions};

const BATCHES: usize = 200;
const BODY_BYTES: usize = 500;
const PREFETCH: usize = 1_000;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// `at_once` batches are under way; milliseconds until all were confirmed, and until all were acknowledged.
async fn round(broker: &Arc<dyn Broker>, queue: &str, at_once: usize) -> Result<(u64, u64)> {
    let message = Message {
        destination: queue.to_owned(),
        body: "x".repeat(BODY_BYTES),
        correlation_id: "9:1".to_owned(),
        reply_to: String::new(),
        priority: 4,
        properties: vec![("campanile_sig", "ab".repeat(32))],
    };
    let clock = SystemClock::new();
    let mut consumer = broker.consume(queue, PREFETCH).await?;
    let mut publishers = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let broker = Arc::clone(broker);
        let batch = vec![message.clone(); limits::PUBLISH_BATCH_MAX];
        publishers.spawn(async move {
            for _ in 0..BATCHES / at_once {
                broker.publish(&batch).await?;
            }
            Ok::<(), Error>(())
        });
    }
    let expected = BATCHES / at_once * at_once * limits::PUBLISH_BATCH_MAX;
    let consuming = system::spawn(async move {
        let mut count = 0;
        while count < expected {
            let deliveries = consumer.receive().await?;
            count += deliveries.len();
            let tokens: Vec<u64> = deliveries.iter().map(|d| d.token).collect();
            consumer.ack(&tokens).await?;
        }
        Ok::<(), Error>(())
    });
    while let Some(ended) = publishers.join_next().await {
        ended??;
    }
    let confirmed = clock.monotonic().as_ms();
    consuming.await??;
    Ok((confirmed, clock.monotonic().as_ms()))
}

async fn show(name: &str, broker: &Arc<dyn Broker>, at_once: usize) -> Result<()> {
    for n in 0..5 {
        let queue = format!("rate.{name}.{at_once}.{n}");
        let (confirmed, consumed) = round(broker, &queue, at_once).await?;
        let messages = (BATCHES / at_once * at_once * limits::PUBLISH_BATCH_MAX) as u64;
        let per_second = |ms: u64| messages * 1_000 / ms.max(1);
        let (produced, through) = (per_second(confirmed), per_second(consumed));
        println!(
            "{{\"broker\":\"{name}\",\"at_once\":{at_once},\"produced_per_s\":{produced},\"through_per_s\":{through}}}"
        );
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let memory: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    show("memory", &memory, 4).await?;
    let server = ActiveMq::start_with(ActiveMqOptions {
        heap_mib: Some(512),
        optimise: true,
        ..ActiveMqOptions::default()
    })?;
    for (name, at_once, publishers) in [
        ("warming", 4, 1),
        ("activemq-1", 1, 1),
        ("activemq-1", 4, 1),
        ("activemq-1", 8, 1),
        ("activemq-4", 8, 4),
    ] {
        let options = Options {
            publishers,
            ..Options::default()
        };
        let broker: Arc<dyn Broker> = stomp::connect(&server.stomp_url(), options)?;
        show(name, &broker, at_once).await?;
    }
    Ok(())
}
