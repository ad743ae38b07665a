//! Member, as a port: nodes, their heartbeats, and those that are gone.

use std::time::Duration;

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;

use crate::decide::publish::routing::Abilities;
use crate::id::{NodeId, RunId};
use crate::port::Written;
use crate::port::attempt::{Aside, Finish};
use crate::port::lead::Term;
use crate::port::store::Error;
use crate::run::Run;
use crate::task::QueueName;

/// A node as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// This start of the node.
    pub id: NodeId,
    /// Its name, for people; several starts may share it.
    pub name: String,
    pub roles: Vec<String>,
    /// Queues that it works on.
    pub queues: Vec<QueueName>,
    /// Runs that it can run at once; 0 if it is no worker.
    pub slots: u32,
    /// Runs that it runs now.
    pub busy: u32,
    /// How long it may stay silent before the leader calls it dead.
    pub lease: Duration,
    pub started_at: Timestamp,
    /// Grows with every heartbeat.
    pub heartbeat_seq: i64,
    /// When it last heartbeat, by the store's clock; shown to people, judged by nobody.
    pub heartbeat_at: Timestamp,
    pub version: String,
    /// What it can carry out; `None` = it does not say, as an older program.
    pub abilities: Option<Abilities>,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// Whether the store still counts this node among the members. If not, its claims are void: it drops them and joins
    /// under a new id.
    pub known: bool,
    /// Those of its running runs that somebody asked to cancel.
    pub cancel: Vec<RunId>,
    pub now: Timestamp,
}

/// How far an attempt says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub run: RunId,
    pub attempt: u32,
    pub percent: u8,
    /// In words; at most [`crate::limits::PROGRESS_BYTES_MAX`].
    pub message: String,
    /// When its worker told the store.
    pub at: Timestamp,
}

/// What a node asks of the store to be a member.
#[async_trait]
pub trait MemberStore: Send + Sync + 'static {
    /// Adds this start of a node to the members.
    async fn join(&self, node: &Node) -> Result<(), Error>;

    /// Says again what a node can carry out.
    async fn announce(&self, node: NodeId, abilities: &Abilities) -> Result<(), Error>;

    /// Heartbeats, and learns what was asked of its running runs.
    async fn heartbeat(
        &self,
        node: NodeId,
        busy: u32,
        running: &[RunId],
    ) -> Result<HeartbeatReply, Error>;

    /// Keeps how far attempts say that they are, of those that run on this node. Apart from the heartbeat, which must not fail for
    /// what is only shown.
    async fn report(&self, node: NodeId, progress: &[Progress]) -> Result<(), Error>;

    /// Takes itself out of the members, after its runs ended or were given back.
    async fn leave(&self, node: NodeId) -> Result<(), Error>;
}

/// What the leader asks of the store about members that are gone, and about what the store refuses.
#[async_trait]
pub trait EvictStore: Send + Sync + 'static {
    /// Runs in state running, after `after` in the order of ids: of one node, or (with `None`) of all nodes that are
    /// not among the members.
    async fn running_on(
        &self,
        node: Option<NodeId>,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<Run>, Error>;

    /// Takes a node out of the members. From its commit on no claim by it succeeds.
    async fn evict(&self, term: &Term, node: NodeId) -> Result<Written, Error>;

    /// Records the ends that the leader decides (lost runs): as [`AttemptStore::finish`](super::attempt::AttemptStore::finish), under the fence.
    async fn finish_lost(
        &self,
        term: &Term,
        ends: &[Finish],
    ) -> Result<Option<Vec<Written>>, Error>;

    /// Sets aside what the store refuses to record for the leader: as
    /// [`AttemptStore::set_aside`](super::attempt::AttemptStore::set_aside), under the fence. Stale if the term is over, too.
    async fn set_aside_for(&self, term: &Term, aside: &Aside) -> Result<Written, Error>;
}
