//! What every lock does: one function per behaviour, and the macro that makes a test of each. It owns the meaning of
//! the port; it never names an adapter. Each behaviour waits on facts with a generous deadline; the one bound on time
//! is on the safe side (a lock is never given away *before* its life is over).

#![expect(
    clippy::expect_used,
    reason = "a suite of tests: what fails here is to fail loudly"
)]

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use campanile_core::id::Holder;
use campanile_core::port::clock::Clock as _;
use campanile_core::port::lock::{Acquired, Lock, Signal};
use campanile_core::system::{SystemClock, pause, spawn, within};

/// A life that ends soon.
const SHORT: Duration = Duration::from_millis(400);
/// A life that doesn't end during a test.
const LONG: Duration = Duration::from_secs(60);
/// How long a fact may take to come true on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);
/// The time between two looks at a fact.
const LOOK: Duration = Duration::from_millis(10);

/// Two nodes' handles on one lock that nobody else uses.
pub struct Handles {
    a: Arc<dyn Lock>,
    b: Arc<dyn Lock>,
    /// What must live as long as the handles: a server, a folder.
    _keep: Box<dyn Any + Send + Sync>,
}

impl Handles {
    /// Two handles on one lock.
    #[must_use]
    pub fn new(a: Arc<dyn Lock>, b: Arc<dyn Lock>) -> Self {
        Self {
            a,
            b,
            _keep: Box::new(()),
        }
    }

    /// Keeps `what` alive as long as the handles.
    #[must_use]
    pub fn keeping(self, what: impl Any + Send + Sync) -> Self {
        Self {
            _keep: Box::new(what),
            ..self
        }
    }
}

fn holder(name: &str) -> Holder {
    Holder::from_spelling(name.to_owned())
}

async fn take(lock: &dyn Lock, name: &str, ttl: Duration) {
    let answer = lock.acquire(&holder(name), ttl).await.expect("an answer");
    assert_eq!(answer, Acquired::Yes, "{name} takes a free lock");
}

async fn is_refused(lock: &dyn Lock, name: &str) -> Duration {
    match lock.acquire(&holder(name), LONG).await.expect("an answer") {
        Acquired::No { expires_in } => expires_in,
        Acquired::Yes => panic!("{name} took a lock that another holds"),
    }
}

async fn renews(lock: &dyn Lock, name: &str, ttl: Duration) -> bool {
    lock.renew(&holder(name), ttl).await.expect("an answer")
}

/// Asks again until the lock is had.
async fn take_in_time(lock: &dyn Lock, name: &str) {
    let holder = holder(name);
    let taken = within(DEADLINE, async {
        while lock.acquire(&holder, LONG).await.expect("an answer") != Acquired::Yes {
            pause(LOOK).await;
        }
    });
    taken
        .await
        .unwrap_or_else(|| panic!("{name} never got the lock"));
}

/// Sends `signal` from `from` until `to` hears one: from then on, their connection stands.
async fn connect_signals(from: &dyn Lock, to: &dyn Lock, signal: Signal) {
    let heard = within(DEADLINE, async {
        loop {
            from.signal(signal).await.expect("a hint can be sent");
            if let Some(heard) = within(LOOK * 10, to.next_signal()).await
                && heard == signal
            {
                return;
            }
        }
    });
    heard.await.expect("a hint arrives");
}

/// While one holds it, no other gets it, through whichever handle.
pub async fn exclusive(lock: Handles) {
    take(&*lock.a, "one", LONG).await;
    is_refused(&*lock.a, "two").await;
    is_refused(&*lock.b, "two").await;
    assert!(renews(&*lock.a, "one", LONG).await);
}

/// Only the holder extends it, through whichever handle; nobody extends a free lock.
pub async fn renewed_by_its_holder_alone(lock: Handles) {
    assert!(!renews(&*lock.a, "one", LONG).await, "nobody holds it");
    take(&*lock.a, "one", LONG).await;
    assert!(!renews(&*lock.b, "two", LONG).await);
    assert!(
        renews(&*lock.b, "one", LONG).await,
        "the holder counts, not the handle"
    );
}

/// The holder gives it back, and then another gets it at once.
pub async fn released_by_its_holder(lock: Handles) {
    take(&*lock.a, "one", LONG).await;
    lock.a.release(&holder("one")).await.expect("an answer");
    assert!(!renews(&*lock.a, "one", LONG).await);
    take(&*lock.b, "two", LONG).await;
}

/// Somebody else's release changes nothing and is no error; nor is a second one.
pub async fn release_by_another_changes_nothing(lock: Handles) {
    lock.b.release(&holder("two")).await.expect("no error");
    take(&*lock.a, "one", LONG).await;
    lock.b.release(&holder("two")).await.expect("no error");
    assert!(renews(&*lock.a, "one", LONG).await);
    is_refused(&*lock.b, "two").await;
    lock.a.release(&holder("one")).await.expect("an answer");
    take(&*lock.b, "two", LONG).await;
    lock.a.release(&holder("one")).await.expect("no error");
    assert!(
        renews(&*lock.b, "two", LONG).await,
        "a late release hit the next holder"
    );
}

/// Without renewal it ends by itself, not before its time, and the next one gets it.
pub async fn ends_without_renewal(lock: Handles) {
    let clock = SystemClock::new();
    let asked_at = clock.monotonic();
    take(&*lock.a, "one", SHORT).await;
    take_in_time(&*lock.b, "two").await;
    let lived = clock.monotonic().since(asked_at);
    assert!(
        lived >= SHORT - SHORT / 10,
        "the lock lived {lived:?}, not {SHORT:?}"
    );
    assert!(!renews(&*lock.a, "one", LONG).await, "what ended is over");
}

/// A renewal counts from itself: the lock outlives its first life.
pub async fn renewal_extends_its_life(lock: Handles) {
    take(&*lock.a, "one", SHORT).await;
    assert!(renews(&*lock.a, "one", LONG).await);
    let left = is_refused(&*lock.b, "two").await;
    assert!(left > LONG / 2, "{left:?} are left of {LONG:?}");
}

/// A holder that asks again while holding is given it again, with the new life.
pub async fn taken_again_by_its_holder(lock: Handles) {
    take(&*lock.a, "one", SHORT).await;
    take(&*lock.a, "one", LONG).await;
    let left = is_refused(&*lock.b, "two").await;
    assert!(left > LONG / 2, "{left:?} are left of {LONG:?}");
    take(&*lock.b, "one", LONG).await;
}

/// Who is refused learns how long the lock lives yet: no longer than it was given.
pub async fn tells_the_time_left(lock: Handles) {
    take(&*lock.a, "one", LONG).await;
    let left = is_refused(&*lock.b, "two").await;
    assert!(
        left <= LONG && left > LONG / 2,
        "{left:?} are left of {LONG:?}"
    );
}

/// Of ten that ask at the same time, one gets it.
pub async fn one_of_many_wins(lock: Handles) {
    let askers = (0..10).map(|n| {
        let handle = if n % 2 == 0 { &lock.a } else { &lock.b }.clone();
        spawn(async move { handle.acquire(&holder(&format!("n{n}")), LONG).await })
    });
    let mut winners = Vec::new();
    for (n, answer) in join_all(askers).await.into_iter().enumerate() {
        if answer.expect("no panic").expect("an answer") == Acquired::Yes {
            winners.push(n);
        }
    }
    assert_eq!(winners.len(), 1, "winners: {winners:?}");
    assert!(renews(&*lock.a, &format!("n{}", winners[0]), LONG).await);
}

/// Whoever waits for the lock hears that it was given back.
pub async fn release_is_heard(lock: Handles) {
    connect_signals(&*lock.a, &*lock.b, Signal::Work).await;
    take(&*lock.a, "one", LONG).await;
    let waiter = lock.b.clone();
    let waiting = spawn(async move {
        while waiter.next_signal().await != Signal::Released {}
        waiter.acquire(&holder("two"), LONG).await
    });
    lock.a.release(&holder("one")).await.expect("an answer");
    let answer = within(DEADLINE, waiting)
        .await
        .expect("the release is heard");
    assert_eq!(
        answer.expect("no panic").expect("an answer"),
        Acquired::Yes,
        "the lock was free before the hint"
    );
}

/// A hint that there is work reaches the other nodes, both ways.
pub async fn work_is_heard(lock: Handles) {
    connect_signals(&*lock.a, &*lock.b, Signal::Work).await;
    connect_signals(&*lock.b, &*lock.a, Signal::Work).await;
    connect_signals(&*lock.b, &*lock.a, Signal::Released).await;
}

/// Makes a test of each behaviour. `$factory` names an `async fn() -> Option<Handles>` whose handles are on a lock of
/// their own; `None` where the lock service isn't installed, after the skip was recorded.
#[macro_export]
#[doc(hidden)]
macro_rules! conformance_lock {
    ($factory:path) => {
        $crate::conformance_lock!($factory =>
            exclusive, renewed_by_its_holder_alone, released_by_its_holder,
            release_by_another_changes_nothing, ends_without_renewal, renewal_extends_its_life,
            taken_again_by_its_holder, tells_the_time_left, one_of_many_wins, release_is_heard,
            work_is_heard);
    };
    ($factory:path => $($behaviour:ident),+) => {
        $(
            #[tokio::test]
            async fn $behaviour() {
                if let Some(handles) = $factory().await {
                    $crate::lock::$behaviour(handles).await;
                }
            }
        )+
    };
}
