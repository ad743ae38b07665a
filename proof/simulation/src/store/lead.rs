//! Lead, as a process meets it: slow, unreachable, contended, or committed without an answer.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use campanile_core::decide::lead::clock::JUMP_MIN;
use campanile_core::port::Written;
use campanile_core::port::lead::{Bid, LeadStore, LeaderRow};
use campanile_core::port::store::Error;

use super::FaultyStore;
use crate::tally::Seen;

#[async_trait]
impl LeadStore for FaultyStore {
    async fn leader(&self) -> Result<LeaderRow, Error> {
        let call = async {
            let row = self.inner.leader().await?;
            let ahead = row.now.as_ms() - self.link.net.time.wall().as_ms();
            Ok((row, ahead))
        };
        let (row, ahead) = self.read("leader", call).await?;
        let own = self.clock.skew_ms();
        let agree = ahead - own <= i64::try_from(JUMP_MIN.as_millis()).unwrap_or(0);
        let believed = if agree { ahead } else { own };
        self.wrong_ms.store(believed, Ordering::Relaxed);
        Ok(row)
    }

    async fn begin_term(&self, bid: &Bid) -> Result<Written, Error> {
        let call = async {
            let answer = self.inner.begin_term(bid).await?;
            let seen = if answer.is_applied() {
                Seen::TermBegun
            } else {
                Seen::BidRefused
            };
            self.link.seen(seen, 1, || bid.term.epoch.to_string());
            Ok(answer)
        };
        self.write("begin_term", call).await
    }
}
