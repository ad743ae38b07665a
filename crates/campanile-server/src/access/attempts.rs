//! Tries to get in with a password: limited by the client's address and by the name that is tried, before anything is
//! hashed. A try is paid for when it is made, and given back if it was right, so that many at once are limited like one
//! after the other.
//!
//! The limit of a name must not become a way to keep its owner out: an address from which he came in before has only its own
//! limit. Both are of this node and this process: what is remembered is gone with it.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use campanile_core::limits::{
    LOGIN_ADDRESSES_MAX, LOGIN_BURST, LOGIN_LOG_LINES_MAX, LOGIN_LOG_PERIOD, LOGIN_REFILL,
};
use campanile_core::port::clock::Clock as _;
use campanile_core::system::SystemClock;
use campanile_core::time::Monotonic;

use crate::api::logins::group;

/// Tries of one name at once, from all addresses that its owner never came in from.
const NAME_BURST: u32 = 20;
/// And then one in this time.
const NAME_REFILL: Duration = Duration::from_secs(30);

/// What is owed under each key, in two generations: when one is full, the older is forgotten.
#[derive(Debug)]
struct Buckets<K> {
    burst: u32,
    refill: Duration,
    young: HashMap<K, (Duration, Monotonic)>,
    old: HashMap<K, (Duration, Monotonic)>,
}

impl<K: Hash + Eq + Copy> Buckets<K> {
    fn new(burst: u32, refill: Duration) -> Self {
        Self {
            burst,
            refill,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    fn owed(&mut self, key: K) -> &mut (Duration, Monotonic) {
        if !self.young.contains_key(&key) {
            if self.young.len() >= LOGIN_ADDRESSES_MAX / 2 {
                self.old = std::mem::take(&mut self.young);
            }
            let known = self.old.remove(&key).unwrap_or_default();
            self.young.insert(key, known);
        }
        self.young.entry(key).or_default()
    }

    /// Takes one try, or says how long to wait for it.
    fn take(&mut self, key: K, now: Monotonic) -> Result<(), Duration> {
        let (refill, full) = (self.refill, self.refill * self.burst);
        let (owed, at) = self.owed(key);
        *owed = owed.saturating_sub(now.since(*at));
        *at = now;
        if *owed + refill > full {
            return Err(*owed + refill - full);
        }
        *owed += refill;
        Ok(())
    }

    fn give_back(&mut self, key: K) {
        let refill = self.refill;
        let (owed, _) = self.owed(key);
        *owed = owed.saturating_sub(refill);
    }
}

/// What is remembered.
#[derive(Debug)]
struct Table {
    addresses: Buckets<IpAddr>,
    names: Buckets<u64>,
    /// From where a name's owner came in.
    homes: [HashSet<(u64, IpAddr)>; 2],
    /// When a line told of an address last, and how many of its tries failed since.
    said: HashMap<IpAddr, (Monotonic, u64)>,
}

/// The tries of all.
#[derive(Debug)]
pub struct Attempts {
    clock: SystemClock,
    table: Mutex<Table>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            clock: SystemClock::new(),
            table: Mutex::new(Table {
                addresses: Buckets::new(LOGIN_BURST, LOGIN_REFILL),
                names: Buckets::new(NAME_BURST, NAME_REFILL),
                homes: Default::default(),
                said: HashMap::new(),
            }),
        }
    }
}

/// A name as it is remembered: nothing of it can be read back.
fn mark(name: &str) -> u64 {
    crate::api::logins::mark(name)
}

impl Attempts {
    /// Takes a try of this name from this address.
    ///
    /// # Errors
    /// How long to wait for it.
    pub fn take(&self, address: IpAddr, name: &str) -> Result<(), Duration> {
        let now = self.clock.monotonic();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.take(group(address), mark(name), now)
    }

    /// It was right.
    pub fn was_right(&self, address: IpAddr, name: &str) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.was_right(group(address), mark(name));
    }

    /// A try from this address failed: how many did since the last line about it, if it is time for a line.
    pub fn failed(&self, address: IpAddr) -> Option<u64> {
        let now = self.clock.monotonic();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.failed(group(address), now)
    }
}

impl Table {
    fn take(&mut self, address: IpAddr, name: u64, now: Monotonic) -> Result<(), Duration> {
        self.addresses.take(address, now)?;
        if self
            .homes
            .iter()
            .any(|homes| homes.contains(&(name, address)))
        {
            return Ok(());
        }
        let taken = self.names.take(name, now);
        if taken.is_err() {
            self.addresses.give_back(address);
        }
        taken
    }

    fn was_right(&mut self, address: IpAddr, name: u64) {
        self.addresses.give_back(address);
        if self
            .homes
            .iter()
            .any(|homes| homes.contains(&(name, address)))
        {
            return;
        }
        self.names.give_back(name);
        if self.homes[0].len() >= LOGIN_ADDRESSES_MAX / 2 {
            self.homes[1] = std::mem::take(&mut self.homes[0]);
        }
        self.homes[0].insert((name, address));
    }

    fn failed(&mut self, address: IpAddr, now: Monotonic) -> Option<u64> {
        let is_recent = |at: Monotonic| now.since(at) < LOGIN_LOG_PERIOD;
        if self.said.len() >= LOGIN_ADDRESSES_MAX {
            self.said.retain(|_, (at, _)| is_recent(*at));
        }
        if let Some((at, untold)) = self.said.get_mut(&address)
            && is_recent(*at)
        {
            *untold += 1;
            return None;
        }
        let lines = self.said.values().filter(|(at, _)| is_recent(*at)).count();
        if lines >= LOGIN_LOG_LINES_MAX as usize {
            return None;
        }
        let (_, untold) = self.said.insert(address, (now, 0)).unwrap_or((now, 0));
        Some(untold + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Attempts::default().table.into_inner().unwrap()
    }

    fn from(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0x0a00_0000 + n).into()
    }

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_ms(1 + seconds * 1_000)
    }

    #[test]
    fn an_address_has_a_few_tries_and_then_one_in_a_while() {
        let mut table = table();
        for n in 0..u64::from(LOGIN_BURST) {
            table.take(from(1), n, at(0)).unwrap();
        }
        assert_eq!(table.take(from(1), 99, at(0)), Err(LOGIN_REFILL));
        table.take(from(2), 99, at(0)).unwrap();
        table.take(from(1), 99, at(6)).unwrap();
        table.take(from(1), 99, at(6)).unwrap_err();
        // A right one costs nothing.
        for _ in 0..50 {
            table.take(from(3), 7, at(9)).unwrap();
            table.was_right(from(3), 7);
        }
    }

    #[test]
    fn a_name_is_limited_from_all_addresses_but_those_of_its_owner() {
        let mut table = table();
        table.take(from(1), 7, at(0)).unwrap();
        table.was_right(from(1), 7);
        for n in 0..NAME_BURST {
            table.take(from(100 + n), 7, at(0)).unwrap();
        }
        // However many addresses a guesser has.
        assert_eq!(table.take(from(500), 7, at(0)), Err(NAME_REFILL));
        table.take(from(500), 8, at(0)).unwrap();
        for _ in 0..3 {
            table.take(from(1), 7, at(0)).unwrap();
        }
        // His own address is limited by itself, and one that was refused by the name's limit alone has not paid.
        for _ in 3..LOGIN_BURST {
            table.take(from(1), 7, at(0)).unwrap();
        }
        table.take(from(1), 7, at(0)).unwrap_err();
        table.take(from(501), 7, at(30)).unwrap();
    }

    #[test]
    fn a_line_tells_how_many_failed_since_the_last() {
        let mut table = table();
        let told = [0, 1, 59, 60, 61, 200].map(|second| table.failed(from(1), at(second)));
        assert_eq!(told, [Some(1), None, None, Some(3), None, Some(2)]);
        let lines = (2..1_000).filter_map(|n| table.failed(from(n), at(201)));
        assert_eq!(lines.sum::<u64>(), u64::from(LOGIN_LOG_LINES_MAX) - 1);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut table = table();
        for n in 0..30_000 {
            table.take(from(n), u64::from(n), at(0)).unwrap();
            table.was_right(from(n), u64::from(n));
            table.failed(from(n), at(u64::from(n)));
        }
        let most = LOGIN_ADDRESSES_MAX;
        assert!(table.addresses.young.len() + table.addresses.old.len() <= most);
        assert!(table.names.young.len() + table.names.old.len() <= most);
        assert!(table.homes[0].len() + table.homes[1].len() <= most && table.said.len() <= most);
    }
}
