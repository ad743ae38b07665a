//! Member, as a process meets it: slow, unreachable, contended, or committed without an answer.

use async_trait::async_trait;
use campanile_core::decide::publish::routing::Abilities;
use campanile_core::id::{NodeId, RunId};
use campanile_core::port::Written;
use campanile_core::port::attempt::{Aside, Finish};
use campanile_core::port::lead::Term;
use campanile_core::port::member::{EvictStore, HeartbeatReply, MemberStore, Node, Progress};
use campanile_core::port::store::Error;
use campanile_core::run::Run;

use super::FaultyStore;
use crate::tally::Seen;

#[async_trait]
impl MemberStore for FaultyStore {
    async fn join(&self, node: &Node) -> Result<(), Error> {
        let call = async {
            self.note("joined", || node.id.to_string());
            self.inner.join(node).await
        };
        self.write("join", call).await
    }

    async fn announce(&self, node: NodeId, abilities: &Abilities) -> Result<(), Error> {
        let call = async {
            self.inner.announce(node, abilities).await?;
            self.note("announces", || format!("{:?}", abilities.refuses));
            Ok(())
        };
        self.write("announce", call).await
    }

    async fn heartbeat(
        &self,
        node: NodeId,
        busy: u32,
        running: &[RunId],
    ) -> Result<HeartbeatReply, Error> {
        let call = async {
            let answer = self.inner.heartbeat(node, busy, running).await?;
            let dead = usize::from(!answer.known);
            self.link.seen(Seen::ToldDead, dead, || node.to_string());
            Ok(answer)
        };
        self.write("heartbeat", call).await
    }

    async fn report(&self, node: NodeId, progress: &[Progress]) -> Result<(), Error> {
        self.write("report", self.inner.report(node, progress))
            .await
    }

    async fn leave(&self, node: NodeId) -> Result<(), Error> {
        self.write("leave", self.inner.leave(node)).await
    }
}

#[async_trait]
impl EvictStore for FaultyStore {
    async fn running_on(
        &self,
        node: Option<NodeId>,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<Run>, Error> {
        self.read("running_on", self.inner.running_on(node, after, limit))
            .await
    }

    async fn evict(&self, term: &Term, node: NodeId) -> Result<Written, Error> {
        let call = self.inner.evict(term, node);
        self.lead(term, "evict", call, |written| {
            let evicted = usize::from(written.is_applied());
            self.link
                .seen(Seen::NodeEvicted, evicted, || node.to_string());
        })
        .await
    }

    async fn finish_lost(
        &self,
        term: &Term,
        ends: &[Finish],
    ) -> Result<Option<Vec<Written>>, Error> {
        if self.refuses_end(ends) {
            return self.refused("finish_lost").await;
        }
        let call = self.inner.finish_lost(term, ends);
        self.lead(term, "finish_lost", call, |answer| {
            for (end, _) in ends.iter().zip(answer.iter().flatten()) {
                self.note("requeued", || {
                    format!("{}:{} {:?}", end.run, end.attempt, end.end)
                });
            }
        })
        .await
    }

    async fn set_aside_for(&self, term: &Term, aside: &Aside) -> Result<Written, Error> {
        let call = self.inner.set_aside_for(term, aside);
        let note = |written: &Written| self.note_aside(aside, *written);
        self.lead(term, "set_aside", call, note).await
    }
}

impl FaultyStore {
    pub(super) fn note_aside(&self, aside: &Aside, written: Written) {
        let done = usize::from(written.is_applied());
        self.link.seen(Seen::SetAside, done, || aside.what());
    }
}
