//! Opening a store: what is made, what is refused and with which words, and that the session settings are in force.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use campanile::conformance::somebody;
use campanile::id::Mint;
use campanile::port::Written;
use campanile::port::store::{self, Control as _, Leading as _, Working as _};
use campanile::protocol::run;
use campanile::protocol::work::{Bid, Claim, Node, Submission, Term};
use campanile::system::{Random, spawn};
use campanile::task::TaskSpec;
use campanile_adapters::sql::{self, OpenError};
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
    assert!(todo[0].sql.contains("CREATE TABLE run ("));
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

/// How many there are.
fn migrations() -> i64 {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sql/migrations");
    std::fs::read_dir(folder).unwrap().count() as i64
}

#[tokio::test]
async fn databases_that_are_not_ours_are_refused() {
    let Some(server) = xtask::or_skip(Postgres::shared()) else {
        return;
    };
    let url = server.create_database("foreign").unwrap();
    server.sql_at(&url, "CREATE TABLE run (id int)").unwrap();
    assert!(matches!(refusal(&url).await, OpenError::Foreign { table } if table == "run"));

    let url = server.create_database("newer").unwrap();
    open(&url).await.close().await;
    server
        .sql_at(
            &url,
            "INSERT INTO schema_version VALUES (7000, 'later', 'x', 0)",
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
        .sql_at(&url, "UPDATE schema_version SET checksum = 'x'")
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
            sqlx::query("UPDATE leader SET seq = seq + 1")
                .execute(&mut *tx)
                .await
                .unwrap();
            campanile::system::pause(Duration::from_secs(20)).await;
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
        campanile::system::pause(Duration::from_millis(20)).await;
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
    let run = run::request(mint.runs(now, 1)[0], None, &spec, now);
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
        beat_seq: 0,
        beat_at: now,
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
