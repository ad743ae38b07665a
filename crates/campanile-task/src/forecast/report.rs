//! The result of looking ahead, as plain values: what the API answers, the CLI prints and the heat map draws. Names and
//! fields are relied on by scripts; nothing is computed here.

use std::collections::BTreeMap;

use campanile_schedule::TimeZoneName;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::NAMES_MAX;
use crate::task::{Misfire, Overlap as Policy};

/// What a set of tasks will start in a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The first instant, a whole minute.
    pub from: Timestamp,
    /// The first instant that is not looked at any more.
    pub until: Timestamp,
    /// In whose days `days` are, and what is shown to people.
    pub timezone: TimeZoneName,
    /// How many tasks there are, by what they are.
    pub tasks: Tasks,
    /// Starts in the window: instants plus the place of each task in its jitter.
    pub starts: u64,
    /// The minutes with the most starts, worst first.
    pub worst: Vec<Minute>,
    /// The days, in order; the first and the last are rarely whole.
    pub days: Vec<Day>,
    /// Occurrences that a calendar excludes and that don't run.
    pub excluded: u64,
    /// Occurrences that a calendar moves; they are counted where they run.
    pub moved: u64,
    /// Changes of the clocks in the zones of the tasks, in order.
    pub clock_changes: Vec<ClockChange>,
    /// Changes of the clocks that are not listed.
    pub clock_changes_left_out: u64,
    /// Tasks whose runs meet an earlier one that is still active.
    pub overlaps: Overlaps,
    /// What would be caught up after the outage; absent when none was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    /// Tasks with a schedule that start nothing in the window.
    pub never: Names,
    /// Tasks that are due after the ends of their own runs: their starts are told as if those took no time.
    #[serde(default)]
    pub after_ends: Names,
    /// Tasks that can't be scheduled here, the first of them.
    pub refused: Vec<Refused>,
    /// What limits cut off; all zero when the forecast is whole.
    pub cut: Cut,
    /// Starts in each minute from `from` on.
    pub per_minute: Vec<u32>,
}

/// How many tasks there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tasks {
    /// All.
    pub total: u64,
    /// With a schedule that is at work.
    pub scheduled: u64,
    /// Paused, or not in use.
    pub paused: u64,
    /// Without a schedule.
    pub on_request: u64,
    /// That can't be scheduled here.
    pub refused: u64,
}

/// One minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minute {
    /// When it begins.
    pub at: Timestamp,
    /// Starts in it.
    pub starts: u32,
    /// The tasks with the most starts, most first.
    pub tasks: Vec<Share>,
    /// The others.
    pub others: Others,
    /// The same starts by the text of the schedule (and its zone), most first: what to change, when a crowd shares one.
    pub schedules: Vec<Crowd>,
}

/// Tasks that share the text of their schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crowd {
    /// The schedule, with its zone where that is not UTC.
    pub schedule: String,
    /// How many tasks.
    pub tasks: u64,
    /// Their starts together.
    pub starts: u64,
}

/// A task's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The task.
    pub task: String,
    /// Its starts.
    pub starts: u64,
}

/// Tasks that are not named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Others {
    /// How many.
    pub tasks: u64,
    /// Their starts together.
    pub starts: u64,
}

impl Others {
    pub(super) const fn add(&mut self, starts: u64) {
        self.tasks += 1;
        self.starts += starts;
    }
}

/// One day of the zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// Its date.
    pub date: String,
    /// Starts in it, as far as it is in the window.
    pub starts: u64,
    /// The most starts of one minute.
    pub peak: u32,
    /// The first minute with so many; null = there are none.
    pub peak_at: Option<Timestamp>,
}

/// A change of a zone's clocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockChange {
    /// The zone.
    pub timezone: String,
    /// The day on its wall.
    pub date: String,
    /// When.
    pub at: Timestamp,
    /// The offset before, as in `+01:00`.
    pub before: String,
    /// The offset after.
    pub after: String,
    /// `gap`: times are left out; `repeat`: times come twice.
    pub kind: String,
    /// The first wall time that is left out or comes twice.
    pub wall_from: String,
    /// The first wall time behind them.
    pub wall_until: String,
    /// Tasks whose schedule names wall times among them, the rarest first.
    pub tasks: Vec<ClockTask>,
    /// How many more such tasks there are.
    pub other_tasks: u64,
}

/// What a change of the clocks means for a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockTask {
    /// The task.
    pub task: String,
    /// The first wall times of its schedule that are left out or come twice.
    pub wall: Vec<String>,
    /// How many there are.
    pub wall_count: u64,
    /// The first instants that its schedule has instead: from the change on, as long as the gap is; or in both passes.
    pub instants: Vec<Timestamp>,
    /// How many there are.
    pub instant_count: u64,
}

/// Tasks whose runs meet an earlier one that is still active.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Overlaps {
    /// Tasks with two starts less than a day apart, the only ones that are looked at; the most frequent 200 at most.
    pub candidates: u64,
    /// Those of them whose duration is known from recent runs.
    pub measured: u64,
    /// Those of them with overlaps.
    pub found: u64,
    /// The ones with the most overlaps.
    pub tasks: Vec<Overlap>,
}

/// What becomes of a task whose runs take longer than the distance between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlap {
    /// The task.
    pub task: String,
    /// Its policy.
    pub policy: Policy,
    /// How long its runs typically take.
    pub typical_ms: i64,
    /// The shortest distance between two of its starts.
    pub gap_ms: i64,
    /// Starts that were looked at.
    pub starts: u64,
    /// Starts that meet an earlier run still active.
    pub met: u64,
    /// The most runs that are active at once.
    pub at_once: u64,
    /// Starts that the policy skips.
    pub skipped: u64,
    /// Starts that wait for the earlier run.
    pub waited: u64,
    /// The longest such wait.
    pub longest_wait_ms: i64,
    /// Earlier runs that the policy cancels.
    pub replaced: u64,
}

/// What is caught up after an outage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatchUp {
    /// Its first instant.
    pub from: Timestamp,
    /// When planning goes on.
    pub until: Timestamp,
    /// Tasks with instants in it.
    pub tasks: u64,
    /// Runs that start when it is over.
    pub starts: u64,
    /// Those of them that are late by no more than their task's `misfire_limit`.
    pub late: u64,
    /// Instants that are skipped because of the outage.
    pub skipped: u64,
    /// The same by reason.
    pub skipped_by_reason: BTreeMap<String, u64>,
    /// The tasks with the most starts; of equals, the most skips.
    pub top: Vec<CatchUpTask>,
    /// How many more tasks there are.
    pub other_tasks: u64,
}

/// A task after an outage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatchUpTask {
    /// The task.
    pub task: String,
    /// Its policy.
    pub misfire: Misfire,
    /// Its runs that start when the outage is over.
    pub starts: u64,
    /// Its instants that are skipped.
    pub skipped: u64,
}

/// A number of tasks and the first names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Names {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub names: Vec<String>,
}

impl Names {
    pub(super) fn add(&mut self, name: &str) {
        self.count += 1;
        if self.names.len() < NAMES_MAX {
            self.names.push(name.to_owned());
        }
    }
}

/// A task that can't be scheduled here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The task.
    pub task: String,
    /// Which field, and why.
    pub message: String,
}

/// What limits cut off.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cut {
    /// Tasks that were not looked at.
    pub tasks_left_out: u64,
    /// Tasks whose starts were not counted to the end.
    pub tasks_cut: Names,
    /// The earliest instant up to which one of those was counted: all counts before it are whole.
    pub counted_until: Option<Timestamp>,
    /// The tasks of the worst minutes are not all known.
    pub worst_minutes: bool,
    /// Not all tasks were looked at for changes of the clocks.
    pub clock_changes: bool,
    /// Not all starts were looked at for overlaps.
    pub overlaps: bool,
    /// Not all instants of the outage were looked at.
    pub catch_up: bool,
}

impl Cut {
    /// Whether anything was cut off.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.tasks_left_out > 0
            || self.tasks_cut.count > 0
            || self.worst_minutes
            || self.clock_changes
            || self.overlaps
            || self.catch_up
    }

    pub(super) fn counted(&mut self, name: &str, until: Timestamp) {
        self.tasks_cut.add(name);
        self.counted_until = Some(self.counted_until.map_or(until, |least| least.min(until)));
    }
}
