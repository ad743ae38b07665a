//! The leader's memory of what is to be published and what was: which message goes out now, how much room each queue
//! has, which runs to look after, which outbox rows have done their duty. Empty at the start of every term; a new
//! leader fills it from the outbox and publishes again, and claims refuse the duplicates.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::limits;
use super::work::{ScanLimits, Waiting};
use crate::id::{OutboxId, RunId};
use crate::task::{HandlerSpec, QueueName, Task};
use crate::time::{Monotonic, Timestamp};

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

    fn key(&self) -> (RunId, u32) {
        (self.waiting.run.id, self.waiting.run.attempt)
    }
}

#[derive(Debug)]
struct Published {
    entry: Arc<Entry>,
    confirmed_at: Monotonic,
    publishes: u32,
    marked: bool,
    /// When it is published again if nobody takes it.
    again_at: Monotonic,
}

/// Orders what is ready: by instant, then by priority (high first), then by id.
type ReadyKey = (Timestamp, Reverse<u8>, RunId);

/// The memory.
#[derive(Debug, Default)]
pub struct Dispatch {
    ready: BTreeMap<ReadyKey, (Arc<Entry>, u32)>,
    publishing: HashMap<(RunId, u32), (Arc<Entry>, u32)>,
    published: HashMap<(RunId, u32), Published>,
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
    /// Takes over the runs of one outbox row. A run that is in hand already (it had two timers) is not taken twice.
    pub fn admit(&mut self, row: OutboxId, entries: Vec<Entry>) {
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
        let run = &entry.waiting.run;
        self.publishing.contains_key(&entry.key())
            || self.published.contains_key(&entry.key())
            || self
                .ready
                .contains_key(&(run.ready_at, Reverse(run.priority), run.id))
    }

    fn put_ready(&mut self, entry: Arc<Entry>, not_before: Option<Timestamp>, publishes: u32) {
        let run = &entry.waiting.run;
        let at = not_before.map_or(run.ready_at, |t| t.max(run.ready_at));
        self.ready
            .insert((at, Reverse(run.priority), run.id), (entry, publishes));
    }

    /// When the first ready entry is due.
    #[must_use]
    pub fn next_ready(&self) -> Option<Timestamp> {
        self.ready.keys().next().map(|(at, _, _)| *at)
    }

    /// The entries of the next publish: due by `now`, in order, at most [`limits::PUBLISH_BATCH_MAX`].
    pub fn take_due(&mut self, now: Timestamp) -> Vec<Arc<Entry>> {
        let mut batch = Vec::new();
        while batch.len() < limits::PUBLISH_BATCH_MAX {
            let Some(first) = self.ready.first_entry().filter(|e| e.key().0 <= now) else {
                break;
            };
            let (entry, publishes) = first.remove();
            self.publishing
                .insert(entry.key(), (Arc::clone(&entry), publishes));
            batch.push(entry);
        }
        batch
    }

    /// The broker confirmed these.
    pub fn confirmed(&mut self, entries: &[Arc<Entry>], now: Monotonic) {
        for entry in entries {
            let Some((entry, publishes)) = self.publishing.remove(&entry.key()) else {
                continue;
            };
            let wait = republish_wait(publishes);
            self.published.insert(
                entry.key(),
                Published {
                    entry,
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
            if let Some((entry, publishes)) = self.publishing.remove(&entry.key()) {
                self.put_ready(entry, Some(now.plus(wait)), publishes);
            }
        }
    }

    /// These are over for the dispatcher whatever the store says (an external listener has them).
    pub fn resolved(&mut self, entries: &[Arc<Entry>]) {
        for entry in entries {
            if self.publishing.remove(&entry.key()).is_some()
                || self.published.remove(&entry.key()).is_some()
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

    /// Which published runs to look up in the store: those older than `age`, oldest first, at most `max`.
    #[must_use]
    pub fn to_check(&self, now: Monotonic, age: Duration, max: usize) -> Vec<(RunId, u32)> {
        let old = self
            .published
            .iter()
            .filter(|(_, p)| now.since(p.confirmed_at) >= age);
        let mut keys: Vec<_> = old.map(|(k, p)| (p.confirmed_at, *k)).collect();
        keys.sort_unstable();
        keys.truncate(max);
        keys.into_iter().map(|(_, k)| k).collect()
    }

    /// Takes the store's answer about `checked`: those in `waiting` still wait, the others were taken.
    pub fn checked(
        &mut self,
        checked: &[(RunId, u32)],
        waiting: &[RunId],
        now: Monotonic,
        wall: Timestamp,
    ) -> Settled {
        let waiting: std::collections::HashSet<RunId> = waiting.iter().copied().collect();
        let mut settled = Settled::default();
        for key in checked {
            if !waiting.contains(&key.0) {
                if let Some(gone) = self.published.remove(key) {
                    self.close(&gone.entry);
                }
                continue;
            }
            let Some(p) = self.published.get_mut(key) else {
                continue;
            };
            if !p.marked && now.since(p.confirmed_at) >= limits::MARK_AFTER {
                p.marked = true;
                settled.mark.push(*key);
            }
            if now >= p.again_at
                && let Some(p) = self.published.remove(key)
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

    /// Whether some queue has so little room that the store should be asked at once who was taken.
    #[must_use]
    pub fn is_tight(&self, in_flight_max: usize) -> bool {
        !self.published.is_empty() && self.in_flight.values().any(|n| *n * 2 >= in_flight_max)
    }

    /// How many due rows the next scan may take from each queue.
    #[must_use]
    pub fn rooms(&self, in_flight_max: usize) -> ScanLimits {
        let rooms = self
            .in_flight
            .iter()
            .map(|(q, n)| (q.clone(), in_flight_max.saturating_sub(*n)))
            .collect();
        ScanLimits {
            default: in_flight_max,
            rooms,
        }
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
mod tests {
    use super::*;
    use crate::protocol::run as transitions;

    fn entry(id: i64, ready_ms: i64, priority: u8, row: i64) -> Entry {
        let spec = serde_json::from_value(serde_json::json!({
            "name": "t", "handler": {"native": "noop"}, "priority": priority,
        }))
        .unwrap();
        let run = transitions::request(
            RunId::from_i64(id),
            None,
            &spec,
            Timestamp::from_ms(ready_ms),
        );
        Entry {
            waiting: Waiting { run, spec: None },
            task: None,
            row: OutboxId::from_i64(row),
        }
    }

    fn ids(batch: &[Arc<Entry>]) -> Vec<i64> {
        batch.iter().map(|e| e.waiting.run.id.as_i64()).collect()
    }

    #[test]
    fn due_entries_go_out_by_instant_then_priority_and_never_early() {
        let mut d = Dispatch::default();
        d.admit(
            OutboxId::from_i64(1),
            vec![
                entry(1, 50, 4, 1),
                entry(2, 50, 9, 1),
                entry(3, 40, 0, 1),
                entry(4, 90, 9, 1),
            ],
        );
        assert_eq!(d.next_ready(), Some(Timestamp::from_ms(40)));
        assert!(d.take_due(Timestamp::from_ms(39)).is_empty());
        assert_eq!(ids(&d.take_due(Timestamp::from_ms(60))), vec![3, 2, 1]);
    }

    #[test]
    fn a_row_is_done_when_all_its_runs_were_taken_and_room_comes_back() {
        let mut d = Dispatch::default();
        d.admit(
            OutboxId::from_i64(7),
            vec![entry(1, 0, 4, 7), entry(2, 0, 4, 7)],
        );
        let queue = QueueName::default();
        assert_eq!(d.rooms(10).rooms[&queue], 8);
        let batch = d.take_due(Timestamp::from_ms(0));
        d.confirmed(&batch, Monotonic::from_ms(0));
        let now = Monotonic::from_ms(1_500);
        let check = d.to_check(now, limits::MARK_AFTER, 100);
        let settled = d.checked(
            &check,
            &[RunId::from_i64(2)],
            now,
            Timestamp::from_ms(1_500),
        );
        assert_eq!(
            settled,
            Settled {
                mark: vec![(RunId::from_i64(2), 1)],
                done: vec![]
            }
        );
        let settled = d.checked(&check, &[], now, Timestamp::from_ms(1_600));
        assert_eq!(settled.done, vec![OutboxId::from_i64(7)]);
        assert!(d.rooms(10).rooms.is_empty());
    }

    #[test]
    fn what_was_not_confirmed_or_not_taken_goes_out_again_with_a_growing_wait() {
        let mut d = Dispatch::default();
        d.admit(OutboxId::from_i64(1), vec![entry(1, 0, 4, 1)]);
        let batch = d.take_due(Timestamp::from_ms(0));
        d.unconfirmed(&batch, Timestamp::from_ms(5), Duration::from_millis(100));
        assert!(d.take_due(Timestamp::from_ms(104)).is_empty());
        let batch = d.take_due(Timestamp::from_ms(105));
        d.confirmed(&batch, Monotonic::from_ms(105));
        let late = Monotonic::from_ms(105).plus(limits::REPUBLISH_INITIAL);
        let check = d.to_check(late, limits::MARK_AFTER, 100);
        let _ = d.checked(
            &check,
            &[RunId::from_i64(1)],
            late,
            Timestamp::from_ms(60_105),
        );
        assert_eq!(ids(&d.take_due(Timestamp::from_ms(60_105))), vec![1]);
        assert_eq!(republish_wait(1), limits::REPUBLISH_INITIAL * 2);
        assert_eq!(republish_wait(40), limits::REPUBLISH_MAX);
    }
}
