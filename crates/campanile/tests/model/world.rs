//! The world as Stateright sees it: store, lock, mail, schedulers and workers in one value, and what it is after a step.
//! Every step is one atomic act of one party, so that delays and pauses are the order in which steps come. What can happen
//! next is in `actions`, what is right or wrong about a world in `properties`.

use std::sync::Arc;

use campanile::id::RunId;
use campanile::protocol::permits::Rules;
use campanile::protocol::plan::Compiled;
use campanile::protocol::work::{DueKey, Finish, Fired, Owner, Term};
use campanile::task::QueueName;
use campanile_schedule::time::Timestamp;
use stateright::{Model, Property};

use super::actions::Action;
use super::bounds::{Bounds, Guards, TASK, occurrence, tick};
use super::properties::{self, Broken};
use super::scheduler::{Scheduler, Stage, looks_present};
use super::store::Store;
use super::worker::{Way, Worker};
use super::zones::Zones;

/// What is the same in every world of one check.
#[derive(Debug, Clone)]
pub struct Scene {
    pub bounds: Bounds,
    pub guards: Guards,
    pub rules: Rules,
    tasks: [Arc<Compiled>; 2],
}

impl Scene {
    pub fn new(bounds: Bounds, guards: Guards) -> Self {
        let tasks = [bounds.compile(false), bounds.compile(true)];
        let rules = bounds.rules();
        Self {
            bounds,
            guards,
            rules,
            tasks,
        }
    }

    /// The task as of this value of the edit counter.
    pub fn task(&self, edits: i64) -> &Arc<Compiled> {
        &self.tasks[usize::from(edits > 0)]
    }
}

/// A message at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Message {
    pub run: RunId,
    pub attempt: u32,
}

/// Attempts whose handlers were started, in order.
pub type Starts = Vec<(RunId, u32)>;

/// All of the world at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub clock: u8,
    pub store: Store,
    /// Which scheduler has the lock.
    pub lock: Option<usize>,
    pub schedulers: Vec<Scheduler>,
    pub workers: Vec<Worker>,
    /// What the broker holds, sorted.
    pub mail: Vec<Message>,
    pub starts: Starts,
    pub left: super::bounds::Left,
    /// What the step that led here broke.
    pub broken: Broken,
}

impl World {
    /// When decisions about ends are made.
    pub fn early(&self) -> Timestamp {
        tick(self.clock)
    }

    /// When scans and claims read the store's clock: a back-off that began in this tick is over.
    pub fn late(&self) -> Timestamp {
        self.early().plus(std::time::Duration::from_millis(500))
    }
}

/// Takes one from a budget.
fn spend(left: &mut u8) {
    *left = left.saturating_sub(1);
}

impl Scene {
    /// The world after an action; `None` if nothing happens.
    pub fn step(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        world.broken = Broken::default();
        let done = match action {
            Action::Elect(n)
            | Action::FindLockLost(n)
            | Action::LoseBelief(n)
            | Action::Recover(n) => self.election_step(&mut world, n, action),
            Action::Plan(n)
            | Action::Fire(n)
            | Action::FireInDoubt(n)
            | Action::Publish(n, _)
            | Action::Look(n)
            | Action::MarkSent(n)
            | Action::Bury(n, _)
            | Action::SeekOrphans(n)
            | Action::EndLost(n)
            | Action::WakeStranded(n)
            | Action::MoveZones(n) => {
                let term = world.schedulers[n].leads()?;
                let done = self.leader_step(&mut world, n, &term, action);
                // Whatever a leader's step has changed, its term was the store's.
                let written = world.store != last.store;
                world.broken.note_write(&last.store, &term, written);
                done
            }
            _ => self.outer_step(&mut world, action),
        };
        if !done {
            return None;
        }
        properties::judge(self, last, &mut world);
        Some(world)
    }

    fn election_step(&self, world: &mut World, n: usize, action: Action) -> bool {
        let node = &mut world.schedulers[n];
        match action {
            Action::Recover(_) => node.recover(self, &world.store),
            Action::LoseBelief(_) => {
                spend(&mut world.left.stops);
                node.lose_belief(n, &mut world.lock);
            }
            Action::FindLockLost(_) => node.find_lock_lost(n, &mut world.lock),
            _ => return node.elect(n, self, &mut world.store, &mut world.lock),
        }
        true
    }

    fn leader_step(&self, world: &mut World, n: usize, term: &Term, action: Action) -> bool {
        let (early, late) = (world.early(), world.late());
        let node = &mut world.schedulers[n];
        let (store, guards) = (&mut world.store, &self.guards);
        match action {
            Action::Plan(_) if !looks_present(term, store, guards) => {
                node.guarded(n, false, &mut world.lock);
            }
            Action::Plan(_) => return node.plan(term, self, store, late),
            Action::Fire(_) => return self.fire(world, n, term, true),
            Action::FireInDoubt(_) => return self.fire(world, n, term, false),
            Action::Publish(_, entry) => return self.publish(world, n, entry),
            Action::Look(_) => return node.look(self, store),
            Action::MarkSent(_) => {
                let marks = std::mem::take(&mut node.memory.marks);
                let done = std::mem::take(&mut node.memory.done);
                let written = store.mark_sent(term, &marks, early, &done, guards);
                node.guarded(n, written.is_applied(), &mut world.lock);
            }
            Action::Bury(_, w) => {
                let worker = &world.workers[w];
                let holds = store.holds(term, guards) || !guards.burial_is_fenced;
                if holds {
                    store.living.retain(|id| *id != worker.node);
                    node.memory.sweep = true;
                    if worker.up {
                        spend(&mut world.left.zombies);
                    }
                }
                node.guarded(n, holds, &mut world.lock);
            }
            Action::SeekOrphans(_) => return node.seek_orphans(self, store, early),
            Action::MoveZones(_) => node.move_zones(n, term, self, store, &mut world.lock),
            Action::EndLost(_) => {
                let Some(ends) = node.memory.ends.take() else {
                    return false;
                };
                let holds = store.holds(term, guards) || !guards.lost_end_is_fenced;
                node.guarded(n, holds, &mut world.lock);
                for end in ends.0.iter().filter(|_| holds) {
                    self.finish(world, end);
                }
            }
            _ => {
                if !store.holds(term, guards) {
                    node.guarded(n, false, &mut world.lock);
                    return true;
                }
                return store.sweep_permits();
            }
        }
        true
    }

    fn fire(&self, world: &mut World, n: usize, term: &Term, told: bool) -> bool {
        let node = &mut world.schedulers[n];
        let Some(pending) = node.memory.pending.take() else {
            return false;
        };
        let firing = &pending.0;
        let store = &mut world.store;
        let present = firing.edits == store.edits;
        let fired = store.fire(term, firing, &self.guards);
        let applied = fired == Fired::Applied;
        world.broken.note_edits(!applied || present);
        if !told {
            spend(&mut world.left.doubts);
            if self.guards.doubt_ends_term {
                node.guarded(n, false, &mut world.lock);
            }
            return true;
        }
        if applied {
            node.fired(firing);
        }
        node.guarded(n, fired != Fired::Fenced, &mut world.lock);
        true
    }

    fn finish(&self, world: &mut World, end: &Finish) {
        let row = world.store.run(end.run).cloned();
        let written = world.store.finish(end, &self.guards);
        world.broken.note_end(row.as_deref(), end, written);
    }

    /// A message goes out. One that the broker still holds is not sent beside itself: that is `Duplicate`.
    fn publish(&self, world: &mut World, n: usize, entry: usize) -> bool {
        let memory = &mut world.schedulers[n].memory;
        let on_desk = &mut memory.desk[entry];
        let message = Message {
            run: on_desk.run,
            attempt: on_desk.attempt,
        };
        let again = on_desk.stage != Stage::Ready;
        // Again means after a minute without news: whoever was taken has been seen by then.
        let taken = !world.store.waits(message.run, message.attempt);
        if world.mail.contains(&message) || (again && (!self.guards.republish || taken)) {
            return false;
        }
        if !again {
            on_desk.stage = Stage::Published;
        }
        let row = on_desk.row;
        world.mail.push(message);
        world.mail.sort_unstable();
        let of_row = |e: &&super::scheduler::OnDesk| e.row == row;
        let all_out = memory
            .desk
            .iter()
            .filter(of_row)
            .all(|e| e.stage != Stage::Ready);
        if all_out && !self.guards.outbox_waits_for_claims && !memory.done.contains(&row) {
            memory.done.push(row);
        }
        true
    }

    fn outer_step(&self, world: &mut World, action: Action) -> bool {
        let (early, late) = (world.early(), world.late());
        match action {
            Action::Tick => world.clock += 1,
            Action::LockExpires => {
                world.lock = None;
                spend(&mut world.left.expiries);
            }
            Action::Lose(place) => {
                world.mail.remove(place);
                spend(&mut world.left.losses);
            }
            Action::Duplicate(place) => {
                world.mail.insert(place, world.mail[place]);
                spend(&mut world.left.duplicates);
            }
            Action::Claim(w, place) => {
                let message = world.mail.remove(place);
                let (worker, starts) = (&mut world.workers[w], &mut world.starts);
                worker.claim(message, self, &mut world.store, late, starts);
            }
            Action::ClaimUnanswered(w, place) => {
                spend(&mut world.left.unanswered_claims);
                let message = world.mail.remove(place);
                world.workers[w].doubt(message);
            }
            Action::ClaimArrives(w) => world.workers[w].arrive(self, &mut world.store, late),
            Action::Withdraw(w) => {
                let Some(end) = world.workers[w].withdraw(early, &self.guards) else {
                    return false;
                };
                self.finish(world, &end);
            }
            Action::Start(w, place) => world.workers[w].start(place, &mut world.starts),
            Action::Refuse(w, place) => {
                spend(&mut world.left.refusals);
                let end = world.workers[w].refuse(place, self, &world.store, early);
                self.finish(world, &end);
                world.workers[w].hand.remove(place);
            }
            Action::End(w, place, way) => {
                match way {
                    Way::Fails => spend(&mut world.left.failures),
                    Way::IsDrained => spend(&mut world.left.leaves),
                    Way::Succeeds | Way::IsCancelled => {}
                }
                let end = world.workers[w].end(place, way, self, &world.store, early);
                self.finish(world, &end);
                world.workers[w].hand.remove(place);
            }
            Action::EndUnanswered(w, place) => {
                spend(&mut world.left.unanswered_ends);
                let end = world.workers[w].end(place, Way::Succeeds, self, &world.store, early);
                self.finish(world, &end);
            }
            Action::Leave(w) => leave(world, w),
            Action::Die(w) => {
                spend(&mut world.left.crashes);
                world.workers[w].die();
            }
            Action::JoinAnew(w) => world.workers[w].join(&mut world.store),
            Action::Cancel(run) => {
                spend(&mut world.left.cancels);
                return world.store.cancel(run, early, &self.guards);
            }
            _ => self.edit_step(world, late, action),
        }
        true
    }

    /// Somebody changes the task, or lets it rest.
    fn edit_step(&self, world: &mut World, late: Timestamp, action: Action) {
        match action {
            Action::Pause => {
                spend(&mut world.left.pauses);
                world.store.pause(late, &self.guards);
            }
            Action::Resume => world.store.resume(self, late),
            _ => {
                spend(&mut world.left.edits);
                world.store.edits += 1;
            }
        }
    }
}

impl Model for Scene {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let workers: Vec<Worker> = (0..self.bounds.workers).map(Worker::new).collect();
        let mut store = Store {
            living: workers.iter().map(|w| w.node).collect(),
            zones: if self.bounds.zones {
                Zones::begin()
            } else {
                Zones::default()
            },
            ..Store::default()
        };
        store.due.insert(DueKey {
            queue: QueueName::default(),
            at: occurrence(0),
            owner: Owner::Task(campanile::id::TaskId::from_i64(TASK)),
        });
        let mut world = World {
            clock: self.bounds.first_tick,
            store,
            lock: None,
            schedulers: vec![Scheduler::default(); self.bounds.schedulers],
            workers,
            mail: Vec::new(),
            starts: Vec::new(),
            left: self.bounds.left,
            broken: Broken::default(),
        };
        if self.bounds.led {
            while world.schedulers[0].leads().is_none() {
                world.schedulers[0].begin(self, &mut world.store, &mut world.lock);
            }
        }
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for n in 0..world.schedulers.len() {
            self.scheduler_actions(world, n, actions);
        }
        for w in 0..world.workers.len() {
            self.worker_actions(world, w, actions);
        }
        self.other_actions(world, actions);
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        self.step(last, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

/// A worker's node leaves by itself.
fn leave(world: &mut World, w: usize) {
    spend(&mut world.left.leaves);
    let node = world.workers[w].node;
    world.store.living.retain(|id| *id != node);
}
