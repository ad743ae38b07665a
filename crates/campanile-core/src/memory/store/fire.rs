//! Fire: due rows and what becomes of them.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;

use super::MemoryStore;
use crate::decide::attempt as transitions;
use crate::decide::lead::jump::{Answered, PutBack};
use crate::decide::permits::{LimitKey, Rules, Standing};
use crate::id::TaskId;
use crate::port::fire::{
    AheadStore, DueRow, FireStore, Fired, Firing, Owner, PermitStore, Scan, ScanLimits,
};
use crate::port::lead::Term;
use crate::port::store::Error;
use crate::run::Run;

#[async_trait]
impl FireStore for MemoryStore {
    async fn scan(&self, until: Timestamp, limits: &ScanLimits) -> Result<Scan, Error> {
        let tables = self.lock();
        let mut taken: std::collections::HashMap<&crate::task::QueueName, usize> =
            std::collections::HashMap::new();
        let mut rows = Vec::new();
        let may_fire = tables.hold.is_none();
        for key in tables.due.iter().filter(|k| may_fire && k.at <= until) {
            let room = limits
                .rooms
                .get(&key.queue)
                .copied()
                .unwrap_or(limits.default);
            let used = taken.entry(&key.queue).or_default();
            if *used >= room {
                continue;
            }
            *used += 1;
            let waiting = match key.owner {
                Owner::Run(run) => tables.waiting(run, None),
                Owner::Task(_) => None,
            };
            rows.push(DueRow {
                key: key.clone(),
                waiting,
            });
        }
        Ok(Scan {
            rows,
            edits: tables.edits,
            resign_epoch: tables.resign_epoch,
            hold: tables.hold.clone(),
        })
    }

    async fn rules(&self) -> Result<Rules, Error> {
        let tables = self.lock();
        let calendars = tables.calendars.iter();
        Ok(Rules {
            calendars: calendars
                .map(|(name, c)| (name.clone(), Arc::new(c.clone())))
                .collect(),
            limits: tables.limits.clone(),
        })
    }

    async fn fire(&self, term: &Term, firing: &Firing) -> Result<Fired, Error> {
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(Fired::Fenced);
        }
        if tables.edits != firing.edits
            || firing.consumed.iter().any(|k| !tables.due.contains(k))
            || !tables.waits_as_seen(firing)
            || !tables.permits_allow(firing)
        {
            return Ok(Fired::Edited);
        }
        for key in &firing.consumed {
            tables.due.remove(key);
            if let Owner::Run(run) = key.owner
                && let Some(run) = tables.live.get_mut(&run)
                && transitions::waits(run, run.attempt)
            {
                run.epoch = firing.epoch;
            }
        }
        tables.due.extend(firing.advanced.iter().cloned());
        for run in &firing.runs {
            tables.live.insert(run.id, run.clone());
        }
        tables.chains.extend(firing.chained.iter().copied());
        for skip in &firing.skipped {
            tables.put_skip(skip)?;
        }
        tables.fire_permits(firing)?;
        if let Some(entry) = &firing.outbox {
            tables.outbox.insert(entry.id, entry.runs.clone());
        }
        Ok(Fired::Applied)
    }
}

#[async_trait]
impl PermitStore for MemoryStore {
    async fn standings(&self, keys: &[LimitKey]) -> Result<HashMap<LimitKey, Standing>, Error> {
        let tables = self.lock();
        Ok(keys
            .iter()
            .map(|key| (key.clone(), tables.standing(key)))
            .collect())
    }

    async fn sweep_permits(&self, term: &Term) -> Result<Option<usize>, Error> {
        let mut tables = self.lock();
        Ok(tables.holds(term).then(|| tables.sweep_permits()))
    }

    async fn blocked(&self) -> Result<Vec<(LimitKey, u64)>, Error> {
        Ok(self.lock().blocked())
    }

    async fn unblock(&self, term: &Term, keys: &[LimitKey]) -> Result<Option<usize>, Error> {
        let mut tables = self.lock();
        let holds = tables.holds(term);
        let mut go_on = || keys.iter().map(|key| tables.unpark(key, usize::MAX)).sum();
        Ok(holds.then(&mut go_on))
    }
}

#[async_trait]
impl AheadStore for MemoryStore {
    async fn tasks_ahead(
        &self,
        beyond: Timestamp,
        after: Option<TaskId>,
        limit: usize,
    ) -> Result<Vec<TaskId>, Error> {
        Ok(self.lock().tasks_ahead(beyond, after, limit))
    }

    async fn rows_ahead(&self, tasks: &[TaskId], beyond: Timestamp) -> Result<Vec<Run>, Error> {
        Ok(self.lock().rows_ahead(tasks, beyond))
    }

    async fn put_back(&self, term: &Term, back: &PutBack) -> Result<Fired, Error> {
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(Fired::Fenced);
        }
        Ok(tables.put_back(back))
    }

    async fn answered(&self) -> Result<Answered, Error> {
        let mut answered = Answered::new();
        for (task, at) in &self.lock().answered {
            answered.entry(*task).or_default().insert(*at);
        }
        Ok(answered)
    }
}
