//! Runs that wait for a deleted task are cancelled, batch by batch, until none is left. A duty of the leader, so that a
//! deletion is finished whoever asked for it and whatever became of him. Which tasks are still looked after is in the
//! store; when to look is decided in [`crate::decide::edit::deletion`].

pub mod ahead;
pub(super) mod inbox;
pub(super) mod rests;

use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use crate::decide::edit::deletion::{Looked, Next};
use crate::engine::lead::duty::{Duty, TermOver};
use crate::id::RunId;
use crate::limits;
use crate::metrics::Metrics;
use crate::port::edit::Deletions;
use crate::run::Run;

/// How often it asks for deleted tasks.
const PERIOD: Duration = Duration::from_secs(1);
/// The breath between two batches.
const BREATH: Duration = Duration::from_millis(10);
/// The wait after the store was too busy.
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// Cancels the waiting runs of deleted tasks until the term ends.
pub(super) async fn look_after(duty: Arc<Duty>) {
    let _ = look_for_ever(&duty).await;
}

async fn look_for_ever(duty: &Duty) -> Result<(), TermOver> {
    let mut looked = Looked::default();
    loop {
        match duty.store.deletions().await {
            Ok(open) => {
                let next = looked.next(open, duty.shared.time.now());
                if let Next::Look { forget } = next {
                    looked = look(duty, open, forget).await?;
                }
            }
            Err(error) => duty.put_off("to name deleted tasks", &error)?,
        }
        duty.rest(PERIOD).await?;
    }
}

/// One look at all live runs. Answers what is known after it.
async fn look(duty: &Duty, open: Option<Deletions>, forget: Timestamp) -> Result<Looked, TermOver> {
    let mut after: Option<RunId> = None;
    let mut all_ended = true;
    loop {
        let look = limits::DELETE_LOOK_ROWS_MAX;
        let found = match duty.store.orphans(after, look).await {
            Ok(found) => found,
            Err(error) => {
                duty.unread(&error).await?;
                duty.rest(BUSY_WAIT).await?;
                continue;
            }
        };
        duty.readable();
        for batch in found.runs.chunks(limits::DELETE_ROWS_MAX) {
            all_ended &= end(duty, batch).await?;
            duty.rest(BREATH).await?;
        }
        if found.next.is_none() {
            break;
        }
        after = found.next;
    }
    if !all_ended {
        // Somebody claimed one, or gave it back, meanwhile: it is looked for again.
        return Ok(Looked::default());
    }
    if open.is_some_and(|open| open.first_at <= forget) {
        forget_all(duty, forget).await?;
    }
    Ok(Looked::after(open))
}

/// Ends a batch. Answers whether all of it waited still.
async fn end(duty: &Duty, batch: &[Run]) -> Result<bool, TermOver> {
    let now = duty.shared.time.now();
    match duty.leader_pen().end_orphans(batch, now).await {
        Ok(Some(ended)) => {
            Metrics::add(&duty.shared.metrics.runs_orphaned, ended);
            // Permits may have been given back.
            duty.shared.wake.notify_one();
            Ok(ended == batch.len())
        }
        Ok(None) => Err(duty.fenced()),
        Err(error) => {
            duty.failed(&error)?;
            duty.rest(BUSY_WAIT).await?;
            Ok(false)
        }
    }
}

async fn forget_all(duty: &Duty, before: Timestamp) -> Result<(), TermOver> {
    let (store, term) = (&duty.store, &duty.leadership.term);
    loop {
        let most = limits::DELETE_ROWS_MAX;
        match store.forget_deletions(term, before, most).await {
            Ok(Some(forgotten)) if forgotten < most => return Ok(()),
            Ok(Some(_)) => duty.rest(BREATH).await?,
            Ok(None) => return Err(duty.fenced()),
            Err(error) => return duty.put_off("to forget deleted tasks", &error),
        }
    }
}
