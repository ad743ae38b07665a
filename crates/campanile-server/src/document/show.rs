//! Values as people write them, in the form that they write: what a refusal offers. Owns nothing else; a task file that
//! is written whole goes through the form's own library.

use serde_json::Value;

use super::Form;

/// Bytes of an offer: what it would take over of a stranger's text has no bounds.
const SHOWN_BYTES_MAX: usize = 400;

/// A field with its value; `None` where it would be too long to be read.
#[must_use]
pub fn field(form: Form, name: &str, value: &Value) -> Option<String> {
    let value = self::value(form, value);
    let shown = match form {
        Form::Toml => format!("{} = {value}", key(form, name)),
        Form::Yaml | Form::Json => format!("{}: {value}", key(form, name)),
    };
    (shown.len() <= SHOWN_BYTES_MAX).then_some(shown)
}

fn value(form: Form, value: &Value) -> String {
    match value {
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(|v| self::value(form, v)).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Object(fields) => {
            let is = if form == Form::Toml { " =" } else { ":" };
            let fields = fields.iter();
            let fields: Vec<String> = fields
                .map(|(name, v)| format!("{}{is} {}", key(form, name), self::value(form, v)))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Value::String(text) if form == Form::Toml => toml::Value::String(text.clone()).to_string(),
        other => other.to_string(),
    }
}

fn key(form: Form, name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if form != Form::Json && !name.is_empty() && name.bytes().all(plain) {
        name.to_owned()
    } else {
        Value::from(name).to_string()
    }
}
