//! What is masked, what is not, and that no mask comes back as a value.

use serde_json::json;

use super::*;
use campanile_schedule::time::Timestamp;

fn masks() -> Masks {
    Masks::with(&["iban".to_owned(), "card number".to_owned()]).unwrap()
}

#[test]
fn names_are_known_by_their_words() {
    let masks = masks();
    for name in [
        "password",
        "DB_PASSWORD",
        "PGPASSWORD",
        "dbPassword",
        "X-Api-Key",
        "apiKey",
        "APIKey",
        "api_key",
        "token",
        "accessToken",
        "Authorization",
        "Proxy-Authorization",
        "Set-Cookie",
        "client_secret",
        "AWS_SECRET_ACCESS_KEY",
        "private-key",
        "privateKey",
        "credential",
        "credentials",
        "passwd",
        "X-Auth",
        "ssh_key",
        "customer.IBAN",
        "cardNumber",
        "connectionString",
        "secret_id",
    ] {
        assert!(masks.hides(name), "{name}");
    }
    for name in [
        "",
        "key",
        "name",
        "passenger",
        "compass",
        "tokenizer",
        "max_tokens",
        "secretary",
        "author",
        "monkey",
        "keyboard",
        "token_url",
        "passwordFile",
        "secret_name",
        "idempotency_key",
        "bypass",
        "number",
    ] {
        assert!(!masks.hides(name), "{name}");
    }
    assert!(!Masks::default().hides("iban"));
    assert!(Masks::with(&["--".to_owned()]).is_err());
    assert!(Masks::with(&vec!["a".to_owned(); 101]).is_err());
}

#[test]
fn texts_lose_what_follows_a_hidden_name_and_nothing_else() {
    for (text, expected) in [
        ("nothing: here=1", "nothing: here=1"),
        ("--password=hunter2 -v", "--password=M -v"),
        ("DB_PASSWORD='a b' x", "DB_PASSWORD='M' x"),
        (
            "https://h/p?api_key=abc&z=1#f",
            "https://h/p?api_key=M&z=1#f",
        ),
        ("postgres://u:pa/ss@h", "postgres://u:pa/ss@h"),
        ("postgres://u:hunter2@h/db?x=1", "postgres://u:M@h/db?x=1"),
        (
            "{\"token\": \"a\\\"b\", \"n\": 1}",
            "{\"token\": \"M\", \"n\": 1}",
        ),
        (
            "{\\\"token\\\": \\\"ab\\\", \\\"n\\\": 1}",
            "{\\\"token\\\": \\\"M\\\", \\\"n\\\": 1}",
        ),
        (
            "Authorization: Bearer a.b.c\r\nHost: h",
            "Authorization: M\r\nHost: h",
        ),
        ("set-cookie: sid=1; Path=/", "set-cookie: M"),
        ("password: x, token: y", "password: M, token: M"),
        ("password=", "password="),
        ("password={\"a\": 1}", "password={\"a\": 1}"),
        (
            "password=${secret:A} token=b",
            "password=${secret:A} token=M",
        ),
        ("é password=ö€ ü", "é password=M ü"),
        ("token=token=x", "token=M"),
        ("password: \"open", "password: \"M"),
    ] {
        let expected = expected.replace('M', MASK);
        let masked = masks().text(text).into_owned();
        assert_eq!(masked, expected, "{text}");
        assert_eq!(
            masks().text(&masked),
            masked,
            "masking a masked text changes nothing"
        );
    }
}

fn spec(value: &Value) -> TaskSpec {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn definitions_show_references_and_mask_the_rest() {
    let mut http = spec(&json!({
        "name": "t",
        "handler": { "http": {
            "url": "https://h/?token=abc&q=1",
            "headers": { "Authorization": "Bearer ${secret:K}", "X-Api-Key": "abc", "Accept": "text/plain",
                         "Cookie": "a=${secret:K}; b=2" },
        }},
        "payload": { "db": { "password": "hunter2", "port": 5432 }, "token": 7, "credentials": { "user": "u", "ok": true },
                     "secret": { "$secret": "S" }, "args": ["--token", "abc", "x"], "password": null },
    }));
    masks().task(&mut http);
    let shown = serde_json::to_value(&http).unwrap();
    let handler = &shown["handler"]["http"];
    assert_eq!(handler["url"], format!("https://h/?token={MASK}&q=1"));
    assert_eq!(
        handler["headers"],
        json!({ "Authorization": "Bearer ${secret:K}", "X-Api-Key": MASK, "Accept": "text/plain",
                "Cookie": format!("{MASK}${{secret:K}}{MASK}") })
    );
    assert_eq!(
        shown["payload"],
        json!({ "db": { "password": MASK, "port": 5432 }, "token": MASK, "credentials": { "user": MASK, "ok": true },
                "secret": { "$secret": "S" }, "args": ["--token", MASK, "x"], "password": null })
    );
    let mut command = spec(&json!({
        "name": "t",
        "handler": { "command": { "argv": ["/bin/x", "--password", "hunter2", "--token=abc", "-v"],
                                  "env": { "API_TOKEN": "abc", "MODE": "fast" }, "stdin": "password=hunter2\n" }},
    }));
    masks().task(&mut command);
    let HandlerSpec::Command(command) = command.handler else {
        panic!("it is a command");
    };
    assert_eq!(
        command.argv,
        [
            "/bin/x",
            "--password",
            MASK,
            &format!("--token={MASK}"),
            "-v"
        ]
    );
    assert_eq!(
        (
            command.env["API_TOKEN"].as_str(),
            command.env["MODE"].as_str()
        ),
        (MASK, "fast")
    );
    assert_eq!(command.stdin.unwrap(), format!("password={MASK}\n"));
}

#[test]
fn a_difference_tells_that_a_hidden_value_changed_and_never_what_it_is() {
    let change = |path: &str, before: Value, after: Value| {
        let (mut before, mut after) = (Some(before), Some(after));
        masks().change(path, &mut before, &mut after);
        (before.unwrap(), after.unwrap())
    };
    let header = "handler.http.headers.X-Api-Key";
    assert_eq!(
        change(header, json!("abc"), json!("abd")),
        (json!(MASK), json!(CHANGED))
    );
    assert_eq!(
        change(header, json!("abc"), json!("${secret:K}")),
        (json!(MASK), json!("${secret:K}"))
    );
    assert_eq!(
        change(
            "handler.http.url",
            json!("http://h?token=a&b=1"),
            json!("http://h?token=b&b=1")
        ),
        (
            json!(format!("http://h?token={MASK}&b=1")),
            json!(format!("http://h?token={CHANGED}&b=1"))
        )
    );
    assert_eq!(
        change(
            "handler.command.argv",
            json!(["x", "--token", "a"]),
            json!(["x", "--token", "b"])
        ),
        (
            json!(["x", "--token", MASK]),
            json!(["x", "--token", CHANGED])
        )
    );
    assert_eq!(
        change(
            "payload",
            json!({ "a": 1, "password": "x" }),
            json!({ "a": 1, "password": "y" })
        ),
        (
            json!({ "a": 1, "password": MASK }),
            json!({ "a": 1, "password": CHANGED })
        )
    );
    assert_eq!(change("priority", json!(4), json!(5)), (json!(4), json!(5)));
    let (mut before, mut after) = (None, Some(json!("abc")));
    masks().change(header, &mut before, &mut after);
    assert_eq!((before, after), (None, Some(json!(MASK))));
}

#[test]
fn a_mask_is_not_taken_for_a_value() {
    for (value, field) in [
        (
            json!({ "name": "t", "handler": { "http": { "url": "http://h/", "headers": { "Authorization": MASK }}}}),
            "handler.http.headers.Authorization",
        ),
        (
            json!({ "name": "t", "handler": { "http": { "url": format!("http://h/?token={MASK}") }}}),
            "handler.http.url",
        ),
        (
            json!({ "name": "t", "handler": { "command": { "argv": ["/bin/x", "-p", MASK] }}}),
            "handler.command.argv[2]",
        ),
        (
            json!({ "name": "t", "handler": { "command": { "argv": ["/bin/x"], "env": { "A": CHANGED }}}}),
            "handler.command.env.A",
        ),
        (
            json!({ "name": "t", "handler": { "native": "n" }, "payload": { "a": [1, { "b": MASK }] }}),
            "payload.a[1].b",
        ),
    ] {
        let told = spec(&value).validate(Timestamp::from_ms(0)).unwrap_err();
        assert_eq!(told.field, field);
        assert!(told.message.contains("reference to a secret"), "{told}");
    }
}
