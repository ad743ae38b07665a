//! The inbox of the memory store: what was left in it, and what has become of it, under the one mutex.

use std::collections::BTreeMap;

use async_trait::async_trait;
use campanile_schedule::time::Timestamp;

use super::{MemoryStore, Tables};
use crate::decide::edit::inbox::{Became, Decided, Decision, Drained, Inbox, Left, Settled, fit};
use crate::limits;
use crate::port::edit::{InboxStore, Submission};
use crate::port::lead::Term;
use crate::port::store::Error;

#[derive(Default)]
pub(super) struct Boxes {
    pub(super) last: i64,
    pub(super) rows: BTreeMap<i64, String>,
    pub(super) settled: BTreeMap<i64, Settled>,
}

impl Boxes {
    /// Forgets what became of rows before this moment.
    pub(super) fn prune(&mut self, before: Timestamp) {
        self.settled.retain(|_, settled| settled.at >= before);
    }
}

#[async_trait]
impl InboxStore for MemoryStore {
    async fn inbox(&self) -> Result<Inbox, Error> {
        let tables = self.lock();
        let rows = &tables.inbox.rows;
        let readable = |text: &&String| text.len() <= limits::BODY_BYTES_MAX;
        let taken = rows.iter().take(fit(rows.values().map(String::len)));
        Ok(Inbox {
            rows: taken
                .map(|(id, text)| Left {
                    id: *id,
                    request: Some(text).filter(readable).cloned(),
                })
                .collect(),
            edits: tables.edits,
        })
    }

    async fn drain(
        &self,
        term: &Term,
        edits: i64,
        rows: &[Decision],
        at: Timestamp,
    ) -> Result<Drained, Error> {
        let mut tables = self.lock();
        if !tables.holds(term) {
            return Ok(Drained::Fenced);
        }
        if tables.edits != edits {
            return Ok(Drained::Edited);
        }
        let mut done = Vec::with_capacity(rows.len());
        for row in rows {
            if tables.inbox.rows.remove(&row.id).is_none() {
                continue;
            }
            let became = match &row.decided {
                Decided::Refused(why) => Became::Refused(why.clone()),
                Decided::Run(submission) => tables.admit(submission),
            };
            let settled = Settled {
                id: row.id,
                at,
                became,
            };
            tables.inbox.settled.insert(row.id, settled.clone());
            done.push(settled);
        }
        Ok(Drained::Done(done))
    }
}

impl Tables {
    /// Stores a run, unless its key is taken.
    fn admit(&mut self, submission: &Submission) -> Became {
        let run = submission.run.id;
        if let Some(key) = &submission.key {
            let place = (key.text.clone(), key.scope.clone());
            if let Some((first, kept)) = self.keys.get(&place) {
                return if key.is_same(kept.as_ref()) {
                    Became::Duplicate(*first)
                } else {
                    Became::Conflict(*first)
                };
            }
        }
        self.put_request(submission);
        Became::Run(run)
    }
}
