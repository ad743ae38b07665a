//! Consuming: each subscription has a channel of its own, so that its prefetch is counted by itself, on a connection that
//! all consumers share, apart from the publishers' (flow control stops those). What has arrived in order and is done with
//! is acknowledged by one frame. A message is never given back by NACK: dropping the channel does that.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use campanile_core::limits;
use campanile_core::port::broker::{Consumer, Delivery, Error, destination_problem};
use campanile_core::system;
use futures_util::future::try_join_all;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use tokio::sync::Mutex;

use super::connection::{Connection, Dialer};
use super::queues;
use crate::brokers::Failure;

/// The connection that all consumers share, for as long as there is one.
pub(super) struct Hub {
    dialer: Arc<Dialer>,
    connection: Mutex<Weak<Connection>>,
    limit: Duration,
}

impl Hub {
    pub(super) fn new(dialer: Arc<Dialer>, limit: Duration) -> Self {
        Self {
            dialer,
            connection: Mutex::new(Weak::new()),
            limit,
        }
    }

    pub(super) async fn consume(
        &self,
        destination: &str,
        prefetch: usize,
    ) -> Result<Subscription, Error> {
        let problem =
            destination_problem(destination).or_else(|| queues::destination_problem(destination));
        if let Some(problem) = problem {
            return Err(Error::Refused(problem.into()));
        }
        let prefetch = prefetch.clamp(1, limits::IN_FLIGHT_MAX);
        let connection = system::within(self.limit, self.connection()).await;
        let connection = connection.unwrap_or_else(|| Err(self.dialer.unreachable(self.limit)))?;
        let begun = begin(&connection, destination, prefetch);
        match system::within(self.limit, begun).await {
            Some(Ok((channel, stream))) => Ok(Subscription {
                connection,
                channel,
                stream,
                prefetch,
                unacknowledged: BTreeSet::new(),
                end: None,
            }),
            Some(Err(failure)) => {
                connection.forget(destination);
                Err(failure.into())
            }
            None => {
                connection.abandon("a subscription was not confirmed in time");
                Err(Error::Unconfirmed(self.limit))
            }
        }
    }

    async fn connection(&self) -> Result<Arc<Connection>, Error> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = current.upgrade().filter(|c| !c.is_over()) {
            return Ok(connection);
        }
        let connection = self.dialer.dial_within(self.limit).await?;
        tracing::info!(
            address = connection.address,
            server = connection.server,
            "consuming over {}",
            connection.address
        );
        let connection = Arc::new(connection);
        *current = Arc::downgrade(&connection);
        Ok(connection)
    }
}

async fn begin(
    connection: &Connection,
    queue: &str,
    prefetch: usize,
) -> Result<(Channel, lapin::Consumer), Failure> {
    connection.ensure(queue).await?;
    let channel = connection.channel().await?;
    let failed = |error: lapin::Error| connection.failure(&error);
    let count = u16::try_from(prefetch).unwrap_or(u16::MAX);
    channel
        .basic_qos(count, BasicQosOptions::default())
        .await
        .map_err(failed)?;
    let stream = channel
        .basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(failed)?;
    Ok((channel, stream))
}

/// One consumer. Dropping it closes its channel, and what it had not acknowledged goes to others.
pub(super) struct Subscription {
    connection: Arc<Connection>,
    channel: Channel,
    stream: lapin::Consumer,
    prefetch: usize,
    /// Delivery tags, which are the tokens.
    unacknowledged: BTreeSet<u64>,
    /// Why nothing comes any more, if that is known.
    end: Option<Failure>,
}

impl Subscription {
    fn take(&mut self, arrived: lapin::message::Delivery) -> Delivery {
        let token = arrived.delivery_tag;
        self.unacknowledged.insert(token);
        let body = String::from_utf8(arrived.data)
            .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        Delivery {
            body,
            signature: signature(arrived.properties.headers().as_ref()),
            redelivered: arrived.redelivered,
            token,
        }
    }

    fn ended(&mut self, last: Option<lapin::Error>) -> Error {
        let failure = match (self.end.take(), last) {
            (Some(known), _) => known,
            (None, Some(error)) => self.connection.failure(&error),
            (None, None) => Failure::lost(
                &self.connection.address,
                "it ended the subscription: the queue was deleted, or its node is gone",
            ),
        };
        failure.into()
    }
}

fn signature(headers: Option<&FieldTable>) -> String {
    let value = headers.and_then(|h| h.inner().get("campanile_sig"));
    match value {
        Some(AMQPValue::LongString(text)) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        Some(AMQPValue::ShortString(text)) => text.as_str().to_owned(),
        _ => String::new(),
    }
}

#[async_trait]
impl Consumer for Subscription {
    async fn receive(&mut self) -> Result<Vec<Delivery>, Error> {
        // The one await: whatever it takes out is returned.
        let first = match self.stream.next().await {
            Some(Ok(first)) => first,
            Some(Err(error)) => return Err(self.ended(Some(error))),
            None => return Err(self.ended(None)),
        };
        let mut deliveries = vec![self.take(first)];
        while deliveries.len() < self.prefetch {
            match self.stream.next().now_or_never() {
                Some(Some(Ok(next))) => deliveries.push(self.take(next)),
                Some(Some(Err(error))) => {
                    // It comes to light when what came before is worked off.
                    self.end = Some(self.connection.failure(&error));
                    break;
                }
                Some(None) | None => break,
            }
        }
        Ok(deliveries)
    }

    async fn ack(&mut self, tokens: &[u64]) -> Result<(), Error> {
        // A second acknowledgement would be an error to the broker: an unknown token is done with already.
        let done: Vec<u64> = tokens
            .iter()
            .copied()
            .filter(|token| self.unacknowledged.remove(token))
            .collect();
        let open = self.unacknowledged.first().copied().unwrap_or(u64::MAX);
        let up_to = done.iter().copied().filter(|token| *token < open).max();
        let single = done.iter().copied().filter(|token| *token > open);
        let frames = up_to
            .map(|token| (token, true))
            .into_iter()
            .chain(single.map(|token| (token, false)));
        let sent = frames.map(|(token, multiple)| {
            let channel = &self.channel;
            async move { channel.basic_ack(token, BasicAckOptions { multiple }).await }
        });
        try_join_all(sent)
            .await
            .map_err(|error| Error::from(self.connection.failure(&error)))?;
        Ok(())
    }
}
