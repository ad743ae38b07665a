//! The audit: a day of it, replayed, is the state that it describes, and whoever changes a line of it is found.

use std::collections::{BTreeMap, BTreeSet};

use campanile_core::system::Random;
use serde_json::{Value, json};
use sqlx::{Executor as _, SqlitePool};
use xtask::or_skip;
use xtask::servers::Postgres;

use crate::support::{Service, start};

/// What a line leaves behind of tasks and limits, after what it says was there.
fn replay(state: &mut BTreeMap<String, Value>, line: &Value) {
    let mut set = |key: String, before: &Value, after: &Value| {
        let was = state.remove(&key).unwrap_or_default();
        assert_eq!(*before, was, "{key} before {line}");
        if !after.is_null() {
            state.insert(key, after.clone());
        }
    };
    let (object, before, after) = (
        line["object"].as_str().unwrap(),
        &line["before"],
        &line["after"],
    );
    if object.starts_with("task:") || object.starts_with("limit:") {
        set(object.to_owned(), before, after);
    }
    for (kind, of) in [("tasks", "task"), ("limits", "limit")] {
        for (name, after) in after[kind].as_object().into_iter().flatten() {
            set(format!("{of}:{name}"), &before[kind][name], after);
        }
    }
}

/// What all lines leave behind, the number of the last, and who acted.
async fn replayed(s: &Service) -> (BTreeMap<String, Value>, i64, BTreeSet<String>) {
    let (mut state, mut after, mut actors) = (BTreeMap::new(), 0, BTreeSet::new());
    loop {
        let page = s
            .get(&format!("/audit/export?limit=20&after={after}"))
            .await
            .body;
        for record in page["items"].as_array().unwrap() {
            let line: Value = serde_json::from_str(record["line"].as_str().unwrap()).unwrap();
            replay(&mut state, &line);
            actors.insert(line["actor"].as_str().unwrap().to_owned());
            after = record["seq"].as_i64().unwrap();
        }
        if page["next_cursor"].is_null() {
            return (state, after, actors);
        }
    }
}

async fn a_day(s: &Service, seed: u64) {
    let mut tokens = Vec::new();
    for name in ["ada", "bob", "cyd"] {
        tokens.push(s.token(name, "admin", "", true).await);
    }
    let random = Random::from_seed(seed);
    let task = |n: u64| {
        json!({ "name": format!("t{n}"), "handler": { "native": "x" }, "payload": random.below(9),
            "schedule": format!("every {}h", 1 + random.below(5)) })
    };
    for _ in 0..60 {
        let token = &tokens[usize::try_from(random.below(3)).unwrap()];
        let n = random.below(6);
        let path = format!("/tasks/t{n}");
        let done = match random.below(6) {
            0 | 1 => s.ask_as(token, "PUT", &path, Some(&task(n))).await,
            2 => s.ask_as(token, "DELETE", &path, None).await,
            3 => {
                s.ask_as(token, "POST", &format!("{path}/pause"), None)
                    .await
            }
            4 => {
                s.ask_as(token, "POST", &format!("{path}/resume"), None)
                    .await
            }
            _ => {
                let limit =
                    json!({ "limit": format!("queue:q{n}"), "max_running": 1 + random.below(3) });
                let two = json!({ "tasks": [task(n), task((n + 1) % 6)], "limits": [limit] });
                s.ask_as(token, "POST", "/apply", Some(&two)).await
            }
        };
        assert!(matches!(done.status, 200 | 201 | 204 | 404), "{done:?}");
    }
    let (replayed, last, actors) = replayed(s).await;
    assert!(actors.len() >= 4, "{actors:?}");
    let page = s.get("/tasks?limit=1000").await.body;
    let present = page["items"].as_array().unwrap().iter().map(|task| {
        let mut task = task.clone();
        for extra in campanile_server::api::model::TASK_EXTRAS {
            task.as_object_mut().unwrap().remove(extra);
        }
        (format!("task:{}", task["name"].as_str().unwrap()), task)
    });
    let limits = s.get("/limits").await.body;
    let limits = limits["items"].as_array().unwrap().iter().map(|limit| {
        let key = format!("limit:{}", limit["limit"].as_str().unwrap());
        (key, limit["max_running"].clone())
    });
    assert!(limits.len() > 0);
    assert_eq!(replayed, present.chain(limits).collect::<BTreeMap<_, _>>());
    let verified = s.get("/audit/verify").await.body;
    assert_eq!(
        (&verified["whole"], verified["lines"].as_i64()),
        (&json!(true), Some(last))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_of_a_day_replayed_is_the_state_that_it_describes() {
    let s = start(&[]).await;
    a_day(&s, 7).await;
    s.stop().await;
    let Some(server) = or_skip(Postgres::shared()) else {
        return;
    };
    let url = server.create_database("audit").unwrap();
    let s = start(&[("store", &url)]).await;
    a_day(&s, 8).await;
    s.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_changes_the_audit_behind_its_back_is_found() {
    let s = start(&[]).await;
    for n in 0..6 {
        s.ask(
            "PUT",
            &format!("/tasks/t{n}"),
            Some(json!({ "handler": { "native": "x" } })),
        )
        .await;
    }
    let good = s.get("/audit/verify").await.body;
    assert_eq!(
        (&good["whole"], &good["lines"], &good["more"]),
        (&json!(true), &json!(6), &json!(false))
    );
    let pool = SqlitePool::connect(&format!("sqlite:{}", s.folder.join("c.db").display()))
        .await
        .unwrap();
    let sql = |text: &'static str| pool.execute(sqlx::raw_sql(text));
    sql("UPDATE campanile_audit SET line = replace(line, 'task:t3', 'task:t4') WHERE seq = 4")
        .await
        .unwrap();
    let found = s.get("/audit/verify").await.body;
    assert!(
        found["fault"]
            .as_str()
            .unwrap()
            .starts_with("line 4 was changed"),
        "{found}"
    );
    assert_eq!(found["to"]["seq"], 3);
    sql("DELETE FROM campanile_audit WHERE seq = 3")
        .await
        .unwrap();
    assert_eq!(
        s.get("/audit/verify").await.body["fault"],
        "line 3 is missing"
    );
    sql("DELETE FROM campanile_audit WHERE seq > 2")
        .await
        .unwrap();
    let found = s.get("/audit/verify").await.body;
    assert_eq!(
        found["fault"],
        "lines 3 to 6 are missing: the end was cut off"
    );
    // Who cuts the end off and says so in the head is found by who noted the place.
    sql("UPDATE campanile_audit_head SET seq = 2, hash = (SELECT hash FROM campanile_audit WHERE seq = 2)").await.unwrap();
    assert_eq!(s.get("/audit/verify").await.body["whole"], true);
    let (seq, hash) = (&good["to"]["seq"], good["to"]["hash"].as_str().unwrap());
    let later = s
        .get(&format!("/audit/verify?seq={seq}&hash={hash}"))
        .await
        .body;
    assert_eq!(later["whole"], false, "{later}");
    pool.close().await;
    s.stop().await;
}
