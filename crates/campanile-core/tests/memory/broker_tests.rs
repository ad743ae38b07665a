//! The broker in memory when it is full: publishers wait for room, and not for ever.

use super::*;

fn messages(count: usize) -> Vec<Message> {
    let message = Message {
        destination: "q".to_owned(),
        body: "x".to_owned(),
        correlation_id: String::new(),
        reply_to: String::new(),
        priority: 4,
        properties: vec![],
    };
    vec![message; count]
}

#[tokio::test]
async fn a_full_queue_holds_its_publisher_back_until_there_is_room() {
    let broker = Arc::new(MemoryBroker::with_limits(3, Duration::from_secs(60)));
    let publisher = Arc::clone(&broker);
    let publishing = system::spawn(async move { publisher.publish(&messages(5)).await });
    let mut consumer = broker.consume("q", 10).await.unwrap();
    let mut count = 0;
    while count < 5 {
        let got = consumer.receive().await.unwrap();
        assert!(broker.len("q") <= 3);
        count += got.len();
        let tokens: Vec<u64> = got.iter().map(|d| d.token).collect();
        consumer.ack(&tokens).await.unwrap();
    }
    publishing.await.unwrap().unwrap();
    assert!(broker.is_empty("q"));
}

#[tokio::test]
async fn without_room_the_publisher_is_told_in_time() {
    let broker = MemoryBroker::with_limits(3, Duration::from_millis(20));
    let answer = broker.publish(&messages(5)).await;
    assert!(matches!(answer, Err(Error::Unconfirmed(_))));
    assert_eq!(broker.len("q"), 3);
}
