//! The leader's memory of what is to be published and what was: which message goes out now, how much room each queue
//! has, which runs to look after, which outbox rows have done their duty. Empty at the start of every term; a new
//! leader fills it from the outbox and publishes again, and claims refuse the duplicates.

pub mod group;
pub mod message;
mod pace;
pub mod routing;

pub use self::pace::{LOOK_ROWS_MAX, Pace};
#[cfg(test)]
use self::pace::{LOOK_ROWS_MIN, LOOK_WAIT_MAX, LOOK_WAIT_MIN};

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::time::Timestamp;

use crate::decide::attempt::is_past_deadline;
use crate::decide::publish::group::{Packer, Parcel, Way, may_share};
use crate::decide::publish::routing::{Route, Routes};
use crate::id::{OutboxId, RunId};
use crate::limits;
use crate::port::fire::{DueRow, ScanLimits, Waiting};
use crate::task::{HandlerSpec, QueueName, Task};
use crate::time::Monotonic;

/// A queue gets room again once this part of it is free.
const ROOM_PARTS: usize = 8;
/// Of the others, in turn.
pub const LOOK_OTHERS: usize = 64;

/// One attempt that the leader has to bring to its queue.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The run with what it carries of its own.
    pub waiting: Waiting,
    /// Its task, for the message; `None` for a run with its own handler, or whose task is gone.
    pub task: Option<Arc<Task>>,
    /// The outbox row that keeps it.
    pub row: OutboxId,
}

impl Entry {
    /// What runs: the run's own handler, or its task's.
    #[must_use]
    pub fn handler(&self) -> Option<&HandlerSpec> {
        let own = self.waiting.spec.as_ref().and_then(|s| s.handler.as_ref());
        own.or_else(|| self.task.as_ref().map(|t| &t.spec.handler))
    }

    /// What it is given: the run's own payload, or its task's.
    #[must_use]
    pub fn payload(&self) -> &serde_json::Value {
        const NOTHING: &serde_json::Value = &serde_json::Value::Null;
        let own = self.waiting.spec.as_ref().and_then(|s| s.payload.as_ref());
        own.or_else(|| self.task.as_ref().map(|t| &t.spec.payload))
            .unwrap_or(NOTHING)
    }

    /// Its task, if that says what runs.
    fn own_task(&self) -> Option<&Arc<Task>> {
        let own = self.waiting.spec.as_ref().and_then(|s| s.handler.as_ref());
        self.task.as_ref().filter(|_| own.is_none())
    }

    /// Who goes out first.
    fn order(&self) -> (Timestamp, Reverse<u8>, RunId) {
        let run = &self.waiting.run;
        (run.ready_at, Reverse(run.priority), run.id)
    }

    fn key(&self) -> (RunId, u32) {
        (self.waiting.run.id, self.waiting.run.attempt)
    }
}

#[derive(Debug)]
struct Published {
    entry: Arc<Entry>,
    way: Way,
    confirmed_at: Monotonic,
    publishes: u32,
    marked: bool,
    /// When it is published again if nobody takes it.
    again_at: Monotonic,
    /// Its place in the order of confirms.
    place: u64,
}

/// Orders what is ready: by instant, then by priority (high first), then by id.
type ReadyKey = (Timestamp, Reverse<u8>, RunId, u32);

#[derive(Debug, Default)]
pub struct Dispatch {
    /// Whether the cluster is held: then nothing is taken.
    held: bool,
    ready: BTreeMap<ReadyKey, (Arc<Entry>, u32)>,
    /// What is in `ready`, wherever it stands there: after a publish without a confirm it stands behind its instant.
    ready_keys: HashSet<(RunId, u32)>,
    publishing: HashMap<(RunId, u32), (Arc<Entry>, u32, Way)>,
    /// Who can carry out what, as far as is known.
    routes: Arc<Routes>,
    /// Due, and nobody living can carry them out: to be taken out of the dispatcher's hands.
    blocked: Vec<Arc<Entry>>,
    published: HashMap<(RunId, u32), Published>,
    /// What is published, in the order of confirms: those that were confirmed first are asked about first.
    confirms: BTreeMap<u64, (RunId, u32)>,
    next_place: u64,
    /// From where on the others are asked about, in turn.
    turn: u64,
    /// Queues that the last scan left rows of, for want of room.
    wants_more: HashSet<QueueName>,
    open_in_row: HashMap<OutboxId, usize>,
    in_flight: HashMap<QueueName, usize>,
    done_rows: Vec<OutboxId>,
}

/// What a look at the store means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// Published, unclaimed and not yet marked: to be marked queued.
    pub mark: Vec<(RunId, u32)>,
    /// Outbox rows whose runs were all taken: to be removed.
    pub done: Vec<OutboxId>,
}

impl Dispatch {
    /// Takes over the runs of one outbox row. A run that is in hand already (it had two timers, or was set aside and
    /// released) is not taken twice; one that is out already is published again if the next look finds it waiting.
    pub fn admit(&mut self, row: OutboxId, entries: Vec<Entry>) {
        for entry in &entries {
            if let Some(out) = self.published.get_mut(&entry.key()) {
                out.again_at = Monotonic::default();
            }
        }
        let fresh: Vec<Entry> = entries.into_iter().filter(|e| !self.has(e)).collect();
        if fresh.is_empty() {
            self.done_rows.push(row);
            return;
        }
        *self.open_in_row.entry(row).or_default() += fresh.len();
        for entry in fresh {
            let queue = entry.waiting.run.queue.clone();
            *self.in_flight.entry(queue).or_default() += 1;
            self.put_ready(Arc::new(entry), None, 0);
        }
    }

    fn has(&self, entry: &Entry) -> bool {
        let key = entry.key();
        self.publishing.contains_key(&key)
            || self.published.contains_key(&key)
            || self.ready_keys.contains(&key)
    }

    fn put_ready(&mut self, entry: Arc<Entry>, not_before: Option<Timestamp>, publishes: u32) {
        let run = &entry.waiting.run;
        let at = not_before.map_or(run.ready_at, |t| t.max(run.ready_at));
        let key = (at, Reverse(run.priority), run.id, run.attempt);
        self.ready_keys.insert(entry.key());
        self.ready.insert(key, (entry, publishes));
    }

    /// When the first ready entry is due.
    #[must_use]
    pub fn next_ready(&self) -> Option<Timestamp> {
        self.ready
            .keys()
            .next()
            .map(|key| key.0)
            .filter(|_| !self.held)
    }

    /// The cluster is held, or is not any more: then what was published meanwhile, and may have been refused, is published
    /// again. Answers whether that is news.
    pub fn hold(&mut self, held: bool, wall: Timestamp) -> bool {
        let is_news = std::mem::replace(&mut self.held, held) != held;
        if is_news && !held {
            let out: Vec<(RunId, u32)> = self.published.keys().copied().collect();
            for key in out {
                if let Some(p) = self.unpublish(&key) {
                    self.put_ready(p.entry, Some(wall), 0);
                }
            }
        }
        is_news
    }

    /// The clock went back: what was published and is to start later by now is published again then. No claim can win it
    /// before.
    pub fn start_later(&mut self, wall: Timestamp) {
        let early = self.published.iter();
        let early = early.filter(|(_, p)| p.entry.waiting.run.ready_at > wall);
        let early: Vec<(RunId, u32)> = early.map(|(key, _)| *key).collect();
        for key in early {
            if let Some(p) = self.unpublish(&key) {
                self.put_ready(p.entry, Some(wall), p.publishes);
            }
        }
    }

    /// Takes note of who can carry out what: holds for whatever is published from now on, and for what was published and
    /// is looked at.
    pub fn set_routes(&mut self, routes: Arc<Routes>) {
        self.routes = routes;
    }

    /// Who can carry out what.
    #[must_use]
    pub fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes)
    }

    fn way(&self, entry: &Entry, publishes: u32) -> Way {
        let run = &entry.waiting.run;
        let (queue, task) = (&run.queue, entry.task.as_deref());
        let route = self.routes.route_of(queue, entry.handler(), task);
        let ours = !matches!(entry.handler(), Some(HandlerSpec::External(_)) | None);
        let shares = ours && route == Route::Queue && may_share(run, publishes);
        let groups = self.routes.groups(queue).filter(|_| shares);
        Way { route, groups }
    }

    /// The entries of the next publish: due by `now`, in order, of about [`limits::PUBLISH_BATCH_MAX`] messages. Those
    /// that nobody can carry out are put aside for [`Dispatch::take_blocked`].
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Arc<Entry>> {
        let mut batch = Vec::new();
        // In parts of a message.
        let mut weight = 0;
        while !self.held
            && batch.len() < limits::PUBLISH_RUNS_MAX
            && weight < limits::PUBLISH_BATCH_MAX * limits::GROUP_RUNS_MAX
            && self.blocked.len() < limits::FINISH_ROWS_MAX
        {
            let Some(first) = self.ready.first_entry().filter(|e| e.key().0 <= now) else {
                break;
            };
            let (entry, publishes) = first.remove();
            self.ready_keys.remove(&entry.key());
            let way = self.way(&entry, publishes);
            if way.route == Route::Blocked {
                self.blocked.push(Arc::clone(&entry));
            } else {
                let most = way.groups.map_or(1, |groups| groups.most);
                weight += way.route.messages() * limits::GROUP_RUNS_MAX / most;
                batch.push(Arc::clone(&entry));
            }
            self.publishing.insert(entry.key(), (entry, publishes, way));
        }
        batch
    }

    /// Which of these share their messages, and where each goes.
    pub fn pack(&mut self, batch: &[Arc<Entry>]) -> Vec<Parcel> {
        let mut packer = Packer::default();
        for entry in batch {
            match self.publishing.get(&entry.key()).map(|(.., way)| way) {
                Some(Way {
                    groups: Some(groups),
                    ..
                }) => packer.shared(entry, *groups),
                Some(Way { route, .. }) => packer.alone(entry, route.clone()),
                None => {}
            }
        }
        packer.parcels()
    }

    /// What was due and nobody living can carry out. Answer with [`Dispatch::resolved`] once it waits in the store, or
    /// with [`Dispatch::unconfirmed`].
    pub fn take_blocked(&mut self) -> Vec<Arc<Entry>> {
        std::mem::take(&mut self.blocked)
    }

    /// The broker confirmed these.
    pub fn confirmed(&mut self, entries: &[Arc<Entry>], now: Monotonic) {
        for entry in entries {
            let Some((entry, publishes, way)) = self.publishing.remove(&entry.key()) else {
                continue;
            };
            let wait = republish_wait(publishes);
            let place = self.next_place;
            self.next_place += 1;
            self.confirms.insert(place, entry.key());
            self.published.insert(
                entry.key(),
                Published {
                    place,
                    entry,
                    way,
                    confirmed_at: now,
                    publishes: publishes + 1,
                    marked: publishes > 0,
                    again_at: now.plus(wait),
                },
            );
        }
    }

    /// The broker did not confirm these: they stay in the store and go out again after `wait`.
    pub fn unconfirmed(&mut self, entries: &[Arc<Entry>], now: Timestamp, wait: Duration) {
        for entry in entries {
            if let Some((entry, publishes, _)) = self.publishing.remove(&entry.key()) {
                self.put_ready(entry, Some(now.plus(wait)), publishes);
            }
        }
    }

    /// These are over for the dispatcher whatever the store says (an external listener has them).
    pub fn resolved(&mut self, entries: &[Arc<Entry>]) {
        for entry in entries {
            if self.publishing.remove(&entry.key()).is_some()
                || self.unpublish(&entry.key()).is_some()
            {
                self.close(entry);
            }
        }
    }

    fn close(&mut self, entry: &Entry) {
        if let Some(count) = self.in_flight.get_mut(&entry.waiting.run.queue) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.in_flight.remove(&entry.waiting.run.queue);
            }
        }
        if let Some(open) = self.open_in_row.get_mut(&entry.row) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.open_in_row.remove(&entry.row);
                self.done_rows.push(entry.row);
            }
        }
    }

    fn unpublish(&mut self, key: &(RunId, u32)) -> Option<Published> {
        let gone = self.published.remove(key)?;
        self.confirms.remove(&gone.place);
        Some(gone)
    }

    /// Which published runs to look up in the store, of those that are older than `age`: the `oldest`, and in turn some
    /// of the others, so that messages that nobody takes don't hide those behind them.
    pub fn to_check(
        &mut self,
        now: Monotonic,
        age: Duration,
        oldest: usize,
        others: usize,
    ) -> Vec<(RunId, u32)> {
        let published = &self.published;
        let is_old = |key: &(RunId, u32)| {
            published
                .get(key)
                .is_some_and(|p| now.since(p.confirmed_at) >= age)
        };
        let first = self.confirms.iter().take(oldest);
        let first: Vec<_> = first.take_while(|(_, key)| is_old(key)).collect();
        let behind = first.last().map_or(0, |(place, _)| **place + 1);
        let rest = self.confirms.range(behind.max(self.turn)..).take(others);
        let rest: Vec<_> = rest.take_while(|(_, key)| is_old(key)).collect();
        self.turn = match rest.last() {
            Some((place, _)) if rest.len() == others => **place + 1,
            _ => 0,
        };
        first.into_iter().chain(rest).map(|(_, key)| *key).collect()
    }

    /// Takes the store's answer about `checked`: those in `waiting` still wait, the others were taken. What waits and would
    /// by now be published elsewhere, for workers have come or gone, is published again at once.
    pub fn checked(
        &mut self,
        checked: &[(RunId, u32)],
        waiting: &[RunId],
        now: Monotonic,
        wall: Timestamp,
    ) -> Settled {
        let waiting: std::collections::HashSet<RunId> = waiting.iter().copied().collect();
        let mut settled = Settled::default();
        let routes = Arc::clone(&self.routes);
        for key in checked {
            if !waiting.contains(&key.0) {
                if let Some(gone) = self.unpublish(key) {
                    self.close(&gone.entry);
                }
                continue;
            }
            let Some(p) = self.published.get_mut(key) else {
                continue;
            };
            if is_past_deadline(&p.entry.waiting.run, wall) {
                // No claim can win it any more. Its deadline's timer ends it, and needs the room that it takes here.
                if let Some(gone) = self.unpublish(key) {
                    self.close(&gone.entry);
                }
                continue;
            }
            if !p.marked && now.since(p.confirmed_at) >= limits::MARK_AFTER {
                p.marked = true;
                settled.mark.push(*key);
            }
            let (queue, task) = (&p.entry.waiting.run.queue, p.entry.task.as_deref());
            let unread = p.way.groups.is_some() && routes.groups(queue).is_none();
            let moved = unread || routes.route_of(queue, p.entry.handler(), task) != p.way.route;
            if (moved || now >= p.again_at)
                && let Some(p) = self.unpublish(key)
            {
                self.put_ready(p.entry, Some(wall), p.publishes);
            }
        }
        settled.done = std::mem::take(&mut self.done_rows);
        settled
    }

    /// Rows that could not be removed this time.
    pub fn give_back(&mut self, done: Vec<OutboxId>) {
        self.done_rows.extend(done);
    }

    /// Whether rows wait to be removed though nothing needs a look.
    #[must_use]
    pub fn has_done_rows(&self) -> bool {
        !self.done_rows.is_empty()
    }

    /// Published and not yet seen taken, over all queues.
    #[must_use]
    pub fn published(&self) -> usize {
        self.published.len()
    }

    /// Takes note of a scan: which queues had more due rows than there was room for.
    pub fn scanned(&mut self, limits: &ScanLimits, rows: &[DueRow]) {
        let mut found: HashMap<&QueueName, usize> = HashMap::new();
        for row in rows {
            *found.entry(&row.key.queue).or_default() += 1;
        }
        let shut = limits.rooms.iter().filter(|(_, room)| **room == 0);
        let room = |queue| limits.rooms.get(queue).unwrap_or(&limits.default);
        let full = found.iter().filter(|(queue, n)| *n >= room(queue));
        self.wants_more = shut
            .map(|(queue, _)| queue.clone())
            .chain(full.map(|(queue, _)| (*queue).clone()))
            .collect();
    }

    /// Whether some queue waits for room that published runs hold: then the store should be asked soon who was taken.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        !self.published.is_empty() && !self.wants_more.is_empty()
    }

    /// Whether a queue that waited for room has enough of it for a scan.
    #[must_use]
    pub fn has_room_again(&self, in_flight_max: usize) -> bool {
        let room = |queue| room(in_flight_max, self.in_flight.get(queue).copied());
        self.wants_more.iter().any(|queue| room(queue) > 0)
    }

    /// How many due rows the next scan may take from each queue.
    #[must_use]
    pub fn rooms(&self, in_flight_max: usize) -> ScanLimits {
        let rooms = self
            .in_flight
            .iter()
            .map(|(q, n)| (q.clone(), room(in_flight_max, Some(*n))))
            .collect();
        ScanLimits {
            default: in_flight_max,
            rooms,
        }
    }
}

/// The room of a queue. Less than an eighth is none: firings of a few rows each cost as much as large ones.
fn room(in_flight_max: usize, in_flight: Option<usize>) -> usize {
    let room = in_flight_max.saturating_sub(in_flight.unwrap_or(0));
    if room < in_flight_max / ROOM_PARTS {
        0
    } else {
        room
    }
}

/// The wait before publish number `publishes + 2`: doubles from [`limits::REPUBLISH_INITIAL`].
#[must_use]
pub fn republish_wait(publishes: u32) -> Duration {
    limits::REPUBLISH_INITIAL
        .saturating_mul(1_u32.checked_shl(publishes).unwrap_or(u32::MAX))
        .min(limits::REPUBLISH_MAX)
}

#[cfg(test)]
#[path = "../../tests/decide/publish_tests.rs"]
mod tests;
