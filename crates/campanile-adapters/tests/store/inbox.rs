//! The inbox as strangers use it: with the statement of the guide, inside transactions of their own, however late those
//! commit. What becomes of rows is the conformance suite's; here is what only a database can show.

use std::path::Path;
use std::sync::Arc;

use campanile_adapters::sql::{Store, enqueue};
use campanile_core::decide::edit::inbox::{Became, Drained, Settled, decide, open as read};
use campanile_core::id::Mint;
use campanile_core::port::ask::AskRuns as _;
use campanile_core::port::edit::InboxStore as _;
use campanile_core::port::lead::Term;
use campanile_core::system::Random;
use campanile_schedule::time::Timestamp;
use sqlx::{Connection as _, MySqlConnection, PgConnection, SqliteConnection};
use xtask::servers::{MariaDb, Postgres, TempDir};

use super::{lead, open, sqlite_url};

const NOW: Timestamp = Timestamp::from_ms(1_760_000_000_000);

fn greet(key: &str) -> String {
    format!(r#"{{"handler": {{"native": "greet"}}, "idempotency_key": "{key}"}}"#)
}

/// A leader of a store.
struct Leader {
    store: Arc<Store>,
    mint: Mint,
    term: Term,
}

impl Leader {
    async fn of(url: &str) -> Self {
        let store = open(url).await;
        let mint = Mint::new(Arc::new(Random::from_seed(7)));
        let term = lead(&*store, &mint).await;
        Self { store, mint, term }
    }

    /// Takes out what is there.
    async fn drain(&self) -> Vec<Settled> {
        let inbox = self.store.inbox().await.unwrap();
        let ids = self.mint.runs(NOW, inbox.rows.len());
        let rows = inbox.rows.iter().zip(ids);
        let rows: Vec<_> = rows
            .map(|(row, id)| decide(read(row), &[], id, NOW))
            .collect();
        match self
            .store
            .drain(&self.term, inbox.edits, &rows, NOW)
            .await
            .unwrap()
        {
            Drained::Done(settled) => settled,
            other => panic!("{other:?}"),
        }
    }

    async fn runs(&self) -> usize {
        let all = self.store.runs(&Default::default(), None, 100).await;
        all.unwrap().len()
    }
}

/// The statement, as the guide tells it to people who write in other languages.
fn of_the_guide() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/enqueue.md");
    let guide = std::fs::read_to_string(path).unwrap();
    let mut lines = guide.lines();
    let found = lines.find(|line| line.starts_with("INSERT INTO campanile_inbox"));
    found.unwrap().to_owned()
}

#[tokio::test]
async fn the_statement_of_the_guide_is_the_one_that_runs() {
    let statement = of_the_guide();
    assert_eq!(statement, enqueue::LEAVE);
    let folder = TempDir::new("inbox").unwrap();
    let url = sqlite_url(&folder);
    let leader = Leader::of(&url).await;
    let mut stranger = SqliteConnection::connect(&url).await.unwrap();
    let left = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(statement.clone()));
    let id = left
        .bind(greet("a"))
        .fetch_one(&mut stranger)
        .await
        .unwrap();
    // Bytes that are no text, as no one should: refused, and in nobody's way.
    let bytes = "INSERT INTO campanile_inbox (request) VALUES (x'ff00fe')";
    sqlx::query(bytes).execute(&mut stranger).await.unwrap();
    let settled = leader.drain().await;
    assert_eq!(settled[0].id, id);
    assert!(matches!(settled[0].became, Became::Run(_)));
    assert!(
        matches!(settled[1].became, Became::Refused(_)),
        "{settled:?}"
    );

    let Some(server) = xtask::or_skip(Postgres::shared()) else {
        return;
    };
    let url = server.create_database("inbox").unwrap();
    let leader = Leader::of(&url).await;
    let mut stranger = PgConnection::connect(&url).await.unwrap();
    let left = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(statement));
    left.bind(greet("a"))
        .fetch_one(&mut stranger)
        .await
        .unwrap();
    assert_eq!(leader.drain().await.len(), 1);
    assert_eq!(leader.runs().await, 1);
}

/// The numbers of rows are given out before their transactions commit: what was left first may be there last.
#[tokio::test]
async fn however_late_a_transaction_commits_its_row_becomes_one_run() {
    let Some(server) = xtask::or_skip(Postgres::shared()) else {
        return;
    };
    let url = server.create_database("late").unwrap();
    let leader = Leader::of(&url).await;
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let (mut late, mut lost) = (pool.begin().await.unwrap(), pool.begin().await.unwrap());
    let first = <sqlx::Postgres as enqueue::Inbox>::leave(&mut late, &greet("k"))
        .await
        .unwrap();
    <sqlx::Postgres as enqueue::Inbox>::leave(&mut lost, &greet("l"))
        .await
        .unwrap();
    let mut soon = pool.begin().await.unwrap();
    let second = <sqlx::Postgres as enqueue::Inbox>::leave(&mut soon, &greet("k"))
        .await
        .unwrap();
    soon.commit().await.unwrap();
    assert!(first < second);
    // The open transactions hold nothing that the leader waits for.
    let settled = leader.drain().await;
    assert_eq!(settled.iter().map(|s| s.id).collect::<Vec<_>>(), [second]);
    let run = settled[0].became.run().unwrap();
    assert_eq!(leader.drain().await, []);
    late.commit().await.unwrap();
    lost.rollback().await.unwrap();
    let settled = leader.drain().await;
    assert_eq!(settled.iter().map(|s| s.id).collect::<Vec<_>>(), [first]);
    // The same request under the same key: one run, whoever came first.
    assert_eq!(settled[0].became, Became::Duplicate(run));
    assert_eq!(leader.runs().await, 1);
    assert_eq!(leader.drain().await, []);
}

/// The same on MariaDB, whose numbers are given out early too, and whose strangers may speak in another character set.
#[tokio::test]
async fn a_late_transaction_becomes_one_run_on_mariadb() {
    let Some(server) = xtask::or_skip(MariaDb::shared()) else {
        return;
    };
    let url = server.create_database("late").unwrap();
    let leader = Leader::of(&url).await;
    let pool = sqlx::MySqlPool::connect(&url).await.unwrap();
    let (mut late, mut lost) = (pool.begin().await.unwrap(), pool.begin().await.unwrap());
    let first = <sqlx::MySql as enqueue::Inbox>::leave(&mut late, &greet("k"))
        .await
        .unwrap();
    <sqlx::MySql as enqueue::Inbox>::leave(&mut lost, &greet("l"))
        .await
        .unwrap();
    let mut soon = pool.begin().await.unwrap();
    let second = <sqlx::MySql as enqueue::Inbox>::leave(&mut soon, &greet("k"))
        .await
        .unwrap();
    soon.commit().await.unwrap();
    assert!(first < second);
    // The open transactions hold nothing that the leader waits for.
    let settled = leader.drain().await;
    assert_eq!(settled.iter().map(|s| s.id).collect::<Vec<_>>(), [second]);
    let run = settled[0].became.run().unwrap();
    late.commit().await.unwrap();
    lost.rollback().await.unwrap();
    let settled = leader.drain().await;
    assert_eq!(settled.iter().map(|s| s.id).collect::<Vec<_>>(), [first]);
    assert_eq!(settled[0].became, Became::Duplicate(run));
    assert_eq!(leader.runs().await, 1);

    let mut stranger = MySqlConnection::connect(&url).await.unwrap();
    let told = "SET NAMES latin1; INSERT INTO campanile_inbox (request) VALUES \
        (CONCAT('{\"handler\": {\"native\": \"greet\"}, \"payload\": \"', _latin1 x'FC', '\"}'))";
    sqlx::raw_sql(told).execute(&mut stranger).await.unwrap();
    let settled = leader.drain().await;
    let run = settled[0].became.run().unwrap();
    let payload = leader.store.run(run).await.unwrap().unwrap().spec.unwrap();
    assert_eq!(payload.payload, Some(serde_json::json!("ü")));
}

/// A full inbox is emptied batch by batch.
#[tokio::test]
async fn many_rows_go_in_batches_and_none_twice() {
    let folder = TempDir::new("many").unwrap();
    let url = sqlite_url(&folder);
    let leader = Leader::of(&url).await;
    let mut stranger = SqliteConnection::connect(&url).await.unwrap();
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
        INSERT INTO campanile_inbox (request) SELECT '{\"handler\": {\"native\": \"greet\"}, \"payload\": ' || i || '}' FROM n";
    sqlx::query(many).execute(&mut stranger).await.unwrap();
    let mut batches = Vec::new();
    loop {
        let settled = leader.drain().await;
        if settled.is_empty() {
            break;
        }
        batches.push(settled.len());
    }
    assert_eq!(batches, [500, 500, 200]);
    let runs = "SELECT COUNT(*) FROM campanile_run";
    let runs = sqlx::query_scalar::<_, i64>(runs)
        .fetch_one(&mut stranger)
        .await;
    assert_eq!(runs.unwrap(), 1_200);
}
