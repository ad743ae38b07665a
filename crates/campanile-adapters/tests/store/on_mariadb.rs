//! What only a store on MariaDB has to show: how it is opened, made and refused, that texts keep their characters in a database
//! of another character set, and that nobody who stands still holds its leader row.

use std::sync::Arc;

use campanile_adapters::sql::{self, OpenError, Store};
use campanile_conformance::somebody;
use campanile_core::decide::attempt;
use campanile_core::id::Mint;
use campanile_core::port::Written;
use campanile_core::port::ask::{AskRuns as _, AskTasks as _};
use campanile_core::port::edit::{EditStore as _, Submission};
use campanile_core::port::lead::{Bid, LeadStore as _, Term};
use campanile_core::port::store;
use campanile_core::run::RunSpec;
use campanile_core::system::{Random, pause, spawn, within};
use campanile_core::task::TaskSpec;
use campanile_schedule::time::Timestamp;
use sqlx::{Connection as _, Executor as _, MySqlConnection};
use std::time::Duration;
use xtask::servers::MariaDb;

use super::open;

async fn refusal(url: &str) -> OpenError {
    match sql::open(url, sql::Options::default()).await {
        Ok(_) => panic!("{url} was opened"),
        Err(error) => error,
    }
}

fn bid(mint: &Mint) -> Bid {
    Bid {
        read_epoch: 0,
        term: Term {
            epoch: 1,
            holder: mint.holder(),
        },
        node: mint.node(),
        node_name: "next".to_owned(),
    }
}

fn mint() -> Mint {
    Mint::new(Arc::new(Random::from_seed(1)))
}

#[tokio::test]
async fn a_database_is_made_once_and_known_again() {
    let Some(server) = xtask::or_skip(MariaDb::shared()) else {
        return;
    };
    let url = server.create_database("open").unwrap();
    let todo = sql::pending(&url).await.unwrap();
    assert_eq!((todo.len(), todo[0].version), (1, 22));
    // Several nodes at once: one of them makes it.
    let (one, two, three) = tokio::join!(open(&url), open(&url), open(&url));
    assert!(sql::pending(&url).await.unwrap().is_empty());
    let told = two.describe().await.unwrap();
    assert_eq!(
        (told.kind, told.schema, told.known_schema),
        ("MariaDB", 22, 22)
    );
    assert!(told.server.contains("MariaDB"), "{}", told.server);
    assert!(!told.url.contains("secret"));
    for store in [one, two, three] {
        store.ping().await.unwrap();
    }

    server
        .sql_at(&url, "UPDATE campanile_schema_version SET checksum = 'x'")
        .unwrap();
    assert!(matches!(
        refusal(&url).await,
        OpenError::Changed { version: 22, .. }
    ));
    server
        .sql_at(&url, "UPDATE campanile_schema_version SET version = 7000")
        .unwrap();
    assert!(matches!(
        refusal(&url).await,
        OpenError::Newer {
            found: 7000,
            known: 22
        }
    ));
    let url = server.create_database("foreign").unwrap();
    server
        .sql_at(&url, "CREATE TABLE campanile_run (id int)")
        .unwrap();
    assert!(
        matches!(refusal(&url).await, OpenError::Foreign { table } if table == "campanile_run")
    );
}

/// A change of a table commits by itself, so that what stopped half-way is half there.
#[tokio::test]
async fn a_half_made_store_is_made_whole() {
    let Some(server) = xtask::or_skip(MariaDb::shared()) else {
        return;
    };
    let url = server.create_database("half").unwrap();
    open(&url).await.close().await;
    server
        .sql_at(
            &url,
            "DELETE FROM campanile_schema_version; DROP TABLE campanile_chain; DROP TABLE campanile_audit_head;
             UPDATE campanile_leader SET seq = 7",
        )
        .unwrap();
    // What stands in its way is somebody's view: said, and mended by him.
    server
        .sql_at(&url, "CREATE VIEW campanile_audit_head AS SELECT 1 AS id")
        .unwrap();
    let error = refusal(&url).await;
    assert!(
        matches!(error, OpenError::HalfMade { version: 22, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("start again"), "{error}");
    server
        .sql_at(&url, "DROP VIEW campanile_audit_head")
        .unwrap();
    let store = open(&url).await;
    assert!(sql::pending(&url).await.unwrap().is_empty());
    assert_eq!(
        store.begin_term(&bid(&mint())).await.unwrap(),
        Written::Applied
    );
    let kept = server
        .sql_at(&url, "SELECT seq, epoch FROM campanile_leader")
        .unwrap();
    assert_eq!(kept.trim(), "8\t1", "what was there stayed");
}

#[tokio::test]
async fn whoever_is_not_let_in_is_told_what_to_look_at() {
    let Some(server) = xtask::or_skip(MariaDb::shared()) else {
        return;
    };
    let port = server.port();
    let error = refusal(&format!("mysql://nobody:secret@127.0.0.1:{port}/d")).await;
    assert!(
        error
            .to_string()
            .contains("check the user and the password"),
        "{error}"
    );
    let error = refusal(&format!("mysql://root@127.0.0.1:{port}/no_such_database")).await;
    assert!(error.to_string().contains("make the database"), "{error}");
    let nobody = xtask::servers::free_port();
    let error = refusal(&format!("mysql://u:secret@127.0.0.1:{nobody}/d")).await;
    assert!(matches!(error, OpenError::Unreachable { .. }));
    assert!(!format!("{error:?}{error}").contains("secret"), "{error}");
}

/// Texts come back as they went, in a database whose own character set has few of them, and names are told apart by every
/// character.
#[tokio::test]
async fn texts_keep_their_characters() {
    let Some(server) = xtask::or_skip(MariaDb::shared()) else {
        return;
    };
    let store = open(&server.create_database("texts").unwrap()).await;
    let mint = mint();
    let now = store.leader().await.unwrap().now;
    let texts = [
        "😀 \u{0} null \\ ' \"".to_owned(),
        "a".to_owned(),
        "a ".to_owned(),
        "A".to_owned(),
        "ä".to_owned(),
        "x".repeat(200_000),
    ];
    let submissions: Vec<Submission> = texts
        .iter()
        .map(|text| {
            let spec: TaskSpec = serde_json::from_value(
                serde_json::json!({"name": "t", "handler": {"native": "noop"}}),
            )
            .unwrap();
            Submission {
                run: attempt::request(mint.runs(now, 1)[0], None, &spec, now),
                spec: Some(RunSpec {
                    payload: Some(serde_json::json!(text)),
                    ..RunSpec::default()
                }),
                key: None,
            }
        })
        .collect();
    store.submit(somebody(), &submissions).await.unwrap();
    for (submission, text) in submissions.iter().zip(&texts) {
        let kept = store.run(submission.run.id).await.unwrap().unwrap();
        assert_eq!(kept.spec.unwrap().payload, Some(serde_json::json!(text)));
    }
    // A key is a name: these are five.
    for name in ["a", "A", "ä", "a ", "😀"] {
        let left = store.namesakes(name, 5).await.unwrap();
        assert!(left.is_empty());
        put(&store, &mint, name, now).await;
    }
    for name in ["a", "A", "ä", "a ", "😀"] {
        assert_eq!(store.namesakes(name, 5).await.unwrap().len(), 1, "{name:?}");
    }
}

async fn put(store: &Store, mint: &Mint, name: &str, now: Timestamp) {
    let spec = serde_json::json!({"name": name, "handler": {"native": "noop"}});
    let spec: TaskSpec = serde_json::from_value(spec).unwrap();
    let edit = campanile_core::port::edit::Edit {
        upserts: vec![campanile_core::decide::edit::place::create(
            mint.task(now),
            spec,
            None,
            now,
        )],
        ..Default::default()
    };
    assert!(
        store
            .edit(somebody(), &edit, now)
            .await
            .unwrap()
            .is_applied()
    );
}

/// A leader that stops inside its transaction keeps its successor waiting for three seconds at most: its session is ended.
#[tokio::test]
async fn a_paused_transaction_does_not_block_the_next_term() {
    let Some(server) = xtask::or_skip(MariaDb::shared()) else {
        return;
    };
    let url = server.create_database("paused").unwrap();
    let store = open(&url).await;
    let mut stuck = MySqlConnection::connect(&url).await.unwrap();
    // As our sessions are, with a shorter patience.
    stuck
        .execute("SET SESSION idle_transaction_timeout = 1")
        .await
        .unwrap();
    stuck.execute("START TRANSACTION").await.unwrap();
    stuck
        .execute("UPDATE campanile_leader SET seq = seq + 1")
        .await
        .unwrap();
    let bid = bid(&mint());
    let mut answers = Vec::new();
    for _ in 0..5 {
        let answer = store.begin_term(&bid).await;
        let done = answer.is_ok();
        answers.push(answer);
        if done {
            break;
        }
    }
    assert!(
        matches!(answers.last(), Some(Ok(Written::Applied))),
        "{answers:?}"
    );
    assert!(
        stuck.execute("COMMIT").await.is_err(),
        "its session was ended"
    );
    let left = server
        .sql_at(&url, "SELECT seq FROM campanile_leader")
        .unwrap();
    assert_eq!(left.trim(), "1", "nothing of it stands");
}

/// A transaction that another one's deadlock ended is made again, whole.
#[tokio::test]
async fn a_lock_that_is_waited_for_too_long_rolls_all_back() {
    let Some(server) = xtask::or_skip(MariaDb::shared()) else {
        return;
    };
    let url = server.create_database("waits").unwrap();
    let store = open(&url).await;
    let mut other = MySqlConnection::connect(&url).await.unwrap();
    other.execute("START TRANSACTION").await.unwrap();
    other
        .execute("UPDATE campanile_leader SET seq = seq + 1")
        .await
        .unwrap();
    let error = store.begin_term(&bid(&mint())).await.unwrap_err();
    assert!(matches!(error, store::Error::Contended(_)), "{error:?}");
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(
        store.begin_term(&bid(&mint())).await.unwrap(),
        Written::Applied
    );
}

#[tokio::test]
async fn a_server_that_went_away_is_unreachable_and_comes_back() {
    let Some(server) = xtask::or_skip(MariaDb::start()) else {
        return;
    };
    let store = open(&server.create_database("away").unwrap()).await;
    store.leader().await.unwrap();
    server.kill9();
    let error = store.leader().await.unwrap_err();
    assert!(matches!(error, store::Error::Unreachable(_)), "{error:?}");
    server.restart().unwrap();
    // The connections that broke are replaced without anybody noticing.
    store.leader().await.unwrap();
    assert!(store.tasks_by_id(&[]).await.unwrap().is_empty());
}

/// Of several servers the first that takes writes is used, and another one when it is gone.
#[tokio::test]
async fn a_server_that_takes_no_writes_is_passed_over() {
    let (Some(first), Some(second)) = (
        xtask::or_skip(MariaDb::start()),
        xtask::or_skip(MariaDb::start()),
    ) else {
        return;
    };
    first
        .sql("CREATE DATABASE d; SET GLOBAL read_only = 1")
        .unwrap();
    second.sql("CREATE DATABASE d").unwrap();
    let url = format!(
        "mysql://root@127.0.0.1:{},127.0.0.1:{}/d",
        first.port(),
        second.port()
    );
    let store = open(&url).await;
    assert!(
        second
            .sql("SHOW TABLES FROM d")
            .unwrap()
            .contains("campanile_leader")
    );
    assert_eq!(first.sql("SHOW TABLES FROM d").unwrap(), "");
    store.leader().await.unwrap();
    // The first takes writes from now on, and the second is gone: what was made there is not here.
    first.sql("SET GLOBAL read_only = 0").unwrap();
    second.kill9();
    let found = within(Duration::from_secs(60), async {
        loop {
            match store.leader().await {
                Err(store::Error::Unable(error)) => return error.to_string(),
                _ => pause(Duration::from_millis(20)).await,
            }
        }
    });
    assert!(found.await.unwrap().contains("campanile_leader"));
    spawn(async move { store.close().await }).await.unwrap();
}
