//! Recurrences in an hour that comes twice: what goes on through both passes, and what a count and an end mean there.

use super::recurrences::recur;
use super::*;

#[test]
fn what_goes_on_in_hours_minutes_or_seconds_goes_on_through_both_passes() {
    let autumn = |rule: &str, zone: &str, from: &str, count| {
        let schedule = recur(rule, zone, Dst::default()).unwrap();
        following(&schedule, zone, from, count)
    };
    let berlin = autumn(
        "DTSTART:20260101T000000 RRULE:FREQ=MINUTELY;INTERVAL=20",
        "Europe/Berlin",
        "2026-10-25T00:00:00Z",
        8,
    );
    assert_eq!(
        berlin,
        [
            "2026-10-25T02:20:00+02:00",
            "2026-10-25T02:40:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T02:20:00+01:00",
            "2026-10-25T02:40:00+01:00",
            "2026-10-25T03:00:00+01:00",
            "2026-10-25T03:20:00+01:00",
            "2026-10-25T03:40:00+01:00",
        ]
    );
    // The same as a cron expression does.
    let cron = cron("*/20 * * * *", Dialect::Unix, "Europe/Berlin");
    assert_eq!(
        berlin,
        following(&cron, "Europe/Berlin", "2026-10-25T00:00:00Z", 8)
    );
    let hourly = autumn(
        "DTSTART:20260101T001500 RRULE:FREQ=HOURLY",
        "America/New_York",
        "2026-11-01T05:00:00Z",
        3,
    );
    let new_york = [
        "2026-11-01T01:15:00-04:00",
        "2026-11-01T01:15:00-05:00",
        "2026-11-01T02:15:00-05:00",
    ];
    assert_eq!(hourly, new_york);
    // Half an hour comes twice.
    let lord_howe = autumn(
        "DTSTART:20260101T000000 RRULE:FREQ=SECONDLY;INTERVAL=900",
        "Australia/Lord_Howe",
        "2026-04-04T14:40:00Z",
        4,
    );
    assert_eq!(
        lord_howe,
        [
            "2026-04-05T01:45:00+11:00",
            "2026-04-05T01:30:00+10:30",
            "2026-04-05T01:45:00+10:30",
            "2026-04-05T02:00:00+10:30",
        ]
    );
    // Listed times are the policy's, as cron's `30 2 * * *` is.
    let listed = autumn(
        "DTSTART:20260101T000000 RRULE:FREQ=HOURLY;BYHOUR=2;BYMINUTE=30",
        "Europe/Berlin",
        "2026-10-24T12:00:00Z",
        2,
    );
    assert_eq!(
        listed,
        ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    );
}

#[test]
fn a_count_is_of_instants_and_an_end_in_utc_is_an_instant() {
    let last = |end: &str| {
        let rule = format!("DTSTART:20261025T020000 RRULE:FREQ=MINUTELY;INTERVAL=20;{end}");
        let schedule = recur(&rule, "Europe/Berlin", Dst::default()).unwrap();
        let all = following(&schedule, "Europe/Berlin", "2026-10-24T00:00:00Z", 20);
        let before = schedule.previous(Timestamp::MAX).unwrap();
        let zone = TimeZoneName::parse("Europe/Berlin").unwrap();
        assert_eq!(all.last(), Some(&format_in_zone(before, &zone)), "{end}");
        (all.len(), all.last().cloned().unwrap())
    };
    assert_eq!(last("COUNT=2"), (2, "2026-10-25T02:20:00+02:00".to_owned()));
    assert_eq!(last("COUNT=5"), (5, "2026-10-25T02:20:00+01:00".to_owned()));
    assert_eq!(last("COUNT=8"), (8, "2026-10-25T03:20:00+01:00".to_owned()));
    let until = last("UNTIL=20261025T002500Z");
    assert_eq!(until, (2, "2026-10-25T02:20:00+02:00".to_owned()));
    // A date that was added lies behind the end all the same.
    let added =
        "DTSTART:20261025T020000 RRULE:FREQ=MINUTELY;INTERVAL=20;COUNT=2 RDATE:20261101T100000";
    let schedule = recur(added, "Europe/Berlin", Dst::default()).unwrap();
    let all = following(&schedule, "Europe/Berlin", "2026-10-24T00:00:00Z", 9);
    assert_eq!(all.len(), 3);
    assert_eq!(all[2], "2026-11-01T10:00:00+01:00");
    let back = schedule.previous(at("2026-11-01T09:00:00Z")).unwrap();
    assert_eq!(back, at("2026-10-25T00:20:00Z"));
}

#[test]
fn a_count_without_a_written_start_begins_after_the_creation() {
    // Created at 09:07:33: the minute that it stands in never ran.
    let schedule = recur("rrule FREQ=MINUTELY;COUNT=3", "UTC", Dst::default()).unwrap();
    let all = following(&schedule, "UTC", "2026-01-05T09:07:33.250Z", 9);
    assert_eq!(
        all,
        [
            "2026-01-05T09:08:00Z",
            "2026-01-05T09:09:00Z",
            "2026-01-05T09:10:00Z"
        ]
    );
}
