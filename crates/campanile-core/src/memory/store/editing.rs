//! How the memory store looks at an edit before it writes, and what an edit does beside its tasks.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use campanile_schedule::calendar::Calendar;
use campanile_schedule::time::Timestamp;

use super::Tables;
use super::ask::due_of_task;
use crate::decide::edit::ahead;
use crate::decide::edit::ahead::DueChange;
use crate::id::TaskId;
use crate::port::Written;
use crate::port::ask::Former;
use crate::port::edit::{Edit, Upsert};
use crate::port::fire::Owner;
use crate::port::store::Error;
use crate::run::Run;
use crate::task::{Chain, Task};

/// Whether all that an edit rests on is still so.
pub(super) fn edit_applies(tables: &Tables, edit: &Edit, now: Timestamp) -> bool {
    let version_is = |id: &TaskId, v: i64| tables.tasks.get(id).is_some_and(|t| t.version == v);
    edit.deletes
        .iter()
        .all(|d| version_is(&d.task, d.version) && due_at(tables, d.task) == d.seen)
        && edit.upserts.iter().all(|u| match u.expected {
            Some(v) => version_is(&u.id, v),
            None => !tables.tasks.contains_key(&u.id),
        })
        && edit
            .upserts
            .iter()
            .all(|u| due_stands_where_seen(tables, u))
        && edit.moves.iter().all(|m| due_at(tables, m.task) == m.seen)
        && edit.unplans.iter().all(|unplan| {
            let ahead = tables.ahead(unplan.task, unplan.offset, now);
            ahead::is_as_seen(unplan, ahead.iter().map(|run| run.id))
        })
        && edit.edits.is_none_or(|edits| tables.edits == edits)
        && names_are_free(tables, edit)
}

fn due_at(tables: &Tables, task: TaskId) -> Option<Timestamp> {
    due_of_task(&tables.due, task).first().map(|k| k.at)
}

fn due_stands_where_seen(tables: &Tables, upsert: &Upsert) -> bool {
    match &upsert.due {
        DueChange::Keep | DueChange::Pause { .. } => true,
        DueChange::Replace { seen, .. } => due_at(tables, upsert.id) == *seen,
    }
}

/// Whether each name is wanted by one task of the edit, and had by none that stays as it is.
fn names_are_free(tables: &Tables, edit: &Edit) -> bool {
    let upserted = edit.upserts.iter().map(|u| u.id);
    let moving: HashSet<TaskId> = upserted
        .chain(edit.deletes.iter().map(|d| d.task))
        .collect();
    let mut wanted = HashSet::new();
    edit.upserts.iter().map(|u| &u.spec.name).all(|name| {
        wanted.insert(name) && tables.names.get(name).is_none_or(|id| moving.contains(id))
    })
}

impl Tables {
    fn ahead(&self, task: TaskId, offset: Duration, now: Timestamp) -> Vec<Run> {
        let mine = self.live.values().filter(|r| r.task == Some(task));
        mine.filter(|r| ahead::is_ahead(r, offset, now))
            .cloned()
            .collect()
    }

    /// Changes tasks and what they share: all or nothing.
    pub(super) fn edit(
        &mut self,
        edit: &Edit,
        at: Timestamp,
        now: Timestamp,
    ) -> Result<Written, Error> {
        if !edit_applies(self, edit, now) {
            return Ok(Written::Stale);
        }
        self.edits += 1;
        let rests = self.take_back(edit, now)?;
        for delete in &edit.deletes {
            if let Some(task) = self.tasks.remove(&delete.task) {
                self.names.remove(&task.spec.name);
                self.deletions.insert(task.id, at);
                self.former.push(Former {
                    task,
                    deleted_at: at,
                });
            }
            self.chains.remove(&delete.task);
            for key in due_of_task(&self.due, delete.task) {
                self.due.remove(&key);
            }
        }
        for upsert in &edit.upserts {
            let old_name = self.tasks.get(&upsert.id).map(|t| t.spec.name.clone());
            if let Some(name) = old_name {
                self.names.remove(&name);
            }
        }
        for upsert in &edit.upserts {
            let created_at = self.tasks.get(&upsert.id).map_or(at, |t| t.created_at);
            let version = upsert.expected.unwrap_or(0) + 1;
            let task = Task {
                id: upsert.id,
                version,
                spec: upsert.spec.clone(),
                created_at,
                updated_at: at,
                paused_from: rests.get(&upsert.id).copied().or(upsert.paused_from),
            };
            self.names.insert(task.spec.name.clone(), task.id);
            self.tasks.insert(task.id, task);
            if Chain::of(&upsert.spec).is_none() {
                self.chains.remove(&upsert.id);
            }
            if let DueChange::Replace { next, .. } = &upsert.due {
                for key in due_of_task(&self.due, upsert.id) {
                    self.due.remove(&key);
                }
                // One whose run holds its chain goes on from its end.
                let held = self.chains.contains_key(&upsert.id);
                self.due.extend(next.iter().filter(|_| !held).cloned());
            }
        }
        self.pauses.extend(edit.pauses.iter().cloned());
        let tasks = &self.tasks;
        self.pauses
            .retain(|id, _| tasks.get(id).is_some_and(|task| task.spec.paused));
        edit_shared(self, edit)?;
        Ok(Written::Applied)
    }

    /// Takes back what was planned ahead for the tasks of an edit that rest from now on, or whose instants change.
    /// Answers from where on each rests.
    pub(super) fn take_back(
        &mut self,
        edit: &Edit,
        now: Timestamp,
    ) -> Result<BTreeMap<TaskId, Timestamp>, Error> {
        let mut gone = Vec::new();
        let mut instants: BTreeMap<TaskId, Vec<Timestamp>> = BTreeMap::new();
        for (task, offset) in edit.taking_back() {
            for run in self.ahead(task, offset, now) {
                instants.entry(task).or_default().push(run.due_at);
                self.live.remove(&run.id);
                self.release(run.id, true);
                self.let_chain_go(run.id);
                self.due.retain(|key| key.owner != Owner::Run(run.id));
                gone.push(run);
            }
        }
        for row in edit.answers(gone.iter(), now) {
            self.put_skip(&row)?;
        }
        let mut rests = BTreeMap::new();
        for upsert in &edit.upserts {
            let DueChange::Pause { offset } = upsert.due else {
                continue;
            };
            let rows = due_of_task(&self.due, upsert.id);
            let row = rows.first().map(|key| key.at.minus(offset));
            let taken = instants.get(&upsert.id).into_iter().flatten().copied();
            rests.insert(upsert.id, ahead::paused_from(now, now, row, taken));
            for key in rows {
                self.due.remove(&key);
            }
        }
        Ok(rests)
    }
}

/// What an edit does beside its tasks.
pub(super) fn edit_shared(tables: &mut Tables, edit: &Edit) -> Result<(), Error> {
    for moved in &edit.moves {
        for key in due_of_task(&tables.due, moved.task) {
            tables.due.remove(&key);
        }
        tables.due.extend(moved.next.iter().cloned());
    }
    for (name, spec) in &edit.calendars {
        let version = tables.calendars.get(name).map_or(0, |c| c.version);
        match spec {
            Some(spec) => {
                let calendar = Calendar::compile(spec.clone(), version + 1)
                    .map_err(|e| Error::Refused(e.into()))?;
                tables.calendars.insert(name.clone(), calendar);
            }
            None => {
                tables.calendars.remove(name);
            }
        }
    }
    for (key, limit) in &edit.limits {
        match limit {
            Some(n) => tables.limits.insert(key.clone(), *n),
            None => tables.limits.remove(key),
        };
    }
    for skip in &edit.skipped {
        tables.put_skip(skip)?;
    }
    tables.answered.extend(edit.answered.iter().copied());
    for (name, value) in &edit.settings {
        tables.settings.insert((*name).to_owned(), value.clone());
    }
    for key in edit.limit_keys() {
        tables.unpark(&key, usize::MAX);
    }
    Ok(())
}
