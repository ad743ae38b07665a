//! What a schedule's text leaves open, as values: the dialect, the zone, what happens where the clocks are changed, and
//! what intervals and hashes begin from. It reads no schedule.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, quoted};
use crate::time::Timestamp;
use crate::zone::TimeZoneName;

/// What a schedule's text leaves open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// How cron expressions are read.
    pub dialect: Dialect,
    /// The zone whose wall time cron expressions are about; default UTC.
    pub timezone: TimeZoneName,
    /// What happens where the clocks are changed.
    pub dst: Dst,
    /// What intervals are counted from, and recurrences without a start: when whatever is due was created, as a rule. The
    /// default is the epoch.
    pub anchor: Timestamp,
    /// What `H` in an expression is spread by: the name of whatever is due. Without one, `H` is refused.
    pub name_for_hash: String,
}

/// What happens to wall times where the clocks are changed. It is about times that are listed; `*` and open steps in
/// hours or minutes follow elapsed time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dst {
    /// To times that the clocks leave out.
    pub gap: Gap,
    /// To times that the clocks show twice.
    pub repeat: Repeat,
}

/// What happens to a listed time that the clocks leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// It fires at the first instant after the gap; several of one gap fire there once.
    #[default]
    NextValid,
    /// It does not fire.
    Skip,
    /// It fires later by the length of the gap, as if the clock had not been changed: 02:30 at 03:30.
    Shift,
}

/// What happens to a listed time that the clocks show twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    /// It fires the first time.
    #[default]
    First,
    /// It fires both times.
    Both,
    /// It fires the last time.
    Last,
}

/// The family of cron expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// By the number of fields: 5 are unix, 7 quartz; 6 are spring's and quartz's, and refused where the two would
    /// mean other days.
    #[default]
    Auto,
    /// `minute hour day-of-month month day-of-week`, Sunday 0 or 7; two restricted day fields mean either.
    Unix,
    /// `second minute hour day-of-month month day-of-week`, Sunday 0 or 7; two restricted day fields mean both. As
    /// Spring reads it since 5.3 (before, `*/n` counted days of the month from 0, and `L`, `W`, `#` were unknown).
    Spring,
    /// `second minute hour day-of-month month day-of-week [year]`, Sunday 1; exactly one day field is `?`.
    Quartz,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Unix => "unix",
            Self::Spring => "spring",
            Self::Quartz => "quartz",
        })
    }
}

impl FromStr for Dialect {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "auto" => Ok(Self::Auto),
            "unix" => Ok(Self::Unix),
            "spring" => Ok(Self::Spring),
            "quartz" => Ok(Self::Quartz),
            _ => {
                let message = format!(
                    "{} is not known: write auto, unix, spring or quartz",
                    quoted(text)
                );
                Err(Error::new("dialect", 0, message))
            }
        }
    }
}
