//! Task files: TOML, YAML and JSON of one shape (`[[task]]`), read into definitions. Every refusal names file, line,
//! task and field. What the definitions change is decided by [`campanile::control`].

use std::fmt;
use std::path::{Path, PathBuf};

use campanile::task::TaskSpec;
use serde_json::{Map, Value};

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
        let values = form.values(text).map_err(|(line, message)| Error {
            place: Some(at(&shown, line)),
            message,
            ..Error::default()
        })?;
        let lines = Lines::find(text, form, values.len());
        let mut file = Self {
            path: shown,
            lines,
            tasks: Vec::with_capacity(values.len()),
        };
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

    /// The place that an error of control is about.
    #[must_use]
    pub fn place_of_error(&self, error: &campanile::control::Error) -> String {
        match error {
            campanile::control::Error::Invalid {
                task: Some(task),
                field,
                ..
            } => self.place_of(task, Some(field)),
            _ => None,
        }
        .unwrap_or_else(|| self.path.clone())
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

    /// The tasks of a text, unread.
    fn values(self, text: &str) -> Result<Vec<Value>, Refusal> {
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
                Ok(Vec::new())
            } else {
                Err((
                    None,
                    "is not a task file: write tasks under `task`".to_owned(),
                ))
            };
        };
        let tasks = root.remove("task");
        if let Some(other) = root.keys().next() {
            let line = text
                .lines()
                .position(|l| l.contains(other.as_str()))
                .map(|l| l + 1);
            let near = nearest(other, ["task"].into_iter())
                .map_or(String::new(), |_| ", did you mean `task`?".to_owned());
            return Err((
                line,
                format!(
                    "`{other}` is not known at the top of a task file: tasks are under `task`{near}"
                ),
            ));
        }
        match tasks {
            None => Ok(Vec::new()),
            Some(Value::Array(tasks)) => Ok(tasks),
            Some(_) => Err((
                None,
                "`task` is not a list: write [[task]] before each task".to_owned(),
            )),
        }
    }
}

/// Where the tasks of a text begin, as far as that can be told from its lines. Serves errors alone: where it can't be
/// told, no line is named.
#[derive(Debug, Clone, Default)]
struct Lines {
    text: Vec<String>,
    /// The first line of each task, from 0; empty = unknown.
    starts: Vec<usize>,
}

impl Lines {
    fn find(text: &str, form: Form, tasks: usize) -> Self {
        let text: Vec<String> = text.lines().map(str::to_owned).collect();
        let starting = |begins: &dyn Fn(&str) -> bool| -> Vec<usize> {
            (0..text.len()).filter(|i| begins(&text[*i])).collect()
        };
        let indent = |l: &str| l.len() - l.trim_start().len();
        let starts = match form {
            Form::Toml => starting(&|l| l.trim_start().starts_with("[[task]]")),
            Form::Yaml => {
                let items = starting(&|l| l.trim_start().starts_with("- "));
                let least = items.iter().map(|i| indent(&text[*i])).min().unwrap_or(0);
                items
                    .into_iter()
                    .filter(|i| indent(&text[*i]) == least)
                    .collect()
            }
            Form::Json => {
                let names = starting(&|l| {
                    l.trim_start()
                        .trim_start_matches('{')
                        .trim_start()
                        .starts_with("\"name\"")
                });
                let least = names.iter().map(|i| indent(&text[*i])).min().unwrap_or(0);
                names
                    .into_iter()
                    .filter(|i| indent(&text[*i]) == least)
                    .collect()
            }
        };
        let starts = if starts.len() == tasks {
            starts
        } else {
            Vec::new()
        };
        Self { text, starts }
    }

    fn of(&self, index: usize, field: Option<&str>) -> Option<usize> {
        let start = *self.starts.get(index)?;
        let end = self
            .starts
            .get(index + 1)
            .copied()
            .unwrap_or(self.text.len());
        let mut found = start;
        for part in field.unwrap_or_default().split('.') {
            let names = |line: &String| {
                line.match_indices(part).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    let after = line[at + part.len()..]
                        .trim_start_matches(['"', '\''])
                        .trim_start();
                    let whole = before.is_none_or(|c| !c.is_alphanumeric() && c != '_');
                    whole && (after.starts_with([':', '=']) || after.starts_with(['.', ']']))
                })
            };
            if part.is_empty() {
                break;
            }
            match (found..end).find(|i| names(&self.text[*i])) {
                Some(line) => found = line,
                None => break,
            }
        }
        Some(found + 1)
    }
}

#[cfg(test)]
#[path = "taskfile_tests.rs"]
mod tests;
