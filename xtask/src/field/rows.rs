//! What the numbers in the store's rows mean, written down anew, and how a cell of psql's or sqlite3's answer is read.

use super::Outcome;

/// `run.state` as the store keeps it.
pub mod state {
    /// Claimed by a worker.
    pub const RUNNING: i64 = 3;
    /// Ended well.
    pub const SUCCEEDED: i64 = 4;
    /// Ended badly.
    pub const FAILED: i64 = 5;
    /// Ended because somebody asked.
    pub const CANCELLED: i64 = 6;
    /// Did not run.
    pub const SKIPPED: i64 = 7;
}

/// `reason` as the store keeps it.
pub mod reason {
    /// Nothing to say.
    pub const NONE: i64 = 0;
    /// The worker died.
    pub const LOST: i64 = 3;
    /// An external listener has it.
    pub const HANDED_OVER: i64 = 4;
    /// Somebody asked.
    pub const REQUESTED: i64 = 5;
    /// Later than the limit.
    pub const MISFIRE: i64 = 6;
    /// More were missed than catch-up takes.
    pub const CATCH_UP_LIMIT: i64 = 8;
    /// An earlier run was active.
    pub const OVERLAP: i64 = 11;
    /// The task was paused.
    pub const PAUSED: i64 = 15;
    /// A later one took its place.
    pub const REPLACED: i64 = 18;
}

/// A number in a row; nothing (NULL) is 0.
pub fn cell(row: &[String], at: usize) -> Outcome<i64> {
    let text = row.get(at).ok_or_else(|| format!("a row of {row:?}"))?;
    if text.is_empty() {
        return Ok(0);
    }
    Ok(text.parse()?)
}
