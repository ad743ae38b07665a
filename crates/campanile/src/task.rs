//! Tasks as values: the definition that people write, its limits and its defaults. Owns what a valid task is; never
//! reads files and never computes an instant (that is [`crate::schedule`]).

mod check;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::protocol::limits;
use crate::schedule::{self, Dialect, Schedule, TimeZoneName};
use crate::time::Timestamp;

use self::check::check_duration;
pub use self::check::{check_handler, check_name, check_payload};

/// The name of a queue. Cheap to copy around; compared as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueueName(Arc<str>);

impl QueueName {
    /// From text that was validated, or comes from the store.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Default for QueueName {
    fn default() -> Self {
        Self::new("default")
    }
}

/// A task as people define it: the same in TOML, YAML, JSON and the API. Unknown keys are refused by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// Unique; letters, digits, `.`, `_`, `-`, at most 200 bytes.
    pub name: String,
    /// What it is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Cron, `every 10s`, `at 2026-12-01T08:00:00+01:00`; absent = only on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// How to read a cron expression; `auto` goes by its number of fields.
    #[serde(default)]
    pub dialect: Dialect,
    /// IANA zone in which the schedule is meant.
    #[serde(default = "utc")]
    pub timezone: String,
    /// The instant from which `every` counts; absent = when the task was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Timestamp>,
    /// Where its runs are delivered.
    #[serde(default)]
    pub queue: QueueName,
    /// What runs.
    pub handler: HandlerSpec,
    /// What the handler is given.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub payload: serde_json::Value,
    /// What happens to occurrences that are later than `misfire_limit`.
    #[serde(default)]
    pub misfire: Misfire,
    /// How late an occurrence may be before it counts as missed.
    #[serde(default = "misfire_limit", with = "crate::time::duration")]
    pub misfire_limit: Duration,
    /// Occurrences older than this never run, whatever the misfire policy says; absent = no such bound.
    #[serde(
        default,
        with = "optional_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_lateness: Option<Duration>,
    /// What happens to an occurrence that is due while an earlier run is active.
    #[serde(default)]
    pub overlap: Overlap,
    /// How long one attempt may take.
    #[serde(default = "timeout", with = "crate::time::duration")]
    pub timeout: Duration,
    /// Whether a run may be started again after its worker died.
    #[serde(default)]
    pub start: StartMode,
    /// What happens after a failure.
    #[serde(default)]
    pub retry: Retry,
    /// JMS priority, 0 (last) to 9 (first).
    #[serde(default = "priority")]
    pub priority: u8,
    /// Whether the schedule rests; requests still run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

fn utc() -> String {
    "UTC".to_owned()
}

const fn misfire_limit() -> Duration {
    Duration::from_secs(60)
}

const fn timeout() -> Duration {
    Duration::from_secs(300)
}

const fn priority() -> u8 {
    4
}

mod optional_duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(
        clippy::ref_option,
        reason = "serde's `with` hands a reference to the field"
    )]
    pub fn serialize<S: Serializer>(d: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
        match d {
            Some(d) => crate::time::duration::serialize(d, s),
            None => s.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
        #[derive(Deserialize)]
        struct Wrapped(#[serde(with = "crate::time::duration")] Duration);
        Ok(Option::<Wrapped>::deserialize(d)?.map(|w| w.0))
    }
}

/// What runs when a run starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HandlerSpec {
    /// An HTTP request by the worker.
    Http(HttpSpec),
    /// A program on the worker's machine, where the worker's own settings allow it.
    Command(CommandSpec),
    /// A Rust handler registered under this name in the worker.
    Native(String),
    /// A JMS listener that is not ours.
    External(ExternalSpec),
}

impl HandlerSpec {
    /// The word for its kind: `http`, `command`, `native`, `external`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Command(_) => "command",
            Self::Native(_) => "native",
            Self::External(_) => "external",
        }
    }
}

/// An HTTP request. The payload is the body (as JSON) of methods that have one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSpec {
    /// `http://` or `https://`.
    pub url: String,
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE`, `HEAD`.
    #[serde(default = "get")]
    pub method: String,
    /// Sent as they are; `Idempotency-Key`, `Campanile-Run` and `Campanile-Attempt` are added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Status codes that mean success; empty = any 2xx.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<u16>,
}

fn get() -> String {
    "GET".to_owned()
}

/// A program: an argument list, never a shell string. Its environment holds `CAMPANILE_*` and `env`, nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSpec {
    /// The program (an absolute path) and its arguments.
    pub argv: Vec<String>,
    /// Added to the cleared environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Where it runs; absent = `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// What it reads on standard input; absent = the payload as JSON, or nothing when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
}

/// A JMS listener that exists already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalSpec {
    /// The JMS queue it listens on, by its whole name.
    pub destination: String,
    /// What the message's body is.
    #[serde(default)]
    pub body: ExternalBody,
    /// Whether it answers.
    #[serde(default)]
    pub reply: ExternalReply,
}

/// The body of an external message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum ExternalBody {
    /// The message contract: JSON with run, attempt, task, payload.
    #[default]
    Envelope,
    /// The payload alone: a string as it is, anything else as JSON.
    Payload,
}

/// How an external run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum ExternalReply {
    /// By a signed answer on the reply queue.
    #[default]
    Signed,
    /// As handed over, once the broker has confirmed the message.
    None,
}

/// What happens to missed occurrences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Misfire {
    /// The latest missed one runs; those before it are skipped.
    #[default]
    Last,
    /// All missed ones are skipped.
    Skip,
    /// All missed ones run, the latest [`limits::CATCH_UP_RUNS_MAX`] of them at most.
    All,
}

/// What happens when an earlier run of the task is still active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// They run side by side.
    #[default]
    Allow,
}

/// Whether a run may start more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum StartMode {
    /// Until one attempt's end is recorded.
    #[default]
    AtLeastOnce,
    /// 0 or 1 times: a worker that dies after its claim gives `failed(lost)`, and a failure is not tried again.
    AtMostOnce,
}

/// What happens after a failure: up to `max_attempts` starts, each later than the last by a growing wait with full
/// jitter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Starts in all, the first included.
    pub max_attempts: u32,
    /// How the wait grows.
    pub backoff: Backoff,
    /// The first wait.
    #[serde(with = "crate::time::duration")]
    pub initial: Duration,
    /// The longest wait.
    #[serde(with = "crate::time::duration")]
    pub max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: 1,
            backoff: Backoff::Exponential,
            initial: Duration::from_secs(1),
            max: Duration::from_secs(300),
        }
    }
}

/// How the wait between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Backoff {
    /// Always `initial`.
    Fixed,
    /// `initial`, twice, four times … `max`.
    #[default]
    Exponential,
}

/// A task as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Who it is.
    pub id: TaskId,
    /// Grows with every change.
    pub version: i64,
    /// What people wrote, defaults filled in, the anchor fixed.
    pub spec: TaskSpec,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// A field of a task that can't be taken, and what to write instead.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// The field, as in the task file (`handler.http.url`).
    pub field: String,
    /// What is wrong and the remedy.
    pub message: String,
}

impl Invalid {
    /// A refusal.
    #[must_use]
    pub fn new(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            message: message.into(),
        }
    }
}

impl TaskSpec {
    /// The defaults around a handler: what a run that was submitted with its own handler runs under.
    #[must_use]
    pub fn for_handler(handler: HandlerSpec) -> Self {
        Self {
            name: String::new(),
            description: None,
            schedule: None,
            dialect: Dialect::Auto,
            timezone: utc(),
            anchor: None,
            queue: QueueName::default(),
            handler,
            payload: serde_json::Value::Null,
            misfire: Misfire::default(),
            misfire_limit: misfire_limit(),
            max_lateness: None,
            overlap: Overlap::default(),
            timeout: timeout(),
            start: StartMode::default(),
            retry: Retry::default(),
            priority: priority(),
            paused: false,
        }
    }

    /// The compiled schedule. `created_at` anchors an `every` that names no anchor.
    ///
    /// # Errors
    /// The field at fault (`schedule`, `timezone`) with what would be valid.
    pub fn compile(&self, created_at: Timestamp) -> Result<Schedule, Invalid> {
        let options = schedule::Options {
            dialect: self.dialect,
            timezone: TimeZoneName::parse(&self.timezone)
                .map_err(|e| Invalid::new("timezone", e.to_string()))?,
            anchor: self.anchor.unwrap_or(created_at),
            name_for_hash: self.name.clone(),
        };
        Schedule::parse(self.schedule.as_deref(), &options)
            .map_err(|e| Invalid::new("schedule", e.to_string()))
    }

    /// Checks every field against the limits.
    ///
    /// # Errors
    /// The first field at fault.
    pub fn validate(&self, created_at: Timestamp) -> Result<(), Invalid> {
        check_name("name", &self.name)?;
        check_name("queue", self.queue.as_str())?;
        self.compile(created_at)?;
        check_handler(&self.handler)?;
        check_payload(&self.payload)?;
        if self.priority > 9 {
            return Err(Invalid::new(
                "priority",
                format!(
                    "{} is out of range: write 0 (last) to 9 (first)",
                    self.priority
                ),
            ));
        }
        if self.retry.max_attempts == 0 || self.retry.max_attempts > limits::ATTEMPTS_MAX {
            return Err(Invalid::new(
                "retry.max_attempts",
                format!(
                    "{} is out of range: write 1 to {}",
                    self.retry.max_attempts,
                    limits::ATTEMPTS_MAX
                ),
            ));
        }
        if self.start == StartMode::AtMostOnce && self.retry.max_attempts > 1 {
            return Err(Invalid::new(
                "retry.max_attempts",
                "an at-most-once task starts no second attempt: write 1, or start = \"at-least-once\"",
            ));
        }
        check_duration("timeout", self.timeout)?;
        check_duration("misfire_limit", self.misfire_limit)?;
        check_duration("retry.initial", self.retry.initial)?;
        check_duration("retry.max", self.retry.max)?;
        self.max_lateness
            .map_or(Ok(()), |d| check_duration("max_lateness", d))
    }
}
