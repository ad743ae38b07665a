//! The world as Stateright sees it: store, lock, mail, schedulers and workers in one value, and what it is after a step.
//! Every step is one atomic act of one party, so that delays and pauses are the order in which steps come. What can happen
//! next is in `actions`, what is right or wrong about a world in `properties`.

use std::sync::Arc;

use campanile_core::decide::fire::Compiled;
use campanile_core::decide::permits::Rules;
use campanile_core::id::RunId;
use campanile_core::port::attempt::Finish;
use campanile_core::port::fire::{DueKey, Fired, Owner};
use campanile_core::port::lead::Term;
use campanile_core::task::{Chain, QueueName};
use campanile_schedule::time::Timestamp;
use stateright::{Model, Property};

use super::actions::Action;
use super::bounds::{Bounds, Guards, TASK, occurrence, tick};
use super::edits::{Change, Definition, Draft};
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
    /// The definitions, edited or not, paused or not.
    tasks: [[Arc<Compiled>; 2]; 2],
    /// The instants of those, edited or not.
    instants: [Vec<Timestamp>; 2],
}

impl Scene {
    pub fn new(bounds: Bounds, guards: Guards) -> Self {
        let both = |edited| [false, true].map(|paused| bounds.compile(edited, paused));
        let tasks = [false, true].map(both);
        let instants = [false, true].map(|edited| bounds.instants(edited));
        let rules = bounds.rules();
        Self {
            bounds,
            guards,
            rules,
            tasks,
            instants,
        }
    }

    /// The task as the store has it; as it was, if it is deleted.
    pub fn task(&self, store: &Store) -> &Arc<Compiled> {
        self.definition(store.definition)
    }

    pub fn definition(&self, definition: Definition) -> &Arc<Compiled> {
        &self.tasks[usize::from(definition.edited)][usize::from(definition.paused)]
    }

    /// The instants of a definition; of a deleted one there are none.
    pub fn instants(&self, definition: Definition) -> &[Timestamp] {
        match definition.deleted {
            true => &[],
            false => &self.instants[usize::from(definition.edited)],
        }
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
    /// An edit that somebody has decided and not written yet.
    pub draft: Option<Arc<Draft>>,
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
            | Action::Evict(n, _)
            | Action::SeekOrphans(n)
            | Action::EndLost(n)
            | Action::EndOrphans(n)
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
            Action::Plan(_) if store.held && guards.scans_regard_the_hold => return false,
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
            Action::Evict(_, w) => {
                let worker = &world.workers[w];
                let holds = store.holds(term, guards) || !guards.eviction_is_fenced;
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
            Action::EndOrphans(_) => {
                let holds = store.holds(term, guards);
                node.guarded(n, holds, &mut world.lock);
                return !holds || store.end_orphans(early, guards);
            }
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
        let on_desk = &mut memory.buffer[entry];
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
            .buffer
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
                let Some(end) = world.workers[w].abandon(early, &self.guards) else {
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
                    Way::Succeeds | Way::IsCancelled | Way::IsOrphaned => {}
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
            Action::Hold | Action::EndHold => hold(world, action == Action::Hold),
            _ => self.edit_step(world, late, action),
        }
        true
    }

    /// A stale one is decided again by whoever asks again.
    fn write_edit(&self, world: &mut World, draft: &Draft, late: Timestamp) {
        let Some((term, edits)) = &draft.of_leader else {
            let _ = world.store.edit(draft, self, late);
            return;
        };
        let guarded = self.guards.pause_ends_carry_the_term;
        if guarded && !world.store.holds(term, &self.guards) || world.store.edits != *edits {
            return;
        }
        let before = world.store.clone();
        let written = world.store.edit(draft, self, late).is_applied();
        world.broken.note_write(&before, term, written);
    }

    /// Somebody decides a change of the task, or writes what was decided.
    fn edit_step(&self, world: &mut World, late: Timestamp, action: Action) {
        if let Action::EndPause(n) = action {
            // A pause's end, decided by a leader: it rests on its term and on the edit counter.
            spend(&mut world.left.pause_ends);
            let mut draft = Draft::propose(Change::Resume, self, &world.store, late);
            draft.of_leader = world.schedulers[n]
                .leads()
                .map(|term| (term, world.store.edits));
            world.draft = Some(Arc::new(draft));
            return;
        }
        let Action::Propose(change) = action else {
            if let Some(draft) = world.draft.take() {
                self.write_edit(world, &draft, late);
            }
            return;
        };
        match change {
            Change::Edit => spend(&mut world.left.edits),
            Change::Pause => spend(&mut world.left.pauses),
            Change::Delete => spend(&mut world.left.deletes),
            // It belongs to its pause.
            Change::Resume => {}
        }
        let draft = Draft::propose(change, self, &world.store, late);
        world.draft = Some(Arc::new(draft));
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
            chain: Chain::of(&self.definition(Definition::default()).task.spec),
            ..Store::default()
        };
        store.due.insert(DueKey {
            queue: QueueName::default(),
            at: occurrence(0),
            owner: Owner::Task(campanile_core::id::TaskId::from_i64(TASK)),
        });
        let mut world = World {
            clock: self.bounds.first_tick,
            store,
            lock: None,
            schedulers: vec![Scheduler::default(); self.bounds.schedulers],
            workers,
            mail: Vec::new(),
            starts: Vec::new(),
            draft: None,
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

/// The cluster is held, or goes on: an edit.
fn hold(world: &mut World, held: bool) {
    if held {
        spend(&mut world.left.holds);
    }
    world.store.edits += 1;
    world.store.held = held;
}

/// A worker's node leaves by itself.
fn leave(world: &mut World, w: usize) {
    spend(&mut world.left.leaves);
    let node = world.workers[w].node;
    world.store.living.retain(|id| *id != node);
}
