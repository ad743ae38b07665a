//! Member: nodes, their heartbeats, and those that are gone.

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;

use super::MemoryStore;
use crate::decide::attempt as transitions;
use crate::decide::publish::routing::Abilities;
use crate::id::{NodeId, RunId};
use crate::port::Written;
use crate::port::attempt::{Aside, Finish};
use crate::port::lead::Term;
use crate::port::member::{EvictStore, HeartbeatReply, MemberStore, Node, Progress};
use crate::port::store::Error;
use crate::run::{Run, State};

#[async_trait]
impl MemberStore for MemoryStore {
    async fn join(&self, node: &Node) -> Result<(), Error> {
        let mut node = node.clone();
        node.heartbeat_at = self.clock.now();
        let mut tables = self.lock();
        let name = (node.name.clone(), None);
        tables.node_names.insert(node.id, name);
        tables.nodes.insert(node.id, node);
        Ok(())
    }

    async fn announce(&self, node: NodeId, abilities: &Abilities) -> Result<(), Error> {
        if let Some(row) = self.lock().nodes.get_mut(&node) {
            row.abilities = Some(abilities.clone());
        }
        Ok(())
    }

    async fn heartbeat(
        &self,
        node: NodeId,
        busy: u32,
        running: &[RunId],
    ) -> Result<HeartbeatReply, Error> {
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
                row.heartbeat_seq += 1;
                row.heartbeat_at = now;
                row.busy = busy;
                true
            }
            None => false,
        };
        Ok(HeartbeatReply { known, cancel, now })
    }

    async fn report(&self, node: NodeId, progress: &[Progress]) -> Result<(), Error> {
        let mut tables = self.lock();
        for said in progress {
            let runs_here = tables.live.get(&said.run).is_some_and(|run| {
                run.state == State::Running
                    && run.attempt == said.attempt
                    && run.worker == Some(node)
            });
            if runs_here {
                let left = tables.left.entry(said.run).or_default();
                left.entry(said.attempt).or_default().progress = Some(said.clone());
            }
        }
        Ok(())
    }

    async fn leave(&self, node: NodeId) -> Result<(), Error> {
        let now = self.clock.now();
        self.lock().remove_node(node, now);
        Ok(())
    }
}

impl super::Tables {
    fn remove_node(&mut self, node: NodeId, now: Timestamp) {
        self.nodes.remove(&node);
        if let Some((_, gone_at)) = self.node_names.get_mut(&node) {
            *gone_at = Some(now);
        }
    }
}

#[async_trait]
impl EvictStore for MemoryStore {
    async fn running_on(
        &self,
        node: Option<NodeId>,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<Run>, Error> {
        let tables = self.lock();
        let held = |run: &&Run| {
            run.state == State::Running
                && after.is_none_or(|a| run.id > a)
                && match node {
                    Some(node) => run.worker == Some(node),
                    None => run.worker.is_none_or(|w| !tables.nodes.contains_key(&w)),
                }
        };
        Ok(tables
            .live
            .values()
            .filter(held)
            .take(limit)
            .cloned()
            .collect())
    }

    async fn evict(&self, term: &Term, node: NodeId) -> Result<Written, Error> {
        let now = self.clock.now();
        let mut tables = self.lock();
        let holds = tables.holds(term);
        if holds {
            tables.remove_node(node, now);
        }
        Ok(written(holds))
    }

    async fn finish_lost(
        &self,
        term: &Term,
        ends: &[Finish],
    ) -> Result<Option<Vec<Written>>, Error> {
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(None);
        }
        let mut answers = Vec::with_capacity(ends.len());
        for end in ends {
            let applied = tables.finish_one(end)?;
            let row = tables.live.get(&end.run).filter(|_| applied);
            let waits = row.filter(|r| transitions::waits(r, r.attempt));
            // A deleted task is looked after again: while its run ran, it may have been forgotten.
            let task = waits.and_then(|r| r.task);
            if let Some(task) = task.filter(|task| !tables.tasks.contains_key(task)) {
                tables.deletions.insert(task, end.at);
            }
            answers.push(written(applied));
        }
        Ok(Some(answers))
    }

    async fn set_aside_for(&self, term: &Term, aside: &Aside) -> Result<Written, Error> {
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(Written::Stale);
        }
        Ok(tables.set_aside(aside, true))
    }
}

fn written(applied: bool) -> Written {
    if applied {
        Written::Applied
    } else {
        Written::Stale
    }
}
