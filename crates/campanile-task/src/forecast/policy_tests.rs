//! Looking ahead at tasks whose calendars and clock-change policies have a say: that what is excluded, moved or shifted
//! is counted where it runs.

use std::sync::Arc;

use campanile_schedule::calendar::Calendar;
use serde_json::json;

use super::*;

fn t(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn look(from: &str, task: serde_json::Value) -> Forecast {
    let spec: TaskSpec = serde_json::from_value(task).unwrap();
    let weekends = json!({ "name": "weekends", "weekdays": ["SAT", "SUN"] });
    let weekends = Calendar::compile(serde_json::from_value(weekends).unwrap(), 1).unwrap();
    let weekends = Arc::new(weekends);
    let find = |name: &str| Some(&weekends).filter(|c| c.spec.name == name).cloned();
    let timetable = spec.timetable(t(from), &find).unwrap();
    forecast(&Query::week(t(from)), [(&spec, timetable, None)]).unwrap()
}

#[test]
fn what_a_calendar_excludes_is_counted_apart_and_what_it_moves_where_it_runs() {
    // A week from a Thursday holds one Saturday and one Sunday.
    let from = "2026-11-26T00:00:00Z";
    let task = |on_excluded: &str| {
        json!({
            "name": "x", "schedule": "0 6 * * *", "handler": { "native": "x" },
            "calendars": "weekends", "on_excluded": on_excluded,
        })
    };
    let skipped = look(from, task("skip"));
    assert_eq!((skipped.starts, skipped.excluded, skipped.moved), (5, 2, 0));
    // Both are moved to Monday 06:00, which has its own: one occurrence.
    let moved = look(from, task("next"));
    assert_eq!(
        (moved.starts, moved.moved + moved.excluded),
        (5, 2),
        "{moved:?}"
    );
    let monday = &moved.days[4];
    assert_eq!((monday.date.as_str(), monday.starts), ("2026-11-30", 1));
    // An interval with a calendar is walked, not reckoned.
    let often = json!({
        "name": "x", "schedule": "every 10s", "anchor": from, "handler": { "native": "x" }, "calendars": "weekends",
    });
    let often = look(from, often);
    assert_eq!((often.starts, often.excluded), (5 * 8_640, 2 * 8_640));
}

#[test]
fn a_change_of_the_clocks_shows_what_the_policy_makes_of_it() {
    let due = |from: &str, dst: serde_json::Value| {
        let task = json!({
            "name": "x", "schedule": "rrule FREQ=DAILY;BYHOUR=2;BYMINUTE=30;BYSECOND=0", "timezone": "Europe/Berlin", "handler": { "native": "x" },
            "dst": dst,
        });
        look(from, task).clock_changes[0].tasks[0].instants.clone()
    };
    let spring = |gap: &str| due("2027-03-26T00:00:00Z", json!({ "gap": gap }));
    assert_eq!(spring("next-valid"), [t("2027-03-28T01:00:00Z")]);
    assert_eq!(spring("skip"), [] as [Timestamp; 0]);
    assert_eq!(spring("shift"), [t("2027-03-28T01:30:00Z")]);
    let autumn = |repeat: &str| due("2026-10-23T00:00:00Z", json!({ "repeat": repeat }));
    let (first, last) = (t("2026-10-25T00:30:00Z"), t("2026-10-25T01:30:00Z"));
    assert_eq!(autumn("first"), [first]);
    assert_eq!(autumn("both"), [first, last]);
    assert_eq!(autumn("last"), [last]);
}
