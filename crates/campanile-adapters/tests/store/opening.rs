//! Opening a store: what is made, what is refused and with which words, and that the session settings are in force.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use campanile_adapters::sql::{self, OpenError};
use campanile_conformance::somebody;
use campanile_core::decide::attempt;
use campanile_core::id::Mint;
use campanile_core::port::Written;
use campanile_core::port::ask::{AskCluster as _, AskTasks as _};
use campanile_core::port::attempt::AttemptStore as _;
use campanile_core::port::attempt::Claim;
use campanile_core::port::edit::EditStore as _;
use campanile_core::port::edit::Submission;
use campanile_core::port::lead::LeadStore as _;
use campanile_core::port::lead::{Bid, Term};
use campanile_core::port::member::MemberStore as _;
use campanile_core::port::member::Node;
use campanile_core::port::store::{self};
use campanile_core::system::{Random, spawn};
use campanile_core::task::TaskSpec;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use xtask::servers::{Postgres, TempDir};

use super::{open, sqlite_url};

async fn refusal(url: &str) -> OpenError {
    match sql::open(url, sql::Options::default()).await {
        Ok(_) => panic!("{url} was opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_new_file_is_ours_alone_and_opens_again() {
    let folder = TempDir::new("open").unwrap();
    let url = sqlite_url(&folder);
    let todo = sql::pending(&url).await.unwrap();
    assert_eq!(todo[0].version, 1);
    assert!(todo[0].sql.contains("CREATE TABLE campanile_run ("));
    assert!(!folder.join("store.db").exists(), "a look changes nothing");
    let store = open(&url).await;
    store.ping().await.unwrap();
    for file in ["store.db", "store.db-wal"] {
        let mode = std::fs::metadata(folder.join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    store.close().await;
    assert!(sql::pending(&url).await.unwrap().is_empty());
    let told = open(&url).await.describe().await.unwrap();
    assert_eq!(
        (told.kind, told.schema, told.known_schema),
        ("SQLite", migrations(), migrations())
    );
    assert!(told.server.starts_with("3."), "{}", told.server);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let error = refusal("sqlite:/no/such/folder/store.db").await;
    assert!(matches!(error, OpenError::File { .. }));
    assert!(
        error.to_string().contains("/no/such/folder/store.db"),
        "{error}"
    );
}

#[tokio::test]
async fn many_open_an_empty_database_at_once() {
    let server = xtask::or_skip(Postgres::shared());
    let folder = TempDir::new("race").unwrap();
    let mut urls = vec![sqlite_url(&folder)];
    urls.extend(
        server
            .as_ref()
            .map(|server| server.create_database("race").unwrap()),
    );
    for url in urls {
        let opened: Vec<_> = (0..4)
            .map(|_| {
                let url = url.clone();
                spawn(async move { sql::open(&url, sql::Options::default()).await.map(drop) })
            })
            .collect();
        for one in opened {
            one.await.unwrap().unwrap();
        }
    }
}

/// Tables are made where there are none, by as many as want to; what an earlier version made is left alone.
#[tokio::test]
async fn an_earlier_versions_store_is_migrated_on_request_alone() {
    let folder = TempDir::new("earlier").unwrap();
    let url = sqlite_url(&folder);
    let if_empty = || {
        let options = sql::Options {
            migrate: sql::Migrate::IfEmpty,
            ..sql::Options::default()
        };
        sql::open(&url, options)
    };
    let opened = futures_util::future::join_all((0..4).map(|_| if_empty())).await;
    for store in opened {
        store.unwrap().close().await;
    }
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let last = sqlx::query_as::<_, (i64, String, String, i64)>(
        "DELETE FROM campanile_schema_version WHERE version = (SELECT MAX(version) FROM campanile_schema_version) RETURNING *",
    );
    let last = last.fetch_one(&pool).await.unwrap();
    let refused = if_empty().await.unwrap_err();
    assert!(
        matches!(refused, OpenError::Older { found, known } if known == last.0 && found == known - 1),
        "{refused}"
    );
    assert!(refused.to_string().contains(".migrate(true)"), "{refused}");
    // That one is asked: it would be made, were it not there already.
    assert!(
        matches!(refusal(&url).await, OpenError::Migration { version, .. } if version == last.0)
    );
    let back = sqlx::query("INSERT INTO campanile_schema_version VALUES (?, ?, ?, ?)");
    let back = back.bind(last.0).bind(last.1).bind(last.2).bind(last.3);
    back.execute(&pool).await.unwrap();
    if_empty().await.unwrap();
}

/// How many there are.
fn migrations() -> i64 {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sql/migrations");
    std::fs::read_dir(folder).unwrap().count() as i64
}

/// What made a store when tables had no prefix: the present text without it.
async fn before_the_prefix(url: &str) -> String {
    use std::fmt::Write as _;

    let mut sql = String::from(
        "CREATE TABLE schema_version (version BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, \
         applied_at BIGINT NOT NULL);",
    );
    for migration in sql::pending(url).await.unwrap().into_iter().take(11) {
        let text = migration.sql.replace("campanile_", "");
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let (version, name) = (migration.version, migration.name);
        write!(
            sql,
            "{text}; INSERT INTO schema_version VALUES ({version}, '{name}', '{hash:016x}', 0);"
        )
        .unwrap();
    }
    sql.push_str("INSERT INTO setting (name, value) VALUES ('kept', 'yes');");
    sql
}

#[tokio::test]
async fn tables_without_a_prefix_are_requeuede_on_request() {
    let folder = TempDir::new("unprefixed").unwrap();
    let url = sqlite_url(&folder);
    let old = before_the_prefix(&url).await;
    let made = sqlx::SqlitePool::connect(&format!("{url}?mode=rwc"))
        .await
        .unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(old))
        .execute(&made)
        .await
        .unwrap();
    made.close().await;
    adopted(&url).await;

    let Some(server) = xtask::or_skip(Postgres::shared()) else {
        return;
    };
    let empty = server.create_database("empty").unwrap();
    let old = before_the_prefix(&empty).await;
    let url = server.create_database("unprefixed").unwrap();
    server.sql_at(&url, &old).unwrap();
    adopted(&url).await;
    let left = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' \
        AND c.relkind IN ('r', 'i') AND c.relname NOT LIKE 'campanile_%' AND c.relname NOT LIKE '%_pkey' \
        AND c.relname NOT LIKE '%_key'";
    assert_eq!(server.sql_at(&url, left).unwrap().trim(), "0");
}

/// The store at this address had no prefix; it is migrated on request alone, and keeps what was in it.
async fn adopted(url: &str) {
    let options = |migrate| sql::Options {
        migrate,
        ..sql::Options::default()
    };
    let refused = sql::open(url, options(sql::Migrate::IfEmpty))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, OpenError::Older { found: 11, .. }),
        "{refused}"
    );
    let store = sql::open(url, options(sql::Migrate::Always)).await.unwrap();
    assert_eq!(store.setting("kept").await.unwrap().as_deref(), Some("yes"));
    store.close().await;
    let again = sql::open(url, options(sql::Migrate::Never)).await.unwrap();
    again.close().await;
}

#[tokio::test]
async fn a_database_with_tables_of_other_people_is_shared() {
    let Some(server) = xtask::or_skip(Postgres::shared()) else {
        return;
    };
    let url = server.create_database("shared").unwrap();
    let theirs = "CREATE TABLE task (id int); CREATE TABLE run (id int); CREATE TABLE leader (id int); \
        CREATE TABLE schema_version (version int, checksum text); INSERT INTO schema_version VALUES (1, 'theirs')";
    server.sql_at(&url, theirs).unwrap();
    open(&url).await.close().await;
    let kept = server
        .sql_at(&url, "SELECT checksum FROM schema_version")
        .unwrap();
    assert_eq!(kept.trim(), "theirs");
}

#[tokio::test]
async fn databases_that_are_not_ours_are_refused() {
    let Some(server) = xtask::or_skip(Postgres::shared()) else {
        return;
    };
    let url = server.create_database("foreign").unwrap();
    server
        .sql_at(&url, "CREATE TABLE campanile_run (id int)")
        .unwrap();
    assert!(
        matches!(refusal(&url).await, OpenError::Foreign { table } if table == "campanile_run")
    );

    let url = server.create_database("newer").unwrap();
    open(&url).await.close().await;
    server
        .sql_at(
            &url,
            "INSERT INTO campanile_schema_version VALUES (7000, 'later', 'x', 0)",
        )
        .unwrap();
    let error = refusal(&url).await;
    assert!(matches!(error, OpenError::Newer { found: 7000, known } if known == migrations()));
    assert!(
        error.to_string().contains("run a newer campanile"),
        "{error}"
    );

    let url = server.create_database("changed").unwrap();
    open(&url).await.close().await;
    server
        .sql_at(&url, "UPDATE campanile_schema_version SET checksum = 'x'")
        .unwrap();
    assert!(matches!(
        refusal(&url).await,
        OpenError::Changed { version: 1, .. }
    ));
}

/// A pooler in transaction mode drops startup options; the store notices, and says what to do.
#[tokio::test]
async fn a_server_that_drops_our_settings_is_refused() {
    let Some(server) = xtask::or_skip(Postgres::shared()) else {
        return;
    };
    let url = server.create_database("pooled").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let behind = server.port();
    let pooler = spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            spawn(without_options(client, behind));
        }
    });
    let through = url.replace(&format!(":{behind}/"), &format!(":{port}/"));
    let error = refusal(&format!("{through}?sslmode=disable")).await;
    assert!(matches!(error, OpenError::Settings { .. }), "{error}");
    assert!(error.to_string().contains("session mode"), "{error}");
    pooler.abort();
}

/// Passes a connection on, less the `options` of its startup message.
async fn without_options(mut client: TcpStream, port: u16) {
    let length = client.read_u32().await.unwrap() as usize;
    let mut startup = vec![0; length - 4];
    client.read_exact(&mut startup).await.unwrap();
    let mut kept = startup[..4].to_vec();
    let texts: Vec<&[u8]> = startup[4..].split(|byte| *byte == 0).collect();
    for pair in texts
        .chunks(2)
        .filter(|pair| pair.len() == 2 && !pair[0].is_empty())
    {
        if pair[0] != b"options" {
            kept.extend([pair[0], b"\0", pair[1], b"\0"].concat());
        }
    }
    kept.push(0);
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    server
        .write_u32(u32::try_from(kept.len() + 4).unwrap())
        .await
        .unwrap();
    server.write_all(&kept).await.unwrap();
    // Ends when either side does.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let port = xtask::servers::free_port();
    let error = refusal(&format!("postgres://u:secret@127.0.0.1:{port}/d")).await;
    assert!(matches!(error, OpenError::Unreachable { .. }));
    assert!(!error.to_string().contains("secret"), "{error}");
}

/// A leader that stops inside its transaction keeps its successor waiting for three seconds at most.
#[tokio::test]
async fn a_paused_transaction_does_not_block_the_next_term() {
    let Some(server) = xtask::or_skip(Postgres::shared()) else {
        return;
    };
    let url = server.create_database("paused").unwrap();
    let store = open(&url).await;
    // A session like ours that takes the leader row and falls asleep in its transaction.
    let options = "-c idle_in_transaction_session_timeout=1s";
    let stuck = {
        let url = format!("{url}?options={}", options.replace(' ', "%20"));
        spawn(async move {
            let pool = sqlx::PgPool::connect(&url).await.unwrap();
            let mut tx = pool.begin().await.unwrap();
            sqlx::query("UPDATE campanile_leader SET seq = seq + 1")
                .execute(&mut *tx)
                .await
                .unwrap();
            campanile_core::system::pause(Duration::from_secs(20)).await;
        })
    };
    let mint = Mint::new(Arc::new(Random::from_seed(1)));
    while server
        .sql_at(
            &url,
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'",
        )
        .unwrap()
        .trim()
        == "0"
    {
        campanile_core::system::pause(Duration::from_millis(20)).await;
    }
    let bid = Bid {
        read_epoch: 0,
        term: Term {
            epoch: 1,
            holder: mint.holder(),
        },
        node: mint.node(),
        node_name: "next".to_owned(),
    };
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
    stuck.abort();
}

#[tokio::test]
async fn a_server_that_went_away_is_unreachable_and_comes_back() {
    let Some(server) = xtask::or_skip(Postgres::start()) else {
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

/// A claim whose answer was lost on the way is asked again under the same id, and has not lost its runs.
#[tokio::test]
async fn a_claim_asked_twice_gives_the_same_answer() {
    let folder = TempDir::new("claim").unwrap();
    let store = open(&sqlite_url(&folder)).await;
    let mint = Mint::new(Arc::new(Random::from_seed(1)));
    let now = store.leader().await.unwrap().now;
    let spec: TaskSpec =
        serde_json::from_value(serde_json::json!({"name": "t", "handler": {"native": "noop"}}))
            .unwrap();
    let run = attempt::request(mint.runs(now, 1)[0], None, &spec, now);
    let submission = Submission {
        run: run.clone(),
        spec: None,
        key: None,
    };
    store.submit(somebody(), &[submission]).await.unwrap();
    let node = Node {
        id: mint.node(),
        name: "n".to_owned(),
        roles: Vec::new(),
        queues: Vec::new(),
        slots: 1,
        busy: 0,
        lease: Duration::from_secs(10),
        started_at: now,
        heartbeat_seq: 0,
        heartbeat_at: now,
        version: String::new(),
        abilities: None,
    };
    store.join(&node).await.unwrap();
    let claim = Claim {
        node: node.id,
        id: mint.claim(),
        runs: vec![(run.id, 1)],
    };
    for _ in 0..2 {
        assert_eq!(store.claim(&claim).await.unwrap().len(), 1);
    }
}
