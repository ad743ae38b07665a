//! What the API answers, through the real composition.

use serde_json::{Value, json};

use crate::support::{Service, start};

fn native(name: &str) -> Value {
    json!({ "name": name, "handler": { "native": "nobody" } })
}

fn check(service: &Service, name: &str, schedule: Option<&str>) -> Value {
    let url = format!("{}/healthz", service.url);
    let mut task = json!({ "name": name, "handler": { "http": { "url": url } } });
    if let Some(schedule) = schedule {
        task["schedule"] = json!(schedule);
    }
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_lives_from_put_to_delete() {
    let s = start(&[]).await;
    let task = json!({ "schedule": "0 3 * * *", "timezone": "Europe/Berlin", "handler": { "native": "x" } });
    let first = s.ask("PUT", "/tasks/nightly", Some(task.clone())).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(first.body["name"], "nightly");
    assert!(first.body["next_due_at"].is_string());
    let again = s
        .ask("PUT", "/tasks/nightly", Some(first.body.clone()))
        .await;
    assert_eq!(
        (again.status, &again.body["version"]),
        (200, &first.body["version"])
    );
    let paused = s.post("/tasks/nightly/pause", json!({})).await;
    assert_eq!(
        (paused.status, &paused.body["next_due_at"]),
        (200, &Value::Null)
    );
    let resumed = s.post("/tasks/nightly/resume", json!({})).await;
    assert_eq!(resumed.body["next_due_at"], first.body["next_due_at"]);
    assert_eq!(s.get("/tasks/nightly").await.body, resumed.body);
    for name in ["a", "b", "c"] {
        s.ask("PUT", &format!("/tasks/{name}"), Some(native(name)))
            .await;
    }
    let page = s.get("/tasks?limit=2").await.body;
    assert_eq!(
        (
            page["items"][0]["name"].as_str(),
            page["items"][1]["name"].as_str()
        ),
        (Some("a"), Some("b"))
    );
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = s.get(&format!("/tasks?limit=2&cursor={cursor}")).await.body;
    assert_eq!(
        (rest["items"][0]["name"].as_str(), &rest["next_cursor"]),
        (Some("c"), &Value::Null)
    );
    assert_eq!(s.ask("DELETE", "/tasks/nightly", None).await.status, 204);
    let gone = s.get("/tasks/nightly").await;
    assert_eq!(
        (gone.status, gone.kind.as_str()),
        (404, "application/problem+json")
    );
    assert!(
        gone.body["detail"]
            .as_str()
            .unwrap()
            .contains("no task `nightly`")
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_fires_and_its_run_has_a_story() {
    let s = start(&[]).await;
    let put = s
        .ask(
            "PUT",
            "/tasks/check",
            Some(check(&s, "check", Some("every 300ms"))),
        )
        .await;
    assert_eq!(put.status, 201, "{put:?}");
    let runs = s
        .until("/runs?task=check&state=succeeded", |b| {
            !b["items"].as_array().unwrap().is_empty()
        })
        .await;
    let run = &runs["items"][0];
    assert_eq!(
        (run["worker"].as_str(), run["attempt"].as_u64()),
        (Some("test"), Some(1))
    );
    assert!(run["lateness_ms"].as_i64().unwrap() >= 0 && run["epoch"].as_i64().unwrap() > 0);
    let id = run["id"].as_str().unwrap();
    let detail = s.get(&format!("/runs/{id}")).await.body;
    let events: Vec<&str> = detail["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        events,
        ["created", "due", "started", "succeeded"],
        "{detail:#}"
    );
    let due = run["due_at"].as_str().unwrap();
    let why = s.get(&format!("/tasks/check/why?at={due}")).await.body;
    assert_eq!(
        (why["verdict"].as_str(), why["run"]["id"].as_str()),
        (Some("ran"), Some(id)),
        "{why:#}"
    );
    // One instant has one run, whatever is edited while it is planned.
    for _ in 0..10 {
        s.post("/tasks/check/pause", json!({})).await;
        s.post("/tasks/check/resume", json!({})).await;
    }
    let many = s
        .until("/runs?task=check&state=succeeded", |b| {
            b["items"].as_array().unwrap().len() > 5
        })
        .await;
    let mut dues: Vec<&str> = many["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["due_at"].as_str().unwrap())
        .collect();
    let all = dues.len();
    dues.sort_unstable();
    dues.dedup();
    assert_eq!(dues.len(), all, "{dues:?}");
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_and_told() {
    let s = start(&[]).await;
    let mut task = check(&s, "broken", None);
    task["handler"]["http"]["expect"] = json!([204]);
    task["handler"]["http"]["url"] = json!("http://127.0.0.1:9/");
    task["retry"] =
        json!({ "max_attempts": 2, "backoff": "fixed", "initial": "10ms", "max": "10ms" });
    s.ask("PUT", "/tasks/broken", Some(task)).await;
    let submitted = s
        .post("/tasks/broken/trigger", json!({ "payload": { "n": 1 } }))
        .await;
    assert_eq!(submitted.status, 201);
    let id = submitted.body["id"].as_str().unwrap().to_owned();
    let run = s
        .until(&format!("/runs/{id}"), |r| r["state"] == "failed")
        .await;
    assert_eq!(
        (run["attempt"].as_u64(), run["failures"].as_u64()),
        (Some(2), Some(2)),
        "{run:#}"
    );
    assert_eq!(
        (&run["reason"], &run["payload"]),
        (&json!("error"), &json!({ "n": 1 }))
    );
    let events: Vec<&str> = run["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["event"].as_str().unwrap())
        .collect();
    assert!(
        events.contains(&"failed-attempt") && events.ends_with(&["failed"]),
        "{events:?}"
    );
    let again = s.post(&format!("/runs/{id}/retry"), json!({})).await;
    assert_eq!(again.status, 201);
    assert_ne!(again.body["id"], json!(id));
    let copy = s
        .get(&format!("/runs/{}", again.body["id"].as_str().unwrap()))
        .await
        .body;
    assert_eq!(
        (&copy["task"], &copy["payload"]),
        (&json!("broken"), &json!({ "n": 1 }))
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_submitted_all_or_none_and_cancelled() {
    let s = start(&[]).await;
    s.ask("PUT", "/tasks/t", Some(native("t"))).await;
    let later = "2199-01-01T00:00:00Z";
    let one = json!({ "task": "t", "run_at": later, "idempotency_key": "k" });
    let first = s.post("/runs", one.clone()).await;
    let second = s.post("/runs", one).await;
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.body["id"], second.body["id"]);
    let none = json!({ "runs": [{ "task": "t", "run_at": later }, { "task": "unknown" }] });
    assert_eq!(s.post("/runs", none).await.status, 404);
    let listed = s.get("/runs?task=t").await.body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed:#}");
    let two = json!({ "runs": [{ "task": "t", "run_at": later }, { "handler": { "native": "x" }, "run_at": later, "queue": "q" }] });
    let two = s.post("/runs", two).await;
    assert_eq!(
        (two.status, two.body["runs"].as_array().unwrap().len()),
        (201, 2)
    );
    let queues = s.get("/queues").await.body;
    let q = queues["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|q| q["name"] == "q")
        .unwrap()
        .clone();
    assert_eq!(q["future"], 1);
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_is_cancelled_and_not_retried() {
    let s = start(&[]).await;
    s.ask("PUT", "/tasks/t", Some(native("t"))).await;
    let one = json!({ "task": "t", "run_at": "2199-01-01T00:00:00Z" });
    let submitted = s.post("/runs", json!({ "runs": [one, one, one] })).await;
    let id = submitted.body["runs"][0]["id"].as_str().unwrap();
    let waiting = s.post(&format!("/runs/{id}/retry"), json!({})).await;
    assert_eq!(waiting.status, 409);
    assert!(
        waiting.body["detail"]
            .as_str()
            .unwrap()
            .contains("has not started yet")
    );
    let cancelled = s.post(&format!("/runs/{id}/cancel"), json!({})).await;
    assert_eq!(cancelled.body["outcome"], "cancelled");
    assert_eq!(
        s.post(&format!("/runs/{id}/cancel"), json!({}))
            .await
            .status,
        409
    );
    let run = s.get(&format!("/runs/{id}")).await.body;
    assert_eq!(
        (&run["state"], &run["reason"]),
        (&json!("cancelled"), &json!("requested"))
    );
    let mut seen = Vec::new();
    let mut path = "/runs?limit=1".to_owned();
    loop {
        let page = s.get(&path).await.body;
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| r["id"].clone()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/runs?limit=1&cursor={cursor}");
    }
    assert_eq!(seen.len(), 3);
    assert!(
        s.get(&format!("/runs/{id}/log")).await.body["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_says_what_it_changes_and_never_resumes() {
    let s = start(&[]).await;
    let mut list = json!({ "tasks": [native("a"), { "name": "b", "schedule": "every 1h", "handler": { "native": "x" } }] });
    let dry = s.post("/apply?dry_run=true", list.clone()).await;
    assert_eq!(
        (dry.status, &dry.body["created"], &dry.body["applied"]),
        (200, &json!(["a", "b"]), &json!(false))
    );
    assert!(
        s.get("/tasks").await.body["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let real = s.post("/apply", list.clone()).await.body;
    assert_eq!(
        (&real["created"], &real["applied"]),
        (&json!(["a", "b"]), &json!(true))
    );
    let same = s.post("/apply", list.clone()).await.body;
    assert_eq!(same["unchanged"], json!(["a", "b"]), "{same:#}");
    s.post("/tasks/b/pause", json!({})).await;
    list["tasks"][1]["timeout"] = json!("10s");
    let changed = s.post("/apply", list.clone()).await.body;
    assert_eq!(
        changed["changed"],
        json!([{ "name": "b", "fields": [{ "field": "timeout", "before": "5m", "after": "10s" }] }])
    );
    assert_eq!(changed["kept_paused"], json!(["b"]));
    let pruned = s
        .post("/apply?prune=true", json!({ "tasks": [native("a")] }))
        .await
        .body;
    assert_eq!(
        (&pruned["deleted"], &pruned["unchanged"]),
        (&json!(["b"]), &json!(["a"]))
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_has_an_answer_for_every_instant() {
    let s = start(&[("roles", "api")]).await;
    let put = |body: Value| {
        let path = format!("/tasks/{}", body["name"].as_str().unwrap());
        let s = &s;
        async move { s.ask("PUT", &path, Some(body)).await }
    };
    put(native("request")).await;
    put(json!({ "name": "h", "schedule": "0 * * * *", "handler": { "native": "x" } })).await;
    let created = s.get("/tasks/h").await.body["created_at"]
        .as_str()
        .unwrap()
        .to_owned();
    let ask = |task: &'static str, at: String| {
        let s = &s;
        async move { s.get(&format!("/tasks/{task}/why?at={at}")).await.body }
    };
    let past = ask("h", "2026-01-01T05:00:00Z".to_owned()).await;
    assert_eq!(past["verdict"], "not-created-yet", "{past:#}");
    assert!(past["sentences"][0].as_str().unwrap().contains(&created));
    let future = ask("h", "2199-01-01T05:00:00Z".to_owned()).await;
    assert_eq!(future["verdict"], "not-due-yet");
    let odd = ask("h", "2199-01-01T05:10:00Z".to_owned()).await;
    assert_eq!(
        (&odd["verdict"], &odd["previous"], &odd["next"]),
        (
            &json!("not-an-instant"),
            &json!("2199-01-01T05:00:00.000Z"),
            &json!("2199-01-01T06:00:00.000Z")
        )
    );
    assert_eq!(
        ask("request", "2199-01-01T05:10:00Z".to_owned()).await["verdict"],
        "not-an-instant"
    );
    s.post("/tasks/h/pause", json!({})).await;
    assert_eq!(
        ask("h", "2199-01-01T05:00:00Z".to_owned()).await["verdict"],
        "paused"
    );
    // Nobody leads here: what is due stays due, and that is what is said.
    put(json!({ "name": "e", "schedule": "every 1s", "handler": { "native": "x" } })).await;
    let first = s.get("/tasks/e").await.body["created_at"]
        .as_str()
        .unwrap()
        .to_owned();
    let next = ask("e", first).await["next"].as_str().unwrap().to_owned();
    let told = s
        .until(&format!("/tasks/e/why?at={next}"), |w| {
            w["verdict"] == "not-planned-yet"
        })
        .await;
    assert!(
        told["sentences"][1]
            .as_str()
            .unwrap()
            .contains("Nobody has led yet"),
        "{told:#}"
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_can_be_looked_at_and_asked_to_hand_over() {
    let s = start(&[]).await;
    let leader = s.until("/leader", |l| l["node"] == "test").await;
    assert_eq!(
        (&leader["alive"], &leader["resigning"]),
        (&json!(true), &json!(false))
    );
    let nodes = s
        .until("/nodes", |n| !n["items"].as_array().unwrap().is_empty())
        .await;
    assert_eq!(
        nodes["items"][0]["roles"],
        json!(["scheduler", "worker", "api"])
    );
    assert_eq!(s.get("/stats").await.body["nodes"], 1);
    let key = s.get("/queues/default/key").await.body;
    assert_eq!(key["key"].as_str().unwrap().len(), 64);
    assert_eq!(s.get("/queues/default/key").await.body, key);
    let asked = s.post("/leader/resign", json!({})).await;
    assert_eq!(
        (asked.status, &asked.body["resigning"]),
        (200, &json!(true))
    );
    let epoch = leader["epoch"].as_i64().unwrap();
    s.until("/leader", |l| l["epoch"].as_i64().unwrap() > epoch)
        .await;
    let ready = s.raw("GET", "/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 200);
    let text = s.metrics().await;
    assert!(
        text.contains("campanile_terms_begun_total") && text.ends_with("# EOF\n"),
        "{text}"
    );
    s.stop().await;
}
