//! The SQL store: the suite that every store passes, on each database, and what only SQL stores have.

use std::sync::Arc;

use campanile_adapters::sql;
use xtask::servers::{Postgres, TempDir};

pub async fn open(url: &str) -> Arc<sql::Store> {
    sql::open(url, sql::Options::default()).await.unwrap()
}

mod sqlite {
    use super::*;

    pub async fn store() -> Option<(Arc<dyn campanile::port::store::Store>, TempDir)> {
        let folder = TempDir::new("store").unwrap();
        let store = open(&format!("sqlite:{}", folder.join("store.db").display())).await;
        Some((store, folder))
    }

    campanile::conformance::store!(store);
}

mod postgres {
    use super::*;

    pub async fn store() -> Option<(Arc<dyn campanile::port::store::Store>, Arc<Postgres>)> {
        let server = xtask::or_skip(Postgres::shared())?;
        let url = server.create_database("store").unwrap();
        Some((open(&url).await, server))
    }

    campanile::conformance::store!(store);
}
