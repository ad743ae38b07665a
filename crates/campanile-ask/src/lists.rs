//! Lists and single things for somebody who may not see all of them: what is outside of his rights is left out of a list,
//! and refused where it is asked for by name. A page looks at a bounded number of rows, says where it stopped, and may hold
//! fewer than asked for. Who may see everything pays nothing for that.

use std::collections::HashMap;

use campanile_access::Right;
use campanile_core::id::RunId;
use campanile_core::limits;
use campanile_core::port::ask::{RunFilter, RunRecord, TaskFilter, TaskPage};
use campanile_core::task::Task;

use crate::access::{thing_of, thing_of_run};
use crate::runs::{RunPage, RunRow};
use crate::{Editor, Error};

/// Rows that one page looks at for somebody who may not see all of them.
const LOOK_ROWS_MAX: usize = 10_000;

impl Editor {
    /// Refuses who may see no run at all: neither those of his scope, nor those that he submits.
    pub(super) fn may_see_some_runs(&self) -> Result<(), Error> {
        self.may(Right::Submit).or_else(|_| self.may(Right::See))
    }

    /// Whether all runs may be seen.
    fn sees_all(&self) -> bool {
        self.scope().is_all() && self.may(Right::See).is_ok()
    }

    /// Refuses who may not end this run.
    pub(super) async fn may_cancel(&self, id: RunId) -> Result<(), Error> {
        let may = self.may(Right::Submit);
        may.or_else(|_| self.may(Right::Operate))?;
        self.may_act_on(id, true).await
    }

    /// Refuses who may not act on this run, whoever has submitted it.
    pub(super) async fn may_operate(&self, id: RunId) -> Result<(), Error> {
        self.may(Right::Operate)?;
        self.may_act_on(id, false).await
    }

    async fn may_act_on(&self, id: RunId, own: bool) -> Result<(), Error> {
        if self.scope().is_all() && self.may(Right::Operate).is_ok() {
            return Ok(());
        }
        let record = self.record(id).await?;
        if own && self.is_own(record.submitter.as_deref()) {
            return Ok(());
        }
        let row = self.row(record.run).await?;
        self.may_run(Right::Operate, &row)
    }

    /// Refuses who may not do this to what is set aside under this number.
    pub(super) async fn may_on_aside(&self, right: Right, id: i64) -> Result<(), Error> {
        self.may(right)?;
        if self.scope().is_all() {
            return Ok(());
        }
        let before = id.checked_sub(1);
        let found = self.parts.store.quarantine(before, 1).await?;
        let Some(entry) = found.into_iter().find(|entry| entry.id == id) else {
            return Ok(());
        };
        let ids: Vec<_> = entry.task.into_iter().collect();
        let named = self.parts.store.task_names(&ids).await?;
        self.may_named(
            right,
            named.first(),
            &entry.queue,
            &format!("what is set aside as {id}"),
        )
    }

    /// Of these rows, those that may be seen.
    pub(super) async fn visible(&self, rows: Vec<RunRow>) -> Result<Vec<RunRow>, Error> {
        if self.sees_all() {
            return Ok(rows);
        }
        let sees = self.may(Right::See).is_ok();
        let submitters = match self.may(Right::Submit) {
            Ok(()) => {
                let ids: Vec<RunId> = rows.iter().map(|row| row.run.id).collect();
                self.parts.store.submitters(&ids).await?
            }
            Err(_) => HashMap::new(),
        };
        let is_seen = |row: &RunRow| {
            let by = submitters.get(&row.run.id).map(String::as_str);
            self.is_own(by) || (sees && self.scope().holds(&thing_of_run(row)))
        };
        Ok(rows.into_iter().filter(is_seen).collect())
    }

    /// A page of the runs that may be seen.
    pub(super) async fn page_of_runs(
        &self,
        filter: &RunFilter,
        mut before: Option<RunId>,
        limit: usize,
    ) -> Result<RunPage, Error> {
        let at_once = if self.sees_all() {
            limit
        } else {
            limits::PAGE_ROWS_MAX
        };
        let (mut page, mut looked) = (RunPage::default(), 0);
        loop {
            let runs = self.parts.store.runs(filter, before, at_once).await?;
            looked += runs.len();
            let is_last = runs.len() < at_once;
            before = runs.last().map(|run| run.id);
            for row in self.visible(self.rows(runs).await?).await? {
                if page.items.len() == limit {
                    break;
                }
                page.items.push(row);
            }
            if page.items.len() == limit {
                let last = page.items.last();
                page.next_cursor = last.map(|row| row.run.id.to_string());
                return Ok(page);
            }
            if is_last || looked >= LOOK_ROWS_MAX {
                let more = before.filter(|_| !is_last);
                page.next_cursor = more.map(|id| id.to_string());
                return Ok(page);
            }
        }
    }

    /// A page of the tasks that may be seen.
    pub(super) async fn page_of_tasks(
        &self,
        filter: &TaskFilter,
        mut after: Option<String>,
        limit: usize,
    ) -> Result<TaskPage, Error> {
        let store = &self.parts.store;
        if self.scope().is_all() {
            return Ok(store.tasks(filter, after.as_deref(), limit).await?);
        }
        let (mut found, mut looked) = (TaskPage::default(), 0);
        loop {
            let page = store.tasks(filter, after.as_deref(), limits::PAGE_ROWS_MAX);
            let page = page.await?;
            looked += page.tasks.len();
            let is_seen = |task: &Task| self.scope().holds(&thing_of(&task.spec));
            for task in page.tasks.into_iter().filter(is_seen) {
                if found.tasks.len() == limit {
                    let last = found.tasks.last();
                    found.next = last.map(|task| task.spec.name.clone());
                    return Ok(found);
                }
                found.tasks.push(task);
            }
            after = page.next;
            if after.is_none() || looked >= LOOK_ROWS_MAX {
                found.next = after;
                return Ok(found);
            }
        }
    }

    /// Leaves out of a record what may not be seen, and says what.
    pub(super) fn hide(&self, record: &mut RunRecord) -> Vec<&'static str> {
        let mut hidden = Vec::new();
        if self.sees_data() {
            return hidden;
        }
        let payload = record.spec.as_mut().and_then(|spec| spec.payload.take());
        hidden.extend(payload.map(|_| "payload"));
        hidden.extend(record.result.take().map(|_| "result"));
        hidden
    }
}
