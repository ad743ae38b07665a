//! RabbitMQ's abilities, over AMQP 0-9-1 and over its STOMP plugin, on a node that is set up by our sample.

use std::path::Path;
use std::process::Command;

use async_trait::async_trait;
use campanile_adapters::amqp::{self, Options};
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    BasicRejectOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use xtask::servers::{RabbitMq, RabbitMqOptions};

use super::*;

const PASSWORD: &str = "only-for-this-test-7f3a";

pub fn sample(name: &str) -> std::path::PathBuf {
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");
    Path::new(deploy).join(name)
}

/// A node with our sample's settings, users and rights; `legacy.DLQ.mail` takes what `legacy.mail` gives up.
fn start() -> Option<RabbitMq> {
    let text = |name: &str| std::fs::read_to_string(sample(name)).unwrap();
    let server = xtask::or_skip(RabbitMq::start_with(RabbitMqOptions {
        config: Some(text("rabbitmq/rabbitmq.conf")),
        advanced: Some(text("rabbitmq/advanced.config")),
        ..RabbitMqOptions::default()
    }))?;
    let mut setup = Command::new("sh");
    setup.arg(sample("rabbitmq/setup.sh"));
    setup.env("CAMPANILE_PASSWORD", PASSWORD);
    setup.env("LISTENERS_PASSWORD", PASSWORD);
    let done = server.beside(&mut setup).output().unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    Some(server)
}

fn url(server: &RabbitMq, options: &str) -> String {
    let port = server.amqp_port();
    format!("amqp://campanile:{PASSWORD}@127.0.0.1:{port}{options}")
}

struct Amqp {
    connection: Connection,
    kind: Option<&'static str>,
}

impl Amqp {
    async fn channel(&self) -> Channel {
        self.connection.create_channel().await.unwrap()
    }

    async fn queue(&self, name: &str, more: &[(&str, AMQPValue)]) -> Channel {
        let channel = self.channel().await;
        let mut arguments = FieldTable::default();
        if let Some(kind) = self.kind {
            arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
        }
        for (key, value) in more {
            arguments.insert((*key).into(), value.clone());
        }
        let made = channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments);
        made.await.unwrap();
        let select = channel.confirm_select(ConfirmSelectOptions::default());
        select.await.unwrap();
        channel
    }

    async fn put(&self, channel: &Channel, queue: &str, body: &str, n: &str) {
        let mut headers = FieldTable::default();
        headers.insert("n".into(), AMQPValue::LongString(n.into()));
        let properties = BasicProperties::default().with_headers(headers);
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish(
            "".into(),
            queue.into(),
            options,
            body.as_bytes(),
            properties,
        );
        sent.await.unwrap().await.unwrap();
    }

    /// Takes and acknowledges everything that is there.
    async fn drain(&self, queue: &str) -> Vec<String> {
        let channel = self.channel().await;
        let mut got = Vec::new();
        let get = || channel.basic_get(queue.into(), BasicGetOptions { no_ack: true });
        while let Some(message) = get().await.unwrap() {
            got.push(String::from_utf8_lossy(&message.delivery.data).into_owned());
        }
        got
    }
}

#[async_trait]
impl Trials for Amqp {
    async fn selectors(&self) -> bool {
        let queue = prefix();
        let channel = self.queue(&queue, &[]).await;
        self.put(&channel, &queue, "one", "1").await;
        self.put(&channel, &queue, "two", "2").await;
        let mut arguments = FieldTable::default();
        let selector = AMQPValue::LongString("n = '2'".into());
        arguments.insert("selector".into(), selector);
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue.as_str().into(), "".into(), options, arguments);
        let first = consumer.await.unwrap().next().await.unwrap().unwrap();
        first.data == b"two"
    }

    async fn own_dead_letters(&self) -> bool {
        self.queue("legacy.DLQ.mail", &[]).await;
        let channel = self.queue("legacy.mail", &[]).await;
        self.put(&channel, "legacy.mail", "given up", "1").await;
        let options = BasicGetOptions::default();
        let got = channel
            .basic_get("legacy.mail".into(), options)
            .await
            .unwrap()
            .unwrap();
        got.reject(BasicRejectOptions { requeue: false })
            .await
            .unwrap();
        let dead = self.queue("legacy.DLQ.mail", &[]).await;
        let mut consumer = dead
            .basic_consume(
                "legacy.DLQ.mail".into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();
        let letter = consumer.next().await.unwrap().unwrap();
        letter.ack(BasicAckOptions::default()).await.unwrap();
        letter.data == b"given up"
    }

    async fn delayed_redelivery(&self) -> bool {
        let queue = prefix();
        let channel = self.queue(&queue, &[]).await;
        self.put(&channel, &queue, "given back", "1").await;
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(
            queue.as_str().into(),
            "".into(),
            options,
            FieldTable::default(),
        );
        let mut consumer = consumer.await.unwrap();
        let first = consumer.next().await.unwrap().unwrap();
        let back = BasicNackOptions {
            requeue: true,
            ..BasicNackOptions::default()
        };
        first.nack(back).await.unwrap();
        self.put(&channel, &queue, "later", "2").await;
        consumer.next().await.unwrap().unwrap().data == b"later"
    }

    async fn transactions(&self) -> bool {
        let (queue, full) = (prefix(), prefix());
        self.queue(&queue, &[]).await;
        let limits = [
            ("x-max-length", AMQPValue::LongInt(1)),
            ("x-overflow", AMQPValue::LongString("reject-publish".into())),
        ];
        let filling = self.queue(&full, &limits).await;
        for n in 0..5 {
            self.put(&filling, &full, &n.to_string(), "1").await;
        }
        let channel = self.channel().await;
        channel.tx_select().await.unwrap();
        for to in [&queue, &full] {
            let options = BasicPublishOptions::default();
            let properties = BasicProperties::default();
            let sent =
                channel.basic_publish("".into(), to.as_str().into(), options, b"set", properties);
            sent.await.unwrap();
        }
        let committed = channel.tx_commit().await.is_ok();
        let (first, second) = (self.drain(&queue).await, self.drain(&full).await);
        let seen = [first, second].map(|bodies| bodies.contains(&"set".to_owned()));
        assert!(committed || seen != [true, true], "refused and stored");
        seen[0] == seen[1]
    }

    async fn visible_consumers(&self) -> bool {
        let queue = prefix();
        let channel = self.queue(&queue, &[]).await;
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(
            queue.as_str().into(),
            "".into(),
            options,
            FieldTable::default(),
        );
        let _consumer = consumer.await.unwrap();
        let asked = self.channel().await;
        let passive = QueueDeclareOptions::durable().passive();
        let found = asked.queue_declare(queue.as_str().into(), passive, FieldTable::default());
        found.await.unwrap().consumer_count() == 1
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_does_what_is_claimed_with_either_kind_of_queue() {
    let Some(server) = tokio::task::block_in_place(start) else {
        return;
    };
    let (at, properties) = (url(&server, ""), ConnectionProperties::default());
    let connection = Connection::connect(&at, properties);
    let mut trials = Amqp {
        connection: connection.await.unwrap(),
        kind: Some("quorum"),
    };
    for (options, capabilities, kind) in [
        ("", Capabilities::RABBITMQ_QUORUM, Some("quorum")),
        ("?queues=classic", Capabilities::RABBITMQ_CLASSIC, None),
    ] {
        if kind.is_none() {
            // The two queues of the dead letters are of the other kind still.
            for queue in ["legacy.mail", "legacy.DLQ.mail"] {
                let channel = trials.channel().await;
                let gone = channel
                    .queue_delete(queue.into(), lapin::options::QueueDeleteOptions::default());
                gone.await.unwrap();
            }
        }
        trials.kind = kind;
        let broker = amqp::connect(&url(&server, options), Options::default()).unwrap();
        tried(capabilities, broker, &trials).await;
    }
}

/// The same node over STOMP; what STOMP can't do to it, AMQP does.
struct OverStomp {
    way: super::stomp::Way,
    beside: Amqp,
}

#[async_trait]
impl Trials for OverStomp {
    async fn selectors(&self) -> bool {
        self.way.chooses().await
    }

    async fn own_dead_letters(&self) -> bool {
        self.way.gives_up_to("legacy.mail", "legacy.DLQ.mail").await
    }

    async fn delayed_redelivery(&self) -> bool {
        self.way.delays().await
    }

    async fn transactions(&self) -> bool {
        let (queue, full) = (prefix(), prefix());
        self.beside.queue(&queue, &[]).await;
        let limits = [
            ("x-max-length", AMQPValue::LongInt(1)),
            ("x-overflow", AMQPValue::LongString("reject-publish".into())),
        ];
        let filling = self.beside.queue(&full, &limits).await;
        for n in 0..5 {
            self.beside.put(&filling, &full, &n.to_string(), "1").await;
        }
        let mut raw = self.way.raw().await;
        raw.send("BEGIN", &[("transaction", "t")], "").await;
        for to in [&queue, &full] {
            // As it is, whatever it was made with.
            let destination = format!("/amq/queue/{to}");
            let headers = [("destination", destination.as_str()), ("transaction", "t")];
            raw.send("SEND", &headers, "set").await;
        }
        raw.sure("COMMIT", &[("transaction", "t")], "").await;
        let first = self.beside.drain(&queue).await.contains(&"set".to_owned());
        let second = self.beside.drain(&full).await.contains(&"set".to_owned());
        first == second
    }

    async fn visible_consumers(&self) -> bool {
        let mut raw = self.way.raw().await;
        raw.sure("CONSUMERS", &[("destination", "/queue/x")], "")
            .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_does_what_is_claimed_over_stomp() {
    let Some(server) = tokio::task::block_in_place(start) else {
        return;
    };
    let (at, properties) = (url(&server, ""), ConnectionProperties::default());
    let connection = Connection::connect(&at, properties);
    let trials = OverStomp {
        way: super::stomp::Way {
            port: server.stomp_port(),
            login: vec![
                ("host", "/".to_owned()),
                ("login", "campanile".to_owned()),
                ("passcode", PASSWORD.to_owned()),
            ],
            extra: vec![("x-queue-type", "quorum")],
        },
        beside: Amqp {
            connection: connection.await.unwrap(),
            kind: Some("quorum"),
        },
    };
    let port = server.stomp_port();
    let url = format!("stomp://campanile:{PASSWORD}@127.0.0.1:{port}?vhost=/");
    let broker =
        campanile_adapters::stomp::connect(&url, campanile_adapters::stomp::Options::default());
    let broker = broker.unwrap();
    let probe = broker.probe().await.unwrap();
    assert_eq!(probe.capabilities(), Some(Capabilities::RABBITMQ_STOMP));
    tried(Capabilities::RABBITMQ_STOMP, broker, &trials).await;
}
