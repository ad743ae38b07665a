//! Where settings come from: flags, the environment, a file, defaults. Gathers raw texts with their sources and refuses
//! names that no setting has; what a text means is decided in [`super`].

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

use campanile::failpoint;
use campanile::misread::nearest;

use super::keys::{self, KEYS, Kind};
use super::{Error, Wrong};
use crate::document::toml_syntax;
use crate::failpoint::VARIABLE;

/// Names in the environment that are not settings of a node and yet ours: those of client commands, and those that
/// command handlers are given.
const OTHER_ENV: &[&str] = &[
    "USER",
    "LOGNAME",
    "CAMPANILE_CONFIG",
    "CAMPANILE_URL",
    "CAMPANILE_CA",
    "CAMPANILE_KEY",
    "CAMPANILE_RUN",
    "CAMPANILE_ATTEMPT",
    "CAMPANILE_TASK",
    "CAMPANILE_DUE_AT",
];

/// The environment, as it was read once.
pub type Environment = HashMap<String, String>;

/// Reads those variables of the environment that are ours, and who it is: the one site of the program that does.
#[must_use]
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, value)| {
            let ours = name.starts_with("CAMPANILE_") || name == "USER" || name == "LOGNAME";
            ours && !value.is_empty()
        })
        .collect()
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag.
    Flag(String),
    /// A variable of the environment.
    Env(String),
    /// A line of the file.
    File(String, usize),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Env(name) => f.write_str(name),
            Self::File(path, line) => write!(f, "{path} line {line}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value as it was written. It may be a secret, or a URL with one: its debug form tells where it is from, not what it
/// is.
#[derive(Clone, PartialEq, Eq)]
pub struct Raw {
    /// Its parts: one, unless the setting is a list.
    pub parts: Vec<String>,
    /// Where it was written.
    pub source: Source,
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({} parts from {})", self.parts.len(), self.source)
    }
}

impl Raw {
    /// From one text: a list is split at its commas.
    #[must_use]
    pub fn split(text: &str, kind: Kind, source: Source) -> Self {
        let parts = match kind {
            Kind::List => text
                .split(',')
                .map(str::trim)
                .filter(|p| !p.is_empty())
                .map(str::to_owned)
                .collect(),
            _ if text.is_empty() => Vec::new(),
            _ => vec![text.to_owned()],
        };
        Self { parts, source }
    }
}

/// One layer: values by the names of settings.
pub type Layer = BTreeMap<&'static str, Raw>;

/// The layer of the environment.
///
/// # Errors
/// A `CAMPANILE_` variable that is no setting.
pub fn from_environment(environment: &Environment) -> Result<Layer, Error> {
    let mut out = Layer::new();
    let mut unknown: Vec<&String> = Vec::new();
    for (name, value) in environment {
        match KEYS.iter().find(|k| k.env() == *name) {
            Some(key) => {
                let raw = Raw::split(value, key.kind, Source::Env(name.clone()));
                out.insert(key.name, raw);
            }
            None if OTHER_ENV.contains(&name.as_str()) => {}
            None if failpoint::ENABLED && name == VARIABLE => {}
            None => unknown.push(name),
        }
    }
    unknown.sort();
    match unknown.first() {
        None => Ok(out),
        Some(name) => {
            let names: Vec<String> = KEYS.iter().map(keys::Key::env).collect();
            let near = nearest(name, names.iter().map(String::as_str));
            Err(Error::UnknownKey {
                place: "the environment".to_owned(),
                name: (*name).clone(),
                remedy: remedy(near),
            })
        }
    }
}

/// The layer of a file.
///
/// # Errors
/// A file that can't be read, is no TOML, or names what is no setting.
pub fn from_file(path: &Path) -> Result<Layer, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    read_toml(&text, &path.display().to_string())
}

fn read_toml(text: &str, path: &str) -> Result<Layer, Error> {
    let line_of = |at: usize| {
        1 + text
            .as_bytes()
            .iter()
            .take(at)
            .filter(|b| **b == b'\n')
            .count()
    };
    let table = toml::de::DeTable::parse(text).map_err(|e| Error::Syntax {
        place: format!("{path} line {}", e.span().map_or(1, |s| line_of(s.start))),
        message: toml_syntax(text, e.span().map(|s| s.start), e.message()),
    })?;
    let mut out = Layer::new();
    for (name, value) in table.get_ref() {
        let line = line_of(name.span().start);
        let Some(key) = keys::find(name.get_ref()) else {
            return Err(Error::UnknownKey {
                place: format!("{path} line {line}"),
                name: name.get_ref().to_string(),
                remedy: remedy(nearest(name.get_ref(), KEYS.iter().map(|k| k.name))),
            });
        };
        let source = Source::File(path.to_owned(), line);
        let raw = raw_value(value.get_ref(), key.kind, source.clone()).ok_or_else(|| Wrong {
            key: key.name,
            place: source.to_string(),
            message: match key.kind {
                Kind::List => "write a list of strings, as in [\"a\", \"b\"]".to_owned(),
                _ => "write one value, as in \"text\"".to_owned(),
            },
        })?;
        out.insert(key.name, raw);
    }
    Ok(out)
}

fn raw_value(value: &toml::de::DeValue<'_>, kind: Kind, source: Source) -> Option<Raw> {
    use toml::de::DeValue;
    if let (Kind::List, DeValue::Array(items)) = (kind, value) {
        let parts = items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                _ => None,
            })
            .collect::<Option<Vec<String>>>()?;
        return Some(Raw { parts, source });
    }
    let text = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Boolean(switch) => switch.to_string(),
        _ => return None,
    };
    Some(Raw::split(&text, kind, source))
}

fn remedy(near: Option<&str>) -> String {
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`campanile config check` lists the settings".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_values_with_their_lines() {
        let layer = read_toml(
            "store = \"sqlite:x\"\n\nslots = 3\nqueues = [\"a\", \"b\"]\n",
            "f",
        )
        .unwrap();
        assert_eq!(layer["slots"].parts, ["3"]);
        assert_eq!(layer["slots"].source.to_string(), "f line 3");
        assert_eq!(layer["queues"].parts, ["a", "b"]);
    }

    #[test]
    fn what_is_no_setting_is_named_with_what_is_near() {
        let cases = [
            (
                "sotre = \"x\"",
                "f line 1: `sotre` is not a setting: did you mean `store`?",
            ),
            (
                "\n[redis]\nurl = 1",
                "f line 2: `redis` is not a setting: `campanile config check` lists the settings",
            ),
            (
                "slots = [1]",
                "setting `slots` (f line 1): write one value, as in \"text\"",
            ),
            (
                "queues = [1]",
                "setting `queues` (f line 1): write a list of strings, as in [\"a\", \"b\"]",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read_toml(text, "f").unwrap_err().to_string(), expected);
        }
        assert!(
            read_toml("a = ", "f")
                .unwrap_err()
                .to_string()
                .starts_with("f line 1: ")
        );
    }

    #[test]
    fn the_environment_is_as_strict_as_the_file() {
        let env = |name: &str| Environment::from([(name.to_owned(), "x".to_owned())]);
        assert!(from_environment(&env("CAMPANILE_URL")).unwrap().is_empty());
        assert_eq!(
            from_environment(&env("CAMPANILE_STOR"))
                .unwrap_err()
                .to_string(),
            "the environment: `CAMPANILE_STOR` is not a setting: did you mean `CAMPANILE_STORE`?"
        );
    }
}
