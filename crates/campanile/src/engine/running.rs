//! One attempt on a worker: from the claim to the outcome. Watches the handler, its timeout, the requests to stop it,
//! and catches its panics; never writes to the store.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::id::{ClaimId, RunId};
use crate::port::clock::Clock;
use crate::port::handler::{Context, Executor, Failure, Log};
use crate::protocol::message::effect_key;
use crate::protocol::run::Outcome;
use crate::protocol::work::Claimed;
use crate::task::{Class, HandlerSpec, QueueName, TaskSpec};

/// How long a handler that was told to stop may take before it is dropped where it stands.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// An attempt that was won, with all that it needs.
pub struct Attempt {
    /// What was won.
    pub claimed: Claimed,
    /// Under which claim.
    pub claim: ClaimId,
    /// Its task's definition, or the defaults for a run with its own handler.
    pub spec: Arc<TaskSpec>,
    /// Its task's name; empty for a run with its own handler.
    pub task_name: String,
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

/// Why an attempt was told to stop, beside its own timeout.
#[derive(Debug, Clone, Default)]
pub struct Stops {
    /// Somebody asked for this run's end.
    pub cancel: CancellationToken,
    /// The node drains, and its patience is over.
    pub drain: CancellationToken,
    /// The lease can't be kept: whatever the handler still does is no longer ours.
    pub fence: CancellationToken,
}

/// Runs one attempt to its outcome and log; `None` when the lease was lost: then there is nothing to record.
pub async fn run(
    attempt: &Attempt,
    executor: &dyn Executor,
    clock: &dyn Clock,
    stops: &Stops,
) -> Option<(Outcome, String)> {
    let stop = CancellationToken::new();
    let log = Log::default();
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
        payload: attempt.payload(),
        stop: stop.clone(),
        log: log.clone(),
    };
    let handler = attempt.handler();
    let mut work =
        std::pin::pin!(AssertUnwindSafe(executor.execute(handler, context)).catch_unwind());
    let why = tokio::select! {
        biased;
        ended = &mut work => return Some((outcome(ended), log.text())),
        () = clock.sleep(attempt.spec.timeout) => Some(Outcome::TimedOut),
        () = stops.cancel.cancelled() => Some(Outcome::Cancelled),
        () = stops.drain.cancelled() => Some(Outcome::Drained),
        () = stops.fence.cancelled() => None,
    };
    stop.cancel();
    tokio::select! {
        biased;
        _ = &mut work => {}
        () = clock.sleep(STOP_GRACE) => {}
    }
    why.map(|outcome| (outcome, log.text()))
}

fn outcome(ended: std::thread::Result<Result<(), Failure>>) -> Outcome {
    match ended {
        Ok(Ok(())) => Outcome::Succeeded,
        Ok(Err(failure)) => Outcome::Failed(failure),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let text = text
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            let failure = Failure::retry(format!("the handler panicked: {text}"));
            Outcome::Failed(failure.with_class(Class::Panic))
        }
    }
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

/// What a worker has in its hands, by attempt: for beats and for cancellation.
#[derive(Debug, Default)]
pub struct InHand(Mutex<BTreeMap<(RunId, u32), Held>>);

/// One attempt that is held.
#[derive(Debug)]
struct Held {
    cancel: CancellationToken,
    about: Option<Arc<About>>,
}

/// What people call an attempt by, in the log and in figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Its task; empty for a run with its own handler.
    pub task: String,
    /// Where it was taken from.
    pub queue: QueueName,
}

impl About {
    /// The task in a sentence.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.task.is_empty() {
            "no task (its own handler)"
        } else {
            &self.task
        }
    }
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
        };
        self.lock().insert((run, attempt), held);
        token
    }

    /// Says what an attempt is called by, once that is known.
    pub fn name(&self, run: RunId, attempt: u32, about: Arc<About>) {
        if let Some(held) = self.lock().get_mut(&(run, attempt)) {
            held.about = Some(about);
        }
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

    /// How many attempts.
    pub fn len(&self) -> usize {
        self.lock().len()
    }
}
