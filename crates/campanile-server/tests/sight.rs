//! What people on call read of a node: its log, its metrics.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use xtask::servers::{TempDir, free_port, wait_until};

use crate::support::{TOKEN, start};

const PATIENCE: Duration = Duration::from_secs(60);

/// A node of its own process, killed with its test.
struct Node {
    child: Child,
    folder: TempDir,
    url: String,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    fn start() -> Self {
        let folder = TempDir::new("sight").unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let child = Command::new(env!("CARGO_BIN_EXE_campanile"))
            .args(["serve", "--store", "sqlite:c.db", "--listen", &listen])
            .args(["--metrics-public", "--metrics-tasks", "bill-*"])
            .arg("--allow-private-targets")
            .current_dir(folder.path())
            .env_clear()
            .env("CAMPANILE_TOKEN", TOKEN)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let node = Self {
            child,
            folder,
            url: format!("http://{listen}"),
        };
        wait_until("the node answers", PATIENCE, || {
            node.client(&["leader", "show"]).0
        });
        node
    }

    fn client(&self, words: &[&str]) -> (bool, String) {
        self.client_at(&self.url, words)
    }

    fn client_at(&self, url: &str, words: &[&str]) -> (bool, String) {
        let done = Command::new(env!("CARGO_BIN_EXE_campanile"))
            .args(words)
            .current_dir(self.folder.path())
            .env_clear()
            .env("CAMPANILE_TOKEN", TOKEN)
            .env("CAMPANILE_URL", url)
            .env("USER", "ada")
            .output()
            .unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(said).unwrap())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// The lines of the log that hold all of these.
    fn lines(&self, words: &[&str]) -> Vec<String> {
        let log = self.log();
        let holds = |line: &&str| words.iter().all(|word| line.contains(word));
        log.lines().filter(holds).map(str::to_owned).collect()
    }
}

#[test]
fn each_act_is_one_line_that_says_who_from_where_and_what() {
    let node = Node::start();
    std::fs::write(
        node.folder.join("t.toml"),
        "[[task]]\nname = \"t\"\nhandler = { native = \"x\" }\nqueue = \"nobody\"\n",
    )
    .unwrap();
    assert!(node.client(&["apply", "t.toml", "--dry-run"]).0);
    assert_eq!(node.lines(&["act="]), Vec::<String>::new());
    assert!(node.client(&["apply", "t.toml"]).0);
    assert!(node.client(&["task", "pause", "t"]).0);
    assert!(node.client(&["task", "list"]).0);
    assert!(!node.client(&["task", "pause", "missing"]).0);
    for (act, status) in [
        ("POST /api/v1/apply", "200"),
        ("POST /api/v1/tasks/t/pause", "200"),
        ("POST /api/v1/tasks/missing/pause", "404"),
    ] {
        let said = format!("ada from 127.0.0.1: {act}: {status}");
        wait_until("the act is logged", PATIENCE, || {
            node.lines(&[&said]).len() == 1
        });
    }
    assert_eq!(node.lines(&["act="]).len(), 3, "{}", node.log());
}

#[test]
fn a_command_goes_to_the_next_service_when_one_can_not_be_reached() {
    let node = Node::start();
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let both = format!("{nobody},{}", node.url);
    let (done, said) = node.client_at(&both, &["leader", "show"]);
    assert!(done, "{said}");
    let (done, said) = node.client_at(&both, &["run", "submit", "--handler", r#"{"native":"x"}"#]);
    assert!(done, "{said}");
    let (done, said) = node.client_at(&nobody, &["leader", "show"]);
    assert!(!done && said.contains("does not answer"), "{said}");
    let (done, said) = node.client_at(&format!("{},ftp://x", node.url), &["leader", "show"]);
    assert!(!done && said.contains("ftp://x"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_family_of_metrics_says_what_it_is() {
    let s = start(&[]).await;
    let client = reqwest::Client::new();
    let asked = client.get(format!("{}/metrics", s.url)).bearer_auth(TOKEN);
    let text = asked.send().await.unwrap().text().await.unwrap();
    let mut families = 0;
    for line in text.lines() {
        let Some(name) = line
            .strip_prefix("# TYPE ")
            .and_then(|l| l.split(' ').next())
        else {
            continue;
        };
        families += 1;
        let help = format!("# HELP {name} ");
        let helped = text.lines().filter(|l| l.starts_with(&help)).count();
        assert_eq!(helped, 1, "{name}");
    }
    assert!(families >= 25, "{families} families");
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_node_says_when_a_task_last_succeeded() {
    let watched = ("metrics_tasks", "bill-*");
    let s = start(&[watched]).await;
    let task = |url: &str| json!({ "handler": { "http": { "url": url } } });
    let fine = format!("{}/healthz", s.url);
    for (name, url) in [
        ("bill-a", fine.as_str()),
        ("bill-b", "http://127.0.0.1:9/"),
        ("other", fine.as_str()),
    ] {
        let path = format!("/tasks/{name}");
        s.ask("PUT", &path, Some(task(url))).await;
        s.ask("POST", &format!("{path}/trigger"), Some(json!({})))
            .await;
    }
    s.until("/runs", |page| {
        let runs = page["items"].as_array().unwrap();
        let over = |run: &&Value| !run["finished_at"].is_null();
        runs.len() == 3 && runs.iter().filter(over).count() == 3
    })
    .await;
    // A node that has carried out nothing of it.
    let store = format!("sqlite:{}", s.folder.join("c.db").display());
    let pairs = [watched, ("store", store.as_str()), ("name", "later")];
    let later = start(&pairs).await;
    let client = reqwest::Client::new();
    for node in [&s, &later] {
        let asked = client.get(format!("{}/metrics", node.url));
        let text = asked.bearer_auth(TOKEN).send().await.unwrap();
        let text = text.text().await.unwrap();
        let name = "campanile_task_last_success_timestamp_seconds{task=";
        let told: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix(name)).collect();
        assert_eq!(told.len(), 1, "{text}");
        let at = told[0].strip_prefix("\"bill-a\"} ").unwrap();
        assert!(at.parse::<f64>().unwrap() > 1e9, "{at}");
    }
    later.stop().await;
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_failed_is_one_line_and_one_count_and_tasks_that_are_asked_for_have_their_own() {
    let node = tokio::task::spawn_blocking(Node::start).await.unwrap();
    let file = "[[task]]\nname = \"bill-a\"\nhandler = { http = { url = \"http://127.0.0.1:9/\" } }\n\
                retry = { max_attempts = 2, initial = \"10ms\", max = \"10ms\" }\n\
                [[task]]\nname = \"other\"\nhandler = { http = { url = \"http://127.0.0.1:9/\" } }\n";
    std::fs::write(node.folder.join("t.toml"), file).unwrap();
    assert!(node.client(&["apply", "t.toml"]).0);
    for task in ["bill-a", "other"] {
        assert!(node.client(&["task", "trigger", task]).0);
    }
    for (words, count) in [
        (
            &[
                "run ",
                " of bill-a failed (",
                "at attempt 2:",
                "campanile run retry ",
            ][..],
            1,
        ),
        (
            &[
                "attempt 1 of run ",
                " of bill-a failed (",
                "attempt 2 starts at ",
            ],
            1,
        ),
        (&["run ", " of other failed (", "at attempt 1:"], 1),
    ] {
        wait_until("it is logged", PATIENCE, || {
            node.lines(words).len() == count
        });
    }
    let text = reqwest::get(format!("{}/metrics", node.url)).await.unwrap();
    let text = text.text().await.unwrap();
    let value = |series: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map(|v| v.trim().parse::<f64>().unwrap())
    };
    let failed: f64 = text
        .lines()
        .filter(|l| l.starts_with("campanile_runs_ended_total{queue=\"default\",state=\"failed\""))
        .map(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(failed, 2.0, "{text}");
    assert_eq!(
        value("campanile_task_runs_ended_total{task=\"bill-a\",state=\"failed\"}"),
        Some(1.0)
    );
    assert_eq!(
        value("campanile_task_runs_ended_total{task=\"bill-a\",state=\"retried\"}"),
        Some(1.0)
    );
    assert!(value("campanile_task_last_failure_timestamp_seconds{task=\"bill-a\"}").unwrap() > 1e9);
    assert!(!text.contains("task=\"other\""), "{text}");
}
