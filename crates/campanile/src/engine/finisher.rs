//! The finisher records ends, as many in one transaction as arrived while the last one was under way. An end stays in
//! its hands until the store has answered: the compare-and-set makes it safe to ask again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::Parts;
use super::aside::Pen;
use super::database_time::DatabaseTime;
use super::elector::causes;
use super::meters::Meters;
use super::running::InHand;
use crate::failpoint::{self, Failpoint};
use crate::port::Written;
use crate::port::lock::Signal;
use crate::protocol::limits;
use crate::protocol::refusal::batch_of;
use crate::protocol::work::{End, Finish};

/// The first wait after the store failed; doubles up to [`RETRY_MAX`].
const RETRY_INITIAL: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Records ends until the channel is closed and empty, or the lease is lost.
pub async fn run(
    parts: Parts,
    meters: Arc<Meters>,
    mut ends: mpsc::Receiver<Finish>,
    in_hand: Arc<InHand>,
    fence: CancellationToken,
    (wake, time): (Arc<Notify>, DatabaseTime),
) {
    let mut batch = Vec::new();
    loop {
        // What a batch had no room for is still here.
        if batch.is_empty() && ends.recv_many(&mut batch, limits::FINISH_ROWS_MAX).await == 0 {
            return;
        }
        let mut wait = RETRY_INITIAL;
        let some = &batch[..batch_of(&batch)];
        let pen = Pen {
            store: &*parts.store,
            meters: &meters,
            term: None,
        };
        let answers = loop {
            match pen
                .finish(some, time.now())
                .await
                .map(Option::unwrap_or_default)
            {
                Ok(answers) => {
                    count(&meters, some, &answers);
                    announce(&parts, &wake, some).await;
                    failpoint::reach(Failpoint::FinishAnnounced);
                    break answers;
                }
                Err(error) => {
                    Meters::add(&meters.store_failures, 1);
                    tracing::warn!(error = %causes(&error), runs = some.len(), "could not record {} ends; asking again", some.len());
                }
            }
            tokio::select! {
                biased;
                () = fence.cancelled() => return,
                () = parts.clock.sleep(wait) => wait = (wait * 2).min(RETRY_MAX),
            }
        };
        let done = some.len();
        for (at, end) in batch.drain(..done).enumerate() {
            let about = in_hand.release(end.run, end.attempt);
            let recorded = answers.get(at).is_some_and(|answer| answer.is_applied());
            if let Some(about) = about.filter(|_| recorded) {
                meters.figures.note(&end, &about);
            }
        }
    }
}

/// A retry that is due before the leader's next scan, and the end of a run for whose permits others may wait, are
/// announced; the scan finds both in any case.
async fn announce(parts: &Parts, wake: &Notify, ends: &[Finish]) {
    let soon = |end: &Finish| match end.end {
        End::Again { ready_at, .. } | End::Refused { ready_at } | End::Withdrawn { ready_at } => {
            ready_at < end.at.plus(limits::SCAN_PERIOD)
        }
        End::Succeeded | End::Failed(_) | End::Cancelled(_) => false,
    };
    if ends.iter().any(|end| end.limited || soon(end)) {
        wake.notify_one();
        let _ = parts.lock.signal(Signal::Work).await;
    }
}

fn count(meters: &Meters, ends: &[Finish], answers: &[Written]) {
    for (end, answer) in ends.iter().zip(answers) {
        let counter = match (answer, end.end) {
            (Written::Stale, _) => &meters.ends_stale,
            (Written::Applied, End::Succeeded) => &meters.attempts_succeeded,
            (Written::Applied, End::Failed(_)) => &meters.attempts_failed,
            (Written::Applied, End::Refused { .. }) => &meters.attempts_refused,
            (Written::Applied, End::Again { .. } | End::Withdrawn { .. }) => {
                &meters.attempts_retried
            }
            (Written::Applied, End::Cancelled(_)) => &meters.attempts_cancelled,
        };
        Meters::add(counter, 1);
    }
}
