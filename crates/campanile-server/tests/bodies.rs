//! Bodies of requests that are larger than anybody needs, or hold more than they look: each is refused before it costs
//! memory or time, and what people do send fits.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::doors::status_of;
use crate::support::{Answer, Service, TOKEN, answer, start};

const MIB: usize = 1024 * 1024;

/// Memory that the process has (`VmRSS`), or had at most (`VmHWM`), in KiB.
fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn post(s: &Service, path: &str, body: String) -> Answer {
    let request = s
        .raw("POST", &format!("/api/v1{path}"))
        .bearer_auth(TOKEN)
        .header("content-type", "application/json")
        .body(body);
    answer(request.send().await.unwrap()).await
}

fn detail(answer: &Answer) -> &str {
    answer.body["detail"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_runs_of_one_submission_fit() {
    let s = start(&[]).await;
    let task = json!({ "handler": { "native": "nobody" } });
    assert_eq!(s.ask("PUT", "/tasks/t", Some(task)).await.status, 201);
    let run = |n: usize| {
        json!({ "task": "t", "run_at": "2036-01-01T00:00:00Z", "idempotency_key": format!("key-{n}"),
            "payload": { "customer": n, "note": "x".repeat(100) } })
    };
    let runs: Vec<Value> = (0..10_000).map(run).collect();
    let body = json!({ "runs": runs }).to_string();
    assert!(body.len() > 2 * MIB, "{}", body.len());
    let got = post(&s, "/runs", body).await;
    assert_eq!(got.status, 201, "{}", detail(&got));
    assert_eq!(got.body["runs"].as_array().unwrap().len(), 10_000);
    let mut more: Vec<Value> = (0..10_001).map(run).collect();
    let got = post(&s, "/runs", json!({ "runs": more }).to_string()).await;
    assert_eq!(got.status, 413);
    let said = detail(&got);
    assert!(
        said.contains("10000 runs") && said.contains("max_bulk_body"),
        "{said}"
    );
    more.truncate(3);
    more[2]["taks"] = json!("t");
    let got = post(&s, "/runs", json!({ "runs": more }).to_string()).await;
    assert_eq!(
        (got.status, got.body["field"].as_str()),
        (400, Some("runs[2].taks"))
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_end_of_a_body_says_that_the_connection_ends() {
    let s = start(&[]).await;
    let put = |path: &str, token: &str, length: usize| {
        let request = s.raw("PUT", &format!("/api/v1{path}")).bearer_auth(token);
        request.body("x".repeat(length)).send()
    };
    for (path, token, length, status) in [
        ("/tasks/t", TOKEN, 2 * MIB, 413),
        ("/tasks/t", "another-token-of-some-length", 2 * MIB, 401),
        ("/nowhere", TOKEN, 2 * MIB, 404),
    ] {
        let got = put(path, token, length).await.unwrap();
        let said = got.headers().get("connection").cloned();
        assert_eq!(got.status(), status, "{path}");
        assert_eq!(said.unwrap(), "close", "{path}");
        // Whoever asks next asks over another connection, and is answered.
        let next = s.get("/tasks").await;
        assert_eq!(next.status, 200, "{path}");
    }
    let read = put("/tasks/t", TOKEN, 10).await.unwrap();
    assert_eq!(read.headers().get("connection"), None);
    s.stop().await;
}

/// Sends a body without saying how long it is, in chunks, for as long as it is taken.
fn flood(s: &Service, path: &str, begin: &str, pattern: &str, bytes: usize) -> Option<u16> {
    let mut stream = TcpStream::connect(s.app.address).unwrap();
    let head = format!(
        "POST /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{begin}\r\n",
        begin.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let piece = pattern.repeat(64 * 1024 / pattern.len());
    let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
    for _ in 0..bytes / piece.len() {
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    let _ = stream.write_all(b"0\r\n\r\n");
    crate::doors::first_status(&mut stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_nothing_cost_neither_memory_nor_time() {
    let s = start(&[]).await;
    let before = memory_kib("VmRSS:");
    // Said in advance: refused before a byte of it is read.
    let head = format!(
        "POST /api/v1/apply HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Length: {}\r\n\r\n",
        57 * MIB
    );
    assert_eq!(status_of(s.app.address, head.as_bytes()), Some(413));
    // Not said: read up to the limit.
    for (path, begin) in [
        ("/apply", "{\"tasks\":["),
        ("/runs", "{\"runs\":["),
        ("/tasks/t/trigger", "["),
    ] {
        for pattern in ["[],", "{},", "0,"] {
            let status = flood(&s, path, begin, pattern, 57 * MIB);
            // The limit, or the first item that is none.
            assert!(
                matches!(status, Some(400 | 413)),
                "{path} {pattern}: {status:?}"
            );
        }
    }
    // Within the limit of bytes: refused at the first item that is none.
    for (path, list) in [("/apply", "tasks"), ("/runs", "runs")] {
        for pattern in ["[]", "{}", "0"] {
            let items = vec![pattern; 15 * MIB / (pattern.len() + 1)].join(",");
            let got = post(&s, path, format!("{{\"{list}\":[{items}]}}")).await;
            assert!(matches!(got.status, 400 | 413), "{path} {pattern}: {got:?}");
        }
    }
    // In the one place where anything may stand.
    for pattern in ["[]", "{}", "0"] {
        let values = vec![pattern; 300_000 / (pattern.len() + 1)].join(",");
        let body = format!("{{\"payload\":[{values}]}}");
        let got = post(&s, "/tasks/t/trigger", body.clone()).await;
        assert!(matches!(got.status, 404 | 413 | 422), "{got:?}");
        let runs = vec![format!("{{\"task\":\"t\",{}", &body[1..]); 50].join(",");
        let got = post(&s, "/runs", format!("{{\"runs\":[{runs}]}}")).await;
        assert!(matches!(got.status, 404 | 413 | 422), "{got:?}");
    }
    // And one text that is the whole body.
    for field in ["description", "timezone", "name"] {
        let body = format!(
            "{{\"tasks\":[{{\"{field}\":\"{}\"}}]}}",
            "x".repeat(15 * MIB)
        );
        let got = post(&s, "/apply", body).await;
        assert_eq!(got.status, 413, "{}", detail(&got));
        assert!(detail(&got).starts_with("tasks[0]: "), "{}", detail(&got));
        assert!(detail(&got).len() < 500);
    }
    let grown_mib = memory_kib("VmHWM:").saturating_sub(before) / 1024;
    // The other tests of this process count, too. What is refused here took gigabytes when it was read first.
    assert!(grown_mib < 600, "grown by {grown_mib} MiB");
    assert_eq!(s.raw("GET", "/healthz").send().await.unwrap().status(), 200);
    s.stop().await;
}

/// A body is read while it comes: what is wrong in its first part is answered though the rest never comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_many_is_read_while_it_arrives() {
    let s = start(&[]).await;
    let address = s.app.address;
    let asking = tokio::task::spawn_blocking(move || {
        for (path, begin, item, expected) in [
            ("runs", "{\"runs\":[{\"taks\":1}", ",{\"task\":\"t\"}", 400),
            ("apply", "{\"tasks\":[7", ",{}", 400),
            ("apply", "{\"tasks\":{", " ", 400),
        ] {
            let mut stream = TcpStream::connect(address).unwrap();
            let head = format!(
                "POST /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                15 * MIB
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(begin.as_bytes()).unwrap();
            let some = item.repeat(MIB / item.len());
            stream.write_all(some.as_bytes()).unwrap();
            let status = crate::doors::first_status(&mut stream);
            assert_eq!(status, Some(expected), "{path}");
        }
    });
    asking.await.unwrap();
    s.stop().await;
}

/// The refusals come before the body is read; a client that is still writing then must find them all the same, every time.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_writes_all_before_it_reads_finds_its_answer() {
    let s = start(&[]).await;
    let address = s.app.address;
    let asking = tokio::task::spawn_blocking(move || {
        let right = format!("Authorization: Bearer {TOKEN}\r\n");
        let wrong = "Authorization: Bearer wrong\r\n".to_owned();
        let odd = format!("{right}Host: elsewhere\r\n");
        for (path, headers, expected) in [
            ("/api/v1/apply", &right, 413),
            ("/api/v1/runs", &wrong, 401),
            ("/api/v1/nothing", &right, 404),
            ("/api/v1/apply", &odd, 400),
        ] {
            for _ in 0..5 {
                let mut stream = TcpStream::connect(address).unwrap();
                let length = 40 * MIB;
                let head = format!(
                    "POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).unwrap();
                let piece = vec![b' '; MIB];
                for _ in 0..40 {
                    stream.write_all(&piece).unwrap();
                }
                let status = crate::doors::first_status(&mut stream);
                assert_eq!(status, Some(expected), "{path}");
            }
        }
    });
    asking.await.unwrap();
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_bulk_bodies_is_a_setting_and_is_named() {
    let s = start(&[("max_bulk_body", "2MiB")]).await;
    let body = format!("{{\"tasks\":[\"{}\"]}}", "x".repeat(2 * MIB));
    for (path, count) in [("/apply", "200000 tasks"), ("/runs", "10000 runs")] {
        let got = post(&s, path, body.clone()).await;
        assert_eq!(got.status, 413);
        let said = detail(&got);
        assert!(
            said.contains("2MiB") && said.contains("max_bulk_body") && said.contains(count),
            "{said}"
        );
    }
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_finds_no_room_is_told_to_come_back() {
    let s = start(&[("max_bulk_body", "4MiB"), ("max_bytes_in_flight", "8MiB")]).await;
    // Two of them hold what there is, and send nothing.
    let head = format!(
        "POST /api/v1/tasks/t/trigger HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Length: {MIB}\r\nExpect: 100-continue\r\n\r\n"
    );
    let held: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = TcpStream::connect(s.app.address).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            assert_eq!(crate::doors::first_status(&mut stream), Some(100));
            stream
        })
        .collect();
    let asked = s
        .raw("POST", "/api/v1/tasks/t/trigger")
        .bearer_auth(TOKEN)
        .json(&json!({}));
    let refused = asked.send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let said = refused.text().await.unwrap();
    assert!(said.contains("max_bytes_in_flight"), "{said}");
    // What needs no body is answered meanwhile, and all is well when they are gone.
    assert_eq!(s.get("/tasks").await.status, 200);
    drop(held);
    let mut status = 503;
    for _ in 0..10 {
        status = s.post("/tasks/t/trigger", json!({})).await.status;
        if status != 503 {
            break;
        }
    }
    assert_eq!(status, 404);
    s.stop().await;
}
