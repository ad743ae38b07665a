//! One task, calendar or limit as a document holds it, read into [`Definitions`]: what task files and bodies of the API
//! share. Owns what the lists are called and what is said of a definition that can't be read. It knows no file and no
//! request.

use campanile_ask::{Definitions, Limit};
use campanile_core::misread::{self, Misread, Subject};
use campanile_core::task::{self, TaskSpec};
use campanile_schedule::calendar::CalendarSpec;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::document::{Form, show};

/// What can be defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A task.
    Task,
    /// A calendar.
    Calendar,
    /// A limit of a queue or a group.
    Limit,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Task, Self::Calendar, Self::Limit];

    /// Its name, and its list in a task file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Calendar => "calendar",
            Self::Limit => "limit",
        }
    }

    /// Its list in a request, as [`Definitions`] names it.
    #[must_use]
    pub const fn list(self) -> &'static str {
        match self {
            Self::Task => "tasks",
            Self::Calendar => "calendars",
            Self::Limit => "limits",
        }
    }

    const fn subject(self) -> Subject {
        match self {
            Self::Task => task::TASK,
            Self::Calendar => Subject::plain("a calendar"),
            Self::Limit => Subject::plain("a limit"),
        }
    }
}

/// A type that is defined.
pub trait Defined: DeserializeOwned {
    /// Which.
    const KIND: Kind;
}

impl Defined for TaskSpec {
    const KIND: Kind = Kind::Task;
}

impl Defined for CalendarSpec {
    const KIND: Kind = Kind::Calendar;
}

impl Defined for Limit {
    const KIND: Kind = Kind::Limit;
}

/// Reads one definition.
///
/// # Errors
/// The field at fault; the message says what to write, in this form.
pub fn read<T: Defined>(value: &Value, form: Form) -> Result<T, Box<Misread>> {
    if !value.is_object() {
        return Err(Box::new(Misread {
            field: String::new(),
            message: format!(
                "is not a {}: write its fields, as in {}",
                T::KIND.name(),
                example(form)
            ),
            fix: None,
        }));
    }
    misread::read(value, &T::KIND.subject()).map_err(|mut misread| {
        let fix = misread.fix.take();
        if let Some(fix) = fix.and_then(|fix| show::field(form, &fix.field, &fix.value)) {
            misread.message = format!("{}: write {fix}", misread.message);
        }
        misread
    })
}

/// Reads one definition and puts it to the others of its kind.
///
/// # Errors
/// As [`read`].
pub fn add(
    to: &mut Definitions,
    kind: Kind,
    value: &Value,
    form: Form,
) -> Result<(), Box<Misread>> {
    match kind {
        Kind::Task => to.tasks.push(read(value, form)?),
        Kind::Calendar => to.calendars.push(read(value, form)?),
        Kind::Limit => to.limits.push(read(value, form)?),
    }
    Ok(())
}

fn example(form: Form) -> &'static str {
    match form {
        Form::Toml => "name = \"…\"",
        Form::Yaml => "name: …",
        Form::Json => "{\"name\": \"…\"}",
    }
}
