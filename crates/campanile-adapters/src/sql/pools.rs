//! The connections of one store, in pools by who uses them: a leader has connections of its own, so that a crowd of API calls
//! never costs it its place. It makes them and closes them; what is sent over them is others' business.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;

use super::connection::{Connections, Pool};
use super::open::{Options, Place};
use super::outage::Outage;
use super::pen::{Pens, Reader};
use super::space::Space;

/// Connections that only the leader uses.
const LEADER_CONNECTIONS: u32 = 2;
/// Readers of an SQLite file; there is one writer.
const SQLITE_READERS: u32 = 4;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longer where one writer serves everybody.
const SQLITE_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(8);

/// The connections of one store, by who uses them. For SQLite the writers are one and the same.
#[derive(Debug)]
pub(super) struct Pools {
    /// What the leader and people decide is written with these.
    pub(super) pens: Pens,
    /// The leader's reads.
    pub(super) leader_reader: Reader,
    /// Workers' writes, and what is nobody's decision.
    pub(super) main: Pool,
    /// Everybody else's reads.
    pub(super) reader: Pool,
}

impl Pools {
    pub(super) fn new(place: &Place, options: &Options) -> Self {
        let space = Arc::new(Space::default());
        let outage = Arc::new(Outage::new(place.clone()));
        let gated = |connections| Pool {
            connections,
            outage: Arc::clone(&outage),
            gate: options.gate.clone(),
            space: Arc::clone(&space),
        };
        let pool = |size| gated(connections(place, size));
        if let Place::Sqlite(_) = place {
            let (writer, reader) = (pool(1), pool(SQLITE_READERS));
            return Self {
                pens: Pens::new(writer.clone(), writer.clone()),
                leader_reader: Reader::new(reader.clone()),
                main: writer,
                reader,
            };
        }
        let (leader, main) = (
            pool(LEADER_CONNECTIONS),
            pool(options.max_connections.max(1)),
        );
        Self {
            pens: Pens::new(leader.clone(), main.clone()),
            leader_reader: Reader::new(leader),
            main: main.clone(),
            reader: main,
        }
    }

    pub(super) async fn close(&self) {
        self.leader_reader.close().await;
        self.main.close().await;
        self.reader.close().await;
    }
}

/// So many connections, made when they are needed.
fn connections(place: &Place, size: u32) -> Connections {
    match place {
        Place::Sqlite(sqlite) => {
            let pool = SqlitePoolOptions::new()
                .max_connections(size)
                .acquire_timeout(SQLITE_ACQUIRE_TIMEOUT)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None);
            Connections::Sqlite(pool.connect_lazy_with((**sqlite).clone()))
        }
        Place::Postgres(postgres, _) => {
            let pool = PgPoolOptions::new()
                .max_connections(size)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .test_before_acquire(false);
            Connections::Postgres(pool.connect_lazy_with((**postgres).clone()))
        }
        Place::MariaDb(servers) => {
            let pool = servers.pool(size, ACQUIRE_TIMEOUT);
            Connections::MariaDb(pool, Arc::clone(servers))
        }
    }
}
