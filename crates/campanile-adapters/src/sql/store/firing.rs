//! How due rows become runs: scanning them, and the one transaction that consumes them and inserts what they stand for.

use std::collections::HashMap;
use std::sync::PoisonError;

use campanile::failpoint::{self, Failpoint};
use campanile::id::RunId;
use campanile::port::store::Error;
use campanile::protocol::work::{DueKey, Fired, Firing, Owner, ScanLimits, Waiting};
use campanile::run::{Origin, Run};
use campanile_schedule::time::Timestamp;

use super::super::connection::{Tx, Verdict};
use super::super::dialect::Dialect;
use super::super::error::Failure;
use super::super::outbox;
use super::super::pen::LeaderTx;
use super::super::statement::{Statement, Text};
use super::super::value::{Arg, Row, Table};
use super::Store;
use super::rows::{IN_TURN, live_run};

/// Queues that one scan statement names.
pub(super) const SCAN_QUEUES_MAX: usize = 50;
/// Rows that one statement inserts.
pub(super) const INSERT_ROWS_MAX: usize = 2_000;

/// Runs that still wait, with what they carry of their own.
static WAITING: Statement = Statement::new(concat!(
    "SELECT ", live_run!(), ", run_spec.run, run_spec.handler, run_spec.payload, run_spec.rules FROM @runs(r int) AS v
     JOIN run ON run.id = v.r LEFT JOIN run_spec ON run_spec.run = run.id WHERE run.state IN (1, 2)",
));

/// Removes due rows: whoever removes them fires them.
static CONSUME: Statement = Statement::new(
    "DELETE FROM due WHERE (queue, at, owner, n) IN (SELECT q, t, o, k FROM @rows(q int, t int, o int, k int) AS v)",
);

/// New runs, waiting.
static INSERT_RUNS: Statement = Statement::new(
    "INSERT INTO run (id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch, state,
     cancel_requested, limited, deadline_at)
     SELECT id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch, 1, 0, limited, deadline_at
     FROM @runs(id int, task int, origin int, due_at int, ready_at int, queue int, priority int, attempt int,
     failures int, losses int, epoch int, limited int, deadline_at int) AS v",
);

/// The same, of tasks that live, or of none: nobody asks for a run of a task that is gone.
static INSERT_REQUESTS: Statement = Statement::new(
    "INSERT INTO run (id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch, state,
     cancel_requested, limited, deadline_at)
     SELECT id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch, 1, 0, limited, deadline_at
     FROM @runs(id int, task int, origin int, due_at int, ready_at int, queue int, priority int, attempt int,
     failures int, losses int, epoch int, limited int, deadline_at int) AS v
     WHERE v.task = 0 OR EXISTS (SELECT 1 FROM task WHERE task.id = v.task AND task.live_name IS NOT NULL)",
);

/// The term in which waiting runs were fired by their timers.
static STAMP: Statement = Statement::new(
    "UPDATE run SET epoch = :epoch FROM @runs(r int) AS v WHERE run.id = v.r AND run.state IN (1, 2)",
);

/// Occurrences that do not run. One that history has an answer for is left as it is.
static INSERT_SKIPS: Statement = Statement::new(
    "INSERT INTO run_history (id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch,
     state, cancel_requested, reason, finished_at, skipped_last, skipped_count, dedup)
     SELECT id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch, 7, 0, reason, ended,
     last, many, dedup
     FROM @runs(id int, task int, origin int, due_at int, ready_at int, queue int, priority int, attempt int,
     failures int, losses int, epoch int, limited int, deadline_at int, reason int, ended int, last int, many int,
     dedup int) AS v WHERE true ON CONFLICT (task, due_at, dedup) DO NOTHING",
);

/// What the leader has to publish.
static PUT_OUTBOX: Statement =
    Statement::new("INSERT INTO outbox (id, at, runs) VALUES (:id, @now, :runs)");

/// Next occurrences and timers that are new. A timer that is there already serves as well.
static PUT_DUE: Statement = Statement::new(
    "INSERT INTO due (queue, at, owner, n) SELECT q, t, o, k FROM @rows(q int, t int, o int, k int) AS v
     WHERE true ON CONFLICT (queue, at, owner, n) DO NOTHING",
);

/// One statement that takes each queue's earliest due rows. Its text depends on how many queues there are, not on
/// which.
pub(super) fn scan_text(
    queues: &[(i64, usize)],
    until: Timestamp,
    dialect: Dialect,
) -> (Text, Vec<(&'static str, Arg)>) {
    let part = |at: usize| {
        format!(
            "SELECT * FROM (SELECT due.queue, at, owner, n FROM due WHERE due.queue = \
             (SELECT q FROM @rooms(i int, q int, room int) AS v WHERE i = {at}) AND at <= :until \
             ORDER BY at, owner, n LIMIT (SELECT room FROM @rooms(i int, q int, room int) AS v WHERE i = {at})) AS q{at}"
        )
    };
    let parts: Vec<String> = (0..queues.len()).map(part).collect();
    let rooms = Table::of((0..queues.len()).map(|i| i64::try_from(i).unwrap_or(0)))
        .ints(queues.iter().map(|(id, _)| *id))
        .ints(
            queues
                .iter()
                .map(|(_, room)| i64::try_from(*room).unwrap_or(i64::MAX)),
        );
    let args = vec![("until", until.as_ms().into()), ("rooms", rooms.into())];
    (Text::render(&parts.join(" UNION ALL "), dialect), args)
}

impl Store {
    /// The queues to scan and how many rows each may give.
    pub(super) fn rooms(&self, limits: &ScanLimits) -> Vec<(i64, usize)> {
        let known = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        let mut rooms: Vec<(i64, usize)> = known
            .names
            .iter()
            .map(|(id, name)| {
                (
                    *id,
                    limits.rooms.get(name).copied().unwrap_or(limits.default),
                )
            })
            .filter(|(_, room)| *room > 0)
            .collect();
        rooms.sort_unstable();
        rooms
    }

    pub(super) fn due_of(&self, row: &mut Row) -> Result<DueKey, Error> {
        const TABLE: &str = "due";
        let queue = self.queue_name(row.int(TABLE)?)?;
        let at = Timestamp::from_ms(row.int(TABLE)?);
        let owner = row.int(TABLE)?;
        Ok(DueKey {
            queue,
            at,
            owner: match row.int(TABLE)? {
                0 => Owner::Task(campanile::id::TaskId::from_i64(owner)),
                _ => Owner::Run(RunId::from_i64(owner)),
            },
        })
    }

    pub(super) async fn waiting_runs(
        &self,
        mut ids: Vec<RunId>,
    ) -> Result<HashMap<RunId, Waiting>, Error> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        ids.sort_unstable();
        let args = [("runs", Table::of(ids.iter().map(|id| id.as_i64())).into())];
        let rows = self.pools.leader_reader.rows(&WAITING, &args).await?;
        let waiting = self.waiting_of(rows).await?;
        Ok(waiting.into_iter().map(|w| (w.run.id, w)).collect())
    }

    pub(super) async fn fire_in(
        &self,
        tx: &mut LeaderTx,
        firing: &Firing,
    ) -> Result<Verdict<Fired>, Failure> {
        if !firing.consumed.is_empty() {
            let args = [("rows", self.due_table(&firing.consumed)?.into())];
            let consumed = tx.write(&CONSUME, &args).await?;
            if usize::try_from(consumed).ok() != Some(firing.consumed.len()) {
                return Ok(Verdict::Rollback(Fired::Edited));
            }
        }
        failpoint::reach(Failpoint::FireConsumed);
        self.put_due(tx, &firing.advanced).await?;
        self.insert_runs(tx, &firing.runs).await?;
        self.insert_skips(tx, &firing.skipped).await?;
        let mut timers: Vec<i64> = firing
            .consumed
            .iter()
            .filter_map(|key| match key.owner {
                Owner::Run(id) => Some(id.as_i64()),
                Owner::Task(_) => None,
            })
            .collect();
        if !timers.is_empty() {
            timers.sort_unstable();
            let args = [
                ("epoch", firing.epoch.into()),
                ("runs", Table::of(timers).into()),
            ];
            tx.write(&STAMP, &args).await?;
        }
        failpoint::reach(Failpoint::FireInserted);
        if !self.fire_permits(tx, firing).await? {
            return Ok(Verdict::Rollback(Fired::Edited));
        }
        if let Some(entry) = &firing.outbox {
            let args = [
                ("id", entry.id.as_i64().into()),
                ("runs", outbox::encode(&entry.runs).into()),
            ];
            tx.write(&PUT_OUTBOX, &args).await?;
        }
        Ok(Verdict::Commit(Fired::Applied))
    }

    fn due_table(&self, keys: &[DueKey]) -> Result<Table, Error> {
        let queues = keys.iter().map(|key| self.queue_id(&key.queue));
        let owners = keys.iter().map(|key| match key.owner {
            Owner::Task(id) => (id.as_i64(), 0),
            Owner::Run(id) => (id.as_i64(), 1),
        });
        Ok(Table::of(queues.collect::<Result<Vec<i64>, _>>()?)
            .ints(keys.iter().map(|key| key.at.as_ms()))
            .ints(owners.clone().map(|(id, _)| id))
            .ints(owners.map(|(_, n)| n)))
    }

    pub(super) async fn put_due(&self, tx: &mut Tx, keys: &[DueKey]) -> Result<(), Failure> {
        for chunk in keys.chunks(INSERT_ROWS_MAX) {
            let args = [("rows", self.due_table(chunk)?.into())];
            tx.write(&PUT_DUE, &args).await?;
        }
        Ok(())
    }

    pub(super) async fn insert_runs(&self, tx: &mut Tx, runs: &[Run]) -> Result<(), Failure> {
        for chunk in runs.chunks(INSERT_ROWS_MAX) {
            let args = [("runs", self.run_table(chunk)?.into())];
            tx.write(&INSERT_RUNS, &args).await?;
        }
        Ok(())
    }

    /// New runs that somebody asks for. Answers whether all of their tasks live.
    pub(super) async fn insert_requests(&self, tx: &mut Tx, runs: &[Run]) -> Result<bool, Failure> {
        for chunk in runs.chunks(INSERT_ROWS_MAX) {
            let args = [("runs", self.run_table(chunk)?.into())];
            let inserted = tx.write(&INSERT_REQUESTS, &args).await?;
            if usize::try_from(inserted).ok() != Some(chunk.len()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) async fn insert_skips(&self, tx: &mut Tx, skipped: &[Run]) -> Result<(), Failure> {
        for chunk in skipped.chunks(INSERT_ROWS_MAX) {
            let table = self
                .run_table(chunk)?
                .ints(chunk.iter().map(|run| run.reason.as_i64()))
                .ints(
                    chunk
                        .iter()
                        .map(|run| run.finished_at.unwrap_or(run.due_at).as_ms()),
                )
                .ints(
                    chunk
                        .iter()
                        .map(|run| run.skipped.map(|(last, _)| last.as_ms())),
                )
                .ints(
                    chunk
                        .iter()
                        .map(|run| run.skipped.and_then(|(_, count)| i64::try_from(count).ok())),
                )
                .ints(chunk.iter().map(|run| match run.origin {
                    Origin::Schedule => 0,
                    Origin::Request | Origin::Backfill => run.id.as_i64(),
                }));
            tx.write(&INSERT_SKIPS, &[("runs", table.into())]).await?;
        }
        Ok(())
    }

    fn run_table(&self, runs: &[Run]) -> Result<Table, Error> {
        let queues = runs.iter().map(|run| self.queue_id(&run.queue));
        Ok(Table::of(runs.iter().map(|run| run.id.as_i64()))
            .ints(runs.iter().map(|run| run.task.map_or(0, |id| id.as_i64())))
            .ints(runs.iter().map(|run| run.origin.as_i64()))
            .ints(runs.iter().map(|run| run.due_at.as_ms()))
            .ints(runs.iter().map(|run| run.ready_at.as_ms()))
            .ints(queues.collect::<Result<Vec<i64>, _>>()?)
            .ints(runs.iter().map(|run| i64::from(run.priority)))
            .ints(runs.iter().map(|run| i64::from(run.attempt)))
            .ints(runs.iter().map(|run| i64::from(run.failures)))
            .ints(runs.iter().map(|run| i64::from(run.losses)))
            .ints(runs.iter().map(|run| run.epoch))
            .ints(runs.iter().map(|run| match run.in_turn {
                true => IN_TURN,
                false => i64::from(run.limited),
            }))
            .ints(runs.iter().map(|run| run.deadline_at.map(Timestamp::as_ms))))
    }
}
