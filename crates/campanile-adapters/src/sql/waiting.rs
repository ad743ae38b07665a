//! Runs that wait: what a scan and the outbox need of them to build their messages.

use std::collections::HashMap;

use campanile_core::decide::ranges::ranges;
use campanile_core::id::{RunId, TaskId};
use campanile_core::port::attempt::Spoiled;
use campanile_core::port::fire::Waiting;
use campanile_core::port::store::Error;
use campanile_core::run::Run;
use campanile_schedule::time::Timestamp;

use crate::sql::rows::{QUEUE_AT, live_run, origin_of, small};
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::{Row, Table};

/// Those of which nothing is to be told but what they were born with: most requests at their instant. What is zero, or
/// equal to another column, is answered as nothing.
static WAITING_NEW: Statement = Statement::new(
    "SELECT run.id, NULLIF(run.task, 0), run.origin, run.due_at, NULLIF(run.ready_at, run.due_at), run.queue, run.priority,
     run.deadline_at FROM @runs(lo int, hi int) AS v @with campanile_run AS run @on run.id BETWEEN v.lo AND v.hi
     AND run.state = 1 AND run.attempt = 1 AND run.own = 0 AND run.epoch = 0 AND run.limited = 0
     AND run.failures = 0 AND run.losses = 0 AND run.cancel_requested = 0 AND run.queued_at IS NULL
     AND run.started_at IS NULL AND run.worker IS NULL AND run.claim IS NULL AND run.error IS NULL",
);

/// Runs that still wait, with what they carry of their own.
static WAITING: Statement = Statement::new(concat!(
    "SELECT ", live_run!(), ", run_spec.run, run_spec.handler, run_spec.payload, run_spec.rules FROM @runs(r int) AS v
     JOIN campanile_run AS run ON run.id = v.r LEFT JOIN campanile_run_spec AS run_spec ON run_spec.run = run.id WHERE run.state IN (1, 2)",
));

impl Store {
    /// Those of these runs that wait, with what they carry of their own.
    pub(super) async fn waiting_runs(
        &self,
        mut ids: Vec<RunId>,
    ) -> Result<HashMap<RunId, Waiting>, Error> {
        let mut found = HashMap::with_capacity(ids.len());
        if ids.is_empty() {
            return Ok(found);
        }
        let all = ranges(ids.iter().map(|id| (id.as_i64(), ())).collect());
        let table = Table::of(all.iter().map(|r| r.first)).ints(all.iter().map(|r| r.last));
        let reader = &self.pools.leader_reader;
        let rows = reader.rows(&WAITING_NEW, &[("runs", table.into())]).await?;
        self.learn_queues(&rows, QUEUE_AT).await?;
        let new = rows.into_iter().map(|mut row| self.new_run_of(&mut row));
        for run in self.noted(new.collect::<Result<Vec<_>, _>>())? {
            found.insert(run.id, Waiting { run, spec: None });
        }
        ids.retain(|id| !found.contains_key(id));
        if ids.is_empty() {
            return Ok(found);
        }
        ids.sort_unstable();
        let args = [("runs", Table::of(ids.iter().map(|id| id.as_i64())).into())];
        let rows = reader.rows(&WAITING, &args).await?;
        let others = self.waiting_of(rows).await?;
        found.extend(others.into_iter().map(|w| (w.run.id, w)));
        Ok(found)
    }

    /// Reads the columns of a run that nobody has touched.
    fn new_run_of(&self, row: &mut Row) -> Result<Run, Error> {
        let id = RunId::from_i64(row.int("run")?);
        let run = self.rest_of_new_run(id, row);
        run.map_err(|error| error.about(Spoiled::Run(id)))
    }

    fn rest_of_new_run(&self, id: RunId, row: &mut Row) -> Result<Run, Error> {
        const TABLE: &str = "run";
        let task = row.opt_int(TABLE)?.map(TaskId::from_i64);
        let origin = origin_of(row.int(TABLE)?)?;
        let due_at = Timestamp::from_ms(row.int(TABLE)?);
        let ready_at = row.opt_int(TABLE)?.map_or(due_at, Timestamp::from_ms);
        let queue = self.queue_name(row.int(TABLE)?)?;
        let priority = small(row.int(TABLE)?)?;
        let deadline_at = row.opt_int(TABLE)?.map(Timestamp::from_ms);
        Ok(Run {
            task,
            origin,
            ready_at,
            deadline_at,
            ..Run::untouched(id, queue, priority, due_at)
        })
    }
}
