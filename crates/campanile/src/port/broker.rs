//! The conveyor between scheduler and workers. It may lose, repeat, delay and reorder: the store is the queue, and
//! claims make duplicates harmless.

use std::time::Duration;

use async_trait::async_trait;

use super::Cause;

/// A persistent text message, ready to send. Header values are plain ASCII by construction
/// ([`crate::protocol::message`]); adapters escape them all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The JMS queue's whole name (`campanile.default`, or an external listener's own).
    pub destination: String,
    /// UTF-8 text: a JMS TextMessage.
    pub body: String,
    /// JMSCorrelationID; empty = none.
    pub correlation_id: String,
    /// JMSReplyTo; empty = none.
    pub reply_to: String,
    /// JMSPriority, 0 to 9.
    pub priority: u8,
    /// String properties.
    pub properties: Vec<(&'static str, String)>,
}

/// A message that arrived and waits for its acknowledgement.
#[derive(Debug)]
pub struct Delivery {
    /// The body as text; bytes that are no UTF-8 are replaced, so that the signature fails and not the decoder.
    pub body: String,
    /// The `campanile_sig` property; empty if there is none.
    pub signature: String,
    /// Whether the broker says that it was delivered before.
    pub redelivered: bool,
    /// The adapter's own handle for the acknowledgement, meaningful to the consumer it came from alone.
    pub token: u64,
}

/// A broker.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Sends up to [`crate::protocol::limits::PUBLISH_BATCH_MAX`] messages and returns when the broker has confirmed
    /// all of them, durably. On an error some may have been taken: the caller sends them all again later. Several
    /// calls may be under way at once.
    async fn publish(&self, messages: &[Message]) -> Result<(), Error>;

    /// Begins to consume a queue. At most `prefetch` messages (1 or more) are unacknowledged at any time. Dropping the
    /// consumer ends it, and what it had not acknowledged goes to others.
    async fn consume(&self, destination: &str, prefetch: usize)
    -> Result<Box<dyn Consumer>, Error>;
}

/// A subscription to one queue.
#[async_trait]
pub trait Consumer: Send {
    /// What has arrived, at least one; waits for it. Cancel-safe: a dropped call loses nothing. An error ends the
    /// consumer: the caller consumes anew.
    async fn receive(&mut self) -> Result<Vec<Delivery>, Error>;

    /// Tells the broker that these are done with. Acknowledgements may get lost: the message then comes again, and its
    /// claim is refused.
    async fn ack(&mut self, tokens: &[u64]) -> Result<(), Error>;
}

/// Why the broker did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection to any address of the list.
    #[error("reach a broker")]
    Unreachable(#[source] Cause),
    /// No confirm in time: flow control, or a dead link. What was sent may or may not have been taken.
    #[error("have the broker confirm within {} ms", .0.as_millis())]
    Unconfirmed(Duration),
    /// The broker refused: credentials, rights, limits.
    #[error("be served by the broker")]
    Refused(#[source] Cause),
    /// The message can't be sent at all (too large, a header that can't be escaped).
    #[error("send this message: {0}")]
    Unsendable(String),
}
