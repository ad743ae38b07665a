//! Idempotency keys: their scopes, and which requests say the same.

use super::*;
use serde_json::json;

fn content(payload: &Value) -> Content<'_> {
    Content {
        handler: None,
        payload: Some(payload),
        queue: None,
        priority: None,
        run_at: None,
        retry: None,
        timeout: None,
    }
}

#[test]
fn a_scope_is_spelled_and_read() {
    let task = TaskId::from_i64(77);
    for scope in [
        Scope::Task(task),
        Scope::Handler("native:a:b".to_owned()),
        Scope::Engine,
    ] {
        assert_eq!(scope.to_string().parse(), Ok(scope));
    }
    assert!("task:x".parse::<Scope>().is_err() && "".parse::<Scope>().is_err());
    for refused in ["", "native:", "engine", "task:1", "Http"] {
        assert!(Scope::read_handler(refused).is_err(), "{refused}");
    }
}

#[test]
fn what_is_said_counts_and_how_it_is_spelled_does_not() {
    let scope = Scope::Task(TaskId::from_i64(1));
    let (one, same) = (
        json!({"a": 1, "b": [{"x": 1, "y": 2}]}),
        json!({"b": [{"y": 2, "x": 1}], "a": 1}),
    );
    let first = content(&one).digest(&scope);
    assert_eq!(content(&same).digest(&scope), first);
    let other = json!({"a": 1, "b": [{"x": 1, "y": 3}]});
    let null = Value::Null;
    let at = |ms| Some(Timestamp::from_ms(ms));
    let others = [
        content(&other).digest(&scope),
        content(&null).digest(&scope),
        content(&one).digest(&Scope::Engine),
        Content {
            queue: Some("q"),
            ..content(&one)
        }
        .digest(&scope),
        Content {
            priority: Some(4),
            ..content(&one)
        }
        .digest(&scope),
        Content {
            run_at: at(0),
            ..content(&one)
        }
        .digest(&scope),
        Content {
            run_at: at(1),
            ..content(&one)
        }
        .digest(&scope),
    ];
    for (n, digest) in others.iter().enumerate() {
        assert_ne!(*digest, first, "{n}");
        assert!(!others[n + 1..].contains(digest), "{n}");
    }
}

#[test]
fn a_key_without_content_is_the_same_as_any() {
    let key = |content| Key {
        scope: Scope::Engine,
        text: "k".to_owned(),
        content,
    };
    let digest = |text: &str| Digest::from_spelling(text.to_owned());
    assert!(key(None).is_same(Some(&digest("a"))) && key(Some(digest("a"))).is_same(None));
    assert!(key(Some(digest("a"))).is_same(Some(&digest("a"))));
    assert!(!key(Some(digest("a"))).is_same(Some(&digest("b"))));
}
