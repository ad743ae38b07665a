//! Edits of a task, decided: by a table of cases, and one by one where more has to be said.

use super::*;
use crate::decide::attempt as transitions;
use crate::run::Origin;
use serde_json::{Value, json};

fn at(s: i64) -> Timestamp {
    Timestamp::from_ms(s * 1_000)
}

/// The task, with these fields beside or instead of its own.
fn spec(fields: &Value) -> TaskSpec {
    let mut json = json!({
        "name": "t", "schedule": "every 10s", "anchor": at(0), "handler": {"native": "x"},
    });
    let all = json.as_object_mut().unwrap();
    all.extend(fields.as_object().unwrap().clone());
    serde_json::from_value(json).unwrap()
}

fn task(fields: &Value, paused_from: Option<i64>) -> Task {
    Task {
        id: TaskId::from_i64(7),
        version: 3,
        spec: spec(fields),
        created_at: at(0),
        updated_at: at(0),
        paused_from: paused_from.map(at),
    }
}

/// The future by a definition without calendars, of which these instants have the run of their second.
fn future(spec: &TaskSpec, now: i64, rows: &[i64], taken_back: Option<&[i64]>) -> Future {
    let timetable = spec.timetable(at(0), &|_| None).unwrap();
    let fuel = Fuel::endless();
    let first = timetable.next_by(at(now), &fuel).map(|event| event.at);
    let row = |s: &i64| (at(*s), RunId::from_i64(*s));
    Future {
        near: Near::of(&timetable, first, at(now)).unwrap(),
        rows: rows.iter().map(row).collect(),
        unplan: taken_back.map(|runs| Unplan {
            task: TaskId::from_i64(7),
            offset: Duration::ZERO,
            runs: runs.iter().map(|s| RunId::from_i64(*s)).collect(),
        }),
    }
}

/// An edit of the task whose due row stands at `due`, at `now`; `ahead` is what was planned ahead and is taken back.
struct Case {
    name: &'static str,
    old: Value,
    new: Value,
    paused_from: Option<i64>,
    due: Option<i64>,
    now: i64,
    rows: &'static [i64],
    ahead: Option<&'static [i64]>,
    /// Where the due row goes: nothing in this place = it is not replaced.
    next: Option<Option<i64>>,
    rests: Option<i64>,
    left: Option<(i64, Reason)>,
}

fn case(name: &'static str, old: Value, new: Value) -> Case {
    Case {
        name,
        old,
        new,
        paused_from: None,
        due: Some(20),
        now: 15,
        rows: &[],
        ahead: None,
        next: None,
        rests: None,
        left: None,
    }
}

fn of_schedules() -> Vec<Case> {
    let (none, other) = (json!({}), json!({"schedule": "every 30s"}));
    vec![
        case(
            "nothing of its instants",
            none.clone(),
            json!({"priority": 9}),
        ),
        Case {
            due: Some(10),
            next: Some(Some(30)),
            left: Some((10, Reason::Changed)),
            ..case(
                "another schedule, overdue by the old one",
                none.clone(),
                other.clone(),
            )
        },
        Case {
            next: Some(Some(30)),
            ..case("another schedule, nothing overdue", none.clone(), other)
        },
        Case {
            due: Some(30),
            now: 19,
            rows: &[20],
            ahead: Some(&[20]),
            next: Some(Some(20)),
            ..case(
                "another schedule with the instant of a run that is taken back",
                none.clone(),
                json!({"schedule": "every 20s"}),
            )
        },
        Case {
            due: Some(30),
            now: 19,
            rows: &[20],
            ahead: Some(&[]),
            next: Some(Some(40)),
            ..case(
                "another schedule with an instant that has its end already",
                none.clone(),
                json!({"schedule": "every 20s"}),
            )
        },
        Case {
            next: Some(None),
            ..case("no schedule any more", none, json!({"schedule": []}))
        },
    ]
}

fn of_rests() -> Vec<Case> {
    let none = json!({});
    let (paused, disabled) = (json!({"paused": true}), json!({"enabled": false}));
    vec![
        Case {
            due: Some(10),
            ..case(
                "a pause: the store finds from where on",
                none.clone(),
                paused.clone(),
            )
        },
        Case {
            due: None,
            paused_from: Some(10),
            now: 35,
            next: Some(Some(40)),
            left: Some((10, Reason::Paused)),
            ..case("a resume", paused.clone(), none.clone())
        },
        Case {
            due: None,
            paused_from: Some(20),
            now: 15,
            rows: &[20],
            next: Some(Some(30)),
            ..case(
                "a resume before the rest has begun, its instant cancelled meanwhile",
                paused,
                none.clone(),
            )
        },
        Case {
            due: None,
            paused_from: Some(10),
            now: 35,
            next: Some(Some(40)),
            left: Some((10, Reason::Disabled)),
            ..case("enabled again", disabled, none)
        },
    ]
}

fn of_rests_and_queues() -> Vec<Case> {
    let (paused, disabled) = (json!({"paused": true}), json!({"enabled": false}));
    vec![
        Case {
            due: None,
            paused_from: Some(10),
            now: 35,
            next: Some(None),
            rests: Some(35),
            left: Some((10, Reason::Paused)),
            ..case(
                "another schedule while it is paused",
                paused.clone(),
                json!({"paused": true, "schedule": "every 30s"}),
            )
        },
        Case {
            due: None,
            paused_from: Some(10),
            now: 35,
            next: Some(None),
            rests: Some(35),
            left: Some((10, Reason::Paused)),
            ..case("disabled while it is paused", paused.clone(), disabled)
        },
        Case {
            due: None,
            paused_from: Some(10),
            now: 35,
            rests: Some(10),
            ..case(
                "another queue while it is paused",
                paused,
                json!({"paused": true, "queue": "slow"}),
            )
        },
        Case {
            due: Some(10),
            next: Some(Some(10)),
            ..case(
                "another queue: overdue or not",
                json!({}),
                json!({"queue": "slow"}),
            )
        },
    ]
}

#[test]
fn an_edit_is_decided_by_what_was_seen() {
    let cases = [of_schedules(), of_rests(), of_rests_and_queues()];
    for case in cases.into_iter().flatten() {
        let old = task(&case.old, case.paused_from);
        let new = spec(&case.new);
        let course = Course::of(&old.spec, &new);
        let future = match course {
            Course::Anew => future(&new, case.now, case.rows, case.ahead),
            _ => Future::default(),
        };
        let due_row = case.due.map(at).filter(|_| course.asks_for_due_row());
        let placed = place(&Sight {
            old: &old,
            spec: &new,
            due_row,
            future: &future,
            now: at(case.now),
        });
        let due = match (case.next, course) {
            (Some(next), _) => DueChange::Replace {
                seen: case.due.map(at),
                next: next.map(|s| due_key(&new, at(s), old.id)),
            },
            (None, Course::Rest) => DueChange::Pause {
                offset: Duration::ZERO,
            },
            (None, _) => DueChange::Keep,
        };
        let name = case.name;
        assert_eq!(placed.due, due, "{name}");
        assert_eq!(placed.paused_from, case.rests.map(at), "{name}");
        let left = case.left.map(|(from, reason)| Left {
            from: at(from),
            until: at(case.now).plus(Duration::from_millis(1)),
            reason,
        });
        assert_eq!(placed.left, left, "{name}");
        assert_eq!(placed.unplan, future.unplan, "{name}");
    }
}

#[test]
fn a_due_row_carries_the_jitter_of_its_definition() {
    let old = task(&json!({"jitter": "9s"}), None);
    let new = spec(&json!({"jitter": "4s"}));
    let (was, will) = (old.spec.jitter_offset(), new.jitter_offset());
    assert_ne!(was, will);
    assert_eq!(Course::of(&old.spec, &new), Course::Carry);
    let due_row = Some(at(20).plus(was));
    let placed = place(&Sight {
        old: &old,
        spec: &new,
        due_row,
        future: &Future::default(),
        now: at(15),
    });
    let DueChange::Replace { seen, next } = placed.due else {
        panic!("{placed:?}");
    };
    assert_eq!(seen, due_row);
    assert_eq!(next.unwrap().at, at(20).plus(will));
    // A rest tells the store how far starts lie behind their instants.
    let paused = spec(&json!({"jitter": "9s", "paused": true}));
    let placed = place(&Sight {
        old: &old,
        spec: &paused,
        due_row: None,
        future: &Future::default(),
        now: at(15),
    });
    assert_eq!(placed.due, DueChange::Pause { offset: was });
}

#[test]
fn a_deletion_leaves_a_row_of_what_is_overdue_and_rests_on_the_due_row() {
    let running = task(&json!({}), None);
    let resting = task(&json!({"paused": true}), Some(20));
    let until = |now: i64| at(now).plus(Duration::from_millis(1));
    for (old, due, now, left) in [
        (&running, Some(40), 35, None),
        (&running, Some(20), 35, Some((20, Reason::TaskDeleted))),
        (&running, Some(35), 35, Some((35, Reason::TaskDeleted))),
        (&running, None, 35, None),
        (&resting, None, 35, Some((20, Reason::Paused))),
        (&resting, None, 15, None),
    ] {
        let (delete, found) = delete(old, due.map(at), at(now));
        assert_eq!((delete.version, delete.seen), (3, due.map(at)));
        let left = left.map(|(from, reason)| Left {
            from: at(from),
            until: until(now),
            reason,
        });
        assert_eq!(found, left, "{due:?} at {now}");
    }
}

#[test]
fn what_is_left_is_counted_up_to_now() {
    let left = |from, until| Left {
        from: at(from),
        until: at(until).plus(Duration::from_millis(1)),
        reason: Reason::Paused,
    };
    let row = |left: Left| left.row(&spec(&json!({})), at(0), &Fuel::endless());
    let skip = row(left(20, 50)).unwrap();
    assert_eq!((skip.first, skip.last, skip.count), (at(20), at(50), 4));
    assert_eq!(row(left(21, 29)), None, "no instant lies in between");
    assert_eq!(row(left(20, 20)).unwrap().count, 1, "this very one");
    let behind = left(20, 50).behind_instant(at(20)).unwrap();
    assert_eq!(row(behind).unwrap().first, at(30));
    assert_eq!(left(20, 20).behind_instant(at(20)), None);
}

#[test]
fn a_new_task_has_a_due_row_unless_it_rests() {
    let id = TaskId::from_i64(9);
    let next = |upsert: &Upsert| match &upsert.due {
        DueChange::Replace { seen: None, next } => next.as_ref().map(|key| key.at),
        other => panic!("{other:?}"),
    };
    let new = create(id, spec(&json!({})), Some(at(20)), at(15));
    assert_eq!((new.expected, new.paused_from), (None, None));
    assert_eq!(next(&new), Some(at(20)));
    let paused = create(id, spec(&json!({"paused": true})), Some(at(20)), at(15));
    assert_eq!(paused.paused_from, Some(at(15)));
    assert_eq!(next(&paused), None);
}

#[test]
fn only_what_is_ahead_of_its_instant_is_taken_back() {
    let old = task(&json!({}), None);
    let run = |s: i64| transitions::occurrence(RunId::from_i64(s), &old, at(s), 1);
    let again = Run {
        attempt: 2,
        ready_at: at(60),
        ..run(10)
    };
    let asked_for = Run {
        origin: Origin::Request,
        ..run(30)
    };
    let waiting = [run(20), again, asked_for, run(30)];
    let unplan = taken_back(old.id, waiting.iter(), at(20));
    assert_eq!(
        unplan.runs,
        [RunId::from_i64(30)],
        "neither an instant that has come, nor the timer of a retry, nor what people asked for"
    );
    assert_eq!(unplan.offset, Duration::ZERO);
}

#[test]
fn a_due_row_at_the_first_instant_says_that_nothing_is_ahead() {
    let ahead = |fields: Value, instant: Option<i64>| {
        may_be_ahead(&task(&fields, None), instant.map(at), at(15))
    };
    assert!(!ahead(json!({}), Some(20)));
    assert!(ahead(json!({}), Some(30)), "20 may be planned");
    assert!(ahead(json!({}), Some(10)), "overdue: looked up");
    assert!(
        ahead(json!({"calendars": "c"}), Some(20)),
        "it may have moved one"
    );
    assert!(
        !ahead(json!({"paused": true}), None),
        "its pause took all back"
    );
}

#[test]
fn instants_near_are_looked_up_and_the_first_behind_them_is_known() {
    let every = |schedule: &str| spec(&json!({"schedule": schedule}));
    let near = future(&every("every 4s"), 15, &[], None).near;
    assert_eq!(near.instants, [at(16), at(20), at(24)]);
    assert_eq!(near.beyond, Some(at(28)));
    let far = future(&every("every 40s"), 15, &[], None);
    assert_eq!(
        (&*far.near.instants, far.open().next),
        (&[][..], Some(at(40)))
    );
    let open = |rows, back| {
        let Open { next, answered } = future(&every("every 4s"), 15, rows, back).open();
        (next, answered)
    };
    assert_eq!(open(&[], None), (Some(at(16)), vec![]));
    assert_eq!(open(&[16, 20], None), (Some(at(24)), vec![]));
    // One that was cancelled keeps its row, and what lies before it is open.
    assert_eq!(open(&[20], None), (Some(at(16)), vec![at(20)]));
    assert_eq!(open(&[16, 24], None), (Some(at(20)), vec![at(24)]));
    assert_eq!(open(&[16, 20], Some(&[20])), (Some(at(20)), vec![]));
    assert_eq!(open(&[16, 20, 24], None), (Some(at(28)), vec![]));
    assert!(
        Near::of(
            &every("every 100ms").timetable(at(0), &|_| None).unwrap(),
            Some(at(15)),
            at(15)
        )
        .is_ok_and(|near| near.instants.len() == 101)
    );
}

#[test]
fn an_interval_keeps_the_instant_that_it_is_counted_from() {
    let mut new = spec(&json!({"anchor": null}));
    fix_anchor(&mut new, None, at(5));
    assert_eq!(new.anchor, Some(at(5)), "a new task's: now");
    let mut again = spec(&json!({"anchor": null, "schedule": "every 30s"}));
    fix_anchor(
        &mut again,
        Some(&task(&json!({"anchor": at(3)}), None)),
        at(5),
    );
    assert_eq!(again.anchor, Some(at(3)), "as it was");
    let mut cron = spec(&json!({"anchor": null, "schedule": "0 8 * * *"}));
    fix_anchor(&mut cron, None, at(5));
    assert_eq!(cron.anchor, None);
    let kiev = |name: &str| spec(&json!({"timezone": name}));
    assert!(same_instants(&kiev("Europe/Kiev"), &kiev("Europe/Kyiv")));
    assert!(!same_instants(&kiev("Europe/Kiev"), &kiev("Europe/Riga")));
}

#[test]
fn a_task_that_should_have_a_due_row_and_has_none_is_put_back_first() {
    let lacks = |fields: Value, due: Option<i64>| lacks_due_row(&task(&fields, None), due.map(at));
    assert!(lacks(json!({}), None));
    assert!(!lacks(json!({}), Some(20)));
    assert!(!lacks(json!({"paused": true}), None));
}
