//! The rules for changes of the clocks that a task can choose, by table: each pair of rules, each kind of change, both
//! directions. The walker holds the same rules over random expressions.

use super::*;

/// Checks rows of zone | from | expression (unix) | gap | repeat => the instants that follow.
fn check_rows(rows: &str) {
    for row in rows.lines() {
        let (question, expected) = row.split_once(" => ").unwrap();
        let [zone, from, expression, gap, repeat] = question.split(" | ").collect::<Vec<_>>()[..]
        else {
            panic!("{row}")
        };
        let schedule = with_rules(expression, Dialect::Unix, zone, named(gap), named(repeat));
        let expected: Vec<_> = expected.split(' ').collect();
        check_both_ways(&schedule, row, zone, from, &expected);
    }
}

/// A rule by the name that a task file gives it.
fn named<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).unwrap()
}

fn with_rules(text: &str, dialect: Dialect, zone: &str, gap: Gap, repeat: Repeat) -> Schedule {
    read(text, dialect, zone, gap, repeat).unwrap()
}

fn read(
    text: &str,
    dialect: Dialect,
    zone: &str,
    gap: Gap,
    repeat: Repeat,
) -> Result<Schedule, Error> {
    let options = Options {
        dialect,
        timezone: TimeZoneName::parse(zone).unwrap(),
        dst: Dst { gap, repeat },
        ..Options::default()
    };
    Schedule::parse(Some(text), &options)
}

/// 2026-03-29 in Berlin: 01:59:59 +01:00 is followed by 03:00:00 +02:00. Several times of one gap fire once at its end,
/// or each later by its length, among the schedule's own times and in order; two at one instant are one.
const GAP: &str = "\
Europe/Berlin | 2026-03-28T12:00:00Z | 30 2 * * * | next-valid | first => 2026-03-29T03:00:00+02:00 2026-03-30T02:30:00+02:00
Europe/Berlin | 2026-03-28T12:00:00Z | 30 2 * * * | skip | first => 2026-03-30T02:30:00+02:00 2026-03-31T02:30:00+02:00
Europe/Berlin | 2026-03-28T12:00:00Z | 30 2 * * * | shift | first => 2026-03-29T03:30:00+02:00 2026-03-30T02:30:00+02:00
Europe/Berlin | 2026-03-28T12:00:00Z | 0,20,40 2 * * * | next-valid | first => 2026-03-29T03:00:00+02:00 2026-03-30T02:00:00+02:00
Europe/Berlin | 2026-03-28T12:00:00Z | 0,20,40 2 * * * | shift | first => 2026-03-29T03:00:00+02:00 2026-03-29T03:20:00+02:00 2026-03-29T03:40:00+02:00 2026-03-30T02:00:00+02:00
Europe/Berlin | 2026-03-28T12:00:00Z | 30 2,3 * * * | shift | first => 2026-03-29T03:30:00+02:00 2026-03-30T02:30:00+02:00
Europe/Berlin | 2026-03-28T12:00:00Z | 15,45 1-3 29 3 * | shift | first => 2026-03-29T01:15:00+01:00 2026-03-29T01:45:00+01:00 2026-03-29T03:15:00+02:00 2026-03-29T03:45:00+02:00 2027-03-29T01:15:00+02:00
Europe/Berlin | 2026-03-28T12:00:00Z | 15 2-3 29 3 * | next-valid | first => 2026-03-29T03:00:00+02:00 2026-03-29T03:15:00+02:00 2027-03-29T02:15:00+02:00
Europe/Berlin | 2026-03-28T12:00:00Z | 15 2-3 29 3 * | skip | first => 2026-03-29T03:15:00+02:00 2027-03-29T02:15:00+02:00
Europe/Berlin | 2026-03-28T12:00:00Z | 0 3 * * * | skip | first => 2026-03-29T03:00:00+02:00 2026-03-30T03:00:00+02:00
";

#[test]
fn a_gap_of_an_hour() {
    check_rows(GAP);
}

/// 2026-10-25 in Berlin: 02:59:59 +02:00 is followed by 02:00:00 +01:00. The last rows ask from within a pass.
const REPEAT: &str = "\
Europe/Berlin | 2026-10-24T12:00:00Z | 30 2 * * * | next-valid | first => 2026-10-25T02:30:00+02:00 2026-10-26T02:30:00+01:00
Europe/Berlin | 2026-10-24T12:00:00Z | 30 2 * * * | next-valid | both => 2026-10-25T02:30:00+02:00 2026-10-25T02:30:00+01:00 2026-10-26T02:30:00+01:00
Europe/Berlin | 2026-10-24T12:00:00Z | 30 2 * * * | next-valid | last => 2026-10-25T02:30:00+01:00 2026-10-26T02:30:00+01:00
Europe/Berlin | 2026-10-24T12:00:00Z | 0,30 1-3 25 10 * | next-valid | last => 2026-10-25T01:00:00+02:00 2026-10-25T01:30:00+02:00 2026-10-25T02:00:00+01:00 2026-10-25T02:30:00+01:00 2026-10-25T03:00:00+01:00 2026-10-25T03:30:00+01:00
Europe/Berlin | 2026-10-24T12:00:00Z | 0 2-3 25 10 * | next-valid | both => 2026-10-25T02:00:00+02:00 2026-10-25T02:00:00+01:00 2026-10-25T03:00:00+01:00
Europe/Berlin | 2026-10-25T02:45:00+02:00 | 30 2 * * * | next-valid | both => 2026-10-25T02:30:00+01:00 2026-10-26T02:30:00+01:00
Europe/Berlin | 2026-10-25T02:45:00+02:00 | 30 2 * * * | next-valid | last => 2026-10-25T02:30:00+01:00 2026-10-26T02:30:00+01:00
Europe/Berlin | 2026-10-25T02:45:00+01:00 | 30 2 * * * | next-valid | last => 2026-10-26T02:30:00+01:00
";

#[test]
fn a_repeat_of_an_hour() {
    check_rows(REPEAT);
}

/// Lord Howe, 2026-10-04: 02:00 +10:30 becomes 02:30 +11:00; 2026-04-05: 02:00 +11:00 becomes 01:30 +10:30.
const HALF_HOURS: &str = "\
Australia/Lord_Howe | 2026-10-03T12:00:00Z | 15 2 * * * | next-valid | first => 2026-10-04T02:30:00+11:00 2026-10-05T02:15:00+11:00
Australia/Lord_Howe | 2026-10-03T12:00:00Z | 15 2 * * * | skip | first => 2026-10-05T02:15:00+11:00
Australia/Lord_Howe | 2026-10-03T12:00:00Z | 15 2 * * * | shift | first => 2026-10-04T02:45:00+11:00 2026-10-05T02:15:00+11:00
Australia/Lord_Howe | 2026-10-03T12:00:00Z | 15,45 2 * * * | shift | first => 2026-10-04T02:45:00+11:00 2026-10-05T02:15:00+11:00
Australia/Lord_Howe | 2026-10-03T12:00:00Z | 15,40 2 * * * | shift | first => 2026-10-04T02:40:00+11:00 2026-10-04T02:45:00+11:00 2026-10-05T02:15:00+11:00
Australia/Lord_Howe | 2026-04-04T12:00:00Z | 45 1 * * * | next-valid | both => 2026-04-05T01:45:00+11:00 2026-04-05T01:45:00+10:30 2026-04-06T01:45:00+10:30
Australia/Lord_Howe | 2026-04-04T12:00:00Z | 15,45 1 * * * | next-valid | last => 2026-04-05T01:15:00+11:00 2026-04-05T01:45:00+10:30 2026-04-06T01:15:00+10:30
";

#[test]
fn changes_of_half_an_hour() {
    check_rows(HALF_HOURS);
}

/// In São Paulo 2018-11-04 begins at 01:00, and 2018-02-17 has 23:00 to 23:59 twice. Samoa had no 30 December 2011: its
/// noon is moved, dropped, or 24 hours later, which is the 31st's own.
const MIDNIGHTS: &str = "\
America/Sao_Paulo | 2018-11-03T12:00:00Z | 0 0 * * * | next-valid | first => 2018-11-04T01:00:00-02:00 2018-11-05T00:00:00-02:00
America/Sao_Paulo | 2018-11-03T12:00:00Z | 0 0 * * * | skip | first => 2018-11-05T00:00:00-02:00
America/Sao_Paulo | 2018-11-03T12:00:00Z | 30 0 * * * | shift | first => 2018-11-04T01:30:00-02:00 2018-11-05T00:30:00-02:00
America/Sao_Paulo | 2018-02-17T12:00:00Z | 30 23 * * * | next-valid | last => 2018-02-17T23:30:00-03:00 2018-02-18T23:30:00-03:00
America/Sao_Paulo | 2018-02-17T12:00:00Z | 30 23 * * * | next-valid | both => 2018-02-17T23:30:00-02:00 2018-02-17T23:30:00-03:00 2018-02-18T23:30:00-03:00
Pacific/Apia | 2011-12-29T00:00:00-10:00 | 0 12 * * * | next-valid | first => 2011-12-29T12:00:00-10:00 2011-12-31T00:00:00+14:00 2011-12-31T12:00:00+14:00
Pacific/Apia | 2011-12-29T00:00:00-10:00 | 0 12 * * * | skip | first => 2011-12-29T12:00:00-10:00 2011-12-31T12:00:00+14:00
Pacific/Apia | 2011-12-29T00:00:00-10:00 | 0 12 * * * | shift | first => 2011-12-29T12:00:00-10:00 2011-12-31T12:00:00+14:00 2012-01-01T12:00:00+14:00
Pacific/Apia | 2011-12-29T00:00:00-10:00 | 0 12 30 12 * | shift | first => 2011-12-31T12:00:00+14:00 2012-12-30T12:00:00+14:00
";

#[test]
fn changes_at_midnight_and_a_day_left_out() {
    check_rows(MIDNIGHTS);
}

#[test]
fn open_times_do_not_ask_for_rules() {
    let gap_and_repeat = ["2026-03-29T00:00:00Z", "2026-10-25T00:00:00Z"];
    for expression in ["*/30 * * * *", "30 * * * *", "*/20 2 * * *", "0 */2 * * *"] {
        for from in gap_and_repeat {
            let default = cron(expression, Dialect::Unix, "Europe/Berlin");
            let expected = following(&default, "Europe/Berlin", from, 12);
            for gap in [Gap::NextValid, Gap::Skip, Gap::Shift] {
                for repeat in [Repeat::First, Repeat::Both, Repeat::Last] {
                    let schedule =
                        with_rules(expression, Dialect::Unix, "Europe/Berlin", gap, repeat);
                    let got = following(&schedule, "Europe/Berlin", from, 12);
                    assert_eq!(got, expected, "{expression} {gap:?} {repeat:?}");
                }
            }
        }
    }
}

#[test]
fn seconds_follow_the_rules_of_their_minute() {
    let berlin = "Europe/Berlin";
    let shift = with_rules(
        "15,45 30 2 * * *",
        Dialect::Spring,
        berlin,
        Gap::Shift,
        Repeat::First,
    );
    check_both_ways(
        &shift,
        "15,45 30 2 * * *",
        berlin,
        "2026-03-28T12:00:00Z",
        &[
            "2026-03-29T03:30:15+02:00",
            "2026-03-29T03:30:45+02:00",
            "2026-03-30T02:30:15+02:00",
        ],
    );
    let last = with_rules(
        "15 30 2 * * ?",
        Dialect::Quartz,
        berlin,
        Gap::Skip,
        Repeat::Last,
    );
    check_both_ways(
        &last,
        "15 30 2 * * ?",
        berlin,
        "2026-10-24T12:00:00Z",
        &["2026-10-25T02:30:15+01:00", "2026-10-26T02:30:15+01:00"],
    );
}

/// The last allowed year ends inside a repeat: what is left of it is the second pass.
#[test]
fn the_second_pass_of_the_last_year_is_found() {
    let new_york = "America/New_York";
    let from = "2026-11-01T01:45:00-04:00";
    let open = cron("0 */30 1 1 11 ? 2026", Dialect::Quartz, new_york);
    assert_eq!(
        following(&open, new_york, from, 9),
        ["2026-11-01T01:00:00-05:00", "2026-11-01T01:30:00-05:00"]
    );
    let last = with_rules(
        "0 30 1 1 11 ? 2026",
        Dialect::Quartz,
        new_york,
        Gap::Skip,
        Repeat::Last,
    );
    assert_eq!(
        following(&last, new_york, from, 9),
        ["2026-11-01T01:30:00-05:00"]
    );
    // And backwards, where the first allowed year begins in one.
    let first = cron("0 */30 1 1 11 ? 2026", Dialect::Quartz, new_york);
    assert_eq!(
        first.previous(at("2026-11-01T01:10:00-05:00")),
        Some(at("2026-11-01T01:00:00-05:00"))
    );
    assert_eq!(
        first.previous(at("2026-11-01T01:00:00-05:00")),
        Some(at("2026-11-01T01:30:00-04:00"))
    );
}

/// What the engine's shift relies on: no stretch is shorter than the gap before it, in any zone.
#[test]
fn a_stretch_is_longer_than_the_gap_before_it() {
    let mut seen = 0;
    for name in jiff::tz::db().available() {
        let zone = TimeZoneName::parse(name.as_str()).unwrap();
        let mut at_s = at("1850-01-01T00:00:00Z").as_ms() / 1_000;
        while at_s < at("2060-01-01T00:00:00Z").as_ms() / 1_000 {
            let segment = zone.segment_at(at_s);
            if segment.start_s != i64::MIN {
                let gap_s = segment.own_wall_s() - segment.old_wall_s;
                assert!(
                    segment.end_s.saturating_sub(segment.start_s) > gap_s,
                    "{name}: {segment:?}"
                );
                seen += 1;
            }
            at_s = segment.end_s;
        }
    }
    assert!(seen > 10_000, "{seen}");
}

/// The hardest searches there are end: those that find nothing for centuries, under every rule, from both ends of time.
#[test]
fn searches_are_bounded() {
    let hard = [
        (Dialect::Unix, "*/10 2 * 3 7L"),
        (Dialect::Unix, "30 2 * 3 7L"),
        (Dialect::Unix, "30 2 29 2 *"),
        (Dialect::Spring, "0 0 0 29 2 MON"),
        (Dialect::Spring, "59 59 23 29 2 SUN#5"),
        (Dialect::Quartz, "0 30 2 ? 3 SUN#5 2199"),
        (Dialect::Quartz, "59 59 23 31 12 ? 1970"),
        (Dialect::Quartz, "0 30 2 29 3 ? 2026"),
    ];
    let ends = [Timestamp::MIN, at("2026-01-01T00:00:00Z"), Timestamp::MAX];
    for (dialect, expression) in hard {
        for zone in [
            "UTC",
            "Europe/Berlin",
            "Australia/Lord_Howe",
            "Africa/Casablanca",
        ] {
            for gap in [Gap::NextValid, Gap::Skip, Gap::Shift] {
                let Ok(schedule) = read(expression, dialect, zone, gap, Repeat::Last) else {
                    continue;
                };
                for end in ends {
                    assert!(schedule.next(end).is_none_or(|t| t > end), "{expression}");
                    assert!(
                        schedule.previous(end).is_none_or(|t| t < end),
                        "{expression}"
                    );
                }
            }
        }
    }
}

/// Refused at the door: the only day's time is left out, and gaps are skipped.
#[test]
fn what_the_clocks_leave_out_for_ever_is_refused() {
    let text = "0 30 2 29 3 ? 2026";
    let in_berlin = |gap| read(text, Dialect::Quartz, "Europe/Berlin", gap, Repeat::First);
    let error = in_berlin(Gap::Skip).unwrap_err();
    assert!(error.never_fires(), "{error}");
    assert!(
        error
            .to_string()
            .contains("can never fire in Europe/Berlin"),
        "{error}"
    );
    assert!(in_berlin(Gap::NextValid).is_ok() && in_berlin(Gap::Shift).is_ok());
    let elsewhere = read(
        text,
        Dialect::Quartz,
        "Asia/Tokyo",
        Gap::Skip,
        Repeat::First,
    );
    assert!(elsewhere.is_ok());
}
