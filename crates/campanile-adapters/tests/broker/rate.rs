//! How many messages a second pass through the port: a measurement, not a test. It prints JSON lines and asserts
//! nothing about speed.
#![expect(clippy::print_stdout, reason = "a measurement is read from its output")]

use campanile::memory::broker::MemoryBroker;
use campanile::port::clock::Clock as _;
use campanile::protocol::limits;
use campanile::system::SystemClock;

use super::*;

const MESSAGES: usize = 20_000;
const BODY_BYTES: usize = 500;

/// Publishes, consumes and acknowledges all messages, `at_once` batches being under way; milliseconds until all were
/// confirmed, and until all were consumed.
async fn round(broker: &Arc<dyn Broker>, at_once: usize) -> (u64, u64) {
    let queue = prefix();
    let clock = SystemClock::new();
    let mut consumer = broker.consume(&queue, 1_000).await.unwrap();
    let batches = MESSAGES / limits::PUBLISH_BATCH_MAX;
    let mut publishers = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let broker = Arc::clone(broker);
        let batch = vec![message(&queue, &"x".repeat(BODY_BYTES)); limits::PUBLISH_BATCH_MAX];
        publishers.spawn(async move {
            for _ in 0..batches / at_once {
                broker.publish(&batch).await.unwrap();
            }
        });
    }
    let consuming = system::spawn(async move {
        let mut count = 0;
        while count < batches / at_once * at_once * limits::PUBLISH_BATCH_MAX {
            let deliveries = consumer.receive().await.unwrap();
            acknowledge(&mut *consumer, &deliveries).await;
            count += deliveries.len();
        }
    });
    while let Some(ended) = publishers.join_next().await {
        ended.unwrap();
    }
    let confirmed = clock.monotonic().as_ms();
    consuming.await.unwrap();
    (confirmed, clock.monotonic().as_ms())
}

async fn show(name: &str, broker: &Arc<dyn Broker>, at_once: usize) {
    let (confirmed, consumed) = round(broker, at_once).await;
    let per_second = |ms: u64| MESSAGES as u64 * 1_000 / ms.max(1);
    let (produced, through) = (per_second(confirmed), per_second(consumed));
    println!(
        "{{\"broker\":\"{name}\",\"at_once\":{at_once},\"produced_per_s\":{produced},\"through_per_s\":{through}}}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: run it by its name, optimised"]
async fn rate_in_memory() {
    let broker: Arc<dyn Broker> = Arc::new(MemoryBroker::new());
    for at_once in [1, 4, 4] {
        show("memory", &broker, at_once).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: run it by its name, optimised"]
async fn rate() {
    let options = ActiveMqOptions {
        heap_mib: Some(512),
        optimise: true,
        ..ActiveMqOptions::default()
    };
    let Some(server) = private(options) else {
        return;
    };
    let warm: Arc<dyn Broker> = connect(&server.stomp_url());
    for _ in 0..3 {
        round(&warm, 4).await;
    }
    for (publishers, at_once) in [(1, 1), (1, 4), (2, 4), (4, 4), (2, 8)] {
        let options = Options {
            publishers,
            ..Options::default()
        };
        let broker: Arc<dyn Broker> = stomp::connect(&server.stomp_url(), options).unwrap();
        for _ in 0..3 {
            show(&format!("stomp/{publishers}"), &broker, at_once).await;
        }
    }
}
