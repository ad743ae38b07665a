//! What `doctor` asks of the broker: whether it takes messages at the moment, and what our queues look like. It makes no
//! queue, and leaves no message: the one that it sends is for a queue that nobody has, and comes back.

use std::time::Duration;

use campanile_core::port::broker::Error;
use campanile_core::system::{self, Random};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation, ErrorKind};

use super::connection::Connection;
use super::{AmqpBroker, Probe};
use crate::brokers::Failure;

/// How long a healthy broker takes at most to give a message back.
const FLOW_LIMIT: Duration = Duration::from_secs(3);

/// What was found.
#[derive(Debug)]
pub struct Inspection {
    /// Who answered.
    pub probe: Probe,
    /// Whether it takes messages; not while its memory or its disk is short.
    pub takes_messages: bool,
    /// Those that were asked for, in their order; `None` for one that is not there.
    pub queues: Vec<Option<Queue>>,
}

/// A queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Messages that nobody holds.
    pub ready: u32,
    /// Who consumes it.
    pub consumers: u32,
    /// Whether it is a quorum queue.
    pub is_quorum: bool,
}

impl AmqpBroker {
    /// Looks at the broker and at these queues.
    ///
    /// # Errors
    /// As publishing would answer.
    pub async fn inspect(&self, queues: &[String]) -> Result<Inspection, Error> {
        let connection = self.dialer.dial_within(self.limit).await?;
        let takes_messages = system::within(FLOW_LIMIT, echo(&connection)).await;
        let looked = system::within(self.limit, async {
            let mut found = Vec::new();
            for name in queues {
                found.push(look(&connection, name).await?);
            }
            Ok::<_, Failure>(found)
        });
        let looked = looked.await.ok_or(Error::Unconfirmed(self.limit))?;
        Ok(Inspection {
            takes_messages: takes_messages.transpose()?.is_some(),
            queues: looked?,
            probe: self.who(&connection),
        })
    }
}

/// Sends a message that can't be stored, and waits for it.
async fn echo(connection: &Connection) -> Result<(), Failure> {
    let channel = connection.channel().await?;
    let failed = |error: lapin::Error| connection.failure(&error);
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .map_err(failed)?;
    let nowhere = format!("campanile.doctor.{:016x}", Random::from_system().next());
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let sent = channel.basic_publish(
        "".into(),
        nowhere.into(),
        options,
        b"",
        BasicProperties::default(),
    );
    let answer = sent.await.map_err(failed)?.await.map_err(failed)?;
    match answer {
        Confirmation::Ack(Some(_)) | Confirmation::Nack(_) => Ok(()),
        Confirmation::Ack(None) | Confirmation::NotRequested => Err(Failure::refused(
            &connection.address,
            "it does not give back a message that no queue takes: is there something else between us and RabbitMQ?",
        )),
    }
}

async fn look(connection: &Connection, name: &str) -> Result<Option<Queue>, Failure> {
    let Some(depth) = connection.depth(name).await? else {
        return Ok(None);
    };
    // The broker tells a queue's kind only by refusing another.
    let channel = connection.channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let asked = channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments);
    let is_quorum = match asked.await {
        Ok(_) => true,
        Err(error) => match error.kind() {
            ErrorKind::ProtocolError(said) if said.get_id() == 406 => !["x-queue-type", "durable"]
                .iter()
                .any(|what| said.get_message().as_str().contains(what)),
            _ => return Err(connection.failure(&error)),
        },
    };
    Ok(Some(Queue {
        ready: depth.ready,
        consumers: depth.consumers,
        is_quorum,
    }))
}
