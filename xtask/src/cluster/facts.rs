//! What the store says, asked from outside with plain SQL: who leads, what runs where, what became of every instant.
//! The one place of the test that knows tables. Reads only.

use std::path::Path;

use xtask::servers::Postgres;

use crate::field::Outcome;
use crate::field::psql::Psql;
use crate::field::rows::{cell, state};

const LEADER: &str = "SELECT epoch, node_name, COALESCE(since, 0) FROM leader";
/// A transaction of a node that has written the leader row and is open: its backend, its state.
const OPEN: &str = "SELECT a.pid, a.state FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid \
    WHERE l.locktype = 'relation' AND l.relation = 'leader'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted";
/// One row for each run, live or finished; `live` tells which.
const RUNS: &str = "SELECT r.id, t.name, r.due_at, r.state, r.reason, r.attempt, r.failures, r.losses, r.epoch, r.worker, \
    r.started_at, r.live, r.skipped FROM (\
    SELECT id, task, due_at, state, 0 AS reason, attempt, failures, losses, epoch, worker, started_at, 1 AS live, 0 AS skipped FROM run \
    UNION ALL SELECT id, task, due_at, state, reason, attempt, failures, losses, epoch, worker, started_at, 0, \
    COALESCE(skipped_count, 0) FROM run_history) r JOIN task t ON t.id = r.task ORDER BY t.name, r.due_at";
const ATTEMPTS: &str = "SELECT run, attempt, worker, reason FROM run_attempt";

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The term's number.
    pub epoch: i64,
    /// The node's name.
    pub node: String,
    /// When the term began, by the store's clock.
    pub since_ms: i64,
}

/// A transaction of a leader in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// The server's process that serves it.
    pub backend: i64,
    /// Whether the server waits for the node's next word.
    pub idle: bool,
}

/// What became of one instant.
#[derive(Debug, Clone)]
pub struct Run {
    /// The run.
    pub id: i64,
    /// Its task's name.
    pub task: String,
    /// The instant.
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
    /// The term that fired it.
    pub epoch: i64,
    /// Whether it has not ended.
    pub live: bool,
    /// For a skip: how many instants it stands for.
    pub skipped: i64,
}

impl Run {
    /// When its id was minted: 41 bits of milliseconds since 2020, above 12 random bits and 10 bits of number.
    pub const fn minted_ms(&self) -> i64 {
        (self.id >> 22) + 1_577_836_800_000
    }
}

/// An attempt that ended other than well.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Of which run.
    pub run: i64,
    /// Which attempt.
    pub attempt: i64,
    /// Who held it.
    pub worker: i64,
    /// Why it ended.
    pub reason: i64,
}

/// A view of the store.
pub struct Facts {
    psql: Psql,
}

impl Facts {
    /// Opens a view of its own.
    pub fn open(postgres: &Postgres, url: &str) -> Outcome<Self> {
        Ok(Self {
            psql: Psql::open(postgres, url)?,
        })
    }

    /// Who leads, or led last.
    pub fn leader(&mut self) -> Outcome<Leader> {
        let row = self.psql.rows(LEADER)?.into_iter().next();
        let row = row.ok_or("the leader row is gone")?;
        Ok(Leader {
            epoch: cell(&row, 0)?,
            node: row[1].clone(),
            since_ms: cell(&row, 2)?,
        })
    }

    /// A transaction of this node that has written the leader row and has not ended.
    pub fn open_leader_write(&mut self, node: &str) -> Outcome<Option<Open>> {
        let statement = format!("{OPEN} AND a.application_name = 'campanile:{node}'");
        let rows = self.psql.rows(&statement)?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        Ok(Some(Open {
            backend: cell(row, 0)?,
            idle: row[1].starts_with("idle in transaction"),
        }))
    }

    /// Whether a process of the server still serves somebody.
    pub fn backend_lives(&mut self, backend: i64) -> Outcome<bool> {
        let statement = format!("SELECT COUNT(*) FROM pg_stat_activity WHERE pid = {backend}");
        Ok(self.psql.number(&statement)? > 0)
    }

    /// The ids under which a node of this name is among the living.
    pub fn node_ids(&mut self, name: &str) -> Outcome<Vec<i64>> {
        let rows = self
            .psql
            .rows(&format!("SELECT id FROM node WHERE name = '{name}'"))?;
        rows.iter().map(|row| cell(row, 0)).collect()
    }

    /// How many runs a node holds.
    pub fn running_on(&mut self, node: i64) -> Outcome<i64> {
        let running = state::RUNNING;
        self.psql.number(&format!(
            "SELECT COUNT(*) FROM run WHERE state = {running} AND worker = {node}"
        ))
    }

    /// Runs that were due by `until_ms` and have not ended.
    pub fn unfinished(&mut self, until_ms: i64) -> Outcome<i64> {
        self.psql.number(&format!(
            "SELECT COUNT(*) FROM run WHERE due_at <= {until_ms}"
        ))
    }

    /// Runs that were due by `until_ms` and nobody has claimed.
    pub fn unclaimed(&mut self, until_ms: i64) -> Outcome<i64> {
        let running = state::RUNNING;
        self.psql.number(&format!(
            "SELECT COUNT(*) FROM run WHERE due_at <= {until_ms} AND state < {running}"
        ))
    }

    /// Due rows of tasks: none once all tasks are paused.
    pub fn due_rows(&mut self) -> Outcome<i64> {
        self.psql.number("SELECT COUNT(*) FROM due")
    }

    /// The runs that a term fired, by id.
    pub fn fired_in(&mut self, epoch: i64) -> Outcome<Vec<i64>> {
        let rows = self.psql.rows(&format!(
            "SELECT id FROM run WHERE epoch = {epoch} UNION SELECT id FROM run_history WHERE epoch = {epoch} ORDER BY id"
        ))?;
        rows.iter().map(|row| cell(row, 0)).collect()
    }

    /// What became of every instant.
    pub fn runs(&mut self) -> Outcome<Vec<Run>> {
        self.psql
            .rows(RUNS)?
            .iter()
            .map(|row| read_run(row))
            .collect()
    }

    /// Attempts that ended other than well.
    pub fn attempts(&mut self) -> Outcome<Vec<Attempt>> {
        let read = |row: &Vec<String>| {
            Ok(Attempt {
                run: cell(row, 0)?,
                attempt: cell(row, 1)?,
                worker: cell(row, 2)?,
                reason: cell(row, 3)?,
            })
        };
        self.psql.rows(ATTEMPTS)?.iter().map(read).collect()
    }

    /// Writes the tables that the verdict rests on to files, for whoever looks for the reason of a failure.
    pub fn dump(&mut self, folder: &Path) -> Outcome<()> {
        for (name, statement) in [("runs", RUNS), ("attempts", ATTEMPTS)] {
            let rows = self.psql.rows(statement)?;
            let lines: String = rows.iter().map(|row| row.join("\t") + "\n").collect();
            std::fs::write(folder.join(format!("{name}.tsv")), lines)?;
        }
        Ok(())
    }
}

fn read_run(row: &[String]) -> Outcome<Run> {
    Ok(Run {
        id: cell(row, 0)?,
        task: row[1].clone(),
        due_ms: cell(row, 2)?,
        state: cell(row, 3)?,
        reason: cell(row, 4)?,
        attempt: cell(row, 5)?,
        failures: cell(row, 6)?,
        losses: cell(row, 7)?,
        epoch: cell(row, 8)?,
        live: row.get(11).is_some_and(|live| live == "1"),
        skipped: cell(row, 12)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_when_it_was_minted() {
        let row: Vec<String> = [
            "4194304", "t", "5", "4", "0", "1", "0", "0", "9", "", "6", "0", "",
        ]
        .map(str::to_owned)
        .to_vec();
        let run = read_run(&row).unwrap();
        assert_eq!(run.minted_ms(), 1_577_836_800_001);
        assert!(!run.live);
    }
}
