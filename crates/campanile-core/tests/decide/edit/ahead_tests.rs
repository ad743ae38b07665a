//! What was planned ahead of its instant, and what a rest or a change of instants takes back of it.

use super::*;
use crate::decide::attempt as transitions;
use crate::run::State;
use crate::task::Task;

fn at(s: i64) -> Timestamp {
    Timestamp::from_ms(s * 1_000)
}

fn run(due: i64) -> Run {
    let spec =
        serde_json::json!({"name": "t", "schedule": "every 10s", "handler": {"native": "x"}});
    let spec: TaskSpec = serde_json::from_value(spec).unwrap();
    let task = Task {
        id: TaskId::from_i64(7),
        version: 1,
        spec,
        created_at: at(0),
        updated_at: at(0),
        paused_from: None,
    };
    transitions::occurrence(RunId::from_i64(due), &task, at(due), 1)
}

#[test]
fn only_a_start_that_is_still_to_come_is_taken_back() {
    let none = Duration::ZERO;
    assert!(is_ahead(&run(11), none, at(10)));
    assert!(!is_ahead(&run(10), none, at(10)), "its instant has come");
    assert!(is_ahead(&run(8), Duration::from_secs(3), at(10)), "jitter");
    let blocked = Run {
        limited: true,
        ..run(9)
    };
    assert!(!is_ahead(&blocked, none, at(10)));
    let asked_for = Run {
        origin: Origin::Request,
        ..run(11)
    };
    assert!(!is_ahead(&asked_for, none, at(10)));
    let again = Run {
        attempt: 2,
        ..run(11)
    };
    assert!(!is_ahead(&again, none, at(10)));
}

#[test]
fn a_rest_begins_at_the_first_instant_without_a_row() {
    let taken = || [at(12), at(11)].into_iter();
    assert_eq!(paused_from(at(10), at(10), Some(at(13)), taken()), at(11));
    assert_eq!(
        paused_from(at(10), at(10), Some(at(5)), taken()),
        at(5),
        "overdue ones too"
    );
    assert_eq!(
        paused_from(at(10), at(10), None, std::iter::empty()),
        at(10).plus(std::time::Duration::from_millis(1))
    );
    // One that has come and waits for its jitter has a row at once.
    let come = || [at(9), at(12)].into_iter();
    assert_eq!(paused_from(at(10), at(10), Some(at(13)), come()), at(12));
}

#[test]
fn what_was_claimed_while_it_was_looked_for_is_before_the_rest() {
    // The run for 11 was won between the look at 10 and the end of taking back at 12.
    let none = std::iter::empty();
    assert!(paused_from(at(10), at(12), None, none) > at(12));
    // The run for 11 was taken back, though its instant has come since: the rest answers for it.
    let taken = [at(11)].into_iter();
    assert_eq!(paused_from(at(10), at(12), None, taken), at(11));
    // A clock that was set back between the two.
    let none = std::iter::empty();
    assert!(paused_from(at(10), at(9), None, none) > at(10));
}

#[test]
fn a_rest_answers_what_has_come_and_nothing_that_is_to_come() {
    let spec =
        serde_json::json!({"name": "t", "schedule": "every 10s", "handler": {"native": "x"}});
    let mut spec: TaskSpec = serde_json::from_value(spec).unwrap();
    let row = answered_by_rest(&run(10), &spec, at(10)).unwrap();
    assert_eq!(
        (row.state, row.reason, row.finished_at),
        (State::Skipped, Reason::Paused, Some(at(10)))
    );
    assert_eq!(answered_by_rest(&run(11), &spec, at(10)), None);
    spec.enabled = false;
    let row = answered_by_rest(&run(10), &spec, at(10)).unwrap();
    assert_eq!(row.reason, Reason::Disabled);
}
