//! A worker's word on what it can carry out: what it announced, and what it refuses before the start. It never ends a
//! run: what becomes of a refused attempt is decided in [`crate::decide::attempt`].

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::causes;
use crate::decide::attempt::Outcome;
use crate::decide::publish::routing::{Abilities, Can, Need, Refusals};
use crate::engine::attempt::Worker;
use crate::engine::attempt::running::Attempt;
use crate::engine::attempt::secrets::{self, Given};
use crate::failpoint::{self, Failpoint};
use crate::limits;
use crate::port::handler::Executor as _;

/// What one joining of a worker has announced.
pub struct Announced {
    first: Abilities,
    now: watch::Sender<Abilities>,
    refusals: Mutex<Refusals>,
    /// Of what the log has told already that it is refused.
    told: Mutex<BTreeSet<String>>,
}

impl Announced {
    /// What it can do at first.
    pub fn of(first: Abilities) -> Self {
        Self {
            now: watch::Sender::new(first.clone()),
            first,
            refusals: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// The lane that this worker listens on, as it changes.
    pub fn watch(&self) -> watch::Receiver<Abilities> {
        self.now.subscribe()
    }

    fn with<T>(&self, f: impl FnOnce(&mut Refusals) -> T) -> T {
        f(&mut self.refusals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_news(&self, token: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < limits::REFUSALS_MAX && told.insert(token.to_owned())
    }
}

/// What an attempt is given that this worker has claimed, or why it won't start it. What it could not have been known to
/// refuse is announced before the refusal is recorded, so that whoever offers the run again knows.
///
/// # Errors
/// The refusal, as the attempt's outcome.
pub async fn refusal(worker: &Worker, attempt: &Attempt) -> Result<Given, Outcome> {
    let handler = attempt.handler();
    let why = if worker.stops.drain.is_cancelled() {
        "its worker was stopping before it started".to_owned()
    } else {
        let (why, secrets_of) = match worker.shared.parts.handlers.refusal(handler).await {
            Some(why) => (why, None),
            None => match secrets::give(worker, attempt).await {
                Ok(given) => return Ok(given),
                Err(why) => (why, attempt.task),
            },
        };
        let mut need = Need::of(handler).unwrap_or(Need::AnyCommand);
        if let Some((task, version)) = secrets_of {
            need = need.with_secrets(task, version);
        }
        let token = need.exact();
        if worker.announced.is_news(&token) {
            tracing::warn!(
                need = token, run = %attempt.claimed.run,
                "this worker gives runs back that need `{need}` as run {} does: {why}", attempt.claimed.run
            );
        }
        let foreseen = worker.announced.now.borrow().can(&need) == Can::No;
        let now = worker.shared.parts.clock.monotonic();
        if !foreseen && worker.announced.with(|refusals| refusals.mark(&need, now)) {
            announce(worker).await;
        }
        why
    };
    failpoint::reach(Failpoint::Refused);
    let claimed = &attempt.claimed;
    let counted = claimed.failures + claimed.losses;
    Err(Outcome::Refused {
        why,
        earlier: (claimed.attempt - 1).saturating_sub(counted),
    })
}

/// Gives what was refused long ago another chance.
pub async fn forget(worker: &Worker) {
    let now = worker.shared.parts.clock.monotonic();
    if worker.announced.with(|refusals| refusals.forget(now)) {
        announce(worker).await;
        worker.shared.tell_leader();
    }
}

/// A failure is only logged: the next refusal, or the next forgetting, announces all of it again.
async fn announce(worker: &Worker) {
    let announced = &worker.announced;
    let refuses = announced.with(|refusals| refusals.tokens());
    let abilities = if refuses.is_empty() {
        announced.first.clone()
    } else {
        announced.first.refusing(refuses)
    };
    failpoint::reach(Failpoint::AnnounceBefore);
    let store = &worker.shared.parts.store;
    if let Err(error) = store.announce(worker.node, &abilities).await {
        tracing::warn!(error = %causes(&error), "could not announce what this worker refuses");
    }
    failpoint::reach(Failpoint::AnnounceCommitted);
    announced.now.send_replace(abilities);
}
