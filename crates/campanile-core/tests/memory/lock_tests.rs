//! The lock in memory: who has it, and until when.

use super::*;
use crate::system::SystemClock;

#[tokio::test]
async fn hints_reach_all_who_wait_and_one_is_kept_for_who_comes_later() {
    let hints = Hints::default();
    hints.deliver(Signal::Work);
    hints.deliver(Signal::Work);
    hints.deliver(Signal::Released);
    assert_eq!(hints.next().await, Signal::Released);
    assert_eq!(hints.next().await, Signal::Work);
    // Nothing is left; two who wait both get the next one.
    let (one, two, ()) = tokio::join!(hints.next(), hints.next(), async {
        hints.deliver(Signal::Work);
    });
    assert_eq!((one, two), (Signal::Work, Signal::Work));
    assert!(futures_util::FutureExt::now_or_never(hints.next()).is_none());
}

#[tokio::test]
async fn a_wait_that_is_given_up_takes_nothing_with_it() {
    let hints = Hints::default();
    let mut given_up = Box::pin(hints.next());
    assert!(futures_util::poll!(given_up.as_mut()).is_pending());
    hints.deliver(Signal::Released);
    drop(given_up);
    assert_eq!(hints.next().await, Signal::Released);
}

#[tokio::test]
async fn a_lock_that_was_forgotten_is_free() {
    let (me, you) = (
        Holder::from_spelling("me".into()),
        Holder::from_spelling("you".into()),
    );
    let lock = MemoryLock::new(Arc::new(SystemClock::new()));
    let ttl = Duration::from_secs(60);
    assert_eq!(lock.acquire(&me, ttl).await.unwrap(), Acquired::Yes);
    lock.forget();
    assert!(!lock.renew(&me, ttl).await.unwrap());
    assert_eq!(lock.acquire(&you, ttl).await.unwrap(), Acquired::Yes);
}
