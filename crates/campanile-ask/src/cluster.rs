//! The cluster as people see it: its nodes, its leader, its queues; and what may be asked of the leader: to hand over.

use campanile_access::Right;
use campanile_schedule::check_name;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::hold::Held;
use crate::{Control, EDIT_TRIES_MAX, Editor, Error};
use campanile_core::decide::publish::message::{Key, Secret};
use campanile_core::id::NodeId;
use campanile_core::port::ask::{QueueCount, RunFilter};
use campanile_core::port::member::Node;
use campanile_core::task::QueueName;

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = LeaderView))]
pub struct Leader {
    /// The present term's number; 0 = nobody has led yet.
    pub epoch: i64,
    /// The leader's name; null = nobody has led yet.
    pub node: Option<String>,
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub node_id: Option<NodeId>,
    /// When its term began.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub since: Option<Timestamp>,
    /// Whether it is a member.
    pub alive: bool,
    /// Whether it was asked to hand over and has not yet.
    pub resigning: bool,
    /// The store's clock.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub now: Timestamp,
    /// While nothing starts in the cluster: why; null = it is not held.
    pub hold: Option<Held>,
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = StatsView))]
pub struct Stats {
    /// Runs scheduled for a later instant.
    pub future: u64,
    /// Runs due and not yet claimed.
    pub waiting: u64,
    /// Runs claimed.
    pub running: u64,
    /// Members.
    pub nodes: u64,
    /// Their slots together.
    pub slots: u64,
    /// Of which taken.
    pub busy: u64,
    /// How far the answering node's wall clock is ahead of the store's.
    pub skew_ms: i64,
    /// After the store's clock went back: where it was. Until it is there again no instant is due.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub clock_behind_until: Option<Timestamp>,
    /// By how many milliseconds the store's clock stepped forward; 0 unless that is not followed yet.
    pub clock_held_ms: u64,
    /// While nothing starts in the cluster: why; null = it is not held.
    pub hold: Option<Held>,
}

/// As a number of milliseconds; 0 = none.
fn held_ms(held: Option<std::time::Duration>) -> u64 {
    held.map_or(0, |by| u64::try_from(by.as_millis()).unwrap_or(u64::MAX))
}

/// How many of the newest runs are asked for when they did what they did.
const NEWEST_RUNS: usize = 50;

/// The newest moment of which a store has a record: a heartbeat, the begin of the present term, a start or an end of the newest
/// runs. Where it is later than the store's clock, that clock went back, and no instant is due before it is there again.
///
/// # Errors
/// The store's.
pub async fn newest_record(
    store: &dyn campanile_core::port::store::Store,
) -> Result<Option<Timestamp>, campanile_core::port::store::Error> {
    let since = store.leader().await?.since;
    let nodes = store.nodes().await?;
    let runs = store.runs(&RunFilter::default(), None, NEWEST_RUNS).await?;
    let heartbeats = nodes.into_iter().map(|node| node.heartbeat_at);
    let marks = runs
        .into_iter()
        .flat_map(|run| [run.started_at, run.finished_at]);
    Ok(heartbeats.chain(marks.flatten()).chain(since).max())
}

impl Control {
    pub(super) async fn present_leader(&self) -> Result<Leader, Error> {
        let row = self.leader_row().await?;
        let nodes = self.parts.store.nodes().await?;
        Ok(Leader {
            epoch: row.epoch,
            node_id: row.node,
            alive: row.epoch > 0 && nodes.iter().any(|n| n.name == row.node_name),
            node: row.node.map(|_| row.node_name),
            since: row.since,
            resigning: row.epoch > 0 && row.resign_epoch == row.epoch,
            now: row.now,
            hold: row.hold.map(Held::from),
        })
    }
}

impl Editor {
    /// The members.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn nodes(&self) -> Result<Vec<Node>, Error> {
        self.may(Right::See)?;
        Ok(self.parts.store.nodes().await?)
    }

    /// Who leads.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn leader(&self) -> Result<Leader, Error> {
        self.may(Right::See)?;
        self.present_leader().await
    }

    /// Live runs by queue.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn queues(&self) -> Result<Vec<QueueCount>, Error> {
        self.may(Right::See)?;
        let now = self.control.now().await?;
        Ok(self.parts.store.queues(now).await?)
    }

    /// The signing key of one queue, for an external executor.
    ///
    /// # Errors
    /// A name that no queue can have.
    pub async fn queue_key(&self, queue: &str) -> Result<Key, Error> {
        self.may_queue(Right::Keys, queue)?;
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
            hold: self.held().await?,
        })
    }

    /// Asks the present leader to hand over; answers the term that was asked to end.
    ///
    /// # Errors
    /// [`Error::Conflict`] when nobody has led yet.
    pub async fn resign(&self) -> Result<Leader, Error> {
        self.may_everywhere(Right::Lead, "the lead")?;
        for _ in 0..EDIT_TRIES_MAX {
            let leader = self.present_leader().await?;
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
