//! What runs: the handlers that a task can name, with their settings. Values only; the handlers themselves are behind
//! `port::handler`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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

/// A program: an argument list, never a shell string. Its environment holds `CAMPANILE_*`, `PATH` and `env`; with
/// `login` also who its user is; nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSpec {
    /// The program (an absolute path) and its arguments.
    pub argv: Vec<String>,
    /// Added to the cleared environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Where it runs; absent = `/`, with `login` the home of its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// What it reads on standard input; absent = the payload as JSON, or nothing when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Whether it starts as cron starts commands: in the home of the worker's user, with that user's `HOME`, `USER` and
    /// `LOGNAME` from the machine's own list of users, `SHELL=/bin/sh` and `PATH=/usr/bin:/bin`. `env` may set `HOME`,
    /// `SHELL` and `PATH` otherwise, never the name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub login: bool,
    /// Whether what it leaves running may go on after it ended well. Its attempt has ended then, for `overlap` too. A program
    /// that failed or was stopped takes all with it in any case.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_children: bool,
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
