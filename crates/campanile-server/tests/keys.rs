//! Idempotency keys: whose they are, and how runs are found, moved and cancelled by them.

use serde_json::json;

use crate::support::{Service, start};

const LATER: &str = "2199-01-01T00:00:00.000Z";

/// A service with the tasks `a` and `b`.
async fn with_two_tasks() -> Service {
    let s = start(&[]).await;
    for name in ["a", "b"] {
        let task = json!({ "name": name, "handler": { "native": "x" } });
        s.ask("PUT", &format!("/tasks/{name}"), Some(task)).await;
    }
    s
}

/// The same, each with a run of one key.
async fn with_two_runs() -> Service {
    let s = with_two_tasks().await;
    for task in ["a", "b"] {
        let run = json!({ "task": task, "run_at": LATER, "idempotency_key": "k/1" });
        assert_eq!(s.post("/runs", run).await.status, 201);
    }
    s
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_its_task_and_to_what_was_asked_with_it() {
    let s = with_two_tasks().await;
    let later = LATER;
    let of = |task: &str, payload: i64| json!({ "task": task, "run_at": later, "payload": payload, "idempotency_key": "2026/11 ü" });
    let (a, b) = (
        s.post("/runs", of("a", 1)).await,
        s.post("/runs", of("b", 1)).await,
    );
    assert_eq!((a.status, b.status), (201, 201));
    assert_ne!(a.body["id"], b.body["id"]);
    // Other content: refused with the run that has the key, and nothing else of the batch is stored.
    let batch = json!({ "runs": [{ "task": "a", "run_at": later }, of("a", 2)] });
    let taken = s.post("/runs", batch).await;
    assert_eq!((taken.status, &taken.body["run"]), (409, &a.body["id"]));
    assert_eq!(taken.body["field"], "runs[1].idempotency_key");
    let twice = s
        .post("/runs", json!({ "runs": [of("a", 1), of("a", 2)] }))
        .await;
    assert_eq!(twice.status, 409);
    let of_now = json!({ "task": "a", "payload": 1, "idempotency_key": "2026/11 ü" });
    assert_eq!(s.post("/runs", of_now).await.status, 409);
    let all = s.get("/runs?task=a").await.body;
    assert_eq!(all["items"].as_array().unwrap().len(), 1, "{all:#}");
    // The engine's own keys are out of reach: a backfill is not answered by what somebody submitted.
    let again = s.post("/runs", of("a", 1)).await;
    assert_eq!((again.status, &again.body["id"]), (200, &a.body["id"]));
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_found_by_key() {
    let s = with_two_runs().await;
    let own = json!({ "handler": { "native": "x" }, "run_at": LATER, "idempotency_key": "own" });
    let own = s.post("/runs", own).await.body["id"].clone();
    let listed = s.get("/runs?key=k/1").await.body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed:#}");
    let found = s.get("/runs/by-key?key=k/1&task=b").await;
    assert_eq!((found.status, &found.body["task"]), (200, &json!("b")));
    assert_eq!(
        s.get("/runs/by-key?key=own&handler=native:x").await.body["id"],
        own
    );
    assert_eq!(s.get("/runs/by-key?key=own&handler=http").await.status, 404);
    assert_eq!(s.get("/runs/by-key?key=k/1").await.status, 409);
    let refused = s.get("/runs/by-key?key=own&handler=shell").await;
    assert_eq!(
        (refused.status, &refused.body["field"]),
        (422, &json!("handler"))
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_moved_and_cancelled_by_key() {
    let s = with_two_runs().await;
    let found = s.get("/runs/by-key?key=k/1&task=b").await;
    let to = "2198-01-01T00:00:00.000Z";
    let moved = s
        .post(
            "/runs/by-key/move",
            json!({ "key": "k/1", "task": "a", "run_at": to }),
        )
        .await;
    assert_eq!(
        (moved.status, &moved.body["due_at"]),
        (200, &json!(to)),
        "{:#}",
        moved.body
    );
    let id = found.body["id"].as_str().unwrap();
    let moved = s
        .post(&format!("/runs/{id}/move"), json!({ "run_at": to }))
        .await;
    assert_eq!((moved.status, &moved.body["due_at"]), (200, &json!(to)));
    let cancelled = s
        .post("/runs/by-key/cancel", json!({ "key": "k/1", "task": "a" }))
        .await;
    assert_eq!(
        (cancelled.status, &cancelled.body["outcome"]),
        (200, &json!("cancelled"))
    );
    let ended = s
        .post(
            "/runs/by-key/move",
            json!({ "key": "k/1", "task": "a", "run_at": to }),
        )
        .await;
    assert_eq!(ended.status, 409);
    assert!(
        ended.body["detail"]
            .as_str()
            .unwrap()
            .contains("has ended already: cancelled"),
        "{:#}",
        ended.body
    );
    s.stop().await;
}
