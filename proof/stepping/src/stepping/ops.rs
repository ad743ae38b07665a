//! The operations that sessions carry out, as values: the same one is given to a real store and to the reference. And
//! their answers, in a spelling in which both can be compared: the store's own clock is taken out.

use campanile_conformance::somebody;
use campanile_core::decide::edit::inbox::{Became, Drained, decide, open};
use campanile_core::decide::lead::hold::Hold;
use campanile_core::decide::permits::LimitKey;
use campanile_core::id::{NodeId, OutboxId, RunId};
use campanile_core::port::Written;
use campanile_core::port::attempt::{Append, Aside, Claim, Claimed, Finish};
use campanile_core::port::edit::{Cancel, Edit, Moved, OnBehalfOf, Released, Submission};
use campanile_core::port::fire::{Fired, Firing};
use campanile_core::port::lead::{Bid, Term};
use campanile_core::port::member::Node;
use campanile_core::port::store::{Error, Store};
use campanile_core::run::Run;
use campanile_core::task::StartMode;
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
    Evict(Term, NodeId),
    Lost(Term, Vec<Finish>),
    Prune(Term, Timestamp),
    Sweep(Term),
    Join(Box<Node>),
    Leave(NodeId),
    Claim(Claim),
    Finish(Vec<Finish>),
    Append(Vec<Append>),
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
    /// A stranger leaves a request in the inbox.
    LeaveRequest(String),
    /// The leader takes out what it finds there; the first row's run has this id.
    Drain(Term, RunId),
    /// The leader lets blocked runs go.
    Unblock(Term, Vec<LimitKey>),
    /// The cluster is held, or its hold is ended.
    Hold(Option<Hold>),
    /// The leader ends the hold with this end.
    EndHold(Term, Timestamp),
    /// The leader ends a pause.
    EndPause(Term, Box<Edit>),
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

async fn release(store: &dyn Store, run: RunId, at: Timestamp) -> Result<Released, Error> {
    match number_of(store, run).await {
        Some(id) => {
            store
                .release(somebody(), id, at, StartMode::default())
                .await
        }
        None => Ok(Released::Unknown),
    }
}

/// As the leader, or (without a term) as a worker.
async fn set_aside(
    store: &dyn Store,
    term: Option<&Term>,
    aside: &Aside,
) -> Result<Written, Error> {
    match term {
        Some(term) => store.set_aside_for(term, aside).await,
        None => store.set_aside(aside).await,
    }
}

/// Under which number a run is set aside: stores count on, whatever was there before.
async fn number_of(store: &dyn Store, run: RunId) -> Option<i64> {
    let aside = store.quarantine(None, 10).await.unwrap();
    aside.iter().find(|q| q.run == Some(run)).map(|q| q.id)
}

/// Looks into the inbox and takes out what is there. Stores count rows on, whatever was there before: only what they became
/// is answered; nothing, for a term that is over.
async fn drain(
    store: &dyn Store,
    term: &Term,
    first: RunId,
    at: Timestamp,
) -> Result<Vec<Became>, Error> {
    let inbox = store.inbox().await?;
    let ids = (first.as_i64()..).map(RunId::from_i64);
    let rows = inbox.rows.iter().zip(ids);
    let rows: Vec<_> = rows
        .map(|(row, id)| decide(open(row), &[], id, at))
        .collect();
    Ok(match store.drain(term, inbox.edits, &rows, at).await? {
        Drained::Done(settled) => settled.into_iter().map(|s| s.became).collect(),
        Drained::Fenced | Drained::Edited => Vec::new(),
    })
}

impl Op {
    /// Its name, for people.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Begin(_) => "begin",
            Self::Fire(..) => "fire",
            Self::Mark(..) => "mark",
            Self::HandOver(..) => "hand over",
            Self::Evict(..) => "evict",
            Self::Lost(..) => "lost",
            Self::Prune(..) => "prune",
            Self::Sweep(_) => "sweep",
            Self::Join(_) => "join",
            Self::Leave(_) => "leave",
            Self::Claim(_) => "claim",
            Self::Finish(_) => "finish",
            Self::Append(_) => "append",
            Self::Submit(_) => "submit",
            Self::Edit(_) => "edit",
            Self::Cancel(_) => "cancel",
            Self::Move(..) => "move",
            Self::Orphans(..) => "orphans",
            Self::Forget(..) => "forget",
            Self::Aside(..) => "set aside",
            Self::Release(_) => "release",
            Self::Drop(_) => "drop",
            Self::LeaveRequest(_) => "leave a request",
            Self::Drain(..) => "drain",
            Self::Unblock(..) => "unblock",
            Self::Hold(_) => "hold",
            Self::EndHold(..) => "end of a hold",
            Self::EndPause(..) => "end of a pause",
        }
    }

    /// The same, of the inbox.
    async fn run_of_inbox(&self, store: &dyn Store, at: Timestamp) -> Answer {
        match self {
            Self::Drain(term, run) => {
                let drained = drain(store, term, *run, at).await;
                answer(drained, |became| !became.is_empty())
            }
            Self::LeaveRequest(text) => {
                let left = store.leave_request(text).await;
                answer(left.map(drop), |()| true)
            }
            _ => answer(Ok(()), |()| false),
        }
    }

    /// The same, of what holds the cluster or a task.
    async fn run_of_holds(&self, store: &dyn Store, at: Timestamp) -> Answer {
        let applied = |fired: &Fired| *fired == Fired::Applied;
        match self {
            Self::Hold(hold) => answer(store.hold(somebody(), hold.as_ref()).await, |()| true),
            Self::EndHold(term, until) => answer(store.end_hold(term, *until).await, applied),
            Self::EndPause(term, edit) => {
                let ended = store.edit_for(term, OnBehalfOf::PauseUntil, edit, at).await;
                answer(ended, applied)
            }
            _ => answer(Ok(()), |()| false),
        }
    }

    /// Carries it out.
    pub(super) async fn run(&self, store: &dyn Store, at: Timestamp) -> Answer {
        let applied = |w: &Written| w.is_applied();
        let some = |n: &Option<usize>| n.is_some_and(|n| n > 0);
        match self {
            Self::Begin(bid) => answer(store.begin_term(bid).await, applied),
            Self::Fire(term, firing) => {
                answer(store.fire(term, firing).await, |f| *f == Fired::Applied)
            }
            Self::Mark(term, runs, rows) => {
                answer(store.mark_sent(term, runs, at, rows).await, applied)
            }
            Self::HandOver(term, runs) => answer(store.hand_over(term, runs, at).await, applied),
            Self::Evict(term, node) => answer(store.evict(term, *node).await, applied),
            Self::Lost(term, ends) => answer(store.finish_lost(term, ends).await, |w| {
                w.as_deref().is_some_and(any_applied)
            }),
            Self::Prune(term, before) => answer(store.prune(term, *before, 100).await, some),
            Self::Sweep(term) => {
                // A sweep that finds nothing does not ask whether its term is over: it changes nothing either way.
                let swept = store.sweep_permits(term).await;
                answer(swept.map(Option::unwrap_or_default), |n| *n > 0)
            }
            Self::Join(node) => answer(store.join(node).await, |()| true),
            Self::Leave(node) => answer(store.leave(*node).await, |()| true),
            Self::Claim(claim) => answer(store.claim(claim).await.map(won), |w| !w.is_empty()),
            Self::Finish(ends) => answer(store.finish(ends).await, |w| any_applied(w)),
            Self::Append(logs) => answer(store.append(logs).await, |w| any_applied(w)),
            Self::Submit(all) => match store.submit(somebody(), all).await {
                // A refusal of the store's own, and nothing that the database rolled back.
                Err(Error::Contended(why)) if why.to_string().contains(DELETED) => Answer {
                    kind: Kind::Stale,
                    text: DELETED.to_owned(),
                },
                other => answer(other, |s| s.iter().any(|s| s.created)),
            },
            Self::Edit(edit) => answer(store.edit(somebody(), edit, at).await, applied),
            Self::Orphans(term, runs) => answer(store.end_orphans(term, runs, at).await, some),
            Self::Forget(term, before) => {
                answer(store.forget_deletions(term, *before, 100).await, some)
            }
            Self::Aside(term, aside) => {
                answer(set_aside(store, term.as_ref(), aside).await, applied)
            }
            Self::Release(run) => answer(release(store, *run, at).await, |r| *r == Released::Done),
            Self::Drop(run) => {
                let dropped = match number_of(store, *run).await {
                    Some(id) => store.drop_quarantined(somebody(), id).await,
                    None => Ok(Written::Stale),
                };
                answer(dropped, applied)
            }
            Self::LeaveRequest(_) | Self::Drain(..) => self.run_of_inbox(store, at).await,
            Self::Hold(_) | Self::EndHold(..) | Self::EndPause(..) => {
                self.run_of_holds(store, at).await
            }
            Self::Unblock(term, keys) => answer(store.unblock(term, keys).await, some),
            Self::Cancel(run) => answer(store.cancel(somebody(), *run, at).await, |c| {
                matches!(c, Cancel::Cancelled | Cancel::Requested)
            }),
            Self::Move(run, to) => answer(store.move_run(somebody(), *run, *to).await, |m| {
                *m == Moved::Done
            }),
        }
    }
}
