//! JSON. The library judges the text's form first; then its tokens are walked, which needs no second judgement and
//! keeps the text of each number.

use serde::de::IgnoredAny;
use serde_json::Value;

use super::builder::Builder;
use super::{DEPTH_MAX, Stop, number, too_deep};

pub(super) fn walk(text: &str, builder: &mut Builder<'_>) -> Result<(), Stop> {
    if let Some(at) = too_deep_at(text) {
        return Err(Stop::form(Some(at), too_deep()));
    }
    if text.trim().is_empty() {
        return Ok(());
    }
    judge(text)?;
    let bytes = text.as_bytes();
    let mut at = 0;
    // Whether the next text in an object is a key.
    let mut objects: Vec<bool> = Vec::new();
    let mut key_next = false;
    while let Some(byte) = bytes.get(at) {
        let start = at;
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b':' => at += 1,
            b',' => {
                key_next = objects.last().copied().unwrap_or(false);
                at += 1;
            }
            b'{' | b'[' => {
                let object = *byte == b'{';
                if object {
                    builder.begin_object(at)?;
                } else {
                    builder.begin_list(at)?;
                }
                objects.push(object);
                key_next = object;
                at += 1;
            }
            b'}' | b']' => {
                objects.pop();
                key_next = false;
                builder.end();
                at += 1;
            }
            b'"' => {
                at = end_of_text(bytes, at);
                let string: String = serde_json::from_str(text.get(start..at).unwrap_or_default())
                    .map_err(|e| Stop::field(start, in_words(&e.to_string())))?;
                if key_next {
                    key_next = false;
                    builder.key(start, string)?;
                } else {
                    builder.scalar(start, Value::String(string));
                }
            }
            _ => {
                let length = bytes.get(at..).unwrap_or_default().iter();
                at += length.take_while(|b| !is_end(**b)).count().max(1);
                let value = word(text.get(start..at).unwrap_or_default());
                let value = value.map_err(|message| Stop::field(start, message))?;
                builder.scalar(start, value);
            }
        }
    }
    Ok(())
}

/// Whether a text is JSON at all.
fn judge(text: &str) -> Result<(), Stop> {
    let Err(error) = serde_json::from_str::<IgnoredAny>(text) else {
        return Ok(());
    };
    let at = offset(text, error.line(), error.column());
    let rest = text.get(at..).unwrap_or_default();
    let before = text.get(..at).unwrap_or_default().trim_end();
    let comma = rest.starts_with(['}', ']']) && before.ends_with(',');
    let message = if comma {
        "a comma stands before a closing bracket: take it away".to_owned()
    } else {
        in_words(&error.to_string())
    };
    Err(Stop::form(Some(at), message))
}

fn word(text: &str) -> Result<Value, String> {
    match text {
        "true" => Ok(Value::Bool(true)),
        "false" => Ok(Value::Bool(false)),
        "null" => Ok(Value::Null),
        digits => number::read(digits).map(Value::Number),
    }
}

const fn is_end(byte: u8) -> bool {
    matches!(
        byte,
        b',' | b'}' | b']' | b':' | b' ' | b'\t' | b'\r' | b'\n'
    )
}

/// The byte after a text's closing quote.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Where a text first goes too deep: told from its brackets alone, before any other work.
fn too_deep_at(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = end_of_text(bytes, at);
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Some(at);
        }
        at += 1;
    }
    None
}

fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    (before + column.saturating_sub(1)).min(text.len())
}

/// The library's words, as far as they are for people who know JSON.
#[must_use]
pub fn in_words(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    match message {
        "key must be a string" => "a key stands without quotes: write \"name\": …".to_owned(),
        "trailing characters" => "something stands after the end: write one value".to_owned(),
        "expected `,` or `}`" | "expected `,` or `]`" => {
            "a comma or a closing bracket is missing before this".to_owned()
        }
        "expected `:`" => "a colon is missing after the key".to_owned(),
        "expected value" => {
            "this is no JSON: write a text in \"quotes\", a number, true, false, null, [ ] or { }"
                .to_owned()
        }
        "invalid number" => {
            "this is not a number of JSON: write it as in 12, -1.5 or 2e3".to_owned()
        }
        m if m.starts_with("EOF while parsing") => {
            "the text ends too early: a quote or a bracket is not closed".to_owned()
        }
        m if m.starts_with("control character") => {
            "a line end or another control character stands in a text: write \\n".to_owned()
        }
        m if m.starts_with("invalid escape") => {
            "a backslash stands before a character that needs none: write \\\\ for a backslash"
                .to_owned()
        }
        m if m.contains("surrogate") || m.contains("hex escape") || m.contains("code point") => {
            "half a character is written as \\u…: write the whole character".to_owned()
        }
        m if m.starts_with("expected ident") => {
            "this is no JSON: write true, false or null".to_owned()
        }
        other => format!("this is no JSON ({other})"),
    }
}
