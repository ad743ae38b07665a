//! What was planned by a clock that was ahead, and what of it is taken back when it is set right.

use super::*;
use crate::decide::attempt as transitions;
use crate::decide::occurrences::Skip;
use crate::task::{Task, TaskSpec};

fn at(s: i64) -> Timestamp {
    Timestamp::from_ms(s * 1_000)
}

fn task() -> Task {
    let spec =
        serde_json::json!({"name": "t", "schedule": "every 10s", "handler": {"native": "x"}});
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

fn run(due: i64) -> Run {
    transitions::occurrence(RunId::from_i64(due), &task(), at(due), 1)
}

fn started(due: i64) -> Run {
    Run {
        state: State::Running,
        ..run(due)
    }
}

fn skip(first: i64, last: i64, reason: Reason) -> Run {
    let range = Skip {
        first: at(first),
        last: at(last),
        count: 2,
        reason,
        moved_to: None,
    };
    transitions::skip(RunId::from_i64(first), &task(), &range, 1, at(last))
}

#[test]
fn what_has_not_started_is_taken_back_and_what_has_is_passed_over() {
    // At 30 the clock jumped to 100; it is 40 again. The policy let the last one run.
    let rows = [
        skip(40, 80, Reason::Misfire),
        started(90),
        started(100),
        run(110),
        run(120),
    ];
    let parts = parts(&rows, at(45));
    assert_eq!(parts.len(), 1);
    let part = &parts[0];
    assert_eq!(
        part.from,
        Some(at(40)),
        "the range has begun: again from there"
    );
    assert_eq!(part.runs, [run(120), run(110)]);
    assert_eq!(part.skips, [RunId::from_i64(40)]);
    assert_eq!(part.answered, [at(90), at(100)]);
}

#[test]
fn where_everything_has_started_nothing_goes_back() {
    let parts = parts(&[started(50), started(60)], at(45));
    assert_eq!(parts.len(), 1);
    assert_eq!((parts[0].from, parts[0].runs.len()), (None, 0));
    assert_eq!(parts[0].answered, [at(50), at(60)]);
    // A run of a request, and what has come, are left alone.
    let asked = Run {
        origin: Origin::Request,
        ..run(60)
    };
    assert!(!is_early(&asked, at(45)) && !is_early(&run(45), at(45)));
    assert_eq!(first_taken_back(&[asked, run(40)], at(45)), None);
}

#[test]
fn what_an_edit_left_behind_is_not_decided_again_once_it_has_begun() {
    let rest = skip(40, 70, Reason::Paused);
    let rows = [rest.clone(), run(60), run(80)];
    assert_eq!(first_taken_back(&rows, at(45)), Some(at(80)));
    // One that has not begun stands for nothing.
    assert_eq!(first_taken_back(&[rest], at(35)), Some(at(40)));
}

#[test]
fn what_is_caught_up_behind_a_start_to_come_is_taken_back() {
    let late = Run {
        ready_at: at(200),
        ..run(30)
    };
    assert!(is_early(&late, at(45)));
    assert_eq!(first_taken_back(&[late], at(45)), Some(at(30)));
}

#[test]
fn much_is_taken_back_from_its_end() {
    let most = i64::try_from(limits::TAKE_BACK_ROWS_MAX).unwrap();
    let mut rows: Vec<Run> = (0..most + 10).map(|n| run(100 + n)).collect();
    rows[0] = started(100);
    rows[300] = started(400);
    let parts = parts(&rows, at(45));
    let froms: Vec<_> = parts.iter().map(|p| p.from.unwrap()).collect();
    assert_eq!(froms, [at(109), at(101)]);
    assert_eq!(parts[0].answered, [at(400)]);
    assert_eq!(parts[1].answered, [at(100)]);
}
