//! Who may do what over HTTP, cell by cell: each route, asked as each role in each scope with and without data. API tokens from
//! their making to their end.

use campanile_server::api::access::{Bound, ROUTES, Rule};
use serde_json::{Value, json};

use crate::support::{Answer, Service, answer, start};

const PASSWORD: &str = "oblong vulture staple ferry";
const ROLES: [&str; 5] = ["viewer", "operator", "editor", "admin", "executor"];
/// Scopes, and whether the task `bill-a` of owner `finance` on queue `q1` is in them.
const SCOPES: [(&str, bool); 5] = [
    ("", true),
    ("prefix:bill-", true),
    ("owner:finance", true),
    ("queue:q1", true),
    ("owner:nobody", false),
];

/// What a role may do: said here once more, so that the program's own table is compared with something.
fn holds(role: &str, right: &str) -> bool {
    let rights: &[&str] = match role {
        "viewer" => &["see"],
        "operator" => &["see", "submit", "operate"],
        "editor" => &["see", "submit", "operate", "define"],
        "executor" => &["submit"],
        _ => {
            return right != "data";
        }
    };
    rights.contains(&right)
}

/// Whether a cell of the matrix is to be let through.
fn expected(rule: &Rule, role: &str, scope: (&str, bool), data: bool) -> bool {
    let right = rule.right.as_str();
    let has = if right == "data" {
        data && holds(role, "see")
    } else {
        holds(role, right)
    };
    let everywhere = scope.0.is_empty();
    match rule.bound {
        Bound::Task | Bound::Run | Bound::RunOrOwn | Bound::Submission | Bound::Definition => {
            has && scope.1
        }
        // There is nothing of that number: who may ask hears so.
        Bound::Aside | Bound::List | Bound::Cluster => has,
        Bound::ListAndOwn => has || holds(role, "submit"),
        Bound::Queue => has && (everywhere || scope.0 == "queue:q1"),
        Bound::Everything => has && everywhere,
        Bound::Anybody => true,
    }
}

fn definition() -> Value {
    json!({ "name": "bill-a", "owner": "finance", "queue": "q1", "schedule": "every 1h", "handler": { "native": "x" } })
}

/// A request to a route that is about `bill-a`, its run, or its queue.
fn request(rule: &Rule, run: &str) -> (String, Option<Value>) {
    let path = rule.path.strip_prefix("/api/v1").unwrap();
    let name = if path.starts_with("/tasks") {
        "bill-a"
    } else {
        "q1"
    };
    let id = if path.starts_with("/runs") { run } else { "77" };
    let mut path = path
        .replace("{name}", name)
        .replace("{id}", id)
        .replace("{limit}", "queue:q1");
    let of_key = json!({ "key": "k", "task": "bill-a" });
    let body = match (rule.method, rule.path) {
        ("post", "/api/v1/apply") => {
            path.push_str("?dry_run=true");
            Some(json!({ "tasks": [definition()] }))
        }
        ("delete", "/api/v1/tasks/{name}") => {
            path.push_str("?dry_run=true");
            None
        }
        ("get", "/api/v1/runs/by-key") => {
            path.push_str("?key=k&task=bill-a");
            None
        }
        (_, "/api/v1/runs/by-key/cancel") => Some(of_key),
        (_, "/api/v1/runs/by-key/move") => {
            Some(json!({ "key": "k", "task": "bill-a", "run_at": "2099-01-01T00:00:00Z" }))
        }
        (_, "/api/v1/runs/{id}/move") => Some(json!({ "run_at": "2099-01-01T00:00:00Z" })),
        ("put", "/api/v1/tasks/{name}") => Some(definition()),
        ("put", "/api/v1/calendars/{name}") => Some(json!({ "weekdays": ["sat"] })),
        ("put", "/api/v1/limits/{limit}") => Some(json!({ "max_running": 100 })),
        ("post", "/api/v1/runs") => {
            Some(json!({ "task": "bill-a", "run_at": "2099-01-01T00:00:00Z" }))
        }
        (_, "/api/v1/tasks/{name}/backfill") => Some(
            json!({ "from": "2026-01-01T00:00:00Z", "until": "2026-01-01T00:30:00Z", "dry_run": true }),
        ),
        ("put", "/api/v1/hold") => Some(json!({ "why": "a look" })),
        ("post", "/api/v1/users") => {
            Some(json!({ "name": "made", "password": PASSWORD, "rights": { "role": "viewer" } }))
        }
        (_, "/api/v1/users/{name}/password") => Some(json!({ "password": PASSWORD })),
        (_, "/api/v1/users/{name}/rights") => Some(json!({ "role": "viewer" })),
        ("post", "/api/v1/tokens") => Some(json!({ "name": "made", "role": "viewer" })),
        ("post" | "put", _) => Some(json!({})),
        _ => None,
    };
    (path, body)
}

impl Service {
    /// A request with another token.
    pub async fn ask_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let mut request = self
            .raw(&method.to_uppercase(), &format!("/api/v1{path}"))
            .bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        if path.ends_with("/stream") && response.status() == 200 {
            // It ends when its run does.
            return Answer {
                status: 200,
                kind: String::new(),
                body: Value::Null,
            };
        }
        answer(response).await
    }

    pub async fn token(&self, name: &str, role: &str, scope: &str, data: bool) -> String {
        let scope: Vec<&str> = Some(scope).filter(|s| !s.is_empty()).into_iter().collect();
        let body = json!({ "name": name, "role": role, "scope": scope, "data": data });
        let made = self.post("/tokens", body).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.body["token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cell_of_routes_roles_scopes_and_data_is_as_the_table_says() {
    let s = start(&[]).await;
    assert_eq!(
        s.ask("PUT", "/tasks/bill-a", Some(definition()))
            .await
            .status,
        201
    );
    let keyed =
        json!({ "task": "bill-a", "idempotency_key": "k", "run_at": "2099-01-01T00:00:00Z" });
    let run = s.post("/runs", keyed).await.body["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut wrong = Vec::new();
    let mut cells = 0;
    for role in ROLES {
        for (n, scope) in SCOPES.into_iter().enumerate() {
            for data in [false, true] {
                let token = s
                    .token(&format!("{role}-{n}-{data}"), role, scope.0, data)
                    .await;
                for rule in ROUTES {
                    let (path, body) = request(rule, &run);
                    let got = s.ask_as(&token, rule.method, &path, body.as_ref()).await;
                    let may = expected(rule, role, scope, data);
                    cells += 1;
                    if (got.status != 403) != may || got.status == 401 || got.status >= 500 {
                        wrong.push(format!(
                            "{} {path} as {role} in `{}` with data {data}: {} where {}: {}",
                            rule.method,
                            scope.0,
                            got.status,
                            if may { "let through" } else { "denied" },
                            got.body["detail"]
                        ));
                    } else if !may {
                        assert!(got.body["right"].is_string(), "{got:?}");
                    }
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "of {cells} cells");
    assert_eq!(cells, ROLES.len() * SCOPES.len() * 2 * ROUTES.len());
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_in_until_it_is_over_and_is_shown_once() {
    let s = start(&[]).await;
    let token = s.token("ci", "executor", "queue:q1", false).await;
    assert!(token.starts_with("cmp_") && token.len() == 68);
    assert_eq!(
        s.ask("PUT", "/tasks/bill-a", Some(definition()))
            .await
            .status,
        201
    );
    let submitted = s
        .ask_as(&token, "POST", "/runs", Some(&json!({ "task": "bill-a" })))
        .await;
    assert_eq!(submitted.status, 201, "{submitted:?}");
    let id = submitted.body["id"].as_str().unwrap();
    let run = s.ask_as(&token, "GET", &format!("/runs/{id}"), None).await;
    assert_eq!(run.body["submitter"], "token:ci", "{run:?}");
    let listed = s
        .until("/tokens", |page| page["items"][0]["used_at"].is_string())
        .await;
    assert!(!listed.to_string().contains(&token) && !listed.to_string().contains("digest"));
    let again = s
        .post("/tokens", json!({ "name": "ci", "role": "viewer" }))
        .await;
    assert_eq!(again.status, 409);
    let over = json!({ "name": "old", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z" });
    assert_eq!(s.post("/tokens", over).await.body["field"], "expires_at");
    for (body, field) in [
        (json!({ "name": "x", "role": "root" }), "role"),
        (
            json!({ "name": "x", "role": "viewer", "scope": ["all"] }),
            "scope",
        ),
        (json!({ "name": "a b", "role": "viewer" }), "name"),
    ] {
        assert_eq!(s.post("/tokens", body).await.body["field"], field);
    }
    // Nobody gives more than he has.
    let admin = s.token("admin", "admin", "", false).await;
    let with_data = json!({ "name": "y", "role": "viewer", "data": true });
    let refused = s.ask_as(&admin, "POST", "/tokens", Some(&with_data)).await;
    assert_eq!(
        (refused.status, &refused.body["right"]),
        (403, &json!("people"))
    );
    assert_eq!(
        s.ask_as(&admin, "DELETE", "/tokens/ci", None).await.status,
        204
    );
    assert_eq!(s.ask_as(&token, "GET", "/runs", None).await.status, 401);
    let guess = format!("cmp_{}", "0".repeat(64));
    assert_eq!(s.ask_as(&guess, "GET", "/runs", None).await.status, 401);
    let audit = s
        .until("/audit", |page| page.to_string().contains("login.failed"))
        .await;
    assert!(!audit.to_string().contains(&token));
    let made: Vec<&Value> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["object"] == "token:ci")
        .collect();
    assert_eq!(
        (made[0]["act"].as_str(), made[0]["actor"].as_str()),
        (Some("token.revoke"), Some("token:admin"))
    );
    assert_eq!(
        (made[1]["act"].as_str(), &made[1]["after"]["role"]),
        (Some("token.create"), &json!("executor"))
    );
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_is_written_down_with_who_where_why_and_in_which_request() {
    let s = start(&[]).await;
    let token = s.token("ada", "editor", "prefix:bill-", false).await;
    let send =
        |method: &str, path: &str| s.raw(method, &format!("/api/v1{path}")).bearer_auth(&token);
    let put = send("PUT", "/tasks/bill-a")
        .header("campanile-reason", "die Tür klemmt")
        .header("x-request-id", "r-17")
        .json(&json!({ "handler": { "native": "x" }, "payload": { "password": "hunter22" } }));
    let put = put.send().await.unwrap();
    assert_eq!(
        (
            put.status().as_u16(),
            put.headers()["x-request-id"].to_str().unwrap()
        ),
        (201, "r-17")
    );
    let denied = send("DELETE", "/tasks/other").send().await.unwrap();
    assert_eq!(denied.status(), 404);
    s.ask(
        "PUT",
        "/tasks/other",
        Some(json!({ "handler": { "native": "x" } })),
    )
    .await;
    assert_eq!(
        send("DELETE", "/tasks/other")
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
    assert_eq!(
        send("GET", "/tasks/other").send().await.unwrap().status(),
        403
    );
    let page = s.get("/audit?actor=token:ada").await.body;
    let lines = page["items"].as_array().unwrap();
    assert_eq!(lines.len(), 2, "looking is not written down: {page:#}");
    assert_eq!(
        (lines[0]["act"].as_str(), lines[0]["object"].as_str()),
        (Some("denied"), Some("request:DELETE /api/v1/tasks/other"))
    );
    let line = &lines[1];
    assert_eq!(
        (line["act"].as_str(), line["object"].as_str()),
        (Some("task.put"), Some("task:bill-a"))
    );
    assert_eq!(
        (line["request"].as_str(), line["reason"].as_str()),
        (Some("r-17"), Some("die Tür klemmt"))
    );
    assert_eq!(
        (line["from"].as_str(), &line["before"]),
        (Some("127.0.0.1"), &Value::Null)
    );
    assert_eq!(line["after"]["handler"], json!({ "native": "x" }));
    assert!(!page.to_string().contains("hunter22"), "{page:#}");
    s.stop().await;
}
