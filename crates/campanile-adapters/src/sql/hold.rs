//! The one hold of the cluster: columns of the leader row, set and ended by edits, so that every firing rests on them; and
//! of each member's row, which a claim reads and keeps in any case.

use campanile_core::decide::lead::hold::{Cause, Hold, WHY_CHARS_MAX};
use campanile_core::failpoint::{self, Failpoint};
use campanile_core::port::store::Error;
use campanile_schedule::time::Timestamp;

use crate::sql::connection::{Tx, Verdict};
use crate::sql::error::Failure;
use crate::sql::rows::clean;
use crate::sql::statement::Statement;
use crate::sql::value::Row;

/// Sets it, or with the cause 0 ends it.
static SET: Statement = Statement::new(
    "UPDATE campanile_leader SET hold_cause = :cause, hold_by = :by, hold_why = :why, hold_since = :since, hold_until = :until
     WHERE id = 1",
);

/// Ends the one whose end is this, if that has come.
pub(super) static END: Statement = Statement::new(
    "UPDATE campanile_leader SET hold_cause = 0, hold_by = '', hold_why = '', hold_since = 0, hold_until = 0
     WHERE id = 1 AND hold_cause <> 0 AND hold_until = :until AND hold_until <= @now",
);

/// The members, each kept from every claim: those that are under way are waited for, later ones wait.
static MEMBERS: Statement =
    Statement::new("SELECT id FROM campanile_node AS node ORDER BY id @lock");

/// What claims ask.
static MARK: Statement = Statement::new("UPDATE campanile_node SET held = :held");

/// Whether the cluster is held.
pub(super) static IS_HELD: Statement =
    Statement::new("SELECT 1 FROM campanile_leader WHERE id = 1 AND hold_cause <> 0");

/// Reads `hold_cause, hold_by, hold_why, hold_since, hold_until`.
pub(super) fn hold_of(row: &mut Row) -> Result<Option<Hold>, Error> {
    const TABLE: &str = "leader";
    let cause = Cause::from_i64(row.int(TABLE)?);
    let (by, why) = (row.text(TABLE)?, row.text(TABLE)?);
    let (since, until) = (row.int(TABLE)?, row.int(TABLE)?);
    Ok(cause.map(|cause| Hold {
        cause,
        by,
        why,
        since: Timestamp::from_ms(since),
        until: (until != 0).then_some(Timestamp::from_ms(until)),
    }))
}

pub(super) async fn set(tx: &mut Tx, hold: Option<&Hold>) -> Result<Verdict<()>, Failure> {
    let text = |text: Option<&String>| clean(text.map_or("", String::as_str), WHY_CHARS_MAX * 4);
    let ms = |at: Option<Timestamp>| at.map_or(0, Timestamp::as_ms);
    let args = [
        ("cause", hold.map_or(0, |h| h.cause.as_i64()).into()),
        ("by", text(hold.map(|h| &h.by)).as_str().into()),
        ("why", text(hold.map(|h| &h.why)).as_str().into()),
        ("since", ms(hold.map(|h| h.since)).into()),
        ("until", ms(hold.and_then(|h| h.until)).into()),
    ];
    tx.write(&SET, &args).await?;
    failpoint::reach(Failpoint::HoldSet);
    mark(tx, hold.is_some()).await?;
    Ok(Verdict::Commit(()))
}

pub(super) async fn mark(tx: &mut Tx, held: bool) -> Result<(), Failure> {
    tx.rows(&MEMBERS, &[]).await?;
    tx.write(&MARK, &[("held", i64::from(held).into())]).await?;
    Ok(())
}
