//! The store's clock as a node knows it: what it follows at once, and what only after it has lasted.

use std::time::Duration;

use super::*;
use crate::memory::clock::ManualClock;

#[test]
fn a_slow_answer_changes_nothing_and_a_step_is_followed_downwards() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_ms(1_000_000)));
    let time = DatabaseTime::new(Arc::clone(&clock) as Arc<dyn Clock>);
    let asked = clock.monotonic();
    time.sample(Timestamp::from_ms(2_000_000), asked);
    assert_eq!(time.now(), Timestamp::from_ms(1_999_999));
    // The answer took half a second; the store read its clock at the start of it.
    let asked = clock.monotonic();
    clock.advance(Duration::from_millis(500));
    time.sample(Timestamp::from_ms(2_000_001), asked);
    assert_eq!(time.now(), Timestamp::from_ms(2_000_499));
    // The store's clock was set back: never ahead of it.
    time.sample(Timestamp::from_ms(1_990_000), clock.monotonic());
    assert_eq!(time.now(), Timestamp::from_ms(1_989_999));
    assert!(time.skew_ms() < 0);
    let until = time.behind_until().unwrap();
    assert!(until > time.now());
}

#[test]
fn a_step_forward_is_not_followed_before_it_has_lasted() {
    let start = Timestamp::from_ms(1_800_000_000_000);
    let clock = Arc::new(ManualClock::new(start));
    let time = DatabaseTime::new(Arc::clone(&clock) as Arc<dyn Clock>);
    let hour = Duration::from_secs(3_600);
    time.sample(start, clock.monotonic());
    for second in 1..=9 {
        clock.advance(Duration::from_secs(1));
        let elapsed = Duration::from_secs(second);
        time.sample(start.plus(hour).plus(elapsed), clock.monotonic());
        assert_eq!(
            time.now(),
            start.plus(elapsed).minus(Duration::from_millis(1))
        );
        assert_eq!(time.held(), Some(hour));
    }
    clock.advance(Duration::from_secs(1));
    time.sample(start.plus(Duration::from_secs(10)), clock.monotonic());
    assert_eq!(time.held(), None, "it was taken back");
    for second in 11..=21 {
        clock.advance(Duration::from_secs(1));
        let elapsed = Duration::from_secs(second);
        time.sample(start.plus(hour).plus(elapsed), clock.monotonic());
    }
    assert!(time.now() > start.plus(hour), "it has lasted");
}
