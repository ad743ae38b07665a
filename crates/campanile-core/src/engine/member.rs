//! The reaper finds workers that died and gives their runs on; retention removes old history. Both are bounded, and safe
//! to run twice.
//!
//! Who is silent is watched by every scheduler node, whoever leads, and all the time: a watch that began again with each
//! term would never see a whole lease of silence while terms are shorter than leases, and nobody's runs would be requeued.

pub(super) mod heartbeat;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::causes;
use crate::decide::attempt::{if_lost, lose};
use crate::decide::member::{Watch, heartbeat_period};
use crate::engine::Shared;
use crate::engine::lead::clock_state;
use crate::engine::lead::duty::{Duty, TermOver};
use crate::id::{NodeId, RunId, TaskId};
use crate::limits;
use crate::metrics::Metrics;
use crate::port::attempt::Finish;
use crate::port::store::Error;
use crate::run::Run;
use crate::task::StartMode;

/// Runs of one look at what a dead worker held.
const SWEEP_ROWS_MAX: usize = 1_000;
/// How often retention looks.
const RETENTION_PERIOD: Duration = Duration::from_secs(60);

/// The nodes that this node has seen silent for their leases, and not yet evicted.
#[derive(Debug, Default)]
pub struct Silent {
    nodes: Mutex<Vec<(NodeId, String)>>,
    /// Somebody has gone since the last look.
    gone: AtomicBool,
    found: Notify,
}

impl Silent {
    fn tell(&self, nodes: Vec<(NodeId, String)>, gone: bool) {
        let some = gone || !nodes.is_empty();
        self.gone.fetch_or(gone, Ordering::AcqRel);
        *self.nodes.lock().unwrap_or_else(PoisonError::into_inner) = nodes;
        if some {
            self.found.notify_one();
        }
    }

    /// Whether somebody has gone since this was asked last.
    fn take_gone(&self) -> bool {
        self.gone.swap(false, Ordering::AcqRel)
    }

    /// Takes them: who is still silent at the next look is told of again.
    fn take(&self) -> Vec<(NodeId, String)> {
        std::mem::take(&mut *self.nodes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Watches the members for as long as this node contends for the lead.
pub async fn look_on(shared: &Shared, silent: &Silent) {
    let mut watch = Watch::default();
    loop {
        shared
            .parts
            .clock
            .sleep(heartbeat_period(shared.settings.lease))
            .await;
        match shared.parts.store.nodes().await {
            Ok(nodes) => {
                let gone = watch.misses(&nodes);
                let (seen, dead) = watch.look(&nodes, shared.parts.clock.monotonic());
                watch = seen;
                let dead = nodes.into_iter().filter(|node| dead.contains(&node.id));
                silent.tell(dead.map(|node| (node.id, node.name)).collect(), gone);
            }
            Err(error) => {
                Metrics::add(&shared.metrics.store_failures, 1);
                tracing::debug!(error = %causes(&error), "the members could not be read");
                watch = watch.blind();
                // Whoever goes meanwhile is not missed afterwards.
                silent.tell(Vec::new(), true);
            }
        }
    }
}

/// Buries the silent and gives their runs on until the term ends.
pub async fn sweep(duty: Arc<Duty>) {
    let _ = sweep_for_ever(&duty).await;
}

async fn sweep_for_ever(duty: &Duty) -> Result<(), TermOver> {
    // A node may have left, or been evicted by an earlier term, with runs in its hands.
    requeue(duty).await?;
    loop {
        // A worker that left in order may have left a run behind that it could not record.
        let mut look = duty.silent.take_gone();
        for (node, name) in duty.silent.take() {
            let store = &duty.store;
            let answer = match store.evict(&duty.leadership.term, node).await {
                Err(error) if error.is_refusal() => {
                    duty.put_off("to evict a silent node", &error)?;
                    continue;
                }
                answer => answer,
            };
            if duty.guarded(answer)? {
                tracing::warn!(%node, name, "node `{name}` was silent for its lease: its runs are requeued");
                Metrics::add(&duty.shared.metrics.nodes_evicted, 1);
                look = true;
            }
        }
        if look {
            requeue(duty).await?;
        }
        tokio::select! {
            biased;
            rested = duty.rest(heartbeat_period(duty.shared.settings.lease)) => {
                rested?;
                sweep_permits(duty).await?;
            }
            () = duty.silent.found.notified() => {}
        }
    }
}

/// Looks after permits that nobody gave back and runs that nobody woke.
async fn sweep_permits(duty: &Duty) -> Result<(), TermOver> {
    let store = &duty.store;
    match store.sweep_permits(&duty.leadership.term).await {
        Ok(Some(0)) => Ok(()),
        Ok(Some(count)) => {
            tracing::warn!(
                count,
                "{count} runs waited for permits that nobody held; they go on"
            );
            duty.shared.wake.notify_one();
            Ok(())
        }
        Ok(None) => Err(duty.fenced()),
        Err(error) => duty.put_off("to sweep permits", &error),
    }
}

/// Requeues, or ends, all runs that no member holds.
async fn requeue(duty: &Duty) -> Result<(), TermOver> {
    let mut after: Option<RunId> = None;
    loop {
        let runs = match duty.store.running_on(None, after, SWEEP_ROWS_MAX).await {
            Ok(runs) => runs,
            Err(error) => {
                duty.unread(&error).await?;
                duty.rest(Duration::from_millis(100)).await?;
                continue;
            }
        };
        duty.readable();
        let Some(last) = runs.last() else {
            return Ok(());
        };
        after = Some(last.id);
        let Some(starts) = start_modes(duty, &runs).await? else {
            after = None;
            continue;
        };
        let now = duty.shared.time.now();
        let ends: Vec<Finish> = runs
            .iter()
            .filter_map(|run| lost(run, &starts, now))
            .collect();
        match duty.pen().finish(&ends, now).await {
            Ok(Some(answers)) => {
                let applied = answers.iter().filter(|w| w.is_applied()).count();
                Metrics::add(&duty.shared.metrics.attempts_lost, applied);
                duty.shared.wake.notify_one();
            }
            Ok(None) => return Err(duty.fenced()),
            Err(error) => {
                duty.failed(&error)?;
                duty.rest(Duration::from_millis(100)).await?;
                after = None;
            }
        }
    }
}

async fn start_modes(
    duty: &Duty,
    runs: &[Run],
) -> Result<Option<HashMap<TaskId, StartMode>>, TermOver> {
    let mut ids: Vec<TaskId> = runs.iter().filter_map(|r| r.task).collect();
    ids.sort_unstable();
    ids.dedup();
    // Of a task that can't be read nobody knows whether its runs may start twice. They are requeued, and set aside before
    // they start.
    match duty.pen().tasks(&ids).await {
        Ok((tasks, _)) => Ok(Some(
            tasks
                .into_iter()
                .map(|t| (t.id, if_lost(&t.spec)))
                .collect(),
        )),
        Err(error) => {
            duty.failed(&error)?;
            duty.rest(Duration::from_millis(100)).await?;
            Ok(None)
        }
    }
}

fn lost(
    run: &Run,
    starts: &HashMap<TaskId, StartMode>,
    now: campanile_schedule::time::Timestamp,
) -> Option<Finish> {
    let start = run
        .task
        .and_then(|id| starts.get(&id))
        .copied()
        .unwrap_or_default();
    lose(run, start, now)
}

/// Removes old history until the term ends.
pub async fn retention(duty: Arc<Duty>) {
    let _ = retention_for_ever(&duty).await;
}

async fn retention_for_ever(duty: &Duty) -> Result<(), TermOver> {
    loop {
        duty.rest(RETENTION_PERIOD).await?;
        loop {
            match remove_some(duty).await {
                Ok(Some(removed)) => {
                    Metrics::add(&duty.shared.metrics.runs_pruned, removed);
                    if removed < limits::PRUNE_ROWS_MAX {
                        break;
                    }
                }
                Ok(None) => return Err(duty.fenced()),
                Err(error) if error.is_refusal() => {
                    duty.put_off("to remove old history", &error)?;
                    break;
                }
                Err(error) => {
                    duty.failed(&error)?;
                    // Busy for a moment, which is no reason to let history grow for a whole period.
                    duty.rest(Duration::from_millis(100)).await?;
                }
            }
        }
    }
}

async fn remove_some(duty: &Duty) -> Result<Option<usize>, Error> {
    let now = clock_state::time_of_removals(duty).await?;
    let before = now.minus(duty.shared.settings.retention);
    let store = &duty.store;
    let term = &duty.leadership.term;
    let of_audit = now.minus(duty.shared.settings.audit_retention);
    let pruned = store.prune_audit(term, of_audit, limits::PRUNE_ROWS_MAX);
    if pruned.await?.is_none() {
        return Ok(None);
    }
    store.prune(term, before, limits::PRUNE_ROWS_MAX).await
}
