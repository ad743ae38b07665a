//! Logs while they are written: from any place on, as a stream, in the terminal; and what is left of them when a worker dies.

use std::sync::Arc;
use std::time::Duration;

use campanile_core::port::handler::{Context, Failure, Handler};
use campanile_core::system::{self, within};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use xtask::servers::{TempDir, free_port, wait_until};

use crate::cli::{client, done, err, out};
use crate::process::{PATIENCE as SLOW, Process, ask};
use crate::support::{PATIENCE, Service, TOKEN, start_with};

/// Says what it is told, step by step: the next step when the test lets it.
struct Steps(Arc<Semaphore>);

impl Handler for Steps {
    const NAME: &'static str = "steps";
    type Args = Vec<String>;
    type Output = ();

    async fn run(&self, context: Context, steps: Vec<String>) -> Result<(), Failure> {
        for (n, step) in (1..).zip(steps) {
            self.0.acquire().await?.forget();
            match step.as_str() {
                "fail" => return Err(Failure::retry("as it should")),
                "huge" => context.log.push(&"x".repeat(77 * 1024)),
                "progress" => context.progress(50, "half of it"),
                line => context.log(format!("{}:{n} {line}", context.attempt)),
            }
        }
        Ok(())
    }
}

/// A service with that handler, and what lets it go on.
async fn service(extra: &[(&str, &str)]) -> (Service, Arc<Semaphore>) {
    let steps = Arc::new(Semaphore::new(0));
    let handler = Steps(Arc::clone(&steps));
    let s = start_with(extra, |handlers| handlers.native(handler)).await;
    (s, steps)
}

async fn submit(s: &Service, steps: &[&str]) -> String {
    let run = json!({
        "handler": { "native": "steps" }, "payload": steps,
        "retry": { "max_attempts": 2, "initial": "10ms", "max": "10ms" },
    });
    let answer = s.post("/runs", run).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body["id"].as_str().unwrap().to_owned()
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

/// A stream that is read as it comes.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(s: &Service, path: &str, last: Option<&str>) -> Self {
        let mut request = s.raw("GET", &format!("/api/v1{path}")).bearer_auth(TOKEN);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let kind = response.headers().get("content-type").unwrap();
        assert_eq!(kind, "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let lines = block.lines().filter_map(|l| l.split_once(": "));
                    let mut found = lines.filter(|(n, _)| *n == name);
                    found.next().map(|(_, value)| value.to_owned())
                };
                if let Some(name) = field("event") {
                    return Some(Event {
                        name,
                        id: field("id"),
                        data: serde_json::from_str(&field("data").unwrap()).unwrap(),
                    });
                }
                continue;
            }
            let more = within(PATIENCE, self.response.chunk()).await;
            let more = more
                .unwrap_or_else(|| panic!("no event in time"))
                .unwrap()?;
            self.text.push_str(std::str::from_utf8(&more).unwrap());
        }
    }

    /// The next event of a kind, past others.
    async fn until(&mut self, name: &str) -> Event {
        loop {
            let event = self
                .next()
                .await
                .unwrap_or_else(|| panic!("no {name} before the end"));
            if event.name == name {
                return event;
            }
        }
    }

    async fn rest(&mut self) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_while_its_attempt_writes_it_from_any_place() {
    let (s, steps) = service(&[]).await;
    let id = submit(&s, &["one", "two ü", "three"]).await;
    let path = format!("/runs/{id}/log");
    steps.add_permits(1);
    let log = s
        .until(&path, |l| l["items"][0]["text"] == "1:1 one\n")
        .await;
    let first = &log["items"][0];
    assert_eq!(
        (&first["state"], &first["worker"]),
        (&"running".into(), &"test".into())
    );
    assert_eq!(
        (&first["from"], &first["next"], &first["missing_bytes"]),
        (&0.into(), &8.into(), &0.into())
    );
    steps.add_permits(1);
    let from = format!("{path}?attempt=1&from=8");
    let log = s
        .until(&from, |l| l["items"][0]["text"] == "1:2 two ü\n")
        .await;
    let next = log["items"][0]["next"].as_u64().unwrap();
    assert_eq!((&log["items"][0]["from"], next), (&8.into(), 19));
    let nothing = s.get(&format!("{path}?attempt=1&from={next}")).await.body;
    assert_eq!(
        (&nothing["items"][0]["text"], &nothing["items"][0]["next"]),
        (&"".into(), &next.into())
    );
    steps.add_permits(1);
    s.until(&format!("/runs/{id}"), |run| run["state"] == "succeeded")
        .await;
    let log = s.get(&path).await.body;
    assert_eq!(log["items"][0]["text"], "1:1 one\n1:2 two ü\n1:3 three\n");
    assert_eq!(log["items"][0]["state"], "succeeded");
    for (query, field) in [
        ("from=3", "from"),
        ("cursor=x", "cursor"),
        ("attempt=1&cursor=1", "cursor"),
        ("attempt=x", "attempt"),
    ] {
        let refused = s.get(&format!("{path}?{query}")).await;
        assert!(
            (400..500).contains(&refused.status),
            "{query}: {}",
            refused.body
        );
        assert!(
            refused.body["detail"].as_str().unwrap().contains(field),
            "{query}: {}",
            refused.body
        );
    }
    assert_eq!(s.get("/runs/00m3c9v7q8e01/log").await.status, 404);
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_huge_log_ends_with_is_kept_and_what_is_missing_is_told() {
    let (s, steps) = service(&[]).await;
    steps.add_permits(100);
    let task = json!({ "name": "t", "handler": { "native": "steps" }, "payload": ["begin", "huge", "", "FATAL: out of cheese"] });
    assert_eq!(
        s.ask("PUT", "/tasks/t", Some(task.clone())).await.status,
        201
    );
    let run = async || {
        let id = s.post("/tasks/t/trigger", json!({})).await.body["id"]
            .as_str()
            .unwrap()
            .to_owned();
        s.until(&format!("/runs/{id}"), |run| run["state"] == "succeeded")
            .await;
        id
    };
    let id = run().await;
    let log = s.get(&format!("/runs/{id}/log")).await.body;
    let log = &log["items"][0];
    let all = format!(
        "1:1 begin\n{}1:3 \n1:4 FATAL: out of cheese\n",
        "x".repeat(77 * 1024)
    );
    let (head, tail) = (log["head"].as_str().unwrap(), log["tail"].as_str().unwrap());
    let missing = usize::try_from(log["missing_bytes"].as_u64().unwrap()).unwrap();
    assert_eq!((head.len(), tail.len()), (16 * 1024, 48 * 1024));
    assert!(all.starts_with(head) && all.ends_with(tail));
    assert_eq!(
        (head.len() + missing + tail.len(), log["next"].as_u64()),
        (all.len(), Some(u64::try_from(all.len()).unwrap()))
    );
    let text = done(&s, &format!("run logs {id}")).await;
    assert!(text.contains(&format!("\n[{missing} bytes are left out here]\n")));
    assert!(text.ends_with("FATAL: out of cheese\n"));
    // As much as the task says.
    let mut roomy = task;
    roomy["log_bytes"] = 128.into();
    assert_eq!(
        s.ask("PUT", "/tasks/t", Some(roomy.clone())).await.status,
        422
    );
    roomy["log_bytes"] = (128 * 1024).into();
    assert_eq!(s.ask("PUT", "/tasks/t", Some(roomy)).await.status, 200);
    let id = run().await;
    let log = s.get(&format!("/runs/{id}/log")).await.body;
    assert_eq!(
        (&log["items"][0]["text"], &log["items"][0]["head"]),
        (&all.into(), &Value::Null)
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workers_own_bound_comes_before_the_tasks() {
    let (s, steps) = service(&[("log_bytes_max", "8KiB")]).await;
    steps.add_permits(100);
    let id = submit(&s, &["begin", "huge"]).await;
    s.until(&format!("/runs/{id}"), |run| run["state"] == "succeeded")
        .await;
    let log = s.get(&format!("/runs/{id}/log")).await.body;
    let length = |part: &str| log["items"][0][part].as_str().unwrap().len();
    assert_eq!((length("head"), length("tail")), (2 * 1024, 6 * 1024));
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_of_attempts_output_progress_and_the_end() {
    let (s, steps) = service(&[]).await;
    let id = submit(&s, &["one", "progress", "fail"]).await;
    let path = format!("/runs/{id}/log/stream");
    let mut stream = Stream::open(&s, &path, None).await;
    let begun = stream.next().await.unwrap();
    let standing =
        |attempt: u32, state: &str| json!({ "attempt": attempt, "state": state, "worker": "test" });
    assert_eq!(
        (begun.name.as_str(), begun.data),
        ("attempt", standing(1, "running"))
    );
    steps.add_permits(1);
    let log = stream.until("log").await;
    assert_eq!(
        (&log.data["text"], log.id.as_deref()),
        (&"1:1 one\n".into(), Some("1:8"))
    );
    steps.add_permits(1);
    let said = stream.until("progress").await;
    assert_eq!(
        (&said.data["percent"], &said.data["message"]),
        (&50.into(), &"half of it".into())
    );
    // Its second attempt does the same, and is its last.
    steps.add_permits(10);
    let rest = stream.rest().await;
    let names: Vec<&str> = rest.iter().map(|e| e.name.as_str()).collect();
    let attempts: Vec<&Value> = rest
        .iter()
        .filter(|e| e.name == "attempt")
        .map(|e| &e.data)
        .collect();
    assert_eq!(
        attempts,
        [
            &standing(1, "failed-attempt"),
            &standing(2, "running"),
            &standing(2, "failed")
        ],
        "{names:?}"
    );
    let second = rest.iter().find(|e| e.name == "log").unwrap();
    assert_eq!(
        (&second.data["text"], second.id.as_deref()),
        (&"2:1 one\n".into(), Some("2:8"))
    );
    let end = rest.last().unwrap();
    assert_eq!(
        (end.name.as_str(), &end.data["state"]),
        ("end", &"failed".into())
    );
    assert_eq!(end.data["error"], "as it should");
    // From where another stream broke off, and from the beginning.
    let texts = async |last: Option<&str>| {
        let all = Stream::open(&s, &path, last).await.rest().await;
        let logs = all.iter().filter(|e| e.name == "log");
        logs.map(|e| e.data["text"].as_str().unwrap().to_owned())
            .collect::<String>()
    };
    assert_eq!(texts(None).await, "1:1 one\n2:1 one\n");
    assert_eq!(texts(Some("1:4")).await, "one\n2:1 one\n");
    assert_eq!(texts(Some("1:8")).await, "2:1 one\n");
    assert_eq!(texts(Some("2:8")).await, "");
    for last in ["", "1", "0:0", "1:x", "-1:4"] {
        let request = s.raw("GET", &format!("/api/v1{path}")).bearer_auth(TOKEN);
        let refused = request.header("last-event-id", last).send().await.unwrap();
        assert_eq!(refused.status(), 400, "{last}");
    }
    let from = s.get(&format!("{path}?from=9")).await;
    assert_eq!(from.status, 400);
    assert_eq!(s.get("/runs/00m3c9v7q8e01/log/stream").await.status, 404);
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_need_the_token_are_bounded_and_end_with_the_node() {
    let (s, _steps) = service(&[]).await;
    let id = submit(&s, &["one"]).await;
    let path = format!("/runs/{id}/log/stream");
    let without = s
        .raw("GET", &format!("/api/v1{path}"))
        .send()
        .await
        .unwrap();
    assert_eq!(without.status(), 401);
    let mut streams = Vec::new();
    for _ in 0..campanile_ask::FOLLOWERS_MAX {
        streams.push(Stream::open(&s, &path, None).await);
    }
    let crowded = s.get(&path).await;
    assert_eq!(crowded.status, 503, "{}", crowded.body);
    assert!(
        crowded.body["detail"]
            .as_str()
            .unwrap()
            .contains("followed")
    );
    // Whoever goes makes room.
    drop(streams.pop());
    let again = within(PATIENCE, async {
        while s
            .raw("GET", &format!("/api/v1{path}"))
            .bearer_auth(TOKEN)
            .send()
            .await
            .unwrap()
            .status()
            != 200
        {
            system::pause(Duration::from_millis(20)).await;
        }
    });
    again.await.expect("a free place");
    let mut last = streams.pop().unwrap();
    let ended = system::spawn(async move { last.rest().await });
    s.stop().await;
    let ended = within(PATIENCE, ended)
        .await
        .expect("the end of the stream")
        .unwrap();
    assert!(ended.iter().all(|event| event.name != "end"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_follows_a_run_to_its_end() {
    let (s, steps) = service(&[]).await;
    let id = submit(&s, &["one", "fail"]).await;
    steps.add_permits(10);
    let followed = client(&s, &["run", "logs", &id, "-f"]).await;
    assert_eq!(followed.status.code(), Some(1), "{}", err(&followed));
    assert_eq!(
        out(&followed),
        "1:1 one\n--- attempt 1 on test: failed-attempt\n--- attempt 2 on test: running\n2:1 one\n"
    );
    assert!(
        err(&followed).contains(&format!("run {id} failed")),
        "{}",
        err(&followed)
    );
    let id = submit(&s, &["one", "two"]).await;
    let followed = client(&s, &["run", "logs", &id, "--follow", "--output", "json"]).await;
    assert_eq!(followed.status.code(), Some(0), "{}", err(&followed));
    let lines: Vec<Value> = out(&followed)
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.last().unwrap()["data"]["state"], "succeeded");
    let unknown = client(&s, &["run", "logs", "00m3c9v7q8e01", "-f"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(err(&unknown).contains("no run"), "{}", err(&unknown));
    s.stop().await;
}

/// A program that writes all the time in its first attempt, and ends at once in its second.
const WRITES: &str = "#!/bin/sh\n[ \"$CAMPANILE_ATTEMPT\" = 1 ] || exit 0\nn=0\n\
    while [ $n -lt 6000 ]; do n=$((n+1)); echo line $n; sleep 0.1; done\n";

/// A node of this name in this folder, with a task that runs the program; and its address.
fn writing_node(folder: &TempDir, name: &str) -> (Process, String) {
    let script = folder.join("write.sh").display().to_string();
    std::fs::write(&script, WRITES).unwrap();
    let task = format!(
        "[[task]]\nname = \"writes\"\nhandler = {{ command = {{ argv = [\"/bin/sh\", \"{script}\"] }} }}\n"
    );
    std::fs::write(folder.join("t.toml"), task).unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let words = "serve --lease 2s --lock-ttl 1s --allow-commands /bin/sh --tasks t.toml";
    let mut args: Vec<&str> = words.split(' ').collect();
    args.extend(["--listen", &listen, "--name", name]);
    (Process::start(folder, &args), format!("http://{listen}"))
}

/// A worker is killed while its program writes: what was in the store then stays, its attempt is told as lost, and by its name.
#[test]
fn what_a_killed_worker_wrote_stays_under_its_name() {
    let folder = TempDir::new("killed").unwrap();
    let (first, url) = writing_node(&folder, "first");
    let mut id = None;
    wait_until("a run is asked for", SLOW, || {
        id = ask(&folder, &url, "task trigger writes")
            .and_then(|run| run["id"].as_str().map(str::to_owned));
        id.is_some()
    });
    let id = id.unwrap();
    let log = |url: &str| ask(&folder, url, &format!("run logs {id} --attempt 1"));
    let mut seen = String::new();
    wait_until("the log grows while it is written", SLOW, || {
        let now = log(&url).and_then(|l| l["items"][0]["text"].as_str().map(str::to_owned));
        seen = now.unwrap_or_default();
        seen.contains("line 12\n")
    });
    first.signal("KILL");
    drop(first);
    let (_second, url) = writing_node(&folder, "second");
    wait_until("another worker ends it", SLOW, || {
        ask(&folder, &url, &format!("run show {id}")).is_some_and(|run| run["state"] == "succeeded")
    });
    let log = log(&url).unwrap();
    let log = &log["items"][0];
    assert_eq!(
        (&log["state"], &log["worker"]),
        (&"lost".into(), &"first".into()),
        "{log}"
    );
    let text = log["text"].as_str().unwrap();
    assert!(text.starts_with(&seen), "{text}");
    let run = ask(&folder, &url, &format!("run show {id}")).unwrap();
    assert_eq!(
        (&run["worker"], &run["losses"]),
        (&"second".into(), &1.into())
    );
    let lost = &run["attempts"][0];
    assert_eq!(
        (&lost["reason"], &lost["worker"]),
        (&"lost".into(), &"first".into()),
        "{run}"
    );
    let timeline = run["timeline"].as_array().unwrap();
    let event = timeline.iter().find(|e| e["event"] == "lost").unwrap();
    assert_eq!(event["worker"], "first");
}
