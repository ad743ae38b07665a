//! Lead, in memory: the leader row and the terms, with the fence that every leader write passes.

use async_trait::async_trait;

use super::MemoryStore;
use crate::port::Written;
use crate::port::lead::{Bid, LeadStore, LeaderRow};
use crate::port::store::Error;

#[async_trait]
impl LeadStore for MemoryStore {
    async fn leader(&self) -> Result<LeaderRow, Error> {
        Ok(self.lock().leader_row(self.clock.now()))
    }

    async fn begin_term(&self, bid: &Bid) -> Result<Written, Error> {
        let now = self.clock.now();
        let mut tables = self.lock();
        if tables.epoch != bid.read_epoch {
            return Ok(Written::Stale);
        }
        tables.epoch = bid.term.epoch;
        tables.holder = Some(bid.term.holder.clone());
        tables.leader_node = Some(bid.node);
        tables.leader_name.clone_from(&bid.node_name);
        tables.since = Some(now);
        tables.resign_epoch = 0;
        Ok(Written::Applied)
    }
}
