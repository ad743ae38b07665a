//! The reader's words put into the field's. Owns the patterns of what serde says; where one is not known, only what
//! stands in the field is told.

use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::{Fix, Misread, Subject, nearest};

/// Characters of a text, or of a name, that are shown.
const SHOWN_CHARS_MAX: usize = 60;

/// What the error says about a value, in the field's words.
pub(super) fn translate(
    root: &Value,
    error: &serde_path_to_error::Error<serde_json::Error>,
    subject: &Subject,
) -> Misread {
    let said = error.inner().to_string();
    let said = said
        .rsplit_once(" at line ")
        .map_or(said.as_str(), |(said, _)| said);
    let (mut path, mut found) = follow(root, error.path());
    let mut said = said;
    // To the reader, a list can stand for an object with the fields in their order; people mean something else by it.
    if let Some((last, above)) = path.split_last()
        && last.starts_with('[')
        && let Some(list) = at(root, above)
        && (subject.meant)(&text(above), list).is_some_and(|meant| meant.is_object())
    {
        (path, found) = (above.to_vec(), list);
        said = "invalid type: sequence, expected struct ";
    }
    if let Some(name) = said.strip_prefix("missing field `").and_then(first_name) {
        return Misread {
            field: join(&path, name),
            message: "is missing".to_owned(),
            fix: (subject.meant)(&join(&path, name), &Value::Null).map(|value| Fix {
                field: name.to_owned(),
                value,
            }),
        };
    }
    if let Some(name) = said.strip_prefix("unknown field `").and_then(first_name) {
        return unknown_field(&path, name, said, subject);
    }
    let about_types = said.starts_with("unknown variant `") || is_about_types(said);
    let fix = about_types
        .then(|| fix(root, &path, found, said, subject))
        .flatten();
    // A word alone where fields belong: to the reader, a choice that it doesn't know.
    let lacks_fields = found.is_string() && fix.as_ref().is_some_and(|fix| fix.value.is_object());
    let message = match said.strip_prefix("unknown variant `").and_then(first_name) {
        Some(_) if lacks_fields => misplaced(found, "struct ", (subject.belongs)(&text(&path))),
        Some(name) => unknown_choice(name, said, found),
        None => match said.split_once(", expected ") {
            Some((head, expected)) if is_about_types(head) => {
                misplaced(found, expected, (subject.belongs)(&text(&path)))
            }
            _ if is_about_types(said) => format!("{} does not belong here", kind(found)),
            _ => said.to_owned(),
        },
    };
    Misread {
        field: text(&path),
        message,
        fix,
    }
}

fn misplaced(found: &Value, expected: &str, belongs: Option<&str>) -> String {
    let belongs = belongs.map_or_else(|| wanted(expected), str::to_owned);
    format!("{} stands where {belongs} belongs", kind(found))
}

fn is_about_types(said: &str) -> bool {
    ["invalid type: ", "invalid value: ", "invalid length "]
        .iter()
        .any(|head| said.starts_with(head))
}

/// The path as far as the value has it, and what stands there.
fn follow<'v>(root: &'v Value, path: &Path) -> (Vec<String>, &'v Value) {
    let (mut steps, mut at) = (Vec::new(), root);
    for segment in path {
        let (step, next) = match segment {
            Segment::Map { key } | Segment::Enum { variant: key } => (key.clone(), at.get(key)),
            Segment::Seq { index } => (format!("[{index}]"), at.get(index)),
            Segment::Unknown => break,
        };
        let Some(next) = next else { break };
        steps.push(step);
        at = next;
    }
    (steps, at)
}

fn text(path: &[String]) -> String {
    let mut out = String::new();
    for step in path {
        if !out.is_empty() && !step.starts_with('[') {
            out.push('.');
        }
        out.push_str(&shown(step));
    }
    out
}

fn join(path: &[String], name: &str) -> String {
    let mut all = path.to_vec();
    if all.last().is_none_or(|last| last != name) {
        all.push(name.to_owned());
    }
    text(&all)
}

fn shown(text: &str) -> String {
    let head = text
        .chars()
        .take(SHOWN_CHARS_MAX)
        .flat_map(char::escape_debug);
    let mut out: String = head.collect();
    if text.chars().count() > SHOWN_CHARS_MAX {
        out.push('…');
    }
    out
}

fn first_name(rest: &str) -> Option<&str> {
    rest.split('`').next()
}

/// The names in a list such as "expected one of `a`, `b`".
fn names(said: &str) -> Vec<&str> {
    let list = said.rsplit_once("expected ").map_or("", |(_, list)| list);
    list.split('`').skip(1).step_by(2).collect()
}

fn unknown_field(path: &[String], name: &str, said: &str, subject: &Subject) -> Misread {
    let known = names(said);
    let here = match path.split_last() {
        Some((last, above)) if last == name => above,
        _ => path,
    };
    let what = if here.is_empty() {
        format!("is not a field of {}", subject.noun)
    } else {
        "is not known here".to_owned()
    };
    let message = match nearest(name, known.iter().copied()) {
        Some(near) => format!("{what}: did you mean `{near}`?"),
        None if known.is_empty() => format!("{what}: there are no fields"),
        None => format!("{what}: the fields are {}", known.join(", ")),
    };
    Misread {
        field: join(here, name),
        message,
        fix: None,
    }
}

fn unknown_choice(name: &str, said: &str, found: &Value) -> String {
    let known = names(said);
    let list = match known.as_slice() {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|n| format!("`{n}`")).collect();
            format!("{} or `{last}`", first.join(", "))
        }
    };
    let what = if found.is_object() {
        format!("`{}` is not known here", shown(name))
    } else {
        format!("`{}` is not one of its values", shown(name))
    };
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("{what}: did you mean `{near}`? It is {list}"),
        None => format!("{what}: write {list}"),
    }
}

/// What stands in a field, in words.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing (null)".to_owned(),
        Value::Bool(switch) => format!("{switch}"),
        Value::Number(n) => format!("the number {n}"),
        Value::String(text) => format!("the text \"{}\"", shown(text)),
        Value::Array(values) if values.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(fields) if fields.is_empty() => "an empty object".to_owned(),
        Value::Object(_) => "an object with fields".to_owned(),
    }
}

/// What belongs in a field, in words.
fn wanted(expected: &str) -> String {
    let words = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more,",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" | "a borrowed string" | "string" => "a text",
        "a sequence" => "a list",
        "a map" => "an object with fields",
        "map with a single key" => "one field with what belongs to it",
        e if e.starts_with("struct ") || e.starts_with("internally tagged") => {
            "an object with fields"
        }
        e if e.starts_with("enum ") || e.starts_with("string or map") => "one of its choices",
        "unit variant" | "unit" => "a word alone",
        e if e.contains("newtype")
            || e.contains("tuple")
            || e.contains("variant")
            || e.contains("unit") =>
        {
            "an object with fields"
        }
        "a string or a list of strings" => "a text or a list of texts",
        _ => return plain(expected),
    };
    words.to_owned()
}

/// What a reader of ours expects is in plain words already; anything else is left out.
fn plain(expected: &str) -> String {
    if expected.starts_with("a ") || expected.starts_with("an ") {
        expected.to_owned()
    } else {
        "something else".to_owned()
    }
}

/// What was probably meant: what the subject knows of the field, or what follows from the kind that belongs there.
fn fix(root: &Value, path: &[String], found: &Value, said: &str, subject: &Subject) -> Option<Fix> {
    let value = (subject.meant)(&text(path), found).or_else(|| of_kind(found, said))?;
    // With what is around it, as far as nothing else is there.
    let (mut value, mut rest) = (value, path);
    while let Some((last, above)) = rest.split_last() {
        if last.starts_with('[') || above.last().is_some_and(|a| a.starts_with('[')) {
            return None;
        }
        let alone = above.is_empty() || at(root, above)?.as_object()?.len() == 1;
        if above.is_empty() || !alone {
            return Some(Fix {
                field: last.clone(),
                value,
            });
        }
        value = Value::Object([(last.clone(), value)].into_iter().collect());
        rest = above;
    }
    None
}

fn at<'v>(root: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(root, |value, key| value.get(key))
}

/// The same in another kind: a number as a text, a text as a number, one as a list of one.
fn of_kind(found: &Value, said: &str) -> Option<Value> {
    let (_, expected) = said.rsplit_once(", expected ")?;
    match (expected, found) {
        ("a string", Value::Number(n)) => Some(n.to_string().into()),
        ("a string", Value::Bool(b)) => Some(b.to_string().into()),
        ("a string", Value::Array(values)) => match values.as_slice() {
            [Value::String(one)] => Some(one.clone().into()),
            _ => None,
        },
        ("a sequence", Value::String(_)) => Some(Value::Array(vec![found.clone()])),
        ("a boolean", _) => switch(found).map(Value::Bool),
        ("u8" | "u16" | "u32" | "u64" | "usize", Value::String(text)) => {
            text.trim().parse::<u32>().ok().map(Value::from)
        }
        ("u8" | "u16" | "u32" | "u64" | "usize", Value::Number(n)) => {
            let n = n.as_f64().filter(|_| n.is_f64())?;
            (n.fract() == 0.0 && (0.0..1e6).contains(&n))
                .then(|| format!("{n}").parse::<u32>().ok().map(Value::from))?
        }
        _ => None,
    }
}

fn switch(found: &Value) -> Option<bool> {
    match found {
        Value::Number(n) => match n.as_i64() {
            Some(1) => Some(true),
            Some(0) => Some(false),
            _ => None,
        },
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}
