//! The watch over the zone database: due rows were computed by the zone rules of the node that led then. When a term's
//! own rules are others, the due rows that they move are moved, and which rules they are is kept with the cluster. What
//! comes next is decided by [`crate::decide::lead::zones`]; what the rules are is [`crate::system::zone_rules`]'s. Every
//! write is an edit under the term's fence, so that a deposed leader moves nothing.

use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::Timetable;
use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;

use crate::causes;
use crate::decide::attempt::refusal::Parts;
use crate::decide::edit::moves::{self, Moving};
use crate::decide::lead::zones::{Kept, Step};
use crate::decide::permits::Rules;
use crate::engine::edit::ahead::future;
use crate::engine::lead::duty::{Duty, Stopped, TermOver};
use crate::failpoint::{self, Failpoint};
use crate::id::TaskId;
use crate::limits;
use crate::port::ask::TaskFilter;
use crate::port::edit::{Edit, OnBehalfOf};
use crate::port::fire::Fired;
use crate::port::store::{Error, LeaderStore, ZONE_RULES};
use crate::task::Task;

/// The wait after the store was too busy.
const BUSY_WAIT: Duration = Duration::from_millis(200);
/// How often it asks whether the store's clock can be believed again.
const CLOCK_PERIOD: Duration = Duration::from_millis(250);

/// Looks once in a term, and stays until the term ends.
pub async fn keep(duty: Arc<Duty>) {
    if look(&duty).await.is_ok() {
        duty.leadership.over.cancelled().await;
    }
}

async fn look(duty: &Duty) -> Result<(), TermOver> {
    let ours = &*duty.shared.settings.zone_rules;
    loop {
        match adopt(duty, ours).await {
            Ok(()) => return Ok(()),
            Err(Stopped::Over(over)) => return Err(over),
            // The next term tries again; meanwhile everything is fired as it was computed.
            Err(Stopped::Failed(error)) if error.is_refusal() => {
                return duty.put_off("to move due rows by the new zone rules", &error);
            }
            Err(Stopped::Failed(error)) => {
                duty.failed(&error)?;
                duty.rest(BUSY_WAIT).await?;
            }
        }
    }
}

/// Makes our rules the cluster's, unless they are already.
async fn adopt(duty: &Duty, ours: &str) -> Result<(), Stopped> {
    let store = &duty.store;
    let mut before = None;
    loop {
        let kept = Kept::read(store.setting(ZONE_RULES).await?.as_deref());
        match kept.next(ours, before.is_some()) {
            Step::Done => return Ok(()),
            Step::Announce => {
                failpoint::reach(Failpoint::ZonesBefore);
                say(duty, &Kept::MovingTo(ours.to_owned())).await?;
                failpoint::reach(Failpoint::ZonesAnnounced);
                before = Some(kept);
            }
            Step::Move => break,
        }
    }
    let moved = recompute(duty).await?;
    say(duty, &Kept::By(ours.to_owned())).await?;
    failpoint::reach(Failpoint::ZonesKept);
    let before = before.unwrap_or_default();
    tracing::info!(
        %before,
        now = ours,
        moved,
        "the zone rules are now {ours} (before: {before}); {moved} due rows were moved"
    );
    Ok(())
}

/// Writes what the cluster's setting says.
async fn say(duty: &Duty, kept: &Kept) -> Result<(), Stopped> {
    let edit = Edit {
        settings: vec![(ZONE_RULES, kept.to_string())],
        ..Edit::default()
    };
    // It rests on nothing that an edit changes.
    write(duty, &edit).await.map(drop)
}

/// Answers whether all was as the edit says.
async fn write(duty: &Duty, edit: &Edit) -> Result<bool, Stopped> {
    let store = &duty.store;
    let (term, now) = (&duty.leadership.term, duty.shared.time.now());
    match store
        .edit_for(term, OnBehalfOf::ZoneRules, edit, now)
        .await?
    {
        Fired::Applied => Ok(true),
        Fired::Edited => Ok(false),
        Fired::Fenced => Err(duty.fenced().into()),
    }
}

/// Waits until the store's clock can be believed: by a wrong one, due rows would be moved to wrong instants.
async fn believe_clock(duty: &Duty) -> Result<(), TermOver> {
    let time = &duty.shared.time;
    while time.is_in_doubt() || time.behind_until().is_some() || time.settling().is_some() {
        duty.rest(CLOCK_PERIOD).await?;
    }
    Ok(())
}

/// Moves the due rows that stand elsewhere by our rules, page by page. Answers how many.
async fn recompute(duty: &Duty) -> Result<usize, Stopped> {
    let (mut after, mut moved): (Option<String>, usize) = (None, 0);
    loop {
        believe_clock(duty).await?;
        let (next, written) = look_at_page(duty, after.as_deref()).await?;
        moved += written.moved;
        if !written.is_whole {
            // Somebody's edit, or a firing, came between: the page is looked at again, as it is now.
            duty.rest(BUSY_WAIT).await?;
            continue;
        }
        after = next;
        if after.is_none() {
            return Ok(moved);
        }
    }
}

/// How far the moves of a page came.
#[derive(Default)]
struct Moved {
    moved: usize,
    /// Whether nothing has changed meanwhile.
    is_whole: bool,
}

/// Moves what stands elsewhere on the page behind this name. Answers the name that the next page is behind.
async fn look_at_page(
    duty: &Duty,
    after: Option<&str>,
) -> Result<(Option<String>, Moved), Stopped> {
    let store = &*duty.store;
    // The edits first: an edit after this makes the writes be refused, not unseen. A due row of another schedule than the
    // one that was looked at may stand where this one's would.
    let edits = store.leader().await?.edits;
    let rules = Arc::new(store.rules().await?);
    let page = store
        .tasks(&TaskFilter::default(), after, limits::PAGE_ROWS_MAX)
        .await?;
    let now = duty.shared.time.now();
    let moves = moves_of(duty, &rules, page.tasks, now).await?;
    Ok((page.next, write_moves(duty, &moves, edits).await?))
}

/// Moves due rows, all at once unless the store refuses one of them, as long as nothing else changes.
async fn write_moves(
    duty: &Duty,
    moves: &[moves::Moved],
    mut edits: i64,
) -> Result<Moved, Stopped> {
    let mut parts = Parts::of(moves.len());
    let mut so_far = Moved::default();
    while let Some(part) = parts.take() {
        let some = moves[part.clone()].iter();
        let answered = some.clone().flat_map(|moved| moved.answered.iter());
        let edit = Edit {
            answered: answered.copied().collect(),
            moves: some.map(|moved| moved.to.clone()).collect(),
            edits: Some(edits),
            ..Edit::default()
        };
        match write(duty, &edit).await {
            Ok(true) => {
                so_far.moved += part.len();
                // Ours was the next.
                edits += 1;
                failpoint::reach(Failpoint::ZonesMoved);
            }
            Ok(false) => return Ok(so_far),
            Err(Stopped::Failed(error)) if error.is_refusal() => {
                if parts.refused(&part).is_some() {
                    // That task keeps its instant; the others are moved.
                    tracing::error!(?edit, error = %causes(&error), "a due row can't be moved by the new zone rules: it stays");
                }
            }
            Err(stopped) => return Err(stopped),
        }
    }
    so_far.is_whole = true;
    Ok(so_far)
}

/// Where tasks' due rows have to go, if they stand elsewhere ([`Moving::ZONE_RULES`]). Schedules are looked at apart, some
/// at a time: this goes on beside the planner and must not hold it up.
async fn moves_of(
    duty: &Duty,
    rules: &Arc<Rules>,
    mut tasks: Vec<Task>,
    now: Timestamp,
) -> Result<Vec<moves::Moved>, Error> {
    let store = &*duty.store;
    let mut moves = Vec::new();
    while !tasks.is_empty() {
        let some = tasks.split_off(tasks.len().saturating_sub(limits::LOOKED_AT_ONCE));
        let ids: Vec<TaskId> = some.iter().map(|t| t.id).collect();
        let dues = store.next_dues(&ids).await?;
        let movable = |task: Task| {
            let due_row = dues.get(&task.id).copied();
            let held_back = Moving::ZONE_RULES.held_back(&task, due_row, now);
            held_back.is_none().then_some((task, due_row))
        };
        let some: Vec<(Task, Option<Timestamp>)> = some.into_iter().filter_map(movable).collect();
        let rules = Arc::clone(rules);
        let look = move |fuel: &Fuel| -> Vec<Looked> {
            let all = some.into_iter();
            all.filter_map(|(task, due_row)| looked(task, due_row, &rules, now, fuel))
                .collect()
        };
        let pool = &duty.shared.pool;
        let looked = pool.run_first(u64::MAX, look).await;
        // Given up in the middle, some would stay where they are and nobody would look again: the node is stopping.
        let (Ok(looked), false) = (looked, pool.cancel().is_cancelled()) else {
            return Err(Error::Contended("this node is stopping".into()));
        };
        for one in looked {
            match moved(store, &one, now).await {
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
    due_row: Option<Timestamp>,
    timetable: Timetable,
    first: Option<Timestamp>,
}

/// One that can't be read here, or takes too long, stays where it is.
fn looked(
    task: Task,
    due_row: Option<Timestamp>,
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
        due_row,
        timetable,
        first,
    })
}

/// The move of one, if it stands elsewhere. Where too much is due at once it stays.
async fn moved(
    store: &dyn LeaderStore,
    looked: &Looked,
    now: Timestamp,
) -> Result<Option<moves::Moved>, Error> {
    let task = &looked.task;
    let future = future(store, task.id, &looked.timetable, looked.first, now).await?;
    let one = future.map(|future| Moving::ZONE_RULES.move_of(task, looked.due_row, &future));
    Ok(one.ok().flatten())
}
