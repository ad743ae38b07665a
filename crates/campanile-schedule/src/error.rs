//! Why a schedule's text was refused: the field, the place and what would be right. Owns how a user's text looks in such
//! a sentence; what is wrong is its callers' to find.

use crate::fuel::Spent;

/// Characters of a user's text that an error repeats.
const QUOTED_CHARS_MAX: usize = 40;

/// Why a schedule's text was refused. Its `Display` names the field, shows the offending text and says what would be
/// right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {message}")]
pub struct Error {
    /// What is wrong: `minute`, `day-of-week`, `timezone`, `interval`, …, or `schedule` for the whole.
    pub field: &'static str,
    /// Where the offending text begins: bytes from the beginning of the schedule's text.
    pub at: usize,
    /// The rest of the sentence that the field begins.
    pub message: String,
    pub(crate) never_fires: bool,
}

impl Error {
    pub(crate) fn new(field: &'static str, at: usize, message: impl Into<String>) -> Self {
        Self {
            field,
            at,
            message: message.into(),
            never_fires: false,
        }
    }

    /// About a well-formed expression that has no instant.
    pub(crate) fn never(field: &'static str, at: usize, message: impl Into<String>) -> Self {
        Self {
            never_fires: true,
            ..Self::new(field, at, message)
        }
    }

    /// Whether the text is a well-formed expression that no instant satisfies (30 February), rather than a malformed
    /// one.
    #[must_use]
    pub fn never_fires(&self) -> bool {
        self.never_fires
    }
}

/// A user's text in an error: in back-ticks, cut where it is long, and without what would move a terminal's cursor.
pub(crate) fn quoted(text: &str) -> String {
    let shown: String = text
        .chars()
        .take(QUOTED_CHARS_MAX)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    let more = if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        "…"
    } else {
        ""
    };
    format!("`{shown}{more}`")
}

/// What could not be worked out.
pub(crate) fn too_much(spent: &Spent) -> Error {
    let remedy = "write a plainer rule, a smaller COUNT, or several schedules";
    Error::new("schedule", 0, format!("{spent}: {remedy}"))
}
