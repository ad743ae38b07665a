//! Deleting tasks: which deletions have to be confirmed, by a token that stands for exactly the set that its holder was
//! shown, and when the leader looks for runs that still wait for a deleted task. It deletes nothing.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use campanile_schedule::time::Timestamp;
use sha2::{Digest, Sha256};

use crate::id::{RunId, TaskId};
use crate::limits;
use crate::port::ask::Backlog;
use crate::port::edit::Deletions;

/// How late a run of the schedule is before it counts as waiting: younger ones are made a moment ahead and start by
/// themselves.
pub const OVERDUE: Duration = Duration::from_secs(5);

/// A task that would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doomed {
    pub task: TaskId,
    /// At which version it was looked at.
    pub version: i64,
    /// Its waiting runs, if it has any.
    pub backlog: Option<Backlog>,
}

/// How many runs would be cancelled.
#[must_use]
pub fn waiting(doomed: &[Doomed]) -> u64 {
    let backlogs = doomed.iter().filter_map(|d| d.backlog);
    backlogs.map(|b| b.waiting).sum()
}

/// Whether deleting these has to be confirmed: there are many of them, for an owner of `owned` tasks, or runs wait.
#[must_use]
pub fn must_be_confirmed(doomed: &[Doomed], owned: usize) -> bool {
    let unasked = limits::DELETE_UNASKED_TASKS_MAX.max(owned / 10);
    doomed.len() > unasked || waiting(doomed) > 0
}

/// Stands for a set of tasks at their versions, with the runs that people have waiting for them. It names no secret:
/// whoever may delete may also ask for it. It keeps him from deleting what he has not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    newest: i64,
    requested: u64,
    digest: [u8; 16],
}

impl Token {
    /// The token of a set.
    #[must_use]
    pub fn of(doomed: &[Doomed]) -> Self {
        let backlogs = || doomed.iter().filter_map(|d| d.backlog);
        let newest = backlogs().filter_map(|b| b.newest).max();
        let newest = newest.map_or(0, RunId::as_i64);
        let requested = backlogs().map(|b| b.requested).sum();
        Self {
            newest,
            requested,
            digest: digest(doomed, newest, requested),
        }
    }

    /// Whether it was given for a set that holds all of this one: the same tasks at the same versions, and no run that
    /// was not there. Runs that have started or ended since do not spoil it.
    #[must_use]
    pub fn covers(&self, doomed: &[Doomed]) -> bool {
        let now = Self::of(doomed);
        now.newest <= self.newest
            && now.requested <= self.requested
            && digest(doomed, self.newest, self.requested) == self.digest
    }
}

fn digest(doomed: &[Doomed], newest: i64, requested: u64) -> [u8; 16] {
    let mut set: Vec<(TaskId, i64)> = doomed.iter().map(|d| (d.task, d.version)).collect();
    set.sort_unstable();
    let mut hasher = Sha256::new();
    hasher.update(newest.to_be_bytes());
    hasher.update(requested.to_be_bytes());
    for (task, version) in set {
        hasher.update(task.as_i64().to_be_bytes());
        hasher.update(version.to_be_bytes());
    }
    let mut out = [0; 16];
    out.copy_from_slice(&hasher.finalize()[..16]);
    out
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}.", self.newest, self.requested)?;
        for byte in self.digest {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a token: ask with a dry run, and pass its `confirm` as it is")]
pub struct Malformed;

impl FromStr for Token {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.split('.');
        let (Some(newest), Some(requested), Some(hex), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed);
        };
        let mut digest = [0; 16];
        hex::decode_to_slice(hex, &mut digest).map_err(|_| Malformed)?;
        Ok(Self {
            newest: i64::from_str_radix(newest, 16).map_err(|_| Malformed)?,
            requested: u64::from_str_radix(requested, 16).map_err(|_| Malformed)?,
            digest,
        })
    }
}

/// What a term knows of its looks for the runs of deleted tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looked {
    seen: Option<Deletions>,
}

/// What to do about deleted tasks now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing has changed since the last look.
    Rest,
    /// Look at all live runs. Tasks that were deleted at or before `forget` need no other look after this one.
    Look {
        /// So long ago that no request can still bring a run.
        forget: Timestamp,
    },
}

impl Looked {
    /// What to do, given what is open. A task's runs are looked for when it is deleted, and once more when nobody who
    /// saw it living can still be bringing a run.
    #[must_use]
    pub fn next(self, open: Option<Deletions>, now: Timestamp) -> Next {
        let forget = now.minus(limits::DELETE_LAST_LOOK);
        match open {
            Some(open) if self.seen != Some(open) || open.first_at <= forget => {
                Next::Look { forget }
            }
            _ => Next::Rest,
        }
    }

    /// After a look that left no waiting run behind, with what was open before it.
    #[must_use]
    pub const fn after(open: Option<Deletions>) -> Self {
        Self { seen: open }
    }
}

#[cfg(test)]
#[path = "../../../tests/decide/edit/deletion_tests.rs"]
mod tests;
