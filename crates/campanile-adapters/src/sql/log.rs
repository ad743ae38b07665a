//! What attempts write: kept chunk by chunk while they run, under the guard of their claims, and with their ends. Of two chunks
//! that begin at one place the longer one stays, so that it matters to nobody how often and in which order they arrive.
//!
//! An append holds no run: it is as of the moment at which its statement looked, and it touches nothing that an end, an eviction
//! or another attempt reads or writes. So nobody waits for it.

use std::collections::HashSet;

use campanile_core::id::RunId;
use campanile_core::port::attempt::{Append, Chunk, Chunks};

use crate::sql::connection::{Tx, Verdict};
use crate::sql::ends::Ending;
use crate::sql::error::Failure;
use crate::sql::statement::Statement;
use crate::sql::value::Table;

macro_rules! longer_stays {
    () => {
        " ON CONFLICT (run, attempt, at) DO UPDATE SET
         text = CASE WHEN excluded.until > chunk.until THEN excluded.text ELSE chunk.text END,
         until = CASE WHEN excluded.until > chunk.until THEN excluded.until ELSE chunk.until END"
    };
}

/// Keeps chunks of attempts that run under their claims, and answers of which.
static APPEND_CHUNKS: Statement = Statement::new(concat!(
    "INSERT INTO campanile_run_chunk AS chunk (run, attempt, at, until, text)
     SELECT v.r, v.a, v.p, v.u, v.t FROM @rows(r int, a int, c int, p int, u int, t text) AS v
     @with campanile_run AS run @on run.id = v.r AND run.attempt = v.a AND run.state = 3 AND run.claim = v.c",
    longer_stays!(),
    " RETURNING run, attempt"
));

/// Keeps chunks of attempts whose ends are recorded with them.
static PUT_CHUNKS: Statement = Statement::new(concat!(
    "INSERT INTO campanile_run_chunk AS chunk (run, attempt, at, until, text)
     SELECT r, a, p, u, t FROM @rows(r int, a int, p int, u int, t text) AS v WHERE true",
    longer_stays!(),
));

/// Lets chunks go that begin in these places.
static DROP_CHUNKS: Statement = Statement::differs(
    "DELETE FROM campanile_run_chunk WHERE rowid IN (SELECT chunk.rowid
     FROM @rows(r int, a int, f int, u int) AS v CROSS JOIN campanile_run_chunk AS chunk
     WHERE chunk.run = v.r AND chunk.attempt = v.a AND chunk.at >= v.f AND chunk.at < v.u)",
    "DELETE FROM campanile_run_chunk AS chunk USING @rows(r int, a int, f int, u int) AS v
     WHERE chunk.run = v.r AND chunk.attempt = v.a AND chunk.at >= v.f AND chunk.at < v.u",
);

pub(super) fn position(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

/// One chunk of an attempt's.
type Placed<'a> = (RunId, u32, &'a Chunk);

fn until(chunk: &Chunk) -> i64 {
    position(chunk.at).saturating_add(i64::try_from(chunk.text.len()).unwrap_or(i64::MAX))
}

fn text(chunk: &Chunk) -> String {
    // The worker has replaced them already, before it counted.
    chunk.text.replace('\0', "\u{fffd}")
}

/// Puts chunks of attempts whose ends this transaction records.
pub(super) async fn put(
    tx: &mut Tx,
    endings: impl Iterator<Item = &Ending> + Send,
) -> Result<(), Failure> {
    let logs: Vec<(RunId, u32, &Chunks)> = endings
        .filter_map(|e| Some((e.run, e.attempt?, e.log.as_ref()?)))
        .collect();
    let placed: Vec<Placed<'_>> = logs
        .iter()
        .flat_map(|(run, attempt, log)| log.put.iter().map(|chunk| (*run, *attempt, chunk)))
        .collect();
    if !placed.is_empty() {
        let table = Table::of(placed.iter().map(|(run, ..)| run.as_i64()))
            .ints(placed.iter().map(|(_, attempt, _)| i64::from(*attempt)))
            .ints(placed.iter().map(|(.., chunk)| position(chunk.at)))
            .ints(placed.iter().map(|(.., chunk)| until(chunk)))
            .texts(placed.iter().map(|(.., chunk)| text(chunk)));
        tx.write(&PUT_CHUNKS, &[("rows", table.into())]).await?;
    }
    drop_chunks(tx, logs.into_iter()).await
}

async fn drop_chunks(
    tx: &mut Tx,
    logs: impl Iterator<Item = (RunId, u32, &Chunks)> + Send,
) -> Result<(), Failure> {
    let gone: Vec<_> = logs
        .filter_map(|(run, attempt, log)| Some((run, attempt, log.gone.as_ref()?)))
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    let table = Table::of(gone.iter().map(|(run, ..)| run.as_i64()))
        .ints(gone.iter().map(|(_, attempt, _)| i64::from(*attempt)))
        .ints(gone.iter().map(|(.., places)| position(places.start)))
        .ints(gone.iter().map(|(.., places)| position(places.end)));
    tx.write(&DROP_CHUNKS, &[("rows", table.into())]).await?;
    Ok(())
}

pub(super) async fn append_in(
    tx: &mut Tx,
    logs: &[Append],
) -> Result<Verdict<HashSet<(i64, i64)>>, Failure> {
    let placed: Vec<(&Append, &Chunk)> = logs
        .iter()
        .flat_map(|log| log.chunks.put.iter().map(move |chunk| (log, chunk)))
        .collect();
    let table = Table::of(placed.iter().map(|(log, _)| log.run.as_i64()))
        .ints(placed.iter().map(|(log, _)| i64::from(log.attempt)))
        .ints(placed.iter().map(|(log, _)| log.claim.as_i64()))
        .ints(placed.iter().map(|(_, chunk)| position(chunk.at)))
        .ints(placed.iter().map(|(_, chunk)| until(chunk)))
        .texts(placed.iter().map(|(_, chunk)| text(chunk)));
    let mut held = HashSet::new();
    for mut row in tx.rows(&APPEND_CHUNKS, &[("rows", table.into())]).await? {
        held.insert((row.int("run_chunk")?, row.int("run_chunk")?));
    }
    let kept = logs.iter().filter(|log| held.contains(&key(log)));
    let kept = kept.map(|log| (log.run, log.attempt, &log.chunks));
    drop_chunks(tx, kept).await?;
    Ok(Verdict::Commit(held))
}

pub(super) fn key(log: &Append) -> (i64, i64) {
    (log.run.as_i64(), i64::from(log.attempt))
}
