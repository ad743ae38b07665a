//! The one hold of the cluster, as a decision: while it holds, nothing starts anywhere. It is a state of the leader row, set
//! and ended by edits of that row: so no firing comes between that has not seen it, and what a claim asks is kept with the
//! row of each member, for a claim reads that anyway.

use campanile_schedule::time::Timestamp;

/// How long the reason of a hold may be.
pub const WHY_CHARS_MAX: usize = 500;

/// What made a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Somebody asked for it.
    Asked,
    /// A node was started so: a store that was restored, say.
    Start,
    /// Commits of the store are lost.
    LostCommits,
    /// The store moves elsewhere.
    Move,
}

impl Cause {
    /// All of them, by the numbers that a store keeps, from 1; 0 is no hold.
    pub const ALL: [Self; 4] = [Self::Asked, Self::Start, Self::LostCommits, Self::Move];

    /// The number that a store keeps.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self as i64 + 1
    }

    /// Of such a number. One that this version does not know is a hold all the same.
    #[must_use]
    pub fn from_i64(number: i64) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|c| c.as_i64() == number);
        (number != 0).then(|| known.unwrap_or(Self::Asked))
    }

    /// The word in API and CLI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Start => "start",
            Self::LostCommits => "lost-commits",
            Self::Move => "move",
        }
    }
}

/// Nothing starts in the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hold {
    pub cause: Cause,
    /// Who set it.
    pub by: String,
    pub why: String,
    pub since: Timestamp,
    /// When it ends by itself; `None` = somebody has to end it.
    pub until: Option<Timestamp>,
}

impl Hold {
    /// Whether its end has come, by the store's time: then the leader ends it.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

#[cfg(test)]
#[path = "../../../tests/decide/lead/hold_tests.rs"]
mod tests;
