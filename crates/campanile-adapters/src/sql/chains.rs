//! Schedules that go on from the ends of their runs, over SQL. A firing notes which run holds its task's chain; the
//! transaction that ends that run puts the next due row, under the chain's row, which an edit of the task writes too: so
//! whoever is second sees what the first has done. When the next is due is [`Chain::next`]'s.

use std::collections::HashSet;
use std::time::Duration;

use campanile_core::failpoint::{self, Failpoint};
use campanile_core::port::edit::Edit;
use campanile_core::port::fire::Firing;
use campanile_core::run::Run;
use campanile_core::task::Chain;
use campanile_schedule::time::{Timestamp, duration_ms};

use crate::sql::connection::Tx;
use crate::sql::ends::Ending;
use crate::sql::error::Failure;
use crate::sql::fire::INSERT_ROWS_MAX;
use crate::sql::permits::release;
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::{Row, Table};

/// In the column `limited` of a run: it holds its task's chain, or held it.
pub(super) const CHAINED: i64 = 4;

/// How tasks go on from now on. Who holds their chains holds them still, and is told.
static PUT: Statement = Statement::new(
    "INSERT INTO campanile_chain (task, queue, delay_ms, first_at, last_at, rests)
     SELECT t, q, d, f, l, r FROM @rows(t int, q int, d int, f int, l int, r int) AS v WHERE true
     ON CONFLICT (task) DO UPDATE SET queue = excluded.queue, delay_ms = excluded.delay_ms, first_at = excluded.first_at,
     last_at = excluded.last_at, rests = excluded.rests RETURNING task, run",
);

/// Tasks that are gone, or have other schedules.
static DROP: Statement =
    Statement::new("DELETE FROM campanile_chain WHERE task IN (SELECT i FROM @ids(i int) AS v)");

/// Runs that begin hold their tasks' chains.
static HOLD: Statement = Statement::new(
    "UPDATE campanile_chain AS chain SET run = v.r FROM @rows(t int, r int) AS v WHERE chain.task = v.t",
);

/// Takes chains from the runs that held them.
static TAKE: Statement = Statement::new(
    "UPDATE campanile_chain SET run = NULL WHERE (task, run) IN (SELECT t, r FROM @rows(t int, r int) AS v)
     RETURNING task, queue, delay_ms, first_at, last_at, rests",
);

/// The same of one whose run, or whose due row, is dropped from what is set aside.
static TAKE_DROPPED: Statement = Statement::new(
    "UPDATE campanile_chain SET run = NULL WHERE task = :task AND COALESCE(run, 0) = :run
     AND NOT EXISTS (SELECT 1 FROM campanile_due AS due WHERE due.n = 0 AND due.owner = :task)
     RETURNING task, queue, delay_ms, first_at, last_at, rests, @now",
);

/// The next due rows. A task that has one keeps it.
static PUT_NEXT: Statement = Statement::new(
    "INSERT INTO campanile_due (queue, at, owner, n) SELECT q, t, o, 0 FROM @rows(q int, t int, o int) AS v
     WHERE true ON CONFLICT DO NOTHING",
);

/// A run that held its task's chain, and its end.
struct Ended {
    task: i64,
    run: i64,
    due_at: i64,
    at: i64,
}

/// What runs that have ended may hold: permits, and chains.
#[derive(Default)]
pub(super) struct Held {
    limited: Vec<i64>,
    chained: Vec<Ended>,
}

impl Held {
    /// Of a run that was moved: the rest of its row is `limited, task, due_at`.
    pub(super) fn add(
        &mut self,
        run: i64,
        row: &mut Row,
        endings: &[&Ending],
    ) -> Result<(), Failure> {
        let limited = row.int("run")?;
        self.limited.extend((limited != 0).then_some(run));
        if limited == CHAINED
            && let Some(ending) = endings.iter().find(|e| e.run.as_i64() == run)
        {
            self.chained.push(Ended {
                run,
                task: row.int("run")?,
                due_at: row.int("run")?,
                at: ending.at,
            });
        }
        Ok(())
    }

    /// Gives the permits back, and lets the tasks go on.
    pub(super) async fn give_back(self, tx: &mut Tx) -> Result<(), Failure> {
        release(tx, &self.limited, true).await?;
        go_on(tx, &self.chained).await
    }
}

/// The table parameter of (task, run).
fn held_by(pairs: impl Iterator<Item = (i64, i64)> + Clone) -> Table {
    Table::of(pairs.clone().map(|(task, _)| task)).ints(pairs.map(|(_, run)| run))
}

fn chain_of(row: &mut Row) -> Result<(i64, i64, Chain), Failure> {
    const TABLE: &str = "chain";
    let (task, queue) = (row.int(TABLE)?, row.int(TABLE)?);
    let delay_ms = u64::try_from(row.int(TABLE)?).unwrap_or_default();
    let chain = Chain {
        delay: Duration::from_millis(delay_ms),
        first: row.opt_int(TABLE)?.map(Timestamp::from_ms),
        last: row.opt_int(TABLE)?.map(Timestamp::from_ms),
        rests: row.int(TABLE)? != 0,
    };
    Ok((task, queue, chain))
}

/// Puts the next due rows of the tasks whose chains these runs held. Another run, or one of a task that was edited away
/// meanwhile, held none.
async fn go_on(tx: &mut Tx, ended: &[Ended]) -> Result<(), Failure> {
    if ended.is_empty() {
        return Ok(());
    }
    let held = held_by(ended.iter().map(|e| (e.task, e.run)));
    let mut next = Vec::new();
    for mut row in tx.rows(&TAKE, &[("rows", held.into())]).await? {
        let (task, queue, chain) = chain_of(&mut row)?;
        let end = ended.iter().find(|e| e.task == task);
        let at =
            end.and_then(|e| chain.next(Timestamp::from_ms(e.due_at), Timestamp::from_ms(e.at)));
        next.extend(at.map(|at| (queue, at.as_ms(), task)));
    }
    failpoint::reach(Failpoint::ChainTaken);
    put_next(tx, &next).await
}

/// What was set aside of a task is dropped: the run that held its chain, or its due row. It goes on from now.
pub(super) async fn go_on_without(
    tx: &mut Tx,
    task: i64,
    run: i64,
    due_at: i64,
) -> Result<(), Failure> {
    let args = [("task", task.into()), ("run", run.into())];
    let Some(mut row) = tx.rows(&TAKE_DROPPED, &args).await?.into_iter().next() else {
        return Ok(());
    };
    let (task, queue, chain) = chain_of(&mut row)?;
    let now = Timestamp::from_ms(row.int("clock")?);
    let at = chain.next(Timestamp::from_ms(due_at), now);
    let next: Vec<_> = at.map(|at| (queue, at.as_ms(), task)).into_iter().collect();
    put_next(tx, &next).await
}

async fn put_next(tx: &mut Tx, next: &[(i64, i64, i64)]) -> Result<(), Failure> {
    if next.is_empty() {
        return Ok(());
    }
    let rows = Table::of(next.iter().map(|(queue, ..)| *queue))
        .ints(next.iter().map(|(_, at, _)| *at))
        .ints(next.iter().map(|(.., task)| *task));
    tx.write(&PUT_NEXT, &[("rows", rows.into())]).await?;
    Ok(())
}

/// Runs are taken back as if nobody had planned them: whoever does it puts due rows where they belong.
pub(super) async fn let_go(tx: &mut Tx, runs: &[&Run]) -> Result<(), Failure> {
    let held = runs.iter().filter(|run| run.limited);
    let held: Vec<(i64, i64)> = held
        .filter_map(|run| Some((run.task?.as_i64(), run.id.as_i64())))
        .collect();
    if held.is_empty() {
        return Ok(());
    }
    let rows = held_by(held.into_iter());
    tx.rows(&TAKE, &[("rows", rows.into())]).await?;
    Ok(())
}

/// The new runs of a firing hold their chains.
pub(super) async fn hold(tx: &mut Tx, firing: &Firing) -> Result<(), Failure> {
    if firing.chained.is_empty() {
        return Ok(());
    }
    let chained = firing.chained.iter();
    let rows = held_by(chained.map(|(task, run)| (task.as_i64(), run.as_i64())));
    tx.write(&HOLD, &[("rows", rows.into())]).await?;
    Ok(())
}

impl Store {
    /// Writes what an edit makes of chains. Answers whether there are any, and the tasks whose runs hold theirs: no due row
    /// is put beside those. From here on no end of such a run comes between; one may have come just before.
    pub(super) async fn write_chains(
        &self,
        tx: &mut Tx,
        edit: &Edit,
        deleted: &[i64],
    ) -> Result<(bool, HashSet<i64>), Failure> {
        let mut gone = deleted.to_vec();
        let mut chained = Vec::new();
        for upsert in &edit.upserts {
            match Chain::of(&upsert.spec) {
                Some(chain) => {
                    let queue = self.queue_id(&upsert.spec.queue)?;
                    chained.push((upsert.id.as_i64(), queue, chain));
                }
                None => gone.extend(upsert.expected.map(|_| upsert.id.as_i64())),
            }
        }
        let mut any = !chained.is_empty();
        for chunk in gone.chunks(INSERT_ROWS_MAX) {
            let args = [("ids", Table::of(chunk.iter().copied()).into())];
            any |= tx.write(&DROP, &args).await? > 0;
        }
        // In one order, as other edits do.
        chained.sort_unstable_by_key(|(task, ..)| *task);
        let mut held = HashSet::new();
        for chunk in chained.chunks(INSERT_ROWS_MAX) {
            let ms = |at: Option<Timestamp>| at.map(Timestamp::as_ms);
            let rows = Table::of(chunk.iter().map(|(task, ..)| *task))
                .ints(chunk.iter().map(|(_, queue, _)| *queue))
                .ints(chunk.iter().map(|(.., c)| duration_ms(c.delay)))
                .ints(chunk.iter().map(|(.., c)| ms(c.first)))
                .ints(chunk.iter().map(|(.., c)| ms(c.last)))
                .ints(chunk.iter().map(|(.., c)| i64::from(c.rests)));
            for mut row in tx.rows(&PUT, &[("rows", rows.into())]).await? {
                let task = row.int("chain")?;
                held.extend(row.opt_int("chain")?.map(|_| task));
            }
        }
        Ok((any, held))
    }
}
