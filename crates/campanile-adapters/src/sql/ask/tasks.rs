//! Ask about tasks: as they are, as they were, what waits, and when they are next due.

use std::collections::HashMap;

use async_trait::async_trait;
use campanile_core::id::{RunId, TaskId};
use campanile_core::port::ask::{AskTasks, Backlog, Former, Named, TaskFilter, TaskPage};
use campanile_core::port::store::Error;
use campanile_core::task::{Pause, Task};
use campanile_schedule::time::Timestamp;

use crate::sql::fire::INSERT_ROWS_MAX;
use crate::sql::labels;
use crate::sql::mariadb::steps;
use crate::sql::rows::{former_of, from_json, small, task_of};
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::tasks::DUE_OF;
use crate::sql::value::Table;

/// Tasks that one statement looks at.
const SUCCESSES_TASKS_MAX: usize = 100;

/// Tasks by id.
static TASKS_BY_ID: Statement = Statement::new(
    "SELECT id, version, definition, created_at, updated_at, paused_from FROM campanile_task
     WHERE id IN (SELECT i FROM @ids(i int) AS v) AND live_name IS NOT NULL",
);

/// A page of tasks.
static PAGE: Statement = Statement::new(
    "SELECT id, version, definition, created_at, updated_at, paused_from FROM campanile_task
     WHERE live_name > :after ORDER BY live_name LIMIT :limit",
);

/// A page of an owner's tasks.
static PAGE_OF_OWNER: Statement = Statement::new(
    "SELECT id, version, definition, created_at, updated_at, paused_from FROM campanile_task
     WHERE owner = :owner AND live_name IS NOT NULL AND live_name > :after ORDER BY live_name LIMIT :limit",
);

/// Living tasks by name.
static BY_NAME: Statement = Statement::new(
    "SELECT id, version, definition, created_at, updated_at, paused_from FROM campanile_task
     WHERE live_name IN (SELECT n FROM @names(n text) AS v)",
);

/// Deleted tasks that had a name, the last one first.
static FORMER: Statement = Statement::new(
    "SELECT id, version, definition, created_at, updated_at, paused_from, deleted_at FROM campanile_task
     WHERE name = :name AND deleted_at IS NOT NULL ORDER BY name DESC, deleted_at DESC LIMIT :limit",
);

/// Who has or had a name: the present one, then the deleted ones, the last one first.
static NAMESAKES: Statement = Statement::new(
    "SELECT id FROM (SELECT id, 1 AS living, 0 AS deleted_at FROM campanile_task WHERE live_name = :name
     UNION ALL SELECT id, 0, deleted_at FROM campanile_task WHERE name = :name AND deleted_at IS NOT NULL) AS namesakes
     ORDER BY living DESC, deleted_at DESC, id DESC LIMIT :limit",
);

/// What tasks are or were called.
static NAMES: Statement = Statement::new(
    "SELECT id, name, owner, definition, deleted_at FROM campanile_task WHERE id IN (SELECT i FROM @ids(i int) AS v)",
);

/// The waiting runs of tasks. A walk over the live runs, once for all of the tasks: for people who delete, not for the
/// leader.
static BACKLOGS: Statement = Statement::new(
    "SELECT task, COUNT(*), CAST(SUM(CASE WHEN origin = 1 THEN 0 ELSE 1 END) AS BIGINT),
     MAX(CASE WHEN origin = 1 THEN NULL ELSE id END)
     FROM campanile_run WHERE state IN (1, 2) AND (origin <> 1 OR attempt > 1 OR ready_at < :overdue)
     AND task IN (SELECT i FROM @ids(i int) AS v) GROUP BY task",
);

/// The next occurrence of a task.
static NEXT_DUE: Statement =
    Statement::new("SELECT at FROM campanile_due WHERE owner = :task AND n = 0");

/// Whose end puts the next occurrences of these tasks.
static CHAIN_HOLDERS: Statement = Statement::new(
    "SELECT task, run FROM campanile_chain WHERE run IS NOT NULL AND task IN (SELECT i FROM @ids(i int) AS v)",
);

/// Of each task the rows that were made last.
static LAST_SUCCESSES: Statement = Statement::new(
    "SELECT v.i, (SELECT MAX(h.finished_at) FROM (SELECT state, finished_at FROM campanile_run_history AS run_history
     WHERE (task, id) <= (v.i, 9223372036854775807) AND task >= v.i ORDER BY task DESC, id DESC LIMIT :look) AS h WHERE h.state = 4)
     FROM @ids(i int) AS v",
)
.on_mariadb(steps::LAST_SUCCESSES);

/// Pauses of these tasks.
static PAUSES: Statement = Statement::new(
    "SELECT task, by_whom, reason, since, until FROM campanile_pause WHERE task IN (SELECT i FROM @ids(i int) AS v)",
);

#[async_trait]
impl AskTasks for Store {
    async fn tasks(
        &self,
        filter: &TaskFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<TaskPage, Error> {
        let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut args = vec![
            ("after", after.unwrap_or("").into()),
            ("limit", one_more.into()),
        ];
        let reader = &self.pools.reader;
        let rows = if let Some((text, more)) = labels::page(filter, self.dialect()) {
            args.extend(more);
            reader.rows_of(&text, &args).await?
        } else if let Some(owner) = filter.owner.as_deref() {
            args.push(("owner", owner.into()));
            reader.rows(&PAGE_OF_OWNER, &args).await?
        } else {
            reader.rows(&PAGE, &args).await?
        };
        let more = rows.len() > limit;
        let tasks = self.readable(rows.into_iter().take(limit).map(task_of))?;
        // A page of nothing that can be read ends the list: nobody knows a name to go on from.
        let last = tasks.last().map(|task| task.spec.name.clone());
        Ok(TaskPage {
            tasks,
            next: last.filter(|_| more),
        })
    }

    async fn tasks_by_id(&self, ids: &[TaskId]) -> Result<Vec<Task>, Error> {
        let args = [("ids", Table::of(ids.iter().map(|id| id.as_i64())).into())];
        let rows = self.pools.reader.rows(&TASKS_BY_ID, &args).await?;
        self.noted(rows.into_iter().map(task_of).collect())
    }

    async fn pauses(&self, ids: &[TaskId]) -> Result<HashMap<TaskId, Pause>, Error> {
        const TABLE: &str = "pause";
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let args = [("ids", Table::of(ids.iter().map(|id| id.as_i64())).into())];
        let rows = self.pools.reader.rows(&PAUSES, &args).await?;
        let pauses = rows.into_iter().map(|mut row| {
            let id = TaskId::from_i64(row.int(TABLE)?);
            let pause = Pause {
                by: row.text(TABLE)?,
                reason: row.opt_text(TABLE)?,
                since: Timestamp::from_ms(row.int(TABLE)?),
                until: row.opt_int(TABLE)?.map(Timestamp::from_ms),
            };
            Ok((id, pause))
        });
        pauses.collect()
    }

    async fn tasks_by_name(&self, names: &[String]) -> Result<Vec<Task>, Error> {
        let args = [(
            "names",
            Table::default().texts(names.iter().cloned()).into(),
        )];
        let rows = self.pools.reader.rows(&BY_NAME, &args).await?;
        rows.into_iter().map(task_of).collect()
    }

    async fn former_tasks(&self, name: &str, limit: usize) -> Result<Vec<Former>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let args = [("name", name.into()), ("limit", limit.into())];
        let rows = self.pools.reader.rows(&FORMER, &args).await?;
        rows.into_iter().map(former_of).collect()
    }

    async fn namesakes(&self, name: &str, limit: usize) -> Result<Vec<TaskId>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let args = [("name", name.into()), ("limit", limit.into())];
        let rows = self.pools.reader.rows(&NAMESAKES, &args).await?;
        let ids = rows.into_iter().map(|mut row| row.int("task"));
        ids.map(|id| id.map(TaskId::from_i64)).collect()
    }

    async fn task_names(&self, ids: &[TaskId]) -> Result<Vec<Named>, Error> {
        let args = [("ids", Table::of(ids.iter().map(|id| id.as_i64())).into())];
        let rows = self.pools.reader.rows(&NAMES, &args).await?;
        let named = rows.into_iter().map(|mut row| {
            Ok(Named {
                id: TaskId::from_i64(row.int("task")?),
                name: row.text("task")?,
                owner: Some(row.text("task")?).filter(|owner| !owner.is_empty()),
                // Names are shown also of a task that can't be read.
                timezone: from_json::<Zoned>(&row.text("task")?, "task")
                    .map_or_else(|_| "UTC".to_owned(), |zoned| zoned.timezone),
                deleted_at: row.opt_int("task")?.map(Timestamp::from_ms),
            })
        });
        named.collect()
    }

    async fn backlogs(&self, tasks: &[TaskId], overdue: Timestamp) -> Result<Vec<Backlog>, Error> {
        let args = [
            ("ids", Table::of(tasks.iter().map(|id| id.as_i64())).into()),
            ("overdue", overdue.as_ms().into()),
        ];
        let rows = self.pools.reader.rows(&BACKLOGS, &args).await?;
        let backlogs = rows.into_iter().map(|mut row| {
            Ok(Backlog {
                task: TaskId::from_i64(row.int("run")?),
                waiting: small(row.int("run")?)?,
                requested: small(row.int("run")?)?,
                newest: row.opt_int("run")?.map(RunId::from_i64),
            })
        });
        backlogs.collect()
    }

    async fn next_due(&self, task: TaskId) -> Result<Option<Timestamp>, Error> {
        let rows = self
            .pools
            .reader
            .rows(&NEXT_DUE, &[("task", task.as_i64().into())])
            .await?;
        let at = rows.into_iter().next().map(|mut row| row.int("due"));
        Ok(at.transpose()?.map(Timestamp::from_ms))
    }

    async fn next_dues(&self, tasks: &[TaskId]) -> Result<HashMap<TaskId, Timestamp>, Error> {
        let mut found = HashMap::with_capacity(tasks.len());
        for chunk in tasks.chunks(INSERT_ROWS_MAX) {
            let args = [("ids", Table::of(chunk.iter().map(|id| id.as_i64())).into())];
            for mut row in self.pools.reader.rows(&DUE_OF, &args).await? {
                let task = TaskId::from_i64(row.int("due")?);
                found.insert(task, Timestamp::from_ms(row.int("due")?));
            }
        }
        Ok(found)
    }

    async fn chain_holders(&self, tasks: &[TaskId]) -> Result<HashMap<TaskId, RunId>, Error> {
        const TABLE: &str = "chain";
        let mut found = HashMap::new();
        for chunk in tasks.chunks(INSERT_ROWS_MAX) {
            let args = [("ids", Table::of(chunk.iter().map(|id| id.as_i64())).into())];
            for mut row in self.pools.reader.rows(&CHAIN_HOLDERS, &args).await? {
                let task = TaskId::from_i64(row.int(TABLE)?);
                found.insert(task, RunId::from_i64(row.int(TABLE)?));
            }
        }
        Ok(found)
    }

    async fn last_successes(
        &self,
        tasks: &[TaskId],
        look: usize,
    ) -> Result<HashMap<TaskId, Timestamp>, Error> {
        let mut found = HashMap::new();
        for some in tasks.chunks(SUCCESSES_TASKS_MAX) {
            let ids = Table::of(some.iter().map(|id| id.as_i64()));
            let look = i64::try_from(look).unwrap_or(i64::MAX);
            let args = [("ids", ids.into()), ("look", look.into())];
            for mut row in self.pools.reader.rows(&LAST_SUCCESSES, &args).await? {
                let task = TaskId::from_i64(row.int("run_history")?);
                if let Some(at) = row.opt_int("run_history")? {
                    found.insert(task, Timestamp::from_ms(at));
                }
            }
        }
        Ok(found)
    }
}

/// What of a definition tells a task's zone.
#[derive(serde::Deserialize)]
struct Zoned {
    timezone: String,
}
