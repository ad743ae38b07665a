//! What can't be read any more, wherever it is, for `doctor`: lists and the engine go by it. It only reads, a bounded number
//! of rows, and changes nothing.

use campanile_core::decide::permits::LimitKey;
use campanile_core::port::store::Error;

use crate::sql::fire::{CALENDARS, LIMITS, calendar_of};
use crate::sql::rows::{QUEUE_AT, live_run, node_of, small, spec_of, task_of};
use crate::sql::statement::Statement;
use crate::sql::store::Store;

/// Rows of tasks, and of live runs, that are read at once.
const PAGE_ROWS: i64 = 1_000;
/// Pages of each that are read.
const PAGES_MAX: usize = 50;

/// Living tasks.
static TASKS: Statement = Statement::new(
    "SELECT id, live_name, id, version, definition, created_at, updated_at, paused_from FROM campanile_task
     WHERE id > :after AND live_name IS NOT NULL ORDER BY id LIMIT :limit",
);

/// Live runs with what they carry. What is set aside is shown elsewhere.
static RUNS: Statement = Statement::new(concat!(
    "SELECT ",
    live_run!(),
    ", s.run, s.handler, s.payload, s.rules FROM campanile_run AS run LEFT JOIN campanile_run_spec s ON s.run = run.id
     WHERE run.id > :after AND run.state <> 8 ORDER BY run.id LIMIT :limit",
));

/// The highest id of a page of live runs.
static LAST_RUN: Statement = Statement::new(
    "SELECT MAX(id) FROM (SELECT id FROM campanile_run WHERE id > :after AND state <> 8 ORDER BY id LIMIT :limit) AS page",
);

/// The members.
static NODES: Statement = Statement::new(
    "SELECT name, id, name, roles, queues, slots, busy, lease_ms, started_at, heartbeat_seq, heartbeat_at, version, abilities FROM campanile_node
     ORDER BY name, id",
);

/// Something that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What it is, in the words of `doctor`.
    pub what: String,
    /// What is wrong with it.
    pub why: String,
    /// What it means, and what to do.
    pub remedy: &'static str,
}

impl Store {
    /// Calendars, limits, nodes, tasks and live runs that can't be read.
    ///
    /// # Errors
    /// The store's.
    pub async fn unreadable(&self) -> Result<Vec<Unreadable>, Error> {
        let mut found = self.unreadable_shared().await?;
        for mut row in self.pools.reader.rows(&NODES, &[]).await? {
            let what = format!("node `{}`", row.text("node").unwrap_or_default());
            let remedy = "nothing is given to it; stop it and start it again, or delete its row if it is gone";
            found.extend(node_of(row).err().map(|error| of(what, &error, remedy)));
        }
        self.unreadable_tasks(&mut found).await?;
        self.unreadable_runs(&mut found).await?;
        Ok(found)
    }

    async fn unreadable_shared(&self) -> Result<Vec<Unreadable>, Error> {
        let mut found = Vec::new();
        for mut row in self.pools.reader.rows(&CALENDARS, &[]).await? {
            let (name, version) = (row.text("calendar")?, row.int("calendar")?);
            if let Err(why) = calendar_of(&row.text("calendar")?, version) {
                found.push(Unreadable {
                    what: format!("calendar `{name}`"),
                    why,
                    remedy: "tasks that name it wait; put it again (`campanile apply`)",
                });
            }
        }
        for mut row in self.pools.reader.rows(&LIMITS, &[]).await? {
            let key = row.text("concurrency_limit")?;
            let what = format!("limit `{key}`");
            if let Err(why) = key.parse::<LimitKey>() {
                let remedy = "it limits nothing; delete its row, and set the limit again";
                found.push(Unreadable { what, why, remedy });
                continue;
            }
            let remedy = "it counts as 1 until it is set again";
            let most = small::<u32>(row.int("concurrency_limit")?);
            found.extend(most.err().map(|error| of(what, &error, remedy)));
        }
        Ok(found)
    }

    async fn unreadable_tasks(&self, found: &mut Vec<Unreadable>) -> Result<(), Error> {
        let mut after = i64::MIN;
        for _ in 0..PAGES_MAX {
            let args = [("after", after.into()), ("limit", PAGE_ROWS.into())];
            let rows = self.pools.reader.rows(&TASKS, &args).await?;
            if rows.is_empty() {
                break;
            }
            for mut row in rows {
                after = row.int("task")?;
                let what = format!("task `{}`", row.text("task").unwrap_or_default());
                let remedy = "it does not fire; mend its row with the store's own tools, then release what is set aside of it";
                found.extend(task_of(row).err().map(|error| of(what, &error, remedy)));
            }
        }
        Ok(())
    }

    async fn unreadable_runs(&self, found: &mut Vec<Unreadable>) -> Result<(), Error> {
        let mut after = i64::MIN;
        for _ in 0..PAGES_MAX {
            let args = [("after", after.into()), ("limit", PAGE_ROWS.into())];
            let last = self.pools.reader.rows(&LAST_RUN, &args).await?;
            let last = last.into_iter().next();
            let Some(last) = last
                .map(|mut row| row.opt_int("run"))
                .transpose()?
                .flatten()
            else {
                break;
            };
            let rows = self.pools.reader.rows(&RUNS, &args).await?;
            self.learn_queues(&rows, QUEUE_AT).await?;
            for mut row in rows {
                let read = self.run_of(&mut row).and_then(|_| spec_of(&mut row));
                let remedy =
                    "the leader sets it aside when it meets it; mend its row, and release it";
                found.extend(read.err().map(|error| {
                    let what = error
                        .spoiled()
                        .map_or_else(String::new, |row| row.to_string());
                    of(what, &error, remedy)
                }));
            }
            after = last;
        }
        Ok(())
    }
}

fn of(what: String, error: &Error, remedy: &'static str) -> Unreadable {
    let why = match error {
        Error::Corrupt { message, .. } => message.clone(),
        other => other.to_string(),
    };
    Unreadable { what, why, remedy }
}
