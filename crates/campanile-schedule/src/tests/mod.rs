//! Tests of schedules: tables, changes of the clocks, errors, properties, and a walker that shares no code.

mod calendar_events;
mod clocks;
mod counts;
mod crontabs;
mod errors;
mod explained;
mod foreigns;
mod oracles;
mod passes;
mod properties;
mod recurrences;
mod rules;
mod sentences;
mod tables;
mod timetables;
mod translations;
mod walker;

use super::*;

/// A cron expression in a dialect and a zone.
fn cron(expression: &str, dialect: Dialect, zone: &str) -> Schedule {
    let options = Options {
        dialect,
        timezone: TimeZoneName::parse(zone).unwrap(),
        ..Options::default()
    };
    Schedule::parse(Some(expression), &options).unwrap_or_else(|e| panic!("{expression}: {e}"))
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// The next occurrences after an instant, as a zone's people write them.
fn following(schedule: &Schedule, zone: &str, from: &str, count: usize) -> Vec<String> {
    let zone = TimeZoneName::parse(zone).unwrap();
    let next = |t: &Timestamp| schedule.next(*t);
    std::iter::successors(schedule.next(at(from)), next)
        .take(count)
        .map(|t| format_in_zone(t, &zone))
        .collect()
}

/// Asserts the next occurrences, and that the previous ones lead back along the same instants.
fn check(expression: &str, dialect: Dialect, zone: &str, from: &str, expected: &[&str]) {
    check_both_ways(
        &cron(expression, dialect, zone),
        expression,
        zone,
        from,
        expected,
    );
}

/// The same of a schedule that was read with more than a dialect and a zone.
fn check_both_ways(
    schedule: &Schedule,
    expression: &str,
    zone: &str,
    from: &str,
    expected: &[&str],
) {
    assert_eq!(
        following(schedule, zone, from, expected.len()),
        expected,
        "{expression} in {zone} from {from}"
    );
    let back = |t: &Timestamp| schedule.previous(*t);
    let Some(last) = expected.last() else { return };
    let end = Timestamp::from_ms(at(last).as_ms() + 1);
    let name = TimeZoneName::parse(zone).unwrap();
    let mut found: Vec<_> = std::iter::successors(schedule.previous(end), back)
        .take(expected.len())
        .map(|t| format_in_zone(t, &name))
        .collect();
    found.reverse();
    assert_eq!(
        found, expected,
        "{expression} in {zone} backwards from {last}"
    );
}
