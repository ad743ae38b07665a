//! Peers that misbehave on the wire: a producer that sends what nobody should, and a broker that answers what it
//! should not.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use campanile_core::limits;
use campanile_core::port::broker::Error;
use tokio::io::AsyncWriteExt as _;

use super::*;

/// Sends raw bytes behind a proper CONNECT and waits for the receipt `done`.
fn send_raw(port: u16, frames: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut all = b"CONNECT\naccept-version:1.2\nhost:x\n\n\0".to_vec();
    all.extend_from_slice(frames);
    all.extend_from_slice(b"SEND\ndestination:/queue/elsewhere\nreceipt:done\n\nx\0");
    stream.write_all(&all).unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("receipt-id:done") {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        assert!(
            count > 0,
            "the broker closed: {}",
            String::from_utf8_lossy(&seen)
        );
        seen.extend_from_slice(&buffer[..count]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_should_send_costs_neither_the_connection_nor_the_next_message() {
    let Some(server) = shared() else { return };
    let queue = prefix();
    let mut frames = Vec::new();
    let mut send = |headers: &str, body: &[u8]| {
        let length = body.len();
        let head =
            format!("SEND\ndestination:/queue/{queue}\ncontent-length:{length}\n{headers}\n");
        frames.extend_from_slice(head.as_bytes());
        frames.extend_from_slice(body);
        frames.push(0);
    };
    let text = "amq-msg-type:text\ncampanile_sig:s\n";
    let large = vec![b'x'; limits::MESSAGE_BYTES_MAX + 1];
    send(text, &large);
    send("campanile_sig:s\n", &large);
    let long = format!("{text}long:{}\n", "y".repeat(9_000));
    send(&long, b"long header");
    let many: String = (0..400).map(|n| format!("h{n}:v\n")).collect();
    send(&format!("{text}{many}"), b"many headers");
    send("campanile_sig:s\n", b"not \xff UTF-8");
    send(text, b"");
    tokio::task::block_in_place(|| send_raw(server.stomp_port(), &frames));
    let broker = connect(&server.stomp_url());
    broker.publish(&[message(&queue, "good")]).await.unwrap();
    let mut consumer = broker.consume(&queue, 2).await.unwrap();
    let mut got = Vec::new();
    while got.len() < 7 {
        let deliveries = receive(&mut *consumer).await;
        acknowledge(&mut *consumer, &deliveries).await;
        got.extend(deliveries);
    }
    let mut seen: Vec<(&str, &str)> = got
        .iter()
        .map(|d| (d.body.as_str(), d.signature.as_str()))
        .collect();
    seen.sort_unstable();
    let cut = ("", "");
    assert_eq!(
        seen,
        [
            cut,
            cut,
            cut,
            cut,
            ("", "s"),
            ("good", "sig"),
            ("not \u{fffd} UTF-8", "s"),
        ]
    );
    drop(consumer);
    let mut consumer = broker.consume(&queue, 10).await.unwrap();
    let quiet = system::within(Duration::from_millis(300), consumer.receive()).await;
    assert!(quiet.is_none(), "{quiet:?}");
}

/// Reads up to and with the next NUL.
fn read_frame(stream: &mut TcpStream) -> String {
    let mut frame = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).unwrap_or(0) == 1 && byte[0] != 0 {
        frame.push(byte[0]);
    }
    String::from_utf8_lossy(&frame).into_owned()
}

/// A broker that answers the first frame of each connection with CONNECTED, and the second as the next line of the
/// script says (`RECEIPT` being replaced by a proper one).
fn scripted(script: &'static [&'static str]) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (seen, frames) = mpsc::channel();
    let _ = super::hostile::aside(move || {
        for answer in script {
            let (mut stream, _) = listener.accept().unwrap();
            let connect = read_frame(&mut stream);
            stream
                .write_all(b"CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0\n")
                .unwrap();
            let frame = read_frame(&mut stream);
            let receipt = frame.lines().find_map(|l| l.strip_prefix("receipt:"));
            let answer = if *answer == "RECEIPT" {
                format!("RECEIPT\nreceipt-id:{}\n\n\0", receipt.unwrap_or_default())
            } else {
                answer.replace("ID", receipt.unwrap_or_default())
            };
            stream.write_all(answer.as_bytes()).unwrap();
            let _ = seen.send(connect);
            let _ = seen.send(frame);
            // Until the client has gone.
            while !read_frame(&mut stream).is_empty() {}
        }
    });
    (port, frames)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_error_frame_or_nonsense_the_next_publish_connects_anew() {
    let (port, frames) = scripted(&[
        "ERROR\nmessage:no\\nrights\n\n\0",
        "HTTP/1.1 200 OK\r\n\r\n",
        "MESSAGE\nsubscription:1\n\nx\0",
        "ERROR\nmessage:denied\nreceipt-id:ID\n\n\0",
    ]);
    let url = format!("stomp://user:pass@127.0.0.1:{port}");
    let broker = stomp::connect(
        &url,
        Options {
            publishers: 1,
            ..hasty()
        },
    )
    .unwrap();
    let batch = [message("q", "x")];
    let refused = broker.publish(&batch).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(_)));
    assert!(
        shown(&refused).ends_with("answers: no rights"),
        "{}",
        shown(&refused)
    );
    for part in ["does not speak STOMP", "names no subscription"] {
        let lost = broker.publish(&batch).await.unwrap_err();
        assert!(
            matches!(lost, Error::Unreachable(_)) && shown(&lost).contains(part),
            "{}",
            shown(&lost)
        );
    }
    let denied = broker.publish(&batch).await.unwrap_err();
    assert!(matches!(denied, Error::Refused(_)) && shown(&denied).ends_with("denied"));
    let connect = frames.recv().unwrap();
    assert!(
        connect.contains("\nlogin:user\npasscode:pass\n"),
        "{connect}"
    );
    let send = frames.recv().unwrap();
    for line in [
        "SEND",
        "destination:/queue/q",
        "persistent:true",
        "amq-msg-type:text",
        "content-length:1",
        "priority:4",
        "correlation-id:9\\c1",
    ] {
        assert!(send.lines().any(|l| l == line), "{line} in {send}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_no_stomp_broker_is_named_so() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = system::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The client leaves at the first line.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let broker = stomp::connect(&format!("stomp://127.0.0.1:{port}"), hasty()).unwrap();
    let error = broker.probe().await.unwrap_err();
    serving.abort();
    let text = shown(&error);
    assert!(matches!(error, Error::Unreachable(_)), "{text}");
    assert!(
        text.contains("point the setting `broker` at a STOMP port"),
        "{text}"
    );
}
