//! Task files: TOML, YAML and JSON of one shape (`[[task]]`), read into definitions. Every refusal names file, line,
//! task and field. What the definitions change is decided by [`campanile::control`].

use std::fmt;
use std::path::{Path, PathBuf};

use campanile::calendar::CalendarSpec;
use campanile::control::{self, Apply, Control, Definitions};
use campanile::protocol::permits::LimitKey;
use campanile::task::TaskSpec;
use serde::Deserialize;
use serde_json::{Map, Value};

mod lines;

use self::lines::Lines;
use crate::api::problem::chain;
use crate::config::nearest;

/// Why a file, or one task of it, can't be taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Error {
    /// The file and line, where there are such.
    pub place: Option<String>,
    /// The task: its name, or its number.
    pub task: Option<String>,
    /// The field at fault.
    pub field: Option<String>,
    /// What is wrong, and what to write.
    pub message: String,
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if let Some(task) = &self.task {
            write!(f, "task {task}: ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// A file that was read.
#[derive(Debug, Clone)]
pub struct TaskFile {
    path: String,
    lines: Lines,
    /// Its tasks, in their order.
    pub tasks: Vec<TaskSpec>,
    /// Its calendars.
    pub calendars: Vec<CalendarSpec>,
    /// Its limits of queues and groups.
    pub limits: Vec<(LimitKey, u32)>,
}

impl TaskFile {
    /// Reads a file; its form goes by its name (`.toml`, `.yaml`, `.yml`, `.json`).
    ///
    /// # Errors
    /// The first thing that can't be taken, with its place.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error {
            place: Some(path.display().to_string()),
            message: format!("can't be read: {e}"),
            ..Error::default()
        })?;
        Self::parse(&text, path)
    }

    /// Reads a text as if it came from a file of this name.
    ///
    /// # Errors
    /// The first thing that can't be taken, with its place.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let shown = path.display().to_string();
        let form = Form::of(path)?;
        let Parts {
            tasks: values,
            calendars,
            limits,
        } = form.parts(text).map_err(|(line, message)| Error {
            place: Some(at(&shown, line)),
            message,
            ..Error::default()
        })?;
        let lines = Lines::find(text, form, values.len());
        let mut file = Self {
            path: shown,
            lines,
            tasks: Vec::with_capacity(values.len()),
            calendars: Vec::with_capacity(calendars.len()),
            limits: Vec::with_capacity(limits.len()),
        };
        file.read_shared(calendars, limits)?;
        for (index, value) in values.into_iter().enumerate() {
            let named = name_of(&value, index);
            let spec = read_one(value).map_err(|e| Error {
                place: Some(file.place(index, e.field.as_deref())),
                task: Some(named),
                ..e
            })?;
            file.tasks.push(spec);
        }
        file.check_names()?;
        Ok(file)
    }

    /// The place of a field of the task with this name: what an error of the API is shown with.
    #[must_use]
    pub fn place_of(&self, task: &str, field: Option<&str>) -> Option<String> {
        let index = self.tasks.iter().position(|t| t.name == task)?;
        Some(self.place(index, field))
    }

    /// Makes the tasks be as the file says.
    ///
    /// # Errors
    /// What control refuses, with its place.
    pub async fn apply(&self, control: &Control) -> Result<(), Error> {
        let diff = control
            .apply(&self.definitions(), Apply::default())
            .await
            .map_err(|error| self.refused(&error))?;
        tracing::info!(
            created = diff.created.len(),
            changed = diff.changed.len(),
            unchanged = diff.unchanged.len(),
            "the task file {} is applied",
            self.path
        );
        Ok(())
    }

    /// All that it defines.
    #[must_use]
    pub fn definitions(&self) -> Definitions {
        Definitions {
            tasks: self.tasks.clone(),
            calendars: self.calendars.clone(),
            limits: self.limits.clone(),
        }
    }

    fn read_shared(&mut self, calendars: Vec<Value>, limits: Vec<Value>) -> Result<(), Error> {
        let refused = |what: &str, value: &Value, index, message: String| {
            let message = message
                .split(" at line ")
                .next()
                .unwrap_or_default()
                .to_owned();
            Error {
                place: Some(self.path.clone()),
                field: Some(format!("{what} {}", name_of(value, index))),
                message,
                ..Error::default()
            }
        };
        let mut read = (Vec::new(), Vec::new());
        for (index, value) in calendars.into_iter().enumerate() {
            let spec = serde_json::from_value(value.clone());
            read.0
                .push(spec.map_err(|e| refused("calendar", &value, index, e.to_string()))?);
        }
        for (index, value) in limits.into_iter().enumerate() {
            let limit = serde_json::from_value(value.clone()).map_err(|e| e.to_string());
            let limit = limit.and_then(|l: LimitOf| Ok((l.limit.parse()?, l.max_running)));
            read.1
                .push(limit.map_err(|message| refused("limit", &value, index, message))?);
        }
        (self.calendars, self.limits) = read;
        Ok(())
    }

    fn refused(&self, error: &control::Error) -> Error {
        let place = match error {
            control::Error::Invalid {
                task: Some(task),
                field,
                ..
            } => self.place_of(task, Some(field)),
            _ => None,
        };
        Error {
            place: Some(place.unwrap_or_else(|| self.path.clone())),
            message: chain(error),
            ..Error::default()
        }
    }

    fn place(&self, index: usize, field: Option<&str>) -> String {
        at(&self.path, self.lines.of(index, field))
    }

    fn check_names(&self) -> Result<(), Error> {
        let mut seen = std::collections::HashMap::new();
        for (index, task) in self.tasks.iter().enumerate() {
            if let Some(first) = seen.insert(&task.name, index) {
                let other = match self.lines.of(first, Some("name")) {
                    Some(line) => format!("line {line}"),
                    None => format!("task {} of the file", first + 1),
                };
                return Err(Error {
                    place: Some(self.place(index, Some("name"))),
                    task: Some(format!("`{}`", task.name)),
                    field: Some("name".to_owned()),
                    message: format!(
                        "is defined at {other} already: give one of the two another name"
                    ),
                });
            }
        }
        Ok(())
    }
}

fn at(path: &str, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{path} line {line}"),
        None => path.to_owned(),
    }
}

fn name_of(value: &Value, index: usize) -> String {
    match value.get("name").and_then(Value::as_str) {
        Some(name) => format!("`{}`", name.escape_default()),
        None => format!("{}", index + 1),
    }
}

/// Reads one definition.
///
/// # Errors
/// The field at fault.
pub fn read_one(value: Value) -> Result<TaskSpec, Error> {
    let Value::Object(fields) = value else {
        return Err(Error {
            message: "is not a task: write its fields, as in name = \"…\"".to_owned(),
            ..Error::default()
        });
    };
    match serde_json::from_value(Value::Object(fields.clone())) {
        Ok(spec) => Ok(spec),
        Err(e) => Err(explain(&fields, &e.to_string())),
    }
}

/// Which field it was: serde says what is wrong, and each field is tried alone to find where.
fn explain(fields: &Map<String, Value>, message: &str) -> Error {
    let message = message.split(" at line ").next().unwrap_or(message);
    let error = |field: &str, message: String| Error {
        field: Some(field.to_owned()),
        message,
        ..Error::default()
    };
    if let Some(field) = ["name", "handler"]
        .into_iter()
        .find(|f| !fields.contains_key(*f))
    {
        let unknown = unknown_field(message).filter(|f| fields.contains_key(*f));
        if unknown.is_none() {
            return error(field, "is missing".to_owned());
        }
    }
    for (name, value) in fields {
        let mut alone = Map::from_iter([
            ("name".to_owned(), Value::from("x")),
            ("handler".to_owned(), serde_json::json!({"native": "x"})),
        ]);
        alone.insert(name.clone(), value.clone());
        let Err(e) = serde_json::from_value::<TaskSpec>(Value::Object(alone)) else {
            continue;
        };
        let said = e.to_string();
        let said = said.split(" at line ").next().unwrap_or(&said);
        return match unknown_field(said) {
            Some(unknown) if unknown == name => {
                let message = match nearest(unknown, expected_fields(said)) {
                    Some(near) => format!("is not a field of a task: did you mean `{near}`?"),
                    None => format!("is not a field of a task: {}", list_of(said)),
                };
                error(name, message)
            }
            Some(unknown) => {
                let field = format!("{}.{unknown}", path_to(name, value, unknown));
                let message = match nearest(unknown, expected_fields(said)) {
                    Some(near) => format!("is not known here: did you mean `{near}`?"),
                    None => format!("is not known here: {}", list_of(said)),
                };
                error(&field, message)
            }
            None => error(name, said.to_owned()),
        };
    }
    Error {
        message: message.to_owned(),
        ..Error::default()
    }
}

/// The path to the object that has this key, below a field.
fn path_to(name: &str, value: &Value, key: &str) -> String {
    if let Value::Object(inner) = value
        && !inner.contains_key(key)
    {
        for (field, below) in inner {
            if holds(below, key) {
                return path_to(&format!("{name}.{field}"), below, key);
            }
        }
    }
    name.to_owned()
}

fn holds(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(inner) => inner.contains_key(key) || inner.values().any(|v| holds(v, key)),
        _ => false,
    }
}

fn unknown_field(message: &str) -> Option<&str> {
    message.strip_prefix("unknown field `")?.split('`').next()
}

fn expected_fields(message: &str) -> impl Iterator<Item = &str> {
    let list = message.split_once("expected ").map_or("", |(_, l)| l);
    list.split('`').skip(1).step_by(2)
}

fn list_of(message: &str) -> String {
    let names: Vec<&str> = expected_fields(message).collect();
    format!("the fields are {}", names.join(", "))
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Toml,
    Yaml,
    Json,
}

/// The parts of a task file, unread.
#[derive(Debug, Default)]
struct Parts {
    tasks: Vec<Value>,
    calendars: Vec<Value>,
    limits: Vec<Value>,
}

/// A limit as a file writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitOf {
    limit: String,
    max_running: u32,
}

type Refusal = (Option<usize>, String);

impl Form {
    fn of(path: &Path) -> Result<Self, Error> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("toml") | None => Ok(Self::Toml),
            Some("yaml" | "yml") => Ok(Self::Yaml),
            Some("json") => Ok(Self::Json),
            Some(other) => Err(Error {
                place: Some(PathBuf::from(path).display().to_string()),
                message: format!(
                    "`.{other}` is not a form of task files: write .toml, .yaml or .json"
                ),
                ..Error::default()
            }),
        }
    }

    /// What a text holds, unread.
    fn parts(self, text: &str) -> Result<Parts, Refusal> {
        let document: Value = match self {
            Self::Toml => toml::from_str(text).map_err(|e| {
                let line = e
                    .span()
                    .map(|s| 1 + text[..s.start.min(text.len())].matches('\n').count());
                (line, e.message().to_owned())
            })?,
            Self::Yaml => serde_yaml_ng::from_str(text)
                .map_err(|e| (e.location().map(|l| l.line()), e.to_string()))?,
            Self::Json => {
                serde_json::from_str(text).map_err(|e| (Some(e.line()), e.to_string()))?
            }
        };
        let Value::Object(mut root) = document else {
            return if document.is_null() {
                Ok(Parts::default())
            } else {
                Err((
                    None,
                    "is not a task file: write tasks under `task`".to_owned(),
                ))
            };
        };
        if let Some(other) = root.keys().find(|key| !LISTS.contains(&key.as_str())) {
            return Err(unknown_list(text, other));
        }
        let mut take = |name: &str| match root.remove(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => Ok(values),
            Some(_) => Err((
                None,
                format!("`{name}` is not a list: write [[{name}]] before each {name}"),
            )),
        };
        Ok(Parts {
            tasks: take("task")?,
            calendars: take("calendar")?,
            limits: take("limit")?,
        })
    }
}

/// The lists of a task file.
const LISTS: [&str; 3] = ["task", "calendar", "limit"];

fn unknown_list(text: &str, other: &str) -> Refusal {
    let line = text.lines().position(|l| l.contains(other)).map(|l| l + 1);
    let near = nearest(other, LISTS.into_iter())
        .map_or(String::new(), |near| format!(", did you mean `{near}`?"));
    (
        line,
        format!("`{other}` is not known at the top of a task file: tasks are under `task`{near}"),
    )
}

#[cfg(test)]
#[path = "taskfile_tests.rs"]
mod tests;
