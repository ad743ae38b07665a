//! What a failure means for a run: whether it is tried again, and when.

use std::time::Duration;

use super::*;
use crate::task::Retry;
use crate::task::{Classes, HandlerSpec};

const NOW: Timestamp = Timestamp::from_ms(1_000_000);

fn spec(retry: serde_json::Value) -> TaskSpec {
    let mut spec = TaskSpec::for_handler(HandlerSpec::Native("any".to_owned()));
    spec.retry = serde_json::from_value(retry).unwrap();
    spec
}

fn again(failure: Failure, spec: &TaskSpec) -> bool {
    let end = conclude(&Outcome::Failed(failure), spec, 0, NOW, 0);
    matches!(end, End::Again { .. })
}

fn wait(failure: Failure, spec: &TaskSpec, random: u64) -> Duration {
    match conclude(&Outcome::Failed(failure), spec, 0, NOW, random) {
        End::Again { ready_at, .. } => ready_at.since(NOW),
        other => panic!("{other:?}"),
    }
}

fn status(status: u16) -> Failure {
    let failure = match status {
        429 | 500.. => Failure::retry("busy"),
        _ => Failure::fatal("no"),
    };
    failure.with_class(Class::Status(status))
}

#[test]
fn lists_of_classes_decide_what_is_tried_again_and_never_on_wins() {
    let none = spec(serde_json::json!({"max_attempts": 5}));
    assert!(again(status(503), &none) && !again(status(404), &none));

    let on = spec(serde_json::json!({"max_attempts": 5, "on": [404, "503", "exit:75"]}));
    assert!(again(status(404), &on) && again(status(503), &on));
    assert!(!again(status(500), &on));
    assert!(again(Failure::retry("x").with_class(Class::Exit(75)), &on));
    assert!(!again(Failure::retry("x").with_class(Class::Exit(1)), &on));

    let more = spec(serde_json::json!({"max_attempts": 5, "on": ["default", "404"]}));
    assert!(again(status(404), &more) && again(status(500), &more) && !again(status(410), &more));

    let never =
        spec(serde_json::json!({"max_attempts": 5, "on": ["5xx"], "never_on": ["501", "panic"]}));
    assert!(again(status(500), &never) && !again(status(501), &never));
    let but = spec(serde_json::json!({"max_attempts": 5, "never_on": ["timeout"]}));
    let end = conclude(&Outcome::TimedOut, &but, 0, NOW, 0);
    assert_eq!(end, End::Failed(Reason::Timeout));
    assert!(again(status(503), &but));
    let refused = Failure::not_allowed("private");
    assert!(!again(refused.clone(), &none));
    let end = conclude(&Outcome::Failed(refused), &none, 0, NOW, 0);
    assert_eq!(end, End::Failed(Reason::NotAllowed));
}

#[test]
fn lost_runs_start_again_unless_the_task_says_no() {
    assert!(Retry::default().takes_lost());
    let on: Classes = ["503".to_owned()].into_iter().collect();
    assert!(
        Retry {
            on,
            ..Retry::default()
        }
        .takes_lost()
    );
    let never_on: Classes = ["lost".to_owned()].into_iter().collect();
    assert!(
        !Retry {
            never_on,
            ..Retry::default()
        }
        .takes_lost()
    );
}

#[test]
fn a_fixed_wait_is_at_least_what_it_says() {
    let fixed = spec(
        serde_json::json!({"max_attempts": 9, "backoff": "fixed", "initial": "10m", "max": "1s"}),
    );
    for random in [0, 1, 59_999, 60_000, 60_001, u64::MAX - 1, u64::MAX] {
        let wait = wait(Failure::retry("x"), &fixed, random);
        assert!((600_000..=660_000).contains(&wait.as_millis()), "{wait:?}");
    }
    let year = spec(serde_json::json!({"max_attempts": 9, "backoff": "fixed", "initial": "365d"}));
    assert!(wait(Failure::retry("x"), &year, u64::MAX) >= Duration::from_secs(365 * 86_400));
}

#[test]
fn an_exponential_wait_lies_between_half_of_its_length_and_the_whole() {
    let retry: Retry =
        serde_json::from_value(serde_json::json!({"initial": "1s", "max": "10s"})).unwrap();
    for (failures, whole) in [
        (0, 1_000),
        (1, 2_000),
        (3, 8_000),
        (4, 10_000),
        (40, 10_000),
        (4_000, 10_000),
    ] {
        for random in [0, 499, 500, u64::MAX] {
            let wait = backoff(&retry, failures, random).as_millis();
            assert!(
                (whole / 2..=whole).contains(&wait),
                "{failures} failures: {wait}"
            );
        }
    }
}

#[test]
fn what_a_target_asks_for_is_the_least_wait_even_over_the_longest() {
    let short = spec(serde_json::json!({"max_attempts": 5, "initial": "1s", "max": "2s"}));
    let asked = |seconds| status(429).after(Duration::from_secs(seconds));
    assert_eq!(wait(asked(4), &short, 0), Duration::from_secs(4));
    assert_eq!(
        wait(asked(3_600), &short, u64::MAX),
        Duration::from_secs(3_600)
    );
    // A wait that is longer anyway stays.
    assert_eq!(wait(asked(0), &short, 0), Duration::from_millis(500));
    // Nobody keeps a run waiting for ever.
    assert_eq!(wait(asked(u64::MAX), &short, 0), limits::RETRY_AFTER_MAX);
}

#[test]
fn a_refusal_costs_nothing_whatever_the_task_says() {
    for more in [
        serde_json::json!({"max_attempts": 1}),
        serde_json::json!({"max_attempts": 1, "never_on": ["not-allowed", "error", "default"]}),
    ] {
        for start in [StartMode::AtLeastOnce, StartMode::AtMostOnce] {
            let mut spec = spec(more.clone());
            spec.start = start;
            for (earlier, wait_ms) in [(0, 250), (1, 500), (3, 2_000), (40, 60_000)] {
                let why = "it has no such handler".to_owned();
                let end = conclude(&Outcome::Refused { why, earlier }, &spec, 7, NOW, 0);
                let ready_at = NOW.plus(Duration::from_millis(wait_ms));
                assert_eq!(end, End::Refused { ready_at });
            }
        }
    }
}

fn at(s: i64) -> Timestamp {
    Timestamp::from_ms(s * 1_000)
}

fn scheduled() -> Run {
    let spec = TaskSpec::for_handler(HandlerSpec::Native("any".to_owned()));
    request(RunId::from_i64(1), None, &spec, at(10))
}

#[test]
fn a_deadline_binds_until_an_attempt_has_started() {
    let waits = Run {
        deadline_at: Some(at(20)),
        ..scheduled()
    };
    let claim = ClaimId::from_i64(7);
    let won = |run: &Run| super::claim(run, run.attempt, claim, NodeId::from_i64(1), at(12));
    let back = |run: &Run, end: End| finish(run, run.attempt, claim, end, at(13), None).unwrap();
    let running = won(&waits).unwrap();
    for end in [
        End::Refused { ready_at: at(14) },
        End::Abandoned { ready_at: at(14) },
    ] {
        let refused = back(&running, end);
        assert_eq!(start_deadline(&refused), Some(at(20)), "{end:?}");
        assert_eq!(look_at(&refused), at(14));
        // However often.
        let refused = back(
            &won(&Run {
                ready_at: at(12),
                ..refused
            })
            .unwrap(),
            end,
        );
        assert_eq!(refused.attempt, 3);
        assert!(is_past_deadline(&refused, at(20)) && !is_past_deadline(&refused, at(19)));
        assert!(super::claim(&refused, 3, claim, NodeId::from_i64(1), at(20)).is_none());
        let dropped = drop_waiting(&refused, 3, Reason::StartDeadline, at(20)).unwrap();
        assert_eq!(dropped.state, State::Skipped);
    }
    let long = back(&running, End::Refused { ready_at: at(60) });
    assert_eq!(look_at(&long), at(20), "it is looked at when it is over");
    for why in [Reason::Error, Reason::Lost, Reason::None] {
        let end = End::Again {
            ready_at: at(14),
            why,
        };
        let again = back(&running, end);
        assert_eq!((start_deadline(&again), look_at(&again)), (None, at(14)));
        // What is refused after it has started is not bound either.
        let won = won(&Run {
            ready_at: at(12),
            ..again
        })
        .unwrap();
        let refused = back(&won, End::Refused { ready_at: at(60) });
        assert_eq!(
            (start_deadline(&refused), look_at(&refused)),
            (None, at(60))
        );
    }
    // An older program kept the deadline of what had started.
    let older = Run {
        attempt: 2,
        started_at: Some(at(12)),
        ..waits
    };
    assert_eq!(start_deadline(&older), None);
}

#[test]
fn a_late_start_is_a_violation() {
    let late = Run {
        deadline_at: Some(at(20)),
        started_at: Some(at(20)),
        ..scheduled()
    };
    let violation = crate::decide::invariants::never_late(&late).unwrap_err();
    assert_eq!(violation.invariant, "I14");
}
