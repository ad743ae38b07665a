//! Publish, as a process meets it: slow, unreachable, contended, or committed without an answer.

use async_trait::async_trait;
use campanile_core::id::{OutboxId, RunId};
use campanile_core::port::Written;
use campanile_core::port::lead::Term;
use campanile_core::port::publish::{OutboxRow, PublishStore};
use campanile_core::port::store::Error;
use campanile_schedule::time::Timestamp;

use super::FaultyStore;

#[async_trait]
impl PublishStore for FaultyStore {
    async fn outbox(&self, after: Option<OutboxId>, limit: usize) -> Result<Vec<OutboxRow>, Error> {
        self.read("outbox", self.inner.outbox(after, limit)).await
    }

    async fn waiting(&self, runs: &[(RunId, u32)]) -> Result<Vec<RunId>, Error> {
        self.read("waiting", self.inner.waiting(runs)).await
    }

    async fn still_wait(
        &self,
        term: &Term,
        runs: &[(RunId, u32)],
    ) -> Result<Option<Vec<RunId>>, Error> {
        let call = self.inner.still_wait(term, runs);
        self.lead(term, "still_wait", call, |_| {}).await
    }

    async fn mark_sent(
        &self,
        term: &Term,
        queued: &[(RunId, u32)],
        at: Timestamp,
        done: &[OutboxId],
    ) -> Result<Written, Error> {
        let call = self.inner.mark_sent(term, queued, at, done);
        self.lead(term, "mark_sent", call, |_| {}).await
    }

    async fn hand_over(
        &self,
        term: &Term,
        runs: &[(RunId, u32)],
        at: Timestamp,
    ) -> Result<Written, Error> {
        let call = self.inner.hand_over(term, runs, at);
        self.lead(term, "hand_over", call, |_| {}).await
    }
}
