//! How runs end, and the one way into history: by a worker, by the leader for a worker that died, by a hand-over, by a
//! cancel. Each end is guarded by what the run must be; what doesn't match is answered as stale.

use std::collections::{HashMap, HashSet};

use campanile_access::audit::Deed;
use campanile_core::actor::Actor;
use campanile_core::decide::attempt::counts_as_failure;
use campanile_core::failpoint::{self, Around, Failpoint};
use campanile_core::id::RunId;
use campanile_core::port::Written;
use campanile_core::port::attempt::{Chunks, End, Finish};
use campanile_core::port::lead::Term;
use campanile_core::port::store::Error;
use campanile_core::run::{Reason, State};

use crate::sql::chains::Held;
use crate::sql::connection::{Tx, Verdict};
use crate::sql::dialect::Dialect;
use crate::sql::error::Failure;
use crate::sql::log;
use crate::sql::mariadb;
use crate::sql::pen::{Footing, LeaderTx, Record, as_editor, as_leader};
use crate::sql::requeue::requeue;
use crate::sql::rows::clean_error;
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::Table;

/// What history keeps of a run that ends, from its live row and its end.
macro_rules! ended_columns {
    () => {
        "run.id, run.task, run.due_at, run.ready_at, run.epoch, run.queued_at,
         CASE WHEN e.handed = 1 THEN e.at ELSE run.started_at END AS started_at,
         run.worker, run.claim, e.at AS finished_at,
         CASE WHEN run.origin = 1 AND :twice = 0 THEN 0 ELSE run.id END AS dedup,
         run.queue, run.attempt, run.failures + e.failed AS failures, run.losses + e.lost AS losses, run.origin, run.priority,
         e.state, CASE WHEN e.reason = 5 AND run.cancel_requested = 2 THEN 18 ELSE e.reason END AS reason,
         run.cancel_requested,
         CASE WHEN e.state = 4 AND e.handed = 0 THEN NULL ELSE COALESCE(e.note, run.error) END AS error,
         run.submitter"
    };
}
macro_rules! history_columns {
    () => {
        "id, task, due_at, ready_at, epoch, queued_at, started_at, worker, claim, finished_at, dedup, queue, attempt,
         failures, losses, origin, priority, state, reason, cancel_requested, error, submitter"
    };
}
macro_rules! ends {
    () => {
        "@ends(id int, attempt int, claim int, state int, reason int, at int, failed int, lost int, handed int, note text) AS e"
    };
}
/// A run that is running under this claim; or, for an end without a claim, one that waits.
macro_rules! as_expected {
    () => {
        "run.id = e.id AND (e.attempt IS NULL OR run.attempt = e.attempt)
         AND ((e.claim IS NULL AND run.state IN (1, 2)) OR (run.state = 3 AND run.claim = e.claim))"
    };
}
pub(super) use {as_expected, ended_columns, ends, history_columns};

/// Moves runs into history, each under the guard of its end, and answers which.
static END: Statement = Statement::differs(
    concat!(
        "INSERT INTO campanile_run_history (",
        history_columns!(),
        ")
         SELECT ",
        ended_columns!(),
        " FROM ",
        ends!(),
        " CROSS JOIN campanile_run AS run WHERE ",
        as_expected!(),
        "
         RETURNING id, attempt, claim"
    ),
    concat!(
        "WITH gone AS (DELETE FROM campanile_run AS run USING ",
        ends!(),
        " WHERE ",
        as_expected!(),
        " RETURNING ",
        ended_columns!(),
        ", run.limited), kept AS (INSERT INTO campanile_run_history (",
        history_columns!(),
        ") SELECT ",
        history_columns!(),
        " FROM gone)
         SELECT id, attempt, claim, limited, task, due_at FROM gone"
    ),
)
.on_mariadb(mariadb::ends::END);

/// Removes what was just copied into history, where moving takes two statements.
static REMOVE: Statement =
    Statement::new("DELETE FROM campanile_run WHERE id IN (SELECT id FROM @runs(id int) AS v)");

/// Which of the runs that were just copied need permits or hold chains, where moving takes two statements.
static LIMITED: Statement = Statement::new(
    "SELECT id, limited, task, due_at FROM campanile_run WHERE id IN (SELECT id FROM @runs(id int) AS v) AND limited <> 0",
);

/// The timers of those attempts. One that is there already, for the same run at the same instant, serves as well.
pub(super) static PUT_TIMERS: Statement = Statement::new(
    "INSERT INTO campanile_due (queue, at, owner, n) SELECT q, t, o, 1 FROM @rows(q int, t int, o int) AS v
     WHERE true ON CONFLICT (queue, at, owner, n) DO NOTHING",
);

/// Takes timers away.
static DROP_TIMERS: Statement = Statement::new(
    "DELETE FROM campanile_due WHERE n = 1 AND (queue, at, owner) IN (SELECT q, t, o FROM @rows(q int, t int, o int) AS v)",
);

/// Attempts that ended other than well, of runs that go on.
pub(super) static NOTE_LIVE: Statement = Statement::new(
    "INSERT INTO campanile_run_attempt (run, attempt, worker, started_at, finished_at, reason, error, class)
     SELECT run.id, run.attempt, run.worker, run.started_at, v.t, v.why, v.note, v.class
     FROM @rows(r int, t int, why int, note text, class text) AS v @with campanile_run AS run @on run.id = v.r",
);

/// The same, of runs that just went into history.
static NOTE_ENDED: Statement = Statement::new(
    "INSERT INTO campanile_run_attempt (run, attempt, worker, started_at, finished_at, reason, error, class)
     SELECT h.id, h.attempt, h.worker, h.started_at, v.t, v.why, v.note, v.class
     FROM @rows(r int, t int, why int, note text, class text) AS v @with campanile_run_history AS h @on h.id = v.r",
);

/// What attempts returned. How far they said that they were may be there already.
static RESULT: Statement = Statement::new(
    "INSERT INTO campanile_run_log (run, attempt, text, result) SELECT r, a, '', j FROM @rows(r int, a int, j text) AS v
     WHERE true ON CONFLICT (run, attempt) DO UPDATE SET result = excluded.result",
);

/// One end to record. With a claim it needs the run to be running under it, without one it needs the run to wait.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) run: RunId,
    pub(super) attempt: Option<u32>,
    pub(super) claim: Option<i64>,
    pub(super) at: i64,
    pub(super) outcome: Outcome,
    pub(super) error: Option<String>,
    pub(super) class: Option<String>,
    pub(super) log: Option<Chunks>,
    pub(super) result: Option<String>,
    /// Its queue's number and its instant, if its timer is to go with it. One that stays is consumed at its instant and
    /// fires nothing.
    pub(super) timer: Option<(i64, i64)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    Over(State, Reason),
    Again { ready_at: i64, why: Reason },
    Refused { ready_at: i64 },
    Abandoned { ready_at: i64 },
}

impl Outcome {
    /// Whether the attempt that ended so was started.
    pub(super) const fn has_started(self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::Abandoned { .. })
    }
}

impl From<&Finish> for Ending {
    fn from(finish: &Finish) -> Self {
        Self {
            run: finish.run,
            attempt: Some(finish.attempt),
            claim: Some(finish.claim.as_i64()),
            at: finish.at.as_ms(),
            outcome: match finish.end {
                End::Succeeded => Outcome::Over(State::Succeeded, Reason::None),
                End::Failed(reason) => Outcome::Over(State::Failed, reason),
                End::Cancelled(reason) => Outcome::Over(State::Cancelled, reason),
                End::Again { ready_at, why } => Outcome::Again {
                    ready_at: ready_at.as_ms(),
                    why,
                },
                End::Refused { ready_at } => Outcome::Refused {
                    ready_at: ready_at.as_ms(),
                },
                End::Abandoned { ready_at } => Outcome::Abandoned {
                    ready_at: ready_at.as_ms(),
                },
            },
            error: finish.error.as_deref().map(clean_error),
            class: finish.class.as_ref().map(ToString::to_string),
            log: finish.log.clone(),
            result: finish.result.clone(),
            timer: None,
        }
    }
}

impl Ending {
    pub(super) fn key(&self) -> (RunId, Option<u32>, Option<i64>) {
        (self.run, self.attempt, self.claim)
    }

    /// When its run may start again.
    pub(super) const fn ready(&self) -> i64 {
        match self.outcome {
            Outcome::Again { ready_at, .. }
            | Outcome::Refused { ready_at }
            | Outcome::Abandoned { ready_at } => ready_at,
            Outcome::Over(..) => self.at,
        }
    }

    /// Why the attempt counts as ended other than well.
    const fn note(&self) -> Option<Reason> {
        match self.outcome {
            Outcome::Over(State::Failed, why) => Some(why),
            Outcome::Again {
                why: Reason::None, ..
            }
            | Outcome::Abandoned { .. }
            | Outcome::Over(..) => None,
            Outcome::Again { why, .. } => Some(why),
            Outcome::Refused { .. } => Some(Reason::NotAllowed),
        }
    }

    /// What it adds to failures and to losses. A refusal adds to neither: nothing was started.
    pub(super) fn counts(&self) -> (i64, i64) {
        if matches!(self.outcome, Outcome::Refused { .. }) {
            return (0, 0);
        }
        self.note().map_or((0, 0), |why| {
            (
                i64::from(counts_as_failure(why)),
                i64::from(why == Reason::Lost),
            )
        })
    }
}

/// Deleted tasks of which these runs wait are looked after again: while they ran, it may have been forgotten.
static LOOK_AFTER: Statement = Statement::new(
    "INSERT INTO campanile_deletion (task, at) SELECT DISTINCT run.task, :at FROM campanile_run AS run
     WHERE run.id IN (SELECT r FROM @runs(r int) AS v) AND run.state IN (1, 2) AND run.task <> 0
     AND NOT EXISTS (SELECT 1 FROM campanile_task AS task WHERE task.id = run.task AND task.live_name IS NOT NULL)
     ON CONFLICT (task) DO UPDATE SET at = excluded.at",
);

/// Whose ends are recorded.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hand<'a> {
    /// The leader's, under the fence.
    Leader(&'a Term),
    /// A worker's, under the claims that the ends name.
    Worker,
    /// A person's.
    Person(&'a Actor),
}

impl Store {
    /// Records ends; `None` if they are a leader's whose term is over. An end of an occurrence whose run is in history
    /// already is refused with its batch; asked for alone, it is recorded beside the first, with an error in the log.
    pub(super) async fn record(
        &self,
        around: &Around,
        hand: Hand<'_>,
        endings: &[Ending],
    ) -> Result<Option<Vec<Written>>, Error> {
        let answer = self.record_at_once(around, hand, endings, false).await;
        let ([ending], true) = (endings, answer.as_ref().is_err_and(is_second_run)) else {
            return answer;
        };
        let twice = self.record_at_once(around, hand, endings, true).await;
        if twice.is_ok() {
            tracing::error!(run = %ending.run, "run {} is the second of its occurrence: recorded beside the first", ending.run);
        }
        twice
    }

    async fn record_at_once(
        &self,
        around: &Around,
        hand: Hand<'_>,
        endings: &[Ending],
        twice: bool,
    ) -> Result<Option<Vec<Written>>, Error> {
        // Of equal ends the first one counts. In the order of ids, so that rows are always locked in one order.
        let mut seen = HashSet::with_capacity(endings.len());
        let mut distinct: Vec<&Ending> = endings.iter().filter(|e| seen.insert(e.key())).collect();
        distinct.sort_by_key(|e| e.run);
        let applied = match hand {
            Hand::Leader(term) => {
                let footing = Footing::TERM;
                as_leader!(around, self, term, footing, tx => record_lost_in(tx, &distinct, twice))?
                    .unless_fenced()
            }
            Hand::Worker => Some(self.record_of_worker(around, &distinct, twice).await?),
            Hand::Person(actor) => {
                let deed = || on_runs(&distinct);
                let record = Record::act(actor, deed);
                as_editor!(around, self, &record, None, tx => async {
                    Ok(match record_in(tx, &distinct, twice).await? {
                        Verdict::Commit(none) if none.is_empty() => Verdict::Rollback(none),
                        verdict => verdict,
                    })
                })?
            }
        };
        let Some(mut applied) = applied else {
            return Ok(None);
        };
        let answers = endings.iter().map(|e| {
            if applied.remove(&e.key()) {
                Written::Applied
            } else {
                Written::Stale
            }
        });
        Ok(Some(answers.collect()))
    }
}

fn on_runs(endings: &[&Ending]) -> Deed {
    let name = endings.first().map(|e| e.run.to_string());
    Deed::new("run.cancel", "run", &name.unwrap_or_default())
}

/// Whether an error says that history has an answer for this occurrence already.
pub(super) fn is_second_run(error: &Error) -> bool {
    use std::error::Error as _;
    error
        .source()
        .and_then(|cause| cause.downcast_ref::<sqlx::Error>())
        .and_then(sqlx::Error::as_database_error)
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

pub(super) type Applied = HashSet<(RunId, Option<u32>, Option<i64>)>;

/// The same of a leader: a deleted task of which a run waits again is looked after again.
async fn record_lost_in(
    tx: &mut LeaderTx,
    endings: &[&Ending],
    twice: bool,
) -> Result<Verdict<Applied>, Failure> {
    let recorded = record_in(tx, endings, twice).await?;
    let again = endings
        .iter()
        .filter(|e| matches!(e.outcome, Outcome::Again { .. }));
    if let Some(at) = again.clone().map(|e| e.at).max() {
        let runs = Table::of(again.map(|e| e.run.as_i64()));
        let args = [("runs", runs.into()), ("at", at.into())];
        tx.write(&LOOK_AFTER, &args).await?;
    }
    Ok(recorded)
}

pub(super) async fn record_in(
    tx: &mut Tx,
    endings: &[&Ending],
    twice: bool,
) -> Result<Verdict<Applied>, Failure> {
    let (over, again): (Vec<&Ending>, Vec<&Ending>) = endings
        .iter()
        .partition(|e| matches!(e.outcome, Outcome::Over(..)));
    let mut applied = end(tx, &over, twice).await?;
    applied.extend(requeue(tx, &again).await?);
    let ended: Vec<&&Ending> = over.iter().filter(|e| applied.contains(&e.key())).collect();
    note(tx, &NOTE_ENDED, ended.iter().map(|e| **e)).await?;
    drop_timers(tx, &ended).await?;
    let recorded = endings.iter().copied();
    let recorded = recorded.filter(|e| applied.contains(&e.key()));
    log::put(tx, recorded.clone()).await?;
    keep_results(tx, recorded).await?;
    Ok(Verdict::Commit(applied))
}

/// Moves runs into history, gives their permits back, and puts what is due after their ends.
pub(super) async fn end(tx: &mut Tx, endings: &[&Ending], twice: bool) -> Result<Applied, Failure> {
    if endings.is_empty() {
        return Ok(Applied::new());
    }
    let states = endings.iter().map(|e| match e.outcome {
        Outcome::Over(state, reason) => (state.as_i64(), reason),
        Outcome::Again { why, .. } => (State::Scheduled.as_i64(), why),
        Outcome::Refused { .. } | Outcome::Abandoned { .. } => {
            (State::Scheduled.as_i64(), Reason::None)
        }
    });
    let table = Table::of(endings.iter().map(|e| e.run.as_i64()))
        .ints(endings.iter().map(|e| e.attempt.map(i64::from)))
        .ints(endings.iter().map(|e| e.claim))
        .ints(states.clone().map(|(state, _)| state))
        .ints(states.clone().map(|(_, reason)| reason.as_i64()))
        .ints(endings.iter().map(|e| e.at))
        .ints(endings.iter().map(|e| e.counts().0))
        .ints(endings.iter().map(|e| e.counts().1))
        .ints(states.map(|(_, reason)| i64::from(reason == Reason::HandedOver)))
        .texts(endings.iter().map(|e| e.error.clone()));
    let args = [("ends", table.into()), ("twice", i64::from(twice).into())];
    let two_steps = tx.dialect() == Dialect::Sqlite;
    let mut moved = HashMap::with_capacity(endings.len());
    let mut held = Held::default();
    for mut row in tx.rows(&END, &args).await? {
        let id = row.int("run_history")?;
        moved.insert(id, (row.int("run_history")?, row.opt_int("run_history")?));
        if !two_steps {
            held.add(id, &mut row, endings)?;
        }
    }
    if two_steps && !moved.is_empty() {
        let args = [("runs", Table::of(moved.keys().copied()).into())];
        for mut row in tx.rows(&LIMITED, &args).await? {
            held.add(row.int("run")?, &mut row, endings)?;
        }
        tx.write(&REMOVE, &args).await?;
    }
    if !moved.is_empty() {
        failpoint::reach(Failpoint::EndMoved);
    }
    held.give_back(tx).await?;
    let matches = |e: &&&Ending| {
        moved.get(&e.run.as_i64()).is_some_and(|(attempt, claim)| {
            e.attempt.is_none_or(|wanted| i64::from(wanted) == *attempt)
                && (e.claim.is_none() || e.claim == *claim)
        })
    };
    Ok(endings.iter().filter(matches).map(|e| e.key()).collect())
}

/// Removes the timers of runs that have ended.
async fn drop_timers(tx: &mut Tx, ended: &[&&Ending]) -> Result<(), Failure> {
    let timed: Vec<(i64, i64, i64)> = ended
        .iter()
        .filter_map(|e| e.timer.map(|(queue, at)| (queue, at, e.run.as_i64())))
        .collect();
    remove_timers(tx, &timed).await
}

/// Removes timers: queue, instant, run.
pub(super) async fn remove_timers(tx: &mut Tx, timed: &[(i64, i64, i64)]) -> Result<(), Failure> {
    if timed.is_empty() {
        return Ok(());
    }
    let table = Table::of(timed.iter().map(|(queue, ..)| *queue))
        .ints(timed.iter().map(|(_, at, _)| *at))
        .ints(timed.iter().map(|(.., run)| *run));
    tx.write(&DROP_TIMERS, &[("rows", table.into())]).await?;
    Ok(())
}

pub(super) async fn note(
    tx: &mut Tx,
    statement: &Statement,
    endings: impl Iterator<Item = &Ending> + Send,
) -> Result<(), Failure> {
    let noted: Vec<(&Ending, Reason)> = endings
        .filter_map(|e| e.note().map(|why| (e, why)))
        .collect();
    if noted.is_empty() {
        return Ok(());
    }
    let table = Table::of(noted.iter().map(|(e, _)| e.run.as_i64()))
        .ints(noted.iter().map(|(e, _)| e.at))
        .ints(noted.iter().map(|(_, why)| why.as_i64()))
        .texts(noted.iter().map(|(e, _)| e.error.clone()))
        .texts(noted.iter().map(|(e, _)| e.class.clone()));
    tx.write(statement, &[("rows", table.into())]).await?;
    Ok(())
}

async fn keep_results<'e>(
    tx: &mut Tx,
    endings: impl Iterator<Item = &'e Ending> + Send,
) -> Result<(), Failure> {
    let returned: Vec<&Ending> = endings.filter(|e| e.result.is_some()).collect();
    if returned.is_empty() {
        return Ok(());
    }
    let table = Table::of(returned.iter().map(|e| e.run.as_i64()))
        .ints(returned.iter().map(|e| e.attempt.map(i64::from)))
        .texts(returned.iter().map(|e| e.result.clone()));
    tx.write(&RESULT, &[("rows", table.into())]).await?;
    Ok(())
}
