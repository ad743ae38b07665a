//! Tries to get in with a wrong token: counted, limited by the client's address, told to the log. Guessing is slowed
//! down whoever guesses; a client that only repeats an old token is told so each time and slows nobody down, because it
//! learns nothing. No address can lock out another.
//!
//! While an address is over its limit, a right token from it waits like a wrong one: its acceptance would tell a guesser
//! that he has found it. This machine itself is the exception: whoever works on it keeps its right token's way in,
//! whatever another user of the machine does, and what is over the limit is still refused unless it is right.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use campanile_core::limits::{
    LOGIN_ADDRESSES_MAX, LOGIN_BURST, LOGIN_LOG_LINES_MAX, LOGIN_LOG_PERIOD, LOGIN_REFILL,
};
use campanile_core::port::clock::Clock as _;
use campanile_core::system::SystemClock;
use campanile_core::time::Monotonic;
use sha2::{Digest as _, Sha256};

use crate::http::proxies::Client;

/// Wrong tokens of an address that are remembered, so that their repetition costs nothing.
const REMEMBERED: usize = 4;

/// What comes of a request's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is right.
    Pass,
    /// There is none.
    Missing,
    /// It is wrong.
    Wrong,
    /// Too many wrong ones came from there: not before this time has passed.
    Limited(Duration),
}

/// What comes of it, and what is to be told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    pub verdict: Verdict,
    /// How many failures of the address were not told yet, if it is time to tell.
    pub told: Option<u64>,
}

/// Denied acts that are written down in a period, of all who are denied.
const DENIED_LINES_MAX: u32 = 60;

/// How often denied acts are written down: whoever is denied in a loop must not fill the audit.
#[derive(Debug)]
pub struct Denials {
    clock: SystemClock,
    state: Mutex<(Option<Monotonic>, u32, u64)>,
}

impl Default for Denials {
    fn default() -> Self {
        Self {
            clock: SystemClock::new(),
            state: Mutex::default(),
        }
    }
}

impl Denials {
    /// For one more: how many it stands for, if it is to be written down.
    pub(super) fn next(&self) -> Option<u64> {
        self.next_at(self.clock.monotonic())
    }

    fn next_at(&self, now: Monotonic) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (period, lines, waiting) = &mut *state;
        if period.is_none_or(|at| now.since(at) >= LOGIN_LOG_PERIOD) {
            (*period, *lines) = (Some(now), 0);
        }
        *waiting += 1;
        if *lines >= DENIED_LINES_MAX {
            return None;
        }
        *lines += 1;
        Some(std::mem::take(waiting))
    }
}

/// The tries of all addresses.
pub struct Logins {
    clock: SystemClock,
    table: Mutex<Table>,
    missing: AtomicU64,
    wrong: AtomicU64,
    limited: AtomicU64,
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logins")
    }
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            clock: SystemClock::new(),
            table: Mutex::default(),
            missing: AtomicU64::new(0),
            wrong: AtomicU64::new(0),
            limited: AtomicU64::new(0),
        }
    }
}

impl Logins {
    /// Judges a request of this client; `is_right` compares the token.
    pub fn judge(
        &self,
        client: Client,
        presented: Option<&str>,
        is_right: impl FnOnce(&str) -> bool,
    ) -> Judged {
        let Some(presented) = presented else {
            self.missing.fetch_add(1, Ordering::Relaxed);
            return Judged {
                verdict: Verdict::Missing,
                told: None,
            };
        };
        let right = is_right(presented);
        let now = self.clock.monotonic();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = table.judge(client, mark(presented), right, now);
        let line = match verdict {
            Verdict::Wrong | Verdict::Limited(_) => table.line(client.address, now),
            Verdict::Pass | Verdict::Missing => None,
        };
        drop(table);
        match verdict {
            Verdict::Wrong => self.wrong.fetch_add(1, Ordering::Relaxed),
            Verdict::Limited(_) => self.limited.fetch_add(1, Ordering::Relaxed),
            Verdict::Pass | Verdict::Missing => 0,
        };
        if let Some(count) = line {
            let limited = matches!(verdict, Verdict::Limited(_));
            let address = client.address;
            let what = if limited { "; it is limited now" } else { "" };
            tracing::warn!(
                %address, count, limited,
                "failed logins: {count} requests from {address} came with a wrong token since the last such line{what}"
            );
        }
        Judged {
            verdict,
            told: line,
        }
    }

    /// Whether an address is over its limit, so that what it presents need not be looked up. Not of this machine, and not
    /// for what it presented before.
    #[must_use]
    pub fn is_over(&self, client: Client, presented: &str) -> bool {
        let now = self.clock.monotonic();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.is_over(client, mark(presented), now)
    }

    /// What `/metrics` says of them.
    #[must_use]
    pub fn text(&self) -> String {
        let name = "campanile_failed_logins";
        let mut out = format!(
            "# TYPE {name} counter\n# HELP {name} Requests that were not let in, by their reason\n"
        );
        for (reason, count) in [
            ("missing", &self.missing),
            ("wrong", &self.wrong),
            ("limited", &self.limited),
        ] {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}_total{{reason=\"{reason}\"}} {count}");
        }
        out
    }
}

/// A wrong token as it is remembered: enough to know it again.
pub(crate) fn mark(token: &str) -> u64 {
    let digest = Sha256::digest(token.as_bytes());
    digest
        .iter()
        .take(8)
        .fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// Who is limited together: an address, or a network of IPv6, of which everybody has as many addresses as he likes.
pub(crate) fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(a) => Ipv6Addr::from(u128::from(a) >> 64 << 64).into(),
        v4 => v4,
    }
}

/// The addresses that tried and failed. Two generations bound it: when one is full, the older is forgotten.
#[derive(Debug, Default)]
struct Table {
    young: HashMap<IpAddr, Tries>,
    old: HashMap<IpAddr, Tries>,
    /// Lines of the log in this period, of all addresses.
    lines: u32,
    period: Option<Monotonic>,
}

#[derive(Debug, Clone, Default)]
struct Tries {
    /// Wrong tokens that are not forgiven yet, in time: each costs a refill.
    owed: Duration,
    at: Monotonic,
    wrong: [u64; REMEMBERED],
    next: usize,
    /// Failures since the log's last line.
    count: u64,
    said: Option<Monotonic>,
}

impl Table {
    /// The tries of an address; those of the older generation come over.
    fn tries(&mut self, address: IpAddr) -> &mut Tries {
        let address = group(address);
        if !self.young.contains_key(&address) {
            if self.young.len() >= LOGIN_ADDRESSES_MAX / 2 {
                self.old = std::mem::take(&mut self.young);
            }
            let tries = self.old.remove(&address).unwrap_or_default();
            self.young.insert(address, tries);
        }
        self.young.entry(address).or_default()
    }

    fn judge(&mut self, client: Client, mark: u64, right: bool, now: Monotonic) -> Verdict {
        let address = group(client.address);
        if right && !self.young.contains_key(&address) && !self.old.contains_key(&address) {
            return Verdict::Pass;
        }
        let tries = self.tries(client.address);
        let passed = now.since(tries.at);
        tries.owed = tries.owed.saturating_sub(passed);
        tries.at = now;
        // A token that was wrong before is right where the tokens were read again.
        let known = tries.wrong.contains(&mark);
        let full = LOGIN_REFILL * LOGIN_BURST;
        let room = tries.owed + LOGIN_REFILL <= full;
        if right && (known || room || client.is_local()) {
            return Verdict::Pass;
        }
        if !right && known {
            tries.count += 1;
            return Verdict::Wrong;
        }
        if !room {
            tries.count += 1;
            return Verdict::Limited(tries.owed + LOGIN_REFILL - full);
        }
        tries.count += 1;
        tries.owed += LOGIN_REFILL;
        tries.wrong[tries.next % REMEMBERED] = mark;
        tries.next += 1;
        Verdict::Wrong
    }

    fn is_over(&mut self, client: Client, mark: u64, now: Monotonic) -> bool {
        let address = group(client.address);
        let known = self.young.contains_key(&address) || self.old.contains_key(&address);
        if client.is_local() || !known {
            return false;
        }
        let tries = self.tries(client.address);
        let owed = tries.owed.saturating_sub(now.since(tries.at));
        owed + LOGIN_REFILL > LOGIN_REFILL * LOGIN_BURST && !tries.wrong.contains(&mark)
    }

    /// How many failures the log is to be told of now, if it is time for a line about this address.
    fn line(&mut self, address: IpAddr, now: Monotonic) -> Option<u64> {
        if self
            .period
            .is_none_or(|at| now.since(at) >= LOGIN_LOG_PERIOD)
        {
            self.period = Some(now);
            self.lines = 0;
        }
        if self.lines >= LOGIN_LOG_LINES_MAX {
            return None;
        }
        let tries = self.tries(address);
        if tries
            .said
            .is_some_and(|at| now.since(at) < LOGIN_LOG_PERIOD)
        {
            return None;
        }
        tries.said = Some(now);
        let count = std::mem::take(&mut tries.count);
        self.lines += 1;
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Client {
        Client {
            address: address.parse().unwrap(),
            direct: true,
        }
    }

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_ms(ms)
    }

    fn is_limited(verdict: Verdict) -> bool {
        matches!(verdict, Verdict::Limited(_))
    }

    #[test]
    fn denied_acts_are_written_down_a_few_a_minute_and_all_are_counted() {
        let denials = Denials::default();
        let told: Vec<u64> = (0..1_000).filter_map(|_| denials.next_at(at(5))).collect();
        assert_eq!(told, vec![1; 60]);
        assert_eq!(denials.next_at(at(60_005)), Some(941));
    }

    #[test]
    fn who_is_over_the_limit_has_nothing_looked_up() {
        let mut table = Table::default();
        assert!(!table.is_over(from("10.0.0.1"), 1, at(0)));
        for guess in 1..100 {
            table.judge(from("10.0.0.1"), guess, false, at(0));
            table.judge(from("127.0.0.1"), guess, false, at(0));
        }
        assert!(table.is_over(from("10.0.0.1"), 1_000, at(0)));
        assert!(!table.is_over(from("127.0.0.1"), 1_000, at(0)));
        assert!(!table.is_over(from("10.0.0.1"), 1_000, at(0).plus(LOGIN_REFILL)));
    }

    #[test]
    fn guesses_are_let_through_at_a_few_a_minute() {
        let mut table = Table::default();
        let mut wrong = 0;
        for guess in 0..21_000_u64 {
            // Three seconds.
            let verdict = table.judge(from("10.0.0.1"), guess + 1, false, at(guess / 7));
            wrong += u32::from(verdict == Verdict::Wrong);
        }
        assert_eq!(wrong, LOGIN_BURST);
        let Verdict::Limited(wait) = table.judge(from("10.0.0.1"), 0, false, at(3_000)) else {
            panic!("not limited");
        };
        assert!(wait > Duration::ZERO && wait <= LOGIN_REFILL, "{wait:?}");
        let later = at(3_000).plus(wait);
        assert_eq!(
            table.judge(from("10.0.0.1"), 77, false, later),
            Verdict::Wrong
        );
        assert!(is_limited(table.judge(from("10.0.0.1"), 78, false, later)));
    }

    #[test]
    fn a_right_token_waits_where_somebody_guesses_and_nowhere_else() {
        let mut table = Table::default();
        for guess in 1..100 {
            table.judge(from("10.0.0.1"), guess, false, at(0));
            table.judge(from("127.0.0.1"), guess, false, at(0));
            table.judge(from("2001:db8::1"), guess, false, at(0));
        }
        assert!(is_limited(table.judge(
            from("10.0.0.1"),
            1_000,
            true,
            at(0)
        )));
        assert!(is_limited(table.judge(
            from("2001:db8::ffff"),
            1_000,
            true,
            at(0)
        )));
        assert_eq!(
            table.judge(from("10.0.0.2"), 1_000, true, at(0)),
            Verdict::Pass
        );
        assert_eq!(
            table.judge(from("2001:db8:0:1::1"), 1_000, true, at(0)),
            Verdict::Pass
        );
        // This machine: the guess is refused, the right token is not.
        assert!(is_limited(table.judge(
            from("127.0.0.1"),
            999,
            false,
            at(0)
        )));
        assert_eq!(
            table.judge(from("127.0.0.1"), 1_000, true, at(0)),
            Verdict::Pass
        );
        // A proxy on this machine that speaks for somebody is not this machine.
        let far = Client {
            address: "127.0.0.1".parse().unwrap(),
            direct: false,
        };
        assert!(is_limited(table.judge(far, 1_000, true, at(0))));
        let later = at(0).plus(LOGIN_REFILL);
        assert_eq!(
            table.judge(from("10.0.0.1"), 1_000, true, later),
            Verdict::Pass
        );
    }

    #[test]
    fn a_client_that_repeats_an_old_token_limits_nobody() {
        let mut table = Table::default();
        for ms in 0..10_000 {
            assert_eq!(
                table.judge(from("10.0.0.1"), 5, false, at(ms)),
                Verdict::Wrong
            );
            assert_eq!(
                table.judge(from("10.0.0.1"), 6, true, at(ms)),
                Verdict::Pass
            );
        }
        // Read again, the tokens hold it.
        assert_eq!(
            table.judge(from("10.0.0.1"), 5, true, at(10_000)),
            Verdict::Pass
        );
    }

    #[test]
    fn the_table_and_the_log_are_bounded() {
        let mut table = Table::default();
        let mut lines = 0;
        for n in 0..100_000_u32 {
            let address = std::net::Ipv4Addr::from(0x0b00_0000 + n);
            let client = Client {
                address: address.into(),
                direct: true,
            };
            table.judge(client, 1, false, at(1));
            lines += u32::from(table.line(client.address, at(1)).is_some());
        }
        assert!(table.young.len() + table.old.len() <= LOGIN_ADDRESSES_MAX);
        assert_eq!(lines, LOGIN_LOG_LINES_MAX);
        let mut table = Table::default();
        let client = from("10.0.0.1");
        let mut told = Vec::new();
        for ms in 0..120_000 {
            table.judge(client, ms + 1, false, at(ms));
            told.extend(table.line(client.address, at(ms)));
        }
        assert_eq!(told, [1, 60_000]);
    }
}
