//! The broker that is a table of the store: a row is a message, taken for a while by one consumer, removed once it is
//! acknowledged. It owns what one process asks of that table, and when; it knows no database (that is [`Table`]'s) and
//! decides nothing about runs. What a row offers is won by the claim alone, as from any broker.
//!
//! Hints only make it ask sooner. Without any, what is offered is found within [`LOOK_PERIOD`]; what a dead process had
//! taken is offered again after [`HELD`].

mod desk;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use campanile_core::causes;
use campanile_core::port::broker::{
    Broker, Consumer, Delivery, Error, Message, destination_problem,
};
use campanile_core::port::clock::Clock;
use campanile_core::system;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::desk::{Desk, Next, Wish};
pub use self::desk::{HINT_PERIOD, LOOK_PERIOD};

/// How long an offer is one consumer's, unless it is acknowledged or given back before.
pub const HELD: Duration = Duration::from_secs(10);

/// An offer's place in its destination, and until when it is whose: what an acknowledgement names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// By priority, then by the moment at which it was offered.
    pub place: i64,
    /// The end of the time for which it was taken: a later taker has another.
    pub held_until: i64,
}

/// An offer that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What an acknowledgement names.
    pub key: Key,
    /// The message's body.
    pub body: String,
    /// Its signature; empty if there is none.
    pub signature: String,
    /// Whether it was taken before.
    pub again: bool,
}

/// What other processes tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// These destinations have something.
    Offered(Vec<String>),
    /// Some hints may have been lost.
    Missed,
}

/// The table of offers. Each call is one statement, or one transaction.
#[async_trait]
pub trait Table: Send + Sync + 'static {
    /// Offers these, all or none.
    async fn put(&self, messages: &[Message]) -> Result<(), Error>;

    /// Which of these destinations have an offer that nobody holds. Changes nothing.
    async fn look(&self, destinations: &[String]) -> Result<Vec<String>, Error>;

    /// Takes up to so many offers of a destination for [`HELD`], by priority and then in their order; passes over those that
    /// others hold.
    async fn take(&self, destination: &str, most: usize) -> Result<Vec<Taken>, Error>;

    /// Removes offers that are done with.
    async fn done(&self, destination: &str, keys: &[Key]) -> Result<(), Error>;

    /// Lets others have offers that are still held as these keys say.
    async fn give_back(&self, destination: &str, keys: &[Key]) -> Result<(), Error>;

    /// Tells other processes that these destinations have something. Called at most once in [`HINT_PERIOD`].
    async fn tell(&self, destinations: &BTreeSet<String>) -> Result<(), Error>;

    /// Waits for what other processes tell; for ever where they can't.
    async fn hear(&self) -> Hint;
}

/// The broker of one process.
pub struct OfferBroker {
    shared: Arc<Shared>,
}

/// What the broker, its consumers and the tasks that serve them share.
struct Shared {
    table: Arc<dyn Table>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Wakes who takes.
    changed: Notify,
    /// Wakes who tells.
    offered: Notify,
    stop: CancellationToken,
    takes: AtomicBool,
    tells: AtomicBool,
    seats: AtomicU64,
}

#[derive(Default)]
struct State {
    desk: Desk,
    seats: HashMap<u64, Seat>,
    /// What consumers that are gone had not acknowledged.
    returned: Vec<(String, Vec<Key>)>,
    /// What other processes are not told of yet.
    untold: BTreeSet<String>,
}

/// Where a consumer finds what was taken for it.
#[derive(Default)]
struct Seat {
    arrived: Vec<Taken>,
    error: Option<Error>,
    woken: Arc<Notify>,
}

impl std::fmt::Debug for OfferBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OfferBroker")
    }
}

impl OfferBroker {
    /// A broker over this table. It asks nothing before somebody publishes or consumes.
    #[must_use]
    pub fn new(table: Arc<dyn Table>, clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                table,
                clock,
                state: Mutex::default(),
                changed: Notify::new(),
                offered: Notify::new(),
                stop: CancellationToken::new(),
                takes: AtomicBool::new(false),
                tells: AtomicBool::new(false),
                seats: AtomicU64::new(0),
            }),
        }
    }
}

impl Drop for OfferBroker {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

#[async_trait]
impl Broker for OfferBroker {
    async fn publish(&self, messages: &[Message]) -> Result<(), Error> {
        for message in messages {
            message.check()?;
        }
        if messages.is_empty() {
            return Ok(());
        }
        self.shared.table.put(messages).await?;
        let names = messages.iter().map(|m| m.destination.as_str());
        self.shared.tell(&names.collect());
        Ok(())
    }

    async fn consume(
        &self,
        destination: &str,
        prefetch: usize,
    ) -> Result<Box<dyn Consumer>, Error> {
        if let Some(problem) = destination_problem(destination) {
            return Err(Error::Refused(problem.into()));
        }
        let shared = Arc::clone(&self.shared);
        if !shared.takes.swap(true, Ordering::AcqRel) {
            system::spawn(until_stopped(Arc::clone(&shared), Shared::take_for_ever));
            system::spawn(until_stopped(Arc::clone(&shared), Shared::hear_for_ever));
        }
        let seat = shared.seats.fetch_add(1, Ordering::Relaxed) + 1;
        let place = Seat::default();
        let woken = Arc::clone(&place.woken);
        shared.lock().seats.insert(seat, place);
        Ok(Box::new(OfferConsumer {
            shared,
            seat,
            woken,
            destination: destination.to_owned(),
            prefetch: prefetch.max(1),
            unacknowledged: BTreeMap::new(),
            next_token: 0,
        }))
    }

    fn reaches_listeners(&self) -> bool {
        false
    }
}

/// Serves until the broker is dropped.
async fn until_stopped<F: Future<Output = ()>>(
    shared: Arc<Shared>,
    serve: impl FnOnce(Arc<Shared>) -> F,
) {
    let stop = shared.stop.clone();
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = serve(shared) => {}
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets those know who wait here, and soon those who wait elsewhere.
    fn tell(self: &Arc<Self>, destinations: &BTreeSet<&str>) {
        let mut state = self.lock();
        for destination in destinations {
            state.desk.stir(destination);
        }
        let names = destinations.iter().map(|name| (*name).to_owned());
        state.untold.extend(names);
        drop(state);
        self.changed.notify_one();
        self.offered.notify_one();
        if !self.tells.swap(true, Ordering::AcqRel) {
            system::spawn(until_stopped(Arc::clone(self), Self::tell_for_ever));
        }
    }

    /// One statement for all that was offered since the last one, and then a breath.
    async fn tell_for_ever(self: Arc<Self>) {
        loop {
            let offered = self.offered.notified();
            let untold = std::mem::take(&mut self.lock().untold);
            if untold.is_empty() {
                offered.await;
                continue;
            }
            if let Err(error) = self.table.tell(&untold).await {
                tracing::debug!(error = %causes(&error), "other workers were not told of offers: they look by themselves");
            }
            self.clock.sleep(HINT_PERIOD).await;
        }
    }

    async fn hear_for_ever(self: Arc<Self>) {
        loop {
            match self.table.hear().await {
                Hint::Offered(destinations) => {
                    let mut state = self.lock();
                    destinations.iter().for_each(|d| state.desk.told(d));
                }
                Hint::Missed => self.lock().desk.missed(),
            }
            self.changed.notify_one();
        }
    }

    async fn take_for_ever(self: Arc<Self>) {
        loop {
            let changed = self.changed.notified();
            self.give_back().await;
            let now = self.clock.monotonic();
            let next = self.lock().desk.next(now);
            match next {
                Next::Take(wish) => {
                    let taken = self.table.take(&wish.destination, wish.most).await;
                    self.took(&wish, taken);
                }
                Next::Look(destinations) => match self.table.look(&destinations).await {
                    Ok(found) => self.lock().desk.found(&found),
                    Err(error) => self.failed(&error),
                },
                Next::Wait(None) => changed.await,
                Next::Wait(Some(until)) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = self.clock.sleep_until(until) => {}
                },
            }
        }
    }

    /// What could not be given back comes back by itself.
    async fn give_back(self: &Arc<Self>) {
        let returned = std::mem::take(&mut self.lock().returned);
        for (destination, keys) in returned {
            match self.table.give_back(&destination, &keys).await {
                Ok(()) => self.tell(&BTreeSet::from([destination.as_str()])),
                Err(error) => {
                    tracing::debug!(
                        error = %causes(&error),
                        "offers were not given back: others have them after {} s", HELD.as_secs()
                    );
                }
            }
        }
    }

    fn took(&self, wish: &Wish, taken: Result<Vec<Taken>, Error>) {
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => return self.failed(&error),
        };
        let mut state = self.lock();
        state.desk.took(wish, taken.len(), self.clock.monotonic());
        if taken.is_empty() {
            return;
        }
        if let Some(seat) = state.seats.get_mut(&wish.seat) {
            seat.arrived.extend(taken);
            seat.woken.notify_one();
        } else {
            let keys = taken.iter().map(|t| t.key).collect();
            state.returned.push((wish.destination.clone(), keys));
        }
    }

    /// Everybody who waits is told, and comes again after a while.
    fn failed(&self, error: &Error) {
        let mut state = self.lock();
        for seat in state.desk.failed() {
            if let Some(seat) = state.seats.get_mut(&seat) {
                seat.error = Some(again(error));
                seat.woken.notify_one();
            }
        }
    }
}

/// The same once more: errors are not copied.
fn again(error: &Error) -> Error {
    let cause = || causes(error).into();
    match error {
        Error::Refused(_) => Error::Refused(cause()),
        Error::Unsendable(what) => Error::Unsendable(what.clone()),
        Error::Unconfirmed(wait) => Error::Unconfirmed(*wait),
        Error::Unreachable(_) => Error::Unreachable(cause()),
    }
}

struct OfferConsumer {
    shared: Arc<Shared>,
    seat: u64,
    woken: Arc<Notify>,
    destination: String,
    prefetch: usize,
    unacknowledged: BTreeMap<u64, Key>,
    next_token: u64,
}

/// A wish that is withdrawn with the call that made it.
struct Waiting<'a>(&'a Shared, u64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().desk.withdraw(self.1);
    }
}

impl OfferConsumer {
    /// What has arrived; where there is nothing, and room for something, it is wished for.
    fn look(&mut self) -> Result<Vec<Delivery>, Error> {
        let mut state = self.shared.lock();
        let Some(seat) = state.seats.get_mut(&self.seat) else {
            return Ok(Vec::new());
        };
        if let Some(error) = seat.error.take() {
            return Err(error);
        }
        let arrived = std::mem::take(&mut seat.arrived);
        let room = self.prefetch.saturating_sub(self.unacknowledged.len());
        if arrived.is_empty() && room > 0 {
            state.desk.wish(Wish {
                seat: self.seat,
                destination: self.destination.clone(),
                most: room,
            });
        }
        drop(state);
        let deliveries = arrived.into_iter().map(|taken| {
            let token = self.next_token;
            self.next_token += 1;
            self.unacknowledged.insert(token, taken.key);
            Delivery {
                body: taken.body,
                signature: taken.signature,
                redelivered: taken.again,
                token,
            }
        });
        Ok(deliveries.collect())
    }
}

#[async_trait]
impl Consumer for OfferConsumer {
    async fn receive(&mut self) -> Result<Vec<Delivery>, Error> {
        let (shared, woken) = (Arc::clone(&self.shared), Arc::clone(&self.woken));
        let _waiting = Waiting(&shared, self.seat);
        loop {
            let deliveries = self.look()?;
            if !deliveries.is_empty() {
                return Ok(deliveries);
            }
            shared.changed.notify_one();
            woken.notified().await;
        }
    }

    async fn ack(&mut self, tokens: &[u64]) -> Result<(), Error> {
        let held = &self.unacknowledged;
        let keys: Vec<Key> = tokens.iter().filter_map(|t| held.get(t).copied()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        self.shared.table.done(&self.destination, &keys).await?;
        for token in tokens {
            self.unacknowledged.remove(token);
        }
        Ok(())
    }
}

impl Drop for OfferConsumer {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let seat = state.seats.remove(&self.seat).unwrap_or_default();
        let arrived = seat.arrived.iter().map(|taken| taken.key);
        let keys: Vec<Key> = self
            .unacknowledged
            .values()
            .copied()
            .chain(arrived)
            .collect();
        if !keys.is_empty() {
            state
                .returned
                .push((std::mem::take(&mut self.destination), keys));
        }
        drop(state);
        self.shared.changed.notify_one();
    }
}
