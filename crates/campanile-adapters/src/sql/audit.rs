//! The audit: a line for each act of a person, written last in the act's own transaction. The line's number and the hash of
//! the one before come from one row, which is locked from there to the commit: so lines have no gap, whatever is rolled
//! back, and acts that change no definition wait for each other for these statements alone. Lines are never changed; the
//! leader removes old ones, and keeps where the chain begins.

use async_trait::async_trait;
use campanile_access::audit::{Deed, Filter, Head, Kept, Line, Link};
use campanile_core::actor::Actor;
use campanile_core::port::access::AuditStore;
use campanile_core::port::store::Error;
use campanile_schedule::time::Timestamp;

use crate::sql::connection::{Tx, Verdict};
use crate::sql::error::Failure;
use crate::sql::mariadb::steps;
use crate::sql::pen::{Record, as_editor};
use crate::sql::points::ACCESS;
use crate::sql::publish::cap;
use crate::sql::statement::{Statement, Text};
use crate::sql::store::{Store, first};
use crate::sql::value::{Arg, Row};

const TABLE: &str = "campanile_audit";

/// The next number, the time, which does not go back, and the hash of the line before.
static NEXT: Statement = Statement::new(
    "UPDATE campanile_audit_head SET seq = seq + 1, at = CASE WHEN @now > at THEN @now ELSE at END
     WHERE id = 1 RETURNING seq, at, hash",
)
.on_mariadb(steps::NEXT_LINE);

/// A line.
static INSERT: Statement = Statement::new(
    "INSERT INTO campanile_audit (seq, at, actor, object, line, hash) VALUES (:seq, :at, :actor, :object, :line, :hash)",
);

/// The hash of the last line.
static SEAL: Statement =
    Statement::new("UPDATE campanile_audit_head SET hash = :hash WHERE id = 1");

/// Where the chain begins and ends.
static HEAD: Statement = Statement::new(
    "SELECT seq, hash, pruned_seq, pruned_hash FROM campanile_audit_head WHERE id = 1",
);

/// Lines in their order.
static BEHIND: Statement = Statement::new(
    "SELECT seq, at, actor, object, line, hash FROM campanile_audit WHERE seq > :seq ORDER BY seq LIMIT :limit",
);

/// The oldest lines before an instant. Their times do not go back, so these are the first.
pub(super) static OLD: Statement = Statement::new(
    "SELECT seq, hash FROM campanile_audit WHERE at < :before ORDER BY seq LIMIT :limit",
);

/// Removes the first lines.
pub(super) static PRUNE: Statement =
    Statement::new("DELETE FROM campanile_audit WHERE seq <= :seq");

/// Where the chain begins now.
pub(super) static ANCHOR: Statement = Statement::new(
    "UPDATE campanile_audit_head SET pruned_seq = :seq, pruned_hash = :hash WHERE id = 1 AND pruned_seq < :seq",
);

/// Writes down what somebody does, as the last thing of a transaction.
pub(super) async fn write_down(tx: &mut Tx, actor: &Actor, deed: &Deed) -> Result<(), Failure> {
    let mut head = first(tx.rows(&NEXT, &[]).await?, "audit_head")?;
    let (seq, at) = (head.int(TABLE)?, Timestamp::from_ms(head.int(TABLE)?));
    let line = Line::of(actor, deed, seq, at);
    let kept = Kept::after(&head.text(TABLE)?, &line);
    let args = [
        ("seq", kept.seq.into()),
        ("at", kept.at.as_ms().into()),
        ("actor", kept.actor.as_str().into()),
        ("object", kept.object.as_str().into()),
        ("line", kept.text.as_str().into()),
        ("hash", kept.hash.as_str().into()),
    ];
    tx.write(&INSERT, &args).await?;
    tx.write(&SEAL, &[("hash", kept.hash.as_str().into())])
        .await?;
    Ok(())
}

#[async_trait]
impl AuditStore for Store {
    async fn note(&self, actor: &Actor) -> Result<(), Error> {
        let record = Record::act(actor, Deed::default);
        as_editor!(ACCESS, self, &record, None, tx => async {
            let _ = tx;
            Ok(Verdict::Commit(()))
        })?;
        Ok(())
    }

    async fn audit(
        &self,
        filter: &Filter,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Kept>, Error> {
        let mut conditions = "seq < :before".to_owned();
        let mut args: Vec<(&'static str, Arg)> = vec![
            ("before", before.unwrap_or(i64::MAX).into()),
            ("limit", cap(limit)),
        ];
        if let Some(actor) = &filter.actor {
            conditions.push_str(" AND actor = :actor");
            args.push(("actor", actor.as_str().into()));
        }
        match &filter.object {
            Some(object) if object.contains(':') => {
                conditions.push_str(" AND object = :object");
                args.push(("object", object.as_str().into()));
            }
            Some(kind) => {
                // All that begin with the kind and a colon: `;` is what follows it.
                conditions.push_str(" AND object >= :object AND object < :beyond");
                args.push(("object", format!("{kind}:").as_str().into()));
                args.push(("beyond", format!("{kind};").as_str().into()));
            }
            None => {}
        }
        for (name, condition, instant) in [
            ("since", " AND at >= :since", filter.since),
            ("until", " AND at < :until", filter.until),
        ] {
            if let Some(instant) = instant {
                conditions.push_str(condition);
                args.push((name, instant.as_ms().into()));
            }
        }
        let template = format!(
            "SELECT seq, at, actor, object, line, hash FROM campanile_audit WHERE {conditions} ORDER BY seq DESC LIMIT :limit"
        );
        let text = Text::render(&template, self.dialect());
        let rows = self.pools.reader.rows_of(&text, &args).await?;
        rows.into_iter().map(kept_of).collect()
    }

    async fn audit_behind(&self, seq: i64, limit: usize) -> Result<Vec<Kept>, Error> {
        let args = [("seq", seq.into()), ("limit", cap(limit))];
        let rows = self.pools.reader.rows(&BEHIND, &args).await?;
        rows.into_iter().map(kept_of).collect()
    }

    async fn audit_head(&self) -> Result<Head, Error> {
        let mut row = first(self.pools.reader.rows(&HEAD, &[]).await?, "audit_head")?;
        let mut link = || -> Result<Link, Error> {
            Ok(Link {
                seq: row.int(TABLE)?,
                hash: row.text(TABLE)?,
            })
        };
        Ok(Head {
            last: link()?,
            anchor: link()?,
        })
    }
}

fn kept_of(mut row: Row) -> Result<Kept, Error> {
    Ok(Kept {
        seq: row.int(TABLE)?,
        at: Timestamp::from_ms(row.int(TABLE)?),
        actor: row.text(TABLE)?,
        object: row.text(TABLE)?,
        text: row.text(TABLE)?,
        hash: row.text(TABLE)?,
    })
}
