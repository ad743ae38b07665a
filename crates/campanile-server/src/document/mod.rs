//! Texts that people write, as values: TOML, YAML and JSON of one data model. Owns what the three have in common: keys
//! keep their order and come once, numbers are kept exactly or refused by field, times become their RFC 3339 text, and
//! lists and objects lie in each other [`DEPTH_MAX`] deep at most. It knows no field: what a value means is its
//! reader's.
//!
//! The three readers walk their texts without recursion and tell a `Builder` what they meet. A place is asked for by
//! reading the text once more, so that a file without a mistake pays nothing for it.

mod builder;
mod json;
mod number;
pub mod path;
pub mod show;
mod toml;
mod yaml;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path as FilePath;

use campanile_core::limits;
use serde_json::Value;

use self::builder::Builder;
use self::path::Step;

pub use self::json::in_words as json_in_words;
pub use self::toml::syntax as toml_syntax;

/// How deep lists and objects may lie in each other, in every form.
pub const DEPTH_MAX: usize = limits::DOCUMENT_DEPTH_MAX;

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `.toml`.
    Toml,
    /// `.yaml`, `.yml`.
    Yaml,
    /// `.json`, and every body of the API.
    Json,
}

/// Why a text can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Where it stands, if that is known.
    pub at: Option<Place>,
    /// The field at fault (`task[0].payload.total`); empty where it is the text's form.
    pub path: Vec<Step>,
    /// What is wrong, and what to write.
    pub message: String,
}

/// A place in a text, both counted from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character of the line.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}", self.line, self.column)
    }
}

impl Form {
    /// The form that a file's name tells; a name without an ending is TOML.
    ///
    /// # Errors
    /// The ending, if it is of no form.
    pub fn of(path: &FilePath) -> Result<Self, String> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("toml") | None => Ok(Self::Toml),
            Some("yaml" | "yml") => Ok(Self::Yaml),
            Some("json") => Ok(Self::Json),
            Some(other) => Err(other.to_owned()),
        }
    }
}

/// Reads a text.
///
/// # Errors
/// The first thing in it that can't be taken.
pub fn read(form: Form, text: &str) -> Result<Value, Wrong> {
    let mut builder = Builder::default();
    walk(form, text, &mut builder)?;
    Ok(builder.finish())
}

/// Reads the bytes of a request's body: JSON.
///
/// # Errors
/// As [`read`], and bytes that are no text.
pub fn read_json(bytes: &[u8]) -> Result<Value, Wrong> {
    let text = std::str::from_utf8(bytes).map_err(|e| not_text(bytes, e.valid_up_to()))?;
    read(Form::Json, text)
}

/// Where a field stands in a text that was read; the place of what is nearest around it, if it isn't there itself.
#[must_use]
pub fn place(form: Form, text: &str, path: &[Step]) -> Option<Place> {
    let mut builder = Builder::watching(path);
    walk(form, text, &mut builder).ok()?;
    builder.found().map(|at| place_of(form, text, at))
}

/// The refusal of bytes that are not UTF-8.
#[must_use]
pub fn not_text(bytes: &[u8], valid: usize) -> Wrong {
    let before = bytes.get(..valid).unwrap_or_default();
    let line_start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(before.get(line_start..).unwrap_or_default());
    let byte = bytes.get(valid).copied().unwrap_or_default();
    Wrong {
        at: Some(Place {
            line: 1 + before.iter().filter(|b| **b == b'\n').count(),
            column: 1 + column.chars().count(),
        }),
        path: Vec::new(),
        message: format!("the byte 0x{byte:02X} is not UTF-8: save the text as UTF-8"),
    }
}

fn walk(form: Form, text: &str, builder: &mut Builder<'_>) -> Result<(), Wrong> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let walked = match form {
        Form::Toml => toml::walk(text, builder),
        Form::Yaml => yaml::walk(text, builder),
        Form::Json => json::walk(text, builder),
    };
    walked.map_err(|stop| Wrong {
        at: stop.at.map(|at| place_of(form, text, at)),
        path: if stop.of_field {
            builder.path()
        } else {
            Vec::new()
        },
        message: stop.message,
    })
}

/// Why a walk ended early.
#[derive(Debug)]
struct Stop {
    /// Where: a byte of the text; of YAML a character.
    at: Option<usize>,
    /// Whether the field that was being built is at fault.
    of_field: bool,
    message: String,
}

impl Stop {
    /// The text's form is wrong.
    fn form(at: Option<usize>, message: impl Into<String>) -> Self {
        Self {
            at,
            of_field: false,
            message: message.into(),
        }
    }

    /// A field is wrong.
    fn field(at: usize, message: impl Into<String>) -> Self {
        Self {
            at: Some(at),
            of_field: true,
            message: message.into(),
        }
    }
}

fn too_deep() -> String {
    format!("lists and objects lie in each other more than {DEPTH_MAX} deep: write it flatter")
}

fn place_of(form: Form, text: &str, at: usize) -> Place {
    let before: &str = match form {
        Form::Yaml => {
            let byte = text.char_indices().nth(at).map_or(text.len(), |(b, _)| b);
            text.get(..byte)
        }
        Form::Toml | Form::Json => {
            let mut byte = at.min(text.len());
            while !text.is_char_boundary(byte) {
                byte -= 1;
            }
            text.get(..byte)
        }
    }
    .unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |n| n + 1);
    Place {
        line: 1 + before.matches('\n').count(),
        column: 1 + before.get(line_start..).unwrap_or_default().chars().count(),
    }
}
