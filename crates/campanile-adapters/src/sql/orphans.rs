//! What deleted tasks leave behind, over SQL: which of them are looked after, their waiting runs, and the end of both. When
//! to look is decided in [`campanile_core::decide::edit::deletion`].

use async_trait::async_trait;
use campanile_core::id::RunId;
use campanile_core::port::Written;
use campanile_core::port::edit::{Deletions, OrphanStore, Orphans};
use campanile_core::port::lead::Term;
use campanile_core::port::store::Error;
use campanile_core::run::{Reason, Run, State};
use campanile_schedule::time::Timestamp;

use crate::sql::connection::Verdict;
use crate::sql::ends::{Ending, Hand, Outcome};
use crate::sql::mariadb::steps;
use crate::sql::pen::{Footing, as_leader};

use crate::sql::points::{FORGET as FORGETTING, ORPHANS as ORPHANED};
use crate::sql::publish::cap;
use crate::sql::rows::{live_run, small};
use crate::sql::statement::Statement;
use crate::sql::store::{Store, first};

/// Deleted tasks whose runs are still looked for.
static DELETIONS: Statement =
    Statement::new("SELECT COUNT(*), MIN(at), MAX(at) FROM campanile_deletion");

/// Where a look at the live runs ends.
static LOOK_END: Statement = Statement::new(
    "SELECT MAX(id) FROM (SELECT id FROM campanile_run WHERE id > :after ORDER BY id LIMIT :look) AS page",
);

/// Live runs of a range that wait though their task is deleted.
static ORPHANS: Statement = Statement::new(concat!(
    "SELECT ",
    live_run!(),
    " FROM campanile_run AS run WHERE id > :after AND id <= :until AND state IN (1, 2)
     AND EXISTS (SELECT 1 FROM campanile_deletion AS deletion WHERE deletion.task = run.task) ORDER BY id",
));

/// Deleted tasks for which no run can wait any more.
static FORGET: Statement = Statement::new(
    "DELETE FROM campanile_deletion WHERE task IN (SELECT task FROM campanile_deletion WHERE at <= :before ORDER BY task LIMIT :limit)",
)
.on_mariadb(steps::FORGET_DELETIONS);

#[async_trait]
impl OrphanStore for Store {
    async fn deletions(&self) -> Result<Option<Deletions>, Error> {
        const TABLE: &str = "deletion";
        let rows = self.pools.leader_reader.rows(&DELETIONS, &[]).await?;
        let mut row = first(rows, TABLE)?;
        let count = small(row.int(TABLE)?)?;
        let (from, to) = (row.opt_int(TABLE)?, row.opt_int(TABLE)?);
        Ok(from.zip(to).map(|(from, to)| Deletions {
            count,
            first_at: Timestamp::from_ms(from),
            last_at: Timestamp::from_ms(to),
        }))
    }

    async fn orphans(&self, after: Option<RunId>, look: usize) -> Result<Orphans, Error> {
        let pool = &self.pools.leader_reader;
        let after = after.map_or(i64::MIN, RunId::as_i64);
        let args = [("after", after.into()), ("look", cap(look))];
        let end = first(pool.rows(&LOOK_END, &args).await?, "run")?.opt_int("run")?;
        let Some(end) = end else {
            return Ok(Orphans::default());
        };
        let args = [("after", after.into()), ("until", end.into())];
        let rows = pool.rows(&ORPHANS, &args).await?;
        Ok(Orphans {
            runs: self.runs_of(rows).await?,
            next: Some(RunId::from_i64(end)),
        })
    }

    async fn end_orphans(
        &self,
        term: &Term,
        runs: &[Run],
        at: Timestamp,
    ) -> Result<Option<usize>, Error> {
        let endings = runs.iter().map(|run| {
            Ok(Ending {
                run: run.id,
                attempt: Some(run.attempt),
                claim: None,
                at: at.as_ms(),
                outcome: Outcome::Over(State::Cancelled, Reason::TaskDeleted),
                error: None,
                log: None,
                result: None,
                class: None,
                timer: Some((self.queue_id(&run.queue)?, run.ready_at.as_ms())),
            })
        });
        let endings = endings.collect::<Result<Vec<Ending>, Error>>()?;
        let answer = self.record(&ORPHANED, Hand::Leader(term), &endings).await?;
        let ended = |written: &Vec<Written>| written.iter().filter(|w| w.is_applied()).count();
        Ok(answer.as_ref().map(ended))
    }

    async fn forget_deletions(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error> {
        let args = [("before", before.as_ms().into()), ("limit", cap(limit))];
        let led = as_leader!(FORGETTING, self, term, Footing::TERM, tx => async {
            let forgotten = tx.write(&FORGET, &args).await?;
            Ok(Verdict::Commit(usize::try_from(forgotten).unwrap_or(usize::MAX)))
        })?;
        Ok(led.unless_fenced())
    }
}
