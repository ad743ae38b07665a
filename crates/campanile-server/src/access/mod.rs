//! How people get in, besides the token: by a session of their browser, which a password or an identity provider opened, or
//! by a proxy that names them. Owns who a request is from, and what it must show besides when its browser would send the
//! proof by itself, whoever made it ask. What somebody may do is decided where the act is.

pub mod attempts;
pub mod cookies;
pub mod grants;
mod logins;
mod pages;
pub mod proxy;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, Method, StatusCode, header};
use campanile_ask::Control;
use campanile_core::actor::Actor;
use campanile_core::system::Random;
use campanile_login::oidc;
use campanile_login::password::Passwords;
use campanile_login::people::People;
use campanile_login::session::{Found, Session, Token};
use campanile_login::store::LoginStore;
use campanile_login::{Kind, Rights, Role};
use campanile_schedule::time::Timestamp;

use self::attempts::Attempts;
use self::cookies::{Cookie, Cookies};
use self::grants::Grants;
use self::proxy::{Ignored, ProxyHeader, Said};
use crate::api::acts::Principal;
use crate::api::problem::Problem;
use crate::http::proxies::Proxies;
use crate::token::strength::check_password;

pub use self::pages::router;

/// What it takes to know people.
pub struct Parts {
    /// Where users and sessions are kept.
    pub logins: Arc<dyn LoginStore>,
    /// For the store's time.
    pub control: Arc<Control>,
    pub random: Arc<Random>,
    pub cookies: Cookies,
    /// Where browsers know the service to be: `https://campanile.example`.
    pub origin: Option<String>,
    pub proxy: Option<ProxyHeader>,
    /// An identity provider, and what its groups are worth.
    pub oidc: Option<(oidc::Client, Grants)>,
    /// Whose word on the client's address counts.
    pub proxies: Arc<Proxies>,
}

/// Knows people.
pub struct Access {
    parts: Parts,
    passwords: Passwords,
    attempts: Attempts,
    ignored: Ignored,
    counts: Counts,
}

/// Logins so far, by how they ended.
#[derive(Debug, Default)]
struct Counts {
    succeeded: AtomicU64,
    wrong: AtomicU64,
    limited: AtomicU64,
    refused: AtomicU64,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Access")
    }
}

/// Somebody who is in.
#[derive(Debug, Clone)]
pub struct Person {
    /// By what: [`Kind::Proxy`], [`Kind::User`] or [`Kind::Oidc`].
    pub kind: Kind,
    pub name: String,
    pub rights: Rights,
}

impl From<Person> for Principal {
    fn from(person: Person) -> Self {
        Self {
            kind: person.kind,
            name: Some(person.name),
            rights: person.rights,
        }
    }
}

impl Person {
    /// As an actor, from this address.
    fn actor(&self, from: &str) -> Actor {
        Actor::of(self.kind, &self.name, from, self.rights.clone())
    }
}

impl Access {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            passwords: Passwords::default(),
            attempts: Attempts::default(),
            ignored: Ignored::default(),
            counts: Counts::default(),
        }
    }

    /// What `/metrics` says of logins.
    #[must_use]
    pub fn text(&self) -> String {
        let name = "campanile_logins";
        let mut out =
            format!("# TYPE {name} counter\n# HELP {name} Logins of people, by how they ended\n");
        for (result, count) in [
            ("succeeded", &self.counts.succeeded),
            ("wrong", &self.counts.wrong),
            ("limited", &self.counts.limited),
            ("refused", &self.counts.refused),
        ] {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(out, "{name}_total{{result=\"{result}\"}} {count}");
        }
        out
    }

    /// What is done with users and sessions; shares the threads that hash.
    #[must_use]
    pub fn people(&self) -> People {
        let parts = &self.parts;
        let (logins, random) = (Arc::clone(&parts.logins), Arc::clone(&parts.random));
        People::new(logins, self.passwords.clone(), random, check_password)
    }

    /// The store's time.
    async fn now(&self) -> Result<Timestamp, Problem> {
        Ok(self.parts.control.now().await?)
    }

    /// Whose request it is that came without a token: first by what a proxy says, then by its session. `None` = nobody's
    /// that is known here.
    ///
    /// # Errors
    /// He is known and may not come in; what he brings can't be read; or another site's page sent it.
    pub async fn who(
        &self,
        peer: IpAddr,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Option<Person>, Problem> {
        let said = match &self.parts.proxy {
            Some(proxy) => proxy.read(peer, headers, &self.ignored),
            None => Said::Nothing,
        };
        let person = match said {
            Said::Odd(wrong) => return Err(Problem::new(StatusCode::BAD_REQUEST, wrong)),
            Said::Nobody(name) => {
                let detail = format!(
                    "`{name}` is known by the proxy and is in no group that `access_proxy_groups` names: ask who keeps the \
                     settings"
                );
                return Err(Problem::new(StatusCode::FORBIDDEN, detail));
            }
            Said::Somebody(name, rights) => Some(Person {
                kind: Kind::Proxy,
                name,
                rights,
            }),
            Said::Nothing => {
                let found = self.session(headers).await?;
                found.and_then(|(_, found)| self.person(&found))
            }
        };
        if person.is_some() && !matches!(*method, Method::GET | Method::HEAD) {
            self.check_origin(headers)?;
        }
        Ok(person)
    }

    /// The session that a request brings, if it is open; that it is used is noted.
    async fn session(&self, headers: &HeaderMap) -> Result<Option<(Token, Found)>, Problem> {
        let cookie = self.parts.cookies.read(headers, Cookie::Session);
        let Some(token) = cookie.as_deref().and_then(Token::read) else {
            return Ok(None);
        };
        let unavailable = |error| Problem::from(campanile_ask::Error::Unavailable(error));
        let now = self.now().await?;
        let logins = &self.parts.logins;
        let found = logins.session(&token.key()).await.map_err(unavailable)?;
        let Some(found) = found.filter(|found| found.session.is_open(now)) else {
            return Ok(None);
        };
        if found.session.is_stale(now)
            && let Err(error) = logins.seen(&token.key(), now).await
        {
            tracing::warn!(%error, "that a session is used could not be noted: it may be over too early");
        }
        Ok(Some((token, found)))
    }

    /// Who it is whose session this is, as things are now: a user who is disabled, and who is in no group that counts any more,
    /// is nobody.
    fn person(&self, found: &Found) -> Option<Person> {
        let session = &found.session;
        let rights = match session.kind {
            Kind::User => {
                let user = found.user.as_ref().filter(|user| !user.disabled)?;
                user.rights.clone()
            }
            Kind::Oidc => {
                let (_, grants) = self.parts.oidc.as_ref()?;
                grants.of(&session.groups)?.clone()
            }
            _ => return None,
        };
        Some(Person {
            kind: session.kind,
            name: session.name.clone(),
            rights,
        })
    }

    /// Whose session is ended by himself: also who may do nothing any more.
    fn leaving(&self, found: &Found, from: &str) -> Actor {
        let nothing = || Person {
            kind: found.session.kind,
            name: found.session.name.clone(),
            rights: Rights::of(Role::Viewer),
        };
        self.person(found).unwrap_or_else(nothing).actor(from)
    }

    /// Refuses what a page of another site may have made a browser send. A browser says where a write comes from; whoever
    /// says nothing is no browser, and has no business with a browser's session.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        let refuse = |detail: &str| Err(Problem::new(StatusCode::FORBIDDEN, detail));
        let Some(origin) = text("origin") else {
            return refuse(
                "a write in a browser's session needs the header `Origin`: programs send a token instead \
                 (`Authorization: Bearer TOKEN`)",
            );
        };
        let of_us = match &self.parts.origin {
            Some(own) => origin.eq_ignore_ascii_case(own),
            None => {
                let host = text(header::HOST.as_str()).unwrap_or_default();
                let scheme = if self.parts.cookies == Cookies::Secure {
                    "https"
                } else {
                    "http"
                };
                origin.eq_ignore_ascii_case(&format!("{scheme}://{host}"))
            }
        };
        // Old browsers don't send it; those that do can't be made to lie.
        let site = text("sec-fetch-site").unwrap_or("same-origin");
        if !of_us || site != "same-origin" {
            return refuse("requests of other sites' pages are not served");
        }
        Ok(())
    }

    /// Ends the session that a request brings, if it brings one.
    async fn old_session(&self, headers: &HeaderMap) -> Option<Session> {
        let found = self.session(headers).await.ok()??;
        Some(found.1.session)
    }
}
