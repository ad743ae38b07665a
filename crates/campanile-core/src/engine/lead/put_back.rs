//! After the store's clock was ahead and is set right: what was planned for moments that have not come is taken back,
//! batch by batch, and due rows go back. A duty of the leader. It looks when its term begins, so that whatever a leader
//! left half done is finished by the next one, and whenever this node sees the clock go back. Which rows, and where due
//! rows go, is decided in [`crate::decide::lead::jump`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use crate::decide::edit::place::PLANNED_AHEAD;
use crate::decide::lead::jump::{Part, PutBack, TaskBack, first_taken_back, parts};
use crate::engine::lead::duty::{Duty, Stopped, TermOver};
use crate::failpoint::{self, Failpoint};
use crate::id::{RunId, TaskId};
use crate::limits;
use crate::metrics::Metrics;
use crate::port::ask::RunFilter;
use crate::port::fire::{DueKey, Fired, Owner};
use crate::port::store::Error;
use crate::run::Run;
use crate::task::Task;

/// How often it asks whether the clock went back.
const PERIOD: Duration = Duration::from_millis(250);
/// The breath between two batches, and after one that was refused.
const BREATH: Duration = Duration::from_millis(10);
/// The wait after the store was too busy.
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// Puts back until the term ends.
pub async fn keep(duty: Arc<Duty>) {
    let _ = keep_for_ever(&duty).await;
}

async fn keep_for_ever(duty: &Duty) -> Result<(), TermOver> {
    // By a clock that is not believed yet, what was planned in time would be ahead, and be taken back.
    while duty.shared.time.is_in_doubt() {
        duty.rest(PERIOD).await?;
    }
    let mut seen = duty.shared.time.steps_back();
    if is_something_far_ahead(duty).await? {
        put_back_all(duty).await?;
    }
    forget(duty).await?;
    loop {
        let steps = duty.shared.time.steps_back();
        if steps != seen {
            seen = steps;
            put_back_all(duty).await?;
            forget(duty).await?;
        }
        duty.rest(PERIOD).await?;
    }
}

/// Whether a row is further ahead of the clock than any that is planned in time.
async fn is_something_far_ahead(duty: &Duty) -> Result<bool, TermOver> {
    loop {
        let beyond = duty.shared.time.now().plus(PLANNED_AHEAD);
        match duty.store.tasks_ahead(beyond, None, 1).await {
            Ok(tasks) => return Ok(!tasks.is_empty()),
            Err(error) => busy(duty, &error).await?,
        }
    }
}

async fn busy(duty: &Duty, error: &Error) -> Result<(), TermOver> {
    duty.failed(error)?;
    duty.rest(BUSY_WAIT).await
}

/// Looks at all tasks that have rows ahead of the clock.
async fn put_back_all(duty: &Duty) -> Result<(), TermOver> {
    let store = &duty.store;
    let mut after: Option<TaskId> = None;
    let (mut runs, mut skips, mut tasks) = (0, 0, 0_usize);
    loop {
        let now = duty.shared.time.now();
        // What was published and is to start later is published again then, and not a while after.
        duty.buffer.with(|d| d.start_later(now));
        // The publisher may have waited for nothing, for all was published.
        duty.buffer.changed.notify_one();
        let some = match store
            .tasks_ahead(now, after, limits::PUT_BACK_TASKS_MAX)
            .await
        {
            Ok(some) => some,
            Err(error) => {
                busy(duty, &error).await?;
                continue;
            }
        };
        let Some(last) = some.last().copied() else {
            break;
        };
        match put_back(duty, &some, now).await {
            Ok(Some((more_runs, more_skips))) => {
                (runs, skips, tasks) = (runs + more_runs, skips + more_skips, tasks + some.len());
                after = Some(last);
            }
            // Somebody was quicker: looked at again.
            Ok(None) => {}
            Err(Stopped::Over(over)) => return Err(over),
            Err(Stopped::Failed(error)) => busy(duty, &error).await?,
        }
        duty.rest(BREATH).await?;
    }
    if tasks > 0 {
        Metrics::add(&duty.shared.metrics.planned_taken_back, runs + skips);
        tracing::warn!(
            tasks,
            runs,
            skips,
            "the store's clock was ahead and is set right: {runs} runs that had not started and {skips} skips were taken \
             back; their instants, of {tasks} tasks, are due at their own time, and those that started are not repeated"
        );
    }
    Ok(())
}

/// Puts some tasks back. Answers how many runs and skips were taken back; `None` if something has moved meanwhile.
async fn put_back(
    duty: &Duty,
    ids: &[TaskId],
    now: Timestamp,
) -> Result<Option<(usize, usize)>, Stopped> {
    let store = &*duty.store;
    // The edits first: an edit after this makes the write be refused, not unseen.
    let edits = store.leader().await?.edits;
    let tasks = store.tasks_by_id(ids).await?;
    let dues = store.next_dues(ids).await?;
    let mut rows: HashMap<TaskId, Vec<Run>> = HashMap::new();
    for run in store.rows_ahead(ids, now).await? {
        if let Some(task) = run.task {
            rows.entry(task).or_default().push(run);
        }
    }
    let mut queue: Vec<Vec<TaskBack>> = Vec::new();
    for task in tasks {
        let mut rows = rows.remove(&task.id).unwrap_or_default();
        if let Some(first) = first_taken_back(&rows, now).filter(|t| *t <= now) {
            add_between(duty, &task, &mut rows, (first, now)).await?;
        }
        let seen = dues.get(&task.id).copied();
        queue.push(backs(&task, seen, parts(&rows, now)));
    }
    write_all(duty, edits, queue).await
}

/// Adds the rows of a task's instants between two moments that are not there yet.
async fn add_between(
    duty: &Duty,
    task: &Task,
    rows: &mut Vec<Run>,
    (since, until): (Timestamp, Timestamp),
) -> Result<(), Error> {
    let known: std::collections::HashSet<RunId> = rows.iter().map(|r| r.id).collect();
    let filter = RunFilter {
        tasks: vec![task.id],
        since: Some(since),
        until: Some(until.plus(Duration::from_millis(1))),
        ..RunFilter::default()
    };
    let mut before: Option<RunId> = None;
    loop {
        let page = duty
            .store
            .runs(&filter, before, limits::PAGE_ROWS_MAX)
            .await?;
        before = page.last().map(|run| run.id);
        let full = page.len() == limits::PAGE_ROWS_MAX;
        rows.extend(page.into_iter().filter(|run| !known.contains(&run.id)));
        if !full {
            return Ok(());
        }
    }
}

/// The writes for one task, in order. Each one's due row is where the one before has put it.
fn backs(task: &Task, seen: Option<Timestamp>, parts: Vec<Part>) -> Vec<TaskBack> {
    let rests = task.spec.is_paused();
    let key = |at: Timestamp| DueKey {
        queue: task.spec.queue.clone(),
        at,
        owner: Owner::Task(task.id),
    };
    let mut stands = seen;
    let back = |part: Part| {
        // Also where it is early enough already: had it moved meanwhile, what goes would be missed.
        let due = part.from.filter(|_| !rests).map(|from| {
            let from = from.plus(task.spec.jitter_offset());
            let to = stands.map_or(from, |at| at.min(from));
            (stands.replace(to).map(key), key(to))
        });
        TaskBack {
            task: task.id,
            due,
            paused_from: part.from.filter(|_| rests),
            part,
        }
    };
    parts.into_iter().map(back).collect()
}

/// Writes what fits into each transaction.
async fn write_all(
    duty: &Duty,
    mut edits: i64,
    queue: Vec<Vec<TaskBack>>,
) -> Result<Option<(usize, usize)>, Stopped> {
    let (mut runs, mut skips) = (0, 0);
    let mut batch: Vec<TaskBack> = Vec::new();
    let mut size = 0;
    let mut backs = queue.into_iter().flatten().peekable();
    while let Some(back) = backs.next() {
        let part = &back.part;
        size += part.runs.len() + part.skips.len() + part.answered.len() + 1;
        (runs, skips) = (runs + part.runs.len(), skips + part.skips.len());
        // Of one task, one part a transaction.
        let same = backs.peek().is_some_and(|next| next.task == back.task);
        batch.push(back);
        if size < limits::TAKE_BACK_ROWS_MAX && !same && backs.peek().is_some() {
            continue;
        }
        let tasks = std::mem::take(&mut batch);
        size = 0;
        let term = &duty.leadership.term;
        let write = PutBack {
            edits,
            tasks,
            ..PutBack::default()
        };
        match duty.store.put_back(term, &write).await? {
            Fired::Applied => edits += 1,
            Fired::Fenced => return Err(Stopped::Over(duty.fenced())),
            Fired::Edited => return Ok(None),
        }
        failpoint::reach(Failpoint::PutBackBatched);
        duty.shared.wake.notify_one();
    }
    Ok(Some((runs, skips)))
}

/// Forgets instants that were answered before they came, once they have passed.
async fn forget(duty: &Duty) -> Result<(), TermOver> {
    let (store, term) = (&duty.store, &duty.leadership.term);
    loop {
        let before = duty.shared.time.now();
        let look = async { Ok((store.leader().await?.edits, store.answered().await?)) };
        let (edits, answered) = match look.await {
            Ok(looked) => looked,
            Err(error) => {
                busy(duty, &error).await?;
                continue;
            }
        };
        if !answered.values().flatten().any(|at| *at < before) {
            return Ok(());
        }
        let write = PutBack {
            edits,
            forget: Some(before),
            ..PutBack::default()
        };
        match store.put_back(term, &write).await {
            Ok(Fired::Applied) => return Ok(()),
            Ok(Fired::Edited) => duty.rest(BREATH).await?,
            Ok(Fired::Fenced) => return Err(duty.fenced()),
            Err(error) => busy(duty, &error).await?,
        }
    }
}
