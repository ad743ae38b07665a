//! What the store refuses to record, on a running service: the others go on, people see it, and release or drop it.

use campanile_core::id::RunId;
use serde_json::{Value, json};
use sqlx::{Executor as _, SqlitePool};

use crate::support::{Service, start};

/// The service's own file, as somebody else would open it.
async fn database(s: &Service) -> SqlitePool {
    let url = format!("sqlite:{}", s.folder.join("c.db").display());
    SqlitePool::connect(&url).await.unwrap()
}

async fn run_sql(pool: &SqlitePool, sql: &str) {
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    pool.execute(sqlx::raw_sql(sql)).await.unwrap();
}

/// Puts a task that calls the service itself, with more fields or others.
pub async fn define(s: &Service, name: &str, more: Value) {
    let url = format!("{}/healthz", s.url);
    let mut task = json!({ "name": name, "handler": { "http": { "url": url, "method": "GET" } } });
    for (field, value) in more.as_object().unwrap() {
        task[field] = value.clone();
    }
    let put = s.ask("PUT", &format!("/tasks/{name}"), Some(task)).await;
    assert!(put.status < 300, "{:#}", put.body);
}

/// How many rows a page has.
pub fn count(page: &Value) -> usize {
    page["items"].as_array().map_or(0, Vec::len)
}

/// Submits a run; its id.
pub async fn submit(s: &Service, run: Value) -> String {
    let answer = s.post("/runs", run).await;
    assert_eq!(answer.status, 201, "{:#}", answer.body);
    answer.body["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_in_the_history_already_keeps_nobody_from_ending() {
    let s = start(&[]).await;
    define(&s, "t", json!({})).await;
    let pool = database(&s).await;
    let far = json!({ "task": "t", "run_at": "2199-01-01T00:00:00Z" });
    let botched = submit(&s, far).await;
    let id: RunId = botched.parse().unwrap();
    let copy = format!(
        "INSERT INTO campanile_run_history (id, task, due_at, ready_at, epoch, finished_at, dedup, queue, attempt, failures, losses,
         origin, priority, state, reason, cancel_requested)
         SELECT id, task, due_at, ready_at, epoch, due_at, id, queue, attempt, failures, losses, origin, priority, 4, 0, 0
         FROM campanile_run WHERE id = {}",
        id.as_i64()
    );
    run_sql(&pool, &copy).await;
    // Its instant comes: by hand, because whoever asks for the run is told of the row in the history.
    let past = 1_767_225_600_000_i64;
    let (run, due) = (id.as_i64(), "WHERE n = 1 AND owner");
    run_sql(
        &pool,
        &format!("UPDATE campanile_run SET ready_at = {past} WHERE id = {run}"),
    )
    .await;
    run_sql(
        &pool,
        &format!("UPDATE campanile_due SET at = {past} {due} = {run}"),
    )
    .await;
    let others: Vec<Value> = (0..40).map(|_| json!({ "task": "t" })).collect();
    s.post("/runs", json!({ "runs": others })).await;
    s.until("/runs?state=succeeded&limit=1000", |page| count(page) == 41)
        .await;
    let aside = s.until("/quarantine", |page| count(page) == 1).await;
    let entry = &aside["items"][0];
    assert_eq!(
        (&entry["run"], &entry["task"]),
        (&json!(botched), &json!("t"))
    );
    assert_eq!(entry["what"], "its end: succeeded");
    assert!(
        entry["error"].as_str().unwrap().contains("UNIQUE"),
        "{entry:#}"
    );
    let metrics = s.metrics().await;
    assert!(
        metrics.contains("campanile_quarantined_total 1"),
        "{metrics}"
    );
    let path = format!("/quarantine/{}", entry["id"]);
    let refused = s.post(&format!("{path}/release"), json!({})).await;
    assert_eq!(refused.status, 409, "{:#}", refused.body);
    assert_eq!(s.ask("DELETE", &path, None).await.status, 204);
    assert_eq!(s.ask("DELETE", &path, None).await.status, 404);
    assert_eq!(count(&s.get("/quarantine").await.body), 0);
    assert_eq!(
        s.get(&format!("/runs/{botched}")).await.body["state"],
        "succeeded"
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_end_is_set_aside_and_recorded_when_it_is_released() {
    let s = start(&[]).await;
    define(&s, "t", json!({})).await;
    define(&s, "one", json!({ "overlap": "queue" })).await;
    let pool = database(&s).await;
    let refuse =
        "CREATE TRIGGER stranger BEFORE INSERT ON campanile_run_history WHEN NEW.priority = 9
                  BEGIN SELECT RAISE(ABORT, 'no nines'); END";
    run_sql(&pool, refuse).await;
    let bad = submit(&s, json!({ "task": "one", "priority": 9 })).await;
    // It held the task's permit: the next one goes on all the same.
    let next = submit(&s, json!({ "task": "one" })).await;
    let many: Vec<Value> = (0..20).map(|_| json!({ "task": "t" })).collect();
    s.post("/runs", json!({ "runs": many })).await;
    s.until("/runs?state=succeeded&limit=1000", |page| count(page) == 21)
        .await;
    assert_eq!(
        s.get(&format!("/runs/{next}")).await.body["state"],
        "succeeded"
    );
    let aside = s.until("/quarantine", |page| count(page) == 1).await;
    let entry = &aside["items"][0];
    assert!(
        entry["error"].as_str().unwrap().contains("no nines"),
        "{entry:#}"
    );
    assert_eq!(
        s.get(&format!("/runs/{bad}")).await.body["state"],
        "quarantined"
    );
    let path = format!("/quarantine/{}/release", entry["id"]);
    let refused = s.post(&path, json!({})).await;
    assert_eq!(refused.status, 409);
    assert!(
        refused.body["detail"]
            .as_str()
            .unwrap()
            .contains("no nines"),
        "{:#}",
        refused.body
    );
    run_sql(&pool, "DROP TRIGGER stranger").await;
    let released = s.post(&path, json!({})).await;
    assert_eq!(
        (released.status, &released.body["outcome"]),
        (200, &json!("released"))
    );
    assert_eq!(
        s.get(&format!("/runs/{bad}")).await.body["state"],
        "succeeded"
    );
    assert_eq!(s.post(&path, json!({})).await.status, 404);
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_occurrence_is_refused_stands_still_and_the_others_go_on() {
    let s = start(&[]).await;
    let pool = database(&s).await;
    let refuse = "CREATE TRIGGER stranger BEFORE INSERT ON campanile_run WHEN NEW.priority = 9
                  BEGIN SELECT RAISE(ABORT, 'no nines'); END";
    run_sql(&pool, refuse).await;
    define(&s, "bad", json!({ "schedule": "every 1s", "priority": 9 })).await;
    for name in ["a", "b", "c"] {
        define(&s, name, json!({ "schedule": "every 1s" })).await;
    }
    let aside = s.until("/quarantine", |page| count(page) == 1).await;
    let entry = &aside["items"][0];
    assert_eq!(
        (&entry["task"], &entry["run"]),
        (&json!("bad"), &Value::Null)
    );
    for name in ["a", "b", "c"] {
        let path = format!("/runs?task={name}&state=succeeded");
        s.until(&path, |page| count(page) >= 2).await;
    }
    let due = entry["due_at"].as_str().unwrap();
    let why = s.get(&format!("/tasks/bad/why?at={due}")).await;
    assert_eq!(why.body["verdict"], "quarantined", "{:#}", why.body);
    run_sql(&pool, "DROP TRIGGER stranger").await;
    s.post(&format!("/quarantine/{}/release", entry["id"]), json!({}))
        .await;
    s.until("/runs?task=bad&state=succeeded", |page| count(page) >= 1)
        .await;
    s.stop().await;
}
