//! Attempt: claims, ends, and what is set aside.

use async_trait::async_trait;

use super::MemoryStore;
use crate::decide::attempt as transitions;
use crate::port::Written;
use crate::port::attempt::{Append, Aside, AttemptStore, Claim, Claimed, Finish};
use crate::port::store::Error;
use crate::run::Run;

#[async_trait]
impl AttemptStore for MemoryStore {
    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        let now = self.clock.now();
        let mut tables = self.lock();
        if !tables.nodes.contains_key(&claim.node) || tables.hold.is_some() {
            return Ok(Vec::new());
        }
        let mut won = Vec::new();
        for (id, attempt) in &claim.runs {
            let Some(run) = tables.live.get(id).filter(|_| !tables.is_blocked(*id)) else {
                continue;
            };
            let Some(claimed) = transitions::claim(run, *attempt, claim.id, claim.node, now) else {
                continue;
            };
            won.push(Claimed {
                run: *id,
                attempt: *attempt,
                task: claimed
                    .task
                    .and_then(|t| tables.tasks.get(&t))
                    .map(|t| (t.id, t.version)),
                origin: claimed.origin,
                due_at: claimed.due_at,
                started_at: now,
                failures: claimed.failures,
                losses: claimed.losses,
                limited: claimed.limited,
                orphaned: claimed.task.is_some_and(|t| !tables.tasks.contains_key(&t)),
                spec: tables.specs.get(id).cloned(),
            });
            tables.live.insert(*id, claimed);
        }
        Ok(won)
    }

    async fn finish(&self, ends: &[Finish]) -> Result<Vec<Written>, Error> {
        let mut tables = self.lock();
        ends.iter()
            .map(|end| {
                tables.finish_one(end).map(|done| {
                    if done {
                        Written::Applied
                    } else {
                        Written::Stale
                    }
                })
            })
            .collect()
    }

    async fn append(&self, logs: &[Append]) -> Result<Vec<Written>, Error> {
        let mut tables = self.lock();
        let mut answers = Vec::with_capacity(logs.len());
        for log in logs {
            let is_held = |run: &Run| transitions::is_held(run, log.attempt, log.claim);
            answers.push(if tables.live.get(&log.run).is_some_and(is_held) {
                tables.write_log(log.run, log.attempt, &log.chunks);
                Written::Applied
            } else {
                Written::Stale
            });
        }
        Ok(answers)
    }

    async fn set_aside(&self, aside: &Aside) -> Result<Written, Error> {
        Ok(self.lock().set_aside(aside, false))
    }
}
