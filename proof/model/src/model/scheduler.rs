//! One scheduler node: where it stands in the election, and what a leader has in its memory. Every decision is a
//! function of the protocol ([`lead::step`], [`Planner::firing`], [`Dispatch`], [`transitions::lose`]); this file
//! carries the effects out against the abstract store and lock, one at a time, so that a pause may lie between any two.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use campanile_core::decide::attempt as transitions;
use campanile_core::decide::fire::{CatchUp, Lookup, Moment, Planner};
use campanile_core::decide::lead;
use campanile_core::decide::lead::jump::Answered;
use campanile_core::decide::lead::{Effect, Event, State};
use campanile_core::decide::publish::routing::Routes;
use campanile_core::decide::publish::{Dispatch, Entry};
use campanile_core::id::{Holder, OutboxId, RunId};
use campanile_core::limits;
use campanile_core::port::attempt::Finish;
use campanile_core::port::fire::{DueRow, Firing, Owner, Waiting};
use campanile_core::port::lead::Term;
use campanile_core::run::Run;
use campanile_core::task::{StartMode, TaskSpec};
use campanile_core::time::Monotonic;
use campanile_schedule::time::Timestamp;

use super::bounds::Guards;
use super::edits::Definition;
use super::store::{Row, Store, end_parts};
use super::world::Scene;
use super::zones;

const LOCK: lead::Config = lead::Config {
    ttl: Duration::from_secs(5),
};
/// A belief that was won at the reading 0 ends before this one.
const LATER: Monotonic = Monotonic::from_ms(5_000);
/// All that is not late happens at this reading.
const NOW: Monotonic = Monotonic::from_ms(0);

/// The protocol's [`State`] without its readings of the clock.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Post {
    #[default]
    Waiting,
    Holding(Option<i64>),
    Leading(Arc<Term>),
}

/// What the election wants done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Todo {
    #[default]
    TryLock,
    ReadEpoch,
    CheckLock,
    Begin(i64),
    Lead,
}

/// A firing that is planned and not written yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending(pub Arc<Firing>);

impl Eq for Pending {}

impl Hash for Pending {
    fn hash<H: Hasher>(&self, to: &mut H) {
        let firing = &*self.0;
        (firing.edits, firing.at, &firing.consumed, &firing.advanced).hash(to);
        for run in firing.runs.iter().chain(&firing.skipped) {
            Row(Arc::new(run.clone())).hash(to);
        }
        firing
            .outbox
            .as_ref()
            .map(|row| (row.id, &row.runs))
            .hash(to);
        (&firing.acquired, &firing.blocked, &firing.full).hash(to);
        (&firing.seen, &firing.dropped).hash(to);
        for replaced in &firing.replaced {
            (&replaced.key, replaced.run, replaced.running).hash(to);
        }
    }
}

/// Ends that are decided for the runs of the dead and not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends(pub Arc<Vec<Finish>>);

impl Hash for Ends {
    fn hash<H: Hasher>(&self, to: &mut H) {
        for end in self.0.iter() {
            (end.run, end.attempt, end.claim, end_parts(end.end)).hash(to);
        }
    }
}

/// How far an entry of the buffer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Ready,
    Published,
    Marked,
}

/// An attempt that the leader brings to its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OnDesk {
    pub run: RunId,
    pub attempt: u32,
    pub row: OutboxId,
    pub stage: Stage,
}

/// All that a leader remembers. A new term begins with an empty one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Memory {
    /// Whether the outbox was read.
    pub recovered: bool,
    pub pending: Option<Pending>,
    pub buffer: Vec<OnDesk>,
    /// Seen waiting, to be marked queued.
    pub marks: Vec<(RunId, u32)>,
    /// Outbox rows that did their duty.
    pub done: Vec<OutboxId>,
    /// Whether the runs of the dead are to be looked for.
    pub sweep: bool,
    pub ends: Option<Ends>,
    /// How far its look at the zone rules is.
    pub zones: zones::Duty,
    /// Ids that this term has used up.
    minted: i64,
    rows: i64,
}

/// A scheduler node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Scheduler {
    pub post: Post,
    pub todo: Todo,
    pub memory: Memory,
}

impl Scheduler {
    /// The term, while the node believes in it and has read the outbox.
    pub fn leads(&self) -> Option<Arc<Term>> {
        match &self.post {
            Post::Leading(term) if self.memory.recovered => Some(Arc::clone(term)),
            _ => None,
        }
    }

    /// Tells the election what happened, and takes over what it wants done.
    pub fn tell(&mut self, me: usize, event: Event, now: Monotonic, lock: &mut Option<usize>) {
        let trusted_until = LOCK.trusted_until(NOW);
        let state = match &self.post {
            Post::Waiting => State::Waiting,
            Post::Holding(read_epoch) => State::Holding {
                trusted_until,
                read_epoch: *read_epoch,
            },
            Post::Leading(term) => State::Leading {
                term: Term::clone(term),
                trusted_until,
            },
        };
        let (state, effects) = lead::step(state, event, now, &LOCK);
        self.post = match state {
            State::Waiting => Post::Waiting,
            State::Holding { read_epoch, .. } => Post::Holding(read_epoch),
            State::Leading { term, .. } => Post::Leading(Arc::new(term)),
        };
        for effect in effects {
            match effect {
                Effect::TryLock | Effect::WaitForLock(_) | Effect::StandBack(_) => {
                    self.todo = Todo::TryLock;
                }
                Effect::ReadEpoch => self.todo = Todo::ReadEpoch,
                Effect::CheckLock => self.todo = Todo::CheckLock,
                Effect::Begin { read_epoch } => self.todo = Todo::Begin(read_epoch),
                Effect::RenewIn(_) => self.todo = Todo::Lead,
                Effect::StartTerm(_) | Effect::EndTerm => self.memory = Memory::default(),
                Effect::Release if *lock == Some(me) => *lock = None,
                Effect::Release => {}
            }
        }
    }

    /// The next effect of the election, against lock and store. Answers whether anything happened.
    pub fn elect(
        &mut self,
        me: usize,
        scene: &Scene,
        store: &mut Store,
        lock: &mut Option<usize>,
    ) -> bool {
        let event = match self.todo {
            Todo::TryLock if lock.is_some_and(|holder| holder != me) => return false,
            // More terms than the bounds allow can't begin: nobody need try.
            Todo::TryLock if store.epoch() >= scene.bounds.terms => return false,
            Todo::TryLock => {
                *lock = Some(me);
                Event::LockTaken { asked_at: NOW }
            }
            Todo::ReadEpoch => Event::EpochRead(store.epoch()),
            Todo::CheckLock => Event::LockChecked {
                asked_at: NOW,
                mine: *lock == Some(me) || !scene.guards.lock_is_verified,
            },
            Todo::Begin(read_epoch) => {
                let epoch = lead::next_epoch(read_epoch, 0);
                if epoch > scene.bounds.terms {
                    return false;
                }
                let holder = Holder::from_spelling(format!("{epoch}-of-{me}"));
                let term = Term { epoch, holder };
                let written = store.begin_term(read_epoch, &term, &scene.guards);
                Event::Begun(term, written)
            }
            Todo::Lead => return false,
        };
        self.tell(me, event, NOW, lock);
        true
    }

    /// One step more on the way to the first term, which nobody disturbs.
    pub fn begin(&mut self, scene: &Scene, store: &mut Store, lock: &mut Option<usize>) {
        if !self.elect(0, scene, store, lock) {
            self.recover(scene, store);
            // There was nobody before whose runs could be lost.
            self.memory.sweep = false;
        }
    }

    /// The belief runs out: no news of the lock came in time, or the process was stopped or died.
    pub fn lose_belief(&mut self, me: usize, lock: &mut Option<usize>) {
        self.tell(me, Event::Tick, LATER, lock);
    }

    /// A renewal finds that the lock is another's.
    pub fn find_lock_lost(&mut self, me: usize, lock: &mut Option<usize>) {
        let (asked_at, mine) = (NOW, false);
        self.tell(me, Event::LockChecked { asked_at, mine }, NOW, lock);
    }

    /// A new leader reads the outbox.
    pub fn recover(&mut self, scene: &Scene, store: &Store) {
        self.memory.recovered = true;
        self.memory.sweep = true;
        for (row, runs) in store.outbox.iter().filter(|_| scene.guards.outbox_is_read) {
            let waiting: Vec<_> = runs
                .iter()
                .copied()
                .filter(|(run, attempt)| store.waits(*run, *attempt))
                .collect();
            self.admit(*row, &waiting);
        }
    }

    fn admit(&mut self, row: OutboxId, runs: &[(RunId, u32)]) {
        let buffer = &mut self.memory.buffer;
        let known = buffer.len();
        for (run, attempt) in runs.iter().copied() {
            if !buffer[..known]
                .iter()
                .any(|e| (e.run, e.attempt) == (run, attempt))
            {
                let stage = Stage::Ready;
                buffer.push(OnDesk {
                    run,
                    attempt,
                    row,
                    stage,
                });
            }
        }
        if buffer.len() == known {
            self.memory.done.push(row);
        }
    }

    /// Scans, and plans one firing. Answers whether there is anything to write.
    pub fn plan(&mut self, term: &Term, scene: &Scene, store: &Store, now: Timestamp) -> bool {
        let horizon = now.plus(limits::LOOK_AHEAD);
        let rows: Vec<DueRow> = store
            .due
            .iter()
            .filter(|key| key.at <= horizon)
            .map(|key| DueRow {
                key: key.clone(),
                waiting: match key.owner {
                    Owner::Run(run) => store.live(run).filter(|r| transitions::waits(r, r.attempt)),
                    Owner::Task(_) => None,
                }
                .map(waiting),
            })
            .collect();
        if rows.is_empty() {
            return false;
        }
        let compiled = scene.task(store);
        let answered = match store.answered.is_empty() {
            true => Answered::new(),
            false => Answered::from([(compiled.task.id, store.answered.clone())]),
        };
        let queue = &compiled.task.spec.queue;
        let mut board = store.board(&scene.rules.keys(Some(&compiled.task), queue));
        let first_id = term.epoch * 32 + self.memory.minted;
        let ids = std::cell::Cell::new(first_id);
        let planner = Planner {
            tasks: &|_| match store.definition.deleted {
                true => Lookup::Gone,
                false => Lookup::Here(Arc::clone(compiled)),
            },
            answered: &answered,
            rules: &scene.rules,
            board: &mut board,
            routes: &Routes::default(),
            catch_up: &mut CatchUp::new(10),
            moment: Moment {
                now,
                horizon,
                epoch: term.epoch,
                edits: store.edits,
            },
            outbox: OutboxId::from_i64(term.epoch * 32 + self.memory.rows),
            mint: &|count| {
                let first = ids.get();
                ids.set(first + i64::try_from(count).unwrap());
                (first..ids.get()).map(RunId::from_i64).collect()
            },
        };
        let firing = planner.firing(&rows).firing;
        if firing.is_empty() {
            return false;
        }
        self.memory.pending = Some(Pending(Arc::new(firing)));
        true
    }

    /// The firing is committed, and the leader knows it.
    pub fn fired(&mut self, firing: &Firing) {
        self.memory.minted += i64::try_from(firing.runs.len() + firing.skipped.len()).unwrap();
        if let Some(row) = &firing.outbox {
            self.memory.rows += 1;
            self.admit(row.id, &row.runs);
        }
    }

    /// What the buffer's published entries mean, by what the store says of them now. Answers whether anything changed.
    pub fn look(&mut self, scene: &Scene, store: &Store) -> bool {
        let memory = &mut self.memory;
        let mut dispatch = Dispatch::default();
        let mut rows: Vec<OutboxId> = memory.buffer.iter().map(|e| e.row).collect();
        rows.dedup();
        for row in rows {
            let of_row = memory.buffer.iter().filter(|e| e.row == row);
            dispatch.admit(row, of_row.map(|e| entry(scene, e)).collect());
        }
        let taken = dispatch.take_due(Timestamp::MAX);
        let stage = |key: (RunId, u32)| {
            let found = memory.buffer.iter().find(|e| (e.run, e.attempt) == key);
            found.map_or(Stage::Ready, |e| e.stage)
        };
        let published = taken
            .into_iter()
            .filter(|e| stage(key(e)) != Stage::Ready)
            .collect::<Vec<_>>();
        dispatch.confirmed(&published, NOW);
        let now = NOW.plus(limits::MARK_AFTER);
        let asked = dispatch.to_check(now, limits::MARK_AFTER, usize::MAX, 0);
        let waiting: Vec<RunId> = asked
            .iter()
            .filter(|(run, attempt)| store.waits(*run, *attempt))
            .map(|(run, _)| *run)
            .collect();
        let settled = dispatch.checked(&asked, &waiting, now, Timestamp::MIN);
        let mark = |key: &(RunId, u32)| scene.bounds.marks && stage(*key) == Stage::Published;
        let marks: Vec<_> = settled.mark.into_iter().filter(mark).collect();
        let before = memory.buffer.len();
        memory
            .buffer
            .retain(|e| !asked.contains(&(e.run, e.attempt)) || waiting.contains(&e.run));
        for entry in &mut memory.buffer {
            if marks.contains(&(entry.run, entry.attempt)) {
                entry.stage = Stage::Marked;
            }
        }
        let changed = !marks.is_empty() || before != memory.buffer.len();
        memory.marks.extend(marks);
        memory.done.extend(settled.done);
        changed
    }

    /// The next step of a move to its zone rules.
    pub fn move_zones(
        &mut self,
        me: usize,
        term: &Term,
        scene: &Scene,
        store: &mut Store,
        lock: &mut Option<usize>,
    ) {
        match zones::step(self.memory.zones, me, term, store, &scene.guards) {
            Some(next) => self.memory.zones = next,
            None => self.guarded(me, false, lock),
        }
    }

    /// Looks for runs that nobody living holds, and decides their ends. Answers whether anything changed.
    pub fn seek_orphans(&mut self, scene: &Scene, store: &Store, at: Timestamp) -> bool {
        let start = if scene.guards.lost_regards_start_mode {
            scene.task(store).task.spec.start
        } else {
            StartMode::AtLeastOnce
        };
        let ends: Vec<Finish> = store
            .orphans()
            .filter_map(|run| transitions::lose(run, start, at))
            .collect();
        if ends.is_empty() {
            return std::mem::take(&mut self.memory.sweep);
        }
        self.memory.ends = Some(Ends(Arc::new(ends)));
        true
    }

    /// After a leader's write: a guard that matched no row ends the term.
    pub fn guarded(&mut self, me: usize, written: bool, lock: &mut Option<usize>) {
        if !written {
            self.tell(me, Event::TermBroken, NOW, lock);
        }
    }
}

/// Whether a leader that looks before it decides (and not when it writes) still finds its term.
pub fn looks_present(term: &Term, store: &Store, guards: &Guards) -> bool {
    guards.fence != super::bounds::Fence::Look || store.is_present(term)
}

fn waiting(run: &Arc<Run>) -> Waiting {
    Waiting {
        run: Run::clone(run),
        spec: None,
    }
}

fn key(entry: &Arc<Entry>) -> (RunId, u32) {
    (entry.waiting.run.id, entry.waiting.run.attempt)
}

/// The buffer's entry as the dispatcher has it: of the run only what the dispatcher asks for. No two attempts of a run
/// are ready at the same instant.
fn entry(scene: &Scene, on_desk: &OnDesk) -> Entry {
    let spec: &TaskSpec = &scene.definition(Definition::default()).task.spec;
    let ready_at = Timestamp::from_ms(i64::from(on_desk.attempt));
    let run = transitions::request(on_desk.run, None, spec, ready_at);
    Entry {
        waiting: Waiting {
            run: Run {
                attempt: on_desk.attempt,
                ..run
            },
            spec: None,
        },
        task: None,
        row: on_desk.row,
    }
}
