//! Secrets in a node's settings: the tables `[[secret]]` of the file, the variables `CAMPANILE_SECRET_…`, the folder. Owns
//! how they are written and what `config check` and `doctor` say of them: names and places, never a value.

use std::collections::BTreeMap;
use std::path::PathBuf;

use campanile_adapters::secrets::{Options, Rule, Seen, VARIABLE};
use campanile_core::limits;
use campanile_core::misread::nearest;
use campanile_core::task::secret::check_secret_name;
use toml::de::DeValue;

use super::{Environment, Error, Hidden, Written, Wrong};

/// What a table may hold.
const FIELDS: [&str; 5] = ["name", "tasks", "owners", "hosts", "programs"];

/// A rule and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    rule: Rule,
    place: String,
}

/// The tables of a file; `place` says where something stands.
pub(super) fn read(
    value: &DeValue<'_>,
    place: &dyn Fn(usize) -> String,
) -> Result<Vec<Placed>, Error> {
    let wrong = |at: usize, message: String| Wrong {
        key: "secret",
        place: place(at),
        message,
    };
    let DeValue::Array(tables) = value else {
        let message = "write tables, as in [[secret]] with name, tasks, owners and hosts below it";
        return Err(wrong(0, message.to_owned()).into());
    };
    if tables.len() > limits::SECRET_RULES_MAX {
        let message = format!(
            "{} tables are over the limit of {}",
            tables.len(),
            limits::SECRET_RULES_MAX
        );
        return Err(wrong(0, message).into());
    }
    let mut out = Vec::with_capacity(tables.len());
    for table in tables {
        let at = table.span().start;
        let DeValue::Table(fields) = table.get_ref() else {
            return Err(wrong(at, "write a table, as in [[secret]]".to_owned()).into());
        };
        let mut lists: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (key, value) in fields {
            let name: &str = key.get_ref();
            let Some(field) = FIELDS.iter().find(|field| **field == name) else {
                return Err(Error::UnknownKey {
                    place: place(key.span().start),
                    name: format!("secret.{name}"),
                    remedy: match nearest(name, FIELDS.into_iter()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("a secret has {}", FIELDS.join(", ")),
                    },
                });
            };
            let texts = texts(value.get_ref(), *field == "name").ok_or_else(|| {
                let message = match *field {
                    "name" => "name: write one text, as in \"REPORTS_KEY\"".to_owned(),
                    field => format!("{field}: write a list of strings, as in [\"a\", \"b\"]"),
                };
                wrong(key.span().start, message)
            })?;
            lists.insert(*field, texts);
        }
        let rule = rule(lists).map_err(|message| wrong(at, message))?;
        out.push(Placed {
            rule,
            place: place(at),
        });
    }
    Ok(out)
}

/// One text, or a list of texts.
fn texts(value: &DeValue<'_>, one: bool) -> Option<Vec<String>> {
    match value {
        DeValue::String(text) if one => Some(vec![text.to_string()]),
        DeValue::Array(items) if !one => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

fn rule(mut lists: BTreeMap<&str, Vec<String>>) -> Result<Rule, String> {
    let mut take = |field: &str| lists.remove(field).unwrap_or_default();
    let name = take("name")
        .pop()
        .ok_or("name: is missing: write which secret, as in name = \"REPORTS_KEY\"")?;
    check_secret_name(&name).map_err(|message| format!("name: {message}"))?;
    let rule = Rule {
        name,
        tasks: take("tasks"),
        owners: take("owners"),
        hosts: take("hosts"),
        programs: take("programs"),
    };
    rule.check()
        .map_err(|(field, message)| format!("{field}: {message}"))?;
    Ok(rule)
}

/// The values that stand in the environment.
pub(super) fn given(environment: &Environment) -> BTreeMap<String, Hidden> {
    let ours = environment.iter().filter_map(|(variable, value)| {
        let name = variable.strip_prefix(VARIABLE)?;
        Some((name.to_owned(), Hidden::new(value.clone())))
    });
    ours.collect()
}

impl Written {
    /// What the node has of secrets.
    pub(super) fn secrets(&self) -> Result<Options, Wrong> {
        if let Some(name) = self
            .given
            .keys()
            .find(|name| check_secret_name(name).is_err())
        {
            let message = format!(
                "{VARIABLE}{name} names no secret: behind {VARIABLE} comes the secret's name"
            );
            return Err(self.wrong("secrets_dir", message));
        }
        let given = self.given.iter();
        Ok(Options {
            folder: self.text("secrets_dir").map(PathBuf::from),
            given: given
                .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
                .collect(),
            rules: self
                .secret_rules
                .iter()
                .map(|placed| placed.rule.clone())
                .collect(),
            seen: Seen::default(),
        })
    }

    /// Each rule with what it allows and where it is written: lines of `config check`.
    #[must_use]
    pub fn secrets_shown(&self) -> Vec<(String, String, String)> {
        let list = |what: &str, items: &[String]| match items {
            [] => format!("no {what}"),
            items => format!("{what} {}", items.join(", ")),
        };
        let rules = self.secret_rules.iter().map(|Placed { rule, place }| {
            let allowed = [
                list("tasks", &rule.tasks),
                list("owners", &rule.owners),
                list("hosts", &rule.hosts),
                list("programs", &rule.programs),
            ];
            (
                format!("secret {}", rule.name),
                allowed.join("; "),
                place.clone(),
            )
        });
        rules.collect()
    }
}

/// What is to be said of a node's secrets: for each rule whether there is a value and who may use it. The flag tells what
/// keeps it from being used from what only should be known.
#[must_use]
pub fn look_over(options: &Options) -> Vec<(bool, String)> {
    let mut said = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for rule in &options.rules {
        if let Some(list) = rule.missing() {
            said.push((
                false,
                format!(
                    "nobody may use the secret `{0}`: `{list}` of its [[secret]] is empty; write names, or \"*\" for all",
                    rule.name
                ),
            ));
        }
        if seen.contains(&rule.name.as_str()) {
            continue;
        }
        seen.push(&rule.name);
        said.push(match options.place(&rule.name) {
            Ok(place) => (true, format!("the secret `{}` is in {place}", rule.name)),
            Err(why) => (false, why),
        });
    }
    for name in options.idle() {
        let why = format!(
            "the secret `{name}` is here, and no [[secret]] says who may use it: nobody may"
        );
        said.push((false, why));
    }
    said
}
