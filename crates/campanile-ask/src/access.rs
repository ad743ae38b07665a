//! Whether somebody may do what is asked: each function of [`Editor`] begins here, so API, CLI, pages and library answer
//! alike. What a right is, and what a scope holds, is [`campanile_access`]'s. What somebody may not see is left out of lists,
//! which look at so many rows at a time and no more; what he asks for by name is refused.

use campanile_access::audit::Deed;
use campanile_access::{Denied, Right, Scope, Thing};
use campanile_core::decide::permits::LimitKey;
use campanile_core::port::Written;
use campanile_core::port::ask::{Named, RunRecord};
use campanile_core::port::edit::Edit;
use campanile_core::task::{HandlerSpec, QueueName, TaskSpec};

use campanile_schedule::time::Timestamp;

use crate::apply::{Diff, FieldChange};
use crate::runs::RunRow;
use crate::submit::NewRun;
use crate::tasks::TaskRow;
use crate::{Editor, Error};

impl Editor {
    /// Refuses who lacks a right altogether.
    pub(super) fn may(&self, right: Right) -> Result<(), Error> {
        Ok(self.actor.check(right)?)
    }

    /// Refuses who lacks a right to what is not one task's; `what` names it for the refusal.
    pub(super) fn may_everywhere(&self, right: Right, what: &str) -> Result<(), Error> {
        Ok(self.actor.check_everywhere(right, what)?)
    }

    /// Refuses who lacks a right to a task.
    pub(super) fn may_task(&self, right: Right, spec: &TaskSpec) -> Result<(), Error> {
        let what = format!("task `{}`", spec.name);
        Ok(self.actor.check_in(right, &thing_of(spec), &what)?)
    }

    /// Refuses who lacks a right to a queue.
    pub(super) fn may_queue(&self, right: Right, queue: &str) -> Result<(), Error> {
        let thing = Thing {
            queue: Some(queue),
            ..Thing::default()
        };
        let what = format!("queue `{queue}`");
        Ok(self.actor.check_in(right, &thing, &what)?)
    }

    /// Refuses who may not set this limit.
    pub(super) fn may_limit(&self, key: &LimitKey) -> Result<(), Error> {
        match key {
            LimitKey::Queue(queue) => self.may_queue(Right::Limit, queue.as_str()),
            key => self.may_everywhere(Right::Limit, &format!("the limit `{key}`")),
        }
    }

    /// Refuses who may not make a task be like this: what it was and what it will be are in the scope, and so is an owner
    /// whom it is given.
    pub(super) fn may_define(&self, old: Option<&TaskSpec>, spec: &TaskSpec) -> Result<(), Error> {
        if let Some(old) = old {
            self.may_task(Right::Define, old)?;
        }
        let of_before = old.and_then(|old| old.owner.as_deref());
        if let Some(owner) = spec.owner.as_deref().filter(|o| Some(*o) != of_before)
            && !self.scope().gives(owner)
        {
            let why = format!(
                "has the right `{}`, and not to give a task the owner `{owner}`",
                Right::Define
            );
            return Err(self.actor.denied(Right::Define, why).into());
        }
        self.may_task(Right::Define, spec)
    }

    /// Refuses who may neither see a run, nor has submitted it.
    pub(super) fn may_see_run(&self, row: &RunRow, record: &RunRecord) -> Result<(), Error> {
        if self.is_own(record.submitter.as_deref()) {
            return Ok(());
        }
        self.may_run(Right::See, row)
    }

    /// Refuses who lacks a right to a run.
    pub(super) fn may_run(&self, right: Right, row: &RunRow) -> Result<(), Error> {
        let what = format!("run {}", row.run.id);
        Ok(self.actor.check_in(right, &thing_of_run(row), &what)?)
    }

    /// Refuses who lacks a right to something of a task, or of none, and of a queue.
    pub(super) fn may_named(
        &self,
        right: Right,
        named: Option<&Named>,
        queue: &QueueName,
        what: &str,
    ) -> Result<(), Error> {
        let thing = thing_of_named(named, queue);
        Ok(self.actor.check_in(right, &thing, what)?)
    }

    /// Whether a run with this submitter is this one's own, who may look after it then.
    pub(super) fn is_own(&self, submitter: Option<&str>) -> bool {
        self.actor.rights().has(Right::Submit) && submitter == Some(&self.actor.identity())
    }

    /// Refuses who may not submit this: a run of `task`, or with its own handler.
    pub(super) fn may_submit(
        &self,
        request: &NewRun,
        task: Option<&TaskSpec>,
    ) -> Result<(), Error> {
        let right = match &request.handler {
            Some(handler) if !is_native(handler) => Right::Define,
            _ => Right::Submit,
        };
        let default = QueueName::default();
        let queue = request.queue.as_deref();
        let queue = queue
            .or_else(|| task.map(|spec| spec.queue.as_str()))
            .unwrap_or(default.as_str());
        let thing = Thing {
            queue: Some(queue),
            ..task.map(thing_of).unwrap_or_default()
        };
        let what = match &request.task {
            Some(name) => format!("task `{name}` on queue `{queue}`"),
            None => format!("runs of their own on queue `{queue}`"),
        };
        Ok(self.actor.check_in(right, &thing, &what)?)
    }

    /// Whether data may be seen.
    pub(super) fn sees_data(&self) -> bool {
        self.actor.rights().has(Right::Data)
    }

    /// Where this one may act.
    pub(super) fn scope(&self) -> &Scope {
        self.actor.rights().scope()
    }

    /// Carries an edit out and lets the leader know.
    pub(super) async fn edit(
        &self,
        edit: &Edit,
        now: Timestamp,
        deed: Deed,
    ) -> Result<Written, Error> {
        let rows = edit.upserts.len() + edit.deletes.len() + edit.moves.len() + edit.skipped.len();
        let seat = self.bulk_seat(rows).await;
        let with_pauses = self.with_pauses(edit, now);
        let edit = with_pauses.as_ref().unwrap_or(edit);
        let by = self.actor.doing(deed);
        let written = self.parts.store.edit(&by, edit, now).await?;
        drop(seat);
        if written.is_applied() {
            self.parts.metrics.skip_all(&edit.skipped);
            self.work();
        }
        Ok(written)
    }

    /// What an apply says, as this one may see it.
    pub(super) fn told_of(&self, mut diff: Diff) -> Diff {
        let hidden = || Some(serde_json::Value::from("(hidden)"));
        let is_payload = |change: &&mut FieldChange| {
            change.field == "payload" || change.field.starts_with("payload.")
        };
        if !self.sees_data() {
            let fields = diff.changed.iter_mut().flat_map(|task| &mut task.fields);
            for change in fields.filter(is_payload) {
                change.before = change.before.take().and_then(|_| hidden());
            }
        }
        diff
    }

    /// A task as this one may see it.
    pub(super) fn shown(&self, mut row: TaskRow) -> TaskRow {
        if !self.sees_data() && !row.task.spec.payload.is_null() {
            row.task.spec.payload = serde_json::Value::Null;
            row.hidden.push("payload");
        }
        row
    }
}

/// What a scope says of a task.
pub(super) fn thing_of(spec: &TaskSpec) -> Thing<'_> {
    Thing {
        task: Some(&spec.name),
        owner: spec.owner.as_deref(),
        queue: Some(spec.queue.as_str()),
    }
}

/// What a scope says of a run: its task's name and owner, and its own queue.
pub(super) fn thing_of_run(row: &RunRow) -> Thing<'_> {
    Thing {
        task: row.task.as_deref(),
        owner: row.owner.as_deref(),
        queue: Some(row.run.queue.as_str()),
    }
}

/// What a scope says of something that is of a task, or of none, and of a queue.
pub(super) fn thing_of_named<'a>(named: Option<&'a Named>, queue: &'a QueueName) -> Thing<'a> {
    Thing {
        task: named.map(|named| named.name.as_str()),
        owner: named.and_then(|named| named.owner.as_deref()),
        queue: Some(queue.as_str()),
    }
}

/// Whether what runs is code that a worker brought along: nobody says it from outside.
const fn is_native(handler: &HandlerSpec) -> bool {
    matches!(handler, HandlerSpec::Native(_))
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        Self::Denied(Box::new(denied))
    }
}
