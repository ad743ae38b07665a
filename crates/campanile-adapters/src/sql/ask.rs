//! Ask: all that is only read, page by page, from connections that hold no lock that a leader waits for.

mod runs;
mod tasks;

use std::collections::BTreeMap;

use async_trait::async_trait;
use campanile_core::decide::edit::inbox::{Became, Settled};
use campanile_core::id::{RunId, TaskId};
use campanile_core::port::ask::{AskCluster, Quarantined, QueueCount};
use campanile_core::port::member::Node;
use campanile_core::port::store::Error;
use campanile_schedule::time::Timestamp;

use crate::sql::migration;
use crate::sql::publish::cap;
use crate::sql::rows::{node_of, small};
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::Row;

pub(super) use runs::RUN;

/// A setting of the cluster.
static SETTING: Statement =
    Statement::new("SELECT value FROM campanile_setting WHERE name = :name");

/// The members.
static NODES: Statement = Statement::new(
    "SELECT id, name, roles, queues, slots, busy, lease_ms, started_at, heartbeat_seq, heartbeat_at, version, abilities FROM campanile_node
     ORDER BY name, id",
);

/// Live runs by queue: counted, not kept, because no transition pays for a counter.
static QUEUE_COUNTS: Statement = Statement::new(
    "SELECT queue, CAST(SUM(CASE WHEN state = 1 AND ready_at > :now THEN 1 ELSE 0 END) AS BIGINT),
     CAST(SUM(CASE WHEN state = 2 OR (state = 1 AND ready_at <= :now) THEN 1 ELSE 0 END) AS BIGINT),
     CAST(SUM(CASE WHEN state = 3 THEN 1 ELSE 0 END) AS BIGINT)
     FROM campanile_run GROUP BY queue",
);

/// What is set aside.
static QUARANTINE: Statement = Statement::new(
    "SELECT id, task, run, attempt, queue, due_at, at, what, error FROM campanile_quarantine WHERE id > :after ORDER BY id LIMIT :limit",
);

/// What has become of a row.
static SETTLED: Statement = Statement::new(
    "SELECT id, at, became, run, message FROM campanile_inbox_settled WHERE id = :id",
);

/// Rows that became no run, newest first.
static UNFULFILLED: Statement = Statement::new(
    "SELECT id, at, became, run, message FROM campanile_inbox_settled
     WHERE id < :before AND became <> 1 ORDER BY id DESC LIMIT :limit",
);

#[async_trait]
impl AskCluster for Store {
    async fn check_schema(&self) -> Result<(), Error> {
        let found = self.schema().await?;
        let known = migration::known();
        if found > known {
            return Err(Error::Outdated { found, known });
        }
        Ok(())
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, Error> {
        let args = [("name", name.into())];
        let rows = self.pools.reader.rows(&SETTING, &args).await?;
        let value = rows.into_iter().next();
        value.map(|mut row| row.text("setting")).transpose()
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

    async fn quarantine(
        &self,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, Error> {
        let args = [
            ("after", after.unwrap_or(0).into()),
            ("limit", i64::try_from(limit).unwrap_or(i64::MAX).into()),
        ];
        let rows = self.pools.reader.rows(&QUARANTINE, &args).await?;
        self.learn_queues(&rows, 4).await?;
        rows.into_iter().map(|row| self.aside_of(row)).collect()
    }

    async fn settled(&self, id: i64) -> Result<Option<Settled>, Error> {
        let rows = self
            .pools
            .reader
            .rows(&SETTLED, &[("id", id.into())])
            .await?;
        rows.into_iter().next().map(settled_of).transpose()
    }

    async fn unfulfilled(&self, before: Option<i64>, limit: usize) -> Result<Vec<Settled>, Error> {
        let args = [
            ("before", before.unwrap_or(i64::MAX).into()),
            ("limit", cap(limit)),
        ];
        let rows = self.pools.reader.rows(&UNFULFILLED, &args).await?;
        rows.into_iter().map(settled_of).collect()
    }
}

impl Store {
    fn aside_of(&self, mut row: Row) -> Result<Quarantined, Error> {
        const TABLE: &str = "quarantine";
        let id = row.int(TABLE)?;
        let (task, run) = (row.int(TABLE)?, row.int(TABLE)?);
        Ok(Quarantined {
            id,
            task: (task != 0).then(|| TaskId::from_i64(task)),
            run: (run != 0).then(|| RunId::from_i64(run)),
            attempt: small(row.int(TABLE)?).unwrap_or_default(),
            // Of a row that can't be read it may be any number.
            queue: self.queue_name(row.int(TABLE)?).unwrap_or_default(),
            due_at: Timestamp::from_ms(row.int(TABLE)?),
            at: Timestamp::from_ms(row.int(TABLE)?),
            what: row.text(TABLE)?,
            error: row.text(TABLE)?,
        })
    }
}

fn settled_of(mut row: Row) -> Result<Settled, Error> {
    const TABLE: &str = "campanile_inbox_settled";
    let (id, at, number) = (row.int(TABLE)?, row.int(TABLE)?, row.int(TABLE)?);
    let run = row.opt_int(TABLE)?.map(RunId::from_i64);
    let message = row.opt_text(TABLE)?;
    let became = Became::from_parts(number, run, message).ok_or_else(|| Error::Corrupt {
        table: TABLE,
        row: None,
        message: format!("row {id} became what this version doesn't know"),
    })?;
    Ok(Settled {
        id,
        at: Timestamp::from_ms(at),
        became,
    })
}
