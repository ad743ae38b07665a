//! The watch over the zone database: due rows were computed by the zone rules of the node that led then. When a term's
//! own rules are others, the due rows that they move are moved, and which rules they are is kept with the cluster. Owns
//! that comparison; what the rules are is [`zone_rules`]'s.

use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::Timetable;
use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;

use super::ahead::{PLANNED_AHEAD, first_unplanned};
use super::elector::causes;
use super::leader::{Duty, TermOver};
use crate::failpoint::{self, Failpoint};
use crate::id::TaskId;
use crate::port::store::{Error, Store, ZONE_RULES};
use crate::protocol::limits;
use crate::protocol::permits::Rules;
use crate::protocol::work::{DueKey, Edit, Move, Owner};
use crate::system::zone_rules;
use crate::task::Task;

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
            // The next term tries again; meanwhile everything is fired as it was computed.
            Err(error) if error.is_refusal() => {
                return duty.put_off("to move due rows by the new zone rules", &error);
            }
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
    let rules = Arc::new(store.rules().await?);
    let (mut after, mut moved): (Option<String>, usize) = (None, 0);
    loop {
        let page = store
            .tasks(None, after.as_deref(), limits::PAGE_ROWS_MAX)
            .await?;
        let now = duty.shared.time.now();
        let moves = moves_of(duty, &rules, page.tasks, now).await?;
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

/// Where tasks' due rows have to go, if they stand elsewhere. What is due within moments, or overdue, stays. Schedules are
/// looked at apart, some at a time: this goes on beside the planner and must not hold it up.
async fn moves_of(
    duty: &Duty,
    rules: &Arc<Rules>,
    mut tasks: Vec<Task>,
    now: Timestamp,
) -> Result<Vec<Move>, Error> {
    let store = &*duty.shared.parts.store;
    let mut moves = Vec::new();
    while !tasks.is_empty() {
        let some = tasks.split_off(tasks.len().saturating_sub(limits::LOOKED_AT_ONCE));
        let ids: Vec<TaskId> = some.iter().map(|t| t.id).collect();
        let dues = store.next_dues(&ids).await?;
        let movable = |task: Task| {
            let seen = *dues.get(&task.id)?;
            let soon = seen.minus(task.spec.jitter_offset()) <= now.plus(PLANNED_AHEAD);
            let stays = soon || !task.spec.has_instants();
            (!stays).then_some((task, seen))
        };
        let some: Vec<(Task, Timestamp)> = some.into_iter().filter_map(movable).collect();
        let rules = Arc::clone(rules);
        let look = move |fuel: &Fuel| -> Vec<Looked> {
            let all = some.into_iter();
            all.filter_map(|(task, seen)| looked(task, seen, &rules, now, fuel))
                .collect()
        };
        let pool = &duty.shared.pool;
        let looked = pool.run_first(u64::MAX, look).await;
        // Given up in the middle, some would stay where they are and nobody would look again: the node is stopping.
        let (Ok(looked), false) = (looked, pool.cancel().is_cancelled()) else {
            return Err(Error::Contended("this node is stopping".into()));
        };
        for one in looked {
            match move_of(store, &one, now).await {
                Ok(one) => moves.extend(one),
                // Its records can't be read: it keeps its instant, and the others are moved.
                Err(error) if error.is_refusal() => {
                    tracing::error!(task = one.task.spec.name, error = %causes(&error),
                        "the due row of task `{}` can't be moved by the new zone rules: it stays", one.task.spec.name);
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(moves)
}

/// A task whose schedule was looked at.
struct Looked {
    task: Task,
    seen: Timestamp,
    timetable: Timetable,
    first: Option<Timestamp>,
}

/// One that can't be read here, or takes too long, stays where it is.
fn looked(
    task: Task,
    seen: Timestamp,
    rules: &Rules,
    now: Timestamp,
    fuel: &Fuel,
) -> Option<Looked> {
    let share = fuel.share(limits::TASK_FUEL);
    let find = |name: &str| rules.calendar(name);
    let timetable = task
        .spec
        .timetable_by(task.created_at, &find, &share)
        .ok()?;
    let first = timetable.next_by(now, &share).map(|event| event.at);
    share.check().ok()?;
    Some(Looked {
        task,
        seen,
        timetable,
        first,
    })
}

async fn move_of(
    store: &dyn Store,
    looked: &Looked,
    now: Timestamp,
) -> Result<Option<Move>, Error> {
    let (task, seen) = (&looked.task, looked.seen);
    let next = first_unplanned(store, task.id, &looked.timetable, looked.first, now, &[]).await?;
    let Ok(next) = next else {
        return Ok(None);
    };
    let next = next.map(|at| at.plus(task.spec.jitter_offset()));
    Ok((next != Some(seen)).then(|| Move {
        task: task.id,
        seen: Some(seen),
        next: next.map(|at| DueKey {
            queue: task.spec.queue.clone(),
            at,
            owner: Owner::Task(task.id),
        }),
    }))
}
