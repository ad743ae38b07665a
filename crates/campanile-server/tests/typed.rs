//! What is typed for one run: its own payload, retry and timeout, and how its instants and logs are shown.

use campanile_core::port::handler::{Context, Failure, Handler};
use serde_json::Value;

use crate::cli::{client, done, err, out};
use crate::support::{Service, start, start_with};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_brings_its_own_payload_retry_and_timeout() {
    let s = start(&[]).await;
    let task = "[[task]]\nname = \"t\"\ntimezone = \"Europe/Berlin\"\nhandler = { native = \"nobody\" }\nqueue = \"nobody\"\n\
                payload = { day = \"sunday\", mail = { to = \"a@b.c\", cc = 1 } }\n";
    std::fs::write(s.folder.join("t.toml"), task).unwrap();
    done(&s, "apply t.toml").await;
    let words = [
        "task",
        "trigger",
        "t",
        "--set",
        "mail.to=x y",
        "--set",
        "mail.cc=null",
        "--set",
        "n=7",
    ];
    let id = out(&client(&s, &words).await).trim().to_owned();
    let run = s.get(&format!("/runs/{id}")).await.body;
    let expected = serde_json::json!({ "day": "sunday", "mail": { "to": "x y" }, "n": 7 });
    assert_eq!(run["payload"], expected);
    assert_eq!(run["timezone"], "Europe/Berlin");
    let shown = done(&s, &format!("run show {id}")).await;
    assert!(
        shown.contains("+01:00 (20") || shown.contains("+02:00 (20"),
        "{shown}"
    );
    let shown = done(&s, &format!("run show {id} --tz Asia/Tokyo")).await;
    assert!(
        shown.contains("+09:00\n") && !shown.contains("Z)"),
        "{shown}"
    );
    let unknown = client(&s, &["run", "list", "--tz", "Mars/Base"]).await;
    assert_eq!(unknown.status.code(), Some(2));
    assert!(err(&unknown).contains("--tz: "), "{}", err(&unknown));
    let both = ["task", "trigger", "t", "--set", "a=1", "--payload", "1"];
    assert_eq!(client(&s, &both).await.status.code(), Some(2));

    let refused = "run submit --handler {\"http\":{\"url\":\"http://127.0.0.1:9/\"}} --timeout 0s";
    let refused: Vec<&str> = refused.split(' ').collect();
    let refused = client(&s, &refused).await;
    assert!(err(&refused).contains("timeout"), "{}", err(&refused));
    let own = "run submit --handler {\"http\":{\"url\":\"http://127.0.0.1:9/\"}} --timeout 7s --retry \
               {\"max_attempts\":2,\"initial\":\"10ms\",\"max\":\"10ms\"}";
    let id = done(&s, own).await.trim().to_owned();
    s.until(&format!("/runs/{id}"), |run| run["state"] == "failed")
        .await;
    let run = s.get(&format!("/runs/{id}")).await.body;
    assert_eq!(
        (&run["failures"], &run["timeout"]),
        (&2.into(), &"7s".into())
    );
    assert_eq!(run["retry"]["max_attempts"], 2);
    // Each failure stands behind its start.
    let events: Vec<&str> = run["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["event"].as_str().unwrap())
        .collect();
    let started = events.iter().position(|e| *e == "started");
    let failed = events.iter().position(|e| *e == "failed-attempt");
    assert!(started < failed && started.is_some(), "{events:?}");
    shows_which_attempt(&s, &id).await;
    s.stop().await;
}

/// Of a run with two attempts it is told which one started when.
async fn shows_which_attempt(s: &Service, id: &str) {
    let shown = done(s, &format!("run show {id}")).await;
    let line = |name: &str| {
        shown
            .lines()
            .find(|l| l.starts_with(name))
            .unwrap()
            .to_owned()
    };
    assert!(line("first").ends_with(" ms late)"), "{shown}");
    for name in ["started", "late"] {
        assert!(line(name).ends_with(" (attempt 2)"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_typed_is_read_before_it_is_sent() {
    let s = start(&[]).await;
    let file = |text: &str| std::fs::write(s.folder.join("runs.json"), text).unwrap();
    let by_hand = ["run", "submit", "--handler", r#"{"native":"nobody"}"#];
    for (flag, value, said) in [
        ("--handler", r#"{"http":{"url":7}}"#, "--handler.http.url: "),
        ("--handler", "7", "--handler: "),
        (
            "--retry",
            r#"{"max_attempts":"x"}"#,
            "--retry.max_attempts: ",
        ),
        ("--timeout", "soon", "--timeout: "),
        ("--run-at", "soon", "--run-at: "),
    ] {
        let mut words = by_hand.to_vec();
        if flag == "--handler" {
            words.truncate(2);
        }
        words.extend([flag, value]);
        let refused = client(&s, &words).await;
        assert_eq!(refused.status.code(), Some(2), "{words:?}");
        assert!(err(&refused).contains(said), "{}", err(&refused));
    }
    let words = ["run", "submit", "--file", "runs.json"];
    for (text, said) in [
        (
            "{\"runs\": [{\"task\": \"t\"},\n {\"task\": 7}]}",
            "runs.json line 2 column 3: runs[1].task: ",
        ),
        ("{\"task\": \"t\", \"prority\": 1}", "prority"),
        ("{\"runs\": [", "runs.json line 1"),
    ] {
        file(text);
        let refused = client(&s, &words).await;
        assert_eq!(refused.status.code(), Some(2), "{text}");
        assert!(err(&refused).contains(said), "{}", err(&refused));
    }
    let one = r#"{"handler": {"native": "nobody"}, "queue": "nobody", "priority": 7}"#;
    file(one);
    let id = out(&client(&s, &words).await).trim().to_owned();
    let run = s.get(&format!("/runs/{id}")).await.body;
    assert_eq!(run["priority"], 7);
    file(&format!("{{\"runs\": [{one}, {one}]}}"));
    let ids = out(&client(&s, &words).await);
    assert_eq!(ids.lines().count(), 2, "{ids}");
    s.stop().await;
}

/// Writes a line without its end, and fails.
struct Talk;

impl Handler for Talk {
    const NAME: &'static str = "talk";
    type Args = Value;
    type Output = ();

    async fn run(&self, context: Context, _: Value) -> Result<(), Failure> {
        context.log.push("one");
        Err(Failure::retry("as it should"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attempts_of_a_log_are_told_apart_in_one_stream() {
    let s = start_with(&[], |handlers| handlers.native(Talk)).await;
    let own = "run submit --handler {\"native\":\"talk\"} --retry \
               {\"max_attempts\":2,\"initial\":\"10ms\",\"max\":\"10ms\"}";
    let id = done(&s, own).await.trim().to_owned();
    s.until(&format!("/runs/{id}"), |run| run["state"] == "failed")
        .await;
    let all = done(&s, &format!("run logs {id}")).await;
    let heads = "--- attempt 1 on test: failed-attempt\none\n--- attempt 2 on test: failed\none\n";
    assert_eq!(all, heads);
    let one = done(&s, &format!("run logs {id} --attempt 2")).await;
    assert_eq!(one.trim_end(), "one");
    s.stop().await;
}
