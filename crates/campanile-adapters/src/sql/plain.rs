//! Ends of attempts that went well and leave nothing but that they did: the most common end by far. Runs of one claim
//! whose ids follow one another are named by the first and the last of them; each row has its own guard all the same, and
//! the count says whether all of them were as expected.

use campanile_core::decide::ranges::ranges;
use campanile_core::failpoint::Around;
use campanile_core::port::store::Error;
use campanile_core::run::{Reason, State};

use crate::sql::connection::{Tx, Verdict, transaction};
use crate::sql::dialect::Dialect;
use crate::sql::ends::{Applied, Ending, Outcome, history_columns, is_second_run, record_in};
use crate::sql::error::Failure;
use crate::sql::mariadb;
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::{Arg, Table};

/// Digits of an instant in the list of them, where that is a text.
const DIGITS: usize = 20;

/// Ids from `lo` to `hi` under claim `c` at attempt `a`; before them in the list of instants there are `o` others.
macro_rules! well_ranges {
    () => {
        "@ranges(lo int, hi int, c int, a int, o int) AS e"
    };
}
/// Running under that claim, and without permits, which would have to be given back.
macro_rules! as_expected {
    () => {
        "run.id BETWEEN e.lo AND e.hi AND run.attempt = e.a AND run.state = 3 AND run.claim = e.c AND run.limited = 0"
    };
}
/// What history keeps of a run that ended well, in the order of its columns.
macro_rules! ended_well {
    ($at:literal) => {
        crate::sql::plain::ended_well!($at, "CAST(NULL AS TEXT)")
    };
    ($at:literal, $nothing:literal) => {
        concat!(
            "run.id, run.task, run.due_at, run.ready_at, run.epoch, run.queued_at, run.started_at, run.worker, run.claim, ",
            $at,
            " AS finished_at, CASE WHEN run.origin = 1 THEN 0 ELSE run.id END AS dedup, run.queue, run.attempt, run.failures,
             run.losses, run.origin, run.priority, 4 AS state, 0 AS reason, run.cancel_requested, ",
            $nothing,
            " AS error, run.submitter"
        )
    };
}
pub(super) use {as_expected as is_well, ended_well, well_ranges};

/// Moves them into history. Where that is one statement, nobody comes between its two halves.
static END_WELL: Statement = Statement::differs(
    concat!(
        "WITH e AS MATERIALIZED (SELECT * FROM ",
        well_ranges!(),
        ") INSERT INTO campanile_run_history (",
        history_columns!(),
        ") SELECT ",
        ended_well!("CAST(substr(:at, (e.o + run.id - e.lo) * 20 + 1, 20) AS INTEGER)"),
        " FROM e CROSS JOIN campanile_run AS run WHERE ",
        as_expected!(),
    ),
    concat!(
        "WITH gone AS (DELETE FROM campanile_run AS run USING ",
        well_ranges!(),
        " WHERE ",
        as_expected!(),
        " RETURNING ",
        ended_well!("(ARRAY(SELECT t FROM @at(t int) AS w))[e.o + run.id - e.lo + 1]"),
        ") INSERT INTO campanile_run_history (",
        history_columns!(),
        ") SELECT ",
        history_columns!(),
        " FROM gone",
    ),
)
.on_mariadb(mariadb::ends::END_WELL);

/// The other half, where it takes two statements. There is one writer there.
static REMOVE_WELL: Statement = Statement::new(concat!(
    "WITH e AS MATERIALIZED (SELECT * FROM ",
    well_ranges!(),
    ") DELETE FROM campanile_run WHERE id IN (SELECT run.id FROM e CROSS JOIN campanile_run AS run WHERE ",
    as_expected!(),
    ")",
));

impl Store {
    /// Runs that ended well and left nothing else go into history by ranges, in the transaction of the others. If one of them
    /// is not as its end expects, nothing stands, and all ends are recorded one by one.
    pub(super) async fn record_of_worker(
        &self,
        around: &Around,
        endings: &[&Ending],
        twice: bool,
    ) -> Result<Applied, Error> {
        let pool = &self.pools.main;
        let (well, others): (Vec<&Ending>, Vec<&Ending>) =
            endings.iter().partition(|e| !twice && is_plain(e));
        if !well.is_empty() {
            let together = transaction!(around, pool, &self.random, tx => async {
                if !end(tx, &well).await? {
                    return Ok(Verdict::Rollback(None));
                }
                let (Verdict::Commit(mut applied) | Verdict::Rollback(mut applied)) =
                    record_in(tx, &others, false).await?;
                applied.extend(well.iter().map(|e| e.key()));
                Ok(Verdict::Commit(Some(applied)))
            });
            match together {
                Ok(Some(applied)) => return Ok(applied),
                Ok(None) => {}
                Err(error) if is_second_run(&error) => {}
                Err(error) => return Err(error),
            }
        }
        transaction!(around, pool, &self.random, tx => record_in(tx, endings, twice))
    }
}

/// Whether an end is nothing but good.
const fn is_plain(ending: &Ending) -> bool {
    let left_nothing = ending.error.is_none()
        && ending.class.is_none()
        && ending.log.is_none()
        && ending.result.is_none()
        && ending.timer.is_none();
    let held = ending.claim.is_some() && ending.attempt.is_some();
    let well = matches!(
        ending.outcome,
        Outcome::Over(State::Succeeded, Reason::None)
    );
    left_nothing && held && well
}

/// Moves plain ends into history. Answers whether all of them were as expected: if not, nothing of it may stand.
async fn end(tx: &mut Tx, endings: &[&Ending]) -> Result<bool, Failure> {
    let key = |e: &Ending| {
        let under = (e.claim.unwrap_or_default(), e.attempt.unwrap_or_default());
        (e.run.as_i64(), under)
    };
    let mut sorted = endings.to_vec();
    sorted.sort_unstable_by_key(|e| key(e));
    let all = ranges(sorted.iter().map(|e| key(e)).collect());
    let before = all.iter().scan(0, |before, range| {
        let own = *before;
        *before += range.last - range.first + 1;
        Some(own)
    });
    let table = Table::of(all.iter().map(|r| r.first))
        .ints(all.iter().map(|r| r.last))
        .ints(all.iter().map(|r| r.common.0))
        .ints(all.iter().map(|r| i64::from(r.common.1)))
        .ints(before);
    let instants = sorted.iter().map(|e| e.at);
    let at: Arg = if tx.dialect() == Dialect::Postgres {
        Table::of(instants).into()
    } else {
        let digits: String = instants.map(|at| format!("{at:0DIGITS$}")).collect();
        digits.into_bytes().into()
    };
    let args = [("ranges", table.into()), ("at", at)];
    let wanted = u64::try_from(endings.len()).unwrap_or(u64::MAX);
    if tx.write(&END_WELL, &args).await? != wanted {
        return Ok(false);
    }
    let two_steps = tx.dialect() == Dialect::Sqlite;
    if two_steps && tx.write(&REMOVE_WELL, &args).await? != wanted {
        return Ok(false);
    }
    Ok(true)
}
