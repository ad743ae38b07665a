//! Ask about runs: lists, one with all that hangs on it, and what became of an instant or a key.

use std::collections::HashMap;

use async_trait::async_trait;
use campanile_core::decide::edit::keys::Scope;
use campanile_core::id::{NodeId, RunId, TaskId};
use campanile_core::port::ask::{AskRuns, RunFilter, RunRecord};
use campanile_core::port::attempt::Chunk;
use campanile_core::port::store::Error;
use campanile_core::run::{Run, State};
use campanile_schedule::time::Timestamp;

use crate::sql::dialect::Dialect;
use crate::sql::log::position;
use crate::sql::rows::{QUEUE_AT, attempt_of, ended_run, left_of, live_run, small};
use crate::sql::statement::{Statement, Text};
use crate::sql::store::Store;
use crate::sql::value::{Arg, Row, Table};

/// How long before an occurrence's instant its run may have been minted: the look-ahead and two clocks' difference.
const MINTED_BEFORE: std::time::Duration = std::time::Duration::from_secs(600);

/// One run, wherever it is.
pub(in crate::sql) static RUN: Statement = Statement::new(concat!(
    "SELECT ",
    live_run!(),
    " FROM campanile_run AS run WHERE run.id = :id UNION ALL SELECT ",
    ended_run!(),
    " FROM campanile_run_history AS run_history WHERE run_history.id = :id",
));

/// Who submitted runs.
static SUBMITTERS: Statement = Statement::new(
    "SELECT id, submitter FROM campanile_run WHERE id IN (SELECT i FROM @ids(i int) AS v) AND submitter IS NOT NULL
     UNION ALL SELECT id, submitter FROM campanile_run_history
     WHERE id IN (SELECT i FROM @ids(i int) AS v) AND submitter IS NOT NULL",
);

/// A run's attempts that ended other than well.
static ATTEMPTS: Statement = Statement::new(
    "SELECT attempt, worker, started_at, finished_at, reason, error, class FROM campanile_run_attempt WHERE run = :id ORDER BY attempt",
);

/// What a run's last attempt left beside its log.
static LEFT: Statement = Statement::new(
    "SELECT attempt, result, percent, progress, progress_at FROM campanile_run_log
     WHERE run = :id AND (result IS NOT NULL OR progress_at IS NOT NULL) ORDER BY attempt DESC LIMIT 1",
);

/// The last answer of a task's schedule at or before an instant: a run, a skip, or a skip of many.
static ENDED_OCCURRENCE: Statement = Statement::new(concat!(
    "SELECT ",
    ended_run!(),
    " FROM campanile_run_history AS run_history WHERE task = :task AND due_at <= :at AND dedup = 0
     ORDER BY task DESC, due_at DESC LIMIT 1",
));

/// A live occurrence: a walk over the live runs from where it may have been minted. After an outage it may have been
/// minted long after its instant, so the walk has no upper end but that of the live runs.
static LIVE_OCCURRENCE: Statement = Statement::new(concat!(
    "SELECT ",
    live_run!(),
    " FROM campanile_run AS run WHERE id >= :first AND task = :task AND due_at = :at AND origin = 1
     ORDER BY id LIMIT 1",
));

/// The runs that a key stands for, whoever has it.
static OF_KEY: Statement = Statement::new(
    "SELECT scope, run FROM campanile_run_key WHERE idempotency_key = :key AND scope <> 'engine' ORDER BY scope LIMIT :limit",
);

/// What a run's attempts wrote; what attempts of before wrote was one text.
static LOG: Statement = Statement::new(
    "SELECT attempt, at, text FROM (SELECT attempt, at, text FROM campanile_run_chunk
     WHERE run = :run AND (attempt > :attempt OR (attempt = :attempt AND until > :from))
     UNION ALL SELECT attempt, 0, text FROM campanile_run_log
     WHERE run = :run AND text <> '' AND (attempt > :attempt OR (attempt = :attempt AND OCTET_LENGTH(text) > :from))) AS log
     ORDER BY attempt, at LIMIT :limit",
);

/// What nodes are called.
static NODE_NAMES: Statement = Statement::new(
    "SELECT id, name FROM campanile_node_name WHERE id IN (SELECT i FROM @ids(i int) AS v)",
);

#[async_trait]
impl AskRuns for Store {
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

    async fn run(&self, id: RunId) -> Result<Option<RunRecord>, Error> {
        let args = [("id", id.as_i64().into())];
        let rows = self.pools.reader.rows(&RUN, &args).await?;
        let Some(run) = self.runs_of(rows).await?.pop() else {
            return Ok(None);
        };
        let mut specs = self.specs(vec![id.as_i64()]).await?;
        let attempts = self.pools.reader.rows(&ATTEMPTS, &args).await?;
        let left = self.pools.reader.rows(&LEFT, &args).await?.pop();
        let (result, progress) = left.map_or(Ok((None, None)), |row| left_of(id, row))?;
        Ok(Some(RunRecord {
            run,
            spec: specs.remove(&id),
            attempts: attempts
                .into_iter()
                .map(attempt_of)
                .collect::<Result<_, _>>()?,
            result,
            progress,
            submitter: self.submitters(&[id]).await?.remove(&id),
        }))
    }

    async fn submitters(&self, ids: &[RunId]) -> Result<HashMap<RunId, String>, Error> {
        let args = [("ids", Table::of(ids.iter().map(|id| id.as_i64())).into())];
        let rows = self.pools.reader.rows(&SUBMITTERS, &args).await?;
        let of = |mut row: Row| Ok((RunId::from_i64(row.int("run")?), row.text("run")?));
        rows.into_iter().map(of).collect()
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

    async fn runs_of_key(&self, key: &str, limit: usize) -> Result<Vec<(Scope, RunId)>, Error> {
        if key.contains('\0') {
            return Ok(Vec::new());
        }
        let args = [
            ("key", key.into()),
            ("limit", i64::try_from(limit).unwrap_or(i64::MAX).into()),
        ];
        let rows = self.pools.reader.rows(&OF_KEY, &args).await?;
        let found = rows.into_iter().map(|mut row| {
            let scope = scope_of(&row.text("run_key")?)?;
            Ok((scope, RunId::from_i64(row.int("run_key")?)))
        });
        found.collect()
    }

    async fn log(
        &self,
        id: RunId,
        attempt: u32,
        from: u64,
        limit: usize,
    ) -> Result<Vec<(u32, Chunk)>, Error> {
        let args = [
            ("run", id.as_i64().into()),
            ("attempt", i64::from(attempt).into()),
            ("from", position(from).into()),
            ("limit", i64::try_from(limit).unwrap_or(i64::MAX).into()),
        ];
        let rows = self.pools.reader.rows(&LOG, &args).await?;
        let chunks = rows.into_iter().map(|mut row| {
            let attempt = small(row.int("run_chunk")?)?;
            let at = small(row.int("run_chunk")?)?;
            let text = row.text("run_chunk")?;
            Ok((attempt, Chunk { at, text }))
        });
        chunks.collect()
    }

    async fn node_names(&self, ids: &[NodeId]) -> Result<HashMap<NodeId, String>, Error> {
        let args = [("ids", Table::of(ids.iter().map(|id| id.as_i64())).into())];
        let rows = self.pools.reader.rows(&NODE_NAMES, &args).await?;
        let names = rows.into_iter().map(|mut row| {
            let id = NodeId::from_i64(row.int("node_name")?);
            Ok((id, row.text("node_name")?))
        });
        names.collect()
    }
}

/// The list of runs, live and ended, as one statement: so a run that ends meanwhile is in it once.
fn runs_text(
    filter: &RunFilter,
    before: Option<RunId>,
    limit: usize,
    dialect: Dialect,
) -> (Text, Vec<(&'static str, Arg)>) {
    let mut args = vec![
        ("before", before.map_or(i64::MAX, RunId::as_i64).into()),
        ("limit", i64::try_from(limit).unwrap_or(i64::MAX).into()),
    ];
    let mut conditions = String::new();
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
    let Whose {
        live,
        ended,
        in_order,
        in_order_ended,
    } = whose(filter, dialect, &mut args);
    if let Some(state) = filter.state {
        // As a number in the text: so the index on the states that are rare is seen to fit.
        conditions.push_str(&format!(" AND state = {}", state.as_i64()));
    }
    let part = |columns: &str, table: &str, of: &str, order: &str| {
        format!(
            "SELECT * FROM (SELECT {columns} FROM campanile_{table} AS {table} WHERE {of}{conditions} ORDER BY {order} LIMIT :limit) \
             AS {table}_part"
        )
    };
    let live = part(live_run!(), "run", &live, in_order);
    let ended = part(ended_run!(), "run_history", &ended, in_order_ended);
    let template = match filter.state {
        Some(state) if state.is_terminal() => ended,
        Some(_) => live,
        None => format!("{live} UNION ALL {ended}"),
    };
    let template = format!("{template} ORDER BY 1 DESC LIMIT :limit");
    (Text::render(&template, dialect), args)
}

/// Which rows a page is of, and the order in which they are read, newest first.
struct Whose {
    live: String,
    ended: String,
    in_order: &'static str,
    in_order_ended: &'static str,
}

/// One task's rows stand in the order of ids in an index; only the order of both of its columns makes sure that they are
/// read there, and then a page costs the same however much of history is others'. Those of several tasks are found by the
/// tasks and then sorted. Rows of a rare state have an index of their own, also in the order of ids.
fn whose(filter: &RunFilter, dialect: Dialect, args: &mut Vec<(&'static str, Arg)>) -> Whose {
    let all = "id < :before";
    let (live, ended, [in_order, in_order_ended]) = match filter.tasks.as_slice() {
        [] => (all.to_owned(), all.to_owned(), ["id DESC"; 2]),
        [task] => {
            args.push(("task", task.as_i64().into()));
            let of = format!("{all} AND task = :task");
            if filter.state.is_some_and(|state| state != State::Succeeded) {
                (of.clone(), of, ["id DESC"; 2])
            } else {
                let ended = match dialect {
                    // It reads an index so by one column's value and a range of the next.
                    Dialect::MariaDb => of.clone(),
                    Dialect::Sqlite | Dialect::Postgres => {
                        "(task, id) < (:task, :before) AND task >= :task".to_owned()
                    }
                };
                (of, ended, ["id DESC", "task DESC, id DESC"])
            }
        }
        tasks => {
            let ids = Table::of(tasks.iter().map(|id| id.as_i64()));
            args.push(("tasks", ids.into()));
            let of = format!("{all} AND task IN (SELECT i FROM @tasks(i int) AS v)");
            (of.clone(), of, ["id + 0 DESC"; 2])
        }
    };
    Whose {
        live,
        ended,
        in_order,
        in_order_ended,
    }
}

fn scope_of(text: &str) -> Result<Scope, Error> {
    text.parse().map_err(|message| Error::Corrupt {
        table: "run_key",
        row: None,
        message,
    })
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Row as _, SqliteConnection};

    use super::*;
    use crate::sql::migration::script;

    /// How SQLite reads the page of history that a filter asks for.
    async fn plan(filter: RunFilter) -> String {
        let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(script(Dialect::Sqlite)))
            .execute(&mut db)
            .await
            .unwrap();
        let (text, _) = runs_text(&filter, None, 50, Dialect::Sqlite);
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", text.sql));
        let rows = sqlx::query(explain).fetch_all(&mut db).await.unwrap();
        let lines = rows.iter().map(|row| row.get::<String, _>("detail"));
        lines.collect::<Vec<_>>().join("; ")
    }

    #[tokio::test]
    async fn a_tasks_page_is_read_in_its_order() {
        let task = |state| RunFilter {
            tasks: vec![TaskId::from_i64(7)],
            state,
            ..RunFilter::default()
        };
        for state in [None, Some(State::Succeeded)] {
            let plan = plan(task(state)).await;
            assert!(
                plan.contains("USING INDEX campanile_run_history_task"),
                "{plan}"
            );
        }
        let rare = plan(task(Some(State::Failed))).await;
        assert!(rare.contains("SEARCH run_history USING INDEX"), "{rare}");
    }
}
