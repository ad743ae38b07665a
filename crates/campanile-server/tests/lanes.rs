//! Workers of one queue that can do different things, behind a real ActiveMQ: each run lands where it can be done, nobody
//! ends one that he can't do, and what nobody can do waits until somebody comes.

use std::collections::BTreeMap;
use std::time::Duration;

use campanile_core::engine::Handlers;
use campanile_core::port::handler::{Context, Failure, Handler};
use serde_json::{Value, json};
use xtask::or_skip;
use xtask::servers::{ActiveMq, Postgres, TempDir};

use crate::process::Process;
use crate::support::{Service, TOKEN, start_with};

/// Native handlers that only succeed.
macro_rules! named {
    ($name:ident, $text:literal) => {
        struct $name;

        impl Handler for $name {
            const NAME: &'static str = $text;
            type Args = Value;
            type Output = ();

            async fn run(&self, _: Context, _: Value) -> Result<(), Failure> {
                Ok(())
            }
        }
    };
}

named!(X, "lanes.x");
named!(Y, "lanes.y");
named!(Z, "lanes.z");

const RUNS: usize = 25;
/// Of the task that nobody can do: submitted, and one of its schedule.
const NOBODYS: usize = 4;

/// A cluster's common settings.
struct Cluster {
    store: String,
    broker: String,
    name: String,
}

impl Cluster {
    /// A node of the library, with native handlers.
    async fn node(
        &self,
        name: &str,
        roles: &str,
        more: impl FnOnce(Handlers) -> Handlers,
    ) -> Service {
        let settings = [
            ("store", self.store.as_str()),
            ("broker", self.broker.as_str()),
            ("cluster", self.name.as_str()),
            ("queues", self.name.as_str()),
            ("name", name),
            ("roles", roles),
        ];
        start_with(&settings, more).await
    }

    /// A worker as a process of its own, that may run this program.
    fn worker(&self, folder: &TempDir, name: &str, command: &str) -> Process {
        let args = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--roles",
            "worker",
            "--drain",
            "1s",
            "--store",
            &self.store,
            "--broker",
            &self.broker,
            "--cluster",
            &self.name,
            "--queues",
            &self.name,
            "--name",
            name,
            "--allow-commands",
            command,
        ];
        Process::start_in(folder, &args, &[("CAMPANILE_TOKEN", TOKEN)])
    }
}

/// The members by name, once there are so many.
async fn living(s: &Service, count: usize) -> BTreeMap<String, String> {
    let of = |nodes: &Value| -> BTreeMap<String, String> {
        let all = nodes["items"].as_array().unwrap().iter();
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        all.map(|n| (text(&n["name"]), text(&n["id"]))).collect()
    };
    let nodes = s.until("/nodes", |nodes| of(nodes).len() == count).await;
    of(&nodes)
}

async fn submit(s: &Service, task: &str, count: usize) {
    let runs = vec![json!({ "task": task }); count];
    let answer = s.post("/runs", json!({ "runs": runs })).await;
    assert_eq!(answer.status, 201, "{:#}", answer.body);
}

/// The runs of a task, once so many are in this state.
async fn in_state(s: &Service, task: &str, state: &str, count: usize) -> Vec<Value> {
    let path = format!("/runs?task={task}&state={state}&limit=1000");
    let of = |page: &Value| page["items"].as_array().map_or(0, Vec::len);
    let mut page = s.until(&path, |page| of(page) >= count).await;
    let runs = page["items"].as_array_mut().unwrap();
    assert_eq!(runs.len(), count, "{task} {state}");
    std::mem::take(runs)
}

/// Each ended well at its first attempt, and at this worker.
async fn all_done_by(s: &Service, task: &str, count: usize, worker: &str) {
    for run in in_state(s, task, "succeeded", count).await {
        assert_eq!(run["attempt"], 1, "{run:#}");
        assert_eq!(run["worker_id"], worker, "{run:#}");
    }
}

async fn metric(s: &Service, name: &str) -> u64 {
    let text = s.metrics().await;
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name} in {text}"))
        .parse()
        .unwrap()
}

/// The tasks: name, handler, and who can do it.
fn tasks() -> [(&'static str, Value, &'static str); 5] {
    let command = |argv: &[&str]| json!({ "command": { "argv": argv } });
    [
        ("x", json!({ "native": "lanes.x" }), "a"),
        ("y", json!({ "native": "lanes.y" }), "b"),
        ("true", command(&["/bin/true"]), "p"),
        ("echo", command(&["/bin/echo", "hello"]), "q"),
        ("z", json!({ "native": "lanes.z" }), ""),
    ]
}

async fn define(s: &Service, queue: &str) {
    for (name, handler, worker) in tasks() {
        let mut task =
            json!({ "handler": handler, "queue": queue, "retry": { "max_attempts": 1 } });
        if worker.is_empty() {
            // One occurrence besides, for people to ask about.
            let soon = campanile_core::system::wall_now().plus(Duration::from_secs(1));
            task["schedule"] = json!(format!("at {soon}"));
        }
        let put = s.ask("PUT", &format!("/tasks/{name}"), Some(task)).await;
        assert!(put.status < 300, "{:#}", put.body);
    }
}

/// Waits until so many runs of the queue are known to be blocked.
async fn blocked(s: &Service, queue: &str, count: usize) {
    s.until("/queues", |queues| {
        let mut all = queues["items"].as_array().unwrap().iter();
        all.any(|q| q["name"] == queue && q["blocked"] == count)
    })
    .await;
}

/// What nobody can do waits, untouched, and every view says why.
async fn waits_and_says_why(s: &Service, queue: &str) {
    blocked(s, queue, NOBODYS).await;
    let unable = format!("no living worker of queue `{queue}` can do `native: lanes.z`");
    for run in in_state(s, "z", "scheduled", NOBODYS).await {
        let id = run["id"].as_str().unwrap();
        // One that is planned ahead is blocked already, and is said to be once its instant has come.
        let says = |run: &Value| {
            let blocked = run["blocked"].as_str().unwrap_or_default();
            blocked.contains(&unable)
        };
        let shown = s.until(&format!("/runs/{id}"), says).await;
        assert_eq!(shown["attempts"], json!([]));
    }
    let why = s.get("/tasks/z/why?at=last").await.body;
    assert_eq!(why["verdict"], "waiting", "{why:#}");
    assert!(why.to_string().contains(&unable), "{why:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_land_where_they_can_be_done_and_nobody_ends_what_he_can_not_do() {
    let Some(postgres) = or_skip(Postgres::shared()) else {
        return;
    };
    let Some(activemq) = or_skip(ActiveMq::shared()) else {
        return;
    };
    let cluster = Cluster {
        store: postgres.create_database("lanes").unwrap(),
        broker: activemq.stomp_url(),
        name: format!("lanes{}", std::process::id()),
    };
    let queue = cluster.name.as_str();
    let s = cluster.node("s", "scheduler,api", |h| h).await;
    let a = cluster.node("a", "worker,api", |h| h.native(X)).await;
    let b = cluster.node("b", "worker,api", |h| h.native(Y)).await;
    let folders = [TempDir::new("p").unwrap(), TempDir::new("q").unwrap()];
    let processes = [
        cluster.worker(&folders[0], "p", "/bin/true"),
        cluster.worker(&folders[1], "q", "/bin/echo"),
    ];
    let ids = living(&s, 5).await;
    define(&s, queue).await;
    // All at once, so that what one worker can't do lies among what it can.
    submit(&s, "z", NOBODYS - 1).await;
    for (name, ..) in &tasks()[..4] {
        submit(&s, name, RUNS).await;
    }
    for (name, _, worker) in &tasks()[..4] {
        all_done_by(&s, name, RUNS, &ids[*worker]).await;
    }
    // Nothing was even offered to a worker that had to give it back.
    for worker in [&a, &b] {
        assert_eq!(metric(worker, "campanile_attempts_refused_total").await, 0);
        assert_eq!(metric(worker, "campanile_attempts_failed_total").await, 0);
    }
    waits_and_says_why(&s, queue).await;
    // Somebody comes who can.
    let c = cluster.node("c", "worker,api", |h| h.native(Z)).await;
    let ids = living(&s, 6).await;
    all_done_by(&s, "z", NOBODYS, &ids["c"]).await;
    // Who alone could do something goes; its runs wait, and the others leave them alone.
    a.stop().await;
    living(&s, 5).await;
    submit(&s, "x", 2).await;
    submit(&s, "y", 2).await;
    all_done_by(&s, "y", RUNS + 2, &ids["b"]).await;
    blocked(&s, queue, 2).await;
    let a = cluster.node("a2", "worker,api", |h| h.native(X)).await;
    in_state(&s, "x", "succeeded", RUNS + 2).await;
    for state in ["failed", "cancelled", "skipped", "quarantined"] {
        let page = s.get(&format!("/runs?state={state}")).await.body;
        assert_eq!(page["items"], json!([]), "{state}");
    }
    drop(processes);
    for service in [a, b, c, s] {
        service.stop().await;
    }
}
