//! What a schedule after the end of a run means, and what can't stand beside it.

use std::time::Duration;

use campanile_schedule::time::Timestamp;

use super::Chain;
use crate::task::TaskSpec;

fn spec(more: serde_json::Value) -> TaskSpec {
    let mut spec =
        serde_json::json!({"name": "t", "schedule": "after 10m", "handler": {"native": "x"}});
    let fields = spec.as_object_mut().unwrap();
    let serde_json::Value::Object(more) = more else {
        panic!("{more} is no object")
    };
    fields.extend(more);
    serde_json::from_value(spec).unwrap()
}

const MINUTE_MS: i64 = 60_000;

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_ms(minutes * MINUTE_MS)
}

fn chain(more: serde_json::Value) -> Chain {
    Chain::of(&spec(more)).unwrap()
}

#[test]
fn the_next_is_due_one_delay_after_the_end() {
    let plain = chain(serde_json::json!({}));
    assert_eq!(plain.delay, Duration::from_secs(600));
    assert_eq!(plain.next(at(0), at(7)), Some(at(17)));
    // The clock went back while it ran: instants only grow.
    assert_eq!(plain.next(at(30), at(7)), Some(at(40)));
}

#[test]
fn bounds_begin_and_end_it() {
    let bounded = chain(serde_json::json!({
        "starts_at": "1970-01-01T01:00:00Z", "ends_at": "1970-01-01T02:00:00Z"
    }));
    // A bound that was moved behind the end of a run is where it begins anew.
    assert_eq!(bounded.next(at(0), at(5)), Some(at(60)));
    assert_eq!(bounded.next(at(60), at(61)), Some(at(71)));
    assert_eq!(bounded.next(at(60), at(110)), Some(at(120)));
    assert_eq!(bounded.next(at(60), at(111)), None);
}

#[test]
fn what_rests_puts_nothing() {
    for rest in [
        serde_json::json!({"paused": true}),
        serde_json::json!({"enabled": false}),
    ] {
        assert_eq!(chain(rest).next(at(0), at(1)), None);
    }
}

#[test]
fn other_schedules_have_no_chain() {
    for schedule in [
        serde_json::json!("every 10m"),
        serde_json::json!(["after 10m", "after 20m"]),
        serde_json::json!("after dinner"),
    ] {
        let other = spec(serde_json::json!({"schedule": schedule}));
        assert_eq!(Chain::of(&other), None, "{schedule}");
    }
    let listed = spec(serde_json::json!({"schedule": ["after 10m"]}));
    assert!(Chain::of(&listed).is_some());
}

#[test]
fn what_has_no_meaning_beside_it_is_refused_by_its_name() {
    for (field, value) in [
        ("jitter", serde_json::json!("5s")),
        ("calendars", serde_json::json!("holidays")),
        ("max_count", serde_json::json!(3)),
        ("schedule", serde_json::json!(["after 10m", "every 1h"])),
        ("schedule", serde_json::json!(["after 10m", "after 1h"])),
        ("schedule", serde_json::json!("after 1ms")),
    ] {
        let wrong = spec(serde_json::json!({field: value}));
        let refused = wrong.validate(at(0)).unwrap_err();
        assert_eq!(refused.field, field, "{refused}");
    }
    assert_eq!(spec(serde_json::json!({})).validate(at(0)), Ok(()));
    let every = spec(serde_json::json!({"schedule": "every 1m", "jitter": "5s"}));
    assert_eq!(every.validate(at(0)), Ok(()));
}
