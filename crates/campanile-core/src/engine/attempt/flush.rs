//! The flusher writes what attempts wrote to the store while they run: of many attempts in one transaction, every half second
//! while somebody writes. An attempt that ends before its second look brings its output with its end, which costs nothing more.
//! It never holds a handler up: what the store can't take in time is missing from the log, and counted there.

use std::sync::Arc;

use crate::causes;
use crate::decide::attempt::log::Stored;
use crate::decide::attempt::refusal::Parts;
use crate::engine::attempt::running::Voice;
use crate::engine::attempt::{RETRY_MAX, Worker};
use crate::limits;
use crate::metrics::Metrics;
use crate::port::attempt::Append;
use crate::port::log::{Due, Log};
use crate::port::store::Error;

/// What one transaction is to write.
#[derive(Default)]
struct Batch {
    appends: Vec<Append>,
    /// Whose it is, and what the store has then.
    logs: Vec<(Log, Stored)>,
    bytes: usize,
}

impl Batch {
    fn has_room_for(&self, bytes: usize) -> bool {
        self.appends.is_empty()
            || (self.appends.len() < limits::LOG_FLUSH_ROWS_MAX
                && self.bytes + bytes <= limits::LOG_FLUSH_BYTES_MAX)
    }

    /// Writes it. What the store refuses stands alone in the end, and is missing from its log.
    async fn write(self, worker: &Worker) -> Result<(), Error> {
        let mut parts = Parts::of(self.appends.len());
        while let Some(part) = parts.take() {
            let (appends, logs) = (&self.appends[part.clone()], &self.logs[part.clone()]);
            match worker.shared.parts.store.append(appends).await {
                Ok(answers) => {
                    for ((log, stored), answer) in logs.iter().zip(answers) {
                        if answer.is_applied() {
                            log.settle(stored.clone());
                        } else {
                            // It ended, or is not ours any more: whoever ends it has the last word.
                            log.close();
                        }
                    }
                }
                Err(error) if error.is_refusal() => {
                    let Some(alone) = parts.refused(&part) else {
                        continue;
                    };
                    let (append, (log, stored)) = (&self.appends[alone], &self.logs[alone]);
                    tracing::warn!(run = %append.run, error = %causes(&error),
                        "the store refuses what run {} wrote: it is missing from its log", append.run);
                    log.settle(stored.clone());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Writes output until aborted, or until the lease is lost.
pub async fn flush(worker: Arc<Worker>) {
    let fence = worker.stops.fence.clone();
    tokio::select! {
        biased;
        () = fence.cancelled() => {}
        () = flush_for_ever(&worker) => {}
    }
}

async fn flush_for_ever(worker: &Worker) {
    let clock = &worker.shared.parts.clock;
    loop {
        worker.output.notified().await;
        let mut wait = limits::LOG_FLUSH_PERIOD;
        loop {
            clock.sleep(wait).await;
            wait = match flush_once(worker).await {
                Ok(true) => limits::LOG_FLUSH_PERIOD,
                Ok(false) => break,
                Err(error) => {
                    Metrics::add(&worker.shared.metrics.store_failures, 1);
                    tracing::warn!(error = %causes(&error), "could not keep what attempts write; asking again");
                    (wait * 2).min(RETRY_MAX)
                }
            };
        }
    }
}

/// Writes what is pending; answers whether anything was.
async fn flush_once(worker: &Worker) -> Result<bool, Error> {
    let (mut some, mut batch) = (false, Batch::default());
    for (run, attempt, Voice { claim, log, .. }) in worker.in_hand.voices() {
        let (chunks, stored) = match log.look() {
            Due::Nothing => continue,
            Due::Later => {
                some = true;
                continue;
            }
            Due::Now(chunks, stored) => (chunks, stored),
        };
        some = true;
        let bytes = chunks.bytes();
        if !batch.has_room_for(bytes) {
            std::mem::take(&mut batch).write(worker).await?;
        }
        batch.bytes += bytes;
        batch.appends.push(Append {
            run,
            attempt,
            claim,
            chunks,
        });
        batch.logs.push((log, stored));
    }
    batch.write(worker).await?;
    Ok(some)
}
