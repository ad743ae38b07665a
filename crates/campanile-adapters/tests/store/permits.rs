//! Permits that an older program left behind: while a cluster is upgraded, a worker that knows none may end a run that
//! holds one.

use std::sync::Arc;

use campanile_core::decide::permits::LimitKey;
use campanile_core::id::{Mint, TaskId};
use campanile_core::port::store::Store;
use campanile_core::system::Random;
use xtask::servers::{MariaDb, Postgres, TempDir};

use super::{lead, open, sqlite_url};

const LEFT_BEHIND: &str =
    "INSERT INTO campanile_permit (limit_key, n, run) VALUES ('overlap:0000000000007', 0, 99)";

async fn is_taken_back(store: Arc<dyn Store>) {
    let keys = [LimitKey::Overlap(TaskId::from_i64(7))];
    assert_eq!(
        store.standings(&keys).await.unwrap()[&keys[0]].held.len(),
        1
    );
    let mint = Mint::new(Arc::new(Random::from_seed(1)));
    let term = lead(&*store, &mint).await;
    assert_eq!(store.sweep_permits(&term).await.unwrap(), Some(0));
    assert!(store.standings(&keys).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_permit_of_an_ended_run_is_taken_back_on_sqlite() {
    let folder = TempDir::new("permits").unwrap();
    let store = open(&sqlite_url(&folder)).await;
    let pool = sqlx::SqlitePool::connect(&sqlite_url(&folder))
        .await
        .unwrap();
    sqlx::query(LEFT_BEHIND).execute(&pool).await.unwrap();
    is_taken_back(store).await;
}

#[tokio::test]
async fn a_permit_of_an_ended_run_is_taken_back_on_postgres() {
    let Some(server) = xtask::or_skip(Postgres::shared()) else {
        return;
    };
    let url = server.create_database("permits").unwrap();
    let store = open(&url).await;
    server.sql_at(&url, LEFT_BEHIND).unwrap();
    is_taken_back(store).await;
}

#[tokio::test]
async fn a_permit_of_an_ended_run_is_taken_back_on_mariadb() {
    let Some(server) = xtask::or_skip(MariaDb::shared()) else {
        return;
    };
    let url = server.create_database("permits").unwrap();
    let store = open(&url).await;
    server.sql_at(&url, LEFT_BEHIND).unwrap();
    is_taken_back(store).await;
}
