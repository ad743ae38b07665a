//! What is said where nobody takes a run, and how a failure's class is shown and decides.

use campanile_core::port::handler::{Context, Failure, Handler};
use campanile_core::task::Class;
use serde_json::{Value, json};

use crate::cli::{client, done, err, out};
use crate::support::{Service, start, start_with};

const TASKS: &str = "[[task]]\nname = \"books\"\nhandler = { native = \"close.books\" }\n\
                     [[task]]\nname = \"typo\"\nqueue = \"reprots\"\nhandler = { http = { url = \"http://127.0.0.1:9/\" } }\n\
                     [[task]]\nname = \"disk\"\nhandler = { command = { argv = [\"/bin/df\"] } }\n\
                     [[task]]\nname = \"fine\"\nhandler = { http = { url = \"http://127.0.0.1:9/\" } }\n";

const UNABLE: &str = "no living worker of queue `default` can do `native: close.books`";
const NOBODY: &str = "nobody listens on queue `reprots`; did you mean `reports`?";

/// A living worker, the tasks, and what `apply` said of them.
async fn with_tasks_for_nobody() -> (Service, String) {
    let s = start(&[("queues", "default,reports")]).await;
    s.until("/nodes", |nodes| {
        nodes["items"].as_array().is_some_and(|all| !all.is_empty())
    })
    .await;
    std::fs::write(s.folder.join("t.toml"), TASKS).unwrap();
    // It warns, and does it all the same.
    let applied = client(&s, &["apply", "t.toml"]).await;
    assert!(applied.status.success(), "{}", err(&applied));
    let said = format!("{}{}", out(&applied), err(&applied));
    (s, said)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_do_is_applied_with_a_warning() {
    let (s, said) = with_tasks_for_nobody().await;
    assert!(
        said.contains("4 to create") && said.contains("done"),
        "{said}"
    );
    for warning in [
        format!("task `books`: {UNABLE}"),
        format!("task `typo`: {NOBODY}"),
        "task `disk`: no living worker of queue `default` can do `command: /bin/df`: start one with \
         `--allow-commands /bin/df`"
            .to_owned(),
    ] {
        assert!(said.contains(&warning), "{warning}\n{said}");
    }
    assert!(!said.contains("`fine`"), "{said}");

    let listed = client(&s, &["task", "list"]).await;
    let listed = format!("{}{}", out(&listed), err(&listed));
    assert!(
        listed.contains(UNABLE) && listed.contains(NOBODY),
        "{listed}"
    );
    assert_eq!(s.get("/tasks/fine").await.body["warning"], Value::Null);
    let shown = s.get("/tasks/typo").await.body;
    assert_eq!(shown["warning"], NOBODY);
    // What was shown can be put again.
    assert_eq!(s.ask("PUT", "/tasks/typo", Some(shown)).await.status, 200);
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_says_why_nobody_takes_a_run() {
    let (s, _) = with_tasks_for_nobody().await;
    let mut ids = Vec::new();
    for task in ["books", "disk", "typo"] {
        let answer = s.post(&format!("/tasks/{task}/trigger"), json!({})).await;
        ids.push(answer.body["id"].as_str().unwrap().to_owned());
    }
    let queues = s
        .until("/queues", |queues| {
            let queue = queues["items"]
                .as_array()
                .unwrap()
                .iter()
                .find(|q| q["name"] == "default");
            queue.is_some_and(|q| q["blocked"] == 2)
        })
        .await;
    assert!(
        queues.to_string().contains("1 runs are blocked"),
        "{queues}"
    );
    let listed = client(&s, &["queue", "list"]).await;
    let listed = format!("{}{}", out(&listed), err(&listed));
    assert!(
        listed.contains(UNABLE) && listed.contains(NOBODY),
        "{listed}"
    );
    let shown = done(&s, &format!("run show {}", ids[0])).await;
    assert!(
        shown.contains(UNABLE) && shown.contains("state     scheduled"),
        "{shown}"
    );
    let shown = s.get(&format!("/runs/{}", ids[2])).await.body;
    assert_eq!(shown["blocked"], NOBODY);
    // The leader counts them when it looks next.
    let mut metrics = String::new();
    for _ in 0..4_000 {
        metrics = s.metrics().await;
        if metrics.contains("campanile_runs_blocked{queue=\"default\"} 2") {
            break;
        }
        campanile_core::system::pause(std::time::Duration::from_millis(5)).await;
    }
    assert!(
        metrics.contains("campanile_runs_blocked{queue=\"default\"} 2"),
        "{metrics}"
    );
    // Nobody failed, and nothing was started.
    for id in &ids {
        let run = s.get(&format!("/runs/{id}")).await.body;
        assert_eq!(
            (&run["failures"], &run["losses"]),
            (&json!(0), &json!(0)),
            "{run:#}"
        );
    }
    s.stop().await;
}

/// Says what it is told to.
struct Moody;

impl Handler for Moody {
    const NAME: &'static str = "moody";
    type Args = String;
    type Output = ();

    async fn run(&self, _: Context, class: String) -> Result<(), Failure> {
        Err(Failure::fatal("as it was told").with_class(Class::named(&class)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_decides_what_is_tried_again_and_is_shown() {
    let s = start_with(&[], |handlers| handlers.native(Moody)).await;
    let http = json!({"http": {"url": "http://127.0.0.1:9/"}});
    let native = json!({"native": "moody"});
    let quota = json!("quota");
    for (name, handler, payload, lists, attempts, class) in [
        ("a", &http, &Value::Null, json!({}), 2, "connect"),
        (
            "b",
            &http,
            &Value::Null,
            json!({"never_on": ["connect"]}),
            1,
            "connect",
        ),
        (
            "c",
            &http,
            &Value::Null,
            json!({"on": [503, "5xx"]}),
            1,
            "connect",
        ),
        ("d", &native, &quota, json!({}), 1, "class:quota"),
        (
            "e",
            &native,
            &quota,
            json!({"on": ["class:quota"]}),
            2,
            "class:quota",
        ),
    ] {
        let mut retry = json!({"max_attempts": 2, "initial": "1ms", "max": "1ms"});
        let lists = lists.as_object().unwrap().clone();
        retry.as_object_mut().unwrap().extend(lists);
        let body = json!({"handler": handler, "payload": payload, "retry": retry});
        let put = s.ask("PUT", &format!("/tasks/{name}"), Some(body)).await;
        assert_eq!(put.status, 201, "{name}");
        let trigger = format!("/tasks/{name}/trigger");
        let run = s.post(&trigger, json!({})).await.body;
        let id = run["id"].as_str().unwrap();
        let run = s
            .until(&format!("/runs/{id}"), |run| run["state"] == "failed")
            .await;
        assert_eq!(run["failures"], attempts, "{name}: {run:#}");
        assert_eq!(run["attempts"][0]["class"], class, "{name}");
        let shown = done(&s, &format!("run show {id}")).await;
        assert!(shown.contains(&format!("class     {class}")), "{shown}");
    }
    let wrong = json!({"handler": native, "retry": {"on": ["time-out"]}});
    let refused = s.ask("PUT", "/tasks/f", Some(wrong)).await;
    assert_eq!(refused.status, 422);
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("retry.on") && detail.contains("`timeout`"),
        "{detail}"
    );
    s.stop().await;
}
