//! Access, in memory: tokens as a map, the audit as the book that [`campanile_access`] has.

use async_trait::async_trait;
use campanile_access::audit::{Deed, Filter, Head, Kept};
use campanile_access::token::ApiToken;
use campanile_schedule::time::Timestamp;

use super::{MemoryStore, Tables};
use crate::actor::Actor;
use crate::port::Written;
use crate::port::access::{AccessStore, AuditStore};
use crate::port::store::Error;

impl Tables {
    /// Writes down what somebody did: as he says, or as `plain` does.
    pub(super) fn note(&mut self, actor: &Actor, now: Timestamp, plain: impl FnOnce() -> Deed) {
        match actor.deed() {
            Some(deed) => self.audit.note(actor, deed, now),
            None => self.audit.note(actor, &plain(), now),
        }
    }
}

#[async_trait]
impl AccessStore for MemoryStore {
    async fn put_token(
        &self,
        actor: &Actor,
        token: &ApiToken,
        digest: &str,
        at: Timestamp,
    ) -> Result<Written, Error> {
        let (mut tables, now) = (self.lock(), self.clock.now());
        let mut of_name = tables.tokens.values();
        if of_name.any(|kept| kept.name == token.name && kept.is_good(at)) {
            return Ok(Written::Stale);
        }
        tables.tokens.retain(|_, kept| kept.name != token.name);
        tables.tokens.insert(digest.to_owned(), token.clone());
        tables.note(actor, now, || {
            Deed::new("token.create", "token", &token.name)
        });
        Ok(Written::Applied)
    }

    async fn revoke_token(
        &self,
        actor: &Actor,
        name: &str,
        at: Timestamp,
    ) -> Result<Written, Error> {
        let (mut tables, now) = (self.lock(), self.clock.now());
        let mut kept = tables.tokens.values_mut();
        let Some(token) = kept.find(|t| t.name == name && t.revoked_at.is_none()) else {
            return Ok(Written::Stale);
        };
        token.revoked_at = Some(at);
        tables.note(actor, now, || Deed::new("token.revoke", "token", name));
        Ok(Written::Applied)
    }

    async fn tokens(&self) -> Result<Vec<ApiToken>, Error> {
        let mut all: Vec<ApiToken> = self.lock().tokens.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    async fn token_of(&self, digest: &str) -> Result<Option<ApiToken>, Error> {
        Ok(self.lock().tokens.get(digest).cloned())
    }

    async fn use_token(&self, name: &str, at: Timestamp) -> Result<(), Error> {
        let mut tables = self.lock();
        if let Some(token) = tables.tokens.values_mut().find(|token| token.name == name) {
            token.used_at = token.used_at.max(Some(at));
        }
        Ok(())
    }
}

#[async_trait]
impl AuditStore for MemoryStore {
    async fn note(&self, actor: &Actor) -> Result<(), Error> {
        let now = self.clock.now();
        self.lock().note(actor, now, Deed::default);
        Ok(())
    }

    async fn audit(
        &self,
        filter: &Filter,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Kept>, Error> {
        Ok(self.lock().audit.page(filter, before, limit))
    }

    async fn audit_behind(&self, seq: i64, limit: usize) -> Result<Vec<Kept>, Error> {
        Ok(self.lock().audit.behind(seq, limit))
    }

    async fn audit_head(&self) -> Result<Head, Error> {
        Ok(self.lock().audit.head().clone())
    }
}
