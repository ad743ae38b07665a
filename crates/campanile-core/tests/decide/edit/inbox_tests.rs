//! What becomes of rows of the inbox: which are runs, which are refused, and which say the same again.

use super::*;

fn decided(request: Option<&str>) -> Decided {
    let left = Left {
        id: 7,
        request: request.map(str::to_owned),
    };
    let now = Timestamp::from_ms(1_800_000_000_000);
    let settling = decide(open(&left), &[], RunId::floor(now), now);
    assert_eq!(settling.id, 7);
    settling.decided
}

#[test]
fn a_request_becomes_a_run_that_tells_where_it_came_from() {
    let text = r#"{"handler": {"native": "greet"}, "payload": 1, "idempotency_key": "k", "timeout": "5s"}"#;
    let Decided::Run(submission) = decided(Some(text)) else {
        panic!("refused");
    };
    assert_eq!(submission.run.origin, Origin::Inbox);
    assert!(submission.key.is_some() && submission.spec.is_some());
}

#[test]
fn as_many_are_read_at_once_as_fit() {
    let large = limits::BODY_BYTES_MAX;
    assert_eq!(fit([]), 0);
    assert_eq!(fit([usize::MAX, 1, 1]), 3);
    assert_eq!(fit([large; 10]), limits::INBOX_BYTES_MAX / large);
    assert_eq!(fit(vec![1; 2_000]), limits::INBOX_ROWS_MAX);
}

#[test]
fn what_is_wrong_is_refused_with_its_reason() {
    let key = format!(
        r#"{{"handler": {{"native": "x"}}, "idempotency_key": "{}"}}"#,
        "k".repeat(500)
    );
    for (text, part) in [
        (None, "longer than"),
        (Some("{"), "can't be read"),
        (Some("[]"), "no JSON object"),
        (Some(r#"["a-task"]"#), "no JSON object"),
        (Some("{}"), "task: is missing"),
        (Some(r#"{"task": "gone"}"#), "no task `gone`"),
        (
            Some(r#"{"handler": {"native": "x"}, "color": 1}"#),
            "unknown field `color`",
        ),
        (
            Some(r#"{"handler": {"native": "x"}, "priority": 12}"#),
            "priority",
        ),
        (Some(key.as_str()), "idempotency_key"),
    ] {
        let Decided::Refused(why) = decided(text) else {
            panic!("{text:?}");
        };
        assert!(why.contains(part), "{text:?}: {why}");
    }
}
