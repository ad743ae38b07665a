//! The store as a process meets it: slow, unreachable, contended, or committed without an answer; a process may die
//! before or after a commit. What the store does is the memory adapter's, which keeps the port's promises. The answers are
//! watched on their way back: what was refused to whom is what shows that the guards were needed.

mod access;
mod ask;
mod attempt;
mod edit;
mod fire;
mod lead;
mod member;
mod notes;
mod publish;
mod spoiled;
mod words;

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use campanile_core::decide::edit::inbox::Drained;
use campanile_core::memory::store::MemoryStore;
use campanile_core::port::Written;
use campanile_core::port::attempt::{Claim, Claimed};
use campanile_core::port::fire::{Fired, Firing};
use campanile_core::port::lead::Term;
use campanile_core::port::store::Error;
use campanile_core::run::Run;

use crate::net::{Link, Service};
use crate::tally::{Fault, Seen};
use crate::time::NodeClock;
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
    /// The process's own clock.
    pub clock: Arc<NodeClock>,
    /// How far ahead the time is that it made of both clocks when it last asked the store: the store's where they agree, its
    /// own where the store's is further ahead still. Who has read nothing yet can't know better.
    pub wrong_ms: Arc<AtomicI64>,
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

impl Refusable for Drained {
    fn is_refused(&self) -> bool {
        !matches!(self, Self::Done(_))
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
