//! The watch over the zone database: due rows were computed by the zone rules of the node that led then. When a term's
//! own rules are others, the due rows that they move are moved, and which rules they are is kept with the cluster. Owns
//! that comparison; what the rules are is [`crate::schedule::zone_rules`]'s.

use std::sync::Arc;
use std::time::Duration;

use super::ahead::{PLANNED_AHEAD, first_unplanned};
use super::elector::causes;
use super::leader::{Duty, TermOver};
use crate::failpoint::{self, Failpoint};
use crate::port::store::{Error, Store, ZONE_RULES};
use crate::protocol::limits;
use crate::protocol::permits::Rules;
use crate::protocol::work::{DueKey, Edit, Move, Owner};
use crate::schedule::zone_rules;
use crate::task::Task;
use crate::time::Timestamp;

/// The wait after the store was too busy.
const BUSY_WAIT: Duration = Duration::from_millis(200);

/// Looks once in a term, and stays until the term ends.
pub async fn keep(duty: Arc<Duty>) {
    if look(&duty).await.is_ok() {
        duty.leadership.over.cancelled().await;
    }
}

async fn look(duty: &Duty) -> Result<(), TermOver> {
    let ours = zone_rules();
    loop {
        match adopt(duty, ours).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                duty.failed(&error)?;
                duty.rest(BUSY_WAIT).await?;
            }
        }
    }
}

/// Makes our rules the cluster's, unless they are already.
async fn adopt(duty: &Duty, ours: &str) -> Result<(), Error> {
    let kept = duty.shared.parts.store.setting(ZONE_RULES).await?;
    if kept.as_deref() == Some(ours) {
        return Ok(());
    }
    failpoint::reach(Failpoint::ZonesBefore);
    let moved = recompute(duty, ours).await?;
    failpoint::reach(Failpoint::ZonesKept);
    let before = kept.as_deref().unwrap_or("none");
    tracing::info!(
        before,
        now = ours,
        moved,
        "the zone rules are now {ours} (before: {before}); {moved} due rows were moved"
    );
    Ok(())
}

/// Moves the due rows that stand elsewhere by our rules, page by page, and then keeps which rules they are.
async fn recompute(duty: &Duty, ours: &str) -> Result<usize, Error> {
    let store = &*duty.shared.parts.store;
    let rules = store.rules().await?;
    let (mut after, mut moved): (Option<String>, usize) = (None, 0);
    loop {
        let page = store
            .tasks(None, after.as_deref(), limits::PAGE_ROWS_MAX)
            .await?;
        let now = duty.shared.time.now();
        let mut moves = Vec::new();
        for task in &page.tasks {
            moves.extend(move_of(store, &rules, task, now).await?);
        }
        // Somebody's edit, or a firing, that came between: that task's row was computed by rules as new as ours.
        for one in moves {
            let edit = Edit {
                moves: vec![one],
                ..Edit::default()
            };
            match store.edit(&edit, now).await {
                Ok(written) => moved += usize::from(written.is_applied()),
                // That task keeps its instant; the others are moved.
                Err(error) if error.is_refusal() => {
                    tracing::error!(?edit, error = %causes(&error), "a due row can't be moved by the new zone rules: it stays");
                }
                Err(error) => return Err(error),
            }
            failpoint::reach(Failpoint::ZonesMoved);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let edit = Edit {
        settings: vec![(ZONE_RULES, ours.to_owned())],
        ..Edit::default()
    };
    let now = duty.shared.time.now();
    // Stale can't be: this edit rests on nothing.
    store.edit(&edit, now).await.map(|_| moved)
}

/// Where a task's due row has to go, if it stands elsewhere. What is due within moments, or overdue, stays.
async fn move_of(
    store: &dyn Store,
    rules: &Rules,
    task: &Task,
    now: Timestamp,
) -> Result<Option<Move>, Error> {
    let spec = &task.spec;
    if spec.rests() || spec.schedule.is_none() {
        return Ok(None);
    }
    let find = |name: &str| rules.calendar(name);
    let Ok(timetable) = spec.timetable(task.created_at, &find) else {
        return Ok(None);
    };
    let Some(seen) = store.next_due(task.id).await? else {
        return Ok(None);
    };
    let offset = spec.jitter_offset();
    if seen.minus(offset) <= now.plus(PLANNED_AHEAD) {
        return Ok(None);
    }
    let first = timetable.next(now).map(|event| event.at);
    let next = first_unplanned(store, task.id, &timetable, first, now, &[]).await?;
    let next = next.map(|at| at.plus(offset));
    Ok((next != Some(seen)).then(|| Move {
        task: task.id,
        seen: Some(seen),
        next: next.map(|at| DueKey {
            queue: spec.queue.clone(),
            at,
            owner: Owner::Task(task.id),
        }),
    }))
}
