//! The store as a process meets it: slow, unreachable, contended, or committed without an answer; a process may die
//! before or after a commit. What the store does is the memory adapter's, which keeps the port's promises. The answers are
//! watched on their way back: what was refused to whom is what shows that the guards were needed.

mod control;
mod notes;
mod spoiled;
mod words;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use campanile::id::{NodeId, OutboxId, RunId, TaskId};
use campanile::memory::store::MemoryStore;
use campanile::port::Written;
use campanile::port::store::{Error, Leading, Working};
use campanile::protocol::jump::{Answered, PutBack};
use campanile::protocol::permits::{LimitKey, Rules, Standing};
use campanile::protocol::routing::Abilities;
use campanile::protocol::work::{
    Aside, Beaten, Bid, Claim, Claimed, Deletions, Edit, Finish, Fired, Firing, LeaderRow, Node,
    OnBehalfOf, Orphans, OutboxRow, Owner, Scan, ScanLimits, Term,
};
use campanile::run::Run;
use campanile::task::Task;
use campanile_schedule::time::Timestamp;

use crate::net::{Link, Service};
use crate::tally::{Fault, Seen};
use words::describe;

/// A slow call is slower by at most this; the port gives calls ten seconds.
const SLOW_MS_MAX: u64 = 6_000;
/// Of a thousand claims that nobody heard of and that were not committed, so many are committed later.
const LATE_CLAIMS: u64 = 500;
/// A worker takes messages again so long after a claim failed.
const LATE_MS_SOON: u64 = 80;
/// A missed occurrence counts as caught up when it is fired later than this.
const CAUGHT_UP_MS: i64 = 4_000;

/// One process's connections.
pub struct FaultyStore {
    /// What it stands before.
    pub inner: Arc<MemoryStore>,
    /// The way there.
    pub link: Link,
}

/// Whether a leader's write was refused, because its term is over or what it rests on has changed.
pub trait Refusable {
    /// Whether nothing was written.
    fn is_refused(&self) -> bool;
}

impl<T> Refusable for Option<T> {
    fn is_refused(&self) -> bool {
        self.is_none()
    }
}

impl Refusable for Written {
    fn is_refused(&self) -> bool {
        !self.is_applied()
    }
}

impl Refusable for Fired {
    fn is_refused(&self) -> bool {
        *self != Self::Applied
    }
}

impl FaultyStore {
    async fn read<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        self.before(what).await?;
        let answer = call.await;
        self.link.way().await;
        answer
    }

    /// The way to the store; what goes wrong before anything is done.
    async fn before(&self, what: &str) -> Result<(), Error> {
        let knobs = &self.link.net.knobs;
        self.link.way().await;
        if self.link.hit(knobs.store_slow, Fault::StoreSlow, what) {
            let net = &self.link.net;
            net.time.pass(200 + net.dice.below(SLOW_MS_MAX)).await;
        }
        let fails = self.link.is_cut(Service::Store)
            || self.link.hit(knobs.store_failed, Fault::StoreFailed, what);
        if fails {
            return Err(Error::Unreachable("simulated".into()));
        }
        if self
            .link
            .hit(knobs.store_contended, Fault::StoreContended, what)
        {
            return Err(Error::Contended("simulated".into()));
        }
        Ok(())
    }

    async fn write<T: Send>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let doubt = self.link.net.knobs.commit_in_doubt;
        self.before(what).await?;
        self.link.maybe_die(what).await;
        if self.link.hit(doubt, Fault::CommitMissing, what) {
            return Err(Error::Ambiguous("simulated".into()));
        }
        let answer = call.await;
        if let Err(Error::Refused(cause)) = &answer {
            let net = &self.link.net;
            net.violation(format!("the store refused `{what}`: {cause}"));
        }
        self.link.maybe_die(what).await;
        if answer.is_ok() && self.link.hit(doubt, Fault::CommitHidden, what) {
            return Err(Error::Ambiguous("simulated".into()));
        }
        self.link.way().await;
        answer
    }

    /// A leader's write: I3 is judged, whatever it was, and what it did is noted. There is no other way for one.
    async fn lead<T: Refusable + Send>(
        &self,
        term: &Term,
        what: &str,
        call: impl Future<Output = Result<T, Error>> + Send,
        note: impl FnOnce(&T) + Send,
    ) -> Result<T, Error> {
        let call = async {
            let answer = call.await?;
            self.judge_term(term, answer.is_refused(), what).await?;
            note(&answer);
            Ok(answer)
        };
        self.write(what, call).await
    }
}

#[async_trait]
impl Leading for FaultyStore {
    async fn leader(&self) -> Result<LeaderRow, Error> {
        self.read("leader", self.inner.leader()).await
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

    async fn scan(&self, until: Timestamp, limits: &ScanLimits) -> Result<Scan, Error> {
        let scan = self.read("scan", self.inner.scan(until, limits)).await?;
        let waiting = scan.rows.iter().filter_map(|row| row.waiting.as_ref());
        self.legible("scan", waiting.map(|w| w.run.id))?;
        Ok(scan)
    }

    async fn rules(&self) -> Result<Rules, Error> {
        self.read("rules", self.inner.rules()).await
    }

    async fn standings(&self, keys: &[LimitKey]) -> Result<HashMap<LimitKey, Standing>, Error> {
        self.read("standings", self.inner.standings(keys)).await
    }

    async fn deletions(&self) -> Result<Option<Deletions>, Error> {
        self.read("deletions", self.inner.deletions()).await
    }

    async fn orphans(&self, after: Option<RunId>, look: usize) -> Result<Orphans, Error> {
        self.read("orphans", self.inner.orphans(after, look)).await
    }

    async fn end_orphans(
        &self,
        term: &Term,
        runs: &[Run],
        at: Timestamp,
    ) -> Result<Option<usize>, Error> {
        let call = self.inner.end_orphans(term, runs, at);
        self.lead(term, "end_orphans", call, |ended| {
            let ended = ended.unwrap_or(0);
            self.link.seen(Seen::OrphanEnded, ended, String::new);
        })
        .await
    }

    async fn forget_deletions(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error> {
        let call = self.inner.forget_deletions(term, before, limit);
        self.lead(term, "forget_deletions", call, |_| {}).await
    }

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

    async fn answered(&self) -> Result<Answered, Error> {
        self.read("answered", self.inner.answered()).await
    }

    async fn edit_for(
        &self,
        term: &Term,
        on_behalf_of: OnBehalfOf,
        edit: &Edit,
        at: Timestamp,
    ) -> Result<Fired, Error> {
        let call = self.inner.edit_for(term, on_behalf_of, edit, at);
        self.lead(term, "edit_for", call, |fired| {
            let done = usize::from(*fired == Fired::Applied);
            let told = || format!("{:?}, {} moves", edit.settings, edit.moves.len());
            self.link.seen(Seen::EditedFor, done, told);
        })
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

    async fn outbox(&self, after: Option<OutboxId>, limit: usize) -> Result<Vec<OutboxRow>, Error> {
        self.read("outbox", self.inner.outbox(after, limit)).await
    }

    async fn waiting(&self, runs: &[(RunId, u32)]) -> Result<Vec<RunId>, Error> {
        self.read("waiting", self.inner.waiting(runs)).await
    }

    async fn still_wait(
        &self,
        term: &Term,
        runs: &[(RunId, u32)],
    ) -> Result<Option<Vec<RunId>>, Error> {
        let call = self.inner.still_wait(term, runs);
        self.lead(term, "still_wait", call, |_| {}).await
    }

    async fn mark_sent(
        &self,
        term: &Term,
        queued: &[(RunId, u32)],
        at: Timestamp,
        done: &[OutboxId],
    ) -> Result<Written, Error> {
        let call = self.inner.mark_sent(term, queued, at, done);
        self.lead(term, "mark_sent", call, |_| {}).await
    }

    async fn hand_over(
        &self,
        term: &Term,
        runs: &[(RunId, u32)],
        at: Timestamp,
    ) -> Result<Written, Error> {
        let call = self.inner.hand_over(term, runs, at);
        self.lead(term, "hand_over", call, |_| {}).await
    }

    async fn running_on(
        &self,
        node: Option<NodeId>,
        after: Option<RunId>,
        limit: usize,
    ) -> Result<Vec<Run>, Error> {
        self.read("running_on", self.inner.running_on(node, after, limit))
            .await
    }

    async fn bury(&self, term: &Term, node: NodeId) -> Result<Written, Error> {
        let call = self.inner.bury(term, node);
        self.lead(term, "bury", call, |written| {
            let buried = usize::from(written.is_applied());
            self.link
                .seen(Seen::NodeBuried, buried, || node.to_string());
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
                self.note("given on", || {
                    format!("{}:{} {:?}", end.run, end.attempt, end.end)
                });
            }
        })
        .await
    }

    async fn prune(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error> {
        let call = self.inner.prune(term, before, limit);
        self.lead(term, "prune", call, |removed| {
            if let Some(removed) = removed.filter(|n| *n > 0) {
                self.note("pruned", || format!("{removed}, ended before {before}"));
            }
        })
        .await
    }
}

#[async_trait]
impl Working for FaultyStore {
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

    async fn beat(&self, node: NodeId, busy: u32, running: &[RunId]) -> Result<Beaten, Error> {
        let call = async {
            let answer = self.inner.beat(node, busy, running).await?;
            let dead = usize::from(!answer.known);
            self.link.seen(Seen::ToldDead, dead, || node.to_string());
            Ok(answer)
        };
        self.write("beat", call).await
    }

    async fn leave(&self, node: NodeId) -> Result<(), Error> {
        self.write("leave", self.inner.leave(node)).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, Error> {
        self.legible("claim", claim.runs.iter().map(|(run, _)| *run))?;
        let arrived = AtomicBool::new(false);
        let call = async {
            arrived.store(true, Ordering::Relaxed);
            let won = self.inner.claim(claim).await?;
            self.note_claimed(claim, &won);
            Ok(won)
        };
        let answer = self.write("claim", call).await;
        if matches!(answer, Err(Error::Ambiguous(_)) if !arrived.load(Ordering::Relaxed)) {
            self.maybe_arrive_late(claim);
        }
        answer
    }

    async fn finish(&self, ends: &[Finish]) -> Result<Vec<Written>, Error> {
        let unread = ends.iter().filter(|end| {
            let error = end.error.as_deref();
            error.is_some_and(|e| e.starts_with("the payload is not"))
        });
        let unread = unread.map(|end| end.run);
        self.link.net.ledger().unread.extend(unread);
        let call = async {
            let answers = self.inner.finish(ends).await?;
            self.note_finished(ends, &answers);
            Ok(answers)
        };
        if self.refuses_end(ends) {
            return self.refused("finish").await;
        }
        self.write("finish", call).await
    }

    async fn set_aside(&self, term: Option<&Term>, aside: &Aside) -> Result<Written, Error> {
        let call = self.inner.set_aside(term, aside);
        let note = |written: &Written| {
            let done = usize::from(written.is_applied());
            self.link.seen(Seen::SetAside, done, || aside.what());
        };
        if let Some(term) = term {
            return self.lead(term, "set_aside", call, note).await;
        }
        let call = async {
            let answer = call.await?;
            note(&answer);
            Ok(answer)
        };
        self.write("set_aside", call).await
    }

    async fn tasks_by_id(&self, ids: &[TaskId]) -> Result<Vec<Task>, Error> {
        self.read("tasks_by_id", self.inner.tasks_by_id(ids)).await
    }
}
