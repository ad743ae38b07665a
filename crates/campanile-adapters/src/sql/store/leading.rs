//! What the leader asks of the store. Every write is a transaction of [`super::super::pen`], which begins with the fence:
//! nothing of a deposed leader commits after its successor's term began.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use campanile::id::{Holder, NodeId, OutboxId, RunId, TaskId};
use campanile::port::Written;
use campanile::port::store::{Error, Leading};
use campanile::protocol::jump::{Answered, PutBack};
use campanile::protocol::permits::{LimitKey, Rules, Standing};
use campanile::protocol::refusal::Parts;
use campanile::protocol::work::{
    Bid, Deletions, DueKey, DueRow, Edit, Finish, Fired, Firing, LeaderRow, OnBehalfOf, Orphans,
    OutboxRow, Owner, Scan, ScanLimits, Term,
};
use campanile::run::{Reason, Run, State};
use campanile_schedule::time::Timestamp;

use super::super::connection::Verdict;
use super::super::pen::{Footing, as_leader};
use super::super::statement::Statement;
use super::super::value::{Arg, Row, Table};
use super::ends::{Ending, Hand, Outcome};
use super::firing::{SCAN_QUEUES_MAX, scan_text};
use super::points::{BURY, FINISH_LOST, FIRE, HAND_OVER, PRUNE as PRUNING, SETTLE};
use super::rows::{live_run, outbox_of, pairs};
use super::{QUEUES, Store, first};

/// How far a node's clock may be behind the store's: history is pruned in the order of ids, whose time is the node's.
const SKEW_MAX_MS: i64 = 3_600_000;

/// The leader row and the store's clock.
static LEADER: Statement = Statement::new(
    "SELECT epoch, holder, node, node_name, since, edits, resign_epoch, @now FROM leader WHERE id = 1",
);

/// What a former leader may not have published.
static OUTBOX: Statement =
    Statement::new("SELECT id, runs FROM outbox WHERE id > :after ORDER BY id LIMIT :limit");

/// Which of these still wait at their attempt.
static STILL_WAITING: Statement = Statement::new(
    "SELECT run.id FROM @runs(r int, a int) AS v @with run @on run.id = v.r AND run.attempt = v.a AND run.state IN (1, 2)",
);

/// The same, without those whose task was deleted: a listener is not sent what will be cancelled.
static STILL_WANTED: Statement = Statement::new(
    "SELECT run.id FROM @runs(r int, a int) AS v @with run @on run.id = v.r AND run.attempt = v.a AND run.state IN (1, 2)
     AND (run.task = 0 OR EXISTS (SELECT 1 FROM task WHERE task.id = run.task AND task.live_name IS NOT NULL))",
);

/// Seen published and unclaimed. A run that was claimed meanwhile is left as it is.
static MARK_QUEUED: Statement = Statement::new(
    "UPDATE run SET state = 2, queued_at = :at FROM @runs(r int, a int) AS v
     WHERE run.id = v.r AND run.attempt = v.a AND run.state = 1",
);

/// Outbox rows that have done their duty.
static DROP_OUTBOX: Statement =
    Statement::new("DELETE FROM outbox WHERE id IN (SELECT id FROM @ids(id int) AS v)");

/// Running runs of a node. A walk over the live runs: no transition pays for an index on states.
static RUNNING_ON: Statement = Statement::new(concat!(
    "SELECT ",
    live_run!(),
    " FROM run WHERE id > :after AND state = 3 AND worker = :node ORDER BY id LIMIT :limit",
));

/// Running runs of nobody who lives; the same walk.
static RUNNING_ON_NONE: Statement = Statement::new(concat!(
    "SELECT ",
    live_run!(),
    " FROM run WHERE id > :after AND state = 3
     AND NOT EXISTS (SELECT 1 FROM node WHERE node.id = run.worker) ORDER BY id LIMIT :limit",
));

/// Takes a node out of the living: waits for claims that are under way, and no later one succeeds.
pub(super) static REMOVE_NODE: Statement = Statement::new("DELETE FROM node WHERE id = :node");

/// The oldest finished runs. Ids grow with time and a run ends after it was minted: so the walk ends at `:bound`.
static OLD_RUNS: Statement = Statement::new(
    "SELECT id FROM run_history WHERE id < :bound AND finished_at < :before
     AND id NOT IN (SELECT id FROM @stuck(id int) AS v) ORDER BY id LIMIT :limit",
);

/// Removes finished runs with all that hangs on them.
static PRUNE: [Statement; 5] = [
    Statement::new("DELETE FROM run_spec WHERE run IN (SELECT id FROM @ids(id int) AS v)"),
    Statement::new("DELETE FROM run_attempt WHERE run IN (SELECT id FROM @ids(id int) AS v)"),
    Statement::new("DELETE FROM run_log WHERE run IN (SELECT id FROM @ids(id int) AS v)"),
    Statement::new("DELETE FROM run_key WHERE run IN (SELECT id FROM @ids(id int) AS v)"),
    Statement::new("DELETE FROM run_history WHERE id IN (SELECT id FROM @ids(id int) AS v)"),
];

pub(super) fn cap(limit: usize) -> Arg {
    i64::try_from(limit).unwrap_or(i64::MAX).into()
}

#[async_trait]
impl Leading for Store {
    async fn leader(&self) -> Result<LeaderRow, Error> {
        let rows = self.pools.leader_reader.rows(&LEADER, &[]).await?;
        leader_of(first(rows, "leader")?)
    }

    async fn begin_term(&self, bid: &Bid) -> Result<Written, Error> {
        self.pools.pens.bid(bid, &self.random).await
    }

    async fn scan(&self, until: Timestamp, limits: &ScanLimits) -> Result<Scan, Error> {
        let pool = &self.pools.leader_reader;
        // The edits first: an edit after this makes the firing be refused, not unseen.
        let row = leader_of(first(pool.rows(&LEADER, &[]).await?, "leader")?)?;
        self.know_queues(pool.rows(&QUEUES, &[]).await?)?;
        let queues = self.rooms(limits);
        let mut keys = Vec::new();
        for chunk in queues.chunks(SCAN_QUEUES_MAX) {
            let (text, args) = scan_text(chunk, until, pool.dialect());
            for mut row in pool.rows_of(&text, &args).await? {
                keys.push(self.due_of(&mut row)?);
            }
        }
        let runs = keys.iter().filter_map(|key: &DueKey| match key.owner {
            Owner::Run(id) => Some(id),
            Owner::Task(_) => None,
        });
        let waiting = self.waiting_runs(runs.collect()).await?;
        let rows = keys.into_iter().map(|key| DueRow {
            waiting: match key.owner {
                Owner::Run(id) => waiting.get(&id).cloned(),
                Owner::Task(_) => None,
            },
            key,
        });
        Ok(Scan {
            rows: rows.collect(),
            edits: row.edits,
            resign_epoch: row.resign_epoch,
        })
    }

    async fn rules(&self) -> Result<Rules, Error> {
        self.all_rules().await
    }

    async fn standings(&self, keys: &[LimitKey]) -> Result<HashMap<LimitKey, Standing>, Error> {
        self.standings_of(keys).await
    }

    async fn sweep_permits(&self, term: &Term) -> Result<Option<usize>, Error> {
        self.sweep_all_permits(term).await
    }

    async fn blocked(&self) -> Result<Vec<(LimitKey, u64)>, Error> {
        self.blocked_runs().await
    }

    async fn unblock(&self, term: &Term, keys: &[LimitKey]) -> Result<Option<usize>, Error> {
        self.unblock_runs(term, keys).await
    }

    async fn fire(&self, term: &Term, firing: &Firing) -> Result<Fired, Error> {
        let keys = firing
            .consumed
            .iter()
            .chain(&firing.advanced)
            .map(|key| &key.queue);
        let runs = firing
            .runs
            .iter()
            .chain(&firing.skipped)
            .map(|run| &run.queue);
        self.intern(keys.chain(runs)).await?;
        let footing = Footing::read_at(firing.edits);
        let led = as_leader!(FIRE, self, term, footing, tx => self.fire_in(tx, firing))?;
        Ok(led.fired())
    }

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
        let args = [("runs", pairs(runs).into())];
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
            let rows = tx.rows(&STILL_WANTED, &[("runs", pairs(runs).into())]).await?;
            let waiting = rows.into_iter().map(|mut row| row.int("run").map(RunId::from_i64));
            Ok(Verdict::Commit(waiting.collect::<Result<Vec<_>, _>>()?))
        })?;
        Ok(led.unless_fenced())
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
                let args = [("runs", pairs(queued).into()), ("at", at.as_ms().into())];
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

    async fn bury(&self, term: &Term, node: NodeId) -> Result<Written, Error> {
        let led = as_leader!(BURY, self, term, Footing::TERM, tx => async {
            tx.write(&REMOVE_NODE, &[("node", node.as_i64().into())]).await?;
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

    async fn deletions(&self) -> Result<Option<Deletions>, Error> {
        self.open_deletions().await
    }

    async fn orphans(&self, after: Option<RunId>, look: usize) -> Result<Orphans, Error> {
        self.waiting_orphans(after, look).await
    }

    async fn end_orphans(
        &self,
        term: &Term,
        runs: &[Run],
        at: Timestamp,
    ) -> Result<Option<usize>, Error> {
        self.cancel_orphans(term, runs, at).await
    }

    async fn forget_deletions(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error> {
        self.forget_deleted(term, before, limit).await
    }

    async fn tasks_ahead(
        &self,
        beyond: Timestamp,
        after: Option<TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, Error> {
        self.tasks_planned_ahead(beyond, after, limit).await
    }

    async fn rows_ahead(&self, tasks: &[TaskId], beyond: Timestamp) -> Result<Vec<Run>, Error> {
        self.rows_planned_ahead(tasks, beyond).await
    }

    async fn edit_for(
        &self,
        term: &Term,
        on_behalf_of: OnBehalfOf,
        edit: &Edit,
        at: Timestamp,
    ) -> Result<Fired, Error> {
        self.edit_as_leader(term, on_behalf_of, edit, at).await
    }

    async fn put_back(&self, term: &Term, back: &PutBack) -> Result<Fired, Error> {
        self.put_tasks_back(term, back).await
    }

    async fn answered(&self) -> Result<Answered, Error> {
        self.answered_instants().await
    }

    async fn prune(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error> {
        let bound = RunId::floor(Timestamp::from_ms(
            before.as_ms().saturating_add(SKEW_MAX_MS),
        ));
        let stuck = self.stuck();
        let args = [
            ("before", before.as_ms().into()),
            ("bound", bound.as_i64().into()),
            ("limit", cap(limit)),
            ("stuck", Table::of(stuck).into()),
        ];
        let old = self.pools.leader_reader.rows(&OLD_RUNS, &args).await?;
        let ids = old.into_iter().map(|mut row| row.int("run_history"));
        let ids = ids.collect::<Result<Vec<i64>, _>>()?;
        self.prune_runs(term, &ids).await
    }
}

impl Store {
    /// Removes these. One that the database does not let go (somebody's foreign key, a broken page) keeps no other.
    async fn prune_runs(&self, term: &Term, ids: &[i64]) -> Result<Option<usize>, Error> {
        let (mut parts, mut removed) = (Parts::of(ids.len()), 0);
        if ids.is_empty() {
            // Whether the term is over is asked all the same.
            return Ok(self.prune_some(term, ids).await?.is_applied().then_some(0));
        }
        while let Some(part) = parts.take() {
            match self.prune_some(term, &ids[part.clone()]).await {
                Ok(Written::Applied) => removed += part.len(),
                Ok(Written::Stale) => return Ok(None),
                Err(error) if error.is_refusal() => {
                    if let Some(n) = parts.refused(&part) {
                        self.is_stuck(ids[n], &error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(removed))
    }

    async fn prune_some(&self, term: &Term, ids: &[i64]) -> Result<Written, Error> {
        let led = as_leader!(PRUNING, self, term, Footing::TERM, tx => async {
            if !ids.is_empty() {
                let args = [("ids", Table::of(ids.iter().copied()).into())];
                for statement in &PRUNE {
                    tx.write(statement, &args).await?;
                }
            }
            Ok(Verdict::Commit(Written::Applied))
        })?;
        Ok(led.written())
    }
}

fn leader_of(mut row: Row) -> Result<LeaderRow, Error> {
    const TABLE: &str = "leader";
    Ok(LeaderRow {
        epoch: row.int(TABLE)?,
        holder: row.opt_text(TABLE)?.map(Holder::from_spelling),
        node: row.opt_int(TABLE)?.map(NodeId::from_i64),
        node_name: row.text(TABLE)?,
        since: row.opt_int(TABLE)?.map(Timestamp::from_ms),
        edits: row.int(TABLE)?,
        resign_epoch: row.int(TABLE)?,
        now: Timestamp::from_ms(row.int(TABLE)?),
    })
}
