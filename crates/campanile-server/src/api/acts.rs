//! One log line for each act: who did what, from where, and how it went. An act is a request that may change something;
//! looking is none. Who it was is as much as is known: whoever holds the token, and the name that the client gives of
//! itself, which nobody has proved.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::Response;
use campanile::actor::Actor;
use campanile::control::Editor;

use super::Shared;
use super::guard::Guard;

/// The header in which a client says who sits before it.
pub const USER_HEADER: &str = "campanile-user";
/// Where a request came from that was made within the process.
const THIS_PROCESS: &str = "this process";
/// How much of that name, and of a path, is logged.
const TEXT_CHARS_MAX: usize = 200;

/// Control in the hands of who asks.
#[derive(Debug)]
pub struct By(pub Editor);

impl FromRequestParts<Shared> for By {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, control: &Shared) -> Result<Self, Infallible> {
        let actor = parts.extensions.get::<Actor>().cloned();
        let actor = actor.unwrap_or_else(|| Actor::new(&user(&parts.headers), THIS_PROCESS));
        Ok(Self(control.by(actor)))
    }
}

/// Gives a request that may change something its actor, and logs it once it is answered.
pub async fn note(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let Some(what) = act(request.method(), request.uri()) else {
        return next.run(request).await;
    };
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let from = peer.map_or_else(
        || THIS_PROCESS.to_owned(),
        |peer| {
            let client = guard.proxies.client(peer.0.ip(), request.headers());
            client.address.to_string()
        },
    );
    let user = user(request.headers());
    request.extensions_mut().insert(Actor::new(&user, &from));
    let response = next.run(request).await;
    let status = response.status().as_u16();
    tracing::info!(
        act = what,
        from,
        user,
        status,
        "{user} from {from}: {what}: {status}"
    );
    response
}

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
}
