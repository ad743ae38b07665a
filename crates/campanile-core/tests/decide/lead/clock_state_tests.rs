//! What a leader keeps in the store of what it makes of the store's clock, and when that is news.

use super::*;

const YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

fn at(s: i64) -> Timestamp {
    Timestamp::from_ms(1_800_000_000_000 + s * 1_000)
}

#[test]
fn history_is_not_removed_by_a_step_that_has_not_stood_for_a_day() {
    let step = Settling::and(None, YEARS, at(0).plus(YEARS));
    let removal = |now: Timestamp| Settling::time_of_removals([step], now);
    let day = Duration::from_secs(86_400);
    for (now, expected) in [
        (at(0).plus(YEARS), at(0)),
        (at(3_600).plus(YEARS), at(3_600)),
        (at(0).plus(YEARS).plus(day), at(0).plus(YEARS).plus(day)),
        // It went back while nobody looked: there is no step any more.
        (at(50), at(50)),
    ] {
        assert_eq!(removal(now), expected, "{now}");
    }
    assert_eq!(Settling::time_of_removals([], at(7)), at(7));
    // A second step on the same day adds to the first; one long after it doesn't.
    let now = at(600).plus(YEARS).plus(YEARS);
    let two = Settling::and(Some(step), YEARS, now);
    assert_eq!(Settling::time_of_removals([step, two], now), at(600));
    let later = now.plus(day);
    let alone = Settling::and(Some(step), YEARS, later);
    assert_eq!(
        Settling::time_of_removals([alone], later),
        later.minus(YEARS)
    );
    // What is taken back of it does not count, and with all of it nothing is left.
    let half = two.without(YEARS).unwrap();
    assert_eq!(
        Settling::time_of_removals([half], now.minus(YEARS)),
        at(600)
    );
    assert_eq!(two.without(YEARS + YEARS), None);
}

#[test]
fn it_is_written_when_it_begins_changes_and_ends_and_by_each_term_that_sees_it() {
    let of = |epoch, held: Option<u64>, until: Option<Timestamp>| {
        let held = held.map(Duration::from_secs);
        ClockState::of(epoch, held, until, [None; 2], at(0))
    };
    let calm = of(1, None, None);
    assert!(!calm.is_news(None), "a clock that is right costs no write");
    let held = of(1, Some(3_600), None);
    assert!(held.is_news(None) && held.is_news(Some(&calm)));
    assert!(!of(1, Some(3_601), None).is_news(Some(&held)));
    assert!(of(1, Some(7_200), None).is_news(Some(&held)));
    assert!(calm.is_news(Some(&held)), "its end");
    assert!(of(2, Some(3_600), None).is_news(Some(&held)));
    assert!(!of(2, None, None).is_news(Some(&calm)));
    let behind = of(1, None, Some(at(60)));
    assert!(behind.is_news(Some(&calm)) && !behind.is_news(Some(&behind)));
    assert!(of(1, None, Some(at(90))).is_news(Some(&behind)));
    assert_eq!(ClockState::read(&behind.text()), Some(behind));
    assert_eq!(ClockState::read("not ours"), None);
}

#[test]
fn a_step_that_an_earlier_leader_followed_goes_on_to_settle_under_the_next() {
    let step = Settling {
        by_ms: whole_ms(YEARS),
        since: at(0),
    };
    let fresh = |own, kept| ClockState::of(1, None, None, [own, kept], at(10)).settling;
    assert_eq!(fresh(None, Some(step)), Some(step));
    let alike = Settling {
        since: at(1),
        ..step
    };
    assert_eq!(
        fresh(Some(alike), Some(step)),
        Some(step),
        "the same one, seen by two"
    );
    let more = Settling::and(Some(step), YEARS, at(10));
    assert!(fresh(Some(more), Some(step)).is_some_and(|s| s.by_ms >= step.by_ms));
    let settled = ClockState::of(2, None, None, [None, Some(step)], at(86_401));
    assert_eq!(settled.settling, None);
    let kept = ClockState {
        settling: Some(step),
        ..ClockState::default()
    };
    assert!(!settled.is_news(Some(&kept)), "its end needs no write");
}
