//! Lead: the leader row and the terms. To begin a term is a compare-and-set of its own; everything else that a leader
//! writes goes through [`super::pen`].

use async_trait::async_trait;
use campanile_core::id::{Holder, NodeId};
use campanile_core::port::Written;
use campanile_core::port::lead::{Bid, LeadStore, LeaderRow};
use campanile_core::port::store::Error;
use campanile_schedule::time::Timestamp;

use crate::sql::hold::hold_of;
use crate::sql::statement::Statement;
use crate::sql::store::{Store, first};
use crate::sql::value::Row;

/// The leader row and the store's clock.
pub(super) static LEADER: Statement = Statement::new(
    "SELECT epoch, holder, node, node_name, since, edits, resign_epoch, @now,
     hold_cause, hold_by, hold_why, hold_since, hold_until FROM campanile_leader WHERE id = 1",
);

#[async_trait]
impl LeadStore for Store {
    async fn leader(&self) -> Result<LeaderRow, Error> {
        let rows = self.pools.leader_reader.rows(&LEADER, &[]).await?;
        leader_of(first(rows, "leader")?)
    }

    async fn begin_term(&self, bid: &Bid) -> Result<Written, Error> {
        self.pools.pens.bid(bid, &self.random).await
    }
}

pub(super) fn leader_of(mut row: Row) -> Result<LeaderRow, Error> {
    const TABLE: &str = "leader";
    Ok(LeaderRow {
        epoch: row.int(TABLE)?,
        holder: row.opt_text(TABLE)?.map(Holder::from_spelling),
        node: row.opt_int(TABLE)?.map(NodeId::from_i64),
        node_name: row.text(TABLE)?,
        since: row.opt_int(TABLE)?.map(Timestamp::from_ms),
        edits: row.int(TABLE)?,
        resign_epoch: row.int(TABLE)?,
        now: Timestamp::from_ms(row.int(TABLE)?),
        hold: hold_of(&mut row)?,
    })
}
