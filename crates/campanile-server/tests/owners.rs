//! Owners and deletions as people meet them: over the API and typed.

use serde_json::{Value, json};

use crate::cli::{client, err, out};
use crate::support::{Service, start};

fn tasks(names: impl Iterator<Item = String>) -> Vec<Value> {
    let queue = "nobody";
    names
        .map(|name| json!({ "name": name, "queue": queue, "handler": { "native": "x" } }))
        .collect()
}

fn numbered(count: usize) -> Vec<Value> {
    tasks((0..count).map(|n| format!("t{n:04}")))
}

async fn said(s: &Service, words: &[&str]) -> String {
    let output = client(s, words).await;
    assert!(output.status.success(), "{words:?}: {}", err(&output));
    out(&output)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_over_the_api_is_confirmed_and_goes_in_batches() {
    let s = start(&[("roles", "api")]).await;
    let mine = |count: usize| json!({ "tasks": numbered(count) });
    assert_eq!(
        s.post("/apply?owner=finance", mine(1_100)).await.status,
        200
    );
    let others = json!({ "tasks": tasks(["other".to_owned()].into_iter()) });
    let pruned = s.post("/apply?prune=true", others).await;
    assert_eq!((pruned.status, &pruned.body["deleted"]), (200, &json!([])));
    let refused = s.post("/apply?owner=finance&prune=true", mine(0)).await;
    assert_eq!(refused.status, 409);
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("delete 1100 tasks (`t0000`") && detail.contains("dry_run=true"),
        "{detail}"
    );
    let shown = s
        .post("/apply?owner=finance&prune=true&dry_run=true", mine(0))
        .await
        .body;
    let token = shown["confirm"].as_str().unwrap().to_owned();
    assert_eq!(shown["deleted"].as_array().unwrap().len(), 1_100);
    let wrong = s
        .post("/apply?owner=finance&prune=true&confirm=no", mine(0))
        .await;
    assert_eq!(
        (wrong.status, &wrong.body["field"]),
        (422, &json!("confirm"))
    );
    let other_set = s
        .post(
            &format!("/apply?owner=finance&prune=true&confirm={token}"),
            mine(1),
        )
        .await;
    assert_eq!(other_set.status, 409);
    let (mut confirm, mut gone) = (token, 0);
    loop {
        let answer = s
            .post(
                &format!("/apply?owner=finance&prune=true&confirm={confirm}"),
                mine(0),
            )
            .await;
        gone += answer.body["deleted"].as_array().unwrap().len();
        let remaining = answer.body["remaining"].as_u64().unwrap();
        assert_eq!(answer.status, if remaining > 0 { 202 } else { 200 });
        if remaining == 0 {
            break;
        }
        answer.body["confirm"]
            .as_str()
            .unwrap()
            .clone_into(&mut confirm);
    }
    assert_eq!(gone, 1_100);
    let left = s.get("/tasks").await.body;
    assert_eq!(
        (
            left["items"].as_array().unwrap().len(),
            &left["items"][0]["name"]
        ),
        (1, &json!("other"))
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_tasks_waiting_runs_end_and_stay_under_its_name() {
    let s = start(&[]).await;
    s.until("/leader", |l| l["node"] == "test").await;
    s.post(
        "/apply",
        json!({ "tasks": tasks(["t".to_owned()].into_iter()) }),
    )
    .await;
    let runs: Vec<Value> = (0..1_300)
        .map(|n| json!({ "task": "t", "run_at": if n < 650 { "2020-01-01T00:00:00Z" } else { "2199-01-01T00:00:00Z" } }))
        .collect();
    assert_eq!(s.post("/runs", json!({ "runs": runs })).await.status, 201);
    let refused = s.ask("DELETE", "/tasks/t", None).await;
    assert_eq!(refused.status, 409);
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("cancel 1300 waiting runs"), "{detail}");
    let shown = s.ask("DELETE", "/tasks/t?dry_run=true", None).await;
    assert_eq!(
        (
            shown.status,
            &shown.body["waiting_runs"],
            &shown.body["deleted"]
        ),
        (200, &json!(1_300), &json!(false))
    );
    let token = shown.body["confirm"].as_str().unwrap();
    let done = s
        .ask("DELETE", &format!("/tasks/t?confirm={token}"), None)
        .await;
    assert_eq!((done.status, &done.body["deleted"]), (202, &json!(true)));
    let none_waits = |page: &Value| page["items"].as_array().unwrap().is_empty();
    for state in ["scheduled", "queued", "running"] {
        s.until(&format!("/runs?task=t&state={state}"), none_waits)
            .await;
    }
    s.ask(
        "PUT",
        "/tasks/t",
        Some(json!({ "queue": "nobody", "handler": { "native": "x" } })),
    )
    .await;
    let fresh = s.post("/tasks/t/trigger", json!({})).await.body["id"].clone();
    let page = s.get("/runs?task=t&limit=1000").await.body;
    let rows = page["items"].as_array().unwrap();
    assert_eq!(
        (&rows[0]["id"], &rows[0]["task_deleted_at"]),
        (&fresh, &Value::Null)
    );
    assert_eq!(rows.len(), 1_000);
    for row in &rows[1..] {
        assert_eq!(
            (&row["task"], &row["state"], &row["reason"]),
            (&json!("t"), &json!("cancelled"), &json!("task-deleted"))
        );
        assert!(
            row["task_deleted_at"].is_string() && row["task_id"] != rows[0]["task_id"],
            "{row}"
        );
    }
    let one = s
        .get(&format!("/runs/{}", rows[1]["id"].as_str().unwrap()))
        .await
        .body;
    assert_eq!(one["task"], "t");
    s.stop().await;
}

/// A task as a file says it.
fn toml(name: &str) -> String {
    format!("[[task]]\nname = \"{name}\"\nhandler = {{ native = \"x\" }}\nqueue = \"nobody\"\n")
}

/// Thirty tasks of finance and one of ops, and files that would change whose they are.
async fn of_two_owners() -> Service {
    let s = start(&[("roles", "api")]).await;
    let write = |name: &str, text: &str| std::fs::write(s.folder.join(name), text).unwrap();
    let all: String = (0..30).map(|n| toml(&format!("f{n:02}"))).collect();
    write("finance.toml", &format!("owner = \"finance\"\n{all}"));
    write("ops.toml", &toml("o"));
    write("empty.toml", "owner = \"finance\"\n");
    write("thief.toml", &toml("f00"));
    said(&s, &["apply", "finance.toml"]).await;
    said(&s, &["apply", "ops.toml", "--owner", "ops", "--prune"]).await;
    s
}

/// The confirmation that a dry run answers with.
fn token_in(shown: &str) -> &str {
    let mut lines = shown.lines();
    lines
        .find_map(|l| l.split("--confirm ").nth(1))
        .unwrap_or_else(|| panic!("no confirmation in {shown}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_and_confirmations_are_typed() {
    let s = of_two_owners().await;
    let listed = said(&s, &["task", "list", "--owner", "ops"]).await;
    assert!(
        listed.contains("ops") && !listed.contains("f00"),
        "{listed}"
    );
    let thief = client(&s, &["apply", "thief.toml"]).await;
    assert_eq!(thief.status.code(), Some(1));
    assert!(
        err(&thief).contains("belongs to owner `finance`"),
        "{}",
        err(&thief)
    );
    let taken = said(
        &s,
        &["apply", "thief.toml", "--owner", "ops", "--take-over"],
    )
    .await;
    assert!(taken.contains("owner: \"finance\" -> \"ops\""), "{taken}");
    let refused = client(&s, &["apply", "empty.toml", "--prune"]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        err(&refused).contains("delete 29 tasks") && err(&refused).contains("--dry-run"),
        "{}",
        err(&refused)
    );
    let shown = said(&s, &["apply", "empty.toml", "--prune", "--dry-run"]).await;
    let token = token_in(&shown);
    let done = said(&s, &["apply", "empty.toml", "--prune", "--confirm", token]).await;
    assert!(
        done.contains("29 to delete") && done.contains("done"),
        "{done}"
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_with_waiting_runs_is_deleted_with_what_was_shown() {
    let s = of_two_owners().await;
    said(&s, &["task", "trigger", "o"]).await;
    let refused = client(&s, &["task", "delete", "o"]).await;
    assert!(
        err(&refused).contains("--confirm TOKEN"),
        "{}",
        err(&refused)
    );
    let shown = said(&s, &["task", "delete", "o", "--dry-run"]).await;
    assert!(
        shown.contains("1 waiting runs would be cancelled"),
        "{shown}"
    );
    let token = token_in(&shown);
    let done = said(&s, &["task", "delete", "o", "--confirm", token]).await;
    assert!(
        done.contains("o is deleted") && done.contains("none of them starts"),
        "{done}"
    );
    let listed = said(&s, &["run", "list", "--task", "o"]).await;
    assert!(listed.contains(" o "), "{listed}");
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_name_is_refused_before_it_is_sent() {
    let s = of_two_owners().await;
    for name in [".", "..", ""] {
        let refused = client(&s, &["task", "show", name]).await;
        assert_eq!(refused.status.code(), Some(2), "{name}");
        assert!(err(&refused).contains("is not a name"), "{}", err(&refused));
    }
    let wrong = client(&s, &["apply", "ops.toml", "--owner", "a/b"]).await;
    assert!(
        err(&wrong).contains("owner: `a/b` can't be a name"),
        "{}",
        err(&wrong)
    );
    let list = format!("owner = [\"finance\"]\n{}", toml("o"));
    std::fs::write(s.folder.join("list.toml"), list).unwrap();
    let wrong = client(&s, &["apply", "list.toml"]).await;
    assert!(
        err(&wrong).contains("`owner` is not a name"),
        "{}",
        err(&wrong)
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_words_of_routes_reach_their_tasks() {
    let s = start(&[("roles", "api")]).await;
    let longest = "x".repeat(200);
    for name in [
        "apply", "pause", "trigger", "why", "tasks", "a..b", "_x", &longest,
    ] {
        let path = format!("/tasks/{name}");
        let body = json!({ "handler": { "native": "x" } });
        assert_eq!(s.ask("PUT", &path, Some(body)).await.status, 201, "{name}");
        assert_eq!(s.get(&path).await.body["name"], json!(name));
        assert_eq!(
            s.post(&format!("{path}/pause"), json!({})).await.status,
            200
        );
        assert_eq!(s.ask("DELETE", &path, None).await.status, 204);
    }
    for name in [
        "%2e", "%2e%2e", ".x", "-x", "x.", "a%2Fb", "a%25b", "%D0%B0",
    ] {
        let body = json!({ "handler": { "native": "x" } });
        let refused = s.ask("PUT", &format!("/tasks/{name}"), Some(body)).await;
        assert!(
            [404, 405, 422].contains(&refused.status),
            "{name}: {refused:?}"
        );
    }
    assert_eq!(s.get("/tasks").await.body["items"], json!([]));
    s.stop().await;
}
