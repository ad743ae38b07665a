//! What was probably meant where a field of a task can't be read. Owns, beside the fields themselves, the best known
//! ways to write them wrong; it reads nothing and judges nothing ([`crate::misread`] does, and asks here).

use serde_json::{Value, json};

use crate::misread::Subject;

/// How definitions of tasks are read.
pub const TASK: Subject = Subject {
    noun: "a task",
    meant,
    belongs,
};

/// What belongs in a field of a task, where that is more than a text or a number.
#[must_use]
pub fn belongs(path: &str) -> Option<&'static str> {
    if DURATIONS.contains(&path) {
        return Some("a duration");
    }
    if INSTANTS.contains(&path) {
        return Some("an instant");
    }
    match path {
        "labels" => Some("names with a text each, as in {\"team\": \"billing\"}"),
        "priority" => Some("a whole number from 0 (last) to 9 (first)"),
        "handler" => Some("one of `http`, `command`, `native`, `external` with its fields"),
        _ => None,
    }
}

/// Fields that hold a duration.
const DURATIONS: [&str; 10] = [
    "timeout",
    "misfire_limit",
    "jitter",
    "max_lateness",
    "start_deadline",
    "retry.initial",
    "retry.max",
    "handler.external.reply_within",
    "every",
    "after",
];
/// Fields that hold an instant.
const INSTANTS: [&str; 3] = ["anchor", "starts_at", "ends_at"];

/// What to write in a field instead of what stands there; `null` stands for a field that is missing.
#[must_use]
pub fn meant(path: &str, found: &Value) -> Option<Value> {
    if DURATIONS.contains(&path) {
        return duration(found);
    }
    if INSTANTS.contains(&path) {
        return Some(json!(instant(found)));
    }
    if path.starts_with("labels.") && (found.is_number() || found.is_boolean()) {
        return Some(json!(found.to_string()));
    }
    let words =
        |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    match (path, found) {
        ("name", Value::Null) => Some(json!("nightly-report")),
        ("handler", Value::Null) => Some(json!({"command": {"argv": ["/usr/bin/df", "-h"]}})),
        ("handler", Value::String(text)) => Some(handler(text)),
        ("handler", Value::Array(_)) => Some(json!({"command": {"argv": found}})),
        ("handler.command", Value::String(text)) => Some(json!({"argv": words(text)})),
        ("handler.command", Value::Array(_)) => Some(json!({"argv": found})),
        ("handler.command.argv", Value::String(text)) => Some(json!(words(text))),
        ("handler.command.argv", Value::Null) => Some(json!(["/usr/bin/df", "-h"])),
        ("handler.command.env", Value::Array(values)) => environment(values),
        ("handler.http", Value::String(url)) => Some(json!({"url": url})),
        ("handler.http.url", Value::Null) => Some(json!("https://example.com/hook")),
        ("handler.http.expect", Value::Number(_)) => Some(json!([found])),
        ("handler.native", Value::Object(fields)) => {
            fields.get("name").filter(|name| name.is_string()).cloned()
        }
        ("handler.external", Value::String(queue)) => {
            Some(json!({"destination": queue, "reply": "none"}))
        }
        ("handler.external.destination", Value::Null) => Some(json!("legacy.orders")),
        ("retry", Value::Number(_)) => Some(json!({"max_attempts": found})),
        ("retry", Value::Bool(true)) => Some(json!({"max_attempts": 3})),
        ("retry", Value::String(text)) => {
            let attempts = text.parse::<u32>().unwrap_or(3);
            Some(json!({"max_attempts": attempts}))
        }
        ("dst", Value::String(gap)) => Some(json!({"gap": gap})),
        ("schedule", Value::Number(n)) => Some(json!(format!("every {n}s"))),
        ("schedule", Value::Object(fields)) => schedule(fields),
        ("priority", Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "high" | "highest" => Some(json!(9)),
            "low" | "lowest" => Some(json!(0)),
            "normal" | "medium" | "default" => Some(json!(4)),
            _ => None,
        },
        _ => None,
    }
}

fn duration(found: &Value) -> Option<Value> {
    match found {
        Value::Number(n) if n.is_u64() => Some(json!(format!("{n}s"))),
        Value::Number(_) => Some(json!("1s500ms")),
        Value::String(text) if text.parse::<u64>().is_ok() => Some(json!(format!("{text}s"))),
        _ => Some(json!("30s")),
    }
}

fn instant(found: &Value) -> String {
    let text = found.as_str().unwrap_or_default().replace(' ', "T");
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => String::new(),
    };
    if campanile_schedule::time::Timestamp::parse(&whole).is_ok() {
        whole
    } else {
        "2026-12-01T08:00:00+01:00".to_owned()
    }
}

fn handler(text: &str) -> Value {
    let text = text.trim();
    if text.starts_with("http://") || text.starts_with("https://") {
        return json!({"http": {"url": text}});
    }
    if text.starts_with('/') || text.contains(' ') {
        let argv: Vec<&str> = text.split_whitespace().collect();
        return json!({"command": {"argv": argv}});
    }
    json!({"native": text})
}

/// `["A=1"]` as `{"A": "1"}`.
fn environment(values: &[Value]) -> Option<Value> {
    let pairs = values.iter().map(|value| {
        let (name, value) = value.as_str()?.split_once('=')?;
        Some((name.to_owned(), Value::from(value)))
    });
    pairs
        .collect::<Option<serde_json::Map<_, _>>>()
        .map(Value::Object)
}

/// `{"cron": "0 2 * * *"}` and its kin.
fn schedule(fields: &serde_json::Map<String, Value>) -> Option<Value> {
    let (kind, value) = fields.iter().next()?;
    let value = value.as_str()?;
    match kind.as_str() {
        "cron" => Some(json!(value)),
        "every" | "after" | "at" | "rrule" => Some(json!(format!("{kind} {value}"))),
        _ => None,
    }
}
