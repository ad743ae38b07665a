//! A rest beside a claim that wins while what was planned ahead is looked for. On SQLite there is one writer.

use std::sync::Arc;
use std::time::Duration;

use campanile_conformance::somebody;
use campanile_core::decide::attempt;
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::decide::edit::place;
use campanile_core::id::{Mint, RunId};
use campanile_core::port::edit::{Edit, Upsert};
use campanile_core::port::fire::{Fired, Firing, OutboxEntry, ScanLimits};
use campanile_core::port::lead::Term;
use campanile_core::port::store::Store;
use campanile_core::system::{Random, pause, spawn, within};
use campanile_core::task::{Task, TaskSpec};
use campanile_schedule::time::Timestamp;
use sqlx::pool::PoolConnection;
use sqlx::{MySql, MySqlPool, PgPool};
use xtask::servers::{MariaDb, Postgres};

use super::{lead, open};

/// Less than a session waits for a lock.
const AHEAD: Duration = Duration::from_millis(1_500);
const SOON: Duration = Duration::from_secs(60);
/// On a machine that is busy the instant may come before the look.
const TRIES: usize = 10;

/// How a database is told and asked what this needs.
struct Spelling {
    lock: &'static str,
    waits: &'static str,
    now: &'static str,
    win: &'static str,
    unlock: &'static str,
}

const POSTGRES: Spelling = Spelling {
    lock: "BEGIN; LOCK TABLE campanile_run IN ACCESS EXCLUSIVE MODE",
    waits: "SELECT count(*) FROM pg_locks WHERE relation = 'campanile_run'::regclass AND NOT granted",
    now: "SELECT CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)",
    win: "UPDATE campanile_run SET state = 3, worker = 1, claim = 1, started_at = due_at WHERE id = $1",
    unlock: "COMMIT",
};

const MARIADB: Spelling = Spelling {
    lock: "LOCK TABLES campanile_run WRITE",
    waits: "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND state = 'Waiting for table metadata lock'",
    now: "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)",
    win: "UPDATE campanile_run SET state = 3, worker = 1, claim = 1, started_at = due_at WHERE id = ?",
    unlock: "UNLOCK TABLES",
};

/// Somebody beside the store.
enum Pool {
    Postgres(PgPool),
    MariaDb(MySqlPool),
}

/// Whoever holds the table while he wins the run.
enum Winner {
    Postgres(PoolConnection<sqlx::Postgres>),
    MariaDb(PoolConnection<MySql>),
}

impl Pool {
    const fn spelling(&self) -> &'static Spelling {
        match self {
            Self::Postgres(_) => &POSTGRES,
            Self::MariaDb(_) => &MARIADB,
        }
    }

    async fn winner(&self) -> Winner {
        match self {
            Self::Postgres(pool) => Winner::Postgres(pool.acquire().await.unwrap()),
            Self::MariaDb(pool) => Winner::MariaDb(pool.acquire().await.unwrap()),
        }
    }
}

impl Winner {
    async fn say(&mut self, sql: &'static str) {
        match self {
            Self::Postgres(c) => sqlx::raw_sql(sql).execute(&mut **c).await.map(drop),
            Self::MariaDb(c) => sqlx::raw_sql(sql).execute(&mut **c).await.map(drop),
        }
        .unwrap();
    }

    async fn win(&mut self, sql: &'static str, run: RunId) -> u64 {
        let run = run.as_i64();
        match self {
            Self::Postgres(c) => {
                let won = sqlx::query(sql).bind(run).execute(&mut **c).await;
                won.map(|done| done.rows_affected())
            }
            Self::MariaDb(c) => {
                let won = sqlx::query(sql).bind(run).execute(&mut **c).await;
                won.map(|done| done.rows_affected())
            }
        }
        .unwrap()
    }
}

struct Stage {
    store: Arc<dyn Store>,
    mint: Mint,
    term: Term,
    pool: Pool,
}

impl Stage {
    async fn number(&self, sql: &'static str) -> i64 {
        match &self.pool {
            Pool::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
            Pool::MariaDb(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
        }
        .unwrap()
    }

    async fn until(&self, query: &'static str, fact: impl Fn(i64) -> bool) {
        let holds = within(SOON, async {
            while !fact(self.number(query).await) {
                pause(Duration::from_millis(5)).await;
            }
        });
        assert!(holds.await.is_some(), "waited in vain: {query}");
    }

    /// A task whose only occurrence is planned ahead of its instant.
    async fn planned(&self, name: &str) -> (Task, RunId) {
        let now = self.store.leader().await.unwrap().now;
        let due = now.plus(AHEAD);
        let spec = serde_json::json!({
            "name": name, "schedule": format!("at {due}"), "handler": {"native": "x"}
        });
        let spec: TaskSpec = serde_json::from_value(spec).unwrap();
        let edit = Edit {
            upserts: vec![place::create(self.mint.task(now), spec, Some(due), now)],
            ..Edit::default()
        };
        let made = self.store.edit(somebody(), &edit, now).await.unwrap();
        assert!(made.is_applied());
        let task = self.named(name).await;
        let limits = ScanLimits {
            default: 10,
            rooms: Default::default(),
        };
        let scan = self.store.scan(due, &limits).await.unwrap();
        let run = attempt::occurrence(self.mint.runs(now, 1)[0], &task, due, self.term.epoch);
        let id = run.id;
        let firing = Firing {
            edits: scan.edits,
            at: now,
            consumed: vec![scan.rows[0].key.clone()],
            runs: vec![run],
            outbox: Some(OutboxEntry {
                id: self.mint.outbox(now),
                runs: vec![(id, 1)],
            }),
            epoch: self.term.epoch,
            ..Firing::default()
        };
        let fired = self.store.fire(&self.term, &firing).await.unwrap();
        assert_eq!(fired, Fired::Applied);
        (task, id)
    }

    async fn named(&self, name: &str) -> Task {
        let names = [name.to_owned()];
        self.store.tasks_by_name(&names).await.unwrap().remove(0)
    }

    /// Pauses a task whose run is won at its instant, between the pause's look at the clock and that at the runs. Answers
    /// the instant and where the rest begins; `None` if the instant came before the first look.
    async fn paused_beside_a_claim(&self, name: &str) -> Option<(Timestamp, Timestamp)> {
        let (task, run) = self.planned(name).await;
        let due = self.store.run(run).await.unwrap().unwrap().run.due_at;
        let spelling = self.pool.spelling();
        let mut winner = self.pool.winner().await;
        winner.say(spelling.lock).await;
        let pausing = spawn({
            let store = Arc::clone(&self.store);
            let mut spec = task.spec.clone();
            spec.paused = true;
            let rest = Upsert {
                id: task.id,
                expected: Some(task.version),
                spec,
                paused_from: None,
                due: DueChange::Pause {
                    offset: Duration::ZERO,
                },
            };
            let edit = Edit {
                upserts: vec![rest],
                ..Edit::default()
            };
            async move { store.edit(somebody(), &edit, due).await }
        });
        self.until(spelling.waits, |waiting| waiting == 1).await;
        let is_ahead = self.number(spelling.now).await < due.as_ms();
        self.until(spelling.now, |now| now >= due.as_ms()).await;
        assert_eq!(winner.win(spelling.win, run).await, 1);
        winner.say(spelling.unlock).await;
        assert!(pausing.await.unwrap().unwrap().is_applied());
        let from = self.named(name).await.paused_from.unwrap();
        is_ahead.then_some((due, from))
    }
}

async fn begins_behind_what_was_won(url: &str, pool: Pool) {
    let store: Arc<dyn Store> = open(url).await;
    let mint = Mint::new(Arc::new(Random::from_seed(1)));
    let term = lead(&*store, &mint).await;
    let stage = Stage {
        store,
        mint,
        term,
        pool,
    };
    for n in 0..TRIES {
        if let Some((due, from)) = stage.paused_beside_a_claim(&format!("t{n}")).await {
            assert!(due < from, "won at {due}, and rests from {from}");
            return;
        }
    }
    panic!("the instant came before the look in each of {TRIES} tries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rest_begins_behind_what_was_won_while_it_was_made() {
    let Some(server) = xtask::or_skip(Postgres::shared()) else {
        return;
    };
    let url = server.create_database("rests").unwrap();
    let pool = Pool::Postgres(PgPool::connect(&url).await.unwrap());
    begins_behind_what_was_won(&url, pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rest_begins_behind_what_was_won_on_mariadb() {
    let Some(server) = xtask::or_skip(MariaDb::shared()) else {
        return;
    };
    let url = server.create_database("rests").unwrap();
    let pool = Pool::MariaDb(MySqlPool::connect(&url).await.unwrap());
    begins_behind_what_was_won(&url, pool).await;
}
