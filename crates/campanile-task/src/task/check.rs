//! What a valid name, payload, duration and handler is: every refusal names the field and says what to write instead.
//! It never looks at a schedule; [`campanile_schedule`] has its own errors.

use std::time::Duration;

use campanile_schedule::time::format_duration;
use campanile_schedule::{Invalid, TimeZoneName, check_name};

use super::address::{check_header, check_url};
use super::{
    CommandSpec, ExternalReply, ExternalSpec, HandlerSpec, HttpSpec, StartMode, TaskSpec, lengths,
    secret,
};
use crate::limits;

/// Checks how often an attempt is made, how long it may take and how long the next one waits.
///
/// # Errors
/// The field with what would be valid.
pub fn check_attempts(spec: &TaskSpec) -> Result<(), Invalid> {
    let attempts = spec.retry.max_attempts;
    if attempts == 0 || attempts > limits::ATTEMPTS_MAX {
        return Err(Invalid::new(
            "retry.max_attempts",
            format!(
                "{attempts} is out of range: write 1 to {}",
                limits::ATTEMPTS_MAX
            ),
        ));
    }
    if spec.start == StartMode::AtMostOnce && attempts > 1 {
        return Err(Invalid::new(
            "retry.max_attempts",
            "an at-most-once task starts no second attempt: write 1, or start = \"at-least-once\"",
        ));
    }
    check_duration("timeout", spec.timeout)?;
    check_duration("retry.initial", spec.retry.initial)?;
    check_duration("retry.max", spec.retry.max)?;
    if spec.retry.initial > spec.retry.max {
        let (initial, max) = (
            format_duration(spec.retry.initial),
            format_duration(spec.retry.max),
        );
        return Err(Invalid::new(
            "retry.max",
            format!(
                "{max} is shorter than retry.initial ({initial}): write {initial} or more, it is the longest wait"
            ),
        ));
    }
    spec.retry.on.check("retry.on")?;
    spec.retry.never_on.check("retry.never_on")
}

/// Checks a payload's depth and size.
///
/// # Errors
/// `payload`, with the limit.
pub fn check_payload(payload: &serde_json::Value) -> Result<(), Invalid> {
    if is_deeper(payload, limits::PAYLOAD_DEPTH_MAX) {
        return Err(Invalid::new(
            "payload",
            format!(
                "lists and objects lie in each other more than {} deep: write it flatter, or as a text",
                limits::PAYLOAD_DEPTH_MAX
            ),
        ));
    }
    if values_of(payload) > limits::PAYLOAD_VALUES_MAX {
        return Err(Invalid::new(
            "payload",
            format!(
                "its numbers, texts, lists and objects are over the limit of {}: write fewer, longer ones, or one text",
                limits::PAYLOAD_VALUES_MAX
            ),
        ));
    }
    let size = serde_json::to_string(payload).map_or(usize::MAX, |t| t.len());
    if size > limits::PAYLOAD_BYTES_MAX {
        return Err(Invalid::new(
            "payload",
            format!(
                "{size} bytes are over the limit of {}: store the data elsewhere and pass its address",
                limits::PAYLOAD_BYTES_MAX
            ),
        ));
    }
    Ok(())
}

/// Looks no deeper than the limit.
fn is_deeper(value: &serde_json::Value, levels: usize) -> bool {
    use serde_json::Value;
    let below = |value: &Value| is_deeper(value, levels.saturating_sub(1));
    match value {
        Value::Array(values) => levels == 0 || values.iter().any(below),
        Value::Object(fields) => levels == 0 || fields.values().any(below),
        _ => false,
    }
}

/// How many values there are in all. Its depth is known to be bounded.
fn values_of(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    1 + match value {
        Value::Array(values) => values.iter().map(values_of).sum(),
        Value::Object(fields) => fields.values().map(values_of).sum(),
        _ => 0,
    }
}

pub(super) fn check_duration(field: &str, d: Duration) -> Result<(), Invalid> {
    if d.is_zero() || d > limits::DURATION_MAX {
        return Err(Invalid::new(field, "out of range: write 1ms to 365d"));
    }
    Ok(())
}

/// Checks a handler's own fields.
///
/// # Errors
/// The field at fault.
pub fn check_handler(handler: &HandlerSpec) -> Result<(), Invalid> {
    lengths::check_handler(handler)?;
    match handler {
        HandlerSpec::Http(http) => check_http(http),
        HandlerSpec::Command(command) => check_command(command),
        HandlerSpec::Native(name) => check_name("handler.native", name),
        HandlerSpec::External(external) => check_external(external),
    }
}

fn check_http(http: &HttpSpec) -> Result<(), Invalid> {
    secret::check_place(http)?;
    check_url(&http.url)?;
    if !["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"].contains(&http.method.as_str()) {
        return Err(Invalid::new(
            "handler.http.method",
            "write GET, POST, PUT, PATCH, DELETE or HEAD",
        ));
    }
    for (name, value) in &http.headers {
        check_header(name, value)?;
    }
    match http.expect.iter().find(|code| !(100..600).contains(*code)) {
        Some(code) => Err(Invalid::new(
            "handler.http.expect",
            format!("{code} is not a status: write 100 to 599"),
        )),
        None => Ok(()),
    }
}

fn check_command(command: &CommandSpec) -> Result<(), Invalid> {
    let Some(program) = command.argv.first() else {
        return Err(Invalid::new(
            "handler.command.argv",
            "is empty: write the program and its arguments",
        ));
    };
    if !program.starts_with('/') {
        return Err(Invalid::new(
            "handler.command.argv",
            format!(
                "`{}` is not an absolute path: write it whole, as in /usr/bin/df",
                program.escape_debug()
            ),
        ));
    }
    let texts = command
        .argv
        .iter()
        .chain(command.env.keys())
        .chain(command.env.values())
        .chain(&command.dir);
    if texts.into_iter().any(|t| t.contains('\0'))
        || command.env.keys().any(|k| k.is_empty() || k.contains('='))
    {
        return Err(Invalid::new(
            "handler.command",
            "arguments, environment and folder hold no NUL, and names no `=`",
        ));
    }
    if let Some(name) = command.env.keys().find(|k| k.starts_with("CAMPANILE_")) {
        return Err(Invalid::new(
            "handler.command.env",
            format!("`{name}` is ours: choose a name without CAMPANILE_"),
        ));
    }
    Ok(())
}

fn check_external(external: &ExternalSpec) -> Result<(), Invalid> {
    check_name("handler.external.destination", &external.destination)?;
    if external.reply == ExternalReply::Signed {
        return Err(Invalid::new(
            "handler.external.reply",
            "answers over the reply queue are not built yet: write reply = \"none\"",
        ));
    }
    Ok(())
}

/// Checks that the bounds of a schedule leave something between them.
pub(super) fn check_bounds(spec: &TaskSpec) -> Result<(), Invalid> {
    let (Some(first), Some(last)) = (spec.starts_at, spec.ends_at) else {
        return Ok(());
    };
    // A zone that is not known is refused with the schedule.
    let zone = TimeZoneName::parse(&spec.timezone).unwrap_or_default();
    if first.first_in(&zone, spec.dst) > last.last_in(&zone, spec.dst) {
        return Err(Invalid::new(
            "ends_at",
            format!("{last} is before starts_at ({first}): write a later instant"),
        ));
    }
    Ok(())
}
