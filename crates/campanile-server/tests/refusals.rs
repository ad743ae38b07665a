//! What the API refuses: each with its status, the field at fault and the remedy, as `application/problem+json`. One table,
//! so that a new refusal costs a line.

use serde_json::{Value, json};

use crate::support::start;

fn native(name: &str) -> Value {
    json!({ "name": name, "handler": { "native": "nobody" } })
}

/// Method, path, body, and what is said of it: status, field (empty = none), part of the sentence.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    u16,
    &'static str,
    &'static str,
);

/// What is wrong about a task. Each body is laid over a good task.
const TASKS: &[Case] = &[
    (
        "PUT",
        "/tasks/t",
        r#"{"shedule":"x"}"#,
        400,
        "shedule",
        "did you mean `schedule`",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"schedule":"0 25 * * *"}"#,
        422,
        "schedule",
        "hour",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"schedule":"0 0 30 2 *"}"#,
        422,
        "schedule",
        "can never fire",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"schedule":"at 2020-01-01T00:00:00Z"}"#,
        422,
        "schedule",
        "can never fire",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"timezone":"Mars/Base"}"#,
        422,
        "timezone",
        "Mars/Base",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"payload":"BIG"}"#,
        422,
        "payload",
        "over the limit",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"payload":"HUGE"}"#,
        413,
        "",
        "over the limit of 1048576",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"priority":12}"#,
        422,
        "priority",
        "0 (last) to 9 (first)",
    ),
    ("PUT", "/tasks/other", "{}", 400, "name", "as the path says"),
    (
        "PUT",
        "/tasks/t%2Fx",
        r#"{"name":"t/x"}"#,
        422,
        "name",
        "can't be a name",
    ),
];

/// What else is wrong.
const OTHERS: &[Case] = &[
    (
        "POST",
        "/apply",
        r#"{"tasks":[{"name":"a","handler":{"native":"x"}},{"name":"a","handler":{"native":"x"}}]}"#,
        422,
        "name",
        "defined twice, as task 1 and as task 2",
    ),
    (
        "POST",
        "/apply",
        r#"{"task":[]}"#,
        400,
        "task",
        "unknown field",
    ),
    ("POST", "/runs", "{}", 422, "task", "name a task"),
    (
        "POST",
        "/runs",
        r#"{"task":"t","wen":1}"#,
        400,
        "wen",
        "unknown field",
    ),
    ("POST", "/runs", r#"{"runs":[]}"#, 422, "runs", "write 1 to"),
    (
        "POST",
        "/runs",
        r#"{"runs":[{"task":"t"},{"task":"t","priority":11}]}"#,
        422,
        "runs[1].priority",
        "0 (last)",
    ),
    (
        "POST",
        "/runs",
        r#"{"task":"t","run_at":"tomorrow"}"#,
        400,
        "",
        "is not an instant",
    ),
    ("GET", "/runs?limit=0", "", 422, "limit", "write 1 to 1000"),
    ("GET", "/runs?state=done", "", 400, "state", "succeeded"),
    (
        "GET",
        "/runs?since=today",
        "",
        400,
        "since",
        "is not an instant",
    ),
    (
        "GET",
        "/runs?cursor=!",
        "",
        422,
        "cursor",
        "is not a cursor",
    ),
    ("GET", "/runs?tusk=t", "", 400, "tusk", "unknown field"),
    ("GET", "/runs?task=u", "", 404, "", "no task `u`"),
    ("GET", "/runs/123", "", 400, "id", "is not an id"),
    ("GET", "/runs/0000000000000", "", 404, "", "no run"),
    (
        "GET",
        "/tasks?cursor=zz",
        "",
        422,
        "cursor",
        "is not a cursor",
    ),
    (
        "GET",
        "/tasks/t/why?at=noon",
        "",
        422,
        "at",
        "is not an instant",
    ),
    (
        "GET",
        "/queues/a%20b/key",
        "",
        422,
        "queue",
        "can't be a name",
    ),
    ("GET", "/nowhere", "", 404, "", "no such route"),
    (
        "PATCH",
        "/tasks/t",
        "",
        405,
        "",
        "does not take this method",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_taken_names_its_field() {
    let s = start(&[]).await;
    s.ask("PUT", "/tasks/t", Some(native("t"))).await;
    for (method, path, body, status, field, detail) in TASKS.iter().chain(OTHERS) {
        let text = body
            .replace("BIG", &"x".repeat(300_000))
            .replace("HUGE", &"x".repeat(1_100_000));
        let mut body: Option<Value> = serde_json::from_str(&text).ok();
        if let (&"PUT", Some(Value::Object(over))) = (method, &body) {
            let mut task = native("t");
            task.as_object_mut().unwrap().extend(over.clone());
            body = Some(task);
        }
        let got = s.ask(method, path, body).await;
        let said = got.body["detail"].as_str().unwrap_or_default();
        let named = got.body["field"].as_str().unwrap_or_default();
        assert_eq!(
            (got.status, named),
            (*status, *field),
            "{method} {path}: {:#}",
            got.body
        );
        assert!(
            said.contains(detail),
            "{method} {path}: {said} should hold {detail}"
        );
        assert_eq!(got.kind, "application/problem+json");
    }
    s.stop().await;
}
