//! The broker dies, comes back, stands still, runs full, or a standby takes over: what was confirmed is never lost,
//! and both sides go on by themselves.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use campanile_core::port::broker::Error;
use tokio_util::sync::CancellationToken;

use super::*;

/// Publishes numbered batches until told to stop; which numbers were confirmed.
async fn publish_until(
    broker: Arc<StompBroker>,
    queue: String,
    confirmed: Arc<Mutex<BTreeSet<u32>>>,
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
async fn consume_all(
    broker: Arc<StompBroker>,
    queue: String,
    arrived: Arc<Mutex<BTreeSet<u32>>>,
    stop: CancellationToken,
) -> usize {
    let mut losses = 0;
    let work = async {
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
            losses += 1;
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
    losses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_survives_the_death_of_the_broker() {
    let Some(server) = private(ActiveMqOptions::default()) else {
        return;
    };
    let (publisher, consumer) = (connect(&server.stomp_url()), connect(&server.stomp_url()));
    let queue = prefix();
    let (confirmed, arrived) = (Arc::default(), Arc::<Mutex<BTreeSet<u32>>>::default());
    let (stop_publishing, stop_consuming) = (CancellationToken::new(), CancellationToken::new());
    let publishing = system::spawn(publish_until(
        publisher,
        queue.clone(),
        Arc::clone(&confirmed),
        stop_publishing.clone(),
    ));
    let consuming = system::spawn(consume_all(
        consumer,
        queue,
        Arc::clone(&arrived),
        stop_consuming.clone(),
    ));
    let count = |set: &Mutex<BTreeSet<u32>>| set.lock().unwrap().len();
    for _ in 0..3 {
        let (c, a) = (count(&confirmed), count(&arrived));
        until("both sides are at work", || {
            count(&confirmed) >= c + 200 && count(&arrived) >= a + 200
        })
        .await;
        tokio::task::block_in_place(|| server.kill9());
        tokio::task::block_in_place(|| server.restart().unwrap());
    }
    let c = count(&confirmed);
    until("publishing goes on", || count(&confirmed) >= c + 200).await;
    stop_publishing.cancel();
    let failed = publishing.await.unwrap();
    until("all that was confirmed has arrived", || {
        confirmed
            .lock()
            .unwrap()
            .is_subset(&arrived.lock().unwrap())
    })
    .await;
    stop_consuming.cancel();
    assert!(failed >= 1, "no publish noticed that the broker died");
    assert!(consuming.await.unwrap() >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_takes_over_with_all_that_was_confirmed() {
    let Some(master) = private(ActiveMqOptions::default()) else {
        return;
    };
    let standby = tokio::task::block_in_place(|| master.start_standby().unwrap());
    let (first, second) = (master.stomp_port(), standby.stomp_port());
    let broker = connect(&format!("stomp://127.0.0.1:{first},127.0.0.1:{second}"));
    let queue = prefix();
    let probe = broker.probe().await.unwrap();
    assert_eq!(probe.address, format!("127.0.0.1:{first}"));
    assert!(probe.server.contains("ActiveMQ"), "{}", probe.server);
    broker
        .publish(&[message(&queue, "before"), message(&queue, "also before")])
        .await
        .unwrap();
    tokio::task::block_in_place(|| master.kill9());
    publish_at_last(&*broker, &[message(&queue, "after")]).await;
    let mut consumer = consume_at_last(&*broker, &queue, 10).await;
    let mut got = BTreeSet::new();
    while got.len() < 3 {
        let deliveries = receive(&mut *consumer).await;
        acknowledge(&mut *consumer, &deliveries).await;
        got.extend(deliveries.into_iter().map(|d| d.body));
    }
    assert_eq!(
        got,
        ["after", "also before", "before"].map(str::to_owned).into()
    );
    let probe = broker.probe().await.unwrap();
    assert_eq!(probe.address, format!("127.0.0.1:{second}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_killed_under_load_loses_nothing_that_was_confirmed() {
    let Some(master) = private(ActiveMqOptions::default()) else {
        return;
    };
    let standby = tokio::task::block_in_place(|| master.start_standby().unwrap());
    let ports = (master.stomp_port(), standby.stomp_port());
    let list = format!("stomp://127.0.0.1:{},127.0.0.1:{}", ports.0, ports.1);
    let queue = prefix();
    let (confirmed, arrived) = (Arc::default(), Arc::<Mutex<BTreeSet<u32>>>::default());
    let (stop_publishing, stop_consuming) = (CancellationToken::new(), CancellationToken::new());
    let publisher = connect(&list);
    let publishing = system::spawn(publish_until(
        Arc::clone(&publisher),
        queue.clone(),
        Arc::clone(&confirmed),
        stop_publishing.clone(),
    ));
    let consuming = system::spawn(consume_all(
        connect(&list),
        queue,
        Arc::clone(&arrived),
        stop_consuming.clone(),
    ));
    let count = |set: &Mutex<BTreeSet<u32>>| set.lock().unwrap().len();
    until("both sides are at work", || {
        count(&confirmed) >= 300 && count(&arrived) >= 300
    })
    .await;
    assert!(!standby.is_accepting(), "two masters on one store");
    tokio::task::block_in_place(|| master.kill9());
    let (c, a) = (count(&confirmed), count(&arrived));
    until("both sides go on over the standby", || {
        count(&confirmed) >= c + 300 && count(&arrived) >= a + 300
    })
    .await;
    let probe = publisher.probe().await.unwrap();
    assert_eq!(probe.address, format!("127.0.0.1:{}", ports.1));
    stop_publishing.cancel();
    let failed = publishing.await.unwrap();
    until("all that was confirmed has arrived", || {
        confirmed
            .lock()
            .unwrap()
            .is_subset(&arrived.lock().unwrap())
    })
    .await;
    stop_consuming.cancel();
    assert!(failed >= 1, "no publish noticed that the master died");
    assert!(consuming.await.unwrap() >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_asks_for_a_password_is_given_it_or_refuses() {
    let Some(server) = private(ActiveMqOptions {
        users: vec![("sched".to_owned(), "p@ss:w%rd".to_owned())],
        ..ActiveMqOptions::default()
    }) else {
        return;
    };
    let queue = prefix();
    let wrong = connect(&server.stomp_url_as("sched", "wrong"));
    let nobody = connect(&server.stomp_url());
    for broker in [wrong, nobody] {
        let answers = [
            broker.publish(&[message(&queue, "x")]).await.unwrap_err(),
            broker.consume(&queue, 1).await.err().unwrap(),
            broker.probe().await.unwrap_err(),
        ];
        for answer in answers {
            let text = shown(&answer);
            assert!(matches!(answer, Error::Refused(_)), "{text}");
            assert!(text.contains("check user and password"), "{text}");
            assert!(!text.contains("wrong"), "{text}");
        }
    }
    let right = connect(&server.stomp_url_as("sched", "p%40ss%3Aw%25rd"));
    right.publish(&[message(&queue, "x")]).await.unwrap();
    assert_eq!(
        receive(&mut *right.consume(&queue, 1).await.unwrap()).await[0].body,
        "x"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_broker_confirms_nothing_until_somebody_consumes() {
    let Some(server) = private(ActiveMqOptions {
        memory_limit: Some(200_000),
        ..ActiveMqOptions::default()
    }) else {
        return;
    };
    let broker = stomp::connect(&server.stomp_url(), hasty()).unwrap();
    let queue = prefix();
    // Large messages that a consumer holds fill the queue's memory; what nobody has taken, and what is small against
    // the limit, goes to the store and blocks nobody.
    let mut consumer = broker.consume(&queue, 1_000).await.unwrap();
    let batch = [message(&queue, &"x".repeat(100_000))];
    let mut answer = Ok(());
    for _ in 0..200 {
        answer = broker.publish(&batch).await;
        if answer.is_err() {
            break;
        }
    }
    assert!(matches!(answer, Err(Error::Unconfirmed(_))), "{answer:?}");
    // The way to consume is not blocked.
    let draining = system::spawn(async move {
        loop {
            let deliveries = consumer.receive().await.unwrap();
            acknowledge(&mut *consumer, &deliveries).await;
            if deliveries.iter().any(|d| d.body == "last") {
                return;
            }
        }
    });
    publish_at_last(&*broker, &[message(&queue, "last")]).await;
    system::within(SOON, draining)
        .await
        .expect("the last message arrives")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stands_still_is_left_and_found_again() {
    let Some(server) = private(ActiveMqOptions::default()) else {
        return;
    };
    let broker = stomp::connect(&server.stomp_url(), hasty()).unwrap();
    let queue = prefix();
    broker.publish(&[message(&queue, "one")]).await.unwrap();
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    let one = receive(&mut *consumer).await;
    acknowledge(&mut *consumer, &one).await;
    // Four heart-beats of quiet: ours keep the connection, the broker's assure us.
    let quiet = system::within(Duration::from_secs(2), consumer.receive()).await;
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
