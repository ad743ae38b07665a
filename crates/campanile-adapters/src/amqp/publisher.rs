//! Publishing: a batch has a channel for itself, goes out whole, and is done when the broker has confirmed each message
//! of it, and returned none. It never sends a batch twice: on any doubt its caller does, later, and claims refuse the
//! duplicates.
//!
//! The channel is the batch's own because a message that no queue took comes back without saying which send it belongs
//! to: on a shared channel one batch would be told of another's loss.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use campanile_core::limits;
use campanile_core::port::broker::{Error, Message};
use campanile_core::system;
use futures_util::future::{join_all, try_join_all};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{Mutex, Semaphore};

use super::connection::{Connection, Dialer};
use super::queues::destination_problem;
use super::wire::FRAME_BYTES_MAX;
use crate::brokers::Failure;

/// Batches under way at once; more wait.
const CHANNELS_MAX: usize = 2 * limits::PUBLISHES_MAX;
/// What a header frame holds beside our own properties.
const FRAME_BYTES_SPARE: usize = 1_024;
/// What AMQP calls a short string: names, correlation ids.
const SHORT_BYTES_MAX: usize = 255;
/// Stored on disk before it is confirmed.
const PERSISTENT: u8 = 2;

/// Publishes over one connection, with a channel for each batch under way.
pub(super) struct Publisher {
    dialer: Arc<Dialer>,
    current: Mutex<Option<Arc<Line>>>,
    room: Semaphore,
    limit: Duration,
}

/// A connection and the channels on it that nobody uses at the moment.
struct Line {
    connection: Connection,
    idle: std::sync::Mutex<Vec<Channel>>,
}

impl Publisher {
    pub(super) fn new(dialer: Arc<Dialer>, limit: Duration) -> Self {
        Self {
            dialer,
            current: Mutex::new(None),
            room: Semaphore::new(CHANNELS_MAX),
            limit,
        }
    }

    pub(super) async fn publish(&self, messages: &[Message]) -> Result<(), Error> {
        for message in messages {
            check(message)?;
        }
        if messages.is_empty() {
            return Ok(());
        }
        let line = system::within(self.limit, self.line()).await;
        let line = line.unwrap_or_else(|| Err(self.dialer.unreachable(self.limit)))?;
        let confirmed = system::within(self.limit, async {
            let Ok(_room) = self.room.acquire().await else {
                return Err(Failure::lost(&line.connection.address, "it was closed"));
            };
            line.send(messages).await
        });
        match confirmed.await {
            Some(Ok(())) => Ok(()),
            Some(Err(failure)) => {
                if let Failure::Lost { why, .. } = &failure {
                    line.connection.abandon(why);
                }
                Err(failure.into())
            }
            None => {
                // Nobody knows what the broker did with what was sent: all who use this connection begin again.
                line.connection.abandon("a confirm did not come in time");
                Err(Error::Unconfirmed(self.limit))
            }
        }
    }

    /// The connection, or a new one.
    async fn line(&self) -> Result<Arc<Line>, Error> {
        let mut current = self.current.lock().await;
        if let Some(line) = current.as_ref().filter(|l| !l.connection.is_over()) {
            return Ok(Arc::clone(line));
        }
        *current = None;
        let connection = self.dialer.dial_within(self.limit).await?;
        tracing::info!(
            address = connection.address,
            server = connection.server,
            "publishing over {}",
            connection.address
        );
        let line = Arc::new(Line {
            connection,
            idle: std::sync::Mutex::default(),
        });
        *current = Some(Arc::clone(&line));
        Ok(line)
    }
}

impl Line {
    async fn send(&self, messages: &[Message]) -> Result<(), Failure> {
        let queues: BTreeSet<&str> = messages.iter().map(|m| m.destination.as_str()).collect();
        for queue in queues {
            self.connection.ensure(queue).await?;
        }
        let channel = self.channel().await?;
        let failed = |error: lapin::Error| self.connection.failure(&error);
        // All are on their way before the first confirm is waited for.
        let sent = messages.iter().map(|m| basic_publish(&channel, m));
        let confirms = try_join_all(sent).await.map_err(failed)?;
        for answer in join_all(confirms).await {
            // RabbitMQ remembers for each channel where a queue's leader was: one that met a dead leader would refuse for
            // ever, so it is not used again.
            self.judge(answer.map_err(failed)?)?;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(channel);
        Ok(())
    }

    async fn channel(&self) -> Result<Channel, Failure> {
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|channel| channel.status().connected());
            idle.pop()
        };
        if let Some(channel) = idle {
            return Ok(channel);
        }
        let channel = self.connection.channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .map_err(|error| self.connection.failure(&error))?;
        Ok(channel)
    }

    /// Whether a message is stored. One that no queue took is confirmed, too, and comes back.
    fn judge(&self, answer: Confirmation) -> Result<(), Failure> {
        let address = &self.connection.address;
        match answer {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
                let queue = returned.routing_key.as_str();
                self.connection.forget(queue);
                let words =
                    format!("queue `{queue}` is gone; it is made again at the next attempt");
                Err(Failure::refused(address, words))
            }
            Confirmation::Nack(None) => {
                let words =
                    "it did not store a message: its queue is full, or has no leader at the moment";
                Err(Failure::refused(address, words))
            }
            Confirmation::NotRequested => Err(Failure::lost(address, "it confirms nothing")),
        }
    }
}

async fn basic_publish(
    channel: &Channel,
    message: &Message,
) -> lapin::Result<lapin::PublisherConfirm> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    channel
        .basic_publish(
            "".into(),
            message.destination.as_str().into(),
            options,
            message.body.as_bytes(),
            properties(message),
        )
        .await
}

fn properties(message: &Message) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in &message.properties {
        let value = AMQPValue::LongString(value.as_str().into());
        headers.insert((*name).into(), value);
    }
    let mut properties = BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_content_encoding("UTF-8".into())
        .with_delivery_mode(PERSISTENT)
        .with_priority(message.priority)
        .with_headers(headers);
    if !message.correlation_id.is_empty() {
        properties = properties.with_correlation_id(message.correlation_id.as_str().into());
    }
    if !message.reply_to.is_empty() {
        properties = properties.with_reply_to(message.reply_to.as_str().into());
    }
    properties
}

/// What AMQP can't carry is refused before anything is sent.
fn check(message: &Message) -> Result<(), Error> {
    message.check()?;
    let unsendable = |what: String| Err(Error::Unsendable(what));
    if let Some(problem) = destination_problem(&message.destination) {
        return unsendable(problem.to_owned());
    }
    let short = [
        ("correlation id", &message.correlation_id),
        ("reply-to", &message.reply_to),
    ];
    if let Some((name, _)) = short.iter().find(|(_, v)| v.len() > SHORT_BYTES_MAX) {
        return unsendable(format!(
            "its {name} is over {SHORT_BYTES_MAX} bytes, which AMQP 0-9-1 can't carry; shorten it"
        ));
    }
    if let Some((name, _)) = message
        .properties
        .iter()
        .find(|(n, _)| n.len() > SHORT_BYTES_MAX)
    {
        return unsendable(format!(
            "the name of its property `{name}` is over {SHORT_BYTES_MAX} bytes"
        ));
    }
    let size = |(name, value): &(&str, String)| name.len() + value.len() + 6;
    let headers: usize = message.properties.iter().map(size).sum();
    let max = FRAME_BYTES_MAX as usize - FRAME_BYTES_SPARE;
    if headers > max {
        return unsendable(format!(
            "its properties have {headers} bytes together, {max} are allowed; shorten them"
        ));
    }
    Ok(())
}
