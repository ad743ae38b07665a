//! How runs go into history on MariaDB: they are looked at and locked, copied, and removed, in steps of one transaction.

use crate::sql::ends::{as_expected, ended_columns, ends, history_columns};
use crate::sql::plain::{ended_well, is_well, well_ranges};

macro_rules! ending {
    () => {
        concat!(
            " FROM ",
            ends!(),
            " STRAIGHT_JOIN campanile_run AS run ON ",
            as_expected!()
        )
    };
}
/// By the primary key, however small the table is: a walk over all of it would wait for rows that others hold.
macro_rules! ending_well {
    () => {
        concat!(
            " FROM ",
            well_ranges!(),
            " STRAIGHT_JOIN campanile_run AS run FORCE INDEX (PRIMARY) ON ",
            is_well!()
        )
    };
}

/// Moves runs into history, each under the guard of its end, and answers which.
pub(in crate::sql) const END: &[&str] = &[
    concat!(
        "SELECT run.id, run.attempt, run.claim, run.limited, run.task, run.due_at",
        ending!(),
        " FOR UPDATE"
    ),
    concat!(
        "INSERT INTO campanile_run_history (",
        history_columns!(),
        ") SELECT ",
        ended_columns!(),
        ending!()
    ),
    concat!("DELETE run", ending!()),
];

/// The same of runs that ended well. Instants stand in a text of 20 digits each.
pub(in crate::sql) const END_WELL: &[&str] = &[
    concat!(
        "INSERT INTO campanile_run_history (",
        history_columns!(),
        ") SELECT ",
        ended_well!(
            "CAST(SUBSTR(:at, (e.o + run.id - e.lo) * 20 + 1, 20) AS SIGNED)",
            "CAST(NULL AS CHAR)"
        ),
        ending_well!(),
        " FOR UPDATE"
    ),
    concat!("DELETE run", ending_well!()),
];
