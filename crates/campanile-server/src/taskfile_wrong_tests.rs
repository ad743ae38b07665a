//! What people write wrong, in all three forms and as a body of the API: each refusal names the field and its line, says
//! what belongs there, offers what was probably meant, and holds no word of the program's own types.

use serde_json::json;

use super::*;

/// A field as it is written wrong (JSON), the field that is named, a part of what is said, and the offer (TOML).
const WRONG: &[(&str, &str, &str, &str)] = &[
    (
        r#""handler": {"command": "echo hi"}"#,
        "handler.command",
        "the text \"echo hi\" stands where an object with fields belongs",
        r#"handler = { command = { argv = ["echo", "hi"] } }"#,
    ),
    (
        r#""handler": {"command": ["/bin/x", "a"]}"#,
        "handler.command",
        "a list stands where",
        r#"handler = { command = { argv = ["/bin/x", "a"] } }"#,
    ),
    (
        r#""handler": {"command": {"argv": "/bin/x a"}}"#,
        "handler.command.argv",
        "stands where a list belongs",
        r#"handler = { command = { argv = ["/bin/x", "a"] } }"#,
    ),
    (
        r#""handler": {"command": {"argv": ["/bin/x", 5]}}"#,
        "handler.command.argv[1]",
        "the number 5 stands where a text belongs",
        "",
    ),
    (
        r#""handler": {"command": {}}"#,
        "handler.command.argv",
        "is missing",
        r#"argv = ["/usr/bin/df", "-h"]"#,
    ),
    (
        r#""handler": {"command": {"argv": ["/x"], "env": ["A=1", "B=2"]}}"#,
        "handler.command.env",
        "a list stands where an object",
        r#"env = { A = "1", B = "2" }"#,
    ),
    (
        r#""handler": {"command": {"argv": ["/x"], "env": {"A": 1}}}"#,
        "handler.command.env.A",
        "the number 1 stands where a text belongs",
        r#"env = { A = "1" }"#,
    ),
    (
        r#""handler": {"command": {"argv": ["/x"], "cwd": "/tmp"}}"#,
        "handler.command.cwd",
        "is not known here",
        "",
    ),
    (
        r#""handler": {"command": {"argv": ["/x"], "stdn": "y"}}"#,
        "handler.command.stdn",
        "did you mean `stdin`?",
        "",
    ),
    (
        r#""handler": {"command": {"argv": ["/x"], "stdin": ["y"]}}"#,
        "handler.command.stdin",
        "a list stands where a text belongs",
        r#"stdin = "y""#,
    ),
    (
        r#""handler": {"command": true}"#,
        "handler.command",
        "true stands where an object with fields belongs",
        "",
    ),
    (
        r#""handler": {"comand": {"argv": ["/x"]}}"#,
        "handler",
        "`comand` is not known here: did you mean `command`?",
        "",
    ),
    (
        r#""handler": {"shell": "echo"}"#,
        "handler",
        "write `http`, `command`, `native` or `external`",
        "",
    ),
    (
        r#""handler": "echo hi""#,
        "handler",
        "stands where one of `http`, `command`, `native`, `external` with its fields belongs",
        r#"handler = { command = { argv = ["echo", "hi"] } }"#,
    ),
    (
        r#""handler": "https://example.com/x""#,
        "handler",
        "stands where",
        r#"handler = { http = { url = "https://example.com/x" } }"#,
    ),
    (
        r#""handler": "report""#,
        "handler",
        "stands where",
        r#"handler = { native = "report" }"#,
    ),
    (
        r#""handler": "native""#,
        "handler",
        "stands where",
        r#"handler = { native = "native" }"#,
    ),
    (
        r#""handler": ["/bin/x"]"#,
        "handler",
        "a list stands where",
        r#"handler = { command = { argv = ["/bin/x"] } }"#,
    ),
    (
        r#""handler": {}"#,
        "handler",
        "an empty object stands where one of `http`, `command`, `native`, `external` with its fields belongs",
        "",
    ),
    (
        r#""handler": {"native": "x", "http": {"url": "http://a/"}}"#,
        "handler",
        "an object with fields stands where one of `http`",
        "",
    ),
    (
        r#""handler": 5"#,
        "handler",
        "the number 5 stands where",
        "",
    ),
    (
        r#""handler": {"http": "https://example.com/x"}"#,
        "handler.http",
        "stands where an object with fields",
        r#"handler = { http = { url = "https://example.com/x" } }"#,
    ),
    (
        r#""handler": {"http": {}}"#,
        "handler.http.url",
        "is missing",
        r#"url = "https://example.com/hook""#,
    ),
    (
        r#""handler": {"http": {"url": ["http://a/"]}}"#,
        "handler.http.url",
        "a list stands where a text belongs",
        r#"handler = { http = { url = "http://a/" } }"#,
    ),
    (
        r#""handler": {"http": {"url": "http://a/", "expect": 200}}"#,
        "handler.http.expect",
        "the number 200 stands where a list belongs",
        "expect = [200]",
    ),
    (
        r#""handler": {"http": {"url": "http://a/", "expect": ["ok"]}}"#,
        "handler.http.expect[0]",
        "the text \"ok\" stands where a whole number from 0 to 65535 belongs",
        "",
    ),
    (
        r#""handler": {"http": {"url": "http://a/", "expect": [70000]}}"#,
        "handler.http.expect[0]",
        "the number 70000 stands where a whole number from 0 to 65535",
        "",
    ),
    (
        r#""handler": {"http": {"url": "http://a/", "headers": "A: b"}}"#,
        "handler.http.headers",
        "stands where an object with fields",
        "",
    ),
    (
        r#""handler": {"http": {"url": "http://a/", "headers": {"A": true}}}"#,
        "handler.http.headers.A",
        "true stands where a text",
        r#"headers = { A = "true" }"#,
    ),
    (
        r#""handler": {"http": {"url": "http://a/", "body": "x"}}"#,
        "handler.http.body",
        "is not known here",
        "",
    ),
    (
        r#""handler": {"http": {"URL": "http://a/"}}"#,
        "handler.http.URL",
        "did you mean `url`?",
        "",
    ),
    (
        r#""handler": {"native": {"name": "x"}}"#,
        "handler.native",
        "an object with fields stands where a text",
        r#"handler = { native = "x" }"#,
    ),
    (
        r#""handler": {"native": 7}"#,
        "handler.native",
        "the number 7 stands where a text",
        r#"handler = { native = "7" }"#,
    ),
    (
        r#""handler": {"external": "orders"}"#,
        "handler.external",
        "stands where an object",
        r#"handler = { external = { destination = "orders", reply = "none" } }"#,
    ),
    (
        r#""handler": {"external": {}}"#,
        "handler.external.destination",
        "is missing",
        r#"destination = "legacy.orders""#,
    ),
    (
        r#""handler": {"external": {"destination": "a", "body": "json"}}"#,
        "handler.external.body",
        "`json` is not one of its values: write `envelope` or `payload`",
        "",
    ),
    (
        r#""handler": {"external": {"destination": "a", "reply": false}}"#,
        "handler.external.reply",
        "false stands where",
        "",
    ),
    (
        r#""retry": 3"#,
        "retry",
        "the number 3 stands where an object with fields belongs",
        "retry = { max_attempts = 3 }",
    ),
    (
        r#""retry": true"#,
        "retry",
        "true stands where",
        "retry = { max_attempts = 3 }",
    ),
    (
        r#""retry": "5""#,
        "retry",
        "stands where",
        "retry = { max_attempts = 5 }",
    ),
    (
        r#""retry": {"max_attempts": "3"}"#,
        "retry.max_attempts",
        "the text \"3\" stands where a whole number",
        "retry = { max_attempts = 3 }",
    ),
    (
        r#""retry": {"max_attempts": -1}"#,
        "retry.max_attempts",
        "the number -1 stands where a whole number from 0",
        "",
    ),
    (
        r#""retry": {"max_attempts": 2.0}"#,
        "retry.max_attempts",
        "stands where a whole number",
        "retry = { max_attempts = 2 }",
    ),
    (
        r#""retry": {"attempts": 3}"#,
        "retry.attempts",
        "is not known here",
        "",
    ),
    (
        r#""retry": {"max-attempts": 3}"#,
        "retry.max-attempts",
        "did you mean `max_attempts`?",
        "",
    ),
    (
        r#""retry": {"initial": 5}"#,
        "retry.initial",
        "the number 5 stands where a duration belongs",
        r#"retry = { initial = "5s" }"#,
    ),
    (
        r#""retry": {"backoff": "linear"}"#,
        "retry.backoff",
        "`linear` is not one of its values: write `fixed` or `exponential`",
        "",
    ),
    (
        r#""retry": {"backoff": "exponentail"}"#,
        "retry.backoff",
        "did you mean `exponential`?",
        "",
    ),
    (
        r#""timeout": 30"#,
        "timeout",
        "the number 30 stands where a duration belongs",
        r#"timeout = "30s""#,
    ),
    (
        r#""timeout": 1.5"#,
        "timeout",
        "the number 1.5 stands where",
        r#"timeout = "1s500ms""#,
    ),
    (
        r#""timeout": "30""#,
        "timeout",
        "`30` is not a duration: write a number and a unit",
        "",
    ),
    (
        r#""timeout": "5 parsecs""#,
        "timeout",
        "`5 parsecs` is not a duration",
        "",
    ),
    (
        r#""timeout": {"seconds": 30}"#,
        "timeout",
        "an object with fields stands where a duration",
        r#"timeout = "30s""#,
    ),
    (
        r#""max_lateness": 60"#,
        "max_lateness",
        "the number 60 stands where",
        r#"max_lateness = "60s""#,
    ),
    (
        r#""start_deadline": false"#,
        "start_deadline",
        "false stands where a duration",
        r#"start_deadline = "30s""#,
    ),
    (
        r#""jitter": 10"#,
        "jitter",
        "the number 10 stands where",
        r#"jitter = "10s""#,
    ),
    (
        r#""timezon": "UTC""#,
        "timezon",
        "is not a field of a task: did you mean `timezone`?",
        "",
    ),
    (
        r#""Schedule": "every 1s""#,
        "Schedule",
        "did you mean `schedule`?",
        "",
    ),
    (
        r#""max-running": 1"#,
        "max-running",
        "did you mean `max_running`?",
        "",
    ),
    (
        r#""cron": "0 2 * * *""#,
        "cron",
        "is not a field of a task: the fields are name, description, schedule",
        "",
    ),
    (
        r#""schedule": 5"#,
        "schedule",
        "the number 5 stands where a text or a list of texts belongs",
        r#"schedule = "every 5s""#,
    ),
    (
        r#""schedule": {"cron": "0 2 * * *"}"#,
        "schedule",
        "an object with fields stands where",
        r#"schedule = "0 2 * * *""#,
    ),
    (
        r#""schedule": ["every 1h", 5]"#,
        "schedule[1]",
        "the number 5 stands where a text",
        "",
    ),
    (
        r#""queue": ["a"]"#,
        "queue",
        "a list stands where a text belongs",
        r#"queue = "a""#,
    ),
    (
        r#""queue": 1"#,
        "queue",
        "the number 1 stands where a text",
        r#"queue = "1""#,
    ),
    (
        r#""timezone": false"#,
        "timezone",
        "false stands where a text",
        r#"timezone = "false""#,
    ),
    (
        r#""dialect": "vixie""#,
        "dialect",
        "`vixie` is not one of its values: write `auto`, `unix`, `spring` or `quartz`",
        "",
    ),
    (
        r#""misfire": "lats""#,
        "misfire",
        "did you mean `last`?",
        "",
    ),
    (r#""overlap": true"#, "overlap", "true stands where", ""),
    (
        r#""overlap": ["skip"]"#,
        "overlap",
        "a list stands where",
        "",
    ),
    (
        r#""overlap": {"skip": 1}"#,
        "overlap.skip",
        "the number 1 stands where a word alone belongs",
        "",
    ),
    (
        r#""start": "at_most_once""#,
        "start",
        "did you mean `at-most-once`?",
        "",
    ),
    (
        r#""on_excluded": "run""#,
        "on_excluded",
        "write `skip`, `next` or `previous`",
        "",
    ),
    (
        r#""dst": "skip""#,
        "dst",
        "the text \"skip\" stands where an object",
        r#"dst = { gap = "skip" }"#,
    ),
    (
        r#""dst": {"gap": "jump"}"#,
        "dst.gap",
        "`jump` is not one of its values",
        "",
    ),
    (
        r#""paused": "yes""#,
        "paused",
        "the text \"yes\" stands where true or false belongs",
        "paused = true",
    ),
    (
        r#""enabled": 0"#,
        "enabled",
        "the number 0 stands where true or false",
        "enabled = false",
    ),
    (
        r#""priority": "high""#,
        "priority",
        "the text \"high\" stands where a whole number",
        "priority = 9",
    ),
    (
        r#""priority": 300"#,
        "priority",
        "the number 300 stands where a whole number from 0 (last) to 9 (first) belongs",
        "",
    ),
    (
        r#""max_count": "3""#,
        "max_count",
        "the text \"3\" stands where",
        "max_count = 3",
    ),
    (
        r#""max_count": 1e20"#,
        "max_count",
        "stands where a whole number",
        "",
    ),
    (
        r#""calendars": [["a"]]"#,
        "calendars[0]",
        "a list stands where a text",
        "",
    ),
    (
        r#""calendars": {"a": true}"#,
        "calendars",
        "an object with fields stands where",
        "",
    ),
    (
        r#""starts_at": "tomorrow""#,
        "starts_at",
        "`tomorrow` is not an instant",
        "",
    ),
    (
        r#""starts_at": "2027-01-01""#,
        "starts_at",
        "`2027-01-01` is not an instant",
        "",
    ),
    (
        r#""ends_at": 1798761600"#,
        "ends_at",
        "the number 1798761600 stands where an instant",
        r#"ends_at = "2026-12-01T08:00:00+01:00""#,
    ),
    (
        r#""description": ["a"]"#,
        "description",
        "a list stands where a text",
        r#"description = "a""#,
    ),
    (
        r#""group": {"name": "g"}"#,
        "group",
        "an object with fields stands where a text",
        "",
    ),
];

/// Words of the program's own types, and of whatever reads for it.
const RUST: &[&str] = &[
    "struct",
    "enum",
    "variant",
    "newtype",
    "tuple",
    "Option",
    "Spec",
    "untagged",
    "u8",
    "u16",
    "u32",
    "u64",
    "usize",
    "i64",
    "f64",
    "invalid type",
    "invalid value",
    "invalid length",
    "expected",
    "map",
    "sequence",
    "serde",
    "deserialize",
    "missing field",
    "unknown field",
    "data did not match",
    "boolean",
    "string",
];

fn rust_word(said: &str) -> Option<&'static str> {
    let other = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let spaced = format!(" {} ", said.split(other).collect::<Vec<_>>().join(" "));
    RUST.iter()
        .copied()
        .find(|word| spaced.contains(&format!(" {word} ")))
}

/// A task with this field, one field a line, in each form; the field stands in the third line of the task.
fn files(field: &str) -> Vec<(&'static str, String, usize)> {
    let fields: Value = serde_json::from_str(&format!("{{{field}}}")).unwrap();
    let (name, value) = fields.as_object().unwrap().iter().next().unwrap();
    let mut other = vec![("name", json!("a"))];
    if name != "handler" {
        other.push(("handler", json!({"native": "x"})));
    } else {
        other.push(("queue", json!("q")));
    }
    other.push((name, value.clone()));
    let line = |(name, value): &(&str, Value)| {
        let table: toml::Table = [((*name).to_owned(), toml::Value::try_from(value).unwrap())]
            .into_iter()
            .collect();
        // One line: an inline table.
        let inline = toml::Value::Table(table).to_string();
        let inline = inline
            .trim()
            .trim_start_matches('{')
            .trim_end_matches('}')
            .trim()
            .to_owned();
        inline
    };
    let toml: Vec<String> = other.iter().map(line).collect();
    let json: Vec<String> = other.iter().map(|(n, v)| format!("\"{n}\": {v}")).collect();
    let yaml: Vec<String> = other.iter().map(|(n, v)| format!("{n}: {v}")).collect();
    vec![
        ("t.toml", format!("\n[[task]]\n{}\n", toml.join("\n")), 5),
        (
            "t.yaml",
            format!("# -\ntask:\n  - {}\n", yaml.join("\n    ")),
            5,
        ),
        (
            "t.json",
            format!("{{\"task\":\n[{{\n{}\n}}]}}", json.join(",\n")),
            5,
        ),
    ]
}

#[test]
fn what_is_written_wrong_is_named_in_the_writers_words() {
    assert!(WRONG.len() >= 60);
    let mut other = Vec::new();
    for (written, field, says, offer) in WRONG {
        for (name, text, line) in files(written) {
            let Err(error) = parse(&text, name) else {
                other.push(format!("{name} takes {written}"));
                continue;
            };
            let said = error.to_string();
            let place = format!("{name} line {line}");
            let named = error.field.as_deref() == Some(*field) && error.place == Some(place);
            let offered = match (name, *offer) {
                (_, "") => true,
                ("t.toml", offer) => said.ends_with(&format!(": write {offer}")),
                _ => said.contains(": write "),
            };
            if !named || !said.contains(says) || !offered || rust_word(&said).is_some() {
                other.push(format!(
                    "{written}\n  is {said}\n  should be {field}: {says} {offer} ({:?})",
                    rust_word(&said)
                ));
            }
        }
    }
    assert!(other.is_empty(), "{}", other.join("\n"));
}

#[test]
fn what_is_offered_is_taken() {
    for (written, _, _, offer) in WRONG
        .iter()
        .filter(|(_, _, _, offer)| offer.starts_with("handler =") || offer.starts_with("retry ="))
    {
        let handler = if offer.starts_with("handler") {
            ""
        } else {
            "handler = { native = \"x\" }\n"
        };
        let text = format!("[[task]]\nname = \"a\"\n{handler}{offer}\n");
        assert!(
            parse(&text, "t.toml").is_ok(),
            "{written}: {offer}: {:?}",
            parse(&text, "t.toml")
        );
    }
}

#[test]
fn a_body_of_the_api_is_refused_in_the_same_words() {
    for (written, field, says, _) in WRONG {
        let handler = if written.starts_with("\"handler\"") {
            ""
        } else {
            r#", "handler": {"native": "x"}"#
        };
        let body = format!("{{\"name\": \"a\"{handler}, {written}}}");
        let body = document::read_json(body.as_bytes()).unwrap();
        let error = read_one(&body).expect_err(written);
        assert_eq!(error.field.as_deref(), Some(*field), "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(rust_word(&error.to_string()), None, "{error}");
    }
}
