//! What strangers with the right to write put into our queues, by a client that keeps to none of our limits: it costs
//! neither the connection nor the memory of the worker, and the message behind it arrives.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, ConnectionProperties};

use super::*;

const HUGE_BYTES: usize = 48 * 1024 * 1024;
/// What the process may grow by while it reads two of them.
const GROWTH_KIB_MAX: u64 = 32 * 1024;

/// How long a process of its own may take for one test.
const ALONE: std::time::Duration = std::time::Duration::from_secs(120);

/// Memory that the process has, in KiB.
fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub async fn stranger(url: &str) -> (lapin::Connection, Channel) {
    let connection = lapin::Connection::connect(url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let select = channel.confirm_select(ConfirmSelectOptions::default());
    select.await.unwrap();
    (connection, channel)
}

async fn put(channel: &Channel, queue: &str, body: &[u8], headers: Option<FieldTable>) {
    let mut properties = BasicProperties::default();
    if let Some(headers) = headers {
        properties = properties.with_headers(headers);
    }
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), queue.into(), options, body, properties);
    assert!(sent.await.unwrap().await.unwrap().is_ack());
}

fn header(name: &str, value: AMQPValue) -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert(name.into(), value);
    headers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_strangers_write_is_cut_to_our_limits_and_does_not_stand_in_the_way() {
    let Some(server) = shared() else { return };
    // The memory is that of the whole process, in which other tests have their own bodies.
    let test =
        "amqp::hostile::what_strangers_write_is_cut_to_our_limits_and_does_not_stand_in_the_way";
    if !xtask::is_alone(test, ALONE) {
        return;
    }
    let queue = prefix();
    let broker = connect(&server.url());
    publish_at_last(&*broker, &[message(&queue, "first")]).await;
    let (connection, channel) = stranger(&server.url()).await;
    let huge = vec![b'['; HUGE_BYTES];
    let signed = || header("campanile_sig", AMQPValue::LongString("s".into()));
    put(&channel, &queue, &huge, Some(signed())).await;
    put(&channel, &queue, &huge, None).await;
    drop(huge);
    let noise = AMQPValue::LongString(vec![0xff, 0xfe].into());
    put(
        &channel,
        &queue,
        &[0xff, 0xed, 0xa0],
        Some(header("campanile_sig", noise)),
    )
    .await;
    let number = AMQPValue::LongLongInt(7);
    put(
        &channel,
        &queue,
        b"n",
        Some(header("campanile_sig", number)),
    )
    .await;
    let mut many = FieldTable::default();
    for n in 0..900 {
        many.insert(format!("h{n}").into(), AMQPValue::LongString("v".into()));
    }
    put(&channel, &queue, b"many", Some(many)).await;
    put(&channel, &queue, b"good", Some(signed())).await;
    let mut consumer = broker.consume(&queue, 100).await.unwrap();
    let before = memory_kib();
    let mut got = Vec::new();
    while got.len() < 7 {
        let deliveries = receive(&mut *consumer).await;
        acknowledge(&mut *consumer, &deliveries).await;
        got.extend(deliveries);
    }
    let grown = memory_kib().saturating_sub(before);
    let seen: Vec<(&str, &str)> = got
        .iter()
        .map(|d| (d.body.as_str(), d.signature.as_str()))
        .collect();
    let noise = ("\u{fffd}\u{fffd}\u{fffd}", "\u{fffd}\u{fffd}");
    assert_eq!(
        seen,
        [
            ("first", "sig"),
            ("", "s"),
            ("", ""),
            noise,
            ("n", ""),
            ("many", ""),
            ("good", "s")
        ]
    );
    assert_eq!(broker.faults().messages_cut, 2);
    assert_eq!(broker.faults().connections_broken, 0);
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB for 96 MiB");
    drop(channel);
    drop(connection);
}
