//! What the store itself refused to record, or can't read any more: set aside so that nothing waits for it, shown, released, dropped. A run stays
//! in its row, in a state that no other statement asks for.

use campanile::actor::Actor;
use campanile::id::{RunId, TaskId};
use campanile::port::Written;
use campanile::port::store::Error;
use campanile::protocol::work::{
    Aside, DueKey, End, Finish, Owner, Quarantined, Released, Spoiled, Term, Thing,
};
use campanile::run::{Reason, State};
use campanile_schedule::time::Timestamp;

use super::super::connection::{Tx, Verdict, transaction};
use super::super::error::Failure;
use super::super::pen::{Footing, as_editor, as_leader};
use super::super::statement::Statement;
use super::super::value::{Row, Table};
use super::Store;
use super::ends::{Ending, Outcome, PUT_TIMERS, end, is_second_run};
use super::permits::release;
use super::points::{ASIDE, RELEASE};
use super::requeue::requeue;
use super::rows::{clean, clean_error, small};

/// What is said of a thing is for people: what is longer is cut.
const WHAT_BYTES_MAX: usize = 200;

/// Takes a run out of everything that moves runs: one that is running under a claim, or, where it may, one that waits.
static ASIDE_ONE: Statement = Statement::new(
    "UPDATE run SET state = 8 WHERE id = :run AND attempt = :attempt
     AND ((:waits = 1 AND state IN (1, 2)) OR (state = 3 AND claim = :claim)) RETURNING task, queue, due_at, attempt",
);

/// The same of one that waits, at whichever attempt.
static ASIDE_WAITING: Statement = Statement::new(
    "UPDATE run SET state = 8 WHERE id = :run AND state IN (1, 2) RETURNING task, queue, due_at, attempt",
);

/// Takes a run that can't be read out of everything, whatever its state.
static ASIDE_SPOILED: Statement = Statement::new(
    "UPDATE run SET state = 8 WHERE id = :run AND state <> 8 RETURNING task, queue, due_at, attempt",
);

/// Its timers. A walk over what is due: rows spoil seldom.
static DROP_TIMERS_OF: Statement = Statement::new("DELETE FROM due WHERE owner = :run AND n = 1");

/// The next occurrence of a task that can't be read.
static DUE_OF_TASK: Statement =
    Statement::new("DELETE FROM due WHERE owner = :task AND n = 0 RETURNING queue, at");

/// A list of what is to be published.
static DROP_LIST: Statement = Statement::new("DELETE FROM outbox WHERE id = :id");

/// Timers for all runs that wait: what the list held is among them, and a message too many is refused by its claim.
static ALL_TIMERS: Statement = Statement::new(
    "INSERT INTO due (queue, at, owner, n) SELECT queue, ready_at, id, 1 FROM run WHERE state IN (1, 2)
     ON CONFLICT (queue, at, owner, n) DO NOTHING",
);

/// Takes a due row away.
static TAKE_DUE: Statement = Statement::new(
    "DELETE FROM due WHERE queue = :queue AND at = :at AND owner = :owner AND n = :n",
);

/// Keeps what is set aside.
static KEEP: Statement = Statement::new(
    "INSERT INTO quarantine (task, run, attempt, queue, due_at, at, claim, state, reason, ended_at, ready_at, what, error)
     SELECT t, r, a, q, d, o, c, s, w, e, y, x, m FROM @rows(t int, r int, a int, q int, d int, o int, c int, s int, w int,
     e int, y int, x text, m text) AS v",
);

/// What is set aside.
static ALL: Statement = Statement::new(
    "SELECT id, task, run, attempt, queue, due_at, at, what, error FROM quarantine WHERE id > :after ORDER BY id LIMIT :limit",
);

/// Takes one thing out, with all that it needs to go on.
static TAKE: Statement = Statement::new(
    "DELETE FROM quarantine WHERE id = :id
     RETURNING task, run, attempt, queue, due_at, claim, state, reason, ended_at, ready_at",
);

/// A run goes on from where it was.
static GO_ON: Statement = Statement::new(
    "UPDATE run SET state = :state WHERE id = :run AND state = 8 RETURNING queue, ready_at",
);

/// A task that was deleted meanwhile is looked after again, for its run waits.
static LOOK_AGAIN: Statement = Statement::new(
    "INSERT INTO deletion (task, at) SELECT :task, :at
     WHERE NOT EXISTS (SELECT 1 FROM task WHERE id = :task AND live_name IS NOT NULL)
     ON CONFLICT (task) DO UPDATE SET at = excluded.at",
);

/// Whether a task is there and has no next occurrence.
static LACKS_DUE: Statement = Statement::new(
    "SELECT 1 FROM task WHERE id = :task AND live_name IS NOT NULL
     AND NOT EXISTS (SELECT 1 FROM due WHERE due.owner = task.id AND due.n = 0)",
);

/// A task's next occurrence, where it was.
static PUT_NEXT: Statement =
    Statement::new("INSERT INTO due (queue, at, owner, n) VALUES (:queue, :at, :task, 0)");

/// A run that is dropped, with what hangs on it; what hangs on one in history under the same id stays.
static DROP_RUN: [Statement; 5] = [
    Statement::new(
        "DELETE FROM run_spec WHERE run = :run AND NOT EXISTS (SELECT 1 FROM run_history WHERE id = :run)",
    ),
    Statement::new(
        "DELETE FROM run_attempt WHERE run = :run AND NOT EXISTS (SELECT 1 FROM run_history WHERE id = :run)",
    ),
    Statement::new(
        "DELETE FROM run_log WHERE run = :run AND NOT EXISTS (SELECT 1 FROM run_history WHERE id = :run)",
    ),
    Statement::new(
        "DELETE FROM run_key WHERE run = :run AND NOT EXISTS (SELECT 1 FROM run_history WHERE id = :run)",
    ),
    Statement::new("DELETE FROM run WHERE id = :run AND state = 8"),
];

/// What a thing leaves behind when it is set aside.
#[derive(Default)]
struct Left {
    task: i64,
    run: i64,
    attempt: i64,
    queue: i64,
    due_at: i64,
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
                End::Withdrawn { ready_at } => {
                    of(None, State::Scheduled, Reason::None, at, Some(ready_at))
                }
            }
        }
    }
}

impl Store {
    pub(super) async fn put_aside(
        &self,
        term: Option<&Term>,
        aside: &Aside,
    ) -> Result<Written, Error> {
        if let Thing::Due(key) = &aside.thing {
            self.intern([&key.queue]).await?;
        }
        let Some(term) = term else {
            let pool = &self.pools.main;
            return transaction!(ASIDE, pool, &self.random, tx => self.aside_in(tx, aside));
        };
        let led = as_leader!(ASIDE, self, term, Footing::TERM, tx => self.aside_in(tx, aside))?;
        Ok(led.written())
    }

    async fn aside_in(&self, tx: &mut Tx, aside: &Aside) -> Result<Verdict<Written>, Failure> {
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
            Thing::Row(Spoiled::Run(run)) => aside_spoiled(tx, *run).await?,
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
        let (claim, state, reason, ended_at, ready_at) = ended(&aside.thing, aside.at);
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

    pub(super) async fn all_aside(
        &self,
        after: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Quarantined>, Error> {
        let args = [
            ("after", after.unwrap_or(0).into()),
            ("limit", i64::try_from(limit).unwrap_or(i64::MAX).into()),
        ];
        let rows = self.pools.reader.rows(&ALL, &args).await?;
        self.learn_queues(&rows, 4).await?;
        rows.into_iter().map(|row| self.aside_of(row)).collect()
    }

    fn aside_of(&self, mut row: Row) -> Result<Quarantined, Error> {
        const TABLE: &str = "quarantine";
        let id = row.int(TABLE)?;
        let (task, run) = (row.int(TABLE)?, row.int(TABLE)?);
        Ok(Quarantined {
            id,
            task: (task != 0).then(|| TaskId::from_i64(task)),
            run: (run != 0).then(|| RunId::from_i64(run)),
            attempt: small(row.int(TABLE)?).unwrap_or_default(),
            // Of a row that can't be read it may be any number.
            queue: self.queue_name(row.int(TABLE)?).unwrap_or_default(),
            due_at: Timestamp::from_ms(row.int(TABLE)?),
            at: Timestamp::from_ms(row.int(TABLE)?),
            what: row.text(TABLE)?,
            error: row.text(TABLE)?,
        })
    }

    /// A second run of one occurrence is recorded beside the first, as the ends of others are.
    pub(super) async fn let_go(
        &self,
        actor: &Actor,
        id: i64,
        at: Timestamp,
    ) -> Result<Released, Error> {
        let answer = self.let_go_as(actor, id, at, false).await;
        if answer.as_ref().is_err_and(is_second_run) {
            return self.let_go_as(actor, id, at, true).await;
        }
        answer
    }

    async fn let_go_as(
        &self,
        actor: &Actor,
        id: i64,
        at: Timestamp,
        twice: bool,
    ) -> Result<Released, Error> {
        let answer = as_editor!(RELEASE, self, actor, None, tx => async {
            let taken = tx.rows(&TAKE, &[("id", id.into())]).await?;
            match taken.into_iter().next() {
                None => Ok(Verdict::Rollback(Released::Unknown)),
                Some(row) => let_go_in(tx, row, at, twice).await.map(Verdict::Commit),
            }
        })?;
        Ok(answer.unwrap_or(Released::Unknown))
    }

    pub(super) async fn forget(&self, actor: &Actor, id: i64) -> Result<Written, Error> {
        let answer = as_editor!(RELEASE, self, actor, None, tx => async {
            let taken = tx.rows(&TAKE, &[("id", id.into())]).await?;
            let Some(mut row) = taken.into_iter().next() else {
                return Ok(Verdict::Rollback(Written::Stale));
            };
            row.int("quarantine")?;
            let run = row.int("quarantine")?;
            if run != 0 {
                for statement in &DROP_RUN {
                    tx.write(statement, &[("run", run.into())]).await?;
                }
            }
            Ok(Verdict::Commit(Written::Applied))
        })?;
        Ok(answer.unwrap_or(Written::Stale))
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
    }))
}

/// What can be read of it is kept.
async fn aside_spoiled(tx: &mut Tx, run: RunId) -> Result<Option<Left>, Failure> {
    let args = [("run", run.as_i64().into())];
    let Some(mut row) = tx.rows(&ASIDE_SPOILED, &args).await?.into_iter().next() else {
        return Ok(None);
    };
    tx.write(&DROP_TIMERS_OF, &args).await?;
    let mut cell = || row.int("run").unwrap_or_default();
    Ok(Some(Left {
        task: cell(),
        run: run.as_i64(),
        queue: cell(),
        due_at: cell(),
        attempt: cell().clamp(0, i64::from(i32::MAX)),
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

/// What became of the attempt whose end is recorded now.
fn outcome_of(state: State, claim: Option<i64>, ready_at: i64, why: Reason) -> Outcome {
    match (state, claim) {
        (State::Scheduled, None) => Outcome::Withdrawn { ready_at },
        (State::Scheduled, Some(_)) => Outcome::Again { ready_at, why },
        (state, _) => Outcome::Over(state, why),
    }
}

async fn let_go_in(
    tx: &mut Tx,
    mut row: Row,
    at: Timestamp,
    twice: bool,
) -> Result<Released, Failure> {
    const TABLE: &str = "quarantine";
    let (task, run) = (row.int(TABLE)?, row.int(TABLE)?);
    let (attempt, queue, due_at) = (row.int(TABLE)?, row.int(TABLE)?, row.int(TABLE)?);
    if run == 0 {
        let args = [("task", task.into())];
        if tx.rows(&LACKS_DUE, &args).await?.is_empty() {
            return Ok(Released::Superseded);
        }
        let args = [
            ("queue", queue.into()),
            ("at", due_at.into()),
            ("task", task.into()),
        ];
        tx.write(&PUT_NEXT, &args).await?;
        return Ok(Released::Done);
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
    let args = [("run", run.into()), ("state", from.as_i64().into())];
    let went_on = tx.rows(&GO_ON, &args).await?;
    let Some(mut due) = went_on.into_iter().next() else {
        return Ok(Released::Superseded);
    };
    let state = state.and_then(State::from_i64);
    if task != 0 && state.is_none_or(|state| state == State::Scheduled) {
        let args = [("task", task.into()), ("at", at.as_ms().into())];
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
        timer: None,
    };
    let applied = if state == State::Scheduled {
        requeue(tx, &[&ending]).await?
    } else {
        end(tx, &[&ending], twice).await?
    };
    if applied.is_empty() {
        return Err(Error::Contended("the run went from state to state meanwhile".into()).into());
    }
    Ok(Released::Done)
}
