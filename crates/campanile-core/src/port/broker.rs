//! The conveyor between scheduler and workers. It may lose, repeat, delay and reorder: the store is the queue, and
//! claims make duplicates harmless.

use std::time::Duration;

use async_trait::async_trait;

use super::Cause;
use crate::limits;

/// A persistent text message, ready to send. Header values are plain ASCII by construction
/// ([`crate::decide::publish::message`]); adapters escape them all the same.
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
    pub properties: Vec<(&'static str, String)>,
}

impl Message {
    /// Whether any broker can carry it: what an adapter asks before it sends anything.
    ///
    /// # Errors
    /// [`Error::Unsendable`] with what is wrong: a body or header over its limit, or a header that is not printable
    /// ASCII (whoever writes `\n` into a header means to write another header).
    pub fn check(&self) -> Result<(), Error> {
        let unsendable = |what: String| Err(Error::Unsendable(what));
        if let Some(problem) = destination_problem(&self.destination) {
            return unsendable(problem.to_owned());
        }
        if !self.reply_to.is_empty()
            && let Some(problem) = destination_problem(&self.reply_to)
        {
            return unsendable(format!("reply-to: {problem}"));
        }
        if self.body.len() > limits::MESSAGE_BYTES_MAX {
            let (is, max) = (self.body.len(), limits::MESSAGE_BYTES_MAX);
            return unsendable(format!("its body has {is} bytes, {max} are allowed"));
        }
        if self.priority > 9 {
            return unsendable(format!("its priority is {}, 0 to 9 exist", self.priority));
        }
        let correlation = ("correlation id", &self.correlation_id);
        let properties = self.properties.iter().map(|(name, value)| (*name, value));
        for (name, value) in std::iter::once(correlation).chain(properties) {
            if !value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
                return unsendable(format!("`{name}` is not printable ASCII"));
            }
            if value.len() > limits::HEADER_BYTES_MAX {
                let max = limits::HEADER_BYTES_MAX;
                return unsendable(format!("`{name}` is over {max} bytes"));
            }
        }
        Ok(())
    }
}

/// What is wrong with a queue's name, for a broker: some characters would make it several queues, a pattern or an
/// option.
#[must_use]
pub fn destination_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > limits::HEADER_BYTES_MAX {
        return Some("the queue's name is empty or too long");
    }
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b',' | b'*' | b'>' | b'?');
    if name.bytes().all(plain) {
        return None;
    }
    Some("the queue's name has a character that is not printable ASCII, or one of `,*>?`")
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

/// What a broker did wrong since this process began, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// Connections that were dropped because what came over them was not the broker's protocol.
    pub connections_broken: u64,
    /// Messages that were cut because they break a limit.
    pub messages_cut: u64,
}

#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Sends up to [`crate::limits::PUBLISH_BATCH_MAX`] messages and returns when the broker has confirmed
    /// all of them, durably. On an error some may have been taken: the caller sends them all again later. Several
    /// calls may be under way at once.
    async fn publish(&self, messages: &[Message]) -> Result<(), Error>;

    /// Begins to consume a queue. At most `prefetch` messages (1 or more) are unacknowledged at any time. Dropping the
    /// consumer ends it, and what it had not acknowledged goes to others.
    async fn consume(&self, destination: &str, prefetch: usize)
    -> Result<Box<dyn Consumer>, Error>;

    /// Whether listeners that are not ours can have messages of it: then tasks may have an `external` handler.
    fn reaches_listeners(&self) -> bool {
        true
    }

    /// What it did wrong so far; one that is in this process does nothing wrong.
    fn faults(&self) -> Faults {
        Faults::default()
    }
}

/// A subscription to one queue.
#[async_trait]
pub trait Consumer: Send {
    /// What has arrived, at least one; waits for it. Cancel-safe: a dropped call loses nothing. An error ends the
    /// consumer: the caller consumes again.
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
