//! What a run costs that does not depend on the machine's mood: statements, bytes of the log, index entries and bytes kept
//! by a database, allocations of the node. Each guard says what was counted when it was last argued; a change that costs
//! more fails here, and is either mended or argued anew in `docs/contribute/performance.md`, in the same commit.

use std::alloc::System;
use std::fmt::Write as _;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use tokio::sync::Mutex;
use xtask::servers::{Postgres, wait_until};

use super::Error;
use super::burst::{self, Burst, Stand};
use super::flow::Flow;
use super::prepare;
use super::progress::Progress;
use super::record::Record;
use super::site::{self, MEMORY, Place, Site};
use super::usage::Watched;
use campanile_adapters::sql;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Runs of one guard: ten batches.
const RUNS: usize = 10_000;
const WARM_UP: usize = 2_000;
/// How long the database's counters may be behind.
const SOON: Duration = Duration::from_secs(60);
/// How long the guard of the node may take.
const BURST_LIMIT: Duration = Duration::from_secs(300);
/// How often it is measured again when the machine is busier than it was a moment before.
const TRIES_MAX: u32 = 3;

/// Statements are those of the process: one guard of them at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

fn place(store: Option<&str>) -> Place {
    Place {
        store: store.map(str::to_owned),
        lock: "store:".to_owned(),
        broker: MEMORY.to_owned(),
        slots: 2_000,
        database_pid: None,
        broker_pid: None,
    }
}

/// One figure, what it was, and how much more it may be.
struct Guard {
    what: &'static str,
    is: f64,
    was: f64,
    /// Parts of a hundred.
    tolerance: f64,
}

/// Fails with all that are off.
fn hold(guards: &[Guard]) {
    let mut out = String::new();
    for g in guards {
        let (least, most) = (
            g.was * (1.0 - g.tolerance / 100.0),
            g.was * (1.0 + g.tolerance / 100.0),
        );
        println!(
            "{}: {:.3} (guard: {:.3} ± {} %)",
            g.what, g.is, g.was, g.tolerance
        );
        if g.is > most {
            let _ = writeln!(out, "{}: {:.3}, and may be {most:.3}", g.what, g.is);
        } else if g.is < least {
            let _ = writeln!(
                out,
                "{}: {:.3}, less than {least:.3}: better, so tighten it",
                g.what, g.is
            );
        }
    }
    assert!(out.is_empty(), "{out}");
}

#[expect(clippy::cast_precision_loss, reason = "counts of a guard are small")]
fn per_run(count: u64) -> f64 {
    count as f64 / RUNS as f64
}

/// Statements of the store for 1,000 runs: submitted, fired, claimed and ended in batches of so many.
async fn statements(flow: &Flow) -> f64 {
    let before = sql::statements();
    flow.stages(RUNS).await.unwrap();
    per_run(sql::statements() - before) * 1_000.0
}

async fn begun(site: &Site) -> Flow {
    let flow = Flow::begin(site).await.unwrap();
    let progress = Progress::new("warm-up", WARM_UP);
    flow.lives(WARM_UP, 1, &progress).await.unwrap();
    flow
}

/// Rows put into indexes: each new row into all of its table's, each change that moves a row too.
const ENTRIES: &str = "SELECT sum((n_tup_ins + n_tup_upd - n_tup_hot_upd)
    * (SELECT count(*) FROM pg_index i WHERE i.indrelid = t.relid)) FROM pg_stat_user_tables t";
const ENDED: &str =
    "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'campanile_run_history'";
const LOG: &str = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn";
const KEPT: &str = "SELECT pg_total_relation_size('campanile_run_history')";

#[tokio::test]
async fn a_run_costs_postgres_what_it_did() {
    let Some(server) = xtask::or_skip(Postgres::start()) else {
        return;
    };
    let _alone = ALONE.lock().await;
    let url = server.create_database("guards").unwrap();
    // What is whole in the log because a checkpoint was just then, and what is tidied up just then, is not a run's.
    for setting in ["full_page_writes = off", "autovacuum = off"] {
        server
            .sql_at(&url, &format!("ALTER SYSTEM SET {setting}"))
            .unwrap();
    }
    server.sql_at(&url, "SELECT pg_reload_conf()").unwrap();
    let site = Site::open(&place(Some(&url))).await.unwrap();
    let flow = begun(&site).await;
    let count = |query: &str| -> u64 {
        let answer = server.sql_at(&url, query).unwrap();
        answer.trim().parse().unwrap()
    };
    // A session tells of what it did some time after it.
    let told =
        |ended: usize| wait_until("the database counts", SOON, || count(ENDED) == ended as u64);
    told(WARM_UP);
    let (entries, log, kept) = (count(ENTRIES), count(LOG), count(KEPT));
    let statements = statements(&flow).await;
    let (log, kept) = (count(LOG) - log, count(KEPT) - kept);
    told(WARM_UP + RUNS);
    let entries = count(ENTRIES) - entries;
    flow.end().await.unwrap();
    hold(&[
        Guard {
            what: "statements for 1,000 runs",
            is: statements,
            was: 20.6,
            tolerance: 0.5,
        },
        Guard {
            what: "index entries of a run",
            is: per_run(entries),
            was: 7.0,
            tolerance: 2.0,
        },
        Guard {
            what: "bytes of the log for a run",
            is: per_run(log),
            was: 1_075.0,
            tolerance: 4.0,
        },
        Guard {
            what: "bytes that an ended run keeps",
            is: per_run(kept),
            was: 221.0,
            tolerance: 4.0,
        },
    ]);
}

#[tokio::test]
async fn a_run_costs_sqlite_what_it_did() {
    let _alone = ALONE.lock().await;
    let site = Site::open(&place(None)).await.unwrap();
    let flow = begun(&site).await;
    let statements = statements(&flow).await;
    flow.end().await.unwrap();
    hold(&[Guard {
        what: "statements for 1,000 runs",
        is: statements,
        was: 21.6,
        tolerance: 0.5,
    }]);
}

/// A burst through the whole engine, without a database, and what was allocated meanwhile.
async fn counted_burst() -> Result<(Burst, Stats), Error> {
    let site = Site::open(&place(Some(MEMORY))).await?;
    let record = Record::with_room(RUNS + burst::WARM_UP);
    let app = site.lead(&record).await?;
    let task = prepare::task(&site, &app.control, "guards").await?;
    let stand = Stand {
        site: &site,
        app: &app,
        record: &record,
        task: &task,
        payload: None,
        watched: Watched::default(),
    };
    let region = Region::new(ALLOCATOR);
    let burst = burst::once(&stand, RUNS).await;
    let counted = region.change();
    site::stop(app).await;
    Ok((burst?, counted))
}

/// Batches are as the threads happen to meet, so the room is wider.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_costs_the_node_what_it_did() {
    // What other tests allocate would count.
    if !xtask::is_alone("guards::a_run_costs_the_node_what_it_did", BURST_LIMIT) {
        return;
    }
    let mut tries = 1;
    let (burst, counted) = loop {
        match counted_burst().await {
            Err(Error::Impossible(why)) if tries < TRIES_MAX => println!("tried again: {why}"),
            done => break done.unwrap(),
        }
        tries += 1;
    };
    assert_eq!(
        burst.counts.missed + burst.counts.doubled + burst.counts.early,
        0
    );
    let (calls, bytes) = (
        counted.allocations + counted.reallocations,
        counted.bytes_allocated,
    );
    hold(&[
        Guard {
            what: "allocations of the node for a run",
            is: per_run(calls as u64),
            was: 56.0,
            tolerance: 30.0,
        },
        Guard {
            what: "bytes that it allocates for a run",
            is: per_run(bytes as u64),
            was: 14_600.0,
            tolerance: 30.0,
        },
    ]);
}
