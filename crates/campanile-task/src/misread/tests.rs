//! What is said of values that don't fit, of any type; what is said of a task's own fields is tested with task files, in
//! the forms that people write.

use serde::Deserialize;
use serde_json::json;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read, and looked at no further")]
struct Box_ {
    label: String,
    #[serde(default)]
    sides: Vec<Side>,
    #[serde(default)]
    open: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read, and looked at no further")]
struct Side {
    width: u8,
    #[serde(default)]
    colour: Colour,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Colour {
    #[default]
    Red,
    Green,
}

fn said(value: &Value) -> String {
    read::<Box_>(value, &Subject::plain("a box"))
        .unwrap_err()
        .to_string()
}

#[test]
fn the_field_and_what_belongs_there_are_named() {
    let side = |fields: Value| json!({"label": "a", "sides": [{"width": 1}, fields]});
    for (value, expected) in [
        (json!({}), "label: is missing"),
        (
            json!({"label": "a", "lid": 1}),
            "lid: is not a field of a box: the fields are label, sides, open",
        ),
        (
            json!({"label": "a", "side": []}),
            "side: is not a field of a box: did you mean `sides`?",
        ),
        (
            json!({"label": 5}),
            "label: the number 5 stands where a text belongs: write \"label\": \"5\"",
        ),
        (
            json!({"label": null}),
            "label: nothing (null) stands where a text belongs",
        ),
        (
            json!({"label": "a", "open": "yes"}),
            "open: the text \"yes\" stands where true or false belongs: write \"open\": true",
        ),
        (
            json!({"label": "a", "sides": {}}),
            "sides: an empty object stands where a list belongs",
        ),
        (side(json!({})), "sides[1].width: is missing"),
        (
            side(json!({"width": 300})),
            "sides[1].width: the number 300 stands where a whole number from 0 to 255 belongs",
        ),
        (
            side(json!({"width": 1, "hight": 2})),
            "sides[1].hight: is not known here: the fields are width, colour",
        ),
        (
            side(json!({"width": 1, "colour": "gren"})),
            "sides[1].colour: `gren` is not one of its values: did you mean `green`? It is `red` or `green`",
        ),
        (
            side(json!({"width": 1, "colour": 7})),
            "sides[1].colour: the number 7 stands where one of its choices belongs",
        ),
        (json!([1]), "the number 1 stands where a text belongs"),
        (
            json!("x"),
            "the text \"x\" stands where an object with fields belongs",
        ),
    ] {
        assert!(
            said(&value).contains(expected),
            "{} should be {expected}",
            said(&value)
        );
    }
}

#[test]
fn what_a_stranger_wrote_is_shown_in_part() {
    let long = "x".repeat(10_000);
    for value in [
        json!({"label": [long]}),
        json!({ &long: 1 }),
        json!({"label": "a", "open": long}),
        json!({"label": "a\u{1b}[31m", "open": "\u{1b}[31m"}),
    ] {
        let said = said(&value);
        assert!(
            said.len() < 11_000 && !said.chars().any(char::is_control),
            "{said}"
        );
        assert!(
            !value.to_string().contains("open") || said.len() < 400,
            "{said}"
        );
    }
}

#[test]
fn near_names_are_found() {
    let names = ["max_attempts", "timezone", "at-most-once", "url"];
    let nearest = |written| nearest(written, names.into_iter());
    assert_eq!(nearest("max-attempts"), Some("max_attempts"));
    assert_eq!(nearest("timezon"), Some("timezone"));
    assert_eq!(nearest("at_most_once"), Some("at-most-once"));
    assert_eq!(nearest("URL"), Some("url"));
    assert_eq!(nearest("frobnicate"), None);
    assert_eq!(nearest(&"x".repeat(100_000)), None);
}
