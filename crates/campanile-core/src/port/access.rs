//! Access, as a port: the tokens by which programs are known, and the record of what everybody did. A line is written with
//! the act that it tells of, in one transaction; [`super::edit::EditStore`] says which acts there are.

use async_trait::async_trait;
use campanile_access::audit::{Filter, Head, Kept};
use campanile_access::token::ApiToken;
use campanile_schedule::time::Timestamp;

use crate::actor::Actor;
use crate::port::Written;
use crate::port::store::Error;

/// Tokens.
#[async_trait]
pub trait AccessStore: Send + Sync + 'static {
    /// Keeps a token under its digest. Stale if one of its name is good at `at`.
    async fn put_token(
        &self,
        actor: &Actor,
        token: &ApiToken,
        digest: &str,
        at: Timestamp,
    ) -> Result<Written, Error>;

    /// Lets a token in no more. Stale if there is none that is not revoked.
    async fn revoke_token(
        &self,
        actor: &Actor,
        name: &str,
        at: Timestamp,
    ) -> Result<Written, Error>;

    /// All tokens, in the order of their names.
    async fn tokens(&self) -> Result<Vec<ApiToken>, Error>;

    /// The token of a digest.
    async fn token_of(&self, digest: &str) -> Result<Option<ApiToken>, Error>;

    /// A token was used.
    async fn use_token(&self, name: &str, at: Timestamp) -> Result<(), Error>;
}

/// The audit.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// Writes down what an actor did or tried where nothing else is changed.
    async fn note(&self, actor: &Actor) -> Result<(), Error>;

    /// Lines of the audit, newest first, with numbers below `before`.
    async fn audit(
        &self,
        filter: &Filter,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Kept>, Error>;

    /// All lines with numbers above `seq`, oldest first.
    async fn audit_behind(&self, seq: i64, limit: usize) -> Result<Vec<Kept>, Error>;

    /// Where the chain of lines begins and ends.
    async fn audit_head(&self) -> Result<Head, Error>;
}
