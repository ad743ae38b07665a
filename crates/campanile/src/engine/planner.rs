//! The planner: scans due rows a little ahead of their instants and fires them, in bounded transactions. Also fills a
//! new term's memory from the outbox: what the last leader fired and nobody has claimed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::leader::{Duty, TermOver};
use super::meters::Meters;
use crate::id::{OutboxId, TaskId};
use crate::protocol::dispatch::Entry;
use crate::protocol::limits;
use crate::protocol::plan::{self, Compiled, Moment};
use crate::protocol::work::{DueRow, Fired, Firing, Owner, Scan};
use crate::task::Task;

/// Tasks that the planner remembers; past this it forgets all and reads again.
const CACHE_TASKS_MAX: usize = 20_000;
/// Outbox rows of one read.
const OUTBOX_PAGE: usize = 64;
/// The wait after a scan that the store was too busy for.
const BUSY_WAIT: Duration = Duration::from_millis(50);

/// The tasks that the planner has read, exact as of one value of the edit counter.
#[derive(Default)]
struct Cache {
    edits: i64,
    tasks: HashMap<TaskId, Option<Arc<Compiled>>>,
}

impl Cache {
    fn at(&mut self, edits: i64) {
        if self.edits != edits || self.tasks.len() > CACHE_TASKS_MAX {
            self.tasks.clear();
            self.edits = edits;
        }
    }

    fn get(&self, id: TaskId) -> Option<Arc<Compiled>> {
        self.tasks.get(&id).cloned().flatten()
    }
}

fn compile(task: Task) -> Option<Arc<Compiled>> {
    match task.spec.compile(task.created_at) {
        Ok(schedule) => Some(Arc::new(Compiled {
            task: Arc::new(task),
            schedule,
        })),
        Err(error) => {
            // The definition was valid when it was stored; a newer version's dialect, or another zone database.
            tracing::error!(task = %task.spec.name, %error, "task `{}` can't be scheduled here: {error}", task.spec.name);
            None
        }
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
    match duty.shared.parts.store.tasks_by_id(&missing).await {
        Ok(tasks) => {
            cache.tasks.extend(missing.into_iter().map(|id| (id, None)));
            cache
                .tasks
                .extend(tasks.into_iter().map(|t| (t.id, compile(t))));
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
    let mut cache = Cache::default();
    let mut after: Option<OutboxId> = None;
    loop {
        let rows = match duty.shared.parts.store.outbox(after, OUTBOX_PAGE).await {
            Ok(rows) => rows,
            Err(error) => {
                duty.failed(&error)?;
                duty.rest(BUSY_WAIT).await?;
                continue;
            }
        };
        let tasks = rows
            .iter()
            .flat_map(|r| &r.waiting)
            .filter_map(|w| w.run.task);
        if !load(duty, &mut cache, tasks).await? {
            duty.rest(BUSY_WAIT).await?;
            continue;
        }
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = Some(last.id);
        for row in rows {
            let entry = |waiting: crate::protocol::work::Waiting| {
                let task = waiting
                    .run
                    .task
                    .and_then(|id| cache.get(id))
                    .map(|c| Arc::clone(&c.task));
                Entry {
                    waiting,
                    task,
                    row: row.id,
                }
            };
            let entries = row.waiting.into_iter().map(entry).collect();
            duty.desk.with(|d| d.admit(row.id, entries));
        }
    }
}

/// Plans until the term ends.
pub async fn run(duty: Arc<Duty>) {
    let _ = plan_for_ever(&duty).await;
}

async fn plan_for_ever(duty: &Duty) -> Result<(), TermOver> {
    let mut cache = Cache::default();
    loop {
        // Register interest, then look, then wait: a wake-up during the scan is not lost.
        let woken = duty.shared.wake.notified();
        match scan(duty, &mut cache).await? {
            Next::Again => {}
            Next::Soon => duty.rest(BUSY_WAIT).await?,
            Next::Wait => tokio::select! {
                () = woken => {}
                rested = duty.rest(limits::SCAN_PERIOD) => rested?,
            },
        }
    }
}

enum Next {
    /// There was more than one scan takes.
    Again,
    /// The store was busy.
    Soon,
    /// All that is due soon has been fired.
    Wait,
}

async fn scan(duty: &Duty, cache: &mut Cache) -> Result<Next, TermOver> {
    if !duty.leadership.is_trusted() {
        return Err(TermOver);
    }
    let mut rooms = duty
        .desk
        .with(|d| d.rooms(duty.shared.settings.in_flight_max));
    rooms.default = rooms.default.min(limits::SCAN_ROWS_MAX);
    for room in rooms.rooms.values_mut() {
        *room = (*room).min(limits::SCAN_ROWS_MAX);
    }
    let horizon = duty.shared.time.now().plus(limits::LOOK_AHEAD);
    let scan = match duty.shared.parts.store.scan(horizon, &rooms).await {
        Ok(scan) => scan,
        Err(error) => return duty.failed(&error).map(|()| Next::Soon),
    };
    if scan.resign_epoch == duty.leadership.term.epoch {
        tracing::info!(
            epoch = scan.resign_epoch,
            "term {} was asked to resign",
            scan.resign_epoch
        );
        duty.leadership.resign();
        return Err(TermOver);
    }
    cache.at(scan.edits);
    let wanted = scan.rows.iter().filter_map(|row| match row.key.owner {
        Owner::Task(id) => Some(id),
        Owner::Run(_) => row.waiting.as_ref().and_then(|w| w.run.task),
    });
    if !load(duty, cache, wanted).await? {
        return Ok(Next::Soon);
    }
    fire_all(duty, cache, &scan).await
}

async fn fire_all(duty: &Duty, cache: &Cache, scan: &Scan) -> Result<Next, TermOver> {
    let mut rest: &[DueRow] = &scan.rows;
    let mut left_over = false;
    while !rest.is_empty() {
        let now = duty.shared.time.now();
        let moment = Moment {
            now,
            horizon: now.plus(limits::LOOK_AHEAD),
            epoch: duty.leadership.term.epoch,
            edits: scan.edits,
        };
        let row = duty.shared.mint.outbox(now);
        let mint = |count| duty.shared.mint.runs(now, count);
        let (firing, entries, covered) =
            plan::firing(rest, &|id| cache.get(id), moment, row, &mint);
        match duty
            .shared
            .parts
            .store
            .fire(&duty.leadership.term, &firing)
            .await
        {
            Ok(Fired::Applied) => {
                count(duty, &firing, entries.len());
                left_over |= firing.advanced.iter().any(|key| key.at <= moment.horizon);
                if firing.outbox.is_some() {
                    duty.desk.with(|d| d.admit(row, entries));
                    duty.desk.changed.notify_one();
                }
            }
            Ok(Fired::Fenced) => return Err(duty.fenced()),
            Ok(Fired::Edited) => return Ok(Next::Again),
            Err(error) => return duty.failed(&error).map(|()| Next::Soon),
        }
        rest = &rest[covered..];
    }
    let full = scan.rows.len() >= limits::SCAN_ROWS_MAX;
    Ok(if full || left_over {
        Next::Again
    } else {
        Next::Wait
    })
}

fn count(duty: &Duty, firing: &Firing, entries: usize) {
    let skipped: u64 = firing
        .skipped
        .iter()
        .filter_map(|r| r.skipped)
        .map(|(_, n)| n)
        .sum();
    Meters::add(&duty.shared.meters.runs_fired, firing.runs.len());
    Meters::add(
        &duty.shared.meters.timers_fired,
        entries - firing.runs.len(),
    );
    Meters::add(
        &duty.shared.meters.occurrences_skipped,
        usize::try_from(skipped).unwrap_or(usize::MAX),
    );
}
