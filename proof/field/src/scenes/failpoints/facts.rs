//! What a scene of a failpoint asks the store, and what it leaves there for a leader to find. Knows tables, beside the book.

use campanile_core::id::RunId;

use crate::Outcome;
use crate::book::Book;

/// The row of history that is old enough to be pruned.
pub const OLD_RUN: i64 = 1;
/// What a clock that was ahead has left in history.
const AHEAD_RUN: i64 = 9_000_000_000_000_000_000;
/// Zone rules that are kept, and no move to them under way.
pub const ZONES_KEPT: &str =
    "SELECT COUNT(*) FROM campanile_setting WHERE name = 'zone_rules' AND value NOT LIKE 'moving%'";
/// What nobody can do, and waits for somebody who can.
pub const BLOCKED: &str = "SELECT COUNT(*) FROM campanile_blocked WHERE limit_key LIKE 'needs:%'";
/// The instant of the due rows of the tasks that are due long after the scene, or the later of the two.
pub const FAR_DUE: &str = "SELECT MAX(at) FROM campanile_due WHERE n = 0 AND owner IN \
    (SELECT id FROM campanile_task WHERE name IN ('far', 'ahead'))";

/// Whether the task that is due after the ends of its runs has had one that was due behind this moment.
pub fn went_on(since_ms: i64) -> String {
    format!(
        "SELECT COUNT(DISTINCT task) FROM campanile_run_history WHERE due_at > {since_ms} AND state = 4 AND origin = 1 AND task IN \
         (SELECT id FROM campanile_task WHERE name = 'next')"
    )
}

/// What is left behind: a permit of a run that ended, a row of history that is too old, a due row by other zone rules than
/// the program's, what a clock that was ahead has planned, a task that was deleted long ago and is still looked after, a run
/// whose end the store refuses, because history has its row already; and in the inbox one request twice and one that can't be.
const DISTURBANCES: [&str; 13] = [
    "INSERT INTO campanile_permit (limit_key, n, run) VALUES ('queue:ghost', 0, 1)",
    "INSERT INTO campanile_run_history (id, task, due_at, ready_at, epoch, finished_at, dedup, queue, attempt, failures, \
     losses, origin, priority, state, reason, cancel_requested) VALUES (1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 2, 4, 4, 0, 0)",
    "UPDATE campanile_due SET at = at + 600000 WHERE n = 0 AND owner = (SELECT id FROM campanile_task WHERE name = 'far')",
    "DELETE FROM campanile_setting WHERE name = 'zone_rules'",
    "INSERT INTO campanile_run_history (id, task, due_at, ready_at, epoch, finished_at, dedup, queue, attempt, failures, \
     losses, origin, priority, state, reason, cancel_requested, skipped_last, skipped_count) \
     SELECT 9000000000000000000, owner, at, at, 1, at, 0, queue, 1, 0, 0, 1, 4, 7, 6, 0, at, 1 FROM campanile_due \
     WHERE n = 0 AND owner = (SELECT id FROM campanile_task WHERE name = 'ahead')",
    "UPDATE campanile_due SET at = at + 3600000 WHERE n = 0 AND owner = (SELECT id FROM campanile_task WHERE name = 'ahead')",
    "INSERT INTO campanile_deletion (task, at) VALUES (1, 1)",
    "INSERT INTO campanile_run_history (id, task, due_at, ready_at, epoch, finished_at, dedup, queue, attempt, failures, \
     losses, origin, priority, state, reason, cancel_requested) SELECT id, task, due_at, ready_at, epoch, due_at, id, \
     queue, attempt, failures, losses, origin, priority, 4, 4, 0 FROM campanile_run \
     WHERE task = (SELECT id FROM campanile_task WHERE name = 'refused')",
    "UPDATE campanile_due SET at = 1 WHERE n = 1 AND owner = (SELECT run.id FROM campanile_run AS run JOIN campanile_task AS task ON task.id = run.task \
     WHERE name = 'refused')",
    "UPDATE campanile_run SET ready_at = 1 WHERE task = (SELECT id FROM campanile_task WHERE name = 'refused')",
    "INSERT INTO campanile_inbox (request) VALUES ('{\"task\": \"asked\", \"idempotency_key\": \"left\"}')",
    "INSERT INTO campanile_inbox (request) VALUES ('{\"task\": \"asked\", \"idempotency_key\": \"left\"}')",
    "INSERT INTO campanile_inbox (request) VALUES ('{\"task\": \"nobody\"}')",
];

/// Leaves behind what a leader must find and put right.
pub fn disturb(book: &Book) -> Outcome<()> {
    for statement in DISTURBANCES {
        let changed = book.rows(&format!("{statement} RETURNING 1"))?.len();
        if changed != 1 {
            return Err(format!("{changed} rows changed: {statement}").into());
        }
    }
    Ok(())
}

/// The run of what was left in the inbox: one of the two rows' run, the other one is its duplicate, the third is refused.
pub fn of_inbox(book: &Book) -> Outcome<RunId> {
    let became = book.rows("SELECT became FROM campanile_inbox_settled ORDER BY became")?;
    if became.concat() != ["1", "2", "4"] {
        let what =
            format!("rows of the inbox became {became:?}, not a run, a duplicate and a refusal");
        return Err(what.into());
    }
    let run = "SELECT MIN(run) FROM campanile_inbox_settled HAVING MIN(run) = MAX(run)";
    Ok(RunId::from_i64(book.number(run)?))
}

/// History, every column of it, but for what [`disturb`] leaves there to be removed or taken back.
pub fn ended(book: &Book) -> Outcome<Vec<String>> {
    let statement =
        format!("SELECT * FROM campanile_run_history WHERE id > {OLD_RUN} AND id < {AHEAD_RUN}");
    let rows = book.rows(&statement)?;
    Ok(rows.iter().map(|row| row.join("|")).collect())
}

/// How every live run stands, for whoever looks for the reason of a failure.
pub fn state(book: &Book) -> String {
    let runs = book.runs().unwrap_or_default();
    let told = runs.iter().filter(|run| run.live).map(|run| {
        let (row, due) = (&run.row, run.due_ms());
        let (id, state, attempt) = (row.id, row.state, row.attempt);
        format!("{id} {} at {due}: {state:?}, attempt {attempt}", run.task)
    });
    told.collect::<Vec<_>>().join("; ")
}
