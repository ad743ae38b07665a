//! TOML. The library takes the text apart, with the place of every key and the text of every number; its tables come in
//! the order of their names and are put back into the order in which they were written.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::builder::Builder;
use super::{Stop, number};

/// What is still to be told of a value, last first: the library bounds how deep values lie, but the walk needs no stack
/// of its own for that.
enum Next<'v, 'i> {
    Key(usize, &'v str),
    Value(usize, &'v DeValue<'i>),
    End,
}

pub(super) fn walk(text: &str, builder: &mut Builder<'_>) -> Result<(), Stop> {
    let table = DeTable::parse(text).map_err(|e| {
        let at = e.span().map(|s| s.start);
        Stop::form(at, syntax(text, at, e.message()))
    })?;
    builder.begin_object(0)?;
    let mut next = vec![Next::End];
    fields(table.get_ref(), &mut next);
    while let Some(step) = next.pop() {
        match step {
            Next::Key(at, key) => builder.key(at, key.to_owned())?,
            Next::End => builder.end(),
            Next::Value(at, DeValue::Array(values)) => {
                builder.begin_list(at)?;
                next.push(Next::End);
                let values = values.iter().rev();
                next.extend(values.map(|v| Next::Value(v.span().start, v.get_ref())));
            }
            Next::Value(at, DeValue::Table(table)) => {
                builder.begin_object(at)?;
                next.push(Next::End);
                fields(table, &mut next);
            }
            Next::Value(at, value) => {
                let value = scalar(value).map_err(|message| Stop::field(at, message))?;
                builder.scalar(at, value);
            }
        }
    }
    Ok(())
}

fn fields<'v, 'i>(table: &'v DeTable<'i>, next: &mut Vec<Next<'v, 'i>>) {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries.into_iter().rev() {
        next.push(Next::Value(start(value), value.get_ref()));
        next.push(Next::Key(key.span().start, key.get_ref()));
    }
}

fn start(value: &Spanned<DeValue<'_>>) -> usize {
    value.span().start
}

fn scalar(value: &DeValue<'_>) -> Result<Value, String> {
    match value {
        DeValue::String(text) => Ok(Value::String(text.to_string())),
        DeValue::Boolean(switch) => Ok(Value::Bool(*switch)),
        DeValue::Datetime(time) => Ok(Value::String(time.to_string())),
        DeValue::Integer(n) if n.radix() == 10 => number::read(n.as_str()).map(Value::Number),
        DeValue::Integer(n) => u64::from_str_radix(n.as_str(), n.radix())
            .map(Value::from)
            .map_err(|_| {
                format!(
                    "the number {n} is larger than any whole number here can be: write it as a text"
                )
            }),
        DeValue::Float(n) if n.as_str().contains(['i', 'n']) => Err(number::not_finite(n.as_str())),
        DeValue::Float(n) => number::read(n.as_str()).map(Value::Number),
        DeValue::Array(_) | DeValue::Table(_) => Ok(Value::Null),
    }
}

/// A text that is no TOML, in words: what most often is behind it, or what the library says.
#[must_use]
pub fn syntax(text: &str, at: Option<usize>, message: &str) -> String {
    let line = at.map_or("", |at| line_at(text, at));
    let value = line.split_once('=').map_or("", |(_, value)| value.trim());
    if message.contains("recursion limit") || message.contains("recurse further") {
        return "lists and tables lie in each other too deep: write it flatter".to_owned();
    }
    if message.contains("duplicate key") {
        return "this key is there twice: take one of the two away".to_owned();
    }
    if message.contains("string values must be quoted") || is_bare(value) {
        let shown: String = value.chars().take(40).collect();
        return format!("a text stands without quotes: write \"{shown}\"");
    }
    if line.contains(": ") && !line.contains('=') {
        return "this is YAML, not TOML: write name = value, or give the file a name that ends in .yaml".to_owned();
    }
    let known = [
        (
            "string",
            "the closing quote of a text is missing on its line",
        ),
        ("array", "the closing bracket of a list is missing"),
        ("inline table", "the closing brace of { … } is missing"),
        (
            "key with no value",
            "a key stands without a value: write name = value",
        ),
        (
            "table header",
            "the brackets around a table's name are wrong: write [name] or [[name]]",
        ),
    ];
    match known.iter().find(|(part, _)| message.contains(part)) {
        Some((_, words)) => (*words).to_owned(),
        None => message
            .replace(", expected ", ": it needs ")
            .replace("expected ", "it needs "),
    }
}

fn line_at(text: &str, at: usize) -> &str {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let start = text[..at].rfind('\n').map_or(0, |n| n + 1);
    let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
    text[start..end].trim_end_matches('\r')
}

/// Whether a value is a text without quotes.
fn is_bare(value: &str) -> bool {
    let letter = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*' || c == '/');
    let word = |w: &str| value == w || value.starts_with(&format!("{w} "));
    letter && !["true", "false", "inf", "nan"].into_iter().any(word)
}
