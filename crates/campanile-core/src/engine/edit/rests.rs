//! Ends pauses whose end has come, on behalf of whoever said until when. A duty of the leader: it edits under the fence, and
//! each edit rests on the edit counter, so whoever resumed a task before, or said another end, was quicker. The task goes on
//! as of that end: what lies before is recorded as paused, what lies behind and was missed is the misfire policy's.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::Timetable;
use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;

use crate::causes;
use crate::decide::edit::place::{self, Course, Future, Sight};
use crate::engine::edit::ahead::{future, left_row};
use crate::engine::lead::duty::{Duty, TermOver};
use crate::id::TaskId;
use crate::limits;
use crate::port::edit::{Edit, OnBehalfOf, Upsert};
use crate::port::fire::Fired;
use crate::port::store::Error;
use crate::task::{Task, TaskSpec};

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);

/// Ends pauses until the term ends.
pub(in crate::engine) async fn end(duty: Arc<Duty>) {
    let _ = end_for_ever(&duty).await;
}

async fn end_for_ever(duty: &Duty) -> Result<(), TermOver> {
    // Those that can't be resumed here: said once, and left to another term.
    let mut left_alone: HashSet<TaskId> = HashSet::new();
    loop {
        let time = &duty.shared.time;
        let doubtful = time.is_in_doubt() || time.behind_until().is_some();
        if !doubtful && let Err(error) = end_some(duty, &mut left_alone).await? {
            duty.put_off("to end pauses", &error)?;
        }
        duty.rest(PERIOD).await?;
    }
}

/// One look. The inner error is the store's.
async fn end_some(
    duty: &Duty,
    left_alone: &mut HashSet<TaskId>,
) -> Result<Result<(), Error>, TermOver> {
    let (store, now) = (&duty.store, duty.shared.time.now());
    let over = match store.pauses_over(now, limits::DELETE_ROWS_MAX).await {
        Ok(over) => over,
        Err(error) => return Ok(Err(error)),
    };
    for (task, until) in over {
        if left_alone.contains(&task) {
            continue;
        }
        match end_one(duty, task, until, now).await {
            Ok(Fired::Applied) => {
                tracing::info!(%task, "the pause of task {task} has come to its end ({until}): it goes on");
                duty.shared.wake.notify_one();
            }
            // Somebody edits: the next look sees what is left to do.
            Ok(Fired::Edited) => return Ok(Ok(())),
            Ok(Fired::Fenced) => return Err(duty.fenced()),
            Err(error) if error.is_refusal() => {
                tracing::error!(%task, error = %causes(&error), "the pause of task {task} can't be ended: resume it by hand");
                left_alone.insert(task);
            }
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(()))
}

async fn end_one(
    duty: &Duty,
    id: TaskId,
    until: Timestamp,
    now: Timestamp,
) -> Result<Fired, Error> {
    let store = &*duty.store;
    // The edits first: an edit after this makes the write be refused, not unseen.
    let edits = store.leader().await?.edits;
    let mut edit = Edit {
        edits: Some(edits),
        ..Edit::default()
    };
    let still = store.pauses(&[id]).await?;
    if still.get(&id).and_then(|pause| pause.until) != Some(until) {
        return Ok(Fired::Edited);
    }
    if let Some(task) = store.tasks_by_id(&[id]).await?.pop() {
        resume(duty, &task, until, &mut edit).await?;
    }
    let term = &duty.leadership.term;
    store
        .edit_for(term, OnBehalfOf::PauseUntil, &edit, now)
        .await
}

/// What lets a task go on as of `until`.
async fn resume(duty: &Duty, old: &Task, until: Timestamp, edit: &mut Edit) -> Result<(), Error> {
    let store = &*duty.store;
    let spec = TaskSpec {
        paused: false,
        ..old.spec.clone()
    };
    let course = Course::of(&old.spec, &spec);
    let future = match course {
        Course::Anew => {
            let (timetable, first) = looked(duty, old, until).await?;
            let future = future(store, old.id, &timetable, first, until).await?;
            future.map_err(|spent| Error::Refused(spent.to_string().into()))?
        }
        _ => Future::default(),
    };
    let placed = place::place(&Sight {
        old,
        spec: &spec,
        due_row: None,
        future: &future,
        now: until,
    });
    let (pool, mint) = (&duty.shared.pool, &duty.shared.mint);
    let row = left_row(store, pool, mint, old, placed.left, until).await?;
    edit.skipped
        .extend(row.map_err(|error| Error::Contended(error.into()))?);
    edit.answered.extend(placed.answered);
    edit.upserts.push(Upsert {
        id: old.id,
        expected: Some(old.version),
        paused_from: placed.paused_from,
        due: placed.due,
        spec,
    });
    Ok(())
}

/// Its timetable, and its first instant behind `until`.
async fn looked(
    duty: &Duty,
    task: &Task,
    until: Timestamp,
) -> Result<(Timetable, Option<Timestamp>), Error> {
    let rules = duty.store.rules().await?;
    let task = task.clone();
    let look = move |fuel: &Fuel| {
        let find = |name: &str| rules.calendar(name);
        let timetable = task.spec.timetable_by(task.created_at, &find, fuel);
        let timetable = timetable.map_err(|invalid| invalid.to_string())?;
        let first = timetable.next_by(until, fuel).map(|event| event.at);
        fuel.check().map_err(|spent| spent.to_string())?;
        Ok((timetable, first))
    };
    let pool = &duty.shared.pool;
    let looked: Result<_, String> = pool
        .run_first(limits::TASK_FUEL, look)
        .await
        .map_err(|_| Error::Contended("this node is stopping".into()))?;
    looked.map_err(|why| Error::Refused(why.into()))
}
