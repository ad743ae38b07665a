//! What people ask for one run, and what they are answered: to be made, to be cancelled, to start at another instant.
//! Values only.

use crate::id::RunId;
use crate::protocol::keys::Key;
use crate::run::{Run, RunSpec, State};

/// A run to submit.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// The row, in state scheduled, origin request.
    pub run: Run,
    /// What it carries of its own.
    pub spec: Option<RunSpec>,
    /// A second submission with the same key, that says the same, returns the first run.
    pub key: Option<Key>,
}

/// The answer to one submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The run: the new one, or the one that the key named already.
    pub run: RunId,
    /// Whether it is new.
    pub created: bool,
    /// Whether the key's run is another request's, so that nothing of the batch was stored.
    pub taken: bool,
}

/// The answer to a request to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// It had not started; it never will.
    Cancelled,
    /// It runs; its worker has been told and will end it.
    Requested,
    /// It had ended already, like this.
    Ended(State),
    /// No such run.
    Unknown,
}

/// The answer to a request to start a run at another instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It starts at the new instant.
    Done,
    /// It is on its way to a worker, or waits for a permit: its instant has come.
    Due,
    /// It has started.
    Started(State),
    /// It had ended already, like this.
    Ended(State),
    /// It is an occurrence: its instant is its schedule's.
    Occurrence,
    /// No such run.
    Unknown,
}
