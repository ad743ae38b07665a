//! Runs by the key with which they were asked for, and their move to another instant. Whose a key is, and what may be
//! moved, is [`campanile_core::decide`]'s to say.

use campanile_access::audit::Deed;
use campanile_schedule::time::Timestamp;
use serde_json::{Value, json};

use crate::{Editor, Error, RunQuery, RunRow};
use campanile_core::decide::edit::keys::Scope;
use campanile_core::decide::edit::request::{check_key, check_run_at};
use campanile_core::id::RunId;
use campanile_core::limits;
use campanile_core::port::edit::Moved;

/// The key of a run, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyQuery {
    /// The key, as it was submitted.
    pub key: String,
    pub task: Option<String>,
    /// Or of runs without a task and with such a handler: `http`, `command`, `external`, `native:NAME`.
    pub handler: Option<String>,
}

impl Editor {
    /// The run that a key stands for. Whose it is may be left out while only one has it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] when several have the key; the field at fault.
    pub async fn run_of_key(&self, query: &KeyQuery) -> Result<RunId, Error> {
        self.may_see_some_runs()?;
        let found = self.keyed_runs(query).await?;
        match found.as_slice() {
            [] => Err(Error::NotFound {
                what: "run with the key",
                name: query.key.clone(),
                remedy: "nothing was submitted with it, or its history was pruned, or it is another task's; \
                         `campanile run list --key KEY` shows who has it",
            }),
            [(_, run)] => Ok(*run),
            several => Err(Error::Conflict(format!(
                "the key `{}` stands for {} runs of several tasks or handlers: say whose it is, with `task` or `handler`",
                query.key,
                several.len()
            ))),
        }
    }

    async fn keyed_runs(&self, query: &KeyQuery) -> Result<Vec<(Scope, RunId)>, Error> {
        check_key("key", &query.key)?;
        let wanted = match (&query.task, &query.handler) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid(
                    "handler",
                    "a key is a task's or a handler's: leave one of them out",
                ));
            }
            (Some(name), None) => Some(Scope::Task(self.find_task(name).await?.id)),
            (None, Some(text)) => {
                Some(Scope::read_handler(text).map_err(|e| Error::invalid("handler", e))?)
            }
            (None, None) => None,
        };
        let store = &self.parts.store;
        let mut found = store.runs_of_key(&query.key, limits::PAGE_ROWS_MAX).await?;
        found.retain(|(scope, _)| wanted.as_ref().is_none_or(|wanted| scope == wanted));
        Ok(found)
    }

    /// The rows of a key's runs that a list asks for, newest first.
    pub(super) async fn rows_of_key(
        &self,
        key: &KeyQuery,
        query: &RunQuery,
    ) -> Result<Vec<RunRow>, Error> {
        let mut ids: Vec<RunId> = self
            .keyed_runs(key)
            .await?
            .into_iter()
            .map(|(_, run)| run)
            .collect();
        ids.sort_unstable_by_key(|id| std::cmp::Reverse(*id));
        let mut runs = Vec::with_capacity(ids.len());
        for id in ids {
            // One that was pruned meanwhile is not in the list.
            runs.extend(self.parts.store.run(id).await?.map(|detail| detail.run));
        }
        runs.retain(|run| {
            query.state.is_none_or(|state| run.state == state)
                && query.since.is_none_or(|since| run.due_at >= since)
                && query.until.is_none_or(|until| run.due_at < until)
        });
        self.rows(runs).await
    }
}

impl Editor {
    /// Lets a run that has not started start at another instant; one that has passed means now.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] when it can't be moved, with the reason.
    pub async fn move_run(&self, id: RunId, to: Timestamp) -> Result<RunRow, Error> {
        self.may_operate(id).await?;
        check_run_at(to)?;
        let to = to.max(self.now().await?);
        let deed = Deed::new("run.move", "run", &id.to_string());
        let by = self
            .actor
            .doing(deed.changing(Value::Null, json!({ "run_at": to })));
        let said = match self.parts.store.move_run(&by, id, to).await? {
            Moved::Done => {
                self.work();
                return self.run(id).await.map(|story| story.row);
            }
            Moved::Unknown => return Err(Error::no_run(id)),
            Moved::Due => "is due already, and waits for a worker or for a permit: cancel it and submit another".to_owned(),
            Moved::Started(state) if state.is_waiting() => {
                "has started already, and waits for its next attempt: cancel it and submit another".to_owned()
            }
            Moved::Started(_) => "is running: cancel it and submit another".to_owned(),
            Moved::Ended(state) => format!("has ended already: {}", state.as_str()),
            Moved::Occurrence => {
                "is an occurrence of its task's schedule: only a run that somebody submitted can be moved".to_owned()
            }
        };
        Err(Error::Conflict(format!("run {id} {said}")))
    }
}
