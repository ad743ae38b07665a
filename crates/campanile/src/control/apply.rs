//! Tasks as a file says them: what differs from the store, and the one edit that makes it so. All of it or nothing.
//! Owns how a definition is normalised and when a task's due row moves; never reads files.
//!
//! A pause is an operator's act: applying a file pauses where the file says so and never resumes. (A deploy that
//! re-applies its file would otherwise undo a pause made during an incident.)

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;

use super::{Control, EDIT_TRIES_MAX, Error};
use crate::id::TaskId;
use crate::port::Written;
use crate::protocol::limits;
use crate::protocol::work::{DueChange, DueKey, Edit, Owner, Upsert};
use crate::schedule::Schedule;
use crate::task::{Task, TaskSpec, Texts};
use crate::time::Timestamp;

/// Instants up to this far ahead may have been planned already: they are looked up before a due row is put on one.
const PLANNED_AHEAD: Duration = Duration::from_secs(10);

/// How to apply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Apply {
    /// Only say what would change.
    pub dry_run: bool,
    /// Delete tasks that are not named.
    pub prune: bool,
}

/// What an apply changes (or would).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diff {
    /// Whether it was done.
    pub applied: bool,
    /// New tasks.
    pub created: Vec<String>,
    /// Tasks that change.
    pub changed: Vec<Changed>,
    /// Tasks that stay.
    pub unchanged: Vec<String>,
    /// Tasks that go; with [`Apply::prune`] alone.
    pub deleted: Vec<String>,
    /// Tasks that somebody paused and that stay paused, though the file does not say so.
    pub kept_paused: Vec<String>,
}

/// A task that changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// Its fields that differ.
    pub fields: Vec<FieldChange>,
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange {
    /// Its path (`handler.http.url`).
    pub field: String,
    /// Before; `None` = it was not there.
    pub before: Option<Value>,
    /// After; `None` = it is gone.
    pub after: Option<Value>,
}

impl Control {
    /// Makes the store's tasks be as these say, or says what would change.
    ///
    /// # Errors
    /// The first field at fault with its task; [`Error::Conflict`] when others edit the same tasks all the time.
    pub async fn apply(&self, specs: &[TaskSpec], how: Apply) -> Result<Diff, Error> {
        check_list(specs)?;
        for _ in 0..EDIT_TRIES_MAX {
            let now = self.now().await?;
            let (edit, mut diff) = self.plan_apply(specs, how, now).await?;
            if how.dry_run {
                return Ok(diff);
            }
            if edit == Edit::default() || self.edit(&edit, now).await?.is_applied() {
                diff.applied = true;
                return Ok(diff);
            }
        }
        Err(edited_meanwhile())
    }

    /// Carries an edit out and lets the leader know.
    pub(super) async fn edit(&self, edit: &Edit, now: Timestamp) -> Result<Written, Error> {
        let written = self.parts.store.edit(edit, now).await?;
        if written.is_applied() {
            self.work();
        }
        Ok(written)
    }

    async fn plan_apply(
        &self,
        specs: &[TaskSpec],
        how: Apply,
        now: Timestamp,
    ) -> Result<(Edit, Diff), Error> {
        let mut existing = if how.prune {
            self.all_tasks().await?
        } else {
            self.tasks_named(specs).await?
        };
        let (mut edit, mut diff) = (Edit::default(), Diff::default());
        for spec in specs {
            let old = existing.remove(&spec.name);
            let mut wanted = spec.clone();
            if old.as_ref().is_some_and(|t| t.spec.paused) && !wanted.paused {
                wanted.paused = true;
                diff.kept_paused.push(spec.name.clone());
            }
            let upsert = self
                .plan_upsert(old.as_ref(), wanted, now)
                .await
                .map_err(|e| e.of_task(&spec.name))?;
            note(&mut diff, old.as_ref(), upsert.as_ref(), &spec.name);
            edit.upserts.extend(upsert);
        }
        if how.prune {
            let mut gone: Vec<&Task> = existing.values().collect();
            gone.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
            edit.deletes = gone.iter().map(|t| (t.id, t.version)).collect();
            diff.deleted = gone.iter().map(|t| t.spec.name.clone()).collect();
        }
        Ok((edit, diff))
    }

    async fn tasks_named(&self, specs: &[TaskSpec]) -> Result<HashMap<String, Task>, Error> {
        let names: Vec<String> = specs.iter().map(|s| s.name.clone()).collect();
        let mut out = HashMap::with_capacity(names.len());
        for chunk in names.chunks(limits::PAGE_ROWS_MAX) {
            let tasks = self.parts.store.tasks_by_name(chunk).await?;
            out.extend(tasks.into_iter().map(|t| (t.spec.name.clone(), t)));
        }
        Ok(out)
    }

    async fn all_tasks(&self) -> Result<HashMap<String, Task>, Error> {
        let mut out = HashMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = self
                .parts
                .store
                .tasks(after.as_deref(), limits::PAGE_ROWS_MAX)
                .await?;
            out.extend(page.tasks.into_iter().map(|t| (t.spec.name.clone(), t)));
            after = page.next;
            if after.is_none() {
                return Ok(out);
            }
        }
    }

    /// The row to write for a definition, or `None` when the store has it already.
    pub(super) async fn plan_upsert(
        &self,
        old: Option<&Task>,
        mut spec: TaskSpec,
        now: Timestamp,
    ) -> Result<Option<Upsert>, Error> {
        fix_anchor(&mut spec, old, now);
        let created_at = old.map_or(now, |t| t.created_at);
        spec.validate(created_at)?;
        let schedule = spec.compile(created_at)?;
        let Some(old) = old else {
            let at = first_due(&schedule, &spec, now)?.filter(|_| !spec.paused);
            let id = self.parts.mint.task(now);
            let due = DueChange::Replace {
                seen: None,
                next: at.map(|at| due_key(&spec, at, id)),
            };
            return Ok(Some(Upsert {
                id,
                expected: None,
                spec,
                due,
            }));
        };
        if old.spec == spec {
            return Ok(None);
        }
        let due = self.due_change(old, &spec, &schedule, now).await?;
        Ok(Some(Upsert {
            id: old.id,
            expected: Some(old.version),
            spec,
            due,
        }))
    }

    /// Where a task's due row goes when the task changes: nowhere, unless what is due or where it is due changed.
    async fn due_change(
        &self,
        old: &Task,
        spec: &TaskSpec,
        schedule: &Schedule,
        now: Timestamp,
    ) -> Result<DueChange, Error> {
        if same_instants(&old.spec, spec)
            && old.spec.paused == spec.paused
            && old.spec.queue == spec.queue
        {
            return Ok(DueChange::Keep);
        }
        // Read before anything is looked up: what fires after this makes the edit stale.
        let seen = self.parts.store.next_due(old.id).await?;
        let replace = |at: Option<Timestamp>| {
            let next = at.map(|at| due_key(spec, at, old.id));
            DueChange::Replace { seen, next }
        };
        if same_instants(&old.spec, spec) && old.spec.paused == spec.paused {
            return Ok(replace(seen));
        }
        if spec.paused {
            if !same_instants(&old.spec, spec) {
                first_due(schedule, spec, now)?;
            }
            return Ok(replace(None));
        }
        let first = first_due(schedule, spec, now)?;
        let at = self.skip_planned(old.id, schedule, first, now).await?;
        Ok(replace(at))
    }

    /// The first instant from `first` on that has no run or skip yet: the leader plans a little ahead, and an instant
    /// has one run.
    async fn skip_planned(
        &self,
        task: TaskId,
        schedule: &Schedule,
        first: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let mut at = first;
        while let Some(instant) = at.filter(|t| *t <= now.plus(PLANNED_AHEAD)) {
            if self.parts.store.occurrence(task, instant).await?.is_none() {
                break;
            }
            at = schedule.next(instant);
        }
        Ok(at)
    }
}

pub(super) fn edited_meanwhile() -> Error {
    Error::Conflict(
        "others were editing the same tasks all the while: nothing was changed; try again"
            .to_owned(),
    )
}

fn due_key(spec: &TaskSpec, at: Timestamp, id: TaskId) -> DueKey {
    DueKey {
        queue: spec.queue.clone(),
        at,
        owner: Owner::Task(id),
    }
}

fn check_list(specs: &[TaskSpec]) -> Result<(), Error> {
    if specs.len() > limits::APPLY_TASKS_MAX {
        let message = format!(
            "{} are over the limit of {} for one file: split it",
            specs.len(),
            limits::APPLY_TASKS_MAX
        );
        return Err(Error::invalid("tasks", message));
    }
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        if let Some(first) = seen.insert(&spec.name, index) {
            let message = format!(
                "is defined twice, as task {} and as task {} of the list: give one of them another name",
                first + 1,
                index + 1
            );
            return Err(Error::invalid("name", message).of_task(&spec.name));
        }
    }
    Ok(())
}

/// An interval is counted from an instant that does not move: the one that is written, or that of the task's creation.
fn fix_anchor(spec: &mut TaskSpec, old: Option<&Task>, now: Timestamp) {
    let texts = spec.schedule.as_ref().map_or(&[][..], Texts::as_slice);
    let every = texts.iter().any(|s| s.trim_start().starts_with("every"));
    if every && spec.anchor.is_none() {
        spec.anchor = Some(old.map_or(now, |t| t.spec.anchor.unwrap_or(t.created_at)));
    }
}

fn same_instants(a: &TaskSpec, b: &TaskSpec) -> bool {
    a.schedule == b.schedule
        && a.dialect == b.dialect
        && a.timezone == b.timezone
        && a.anchor == b.anchor
        && a.dst == b.dst
        && (a.starts_at, a.ends_at, a.max_count) == (b.starts_at, b.ends_at, b.max_count)
        && a.calendars == b.calendars
        && a.on_excluded == b.on_excluded
        && a.jitter == b.jitter
}

/// The schedule's first instant from now on; a schedule that has none is a mistake, and said to be one.
fn first_due(
    schedule: &Schedule,
    spec: &TaskSpec,
    now: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    let first = schedule.next(now);
    match &spec.schedule {
        Some(text) if first.is_none() => Err(Error::invalid(
            "schedule",
            format!(
                "`{text}` can never fire: it has no instant after now ({now}); write one that is still to come, or leave \
                 the schedule out for a task that runs on request"
            ),
        )),
        _ => Ok(first),
    }
}

fn note(diff: &mut Diff, old: Option<&Task>, upsert: Option<&Upsert>, name: &str) {
    match (old, upsert) {
        (_, None) => diff.unchanged.push(name.to_owned()),
        (None, Some(_)) => diff.created.push(name.to_owned()),
        (Some(old), Some(upsert)) => diff.changed.push(Changed {
            name: name.to_owned(),
            fields: field_changes(&old.spec, &upsert.spec),
        }),
    }
}

fn field_changes(before: &TaskSpec, after: &TaskSpec) -> Vec<FieldChange> {
    let (before, after) = (
        serde_json::to_value(before).unwrap_or_default(),
        serde_json::to_value(after).unwrap_or_default(),
    );
    let mut out = Vec::new();
    collect(&mut out, "", Some(&before), Some(&after));
    out
}

fn collect(out: &mut Vec<FieldChange>, path: &str, before: Option<&Value>, after: Option<&Value>) {
    if before == after {
        return;
    }
    if let (Some(Value::Object(b)), Some(Value::Object(a))) = (before, after) {
        let keys: HashSet<&String> = b.keys().chain(a.keys()).collect();
        let mut keys: Vec<&String> = keys.into_iter().collect();
        keys.sort();
        for key in keys {
            let inner = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            collect(out, &inner, b.get(key), a.get(key));
        }
        return;
    }
    out.push(FieldChange {
        field: path.to_owned(),
        before: before.cloned(),
        after: after.cloned(),
    });
}
