//! Where settings come from: flags, the environment, a file, defaults. Gathers raw texts with their sources and refuses
//! names that no setting has; what a text means is decided in [`super`].

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

use campanile_adapters::handlers::{Allowed, split_allowed};
use campanile_core::failpoint;
use campanile_core::misread::nearest;

use super::keys::{self, KEYS, Kind};
use super::vault::{self, Placed};
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

/// What the names of variables begin with that hold secrets for tasks: they are no settings.
pub const SECRET_PREFIX: &str = "CAMPANILE_SECRET_";

/// The variables of the environment that are ours (`CAMPANILE_…`) and say who it is (`USER`, `LOGNAME`), as
/// [`crate::handover`] read them once. Those of secrets (`CAMPANILE_SECRET_…`) are among them.
pub type Environment = HashMap<String, String>;

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
            Kind::Programs => split_allowed(text),
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
            None if name.starts_with(SECRET_PREFIX) => {}
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
pub fn from_file(path: &Path) -> Result<(Layer, Vec<Placed>), Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    read_toml(&text, &path.display().to_string())
}

fn read_toml(text: &str, path: &str) -> Result<(Layer, Vec<Placed>), Error> {
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
    let mut secrets = Vec::new();
    if let Some((name, value)) = table.get_ref().get_key_value(SECRETS) {
        let line = line_of(name.span().start);
        let place = |at: usize| format!("{path} line {}", if at == 0 { line } else { line_of(at) });
        secrets = vault::read(value.get_ref(), &place)?;
    }
    let mut out = Layer::new();
    read_table("", table.get_ref(), &mut out, &|at| {
        Source::File(path.to_owned(), line_of(at))
    })?;
    Ok((out, secrets))
}

/// The table of the file that is no setting: what is said of secrets.
const SECRETS: &str = "secret";

/// Reads a table of the file. A table within it is a beginning of names: `[access.proxy] header` is `access_proxy_header`.
fn read_table(
    begun: &str,
    table: &toml::de::DeTable<'_>,
    out: &mut Layer,
    source: &dyn Fn(usize) -> Source,
) -> Result<(), Error> {
    for (name, value) in table {
        if begun.is_empty() && name.get_ref() == SECRETS {
            continue;
        }
        let source_here = source(name.span().start);
        let place = source_here.to_string();
        let name = format!("{begun}{}", name.get_ref());
        let within = format!("{name}_");
        if let toml::de::DeValue::Table(inner) = value.get_ref()
            && KEYS.iter().any(|key| key.name.starts_with(&within))
        {
            read_table(&within, inner, out, source)?;
            continue;
        }
        let Some(key) = keys::find(&name) else {
            let remedy = remedy(nearest(&name, KEYS.iter().map(|k| k.name)));
            return Err(Error::UnknownKey {
                place,
                name,
                remedy,
            });
        };
        let raw = read_value(key, value.get_ref(), source_here)?;
        if out.insert(key.name, raw).is_some() {
            let message =
                "is there twice, as a name of its own and within a table: write it once".to_owned();
            return Err(Wrong {
                key: key.name,
                place,
                message,
            }
            .into());
        }
    }
    Ok(())
}

/// Reads the value of a setting.
fn read_value(
    key: &keys::Key,
    value: &toml::de::DeValue<'_>,
    source: Source,
) -> Result<Raw, Wrong> {
    let place = source.to_string();
    let wrong = |message| Wrong {
        key: key.name,
        place: place.clone(),
        message,
    };
    if let (Kind::Programs, toml::de::DeValue::Array(items)) = (key.kind, value) {
        let entries = items.iter().map(|item| program_entry(item.get_ref()));
        let parts = entries.collect::<Result<_, _>>().map_err(wrong)?;
        return Ok(Raw { parts, source });
    }
    raw_value(value, key.kind, source).ok_or_else(|| {
        wrong(match key.kind {
            Kind::List => "write a list of strings, as in [\"a\", \"b\"]".to_owned(),
            _ => "write one value, as in \"text\"".to_owned(),
        })
    })
}

/// An entry of the allow-list of programs, as a flag would have it.
fn program_entry(value: &toml::de::DeValue<'_>) -> Result<String, String> {
    use toml::de::DeValue;
    let odd = || {
        "write each entry as a text, as in \"/usr/bin/df\", or as in { program = \"/usr/bin/df\", args = [\"-h\", \"/data/*\"] }"
            .to_owned()
    };
    let table = match value {
        DeValue::String(text) => return Ok(text.to_string()),
        DeValue::Table(table) => table,
        _ => return Err(odd()),
    };
    let known = |name: &str| matches!(name, "program" | "args");
    if let Some(name) = table.keys().find(|name| !known(name.get_ref())) {
        return Err(format!(
            "`{}` is no part of an entry: {}",
            name.get_ref(),
            odd()
        ));
    }
    let Some(DeValue::String(program)) = table.get("program").map(|value| value.get_ref()) else {
        return Err(format!("`program` is missing: {}", odd()));
    };
    let args = match table.get("args").map(|value| value.get_ref()) {
        None => None,
        Some(DeValue::Array(items)) => {
            let text = |item: &toml::Spanned<DeValue<'_>>| match item.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                _ => Err(odd()),
            };
            Some(items.iter().map(text).collect::<Result<Vec<_>, _>>()?)
        }
        Some(_) => return Err(odd()),
    };
    let args: Option<Vec<&str>> = args
        .as_ref()
        .map(|all| all.iter().map(String::as_str).collect());
    Allowed::new(program, args.as_deref()).map(|entry| entry.to_string())
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
        let (layer, _) = read_toml(
            "store = \"sqlite:x\"\n\nslots = 3\nqueues = [\"a\", \"b\"]\n",
            "f",
        )
        .unwrap();
        assert_eq!(layer["slots"].parts, ["3"]);
        assert_eq!(layer["slots"].source.to_string(), "f line 3");
        assert_eq!(layer["queues"].parts, ["a", "b"]);
    }

    #[test]
    fn programs_are_texts_or_tables() {
        let read = |text: &str| read_toml(&format!("allow_commands = {text}"), "f");
        let layer = read(
            "[\"/usr/bin/df -h\", { program = \"/bin/a b\", args = [\"x y\", \"/data/*\", \"...\"] }, { program = \"/bin/c\", args = [] }, \
             { program = \"/bin/d\" }]",
        );
        assert_eq!(
            layer.unwrap().0["allow_commands"].parts,
            [
                "/usr/bin/df -h",
                "'/bin/a b' 'x y' /data/* ...",
                "/bin/c ()",
                "/bin/d"
            ]
        );
        assert_eq!(
            read("\"/a -x, /b\"").unwrap().0["allow_commands"].parts,
            ["/a -x", "/b"]
        );
        for (text, part) in [
            ("[1]", "write each entry"),
            ("[{ args = [] }]", "`program` is missing"),
            ("[{ program = \"/a\", arg = [] }]", "`arg` is no part"),
            ("[{ program = \"/a\", args = \"x\" }]", "write each entry"),
            ("[{ program = \"a\" }]", "not an absolute path"),
            (
                "[{ program = \"/a\", args = [\"...\", \"b\"] }]",
                "nothing follows",
            ),
        ] {
            let said = read(text).unwrap_err().to_string();
            assert!(
                said.starts_with("setting `allow_commands` (f line 1): ") && said.contains(part),
                "{said}"
            );
        }
    }

    #[test]
    fn a_table_is_the_beginning_of_names() {
        let text = "[access.proxy]\nheader = \"X-User\"\nfrom = [\"10.0.0.1\", \"fd00::/8\"]\n";
        let (layer, _) = read_toml(text, "f").unwrap();
        assert_eq!(layer["access_proxy_header"].parts, ["X-User"]);
        assert_eq!(layer["access_proxy_header"].source.to_string(), "f line 2");
        assert_eq!(layer["access_proxy_from"].parts, ["10.0.0.1", "fd00::/8"]);
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
        for (text, told) in [
            (
                "[access.proxy]\nheadr = \"x\"",
                "f line 2: `access_proxy_headr` is not a setting: did you mean `access_proxy_header`?",
            ),
            (
                "[access]\n[access.frobnicate]\nx = 1",
                "f line 2: `access_frobnicate` is not a setting",
            ),
            (
                "access_proxy_header = \"x\"\n[access.proxy]\nheader = \"y\"",
                "is there twice",
            ),
            ("access = 1", "f line 1: `access` is not a setting"),
        ] {
            let said = read_toml(text, "f").unwrap_err().to_string();
            assert!(said.contains(told), "{said}");
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
