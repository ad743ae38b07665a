//! Coming in and going out: what opens a session, and what ends it. The browser's part (pages, forms, cookies) is
//! [`super::pages`]'s.

use std::sync::atomic::Ordering;

use axum::http::{HeaderMap, HeaderValue, header};
use campanile_core::actor::Actor;
use campanile_login::oidc::{Attempt, Callback, Identity};
use campanile_login::session::{AGE_MAX, AGENT_CHARS_MAX, GROUPS_BYTES_MAX, Session, Token};
use campanile_login::store::{Opened, Which};
use campanile_login::user::read_name;
use campanile_login::{Kind, Rights, oidc, password};
use campanile_schedule::time::Timestamp;

use super::Access;
use super::cookies::Cookie;
use crate::api::guard::note_failures;
use crate::http::proxies::Client;

/// Why somebody is not let in. What he is told says no more than he knows.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("the name or the password is wrong")]
    Wrong,
    #[error("too many tries came from here, or of this name: try again in {0} s")]
    Limited(u64),
    #[error("{0}")]
    Busy(String),
    #[error("the login at the identity provider did not succeed: {0}")]
    Provider(#[from] oidc::Error),
    #[error(
        "`{0}` is known by the identity provider and is in no group that `access_oidc_groups` names: ask who keeps the settings"
    )]
    NoGroup(String),
    #[error("the store is not available: try again in a moment")]
    Store,
}

impl From<campanile_core::port::store::Error> for Refused {
    fn from(error: campanile_core::port::store::Error) -> Self {
        tracing::warn!(error = %campanile_core::causes(&error), "a login could not be served by the store");
        Self::Store
    }
}

impl From<password::Error> for Refused {
    fn from(error: password::Error) -> Self {
        if matches!(error, password::Error::Failed(_)) {
            tracing::error!(%error, "a password could not be checked: {error}");
        }
        Self::Busy(error.to_string())
    }
}

/// Who comes in.
struct Newcomer {
    kind: Kind,
    subject: String,
    name: String,
    groups: Vec<String>,
    rights: Rights,
}

impl Access {
    /// Lets somebody in by his password; answers the header with his cookie.
    pub(super) async fn by_password(
        &self,
        client: Client,
        headers: &HeaderMap,
        user: &str,
        password: String,
    ) -> Result<HeaderValue, Refused> {
        let name = read_name(user).unwrap_or_default();
        let taken = self.attempts.take(client.address, &name);
        if let Err(wait) = taken {
            self.counts.limited.fetch_add(1, Ordering::Relaxed);
            self.tell_failure(client, &name, "too many tries");
            return Err(Refused::Limited(
                wait.as_secs() + u64::from(wait.subsec_nanos() > 0),
            ));
        }
        let kept = match name.as_str() {
            "" => None,
            name => self.parts.logins.user(name).await?,
        };
        let (user, hash) = kept.map(|kept| (kept.user, kept.password)).unzip();
        let right = self.passwords.check(password, hash).await?;
        let Some(user) = user.filter(|user| right && !user.disabled) else {
            self.counts.wrong.fetch_add(1, Ordering::Relaxed);
            self.tell_failure(client, &name, "a wrong name or password");
            return Err(Refused::Wrong);
        };
        self.attempts.was_right(client.address, &name);
        let newcomer = Newcomer {
            kind: Kind::User,
            subject: user.name.clone(),
            name: user.name,
            groups: Vec::new(),
            rights: user.rights,
        };
        self.open(client, headers, newcomer).await
    }

    /// Lets somebody in whom the provider sent back.
    pub(super) async fn by_provider(
        &self,
        client: Client,
        headers: &HeaderMap,
        callback: &Callback,
    ) -> Result<(HeaderValue, String), Refused> {
        let Some((provider, grants)) = &self.parts.oidc else {
            return Err(Refused::Provider(oidc::Error::NotBegun(
                "there is no identity provider here",
            )));
        };
        let now = self.now().await.map_err(|_| Refused::Store)?;
        let cookie = self.parts.cookies.read(headers, Cookie::Attempt);
        let attempt = cookie.as_deref().and_then(Attempt::read);
        let known = provider.finish(attempt.as_ref(), callback, now).await;
        let who: Identity = known.inspect_err(|error| {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            self.tell_failure(client, "", &error.to_string());
        })?;
        let known = grants.known(&who.groups).cloned().collect::<Vec<_>>();
        let Some(rights) = grants.of(&known) else {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            self.tell_failure(client, &who.name, "no group that counts");
            return Err(Refused::NoGroup(who.name));
        };
        let newcomer = Newcomer {
            kind: Kind::Oidc,
            subject: who.subject,
            name: who.name,
            groups: fit(known),
            rights: rights.clone(),
        };
        let next = attempt.map(|attempt| attempt.next().to_owned());
        let header = self.open(client, headers, newcomer).await?;
        Ok((header, next.unwrap_or_default()))
    }

    /// Opens a session with a new token, in place of the one that the browser had.
    async fn open(
        &self,
        client: Client,
        headers: &HeaderMap,
        newcomer: Newcomer,
    ) -> Result<HeaderValue, Refused> {
        let now = self.now().await.map_err(|_| Refused::Store)?;
        let token = Token::new(&self.parts.random);
        let from = client.address.to_string();
        let agent = headers
            .get(header::USER_AGENT)
            .and_then(|v| v.to_str().ok());
        let session = Session {
            key: token.key(),
            kind: newcomer.kind,
            subject: newcomer.subject,
            name: newcomer.name,
            groups: newcomer.groups,
            created_at: now,
            seen_at: now,
            address: from.clone(),
            agent: agent
                .unwrap_or_default()
                .chars()
                .take(AGENT_CHARS_MAX)
                .collect(),
        };
        let actor = Actor::of(session.kind, &session.name, &from, newcomer.rights);
        let old = self.old_session(headers).await;
        let opened = self
            .parts
            .logins
            .open_session(&actor, &session, old.as_ref().map(|s| &s.key))
            .await?;
        if opened == Opened::Full {
            return Err(Refused::Busy(
                "there are as many sessions as there may be: ask who keeps the service to end some"
                    .to_owned(),
            ));
        }
        self.counts.succeeded.fetch_add(1, Ordering::Relaxed);
        tracing::info!(
            who = actor.identity(),
            from,
            session = session.key.id(),
            "{} has logged in from {from}",
            actor.identity()
        );
        Ok(self
            .parts
            .cookies
            .set(Cookie::Session, &token.reveal(), AGE_MAX.as_secs()))
    }

    /// Ends a session, as its owner asks.
    pub(super) async fn close(
        &self,
        actor: &Actor,
        token: &Token,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let which = Which::Own(token.key());
        self.parts.logins.close_sessions(actor, &which, now).await?;
        let who = actor.identity();
        tracing::info!(who, "{who} has logged out");
        Ok(())
    }

    /// Tells the log and the audit of somebody who did not come in: one line a minute for each address, with how often it was
    /// since the last.
    fn tell_failure(&self, client: Client, name: &str, why: &str) {
        let Some(count) = self.attempts.failed(client.address) else {
            return;
        };
        let address = client.address;
        tracing::warn!(%address, user = name, why, count, "a login from {address} as `{name}` failed: {why}");
        let told = format!("{why}, as `{name}`; the count is of all since the last such line");
        note_failures(&self.parts.control, address, told, count);
    }
}

/// As many groups as there is room for, the first first: the order is that of the settings.
fn fit(groups: Vec<String>) -> Vec<String> {
    let mut bytes = 0;
    let fits = |group: &String| {
        bytes += group.len() + 3;
        bytes <= GROUPS_BYTES_MAX
    };
    groups.into_iter().take_while(fits).collect()
}
