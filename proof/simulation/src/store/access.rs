//! Access, as a process meets it: slow, unreachable, contended, or committed without an answer.

use async_trait::async_trait;
use campanile_access::audit::{Filter, Head, Kept};
use campanile_access::token::ApiToken;
use campanile_core::actor::Actor;
use campanile_core::port::Written;
use campanile_core::port::access::{AccessStore, AuditStore};
use campanile_core::port::store::Error;
use campanile_schedule::time::Timestamp;

use super::FaultyStore;

#[async_trait]
impl AccessStore for FaultyStore {
    async fn put_token(
        &self,
        actor: &Actor,
        token: &ApiToken,
        digest: &str,
        at: Timestamp,
    ) -> Result<Written, Error> {
        let put = self.inner.put_token(actor, token, digest, at);
        self.write("put_token", put).await
    }

    async fn revoke_token(
        &self,
        actor: &Actor,
        name: &str,
        at: Timestamp,
    ) -> Result<Written, Error> {
        let revoke = self.inner.revoke_token(actor, name, at);
        self.write("revoke_token", revoke).await
    }

    async fn tokens(&self) -> Result<Vec<ApiToken>, Error> {
        self.read("tokens", self.inner.tokens()).await
    }

    async fn token_of(&self, digest: &str) -> Result<Option<ApiToken>, Error> {
        self.read("token_of", self.inner.token_of(digest)).await
    }

    async fn use_token(&self, name: &str, at: Timestamp) -> Result<(), Error> {
        self.write("use_token", self.inner.use_token(name, at))
            .await
    }
}

#[async_trait]
impl AuditStore for FaultyStore {
    async fn note(&self, actor: &Actor) -> Result<(), Error> {
        self.write("note", self.inner.note(actor)).await
    }

    async fn audit(
        &self,
        filter: &Filter,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Kept>, Error> {
        let page = self.inner.audit(filter, before, limit);
        self.read("audit", page).await
    }

    async fn audit_behind(&self, seq: i64, limit: usize) -> Result<Vec<Kept>, Error> {
        let page = self.inner.audit_behind(seq, limit);
        self.read("audit_behind", page).await
    }

    async fn audit_head(&self) -> Result<Head, Error> {
        self.read("audit_head", self.inner.audit_head()).await
    }
}
