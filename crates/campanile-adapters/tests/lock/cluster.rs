//! A cluster whose master of the lock's slot is killed, halted, replaced or relieved of its slot, and one that is down.
//! It owns what must hold through each: the lock comes back by itself, and by the lock's own rule at most one node
//! believes in it at any time. The times that each costs are printed, never asserted.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use campanile_core::decide::lead::Config;
use campanile_core::time::Monotonic;
use xtask::servers::RedisCluster;

use super::*;

/// Shorter than the silence after which a master is replaced: what the dead one had not passed on is not believed any
/// more when its successor gives the lock away.
const SHORT: Duration = Duration::from_millis(1_400);
const PERIOD: Duration = Duration::from_millis(40);

/// Somebody's belief in the lock, in milliseconds of the watch's clock.
#[derive(Debug, Clone, Copy)]
struct Belief {
    who: &'static str,
    from: u64,
    until: u64,
}

/// Two nodes that contend for one lock, and what they believed.
struct Watch {
    clock: SystemClock,
    rule: Config,
    beliefs: Mutex<Vec<Belief>>,
    is_over: AtomicBool,
}

impl Watch {
    fn new(ttl: Duration) -> Self {
        Self {
            clock: SystemClock::new(),
            rule: Config { ttl },
            beliefs: Mutex::default(),
            is_over: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        self.clock.monotonic().as_ms()
    }

    /// Takes the lock and renews it as an elector does, until the watch is over.
    async fn contend(&self, lock: &RedisLock, who: &'static str) {
        let (me, ttl) = (holder(who), self.rule.ttl);
        let mut trusted_until = 0;
        while !self.is_over.load(Ordering::SeqCst) {
            let asked_at = self.clock.monotonic();
            let is_held = asked_at.as_ms() < trusted_until;
            let mine = if is_held {
                lock.renew(&me, ttl).await.ok()
            } else {
                let answer = lock.acquire(&me, ttl).await.ok();
                answer.map(|answer| answer == Acquired::Yes)
            };
            trusted_until = self.note(who, asked_at, mine, trusted_until);
            pause(PERIOD).await;
        }
    }

    /// Writes down what an answer makes somebody believe; until when.
    fn note(&self, who: &'static str, asked_at: Monotonic, mine: Option<bool>, before: u64) -> u64 {
        let now = self.now();
        let mut beliefs = self.beliefs.lock().unwrap();
        match mine {
            Some(true) => {
                let until = self.rule.trusted_until(asked_at).as_ms();
                beliefs.push(Belief {
                    who,
                    from: now,
                    until,
                });
                until
            }
            Some(false) => {
                // Told that it is another's: nothing is believed from here on.
                for belief in beliefs.iter_mut().filter(|belief| belief.who == who) {
                    belief.until = belief.until.min(now);
                }
                0
            }
            None => before,
        }
    }

    /// Waits until somebody believes since `after`; when that was.
    async fn held_after(&self, after: u64) -> u64 {
        let found = within(DEADLINE, async {
            loop {
                let beliefs = self.beliefs.lock().unwrap().clone();
                if let Some(belief) = beliefs.iter().find(|belief| belief.from > after) {
                    return belief.from;
                }
                pause(PERIOD / 4).await;
            }
        });
        found.await.expect("somebody holds the lock again")
    }

    /// Never two at a time; how many beliefs there were.
    fn never_two(&self) -> usize {
        let beliefs = self.beliefs.lock().unwrap();
        for one in beliefs.iter() {
            let other = beliefs.iter().find(|other| {
                other.who != one.who && other.from < one.until && one.from < other.until
            });
            assert!(other.is_none(), "both believed: {one:?} and {other:?}");
        }
        beliefs.len()
    }
}

/// Runs `fault` while two nodes contend; how many beliefs there were.
async fn contended(ttl: Duration, url: String, fault: impl AsyncFn(&Watch)) -> usize {
    let watch = Watch::new(ttl);
    let (a, b) = (lock_at(&url, "c"), lock_at(&url, "c"));
    let story = async {
        watch.held_after(0).await;
        fault(&watch).await;
        watch.is_over.store(true, Ordering::SeqCst);
    };
    futures_util::future::join3(watch.contend(&a, "a"), watch.contend(&b, "b"), story).await;
    hear(&a, &b).await;
    hear(&b, &a).await;
    watch.never_two()
}

/// Waits in the background of the runtime for a fact that blocks while it is asked about.
async fn until(what: &str, fact: impl Fn() -> bool) {
    let found = within(DEADLINE, async {
        while !fact() {
            pause(PERIOD).await;
        }
    });
    assert!(found.await.is_some(), "waited in vain until {what}");
}

/// How often a node has answered with this error.
fn answered(cluster: &RedisCluster, port: u16, error: &str) -> u64 {
    let stats = cluster.cli(port, &["INFO", "errorstats"]).unwrap();
    let name = format!("errorstat_{error}:count=");
    let line = stats.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

/// Waits until the replica of the slot's master has taken its place: asked of the replica, which is well.
async fn replaced(cluster: &RedisCluster, slot: u16, replica: u16) {
    until("the replica is the slot's master", || {
        cluster.master_seen_by(replica, slot) == Some(replica)
    })
    .await;
}

#[tokio::test]
async fn a_killed_master_is_left_for_the_replica_that_took_its_place() {
    let Some(cluster) = or_skip(RedisCluster::start()) else {
        return;
    };
    let slot = cluster.slot_of(&key("c"));
    let beliefs = contended(SHORT, cluster.url(), async |watch| {
        let old = cluster.master_of(slot).unwrap();
        let new = cluster.replica_of(old);
        let killed_at = watch.now();
        cluster.kill9(old);
        replaced(&cluster, slot, new).await;
        let replaced_at = watch.now();
        let again = watch.held_after(replaced_at).await;
        let holder = cluster.cli(new, &["GET", &key("c")]).unwrap();
        assert!(["a", "b"].contains(&holder.as_str()), "{holder} on {new}");
        println!(
            "cluster, master killed: replaced after {} ms, held again after {} ms, node timeout 1500 ms",
            replaced_at - killed_at,
            again - killed_at
        );
        // The dead comes back as a replica, and nobody is led there.
        cluster.restart(old).unwrap();
        until("all is well again", || cluster.wait_well().is_ok()).await;
        assert!(!cluster.masters().contains(&old));
        watch.held_after(watch.now()).await;
    });
    assert!(beliefs.await > 2);
}

#[tokio::test]
async fn a_hung_master_does_not_hold_us_and_is_not_gone_back_to() {
    let Some(cluster) = or_skip(RedisCluster::start()) else {
        return;
    };
    let slot = cluster.slot_of(&key("c"));
    let beliefs = contended(SHORT, cluster.url(), async |watch| {
        let old = cluster.master_of(slot).unwrap();
        let new = cluster.replica_of(old);
        let halted_at = watch.now();
        cluster.pause(old);
        replaced(&cluster, slot, new).await;
        let again = watch.held_after(watch.now()).await;
        assert!(cluster.cli(old, &["PING"]).is_err(), "it hangs yet");
        println!(
            "cluster, master hung: held again after {} ms, node timeout 1500 ms",
            again - halted_at
        );
        cluster.resume(old);
        until("the old one knows its successor", || {
            cluster.master_seen_by(old, slot) == Some(new)
        })
        .await;
        watch.held_after(watch.now()).await;
    });
    assert!(beliefs.await > 2);
}

#[tokio::test]
async fn a_master_that_is_relieved_by_hand_sends_us_on_without_a_gap() {
    let Some(cluster) = or_skip(RedisCluster::start()) else {
        return;
    };
    let slot = cluster.slot_of(&key("c"));
    let old = cluster.master_of(slot).unwrap();
    let replica = cluster.replica_of(old);
    // A replica alone is named, and leads to its master.
    let lock = lock_at(&format!("redis+cluster://127.0.0.1:{replica}"), "c");
    let me = holder("me");
    acquire_in_time(&lock, &me, TTL).await;
    assert_eq!(cluster.cli(old, &["GET", &key("c")]).unwrap(), "me");
    let before = answered(&cluster, old, "MOVED");
    cluster.cli(replica, &["CLUSTER", "FAILOVER"]).unwrap();
    until("the replica is the master", || {
        cluster.master_seen_by(old, slot) == Some(replica)
    })
    .await;
    assert!(lock.renew(&me, TTL).await.unwrap(), "in one call");
    assert!(answered(&cluster, old, "MOVED") > before, "it was sent on");
    assert_eq!(cluster.cli(replica, &["GET", &key("c")]).unwrap(), "me");
}

#[tokio::test]
async fn a_slot_that_moves_is_followed_by_ask_in_the_midst_and_by_moved_after_it() {
    let Some(cluster) = or_skip(RedisCluster::start()) else {
        return;
    };
    let (key, lock) = (key("c"), lock_at(&cluster.url(), "c"));
    let (me, you, slot) = (holder("me"), holder("you"), cluster.slot_of(&key));
    let from = cluster.master_of(slot).unwrap();
    let to = cluster
        .masters()
        .into_iter()
        .find(|port| *port != from)
        .unwrap();
    take(&lock, &me).await;
    cluster.begin_move(slot, from, to).unwrap();
    assert!(lock.renew(&me, TTL).await.unwrap(), "the key is here yet");
    assert_eq!(answered(&cluster, from, "ASK"), 0);
    assert_eq!(cluster.carry(&key, from, to).unwrap(), "OK");
    // Half moved: every behaviour of the lock goes on at the other node.
    assert!(lock.renew(&me, TTL).await.unwrap());
    assert!(!lock.renew(&you, TTL).await.unwrap());
    assert!(matches!(
        lock.acquire(&you, TTL).await.unwrap(),
        Acquired::No { .. }
    ));
    lock.release(&you).await.unwrap();
    lock.release(&me).await.unwrap();
    take(&lock, &you).await;
    assert!(!lock.renew(&me, TTL).await.unwrap());
    assert!(answered(&cluster, from, "ASK") >= 5, "it was sent to ask");
    let there = cluster.cli(from, &["GET", &key]).unwrap_err().to_string();
    assert!(there.contains("ASK"), "the slot moves yet: {there}");
    cluster.end_move(slot, from, to).unwrap();
    assert!(lock.renew(&you, TTL).await.unwrap());
    assert!(answered(&cluster, from, "MOVED") > 0, "it was sent on");
    assert_eq!(cluster.cli(to, &["GET", &key]).unwrap(), "you");
}

#[tokio::test]
async fn two_never_believe_in_a_lock_whose_slot_moves_to_and_fro() {
    let Some(cluster) = or_skip(RedisCluster::start()) else {
        return;
    };
    let slot = cluster.slot_of(&key("c"));
    let masters = cluster.masters();
    let beliefs = contended(Duration::from_secs(5), cluster.url(), async |watch| {
        let mut from = cluster.master_of(slot).unwrap();
        for turn in 0..20 {
            let others: Vec<u16> = masters
                .iter()
                .copied()
                .filter(|port| *port != from)
                .collect();
            let to = others[turn % others.len()];
            cluster.begin_move(slot, from, to).unwrap();
            watch.held_after(watch.now()).await;
            cluster.carry(&key("c"), from, to).unwrap();
            watch.held_after(watch.now()).await;
            cluster.end_move(slot, from, to).unwrap();
            watch.held_after(watch.now()).await;
            from = to;
        }
        let sent = |error| {
            masters
                .iter()
                .map(|port| answered(&cluster, *port, error))
                .sum::<u64>()
        };
        let (asks, moves) = (sent("ASK"), sent("MOVED"));
        println!("cluster, a slot moved 20 times: {asks} ASK, {moves} MOVED");
        assert!(asks >= 20 && moves >= 20);
    });
    assert!(beliefs.await > 60);
}

#[tokio::test]
async fn a_cluster_that_is_down_is_waited_for() {
    let Some(cluster) = or_skip(RedisCluster::start()) else {
        return;
    };
    let (lock, me) = (lock_at(&cluster.url(), "c"), holder("me"));
    let ours = cluster.master_of(cluster.slot_of(&key("c"))).unwrap();
    take(&lock, &me).await;
    // Another slot loses its master and its replica: the cluster serves nobody until they are back.
    let other = cluster
        .masters()
        .into_iter()
        .find(|port| *port != ours)
        .unwrap();
    let replica = cluster.replica_of(other);
    cluster.kill9(replica);
    cluster.kill9(other);
    until("the cluster is down", || {
        let info = cluster.cli(ours, &["CLUSTER", "INFO"]).unwrap();
        info.contains("cluster_state:fail")
    })
    .await;
    let error = lock.renew(&me, TTL).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    assert!(story(&error).contains("CLUSTERDOWN"), "{}", story(&error));
    let probe = lock.probe().await.unwrap();
    let told = probe.remedies().join("\n");
    assert!(told.contains("the cluster's state is `fail`"), "{told}");
    cluster.restart(other).unwrap();
    cluster.restart(replica).unwrap();
    acquire_in_time(&lock, &me, TTL).await;
    // And all of it.
    let ports = cluster.ports();
    ports.iter().for_each(|port| cluster.kill9(*port));
    let error = lock.renew(&me, TTL).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    ports
        .iter()
        .for_each(|port| cluster.restart(*port).unwrap());
    let took = acquire_in_time(&lock, &me, TTL).await;
    println!(
        "cluster, all killed and started again: held after {} ms",
        took.as_millis()
    );
}

#[tokio::test]
async fn nodes_that_the_setting_does_not_name_are_known_when_its_own_is_gone() {
    let Some(cluster) = or_skip(RedisCluster::start()) else {
        return;
    };
    let slot = cluster.slot_of(&key("c"));
    let ours = cluster.master_of(slot).unwrap();
    let other = cluster
        .masters()
        .into_iter()
        .find(|port| *port != ours)
        .unwrap();
    let seed = cluster.replica_of(other);
    let (lock, me) = (
        lock_at(&format!("redis+cluster://127.0.0.1:{seed}"), "c"),
        holder("me"),
    );
    take(&lock, &me).await;
    let new = cluster.replica_of(ours);
    cluster.kill9(seed);
    cluster.kill9(ours);
    replaced(&cluster, slot, new).await;
    acquire_in_time(&lock, &me, TTL).await;
    assert_eq!(cluster.cli(new, &["GET", &key("c")]).unwrap(), "me");
}
