//! The cluster as people see it: its nodes, its leader, its queues; and what may be asked of the leader: to hand over.

use campanile_schedule::check_name;
use campanile_schedule::time::Timestamp;

use super::{Control, EDIT_TRIES_MAX, Editor, Error};
use crate::id::NodeId;
use crate::protocol::message::{Key, Secret};
use crate::protocol::work::{Node, QueueCount, RunFilter};
use crate::task::QueueName;

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The present term's number; 0 before the first.
    pub epoch: i64,
    /// The node that began it; `None` before the first.
    pub node: Option<NodeId>,
    /// Its name; empty before the first.
    pub name: String,
    /// When the term began.
    pub since: Option<Timestamp>,
    /// Whether a node of that name is among the living. (A term outlives its holder until the next one begins.)
    pub alive: bool,
    /// Whether it was asked to hand over and has not yet.
    pub resigning: bool,
    /// The store's clock.
    pub now: Timestamp,
}

/// A few numbers that say how things stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Scheduled for a later instant.
    pub future: u64,
    /// Due and not yet claimed.
    pub waiting: u64,
    /// Claimed.
    pub running: u64,
    /// Living nodes.
    pub nodes: u64,
    /// Their slots together.
    pub slots: u64,
    /// Of which taken.
    pub busy: u64,
    /// How far this node's wall clock is ahead of the store's, in milliseconds.
    pub skew_ms: i64,
    /// After the store's clock went back: where it was. Until it is there again no instant is due.
    pub clock_behind_until: Option<Timestamp>,
    /// By how many milliseconds the store's clock stepped forward; 0 unless that is not followed yet.
    pub clock_held_ms: u64,
}

/// As a number of milliseconds; 0 = none.
fn held_ms(held: Option<std::time::Duration>) -> u64 {
    held.map_or(0, |by| u64::try_from(by.as_millis()).unwrap_or(u64::MAX))
}

/// How many of the newest runs are asked for when they did what they did.
const NEWEST_RUNS: usize = 50;

/// The newest moment of which a store has a record: a beat, the begin of the present term, a start or an end of the newest
/// runs. Where it is later than the store's clock, that clock went back, and no instant is due before it is there again.
///
/// # Errors
/// The store's.
pub async fn newest_record(
    store: &dyn crate::port::store::Store,
) -> Result<Option<Timestamp>, crate::port::store::Error> {
    let since = store.leader().await?.since;
    let nodes = store.nodes().await?;
    let runs = store.runs(&RunFilter::default(), None, NEWEST_RUNS).await?;
    let beats = nodes.into_iter().map(|node| node.beat_at);
    let marks = runs
        .into_iter()
        .flat_map(|run| [run.started_at, run.finished_at]);
    Ok(beats.chain(marks.flatten()).chain(since).max())
}

impl Control {
    /// The living nodes.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn nodes(&self) -> Result<Vec<Node>, Error> {
        Ok(self.parts.store.nodes().await?)
    }

    /// Who leads.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn leader(&self) -> Result<Leader, Error> {
        let row = self.leader_row().await?;
        let nodes = self.parts.store.nodes().await?;
        Ok(Leader {
            epoch: row.epoch,
            node: row.node,
            alive: row.epoch > 0 && nodes.iter().any(|n| n.name == row.node_name),
            name: row.node_name,
            since: row.since,
            resigning: row.epoch > 0 && row.resign_epoch == row.epoch,
            now: row.now,
        })
    }

    /// Live runs by queue.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn queues(&self) -> Result<Vec<QueueCount>, Error> {
        let now = self.now().await?;
        Ok(self.parts.store.queues(now).await?)
    }

    /// The signing key of one queue, for an external executor.
    ///
    /// # Errors
    /// A name that no queue can have.
    pub async fn queue_key(&self, queue: &str) -> Result<Key, Error> {
        check_name("queue", queue)?;
        let secret = self.parts.store.secret(self.parts.random.secret()).await?;
        Ok(Secret::new(secret).queue_key(&QueueName::new(queue)))
    }

    /// How things stand, in numbers.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn stats(&self) -> Result<Stats, Error> {
        let (queues, nodes) = (self.queues().await?, self.nodes().await?);
        let sum = |f: fn(&QueueCount) -> u64| queues.iter().map(f).sum();
        Ok(Stats {
            future: sum(|q| q.future),
            waiting: sum(|q| q.waiting),
            running: sum(|q| q.running),
            nodes: u64::try_from(nodes.len()).unwrap_or(u64::MAX),
            slots: nodes.iter().map(|n| u64::from(n.slots)).sum(),
            busy: nodes.iter().map(|n| u64::from(n.busy)).sum(),
            skew_ms: self.parts.time.skew_ms(),
            clock_behind_until: self.parts.time.behind_until(),
            clock_held_ms: held_ms(self.parts.time.held()),
        })
    }
}

impl Editor {
    /// Asks the present leader to hand over; answers the term that was asked to end.
    ///
    /// # Errors
    /// [`Error::Conflict`] when nobody has led yet.
    pub async fn resign(&self) -> Result<Leader, Error> {
        for _ in 0..EDIT_TRIES_MAX {
            let leader = self.leader().await?;
            if leader.epoch == 0 {
                return Err(Error::Conflict(
                    "nobody has led yet: start a node with the role `scheduler`".to_owned(),
                ));
            }
            let asked = self
                .parts
                .store
                .request_resign(&self.actor, leader.epoch)
                .await?;
            if asked.is_applied() {
                self.work();
                return Ok(Leader {
                    resigning: true,
                    ..leader
                });
            }
        }
        Err(Error::Conflict(
            "the leader changed again and again meanwhile: look at `campanile leader show`"
                .to_owned(),
        ))
    }
}
