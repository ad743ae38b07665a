//! How long one process waits for another that makes or migrates the store: the one clock of both waits. What it waits for,
//! and what it says when that lasts, is its caller's.

use std::time::Duration;

use campanile_core::system::pause;

use super::error::is_contended;

/// Waits, for a while, for another process that makes or migrates the store: for as long as that goes on, and a little
/// longer.
#[derive(Debug)]
pub(super) struct Patience {
    /// How often it has waited since the store was another.
    waits: u32,
    waits_max: u32,
    /// The store's version when it was last looked at.
    version: i64,
}

impl Patience {
    const WAIT: Duration = Duration::from_millis(100);

    /// For a SQLite file that another process has for itself. Not every statement waits by itself: the one that changes the
    /// journal's mode answers at once.
    pub(super) const fn with_busy() -> Self {
        Self::of(100)
    }

    /// For a store of an earlier version, which somebody may be about to migrate.
    pub(super) const fn with_older() -> Self {
        Self::of(30)
    }

    const fn of(waits_max: u32) -> Self {
        Self {
            waits: 0,
            waits_max,
            version: 0,
        }
    }

    /// Waits a moment. False at once when the store has been of this version too long.
    pub(super) async fn again(&mut self, version: i64) -> bool {
        if version != self.version {
            (self.version, self.waits) = (version, 0);
        }
        if self.waits >= self.waits_max {
            return false;
        }
        self.waits += 1;
        pause(Self::WAIT).await;
        true
    }

    /// Waits a moment if all that is wrong is that somebody else is at it.
    ///
    /// # Errors
    /// What was wrong, if it is something else, or lasts.
    pub(super) async fn wait(&mut self, error: sqlx::Error) -> Result<(), sqlx::Error> {
        if is_contended(&error) && self.again(self.version).await {
            return Ok(());
        }
        Err(error)
    }
}
