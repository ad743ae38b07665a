//! A worker's heart: heartbeats into the store, and fences the worker when the heartbeats can't be written: without one for two
//! thirds of the lease its handlers stop, because the leader is about to give their runs to others.

use std::sync::Arc;
use std::time::Duration;

use crate::causes;
use crate::decide::member::{heartbeat_period, stop_by};
use crate::engine::attempt::Worker;
use crate::engine::attempt::refusing;
use crate::failpoint::{self, Failpoint};
use crate::metrics::Metrics;

/// How often a worker heartbeats while it runs something, at least: it learns of cancellations so.
const BUSY_BEAT: Duration = Duration::from_secs(1);

/// How long a heartbeat waits until the store has kept what attempts say of their progress.
const REPORT_PATIENCE: Duration = Duration::from_millis(500);

/// Heartbeats until aborted; fences the worker when the store counts it dead or can't be reached for too long.
pub async fn heartbeat(worker: Arc<Worker>) {
    let clock = Arc::clone(&worker.shared.parts.clock);
    let lease = worker.shared.settings.lease;
    let mut answered = clock.monotonic();
    loop {
        let period = worker.shared.time.read_again(heartbeat_period(lease));
        let busy = worker.in_hand.len();
        clock
            .sleep(if busy > 0 {
                period.min(BUSY_BEAT)
            } else {
                period
            })
            .await;
        refusing::forget(&worker).await;
        failpoint::reach(Failpoint::HeartbeatBefore);
        let sent = clock.monotonic();
        let runs = worker.in_hand.runs();
        let busy = u32::try_from(runs.len()).unwrap_or(u32::MAX);
        let answer = tokio::select! {
            biased;
            answer = worker.shared.parts.store.heartbeat(worker.node, busy, &runs) => answer,
            () = clock.sleep_until(stop_by(answered, lease)) => {
                fence(&worker, "its heartbeat was not answered in time");
                return;
            }
        };
        if answer.is_ok() {
            failpoint::reach(Failpoint::HeartbeatCommitted);
        }
        match answer {
            Ok(beaten) if beaten.known => {
                answered = sent;
                worker.shared.time.sample(beaten.now, sent);
                for run in beaten.cancel {
                    worker.in_hand.cancel(run);
                }
                report(&worker).await;
            }
            Ok(_) => {
                fence(&worker, "the leader had declared it dead");
                return;
            }
            Err(error) => {
                Metrics::add(&worker.shared.metrics.store_failures, 1);
                tracing::warn!(error = %causes(&error), "a heartbeat failed");
                if clock.monotonic() >= stop_by(answered, lease) {
                    fence(&worker, "its heartbeats failed for too long");
                    return;
                }
            }
        }
    }
}

/// Tells the store how far attempts say that they are. It is only shown: what can't be told in time is left out.
async fn report(worker: &Worker) {
    let progress = worker.in_hand.progress(worker.shared.time.now());
    if progress.is_empty() {
        return;
    }
    let parts = &worker.shared.parts;
    tokio::select! {
        biased;
        told = parts.store.report(worker.node, &progress) => if let Err(error) = told {
            tracing::debug!(error = %causes(&error), "progress was not kept");
        },
        () = parts.clock.sleep(REPORT_PATIENCE) => {}
    }
}

fn fence(worker: &Worker, why: &str) {
    let runs = worker.in_hand.len();
    tracing::warn!(node = %worker.node, runs, "this worker stops its {runs} runs and joins again: {why}");
    Metrics::add(&worker.shared.metrics.self_fenced, 1);
    worker.stops.fence.cancel();
}
