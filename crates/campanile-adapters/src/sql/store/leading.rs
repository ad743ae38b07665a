//! What the leader asks of the store. Every write begins with guard F: nothing of a deposed leader commits after its
//! successor's term began.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use campanile::id::{Holder, NodeId, OutboxId, RunId};
use campanile::port::Written;
use campanile::port::store::{Error, Leading};
use campanile::protocol::work::{
    Bid, DueKey, DueRow, Finish, Fired, Firing, LeaderRow, OutboxRow, Owner, Scan, ScanLimits,
    Term, Waiting,
};
use campanile::run::{Origin, Reason, Run, State};
use campanile::time::Timestamp;
use std::sync::PoisonError;

use super::super::connection::{Tx, Verdict, transaction};
use super::super::dialect::Dialect;
use super::super::error::Failure;
use super::super::outbox;
use super::super::statement::{Statement, Text};
use super::super::value::{Arg, Row, Table};
use super::ends::{Ending, Outcome, PUT_DUE};
use super::rows::{live_run, pairs};
use super::{Store, first};

/// Queues that one scan statement names.
const SCAN_QUEUES_MAX: usize = 50;
/// Rows that one statement inserts.
pub(super) const INSERT_ROWS_MAX: usize = 2_000;
/// How far a node's clock may be behind the store's: history is pruned in the order of ids, whose time is the node's.
const SKEW_MAX_MS: i64 = 3_600_000;

/// The leader row and the store's clock.
static LEADER: Statement = Statement::new(
    "SELECT epoch, holder, node, node_name, since, edits, resign_epoch, @now FROM leader WHERE id = 1",
);

/// Begins a term, if nobody else has begun one since the epoch was read.
static BEGIN_TERM: Statement = Statement::new(
    "UPDATE leader SET epoch = :epoch, holder = :holder, node = :node, node_name = :name, since = @now, seq = seq + 1,
     resign_epoch = 0 WHERE id = 1 AND epoch = :read AND epoch < :epoch",
);

/// Guard F.
static GUARD: Statement = Statement::new(
    "UPDATE leader SET seq = seq + 1 WHERE id = 1 AND epoch = :epoch AND holder = :holder",
);

/// Guard F, and no edit since the scan.
static GUARD_EDITS: Statement = Statement::new(
    "UPDATE leader SET seq = seq + 1 WHERE id = 1 AND epoch = :epoch AND holder = :holder AND edits = :edits",
);

/// Runs that still wait, with what they carry of their own.
static WAITING: Statement = Statement::new(concat!(
    "SELECT ", live_run!(), ", run_spec.run, run_spec.handler, run_spec.payload FROM @runs(r int) AS v
     JOIN run ON run.id = v.r LEFT JOIN run_spec ON run_spec.run = run.id WHERE run.state IN (1, 2)",
));

/// Removes due rows: whoever removes them fires them.
static CONSUME: Statement = Statement::new(
    "DELETE FROM due WHERE (queue, at, owner, n) IN (SELECT q, t, o, k FROM @rows(q int, t int, o int, k int) AS v)",
);

/// New runs, waiting.
pub(super) static INSERT_RUNS: Statement = Statement::new(
    "INSERT INTO run (id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch, state,
     cancel_requested) SELECT id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch, 1, 0
     FROM @runs(id int, task int, origin int, due_at int, ready_at int, queue int, priority int, attempt int,
     failures int, losses int, epoch int) AS v",
);

/// The term in which waiting runs were fired by their timers.
static STAMP: Statement = Statement::new(
    "UPDATE run SET epoch = :epoch FROM @runs(r int) AS v WHERE run.id = v.r AND run.state IN (1, 2)",
);

/// Occurrences that do not run. One that history has an answer for is left as it is.
static INSERT_SKIPS: Statement = Statement::new(
    "INSERT INTO run_history (id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch,
     state, cancel_requested, reason, finished_at, skipped_last, skipped_count, dedup)
     SELECT id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch, 7, 0, reason, ended,
     last, many, dedup
     FROM @runs(id int, task int, origin int, due_at int, ready_at int, queue int, priority int, attempt int,
     failures int, losses int, epoch int, reason int, ended int, last int, many int, dedup int) AS v
     WHERE true ON CONFLICT (task, due_at, dedup) DO NOTHING",
);

/// What the leader has to publish.
static PUT_OUTBOX: Statement =
    Statement::new("INSERT INTO outbox (id, at, runs) VALUES (:id, @now, :runs)");

/// What a former leader may not have published.
static OUTBOX: Statement =
    Statement::new("SELECT id, runs FROM outbox WHERE id > :after ORDER BY id LIMIT :limit");

/// Which of these still wait at their attempt.
static STILL_WAITING: Statement = Statement::new(
    "SELECT run.id FROM @runs(r int, a int) AS v @with run @on run.id = v.r AND run.attempt = v.a AND run.state IN (1, 2)",
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
    "SELECT id FROM run_history WHERE id < :bound AND finished_at < :before ORDER BY id LIMIT :limit",
);

/// Removes finished runs with all that hangs on them.
static PRUNE: [Statement; 5] = [
    Statement::new("DELETE FROM run_spec WHERE run IN (SELECT id FROM @ids(id int) AS v)"),
    Statement::new("DELETE FROM run_attempt WHERE run IN (SELECT id FROM @ids(id int) AS v)"),
    Statement::new("DELETE FROM run_log WHERE run IN (SELECT id FROM @ids(id int) AS v)"),
    Statement::new("DELETE FROM submission WHERE run IN (SELECT id FROM @ids(id int) AS v)"),
    Statement::new("DELETE FROM run_history WHERE id IN (SELECT id FROM @ids(id int) AS v)"),
];

/// Guard F: whether the term is still the one that may write. From here to the end of the transaction no other term
/// begins.
pub(super) async fn guard(tx: &mut Tx, term: &Term) -> Result<bool, Failure> {
    let args = [
        ("epoch", term.epoch.into()),
        ("holder", term.holder.as_str().into()),
    ];
    Ok(tx.write(&GUARD, &args).await? == 1)
}

fn written(rows: u64) -> Written {
    if rows == 0 {
        Written::Stale
    } else {
        Written::Applied
    }
}

fn cap(limit: usize) -> Arg {
    i64::try_from(limit).unwrap_or(i64::MAX).into()
}

#[async_trait]
impl Leading for Store {
    async fn leader(&self) -> Result<LeaderRow, Error> {
        let rows = self.pools.leader_reader.rows(&LEADER, &[]).await?;
        leader_of(first(rows, "leader")?)
    }

    async fn begin_term(&self, bid: &Bid) -> Result<Written, Error> {
        let args = [
            ("read", bid.read_epoch.into()),
            ("epoch", bid.term.epoch.into()),
            ("holder", bid.term.holder.as_str().into()),
            ("node", bid.node.as_i64().into()),
            ("name", bid.node_name.as_str().into()),
        ];
        let changed = transaction!(self.pools.leader, &self.random, tx => async {
            Ok(Verdict::Commit(tx.write(&BEGIN_TERM, &args).await?))
        });
        changed.map(written)
    }

    async fn scan(&self, until: Timestamp, limits: &ScanLimits) -> Result<Scan, Error> {
        let pool = &self.pools.leader_reader;
        // The edits first: an edit after this makes the firing be refused, not unseen.
        let row = leader_of(first(pool.rows(&LEADER, &[]).await?, "leader")?)?;
        self.load_queues(pool).await?;
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
        transaction!(self.pools.leader, &self.random, tx => self.fire_in(tx, term, firing))
    }

    async fn outbox(&self, after: Option<OutboxId>, limit: usize) -> Result<Vec<OutboxRow>, Error> {
        let args = [
            ("after", after.map_or(i64::MIN, OutboxId::as_i64).into()),
            ("limit", cap(limit)),
        ];
        let mut found = Vec::new();
        for mut row in self.pools.leader_reader.rows(&OUTBOX, &args).await? {
            let id = OutboxId::from_i64(row.int("outbox")?);
            let runs = outbox::decode(&row.bytes("outbox")?).ok_or_else(|| Error::Corrupt {
                table: "outbox",
                message: format!("the runs of row {id} are cut short"),
            })?;
            found.push((id, runs));
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

    async fn mark_sent(
        &self,
        term: &Term,
        queued: &[(RunId, u32)],
        at: Timestamp,
        done: &[OutboxId],
    ) -> Result<Written, Error> {
        transaction!(self.pools.leader, &self.random, tx => async {
            if !guard(tx, term).await? {
                return Ok(Verdict::Rollback(Written::Stale));
            }
            if !queued.is_empty() {
                let args = [("runs", pairs(queued).into()), ("at", at.as_ms().into())];
                tx.write(&MARK_QUEUED, &args).await?;
            }
            if !done.is_empty() {
                let ids = Table::of(done.iter().map(|id| id.as_i64()));
                tx.write(&DROP_OUTBOX, &[("ids", ids.into())]).await?;
            }
            Ok(Verdict::Commit(Written::Applied))
        })
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
                log: None,
            })
            .collect();
        let answer = self
            .record(&self.pools.leader, Some(term), &endings)
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
        transaction!(self.pools.leader, &self.random, tx => async {
            if !guard(tx, term).await? {
                return Ok(Verdict::Rollback(Written::Stale));
            }
            tx.write(&REMOVE_NODE, &[("node", node.as_i64().into())]).await?;
            Ok(Verdict::Commit(Written::Applied))
        })
    }

    async fn finish_lost(
        &self,
        term: &Term,
        ends: &[Finish],
    ) -> Result<Option<Vec<Written>>, Error> {
        let endings: Vec<Ending> = ends.iter().map(Ending::from).collect();
        self.record(&self.pools.leader, Some(term), &endings).await
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
        let args = [
            ("before", before.as_ms().into()),
            ("bound", bound.as_i64().into()),
            ("limit", cap(limit)),
        ];
        transaction!(self.pools.leader, &self.random, tx => async {
            if !guard(tx, term).await? {
                return Ok(Verdict::Rollback(None));
            }
            let old = tx.rows(&OLD_RUNS, &args).await?;
            let ids = old.into_iter().map(|mut row| row.int("run_history"));
            let ids = ids.collect::<Result<Vec<i64>, _>>()?;
            if !ids.is_empty() {
                let args = [("ids", Table::of(ids.iter().copied()).into())];
                for statement in &PRUNE {
                    tx.write(statement, &args).await?;
                }
            }
            Ok(Verdict::Commit(Some(ids.len())))
        })
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

/// One statement that takes each queue's earliest due rows. Its text depends on how many queues there are, not on
/// which.
fn scan_text(
    queues: &[(i64, usize)],
    until: Timestamp,
    dialect: Dialect,
) -> (Text, Vec<(&'static str, Arg)>) {
    let part = |at: usize| {
        format!(
            "SELECT * FROM (SELECT due.queue, at, owner, n FROM due WHERE due.queue = \
             (SELECT q FROM @rooms(i int, q int, room int) AS v WHERE i = {at}) AND at <= :until \
             ORDER BY at, owner, n LIMIT (SELECT room FROM @rooms(i int, q int, room int) AS v WHERE i = {at})) AS q{at}"
        )
    };
    let parts: Vec<String> = (0..queues.len()).map(part).collect();
    let rooms = Table::of((0..queues.len()).map(|i| i64::try_from(i).unwrap_or(0)))
        .ints(queues.iter().map(|(id, _)| *id))
        .ints(
            queues
                .iter()
                .map(|(_, room)| i64::try_from(*room).unwrap_or(i64::MAX)),
        );
    let args = vec![("until", until.as_ms().into()), ("rooms", rooms.into())];
    (Text::render(&parts.join(" UNION ALL "), dialect), args)
}

impl Store {
    /// The queues to scan and how many rows each may give.
    fn rooms(&self, limits: &ScanLimits) -> Vec<(i64, usize)> {
        let known = self.queues.read().unwrap_or_else(PoisonError::into_inner);
        let mut rooms: Vec<(i64, usize)> = known
            .names
            .iter()
            .map(|(id, name)| {
                (
                    *id,
                    limits.rooms.get(name).copied().unwrap_or(limits.default),
                )
            })
            .filter(|(_, room)| *room > 0)
            .collect();
        rooms.sort_unstable();
        rooms
    }

    fn due_of(&self, row: &mut Row) -> Result<DueKey, Error> {
        const TABLE: &str = "due";
        let queue = self.queue_name(row.int(TABLE)?)?;
        let at = Timestamp::from_ms(row.int(TABLE)?);
        let owner = row.int(TABLE)?;
        Ok(DueKey {
            queue,
            at,
            owner: match row.int(TABLE)? {
                0 => Owner::Task(campanile::id::TaskId::from_i64(owner)),
                _ => Owner::Run(RunId::from_i64(owner)),
            },
        })
    }

    async fn waiting_runs(&self, mut ids: Vec<RunId>) -> Result<HashMap<RunId, Waiting>, Error> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        ids.sort_unstable();
        let args = [("runs", Table::of(ids.iter().map(|id| id.as_i64())).into())];
        let rows = self.pools.leader_reader.rows(&WAITING, &args).await?;
        let waiting = self.waiting_of(rows).await?;
        Ok(waiting.into_iter().map(|w| (w.run.id, w)).collect())
    }

    async fn fire_in(
        &self,
        tx: &mut Tx,
        term: &Term,
        firing: &Firing,
    ) -> Result<Verdict<Fired>, Failure> {
        let args = [
            ("epoch", term.epoch.into()),
            ("holder", term.holder.as_str().into()),
            ("edits", firing.edits.into()),
        ];
        if tx.write(&GUARD_EDITS, &args).await? == 0 {
            let fenced = !guard(tx, term).await?;
            return Ok(Verdict::Rollback(if fenced {
                Fired::Fenced
            } else {
                Fired::Edited
            }));
        }
        if !firing.consumed.is_empty() {
            let args = [("rows", self.due_table(&firing.consumed)?.into())];
            let consumed = tx.write(&CONSUME, &args).await?;
            if usize::try_from(consumed).ok() != Some(firing.consumed.len()) {
                return Ok(Verdict::Rollback(Fired::Edited));
            }
        }
        self.put_due(tx, &firing.advanced).await?;
        self.insert_runs(tx, &firing.runs).await?;
        self.insert_skips(tx, &firing.skipped).await?;
        let mut timers: Vec<i64> = firing
            .consumed
            .iter()
            .filter_map(|key| match key.owner {
                Owner::Run(id) => Some(id.as_i64()),
                Owner::Task(_) => None,
            })
            .collect();
        if !timers.is_empty() {
            timers.sort_unstable();
            let args = [
                ("epoch", firing.epoch.into()),
                ("runs", Table::of(timers).into()),
            ];
            tx.write(&STAMP, &args).await?;
        }
        if let Some(entry) = &firing.outbox {
            let args = [
                ("id", entry.id.as_i64().into()),
                ("runs", outbox::encode(&entry.runs).into()),
            ];
            tx.write(&PUT_OUTBOX, &args).await?;
        }
        Ok(Verdict::Commit(Fired::Applied))
    }

    fn due_table(&self, keys: &[DueKey]) -> Result<Table, Error> {
        let queues = keys.iter().map(|key| self.queue_id(&key.queue));
        let owners = keys.iter().map(|key| match key.owner {
            Owner::Task(id) => (id.as_i64(), 0),
            Owner::Run(id) => (id.as_i64(), 1),
        });
        Ok(Table::of(queues.collect::<Result<Vec<i64>, _>>()?)
            .ints(keys.iter().map(|key| key.at.as_ms()))
            .ints(owners.clone().map(|(id, _)| id))
            .ints(owners.map(|(_, n)| n)))
    }

    pub(super) async fn put_due(&self, tx: &mut Tx, keys: &[DueKey]) -> Result<(), Failure> {
        for chunk in keys.chunks(INSERT_ROWS_MAX) {
            let args = [("rows", self.due_table(chunk)?.into())];
            tx.write(&PUT_DUE, &args).await?;
        }
        Ok(())
    }

    pub(super) async fn insert_runs(&self, tx: &mut Tx, runs: &[Run]) -> Result<(), Failure> {
        for chunk in runs.chunks(INSERT_ROWS_MAX) {
            let args = [("runs", self.run_table(chunk)?.into())];
            tx.write(&INSERT_RUNS, &args).await?;
        }
        Ok(())
    }

    async fn insert_skips(&self, tx: &mut Tx, skipped: &[Run]) -> Result<(), Failure> {
        for chunk in skipped.chunks(INSERT_ROWS_MAX) {
            let table = self
                .run_table(chunk)?
                .ints(chunk.iter().map(|run| run.reason.as_i64()))
                .ints(
                    chunk
                        .iter()
                        .map(|run| run.finished_at.unwrap_or(run.due_at).as_ms()),
                )
                .ints(
                    chunk
                        .iter()
                        .map(|run| run.skipped.map(|(last, _)| last.as_ms())),
                )
                .ints(
                    chunk
                        .iter()
                        .map(|run| run.skipped.and_then(|(_, count)| i64::try_from(count).ok())),
                )
                .ints(chunk.iter().map(|run| match run.origin {
                    Origin::Schedule => 0,
                    Origin::Request => run.id.as_i64(),
                }));
            tx.write(&INSERT_SKIPS, &[("runs", table.into())]).await?;
        }
        Ok(())
    }

    fn run_table(&self, runs: &[Run]) -> Result<Table, Error> {
        let queues = runs.iter().map(|run| self.queue_id(&run.queue));
        Ok(Table::of(runs.iter().map(|run| run.id.as_i64()))
            .ints(runs.iter().map(|run| run.task.map_or(0, |id| id.as_i64())))
            .ints(runs.iter().map(|run| run.origin.as_i64()))
            .ints(runs.iter().map(|run| run.due_at.as_ms()))
            .ints(runs.iter().map(|run| run.ready_at.as_ms()))
            .ints(queues.collect::<Result<Vec<i64>, _>>()?)
            .ints(runs.iter().map(|run| i64::from(run.priority)))
            .ints(runs.iter().map(|run| i64::from(run.attempt)))
            .ints(runs.iter().map(|run| i64::from(run.failures)))
            .ints(runs.iter().map(|run| i64::from(run.losses)))
            .ints(runs.iter().map(|run| run.epoch)))
    }
}
