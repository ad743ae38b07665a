//! A Sentinel group whose master is killed, halted or replaced, and whose sentinels are hung, dead or ignorant. It owns
//! the time that each costs (printed, never asserted: this machine may be busy) and the server we must end on.

use xtask::proxy::{Direction, Fault, Proxy};
use xtask::servers::Sentinel;

use super::*;

#[tokio::test]
async fn a_killed_master_is_left_for_the_one_that_the_sentinels_chose() {
    let Some(group) = or_skip(Sentinel::start(3, 2)) else {
        return;
    };
    let lock = lock_at(&group.url(), "c");
    let me = holder("me");
    acquire_in_time(&lock, &me, TTL).await;
    let probe = lock.probe().await.unwrap();
    assert_eq!((probe.role.as_str(), probe.replicas), ("master", 2));
    assert!(probe.remedies()[0].contains("CONFIG SET min-replicas-to-write 1"));
    let old = group.kill9_master();
    let start = SystemClock::new();
    let error = lock.renew(&me, TTL).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    let took = acquire_in_time(&lock, &me, TTL).await;
    assert!(
        group.node_ports().into_iter().any(|port| port != old
            && group
                .cli(port, &["GET", &key("c")])
                .is_ok_and(|value| value == "me")),
        "it is held on another server"
    );
    println!(
        "sentinel, master killed: held again after {} ms ({} ms from the first refusal), down-after 1500 ms",
        elapsed(&start).as_millis(),
        took.as_millis()
    );
}

#[tokio::test]
async fn a_halted_master_does_not_hold_us() {
    let Some(group) = or_skip(Sentinel::start(3, 2)) else {
        return;
    };
    let lock = lock_at(&group.url(), "c");
    let me = holder("me");
    acquire_in_time(&lock, &me, TTL).await;
    let old = group.pause_master();
    let start = SystemClock::new();
    while group.master_port() == Some(old) {
        let answer = within(Duration::from_secs(5), lock.renew(&me, TTL)).await;
        assert!(answer.is_some(), "a call outlasts its bound");
        assert!(elapsed(&start) < DEADLINE, "no fail-over");
    }
    acquire_in_time(&lock, &me, TTL).await;
    println!(
        "sentinel, master halted: held again after {} ms, down-after 1500 ms",
        elapsed(&start).as_millis()
    );
    group.resume(old);
    assert!(
        lock.renew(&me, TTL).await.unwrap(),
        "we stay with the new one"
    );
}

/// The old master is made deaf to its demotion, so it takes our writes for ever: only the sentinels' news moves us.
#[tokio::test]
async fn an_old_master_that_lives_on_is_left_after_a_manual_failover() {
    let Some(group) = or_skip(Sentinel::start(3, 2)) else {
        return;
    };
    let lock = lock_at(&group.url(), "c");
    acquire_in_time(&lock, &holder("me"), TTL).await;
    let old = group.master_port().unwrap();
    let deaf = ["ACL", "SETUSER", "default", "-slaveof", "-replicaof"];
    group.cli(old, &deaf).unwrap();
    let sentinel = group.sentinel_ports()[0];
    let failover = ["SENTINEL", "FAILOVER", Sentinel::SERVICE];
    group.cli(sentinel, &failover).unwrap();
    let named_by = |port: u16| {
        let ask = ["SENTINEL", "get-master-addr-by-name", Sentinel::SERVICE];
        group
            .cli(port, &ask)
            .unwrap()
            .lines()
            .nth(1)
            .unwrap()
            .parse::<u16>()
            .unwrap()
    };
    xtask::servers::wait_until("a sentinel names another master", DEADLINE, || {
        named_by(sentinel) != old
    });
    let (named, new) = (SystemClock::new(), named_by(sentinel));
    // A holder that only one server knows tells where our writes go.
    let writes_to = async |turn: u32| {
        let probe = holder(&format!("p{turn}"));
        for port in [old, new] {
            let _ = group.cli(port, &["DEL", &key("c")]);
        }
        let _ = lock.acquire(&probe, TTL).await;
        [old, new].into_iter().find(|&port| {
            let value = group.cli(port, &["GET", &key("c")]);
            value.is_ok_and(|value| value == probe.as_str())
        })
    };
    let moved = within(DEADLINE, async {
        let mut turn = 0;
        while writes_to(turn).await != Some(new) {
            turn += 1;
        }
    });
    moved.await.expect("we moved to the new master");
    println!(
        "sentinel, manual fail-over: writing to the new master {} ms after a sentinel named it",
        elapsed(&named).as_millis()
    );
    xtask::servers::wait_until("all sentinels name it", DEADLINE, || {
        group
            .sentinel_ports()
            .into_iter()
            .all(|port| named_by(port) == new)
    });
    for turn in 1_000..1_020 {
        assert_ne!(writes_to(turn).await, Some(old), "back on the old master");
    }
    let role = group.cli(old, &["ROLE"]).unwrap();
    assert!(role.starts_with("master"), "the old one would take them");
}

#[tokio::test]
async fn a_hung_sentinel_is_passed_over() {
    let Some(group) = or_skip(Sentinel::start(2, 1)) else {
        return;
    };
    let ports = group.sentinel_ports();
    let hung = Proxy::start(ports[0]).unwrap();
    hung.set(Direction::Both, Fault::Blackhole);
    let url = format!(
        "redis+sentinel://127.0.0.1:{},127.0.0.1:{}/{}",
        hung.port(),
        ports[1],
        Sentinel::SERVICE
    );
    let (lock, other) = (lock_at(&url, "c"), lock_at(&group.url(), "c"));
    let took = acquire_in_time(&lock, &holder("me"), TTL).await;
    println!(
        "sentinel, first one hung: held after {} ms",
        took.as_millis()
    );
    hear(&lock, &other).await;
    assert!(lock.renew(&holder("me"), TTL).await.unwrap());
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
