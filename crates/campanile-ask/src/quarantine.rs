//! What the store refused to record, as people see it: shown with names, released once the cause is mended, or dropped.

use campanile_access::Right;
use campanile_schedule::time::Timestamp;

use crate::access::thing_of_named;
use crate::{Editor, Error};
use campanile_core::decide::attempt::if_lost;
use campanile_core::id::TaskId;
use campanile_core::limits;
use campanile_core::port::ask::Quarantined;
use campanile_core::port::edit::Released;
use campanile_core::port::store;
use campanile_core::task::StartMode;

/// Something that is set aside, with its task's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineRow {
    /// What the store keeps of it.
    pub entry: Quarantined,
    /// Its task's name; `None` for a run with its own handler, or of a deleted task.
    pub task: Option<String>,
}

/// A page of what is set aside, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuarantinePage {
    pub items: Vec<QuarantineRow>,
    /// After which number the next page begins; `None` = this was the last.
    pub next_cursor: Option<i64>,
}

impl Editor {
    /// Lets go on what is set aside: its end is recorded now, without its texts, or it waits for its start again.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] when the store refuses it still, with what it says.
    pub async fn release(&self, id: i64) -> Result<Released, Error> {
        self.may_on_aside(Right::Operate, id).await?;
        let now = self.now().await?;
        let if_lost = self.if_lost(id).await?;
        let released = self.parts.store.release(&self.actor, id, now, if_lost);
        match released.await {
            Ok(Released::Unknown) => Err(not_aside(id)),
            Ok(done) => {
                self.work();
                Ok(done)
            }
            Err(error) if error.is_refusal() => Err(Error::Conflict(format!(
                "the store still refuses it: {}. Mend that and release it again, or drop it",
                cause_of(&error)
            ))),
            Err(error) => Err(error.into()),
        }
    }

    /// How the run that is set aside may start again if its attempt was lost with its worker. Of a task that can't be read
    /// nobody knows whether its runs may start twice: then not.
    async fn if_lost(&self, id: i64) -> Result<StartMode, Error> {
        let found = self.parts.store.quarantine(id.checked_sub(1), 1).await?;
        let entry = found.iter().find(|entry| entry.id == id);
        let Some(run) = entry.and_then(|entry| entry.run) else {
            return Ok(StartMode::default());
        };
        let read = async {
            let run = self.parts.store.run(run).await?;
            let Some(task) = run.and_then(|record| record.run.task) else {
                return Ok(StartMode::default());
            };
            let tasks = self.parts.store.tasks_by_id(&[task]).await?;
            Ok(tasks
                .first()
                .map(|task| if_lost(&task.spec))
                .unwrap_or_default())
        };
        match read.await {
            Err(store::Error::Corrupt { .. }) => Ok(StartMode::AtMostOnce),
            answer => answer.map_err(Error::from),
        }
    }

    /// Puts the occurrences of these tasks that are set aside back to where they stood: whoever changes, pauses or deletes
    /// a task decides over all of its instants, and none may be left without a record. Answers how many.
    pub(super) async fn put_back(&self, tasks: &[TaskId], now: Timestamp) -> Result<usize, Error> {
        let store = &self.parts.store;
        let (mut after, mut count) = (None, 0);
        loop {
            let page = store.quarantine(after, limits::PAGE_ROWS_MAX).await?;
            let of_these = |entry: &&Quarantined| {
                entry.run.is_none() && entry.task.is_some_and(|task| tasks.contains(&task))
            };
            for entry in page.iter().filter(of_these) {
                let released = store.release(&self.actor, entry.id, now, StartMode::default());
                match released.await {
                    Ok(released) => count += usize::from(released == Released::Done),
                    // The change goes on: it must not wait for what the store refuses.
                    Err(error) if error.is_refusal() => {
                        let (id, error) = (entry.id, cause_of(&error));
                        tracing::warn!(
                            id,
                            error,
                            "what is set aside can't be put back: its instants have no record"
                        );
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            match page.last() {
                Some(last) if page.len() == limits::PAGE_ROWS_MAX => after = Some(last.id),
                _ => return Ok(count),
            }
        }
    }

    /// Forgets what is set aside, and its run with it: of its instant there is no other record then.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn drop_quarantined(&self, id: i64) -> Result<(), Error> {
        self.may_on_aside(Right::Define, id).await?;
        let answer = self.parts.store.drop_quarantined(&self.actor, id).await?;
        answer
            .is_applied()
            .then_some(())
            .ok_or_else(|| not_aside(id))
    }
}

impl Editor {
    /// What is set aside, oldest first; of what may be seen. A page may hold fewer than `limit` though more come after it.
    ///
    /// # Errors
    /// [`Error::Denied`]; a limit out of range.
    pub async fn quarantine(
        &self,
        after: Option<i64>,
        limit: usize,
    ) -> Result<QuarantinePage, Error> {
        self.may(Right::See)?;
        crate::tasks::check_limit(limit)?;
        let entries = self.parts.store.quarantine(after, limit).await?;
        let last = entries.last().filter(|_| entries.len() == limit);
        let next_cursor = last.map(|entry| entry.id);
        let mut ids: Vec<_> = entries.iter().filter_map(|entry| entry.task).collect();
        ids.sort_unstable();
        ids.dedup();
        let tasks = if ids.is_empty() {
            Vec::new()
        } else {
            // By their names alone: one of them may be set aside because the rest of it can't be read.
            self.parts.store.task_names(&ids).await?
        };
        let named = |entry: &Quarantined| tasks.iter().find(|task| entry.task == Some(task.id));
        let is_seen = |entry: &Quarantined| {
            let thing = thing_of_named(named(entry), &entry.queue);
            self.scope().holds(&thing)
        };
        let rows = entries.into_iter().filter(is_seen);
        let rows = rows.map(|entry| QuarantineRow {
            task: named(&entry)
                .filter(|task| task.deleted_at.is_none())
                .map(|task| task.name.clone()),
            entry,
        });
        Ok(QuarantinePage {
            items: rows.collect(),
            next_cursor,
        })
    }
}

fn cause_of(error: &store::Error) -> String {
    let cause = std::error::Error::source(error);
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}

fn not_aside(id: i64) -> Error {
    Error::NotFound {
        what: "quarantined row",
        name: id.to_string(),
        remedy: "it was released or dropped; `campanile quarantine list` shows what is set aside",
    }
}
