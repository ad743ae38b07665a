//! Tasks: reading them, and changing them all or not at all. An edit begins by touching the leader row, as the leader's
//! own writes do: so both are serial, and what was read inside the transaction still holds when it writes.

use std::collections::{HashMap, HashSet};

use campanile::actor::Actor;
use campanile::id::{RunId, TaskId};
use campanile::port::Written;
use campanile::port::store::Error;
use campanile::protocol::work::{
    Backlog, DueChange, DueKey, Edit, Fired, Former, Named, OnBehalfOf, TaskPage, Term, Upsert,
};
use campanile::task::Task;
use campanile_schedule::time::Timestamp;

use super::super::connection::{Tx, Verdict};
use super::super::error::Failure;
use super::super::pen::{EditTx, Footing, Led, as_editor, as_leader};
use super::super::statement::Statement;
use super::super::value::Table;
use super::Store;
use super::ahead::Rests;
use super::firing::INSERT_ROWS_MAX;
use super::points::{EDIT, EDIT_FOR};
use super::rows::{former_of, from_json, small, task_of, to_json};

/// A page of living tasks.
static PAGE: Statement = Statement::new(
    "SELECT id, version, definition, created_at, updated_at, rests_from FROM task
     WHERE live_name > :after ORDER BY live_name LIMIT :limit",
);

/// A page of an owner's living tasks.
static PAGE_OF_OWNER: Statement = Statement::new(
    "SELECT id, version, definition, created_at, updated_at, rests_from FROM task
     WHERE owner = :owner AND live_name IS NOT NULL AND live_name > :after ORDER BY live_name LIMIT :limit",
);

/// Who has or had a name: the living one, then the deleted ones, the last one first.
static NAMESAKES: Statement = Statement::new(
    "SELECT id FROM (SELECT id, 1 AS living, 0 AS deleted_at FROM task WHERE live_name = :name
     UNION ALL SELECT id, 0, deleted_at FROM task WHERE name = :name AND deleted_at IS NOT NULL) AS namesakes
     ORDER BY living DESC, deleted_at DESC, id DESC LIMIT :limit",
);

/// What tasks are or were called.
static NAMES: Statement = Statement::new(
    "SELECT id, name, definition, deleted_at FROM task WHERE id IN (SELECT i FROM @ids(i int) AS v)",
);

/// The waiting runs of tasks. A walk over the live runs, once for all of the tasks: for people who delete, not for the
/// leader.
static BACKLOGS: Statement = Statement::new(
    "SELECT task, COUNT(*), CAST(SUM(CASE WHEN origin = 1 THEN 0 ELSE 1 END) AS BIGINT),
     MAX(CASE WHEN origin = 1 THEN NULL ELSE id END)
     FROM run WHERE state IN (1, 2) AND (origin <> 1 OR attempt > 1 OR ready_at < :overdue)
     AND task IN (SELECT i FROM @ids(i int) AS v) GROUP BY task",
);

/// Deleted tasks are looked after until no run can wait for them.
static PUT_DELETIONS: Statement = Statement::new(
    "INSERT INTO deletion (task, at) SELECT i, :at FROM @ids(i int) AS v WHERE true ON CONFLICT (task) DO NOTHING",
);

/// Living tasks by name.
static BY_NAME: Statement = Statement::new(
    "SELECT id, version, definition, created_at, updated_at, rests_from FROM task
     WHERE live_name IN (SELECT n FROM @names(n text) AS v)",
);

/// Deleted tasks that had a name, the last one first.
static FORMER: Statement = Statement::new(
    "SELECT id, version, definition, created_at, updated_at, rests_from, deleted_at FROM task
     WHERE name = :name AND deleted_at IS NOT NULL ORDER BY name DESC, deleted_at DESC LIMIT :limit",
);

/// The next occurrence of a task.
static NEXT_DUE: Statement = Statement::new("SELECT at FROM due WHERE owner = :task AND n = 0");

/// Where tasks' due rows stand.
pub(super) static DUE_OF: Statement = Statement::new(
    "SELECT owner, at FROM due WHERE n = 0 AND owner IN (SELECT i FROM @ids(i int) AS v)",
);

/// Tasks as they are, living and deleted.
static AS_THEY_ARE: Statement = Statement::new(
    "SELECT id, version, live_name FROM task WHERE id IN (SELECT i FROM @ids(i int) AS v)",
);

/// Who has these names.
static NAMED: Statement = Statement::new(
    "SELECT id, live_name FROM task WHERE live_name IN (SELECT n FROM @names(n text) AS v)",
);

/// A deleted task keeps its row and gives its name free.
static DELETE: Statement = Statement::new(
    "UPDATE task SET live_name = NULL, deleted_at = :at, updated_at = :at, version = version + 1
     WHERE id IN (SELECT i FROM @ids(i int) AS v)",
);

/// Gives names free that move to other tasks in the same edit.
static UNNAME: Statement =
    Statement::new("UPDATE task SET live_name = NULL WHERE id IN (SELECT i FROM @ids(i int) AS v)");

/// New tasks.
static INSERT: Statement = Statement::new(
    "INSERT INTO task (id, live_name, name, version, definition, created_at, updated_at, rests_from, owner)
     SELECT i, n, n, 1, d, :at, :at, f, o FROM @tasks(i int, n text, d text, f int, o text) AS v",
);

/// Changed tasks.
static UPDATE: Statement = Statement::new(
    "UPDATE task SET live_name = v.n, name = v.n, version = task.version + 1, definition = v.d, updated_at = :at,
     rests_from = v.f, owner = v.o FROM @tasks(i int, n text, d text, f int, o text) AS v WHERE task.id = v.i",
);

/// Takes tasks' next occurrences away.
pub(super) static DROP_DUE: Statement =
    Statement::new("DELETE FROM due WHERE n = 0 AND owner IN (SELECT i FROM @ids(i int) AS v)");

impl Store {
    pub(super) async fn task_page(
        &self,
        owner: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<TaskPage, Error> {
        let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut args = vec![
            ("after", after.unwrap_or("").into()),
            ("limit", one_more.into()),
        ];
        args.extend(owner.map(|owner| ("owner", owner.into())));
        let statement = if owner.is_some() {
            &PAGE_OF_OWNER
        } else {
            &PAGE
        };
        let rows = self.pools.reader.rows(statement, &args).await?;
        let more = rows.len() > limit;
        let tasks = self.readable(rows.into_iter().take(limit).map(task_of))?;
        // A page of nothing that can be read ends the list: nobody knows a name to go on from.
        let last = tasks.last().map(|task| task.spec.name.clone());
        Ok(TaskPage {
            tasks,
            next: last.filter(|_| more),
        })
    }

    pub(super) async fn by_name(&self, names: &[String]) -> Result<Vec<Task>, Error> {
        let args = [(
            "names",
            Table::default().texts(names.iter().cloned()).into(),
        )];
        let rows = self.pools.reader.rows(&BY_NAME, &args).await?;
        rows.into_iter().map(task_of).collect()
    }

    pub(super) async fn former(&self, name: &str, limit: usize) -> Result<Vec<Former>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let args = [("name", name.into()), ("limit", limit.into())];
        let rows = self.pools.reader.rows(&FORMER, &args).await?;
        rows.into_iter().map(former_of).collect()
    }

    pub(super) async fn namesakes_of(
        &self,
        name: &str,
        limit: usize,
    ) -> Result<Vec<TaskId>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let args = [("name", name.into()), ("limit", limit.into())];
        let rows = self.pools.reader.rows(&NAMESAKES, &args).await?;
        let ids = rows.into_iter().map(|mut row| row.int("task"));
        ids.map(|id| id.map(TaskId::from_i64)).collect()
    }

    pub(super) async fn names_of(&self, ids: &[TaskId]) -> Result<Vec<Named>, Error> {
        let args = [("ids", Table::of(ids.iter().map(|id| id.as_i64())).into())];
        let rows = self.pools.reader.rows(&NAMES, &args).await?;
        let named = rows.into_iter().map(|mut row| {
            Ok(Named {
                id: TaskId::from_i64(row.int("task")?),
                name: row.text("task")?,
                // Names are shown also of a task that can't be read.
                timezone: from_json::<Zoned>(&row.text("task")?, "task")
                    .map_or_else(|_| "UTC".to_owned(), |zoned| zoned.timezone),
                deleted_at: row.opt_int("task")?.map(Timestamp::from_ms),
            })
        });
        named.collect()
    }

    pub(super) async fn backlogs_of(
        &self,
        tasks: &[TaskId],
        overdue: Timestamp,
    ) -> Result<Vec<Backlog>, Error> {
        let args = [
            ("ids", Table::of(tasks.iter().map(|id| id.as_i64())).into()),
            ("overdue", overdue.as_ms().into()),
        ];
        let rows = self.pools.reader.rows(&BACKLOGS, &args).await?;
        let backlogs = rows.into_iter().map(|mut row| {
            Ok(Backlog {
                task: TaskId::from_i64(row.int("run")?),
                waiting: small(row.int("run")?)?,
                requested: small(row.int("run")?)?,
                newest: row.opt_int("run")?.map(RunId::from_i64),
            })
        });
        backlogs.collect()
    }

    pub(super) async fn dues_of_tasks(
        &self,
        tasks: &[TaskId],
    ) -> Result<HashMap<TaskId, Timestamp>, Error> {
        let mut found = HashMap::with_capacity(tasks.len());
        for chunk in tasks.chunks(INSERT_ROWS_MAX) {
            let args = [("ids", Table::of(chunk.iter().map(|id| id.as_i64())).into())];
            for mut row in self.pools.reader.rows(&DUE_OF, &args).await? {
                let task = TaskId::from_i64(row.int("due")?);
                found.insert(task, Timestamp::from_ms(row.int("due")?));
            }
        }
        Ok(found)
    }

    pub(super) async fn due_of_task(&self, task: TaskId) -> Result<Option<Timestamp>, Error> {
        let rows = self
            .pools
            .reader
            .rows(&NEXT_DUE, &[("task", task.as_i64().into())])
            .await?;
        let at = rows.into_iter().next().map(|mut row| row.int("due"));
        Ok(at.transpose()?.map(Timestamp::from_ms))
    }

    pub(super) async fn edit_tasks(
        &self,
        actor: &Actor,
        edit: &Edit,
        at: Timestamp,
    ) -> Result<Written, Error> {
        self.intern_of(edit).await?;
        let footing = Some(Footing::changes(edit.edits));
        let answer = as_editor!(EDIT, self, actor, footing, tx => self.edit_in(tx, edit, at))?;
        Ok(answer.unwrap_or(Written::Stale))
    }

    /// The leader's edit on somebody's behalf.
    pub(super) async fn edit_as_leader(
        &self,
        term: &Term,
        on_behalf_of: OnBehalfOf,
        edit: &Edit,
        at: Timestamp,
    ) -> Result<Fired, Error> {
        self.intern_of(edit).await?;
        let footing = Footing::changes(edit.edits);
        let led = as_leader!(EDIT_FOR, self, term, footing, tx => async {
            let tx = &mut tx.edit(on_behalf_of);
            self.edit_in(tx, edit, at).await
        })?;
        Ok(match led {
            Led::Done(Written::Applied) => Fired::Applied,
            Led::Done(Written::Stale) | Led::Edited => Fired::Edited,
            Led::Fenced => Fired::Fenced,
        })
    }

    /// The queues of what an edit puts.
    async fn intern_of(&self, edit: &Edit) -> Result<(), Error> {
        let keys = edit.upserts.iter().filter_map(|upsert| match &upsert.due {
            DueChange::Replace { next, .. } => next.as_ref().map(|key| &key.queue),
            DueChange::Keep | DueChange::Rest { .. } => None,
        });
        let moved = edit.moves.iter().filter_map(|m| m.next.as_ref());
        let skipped = edit.skipped.iter().map(|run| &run.queue);
        self.intern(keys.chain(moved.map(|key| &key.queue)).chain(skipped))
            .await
    }

    async fn edit_in(
        &self,
        tx: &mut EditTx<'_>,
        edit: &Edit,
        at: Timestamp,
    ) -> Result<Verdict<Written>, Failure> {
        let present = as_they_are(tx, edit).await?;
        if !is_as_expected(edit, &present)
            || names_are_taken(tx, edit).await?
            || due_has_moved(tx, edit).await?
        {
            return Ok(Verdict::Rollback(Written::Stale));
        }
        let Some(rests) = self.take_back(tx, edit).await? else {
            return Ok(Verdict::Rollback(Written::Stale));
        };
        let deleted: Vec<i64> = edit.deletes.iter().map(|d| d.task.as_i64()).collect();
        for_ids(tx, &DELETE, &deleted, at).await?;
        for_ids(tx, &PUT_DELETIONS, &deleted, at).await?;
        self.write_tasks(tx, edit, &present, &rests, at).await?;
        self.move_due(tx, edit, deleted).await?;
        self.edit_shared(tx, edit, at).await?;
        Ok(Verdict::Commit(Written::Applied))
    }

    async fn write_tasks(
        &self,
        tx: &mut Tx,
        edit: &Edit,
        present: &HashMap<TaskId, Present>,
        rests: &Rests,
        at: Timestamp,
    ) -> Result<(), Failure> {
        let renamed = edit.upserts.iter().filter(|upsert| {
            let name = present.get(&upsert.id).and_then(|p| p.live_name.as_deref());
            name.is_some_and(|name| name != upsert.spec.name)
        });
        let renamed: Vec<i64> = renamed.map(|upsert| upsert.id.as_i64()).collect();
        for_ids(tx, &UNNAME, &renamed, at).await?;
        let (changed, new): (Vec<&Upsert>, Vec<&Upsert>) = edit
            .upserts
            .iter()
            .partition(|upsert| upsert.expected.is_some());
        for (statement, upserts) in [(&UPDATE, changed), (&INSERT, new)] {
            for chunk in upserts.chunks(INSERT_ROWS_MAX) {
                let definitions = chunk.iter().map(|upsert| to_json(&upsert.spec));
                let table = Table::of(chunk.iter().map(|upsert| upsert.id.as_i64()))
                    .texts(chunk.iter().map(|upsert| upsert.spec.name.clone()))
                    .texts(definitions.collect::<Result<Vec<_>, _>>()?)
                    .ints(chunk.iter().map(|u| {
                        let from = rests.get(&u.id).copied().or(u.rests_from);
                        from.map(Timestamp::as_ms)
                    }))
                    .texts(
                        chunk
                            .iter()
                            .map(|u| u.spec.owner.clone().unwrap_or_default()),
                    );
                tx.write(
                    statement,
                    &[("tasks", table.into()), ("at", at.as_ms().into())],
                )
                .await?;
            }
        }
        Ok(())
    }

    async fn move_due(&self, tx: &mut Tx, edit: &Edit, deleted: Vec<i64>) -> Result<(), Failure> {
        let mut dropped = deleted;
        let mut put: Vec<DueKey> = Vec::new();
        for upsert in &edit.upserts {
            match &upsert.due {
                DueChange::Keep => {}
                DueChange::Rest { .. } => dropped.push(upsert.id.as_i64()),
                DueChange::Replace { next, .. } => {
                    dropped.extend(upsert.expected.map(|_| upsert.id.as_i64()));
                    put.extend(next.clone());
                }
            }
        }
        for_ids(tx, &DROP_DUE, &dropped, Timestamp::MIN).await?;
        self.put_due(tx, &put).await
    }
}

/// What of a definition tells a task's zone.
#[derive(serde::Deserialize)]
struct Zoned {
    timezone: String,
}

/// Whether some due row stands elsewhere than where the edit saw it.
async fn due_has_moved(tx: &mut Tx, edit: &Edit) -> Result<bool, Failure> {
    let replaced: Vec<(i64, Option<Timestamp>)> = edit
        .upserts
        .iter()
        .filter_map(|upsert| match &upsert.due {
            DueChange::Replace { seen, .. } if upsert.expected.is_some() => {
                Some((upsert.id.as_i64(), *seen))
            }
            DueChange::Replace { .. } | DueChange::Keep | DueChange::Rest { .. } => None,
        })
        .chain(edit.deletes.iter().map(|d| (d.task.as_i64(), d.seen)))
        .chain(edit.moves.iter().map(|m| (m.task.as_i64(), m.seen)))
        .collect();
    for chunk in replaced.chunks(INSERT_ROWS_MAX) {
        let args = [("ids", Table::of(chunk.iter().map(|(id, _)| *id)).into())];
        let mut stands: HashMap<i64, i64> = HashMap::new();
        for mut row in tx.rows(&DUE_OF, &args).await? {
            stands.insert(row.int("due")?, row.int("due")?);
        }
        let moved = |(id, seen): &(i64, Option<Timestamp>)| {
            stands.get(id).copied() != seen.map(Timestamp::as_ms)
        };
        if chunk.iter().any(moved) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A task as an edit finds it.
struct Present {
    version: i64,
    live_name: Option<String>,
}

async fn as_they_are(tx: &mut Tx, edit: &Edit) -> Result<HashMap<TaskId, Present>, Failure> {
    let upserted = edit.upserts.iter().map(|upsert| upsert.id);
    let ids: Vec<TaskId> = upserted
        .chain(edit.deletes.iter().map(|d| d.task))
        .collect();
    let mut present = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(INSERT_ROWS_MAX) {
        let args = [("ids", Table::of(chunk.iter().map(|id| id.as_i64())).into())];
        for mut row in tx.rows(&AS_THEY_ARE, &args).await? {
            let id = TaskId::from_i64(row.int("task")?);
            let (version, live_name) = (row.int("task")?, row.opt_text("task")?);
            present.insert(id, Present { version, live_name });
        }
    }
    Ok(present)
}

fn is_as_expected(edit: &Edit, present: &HashMap<TaskId, Present>) -> bool {
    let lives_at = |id: &TaskId, version: i64| {
        present
            .get(id)
            .is_some_and(|p| p.live_name.is_some() && p.version == version)
    };
    let mut ids = HashSet::new();
    edit.deletes
        .iter()
        .all(|d| ids.insert(d.task) && lives_at(&d.task, d.version))
        && edit.upserts.iter().all(|upsert| {
            ids.insert(upsert.id)
                && match upsert.expected {
                    Some(version) => lives_at(&upsert.id, version),
                    None => !present.contains_key(&upsert.id),
                }
        })
}

/// Whether two tasks of the edit want one name, or a task that stays as it is has it.
async fn names_are_taken(tx: &mut Tx, edit: &Edit) -> Result<bool, Failure> {
    let mut names = HashSet::with_capacity(edit.upserts.len());
    if !edit
        .upserts
        .iter()
        .all(|upsert| names.insert(upsert.spec.name.as_str()))
    {
        return Ok(true);
    }
    let upserted = edit.upserts.iter().map(|upsert| upsert.id);
    let moving: HashSet<TaskId> = upserted
        .chain(edit.deletes.iter().map(|d| d.task))
        .collect();
    for chunk in edit.upserts.chunks(INSERT_ROWS_MAX) {
        let names = Table::default().texts(chunk.iter().map(|upsert| upsert.spec.name.clone()));
        for mut row in tx.rows(&NAMED, &[("names", names.into())]).await? {
            if !moving.contains(&TaskId::from_i64(row.int("task")?)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

pub(super) async fn for_ids(
    tx: &mut Tx,
    statement: &Statement,
    ids: &[i64],
    at: Timestamp,
) -> Result<(), Failure> {
    for chunk in ids.chunks(INSERT_ROWS_MAX) {
        let args = [
            ("ids", Table::of(chunk.iter().copied()).into()),
            ("at", at.as_ms().into()),
        ];
        tx.write(statement, &args).await?;
    }
    Ok(())
}
