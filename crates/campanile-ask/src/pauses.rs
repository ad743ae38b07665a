//! A task's pause: who asks for it, why, and until when; and its end by hand. Where due rows go is [`crate::due`]'s; that a
//! pause ends by itself is the leader's.

use campanile_access::Right;
use campanile_schedule::time::Timestamp;

use crate::apply::edited_meanwhile;
use crate::tasks::TaskRow;
use crate::{EDIT_TRIES_MAX, Editor, Error};
use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::port::edit::{Edit, Upsert};
use campanile_core::task::{Pause, REASON_CHARS_MAX, Task, TaskSpec};

/// What may be said of a pause.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewPause {
    /// Why.
    pub reason: Option<String>,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

impl Editor {
    /// Lets a task's schedule rest. Requests for it still run.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn pause(&self, name: &str) -> Result<TaskRow, Error> {
        self.pause_with(name, &NewPause::default()).await
    }

    /// The same, with what is said of the pause: of a task that rests already it takes the place of what was said.
    ///
    /// # Errors
    /// [`Error::NotFound`]; the field at fault.
    pub async fn pause_with(&self, name: &str, new: &NewPause) -> Result<TaskRow, Error> {
        self.may(Right::Operate)?;
        let reason = told("reason", new.reason.as_deref(), REASON_CHARS_MAX)?;
        for _ in 0..EDIT_TRIES_MAX {
            let now = self.now().await?;
            check_until(new.until, now)?;
            let edits = self.leader_row().await?.edits;
            let old = self.find_task(name).await?;
            self.may_task(Right::Operate, &old.spec)?;
            if old.spec.paused && *new == NewPause::default() {
                return self.task(name).await;
            }
            let mut edit = self.paused(&old, true, now).await?;
            edit.edits.get_or_insert(edits);
            let pause = Pause {
                reason: reason.clone(),
                until: new.until,
                ..self.own_pause(now)
            };
            edit.pauses = vec![(old.id, pause)];
            let deed = self.deed_of_one("task.pause", Some(&old), &edit);
            let told = self.because(reason.as_deref());
            if told.edit(&edit, now, deed).await?.is_applied() {
                return self.task(name).await;
            }
        }
        Err(edited_meanwhile())
    }

    /// Lets a task's schedule go on, from its first instant after now: what passed while it rested is not caught up. One
    /// that is over by then goes on as well: it has no next instant, and what passed is recorded.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn resume(&self, name: &str) -> Result<TaskRow, Error> {
        self.may(Right::Operate)?;
        for _ in 0..EDIT_TRIES_MAX {
            let now = self.now().await?;
            let old = self.find_task(name).await?;
            self.may_task(Right::Operate, &old.spec)?;
            let edit = self.paused(&old, false, now).await?;
            let deed = self.deed_of_one("task.resume", Some(&old), &edit);
            if edit.upserts.is_empty() || self.edit(&edit, now, deed).await?.is_applied() {
                return self.task(name).await;
            }
        }
        Err(edited_meanwhile())
    }

    /// The same hands, with a reason for what is asked, where none was given before.
    pub(super) fn because(&self, reason: Option<&str>) -> Self {
        let said = self.actor.reason().or(reason).map(str::to_owned);
        Self {
            control: self.control.clone(),
            actor: self.actor.clone().because(said.as_deref()),
        }
    }

    /// A pause of which nothing is said.
    fn own_pause(&self, now: Timestamp) -> Pause {
        Pause {
            by: self.actor.name().to_owned(),
            reason: None,
            since: now,
            until: None,
        }
    }

    /// Says of tasks that an edit pauses in passing who did it.
    pub(super) fn with_pauses(&self, edit: &Edit, now: Timestamp) -> Option<Edit> {
        let begins = |u: &&Upsert| {
            u.spec.paused && (u.expected.is_none() || matches!(u.due, DueChange::Pause { .. }))
        };
        let paused: Vec<_> = edit.upserts.iter().filter(begins).collect();
        (edit.pauses.is_empty() && !paused.is_empty()).then(|| Edit {
            pauses: paused.iter().map(|u| (u.id, self.own_pause(now))).collect(),
            ..edit.clone()
        })
    }

    async fn paused(&self, old: &Task, paused: bool, now: Timestamp) -> Result<Edit, Error> {
        let spec = TaskSpec {
            paused,
            ..old.spec.clone()
        };
        let edit = self.plan_one(Some(old), spec, now).await?;
        Ok(edit.unwrap_or_default())
    }
}

/// A text that somebody typed for others to read.
pub(super) fn told(
    field: &'static str,
    text: Option<&str>,
    chars_max: usize,
) -> Result<Option<String>, Error> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    match text {
        Some(text) if text.chars().count() > chars_max => Err(Error::invalid(
            field,
            format!("is longer than {chars_max} characters: write less"),
        )),
        Some(text) if text.chars().any(char::is_control) => Err(Error::invalid(
            field,
            "holds a control character: write one line of text",
        )),
        text => Ok(text.map(str::to_owned)),
    }
}

/// An end that has come is a mistake.
pub(super) fn check_until(until: Option<Timestamp>, now: Timestamp) -> Result<(), Error> {
    match until.filter(|until| *until <= now) {
        Some(until) => Err(Error::invalid(
            "until",
            format!("{until} is not after now ({now}): write a later instant, or leave it out"),
        )),
        None => Ok(()),
    }
}
