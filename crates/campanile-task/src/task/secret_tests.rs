//! References in every place that a definition has: what counts, what is data, and what is refused by its field.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::task::TaskSpec;
use campanile_schedule::time::Timestamp;

fn task(value: &Value) -> TaskSpec {
    serde_json::from_value(value.clone()).unwrap()
}

fn refused(value: &Value) -> Invalid {
    task(value).validate(Timestamp::from_ms(0)).unwrap_err()
}

fn find(name: &str) -> Option<String> {
    Some(format!("<{name} & co>"))
}

#[test]
fn a_template_is_read_piece_by_piece() {
    use Part::{Secret, Text};
    let cases: [(&str, &[Part<'_>]); 9] = [
        ("", &[Text("")]),
        ("costs $$5 or ${5}", &[Text("costs $$5 or ${5}")]),
        ("${secret:A}", &[Secret("A")]),
        ("Bearer ${secret:A}", &[Text("Bearer "), Secret("A")]),
        (
            "${secret:A}${secret:B.c-d}",
            &[Secret("A"), Secret("B.c-d")],
        ),
        ("$${secret:A}", &[Text("$"), Text("{secret:A}")]),
        ("$$${secret:A}", &[Text("$"), Secret("A")]),
        (
            "$ ${run.id} ${secret:A}$",
            &[
                Text("$"),
                Text(" "),
                Text("$"),
                Text("{run.id} "),
                Secret("A"),
                Text("$"),
            ],
        ),
        ("€${secret:A}€", &[Text("€"), Secret("A"), Text("€")]),
    ];
    for (text, expected) in cases {
        assert_eq!(parts(text).unwrap(), expected, "{text}");
    }
    for (text, part) in [
        ("${secret:A", "without its `}`"),
        ("${secret:}", "is not the name of a secret"),
        (
            "${secret:../../etc/passwd}",
            "`../../etc/passwd` is not the name",
        ),
        ("${secret:${secret:A}}", "is not the name of a secret"),
        ("${secret:a b}", "is not the name of a secret"),
    ] {
        let told = parts(text).unwrap_err();
        assert!(told.contains(part), "{text}: {told}");
    }
}

#[test]
fn values_are_put_into_declared_fields_and_into_nothing_else() {
    let http = task(&json!({
        "name": "t",
        "handler": { "http": {
            "url": "https://h/${secret:A}?k=${secret:A}&p=$${secret:A}",
            "headers": { "Authorization": "Bearer ${secret:A}", "X-Plain": "$$1" }
        }},
    }));
    http.validate(Timestamp::from_ms(0)).unwrap();
    assert_eq!(names(&http), BTreeSet::from(["A".to_owned()]));
    let HandlerSpec::Http(filled) = fill_handler(&http.handler, &find).unwrap() else {
        panic!("it is http");
    };
    let escaped = "%3CA%20%26%20co%3E";
    assert_eq!(
        filled.url,
        format!("https://h/{escaped}?k={escaped}&p=${{secret:A}}")
    );
    assert_eq!(filled.headers["Authorization"], "Bearer <A & co>");
    assert_eq!(filled.headers["X-Plain"], "$$1");

    let command = task(&json!({
        "name": "t",
        "handler": { "command": {
            "argv": ["/bin/x", "${secret:A}"], "env": { "P": "${secret:B}" }, "stdin": "a ${secret:C}",
        }},
        "payload": { "text": "${secret:D}", "deep": [{ "$secret": "E" }], "own": { "$$secret": "F" },
                     "two": { "$$secret": 1, "b": 2 } },
    }));
    command.validate(Timestamp::from_ms(0)).unwrap();
    assert!(in_arguments(&command) && !in_arguments(&http));
    let expected = ["B", "C", "E"].map(str::to_owned);
    assert_eq!(names(&command), BTreeSet::from(expected));
    let HandlerSpec::Command(filled) = fill_handler(&command.handler, &find).unwrap() else {
        panic!("it is a command");
    };
    assert_eq!(filled.argv[1], "${secret:A}");
    assert_eq!(filled.env["P"], "<B & co>");
    assert_eq!(filled.stdin.unwrap(), "a <C & co>");
    assert_eq!(
        fill_payload(&command.payload, &find).unwrap(),
        json!({ "text": "${secret:D}", "deep": ["<E & co>"], "own": { "$secret": "F" },
                "two": { "$$secret": 1, "b": 2 } })
    );
    let nobody = |_: &str| None;
    let told = fill_payload(&command.payload, &nobody).unwrap_err();
    assert_eq!(told, "the secret `E` is not there");
}

#[test]
fn what_is_wrong_is_refused_by_its_field() {
    let http = |url: &str, header: &str| json!({ "name": "t", "handler": { "http": { "url": url, "headers": { "A": header } } } });
    let payload =
        |payload: Value| json!({ "name": "t", "handler": { "native": "n" }, "payload": payload });
    let external = json!({
        "name": "t", "handler": { "external": { "destination": "q", "reply": "none" } },
        "payload": { "a": [{ "$secret": "A" }] },
    });
    let many: Vec<Value> = (0..=limits::SECRETS_OF_TASK_MAX)
        .map(|n| json!({ "$secret": format!("S{n}") }))
        .collect();
    for (value, field, part) in [
        (
            http("http://h/", "${secret:A"),
            "handler.http.headers.A",
            "without its `}`",
        ),
        (
            http("http://h/${secret:}", "x"),
            "handler.http.url",
            "is not the name",
        ),
        (
            http("http://${secret:H}/", "x"),
            "handler.http.url",
            "path and in the query alone",
        ),
        (
            http("http://h:${secret:H}/", "x"),
            "handler.http.url",
            "path and in the query alone",
        ),
        (
            http("http://h/#${secret:H}", "x"),
            "handler.http.url",
            "path and in the query alone",
        ),
        (payload(json!({ "$secret": 1 })), "payload", "stands alone"),
        (
            payload(json!({ "a": { "$secret": "A", "b": 1 } })),
            "payload.a",
            "stands alone",
        ),
        (
            payload(json!([[{ "$secret": ".." }]])),
            "payload[0][0]",
            "is not the name",
        ),
        (
            payload(Value::Array(many)),
            "payload[64]",
            "over the limit of 64",
        ),
        (
            external,
            "payload.a[0]",
            "let the listener find it in a place of its own",
        ),
    ] {
        let told = refused(&value);
        assert_eq!(told.field, field, "{told}");
        assert!(told.message.contains(part), "{told}");
        assert!(told.message.len() < 400);
    }
}

#[test]
fn what_a_run_brings_of_its_own_names_no_secret() {
    let spec = task(&json!({
        "name": "t", "handler": { "http": { "url": "http://h/?a=${secret:A}" } },
    }));
    let told = check_own(Some(&spec.handler), None).unwrap_err();
    assert_eq!(told.field, "handler.http.url");
    let told = check_own(None, Some(&json!({ "a": [1, { "$secret": "A" }] }))).unwrap_err();
    assert_eq!(told.field, "payload.a[1]");
    assert!(told.message.contains("a task's definition alone"));
    for data in [
        json!("${secret:A}"),
        json!({ "$secret": 1 }),
        json!({ "$secret": "A", "b": 1 }),
    ] {
        check_own(None, Some(&data)).unwrap();
    }
}

/// A piece as it is meant, and as it is written in a template.
fn piece() -> impl Strategy<Value = (String, String)> {
    let name = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}[A-Za-z0-9_]";
    prop_oneof![
        name.prop_map(|name| (format!("<{name} & co>"), format!("${{secret:{name}}}"))),
        "[a-z{}:é ]{0,6}".prop_map(|text| (text.clone(), text)),
        Just(("$".to_owned(), "$$".to_owned())),
    ]
}

proptest! {
    #[test]
    fn what_a_template_is_made_of_is_what_it_says(pieces in prop::collection::vec(piece(), 1..8)) {
        let text: String = pieces.iter().map(|(_, written)| written.as_str()).collect();
        let meant: String = pieces.iter().map(|(meant, _)| meant.as_str()).collect();
        let expected = if is_template(&text) { meant } else { text.clone() };
        prop_assert_eq!(fill(&text, &find, false).unwrap(), expected);
    }

    /// Any text is read or refused, and what is read has no name that is none.
    #[test]
    fn any_text_is_read_or_refused(text in "([$]|[{]|secret:|[}]|[$][{]secret:|[a-z./]|é){0,20}") {
        if let Ok(parts) = parts(&text) {
            for part in parts {
                if let Part::Secret(name) = part {
                    prop_assert!(check_secret_name(name).is_ok());
                }
            }
        }
    }
}
