//! What keeps tasks silent though their schedules say otherwise, in words: a due row that is set aside, and a store's clock
//! that went back or is not followed. Shown wherever a task's next instant is.

use std::collections::HashMap;

use campanile_schedule::time::{Timestamp, format_duration};

use crate::hold::Held;
use crate::{Control, Error};
use campanile_core::id::TaskId;
use campanile_core::limits;
use campanile_core::port::ask::Quarantined;
use campanile_core::task::Task;
use campanile_schedule::instant::show;

/// What is known of it at one moment.
#[derive(Debug, Default)]
pub(super) struct Silence {
    aside: HashMap<TaskId, Quarantined>,
    hold: Option<Held>,
}

impl Control {
    /// Which tasks stand still because their next occurrence is set aside.
    pub(super) async fn silence(&self) -> Result<Silence, Error> {
        let store = &self.parts.store;
        let aside = store.quarantine(None, limits::PAGE_ROWS_MAX).await?;
        let of_task =
            |entry: Quarantined| Some((entry.task.filter(|_| entry.run.is_none())?, entry));
        Ok(Silence {
            aside: aside.into_iter().filter_map(of_task).collect(),
            hold: self.held().await?,
        })
    }

    /// What the store's clock means for a task that is due next at `next`; nothing if it is as it should be.
    pub(super) fn told_by_clock(&self, task: &Task, next: Option<Timestamp>) -> Option<String> {
        if !task.spec.has_instants() {
            return None;
        }
        let time = &self.parts.time;
        if let Some(by) = time.held() {
            return Some(format!(
                "the store's clock stepped forward by {}: that is not followed before three readings over ten seconds agree, \
                 and the time goes on as it was until then",
                format_duration(by)
            ));
        }
        let until = time.behind_until().filter(|until| *until > time.now())?;
        let silent = next.is_none_or(|next| next >= until);
        silent.then(|| {
            format!(
                "silent until {}: the store's clock went back and is there again in {}; what lies before has been answered",
                show(until, &task.spec.timezone),
                format_duration(until.since(time.now()))
            )
        })
    }

    /// All that keeps a task silent, in one text.
    pub(super) fn told_by_silence(
        &self,
        silence: &Silence,
        task: &Task,
        next: Option<Timestamp>,
        trouble: Option<String>,
    ) -> Option<String> {
        let aside = silence.aside.get(&task.id).map(|entry| {
            format!(
                "it stands still since {}: the store refused to record its occurrence of {} ({}), which is set aside; mend \
                 that, then `campanile quarantine release {}`",
                show(entry.at, &task.spec.timezone),
                show(entry.due_at, &task.spec.timezone),
                entry.error,
                entry.id
            )
        });
        let clock = self.told_by_clock(task, next).filter(|_| aside.is_none());
        let hold = silence.hold.as_ref().map(Held::told);
        let told: Vec<String> = hold
            .into_iter()
            .chain(aside)
            .chain(clock)
            .chain(trouble)
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}
