//! Lead, as a port: the leader row and the terms.

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;

use crate::decide::lead::hold::Hold;
use crate::id::{Holder, NodeId};
use crate::port::Written;
use crate::port::store::Error;

/// One holder's time as leader. Every leader write carries it and is refused once another term began.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Term {
    /// Minted in the store: grows with every term.
    pub epoch: i64,
    /// The term's random name.
    pub holder: Holder,
}

/// The one leader row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderRow {
    /// The present term's number; 0 before the first.
    pub epoch: i64,
    /// The present term's name; `None` before the first.
    pub holder: Option<Holder>,
    /// Which node holds it.
    pub node: Option<NodeId>,
    pub node_name: String,
    /// When the term began.
    pub since: Option<Timestamp>,
    /// Grows with every change of a task; lets the leader's cache of tasks be exact.
    pub edits: i64,
    /// A term that was asked to end; 0 = none.
    pub resign_epoch: i64,
    /// While nothing starts in the cluster: why.
    pub hold: Option<Hold>,
    /// The store's clock when the row was read.
    pub now: Timestamp,
}

/// A new term, asked for with the epoch that was read while the lock was held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bid {
    /// The epoch that the row must still have.
    pub read_epoch: i64,
    /// The term to begin: its epoch is greater than `read_epoch`.
    pub term: Term,
    pub node: NodeId,
    /// Its name, for people.
    pub node_name: String,
}

/// What a node asks of the store to become the leader and to stay it.
#[async_trait]
pub trait LeadStore: Send + Sync + 'static {
    /// The leader row and the store's clock.
    async fn leader(&self) -> Result<LeaderRow, Error>;

    /// Begins a term if the row still has the epoch that was read. Clears a pending request to resign.
    async fn begin_term(&self, bid: &Bid) -> Result<Written, Error>;
}
