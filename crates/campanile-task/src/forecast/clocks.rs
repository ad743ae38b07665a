//! Changes of the clocks in the window, and the tasks that they concern. A task is concerned when its schedule, read on
//! a wall without changes, names a time that is left out or comes twice; what it does instead is asked of its timetable.
//! Nothing here knows the rules for such times.

use std::collections::HashMap;
use std::sync::Arc;

use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;
use campanile_schedule::{Dst, Schedule, Timetable, What};
use jiff::tz::TimeZone;

use super::CLOCK_STEPS_MAX;
use super::days::{date_of, rules};
use super::report::{ClockChange, ClockTask, Cut};
use super::starts::{Budget, Window, just_before};
use crate::limits;
use crate::task::{TaskSpec, Texts};

/// Changes that are listed.
const CHANGES_MAX: usize = 100;
/// Tasks that are named at one change.
const TASKS_MAX: usize = 10;
/// Wall times and instants that are listed of one task.
const LISTED_MAX: usize = 3;
/// Zones that are looked at: more than there are.
const ZONES_MAX: usize = 1_000;
const DAY_S: i64 = 86_400;

/// All changes of the window, by zone.
#[derive(Debug)]
pub(super) struct Clocks {
    window: Window,
    zones: HashMap<String, Vec<Change>>,
    budget: Budget,
    fuel: Arc<Fuel>,
}

/// One change of one zone.
#[derive(Debug)]
struct Change {
    at_s: i64,
    /// Seconds east of UTC.
    before_s: i64,
    after_s: i64,
    /// Rarest first.
    tasks: Vec<ClockTask>,
    other_tasks: u64,
}

impl Clocks {
    pub(super) fn new(window: Window, fuel: Arc<Fuel>) -> Self {
        Self {
            window,
            zones: HashMap::new(),
            budget: Budget::of(CLOCK_STEPS_MAX),
            fuel,
        }
    }

    /// Adds what the changes of a task's zone mean for it.
    pub(super) fn add(&mut self, spec: &TaskSpec, timetable: &Timetable) {
        if !self.zones.contains_key(&spec.timezone) {
            if self.zones.len() == ZONES_MAX {
                return;
            }
            let changes = changes(&rules(&spec.timezone), self.window);
            self.zones.insert(spec.timezone.clone(), changes);
        }
        let Some(changes) = self.zones.get_mut(&spec.timezone) else {
            return;
        };
        if changes.is_empty() || self.budget.is_spent() {
            return;
        }
        let Some(wall) = on_a_plain_wall(spec, self.window, &self.fuel) else {
            return;
        };
        for change in changes {
            change.add(&spec.name, &wall, timetable, &mut self.budget, &self.fuel);
        }
    }

    /// The changes in order, and how many are not among them.
    pub(super) fn finish(self, cut: &mut Cut) -> (Vec<ClockChange>, u64) {
        cut.clock_changes = self.budget.is_spent();
        let mut all: Vec<(String, Change)> = Vec::new();
        for (zone, changes) in self.zones {
            all.extend(changes.into_iter().map(|c| (zone.clone(), c)));
        }
        all.sort_by(|(a, x), (b, y)| (x.at_s, a).cmp(&(y.at_s, b)));
        let left_out = all.len().saturating_sub(CHANGES_MAX);
        all.truncate(CHANGES_MAX);
        let all = all.into_iter().map(|(zone, c)| c.report(zone)).collect();
        (all, u64::try_from(left_out).unwrap_or(0))
    }
}

/// The changes of a zone's offset in a window.
fn changes(zone: &TimeZone, window: Window) -> Vec<Change> {
    let before = jiff::Timestamp::from_millisecond(window.from_ms - 1).unwrap_or_default();
    let mut offset_s = i64::from(zone.to_offset(before).seconds());
    let mut out = Vec::new();
    for transition in zone.following(before) {
        if transition.timestamp().as_millisecond() >= window.until_ms {
            break;
        }
        let after_s = i64::from(transition.offset().seconds());
        if after_s != offset_s {
            out.push(Change {
                at_s: transition.timestamp().as_second(),
                before_s: offset_s,
                after_s,
                tasks: Vec::new(),
                other_tasks: 0,
            });
        }
        offset_s = after_s;
    }
    out
}

/// The schedule's wall times alone, as if the clocks were never changed: read in UTC, without its bounds. `None` where it
/// has none, because it is about elapsed time.
fn on_a_plain_wall(spec: &TaskSpec, window: Window, fuel: &Fuel) -> Option<Schedule> {
    let is_wall = |text: &&String| {
        let word = text.split_whitespace().next().unwrap_or_default();
        !["every", "after", "at"]
            .iter()
            .any(|w| word.eq_ignore_ascii_case(w))
    };
    let texts = spec.schedule.as_ref()?.as_slice().iter();
    let texts: Texts = texts.filter(is_wall).cloned().collect();
    if texts.is_empty() {
        return None;
    }
    // What a recurrence is counted from stands at the same wall time.
    let anchor = spec.anchor.unwrap_or(window.from());
    let instant = jiff::Timestamp::from_millisecond(anchor.as_ms()).unwrap_or_default();
    let offset_s = i64::from(rules(&spec.timezone).to_offset(instant).seconds());
    let plain = TaskSpec {
        anchor: Some(Timestamp::from_ms(anchor.as_ms() + offset_s * 1_000)),
        name: spec.name.clone(),
        schedule: Some(texts),
        dialect: spec.dialect,
        timezone: "UTC".to_owned(),
        dst: Dst::default(),
        ..TaskSpec::for_handler(crate::task::HandlerSpec::Native(String::new()))
    };
    let share = fuel.share(limits::TASK_FUEL);
    let schedule = plain.compile_by(Timestamp::MIN, &share).ok();
    fuel.settle(&share);
    schedule
}

impl Change {
    /// The wall times that are left out or come twice: seconds since 1970-01-01 on the wall.
    fn wall(&self) -> (i64, i64) {
        let (a, b) = (self.at_s + self.before_s, self.at_s + self.after_s);
        (a.min(b), a.max(b))
    }

    fn is_gap(&self) -> bool {
        self.after_s > self.before_s
    }

    fn add(
        &mut self,
        name: &str,
        wall: &Schedule,
        timetable: &Timetable,
        budget: &mut Budget,
        fuel: &Fuel,
    ) {
        let (from_s, until_s) = self.wall();
        let mut task = ClockTask {
            task: name.to_owned(),
            wall: Vec::new(),
            wall_count: 0,
            instants: Vec::new(),
            instant_count: 0,
        };
        let mut at = just_before(from_s * 1_000);
        while budget.take()
            && let Some(next) = wall
                .next_by(at, fuel)
                .filter(|t| t.as_ms() < until_s * 1_000)
        {
            if task.wall.len() < LISTED_MAX {
                task.wall.push(clock_of(next.as_ms() / 1_000));
            }
            task.wall_count += 1;
            at = next;
        }
        if task.wall_count == 0 {
            return;
        }
        let length_s = until_s - from_s;
        let first_s = self.at_s - if self.is_gap() { 0 } else { length_s };
        let until_ms = (self.at_s + length_s) * 1_000;
        let mut at = just_before(first_s * 1_000);
        while budget.take()
            && let Some(event) = timetable
                .next_by(at, fuel)
                .filter(|e| e.at.as_ms() < until_ms)
        {
            if event.what == What::Due {
                if task.instants.len() < LISTED_MAX {
                    task.instants.push(event.at);
                }
                task.instant_count += 1;
            }
            at = event.at;
        }
        self.keep(task);
    }

    fn keep(&mut self, task: ClockTask) {
        let rank = |t: &ClockTask| (t.wall_count, t.task.clone());
        let own = rank(&task);
        let place = self.tasks.partition_point(|t| rank(t) < own);
        if place < TASKS_MAX {
            self.tasks.insert(place, task);
        } else {
            self.other_tasks += 1;
        }
        if self.tasks.len() > TASKS_MAX {
            self.tasks.truncate(TASKS_MAX);
            self.other_tasks += 1;
        }
    }

    fn report(self, timezone: String) -> ClockChange {
        let (from_s, until_s) = self.wall();
        ClockChange {
            timezone,
            date: date_of(from_s.div_euclid(DAY_S)),
            at: Timestamp::from_ms(self.at_s * 1_000),
            before: offset(self.before_s),
            after: offset(self.after_s),
            kind: if self.is_gap() { "gap" } else { "repeat" }.to_owned(),
            wall_from: clock_of(from_s),
            wall_until: clock_of(until_s),
            tasks: self.tasks,
            other_tasks: self.other_tasks,
        }
    }
}

/// A time of day, with its seconds where it has any.
fn clock_of(wall_s: i64) -> String {
    let s = wall_s.rem_euclid(DAY_S);
    let minutes = format!("{:02}:{:02}", s / 3_600, s / 60 % 60);
    match s % 60 {
        0 => minutes,
        seconds => format!("{minutes}:{seconds:02}"),
    }
}

fn offset(seconds: i64) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    format!("{sign}{}", clock_of(seconds.abs()))
}
