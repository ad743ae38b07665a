//! Keys that a program before scopes has kept: they go on to stand for their runs, for whatever task or handler those have.

use std::sync::Arc;

use campanile_adapters::sql;
use campanile_conformance::somebody;
use campanile_core::decide::attempt;
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::decide::edit::keys::{Digest, Key, Scope};
use campanile_core::id::{Mint, RunId};
use campanile_core::port::edit::{Edit, Submission, Upsert};
use campanile_core::port::store::Store;
use campanile_core::run::{Origin, RunSpec};
use campanile_core::system::Random;
use campanile_core::task::{HandlerSpec, TaskSpec};
use campanile_schedule::time::Timestamp;
use sqlx::Executor as _;
use xtask::servers::{Postgres, TempDir};

use super::{open, sqlite_url};

/// Runs as they were submitted once, with the scopes that their keys have now.
struct Before {
    runs: Vec<(Scope, RunId)>,
    mint: Mint,
}

fn spec(name: &str) -> TaskSpec {
    let spec = serde_json::json!({"name": name, "handler": {"native": "noop"}});
    serde_json::from_value(spec).unwrap()
}

/// A task's run, one of a backfill, and one of each kind of handler.
async fn submitted(store: &dyn Store) -> Before {
    let mint = Mint::new(Arc::new(Random::from_seed(1)));
    let now = Timestamp::from_ms(1_700_000_000_000);
    let task = Upsert {
        id: mint.task(now),
        expected: None,
        spec: spec("t"),
        paused_from: None,
        due: DueChange::Keep,
    };
    let id = task.id;
    let edit = Edit {
        upserts: vec![task],
        ..Edit::default()
    };
    assert!(
        store
            .edit(somebody(), &edit, now)
            .await
            .unwrap()
            .is_applied()
    );
    let handlers = [
        serde_json::json!({"native": "send:\"ü\""}),
        serde_json::json!({"http": {"url": "http://127.0.0.1/"}}),
        serde_json::json!({"command": {"argv": ["/bin/true"]}}),
        serde_json::json!({"external": {"destination": "d", "body": "payload", "reply": "none"}}),
    ];
    let ids = mint.runs(now, handlers.len() + 2);
    let mut runs = Vec::new();
    for (n, id_of_run) in ids.into_iter().enumerate() {
        let mut run = attempt::request(id_of_run, None, &spec("r"), now);
        let own = handlers
            .get(n)
            .map(|h| serde_json::from_value::<HandlerSpec>(h.clone()).unwrap());
        if own.is_none() {
            run.task = Some(id);
        }
        if n == handlers.len() + 1 {
            run.origin = Origin::Backfill;
        }
        let scope = match &own {
            Some(HandlerSpec::Native(_)) => Scope::Handler("native:send:\\\"ü\\\"".to_owned()),
            Some(own) => Scope::of_handler(own),
            None if run.origin == Origin::Backfill => Scope::Engine,
            None => Scope::Task(id),
        };
        runs.push((scope, run.id));
        let submission = Submission {
            run,
            spec: own.map(|handler| RunSpec {
                handler: Some(handler),
                ..RunSpec::default()
            }),
            key: None,
        };
        store.submit(somebody(), &[submission]).await.unwrap();
    }
    Before { runs, mint }
}

/// What a program before scopes has left, and the migration.
async fn migration(before: &Before, url: &str) -> Vec<String> {
    let pending = sql::pending(url).await.unwrap();
    let step = pending.into_iter().find(|m| m.name == "run-keys").unwrap();
    let kept = before.runs.iter().enumerate().map(|(n, (_, run))| {
        format!(
            "INSERT INTO campanile_submission (idempotency_key, run, at) VALUES ('k{n}', {}, 1)",
            run.as_i64()
        )
    });
    let mut all = vec!["DROP TABLE campanile_run_key".to_owned()];
    all.extend(kept);
    all.push(
        "INSERT INTO campanile_submission (idempotency_key, run, at) VALUES ('of nobody', 99, 1)"
            .to_owned(),
    );
    all.push(step.sql.to_string());
    all
}

async fn still_stand(store: &dyn Store, before: &Before) {
    let now = Timestamp::from_ms(1_700_000_000_000);
    for (n, (scope, run)) in before.runs.iter().enumerate() {
        let submission = Submission {
            run: attempt::request(before.mint.runs(now, 1)[0], None, &spec("r"), now),
            spec: None,
            key: Some(Key {
                scope: scope.clone(),
                text: format!("k{n}"),
                content: Some(Digest::from_spelling("whatever".to_owned())),
            }),
        };
        let answer = store.submit(somebody(), &[submission]).await.unwrap()[0];
        assert_eq!(
            (answer.run, answer.created, answer.taken),
            (*run, false, false),
            "{scope}"
        );
    }
    assert!(store.runs_of_key("of nobody", 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn old_keys_stand_for_their_runs_on_sqlite() {
    let (folder, fresh) = (TempDir::new("keys").unwrap(), TempDir::new("keys").unwrap());
    let store = open(&sqlite_url(&folder)).await;
    let before = submitted(&*store).await;
    let pool = sqlx::SqlitePool::connect(&sqlite_url(&folder))
        .await
        .unwrap();
    for sql in migration(&before, &sqlite_url(&fresh)).await {
        pool.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql)))
            .await
            .unwrap();
    }
    still_stand(&*store, &before).await;
}

#[tokio::test]
async fn old_keys_stand_for_their_runs_on_postgres() {
    let Some(server) = xtask::or_skip(Postgres::shared()) else {
        return;
    };
    let url = server.create_database("keys").unwrap();
    let store = open(&url).await;
    let before = submitted(&*store).await;
    let fresh = server.create_database("keys").unwrap();
    for sql in migration(&before, &fresh).await {
        server.sql_at(&url, &sql).unwrap();
    }
    still_stand(&*store, &before).await;
}
