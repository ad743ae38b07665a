//! The queues: looked for before anything is sent to them or taken from them, and made only where there is none, so that
//! one that somebody made otherwise is used as it is. Never deleted, never changed.

use std::sync::PoisonError;

use lapin::options::QueueDeclareOptions;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{ErrorKind, Queue};

use super::Queues;
use super::connection::Connection;
use crate::brokers::Failure;

/// Queues that are remembered as there; a program that has more looks again.
const KNOWN_MAX: usize = 10_000;
/// How many priorities a classic queue tells apart: 0 to 9.
const PRIORITY_MAX: u8 = 9;

/// How full a queue is, and who consumes it.
pub(super) struct Depth {
    pub(super) ready: u32,
    pub(super) consumers: u32,
}

impl Connection {
    /// Sees that a queue is there.
    pub(super) async fn ensure(&self, name: &str) -> Result<(), Failure> {
        if self.is_known(name) {
            return Ok(());
        }
        let _alone = self.making.lock().await;
        if self.is_known(name) {
            return Ok(());
        }
        if self.look(name).await?.is_none() {
            self.make(name).await?;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(name.to_owned());
        Ok(())
    }

    fn is_known(&self, name: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(name)
    }

    /// It may be gone.
    pub(super) fn forget(&self, name: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(name);
    }

    /// What a queue looks like, if it is there.
    pub(super) async fn depth(&self, name: &str) -> Result<Option<Depth>, Failure> {
        let found = self.look(name).await?;
        Ok(found.map(|queue| Depth {
            ready: queue.message_count(),
            consumers: queue.consumer_count(),
        }))
    }

    /// On a channel of its own: the broker closes it when there is no such queue.
    async fn look(&self, name: &str) -> Result<Option<Queue>, Failure> {
        let channel = self.channel().await?;
        let passive = QueueDeclareOptions::durable().passive();
        let declared = channel.queue_declare(name.into(), passive, FieldTable::default());
        match declared.await {
            Ok(queue) => Ok(Some(queue)),
            Err(error) if is_soft(&error, &AMQPSoftError::NOTFOUND) => Ok(None),
            Err(error) => Err(self.failure(&error)),
        }
    }

    async fn make(&self, name: &str) -> Result<(), Failure> {
        let mut arguments = FieldTable::default();
        match self.queues {
            Queues::Quorum => {
                let kind = AMQPValue::LongString("quorum".into());
                arguments.insert("x-queue-type".into(), kind);
            }
            Queues::Classic => {
                let max = AMQPValue::ShortShortUInt(PRIORITY_MAX);
                arguments.insert("x-max-priority".into(), max);
            }
        }
        let channel = self.channel().await?;
        let made = channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments);
        match made.await {
            Ok(_) => {
                tracing::info!(queue = name, "queue `{name}` is made");
                Ok(())
            }
            // Another node was faster.
            Err(error) if is_soft(&error, &AMQPSoftError::PRECONDITIONFAILED) => {
                match self.look(name).await? {
                    Some(_) => Ok(()),
                    None => Err(self.unmade(name, &error)),
                }
            }
            Err(error) => Err(self.unmade(name, &error)),
        }
    }

    fn unmade(&self, name: &str, error: &lapin::Error) -> Failure {
        match self.failure(error) {
            Failure::Refused { address, words } => Failure::Refused {
                address,
                words: format!(
                    "queue `{name}` can't be made: {words}; make it yourself, or, where the broker has no quorum queues, \
                     add ?queues=classic to the setting `broker`"
                ),
            },
            lost @ Failure::Lost { .. } => lost,
        }
    }
}

fn is_soft(error: &lapin::Error, wanted: &AMQPSoftError) -> bool {
    let ErrorKind::ProtocolError(said) = error.kind() else {
        return false;
    };
    matches!(said.kind(), AMQPErrorKind::Soft(kind) if kind == wanted)
}

/// What is wrong with a queue's name for AMQP, which any other broker may allow.
pub(super) fn destination_problem(name: &str) -> Option<&'static str> {
    if name.len() > 255 {
        return Some(
            "the queue's name is over 255 bytes, which AMQP 0-9-1 can't carry; shorten it",
        );
    }
    if name.starts_with("amq.") {
        return Some(
            "the queue's name begins with `amq.`, which the broker keeps to itself; choose another",
        );
    }
    None
}
