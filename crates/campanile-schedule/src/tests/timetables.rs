//! Timetables: what becomes of excluded occurrences, by example and against an oracle that walks every instant and takes
//! the rule word by word, with `jiff`'s own calendar.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::calendar::{Calendar, CalendarSpec};
use crate::timetable::MOVES_OF_A_DAY_MAX;
use crate::timetable::OnExcluded;

/// Days around a question that the oracle walks: more than anything is moved.
const ORACLE_DAYS: i64 = 37;

fn calendar(json: serde_json::Value) -> Arc<Calendar> {
    let mut json = json;
    json["name"] = "c".into();
    let spec: CalendarSpec = serde_json::from_value(json).unwrap();
    Arc::new(Calendar::compile(spec, 1).unwrap())
}

fn weekends() -> serde_json::Value {
    serde_json::json!({"weekdays": ["SAT", "SUN"]})
}

fn timetable(
    expression: &str,
    zone: &str,
    json: serde_json::Value,
    on_excluded: OnExcluded,
) -> Timetable {
    let zone = TimeZoneName::parse(zone).unwrap();
    let options = Options {
        timezone: zone.clone(),
        ..Options::default()
    };
    let schedule = Schedule::parse(Some(expression), &options).unwrap();
    Timetable::new(schedule, vec![calendar(json)], on_excluded, zone)
}

/// The events of some days, as `WALL what`, walls without their year.
fn events(timetable: &Timetable, zone: &str, from: &str, until: &str) -> Vec<String> {
    let zone = TimeZoneName::parse(zone).unwrap();
    let wall = |t: Timestamp| format_in_zone(t, &zone)[5..16].to_owned();
    let mut out = Vec::new();
    let mut after = at(from);
    while let Some(event) = timetable.next(after).filter(|e| e.at < at(until)) {
        out.push(match event.what {
            What::Due => format!("{} due", wall(event.at)),
            What::Excluded => format!("{} excluded", wall(event.at)),
            What::Moved(to) => format!("{} moved to {}", wall(event.at), wall(to)),
        });
        after = event.at;
    }
    out
}

#[test]
fn an_excluded_occurrence_is_skipped_or_moved_as_the_task_says() {
    // 2026-11-28 is a Saturday.
    let (from, until) = ("2026-11-26T12:00:00Z", "2026-12-01T12:00:00Z");
    let all = |on_excluded| {
        let timetable = timetable("0 9 * * SAT", "UTC", weekends(), on_excluded);
        events(&timetable, "UTC", from, until)
    };
    assert_eq!(all(OnExcluded::Skip), ["11-28T09:00 excluded"]);
    assert_eq!(
        all(OnExcluded::Next),
        ["11-28T09:00 moved to 11-30T09:00", "11-30T09:00 due"]
    );
    assert_eq!(
        all(OnExcluded::Previous),
        ["11-27T09:00 due", "11-28T09:00 moved to 11-27T09:00"]
    );
}

#[test]
fn what_meets_at_one_instant_is_one_occurrence() {
    let timetable = timetable("0 9 * * *", "UTC", weekends(), OnExcluded::Next);
    let seen = events(
        &timetable,
        "UTC",
        "2026-11-27T00:00:00Z",
        "2026-12-01T00:00:00Z",
    );
    let expected = [
        "11-27T09:00 due",
        "11-28T09:00 moved to 11-30T09:00",
        "11-29T09:00 moved to 11-30T09:00",
        "11-30T09:00 due",
    ];
    assert_eq!(seen, expected);
    assert_eq!(timetable.moved_from(at("2026-11-30T09:00:00Z")), None);
}

#[test]
fn the_instant_that_was_moved_can_be_told() {
    let next = timetable("0 9 * * SAT,SUN", "UTC", weekends(), OnExcluded::Next);
    let monday = at("2026-11-30T09:00:00Z");
    assert_eq!(next.moved_from(monday), Some(at("2026-11-29T09:00:00Z")));
    assert_eq!(next.moved_from(at("2026-12-01T09:00:00Z")), None);
    assert_eq!(
        next.excluded_by(at("2026-11-28T09:00:00Z"))
            .map(|c| c.spec.name.as_str()),
        Some("c")
    );
    let previous = timetable("0 9 * * SAT,SUN", "UTC", weekends(), OnExcluded::Previous);
    assert_eq!(
        previous.moved_from(at("2026-11-27T09:00:00Z")),
        Some(at("2026-11-28T09:00:00Z"))
    );
}

#[test]
fn nothing_is_moved_further_than_the_limit() {
    let closed = |last: &str| serde_json::json!({"ranges": [{"from": "2026-06-01", "to": last}]});
    let of = |last| {
        let timetable = timetable("0 9 1 6 *", "UTC", closed(last), OnExcluded::Next);
        events(
            &timetable,
            "UTC",
            "2026-05-01T00:00:00Z",
            "2026-12-01T00:00:00Z",
        )
    };
    assert_eq!(
        of("2026-07-01"),
        ["06-01T09:00 moved to 07-02T09:00", "07-02T09:00 due"]
    );
    assert_eq!(of("2026-07-02"), ["06-01T09:00 excluded"]);
}

#[test]
fn bounds_hold_for_what_is_moved_but_a_count_does_not_stop_it() {
    let zone = TimeZoneName::utc();
    let schedule = Schedule::parse(Some("0 9 * * SAT"), &Options::default()).unwrap();
    let of = |bounds: &Bounds| {
        let calendars = vec![calendar(weekends())];
        let schedule = schedule.clone().bounded(bounds);
        let timetable = Timetable::new(schedule, calendars, OnExcluded::Next, zone.clone());
        events(
            &timetable,
            "UTC",
            "2026-11-26T00:00:00Z",
            "2026-12-10T00:00:00Z",
        )
    };
    let ends = Bounds {
        ends_at: Some(at("2026-11-29T00:00:00Z")),
        ..Bounds::default()
    };
    assert_eq!(of(&ends), ["11-28T09:00 excluded"]);
    let counted_from = at("2026-11-26T00:00:00Z");
    let once = Bounds {
        max_count: Some(1),
        counted_from,
        ..Bounds::default()
    };
    assert_eq!(
        of(&once),
        ["11-28T09:00 moved to 11-30T09:00", "11-30T09:00 due"]
    );
}

#[test]
fn a_wall_time_that_the_clocks_leave_out_is_moved_as_if_they_had_not_been_changed() {
    // Saturday 02:30 moves to Sunday 2026-03-29, where 02:30 is left out.
    let saturdays = serde_json::json!({"weekdays": ["SAT"]});
    let timetable = timetable("30 2 * * SAT", "Europe/Berlin", saturdays, OnExcluded::Next);
    let seen = events(
        &timetable,
        "Europe/Berlin",
        "2026-03-27T12:00:00Z",
        "2026-03-30T00:00:00Z",
    );
    assert_eq!(
        seen,
        ["03-28T02:30 moved to 03-29T03:30", "03-29T03:30 due"]
    );
}

#[test]
fn schedules_that_fire_all_the_time_are_not_moved() {
    let near = at("2026-11-26T00:00:00Z");
    for (expression, good) in [
        ("*/15 * * * *", true),
        ("*/14 * * * *", false),
        ("every 10s", false),
    ] {
        let moving = timetable(expression, "UTC", weekends(), OnExcluded::Next);
        assert_eq!(
            moving.check(near, &crate::fuel::Fuel::endless()).is_ok(),
            good,
            "{expression}"
        );
        let skipping = timetable(expression, "UTC", weekends(), OnExcluded::Skip);
        assert!(skipping.check(near, &crate::fuel::Fuel::endless()).is_ok());
        let error = moving.check(near, &crate::fuel::Fuel::endless()).err();
        assert!(error.is_none_or(|e| e.field == "on_excluded" && e.message.contains("skip")));
    }
    // Even where it was let in, because only some days are crowded, it is bounded and accounts for each instant.
    let crowded = timetable("* * * * SAT", "UTC", weekends(), OnExcluded::Next);
    let event = crowded.next(at("2026-11-27T00:00:00Z")).unwrap();
    assert_eq!(
        (event.at, event.what),
        (at("2026-11-28T00:00:00Z"), What::Excluded)
    );
}

const EDGES: &[(&str, &str)] = &[
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("America/Sao_Paulo", "2018-02-18"),
    ("America/St_Johns", "2006-10-29"),
    ("America/St_Johns", "2006-04-02"),
    ("Asia/Beirut", "2020-03-29"),
    ("Asia/Gaza", "2019-10-26"),
    ("Pacific/Apia", "2011-12-31"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("America/Havana", "2025-11-02"),
    ("UTC", "2026-12-24"),
    ("Asia/Kathmandu", "2026-01-01"),
];

const EXPRESSIONS: &[&str] = &[
    "0 9 * * *",
    "30 2 * * *",
    "0 0 * * *",
    "30 0,23 * * SAT,SUN",
    "0 */6 * * *",
    "*/20 1-3 * * *",
    "0 9 1,15 * *",
    "0 17 * * FRI",
    "15 8-18 * * *",
    "0 * * * SUN",
    "every 7h",
    "every 26h30m",
    "every 100m",
    "30 23 L * *",
];

fn calendars() -> impl Strategy<Value = Vec<serde_json::Value>> {
    let weekdays = prop::sample::subsequence(vec!["SUN", "MON", "WED", "SAT"], 0..4);
    let days = prop::collection::vec((1..=12_u32, 1..=28_u32), 0..20);
    let ranges = prop::collection::vec((1..=12_u32, 1..=28_u32, 0..45_i64), 0..2);
    let hours = prop::sample::select(vec![
        serde_json::json!([]),
        serde_json::json!([]),
        serde_json::json!([{"from": "22:00", "to": "06:00"}]),
        serde_json::json!([{"days": ["MON-FRI"], "from": "02:00", "to": "03:00"}]),
        serde_json::json!([{"days": ["SAT"], "from": "20:00", "to": "09:30"}]),
    ]);
    let zone = prop::sample::select(vec![
        None,
        None,
        Some("Asia/Tokyo"),
        Some("America/New_York"),
    ]);
    let one = (weekdays, days, ranges, hours, zone, any::<bool>());
    let one = one.prop_map(|(weekdays, days, ranges, hours, zone, include)| {
        let dates: Vec<String> = days.iter().map(|(m, d)| format!("{m:02}-{d:02}")).collect();
        let ranges: Vec<_> = ranges.iter().map(|(m, d, length)| {
            let from = jiff::civil::date(2026, i8::try_from(*m).unwrap(), i8::try_from(*d).unwrap());
            let to = from.checked_add(jiff::Span::new().days(*length)).unwrap();
            serde_json::json!({"from": &from.to_string()[5..], "to": &to.to_string()[5..]})
        }).collect();
        let mut json = serde_json::json!({"weekdays": weekdays, "dates": dates, "ranges": ranges, "hours": hours});
        if let Some(zone) = zone {
            json["timezone"] = zone.into();
        }
        if include && (!weekdays.is_empty() || hours != serde_json::json!([])) {
            json["mode"] = "include".into();
        }
        json
    });
    prop::collection::vec(one, 1..3)
}

/// Every event of the days around an instant, by the rule itself.
fn oracle(
    timetable: &Timetable,
    zone: &str,
    middle: Timestamp,
    on_excluded: OnExcluded,
) -> BTreeMap<Timestamp, What> {
    let tz = jiff::tz::TimeZone::get(zone).unwrap();
    let span_ms = ORACLE_DAYS * 86_400_000;
    let (mut at, until) = (
        Timestamp::from_ms(middle.as_ms() - span_ms),
        middle.as_ms() + span_ms,
    );
    let mut events = BTreeMap::new();
    let mut due = Vec::new();
    while let Some(next) = timetable.schedule().next(at).filter(|t| t.as_ms() < until) {
        at = next;
        if timetable.excluded_by(at).is_none() {
            due.push(at);
            continue;
        }
        let zoned = jiff::Timestamp::from_millisecond(at.as_ms())
            .unwrap()
            .to_zoned(tz.clone());
        let sign = match on_excluded {
            OnExcluded::Skip => 0,
            OnExcluded::Next => 1,
            OnExcluded::Previous => -1,
        };
        let target = (1..=31).map(|days| {
            let wall = zoned
                .datetime()
                .checked_add(jiff::Span::new().days(days * sign))
                .unwrap();
            let there = tz.to_ambiguous_timestamp(wall).compatible().unwrap();
            Timestamp::from_ms(there.as_millisecond())
        });
        let target = target
            .filter(|_| sign != 0)
            .find(|t| timetable.excluded_by(*t).is_none());
        due.extend(target);
        events.insert(at, target.map_or(What::Excluded, What::Moved));
    }
    for at in due {
        let mark = events.insert(at, What::Due);
        assert!(
            mark.is_none_or(|what| what == What::Due),
            "{at} is excluded and a target"
        );
    }
    events
}

fn compare(
    timetable: &Timetable,
    all: &BTreeMap<Timestamp, What>,
    from: Timestamp,
    days: i64,
) -> Result<(), TestCaseError> {
    let until = Timestamp::from_ms(from.as_ms() + days * 86_400_000);
    let expected: Vec<(Timestamp, What)> = all
        .range(Timestamp::from_ms(from.as_ms() + 1)..until)
        .map(|(at, what)| (*at, *what))
        .collect();
    let mut found = Vec::new();
    let mut last = from;
    while let Some(event) = timetable.next(last).filter(|e| e.at < until) {
        prop_assert!(event.at > last, "{} after {}", event.at, last);
        found.push((event.at, event.what));
        last = event.at;
        let again = timetable.previous(Timestamp::from_ms(last.as_ms() + 1));
        prop_assert_eq!(again, Some(event));
    }
    prop_assert_eq!(&found, &expected);
    let mut back = Vec::new();
    let mut before = until;
    while let Some(event) = timetable.previous(before).filter(|e| e.at > from) {
        back.push((event.at, event.what));
        before = event.at;
    }
    back.reverse();
    prop_assert_eq!(&back, &expected);
    // The origin of a moved one is among those that the oracle moved there.
    for (at, _) in &expected {
        match timetable.moved_from(*at) {
            Some(origin) => prop_assert_eq!(all.get(&origin), Some(&What::Moved(*at))),
            None => {
                let own = timetable
                    .schedule()
                    .next(Timestamp::from_ms(at.as_ms() - 1))
                    == Some(*at);
                prop_assert!(own, "{} has no origin", at);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn timetables_agree_with_a_walk_over_every_instant(
        (zone, day) in prop::sample::select(EDGES),
        expressions in prop::sample::subsequence(EXPRESSIONS, 1..3),
        jsons in calendars(),
        on_excluded in prop::sample::select(vec![OnExcluded::Next, OnExcluded::Previous, OnExcluded::Skip]),
        offset_minutes in -4 * 1_440_i64..2 * 1_440,
    ) {
        let name = TimeZoneName::parse(zone).unwrap();
        let options = Options { timezone: name.clone(), ..Options::default() };
        let texts: Vec<String> = expressions.iter().map(|e| (*e).to_owned()).collect();
        let schedule = Schedule::parse_all(&texts, &options).unwrap();
        let all: Vec<_> = jsons.into_iter().map(calendar).collect();
        let timetable = Timetable::new(schedule, all, on_excluded, name);
        let midnight = at(&format!("{day}T00:00:00Z"));
        let from = Timestamp::from_ms(midnight.as_ms() + offset_minutes * 60_000);
        let events = oracle(&timetable, zone, from, on_excluded);
        compare(&timetable, &events, from, 4)?;
    }
}

#[test]
fn the_limit_of_a_day_is_what_the_docs_say() {
    assert_eq!(MOVES_OF_A_DAY_MAX, 96);
}
