//! Fire, as a process meets it: slow, unreachable, contended, or committed without an answer.

use std::collections::HashMap;

use async_trait::async_trait;
use campanile_core::decide::lead::jump::{Answered, PutBack};
use campanile_core::decide::permits::{LimitKey, Rules, Standing};
use campanile_core::id::TaskId;
use campanile_core::port::fire::{
    AheadStore, FireStore, Fired, Firing, Owner, PermitStore, Scan, ScanLimits,
};
use campanile_core::port::lead::Term;
use campanile_core::port::store::Error;
use campanile_core::run::Run;
use campanile_schedule::time::Timestamp;

use super::FaultyStore;
use crate::tally::Seen;

#[async_trait]
impl FireStore for FaultyStore {
    async fn scan(&self, until: Timestamp, limits: &ScanLimits) -> Result<Scan, Error> {
        let scan = self.read("scan", self.inner.scan(until, limits)).await?;
        let waiting = scan.rows.iter().filter_map(|row| row.waiting.as_ref());
        self.legible("scan", waiting.map(|w| w.run.id))?;
        Ok(scan)
    }

    async fn rules(&self) -> Result<Rules, Error> {
        self.read("rules", self.inner.rules()).await
    }

    async fn fire(&self, term: &Term, firing: &Firing) -> Result<Fired, Error> {
        // Timers that are late: a rest takes back what is planned ahead, and knows nothing of what is set aside.
        let late = self.link.net.time.wall().as_ms() - 2_000;
        let chosen = firing.consumed.iter().any(|key| match key.owner {
            Owner::Run(run) => key.at.as_ms() < late && self.is_chosen(run.as_i64()),
            Owner::Task(_) => false,
        });
        if chosen {
            return self.refused("fire").await;
        }
        let call = self.inner.fire(term, firing);
        self.lead(term, "fire", call, |fired| self.note_fired(firing, *fired))
            .await
    }
}

#[async_trait]
impl PermitStore for FaultyStore {
    async fn standings(&self, keys: &[LimitKey]) -> Result<HashMap<LimitKey, Standing>, Error> {
        self.read("standings", self.inner.standings(keys)).await
    }

    async fn sweep_permits(&self, term: &Term) -> Result<Option<usize>, Error> {
        let call = self.inner.sweep_permits(term);
        self.lead(term, "sweep_permits", call, |found| {
            let found = found.unwrap_or(0);
            self.link.seen(Seen::StrandedFound, found, String::new);
        })
        .await
    }

    async fn blocked(&self) -> Result<Vec<(LimitKey, u64)>, Error> {
        self.read("blocked", self.inner.blocked()).await
    }

    async fn unblock(&self, term: &Term, keys: &[LimitKey]) -> Result<Option<usize>, Error> {
        let call = self.inner.unblock(term, keys);
        self.lead(term, "unblock", call, |count| {
            let count = count.unwrap_or(0);
            self.link.seen(Seen::Unblocked, count, String::new);
        })
        .await
    }
}

#[async_trait]
impl AheadStore for FaultyStore {
    async fn tasks_ahead(
        &self,
        beyond: Timestamp,
        after: Option<TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, Error> {
        self.read("tasks_ahead", self.inner.tasks_ahead(beyond, after, limit))
            .await
    }

    async fn rows_ahead(&self, tasks: &[TaskId], beyond: Timestamp) -> Result<Vec<Run>, Error> {
        self.read("rows_ahead", self.inner.rows_ahead(tasks, beyond))
            .await
    }

    async fn put_back(&self, term: &Term, back: &PutBack) -> Result<Fired, Error> {
        let call = self.inner.put_back(term, back);
        self.lead(term, "put_back", call, |fired| {
            if *fired == Fired::Applied {
                let counts = back.counts();
                self.link.seen(Seen::PutBack, counts.0, String::new);
                self.link.seen(Seen::AnsweredAhead, counts.1, String::new);
                let told = || format!("{:?}", back.settings);
                self.link.seen(Seen::ClockTold, back.settings.len(), told);
            }
        })
        .await
    }

    async fn answered(&self) -> Result<Answered, Error> {
        self.read("answered", self.inner.answered()).await
    }
}
