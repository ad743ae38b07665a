//! The book of a store: what it says became of every run, asked from outside with plain SQL. The one place of the field
//! that knows tables; a session that broke with its server is opened again at the next question.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use campanile_core::id::{NodeId, RunId, TaskId};
use campanile_core::run::{self, Origin, Reason, State};
use campanile_core::task::QueueName;
use campanile_schedule::time::Timestamp;
use xtask::servers::Postgres;

use super::Outcome;
use super::session::{CELL_END, Session};

/// How long a question that must be answered is asked again.
const PATIENCE: Duration = Duration::from_secs(60);

/// One row for each run, live or finished.
const RUNS: &str = "SELECT r.id, r.task, COALESCE(t.name, ''), r.due_at, r.ready_at, r.origin, r.state, r.reason, \
    r.attempt, r.failures, r.losses, r.epoch, r.started_at, r.worker, r.priority, r.limited, r.deadline_at, \
    r.finished_at, r.skipped_last, r.skipped_count, r.live FROM (\
    SELECT id, task, due_at, ready_at, origin, state, 0 AS reason, attempt, failures, losses, epoch, started_at, worker, \
    priority, limited, deadline_at, 0 AS finished_at, 0 AS skipped_last, 0 AS skipped_count, 1 AS live FROM campanile_run AS run \
    UNION ALL SELECT id, task, due_at, ready_at, origin, state, reason, attempt, failures, losses, epoch, started_at, \
    worker, priority, 0, 0, finished_at, skipped_last, skipped_count, 0 FROM campanile_run_history) r \
    LEFT JOIN campanile_task t ON t.id = r.task ORDER BY 3, 4";
const ATTEMPTS: &str = "SELECT run, attempt, worker, reason FROM campanile_run_attempt";
const RESTS: &str = "SELECT id, name, paused_from FROM campanile_task WHERE paused_from IS NOT NULL AND live_name IS NOT NULL";
/// What must be empty once everything has ended.
const LEFTOVERS: [&str; 6] = ["run", "due", "outbox", "inbox", "permit", "blocked"];
/// What the column `limited` says of a run that waits its turn.
const IN_TURN: i64 = 2;

/// What became of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The row, as the core has it: what its invariants are asked about.
    pub row: run::Run,
    pub task: String,
    /// Whether it has not ended.
    pub live: bool,
}

impl Run {
    pub const fn id(&self) -> i64 {
        self.row.id.as_i64()
    }

    /// The instant; of a row for several skipped ones, the first.
    pub const fn due_ms(&self) -> i64 {
        self.row.due_at.as_ms()
    }

    /// Of a row for several skipped instants, the last; else its only one.
    pub fn last_ms(&self) -> i64 {
        let skipped = self.row.skipped.map(|(last, _)| last.as_ms());
        self.due_ms().max(skipped.unwrap_or(0))
    }

    /// How many instants it says that it stands for.
    pub fn count(&self) -> i64 {
        let skipped = self.row.skipped.map_or(1, |(_, count)| count.max(1));
        i64::try_from(skipped).unwrap_or(i64::MAX)
    }

    /// Whether a schedule made it; else somebody asked for it.
    pub fn is_scheduled(&self) -> bool {
        self.row.origin == Origin::Schedule
    }

    /// How it stands, and why it ended.
    pub const fn end(&self) -> (State, Reason) {
        (self.row.state, self.row.reason)
    }
}

/// An attempt that ended other than well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt {
    pub run: i64,
    pub attempt: i64,
    pub worker: i64,
    pub reason: Reason,
}

/// The way to the store.
#[derive(Debug, Clone)]
pub enum Way {
    /// A server and the database in it.
    Postgres(Arc<Postgres>, String),
    Sqlite(PathBuf),
}

impl Way {
    fn open(&self) -> Outcome<Session> {
        match self {
            Self::Postgres(server, url) => {
                let mut psql = server.psql(url);
                psql.args(["--field-separator", CELL_END]);
                Session::start(psql.env("PGAPPNAME", "field"), "\\echo")
            }
            Self::Sqlite(file) => {
                let mut sqlite = Command::new("sqlite3");
                sqlite.args(["-batch", "-bail", "-separator", CELL_END]);
                sqlite.args(["-cmd", ".timeout 20000"]).arg(file);
                Session::start(&mut sqlite, ".print")
            }
        }
    }
}

/// A view of the store.
pub struct Book {
    way: Way,
    session: Mutex<Option<Session>>,
}

impl Book {
    /// A view of its own.
    pub const fn new(way: Way) -> Self {
        Self {
            way,
            session: Mutex::new(None),
        }
    }

    /// The rows of one statement, asked once.
    pub fn rows(&self, statement: &str) -> Outcome<Vec<Vec<String>>> {
        let mut kept = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut session = match kept.take() {
            Some(session) => session,
            None => self.way.open()?,
        };
        let rows = session.rows(statement)?;
        *kept = Some(session);
        Ok(rows)
    }

    /// The same, asked again while the store does not answer.
    pub fn surely(&self, statement: &str) -> Outcome<Vec<Vec<String>>> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.rows(statement) {
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(500)),
                answer => return answer,
            }
        }
    }

    /// The first cell of the first row as a number.
    pub fn number(&self, statement: &str) -> Outcome<i64> {
        let rows = self.rows(statement)?;
        let row = rows.first().ok_or_else(|| format!("no row: {statement}"))?;
        cell(row, 0)
    }

    pub fn pairs(&self, statement: &str) -> Outcome<Vec<(i64, i64)>> {
        pairs(&self.rows(statement)?)
    }

    /// The same, asked again while the store does not answer.
    pub fn surely_pairs(&self, statement: &str) -> Outcome<Vec<(i64, i64)>> {
        pairs(&self.surely(statement)?)
    }

    /// The tasks that are paused, by id and name, and from which instant on each does.
    pub fn paused(&self) -> Outcome<Vec<(TaskId, String, i64)>> {
        let rows = self.surely(RESTS)?;
        let read = |row: &Vec<String>| {
            let id = TaskId::from_i64(cell(row, 0)?);
            Ok((id, row[1].clone(), cell(row, 2)?))
        };
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
                worker: cell(row, 2)?,
                reason: known(Reason::from_i64(cell(row, 3)?), row)?,
            })
        };
        self.surely(ATTEMPTS)?.iter().map(read).collect()
    }

    /// How many rows there are in the tables that must be empty once everything has ended.
    pub fn leftovers(&self) -> Outcome<Vec<(&'static str, i64)>> {
        let counts = LEFTOVERS.map(|table| format!("(SELECT COUNT(*) FROM campanile_{table})"));
        let rows = self.rows(&format!("SELECT {}", counts.join(", ")))?;
        let row = rows.first().ok_or("no row of counts")?;
        let named = LEFTOVERS.iter().enumerate();
        named
            .map(|(at, table)| Ok((*table, cell(row, at)?)))
            .collect()
    }

    /// Whether nothing is left in them.
    pub fn is_drained(&self) -> bool {
        let left = self.leftovers().unwrap_or_default();
        !left.is_empty() && left.iter().all(|(_, count)| *count == 0)
    }
}

/// A number in a row; nothing (NULL) is 0.
pub fn cell(row: &[String], at: usize) -> Outcome<i64> {
    let text = row.get(at).ok_or_else(|| format!("a row of {row:?}"))?;
    if text.is_empty() {
        return Ok(0);
    }
    Ok(text.parse()?)
}

fn pairs(rows: &[Vec<String>]) -> Outcome<Vec<(i64, i64)>> {
    let pair = |row: &Vec<String>| Ok((cell(row, 0)?, cell(row, 1)?));
    rows.iter().map(pair).collect()
}

fn known<T>(value: Option<T>, row: &[String]) -> Outcome<T> {
    value.ok_or_else(|| format!("an unknown number in {row:?}").into())
}

fn read_run(row: &[String]) -> Outcome<Run> {
    let number = |at: usize| cell(row, at);
    let small = |at: usize| -> Outcome<u32> { Ok(u32::try_from(cell(row, at)?)?) };
    // Nothing happens at 1970, and no id is 0.
    let instant = |at: usize| -> Outcome<Option<Timestamp>> {
        let ms = cell(row, at)?;
        Ok((ms != 0).then(|| Timestamp::from_ms(ms)))
    };
    let skipped = instant(18)?.zip(u64::try_from(number(19)?).ok());
    let run = run::Run {
        id: RunId::from_i64(number(0)?),
        task: Some(number(1)?).filter(|id| *id != 0).map(TaskId::from_i64),
        origin: known(Origin::from_i64(number(5)?), row)?,
        due_at: Timestamp::from_ms(number(3)?),
        ready_at: Timestamp::from_ms(number(4)?),
        queue: QueueName::default(),
        priority: u8::try_from(number(14)?)?,
        state: known(State::from_i64(number(6)?), row)?,
        reason: known(Reason::from_i64(number(7)?), row)?,
        attempt: small(8)?,
        failures: small(9)?,
        losses: small(10)?,
        epoch: number(11)?,
        queued_at: None,
        started_at: instant(12)?,
        finished_at: instant(17)?,
        worker: Some(number(13)?)
            .filter(|id| *id != 0)
            .map(NodeId::from_i64),
        claim: None,
        cancel: None,
        limited: number(15)? != 0,
        in_turn: number(15)? == IN_TURN,
        deadline_at: instant(16)?,
        error: None,
        skipped,
    };
    Ok(Run {
        row: run,
        task: row[2].clone(),
        live: number(20)? == 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> Option<(Vec<Book>, xtask::servers::TempDir)> {
        let server = xtask::or_skip(Postgres::shared())?;
        let folder = xtask::servers::TempDir::new("book").unwrap();
        let url = server.url();
        let books = [
            Way::Postgres(server, url),
            Way::Sqlite(folder.join("book.db")),
        ];
        Some((books.map(Book::new).into(), folder))
    }

    #[test]
    fn a_session_tells_answers_from_refusals_and_goes_on() {
        let Some((books, _folder)) = both() else {
            return;
        };
        for book in books {
            let rows = book.rows("SELECT 1, NULL, 'a b' UNION ALL SELECT 2, 'x', 'y' ORDER BY 1");
            assert_eq!(rows.unwrap(), [["1", "", "a b"], ["2", "x", "y"]]);
            let refusal = book.rows("SELECT oddity").unwrap_err().to_string();
            assert!(refusal.contains("column"), "{refusal}");
            assert_eq!(book.number("SELECT 7").unwrap(), 7);
            assert!(book.rows("SELECT 1 WHERE 1 = 2").unwrap().is_empty());
        }
    }

    #[test]
    fn a_row_is_read_and_a_short_one_refused() {
        let row = "4194304 7 t 5 5 1 7 6 1 0 0 9   4 0  8 8 4 0";
        let row: Vec<String> = row.split(' ').map(str::to_owned).collect();
        let run = read_run(&row).unwrap();
        assert_eq!((run.id(), run.last_ms(), run.count()), (4_194_304, 8, 4));
        assert_eq!(run.row.id.minted_at().as_ms(), 1_577_836_800_001);
        assert_eq!(run.end(), (State::Skipped, Reason::Misfire));
        assert_eq!((run.row.started_at, run.row.worker), (None, None));
        assert!(!run.live && run.is_scheduled());
        assert!(read_run(&row[..5]).is_err());
    }
}
