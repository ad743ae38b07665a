//! Labels, defaults of a file and wall times as people meet them: over the API, typed, and in metrics.

use serde_json::{Value, json};

use crate::cli::{client, err, out};
use crate::support::{Service, TOKEN, start};

fn names(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|task| task["name"].as_str().unwrap())
        .collect()
}

async fn said(s: &Service, words: &[&str]) -> String {
    let output = client(s, words).await;
    assert!(output.status.success(), "{words:?}: {}", err(&output));
    out(&output)
}

const FILE: &str = r#"
[defaults]
timezone = "Europe/Berlin"
labels = { team = "billing" }

[[task]]
name = "a"
schedule = "at 2099-12-01T08:00"
handler = { native = "x" }
labels = { tier = "1" }

[[task]]
name = "b"
schedule = "every 2w"
starts_at = 2099-07-01T08:00:00
handler = { native = "x" }

[[task]]
name = "c"
handler = { native = "x" }
labels = { team = "ops", tier = "1" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_their_runs_are_found_by_labels() {
    let s = start(&[("roles", "api")]).await;
    std::fs::write(s.folder.join("t.toml"), FILE).unwrap();
    let dry = said(&s, &["apply", "--dry-run", "t.toml"]).await;
    let line = "+ b\n    by the file's defaults: timezone = \"Europe/Berlin\", labels = {\"team\":\"billing\"}\n";
    assert!(dry.contains(line), "{dry}");
    said(&s, &["apply", "t.toml"]).await;
    for (query, expected) in [
        ("label=team=billing", &["a", "b"][..]),
        ("label=team%3Dbilling,tier%3D1", &["a"]),
        ("label=tier=1", &["a", "c"]),
        ("label=tier=9", &[]),
    ] {
        let page = s.get(&format!("/tasks?{query}")).await.body;
        assert_eq!(names(&page), expected, "{query}");
    }
    let page = s.get("/tasks?label=team=billing&limit=1").await.body;
    assert_eq!(names(&page), ["a"]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let page = s
        .get(&format!(
            "/tasks?label=team=billing&limit=1&cursor={cursor}"
        ))
        .await
        .body;
    assert_eq!(
        (names(&page), &page["next_cursor"]),
        (vec!["b"], &Value::Null)
    );
    let wrong = s.get("/tasks?label=team").await;
    assert_eq!((wrong.status, &wrong.body["field"]), (400, &json!("label")));
    let listed = said(
        &s,
        &[
            "task",
            "list",
            "--label",
            "team=billing",
            "--label",
            "tier=1",
        ],
    )
    .await;
    assert!(
        listed.contains("at 2099-12-01T08:00") && !listed.contains("every 2w"),
        "{listed}"
    );
    for task in ["a", "c"] {
        s.post(&format!("/tasks/{task}/trigger"), json!({})).await;
    }
    let runs = s.get("/runs?label=team=ops").await.body;
    let of: Vec<_> = runs["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["task"])
        .collect();
    assert_eq!(of, ["c"]);
    assert_eq!(
        s.get("/runs?label=team=none").await.body["items"],
        json!([])
    );
    assert_eq!(
        s.get("/runs?label=team=ops&task=a").await.body["items"],
        json!([])
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_time_is_the_zones_and_stays_one() {
    let s = start(&[("roles", "api")]).await;
    std::fs::write(s.folder.join("t.toml"), FILE).unwrap();
    said(&s, &["apply", "t.toml"]).await;
    let a = s.get("/tasks/a").await.body;
    assert_eq!(a["schedule"], "at 2099-12-01T08:00");
    assert_eq!(a["next_due_at"], "2099-12-01T07:00:00.000Z");
    let b = s.get("/tasks/b").await.body;
    assert_eq!(b["starts_at"], "2099-07-01T08:00:00");
    let first = b["next_due_at"].as_str().unwrap();
    assert!(
        ("2099-07-01T06:00:00".."2099-07-15T06:00:00").contains(&first),
        "{first}"
    );
    let again = said(&s, &["apply", "t.toml"]).await;
    assert!(again.contains("0 to create, 0 to change"), "{again}");
    let moved = json!({ "schedule": "at 2099-12-01T08:00", "timezone": "America/New_York", "handler": { "native": "x" } });
    let a = s.ask("PUT", "/tasks/a", Some(moved)).await.body;
    assert_eq!(a["next_due_at"], "2099-12-01T13:00:00.000Z");
    let wrong =
        json!({ "schedule": "@daily", "ends_at": "2099-12-01", "handler": { "native": "x" } });
    let wrong = s.ask("PUT", "/tasks/w", Some(wrong)).await;
    assert_eq!(
        (wrong.status, &wrong.body["field"]),
        (400, &json!("ends_at"))
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_of_a_task_show_the_labels_that_are_asked_for() {
    let settings = [
        ("metrics_tasks", "bill-*"),
        ("metrics_labels", "team,app/part"),
    ];
    let s = start(&settings).await;
    let url = format!("{}/healthz", s.url);
    for (name, labels) in [
        (
            "bill-a",
            json!({ "team": "billing", "app/part": "x", "tier": "1" }),
        ),
        ("bill-b", json!({})),
    ] {
        let path = format!("/tasks/{name}");
        let task = json!({ "labels": labels, "handler": { "http": { "url": url } } });
        assert_eq!(s.ask("PUT", &path, Some(task)).await.status, 201);
        s.post(&format!("{path}/trigger"), json!({})).await;
    }
    let ended = |page: &Value| page["items"].as_array().is_some_and(|all| all.len() == 2);
    s.until("/runs?state=succeeded", ended).await;
    let metrics = s.raw("GET", "/metrics").bearer_auth(TOKEN).send().await;
    let metrics = metrics.unwrap().text().await.unwrap();
    for line in [
        "campanile_task_runs_ended_total{task=\"bill-a\",label_team=\"billing\",label_app_part=\"x\",state=\"succeeded\"} 1",
        "campanile_task_runs_ended_total{task=\"bill-b\",state=\"succeeded\"} 1",
        "campanile_task_last_success_timestamp_seconds{task=\"bill-a\",label_team=\"billing\",label_app_part=\"x\"} ",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    assert!(!metrics.contains("tier"), "{metrics}");
    s.stop().await;
}
