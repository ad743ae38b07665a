//! A store on three servers that all take writes (Galera), with one of them killed: what was acknowledged is there, what was
//! refused is not, and a node that joins again takes over what it missed. Two writers on two servers are fenced by the
//! cluster itself: the second COMMIT fails, and its transaction is made again.

use std::sync::Arc;
use std::time::Duration;

use campanile_adapters::sql::Store;
use campanile_core::id::Mint;
use campanile_core::port::Written;
use campanile_core::port::lead::{Bid, LeadStore as _, Term};
use campanile_core::port::member::{MemberStore as _, Node};
use campanile_core::port::store;
use campanile_core::system::{Random, pause, within};
use sqlx::{Connection as _, Executor as _, MySqlConnection};
use xtask::servers::Galera;

use super::open;

const SOON: Duration = Duration::from_secs(60);

fn bid(mint: &Mint, read_epoch: i64) -> Bid {
    Bid {
        read_epoch,
        term: Term {
            epoch: read_epoch + 1,
            holder: mint.holder(),
        },
        node: mint.node(),
        node_name: "n".to_owned(),
    }
}

/// One of the cluster's nodes alone.
fn only(url: &str, cluster: &Galera, at: usize) -> String {
    let (_, database) = url.rsplit_once('/').unwrap();
    cluster.node(at).url_of(database)
}

/// The next term, as a candidate does it: again until the store has answered.
async fn next_term(store: &Store, mint: &Mint) -> i64 {
    let begun = within(SOON, async {
        loop {
            let begun = match store.leader().await {
                Ok(row) => store
                    .begin_term(&bid(mint, row.epoch))
                    .await
                    .map(|done| (done, row.epoch + 1)),
                Err(error) => Err(error),
            };
            match begun {
                Ok((Written::Applied, epoch)) => return epoch,
                Ok((Written::Stale, _)) => {}
                Err(
                    store::Error::Unreachable(_)
                    | store::Error::Ambiguous(_)
                    | store::Error::Contended(_),
                ) => {}
                Err(other) => panic!("{other:?}"),
            }
            pause(Duration::from_millis(20)).await;
        }
    });
    begun.await.unwrap()
}

#[tokio::test]
async fn on_three_servers_of_one_cluster() {
    let Some(cluster) = xtask::or_skip(Galera::start()) else {
        return;
    };
    the_second_of_two_writers_is_refused_at_its_commit(&cluster).await;
    a_node_that_is_killed_costs_nothing_that_was_acknowledged(&cluster).await;
}

async fn a_node_that_is_killed_costs_nothing_that_was_acknowledged(cluster: &Galera) {
    let url = cluster.create_database("galera").unwrap();
    let store = open(&url).await;
    let mint = Mint::new(Arc::new(Random::from_seed(1)));
    let first = next_term(&store, &mint).await;
    assert_eq!(first, 1);
    let there = |at: usize| {
        let asked = "SET SESSION wsrep_sync_wait = 1; SELECT epoch FROM campanile_leader";
        cluster
            .node(at)
            .sql_at(&only(&url, cluster, at), asked)
            .unwrap()
    };
    assert_eq!(there(2).trim(), "1", "it is on every node");

    cluster.node(0).kill9();
    assert!(cluster.node(0).sql("SELECT 1").is_err(), "it is gone");
    let second = next_term(&store, &mint).await;
    assert!(second >= 2, "{second}");
    assert_eq!(there(1).trim(), second.to_string(), "the next node is used");

    cluster.restart(0).unwrap();
    assert_eq!(
        there(0).trim(),
        second.to_string(),
        "it took over what it had missed"
    );
    assert_eq!(next_term(&store, &mint).await, second + 1);

    // The last one of three takes no writes, and says so; connecting to it works.
    cluster.node(0).kill9();
    cluster.node(1).kill9();
    let alone = within(SOON, async {
        loop {
            match store.leader().await {
                Err(store::Error::Unreachable(error)) => return error.to_string(),
                _ => pause(Duration::from_millis(20)).await,
            }
        }
    });
    let said = alone.await.unwrap();
    assert!(said.contains("setting `store`"), "{said}");
}

/// Two servers, two writers: the fence of a deposed leader, and a claim beside an eviction.
async fn the_second_of_two_writers_is_refused_at_its_commit(cluster: &Galera) {
    let url = cluster.create_database("writers").unwrap();
    let store = open(&only(&url, cluster, 0)).await;
    let mint = Mint::new(Arc::new(Random::from_seed(2)));
    next_term(&store, &mint).await;
    // A leader on the second server is in its transaction while the next term begins on the first.
    let mut deposed = MySqlConnection::connect(&only(&url, cluster, 1))
        .await
        .unwrap();
    deposed.execute("BEGIN").await.unwrap();
    deposed
        .execute("UPDATE campanile_leader SET seq = seq + 1 WHERE id = 1 AND epoch = 1")
        .await
        .unwrap();
    deposed
        .execute("INSERT INTO campanile_setting (name, value) VALUES ('deposed', 'x')")
        .await
        .unwrap();
    assert_eq!(next_term(&store, &mint).await, 2);
    let refused = deposed.execute("COMMIT").await.unwrap_err();
    let number = refused
        .as_database_error()
        .unwrap()
        .downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
        .number();
    assert_eq!(number, 1213, "{refused}");
    let kept = cluster.node(2).sql_at(
        &only(&url, cluster, 2),
        "SET SESSION wsrep_sync_wait = 1; SELECT COUNT(*) FROM campanile_setting",
    );
    assert_eq!(kept.unwrap().trim(), "0", "nothing of it stands");

    // Our own transaction that meets that is made again, whole: both joins write the leader row, on two servers.
    let other = open(&only(&url, cluster, 1)).await;
    let now = store.leader().await.unwrap().now;
    for round in 0..40 {
        let node = |name: &str| Node {
            id: mint.node(),
            name: name.to_owned(),
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
        let (one, two) = (node("one"), node("two"));
        let met = tokio::join!(store.join(&one), other.join(&two));
        for answer in [met.0, met.1] {
            assert!(
                matches!(answer, Ok(()) | Err(store::Error::Contended(_))),
                "{round}: {answer:?}"
            );
        }
        let (begun, joined) = tokio::join!(next_term(&store, &mint), next_term(&other, &mint));
        assert_ne!(begun, joined, "one term for each epoch");
    }
}
