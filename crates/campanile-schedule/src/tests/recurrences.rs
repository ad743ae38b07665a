//! RFC 5545 recurrences: against what another program says, by example, and by property.

use proptest::prelude::*;

use super::*;

/// Rules and their first wall times, made with python-dateutil.
const TABLE: &str = include_str!("recurrences.tsv");

pub(super) fn recur(text: &str, zone: &str, dst: Dst) -> Result<Schedule, Error> {
    let options = Options {
        timezone: TimeZoneName::parse(zone).unwrap(),
        anchor: at("2026-01-05T09:07:33.250Z"),
        dst,
        ..Options::default()
    };
    Schedule::parse(Some(text), &options)
}

/// `20260105T090000` as an instant in UTC.
fn compact(text: &str) -> Timestamp {
    let part = |from: usize, to: usize| text.get(from..to).unwrap();
    let (date, time) = (
        format!("{}-{}-{}", part(0, 4), part(4, 6), part(6, 8)),
        format!("{}:{}:{}", part(9, 11), part(11, 13), part(13, 15)),
    );
    at(&format!("{date}T{time}Z"))
}

#[test]
fn rules_give_what_another_program_gives() {
    let mut rules = 0;
    for line in TABLE.lines().filter(|l| !l.starts_with('#')) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [start, rule, first, later, next, last] = cells.as_slice() else {
            panic!("{line}")
        };
        let text = format!("DTSTART:{start}\nRRULE:{rule}");
        let schedule =
            recur(&text, "UTC", Dst::default()).unwrap_or_else(|e| panic!("{text}: {e}"));
        let of = |cell: &str| -> Vec<Timestamp> { cell.split_whitespace().map(compact).collect() };
        let (first, next) = (of(first), of(next));
        let after = |t: &Timestamp| schedule.next(*t);
        let begin = Timestamp::from_ms(compact(start).as_ms() - 1);
        let found: Vec<Timestamp> = std::iter::successors(schedule.next(begin), after)
            .take(first.len())
            .collect();
        assert_eq!(found, first, "{text}");
        let later = compact(later);
        let found: Vec<Timestamp> = std::iter::successors(schedule.next(later), after)
            .take(next.len())
            .collect();
        assert_eq!(found, next, "{text} after {later}");
        if next.is_empty() {
            assert!(
                schedule
                    .next(later)
                    .is_none_or(|t| t > at("2200-01-01T00:00:00Z")),
                "{text}"
            );
        }
        assert_eq!(
            schedule.previous(later),
            of(last).first().copied(),
            "{text} before {later}"
        );
        let mut back = *first.last().unwrap();
        for expected in first.iter().rev().skip(1) {
            back = schedule.previous(back).unwrap();
            assert_eq!(back, *expected, "{text}");
        }
        assert_eq!(schedule.previous(back), None, "{text}");
        rules += 1;
    }
    assert!(rules >= 200, "{rules} rules");
}

#[test]
fn exceptions_and_additions_make_one_set() {
    let text = "DTSTART:20260105T090000\nRRULE:FREQ=DAILY;COUNT=4\nEXDATE:20260106T090000,20260108T080000\n\
                RDATE:20260110T120000,20260105T090000\nEXDATE;VALUE=DATE:20260107\nRDATE;VALUE=DATE:20260111";
    let schedule = recur(text, "Europe/Berlin", Dst::default()).unwrap();
    let expected = [
        "2026-01-05T09:00:00+01:00",
        "2026-01-08T09:00:00+01:00",
        "2026-01-10T12:00:00+01:00",
        "2026-01-11T09:00:00+01:00",
    ];
    let found = following(&schedule, "Europe/Berlin", "2025-01-01T00:00:00Z", 9);
    assert_eq!(found, expected);
    assert_eq!(
        schedule.previous(at("2026-01-08T08:00:00Z")),
        Some(at("2026-01-05T08:00:00Z"))
    );
}

#[test]
fn without_a_start_the_tasks_anchor_is_it_to_the_minute() {
    let first = |text: &str| {
        following(
            &recur(text, "UTC", Dst::default()).unwrap(),
            "UTC",
            "2026-01-01T00:00:00Z",
            2,
        )
    };
    assert_eq!(
        first("rrule FREQ=WEEKLY;BYDAY=MO,WE;BYHOUR=9;BYMINUTE=0"),
        ["2026-01-07T09:00:00Z", "2026-01-12T09:00:00Z"]
    );
    assert_eq!(
        first("RRULE:FREQ=DAILY"),
        ["2026-01-05T09:07:00Z", "2026-01-06T09:07:00Z"]
    );
    assert_eq!(
        first("freq=daily;byhour=9"),
        ["2026-01-06T09:00:00Z", "2026-01-07T09:00:00Z"]
    );
    // The week of the anchor counts, though its Monday has passed.
    assert_eq!(
        first("rrule FREQ=WEEKLY;INTERVAL=2;BYDAY=SU;BYHOUR=1"),
        ["2026-01-11T01:00:00Z", "2026-01-25T01:00:00Z"]
    );
}

#[test]
fn clock_changes_go_by_the_tasks_policy() {
    // 2026-03-29 has no 02:30 in Berlin, 2026-10-25 has two.
    let text = "DTSTART:20260101T023000 RRULE:FREQ=DAILY";
    let of = |gap, repeat, from: &str, count| {
        let schedule = recur(text, "Europe/Berlin", Dst { gap, repeat }).unwrap();
        let found = following(&schedule, "Europe/Berlin", from, count);
        let mut back = vec![];
        let mut t = at(found.last().unwrap());
        t = Timestamp::from_ms(t.as_ms() + 1);
        for _ in 0..count {
            t = schedule.previous(t).unwrap();
            back.push(format_in_zone(
                t,
                &TimeZoneName::parse("Europe/Berlin").unwrap(),
            ));
        }
        back.reverse();
        assert_eq!(found, back);
        found.iter().map(|t| t[5..].to_owned()).collect::<Vec<_>>()
    };
    let spring = "2026-03-28T12:00:00Z";
    let first = Repeat::First;
    assert_eq!(
        of(Gap::NextValid, first, spring, 2),
        ["03-29T03:00:00+02:00", "03-30T02:30:00+02:00"]
    );
    assert_eq!(of(Gap::Skip, first, spring, 1), ["03-30T02:30:00+02:00"]);
    assert_eq!(
        of(Gap::Shift, first, spring, 2),
        ["03-29T03:30:00+02:00", "03-30T02:30:00+02:00"]
    );
    let autumn = "2026-10-24T12:00:00Z";
    assert_eq!(
        of(Gap::Skip, first, autumn, 2),
        ["10-25T02:30:00+02:00", "10-26T02:30:00+01:00"]
    );
    assert_eq!(
        of(Gap::Skip, Repeat::Last, autumn, 2),
        ["10-25T02:30:00+01:00", "10-26T02:30:00+01:00"]
    );
    let both = [
        "10-25T02:30:00+02:00",
        "10-25T02:30:00+01:00",
        "10-26T02:30:00+01:00",
    ];
    assert_eq!(of(Gap::Skip, Repeat::Both, autumn, 3), both);
}

/// A text, the field that its error names, the piece that it points at, and a word of the remedy.
const REFUSALS: &[(&str, &str, &str, &str)] = &[
    ("rrule", "rrule", "rrule", "FREQ"),
    ("rrule BYDAY=MO", "FREQ", "BYDAY", "WEEKLY"),
    ("rrule FREQ=OFTEN", "FREQ", "OFTEN", "DAILY"),
    ("rrule FREQ=DAILY;BYHOUR=9,24", "BYHOUR", "24", "0 to 23"),
    (
        "rrule FREQ=DAILY;BYEASTER=1",
        "RRULE",
        "BYEASTER",
        "BYSETPOS",
    ),
    ("rrule FREQ=DAILY;FREQ=DAILY", "FREQ", "FREQ=DAILY", "once"),
    ("rrule FREQ=WEEKLY;BYDAY=1MO", "BYDAY", "1MO", "MONTHLY"),
    ("rrule FREQ=MONTHLY;BYDAY=MON", "BYDAY", "MON", "1MO"),
    ("rrule FREQ=MONTHLY;BYWEEKNO=3", "BYWEEKNO", "3", "YEARLY"),
    ("rrule FREQ=DAILY;BYSETPOS=1", "BYSETPOS", "1", "BY"),
    (
        "rrule FREQ=DAILY;COUNT=2;UNTIL=20270101",
        "COUNT",
        "2",
        "UNTIL",
    ),
    ("rrule FREQ=DAILY;COUNT=10001", "COUNT", "10001", "10000"),
    (
        "rrule FREQ=DAILY;UNTIL=2027-01-01",
        "UNTIL",
        "2027-01-01",
        "20260105",
    ),
    (
        "DTSTART:20260105T090000Z RRULE:FREQ=DAILY",
        "DTSTART",
        "20260105T090000Z",
        "UTC",
    ),
    (
        "DTSTART;TZID=America/New_York:20260105T090000 RRULE:FREQ=DAILY",
        "DTSTART",
        "America",
        "timezone",
    ),
    (
        "DTSTART:20260230 RRULE:FREQ=DAILY",
        "DTSTART",
        "20260230",
        "20260105",
    ),
    (
        "DTSTART:20260105 EXRULE:FREQ=DAILY",
        "rrule",
        "EXRULE",
        "EXDATE",
    ),
    (
        "RRULE:FREQ=DAILY RRULE:FREQ=WEEKLY",
        "RRULE",
        "FREQ=WEEKLY",
        "second schedule",
    ),
];

#[test]
fn refusals_point_at_the_piece() {
    for (text, field, piece, remedy) in REFUSALS {
        let error = recur(text, "Europe/Berlin", Dst::default()).unwrap_err();
        let rest = text.get(error.at..).unwrap();
        let last = text.rfind(piece).unwrap();
        assert_eq!(error.field, *field, "{text}: {error}");
        assert!(
            rest.starts_with(piece) || error.at == last,
            "{text} at {}: {error}",
            error.at
        );
        assert!(error.to_string().contains(remedy), "{text}: {error}");
        assert!(!error.never_fires(), "{text}");
    }
}

#[test]
fn what_can_never_fire_is_refused_in_bounded_time() {
    for rule in [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=31",
        "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30;BYHOUR=1",
        "FREQ=DAILY;BYMONTH=4;BYMONTHDAY=31",
        "FREQ=DAILY;INTERVAL=2;BYMONTH=4;BYMONTHDAY=31",
        "FREQ=YEARLY;INTERVAL=4;BYMONTH=2;BYMONTHDAY=29",
        "FREQ=HOURLY;INTERVAL=24;BYHOUR=3",
        "FREQ=SECONDLY;INTERVAL=2;BYSECOND=1",
        "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=YEARLY;BYWEEKNO=20;BYMONTH=1;BYDAY=MO",
        "FREQ=DAILY;UNTIL=20250101T000000",
        "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=7",
        "FREQ=DAILY;COUNT=1 EXDATE:20260105T000000",
    ] {
        let text = format!("DTSTART:20260105T000000 RRULE:{rule}");
        let error = recur(&text, "UTC", Dst::default()).unwrap_err();
        assert!(error.never_fires(), "{text}: {error}");
    }
}

#[test]
fn differences_from_other_programs_are_these() {
    // BYWEEKNO alone means the weekday of the start, as the RFC fills in what is missing; dateutil takes all seven days.
    let weeks = recur(
        "DTSTART:20260105T090000 RRULE:FREQ=YEARLY;BYWEEKNO=20",
        "UTC",
        Dst::default(),
    )
    .unwrap();
    let found = following(&weeks, "UTC", "2026-01-01T00:00:00Z", 2);
    assert_eq!(found, ["2026-05-11T09:00:00Z", "2027-05-17T09:00:00Z"]);
    // Positions count in the whole week, also in that of the start; dateutil counts there from the start on.
    let text = "DTSTART:20260107T090000 RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH;BYSETPOS=2,4";
    let positions = recur(text, "UTC", Dst::default()).unwrap();
    let found = following(&positions, "UTC", "2026-01-01T00:00:00Z", 2);
    assert_eq!(found, ["2026-01-08T09:00:00Z", "2026-01-13T09:00:00Z"]);
}

#[test]
fn the_table_of_the_guide_is_readable() {
    let page = include_str!("../../../../docs/guide/rrule.md");
    let rows = page
        .lines()
        .filter_map(|l| l.strip_prefix("| `rrule ")?.split('`').next());
    let read = rows.map(|rule| recur(&format!("rrule {rule}"), "UTC", Dst::default()).unwrap());
    assert_eq!(read.count(), 7);
}

#[test]
fn printing_and_reading_again_changes_nothing() {
    for text in [
        "rrule freq=weekly;byday=mo,we",
        "RRULE:FREQ=DAILY",
        "DTSTART;TZID=Europe/Berlin:20260105T090000\n  RRULE:FREQ=DAILY;COUNT=3\nEXDATE;VALUE=DATE:20260106",
        "rdate:20260106t090000",
    ] {
        let schedule = recur(text, "Europe/Berlin", Dst::default()).unwrap();
        let printed = schedule.to_string();
        assert!(!printed.contains('\n'));
        let again = recur(&printed, "Europe/Berlin", Dst::default()).unwrap();
        assert_eq!(again, schedule);
        assert_eq!(again.to_string(), printed);
    }
}

fn rules() -> impl Strategy<Value = String> {
    let freq = prop::sample::select(vec![
        "YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY",
    ]);
    let parts = prop::sample::subsequence(
        vec![
            "INTERVAL=3",
            "BYMONTH=2,3,10",
            "BYDAY=SA,SU,MO",
            "BYHOUR=0,2,23",
            "BYMINUTE=0,30",
            "BYSECOND=0,59",
            "BYSETPOS=1,-1",
            "WKST=WE",
            "COUNT=400",
            "BYMONTHDAY=-1,1,25,29",
            "UNTIL=20290601",
            "INTERVAL=50",
        ],
        0..6,
    );
    (freq, parts).prop_map(|(freq, parts)| {
        format!(
            "DTSTART:20250214T023000 RRULE:FREQ={freq};{}",
            parts.join(";")
        )
    })
}

/// What the policy makes of one wall time, by `jiff`'s own rules.
fn instants_of(wall: jiff::civil::DateTime, tz: &jiff::tz::TimeZone, dst: Dst) -> Vec<i64> {
    use jiff::tz::AmbiguousOffset::{Fold, Gap as Left, Unambiguous};
    let ambiguous = tz.to_ambiguous_timestamp(wall);
    let (earlier, later) = (ambiguous.earlier().unwrap(), ambiguous.later().unwrap());
    let all = match (ambiguous.offset(), dst.gap, dst.repeat) {
        (Unambiguous { .. }, ..) => vec![earlier],
        (Fold { .. }, _, Repeat::First) => vec![earlier],
        (Fold { .. }, _, Repeat::Last) => vec![later],
        (Fold { .. }, _, Repeat::Both) => vec![earlier, later],
        (Left { .. }, Gap::Skip, _) => vec![],
        (Left { .. }, Gap::Shift, _) => vec![later],
        (Left { .. }, Gap::NextValid, _) => vec![tz.following(earlier).next().unwrap().timestamp()],
    };
    all.iter().map(|t| t.as_millisecond()).collect()
}

const EDGES: &[(&str, &str)] = &[
    ("Europe/Berlin", "2026-03-29T00:00:00Z"),
    ("Europe/Berlin", "2026-10-25T00:00:00Z"),
    ("America/New_York", "2026-11-01T05:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Asia/Gaza", "2026-03-28T00:00:00Z"),
    ("America/Santiago", "2026-09-06T04:00:00Z"),
    ("Africa/Casablanca", "2026-02-15T02:00:00Z"),
    ("Asia/Tokyo", "2026-02-28T15:00:00Z"),
];

#[test]
fn every_name_of_a_zone_is_that_zone() {
    for (zone, written) in [
        ("Europe/Kiev", "Europe/Kyiv"),
        ("Europe/Kyiv", "europe/kiev"),
        ("Asia/Kolkata", "Asia/Calcutta"),
        ("America/New_York", "US/Eastern"),
        ("Etc/UTC", "UTC"),
        ("UTC", "Etc/Zulu"),
        ("UTC", "Z"),
    ] {
        let rule = format!("DTSTART;TZID={written}:20260101T090000 RRULE:FREQ=DAILY");
        recur(&rule, zone, Dst::default()).unwrap_or_else(|e| panic!("{zone}, {written}: {e}"));
        let zone = TimeZoneName::parse(zone).unwrap();
        assert!(zone.is_same(&TimeZoneName::parse(written).unwrap()));
    }
    for zone in ["Etc/UTC", "UTC", "Etc/Universal", "Z"] {
        recur(
            "DTSTART:20260101T090000Z RRULE:FREQ=DAILY",
            zone,
            Dst::default(),
        )
        .unwrap_or_else(|e| panic!("{zone}: {e}"));
    }
    let berlin = TimeZoneName::parse("Europe/Berlin").unwrap();
    for other in ["Europe/Paris", "Europe/London", "UTC", "Nowhere/At_All"] {
        assert!(!berlin.is_named(other), "{other}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn instants_are_the_walls_of_utc_by_the_policy(
        rule in rules(),
        (zone, edge) in prop::sample::select(EDGES),
        gap in prop::sample::select(vec![Gap::NextValid, Gap::Skip, Gap::Shift]),
        repeat in prop::sample::select(vec![Repeat::First, Repeat::Both, Repeat::Last]),
        offset_minutes in -300_i64..300,
    ) {
        let dst = Dst { gap, repeat };
        let Ok(walls) = recur(&rule, "UTC", dst) else { return Ok(()) };
        let schedule = recur(&rule, zone, dst).unwrap();
        let tz = jiff::tz::TimeZone::get(zone).unwrap();
        // What goes on in hours or minutes that are not listed follows elapsed time.
        let minutely = rule.contains("MINUTELY") || rule.contains("SECONDLY");
        let listed = !["HOURLY", "MINUTELY", "SECONDLY"].iter().any(|f| rule.contains(f))
            || (rule.contains("BYHOUR") && (!minutely || rule.contains("BYMINUTE")));
        let dst = if listed { dst } else { Dst { gap: Gap::Skip, repeat: Repeat::Both } };
        let from = at(edge).as_ms() + offset_minutes * 60_000;
        let until = from + 4 * 3_600_000;
        let mut expected = std::collections::BTreeSet::new();
        let mut wall = Timestamp::from_ms(from - 30 * 3_600_000);
        while let Some(next) = walls.next(wall).filter(|w| w.as_ms() < until + 30 * 3_600_000) {
            wall = next;
            let civil = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::from_millisecond(wall.as_ms()).unwrap());
            expected.extend(instants_of(civil, &tz, dst));
        }
        let expected: Vec<i64> = expected.range(from + 1..until).copied().collect();
        let mut found = vec![];
        let mut last = Timestamp::from_ms(from);
        while let Some(next) = schedule.next(last).filter(|t| t.as_ms() < until && found.len() < 3_000) {
            found.push(next.as_ms());
            last = next;
        }
        prop_assert_eq!(&found, &expected[..found.len().max(expected.len().min(3_000))]);
        let mut before = Timestamp::from_ms(until);
        for wanted in expected.iter().rev().take(300) {
            before = schedule.previous(before).unwrap();
            prop_assert_eq!(before.as_ms(), *wanted);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(FREQ|BYDAY|UNTIL|COUNT|RRULE|EXDATE|[A-Z0-9,;:= é-]){0,12}", tail in "[-A-Z0-9,;=]{0,30}") {
        for text in [format!("rrule {text}"), format!("RRULE:FREQ=DAILY;{tail}"), format!("DTSTART:{tail} RRULE:FREQ=DAILY")] {
            match recur(&text, "Europe/Berlin", Dst::default()) {
                Ok(schedule) => drop(schedule.next(at("2026-01-01T00:00:00Z"))),
                Err(error) => prop_assert!(text.is_char_boundary(error.at), "{}", error),
            }
        }
    }
}
