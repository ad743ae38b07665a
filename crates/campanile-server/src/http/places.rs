//! How many connections there may be, in all and from one address. A newcomer that finds no place takes that of the
//! connection that has waited longest without a request under way: so a crowd that sends nothing keeps nobody out. Owns
//! who has a place; opens and closes nothing itself.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::patience::{Stage, Standing};

/// Descriptors that are kept back for the node itself: store, lock, broker, files.
const KEPT_BACK: u64 = 128;
/// And for each run at once: the pipes of a command, the connection of a request.
const KEPT_BACK_PER_SLOT: u64 = 4;
/// Connections whatever else: a node that can't be asked is blind.
const CONNECTIONS_MIN: u64 = 16;
/// Connections at most, unless the setting says more.
const CONNECTIONS_AUTO_MAX: u64 = 10_000;
/// Connections that were told to leave and have not yet: so many may be over the limit for a moment.
const LEAVING_MAX: usize = 32;

/// How many connections a process may have by itself, if its settings don't say: what its descriptors leave over.
#[must_use]
pub fn connections_of(descriptors: u64, slots: u32) -> usize {
    let kept = KEPT_BACK + KEPT_BACK_PER_SLOT * u64::from(slots);
    // Many slots on few descriptors: half of them are for connections all the same.
    let kept = kept.min(descriptors / 2);
    let free = descriptors.saturating_sub(kept);
    let bounded = free.clamp(CONNECTIONS_MIN, CONNECTIONS_AUTO_MAX);
    usize::try_from(bounded).unwrap_or(usize::MAX)
}

/// The limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    /// In all.
    pub(super) all: usize,
    /// From one address.
    pub(super) per_address: usize,
}

/// Who has a place.
pub(super) struct Places {
    caps: Caps,
    /// Whether an address may have as many as there are: a proxy that others stand behind.
    exempt: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    taken: Mutex<Taken>,
    left: Notify,
    /// Connections that gave their place to a newcomer.
    pub(super) displaced: AtomicU64,
    /// Newcomers for whom there was no place.
    pub(super) refused: AtomicU64,
}

#[derive(Default)]
struct Taken {
    by_id: HashMap<u64, Entry>,
    by_address: HashMap<IpAddr, usize>,
    leaving: usize,
    next: u64,
}

struct Entry {
    address: IpAddr,
    standing: Arc<Standing>,
    leave: CancellationToken,
    /// It was told to leave, and its place is given away.
    displaced: bool,
}

impl std::fmt::Debug for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Places({})", self.count())
    }
}

/// A place, for as long as it is held.
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    /// Where the connection stands.
    pub(super) standing: Arc<Standing>,
    /// Fires when another needs the place, or all is over.
    pub(super) leave: CancellationToken,
}

impl Places {
    pub(super) fn new(caps: Caps, exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self {
            caps,
            exempt: Box::new(exempt),
            taken: Mutex::default(),
            left: Notify::new(),
            displaced: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.taken().by_id.len()
    }

    /// What `/metrics` says of them.
    pub(super) fn text(&self) -> String {
        let (displaced, refused) = (&self.displaced, &self.refused);
        format!(
            "# TYPE campanile_http_connections gauge\n\
             # HELP campanile_http_connections Connections that are open\n\
             campanile_http_connections {}\n\
             # TYPE campanile_http_connections_displaced counter\n\
             # HELP campanile_http_connections_displaced Connections without a request that gave their place to another\n\
             campanile_http_connections_displaced_total {}\n\
             # TYPE campanile_http_connections_refused counter\n\
             # HELP campanile_http_connections_refused Connections for which there was no place\n\
             campanile_http_connections_refused_total {}\n",
            self.count(),
            displaced.load(Ordering::Relaxed),
            refused.load(Ordering::Relaxed)
        )
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while too many were told to leave and have not left: they have their descriptors still.
    pub(super) async fn settled(&self) {
        loop {
            let left = self.left.notified();
            if self.taken().leaving < LEAVING_MAX {
                return;
            }
            left.await;
        }
    }

    /// A place for a newcomer; `None` when all are in use by requests. `over` ends it with all others.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr, over: &CancellationToken) -> Option<Place> {
        let address = group_of(peer);
        let mut taken = self.taken();
        let of_address = taken.by_address.get(&address).copied().unwrap_or(0);
        let crowded = of_address >= self.caps.per_address && !(self.exempt)(peer);
        let full = taken.by_id.len() - taken.leaving >= self.caps.all;
        if crowded || full {
            let of = if crowded {
                address
            } else {
                taken.most_of().unwrap_or(address)
            };
            if !taken.displace(of) {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            self.displaced.fetch_add(1, Ordering::Relaxed);
        }
        let id = taken.next;
        taken.next += 1;
        let entry = Entry {
            address,
            standing: Arc::default(),
            leave: over.child_token(),
            displaced: false,
        };
        let place = Place {
            places: Arc::clone(self),
            id,
            standing: Arc::clone(&entry.standing),
            leave: entry.leave.clone(),
        };
        *taken.by_address.entry(address).or_default() += 1;
        taken.by_id.insert(id, entry);
        Some(place)
    }
}

impl Taken {
    /// The address with the most connections that some newcomer could displace.
    fn most_of(&self) -> Option<IpAddr> {
        let mut waiting: HashMap<IpAddr, usize> = HashMap::new();
        for entry in self.by_id.values().filter(|e| e.waits()) {
            *waiting.entry(entry.address).or_default() += 1;
        }
        let most = waiting.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(address, _)| address)
    }

    /// Tells the connection of this address that has waited longest to leave.
    fn displace(&mut self, address: IpAddr) -> bool {
        let waiting = self.by_id.iter_mut();
        let waiting = waiting.filter(|(_, e)| e.address == address && e.waits());
        // One that has never asked anything goes before one that is paused between requests.
        let rank = |id: u64, entry: &Entry| (entry.standing.stage() == Stage::Idle, id);
        let Some((_, oldest)) = waiting.min_by_key(|(id, entry)| rank(**id, entry)) else {
            return false;
        };
        oldest.leave.cancel();
        oldest.displaced = true;
        self.leaving += 1;
        // It has its descriptor still, but no longer counts against its address.
        if let Some(count) = self.by_address.get_mut(&address) {
            *count = count.saturating_sub(1);
        }
        true
    }
}

impl Entry {
    fn waits(&self) -> bool {
        self.standing.stage() != Stage::Serving && !self.displaced
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        let Some(entry) = taken.by_id.remove(&self.id) else {
            return;
        };
        if entry.displaced {
            taken.leaving = taken.leaving.saturating_sub(1);
            self.places.left.notify_one();
        } else if let Some(count) = taken.by_address.get_mut(&entry.address) {
            *count = count.saturating_sub(1);
        }
        if taken.by_address.get(&entry.address) == Some(&0) {
            taken.by_address.remove(&entry.address);
        }
    }
}

/// The address, or the network that one client has to itself where addresses are plentiful.
fn group_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let kept = u128::from(v6) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(kept))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(all: usize, per_address: usize) -> Arc<Places> {
        let caps = Caps { all, per_address };
        let proxy: IpAddr = "10.0.0.1".parse().unwrap();
        Arc::new(Places::new(caps, move |address| address == proxy))
    }

    fn take(places: &Arc<Places>, peer: &str) -> Option<Place> {
        places.take(peer.parse().unwrap(), &CancellationToken::new())
    }

    #[test]
    fn descriptors_are_kept_back_for_the_node_itself() {
        assert_eq!(connections_of(1_024, 64), 1_024 - 128 - 256);
        assert_eq!(connections_of(1_024, 10_000), 512);
        assert_eq!(connections_of(20, 64), 16);
        assert_eq!(connections_of(1 << 40, 64), 10_000);
    }

    #[test]
    fn the_longest_silent_one_of_a_crowded_address_gives_its_place() {
        let places = places(100, 3);
        let held: Vec<Place> = (0..3).filter_map(|_| take(&places, "1.1.1.1")).collect();
        held[0].standing.begin();
        let other = take(&places, "2.2.2.2").unwrap();
        let fourth = take(&places, "1.1.1.1").unwrap();
        let left: Vec<bool> = held.iter().map(|p| p.leave.is_cancelled()).collect();
        assert_eq!(left, [false, true, false], "the first is being served");
        assert!(!other.leave.is_cancelled() && !fourth.leave.is_cancelled());
        for place in held.iter().chain([&fourth]) {
            place.standing.begin();
        }
        assert!(take(&places, "1.1.1.1").is_none(), "all are served");
        assert!(take(&places, "2.2.2.2").is_some());
        drop(held);
        assert!(take(&places, "1.1.1.1").is_some());
    }

    #[test]
    fn a_full_house_takes_from_whoever_has_most_and_a_proxy_may_have_all() {
        let places = places(6, 3);
        let lone = take(&places, "2.2.2.2").unwrap();
        let proxied: Vec<Place> = (0..5).filter_map(|_| take(&places, "10.0.0.1")).collect();
        assert_eq!(proxied.len(), 5);
        let newcomer = take(&places, "3.3.3.3").unwrap();
        assert!(proxied[0].leave.is_cancelled());
        assert!(!lone.leave.is_cancelled() && !newcomer.leave.is_cancelled());
    }

    #[test]
    fn the_numbers_come_back_to_nothing() {
        let places = places(4, 2);
        let held: Vec<Place> = (0..40).filter_map(|_| take(&places, "1.1.1.1")).collect();
        assert_eq!((held.len(), places.count()), (40, 40));
        assert_eq!(places.taken().leaving, 38);
        drop(held);
        let taken = places.taken();
        assert_eq!((taken.by_id.len(), taken.leaving), (0, 0));
        assert!(taken.by_address.is_empty());
    }

    #[tokio::test]
    async fn no_more_are_taken_while_too_many_have_not_left() {
        let places = places(100, 1);
        let mut held: Vec<Place> = (0..=LEAVING_MAX)
            .filter_map(|_| take(&places, "1.1.1.1"))
            .collect();
        let waiting = std::pin::pin!(places.settled());
        let mut waiting = waiting;
        assert!(futures_ready(waiting.as_mut()).await.is_none());
        held.remove(0);
        waiting.await;
    }

    /// What a future answers at once, if it does.
    async fn futures_ready<F: Future + Unpin>(future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }

    #[test]
    fn one_that_has_asked_before_keeps_its_place_longer() {
        let places = places(100, 2);
        let asked = take(&places, "1.1.1.1").unwrap();
        asked.standing.begin();
        asked.standing.end();
        let silent = take(&places, "1.1.1.1").unwrap();
        assert!(take(&places, "1.1.1.1").is_some());
        assert!(silent.leave.is_cancelled() && !asked.leave.is_cancelled());
    }

    #[test]
    fn a_client_of_the_newer_protocol_is_known_by_its_network() {
        let group = |text: &str| group_of(text.parse().unwrap());
        assert_eq!(group("2001:db8::1"), group("2001:db8::ffff:1"));
        assert_ne!(group("2001:db8::1"), group("2001:db8:0:1::1"));
        assert_eq!(group("::ffff:1.2.3.4"), group("1.2.3.4"));
        // All of loopback's other name.
        assert_ne!(group("::1"), group("127.0.0.1"));
    }
}
