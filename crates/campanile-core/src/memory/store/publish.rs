//! Publish: what is the leader's to bring to the broker.

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;

use super::MemoryStore;
use crate::decide::attempt as transitions;
use crate::id::{OutboxId, RunId};
use crate::port::Written;
use crate::port::lead::Term;
use crate::port::publish::{OutboxRow, PublishStore};
use crate::port::store::Error;

#[async_trait]
impl PublishStore for MemoryStore {
    async fn outbox(&self, after: Option<OutboxId>, limit: usize) -> Result<Vec<OutboxRow>, Error> {
        let tables = self.lock();
        let rows = tables
            .outbox
            .iter()
            .filter(|(id, _)| after.is_none_or(|a| **id > a))
            .take(limit);
        Ok(rows
            .map(|(id, runs)| OutboxRow {
                id: *id,
                waiting: runs
                    .iter()
                    .filter_map(|(run, attempt)| tables.waiting(*run, Some(*attempt)))
                    .collect(),
            })
            .collect())
    }

    async fn waiting(&self, runs: &[(RunId, u32)]) -> Result<Vec<RunId>, Error> {
        let tables = self.lock();
        let waits = |(id, attempt): &&(RunId, u32)| {
            tables
                .live
                .get(id)
                .is_some_and(|r| transitions::waits(r, *attempt))
        };
        Ok(runs.iter().filter(waits).map(|(id, _)| *id).collect())
    }

    async fn still_wait(
        &self,
        term: &Term,
        runs: &[(RunId, u32)],
    ) -> Result<Option<Vec<RunId>>, Error> {
        if !self.lock().holds(term) {
            return Ok(None);
        }
        if self.lock().hold.is_some() {
            return Err(Error::Contended("the cluster is held".into()));
        }
        let waiting = self.waiting(runs).await?;
        let tables = self.lock();
        let lives = |id: &RunId| {
            let task = tables.live.get(id).and_then(|run| run.task);
            task.is_none_or(|task| tables.tasks.contains_key(&task))
        };
        Ok(Some(waiting.into_iter().filter(lives).collect()))
    }

    async fn mark_sent(
        &self,
        term: &Term,
        queued: &[(RunId, u32)],
        at: Timestamp,
        done: &[OutboxId],
    ) -> Result<Written, Error> {
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(Written::Stale);
        }
        for (id, attempt) in queued {
            if let Some(run) = tables.live.get_mut(id)
                && let Some(marked) = transitions::mark_queued(run, *attempt, at)
            {
                *run = marked;
            }
        }
        for row in done {
            tables.outbox.remove(row);
        }
        Ok(Written::Applied)
    }

    async fn hand_over(
        &self,
        term: &Term,
        runs: &[(RunId, u32)],
        at: Timestamp,
    ) -> Result<Written, Error> {
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(Written::Stale);
        }
        for (id, attempt) in runs {
            if let Some(ended) = tables
                .live
                .get(id)
                .and_then(|r| transitions::hand_over(r, *attempt, at))
            {
                tables.archive(ended)?;
            }
        }
        Ok(Written::Applied)
    }
}
