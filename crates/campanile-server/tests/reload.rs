//! The program as a process that is told things: to take its certificate and the level of its log again, to end while it
//! computes, and what a panic looks like in its log.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::Value;
use xtask::servers::{TempDir, free_port, wait_until};

use crate::process::{PATIENCE, Process};
use crate::security::make_certificate;
use crate::support::TOKEN;

/// The log of a process: each line of it is JSON, and it holds nothing else.
fn log(folder: &TempDir) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("err")).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

fn says(folder: &TempDir, part: &str) -> bool {
    log(folder).iter().any(|line| {
        line["fields"]["message"]
            .as_str()
            .is_some_and(|m| m.contains(part))
    })
}

/// Whether the service answers with a certificate that this one vouches for, and takes the token.
fn answers(port: u16, cert: &[u8], token: &str) -> bool {
    // The error is that another test was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let ca = reqwest::Certificate::from_pem(cert).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only([ca])
            .build()
            .unwrap();
        let url = format!("https://localhost:{port}/metrics");
        let answer = client.get(url).bearer_auth(token).send().await;
        answer.is_ok_and(|a| a.status() == 200)
    })
}

#[test]
fn a_hang_up_takes_the_certificate_and_the_log_level_anew_and_keeps_what_works() {
    if !xtask::servers::on_path("openssl") {
        return xtask::skip("openssl makes the certificate: apt-get install openssl");
    }
    let folder = TempDir::new("reload").unwrap();
    let (cert, key) = (folder.join("c.pem"), folder.join("k.pem"));
    make_certificate(&cert, &key);
    let first = std::fs::read(&cert).unwrap();
    let port = free_port();
    let settings = |level: &str| {
        let text = format!(
            "listen = \"127.0.0.1:{port}\"\ntls_cert = \"c.pem\"\ntls_key = \"k.pem\"\nlog = \"json\"\n\
             log_level = \"{level}\"\ntoken_file = \"token\"\n"
        );
        std::fs::write(folder.join("s.toml"), text).unwrap();
    };
    settings("info");
    let token = |text: &str| {
        std::fs::write(folder.join("token"), text).unwrap();
        let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(folder.join("token"), own).unwrap();
    };
    let another = "cmp_7f3a91c2e5d84b06a1f29c3d7e5b8a40";
    token(TOKEN);
    let mut node = Process::start(&folder, &["serve", "--config", "s.toml"]);
    wait_until("it answers", PATIENCE, || answers(port, &first, TOKEN));
    assert!(!answers(port, &first, another));
    token(another);
    make_certificate(&cert, &key);
    let second = std::fs::read(&cert).unwrap();
    settings("info,campanile_server=debug");
    node.signal("HUP");
    let taken =
        "has taken again: log level `info,campanile_server=debug`, tokens (1), certificate and key";
    wait_until("it has reloaded", PATIENCE, || says(&folder, taken));
    assert!(answers(port, &second, another) && !answers(port, &first, another));
    assert!(!answers(port, &second, TOKEN));
    wait_until(
        "a handshake that failed is a line of the new level",
        PATIENCE,
        || says(&folder, "a TLS handshake failed"),
    );
    // What can't be used leaves the old in force.
    std::fs::write(&cert, "no certificate").unwrap();
    token("short");
    settings("not=a=filter");
    node.signal("HUP");
    wait_until("it says what it can't take", PATIENCE, || {
        says(&folder, "the certificate stays the old one")
            && says(&folder, "the settings can't be taken again")
            && says(&folder, "the tokens stay the old ones")
            && says(&folder, "has taken again: nothing")
    });
    assert!(answers(port, &second, another));
    node.signal("TERM");
    assert_eq!(node.status_within(PATIENCE), Some(0));
    log(&folder);
}

#[test]
fn a_panic_on_any_thread_is_one_line_of_the_log() {
    for (point, thread, code) in [
        ("secret.kept:1:panic", "main", 101),
        ("lock.acquired:1:panic", "campanile-elector", 1),
        ("heartbeat.before:1:panic", "tokio-rt-worker", 1),
    ] {
        let folder = TempDir::new("panic").unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let args = [
            "serve", "--listen", &listen, "--log", "json", "--drain", "1s",
        ];
        let environment = [
            ("CAMPANILE_FAILPOINT", point),
            ("RUST_BACKTRACE", "1"),
            ("CAMPANILE_TOKEN", TOKEN),
        ];
        let mut node = Process::start_in(&folder, &args, &environment);
        assert_eq!(node.status_within(PATIENCE), Some(code), "{point}");
        let lines = log(&folder);
        let panics: Vec<&Value> = lines
            .iter()
            .filter(|l| l["fields"]["thread"] == thread && l["level"] == "ERROR")
            .collect();
        assert_eq!(panics.len(), 1, "{point}: {lines:#?}");
        let said = panics[0]["fields"]["message"].as_str().unwrap();
        let name = point.split(':').next().unwrap();
        assert!(
            said.contains(name) && said.contains("panicked at"),
            "{said}"
        );
    }
}

#[test]
fn a_node_ends_when_it_is_asked_to_whatever_it_computes() {
    let folder = TempDir::new("busy-end").unwrap();
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let tasks: String = (0..300)
        .map(|n| format!("[[task]]\nname = \"t{n}\"\nschedule = \"*/7 * * * * *\"\nhandler = {{ native = \"x\" }}\n"))
        .collect();
    std::fs::write(folder.join("t.toml"), tasks).unwrap();
    let args = [
        "serve",
        "--listen",
        &listen,
        "--tasks",
        "t.toml",
        "--drain",
        "1s",
        "--roles",
        "scheduler,worker,api",
    ];
    let mut node = Process::start_in(&folder, &args, &[("CAMPANILE_TOKEN", TOKEN)]);
    wait_until("it listens", PATIENCE, || {
        TcpStream::connect(&listen).is_ok()
    });
    let asked: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(&listen).unwrap();
            let request = format!(
                "GET /api/v1/plan?days=366 HTTP/1.1\r\nHost: {listen}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    node.signal("TERM");
    assert_eq!(node.status_within(PATIENCE), Some(0));
    drop(asked);
}
