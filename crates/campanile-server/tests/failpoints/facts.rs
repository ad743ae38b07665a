//! What the store says, asked from outside with plain SQL on a connection of its own. The one place of these tests that
//! knows tables.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

/// The row of history that is old enough to be pruned.
pub const OLD_RUN: i64 = 1;

/// `run.state` as the store keeps it.
pub mod state {
    /// Ended well.
    pub const SUCCEEDED: i64 = 4;
    /// Ended badly.
    pub const FAILED: i64 = 5;
    /// Ended by somebody.
    pub const CANCELLED: i64 = 6;
    /// Did not run.
    pub const SKIPPED: i64 = 7;
}

/// Every run, live or ended, as one text for each.
const RUNS: &str = "SELECT '' || r.id || '|' || COALESCE(t.name, '') || '|' || r.due_at || '|' || r.origin || '|' || r.state || '|' \
    || r.reason || '|' || r.attempt || '|' || r.failures || '|' || r.losses || '|' || r.live || '|' || r.last || '|' \
    || r.many || '|' || (SELECT COUNT(*) FROM run_attempt a WHERE a.run = r.id) FROM (\
    SELECT id, task, due_at, origin, state, 0 AS reason, attempt, failures, losses, 1 AS live, 0 AS last, 0 AS many FROM run \
    UNION ALL SELECT id, task, due_at, origin, state, reason, attempt, failures, losses, 0, COALESCE(skipped_last, 0), \
    COALESCE(skipped_count, 0) FROM run_history) r LEFT JOIN task t ON t.id = r.task ORDER BY r.id";
/// History, every column of it, but for what [`Facts::disturb`] leaves there to be removed or taken back.
const ENDED: &str = "SELECT '' || id || '|' || task || '|' || due_at || '|' || ready_at || '|' || epoch || '|' \
    || COALESCE(queued_at, 0) || '|' || COALESCE(started_at, 0) || '|' || COALESCE(worker, 0) || '|' || COALESCE(claim, 0) \
    || '|' || finished_at || '|' || COALESCE(skipped_last, 0) || '|' || COALESCE(skipped_count, 0) || '|' || dedup || '|' \
    || queue || '|' || attempt || '|' || failures || '|' || losses || '|' || origin || '|' || priority || '|' || state \
    || '|' || reason || '|' || cancel_requested || '|' || COALESCE(error, '') FROM run_history WHERE id > 1 \
    AND id < 9000000000000000000";
/// What must be gone once everything has ended, and how many rows of it there are.
const LEFT: &str = "SELECT kind || ' ' || n FROM (\
    SELECT 'live runs' AS kind, COUNT(*) AS n FROM run UNION ALL SELECT 'due rows', COUNT(*) FROM due \
    UNION ALL SELECT 'outbox rows', COUNT(*) FROM outbox UNION ALL SELECT 'permits', COUNT(*) FROM permit \
    UNION ALL SELECT 'parked runs', COUNT(*) FROM parked) AS counts WHERE n > 0";

/// A run as the store has it.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its id.
    pub id: i64,
    /// Its task's name.
    pub task: String,
    /// Its instant.
    pub due_ms: i64,
    /// Whether a schedule made it (else a request).
    pub scheduled: bool,
    /// How it stands.
    pub state: i64,
    /// Why it ended.
    pub reason: i64,
    /// Its last attempt.
    pub attempt: i64,
    /// Attempts that failed.
    pub failures: i64,
    /// Attempts that died with their worker.
    pub losses: i64,
    /// Whether it has not ended.
    pub live: bool,
    /// For a skip of several: the last instant, and how many.
    pub skipped: (i64, i64),
    /// Attempts that the store has as ended other than well.
    pub noted: i64,
}

/// A view of the store.
pub enum Facts {
    /// A SQLite file.
    Sqlite(SqliteConnection),
    /// A PostgreSQL database.
    Postgres(PgConnection),
}

impl Facts {
    /// Opens a view of its own.
    pub async fn open(url: &str) -> Self {
        if let Some(file) = url.strip_prefix("sqlite:") {
            let options = SqliteConnectOptions::new()
                .filename(file)
                .busy_timeout(std::time::Duration::from_secs(20));
            return Self::Sqlite(SqliteConnection::connect_with(&options).await.unwrap());
        }
        Self::Postgres(PgConnection::connect(url).await.unwrap())
    }

    /// The rows of a statement that answers one text.
    pub async fn texts(&mut self, statement: &str) -> Vec<String> {
        let statement = AssertSqlSafe(statement.to_owned());
        match self {
            Self::Sqlite(c) => sqlx::query_scalar(statement).fetch_all(c).await.unwrap(),
            Self::Postgres(c) => sqlx::query_scalar(statement).fetch_all(c).await.unwrap(),
        }
    }

    /// A number.
    pub async fn number(&mut self, statement: &str) -> i64 {
        let text = self.texts(&format!("SELECT '' || ({statement})")).await;
        text.first().and_then(|n| n.parse().ok()).unwrap_or(-1)
    }

    /// Every run.
    pub async fn runs(&mut self) -> Vec<Run> {
        let rows = self.texts(RUNS).await;
        let runs = rows.iter().map(|row| read_run(row));
        runs.filter(|run| run.id != OLD_RUN).collect()
    }

    /// History, row by row.
    pub async fn ended(&mut self) -> Vec<String> {
        self.texts(ENDED).await
    }

    /// What is left of what must be gone.
    pub async fn left(&mut self) -> Vec<String> {
        self.texts(LEFT).await
    }

    /// How every live run stands, for whoever looks for the reason of a failure.
    pub async fn state(&mut self) -> Vec<String> {
        let runs = self.runs().await.into_iter().filter(|run| run.live);
        runs.map(|r| {
            format!(
                "{} {} at {} is in state {}, attempt {}",
                r.id, r.task, r.due_ms, r.state, r.attempt
            )
        })
        .collect()
    }

    /// From which instant on a paused task rests: what became of those is recorded when the rest ends.
    pub async fn rests_from(&mut self, task: &str) -> i64 {
        let statement =
            format!("SELECT COALESCE(MAX(rests_from), 0) FROM task WHERE live_name = '{task}'");
        self.number(&statement).await
    }

    /// The instant of the due rows of the tasks that are due long after the scene, or the later of the two.
    pub async fn far_due(&mut self) -> i64 {
        let statement = "SELECT MAX(at) FROM due WHERE n = 0 AND owner IN (SELECT id FROM task WHERE name IN ('far', 'ahead'))";
        self.number(statement).await
    }

    /// Leaves behind what a leader must find and put right: a permit of a run that ended, a row of history that is too
    /// old, a due row by other zone rules than the program's, what a clock that was ahead has planned, a task that was deleted
    /// long ago and is still looked after, a run whose end the store refuses, because history has its row already.
    pub async fn disturb(&mut self) {
        for statement in [
            "INSERT INTO permit (limit_key, n, run) VALUES ('queue:ghost', 0, 1)",
            "INSERT INTO run_history (id, task, due_at, ready_at, epoch, finished_at, dedup, queue, attempt, failures, \
             losses, origin, priority, state, reason, cancel_requested) VALUES (1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 2, 4, 4, 0, 0)",
            "UPDATE due SET at = at + 600000 WHERE n = 0 AND owner = (SELECT id FROM task WHERE name = 'far')",
            "DELETE FROM setting WHERE name = 'zone_rules'",
            "INSERT INTO run_history (id, task, due_at, ready_at, epoch, finished_at, dedup, queue, attempt, failures, \
             losses, origin, priority, state, reason, cancel_requested, skipped_last, skipped_count) \
             SELECT 9000000000000000000, owner, at, at, 1, at, 0, queue, 1, 0, 0, 1, 4, 7, 6, 0, at, 1 FROM due \
             WHERE n = 0 AND owner = (SELECT id FROM task WHERE name = 'ahead')",
            "UPDATE due SET at = at + 3600000 WHERE n = 0 AND owner = (SELECT id FROM task WHERE name = 'ahead')",
            "INSERT INTO deletion (task, at) VALUES (1, 1)",
            "INSERT INTO run_history (id, task, due_at, ready_at, epoch, finished_at, dedup, queue, attempt, failures, \
             losses, origin, priority, state, reason, cancel_requested) SELECT id, task, due_at, ready_at, epoch, due_at, id, \
             queue, attempt, failures, losses, origin, priority, 4, 4, 0 FROM run \
             WHERE task = (SELECT id FROM task WHERE name = 'refused')",
            "UPDATE due SET at = 1 WHERE n = 1 AND owner = (SELECT run.id FROM run JOIN task ON task.id = run.task \
             WHERE name = 'refused')",
            "UPDATE run SET ready_at = 1 WHERE task = (SELECT id FROM task WHERE name = 'refused')",
        ] {
            let changed = match self {
                Self::Sqlite(c) => sqlx::raw_sql(statement)
                    .execute(c)
                    .await
                    .unwrap()
                    .rows_affected(),
                Self::Postgres(c) => sqlx::raw_sql(statement)
                    .execute(c)
                    .await
                    .unwrap()
                    .rows_affected(),
            };
            assert_eq!(changed, 1, "{statement}");
        }
    }
}

fn read_run(row: &str) -> Run {
    let cells: Vec<&str> = row.split('|').collect();
    let number = |at: usize| cells[at].parse::<i64>().unwrap();
    Run {
        id: number(0),
        task: cells[1].to_owned(),
        due_ms: number(2),
        scheduled: number(3) == 1,
        state: number(4),
        reason: number(5),
        attempt: number(6),
        failures: number(7),
        losses: number(8),
        live: number(9) == 1,
        skipped: (number(10), number(11)),
        noted: number(12),
    }
}

/// The number of an id as headers spell it: Crockford's base 32.
pub fn id_of(spelled: &str) -> Option<i64> {
    const DIGITS: &str = "0123456789abcdefghjkmnpqrstvwxyz";
    spelled.chars().try_fold(0_i64, |number, digit| {
        let value = i64::try_from(DIGITS.find(digit)?).ok()?;
        number.checked_mul(32)?.checked_add(value)
    })
}
