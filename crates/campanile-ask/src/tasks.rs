//! One task, or a page of them: look, put, pause, resume. Definitions that come in lists are in [`crate::apply`],
//! deletions in [`crate::delete`], runs of tasks in [`crate::submit`].

use std::collections::HashMap;
use std::sync::Arc;

use campanile_access::Right;
use campanile_schedule::fuel::Fuel;
use campanile_schedule::time::Timestamp;
use campanile_schedule::{TimeZoneName, What, check_name};

use crate::apply::{check_owner, edited_meanwhile};
use crate::{Control, EDIT_TRIES_MAX, Editor, Error};
use campanile_core::decide::permits::Rules;
use campanile_core::id::{RunId, TaskId};
use campanile_core::limits;
use campanile_core::port::ask::TaskFilter;
use campanile_core::port::edit::Edit;
use campanile_core::task::{Pause, Task, TaskSpec};

/// A task with what is known of its future.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRow {
    pub task: Task,
    /// The instant that its due row stands for, overdue or to come, or the first after it that no calendar excludes;
    /// `None` when it has none, or rests.
    pub next_due_at: Option<Timestamp>,
    /// The run that has to end before the next instant of a schedule after the ends of runs is known.
    pub next_after_run: Option<RunId>,
    /// While it is paused: who paused it, why and until when, as far as that is known.
    pub pause: Option<Pause>,
    /// What keeps its runs from being made or taken now: its next occurrence is set aside, the store's clock went back or is
    /// not followed, nobody listens on its queue, or nobody there can do it.
    pub warning: Option<String>,
    /// Fields of the definition that are left out, for who looks may not see them.
    pub hidden: Vec<&'static str>,
}

/// A page of tasks, by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskRows {
    pub items: Vec<TaskRow>,
    /// Where the next page begins; `None` = this was the last.
    pub next_cursor: Option<String>,
}

impl Editor {
    /// A task by its name.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`].
    pub async fn task(&self, name: &str) -> Result<TaskRow, Error> {
        self.may(Right::See)?;
        let task = self.find_task(name).await?;
        self.may_task(Right::See, &task.spec)?;
        let (rules, _) = self.rules_for(std::slice::from_ref(&task.spec)).await?;
        let rows = self.task_rows(vec![task], rules).await?;
        let row = rows.into_iter().next();
        row.map(|row| self.shown(row))
            .ok_or_else(|| Error::no_task(name))
    }

    /// A page of tasks in the order of their names, of those that may be seen. A page with a cursor may hold fewer than
    /// `limit`, or none.
    ///
    /// # Errors
    /// [`Error::Denied`]; a cursor that is none of ours, a limit out of range.
    pub async fn tasks(
        &self,
        filter: &TaskFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<TaskRows, Error> {
        self.may(Right::See)?;
        check_limit(limit)?;
        if let Some(owner) = filter.owner.as_deref().filter(|o| !o.is_empty()) {
            check_name("owner", owner)?;
        }
        let after = cursor.map(read_cursor).transpose()?;
        let page = self.page_of_tasks(filter, after, limit).await?;
        let rules = if page.tasks.iter().any(|t| !t.spec.calendars.is_empty()) {
            self.parts.store.rules().await?
        } else {
            Rules::default()
        };
        let rows = self.task_rows(page.tasks, rules).await?;
        Ok(TaskRows {
            items: rows.into_iter().map(|row| self.shown(row)).collect(),
            next_cursor: page.next.map(hex::encode),
        })
    }
}

impl Control {
    /// From when on instants are still to be answered: from now, or from where the store's clock was before it went back.
    pub(super) fn unanswered_from(&self, now: Timestamp) -> Timestamp {
        let behind = self.parts.time.behind_until();
        behind.map_or(now, |until| until.max(now))
    }

    /// Tasks with their next instants: one look at their due rows. Schedules are looked at where a calendar excludes the
    /// instant of a due row alone: it waits there to be recorded as skipped, and does not run.
    async fn task_rows(&self, tasks: Vec<Task>, rules: Rules) -> Result<Vec<TaskRow>, Error> {
        let ids: Vec<TaskId> = tasks.iter().map(|t| t.id).collect();
        let dues = self.parts.store.next_dues(&ids).await?;
        let held = match tasks.iter().any(|t| t.spec.after().is_some()) {
            true => self.parts.store.chain_holders(&ids).await?,
            false => HashMap::new(),
        };
        let paused = tasks.iter().filter(|t| t.spec.paused).map(|t| t.id);
        let paused: Vec<TaskId> = paused.collect();
        let mut pauses = match paused.is_empty() {
            true => HashMap::new(),
            false => self.parts.store.pauses(&paused).await?,
        };
        let (routes, silence) = (self.routes().await?, self.silence().await?);
        let mut row = |task: Task| {
            let due = dues.get(&task.id).filter(|_| !task.spec.is_paused());
            let next_due_at = due.map(|at| at.minus(task.spec.jitter_offset()));
            TaskRow {
                warning: self.told_by_silence(
                    &silence,
                    &task,
                    next_due_at,
                    Self::trouble_of(&routes, &task.spec),
                ),
                pause: pauses.remove(&task.id),
                next_after_run: held.get(&task.id).copied(),
                task,
                next_due_at,
                hidden: Vec::new(),
            }
        };
        let mut rows: Vec<TaskRow> = tasks.into_iter().map(&mut row).collect();
        if !rows.iter().any(|row| is_excluded(row, &rules)) {
            return Ok(rows);
        }
        let walk = move |fuel: &Fuel| {
            for row in rows.iter_mut().filter(|row| is_excluded(row, &rules)) {
                row.next_due_at = next_that_runs(row, &rules, fuel);
            }
            rows
        };
        let walked = self.parts.pool.run_with(limits::PAGE_FUEL, walk).await?;
        Ok(walked)
    }

    pub(super) async fn find_task(&self, name: &str) -> Result<Task, Error> {
        self.lookup_task(name)
            .await?
            .ok_or_else(|| Error::no_task(name))
    }

    pub(super) async fn lookup_task(&self, name: &str) -> Result<Option<Task>, Error> {
        let mut found = self.parts.store.tasks_by_name(&[name.to_owned()]).await?;
        Ok(found.pop())
    }
}

impl Editor {
    /// Puts one task under its name, whole: what the definition leaves out has its default. Answers the task and whether
    /// it is new.
    ///
    /// # Errors
    /// The field at fault; [`Error::Conflict`] when the task belongs to an owner whom the definition does not name.
    pub async fn put_task(&self, spec: &TaskSpec) -> Result<(TaskRow, bool), Error> {
        self.put_task_as(spec, false).await
    }

    /// The same; with `take_over` also where the task belongs to another owner.
    ///
    /// # Errors
    /// As [`Editor::put_task`].
    pub async fn put_task_as(
        &self,
        spec: &TaskSpec,
        take_over: bool,
    ) -> Result<(TaskRow, bool), Error> {
        self.may(Right::Define)?;
        for _ in 0..EDIT_TRIES_MAX {
            let now = self.now().await?;
            let old = self.lookup_task(&spec.name).await?;
            self.may_define(old.as_ref().map(|old| &old.spec), spec)?;
            check_owner(old.as_ref(), spec, take_over)?;
            let change = self.plan_one(old.as_ref(), spec.clone(), now).await?;
            if let Some(edit) = change {
                let deed = self.deed_of_one("task.put", old.as_ref(), &edit);
                if !self.edit(&edit, now, deed).await?.is_applied() {
                    continue;
                }
            }
            return Ok((self.task(&spec.name).await?, old.is_none()));
        }
        Err(edited_meanwhile())
    }

    pub(super) async fn plan_one(
        &self,
        old: Option<&Task>,
        spec: TaskSpec,
        now: Timestamp,
    ) -> Result<Option<Edit>, Error> {
        let (rules, edits) = self.rules_for(std::slice::from_ref(&spec)).await?;
        let change = self.plan_upsert(&Arc::new(rules), old, spec, now).await?;
        Ok(change.map(|change| Edit {
            upserts: vec![change.upsert],
            skipped: change.skipped.into_iter().collect(),
            unplans: change.unplan.into_iter().collect(),
            answered: change.answered,
            edits,
            ..Edit::default()
        }))
    }
}

/// Whether a calendar excludes the instant at which a task's due row stands.
fn is_excluded(row: &TaskRow, rules: &Rules) -> bool {
    let (Some(at), spec) = (row.next_due_at, &row.task.spec) else {
        return false;
    };
    let mut names = spec.calendars.as_slice().iter();
    let zone = TimeZoneName::parse(&spec.timezone);
    names.any(|name| {
        let calendar = rules.calendar(name).zip(zone.as_ref().ok());
        calendar.is_some_and(|(calendar, zone)| calendar.excludes(at, zone))
    })
}

/// The first instant from a task's due row on that runs; `None` where there is none, or none is found with the fuel of
/// the page.
fn next_that_runs(row: &TaskRow, rules: &Rules, fuel: &Fuel) -> Option<Timestamp> {
    let (from, task) = (row.next_due_at?, &row.task);
    let share = fuel.share(limits::PAGE_FUEL / 8);
    // What the store holds was validated when it was written.
    let timetable = task
        .spec
        .timetable_by(task.created_at, &|name| rules.calendar(name), &share);
    let next = timetable.ok().and_then(|timetable| {
        let mut events = timetable.events(from, &share);
        events.find(|event| event.what == What::Due)
    });
    fuel.settle(&share);
    next.filter(|_| share.check().is_ok()).map(|event| event.at)
}

/// Checks the size of a page.
pub(super) fn check_limit(limit: usize) -> Result<(), Error> {
    if limit == 0 || limit > limits::PAGE_ROWS_MAX {
        let message = format!(
            "{limit} is out of range: write 1 to {}",
            limits::PAGE_ROWS_MAX
        );
        return Err(Error::invalid("limit", message));
    }
    Ok(())
}

fn read_cursor(text: &str) -> Result<String, Error> {
    hex::decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| bad_cursor(text))
}

pub(super) fn bad_cursor(text: &str) -> Error {
    let shown: String = text.chars().take(40).collect();
    Error::invalid(
        "cursor",
        format!("`{shown}` is not a cursor: pass the `next_cursor` of the page before"),
    )
}
