//! What people write wrong, in all three forms and as a body of the API: each refusal names the field and its line, says
//! what belongs there, offers what was probably meant, and holds no word of the program's own types.

use campanile_core::task::TaskSpec;
use serde_json::json;

use super::*;

/// A field as it is written wrong (JSON), the field that is named, a part of what is said, and the offer (TOML).
fn wrong() -> Vec<[&'static str; 4]> {
    let rows = include_str!("taskfile_wrong_tests.tsv").lines();
    let cells = rows.map(|row| row.split('\t').collect::<Vec<_>>());
    cells.map(|cells| cells.try_into().unwrap()).collect()
}

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
        let bare = inline.trim().trim_start_matches('{');
        bare.trim_end_matches('}').trim().to_owned()
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
    assert!(wrong().len() >= 60);
    let mut other = Vec::new();
    for [written, field, says, offer] in wrong() {
        for (name, text, line) in files(written) {
            let Err(error) = parse(&text, name) else {
                other.push(format!("{name} takes {written}"));
                continue;
            };
            let said = error.to_string();
            let place = format!("{name} line {line}");
            let named = error.field.as_deref() == Some(field) && error.place == Some(place);
            let offered = match (name, offer) {
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
    for [written, _, _, offer] in wrong() {
        if !offer.starts_with("handler =") && !offer.starts_with("retry =") {
            continue;
        }
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
    for [written, field, says, _] in wrong() {
        let handler = if written.starts_with("\"handler\"") {
            ""
        } else {
            r#", "handler": {"native": "x"}"#
        };
        let body = format!("{{\"name\": \"a\"{handler}, {written}}}");
        let body = document::read_json(body.as_bytes()).unwrap();
        let error = definitions::read::<TaskSpec>(&body, Form::Json).expect_err(written);
        assert_eq!(error.field, field, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(rust_word(&error.to_string()), None, "{error}");
    }
}
