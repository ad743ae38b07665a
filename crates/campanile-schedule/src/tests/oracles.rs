//! What other systems answer: instants that Quartz 2.3.2, Spring 4.3.30 and an implementation of Debian's cron computed
//! (`oracle/*.tsv`: dialect, zone, from, expression, up to eight instants; `!` for a refusal). Every row agrees, or is
//! listed in `oracle/exceptions.tsv` under a class, and each class has its reason here and in the guide.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const UNIX: &str = include_str!("oracle/unix.tsv");
const SPRING: &str = include_str!("oracle/spring.tsv");
const QUARTZ: &str = include_str!("oracle/quartz.tsv");
const EXCEPTIONS: &str = include_str!("oracle/exceptions.tsv");
const INSTANTS_MAX: usize = 8;

/// Where the other system is not what we want to be: the class of a row, and why.
const REASONS: [(&str, &str); 15] = [
    (
        "wide-steps",
        "Quartz and Spring take a step wider than its field within a range, where it leaves the first number alone",
    ),
    (
        "quartz-lists",
        "of `1,15W` and `MON,WED#2` Quartz takes one item alone, and refuses `1,15,L`",
    ),
    (
        "quartz-skips-text",
        "Quartz skips what it can't read: `FRI-SAT*`, `2027?,2030`",
    ),
    (
        "java-repeat",
        "Quartz and Spring 4.3 never fire in the first pass: 61 silent minutes, and an hourly task loses a run",
    ),
    (
        "java-gap",
        "Quartz and Spring 4.3 drop a listed time in a gap; where midnight is left out, a daily task loses its day",
    ),
    (
        "unix-part-of-an-hour",
        "it walks open hours in steps of 3600 seconds, and a change by half an hour throws it off the hour",
    ),
    (
        "unix-midnight-gap",
        "it names a midnight that the clocks leave out, which is no instant",
    ),
    (
        "unix-range-of-one",
        "it takes `4-4/6` for `4/6`; Debian's cron takes it for 4",
    ),
    (
        "spring-star-step-of-days",
        "Spring 4.3 counts `*/n` in the day fields from 0; Spring 5.3 and 6 from 1",
    ),
    (
        "spring-first-instant",
        "Spring 4.3 does not begin the seconds or minutes again for its first instant, and so skips or invents some",
    ),
    (
        "spring-range-to-sunday",
        "Spring 4.3 knows Sunday as 0 only and refuses `FRI-SUN`; Spring 5.3 and 6 take it",
    ),
    (
        "spring-gives-up",
        "Spring 4.3 ends its search after a year without a day; there is one later",
    ),
    (
        "quartz-named-range-step",
        "Quartz ignores the step after a range of names: `MON-FRI/2` is every day to it",
    ),
    (
        "quartz-near-a-day-that-is-not",
        "Quartz fires `31W` in a month of 30 days if the next month begins on a Saturday",
    ),
    (
        "quartz-hundred-years",
        "Quartz ends a hundred years from now; years can be named up to 2199",
    ),
];

/// What we answer, in the oracles' words.
fn ours(dialect: &str, zone: &str, from: &str, expression: &str) -> String {
    let options = Options {
        dialect: dialect.parse().unwrap(),
        timezone: TimeZoneName::parse(zone).unwrap(),
        ..Options::default()
    };
    match Schedule::parse(Some(expression), &options) {
        Ok(schedule) => following(&schedule, zone, from, INSTANTS_MAX).join(" "),
        Err(error) if error.never_fires() => String::new(),
        Err(_) => "!".to_owned(),
    }
}

#[test]
fn the_oracles_agree_but_for_the_listed_rows() {
    let exceptions: BTreeMap<&str, &str> = EXCEPTIONS
        .lines()
        .map(|line| line.split_once('\t').unwrap())
        .map(|(class, row)| (row, class))
        .collect();
    let mut differ = BTreeSet::new();
    let mut rows = 0;
    for line in [UNIX, SPRING, QUARTZ].iter().flat_map(|text| text.lines()) {
        let (row, theirs) = line.rsplit_once('\t').unwrap();
        let [dialect, zone, from, expression] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let ours = ours(dialect, zone, from, expression);
        if ours != theirs {
            assert!(
                exceptions.contains_key(row),
                "{row}\n  theirs {theirs}\n  ours   {ours}"
            );
            differ.insert(row);
        }
        rows += 1;
    }
    assert!(rows >= 1_900, "{rows}");
    // No row is listed without need, and none without a reason.
    for (row, class) in &exceptions {
        assert!(differ.contains(row), "agrees after all: {row}");
        assert!(REASONS.iter().any(|(known, _)| known == class), "{class}");
    }
    for (class, reason) in REASONS {
        assert!(
            exceptions.values().any(|c| *c == class),
            "{class}: {reason}"
        );
    }
}

/// The rules that answer as Quartz and Spring 4.3 do for listed times.
#[test]
fn skipping_gaps_and_taking_the_last_pass_is_what_java_does_with_listed_times() {
    let rows = [SPRING, QUARTZ].iter().flat_map(|text| text.lines());
    let mut seen = 0;
    for row in
        rows.filter(|row| row.contains("\t0 30 2 * * ?\t") || row.contains("\t0 0 0 * * ?\t"))
    {
        let [dialect, zone, from, expression, theirs] = row.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("{row}")
        };
        let options = Options {
            dialect: dialect.parse().unwrap(),
            timezone: TimeZoneName::parse(zone).unwrap(),
            dst: Dst {
                gap: Gap::Skip,
                repeat: Repeat::Last,
            },
            ..Options::default()
        };
        let schedule = Schedule::parse(Some(expression), &options).unwrap();
        let got = following(&schedule, zone, from, INSTANTS_MAX).join(" ");
        assert_eq!(got, theirs, "{row}");
        seen += 1;
    }
    assert!(seen >= 6, "{seen}");
}

/// Every minute of a day on which New York's clocks go back, and none twice.
#[test]
fn no_minute_is_silent_where_the_clocks_go_back() {
    for (dialect, expression) in [
        (Dialect::Unix, "* * * * *"),
        (Dialect::Spring, "0 * * * * *"),
        (Dialect::Quartz, "0 * * * * ?"),
    ] {
        let schedule = cron(expression, dialect, "America/New_York");
        let mut last = at("2026-11-01T00:00:00-04:00");
        for _ in 0..25 * 60 {
            let next = schedule.next(last).unwrap();
            assert_eq!(
                next.as_ms() - last.as_ms(),
                60_000,
                "{expression} after {last}"
            );
            last = next;
        }
    }
}

/// The guide tells each class.
#[test]
fn the_guide_lists_each_class_of_difference() {
    let guide = include_str!("../../../../docs/guide/schedules.md");
    for (class, _) in REASONS {
        assert!(guide.contains(&format!("`{class}`")), "{class}");
    }
}
