//! One task file, two forms: one process on SQLite with everything in it, and PostgreSQL with Redis Sentinel and
//! ActiveMQ. The runs must be the same: the same tasks, the same instants, the same ends.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use xtask::or_skip;
use xtask::servers::{ActiveMq, Postgres, Sentinel, free_port};

use crate::support::{Service, start};

/// Anchored long ago, so that both forms mean the same instants. The failing one may start once, so it ends at once.
fn tasks() -> Value {
    let dead = format!("http://127.0.0.1:{}/", free_port());
    json!([
        {"name": "every", "schedule": "every 700ms", "anchor": "2026-01-01T00:00:00Z",
         "handler": {"command": {"argv": ["/bin/true"]}}},
        {"name": "cron", "schedule": "*/2 * * * * *", "timezone": "Europe/Berlin",
         "handler": {"command": {"argv": ["/bin/true"]}}},
        {"name": "fails", "schedule": "*/3 * * * * *", "start": "at-most-once",
         "handler": {"http": {"url": dead}}},
        {"name": "paused", "schedule": "* * * * * *", "paused": true,
         "handler": {"command": {"argv": ["/bin/true"]}}},
    ])
}

type Ran = BTreeSet<(String, String, String, u64)>;

/// Every finished run as (task, instant, state with reason, attempt).
async fn ran(service: &Service) -> Ran {
    let page = service.get("/runs?limit=1000").await.body;
    let runs = page["items"].as_array().unwrap();
    let finished = runs.iter().filter(|r| r["finished_at"].is_string());
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    finished
        .map(|r| {
            let end = format!("{} {}", text(&r["state"]), text(&r["reason"]));
            (
                text(&r["task"]),
                text(&r["due_at"]),
                end,
                r["attempt"].as_u64().unwrap(),
            )
        })
        .collect()
}

fn instants<'a>(ran: &'a Ran, task: &'a str) -> impl Iterator<Item = &'a String> {
    ran.iter()
        .filter(move |(t, ..)| t == task)
        .map(|(_, due, ..)| due)
}

/// What both have seen from a common first instant to a common last one.
fn common(ran: &Ran, from: &str, to: &str) -> Ran {
    ran.iter()
        .filter(|(_, due, ..)| due.as_str() > from && due.as_str() < to)
        .cloned()
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_task_file_gives_the_same_runs_in_both_forms() {
    let Some(postgres) = or_skip(Postgres::shared()) else {
        return;
    };
    let Some(redis) = or_skip(Sentinel::start(3, 2)) else {
        return;
    };
    let Some(activemq) = or_skip(ActiveMq::shared()) else {
        return;
    };
    let database = postgres.create_database("same").unwrap();
    let (lock, broker) = (redis.url(), activemq.stomp_url());
    // A queue and a cluster of its own: the servers may be shared with other tests.
    let name = format!("same{}", std::process::id());
    let usual = [
        ("allow_commands", "/bin/true"),
        ("queues", name.as_str()),
        ("cluster", name.as_str()),
    ];
    let single = start(&usual).await;
    let cluster = [
        ("store", database.as_str()),
        ("lock", lock.as_str()),
        ("broker", broker.as_str()),
    ];
    let cluster = start(&[&usual[..], &cluster[..]].concat()).await;
    for service in [&single, &cluster] {
        for mut task in tasks().as_array().unwrap().clone() {
            task["queue"] = json!(name);
            let path = format!("/tasks/{}", task["name"].as_str().unwrap());
            let answer = service.ask("PUT", &path, Some(task)).await;
            assert!(answer.status < 300, "{answer:?}");
        }
    }
    let enough = |body: &Value| {
        let items = body["items"].as_array().unwrap();
        items
            .iter()
            .filter(|r| r["task"] == "fails" && r["finished_at"].is_string())
            .count()
            >= 4
    };
    single.until("/runs?limit=1000", enough).await;
    cluster.until("/runs?limit=1000", enough).await;
    let (one, many) = (ran(&single).await, ran(&cluster).await);
    // Both ran from the later one's first instant of each task to the earlier one's last.
    let starts = ["every", "cron", "fails"]
        .iter()
        .flat_map(|t| [instants(&one, t).min(), instants(&many, t).min()]);
    let from = starts.flatten().max().unwrap().clone();
    let ends = ["every", "cron", "fails"]
        .iter()
        .flat_map(|t| [instants(&one, t).max(), instants(&many, t).max()]);
    let to = ends.flatten().min().unwrap().clone();
    let (one, many) = (common(&one, &from, &to), common(&many, &from, &to));
    assert!(one.len() >= 8, "too little in common: {one:?}");
    assert_eq!(one, many);
    assert!(
        one.iter()
            .any(|(task, _, end, _)| task == "fails" && end.starts_with("failed"))
    );
    for task in ["every", "cron"] {
        let succeeds = |(name, _, end, _): &(String, String, String, u64)| {
            name == task && end.starts_with("succeeded")
        };
        assert!(one.iter().any(succeeds), "{task}: {one:?}");
    }
    assert!(!one.iter().any(|(task, ..)| task == "paused"));
    single.stop().await;
    cluster.stop().await;
}
