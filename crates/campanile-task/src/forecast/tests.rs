//! Looking ahead, held against expectations that were worked out by hand: counts, worst minutes, changes of the clocks,
//! overlaps, and a catch-up that must equal the leader's own.

use std::time::Duration;

use campanile_schedule::fuel::Fuel;
use serde_json::{Value, json};

use super::starts::{Budget, Subject};
use super::*;
use crate::limits;
use crate::occurrences::occurrences;
use crate::task::Overlap as Policy;

fn t(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn spec(name: &str, schedule: &str, more: &Value) -> TaskSpec {
    let mut task = json!({ "name": name, "schedule": schedule, "handler": { "native": "x" } });
    for (field, value) in more.as_object().into_iter().flatten() {
        task[field] = value.clone();
    }
    serde_json::from_value(task).unwrap()
}

fn timetable(spec: &TaskSpec) -> Timetable {
    spec.timetable(t("2026-01-01T00:00:00Z"), &|_| None)
        .unwrap()
}

fn look(query: &Query, specs: &[TaskSpec]) -> Forecast {
    let tasks = specs.iter().map(|s| (s, timetable(s), None));
    forecast(query, tasks).unwrap()
}

fn days(from: &str, days: u16) -> Query {
    Query {
        days,
        ..Query::week(t(from))
    }
}

#[test]
fn starts_are_counted_in_their_minutes_and_the_worst_are_explained() {
    let specs = [
        spec("hourly", "0 * * * *", &json!({})),
        spec("midnight-a", "0 0 * * *", &json!({})),
        spec("midnight-b", "0 0 * * *", &json!({})),
        spec(
            "often",
            "every 10s",
            &json!({"anchor": "2026-11-26T00:00:05Z"}),
        ),
        spec("manual", "at 2020-01-01T00:00:00Z", &json!({})),
        spec("rests", "* * * * *", &json!({"paused": true})),
    ];
    // 12:00:30 is cut to 12:00, so the hourly task's 12:00 is in.
    let got = look(&days("2026-11-26T12:00:30Z", 2), &specs);
    assert_eq!(
        (got.from, got.until),
        (t("2026-11-26T12:00:00Z"), t("2026-11-28T12:00:00Z"))
    );
    assert_eq!(got.per_minute.len(), 2 * 1_440);
    // 48 hourly, 2 midnights of 2 tasks, 6 a minute.
    assert_eq!(got.starts, 48 + 4 + 6 * 2_880);
    assert_eq!(
        got.per_minute.iter().map(|n| u64::from(*n)).sum::<u64>(),
        got.starts
    );
    assert_eq!(
        (got.per_minute[0], got.per_minute[1], got.per_minute[720]),
        (7, 6, 9)
    );
    let worst = &got.worst[0];
    assert_eq!((worst.at, worst.starts), (t("2026-11-27T00:00:00Z"), 9));
    let shares: Vec<_> = worst
        .tasks
        .iter()
        .map(|s| (s.task.as_str(), s.starts))
        .collect();
    assert_eq!(
        shares,
        [
            ("often", 6),
            ("hourly", 1),
            ("midnight-a", 1),
            ("midnight-b", 1)
        ]
    );
    assert_eq!(got.worst[1].at, t("2026-11-28T00:00:00Z"));
    assert_eq!(
        (got.worst[2].at, got.worst[2].starts),
        (t("2026-11-26T12:00:00Z"), 7)
    );
    assert_eq!(got.worst.len(), 10);
    let by_day: Vec<_> = got
        .days
        .iter()
        .map(|d| (d.date.as_str(), d.starts, d.peak))
        .collect();
    let expected = [
        ("2026-11-26", 12 + 720 * 6, 7),
        ("2026-11-27", 24 + 2 + 1_440 * 6, 9),
        ("2026-11-28", 12 + 2 + 720 * 6, 9),
    ];
    assert_eq!(by_day, expected);
    assert_eq!(
        (got.tasks.total, got.tasks.scheduled, got.tasks.paused),
        (6, 5, 1)
    );
    assert_eq!(
        (got.never.count, got.never.names),
        (1, vec!["manual".to_owned()])
    );
    assert!(!got.cut.is_any());
}

#[test]
fn more_tasks_than_are_named_are_counted_as_others() {
    let specs: Vec<_> = (0..12)
        .map(|n| spec(&format!("t{n:02}"), "0 0 * * *", &json!({})))
        .collect();
    let got = look(&days("2026-11-26T00:00:00Z", 1), &specs);
    let worst = &got.worst[0];
    let names: Vec<_> = worst.tasks.iter().map(|s| s.task.as_str()).collect();
    assert_eq!(names, ["t00", "t01", "t02", "t03", "t04"]);
    assert_eq!((worst.others.tasks, worst.others.starts), (7, 7));
    let crowd = &worst.schedules[0];
    assert_eq!(
        (
            crowd.schedule.as_str(),
            crowd.tasks,
            crowd.starts,
            worst.schedules.len()
        ),
        ("0 0 * * *", 12, 12, 1)
    );
}

#[test]
fn jitter_moves_the_start_and_never_loses_one() {
    let crowd = |jitter: &str| -> Vec<_> {
        let task = |n| spec(&format!("t{n}"), "0 0 * * *", &json!({ "jitter": jitter }));
        (0..1_200).map(task).collect()
    };
    let from = "2026-11-26T00:00:00Z";
    let sharp = look(&days(from, 1), &crowd("0s"));
    assert_eq!((sharp.starts, sharp.worst[0].starts), (1_200, 1_200));
    let flat = look(&days(from, 1), &crowd("20m"));
    assert_eq!(flat.starts, 1_200);
    // Sixty a minute on average; a hash of names is no worse than chance.
    assert!(flat.worst[0].starts < 100, "{}", flat.worst[0].starts);
    assert_eq!(flat.per_minute[..20].iter().sum::<u32>(), 1_200);
    // A window that begins inside the jitter sees the starts whose instants are before it, and none of those that are
    // behind its end.
    let later = look(&days("2026-11-26T00:10:00Z", 1), &crowd("20m"));
    assert_eq!(later.starts, 1_200);
    assert_eq!(later.per_minute[..10], flat.per_minute[10..20]);
}

#[test]
fn short_intervals_are_counted_by_arithmetic_and_equal_the_walk() {
    let bounds = json!({
        "anchor": "2026-11-25T23:59:59.950Z",
        "starts_at": "2026-11-26T00:00:30Z", "ends_at": "2026-11-26T02:00:00.050Z",
    });
    for (schedule, more) in [
        ("every 100ms", json!({})),
        ("every 700ms", json!({"jitter": "1h"})),
        ("every 7s", bounds.clone()),
        (
            "every 7s",
            json!({"max_count": 5_000, "starts_at": "2026-11-26T03:00:00Z"}),
        ),
        ("every 90s", bounds),
    ] {
        let spec = spec("x", schedule, &more);
        let window = days("2026-11-26T00:00:00Z", 1).window();
        let subject = Subject::new(
            &spec,
            timetable(&spec),
            std::sync::Arc::new(Fuel::endless()),
        );
        let mut minutes = vec![0; window.minutes()];
        let mut budget = Budget::of(COUNT_STEPS_MAX);
        let tally = count::count(&subject, window, &mut minutes, &mut budget, TASK_STEPS_MAX);
        let mut walked = vec![0; window.minutes()];
        for event in subject.events(window) {
            walked[window.minute_of(event.at.as_ms())] += 1;
        }
        assert_eq!(minutes, walked, "{schedule} {more}");
        assert_eq!(
            tally.starts,
            walked.iter().map(|n| u64::from(*n)).sum::<u64>()
        );
        assert_eq!(subject.starts(window).count() as u64, tally.starts);
    }
}

#[test]
fn what_is_too_much_is_cut_off_and_said() {
    let every_second = spec("x", "* * * * * *", &json!({"dialect": "spring"}));
    let window = days("2026-11-26T00:00:00Z", 1).window();
    let subject = Subject::new(
        &every_second,
        timetable(&every_second),
        std::sync::Arc::new(Fuel::endless()),
    );
    let mut minutes = vec![0; window.minutes()];
    let tally = count::count(&subject, window, &mut minutes, &mut Budget::of(1_000), 90);
    assert_eq!(
        (tally.starts, tally.counted_until),
        (90, Some(t("2026-11-26T00:01:30Z")))
    );
    // A month of every second is over the limit of one task.
    let got = look(&days("2026-11-26T00:00:00Z", 31), &[every_second]);
    assert_eq!((got.starts, got.cut.tasks_cut.count), (TASK_STEPS_MAX, 1));
    assert_eq!(got.cut.counted_until, Some(t("2026-12-07T13:46:40Z")));
    assert!(got.cut.is_any());
}

#[test]
fn a_gap_of_the_clocks_names_the_tasks_it_concerns() {
    let berlin = json!({"timezone": "Europe/Berlin"});
    let specs = [
        spec("at-0230", "30 2 * * *", &berlin),
        spec("at-0330", "30 3 * * *", &berlin),
        spec("quarters", "*/15 * * * *", &berlin),
        spec("elapsed", "every 1m", &berlin),
        spec("in-utc", "30 1 * * *", &json!({})),
    ];
    let got = look(&days("2027-03-26T00:00:00Z", 7), &specs);
    let [change] = got.clock_changes.as_slice() else {
        panic!("{:?}", got.clock_changes)
    };
    assert_eq!(
        (
            change.timezone.as_str(),
            change.date.as_str(),
            change.kind.as_str()
        ),
        ("Europe/Berlin", "2027-03-28", "gap")
    );
    assert_eq!(
        (change.before.as_str(), change.after.as_str()),
        ("+01:00", "+02:00")
    );
    assert_eq!(
        (change.wall_from.as_str(), change.wall_until.as_str()),
        ("02:00", "03:00")
    );
    assert_eq!(change.at, t("2027-03-28T01:00:00Z"));
    let [daily, quarters] = change.tasks.as_slice() else {
        panic!("{:?}", change.tasks)
    };
    assert_eq!(
        (daily.task.as_str(), daily.wall.as_slice()),
        ("at-0230", &["02:30".to_owned()][..])
    );
    assert_eq!(daily.instants, [t("2027-03-28T01:00:00Z")]);
    assert_eq!(
        (
            quarters.task.as_str(),
            quarters.wall_count,
            quarters.instant_count
        ),
        ("quarters", 4, 4)
    );
    // A day of 23 hours: its row lacks the cells that the clocks left out.
    let in_berlin = Query {
        zone: TimeZoneName::parse("Europe/Berlin").unwrap(),
        ..days("2027-03-27T23:00:00Z", 2)
    };
    let shown = look(&in_berlin, &specs);
    let rows = shown.rows(60);
    assert_eq!(rows[0].date, "2027-03-28");
    let empty: Vec<_> = (0..24).filter(|n| rows[0].cells[*n].is_none()).collect();
    assert_eq!(empty, [2]);
    assert_eq!(rows[0].cells[3].unwrap().starts, 60 + 4 + 1 + 1 + 1);
}

#[test]
fn a_repeat_of_the_clocks_shows_both_passes() {
    let berlin = json!({"timezone": "Europe/Berlin"});
    let specs = [
        spec("at-0230", "30 2 * * *", &berlin),
        spec("hourly", "0 * * * *", &berlin),
    ];
    let query = Query {
        zone: TimeZoneName::parse("Europe/Berlin").unwrap(),
        ..days("2026-10-24T22:00:00Z", 1)
    };
    let got = look(&query, &specs);
    let change = &got.clock_changes[0];
    assert_eq!(
        (change.date.as_str(), change.kind.as_str()),
        ("2026-10-25", "repeat")
    );
    assert_eq!(
        (change.wall_from.as_str(), change.wall_until.as_str()),
        ("02:00", "03:00")
    );
    let by_name = |name: &str| change.tasks.iter().find(|t| t.task == name).unwrap();
    assert_eq!(by_name("at-0230").instants, [t("2026-10-25T00:30:00Z")]);
    assert_eq!(
        by_name("hourly").instants,
        [t("2026-10-25T00:00:00Z"), t("2026-10-25T01:00:00Z")]
    );
    // Hour 2 is on the wall twice and holds both; the window's 24 hours end at 23:00.
    let row = &got.rows(60)[0];
    assert_eq!(row.cells[2].unwrap().starts, 3);
    assert_eq!(
        (row.cells[22].is_some(), row.cells[23].is_some()),
        (true, false)
    );
}

#[test]
fn overlaps_are_played_by_each_policy() {
    // Every minute, ten times; each takes 150 s.
    let starts = || (0..10).map(|n| n * 60_000);
    let allow = overlap::play(starts(), 150_000, Policy::Allow, 100);
    assert_eq!((allow.starts, allow.met, allow.at_once), (10, 9, 3));
    // It runs at 0, 3, 6 and 9 min.
    let skip = overlap::play(starts(), 150_000, Policy::Skip, 100);
    assert_eq!((skip.met, skip.skipped, skip.at_once), (6, 6, 1));
    // The n-th begins at n × 150 s: it waits n × 90 s.
    let queue = overlap::play(starts(), 150_000, Policy::Queue, 100);
    assert_eq!(
        (queue.waited, queue.longest_wait_ms, queue.skipped),
        (9, 9 * 90_000, 0)
    );
    // One may wait. Ends: 150, 300, 450, 600, 750 s. Those of 60, 180, 300 and 480 s wait.
    let short = overlap::play(starts(), 150_000, Policy::Queue, 1);
    assert_eq!((short.waited, short.skipped, short.at_once), (4, 5, 1));
    let replace = overlap::play(starts(), 150_000, Policy::Replace, 100);
    assert_eq!((replace.met, replace.replaced), (9, 9));
    let fits = overlap::play(starts(), 60_000, Policy::Allow, 100);
    assert_eq!((fits.met, fits.at_once), (0, 1));
}

#[test]
fn overlaps_are_found_where_a_measured_run_is_longer_than_the_distance() {
    let specs = [
        spec("long", "*/5 * * * *", &json!({"overlap": "skip"})),
        spec("short", "*/5 * * * *", &json!({})),
        spec("unknown", "*/5 * * * *", &json!({})),
        spec("daily", "0 0 * * *", &json!({})),
    ];
    let mut forecaster = Forecaster::new(&days("2026-11-26T00:00:00Z", 2)).unwrap();
    for spec in &specs {
        forecaster.add(spec, timetable(spec));
    }
    assert_eq!(forecaster.candidates(), ["long", "short", "unknown"]);
    forecaster.measure("long", Duration::from_secs(400));
    forecaster.measure("short", Duration::from_secs(300));
    let got = forecaster.finish().overlaps;
    assert_eq!((got.candidates, got.measured, got.found), (3, 2, 1));
    let long = &got.tasks[0];
    assert_eq!(
        (long.task.as_str(), long.gap_ms, long.starts),
        ("long", 300_000, 576)
    );
    assert_eq!((long.met, long.skipped), (288, 288));
}

#[test]
fn the_catch_up_equals_what_the_leader_decides() {
    let from = t("2026-11-26T01:00:00Z");
    let until = t("2026-11-26T05:00:20Z");
    let specs = [
        spec("last", "*/30 * * * *", &json!({})),
        spec("skip", "*/30 * * * *", &json!({"misfire": "skip"})),
        spec("all", "*/30 * * * *", &json!({"misfire": "all"})),
        spec("many", "every 10s", &json!({"misfire": "all"})),
        spec(
            "old",
            "*/30 * * * *",
            &json!({"misfire": "all", "max_lateness": "2h"}),
        ),
        spec("other-day", "0 12 * * *", &json!({})),
        spec("just-ahead", "20 0 5 * * *", &json!({"dialect": "spring"})),
    ];
    let query = Query {
        outage: Some(Outage { from, until }),
        ..days("2026-11-26T00:00:00Z", 1)
    };
    let got = look(&query, &specs).catch_up.unwrap();
    // 01:00 to 05:00, nine each; that of 05:00 is 20 s late and no misfire.
    let of = |name: &str| {
        let found = got.top.iter().find(|t| t.task == name).unwrap();
        (found.starts, found.skipped)
    };
    assert_eq!(of("last"), (1, 8));
    assert_eq!(of("skip"), (1, 8));
    assert_eq!(of("all"), (9, 0));
    // Those up to 03:00 are more than two hours late.
    assert_eq!(of("old"), (3 + 1, 5));
    // 14,402 s hold 1,440 instants or one more: a hundred missed ones, and those of the last minute.
    assert_eq!(of("many").0, 100 + 6);
    assert_eq!((got.tasks, got.other_tasks), (5, 0));
    assert_eq!(got.skipped_by_reason.values().sum::<u64>(), got.skipped);
    // And the same by the leader's function, called as the leader calls it.
    for spec in &specs {
        let timetable = timetable(spec);
        let horizon = until.plus(limits::LOOK_AHEAD);
        let first = timetable
            .next(from.minus(Duration::from_millis(1)))
            .map(|e| e.at);
        let (mut next, mut runs, mut skips) = (first, 0, 0);
        while let Some(first) = next.filter(|t| *t < until) {
            let plan = occurrences(&timetable, spec, first, until, horizon);
            runs += plan.runs.iter().filter(|run| run.at < until).count() as u64;
            skips += plan.skips.iter().map(|s| s.count).sum::<u64>();
            next = plan.next;
        }
        let told = got.top.iter().find(|t| t.task == spec.name);
        assert_eq!(
            told.map_or((0, 0), |t| (t.starts, t.skipped)),
            (runs, skips),
            "{}",
            spec.name
        );
    }
}

#[test]
fn a_query_out_of_range_is_refused_by_field() {
    let good = Query::week(t("2026-11-26T00:00:00Z"));
    let outage = |from, until| {
        Some(Outage {
            from: t(from),
            until: t(until),
        })
    };
    let backwards = outage("2026-11-26T02:00:00Z", "2026-11-26T01:00:00Z");
    let long = outage("2026-11-26T02:00:00Z", "2028-11-26T01:00:00Z");
    for (query, field) in [
        (
            Query {
                days: 0,
                ..good.clone()
            },
            "days",
        ),
        (
            Query {
                days: 367,
                ..good.clone()
            },
            "days",
        ),
        (
            Query {
                top: 0,
                ..good.clone()
            },
            "top",
        ),
        (
            Query {
                top: TOP_MAX + 1,
                ..good.clone()
            },
            "top",
        ),
        (
            Query {
                outage: backwards,
                ..good.clone()
            },
            "outage_until",
        ),
        (
            Query {
                outage: long,
                ..good.clone()
            },
            "outage_until",
        ),
    ] {
        assert_eq!(query.check().unwrap_err().field, field);
    }
    assert_eq!(good.check(), Ok(()));
}

#[test]
fn a_forecast_survives_its_json() {
    let query = Query {
        outage: Some(Outage {
            from: t("2026-11-26T00:00:00Z"),
            until: t("2026-11-26T01:00:00Z"),
        }),
        ..days("2026-11-26T00:00:00Z", 1)
    };
    let got = look(&query, &[spec("x", "*/5 * * * *", &json!({}))]);
    let text = serde_json::to_string(&got).unwrap();
    assert_eq!(serde_json::from_str::<Forecast>(&text).unwrap(), got);
}
