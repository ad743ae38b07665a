//! Why something was not done, and how a run that somebody waits for ended when it did not end well.

use campanile_adapters::open;
use campanile_core::id::RunId;
use campanile_core::port::store;
use campanile_core::run::{Reason, State};

/// Why something was not done. Each text names what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store can't be opened, or a URL can't be used.
    #[error(transparent)]
    Open(#[from] open::Error),
    /// Something that the builder was told can't be.
    #[error("{what}: {message}")]
    Setting {
        /// Which of its methods.
        what: &'static str,
        /// What is wrong and what to say instead.
        message: String,
    },
    /// The node did not start.
    #[error("can't start the node: the store is not available")]
    Start(#[source] store::Error),
    /// A task or a run was not taken, or the store did not answer.
    #[error(transparent)]
    Refused(#[from] campanile_ask::Error),
    /// The arguments are no JSON.
    #[error("the arguments for `{handler}` can't be written as JSON")]
    Arguments {
        /// Of which handler.
        handler: &'static str,
        /// Why not.
        source: serde_json::Error,
    },
    /// A row could not be left in a transaction.
    #[error("the request could not be left in this transaction")]
    Left(#[source] sqlx::Error),
    /// What was left in a transaction became no run.
    #[error("row {row} of the inbox became no run: {why}")]
    NotTaken {
        /// Which row.
        row: i64,
        /// Why not.
        why: String,
    },
    /// The run did not end well.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// What the run returned is not what this program's handler returns.
    #[error("what run {run} returned is not what `{handler}` returns here")]
    Output {
        /// Which run.
        run: RunId,
        /// Which handler.
        handler: &'static str,
        /// Why not.
        source: serde_json::Error,
    },
    /// The store did not answer for a while.
    #[error("the store is not available")]
    Unavailable(#[source] store::Error),
}

/// How a run ended that did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("run {run} ended as {}{}{}", .state.as_str(), shown(*.reason), .message.as_ref().map(|m| format!(": {m}")).unwrap_or_default())]
pub struct Ended {
    /// Which run.
    pub run: RunId,
    /// `failed`, `cancelled`, `skipped`; or `quarantined`, while its end can't be recorded.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// What its handler said, or whoever ended it.
    pub message: Option<String>,
}

fn shown(reason: Reason) -> String {
    match reason.as_str() {
        "" => String::new(),
        text => format!(" ({text})"),
    }
}
