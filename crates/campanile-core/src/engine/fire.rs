//! The planner: scans due rows a little ahead of their instants and fires them, in bounded transactions. Also fills a
//! new term's memory from the outbox: what the last leader fired and nobody has claimed. Every decision is
//! [`crate::decide::fire`]'s.

mod shelf;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use crate::decide::attempt::refusal;
use crate::decide::attempt::refusal::Width;
use crate::decide::fire::{CatchUp, Lookup, Moment, Planned, Planner};
use crate::decide::lead::jump::Answered;
use crate::decide::permits::{Board, LimitKey, Rules};
use crate::decide::publish::Entry;
use crate::engine::fire::shelf::{CACHE_TASKS_MAX, Shelf};
use crate::engine::lead::duty::{Duty, TermOver};
use crate::engine::lead::hold;
use crate::failpoint::{self, Failpoint};
use crate::id::{OutboxId, TaskId};
use crate::limits;
use crate::metrics::Metrics;
use crate::port::attempt::Thing;
use crate::port::fire::{DueRow, Fired, Firing, Owner, Scan};
use crate::port::store::Error;
use crate::task::Task;

/// Outbox rows of one read.
const OUTBOX_PAGE: usize = 64;
/// The wait after a scan that the store was too busy for.
const BUSY_WAIT: Duration = Duration::from_millis(50);
/// Firings in a row that may be refused before the planner rests.
const REFUSED_MAX: u32 = 3;

/// What the planner has read, exact as of one value of the edit counter.
#[derive(Default)]
struct Cache {
    edits: Option<i64>,
    rules: Arc<Rules>,
    answered: Answered,
    tasks: HashMap<TaskId, Lookup>,
    /// Those whose rows can't be read, and why.
    spoiled: HashMap<TaskId, Error>,
    shelf: Arc<Shelf>,
}

impl Cache {
    fn get(&self, id: TaskId) -> Lookup {
        self.tasks.get(&id).cloned().unwrap_or(Lookup::Gone)
    }

    fn task(&self, id: TaskId) -> Option<Arc<Task>> {
        match self.tasks.get(&id) {
            Some(Lookup::Here(compiled)) => Some(Arc::clone(&compiled.task)),
            _ => None,
        }
    }
}

/// Makes the cache be as of this value of the edit counter. Answers whether the store did as asked.
async fn renew(duty: &Duty, cache: &mut Cache, edits: i64) -> Result<bool, TermOver> {
    cache.shelf.arrived(|id| drop(cache.tasks.remove(&id)));
    if cache.edits == Some(edits) && cache.tasks.len() <= CACHE_TASKS_MAX {
        return Ok(true);
    }
    cache.tasks.clear();
    cache.spoiled.clear();
    let store = &duty.store;
    let read = async { Ok((store.rules().await?, store.answered().await?)) };
    match read.await {
        Ok((rules, answered)) => {
            cache.rules = Arc::new(rules);
            cache.answered = answered;
            cache.edits = Some(edits);
            Ok(true)
        }
        Err(error) => duty
            .put_off("to name calendars and limits", &error)
            .map(|()| false),
    }
}

async fn load(
    duty: &Duty,
    cache: &mut Cache,
    wanted: impl Iterator<Item = TaskId>,
) -> Result<bool, TermOver> {
    let mut missing: Vec<TaskId> = wanted.filter(|id| !cache.tasks.contains_key(id)).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(true);
    }
    match duty.pen().tasks(&missing).await {
        Ok((tasks, spoiled)) => {
            let gone = missing.into_iter().map(|id| (id, Lookup::Gone));
            cache.tasks.extend(gone);
            for (id, error) in spoiled {
                cache.tasks.insert(id, Lookup::Unreadable);
                cache.spoiled.insert(id, error);
            }
            for task in tasks {
                let id = task.id;
                let lookup = cache.shelf.lookup(duty, task, &cache.rules);
                cache.tasks.insert(id, lookup);
            }
            Ok(true)
        }
        Err(error) => duty.failed(&error).map(|()| false),
    }
}

/// Reads definitions alone: what was fired needs no schedule any more.
async fn recall(
    duty: &Duty,
    known: &mut HashMap<TaskId, Arc<Task>>,
    wanted: impl Iterator<Item = TaskId>,
) -> Result<bool, TermOver> {
    if known.len() > CACHE_TASKS_MAX {
        known.clear();
    }
    let mut missing: Vec<TaskId> = wanted.filter(|id| !known.contains_key(id)).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(true);
    }
    match duty.pen().tasks(&missing).await {
        // Of one that can't be read its worker says so.
        Ok((tasks, _)) => {
            known.extend(tasks.into_iter().map(|task| (task.id, Arc::new(task))));
            Ok(true)
        }
        Err(error) => duty.failed(&error).map(|()| false),
    }
}

/// Reads the outbox into the term's memory.
///
/// # Errors
/// The term is over.
pub async fn recover(duty: &Duty) -> Result<(), TermOver> {
    let mut known: HashMap<TaskId, Arc<Task>> = HashMap::new();
    let mut after: Option<OutboxId> = None;
    loop {
        match duty.store.leader().await {
            Ok(row) => break hold::note(duty, row.hold.as_ref()),
            Err(error) => duty.failed(&error)?,
        }
        duty.rest(BUSY_WAIT).await?;
    }
    loop {
        let rows = match duty.store.outbox(after, OUTBOX_PAGE).await {
            Ok(rows) => rows,
            Err(error) => {
                duty.unread(&error).await?;
                duty.rest(BUSY_WAIT).await?;
                continue;
            }
        };
        duty.readable();
        let tasks = rows
            .iter()
            .flat_map(|r| &r.waiting)
            .filter_map(|w| w.run.task);
        if !recall(duty, &mut known, tasks).await? {
            duty.rest(BUSY_WAIT).await?;
            continue;
        }
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = Some(last.id);
        for row in rows {
            let entry = |waiting: crate::port::fire::Waiting| {
                let task = waiting.run.task.and_then(|id| known.get(&id).cloned());
                Entry {
                    waiting,
                    task,
                    row: row.id,
                }
            };
            let entries = row.waiting.into_iter().map(entry).collect();
            duty.buffer.with(|d| d.admit(row.id, entries));
        }
    }
}

/// Plans until the term ends.
pub async fn run(duty: Arc<Duty>) {
    let _ = plan_for_ever(&duty).await;
}

async fn plan_for_ever(duty: &Duty) -> Result<(), TermOver> {
    let mut cache = Cache::default();
    let mut catch_up = CatchUp::new(duty.shared.settings.catch_up_per_second);
    let mut refused = 0;
    let mut width = Width::default();
    let mut steps = duty.shared.time.steps_back();
    loop {
        // Slots that were given while the clock was ahead are none.
        if std::mem::replace(&mut steps, duty.shared.time.steps_back()) != steps {
            catch_up = CatchUp::new(duty.shared.settings.catch_up_per_second);
        }
        // Register interest, then look, then wait: a wake-up during the scan is not lost.
        let woken = duty.shared.wake.notified();
        let next = scan(duty, &mut cache, &mut catch_up, &mut width).await?;
        refused = if matches!(next, Next::Refused) {
            refused + 1
        } else {
            0
        };
        match next {
            // Somebody was quicker: look again. If that goes on, not without a breath.
            Next::Refused if refused > REFUSED_MAX => duty.rest(BUSY_WAIT).await?,
            Next::Again | Next::Refused => {}
            Next::Soon => duty.rest(BUSY_WAIT).await?,
            Next::Wait(length) => tokio::select! {
                biased;
                // What woke it may be that somebody came who can do what nobody could.
                () = woken => duty.buffer.members.notify_one(),
                rested = duty.rest(length) => rested?,
            },
        }
    }
}

enum Next {
    /// There was more than one scan takes.
    Again,
    /// Tasks were edited meanwhile, or permits changed hands.
    Refused,
    /// The store was busy.
    Soon,
    /// All that is due soon has been fired; something may be decided at an instant before the next scan.
    Wait(Duration),
}

async fn scan(
    duty: &Duty,
    cache: &mut Cache,
    catch_up: &mut CatchUp,
    width: &mut Width,
) -> Result<Next, TermOver> {
    if !duty.leadership.is_trusted() {
        return Err(TermOver);
    }
    let mut rooms = duty
        .buffer
        .with(|d| d.rooms(duty.shared.settings.in_flight_max));
    rooms.default = rooms.default.min(limits::SCAN_ROWS_MAX);
    for room in rooms.rooms.values_mut() {
        *room = (*room).min(limits::SCAN_ROWS_MAX);
    }
    let horizon = duty.shared.time.now().plus(limits::LOOK_AHEAD);
    let scan = match duty.store.scan(horizon, &rooms).await {
        Ok(scan) => scan,
        Err(error) => return duty.unread(&error).await.map(|()| Next::Soon),
    };
    duty.readable();
    if scan.resign_epoch == duty.leadership.term.epoch {
        tracing::info!(
            epoch = scan.resign_epoch,
            "term {} was asked to resign",
            scan.resign_epoch
        );
        duty.leadership.resign();
        return Err(TermOver);
    }
    if let Some(wait) = hold::keep(duty, scan.hold.as_ref()).await? {
        return Ok(Next::Wait(wait));
    }
    if !renew(duty, cache, scan.edits).await? {
        return Ok(Next::Soon);
    }
    if !load(duty, cache, scan.rows.iter().filter_map(task_of)).await? {
        return Ok(Next::Soon);
    }
    if set_spoiled_aside(duty, cache, &scan).await? {
        return Ok(Next::Refused);
    }
    let Some(mut board) = board(duty, cache, &scan).await? else {
        return Ok(Next::Soon);
    };
    let next = fire_all(duty, cache, &scan, &mut board, (catch_up, width)).await?;
    let tight = duty.buffer.with(|d| {
        d.scanned(&rooms, &scan.rows);
        d.is_tight()
    });
    if tight {
        duty.buffer.wants_more.notify_one();
    }
    Ok(next)
}

/// Of which task a due row is.
fn task_of(row: &DueRow) -> Option<TaskId> {
    match row.key.owner {
        Owner::Task(id) => Some(id),
        Owner::Run(_) => row.waiting.as_ref().and_then(|w| w.run.task),
    }
}

/// Sets aside what is due of tasks that can't be read, so that it takes nobody's room. Answers whether anything was.
/// What could not be read is read again when it is due again: it may be mended by then.
async fn set_spoiled_aside(duty: &Duty, cache: &mut Cache, scan: &Scan) -> Result<bool, TermOver> {
    let mut any = false;
    let spoiled = std::mem::take(&mut cache.spoiled);
    for id in spoiled.keys() {
        cache.tasks.remove(id);
    }
    for row in &scan.rows {
        let Some(error) = task_of(row).and_then(|id| spoiled.get(&id)) else {
            continue;
        };
        let thing = Thing::Due(row.key.clone());
        match duty
            .pen()
            .set_aside(thing, duty.shared.time.now(), error)
            .await
        {
            Ok(written) => any |= written.is_applied(),
            Err(error) => duty.failed(&error)?,
        }
    }
    Ok(any)
}

/// Who holds the permits that the rows of a scan may need; `None` if the store was busy.
async fn board(duty: &Duty, cache: &Cache, scan: &Scan) -> Result<Option<Board>, TermOver> {
    let keys = scan.rows.iter().flat_map(|row| {
        let task = task_of(row).and_then(|id| cache.task(id));
        cache.rules.keys(task.as_deref(), &row.key.queue)
    });
    let keys: BTreeSet<LimitKey> = keys.map(|(key, _)| key).collect();
    if keys.is_empty() {
        return Ok(Some(Board::default()));
    }
    let keys: Vec<LimitKey> = keys.into_iter().collect();
    match duty.store.standings(&keys).await {
        Ok(standings) => Ok(Some(Board::new(standings))),
        Err(error) => duty.failed(&error).map(|()| None),
    }
}

async fn fire_all(
    duty: &Duty,
    cache: &Cache,
    scan: &Scan,
    board: &mut Board,
    (catch_up, width): (&mut CatchUp, &mut Width),
) -> Result<Next, TermOver> {
    let mut rest: &[DueRow] = &scan.rows;
    let routes = duty.buffer.with(|d| d.routes());
    let (mut more, mut later) = (false, None);
    while !rest.is_empty() {
        let now = duty.shared.time.now();
        let moment = Moment {
            now,
            horizon: now.plus(limits::LOOK_AHEAD),
            epoch: duty.leadership.term.epoch,
            edits: scan.edits,
        };
        let row = duty.shared.mint.outbox(now);
        let planner = Planner {
            tasks: &|id| cache.get(id),
            rules: &cache.rules,
            board,
            routes: &routes,
            answered: &cache.answered,
            catch_up,
            moment,
            outbox: row,
            mint: &|count| duty.shared.mint.runs(now, count),
        };
        let planned = planner.firing(&rest[..rest.len().min(width.rows())]);
        let covered = &rest[..planned.covered];
        rest = &rest[planned.covered..];
        later = later.into_iter().chain(planned.later).min();
        if planned.firing.is_empty() {
            continue;
        }
        let Planned {
            firing, entries, ..
        } = planned;
        let term = &duty.leadership.term;
        match duty.store.fire(term, &firing).await {
            Ok(Fired::Applied) => {
                width.accepted();
                count(duty, &firing, entries.len());
                more |= scan.rows.len() >= limits::SCAN_ROWS_MAX;
                more |= firing.advanced.iter().any(|key| key.at <= moment.horizon);
                if firing.outbox.is_some() {
                    duty.buffer.with(|d| d.admit(row, entries));
                    failpoint::reach(Failpoint::FireAdmitted);
                    duty.buffer.changed.notify_one();
                }
            }
            Ok(Fired::Fenced) => return Err(duty.fenced()),
            Ok(Fired::Edited) => return Ok(Next::Refused),
            Err(error) if error.is_refusal() => return narrow(duty, covered, width, &error).await,
            Err(error) => return duty.failed(&error).map(|()| Next::Soon),
        }
    }
    if more {
        return Ok(Next::Again);
    }
    let until_later = later.map(|at: Timestamp| at.since(duty.shared.time.now()));
    Ok(Next::Wait(
        until_later.map_or(limits::SCAN_PERIOD, |wait| wait.min(limits::SCAN_PERIOD)),
    ))
}

/// The store refuses a firing: fewer rows are tried, and the one that stands alone is set aside. All is read again, because
/// what the plan gave out is not given.
async fn narrow(
    duty: &Duty,
    covered: &[DueRow],
    width: &mut Width,
    error: &Error,
) -> Result<Next, TermOver> {
    match (width.refused(covered.len()), covered.first()) {
        (refusal::Next::SetAside, Some(row)) => {
            let thing = Thing::Due(row.key.clone());
            let now = duty.shared.time.now();
            match duty.pen().set_aside(thing, now, error).await {
                Ok(_) => Ok(Next::Refused),
                Err(error) => duty.failed(&error).map(|()| Next::Soon),
            }
        }
        (refusal::Next::Fewer, _) => Ok(Next::Again),
        _ => duty.failed(error).map(|()| Next::Soon),
    }
}

fn count(duty: &Duty, firing: &Firing, entries: usize) {
    let metrics = &duty.shared.metrics;
    metrics.skip_all(&firing.skipped);
    for (_, _, reason) in &firing.dropped {
        metrics.skip(*reason, 1);
    }
    Metrics::add(&metrics.runs_fired, firing.runs.len());
    Metrics::add(
        &metrics.timers_fired,
        entries.saturating_sub(firing.runs.len()),
    );
}
