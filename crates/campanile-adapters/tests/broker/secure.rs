//! ActiveMQ with TLS and users: what a good certificate and a right password give, and what is said of those that are wrong.

use campanile_core::port::broker::Error;
use xtask::certificates::{Authority, STORE_PASSWORD, Validity};

use super::*;

fn with_tls(authority: &Authority, host: &str, validity: Validity) -> Option<ActiveMq> {
    let store = authority.key_store("broker", host, validity);
    private(ActiveMqOptions {
        tls: Some((store, STORE_PASSWORD.to_owned())),
        users: vec![("sched".to_owned(), "p@ss:w%rd".to_owned())],
        ..ActiveMqOptions::default()
    })
}

const LOGIN: &str = "sched:p%40ss%3Aw%25rd";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_users_carries_messages_and_says_what_is_wrong() {
    let authority = Authority::new();
    let Some(server) = with_tls(&authority, "localhost", Validity::Now) else {
        return;
    };
    let (ca, port) = (authority.ca().display().to_string(), server.stomps_port());
    let queue = prefix();
    let broker = connect(&format!("stomp+ssl://{LOGIN}@localhost:{port}?ca={ca}"));
    let batch: Vec<_> = (0..100).map(|n| message(&queue, &n.to_string())).collect();
    broker.publish(&batch).await.unwrap();
    let mut consumer = broker.consume(&queue, 100).await.unwrap();
    let mut count = 0;
    while count < 100 {
        let got = receive(&mut *consumer).await;
        acknowledge(&mut *consumer, &got).await;
        count += got.len();
    }
    let unknown = Authority::new();
    let unknown_ca = unknown.ca().display().to_string();
    let plain = server.stomp_port();
    for (url, parts) in [
        (
            format!("stomp+ssl://{LOGIN}@127.0.0.1:{port}?ca={ca}"),
            ["another host", "setting `broker`"],
        ),
        (
            format!("stomp+ssl://{LOGIN}@localhost:{port}?ca={unknown_ca}"),
            ["UnknownIssuer", "add ?ca=FILE to the setting `broker`"],
        ),
        (
            format!("stomp+ssl://{LOGIN}@localhost:{plain}?ca={ca}"),
            ["TLS", "setting `broker`"],
        ),
        (
            format!("stomp+ssl://sched:wrong-one@localhost:{port}?ca={ca}"),
            ["check user and password", "setting `broker`"],
        ),
    ] {
        let broker = connect(&url);
        let error = broker.publish(&[message(&queue, "x")]).await.unwrap_err();
        let text = shown(&error);
        assert!(
            parts.iter().all(|part| text.contains(part)),
            "{url}: {text}"
        );
        assert!(
            !text.contains("p@ss") && !text.contains("wrong-one"),
            "{text}"
        );
        let is_refusal = matches!(error, Error::Refused(_));
        assert_eq!(is_refusal, url.contains("wrong-one"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_is_called_that() {
    let authority = Authority::new();
    let Some(server) = with_tls(&authority, "localhost", Validity::Expired) else {
        return;
    };
    let (ca, port) = (authority.ca().display().to_string(), server.stomps_port());
    let url = format!("stomp+ssl://{LOGIN}@localhost:{port}?ca={ca}");
    let broker = stomp::connect(&url, hasty()).unwrap();
    let text = shown(&broker.probe().await.unwrap_err());
    assert!(text.contains("has expired: renew it"), "{text}");
    assert!(text.contains("setting `broker`"), "{text}");
}
