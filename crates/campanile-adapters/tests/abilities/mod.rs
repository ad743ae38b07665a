//! What each broker does beyond the port, tried on the real one, with the settings that the table
//! names: the table of capabilities says what was seen here, no more and no less, and so does the guide.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests: a panic is their verdict"
)]

mod activemq;
mod rabbitmq;
mod stomp;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use campanile_adapters::capabilities::{Capabilities, Support};
use campanile_conformance::abilities::{Claim, Trials, every_claim_is_tried};
use campanile_conformance::broker::Fixture;
use campanile_core::memory::broker::MemoryBroker;
use campanile_core::port::broker::Broker;

/// All brokers that there is a claim about.
const ALL: [Capabilities; 5] = [
    Capabilities::MEMORY,
    Capabilities::ACTIVEMQ,
    Capabilities::RABBITMQ_QUORUM,
    Capabilities::RABBITMQ_CLASSIC,
    Capabilities::RABBITMQ_STOMP,
];

/// No other test of this run has the same.
fn prefix() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("legacy.{}.{count}", std::process::id())
}

async fn tried(capabilities: Capabilities, broker: Arc<dyn Broker>, trials: &dyn Trials) {
    let fixture = Fixture {
        broker,
        prefix: prefix(),
        by_priority: capabilities.priorities.is_there(),
        keep: Box::new(()),
    };
    let claims = capabilities
        .named()
        .map(|(name, has)| -> Claim { (name, has.is_there()) });
    every_claim_is_tried(capabilities.broker, &fixture, trials, &claims).await;
}

/// Nothing beside the port's own verbs can be asked of it.
struct Memory;

#[async_trait]
impl Trials for Memory {
    async fn selectors(&self) -> bool {
        false
    }

    async fn own_dead_letters(&self) -> bool {
        false
    }

    async fn delayed_redelivery(&self) -> bool {
        false
    }

    async fn transactions(&self) -> bool {
        false
    }

    async fn visible_consumers(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn the_broker_in_memory_does_what_is_claimed() {
    tried(Capabilities::MEMORY, Arc::new(MemoryBroker::new()), &Memory).await;
}

/// The table as the guide has it.
fn table() -> String {
    let mut out = String::from("| |");
    for broker in ALL {
        write!(out, " {} |", broker.broker).unwrap();
    }
    out.push_str("\n|---|");
    out.push_str(&"---|".repeat(ALL.len()));
    for (at, (name, _)) in Capabilities::MEMORY.named().into_iter().enumerate() {
        write!(out, "\n| {name} |").unwrap();
        for broker in ALL {
            let said = match broker.named()[at].1 {
                Support::Yes => "yes".to_owned(),
                Support::Set(setting) => format!("with {setting}"),
                Support::No(_) => "no".to_owned(),
            };
            write!(out, " {said} |").unwrap();
        }
    }
    out.push('\n');
    out
}

#[test]
fn the_guide_says_what_was_tried() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/brokers.md");
    let text = std::fs::read_to_string(page).unwrap();
    let table = table();
    assert!(
        text.contains(&table),
        "docs/guide/brokers.md lacks this table:\n{table}"
    );
}
