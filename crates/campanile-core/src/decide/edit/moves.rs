//! Where a due row goes though nobody has changed its task: a calendar that the task names has changed, or the zone
//! rules have. One decision for both; in what they differ is said in [`Moving`]. Pure, as [`crate::decide::edit::place`].

use std::time::Duration;

use campanile_schedule::time::Timestamp;

use crate::decide::edit::ahead::Unplan;
use crate::decide::edit::place::{Future, Open, PLANNED_AHEAD, due_key, instant_of};
use crate::id::TaskId;
use crate::port::edit::Move;
use crate::task::Task;

/// What moves due rows, and which of them it leaves alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moving {
    /// Rows for instants up to so far ahead stay, as do those that are overdue.
    pub stays_within: Duration,
    /// Whether a task that has no due row may get one.
    pub makes_rows: bool,
    /// Whether what was planned ahead by the old rules is taken back.
    pub takes_back: bool,
    /// Whether a row that stands already where it would go is written all the same, so that the edit is stale if it has
    /// moved meanwhile.
    pub writes_what_stays: bool,
}

impl Moving {
    /// A calendar: a person changes which instants there are, and waits for the answer. From now on nothing is due by
    /// the old one: what was planned ahead by it is taken back, and a schedule that was excluded for good begins again.
    /// The leader goes on firing by the old calendar until the edit is committed, so the edit rests on every row.
    pub const CALENDAR: Self = Self {
        stays_within: Duration::ZERO,
        makes_rows: true,
        takes_back: true,
        writes_what_stays: true,
    };

    /// Zone rules: the leader itself moves rows while it fires, by the new rules already. What may be planned or is about
    /// to be is left as it is, so nothing is taken back; a schedule without a row is over. Rows that stand right are not
    /// written: of a million tasks a release of zone rules moves few.
    pub const ZONE_RULES: Self = Self {
        stays_within: PLANNED_AHEAD,
        makes_rows: false,
        takes_back: false,
        writes_what_stays: false,
    };

    /// Why a task's due row stays where it is, whatever the new rules say; `None`: it has to be looked at.
    #[must_use]
    pub fn held_back(
        &self,
        task: &Task,
        due_row: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<HeldBack> {
        if !task.spec.has_instants() || task.spec.after().is_some() {
            return Some(HeldBack::NoInstants);
        }
        match due_row {
            None => (!self.makes_rows).then_some(HeldBack::NoRow),
            Some(at) => {
                let soon = instant_of(task, at) <= now.plus(self.stays_within);
                soon.then_some(HeldBack::Soon)
            }
        }
    }

    /// Where the due row of a task goes that is not [held back](Self::held_back); `None`: it stays.
    #[must_use]
    pub fn move_of(
        &self,
        task: &Task,
        due_row: Option<Timestamp>,
        future: &Future,
    ) -> Option<Moved> {
        let Open { next, answered } = future.open();
        let next = next.map(|at| due_key(&task.spec, at, task.id));
        let stays = next.as_ref().map(|key| key.at) == due_row;
        if stays && !self.writes_what_stays {
            return None;
        }
        Some(Moved {
            to: Move {
                task: task.id,
                seen: due_row,
                next,
            },
            unplan: future.unplan.clone().filter(|_| self.takes_back),
            answered: answered.into_iter().map(|at| (task.id, at)).collect(),
        })
    }
}

/// What is written for a task whose due row moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub to: Move,
    /// What was planned ahead and is taken back.
    pub unplan: Option<Unplan>,
    /// Its instants behind the due row that have a row and keep it.
    pub answered: Vec<(TaskId, Timestamp)>,
}

/// Why a due row is not moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBack {
    /// Its task is paused, or runs on request alone: the instants are looked at when that ends. Or it goes on from the ends
    /// of its runs, whatever the rules are.
    NoInstants,
    NoRow,
    /// Its instant has come, or comes so soon that it may be planned already: it was right when it was planned.
    Soon,
}

#[cfg(test)]
#[path = "../../../tests/decide/edit/moves_tests.rs"]
mod tests;
