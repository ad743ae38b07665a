//! Rows that the store does not take, and rows that can't be read: which they are is theirs to say, so that they stay so for
//! as long as the faults last. It changes nothing.

use campanile_core::id::RunId;
use campanile_core::port::attempt::{Finish, Spoiled};
use campanile_core::port::store::Error;

use super::FaultyStore;
use crate::tally::Fault;

/// What can't be read is not what is refused.
const OTHERS: i64 = 0x5eed_5eed_5eed;

impl FaultyStore {
    /// What a read of these runs meets: the first of them that can't be read.
    pub(super) fn legible(
        &self,
        what: &str,
        mut runs: impl Iterator<Item = RunId>,
    ) -> Result<(), Error> {
        let Some(run) = runs.find(|run| self.is_chosen(run.as_i64() ^ OTHERS)) else {
            return Ok(());
        };
        let said = || format!("{what}: {run}");
        self.link.net.fault(self.link.node, Fault::RowUnread, said);
        Err(Error::Corrupt {
            table: "run",
            row: Some(Spoiled::Run(run)),
            message: "simulated".to_owned(),
        })
    }

    /// Whether the store refuses this row for as long as the faults last: which rows, is theirs to say.
    pub(super) fn is_chosen(&self, n: i64) -> bool {
        let net = &self.link.net;
        let permille = if net.is_calm() {
            0
        } else {
            net.knobs.rows_refused
        };
        let hash = n.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        hash % 1_000 < permille
    }

    /// Of the ends that it refuses it takes some without their texts, and the others not at all.
    pub(super) fn refuses_end(&self, ends: &[Finish]) -> bool {
        let is_bare =
            |end: &Finish| end.error.is_none() && end.log.is_none() && end.run.as_i64() % 2 == 0;
        ends.iter()
            .any(|end| self.is_chosen(end.run.as_i64()) && !is_bare(end))
    }

    pub(super) async fn refused<T>(&self, what: &str) -> Result<T, Error> {
        self.before(what).await?;
        self.link
            .net
            .fault(self.link.node, Fault::RowRefused, || what.to_owned());
        self.link.way().await;
        Err(Error::Refused("simulated".into()))
    }
}
