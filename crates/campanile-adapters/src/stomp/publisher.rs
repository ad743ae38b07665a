//! Publishing: a batch is encoded once, goes out as one transaction (or as one send with a receipt), and is done when
//! the broker's receipt is there. It never sends a batch twice: on any doubt its caller does, later, and claims refuse
//! the duplicates.
//!
//! Two shapes of confirm, because brokers differ by a factor of ten: ActiveMQ is fast with one receipt for each
//! transaction and slow with one for each message; RabbitMQ takes many receipts at once just as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use campanile_core::port::broker::{Error, Message};
use campanile_core::system;
use tokio::sync::Mutex;

use super::codec::{self, HEADER_LINE_BYTES_MAX};
use super::connection::{Connection, RABBITMQ_QUEUE, Receipt};
use super::dial::Dialer;
use super::{Confirms, Options};
use crate::brokers::Failure;

/// What a frame needs beside its body and our longest ordinary headers.
const FRAME_BYTES_GUESS: usize = 700;

/// Publishes over a few connections, of which each carries several batches at once.
pub(super) struct Publisher {
    dialer: Arc<Dialer>,
    slots: Vec<Slot>,
    confirms: Confirms,
    limit: Duration,
}

#[derive(Default)]
struct Slot {
    connection: Mutex<Option<Arc<Connection>>>,
    batches: AtomicUsize,
}

/// Counts a batch for as long as it is under way, however that ends.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn with(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Publisher {
    pub(super) fn new(dialer: Arc<Dialer>, options: &Options) -> Self {
        let mut slots = Vec::new();
        slots.resize_with(options.publishers.max(1), Slot::default);
        Self {
            dialer,
            slots,
            confirms: options.confirms,
            limit: options.confirm_timeout,
        }
    }

    pub(super) async fn publish(&self, messages: &[Message]) -> Result<(), Error> {
        for message in messages {
            message.check()?;
        }
        let Some(slot) = self
            .slots
            .iter()
            .min_by_key(|s| s.batches.load(Ordering::Relaxed))
        else {
            return Ok(());
        };
        if messages.is_empty() {
            return Ok(());
        }
        let _busy = Busy::with(&slot.batches);
        let connection = system::within(self.limit, self.connection(slot)).await;
        let connection = connection.unwrap_or_else(|| Err(self.dialer.unreachable(self.limit)))?;
        let queues = || messages.iter().map(|m| m.destination.as_str());
        let confirmed = system::within(self.limit, async {
            let _alone = self.dialer.alone_with(&connection, queues()).await;
            let (bytes, receipts) = self.prepare(&connection, messages)?;
            confirm(&connection, bytes, receipts).await?;
            if connection.is_rabbitmq() {
                self.dialer.are_made(queues());
            }
            Ok(())
        });
        match confirmed.await {
            Some(done) => done,
            None => {
                // Nobody knows what the broker did with what was sent: all who use this connection begin again.
                connection.abandon("a receipt did not come in time");
                Err(Error::Unconfirmed(self.limit))
            }
        }
    }

    /// The slot's connection, or a new one.
    async fn connection(&self, slot: &Slot) -> Result<Arc<Connection>, Error> {
        let mut current = slot.connection.lock().await;
        if let Some(connection) = current.as_ref().filter(|c| c.failure().is_none()) {
            return Ok(Arc::clone(connection));
        }
        *current = None;
        let dialed = self.dialer.dial_within(self.limit).await?;
        tracing::info!(
            address = dialed.address,
            server = dialed.server,
            "publishing over {}",
            dialed.address
        );
        let connection = Arc::new(dialed.connection);
        *current = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Encodes a batch and registers what confirms it.
    fn prepare(
        &self,
        connection: &Connection,
        messages: &[Message],
    ) -> Result<(BytesMut, Vec<Receipt>), Error> {
        let size = messages.iter().map(|m| m.body.len() + FRAME_BYTES_GUESS);
        let mut out = BytesMut::with_capacity(size.sum());
        let mut receipts = Vec::new();
        // A receipt of RabbitMQ's for a transaction proves nothing: it comes before what it is for is stored.
        let as_one = self.confirms == Confirms::Transaction && !connection.is_rabbitmq();
        if messages.len() > 1 && as_one {
            let transaction = format!("t{}", connection.next_id());
            let headers = [("transaction", transaction.as_str())];
            codec::encode(&mut out, "BEGIN", &headers, b"");
            for message in messages {
                send(&mut out, connection, message, ("transaction", &transaction))?;
            }
            let (id, receipt) = connection.receipt()?;
            let id = id.to_string();
            codec::encode(&mut out, "COMMIT", &[headers[0], ("receipt", &id)], b"");
            receipts.push(receipt);
        } else {
            for message in messages {
                let (id, receipt) = connection.receipt()?;
                send(&mut out, connection, message, ("receipt", &id.to_string()))?;
                receipts.push(receipt);
            }
        }
        Ok((out, receipts))
    }
}

async fn confirm(
    connection: &Connection,
    bytes: BytesMut,
    receipts: Vec<Receipt>,
) -> Result<(), Failure> {
    connection.write(|| bytes).await?;
    for receipt in receipts {
        connection.answer(receipt).await?;
    }
    Ok(())
}

/// Writes a SEND. Persistent, because a broker's default is not; with its length, because a NUL in a body would end the
/// frame; and as text, because a length alone would make it a BytesMessage.
fn send(
    out: &mut BytesMut,
    connection: &Connection,
    message: &Message,
    extra: (&str, &str),
) -> Result<(), Error> {
    codec::begin(out, "SEND");
    let destination = format!("/queue/{}", message.destination);
    let reply_to = format!("/queue/{}", message.reply_to);
    let mut fixed = vec![
        ("destination", destination.as_str()),
        ("persistent", "true"),
        ("amq-msg-type", "text"),
    ];
    let body = connection.encoding().bytes(&message.body);
    let length = body.len().to_string();
    fixed.push(("content-length", &length));
    let priority = message.priority.to_string();
    fixed.push(("priority", &priority));
    if !message.correlation_id.is_empty() {
        fixed.push(("correlation-id", &message.correlation_id));
    }
    if !message.reply_to.is_empty() {
        fixed.push(("reply-to", &reply_to));
    }
    if connection.is_rabbitmq() {
        fixed.push(RABBITMQ_QUEUE);
    }
    fixed.push(extra);
    let properties = message.properties.iter().map(|(n, v)| (*n, v.as_str()));
    for (name, value) in fixed.into_iter().chain(properties) {
        if codec::header(out, name, value) > HEADER_LINE_BYTES_MAX {
            return Err(Error::Unsendable(format!(
                "`{name}` is over {HEADER_LINE_BYTES_MAX} bytes; shorten it"
            )));
        }
    }
    codec::end(out, &body);
    Ok(())
}
