//! Moves of due rows by a calendar and by zone rules: the same cases, and where the answers differ.

use super::*;
use crate::decide::edit::ahead::Unplan;
use crate::decide::edit::place::Near;
use crate::id::{RunId, TaskId};
use crate::task::TaskSpec;
use serde_json::json;

fn at(s: i64) -> Timestamp {
    Timestamp::from_ms(s * 1_000)
}

fn task(paused: bool) -> Task {
    let spec = json!({
        "name": "t", "schedule": "every 10s", "anchor": at(0), "paused": paused, "handler": {"native": "x"},
    });
    let spec: TaskSpec = serde_json::from_value(spec).unwrap();
    Task {
        id: TaskId::from_i64(7),
        version: 1,
        spec,
        created_at: at(0),
        updated_at: at(0),
        paused_from: None,
    }
}

/// What comes by the new rules: nothing that has a row, from this instant on.
fn from(next: Option<i64>) -> Future {
    Future {
        near: Near {
            instants: Vec::new(),
            beyond: next.map(at),
        },
        ..Future::default()
    }
}

#[test]
fn each_rule_holds_back_what_it_must_not_touch() {
    let held =
        |moving: Moving, due: Option<i64>| moving.held_back(&task(false), due.map(at), at(15));
    for (due, by_calendar, by_zones) in [
        (Some(10), Some(HeldBack::Soon), Some(HeldBack::Soon)),
        (Some(15), Some(HeldBack::Soon), Some(HeldBack::Soon)),
        (Some(20), None, Some(HeldBack::Soon)),
        (Some(25), None, Some(HeldBack::Soon)),
        (Some(26), None, None),
        (None, None, Some(HeldBack::NoRow)),
    ] {
        assert_eq!(held(Moving::CALENDAR, due), by_calendar, "{due:?}");
        assert_eq!(held(Moving::ZONE_RULES, due), by_zones, "{due:?}");
    }
    for moving in [Moving::CALENDAR, Moving::ZONE_RULES] {
        let held = moving.held_back(&task(true), None, at(15));
        assert_eq!(held, Some(HeldBack::NoInstants));
    }
}

#[test]
fn a_row_moves_to_the_first_open_instant() {
    for moving in [Moving::CALENDAR, Moving::ZONE_RULES] {
        for next in [Some(40), Some(20), None] {
            let moved = moving
                .move_of(&task(false), Some(at(30)), &from(next))
                .unwrap();
            assert_eq!(moved.to.seen, Some(at(30)));
            assert_eq!(moved.to.next.map(|key| key.at), next.map(at));
            assert_eq!((moved.unplan, moved.answered), (None, vec![]));
        }
    }
}

#[test]
fn a_calendar_rests_on_rows_that_stay_and_zone_rules_do_not_write_them() {
    let stays = |moving: Moving| moving.move_of(&task(false), Some(at(30)), &from(Some(30)));
    assert_eq!(stays(Moving::ZONE_RULES), None);
    let to = stays(Moving::CALENDAR).unwrap().to;
    assert_eq!(to.seen, to.next.map(|key| key.at));
}

#[test]
fn a_calendar_takes_back_what_was_planned_by_the_old_one() {
    let near = Near {
        instants: vec![at(20)],
        beyond: Some(at(30)),
    };
    let unplan = Unplan {
        task: TaskId::from_i64(7),
        offset: Duration::ZERO,
        runs: vec![RunId::from_i64(1)],
    };
    let future = Future {
        near,
        rows: vec![(at(20), RunId::from_i64(1))],
        unplan: Some(unplan.clone()),
    };
    let moved = Moving::CALENDAR
        .move_of(&task(false), Some(at(30)), &future)
        .unwrap();
    let next = moved.to.next.unwrap().at;
    assert_eq!(next, at(20), "its instant is open again");
    assert_eq!(moved.unplan, Some(unplan));
}

#[test]
fn what_has_a_row_already_is_passed_over() {
    let row = |s: i64| (at(s), RunId::from_i64(s));
    let future = |rows: &[i64]| Future {
        near: Near {
            instants: vec![at(26), at(30)],
            beyond: Some(at(36)),
        },
        rows: rows.iter().copied().map(row).collect(),
        unplan: None,
    };
    for moving in [Moving::CALENDAR, Moving::ZONE_RULES] {
        for (rows, next, answered) in [
            (&[26, 30][..], 36, &[][..]),
            (&[26], 30, &[]),
            (&[30], 26, &[30]),
        ] {
            let moved = moving.move_of(&task(false), Some(at(46)), &future(rows));
            let moved = moved.unwrap();
            assert_eq!(moved.to.next.unwrap().at, at(next));
            let answered: Vec<_> = answered.iter().map(|s| (moved.to.task, at(*s))).collect();
            assert_eq!(moved.answered, answered);
        }
    }
}
