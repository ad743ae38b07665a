//! What a valid name is, how long a text may be, and how a field that can't be taken is refused: with its name and what to
//! write instead. It reads no definition; who owns one asks here.

use crate::limits;

/// A field of a definition that can't be taken, and what to write instead.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// The field, as it was written (`ranges[2].to`).
    pub field: String,
    /// What is wrong and the remedy.
    pub message: String,
}

impl Invalid {
    /// A refusal.
    #[must_use]
    pub fn new(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            message: message.into(),
        }
    }
}

/// Checks a name, of a calendar here, of tasks, queues and nodes elsewhere: it ends up in destinations, headers, addresses, files and on command lines,
/// so it is plain ASCII, and nothing that one of them reads as something else (`.`, `..`, `-x`).
///
/// # Errors
/// The field with what would be valid.
pub fn check_name(field: &str, name: &str) -> Result<(), Invalid> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > limits::NAME_BYTES_MAX || !name.chars().all(plain) {
        let shown: String = name.chars().take(60).flat_map(char::escape_debug).collect();
        return Err(Invalid::new(
            field,
            format!(
                "`{shown}` can't be a name: use letters, digits, `.`, `_`, `-`, 1 to {} characters",
                limits::NAME_BYTES_MAX
            ),
        ));
    }
    if name.starts_with(['.', '-']) || name.ends_with('.') {
        return Err(Invalid::new(
            field,
            format!(
                "`{name}` can't be a name: addresses, files and command lines would read it as something else; begin it \
                 with a letter, a digit or `_`, and don't end it with `.`"
            ),
        ));
    }
    Ok(())
}

/// Refuses a text of more bytes than its field takes.
///
/// # Errors
/// The field with its length and its limit.
pub fn check_bytes(field: &str, bytes: usize, most: usize, remedy: &str) -> Result<(), Invalid> {
    if bytes <= most {
        return Ok(());
    }
    let message = format!("{bytes} bytes are over the limit of {most}: {remedy}");
    Err(Invalid::new(field, message))
}

/// Refuses the name of a zone that is too long to be looked up.
///
/// # Errors
/// `timezone`, with its length and its limit.
pub fn check_zone(name: &str) -> Result<(), Invalid> {
    let most = limits::TIMEZONE_BYTES_MAX;
    let remedy = "write a name as in Europe/Berlin";
    check_bytes("timezone", name.len(), most, remedy)
}
