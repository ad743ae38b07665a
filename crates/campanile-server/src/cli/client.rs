//! The API from outside: where it is, the token, requests and their refusals. What the answers mean is not decided here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use reqwest::{Method, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Failure;
use super::args::Global;
use super::out::waiting;
use super::refusals;
use super::target::Target;
use crate::api::acts::{REASON_HEADER, USER_HEADER};
use crate::api::problem::Problem;
use crate::config::{Environment, ServiceUrl};
use crate::token::{self, file::Owner};
use campanile_core::causes;

/// Where a service listens unless told otherwise.
pub const DEFAULT_URL: &str = "http://127.0.0.1:7070";

/// The store of a `serve` that was given none.
pub(super) const DEFAULT_STORE: &str = "sqlite:campanile.db";

/// Services that one command may try.
const SERVICES_MAX: usize = 16;
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const ANSWER_LIMIT: Duration = Duration::from_secs(300);
/// How long something may be followed without a break.
const STREAM_LIMIT: Duration = Duration::from_secs(365 * 86_400);

/// A connection to the API.
#[derive(Debug)]
pub struct Client {
    /// The services of a cluster, in the order in which they are tried.
    services: Vec<Service>,
}

/// One address.
#[derive(Debug)]
struct Service {
    http: reqwest::Client,
    url: String,
    /// Tokens to try, best first.
    tokens: Vec<String>,
}

/// Why a service gave no result.
enum Trouble {
    /// It can't be reached. The request has certainly not arrived, if `unsent`.
    Gone { unsent: bool, failure: Failure },
    /// Another service would say the same.
    Final(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

impl Client {
    /// From flags and environment.
    ///
    /// # Errors
    /// An address or a certificate that can't be used.
    pub fn new(global: &Global, environment: &Environment) -> Result<Self, Failure> {
        let urls = global
            .url
            .clone()
            .or_else(|| environment.get("CAMPANILE_URL").cloned())
            .unwrap_or_else(|| DEFAULT_URL.to_owned());
        let insecure = global.insecure.as_deref() == Some("true");
        let ca = global
            .ca
            .clone()
            .or_else(|| environment.get("CAMPANILE_CA").map(PathBuf::from));
        let ca = ca.map(|path| certificates(&path)).transpose()?;
        let urls: Vec<&str> = urls.split(',').map(str::trim).collect();
        if urls.len() > SERVICES_MAX {
            return Err(Failure::Usage(format!(
                "--url: {} addresses are over the limit of {SERVICES_MAX}",
                urls.len()
            )));
        }
        let services = urls.into_iter().map(|url| {
            let target = Target::read(url, insecure).map_err(Failure::Usage)?;
            Service::new(target, environment, ca.as_deref(), global.reason.as_deref())
        });
        let services = services.collect::<Result<_, Failure>>()?;
        Ok(Self { services })
    }

    /// Asks for something.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, None).await
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.call(Method::POST, path, Some(json(body)?)).await
    }

    /// Puts something; the answer is not read.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn put(&self, path: &str, body: &impl Serialize) -> Result<(), Failure> {
        self.call::<Option<Value>>(Method::PUT, path, Some(json(body)?))
            .await
            .map(drop)
    }

    /// Deletes something.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.call::<Option<Value>>(Method::DELETE, path, None)
            .await
            .map(drop)
    }

    /// Deletes something that may have something to tell.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn delete_telling<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::DELETE, path, None).await
    }

    /// Opens what comes bit by bit, at the first service that answers.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn open(
        &self,
        path: &str,
        header: Option<(&str, &str)>,
    ) -> Result<reqwest::Response, Failure> {
        check_path(path)?;
        let mut last = None;
        for service in &self.services {
            let opened = service.with_token(async |token| service.open(path, header, token).await);
            match opened.await {
                Ok(response) => return Ok(response),
                Err(Trouble::Final(failure)) => return Err(failure),
                Err(Trouble::Gone { failure, .. }) => last = Some(failure),
            }
        }
        Err(last.unwrap_or_else(|| Failure::Usage("--url: names no service".to_owned())))
    }

    /// Asks one service after the other until one answers. What may change something goes to the next only if it has
    /// certainly not arrived.
    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<T, Failure> {
        check_path(path)?;
        let mut last = None;
        for service in &self.services {
            match service.call(&method, path, body.as_ref()).await {
                Ok(bytes) => {
                    let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
                    return serde_json::from_slice(bytes).map_err(|e| {
                        Failure::Failed(format!(
                            "{} answers what this version can't read: {e}",
                            service.url
                        ))
                    });
                }
                Err(Trouble::Final(failure)) => return Err(failure),
                Err(Trouble::Gone { unsent, failure }) => {
                    if !unsent && method != Method::GET {
                        return Err(failure);
                    }
                    last = Some(failure);
                }
            }
        }
        Err(last.unwrap_or_else(|| Failure::Usage("--url: names no service".to_owned())))
    }
}

impl Service {
    fn new(
        target: Target,
        environment: &Environment,
        ca: Option<&[reqwest::Certificate]>,
        reason: Option<&str>,
    ) -> Result<Self, Failure> {
        let mut headers = header::HeaderMap::new();
        if let Some(reason) = reason {
            let value = header::HeaderValue::from_bytes(reason.as_bytes());
            let value = value.map_err(|_| {
                Failure::Usage("--reason: holds what no header can: write one line".to_owned())
            })?;
            headers.insert(REASON_HEADER, value);
        }
        // For the log of the service, which says that nobody has proved it.
        let user = environment
            .get("USER")
            .or_else(|| environment.get("LOGNAME"));
        if let Some(Ok(user)) = user.map(|user| user.parse()) {
            headers.insert(USER_HEADER, user);
        }
        let mut http = reqwest::Client::builder()
            .no_proxy()
            // The token goes where it was told to go, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .timeout(ANSWER_LIMIT)
            .default_headers(headers)
            .user_agent(concat!("campanile-cli/", env!("CARGO_PKG_VERSION")));
        if let Some(addresses) = target.resolved() {
            http = http.resolve_to_addrs(target.host(), &addresses);
        }
        if let Some(certificates) = ca {
            http = http.tls_certs_merge(certificates.to_vec());
        }
        let http = http.build().map_err(|e| {
            Failure::Failed(format!("failed to set up the HTTP client: {}", causes(&e)))
        })?;
        let tokens = tokens(environment, &target)?;
        let url = target.into_url();
        Ok(Self { http, url, tokens })
    }

    async fn call(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Bytes>,
    ) -> Result<Vec<u8>, Trouble> {
        self.with_token(async |token| self.once(method.clone(), path, body, token).await)
            .await
    }

    /// Tries one token after the other until one is taken.
    async fn with_token<T>(
        &self,
        mut ask: impl AsyncFnMut(&str) -> Result<Result<T, Problem>, Trouble>,
    ) -> Result<T, Trouble> {
        if self.tokens.is_empty() {
            return Err(Trouble::Final(Failure::Usage(
                "no token: set CAMPANILE_TOKEN to the one that the service's first start printed (or run this in the \
                 folder of its SQLite file)"
                    .to_owned(),
            )));
        }
        let mut refused = None;
        for token in &self.tokens {
            match ask(token).await? {
                Ok(answer) => return Ok(answer),
                Err(problem) if problem.status == StatusCode::UNAUTHORIZED.as_u16() => {
                    refused = Some(problem);
                }
                Err(problem) => return Err(Trouble::Final(Failure::Refused(Box::new(problem)))),
            }
        }
        Err(Trouble::Final(refused.map_or_else(
            || Failure::Failed("no answer".to_owned()),
            |p| Failure::Refused(Box::new(p)),
        )))
    }

    async fn once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Bytes>,
        token: &str,
    ) -> Result<Result<Vec<u8>, Problem>, Trouble> {
        let mut request = self.request(method, path, token);
        if let Some(body) = body {
            let kind = (header::CONTENT_TYPE, "application/json");
            request = request.header(kind.0, kind.1).body(body.clone());
        }
        let response = match self.answered(request).await? {
            Ok(response) => response,
            Err(problem) => return Ok(Err(problem)),
        };
        let bytes = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        Ok(Ok(bytes.to_vec()))
    }

    /// An answer that comes bit by bit, for as long as it may take.
    async fn open(
        &self,
        path: &str,
        header: Option<(&str, &str)>,
        token: &str,
    ) -> Result<Result<reqwest::Response, Problem>, Trouble> {
        let mut request = self.request(Method::GET, path, token).timeout(STREAM_LIMIT);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        self.answered(request).await
    }

    fn request(&self, method: Method, path: &str, token: &str) -> reqwest::RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}/api/v1{path}", self.url));
        request.bearer_auth(token)
    }

    /// A good answer, of which the body is not read, or what the service says against it.
    async fn answered(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<Result<reqwest::Response, Problem>, Trouble> {
        let response = waiting("waiting for the service", request.send())
            .await
            .map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(Trouble::Final(self.elsewhere(&response)));
        }
        if status.is_success() {
            return Ok(Ok(response));
        }
        let bytes = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        Ok(Err(serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            let detail = format!("{} answers {status}: is it a campanile service?", self.url);
            Problem::new(axum::http::StatusCode::BAD_GATEWAY, detail)
        })))
    }

    fn elsewhere(&self, response: &reqwest::Response) -> Failure {
        let to = response.headers().get(header::LOCATION);
        let to = to.and_then(|v| v.to_str().ok()).unwrap_or("another place");
        Failure::Failed(format!(
            "{} answers {} and names {}: the token is not taken there; if that is the service, set CAMPANILE_URL to it",
            self.url,
            response.status(),
            ServiceUrl::new(to)
        ))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Trouble {
        Trouble::Gone {
            unsent: error.is_connect(),
            failure: Failure::Failed(refusals::no_answer(&self.url, error)),
        }
    }
}

/// A body as it goes to each service that is tried.
fn json(body: &impl Serialize) -> Result<Bytes, Failure> {
    let bytes = serde_json::to_vec(body);
    bytes
        .map(Bytes::from)
        .map_err(|e| Failure::Failed(format!("failed to write the request: {e}")))
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, Failure> {
    let wrong = |e: String| {
        let path = path.display();
        Failure::Usage(format!("--ca: can't use the certificate {path}: {e}"))
    };
    let pem = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let all = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| wrong(causes(&e)))?;
    if all.is_empty() {
        let message = "it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned();
        return Err(wrong(message));
    }
    // One that is no certificate is refused only where a client is built.
    let tried = reqwest::Client::builder().tls_certs_merge(all.clone());
    tried.build().map_err(|e| wrong(causes(&e)))?;
    Ok(all)
}

/// Refuses a token that a header can't carry.
fn check_token(token: &str, source: &str) -> Result<(), Failure> {
    if token.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{source}: the token has characters that no token has (spaces, line ends, letters beyond ASCII): write what the \
         service's first start printed, or what `campanile token show` prints on its machine"
    )))
}

/// The token that was given; else, for a service on this machine, those beside SQLite files that could be its.
fn tokens(environment: &Environment, target: &Target) -> Result<Vec<String>, Failure> {
    if let Some(token) = environment.get("CAMPANILE_TOKEN") {
        check_token(token, "CAMPANILE_TOKEN")?;
        return Ok(vec![token.clone()]);
    }
    if let Some(path) = environment.get("CAMPANILE_TOKEN_FILE") {
        let held = token::file::read(Path::new(path), Owner::Anybody);
        let held = held.map_err(|e| Failure::Usage(format!("CAMPANILE_TOKEN_FILE: {e}")))?;
        check_token(held.first(), "CAMPANILE_TOKEN_FILE")?;
        return Ok(vec![held.first().to_owned()]);
    }
    if !target.is_local() {
        return Ok(Vec::new());
    }
    let set = environment.get("CAMPANILE_STORE").map(String::as_str);
    Ok(set
        .into_iter()
        .chain([DEFAULT_STORE, super::dev::STORE])
        .filter_map(token::file_of)
        .filter_map(|path| token::file::read(&path, Owner::Us).ok())
        .map(|held| held.first().to_owned())
        .collect())
}

/// Refuses a name that an address can't carry: `.` and `..` would lead elsewhere, and nothing would name everything.
fn check_path(path: &str) -> Result<(), Failure> {
    let names = path.split('?').next().unwrap_or_default();
    let mut names = names.strip_prefix('/').unwrap_or(names).split('/');
    match names.find(|name| matches!(*name, "" | "." | "..")) {
        Some(name) => Err(Failure::Usage(format!(
            "`{name}` is not a name: `campanile task list` shows those of tasks"
        ))),
        None => Ok(()),
    }
}

/// A name as part of a path.
#[must_use]
pub fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

/// A query from those of its parameters that have values.
#[must_use]
pub fn query(pairs: &[(&str, Option<String>)]) -> String {
    let parts: Vec<String> = pairs
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", escape(value.as_ref()?))))
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!("?{}", parts.join("&"))
    }
}
