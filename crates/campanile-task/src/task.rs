//! Tasks as values: the definition that people write, its limits and its defaults. Owns what a valid task is; never
//! reads files and never computes an instant (that is [`campanile_schedule`]).

mod address;
mod chain;
mod check;
mod classes;
mod defaults;
mod handler;
mod labels;
pub(crate) mod lengths;
pub mod mask;
mod meant;
mod pause;
mod policy;
pub mod secret;
mod texts;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use campanile_schedule::calendar::Calendar;
use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;
use campanile_schedule::{
    Bounds, Dialect, Dst, Invalid, Moment, OnExcluded, Options, Schedule, TimeZoneName, Timetable,
    check_name, hash_spread,
};
use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::limits;

pub use self::address::FRAMING_HEADERS;
pub use self::chain::Chain;
pub use self::check::{check_attempts, check_handler, check_payload};
use self::check::{check_bounds, check_duration};
pub use self::classes::{Class, Classes};
pub use self::handler::{
    CommandSpec, ExternalBody, ExternalReply, ExternalSpec, HandlerSpec, HttpSpec,
};
pub use self::labels::{Label, check_label_key};
pub use self::meant::{TASK, belongs, meant};
pub use self::pause::{Pause, REASON_CHARS_MAX};
pub use self::policy::{Backoff, Misfire, Overlap, Retry, StartMode};
pub use self::texts::Texts;

/// The name of a queue. Cheap to copy around; compared as text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QueueName(Arc<str>);

impl QueueName {
    /// From text that was validated, or comes from the store.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Default for QueueName {
    fn default() -> Self {
        Self::new("default")
    }
}

/// A task as people define it: the same in TOML, YAML, JSON and the API. Unknown keys are refused by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// Unique; letters, digits, `.`, `_`, `-`, at most 200 bytes.
    pub name: String,
    /// What it is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who put it: `apply --prune` deletes only what the same owner put, and another owner takes it over only when he
    /// says so. Absent = nobody's in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What it is called by, to find it and its like: `team` is `billing`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Cron, `every 10s`, `after 10m`, `at 2026-12-01T08:00`, `rrule FREQ=…`, or a list of such; absent = only on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Texts>,
    /// How to read a cron expression; `auto` goes by its number of fields.
    #[serde(default)]
    pub dialect: Dialect,
    /// IANA zone in which the schedule is meant.
    #[serde(default = "defaults::utc")]
    pub timezone: String,
    /// The instant from which `every` counts; absent = when the task was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Timestamp>,
    /// What happens to cron and RRULE times where the clocks are changed.
    #[serde(default, skip_serializing_if = "defaults::is_default")]
    pub dst: Dst,
    /// The first instant that may be due: with an offset, or as a wall time of its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Moment>,
    /// The last instant that may be due; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Moment>,
    /// How many instants are due in all, run or skipped: the first is the first one from `starts_at` on, or after the
    /// task's creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_count: Option<u32>,
    /// Names of calendars: an occurrence that any of them excludes does not run at its instant.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub calendars: Texts,
    /// What happens to an occurrence that a calendar excludes.
    #[serde(default, skip_serializing_if = "defaults::is_default")]
    pub on_excluded: OnExcluded,
    /// Starts are spread over this long after the instant, each task at its own place, by a hash of its name.
    #[serde(
        default,
        skip_serializing_if = "Duration::is_zero",
        with = "campanile_schedule::time::duration"
    )]
    pub jitter: Duration,
    /// Where its runs are delivered.
    #[serde(default)]
    pub queue: QueueName,
    /// What runs.
    pub handler: HandlerSpec,
    /// What the handler is given.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub payload: serde_json::Value,
    /// What happens to occurrences that are later than `misfire_limit`.
    #[serde(default)]
    pub misfire: Misfire,
    /// How late an occurrence may be before it counts as missed.
    #[serde(
        default = "defaults::misfire_limit",
        with = "campanile_schedule::time::duration"
    )]
    pub misfire_limit: Duration,
    /// Occurrences older than this never run, whatever the misfire policy says; absent = no such bound.
    #[serde(
        default,
        with = "campanile_schedule::time::optional_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_lateness: Option<Duration>,
    /// A run that has not started this long after it was due is skipped; absent = it waits for a worker for ever.
    #[serde(
        default,
        with = "campanile_schedule::time::optional_duration",
        skip_serializing_if = "Option::is_none"
    )]
    pub start_deadline: Option<Duration>,
    /// What happens to an occurrence that is due while an earlier run is active.
    #[serde(default)]
    pub overlap: Overlap,
    /// With `overlap = "queue"`: how many runs may wait for an earlier one; those over it are skipped.
    #[serde(
        default = "defaults::overlap_queue_max",
        skip_serializing_if = "defaults::is_overlap_queue_max"
    )]
    pub overlap_queue_max: u32,
    /// How many of its runs may be handed to workers at once, in the whole cluster; absent = any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running: Option<u32>,
    /// A named group whose limit it shares with other tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How long one attempt may take.
    #[serde(
        default = "defaults::timeout",
        with = "campanile_schedule::time::duration"
    )]
    pub timeout: Duration,
    /// How much of an attempt's output is kept, in bytes; absent = [`limits::LOG_BYTES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<usize>,
    /// Whether a run may be started again after its worker died.
    #[serde(default)]
    pub start: StartMode,
    /// What happens after a failure.
    #[serde(default)]
    pub retry: Retry,
    /// JMS priority, 0 (last) to 9 (first).
    #[serde(default = "defaults::priority")]
    pub priority: u8,
    /// Whether the schedule rests; requests still run. An operator's act: applying a file never takes it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Whether the task is in use: one that is not has no occurrences, and requests for it are refused.
    #[serde(default = "defaults::yes", skip_serializing_if = "defaults::is_yes")]
    pub enabled: bool,
}

/// A task as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Who it is.
    pub id: TaskId,
    /// Grows with every change.
    pub version: i64,
    /// What people wrote, defaults filled in, the anchor fixed.
    pub spec: TaskSpec,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// While it is paused: the instant from which on its occurrences do not run.
    pub paused_from: Option<Timestamp>,
}

impl Task {
    /// Whether requests for it are taken.
    ///
    /// # Errors
    /// A sentence with the remedy, if its definition disables it.
    pub fn check_enabled(&self) -> Result<(), String> {
        if self.spec.enabled {
            return Ok(());
        }
        let name = &self.spec.name;
        Err(format!(
            "task `{name}` is disabled: put it with `enabled = true` first"
        ))
    }
}

impl TaskSpec {
    /// The defaults around a handler: what a run that was submitted with its own handler runs under.
    #[must_use]
    pub fn for_handler(handler: HandlerSpec) -> Self {
        Self {
            name: String::new(),
            description: None,
            owner: None,
            labels: BTreeMap::new(),
            schedule: None,
            dialect: Dialect::Auto,
            timezone: defaults::utc(),
            anchor: None,
            dst: Dst::default(),
            starts_at: None,
            ends_at: None,
            max_count: None,
            calendars: Texts::default(),
            on_excluded: OnExcluded::default(),
            jitter: Duration::ZERO,
            queue: QueueName::default(),
            handler,
            payload: serde_json::Value::Null,
            misfire: Misfire::default(),
            misfire_limit: defaults::misfire_limit(),
            max_lateness: None,
            start_deadline: None,
            overlap: Overlap::default(),
            overlap_queue_max: defaults::overlap_queue_max(),
            max_running: None,
            group: None,
            timeout: defaults::timeout(),
            log_bytes: None,
            start: StartMode::default(),
            retry: Retry::default(),
            priority: defaults::priority(),
            paused: false,
            enabled: true,
        }
    }

    /// The compiled schedule with its bounds, whatever calendars say. `created_at` anchors an `every` that names no
    /// anchor.
    ///
    /// # Errors
    /// The field at fault (`schedule`, `timezone`) with what would be valid.
    pub fn compile(&self, created_at: Timestamp) -> Result<Schedule, Invalid> {
        self.compile_by(created_at, &Fuel::of(limits::TASK_FUEL))
    }

    /// The same with this fuel.
    ///
    /// # Errors
    /// As [`TaskSpec::compile`]; what can't be worked out with it names the field that makes it so long.
    pub fn compile_by(&self, created_at: Timestamp, fuel: &Fuel) -> Result<Schedule, Invalid> {
        let zone = TimeZoneName::parse(&self.timezone)
            .map_err(|e| Invalid::new("timezone", e.to_string()))?;
        let options = Options {
            dialect: self.dialect,
            timezone: zone.clone(),
            dst: self.dst,
            anchor: self.anchor.unwrap_or(created_at),
            name_for_hash: self.name.clone(),
        };
        let texts: &[String] = self.schedule.as_ref().map_or(&[], Texts::as_slice);
        let schedule = Schedule::parse_all_by(texts, &options, fuel)
            .map_err(|e| Invalid::new("schedule", e.to_string()))?;
        // Before it is counted.
        self.check_count(&schedule)?;
        let bounds = Bounds {
            starts_at: self.starts_at.map(|at| at.first_in(&zone, self.dst)),
            ends_at: self.ends_at.map(|at| at.last_in(&zone, self.dst)),
            max_count: self.max_count,
            counted_from: created_at,
        };
        let schedule = schedule.bounded_by(&bounds, fuel);
        fuel.check().map_err(|spent| {
            let remedy = "write a smaller number, fewer schedules, or `ends_at` instead";
            Invalid::new("max_count", format!("{spent}: {remedy}"))
        })?;
        Ok(schedule)
    }

    /// Checks `max_count`: what is not counted by arithmetic is counted one by one, and that takes time.
    fn check_count(&self, schedule: &Schedule) -> Result<(), Invalid> {
        let most = if schedule.counts_by_arithmetic() {
            u32::MAX
        } else {
            campanile_schedule::limits::MAX_COUNT_MAX
        };
        match self.max_count {
            Some(n) if n == 0 || n > most => Err(Invalid::new(
                "max_count",
                format!("{n} is out of range: write 1 to {most}, or `ends_at` instead"),
            )),
            _ => Ok(()),
        }
    }

    /// The compiled schedule with the calendars that it names; `find` looks them up.
    ///
    /// # Errors
    /// As [`TaskSpec::compile`], `calendars` for a name that `find` does not know, and `on_excluded` where moving makes
    /// no sense.
    pub fn timetable(
        &self,
        created_at: Timestamp,
        find: &dyn Fn(&str) -> Option<Arc<Calendar>>,
    ) -> Result<Timetable, Invalid> {
        self.timetable_by(created_at, find, &Fuel::of(limits::TASK_FUEL))
    }

    /// The same with this fuel.
    ///
    /// # Errors
    /// As [`TaskSpec::timetable`] and [`TaskSpec::compile_by`].
    pub fn timetable_by(
        &self,
        created_at: Timestamp,
        find: &dyn Fn(&str) -> Option<Arc<Calendar>>,
        fuel: &Fuel,
    ) -> Result<Timetable, Invalid> {
        let schedule = self.compile_by(created_at, fuel)?;
        let zone = TimeZoneName::parse(&self.timezone)
            .map_err(|e| Invalid::new("timezone", e.to_string()))?;
        let calendars = self.calendars.as_slice().iter().map(|name| {
            find(name).ok_or_else(|| {
                let message = format!(
                    "there is no calendar `{name}`: put it first, or see `campanile calendar list`"
                );
                Invalid::new("calendars", message)
            })
        });
        let calendars = calendars.collect::<Result<Vec<_>, _>>()?;
        let timetable = Timetable::new(schedule, calendars, self.on_excluded, zone);
        timetable.check(created_at, fuel)?;
        fuel.check().map_err(|spent| {
            let remedy = "write on_excluded = \"skip\", or a schedule with fewer occurrences a day";
            Invalid::new("on_excluded", format!("{spent}: {remedy}"))
        })?;
        Ok(timetable)
    }

    /// How long after its instant an occurrence starts: the task's own place in its `jitter`, the same for each of its
    /// occurrences and on every machine.
    #[must_use]
    pub fn jitter_offset(&self) -> Duration {
        hash_spread(&self.name, self.jitter)
    }

    /// Checks every field against the limits.
    ///
    /// # Errors
    /// The first field at fault.
    pub fn validate(&self, created_at: Timestamp) -> Result<(), Invalid> {
        self.validate_fields()?;
        self.compile(created_at).map(drop)
    }

    /// Checks all fields but the schedule, which takes the longest: who compiles it anyway asks this first.
    ///
    /// # Errors
    /// The first field at fault.
    pub fn validate_fields(&self) -> Result<(), Invalid> {
        check_name("name", &self.name)?;
        check_name("queue", self.queue.as_str())?;
        lengths::check_task(self)?;
        if let Some(owner) = &self.owner {
            check_name("owner", owner)?;
        }
        labels::check(&self.labels)?;
        if self.schedule.as_ref().is_some_and(Texts::is_empty) {
            return Err(Invalid::new(
                "schedule",
                "is an empty list: leave it out for a task that runs on request alone, or write a schedule in it, as in \
                 [\"0 2 * * *\"]",
            ));
        }
        check_handler(&self.handler)?;
        check_payload(&self.payload)?;
        mask::check(self)?;
        secret::check(self)?;
        if self.priority > 9 {
            return Err(Invalid::new(
                "priority",
                format!(
                    "{} is out of range: write 0 (last) to 9 (first)",
                    self.priority
                ),
            ));
        }
        check_attempts(self)?;
        self.check_policies()?;
        check_duration("misfire_limit", self.misfire_limit)?;
        for (field, duration) in [
            ("max_lateness", self.max_lateness),
            ("start_deadline", self.start_deadline),
        ] {
            duration.map_or(Ok(()), |d| check_duration(field, d))?;
        }
        Ok(())
    }

    /// Whether its schedule rests, by an operator's act or by its definition.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused || !self.enabled
    }

    /// Whether instants of its schedule come: it has one, and it does not rest.
    #[must_use]
    pub const fn has_instants(&self) -> bool {
        self.schedule.is_some() && !self.is_paused()
    }

    /// Whether its runs must not overlap: each needs the task's one permit, from its instant to its end.
    #[must_use]
    pub const fn is_exclusive(&self) -> bool {
        !matches!(self.overlap, Overlap::Allow)
    }

    fn check_policies(&self) -> Result<(), Invalid> {
        if !self.jitter.is_zero() {
            check_duration("jitter", self.jitter)?;
        }
        for name in self.calendars.as_slice() {
            check_name("calendars", name)?;
        }
        if let Some(group) = &self.group {
            check_name("group", group)?;
        }
        let in_range = |field, n: Option<u32>, max| match n {
            Some(n) if n == 0 || n > max => Err(Invalid::new(
                field,
                format!("{n} is out of range: write 1 to {max}"),
            )),
            _ => Ok(()),
        };
        in_range("max_running", self.max_running, limits::PERMITS_MAX)?;
        let waiting = Some(self.overlap_queue_max);
        in_range("overlap_queue_max", waiting, limits::BLOCKED_MAX)?;
        if self.is_exclusive() && self.max_running.is_some_and(|n| n > 1) {
            return Err(Invalid::new(
                "max_running",
                "a task whose runs must not overlap has one at a time: leave it out, or write overlap = \"allow\"",
            ));
        }
        chain::check(self)?;
        check_bounds(self)
    }
}
