//! What stands in the store before a workload begins: tasks, and runs that were asked for. Through the same calls that
//! API and library make, in batches, timed.

use std::collections::HashMap;
use std::time::Duration;

use campanile::id::{RunId, TaskId};
use campanile::port::store::Control as _;
use campanile::protocol::run as transitions;
use campanile::protocol::work::{DueChange, DueKey, Edit, Owner, Submission, Upsert};
use campanile::run::RunSpec;
use campanile::task::{HandlerSpec, QueueName, Task, TaskSpec};
use campanile::time::Timestamp;
use serde_json::json;

use super::Error;
use super::clock::{now_us, seconds_since};
use super::progress::Progress;
use super::record::Noop;
use super::site::{PREFIX, QUEUE, Site};

/// Runs of one submission, as a client that has many would send them.
pub const BATCH: usize = 1_000;
/// Tasks of one edit.
const EDIT_TASKS: usize = 500;

/// Runs that were asked for.
#[derive(Debug)]
pub struct Submitted {
    /// Their ids, in order.
    pub runs: Vec<RunId>,
    /// How long it took.
    pub seconds: f64,
}

/// A task of the bench: does nothing, on the bench's queue.
#[must_use]
pub fn spec(name: &str, schedule: Option<(Duration, Timestamp)>) -> TaskSpec {
    use campanile::port::handler::Handler as _;
    let handler = HandlerSpec::Native(Noop::NAME.to_owned());
    TaskSpec {
        name: format!("{PREFIX}{name}"),
        schedule: schedule
            .map(|(every, _)| format!("every {}", campanile::time::format_duration(every))),
        anchor: schedule.map(|(_, anchor)| anchor),
        queue: QueueName::new(QUEUE),
        ..TaskSpec::for_handler(handler)
    }
}

/// Puts tasks, replacing those of the same names; answers with them in the same order.
///
/// # Errors
/// The store's.
pub async fn put(site: &Site, specs: &[TaskSpec]) -> Result<Vec<Task>, Error> {
    let mut tasks = Vec::with_capacity(specs.len());
    for chunk in specs.chunks(EDIT_TASKS) {
        put_some(site, chunk).await?;
        let names: Vec<String> = chunk.iter().map(|s| s.name.clone()).collect();
        let mut found: HashMap<String, Task> = HashMap::new();
        for task in site.store.tasks_by_name(&names).await? {
            found.insert(task.spec.name.clone(), task);
        }
        tasks.extend(names.iter().filter_map(|name| found.remove(name)));
    }
    Ok(tasks)
}

async fn put_some(site: &Site, specs: &[TaskSpec]) -> Result<(), Error> {
    let now = site.now().await?;
    let names: Vec<String> = specs.iter().map(|s| s.name.clone()).collect();
    let known = site.store.tasks_by_name(&names).await?;
    let versions: HashMap<&str, (TaskId, i64)> = known
        .iter()
        .map(|t| (t.spec.name.as_str(), (t.id, t.version)))
        .collect();
    let mut edit = Edit::default();
    for spec in specs {
        let (id, expected) = match versions.get(spec.name.as_str()) {
            Some((id, version)) => (*id, Some(*version)),
            None => (site.mint.task(now), None),
        };
        let schedule = spec
            .compile(now)
            .map_err(|e| Error::Impossible(e.to_string()))?;
        let next = schedule.next(now).map(|at| DueKey {
            queue: spec.queue.clone(),
            at,
            owner: Owner::Task(id),
        });
        edit.upserts.push(Upsert {
            id,
            expected,
            spec: spec.clone(),
            due: DueChange::Replace(next),
        });
    }
    if site.store.edit(&edit, now).await?.is_applied() {
        Ok(())
    } else {
        Err(Error::Impossible(
            "somebody else edits the bench's tasks".to_owned(),
        ))
    }
}

/// Deletes the bench's tasks; what they left in history stays.
///
/// # Errors
/// The store's.
pub async fn delete(site: &Site, tasks: &[Task]) -> Result<(), Error> {
    for chunk in tasks.chunks(EDIT_TASKS) {
        let names: Vec<String> = chunk.iter().map(|t| t.spec.name.clone()).collect();
        let now = site.now().await?;
        let there = site.store.tasks_by_name(&names).await?;
        let edit = Edit {
            upserts: Vec::new(),
            deletes: there.iter().map(|t| (t.id, t.version)).collect(),
        };
        if !site.store.edit(&edit, now).await?.is_applied() {
            return Err(Error::Impossible(
                "somebody else edits the bench's tasks".to_owned(),
            ));
        }
    }
    Ok(())
}

/// A payload of about so many bytes; `None` for zero: the run has its task's.
#[must_use]
pub fn payload(bytes: usize) -> Option<serde_json::Value> {
    (bytes > 0).then(|| json!({ "text": "x".repeat(bytes) }))
}

/// Asks for runs of a task, all due at one instant.
///
/// # Errors
/// The store's.
pub async fn submit(
    site: &Site,
    task: &Task,
    count: usize,
    at: Timestamp,
    payload: Option<&serde_json::Value>,
    progress: &Progress,
) -> Result<Submitted, Error> {
    let began = now_us();
    let mut runs = Vec::with_capacity(count);
    while runs.len() < count {
        let batch = submissions(site, task, BATCH.min(count - runs.len()), at, payload);
        runs.extend(site.store.submit(&batch).await?.iter().map(|s| s.run));
        progress.at(runs.len());
    }
    Ok(Submitted {
        runs,
        seconds: seconds_since(began),
    })
}

/// Submissions of runs of a task.
#[must_use]
pub fn submissions(
    site: &Site,
    task: &Task,
    count: usize,
    at: Timestamp,
    payload: Option<&serde_json::Value>,
) -> Vec<Submission> {
    let ids = site.mint.runs(campanile::system::wall_now(), count);
    let submission = |id| Submission {
        run: transitions::request(id, Some(task), &task.spec, at),
        spec: payload.map(|payload| RunSpec {
            handler: None,
            payload: Some(payload.clone()),
        }),
        idempotency_key: None,
    };
    ids.into_iter().map(submission).collect()
}
