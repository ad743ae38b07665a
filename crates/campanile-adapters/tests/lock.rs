//! The lock in Redis against real servers: the conformance suite on a single Redis and on a Sentinel group, then the
//! faults (killed, halted, emptied, replaced, refusing). Every wait is for a fact.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use campanile::conformance::lock::Handles;
use campanile::id::Holder;
use campanile::port::lock::{Acquired, Error, Lock as _, Signal};
use campanile::system::{dedicated, pause, within};
use campanile_adapters::redis::{Options, RedisLock, connect};
use xtask::servers::{Redis, Sentinel};
use xtask::skip::or_skip;

const TTL: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(30);

/// A cluster name that no other test uses.
fn fresh_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(
        "test-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

fn lock_at(url: &str, cluster: &str) -> Arc<RedisLock> {
    let options = Options {
        cluster: cluster.to_owned(),
    };
    connect(url, options).expect("a good URL")
}

fn holder(name: &str) -> Holder {
    Holder::from_spelling(name.to_owned())
}

fn key(cluster: &str) -> String {
    format!("{{campanile:{cluster}}}:lock")
}

/// The whole story of an error, as an operator reads it.
fn story(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Acquires until it succeeds, whatever goes wrong meanwhile; how long that took.
async fn acquire_in_time(lock: &RedisLock, who: &Holder, ttl: Duration) -> Duration {
    let start = Instant::now();
    let mut last = String::new();
    let trying = within(DEADLINE, async {
        loop {
            match lock.acquire(who, ttl).await {
                Ok(Acquired::Yes) => return,
                other => last = format!("{other:?}"),
            }
            pause(Duration::from_millis(20)).await;
        }
    });
    let done = trying.await;
    assert!(done.is_some(), "{who} never got the lock; at last: {last}");
    start.elapsed()
}

async fn take(lock: &RedisLock, who: &Holder) {
    assert_eq!(lock.acquire(who, TTL).await.unwrap(), Acquired::Yes);
}

mod single {
    use super::*;

    async fn two_handles() -> Option<Handles> {
        let server = or_skip(Redis::shared())?;
        let cluster = fresh_name();
        let (a, b) = (
            lock_at(&server.url(), &cluster),
            lock_at(&server.url(), &cluster),
        );
        Some(Handles::new(a, b).keeping(server))
    }

    campanile::conformance::lock!(two_handles);
}

mod sentinel {
    use super::*;

    async fn two_handles() -> Option<Handles> {
        let group = or_skip(Sentinel::start(1, 1))?;
        let (a, b) = (lock_at(&group.url(), "c"), lock_at(&group.url(), "c"));
        Some(Handles::new(a, b).keeping(group))
    }

    // The commands are those of a single server; what Sentinel adds is the way there, and the channel.
    campanile::conformance::lock!(two_handles => exclusive, release_is_heard);
}

#[tokio::test]
async fn the_key_has_the_holder_as_its_value_and_an_expiry() {
    let Some(server) = or_skip(Redis::shared()) else {
        return;
    };
    let cluster = fresh_name();
    let lock = lock_at(&server.url(), &cluster);
    take(&lock, &holder("me")).await;
    assert_eq!(server.cli(&["GET", &key(&cluster)]).unwrap(), "me");
    let left: u128 = server
        .cli(&["PTTL", &key(&cluster)])
        .unwrap()
        .parse()
        .unwrap();
    assert!(left > 0 && left <= TTL.as_millis(), "{left}");
}

#[tokio::test]
async fn a_lock_that_was_deleted_flushed_or_replaced_is_lost_to_its_holder() {
    let Some(server) = or_skip(Redis::start()) else {
        return;
    };
    let lock = lock_at(&server.url(), "c");
    let me = holder("me");
    for loss in [
        vec!["DEL".to_owned(), key("c")],
        vec!["FLUSHALL".to_owned()],
        vec!["SET".to_owned(), key("c"), "you".to_owned()],
    ] {
        server.cli(&["DEL", &key("c")]).unwrap();
        take(&lock, &me).await;
        assert!(lock.renew(&me, TTL).await.unwrap());
        let words: Vec<&str> = loss.iter().map(String::as_str).collect();
        server.cli(&words).unwrap();
        assert!(!lock.renew(&me, TTL).await.unwrap(), "{loss:?}");
        lock.release(&me).await.unwrap();
    }
    assert_eq!(server.cli(&["GET", &key("c")]).unwrap(), "you");
    // Somebody wrote a value without expiry: it is another's, for as long as we can tell.
    let answer = lock.acquire(&me, TTL).await.unwrap();
    assert_eq!(answer, Acquired::No { expires_in: TTL });
    // Something that is no lock at all refuses, and says what to do.
    server.cli(&["DEL", &key("c")]).unwrap();
    server.cli(&["RPUSH", &key("c"), "x"]).unwrap();
    let error = lock.renew(&me, TTL).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
    assert!(
        story(&error).contains("delete the key"),
        "{}",
        story(&error)
    );
}

#[tokio::test]
async fn a_halted_redis_is_unreachable_in_time_and_serves_again_when_it_goes_on() {
    let Some(server) = or_skip(Redis::start()) else {
        return;
    };
    let lock = lock_at(&server.url(), "c");
    let me = holder("me");
    let ttl = Duration::from_secs(60);
    assert_eq!(lock.acquire(&me, ttl).await.unwrap(), Acquired::Yes);
    server.pause();
    for _ in 0..3 {
        // The port's bound is a second; what is above it is this machine's own load.
        let answer = within(Duration::from_secs(5), lock.renew(&me, ttl)).await;
        let error = answer.expect("an answer in time").unwrap_err();
        assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    }
    let error = lock.signal(Signal::Work).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    server.resume();
    acquire_in_time(&lock, &me, ttl).await;
    assert!(lock.renew(&me, ttl).await.unwrap());
    lock.signal(Signal::Work).await.unwrap();
}

#[tokio::test]
async fn a_restarted_redis_is_taken_up_again_and_its_subscribers_are_told_to_look() {
    let Some(server) = or_skip(Redis::start()) else {
        return;
    };
    let (lock, other) = (lock_at(&server.url(), "c"), lock_at(&server.url(), "c"));
    take(&lock, &holder("me")).await;
    hear(&other, &lock).await;
    server.restart().unwrap();
    // The old connection is dead; the first request already goes over a new one.
    assert!(!lock.renew(&holder("me"), TTL).await.unwrap());
    let hint = within(DEADLINE, other.next_signal()).await;
    assert!(hint.is_some(), "the reconnection is a hint");
    hear(&other, &lock).await;
    server.kill9();
    let error = lock.renew(&holder("me"), TTL).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    assert!(
        story(&error).contains(&server.port().to_string()),
        "{}",
        story(&error)
    );
}

/// Waits until `listener` hears `speaker`.
async fn hear(listener: &RedisLock, speaker: &RedisLock) {
    let heard = within(DEADLINE, async {
        loop {
            speaker.signal(Signal::Work).await.unwrap();
            if within(Duration::from_millis(100), listener.next_signal())
                .await
                .is_some()
            {
                return;
            }
        }
    });
    heard.await.expect("a hint is heard");
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_refused_with_its_remedy() {
    let Some(server) = or_skip(Redis::start_with(&["--requirepass", "right"])) else {
        return;
    };
    let me = holder("me");
    for login in ["", ":wrong@", "nobody:right@"] {
        let url = format!("redis://{login}127.0.0.1:{}", server.port());
        let error = lock_at(&url, "c").acquire(&me, TTL).await.unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{login}: {error:?}");
        let story = story(&error);
        assert!(story.contains("setting `lock`"), "{story}");
        assert!(story.contains("redis://USER:PASSWORD@HOST:PORT"), "{story}");
        assert!(!story.contains("wrong"), "{story}");
    }
    let url = format!("redis://:right@127.0.0.1:{}/3", server.port());
    take(&lock_at(&url, "c"), &me).await;
}

/// The rights that the remedy of NOPERM names.
const RIGHTS: &str = "+@connection +get +set +pexpire +pttl +del +watch +unwatch +multi +exec +publish +subscribe +ping +role ~{campanile:*}* &{campanile:*}*";

#[tokio::test]
async fn a_user_without_scripts_or_admin_rights_will_do() {
    let Some(server) = or_skip(Redis::start()) else {
        return;
    };
    let mut words = vec!["ACL", "SETUSER", "clock", "on", ">secret"];
    words.extend(RIGHTS.split(' '));
    server.cli(&words).unwrap();
    let url = format!("redis://clock:secret@127.0.0.1:{}", server.port());
    let (lock, other) = (lock_at(&url, "c"), lock_at(&url, "c"));
    let me = holder("me");
    take(&lock, &me).await;
    assert!(lock.renew(&me, TTL).await.unwrap());
    hear(&other, &lock).await;
    lock.release(&me).await.unwrap();
    take(&other, &holder("you")).await;
    other.release(&holder("you")).await.unwrap();

    take(&lock, &me).await;
    server
        .cli(&["ACL", "SETUSER", "clock", "-publish"])
        .unwrap();
    let error = lock.release(&me).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
    assert!(story(&error).contains(RIGHTS), "{}", story(&error));
    assert!(lock.renew(&me, TTL).await.unwrap(), "all or nothing");
}

#[tokio::test]
async fn a_replica_refuses_and_says_so() {
    let Some(master) = or_skip(Redis::start()) else {
        return;
    };
    let port = master.port().to_string();
    let replica = Redis::start_with(&["--replicaof", &format!("127.0.0.1 {port}")]).unwrap();
    let lock = lock_at(&replica.url(), "c");
    let error = lock.acquire(&holder("me"), TTL).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
    assert!(story(&error).contains("is a replica"), "{}", story(&error));
    let probe = lock.probe().await.unwrap();
    assert_eq!(probe.role, "slave");
    assert!(probe.remedies()[0].contains("let the setting `lock` name the master"));
}

#[tokio::test]
async fn the_probe_names_risky_settings_with_their_remedies() {
    let Some(server) = or_skip(Redis::start_with(&["--maxmemory-policy", "allkeys-lru"])) else {
        return;
    };
    let lock = lock_at(&server.url(), "c");
    let mut probe = lock.probe().await.unwrap();
    assert_eq!(probe.role, "master");
    assert!(probe.version.contains('.'), "{probe:?}");
    assert_eq!((probe.replicas, probe.min_replicas_to_write), (0, Some(0)));
    let remedies = probe.remedies();
    assert_eq!(remedies.len(), 1, "{remedies:?}");
    assert!(remedies[0].contains("CONFIG SET maxmemory-policy noeviction"));
    server
        .cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
        .unwrap();
    probe = lock.probe().await.unwrap();
    assert_eq!(probe.remedies(), Vec::<String>::new());
    probe.replicas = 2;
    assert!(probe.remedies()[0].contains("CONFIG SET min-replicas-to-write 1"));
}

#[tokio::test]
async fn a_dropped_lock_closes_its_connections() {
    let Some(server) = or_skip(Redis::start()) else {
        return;
    };
    let clients = || server.cli(&["CLIENT", "LIST"]).unwrap().lines().count();
    let lock = lock_at(&server.url(), "c");
    take(&lock, &holder("me")).await;
    lock.signal(Signal::Work).await.unwrap();
    xtask::servers::wait_until("three connections are open", DEADLINE, || clients() >= 4);
    drop(lock);
    xtask::servers::wait_until("they are closed", DEADLINE, || clients() == 1);
}

/// The main runtime (this test's one thread) is busy and never yields; the renewal lives on a thread of its own, and
/// the connection, which the main runtime used first, is not tied to it.
#[tokio::test]
async fn renewal_goes_on_while_the_main_runtime_is_blocked() {
    let Some(server) = or_skip(Redis::start()) else {
        return;
    };
    let ttl = Duration::from_millis(400);
    let (lock, me) = (lock_at(&server.url(), "c"), holder("me"));
    // The first use of every connection is here, on the main runtime.
    assert_eq!(lock.acquire(&me, ttl).await.unwrap(), Acquired::Yes);
    lock.signal(Signal::Work).await.unwrap();
    let (renewals, failures) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let thread = {
        let (lock, renewals, failures) = (lock.clone(), renewals.clone(), failures.clone());
        dedicated("renewal", move || async move {
            while !*stopped.borrow_and_update() {
                match lock.renew(&holder("me"), ttl).await {
                    Ok(true) => renewals.fetch_add(1, Ordering::SeqCst),
                    Ok(false) | Err(_) => failures.fetch_add(1, Ordering::SeqCst),
                };
                let _ = within(ttl / 10, stopped.changed()).await;
            }
        })
        .unwrap()
    };
    // Busy: no await until the lock would have ended five times over.
    let start = Instant::now();
    while start.elapsed() < ttl * 5 || renewals.load(Ordering::SeqCst) < 10 {
        assert!(start.elapsed() < DEADLINE, "the renewal stands still");
        std::hint::spin_loop();
    }
    assert_eq!(failures.load(Ordering::SeqCst), 0);
    assert_eq!(server.cli(&["GET", &key("c")]).unwrap(), "me");
    // And the main runtime can still use the same lock.
    lock.signal(Signal::Work).await.unwrap();
    stop.send(true).unwrap();
    thread.join().unwrap();
}

#[tokio::test]
async fn a_killed_master_is_left_for_the_one_that_the_sentinels_chose() {
    let Some(group) = or_skip(Sentinel::start(3, 2)) else {
        return;
    };
    let lock = lock_at(&group.url(), "c");
    let me = holder("me");
    acquire_in_time(&lock, &me, TTL).await;
    let old = group.kill9_master();
    let start = Instant::now();
    let error = lock.renew(&me, TTL).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    let took = acquire_in_time(&lock, &me, TTL).await;
    let new = group.master_port().unwrap();
    assert_ne!(new, old);
    assert_eq!(group.cli(new, &["GET", &key("c")]).unwrap(), "me");
    println!(
        "sentinel, master killed: held again after {} ms ({} ms from the first refusal), down-after 1500 ms",
        start.elapsed().as_millis(),
        took.as_millis()
    );
}

#[tokio::test]
async fn a_halted_master_and_a_halted_sentinel_do_not_hold_us() {
    let Some(group) = or_skip(Sentinel::start(3, 2)) else {
        return;
    };
    let lock = lock_at(&group.url(), "c");
    let me = holder("me");
    acquire_in_time(&lock, &me, TTL).await;
    let old = group.pause_master();
    let start = Instant::now();
    while group.master_port() == Some(old) {
        let answer = within(Duration::from_secs(5), lock.renew(&me, TTL)).await;
        assert!(answer.is_some(), "a call outlasts its bound");
        assert!(start.elapsed() < DEADLINE, "no fail-over");
    }
    acquire_in_time(&lock, &me, TTL).await;
    println!(
        "sentinel, master halted: held again after {} ms, down-after 1500 ms",
        start.elapsed().as_millis()
    );
    group.resume(old);
    assert!(
        lock.renew(&me, TTL).await.unwrap(),
        "we stay with the new one"
    );
}

/// The old master lives on and would take our writes for seconds; the sentinels' news makes us leave it.
#[tokio::test]
async fn an_old_master_that_lives_on_is_left_after_a_manual_failover() {
    let Some(group) = or_skip(Sentinel::start(3, 2)) else {
        return;
    };
    let lock = lock_at(&group.url(), "c");
    let me = holder("me");
    acquire_in_time(&lock, &me, TTL).await;
    let old = group.master_port().unwrap();
    let sentinel = group.sentinel_ports()[0];
    group
        .cli(sentinel, &["SENTINEL", "FAILOVER", Sentinel::SERVICE])
        .unwrap();
    xtask::servers::wait_until("the sentinels name another master", DEADLINE, || {
        group.master_port().is_some_and(|port| port != old)
    });
    let named = Instant::now();
    // A value that only the new master has tells where we are.
    let new = group.master_port().unwrap();
    let moved = within(DEADLINE, async {
        let mut turn = 0;
        loop {
            turn += 1;
            let probe = holder(&format!("p{turn}"));
            let _ = group.cli(new, &["DEL", &key("c")]);
            if lock.acquire(&probe, TTL).await.is_ok()
                && group
                    .cli(new, &["GET", &key("c")])
                    .is_ok_and(|value| value == probe.as_str())
            {
                return;
            }
            pause(Duration::from_millis(5)).await;
        }
    });
    moved.await.expect("we moved to the new master");
    println!(
        "sentinel, manual fail-over: on the new master {} ms after a sentinel named it",
        named.elapsed().as_millis()
    );
    assert_eq!(
        group.cli(old, &["PING"]).unwrap(),
        "PONG",
        "the old one lives"
    );
}

#[tokio::test]
async fn sentinels_that_do_not_know_the_service_or_do_not_answer_are_told_apart() {
    let Some(group) = or_skip(Sentinel::start(1, 1)) else {
        return;
    };
    let port = group.sentinel_ports()[0];
    let me = holder("me");
    let unknown = lock_at(&format!("redis+sentinel://127.0.0.1:{port}/other"), "c");
    let error = unknown.acquire(&me, TTL).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
    assert!(
        story(&error).contains("SENTINEL MASTERS"),
        "{}",
        story(&error)
    );
    // The first in the list is dead, the second answers.
    let dead = xtask::servers::free_port();
    let url = format!("redis+sentinel://127.0.0.1:{dead},127.0.0.1:{port}/mymaster?db=2");
    acquire_in_time(&lock_at(&url, "c"), &me, TTL).await;
    let nobody = lock_at(&format!("redis+sentinel://127.0.0.1:{dead}/mymaster"), "c");
    let error = nobody.acquire(&me, TTL).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    assert!(
        story(&error).contains(&dead.to_string()),
        "{}",
        story(&error)
    );
}
