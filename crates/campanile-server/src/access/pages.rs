//! The pages of coming in and going out: plain HTML without a script, made here whole. Owns forms, cookies, where the
//! browser goes next, and what it is told when it may not come in. Looking changes nothing; the way back from an identity
//! provider is the one exception that the protocol demands, and it needs the cookie of a login that was begun here.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use campanile_login::oidc::{ATTEMPT_MAX, Attempt, Callback};
use campanile_login::password::PASSWORD_BYTES_MAX;
use campanile_login::same;
use sha2::{Digest as _, Sha256};

use super::Access;
use super::cookies::{Cookie, Cookies};
use super::logins::Refused;
use crate::http::proxies::Client;

/// The biggest form.
const FORM_BYTES_MAX: usize = 8 * 1024;
/// The longest address within this service to go to.
const NEXT_BYTES_MAX: usize = 1_000;
/// How long the page of a login is good.
const FORM_SECONDS: u64 = 3_600;
/// As everywhere, but for forms to this service.
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const NO_COOKIES: &str = "nobody can log in here: over plain http everybody on the path could read the session. Serve https \
                          (`tls_cert`, `tls_key`), or set `public_url` to the https address of what stands in front";

/// The routes.
pub fn router(access: Arc<Access>) -> Router {
    Router::new()
        .route("/login", get(show).post(log_in))
        .route("/logout", post(log_out))
        .route("/login/oidc", get(leave))
        .route("/login/oidc/callback", get(come_back))
        .with_state(access)
}

/// What a form carried.
#[derive(Default)]
struct Form(Vec<(String, String)>);

impl Form {
    fn read(text: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(text).into_owned().collect())
    }

    /// A field that stands there once.
    fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(key, _)| key == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }
}

fn client(access: &Access, request: &Request) -> Client {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    access.parts.proxies.client(peer, request.headers())
}

fn query(uri: &Uri) -> Form {
    Form::read(uri.query().unwrap_or_default().as_bytes())
}

/// Where to go afterwards: within this service, or to its first page.
fn next_of(form: &Form) -> &str {
    let wanted = form.field("next").unwrap_or("/");
    let plain =
        wanted.len() <= NEXT_BYTES_MAX && wanted.chars().all(|c| c.is_ascii_graphic() && c != '\\');
    if plain && wanted.starts_with('/') && !wanted.starts_with("//") {
        wanted
    } else {
        "/"
    }
}

/// `GET /login`: who one is, or the form.
async fn show(State(access): State<Arc<Access>>, request: Request) -> Response {
    if access.parts.cookies == Cookies::No {
        return told(StatusCode::FORBIDDEN, NO_COOKIES);
    }
    let found = match access.session(request.headers()).await {
        Ok(found) => found,
        Err(problem) => return problem.into_response(),
    };
    let known = found.and_then(|(token, found)| Some((token, access.person(&found)?)));
    if let Some((token, person)) = known {
        let text = format!(
            "<p>You are logged in as <strong>{}</strong>: {}.</p>\n<form method=\"post\" action=\"/logout\">\
             <input type=\"hidden\" name=\"form\" value=\"{}\"><button type=\"submit\">Log out</button></form>\n",
            escape(&person.name),
            escape(&person.rights.to_string()),
            token.form()
        );
        return page(StatusCode::OK, &text);
    }
    form(
        &access,
        next_of(&query(request.uri())),
        None,
        StatusCode::OK,
    )
}

/// `POST /login`.
async fn log_in(State(access): State<Arc<Access>>, request: Request) -> Response {
    if access.parts.cookies == Cookies::No {
        return told(StatusCode::FORBIDDEN, NO_COOKIES);
    }
    let client = client(&access, &request);
    let (headers, sent) = match read_form(&access, request).await {
        Ok(read) => read,
        Err(refused) => return *refused,
    };
    let next = next_of(&sent);
    let secret = access.parts.cookies.read(&headers, Cookie::Form);
    let fits = secret.is_some_and(|secret| {
        let form = sent.field("form").unwrap_or_default();
        same(form.as_bytes(), form_of(&secret).as_bytes())
    });
    if !fits {
        let why = "this page was too old, or cookies are switched off: try once more";
        return form(&access, next, Some(why), StatusCode::FORBIDDEN);
    }
    let (user, password) = (
        sent.field("user").unwrap_or_default(),
        sent.field("password").unwrap_or_default(),
    );
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
        return form(
            &access,
            next,
            Some("the name or the password is wrong"),
            StatusCode::UNAUTHORIZED,
        );
    }
    match access
        .by_password(client, &headers, user, password.to_owned())
        .await
    {
        Ok(session) => gone_to(next, [session, access.parts.cookies.clear(Cookie::Form)]),
        Err(refused) => {
            let status = status_of(&refused);
            let mut response = form(&access, next, Some(&refused.to_string()), status);
            if let Refused::Limited(seconds) = refused {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, seconds.into());
            }
            response
        }
    }
}

/// `POST /logout`.
async fn log_out(State(access): State<Arc<Access>>, request: Request) -> Response {
    let from = client(&access, &request).address.to_string();
    let (headers, sent) = match read_form(&access, request).await {
        Ok(read) => read,
        Err(refused) => return *refused,
    };
    let found = match access.session(&headers).await {
        Ok(found) => found,
        Err(problem) => return problem.into_response(),
    };
    let cookies = access.parts.cookies;
    if let Some((token, found)) = found {
        let form = sent.field("form").unwrap_or_default();
        if !same(form.as_bytes(), token.form().as_bytes()) {
            return told(
                StatusCode::FORBIDDEN,
                "this page is of another session: open /login and log out there",
            );
        }
        let actor = access.leaving(&found, &from);
        let now = access.now().await;
        let closed = match now {
            Ok(now) => access.close(&actor, &token, now).await,
            Err(problem) => return problem.into_response(),
        };
        if let Err(refused) = closed {
            return told(status_of(&refused), &refused.to_string());
        }
    }
    gone_to("/login", [cookies.clear(Cookie::Session)])
}

/// `GET /login/oidc`: off to the provider.
async fn leave(State(access): State<Arc<Access>>, request: Request) -> Response {
    let Some((provider, _)) = &access.parts.oidc else {
        return told(
            StatusCode::NOT_FOUND,
            "no identity provider is set here (`access_oidc_issuer`)",
        );
    };
    if access.parts.cookies == Cookies::No {
        return told(StatusCode::FORBIDDEN, NO_COOKIES);
    }
    let now = match access.now().await {
        Ok(now) => now,
        Err(problem) => return problem.into_response(),
    };
    let wanted = query(request.uri());
    let attempt = Attempt::begin(&access.parts.random, now, next_of(&wanted));
    match provider.address(&attempt).await {
        Ok(address) => {
            let cookie =
                access
                    .parts
                    .cookies
                    .set(Cookie::Attempt, attempt.cookie(), ATTEMPT_MAX.as_secs());
            gone_to(&address, [cookie])
        }
        Err(error) => {
            tracing::warn!(%error, "nobody can log in by the identity provider: failed to {error}");
            told(
                StatusCode::BAD_GATEWAY,
                "the identity provider can't be asked: `campanile doctor` says more",
            )
        }
    }
}

/// `GET /login/oidc/callback`: back from the provider.
async fn come_back(State(access): State<Arc<Access>>, request: Request) -> Response {
    let client = client(&access, &request);
    let said = query(request.uri());
    let field = |name: &str| said.field(name).map(str::to_owned);
    let callback = Callback {
        code: field("code"),
        state: field("state"),
        iss: field("iss"),
        error: field("error"),
        error_description: field("error_description"),
    };
    let cookies = access.parts.cookies;
    match access
        .by_provider(client, request.headers(), &callback)
        .await
    {
        Ok((session, next)) => {
            let next = Form(vec![("next".to_owned(), next)]);
            gone_to(next_of(&next), [session, cookies.clear(Cookie::Attempt)])
        }
        Err(refused) => {
            let text = match &refused {
                // What is wrong with its token is for the log.
                Refused::Provider(error @ campanile_login::oidc::Error::NotBegun(_)) => {
                    error.to_string()
                }
                Refused::Provider(campanile_login::oidc::Error::Refused(why)) => {
                    format!("the identity provider says: {why}")
                }
                Refused::Provider(_) => {
                    "the identity provider's answer can't be taken: the node's log says why"
                        .to_owned()
                }
                other => other.to_string(),
            };
            let again = format!(
                "<p role=\"alert\">You are not logged in: {}</p>\n<p><a href=\"/login\">Try again</a></p>\n",
                escape(&text)
            );
            let mut response = page(status_of(&refused), &again);
            response
                .headers_mut()
                .append(header::SET_COOKIE, cookies.clear(Cookie::Attempt));
            response
        }
    }
}

const fn status_of(refused: &Refused) -> StatusCode {
    use campanile_login::oidc::Error;
    match refused {
        Refused::Wrong => StatusCode::UNAUTHORIZED,
        Refused::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
        Refused::Busy(_) | Refused::Store => StatusCode::SERVICE_UNAVAILABLE,
        Refused::Provider(Error::Unreachable(_)) => StatusCode::BAD_GATEWAY,
        Refused::Provider(_) | Refused::NoGroup(_) => StatusCode::FORBIDDEN,
    }
}

/// The fields of a form that a page of ours sent.
async fn read_form(access: &Access, request: Request) -> Result<(HeaderMap, Form), Box<Response>> {
    if let Err(problem) = access.check_origin(request.headers()) {
        return Err(Box::new(problem.into_response()));
    }
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        let text = "send the form as application/x-www-form-urlencoded";
        return Err(Box::new(told(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)));
    }
    let (parts, body) = request.into_parts();
    match to_bytes(body, FORM_BYTES_MAX).await {
        Ok(bytes) => Ok((parts.headers, Form::read(&bytes))),
        Err(_) => Err(Box::new(told(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the form is too big",
        ))),
    }
}

/// What the form carries that fits this cookie: who can't read the page can't know it.
fn form_of(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!("campanile form\0{secret}")))
}

/// The form of a login.
fn form(access: &Access, next: &str, why: Option<&str>, status: StatusCode) -> Response {
    let secret = URL_SAFE_NO_PAD.encode(access.parts.random.secret());
    let mut text = String::new();
    if let Some(why) = why {
        let _ = writeln!(
            text,
            "<p role=\"alert\">You are not logged in: {}.</p>",
            escape(why)
        );
    }
    let _ = write!(
        text,
        "<form method=\"post\" action=\"/login\">\n\
         <input type=\"hidden\" name=\"form\" value=\"{}\">\n<input type=\"hidden\" name=\"next\" value=\"{}\">\n\
         <label for=\"user\">User</label>\n\
         <input id=\"user\" name=\"user\" autocomplete=\"username\" autocapitalize=\"none\" required>\n\
         <label for=\"password\">Password</label>\n\
         <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\" required>\n\
         <button type=\"submit\">Log in</button>\n</form>\n",
        form_of(&secret),
        escape(next)
    );
    if let Some((provider, _)) = &access.parts.oidc {
        let issuer = provider.issuer();
        let host = issuer
            .split("://")
            .nth(1)
            .and_then(|rest| rest.split(['/', ':']).next());
        let encoded: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let _ = writeln!(
            text,
            "<p><a href=\"/login/oidc?next={}\">Log in with {}</a></p>",
            escape(&encoded),
            escape(host.unwrap_or(issuer))
        );
    }
    let mut response = page(status, &text);
    let cookie = access
        .parts
        .cookies
        .set(Cookie::Form, &secret, FORM_SECONDS);
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

fn told(status: StatusCode, text: &str) -> Response {
    page(
        status,
        &format!("<p role=\"alert\">{}.</p>\n", escape(text)),
    )
}

fn page(status: StatusCode, main: &str) -> Response {
    let text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Campanile: log in</title>\n\
         <link rel=\"stylesheet\" href=\"/assets/app.css\">\n</head>\n<body>\n<header>\n  <h1><a href=\"/\">Campanile</a></h1>\n\
         </header>\n<main>\n{main}</main>\n</body>\n</html>\n"
    );
    let policy = (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    (status, [policy], Html(text)).into_response()
}

/// Sends the browser on, with cookies.
fn gone_to<const N: usize>(address: &str, cookies: [HeaderValue; N]) -> Response {
    let Ok(location) = HeaderValue::from_str(address) else {
        return told(
            StatusCode::BAD_GATEWAY,
            "the address to go to can't be written into a header",
        );
    };
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response();
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_one_of_ours() {
        let next =
            |text: &str| next_of(&Form(vec![("next".to_owned(), text.to_owned())])).to_owned();
        for ours in ["/", "/tasks?x=1", "/a//b"] {
            assert_eq!(next(ours), ours);
        }
        for odd in [
            "",
            "tasks",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "https://evil.example",
            "javascript:x",
            "/a b",
            "/a\r\nx: y",
            "/\t/evil.example",
            &format!("/{}", "x".repeat(2_000)),
        ] {
            assert_eq!(next(odd), "/", "{odd:?}");
        }
        let twice = Form::read(b"next=/a&next=/b");
        assert_eq!(next_of(&twice), "/");
    }

    #[test]
    fn nothing_of_a_text_becomes_a_tag() {
        assert_eq!(escape("<b a='\"'>&"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
    }
}
