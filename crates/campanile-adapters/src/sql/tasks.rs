//! Changes of tasks: all of an edit or nothing. An edit begins by touching the leader row, as the leader's
//! own writes do: so both are serial, and what was read inside the transaction still holds when it writes.

use std::collections::{HashMap, HashSet};

use campanile_core::decide::edit::ahead::DueChange;
use campanile_core::id::TaskId;
use campanile_core::port::Written;
use campanile_core::port::edit::{Edit, Upsert};
use campanile_core::port::fire::DueKey;
use campanile_core::port::store::Error;
use campanile_core::task::Chain;
use campanile_schedule::time::Timestamp;

use crate::sql::ahead::Rests;
use crate::sql::connection::{Tx, Verdict};
use crate::sql::error::Failure;
use crate::sql::fire::INSERT_ROWS_MAX;
use crate::sql::labels;
use crate::sql::pauses::write_pauses;
use crate::sql::pen::EditTx;
use crate::sql::rows::to_json;
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::Table;

/// Deleted tasks are looked after until no run can wait for them.
static PUT_DELETIONS: Statement = Statement::new(
    "INSERT INTO campanile_deletion (task, at) SELECT i, :at FROM @ids(i int) AS v WHERE true ON CONFLICT (task) DO NOTHING",
);

/// Where tasks' due rows stand.
pub(super) static DUE_OF: Statement = Statement::new(
    "SELECT owner, at FROM campanile_due WHERE n = 0 AND owner IN (SELECT i FROM @ids(i int) AS v)",
);

/// Tasks as they are, living and deleted.
static AS_THEY_ARE: Statement = Statement::new(
    "SELECT id, version, live_name FROM campanile_task WHERE id IN (SELECT i FROM @ids(i int) AS v)",
);

/// Who has these names.
static NAMED: Statement = Statement::new(
    "SELECT id, live_name FROM campanile_task WHERE live_name IN (SELECT n FROM @names(n text) AS v)",
);

/// A deleted task keeps its row and gives its name free.
static DELETE: Statement = Statement::new(
    "UPDATE campanile_task SET live_name = NULL, deleted_at = :at, updated_at = :at, version = version + 1
     WHERE id IN (SELECT i FROM @ids(i int) AS v)",
);

/// Gives names free that move to other tasks in the same edit.
static UNNAME: Statement = Statement::new(
    "UPDATE campanile_task SET live_name = NULL WHERE id IN (SELECT i FROM @ids(i int) AS v)",
);

/// New tasks.
static INSERT: Statement = Statement::new(
    "INSERT INTO campanile_task (id, live_name, name, version, definition, created_at, updated_at, paused_from, owner)
     SELECT i, n, n, 1, d, :at, :at, f, o FROM @tasks(i int, n text, d text, f int, o text) AS v",
);

/// Changed tasks.
static UPDATE: Statement = Statement::new(
    "UPDATE campanile_task AS task SET live_name = v.n, name = v.n, version = task.version + 1, definition = v.d, updated_at = :at,
     paused_from = v.f, owner = v.o FROM @tasks(i int, n text, d text, f int, o text) AS v WHERE task.id = v.i",
);

/// Takes tasks' next occurrences away.
pub(super) static DROP_DUE: Statement = Statement::new(
    "DELETE FROM campanile_due WHERE n = 0 AND owner IN (SELECT i FROM @ids(i int) AS v)",
);

impl Store {
    /// The queues of what an edit puts.
    pub(super) async fn intern_of(&self, edit: &Edit) -> Result<(), Error> {
        let keys = edit.upserts.iter().filter_map(|upsert| match &upsert.due {
            DueChange::Replace { next, .. } => next.as_ref().map(|key| &key.queue),
            DueChange::Keep | DueChange::Pause { .. } => None,
        });
        let chained = edit.upserts.iter().filter(|u| Chain::of(&u.spec).is_some());
        let keys = keys.chain(chained.map(|u| &u.spec.queue));
        let moved = edit.moves.iter().filter_map(|m| m.next.as_ref());
        let skipped = edit.skipped.iter().map(|run| &run.queue);
        self.intern(keys.chain(moved.map(|key| &key.queue)).chain(skipped))
            .await
    }

    pub(super) async fn edit_in(
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
        labels::write(tx, edit).await?;
        write_pauses(tx, edit, &deleted).await?;
        let (chains, held) = self.write_chains(tx, edit, &deleted).await?;
        if chains && due_has_moved(tx, edit).await? {
            return Ok(Verdict::Rollback(Written::Stale));
        }
        self.move_due(tx, edit, deleted, &held).await?;
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
                        let from = rests.get(&u.id).copied().or(u.paused_from);
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

    async fn move_due(
        &self,
        tx: &mut Tx,
        edit: &Edit,
        deleted: Vec<i64>,
        held: &HashSet<i64>,
    ) -> Result<(), Failure> {
        let mut dropped = deleted;
        let mut put: Vec<DueKey> = Vec::new();
        for upsert in &edit.upserts {
            match &upsert.due {
                DueChange::Keep => {}
                DueChange::Pause { .. } => dropped.push(upsert.id.as_i64()),
                DueChange::Replace { next, .. } => {
                    dropped.extend(upsert.expected.map(|_| upsert.id.as_i64()));
                    // One whose run holds its chain goes on from its end.
                    let free = !held.contains(&upsert.id.as_i64());
                    put.extend(next.clone().filter(|_| free));
                }
            }
        }
        for_ids(tx, &DROP_DUE, &dropped, Timestamp::MIN).await?;
        self.put_due(tx, &put).await
    }
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
            DueChange::Replace { .. } | DueChange::Keep | DueChange::Pause { .. } => None,
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
