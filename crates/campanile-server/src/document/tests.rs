//! The three forms beside each other: what becomes a value, what is refused, where it stands, and that texts made to
//! cost much are refused at once.

use proptest::prelude::*;
use serde_json::json;

use super::path::{parse, text};
use super::*;

fn refused(form: Form, text: &str) -> Wrong {
    read(form, text).expect_err(&text.chars().take(80).collect::<String>())
}

fn field(wrong: &Wrong) -> String {
    text(&wrong.path)
}

#[test]
fn times_become_their_text_wherever_they_stand() {
    let toml = "\
a = 1979-05-27T07:32:00Z\n\
b = [1979-05-27T00:32:00.5-07:00, { c = 1979-05-27 }]\n\
d.e = 1979-05-27 07:32:00\n\
f = 07:32:00\n";
    let expected = json!({
        "a": "1979-05-27T07:32:00Z",
        "b": ["1979-05-27T00:32:00.5-07:00", {"c": "1979-05-27"}],
        "d": {"e": "1979-05-27T07:32:00"},
        "f": "07:32:00",
    });
    assert_eq!(read(Form::Toml, toml).unwrap(), expected);
    let yaml = "a: 1979-05-27T07:32:00Z\nb: [1979-05-27, 07:32:00]\n";
    let expected = json!({"a": "1979-05-27T07:32:00Z", "b": ["1979-05-27", "07:32:00"]});
    assert_eq!(read(Form::Yaml, yaml).unwrap(), expected);
}

/// Numbers that are kept, as they come out again.
const KEPT: &[(&str, &str)] = &[
    ("0", "0"),
    ("-1", "-1"),
    ("9007199254740993", "9007199254740993"),
    ("9223372036854775807", "9223372036854775807"),
    ("-9223372036854775808", "-9223372036854775808"),
    ("0.1", "0.1"),
    ("1.10", "1.1"),
    ("1e3", "1000.0"),
    ("0.30000000000000004", "0.30000000000000004"),
    ("1.7976931348623157e308", "1.7976931348623157e+308"),
];

/// Numbers that no double holds.
const LOSSY: &[&str] = &[
    "123456789012345678901234567890.0",
    "3.141592653589793238",
    "0.1234567890123456789",
    "1e400",
    "-1e400",
    "1e-400",
    "9007199254740993.0",
];

#[test]
fn numbers_are_kept_exactly_or_refused_by_field() {
    let in_form = |form: Form, number: &str| match form {
        Form::Toml => format!("[payload]\nlist = [1, {number}]\n"),
        Form::Yaml => format!("payload:\n  list: [1, {number}]\n"),
        Form::Json => format!("{{\"payload\":\n {{\"list\": [1, {number}]}}}}"),
    };
    for form in [Form::Toml, Form::Yaml, Form::Json] {
        for (written, kept) in KEPT {
            let value = read(form, &in_form(form, written)).unwrap();
            assert_eq!(value["payload"]["list"][1].to_string(), *kept, "{form:?}");
        }
        let own: &[&str] = match form {
            Form::Toml => &[
                "inf",
                "-inf",
                "nan",
                "+nan",
                "0xFFFFFFFFFFFFFFFFFF",
                "123456789012345678901234567890",
            ],
            Form::Yaml => &[
                ".inf",
                "-.INF",
                ".nan",
                ".NaN",
                "123456789012345678901234567890",
            ],
            Form::Json => &[
                "123456789012345678901234567890",
                "-123456789012345678901234567890",
            ],
        };
        for written in LOSSY.iter().chain(own) {
            let wrong = refused(form, &in_form(form, written));
            // Whole numbers over 64 bits are no TOML at all.
            if form == Form::Toml && wrong.path.is_empty() {
                assert!(
                    wrong.message.contains("write it as a text"),
                    "{written}: {wrong:?}"
                );
            } else {
                assert_eq!(
                    field(&wrong),
                    "payload.list[1]",
                    "{form:?} {written}: {wrong:?}"
                );
            }
            assert_eq!(wrong.at.map(|at| at.line), Some(2), "{form:?} {written}");
            assert!(
                wrong.message.contains(written.trim_start_matches("0x")),
                "{form:?}: {wrong:?}"
            );
        }
    }
    let zeros = format!("{{\"a\": 0.{}1}}", "0".repeat(500));
    assert!(refused(Form::Json, &zeros).message.len() < 200);
}

#[test]
fn keys_keep_their_order_and_come_once() {
    let order = |form, text: &str| {
        let value = read(form, text).unwrap();
        let keys = value["p"].as_object().unwrap().keys();
        keys.cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(order(Form::Toml, "p.z = 1\np.a = 2\np.m = 3\n"), "z a m");
    assert_eq!(order(Form::Toml, "p = { z = 1, a = 2, m = 3 }\n"), "z a m");
    assert_eq!(order(Form::Yaml, "p:\n  z: 1\n  a: 2\n  m: 3\n"), "z a m");
    assert_eq!(
        order(Form::Json, r#"{"p": {"z": 1, "a": 2, "m": 3}}"#),
        "z a m"
    );
    for (form, text, path) in [
        (Form::Yaml, "p:\n  z: 1\n  z: 2\n", "p.z"),
        (Form::Yaml, "p: [{z: 1, 'z': 2}]\n", "p[0].z"),
        (Form::Json, "{\"p\":\n {\"z\": 1, \"\\u007a\": 2}}", "p.z"),
    ] {
        let wrong = refused(form, text);
        assert_eq!(field(&wrong), path);
        assert!(wrong.message.starts_with("is there twice"), "{wrong:?}");
    }
    let wrong = refused(Form::Toml, "a = 1\np = { z = 1, z = 2 }\n");
    assert!(wrong.message.contains("is there twice"), "{wrong:?}");
    assert_eq!(wrong.at.map(|at| at.line), Some(2));
}

#[test]
fn plain_words_of_yaml_are_read_by_the_core_schema() {
    let read = |text: &str| read(Form::Yaml, &format!("a: {text}")).unwrap()["a"].clone();
    for (written, value) in [
        ("", json!(null)),
        ("~", json!(null)),
        ("yes", json!("yes")),
        ("on", json!("on")),
        ("True", json!(true)),
        ("007", json!("007")),
        ("0x1F", json!(31)),
        ("0o17", json!(15)),
        ("+12", json!(12)),
        (".5", json!(0.5)),
        ("1_000", json!("1_000")),
        ("12:30", json!("12:30")),
        ("!!str 12", json!("12")),
        ("!!int 12", json!(12)),
        ("'12'", json!("12")),
        ("\"\\u00e9\"", json!("é")),
        ("|\n  x [ {\n  y", json!("x [ {\ny\n")),
        ("\t x", json!("x")),
    ] {
        assert_eq!(read(written), value, "{written}");
    }
}

#[test]
fn what_yaml_can_and_we_do_not_is_refused_by_field() {
    for (text, path, word) in [
        ("a: &x {b: 1}\nc: {<<: *x}\n", "c", "`<<` merges"),
        ("a: !custom 1\n", "a", "tag"),
        ("a: !!binary aGk=\n", "a", "tag"),
        ("? [1]\n: 2\n", "", "key"),
        ("a: 1\n---\nb: 2\n", "", "second document"),
        ("a: &x [*x]\n", "a[0]", "inside of what it names"),
    ] {
        let wrong = refused(Form::Yaml, text);
        assert_eq!(field(&wrong), path, "{wrong:?}");
        assert!(wrong.message.contains(word), "{wrong:?}");
    }
    let copied = read(Form::Yaml, "a: &x {b: [1]}\nc: *x\nd: [*x, *x]\n").unwrap();
    assert_eq!(copied["d"][1]["b"][0], json!(1));
}

/// Texts that are made to cost much, for each form.
fn bombs() -> Vec<(Form, String)> {
    let deep =
        |open: &str, close: &str, n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
    let mut laughs = "a0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol,lol]\n".to_owned();
    for n in 1..12 {
        let last = format!("*a{}", n - 1);
        laughs.push_str(&format!("a{n}: &a{n} [{}]\n", vec![last; 10].join(",")));
    }
    let mut staircase = "a0: &a0 [1]\n".to_owned();
    for n in 1..300 {
        staircase.push_str(&format!("a{n}: &a{n} [*a{}]\n", n - 1));
    }
    vec![
        (Form::Yaml, deep("[", "]", 50_000)),
        (Form::Yaml, deep("[\"]\", ", "]", 50_000)),
        (Form::Yaml, deep("['it''s ]', ", "]", 50_000)),
        (Form::Yaml, deep("[ # ]\n", "]", 50_000)),
        (Form::Yaml, "[".repeat(500_000)),
        (Form::Yaml, deep("{a: ", "}", 100_000)),
        (Form::Yaml, deep("{\"a\":", "}", 100_000)),
        (Form::Yaml, deep("[a: ", "]", 50_000)),
        (Form::Yaml, deep("[&a ", "]", 50_000)),
        (
            Form::Yaml,
            format!("a: |\n  ]\nb: {}", deep("[", "]", 50_000)),
        ),
        (Form::Yaml, format!("{}1", "- ".repeat(50_000))),
        (Form::Yaml, format!("{}1", "- ? ".repeat(50_000))),
        (Form::Yaml, format!("{}1", "? - ".repeat(50_000))),
        (
            Form::Yaml,
            (0..500).map(|n| format!("{}a:\n", " ".repeat(n))).collect(),
        ),
        (
            Form::Yaml,
            (0..500).map(|n| format!("{}-\n", " ".repeat(n))).collect(),
        ),
        (Form::Yaml, laughs),
        (Form::Yaml, staircase),
        (Form::Json, deep("[", "]", 50_000)),
        (Form::Json, deep("{\"a\":", "}", 100_000)),
        (Form::Json, "[".repeat(1_000_000)),
        (Form::Json, deep("[\"]\",", "]", 50_000)),
        (Form::Toml, format!("a = {}", deep("[", "]", 50_000))),
        (Form::Toml, format!("a = {}", deep("{b = ", "}", 50_000))),
        (Form::Toml, format!("{} = 1", vec!["a"; 50_000].join("."))),
        (Form::Toml, format!("[{}]", vec!["a"; 50_000].join("."))),
        (
            Form::Toml,
            format!("[{}]\nb = {}", vec!["a"; 70].join("."), deep("[", "]", 70)),
        ),
    ]
}

#[test]
fn texts_that_are_made_to_cost_much_are_refused() {
    for (form, text) in bombs() {
        let wrong = refused(form, &text);
        let head: String = text.chars().take(40).collect();
        assert!(
            ["deep", "aliases", "where a key belongs", "no YAML"]
                .iter()
                .any(|word| wrong.message.contains(word)),
            "{form:?} {head}: {wrong:?}"
        );
    }
    let most = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    for form in [Form::Yaml, Form::Json] {
        assert!(read(form, &most(DEPTH_MAX)).is_ok());
        assert!(refused(form, &most(DEPTH_MAX + 1)).message.contains("deep"));
    }
}

#[test]
fn brackets_in_texts_are_not_depth() {
    let open = "[ { ".repeat(300);
    for text in [
        format!("a: \"{open}\"\nb: 1\n"),
        format!("a: '{open}'\nb: 1\n"),
        format!("a: |\n  {open}\n\n  {open}\nb: 1\n"),
        format!("- a: >-\n    {open}\n  b: 1\n"),
        format!("# {open}\na: 1 # {open}\nb: 1\n"),
        format!("a: {{c: \"{open}\", d: ['{open}']}}\nb: 1\n"),
    ] {
        assert!(
            read(Form::Yaml, &text).is_ok(),
            "{:?}",
            read(Form::Yaml, &text)
        );
    }
}

#[test]
fn a_field_is_found_again() {
    let toml = "# é\n[[task]]\nname = \"a\"\n[task.retry]\nmax = 1\n[[task]]\nhandler = { http = { expect = [1, 2] } }\n";
    let yaml = "# é\ntask:\n  - name: a\n    retry:\n      max: 1\n  - handler: {http: {expect: [1, 2]}}\n";
    let json = "{\"task\": [\n{\"name\": \"é\",\n\"retry\": {\n\"max\": 1}},\n{\"handler\": {\"http\": {\n\"expect\": [1, 2]}}}]}";
    let line = |form, text: &str, path: &str| place(form, text, &parse(path)).map(|p| p.line);
    for (path, lines) in [
        ("task[0].name", [3, 3, 2]),
        ("task[0].retry.max", [5, 5, 4]),
        ("task[0].retry.other", [4, 4, 3]),
        ("task[1].handler.http.expect[1]", [7, 6, 6]),
    ] {
        assert_eq!(line(Form::Toml, toml, path), Some(lines[0]), "{path}");
        assert_eq!(line(Form::Yaml, yaml, path), Some(lines[1]), "{path}");
        assert_eq!(line(Form::Json, json, path), Some(lines[2]), "{path}");
    }
    let column = place(Form::Toml, toml, &parse("task[1].handler.http.expect[1]"))
        .unwrap()
        .column;
    assert_eq!(column, 35);
}

/// Texts of a wrong form, and a word of what is said.
const BROKEN: &[(Form, &str, usize, &str)] = &[
    (Form::Yaml, "a:\n\tb: 1\n", 2, "tab"),
    (Form::Yaml, "a: [1\nb: 2\n", 2, "YAML"),
    (
        Form::Toml,
        "a = 1\nb = every 10s\n",
        2,
        "write \"every 10s\"",
    ),
    (Form::Toml, "a = 0 2 * * *\n", 1, ""),
    (Form::Toml, "a: 1\n", 1, "this is YAML"),
    (Form::Toml, "a = \"x\n", 1, ""),
    (Form::Json, "{\"a\": 1,}", 1, "comma stands before"),
    (
        Form::Json,
        "{\"a\": 1\n\"b\": 2}",
        2,
        "comma or a closing bracket",
    ),
    (Form::Json, "{a: 1}", 1, "without quotes"),
    (Form::Json, "{\"a\" 1}", 1, "colon"),
    (Form::Json, "{\"a\": yes}", 1, "no JSON"),
    (Form::Json, "{\"a\": \"x\ny\"}", 1, "\\n"),
    (Form::Json, "{\"a\": \"\\x\"}", 1, "backslash"),
    (Form::Json, "{\"a\": \"\\ud800\"}", 1, "half a character"),
    (Form::Json, "{\"a\": 01}", 1, "not a number"),
    (Form::Json, "{\"a\": [1", 1, "ends too early"),
    (Form::Json, "{} {}", 1, "after the end"),
];

#[test]
fn a_wrong_form_is_told_with_its_line() {
    let as_said = |(form, text, line, word): &&(Form, &str, usize, &str)| {
        let wrong = refused(*form, text);
        let told = wrong.at.map(|at| at.line) == Some(*line) && wrong.message.contains(word);
        told && !wrong.message.contains("expected")
    };
    let other: Vec<_> = BROKEN
        .iter()
        .filter(|case| !as_said(case))
        .map(|case| (case.1, refused(case.0, case.1)))
        .collect();
    assert!(other.is_empty(), "{other:#?}");
    let latin1 = b"{\"a\": 1,\n \"gr\xfc\xdfe\": 2}";
    let wrong = read_json(latin1).unwrap_err();
    assert_eq!(wrong.at, Some(Place { line: 2, column: 5 }));
    assert!(wrong.message.contains("0xFC"), "{wrong:?}");
    assert_eq!(
        read_json(b"\xef\xbb\xbf{\"a\": 1}").unwrap(),
        json!({"a": 1})
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-zé.\" -]{1,6}", inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(value in any_value()) {
        let root = json!({"root": value});
        let same = |read: Value| serde_json::to_string(&read).unwrap() == serde_json::to_string(&root).unwrap();
        prop_assert!(same(read(Form::Json, &root.to_string()).unwrap()));
        prop_assert!(same(read(Form::Json, &serde_json::to_string_pretty(&root).unwrap()).unwrap()));
        // What is JSON is YAML.
        prop_assert!(same(read(Form::Yaml, &root.to_string()).unwrap()), "{}", root);
        let offered = show::field(Form::Toml, "root", &value).filter(|t| t.len() < 400);
        if let Some(toml) = offered {
            prop_assert_eq!(read(Form::Toml, &toml).unwrap(), root, "{}", toml);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[\\[\\]{}\"':,#\n\t &*!|>?a1.=-]{0,60}") {
        for form in [Form::Toml, Form::Yaml, Form::Json] {
            if let Err(wrong) = read(form, &text) {
                prop_assert!(wrong.message.len() < 400);
                prop_assert!(wrong.at.is_none_or(|at| at.line <= text.matches(['\n', '\r']).count() + 2));
            }
        }
    }
}
