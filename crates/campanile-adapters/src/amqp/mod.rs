//! The broker over AMQP 0-9-1: RabbitMQ, with quorum queues. lapin speaks the protocol; the way to a broker, the queues
//! that are made, what a confirm proves and what is a limit, is ours: `connection` is one connection, `queues` sees that
//! a queue is there, `publisher` and `consumer` are the two halves of the port, `wire` is the stream under lapin. It never
//! decides what is sent, and never sends anything a second time.

mod connection;
mod consumer;
mod inspect;
mod kit;
mod publisher;
mod queues;
mod wire;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use campanile_core::limits;
use campanile_core::port::broker::{Broker, Consumer, Error, Faults, Message};

pub use self::inspect::{Inspection, Queue};
pub use crate::brokers::url::UrlError;
use crate::brokers::url::{Dialect, Target};
use crate::capabilities::Capabilities;
use crate::service_url::ServiceUrl;

const DIALECT: Dialect = Dialect {
    name: "AMQP 0-9-1",
    schemes: ("amqp", "amqps"),
    ports: (5_672, 5_671),
    shape: "write it as amqp://user:password@host:5672,other:5672/VIRTUAL-HOST or amqps://…",
    has_path: true,
    options: &[("queues", "quorum or classic")],
};

/// How the broker is spoken to. The defaults are right for production.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The longest silence either side keeps, in whole seconds; a broker that is silent for two of them is left.
    pub heart_beat: Duration,
    /// How long a confirm may take, and how long a call waits for a connection.
    pub confirm_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            heart_beat: Duration::from_secs(5),
            confirm_timeout: limits::CONFIRM_TIMEOUT,
        }
    }
}

/// What queues are made that are not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queues {
    /// On several nodes, each message confirmed by most of them.
    Quorum,
    /// On one node, and with priorities.
    Classic,
}

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The broker's own name and version.
    pub server: String,
    /// Which address of the list.
    pub address: String,
    /// What queues are made where they are not there yet.
    pub queues: Queues,
}

impl Queues {
    /// What the broker can do with them.
    #[must_use]
    pub const fn capabilities(self) -> Capabilities {
        match self {
            Self::Quorum => Capabilities::RABBITMQ_QUORUM,
            Self::Classic => Capabilities::RABBITMQ_CLASSIC,
        }
    }
}

/// A broker that speaks AMQP 0-9-1.
pub struct AmqpBroker {
    dialer: Arc<connection::Dialer>,
    publisher: publisher::Publisher,
    hub: consumer::Hub,
    limit: Duration,
}

/// A broker by its URL, with the usual options.
///
/// # Errors
/// A sentence about the URL, without what it hides.
pub fn at(url: &ServiceUrl) -> Result<Arc<AmqpBroker>, String> {
    connect(url.reveal(), Options::default()).map_err(|e| url.scrub(&e.to_string()))
}

/// A broker by its URL. Nothing is connected yet: that happens at need, again and again, for as long as it lives.
///
/// # Errors
/// A URL that can't be used, or certificates that can't be read: with the remedy.
pub fn connect(url: &str, options: Options) -> Result<Arc<AmqpBroker>, UrlError> {
    let target = Target::parse(url, &DIALECT)?;
    let queues = match target.option("queues") {
        None | Some("quorum") => Queues::Quorum,
        Some("classic") => Queues::Classic,
        Some(_) => {
            let problem = "has an option `queues` that is neither";
            return Err(UrlError::new(
                problem,
                "write queues=quorum or queues=classic",
            ));
        }
    };
    let dialer = connection::Dialer::new(target, queues, options.heart_beat)?;
    let dialer = Arc::new(dialer);
    let limit = options.confirm_timeout;
    Ok(Arc::new(AmqpBroker {
        publisher: publisher::Publisher::new(Arc::clone(&dialer), limit),
        hub: consumer::Hub::new(Arc::clone(&dialer), limit),
        dialer,
        limit,
    }))
}

impl AmqpBroker {
    /// Asks who is there, over a connection of its own.
    ///
    /// # Errors
    /// As publishing would answer.
    pub async fn probe(&self) -> Result<Probe, Error> {
        let connection = self.dialer.dial_within(self.limit).await?;
        Ok(self.who(&connection))
    }

    fn who(&self, connection: &connection::Connection) -> Probe {
        Probe {
            server: connection.server.clone(),
            address: connection.address.clone(),
            queues: self.dialer.queues,
        }
    }
}

#[async_trait]
impl Broker for AmqpBroker {
    fn faults(&self) -> Faults {
        let faults = &self.dialer.faults;
        Faults {
            connections_broken: faults.broken.load(Ordering::Relaxed),
            messages_cut: faults.cut.load(Ordering::Relaxed),
        }
    }

    async fn publish(&self, messages: &[Message]) -> Result<(), Error> {
        self.publisher.publish(messages).await
    }

    async fn consume(
        &self,
        destination: &str,
        prefetch: usize,
    ) -> Result<Box<dyn Consumer>, Error> {
        let subscription = self.hub.consume(destination, prefetch).await?;
        Ok(Box::new(subscription))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_that_can_not_be_used_is_refused_with_the_setting_and_the_remedy() {
        for (url, part) in [
            (
                "amqp://u:topsecret@h?queues=mirrored",
                "queues=quorum or queues=classic",
            ),
            ("amqp://u:topsecret@h?heartbeat=3", "has the unknown option"),
            ("amqp://u:topsecret@h:x", "port"),
            ("amqp://u:topsecret@h?ca=/x", "amqps://"),
            ("amqps://u:topsecret@h?ca=/nowhere.pem", "/nowhere.pem"),
            ("stomp://u:topsecret@h", "no AMQP 0-9-1 URL"),
        ] {
            let error = at(&ServiceUrl::new(url)).err().unwrap_or_default();
            assert!(error.contains(part), "{url}: {error}");
            assert!(error.contains("setting `broker`"), "{error}");
            assert!(!error.contains("topsecret"), "{error}");
        }
        let long = format!("amqp://h/{}", "v".repeat(256));
        let error = connect(&long, Options::default()).err();
        assert!(error.is_some_and(|e| e.to_string().contains("virtual host")));
        assert!(connect("amqp://a,b,[::1]:5/v?queues=classic", Options::default()).is_ok());
    }
}
