//! Changes of the clocks: gaps, repeats, half-hour shifts, midnights that don't exist, a day that doesn't.

use super::*;

/// Asserts the next occurrences of a unix expression.
fn unix(expression: &str, zone: &str, from: &str, expected: &[&str]) {
    check(expression, Dialect::Unix, zone, from, expected);
}

#[test]
fn listed_times_in_a_gap_fire_once_at_its_end() {
    let (zone, from) = ("Europe/Berlin", "2026-03-28T12:00:00Z");
    unix(
        "30 2 * * *",
        zone,
        from,
        &["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
    );
    unix(
        "0,15,30,45 2 * * *",
        zone,
        from,
        &["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"],
    );
    unix(
        "0,30 1-3 * * *",
        zone,
        "2026-03-29T00:29:00Z",
        &[
            "2026-03-29T01:30:00+01:00",
            "2026-03-29T03:00:00+02:00",
            "2026-03-29T03:30:00+02:00",
            "2026-03-30T01:00:00+02:00",
        ],
    );
    unix(
        "0 3 * * *",
        zone,
        from,
        &["2026-03-29T03:00:00+02:00", "2026-03-30T03:00:00+02:00"],
    );
    check(
        "*/20 30 2 * * *",
        Dialect::Spring,
        zone,
        from,
        &["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
    );
}

#[test]
fn listed_times_that_come_twice_fire_the_first_time() {
    let (zone, from) = ("Europe/Berlin", "2026-10-24T12:00:00Z");
    unix(
        "30 2 * * *",
        zone,
        from,
        &["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
    );
    unix(
        "0 1-3 * * *",
        zone,
        from,
        &[
            "2026-10-25T01:00:00+02:00",
            "2026-10-25T02:00:00+02:00",
            "2026-10-25T03:00:00+01:00",
            "2026-10-26T01:00:00+01:00",
        ],
    );
    // Asked from within the second pass, too.
    let schedule = cron("0,30,59 2 * * *", Dialect::Unix, zone);
    let second_pass = at("2026-10-25T02:15:00+01:00");
    assert_eq!(
        schedule.next(second_pass),
        Some(at("2026-10-26T02:00:00+01:00"))
    );
    assert_eq!(
        schedule.previous(second_pass),
        Some(at("2026-10-25T02:59:00+02:00"))
    );
}

#[test]
fn open_times_follow_elapsed_time() {
    let new_york = "America/New_York";
    unix(
        "*/30 * * * *",
        new_york,
        "2026-11-01T00:29:00-04:00",
        &[
            "2026-11-01T00:30:00-04:00",
            "2026-11-01T01:00:00-04:00",
            "2026-11-01T01:30:00-04:00",
            "2026-11-01T01:00:00-05:00",
            "2026-11-01T01:30:00-05:00",
            "2026-11-01T02:00:00-05:00",
        ],
    );
    unix(
        "*/30 2 * * *",
        "Europe/Berlin",
        "2026-03-28T01:15:00Z",
        &["2026-03-28T02:30:00+01:00", "2026-03-30T02:00:00+02:00"],
    );
    unix(
        "15 * * * *",
        "Europe/Berlin",
        "2026-03-29T00:10:00Z",
        &[
            "2026-03-29T01:15:00+01:00",
            "2026-03-29T03:15:00+02:00",
            "2026-03-29T04:15:00+02:00",
        ],
    );
    check(
        "0 0/30 1 * * ?",
        Dialect::Quartz,
        new_york,
        "2026-11-01T00:00:00-04:00",
        &[
            "2026-11-01T01:00:00-04:00",
            "2026-11-01T01:30:00-04:00",
            "2026-11-01T01:00:00-05:00",
            "2026-11-01T01:30:00-05:00",
            "2026-11-02T01:00:00-05:00",
        ],
    );
}

#[test]
fn a_repeat_is_not_overlooked_by_who_looks_far_ahead() {
    let (zone, expression) = ("America/New_York", "*/30 1 1 11 *");
    unix(
        expression,
        zone,
        "2026-10-31T00:00:00-04:00",
        &[
            "2026-11-01T01:00:00-04:00",
            "2026-11-01T01:30:00-04:00",
            "2026-11-01T01:00:00-05:00",
            "2026-11-01T01:30:00-05:00",
            "2027-11-01T01:00:00-04:00",
        ],
    );
    // In 2027 the clocks change on the 7th: the repeat lies at the end of a long silence.
    unix(
        "*/30 1 7 11 *",
        zone,
        "2026-11-08T00:00:00-05:00",
        &[
            "2027-11-07T01:00:00-04:00",
            "2027-11-07T01:30:00-04:00",
            "2027-11-07T01:00:00-05:00",
            "2027-11-07T01:30:00-05:00",
            "2028-11-07T01:00:00-05:00",
        ],
    );
}

#[test]
fn half_hour_shifts() {
    let zone = "Australia/Lord_Howe";
    // 2026-04-05 02:00 +11:00 becomes 01:30 +10:30; 2026-10-04 02:00 +10:30 becomes 02:30 +11:00.
    unix(
        "45 1 * * *",
        zone,
        "2026-04-04T12:00:00Z",
        &["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"],
    );
    unix(
        "15,45 * * * *",
        zone,
        "2026-04-05T01:10:00+11:00",
        &[
            "2026-04-05T01:15:00+11:00",
            "2026-04-05T01:45:00+11:00",
            "2026-04-05T01:45:00+10:30",
            "2026-04-05T02:15:00+10:30",
        ],
    );
    unix(
        "10,20,40 2 * * *",
        zone,
        "2026-10-03T12:00:00Z",
        &[
            "2026-10-04T02:30:00+11:00",
            "2026-10-04T02:40:00+11:00",
            "2026-10-05T02:10:00+11:00",
        ],
    );
    unix(
        "*/20 * * * *",
        zone,
        "2026-10-04T01:35:00+10:30",
        &["2026-10-04T01:40:00+10:30", "2026-10-04T02:40:00+11:00"],
    );
}

#[test]
fn midnights_that_do_not_exist() {
    unix(
        "0 0 * * *",
        "America/Sao_Paulo",
        "2018-11-03T12:00:00Z",
        &["2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"],
    );
    unix(
        "@daily",
        "Asia/Gaza",
        "2022-03-26T12:00:00Z",
        &["2022-03-27T01:00:00+03:00", "2022-03-28T00:00:00+03:00"],
    );
    unix(
        "30 0 27 3 *",
        "Asia/Gaza",
        "2022-01-01T00:00:00Z",
        &["2022-03-27T01:00:00+03:00", "2023-03-27T00:30:00+02:00"],
    );
    unix(
        "*/30 0 * * *",
        "America/Sao_Paulo",
        "2018-11-03T12:00:00Z",
        &["2018-11-05T00:00:00-02:00"],
    );
    // And the midnight that comes twice, the day going back to its eve.
    unix(
        "30 23 * * *",
        "America/Sao_Paulo",
        "2018-02-17T12:00:00Z",
        &["2018-02-17T23:30:00-02:00", "2018-02-18T23:30:00-03:00"],
    );
    unix(
        "*/30 23 * * *",
        "America/Sao_Paulo",
        "2018-02-17T12:00:00Z",
        &[
            "2018-02-17T23:00:00-02:00",
            "2018-02-17T23:30:00-02:00",
            "2018-02-17T23:00:00-03:00",
            "2018-02-17T23:30:00-03:00",
            "2018-02-18T23:00:00-03:00",
        ],
    );
}

#[test]
fn a_day_that_does_not_exist() {
    // Samoa went from 29 to 31 December 2011.
    let zone = "Pacific/Apia";
    unix(
        "0 12 * * *",
        zone,
        "2011-12-29T00:00:00-10:00",
        &[
            "2011-12-29T12:00:00-10:00",
            "2011-12-31T00:00:00+14:00",
            "2011-12-31T12:00:00+14:00",
        ],
    );
    unix(
        "0 */12 * * *",
        zone,
        "2011-12-29T11:00:00-10:00",
        &["2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00"],
    );
}

#[test]
fn what_lies_in_every_gap_alone_ends_in_none() {
    // Wall times from 02:00 to 02:59 on the last Sunday of March: never shown in Berlin while the rule holds.
    let schedule = cron("*/10 2 * 3 7L", Dialect::Unix, "Europe/Berlin");
    assert_eq!(schedule.next(at("2026-01-01T00:00:00Z")), None);
    assert!(
        schedule
            .previous(at("2026-01-01T00:00:00Z"))
            .is_some_and(|t| t < at("1981-01-01T00:00:00Z"))
    );
    // With listed minutes it fires at each gap's end.
    unix(
        "10,20 2 * 3 7L",
        "Europe/Berlin",
        "2026-01-01T00:00:00Z",
        &["2026-03-29T03:00:00+02:00", "2027-03-28T03:00:00+02:00"],
    );
}

fn once(text: &str, zone: &str, dst: Dst) -> Result<Schedule, Error> {
    let options = Options {
        timezone: TimeZoneName::parse(zone).unwrap(),
        dst,
        ..Options::default()
    };
    Schedule::parse(Some(text), &options)
}

#[test]
fn a_single_wall_time_follows_the_rules_of_its_zone() {
    let plain = Dst::default();
    let gap = |gap| Dst { gap, ..plain };
    let repeat = |repeat| Dst { repeat, ..plain };
    let (lost, twice) = ("at 2026-03-29T02:30", "at 2026-10-25 02:30:00");
    for (text, dst, expected) in [
        (
            "at 2026-12-01T08:00",
            plain,
            &["2026-12-01T08:00:00+01:00"][..],
        ),
        (
            "at 2026-07-01T08:00:05",
            plain,
            &["2026-07-01T08:00:05+02:00"],
        ),
        (lost, plain, &["2026-03-29T03:00:00+02:00"]),
        (lost, gap(Gap::Shift), &["2026-03-29T03:30:00+02:00"]),
        (twice, plain, &["2026-10-25T02:30:00+02:00"]),
        (twice, repeat(Repeat::Last), &["2026-10-25T02:30:00+01:00"]),
        (
            twice,
            repeat(Repeat::Both),
            &["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"],
        ),
    ] {
        let schedule = once(text, "Europe/Berlin", dst).unwrap();
        let (zone, from) = ("Europe/Berlin", "2026-01-01T00:00:00Z");
        check_both_ways(&schedule, text, zone, from, expected);
        let all = following(&schedule, zone, from, 9);
        assert_eq!(all, expected, "{text}");
        let again = once(&schedule.to_string(), zone, dst).unwrap();
        assert_eq!(again, schedule);
    }
    let never = once(lost, "Europe/Berlin", gap(Gap::Skip)).unwrap_err();
    assert!(never.never_fires(), "{never}");
    assert!(never.to_string().contains("next-valid"), "{never}");
    let utc = once("at 2026-12-01T08:00", "UTC", plain).unwrap();
    assert_eq!(utc.next(Timestamp::MIN), Some(at("2026-12-01T08:00:00Z")));
    assert_eq!(utc.describe(), "Once, at 2026-12-01T08:00:00, in UTC");
}

#[test]
fn a_moment_is_an_instant_or_a_wall_time_and_reads_itself_back() {
    let berlin = TimeZoneName::parse("Europe/Berlin").unwrap();
    let plain = Dst::default();
    let both = Dst {
        repeat: Repeat::Both,
        ..plain
    };
    let skip = Dst {
        gap: Gap::Skip,
        ..plain
    };
    for (text, dst, first, last) in [
        (
            "2026-12-01T08:00:00+01:00",
            plain,
            "2026-12-01T07:00:00Z",
            "2026-12-01T07:00:00Z",
        ),
        (
            "2026-12-01T08:00",
            plain,
            "2026-12-01T07:00:00Z",
            "2026-12-01T07:00:00Z",
        ),
        (
            "2026-10-25T02:30",
            plain,
            "2026-10-25T00:30:00Z",
            "2026-10-25T00:30:00Z",
        ),
        (
            "2026-10-25T02:30",
            both,
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:30:00Z",
        ),
        (
            "2026-03-29T02:30",
            skip,
            "2026-03-29T01:00:00Z",
            "2026-03-29T01:00:00Z",
        ),
    ] {
        let moment = Moment::parse(text).unwrap();
        assert_eq!(moment.first_in(&berlin, dst), at(first), "{text}");
        assert_eq!(moment.last_in(&berlin, dst), at(last), "{text}");
        assert_eq!(Moment::parse(&moment.to_string()), Ok(moment));
    }
    for (wrong, part) in [
        ("2026-12-01", "has no offset"),
        ("2026-12-01T08:00:00.5", "part of a second"),
        ("2026-13-01T08:00", "is not an instant"),
        ("2026-12-01T08:00[Europe/Berlin]", "has no offset"),
        ("08:00", "is not an instant"),
    ] {
        let said = Moment::parse(wrong).unwrap_err();
        assert!(said.contains(part), "{wrong}: {said}");
    }
}
