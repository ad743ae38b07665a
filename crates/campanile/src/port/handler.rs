//! What runs when a run starts. [`Handler`] is what people write; [`Executor`] is the same, erased, and what the
//! worker calls for every kind.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::id::RunId;
use crate::protocol::limits;
use crate::task::{Class, HandlerSpec};

/// All that a handler is told about its attempt.
#[derive(Debug, Clone)]
pub struct Context {
    /// Which run.
    pub run: RunId,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// The task's name; empty for a run that was submitted with its own handler.
    pub task: String,
    /// The instant it was meant for.
    pub due_at: Timestamp,
    /// The same on every attempt of the run: give it to the target, so that it can refuse to do the effect twice.
    pub key: String,
    /// The payload.
    pub payload: serde_json::Value,
    /// Fires when the attempt must stop: timeout, cancellation, drain's hard end, or a lease that can't be kept.
    /// Handlers that ignore it are dropped at their next await.
    pub stop: CancellationToken,
    /// Where the attempt's output goes.
    pub log: Log,
}

/// The bounded log of one attempt: of more than [`limits::LOG_BYTES_MAX`] its beginning and its end are kept, with a line
/// between them.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<LogText>>);

/// Bytes of the beginning that are kept.
const HEAD_BYTES: usize = limits::LOG_BYTES_MAX / 2;
/// Bytes for the line between.
const MARK_BYTES: usize = 64;
/// Bytes that a log without anything left out has after its beginning.
const REST_BYTES: usize = limits::LOG_BYTES_MAX - HEAD_BYTES;

#[derive(Debug, Default)]
struct LogText {
    head: String,
    /// What follows the head: the last of it, and up to as much again before some is let go.
    rest: String,
    head_is_full: bool,
    left_out: usize,
}

impl LogText {
    fn push(&mut self, text: &str) {
        let mut text = text;
        if !self.head_is_full {
            let room = HEAD_BYTES - self.head.len();
            let fit = text.floor_char_boundary(room.min(text.len()));
            self.head.push_str(&text[..fit]);
            text = &text[fit..];
            self.head_is_full = !text.is_empty();
        }
        let skipped = text.ceil_char_boundary(text.len().saturating_sub(REST_BYTES));
        if skipped > 0 {
            self.left_out += self.rest.len() + skipped;
            self.rest.clear();
        }
        self.rest.push_str(&text[skipped..]);
        if self.rest.len() > 2 * REST_BYTES {
            let gone = self.rest.ceil_char_boundary(self.rest.len() - REST_BYTES);
            self.rest.drain(..gone);
            self.left_out += gone;
        }
    }

    fn text(&self) -> String {
        let (head, rest) = (&self.head, &self.rest);
        if self.left_out == 0 && rest.len() <= REST_BYTES {
            return format!("{head}{rest}");
        }
        let kept = REST_BYTES - MARK_BYTES;
        let from = rest.ceil_char_boundary(rest.len().saturating_sub(kept));
        let line_end = if head.ends_with('\n') { "" } else { "\n" };
        let left_out = self.left_out + from;
        let end = &rest[from..];
        format!("{head}{line_end}[{left_out} bytes are left out here]\n{end}")
    }
}

impl Log {
    /// Adds text.
    pub fn push(&self, text: &str) {
        self.lock().push(text);
    }

    /// What was said: all of it, or its beginning and its end with a line between that tells how much was left out. Never
    /// more than [`limits::LOG_BYTES_MAX`].
    #[must_use]
    pub fn text(&self) -> String {
        self.lock().text()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LogText> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Whether another attempt may help, as the handler sees it. The task's `retry.on` and `retry.never_on` have the last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It may.
    Retry,
    /// It is no use.
    Fatal,
    /// The worker's own settings do not allow it: no use, with a reason of its own.
    NotAllowed,
}

/// Why an attempt ended badly: a text for people, whether another attempt may help, and where the handler knows them the
/// class of the failure (by which tasks decide) and the least wait before the next attempt.
///
/// ```
/// # use std::time::Duration;
/// # use campanile::port::handler::Failure;
/// # use campanile::task::Class;
/// let busy = Failure::retry("the ledger is closed").with_class(Class::named("closed")).after(Duration::from_secs(60));
/// assert_eq!(busy.class().to_string(), "class:closed");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
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

    /// The text.
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

/// A native handler, typed: what a library user writes.
pub trait Handler: Send + Sync + 'static {
    /// The name that `handler = { native = "…" }` calls it by.
    const NAME: &'static str;
    /// What the payload is read into.
    type Args: DeserializeOwned + Send;

    /// Runs one attempt.
    fn run(
        &self,
        context: Context,
        args: Self::Args,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

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

    /// Runs one attempt of a run that has this handler.
    async fn execute(&self, handler: &HandlerSpec, context: Context) -> Result<(), Failure>;
}
