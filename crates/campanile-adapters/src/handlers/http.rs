//! The `http` handler: one request for each attempt. Owns what is sent, what an answer means and how much of it is
//! kept; never follows a redirect, never takes a proxy from the environment, and never connects to an address that
//! [`super::unsafe_target`] gives a reason against.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use campanile_core::limits;
use campanile_core::port::clock::Clock as _;
use campanile_core::port::handler::{Context, Executor, Failure, Log, Returned};
use campanile_core::system::SystemClock;
use campanile_core::task::{Class, FRAMING_HEADERS, HandlerSpec, HttpSpec};
use reqwest::header::{
    CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Method, Request, Response, StatusCode, Url, Version};

use super::output::Output;
use super::ssrf::{Guard, Refused, Unresolved};

/// How long a connection is kept for the next run of a burst. Shorter than any common server's own keep-alive, so
/// that no run fails because its connection was being closed on the other side.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// How HTTP handlers behave on this worker.
#[derive(Debug, Clone, Copy)]
pub struct HttpOptions {
    /// Lifts the guard on addresses as a whole: tasks may reach loopback, private networks and metadata services.
    pub allow_private_targets: bool,
    /// How long finding and connecting to the target may take, within the attempt's own timeout.
    pub connect_timeout: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            allow_private_targets: false,
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// Why there is no HTTP executor.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The TLS library took none of its own protocol versions.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    /// The HTTP client refused its settings.
    #[error("set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Runs `http` handlers.
///
/// | answer | end |
/// |---|---|
/// | a status in `expect`, or any 2xx when that is empty | success |
/// | 408, 425, 429, 5xx; no answer at all | [`Failure::retry`] |
/// | any other status, redirects too | [`Failure::fatal`] |
/// | the target's address is not public and the settings don't allow that | [`Failure::not_allowed`] |
///
/// Each end carries its class (the status, `connect`, `broken`, `tls`, `dns`), by which a task's `retry.on` and
/// `retry.never_on` decide, and what the answer's `Retry-After` asks for.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    guard: Guard,
}

impl Http {
    /// An executor with a client of its own. Certificates are checked against the system's roots, as they are now.
    ///
    /// # Errors
    /// When the client can't be built; nothing was contacted.
    pub fn new(options: HttpOptions) -> Result<Self, BuildError> {
        let guard = Guard {
            allow_private_targets: options.allow_private_targets,
        };
        let client = client(guard, options.connect_timeout)?;
        Ok(Self { client, guard })
    }

    fn request(&self, spec: &HttpSpec, context: &Context) -> Result<Request, Failure> {
        let url = Url::parse(&spec.url).map_err(|error| {
            Failure::fatal(format!("handler.http.url is not an address: {error}"))
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Failure::fatal(
                "handler.http.url: write an address that begins with http:// or https://"
                    .to_owned(),
            ));
        }
        self.guard
            .check_literal(&url)
            .map_err(|refused| Failure::not_allowed(refused.to_string()))?;
        let method = Method::from_bytes(spec.method.as_bytes())
            .map_err(|_| Failure::fatal("handler.http.method is not a method".to_owned()))?;
        let (body, content_type) = body(&method, &context.payload);
        let mut request =
            self.client
                .request(method, url)
                .headers(headers(spec, context, content_type)?);
        if let Some(body) = body {
            request = request.body(body);
        }
        request.build().map_err(|error| {
            Failure::fatal(format!("the request can't be built: {}", chain(error)))
        })
    }

    async fn exchange(&self, request: Request, spec: &HttpSpec, log: &Log) -> Result<(), Failure> {
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let response = self
            .client
            .execute(request)
            .await
            .map_err(|error| unanswered(&host, error))?;
        let end = judge(response.status(), spec);
        let end = end.map_err(|failure| match retry_after(response.headers()) {
            Some(wait) => failure.after(wait),
            None => failure,
        });
        keep(response, log).await;
        end
    }
}

#[async_trait]
impl Executor for Http {
    async fn execute(&self, handler: &HandlerSpec, context: Context) -> Result<Returned, Failure> {
        let HandlerSpec::Http(spec) = handler else {
            return Err(super::misplaced("http", handler));
        };
        let request = self.request(spec, &context)?;
        tokio::select! {
            biased;
            () = context.stop.cancelled() => Err(super::stopped()),
            end = self.exchange(request, spec, &context.log) => end.map(|()| None),
        }
    }
}

/// A client that goes where it is sent and nowhere else.
pub(super) fn client(
    guard: Guard,
    connect_timeout: Duration,
) -> Result<reqwest::Client, BuildError> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls()?)
        .dns_resolver(Arc::new(guard))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(IDLE_MAX)
        .user_agent(concat!("campanile/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(BuildError::Client)
}

/// TLS with its own provider, so that it doesn't matter what the process has installed. A machine without any roots
/// can still call `http://`.
fn tls() -> Result<rustls::ClientConfig, BuildError> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "failed to read some of the system's TLS roots");
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(BuildError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// The body and what it is: the payload, for methods that carry one.
fn body(method: &Method, payload: &serde_json::Value) -> (Option<String>, Option<&'static str>) {
    if matches!(*method, Method::GET | Method::HEAD) {
        return (None, None);
    }
    match payload {
        serde_json::Value::Null if *method == Method::DELETE => (None, None),
        serde_json::Value::Null => (Some(String::new()), None),
        serde_json::Value::String(text) => (Some(text.clone()), Some("text/plain; charset=utf-8")),
        payload => (Some(payload.to_string()), Some("application/json")),
    }
}

/// The task's own headers, and over them ours: a target must be able to rely on the key.
fn headers(
    spec: &HttpSpec,
    context: &Context,
    content_type: Option<&'static str>,
) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in &spec.headers {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit(name))?;
        if FRAMING_HEADERS.contains(&header.as_str()) {
            return Err(Failure::fatal(format!(
                "handler.http.headers: `{header}` is written by the worker itself: leave it out"
            )));
        }
        let mut value = header_value(name, value)?;
        // It may be a secret: no library is to show it.
        value.set_sensitive(true);
        // A task from before there was a limit may have any number of them.
        headers.try_append(header, value).map_err(|_| {
            Failure::fatal("handler.http.headers: there are more than HTTP can carry")
        })?;
    }
    if let Some(content_type) = content_type {
        headers
            .entry(CONTENT_TYPE)
            .or_insert(HeaderValue::from_static(content_type));
    }
    for (name, value) in [
        ("idempotency-key", context.key.clone()),
        ("campanile-run", context.run.to_string()),
        ("campanile-attempt", context.attempt.to_string()),
        ("campanile-task", context.task.clone()),
        ("campanile-due-at", context.due_at.to_string()),
    ] {
        headers.insert(HeaderName::from_static(name), header_value(name, &value)?);
    }
    Ok(headers)
}

fn header_value(name: &str, value: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unfit(name))
}

fn unfit(name: &str) -> Failure {
    Failure::fatal(format!(
        "handler.http.headers: `{}` is not a header that HTTP can carry",
        name.escape_debug()
    ))
}

/// What a status means for the attempt.
fn judge(status: StatusCode, spec: &HttpSpec) -> Result<(), Failure> {
    let expected = if spec.expect.is_empty() {
        status.is_success()
    } else {
        spec.expect.contains(&status.as_u16())
    };
    if expected {
        return Ok(());
    }
    let answer = format!("the target answered {status}");
    let failure = match status.as_u16() {
        408 | 425 | 429 | 500.. => Failure::retry(answer),
        300..400 => Failure::fatal(format!(
            "{answer}, and redirects are not followed: write the address it leads to, or put the status into \
             handler.http.expect"
        )),
        _ => Failure::fatal(answer),
    };
    Err(failure.with_class(Class::Status(status.as_u16())))
}

/// How long the target asks to be left alone: seconds, or a date, which is measured from the answer's own `Date` where
/// it has one, so that clocks that differ don't matter. What can't be read asks for nothing.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number holds are a long wait, which the limit cuts.
        let seconds = text.parse().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(limits::RETRY_AFTER_MAX));
    }
    let until_ms = date_ms(text)?;
    let sent_at = headers.get(DATE).and_then(|date| date.to_str().ok());
    let now_ms = sent_at
        .and_then(date_ms)
        .unwrap_or_else(|| SystemClock::new().now().as_ms());
    let wait = Duration::from_millis(u64::try_from(until_ms - now_ms).unwrap_or(0));
    Some(wait.min(limits::RETRY_AFTER_MAX))
}

/// An HTTP date in milliseconds since 1970.
pub(super) fn date_ms(text: &str) -> Option<i64> {
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

/// Writes the answer to the log. What is over the log's size isn't even read, and the log says so; an answer that breaks off after its
/// status changes nothing, because the status is the target's word.
async fn keep(mut response: Response, log: &Log) {
    let version = match response.version() {
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    log.push(&format!("{version} {}\n", response.status()));
    let mut output = Output::new(log.clone());
    if let Some(location) = response.headers().get(LOCATION) {
        output.push(b"location: ");
        output.push(location.as_bytes());
        output.push(b"\n");
    }
    output.push(b"\n");
    while !output.is_over() {
        match response.chunk().await {
            Ok(Some(piece)) => output.push(&piece),
            Ok(None) => break,
            Err(error) => {
                output.end();
                log.push(&format!("\n[the answer broke off: {}]\n", chain(error)));
                return;
            }
        }
    }
    output.end();
    if output.is_over() {
        log.push("\n[the rest of the answer is not read]\n");
    }
}

/// The end of an attempt that got no answer.
fn unanswered(host: &str, error: reqwest::Error) -> Failure {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return Failure::not_allowed(refused.to_string());
        }
        source = cause.source();
    }
    let class = class_of(&error);
    Failure::retry(format!("failed to reach `{host}`: {}", chain(error))).with_class(class)
}

/// Whether TLS is what failed. Its error lies in errors of the operating system's kind, one in the other.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let inner = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || inner.is_some_and(|inner| is_tls(inner))
}

/// What kind of trouble kept the answer away.
fn class_of(error: &reqwest::Error) -> Class {
    let mut source = error.source();
    while let Some(cause) = source {
        if is_tls(cause) {
            return Class::Tls;
        }
        if cause.is::<Unresolved>() {
            return Class::Dns;
        }
        source = cause.source();
    }
    if error.is_connect() {
        Class::Connect
    } else {
        Class::Broken
    }
}

/// An error with all its causes, without the address: that may hold a secret.
pub(super) fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
