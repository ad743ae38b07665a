//! What a run needs of the worker that carries it out, and how programs spell it.

use std::fmt;
use std::str::FromStr;

use campanile_schedule::limits::NAME_BYTES_MAX;
use sha2::{Digest as _, Sha256};

use crate::id::TaskId;
use crate::task::{CommandSpec, HandlerSpec};

/// How the need of a task's secrets begins.
pub(super) const SECRETS: &str = "secrets:";

/// What a worker must have for a handler.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Need {
    Http,
    Native(String),
    /// A program by its path, and in which form it is called: with which arguments and variables. `None`: whichever.
    Command(String, Option<String>),
    /// Some program, whose path is too long or too strange to be told.
    AnyCommand,
    /// A broker that listeners that are not ours have too, where the cluster's is none.
    Listener,
    /// The secrets that a task names in this version of its definition, beside what its handler needs.
    Secrets(TaskId, i64, Box<Self>),
}

impl Need {
    /// What a handler needs of a worker; `None` for a listener that is not ours.
    #[must_use]
    pub fn of(handler: &HandlerSpec) -> Option<Self> {
        Some(match handler {
            HandlerSpec::Http(_) => Self::Http,
            HandlerSpec::Native(name) => Self::Native(name.clone()),
            HandlerSpec::Command(command) => {
                let program = command.argv.first().map_or("", String::as_str);
                let plain = program.bytes().all(|b| b.is_ascii_graphic());
                if plain && (1..=NAME_BYTES_MAX).contains(&program.len()) {
                    Self::Command(program.to_owned(), Some(form(command)))
                } else {
                    Self::AnyCommand
                }
            }
            HandlerSpec::External(_) => return None,
        })
    }

    /// The same with the secrets of a task.
    #[must_use]
    pub fn with_secrets(self, task: TaskId, version: i64) -> Self {
        Self::Secrets(task, version, Box::new(self))
    }

    /// As programs spell it: in the message's property `campanile_needs`, in the store. Printable ASCII.
    #[must_use]
    pub fn token(&self) -> String {
        match self {
            Self::Http => "http".to_owned(),
            Self::Native(name) => format!("native:{name}"),
            Self::Command(program, _) => format!("command:{program}"),
            Self::AnyCommand => "command".to_owned(),
            Self::Listener => "listener".to_owned(),
            Self::Secrets(task, version, need) => {
                format!("{SECRETS}{task}@{version}:{}", need.token())
            }
        }
    }

    /// What [`Self::token`] or [`Self::exact`] has written, for people.
    #[must_use]
    pub fn shown(text: &str) -> String {
        text.parse().map_or_else(
            |_: String| text.replacen(':', ": ", 1),
            |need: Self| need.to_string(),
        )
    }

    /// The same with the form of a command, because a worker may refuse a program in one form and start it in another: what
    /// is refused and what is blocked goes by it.
    #[must_use]
    pub fn exact(&self) -> String {
        match self {
            Self::Command(program, Some(form)) => format!("command:{program}{FORM}{form}"),
            Self::Secrets(task, version, need) => {
                format!("{SECRETS}{task}@{version}:{}", need.exact())
            }
            _ => self.token(),
        }
    }
}

/// What stands before the form of a command.
const FORM: char = '#';

/// Bytes of a form, before they are spelled in hex.
const FORM_BYTES: usize = 8;

/// What of a command a worker may refuse, beside its program: the arguments, the names of its variables, `login`.
fn form(command: &CommandSpec) -> String {
    let names: Vec<&String> = command.env.keys().collect();
    let asked = (command.argv.get(1..), names, command.login);
    let text = serde_json::to_string(&asked).unwrap_or_default();
    hex::encode(&Sha256::digest(text)[..FORM_BYTES])
}

/// A program and its form, where one is told.
fn command(text: &str) -> Need {
    let is_form =
        |form: &str| form.len() == FORM_BYTES * 2 && form.bytes().all(|b| b.is_ascii_hexdigit());
    match text.rsplit_once(FORM).filter(|(_, form)| is_form(form)) {
        Some((program, form)) => Need::Command(program.to_owned(), Some(form.to_owned())),
        None => Need::Command(text.to_owned(), None),
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http => f.write_str("http"),
            Self::Native(name) => write!(f, "native: {name}"),
            Self::Command(program, _) => write!(f, "command: {program}"),
            Self::AnyCommand => f.write_str("command"),
            Self::Listener => f.write_str("listener"),
            Self::Secrets(task, _, need) => write!(f, "{need} with the secrets of task {task}"),
        }
    }
}

impl FromStr for Need {
    type Err = String;

    /// Reads what [`Need::token`] or [`Need::exact`] has written.
    fn from_str(text: &str) -> Result<Self, String> {
        let secrets = || {
            let (of, need) = text.strip_prefix(SECRETS)?.split_once(':')?;
            let (task, version) = of.split_once('@')?;
            let need: Self = need.parse().ok()?;
            Some(need.with_secrets(task.parse().ok()?, version.parse().ok()?))
        };
        if let Some(need) = secrets() {
            return Ok(need);
        }
        match text.split_once(':') {
            None if text == "http" => Ok(Self::Http),
            None if text == "command" => Ok(Self::AnyCommand),
            None if text == "listener" => Ok(Self::Listener),
            Some(("native", name)) => Ok(Self::Native(name.to_owned())),
            Some(("command", text)) => Ok(command(text)),
            _ => Err(format!("`{text}` is nothing that a handler needs")),
        }
    }
}
