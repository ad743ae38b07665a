//! Publish, as a port: what is the leader's to bring to the broker.

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;

use crate::id::{OutboxId, RunId};
use crate::port::Written;
use crate::port::fire::Waiting;
use crate::port::lead::Term;
use crate::port::store::Error;

/// An outbox row as a new leader reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    pub id: OutboxId,
    /// Its runs that still wait to be claimed, at the attempt that the row names.
    pub waiting: Vec<Waiting>,
}

/// What the leader asks of the store to bring runs to the broker.
#[async_trait]
pub trait PublishStore: Send + Sync + 'static {
    /// Outbox rows after `after`, oldest first.
    async fn outbox(&self, after: Option<OutboxId>, limit: usize) -> Result<Vec<OutboxRow>, Error>;

    /// Which of these still wait to be claimed, at that attempt.
    async fn waiting(&self, runs: &[(RunId, u32)]) -> Result<Vec<RunId>, Error>;

    /// The same, under the fence, so that no edit is under way meanwhile: what waits at its instant can't be taken back any
    /// more. `None` if fenced; [`Error::Contended`] while the cluster is held. Asked for runs that start by being published, and
    /// for no others.
    async fn still_wait(
        &self,
        term: &Term,
        runs: &[(RunId, u32)],
    ) -> Result<Option<Vec<RunId>>, Error>;

    /// Marks published runs that still are `scheduled` at that attempt as `queued`, and removes outbox rows that have
    /// done their duty.
    async fn mark_sent(
        &self,
        term: &Term,
        queued: &[(RunId, u32)],
        at: Timestamp,
        done: &[OutboxId],
    ) -> Result<Written, Error>;

    /// Ends runs whose message an external listener has been given: `scheduled|queued` at that attempt →
    /// `succeeded(handed-over)`, into history. Runs that are elsewhere by now are left as they are.
    async fn hand_over(
        &self,
        term: &Term,
        runs: &[(RunId, u32)],
        at: Timestamp,
    ) -> Result<Written, Error>;
}
