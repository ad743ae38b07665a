//! The operations that sessions carry out, as values: the same one is given to a real store and to the reference. And
//! their answers, in a spelling in which both can be compared: the store's own clock is taken out.

use campanile::conformance::somebody;
use campanile::id::{NodeId, OutboxId, RunId};
use campanile::port::Written;
use campanile::port::store::{Error, Store};
use campanile::protocol::permits::LimitKey;
use campanile::protocol::work::{
    Aside, Bid, Cancel, Claim, Claimed, Edit, Finish, Fired, Firing, Moved, Node, Released,
    Submission, Term,
};
use campanile::run::Run;
use campanile_schedule::time::Timestamp;

/// Every instant that the scenes name lies before this one, and the clocks of all stores behind it.
const CLOCKS_FROM: Timestamp = Timestamp::from_ms(1_765_000_000_000);

/// One call of a port.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Begin(Bid),
    Fire(Term, Box<Firing>),
    Mark(Term, Vec<(RunId, u32)>, Vec<OutboxId>),
    HandOver(Term, Vec<(RunId, u32)>),
    Bury(Term, NodeId),
    Lost(Term, Vec<Finish>),
    Prune(Term, Timestamp),
    Sweep(Term),
    Join(Box<Node>),
    Leave(NodeId),
    Claim(Claim),
    Finish(Vec<Finish>),
    Submit(Vec<Submission>),
    Edit(Box<Edit>),
    Cancel(RunId),
    Move(RunId, Timestamp),
    /// The leader ends runs that wait for deleted tasks.
    Orphans(Term, Vec<Run>),
    /// The leader looks for no more of them.
    Forget(Term, Timestamp),
    /// Something that was refused is set aside.
    Aside(Option<Term>, Box<Aside>),
    /// The run goes on that is set aside.
    Release(RunId),
    /// It is gone.
    Drop(RunId),
    /// The leader lets blocked runs go.
    Unblock(Term, Vec<LimitKey>),
}

/// What a submission is told whose task is gone.
const DELETED: &str = "a task was deleted meanwhile";

/// Whether an operation changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Done,
    /// Refused by a guard, or there was nothing to do.
    Stale,
    /// Rolled back by the database, also when it was tried again.
    Failed,
    /// An error that no history may end with.
    Broken,
}

/// What an operation answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) kind: Kind,
    pub(super) text: String,
}

fn answer<T: std::fmt::Debug>(answer: Result<T, Error>, done: impl Fn(&T) -> bool) -> Answer {
    match answer {
        Ok(value) => Answer {
            kind: if done(&value) {
                Kind::Done
            } else {
                Kind::Stale
            },
            text: format!("{value:?}"),
        },
        Err(error) => Answer {
            kind: if error.is_contended() {
                Kind::Failed
            } else {
                Kind::Broken
            },
            text: format!("{error:?}"),
        },
    }
}

fn any_applied(written: &[Written]) -> bool {
    written.iter().any(|w| w.is_applied())
}

/// An instant as it is, or that it was the store's clock.
pub(super) fn spelled(t: Timestamp) -> Timestamp {
    if t >= CLOCKS_FROM { CLOCKS_FROM } else { t }
}

/// A run without the store's clock; of an ended one, without what a store's history does not keep.
pub(super) fn plain(run: &Run) -> Run {
    let ended = run.state.is_terminal();
    Run {
        started_at: run.started_at.map(spelled),
        limited: run.limited && !ended,
        deadline_at: run.deadline_at.filter(|_| !ended),
        ..run.clone()
    }
}

fn won(claimed: Vec<Claimed>) -> Vec<Claimed> {
    let mut won: Vec<Claimed> = claimed
        .into_iter()
        .map(|c| Claimed {
            started_at: spelled(c.started_at),
            ..c
        })
        .collect();
    won.sort_by_key(|c| c.run);
    won
}

/// Under which number a run is set aside: stores count on, whatever was there before.
async fn number_of(store: &dyn Store, run: RunId) -> Option<i64> {
    let aside = store.quarantine(None, 10).await.unwrap();
    aside.iter().find(|q| q.run == Some(run)).map(|q| q.id)
}

impl Op {
    /// Its name, for people.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Begin(_) => "begin",
            Self::Fire(..) => "fire",
            Self::Mark(..) => "mark",
            Self::HandOver(..) => "hand over",
            Self::Bury(..) => "bury",
            Self::Lost(..) => "lost",
            Self::Prune(..) => "prune",
            Self::Sweep(_) => "sweep",
            Self::Join(_) => "join",
            Self::Leave(_) => "leave",
            Self::Claim(_) => "claim",
            Self::Finish(_) => "finish",
            Self::Submit(_) => "submit",
            Self::Edit(_) => "edit",
            Self::Cancel(_) => "cancel",
            Self::Move(..) => "move",
            Self::Orphans(..) => "orphans",
            Self::Forget(..) => "forget",
            Self::Aside(..) => "set aside",
            Self::Release(_) => "release",
            Self::Drop(_) => "drop",
            Self::Unblock(..) => "unblock",
        }
    }

    /// Carries it out.
    pub(super) async fn run(&self, store: &dyn Store, at: Timestamp) -> Answer {
        let applied = |w: &Written| w.is_applied();
        match self {
            Self::Begin(bid) => answer(store.begin_term(bid).await, applied),
            Self::Fire(term, firing) => {
                answer(store.fire(term, firing).await, |f| *f == Fired::Applied)
            }
            Self::Mark(term, runs, rows) => {
                answer(store.mark_sent(term, runs, at, rows).await, applied)
            }
            Self::HandOver(term, runs) => answer(store.hand_over(term, runs, at).await, applied),
            Self::Bury(term, node) => answer(store.bury(term, *node).await, applied),
            Self::Lost(term, ends) => answer(store.finish_lost(term, ends).await, |w| {
                w.as_deref().is_some_and(any_applied)
            }),
            Self::Prune(term, before) => answer(store.prune(term, *before, 100).await, |n| {
                n.is_some_and(|n| n > 0)
            }),
            Self::Sweep(term) => {
                // A sweep that finds nothing does not ask whether its term is over: it changes nothing either way.
                let swept = store.sweep_permits(term).await;
                answer(swept.map(Option::unwrap_or_default), |n| *n > 0)
            }
            Self::Join(node) => answer(store.join(node).await, |()| true),
            Self::Leave(node) => answer(store.leave(*node).await, |()| true),
            Self::Claim(claim) => answer(store.claim(claim).await.map(won), |w| !w.is_empty()),
            Self::Finish(ends) => answer(store.finish(ends).await, |w| any_applied(w)),
            Self::Submit(all) => match store.submit(somebody(), all).await {
                // A refusal of the store's own, and nothing that the database rolled back.
                Err(Error::Contended(why)) if why.to_string().contains(DELETED) => Answer {
                    kind: Kind::Stale,
                    text: DELETED.to_owned(),
                },
                other => answer(other, |s| s.iter().any(|s| s.created)),
            },
            Self::Edit(edit) => answer(store.edit(somebody(), edit, at).await, applied),
            Self::Orphans(term, runs) => answer(store.end_orphans(term, runs, at).await, |n| {
                n.is_some_and(|n| n > 0)
            }),
            Self::Forget(term, before) => {
                answer(store.forget_deletions(term, *before, 100).await, |n| {
                    n.is_some_and(|n| n > 0)
                })
            }
            Self::Aside(term, aside) => {
                answer(store.set_aside(term.as_ref(), aside).await, applied)
            }
            Self::Release(run) => {
                let released = match number_of(store, *run).await {
                    Some(id) => store.release(somebody(), id, at).await,
                    None => Ok(Released::Unknown),
                };
                answer(released, |r| *r == Released::Done)
            }
            Self::Drop(run) => {
                let dropped = match number_of(store, *run).await {
                    Some(id) => store.drop_quarantined(somebody(), id).await,
                    None => Ok(Written::Stale),
                };
                answer(dropped, applied)
            }
            Self::Unblock(term, keys) => answer(store.unblock(term, keys).await, |n| {
                n.is_some_and(|n| n > 0)
            }),
            Self::Cancel(run) => answer(store.cancel(somebody(), *run, at).await, |c| {
                matches!(c, Cancel::Cancelled | Cancel::Requested)
            }),
            Self::Move(run, to) => answer(store.move_run(somebody(), *run, *to).await, |m| {
                *m == Moved::Done
            }),
        }
    }
}
