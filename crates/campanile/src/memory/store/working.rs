//! What a worker asks of the memory store: to join, beat, claim, finish and leave, each under the one mutex.

use async_trait::async_trait;

use super::MemoryStore;
use crate::id::{NodeId, RunId, TaskId};
use crate::port::Written;
use crate::port::store::{Error, Working};
use crate::protocol::routing::Abilities;
use crate::protocol::run as transitions;
use crate::protocol::work::{Aside, Beaten, Claim, Claimed, Finish, Node, Term};
use crate::task::Task;

#[async_trait]
impl Working for MemoryStore {
    async fn join(&self, node: &Node) -> Result<(), Error> {
        let mut node = node.clone();
        node.beat_at = self.clock.now();
        self.lock().nodes.insert(node.id, node);
        Ok(())
    }

    async fn announce(&self, node: NodeId, abilities: &Abilities) -> Result<(), Error> {
        if let Some(row) = self.lock().nodes.get_mut(&node) {
            row.abilities = Some(abilities.clone());
        }
        Ok(())
    }

    async fn beat(&self, node: NodeId, busy: u32, running: &[RunId]) -> Result<Beaten, Error> {
        let now = self.clock.now();
        let mut tables = self.lock();
        let asked = |id: &&RunId| {
            tables
                .live
                .get(id)
                .is_some_and(|r| r.cancel.is_some() && r.worker == Some(node))
        };
        let cancel = running.iter().filter(asked).copied().collect();
        let known = match tables.nodes.get_mut(&node) {
            Some(row) => {
                row.beat_seq += 1;
                row.beat_at = now;
                row.busy = busy;
                true
            }
            None => false,
        };
        Ok(Beaten { known, cancel, now })
    }

    async fn leave(&self, node: NodeId) -> Result<(), Error> {
        self.lock().nodes.remove(&node);
        Ok(())
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        let now = self.clock.now();
        let mut tables = self.lock();
        if !tables.nodes.contains_key(&claim.node) {
            return Ok(Vec::new());
        }
        let mut won = Vec::new();
        for (id, attempt) in &claim.runs {
            let Some(run) = tables.live.get(id).filter(|_| !tables.is_parked(*id)) else {
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

    async fn set_aside(&self, term: Option<&Term>, aside: &Aside) -> Result<Written, Error> {
        Ok(self.put_aside(term, aside))
    }

    async fn tasks_by_id(&self, ids: &[TaskId]) -> Result<Vec<Task>, Error> {
        let tables = self.lock();
        Ok(ids
            .iter()
            .filter_map(|id| tables.tasks.get(id))
            .cloned()
            .collect())
    }
}
