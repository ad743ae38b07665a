//! Which runs share a message to our own workers, and what a worker does with one: a group holds no more than an eighth of
//! what its smallest reader has room for, and what a reader has no slot for is offered again at once, each run alone. Pure.
//!
//! Groups have a destination of their own, on which no older program listens; a queue on which one does has none.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::decide::publish::Entry;
use crate::decide::publish::routing::{Need, Route};
use crate::id::RunId;
use crate::limits;
use crate::run::Run;
use crate::task::{QueueName, Task};

/// A group holds at most this part of a worker's slots: else the last ones would be filled by splitting alone.
const GROUP_PARTS: usize = 8;

/// An attempt, as a message offers it.
pub type Offer = (RunId, u32);

/// What the workers of one queue can be given together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// Runs of one message.
    pub most: usize,
    /// Who shares the messages.
    pub workers: usize,
}

impl Groups {
    /// With one more worker, who works on so many queues.
    #[must_use]
    pub fn and(self, slots: usize, queues: usize) -> Self {
        Self {
            most: self.most.min(most_of(slots, queues)),
            workers: self.workers + 1,
        }
    }

    /// How many of `count` runs share a message: every worker gets a part of them.
    #[must_use]
    pub fn size(self, count: usize) -> usize {
        count.div_ceil(self.workers.max(1)).clamp(1, self.most)
    }
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            most: limits::GROUP_RUNS_MAX,
            workers: 0,
        }
    }
}

/// The largest group that a worker with so many slots is sent; 1 = none.
#[must_use]
pub fn most_of(slots: usize, queues: usize) -> usize {
    (slots / queues.max(1) / GROUP_PARTS).clamp(1, limits::GROUP_RUNS_MAX)
}

/// Where an entry is published to, and with how many others at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    pub route: Route,
    pub groups: Option<Groups>,
}

/// How many messages of up to `most` runs a worker with so many free slots asks the broker for: half of the slots, so
/// that another worker may have what comes next, and one at least.
#[must_use]
pub fn credit(free: usize, most: usize) -> usize {
    let runs = free.div_ceil(2).min(limits::CLAIM_ROWS_MAX);
    (runs / most.max(1)).max(1)
}

/// Whether a run may share its message: its first attempt, without permits, that was not published before.
#[must_use]
pub const fn may_share(run: &Run, publishes: u32) -> bool {
    run.attempt == 1 && !run.limited && publishes == 0
}

/// What goes out as one message, or as one to each lane of its route.
#[derive(Debug, Clone)]
pub struct Parcel {
    pub entries: Vec<Arc<Entry>>,
    pub route: Route,
    /// What all of a group's runs need of a worker; `None` = it is no group.
    pub group: Option<String>,
}

/// What must be the same for runs to share a message: queue, priority and need.
type Kind = (QueueName, u8, String);

/// Sorts what is taken out into parcels.
#[derive(Debug, Default)]
pub struct Packer {
    parcels: Vec<Parcel>,
    kinds: HashMap<Kind, usize>,
    shared: Vec<(Groups, String, Vec<Arc<Entry>>)>,
    /// Where the last run of a task went: others of it come behind it.
    last: Option<(Arc<Task>, usize)>,
}

impl Packer {
    /// A run that has its message to itself.
    pub fn alone(&mut self, entry: &Arc<Entry>, route: Route) {
        self.parcels.push(Parcel {
            entries: vec![Arc::clone(entry)],
            route,
            group: None,
        });
    }

    /// A run that shares its message with others of its kind.
    pub fn shared(&mut self, entry: &Arc<Entry>, groups: Groups) {
        let place = self.beside_last(entry);
        let place = place.unwrap_or_else(|| self.place(entry, groups));
        let task = entry.own_task().map(Arc::clone);
        self.last = task.map(|task| (task, place));
        self.shared[place].2.push(Arc::clone(entry));
    }

    fn beside_last(&self, entry: &Entry) -> Option<usize> {
        let (task, place) = self.last.as_ref()?;
        let (run, first) = (&entry.waiting.run, self.shared[*place].2.first()?);
        let is_same = Arc::ptr_eq(task, entry.own_task()?)
            && (&run.queue, run.priority) == (&first.waiting.run.queue, first.waiting.run.priority);
        is_same.then_some(*place)
    }

    fn place(&mut self, entry: &Entry, groups: Groups) -> usize {
        let run = &entry.waiting.run;
        let need = entry.handler().and_then(Need::of);
        let need = need.map_or_else(String::new, |need| need.token());
        let kind = (run.queue.clone(), run.priority, need.clone());
        *self.kinds.entry(kind).or_insert_with(|| {
            self.shared.push((groups, need, Vec::new()));
            self.shared.len() - 1
        })
    }

    /// All of them, in the order in which their first runs go out.
    #[must_use]
    pub fn parcels(self) -> Vec<Parcel> {
        let mut parcels = self.parcels;
        for (groups, need, entries) in self.shared {
            let size = groups.size(entries.len());
            parcels.extend(entries.chunks(size).map(|some| Parcel {
                entries: some.to_vec(),
                route: Route::Queue,
                group: (some.len() > 1).then(|| need.clone()),
            }));
        }
        parcels.sort_by_key(|parcel| parcel.entries.first().map(|first| first.order()));
        parcels
    }
}

/// What a worker does with what it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Share {
    /// To be claimed: no more than there are free slots.
    pub claim: Vec<Offer>,
    /// Messages that are acknowledged, by their places, once the claim and what is offered again have gone out.
    pub settled: Vec<usize>,
    /// Of one message that was taken in part: offered again, each alone, before that one is acknowledged.
    pub again: Vec<Offer>,
    /// Which message that is.
    pub split: Option<usize>,
    /// Whether whole messages are left: the broker gives them to others.
    pub left: bool,
}

/// Takes of messages, in their order, what fits into `free` slots. What two of them offer is claimed once.
#[must_use]
pub fn share(messages: &[Vec<Offer>], free: usize) -> Share {
    let mut share = Share::default();
    let mut seen = BTreeSet::new();
    for (place, offers) in messages.iter().enumerate() {
        if share.claim.len() == free {
            share.left = true;
            continue;
        }
        for offer in offers.iter().filter(|offer| seen.insert(**offer)) {
            if share.claim.len() < free {
                share.claim.push(*offer);
            } else {
                share.again.push(*offer);
                share.split = Some(place);
            }
        }
        share.settled.push(place);
    }
    share.claim.sort_unstable();
    share
}

#[cfg(test)]
#[path = "../../../tests/decide/publish/group_tests.rs"]
mod tests;
