//! What lies between us and the broker: dead addresses, addresses that are silent or speak something else, cut and
//! half-open connections, and TLS with certificates that are wrong in every way that there is.

use std::io::Write as _;
use std::net::TcpListener;

use campanile_core::port::broker::Error;
use xtask::certificates::{Authority, Validity};
use xtask::proxy::{Direction, Fault, Proxy};
use xtask::servers::free_port;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_or_silent_address_is_passed_by() {
    let Some(server) = shared() else { return };
    let dead = free_port();
    // Takes connections and never answers.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let port = server.amqp_port();
    let list =
        format!("amqp://guest:guest@127.0.0.1:{dead},127.0.0.1:{silent_port},127.0.0.1:{port}");
    let broker = connect(&list);
    let queue = prefix();
    publish_at_last(&*broker, &[message(&queue, "x")]).await;
    let mut consumer = consume_at_last(&*broker, &queue, 1).await;
    assert_eq!(receive(&mut *consumer).await[0].body, "x");
    let probe = broker.probe().await.unwrap();
    assert_eq!(probe.address, format!("127.0.0.1:{port}"));
    assert!(probe.server.starts_with("RabbitMQ 3."), "{}", probe.server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_said_with_the_address() {
    let port = free_port();
    let broker = amqp::connect(&format!("amqp://127.0.0.1:{port}"), hasty()).unwrap();
    let answers = [
        broker.publish(&[message("q", "x")]).await.unwrap_err(),
        broker.consume("q", 1).await.err().unwrap(),
        broker.probe().await.unwrap_err(),
    ];
    for answer in answers {
        let text = shown(&answer);
        assert!(matches!(answer, Error::Unreachable(_)), "{text}");
        assert!(
            text.contains(&port.to_string()) && text.contains("refused"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_speaks_something_else_is_named() {
    for (said, part) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "no AMQP"),
        (b"AMQP\x00\x01\x00\x00", "0-9-1"),
        (b"CONNECTED\nversion:1.2\n\n\0", "no AMQP"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        crate::broker::aside(move || {
            // Ends with the test's process; each connection is answered and left.
            while let Ok((mut stream, _)) = listener.accept() {
                let _ = stream.write_all(said);
            }
        });
        let broker = amqp::connect(&format!("amqp://127.0.0.1:{port}"), hasty()).unwrap();
        let text = shown(&broker.probe().await.unwrap_err());
        assert!(text.contains(part) && text.contains("`broker`"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_and_half_open_connections_are_replaced() {
    let Some(server) = shared() else { return };
    let proxy = Proxy::start(server.amqp_port()).unwrap();
    let url = format!("amqp://guest:guest@127.0.0.1:{}", proxy.port());
    let broker = amqp::connect(&url, hasty()).unwrap();
    let queue = prefix();
    for round in 0..3 {
        let text = format!("round {round}");
        publish_at_last(&*broker, &[message(&queue, &text)]).await;
        let mut consumer = consume_at_last(&*broker, &queue, 1).await;
        assert_eq!(receive(&mut *consumer).await[0].body, text);
        match round {
            0 => proxy.reset(),
            1 => proxy.set(Direction::Both, Fault::Blackhole),
            // In the middle of a frame.
            _ => proxy.set(Direction::Up, Fault::CutAfter(50)),
        }
        if round > 0 {
            let answer = broker.publish(&[message(&queue, "in the cut")]).await;
            assert!(answer.is_err());
        }
        // Unacknowledged, so it comes again with the next consumer.
        let ended = system::within(SOON, consumer.receive())
            .await
            .expect("the loss is noticed");
        assert!(ended.is_err(), "{ended:?}");
        drop(consumer);
        proxy.heal();
        let mut again = Vec::new();
        let mut consumer = consume_at_last(&*broker, &queue, 10).await;
        while !again.contains(&(text.clone(), true)) {
            let deliveries = receive(&mut *consumer).await;
            acknowledge(&mut *consumer, &deliveries).await;
            again.extend(deliveries.into_iter().map(|d| (d.body, d.redelivered)));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_trusts_the_given_authority_and_says_what_is_wrong_with_a_certificate() {
    let authority = Authority::new();
    let good = authority.issue("good", "localhost", Validity::Now);
    let options = RabbitMqOptions {
        certificate: Some(good),
        user: Some(("campanile".to_owned(), "p@ss:w%rd".to_owned())),
        ..RabbitMqOptions::default()
    };
    let Some(server) = private(options) else {
        return;
    };
    let ca = authority.ca().display().to_string();
    let port = server.amqps_port();
    let login = "campanile:p%40ss%3Aw%25rd";
    let queue = prefix();
    let broker = connect(&format!("amqps://{login}@localhost:{port}?ca={ca}"));
    publish_at_last(&*broker, &[message(&queue, "x")]).await;
    let mut consumer = consume_at_last(&*broker, &queue, 1).await;
    assert_eq!(receive(&mut *consumer).await[0].body, "x");
    let other = Authority::new();
    let other_ca = other.ca().display().to_string();
    for (url, parts) in [
        (
            format!("amqps://{login}@127.0.0.1:{port}?ca={ca}"),
            ["another host", "setting `broker`"],
        ),
        (
            format!("amqps://{login}@localhost:{port}?ca={other_ca}"),
            ["UnknownIssuer", "?ca=FILE"],
        ),
        (
            format!("amqps://{login}@localhost:{}?ca={ca}", server.amqp_port()),
            ["TLS", "setting `broker`"],
        ),
        (
            format!("amqps://campanile:wrong@localhost:{port}?ca={ca}"),
            ["check user and password", "setting `broker`"],
        ),
    ] {
        let broker = amqp::connect(&url, hasty()).unwrap();
        let text = shown(&broker.publish(&[message(&queue, "x")]).await.unwrap_err());
        assert!(
            parts.iter().all(|part| text.contains(part)),
            "{url}: {text}"
        );
        assert!(!text.contains("p@ss") && !text.contains("p%40"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_is_called_that() {
    let authority = Authority::new();
    let options = RabbitMqOptions {
        certificate: Some(authority.issue("old", "localhost", Validity::Expired)),
        ..RabbitMqOptions::default()
    };
    let Some(server) = private(options) else {
        return;
    };
    let ca = authority.ca().display().to_string();
    let port = server.amqps_port();
    let url = format!("amqps://guest:guest@localhost:{port}?ca={ca}");
    let broker = amqp::connect(&url, hasty()).unwrap();
    let text = shown(&broker.probe().await.unwrap_err());
    assert!(text.contains("has expired: renew it"), "{text}");
    assert!(text.contains("setting `broker`"), "{text}");
}
