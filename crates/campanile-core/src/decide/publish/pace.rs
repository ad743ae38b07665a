//! How often, and at how many rows, the leader looks after what it published.

use std::time::Duration;

/// How many published runs one look at the store asks about.
pub const LOOK_ROWS_MAX: usize = 4_096;
pub(super) const LOOK_ROWS_MIN: usize = 128;
pub(super) const LOOK_WAIT_MIN: Duration = Duration::from_millis(20);
pub(super) const LOOK_WAIT_MAX: Duration = Duration::from_millis(200);

/// How the leader looks after published runs while room is short: at as many as are being taken, and the less often the
/// less is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How many of the oldest one look asks about.
    pub rows: usize,
    /// The wait before the look.
    pub wait: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            rows: LOOK_ROWS_MIN,
            wait: LOOK_WAIT_MIN,
        }
    }
}

impl Pace {
    /// After a look at `asked` runs found that `taken` of them were taken.
    #[must_use]
    pub fn after(self, asked: usize, taken: usize) -> Self {
        let rows = if taken * 2 >= asked {
            self.rows * 2
        } else {
            self.rows / 2
        };
        let wait = if taken == 0 {
            self.wait * 2
        } else {
            LOOK_WAIT_MIN
        };
        Self {
            rows: rows.clamp(LOOK_ROWS_MIN, LOOK_ROWS_MAX),
            wait: wait.min(LOOK_WAIT_MAX),
        }
    }
}
