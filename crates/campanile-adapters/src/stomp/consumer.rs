//! Consuming: subscriptions that share one connection, apart from the publishers' (flow control stops those). Each
//! message is acknowledged by itself, outside any transaction (a transaction makes ActiveMQ quadratically slow here),
//! many of them in one write. NACK is never sent: it means the dead-letter queue to one broker and an endless loop to
//! another.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use campanile_core::limits;
use campanile_core::port::broker::{Consumer, Delivery, Error, destination_problem};
use campanile_core::system;
use tokio::sync::{Mutex, mpsc};

use super::codec;
use super::connection::{Arrived, Connection, RABBITMQ_QUEUE};
use super::dial::Dialer;
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
        if let Some(problem) = destination_problem(destination) {
            return Err(Error::Refused(problem.into()));
        }
        let prefetch = prefetch.clamp(1, limits::IN_FLIGHT_MAX);
        let connection = system::within(self.limit, self.connection()).await;
        let connection = connection.unwrap_or_else(|| Err(self.dialer.unreachable(self.limit)))?;
        let (id, arrivals) = connection.subscription(prefetch)?;
        let (receipt_id, receipt) = connection.receipt()?;
        // From here on a drop ends the subscription.
        let subscription = Subscription {
            connection: Arc::clone(&connection),
            id,
            arrivals,
            prefetch,
            unacknowledged: HashMap::new(),
            next_token: 0,
        };
        let mut frame = BytesMut::new();
        let (id, count) = (id.to_string(), prefetch.to_string());
        let name = destination;
        let (destination, receipt_id) = (format!("/queue/{destination}"), receipt_id.to_string());
        let mut headers = vec![
            ("id", id.as_str()),
            ("destination", destination.as_str()),
            ("ack", "client-individual"),
            ("activemq.prefetchSize", &count),
            ("prefetch-count", &count),
            ("receipt", &receipt_id),
        ];
        if connection.is_rabbitmq() {
            headers.push(RABBITMQ_QUEUE);
        }
        codec::encode(&mut frame, "SUBSCRIBE", &headers, b"");
        let queue = || std::iter::once(name);
        let subscribed = system::within(self.limit, async {
            let _alone = self.dialer.alone_with(&connection, queue()).await;
            connection.write(|| frame).await?;
            connection.answer(receipt).await?;
            if connection.is_rabbitmq() {
                self.dialer.are_made(queue());
            }
            Ok::<_, Failure>(())
        });
        match subscribed.await {
            Some(done) => done?,
            None => {
                connection.abandon("a subscription was not confirmed in time");
                return Err(Error::Unconfirmed(self.limit));
            }
        }
        Ok(subscription)
    }

    async fn connection(&self) -> Result<Arc<Connection>, Error> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = current.upgrade().filter(|c| c.failure().is_none()) {
            return Ok(connection);
        }
        let dialed = self.dialer.dial_within(self.limit).await?;
        tracing::info!(
            address = dialed.address,
            server = dialed.server,
            "consuming over {}",
            dialed.address
        );
        let connection = Arc::new(dialed.connection);
        *current = Arc::downgrade(&connection);
        Ok(connection)
    }
}

/// One consumer.
pub(super) struct Subscription {
    connection: Arc<Connection>,
    id: u64,
    arrivals: mpsc::Receiver<Arrived>,
    prefetch: usize,
    /// What the ACK of each token has to name.
    unacknowledged: HashMap<u64, String>,
    next_token: u64,
}

#[async_trait]
impl Consumer for Subscription {
    async fn receive(&mut self) -> Result<Vec<Delivery>, Error> {
        let mut arrived = Vec::new();
        // The one await: whatever it takes out is returned.
        let count = self.arrivals.recv_many(&mut arrived, self.prefetch).await;
        if let Some(failure) = self.connection.failure() {
            // What was read belongs to a connection that is gone: it comes again, and its ACK would be an error.
            return Err(failure.into());
        }
        if count == 0 {
            return Err(Error::Unreachable("the subscription has ended".into()));
        }
        let mut deliveries = Vec::with_capacity(count);
        for message in arrived {
            let token = self.next_token;
            self.next_token += 1;
            self.unacknowledged.insert(token, message.ack);
            deliveries.push(Delivery {
                body: message.body,
                signature: message.signature,
                redelivered: message.redelivered,
                token,
            });
        }
        Ok(deliveries)
    }

    async fn ack(&mut self, tokens: &[u64]) -> Result<(), Error> {
        let unacknowledged = &mut self.unacknowledged;
        let frames = || {
            let mut frames = BytesMut::new();
            for token in tokens {
                // A second ACK would be an error to the broker: an unknown token is done with already.
                if let Some(id) = unacknowledged.remove(token) {
                    codec::encode(&mut frames, "ACK", &[("id", &id)], b"");
                }
            }
            frames
        };
        Ok(self.connection.write(frames).await?)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.connection.unsubscribe(self.id);
    }
}
