//! One history: the processes, the people and the faults on one line of time. Everything that is ready runs; then time
//! jumps to the next sleeper or the next act. The invariants are asked over the whole store at every simulated second and
//! after every fault. When the faults end, all must come to rest within a bound, and is judged.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use campanile_core::decide::invariants;
use campanile_core::decide::invariants::Snapshot;
use campanile_core::decide::lead::jump;
use campanile_core::memory::broker::MemoryBroker;
use campanile_core::memory::lock::MemoryLock;
use campanile_core::memory::store::MemoryStore;
use campanile_core::port::ask::{AskCluster as _, AskRuns as _};
use campanile_core::port::fire::Owner;

use campanile_core::run::Run;
use campanile_core::system::Random;
use campanile_schedule::time::Timestamp;
use futures_util::FutureExt as _;
use tokio::runtime::Runtime;

use crate::How;
use crate::faults;
use crate::logs;
use crate::net::{HOME, Net};
use crate::offers::Offers;
use crate::oracle;
use crate::people::People;
use crate::plan::{Plan, between};
use crate::process::{Process, Services, run_ready, runtime};
use crate::tally::{Fault, Tally};
use crate::time::{NodeClock, START_MS};

/// I10: after the faults, something ends or is tried again within this, until all has ended. (How long all of it takes
/// depends on the work that is left.) A message that was lost again and again is published again after one, two, four …
/// minutes; behind it waits what the small caps of the plan keep back.
pub const STILL_MS_MAX: u64 = 1_800_000;
/// Occurrences are planned this far ahead at most while the clock is right.
const AHEAD_MS: i64 = 5_000;
/// Turns at one moment: above this something spins.
const TURNS_MAX: usize = 100_000;
/// An orderly stop that takes longer is ended as a supervisor would.
const STOP_MS_MAX: u64 = 60_000;

/// What happens at a moment of the history's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The next of the world's faults.
    Fault,
    /// The next of people's acts.
    People,
    /// A process starts.
    Start(usize),
    /// A process that stands still goes on.
    Wake(usize),
    /// A process is asked to stop.
    Stop(usize),
    /// An orderly stop has taken too long.
    Kill(usize, u64),
    /// Look at everything.
    Check,
    /// The store's clock steps forward, for long.
    StoreClockJump,
    /// The store's clock is set right again.
    StoreClockRight,
    /// The faults end.
    Calm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Faults happen.
    Faults,
    /// They are over; schedules go on until all that was missed is planned.
    Healing,
    /// Schedules rest; what is left comes to its end.
    Ending,
    /// All is quiet.
    Quiet,
}

/// One history.
pub struct World {
    pub(crate) net: Arc<Net>,
    pub(crate) plan: Plan,
    pub(crate) dice: Random,
    pub(crate) services: Arc<Services>,
    pub(crate) processes: Vec<Process>,
    pub(crate) home: Runtime,
    seed: u64,
    jumps: bool,
    people: People,
    acts: BTreeMap<(u64, u64), Act>,
    next_act: u64,
    before: Snapshot,
    phase: Phase,
    calm_ms: u64,
    /// Since when nothing has ended and nothing was tried again, and how much had.
    still_ms: u64,
    done: u64,
    /// The clock that the store reads: right, but for a step.
    pub store_clock: Arc<NodeClock>,
    /// When it was last set right.
    pub store_right_ms: u64,
}

impl World {
    /// The world of a seed, before anything has happened.
    pub fn new(seed: u64, how: How) -> Self {
        let dice = Random::from_seed(seed);
        let mut plan = Plan::draw(&dice, how.short);
        if how.store_broker {
            plan.on_store_broker();
        }
        let net = Net::new(
            Random::from_seed(dice.next()),
            plan.knobs.clone(),
            how.verbose,
        );
        let net = Arc::new(net);
        let home = runtime();
        let _ = net.home.set(home.handle().clone());
        let truth = Arc::new(NodeClock::new(Arc::clone(&net.time), 1));
        let store_clock = Arc::new(NodeClock::new(Arc::clone(&net.time), 1));
        let services = Arc::new(Services {
            store: Arc::new(MemoryStore::new(Arc::clone(&store_clock) as _)),
            broker: Arc::new(MemoryBroker::new()),
            offers: how
                .store_broker
                .then(|| Arc::new(Offers::new(Arc::clone(&store_clock)))),
            lock: MemoryLock::new(truth),
            hints: plan.hints,
            store_clock: Arc::clone(&store_clock),
        });
        let settings = plan.processes.iter().cloned().enumerate();
        let processes = settings.map(|(n, s)| Process::new(Arc::clone(&net), n, s));
        Self {
            processes: processes.collect(),
            people: People::new(&net, &services, dice.next()),
            net,
            plan,
            dice,
            services,
            home,
            seed,
            jumps: how.jumps,
            acts: BTreeMap::new(),
            next_act: 0,
            store_clock,
            store_right_ms: 0,
            before: Snapshot::default(),
            phase: Phase::Faults,
            calm_ms: 0,
            still_ms: 0,
            done: 0,
        }
    }

    /// Puts an act into the plan.
    pub fn at(&mut self, in_ms: u64, act: Act) {
        self.next_act += 1;
        let at = self.net.time.now_ms() + in_ms;
        self.acts.insert((at, self.next_act), act);
    }

    /// Runs the history to its end.
    ///
    /// # Errors
    /// What was broken.
    pub fn run(&mut self) -> Result<(), String> {
        self.net.event(HOME, "plan", || format!("{:?}", self.plan));
        self.begin();
        while self.phase != Phase::Quiet {
            self.settle();
            self.evict_the_dying();
            if self.net.time.spins() {
                return Err(
                    "something spins: it waits for what is past, again and again".to_owned(),
                );
            }
            if let Some(violation) = self.net.ledger().violation.take() {
                return Err(violation);
            }
            let act = self.acts.keys().next().map(|(at, _)| *at);
            let Some(next) = act.into_iter().chain(self.net.time.next_ms()).min() else {
                return Err("nothing will ever happen again".to_owned());
            };
            self.net.time.advance(next);
            while let Some(first) = self.acts.first_entry().filter(|e| e.key().0 <= next) {
                let act = first.remove();
                self.perform(act)?;
            }
        }
        let now = self.net.time.wall().as_ms();
        let calm = now - i64::try_from(self.net.time.now_ms() - self.calm_ms).unwrap_or(0);
        let snapshot = self.services.store.snapshot();
        let moments = oracle::Moments {
            faults_ended_ms: calm,
            now_ms: now,
            furthest_ms: self.net.furthest_ms(),
        };
        oracle::judge(&snapshot, &self.net.ledger(), &self.people.known, moments)?;
        let mut written = Vec::new();
        for run in &snapshot.runs {
            let read = self.services.store.logs(run.id).now_or_never();
            let read = read.and_then(Result::ok);
            let read = read.ok_or("the store in memory did not answer at once")?;
            written.extend(
                read.into_iter()
                    .map(|(attempt, text)| (run.id, attempt, text)),
            );
        }
        logs::are_their_attempts(&written, &self.net.ledger().starts)
    }

    fn begin(&mut self) {
        for node in 0..self.processes.len() {
            let wait = self.dice.below(500);
            self.at(wait, Act::Start(node));
        }
        self.people.define(&self.home, &self.plan);
        let (fault, act) = (self.plan.fault_gap_ms, self.plan.act_gap_ms);
        self.at(fault, Act::Fault);
        self.at(act, Act::People);
        self.at(500, Act::Check);
        if self.jumps {
            self.at(10_000, Act::StoreClockJump);
        }
        self.at(self.plan.span_ms, Act::Calm);
    }

    /// Lets everything run that is ready, process after process, until nothing is.
    fn settle(&mut self) {
        for turn in 0..TURNS_MAX {
            let mut busy = self.home.metrics().global_queue_depth() > 0;
            if busy {
                run_ready(&self.home);
            }
            for process in &self.processes {
                busy |= process.turn(false);
            }
            if !busy {
                return;
            }
            if turn + 1 == TURNS_MAX {
                self.net
                    .violation("something spins: no end of work at one moment".to_owned());
            }
        }
    }

    fn evict_the_dying(&mut self) {
        let dying = std::mem::take(&mut self.net.ledger().dying);
        for node in dying {
            if self.processes[node].is_up() {
                self.crash(node);
            }
        }
    }

    /// A process dies where it stands, and is started again after a while.
    pub fn crash(&mut self, node: usize) {
        self.processes[node].crash();
        let wait = between(&self.dice, 50, 15_000);
        self.at(wait, Act::Start(node));
    }

    fn perform(&mut self, act: Act) -> Result<(), String> {
        match act {
            Act::Fault if self.phase == Phase::Faults => {
                faults::strike(self);
                let wait = 1 + self.dice.below(self.plan.fault_gap_ms * 2);
                self.at(wait, Act::Fault);
                self.check()?;
            }
            Act::People if self.phase == Phase::Faults => {
                // What people do by a clock that is wrong for long stays as they did it: no oracle could say what that is.
                if !self.net.is_jumped() {
                    self.people.act(&self.home, &self.dice);
                }
                let wait = 1 + self.dice.below(self.plan.act_gap_ms * 2);
                self.at(wait, Act::People);
            }
            Act::Fault | Act::People => {}
            Act::Start(node) => {
                if !self.processes[node].is_up() {
                    self.processes[node].start(self.seed, &self.services);
                }
            }
            Act::Wake(node) => {
                self.processes[node].paused = false;
                self.net.event(node, "goes on", String::new);
                self.processes[node].turn(true);
            }
            Act::Stop(node) => self.stop(node),
            Act::Kill(node, starts) => {
                if self.processes[node].stopping && self.processes[node].starts == starts {
                    self.net
                        .fault(node, Fault::Crash, || "did not stop in time".to_owned());
                    self.crash(node);
                }
            }
            Act::Check => self.look()?,
            Act::StoreClockJump => faults::jump_store_clock(self),
            Act::StoreClockRight => self.set_clock_right(),
            Act::Calm => self.calm(),
        }
        Ok(())
    }

    fn set_clock_right(&mut self) {
        self.store_clock.step(0);
        self.store_right_ms = self.net.time.now_ms();
        self.net.set_ahead(0);
    }

    fn stop(&mut self, node: usize) {
        let process = &mut self.processes[node];
        if !process.paused && !process.stopping && process.stop() {
            let starts = process.starts;
            self.net.fault(node, Fault::Restart, String::new);
            self.at(STOP_MS_MAX, Act::Kill(node, starts));
        }
    }

    fn calm(&mut self) {
        self.net.event(HOME, "the faults end", String::new);
        self.net.calm();
        if self.jumps {
            self.set_clock_right();
        }
        (self.phase, self.calm_ms) = (Phase::Healing, self.net.time.now_ms());
        for process in &mut self.processes {
            process.paused = false;
        }
        for node in 0..self.processes.len() {
            self.processes[node].turn(true);
        }
        self.people.resume_rested(&self.home, true);
        self.people.look_at_hold(&self.home, true);
        self.people.release_all(&self.home);
    }

    /// The look of every second: invariants, orderly stops, and how far the end is.
    fn look(&mut self) -> Result<(), String> {
        self.check()?;
        if !self.net.is_jumped() {
            self.people.resume_rested(&self.home, false);
            self.people.look_at_hold(&self.home, false);
        }
        for node in 0..self.processes.len() {
            self.processes[node].turn(true);
            if self.processes[node].has_failed() {
                return Err(format!("a duty of node {node} died"));
            }
            if self.processes[node].has_stopped() {
                self.processes[node].crash();
                let wait = self.dice.below(2_000);
                self.at(wait, Act::Start(node));
            }
        }
        run_ready(&self.home);
        if self.phase != Phase::Faults {
            // A write that was under way when the faults ended may have been refused.
            self.people.release_all(&self.home);
            self.come_to_rest()?;
        }
        self.at(1_000, Act::Check);
        Ok(())
    }

    fn check(&mut self) -> Result<(), String> {
        let now = self.services.store.snapshot();
        // A deleted task has no limits any more; its runs end without being started.
        let known = self.people.known.iter();
        let exclusive = known.filter(|k| k.exclusive && k.deleted.is_none());
        let exclusive: HashSet<_> = exclusive.map(|k| k.id).collect();
        let store = Arc::clone(&self.services.store);
        let aside = self.home.block_on(store.quarantine(None, usize::MAX));
        oracle::set_aside_once(&now.runs, &aside.unwrap_or_default())?;
        let broken = invariants::check(&now)
            .and_then(|()| invariants::only_forward(&self.before, &now))
            .and_then(|()| invariants::one_at_a_time(&now, &exclusive))
            .and_then(|()| invariants::one_of_a_chain(&now));
        self.before = now;
        self.net.ledger().tally.checks += 1;
        broken.map_err(|v| {
            self.net
                .event(HOME, "the store", || format!("{:#?}", self.before));
            v.to_string()
        })
    }

    fn come_to_rest(&mut self) -> Result<(), String> {
        let since = self.net.time.now_ms() - self.calm_ms;
        let snapshot = &self.before;
        let done = snapshot.runs.iter();
        let done = done.map(|r| u64::from(r.attempt) + u64::from(r.state.is_terminal()));
        let done = done.sum();
        if done != self.done {
            (self.done, self.still_ms) = (done, self.net.time.now_ms());
        }
        let wall = self.net.time.wall().as_ms();
        // What was planned by a clock that was ahead, and released by people, starts at its instant and not before.
        let furthest = self.net.furthest_ms().saturating_sub(START_MS);
        let since_when = self.still_ms.max(self.calm_ms);
        let since_when = since_when.max(u64::try_from(furthest).unwrap_or(0));
        let still = self.net.time.now_ms().saturating_sub(since_when);
        let calm = wall - i64::try_from(since).unwrap_or(0);
        let mut overdue = snapshot.due.iter().filter(|d| match d.owner {
            Owner::Task(_) => d.at.as_ms() <= calm + 3_000,
            Owner::Run(_) => false,
        });
        let quiet = snapshot.runs.iter().all(|r| r.state.is_terminal())
            && snapshot.permits.is_empty()
            && snapshot.blocked.is_empty()
            && snapshot.outbox.is_empty()
            && snapshot.due.is_empty();
        match self.phase {
            Phase::Healing if overdue.next().is_none() && !self.is_planned_ahead(wall) => {
                self.people.pause_all(&self.home);
                self.phase = Phase::Ending;
            }
            Phase::Ending if quiet => {
                self.phase = Phase::Quiet;
                let mut ledger = self.net.ledger();
                ledger.tally.longest_quiet_ms = since;
            }
            _ if still > STILL_MS_MAX => return Err(self.restless()),
            _ => {}
        }
        Ok(())
    }

    /// Whether something is left that a clock which was ahead has planned, and that can be taken back.
    fn is_planned_ahead(&self, wall_ms: i64) -> bool {
        let beyond = Timestamp::from_ms(wall_ms + AHEAD_MS);
        let mut tasks = self.people.known.iter().filter(|k| k.deleted.is_none());
        self.jumps
            && tasks.any(|known| {
                let mine = self.before.runs.iter().filter(|r| r.task == Some(known.id));
                let mine: Vec<Run> = mine.cloned().collect();
                jump::first_taken_back(&mine, beyond).is_some()
            })
    }

    /// What never came to its end.
    fn restless(&self) -> String {
        let s = &self.before;
        let live = s.runs.iter().filter(|r| !r.state.is_terminal());
        let first: Vec<String> = live
            .clone()
            .take(3)
            .map(|r| {
                format!(
                    "{}:{} {} on {:?}",
                    r.id,
                    r.attempt,
                    r.state.as_str(),
                    r.worker
                )
            })
            .collect();
        format!(
            "I10: nothing ended for {} s after the faults: {} runs live ({}), {} due rows ({:?}), {} permits, {} blocked, {} in the outbox",
            STILL_MS_MAX / 1_000,
            live.count(),
            first.join(", "),
            s.due.len(),
            s.due.first(),
            s.permits.len(),
            s.blocked.len(),
            s.outbox.len()
        )
    }

    /// Ends the history and gives its counts.
    pub fn into_tally(mut self) -> (Tally, u64, String) {
        for process in &mut self.processes {
            process.crash();
        }
        let runs = self.services.store.snapshot().runs;
        let history = self.net.history();
        let mut hash = self.net.hash();
        for byte in format!("{runs:?}").bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let mut ledger = self.net.ledger();
        let starts = ledger.starts.len();
        let tally = &mut ledger.tally;
        oracle::count(tally, &runs);
        let chained = self.people.known.iter().filter(|k| k.chained);
        oracle::count_chained(tally, &runs, chained);
        tally.simulated_ms = self.net.time.now_ms();
        tally.starts = u64::try_from(starts).unwrap_or(0);
        (tally.clone(), hash, history)
    }
}
