//! Due rows: consuming them, which is the right to fire them, and putting those that come next.

use std::collections::HashSet;

use campanile_core::decide::ranges::ranges;
use campanile_core::id::{RunId, TaskId};
use campanile_core::port::fire::{DueKey, Firing, Owner};
use campanile_core::port::store::Error;
use campanile_schedule::time::Timestamp;

use crate::sql::connection::Tx;
use crate::sql::error::Failure;
use crate::sql::fire::INSERT_ROWS_MAX;
use crate::sql::mariadb::steps;
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::{Row, Table};

/// Due rows of one instant whose owners follow one another.
macro_rules! in_ranges {
    () => {
        "due.queue = v.q AND due.at = v.t AND due.owner BETWEEN v.lo AND v.hi AND due.n = v.k"
    };
}
/// Removes due rows: whoever removes them fires them.
static CONSUME: Statement = Statement::differs(
    concat!(
        "DELETE FROM campanile_due WHERE (queue, at, owner, n) IN (SELECT due.queue, due.at, due.owner, due.n
         FROM @rows(q int, t int, lo int, hi int, k int) AS v CROSS JOIN campanile_due AS due WHERE ",
        in_ranges!(),
        ")"
    ),
    concat!(
        "DELETE FROM campanile_due AS due USING @rows(q int, t int, lo int, hi int, k int) AS v WHERE ",
        in_ranges!()
    ),
);

/// Rows of which none can be there: next occurrences of tasks whose one row was just consumed, timers of new runs.
static PUT_NEW_DUE: Statement = Statement::new(
    "INSERT INTO campanile_due (queue, at, owner, n) SELECT q, t, o, k FROM @rows(q int, t int, o int, k int) AS v",
);

/// Next occurrences and timers that are new. A timer that is there already serves as well.
static PUT_DUE: Statement = Statement::new(
    "INSERT INTO campanile_due (queue, at, owner, n) SELECT q, t, o, k FROM @rows(q int, t int, o int, k int) AS v
     WHERE true ON CONFLICT (queue, at, owner, n) DO NOTHING",
)
.on_mariadb(steps::PUT_DUE);

impl Store {
    pub(super) fn due_of(&self, row: &mut Row) -> Result<DueKey, Error> {
        const TABLE: &str = "due";
        let queue = self.queue_name(row.int(TABLE)?)?;
        let at = Timestamp::from_ms(row.int(TABLE)?);
        let owner = row.int(TABLE)?;
        Ok(DueKey {
            queue,
            at,
            owner: match row.int(TABLE)? {
                0 => Owner::Task(TaskId::from_i64(owner)),
                _ => Owner::Run(RunId::from_i64(owner)),
            },
        })
    }

    /// Removes due rows. Answers whether all of them were there.
    pub(super) async fn consume(&self, tx: &mut Tx, keys: &[DueKey]) -> Result<bool, Failure> {
        if keys.is_empty() {
            return Ok(true);
        }
        let args = [("rows", self.due_ranges(keys)?.into())];
        let consumed = tx.write(&CONSUME, &args).await?;
        Ok(usize::try_from(consumed).ok() == Some(keys.len()))
    }

    fn due_ranges(&self, keys: &[DueKey]) -> Result<Table, Error> {
        let rows = keys.iter().map(|key| {
            let queue = self.queue_id(&key.queue)?;
            let (owner, n) = owner_of(key);
            Ok((owner, (queue, key.at.as_ms(), n)))
        });
        let all = ranges(rows.collect::<Result<Vec<_>, Error>>()?);
        Ok(Table::of(all.iter().map(|r| r.common.0))
            .ints(all.iter().map(|r| r.common.1))
            .ints(all.iter().map(|r| r.first))
            .ints(all.iter().map(|r| r.last))
            .ints(all.iter().map(|r| r.common.2)))
    }

    /// Puts what comes next. A task has one row, and the one of these is consumed: if there is another all the same, the
    /// firing fails.
    pub(super) async fn advance(&self, tx: &mut Tx, firing: &Firing) -> Result<(), Failure> {
        if firing.advanced.is_empty() {
            return Ok(());
        }
        let consumed: HashSet<Owner> = firing.consumed.iter().map(|key| key.owner).collect();
        let is_new =
            |key: &DueKey| matches!(key.owner, Owner::Task(_)) && consumed.contains(&key.owner);
        let (new, others): (Vec<DueKey>, Vec<DueKey>) =
            firing.advanced.iter().cloned().partition(is_new);
        self.put_new_due(tx, &new).await?;
        self.put_due(tx, &others).await
    }

    /// Puts due rows of which none can be there.
    pub(super) async fn put_new_due(&self, tx: &mut Tx, keys: &[DueKey]) -> Result<(), Failure> {
        self.put(tx, &PUT_NEW_DUE, keys).await
    }

    /// Puts due rows beside those that are there.
    pub(super) async fn put_due(&self, tx: &mut Tx, keys: &[DueKey]) -> Result<(), Failure> {
        self.put(tx, &PUT_DUE, keys).await
    }

    async fn put(
        &self,
        tx: &mut Tx,
        statement: &Statement,
        keys: &[DueKey],
    ) -> Result<(), Failure> {
        for chunk in keys.chunks(INSERT_ROWS_MAX) {
            let args = [("rows", self.due_table(chunk)?.into())];
            tx.write(statement, &args).await?;
        }
        Ok(())
    }

    fn due_table(&self, keys: &[DueKey]) -> Result<Table, Error> {
        let queues = keys.iter().map(|key| self.queue_id(&key.queue));
        let owners = keys.iter().map(owner_of);
        Ok(Table::of(queues.collect::<Result<Vec<i64>, _>>()?)
            .ints(keys.iter().map(|key| key.at.as_ms()))
            .ints(owners.clone().map(|(id, _)| id))
            .ints(owners.map(|(_, n)| n)))
    }
}

/// The columns `owner` and `n`.
const fn owner_of(key: &DueKey) -> (i64, i64) {
    match key.owner {
        Owner::Task(id) => (id.as_i64(), 0),
        Owner::Run(id) => (id.as_i64(), 1),
    }
}
