//! What a crowd of clients, or one that can't be trusted, may do to a node's HTTP service: connections that say nothing,
//! halves of requests, requests that can be read in two ways. Each time an honest client is answered beside it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use xtask::servers::TempDir;

use crate::security::make_certificate;
use crate::support::{PATIENCE, Service, TOKEN, start};

/// Sends bytes and reads the status of the answer; `None` when there is none.
pub fn status_of(address: SocketAddr, bytes: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A service that has said no already may close while it is still written.
    let _ = stream.write_all(bytes);
    first_status(&mut stream)
}

pub fn first_status(stream: &mut TcpStream) -> Option<u16> {
    let mut answer = Vec::new();
    let mut piece = [0; 1_024];
    while !answer.windows(2).any(|w| w == b"\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(n) => answer.extend_from_slice(&piece[..n]),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    text.split(' ').nth(1)?.parse().ok()
}

/// A connection of its own: one that is kept between requests may be displaced while the next request is on its way.
async fn healthy(s: &Service) {
    let asked = s.raw("GET", "/healthz");
    let asked = asked.header("Connection", "close").send();
    let answer = campanile_core::system::within(PATIENCE, asked)
        .await
        .unwrap();
    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_can_be_read_in_two_ways_are_refused() {
    let s = start(&[]).await;
    let address = s.app.address;
    let auth = format!("Authorization: Bearer {TOKEN}\r\n");
    let get = |target: &str, headers: &str| {
        format!("GET {target} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").into_bytes()
    };
    let host = format!("Host: {address}\r\n");
    let good = [
        get("/healthz", &host),
        get(&format!("http://{address}/healthz"), &host),
        get("/api/v1/nodes", &format!("{host}{auth}")),
    ];
    for request in good {
        assert_eq!(status_of(address, &request), Some(200), "{request:?}");
    }
    let twice = format!("{host}Host: evil.example\r\n");
    let tokens = format!("{host}Authorization: Bearer cmp_another-0123456789\r\n{auth}");
    let body = |framing: &str, body: &str| {
        format!("POST /api/v1/runs HTTP/1.1\r\n{host}{auth}{framing}\r\n{body}").into_bytes()
    };
    let chunked = "Transfer-Encoding: chunked\r\n";
    let bad = [
        get("/healthz", &twice),
        get("/healthz", &format!("Host: evil.example\r\n{host}")),
        get("/healthz", ""),
        get("http://evil.example/healthz", &host),
        get("/api/v1/nodes", &tokens),
        body(&format!("Content-Length: 2\r\n{chunked}"), "0\r\n\r\n"),
        body(&format!("{chunked}Content-Length: 2\r\n"), "0\r\n\r\n"),
        body(&format!("{chunked}{chunked}"), "0\r\n\r\n"),
        body("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"),
        body("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"),
        body("Content-Length: -1\r\n", "{}"),
        body("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
    ];
    for request in bad {
        let text = String::from_utf8_lossy(&request).into_owned();
        assert_eq!(status_of(address, &request), Some(400), "{text}");
    }
    // Headers without an end, and without number.
    let flood = format!("{host}{}", "x: y\r\n".repeat(25_000));
    assert_eq!(status_of(address, &get("/healthz", &flood)), Some(431));
    healthy(&s).await;
    s.stop().await;
}

async fn displaced(s: &Service) -> u32 {
    let Ok(metrics) = s.raw("GET", "/metrics").bearer_auth(TOKEN).send().await else {
        return 0;
    };
    let text = metrics.text().await.unwrap_or_default();
    let found = text
        .lines()
        .find_map(|l| l.strip_prefix("campanile_http_connections_displaced_total "));
    found.map_or(0, |n| n.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn halves_of_requests_keep_nobody_out() {
    let s = start(&[
        ("max_connections", "100"),
        ("max_connections_per_address", "60"),
    ])
    .await;
    let mut held = Vec::new();
    for n in 0..300 {
        let mut stream = TcpStream::connect(s.app.address).unwrap();
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc");
        held.push(stream);
        if n % 50 == 0 {
            healthy(&s).await;
        }
    }
    healthy(&s).await;
    // Those that wait to be taken come in their turn, and all but the last 60 have gone: displaced, or on a slow machine
    // because their head took too long.
    for (n, stream) in held.iter_mut().enumerate().take(240) {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let end = tokio::task::block_in_place(|| stream.read(&mut [0]));
        let is_open = end
            .as_ref()
            .is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
        assert!(!is_open, "half {n} is open still");
    }
    assert!(displaced(&s).await > 0);
    healthy(&s).await;
    drop(held);
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seven_hundred_silent_handshakes_delay_no_honest_one() {
    if !xtask::servers::on_path("openssl") {
        return xtask::skip("openssl makes the certificate: apt-get install openssl");
    }
    let folder = TempDir::new("tls-crowd").unwrap();
    let (cert, key) = (folder.join("c.pem"), folder.join("k.pem"));
    make_certificate(&cert, &key);
    let s = start(&[
        ("tls_cert", cert.to_str().unwrap()),
        ("tls_key", key.to_str().unwrap()),
        ("max_connections_per_address", "150"),
    ])
    .await;
    let ca = reqwest::Certificate::from_pem(&std::fs::read(&cert).unwrap()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([ca]).build();
    let client = client.unwrap();
    let url = format!("https://localhost:{}/healthz", s.app.address.port());
    let silent: Vec<TcpStream> = (0..700)
        .filter_map(|_| TcpStream::connect(s.app.address).ok())
        .collect();
    assert_eq!(silent.len(), 700);
    for _ in 0..3 {
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "ok\n");
    }
    drop(silent);
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_place_is_in_use_a_newcomer_is_turned_away_and_later_taken() {
    let s = start(&[("max_connections", "16")]).await;
    let head = format!(
        "POST /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    );
    let busy: Vec<TcpStream> = (0..16)
        .map(|_| {
            let mut stream = TcpStream::connect(s.app.address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            // The service asks for the body: the request is being served.
            assert_eq!(first_status(&mut stream), Some(100));
            stream
        })
        .collect();
    let turned_away = status_of(
        s.app.address,
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert!(matches!(turned_away, None | Some(503)), "{turned_away:?}");
    drop(busy);
    let at_last = campanile_core::system::within(PATIENCE, async {
        while s.raw("GET", "/healthz").send().await.is_err_or_busy() {
            campanile_core::system::pause(Duration::from_millis(20)).await;
        }
    });
    assert!(at_last.await.is_some());
    s.stop().await;
}

trait Busy {
    fn is_err_or_busy(&self) -> bool;
}

impl Busy for Result<reqwest::Response, reqwest::Error> {
    fn is_err_or_busy(&self) -> bool {
        self.as_ref().map_or(true, |a| a.status() != 200)
    }
}
