//! One task, or a page of them: look, put, pause, resume. Definitions that come in lists are in [`super::apply`],
//! deletions in [`super::delete`], runs of tasks in [`super::submit`].

use super::apply::{check_owner, edited_meanwhile};
use super::{Control, EDIT_TRIES_MAX, Error};
use crate::protocol::limits;
use crate::protocol::permits::Rules;
use crate::protocol::routing::Routes;
use crate::protocol::work::Edit;
use crate::schedule::{Timetable, What};
use crate::task::{Task, TaskSpec, check_name};
use crate::time::Timestamp;

/// Excluded instants that are passed over to show the next one that runs.
const EXCLUDED_LOOKED_AT_MAX: usize = 1_000;

/// A task with what is known of its future.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRow {
    /// The task.
    pub task: Task,
    /// Its next instant by its schedule; `None` when it has none, or rests.
    pub next_due_at: Option<Timestamp>,
    /// What keeps its runs from being taken now: nobody listens on its queue, or nobody there can do it.
    pub warning: Option<String>,
}

/// A page of tasks, by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskRows {
    /// The tasks.
    pub items: Vec<TaskRow>,
    /// Where the next page begins; `None` = this was the last.
    pub next_cursor: Option<String>,
}

impl Control {
    /// A task by its name.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn task(&self, name: &str) -> Result<TaskRow, Error> {
        let now = self.now().await?;
        let task = self.find_task(name).await?;
        let stored = self.parts.store.next_due(task.id).await?;
        let stored = stored.map(|at| at.minus(task.spec.jitter_offset()));
        let (rules, _) = self.rules_for(std::slice::from_ref(&task.spec)).await?;
        let mut row = row(task, &rules, &self.routes().await?, self.unanswered_from(now));
        // An occurrence that is overdue is still the next one; and where the row stands behind the schedule's next
        // instant by more than the look-ahead, that one has been answered already (the store's clock went back).
        if let (Some(stored), Some(next)) = (stored, row.next_due_at) {
            let is_row = stored < now || stored > next.plus(2 * limits::LOOK_AHEAD);
            row.next_due_at = Some(if is_row { stored } else { next });
        }
        Ok(row)
    }

    /// A page of tasks in the order of their names: of this owner, or with an empty name of none, or all.
    ///
    /// # Errors
    /// A cursor that is none of ours, a limit out of range.
    pub async fn tasks(
        &self,
        owner: Option<&str>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<TaskRows, Error> {
        check_limit(limit)?;
        if let Some(owner) = owner.filter(|o| !o.is_empty()) {
            check_name("owner", owner)?;
        }
        let after = cursor.map(read_cursor).transpose()?;
        let now = self.now().await?;
        let page = self
            .parts
            .store
            .tasks(owner, after.as_deref(), limit)
            .await?;
        let rules = if page.tasks.iter().any(|t| !t.spec.calendars.is_empty()) {
            self.parts.store.rules().await?
        } else {
            Rules::default()
        };
        let routes = self.routes().await?;
        Ok(TaskRows {
            items: page
                .tasks
                .into_iter()
                .map(|t| row(t, &rules, &routes, self.unanswered_from(now)))
                .collect(),
            next_cursor: page.next.map(hex::encode),
        })
    }

    /// From when on instants are still to be answered: from now, or from where the store's clock was before it went back.
    pub(super) fn unanswered_from(&self, now: Timestamp) -> Timestamp {
        let behind = self.parts.time.behind_until();
        behind.map_or(now, |until| until.max(now))
    }

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
    /// As [`Control::put_task`].
    pub async fn put_task_as(
        &self,
        spec: &TaskSpec,
        take_over: bool,
    ) -> Result<(TaskRow, bool), Error> {
        for _ in 0..EDIT_TRIES_MAX {
            let now = self.now().await?;
            let old = self.lookup_task(&spec.name).await?;
            check_owner(old.as_ref(), spec, take_over)?;
            let change = self.plan_one(old.as_ref(), spec.clone(), now).await?;
            if let Some(edit) = change
                && !self.edit(&edit, now).await?.is_applied()
            {
                continue;
            }
            return Ok((self.task(&spec.name).await?, old.is_none()));
        }
        Err(edited_meanwhile())
    }

    /// Lets a task's schedule rest. Requests for it still run.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn pause(&self, name: &str) -> Result<TaskRow, Error> {
        self.set_paused(name, true).await
    }

    /// Lets a task's schedule go on, from its first instant after now: what passed while it rested is not caught up.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] when the schedule has no instant any more.
    pub async fn resume(&self, name: &str) -> Result<TaskRow, Error> {
        self.set_paused(name, false).await
    }

    async fn set_paused(&self, name: &str, paused: bool) -> Result<TaskRow, Error> {
        for _ in 0..EDIT_TRIES_MAX {
            let now = self.now().await?;
            let old = self.find_task(name).await?;
            let spec = TaskSpec {
                paused,
                ..old.spec.clone()
            };
            if let Some(edit) = self.plan_one(Some(&old), spec, now).await?
                && !self.edit(&edit, now).await?.is_applied()
            {
                continue;
            }
            return self.task(name).await;
        }
        Err(edited_meanwhile())
    }

    async fn plan_one(
        &self,
        old: Option<&Task>,
        spec: TaskSpec,
        now: Timestamp,
    ) -> Result<Option<Edit>, Error> {
        let (rules, edits) = self.rules_for(std::slice::from_ref(&spec)).await?;
        let change = self.plan_upsert(&rules, old, spec, now).await?;
        Ok(change.map(|change| Edit {
            upserts: vec![change.upsert],
            skipped: change.skipped.into_iter().collect(),
            unplans: change.unplan.into_iter().collect(),
            edits,
            ..Edit::default()
        }))
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

fn row(task: Task, rules: &Rules, routes: &Routes, now: Timestamp) -> TaskRow {
    let find = |name: &str| rules.calendar(name);
    // What the store holds was validated when it was written.
    let timetable = task.spec.timetable(task.created_at, &find).ok();
    let next_due_at = timetable
        .filter(|_| !task.spec.rests())
        .and_then(|timetable| next_due(&timetable, now));
    TaskRow {
        warning: Control::trouble_of(routes, &task.spec),
        task,
        next_due_at,
    }
}

/// The next instant that is not excluded; the next at all where all that is looked at are.
fn next_due(timetable: &Timetable, now: Timestamp) -> Option<Timestamp> {
    let first = timetable.next(now)?;
    let events = std::iter::successors(Some(first), |event| timetable.next(event.at));
    let due = events
        .take(EXCLUDED_LOOKED_AT_MAX)
        .find(|event| event.what == What::Due);
    Some(due.map_or(first.at, |event| event.at))
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
