//! The upgrade of a store in the middle of its work. `upgrade/sqlite.sql` and `upgrade/postgres.sql` were left by the program of
//! commit 36547d4 when it was killed: `upgrade/make.sh` says how, and makes another. Today's program refuses them until it is
//! asked to migrate, and then everything in them goes on.

use std::time::Duration;

use campanile_adapters::{open, sql};
use serde_json::{Value, json};
use sqlx::Executor as _;
use xtask::servers::{Postgres, TempDir, free_port};

use crate::cli::{err, out, run};
use crate::process::Process;
use crate::support::{Answer, PATIENCE, TOKEN, answer, settings};

const SQLITE: &str = include_str!("upgrade/sqlite.sql");
const POSTGRES: &str = include_str!("upgrade/postgres.sql");

/// Today's program over a store of before.
struct Node {
    _process: Process,
    url: String,
    client: reqwest::Client,
}

impl Node {
    async fn start(folder: &TempDir, store: &str) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let commands = "/bin/true,/bin/false,/bin/echo,/bin/sh,/bin/sleep";
        let args = [
            "serve",
            "--store",
            store,
            "--listen",
            &address,
            "--name",
            "new",
            "--drain",
            "1s",
            "--lease",
            "3s",
            "--queues",
            "default,later",
            "--allow-commands",
            commands,
        ];
        let process = Process::start_in(folder, &args, &[("CAMPANILE_TOKEN", TOKEN)]);
        let node = Self {
            _process: process,
            url: format!("http://{address}/api/v1"),
            client: reqwest::Client::new(),
        };
        let up = campanile_core::system::within(PATIENCE, async {
            while node.client.get(&node.url).send().await.is_err() {
                campanile_core::system::pause(Duration::from_millis(50)).await;
            }
        });
        assert!(up.await.is_some(), "it never listened");
        node
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.client.request(method, format!("{}{path}", self.url));
        let request = request.bearer_auth(TOKEN);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        answer(request.send().await.unwrap()).await
    }

    async fn get(&self, path: &str) -> Value {
        self.ask("GET", path, None).await.body
    }

    /// The runs of a task, oldest first, once they are as wanted.
    async fn runs(&self, task: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut last = Vec::new();
        let waited = campanile_core::system::within(PATIENCE, async {
            loop {
                let page = self.get(&format!("/runs?task={task}&limit=1000")).await;
                last = page["items"].as_array().unwrap().clone();
                last.reverse();
                if wanted(&last) {
                    return;
                }
                campanile_core::system::pause(Duration::from_millis(50)).await;
            }
        })
        .await;
        assert!(waited.is_some(), "{task} never became as wanted: {last:#?}");
        last
    }
}

fn is(run: &Value, state: &str) -> bool {
    run["state"] == state
}

/// The definitions as they were written, through today's API.
async fn definitions_are_the_same(node: &Node) {
    let file = campanile_server::taskfile::TaskFile::parse(
        include_str!("upgrade/tasks.toml"),
        std::path::Path::new("tasks.toml"),
    )
    .unwrap();
    let diff = node
        .ask(
            "POST",
            "/apply?dry_run=true&owner=finance",
            Some(serde_json::to_value(&file.definitions).unwrap()),
        )
        .await;
    let diff = diff.body;
    assert_eq!(diff["unchanged"].as_array().unwrap().len(), 10, "{diff:#}");
    for part in ["created", "changed", "deleted", "calendars", "limits"] {
        assert_eq!(diff[part], json!([]), "{part}: {diff:#}");
    }
    let yearly = node.get("/tasks/yearly").await;
    assert_eq!(yearly["owner"], "finance");
    assert!(
        yearly["next_due_at"]
            .as_str()
            .unwrap()
            .ends_with("-01-01T02:00:00.000Z")
    );
    let resting = node.get("/tasks/resting").await;
    assert_eq!(
        (&resting["paused"], &resting["next_due_at"]),
        (&json!(true), &Value::Null)
    );
}

/// What had ended reads as it was.
async fn history_reads(node: &Node) {
    let spoken = node
        .runs("spoken", |runs| runs.iter().any(|r| is(r, "succeeded")))
        .await;
    let first = spoken.iter().find(|run| is(run, "succeeded")).unwrap();
    let id = first["id"].as_str().unwrap();
    let log = node.get(&format!("/runs/{id}/log")).await;
    assert!(log.to_string().contains("said by the old program"), "{log}");
    let failed = node
        .runs("failing", |runs| runs.iter().any(|r| is(r, "failed")))
        .await;
    let id = failed[0]["id"].as_str().unwrap();
    let detail = node.get(&format!("/runs/{id}")).await;
    assert!(detail.to_string().contains("exit"), "{detail}");
}

/// What was due, waited, ran, or was asked for goes on.
async fn work_goes_on(node: &Node) {
    // Of the occurrences that were missed meanwhile the last one runs, and none has two answers.
    let often = node
        .runs("often", |runs| runs.iter().any(|r| is(r, "succeeded")))
        .await;
    let mut due: Vec<&str> = often
        .iter()
        .map(|run| run["due_at"].as_str().unwrap())
        .collect();
    due.dedup();
    assert_eq!(due.len(), often.len(), "{often:#?}");
    // The attempt of a dead worker is made again, unless it may start once only.
    let killed = node.runs("killed", |runs| is(&runs[0], "succeeded")).await;
    assert_eq!(
        (&killed[0]["losses"], &killed[0]["attempt"]),
        (&json!(1), &json!(2))
    );
    let once = node
        .runs("killed-once", |runs| is(&runs[0], "failed"))
        .await;
    assert_eq!(once[0]["reason"], "lost");
    // A retry comes, counted on.
    let tried = node
        .runs("second-try", |runs| is(&runs[0], "succeeded"))
        .await;
    assert_eq!(
        (&tried[0]["failures"], &tried[0]["attempt"]),
        (&json!(1), &json!(2))
    );
    // What waited for its turn has it, and what nobody listened to is heard.
    node.runs("behind", |runs| is(&runs[0], "succeeded")).await;
    node.runs("elsewhere", |runs| is(&runs[0], "succeeded"))
        .await;
    // What stood in the inbox becomes a run.
    let inbox = |run: &Value| run["origin"] == "inbox" && is(run, "succeeded");
    node.runs("spoken", |runs| runs.iter().any(inbox)).await;
    // What was asked for later waits on, and its key still stands for it.
    let spoken = node.runs("spoken", |_| true).await;
    let later = spoken.iter().find(|run| is(run, "scheduled")).unwrap();
    assert_eq!(later["due_at"], "2099-01-01T00:00:00.000Z");
    let same =
        json!({ "task": "spoken", "run_at": "2099-01-01T00:00:00Z", "idempotency_key": "in-2099" });
    let again = node.ask("POST", "/runs", Some(same)).await;
    assert_eq!((again.status, &again.body["id"]), (200, &later["id"]));
    let id = later["id"].as_str().unwrap();
    let cancelled = node
        .ask("POST", &format!("/runs/{id}/cancel"), Some(json!({})))
        .await;
    assert_eq!(cancelled.status, 200, "{:#}", cancelled.body);
}

/// What only today's program knows is written beside it.
async fn new_things_are_taken(node: &Node) {
    let task = json!({
        "schedule": "at 2099-12-01T08:00", "timezone": "Europe/Berlin", "labels": { "team": "x" }, "owner": "finance",
        "handler": { "command": { "argv": ["/bin/true"] } },
    });
    assert_eq!(
        node.ask("PUT", "/tasks/yearly", Some(task)).await.status,
        200
    );
    let found = node.get("/tasks?label=team=x").await;
    assert_eq!(found["items"][0]["name"], "yearly");
    assert_eq!(found["items"][0]["next_due_at"], "2099-12-01T07:00:00.000Z");
}

async fn goes_on(folder: &TempDir, store: &str) {
    let urls = settings(&[
        ("store", store),
        ("listen", "127.0.0.1:0"),
        ("token", TOKEN),
    ])
    .urls();
    let refused = open::ports(&urls, sql::Migrate::IfEmpty)
        .await
        .err()
        .unwrap();
    let refused = campanile_core::causes(&refused);
    assert!(refused.contains("campanile migrate"), "{refused}");
    let dry = run(folder, &["migrate", "--store", store, "--dry-run"]);
    assert!(
        out(&dry).contains("15 task-labels"),
        "{}{}",
        out(&dry),
        err(&dry)
    );
    let migrated = run(folder, &["migrate", "--store", store]);
    assert!(
        out(&migrated).ends_with("done\n"),
        "{}{}",
        out(&migrated),
        err(&migrated)
    );
    let node = Node::start(folder, store).await;
    definitions_are_the_same(&node).await;
    history_reads(&node).await;
    work_goes_on(&node).await;
    new_things_are_taken(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_store_in_the_middle_of_its_work_goes_on() {
    let folder = TempDir::new("upgrade").unwrap();
    let store = format!("sqlite:{}", folder.join("c.db").display());
    let pool = sqlx::SqlitePool::connect(&format!("{store}?mode=rwc"))
        .await
        .unwrap();
    pool.execute(sqlx::raw_sql(SQLITE)).await.unwrap();
    pool.close().await;
    goes_on(&folder, &store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_store_in_the_middle_of_its_work_goes_on() {
    let Some(server) = xtask::or_skip(Postgres::shared()) else {
        return;
    };
    let folder = TempDir::new("upgrade").unwrap();
    let store = server.create_database("upgrade").unwrap();
    server.sql_at(&store, POSTGRES).unwrap();
    goes_on(&folder, &store).await;
}
