//! Who may ask: the bearer token on every route but health, and the checks that keep a page of another site from using
//! a service on loopback through somebody's browser (Host and Origin). Decides by headers alone, before any body is
//! read.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::logins::{Logins, Verdict};
use super::problem::Problem;
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
        }
    }
}

/// Lets a request through if it carries a token.
pub async fn authenticate(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    // Nobody's connection: a request that was made within the process.
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    match guard.check_token(peer, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(response) => *response,
    }
}

/// Lets a request through unless a page of another site sent it.
pub async fn same_site(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.check_site(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

impl Guard {
    fn check_token(&self, peer: IpAddr, headers: &HeaderMap) -> Result<(), Box<Response>> {
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
        match self
            .logins
            .judge(client, presented, |token| self.tokens.hold(token))
        {
            Verdict::Pass => Ok(()),
            Verdict::Missing => refuse(
                StatusCode::UNAUTHORIZED,
                "no token: send `Authorization: Bearer TOKEN` (the CLI takes it from CAMPANILE_TOKEN)",
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
        if self.loopback && !is_loopback_name(host) {
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
