//! What is set aside goes on, or is forgotten: its row, its run, and what hangs on them.

use campanile_access::audit::Deed;
use campanile_core::actor::Actor;
use campanile_core::decide::attempt::lose;
use campanile_core::id::RunId;
use campanile_core::port::Written;
use campanile_core::port::edit::Released;
use campanile_core::port::store::Error;
use campanile_core::run::{Reason, State};
use campanile_core::task::StartMode;
use campanile_schedule::time::Timestamp;

use crate::sql::chains;
use crate::sql::connection::{Tx, Verdict};
use crate::sql::ends::{Ending, Outcome, PUT_TIMERS, end, record_in};
use crate::sql::error::Failure;
use crate::sql::pen::{Record, as_editor};
use crate::sql::points::RELEASE;
use crate::sql::requeue::requeue;
use crate::sql::rows::{QUEUE_AT, live_run, small};
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::{Row, Table};

/// Takes one thing out, with all that it needs to go on.
static TAKE: Statement = Statement::new(
    "DELETE FROM campanile_quarantine WHERE id = :id
     RETURNING task, run, attempt, queue, due_at, claim, state, reason, ended_at, ready_at",
);

/// A run goes on from where it was. One that waits again waits at another attempt: its permits went back, and a message of
/// before must not start it beside who has them now. If it had been claimed it has met its deadline.
static GO_ON: Statement = Statement::new(
    "UPDATE campanile_run SET state = :state, attempt = attempt + :more,
     deadline_at = CASE WHEN :more = 1 AND started_at IS NOT NULL THEN NULL ELSE deadline_at END
     WHERE id = :run AND state = 8 RETURNING queue, ready_at",
);

/// A run that was running when it went aside is running again, under the claim that died with its worker.
static RUN_AGAIN: Statement = Statement::new(
    "UPDATE campanile_run SET state = 3 WHERE id = :run AND state = 8 AND claim IS NOT NULL",
);

/// What it is.
static RUNNING: Statement = Statement::new(concat!(
    "SELECT ",
    live_run!(),
    " FROM campanile_run AS run WHERE id = :run"
));

/// A task that was deleted meanwhile is looked after again, for its run waits.
static LOOK_AGAIN: Statement = Statement::new(
    "INSERT INTO campanile_deletion (task, at) SELECT :task, :at
     WHERE NOT EXISTS (SELECT 1 FROM campanile_task WHERE id = :task AND live_name IS NOT NULL)
     ON CONFLICT (task) DO UPDATE SET at = excluded.at",
);

/// Whether a task is there and has no next occurrence, nor a run whose end puts one.
static LACKS_DUE: Statement = Statement::new(
    "SELECT 1 FROM campanile_task AS task WHERE id = :task AND live_name IS NOT NULL
     AND NOT EXISTS (SELECT 1 FROM campanile_due AS due WHERE due.owner = task.id AND due.n = 0)
     AND NOT EXISTS (SELECT 1 FROM campanile_chain AS chain WHERE chain.task = task.id AND chain.run IS NOT NULL)",
);

/// A task's next occurrence, where it was.
static PUT_NEXT: Statement = Statement::new(
    "INSERT INTO campanile_due (queue, at, owner, n) VALUES (:queue, :at, :task, 0)",
);

/// A run that is dropped, with what hangs on it; what hangs on one in history under the same id stays.
static DROP_RUN: [Statement; 6] = [
    Statement::new(
        "DELETE FROM campanile_run_spec WHERE run = :run AND NOT EXISTS (SELECT 1 FROM campanile_run_history WHERE id = :run)",
    ),
    Statement::new(
        "DELETE FROM campanile_run_attempt WHERE run = :run AND NOT EXISTS (SELECT 1 FROM campanile_run_history WHERE id = :run)",
    ),
    Statement::new(
        "DELETE FROM campanile_run_log WHERE run = :run AND NOT EXISTS (SELECT 1 FROM campanile_run_history WHERE id = :run)",
    ),
    Statement::new(
        "DELETE FROM campanile_run_chunk WHERE run = :run AND NOT EXISTS (SELECT 1 FROM campanile_run_history WHERE id = :run)",
    ),
    Statement::new(
        "DELETE FROM campanile_run_key WHERE run = :run AND NOT EXISTS (SELECT 1 FROM campanile_run_history WHERE id = :run)",
    ),
    Statement::new("DELETE FROM campanile_run WHERE id = :run AND state = 8"),
];

impl Store {
    /// `twice` records a second run of one occurrence beside the first, as the ends of others are.
    pub(super) async fn let_go(
        &self,
        actor: &Actor,
        id: i64,
        how: &How,
        twice: bool,
    ) -> Result<Released, Error> {
        let deed = || Deed::new("quarantine.release", "quarantine", &id.to_string());
        let record = Record::act(actor, deed);
        let answer = as_editor!(RELEASE, self, &record, None, tx => async {
            let taken = tx.rows(&TAKE, &[("id", id.into())]).await?;
            match taken.into_iter().next() {
                None => Ok(Verdict::Rollback(Released::Unknown)),
                Some(row) => self.let_go_in(tx, row, how, twice).await.map(Verdict::Commit),
            }
        })?;
        Ok(answer.unwrap_or(Released::Unknown))
    }
}

/// Forgets what is set aside, and its run with it.
pub(super) async fn drop_in(tx: &mut Tx, id: i64) -> Result<Verdict<Written>, Failure> {
    let taken = tx.rows(&TAKE, &[("id", id.into())]).await?;
    let Some(mut row) = taken.into_iter().next() else {
        return Ok(Verdict::Rollback(Written::Stale));
    };
    let (task, run) = (row.int("quarantine")?, row.int("quarantine")?);
    row.int("quarantine")?;
    row.int("quarantine")?;
    let due_at = row.int("quarantine")?;
    if run != 0 {
        for statement in &DROP_RUN {
            tx.write(statement, &[("run", run.into())]).await?;
        }
    }
    chains::go_on_without(tx, task, run, due_at).await?;
    Ok(Verdict::Commit(Written::Applied))
}

/// What became of the attempt whose end is recorded now.
fn outcome_of(state: State, claim: Option<i64>, ready_at: i64, why: Reason) -> Outcome {
    match (state, claim) {
        (State::Scheduled, None) => Outcome::Abandoned { ready_at },
        (State::Scheduled, Some(_)) => Outcome::Again { ready_at, why },
        (state, _) => Outcome::Over(state, why),
    }
}

/// A task's next occurrence is due again, unless it has another one.
async fn put_next(tx: &mut Tx, task: i64, queue: i64, at: i64) -> Result<Released, Failure> {
    let args = [("task", task.into())];
    if tx.rows(&LACKS_DUE, &args).await?.is_empty() {
        return Ok(Released::Superseded);
    }
    let args = [
        ("queue", queue.into()),
        ("at", at.into()),
        ("task", task.into()),
    ];
    tx.write(&PUT_NEXT, &args).await?;
    Ok(Released::Done)
}

/// When what is set aside is let go, and how a run may start again whose attempt was lost with its worker.
pub(super) struct How {
    pub(super) at: Timestamp,
    pub(super) if_lost: StartMode,
}

impl Store {
    async fn let_go_in(
        &self,
        tx: &mut Tx,
        mut row: Row,
        how: &How,
        twice: bool,
    ) -> Result<Released, Failure> {
        const TABLE: &str = "quarantine";
        let (task, run) = (row.int(TABLE)?, row.int(TABLE)?);
        let (attempt, queue, due_at) = (row.int(TABLE)?, row.int(TABLE)?, row.int(TABLE)?);
        if run == 0 {
            return put_next(tx, task, queue, due_at).await;
        }
        let (claim, state) = (row.opt_int(TABLE)?, row.opt_int(TABLE)?);
        let (reason, ended_at, ready_at) = (
            row.opt_int(TABLE)?,
            row.opt_int(TABLE)?,
            row.opt_int(TABLE)?,
        );
        let from = if claim.is_some() {
            State::Running
        } else {
            State::Scheduled
        };
        let state = state.and_then(State::from_i64);
        if state == Some(State::Running) && self.lose_in(tx, run, how, twice).await? {
            return Ok(Released::Done);
        }
        let state = state.filter(|state| *state != State::Running);
        let args = [
            ("run", run.into()),
            ("state", from.as_i64().into()),
            ("more", i64::from(state.is_none()).into()),
        ];
        let went_on = tx.rows(&GO_ON, &args).await?;
        let Some(mut due) = went_on.into_iter().next() else {
            return Ok(Released::Superseded);
        };
        if task != 0 && state.is_none_or(|state| state == State::Scheduled) {
            let args = [("task", task.into()), ("at", how.at.as_ms().into())];
            tx.write(&LOOK_AGAIN, &args).await?;
        }
        let Some(state) = state else {
            let timer = Table::of([due.int("run")?])
                .ints([due.int("run")?])
                .ints([run]);
            tx.write(&PUT_TIMERS, &[("rows", timer.into())]).await?;
            return Ok(Released::Done);
        };
        let reason = reason.and_then(Reason::from_i64).unwrap_or_default();
        let ended_at = ended_at.unwrap_or(due_at);
        let ending = Ending {
            run: RunId::from_i64(run),
            attempt: Some(small(attempt)?),
            claim,
            at: ended_at,
            outcome: outcome_of(state, claim, ready_at.unwrap_or(ended_at), reason),
            error: None,
            class: None,
            log: None,
            result: None,
            timer: None,
        };
        let applied = if state == State::Scheduled {
            requeue(tx, &[&ending]).await?
        } else {
            end(tx, &[&ending], twice).await?
        };
        if applied.is_empty() {
            return Err(
                Error::Contended("the run went from state to state meanwhile".into()).into(),
            );
        }
        Ok(Released::Done)
    }

    /// Ends, or gives on, a run that was running when it went aside. Answers whether it has a claim to do that under.
    async fn lose_in(
        &self,
        tx: &mut Tx,
        run: i64,
        how: &How,
        twice: bool,
    ) -> Result<bool, Failure> {
        if tx.write(&RUN_AGAIN, &[("run", run.into())]).await? == 0 {
            return Ok(false);
        }
        let mut rows = tx.rows(&RUNNING, &[("run", run.into())]).await?;
        self.learn_queues(&rows, QUEUE_AT).await?;
        let Some(row) = rows.first_mut() else {
            return Ok(false);
        };
        let run = self.run_of(row)?;
        let Some(lost) = lose(&run, how.if_lost, how.at) else {
            return Ok(false);
        };
        let ending = Ending::from(&lost);
        let is_over = matches!(ending.outcome, Outcome::Over(..));
        if let (false, Some(task)) = (is_over, run.task) {
            let args = [
                ("task", task.as_i64().into()),
                ("at", how.at.as_ms().into()),
            ];
            tx.write(&LOOK_AGAIN, &args).await?;
        }
        record_in(tx, &[&ending], twice).await?;
        Ok(true)
    }
}
