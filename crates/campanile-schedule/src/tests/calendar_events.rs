//! systemd's calendar events: what they become here falls on the instants that systemd itself names. The table is
//! `systemd-analyze calendar --base-time '2026-11-29 12:00:00 UTC' --iterations=5 EVENT` under `TZ=UTC` (systemd 257): by hand
//! what the manual shows, and random events of its grammar.

use super::*;
use crate::on_calendar::translate;

const TABLE: &str = include_str!("on_calendar.tsv");

fn schedule(event: &str) -> Result<Schedule, String> {
    let translated = translate(event)?;
    let zone = translated.timezone.as_deref().unwrap_or("UTC");
    let options = Options {
        timezone: TimeZoneName::parse(zone).unwrap(),
        ..Options::default()
    };
    Ok(Schedule::parse(Some(&translated.schedule), &options)
        .unwrap_or_else(|e| panic!("{event} became {}: {e}", translated.schedule)))
}

#[test]
fn an_event_falls_on_the_instants_that_systemd_names() {
    let from = at("2026-11-29T12:00:00Z");
    let (mut checked, mut refused) = (0, Vec::new());
    for line in TABLE.lines() {
        let (event, expected) = line.split_once('\t').unwrap();
        if expected == "never" {
            continue;
        }
        let expected: Vec<&str> = expected.split(' ').collect();
        let schedule = match schedule(event) {
            Ok(schedule) => schedule,
            Err(reason) => {
                assert!(reason.contains("at once"), "{event}: {reason}");
                refused.push(event);
                continue;
            }
        };
        let next = |t: &Timestamp| schedule.next(*t);
        let found: Vec<String> = std::iter::successors(schedule.next(from), next)
            .take(expected.len())
            .map(|t| t.to_string().replace(".000Z", "Z"))
            .collect();
        assert_eq!(found, expected, "{event} as {schedule}");
        checked += 1;
    }
    assert!(checked > 250, "{checked} of them were checked");
    // Years with both kinds of days: all that is refused.
    assert!(
        refused.len() * 10 < checked && !refused.is_empty(),
        "{refused:?}"
    );
}

#[test]
fn an_event_becomes_the_plainest_expression() {
    for (event, expected) in [
        ("hourly", "0 * * * *"),
        ("weekly", "0 0 * * MON"),
        ("quarterly", "0 0 1 */3 *"),
        ("Mon..Sun 06:00", "0 6 * * *"),
        ("Thu..Sun 06:00", "0 6 * * THU-SAT,SUN"),
        ("*-*-* *:*:00/10", "*/10 * * * * ? *"),
        ("*-*~1 23:00", "0 23 L * *"),
        ("2027-*-1 06:00", "0 0 6 1 * ? 2027"),
        ("Sun 2027-*-* 06:00", "0 0 6 ? * SUN 2027"),
        ("Fri *-*-13 06:00", "0 0 6 13 * FRI"),
    ] {
        let translated = translate(event).unwrap();
        assert_eq!(translated.schedule, expected, "{event}");
    }
    let zoned = translate("Sat 10:00 europe/berlin").unwrap();
    assert_eq!(zoned.timezone.as_deref(), Some("Europe/Berlin"));
}

#[test]
fn what_is_no_event_or_none_of_ours_is_refused_with_its_reason() {
    let long = "1,".repeat(400);
    for (event, part) in [
        ("", "names no time"),
        ("Mon..Fri 25:00", "`25:00` is not understood"),
        ("Fri..Tue", "`Fri..Tue` is not understood"),
        ("*/2:00", "not understood"),
        ("*-*~5..1", "not understood"),
        ("*-*-0", "not understood"),
        ("10:00 11:00", "`11:00` is not understood"),
        ("*:*:0/7.5", "whole seconds"),
        ("10:00 Mars/Base", "`Mars/Base` is not known"),
        ("Mon 2027-01-1..7", "at once"),
        ("2199-1-1/0", "not understood"),
        ("@1700000000", "not understood"),
        (long.as_str(), "is longer than"),
    ] {
        let reason = translate(event).unwrap_err();
        assert!(reason.contains(part), "{event}: {reason}");
    }
}

#[test]
fn time_spans_are_read_as_systemd_reads_them() {
    use crate::on_calendar::span;
    // As `systemd-analyze timespan` has them.
    for (text, expected_us) in [
        ("2 h", 7_200_000_000),
        ("2hours", 7_200_000_000),
        ("48hr", 172_800_000_000),
        ("1y 12month", 63_115_200_000_000),
        ("55s500ms", 55_500_000),
        ("300ms20s 5day", 432_020_300_000),
        ("1.5h", 5_400_000_000),
        ("20", 20_000_000),
        ("5M", 13_149_000_000_000),
        ("1us", 1),
    ] {
        let expected = std::time::Duration::from_micros(expected_us);
        assert_eq!(span(text), Ok(Some(expected)), "{text}");
    }
    for wrong in [
        "",
        "h",
        "5 parsecs",
        "-1s",
        "1..5s",
        "99999999999y",
        "5min,",
    ] {
        let said = span(wrong).unwrap_err();
        assert!(said.contains("is not a time span"), "{wrong}: {said}");
    }
}
