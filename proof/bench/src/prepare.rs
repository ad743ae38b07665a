//! What stands in the store before a workload begins: tasks, and runs that were asked for. Through the library's own
//! calls, as API and CLI make them; runs in batches, timed.

use std::time::Duration;

use campanile_ask::{Apply, Editor, NewRun};
use campanile_core::id::RunId;
use campanile_core::port::handler::Handler as _;
use campanile_core::task::{HandlerSpec, Task, TaskSpec};
use campanile_schedule::time::{Timestamp, format_duration};
use serde_json::{Value, json};

use super::Error;
use super::clock::{now_us, seconds_since};
use super::progress::Progress;
use super::record::Noop;
use super::site::{PREFIX, Site};

/// Runs of one submission, as a client that has many would send them.
pub const BATCH: usize = 1_000;
/// Tasks that are looked up at once.
const LOOKUP: usize = 500;

/// Runs that were asked for.
#[derive(Debug)]
pub struct Submitted {
    /// Their ids, in order.
    pub runs: Vec<RunId>,
    /// How long it took.
    pub seconds: f64,
}

/// A task of the bench: does nothing.
#[must_use]
pub fn spec(name: &str, schedule: Option<(Duration, Timestamp)>) -> TaskSpec {
    TaskSpec {
        name: format!("{PREFIX}{name}"),
        schedule: schedule.map(|(every, _)| format!("every {}", format_duration(every)).into()),
        anchor: schedule.map(|(_, anchor)| anchor),
        ..TaskSpec::for_handler(HandlerSpec::Native(Noop::NAME.to_owned()))
    }
}

/// Makes these the tasks of the store; answers with them in the same order.
///
/// # Errors
/// The store's.
pub async fn tasks(site: &Site, control: &Editor, specs: &[TaskSpec]) -> Result<Vec<Task>, Error> {
    let wanted = specs.to_vec().into();
    let dry = Apply {
        dry_run: true,
        prune: true,
        ..Apply::default()
    };
    // The store is the bench's own: what is in it may go, however much it is.
    let mut confirm = control.apply(&wanted, &dry).await?.confirm;
    loop {
        let whole = Apply {
            dry_run: false,
            confirm,
            ..dry.clone()
        };
        let diff = control.apply(&wanted, &whole).await?;
        confirm = diff.confirm;
        if diff.remaining == 0 {
            break;
        }
    }
    stored(site, specs).await
}

/// Stores these tasks beside those that are there; answers with them in the same order.
///
/// # Errors
/// The store's.
pub async fn add(site: &Site, control: &Editor, specs: &[TaskSpec]) -> Result<Vec<Task>, Error> {
    let _ = control
        .apply(&specs.to_vec().into(), &Apply::default())
        .await?;
    stored(site, specs).await
}

/// The tasks of these names.
///
/// # Errors
/// The store's.
pub async fn stored(site: &Site, specs: &[TaskSpec]) -> Result<Vec<Task>, Error> {
    let mut tasks = Vec::with_capacity(specs.len());
    for chunk in specs.chunks(LOOKUP) {
        let names: Vec<String> = chunk.iter().map(|s| s.name.clone()).collect();
        let found = site.store().tasks_by_name(&names).await?;
        let find = |name: &String| found.iter().find(|t| t.spec.name == *name).cloned();
        tasks.extend(names.iter().filter_map(find));
    }
    Ok(tasks)
}

/// One task that runs only on request.
///
/// # Errors
/// The store's.
pub async fn task(site: &Site, control: &Editor, name: &str) -> Result<Task, Error> {
    let tasks = tasks(site, control, &[spec(name, None)]).await?;
    let missing = || Error::Impossible("the task that was just stored is not there".to_owned());
    tasks.into_iter().next().ok_or_else(missing)
}

/// A payload of about so many bytes; `None` for zero: the run has its task's.
#[must_use]
pub fn payload(bytes: usize) -> Option<Value> {
    (bytes > 0).then(|| json!({ "text": "x".repeat(bytes) }))
}

/// A request for a run of a task.
#[must_use]
pub fn request(task: &Task, at: Timestamp, payload: Option<&Value>) -> NewRun {
    NewRun {
        task: Some(task.spec.name.clone()),
        payload: payload.cloned(),
        run_at: Some(at),
        ..NewRun::default()
    }
}

/// Asks for runs of a task, all due at one instant, in batches of `batch`.
///
/// # Errors
/// The store's.
pub async fn submit(
    control: &Editor,
    one: &NewRun,
    count: usize,
    batch: usize,
    progress: &Progress,
) -> Result<Submitted, campanile_ask::Error> {
    let requests = vec![one.clone(); batch.min(count)];
    let began = now_us();
    let mut runs = Vec::with_capacity(count);
    while runs.len() < count {
        let some = requests.get(..count - runs.len()).unwrap_or(&requests);
        runs.extend(control.submit(some).await?.iter().map(|s| s.run));
        progress.at(runs.len());
    }
    Ok(Submitted {
        runs,
        seconds: seconds_since(began),
    })
}
