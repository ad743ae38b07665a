//! Looking ahead: what a set of tasks will start in the next days, minute by minute, computed from their timetables as
//! if time had passed. Pure: the beginning is an argument, no clock is read, nothing is stored. It never decides what
//! the engine decides: misfires are judged by [`crate::occurrences::occurrences`] itself, occurrences by
//! [`Timetable`].
//!
//! A *start* is an occurrence's instant plus its task's place in its jitter: minutes, days and the worst minutes are
//! about starts. Work and memory are bounded whatever the tasks are; what a bound cut off is said in
//! [`Forecast::cut`], never passed over.

mod catch_up;
mod clocks;
mod count;
mod days;
mod overlap;
#[cfg(test)]
mod policy_tests;
mod report;
mod starts;
#[cfg(test)]
mod tests;
mod worst;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::calendar::Calendar;
use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::{Timestamp, duration_ms};
use campanile_schedule::{Invalid, TimeZoneName, Timetable};

pub use self::days::{Cell, Row};
pub use self::report::{
    CatchUp, CatchUpTask, ClockChange, ClockTask, Crowd, Cut, Day, Forecast, Minute, Names, Others,
    Overlap, Overlaps, Refused, Share, Tasks,
};
use self::starts::{Budget, Subject, Window};
use crate::limits;
use crate::task::TaskSpec;

/// Days that one forecast covers.
pub const DAYS_MAX: u16 = 366;
/// Worst minutes, and tasks of a list, that may be asked for.
pub const TOP_MAX: usize = 50;
/// The longest outage.
pub const OUTAGE_MAX: Duration = Duration::from_secs(366 * 86_400);
/// Tasks that one forecast looks at: each is kept in some hundred bytes until its end.
pub const TASKS_MAX: usize = 200_000;
/// Tasks whose durations are measured.
pub const CANDIDATES_MAX: usize = 200;
/// Steps of the count of starts, over all tasks.
pub const COUNT_STEPS_MAX: u64 = 50_000_000;
/// Steps of the count of one task.
pub const TASK_STEPS_MAX: u64 = 1_000_000;
/// Steps that find the tasks behind the worst minutes.
pub const WORST_STEPS_MAX: u64 = 20_000_000;
/// Steps of the looks at clock changes.
pub const CLOCK_STEPS_MAX: u64 = 5_000_000;
/// Steps of the search for overlaps.
pub const OVERLAP_STEPS_MAX: u64 = 20_000_000;
/// Instants of an outage, over all tasks.
pub const CATCH_UP_STEPS_MAX: u64 = 20_000_000;
/// Names in a list that is only there to say of whom a number is.
const NAMES_MAX: usize = 20;
/// Runs of a task that take longer than this always meet the next occurrence of a daily one; tasks with longer
/// distances are no candidates for overlaps.
const CANDIDATE_GAP_MAX: Duration = Duration::from_secs(86_400);
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The first instant; cut to the whole minute.
    pub from: Timestamp,
    /// How many times 24 hours, 1 to [`DAYS_MAX`].
    pub days: u16,
    /// A time in which nothing is planned, to see what is caught up afterwards.
    pub outage: Option<Outage>,
    /// How many worst minutes are named, and tasks of other lists; 1 to [`TOP_MAX`].
    pub top: usize,
    /// In whose days the result is shown; decides nothing else.
    pub zone: TimeZoneName,
}

/// A time in which no leader plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Its first instant.
    pub from: Timestamp,
    /// When planning goes on.
    pub until: Timestamp,
}

impl Query {
    /// A week from an instant, ten worst minutes, in UTC.
    #[must_use]
    pub fn week(from: Timestamp) -> Self {
        Self {
            from,
            days: 7,
            outage: None,
            top: 10,
            zone: TimeZoneName::utc(),
        }
    }

    /// Checks every field against the limits.
    ///
    /// # Errors
    /// The first field at fault: `days`, `top`, `outage_until`.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.days == 0 || self.days > DAYS_MAX {
            let message = format!("{} is out of range: write 1 to {DAYS_MAX}", self.days);
            return Err(Invalid::new("days", message));
        }
        if self.top == 0 || self.top > TOP_MAX {
            let message = format!("{} is out of range: write 1 to {TOP_MAX}", self.top);
            return Err(Invalid::new("top", message));
        }
        let Some(outage) = self.outage else {
            return Ok(());
        };
        if outage.until <= outage.from {
            let message = format!(
                "{} is not after outage_from ({}): write a later instant",
                outage.until, outage.from
            );
            return Err(Invalid::new("outage_until", message));
        }
        if outage.until.since(outage.from) > OUTAGE_MAX {
            let message = "is more than 366 days after outage_from: write an earlier instant";
            return Err(Invalid::new("outage_until", message));
        }
        Ok(())
    }

    fn window(&self) -> Window {
        let from_ms = self.from.as_ms() - self.from.as_ms().rem_euclid(MINUTE_MS);
        Window {
            from_ms,
            until_ms: from_ms + i64::from(self.days) * DAY_MS,
        }
    }
}

/// The forecast of tasks of which all is known: (definition, creation, timetable, how long its runs typically take).
///
/// # Errors
/// A field of the query that is out of range.
pub fn forecast<'a>(
    query: &Query,
    tasks: impl IntoIterator<Item = (&'a TaskSpec, Timetable, Option<Duration>)>,
) -> Result<Forecast, Invalid> {
    let mut forecaster = Forecaster::new(query)?;
    for (spec, timetable, typical) in tasks {
        forecaster.add(spec, timetable);
        if let Some(typical) = typical {
            forecaster.measure(&spec.name, typical);
        }
    }
    Ok(forecaster.finish())
}

/// A forecast in the making: tasks are added one by one, durations once it is known whose matter.
#[derive(Debug)]
pub struct Forecaster {
    query: Query,
    window: Window,
    minutes: Vec<u32>,
    subjects: Vec<Subject>,
    /// The different texts of schedules, numbered.
    schedules: HashMap<String, u32>,
    tasks: Tasks,
    never: Names,
    after_ends: Names,
    refused: Vec<Refused>,
    excluded: u64,
    moved: u64,
    clocks: clocks::Clocks,
    catch_up: Option<catch_up::Sum>,
    typical: HashMap<String, Duration>,
    budget: Budget,
    fuel: Arc<Fuel>,
    cut: Cut,
}

impl Forecaster {
    /// Of no tasks yet.
    ///
    /// # Errors
    /// A field of the query that is out of range.
    pub fn new(query: &Query) -> Result<Self, Invalid> {
        Self::with_fuel(query, Arc::new(Fuel::endless()))
    }

    /// The same with fuel: the forecast counts only if the fuel's check says so when it is finished.
    ///
    /// # Errors
    /// As [`Forecaster::new`].
    pub fn with_fuel(query: &Query, fuel: Arc<Fuel>) -> Result<Self, Invalid> {
        query.check()?;
        let window = query.window();
        Ok(Self {
            window,
            minutes: vec![0; window.minutes()],
            subjects: Vec::new(),
            schedules: HashMap::new(),
            tasks: Tasks::default(),
            never: Names::default(),
            after_ends: Names::default(),
            refused: Vec::new(),
            excluded: 0,
            moved: 0,
            clocks: clocks::Clocks::new(window, Arc::clone(&fuel)),
            catch_up: query
                .outage
                .map(|outage| catch_up::Sum::new(outage, Arc::clone(&fuel))),
            fuel,
            typical: HashMap::new(),
            budget: Budget::of(COUNT_STEPS_MAX),
            cut: Cut::default(),
            query: query.clone(),
        })
    }

    /// Adds a task by its definition, with the calendars that `find` knows; one whose schedule can't be read is refused.
    pub fn read(
        &mut self,
        spec: &TaskSpec,
        created_at: Timestamp,
        find: &dyn Fn(&str) -> Option<Arc<Calendar>>,
    ) {
        let share = self.fuel.share(limits::TASK_FUEL);
        let timetable = spec.timetable_by(created_at, find, &share);
        self.fuel.settle(&share);
        match timetable {
            Ok(timetable) => self.add(spec, timetable),
            Err(error) => self.refuse(&spec.name, error.to_string()),
        }
    }

    /// Adds a task. Paused ones and those without a schedule are counted and start nothing.
    pub fn add(&mut self, spec: &TaskSpec, timetable: Timetable) {
        self.tasks.total += 1;
        if spec.is_paused() {
            self.tasks.paused += 1;
            return;
        }
        if spec.schedule.is_none() {
            self.tasks.on_request += 1;
            return;
        }
        if self.subjects.len() == TASKS_MAX {
            self.cut.tasks_left_out += 1;
            return;
        }
        self.tasks.scheduled += 1;
        if spec.after().is_some() {
            self.after_ends.add(&spec.name);
        }
        self.clocks.add(spec, &timetable);
        if let Some(sum) = &mut self.catch_up {
            sum.add(spec, &timetable);
        }
        let mut subject = Subject::new(spec, timetable, Arc::clone(&self.fuel));
        let tally = count::count(
            &subject,
            self.window,
            &mut self.minutes,
            &mut self.budget,
            TASK_STEPS_MAX,
        );
        self.excluded += tally.excluded;
        self.moved += tally.moved;
        if let Some(until) = tally.counted_until {
            self.cut.counted(&subject.name, until);
        } else if tally.starts == 0 {
            self.never.add(&subject.name);
        }
        if tally.starts > 0 {
            subject.starts = tally.starts;
            // Its runs meet none of their own.
            subject.gap_ms = tally.gap_ms.filter(|_| spec.after().is_none());
            subject.schedule = self.schedule_number(spec);
            self.subjects.push(subject);
        }
    }

    fn schedule_number(&mut self, spec: &TaskSpec) -> u32 {
        let mut text = spec.schedule.as_ref().map(ToString::to_string);
        if let Some(text) = text.as_mut().filter(|_| spec.timezone != "UTC") {
            text.push_str(&format!(" ({})", spec.timezone));
        }
        let next = u32::try_from(self.schedules.len()).unwrap_or(u32::MAX);
        *self
            .schedules
            .entry(text.unwrap_or_default())
            .or_insert(next)
    }

    /// Counts a task that can't be scheduled here.
    pub fn refuse(&mut self, name: &str, message: impl Into<String>) {
        self.tasks.total += 1;
        self.tasks.refused += 1;
        if self.refused.len() < NAMES_MAX {
            self.refused.push(Refused {
                task: name.to_owned(),
                message: message.into(),
            });
        }
    }

    /// The tasks whose typical duration decides about overlaps: those with two starts less than a day apart, the most
    /// frequent first, [`CANDIDATES_MAX`] at most.
    #[must_use]
    pub fn candidates(&self) -> Vec<String> {
        let candidates = overlap::candidates(&self.subjects);
        candidates.iter().map(|s| s.name.to_string()).collect()
    }

    /// Says how long the runs of a task typically take.
    pub fn measure(&mut self, name: &str, typical: Duration) {
        if self.typical.len() < TASKS_MAX {
            self.typical.insert(name.to_owned(), typical);
        }
    }

    /// The result.
    #[must_use]
    pub fn finish(mut self) -> Forecast {
        let crowd = worst::Makers {
            subjects: &self.subjects,
            schedules: &self.schedules,
        };
        let (worst, attributed) =
            worst::minutes(&self.minutes, &crowd, self.window, self.query.top);
        self.cut.worst_minutes |= !attributed;
        let overlaps = overlap::find(
            &self.subjects,
            &self.typical,
            self.window,
            self.query.top,
            &mut self.cut,
        );
        let (clock_changes, more) = self.clocks.finish(&mut self.cut);
        let catch_up = self
            .catch_up
            .map(|sum| sum.finish(self.query.top, &mut self.cut));
        Forecast {
            from: self.window.from(),
            until: self.window.until(),
            days: days::days(&self.minutes, self.window, &self.query.zone),
            timezone: self.query.zone,
            tasks: self.tasks,
            starts: self.subjects.iter().map(|s| s.starts).sum(),
            worst,
            excluded: self.excluded,
            moved: self.moved,
            clock_changes,
            clock_changes_left_out: more,
            overlaps,
            catch_up,
            never: self.never,
            after_ends: self.after_ends,
            refused: self.refused,
            cut: self.cut,
            per_minute: self.minutes,
        }
    }
}

fn ms_of(d: Duration) -> i64 {
    duration_ms(d)
}
