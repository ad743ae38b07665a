//! Requests for runs: putting them with their keys and timers, finding them by key, and moving them to another instant.

use std::collections::{BTreeMap, HashMap, HashSet};

use campanile_core::decide::edit::keys::{Digest, Key};
use campanile_core::failpoint::Failpoint;
use campanile_core::id::RunId;
use campanile_core::port::edit::{Moved, Submission, Submitted};
use campanile_core::port::fire::{DueKey, Owner};
use campanile_core::port::store::Error;
use campanile_core::run::Run;
use campanile_core::{failpoint, limits};

use crate::sql::connection::{Tx, Verdict};
use crate::sql::error::Failure;
use crate::sql::fire::INSERT_ROWS_MAX;
use crate::sql::pen::{EditTx, LeaderTx};
use crate::sql::rows::spec_table;
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::{Row, Table};

/// Which run each key has. A key that is taken, also by somebody who has not committed yet, is left as it is.
static KEEP_KEYS: Statement = Statement::new(
    "INSERT INTO campanile_run_key (idempotency_key, scope, run, digest, at)
     SELECT k, s, r, d, @now FROM @keys(k text, s text, r int, d text) AS v
     WHERE true ON CONFLICT (idempotency_key, scope) DO NOTHING",
);

/// The runs that keys stand for, and what was said with them.
static KEYS: Statement = Statement::new(
    "SELECT idempotency_key, scope, run, digest FROM campanile_run_key
     WHERE (idempotency_key, scope) IN (SELECT k, s FROM @keys(k text, s text) AS v)",
);

/// What runs carry of their own.
static INSERT_SPECS: Statement = Statement::new(
    "INSERT INTO campanile_run_spec (run, handler, payload, rules) SELECT r, h, p, u FROM @specs(r int, h text, p text, u text) AS v",
);

/// Takes a run's timer away.
static TAKE_TIMER: Statement = Statement::new(
    "DELETE FROM campanile_due WHERE queue = :queue AND at = :at AND owner = :run AND n = 1",
);

/// Lets a run that waits for its timer be due at another instant.
static MOVE_RUN: Statement = Statement::new(
    "UPDATE campanile_run SET due_at = :due, ready_at = :ready, deadline_at = :ready + (deadline_at - ready_at)
     WHERE id = :run AND state = 1 AND attempt = 1 AND epoch = 0 AND limited = 0 AND ready_at = :old",
);

/// A key in its scope.
type Place = (String, String);
/// What a key stands for.
type Kept = (RunId, Option<Digest>);
type Keys = HashMap<Place, Kept>;

fn place(key: &Key) -> Place {
    (key.text.clone(), key.scope.to_string())
}

fn timer(run: &Run) -> DueKey {
    DueKey {
        queue: run.queue.clone(),
        at: run.ready_at,
        owner: Owner::Run(run.id),
    }
}

impl Store {
    /// The answers to many requests that were all made before: a look, beside whoever writes. `None` if one of them is
    /// new, or they are few: then the transaction tells.
    pub(super) async fn known_already(
        &self,
        submissions: &[Submission],
    ) -> Result<Option<Vec<Submitted>>, Error> {
        if submissions.len() < limits::BULK_ROWS_MIN {
            return Ok(None);
        }
        let mut answers = Vec::with_capacity(submissions.len());
        for chunk in submissions.chunks(INSERT_ROWS_MAX) {
            let places: Option<Vec<Place>> =
                chunk.iter().map(|s| Some(place(s.key.as_ref()?))).collect();
            let Some(places) = places else {
                return Ok(None);
            };
            let args = [("keys", table_of(places.iter()).into())];
            let known = keys_of(self.pools.reader.rows(&KEYS, &args).await?)?;
            for (submission, place) in chunk.iter().zip(&places) {
                let Some((run, content)) = known.get(place) else {
                    return Ok(None);
                };
                let key = submission.key.as_ref();
                answers.push(Submitted {
                    run: *run,
                    created: false,
                    taken: key.is_some_and(|key| !key.is_same(content.as_ref())),
                });
            }
        }
        Ok(Some(answers))
    }

    /// `None` if a task of theirs was deleted meanwhile.
    pub(super) async fn submit_in(
        &self,
        tx: &mut EditTx<'_>,
        submissions: &[Submission],
        submitter: &str,
    ) -> Result<Verdict<Option<Vec<Submitted>>>, Failure> {
        let (answers, fresh) = keyed(tx, submissions).await?;
        if answers.iter().any(|answer| answer.taken) {
            return Ok(Verdict::Rollback(Some(none_created(answers))));
        }
        if !self.put_requests(tx, &fresh, Some(submitter)).await? {
            return Ok(Verdict::Rollback(None));
        }
        Ok(Verdict::Commit(Some(answers)))
    }

    /// The same for what a leader takes out of the inbox: a key that is taken is its own submission's matter alone.
    pub(super) async fn admit(
        &self,
        tx: &mut LeaderTx,
        submissions: &[Submission],
    ) -> Result<Option<Vec<Submitted>>, Failure> {
        if submissions.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let (answers, fresh) = keyed(tx, submissions).await?;
        let stored = self.put_requests(tx, &fresh, None).await?;
        Ok(stored.then_some(answers))
    }

    /// Answers whether all of their tasks live.
    async fn put_requests(
        &self,
        tx: &mut Tx,
        fresh: &[&Submission],
        submitter: Option<&str>,
    ) -> Result<bool, Failure> {
        let runs: Vec<Run> = fresh.iter().map(|s| s.run.clone()).collect();
        let own: Vec<bool> = fresh.iter().map(|s| s.spec.is_some()).collect();
        if !self.insert_requests(tx, &runs, &own, submitter).await? {
            return Ok(false);
        }
        for chunk in fresh.chunks(INSERT_ROWS_MAX) {
            let specs = chunk
                .iter()
                .filter_map(|s| s.spec.as_ref().map(|spec| (s.run.id, spec)));
            if specs.clone().next().is_some() {
                tx.write(&INSERT_SPECS, &[("specs", spec_table(specs)?.into())])
                    .await?;
            }
        }
        let timers: Vec<DueKey> = runs.iter().map(timer).collect();
        self.put_new_due(tx, &timers).await?;
        Ok(true)
    }

    /// `None` if the run is not as it was seen. The timer comes first, as in a firing: so the two never wait for each other.
    pub(super) async fn move_in(
        &self,
        tx: &mut EditTx<'_>,
        old: &Run,
        new: &Run,
    ) -> Result<Verdict<Option<Moved>>, Failure> {
        let queue = self.queue_id(&old.queue)?;
        let run = old.id.as_i64();
        let args = [
            ("queue", queue.into()),
            ("at", old.ready_at.as_ms().into()),
            ("run", run.into()),
        ];
        let had_timer = tx.write(&TAKE_TIMER, &args).await? == 1;
        let args = [
            ("run", run.into()),
            ("old", old.ready_at.as_ms().into()),
            ("due", new.due_at.as_ms().into()),
            ("ready", new.ready_at.as_ms().into()),
        ];
        let moved = tx.write(&MOVE_RUN, &args).await? == 1;
        if !moved {
            return Ok(Verdict::Rollback(None));
        }
        if !had_timer {
            return Ok(Verdict::Rollback(Some(Moved::Due)));
        }
        self.put_due(tx, &[timer(new)]).await?;
        Ok(Verdict::Commit(Some(Moved::Done)))
    }
}

/// Puts the keys of these submissions. Answers what each is answered, and those that are new.
async fn keyed<'s>(
    tx: &mut Tx,
    submissions: &'s [Submission],
) -> Result<(Vec<Submitted>, Vec<&'s Submission>), Failure> {
    let (known, kept) = keep_keys(tx, submissions).await?;
    failpoint::reach(Failpoint::SubmitKeyed);
    let mut created = HashSet::with_capacity(submissions.len());
    let mut fresh: Vec<&Submission> = Vec::with_capacity(submissions.len());
    let mut answers = Vec::with_capacity(submissions.len());
    for submission in submissions {
        let own = submission.run.id;
        let place = submission.key.as_ref().map(place);
        let (before, now) = (
            place.as_ref().and_then(|key| known.get(key)),
            place.as_ref().and_then(|key| kept.get(key)),
        );
        if place.is_some() && before.is_none() && now.is_none() {
            let gone = "the key's run was made and removed meanwhile";
            return Err(Error::Contended(gone.into()).into());
        }
        // Retention may have taken the key away since it was seen: then the answer is the run that it stood for, or
        // it stands for ours, and ours is new.
        let (run, content) = match now.or(before) {
            Some((run, content)) => (*run, content.as_ref()),
            None => (own, None),
        };
        let key = submission.key.as_ref();
        let taken = key.is_some_and(|key| !key.is_same(content));
        let is_known = before.is_some_and(|(first, _)| *first == run);
        let is_new = !is_known && run == own && (place.is_none() || created.insert(own));
        if is_new {
            fresh.push(submission);
        }
        answers.push(Submitted {
            run,
            created: is_new,
            taken,
        });
    }
    Ok((answers, fresh))
}

/// Nothing was stored: what would have been new is not.
fn none_created(answers: Vec<Submitted>) -> Vec<Submitted> {
    let answers = answers.into_iter();
    answers
        .map(|answer| Submitted {
            created: false,
            ..answer
        })
        .collect()
}

/// Puts the keys of these submissions. Answers what each key stood for before, and stands for now. In the order of
/// keys, so that two submissions never wait for each other.
async fn keep_keys(tx: &mut Tx, submissions: &[Submission]) -> Result<(Keys, Keys), Failure> {
    let mut wanted: BTreeMap<Place, (RunId, Option<String>)> = BTreeMap::new();
    for submission in submissions {
        if let Some(key) = &submission.key {
            let digest = key.content.as_ref().map(|d| d.as_str().to_owned());
            wanted
                .entry(place(key))
                .or_insert((submission.run.id, digest));
        }
    }
    let wanted: Vec<(Place, (RunId, Option<String>))> = wanted.into_iter().collect();
    let (mut known, mut kept) = (Keys::new(), Keys::with_capacity(wanted.len()));
    for chunk in wanted.chunks(INSERT_ROWS_MAX) {
        let keys = table_of(chunk.iter().map(|(place, _)| place));
        let with_runs = keys
            .clone()
            .ints(chunk.iter().map(|(_, (run, _))| run.as_i64()))
            .texts(chunk.iter().map(|(_, (_, digest))| digest.clone()));
        look_up(tx, &keys, &mut known).await?;
        if chunk.iter().all(|(place, _)| known.contains_key(place)) {
            // Somebody asks again: there is nothing to keep.
            continue;
        }
        tx.write(&KEEP_KEYS, &[("keys", with_runs.into())]).await?;
        look_up(tx, &keys, &mut kept).await?;
    }
    Ok((known, kept))
}

async fn look_up(tx: &mut Tx, keys: &Table, found: &mut Keys) -> Result<(), Failure> {
    let rows = tx.rows(&KEYS, &[("keys", keys.clone().into())]).await?;
    found.extend(keys_of(rows)?);
    Ok(())
}

fn table_of<'p>(places: impl Iterator<Item = &'p Place> + Clone) -> Table {
    Table::default()
        .texts(places.clone().map(|(key, _)| key.clone()))
        .texts(places.map(|(_, scope)| scope.clone()))
}

fn keys_of(rows: Vec<Row>) -> Result<Keys, Error> {
    let mut found = Keys::with_capacity(rows.len());
    for mut row in rows {
        let place = (row.text("run_key")?, row.text("run_key")?);
        let run = RunId::from_i64(row.int("run_key")?);
        let digest = row.opt_text("run_key")?.map(Digest::from_spelling);
        found.insert(place, (run, digest));
    }
    Ok(found)
}
