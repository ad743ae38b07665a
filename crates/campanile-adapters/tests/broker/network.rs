//! What lies between us and the broker: dead addresses, addresses that are silent, cut and half-open connections, and
//! TLS.

use std::net::TcpListener;
use std::process::Command;

use campanile_core::port::broker::Error;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use xtask::proxy::{Direction, Fault, Proxy};
use xtask::servers::{TempDir, free_port};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_or_silent_address_is_passed_by() {
    let Some(server) = shared() else { return };
    let dead = free_port();
    // Takes connections and never answers.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let port = server.stomp_port();
    let list = format!("stomp://127.0.0.1:{dead},127.0.0.1:{silent_port},127.0.0.1:{port}");
    let broker = connect(&list);
    let queue = prefix();
    publish_at_last(&*broker, &[message(&queue, "x")]).await;
    let mut consumer = broker.consume(&queue, 1).await.unwrap();
    assert_eq!(receive(&mut *consumer).await[0].body, "x");
    let probe = broker.probe().await.unwrap();
    assert_eq!(probe.address, format!("127.0.0.1:{port}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_said_with_the_address() {
    let port = free_port();
    let broker = stomp::connect(&format!("stomp://127.0.0.1:{port}"), hasty()).unwrap();
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
async fn cut_and_half_open_connections_are_replaced() {
    let Some(server) = shared() else { return };
    let proxy = Proxy::start(server.stomp_port()).unwrap();
    let url = format!("stomp://127.0.0.1:{}", proxy.port());
    let broker = stomp::connect(&url, hasty()).unwrap();
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
        // Unacknowledged, so it comes again with the next consumer.
        if round > 0 {
            let answer = broker.publish(&[message(&queue, "in the cut")]).await;
            assert!(answer.is_err());
        }
        let ended = system::within(SOON, consumer.receive())
            .await
            .expect("the loss is noticed");
        assert!(ended.is_err(), "{ended:?}");
        drop(consumer);
        proxy.heal();
        let mut consumer = consume_at_last(&*broker, &queue, 10).await;
        let again = receive(&mut *consumer).await;
        assert!(again.iter().any(|d| d.body == text && d.redelivered));
        acknowledge(&mut *consumer, &again).await;
    }
}

/// A TLS server in front of a plain port, with a certificate of a new authority.
async fn tls_front(folder: &TempDir, target: u16) -> u16 {
    let config = folder.join("san.cnf");
    std::fs::write(
        &config,
        "[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=test\n[ext]\n\
         subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-config",
        ])
        .arg(&config)
        .arg("-keyout")
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("cert.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let certificate = CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    system::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            system::spawn(async move {
                // A client that does not trust us ends the handshake: that is what one case is about.
                if let Ok(mut client) = acceptor.accept(client).await {
                    let mut server = tokio::net::TcpStream::connect(("127.0.0.1", target))
                        .await
                        .unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_trusts_the_given_authority_and_checks_the_name() {
    let Some(server) = shared() else { return };
    let folder = TempDir::new("stomp-tls").unwrap();
    let port = tls_front(&folder, server.stomp_port()).await;
    let ca = folder.join("cert.pem").display().to_string();
    let queue = prefix();
    let broker = connect(&format!("stomp+ssl://localhost:{port}?ca={ca}"));
    broker.publish(&[message(&queue, "x")]).await.unwrap();
    let mut consumer = broker.consume(&queue, 1).await.unwrap();
    assert_eq!(receive(&mut *consumer).await[0].body, "x");
    for (url, remedy) in [
        (format!("stomp+ssl://localhost:{port}"), "ca=FILE"),
        (
            format!("stomp+ssl://127.0.0.1:{port}?ca={ca}"),
            "for another host",
        ),
    ] {
        let broker = match stomp::connect(&url, hasty()) {
            Ok(broker) => broker,
            Err(no_roots_here) => {
                assert!(no_roots_here.to_string().contains("ca=FILE"));
                continue;
            }
        };
        let text = shown(&broker.publish(&[message(&queue, "x")]).await.unwrap_err());
        assert!(text.contains("TLS") && text.contains(remedy), "{text}");
    }
    let missing = stomp::connect("stomp+ssl://localhost?ca=/nowhere.pem", hasty())
        .err()
        .unwrap();
    assert!(missing.to_string().contains("/nowhere.pem"), "{missing}");
}
