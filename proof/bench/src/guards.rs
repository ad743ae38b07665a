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
use super::record::Record;
use super::site::{self, MEMORY, Place, Site};
use super::usage::Watched;
use campanile_adapters::sql;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Runs of one guard: ten batches.
const RUNS: usize = 10_000;
const WARM_UP: usize = 2_000;
/// Workers that share them, where there are several.
const WORKERS: usize = 4;
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

/// Where runs come from, and who works.
#[derive(Debug, Clone, Copy)]
enum Load {
    /// Requests: submitted, fired, claimed and ended in batches of 1,000.
    Asked,
    /// The same, each batch claimed and ended by several workers.
    Shared,
    /// Occurrences of as many tasks, all due at one instant: fired, claimed and ended.
    Recurring,
}

impl Load {
    /// A flow that has made all statements before.
    async fn begun(self, site: &Site) -> Flow {
        let workers = if matches!(self, Self::Shared) {
            WORKERS
        } else {
            1
        };
        let mut flow = Flow::begin(site)
            .await
            .unwrap()
            .among(workers)
            .await
            .unwrap();
        self.prepare(&mut flow, site, "warm", WARM_UP).await;
        self.play(&flow, WARM_UP).await;
        flow
    }

    /// Puts there what is no part of the figures.
    async fn prepare(self, flow: &mut Flow, site: &Site, name: &str, runs: usize) {
        if matches!(self, Self::Recurring) {
            flow.recur(site, name, runs).await.unwrap();
        }
    }

    async fn play(self, flow: &Flow, runs: usize) {
        match self {
            Self::Asked | Self::Shared => flow.stages(runs).await.unwrap(),
            Self::Recurring => flow.life().await.unwrap(),
        };
    }

    /// Statements of the store for 1,000 runs.
    async fn statements(self, flow: &Flow) -> f64 {
        let before = sql::statements();
        self.play(flow, RUNS).await;
        per_run(sql::statements() - before) * 1_000.0
    }
}

/// Rows put into indexes: each new row into all of its table's, each change that moves a row too.
const ENTRIES: &str = "SELECT sum((n_tup_ins + n_tup_upd - n_tup_hot_upd)
    * (SELECT count(*) FROM pg_index i WHERE i.indrelid = t.relid)) FROM pg_stat_user_tables t";
const ENDED: &str =
    "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'campanile_run_history'";
/// Tasks and due rows that are there and not counted yet, or counted and gone.
const NOT_TOLD: &str = "SELECT sum(abs(n_tup_ins - n_tup_del - CASE relname
        WHEN 'campanile_task' THEN (SELECT count(*) FROM campanile_task)
        ELSE (SELECT count(*) FROM campanile_due) END))
    FROM pg_stat_user_tables WHERE relname IN ('campanile_task', 'campanile_due')";
const LOG: &str = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn";
const KEPT: &str = "SELECT pg_total_relation_size('campanile_run_history')";

/// What PostgreSQL counted: statements for 1,000 runs; of a run its index entries, bytes of the log, bytes kept.
async fn counted(load: Load) -> Option<[f64; 4]> {
    let server = xtask::or_skip(Postgres::start())?;
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
    let mut flow = load.begun(&site).await;
    let count = |query: &str| -> u64 {
        let answer = server.sql_at(&url, query).unwrap();
        answer.trim().parse().unwrap()
    };
    // A session tells of what it did some time after it.
    let told = |ended: usize| {
        let is_told = || count(ENDED) == ended as u64 && count(NOT_TOLD) == 0;
        wait_until("the database counts", SOON, is_told);
    };
    load.prepare(&mut flow, &site, "night", RUNS).await;
    told(WARM_UP);
    let (entries, log, kept) = (count(ENTRIES), count(LOG), count(KEPT));
    let statements = load.statements(&flow).await;
    let (log, kept) = (count(LOG) - log, count(KEPT) - kept);
    told(WARM_UP + RUNS);
    let entries = count(ENTRIES) - entries;
    flow.end().await.unwrap();
    Some([statements, per_run(entries), per_run(log), per_run(kept)])
}

/// Holds what was counted, in the same order.
fn hold_postgres(is: [f64; 4], was: [f64; 4]) {
    let whats = [
        ("statements for 1,000 runs", 0.5),
        ("index entries of a run", 2.0),
        ("bytes of the log for a run", 4.0),
        ("bytes that an ended run keeps", 4.0),
    ];
    let guards = whats.into_iter().zip(is.into_iter().zip(was));
    let guards: Vec<Guard> = guards
        .map(|((what, tolerance), (is, was))| Guard {
            what,
            is,
            was,
            tolerance,
        })
        .collect();
    hold(&guards);
}

#[tokio::test]
async fn a_run_costs_postgres_what_it_did() {
    if let Some(counted) = counted(Load::Asked).await {
        hold_postgres(counted, [20.6, 7.0, 1_075.0, 221.0]);
    }
}

#[tokio::test]
async fn a_run_of_several_workers_costs_postgres_what_it_did() {
    if let Some(counted) = counted(Load::Shared).await {
        hold_postgres(counted, [35.6, 7.0, 1_089.0, 247.0]);
    }
}

#[tokio::test]
async fn an_occurrence_costs_postgres_what_it_did() {
    if let Some(counted) = counted(Load::Recurring).await {
        hold_postgres(counted, [17.2, 7.0, 1_108.0, 234.0]);
    }
}

async fn hold_sqlite(load: Load, was: f64) {
    let _alone = ALONE.lock().await;
    let site = Site::open(&place(None)).await.unwrap();
    let mut flow = load.begun(&site).await;
    load.prepare(&mut flow, &site, "night", RUNS).await;
    let statements = load.statements(&flow).await;
    flow.end().await.unwrap();
    hold(&[Guard {
        what: "statements for 1,000 runs",
        is: statements,
        was,
        tolerance: 0.5,
    }]);
}

#[tokio::test]
async fn a_run_costs_sqlite_what_it_did() {
    hold_sqlite(Load::Asked, 21.6).await;
}

#[tokio::test]
async fn a_run_of_several_workers_costs_sqlite_what_it_did() {
    hold_sqlite(Load::Shared, 39.6).await;
}

#[tokio::test]
async fn an_occurrence_costs_sqlite_what_it_did() {
    hold_sqlite(Load::Recurring, 18.2).await;
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
            was: 51.0,
            tolerance: 30.0,
        },
        Guard {
            what: "bytes that it allocates for a run",
            is: per_run(bytes as u64),
            was: 14_300.0,
            tolerance: 30.0,
        },
    ]);
}
