//! A broker that was taken over: what it sends to a consumer costs neither the connection nor the memory of the worker,
//! and the message behind it arrives.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use super::*;

const HUGE_BYTES: usize = 64 * 1024 * 1024;
/// What the process may grow by while it reads two of them.
const GROWTH_KIB_MAX: u64 = 48 * 1024;

/// How long a process of its own may take for one test.
const ALONE: std::time::Duration = std::time::Duration::from_secs(120);

/// Memory that the process has (`VmRSS`), or had at most (`VmHWM`), in KiB.
fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Reads one frame; its receipt, if it asks for one.
fn frame(stream: &mut TcpStream) -> (String, Option<String>) {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while stream.read(&mut byte).unwrap_or(0) == 1 && byte[0] != 0 {
        bytes.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&bytes).trim_start().to_owned();
    let receipt = text.lines().find_map(|l| l.strip_prefix("receipt:"));
    let receipt = receipt.map(str::to_owned);
    (text, receipt)
}

/// A pattern again and again, about [`HUGE_BYTES`] of it.
fn fill(stream: &mut TcpStream, pattern: &[u8]) {
    let piece = pattern.repeat(64 * 1024 / pattern.len());
    for _ in 0..HUGE_BYTES / piece.len() {
        stream.write_all(&piece).unwrap();
    }
}

/// The messages, one after another; each begins with its subscription and ends with NUL.
fn messages(stream: &mut TcpStream, id: &str) {
    let begin = |stream: &mut TcpStream, headers: &[u8]| {
        let head = format!("MESSAGE\nsubscription:{id}\nack:a\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(headers).unwrap();
    };
    // A body of declared length.
    begin(stream, b"campanile_sig:s\ncontent-length:67108864\n\n");
    fill(stream, b"[");
    // One that ends somewhere.
    stream.write_all(&[0]).unwrap();
    begin(stream, b"campanile_sig:s\n\n");
    fill(stream, b"[");
    stream.write_all(&[0]).unwrap();
    // Headers over the limits, and within reason: one long, many short.
    begin(stream, b"campanile_sig:s\nh:");
    stream.write_all(&[b'h'; 500_000]).unwrap();
    stream.write_all(b"\n\nx\0").unwrap();
    begin(stream, b"campanile_sig:s\n");
    stream.write_all(&b"name:value\n".repeat(900)).unwrap();
    stream.write_all(b"\nx\0").unwrap();
    // Bytes that are no text, and one as it should be.
    begin(
        stream,
        b"campanile_sig:\xff\xfe\ncontent-length:3\n\n\xff\xed\xa0\0",
    );
    begin(stream, b"campanile_sig:s\n\ngood\0");
}

/// A broker on a thread of its own: what waits for a connection that never comes must not keep a test that has failed from
/// saying so.
#[expect(
    clippy::disallowed_methods,
    reason = "a runtime waits for its own threads at its end, whatever has failed"
)]
pub fn aside(broker: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
    std::thread::spawn(broker)
}

/// Waits for such a broker's end.
async fn ended(peer: std::thread::JoinHandle<()>) {
    let joined = tokio::task::spawn_blocking(move || peer.join());
    joined.await.unwrap().unwrap();
}

fn taken_over(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    frame(&mut stream);
    let connected = b"CONNECTED\nversion:1.2\nserver:x/1\nheart-beat:0,0\n\n\0";
    stream.write_all(connected).unwrap();
    let (subscribe, receipt) = frame(&mut stream);
    let id = subscribe.lines().find_map(|l| l.strip_prefix("id:"));
    let (id, receipt) = (id.unwrap(), receipt.unwrap());
    let answer = format!("RECEIPT\nreceipt-id:{receipt}\n\n\0");
    stream.write_all(answer.as_bytes()).unwrap();
    messages(&mut stream, id);
    // Open until the consumer goes.
    frame(&mut stream);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_64_mib_are_passed_by_in_little_memory() {
    // The memory is that of the whole process, in which other tests have their own bodies.
    if !xtask::is_alone(
        "broker::hostile::bodies_of_64_mib_are_passed_by_in_little_memory",
        ALONE,
    ) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = aside(move || taken_over(&listener));
    let broker = connect(&format!("stomp://127.0.0.1:{port}"));
    let mut consumer = broker.consume("q", 100).await.unwrap();
    let before = memory_kib("VmRSS:");
    let mut got = Vec::new();
    while got.len() < 6 {
        got.extend(receive(&mut *consumer).await);
    }
    let seen: Vec<(&str, &str)> = got
        .iter()
        .map(|d| (d.body.as_str(), d.signature.as_str()))
        .collect();
    let cut = ("", "");
    let noise = ("\u{fffd}\u{fffd}\u{fffd}", "\u{fffd}\u{fffd}");
    assert_eq!(seen, [cut, cut, cut, cut, noise, ("good", "s")]);
    let grown = memory_kib("VmHWM:").saturating_sub(before);
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB for 128 MiB");
    drop(consumer);
    drop(broker);
    ended(peer).await;
}

/// What a broker does to a consumer, one after another, each on a connection of its own.
fn misdeeds() -> Vec<(&'static str, Vec<u8>)> {
    let message = |rest: &str| format!("MESSAGE\nsubscription:ID\n{rest}").into_bytes();
    vec![
        (
            "absurd",
            message("ack:a\ncontent-length:18446744073709551615\n\nx\0"),
        ),
        ("absurd", message("ack:a\ncontent-length:9999999999\n\nx\0")),
        ("not a number", message("ack:a\ncontent-length:-1\n\nx\0")),
        ("not a number", message("ack:a\ncontent-length:ten\n\nx\0")),
        (
            "does not end where it says",
            message("ack:a\ncontent-length:1\n\nxyz\0"),
        ),
        (
            "an absurd number of headers",
            message(&format!("{}ack:a\n\nx\0", "a:b\n".repeat(50_000))),
        ),
        (
            "an absurd number of headers",
            message(&format!("{}\nack:a\n\nx\0", "h:".repeat(1024 * 1024))),
        ),
        ("a header is malformed", message("ack:a\nno colon\n\nx\0")),
        ("a header is malformed", message("ack:a\nh:\\t\n\nx\0")),
        ("a header is malformed", message("ack:a\n\0\n\nx\0")),
        ("does not speak STOMP", message("ack:a\n\nx\0\0")),
        ("a RECEIPT that names no request", b"RECEIPT\n\n\0".to_vec()),
        (
            "a RECEIPT that names no request",
            b"RECEIPT\nreceipt-id:x\n\n\0".to_vec(),
        ),
        ("it sent a CONNECTED frame", b"CONNECTED\n\n\0".to_vec()),
        (
            "a subscription that never was",
            b"MESSAGE\nsubscription:77777\nack:a\n\nx\0".to_vec(),
        ),
        ("can't be acknowledged", message("\nx\0")),
        ("names no subscription", b"MESSAGE\nack:a\n\nx\0".to_vec()),
        (
            "names no subscription",
            b"MESSAGE\nsubscription:-1\nack:a\n\nx\0".to_vec(),
        ),
        (
            "does not speak STOMP",
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        ),
        ("it sent a SEND frame", b"SEND\n\n\0".to_vec()),
        (
            "than the prefetch allows",
            message("ack:a\n\nx\0").repeat(200),
        ),
    ]
}

/// Takes a consumer's connection, does one thing to it, and waits for its end; then the next.
fn misbehaves(listener: &TcpListener) {
    let mut deeds = misdeeds().into_iter();
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        frame(&mut stream);
        let connected = b"CONNECTED\nversion:1.2\nserver:x/1\nheart-beat:0,0\n\n\0";
        let _ = stream.write_all(connected);
        let (subscribe, receipt) = frame(&mut stream);
        let id = subscribe.lines().find_map(|l| l.strip_prefix("id:"));
        let (Some(id), Some(receipt)) = (id, receipt) else {
            // It gave up before it had subscribed, on a busy machine: it dials again.
            continue;
        };
        let deed = deeds.next();
        let answer = format!("RECEIPT\nreceipt-id:{receipt}\n\n\0");
        stream.write_all(answer.as_bytes()).unwrap();
        let Some((said, bytes)) = deed else {
            // All is done: more headers than are kept, which only cost the message, and the one as it should be.
            let many = "a:b\n".repeat(500);
            let head = format!("MESSAGE\nsubscription:{id}\n");
            let text = format!("{head}{many}ack:1\n\nbad\0{head}ack:2\n\ngood\0");
            stream.write_all(text.as_bytes()).unwrap();
            frame(&mut stream);
            return;
        };
        // The first `ID` of each message is the subscription's.
        let text = String::from_utf8(bytes).unwrap().replace("ID", id);
        let _ = stream.write_all(text.as_bytes());
        // It is the consumer who leaves; of a message that could not be read he says that he is done with it.
        let mut farewell = Vec::new();
        let _ = stream.read_to_end(&mut farewell);
        let farewell = String::from_utf8_lossy(&farewell);
        let unreadable = ["absurd", "not a number", "where it says", "malformed"];
        assert_eq!(
            farewell.contains("ACK\nid:a\n"),
            unreadable.iter().any(|part| said.contains(part)),
            "{said}: {farewell}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_breaks_the_protocol_is_left_named_counted_and_dialled_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let peer = aside(move || misbehaves(&listener));
    let broker = connect(&format!("stomp://127.0.0.1:{port}"));
    for (broken, (said, _)) in (1..).zip(misdeeds()) {
        let mut consumer = consume_at_last(&*broker, "q", 100).await;
        // Whoever takes messages out as they come makes room for more than the prefetch.
        let is_broken = || broker.faults().connections_broken >= broken;
        until(&format!("it is left, because {said}"), is_broken).await;
        let received = system::within(SOON, consumer.receive()).await;
        let error = received.expect("the consumer is told").unwrap_err();
        let text = shown(&error);
        assert!(text.contains(said), "{said}: {text}");
    }
    let mut consumer = consume_at_last(&*broker, "q", 100).await;
    let mut got = Vec::new();
    while got.len() < 2 {
        got.extend(receive(&mut *consumer).await);
    }
    let bodies: Vec<&str> = got.iter().map(|d| d.body.as_str()).collect();
    assert_eq!(bodies, ["", "good"]);
    let faults = broker.faults();
    assert_eq!(faults.connections_broken, misdeeds().len() as u64);
    assert_eq!(faults.messages_cut, 1);
    drop(consumer);
    drop(broker);
    ended(peer).await;
}
