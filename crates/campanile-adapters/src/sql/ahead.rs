//! What was planned ahead of its instant, taken back inside the edit that makes its task rest or changes its instants.
//! The edit holds the leader row, so no firing comes between; a claim can't, for no claim wins a run before its instant.
//! What is ahead is decided by [`campanile_core::decide::edit::ahead`]; never anything about a run whose instant has come.

use std::collections::HashMap;

use campanile_core::decide::edit::ahead;
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::failpoint::{self, Failpoint};
use campanile_core::id::{RunId, TaskId};
use campanile_core::limits;
use campanile_core::port::edit::Edit;
use campanile_core::port::store::Error;
use campanile_core::run::Run;
use campanile_schedule::time::Timestamp;

use crate::sql::chains;
use crate::sql::connection::Tx;
use crate::sql::error::Failure;
use crate::sql::permits::release;
use crate::sql::rows::live_run;
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::tasks::DUE_OF;
use crate::sql::value::Table;

/// How long before its start an occurrence's run may have been minted: the look-ahead and two clocks' difference.
const MINTED_BEFORE: std::time::Duration = std::time::Duration::from_secs(600);

/// The store's clock.
static NOW: Statement = Statement::new("SELECT @now");

/// Runs of these tasks' schedules whose instants are still to come, or nearly. A walk over the live runs from where they
/// may have been minted.
static AHEAD: Statement = Statement::new(concat!(
    "SELECT ",
    live_run!(),
    " FROM campanile_run AS run WHERE id >= :first AND due_at > :after AND origin = 1 AND state IN (1, 2) AND attempt = 1
     AND task IN (SELECT i FROM @ids(i int) AS v)",
));

/// The same of all tasks: one walk where many rest at once.
static AHEAD_OF_ALL: Statement = Statement::new(concat!(
    "SELECT ",
    live_run!(),
    " FROM campanile_run AS run WHERE id >= :first AND due_at > :after AND origin = 1 AND state IN (1, 2) AND attempt = 1",
));

/// Takes runs back that nobody has ended meanwhile.
static TAKE_BACK: Statement = Statement::new(
    "DELETE FROM campanile_run WHERE id IN (SELECT r FROM @runs(r int) AS v) AND state IN (1, 2) AND attempt = 1 RETURNING id",
);

/// Their timers: starts and deadlines.
static DROP_TIMERS: Statement = Statement::new(
    "DELETE FROM campanile_due WHERE (queue, at, owner, n) IN (SELECT q, t, o, 1 FROM @rows(q int, t int, o int) AS v)",
);

/// From where on the tasks of an edit rest.
pub(super) type Rests = HashMap<TaskId, Timestamp>;

impl Store {
    /// Takes back what was planned ahead for tasks that are paused from now on, or whose instants change. Answers from where
    /// on those rest; `None` if other runs are ahead of their instants than the edit has seen.
    pub(super) async fn take_back(
        &self,
        tx: &mut Tx,
        edit: &Edit,
    ) -> Result<Option<Rests>, Failure> {
        let offsets = edit.taking_back();
        if offsets.is_empty() {
            return Ok(Some(Rests::new()));
        }
        let now = clock(tx).await?;
        let mut runs = self.ahead(tx, &offsets, now).await?;
        runs.retain(|run| {
            let offset = run.task.and_then(|task| offsets.get(&task));
            offset.is_some_and(|offset| ahead::is_ahead(run, *offset, now))
        });
        let gone = self.remove(tx, &runs).await?;
        failpoint::reach(Failpoint::EditTakenBack);
        let as_seen = edit.unplans.iter().all(|unplan| {
            let mine = gone.iter().filter(|run| run.task == Some(unplan.task));
            ahead::is_as_seen(unplan, mine.map(|run| run.id))
        });
        if !as_seen {
            return Ok(None);
        }
        self.insert_skips(tx, &edit.answers(gone.iter(), now))
            .await?;
        rests(tx, edit, &gone, now).await.map(Some)
    }

    async fn ahead(
        &self,
        tx: &mut Tx,
        offsets: &HashMap<TaskId, std::time::Duration>,
        now: Timestamp,
    ) -> Result<Vec<Run>, Failure> {
        let furthest = offsets.values().max().copied().unwrap_or_default();
        let first = RunId::floor(now.minus(MINTED_BEFORE));
        let mut args = vec![
            ("first", first.as_i64().into()),
            ("after", now.minus(furthest).as_ms().into()),
        ];
        let rows = if offsets.len() > limits::TAKE_BACK_ROWS_MAX {
            tx.rows(&AHEAD_OF_ALL, &args).await?
        } else {
            let ids = Table::of(offsets.keys().map(|id| id.as_i64()));
            args.push(("ids", ids.into()));
            tx.rows(&AHEAD, &args).await?
        };
        Ok(self.runs_of(rows).await?)
    }

    /// Removes runs with their timers and permits. Answers those that were still there.
    pub(super) async fn remove(&self, tx: &mut Tx, runs: &[Run]) -> Result<Vec<Run>, Failure> {
        let mut removed = Vec::with_capacity(runs.len());
        for chunk in runs.chunks(limits::TAKE_BACK_ROWS_MAX) {
            let args = [(
                "runs",
                Table::of(chunk.iter().map(|run| run.id.as_i64())).into(),
            )];
            let mut gone = std::collections::HashSet::with_capacity(chunk.len());
            for mut row in tx.rows(&TAKE_BACK, &args).await? {
                gone.insert(RunId::from_i64(row.int("run")?));
            }
            let gone: Vec<&Run> = chunk.iter().filter(|run| gone.contains(&run.id)).collect();
            self.drop_timers(tx, &gone).await?;
            let limited = gone.iter().filter(|run| run.limited);
            let limited: Vec<i64> = limited.map(|run| run.id.as_i64()).collect();
            release(tx, &limited, true).await?;
            chains::let_go(tx, &gone).await?;
            removed.extend(gone.into_iter().cloned());
        }
        Ok(removed)
    }

    async fn drop_timers(&self, tx: &mut Tx, runs: &[&Run]) -> Result<(), Failure> {
        let timers = runs.iter().flat_map(|run| {
            let starts = std::iter::once(run.ready_at).chain(run.deadline_at);
            starts.map(|at| (*run, at))
        });
        let timers: Vec<(&Run, Timestamp)> = timers.collect();
        if timers.is_empty() {
            return Ok(());
        }
        let queues = timers.iter().map(|(run, _)| self.queue_id(&run.queue));
        let rows = Table::of(queues.collect::<Result<Vec<i64>, Error>>()?)
            .ints(timers.iter().map(|(_, at)| at.as_ms()))
            .ints(timers.iter().map(|(run, _)| run.id.as_i64()));
        tx.write(&DROP_TIMERS, &[("rows", rows.into())]).await?;
        Ok(())
    }
}

async fn clock(tx: &mut Tx) -> Result<Timestamp, Failure> {
    let clock = tx.rows(&NOW, &[]).await?.into_iter().next();
    let clock = clock.map_or(Ok(i64::MAX), |mut row| row.int("clock"))?;
    Ok(Timestamp::from_ms(clock))
}

/// From where on each task of an edit that is paused does so.
async fn rests(
    tx: &mut Tx,
    edit: &Edit,
    gone: &[Run],
    looked: Timestamp,
) -> Result<Rests, Failure> {
    let resting = edit.upserts.iter().filter_map(|upsert| match upsert.due {
        DueChange::Pause { offset } => Some((upsert.id, offset)),
        DueChange::Keep | DueChange::Replace { .. } => None,
    });
    let resting: Vec<(TaskId, std::time::Duration)> = resting.collect();
    let mut rows: HashMap<i64, i64> = HashMap::new();
    for chunk in resting.chunks(limits::TAKE_BACK_ROWS_MAX) {
        let ids = Table::of(chunk.iter().map(|(id, _)| id.as_i64()));
        for mut row in tx.rows(&DUE_OF, &[("ids", ids.into())]).await? {
            rows.insert(row.int("due")?, row.int("due")?);
        }
    }
    // What came due since the look may have been claimed.
    let now = clock(tx).await?;
    let mut instants: HashMap<TaskId, Vec<Timestamp>> = HashMap::new();
    for run in gone {
        if let Some(task) = run.task {
            instants.entry(task).or_default().push(run.due_at);
        }
    }
    let from = |(id, offset): (TaskId, std::time::Duration)| {
        let row = rows.get(&id.as_i64());
        let row = row.map(|at| Timestamp::from_ms(*at).minus(offset));
        let taken = instants.get(&id).into_iter().flatten().copied();
        (id, ahead::paused_from(looked, now, row, taken))
    };
    Ok(resting.into_iter().map(from).collect())
}
