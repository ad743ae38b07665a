//! What tasks share: calendars, and the limits of queues and groups. An edit of a calendar moves the due rows of the
//! tasks that name it, in the same transaction.

use std::sync::Arc;

use campanile_schedule::calendar::{Calendar, CalendarSpec};
use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;
use campanile_schedule::{Timetable, check_name};

use super::due::{due_key, too_dense};
use super::strays::Groups;
use super::{Control, EDIT_TRIES_MAX, Editor, Error};
use crate::engine::ahead::{first_unplanned, planned_ahead};
use crate::id::TaskId;
use crate::protocol::limits;
use crate::protocol::permits::{LimitKey, Rules};
use crate::protocol::work::{Edit, Move, Unplan};
use crate::task::Task;

/// A limit with its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRow {
    /// What it is about: `queue:NAME` or `group:NAME`.
    pub key: LimitKey,
    /// How many runs may be handed to workers at once.
    pub max_running: u32,
    /// How many are.
    pub held: u32,
    /// How many wait for their turn.
    pub parked: u32,
    /// That it limits nothing now: no task is of its group, or nobody listens on its queue.
    pub warning: Option<String>,
}

/// A calendar with the tasks that name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarRow {
    /// The calendar.
    pub calendar: Arc<Calendar>,
    /// Names of tasks, in their order.
    pub tasks: Vec<String>,
}

impl Control {
    /// The limits of queues and groups, in the order of their keys.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn limits(&self) -> Result<Vec<LimitRow>, Error> {
        let rules = self.parts.store.rules().await?;
        let mut keys: Vec<LimitKey> = rules.limits.keys().cloned().collect();
        keys.sort();
        let mut standings = self.parts.store.standings(&keys).await?;
        let routes = self.routes().await?;
        let mut groups = Groups::default();
        if keys.iter().any(|key| matches!(key, LimitKey::Group(_))) {
            for task in self.all_tasks(None).await?.values() {
                groups.note(&task.spec);
            }
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let row = |key: LimitKey| {
            let standing = standings.remove(&key).unwrap_or_default();
            LimitRow {
                max_running: rules.limits.get(&key).copied().unwrap_or(0),
                held: count(standing.held.len()),
                parked: standing.parked,
                warning: groups.without_use(&key, &routes),
                key,
            }
        };
        Ok(keys.into_iter().map(row).collect())
    }

    /// The calendars, in the order of their names, with the tasks that name them.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn calendars(&self) -> Result<Vec<CalendarRow>, Error> {
        let rules = self.parts.store.rules().await?;
        let mut rows: Vec<CalendarRow> = rules
            .calendars
            .into_values()
            .map(|calendar| CalendarRow {
                calendar,
                tasks: Vec::new(),
            })
            .collect();
        rows.sort_by(|a, b| a.calendar.spec.name.cmp(&b.calendar.spec.name));
        if !rows.is_empty() {
            let tasks = self.all_tasks(None).await?;
            for row in &mut rows {
                row.tasks = naming(tasks.values(), &row.calendar.spec.name);
            }
        }
        Ok(rows)
    }

    /// One calendar.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn calendar(&self, name: &str) -> Result<CalendarRow, Error> {
        let rows = self.calendars().await?;
        let mut rows = rows.into_iter();
        rows.find(|row| row.calendar.spec.name == name)
            .ok_or_else(|| no_calendar(name))
    }

    /// Where the due rows of tasks go under these rules, and what was planned ahead under the old ones. What is overdue
    /// stays.
    pub(super) async fn moves_of(
        &self,
        rules: &Arc<Rules>,
        mut tasks: Vec<Task>,
        now: Timestamp,
    ) -> Result<(Vec<Move>, Vec<Unplan>), Error> {
        let store = &*self.parts.store;
        let (mut moves, mut unplans) = (Vec::new(), Vec::new());
        let each = u64::try_from(tasks.len()).unwrap_or(0) * limits::APPLY_TASK_FUEL;
        let mut units = limits::REQUEST_FUEL + each;
        while !tasks.is_empty() {
            let some = tasks.split_off(tasks.len().saturating_sub(limits::LOOKED_AT_ONCE));
            let ids: Vec<TaskId> = some.iter().map(|t| t.id).collect();
            let seen = store.next_dues(&ids).await?;
            let stays = |t: &Task| {
                let offset = t.spec.jitter_offset();
                t.spec.rests() || seen.get(&t.id).is_some_and(|at| at.minus(offset) <= now)
            };
            let some: Vec<Task> = some.into_iter().filter(|t| !stays(t)).collect();
            for one in self.first_events(rules, some, now, &mut units).await? {
                let (task, timetable, first) = one?;
                let instant = seen.get(&task.id);
                let instant = instant.map(|at| at.minus(task.spec.jitter_offset()));
                let unplan = planned_ahead(store, &task, instant, now).await?;
                let taken_back = unplan.as_ref().map_or(&[][..], |u| &u.runs);
                let next =
                    first_unplanned(store, task.id, &timetable, first, now, taken_back).await?;
                unplans.extend(unplan);
                let next = next.map_err(|spent| too_dense(spent).of_task(&task.spec.name))?;
                moves.push(Move {
                    task: task.id,
                    seen: seen.get(&task.id).copied(),
                    next: next.map(|at| due_key(&task.spec, at, task.id)),
                });
            }
        }
        Ok((moves, unplans))
    }

    /// The timetables of tasks, and the first instants from now on of which they say something.
    async fn first_events(
        &self,
        rules: &Arc<Rules>,
        tasks: Vec<Task>,
        now: Timestamp,
        units: &mut u64,
    ) -> Result<Vec<Result<First, Error>>, Error> {
        let rules = Arc::clone(rules);
        let from = self.unanswered_from(now);
        let work = move |fuel: &Fuel| {
            let one = |task: Task| {
                let share = fuel.share(limits::TASK_FUEL);
                let first = first_event(task, &rules, from, &share);
                fuel.settle(&share);
                first
            };
            let all: Vec<Result<First, Error>> = tasks.into_iter().map(one).collect();
            (all, fuel.burnt())
        };
        let (all, burnt) = self.parts.pool.run_with(*units, work).await?;
        *units = units.saturating_sub(burnt);
        Ok(all)
    }
}

impl Editor {
    /// Sets the limit of a queue or a group, or lifts it. Runs that wait for their turn are looked at again.
    ///
    /// # Errors
    /// A key or a number that can't be.
    pub async fn set_limit(&self, key: &LimitKey, most: Option<u32>) -> Result<(), Error> {
        check_limit(key, most)?;
        let now = self.now().await?;
        let edit = Edit {
            limits: vec![(key.clone(), most)],
            ..Edit::default()
        };
        // Stale can't be: this edit rests on nothing.
        self.edit(&edit, now).await.map(drop)
    }

    /// Puts a calendar under its name, whole, and moves the due rows of the tasks that name it. Answers whether it is
    /// new.
    ///
    /// # Errors
    /// The field at fault; [`Error::Conflict`] when others edit all the time.
    pub async fn put_calendar(&self, spec: &CalendarSpec) -> Result<bool, Error> {
        for _ in 0..EDIT_TRIES_MAX {
            let now = self.now().await?;
            let edits = self.leader_row().await?.edits;
            let mut rules = self.parts.store.rules().await?;
            let old = rules.calendar(&spec.name);
            if old.as_ref().is_some_and(|c| c.spec == *spec) {
                return Ok(false);
            }
            overlay(&mut rules, spec)?;
            let tasks = self.all_tasks(None).await?.into_values();
            let tasks = tasks.filter(|t| names(t, &spec.name)).collect();
            let (moves, unplans) = self.moves_of(&Arc::new(rules), tasks, now).await?;
            let edit = Edit {
                edits: Some(edits),
                calendars: vec![(spec.name.clone(), Some(spec.clone()))],
                moves,
                unplans,
                ..Edit::default()
            };
            if self.edit(&edit, now).await?.is_applied() {
                return Ok(old.is_none());
            }
        }
        Err(super::apply::edited_meanwhile())
    }

    /// Deletes a calendar that no task names.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] with the tasks that name it.
    pub async fn delete_calendar(&self, name: &str) -> Result<(), Error> {
        for _ in 0..EDIT_TRIES_MAX {
            let now = self.now().await?;
            let edits = self.leader_row().await?.edits;
            let row = self.calendar(name).await?;
            if let Some(first) = row.tasks.first() {
                let others = match row.tasks.len() - 1 {
                    0 => String::new(),
                    n => format!(" and {n} others"),
                };
                return Err(Error::Conflict(format!(
                    "calendar `{name}` is named by task `{first}`{others}: take it out of their `calendars` first"
                )));
            }
            let edit = Edit {
                edits: Some(edits),
                calendars: vec![(name.to_owned(), None)],
                ..Edit::default()
            };
            if self.edit(&edit, now).await?.is_applied() {
                return Ok(());
            }
        }
        Err(super::apply::edited_meanwhile())
    }
}

/// A task, its timetable, and its first instant.
type First = (Task, Timetable, Option<Timestamp>);

fn first_event(task: Task, rules: &Rules, from: Timestamp, fuel: &Fuel) -> Result<First, Error> {
    let find = |name: &str| rules.calendar(name);
    let timetable = task.spec.timetable_by(task.created_at, &find, fuel);
    let timetable = timetable.map_err(|e| Error::from(e).of_task(&task.spec.name))?;
    let first = timetable.next_by(from, fuel).map(|event| event.at);
    let remedy = "let calendars exclude less, or give the task fewer schedules";
    fuel.check()
        .map_err(|spent| Error::spent("calendars", spent, remedy).of_task(&task.spec.name))?;
    Ok((task, timetable, first))
}

/// Puts calendars over those that are kept, as if they were.
pub(super) fn overlay(rules: &mut Rules, spec: &CalendarSpec) -> Result<(), Error> {
    let version = rules.calendar(&spec.name).map_or(1, |c| c.version + 1);
    let calendar = Calendar::compile(spec.clone(), version)?;
    rules
        .calendars
        .insert(spec.name.clone(), Arc::new(calendar));
    Ok(())
}

/// Checks a limit of a queue or a group.
pub(super) fn check_limit(key: &LimitKey, most: Option<u32>) -> Result<(), Error> {
    match key {
        LimitKey::Queue(name) => check_name("limit", name.as_str())?,
        LimitKey::Group(name) => check_name("limit", name)?,
        LimitKey::Ability(..) => {
            let message = format!("`{key}` is no limit: write queue:NAME or group:NAME");
            return Err(Error::invalid("limit", message));
        }
        LimitKey::Overlap(_) | LimitKey::Task(_) => {
            let message = format!("`{key}` is a task's own: set it in the task's definition");
            return Err(Error::invalid("limit", message));
        }
    }
    match most {
        Some(n) if n == 0 || n > limits::PERMITS_MAX => {
            let message = format!("{n} is out of range: write 1 to {}", limits::PERMITS_MAX);
            Err(Error::invalid("max_running", message))
        }
        _ => Ok(()),
    }
}

fn names(task: &Task, calendar: &str) -> bool {
    let calendars = task.spec.calendars.as_slice();
    calendars.iter().any(|name| name == calendar)
}

fn naming<'a>(tasks: impl Iterator<Item = &'a Task>, calendar: &str) -> Vec<String> {
    let tasks = tasks.filter(|task| names(task, calendar));
    let mut all: Vec<String> = tasks.map(|task| task.spec.name.clone()).collect();
    all.sort();
    all
}

fn no_calendar(name: &str) -> Error {
    Error::NotFound {
        what: "calendar",
        name: name.to_owned(),
        remedy: "`campanile calendar list` shows them",
    }
}
