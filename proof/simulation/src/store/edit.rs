//! Edit, as a process meets it: slow, unreachable, contended, or committed without an answer.

use async_trait::async_trait;
use campanile_core::actor::Actor;
use campanile_core::decide::edit::inbox::{Decision, Drained, Inbox};
use campanile_core::decide::lead::hold::Hold;
use campanile_core::id::{RunId, TaskId};
use campanile_core::port::Written;
use campanile_core::port::edit::{
    Cancel, Deletions, Edit, EditForStore, EditStore, InboxStore, Moved, OnBehalfOf, OrphanStore,
    Orphans, Released, Submission, Submitted,
};
use campanile_core::port::fire::Fired;
use campanile_core::port::lead::Term;
use campanile_core::port::store::Error;
use campanile_core::run::Run;
use campanile_core::task::StartMode;
use campanile_schedule::time::Timestamp;

use super::FaultyStore;
use crate::tally::Seen;

#[async_trait]
impl EditStore for FaultyStore {
    async fn edit(&self, actor: &Actor, edit: &Edit, at: Timestamp) -> Result<Written, Error> {
        self.write("edit", self.inner.edit(actor, edit, at)).await
    }

    async fn submit(
        &self,
        actor: &Actor,
        submissions: &[Submission],
    ) -> Result<Vec<Submitted>, Error> {
        self.write("submit", self.inner.submit(actor, submissions))
            .await
    }

    async fn leave_request(&self, request: &str) -> Result<i64, Error> {
        self.write("leave_request", self.inner.leave_request(request))
            .await
    }

    async fn cancel(&self, actor: &Actor, id: RunId, at: Timestamp) -> Result<Cancel, Error> {
        self.write("cancel", self.inner.cancel(actor, id, at)).await
    }

    async fn move_run(&self, actor: &Actor, id: RunId, to: Timestamp) -> Result<Moved, Error> {
        self.write("move_run", self.inner.move_run(actor, id, to))
            .await
    }

    async fn release(
        &self,
        actor: &Actor,
        id: i64,
        at: Timestamp,
        if_lost: StartMode,
    ) -> Result<Released, Error> {
        let call = self.inner.release(actor, id, at, if_lost);
        self.write("release", call).await
    }

    async fn drop_quarantined(&self, actor: &Actor, id: i64) -> Result<Written, Error> {
        self.write("drop_quarantined", self.inner.drop_quarantined(actor, id))
            .await
    }

    async fn request_resign(&self, actor: &Actor, epoch: i64) -> Result<Written, Error> {
        self.write("request_resign", self.inner.request_resign(actor, epoch))
            .await
    }

    async fn hold(&self, actor: &Actor, hold: Option<&Hold>) -> Result<(), Error> {
        self.write("hold", self.inner.hold(actor, hold)).await
    }

    async fn secret(&self, fresh: [u8; 32]) -> Result<[u8; 32], Error> {
        self.write("secret", self.inner.secret(fresh)).await
    }
}

#[async_trait]
impl EditForStore for FaultyStore {
    async fn edit_for(
        &self,
        term: &Term,
        on_behalf_of: OnBehalfOf,
        edit: &Edit,
        at: Timestamp,
    ) -> Result<Fired, Error> {
        let call = self.inner.edit_for(term, on_behalf_of, edit, at);
        self.lead(term, "edit_for", call, |fired| {
            let done = usize::from(*fired == Fired::Applied);
            let told = || format!("{:?}, {} moves", edit.settings, edit.moves.len());
            self.link.seen(Seen::EditedFor, done, told);
            let pauses = done * usize::from(!edit.upserts.is_empty());
            self.link.seen(Seen::PauseEnded, pauses, String::new);
        })
        .await
    }

    async fn pauses_over(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TaskId, Timestamp)>, Error> {
        let call = self.inner.pauses_over(now, limit);
        self.read("pauses_over", call).await
    }

    async fn end_hold(&self, term: &Term, until: Timestamp) -> Result<Fired, Error> {
        let call = self.inner.end_hold(term, until);
        self.lead(term, "end_hold", call, |fired| {
            let done = usize::from(*fired == Fired::Applied);
            self.link.seen(Seen::HoldEnded, done, String::new);
        })
        .await
    }

    async fn prune_audit(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error> {
        let prune = self.inner.prune_audit(term, before, limit);
        self.lead(term, "prune_audit", prune, |_| {}).await
    }

    async fn prune(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error> {
        let call = self.inner.prune(term, before, limit);
        self.lead(term, "prune", call, |removed| {
            if let Some(removed) = removed.filter(|n| *n > 0) {
                self.note("pruned", || format!("{removed}, ended before {before}"));
            }
        })
        .await
    }
}

#[async_trait]
impl InboxStore for FaultyStore {
    async fn inbox(&self) -> Result<Inbox, Error> {
        self.read("inbox", self.inner.inbox()).await
    }

    async fn drain(
        &self,
        term: &Term,
        edits: i64,
        rows: &[Decision],
        at: Timestamp,
    ) -> Result<Drained, Error> {
        let call = self.inner.drain(term, edits, rows, at);
        self.lead(term, "drain", call, |_| {}).await
    }
}

#[async_trait]
impl OrphanStore for FaultyStore {
    async fn deletions(&self) -> Result<Option<Deletions>, Error> {
        self.read("deletions", self.inner.deletions()).await
    }

    async fn orphans(&self, after: Option<RunId>, look: usize) -> Result<Orphans, Error> {
        self.read("orphans", self.inner.orphans(after, look)).await
    }

    async fn end_orphans(
        &self,
        term: &Term,
        runs: &[Run],
        at: Timestamp,
    ) -> Result<Option<usize>, Error> {
        let call = self.inner.end_orphans(term, runs, at);
        self.lead(term, "end_orphans", call, |ended| {
            let ended = ended.unwrap_or(0);
            self.link.seen(Seen::OrphanEnded, ended, String::new);
        })
        .await
    }

    async fn forget_deletions(
        &self,
        term: &Term,
        before: Timestamp,
        limit: usize,
    ) -> Result<Option<usize>, Error> {
        let call = self.inner.forget_deletions(term, before, limit);
        self.lead(term, "forget_deletions", call, |_| {}).await
    }
}
