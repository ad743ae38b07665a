//! What API and command line ask of the store.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use campanile::actor::Actor;
use campanile::failpoint::{self, Failpoint};
use campanile::id::{RunId, TaskId};
use campanile::port::Written;
use campanile::port::store::{Control, Error};
use campanile::protocol::keys::Scope;
use campanile::protocol::work::{
    Backlog, Cancel, Edit, Former, Moved, Named, Node, Quarantined, QueueCount, Released,
    RunDetail, RunFilter, Submission, Submitted, TaskPage,
};
use campanile::run::{Reason, Run, State};
use campanile::task::Task;
use campanile_schedule::time::Timestamp;

use super::super::migration;
use super::super::pen::as_editor;
use super::super::statement::{Statement, Text};
use super::super::value::{Arg, Table};
use super::ends::{Ending, Hand, Outcome};
use super::points::{CANCEL, SUBMIT};
use super::rows::{QUEUE_AT, attempt_of, ended_run, live_run, node_of, small};
use super::{Store, first};

/// How long before an occurrence's instant its run may have been minted: the look-ahead and two clocks' difference.
const MINTED_BEFORE: std::time::Duration = std::time::Duration::from_secs(600);
/// A cancel that meets a run between two states looks again.
const CANCEL_LOOKS_MAX: usize = 5;

/// One run, wherever it is.
pub(super) static RUN: Statement = Statement::new(concat!(
    "SELECT ",
    live_run!(),
    " FROM run WHERE run.id = :id UNION ALL SELECT ",
    ended_run!(),
    " FROM run_history WHERE run_history.id = :id",
));

/// A run's attempts that ended other than well.
static ATTEMPTS: Statement = Statement::new(
    "SELECT attempt, worker, started_at, finished_at, reason, error, class FROM run_attempt WHERE run = :id ORDER BY attempt",
);

/// What a run's attempts wrote.
static LOGS: Statement =
    Statement::new("SELECT attempt, text FROM run_log WHERE run = :id ORDER BY attempt");

/// The last answer of a task's schedule at or before an instant: a run, a skip, or a skip of many.
static ENDED_OCCURRENCE: Statement = Statement::new(concat!(
    "SELECT ",
    ended_run!(),
    " FROM run_history WHERE task = :task AND due_at <= :at AND dedup = 0
     ORDER BY task DESC, due_at DESC, dedup DESC LIMIT 1",
));

/// A live occurrence: a walk over the live runs from where it may have been minted. After an outage it may have been
/// minted long after its instant, so the walk has no upper end but that of the live runs.
static LIVE_OCCURRENCE: Statement = Statement::new(concat!(
    "SELECT ",
    live_run!(),
    " FROM run WHERE id >= :first AND task = :task AND due_at = :at AND origin = 1
     ORDER BY id LIMIT 1",
));

/// Tells a running run's worker to end it.
static REQUEST_CANCEL: Statement =
    Statement::new("UPDATE run SET cancel_requested = 1 WHERE id = :id AND state = 3");

/// How a run ended.
static ENDED_STATE: Statement = Statement::new("SELECT state FROM run_history WHERE id = :id");

/// How a run stands that has not ended.
static LIVE_STATE: Statement = Statement::new("SELECT state FROM run WHERE id = :id");

/// The living.
static NODES: Statement = Statement::new(
    "SELECT id, name, roles, queues, slots, busy, lease_ms, started_at, beat_seq, beat_at, version, abilities FROM node
     ORDER BY name, id",
);

/// Live runs by queue: counted, not kept, because no transition pays for a counter.
static QUEUE_COUNTS: Statement = Statement::new(
    "SELECT queue, CAST(SUM(CASE WHEN state = 1 AND ready_at > :now THEN 1 ELSE 0 END) AS BIGINT),
     CAST(SUM(CASE WHEN state = 2 OR (state = 1 AND ready_at <= :now) THEN 1 ELSE 0 END) AS BIGINT),
     CAST(SUM(CASE WHEN state = 3 THEN 1 ELSE 0 END) AS BIGINT)
     FROM run GROUP BY queue",
);

/// Keeps the first secret.
static KEEP_SECRET: Statement = Statement::new(
    "INSERT INTO setting (name, value) VALUES ('secret', :value) ON CONFLICT (name) DO NOTHING",
);

/// The secret that is kept.
static SECRET: Statement = Statement::new("SELECT value FROM setting WHERE name = 'secret'");

/// Asks a term to end, if it is the present one.
static RESIGN: Statement = Statement::new(
    "UPDATE leader SET resign_epoch = :epoch, seq = seq + 1 WHERE id = 1 AND epoch = :epoch",
);

#[async_trait]
impl Control for Store {
    async fn tasks(
        &self,
        owner: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<TaskPage, Error> {
        self.task_page(owner, after, limit).await
    }

    async fn namesakes(&self, name: &str, limit: usize) -> Result<Vec<TaskId>, Error> {
        self.namesakes_of(name, limit).await
    }

    async fn task_names(&self, ids: &[TaskId]) -> Result<Vec<Named>, Error> {
        self.names_of(ids).await
    }

    async fn backlogs(&self, tasks: &[TaskId], overdue: Timestamp) -> Result<Vec<Backlog>, Error> {
        self.backlogs_of(tasks, overdue).await
    }

    async fn tasks_by_name(&self, names: &[String]) -> Result<Vec<Task>, Error> {
        self.by_name(names).await
    }

    async fn former_tasks(&self, name: &str, limit: usize) -> Result<Vec<Former>, Error> {
        self.former(name, limit).await
    }

    async fn edit(&self, actor: &Actor, edit: &Edit, at: Timestamp) -> Result<Written, Error> {
        self.edit_tasks(actor, edit, at).await
    }

    async fn check_schema(&self) -> Result<(), Error> {
        let found = self.schema().await?;
        let known = migration::known();
        if found > known {
            return Err(Error::Outdated { found, known });
        }
        Ok(())
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, Error> {
        self.setting_of(name).await
    }

    async fn submit(
        &self,
        actor: &Actor,
        submissions: &[Submission],
    ) -> Result<Vec<Submitted>, Error> {
        let mut keys = submissions.iter().filter_map(|s| s.key.as_ref());
        if keys.any(|key| key.text.contains('\0')) {
            return Err(Error::Refused("an idempotency key holds NUL".into()));
        }
        if let Some(answers) = self.known_already(submissions).await? {
            return Ok(answers);
        }
        self.intern(submissions.iter().map(|s| &s.run.queue))
            .await?;
        let answers = as_editor!(SUBMIT, self, actor, None, tx => self.submit_in(tx, submissions))?;
        answers
            .flatten()
            .ok_or_else(|| Error::Contended("a task was deleted meanwhile".into()))
    }

    async fn runs(
        &self,
        filter: &RunFilter,
        before: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<Run>, Error> {
        let (text, args) = runs_text(filter, before, limit, self.dialect());
        let rows = self.pools.reader.rows_of(&text, &args).await?;
        self.learn_queues(&rows, QUEUE_AT).await?;
        let runs = rows.into_iter().map(|mut row| self.run_of(&mut row));
        self.readable(runs)
    }

    async fn run(&self, id: RunId) -> Result<Option<RunDetail>, Error> {
        let args = [("id", id.as_i64().into())];
        let rows = self.pools.reader.rows(&RUN, &args).await?;
        let Some(run) = self.runs_of(rows).await?.pop() else {
            return Ok(None);
        };
        let mut specs = self.specs(vec![id.as_i64()]).await?;
        let attempts = self.pools.reader.rows(&ATTEMPTS, &args).await?;
        Ok(Some(RunDetail {
            run,
            spec: specs.remove(&id),
            attempts: attempts
                .into_iter()
                .map(attempt_of)
                .collect::<Result<_, _>>()?,
        }))
    }

    async fn occurrence(&self, task: TaskId, at: Timestamp) -> Result<Option<Run>, Error> {
        let first = RunId::floor(at.minus(MINTED_BEFORE));
        let args = [
            ("task", task.as_i64().into()),
            ("at", at.as_ms().into()),
            ("first", first.as_i64().into()),
        ];
        // The live ones first: a run that ends in between is found in history then.
        let rows = self.pools.reader.rows(&LIVE_OCCURRENCE, &args).await?;
        if let Some(run) = self.runs_of(rows).await?.pop() {
            return Ok(Some(run));
        }
        let rows = self.pools.reader.rows(&ENDED_OCCURRENCE, &args).await?;
        let found = self.runs_of(rows).await?.pop();
        Ok(found.filter(|run| run.due_at == at || run.skipped.is_some_and(|(last, _)| at <= last)))
    }

    async fn next_due(&self, task: TaskId) -> Result<Option<Timestamp>, Error> {
        self.due_of_task(task).await
    }

    async fn last_successes(
        &self,
        tasks: &[TaskId],
        look: usize,
    ) -> Result<HashMap<TaskId, Timestamp>, Error> {
        self.last_successes_of(tasks, look).await
    }

    async fn next_dues(&self, tasks: &[TaskId]) -> Result<HashMap<TaskId, Timestamp>, Error> {
        self.dues_of_tasks(tasks).await
    }

    async fn cancel(&self, actor: &Actor, id: RunId, at: Timestamp) -> Result<Cancel, Error> {
        let args = [("id", id.as_i64().into())];
        for _ in 0..CANCEL_LOOKS_MAX {
            let ending = Ending {
                run: id,
                attempt: None,
                claim: None,
                at: at.as_ms(),
                outcome: Outcome::Over(State::Cancelled, Reason::Requested),
                error: None,
                class: None,
                log: None,
                timer: None,
            };
            let answer = self.record(&CANCEL, Hand::Person(actor), &[ending]).await?;
            if answer.is_some_and(|written| written.contains(&Written::Applied)) {
                return Ok(Cancel::Cancelled);
            }
            if self.pools.pens.write(actor, &REQUEST_CANCEL, &args).await? > 0 {
                failpoint::reach(Failpoint::CancelRequested);
                return Ok(Cancel::Requested);
            }
            // Not live when we look here means in history, or nowhere: nothing ever leaves history for the live. What is
            // set aside may be released after this one look: then it went from state to state.
            let live = self.pools.main.rows(&LIVE_STATE, &args).await?;
            if let Some(mut row) = live.into_iter().next() {
                if row.int("run")? == State::Quarantined.as_i64() {
                    return Ok(Cancel::Ended(State::Quarantined));
                }
                continue;
            }
            let rows = self.pools.main.rows(&ENDED_STATE, &args).await?;
            let Some(mut row) = rows.into_iter().next() else {
                return Ok(Cancel::Unknown);
            };
            let state = State::from_i64(row.int("run_history")?);
            return state.map(Cancel::Ended).ok_or_else(|| Error::Corrupt {
                table: "run_history",
                row: None,
                message: format!("run {id} is in a state that this version doesn't know"),
            });
        }
        Err(Error::Contended(
            "the run went from state to state meanwhile".into(),
        ))
    }

    async fn move_run(&self, actor: &Actor, id: RunId, to: Timestamp) -> Result<Moved, Error> {
        self.move_timer(actor, id, to).await
    }

    async fn runs_of_key(&self, key: &str, limit: usize) -> Result<Vec<(Scope, RunId)>, Error> {
        self.of_key(key, limit).await
    }

    async fn quarantine(
        &self,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, Error> {
        self.all_aside(after, limit).await
    }

    async fn release(&self, actor: &Actor, id: i64, at: Timestamp) -> Result<Released, Error> {
        self.let_go(actor, id, at).await
    }

    async fn drop_quarantined(&self, actor: &Actor, id: i64) -> Result<Written, Error> {
        self.forget(actor, id).await
    }

    async fn logs(&self, id: RunId) -> Result<Vec<(u32, String)>, Error> {
        let rows = self
            .pools
            .reader
            .rows(&LOGS, &[("id", id.as_i64().into())])
            .await?;
        let logs = rows
            .into_iter()
            .map(|mut row| Ok((small(row.int("run_log")?)?, row.text("run_log")?)));
        logs.collect()
    }

    async fn nodes(&self) -> Result<Vec<Node>, Error> {
        let rows = self.pools.reader.rows(&NODES, &[]).await?;
        self.readable(rows.into_iter().map(node_of))
    }

    async fn queues(&self, now: Timestamp) -> Result<Vec<QueueCount>, Error> {
        let rows = self
            .pools
            .reader
            .rows(&QUEUE_COUNTS, &[("now", now.as_ms().into())])
            .await?;
        self.learn_queues(&rows, 0).await?;
        let mut counts = BTreeMap::new();
        for mut row in rows {
            let queue = self.queue_name(row.int("run")?)?;
            let count = QueueCount {
                queue: queue.clone(),
                future: small(row.int("run")?)?,
                waiting: small(row.int("run")?)?,
                running: small(row.int("run")?)?,
            };
            counts.insert(queue, count);
        }
        Ok(counts.into_values().collect())
    }

    async fn secret(&self, fresh: [u8; 32]) -> Result<[u8; 32], Error> {
        let args = [("value", hex::encode(fresh).as_str().into())];
        self.pools.main.write(&KEEP_SECRET, &args).await?;
        let kept = first(self.pools.main.rows(&SECRET, &[]).await?, "setting")?.text("setting")?;
        let mut secret = [0; 32];
        hex::decode_to_slice(&kept, &mut secret).map_err(|error| Error::Corrupt {
            table: "setting",
            row: None,
            message: format!("the shared secret: {error}"),
        })?;
        Ok(secret)
    }

    async fn request_resign(&self, actor: &Actor, epoch: i64) -> Result<Written, Error> {
        failpoint::reach(Failpoint::ResignBefore);
        let changed = self
            .pools
            .pens
            .write(actor, &RESIGN, &[("epoch", epoch.into())])
            .await?;
        failpoint::reach(Failpoint::ResignRequested);
        Ok(if changed == 0 {
            Written::Stale
        } else {
            Written::Applied
        })
    }
}

/// The list of runs, live and ended, as one statement: so a run that ends meanwhile is in it once.
fn runs_text(
    filter: &RunFilter,
    before: Option<RunId>,
    limit: usize,
    dialect: super::Dialect,
) -> (Text, Vec<(&'static str, Arg)>) {
    let mut args = vec![
        ("before", before.map_or(i64::MAX, RunId::as_i64).into()),
        ("limit", i64::try_from(limit).unwrap_or(i64::MAX).into()),
    ];
    let mut conditions = "id < :before".to_owned();
    for (name, condition, value) in [
        (
            "since",
            " AND due_at >= :since",
            filter.since.map(Timestamp::as_ms),
        ),
        (
            "until",
            " AND due_at < :until",
            filter.until.map(Timestamp::as_ms),
        ),
    ] {
        if let Some(value) = value {
            conditions.push_str(condition);
            args.push((name, value.into()));
        }
    }
    match filter.tasks.as_slice() {
        [] => {}
        [task] => {
            conditions.push_str(" AND task = :task");
            args.push(("task", task.as_i64().into()));
        }
        tasks => {
            conditions.push_str(" AND task IN (SELECT i FROM @tasks(i int) AS v)");
            args.push((
                "tasks",
                Table::of(tasks.iter().map(|id| id.as_i64())).into(),
            ));
        }
    }
    if let Some(state) = filter.state {
        // As a number in the text: so the index on the states that are rare is seen to fit.
        conditions.push_str(&format!(" AND state = {}", state.as_i64()));
    }
    // A task's rows are found by the task and then sorted; all others are walked from the newest.
    let order = if filter.tasks.is_empty() {
        "id"
    } else {
        "id + 0"
    };
    let part = |columns: &str, table: &str| {
        format!(
            "SELECT * FROM (SELECT {columns} FROM {table} WHERE {conditions} ORDER BY {table}.{order} DESC LIMIT :limit) \
             AS {table}_part"
        )
    };
    let live = part(live_run!(), "run");
    let ended = part(ended_run!(), "run_history");
    let template = match filter.state {
        Some(state) if state.is_terminal() => ended,
        Some(_) => live,
        None => format!("{live} UNION ALL {ended}"),
    };
    let template = format!("{template} ORDER BY 1 DESC LIMIT :limit");
    (Text::render(&template, dialect), args)
}
