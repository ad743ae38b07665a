//! The move of due rows to other zone rules, as a decision: what the cluster's setting says, and what a leader with
//! rules of its own does next. The setting says that a move is under way before the first row moves, and names the new
//! rules after the last one: so whoever finds a move half done makes it whole, and rules that are named are those of
//! every row. Each of these writes carries the term; none is a person's.

use std::fmt;

/// Before the name of the rules to which rows are being moved.
const MOVING: &str = "moving to ";

/// What the cluster's setting says of its due rows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Kept {
    /// Nothing: no leader has looked yet.
    #[default]
    Unknown,
    /// All of them stand by these rules.
    By(String),
    /// Some leader began to move them to these rules, and has not said that it came to the end.
    MovingTo(String),
}

/// What a leader does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Nothing: the rows stand by its rules.
    Done,
    /// It says that it moves them.
    Announce,
    /// It moves them, all of them, and then says that they stand by its rules.
    Move,
}

impl Kept {
    /// Of a setting's text, if there is one.
    #[must_use]
    pub fn read(setting: Option<&str>) -> Self {
        match setting {
            None => Self::Unknown,
            Some(text) => text.strip_prefix(MOVING).map_or_else(
                || Self::By(text.to_owned()),
                |to| Self::MovingTo(to.to_owned()),
            ),
        }
    }

    /// What a leader does whose rules are these. `announced` says whether this term wrote that it moves the rows: a move
    /// that another term began is begun again, for nobody knows which of its rows have moved.
    #[must_use]
    pub fn next(&self, ours: &str, announced: bool) -> Step {
        match self {
            Self::By(rules) if rules == ours => Step::Done,
            Self::MovingTo(rules) if rules == ours && announced => Step::Move,
            _ => Step::Announce,
        }
    }
}

impl fmt::Display for Kept {
    /// The setting's text; nothing for [`Kept::Unknown`].
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => Ok(()),
            Self::By(rules) => formatter.write_str(rules),
            Self::MovingTo(rules) => write!(formatter, "{MOVING}{rules}"),
        }
    }
}

#[cfg(test)]
#[path = "../../../tests/decide/lead/zones_tests.rs"]
mod tests;
