//! The SQL store: the suite that every store passes, on each database, the `store:` lock, and what only SQL stores have.

#![expect(clippy::unwrap_used, reason = "tests: what fails here fails the test")]

use std::sync::Arc;

use campanile_adapters::sql;
use campanile_conformance::lock::Handles;
use campanile_core::id::Mint;
use campanile_core::port::Written;
use campanile_core::port::lead::{Bid, Term};
use campanile_core::port::store::Store;
use campanile_login::store::LoginStore;
use xtask::servers::{MariaDb, Postgres, TempDir};

async fn open(url: &str) -> Arc<sql::Store> {
    sql::open(url, sql::Options::default()).await.unwrap()
}

fn sqlite_url(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.join("store.db").display())
}

/// Begins a store's first term.
async fn lead(store: &dyn Store, mint: &Mint) -> Term {
    let term = Term {
        epoch: 1,
        holder: mint.holder(),
    };
    let bid = Bid {
        read_epoch: 0,
        term: term.clone(),
        node: mint.node(),
        node_name: "n".to_owned(),
    };
    assert_eq!(store.begin_term(&bid).await.unwrap(), Written::Applied);
    term
}

/// Two nodes' handles on the lock of one store. It gives no hints: those behaviours are not asked of it.
async fn handles(url: &str) -> Handles {
    let (one, two) = (open(url).await, open(url).await);
    Handles::new(Arc::new(one.lock("leader")), Arc::new(two.lock("leader")))
}

mod sqlite {
    use super::*;

    async fn store() -> Option<(Arc<dyn Store>, TempDir)> {
        let folder = TempDir::new("store").unwrap();
        let store = open(&sqlite_url(&folder)).await;
        Some((store, folder))
    }

    campanile_conformance::store!(store);

    mod logins {
        use super::*;

        async fn logins() -> Option<(Arc<dyn LoginStore>, TempDir)> {
            let folder = TempDir::new("logins").unwrap();
            let store = open(&sqlite_url(&folder)).await;
            Some((store, folder))
        }

        campanile_conformance::logins!(logins);
    }

    mod lock {
        use super::*;

        async fn lock() -> Option<Handles> {
            let folder = TempDir::new("lock").unwrap();
            Some(handles(&sqlite_url(&folder)).await.keeping(folder))
        }

        campanile_conformance::lock!(lock =>
            exclusive, renewed_by_its_holder_alone, released_by_its_holder, release_by_another_changes_nothing,
            ends_without_renewal, renewal_extends_its_life, taken_again_by_its_holder, tells_the_time_left,
            one_of_many_wins);
    }
}

mod postgres {
    use super::*;

    async fn store() -> Option<(Arc<dyn Store>, Arc<Postgres>)> {
        let server = xtask::or_skip(Postgres::shared())?;
        let url = server.create_database("store").unwrap();
        Some((open(&url).await, server))
    }

    campanile_conformance::store!(store);

    mod logins {
        use super::*;

        async fn logins() -> Option<(Arc<dyn LoginStore>, Arc<Postgres>)> {
            let server = xtask::or_skip(Postgres::shared())?;
            let url = server.create_database("logins").unwrap();
            Some((open(&url).await, server))
        }

        campanile_conformance::logins!(logins);
    }

    mod lock {
        use super::*;

        async fn lock() -> Option<Handles> {
            let server = xtask::or_skip(Postgres::shared())?;
            let url = server.create_database("lock").unwrap();
            Some(handles(&url).await.keeping(server))
        }

        campanile_conformance::lock!(lock =>
            exclusive, renewed_by_its_holder_alone, released_by_its_holder, release_by_another_changes_nothing,
            ends_without_renewal, renewal_extends_its_life, taken_again_by_its_holder, tells_the_time_left,
            one_of_many_wins);
    }
}

mod mariadb {
    use super::*;

    async fn store() -> Option<(Arc<dyn Store>, Arc<MariaDb>)> {
        let server = xtask::or_skip(MariaDb::shared())?;
        let url = server.create_database("store").unwrap();
        Some((open(&url).await, server))
    }

    campanile_conformance::store!(store);

    mod logins {
        use super::*;

        async fn logins() -> Option<(Arc<dyn LoginStore>, Arc<MariaDb>)> {
            let server = xtask::or_skip(MariaDb::shared())?;
            let url = server.create_database("logins").unwrap();
            Some((open(&url).await, server))
        }

        campanile_conformance::logins!(logins);
    }

    mod lock {
        use super::*;

        async fn lock() -> Option<Handles> {
            let server = xtask::or_skip(MariaDb::shared())?;
            let url = server.create_database("lock").unwrap();
            Some(handles(&url).await.keeping(server))
        }

        campanile_conformance::lock!(lock =>
            exclusive, renewed_by_its_holder_alone, released_by_its_holder, release_by_another_changes_nothing,
            ends_without_renewal, renewal_extends_its_life, taken_again_by_its_holder, tells_the_time_left,
            one_of_many_wins);
    }
}

mod galera;
mod inbox;
mod keys;
mod offers;
mod on_mariadb;
mod opening;
mod permits;
mod rests;
