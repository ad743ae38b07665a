//! What a worker knows of the tasks whose runs it has won: read once a version, put together with what a run carries of its
//! own. A task that can't be read ends nothing: its runs are given back.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::causes;
use crate::decide::attempt::log::Room;
use crate::decide::attempt::refusal::give_back;
use crate::engine::attempt::aside::{Hand, Pen};
use crate::engine::attempt::running::Attempt;
use crate::engine::attempt::{CACHE_TASKS_MAX, RETRY_INITIAL, RETRY_MAX, Worker};
use crate::id::{ClaimId, TaskId};
use crate::limits;
use crate::port::attempt::{Claimed, End, Finish};
use crate::port::handler::{Log, Reported};
use crate::port::store::Error;
use crate::run::Reason;
use crate::task::TaskSpec;

/// A task as a worker needs it.
#[derive(Clone)]
pub struct Known {
    version: i64,
    /// Or why it can't be read.
    spec: Result<Arc<TaskSpec>, String>,
    name: String,
}

impl Known {
    fn spoiled(error: &Error) -> Self {
        Self {
            version: 0,
            spec: Err(causes(error)),
            name: String::new(),
        }
    }
}

impl Worker {
    /// Where an attempt writes: as much as its task says and this worker allows is kept.
    pub fn log_of(&self, spec: &TaskSpec) -> Log {
        let most = self.shared.settings.log_bytes_max;
        let room = Room::of(spec.log_bytes.unwrap_or(limits::LOG_BYTES).min(most));
        Log::new(room, Arc::clone(&self.output))
    }

    /// What this worker records with.
    pub fn pen(&self) -> Pen<'_> {
        Pen {
            hand: Hand::Worker(&*self.shared.parts.store),
            metrics: &self.shared.metrics,
        }
    }
}

/// The definitions that the won runs need, in the version in force; what is not known is read. Asks until the store
/// answers: the runs are ours meanwhile. `None` if the worker was fenced before.
pub async fn learn(worker: &Worker, won: &[Claimed]) -> Option<HashMap<TaskId, Known>> {
    let mut needed = HashMap::new();
    let mut missing: Vec<TaskId> = Vec::new();
    {
        let known = worker
            .tasks
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for (id, version) in won.iter().filter_map(|c| c.task) {
            if needed
                .get(&id)
                .is_some_and(|k: &Known| k.version >= version)
            {
                continue;
            }
            match known.get(&id).filter(|k| k.version >= version) {
                Some(known) => drop(needed.insert(id, known.clone())),
                None => missing.push(id),
            }
        }
    }
    missing.sort_unstable();
    missing.dedup();
    let mut wait = RETRY_INITIAL;
    while !missing.is_empty() {
        if worker.stops.fence.is_cancelled() {
            return None;
        }
        match worker.pen().tasks(&missing).await {
            Ok((tasks, spoiled)) => {
                for (id, error) in spoiled {
                    needed.insert(id, Known::spoiled(&error));
                }
                let mut known = worker
                    .tasks
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                if known.len() > CACHE_TASKS_MAX {
                    known.clear();
                }
                for task in tasks {
                    let name = task.spec.name.clone();
                    let one = Known {
                        version: task.version,
                        spec: Ok(Arc::new(task.spec)),
                        name,
                    };
                    needed.insert(task.id, one.clone());
                    known.insert(task.id, one);
                }
                break;
            }
            Err(error) => {
                tracing::warn!(error = %causes(&error), "could not read the tasks of claimed runs; asking again");
                worker.shared.parts.clock.sleep(wait).await;
                wait = (wait * 2).min(RETRY_MAX);
            }
        }
    }
    Some(needed)
}

/// Puts an attempt together; a run whose task is gone is cancelled instead.
pub fn attempt(
    known: &HashMap<TaskId, Known>,
    claimed: Claimed,
    claim: ClaimId,
    cancel: CancellationToken,
    log_of: &dyn Fn(&TaskSpec) -> Log,
) -> Result<Attempt, Box<Finish>> {
    let definition = claimed.task.and_then(|(id, _)| known.get(&id));
    // A run of a deleted task does not start, whatever it carries.
    let own = claimed.spec.as_ref().filter(|_| !claimed.orphaned);
    let own = own.and_then(|s| s.handler.clone());
    let rules = claimed.spec.as_ref().and_then(|s| s.rules.as_ref());
    let (mut spec, task_name) = match (definition, own) {
        (Some(known), _) => match &known.spec {
            Ok(spec) => (Arc::clone(spec), known.name.clone()),
            Err(why) => return Err(Box::new(given_back(&claimed, claim, why))),
        },
        (None, Some(handler)) => (Arc::new(TaskSpec::for_handler(handler)), String::new()),
        (None, None) => {
            return Err(Box::new(Finish {
                run: claimed.run,
                attempt: claimed.attempt,
                claim,
                end: End::Cancelled(Reason::TaskDeleted),
                at: claimed.started_at,
                error: Some("its task was deleted before it started".to_owned()),
                class: None,
                log: None,
                result: None,
                limited: claimed.limited,
            }));
        }
    };
    if let Some(rules) = rules {
        rules.put_over(Arc::make_mut(&mut spec));
    }
    let version = definition.map_or(0, |known| known.version);
    Ok(Attempt {
        task: claimed.task.map(|(id, _)| (id, version)),
        claimed,
        claim,
        log: log_of(&spec),
        spec,
        task_name,
        reported: Reported::default(),
        cancel,
    })
}

/// A run whose task can't be read is given back without blame: the leader, who can't read it either, sets it aside.
fn given_back(claimed: &Claimed, claim: ClaimId, why: &str) -> Finish {
    let counted = claimed.failures + claimed.losses;
    let earlier = (claimed.attempt - 1).saturating_sub(counted);
    let now = claimed.started_at;
    Finish {
        run: claimed.run,
        attempt: claimed.attempt,
        claim,
        end: give_back(earlier, now),
        at: now,
        error: Some(format!("its task can't be read: {why}")),
        class: None,
        log: None,
        result: None,
        limited: claimed.limited,
    }
}
