//! Attempt: claims, ends, and what is set aside.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use campanile_core::id::{RunId, TaskId};
use campanile_core::port::Written;
use campanile_core::port::attempt::{
    Append, Aside, AttemptStore, Claim, Claimed, Finish, Spoiled, Thing,
};
use campanile_core::port::store::Error;
use campanile_core::run::RunSpec;
use campanile_schedule::time::Timestamp;

use crate::sql::connection::transaction;
use crate::sql::ends::{Ending, Hand};
use crate::sql::log;
use crate::sql::mariadb::steps;
use crate::sql::points::{APPEND, ASIDE, FINISH};
use crate::sql::rows::{origin_of, ranges_of, small, spec_of};
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::{Row, Table};

/// Wins waiting runs that may start by the store's clock (read once, not for each row) and are not blocked for want of a
/// permit, for a node that lives and is not held; its row is kept, so that nobody evicts or holds it meanwhile. Asked twice under one claim, it gives the same answer.
/// What is zero for most is answered as nothing.
macro_rules! claim {
    ($with:literal, $runs:literal) => {
        concat!(
            $with,
            "UPDATE campanile_run AS run SET state = 3, claim = :claim, worker = :node, started_at = (SELECT @now)
     FROM ",
            $runs,
            "
     WHERE run.id BETWEEN v.lo AND v.hi AND run.attempt = v.a AND run.ready_at <= (SELECT @now)
     AND ((run.state IN (1, 2) AND (run.deadline_at IS NULL
     OR (run.attempt > 1 AND run.started_at IS NOT NULL) OR run.deadline_at > (SELECT @now)))
     OR (run.state = 3 AND run.claim = :claim))
     AND (run.limited = 0 OR NOT EXISTS (SELECT 1 FROM campanile_blocked AS blocked WHERE blocked.run = run.id))
     AND EXISTS (SELECT 1 FROM campanile_node AS node WHERE node.id = :node AND node.held = 0 @share)
     RETURNING id, attempt, NULLIF(task, 0),
     CASE WHEN :versions = 1 THEN (SELECT t.version FROM campanile_task AS t WHERE t.id = task AND t.live_name IS NOT NULL) END,
     origin, due_at, started_at, NULLIF(failures, 0), NULLIF(losses, 0), NULLIF(limited, 0),
     CASE WHEN own = 0 THEN NULL ELSE 1 END"
        )
    };
}
static CLAIM: Statement = Statement::differs(
    claim!(
        "WITH v AS MATERIALIZED (SELECT * FROM @runs(lo int, hi int, a int) AS w) ",
        "v"
    ),
    claim!("", "@runs(lo int, hi int, a int) AS v"),
)
.on_mariadb(steps::CLAIM);

/// Versions of tasks that live.
static VERSIONS: Statement = Statement::new(
    "SELECT id, version FROM campanile_task WHERE id IN (SELECT i FROM @ids(i int) AS v) AND live_name IS NOT NULL",
);

/// Of so many runs or fewer the claim itself answers the versions of their tasks: one statement. Many are of few tasks, and
/// a look at each task is cheaper than one at each run's.
const FEW: usize = 32;

/// What runs carry of their own.
static SPECS: Statement = Statement::new(
    "SELECT s.run, s.handler, s.payload, s.rules FROM @runs(r int) AS v @with campanile_run_spec AS s @on s.run = v.r",
);

#[async_trait]
impl AttemptStore for Store {
    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        if claim.runs.is_empty() {
            return Ok(Vec::new());
        }
        let are_few = claim.runs.len() <= FEW;
        let args = [
            ("claim", claim.id.as_i64().into()),
            ("node", claim.node.as_i64().into()),
            ("runs", ranges_of(&claim.runs).into()),
            ("versions", i64::from(are_few).into()),
        ];
        let rows = self.contended(&CLAIM, &args).await?;
        let mut won = rows
            .into_iter()
            .map(won_of)
            .collect::<Result<Vec<_>, _>>()?;
        if !are_few {
            self.add_versions(&mut won).await?;
        }
        self.add_specs(&mut won).await?;
        let won = won.into_iter().map(|won| Claimed {
            orphaned: won.task.is_some() && won.version.is_none(),
            task: won.task.zip(won.version),
            ..won.claimed
        });
        Ok(won.collect())
    }

    async fn finish(&self, ends: &[Finish]) -> Result<Vec<Written>, Error> {
        if ends.is_empty() {
            return Ok(Vec::new());
        }
        let endings: Vec<Ending> = ends.iter().map(Ending::from).collect();
        let answer = self.record(&FINISH, Hand::Worker, &endings).await?;
        Ok(answer.unwrap_or_default())
    }

    async fn append(&self, logs: &[Append]) -> Result<Vec<Written>, Error> {
        if logs.is_empty() {
            return Ok(Vec::new());
        }
        let pool = &self.pools.main;
        let held = transaction!(APPEND, pool, &self.random, tx => log::append_in(tx, logs))?;
        let answers = logs.iter().map(|log| {
            if held.contains(&log::key(log)) {
                Written::Applied
            } else {
                Written::Stale
            }
        });
        Ok(answers.collect())
    }

    async fn set_aside(&self, aside: &Aside) -> Result<Written, Error> {
        if let Thing::Due(key) = &aside.thing {
            self.intern([&key.queue]).await?;
        }
        transaction!(ASIDE, self.pools.main, &self.random, tx => self.aside_in(tx, aside, false))
    }
}

impl Store {
    /// Adds the versions of tasks that live. Asked after the claim: of a task that is edited or deleted meanwhile, it is as
    /// if that had come before the claim.
    async fn add_versions(&self, won: &mut [Won]) -> Result<(), Error> {
        let tasks: BTreeSet<TaskId> = won.iter().filter_map(|w| w.task).collect();
        if tasks.is_empty() {
            return Ok(());
        }
        let ids = Table::of(tasks.iter().map(|id| id.as_i64()));
        let args = [("ids", ids.into())];
        let mut versions = HashMap::with_capacity(tasks.len());
        for mut row in self.pools.reader.rows(&VERSIONS, &args).await? {
            versions.insert(TaskId::from_i64(row.int("task")?), row.int("task")?);
        }
        for won in won {
            won.version = won.task.and_then(|task| versions.get(&task).copied());
        }
        Ok(())
    }

    /// Only requests carry anything of their own, and few of them.
    async fn add_specs(&self, won: &mut [Won]) -> Result<(), Error> {
        let carry = |w: &&Won| w.own && w.claimed.origin.is_request();
        let ids: Vec<i64> = won
            .iter()
            .filter(carry)
            .map(|w| w.claimed.run.as_i64())
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let mut specs: HashMap<RunId, RunSpec> = self.specs(ids).await?;
        for won in won {
            won.claimed.spec = specs.remove(&won.claimed.run);
        }
        Ok(())
    }

    pub(super) async fn specs(&self, ids: Vec<i64>) -> Result<HashMap<RunId, RunSpec>, Error> {
        let args = [("runs", Table::of(ids).into())];
        let rows = self.pools.reader.rows(&SPECS, &args).await?;
        let specs = rows
            .into_iter()
            .filter_map(|mut row| spec_of(&mut row).transpose());
        self.noted(specs.collect())
    }

    /// A single statement that may meet a deadlock, made again as whole transactions are.
    async fn contended(
        &self,
        statement: &Statement,
        args: crate::sql::value::Args<'_>,
    ) -> Result<Vec<Row>, Error> {
        let mut tries = crate::sql::connection::Tries::default();
        loop {
            let answer = self.pools.main.rows(statement, args).await;
            if let Some(answer) = tries.judge(answer, &self.random).await {
                return answer;
            }
        }
    }
}

/// A claim's answer while its parts come together.
struct Won {
    claimed: Claimed,
    task: Option<TaskId>,
    version: Option<i64>,
    /// Whether it may carry something of its own.
    own: bool,
}

fn won_of(mut row: Row) -> Result<Won, Error> {
    let run = RunId::from_i64(row.int("run")?);
    let won = rest_of_won(run, row);
    won.map_err(|error| error.about(Spoiled::Run(run)))
}

fn rest_of_won(run: RunId, mut row: Row) -> Result<Won, Error> {
    const TABLE: &str = "run";
    let attempt = small(row.int(TABLE)?)?;
    let (task, version) = (row.opt_int(TABLE)?, row.opt_int(TABLE)?);
    let claimed = Claimed {
        run,
        attempt,
        task: None,
        origin: origin_of(row.int(TABLE)?)?,
        due_at: Timestamp::from_ms(row.int(TABLE)?),
        started_at: Timestamp::from_ms(row.int(TABLE)?),
        failures: small(row.opt_int(TABLE)?.unwrap_or_default())?,
        losses: small(row.opt_int(TABLE)?.unwrap_or_default())?,
        limited: row.opt_int(TABLE)?.is_some(),
        orphaned: false,
        spec: None,
    };
    Ok(Won {
        claimed,
        task: task.map(TaskId::from_i64),
        version,
        own: row.opt_int(TABLE)?.is_some(),
    })
}
