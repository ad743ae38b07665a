//! Edit: what people change, and what the leader changes for them.

use async_trait::async_trait;
use campanile_access::audit::Deed;
use campanile_core::actor::Actor;
use campanile_core::decide::attempt as transitions;
use campanile_core::decide::attempt::refusal::Parts;
use campanile_core::decide::lead::hold::Hold;
use campanile_core::failpoint::Around;
use campanile_core::id::{RunId, TaskId};
use campanile_core::limits;
use campanile_core::port::Written;
use campanile_core::port::edit::{
    Cancel, Edit, EditForStore, EditStore, Moved, OnBehalfOf, Released, Submission, Submitted,
};
use campanile_core::port::fire::Fired;
use campanile_core::port::lead::Term;
use campanile_core::port::store::Error;
use campanile_core::run::{Reason, State};
use campanile_core::task::StartMode;
use campanile_schedule::time::Timestamp;

use crate::sql::ask::RUN;
use crate::sql::audit;
use crate::sql::connection::Verdict;
use crate::sql::ends::{Ending, Hand, Outcome, is_second_run};
use crate::sql::hold;
use crate::sql::inbox::FORGET_SETTLED;
use crate::sql::pauses;
use crate::sql::pen::{Footing, Led, Record, as_editor, as_leader};
use crate::sql::points::{
    self, CANCEL, CANCEL_REQUEST, EDIT, EDIT_FOR, END_HOLD, HOLD, MOVE, PRUNE as PRUNING, RELEASE,
    SUBMIT,
};
use crate::sql::publish::cap;
use crate::sql::release::{How, drop_in};
use crate::sql::statement::Statement;
use crate::sql::store::{Store, first};
use crate::sql::value::{Args, Table};

/// A cancel that meets a run between two states looks again.
const CANCEL_LOOKS_MAX: usize = 5;

/// A move that meets a run between two states looks again.
const MOVE_LOOKS_MAX: usize = 5;

/// How far a node's clock may be behind the store's: history is pruned in the order of ids, whose time is the node's.
const SKEW_MAX_MS: i64 = 3_600_000;

/// The oldest finished runs. Ids grow with time and a run ends after it was minted: so the walk ends at `:bound`.
static OLD_RUNS: Statement = Statement::new(
    "SELECT id FROM campanile_run_history WHERE id < :bound AND finished_at < :before
     AND id NOT IN (SELECT id FROM @stuck(id int) AS v) ORDER BY id LIMIT :limit",
);

/// Leaves a request as a stranger does ([`super::enqueue::LEAVE`]), by itself.
static LEAVE_ONE: Statement =
    Statement::new("INSERT INTO campanile_inbox (request) VALUES (:request) RETURNING id");

/// Tells a running run's worker to end it.
static REQUEST_CANCEL: Statement =
    Statement::new("UPDATE campanile_run SET cancel_requested = 1 WHERE id = :id AND state = 3");

/// How a run ended.
static ENDED_STATE: Statement =
    Statement::new("SELECT state FROM campanile_run_history WHERE id = :id");

/// How a run stands that has not ended.
static LIVE_STATE: Statement = Statement::new("SELECT state FROM campanile_run WHERE id = :id");

/// Keeps the first secret.
static KEEP_SECRET: Statement = Statement::new(
    "INSERT INTO campanile_setting (name, value) VALUES ('secret', :value) ON CONFLICT (name) DO NOTHING",
);

/// The secret that is kept.
static SECRET: Statement =
    Statement::new("SELECT value FROM campanile_setting WHERE name = 'secret'");

/// Asks a term to end, if it is the present one.
static RESIGN: Statement = Statement::new(
    "UPDATE campanile_leader SET resign_epoch = :epoch, seq = seq + 1 WHERE id = 1 AND epoch = :epoch",
);

/// Removes finished runs with all that hangs on them.
static PRUNE: [Statement; 6] = [
    Statement::new(
        "DELETE FROM campanile_run_spec WHERE run IN (SELECT id FROM @ids(id int) AS v)",
    ),
    Statement::new(
        "DELETE FROM campanile_run_attempt WHERE run IN (SELECT id FROM @ids(id int) AS v)",
    ),
    Statement::new("DELETE FROM campanile_run_log WHERE run IN (SELECT id FROM @ids(id int) AS v)"),
    Statement::new(
        "DELETE FROM campanile_run_chunk WHERE run IN (SELECT id FROM @ids(id int) AS v)",
    ),
    Statement::new("DELETE FROM campanile_run_key WHERE run IN (SELECT id FROM @ids(id int) AS v)"),
    Statement::new(
        "DELETE FROM campanile_run_history WHERE id IN (SELECT id FROM @ids(id int) AS v)",
    ),
];

/// Forgets what nodes were called that have been gone for so long.
static FORGET_NAMES: Statement =
    Statement::new("DELETE FROM campanile_node_name WHERE gone_at < :before");

#[async_trait]
impl EditStore for Store {
    async fn edit(&self, actor: &Actor, edit: &Edit, at: Timestamp) -> Result<Written, Error> {
        self.intern_of(edit).await?;
        let footing = Some(Footing::changes(edit.edits));
        let record = Record::act(actor, || edit.deed());
        let answer = as_editor!(EDIT, self, &record, footing, tx => self.edit_in(tx, edit, at))?;
        Ok(answer.unwrap_or(Written::Stale))
    }

    async fn submit(
        &self,
        actor: &Actor,
        submissions: &[Submission],
    ) -> Result<Vec<Submitted>, Error> {
        let mut keys = submissions.iter().filter_map(|s| s.key.as_ref());
        if keys.any(|key| key.text.contains('\0')) {
            return Err(Error::Refused("an idempotency key holds NUL".into()));
        }
        if let Some(answers) = self.known_already(submissions).await? {
            return Ok(answers);
        }
        self.intern(submissions.iter().map(|s| &s.run.queue))
            .await?;
        let submitter = actor.identity();
        let record = Record::submission(actor);
        let answers = as_editor!(SUBMIT, self, &record, None, tx => self.submit_in(tx, submissions, &submitter))?;
        answers
            .flatten()
            .ok_or_else(|| Error::Contended("a task was deleted meanwhile".into()))
    }

    async fn leave_request(&self, request: &str) -> Result<i64, Error> {
        let args = [("request", request.into())];
        let rows = self.pools.main.rows(&LEAVE_ONE, &args).await?;
        first(rows, "campanile_inbox")?.int("campanile_inbox")
    }

    async fn cancel(&self, actor: &Actor, id: RunId, at: Timestamp) -> Result<Cancel, Error> {
        let args = [("id", id.as_i64().into())];
        for _ in 0..CANCEL_LOOKS_MAX {
            let ending = Ending {
                run: id,
                attempt: None,
                claim: None,
                at: at.as_ms(),
                outcome: Outcome::Over(State::Cancelled, Reason::Requested),
                error: None,
                class: None,
                log: None,
                result: None,
                timer: None,
            };
            let answer = self.record(&CANCEL, Hand::Person(actor), &[ending]).await?;
            if answer.is_some_and(|written| written.contains(&Written::Applied)) {
                return Ok(Cancel::Cancelled);
            }
            let record = Record::act(actor, || Deed::new("run.cancel", "run", &id.to_string()));
            let asked = self.one_of(&CANCEL_REQUEST, &record, &REQUEST_CANCEL, &args);
            if asked.await?.is_applied() {
                return Ok(Cancel::Requested);
            }
            // Not live when we look here means in history, or nowhere: nothing ever leaves history for the live. What is
            // set aside may be released after this one look: then it went from state to state.
            let live = self.pools.main.rows(&LIVE_STATE, &args).await?;
            if let Some(mut row) = live.into_iter().next() {
                if row.int("run")? == State::Quarantined.as_i64() {
                    return Ok(Cancel::Ended(State::Quarantined));
                }
                continue;
            }
            let rows = self.pools.main.rows(&ENDED_STATE, &args).await?;
            let Some(mut row) = rows.into_iter().next() else {
                return Ok(Cancel::Unknown);
            };
            let state = State::from_i64(row.int("run_history")?);
            return state.map(Cancel::Ended).ok_or_else(|| Error::Corrupt {
                table: "run_history",
                row: None,
                message: format!("run {id} is in a state that this version doesn't know"),
            });
        }
        Err(Error::Contended(
            "the run went from state to state meanwhile".into(),
        ))
    }

    async fn move_run(&self, actor: &Actor, id: RunId, to: Timestamp) -> Result<Moved, Error> {
        for _ in 0..MOVE_LOOKS_MAX {
            let args = [("id", id.as_i64().into())];
            let rows = self.pools.main.rows(&RUN, &args).await?;
            let Some(run) = self.runs_of(rows).await?.pop() else {
                return Ok(Moved::Unknown);
            };
            let (answer, moved) = transitions::move_to(&run, true, to);
            let Some(moved) = moved else {
                return Ok(answer);
            };
            let record = Record::act(actor, || Deed::new("run.move", "run", &id.to_string()));
            let answer =
                as_editor!(MOVE, self, &record, None, tx => self.move_in(tx, &run, &moved))?;
            if let Some(answer) = answer.flatten() {
                return Ok(answer);
            }
        }
        Err(Error::Contended(
            "the run went from state to state meanwhile".into(),
        ))
    }

    async fn release(
        &self,
        actor: &Actor,
        id: i64,
        at: Timestamp,
        if_lost: StartMode,
    ) -> Result<Released, Error> {
        let how = How { at, if_lost };
        let answer = self.let_go(actor, id, &how, false).await;
        if answer.as_ref().is_err_and(is_second_run) {
            // Recorded beside the first, as the ends of others are.
            return self.let_go(actor, id, &how, true).await;
        }
        answer
    }

    async fn drop_quarantined(&self, actor: &Actor, id: i64) -> Result<Written, Error> {
        let deed = || Deed::new("quarantine.drop", "quarantine", &id.to_string());
        let record = Record::act(actor, deed);
        let answer = as_editor!(RELEASE, self, &record, None, tx => drop_in(tx, id))?;
        Ok(answer.unwrap_or(Written::Stale))
    }

    async fn request_resign(&self, actor: &Actor, epoch: i64) -> Result<Written, Error> {
        let deed = || Deed::new("leader.resign", "term", &epoch.to_string());
        let record = Record::act(actor, deed);
        let args = [("epoch", epoch.into())];
        self.one_of(&points::RESIGN, &record, &RESIGN, &args).await
    }

    async fn hold(&self, actor: &Actor, hold: Option<&Hold>) -> Result<(), Error> {
        let footing = Some(Footing::changes(None));
        let act = if hold.is_some() {
            "hold.set"
        } else {
            "hold.end"
        };
        let record = Record::act(actor, || Deed::new(act, "cluster", ""));
        let set = as_editor!(HOLD, self, &record, footing, tx => hold::set(tx, hold))?;
        set.ok_or_else(|| Error::Contended("the leader row is missing".into()))
    }

    async fn secret(&self, fresh: [u8; 32]) -> Result<[u8; 32], Error> {
        let args = [("value", hex::encode(fresh).as_str().into())];
        self.pools.main.write(&KEEP_SECRET, &args).await?;
        let kept = first(self.pools.main.rows(&SECRET, &[]).await?, "setting")?.text("setting")?;
        let mut secret = [0; 32];
        hex::decode_to_slice(&kept, &mut secret).map_err(|error| Error::Corrupt {
            table: "setting",
            row: None,
            message: format!("the shared secret: {error}"),
        })?;
        Ok(secret)
    }
}

#[async_trait]
impl EditForStore for Store {
    async fn edit_for(
        &self,
        term: &Term,
        on_behalf_of: OnBehalfOf,
        edit: &Edit,
        at: Timestamp,
    ) -> Result<Fired, Error> {
        self.intern_of(edit).await?;
        let footing = Footing::changes(edit.edits);
        let led = as_leader!(EDIT_FOR, self, term, footing, tx => async {
            let tx = &mut tx.edit(on_behalf_of, edit.deed());
            self.edit_in(tx, edit, at).await
        })?;
        Ok(match led {
            Led::Done(Written::Applied) => Fired::Applied,
            Led::Done(Written::Stale) | Led::Edited => Fired::Edited,
            Led::Fenced => Fired::Fenced,
        })
    }

    async fn pauses_over(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TaskId, Timestamp)>, Error> {
        const TABLE: &str = "pause";
        let args = [("now", now.as_ms().into()), ("limit", cap(limit))];
        let rows = self.pools.leader_reader.rows(&pauses::OVER, &args).await?;
        let over = rows.into_iter().map(|mut row| {
            let id = TaskId::from_i64(row.int(TABLE)?);
            Ok((id, Timestamp::from_ms(row.int(TABLE)?)))
        });
        over.collect()
    }

    async fn end_hold(&self, term: &Term, until: Timestamp) -> Result<Fired, Error> {
        let args = [("until", until.as_ms().into())];
        let footing = Footing::changes(None);
        let led = as_leader!(END_HOLD, self, term, footing, tx => async {
            if tx.write(&hold::END, &args).await? == 0 {
                return Ok(Verdict::Rollback(Fired::Edited));
            }
            hold::mark(tx, false).await?;
            tx.leaves(OnBehalfOf::HoldUntil, Deed::new("hold.end", "cluster", ""));
            Ok(Verdict::Commit(Fired::Applied))
        })?;
        Ok(led.fired())
    }

    async fn prune_audit(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error> {
        let args = [("before", before.as_ms().into()), ("limit", cap(limit))];
        let old = self.pools.leader_reader.rows(&audit::OLD, &args).await?;
        let count = old.len();
        let Some(mut last) = old.into_iter().next_back() else {
            return Ok(Some(0));
        };
        let (seq, hash) = (last.int("audit")?, last.text("audit")?);
        let led = as_leader!(PRUNING, self, term, Footing::TERM, tx => async {
            tx.write(&audit::PRUNE, &[("seq", seq.into())]).await?;
            let args = [("seq", seq.into()), ("hash", hash.as_str().into())];
            tx.write(&audit::ANCHOR, &args).await?;
            Ok(Verdict::Commit(count))
        })?;
        Ok(led.unless_fenced())
    }

    async fn prune(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error> {
        let bound = RunId::floor(Timestamp::from_ms(
            before.as_ms().saturating_add(SKEW_MAX_MS),
        ));
        let stuck = self.stuck();
        let args = [
            ("before", before.as_ms().into()),
            ("bound", bound.as_i64().into()),
            ("limit", cap(limit)),
            ("stuck", Table::of(stuck).into()),
        ];
        let old = self.pools.leader_reader.rows(&OLD_RUNS, &args).await?;
        let ids = old.into_iter().map(|mut row| row.int("run_history"));
        let ids = ids.collect::<Result<Vec<i64>, _>>()?;
        self.prune_runs(term, &ids, before).await
    }
}

impl Store {
    /// A statement of a person that changes no definition: whether it changed a row.
    pub(super) async fn one_of(
        &self,
        around: &Around,
        record: &Record,
        statement: &Statement,
        args: Args<'_>,
    ) -> Result<Written, Error> {
        let changed = as_editor!(around, self, record, None, tx => async {
            Ok(match tx.write_if_free(statement, args).await? {
                0 => Verdict::Rollback(Written::Stale),
                _ => Verdict::Commit(Written::Applied),
            })
        })?;
        Ok(changed.unwrap_or(Written::Stale))
    }

    /// Removes these. One that the database does not let go (somebody's foreign key, a broken page) keeps no other.
    async fn prune_runs(
        &self,
        term: &Term,
        ids: &[i64],
        before: Timestamp,
    ) -> Result<Option<usize>, Error> {
        let (mut parts, mut removed) = (Parts::of(ids.len()), 0);
        if ids.is_empty() {
            // Whether the term is over is asked all the same.
            return Ok(self
                .prune_some(term, ids, before)
                .await?
                .is_applied()
                .then_some(0));
        }
        while let Some(part) = parts.take() {
            match self.prune_some(term, &ids[part.clone()], before).await {
                Ok(Written::Applied) => removed += part.len(),
                Ok(Written::Stale) => return Ok(None),
                Err(error) if error.is_refusal() => {
                    if let Some(n) = parts.refused(&part) {
                        self.is_stuck(ids[n], &error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(removed))
    }

    async fn prune_some(
        &self,
        term: &Term,
        ids: &[i64],
        before: Timestamp,
    ) -> Result<Written, Error> {
        let led = as_leader!(PRUNING, self, term, Footing::TERM, tx => async {
            if !ids.is_empty() {
                let args = [("ids", Table::of(ids.iter().copied()).into())];
                for statement in &PRUNE {
                    tx.write(statement, &args).await?;
                }
            }
            let args = [("before", before.as_ms().into()), ("limit", cap(limits::PAGE_ROWS_MAX))];
            tx.write(&FORGET_SETTLED, &args).await?;
            tx.write(&FORGET_NAMES, &args[..1]).await?;
            Ok(Verdict::Commit(Written::Applied))
        })?;
        Ok(led.written())
    }
}
