//! Publish: what is the leader's to bring to the broker.

use std::collections::HashSet;

use async_trait::async_trait;
use campanile_core::id::{OutboxId, RunId};
use campanile_core::port::Written;
use campanile_core::port::lead::Term;
use campanile_core::port::publish::{OutboxRow, PublishStore};
use campanile_core::port::store::Error;
use campanile_core::run::{Reason, State};
use campanile_schedule::time::Timestamp;

use crate::sql::connection::Verdict;
use crate::sql::ends::{Ending, Hand, Outcome};
use crate::sql::hold::IS_HELD;
use crate::sql::pen::{Footing, as_leader};
use crate::sql::points::{HAND_OVER, SETTLE};
use crate::sql::rows::{outbox_of, ranges_of};
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::{Arg, Table};

/// What a former leader may not have published.
static OUTBOX: Statement = Statement::new(
    "SELECT id, runs FROM campanile_outbox WHERE id > :after ORDER BY id LIMIT :limit",
);

/// Which of these still wait at their attempt.
static STILL_WAITING: Statement = Statement::new(
    "SELECT run.id FROM @runs(lo int, hi int, a int) AS v @with campanile_run AS run
     @on run.id BETWEEN v.lo AND v.hi AND run.attempt = v.a AND run.state IN (1, 2)",
);

/// The same, without those whose task was deleted: a listener is not sent what will be cancelled.
static STILL_WANTED: Statement = Statement::new(
    "SELECT run.id FROM @runs(lo int, hi int, a int) AS v @with campanile_run AS run
     @on run.id BETWEEN v.lo AND v.hi AND run.attempt = v.a AND run.state IN (1, 2)
     AND (run.task = 0 OR EXISTS (SELECT 1 FROM campanile_task AS task WHERE task.id = run.task AND task.live_name IS NOT NULL))",
);

/// Seen published and unclaimed. A run that was claimed meanwhile is left as it is.
static MARK_QUEUED: Statement = Statement::new(
    "UPDATE campanile_run AS run SET state = 2, queued_at = :at FROM @runs(lo int, hi int, a int) AS v
     WHERE run.id BETWEEN v.lo AND v.hi AND run.attempt = v.a AND run.state = 1",
);

/// Outbox rows that have done their duty.
static DROP_OUTBOX: Statement =
    Statement::new("DELETE FROM campanile_outbox WHERE id IN (SELECT id FROM @ids(id int) AS v)");

#[async_trait]
impl PublishStore for Store {
    async fn outbox(&self, after: Option<OutboxId>, limit: usize) -> Result<Vec<OutboxRow>, Error> {
        let args = [
            ("after", after.map_or(i64::MIN, OutboxId::as_i64).into()),
            ("limit", cap(limit)),
        ];
        let mut found = Vec::new();
        for mut row in self.pools.leader_reader.rows(&OUTBOX, &args).await? {
            found.push(self.noted(outbox_of(&mut row))?);
        }
        let ids: HashSet<RunId> = found
            .iter()
            .flat_map(|(_, runs)| runs)
            .map(|(id, _)| *id)
            .collect();
        let waiting = self.waiting_runs(ids.into_iter().collect()).await?;
        let rows = found.into_iter().map(|(id, runs)| OutboxRow {
            id,
            waiting: runs
                .iter()
                .filter_map(|(run, attempt)| waiting.get(run).filter(|w| w.run.attempt == *attempt))
                .cloned()
                .collect(),
        });
        Ok(rows.collect())
    }

    async fn waiting(&self, runs: &[(RunId, u32)]) -> Result<Vec<RunId>, Error> {
        let args = [("runs", ranges_of(runs).into())];
        let rows = self.pools.leader_reader.rows(&STILL_WAITING, &args).await?;
        rows.into_iter()
            .map(|mut row| row.int("run").map(RunId::from_i64))
            .collect()
    }

    async fn still_wait(
        &self,
        term: &Term,
        runs: &[(RunId, u32)],
    ) -> Result<Option<Vec<RunId>>, Error> {
        let led = as_leader!(SETTLE, self, term, Footing::TERM, tx => async {
            if !tx.rows(&IS_HELD, &[]).await?.is_empty() {
                return Ok(Verdict::Rollback(None));
            }
            let rows = tx.rows(&STILL_WANTED, &[("runs", ranges_of(runs).into())]).await?;
            let waiting = rows.into_iter().map(|mut row| row.int("run").map(RunId::from_i64));
            Ok(Verdict::Commit(Some(waiting.collect::<Result<Vec<_>, _>>()?)))
        })?;
        match led.unless_fenced() {
            Some(None) => Err(Error::Contended("the cluster is held".into())),
            answer => Ok(answer.flatten()),
        }
    }

    async fn mark_sent(
        &self,
        term: &Term,
        queued: &[(RunId, u32)],
        at: Timestamp,
        done: &[OutboxId],
    ) -> Result<Written, Error> {
        let led = as_leader!(SETTLE, self, term, Footing::TERM, tx => async {
            if !queued.is_empty() {
                let args = [("runs", ranges_of(queued).into()), ("at", at.as_ms().into())];
                tx.write(&MARK_QUEUED, &args).await?;
            }
            if !done.is_empty() {
                let ids = Table::of(done.iter().map(|id| id.as_i64()));
                tx.write(&DROP_OUTBOX, &[("ids", ids.into())]).await?;
            }
            Ok(Verdict::Commit(Written::Applied))
        })?;
        Ok(led.written())
    }

    async fn hand_over(
        &self,
        term: &Term,
        runs: &[(RunId, u32)],
        at: Timestamp,
    ) -> Result<Written, Error> {
        let endings: Vec<Ending> = runs
            .iter()
            .map(|(run, attempt)| Ending {
                run: *run,
                attempt: Some(*attempt),
                claim: None,
                at: at.as_ms(),
                outcome: Outcome::Over(State::Succeeded, Reason::HandedOver),
                error: None,
                class: None,
                log: None,
                result: None,
                timer: None,
            })
            .collect();
        let answer = self
            .record(&HAND_OVER, Hand::Leader(term), &endings)
            .await?;
        Ok(if answer.is_some() {
            Written::Applied
        } else {
            Written::Stale
        })
    }
}

pub(super) fn cap(limit: usize) -> Arg {
    i64::try_from(limit).unwrap_or(i64::MAX).into()
}
