//! Task files: TOML, YAML and JSON of one shape (`[[task]]`), read once into [`Definitions`]. Every refusal names file,
//! line, task and field. What the definitions change is decided by [`campanile_ask`].

mod defaults;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::Path;

use campanile_ask::{Apply, Definitions, Editor};
use campanile_core::causes;
use campanile_core::limits;
use campanile_core::misread::{Misread, nearest};
use serde_json::{Map, Value};

use crate::definitions::{self, Kind};
use crate::document::path::{self, Step};
use crate::document::{self, Form, Wrong};

use self::defaults::{DEFAULTS, Defaults};

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
    /// What its tasks have where they don't say otherwise.
    defaults: Defaults,
    /// What it defines.
    pub definitions: Definitions,
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
            defaults: Defaults::default(),
            definitions: Definitions::default(),
        };
        let root = document::read(form, text).map_err(|wrong| file.unreadable(&wrong))?;
        file.fill(root)?;
        file.check_names()?;
        Ok(file)
    }

    /// The place of a field of the task with this name: what an error of the API is shown with.
    #[must_use]
    pub fn place_of(&self, task: &str, field: Option<&str>) -> Option<String> {
        let index = self.definitions.tasks.iter().position(|t| t.name == task)?;
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
        let kind = Kind::ALL.into_iter().find(|kind| kind.list() == list)?;
        let named = match kind {
            Kind::Task => return None,
            Kind::Calendar => self.definitions.calendars.get(*n)?.name.clone(),
            Kind::Limit => self.definitions.limits.get(*n)?.limit.to_string(),
        };
        let kind = kind.name();
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
            .apply(&self.definitions, &Apply::default())
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

    /// A text that can't be read, with what task it is in.
    fn unreadable(&self, wrong: &Wrong) -> Error {
        let (list, field) = match wrong.path.as_slice() {
            [Step::Key(list), Step::Index(n), field @ ..]
                if Kind::ALL.iter().any(|kind| kind.name() == list) =>
            {
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

    /// A definition that can't be read.
    fn misread(&self, kind: Kind, index: usize, value: &Value, misread: Misread) -> Error {
        let named = name_of(value, index);
        let mut steps = vec![Step::Key(kind.name().to_owned()), Step::Index(index)];
        steps.extend(path::parse(&misread.field));
        let mut error = self.error(&steps, misread.message);
        let field = Some(misread.field).filter(|f| !f.is_empty());
        if kind == Kind::Task {
            (error.task, error.field) = (Some(named), field);
        } else {
            let field = field.map_or(String::new(), |f| format!(": {f}"));
            error.field = Some(format!("{} {named}{field}", kind.name()));
        }
        error
    }

    fn error(&self, steps: &[Step], message: String) -> Error {
        let place = document::place(self.form, &self.text, steps);
        Error {
            place: Some(at(&self.path, place.map(|at| at.line))),
            message,
            ..Error::default()
        }
    }

    /// Reads what the file holds.
    fn fill(&mut self, root: Value) -> Result<(), Error> {
        let mut root = match root {
            Value::Object(root) => root,
            Value::Null => return Ok(()),
            _ => {
                let message = "is not a task file: write tasks under `task`";
                return Err(self.error(&[], message.to_owned()));
            }
        };
        self.definitions.owner = match root.shift_remove("owner") {
            None | Some(Value::Null) => None,
            Some(Value::String(owner)) => Some(owner),
            Some(_) => {
                let message =
                    "`owner` is not a name: write one text, above the first task".to_owned();
                return Err(self.error(&[Step::Key("owner".to_owned())], message));
            }
        };
        if let Some(defaults) = root.shift_remove(DEFAULTS) {
            self.take_defaults(defaults)?;
        }
        self.check_known(&root)?;
        for kind in Kind::ALL {
            let values = match root.shift_remove(kind.name()) {
                None | Some(Value::Null) => continue,
                Some(Value::Array(values)) => values,
                Some(_) => {
                    let name = kind.name();
                    let message = format!("`{name}` is not a list: {}", many(self.form, name));
                    return Err(self.error(&[Step::Key(name.to_owned())], message));
                }
            };
            for (index, value) in values.into_iter().enumerate() {
                let value = match kind {
                    Kind::Task => self.defaults.beneath(value),
                    Kind::Calendar | Kind::Limit => value,
                };
                definitions::add(&mut self.definitions, kind, &value, self.form)
                    .map_err(|e| self.misread(kind, index, &value, *e))?;
            }
        }
        Ok(())
    }

    /// Takes what stands in for what tasks leave out; its owner is the file's.
    fn take_defaults(&mut self, value: Value) -> Result<(), Error> {
        let defaults = Defaults::read(value, self.form).map_err(|misread| {
            let mut steps = vec![Step::Key(DEFAULTS.to_owned())];
            steps.extend(path::parse(&misread.field));
            let field = Some(misread.field).filter(|f| !f.is_empty());
            Error {
                field: Some(field.map_or(DEFAULTS.to_owned(), |f| format!("{DEFAULTS}.{f}"))),
                ..self.error(&steps, misread.message)
            }
        })?;
        if let Some(owner) = defaults.owner() {
            let file = self
                .definitions
                .owner
                .get_or_insert_with(|| owner.to_owned());
            if file != owner {
                let message = format!(
                    "is `{owner}`, and the file's own `owner` is `{file}`: write one of the two"
                );
                let steps = [
                    Step::Key(DEFAULTS.to_owned()),
                    Step::Key("owner".to_owned()),
                ];
                return Err(Error {
                    field: Some(format!("{DEFAULTS}.owner")),
                    ..self.error(&steps, message)
                });
            }
        }
        self.defaults = defaults;
        Ok(())
    }

    /// What each task has of the file's defaults, by its name and in words.
    #[must_use]
    pub fn inherited(&self) -> BTreeMap<String, String> {
        if self.defaults.is_empty() {
            return BTreeMap::new();
        }
        let root = document::read(self.form, &self.text).unwrap_or_default();
        let tasks = root.get("task").and_then(Value::as_array);
        let told = tasks.into_iter().flatten().filter_map(|task| {
            let fields = self.defaults.lent_to(task);
            let shown = fields
                .iter()
                .map(|(field, value)| format!("{field} = {value}"));
            let shown = shown.collect::<Vec<_>>().join(", ");
            let name = task.get("name")?.as_str()?.to_owned();
            Some((name, shown)).filter(|(_, shown)| !shown.is_empty())
        });
        told.collect()
    }

    /// Refuses what stands at the top and is no list of a task file.
    fn check_known(&self, root: &Map<String, Value>) -> Result<(), Error> {
        let lists = Kind::ALL.into_iter().map(Kind::name);
        let unknown = |key: &&String| !Kind::ALL.iter().any(|kind| kind.name() == *key);
        let Some(other) = root.keys().find(unknown) else {
            return Ok(());
        };
        let shown = path::text(&[Step::Key(other.clone())]);
        let near = if root.contains_key("task") || !TASK_FIELDS.contains(&other.as_str()) {
            nearest(other, lists.chain(["owner", DEFAULTS]))
                .map(|near| format!(", did you mean `{near}`?"))
        } else {
            Some(format!("; {}", many(self.form, "task")))
        };
        let message = format!(
            "`{shown}` is not known at the top of a task file: tasks are under `task`{}",
            near.unwrap_or_default()
        );
        Err(self.error(&[Step::Key(other.clone())], message))
    }

    fn refused(&self, error: &campanile_ask::Error) -> Error {
        let place = match error {
            campanile_ask::Error::Invalid {
                task: Some(task),
                field,
                ..
            } => self.place_of(task, Some(field)),
            campanile_ask::Error::Invalid { field, message, .. } => {
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
            message: causes(error),
            ..Error::default()
        }
    }

    fn place(&self, index: usize, field: Option<&str>) -> String {
        at(&self.path, self.line(index, field))
    }

    fn line(&self, index: usize, field: Option<&str>) -> Option<usize> {
        let mut steps = vec![Step::Key("task".to_owned()), Step::Index(index)];
        steps.extend(path::parse(field.unwrap_or_default()));
        if let Some(lent) = self.lent_place(index, &steps) {
            steps = lent;
        }
        document::place(self.form, &self.text, &steps).map(|at| at.line)
    }

    /// The place in the defaults of a field that a task has from there.
    fn lent_place(&self, index: usize, steps: &[Step]) -> Option<Vec<Step>> {
        let field = steps.get(2..).filter(|field| !field.is_empty())?;
        if self.defaults.is_empty() {
            return None;
        }
        let root = document::read(self.form, &self.text).ok()?;
        let task = root.get("task")?.get(index)?;
        let is_lent = self.defaults.lends(task, field);
        let head = [Step::Key(DEFAULTS.to_owned())];
        is_lent.then(|| head.iter().chain(field).cloned().collect())
    }

    fn check_names(&self) -> Result<(), Error> {
        let mut seen = std::collections::HashMap::new();
        for (index, task) in self.definitions.tasks.iter().enumerate() {
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

/// How a form writes several things of a kind.
fn many(form: Form, name: &str) -> String {
    match form {
        Form::Toml => format!("write [[{name}]] before each {name}"),
        Form::Yaml => format!("write `{name}:` and below it each {name} after a dash"),
        Form::Json => format!("write \"{name}\": [ … ] around them"),
    }
}

/// Fields that only a task has: at the top of a file they tell that `task` was forgotten.
const TASK_FIELDS: [&str; 3] = ["name", "schedule", "handler"];

#[cfg(test)]
#[path = "taskfile_tests.rs"]
mod tests;
