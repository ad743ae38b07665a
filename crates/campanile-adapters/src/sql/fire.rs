//! How due rows become runs: scanning them, and the one transaction that consumes them and inserts what they stand for.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use campanile_core::decide::permits::{LimitKey, Rules};
use campanile_core::failpoint;
use campanile_core::failpoint::Failpoint;
use campanile_core::id::{RunId, TaskId};
use campanile_core::port::fire::{
    DueKey, DueRow, FireStore, Fired, Firing, Owner, Scan, ScanLimits,
};
use campanile_core::port::lead::Term;
use campanile_core::port::store::Error;
use campanile_core::run::{Origin, Run, State};
use campanile_schedule::calendar::Calendar;
use campanile_schedule::time::Timestamp;

use crate::sql::chains::{self, CHAINED};
use crate::sql::connection::{Tx, Verdict};
use crate::sql::dialect::Dialect;
use crate::sql::error::Failure;
use crate::sql::lead::{LEADER, leader_of};
use crate::sql::mariadb::scan;
use crate::sql::outbox;
use crate::sql::pen::{Footing, LeaderTx, as_leader};
use crate::sql::points::FIRE;
use crate::sql::rows::{IN_TURN, from_json, ranges_of, small};
use crate::sql::statement::{Statement, Text};
use crate::sql::store::{QUEUES, Store, first};
use crate::sql::value::{Arg, Table};

/// Queues that one scan statement names.
pub(super) const SCAN_QUEUES_MAX: usize = 50;
/// Rows that one statement inserts.
pub(super) const INSERT_ROWS_MAX: usize = 2_000;

/// New runs, waiting.
static INSERT_RUNS: Statement = Statement::new(
    "INSERT INTO campanile_run (id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch, state,
     cancel_requested, limited, deadline_at, own)
     SELECT id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch, 1, 0, limited, deadline_at, 0
     FROM @runs(id int, task int, origin int, due_at int, ready_at int, queue int, priority int, attempt int,
     failures int, losses int, epoch int, limited int, deadline_at int) AS v",
);

/// The same, of tasks that live, or of none: nobody asks for a run of a task that is gone.
static INSERT_REQUESTS: Statement = Statement::new(
    "INSERT INTO campanile_run (id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch, state,
     cancel_requested, limited, deadline_at, submitter, own)
     SELECT id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch, 1, 0, limited, deadline_at,
     NULLIF(CAST(:submitter AS TEXT), ''), own
     FROM @runs(id int, task int, origin int, due_at int, ready_at int, queue int, priority int, attempt int,
     failures int, losses int, epoch int, limited int, deadline_at int, own int) AS v
     WHERE v.task = 0 OR EXISTS (SELECT 1 FROM campanile_task AS task WHERE task.id = v.task AND task.live_name IS NOT NULL)",
);

/// The runs of these timers. Whoever puts a run's timer again holds its row first: so none does before this firing is over.
static SEE: Statement = Statement::new(
    "SELECT run.id, run.attempt, run.state FROM @runs(r int) AS v JOIN campanile_run AS run ON run.id = v.r @lock_run",
);

/// The same of runs that wait as they were seen, and the term in which their timers fire them.
static STAMP: Statement = Statement::new(
    "UPDATE campanile_run AS run SET epoch = :epoch FROM @runs(lo int, hi int, a int) AS v
     WHERE run.id BETWEEN v.lo AND v.hi AND run.attempt = v.a AND run.state IN (1, 2)",
);

/// Occurrences that do not run. One that history has an answer for is left as it is.
static INSERT_SKIPS: Statement = Statement::new(
    "INSERT INTO campanile_run_history (id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch,
     state, cancel_requested, reason, finished_at, skipped_last, skipped_count, dedup)
     SELECT id, task, origin, due_at, ready_at, queue, priority, attempt, failures, losses, epoch, 7, 0, reason, ended,
     last, many, dedup
     FROM @runs(id int, task int, origin int, due_at int, ready_at int, queue int, priority int, attempt int,
     failures int, losses int, epoch int, limited int, deadline_at int, reason int, ended int, last int, many int,
     dedup int) AS v WHERE true ON CONFLICT (task, due_at) WHERE dedup = 0 DO NOTHING",
);

/// What the leader has to publish.
static PUT_OUTBOX: Statement =
    Statement::new("INSERT INTO campanile_outbox (id, at, runs) VALUES (:id, @now, :runs)");

/// All calendars.
pub(super) static CALENDARS: Statement =
    Statement::new("SELECT name, version, definition FROM campanile_calendar ORDER BY name");

/// All limits of queues and groups.
pub(super) static LIMITS: Statement = Statement::new(
    "SELECT limit_key, max_running FROM campanile_concurrency_limit ORDER BY limit_key",
);

/// One statement that takes each queue's earliest due rows. Its text depends on how many queues there are, not on
/// which.
pub(super) fn scan_text(
    queues: &[(i64, usize)],
    until: Timestamp,
    dialect: Dialect,
) -> (Text, Vec<(&'static str, Arg)>) {
    if dialect == Dialect::MariaDb {
        return scan::text(queues, until);
    }
    let part = |at: usize| {
        format!(
            "SELECT * FROM (SELECT due.queue, at, owner, n FROM campanile_due AS due WHERE due.queue = \
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
    pub(super) fn rooms(&self, limits: &ScanLimits) -> Vec<(i64, usize)> {
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

    pub(super) async fn fire_in(
        &self,
        tx: &mut LeaderTx,
        firing: &Firing,
    ) -> Result<Verdict<Fired>, Failure> {
        if !hold_and_stamp(tx, firing).await? {
            return Ok(Verdict::Rollback(Fired::Edited));
        }
        if !self.consume(tx, &firing.consumed).await? {
            return Ok(Verdict::Rollback(Fired::Edited));
        }
        failpoint::reach(Failpoint::FireConsumed);
        self.advance(tx, firing).await?;
        self.insert_runs(tx, &firing.runs, &firing.chained).await?;
        chains::hold(tx, firing).await?;
        self.insert_skips(tx, &firing.skipped).await?;
        failpoint::reach(Failpoint::FireInserted);
        if !self.fire_permits(tx, firing).await? {
            return Ok(Verdict::Rollback(Fired::Edited));
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

    pub(super) async fn insert_runs(
        &self,
        tx: &mut Tx,
        runs: &[Run],
        chained: &[(TaskId, RunId)],
    ) -> Result<(), Failure> {
        for chunk in runs.chunks(INSERT_ROWS_MAX) {
            let args = [("runs", self.run_table(chunk, chained)?.into())];
            tx.write(&INSERT_RUNS, &args).await?;
        }
        Ok(())
    }

    /// New runs that somebody asks for, and whether they carry anything of their own. Answers whether all of their tasks
    /// live.
    pub(super) async fn insert_requests(
        &self,
        tx: &mut Tx,
        runs: &[Run],
        own: &[bool],
        submitter: Option<&str>,
    ) -> Result<bool, Failure> {
        let own = own.chunks(INSERT_ROWS_MAX);
        for (chunk, own) in runs.chunks(INSERT_ROWS_MAX).zip(own) {
            let table = self.run_table(chunk, &[])?;
            let args = [
                (
                    "runs",
                    table.ints(own.iter().map(|own| i64::from(*own))).into(),
                ),
                ("submitter", submitter.unwrap_or_default().into()),
            ];
            let inserted = tx.write(&INSERT_REQUESTS, &args).await?;
            if usize::try_from(inserted).ok() != Some(chunk.len()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) async fn insert_skips(&self, tx: &mut Tx, skipped: &[Run]) -> Result<(), Failure> {
        for chunk in skipped.chunks(INSERT_ROWS_MAX) {
            let table = self
                .run_table(chunk, &[])?
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
                    Origin::Request | Origin::Backfill | Origin::Inbox => run.id.as_i64(),
                }));
            tx.write(&INSERT_SKIPS, &[("runs", table.into())]).await?;
        }
        Ok(())
    }

    fn run_table(&self, runs: &[Run], chained: &[(TaskId, RunId)]) -> Result<Table, Error> {
        let chained: HashSet<RunId> = chained.iter().map(|(_, run)| *run).collect();
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
            .ints(runs.iter().map(|run| run.epoch))
            .ints(runs.iter().map(|run| match run.in_turn {
                true => IN_TURN,
                false if chained.contains(&run.id) => CHAINED,
                false => i64::from(run.limited),
            }))
            .ints(runs.iter().map(|run| run.deadline_at.map(Timestamp::as_ms))))
    }
}

#[async_trait]
impl FireStore for Store {
    async fn scan(&self, until: Timestamp, limits: &ScanLimits) -> Result<Scan, Error> {
        let pool = &self.pools.leader_reader;
        // The edits first: an edit after this makes the firing be refused, not unseen.
        let row = leader_of(first(pool.rows(&LEADER, &[]).await?, "leader")?)?;
        if row.hold.is_some() {
            return Ok(Scan {
                rows: Vec::new(),
                edits: row.edits,
                resign_epoch: row.resign_epoch,
                hold: row.hold,
            });
        }
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
            hold: None,
        })
    }

    async fn rules(&self) -> Result<Rules, Error> {
        let pool = &self.pools.leader_reader;
        let mut calendars = HashMap::new();
        for mut row in pool.rows(&CALENDARS, &[]).await? {
            let (name, version) = (row.text("calendar")?, row.int("calendar")?);
            match calendar_of(&row.text("calendar")?, version) {
                Ok(calendar) => {
                    calendars.insert(name, Arc::new(calendar));
                }
                // Valid when it was stored: a newer version's fields, or another zone database. Tasks that name it wait.
                Err(error) => {
                    self.pools.main.space.unread();
                    tracing::error!(calendar = %name, %error, "calendar `{name}` can't be read here: {error}");
                }
            }
        }
        let mut limits = HashMap::new();
        for mut row in pool.rows(&LIMITS, &[]).await? {
            let text = row.text("concurrency_limit")?;
            let Ok(key) = text.parse::<LimitKey>() else {
                self.pools.main.space.unread();
                tracing::error!(limit = %text, "limit `{text}` can't be read here: it limits nothing");
                continue;
            };
            // One that can't be read is kept as narrow as a limit can be, so that nothing runs that it would have kept back.
            let most = self
                .noted(small(row.int("concurrency_limit")?))
                .unwrap_or(1);
            limits.insert(key, most);
        }
        Ok(Rules { calendars, limits })
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
}

/// The runs whose timers a firing consumes, in the order in which their rows are locked.
fn timers_of(firing: &Firing) -> Vec<i64> {
    let owners = firing.consumed.iter().filter_map(|key| match key.owner {
        Owner::Run(id) => Some(id.as_i64()),
        Owner::Task(_) => None,
    });
    let mut timers: Vec<i64> = owners.collect();
    timers.sort_unstable();
    timers
}

/// Holds the rows of the runs whose timers a firing consumes, and stamps those that wait with its term. Answers whether
/// they wait at the attempts that the firing saw, if they wait.
async fn hold_and_stamp(tx: &mut Tx, firing: &Firing) -> Result<bool, Failure> {
    let mut timers = timers_of(firing);
    if timers.is_empty() {
        return Ok(true);
    }
    let mut seen: Vec<(RunId, u32)> = firing.seen.clone();
    seen.sort_unstable();
    seen.retain(|(run, _)| timers.binary_search(&run.as_i64()).is_ok());
    if !seen.is_empty() {
        let args = [
            ("epoch", firing.epoch.into()),
            ("runs", ranges_of(&seen).into()),
        ];
        let stamped = tx.write(&STAMP, &args).await?;
        if usize::try_from(stamped).ok() == Some(seen.len()) {
            let others = |timer: &i64| {
                seen.binary_search_by_key(timer, |(run, _)| run.as_i64())
                    .is_err()
            };
            timers.retain(others);
        }
    }
    Ok(timers.is_empty() || waits_as_seen(tx, firing, &timers).await?)
}

/// Whether those runs wait at the attempts that the firing saw, if they wait.
async fn waits_as_seen(tx: &mut Tx, firing: &Firing, timers: &[i64]) -> Result<bool, Failure> {
    let args = [("runs", Table::of(timers.iter().copied()).into())];
    for mut row in tx.rows(&SEE, &args).await? {
        let run = RunId::from_i64(row.int("run")?);
        let attempt = small(row.int("run")?)?;
        let state = State::from_i64(row.int("run")?);
        let waits = matches!(state, Some(State::Scheduled | State::Queued));
        if waits && !firing.seen.contains(&(run, attempt)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A calendar as tasks use it, or why it can't be read.
pub(super) fn calendar_of(definition: &str, version: i64) -> Result<Calendar, String> {
    let spec = from_json(definition, "calendar").map_err(|error| error.to_string())?;
    Calendar::compile(spec, version).map_err(|error| error.to_string())
}
