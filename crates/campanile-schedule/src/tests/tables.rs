//! What each spelling means, by table: expected instants are worked out from the calendar, in UTC.

use std::time::Duration;

use super::*;

const UTC: &str = "UTC";

/// Asserts the next days on which an expression fires, counted from the beginning of 2026.
fn days(expression: &str, dialect: Dialect, expected: &[&str]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|day| format!("{day}T00:00:00Z"))
        .collect();
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    check(expression, dialect, UTC, "2025-12-31T23:59:59Z", &expected);
}

/// Expression => instants after the beginning of 2026.
const UNIX: &str = "\
*/15 * * * * => 2026-01-01T00:15:00Z 2026-01-01T00:30:00Z 2026-01-01T00:45:00Z 2026-01-01T01:00:00Z
5-55/25 3 * * * => 2026-01-01T03:05:00Z 2026-01-01T03:30:00Z 2026-01-01T03:55:00Z
09,39 * * * * => 2026-01-01T00:09:00Z 2026-01-01T00:39:00Z 2026-01-01T01:09:00Z
0 22-23,0-1 * * * => 2026-01-01T01:00:00Z 2026-01-01T22:00:00Z 2026-01-01T23:00:00Z
30 4 1 JAN,jul * => 2026-01-01T04:30:00Z 2026-07-01T04:30:00Z 2027-01-01T04:30:00Z
0 12 29 2 * => 2028-02-29T12:00:00Z 2032-02-29T12:00:00Z
";

#[test]
fn unix_fields() {
    let from = "2026-01-01T00:00:00Z";
    for row in UNIX.lines() {
        let (expression, expected) = row.split_once(" => ").unwrap();
        let expected: Vec<_> = expected.split(' ').collect();
        check(expression, Dialect::Unix, UTC, from, &expected);
    }
}

#[test]
fn unix_days_are_either_unless_one_begins_with_a_star() {
    // 2026-01-02 and 2026-01-09 are Fridays.
    days(
        "0 0 13 * FRI",
        Dialect::Unix,
        &["2026-01-02", "2026-01-09", "2026-01-13", "2026-01-16"],
    );
    days(
        "0 0 * * FRI",
        Dialect::Unix,
        &["2026-01-02", "2026-01-09", "2026-01-16"],
    );
    days(
        "0 0 */2 * FRI",
        Dialect::Unix,
        &["2026-01-09", "2026-01-23", "2026-02-13"],
    );
    days(
        "0 0 13 * */5",
        Dialect::Unix,
        &["2026-02-13", "2026-03-13", "2026-09-13"],
    );
    days(
        "0 0 L * SUN#4",
        Dialect::Unix,
        &["2026-01-25", "2026-01-31", "2026-02-22", "2026-02-28"],
    );
}

#[test]
fn the_week_has_two_sundays_where_cron_says_so() {
    let sundays = ["2026-01-04", "2026-01-11", "2026-01-18"];
    for day in ["0", "7", "SUN", "sun", "7-7", "SUN-SUN"] {
        days(&format!("0 0 * * {day}"), Dialect::Unix, &sundays);
        days(&format!("0 0 0 * * {day}"), Dialect::Spring, &sundays);
    }
    for weekend in ["6-7", "SAT-SUN", "6-0", "6,0"] {
        days(
            &format!("0 0 * * {weekend}"),
            Dialect::Unix,
            &["2026-01-03", "2026-01-04", "2026-01-10"],
        );
    }
    days(
        "0 0 * * SUN-MON",
        Dialect::Unix,
        &["2026-01-04", "2026-01-05", "2026-01-11"],
    );
    days(
        "0 0 * * 7-1",
        Dialect::Unix,
        &["2026-01-04", "2026-01-05", "2026-01-11"],
    );
    days("0 0 0 ? * 1", Dialect::Quartz, &sundays);
    days(
        "0 0 0 ? * 7",
        Dialect::Quartz,
        &["2026-01-03", "2026-01-10"],
    );
}

/// Macro => instants after the beginning of 2026.
const MACROS: &str = "\
@hourly => 2026-01-01T01:00:00Z 2026-01-01T02:00:00Z
@daily => 2026-01-02T00:00:00Z 2026-01-03T00:00:00Z
@Midnight => 2026-01-02T00:00:00Z 2026-01-03T00:00:00Z
@weekly => 2026-01-04T00:00:00Z 2026-01-11T00:00:00Z
@monthly => 2026-02-01T00:00:00Z 2026-03-01T00:00:00Z
@yearly => 2027-01-01T00:00:00Z 2028-01-01T00:00:00Z
@annually => 2027-01-01T00:00:00Z 2028-01-01T00:00:00Z
";

#[test]
fn macros() {
    let from = "2026-01-01T00:00:00Z";
    for row in MACROS.lines() {
        let (expression, expected) = row.split_once(" => ").unwrap();
        let expected: Vec<_> = expected.split(' ').collect();
        for dialect in [Dialect::Auto, Dialect::Unix, Dialect::Spring] {
            check(expression, dialect, UTC, from, &expected);
        }
    }
}

#[test]
fn spring_days_are_both_and_question_marks_are_stars() {
    days(
        "0 0 0 13 * FRI",
        Dialect::Spring,
        &["2026-02-13", "2026-03-13", "2026-11-13"],
    );
    days(
        "0 0 0 ? * FRI",
        Dialect::Spring,
        &["2026-01-02", "2026-01-09"],
    );
    days(
        "0 0 0 ? * ?",
        Dialect::Spring,
        &["2026-01-01", "2026-01-02"],
    );
    days(
        "0 0 0 */10 FEB ?",
        Dialect::Spring,
        &["2026-02-01", "2026-02-11", "2026-02-21", "2027-02-01"],
    );
    days(
        "0 0 0 * * 5L",
        Dialect::Spring,
        &["2026-01-30", "2026-02-27"],
    );
    let from = "2026-01-01T00:00:00Z";
    check(
        "*/20 59 23 * * *",
        Dialect::Spring,
        UTC,
        from,
        &[
            "2026-01-01T23:59:00Z",
            "2026-01-01T23:59:20Z",
            "2026-01-01T23:59:40Z",
            "2026-01-02T23:59:00Z",
        ],
    );
    check(
        "0 10/20 8 * * *",
        Dialect::Spring,
        UTC,
        from,
        &[
            "2026-01-01T08:10:00Z",
            "2026-01-01T08:30:00Z",
            "2026-01-01T08:50:00Z",
            "2026-01-02T08:10:00Z",
        ],
    );
}

/// Expression => days. In 2026 the 31st of January and the 28th of February are Saturdays, the 31st of May a Sunday.
const QUARTZ_DAYS: &str = "\
0 0 0 L * ? => 2026-01-31 2026-02-28 2026-03-31 2026-04-30
0 0 0 L-3 * ? => 2026-01-28 2026-02-25 2026-03-28
0 0 0 L-30 * ? => 2026-01-01 2026-03-01 2026-05-01
0 0 0 LW * ? => 2026-01-30 2026-02-27 2026-03-31 2026-04-30 2026-05-29
0 0 0 L-3W * ? => 2026-01-28 2026-02-25 2026-03-27 2026-04-27
0 0 0 15W * ? => 2026-01-15 2026-02-16 2026-03-16 2026-04-15 2026-05-15
0 0 0 1W * ? => 2026-01-01 2026-02-02 2026-03-02 2026-04-01 2026-05-01
0 0 0 1W AUG ? => 2026-08-03 2027-08-02
0 0 0 31W * ? => 2026-01-30 2026-03-31 2026-05-29 2026-07-31
0 0 0 1,15W,L * ? => 2026-01-01 2026-01-15 2026-01-31 2026-02-01 2026-02-16 2026-02-28
0 0 0 ? * 6L => 2026-01-30 2026-02-27
0 0 0 ? * FRIL => 2026-01-30 2026-02-27
0 0 0 ? * L => 2026-01-03 2026-01-10
0 0 0 ? * 6#3 => 2026-01-16 2026-02-20
0 0 0 ? * 2#5 => 2026-03-30 2026-06-29 2026-08-31
0 0 0 ? * MON,WED#2 => 2026-01-05 2026-01-12 2026-01-14 2026-01-19
0 0 0 ? * 2/2 => 2026-01-02 2026-01-05 2026-01-07 2026-01-09
0 0 0 ? * FRI-MON => 2026-01-02 2026-01-03 2026-01-04 2026-01-05 2026-01-09
0 0 0 ? * */3 => 2026-01-03 2026-01-04 2026-01-07 2026-01-10
0 0 0 1 NOV-FEB ? => 2026-01-01 2026-02-01 2026-11-01 2026-12-01 2027-01-01
0 0 0 1 JAN-MAR/2 ? => 2026-01-01 2026-03-01 2027-01-01
0 0 0 25-5 FEB ? => 2026-02-01 2026-02-02 2026-02-03 2026-02-04 2026-02-05 2026-02-25
";

#[test]
fn quartz_days() {
    for row in QUARTZ_DAYS.lines() {
        let (expression, expected) = row.split_once(" => ").unwrap();
        days(
            expression,
            Dialect::Quartz,
            &expected.split(' ').collect::<Vec<_>>(),
        );
    }
}

/// Expression => instants after the beginning of 2026.
const QUARTZ: &str = "\
0 0/25 * * * ? => 2026-01-01T00:25:00Z 2026-01-01T00:50:00Z 2026-01-01T01:00:00Z
0 0 22-2 * * ? => 2026-01-01T01:00:00Z 2026-01-01T02:00:00Z 2026-01-01T22:00:00Z
50-5/10 0 0 1 1 ? => 2026-01-01T00:00:50Z 2027-01-01T00:00:00Z 2027-01-01T00:00:50Z
0 15 10 29 2 ? 2026-2040 => 2028-02-29T10:15:00Z 2032-02-29T10:15:00Z 2036-02-29T10:15:00Z
0 0 0 1 1 ? 2026/2 => 2028-01-01T00:00:00Z 2030-01-01T00:00:00Z
0 0 0 1 1 ? */100 => 2070-01-01T00:00:00Z 2170-01-01T00:00:00Z
";

#[test]
fn quartz_times_and_years() {
    let from = "2026-01-01T00:00:00Z";
    for row in QUARTZ.lines() {
        let (expression, expected) = row.split_once(" => ").unwrap();
        let expected: Vec<_> = expected.split(' ').collect();
        check(expression, Dialect::Quartz, UTC, from, &expected);
    }
    let far = cron("0 0 0 1 1 ? 2030,2040", Dialect::Quartz, UTC);
    assert_eq!(far.next(Timestamp::MIN), Some(at("2030-01-01T00:00:00Z")));
    assert_eq!(
        far.previous(Timestamp::MAX),
        Some(at("2040-01-01T00:00:00Z"))
    );
    let past = cron("0 0 0 1 1 ? 2020,2022", Dialect::Auto, UTC);
    assert_eq!(past.next(at(from)), None);
    assert_eq!(past.previous(at(from)), Some(at("2022-01-01T00:00:00Z")));
    assert_eq!(past.previous(at("2020-01-01T00:00:00Z")), None);
}

#[test]
fn auto_goes_by_the_shape_and_refuses_to_guess() {
    let dialect = |text| Cron::parse(text, &Options::default()).map(|cron| cron.dialect());
    assert_eq!(dialect("0 2 * * *"), Ok(Dialect::Unix));
    assert_eq!(dialect("0 0 2 * * ?"), Ok(Dialect::Spring));
    assert_eq!(dialect("0 0 2 * * 1"), Ok(Dialect::Spring));
    assert_eq!(dialect("0 0 2 ? * MON-FRI"), Ok(Dialect::Spring));
    assert_eq!(dialect("0 0 22-2 * * ?"), Ok(Dialect::Quartz));
    assert_eq!(dialect("0 0 2 * * ? 2026"), Ok(Dialect::Quartz));
    let error = dialect("0 0 2 ? * 2").unwrap_err();
    assert_eq!((error.field, error.at), ("day-of-week", 10));
    assert!(
        error.to_string().contains("dialect `spring` or `quartz`"),
        "{error}"
    );
}

#[test]
fn hashes_are_spread_stay_and_keep_their_bounds() {
    let minute = |name: &str, text: &str| {
        let options = Options {
            name_for_hash: name.to_owned(),
            ..Options::default()
        };
        let schedule = Schedule::parse(Some(text), &options).unwrap();
        schedule.next(at("2026-01-01T00:00:00Z")).unwrap().as_ms() / 60_000 % 60
    };
    let minutes: std::collections::BTreeSet<_> = (0..200)
        .map(|n| minute(&format!("task-{n}"), "H 5 * * *"))
        .collect();
    assert!(minutes.len() > 50, "{minutes:?}");
    assert_eq!(
        minute("nightly-report", "H 5 * * *"),
        minute("nightly-report", "H 5 * * *")
    );
    for n in 0..50 {
        let name = format!("task-{n}");
        assert!((10..=19).contains(&minute(&name, "H(10-19) 5 * * *")));
        assert!((0..15).contains(&minute(&name, "H/15 5 * * *")));
        assert!((30..36).contains(&minute(&name, "H(30-59)/6 5 * * *")));
    }
    let quarter = Options {
        name_for_hash: "a".to_owned(),
        ..Options::default()
    };
    let quarter = Schedule::parse(Some("H/15 * * * *"), &quarter).unwrap();
    let first = quarter.next(at("2026-01-01T00:59:59Z")).unwrap();
    assert_eq!(
        quarter.next(first),
        Some(first.plus(Duration::from_mins(15)))
    );
}

#[test]
fn intervals() {
    let anchor = at("2026-01-01T00:00:03.250Z");
    let options = Options {
        anchor,
        ..Options::default()
    };
    let every = Schedule::parse(Some("every 10s"), &options).unwrap();
    let ms = |n: i64| Timestamp::from_ms(anchor.as_ms() + n);
    assert_eq!(every.next(ms(-1)), Some(anchor));
    assert_eq!(every.next(Timestamp::MIN), Some(anchor));
    assert_eq!(every.next(anchor), Some(ms(10_000)));
    assert_eq!(every.next(ms(9_999)), Some(ms(10_000)));
    assert_eq!(every.next(ms(10_000)), Some(ms(20_000)));
    assert_eq!(every.next(Timestamp::MAX), None);
    assert_eq!(every.previous(anchor), None);
    assert_eq!(every.previous(ms(1)), Some(anchor));
    assert_eq!(every.previous(ms(10_000)), Some(anchor));
    assert_eq!(every.previous(ms(10_001)), Some(ms(10_000)));
    let longest = Every::new(Duration::MAX, anchor).unwrap();
    assert_eq!(longest.next(anchor), None);
    let shortest = Schedule::parse(Some("every 100ms"), &options).unwrap();
    assert_eq!(shortest.next(anchor), Some(ms(100)));
}

#[test]
fn single_instants_and_none() {
    let once = Schedule::parse(Some("at 2026-12-01T08:00:00+01:00"), &Options::default()).unwrap();
    let when = at("2026-12-01T07:00:00Z");
    assert_eq!(once, Schedule::At(when));
    assert_eq!(once.next(Timestamp::from_ms(when.as_ms() - 1)), Some(when));
    assert_eq!((once.next(when), once.previous(when)), (None, None));
    assert_eq!(
        once.previous(Timestamp::from_ms(when.as_ms() + 1)),
        Some(when)
    );
    assert_eq!(
        Schedule::parse(Some(&once.to_string()), &Options::default()),
        Ok(once)
    );
    let none = Schedule::parse(None, &Options::default()).unwrap();
    assert_eq!((none.next(when), none.previous(when)), (None, None));
}

#[test]
fn the_ends_of_time_are_quiet() {
    for expression in ["* * * * *", "0 0 29 2 *", "30 2 * * *"] {
        for zone in ["UTC", "Europe/Berlin", "Pacific/Kiritimati", "Pacific/Niue"] {
            let schedule = cron(expression, Dialect::Unix, zone);
            assert_eq!(schedule.next(Timestamp::MAX), None);
            assert_eq!(schedule.previous(Timestamp::MIN), None);
            assert!(schedule.next(Timestamp::MIN).is_some());
            assert!(schedule.previous(Timestamp::MAX).is_some());
        }
    }
}

#[test]
fn a_leap_day_on_one_weekday_is_found_forty_years_ahead() {
    // 29 February is a Monday in 2072 and in 2112: 2100 has none.
    check(
        "0 0 0 29 2 MON",
        Dialect::Spring,
        "Europe/Berlin",
        "2072-03-01T00:00:00Z",
        &["2112-02-29T00:00:00+01:00"],
    );
    check(
        "*/30 * 0 29 2 MON",
        Dialect::Spring,
        "UTC",
        "2072-03-01T00:00:00Z",
        &["2112-02-29T00:00:00Z"],
    );
}

#[test]
fn sub_second_instants_are_before_the_next_second() {
    let schedule = cron("* * * * * *", Dialect::Spring, UTC);
    assert_eq!(
        schedule.next(at("2026-01-01T00:00:00.001Z")),
        Some(at("2026-01-01T00:00:01Z"))
    );
    assert_eq!(
        schedule.next(at("2026-01-01T00:00:00.999Z")),
        Some(at("2026-01-01T00:00:01Z"))
    );
    assert_eq!(
        schedule.previous(at("2026-01-01T00:00:00.001Z")),
        Some(at("2026-01-01T00:00:00Z"))
    );
    assert_eq!(
        schedule.previous(at("2026-01-01T00:00:00Z")),
        Some(at("2025-12-31T23:59:59Z"))
    );
    assert_eq!(
        schedule.next(at("1969-12-31T23:59:58.500Z")),
        Some(at("1969-12-31T23:59:59Z"))
    );
}

#[test]
fn instants_print_in_their_zone() {
    let print = |text, zone| format_in_zone(at(text), &TimeZoneName::parse(zone).unwrap());
    assert_eq!(
        print("2026-07-01T12:00:00Z", "Europe/Berlin"),
        "2026-07-01T14:00:00+02:00"
    );
    assert_eq!(
        print("2026-01-01T12:00:00.007Z", "America/St_Johns"),
        "2026-01-01T08:30:00.007-03:30"
    );
    assert_eq!(
        print("2026-01-01T00:00:00Z", "Asia/Kathmandu"),
        "2026-01-01T05:45:00+05:45"
    );
    assert_eq!(
        print("2026-01-01T12:00:00Z", "Europe/London"),
        "2026-01-01T12:00:00Z"
    );
    assert_eq!(
        print("2026-01-01T12:00:00.120Z", "UTC"),
        "2026-01-01T12:00:00.120Z"
    );
    // Berlin's mean time was 53 minutes and 28 seconds, which RFC 3339 can't write.
    assert_eq!(
        print("1890-01-01T12:00:00Z", "Europe/Berlin"),
        "1890-01-01T12:00:00Z"
    );
    assert_eq!(
        format_in_zone(Timestamp::MAX, &TimeZoneName::utc()),
        "9999-12-31T23:59:59.999Z"
    );
}

#[test]
fn a_schedule_is_small() {
    assert!(size_of::<Cron>() <= 136, "{}", size_of::<Cron>());
    assert!(size_of::<Schedule>() <= 144, "{}", size_of::<Schedule>());
}
