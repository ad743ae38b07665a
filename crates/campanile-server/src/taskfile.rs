//! Task files: TOML, YAML and JSON of one shape (`[[task]]`), read into definitions. Every refusal names file, line,
//! task and field. What the definitions change is decided by [`campanile::control`].

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use campanile::control::{self, Apply, Definitions, Editor};
use campanile::misread::{self, Misread, Subject, nearest};
use campanile::protocol::limits;
use campanile::protocol::permits::LimitKey;
use campanile::task::{self, TaskSpec};
use campanile_schedule::calendar::CalendarSpec;
use serde::Deserialize;
use serde_json::Value;

use crate::api::problem::chain;
use crate::document::path::{self, Step};
use crate::document::{self, Form, Wrong, show};

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
    form: Form,
    /// What was read: asked again where an error needs its place.
    text: String,
    /// Who puts its tasks: the owner of those that name none, and the one whose tasks are pruned.
    pub owner: Option<String>,
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
        let unread = |message: String| Error {
            place: Some(path.display().to_string()),
            message,
            ..Error::default()
        };
        let file = std::fs::File::open(path).map_err(|e| unread(format!("can't be read: {e}")))?;
        let most = limits::TASK_FILE_BYTES_MAX;
        let mut bytes = Vec::new();
        file.take(most + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| unread(format!("can't be read: {e}")))?;
        if bytes.len() as u64 > most {
            return Err(unread(format!(
                "is over the limit of {most} bytes: make several files of it"
            )));
        }
        let text = String::from_utf8(bytes).map_err(|e| {
            let valid = e.utf8_error().valid_up_to();
            let wrong = document::not_text(e.as_bytes(), valid);
            Error {
                place: Some(at(&path.display().to_string(), wrong.at.map(|at| at.line))),
                message: wrong.message,
                ..Error::default()
            }
        })?;
        Self::parse(&text, path)
    }

    /// Reads a text as if it came from a file of this name.
    ///
    /// # Errors
    /// The first thing that can't be taken, with its place.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let shown = path.display().to_string();
        let form = Form::of(path).map_err(|ending| Error {
            place: Some(shown.clone()),
            message: format!(
                "`.{ending}` is not a form of task files: write .toml, .yaml or .json"
            ),
            ..Error::default()
        })?;
        let mut file = Self {
            path: shown,
            form,
            text: text.to_owned(),
            owner: None,
            tasks: Vec::new(),
            calendars: Vec::new(),
            limits: Vec::new(),
        };
        let root = document::read(form, text).map_err(|wrong| file.unreadable(&wrong))?;
        let parts = file.parts(root)?;
        file.owner.clone_from(&parts.owner);
        file.read_shared(&parts)?;
        for (index, value) in parts.tasks.iter().enumerate() {
            let spec = misread::read(value, &task::TASK)
                .map_err(|e| file.misread("task", index, value, &e))?;
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

    /// What control refuses of a calendar or a limit, in this file's words and with its place; `field` is as in the API
    /// (`calendars[0].dates`).
    #[must_use]
    pub fn shared_place(&self, field: &str) -> Option<(String, String)> {
        let steps = path::parse(field);
        let [Step::Key(list), Step::Index(n), rest @ ..] = steps.as_slice() else {
            return None;
        };
        let (kind, named) = match list.as_str() {
            "calendars" => ("calendar", self.calendars.get(*n)?.name.clone()),
            "limits" => ("limit", self.limits.get(*n)?.0.to_string()),
            _ => return None,
        };
        let mut place = vec![Step::Key(kind.to_owned()), Step::Index(*n)];
        place.extend(rest.iter().cloned());
        let line = document::place(self.form, &self.text, &place).map(|at| at.line);
        let shown = path::text(rest);
        Some((at(&self.path, line), format!("{kind} `{named}`: {shown}")))
    }

    /// Makes the tasks be as the file says.
    ///
    /// # Errors
    /// What control refuses, with its place.
    pub async fn apply(&self, control: &Editor) -> Result<(), Error> {
        let diff = control
            .apply(&self.definitions(), &Apply::default())
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
            owner: self.owner.clone(),
            tasks: self.tasks.clone(),
            calendars: self.calendars.clone(),
            limits: self.limits.clone(),
        }
    }

    fn read_shared(&mut self, parts: &Parts) -> Result<(), Error> {
        for (index, value) in parts.calendars.iter().enumerate() {
            let spec = misread::read(value, &CALENDAR)
                .map_err(|e| self.misread("calendar", index, value, &e))?;
            self.calendars.push(spec);
        }
        for (index, value) in parts.limits.iter().enumerate() {
            let limit: LimitOf = misread::read(value, &LIMIT)
                .map_err(|e| self.misread("limit", index, value, &e))?;
            let key = limit.limit.parse().map_err(|message| {
                let misread = Misread {
                    field: "limit".to_owned(),
                    message,
                    fix: None,
                };
                self.misread("limit", index, value, &misread)
            })?;
            self.limits.push((key, limit.max_running));
        }
        Ok(())
    }

    /// A text that can't be read, with what task it is in.
    fn unreadable(&self, wrong: &Wrong) -> Error {
        let (list, field) = match wrong.path.as_slice() {
            [Step::Key(list), Step::Index(n), field @ ..] if LISTS.contains(&list.as_str()) => {
                (Some((list, *n)), field)
            }
            all => (None, all),
        };
        let mut field = path::text(field);
        let mut named = None;
        match list {
            Some((list, n)) if list == "task" => named = Some(format!("{}", n + 1)),
            Some((list, n)) => field = format!("{list} {}: {field}", n + 1),
            None => {}
        }
        Error {
            place: Some(at(&self.path, wrong.at.map(|at| at.line))),
            task: named,
            field: Some(field).filter(|f| !f.is_empty()),
            message: wrong.message.clone(),
        }
    }

    /// A definition that can't be read, with what to write in this file's form.
    fn misread(&self, list: &str, index: usize, value: &Value, misread: &Misread) -> Error {
        let named = name_of(value, index);
        let mut steps = vec![Step::Key(list.to_owned()), Step::Index(index)];
        steps.extend(path::parse(&misread.field));
        let place = document::place(self.form, &self.text, &steps);
        let mut error = with_fix(misread, self.form);
        if !value.is_object() {
            error.message = format!(
                "is not a {list}: write its fields, as in {}",
                example(self.form)
            );
        }
        error.place = Some(at(&self.path, place.map(|at| at.line)));
        if list == "task" {
            error.task = Some(named);
        } else {
            let field = error.field.map_or(String::new(), |f| format!(": {f}"));
            error.field = Some(format!("{list} {named}{field}"));
        }
        error
    }

    /// What the file holds, unread.
    fn parts(&self, root: Value) -> Result<Parts, Error> {
        let error = |steps: &[Step], message: String| {
            let place = document::place(self.form, &self.text, steps);
            Error {
                place: Some(at(&self.path, place.map(|at| at.line))),
                message,
                ..Error::default()
            }
        };
        let mut root = match root {
            Value::Object(root) => root,
            Value::Null => return Ok(Parts::default()),
            _ => {
                let message = "is not a task file: write tasks under `task`";
                return Err(error(&[], message.to_owned()));
            }
        };
        let owner = match root.shift_remove("owner") {
            None | Some(Value::Null) => None,
            Some(Value::String(owner)) => Some(owner),
            Some(_) => {
                let message =
                    "`owner` is not a name: write one text, above the first task".to_owned();
                return Err(error(&[Step::Key("owner".to_owned())], message));
            }
        };
        if let Some(other) = root.keys().find(|key| !LISTS.contains(&key.as_str())) {
            let shown = path::text(&[Step::Key(other.clone())]);
            let near = if root.contains_key("task") || !TASK_FIELDS.contains(&other.as_str()) {
                nearest(other, LISTS.into_iter().chain(["owner"]))
                    .map(|near| format!(", did you mean `{near}`?"))
            } else {
                Some(format!("; {}", many(self.form, "task")))
            };
            let message = format!(
                "`{shown}` is not known at the top of a task file: tasks are under `task`{}",
                near.unwrap_or_default()
            );
            return Err(error(&[Step::Key(other.clone())], message));
        }
        let mut take = |name: &str| match root.shift_remove(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(values)) => Ok(values),
            Some(_) => {
                let message = format!("`{name}` is not a list: {}", many(self.form, name));
                Err(error(&[Step::Key(name.to_owned())], message))
            }
        };
        Ok(Parts {
            owner,
            tasks: take("task")?,
            calendars: take("calendar")?,
            limits: take("limit")?,
        })
    }

    fn refused(&self, error: &control::Error) -> Error {
        let place = match error {
            control::Error::Invalid {
                task: Some(task),
                field,
                ..
            } => self.place_of(task, Some(field)),
            control::Error::Invalid { field, message, .. } => {
                if let Some((place, field)) = self.shared_place(field) {
                    return Error {
                        place: Some(place),
                        field: Some(field),
                        message: message.clone(),
                        ..Error::default()
                    };
                }
                None
            }
            _ => None,
        };
        Error {
            place: Some(place.unwrap_or_else(|| self.path.clone())),
            message: chain(error),
            ..Error::default()
        }
    }

    fn place(&self, index: usize, field: Option<&str>) -> String {
        at(&self.path, self.line(index, field))
    }

    fn line(&self, index: usize, field: Option<&str>) -> Option<usize> {
        let mut steps = vec![Step::Key("task".to_owned()), Step::Index(index)];
        steps.extend(path::parse(field.unwrap_or_default()));
        document::place(self.form, &self.text, &steps).map(|at| at.line)
    }

    fn check_names(&self) -> Result<(), Error> {
        let mut seen = std::collections::HashMap::new();
        for (index, task) in self.tasks.iter().enumerate() {
            if let Some(first) = seen.insert(&task.name, index) {
                let other = match self.line(first, Some("name")) {
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
        Some(name) => format!("`{}`", name.escape_debug()),
        None => format!("{}", index + 1),
    }
}

/// Reads one definition that came as JSON.
///
/// # Errors
/// The field at fault.
pub fn read_one(value: &Value) -> Result<TaskSpec, Error> {
    if !value.is_object() {
        return Err(Error {
            message: format!(
                "is not a task: write its fields, as in {}",
                example(Form::Json)
            ),
            ..Error::default()
        });
    }
    misread::read(value, &task::TASK).map_err(|e| with_fix(&e, Form::Json))
}

/// A refusal with what to write instead.
fn with_fix(misread: &Misread, form: Form) -> Error {
    let fix = misread.fix.as_ref();
    let fix = fix.and_then(|fix| show::field(form, &fix.field, &fix.value));
    Error {
        field: Some(misread.field.clone()).filter(|f| !f.is_empty()),
        message: match fix {
            Some(fix) => format!("{}: write {fix}", misread.message),
            None => misread.message.clone(),
        },
        ..Error::default()
    }
}

fn example(form: Form) -> &'static str {
    match form {
        Form::Toml => "name = \"…\"",
        Form::Yaml => "name: …",
        Form::Json => "{\"name\": \"…\"}",
    }
}

/// How a form writes several things of a kind.
fn many(form: Form, name: &str) -> String {
    match form {
        Form::Toml => format!("write [[{name}]] before each {name}"),
        Form::Yaml => format!("write `{name}:` and below it each {name} after a dash"),
        Form::Json => format!("write \"{name}\": [ … ] around them"),
    }
}

/// The parts of a task file, unread.
#[derive(Debug, Default)]
struct Parts {
    owner: Option<String>,
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

/// The lists of a task file.
const LISTS: [&str; 3] = ["task", "calendar", "limit"];

/// Fields that only a task has: at the top of a file they tell that `task` was forgotten.
const TASK_FIELDS: [&str; 3] = ["name", "schedule", "handler"];

const CALENDAR: Subject = Subject::plain("a calendar");
const LIMIT: Subject = Subject::plain("a limit");

#[cfg(test)]
#[path = "taskfile_tests.rs"]
mod tests;
