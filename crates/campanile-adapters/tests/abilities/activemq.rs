//! ActiveMQ's abilities, over STOMP, on a broker whose queues have priorities, dead letters of their own and delayed
//! redelivery by their policy.

use async_trait::async_trait;
use campanile_adapters::stomp::{self, Options};
use xtask::servers::{ActiveMq, ActiveMqOptions};

use super::stomp::Way;
use super::*;

/// The trials that hold for every broker with JMS's ideas.
pub struct Jms {
    pub way: Way,
    /// What comes before a queue's name in that of its dead letters.
    pub dead_letters: &'static str,
}

#[async_trait]
impl Trials for Jms {
    async fn selectors(&self) -> bool {
        self.way.chooses().await
    }

    async fn own_dead_letters(&self) -> bool {
        let queue = prefix();
        let dead = format!("{}{queue}", self.dead_letters);
        self.way.gives_up_to(&queue, &dead).await
    }

    async fn delayed_redelivery(&self) -> bool {
        self.way.delays().await
    }

    async fn transactions(&self) -> bool {
        self.way.keeps_together().await
    }

    /// There is no frame that asks: a request that STOMP 1.2 does not know is an ERROR.
    async fn visible_consumers(&self) -> bool {
        let mut raw = self.way.raw().await;
        raw.sure("CONSUMERS", &[("destination", "/queue/x")], "")
            .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn activemq_does_what_is_claimed() {
    let options = ActiveMqOptions {
        delays_redelivery: true,
        ..ActiveMqOptions::default()
    };
    let started = tokio::task::block_in_place(|| xtask::or_skip(ActiveMq::start_with(options)));
    let Some(server) = started else { return };
    let broker = stomp::connect(&server.stomp_url(), Options::default()).unwrap();
    let probe = broker.probe().await.unwrap();
    assert_eq!(probe.capabilities(), Some(Capabilities::ACTIVEMQ));
    let trials = Jms {
        way: Way {
            port: server.stomp_port(),
            login: vec![("host", "localhost".to_owned())],
            extra: Vec::new(),
        },
        dead_letters: "DLQ.",
    };
    tried(Capabilities::ACTIVEMQ, broker, &trials).await;
}
