//! The elector: carries out the effects of [`crate::decide::lead`]. It lives on a thread and runtime of its own, so
//! that a busy node renews its lock all the same. It starts and ends terms; what a term does is not its business.

pub(super) mod clock_state;
pub(super) mod duty;
pub(super) mod hold;
mod put_back;
mod zones;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::causes;
use crate::decide::lead::{Config, Effect, Event, State, next_epoch, step};
use crate::engine::Parts;
use crate::failpoint::{self, Failpoint};
use crate::id::{Holder, Mint, NodeId};
use crate::metrics::Metrics;
use crate::port::clock::Clock;
use crate::port::lead::{Bid, LeadStore, Term};
use crate::port::lock::{Acquired, Signal};
use crate::time::Monotonic;
use crate::time::database::DatabaseTime;

/// A term as its duties hold it: the right to write, and how long to believe in it.
pub struct Leadership {
    pub term: Term,
    /// Fires when the term is over, whatever the reason.
    pub over: CancellationToken,
    trusted_until_ms: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
    commands: mpsc::UnboundedSender<Command>,
}

impl std::fmt::Debug for Leadership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Leadership(epoch {})", self.term.epoch)
    }
}

impl Leadership {
    /// Whether the term may still be believed. Asked before every effect outside the store; the store asks by itself.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        !self.over.is_cancelled()
            && self.clock.monotonic().as_ms() < self.trusted_until_ms.load(Ordering::Acquire)
    }

    /// The term can't go on: a guard matched no row, or a commit is in doubt.
    pub fn broken(&self) {
        self.over.cancel();
        let _ = self.commands.send(Command::Broken(self.term.epoch));
    }

    /// Somebody asked this term to end.
    pub fn resign(&self) {
        let _ = self.commands.send(Command::StepDown);
    }
}

/// What the rest of the node tells the elector.
#[derive(Debug)]
pub enum Command {
    /// The term of this epoch is over.
    Broken(i64),
    /// End the term, give the lock back, and let another node lead.
    StepDown,
    /// Step down for ever.
    Stop,
}

/// The elector's own state around the protocol's.
pub struct Elector {
    /// Of the store the leader row and the bid for it.
    parts: Parts<dyn LeadStore>,
    time: DatabaseTime,
    metrics: Arc<Metrics>,
    mint: Arc<Mint>,
    node: NodeId,
    node_name: String,
    config: Config,
    lock_holder: Holder,
    commands: mpsc::UnboundedReceiver<Command>,
    to_self: mpsc::UnboundedSender<Command>,
    terms: watch::Sender<Option<Arc<Leadership>>>,
    wake: Arc<tokio::sync::Notify>,
    current: Option<Arc<Leadership>>,
    trusted_until_ms: Arc<AtomicU64>,
}

/// What an elector is given.
pub struct Setup {
    pub parts: Parts<dyn LeadStore>,
    pub time: DatabaseTime,
    pub metrics: Arc<Metrics>,
    pub mint: Arc<Mint>,
    pub node: NodeId,
    pub node_name: String,
    pub config: Config,
    /// Woken when another node says that there is work.
    pub wake: Arc<tokio::sync::Notify>,
}

/// The ends of the elector that others hold.
pub struct Handle {
    /// To tell it something.
    pub commands: mpsc::UnboundedSender<Command>,
    /// The present term, if it is ours.
    pub terms: watch::Receiver<Option<Arc<Leadership>>>,
}

impl Elector {
    /// An elector that waits; [`Elector::run`] makes it contend.
    pub fn new(setup: Setup) -> (Self, Handle) {
        let (to_self, commands) = mpsc::unbounded_channel();
        let terms = watch::Sender::new(None);
        let handle = Handle {
            commands: to_self.clone(),
            terms: terms.subscribe(),
        };
        let elector = Self {
            lock_holder: setup.mint.holder(),
            parts: setup.parts,
            time: setup.time,
            metrics: setup.metrics,
            mint: setup.mint,
            node: setup.node,
            node_name: setup.node_name,
            config: setup.config,
            commands,
            to_self,
            terms,
            wake: setup.wake,
            current: None,
            trusted_until_ms: Arc::new(AtomicU64::new(0)),
        };
        (elector, handle)
    }

    fn now(&self) -> Monotonic {
        self.parts.clock.monotonic()
    }

    /// Contends until it is told to stop.
    pub async fn run(mut self) {
        let mut state = State::Waiting;
        let mut effects = VecDeque::from([Effect::TryLock]);
        loop {
            let event = match effects.pop_front() {
                Some(effect) => self.perform(effect, &state).await,
                None => self.nothing_to_do(&state).await,
            };
            let event = match event {
                Performed::Done => continue,
                Performed::Event(event) => event,
                Performed::Stop => Event::StepDown,
            };
            let stop = matches!(event, Event::StepDown) && self.commands.is_closed();
            let (next, more) = step(state, event, self.now(), &self.config);
            if let State::Leading { trusted_until, .. } = &next {
                self.trusted_until_ms
                    .store(trusted_until.as_ms(), Ordering::Release);
            }
            state = next;
            effects = more.into();
            if stop {
                self.wind_up(effects).await;
                return;
            }
        }
    }

    /// No effect is left: look again after a moment, so that no state can spin or get stuck.
    async fn nothing_to_do(&mut self, state: &State) -> Performed {
        match state {
            State::Leading { .. } => {
                self.perform_renewal(self.config.retry_period(), state)
                    .await
            }
            State::Waiting | State::Holding { .. } => {
                self.stand_back(self.config.retry_period()).await
            }
        }
    }

    /// The last effects of a stop: end the term, give the lock back, and nothing after.
    async fn wind_up(&mut self, effects: VecDeque<Effect>) {
        for effect in effects {
            if matches!(effect, Effect::EndTerm | Effect::Release) {
                let _ = self.perform(effect, &State::Waiting).await;
            }
        }
        self.terms.send_replace(None);
    }

    async fn perform(&mut self, effect: Effect, state: &State) -> Performed {
        match effect {
            Effect::TryLock => self.try_lock().await,
            Effect::WaitForLock(expires_in) => self.wait_for_lock(expires_in).await,
            Effect::ReadEpoch => self.read_epoch().await,
            Effect::CheckLock => Performed::Event(self.check_lock().await),
            Effect::Begin { read_epoch } => self.begin(read_epoch).await,
            Effect::StartTerm(term) => {
                self.start_term(term, state);
                Performed::Done
            }
            Effect::EndTerm => {
                self.end_term();
                Performed::Done
            }
            Effect::RenewIn(wait) => self.perform_renewal(wait, state).await,
            Effect::Release => {
                if let Err(error) = self.parts.lock.release(&self.lock_holder).await {
                    tracing::warn!(error = %causes(&error), "could not give the lock back; it ends by itself");
                }
                failpoint::reach(Failpoint::LockReleased);
                Performed::Done
            }
            Effect::StandBack(length) => self.stand_back(length).await,
        }
    }

    async fn read_epoch(&self) -> Performed {
        let asked_at = self.now();
        match self.parts.store.leader().await {
            Ok(row) => {
                failpoint::reach(Failpoint::EpochRead);
                self.time.sample(row.now, asked_at);
                Performed::Event(Event::EpochRead(row.epoch))
            }
            Err(error) => self.store_failed(&error),
        }
    }

    fn store_failed(&self, error: &crate::port::store::Error) -> Performed {
        Metrics::add(&self.metrics.store_failures, 1);
        tracing::warn!(error = %causes(error), "the store failed while contending for the lead");
        Performed::Event(Event::StoreFailed)
    }

    async fn try_lock(&mut self) -> Performed {
        let asked_at = self.now();
        let event = match self
            .parts
            .lock
            .acquire(&self.lock_holder, self.config.ttl)
            .await
        {
            Ok(Acquired::Yes) => {
                failpoint::reach(Failpoint::LockAcquired);
                Event::LockTaken { asked_at }
            }
            Ok(Acquired::No { expires_in }) => Event::LockBusy { expires_in },
            Err(error) => self.lock_failed(&error),
        };
        Performed::Event(event)
    }

    fn lock_failed(&self, error: &crate::port::lock::Error) -> Event {
        Metrics::add(&self.metrics.lock_failures, 1);
        tracing::warn!(error = %causes(error), "the lock service failed");
        Event::LockUnreachable
    }

    async fn check_lock(&self) -> Event {
        let asked_at = self.now();
        match self
            .parts
            .lock
            .renew(&self.lock_holder, self.config.ttl)
            .await
        {
            Ok(mine) => {
                if mine {
                    failpoint::reach(Failpoint::LockRenewed);
                }
                Event::LockChecked { asked_at, mine }
            }
            Err(error) => self.lock_failed(&error),
        }
    }

    async fn wait_for_lock(&mut self, expires_in: Duration) -> Performed {
        let jitter = Duration::from_millis(self.parts.random.below(50));
        let longest = if self.parts.lock.has_signals() {
            expires_in
        } else {
            expires_in.min(self.config.ttl / 10)
        };
        let clock = Arc::clone(&self.parts.clock);
        let deadline = self.now().plus(longest + jitter);
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => if let Some(performed) = self.command(command.as_ref()) {
                    return performed;
                },
                () = clock.sleep_until(deadline) => return Performed::Event(Event::Tick),
                signal = self.parts.lock.next_signal() => if signal == Signal::Released {
                    return Performed::Event(Event::Tick);
                },
            }
        }
    }

    async fn stand_back(&mut self, length: Duration) -> Performed {
        let clock = Arc::clone(&self.parts.clock);
        let jitter = Duration::from_millis(self.parts.random.below(100));
        let deadline = self.now().plus(length + jitter);
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => if let Some(performed) = self.command(command.as_ref()) {
                    return performed;
                },
                () = clock.sleep_until(deadline) => return Performed::Event(Event::Tick),
            }
        }
    }

    /// What a command means: `None` when it is about a term that is over already.
    fn command(&mut self, command: Option<&Command>) -> Option<Performed> {
        match command {
            Some(Command::Broken(epoch)) => {
                let mine = self
                    .current
                    .as_ref()
                    .is_some_and(|l| l.term.epoch == *epoch);
                mine.then_some(Performed::Event(Event::TermBroken))
            }
            Some(Command::StepDown) => self
                .current
                .is_some()
                .then_some(Performed::Event(Event::StepDown)),
            Some(Command::Stop) | None => {
                self.commands.close();
                Some(Performed::Stop)
            }
        }
    }

    async fn begin(&mut self, read_epoch: i64) -> Performed {
        let wall_seconds = self.time.now().as_ms() / 1_000;
        let term = Term {
            epoch: next_epoch(read_epoch, wall_seconds),
            holder: self.mint.holder(),
        };
        let bid = Bid {
            read_epoch,
            term: term.clone(),
            node: self.node,
            node_name: self.node_name.clone(),
        };
        match self.parts.store.begin_term(&bid).await {
            Ok(written) => Performed::Event(Event::Begun(term, written)),
            // In doubt or refused: nothing is believed; whoever reads the epoch next finds out.
            Err(error) => self.store_failed(&error),
        }
    }

    fn start_term(&mut self, term: Term, state: &State) {
        if let State::Leading { trusted_until, .. } = state {
            self.trusted_until_ms
                .store(trusted_until.as_ms(), Ordering::Release);
        }
        tracing::info!(epoch = term.epoch, node = %self.node_name, "leading: term {} began", term.epoch);
        Metrics::add(&self.metrics.terms_begun, 1);
        let leadership = Arc::new(Leadership {
            term,
            over: CancellationToken::new(),
            trusted_until_ms: Arc::clone(&self.trusted_until_ms),
            clock: Arc::clone(&self.parts.clock),
            commands: self.to_self.clone(),
        });
        self.current = Some(Arc::clone(&leadership));
        self.terms.send_replace(Some(leadership));
    }

    fn end_term(&mut self) {
        self.trusted_until_ms.store(0, Ordering::Release);
        if let Some(leadership) = self.current.take() {
            leadership.over.cancel();
            tracing::info!(
                epoch = leadership.term.epoch,
                "term {} is over",
                leadership.term.epoch
            );
            failpoint::reach(Failpoint::TermEnded);
        }
        self.terms.send_replace(None);
    }

    /// Waits for the time to renew, and renews; ends early at the belief's end, or when somebody has something to say.
    async fn perform_renewal(&mut self, wait: Duration, state: &State) -> Performed {
        let State::Leading { trusted_until, .. } = *state else {
            return Performed::Done;
        };
        let clock = Arc::clone(&self.parts.clock);
        let renew_at = self.now().plus(wait).min(trusted_until);
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => if let Some(performed) = self.command(command.as_ref()) {
                    return performed;
                },
                () = clock.sleep_until(renew_at) => break,
                signal = self.parts.lock.next_signal() => if signal == Signal::Work { self.wake.notify_one(); },
            }
        }
        if self.now() >= trusted_until {
            return Performed::Event(Event::Tick);
        }
        tokio::select! {
            biased;
            event = self.check_lock() => Performed::Event(event),
            () = clock.sleep_until(trusted_until) => Performed::Event(Event::Tick),
        }
    }
}

enum Performed {
    /// Nothing to report; go on with the next effect.
    Done,
    Event(Event),
    /// Step down and end.
    Stop,
}
