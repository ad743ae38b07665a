//! Secrets as definitions name them: `{ "$secret": "NAME" }` as a value of a payload, `${secret:NAME}` inside the text of a
//! template field. Owns which fields are templates, what a reference looks like, and how values are put in; it never
//! knows a value by itself and never looks at what a run brings of its own, which is data.
//!
//! Template fields are the values of an `http` handler's headers, the path and the query of its address, the values of a
//! `command` handler's environment, and its standard input. In a template `$$` stands for `$`. A text without `${secret:`
//! is no template and stays as it is, whatever it holds.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use campanile_schedule::{Invalid, check_name};
use serde_json::{Map, Value};

use super::{HandlerSpec, HttpSpec, TaskSpec};
use crate::limits;

/// How a reference in a template begins.
const OPEN: &str = "${secret:";
/// The key of a reference in a payload.
const KEY: &str = "$secret";
/// What stands for an object whose key is just [`KEY`], in a payload.
const ESCAPED_KEY: &str = "$$secret";

const URL: &str = "handler.http.url";
const STDIN: &str = "handler.command.stdin";

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// As it is.
    Text(&'a str),
    /// The value of this secret.
    Secret(&'a str),
}

/// The pieces of a text; a text that is no template is one piece.
///
/// # Errors
/// What is wrong with a reference.
pub fn parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    if !is_template(text) {
        return Ok(vec![Part::Text(text)]);
    }
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        if let Some(after) = from.strip_prefix("$$") {
            out.extend([Part::Text(before), Part::Text("$")]);
            rest = after;
        } else if let Some(after) = from.strip_prefix(OPEN) {
            let Some((name, after)) = after.split_once('}') else {
                return Err(format!(
                    "has `{OPEN}` without its `}}`: write `{OPEN}NAME}}`, or `$${{secret:` for the text itself"
                ));
            };
            check_secret_name(name)?;
            out.extend([Part::Text(before), Part::Secret(name)]);
            rest = after;
        } else {
            let (dollar, after) = from.split_at(1);
            out.extend([Part::Text(before), Part::Text(dollar)]);
            rest = after;
        }
    }
    out.push(Part::Text(rest));
    out.retain(|part| *part != Part::Text(""));
    Ok(out)
}

/// Whether anything in a text is for [`parts`] to read.
#[must_use]
pub fn is_template(text: &str) -> bool {
    text.contains(OPEN)
}

/// Whether something can be the name of a secret.
///
/// # Errors
/// What can.
pub fn check_secret_name(name: &str) -> Result<(), String> {
    check_name("secret", name).map_err(|e| {
        let shown: String = name.chars().take(40).collect();
        format!(
            "`{}` is not the name of a secret: {}",
            shown.escape_debug(),
            e.message
        )
    })
}

/// The name in `{ "$secret": "NAME" }`; `None` for any other value.
#[must_use]
pub fn reference(value: &Value) -> Option<&str> {
    let Value::Object(fields) = value else {
        return None;
    };
    let (key, name) = fields.iter().next().filter(|_| fields.len() == 1)?;
    name.as_str().filter(|_| key == KEY)
}

/// The template fields of a handler: the path of each, and its text.
fn templates(handler: &HandlerSpec) -> Vec<(String, &str)> {
    match handler {
        HandlerSpec::Http(http) => {
            let header = |(name, value)| (format!("handler.http.headers.{name}"), value);
            let headers = http.headers.iter().map(|(n, v)| header((n, v.as_str())));
            headers
                .chain([(URL.to_owned(), http.url.as_str())])
                .collect()
        }
        HandlerSpec::Command(command) => {
            let variable = |(name, value)| (format!("handler.command.env.{name}"), value);
            let env = command.env.iter().map(|(n, v)| variable((n, v.as_str())));
            let stdin = command
                .stdin
                .as_deref()
                .map(|text| (STDIN.to_owned(), text));
            env.chain(stdin).collect()
        }
        HandlerSpec::Native(_) | HandlerSpec::External(_) => Vec::new(),
    }
}

/// Whether [`fill_handler`] would change anything.
#[must_use]
pub fn has_templates(handler: &HandlerSpec) -> bool {
    templates(handler).iter().any(|(_, text)| is_template(text))
}

/// Names of secrets with the fields that name them, as they are found.
#[derive(Default)]
struct Found(Vec<(String, String)>);

impl Found {
    fn handler(&mut self, handler: &HandlerSpec) -> Result<(), Invalid> {
        for (field, text) in templates(handler) {
            for part in parts(text).map_err(|message| Invalid::new(&field, message))? {
                if let Part::Secret(name) = part {
                    self.0.push((field.clone(), name.to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Its depth is known to be bounded.
    fn payload(&mut self, field: &str, value: &Value) -> Result<(), Invalid> {
        // Places are spelled where there is something to tell.
        if !mentions(value) {
            return Ok(());
        }
        match value {
            Value::Array(values) => {
                for (n, value) in values.iter().enumerate() {
                    self.payload(&format!("{field}[{n}]"), value)?;
                }
            }
            Value::Object(fields) if fields.contains_key(KEY) => {
                let name = reference(value).ok_or_else(|| {
                    let message = "`$secret` stands alone and names a secret, as in { \"$secret\" = \"NAME\" }; write \
                                   { \"$$secret\" = … } for an object with just that key";
                    Invalid::new(field, message)
                })?;
                check_secret_name(name).map_err(|message| Invalid::new(field, message))?;
                self.0.push((field.to_owned(), name.to_owned()));
            }
            Value::Object(fields) => {
                for (key, value) in fields {
                    self.payload(&format!("{field}.{key}"), value)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether there is anything like a reference in a payload.
fn mentions(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().any(mentions),
        Value::Object(fields) => fields.contains_key(KEY) || fields.values().any(mentions),
        _ => false,
    }
}

/// Checks what a task's definition says of secrets.
pub(super) fn check(task: &TaskSpec) -> Result<(), Invalid> {
    let mut found = Found::default();
    found.handler(&task.handler)?;
    found.payload("payload", &task.payload)?;
    let Some((field, name)) = found.0.first() else {
        return Ok(());
    };
    if matches!(task.handler, HandlerSpec::External(_)) {
        let message = format!(
            "names the secret `{name}`, and what an external listener is sent lies in the broker, where others may read it: \
             let the listener find it in a place of its own, or let a worker do the work (`http`, `command`, `native`)"
        );
        return Err(Invalid::new(field, message));
    }
    if found.0.len() > limits::SECRETS_OF_TASK_MAX {
        let (field, _) = &found.0[limits::SECRETS_OF_TASK_MAX];
        let message = format!(
            "{} references to secrets are over the limit of {}: put several values into one secret",
            found.0.len(),
            limits::SECRETS_OF_TASK_MAX
        );
        return Err(Invalid::new(field, message));
    }
    Ok(())
}

/// Where in an address a secret may stand: whom it goes to must not depend on it.
pub(super) fn check_place(http: &HttpSpec) -> Result<(), Invalid> {
    let url = http.url.as_str();
    let scheme = url.find("://").map_or(0, |at| at + 3);
    let path = url[scheme..]
        .find(['/', '?'])
        .map_or(url.len(), |at| scheme + at);
    let fragment = url.find('#').unwrap_or(url.len());
    if is_template(&url[..path]) || is_template(&url[fragment.max(path)..]) {
        let message =
            "a secret may stand in the path and in the query alone: write the host as it is";
        return Err(Invalid::new(URL, message));
    }
    Ok(())
}

/// Refuses what looks like a reference where none counts: in what a run brings of its own. As data it would reach the
/// target as it is written, and nobody would see why the target takes a name for a password.
///
/// # Errors
/// The field with the remedy.
pub fn check_own(handler: Option<&HandlerSpec>, payload: Option<&Value>) -> Result<(), Invalid> {
    if let Some(handler) = handler {
        for (field, text) in templates(handler) {
            if is_template(text) {
                return Err(of_task_alone(&field));
            }
        }
    }
    payload.map_or(Ok(()), |payload| check_data("payload", payload))
}

/// The same for a payload's values; its depth is known to be bounded.
fn check_data(field: &str, value: &Value) -> Result<(), Invalid> {
    if !mentions(value) {
        return Ok(());
    }
    if reference(value).is_some() {
        return Err(of_task_alone(field));
    }
    match value {
        Value::Array(values) => values
            .iter()
            .enumerate()
            .try_for_each(|(n, value)| check_data(&format!("{field}[{n}]"), value)),
        Value::Object(fields) => fields
            .iter()
            .try_for_each(|(key, value)| check_data(&format!("{field}.{key}"), value)),
        _ => Ok(()),
    }
}

fn of_task_alone(field: &str) -> Invalid {
    let message = "names a secret, which counts in a task's definition alone: put the reference there, and leave it out here";
    Invalid::new(field, message)
}

/// The secrets that a task's definition names, of its handler and of its payload.
#[must_use]
pub fn names(task: &TaskSpec) -> BTreeSet<String> {
    names_of(Some(&task.handler), Some(&task.payload))
}

/// The same of the parts that count: a run with a payload of its own has nothing of the task's.
#[must_use]
pub fn names_of(handler: Option<&HandlerSpec>, payload: Option<&Value>) -> BTreeSet<String> {
    let mut found = Found::default();
    // What the store holds was checked when it was written; what is wrong there names nothing.
    if let Some(handler) = handler {
        let _ = found.handler(handler);
    }
    if let Some(payload) = payload {
        let _ = found.payload("payload", payload);
    }
    found.0.into_iter().map(|(_, name)| name).collect()
}

/// Arguments that look as if they had a reference in them, which they can't: everybody on the machine reads them.
#[must_use]
pub fn in_arguments(task: &TaskSpec) -> bool {
    match &task.handler {
        HandlerSpec::Command(command) => command.argv.iter().any(|text| is_template(text)),
        _ => false,
    }
}

/// Finds a secret's value by its name.
pub type Find<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A handler with the values in their places.
///
/// # Errors
/// The name of a secret that is not found, or what is wrong with a template.
pub fn fill_handler(handler: &HandlerSpec, find: Find<'_>) -> Result<HandlerSpec, String> {
    let mut filled = handler.clone();
    match &mut filled {
        HandlerSpec::Http(http) => {
            for value in http.headers.values_mut() {
                *value = fill(value, find, false)?;
            }
            http.url = fill(&http.url, find, true)?;
        }
        HandlerSpec::Command(command) => {
            for value in command.env.values_mut() {
                *value = fill(value, find, false)?;
            }
            if let Some(stdin) = &mut command.stdin {
                *stdin = fill(stdin, find, false)?;
            }
        }
        HandlerSpec::Native(_) | HandlerSpec::External(_) => {}
    }
    Ok(filled)
}

/// A definition's payload with the values in their places.
///
/// # Errors
/// As [`fill_handler`].
pub fn fill_payload(payload: &Value, find: Find<'_>) -> Result<Value, String> {
    if let Some(name) = reference(payload) {
        return value_of(name, find).map(Value::String);
    }
    Ok(match payload {
        Value::Array(values) => {
            let values = values.iter().map(|value| fill_payload(value, find));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let alone = fields.len() == 1;
            let mut filled = Map::with_capacity(fields.len());
            for (key, value) in fields {
                let key = if alone && key == ESCAPED_KEY {
                    KEY
                } else {
                    key
                };
                filled.insert(key.to_owned(), fill_payload(value, find)?);
            }
            Value::Object(filled)
        }
        other => other.clone(),
    })
}

fn value_of(name: &str, find: Find<'_>) -> Result<String, String> {
    find(name).ok_or_else(|| format!("the secret `{name}` is not there"))
}

fn fill(text: &str, find: Find<'_>, in_address: bool) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    for part in parts(text)? {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Secret(name) if in_address => {
                percent_encode(&mut out, value_of(name, find)?.as_bytes(), |b| {
                    b.is_ascii_alphanumeric() || b"-._~".contains(&b)
                });
            }
            Part::Secret(name) => out.push_str(&value_of(name, find)?),
        }
    }
    Ok(out)
}

/// Bytes as an address has them: what `plain` says stays, the rest becomes `%XX`.
pub(crate) fn percent_encode(out: &mut String, bytes: &[u8], plain: impl Fn(u8) -> bool) {
    for &byte in bytes {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
#[path = "secret_tests.rs"]
mod tests;
