//! The inbox: one table in which any program leaves requests inside its own transaction, and what has become of its rows.
//! The statement that leaves one locks, reads and changes nothing else, so no stranger's transaction holds the leader up.
//! Rows are taken out under the fence, each in the transaction that stores its run.

use std::collections::HashSet;

use async_trait::async_trait;
use campanile_core::decide::edit::inbox::{
    Became, Decided, Decision, Drained, Inbox, Left, Settled, fit,
};
use campanile_core::failpoint::Failpoint;
use campanile_core::id::RunId;
use campanile_core::port::edit::{InboxStore, Submission, Submitted};
use campanile_core::port::lead::Term;
use campanile_core::port::store::Error;
use campanile_core::{failpoint, limits};
use campanile_schedule::time::Timestamp;

use crate::sql::connection::Verdict;
use crate::sql::error::Failure;
use crate::sql::mariadb::steps;
use crate::sql::pen::{Footing, LeaderTx, as_leader};
use crate::sql::points::DRAIN;
use crate::sql::publish::cap;
use crate::sql::rows::clean;
use crate::sql::statement::Statement;
use crate::sql::store::Store;
use crate::sql::value::Table;

/// The oldest rows with their sizes, and the edit counter; one row without an id if there is none.
static LOOK: Statement = Statement::differs(
    "SELECT leader.edits, i.id, i.size FROM campanile_leader AS leader LEFT JOIN
     (SELECT id, LENGTH(CAST(request AS BLOB)) AS size FROM campanile_inbox ORDER BY id LIMIT :limit) AS i ON true
     WHERE leader.id = 1 ORDER BY i.id",
    "SELECT leader.edits, i.id, i.size FROM campanile_leader AS leader LEFT JOIN
     (SELECT id, CAST(OCTET_LENGTH(request) AS BIGINT) AS size FROM campanile_inbox ORDER BY id LIMIT :limit) AS i ON true
     WHERE leader.id = 1 ORDER BY i.id",
);

/// What rows ask for, as bytes: a stranger may leave what is no text.
static OPEN: Statement = Statement::differs(
    "SELECT id, CAST(request AS BLOB) FROM campanile_inbox WHERE id IN (SELECT id FROM @ids(id int) AS v) ORDER BY id",
    "SELECT id, CONVERT_TO(request, 'UTF8') FROM campanile_inbox WHERE id IN (SELECT id FROM @ids(id int) AS v) ORDER BY id",
)
.on_mariadb(steps::OPEN_INBOX);

/// Takes rows out; answers which were there.
static TAKE: Statement = Statement::new(
    "DELETE FROM campanile_inbox WHERE id IN (SELECT id FROM @ids(id int) AS v) RETURNING id",
);

/// Keeps what has become of them.
static KEEP: Statement = Statement::new(
    "INSERT INTO campanile_inbox_settled (id, at, became, run, message)
     SELECT i, :at, b, r, m FROM @rows(i int, b int, r int, m text) AS v",
);

/// Forgets what has become of old rows: the oldest, as many as one transaction may.
pub(super) static FORGET_SETTLED: Statement = Statement::new(
    "DELETE FROM campanile_inbox_settled WHERE at < :before
     AND id IN (SELECT id FROM campanile_inbox_settled ORDER BY id LIMIT :limit)",
)
.on_mariadb(steps::FORGET_SETTLED);

#[async_trait]
impl InboxStore for Store {
    async fn inbox(&self) -> Result<Inbox, Error> {
        const TABLE: &str = "campanile_inbox";
        let reader = &self.pools.leader_reader;
        let args = [("limit", cap(limits::INBOX_ROWS_MAX))];
        let (mut edits, mut sizes) = (0, Vec::new());
        for mut row in reader.rows(&LOOK, &args).await? {
            edits = row.int("leader")?;
            if let Some(id) = row.opt_int(TABLE)? {
                let size = row.opt_int(TABLE)?.unwrap_or_default();
                sizes.push((id, usize::try_from(size).unwrap_or(usize::MAX)));
            }
        }
        sizes.truncate(fit(sizes.iter().map(|(_, size)| *size)));
        let is_read = |size: usize| size <= limits::BODY_BYTES_MAX;
        let read: Vec<i64> = sizes
            .iter()
            .filter(|(_, size)| is_read(*size))
            .map(|(id, _)| *id)
            .collect();
        let mut rows: Vec<Left> = sizes
            .iter()
            .filter(|(_, size)| !is_read(*size))
            .map(|(id, _)| Left {
                id: *id,
                request: None,
            })
            .collect();
        if !read.is_empty() {
            let args = [("ids", Table::of(read).into())];
            for mut row in reader.rows(&OPEN, &args).await? {
                rows.push(Left {
                    id: row.int(TABLE)?,
                    request: Some(String::from_utf8_lossy(&row.bytes(TABLE)?).into_owned()),
                });
            }
        }
        rows.sort_unstable_by_key(|row| row.id);
        Ok(Inbox { rows, edits })
    }

    async fn drain(
        &self,
        term: &Term,
        edits: i64,
        rows: &[Decision],
        at: Timestamp,
    ) -> Result<Drained, Error> {
        self.intern(submissions(rows).map(|s| &s.run.queue)).await?;
        let footing = Footing::read_at(edits);
        let led = as_leader!(DRAIN, self, term, footing, tx => self.drain_in(tx, rows, at))?;
        Ok(led.drained())
    }
}

impl Store {
    async fn drain_in(
        &self,
        tx: &mut LeaderTx,
        rows: &[Decision],
        at: Timestamp,
    ) -> Result<Verdict<Drained>, Failure> {
        let ids = Table::of(rows.iter().map(|row| row.id));
        let mut there = HashSet::with_capacity(rows.len());
        for mut row in tx.rows(&TAKE, &[("ids", ids.into())]).await? {
            there.insert(row.int("campanile_inbox")?);
        }
        failpoint::reach(Failpoint::DrainTaken);
        let taken: Vec<&Decision> = rows.iter().filter(|row| there.contains(&row.id)).collect();
        let asked: Vec<Submission> = submissions(taken.iter().copied()).cloned().collect();
        let Some(answers) = self.admit(tx, &asked).await? else {
            return Ok(Verdict::Rollback(Drained::Edited));
        };
        let mut answers = answers.into_iter();
        let done: Vec<Settled> = taken
            .into_iter()
            .map(|row| Settled {
                id: row.id,
                at,
                became: match &row.decided {
                    Decided::Refused(why) => Became::Refused(clean(why, limits::ERROR_BYTES_MAX)),
                    Decided::Run(_) => became(answers.next()),
                },
            })
            .collect();
        if !done.is_empty() {
            let table = Table::of(done.iter().map(|s| s.id))
                .ints(done.iter().map(|s| s.became.as_i64()))
                .ints(done.iter().map(|s| s.became.run().map(RunId::as_i64)))
                .texts(done.iter().map(|s| match &s.became {
                    Became::Refused(why) => Some(why.clone()),
                    _ => None,
                }));
            let args = [("rows", table.into()), ("at", at.as_ms().into())];
            tx.write(&KEEP, &args).await?;
        }
        Ok(Verdict::Commit(Drained::Done(done)))
    }
}

fn submissions<'r>(
    rows: impl IntoIterator<Item = &'r Decision>,
) -> impl Iterator<Item = &'r Submission> {
    rows.into_iter().filter_map(|row| match &row.decided {
        Decided::Run(submission) => Some(&**submission),
        Decided::Refused(_) => None,
    })
}

fn became(answer: Option<Submitted>) -> Became {
    match answer {
        Some(Submitted {
            run, taken: true, ..
        }) => Became::Conflict(run),
        Some(Submitted {
            run, created: true, ..
        }) => Became::Run(run),
        Some(Submitted { run, .. }) => Became::Duplicate(run),
        None => Became::Refused("the store gave no answer for it".to_owned()),
    }
}
