//! Who may ask: the bearer token on every route but health, and the checks that keep a page of another site from using
//! a service on loopback through somebody's browser (Host and Origin). Decides by headers alone, before any body is
//! read.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::token::Expected;

/// What the guard knows.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The token; `None` = no request is allowed through.
    pub token: Option<Expected>,
    /// Whether only this machine can reach the listener: then only its own names are served.
    pub loopback: bool,
}

/// Lets a request through if it carries the token.
pub async fn authenticate(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.check_token(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
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
    fn check_token(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let refuse = |detail: &str| Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
        let Some(expected) = &self.token else {
            return refuse(
                "this node has no token: set `token` (or CAMPANILE_TOKEN) where it is started",
            );
        };
        let presented = headers
            .get(header::AUTHORIZATION)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        match presented {
            None => refuse(
                "no token: send `Authorization: Bearer TOKEN` (the CLI takes it from CAMPANILE_TOKEN)",
            ),
            Some(token) if !expected.is(token) => refuse(
                "the token is not this cluster's: take the one that the first start printed (for a SQLite store it is in \
                 the file beside it that ends in .token), or the one that `token` sets",
            ),
            Some(_) => Ok(()),
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
                host.escape_default()
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
