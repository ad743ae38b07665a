//! Who asks, in a request: an actor, made of what the guard has proved and of what the request says of itself; and one log
//! line for each act. An act is a request that may change something; looking is none.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use campanile_access::token::ApiToken;
use campanile_access::{Kind, Rights};
use campanile_ask::Editor;
use campanile_core::actor::Actor;
use campanile_core::system::Random;

use super::Shared;
use super::guard::Guard;
use super::problem::Problem;

/// The header in which a client says who sits before it. It counts where only the cluster's own token was shown.
pub const USER_HEADER: &str = "campanile-user";
/// The header in which a client says why it asks for an act, in UTF-8.
pub const REASON_HEADER: &str = "campanile-reason";
/// The header with the id of a request: the client's, or ours. It is in the answer, too.
pub const REQUEST_HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Where a request came from that was made within the process.
const THIS_PROCESS: &str = "this process";
/// How much of that name, and of a path, is logged.
const TEXT_CHARS_MAX: usize = 200;
/// How long a client's id of a request may be.
const REQUEST_CHARS_MAX: usize = 64;

/// Control in the hands of who asks.
#[derive(Debug)]
pub struct By(pub Editor);

impl FromRequestParts<Shared> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, control: &Shared) -> Result<Self, Problem> {
        match parts.extensions.get::<Actor>() {
            Some(actor) => Ok(Self(control.by(actor.clone()))),
            None => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "nobody has checked who asks",
            )),
        }
    }
}

/// Somebody whom the guard has let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub kind: Kind,
    /// `None` = as the client says.
    pub name: Option<String>,
    pub rights: Rights,
}

impl Principal {
    /// Who holds the cluster's own token.
    #[must_use]
    pub const fn bootstrap() -> Self {
        Self {
            kind: Kind::Bootstrap,
            name: None,
            rights: Rights::all(),
        }
    }

    /// Who holds an API token.
    #[must_use]
    pub fn of_token(token: ApiToken) -> Self {
        Self {
            kind: Kind::Token,
            name: Some(token.name),
            rights: token.rights,
        }
    }

    /// As the actor of a request.
    pub(super) fn actor(self, guard: &Guard, request: &Request) -> Actor {
        let headers = request.headers();
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let from = peer.map_or_else(
            || THIS_PROCESS.to_owned(),
            |peer| {
                guard
                    .proxies
                    .client(peer.0.ip(), headers)
                    .address
                    .to_string()
            },
        );
        let name = self.name.unwrap_or_else(|| user(headers));
        let reason = headers.get(REASON_HEADER);
        let reason = reason.and_then(|said| std::str::from_utf8(said.as_bytes()).ok());
        Actor::of(self.kind, &name, &from, self.rights)
            .in_request(&request_id(headers, &guard.random))
            .because(reason)
    }
}

/// Answers a request of an actor: with its id, and with a line in the log if it may have changed something.
pub(super) async fn answer(
    guard: &Guard,
    actor: Actor,
    mut request: Request,
    next: Next,
) -> Response {
    let what = act(request.method(), request.uri());
    let id = HeaderValue::from_str(actor.request().unwrap_or_default());
    request.extensions_mut().insert(actor.clone());
    let mut response = next.run(request).await;
    if let Ok(id) = id {
        response.headers_mut().insert(REQUEST_HEADER, id);
    }
    if let Some(what) = what {
        if let Some(Refused(told)) = response.extensions().get() {
            guard.note_denied(&actor, &what, told).await;
        }
        let status = response.status().as_u16();
        let (user, from, kind) = (actor.name(), actor.from(), actor.kind().as_str());
        let request = actor.request();
        tracing::info!(
            act = what,
            from,
            user,
            kind,
            request,
            status,
            "{user} from {from}: {what}: {status}"
        );
    }
    response
}

/// Put to an answer that refuses an act for want of a right: the sentence.
#[derive(Debug, Clone)]
pub struct Refused(pub String);

/// Method and path of a request that may change something. A dry run changes nothing.
fn act(method: &Method, uri: &Uri) -> Option<String> {
    let changes = matches!(
        *method,
        Method::POST | Method::PUT | Method::DELETE | Method::PATCH
    );
    let query = uri.query().unwrap_or_default();
    let dry = query.split('&').any(|pair| pair == "dry_run=true");
    (changes && !dry).then(|| {
        let path: String = uri.path().chars().take(TEXT_CHARS_MAX).collect();
        format!("{method} {path}")
    })
}

/// Who the client says it is.
fn user(headers: &HeaderMap) -> String {
    let said = headers.get(USER_HEADER).and_then(|v| v.to_str().ok());
    let said = said.map(str::trim).filter(|said| !said.is_empty());
    said.map_or_else(
        || "a holder of the token".to_owned(),
        |said| said.chars().take(TEXT_CHARS_MAX).collect(),
    )
}

/// The client's id of a request, if it is a short word; or a new one.
fn request_id(headers: &HeaderMap, random: &Random) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    let said = headers.get(REQUEST_HEADER).and_then(|v| v.to_str().ok());
    let said = said.filter(|said| {
        !said.is_empty() && said.len() <= REQUEST_CHARS_MAX && said.chars().all(is_plain)
    });
    said.map_or_else(|| hex::encode(&random.secret()[..8]), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_change_something_is_an_act() {
        let of = |method, uri: &str| act(&method, &uri.parse().unwrap());
        assert_eq!(
            of(Method::POST, "/api/v1/tasks/a/pause?x=1"),
            Some("POST /api/v1/tasks/a/pause".to_owned())
        );
        assert_eq!(of(Method::GET, "/api/v1/tasks"), None);
        assert_eq!(
            of(Method::POST, "/api/v1/apply?prune=true&dry_run=true"),
            None
        );
        let long = format!("/{}", "x".repeat(5_000));
        assert!(of(Method::DELETE, &long).unwrap().len() < 300);
    }

    #[test]
    fn a_user_is_what_the_client_says() {
        let mut headers = HeaderMap::new();
        assert_eq!(user(&headers), "a holder of the token");
        headers.insert(USER_HEADER, " ada ".parse().unwrap());
        assert_eq!(user(&headers), "ada");
    }

    #[test]
    fn a_request_has_an_id_that_is_a_short_word() {
        let random = Random::from_system();
        let mut headers = HeaderMap::new();
        assert_eq!(request_id(&headers, &random).len(), 16);
        for (said, is_kept) in [
            ("a-1:b.c_D", true),
            ("a b", false),
            (&*"x".repeat(65), false),
        ] {
            headers.insert(REQUEST_HEADER, said.parse().unwrap());
            assert_eq!(request_id(&headers, &random) == said, is_kept, "{said}");
        }
    }
}
