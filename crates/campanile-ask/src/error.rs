//! What control answers when it can't do as asked: one enum, whose kinds every rendering tells apart (a status in HTTP,
//! an exit code in the CLI, a sentence on a page). It never names a driver, an address or a status code.

use campanile_access::Denied;
use campanile_schedule::Invalid;
use campanile_schedule::fuel::Spent;

use campanile_core::id::RunId;
use campanile_core::port::store;
use campanile_core::system::PoolError;

/// Why a request was not done. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing.
    #[error("no {what} `{name}`: {remedy}")]
    NotFound {
        what: &'static str,
        /// As it was asked for.
        name: String,
        remedy: &'static str,
    },
    /// A field can't be taken.
    #[error("{}{}: {}", .task.as_ref().map(|t| format!("task `{t}`: ")).unwrap_or_default(), .field, .message)]
    Invalid {
        /// Of which task, where a request holds several.
        task: Option<String>,
        /// The field, as in the task file (`handler.http.url`) or the request (`runs[3].run_at`).
        field: String,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// Who asks has no right to it.
    #[error("{0}")]
    Denied(Box<Denied>),
    /// The thing is not in a state in which this can be done.
    #[error("{0}")]
    Conflict(String),
    /// This node computes as much as it can, or is stopping; the same request may be made again, in a moment.
    #[error("{0}")]
    Busy(#[from] PoolError),
    /// As many do this here already as may; another node may have a place.
    #[error("{0}")]
    Crowded(String),
    /// The idempotency key stands for another request's run.
    #[error(
        "{field}: the key `{key}` is run {run}'s, which was asked for with other content: take another key, or ask for the same"
    )]
    KeyTaken {
        /// The field, as in the request (`runs[3].idempotency_key`).
        field: String,
        key: String,
        /// The run that it stands for.
        run: RunId,
    },
    /// This node has just started, its own clock and the store's are far apart, and it does not know yet which is right; the
    /// same request may be made again, in a moment.
    #[error(
        "this node does not know yet whether the store's clock is right, which is {ahead_s} s ahead of its own: ask again in \
         a few seconds, or ask another node"
    )]
    ClockInDoubt {
        /// By how much the store's clock is ahead, in seconds.
        ahead_s: u64,
    },
    /// The store did not do as asked; the same request may be made again.
    #[error("the store is not available")]
    Unavailable(#[source] store::Error),
}

impl Error {
    /// A refused field of a request that is about one thing.
    #[must_use]
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid {
            task: None,
            field: field.into(),
            message: message.into(),
        }
    }

    /// The same error, about one task of several.
    #[must_use]
    pub fn of_task(self, name: &str) -> Self {
        match self {
            Self::Invalid { field, message, .. } => Self::Invalid {
                task: Some(name.to_owned()),
                field,
                message,
            },
            other => other,
        }
    }

    /// The same error, with the field seen from further outside (`runs[3].` before `payload`).
    #[must_use]
    pub fn inside(self, prefix: &str) -> Self {
        match self {
            Self::Invalid {
                task,
                field,
                message,
            } => Self::Invalid {
                task,
                field: format!("{prefix}{field}"),
                message,
            },
            other => other,
        }
    }

    /// What could not be worked out within its bounds. `remedy` says what to ask instead.
    #[must_use]
    pub fn spent(field: &str, spent: Spent, remedy: &str) -> Self {
        match spent {
            Spent::Cancelled => Self::Busy(PoolError::Stopping),
            Spent::Empty { .. } => Self::invalid(field, format!("{spent}: {remedy}")),
        }
    }

    #[must_use]
    pub fn no_task(name: &str) -> Self {
        Self::NotFound {
            what: "task",
            name: name.to_owned(),
            remedy: "`campanile task list` shows the names",
        }
    }

    #[must_use]
    pub fn no_run(id: impl std::fmt::Display) -> Self {
        Self::NotFound {
            what: "run",
            name: id.to_string(),
            remedy: "it never was, or its history was pruned; `campanile run list` shows the ids",
        }
    }
}

impl From<Invalid> for Error {
    fn from(e: Invalid) -> Self {
        Self::invalid(e.field, e.message)
    }
}

impl From<store::Error> for Error {
    fn from(e: store::Error) -> Self {
        Self::Unavailable(e)
    }
}
