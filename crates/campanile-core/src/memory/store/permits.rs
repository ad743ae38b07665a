//! Permits and blocked runs of the memory store: giving out, giving back, handing on.

use std::collections::{BTreeMap, HashMap};

use campanile_schedule::time::Timestamp;

use super::Tables;
use crate::decide::attempt as transitions;
use crate::decide::permits::{Blocked, Held, LimitKey, Standing};
use crate::id::RunId;
use crate::port::fire::{DueKey, Firing, Owner};
use crate::port::store::Error;
use crate::run::{Run, State};

/// The order in which blocked runs of one limit go on.
pub(super) type Place = (LimitKey, u8, Timestamp, RunId);

/// Blocked runs in their order.
pub(super) type BlockedRuns = BTreeMap<Place, Blocked>;

fn place(blocked: &Blocked) -> Place {
    let rank = 9 - blocked.priority.min(9);
    (blocked.key.clone(), rank, blocked.ready_at, blocked.run)
}

impl Tables {
    pub(super) fn standing(&self, key: &LimitKey) -> Standing {
        let held = self
            .permits
            .range((key.clone(), 0)..=(key.clone(), u32::MAX));
        let held = held.map(|((_, n), run)| Held {
            n: *n,
            run: *run,
            state: self.live.get(run).map_or(State::Running, |r| r.state),
            in_turn: self.live.get(run).is_some_and(Run::waits_its_turn),
        });
        Standing {
            held: held.collect(),
            blocked: u32::try_from(self.blocked_under(key).len()).unwrap_or(u32::MAX),
        }
    }

    /// Whether a run waits for a permit.
    pub(super) fn is_blocked(&self, run: RunId) -> bool {
        self.blocked.values().any(|p| p.run == run)
    }

    fn blocked_under(&self, key: &LimitKey) -> Vec<Blocked> {
        let of_key = self.blocked.values().filter(|p| p.key == *key);
        of_key.cloned().collect()
    }

    /// Gives a run's permits back, and for each lets the first blocked run go on. One that goes on itself keeps what
    /// [`LimitKey::is_kept`] says; one that has ended waits for nothing.
    pub(super) fn release(&mut self, run: RunId, ended: bool) {
        if ended {
            self.blocked.retain(|_, p| p.run != run);
        }
        let mine = self.permits.iter().filter(|(_, holder)| **holder == run);
        let mine: Vec<_> = mine.map(|(permit, _)| permit.clone()).collect();
        for permit in mine.into_iter().filter(|(key, _)| ended || !key.is_kept()) {
            self.permits.remove(&permit);
            self.unpark(&permit.0, 1);
        }
    }

    /// Puts the timers of the first blocked runs of a limit.
    pub(super) fn unpark(&mut self, key: &LimitKey, most: usize) -> usize {
        let first: Vec<Place> = self
            .blocked
            .keys()
            .filter(|place| place.0 == *key)
            .take(most)
            .cloned()
            .collect();
        for place in &first {
            if let Some(blocked) = self.blocked.remove(place) {
                self.due.insert(DueKey {
                    queue: blocked.queue,
                    at: blocked.ready_at,
                    owner: Owner::Run(blocked.run),
                });
            }
        }
        first.len()
    }

    /// How many runs wait for somebody who can carry them out.
    pub(super) fn blocked(&self) -> Vec<(LimitKey, u64)> {
        let mut counts: BTreeMap<LimitKey, u64> = BTreeMap::new();
        let blocked = self.blocked.values().filter(|p| p.key.is_ability());
        for blocked in blocked {
            *counts.entry(blocked.key.clone()).or_default() += 1;
        }
        counts.into_iter().collect()
    }

    /// Lets runs go on that nobody will ever wake. (No program but this one ends runs here, so no permit is left over.)
    pub(super) fn sweep_permits(&mut self) -> usize {
        let mut counts: HashMap<LimitKey, usize> = HashMap::new();
        for blocked in self.blocked.values().filter(|p| !p.key.is_ability()) {
            *counts.entry(blocked.key.clone()).or_default() += 1;
        }
        let stranded = counts
            .into_keys()
            .filter(|key| self.standing(key).held.is_empty());
        let stranded: Vec<LimitKey> = stranded.collect();
        stranded
            .iter()
            .map(|key| self.unpark(key, usize::MAX))
            .sum()
    }

    /// Whether the runs whose timers a firing consumes wait at the attempts that it saw, if they wait.
    pub(super) fn waits_as_seen(&self, firing: &Firing) -> bool {
        firing.consumed.iter().all(|key| match key.owner {
            Owner::Run(id) => self.live.get(&id).is_none_or(|run| {
                let waits = transitions::waits(run, run.attempt);
                !waits || firing.seen.contains(&(id, run.attempt))
            }),
            Owner::Task(_) => true,
        })
    }

    /// Whether a firing's decisions about permits still hold.
    pub(super) fn permits_allow(&self, firing: &Firing) -> bool {
        let ends = |run: RunId| {
            firing
                .replaced
                .iter()
                .any(|r| r.run == run && !r.running && !r.kept)
                || firing.dropped.iter().any(|(dropped, ..)| *dropped == run)
        };
        let taken_here =
            |key: &LimitKey, n: u32| firing.acquired.iter().any(|p| p.key == *key && p.n == n);
        // A run that was cancelled since the scan would keep for ever what it is given now.
        let waits = |run: RunId| {
            firing.runs.iter().any(|new| new.id == run)
                || self
                    .live
                    .get(&run)
                    .is_some_and(|r| transitions::waits(r, r.attempt))
        };
        let given = firing.acquired.iter().map(|p| p.run);
        let all_wait = given.chain(firing.blocked.iter().map(|p| p.run)).all(waits);
        let replaced = firing.replaced.iter().all(|r| {
            let state = self.live.get(&r.run).map(|run| run.state);
            r.kept || state.is_some_and(|s| (s == State::Running) == r.running)
        });
        let free = firing.acquired.iter().all(|p| {
            let holder = self.permits.get(&(p.key.clone(), p.n));
            holder.is_none_or(|holder| ends(*holder))
        });
        let full = firing
            .full
            .iter()
            .all(|(key, n)| taken_here(key, *n) || self.permits.contains_key(&(key.clone(), *n)));
        all_wait && replaced && free && full
    }

    /// Carries out what a firing says about permits, which [`Tables::permits_allow`] has allowed.
    pub(super) fn fire_permits(&mut self, firing: &Firing) -> Result<(), Error> {
        let at = firing.at;
        for replaced in &firing.replaced {
            let behind = self.blocked_under(&replaced.key).into_iter().map(|p| p.run);
            let goes = |run: &RunId| self.live.get(run).is_some_and(|r| !r.waits_its_turn());
            let mut ended: Vec<RunId> = behind.filter(goes).collect();
            ended.extend((!replaced.kept).then_some(replaced.run));
            for run in ended {
                if let Some(run) = self
                    .live
                    .get(&run)
                    .and_then(|r| transitions::replace(r, at))
                {
                    self.settle(run)?;
                }
            }
        }
        for (run, attempt, reason) in &firing.dropped {
            let dropped = self.live.get(run);
            let drop = |run| transitions::drop_waiting(run, *attempt, *reason, at);
            if let Some(run) = dropped.and_then(drop) {
                self.settle(run)?;
            }
        }
        for permit in &firing.acquired {
            self.permits
                .insert((permit.key.clone(), permit.n), permit.run);
            self.mark_limited(permit.run);
        }
        for blocked in &firing.blocked {
            self.mark_limited(blocked.run);
            self.blocked.insert(place(blocked), blocked.clone());
        }
        Ok(())
    }

    fn mark_limited(&mut self, run: RunId) {
        if let Some(run) = self.live.get_mut(&run) {
            run.limited = true;
        }
    }
}
