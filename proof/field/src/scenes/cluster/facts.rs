//! What the faults ask the store while they are at work: who leads, what a leader has open, what runs where. Reads only.

use campanile_core::run::State;

use crate::Outcome;
use crate::book::{Book, cell};

const LEADER: &str = "SELECT epoch, node_name, COALESCE(since, 0) FROM campanile_leader";
/// A transaction of a node that has written the leader row and is open: its backend, its state.
const OPEN: &str = "SELECT a.pid, a.state FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid \
    WHERE l.locktype = 'relation' AND l.relation = 'campanile_leader'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    pub epoch: i64,
    pub node: String,
    /// When the term began, by the store's clock.
    pub since_ms: i64,
}

/// A transaction of a leader in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// The server's process that serves it.
    pub backend: i64,
    /// Whether the server waits for the node's next word.
    pub idle: bool,
}

/// Who leads, or led last.
pub fn leader(book: &Book) -> Outcome<Leader> {
    let row = book.rows(LEADER)?.into_iter().next();
    let row = row.ok_or("the leader row is gone")?;
    Ok(Leader {
        epoch: cell(&row, 0)?,
        node: row[1].clone(),
        since_ms: cell(&row, 2)?,
    })
}

/// A transaction of this node that has written the leader row and has not ended.
pub fn open_leader_write(book: &Book, node: &str) -> Outcome<Option<Open>> {
    let statement = format!("{OPEN} AND a.application_name = 'campanile:{node}'");
    let rows = book.rows(&statement)?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(Open {
        backend: cell(row, 0)?,
        idle: row[1].starts_with("idle in transaction"),
    }))
}

/// Whether a process of the server still serves somebody.
pub fn backend_lives(book: &Book, backend: i64) -> Outcome<bool> {
    let count = format!("SELECT COUNT(*) FROM pg_stat_activity WHERE pid = {backend}");
    Ok(book.number(&count)? > 0)
}

/// The ids under which a node of this name is a member.
pub fn node_ids(book: &Book, name: &str) -> Outcome<Vec<i64>> {
    let rows = book.rows(&format!(
        "SELECT id FROM campanile_node WHERE name = '{name}'"
    ))?;
    rows.iter().map(|row| cell(row, 0)).collect()
}

/// How many runs a node holds.
pub fn running_on(book: &Book, node: i64) -> Outcome<i64> {
    let running = State::Running.as_i64();
    book.number(&format!(
        "SELECT COUNT(*) FROM campanile_run WHERE state = {running} AND worker = {node}"
    ))
}

/// Runs that were due by `until_ms` and nobody has claimed.
pub fn unclaimed(book: &Book, until_ms: i64) -> Outcome<i64> {
    let running = State::Running.as_i64();
    book.number(&format!(
        "SELECT COUNT(*) FROM campanile_run WHERE due_at <= {until_ms} AND state < {running}"
    ))
}

/// The runs that a term fired, by id.
pub fn fired_in(book: &Book, epoch: i64) -> Outcome<Vec<i64>> {
    let rows = book.rows(&format!(
        "SELECT id FROM campanile_run WHERE epoch = {epoch} UNION SELECT id FROM campanile_run_history WHERE epoch = {epoch} ORDER BY id"
    ))?;
    rows.iter().map(|row| cell(row, 0)).collect()
}
