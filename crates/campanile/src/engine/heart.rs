//! A worker's heart: beats into the store, and fences the worker when the beats can't be written: without one for two
//! thirds of the lease its handlers stop, because the leader is about to give their runs to others.

use std::sync::Arc;
use std::time::Duration;

use super::elector::causes;
use super::meters::Meters;
use super::refusing;
use super::worker::Worker;
use crate::failpoint::{self, Failpoint};
use crate::protocol::lost::{beat_period, stop_by};

/// How often a worker beats while it runs something, at least: it learns of cancellations so.
const BUSY_BEAT: Duration = Duration::from_secs(1);

/// Beats until aborted; fences the worker when the store counts it dead or can't be reached for too long.
pub async fn beat(worker: Arc<Worker>) {
    let clock = Arc::clone(&worker.shared.parts.clock);
    let lease = worker.shared.settings.lease;
    let mut answered = clock.monotonic();
    loop {
        let period = worker.shared.time.read_again(beat_period(lease));
        let busy = worker.in_hand.len();
        clock
            .sleep(if busy > 0 {
                period.min(BUSY_BEAT)
            } else {
                period
            })
            .await;
        refusing::forget(&worker).await;
        failpoint::reach(Failpoint::BeatBefore);
        let sent = clock.monotonic();
        let runs = worker.in_hand.runs();
        let busy = u32::try_from(runs.len()).unwrap_or(u32::MAX);
        let answer = tokio::select! {
            biased;
            answer = worker.shared.parts.store.beat(worker.node, busy, &runs) => answer,
            () = clock.sleep_until(stop_by(answered, lease)) => {
                fence(&worker, "its beat was not answered in time");
                return;
            }
        };
        if answer.is_ok() {
            failpoint::reach(Failpoint::BeatCommitted);
        }
        match answer {
            Ok(beaten) if beaten.known => {
                answered = sent;
                worker.shared.time.sample(beaten.now, sent);
                for run in beaten.cancel {
                    worker.in_hand.cancel(run);
                }
            }
            Ok(_) => {
                fence(&worker, "the leader had declared it dead");
                return;
            }
            Err(error) => {
                Meters::add(&worker.shared.meters.store_failures, 1);
                tracing::warn!(error = %causes(&error), "a beat failed");
                if clock.monotonic() >= stop_by(answered, lease) {
                    fence(&worker, "its beats failed for too long");
                    return;
                }
            }
        }
    }
}

fn fence(worker: &Worker, why: &str) {
    let runs = worker.in_hand.len();
    tracing::warn!(node = %worker.node, runs, "this worker stops its {runs} runs and joins anew: {why}");
    Meters::add(&worker.shared.meters.self_fenced, 1);
    worker.stops.fence.cancel();
}
