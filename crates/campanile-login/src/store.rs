//! Where users and sessions are kept, as a port. Each method is one transaction; what changes something is in the name of
//! an [`Actor`], and leaves its line in the audit with it. What an adapter must do is proven by the suite in
//! `proof/conformance`.

use async_trait::async_trait;
use campanile_access::Actor;
use campanile_core::port::Written;
use campanile_core::port::store::Error;
use campanile_schedule::time::Timestamp;

use crate::session::{Found, Key, Session};
use crate::user::{Kept, User};

/// What a user is to be.
#[derive(Debug, Clone)]
pub struct Put {
    /// The version that was seen; `None` = there is none of this name.
    pub expected: Option<i64>,
    pub user: User,
    /// What is to be kept of a new password; `None` = the old one stays.
    pub password: Option<String>,
    /// Whether all his sessions end with it.
    pub ends_sessions: bool,
}

/// What became of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    Open,
    /// There are as many sessions as there may be ([`crate::session::ALL_MAX`]).
    Full,
}

/// Which sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one with this key: its owner's own act.
    Own(Key),
    /// The one that people call so.
    Id(String),
    /// All of a person: by what he came in, and as whom.
    Of(campanile_access::Kind, String),
}

/// Users and sessions.
#[async_trait]
pub trait LoginStore: Send + Sync {
    /// Users by name, behind this one.
    async fn users(&self, after: Option<&str>, limit: usize) -> Result<Vec<User>, Error>;

    async fn user(&self, name: &str) -> Result<Option<Kept>, Error>;

    /// Makes or changes a user. [`Written::Stale`]: he is not as expected, or there are too many.
    async fn put_user(&self, actor: &Actor, put: &Put, at: Timestamp) -> Result<Written, Error>;

    /// Removes a user, and his sessions.
    async fn remove_user(&self, actor: &Actor, name: &str, at: Timestamp)
    -> Result<Written, Error>;

    /// Opens a session, in the name of whose it is: in place of the one that the browser had before, if it had one. Removes
    /// what is over, and of this person what is more than [`crate::session::OF_ONE_MAX`].
    async fn open_session(
        &self,
        actor: &Actor,
        session: &Session,
        instead_of: Option<&Key>,
    ) -> Result<Opened, Error>;

    /// A session, whether it is over or not.
    async fn session(&self, key: &Key) -> Result<Option<Found>, Error>;

    /// Notes that a session is used, unless somebody noted it less than [`crate::session::SEEN_EVERY`] ago.
    async fn seen(&self, key: &Key, now: Timestamp) -> Result<(), Error>;

    /// Ends sessions; answers how many.
    async fn close_sessions(
        &self,
        actor: &Actor,
        which: &Which,
        at: Timestamp,
    ) -> Result<usize, Error>;

    /// Sessions that are not over, the newest first.
    async fn sessions(&self, now: Timestamp, limit: usize) -> Result<Vec<Session>, Error>;

    /// Removes what is over; answers how many.
    async fn sweep_sessions(&self, now: Timestamp) -> Result<usize, Error>;
}
