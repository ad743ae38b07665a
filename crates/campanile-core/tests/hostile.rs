//! What somebody with access to the broker can send to workers: malformed, cut, oversized, deep, forged, signed for
//! something else, replayed and reordered messages, all against the production engine. Nothing starts that was not due,
//! nobody dies of it, each is counted, and the genuine messages behind them are taken.

use std::sync::atomic::{AtomicU64, Ordering};

use campanile_core::decide::publish::message::{Key, Secret};
use campanile_core::engine::Node;
use campanile_core::id::RunId;
use campanile_core::metrics::Metrics;
use campanile_core::port::broker::{Broker, Message};
use campanile_core::port::clock::Clock;
use campanile_core::port::edit::EditStore as _;

use campanile_core::run::State;
use campanile_core::task::QueueName;
use campanile_schedule::time::Timestamp;
use serde_json::json;

use crate::support::until;
use crate::world::World;

const REPLAYS: u64 = 10;

fn message(body: &str, signature: &str) -> Message {
    Message {
        destination: "campanile.default".to_owned(),
        body: body.to_owned(),
        correlation_id: String::new(),
        reply_to: String::new(),
        priority: 4,
        properties: vec![("campanile_sig", signature.to_owned())],
    }
}

fn envelope(run: RunId, attempt: u32) -> String {
    format!(r#"{{"v":1,"run":"{run}","attempt":{attempt},"queue":"default","payload":null}}"#)
}

/// The key of a queue of this world, as an external executor of that queue is given it.
async fn key(world: &World, queue: &str) -> Key {
    let secret = world.store.secret([0; 32]).await.unwrap();
    Secret::new(secret).queue_key(&QueueName::new(queue))
}

fn read(node: &Node, counter: fn(&Metrics) -> &AtomicU64) -> u64 {
    counter(&node.metrics()).load(Ordering::Relaxed)
}

/// A name, a body, a signature.
type Case = (&'static str, String, String);

/// Offers of a run that is not due, under no signature of theirs.
fn unsigned(run: RunId, own: &Key, other: &Key) -> Vec<Case> {
    let good = envelope(run, 1);
    let stranger = Secret::new([9; 32]).queue_key(&QueueName::default());
    let mut short = own.sign(&good);
    short.truncate(62);
    let cases = [
        ("empty", (String::new(), String::new())),
        ("no signature", (good.clone(), String::new())),
        ("a signature of nothing", (good.clone(), own.sign(""))),
        (
            "a signature that is no hex",
            (good.clone(), "zz".repeat(32)),
        ),
        ("a signature that is cut", (good.clone(), short)),
        (
            "another queue's signature",
            (good.clone(), other.sign(&good)),
        ),
        ("an unknown key", (good.clone(), stranger.sign(&good))),
        ("one byte more", (format!("{good} "), own.sign(&good))),
        ("another attempt", (envelope(run, 2), own.sign(&good))),
        (
            "bad UTF-8, as it is read",
            (good.replace("null", "\"\u{fffd}\""), own.sign(&good)),
        ),
    ];
    cases.map(|(name, (body, sig))| (name, body, sig)).into()
}

/// What somebody could send who has the queue's key, and what a worker still refuses.
fn signed(run: RunId, own: &Key) -> Vec<Case> {
    let good = envelope(run, 1);
    let signed = |body: String| {
        let signature = own.sign(&body);
        (body, signature)
    };
    let cut = |count: usize| good[..count].to_owned();
    let deep = |open: &str, count: usize| {
        let payload = open.repeat(count);
        good.replace("null", &payload)
    };
    let cases = [
        ("signed, and empty", signed(String::new())),
        ("signed, and cut early", signed(cut(1))),
        ("signed, and cut late", signed(cut(good.len() - 1))),
        (
            "signed, and no JSON",
            signed("\0\u{1b}[31m\r\nrun: 1".to_owned()),
        ),
        ("signed, and only depth", signed("[".repeat(500_000))),
        ("signed, with an open depth", signed(deep("[", 200_000))),
        (
            "signed, with objects in objects",
            signed(deep("{\"a\":", 50_000)),
        ),
        (
            "signed, from a newer scheduler",
            signed(good.replace("\"v\":1", "\"v\":2")),
        ),
        (
            "signed, without a version",
            signed(good.replace("\"v\":1,", "")),
        ),
        (
            "signed, with two versions",
            signed(good.replace("\"v\":1", "\"v\":1,\"v\":1")),
        ),
        (
            "signed, for another queue",
            signed(good.replace("default", "other")),
        ),
        (
            "signed, with a negative attempt",
            signed(good.replace("\"attempt\":1", "\"attempt\":-1")),
        ),
        (
            "signed, with a huge attempt",
            signed(good.replace("\"attempt\":1", "\"attempt\":1e99")),
        ),
        (
            "signed, with a run that is no id",
            signed(good.replace(&run.to_string(), "../../x")),
        ),
    ];
    cases.map(|(name, (body, sig))| (name, body, sig)).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_our_schedulers_starts_nothing_and_is_counted() {
    let world = World::new();
    let node = world.node("n1", |_| {}).await;
    let task = world
        .task(json!({"name": "r", "handler": {"native": "record"}}))
        .await;
    let later = world.submit(task, Timestamp::MAX).await;
    let (own, other) = (key(&world, "default").await, key(&world, "other").await);
    let cases = [unsigned(later, &own, &other), signed(later, &own)].concat();
    for (index, (name, body, signature)) in cases.iter().enumerate() {
        let sent = message(body, signature);
        world.broker.publish(&[sent]).await.unwrap();
        let counted = || read(&node, |m| &m.messages_refused) == index as u64 + 1;
        until(name, counted).await;
        assert_eq!(world.count(State::Scheduled), 1, "{name}");
    }
    assert!(world.starts.lock().unwrap().is_empty());
    // And all at once, before a genuine one: none stands in its way.
    let all: Vec<Message> = cases.iter().map(|(_, b, s)| message(b, s)).collect();
    world.broker.publish(&all).await.unwrap();
    world.submit(task, world.clock.now()).await;
    node.wake();
    until("the genuine run succeeded", || {
        world.count(State::Succeeded) == 1
    })
    .await;
    let twice = cases.len() as u64 * 2;
    until("all were refused", || {
        read(&node, |m| &m.messages_refused) == twice
    })
    .await;
    until("all were acknowledged", || {
        world.broker.is_empty("campanile.default")
    })
    .await;
    node.stop().await;
    world.assert_sound();
    assert_eq!(world.starts.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_and_reordered_messages_start_nothing_a_second_time() {
    let world = World::new();
    let node = world.node("n1", |_| {}).await;
    let retry = json!({"max_attempts": 2, "initial": "20ms", "max": "20ms"});
    let record = world
        .task(json!({"name": "r", "handler": {"native": "record"}}))
        .await;
    let fail = world
        .task(json!({"name": "f", "handler": {"native": "fail"}, "retry": retry}))
        .await;
    let hang = world
        .task(json!({"name": "h", "handler": {"native": "hang"}}))
        .await;
    let now = world.clock.now();
    let mut runs = Vec::new();
    for task in [record, record, fail, hang] {
        runs.push(world.submit(task, now).await);
    }
    node.wake();
    until("all were started", || {
        (world.count(State::Succeeded), world.count(State::Failed)) == (2, 1)
            && world.count(State::Running) == 1
    })
    .await;
    let started = world.starts.lock().unwrap().len();
    assert_eq!(started, 5);
    let key = key(&world, "default").await;
    // The attempts that were, that are and that will be, of runs that ended, that run, and that never were.
    let unknown = world.mint.runs(now, 1);
    let mut replays = Vec::new();
    for run in runs.iter().chain(&unknown).rev() {
        for attempt in [2, 0, 1, 3, u32::MAX] {
            let body = envelope(*run, attempt);
            replays.push(message(&body, &key.sign(&body)));
        }
    }
    let refused = read(&node, |m| &m.claims_refused);
    let sent = replays.len() as u64 * REPLAYS;
    for _ in 0..REPLAYS {
        world.broker.publish(&replays).await.unwrap();
        replays.rotate_left(7);
    }
    until("all were taken off the queue", || {
        world.broker.is_empty("campanile.default")
    })
    .await;
    assert_eq!(read(&node, |m| &m.messages_refused), 0);
    let lost = read(&node, |m| &m.claims_refused) - refused;
    // The same offer twice in one batch is one claim.
    assert!((1..=sent).contains(&lost), "{lost} of {sent}");
    assert_eq!(world.starts.lock().unwrap().len(), started);
    world.submit(record, world.clock.now()).await;
    node.wake();
    until("a genuine run succeeded", || {
        world.count(State::Succeeded) == 3
    })
    .await;
    world.gate.store(1, Ordering::SeqCst);
    until("the one that ran has ended", || {
        world.count(State::Succeeded) == 4
    })
    .await;
    node.stop().await;
    world.assert_sound();
    assert_eq!(world.starts.lock().unwrap().len(), started + 1);
}

#[test]
fn no_header_of_a_message_begins_another() {
    let clean = message("{}", "00ff");
    assert!(clean.check().is_ok());
    let texts = [
        "a\nb:c",
        "a\r\nb:c",
        "a\0",
        "\u{1b}[2J",
        "\u{202e}",
        "🦀",
        "é",
        "\u{7f}",
    ];
    for text in texts {
        let text = text.to_owned();
        let mut forged = [clean.clone(), clean.clone(), clean.clone(), clean.clone()];
        forged[0].properties.push(("campanile_task", text.clone()));
        forged[1].correlation_id = text.clone();
        forged[2].reply_to = text.clone();
        forged[3].destination = text.clone();
        for message in forged {
            assert!(message.check().is_err(), "{message:?}");
        }
    }
    for pattern in ["a,b", "a.>", "a.*", "a?consumer.prefetchSize=0", ""] {
        let mut elsewhere = clean.clone();
        elsewhere.destination = pattern.to_owned();
        assert!(elsewhere.check().is_err(), "{pattern}");
    }
}
