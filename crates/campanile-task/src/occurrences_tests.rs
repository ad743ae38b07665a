//! Tests of the decision about one due row.

use std::time::Duration;

use campanile_schedule::{OnExcluded, Options, Schedule, TimeZoneName};

use super::*;

fn spec(misfire: Misfire) -> TaskSpec {
    serde_json::from_value(serde_json::json!({
        "name": "t", "schedule": "every 10s", "handler": {"native": "noop"}, "misfire": misfire,
    }))
    .unwrap()
}

fn every_10s() -> Timetable {
    let options = Options {
        anchor: at(0),
        ..Options::default()
    };
    timetable(Schedule::parse(Some("every 10s"), &options).unwrap())
}

fn timetable(schedule: Schedule) -> Timetable {
    Timetable::new(schedule, vec![], OnExcluded::Skip, TimeZoneName::utc())
}

fn instants(plan: &Plan) -> Vec<Timestamp> {
    plan.runs.iter().map(|due| due.at).collect()
}

fn skip(first: i64, last: i64, count: u64, reason: Reason) -> Skip {
    Skip {
        first: at(first),
        last: at(last),
        count,
        reason,
        moved_to: None,
    }
}

fn at(s: i64) -> Timestamp {
    Timestamp::from_ms(1_800_000_000_000 + s * 1_000)
}

#[test]
fn due_instants_inside_the_horizon_run_and_the_row_moves_on() {
    let plan = occurrences(&every_10s(), &spec(Misfire::Last), at(10), at(10), at(35));
    assert_eq!(instants(&plan), vec![at(10), at(20), at(30)]);
    assert!(plan.skips.is_empty() && plan.runs.iter().all(|due| !due.catch_up));
    assert_eq!(plan.next, Some(at(40)));
}

#[test]
fn lateness_within_the_limit_is_no_misfire() {
    let plan = occurrences(&every_10s(), &spec(Misfire::Skip), at(10), at(60), at(60));
    assert_eq!(
        instants(&plan),
        (1..=6).map(|k| at(k * 10)).collect::<Vec<_>>()
    );
    assert!(plan.skips.is_empty());
}

#[test]
fn after_an_outage_each_policy_accounts_for_every_instant() {
    // now = 1000 s: instants 10..=930 are missed, 940..=1000 are merely late.
    for misfire in [Misfire::Last, Misfire::Skip, Misfire::All] {
        let plan = occurrences(&every_10s(), &spec(misfire), at(10), at(1_000), at(1_000));
        let skipped: u64 = plan.skips.iter().map(|s| s.count).sum();
        assert_eq!(skipped + plan.runs.len() as u64, 100, "{misfire:?}");
        assert!(plan.runs.windows(2).all(|w| w[0].at < w[1].at));
        assert_eq!(plan.next, Some(at(1_010)));
    }
    // An hourly kind of outage: nothing within the limit, so `last` runs the latest missed one.
    let options = Options {
        anchor: at(0),
        ..Options::default()
    };
    let hourly = timetable(Schedule::parse(Some("every 1h"), &options).unwrap());
    let plan = occurrences(
        &hourly,
        &spec(Misfire::Last),
        at(3_600),
        at(12_000),
        at(12_000),
    );
    let caught_up = Due {
        at: at(10_800),
        catch_up: true,
    };
    assert_eq!(plan.runs, vec![caught_up]);
    assert_eq!(plan.skips, vec![skip(3_600, 7_200, 2, Reason::Misfire)]);
    let plan = occurrences(
        &hourly,
        &spec(Misfire::Skip),
        at(3_600),
        at(12_000),
        at(12_000),
    );
    assert_eq!((plan.runs.len(), plan.skips[0].count), (0, 3));
}

#[test]
fn a_long_outage_is_worked_off_in_bounded_steps_with_nothing_silent() {
    for (misfire, runs) in [
        (Misfire::All, limits::CATCH_UP_RUNS_MAX + 7),
        (Misfire::Last, 7),
        (Misfire::Skip, 7),
    ] {
        let now = at(300_000);
        let (mut next, mut counted, mut ran) = (Some(at(10)), 0, 0);
        while let Some(first) = next.filter(|t| *t <= now) {
            let plan = occurrences(&every_10s(), &spec(misfire), first, now, now);
            let seen = plan.skips.iter().map(|s| s.count).sum::<u64>() + plan.runs.len() as u64;
            assert!(seen > 0 && seen <= limits::CATCH_UP_STEPS_MAX as u64);
            counted += seen;
            ran += plan.runs.len();
            next = plan.next;
        }
        assert_eq!(counted, 30_000);
        assert_eq!(ran, runs, "{misfire:?}");
    }
}

#[test]
fn max_lateness_beats_the_policy() {
    let mut spec = spec(Misfire::All);
    spec.max_lateness = Some(Duration::from_secs(100));
    let plan = occurrences(&every_10s(), &spec, at(10), at(1_000), at(1_000));
    assert_eq!(instants(&plan).first(), Some(&at(900)));
    assert_eq!(plan.skips, vec![skip(10, 890, 89, Reason::TooLate)]);
}

#[test]
fn what_missed_its_start_deadline_never_runs() {
    let mut spec = spec(Misfire::All);
    spec.start_deadline = Some(Duration::from_secs(30));
    let plan = occurrences(&every_10s(), &spec, at(10), at(1_000), at(1_000));
    assert_eq!(instants(&plan), [970, 980, 990, 1_000].map(at).to_vec());
    assert_eq!(plan.skips, vec![skip(10, 960, 96, Reason::StartDeadline)]);
}

#[test]
fn a_rest_is_one_row_with_its_count() {
    let rest = rested(
        every_10s().schedule(),
        at(20),
        at(100),
        Reason::Paused,
        &Fuel::endless(),
    );
    assert_eq!(rest, Some(skip(20, 90, 8, Reason::Paused)));
    assert_eq!(
        rested(
            every_10s().schedule(),
            at(21),
            at(30),
            Reason::Paused,
            &Fuel::endless()
        ),
        None
    );
}

/// One that runs puts no next instant, for its end does; one that is skipped puts it at the decision.
#[test]
fn a_chain_goes_on_from_what_is_decided() {
    let spec = |misfire: &str| -> TaskSpec {
        let spec = serde_json::json!({"name": "t", "schedule": "after 10m", "handler": {"native": "x"},
            "misfire": misfire, "misfire_limit": "1m", "max_lateness": "1h"});
        serde_json::from_value(spec).unwrap()
    };
    let at = |minutes: i64| Timestamp::from_ms(minutes * 60_000);
    let plan = |misfire: &str, due: i64, now: i64| {
        let spec = spec(misfire);
        let timetable = spec.timetable(at(0), &|_| None).unwrap();
        occurrences(&timetable, &spec, at(due), at(now), at(now))
    };
    let (due, late) = (plan("last", 10, 10), plan("last", 10, 30));
    assert_eq!((due.runs.len(), due.skips.len(), due.next), (1, 0, None));
    assert!(late.runs[0].catch_up && late.next.is_none());
    for (plan, reason) in [
        (plan("skip", 10, 30), Reason::Misfire),
        (plan("last", 10, 90), Reason::TooLate),
    ] {
        let now = if reason == Reason::Misfire { 30 } else { 90 };
        assert_eq!((plan.runs.len(), plan.skips[0].reason), (0, reason));
        assert_eq!((plan.skips[0].count, plan.next), (1, Some(at(now + 10))));
    }
    assert_eq!(plan("last", 10, 5).next, Some(at(10)));
}

/// What is overdue when the schedule is changed is skipped; a task that rested knew of no instant.
#[test]
fn a_chain_leaves_behind_what_was_due() {
    let spec =
        serde_json::json!({"name": "t", "schedule": "after 10m", "handler": {"native": "x"}});
    let spec: TaskSpec = serde_json::from_value(spec).unwrap();
    let schedule = spec.compile(Timestamp::from_ms(0)).unwrap();
    let left = |reason| {
        let (from, until) = (Timestamp::from_ms(5), Timestamp::from_ms(9));
        rested(&schedule, from, until, reason, &Fuel::endless())
    };
    let changed = left(Reason::Changed).unwrap();
    assert_eq!((changed.first.as_ms(), changed.count), (5, 1));
    assert_eq!(left(Reason::Paused), None);
}
