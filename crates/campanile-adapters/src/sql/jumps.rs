//! What was planned while the store's clock was ahead, over SQL: found by what it stands for, and taken back in one
//! transaction of the leader. What that is, is decided by [`campanile_core::decide::lead::jump`]; a run that somebody claims, or a
//! due row that moves, meanwhile makes the whole transaction be rolled back.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use campanile_core::decide::lead::jump::{Answered, MINTED_BEFORE, PutBack, TaskBack};
use campanile_core::failpoint::Failpoint;
use campanile_core::id::{RunId, TaskId};
use campanile_core::port::fire::{AheadStore, DueKey, Fired};
use campanile_core::port::lead::Term;
use campanile_core::port::store::Error;
use campanile_core::run::Run;
use campanile_core::{failpoint, limits};
use campanile_schedule::time::Timestamp;

use crate::sql::connection::{Tx, Verdict};
use crate::sql::error::Failure;
use crate::sql::pen::{Footing, LeaderTx, as_leader};
use crate::sql::points::PUT_BACK;
use crate::sql::rows::{ended_run, live_run};
use crate::sql::shared::put_settings;
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::tasks::DUE_OF;
use crate::sql::value::{Arg, Table};

/// Instants that one statement keeps.
const ANSWERED_ROWS_MAX: usize = 1_000;

/// Tasks with a row of their schedule beyond a moment. A walk over what was minted since shortly before it: where the
/// clock was never ahead, that is the last seconds.
static TASKS: Statement = Statement::new(
    "SELECT task FROM campanile_run WHERE id >= :first AND origin = 1 AND due_at > :beyond AND task > :after
     UNION SELECT task FROM campanile_run_history WHERE id >= :first AND origin = 1
     AND COALESCE(skipped_last, due_at) > :beyond AND task > :after ORDER BY 1 LIMIT :limit",
);

/// Live runs of these tasks' schedules beyond it, or that wait for a start beyond it.
static LIVE: Statement = Statement::new(concat!(
    "SELECT ",
    live_run!(),
    " FROM campanile_run AS run WHERE id >= :first AND origin = 1
     AND (due_at > :beyond OR (state IN (1, 2) AND attempt = 1 AND ready_at > :beyond))
     AND task IN (SELECT i FROM @ids(i int) AS v)",
));

/// The same in history.
static ENDED: Statement = Statement::new(concat!(
    "SELECT ",
    ended_run!(),
    " FROM campanile_run_history AS run_history WHERE id >= :first AND origin = 1 AND COALESCE(skipped_last, due_at) > :beyond
     AND task IN (SELECT i FROM @ids(i int) AS v)",
));

/// Forgets skips: their instants have not come.
static UNSKIP: Statement = Statement::new(
    "DELETE FROM campanile_run_history WHERE id IN (SELECT r FROM @runs(r int) AS v) AND state = 7 RETURNING id",
);

/// What hangs on them, where they were runs that were dropped.
static DROP_NOTES: [Statement; 3] = [
    Statement::new(
        "DELETE FROM campanile_run_attempt WHERE run IN (SELECT r FROM @runs(r int) AS v)",
    ),
    Statement::new("DELETE FROM campanile_run_log WHERE run IN (SELECT r FROM @runs(r int) AS v)"),
    Statement::new(
        "DELETE FROM campanile_run_chunk WHERE run IN (SELECT r FROM @runs(r int) AS v)",
    ),
];

/// Takes due rows from where they were seen.
static TAKE_DUE: Statement = Statement::new(
    "DELETE FROM campanile_due WHERE n = 0 AND (queue, at, owner) IN (SELECT q, t, o FROM @rows(q int, t int, o int) AS v)",
);

/// From where on tasks rest.
static REST_FROM: Statement = Statement::new(
    "UPDATE campanile_task AS task SET paused_from = v.t FROM @rows(i int, t int) AS v WHERE task.id = v.i AND task.paused_from > v.t",
);

/// Instants that have a row, and whose due rows have not come to them.
static ANSWER: Statement = Statement::new(
    "INSERT INTO campanile_answered (task, at) SELECT i, t FROM @rows(i int, t int) AS v
     WHERE true ON CONFLICT (task, at) DO NOTHING",
);

/// All of them.
static ANSWERED: Statement = Statement::new("SELECT task, at FROM campanile_answered");

/// Forgets those that have passed, of tasks whose due row is behind them and that do not rest from before.
static FORGET: Statement = Statement::new(
    "DELETE FROM campanile_answered AS answered WHERE at < :before
     AND NOT EXISTS (SELECT 1 FROM campanile_due AS due WHERE due.n = 0 AND due.owner = answered.task AND due.at <= answered.at)
     AND NOT EXISTS (SELECT 1 FROM campanile_task AS task WHERE task.id = answered.task AND task.paused_from <= answered.at)",
);

/// The smallest id of what may have been planned for moments beyond this one.
fn first_id(beyond: Timestamp) -> Arg {
    RunId::floor(beyond.minus(MINTED_BEFORE)).as_i64().into()
}

#[async_trait]
impl AheadStore for Store {
    async fn tasks_ahead(
        &self,
        beyond: Timestamp,
        after: Option<TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, Error> {
        let args = [
            ("first", first_id(beyond)),
            ("beyond", beyond.as_ms().into()),
            ("after", after.map_or(0, TaskId::as_i64).into()),
            ("limit", i64::try_from(limit).unwrap_or(i64::MAX).into()),
        ];
        let rows = self.pools.leader_reader.rows(&TASKS, &args).await?;
        rows.into_iter()
            .map(|mut row| Ok(TaskId::from_i64(row.int("run")?)))
            .collect()
    }

    async fn rows_ahead(&self, tasks: &[TaskId], beyond: Timestamp) -> Result<Vec<Run>, Error> {
        let ids = || Table::of(tasks.iter().map(|id| id.as_i64()));
        let args = [
            ("first", first_id(beyond)),
            ("beyond", beyond.as_ms().into()),
            ("ids", ids().into()),
        ];
        let pool = &self.pools.leader_reader;
        let mut runs = self.runs_of(pool.rows(&LIVE, &args).await?).await?;
        // One that ends between the two looks is in both: as it ended.
        let ended = self.runs_of(pool.rows(&ENDED, &args).await?).await?;
        let over: BTreeSet<RunId> = ended.iter().map(|run| run.id).collect();
        runs.retain(|run| !over.contains(&run.id));
        runs.extend(ended);
        Ok(runs)
    }

    async fn put_back(&self, term: &Term, back: &PutBack) -> Result<Fired, Error> {
        let mut keys: Vec<DueKey> = Vec::new();
        for (seen, next) in back.tasks.iter().filter_map(|t| t.due.clone()) {
            keys.extend(seen);
            keys.push(next);
        }
        self.intern(keys.iter().map(|key| &key.queue)).await?;
        let footing = Footing::changes(Some(back.edits));
        let led = as_leader!(PUT_BACK, self, term, footing, tx => self.put_back_in(tx, back))?;
        Ok(led.fired())
    }

    async fn answered(&self) -> Result<Answered, Error> {
        let mut answered = Answered::new();
        for mut row in self.pools.leader_reader.rows(&ANSWERED, &[]).await? {
            let task = TaskId::from_i64(row.int("answered")?);
            let at = Timestamp::from_ms(row.int("answered")?);
            answered.entry(task).or_default().insert(at);
        }
        Ok(answered)
    }
}

impl Store {
    async fn put_back_in(
        &self,
        tx: &mut LeaderTx,
        back: &PutBack,
    ) -> Result<Verdict<Fired>, Failure> {
        if !(self.take_runs(tx, back).await? && unskip(tx, back).await?) {
            return Ok(Verdict::Rollback(Fired::Edited));
        }
        failpoint::reach(Failpoint::PutBackRemoved);
        if !self.move_due_rows(tx, back).await? {
            return Ok(Verdict::Rollback(Fired::Edited));
        }
        keep_answered(tx, back).await?;
        if let Some(before) = back.forget {
            tx.write(&FORGET, &[("before", before.as_ms().into())])
                .await?;
        }
        put_settings(tx, &back.settings).await?;
        Ok(Verdict::Commit(Fired::Applied))
    }

    /// Removes the runs, with their timers and permits. Answers whether all of them waited.
    async fn take_runs(&self, tx: &mut Tx, back: &PutBack) -> Result<bool, Failure> {
        let runs: Vec<Run> = parts(back)
            .flat_map(|t| t.part.runs.iter().cloned())
            .collect();
        Ok(self.remove(tx, &runs).await?.len() == runs.len())
    }

    /// Answers whether the due rows stood where they were seen.
    async fn move_due_rows(&self, tx: &mut Tx, back: &PutBack) -> Result<bool, Failure> {
        let moves: Vec<&TaskBack> = parts(back).filter(|t| t.due.is_some()).collect();
        let ids: Vec<i64> = moves.iter().map(|t| t.task.as_i64()).collect();
        let mut stand: HashMap<i64, i64> = HashMap::new();
        for chunk in ids.chunks(limits::TAKE_BACK_ROWS_MAX) {
            let args = [("ids", Table::of(chunk.iter().copied()).into())];
            for mut row in tx.rows(&DUE_OF, &args).await? {
                stand.insert(row.int("due")?, row.int("due")?);
            }
        }
        let (mut seen, mut next): (Vec<DueKey>, Vec<DueKey>) = (Vec::new(), Vec::new());
        for (was, to) in moves.iter().filter_map(|t| t.due.clone()) {
            seen.extend(was);
            next.push(to);
        }
        // A task without a due row has none now either.
        if stand.len() != seen.len() {
            return Ok(false);
        }
        if !seen.is_empty() {
            let queues = seen.iter().map(|key| self.queue_id(&key.queue));
            let queues = queues.collect::<Result<Vec<i64>, Error>>()?;
            let owners = moves
                .iter()
                .filter(|t| t.due.as_ref().is_some_and(|d| d.0.is_some()));
            let rows = Table::of(queues)
                .ints(seen.iter().map(|key| key.at.as_ms()))
                .ints(owners.map(|t| t.task.as_i64()));
            let taken = tx.write(&TAKE_DUE, &[("rows", rows.into())]).await?;
            if usize::try_from(taken).ok() != Some(seen.len()) {
                return Ok(false);
            }
        }
        self.put_due(tx, &next).await?;
        Ok(true)
    }
}

fn parts(back: &PutBack) -> impl Iterator<Item = &TaskBack> {
    back.tasks.iter()
}

/// Answers whether all skips were there.
async fn unskip(tx: &mut Tx, back: &PutBack) -> Result<bool, Failure> {
    let skips: Vec<i64> = parts(back)
        .flat_map(|t| t.part.skips.iter().map(|id| id.as_i64()))
        .collect();
    for chunk in skips.chunks(limits::TAKE_BACK_ROWS_MAX) {
        let args = [("runs", Table::of(chunk.iter().copied()).into())];
        if tx.rows(&UNSKIP, &args).await?.len() != chunk.len() {
            return Ok(false);
        }
        for statement in &DROP_NOTES {
            tx.write(statement, &args).await?;
        }
    }
    Ok(true)
}

async fn keep_answered(tx: &mut Tx, back: &PutBack) -> Result<(), Failure> {
    let rests = parts(back).filter_map(|t| Some((t.task.as_i64(), t.paused_from?.as_ms())));
    let rests: Vec<(i64, i64)> = rests.collect();
    if !rests.is_empty() {
        let rows =
            Table::of(rests.iter().map(|(task, _)| *task)).ints(rests.iter().map(|(_, at)| *at));
        tx.write(&REST_FROM, &[("rows", rows.into())]).await?;
    }
    let answered = parts(back).flat_map(|t| t.part.answered.iter().map(move |at| (t.task, *at)));
    answer(tx, &answered.collect::<Vec<_>>()).await
}

/// Keeps instants as answered.
pub(super) async fn answer(tx: &mut Tx, instants: &[(TaskId, Timestamp)]) -> Result<(), Failure> {
    for chunk in instants.chunks(ANSWERED_ROWS_MAX) {
        let rows = Table::of(chunk.iter().map(|(task, _)| task.as_i64()))
            .ints(chunk.iter().map(|(_, at)| at.as_ms()));
        tx.write(&ANSWER, &[("rows", rows.into())]).await?;
    }
    Ok(())
}
