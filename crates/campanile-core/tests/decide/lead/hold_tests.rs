//! A hold of the cluster: when it ends by itself, and which numbers of a store mean one.

use super::*;

#[test]
fn a_hold_ends_at_its_instant_or_when_somebody_ends_it() {
    let at = Timestamp::from_ms;
    let hold = |until| Hold {
        cause: Cause::Asked,
        by: String::new(),
        why: String::new(),
        since: at(0),
        until,
    };
    assert!(!hold(None).is_over(at(i64::MAX)));
    assert!(!hold(Some(at(10))).is_over(at(9)));
    assert!(hold(Some(at(10))).is_over(at(10)));
}

#[test]
fn what_a_newer_version_calls_a_hold_holds_too() {
    for cause in Cause::ALL {
        assert_eq!(Cause::from_i64(cause.as_i64()), Some(cause));
    }
    assert_eq!(Cause::from_i64(0), None);
    assert_eq!(Cause::from_i64(99), Some(Cause::Asked));
}
