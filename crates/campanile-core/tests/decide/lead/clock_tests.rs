//! What readings of a store's clock say, reading by reading. No clock is asked.

use super::*;

const START: i64 = 1_800_000_000;

/// The store's clock shows this many seconds at this second of our own; the answer took `slow` seconds.
fn read(own: u64, store: i64, slow: u64) -> Reading {
    Reading {
        store: Timestamp::from_ms((START + store) * 1_000),
        asked: Monotonic::from_ms((own - slow) * 1_000),
        answered: Monotonic::from_ms(own * 1_000),
    }
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

#[test]
fn a_step_forward_is_followed_once_three_readings_over_ten_seconds_agree() {
    let mut watch = Watch::default();
    assert_eq!(watch.take(read(10, 10, 0)), Judgement::Follow);
    assert_eq!(watch.take(read(12, 3_612, 0)), Judgement::Hold(secs(3_600)));
    let still = Judgement::StillHold(secs(3_600));
    assert_eq!(watch.take(read(14, 3_614, 0)), still);
    assert_eq!(
        watch.take(read(18, 3_618, 0)),
        still,
        "three, but not over ten seconds"
    );
    assert_eq!(watch.held(), Some(secs(3_600)));
    assert_eq!(
        watch.take(read(22, 3_622, 0)),
        Judgement::Accept(secs(3_600))
    );
    assert_eq!(watch.held(), None);
    assert_eq!(watch.take(read(24, 3_624, 0)), Judgement::Follow);
}

/// Two steps of the same length, with nobody looking in between, are not one that lasted.
#[test]
fn a_step_that_nobody_watched_has_not_lasted() {
    let mut watch = Watch::default();
    watch.take(read(10, 10, 0));
    for own in [12, 14, 16] {
        assert!(!watch.take(read(own, own_plus(own), 0)).is_followed());
    }
    let still = Judgement::StillHold(secs(3_600));
    for own in [60, 63, 66, 69] {
        assert_eq!(watch.take(read(own, own_plus(own), 0)), still);
    }
    assert_eq!(
        watch.take(read(70, own_plus(70), 0)),
        Judgement::Accept(secs(3_600))
    );
    // Of a store that answers so slowly nobody knows more than that it showed the step each time.
    watch.take(read(100, own_plus(100), 0));
    let later = |own: u64| read(own, own_plus(own) + 3_600, 6);
    let looks = u64::from(AGREE_LOOKS);
    for look in 1..looks {
        assert!(!watch.take(later(100 + 7 * look)).is_followed());
    }
    assert!(watch.take(later(100 + 7 * looks)).is_followed());
}

/// Asked while one step lasted, answered (or read) in the next: of what lay between nothing was seen.
#[test]
fn an_answer_that_is_long_under_way_shows_no_time() {
    let mut watch = Watch::default();
    watch.take(read(10, 10, 0));
    for own in [12, 14] {
        assert!(!watch.take(read(own, own_plus(own), 0)).is_followed());
    }
    let slow = Reading {
        store: Timestamp::from_ms((START + own_plus(16)) * 1_000),
        asked: Monotonic::from_ms(16_000),
        answered: Monotonic::from_ms(27_000),
    };
    assert!(!watch.take(slow).is_followed());
    for own in [28, 30, 32, 36] {
        assert!(!watch.take(read(own, own_plus(own), 0)).is_followed());
    }
    assert!(watch.take(read(38, own_plus(38), 0)).is_followed());
}

#[test]
fn who_seldom_looks_follows_after_many_looks() {
    let mut watch = Watch::default();
    watch.take(read(10, 10, 0));
    for look in 1..u64::from(AGREE_LOOKS) {
        let own = 10 + look * 300;
        assert!(!watch.take(read(own, own_plus(own), 0)).is_followed());
    }
    assert_eq!(
        watch.take(read(4_000, own_plus(4_000), 0)),
        Judgement::Accept(secs(3_600))
    );
}

fn own_plus(own: u64) -> i64 {
    i64::try_from(own).unwrap() + 3_600
}

#[test]
fn a_step_settles_from_where_it_was_followed_and_no_more_once_it_is_set_right() {
    let mut watch = an_hour_ahead();
    let step = watch.settling().unwrap();
    assert_eq!(
        (step.by_ms, step.since),
        (3_600_000, read(22, 3_622, 0).store)
    );
    // Half of it goes back: the other half still counts from where it was followed.
    watch.take(read(24, 1_824, 0));
    let half = watch.settling().unwrap();
    assert_eq!(
        (half.by_ms, half.since),
        (1_800_000, read(22, 1_822, 0).store)
    );
    assert!(half.is_fresh(read(24, 1_824, 0).store));
    watch.take(read(26, 26, 0));
    assert_eq!(watch.settling(), None);
    assert_eq!(Watch::default().settling(), None);
}

#[test]
fn a_step_that_is_taken_back_was_never_followed() {
    let mut watch = Watch::default();
    watch.take(read(10, 10, 0));
    for (own, store) in [(12, 400_000_000), (14, 400_000_002)] {
        assert!(!watch.take(read(own, store, 0)).is_followed());
    }
    assert_eq!(watch.take(read(16, 16, 0)), Judgement::Returned);
    assert_eq!((watch.held(), watch.behind_until()), (None, None));
}

/// Followed at second 22, an hour ahead.
fn an_hour_ahead() -> Watch {
    let mut watch = Watch::default();
    watch.take(read(10, 10, 0));
    for own in [12, 14, 18] {
        watch.take(read(own, 3_600 + own as i64, 0));
    }
    let by = secs(3_600);
    assert_eq!(watch.take(read(22, 3_622, 0)), Judgement::Accept(by));
    watch
}

#[test]
fn a_step_that_was_followed_and_is_taken_back_leaves_no_silence() {
    let mut watch = an_hour_ahead();
    let right = watch.take(read(300, 300, 0));
    assert_eq!(right, Judgement::SetRight { by: secs(3_600) });
    assert!(right.is_back() && right.is_followed());
    assert_eq!(watch.behind_until(), None);
    // It is over: another step back is one of its own.
    let again = watch.take(read(302, 202, 0));
    assert!(matches!(again, Judgement::Back { .. }), "{again:?}");

    // Further back than it was: what lies before the old line has been answered.
    let mut watch = an_hour_ahead();
    let right = watch.take(read(300, 270, 0));
    assert_eq!(right, Judgement::SetRight { by: secs(3_630) });
    let line = Timestamp::from_ms((START + 300) * 1_000);
    assert_eq!(watch.behind_until(), Some(line));

    // In two steps.
    let mut watch = an_hour_ahead();
    let most = watch.take(read(300, 900, 0));
    assert_eq!(most, Judgement::SetRight { by: secs(3_000) });
    let rest = watch.take(read(302, 302, 0));
    assert_eq!(rest, Judgement::SetRight { by: secs(600) });
}

#[test]
fn a_step_back_that_is_another_is_said_with_its_end() {
    // A few minutes are no hour taken back; nor is a day.
    for back in [100, 86_400] {
        let mut watch = an_hour_ahead();
        let judged = watch.take(read(300, 3_900 - back, 0));
        let until = Timestamp::from_ms((START + 3_900) * 1_000);
        let by = secs(u64::try_from(back).unwrap());
        assert_eq!(judged, Judgement::Back { by, until });
    }
    // Nor is one after a week.
    let mut watch = an_hour_ahead();
    let week = 8 * 86_400;
    watch.take(read(week, 3_600 + week as i64, 0));
    let judged = watch.take(read(week + 2, week as i64 + 2, 0));
    assert!(matches!(judged, Judgement::Back { .. }), "{judged:?}");
}

#[test]
fn readings_that_disagree_begin_anew() {
    let mut watch = Watch::default();
    watch.take(read(10, 10, 0));
    assert!(!watch.take(read(12, 1_000, 0)).is_followed());
    assert_eq!(watch.take(read(18, 9_018, 0)), Judgement::Hold(secs(9_000)));
    assert!(
        !watch.take(read(23, 9_023, 0)).is_followed(),
        "the first one does not count"
    );
}

#[test]
fn a_step_back_is_followed_and_has_its_end() {
    let mut watch = Watch::default();
    watch.take(read(1_000, 1_000, 0));
    let until = Timestamp::from_ms((START + 1_002) * 1_000);
    let by = secs(600);
    assert_eq!(
        watch.take(read(1_002, 402, 0)),
        Judgement::Back { by, until }
    );
    assert_eq!(watch.take(read(1_300, 700, 0)), Judgement::Follow);
    assert_eq!(watch.behind_until(), Some(until));
    assert_eq!(watch.take(read(1_602, 1_002, 0)), Judgement::CaughtUp);
    assert_eq!(watch.behind_until(), None);
}

#[test]
fn a_machine_that_slept_and_an_answer_that_was_slow_are_no_steps() {
    let mut watch = Watch::default();
    watch.take(read(10, 10, 0));
    // A night: this machine's own clock went on.
    assert_eq!(watch.take(read(30_010, 30_010, 0)), Judgement::Follow);
    // The store read its clock at the start of an answer that took nine seconds.
    assert_eq!(watch.take(read(30_030, 30_021, 9)), Judgement::Follow);
    assert_eq!(watch.take(read(30_031, 30_031, 0)), Judgement::Follow);
}

#[test]
fn where_a_process_begins_is_the_earliest_that_is_known() {
    let at = |s: i64| Timestamp::from_ms((START + s) * 1_000);
    assert_eq!(anchor(at(100), None, at(90)), None, "a new cluster");
    assert_eq!(
        anchor(at(100), None, at(200)),
        None,
        "a wall clock ahead says nothing"
    );
    assert_eq!(anchor(at(100), Some(at(98)), at(90)), None);
    // An outage: nobody may be told that it is still the hour of the last heartbeat.
    assert_eq!(anchor(at(4_000), Some(at(98)), at(4_000)), None);
    assert_eq!(anchor(at(4_000), Some(at(98)), at(120)), Some(at(98)));
    assert_eq!(anchor(at(4_000), Some(at(3_999)), at(100)), Some(at(100)));
}

#[test]
fn a_process_that_has_read_nothing_compares_with_what_is_recorded() {
    let mut watch = Watch::default();
    let newest = Timestamp::from_ms((START + 10) * 1_000);
    watch.anchor(newest, Monotonic::from_ms(50_000));
    assert!(!watch.take(read(51, 4_000, 0)).is_followed());
    let mut fresh = Watch::default();
    fresh.anchor(newest, Monotonic::from_ms(50_000));
    assert_eq!(fresh.take(read(51, 40, 0)), Judgement::Follow);
}
