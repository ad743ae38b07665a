//! The http handler against a server that keeps what it was sent and answers what the test says.

use std::collections::BTreeMap;

use campanile_adapters::handlers::{Http, HttpOptions};
use campanile_core::limits;
use campanile_core::port::handler::{Context, Executor as _, Failure, Verdict};
use campanile_core::system;
use campanile_core::task::{Class, HandlerSpec, HttpSpec};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{DEADLINE, context};

/// A server that gives every connection one answer and then closes it.
struct Server {
    address: std::net::SocketAddr,
    requests: mpsc::UnboundedReceiver<String>,
}

impl Server {
    async fn start(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::unbounded_channel();
        system::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let request = read_request(&mut socket).await;
                sender.send(request).unwrap();
                // The client may stop reading a long answer: that is its right.
                let _ = socket.write_all(&answer).await;
            }
        });
        Self { address, requests }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn request(&mut self) -> String {
        system::within(DEADLINE, self.requests.recv())
            .await
            .unwrap()
            .unwrap()
    }

    fn nothing_came(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        if let Some(head) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            if bytes.len() >= head + 4 + length {
                return String::from_utf8(bytes).unwrap();
            }
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}

fn spec(method: &str, url: &str) -> HttpSpec {
    HttpSpec {
        url: url.to_owned(),
        method: method.to_owned(),
        headers: BTreeMap::new(),
        expect: Vec::new(),
    }
}

async fn send(spec: HttpSpec, context: Context) -> Result<(), Failure> {
    let end = open().execute(&HandlerSpec::Http(spec), context).await;
    end.map(drop)
}

fn open() -> Http {
    Http::new(HttpOptions {
        allow_private_targets: true,
        ..HttpOptions::default()
    })
    .unwrap()
}

fn guarded() -> Http {
    Http::new(HttpOptions::default()).unwrap()
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn the_target_gets_the_payload_and_the_key() {
    let mut server = Server::start(answer("200 OK", "made it")).await;
    let context = context(json!({"day": "yesterday"}));
    let log = context.log.clone();
    let mut spec = spec("POST", &server.url("/report?q=1"));
    spec.headers.insert("X-Team".to_owned(), "ops".to_owned());
    spec.headers
        .insert("idempotency-key".to_owned(), "mine".to_owned());
    send(spec, context.clone()).await.unwrap();

    let request = server.request().await;
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines[0], "POST /report?q=1 HTTP/1.1");
    for line in [
        "content-type: application/json",
        "x-team: ops",
        "idempotency-key: nightly-report:1764576000000",
        &format!("campanile-run: {}", context.run),
        "campanile-attempt: 2",
        "campanile-task: nightly-report",
        "campanile-due-at: 2025-12-01T08:00:00.000Z",
        &format!("host: {}", server.address),
        concat!("user-agent: campanile/", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(lines.contains(&line), "no `{line}` in\n{head}");
    }
    assert_eq!(head.matches("idempotency-key").count(), 1);
    assert_eq!(body, r#"{"day":"yesterday"}"#);
    assert_eq!(log.text(), "HTTP/1.1 200 OK\n\nmade it");
}

#[tokio::test]
async fn the_tasks_own_headers_win_where_they_may() {
    let mut server = Server::start(answer("204 No Content", "")).await;
    let mut spec = spec("PUT", &server.url("/"));
    for (name, value) in [
        ("Content-Type", "application/xml"),
        ("User-Agent", "mine/1"),
        ("Host", "virtual.example"),
    ] {
        spec.headers.insert(name.to_owned(), value.to_owned());
    }
    send(spec, context(json!("<a/>"))).await.unwrap();
    let request = server.request().await;
    for line in [
        "content-type: application/xml\r\n",
        "user-agent: mine/1\r\n",
        "host: virtual.example\r\n",
    ] {
        assert_eq!(request.matches(line).count(), 1, "{request}");
    }
    assert!(request.ends_with("\r\n\r\n<a/>"), "{request}");
}

#[tokio::test]
async fn framing_is_not_the_tasks_to_write() {
    let mut server = Server::start(answer("200 OK", "")).await;
    for name in ["Content-Length", "Transfer-Encoding", "Connection"] {
        let mut spec = spec("POST", &server.url("/"));
        spec.headers.insert(name.to_owned(), "1".to_owned());
        let end = send(spec, context(json!("body"))).await;
        assert!(
            matches!(&end, Err(m) if m.verdict() == Verdict::Fatal && m.message().contains("leave it out")),
            "{end:?}"
        );
    }
    assert!(server.nothing_came());
}

#[tokio::test]
async fn methods_without_a_body_send_none() {
    for method in ["GET", "HEAD", "DELETE"] {
        let mut server = Server::start(answer("200 OK", "")).await;
        let payload = if method == "DELETE" {
            Value::Null
        } else {
            json!([1])
        };
        send(spec(method, &server.url("/x")), context(payload))
            .await
            .unwrap();
        let request = server.request().await;
        assert!(request.starts_with(&format!("{method} /x ")), "{request}");
        assert!(request.ends_with("\r\n\r\n"), "{request}");
        assert!(!request.contains("content-type"), "{request}");
    }
}

#[tokio::test]
async fn the_status_decides_and_is_named() {
    for (status, retry) in [
        ("503 Service Unavailable", true),
        ("429 Too Many Requests", true),
        ("404 Not Found", false),
        ("400 Bad Request", false),
    ] {
        let server = Server::start(answer(status, "why not")).await;
        let context = context(Value::Null);
        let log = context.log.clone();
        let failure = send(spec("GET", &server.url("/")), context)
            .await
            .unwrap_err();
        assert_eq!(failure.verdict() == Verdict::Retry, retry, "{failure:?}");
        assert!(failure.to_string().contains(status), "{failure}");
        assert!(log.text().ends_with("why not"), "{}", log.text());
    }
    let server = Server::start(answer("404 Not Found", "")).await;
    let mut spec = spec("GET", &server.url("/"));
    spec.expect = vec![404];
    send(spec, context(Value::Null)).await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let mut elsewhere = Server::start(answer("200 OK", "")).await;
    let server = Server::start(format!(
        "HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        elsewhere.url("/secret")
    ))
    .await;
    let context = context(Value::Null);
    let log = context.log.clone();
    let failure = send(spec("GET", &server.url("/")), context)
        .await
        .unwrap_err();
    assert!(
        matches!(&failure, m if m.verdict() == Verdict::Fatal && m.message().contains("not followed")),
        "{failure:?}"
    );
    assert!(log.text().contains("/secret"), "{}", log.text());
    assert!(elsewhere.nothing_came());
}

#[tokio::test]
async fn no_answer_is_worth_a_retry() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let url = format!("http://127.0.0.1:{port}/?token=hush");
    let failure = send(spec("GET", &url), context(Value::Null))
        .await
        .unwrap_err();
    assert!(failure.verdict() == Verdict::Retry, "{failure:?}");
    let text = failure.to_string();
    assert!(
        text.contains("127.0.0.1") && text.contains("refused"),
        "{text}"
    );
    assert!(!text.contains("hush"), "{text}");

    let silent = Server::start("").await;
    let failure = send(spec("GET", &silent.url("/")), context(Value::Null))
        .await
        .unwrap_err();
    assert!(failure.verdict() == Verdict::Retry, "{failure:?}");
}

#[tokio::test]
async fn a_long_answer_is_cut_and_not_waited_for() {
    // Promised and never finished: only a reader that stops by itself gets an end.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = system::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 9000000000\r\n\r\n";
        socket.write_all(head).await.unwrap();
        while socket.write_all(&[b'x'; 8192]).await.is_ok() {}
    });
    let context = context(Value::Null);
    let log = context.log.clone();
    let end = system::within(DEADLINE, send(spec("GET", &url), context)).await;
    assert_eq!(end, Some(Ok(())));
    let text = log.text();
    assert!(
        text.starts_with("HTTP/1.1 200 OK\n\nxxx"),
        "{}",
        &text[..40]
    );
    assert!(text.contains(" bytes are left out here]\n"), "not flagged");
    assert!(text.ends_with("x\n[the rest of the answer is not read]\n"));
    assert!(text.len() <= limits::LOG_BYTES + 64);
    system::within(DEADLINE, server).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_that_breaks_off_keeps_its_status() {
    let server = Server::start("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf\0 of it").await;
    let context = context(Value::Null);
    let log = context.log.clone();
    send(spec("GET", &server.url("/")), context).await.unwrap();
    let text = log.text();
    assert!(text.contains("half of"), "{text}");
    assert!(text.contains("[the answer broke off"), "{text}");
}

#[tokio::test]
async fn stop_ends_a_request_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let context = context(Value::Null);
    let stop = context.stop.clone();
    let attempt = system::spawn(async move { send(spec("GET", &url), context).await });
    let (mut socket, _) = listener.accept().await.unwrap();
    read_request(&mut socket).await;
    stop.cancel();
    let end = system::within(DEADLINE, attempt).await.unwrap().unwrap();
    assert!(
        matches!(&end, Err(m) if m.verdict() == Verdict::Retry),
        "{end:?}"
    );
    // And the target sees it: the connection is closed.
    let closed = system::within(DEADLINE, socket.read(&mut [0; 16]))
        .await
        .unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
}

#[tokio::test]
async fn private_targets_are_refused_unless_allowed() {
    let mut server = Server::start(answer("200 OK", "")).await;
    let port = server.address.port();
    // By address, in other spellings, and by a name that a resolver has to look up.
    for host in [
        "127.0.0.1",
        "0x7f.1",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "localhost",
    ] {
        let handler = HandlerSpec::Http(spec("GET", &format!("http://{host}:{port}/")));
        let end = guarded().execute(&handler, context(Value::Null)).await;
        let refused = end.unwrap_err();
        assert_eq!(refused.verdict(), Verdict::NotAllowed, "{host}");
        let message = refused.message();
        assert!(message.contains("--allow-private-targets"), "{message}");
        assert!(message.contains("the worker's own machine"), "{message}");
    }
    assert!(server.nothing_came());
    let by_name = format!("http://localhost:{port}/");
    send(spec("GET", &by_name), context(Value::Null))
        .await
        .unwrap();
    assert!(
        server
            .request()
            .await
            .contains(&format!("host: localhost:{port}\r\n"))
    );
}

#[tokio::test]
async fn tls_is_asked_for_the_host_by_its_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/",
        listener.local_addr().unwrap().port()
    );
    let attempt = system::spawn(async move { send(spec("GET", &url), context(Value::Null)).await });
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut hello = Vec::new();
    while !hello.windows(9).any(|w| w == b"localhost") {
        assert_ne!(
            socket.read_buf(&mut hello).await.unwrap(),
            0,
            "no server name"
        );
    }
    drop(socket);
    let end = system::within(DEADLINE, attempt).await.unwrap().unwrap();
    assert!(
        matches!(&end, Err(m) if m.verdict() == Verdict::Retry),
        "{end:?}"
    );
}

#[tokio::test]
async fn what_is_no_http_address_is_refused() {
    for url in [
        "ftp://example.com/",
        "file:///etc/passwd",
        "example.com",
        "http://",
    ] {
        let end = send(spec("GET", url), context(Value::Null)).await;
        assert!(
            matches!(&end, Err(m) if m.verdict() == Verdict::Fatal),
            "{url}: {end:?}"
        );
    }
    let end = open()
        .execute(&HandlerSpec::Native("x".to_owned()), context(Value::Null))
        .await;
    assert!(
        matches!(&end, Err(m) if m.verdict() == Verdict::Fatal && m.message().contains("native")),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_failure_carries_its_class_and_what_the_target_asks_for() {
    let busy = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 4\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let server = Server::start(busy).await;
    let end = send(spec("GET", &server.url("/")), context(Value::Null)).await;
    let failure = end.unwrap_err();
    assert_eq!(failure.class(), &Class::Status(429));
    assert_eq!(
        failure.least_wait(),
        Some(std::time::Duration::from_secs(4))
    );

    let dated = "HTTP/1.1 503 Service Unavailable\r\ndate: Tue, 01 Dec 2026 08:00:00 GMT\r\n\
                 retry-after: Tue, 01 Dec 2026 08:02:00 GMT\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let server = Server::start(dated).await;
    let end = send(spec("GET", &server.url("/")), context(Value::Null)).await;
    assert_eq!(
        end.unwrap_err().least_wait(),
        Some(std::time::Duration::from_secs(120))
    );
}

#[tokio::test]
async fn what_kept_the_answer_away_is_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = free.local_addr().unwrap();
    drop(free);
    // It speaks at once, and not TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap();
    system::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.write_all(b"220 this is no TLS\r\n").await;
            let _ = read_request(&mut socket).await;
        }
    });
    let silent = Server::start("").await;
    for (url, class) in [
        (format!("http://{closed}/"), Class::Connect),
        (format!("https://{plain}/"), Class::Tls),
        (silent.url("/"), Class::Broken),
        ("http://no-such-host.invalid/".to_owned(), Class::Dns),
    ] {
        let end = send(spec("GET", &url), context(Value::Null)).await;
        let failure = end.unwrap_err();
        assert_eq!(failure.class(), &class, "{url}: {failure}");
        assert_eq!(failure.verdict(), Verdict::Retry, "{url}");
    }
}
