//! When tasks last succeeded, over SQL: each task's newest instants by the index that keeps them unique, and no further.

use std::collections::HashMap;

use campanile::id::TaskId;
use campanile::port::store::Error;
use campanile_schedule::time::Timestamp;

use super::super::statement::Statement;
use super::super::value::Table;
use super::Store;

/// Tasks that one statement looks at.
const TASKS_MAX: usize = 100;

/// Of each task the rows with the latest instants.
static LAST_SUCCESSES: Statement = Statement::new(
    "SELECT v.i, (SELECT MAX(h.finished_at) FROM (SELECT state, finished_at FROM run_history
     WHERE run_history.task = v.i ORDER BY due_at DESC, dedup DESC LIMIT :look) AS h WHERE h.state = 4)
     FROM @ids(i int) AS v",
);

impl Store {
    pub(super) async fn last_successes_of(
        &self,
        tasks: &[TaskId],
        look: usize,
    ) -> Result<HashMap<TaskId, Timestamp>, Error> {
        let mut found = HashMap::new();
        for some in tasks.chunks(TASKS_MAX) {
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
