//! How a run goes on: back to wait for its next attempt, with its timer, under the guard of its claim. What becomes of its
//! instants and its start deadline is [`campanile_core::decide::attempt::finish`]'s; ends are in [`crate::sql::ends`].

use campanile_core::failpoint::{self, Failpoint};

use crate::sql::connection::Tx;
use crate::sql::ends::{Applied, Ending, NOTE_LIVE, Outcome, PUT_TIMERS, note, remove_timers};
use crate::sql::error::Failure;
use crate::sql::permits::release;
use crate::sql::statement::Statement;
use crate::sql::value::Table;

/// Which of these attempts run under their claims, or (for a claim in doubt) wait, held until the transaction ends.
static HOLD: Statement = Statement::new(
    "SELECT v.i, run.queue, run.limited, run.deadline_at, run.failures + run.losses, run.due_at FROM @runs(i int, r int, a int, c int, w int) AS v @with campanile_run AS run @on run.id = v.r
     AND run.attempt = v.a AND ((run.state = 3 AND run.claim = v.c) OR (v.w = 1 AND run.state IN (1, 2))) @lock_run",
);

/// Puts held runs back to wait for their next attempt. One that has started has met its deadline; one whose attempts so
/// far were refused or abandoned has not started.
static REQUEUE: Statement = Statement::new(
    "UPDATE campanile_run AS run SET state = 1, attempt = run.attempt + 1, ready_at = v.r, failures = run.failures + v.f,
     losses = run.losses + v.l, claim = NULL, queued_at = NULL, error = COALESCE(v.note, run.error),
     deadline_at = CASE WHEN v.s = 1 THEN NULL ELSE run.deadline_at END,
     started_at = CASE WHEN v.s = 0 AND run.failures + run.losses = 0 THEN NULL ELSE run.started_at END
     FROM @runs(i int, r int, f int, l int, s int, note text) AS v WHERE run.id = v.i",
);

/// Puts runs back to wait, with their timers.
pub(super) async fn requeue(tx: &mut Tx, endings: &[&Ending]) -> Result<Applied, Failure> {
    if endings.is_empty() {
        return Ok(Applied::new());
    }
    let table = Table::of(0..i64::try_from(endings.len()).unwrap_or(0))
        .ints(endings.iter().map(|e| e.run.as_i64()))
        .ints(endings.iter().map(|e| e.attempt.map(i64::from)))
        .ints(endings.iter().map(|e| e.claim))
        .ints(
            endings
                .iter()
                .map(|e| i64::from(matches!(e.outcome, Outcome::Abandoned { .. }))),
        );
    let mut held: Vec<Held<'_>> = Vec::new();
    let mut limited = Vec::new();
    for mut row in tx.rows(&HOLD, &[("runs", table.into())]).await? {
        let at = usize::try_from(row.int("run")?).unwrap_or(usize::MAX);
        let (queue, is_limited) = (row.int("run")?, row.int("run")? != 0);
        let (deadline, ended_before) = (row.opt_int("run")?, row.int("run")? > 0);
        let Some(ending) = endings.get(at) else {
            continue;
        };
        held.push(Held {
            ending,
            queue,
            ready: ending.ready().max(row.int("run")?),
            deadline,
            binds: !ending.outcome.has_started() && !ended_before,
        });
        limited.extend(is_limited.then_some(ending.run.as_i64()));
    }
    if held.is_empty() {
        return Ok(Applied::new());
    }
    note(tx, &NOTE_LIVE, held.iter().map(|h| h.ending)).await?;
    let table = Table::of(held.iter().map(|h| h.ending.run.as_i64()))
        .ints(held.iter().map(|h| h.ready))
        .ints(held.iter().map(|h| h.ending.counts().0))
        .ints(held.iter().map(|h| h.ending.counts().1))
        .ints(
            held.iter()
                .map(|h| i64::from(h.ending.outcome.has_started())),
        )
        .texts(held.iter().map(|h| h.ending.error.clone()));
    tx.write(&REQUEUE, &[("runs", table.into())]).await?;
    // Deadlines that were met need no timer: one that is found later would be taken for a start.
    let met = held.iter().filter(|h| h.ending.outcome.has_started());
    let met = met.filter_map(|h| Some((h.queue, h.deadline?, h.ending.run.as_i64())));
    remove_timers(tx, &met.collect::<Vec<_>>()).await?;
    let timers = Table::of(held.iter().map(|h| h.queue))
        .ints(held.iter().map(Held::look_at))
        .ints(held.iter().map(|h| h.ending.run.as_i64()));
    tx.write(&PUT_TIMERS, &[("rows", timers.into())]).await?;
    failpoint::reach(Failpoint::RequeuePut);
    release(tx, &limited, false).await?;
    Ok(held.iter().map(|h| h.ending.key()).collect())
}

/// A run that is put back to wait.
struct Held<'e> {
    ending: &'e Ending,
    queue: i64,
    /// When it may start again: not before its instant, though the clock went back since it started.
    ready: i64,
    /// Until when it had to start.
    deadline: Option<i64>,
    /// Whether it still has to: it has not started yet.
    binds: bool,
}

impl Held<'_> {
    /// When the leader has to look at it: [`campanile_core::decide::attempt::look_at`].
    fn look_at(&self) -> i64 {
        let deadline = self.deadline.filter(|_| self.binds);
        deadline.map_or(self.ready, |t| t.min(self.ready))
    }
}
