//! When a task is due. Stand-in until the schedule engine lands: `every` and `at` alone.
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
/// Dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// By shape.
    #[default]
    Auto,
    /// Unix.
    Unix,
    /// Spring.
    Spring,
    /// Quartz.
    Quartz,
}
/// Options.
#[derive(Debug, Clone)]
pub struct Options {
    anchor: Timestamp,
}
impl Options {
    /// New.
    ///
    /// # Errors
    /// Zone.
    pub fn new(_: Dialect, _: &str, anchor: Timestamp, _: &str) -> Result<Self, String> {
        Ok(Self { anchor })
    }
}
/// Schedule.
#[derive(Debug, Clone)]
pub enum Schedule {
    /// Every.
    Every(Timestamp, i64),
    /// On request.
    OnRequest,
}
impl Schedule {
    /// Parse.
    ///
    /// # Errors
    /// Text.
    pub fn parse(text: Option<&str>, o: &Options) -> Result<Self, String> {
        match text {
            None => Ok(Self::OnRequest),
            Some(t) => {
                let d = crate::time::parse_duration(t.strip_prefix("every ").ok_or("every")?)?;
                Ok(Self::Every(o.anchor, crate::time::duration_ms(d)))
            }
        }
    }
    /// Next.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(a, p) => {
                let k = ((after.as_ms() - a.as_ms()).div_euclid(*p) + 1).max(0);
                Some(Timestamp::from_ms(a.as_ms() + k * p))
            }
            Self::OnRequest => None,
        }
    }
}
