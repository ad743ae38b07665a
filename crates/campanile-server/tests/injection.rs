//! Texts that mean something to somebody else (SQL, HTML, HTTP, a shell, a terminal, a spreadsheet, a file system) through
//! every text that the API takes: stored as they are or refused with their field, shown harmlessly, never obeyed. One
//! table of texts, one test.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use campanile_core::limits;
use campanile_core::port::handler::{Context, Failure, Handler};
use serde_json::{Value, json};

use crate::cli::{client, err, out};
use crate::support::{Service, start_with};

const TEXTS: [&str; 17] = [
    "'; DROP TABLE campanile_run; --",
    "\" OR \"\"=\"",
    "\\'); DELETE FROM campanile_task; /*",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "a\r\nx-injected: stolen=1\r\n\r\n",
    "2026-01-01 ok\n2026-01-01 INFO nothing happened",
    "nul\0nul",
    "\u{1b}[2J\u{1b}]0;title\u{7}\u{1b}[31m",
    "\u{9b}31m\u{85}\u{7f}\u{8}",
    "=cmd|' /C calc'!A0",
    "../../../../etc/shadow",
    "$(reboot) `reboot` ; reboot | reboot",
    "{{7*7}} ${jndi:ldap://h/x} %s%n",
    "\u{202e}gpj.exe\u{2066}\u{200f}\u{61c}",
    "🦀 👩‍👩‍👧 𝕏 \u{10ffff} \u{feff}",
    "%00%0d%0a..%2f",
    "e\u{301} é ﬁ İ ſ",
];

/// Fails with the text that it is given, having written it.
struct Echo;

impl Handler for Echo {
    const NAME: &'static str = "echo";
    type Args = Value;
    type Output = ();

    async fn run(&self, context: Context, args: Value) -> Result<(), Failure> {
        let text = args["s"].as_str().unwrap_or_default();
        context.log.push(text);
        Err(Failure::fatal(text.to_owned()))
    }
}

/// A text as a row keeps an error or a log: a NUL can't be in every database.
fn kept(text: &str, most: usize) -> String {
    let cut = &text[..text.floor_char_boundary(most.min(text.len()))];
    cut.replace('\0', "\u{fffd}")
}

/// Every byte of it in per cent.
fn encoded(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

/// A target that keeps the heads of what it is asked.
#[expect(
    clippy::disallowed_methods,
    reason = "it serves for as long as the test program lives; a runtime would wait for it"
)]
fn target() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&heads);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head) = (stream.unwrap(), Vec::new());
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            seen.lock().unwrap().push(String::from_utf8(head).unwrap());
            // A client that is gone needs no answer.
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
        }
    });
    (url, heads)
}

/// A task that carries the text wherever it may, and its run: all of it comes back as it was given.
async fn through_a_task(s: &Service, n: usize, text: &str) -> String {
    let name = format!("t{n}");
    let payload = json!({ "s": text, text: [text] });
    let task = json!({ "description": text, "handler": { "native": "echo" }, "payload": payload });
    let path = format!("/tasks/{name}");
    let put = s.ask("PUT", &path, Some(task)).await;
    assert_eq!(put.status, 201, "{text:?}: {:#}", put.body);
    let task = s.get(&path).await.body;
    assert_eq!(
        (&task["description"], &task["payload"]),
        (&json!(text), &payload)
    );
    let run = s.post(&format!("{path}/trigger"), json!({})).await.body["id"].clone();
    let path = format!("/runs/{}", run.as_str().unwrap());
    let ended = s.until(&path, |run| run["state"] == "failed").await;
    assert_eq!(ended["error"], kept(text, limits::ERROR_BYTES_MAX));
    let log = s.get(&format!("{path}/log")).await.body;
    let said = log["items"][0]["text"].as_str().unwrap();
    assert_eq!(said, kept(text, limits::LOG_BYTES_MAX));
    run.as_str().unwrap().to_owned()
}

/// Texts beside tasks: kept whole, or refused with the field.
async fn beside_tasks(s: &Service, n: usize, text: &str) {
    let path = format!("/calendars/c{n}");
    let calendar = json!({ "description": text, "dates": ["12-25"] });
    let put = s.ask("PUT", &path, Some(calendar)).await;
    match put.status {
        201 => assert_eq!(s.get(&path).await.body["description"], text),
        status => {
            assert_eq!((status, text.len() > 500), (422, true), "{:#}", put.body);
        }
    }
    let far = "2099-01-01T00:00:00Z";
    let run = json!({ "task": "t0", "run_at": far, "idempotency_key": text, "payload": text });
    let first = s.post("/runs", run.clone()).await;
    let fit = text.len() <= limits::IDEMPOTENCY_KEY_BYTES_MAX && !text.contains(char::is_control);
    if fit {
        assert_eq!((first.status, &first.body["created"]), (201, &json!(true)));
        let again = s.post("/runs", run).await;
        assert_eq!((again.status, &again.body["id"]), (200, &first.body["id"]));
        let path = format!("/runs/{}", first.body["id"].as_str().unwrap());
        assert_eq!(s.get(&path).await.body["payload"], text);
    } else {
        let named = first.body["field"].as_str();
        assert_eq!((first.status, named), (422, Some("idempotency_key")));
    }
}

/// No text of the table is a name, an id, an instant, a state or a cursor: each is refused, and nothing breaks.
async fn in_place_of_names(s: &Service, text: &str) {
    let word = encoded(text);
    let native = json!({ "handler": { "native": "echo" } });
    let put = |field: &str, value: Value| {
        let mut task = native.clone();
        task[field] = value;
        ("PUT", "/tasks/x".to_owned(), Some(task))
    };
    let requests = [
        ("PUT", format!("/tasks/{word}"), Some(native.clone())),
        ("GET", format!("/tasks/{word}"), None),
        ("DELETE", format!("/tasks/{word}"), None),
        ("POST", format!("/tasks/{word}/trigger"), None),
        ("GET", format!("/tasks?cursor={word}"), None),
        ("GET", format!("/tasks?{word}=1"), None),
        ("GET", format!("/tasks/t0/why?at={word}"), None),
        ("GET", format!("/runs/{word}"), None),
        ("GET", format!("/runs?cursor={word}"), None),
        ("GET", format!("/runs?task={word}"), None),
        ("GET", format!("/runs?state={word}"), None),
        ("GET", format!("/runs?since={word}"), None),
        ("GET", format!("/queues/{word}/key"), None),
        ("PUT", format!("/calendars/{word}"), Some(json!({}))),
        (
            "PUT",
            format!("/limits/queue:{word}"),
            Some(json!({ "max_running": 1 })),
        ),
        ("POST", "/runs".to_owned(), Some(json!({ "task": text }))),
        (
            "POST",
            "/runs".to_owned(),
            Some(json!({ "task": "t0", "queue": text })),
        ),
        ("POST", "/runs".to_owned(), Some(json!({ text: "t0" }))),
        put("queue", json!(text)),
        put("group", json!(text)),
        put("schedule", json!(text)),
        put("timezone", json!(text)),
        put("calendars", json!(text)),
        put("overlap", json!(text)),
        put("starts_at", json!(text)),
        put("handler", json!({ "native": text })),
        put(
            "handler",
            json!({ "external": { "destination": text, "reply": "none" } }),
        ),
        put("handler", json!({ "command": { "argv": [text] } })),
        put("handler", json!({ "http": { "url": text } })),
        put(
            "handler",
            json!({ "http": { "url": "http://h/", "method": text } }),
        ),
    ];
    for (method, path, body) in requests {
        let shown = format!("{method} {path} {body:?}");
        let got = s.ask(method, &path, body).await;
        assert!((400..500).contains(&got.status), "{shown}: {got:?}");
        assert_eq!(got.kind, "application/problem+json", "{shown}");
        assert!(!got.body["detail"].as_str().unwrap().is_empty(), "{shown}");
    }
}

/// As a header of an outgoing request: exactly one header, or refused.
async fn as_a_header(s: &Service, n: usize, text: &str, url: &str) -> bool {
    let put = |headers: Value| {
        let http = json!({ "url": url, "method": "GET", "headers": headers });
        json!({ "handler": { "http": http } })
    };
    let path = format!("/tasks/h{n}");
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if !text.chars().all(token) {
        let named = s.ask("PUT", &path, Some(put(json!({ text: "v" })))).await;
        assert_eq!(named.status, 422, "{text:?}: {:#}", named.body);
    }
    let valued = s
        .ask("PUT", &path, Some(put(json!({ "x-text": text }))))
        .await;
    if text.contains(char::is_control) {
        let field = valued.body["field"].as_str();
        assert_eq!((valued.status, field), (422, Some("handler.http.headers")));
        return false;
    }
    assert_eq!(valued.status, 201, "{:#}", valued.body);
    let run = s.post(&format!("{path}/trigger"), json!({})).await.body["id"].clone();
    let path = format!("/runs/{}", run.as_str().unwrap());
    s.until(&path, |run| run["state"] == "succeeded").await;
    true
}

/// What people see of it in a terminal, and programs in JSON.
async fn in_a_terminal(s: &Service, runs: &[String]) {
    let mut commands: Vec<Vec<&str>> = vec![
        vec!["task", "list"],
        vec!["run", "list"],
        vec!["calendar", "list"],
        vec!["task", "show", "'; DROP\u{1b}[2J\u{202e}"],
    ];
    let names: Vec<String> = (0..runs.len()).map(|n| format!("t{n}")).collect();
    for (name, run) in names.iter().zip(runs) {
        commands.push(vec!["task", "show", name]);
        commands.push(vec!["run", "show", run]);
    }
    let obeyed = |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{2066}\u{200f}".contains(c);
    for command in commands {
        for form in ["table", "json"] {
            let all = [&command[..], &["--output", form]].concat();
            let done = client(s, &all).await;
            let (said, complained) = (out(&done), err(&done));
            assert!(!said.contains(obeyed), "{all:?}: {said:?}");
            assert!(!complained.contains(obeyed), "{all:?}: {complained:?}");
            if form == "json" && done.status.success() {
                serde_json::from_str::<Value>(&said).unwrap();
            }
        }
    }
    let shown = client(s, &["task", "show", "t7", "--output", "json"]).await;
    let shown: Value = serde_json::from_str(&out(&shown)).unwrap();
    assert_eq!(shown["description"], TEXTS[7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_kept_or_refused_and_never_obeyed() {
    let s = start_with(&[], |handlers| handlers.native(Echo)).await;
    let (url, heads) = target();
    let long = "x".repeat(5_000);
    let mut runs = Vec::new();
    let mut sent = Vec::new();
    for (n, text) in TEXTS.into_iter().chain([long.as_str()]).enumerate() {
        runs.push(through_a_task(&s, n, text).await);
        beside_tasks(&s, n, text).await;
        in_place_of_names(&s, text).await;
        if as_a_header(&s, n, text, &url).await {
            sent.push(text);
        }
    }
    let heads = heads.lock().unwrap().clone();
    assert_eq!(heads.len(), sent.len());
    for (head, text) in heads.iter().zip(sent) {
        let ours = head.lines().filter_map(|l| l.strip_prefix("x-text: "));
        assert_eq!(ours.collect::<Vec<_>>(), [text.trim()]);
        let names = head.lines().skip(1).filter(|l| !l.is_empty());
        assert!(names.clone().all(|l| l.contains(": ")), "{head}");
    }
    in_a_terminal(&s, &runs).await;
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_as_deep_as_allowed_is_read_everywhere_and_no_deeper_one_is_taken() {
    let s = start_with(&[], |handlers| handlers.native(Echo)).await;
    let nested = |depth: usize| {
        let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let most = limits::PAYLOAD_DEPTH_MAX;
    let task = |depth| json!({ "handler": { "native": "echo" }, "payload": nested(depth) });
    let deeper = s.ask("PUT", "/tasks/d", Some(task(most + 1))).await;
    assert_eq!(
        (deeper.status, deeper.body["field"].as_str()),
        (422, Some("payload"))
    );
    let put = s.ask("PUT", "/tasks/d", Some(task(most))).await;
    assert_eq!(put.status, 201, "{:#}", put.body);
    let run = s.post("/tasks/d/trigger", json!({})).await.body["id"].clone();
    let path = format!("/runs/{}", run.as_str().unwrap());
    s.until(&path, |run| run["state"] == "failed").await;
    for command in [
        &["task", "list"][..],
        &["task", "show", "d"],
        &["run", "list"],
    ] {
        let done = client(&s, &[command, &["--output", "json"]].concat()).await;
        assert!(done.status.success(), "{command:?}: {}", err(&done));
    }
    s.stop().await;
}
