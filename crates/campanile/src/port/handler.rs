//! What runs when a run starts. [`Handler`] is what people write; [`Executor`] is the same, erased, and what the
//! worker calls for every kind.

use std::future::Future;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::id::RunId;
use crate::protocol::limits;
use crate::task::HandlerSpec;
use crate::time::Timestamp;

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

/// The bounded log of one attempt.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<LogText>>);

#[derive(Debug, Default)]
struct LogText {
    text: String,
    cut: bool,
}

impl Log {
    /// Adds text; what goes over [`limits::LOG_BYTES_MAX`] is dropped and flagged.
    pub fn push(&self, text: &str) {
        let mut log = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let room = limits::LOG_BYTES_MAX.saturating_sub(log.text.len());
        let fit = text.floor_char_boundary(room.min(text.len()));
        log.text.push_str(&text[..fit]);
        log.cut |= fit < text.len();
    }

    /// What was said, with a last line that tells if some was cut.
    #[must_use]
    pub fn text(&self) -> String {
        let log = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if log.cut {
            format!("{}\n[cut at {} bytes]\n", log.text, limits::LOG_BYTES_MAX)
        } else {
            log.text.clone()
        }
    }
}

/// Why an attempt ended badly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Another attempt may help.
    #[error("{0}")]
    Retry(String),
    /// Another attempt is no use: the run fails at once.
    #[error("{0}")]
    Fatal(String),
    /// This worker's own settings do not allow it: the run fails at once, with its own reason.
    #[error("{0}")]
    NotAllowed(String),
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
    /// Runs one attempt of a run that has this handler.
    async fn execute(&self, handler: &HandlerSpec, context: Context) -> Result<(), Failure>;
}
