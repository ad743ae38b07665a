//! What runs when a run starts. [`Handler`] is what people write; [`Executor`] is the same, erased, and what the
//! worker calls for every kind.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::id::RunId;
use crate::limits;
pub use crate::port::log::Log;
use crate::scrub::Forms;
use crate::task::{Class, HandlerSpec};

/// All that a handler is told about its attempt.
#[derive(Clone)]
pub struct Context {
    pub run: RunId,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The task's name; empty for a run that was submitted with its own handler.
    pub task: String,
    /// The instant it was meant for.
    pub due_at: Timestamp,
    /// The same on every attempt of the run: give it to the target, so that it can refuse to do the effect twice.
    pub key: String,
    pub payload: serde_json::Value,
    /// Fires when the attempt must stop: timeout, cancellation, drain's hard end, or a lease that can't be kept.
    /// Handlers that ignore it are dropped at their next await.
    pub stop: CancellationToken,
    /// Where the attempt's output goes.
    pub log: Log,
    /// How far it says that it is.
    pub reported: Reported,
}

impl std::fmt::Debug for Context {
    /// Without the payload: it may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("run", &self.run)
            .field("attempt", &self.attempt)
            .field("task", &self.task)
            .field("due_at", &self.due_at)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Says how far the attempt is: 0 to 100, and in words of at most [`limits::PROGRESS_BYTES_MAX`]. Costs nothing, however
    /// often: the last one goes to the store with the worker's next heartbeat, about once a second, and is shown with the run.
    pub fn progress(&self, percent: u8, message: impl Into<String>) {
        let mut message = self.reported.forms.clean(&message.into());
        message.truncate(message.floor_char_boundary(limits::PROGRESS_BYTES_MAX));
        self.reported.say(percent.min(100), message);
    }

    /// Writes a line into the attempt's log, which `campanile run logs` shows while the attempt runs. Never waits.
    pub fn log(&self, line: impl std::fmt::Display) {
        self.log.line(line);
    }

    /// Whether the attempt was told to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until the attempt is told to stop.
    pub async fn cancelled(&self) {
        self.stop.cancelled().await;
    }
}

/// The last that an attempt said of how far it is, until a heartbeat takes it along.
#[derive(Debug, Clone, Default)]
pub struct Reported {
    last: Arc<Mutex<Option<(u8, String)>>>,
    forms: Forms,
}

impl Reported {
    /// The same place, for words out of which these values are taken.
    #[must_use]
    pub fn without(&self, forms: &Forms) -> Self {
        Self {
            last: Arc::clone(&self.last),
            forms: forms.clone(),
        }
    }

    fn say(&self, percent: u8, message: String) {
        *self.lock() = Some((percent, message));
    }

    /// What was said since this was asked last.
    #[must_use]
    pub fn take(&self) -> Option<(u8, String)> {
        self.lock().take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(u8, String)>> {
        self.last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Whether another attempt may help, as the handler sees it. The task's `retry.on` and `retry.never_on` have the last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    Retry,
    /// It is no use.
    Fatal,
    /// The worker's own settings do not allow it: no use, with a reason of its own.
    NotAllowed,
}

/// Why an attempt ended badly: a text for people, whether another attempt may help, and where the handler knows them the
/// class of the failure (by which tasks decide) and the least wait before the next attempt.
///
/// Every error becomes one by `?`, of which another attempt may help; its text is the error's and those of its causes.
/// (For that a `Failure` is no [`std::error::Error`] itself.)
///
/// ```
/// # use std::time::Duration;
/// # use campanile_core::port::handler::Failure;
/// # use campanile_core::task::Class;
/// let busy = Failure::retry("the ledger is closed").with_class(Class::named("closed")).after(Duration::from_secs(60));
/// assert_eq!(busy.class().to_string(), "class:closed");
///
/// fn seven(text: &str) -> Result<u32, Failure> {
///     Ok(text.parse()?)
/// }
/// assert_eq!(seven("x").unwrap_err().message(), "invalid digit found in string");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    verdict: Verdict,
    class: Class,
    after: Option<Duration>,
}

impl Failure {
    fn new(message: impl Into<String>, verdict: Verdict, class: Class) -> Self {
        Self {
            message: message.into(),
            verdict,
            class,
            after: None,
        }
    }

    /// Another attempt may help.
    #[must_use]
    pub fn retry(message: impl Into<String>) -> Self {
        Self::new(message, Verdict::Retry, Class::Error)
    }

    /// Another attempt is no use.
    #[must_use]
    pub fn fatal(message: impl Into<String>) -> Self {
        Self::new(message, Verdict::Fatal, Class::Error)
    }

    /// This worker's own settings do not allow it.
    #[must_use]
    pub fn not_allowed(message: impl Into<String>) -> Self {
        Self::new(message, Verdict::NotAllowed, Class::NotAllowed)
    }

    /// The same, of this class.
    #[must_use]
    pub fn with_class(self, class: Class) -> Self {
        Self { class, ..self }
    }

    /// The same, and the next attempt, if there is one, is not before this has passed: at most
    /// [`limits::RETRY_AFTER_MAX`].
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self {
            after: Some(wait.min(limits::RETRY_AFTER_MAX)),
            ..self
        }
    }

    /// The same without these values.
    #[must_use]
    pub fn without(self, forms: &Forms) -> Self {
        let class = self.class.to_string();
        Self {
            message: forms.clean(&self.message),
            class: if forms.clean(&class) == class {
                self.class
            } else {
                Class::Error
            },
            ..self
        }
    }

    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether another attempt may help.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What kind of failure it is.
    #[must_use]
    pub const fn class(&self) -> &Class {
        &self.class
    }

    /// The least wait before the next attempt, if the handler knows one.
    #[must_use]
    pub const fn least_wait(&self) -> Option<Duration> {
        self.after
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        Self::retry(text)
    }
}

/// A native handler, typed: what a library user writes.
pub trait Handler: Send + Sync + 'static {
    /// The name that `handler = { native = "…" }` calls it by.
    const NAME: &'static str;
    /// What the payload is read into.
    type Args: Serialize + DeserializeOwned + Send;
    /// What an attempt that ends well returns: kept with the run, as JSON of at most [`limits::RESULT_BYTES_MAX`]. `()`
    /// keeps nothing.
    type Output: Serialize + DeserializeOwned + Send;

    fn run(
        &self,
        context: Context,
        args: Self::Args,
    ) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

/// What an attempt that ended well returned, as JSON; `None` = nothing.
pub type Returned = Option<String>;

/// How long a handler that was told to stop may take, unless it says otherwise.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(5);

/// A handler of any kind, as the worker calls it.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Why this worker can't carry this handler out, in whichever attempt; `None` = it will try. Asked after the claim and
    /// before the start: the run is given back, and that counts as neither failure nor loss.
    async fn refusal(&self, _handler: &HandlerSpec) -> Option<String> {
        None
    }

    /// The programs that it may start, by their paths, `*` for any; `None` = it doesn't say. Announced to the leader, so
    /// that runs go to workers that can carry them out.
    fn programs(&self) -> Option<Vec<String>> {
        None
    }

    /// How long an attempt that was told to stop may take, before it is dropped where it stands and its end is recorded.
    fn stop_grace(&self, _handler: &HandlerSpec) -> Duration {
        STOP_GRACE
    }

    /// Runs one attempt of a run that has this handler.
    async fn execute(&self, handler: &HandlerSpec, context: Context) -> Result<Returned, Failure>;
}
