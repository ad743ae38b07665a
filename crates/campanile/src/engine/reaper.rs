//! The reaper finds workers that died and gives their runs on; retention removes old history. Both take no input, are
//! bounded, and are safe to run twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::leader::{Duty, TermOver};
use super::meters::Meters;
use crate::id::{RunId, TaskId};
use crate::protocol::limits;
use crate::protocol::lost::{Watch, beat_period};
use crate::protocol::run::lose;
use crate::protocol::work::Finish;
use crate::run::Run;
use crate::task::StartMode;

/// Runs of one look at what a dead worker held.
const SWEEP_ROWS_MAX: usize = 1_000;
/// How often retention looks.
const RETENTION_PERIOD: Duration = Duration::from_secs(60);

/// Looks for dead workers until the term ends.
pub async fn sweep(duty: Arc<Duty>) {
    let _ = sweep_for_ever(&duty).await;
}

async fn sweep_for_ever(duty: &Duty) -> Result<(), TermOver> {
    // A node may have left, or been buried by an earlier term, with runs in its hands.
    give_on(duty).await?;
    let mut watch = Watch::default();
    loop {
        duty.rest(beat_period(duty.shared.settings.lease)).await?;
        let nodes = match duty.shared.parts.store.nodes().await {
            Ok(nodes) => nodes,
            Err(error) => {
                watch = watch.blind();
                duty.failed(&error)?;
                continue;
            }
        };
        let (seen, dead) = watch.look(&nodes, duty.shared.parts.clock.monotonic());
        watch = seen;
        for node in &dead {
            let name = nodes
                .iter()
                .find(|n| n.id == *node)
                .map_or("", |n| n.name.as_str());
            let answer = duty
                .shared
                .parts
                .store
                .bury(&duty.leadership.term, *node)
                .await;
            if duty.guarded(answer)? {
                tracing::warn!(node = %node, name, "node `{name}` was silent for its lease: its runs are given on");
                Meters::add(&duty.shared.meters.nodes_buried, 1);
            }
        }
        if !dead.is_empty() {
            give_on(duty).await?;
        }
        sweep_permits(duty).await?;
    }
}

/// Looks after permits that nobody gave back and runs that nobody woke.
async fn sweep_permits(duty: &Duty) -> Result<(), TermOver> {
    let store = &duty.shared.parts.store;
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
        Err(error) => duty.failed(&error),
    }
}

/// Gives on, or ends, all runs that nobody living holds.
async fn give_on(duty: &Duty) -> Result<(), TermOver> {
    let mut after: Option<RunId> = None;
    loop {
        let runs = match duty
            .shared
            .parts
            .store
            .running_on(None, after, SWEEP_ROWS_MAX)
            .await
        {
            Ok(runs) => runs,
            Err(error) => {
                duty.failed(&error)?;
                duty.rest(Duration::from_millis(100)).await?;
                continue;
            }
        };
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
        match duty
            .shared
            .parts
            .store
            .finish_lost(&duty.leadership.term, &ends)
            .await
        {
            Ok(Some(answers)) => {
                let applied = answers.iter().filter(|w| w.is_applied()).count();
                Meters::add(&duty.shared.meters.attempts_lost, applied);
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
    match duty.shared.parts.store.tasks_by_id(&ids).await {
        Ok(tasks) => Ok(Some(
            tasks.into_iter().map(|t| (t.id, t.spec.start)).collect(),
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
    now: crate::time::Timestamp,
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
            let before = duty.shared.time.now().minus(duty.shared.settings.retention);
            match duty
                .shared
                .parts
                .store
                .prune(&duty.leadership.term, before, limits::PRUNE_ROWS_MAX)
                .await
            {
                Ok(Some(removed)) => {
                    Meters::add(&duty.shared.meters.runs_pruned, removed);
                    if removed < limits::PRUNE_ROWS_MAX {
                        break;
                    }
                }
                Ok(None) => return Err(duty.fenced()),
                Err(error) => {
                    duty.failed(&error)?;
                    break;
                }
            }
        }
    }
}
