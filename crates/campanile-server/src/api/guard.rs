//! Who may ask: the bearer token on every route but health, and the checks that keep a page of another site from using
//! a service on loopback through somebody's browser (Host and Origin). Decides by headers alone, before any body is
//! read.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use campanile_access::Right;
use campanile_access::token::ApiToken;
use campanile_ask::{Control, stranger};
use campanile_core::actor::Actor;
use campanile_core::system::{self, Random};

use super::acts::{self, Principal};
use super::logins::{Denials, Logins, Verdict};
use super::problem::Problem;
use crate::access::Access;
use crate::http::proxies::Proxies;
use crate::token::Tokens;

/// What the guard knows.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The tokens; without any, no request is allowed through.
    pub tokens: Tokens,
    /// Whether only this machine can reach the listener: then only its own names are served.
    pub loopback: bool,
    /// Whose word on the client's address counts.
    pub proxies: Arc<Proxies>,
    /// Who tried with what did not fit.
    pub logins: Arc<Logins>,
    /// Where API tokens are, and failed logins are written down.
    pub control: Option<Arc<Control>>,
    /// How often denied acts are written down.
    pub denials: Arc<Denials>,
    /// For the ids of requests.
    pub random: Arc<Random>,
    /// How people get in, where this node knows any.
    pub people: Option<Arc<Access>>,
    /// Where browsers know the service to be.
    pub origin: Option<String>,
}

impl Guard {
    /// Of a listener.
    #[must_use]
    pub fn new(tokens: Tokens, loopback: bool, proxies: Proxies) -> Self {
        Self {
            tokens,
            loopback,
            proxies: Arc::new(proxies),
            logins: Arc::default(),
            control: None,
            denials: Arc::default(),
            random: Arc::new(Random::from_system()),
            people: None,
            origin: None,
        }
    }

    /// The same, letting people in, too, whose browsers know the service by this address.
    #[must_use]
    pub fn with_people(mut self, people: Option<Arc<Access>>, origin: Option<String>) -> Self {
        self.people = people;
        self.origin = origin;
        self
    }
}

/// Lets a request through if it is somebody's: from here on it has its [`Actor`].
pub async fn authenticate(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // Nobody's connection: a request that was made within the process.
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    let person = match &guard.people {
        // Who shows a token is judged by it alone.
        Some(people) if !request.headers().contains_key(header::AUTHORIZATION) => {
            people.who(peer, request.method(), request.headers()).await
        }
        _ => Ok(None),
    };
    let proved = match person {
        Ok(Some(person)) => Ok(Principal::from(person)),
        Ok(None) => guard.prove(peer, request.headers()).await,
        Err(problem) => Err(Box::new(problem.into_response())),
    };
    match proved {
        Ok(principal) => {
            let actor = principal.actor(&guard, &request);
            acts::answer(&guard, actor, request, next).await
        }
        Err(response) => *response,
    }
}

/// Lets a request of somebody through if he may look.
pub async fn may_see(request: Request, next: Next) -> Response {
    let actor = request.extensions().get::<Actor>();
    match actor.map(|actor| actor.check(Right::See)) {
        Some(Ok(())) => next.run(request).await,
        Some(Err(denied)) => Problem::from(campanile_ask::Error::from(denied)).into_response(),
        None => {
            Problem::new(StatusCode::UNAUTHORIZED, "nobody has checked who asks").into_response()
        }
    }
}

/// Lets a request through unless a page of another site sent it.
pub async fn same_site(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.check_site(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Writes down that somebody did not get in, so often since it was last written.
pub(crate) fn note_failures(control: &Arc<Control>, address: IpAddr, told: String, count: u64) {
    let control = Arc::clone(control);
    system::spawn(async move {
        let address = address.to_string();
        let actor = stranger(&address);
        let noted = control.note_refusal(&actor, "login.failed", &address, &told, count);
        if let Err(error) = noted.await {
            tracing::warn!(%error, address, "failed logins could not be written into the audit");
        }
    });
}

impl Guard {
    /// The same, letting in who holds an API token of this control's store, too.
    #[must_use]
    pub fn over(self, control: Arc<Control>) -> Self {
        Self {
            control: Some(control),
            ..self
        }
    }

    /// Whose API token this is.
    async fn holder_of(&self, token: &str) -> Result<Option<ApiToken>, Box<Response>> {
        let Some(control) = &self.control else {
            return Ok(None);
        };
        let found = control.holder_of(token).await;
        found.map_err(|error| Box::new(Problem::from(error).into_response()))
    }

    /// Writes down that somebody was denied an act: up to a few a minute, and how many were not written before.
    pub(super) async fn note_denied(&self, actor: &Actor, what: &str, told: &str) {
        let (Some(control), Some(count)) = (&self.control, self.denials.next()) else {
            return;
        };
        let noted = control.note_refusal(actor, "denied", what, told, count);
        if let Err(error) = noted.await {
            tracing::warn!(%error, "a denied act could not be written into the audit");
        }
    }

    /// Who asks.
    async fn prove(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Principal, Box<Response>> {
        let refuse = |status, detail: &str| {
            let mut response = Problem::new(status, detail).into_response();
            if status == StatusCode::UNAUTHORIZED {
                let scheme = HeaderValue::from_static("Bearer");
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, scheme);
            }
            Err(Box::new(response))
        };
        if !self.tokens.exist() {
            let detail = "this node has no token: set `token_file` (or `token`, CAMPANILE_TOKEN) where it is started";
            return refuse(StatusCode::UNAUTHORIZED, detail);
        }
        let mut said = headers.get_all(header::AUTHORIZATION).iter();
        let first = said.next();
        if said.next().is_some() {
            let detail = "the request has several `authorization` headers: send one";
            return refuse(StatusCode::BAD_REQUEST, detail);
        }
        let presented = first
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let client = self.proxies.client(peer, headers);
        let is_ours = presented.is_some_and(|token| self.tokens.hold(token));
        let holder = match presented.filter(|_| !is_ours) {
            // Who is over the limit has nothing looked up, unless he works on this machine.
            Some(token) if !self.logins.is_over(client, token) => self.holder_of(token).await?,
            _ => None,
        };
        let judged = self
            .logins
            .judge(client, presented, |_| is_ours || holder.is_some());
        if let (Some(count), Some(control)) = (judged.told, &self.control) {
            let told = "wrong tokens since the last such line".to_owned();
            note_failures(control, client.address, told, count);
        }
        match judged.verdict {
            Verdict::Pass => Ok(holder.map_or_else(Principal::bootstrap, Principal::of_token)),
            Verdict::Missing => refuse(
                StatusCode::UNAUTHORIZED,
                "no token: send `Authorization: Bearer TOKEN` (the CLI takes it from CAMPANILE_TOKEN); people log in at /login",
            ),
            Verdict::Wrong => refuse(
                StatusCode::UNAUTHORIZED,
                "the token is not this cluster's: take the one that the first start printed (`campanile token show` on \
                 the node's machine prints it), or the one that `token_file` or `token` sets",
            ),
            Verdict::Limited(wait) => {
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                let detail = format!(
                    "too many wrong tokens came from {}: try again in {seconds} s, with the right one",
                    client.address
                );
                let mut response =
                    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).into_response();
                let wait = HeaderValue::from(seconds);
                response.headers_mut().insert(header::RETRY_AFTER, wait);
                Err(Box::new(response))
            }
        }
    }

    fn check_site(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let text = |name| {
            headers
                .get(name)
                .and_then(|v: &header::HeaderValue| v.to_str().ok())
        };
        let host = text(header::HOST).unwrap_or_default();
        let public = self
            .origin
            .as_ref()
            .and_then(|origin| origin.split_once("://"));
        let is_public = public.is_some_and(|(_, name)| name.eq_ignore_ascii_case(host));
        if self.loopback && !is_loopback_name(host) && !is_public {
            let detail = format!(
                "`{}` is not a name of this service: it listens on loopback and serves localhost alone",
                host.escape_debug()
            );
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
        }
        let Some(origin) = text(header::ORIGIN) else {
            return Ok(());
        };
        let of_us = origin
            .split_once("://")
            .is_some_and(|(_, from)| from.eq_ignore_ascii_case(host));
        let own = self.origin.as_deref();
        let of_us = of_us || own.is_some_and(|own| own.eq_ignore_ascii_case(origin));
        if of_us {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "requests of other sites' pages are not served",
        ))
    }
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_this_machine_are_loopback() {
        for host in [
            "localhost",
            "localhost:7070",
            "127.0.0.1:1",
            "[::1]:7070",
            "[::1]",
            "127.0.0.9",
        ] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example:7070",
            "127.0.0.1.evil:1",
            "10.0.0.1",
        ] {
            assert!(!is_loopback_name(host), "{host}");
        }
    }
}
