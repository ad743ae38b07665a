//! `--set a.b=1`: fields that were typed, as the merge patch that the API takes. Reads text, and nothing else.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::document::{self, Form};

/// How deep a field may lie: as deep as payloads may be.
const LEVELS_MAX: usize = campanile_core::limits::PAYLOAD_DEPTH_MAX;

/// One patch from all that was typed.
///
/// # Errors
/// The text that is none, or two that can't both be.
pub fn patch(typed: &[String]) -> Result<Value, String> {
    let mut patch = Value::Object(Map::new());
    for one in typed {
        let (path, text) = split(one).ok_or_else(|| {
            format!("--set {one}: has no `=`: write FIELD=VALUE, as in --set day=monday")
        })?;
        let value = value(text).map_err(|wrong| format!("--set {one}: {wrong}"))?;
        if path.len() > LEVELS_MAX || path.iter().any(String::is_empty) {
            return Err(format!(
                "--set {one}: `{}` names no field: write the names of fields with points between them, as in mail.to=…",
                path.join(".")
            ));
        }
        put(&mut patch, &path, value).ok_or_else(|| {
            format!(
                "--set {one}: `{}` is set to two things: write each field once",
                path.join(".")
            )
        })?;
    }
    Ok(patch)
}

/// JSON, kept as it is written or refused; what is none is a text.
fn value(text: &str) -> Result<Value, String> {
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return Ok(Value::from(text));
    }
    document::read(Form::Json, text).map_err(|wrong| wrong.message)
}

/// The names of a path and the text of the value. A point of a name is written `\.`, a backslash `\\`.
fn split(text: &str) -> Option<(Vec<String>, &str)> {
    let mut path = vec![String::new()];
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        let escaped = match c {
            '=' => return Some((path, text.get(at + 1..)?)),
            '.' => {
                path.push(String::new());
                continue;
            }
            '\\' => chars.next().map(|(_, c)| c)?,
            c => c,
        };
        path.last_mut()?.push(escaped);
    }
    None
}

/// Puts a value at its place; `None` where another value stands in the way.
fn put(patch: &mut Value, path: &[String], value: Value) -> Option<()> {
    let (first, rest) = path.split_first()?;
    let fields = patch.as_object_mut()?;
    if rest.is_empty() {
        return fields.insert(first.clone(), value).is_none().then_some(());
    }
    let inner = fields
        .entry(first.clone())
        .or_insert_with(|| Value::Object(Map::new()));
    put(inner, rest, value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_become_one_patch() {
        let typed = [
            "day=monday",
            "a.b=1",
            "a.c=[true, null]",
            "gone=null",
            "text=\"1\"",
            "x\\.y=a=b",
            "empty=",
        ];
        let expected = json!({
            "day": "monday", "a": {"b": 1, "c": [true, null]}, "gone": null, "text": "1", "x.y": "a=b", "empty": "",
        });
        assert_eq!(patch(&typed.map(str::to_owned)), Ok(expected));
        for wrong in [
            &["day"][..],
            &["=1"],
            &["a..b=1"],
            &["a=1", "a.b=2"],
            &["a=1", "a=2"],
            &["a=1e400"],
            &["a=123456789012345678901234567890"],
        ] {
            let typed: Vec<String> = wrong.iter().map(|t| (*t).to_owned()).collect();
            assert!(patch(&typed).unwrap_err().starts_with("--set"), "{wrong:?}");
        }
    }
}
