//! What every clock does: readings never go back, sleeps are never short, and a moment that has passed is not waited
//! for. Whatever makes time pass (nothing, for a real clock) is the factory's business.

use std::sync::Arc;
use std::time::Duration;

use campanile_core::port::clock::Clock;
use campanile_core::time::Monotonic;

/// Makes time pass: a manual clock advances by it, a real one needs no help.
pub type Pass = Arc<dyn Fn(Duration) + Send + Sync>;

/// Monotonic readings never go back, and pass with time.
pub async fn readings_never_go_back(clock: Arc<dyn Clock>, pass: Pass) {
    let mut last = clock.monotonic();
    for _ in 0..50 {
        pass(Duration::from_millis(1));
        let now = clock.monotonic();
        assert!(now >= last);
        last = now;
    }
}

/// A sleep ends at its reading or after it, and not before.
pub async fn sleeps_are_never_short(clock: Arc<dyn Clock>, pass: Pass) {
    for ms in [1, 7, 20] {
        let until = clock.monotonic().plus(Duration::from_millis(ms));
        let slept = async {
            clock.sleep_until(until).await;
            clock.monotonic()
        };
        let passing = async {
            for _ in 0..ms {
                pass(Duration::from_millis(1));
                tokio::task::yield_now().await;
            }
        };
        let (woke, ()) = tokio::join!(slept, passing);
        assert!(woke >= until, "woke at {woke:?}, wanted {until:?}");
    }
}

/// A reading that has passed is not waited for.
pub async fn the_past_is_not_waited_for(clock: Arc<dyn Clock>, pass: Pass) {
    pass(Duration::from_millis(5));
    clock.sleep_until(Monotonic::default()).await;
    clock.sleep(Duration::ZERO).await;
}

/// All sleepers whose time has come wake, the earlier ones whatever the later ones wait for.
pub async fn sleepers_do_not_wait_for_each_other(clock: Arc<dyn Clock>, pass: Pass) {
    let start = clock.monotonic();
    let sleep = |ms| clock.sleep_until(start.plus(Duration::from_millis(ms)));
    let never = sleep(86_400_000);
    let passing = async {
        for _ in 0..10 {
            pass(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = never => panic!("slept a day"),
        _ = async { tokio::join!(sleep(3), sleep(2), sleep(5), passing) } => {}
    }
}

/// Makes a test of each behaviour. The factory gives a clock and what makes its time pass.
#[macro_export]
#[doc(hidden)]
macro_rules! conformance_clock {
    ($factory:path) => {
        $crate::conformance_clock!($factory => readings_never_go_back, sleeps_are_never_short,
            the_past_is_not_waited_for, sleepers_do_not_wait_for_each_other);
    };
    ($factory:path => $($behaviour:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $behaviour() {
                let (clock, pass) = $factory();
                $crate::clock::$behaviour(clock, pass).await;
            }
        )+
    };
}
