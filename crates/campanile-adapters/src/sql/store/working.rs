//! What workers ask of the store: to join, beat, claim, finish and leave. Each is one transaction; ends are in `ends.rs`.

use async_trait::async_trait;
use campanile::id::{NodeId, RunId, TaskId};
use campanile::port::Written;
use campanile::port::store::{Error, Working};
use campanile::protocol::routing::Abilities;
use campanile::protocol::work::{Aside, Beaten, Claim, Claimed, Finish, Node, Spoiled, Term};
use campanile::run::{Origin, RunSpec};
use campanile::task::Task;
use campanile_schedule::time::{Timestamp, duration_ms};
use std::collections::HashMap;

use super::super::statement::Statement;
use super::super::value::{Row, Table};
use super::ends::{Ending, Hand};
use super::leading::REMOVE_NODE;
use super::points::FINISH;
use super::rows::{clean, pairs, small, spec_of, task_of, to_json};
use super::{Store, first};

/// A node's texts are for people: what is longer is cut.
const NODE_TEXT_BYTES_MAX: usize = 1_024;

/// Adds a start of a node to the living. Asked twice, it is still there once.
static JOIN: Statement = Statement::new(
    "INSERT INTO node (id, name, roles, queues, slots, busy, lease_ms, started_at, beat_seq, beat_at, version, abilities)
     VALUES (:id, :name, :roles, :queues, :slots, :busy, :lease, :started, :seq, @now, :version, NULLIF(:abilities, ''))
     ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at, beat_seq = node.beat_seq + 1",
);

/// What a node can carry out, said anew.
static ANNOUNCE: Statement =
    Statement::new("UPDATE node SET abilities = :abilities WHERE id = :node");

/// A beat.
static BEAT: Statement = Statement::new(
    "UPDATE node SET beat_seq = beat_seq + 1, busy = :busy, beat_at = @now WHERE id = :node",
);

/// Which of a node's runs somebody asked to cancel.
static TO_CANCEL: Statement = Statement::new(
    "SELECT run.id FROM @runs(r int) AS v @with run @on run.id = v.r
     AND run.state = 3 AND run.worker = :node AND run.cancel_requested <> 0",
);

/// The store's clock.
static NOW: Statement = Statement::new("SELECT @now");

/// Wins waiting runs that may start by the store's clock (read once, not for each row) and are not parked for want of a
/// permit, for a node that lives; its row is held, so that nobody buries it meanwhile. Asked twice under one claim, it gives the same answer.
static CLAIM: Statement = Statement::new(
    "UPDATE run SET state = 3, claim = :claim, worker = :node, started_at = (SELECT @now)
     FROM @runs(r int, a int) AS v
     WHERE run.id = v.r AND run.attempt = v.a AND run.ready_at <= (SELECT @now)
     AND ((run.state IN (1, 2) AND (run.deadline_at IS NULL
     OR (run.attempt > 1 AND run.started_at IS NOT NULL) OR run.deadline_at > (SELECT @now)))
     OR (run.state = 3 AND run.claim = :claim))
     AND (run.limited = 0 OR NOT EXISTS (SELECT 1 FROM parked WHERE parked.run = run.id))
     AND EXISTS (SELECT 1 FROM node WHERE node.id = :node @share)
     RETURNING id, attempt, task,
     (SELECT task.version FROM task WHERE task.id = run.task AND task.live_name IS NOT NULL),
     origin, due_at, started_at, failures, losses, limited",
);

/// What runs carry of their own.
static SPECS: Statement = Statement::new(
    "SELECT s.run, s.handler, s.payload, s.rules FROM @runs(r int) AS v @with run_spec AS s @on s.run = v.r",
);

/// Tasks by id.
static TASKS_BY_ID: Statement = Statement::new(
    "SELECT id, version, definition, created_at, updated_at, rests_from FROM task
     WHERE id IN (SELECT i FROM @ids(i int) AS v) AND live_name IS NOT NULL",
);

#[async_trait]
impl Working for Store {
    async fn join(&self, node: &Node) -> Result<(), Error> {
        let abilities = node.abilities.as_ref().map(to_json).transpose()?;
        let args = [
            ("id", node.id.as_i64().into()),
            (
                "name",
                clean(&node.name, NODE_TEXT_BYTES_MAX).as_str().into(),
            ),
            ("roles", to_json(&node.roles)?.as_str().into()),
            ("queues", to_json(&node.queues)?.as_str().into()),
            ("slots", i64::from(node.slots).into()),
            ("busy", i64::from(node.busy).into()),
            ("lease", duration_ms(node.lease).into()),
            ("started", node.started_at.as_ms().into()),
            ("seq", node.beat_seq.into()),
            (
                "version",
                clean(&node.version, NODE_TEXT_BYTES_MAX).as_str().into(),
            ),
            ("abilities", abilities.as_deref().unwrap_or_default().into()),
        ];
        self.pools.main.write(&JOIN, &args).await.map(drop)
    }

    async fn announce(&self, node: NodeId, abilities: &Abilities) -> Result<(), Error> {
        let args = [
            ("node", node.as_i64().into()),
            ("abilities", to_json(abilities)?.as_str().into()),
        ];
        self.pools.main.write(&ANNOUNCE, &args).await.map(drop)
    }

    async fn beat(&self, node: NodeId, busy: u32, running: &[RunId]) -> Result<Beaten, Error> {
        let args = [
            ("node", node.as_i64().into()),
            ("busy", i64::from(busy).into()),
        ];
        let known = self.pools.main.write(&BEAT, &args).await? == 1;
        let now = first(self.pools.reader.rows(&NOW, &[]).await?, "clock")?.int("clock")?;
        let cancel = if running.is_empty() {
            Vec::new()
        } else {
            let runs = Table::of(running.iter().map(|id| id.as_i64()));
            let args = [("node", node.as_i64().into()), ("runs", runs.into())];
            let rows = self.pools.reader.rows(&TO_CANCEL, &args).await?;
            let ids = rows
                .into_iter()
                .map(|mut row| row.int("run").map(RunId::from_i64));
            ids.collect::<Result<Vec<_>, _>>()?
        };
        Ok(Beaten {
            known,
            cancel,
            now: Timestamp::from_ms(now),
        })
    }

    async fn leave(&self, node: NodeId) -> Result<(), Error> {
        let args = [("node", node.as_i64().into())];
        self.pools.main.write(&REMOVE_NODE, &args).await.map(drop)
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        if claim.runs.is_empty() {
            return Ok(Vec::new());
        }
        let args = [
            ("claim", claim.id.as_i64().into()),
            ("node", claim.node.as_i64().into()),
            ("runs", pairs(&claim.runs).into()),
        ];
        let rows = self.contended(&CLAIM, &args).await?;
        let mut won = rows
            .into_iter()
            .map(claimed_of)
            .collect::<Result<Vec<_>, _>>()?;
        self.add_specs(&mut won).await?;
        Ok(won)
    }

    async fn finish(&self, ends: &[Finish]) -> Result<Vec<Written>, Error> {
        if ends.is_empty() {
            return Ok(Vec::new());
        }
        let endings: Vec<Ending> = ends.iter().map(Ending::from).collect();
        let answer = self.record(&FINISH, Hand::Worker, &endings).await?;
        Ok(answer.unwrap_or_default())
    }

    async fn set_aside(&self, term: Option<&Term>, aside: &Aside) -> Result<Written, Error> {
        self.put_aside(term, aside).await
    }

    async fn tasks_by_id(&self, ids: &[TaskId]) -> Result<Vec<Task>, Error> {
        let args = [("ids", Table::of(ids.iter().map(|id| id.as_i64())).into())];
        let rows = self.pools.reader.rows(&TASKS_BY_ID, &args).await?;
        self.noted(rows.into_iter().map(task_of).collect())
    }
}

fn claimed_of(mut row: Row) -> Result<Claimed, Error> {
    let run = RunId::from_i64(row.int("run")?);
    let claimed = rest_of_claimed(run, row);
    claimed.map_err(|error| error.about(Spoiled::Run(run)))
}

fn rest_of_claimed(run: RunId, mut row: Row) -> Result<Claimed, Error> {
    const TABLE: &str = "run";
    let attempt = small(row.int(TABLE)?)?;
    let task = TaskId::from_i64(row.int(TABLE)?);
    let version = row.opt_int(TABLE)?;
    let orphaned = version.is_none() && task.as_i64() != 0;
    Ok(Claimed {
        run,
        attempt,
        task: version.map(|version| (task, version)),
        origin: Origin::from_i64(row.int(TABLE)?).ok_or_else(|| Error::Corrupt {
            table: TABLE,
            row: None,
            message: format!("run {run} has an origin that this version doesn't know"),
        })?,
        due_at: Timestamp::from_ms(row.int(TABLE)?),
        started_at: Timestamp::from_ms(row.int(TABLE)?),
        failures: small(row.int(TABLE)?)?,
        losses: small(row.int(TABLE)?)?,
        limited: row.int(TABLE)? != 0,
        orphaned,
        spec: None,
    })
}

impl Store {
    /// Only requests carry anything of their own.
    async fn add_specs(&self, won: &mut [Claimed]) -> Result<(), Error> {
        let requests = won.iter().filter(|c| c.origin == Origin::Request);
        let ids: Vec<i64> = requests.map(|c| c.run.as_i64()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let mut specs: HashMap<RunId, RunSpec> = self.specs(ids).await?;
        for claimed in won {
            claimed.spec = specs.remove(&claimed.run);
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
        args: super::super::value::Args<'_>,
    ) -> Result<Vec<Row>, Error> {
        let mut tries = super::super::connection::Tries::default();
        loop {
            let answer = self.pools.main.rows(statement, args).await;
            if let Some(answer) = tries.judge(answer, &self.random).await {
                return answer;
            }
        }
    }
}
