//! The predicates against histories that break them.

use super::*;
use crate::decide::attempt as transitions;
use crate::task::{Task, TaskSpec};

/// Planned ahead and cancelled, before the rest took back what was planned with it.
#[test]
fn a_rest_is_broken_by_what_runs_and_not_by_what_was_cancelled_before() {
    let at = Timestamp::from_ms;
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
    let run = transitions::occurrence(RunId::from_i64(1), &task, at(2_000), 1);
    let judged = |run: Run| {
        a_rest_holds(&Snapshot {
            resting: vec![(task.id, at(1_000))],
            runs: vec![run],
            ..Snapshot::default()
        })
    };
    assert!(judged(run.clone()).is_err());
    let cancelled = transitions::cancel(&run, at(500)).1.unwrap();
    assert_eq!(judged(cancelled.clone()), Ok(()));
    let started = Run {
        started_at: Some(at(400)),
        ..cancelled
    };
    assert!(judged(started).is_err());
}
