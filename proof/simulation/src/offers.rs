//! The broker that is a table of the store, as a process meets it: the product's own broker over a table in memory, whose
//! calls fail, whose answers get lost, and whose hints are lost or late. A process that dies keeps what it had taken until
//! its time is over. Owns the table; when it is asked is the product's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use campanile_adapters::offers::{HELD, Hint, Key, Table, Taken};
use campanile_core::port::broker::{Error, Message};
use campanile_core::port::clock::Clock as _;
use tokio::sync::mpsc;

use crate::broker::count_again;
use crate::net::{Link, Service};
use crate::tally::Fault;
use crate::time::NodeClock;

/// A late hint comes at most so late.
const LATE_MS_MAX: u64 = 5_000;

#[derive(Debug, Clone)]
struct Row {
    held_until: i64,
    taken: u32,
    body: String,
    signature: String,
}

/// The table that all processes share.
pub struct Offers {
    /// The clock that the store reads.
    clock: Arc<NodeClock>,
    rows: Mutex<BTreeMap<(String, i64), Row>>,
    /// Who hears hints.
    ears: Mutex<Vec<mpsc::UnboundedSender<Vec<String>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Offers {
    /// An empty table.
    pub fn new(clock: Arc<NodeClock>) -> Self {
        Self {
            clock,
            rows: Mutex::default(),
            ears: Mutex::default(),
        }
    }

    fn now(&self) -> i64 {
        self.clock.now().as_ms()
    }

    fn put(&self, messages: &[Message]) {
        let mut rows = lock(&self.rows);
        for message in messages {
            let rank = 9 - i64::from(message.priority.min(9));
            let mut place = rank << 59 | (self.now() & ((1 << 40) - 1)) << 18;
            while rows.contains_key(&(message.destination.clone(), place)) {
                place += 1;
            }
            let mut properties = message.properties.iter();
            let signature = properties.find(|(name, _)| *name == "campanile_sig");
            let row = Row {
                held_until: 0,
                taken: 0,
                body: message.body.clone(),
                signature: signature.map_or_else(String::new, |(_, value)| value.clone()),
            };
            rows.insert((message.destination.clone(), place), row);
        }
    }

    /// Nobody holds anything for longer than [`HELD`]: what says so was taken by a clock that has been set back since.
    fn is_free(&self, row: &Row) -> bool {
        let now = self.now();
        row.held_until <= now || row.held_until > now + 2 * held_ms()
    }

    fn take(&self, destination: &str, most: usize) -> Vec<Taken> {
        let mut rows = lock(&self.rows);
        let until = self.now() + held_ms();
        let of = (destination.to_owned(), i64::MIN)..=(destination.to_owned(), i64::MAX);
        let free = rows.range_mut(of).filter(|(_, row)| self.is_free(row));
        let taken = free.take(most).map(|((_, place), row)| {
            row.held_until = until;
            row.taken += 1;
            Taken {
                key: Key {
                    place: *place,
                    held_until: until,
                },
                body: row.body.clone(),
                signature: row.signature.clone(),
                again: row.taken > 1,
            }
        });
        taken.collect()
    }

    fn has_any(&self, destination: &str) -> bool {
        let rows = lock(&self.rows);
        let of = (destination.to_owned(), i64::MIN)..=(destination.to_owned(), i64::MAX);
        rows.range(of).any(|(_, row)| self.is_free(row))
    }

    fn tell(&self, destinations: &[String]) {
        lock(&self.ears).retain(|ear| ear.send(destinations.to_vec()).is_ok());
    }
}

fn held_ms() -> i64 {
    i64::try_from(HELD.as_millis()).unwrap_or(i64::MAX)
}

/// One process's way to the table.
pub struct FaultyOffers {
    inner: Arc<Offers>,
    link: Link,
    ear: tokio::sync::Mutex<mpsc::UnboundedReceiver<Vec<String>>>,
}

impl FaultyOffers {
    /// For one start of a process.
    pub fn new(inner: Arc<Offers>, link: Link) -> Self {
        let (sender, ear) = mpsc::unbounded_channel();
        lock(&inner.ears).push(sender);
        Self {
            inner,
            link,
            ear: tokio::sync::Mutex::new(ear),
        }
    }

    /// A call that may not arrive, may be the last thing that the process does, and whose answer may be lost.
    async fn call<T>(&self, what: &str, call: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let knobs = &self.link.net.knobs;
        self.link.way().await;
        let fails = self.link.is_cut(Service::Store)
            || self
                .link
                .hit(knobs.broker_failed, Fault::BrokerFailed, what);
        if fails {
            // Even a refused connection takes a moment.
            self.link.net.time.pass(1).await;
            return Err(Error::Unreachable("simulated".into()));
        }
        self.link.maybe_die(what).await;
        let answer = call();
        self.link.maybe_die(what).await;
        self.link.way().await;
        if self.link.hit(knobs.confirm_lost, Fault::ConfirmLost, what) {
            self.link.net.time.pass(1_000).await;
            return Err(Error::Unconfirmed(Duration::from_secs(1)));
        }
        Ok(answer)
    }
}

#[async_trait]
impl Table for FaultyOffers {
    async fn put(&self, messages: &[Message]) -> Result<(), Error> {
        for message in messages {
            count_again(&self.link, message);
        }
        self.call("offer", || self.inner.put(messages)).await
    }

    async fn look(&self, destinations: &[String]) -> Result<Vec<String>, Error> {
        let found = || {
            let some = destinations.iter().filter(|d| self.inner.has_any(d));
            some.cloned().collect()
        };
        self.call("look for offers", found).await
    }

    async fn take(&self, destination: &str, most: usize) -> Result<Vec<Taken>, Error> {
        let take = || self.inner.take(destination, most);
        self.call("take offers", take).await
    }

    async fn done(&self, destination: &str, keys: &[Key]) -> Result<(), Error> {
        let lost = self.link.net.knobs.ack_lost;
        if self.link.hit(lost, Fault::AckLost, "done") {
            return Err(Error::Unreachable("simulated".into()));
        }
        let done = || {
            let mut rows = lock(&self.inner.rows);
            for key in keys {
                rows.remove(&(destination.to_owned(), key.place));
            }
        };
        self.call("done with offers", done).await
    }

    async fn give_back(&self, destination: &str, keys: &[Key]) -> Result<(), Error> {
        let give_back = || {
            let mut rows = lock(&self.inner.rows);
            for key in keys {
                let row = rows.get_mut(&(destination.to_owned(), key.place));
                if let Some(row) = row.filter(|row| row.held_until == key.held_until) {
                    row.held_until = 0;
                }
            }
        };
        self.call("give offers back", give_back).await
    }

    async fn tell(&self, destinations: &BTreeSet<String>) -> Result<(), Error> {
        let net = &self.link.net;
        if self
            .link
            .hit(net.knobs.hint_lost, Fault::HintLost, "offers")
        {
            return Ok(());
        }
        let names: Vec<String> = destinations.iter().cloned().collect();
        if self
            .link
            .hit(net.knobs.delayed, Fault::MessageDelayed, "hint")
            && let Some(home) = net.home.get()
        {
            let (net, inner) = (Arc::clone(net), Arc::clone(&self.inner));
            let wait = 1 + net.dice.below(LATE_MS_MAX);
            home.spawn(async move {
                net.time.pass(wait).await;
                inner.tell(&names);
            });
            return Ok(());
        }
        self.call("tell of offers", || self.inner.tell(&names))
            .await
    }

    async fn hear(&self) -> Hint {
        match self.ear.lock().await.recv().await {
            Some(names) => Hint::Offered(names),
            None => std::future::pending().await,
        }
    }
}
