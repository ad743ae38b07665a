//! The lock in Redis against real servers: the conformance suite on a single Redis (and on every other form in
//! `forms.rs`), then the faults (killed, halted, emptied, replaced, moved, refusing). Every wait is for a fact.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails in a test is to fail loudly"
)]

mod certs;
mod cluster;
mod faults;
mod forms;
mod refusals;
mod sentinel;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use campanile_adapters::redis::{Options, RedisLock, connect};
use campanile_conformance::lock::Handles;
use campanile_core::id::Holder;
use campanile_core::port::clock::Clock as _;
use campanile_core::port::lock::{Acquired, Error, Lock as _, Signal};
use campanile_core::system::{SystemClock, pause, within};
use xtask::or_skip;
use xtask::servers::Redis;

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

/// The time since the making of this clock.
fn elapsed(start: &SystemClock) -> Duration {
    Duration::from_millis(start.monotonic().as_ms())
}

/// Acquires until it succeeds, whatever goes wrong meanwhile; how long that took.
async fn acquire_in_time(lock: &RedisLock, who: &Holder, ttl: Duration) -> Duration {
    let start = SystemClock::new();
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
    elapsed(&start)
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

    campanile_conformance::lock!(two_handles);
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
const RIGHTS: &str = "+get +set +del +pttl +pexpire +watch +unwatch +multi +exec +publish +subscribe +ping +select +role +asking +cluster|slots";

#[tokio::test]
async fn a_user_without_scripts_or_admin_rights_will_do() {
    let Some(server) = or_skip(Redis::start()) else {
        return;
    };
    let mut words = vec!["ACL", "SETUSER", "clock", "on", ">secret"];
    words.extend([
        "resetkeys",
        "resetchannels",
        "-@all",
        "~{campanile:c}:*",
        "&{campanile:c}:*",
    ]);
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
    assert!(
        probe.clock.is_some() && probe.unasked.is_empty(),
        "{probe:?}"
    );
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
