//! Who paused which task, why and until when. A row goes with its pause, whoever ends that: in the same edit.

use campanile_core::port::edit::Edit;
use campanile_core::task::REASON_CHARS_MAX;
use campanile_schedule::time::Timestamp;

use crate::sql::connection::Tx;
use crate::sql::error::Failure;
use crate::sql::fire::INSERT_ROWS_MAX;
use crate::sql::rows::clean;
use crate::sql::statement::Statement;
use crate::sql::tasks::for_ids;
use crate::sql::value::Table;

/// Puts them.
static PUT: Statement = Statement::new(
    "INSERT INTO campanile_pause (task, by_whom, reason, since, until)
     SELECT i, b, r, s, u FROM @rows(i int, b text, r text, s int, u int) AS v WHERE true
     ON CONFLICT (task) DO UPDATE SET by_whom = excluded.by_whom, reason = excluded.reason, since = excluded.since,
     until = excluded.until",
);

/// Of tasks that are not paused any more.
static DROP: Statement =
    Statement::new("DELETE FROM campanile_pause WHERE task IN (SELECT i FROM @ids(i int) AS v)");

/// Whose end has come. A walk over what is paused.
pub(super) static OVER: Statement = Statement::new(
    "SELECT task, until FROM campanile_pause WHERE until <= :now ORDER BY until, task LIMIT :limit",
);

/// Writes what an edit says of pauses.
pub(super) async fn write_pauses(tx: &mut Tx, edit: &Edit, deleted: &[i64]) -> Result<(), Failure> {
    let gone = edit
        .upserts
        .iter()
        .filter(|u| u.expected.is_some() && !u.spec.paused);
    let gone = gone.map(|u| u.id.as_i64()).chain(deleted.iter().copied());
    for_ids(tx, &DROP, &gone.collect::<Vec<i64>>(), Timestamp::MIN).await?;
    for chunk in edit.pauses.chunks(INSERT_ROWS_MAX) {
        let pauses = chunk.iter().map(|(_, pause)| pause);
        let text = |text: &str| clean(text, REASON_CHARS_MAX * 4);
        let rows = Table::of(chunk.iter().map(|(id, _)| id.as_i64()))
            .texts(pauses.clone().map(|p| text(&p.by)))
            .texts(pauses.clone().map(|p| p.reason.as_deref().map(text)))
            .ints(pauses.clone().map(|p| p.since.as_ms()))
            .ints(pauses.map(|p| p.until.map(Timestamp::as_ms)));
        tx.write(&PUT, &[("rows", rows.into())]).await?;
    }
    Ok(())
}
