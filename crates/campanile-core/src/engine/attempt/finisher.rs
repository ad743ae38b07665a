//! The finisher records ends, as many in one transaction as arrived while the last one was under way. An end stays in
//! its hands until the store has answered: the compare-and-set makes it safe to ask again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::causes;
use crate::decide::attempt::refusal::batch_of;
use crate::engine::Parts;
use crate::engine::attempt::aside::{Hand, Pen};
use crate::engine::attempt::running::InHand;
use crate::failpoint::{self, Failpoint};
use crate::limits;
use crate::metrics::Metrics;
use crate::port::Written;
use crate::port::attempt::{End, Finish};
use crate::port::lock::Signal;
use crate::port::store::WorkerStore;
use crate::time::database::DatabaseTime;

/// The first wait after the store failed; doubles up to [`RETRY_MAX`].
const RETRY_INITIAL: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Records ends until the channel is closed and empty, or the lease is lost.
pub async fn run(
    parts: Parts<dyn WorkerStore>,
    metrics: Arc<Metrics>,
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
            hand: Hand::Worker(&*parts.store),
            metrics: &metrics,
        };
        let answers = loop {
            match pen
                .finish(some, time.now())
                .await
                .map(Option::unwrap_or_default)
            {
                Ok(answers) => {
                    count(&metrics, some, &answers);
                    announce(&parts, &wake, some).await;
                    failpoint::reach(Failpoint::FinishAnnounced);
                    break answers;
                }
                Err(error) => {
                    Metrics::add(&metrics.store_failures, 1);
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
                metrics.figures.note(&end, &about);
            }
        }
    }
}

/// A retry that is due before the leader's next scan, and the end of a run for whose permits others may wait, are
/// announced; the scan finds both in any case.
async fn announce(parts: &Parts<dyn WorkerStore>, wake: &Notify, ends: &[Finish]) {
    let soon = |end: &Finish| match end.end {
        End::Again { ready_at, .. } | End::Refused { ready_at } | End::Abandoned { ready_at } => {
            ready_at < end.at.plus(limits::SCAN_PERIOD)
        }
        End::Succeeded | End::Failed(_) | End::Cancelled(_) => false,
    };
    if ends.iter().any(|end| end.limited || soon(end)) {
        wake.notify_one();
        let _ = parts.lock.signal(Signal::Work).await;
    }
}

fn count(metrics: &Metrics, ends: &[Finish], answers: &[Written]) {
    for (end, answer) in ends.iter().zip(answers) {
        let counter = match (answer, end.end) {
            (Written::Stale, _) => &metrics.ends_stale,
            (Written::Applied, End::Succeeded) => &metrics.attempts_succeeded,
            (Written::Applied, End::Failed(_)) => &metrics.attempts_failed,
            (Written::Applied, End::Refused { .. }) => &metrics.attempts_refused,
            (Written::Applied, End::Again { .. } | End::Abandoned { .. }) => {
                &metrics.attempts_retried
            }
            (Written::Applied, End::Cancelled(_)) => &metrics.attempts_cancelled,
        };
        Metrics::add(counter, 1);
    }
}
