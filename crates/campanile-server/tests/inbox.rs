//! What other programs leave in the inbox of a running service: it becomes runs, and people see what did not.

use serde_json::json;
use sqlx::{Executor as _, SqlitePool};

use crate::cli::done;
use crate::quarantine::{count, define};
use crate::support::start;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_runs_and_what_can_not_be_a_run_is_shown_with_its_reason() {
    let s = start(&[]).await;
    define(&s, "t", json!({})).await;
    let url = format!("sqlite:{}", s.folder.join("c.db").display());
    let pool = SqlitePool::connect(&url).await.unwrap();
    for request in [
        json!({ "task": "t", "idempotency_key": "k" }),
        json!({ "task": "t", "idempotency_key": "k" }),
        json!({ "task": "nobody" }),
    ] {
        let left = sqlx::query(campanile_adapters::sql::enqueue::LEAVE);
        pool.execute(left.bind(request.to_string())).await.unwrap();
    }
    let page = s.until("/inbox", |page| count(page) == 2).await;
    assert_eq!(page["items"][0]["became"], "refused");
    assert_eq!(page["items"][0]["error"], "there is no task `nobody`");
    assert_eq!(page["items"][1]["became"], "duplicate");
    let run = page["items"][1]["run"].as_str().unwrap();
    let ended = |run: &serde_json::Value| run["state"] == "succeeded";
    let shown = s.until(&format!("/runs/{run}"), ended).await;
    assert_eq!(shown["origin"], "inbox");
    let list = done(&s, "inbox list").await;
    assert!(list.contains("there is no task `nobody`"), "{list}");
    assert_eq!(count(&s.get("/inbox?limit=1").await.body), 1);
    s.stop().await;
}
