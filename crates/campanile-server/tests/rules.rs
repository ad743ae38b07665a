//! Limits, calendars, overlap and backfills through the real composition: what the API is asked for, the runs obey.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{Service, start};

/// A target that takes its time: the handler of a run that lasts as long as `delay`.
async fn slow_target(delay: Duration) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    campanile_core::system::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            campanile_core::system::spawn(async move {
                let _ = socket.read(&mut [0; 4_096]).await;
                campanile_core::system::pause(delay).await;
                let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                let _ = socket.write_all(answer).await;
            });
        }
    });
    json!({ "http": { "url": url } })
}

/// The states of a task's runs, with their reasons.
async fn states(s: &Service, task: &str) -> Vec<(String, String)> {
    let page = s.get(&format!("/runs?task={task}&limit=100")).await.body;
    let text = |run: &Value, field: &str| run[field].as_str().unwrap_or_default().to_owned();
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|run| (text(run, "state"), text(run, "reason")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_lets_as_many_through_as_its_limit_says() {
    let s = start(&[]).await;
    let set = s
        .ask("PUT", "/limits/group:db", Some(json!({ "max_running": 1 })))
        .await;
    assert_eq!(set.status, 204, "{set:?}");
    let handler = slow_target(Duration::from_millis(300)).await;
    let task = json!({ "handler": handler, "group": "db" });
    assert_eq!(s.ask("PUT", "/tasks/slow", Some(task)).await.status, 201);
    let runs: Vec<Value> = (0..4).map(|_| json!({ "task": "slow" })).collect();
    assert_eq!(s.post("/runs", json!({ "runs": runs })).await.status, 201);
    let seen = s
        .until("/limits", |page| {
            page["items"][0]["waiting"].as_u64() == Some(3)
        })
        .await;
    assert_eq!(seen["items"][0]["running"], 1, "{seen}");
    s.until("/runs?task=slow&state=succeeded", |page| {
        page["items"]
            .as_array()
            .is_some_and(|items| items.len() == 4)
    })
    .await;
    // One after the other: each started after the one before had ended.
    let page = s.get("/runs?task=slow").await.body;
    let mut spans: Vec<(String, String)> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| {
            let text = |field: &str| run[field].as_str().unwrap().to_owned();
            (text("started_at"), text("finished_at"))
        })
        .collect();
    spans.sort();
    assert!(spans.windows(2).all(|w| w[0].1 <= w[1].0), "{spans:?}");
    assert_eq!(s.ask("DELETE", "/limits/group:db", None).await.status, 204);
    assert_eq!(s.get("/limits").await.body["items"], json!([]));
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overlap_is_kept_and_told() {
    let s = start(&[]).await;
    let handler = slow_target(Duration::from_secs(1)).await;
    let task = json!({ "schedule": "every 300ms", "overlap": "skip", "handler": handler });
    assert_eq!(s.ask("PUT", "/tasks/busy", Some(task)).await.status, 201);
    let page = s
        .until("/runs?task=busy&state=skipped", |page| {
            page["items"]
                .as_array()
                .is_some_and(|items| items.len() >= 2)
        })
        .await;
    let running = states(&s, "busy").await.into_iter();
    assert!(running.filter(|(state, _)| state == "running").count() <= 1);
    let skipped = &page["items"][0];
    assert_eq!(skipped["reason"], "overlap");
    let at = skipped["due_at"].as_str().unwrap();
    let why = s.get(&format!("/tasks/busy/why?at={at}")).await.body;
    assert_eq!(why["verdict"], "skipped");
    assert!(
        why["sentences"][0].as_str().unwrap().contains("overlap"),
        "{why}"
    );
    let metrics = s.metrics().await;
    assert!(
        metrics.contains("campanile_occurrences_skipped_total{reason=\"overlap\"}"),
        "{metrics}"
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calendars_live_from_put_to_delete() {
    let s = start(&[]).await;
    let rest = json!({ "weekdays": ["SAT-SUN"], "dates": ["12-25"] });
    let put = s.ask("PUT", "/calendars/rest", Some(rest)).await;
    assert_eq!(
        (put.status, &put.body["version"]),
        (201, &json!(1)),
        "{put:?}"
    );
    let again = s
        .ask("PUT", "/calendars/rest", Some(put.body.clone()))
        .await;
    assert_eq!((again.status, &again.body["version"]), (200, &json!(1)));
    let task = json!({
        "schedule": "0 9 * * *", "calendars": "rest", "on_excluded": "next", "handler": { "native": "x" },
    });
    let task = s.ask("PUT", "/tasks/daily", Some(task)).await;
    assert_eq!(task.status, 201, "{task:?}");
    let next = task.body["next_due_at"].as_str().unwrap();
    let day: jiff::Timestamp = next.parse().unwrap();
    let weekday = day.to_zoned(jiff::tz::TimeZone::UTC).weekday();
    assert!(
        weekday.to_monday_zero_offset() < 5,
        "{next} is a {weekday:?}"
    );
    let shown = s.get("/calendars/rest").await.body;
    assert_eq!(shown["tasks"], json!(["daily"]));
    let used = s.ask("DELETE", "/calendars/rest", None).await;
    assert_eq!(used.status, 409, "{used:?}");
    s.ask("DELETE", "/tasks/daily", None).await;
    assert_eq!(s.ask("DELETE", "/calendars/rest", None).await.status, 204);
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_brings_all_kinds_and_a_backfill_is_previewed() {
    let s = start(&[]).await;
    let body = json!({
        "tasks": [{
            "name": "hourly", "schedule": "every 1h", "anchor": "2026-01-01T00:00:00Z", "handler": { "native": "x" },
            "calendars": ["nights"],
        }],
        "calendars": [{ "name": "nights", "hours": [{ "from": "22:00", "to": "06:00" }] }],
        "limits": [{ "limit": "queue:default", "max_running": 7 }],
    });
    let dry = s.post("/apply?dry_run=true", body.clone()).await;
    assert_eq!(dry.body["calendars"], json!(["nights"]), "{dry:?}");
    assert_eq!(dry.body["limits"], json!(["queue:default = 7"]));
    assert_eq!(s.get("/calendars").await.body["items"], json!([]));
    assert_eq!(s.post("/apply", body).await.status, 200);
    assert_eq!(s.get("/limits").await.body["items"][0]["max_running"], 7);
    let range =
        json!({ "from": "2026-01-05T00:00:00Z", "until": "2026-01-06T00:00:00Z", "dry_run": true });
    let preview = s.post("/tasks/hourly/backfill", range).await;
    assert_eq!(preview.status, 200, "{preview:?}");
    // 16 hours of the day are not night; nothing ran yet.
    assert_eq!(
        (&preview.body["count"], &preview.body["created"]),
        (&json!(16), &json!(0))
    );
    s.stop().await;
}
