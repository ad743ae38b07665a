//! What the store itself refused to record, or can't read any more: set aside so that nothing waits for it, shown, released, dropped. A run stays
//! in its row, in a state that no other statement asks for.

use campanile_core::id::{RunId, TaskId};
use campanile_core::port::Written;
use campanile_core::port::attempt::{Aside, End, Finish, Spoiled, Thing};
use campanile_core::port::fire::{DueKey, Owner};
use campanile_core::run::{Reason, State};
use campanile_schedule::time::Timestamp;

use crate::sql::connection::{Tx, Verdict};
use crate::sql::error::Failure;
use crate::sql::permits::release;
use crate::sql::rows::{clean, clean_error};
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::Table;

/// What is said of a thing is for people: what is longer is cut.
const WHAT_BYTES_MAX: usize = 200;

/// Takes a run out of everything that moves runs: one that is running under a claim, or, where it may, one that waits.
static ASIDE_ONE: Statement = Statement::new(
    "UPDATE campanile_run SET state = 8 WHERE id = :run AND attempt = :attempt
     AND ((:waits = 1 AND state IN (1, 2)) OR (state = 3 AND claim = :claim)) RETURNING task, queue, due_at, attempt",
);

/// The same of one that waits, at whichever attempt.
static ASIDE_WAITING: Statement = Statement::new(
    "UPDATE campanile_run SET state = 8 WHERE id = :run AND state IN (1, 2) RETURNING task, queue, due_at, attempt",
);

/// Takes a run that can't be read out of everything, whatever its state. Only a leader may take one that is running.
static ASIDE_SPOILED: Statement = Statement::new(
    "UPDATE campanile_run SET state = 8 WHERE id = :run AND state <> 8 AND (:leads = 1 OR state <> 3)
     RETURNING task, queue, due_at, attempt, claim",
);

/// Its timers. A walk over what is due: rows spoil seldom.
static DROP_TIMERS_OF: Statement =
    Statement::new("DELETE FROM campanile_due WHERE owner = :run AND n = 1");

/// The next occurrence of a task that can't be read.
static DUE_OF_TASK: Statement =
    Statement::new("DELETE FROM campanile_due WHERE owner = :task AND n = 0 RETURNING queue, at");

/// A list of what is to be published.
static DROP_LIST: Statement = Statement::new("DELETE FROM campanile_outbox WHERE id = :id");

/// Timers for all runs that wait: what the list held is among them, and a message too many is refused by its claim.
static ALL_TIMERS: Statement = Statement::new(
    "INSERT INTO campanile_due (queue, at, owner, n) SELECT queue, ready_at, id, 1 FROM campanile_run WHERE state IN (1, 2)
     ON CONFLICT (queue, at, owner, n) DO NOTHING",
);

/// Takes a due row away.
static TAKE_DUE: Statement = Statement::new(
    "DELETE FROM campanile_due WHERE queue = :queue AND at = :at AND owner = :owner AND n = :n",
);

/// Keeps what is set aside.
static KEEP: Statement = Statement::new(
    "INSERT INTO campanile_quarantine (task, run, attempt, queue, due_at, at, claim, state, reason, ended_at, ready_at, what, error)
     SELECT t, r, a, q, d, o, c, s, w, e, y, x, m FROM @rows(t int, r int, a int, q int, d int, o int, c int, s int, w int,
     e int, y int, x text, m text) AS v",
);

/// What a thing leaves behind when it is set aside.
#[derive(Default)]
struct Left {
    task: i64,
    run: i64,
    attempt: i64,
    queue: i64,
    due_at: i64,
    /// Whether it was running: nothing else has a claim.
    ran: bool,
}

/// How an attempt ended: claim, state, reason, when, and when the next one is due.
type Ended = (
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

fn ended(thing: &Thing, at: Timestamp) -> Ended {
    let of = |claim, state: State, reason: Reason, at: Timestamp, ready: Option<Timestamp>| {
        let (state, reason) = (Some(state.as_i64()), Some(reason.as_i64()));
        (
            claim,
            state,
            reason,
            Some(at.as_ms()),
            ready.map(Timestamp::as_ms),
        )
    };
    match thing {
        Thing::Due(_) | Thing::Start { .. } | Thing::Row(_) => (None, None, None, None, None),
        Thing::HandedOver { .. } => of(None, State::Succeeded, Reason::HandedOver, at, None),
        Thing::End(finish) => {
            let claim = Some(finish.claim.as_i64());
            match finish.end {
                End::Succeeded => of(claim, State::Succeeded, Reason::None, at, None),
                End::Failed(why) => of(claim, State::Failed, why, at, None),
                End::Cancelled(why) => of(claim, State::Cancelled, why, at, None),
                End::Again { ready_at, why } => {
                    of(claim, State::Scheduled, why, at, Some(ready_at))
                }
                End::Refused { ready_at } => {
                    of(claim, State::Scheduled, Reason::None, at, Some(ready_at))
                }
                // Whether its claim has arrived does not matter any more.
                End::Abandoned { ready_at } => {
                    of(None, State::Scheduled, Reason::None, at, Some(ready_at))
                }
            }
        }
    }
}

impl Store {
    pub(super) async fn aside_in(
        &self,
        tx: &mut Tx,
        aside: &Aside,
        leads: bool,
    ) -> Result<Verdict<Written>, Failure> {
        let left = match &aside.thing {
            Thing::End(Finish {
                run,
                attempt,
                claim,
                ..
            }) => {
                let waits = aside.thing.may_wait();
                aside_run(tx, *run, Some((*attempt, claim.as_i64(), waits))).await?
            }
            Thing::HandedOver { run, attempt } | Thing::Start { run, attempt } => {
                aside_run(tx, *run, Some((*attempt, 0, true))).await?
            }
            Thing::Row(Spoiled::Run(run)) => aside_spoiled(tx, *run, leads).await?,
            Thing::Row(Spoiled::Task(task)) => aside_due_of(tx, *task).await?,
            Thing::Row(Spoiled::Outbox(id)) => {
                if tx.write(&DROP_LIST, &[("id", id.as_i64().into())]).await? == 0 {
                    return Ok(Verdict::Rollback(Written::Stale));
                }
                tx.write(&ALL_TIMERS, &[]).await?;
                return Ok(Verdict::Commit(Written::Applied));
            }
            Thing::Due(key) => match self.aside_due(tx, key).await? {
                Some(left) => left,
                None => return Ok(Verdict::Rollback(Written::Stale)),
            },
        };
        let Some(left) = left else {
            // The timer of a run that is no more needs no place.
            let is_due = matches!(aside.thing, Thing::Due(_));
            return Ok(if is_due {
                Verdict::Commit(Written::Applied)
            } else {
                Verdict::Rollback(Written::Stale)
            });
        };
        let (claim, ended_as, reason, ended_at, ready_at) = ended(&aside.thing, aside.at);
        let state = ended_as.or(left.ran.then_some(State::Running.as_i64()));
        let rows = Table::of([left.task])
            .ints([left.run])
            .ints([left.attempt])
            .ints([left.queue])
            .ints([left.due_at])
            .ints([aside.at.as_ms()])
            .ints([claim])
            .ints([state])
            .ints([reason])
            .ints([ended_at])
            .ints([ready_at])
            .texts([clean(&aside.what(), WHAT_BYTES_MAX)])
            .texts([clean_error(&aside.error)]);
        tx.write(&KEEP, &[("rows", rows.into())]).await?;
        if left.run != 0 {
            release(tx, &[left.run], true).await?;
        }
        Ok(Verdict::Commit(Written::Applied))
    }

    /// `None` if the due row is not there; of a run's timer, what is left of the run that waits for it.
    async fn aside_due(&self, tx: &mut Tx, key: &DueKey) -> Result<Option<Option<Left>>, Failure> {
        let queue = self.queue_id(&key.queue)?;
        let (owner, n) = match key.owner {
            Owner::Task(task) => (task.as_i64(), 0),
            Owner::Run(run) => (run.as_i64(), 1),
        };
        let args = [
            ("queue", queue.into()),
            ("at", key.at.as_ms().into()),
            ("owner", owner.into()),
            ("n", n.into()),
        ];
        if tx.write(&TAKE_DUE, &args).await? == 0 {
            return Ok(None);
        }
        match key.owner {
            Owner::Run(run) => aside_run(tx, run, None).await.map(Some),
            Owner::Task(_) => Ok(Some(Some(Left {
                task: owner,
                queue,
                due_at: key.at.as_ms(),
                ..Left::default()
            }))),
        }
    }
}

async fn aside_run(
    tx: &mut Tx,
    run: RunId,
    at: Option<(u32, i64, bool)>,
) -> Result<Option<Left>, Failure> {
    let id = run.as_i64();
    let rows = match at {
        Some((attempt, claim, waits)) => {
            let args = [
                ("run", id.into()),
                ("attempt", i64::from(attempt).into()),
                ("claim", claim.into()),
                ("waits", i64::from(waits).into()),
            ];
            tx.rows(&ASIDE_ONE, &args).await?
        }
        None => tx.rows(&ASIDE_WAITING, &[("run", id.into())]).await?,
    };
    let Some(mut row) = rows.into_iter().next() else {
        return Ok(None);
    };
    Ok(Some(Left {
        task: row.int("run")?,
        run: id,
        queue: row.int("run")?,
        due_at: row.int("run")?,
        attempt: row.int("run")?,
        ran: false,
    }))
}

/// What can be read of it is kept.
async fn aside_spoiled(tx: &mut Tx, run: RunId, leads: bool) -> Result<Option<Left>, Failure> {
    let args = [
        ("run", run.as_i64().into()),
        ("leads", i64::from(leads).into()),
    ];
    let Some(mut row) = tx.rows(&ASIDE_SPOILED, &args).await?.into_iter().next() else {
        return Ok(None);
    };
    tx.write(&DROP_TIMERS_OF, &args[..1]).await?;
    let mut cell = || row.int("run").unwrap_or_default();
    let [task, queue, due_at, attempt] = [cell(), cell(), cell(), cell()];
    Ok(Some(Left {
        task,
        run: run.as_i64(),
        queue,
        due_at,
        attempt: attempt.clamp(0, i64::from(i32::MAX)),
        // One that can't be read is there.
        ran: row.opt_int("run").map_or(true, |claim| claim.is_some()),
    }))
}

async fn aside_due_of(tx: &mut Tx, task: TaskId) -> Result<Option<Left>, Failure> {
    let args = [("task", task.as_i64().into())];
    let Some(mut row) = tx.rows(&DUE_OF_TASK, &args).await?.into_iter().next() else {
        return Ok(None);
    };
    Ok(Some(Left {
        task: task.as_i64(),
        queue: row.int("due")?,
        due_at: row.int("due")?,
        ..Left::default()
    }))
}
