//! What the leader planned ahead of its instant, and what becomes of it when the task rests or its instants change: a
//! run that nobody may start any more is taken back, in the transaction that says so, and its instant is as if nobody
//! had planned it. Pure: the store's statements are these functions written as conditions. It decides nothing about
//! runs that people asked for, nor about instants that have come.

use std::time::Duration;

use campanile_schedule::time::Timestamp;

use super::run::waits;
use super::work::DueKey;
use crate::id::{RunId, TaskId};
use crate::run::{Origin, Run};

/// What happens to a task's due row when the task changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DueChange {
    /// Its schedule is as before: the row stays.
    Keep,
    /// The row is replaced.
    Replace {
        /// Where the row stood when the change was decided (`None`: there was none). If it has moved since, instants
        /// were fired that the decision did not know of, and the edit is stale.
        seen: Option<Timestamp>,
        /// The new row (`None`: the task has no next occurrence).
        next: Option<DueKey>,
    },
    /// The task rests from now on: its row goes, and with it what was planned ahead of its instant
    /// ([`is_ahead`] at the store's clock, inside the transaction). From where on it rests is then
    /// [`rests_from`], whatever the upsert says.
    Rest {
        /// How far the task's starts lie behind their instants.
        offset: Duration,
    },
}

/// What was planned ahead of its instant for a task whose instants change, and is taken back: just these runs, or the
/// edit is stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplan {
    /// Whose.
    pub task: TaskId,
    /// How far its starts lie behind their instants.
    pub offset: Duration,
    /// All of its runs that are ahead of their instants.
    pub runs: Vec<RunId>,
}

/// Whether a run of a schedule waits for a start that is still to come at `now`, by the store's clock: nobody can have
/// claimed it. `offset` is how far its task's starts lie behind their instants. A run that waits for a permit, for its
/// place in a catch-up or for its next attempt has an instant that has come, and stays.
#[must_use]
pub fn is_ahead(run: &Run, offset: Duration, now: Timestamp) -> bool {
    run.origin == Origin::Schedule && waits(run, 1) && run.due_at.plus(offset) > now
}

/// From which instant on a task rests: the first that has no row. That is the earliest of those that were taken back and
/// of the due row's; a task that has neither rests from now on.
#[must_use]
pub fn rests_from(
    now: Timestamp,
    due_row: Option<Timestamp>,
    taken_back: impl Iterator<Item = Timestamp>,
) -> Timestamp {
    due_row.into_iter().chain(taken_back).min().unwrap_or(now)
}

/// Whether what is ahead of its instant now is just what was taken back in the decision.
#[must_use]
pub fn is_as_seen(unplan: &Unplan, ahead: impl Iterator<Item = RunId>) -> bool {
    let (mut seen, mut now): (Vec<RunId>, Vec<RunId>) = (unplan.runs.clone(), ahead.collect());
    seen.sort_unstable();
    now.sort_unstable();
    seen == now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::run as transitions;
    use crate::task::{Task, TaskSpec};

    fn at(s: i64) -> Timestamp {
        Timestamp::from_ms(s * 1_000)
    }

    fn run(due: i64) -> Run {
        let spec =
            serde_json::json!({"name": "t", "schedule": "every 10s", "handler": {"native": "x"}});
        let spec: TaskSpec = serde_json::from_value(spec).unwrap();
        let task = Task {
            id: TaskId::from_i64(7),
            version: 1,
            spec,
            created_at: at(0),
            updated_at: at(0),
            rests_from: None,
        };
        transitions::occurrence(RunId::from_i64(due), &task, at(due), 1)
    }

    #[test]
    fn only_a_start_that_is_still_to_come_is_taken_back() {
        let none = Duration::ZERO;
        assert!(is_ahead(&run(11), none, at(10)));
        assert!(!is_ahead(&run(10), none, at(10)), "its instant has come");
        assert!(is_ahead(&run(8), Duration::from_secs(3), at(10)), "jitter");
        let parked = Run {
            limited: true,
            ..run(9)
        };
        assert!(!is_ahead(&parked, none, at(10)));
        let asked_for = Run {
            origin: Origin::Request,
            ..run(11)
        };
        assert!(!is_ahead(&asked_for, none, at(10)));
        let again = Run {
            attempt: 2,
            ..run(11)
        };
        assert!(!is_ahead(&again, none, at(10)));
    }

    #[test]
    fn a_rest_begins_at_the_first_instant_without_a_row() {
        let taken = || [at(12), at(11)].into_iter();
        assert_eq!(rests_from(at(10), Some(at(13)), taken()), at(11));
        assert_eq!(
            rests_from(at(10), Some(at(5)), taken()),
            at(5),
            "overdue ones too"
        );
        assert_eq!(rests_from(at(10), None, std::iter::empty()), at(10));
    }
}
