//! One attempt on a worker: from the claim to the outcome. Watches the handler, its timeout, the requests to stop it,
//! and catches its panics; never writes to the store.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use campanile_schedule::time::Timestamp;
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::decide::attempt::Outcome;
use crate::decide::publish::message::effect_key;
use crate::engine::attempt::secrets::Given;
use crate::id::{ClaimId, RunId, TaskId};
use crate::limits;
use crate::metrics::About;
use crate::port::attempt::{Chunks, Claimed};
use crate::port::clock::Clock;
use crate::port::handler::{Context, Executor, Failure, Log, Reported, Returned};
use crate::port::member::Progress;
use crate::scrub::Forms;
use crate::task::{Class, HandlerSpec, TaskSpec};

/// An attempt that was won, with all that it needs.
pub struct Attempt {
    pub claimed: Claimed,
    pub claim: ClaimId,
    /// Its task, and the version of the definition that is in force for it.
    pub task: Option<(TaskId, i64)>,
    /// Its task's definition, or the defaults for a run with its own handler.
    pub spec: Arc<TaskSpec>,
    /// Its task's name; empty for a run with its own handler.
    pub task_name: String,
    /// How far it says that it is.
    pub reported: Reported,
    /// What it writes.
    pub log: Log,
    /// Somebody asked for this run's end.
    pub cancel: CancellationToken,
}

impl Attempt {
    /// What runs: the run's own handler, or its task's.
    pub fn handler(&self) -> &HandlerSpec {
        self.claimed
            .spec
            .as_ref()
            .and_then(|s| s.handler.as_ref())
            .unwrap_or(&self.spec.handler)
    }

    fn payload(&self) -> serde_json::Value {
        let own = self.claimed.spec.as_ref().and_then(|s| s.payload.as_ref());
        own.unwrap_or(&self.spec.payload).clone()
    }
}

/// Why all attempts of a worker are told to stop.
#[derive(Debug, Clone, Default)]
pub struct Stops {
    /// The node drains, and its patience is over.
    pub drain: CancellationToken,
    /// The lease can't be kept: whatever the handler still does is no longer ours.
    pub fence: CancellationToken,
}

/// What became of an attempt.
pub struct Done {
    pub outcome: Outcome,
    /// What it returned, if it ended well.
    pub returned: Returned,
    /// What of its output the store lacks.
    pub log: Option<Chunks>,
}

/// Runs one attempt to its end; `None` when the lease was lost: then there is nothing to record.
pub async fn run(
    attempt: &Attempt,
    given: Given,
    executor: &dyn Executor,
    clock: &dyn Clock,
    stops: &Stops,
) -> Option<Done> {
    let stop = CancellationToken::new();
    let log = &attempt.log;
    log.scrub_with(&given.forms);
    let claimed = &attempt.claimed;
    let context = Context {
        run: claimed.run,
        attempt: claimed.attempt,
        task: attempt.task_name.clone(),
        due_at: claimed.due_at,
        key: effect_key(
            &attempt.task_name,
            claimed.origin,
            claimed.run,
            claimed.due_at,
        ),
        payload: given.payload.unwrap_or_else(|| attempt.payload()),
        stop: stop.clone(),
        log: log.clone(),
        reported: attempt.reported.without(&given.forms),
    };
    let handler = given.handler.as_ref().unwrap_or(attempt.handler());
    let mut work =
        std::pin::pin!(AssertUnwindSafe(executor.execute(handler, context)).catch_unwind());
    let why = tokio::select! {
        biased;
        ended = &mut work => {
            let (outcome, returned) = clean(outcome(ended), &given.forms);
            return Some(Done { outcome, returned, log: log.close() });
        }
        () = clock.sleep(attempt.spec.timeout) => Some(Outcome::TimedOut),
        () = attempt.cancel.cancelled() => Some(Outcome::Cancelled),
        () = stops.drain.cancelled() => Some(Outcome::Drained),
        () = stops.fence.cancelled() => None,
    };
    stop.cancel();
    tokio::select! {
        biased;
        _ = &mut work => {}
        () = clock.sleep(executor.stop_grace(handler)) => {}
    }
    why.map(|outcome| Done {
        outcome,
        returned: None,
        log: log.close(),
    })
}

fn outcome(ended: std::thread::Result<Result<Returned, Failure>>) -> (Outcome, Returned) {
    let outcome = match ended {
        Ok(Ok(Some(json))) if json.len() > limits::RESULT_BYTES_MAX => {
            Outcome::Failed(too_large(json.len()))
        }
        Ok(Ok(returned)) => return (Outcome::Succeeded, returned),
        Ok(Err(failure)) => Outcome::Failed(failure),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let text = text
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            let failure = Failure::retry(format!("the handler panicked: {text}"));
            Outcome::Failed(failure.with_class(Class::Panic))
        }
    };
    (outcome, None)
}

/// An end without the values of secrets.
fn clean((outcome, returned): (Outcome, Returned), forms: &Forms) -> (Outcome, Returned) {
    if forms.is_empty() {
        return (outcome, returned);
    }
    let outcome = match outcome {
        Outcome::Failed(failure) => Outcome::Failed(failure.without(forms)),
        other => other,
    };
    let returned = returned.map(|json| match serde_json::from_str(&json) {
        Ok(value) => forms.clean_json(value).to_string(),
        Err(_) => forms.clean(&json),
    });
    (outcome, returned)
}

/// It would be as large another time.
fn too_large(bytes: usize) -> Failure {
    Failure::fatal(format!(
        "returned {bytes} bytes of JSON, and a run keeps at most {}: put what is larger elsewhere and return where it is",
        limits::RESULT_BYTES_MAX
    ))
}

/// The error's text for the run's row.
pub fn error_text(outcome: &Outcome, timeout: Duration) -> Option<String> {
    match outcome {
        Outcome::Succeeded => None,
        Outcome::Failed(failure) => Some(failure.to_string()),
        Outcome::TimedOut => Some(format!(
            "took longer than its timeout of {}",
            campanile_schedule::time::format_duration(timeout)
        )),
        Outcome::Cancelled => Some("cancelled on request".to_owned()),
        Outcome::Drained => Some("its worker was stopped".to_owned()),
        Outcome::Refused { why, .. } => Some(why.clone()),
    }
}

/// What a worker has in its hands, by attempt: for heartbeats and for cancellation.
#[derive(Debug, Default)]
pub struct InHand(Mutex<BTreeMap<(RunId, u32), Held>>);

/// One attempt that is held.
#[derive(Debug)]
struct Held {
    cancel: CancellationToken,
    about: Option<Arc<About>>,
    voice: Option<Voice>,
}

/// Where an attempt says things while it runs, and under which claim.
#[derive(Debug, Clone)]
pub struct Voice {
    pub claim: ClaimId,
    pub reported: Reported,
    pub log: Log,
}

impl InHand {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(RunId, u32), Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an attempt in hand; its token fires when somebody asks for its end.
    pub fn take(&self, run: RunId, attempt: u32) -> CancellationToken {
        let token = CancellationToken::new();
        let held = Held {
            cancel: token.clone(),
            about: None,
            voice: None,
        };
        self.lock().insert((run, attempt), held);
        token
    }

    /// Says what an attempt is called by, once that is known, and where it says things.
    pub fn name(&self, run: RunId, attempt: u32, about: Arc<About>, voice: Voice) {
        if let Some(held) = self.lock().get_mut(&(run, attempt)) {
            held.about = Some(about);
            held.voice = Some(voice);
        }
    }

    /// Where the attempts in hand say things.
    pub fn voices(&self) -> Vec<(RunId, u32, Voice)> {
        let in_hand = self.lock();
        let voices = in_hand
            .iter()
            .filter_map(|((run, attempt), held)| Some((*run, *attempt, held.voice.clone()?)));
        voices.collect()
    }

    /// What attempts have said since this was asked last of how far they are.
    pub fn progress(&self, at: Timestamp) -> Vec<Progress> {
        let in_hand = self.lock();
        let said = in_hand.iter().filter_map(|((run, attempt), held)| {
            let (percent, message) = held.voice.as_ref()?.reported.take()?;
            Some(Progress {
                run: *run,
                attempt: *attempt,
                percent,
                message,
                at,
            })
        });
        said.take(limits::PROGRESS_ROWS_MAX).collect()
    }

    /// Lets go of an attempt; answers what it is called by, if that was said.
    pub fn release(&self, run: RunId, attempt: u32) -> Option<Arc<About>> {
        self.lock().remove(&(run, attempt))?.about
    }

    /// Tells a run's handler that somebody asked for its end.
    pub fn cancel(&self, run: RunId) {
        for (_, held) in self.lock().range((run, 0)..=(run, u32::MAX)) {
            held.cancel.cancel();
        }
    }

    /// Which runs are in hand.
    pub fn runs(&self) -> Vec<RunId> {
        self.lock().keys().map(|(run, _)| *run).collect()
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }
}
