//! What all processes of one history share: time, the seed's dice, what can break, and the ledger of what happened. A
//! [`Link`] is one process's way through it. Owns no adapter: those are in `store.rs`, `broker.rs` and `lock.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use campanile_core::decide::invariants::Start;
use campanile_core::id::RunId;
use campanile_core::system::Random;

use crate::tally::{Fault, Seen, Tally};
use crate::time::Time;

/// The chances of the faults that a call can meet, in thousandths, and the usual length of a call. Every seed has its
/// own: many have some of them at zero, so that one fault does not hide what another would show.
#[derive(Debug, Clone, Default)]
pub struct Knobs {
    /// [`Fault::StoreFailed`].
    pub store_failed: u64,
    /// [`Fault::StoreContended`].
    pub store_contended: u64,
    /// [`Fault::CommitHidden`] and [`Fault::CommitMissing`].
    pub commit_in_doubt: u64,
    /// [`Fault::StoreSlow`].
    pub store_slow: u64,
    /// [`Fault::RowRefused`]: of a thousand rows, so many are refused for as long as the faults last.
    pub rows_refused: u64,
    /// One way of a call, in milliseconds, at most.
    pub way_ms: u64,
    /// [`Fault::BrokerFailed`] and [`Fault::ConsumerBroken`].
    pub broker_failed: u64,
    /// [`Fault::MessageDropped`].
    pub dropped: u64,
    /// [`Fault::MessageDoubled`].
    pub doubled: u64,
    /// [`Fault::MessageDelayed`].
    pub delayed: u64,
    /// [`Fault::ConfirmLost`].
    pub confirm_lost: u64,
    /// [`Fault::AckLost`].
    pub ack_lost: u64,
    /// [`Fault::LockFailed`] and [`Fault::LockAnswerLost`].
    pub lock_failed: u64,
    /// [`Fault::HintLost`].
    pub hint_lost: u64,
    /// [`Fault::CrashInCall`], in hundred-thousandths.
    pub crash_in_call: u64,
}

/// A service that a process may be cut off from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// The store.
    Store,
    /// The broker.
    Broker,
    /// The lock.
    Lock,
}

/// What a handler said at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ended {
    /// Which run.
    pub run: RunId,
    /// Which attempt.
    pub attempt: u32,
}

/// What happened, as it is written down while it happens.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The counts.
    pub tally: Tally,
    /// Handler starts, in order.
    pub starts: Vec<Start>,
    /// Runs whose payload their handler could not read, whether the store took that or not.
    pub unread: BTreeSet<RunId>,
    /// Handlers that ended well.
    pub ended_well: BTreeSet<Ended>,
    /// The first thing that must not be.
    pub violation: Option<String>,
    /// Processes that are to die where they stand.
    pub dying: Vec<usize>,
    /// Runs that waited for a permit.
    pub blocked: BTreeSet<RunId>,
    /// How often each message was published.
    pub published: BTreeMap<String, u32>,
    /// Until when which process can't reach what.
    cuts: BTreeMap<(Service, usize), u64>,
    hash: u64,
    lines: Option<Vec<String>>,
}

/// What all share.
pub struct Net {
    /// The one line of time.
    pub time: Arc<Time>,
    /// Where the faults come from.
    pub dice: Random,
    /// How likely they are.
    pub knobs: Knobs,
    /// Where late messages wait.
    pub home: OnceLock<tokio::runtime::Handle>,
    ledger: Mutex<Ledger>,
    calm: AtomicBool,
    /// How far the store's clock is ahead for long.
    ahead_ms: AtomicI64,
    /// The furthest that it has shown by such a jump.
    furthest_ms: AtomicI64,
    /// Until when people wait after one.
    wary_until_ms: AtomicU64,
}

/// How long after a jump of the store's clock people do nothing: what it planned may not be taken back yet.
const WARY_MS: u64 = 10_000;

impl Net {
    /// The store's clock is ahead by so much, for long, or (by nothing) right again.
    pub fn set_ahead(&self, ms: i64) {
        self.furthest_ms
            .store(self.furthest_ms(), Ordering::Relaxed);
        if self.ahead_ms.swap(ms, Ordering::Relaxed) != 0 {
            let until = self.time.now_ms() + WARY_MS;
            self.wary_until_ms.store(until, Ordering::Relaxed);
        }
    }

    /// A process takes the store's clock, which is wrong, for right: up to this much ahead. If that clock is right again by
    /// now, what it may have planned is all that there is of it.
    pub fn believe_ahead(&self, ms: i64, is_right_again: bool) {
        self.set_ahead(ms.max(self.ahead_ms.load(Ordering::Relaxed)));
        if is_right_again {
            self.set_ahead(0);
        }
    }

    /// The furthest that the store's clock has shown by a jump.
    pub fn furthest_ms(&self) -> i64 {
        let before = self.furthest_ms.load(Ordering::Relaxed);
        match self.ahead_ms.load(Ordering::Relaxed) {
            0 => before,
            ahead => before.max(self.time.wall().as_ms() + ahead),
        }
    }

    /// Whether the store's clock is ahead for long, or was a moment ago.
    pub fn is_jumped(&self) -> bool {
        let wary = self.time.now_ms() < self.wary_until_ms.load(Ordering::Relaxed);
        wary || self.ahead_ms.load(Ordering::Relaxed) != 0
    }

    /// An empty net; `verbose` keeps the lines of the history, else only their hash is kept.
    pub fn new(dice: Random, knobs: Knobs, verbose: bool) -> Self {
        let ledger = Ledger {
            hash: 0xcbf2_9ce4_8422_2325,
            lines: verbose.then(Vec::new),
            ..Ledger::default()
        };
        Self {
            time: Arc::default(),
            dice,
            knobs,
            home: OnceLock::new(),
            ledger: Mutex::new(ledger),
            calm: AtomicBool::new(false),
            ahead_ms: AtomicI64::new(0),
            furthest_ms: AtomicI64::new(i64::MIN),
            wary_until_ms: AtomicU64::new(0),
        }
    }

    /// The ledger; never held over an await.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something with this chance in a thousand happens now.
    pub fn chance(&self, per_mille: u64) -> bool {
        per_mille > 0 && !self.is_calm() && self.dice.below(1_000) < per_mille
    }

    /// Ends all faults, and the cuts with them.
    pub fn calm(&self) {
        self.calm.store(true, Ordering::Relaxed);
        self.ledger().cuts.clear();
    }

    /// Whether the faults are over.
    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Writes an event down.
    pub fn event(&self, node: usize, what: &'static str, detail: impl FnOnce() -> String) {
        let at = self.time.now_ms();
        let mut ledger = self.ledger();
        let head = at.to_le_bytes().into_iter().chain([node.to_le_bytes()[0]]);
        for byte in head.chain(what.bytes()) {
            ledger.hash = (ledger.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(lines) = &mut ledger.lines {
            let who = if node == HOME {
                "world".to_owned()
            } else {
                format!("node {node}")
            };
            let (s, ms) = (at / 1_000, at % 1_000);
            lines.push(format!("{s:>5}.{ms:03}  {who:<7} {what} {}", detail()));
        }
    }

    /// Counts a fault and writes it down.
    pub fn fault(&self, node: usize, fault: Fault, detail: impl FnOnce() -> String) {
        self.ledger().tally.fault(fault);
        self.event(node, fault.text(), detail);
    }

    /// Counts a rare event and writes it down.
    pub fn seen(&self, node: usize, seen: Seen, n: usize, detail: impl FnOnce() -> String) {
        if n > 0 {
            let n = u64::try_from(n).unwrap_or(u64::MAX);
            self.ledger().tally.seen(seen, n);
            self.event(node, seen.text(), detail);
        }
    }

    /// Something that must not be.
    pub fn violation(&self, what: String) {
        self.event(HOME, "VIOLATION", || what.clone());
        self.ledger().violation.get_or_insert(what);
    }

    /// Cuts a process off from a service.
    pub fn cut(&self, service: Service, node: usize, until_ms: u64) {
        self.ledger().cuts.insert((service, node), until_ms);
    }

    fn is_cut(&self, service: Service, node: usize) -> bool {
        let now = self.time.now_ms();
        let ledger = self.ledger();
        ledger.cuts.get(&(service, node)).is_some_and(|t| now < *t)
    }

    /// What the history comes to: the same for the same seed.
    pub fn hash(&self) -> u64 {
        self.ledger().hash
    }

    /// The history, if it was kept.
    pub fn history(&self) -> String {
        let ledger = self.ledger();
        let mut out = String::new();
        for line in ledger.lines.iter().flatten() {
            let _ = writeln!(out, "{line}");
        }
        out
    }
}

/// The number that stands for the world itself in histories.
pub const HOME: usize = 99;

/// One process's way through the net.
#[derive(Clone)]
pub struct Link {
    /// The net.
    pub net: Arc<Net>,
    /// Which process.
    pub node: usize,
}

impl Link {
    /// One way of a call.
    pub async fn way(&self) {
        let net = &self.net;
        let ms = net.dice.below(net.knobs.way_ms * 2 + 1);
        // Half of all ways take no time that one could measure.
        net.time.pass(ms.saturating_sub(net.knobs.way_ms)).await;
    }

    /// Whether a fault of this chance happens; counts it.
    pub fn hit(&self, per_mille: u64, fault: Fault, what: &str) -> bool {
        let hit = self.net.chance(per_mille);
        if hit {
            self.net.fault(self.node, fault, || what.to_owned());
        }
        hit
    }

    /// Whether this process is cut off from a service.
    pub fn is_cut(&self, service: Service) -> bool {
        self.net.is_cut(service, self.node)
    }

    /// Dies here, if the dice say so: the call never goes on, and the driver drops the process.
    pub async fn maybe_die(&self, what: &str) {
        let net = &self.net;
        let dies = net.knobs.crash_in_call > 0
            && !net.is_calm()
            && net.dice.below(100_000) < net.knobs.crash_in_call;
        if dies {
            net.fault(self.node, Fault::CrashInCall, || what.to_owned());
            self.die().await;
        }
    }

    /// Dies here.
    pub async fn die(&self) {
        self.net.ledger().dying.push(self.node);
        std::future::pending::<()>().await;
    }

    /// Counts a rare event.
    pub fn seen(&self, seen: Seen, n: usize, detail: impl FnOnce() -> String) {
        self.net.seen(self.node, seen, n, detail);
    }
}
