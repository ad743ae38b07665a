//! The broker over STOMP 1.2: ActiveMQ Classic and whatever else speaks it. The wire is in `codec`, one connection in
//! `connection`, the way to one in `dial`; `publisher` and `consumer` are the two halves of the port. It never decides
//! what is sent, and never sends anything a second time.

mod codec;
mod connection;
mod consumer;
mod dial;
mod publisher;
mod reader;
mod text;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use campanile_core::limits;
use campanile_core::port::broker::{Broker, Consumer, Error, Faults, Message};

use crate::brokers::url::{Dialect, Target};
use crate::capabilities::Capabilities;
use crate::service_url::ServiceUrl;

pub use crate::brokers::url::UrlError;

const DIALECT: Dialect = Dialect {
    name: "STOMP",
    schemes: ("stomp", "stomp+ssl"),
    ports: (61_613, 61_614),
    shape: "write it as stomp://user:password@host:61613,other:61613 or stomp+ssl://…",
    has_path: false,
    options: &[("vhost", "the virtual host, on RabbitMQ")],
};

/// How the broker is spoken to. The defaults are right for production.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The longest silence either side keeps; a broker that is silent for two of them is left.
    pub heart_beat: Duration,
    /// How long a confirm may take, and how long a call waits for a connection.
    pub confirm_timeout: Duration,
    /// Connections to publish over, opened when needed. Each carries several batches at once, so that one is as fast
    /// as four with ActiveMQ's default store.
    pub publishers: usize,
    /// What a batch asks to be confirmed.
    pub confirms: Confirms,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            heart_beat: Duration::from_secs(5),
            confirm_timeout: limits::CONFIRM_TIMEOUT,
            publishers: 1,
            confirms: Confirms::Transaction,
        }
    }
}

/// What a batch asks to be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirms {
    /// The batch, as one transaction; on RabbitMQ each message all the same.
    Transaction,
    /// Each message by itself, all at once.
    Each,
}

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The broker's own name and version.
    pub server: String,
    /// Which address of the list.
    pub address: String,
}

impl Probe {
    /// What it can do; `None` for a broker that was never tried.
    #[must_use]
    pub fn capabilities(&self) -> Option<Capabilities> {
        Capabilities::of_stomp(&self.server)
    }
}

/// A broker that speaks STOMP.
pub struct StompBroker {
    dialer: Arc<dial::Dialer>,
    publisher: publisher::Publisher,
    hub: consumer::Hub,
    limit: Duration,
}

/// A broker by its URL, with the usual options.
///
/// # Errors
/// A sentence about the URL, without what it hides.
pub fn at(url: &ServiceUrl) -> Result<Arc<StompBroker>, String> {
    connect(url.reveal(), Options::default()).map_err(|e| url.scrub(&e.to_string()))
}

/// A broker by its URL. Nothing is connected yet: that happens at need, again and again, for as long as it lives.
///
/// # Errors
/// A URL that can't be used, or certificates that can't be read: with the remedy.
pub fn connect(url: &str, options: Options) -> Result<Arc<StompBroker>, UrlError> {
    let target = Target::parse(url, &DIALECT)?;
    let dialer = Arc::new(dial::Dialer::new(target, options.heart_beat)?);
    let limit = options.confirm_timeout;
    Ok(Arc::new(StompBroker {
        publisher: publisher::Publisher::new(Arc::clone(&dialer), &options),
        hub: consumer::Hub::new(Arc::clone(&dialer), limit),
        dialer,
        limit,
    }))
}

impl StompBroker {
    /// Asks who is there, over a connection of its own.
    ///
    /// # Errors
    /// As publishing would answer.
    pub async fn probe(&self) -> Result<Probe, Error> {
        let dialed = self.dialer.dial_within(self.limit).await?;
        Ok(Probe {
            server: dialed.server,
            address: dialed.address,
        })
    }
}

#[async_trait]
impl Broker for StompBroker {
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
