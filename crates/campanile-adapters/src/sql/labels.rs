//! Labels of tasks: written with the task, and the pages of those that have some. Labels are asked for by index; what a
//! label may be is the task's own business.

use campanile_core::port::ask::TaskFilter;
use campanile_core::port::edit::{Edit, Upsert};

use crate::sql::connection::Tx;
use crate::sql::dialect::Dialect;
use crate::sql::error::Failure;
use crate::sql::fire::INSERT_ROWS_MAX;
use crate::sql::statement::{Statement, Text};
use crate::sql::value::{Arg, Table};

/// Takes tasks' labels away.
static DROP: Statement = Statement::new(
    "DELETE FROM campanile_task_label WHERE task IN (SELECT i FROM @ids(i int) AS v)",
);

/// Gives tasks their labels. What an older program that knows no labels left behind of a name is taken over.
static PUT: Statement = Statement::new(
    "INSERT INTO campanile_task_label (label, name, task) SELECT l, n, i FROM @rows(i int, l text, n text) AS v WHERE true
     ON CONFLICT (label, name) DO UPDATE SET task = excluded.task",
);

/// Makes the labels of the edit's tasks be as their definitions say.
pub(super) async fn write(tx: &mut Tx, edit: &Edit) -> Result<(), Failure> {
    let known = |upsert: &&Upsert| upsert.expected.is_some();
    let changed = edit.upserts.iter().filter(known).map(|u| u.id.as_i64());
    let old: Vec<i64> = changed
        .chain(edit.deletes.iter().map(|d| d.task.as_i64()))
        .collect();
    for chunk in old.chunks(INSERT_ROWS_MAX) {
        let ids = Table::of(chunk.iter().copied());
        tx.write(&DROP, &[("ids", ids.into())]).await?;
    }
    let labelled = edit.upserts.iter().flat_map(|upsert| {
        let labels = upsert.spec.labels.iter();
        labels.map(move |(key, value)| (upsert, format!("{key}={value}")))
    });
    let rows: Vec<(&Upsert, String)> = labelled.collect();
    for chunk in rows.chunks(INSERT_ROWS_MAX) {
        let table = Table::of(chunk.iter().map(|(upsert, _)| upsert.id.as_i64()))
            .texts(chunk.iter().map(|(_, label)| label.clone()))
            .texts(chunk.iter().map(|(upsert, _)| upsert.spec.name.clone()));
        tx.write(&PUT, &[("rows", table.into())]).await?;
    }
    Ok(())
}

/// A page of the tasks that have all of the filter's labels: a walk over the first one's, which looks each of the others
/// up. `None` where the filter names no label.
pub(super) fn page(
    filter: &TaskFilter,
    dialect: Dialect,
) -> Option<(Text, Vec<(&'static str, Arg)>)> {
    let (first, others) = filter.labels.split_first()?;
    let mut sql = "SELECT task.id, task.version, task.definition, task.created_at, task.updated_at, task.paused_from
         FROM campanile_task_label AS first_label JOIN campanile_task AS task ON task.id = first_label.task
         WHERE first_label.label = :label AND first_label.name > :after AND task.live_name = first_label.name"
        .to_owned();
    let mut args = vec![("label", first.to_string().as_str().into())];
    if !others.is_empty() {
        sql.push_str(
            " AND NOT EXISTS (SELECT 1 FROM @others(l text) AS v WHERE NOT EXISTS (
                SELECT 1 FROM campanile_task_label AS other WHERE other.label = v.l AND other.name = first_label.name))",
        );
        let texts = Table::default().texts(others.iter().map(ToString::to_string));
        args.push(("others", texts.into()));
    }
    if let Some(owner) = &filter.owner {
        sql.push_str(" AND task.owner = :owner");
        args.push(("owner", owner.as_str().into()));
    }
    sql.push_str(" ORDER BY first_label.name LIMIT :limit");
    Some((Text::render(&sql, dialect), args))
}
