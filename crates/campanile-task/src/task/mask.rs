//! What nobody should read who looks at a definition, a difference or a payload: values under names like `password`. Owns
//! which names those are and what stands in place of a value. It masks what is shown and changes nothing that is kept;
//! references to secrets are shown, for they are names. It is a help against accidents: values under other names are
//! not known to be secret.

use std::borrow::Cow;
use std::collections::BTreeMap;

use campanile_schedule::Invalid;
use serde_json::Value;

use super::secret::{self, Part};
use super::{HandlerSpec, TaskSpec};
use crate::limits;

mod text;

/// What stands in place of a value.
pub const MASK: &str = "***masked***";
/// The same in a difference, of a value that changes.
const CHANGED: &str = "***masked*** (changed)";

/// Names of values that are masked, by their words: `api_key` is also `API-Key`, `apiKey` and `X-Api-Key`.
const NAMES: &[&str] = &[
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "passcode",
    "pass",
    "pwd",
    "secret",
    "secrets",
    "token",
    "auth",
    "authorization",
    "bearer",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "apikey",
    "api key",
    "access key",
    "account key",
    "auth key",
    "encryption key",
    "master key",
    "private key",
    "privatekey",
    "secret key",
    "shared key",
    "signing key",
    "ssh key",
    "connection string",
];
/// Those that are found at the end of a longer word, too: `PGPASSWORD`.
const ENDINGS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
];
/// Last words of names that tell where a secret is, or of what kind, and not the secret.
const ABOUT: &[&str] = &[
    "count", "dir", "endpoint", "expires", "expiry", "file", "kind", "length", "method", "name",
    "path", "scheme", "ttl", "type", "uri", "url",
];
/// Words before a secret in a header that are none.
const SCHEMES: &[&str] = &["basic", "bearer", "digest", "token", "apikey", "key"];

/// Which names hide their values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Masks {
    /// Beside [`NAMES`], in words.
    more: Vec<Vec<String>>,
}

impl Masks {
    /// The list that is built in, and these names beside it.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn with(more: &[String]) -> Result<Self, String> {
        if more.len() > limits::MASK_KEYS_MAX {
            let most = limits::MASK_KEYS_MAX;
            return Err(format!("has {} names: write {most} at most", more.len()));
        }
        let words = more.iter().map(|name| {
            let words = words(name);
            if words.is_empty() || name.len() > 100 {
                return Err(format!(
                    "`{}` has no letter or digit, or too many",
                    name.escape_debug()
                ));
            }
            Ok(words)
        });
        Ok(Self {
            more: words.collect::<Result<_, _>>()?,
        })
    }

    /// Whether values under this name are masked.
    #[must_use]
    pub fn hides(&self, name: &str) -> bool {
        // Far longer than any name: a text that happens to be a key.
        if name.len() > 200 {
            return false;
        }
        let words = words(name);
        if words
            .last()
            .is_some_and(|last| ABOUT.contains(&last.as_str()))
        {
            return false;
        }
        let ends = |word: &String| ENDINGS.iter().any(|ending| word.ends_with(ending));
        words.iter().any(ends)
            || NAMES
                .iter()
                .any(|name| contains(&words, &name.split(' ').collect::<Vec<_>>()))
            || self.more.iter().any(|name| contains(&words, name))
    }

    /// Masks a value that anybody wrote: what lies under hidden names, and in texts what follows them.
    pub fn mask(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(masked) = self.text(text) {
                    *text = masked;
                }
            }
            Value::Array(values) => {
                let mut hidden = false;
                for value in values {
                    let option = value.as_str().is_some_and(|text| self.is_option(text));
                    if std::mem::replace(&mut hidden, option) && !option {
                        hide(value);
                    } else {
                        self.mask(value);
                    }
                }
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    if self.hides(name) {
                        hide(value);
                    } else {
                        self.mask(value);
                    }
                }
            }
            _ => {}
        }
    }

    /// The same, as a copy.
    #[must_use]
    pub fn masked(&self, value: &Value) -> Value {
        let mut masked = value.clone();
        self.mask(&mut masked);
        masked
    }

    /// Masks what a task's definition holds.
    pub fn task(&self, task: &mut TaskSpec) {
        self.handler(&mut task.handler);
        self.mask(&mut task.payload);
    }

    /// Masks what a handler holds.
    pub fn handler(&self, handler: &mut HandlerSpec) {
        match handler {
            HandlerSpec::Http(http) => {
                self.texts(&mut http.headers);
                self.own(&mut http.url);
            }
            HandlerSpec::Command(command) => {
                self.texts(&mut command.env);
                command.stdin.iter_mut().for_each(|text| self.own(text));
                let mut argv = Value::from(std::mem::take(&mut command.argv));
                self.mask(&mut argv);
                command.argv = serde_json::from_value(argv).unwrap_or_default();
            }
            HandlerSpec::Native(_) | HandlerSpec::External(_) => {}
        }
    }

    /// Masks both sides of a difference at a path (`handler.http.headers.Authorization`). A hidden value that changes is
    /// said to, and nothing more.
    pub fn change(&self, path: &str, before: &mut Option<Value>, after: &mut Option<Value>) {
        let hidden = path.split(['.', '[']).any(|step| self.hides(step));
        let was = after.clone();
        if let (Some(old), Some(new)) = (before.as_ref(), was.as_ref()) {
            let mut new = new.clone();
            self.tell(&mut new, old, hidden);
            *after = Some(new);
        } else if let Some(new) = after {
            self.conceal(new, hidden);
        }
        if let Some(old) = before {
            self.conceal(old, hidden);
        }
    }

    fn conceal(&self, value: &mut Value, hidden: bool) {
        if hidden {
            hide(value);
        } else {
            self.mask(value);
        }
    }

    /// Masks a value that comes after another: where both look the same then and are not, it is said.
    fn tell(&self, new: &mut Value, old: &Value, hidden: bool) {
        let (mut shown_old, mut shown_new) = (old.clone(), new.clone());
        self.conceal(&mut shown_old, hidden);
        self.conceal(&mut shown_new, hidden);
        if *new == *old || shown_old != shown_new {
            *new = shown_new;
            return;
        }
        match (&mut *new, old) {
            (Value::Array(new), Value::Array(old)) if new.len() == old.len() => {
                for ((new, old), shown) in new.iter_mut().zip(old).zip(list(shown_new)) {
                    mark(new, old, shown);
                }
            }
            (Value::Object(new), Value::Object(old)) => {
                for (name, value) in new {
                    let hidden = hidden || self.hides(name);
                    self.tell(value, old.get(name).unwrap_or(&Value::Null), hidden);
                }
            }
            _ => mark(new, old, shown_new),
        }
    }

    fn own(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.text(text) {
            *text = masked;
        }
    }

    fn texts(&self, texts: &mut BTreeMap<String, String>) {
        for (name, text) in texts {
            if self.hides(name) {
                *text = hidden_text(text);
            } else {
                self.own(text);
            }
        }
    }

    /// Whether an argument is an option whose value is the next one.
    fn is_option(&self, argument: &str) -> bool {
        let name = argument.trim_start_matches('-');
        argument.starts_with('-') && !name.contains(['=', ' ', '\n']) && self.hides(name)
    }
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        other => vec![other],
    }
}

/// Puts what is shown in place of a value, and that it changed.
fn mark(new: &mut Value, old: &Value, shown: Value) {
    let changed = *new != *old;
    *new = match shown {
        Value::String(text) if changed => Value::String(text.replacen(MASK, CHANGED, 1)),
        shown => shown,
    };
}

/// Masks a value whole; what has parts keeps their names, and references are shown.
fn hide(value: &mut Value) {
    match value {
        Value::String(text) => *text = hidden_text(text),
        Value::Number(_) => *value = Value::from(MASK),
        Value::Array(values) => values.iter_mut().for_each(hide),
        Value::Object(_) if secret::reference(value).is_some() => {}
        Value::Object(fields) => fields.values_mut().for_each(hide),
        Value::Null | Value::Bool(_) => {}
    }
}

/// A text that is masked but for the references in it and the word before them that says how they are meant.
fn hidden_text(text: &str) -> String {
    let parts = match secret::parts(text) {
        Ok(parts) if secret::is_template(text) => parts,
        _ if text.is_empty() => return String::new(),
        _ => return MASK.to_owned(),
    };
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Secret(name) => {
                out.push_str("${secret:");
                out.push_str(name);
                out.push('}');
            }
            Part::Text(plain) => {
                let word = plain.trim().to_ascii_lowercase();
                let harmless = word.is_empty() || SCHEMES.contains(&word.as_str());
                out.push_str(if harmless { plain } else { MASK });
            }
        }
    }
    out
}

/// Refuses a definition that holds what [`Masks`] puts in place of values: it was shown somewhere, and written back.
pub(super) fn check(task: &TaskSpec) -> Result<(), Invalid> {
    let written = |field: String| {
        let message = "holds a mask (`***masked***`) in place of a value that was not shown: write the value, or better a \
                       reference to a secret";
        Err(Invalid::new(&field, message))
    };
    let texts: Vec<(String, &String)> = match &task.handler {
        HandlerSpec::Http(http) => {
            let headers = http.headers.iter();
            let headers =
                headers.map(|(name, value)| (format!("handler.http.headers.{name}"), value));
            headers
                .chain([("handler.http.url".to_owned(), &http.url)])
                .collect()
        }
        HandlerSpec::Command(command) => {
            let env = command.env.iter();
            let env = env.map(|(name, value)| (format!("handler.command.env.{name}"), value));
            let argv = command.argv.iter().enumerate();
            let argv = argv.map(|(n, value)| (format!("handler.command.argv[{n}]"), value));
            let stdin = command
                .stdin
                .iter()
                .map(|text| ("handler.command.stdin".to_owned(), text));
            env.chain(argv).chain(stdin).collect()
        }
        HandlerSpec::Native(_) | HandlerSpec::External(_) => Vec::new(),
    };
    if let Some((field, _)) = texts.into_iter().find(|(_, text)| text.contains(MASK)) {
        return written(field);
    }
    match masked_in("payload", &task.payload) {
        Some(field) => written(field),
        None => Ok(()),
    }
}

/// Where in a payload a mask is.
fn masked_in(field: &str, value: &Value) -> Option<String> {
    if !has_mask(value) {
        return None;
    }
    match value {
        Value::Array(values) => {
            let mut values = values.iter().enumerate();
            values.find_map(|(n, value)| masked_in(&format!("{field}[{n}]"), value))
        }
        Value::Object(fields) => {
            let mut fields = fields.iter();
            fields.find_map(|(name, value)| masked_in(&format!("{field}.{name}"), value))
        }
        _ => Some(field.to_owned()),
    }
}

fn has_mask(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(MASK),
        Value::Array(values) => values.iter().any(has_mask),
        Value::Object(fields) => fields.values().any(has_mask),
        _ => false,
    }
}

/// A name's words, in small letters: divided by what is no letter or digit, and before capitals.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = name.chars().peekable();
    let mut last_small = false;
    while let Some(c) = chars.next() {
        let next_small = chars.peek().is_some_and(|next| next.is_lowercase());
        let begins = c.is_uppercase() && (last_small || next_small);
        if (begins || !c.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        last_small = c.is_lowercase() || c.is_numeric();
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

fn contains<S: AsRef<str>>(words: &[String], name: &[S]) -> bool {
    let same = |some: &[String]| some.iter().zip(name).all(|(a, b)| a == b.as_ref());
    !name.is_empty() && words.windows(name.len()).any(same)
}

#[cfg(test)]
#[path = "mask_tests.rs"]
mod tests;
