//! What the API refuses: each with its status, the field at fault and the remedy, as `application/problem+json`. One table,
//! so that a new refusal costs a line.

use serde_json::{Value, json};

use crate::support::{TOKEN, answer, start};

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
    (
        "PUT",
        "/tasks/t",
        r#"{"overlap":"forbid"}"#,
        400,
        "overlap",
        "write `allow`, `skip`, `queue` or `replace`",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"misfire":"sometimes"}"#,
        400,
        "misfire",
        "write `last`, `skip` or `all`",
    ),
    ("PUT", "/tasks/t", r#"{"jitter":"soon"}"#, 400, "jitter", ""),
    (
        "PUT",
        "/tasks/t",
        r#"{"dst":{"gap":"jump"}}"#,
        400,
        "dst.gap",
        "next-valid",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"dst":{"gab":"skip"}}"#,
        400,
        "dst.gab",
        "did you mean `gap`",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"max_running":0}"#,
        422,
        "max_running",
        "write 1 to 1000",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"max_running":2,"overlap":"skip"}"#,
        422,
        "max_running",
        "must not overlap",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"overlap":"queue","overlap_queue_max":0}"#,
        422,
        "overlap_queue_max",
        "write 1 to 10000",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"group":"a b"}"#,
        422,
        "group",
        "can't be a name",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"schedule":"@daily","calendars":"none"}"#,
        422,
        "calendars",
        "no calendar `none`",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"starts_at":"2027-01-02T00:00:00Z","ends_at":"2027-01-01T00:00:00Z"}"#,
        422,
        "ends_at",
        "before starts_at",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"schedule":"@daily","max_count":0}"#,
        422,
        "max_count",
        "write 1 to 10000",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"schedule":["@daily","0 25 * * *"]}"#,
        422,
        "schedule",
        "schedule 2 of the list",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"schedule":"rrule FREQ=OFTEN"}"#,
        422,
        "schedule",
        "OFTEN",
    ),
    (
        "PUT",
        "/tasks/t",
        r#"{"start_deadline":"0s"}"#,
        422,
        "start_deadline",
        "",
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
    ("POST", "/apply", r#"{"task":[]}"#, 400, "task", "is not"),
    ("POST", "/runs", "{}", 422, "task", "name a task"),
    (
        "POST",
        "/runs",
        r#"{"task":"t","wen":1}"#,
        400,
        "wen",
        "is not",
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
        "run_at",
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
    (
        "GET",
        "/runs?tusk=t",
        "",
        400,
        "tusk",
        "did you mean `task`",
    ),
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
    (
        "PUT",
        "/limits/topic:x",
        r#"{"max_running":1}"#,
        400,
        "limit",
        "write queue:NAME or group:NAME",
    ),
    (
        "PUT",
        "/limits/group:db",
        r#"{"max_running":0}"#,
        422,
        "max_running",
        "write 1 to 1000",
    ),
    (
        "PUT",
        "/limits/overlap:0000000000001",
        r#"{"max_running":1}"#,
        422,
        "limit",
        "in the task's definition",
    ),
    (
        "PUT",
        "/calendars/c",
        r#"{"dates":["someday"]}"#,
        422,
        "dates[0]",
        "someday",
    ),
    (
        "PUT",
        "/calendars/c",
        r#"{"datess":[]}"#,
        400,
        "datess",
        "is not",
    ),
    (
        "DELETE",
        "/calendars/none",
        "",
        404,
        "",
        "no calendar `none`",
    ),
    (
        "POST",
        "/tasks/t/backfill",
        r#"{"from":"2026-01-01T00:00:00Z","until":"2026-01-02T00:00:00Z"}"#,
        422,
        "task",
        "has no schedule",
    ),
    (
        "POST",
        "/tasks/t/backfill",
        r#"{"from":"2026-01-01T00:00:00Z"}"#,
        400,
        "until",
        "until: is missing",
    ),
    (
        "POST",
        "/apply",
        r#"{"tasks":[],"limits":[{"limit":"x","max_running":1}]}"#,
        400,
        "limits[0].limit",
        "write queue:NAME",
    ),
    (
        "GET",
        "/tasks?limit=ten",
        "",
        400,
        "limit",
        "limit: write a whole number",
    ),
    (
        "GET",
        "/tasks?limt=1",
        "",
        400,
        "limt",
        "did you mean `limit`?",
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
        if let (true, Some(Value::Object(over))) =
            (path.starts_with("/tasks") && *method == "PUT", &body)
        {
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

/// Bodies that a library for JSON would not write, as they are sent.
const RAW: &[(&str, &str, &str, u16, &str, &str)] = &[
    (
        "POST",
        "/tasks/t/trigger",
        r#"{"payload":{"list":[1,123456789012345678901234567890]}}"#,
        400,
        "payload.list[1]",
        "can't be kept exactly",
    ),
    (
        "POST",
        "/runs",
        r#"{"handler":{"native":"noop"},"payload":{"total":1e400}}"#,
        400,
        "payload.total",
        "larger than any number",
    ),
    (
        "POST",
        "/runs",
        r#"{"runs":[{"handler":{"native":"noop"}},{"handler":{"command":"echo hi"}}]}"#,
        400,
        "runs[1].handler.command",
        "stands where an object with fields belongs",
    ),
    (
        "PUT",
        "/limits/queue:q",
        r#"{"max_running":1,"max_running":2}"#,
        400,
        "max_running",
        "is there twice",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn numbers_and_keys_are_taken_as_written_or_refused_by_field() {
    let s = start(&[]).await;
    s.ask("PUT", "/tasks/t", Some(native("t"))).await;
    let send = async |method: &str, path: &str, body: &str| {
        let request = s.raw(method, &format!("/api/v1{path}")).bearer_auth(TOKEN);
        let request = request.header("content-type", "application/json");
        answer(request.body(body.to_owned()).send().await.unwrap()).await
    };
    for (method, path, body, status, field, detail) in RAW {
        let got = send(method, path, body).await;
        let said = got.body["detail"].as_str().unwrap_or_default();
        assert_eq!(got.status, *status, "{body}: {:#}", got.body);
        assert_eq!(got.body["field"], *field, "{body}: {said}");
        assert!(said.contains(detail), "{body}: {said} should hold {detail}");
    }
    let payload = r#"{"z":18446744073709551615,"a":{"y":9007199254740993,"b":0.1}}"#;
    let body = format!(r#"{{"task":"t","payload":{payload}}}"#);
    let got = send("POST", "/runs", &body).await;
    assert_eq!(got.status, 201, "{:#}", got.body);
    let path = format!("/runs/{}", got.body["id"].as_str().unwrap());
    let run = s.get(&path).await;
    assert_eq!(run.body["payload"].to_string(), payload, "{:#}", run.body);
    s.stop().await;
}
