//! Values that don't fit the type that they are read as, in the words of whoever wrote them: which field, what stands
//! there, what belongs there, and what was probably meant. Owns the translation of the reader's own words, which are
//! about the program's types, and none of them leaves it. What a field of a task is best written as stands with the
//! task ([`crate::task::meant`]).

mod words;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A value that can't be read, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Misread {
    /// The field at fault (`retry.max_attempts`); empty where it is the whole.
    pub field: String,
    /// What is wrong and what belongs there.
    pub message: String,
    /// What was probably meant: a field, and what to write there.
    pub fix: Option<Fix>,
}

/// What to write instead.
#[derive(Debug, Clone, PartialEq)]
pub struct Fix {
    /// The field's name.
    pub field: String,
    /// Its value.
    pub value: Value,
}

/// What is read, in words, and what its fields are best written as.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    /// With its article: `a task`.
    pub noun: &'static str,
    /// What was probably meant where a field can't be read: by the field's path and what stands there.
    pub meant: fn(path: &str, found: &Value) -> Option<Value>,
    /// What belongs in a field, where that is more than its kind: `a duration`.
    pub belongs: fn(path: &str) -> Option<&'static str>,
}

impl Subject {
    /// A subject without fixes of its own.
    #[must_use]
    pub const fn plain(noun: &'static str) -> Self {
        const fn nothing(_: &str, _: &Value) -> Option<Value> {
            None
        }
        const fn kind(_: &str) -> Option<&'static str> {
            None
        }
        Self {
            noun,
            meant: nothing,
            belongs: kind,
        }
    }
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        match &self.fix {
            Some(fix) => write!(f, ": write \"{}\": {}", fix.field, fix.value),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Misread {}

/// Reads a value as a type.
///
/// # Errors
/// The first field that doesn't fit. A value that fits is read once; only one that doesn't is read again, to find where.
pub fn read<T: DeserializeOwned>(value: &Value, subject: &Subject) -> Result<T, Box<Misread>> {
    match T::deserialize(value) {
        Ok(read) => Ok(read),
        Err(_) => match serde_path_to_error::deserialize::<_, T>(value) {
            Ok(read) => Ok(read),
            Err(error) => Err(Box::new(words::translate(value, &error, subject))),
        },
    }
}

/// The name that is nearest to one that was written, if it is near enough to be meant.
#[must_use]
pub fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A stranger chooses the length of what was written.
    if written.len() > 200 {
        return None;
    }
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let written = plain(written);
    let mut all: Vec<(usize, &str)> = names
        .map(|name| (distance(&written, &plain(name)), name))
        .filter(|(away, name)| *away <= 1 + name.len() / 4)
        .collect();
    all.sort_unstable();
    all.first().map(|(_, name)| *name)
}

/// How many letters must be put, taken or changed to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, y) in b.iter().enumerate() {
            let cost = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
