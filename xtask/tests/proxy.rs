//! The proxy's faults, each against a server that sends back what it hears: so that a test which blames the network may
//! trust the network that it was given.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use xtask::proxy::{Direction, Fault, Proxy};
use xtask::servers::wait_until;

const LIMIT: Duration = Duration::from_secs(20);
/// Long enough to see that nothing comes.
const SILENCE: Duration = Duration::from_millis(200);

/// A server that sends everything back and reports, for each connection, how it ended.
fn echo() -> (u16, Receiver<Result<usize, ErrorKind>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, ends) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, sender) = (stream.unwrap(), sender.clone());
            std::thread::spawn(move || {
                let copied = std::io::copy(&mut &stream, &mut &stream);
                let _ = sender.send(
                    copied
                        .map(|bytes| usize::try_from(bytes).unwrap())
                        .map_err(|error| error.kind()),
                );
            });
        }
    });
    (port, ends)
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

fn says(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

fn hears(mut stream: &TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), text);
}

fn hears_nothing(mut stream: &TcpStream) {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let kind = stream.read(&mut [0; 8]).unwrap_err().kind();
    assert!(
        matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{kind}"
    );
    stream.set_read_timeout(Some(LIMIT)).unwrap();
}

#[test]
fn bytes_and_ends_of_stream_pass() {
    let (port, ends) = echo();
    let proxy = Proxy::start(port).unwrap();
    let client = connect(&proxy);
    says(&client, "hello");
    hears(&client, "hello");
    assert_eq!(proxy.open(), 1);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!((&client).read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(ends.recv_timeout(LIMIT).unwrap(), Ok(5));
    wait_until("the connection is over", LIMIT, || proxy.open() == 0);
}

#[test]
fn much_passes_in_order() {
    let (port, _ends) = echo();
    let proxy = Proxy::start(port).unwrap();
    let client = connect(&proxy);
    let sent: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.to_le_bytes()[n as usize % 3])
        .collect();
    let received = std::thread::scope(|scope| {
        scope.spawn(|| (&client).write_all(&sent).unwrap());
        let mut received = vec![0; sent.len()];
        (&client).read_exact(&mut received).unwrap();
        received
    });
    assert!(received == sent);
}

#[test]
fn a_delay_holds_every_byte_back_and_keeps_their_order() {
    let (port, _ends) = echo();
    let proxy = Proxy::start(port).unwrap();
    let client = connect(&proxy);
    proxy.set(Direction::Down, Fault::Delay(SILENCE));
    let start = Instant::now();
    says(&client, "one");
    says(&client, "two");
    hears(&client, "onetwo");
    assert!(start.elapsed() >= SILENCE);
}

#[test]
fn a_stalled_direction_goes_on_where_it_was() {
    let (port, _ends) = echo();
    let proxy = Proxy::start(port).unwrap();
    let client = connect(&proxy);
    proxy.set(Direction::Up, Fault::Stall);
    says(&client, "late");
    hears_nothing(&client);
    proxy.heal();
    hears(&client, "late");
}

#[test]
fn a_black_hole_swallows_one_direction_and_the_end_of_stream() {
    let (port, ends) = echo();
    let proxy = Proxy::start(port).unwrap();
    let client = connect(&proxy);
    says(&client, "heard");
    hears(&client, "heard");
    proxy.set(Direction::Up, Fault::Blackhole);
    says(&client, "lost");
    hears_nothing(&client);
    proxy.heal();
    says(&client, "lost too");
    hears_nothing(&client);
    drop(client);
    assert!(
        ends.recv_timeout(SILENCE).is_err(),
        "the server saw an end that the network had swallowed"
    );
    let fresh = connect(&proxy);
    says(&fresh, "new");
    hears(&fresh, "new");
}

#[test]
fn a_reset_reaches_both_sides() {
    let (port, ends) = echo();
    let proxy = Proxy::start(port).unwrap();
    let client = connect(&proxy);
    says(&client, "x");
    hears(&client, "x");
    proxy.reset();
    assert_eq!(
        (&client).read(&mut [0; 8]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(
        ends.recv_timeout(LIMIT).unwrap(),
        Err(ErrorKind::ConnectionReset)
    );
    assert_eq!(proxy.open(), 0);
}

#[test]
fn a_refusing_proxy_takes_no_new_connection_and_keeps_the_open_one() {
    let (port, _ends) = echo();
    let proxy = Proxy::start(port).unwrap();
    let old = connect(&proxy);
    says(&old, "a");
    hears(&old, "a");
    proxy.refuse(true);
    let refused = connect(&proxy);
    assert!((&refused).read(&mut [0; 8]).is_err());
    says(&old, "b");
    hears(&old, "b");
    proxy.heal();
    let new = connect(&proxy);
    says(&new, "c");
    hears(&new, "c");
}

#[test]
fn a_cut_comes_after_exactly_so_many_bytes() {
    let (port, _ends) = echo();
    let proxy = Proxy::start(port).unwrap();
    for _ in 0..2 {
        let client = connect(&proxy);
        proxy.set(Direction::Both, Fault::Pass);
        says(&client, "before");
        hears(&client, "before");
        proxy.set(Direction::Down, Fault::CutAfter(4));
        says(&client, "abcdefgh");
        hears(&client, "abcd");
        let rest = (&client).read(&mut [0; 8]);
        assert!(rest.is_err() || rest.unwrap() == 0);
    }
}

#[test]
fn a_dropped_proxy_gives_up_its_port() {
    let (port, _ends) = echo();
    let proxy = Proxy::start(port).unwrap();
    let client = connect(&proxy);
    says(&client, "x");
    hears(&client, "x");
    let proxy_port = proxy.port();
    drop(proxy);
    assert!((&client).read(&mut [0; 8]).is_err());
    wait_until("nobody listens", LIMIT, || {
        TcpStream::connect(("127.0.0.1", proxy_port)).is_err()
    });
}
