//! Explained lists: where the clocks change among the next instants, and what each rule makes of it.

use super::*;

/// The list as `local instant | note`, a change in brackets.
fn explained(expression: &str, zone: &str, dst: Dst, from: &str, count: usize) -> Vec<String> {
    let zone = TimeZoneName::parse(zone).unwrap();
    let options = Options {
        timezone: zone.clone(),
        dst,
        ..Options::default()
    };
    let schedule = Schedule::parse(Some(expression), &options).unwrap();
    let line = |line: Line| {
        let local = format_in_zone(line.at, &zone);
        let note = line.note.unwrap_or_default();
        match line.kind {
            LineKind::Occurrence => format!("{local} {note}").trim_end().to_owned(),
            LineKind::Change => format!("[{local} {note}]"),
        }
    };
    let lines = schedule.explain(at(from), count);
    lines.into_iter().map(line).collect()
}

const SPRING: &str = "2026-03-28T00:00:00Z";
const AUTUMN: &str = "2026-10-24T00:00:00Z";

#[test]
fn gaps() {
    let with = |gap| {
        let dst = Dst {
            gap,
            ..Dst::default()
        };
        explained("30 2 * * *", "Europe/Berlin", dst, SPRING, 3)
    };
    let (day_before, day_after) = ("2026-03-28T02:30:00+01:00", "2026-03-30T02:30:00+02:00");
    let change =
        "[2026-03-29T03:00:00+02:00 clocks go forward from 02:00 to 03:00; left out: 02:30";
    assert_eq!(
        with(Gap::NextValid),
        [
            day_before,
            &format!("{change}, fires at the change]"),
            "2026-03-29T03:00:00+02:00 for 02:30",
            day_after
        ]
    );
    assert_eq!(
        with(Gap::Skip)[..3],
        [day_before, &format!("{change}, skipped]"), day_after]
    );
    assert_eq!(
        with(Gap::Shift),
        [
            day_before,
            &format!("{change}, fires later by the length of the gap]"),
            "2026-03-29T03:30:00+02:00 for 02:30",
            day_after
        ]
    );
}

#[test]
fn repeats() {
    let with = |repeat| {
        let dst = Dst {
            repeat,
            ..Dst::default()
        };
        explained("30 2 * * *", "Europe/Berlin", dst, AUTUMN, 3)
    };
    let change =
        "[2026-10-25T02:00:00+01:00 clocks go back from 03:00 to 02:00; comes twice: 02:30";
    let (first, second) = (
        "2026-10-25T02:30:00+02:00 first pass",
        "2026-10-25T02:30:00+01:00 second pass",
    );
    let day_before = "2026-10-24T02:30:00+02:00";
    assert_eq!(
        with(Repeat::First)[..3],
        [
            day_before,
            first,
            &format!("{change}, fires the first time]")
        ]
    );
    assert_eq!(
        with(Repeat::Both),
        [
            day_before,
            first,
            &format!("{change}, fires both times]"),
            second
        ]
    );
    assert_eq!(
        with(Repeat::Last)[..3],
        [
            day_before,
            &format!("{change}, fires the last time]"),
            second
        ]
    );
}

#[test]
fn changes_that_touch_nothing_are_told_where_the_offset_differs() {
    let list = explained(
        "0 12 1 * *",
        "Europe/Berlin",
        Dst::default(),
        "2026-03-01T12:00:00Z",
        1,
    );
    assert_eq!(
        list,
        [
            "[2026-03-29T03:00:00+02:00 clocks go forward from 02:00 to 03:00]",
            "2026-04-01T12:00:00+02:00"
        ]
    );
    let yearly = explained(
        "0 12 1 1 *",
        "Europe/Berlin",
        Dst::default(),
        "2026-02-01T12:00:00Z",
        3,
    );
    assert_eq!(yearly.len(), 3, "{yearly:?}");
    let open = explained(
        "*/30 2 * * *",
        "Europe/Berlin",
        Dst::default(),
        "2026-03-28T12:00:00Z",
        1,
    );
    assert_eq!(
        open,
        [
            "[2026-03-29T03:00:00+02:00 clocks go forward from 02:00 to 03:00; left out: 02:00, 02:30, which elapsed time does not reach]",
            "2026-03-30T02:00:00+02:00"
        ]
    );
}

#[test]
fn weekdays_are_the_zones_own() {
    let day = |zone: &str| {
        weekday_in_zone(
            at("2026-01-01T23:30:00Z"),
            &TimeZoneName::parse(zone).unwrap(),
        )
    };
    assert_eq!((day("UTC"), day("Europe/Berlin")), ("Thursday", "Friday"));
}
