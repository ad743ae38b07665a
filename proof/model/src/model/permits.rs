//! Permits and blocked runs of the abstract store, as the memory store has them: giving out, giving back, handing on.

use std::collections::HashMap;
use std::sync::Arc;

use campanile_core::decide::attempt as transitions;
use campanile_core::decide::permits::{Blocked, Board, Held, LimitKey, Permit, Standing};
use campanile_core::id::RunId;
use campanile_core::port::fire::{DueKey, Firing, Owner};
use campanile_core::run::{Run, State};
use campanile_schedule::time::Timestamp;

use super::bounds::Guards;
use super::store::Store;

fn place(blocked: &Blocked) -> (LimitKey, u8, Timestamp, Blocked) {
    let rank = 9 - blocked.priority.min(9);
    (blocked.key.clone(), rank, blocked.ready_at, blocked.clone())
}

impl Store {
    fn standing(&self, key: &LimitKey) -> Standing {
        let state = |run| self.run(run).map_or(State::Running, |r| r.state);
        let held = self.permits.iter().filter(|p| p.key == *key);
        Standing {
            held: held
                .map(|p| Held {
                    n: p.n,
                    run: p.run,
                    state: state(p.run),
                    in_turn: self.run(p.run).is_some_and(|r| r.waits_its_turn()),
                })
                .collect(),
            blocked: u32::try_from(self.blocked_under(key).count()).unwrap(),
        }
    }

    /// What a leader reads of these limits.
    pub fn board(&self, keys: &[(LimitKey, u32)]) -> Board {
        let standings: HashMap<_, _> = keys
            .iter()
            .map(|(key, _)| (key.clone(), self.standing(key)))
            .collect();
        Board::new(standings)
    }

    pub fn is_blocked(&self, run: RunId) -> bool {
        self.blocked.iter().any(|p| p.3.run == run)
    }

    fn blocked_under(&self, key: &LimitKey) -> impl Iterator<Item = &Blocked> {
        let key = key.clone();
        self.blocked
            .iter()
            .filter(move |p| p.0 == key)
            .map(|p| &p.3)
    }

    /// Gives a run's permits back, and for each lets the first blocked run go on.
    pub fn release(&mut self, run: RunId, ended: bool, guards: &Guards) {
        if !guards.end_releases {
            return;
        }
        if ended {
            self.blocked.retain(|p| p.3.run != run);
        }
        let mine = |p: &&Permit| p.run == run && (ended || !p.key.is_kept());
        let mine: Vec<Permit> = self.permits.iter().filter(mine).cloned().collect();
        for permit in mine {
            self.permits.remove(&permit);
            if guards.release_hands_on {
                self.unpark(&permit.key, 1);
            }
        }
    }

    /// Puts the timers of the first blocked runs of a limit.
    pub fn unpark(&mut self, key: &LimitKey, most: usize) {
        let first: Vec<Blocked> = self.blocked_under(key).take(most).cloned().collect();
        for blocked in first {
            self.blocked.remove(&place(&blocked));
            self.due.insert(DueKey {
                queue: blocked.queue,
                at: blocked.ready_at,
                owner: Owner::Run(blocked.run),
            });
        }
    }

    /// Lets runs go on that nobody will ever wake. Answers whether there were any.
    pub fn sweep_permits(&mut self) -> bool {
        let keys: Vec<LimitKey> = self.blocked.iter().map(|p| p.0.clone()).collect();
        let mut any = false;
        for key in keys {
            if self.standing(&key).held.is_empty() {
                any = true;
                self.unpark(&key, usize::MAX);
            }
        }
        any
    }

    /// Whether a firing's decisions about permits still hold.
    pub fn permits_allow(&self, firing: &Firing, guards: &Guards) -> bool {
        let ends = |run: RunId| {
            firing
                .replaced
                .iter()
                .any(|r| r.run == run && !r.running && !r.kept)
                || firing.dropped.iter().any(|(dropped, ..)| *dropped == run)
        };
        let taken_here =
            |key: &LimitKey, n: u32| firing.acquired.iter().any(|p| p.key == *key && p.n == n);
        let holder =
            |key: &LimitKey, n: u32| self.permits.iter().find(|p| p.key == *key && p.n == n);
        let waits = |run: RunId| {
            firing.runs.iter().any(|new| new.id == run)
                || self
                    .live(run)
                    .is_some_and(|r| transitions::waits(r, r.attempt))
        };
        let given = firing.acquired.iter().map(|p| p.run);
        let all_wait = given.chain(firing.blocked.iter().map(|p| p.run)).all(waits);
        let replaced = firing.replaced.iter().all(|r| {
            r.kept
                || self
                    .live(r.run)
                    .is_some_and(|run| (run.state == State::Running) == r.running)
        });
        let free = firing
            .acquired
            .iter()
            .all(|p| holder(&p.key, p.n).is_none_or(|p| ends(p.run)));
        let full = firing
            .full
            .iter()
            .all(|(key, n)| taken_here(key, *n) || holder(key, *n).is_some());
        (all_wait || !guards.permits_demand_waiting)
            && (replaced || !guards.replace_demands_state)
            && (free || !guards.permit_is_unique)
            && (full || !guards.park_demands_holders)
    }

    /// Carries out what a firing says about permits, which [`Store::permits_allow`] has allowed.
    pub fn fire_permits(&mut self, firing: &Firing, guards: &Guards) {
        let at = firing.at;
        for replaced in &firing.replaced {
            let spared = |run: RunId| {
                let run = self.live(run);
                guards.turns_are_kept && run.is_some_and(|r| r.waits_its_turn())
            };
            let behind = self.blocked_under(&replaced.key).map(|p| p.run);
            let mut ended: Vec<RunId> = behind.filter(|run| !spared(*run)).collect();
            ended.extend((!replaced.kept).then_some(replaced.run));
            for run in ended {
                if let Some(run) = self.live(run).and_then(|r| transitions::replace(r, at)) {
                    self.settle(run, guards);
                }
            }
        }
        for (run, attempt, reason) in &firing.dropped {
            let run = self.live(*run);
            let drop = |run: &Arc<Run>| transitions::drop_waiting(run, *attempt, *reason, at);
            if let Some(run) = run.and_then(drop) {
                self.settle(run, guards);
            }
        }
        for permit in &firing.acquired {
            self.permits.insert(permit.clone());
            self.mark_limited(permit.run);
        }
        for blocked in &firing.blocked {
            self.mark_limited(blocked.run);
            self.blocked.insert(place(blocked));
        }
    }

    fn mark_limited(&mut self, run: RunId) {
        let limited = self.live(run).map(|run| Run {
            limited: true,
            ..Run::clone(run)
        });
        if let Some(run) = limited {
            self.settle(run, &Guards::default());
        }
    }
}
