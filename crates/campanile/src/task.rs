//! A task as a program describes it, and the one way in which it is applied: the same as a task file's.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use campanile_ask::{Apply, Diff};
use campanile_core::port::handler::Handler;
use campanile_core::task::{HandlerSpec, Misfire, Overlap, QueueName, Retry, StartMode, TaskSpec};
use campanile_schedule::time::{Timestamp, format_duration};

use crate::client::Client;
use crate::error::Error;

/// A task that runs `H`, as [`Client::task`] begins to describe it; without a schedule it runs on request alone.
/// [`apply`](Self::apply) makes the store's task be as it says. What is not said has its default, as in a task file.
#[must_use = "nothing happens before `.apply().await`"]
pub struct Task<'a, H> {
    client: &'a Client,
    spec: TaskSpec,
    wrong: Option<serde_json::Error>,
    handler: PhantomData<fn() -> H>,
}

impl<H> fmt::Debug for Task<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({})", self.spec.name)
    }
}

impl<'a, H: Handler> Task<'a, H> {
    pub(crate) fn new(client: &'a Client, name: String) -> Self {
        let mut spec = TaskSpec::for_handler(HandlerSpec::Native(H::NAME.to_owned()));
        spec.name = name;
        Self {
            client,
            spec,
            wrong: None,
            handler: PhantomData,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut TaskSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// Runs at the instants of a cron expression: of five fields as in Unix, of six or seven as in Spring or Quartz.
    pub fn cron(self, expression: &str) -> Self {
        self.with(|spec| spec.schedule = Some(expression.into()))
    }

    /// Runs every so often, counted from the task's creation.
    pub fn every(self, period: Duration) -> Self {
        self.with(|spec| spec.schedule = Some(format!("every {}", format_duration(period)).into()))
    }

    /// Runs so long after the end of the run before; the first time, so long after its creation.
    pub fn after(self, delay: Duration) -> Self {
        self.with(|spec| spec.schedule = Some(format!("after {}", format_duration(delay)).into()))
    }

    /// Runs once, at this instant.
    pub fn at(self, instant: Timestamp) -> Self {
        self.with(|spec| spec.schedule = Some(format!("at {instant}").into()))
    }

    /// The zone on whose wall the schedule is meant; absent = UTC.
    pub fn zone(self, name: &str) -> Self {
        self.with(|spec| name.clone_into(&mut spec.timezone))
    }

    /// What the handler is given.
    pub fn payload(mut self, args: &H::Args) -> Self {
        match serde_json::to_value(args) {
            Ok(payload) => self.spec.payload = payload,
            Err(error) => self.wrong = Some(error),
        }
        self
    }

    /// Where its runs go; absent = `default`.
    pub fn queue(self, name: &str) -> Self {
        self.with(|spec| spec.queue = QueueName::new(name))
    }

    /// What happens after a failure; absent = nothing, it has one attempt.
    pub fn retry(self, retry: Retry) -> Self {
        self.with(|spec| spec.retry = retry)
    }

    /// How long one attempt may take; absent = a minute.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|spec| spec.timeout = timeout)
    }

    /// What happens to instants that were missed; absent = the last one runs.
    pub fn misfire(self, misfire: Misfire) -> Self {
        self.with(|spec| spec.misfire = misfire)
    }

    /// What happens at an instant while an earlier run is active; absent = they run side by side.
    pub fn overlap(self, overlap: Overlap) -> Self {
        self.with(|spec| spec.overlap = overlap)
    }

    /// Whether a run may start again after its worker died; absent = it may.
    pub fn start(self, start: StartMode) -> Self {
        self.with(|spec| spec.start = start)
    }

    /// Who puts it; a task that another owner put is not changed.
    pub fn owner(self, owner: &str) -> Self {
        self.with(|spec| spec.owner = Some(owner.to_owned()))
    }

    /// Everything else that a task file can say.
    pub fn change(self, change: impl FnOnce(&mut TaskSpec)) -> Self {
        self.with(change)
    }

    /// Makes the store's task be as this says: creates it, changes it, or finds that nothing is to be done. A pause that
    /// somebody made stays.
    ///
    /// # Errors
    /// The field at fault and what to write instead; another owner's task; a store that does not answer.
    pub async fn apply(self) -> Result<Diff, Error> {
        if let Some(source) = self.wrong {
            return Err(Error::Arguments {
                handler: H::NAME,
                source,
            });
        }
        let wanted = vec![self.spec].into();
        Ok(self
            .client
            .editor()
            .apply(&wanted, &Apply::default())
            .await?)
    }
}
