//! Idempotency keys: to whom a key belongs, and what a request with a key says. A second request with the key is the
//! same request if it says the same; else it is another one's, and is refused. Pure: where keys are kept is the store's.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use campanile_schedule::time::{Timestamp, duration_ms};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::id::TaskId;
use crate::task::{HandlerSpec, Retry};

/// To whom a key belongs: the same key means something else to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    Task(TaskId),
    /// To a handler, for runs without a task: `http`, `command`, `external`, `native:NAME`.
    Handler(String),
    /// To the engine itself. No request reaches it, whatever its key.
    Engine,
}

impl Scope {
    /// The scope of runs with a handler of their own and no task.
    #[must_use]
    pub fn of_handler(handler: &HandlerSpec) -> Self {
        Self::Handler(match handler {
            HandlerSpec::Native(name) => format!("native:{name}"),
            other => other.kind().to_owned(),
        })
    }

    /// A handler's scope as people write it.
    ///
    /// # Errors
    /// What to write instead.
    pub fn read_handler(text: &str) -> Result<Self, String> {
        let is_known = matches!(text, "http" | "command" | "external")
            || text
                .strip_prefix("native:")
                .is_some_and(|name| !name.is_empty());
        if is_known {
            return Ok(Self::Handler(text.to_owned()));
        }
        Err(format!(
            "`{text}` names no handler: write http, command, external or native:NAME"
        ))
    }
}

impl fmt::Display for Scope {
    /// As stores keep it, for ever.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(id) => write!(f, "task:{}", id.as_i64()),
            Self::Handler(name) => write!(f, "handler:{name}"),
            Self::Engine => f.write_str("engine"),
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "engine" {
            return Ok(Self::Engine);
        }
        if let Some(name) = text.strip_prefix("handler:") {
            return Ok(Self::Handler(name.to_owned()));
        }
        let id = text.strip_prefix("task:").and_then(|id| id.parse().ok());
        id.map(|id| Self::Task(TaskId::from_i64(id)))
            .ok_or_else(|| format!("`{text}` is no scope of keys"))
    }
}

/// A key with what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// To whom it belongs.
    pub scope: Scope,
    /// As the caller wrote it.
    pub text: String,
    /// What the request says; `None` = a request with this key is the same one, whatever it says.
    pub content: Option<Digest>,
}

impl Key {
    /// A key of the engine's own, which stands for one thing.
    #[must_use]
    pub const fn of_engine(text: String) -> Self {
        Self {
            scope: Scope::Engine,
            text,
            content: None,
        }
    }

    /// Whether a request with this key asks for what the key stands for already. Keys that were kept before their
    /// content was (`None`) stand for any.
    #[must_use]
    pub fn is_same(&self, kept: Option<&Digest>) -> bool {
        match (&self.content, kept) {
            (Some(own), Some(kept)) => own == kept,
            _ => true,
        }
    }
}

/// SHA-256 of what a request says, in one spelling, as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest(String);

impl Digest {
    /// As a store kept it.
    #[must_use]
    pub const fn from_spelling(text: String) -> Self {
        Self(text)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a request says, as far as it was said: what is absent is the task's, also when the task changes later.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    pub handler: Option<&'a HandlerSpec>,
    pub payload: Option<&'a Value>,
    pub queue: Option<&'a str>,
    pub priority: Option<u8>,
    /// Its instant; absent = now, whenever that was.
    pub run_at: Option<Timestamp>,
    pub retry: Option<&'a Retry>,
    /// How long one of its attempts may take.
    pub timeout: Option<Duration>,
}

impl Content<'_> {
    /// Its digest. The scope goes in, and the order of an object's fields does not.
    #[must_use]
    pub fn digest(&self, scope: &Scope) -> Digest {
        let handler = self
            .handler
            .map(|h| serde_json::to_value(h).unwrap_or_default());
        let parts = [
            Value::from(scope.to_string()),
            handler.unwrap_or_default(),
            self.payload.cloned().unwrap_or_default(),
            Value::from(self.queue),
            Value::from(self.priority),
            Value::from(self.run_at.map(Timestamp::as_ms)),
            self.retry
                .map(|retry| serde_json::to_value(retry).unwrap_or_default())
                .unwrap_or_default(),
            Value::from(self.timeout.map(duration_ms)),
        ];
        let mut text = String::from("1");
        for part in &parts {
            text.push('\n');
            canonical(part, &mut text);
        }
        Digest(hex::encode(Sha256::digest(text.as_bytes())))
    }
}

/// JSON with the fields of objects in one order.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            out.push('{');
            for (name, value) in fields {
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
#[path = "../../../tests/decide/edit/keys_tests.rs"]
mod tests;
