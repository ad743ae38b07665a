//! Secrets through the whole program, and everything that a thief may try: a payload of his own, a task of another owner, a
//! redirect, an error's text, output in pieces, arguments, an external listener, `/proc`, a target that echoes, a result,
//! progress, a panic. What is kept is looked for in the store's own files.

use std::collections::HashMap;
use std::path::Path;

use campanile_core::engine::Handlers;
use campanile_core::port::handler::{Context, Failure, Handler};
use campanile_core::system;
use campanile_server::config::{Environment, Written};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use xtask::servers::TempDir;

use crate::support::{PATIENCE, Service, TOKEN, start_as};

pub const VALUE: &str = "corr\"ect h&rse/9+";
const JSON: &str = "corr\\\"ect h&rse/9+";
const PERCENT: &str = "corr%22ect%20h%26rse%2F9%2B";
const BASE64: &str = "Y29yciJlY3QgaCZyc2UvOS";

/// A target that keeps what it is asked, and answers with it.
struct Target {
    url: String,
    requests: mpsc::UnboundedReceiver<String>,
}

impl Target {
    /// `answer` stands before the request that is echoed.
    async fn start(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::unbounded_channel();
        system::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let request = read_request(&mut socket).await;
                let body = format!("{answer}\r\nConnection: close\r\n\r\n{request}");
                let _ = sender.send(request);
                let cut = body
                    .find(VALUE)
                    .or_else(|| body.find(JSON))
                    .map_or(body.len() / 2, |at| at + 5);
                let _ = socket.write_all(&body.as_bytes()[..cut]).await;
                let _ = socket.write_all(&body.as_bytes()[cut..]).await;
            }
        });
        Self { url, requests }
    }

    async fn request(&mut self) -> String {
        system::within(PATIENCE, self.requests.recv())
            .await
            .unwrap()
            .unwrap()
    }
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        if let Some(head) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if bytes.len() >= head + 4 + length.unwrap_or(0) {
                break;
            }
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Says what it was given in every way in which a handler can say something.
struct Talker;

impl Handler for Talker {
    const NAME: &'static str = "talker";
    type Args = HashMap<String, String>;
    type Output = Value;

    async fn run(&self, context: Context, args: Self::Args) -> Result<Value, Failure> {
        let key = &args["key"];
        let (first, second) = key.split_at(7);
        context.log.push(&format!("live {first}"));
        context.log.push(&format!("{second} and {context:?}\n"));
        context.progress(50, format!("{}{key}", "x".repeat(990)));
        match args["how"].as_str() {
            "error" => Err(Failure::fatal(format!("http://h/?k={key} refused"))),
            "panic" => panic!("with {key}"),
            _ => Ok(json!({ "key": key, "nested": [format!("<{key}>")] })),
        }
    }
}

/// A service whose worker has one secret, for tasks `bill*` of `finance`, and this target.
async fn start(hosts: &[&str]) -> Service {
    let folder = TempDir::new("secrets").unwrap();
    let file = folder.join("node.toml");
    let text = format!(
        "[[secret]]\nname = \"API_KEY\"\ntasks = [\"bill*\"]\nowners = [\"finance\"]\nhosts = {hosts:?}\n\
         programs = [\"/bin/sh\"]\n\n[[secret]]\nname = \"GONE\"\ntasks = [\"*\"]\nowners = [\"*\"]\nhosts = {hosts:?}\n"
    );
    std::fs::write(&file, text).unwrap();
    let store = format!("sqlite:{}", folder.join("c.db").display());
    let environment: Environment = [
        ("CAMPANILE_STORE", store.as_str()),
        ("CAMPANILE_LISTEN", "127.0.0.1:0"),
        ("CAMPANILE_NAME", "test"),
        ("CAMPANILE_TOKEN", TOKEN),
        ("CAMPANILE_DRAIN", "1s"),
        ("CAMPANILE_ALLOW_PRIVATE_TARGETS", "true"),
        ("CAMPANILE_ALLOW_COMMANDS", "/bin/sh,/usr/bin/printf"),
        ("CAMPANILE_SECRET_API_KEY", VALUE),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    let written = Written::gather(Default::default(), &environment, Some(&file)).unwrap();
    let shown = format!(
        "{:?}{:?}{written:?}",
        written.shown(),
        written.secrets_shown()
    );
    assert!(
        shown.contains("secret API_KEY") && !shown.contains(VALUE),
        "{shown}"
    );
    let settings = written.settings().unwrap();
    assert!(!format!("{settings:?}").contains(VALUE));
    start_as(&settings, folder, |handlers: Handlers| {
        handlers.native(Talker)
    })
    .await
}

impl Service {
    /// Puts a task and triggers it; answers its run once it is over, with its log.
    async fn runs(&self, task: Value) -> (Value, String) {
        let id = self.triggered(task).await;
        let over = |run: &Value| !run["finished_at"].is_null();
        let run = self.until(&format!("/runs/{id}"), over).await;
        let log = self.get(&format!("/runs/{id}/log")).await.body;
        (
            run,
            log["items"][0]["text"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    }

    async fn triggered(&self, task: Value) -> String {
        let name = task["name"].as_str().unwrap().to_owned();
        let put = self.ask("PUT", &format!("/tasks/{name}"), Some(task)).await;
        assert!(put.status < 300, "{put:?}");
        let triggered = self
            .post(&format!("/tasks/{name}/trigger"), json!({}))
            .await;
        triggered.body["id"]
            .as_str()
            .unwrap_or_else(|| panic!("{triggered:?}"))
            .to_owned()
    }
}

pub fn has_value(bytes: &[u8]) -> Option<&'static str> {
    let forms = [VALUE, JSON, PERCENT, BASE64, "rse/9+"];
    forms
        .into_iter()
        .find(|form| bytes.windows(form.len()).any(|w| w == form.as_bytes()))
}

pub fn nothing_is_kept(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let found = has_value(&std::fs::read(&path).unwrap());
            assert_eq!(found, None, "{}", path.display());
        }
    }
}

fn bill(name: &str, handler: &Value, payload: &Value) -> Value {
    json!({ "name": name, "owner": "finance", "handler": handler, "payload": payload })
}

#[tokio::test(flavor = "multi_thread")]
async fn values_reach_their_places_and_nothing_is_kept_of_them() {
    let mut target = Target::start("HTTP/1.1 200 OK".to_owned()).await;
    let s = start(&[&target.url]).await;
    let http = json!({ "http": {
        "url": format!("{}/in/${{secret:API_KEY}}?k=${{secret:API_KEY}}", target.url), "method": "POST",
        "headers": { "Authorization": "Bearer ${secret:API_KEY}", "X-Cost": "$$5", "X-Text": "$${secret:API_KEY}" },
    }});
    let payload = json!({ "key": { "$secret": "API_KEY" }, "text": "${secret:API_KEY}", "own": { "$$secret": "x" } });
    let (run, log) = s.runs(bill("bill-http", &http, &payload)).await;
    assert_eq!(run["state"], "succeeded", "{run:#}");
    let seen = target.request().await;
    for part in [
        format!("POST /in/{PERCENT}?k={PERCENT} HTTP/1.1\r\n"),
        format!("authorization: Bearer {VALUE}\r\n"),
        "x-cost: $$5\r\n".to_owned(),
        "x-text: ${secret:API_KEY}\r\n".to_owned(),
        json!({ "key": VALUE, "text": "${secret:API_KEY}", "own": { "$secret": "x" } }).to_string(),
    ] {
        assert!(seen.contains(&part), "{part} in {seen}");
    }
    assert!(log.contains("POST /in/***?k=*** HTTP/1.1"), "{log}");
    assert!(log.contains("\"key\":\"***\""), "{log}");

    for how in ["result", "error", "panic"] {
        let payload = json!({ "key": { "$secret": "API_KEY" }, "how": how });
        let talker = json!({ "native": "talker" });
        let task = bill(&format!("bill-{how}"), &talker, &payload);
        let (run, log) = s.runs(task).await;
        assert!(log.starts_with("live *** and Context {"), "{log}");
        match how {
            "result" => assert_eq!(run["result"], json!({ "key": "***", "nested": ["<***>"] })),
            "error" => assert_eq!(run["error"], "http://h/?k=*** refused"),
            _ => assert_eq!(run["error"], "the handler panicked: with ***"),
        }
        assert_eq!(has_value(run.to_string().as_bytes()), None, "{run:#}");
    }
    nothing_is_kept(s.folder.path());
    s.stop().await;
}

async fn a_mended_definition_goes_on(s: &Service, target: &mut Target) {
    let id = s.get("/runs?task=steal").await.body["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let http = json!({ "http": { "url": format!("{}/mended", target.url) } });
    let mended = json!({ "name": "steal", "owner": "finance", "handler": http });
    assert_eq!(s.ask("PUT", "/tasks/steal", Some(mended)).await.status, 200);
    s.until(&format!("/runs/{id}"), |run| run["state"] == "succeeded")
        .await;
    assert!(target.request().await.starts_with("GET /mended HTTP/1.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_have_a_secret_is_given_back_with_the_reason() {
    let mut target = Target::start("HTTP/1.1 200 OK".to_owned()).await;
    let elsewhere = Target::start("HTTP/1.1 200 OK".to_owned()).await;
    let s = start(&[&target.url]).await;
    let http = |url: &str, name: &str| json!({ "http": { "url": format!("{url}/"), "headers": { "X-Key": format!("${{secret:{name}}}") } } });
    let of = |owner: &str, name: &str, handler: Value| json!({ "name": name, "owner": owner, "handler": handler });
    for (task, part) in [
        (
            of("sales", "bill-1", http(&target.url, "API_KEY")),
            "is not for tasks of owner `sales`",
        ),
        (
            of("finance", "steal", http(&target.url, "API_KEY")),
            "is not for task `steal`",
        ),
        (
            of("finance", "bill-2", http(&elsewhere.url, "API_KEY")),
            "may not go to http://127.0.0.1:",
        ),
        (
            of("finance", "bill-3", http(&target.url, "OTHER")),
            "is nobody's on this worker",
        ),
        (
            of("finance", "bill-4", http(&target.url, "GONE")),
            "is not on this worker",
        ),
        (
            of(
                "finance",
                "bill-5",
                json!({ "command": { "argv": ["/usr/bin/printf"], "stdin": "${secret:API_KEY}" } }),
            ),
            "may not go to /usr/bin/printf",
        ),
    ] {
        let name = task["name"].as_str().unwrap().to_owned();
        let id = s.triggered(task).await;
        let refused = |run: &Value| !run["blocked"].is_null() && run["attempts"].get(0).is_some();
        let run = s.until(&format!("/runs/{id}"), refused).await;
        assert_eq!(
            (run["state"].as_str(), run["failures"].as_u64()),
            (Some("scheduled"), Some(0)),
            "{run:#}"
        );
        let why = run["attempts"][0]["error"].as_str().unwrap();
        assert!(why.contains(part), "{name}: {why}");
        let blocked = run["blocked"].as_str().unwrap();
        assert!(
            blocked.contains("gives the task the secrets that it names"),
            "{blocked}"
        );
    }
    let plain = of(
        "finance",
        "plain",
        json!({ "http": { "url": format!("{}/", target.url) } }),
    );
    let (run, _) = s.runs(plain).await;
    assert_eq!(run["state"], "succeeded", "{run:#}");
    assert!(target.request().await.starts_with("GET / HTTP/1.1"));
    a_mended_definition_goes_on(&s, &mut target).await;
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_carries_a_secret_to_another_place() {
    let mut thief = Target::start("HTTP/1.1 200 OK".to_owned()).await;
    for to in [
        thief.url.clone(),
        thief.url.replace("127.0.0.1", "localhost"),
        "/again".to_owned(),
    ] {
        for status in ["301", "302", "307", "308"] {
            let mut target = Target::start(format!(
                "HTTP/1.1 {status} Moved\r\nLocation: {to}/${{secret:API_KEY}}"
            ))
            .await;
            let s = start(&[&target.url]).await;
            let http = json!({ "http": {
                "url": format!("{}/?k=${{secret:API_KEY}}", target.url), "method": "POST",
                "headers": { "Authorization": "${secret:API_KEY}" } }});
            let task = bill("bill", &http, &json!({ "$secret": "API_KEY" }));
            let (run, log) = s.runs(task).await;
            assert_eq!(run["state"], "failed", "{run:#}");
            assert!(
                run["error"]
                    .as_str()
                    .unwrap()
                    .contains("redirects are not followed"),
                "{run:#}"
            );
            assert_eq!(has_value(log.as_bytes()), None, "{log}");
            assert!(target.request().await.contains(VALUE));
            assert!(target.requests.try_recv().is_err(), "it was asked once");
            assert!(thief.requests.try_recv().is_err(), "the thief was asked");
            nothing_is_kept(s.folder.path());
            s.stop().await;
        }
    }
}

async fn what_is_text_stays_text(s: &Service, target: &mut Target, closed: &str) {
    let own = s
        .post(
            "/tasks/bill/trigger",
            json!({ "payload": "${secret:API_KEY}" }),
        )
        .await;
    assert_eq!(own.status, 201, "{own:?}");
    assert!(
        target
            .request()
            .await
            .ends_with("\r\n\r\n${secret:API_KEY}")
    );
    let dead = json!({ "http": { "url": format!("http://{closed}/?k=${{secret:API_KEY}}") } });
    let (run, _) = s.runs(bill("bill-dead", &dead, &json!(null))).await;
    let error = run["error"].as_str().unwrap();
    assert!(
        error.contains("failed to reach `127.0.0.1`") && !error.contains("k="),
        "{error}"
    );
    assert_eq!(has_value(run.to_string().as_bytes()), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_brings_of_its_own_and_what_others_carry_names_no_secret() {
    let mut target = Target::start("HTTP/1.1 200 OK".to_owned()).await;
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let s = start(&[&target.url, &format!("http://{closed}")]).await;
    let post = json!({ "http": { "url": format!("{}/", target.url), "method": "POST" } });
    let payload = json!({ "a": { "$secret": "API_KEY" } });
    let task = bill("bill", &post, &payload);
    assert_eq!(s.ask("PUT", "/tasks/bill", Some(task)).await.status, 201);
    let reference = json!({ "deep": [{ "$secret": "API_KEY" }] });
    let header = json!({ "http": { "url": target.url, "headers": { "X": "${secret:API_KEY}" } } });
    for (path, body, field) in [
        (
            "/tasks/bill/trigger",
            json!({ "payload": reference }),
            "payload.deep[0]",
        ),
        ("/tasks/bill/trigger", json!({ "set": { "b": 1 } }), "set"),
        (
            "/runs",
            json!({ "task": "bill", "payload": { "$secret": "API_KEY" } }),
            "payload",
        ),
        (
            "/runs",
            json!({ "handler": header }),
            "handler.http.headers.X",
        ),
    ] {
        let refused = s.post(path, body).await;
        assert_eq!(
            (refused.status, refused.body["field"].as_str()),
            (422, Some(field)),
            "{refused:?}"
        );
    }
    let external = json!({ "external": { "destination": "q", "reply": "none" } });
    let task = bill("out", &external, &reference);
    let refused = s.ask("PUT", "/tasks/out", Some(task)).await;
    assert_eq!(
        (refused.status, refused.body["field"].as_str()),
        (422, Some("payload.deep[0]")),
        "{refused:?}"
    );
    assert!(
        refused.body["detail"]
            .as_str()
            .unwrap()
            .contains("lies in the broker"),
        "{refused:?}"
    );
    what_is_text_stays_text(&s, &mut target, &closed.to_string()).await;
    nothing_is_kept(s.folder.path());
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_shown_with_its_references_and_without_other_values() {
    let s = start(&[]).await;
    let task = |key: &str| {
        bill(
            "bill",
            &json!({ "http": { "url": "https://h/?api_key=hunter22&q=1",
                              "headers": { "Authorization": "Bearer ${secret:API_KEY}", "X-Api-Key": key } } }),
            &json!({ "password": "hunter23", "port": 1 }),
        )
    };
    assert_eq!(
        s.ask("PUT", "/tasks/bill", Some(task("hunter24")))
            .await
            .status,
        201
    );
    let shown = s.get("/tasks/bill").await.body;
    let http = &shown["handler"]["http"];
    assert_eq!(http["headers"]["Authorization"], "Bearer ${secret:API_KEY}");
    assert_eq!(http["headers"]["X-Api-Key"], "***masked***");
    assert_eq!(http["url"], "https://h/?api_key=***masked***&q=1");
    assert_eq!(
        shown["payload"],
        json!({ "password": "***masked***", "port": 1 })
    );
    let diff = s
        .post(
            "/apply?dry_run=true",
            json!({ "tasks": [task("hunter25")] }),
        )
        .await
        .body;
    assert_eq!(
        diff["changed"][0]["fields"],
        json!([{ "field": "handler.http.headers.X-Api-Key", "before": "***masked***",
                 "after": "***masked*** (changed)" }])
    );
    let back = s.ask("PUT", "/tasks/bill", Some(shown)).await;
    assert_eq!(back.status, 422, "{back:?}");
    assert!(
        back.body["detail"]
            .as_str()
            .unwrap()
            .contains("holds a mask"),
        "{back:?}"
    );
    let body = json!({ "payload": { "token": "hunter26", "n": 1 } });
    let run = s.post("/tasks/bill/trigger", body).await.body;
    let run = s
        .get(&format!("/runs/{}", run["id"].as_str().unwrap()))
        .await
        .body;
    assert_eq!(run["payload"], json!({ "token": "***masked***", "n": 1 }));
    s.stop().await;
}
