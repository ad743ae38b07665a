//! Member: nodes, their heartbeats, and those that are gone.

use async_trait::async_trait;
use campanile_core::decide::publish::routing::Abilities;
use campanile_core::id::{NodeId, RunId};
use campanile_core::limits;
use campanile_core::port::Written;
use campanile_core::port::attempt::{Aside, Finish, Thing};
use campanile_core::port::lead::Term;
use campanile_core::port::member::{EvictStore, HeartbeatReply, MemberStore, Node, Progress};
use campanile_core::port::store::Error;
use campanile_core::run::Run;
use campanile_schedule::time::{Timestamp, duration_ms};

use crate::sql::connection::Verdict;
use crate::sql::ends::{Ending, Hand};
use crate::sql::mariadb::steps;
use crate::sql::pen::{Footing, as_leader};
use crate::sql::points::{ASIDE, EVICT, FINISH_LOST};
use crate::sql::publish::cap;
use crate::sql::rows::{clean, live_run, to_json};
use crate::sql::statement::Statement;
use crate::sql::store::{Store, first};
use crate::sql::value::Table;

/// Adds a start of a node to the members. Asked twice, it is still there once. Whether the cluster is held it learns from the
/// leader row, which it keeps meanwhile: a hold is set before it or waits for it.
static JOIN: Statement = Statement::new(
    "INSERT INTO campanile_node AS node (id, name, roles, queues, slots, busy, lease_ms, started_at, heartbeat_seq, heartbeat_at, version, abilities, held)
     VALUES (:id, :name, :roles, :queues, :slots, :busy, :lease, :started, :seq, @now, :version, NULLIF(:abilities, ''),
     (SELECT CASE hold_cause WHEN 0 THEN 0 ELSE 1 END FROM campanile_leader WHERE id = 1 @lock_shared))
     ON CONFLICT (id) DO UPDATE SET held = excluded.held, heartbeat_at = excluded.heartbeat_at, heartbeat_seq = node.heartbeat_seq + 1",
)
.on_mariadb(steps::JOIN);

/// Running runs of a node. A walk over the live runs: no transition pays for an index on states.
static RUNNING_ON: Statement = Statement::new(concat!(
    "SELECT ",
    live_run!(),
    " FROM campanile_run AS run WHERE id > :after AND state = 3 AND worker = :node ORDER BY id LIMIT :limit",
));

/// Running runs of nobody who lives; the same walk.
static RUNNING_ON_NONE: Statement = Statement::new(concat!(
    "SELECT ",
    live_run!(),
    " FROM campanile_run AS run WHERE id > :after AND state = 3
     AND NOT EXISTS (SELECT 1 FROM campanile_node AS node WHERE node.id = run.worker) ORDER BY id LIMIT :limit",
));

/// Takes a node out of the members: waits for claims that are under way, and no later one succeeds.
pub(super) static REMOVE_NODE: Statement =
    Statement::new("DELETE FROM campanile_node WHERE id = :node");

/// What a start of a node is called, for as long as runs may name it.
static NAME: Statement = Statement::new(
    "INSERT INTO campanile_node_name (id, name) VALUES (:id, :name)
     ON CONFLICT (id) DO UPDATE SET name = excluded.name, gone_at = NULL",
);

/// Since when it is gone.
static GONE: Statement =
    Statement::new("UPDATE campanile_node_name SET gone_at = @now WHERE id = :node");

/// A node's texts are for people: what is longer is cut.
const NODE_TEXT_BYTES_MAX: usize = 1_024;

/// What a node can carry out, said again.
static ANNOUNCE: Statement =
    Statement::new("UPDATE campanile_node SET abilities = :abilities WHERE id = :node");

/// A heartbeat.
static HEARTBEAT: Statement = Statement::new(
    "UPDATE campanile_node SET heartbeat_seq = heartbeat_seq + 1, busy = :busy, heartbeat_at = @now WHERE id = :node",
);

/// Which of a node's runs somebody asked to cancel.
static TO_CANCEL: Statement = Statement::new(
    "SELECT run.id FROM @runs(r int) AS v @with campanile_run AS run @on run.id = v.r
     AND run.state = 3 AND run.worker = :node AND run.cancel_requested <> 0",
);

/// How far attempts say that they are.
static REPORT: Statement = Statement::new(
    "INSERT INTO campanile_run_log (run, attempt, text, percent, progress, progress_at)
     SELECT run.id, run.attempt, '', v.p, v.m, v.t
     FROM @rows(r int, a int, p int, m text, t int) AS v @with campanile_run AS run @on run.id = v.r AND run.attempt = v.a
     AND run.state = 3 AND run.worker = :node
     ON CONFLICT (run, attempt) DO UPDATE SET
     percent = excluded.percent, progress = excluded.progress, progress_at = excluded.progress_at",
);

/// The store's clock.
static NOW: Statement = Statement::new("SELECT @now");

#[async_trait]
impl MemberStore for Store {
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
            ("seq", node.heartbeat_seq.into()),
            (
                "version",
                clean(&node.version, NODE_TEXT_BYTES_MAX).as_str().into(),
            ),
            ("abilities", abilities.as_deref().unwrap_or_default().into()),
        ];
        self.pools.main.write(&NAME, &args[..2]).await?;
        self.pools.main.write(&JOIN, &args).await.map(drop)
    }

    async fn announce(&self, node: NodeId, abilities: &Abilities) -> Result<(), Error> {
        let args = [
            ("node", node.as_i64().into()),
            ("abilities", to_json(abilities)?.as_str().into()),
        ];
        self.pools.main.write(&ANNOUNCE, &args).await.map(drop)
    }

    async fn heartbeat(
        &self,
        node: NodeId,
        busy: u32,
        running: &[RunId],
    ) -> Result<HeartbeatReply, Error> {
        let args = [
            ("node", node.as_i64().into()),
            ("busy", i64::from(busy).into()),
        ];
        let known = self.pools.main.write(&HEARTBEAT, &args).await? == 1;
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
        Ok(HeartbeatReply {
            known,
            cancel,
            now: Timestamp::from_ms(now),
        })
    }

    async fn report(&self, node: NodeId, progress: &[Progress]) -> Result<(), Error> {
        let rows = Table::of(progress.iter().map(|p| p.run.as_i64()))
            .ints(progress.iter().map(|p| i64::from(p.attempt)))
            .ints(progress.iter().map(|p| i64::from(p.percent)))
            .texts(
                progress
                    .iter()
                    .map(|p| Some(clean(&p.message, limits::PROGRESS_BYTES_MAX))),
            )
            .ints(progress.iter().map(|p| p.at.as_ms()));
        let args = [("node", node.as_i64().into()), ("rows", rows.into())];
        self.pools.main.write(&REPORT, &args).await.map(drop)
    }

    async fn leave(&self, node: NodeId) -> Result<(), Error> {
        let args = [("node", node.as_i64().into())];
        self.pools.main.write(&GONE, &args).await?;
        self.pools.main.write(&REMOVE_NODE, &args).await.map(drop)
    }
}

#[async_trait]
impl EvictStore for Store {
    async fn running_on(
        &self,
        node: Option<NodeId>,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<Run>, Error> {
        let mut args = vec![
            ("after", after.map_or(i64::MIN, RunId::as_i64).into()),
            ("limit", cap(limit)),
        ];
        args.extend(node.map(|node| ("node", node.as_i64().into())));
        let statement = if node.is_some() {
            &RUNNING_ON
        } else {
            &RUNNING_ON_NONE
        };
        let rows = self.pools.leader_reader.rows(statement, &args).await?;
        self.runs_of(rows).await
    }

    async fn evict(&self, term: &Term, node: NodeId) -> Result<Written, Error> {
        let led = as_leader!(EVICT, self, term, Footing::TERM, tx => async {
            let args = [("node", node.as_i64().into())];
            tx.write(&REMOVE_NODE, &args).await?;
            tx.write(&GONE, &args).await?;
            Ok(Verdict::Commit(Written::Applied))
        })?;
        Ok(led.written())
    }

    async fn finish_lost(
        &self,
        term: &Term,
        ends: &[Finish],
    ) -> Result<Option<Vec<Written>>, Error> {
        let endings: Vec<Ending> = ends.iter().map(Ending::from).collect();
        self.record(&FINISH_LOST, Hand::Leader(term), &endings)
            .await
    }

    async fn set_aside_for(&self, term: &Term, aside: &Aside) -> Result<Written, Error> {
        if let Thing::Due(key) = &aside.thing {
            self.intern([&key.queue]).await?;
        }
        let led =
            as_leader!(ASIDE, self, term, Footing::TERM, tx => self.aside_in(tx, aside, true))?;
        Ok(led.written())
    }
}
