//! What every broker must do, one function for each behaviour. `conformance::broker!(factory)` makes a test of each;
//! the factory gives a [`Fixture`], or `None` where the broker can't run (it records that itself).
#![expect(clippy::expect_used, reason = "tests: a panic is their verdict")]

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use campanile_core::limits;
use campanile_core::port::broker::{Broker, Consumer, Delivery, Error, Message};
use campanile_core::system;

/// How long anything may take that must happen.
const SOON: Duration = Duration::from_secs(20);
/// How long to look for what must not happen.
const QUIET: Duration = Duration::from_millis(400);

/// A broker to be tried.
pub struct Fixture {
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// Begins the name of every queue that the test uses; no other test has the same.
    pub prefix: String,
    /// Whether what waits is delivered by priority. Brokers may promise that or not.
    pub by_priority: bool,
    /// What has to live as long as the broker is used.
    pub keep: Box<dyn Any + Send + Sync>,
}

impl Fixture {
    fn queue(&self) -> String {
        format!("{}.q", self.prefix)
    }

    async fn consumer(&self, prefetch: usize) -> Box<dyn Consumer> {
        let consumer = self.broker.consume(&self.queue(), prefetch).await;
        consumer.expect("the broker takes a consumer")
    }

    async fn publish(&self, messages: &[Message]) {
        let published = self.broker.publish(messages).await;
        published.expect("the broker confirms");
    }

    async fn publish_numbered(&self, numbers: std::ops::Range<usize>) {
        let all: Vec<_> = numbers.map(|n| self.message(&n.to_string())).collect();
        for batch in all.chunks(limits::PUBLISH_BATCH_MAX) {
            self.publish(batch).await;
        }
    }

    /// A plain message.
    #[must_use]
    pub fn message(&self, body: &str) -> Message {
        Message {
            destination: self.queue(),
            body: body.to_owned(),
            correlation_id: "77:1".to_owned(),
            reply_to: format!("{}.replies", self.prefix),
            priority: 4,
            properties: vec![
                ("campanile_run", "77".to_owned()),
                ("campanile_sig", format!("sig-{}", body.len())),
            ],
        }
    }
}

async fn receive(consumer: &mut dyn Consumer) -> Vec<Delivery> {
    let received = system::within(SOON, consumer.receive()).await;
    let received = received.expect("something arrives in time");
    let received = received.expect("the consumer lives");
    assert!(!received.is_empty(), "receive returned nothing");
    received
}

/// Receives until `count` have come; acknowledges each batch if `ack`.
async fn receive_n(consumer: &mut dyn Consumer, count: usize, ack: bool) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        let batch = receive(consumer).await;
        if ack {
            acknowledge(consumer, &batch).await;
        }
        all.extend(batch);
    }
    assert_eq!(all.len(), count, "more arrived than was sent");
    all
}

async fn acknowledge(consumer: &mut dyn Consumer, deliveries: &[Delivery]) {
    let tokens: Vec<u64> = deliveries.iter().map(|d| d.token).collect();
    let acknowledged = consumer.ack(&tokens).await;
    acknowledged.expect("the broker takes the acknowledgement");
}

async fn assert_quiet(consumer: &mut dyn Consumer) {
    let received = system::within(QUIET, consumer.receive()).await;
    assert!(received.is_none(), "arrived unexpectedly: {received:?}");
}

fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|d| d.body.as_str()).collect()
}

fn distinct(deliveries: &[Delivery]) -> BTreeSet<String> {
    deliveries.iter().map(|d| d.body.clone()).collect()
}

/// One message, once, whole.
pub async fn what_is_published_arrives_once_with_its_signature(f: Fixture) {
    f.publish(&[f.message("hello")]).await;
    let mut consumer = f.consumer(10).await;
    let got = receive(&mut *consumer).await;
    assert_eq!(bodies(&got), ["hello"]);
    assert_eq!(
        (got[0].signature.as_str(), got[0].redelivered),
        ("sig-5", false)
    );
    acknowledge(&mut *consumer, &got).await;
    assert_quiet(&mut *consumer).await;
}

/// A message without the property has no signature.
pub async fn no_signature_is_an_empty_one(f: Fixture) {
    let mut message = f.message("x");
    message.properties.clear();
    message.correlation_id.clear();
    message.reply_to.clear();
    f.publish(&[message]).await;
    let mut consumer = f.consumer(10).await;
    assert_eq!(receive(&mut *consumer).await[0].signature, "");
}

/// Every character of a body survives.
pub async fn any_text_survives(f: Fixture) {
    let all_control: String = (0_u8..32).map(char::from).collect();
    let texts = [
        String::new(),
        "Grüße, 世界 🦀 \u{7f}\u{85}\u{2028}".to_owned(),
        all_control,
        "a\0b\0\0".to_owned(),
        "body\0\nSEND\ndestination:/queue/x\n\nsmuggled\0".to_owned(),
        "\r\n\r\n trailing \n".to_owned(),
        "\u{feff}\\n\\c\\r\\\\:".to_owned(),
    ];
    let messages: Vec<_> = texts.iter().map(|t| f.message(t)).collect();
    f.publish(&messages).await;
    let mut consumer = f.consumer(10).await;
    let got = receive_n(&mut *consumer, texts.len(), true).await;
    let expected: BTreeSet<String> = texts.into_iter().collect();
    assert_eq!(distinct(&got), expected);
    assert_quiet(&mut *consumer).await;
}

/// A batch is confirmed when all of it is there.
pub async fn a_whole_batch_arrives(f: Fixture) {
    f.publish_numbered(0..limits::PUBLISH_BATCH_MAX).await;
    let mut consumer = f.consumer(1_000).await;
    let got = receive_n(&mut *consumer, limits::PUBLISH_BATCH_MAX, true).await;
    assert_eq!(distinct(&got).len(), limits::PUBLISH_BATCH_MAX);
    assert_quiet(&mut *consumer).await;
}

/// Nothing to send is nothing to wait for.
pub async fn an_empty_batch_is_confirmed(f: Fixture) {
    f.publish(&[]).await;
}

/// One batch may go to several queues. Those of a queue's groups and lanes begin with its name, and are their own.
pub async fn a_batch_may_name_several_queues(f: Fixture) {
    let to = |suffix: &str| Message {
        destination: f.queue() + suffix,
        ..f.message(suffix)
    };
    let others = ["-other", "~groups", "~a1b2c3"];
    let (first, last) = ([f.message("one")], [f.message("two")]);
    let batch = [&first[..], &others.map(to), &last].concat();
    f.publish(&batch).await;
    let mut consumer = f.consumer(10).await;
    let got = receive_n(&mut *consumer, 2, true).await;
    assert_eq!(
        distinct(&got),
        BTreeSet::from(["one".to_owned(), "two".to_owned()])
    );
    assert_quiet(&mut *consumer).await;
    for suffix in others {
        let consumer = f.broker.consume(&to(suffix).destination, 10).await;
        let mut consumer = consumer.expect("the broker takes a consumer");
        let got = receive(&mut *consumer).await;
        assert_eq!(bodies(&got), [suffix]);
        acknowledge(&mut *consumer, &got).await;
        assert_quiet(&mut *consumer).await;
    }
}

/// No more than the prefetch is out at any time; an acknowledgement makes room for just as many.
pub async fn prefetch_is_obeyed_exactly(f: Fixture) {
    f.publish_numbered(0..20).await;
    let mut consumer = f.consumer(7).await;
    let mut held = receive_n(&mut *consumer, 7, false).await;
    assert_quiet(&mut *consumer).await;
    acknowledge(&mut *consumer, &held[..3]).await;
    let more = receive_n(&mut *consumer, 3, false).await;
    assert_quiet(&mut *consumer).await;
    held.extend(more);
    let mut other = f.consumer(100).await;
    let rest = receive_n(&mut *other, 10, true).await;
    held.extend(rest);
    assert_eq!(distinct(&held).len(), 20);
}

/// What a dropped consumer had not acknowledged comes again, marked.
pub async fn what_was_not_acknowledged_comes_again(f: Fixture) {
    f.publish_numbered(0..10).await;
    let mut consumer = f.consumer(6).await;
    let got = receive_n(&mut *consumer, 6, false).await;
    acknowledge(&mut *consumer, &got[..2]).await;
    drop(consumer);
    let mut next = f.consumer(100).await;
    let again = receive_n(&mut *next, 8, true).await;
    let acknowledged = distinct(&got[..2]);
    assert!(distinct(&again).is_disjoint(&acknowledged));
    assert_eq!(distinct(&again).len(), 8);
    for delivery in &again {
        let was_out = bodies(&got).contains(&delivery.body.as_str());
        assert!(
            delivery.redelivered || !was_out,
            "{} is not marked",
            delivery.body
        );
    }
    assert_quiet(&mut *next).await;
}

/// What was acknowledged is gone, and tokens that are unknown or done with change nothing.
pub async fn what_was_acknowledged_is_gone(f: Fixture) {
    f.publish_numbered(0..5).await;
    let mut consumer = f.consumer(10).await;
    let got = receive_n(&mut *consumer, 5, true).await;
    acknowledge(&mut *consumer, &got).await;
    let none = consumer.ack(&[]).await;
    none.expect("no tokens are no error");
    let unknown = consumer.ack(&[u64::MAX]).await;
    unknown.expect("an unknown token is no error");
    f.publish(&[f.message("last")]).await;
    assert_eq!(bodies(&receive(&mut *consumer).await), ["last"]);
    drop(consumer);
    let mut next = f.consumer(10).await;
    assert_eq!(bodies(&receive(&mut *next).await), ["last"]);
    assert_quiet(&mut *next).await;
}

/// Two consumers get different messages, together all of them, none of them all.
pub async fn consumers_share_a_queue(f: Fixture) {
    let (mut one, mut two) = (f.consumer(5).await, f.consumer(5).await);
    f.publish_numbered(0..30).await;
    let mut got = Vec::new();
    got.extend(receive_n(&mut *one, 5, false).await);
    got.extend(receive_n(&mut *two, 5, false).await);
    let (first, second) = got.split_at(5);
    acknowledge(&mut *one, first).await;
    acknowledge(&mut *two, second).await;
    while got.len() < 30 {
        for consumer in [&mut one, &mut two] {
            let batch = system::within(QUIET, consumer.receive()).await;
            let batch = batch.map_or_else(Vec::new, |b| b.expect("the consumer lives"));
            acknowledge(&mut **consumer, &batch).await;
            got.extend(batch);
        }
    }
    assert_eq!((got.len(), distinct(&got).len()), (30, 30));
}

/// Where the broker promises it: the high ones first, and in order among equals. Elsewhere all come all the same.
pub async fn priority_goes_first_where_promised(f: Fixture) {
    let promised = f.by_priority;
    let kept = goes_by_priority(&f).await;
    assert!(kept || !promised, "priorities are promised, and not kept");
}

/// Whether what waits is delivered by priority, and in order among equals.
pub async fn goes_by_priority(f: &Fixture) -> bool {
    let priorities = [4, 0, 9, 4, 9, 1];
    let messages: Vec<_> = priorities
        .iter()
        .enumerate()
        .map(|(n, p)| Message {
            priority: *p,
            ..f.message(&format!("{p}{n}"))
        })
        .collect();
    f.publish(&messages).await;
    let mut consumer = f.consumer(100).await;
    let got = receive_n(&mut *consumer, messages.len(), true).await;
    assert_eq!(distinct(&got).len(), messages.len());
    bodies(&got) == ["92", "94", "40", "43", "15", "01"]
}

/// The largest body passes, alone and beside others.
pub async fn a_body_at_the_limit_passes(f: Fixture) {
    let large = "ü\n".repeat(limits::MESSAGE_BYTES_MAX / 3 + 1);
    let mut large = large;
    while large.len() > limits::MESSAGE_BYTES_MAX {
        large.pop();
    }
    assert!(large.len() >= limits::MESSAGE_BYTES_MAX - 3);
    f.publish(&[f.message(&large)]).await;
    f.publish(&[f.message(&large), f.message("small")]).await;
    let mut consumer = f.consumer(10).await;
    let got = receive_n(&mut *consumer, 3, true).await;
    assert_eq!(got.iter().filter(|d| d.body == large).count(), 2);
}

/// What can't be sent is refused before anything is sent.
pub async fn what_can_not_be_sent_is_refused(f: Fixture) {
    let plain = f.message("x");
    let property = |value: &str| Message {
        properties: vec![("campanile_task", value.to_owned())],
        ..plain.clone()
    };
    let to = |destination: &str| Message {
        destination: destination.to_owned(),
        ..plain.clone()
    };
    let cases = [
        f.message(&"x".repeat(limits::MESSAGE_BYTES_MAX + 1)),
        property("a\nadmin:yes"),
        property("a\r"),
        property("a\0b"),
        property("täglich"),
        property(&"x".repeat(limits::HEADER_BYTES_MAX + 1)),
        to(""),
        to("a,b"),
        to("a.>"),
        to("a\nreceipt:1"),
        Message {
            reply_to: "a\nb".to_owned(),
            ..plain.clone()
        },
        Message {
            correlation_id: "a\n\nb\0".to_owned(),
            ..plain.clone()
        },
        Message {
            priority: 10,
            ..plain.clone()
        },
    ];
    for case in cases {
        let answer = f.broker.publish(&[plain.clone(), case]).await;
        assert!(
            matches!(answer, Err(Error::Unsendable(_))),
            "got {answer:?}"
        );
    }
    assert!(f.broker.consume("a,b", 1).await.is_err());
    let mut consumer = f.consumer(10).await;
    assert_quiet(&mut *consumer).await;
}

/// What a header may hold can't become another header.
pub async fn a_header_is_no_way_in(f: Fixture) {
    let hostile = [
        "a:b",
        "\\n",
        "\\nadmin\\cyes",
        "\\\\c",
        " leading and trailing ",
        "/queue/x",
        "${x}",
        "~",
    ];
    for value in hostile {
        let mut message = f.message(value);
        message.properties = vec![
            ("campanile_task", value.to_owned()),
            ("campanile_sig", value.to_owned()),
        ];
        message.correlation_id = value.to_owned();
        f.publish(&[message]).await;
    }
    let mut consumer = f.consumer(100).await;
    let got = receive_n(&mut *consumer, hostile.len(), true).await;
    for delivery in &got {
        assert_eq!(delivery.signature, delivery.body);
    }
    assert_eq!(distinct(&got).len(), hostile.len());
}

/// Several publishes are under way at once, and several consumers.
pub async fn many_publish_at_once(f: Fixture) {
    let f = Arc::new(f);
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..8 {
        let f = Arc::clone(&f);
        publishers.spawn(async move {
            for batch in 0..4 {
                let first = publisher * 100 + batch * 25;
                f.publish_numbered(first..first + 25).await;
            }
        });
    }
    let mut consumer = f.consumer(50).await;
    let got = receive_n(&mut *consumer, 800, true).await;
    assert_eq!(distinct(&got).len(), 800);
    while let Some(ended) = publishers.join_next().await {
        ended.expect("a publisher ends well");
    }
    assert_quiet(&mut *consumer).await;
}

/// A consumer that came first is woken.
pub async fn a_consumer_may_come_first(f: Fixture) {
    let mut consumer = f.consumer(10).await;
    assert_quiet(&mut *consumer).await;
    f.publish(&[f.message("late")]).await;
    assert_eq!(bodies(&receive(&mut *consumer).await), ["late"]);
}

/// A call of `receive` that is dropped takes nothing with it.
pub async fn receive_is_cancel_safe(f: Fixture) {
    let mut consumer = f.consumer(10).await;
    let f = Arc::new(f);
    let publisher = Arc::clone(&f);
    let publishing = system::spawn(async move {
        for n in 0..100 {
            publisher.publish_numbered(n..n + 1).await;
        }
    });
    let mut got = Vec::new();
    let received = system::within(SOON, async {
        while got.len() < 100 {
            // Far shorter than a message takes: nearly every call is dropped somewhere on its way.
            let batch = system::within(Duration::from_micros(200), consumer.receive()).await;
            let batch = batch.map_or_else(Vec::new, |b| b.expect("the consumer lives"));
            acknowledge(&mut *consumer, &batch).await;
            got.extend(batch);
        }
    });
    let all_came = received.await.is_some();
    assert!(all_came, "only {} of 100 came", got.len());
    publishing.await.expect("the publisher ends well");
    assert_eq!(distinct(&got).len(), 100);
}

/// A consumer that was dropped before it received anything held nothing back.
pub async fn an_idle_consumer_leaves_nothing_behind(f: Fixture) {
    let idle = f.consumer(100).await;
    f.publish_numbered(0..10).await;
    drop(idle);
    let mut consumer = f.consumer(100).await;
    let got = receive_n(&mut *consumer, 10, true).await;
    assert_eq!(distinct(&got).len(), 10);
}

/// Makes one test of each behaviour. The factory is an async function that returns `Option<Fixture>`.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_broker {
    ($factory:path) => {
        $crate::__conformance_broker!(@ $factory;
            what_is_published_arrives_once_with_its_signature
            no_signature_is_an_empty_one
            any_text_survives
            a_whole_batch_arrives
            an_empty_batch_is_confirmed
            a_batch_may_name_several_queues
            prefetch_is_obeyed_exactly
            what_was_not_acknowledged_comes_again
            what_was_acknowledged_is_gone
            consumers_share_a_queue
            priority_goes_first_where_promised
            a_body_at_the_limit_passes
            what_can_not_be_sent_is_refused
            a_header_is_no_way_in
            many_publish_at_once
            a_consumer_may_come_first
            receive_is_cancel_safe
            an_idle_consumer_leaves_nothing_behind
        );
    };
    (@ $factory:path; $($behaviour:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $behaviour() {
                if let Some(fixture) = $factory().await {
                    $crate::broker::$behaviour(fixture).await;
                }
            }
        )*
    };
}
