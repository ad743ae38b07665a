//! The inbox: requests that other programs left in the store inside transactions of their own, one row each. The leader
//! takes them out under the fence. Here is decided what each becomes: a run, or a refusal with its reason; whether its key
//! is taken is settled where keys are kept. Pure.

use campanile_schedule::time::Timestamp;

use super::request::{NewRun, submission};
use crate::id::RunId;
use crate::limits;
use crate::port::edit::Submission;
use crate::run::Origin;
use crate::task::Task;

/// A row of the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub id: i64,
    /// What it asks for: a [`NewRun`] as JSON; `None` if it is longer than [`limits::BODY_BYTES_MAX`], which is not read.
    pub request: Option<String>,
}

/// A look into the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inbox {
    pub rows: Vec<Left>,
    /// The edit counter at the time of the look: what is decided rests on the tasks as they are then.
    pub edits: i64,
}

/// What is to become of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Decided {
    /// A run, unless its key is taken.
    Run(Box<Submission>),
    Refused(String),
}

/// A row with what is to become of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub id: i64,
    /// What becomes of it.
    pub decided: Decided,
}

/// What has become of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Became {
    Run(RunId),
    /// Nothing: its key stood for this run already, which was asked for with the same content.
    Duplicate(RunId),
    /// Nothing: its key stood for this run already, which was asked for with other content.
    Conflict(RunId),
    /// Nothing, for this reason.
    Refused(String),
}

impl Became {
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Duplicate(_) => "duplicate",
            Self::Conflict(_) => "conflict",
            Self::Refused(_) => "refused",
        }
    }

    /// The number in the store.
    #[must_use]
    pub const fn as_i64(&self) -> i64 {
        match self {
            Self::Run(_) => 1,
            Self::Duplicate(_) => 2,
            Self::Conflict(_) => 3,
            Self::Refused(_) => 4,
        }
    }

    /// The run that it is about.
    #[must_use]
    pub const fn run(&self) -> Option<RunId> {
        match self {
            Self::Run(run) | Self::Duplicate(run) | Self::Conflict(run) => Some(*run),
            Self::Refused(_) => None,
        }
    }

    /// From what the store keeps; `None` if that is nothing of ours.
    #[must_use]
    pub fn from_parts(number: i64, run: Option<RunId>, message: Option<String>) -> Option<Self> {
        Some(match number {
            1 => Self::Run(run?),
            2 => Self::Duplicate(run?),
            3 => Self::Conflict(run?),
            4 => Self::Refused(message.unwrap_or_default()),
            _ => return None,
        })
    }
}

/// A row that was taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    pub id: i64,
    /// When it was taken out.
    pub at: Timestamp,
    /// What has become of it.
    pub became: Became,
}

/// What came of taking rows out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Drained {
    /// It is committed. Rows that somebody had taken out before are not among these.
    Done(Vec<Settled>),
    /// The term is over.
    Fenced,
    /// Tasks were edited since the look: nothing is done; look again.
    Edited,
}

/// How many of these rows, by their sizes in bytes, are read at once: within the bound, and at least one.
#[must_use]
pub fn fit(sizes: impl IntoIterator<Item = usize>) -> usize {
    let mut bytes = 0_usize;
    let fits = |size: &usize| {
        // What is too long is not read.
        let size = if *size > limits::BODY_BYTES_MAX {
            0
        } else {
            *size
        };
        let first = bytes == 0;
        bytes = bytes.saturating_add(size);
        first || bytes <= limits::INBOX_BYTES_MAX
    };
    sizes
        .into_iter()
        .take(limits::INBOX_ROWS_MAX)
        .take_while(fits)
        .count()
}

/// A row that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    pub id: i64,
    /// What it asks for, or why nobody can tell.
    pub request: Result<NewRun, String>,
}

#[must_use]
pub fn open(row: &Left) -> Opened {
    let request = match row.request.as_deref() {
        None => Err(format!(
            "the request is longer than {} bytes",
            limits::BODY_BYTES_MAX
        )),
        // A list would be read as the fields in their order.
        Some(text) if !text.trim_start().starts_with('{') => {
            Err("the request can't be read: it is no JSON object".to_owned())
        }
        Some(text) => {
            serde_json::from_str(text).map_err(|e| format!("the request can't be read: {e}"))
        }
    };
    Opened {
        id: row.id,
        request,
    }
}

/// Decides what becomes of a row. `tasks` are those that the rows name, by their names; `run` is the id for its run.
#[must_use]
pub fn decide(opened: Opened, tasks: &[Task], run: RunId, now: Timestamp) -> Decision {
    let decided = opened
        .request
        .and_then(|request| submission(&request, tasks, run, now).map_err(|e| e.to_string()))
        .map_or_else(
            |why| Decided::Refused(cut(why)),
            |mut submission| {
                submission.run.origin = Origin::Inbox;
                Decided::Run(Box::new(submission))
            },
        );
    Decision {
        id: opened.id,
        decided,
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(limits::ERROR_BYTES_MAX));
    text
}

#[cfg(test)]
#[path = "../../../tests/decide/edit/inbox_tests.rs"]
mod tests;
