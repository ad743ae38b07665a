//! Redis halted, restarted, slow and cut off, and a main runtime that stands still. It owns what must hold of the lock
//! through each fault; it breaks private servers only, because others share the run's.

use campanile_core::system::dedicated;
use xtask::proxy::{Direction, Fault, Proxy};

use super::*;

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
    let start = SystemClock::new();
    while elapsed(&start) < ttl * 5 || renewals.load(Ordering::SeqCst) < 10 {
        assert!(elapsed(&start) < DEADLINE, "the renewal stands still");
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
async fn a_slow_redis_is_unreachable_and_never_late_with_its_answers() {
    let Some(server) = or_skip(Redis::start()) else {
        return;
    };
    let proxy = Proxy::start(server.port()).unwrap();
    let lock = lock_at(&format!("redis://127.0.0.1:{}", proxy.port()), "c");
    let (me, you) = (holder("me"), holder("you"));
    take(&lock, &me).await;
    proxy.set(Direction::Down, Fault::Delay(Duration::from_secs(2)));
    for _ in 0..3 {
        let error = lock.renew(&me, TTL).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    }
    proxy.heal();
    // The answers of before belong to nobody now: each question gets its own.
    acquire_in_time(&lock, &me, TTL).await;
    assert!(lock.renew(&me, TTL).await.unwrap());
    assert!(!lock.renew(&you, TTL).await.unwrap());
    lock.release(&me).await.unwrap();
    take(&lock, &you).await;
    assert!(!lock.renew(&me, TTL).await.unwrap());
}

#[tokio::test]
async fn connections_that_went_silent_without_an_end_are_replaced() {
    let Some(server) = or_skip(Redis::start()) else {
        return;
    };
    let proxy = Proxy::start(server.port()).unwrap();
    let behind = lock_at(&format!("redis://127.0.0.1:{}", proxy.port()), "c");
    let direct = lock_at(&server.url(), "c");
    hear(&behind, &direct).await;
    take(&behind, &holder("me")).await;
    proxy.set(Direction::Both, Fault::Blackhole);
    let error = behind.renew(&holder("me"), TTL).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    // Only the subscription connects again unasked, after its question for a sign of life was lost.
    let open = proxy.open();
    let noticed = within(DEADLINE, async {
        while proxy.open() <= open {
            pause(Duration::from_millis(20)).await;
        }
    });
    noticed.await.expect("the silent subscription is replaced");
    proxy.heal();
    acquire_in_time(&behind, &holder("me"), TTL).await;
    hear(&behind, &direct).await;
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_request_is_repeated_unseen() {
    let Some(server) = or_skip(Redis::start()) else {
        return;
    };
    let proxy = Proxy::start(server.port()).unwrap();
    let lock = lock_at(&format!("redis://127.0.0.1:{}", proxy.port()), "c");
    let me = holder("me");
    take(&lock, &me).await;
    for _ in 0..20 {
        proxy.reset();
        assert!(lock.renew(&me, TTL).await.unwrap());
    }
    assert_eq!(lock.acquire(&me, TTL).await.unwrap(), Acquired::Yes);
}

/// Another's write falls between the look at the holder and the change: the change must not happen.
#[tokio::test]
async fn what_changed_since_the_look_is_left_alone() {
    let Some(server) = or_skip(Redis::start()) else {
        return;
    };
    let proxy = Proxy::start(server.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let looks = || {
        let stats = server.cli(&["INFO", "commandstats"]).unwrap();
        let line = stats
            .lines()
            .find(|line| line.starts_with("cmdstat_watch:"));
        line.map(str::to_owned)
    };
    for action in ["renew", "release"] {
        let crossed = within(DEADLINE, async {
            loop {
                let (lock, me) = (lock_at(&url, "c"), holder("me"));
                server.cli(&["DEL", &key("c")]).unwrap();
                acquire_in_time(&lock, &me, TTL).await;
                let before = looks();
                proxy.set(Direction::Down, Fault::Stall);
                let acting = async {
                    if action == "renew" {
                        lock.renew(&me, TTL).await.map(|mine| !mine)
                    } else {
                        lock.release(&me).await.map(|()| true)
                    }
                };
                let crossing = async {
                    while looks() == before {
                        pause(Duration::from_millis(1)).await;
                    }
                    server
                        .cli(&["SET", &key("c"), "you", "PX", "60000"])
                        .unwrap();
                    proxy.heal();
                };
                let (outcome, ()) = tokio::join!(acting, crossing);
                // A busy machine can make the look time out; then nothing was crossed.
                if let Ok(lost) = outcome {
                    return lost;
                }
            }
        });
        assert_eq!(crossed.await, Some(true), "{action}");
        assert_eq!(server.cli(&["GET", &key("c")]).unwrap(), "you", "{action}");
        let left: u64 = server.cli(&["PTTL", &key("c")]).unwrap().parse().unwrap();
        assert!(left > 20_000, "{action} gave another's lock {left} ms");
    }
}

/// Nodes that lose their connections over and over, in every phase, never hold the lock together.
#[tokio::test]
async fn two_never_hold_it_together_while_connections_are_cut() {
    let Some(server) = or_skip(Redis::start()) else {
        return;
    };
    let proxy = Proxy::start(server.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let (won, lost) = (AtomicU64::new(0), AtomicU64::new(0));
    let holding = std::sync::Mutex::new(None::<usize>);
    let node = async |n: usize| {
        let (lock, me) = (lock_at(&url, "c"), holder(&format!("n{n}")));
        while won.load(Ordering::SeqCst) < 60 {
            if let Ok(Acquired::Yes) = lock.acquire(&me, Duration::from_secs(60)).await {
                let before = holding.lock().unwrap().replace(n);
                assert_eq!(before, None, "{n} got what another holds");
                won.fetch_add(1, Ordering::SeqCst);
                // The others run meanwhile, and must be refused.
                pause(Duration::from_millis(3)).await;
                // From here on it may be given away, whether or not the answer arrives.
                assert_eq!(holding.lock().unwrap().take(), Some(n));
                while lock.release(&me).await.is_err() {
                    lost.fetch_add(1, Ordering::SeqCst);
                }
            } else {
                pause(Duration::from_millis(3)).await;
            }
        }
    };
    let cutter = async {
        for bytes in (20..).step_by(7) {
            proxy.set(Direction::Both, Fault::CutAfter(bytes % 900));
            pause(Duration::from_millis(40)).await;
            proxy.heal();
            pause(Duration::from_millis(20)).await;
        }
    };
    let nodes = futures_util::future::join3(node(1), node(2), node(3));
    let done = within(DEADLINE * 2, async {
        tokio::select! { _ = nodes => {}, () = cutter => {} }
    });
    done.await.expect("the lock keeps being won");
    println!(
        "connections cut every 60 ms: won {} times, {} releases tried again",
        won.load(Ordering::SeqCst),
        lost.load(Ordering::SeqCst)
    );
}
