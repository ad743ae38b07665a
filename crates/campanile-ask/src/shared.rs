//! What tasks share: calendars, and the limits of queues and groups. An edit of a calendar moves the due rows of the
//! tasks that name it, in the same transaction.

use std::sync::Arc;

use campanile_access::Right;
use campanile_access::audit::Deed;
use campanile_schedule::calendar::{Calendar, CalendarSpec};
use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;
use campanile_schedule::{Timetable, check_name};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::thing_of;
use crate::due::too_dense;
use crate::strays::Groups;
use crate::{Control, EDIT_TRIES_MAX, Editor, Error};
use campanile_core::decide::edit::moves::Moving;
use campanile_core::decide::edit::place::Future;
use campanile_core::decide::permits::{LimitKey, Rules};
use campanile_core::engine::edit::ahead::{future, planned_ahead};
use campanile_core::id::TaskId;
use campanile_core::limits;
use campanile_core::port::edit::Edit;
use campanile_core::task::Task;

/// A limit with its use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = LimitView))]
pub struct LimitRow {
    /// `queue:NAME` or `group:NAME`.
    #[cfg_attr(feature = "openapi", schema(value_type = String, example = "group:database"))]
    pub limit: LimitKey,
    /// How many runs may be handed to workers at once.
    pub max_running: u32,
    /// How many are: published, or running.
    pub running: u32,
    /// How many wait for their turn.
    pub waiting: u32,
    /// That it limits nothing now: no task is of its group, or nobody listens on its queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

impl Editor {
    /// The limits of queues and groups, in the order of their keys.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn limits(&self) -> Result<Vec<LimitRow>, Error> {
        self.may(Right::See)?;
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
                running: count(standing.held.len()),
                waiting: standing.blocked,
                warning: groups.without_use(&key, &routes),
                limit: key,
            }
        };
        Ok(keys.into_iter().map(row).collect())
    }

    /// The calendars, in the order of their names, with the tasks that name them.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn calendars(&self) -> Result<Vec<CalendarRow>, Error> {
        self.may(Right::See)?;
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
            let seen = |task: &&Task| self.scope().holds(&thing_of(&task.spec));
            for row in &mut rows {
                row.tasks = naming(tasks.values().filter(seen), &row.calendar.spec.name);
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
}

impl Control {
    /// Where the due rows of tasks go under these calendars, and what is taken back ([`Moving::CALENDAR`]).
    pub(super) async fn plan_moves_of(
        &self,
        rules: &Arc<Rules>,
        mut tasks: Vec<Task>,
        now: Timestamp,
        edit: &mut Edit,
    ) -> Result<(), Error> {
        let store = &*self.parts.store;
        let each = u64::try_from(tasks.len()).unwrap_or(0) * limits::APPLY_TASK_FUEL;
        let mut units = limits::REQUEST_FUEL + each;
        while !tasks.is_empty() {
            let some = tasks.split_off(tasks.len().saturating_sub(limits::LOOKED_AT_ONCE));
            let ids: Vec<TaskId> = some.iter().map(|t| t.id).collect();
            let dues = store.next_dues(&ids).await?;
            let due_row = |task: &Task| dues.get(&task.id).copied();
            let stays = |task: &Task| {
                Moving::CALENDAR
                    .held_back(task, due_row(task), now)
                    .is_some()
            };
            let some: Vec<Task> = some.into_iter().filter(|t| !stays(t)).collect();
            for one in self.first_events(rules, some, now, &mut units).await? {
                let (task, timetable, first) = one?;
                let due_row = due_row(&task);
                let unplan = planned_ahead(store, &task, due_row, now).await?;
                let future = future(store, task.id, &timetable, first, now).await?;
                let future = future.map_err(|spent| too_dense(spent).of_task(&task.spec.name))?;
                let future = Future { unplan, ..future };
                if let Some(moved) = Moving::CALENDAR.move_of(&task, due_row, &future) {
                    edit.moves.push(moved.to);
                    edit.unplans.extend(moved.unplan);
                    edit.answered.extend(moved.answered);
                }
            }
        }
        Ok(())
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
        self.may_limit(key)?;
        check_limit(key, most)?;
        let now = self.now().await?;
        let edit = Edit {
            limits: vec![(key.clone(), most)],
            ..Edit::default()
        };
        // Stale can't be: this edit rests on nothing.
        let act = if most.is_some() {
            "limit.set"
        } else {
            "limit.lift"
        };
        let before = self.parts.store.rules().await?.limits.get(key).copied();
        let deed = Deed::new(act, "limit", &key.to_string()).changing(json!(before), json!(most));
        self.edit(&edit, now, deed).await.map(drop)
    }

    /// Puts a calendar under its name, whole, and moves the due rows of the tasks that name it. Answers whether it is
    /// new.
    ///
    /// # Errors
    /// The field at fault; [`Error::Conflict`] when others edit all the time.
    pub async fn put_calendar(&self, spec: &CalendarSpec) -> Result<bool, Error> {
        self.may_everywhere(Right::Define, "a calendar")?;
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
            let mut edit = Edit {
                edits: Some(edits),
                calendars: vec![(spec.name.clone(), Some(spec.clone()))],
                ..Edit::default()
            };
            self.plan_moves_of(&Arc::new(rules), tasks, now, &mut edit)
                .await?;
            let before = old.as_ref().map(|calendar| &calendar.spec);
            let deed = Deed::new("calendar.put", "calendar", &spec.name);
            let deed = deed.changing(json!(before), json!(spec));
            if self.edit(&edit, now, deed).await?.is_applied() {
                return Ok(old.is_none());
            }
        }
        Err(crate::apply::edited_meanwhile())
    }

    /// Deletes a calendar that no task names.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] with the tasks that name it.
    pub async fn delete_calendar(&self, name: &str) -> Result<(), Error> {
        self.may_everywhere(Right::Define, "a calendar")?;
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
            let deed = Deed::new("calendar.delete", "calendar", name);
            let deed = deed.changing(json!(row.calendar.spec), Value::Null);
            if self.edit(&edit, now, deed).await?.is_applied() {
                return Ok(());
            }
        }
        Err(crate::apply::edited_meanwhile())
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
