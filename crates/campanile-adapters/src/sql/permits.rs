//! Permits over SQL: who holds them, giving them out inside a firing, giving them back with an end, and handing on to
//! who is blocked. `docs/decisions/006-permits.md` says why no interleaving of these loses a permit or a blocked run.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use campanile_core::decide::permits::{Blocked, Held, LimitKey, Permit, Standing};
use campanile_core::failpoint;
use campanile_core::failpoint::Failpoint;
use campanile_core::id::RunId;
use campanile_core::port::fire::{Firing, PermitStore, Replaced};
use campanile_core::port::lead::Term;
use campanile_core::port::store::Error;
use campanile_core::run::{Reason, State};

use crate::sql::connection::{Tx, Verdict};
use crate::sql::ends::{Ending, Outcome, PUT_TIMERS, end};
use crate::sql::error::Failure;
use crate::sql::mariadb::steps;
use crate::sql::pen::{Footing, as_leader};
use crate::sql::points::{SWEEP, UNBLOCK};
use crate::sql::rows::small;
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::{Row, Table};

/// Blocked runs of one limit that go on at once.
const HAND_ON_MAX: i64 = 10_000;

/// Who holds the permits of these limits, and where those runs stand.
static HOLDERS: Statement = Statement::new(
    "SELECT permit.limit_key, permit.n, permit.run, run.state,
     CASE WHEN run.origin = 3 OR run.limited = 2 THEN 1 ELSE 0 END FROM campanile_permit AS permit LEFT JOIN campanile_run AS run ON run.id = permit.run
     WHERE permit.limit_key IN (SELECT k FROM @keys(k text) AS v)",
);

/// How many runs wait for a permit of these limits.
static WAITERS: Statement = Statement::new(
    "SELECT limit_key, COUNT(*) FROM campanile_blocked WHERE limit_key IN (SELECT k FROM @keys(k text) AS v) GROUP BY limit_key",
);

/// Takes permits. One that is taken already is left, and found out by the count.
static TAKE: Statement = Statement::new(
    "INSERT INTO campanile_permit (limit_key, n, run) SELECT k, p, r FROM @rows(k text, p int, r int) AS v
     WHERE true ON CONFLICT (limit_key, n) DO NOTHING",
)
.on_mariadb(steps::TAKE_PERMITS);

/// Which of these permits are held; none of them can be given back before this transaction ends.
static HOLD: Statement = Statement::new(
    "SELECT 1 FROM campanile_permit WHERE (limit_key, n) IN (SELECT k, p FROM @rows(k text, p int) AS v) @share",
)
.on_mariadb(steps::HOLD_PERMITS);

/// Runs that wait.
static BLOCK: Statement = Statement::new(
    "INSERT INTO campanile_blocked (limit_key, place, at, run, queue)
     SELECT k, p, t, r, q FROM @rows(k text, p int, t int, r int, q int) AS v",
);

/// Runs that need permits are told from all others.
static FLAG: Statement = Statement::new(
    "UPDATE campanile_run SET limited = 1 WHERE id IN (SELECT r FROM @runs(r int) AS v) AND limited = 0",
);

/// Which of these runs wait. Their rows are this transaction's: inserted, or stamped when their timers were consumed.
static STILL_WAIT: Statement = Statement::new(
    "SELECT id FROM campanile_run WHERE id IN (SELECT r FROM @runs(r int) AS v) AND state IN (1, 2)",
);

/// Gives the permits of ended runs back.
static GIVE_BACK: Statement = Statement::new(
    "DELETE FROM campanile_permit WHERE run IN (SELECT r FROM @runs(r int) AS v) RETURNING limit_key",
);

/// Gives back what runs do not keep between their attempts.
static GIVE_BACK_BETWEEN: Statement = Statement::new(
    "DELETE FROM campanile_permit WHERE run IN (SELECT r FROM @runs(r int) AS v) AND limit_key NOT LIKE 'overlap:%'
     RETURNING limit_key",
);

/// Ended runs wait for nothing.
static LEAVE: Statement =
    Statement::new("DELETE FROM campanile_blocked WHERE run IN (SELECT r FROM @runs(r int) AS v)");

/// The first runs that wait for a permit of a limit. Two that hand on at once take different ones. They are found once,
/// by themselves: a subquery that locks rows may be run for every row that it is compared with, and finds others each time.
static HAND_ON: Statement = Statement::new(
    "WITH next_ones AS MATERIALIZED (SELECT limit_key, place, at, run FROM campanile_blocked
     WHERE limit_key = :key ORDER BY place, at, run LIMIT :most @skip_locked)
     DELETE FROM campanile_blocked WHERE (limit_key, place, at, run) IN (SELECT limit_key, place, at, run FROM next_ones)
     RETURNING queue, at, run",
)
.on_mariadb(steps::HAND_ON);

/// Who is blocked under a limit and does not wait its turn, and at which attempt.
static BLOCKED_UNDER: Statement = Statement::new(
    "SELECT run.id, run.attempt FROM campanile_blocked AS blocked JOIN campanile_run AS run ON run.id = blocked.run
     WHERE blocked.limit_key = :key AND run.origin <> 3 AND run.limited <> 2",
);

/// Limits of which ended runs hold permits, and those under which runs are blocked though nobody holds one.
static LEFT_OVER: Statement = Statement::new(
    "SELECT limit_key FROM campanile_permit AS permit WHERE NOT EXISTS (SELECT 1 FROM campanile_run AS run WHERE run.id = permit.run)
     UNION SELECT limit_key FROM campanile_blocked AS blocked
     WHERE NOT EXISTS (SELECT 1 FROM campanile_permit AS permit WHERE permit.limit_key = blocked.limit_key)
     AND blocked.limit_key NOT LIKE 'needs:%'",
);

/// Runs that wait for somebody who can carry them out, by what they need.
static BLOCKED: Statement = Statement::new(
    "SELECT limit_key, COUNT(*) FROM campanile_blocked WHERE limit_key >= 'needs:' AND limit_key < 'needs;' GROUP BY limit_key
     ORDER BY limit_key",
);

/// Takes the permits of ended runs back.
static DROP_ORPHANED: Statement = Statement::new(
    "DELETE FROM campanile_permit AS permit WHERE NOT EXISTS (SELECT 1 FROM campanile_run AS run WHERE run.id = permit.run)",
);

/// Tells a running run's worker to end it, because a later occurrence takes its place.
static REPLACE_RUNNING: Statement = Statement::new(
    "UPDATE campanile_run SET cancel_requested = CASE WHEN cancel_requested = 0 THEN 2 ELSE cancel_requested END
     WHERE id = :id AND state = 3",
);

/// At which attempt a waiting run is.
static WAITING_ATTEMPT: Statement =
    Statement::new("SELECT id, attempt FROM campanile_run WHERE id = :id AND state IN (1, 2)");

#[async_trait]
impl PermitStore for Store {
    async fn standings(&self, keys: &[LimitKey]) -> Result<HashMap<LimitKey, Standing>, Error> {
        let spelled = Table::default().texts(keys.iter().map(ToString::to_string));
        let args = [("keys", spelled.into())];
        let pool = &self.pools.leader_reader;
        let mut found: HashMap<LimitKey, Standing> = HashMap::new();
        for mut row in pool.rows(&HOLDERS, &args).await? {
            let key = key_of(&mut row)?;
            // It is held, whatever its number.
            let n = small(row.int("permit")?).unwrap_or(u32::MAX);
            let run = row.int("permit")?;
            let state = row.opt_int("run")?.and_then(State::from_i64);
            found.entry(key).or_default().held.push(Held {
                n,
                run: RunId::from_i64(run),
                state: state.unwrap_or(State::Running),
                in_turn: row.int("run")? == 1,
            });
        }
        for mut row in pool.rows(&WAITERS, &args).await? {
            let key = key_of(&mut row)?;
            found.entry(key).or_default().blocked = small(row.int("blocked")?)?;
        }
        Ok(found)
    }

    async fn sweep_permits(&self, term: &Term) -> Result<Option<usize>, Error> {
        // Usually there is none, and nothing is written to find that out.
        let rows = self.pools.leader_reader.rows(&LEFT_OVER, &[]).await?;
        let keys = rows.into_iter().map(|mut row| row.text("permit"));
        let keys = keys.collect::<Result<Vec<String>, _>>()?;
        if keys.is_empty() {
            return Ok(Some(0));
        }
        let led = as_leader!(SWEEP, self, term, Footing::TERM, tx => async {
            tx.write(&DROP_ORPHANED, &[]).await?;
            let mut count = 0;
            for key in &keys {
                count += hand_on(tx, key, HAND_ON_MAX).await?;
            }
            Ok(Verdict::Commit(count))
        })?;
        Ok(led.unless_fenced())
    }

    async fn blocked(&self) -> Result<Vec<(LimitKey, u64)>, Error> {
        let rows = self.pools.leader_reader.rows(&BLOCKED, &[]).await?;
        let counts = rows.into_iter().map(|mut row| {
            let key = key_of(&mut row)?;
            Ok((key, small(row.int("blocked")?)?))
        });
        self.readable(counts)
    }

    async fn unblock(&self, term: &Term, keys: &[LimitKey]) -> Result<Option<usize>, Error> {
        let led = as_leader!(UNBLOCK, self, term, Footing::TERM, tx => async {
            let mut count = 0;
            for key in keys {
                count += hand_on(tx, &key.to_string(), HAND_ON_MAX).await?;
            }
            Ok(Verdict::Commit(count))
        })?;
        Ok(led.unless_fenced())
    }
}

impl Store {
    /// What a firing says about permits. Answers whether its decisions still hold.
    pub(super) async fn fire_permits(&self, tx: &mut Tx, firing: &Firing) -> Result<bool, Failure> {
        let now_ms = firing.at.as_ms();
        for replaced in &firing.replaced {
            if !replace(tx, replaced, now_ms).await? {
                return Ok(false);
            }
        }
        let dropped: Vec<Ending> = firing
            .dropped
            .iter()
            .map(|(run, attempt, reason)| Ending {
                outcome: Outcome::Over(State::Skipped, *reason),
                ..never_starts(*run, *attempt, *reason, now_ms)
            })
            .collect();
        end(tx, &dropped.iter().collect::<Vec<_>>(), false).await?;
        let limited = firing.acquired.iter().map(|p| p.run);
        let limited: BTreeSet<RunId> = limited
            .chain(firing.blocked.iter().map(|p| p.run))
            .collect();
        if limited.is_empty() {
            return Ok(true);
        }
        let runs = || Table::of(limited.iter().map(|id| id.as_i64()));
        // A run that was cancelled since the scan would keep for ever what it is given now.
        let waiting = tx.rows(&STILL_WAIT, &[("runs", runs().into())]).await?;
        if waiting.len() != limited.len() {
            return Ok(false);
        }
        tx.write(&FLAG, &[("runs", runs().into())]).await?;
        Ok(take(tx, &firing.acquired).await? && self.block(tx, firing).await?)
    }

    async fn block(&self, tx: &mut Tx, firing: &Firing) -> Result<bool, Failure> {
        if firing.blocked.is_empty() {
            return Ok(true);
        }
        let full: BTreeSet<&(LimitKey, u32)> = firing.full.iter().collect();
        let rows = Table::default()
            .texts(full.iter().map(|(key, _)| key.to_string()))
            .ints(full.iter().map(|(_, n)| i64::from(*n)));
        if tx.rows(&HOLD, &[("rows", rows.into())]).await?.len() != full.len() {
            return Ok(false);
        }
        let queues = firing.blocked.iter().map(|p| self.queue_id(&p.queue));
        let queues = queues.collect::<Result<Vec<i64>, _>>()?;
        let of = |f: fn(&Blocked) -> i64| firing.blocked.iter().map(f);
        let rows = Table::default()
            .texts(firing.blocked.iter().map(|p| p.key.to_string()))
            .ints(of(|p| i64::from(9 - p.priority.min(9))))
            .ints(of(|p| p.ready_at.as_ms()))
            .ints(of(|p| p.run.as_i64()))
            .ints(queues);
        tx.write(&BLOCK, &[("rows", rows.into())]).await?;
        failpoint::reach(Failpoint::FireBlocked);
        Ok(true)
    }
}

fn key_of(row: &mut Row) -> Result<LimitKey, Error> {
    row.text("permit")?
        .parse()
        .map_err(|message| Error::Corrupt {
            table: "permit",
            row: None,
            message,
        })
}

async fn take(tx: &mut Tx, permits: &[Permit]) -> Result<bool, Failure> {
    if permits.is_empty() {
        return Ok(true);
    }
    let rows = Table::default()
        .texts(permits.iter().map(|p| p.key.to_string()))
        .ints(permits.iter().map(|p| i64::from(p.n)))
        .ints(permits.iter().map(|p| p.run.as_i64()));
    let taken = tx.write_if_free(&TAKE, &[("rows", rows.into())]).await?;
    Ok(usize::try_from(taken).ok() == Some(permits.len()))
}

/// Ends a run that never starts, or one whose place another takes between its attempts.
fn never_starts(run: RunId, attempt: u32, reason: Reason, at: i64) -> Ending {
    let state = if attempt == 1 {
        State::Skipped
    } else {
        State::Cancelled
    };
    Ending {
        run,
        attempt: Some(attempt),
        claim: None,
        at,
        outcome: Outcome::Over(state, reason),
        error: None,
        class: None,
        log: None,
        result: None,
        timer: None,
    }
}

/// Takes a run's place, and that of all who wait behind it. Answers whether it was as it was seen.
async fn replace(tx: &mut Tx, replaced: &Replaced, now_ms: i64) -> Result<bool, Failure> {
    let Replaced {
        key,
        run,
        running,
        kept,
    } = replaced;
    let args = [("key", key.to_string().as_str().into())];
    let mut over = tx.rows(&BLOCKED_UNDER, &args).await?;
    let args = [("id", run.as_i64().into())];
    if *kept {
        // It stays: those that block demand that it does.
    } else if *running {
        if tx.write(&REPLACE_RUNNING, &args).await? != 1 {
            return Ok(false);
        }
    } else {
        over.extend(tx.rows(&WAITING_ATTEMPT, &args).await?);
    }
    let endings = over.into_iter().map(|mut row| {
        let (run, attempt) = (RunId::from_i64(row.int("run")?), small(row.int("run")?)?);
        Ok(never_starts(run, attempt, Reason::Replaced, now_ms))
    });
    let endings = endings.collect::<Result<Vec<_>, Error>>()?;
    let ended = end(tx, &endings.iter().collect::<Vec<_>>(), false).await?;
    Ok(*running || *kept || ended.iter().any(|(ended, ..)| ended == run))
}

/// Gives back the permits of runs that ended, or wait for their next attempt, and lets the next ones go on.
pub(super) async fn release(tx: &mut Tx, runs: &[i64], ended: bool) -> Result<(), Failure> {
    if runs.is_empty() {
        return Ok(());
    }
    let args = [("runs", Table::of(runs.iter().copied()).into())];
    let given_back = if ended {
        tx.write(&LEAVE, &args).await?;
        tx.rows(&GIVE_BACK, &args).await?
    } else {
        tx.rows(&GIVE_BACK_BETWEEN, &args).await?
    };
    let mut free: HashMap<String, i64> = HashMap::new();
    for mut row in given_back {
        *free.entry(row.text("permit")?).or_default() += 1;
    }
    for (key, most) in free {
        hand_on(tx, &key, most).await?;
    }
    Ok(())
}

/// Puts the timers of the first runs that wait under these limits, all of them: what changed may let them through.
pub(super) async fn look_again(tx: &mut Tx, keys: &[LimitKey]) -> Result<(), Failure> {
    for key in keys {
        hand_on(tx, &key.to_string(), HAND_ON_MAX).await?;
    }
    Ok(())
}

async fn hand_on(tx: &mut Tx, key: &str, most: i64) -> Result<usize, Failure> {
    let args = [("key", key.into()), ("most", most.into())];
    let (mut queues, mut instants, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    for mut row in tx.rows(&HAND_ON, &args).await? {
        queues.push(row.int("blocked")?);
        instants.push(row.int("blocked")?);
        runs.push(row.int("blocked")?);
    }
    let count = runs.len();
    if count > 0 {
        let rows = Table::of(queues).ints(instants).ints(runs);
        tx.write(&PUT_TIMERS, &[("rows", rows.into())]).await?;
        failpoint::reach(Failpoint::PermitsHandedOn);
    }
    Ok(count)
}
