//! What the store says, asked from outside with plain SQL through its own shell (`psql`, `sqlite3`): one process for each
//! question, so that a server that dies takes no session of ours with it. Knows tables; writes nothing.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use xtask::servers::Postgres;

use crate::field::Outcome;
use crate::field::rows::cell;

/// Between two cells of a row: a character that no column of ours holds.
const CELL_END: &str = "\u{1f}";
/// How long a question that must be answered is asked again.
const PATIENCE: Duration = Duration::from_secs(60);

/// One row for each run, live or finished.
const RUNS: &str = "SELECT r.id, COALESCE(t.name, ''), r.due_at, r.state, r.reason, r.attempt, r.failures, r.losses, \
    r.origin, r.live, r.skipped_last, r.skipped_count, r.finished_at FROM (\
    SELECT id, task, due_at, state, 0 AS reason, attempt, failures, losses, origin, 1 AS live, 0 AS skipped_last, \
    0 AS skipped_count, 0 AS finished_at FROM run \
    UNION ALL SELECT id, task, due_at, state, reason, attempt, failures, losses, origin, 0, COALESCE(skipped_last, 0), \
    COALESCE(skipped_count, 0), finished_at FROM run_history) r LEFT JOIN task t ON t.id = r.task ORDER BY 2, 3";
const ATTEMPTS: &str = "SELECT run, attempt, reason FROM run_attempt";
/// The present term, and how many instants are in the name of each that is over: one statement, so that it sees one
/// moment. The rows of rests and changes are the API's, of no term.
const SEALED: &str = "SELECT l.epoch, 0 FROM leader l UNION ALL SELECT r.epoch, COUNT(*) FROM leader l, \
    (SELECT epoch, origin, 0 AS reason FROM run UNION ALL SELECT epoch, origin, reason FROM run_history) r \
    WHERE r.epoch > 0 AND r.epoch < l.epoch AND r.origin = 1 AND r.reason NOT IN (15, 16, 17) GROUP BY r.epoch";
/// The same of every term.
const FIRED: &str = "SELECT r.epoch, COUNT(*) FROM (SELECT epoch, origin, 0 AS reason FROM run \
    UNION ALL SELECT epoch, origin, reason FROM run_history) r \
    WHERE r.epoch > 0 AND r.origin = 1 AND r.reason NOT IN (15, 16, 17) GROUP BY r.epoch";
/// What must be empty once everything has ended.
const LEFTOVERS: [&str; 5] = ["run", "due", "outbox", "permit", "parked"];

/// What became of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The run.
    pub id: i64,
    /// Its task's name.
    pub task: String,
    /// The instant; of a row for several skipped ones, the first.
    pub due_ms: i64,
    /// How it stands.
    pub state: i64,
    /// Why it ended.
    pub reason: i64,
    /// Which attempt was the last.
    pub attempt: i64,
    /// Attempts that failed.
    pub failures: i64,
    /// Attempts that died with their worker.
    pub losses: i64,
    /// 1 = a schedule, 2 = a request.
    pub origin: i64,
    /// Whether it has not ended.
    pub live: bool,
    /// Of a row for several skipped instants, the last; else 0.
    pub skipped_last_ms: i64,
    /// How many instants it says that it stands for; 0 = one.
    pub skipped: i64,
    /// When it ended.
    pub finished_ms: i64,
}

/// An attempt that ended other than well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt {
    /// Of which run.
    pub run: i64,
    /// Which attempt.
    pub attempt: i64,
    /// Why it ended.
    pub reason: i64,
}

/// The way to the store.
#[derive(Debug)]
pub enum Books<'a> {
    /// A server and the database in it.
    Postgres(&'a Postgres, String),
    /// A file.
    Sqlite(PathBuf),
}

impl Books<'_> {
    /// The rows of one statement, asked once.
    pub fn rows(&self, statement: &str) -> Outcome<Vec<Vec<String>>> {
        let output = self.shell(statement).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{statement}: {said}").into());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let cells = |line: &str| line.split(CELL_END).map(str::to_owned).collect();
        Ok(text.lines().map(cells).collect())
    }

    fn shell(&self, statement: &str) -> Command {
        match self {
            Self::Postgres(server, url) => {
                let mut psql = server.psql(url);
                psql.args(["--field-separator", CELL_END, "--command", statement]);
                psql.env("PGAPPNAME", "chaos-test");
                psql
            }
            Self::Sqlite(file) => {
                let mut sqlite = Command::new("sqlite3");
                sqlite.args(["-batch", "-separator", CELL_END, "-cmd", ".timeout 8000"]);
                sqlite.arg(file).arg(statement);
                sqlite
            }
        }
    }

    /// The rows of one statement, asked again while the store does not answer.
    pub fn surely(&self, statement: &str) -> Outcome<Vec<Vec<String>>> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.rows(statement) {
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(500)),
                answer => return answer,
            }
        }
    }

    /// A number.
    pub fn number(&self, statement: &str) -> Outcome<i64> {
        let rows = self.rows(statement)?;
        let row = rows.first().ok_or_else(|| format!("no row: {statement}"))?;
        cell(row, 0)
    }

    /// From which instant on each task that is there rests.
    pub fn rests(&self) -> Outcome<Vec<(String, i64)>> {
        let rests = "SELECT name, rests_from FROM task WHERE rests_from IS NOT NULL AND live_name IS NOT NULL";
        let rows = self.surely(rests)?;
        let read = |row: &Vec<String>| Ok((row[0].clone(), cell(row, 1)?));
        rows.iter().map(read).collect()
    }

    /// What became of every run.
    pub fn runs(&self) -> Outcome<Vec<Run>> {
        let rows = self.surely(RUNS)?;
        rows.iter().map(|row| read_run(row)).collect()
    }

    /// Attempts that ended other than well.
    pub fn attempts(&self) -> Outcome<Vec<Attempt>> {
        let read = |row: &Vec<String>| {
            Ok(Attempt {
                run: cell(row, 0)?,
                attempt: cell(row, 1)?,
                reason: cell(row, 2)?,
            })
        };
        self.surely(ATTEMPTS)?.iter().map(read).collect()
    }

    /// The present term with 0, and every term that is over with the number of instants in its name.
    pub fn sealed(&self) -> Outcome<Vec<(i64, i64)>> {
        pairs(&self.rows(SEALED)?)
    }

    /// Every term with the number of instants in its name.
    pub fn fired(&self) -> Outcome<Vec<(i64, i64)>> {
        pairs(&self.surely(FIRED)?)
    }

    /// Rows in tables that must be empty once everything has ended.
    pub fn leftovers(&self) -> Outcome<Vec<(&'static str, i64)>> {
        let counts = LEFTOVERS.map(|table| format!("(SELECT COUNT(*) FROM {table})"));
        let rows = self.rows(&format!("SELECT {}", counts.join(", ")))?;
        let row = rows.first().ok_or("no row of counts")?;
        let named = LEFTOVERS.iter().enumerate();
        named
            .map(|(at, table)| Ok((*table, cell(row, at)?)))
            .collect()
    }
}

fn pairs(rows: &[Vec<String>]) -> Outcome<Vec<(i64, i64)>> {
    let pair = |row: &Vec<String>| Ok((cell(row, 0)?, cell(row, 1)?));
    rows.iter().map(pair).collect()
}

fn read_run(row: &[String]) -> Outcome<Run> {
    Ok(Run {
        id: cell(row, 0)?,
        task: row.get(1).cloned().unwrap_or_default(),
        due_ms: cell(row, 2)?,
        state: cell(row, 3)?,
        reason: cell(row, 4)?,
        attempt: cell(row, 5)?,
        failures: cell(row, 6)?,
        losses: cell(row, 7)?,
        origin: cell(row, 8)?,
        live: cell(row, 9)? == 1,
        skipped_last_ms: cell(row, 10)?,
        skipped: cell(row, 11)?,
        finished_ms: cell(row, 12)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_and_a_short_one_refused() {
        let row: Vec<String> = "9 t 5 7 13 0 0 0 1 0 8 4 6"
            .split(' ')
            .map(str::to_owned)
            .collect();
        let run = read_run(&row).unwrap();
        assert_eq!((run.id, run.skipped_last_ms, run.skipped), (9, 8, 4));
        assert!(!run.live);
        assert!(read_run(&row[..5]).is_err());
    }
}
