//! The broker dies, comes back, stands still, runs full or loses a queue: what was confirmed is never lost, what was not
//! stored is never confirmed, and both sides go on by themselves.

use std::collections::BTreeSet;
use std::sync::Mutex;

use campanile_core::port::broker::Error;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use tokio_util::sync::CancellationToken;

use super::hostile::stranger;
use super::*;

type Numbers = Arc<Mutex<BTreeSet<u32>>>;

/// Publishers and consumers at work, and what they saw.
pub struct Load {
    pub confirmed: Numbers,
    pub arrived: Numbers,
    stop: CancellationToken,
    publishing: tokio::task::JoinHandle<usize>,
    consuming: tokio::task::JoinHandle<usize>,
}

impl Load {
    pub fn begin(url: &str, options: Options, queue: &str) -> Self {
        let (confirmed, arrived) = (Numbers::default(), Numbers::default());
        let stop = CancellationToken::new();
        let new = || amqp::connect(url, options).unwrap();
        Self {
            publishing: system::spawn(publish_until(
                new(),
                queue.to_owned(),
                Arc::clone(&confirmed),
                stop.clone(),
            )),
            consuming: system::spawn(consume_all(new(), queue.to_owned(), Arc::clone(&arrived))),
            confirmed,
            arrived,
            stop,
        }
    }

    /// Waits until this many more were confirmed and have arrived.
    pub async fn goes_on(&self, more: usize) {
        let count = |set: &Numbers| set.lock().unwrap().len();
        let (c, a) = (count(&self.confirmed), count(&self.arrived));
        until("both sides are at work", || {
            count(&self.confirmed) >= c + more && count(&self.arrived) >= a + more
        })
        .await;
    }

    /// Stops it; all that was confirmed has arrived. Answers how often publishing failed.
    pub async fn end(self) -> usize {
        self.stop.cancel();
        let failed = self.publishing.await.unwrap();
        until("all that was confirmed has arrived", || {
            let arrived = self.arrived.lock().unwrap();
            self.confirmed.lock().unwrap().is_subset(&arrived)
        })
        .await;
        self.consuming.abort();
        failed
    }
}

/// Publishes numbered batches until told to stop; which numbers were confirmed.
async fn publish_until(
    broker: Arc<AmqpBroker>,
    queue: String,
    confirmed: Numbers,
    stop: CancellationToken,
) -> usize {
    let (mut next, mut failed) = (0_u32, 0);
    while !stop.is_cancelled() {
        let numbers: Vec<u32> = (next..next + 20).collect();
        next += 20;
        let batch: Vec<_> = numbers
            .iter()
            .map(|n| message(&queue, &n.to_string()))
            .collect();
        // What was not confirmed is left as it is: it may be there or not.
        match broker.publish(&batch).await {
            Ok(()) => confirmed.lock().unwrap().extend(numbers),
            Err(_) => failed += 1,
        }
    }
    failed
}

/// Consumes for ever, again after each loss; notes what came.
async fn consume_all(broker: Arc<AmqpBroker>, queue: String, arrived: Numbers) -> usize {
    loop {
        let mut consumer = consume_at_last(&*broker, &queue, 50).await;
        while let Ok(deliveries) = consumer.receive().await {
            let numbers = deliveries.iter().map(|d| d.body.parse::<u32>().unwrap());
            arrived.lock().unwrap().extend(numbers);
            let tokens: Vec<u64> = deliveries.iter().map(|d| d.token).collect();
            if consumer.ack(&tokens).await.is_err() {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_survives_the_death_of_the_broker() {
    let Some(server) = private(RabbitMqOptions::default()) else {
        return;
    };
    // A quorum queue on one node alone may be left without a leader by this: that is for a cluster.
    let url = format!("{}?queues=classic", server.url());
    let load = Load::begin(&url, Options::default(), &prefix());
    for _ in 0..2 {
        load.goes_on(200).await;
        tokio::task::block_in_place(|| server.kill9());
        tokio::task::block_in_place(|| server.restart().unwrap());
    }
    load.goes_on(200).await;
    assert!(
        load.end().await >= 1,
        "no publish noticed that the broker died"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_is_told_why_and_which_setting_is_meant() {
    let Some(server) = private(RabbitMqOptions::default()) else {
        return;
    };
    tokio::task::block_in_place(|| {
        server.control(&["add_user", "poor", "topsecret"]).unwrap();
        let rights = ["set_permissions", "poor", "^$", ".*", ".*"];
        server.control(&rights).unwrap();
    });
    let port = server.amqp_port();
    let queue = prefix();
    for (login, path, part) in [
        ("guest:wrong-one", "", "check user and password"),
        ("nobody:wrong-one", "", "check user and password"),
        ("guest:guest", "/elsewhere", "check the virtual host"),
        ("poor:topsecret", "", "can't be made"),
    ] {
        let broker = connect(&format!("amqp://{login}@127.0.0.1:{port}{path}"));
        let answers = [
            broker.publish(&[message(&queue, "x")]).await.unwrap_err(),
            broker.consume(&queue, 1).await.err().unwrap(),
        ];
        for answer in answers {
            let text = shown(&answer);
            assert!(matches!(answer, Error::Refused(_)), "{text}");
            assert!(text.contains(part) && text.contains("`broker`"), "{text}");
            assert!(!text.contains("wrong-one") && !text.contains("topsecret"));
        }
    }
    // A queue that is there needs no right to make it.
    connect(&server.url())
        .publish(&[message(&queue, "x")])
        .await
        .unwrap();
    let poor = connect(&format!("amqp://poor:topsecret@127.0.0.1:{port}"));
    poor.publish(&[message(&queue, "y")]).await.unwrap();
    let mut consumer = poor.consume(&queue, 1).await.unwrap();
    assert_eq!(receive(&mut *consumer).await[0].body, "x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_queue_takes_is_never_confirmed() {
    let Some(server) = shared() else { return };
    let broker = connect(&server.url());
    let (queue, neighbour) = (prefix(), prefix());
    let batch = [message(&queue, "1"), message(&neighbour, "2")];
    broker.publish(&batch).await.unwrap();
    let (_connection, channel) = stranger(&server.url()).await;
    let gone = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default());
    gone.await.unwrap();
    let answer = broker.publish(&batch).await.unwrap_err();
    let text = shown(&answer);
    assert!(matches!(answer, Error::Refused(_)), "{text}");
    assert!(text.contains(&queue) && text.contains("is gone"), "{text}");
    // Others are not told of it, and the next attempt makes the queue again.
    broker.publish(&[message(&neighbour, "3")]).await.unwrap();
    broker.publish(&batch).await.unwrap();
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    assert_eq!(receive(&mut *consumer).await[0].body, "1");
    // A consumer whose queue is deleted is told.
    let gone = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default());
    gone.await.unwrap();
    let ended = system::within(SOON, consumer.receive()).await.unwrap();
    let text = shown(&ended.unwrap_err());
    assert!(text.contains("the queue was deleted"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_there_is_used_as_it_is_and_a_full_one_is_never_confirmed() {
    let Some(server) = shared() else { return };
    let broker = connect(&server.url());
    let queue = prefix();
    let (_connection, channel) = stranger(&server.url()).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(2));
    let overflow = AMQPValue::LongString("reject-publish".into());
    arguments.insert("x-overflow".into(), overflow);
    let options = QueueDeclareOptions::durable();
    let made = channel.queue_declare(queue.as_str().into(), options, arguments);
    made.await.unwrap();
    let batch = ["1", "2", "3", "4"].map(|body| message(&queue, body));
    let answer = broker.publish(&batch).await.unwrap_err();
    let text = shown(&answer);
    assert!(text.contains("did not store a message"), "{text}");
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    let got = receive(&mut *consumer).await;
    acknowledge(&mut *consumer, &got).await;
    publish_at_last(&*broker, &[message(&queue, "5")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_without_memory_holds_publishers_back_and_no_consumer() {
    let Some(server) = private(RabbitMqOptions::default()) else {
        return;
    };
    let broker = amqp::connect(&server.url(), hasty()).unwrap();
    let queue = prefix();
    let batch: Vec<_> = (0..50).map(|n| message(&queue, &n.to_string())).collect();
    broker.publish(&batch).await.unwrap();
    let watermark = |to: &str| {
        let set = ["set_vm_memory_high_watermark", to];
        tokio::task::block_in_place(|| server.control(&set).unwrap());
    };
    watermark("0.00001");
    let held = system::within(SOON, async {
        loop {
            // The first after the alarm may still pass.
            if let Err(error) = broker.publish(&[message(&queue, "late")]).await {
                return error;
            }
        }
    });
    let error = held.await.expect("the alarm holds publishers back");
    assert!(matches!(error, Error::Unconfirmed(_)), "{error:?}");
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    let mut count = 0;
    while count < 50 {
        let got = receive(&mut *consumer).await;
        acknowledge(&mut *consumer, &got).await;
        count += got.len();
    }
    watermark("0.6");
    publish_at_last(&*broker, &[message(&queue, "last")]).await;
    while !receive(&mut *consumer)
        .await
        .iter()
        .any(|d| d.body == "last")
    {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stands_still_is_left_and_found_again() {
    let Some(server) = private(RabbitMqOptions::default()) else {
        return;
    };
    let broker = amqp::connect(&server.url(), hasty()).unwrap();
    let queue = prefix();
    publish_at_last(&*broker, &[message(&queue, "one")]).await;
    let mut consumer = consume_at_last(&*broker, &queue, 10).await;
    let one = receive(&mut *consumer).await;
    acknowledge(&mut *consumer, &one).await;
    // Four heart-beats of quiet: ours keep the connection, the broker's assure us.
    let quiet = system::within(Duration::from_secs(4), consumer.receive()).await;
    assert!(quiet.is_none(), "{quiet:?}");
    tokio::task::block_in_place(|| server.pause());
    let lost = system::within(SOON, consumer.receive())
        .await
        .expect("the silence is noticed");
    let text = shown(&lost.unwrap_err());
    assert!(text.contains("two heart-beats were missed"), "{text}");
    let answer = broker.publish(&[message(&queue, "two")]).await;
    assert!(
        matches!(answer, Err(Error::Unreachable(_) | Error::Unconfirmed(_))),
        "{answer:?}"
    );
    tokio::task::block_in_place(|| server.resume());
    publish_at_last(&*broker, &[message(&queue, "three")]).await;
    let mut consumer = consume_at_last(&*broker, &queue, 10).await;
    while !receive(&mut *consumer)
        .await
        .iter()
        .any(|d| d.body == "three")
    {}
}
