//! The truth, as a port: intentions of the protocol, each one transaction. No connection, transaction or row count is
//! in a signature. One trait for each verb, with its records beside it, and [`Store`], which is all of them.
//!
//! What every adapter keeps:
//! - READ COMMITTED or stronger; any error inside a transaction rolls the whole of it back.
//! - The fence: a leader write's first statement is `UPDATE campanile_leader SET seq = seq + 1 WHERE id = 1 AND epoch = :e AND
//!   holder = :h`, and one row is demanded. People's edits of tasks begin with the same statement without the condition
//!   on the term: so edits and leader writes are serial, and the edit counter is exact.
//! - Transitions are those of [`crate::decide::attempt`], guarded in the statement itself by state, attempt and claim.
//! - Terminal rows never change.
//! - A run that ends, or waits for its next attempt, gives its permits back in the same transaction (see
//!   [`crate::decide::permits`]), and the first run that is blocked under each gets its timer.

use std::time::Duration;

use super::Cause;
use super::access::{AccessStore, AuditStore};
use super::ask::AskStore;
use super::attempt::{AttemptStore, Spoiled};
use super::edit::{EditForStore, EditStore, InboxStore, OrphanStore};
use super::fire::{AheadStore, FireStore, PermitStore};
use super::lead::LeadStore;
use super::member::{EvictStore, MemberStore};
use super::publish::PublishStore;

/// What a leader's duties hold: they read, or write under their [`super::lead::Term`].
pub trait LeaderStore:
    LeadStore
    + FireStore
    + PermitStore
    + AheadStore
    + PublishStore
    + EvictStore
    + EditForStore
    + InboxStore
    + OrphanStore
    + AskStore
{
}

impl<T> LeaderStore for T where
    T: LeadStore
        + FireStore
        + PermitStore
        + AheadStore
        + PublishStore
        + EvictStore
        + EditForStore
        + InboxStore
        + OrphanStore
        + AskStore
{
}

/// What a worker records with: nothing of it takes a term.
pub trait WorkerStore: AttemptStore + MemberStore + AskStore {}

impl<T: AttemptStore + MemberStore + AskStore> WorkerStore for T {}

/// A store: all of it.
pub trait Store: LeaderStore + WorkerStore + EditStore + AccessStore + AuditStore {}

impl<T: LeaderStore + WorkerStore + EditStore + AccessStore + AuditStore> Store for T {}

/// Why the store did not do as asked. After any of them nothing of the transaction stands, except after
/// [`Error::Ambiguous`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or none free in time.
    #[error("reach the store")]
    Unreachable(#[source] Cause),
    /// The connection broke at a moment when the commit may or may not have happened.
    #[error("learn from the store whether a transaction committed")]
    Ambiguous(#[source] Cause),
    /// A deadlock, a serialization failure, a lock or statement timeout, a busy file: rolled back, may be tried again.
    #[error("get through to the store's rows in time")]
    Contended(#[source] Cause),
    /// The store has no room for a write: its disk is full. Nothing of the write stands; it may be made again once there
    /// is room.
    #[error("write to the store, whose disk is full")]
    Full(#[source] Cause),
    /// The store refused what it was given: a constraint, a value that it can't keep. It would take something else.
    #[error("have the store take what it was given")]
    Refused(#[source] Cause),
    /// The store does it for nobody: a missing right or table, a copy that can only be read, a defect of ours.
    #[error("have the store do its work")]
    Unable(#[source] Cause),
    /// A newer program has migrated the store since this one opened it: what can't be read may be whole.
    #[error(
        "read what a newer version may have written: the store's schema is {found}, and this version knows {known}; \
         upgrade this node"
    )]
    Outdated {
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// A row holds what this version can't read.
    #[error("read a row of {table}{}: {message}", of_row(*row))]
    Corrupt {
        table: &'static str,
        /// What the row is about, where that is known.
        row: Option<Spoiled>,
        message: String,
    },
}

impl Error {
    /// Whether the same call may simply be made again after a short wait: nothing was done and nothing is broken.
    #[must_use]
    pub const fn is_contended(&self) -> bool {
        matches!(self, Self::Contended(_))
    }

    /// The same about this row, if it is about one and does not say which.
    #[must_use]
    pub fn about(self, about: Spoiled) -> Self {
        match self {
            Self::Corrupt {
                table,
                row,
                message,
            } => Self::Corrupt {
                table,
                row: row.or(Some(about)),
                message,
            },
            other => other,
        }
    }

    /// The row that can't be read, if it is that and is known.
    #[must_use]
    pub const fn spoiled(&self) -> Option<Spoiled> {
        match self {
            Self::Corrupt { row, .. } => *row,
            _ => None,
        }
    }

    /// Whether it is about what was asked, and not about the store: a batch may be asked for again in halves, until what
    /// is refused stands alone.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Corrupt { .. })
    }
}

fn of_row(row: Option<Spoiled>) -> String {
    row.map_or_else(String::new, |row| format!(" ({row})"))
}

/// The setting of the cluster that names the zone rules with which the due rows were computed: a
/// [`crate::decide::lead::zones::Kept`].
pub const ZONE_RULES: &str = "zone_rules";

/// The setting of the cluster that says what the leader makes of the store's clock: a
/// [`crate::decide::lead::clock_state::ClockState`]. Missing = it never was anything but right.
pub const CLOCK_STATE: &str = "clock_state";

/// How long a store call may take before its adapter gives it up.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
