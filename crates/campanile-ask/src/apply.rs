//! Tasks as a file says them: what differs from the store, and the one edit that makes it so. All of it or nothing.
//! Where a task's due row goes is decided in [`crate::due`]; no file is read here. What `prune` takes away comes after
//! that edit, in [`crate::delete`].
//!
//! A pause is an operator's act: applying a file pauses where the file says so and never resumes. (A deploy that
//! re-applies its file would otherwise undo a pause made during an incident.)

use campanile_access::Right;
use campanile_schedule::calendar::CalendarSpec;
use campanile_schedule::check_name;
use campanile_schedule::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::audit::Was;
use crate::delete::Gone;
use crate::due::{Draft, Ready};
use crate::shared::{check_limit, overlay};
use crate::{Control, EDIT_TRIES_MAX, Editor, Error};
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::decide::permits::{LimitKey, Rules};
use campanile_core::id::TaskId;
use campanile_core::limits;
use campanile_core::port::ask::TaskFilter;
use campanile_core::port::edit::{Edit, Upsert};
use campanile_core::task::mask::Masks;
use campanile_core::task::{Task, TaskSpec};

/// How to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apply {
    /// Only say what would change.
    pub dry_run: bool,
    /// Delete tasks of [`Definitions::owner`] that are not named; without an owner, those that have none.
    pub prune: bool,
    /// Change tasks that belong to another owner, too.
    pub take_over: bool,
    /// The token by which a dry run named what `prune` would delete.
    pub confirm: Option<String>,
    /// How long to go on deleting; what is left then is told in [`Diff::remaining`].
    pub patience: Duration,
}

impl Default for Apply {
    fn default() -> Self {
        Self {
            dry_run: false,
            prune: false,
            take_over: false,
            confirm: None,
            patience: limits::DELETE_PATIENCE,
        }
    }
}

/// What a task file or a request defines. It goes over the wire as it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Definitions {
    /// Who puts them: the owner of those that name none, and the one whose tasks are pruned. A request says it beside
    /// its lists.
    #[serde(skip)]
    pub owner: Option<String>,
    /// Tasks.
    pub tasks: Vec<TaskSpec>,
    /// Calendars. Those that are not named stay as they are, whatever [`Apply::prune`] says.
    pub calendars: Vec<CalendarSpec>,
    /// Limits of queues and groups; likewise.
    pub limits: Vec<Limit>,
}

/// A limit by its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = LimitOf))]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// `queue:NAME` or `group:NAME`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub limit: LimitKey,
    /// How many runs may be handed to workers at once.
    pub max_running: u32,
}

impl From<Vec<TaskSpec>> for Definitions {
    fn from(tasks: Vec<TaskSpec>) -> Self {
        Self {
            tasks,
            ..Self::default()
        }
    }
}

/// What an apply changes, or would.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Applied))]
pub struct Diff {
    /// Whether it was done.
    pub applied: bool,
    /// New tasks.
    pub created: Vec<String>,
    /// Tasks that change.
    pub changed: Vec<Changed>,
    /// Tasks that stay.
    pub unchanged: Vec<String>,
    /// Tasks that go.
    pub deleted: Vec<String>,
    /// Tasks that are still to go: the same request, with `confirm`, goes on.
    #[serde(default)]
    pub remaining: usize,
    /// Runs that wait for tasks that go: they are cancelled.
    #[serde(default)]
    pub waiting_runs: u64,
    /// The token that confirms the deletion of the tasks that go, or that remain; null = none is wanted.
    #[serde(default)]
    pub confirm: Option<String>,
    /// Tasks that somebody paused and that stay paused, though the list does not say so.
    pub kept_paused: Vec<String>,
    /// Calendars that are new or change.
    #[serde(default)]
    pub calendars: Vec<String>,
    /// Limits that are new or change, as in `queue:reports = 5`.
    #[serde(default)]
    pub limits: Vec<String>,
    /// What would keep runs of these tasks from being taken now.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A task that changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ChangedTask))]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// Its fields that differ.
    pub fields: Vec<FieldChange>,
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldChange {
    /// Its path.
    pub field: String,
    /// Before; null = it was not there.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub before: Option<Value>,
    /// After; null = it is gone.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub after: Option<Value>,
}

impl Editor {
    /// Makes the store's tasks be as these say, or says what would change. What is defined is written all or not at
    /// all; what is pruned goes after that, in batches, and asking again goes on where the last request stopped.
    ///
    /// # Errors
    /// The first field at fault with its task; [`Error::Conflict`] when others edit the same tasks all the time, when a
    /// task belongs to another owner, or when what is pruned has to be confirmed.
    pub async fn apply(&self, wanted: &Definitions, how: &Apply) -> Result<Diff, Error> {
        self.may(Right::Define)?;
        check_list(&wanted.tasks)?;
        if let Some(owner) = &wanted.owner {
            check_name("owner", owner)?;
        }
        for (n, one) in wanted.limits.iter().enumerate() {
            let of_list = |e: Error| e.inside(&format!("limits[{n}]."));
            check_limit(&one.limit, Some(one.max_running)).map_err(of_list)?;
            self.may_limit(&one.limit)?;
        }
        if !wanted.calendars.is_empty() {
            self.may_everywhere(Right::Define, "a calendar")?;
        }
        let mut warnings = self.troubles(&wanted.tasks).await;
        warnings.extend(self.strays(wanted).await);
        warnings.extend(Control::unread_references(&wanted.tasks));
        for _ in 0..EDIT_TRIES_MAX {
            let now = self.now().await?;
            let (edit, mut diff, gone, was) = self.plan_apply(wanted, how, now).await?;
            diff.warnings.clone_from(&warnings);
            if how.dry_run {
                gone.show(&mut diff);
                return Ok(self.told_of(diff));
            }
            gone.check(how.confirm.as_deref())?;
            let nothing = Edit {
                edits: edit.edits,
                ..Edit::default()
            };
            let owner = wanted.owner.as_deref();
            let deed = || self.deed_on_many("apply", owner, &edit, &was);
            if edit == nothing || self.edit(&edit, now, deed()).await?.is_applied() {
                diff.applied = true;
                self.delete_all(gone, how.patience, &mut diff).await?;
                return Ok(self.told_of(diff));
            }
        }
        Err(edited_meanwhile())
    }

    async fn plan_apply(
        &self,
        wanted: &Definitions,
        how: &Apply,
        now: Timestamp,
    ) -> Result<(Edit, Diff, Gone, Was), Error> {
        let specs = &wanted.tasks;
        let (rules, mut edit, mut diff, mut was) = self.plan_rules(wanted).await?;
        let owner = wanted.owner.as_deref();
        let mut existing = self.tasks_named(specs).await?;
        if !edit.calendars.is_empty() {
            existing.extend(self.all_tasks(None).await?);
        } else if how.prune {
            existing.extend(self.all_tasks(Some(owner.unwrap_or_default())).await?);
        }
        self.plan_moves(&rules, &mut edit, &existing, now).await?;
        was.tasks = existing.values().map(|t| (t.id, t.spec.clone())).collect();
        let owned = existing
            .values()
            .filter(|t| t.spec.owner.as_deref() == owner)
            .count();
        let rules = Arc::new(rules);
        let each = u64::try_from(specs.len()).unwrap_or(0) * limits::APPLY_TASK_FUEL;
        let mut units = limits::REQUEST_FUEL + each;
        for specs in specs.chunks(limits::LOOKED_AT_ONCE) {
            let drafts = specs.iter().map(|spec| {
                let old = existing.remove(&spec.name);
                let mut spec = spec.clone();
                spec.owner = spec.owner.or_else(|| owner.map(str::to_owned));
                self.may_define(old.as_ref().map(|old| &old.spec), &spec)
                    .map_err(|e| e.of_task(&spec.name))?;
                check_owner(old.as_ref(), &spec, how.take_over)?;
                Ok(draft(spec, old, &mut diff))
            });
            let drafts = drafts.collect::<Result<Vec<Draft>, Error>>()?;
            let ready = self.ready(&rules, drafts, now, &mut units).await?;
            for (spec, ready) in specs.iter().zip(ready) {
                self.plan_task(&spec.name, ready, now, &mut edit, &mut diff)
                    .await
                    .map_err(|e| e.of_task(&spec.name))?;
            }
        }
        let replaced = edit.upserts.iter().filter(|u| u.due != DueChange::Keep);
        let replaced: HashSet<TaskId> = replaced.map(|u| u.id).collect();
        edit.moves.retain(|m| !replaced.contains(&m.task));
        if !how.prune {
            return Ok((edit, diff, Gone::default(), was));
        }
        existing.retain(|_, task| task.spec.owner.as_deref() == owner);
        let gone: Vec<Task> = existing.into_values().collect();
        // A file without tasks is more often a mistake than a wish: it is asked about, however few there are.
        let gone = self.doom(gone, owned, specs.is_empty(), now).await?;
        Ok((edit, diff, gone, was))
    }

    async fn plan_task(
        &self,
        name: &str,
        ready: Result<Ready, Error>,
        now: Timestamp,
        edit: &mut Edit,
        diff: &mut Diff,
    ) -> Result<(), Error> {
        let ready = ready?;
        let old = ready.old.clone();
        let change = self.plan_ready(ready, now).await?;
        let upsert = change.as_ref().map(|c| &c.upsert);
        note(diff, old.as_ref(), upsert, name, self.masks());
        if let Some(change) = change {
            edit.skipped.extend(change.skipped);
            edit.unplans.retain(|u| u.task != change.upsert.id);
            edit.unplans.extend(change.unplan);
            edit.answered.retain(|(task, _)| *task != change.upsert.id);
            edit.answered.extend(change.answered);
            edit.upserts.push(change.upsert);
        }
        Ok(())
    }

    /// The calendars as they will be, and the edit of what tasks share.
    async fn plan_rules(&self, wanted: &Definitions) -> Result<(Rules, Edit, Diff, Was), Error> {
        let (mut edit, mut diff, mut was) = (Edit::default(), Diff::default(), Was::default());
        if wanted.calendars.is_empty() && wanted.limits.is_empty() {
            let (rules, edits) = self.rules_for(&wanted.tasks).await?;
            edit.edits = edits;
            return Ok((rules, edit, diff, was));
        }
        edit.edits = Some(self.leader_row().await?.edits);
        let mut rules = self.parts.store.rules().await?;
        for spec in &wanted.calendars {
            let old = rules.calendar(&spec.name);
            let old = old.as_ref().map(|calendar| &calendar.spec);
            if old != Some(spec) {
                was.calendar(&spec.name, old);
                diff.calendars.push(spec.name.clone());
                edit.calendars.push((spec.name.clone(), Some(spec.clone())));
            }
        }
        for Limit { limit, max_running } in &wanted.limits {
            let old = rules.limits.get(limit);
            if old != Some(max_running) {
                was.limit(limit, old.copied());
                diff.limits.push(format!("{limit} = {max_running}"));
                edit.limits.push((limit.clone(), Some(*max_running)));
            }
        }
        for (n, spec) in wanted.calendars.iter().enumerate() {
            let of_list = |e: Error| e.inside(&format!("calendars[{n}]."));
            overlay(&mut rules, spec).map_err(of_list)?;
        }
        Ok((rules, edit, diff, was))
    }

    /// The due rows that calendars move which change.
    async fn plan_moves(
        &self,
        rules: &Rules,
        edit: &mut Edit,
        existing: &HashMap<String, Task>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let changed: HashSet<&String> = edit.calendars.iter().map(|(name, _)| name).collect();
        let names_one = |task: &&Task| {
            let mut names = task.spec.calendars.as_slice().iter();
            names.any(|name| changed.contains(name))
        };
        let tasks: Vec<Task> = existing.values().filter(names_one).cloned().collect();
        self.plan_moves_of(&Arc::new(rules.clone()), tasks, now, edit)
            .await?;
        Ok(())
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
}

impl Control {
    /// The calendars, if any of these names one: then the edit rests on them, and on the edit counter.
    pub(super) async fn rules_for(
        &self,
        specs: &[TaskSpec],
    ) -> Result<(Rules, Option<i64>), Error> {
        if specs.iter().all(|spec| spec.calendars.is_empty()) {
            return Ok((Rules::default(), None));
        }
        let edits = self.leader_row().await?.edits;
        Ok((self.parts.store.rules().await?, Some(edits)))
    }

    /// All tasks: of this owner, or with an empty name of none, or whosever.
    pub(super) async fn all_tasks(
        &self,
        owner: Option<&str>,
    ) -> Result<HashMap<String, Task>, Error> {
        let (store, filter) = (&self.parts.store, TaskFilter::of(owner));
        let mut out = HashMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = store.tasks(&filter, after.as_deref(), limits::PAGE_ROWS_MAX);
            let page = page.await?;
            out.extend(page.tasks.into_iter().map(|t| (t.spec.name.clone(), t)));
            after = page.next;
            if after.is_none() {
                return Ok(out);
            }
        }
    }
}

/// A definition with the task that it is about: what somebody paused stays so.
fn draft(mut spec: TaskSpec, old: Option<Task>, diff: &mut Diff) -> Draft {
    if old.as_ref().is_some_and(|t| t.spec.paused) && !spec.paused {
        spec.paused = true;
        diff.kept_paused.push(spec.name.clone());
    }
    Draft { old, spec }
}

pub(super) fn edited_meanwhile() -> Error {
    Error::Conflict(
        "others were editing the same tasks all the while: nothing was changed; try again"
            .to_owned(),
    )
}

/// Whether a task may be written: one that belongs to an owner goes to another, or to none, only when somebody says so.
pub(super) fn check_owner(
    old: Option<&Task>,
    wanted: &TaskSpec,
    take_over: bool,
) -> Result<(), Error> {
    let present = old.and_then(|task| task.spec.owner.as_deref());
    let (Some(present), false) = (present, take_over) else {
        return Ok(());
    };
    if wanted.owner.as_deref() == Some(present) {
        return Ok(());
    }
    let by = match &wanted.owner {
        Some(other) => format!("owner `{other}`"),
        None => "nobody in particular".to_owned(),
    };
    Err(Error::Conflict(format!(
        "task `{}` belongs to owner `{present}`, and would go to {by}: nothing was changed; give it another name, say \
         owner = \"{present}\", or take it over (`--take-over`, `take_over=true`)",
        wanted.name
    )))
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

fn note(diff: &mut Diff, old: Option<&Task>, upsert: Option<&Upsert>, name: &str, masks: &Masks) {
    match (old, upsert) {
        (_, None) => diff.unchanged.push(name.to_owned()),
        (None, Some(_)) => diff.created.push(name.to_owned()),
        (Some(old), Some(upsert)) => diff.changed.push(Changed {
            name: name.to_owned(),
            fields: field_changes(&old.spec, &upsert.spec, masks),
        }),
    }
}

/// What differs, without the values that nobody should read.
fn field_changes(before: &TaskSpec, after: &TaskSpec, masks: &Masks) -> Vec<FieldChange> {
    let (before, after) = (
        serde_json::to_value(before).unwrap_or_default(),
        serde_json::to_value(after).unwrap_or_default(),
    );
    let mut out = Vec::new();
    collect(&mut out, "", Some(&before), Some(&after));
    for change in &mut out {
        masks.change(&change.field, &mut change.before, &mut change.after);
    }
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
