//! The HTTP service of a node: listener, health, metrics, pages, and behind the token the API. Owns what is served to
//! whom and how it starts and stops; what the answers say is made elsewhere.

mod head;
mod health;
mod listen;
mod metrics;
mod odd;
mod outside;
mod pages;
pub mod patience;
pub mod places;
pub mod proxies;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use campanile_ask::Control;
use campanile_core::system;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

pub use self::health::Health;
use self::listen::Door;
pub use self::metrics::Exposition;
pub use self::outside::Outside;
use self::places::{Caps, Places};
pub use self::tls::Certificate;
use crate::access::{self, Access};
use crate::api::bodies::{self, Bodies};
use crate::api::guard::{self, Guard};
use crate::api::logins::Logins;
use crate::api::problem::Problem;
use crate::config;

/// How long open requests may take once the service stops.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// Connections that wait to be taken; the system may allow fewer (`net.core.somaxconn`).
const QUEUE_MAX: u32 = 4_096;

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address can't be had.
    #[error(
        "setting `listen`: can't listen on {address}: {source}; is another node running there? choose another port"
    )]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the certificate can't be used.
    #[error("setting `{key}`: can't use {}: {message}", path.display())]
    Certificate {
        /// `tls_cert` or `tls_key`.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        message: String,
    },
}

/// What is served.
#[derive(Debug)]
pub struct Views {
    /// The API and the pages, where this node has the role.
    pub control: Option<Arc<Control>>,
    /// Who may ask.
    pub guard: Guard,
    /// Whether `/metrics` needs no token.
    pub metrics_public: bool,
    /// `/healthz` and `/readyz`.
    pub health: Health,
    /// `/metrics`.
    pub metrics: Exposition,
    /// What `/metrics` says of store and broker.
    pub outside: Outside,
    /// The room for bodies.
    pub bodies: Bodies,
}

/// An address that is taken and not served yet.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    certificate: Option<Certificate>,
    places: Arc<Places>,
}

/// The service while it runs.
#[derive(Debug)]
pub struct Serving {
    closing: CancellationToken,
    over: CancellationToken,
    certificate: Option<Certificate>,
    task: tokio::task::JoinHandle<()>,
}

/// Listens with a queue as long as a crowd that comes at once: who finds it full asks again a second later.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart must not wait for connections that the last process closed.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE_MAX)
}

impl Listener {
    /// Takes the address and reads the certificate.
    ///
    /// # Errors
    /// Either can't be had.
    pub async fn bind(settings: &config::Http, slots: u32) -> Result<Self, Error> {
        let certificate = match &settings.tls {
            Some((cert, key)) => Some(Certificate::read(cert, key)?),
            None => None,
        };
        let bind = |source| Error::Bind {
            address: settings.listen,
            source,
        };
        let tcp = listen(settings.listen).map_err(bind)?;
        let address = tcp.local_addr().map_err(bind)?;
        let caps = caps(settings, slots);
        let proxies = settings.trusted_proxies.clone();
        let places = Arc::new(Places::new(caps, move |address| proxies.hold(address)));
        Ok(Self {
            tcp,
            address,
            certificate,
            places,
        })
    }

    /// The address, with the port that was given.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is stopped.
    #[must_use]
    pub fn serve(self, views: Views) -> Serving {
        let door = Door {
            router: router(views, &self.places, self.certificate.is_some()),
            places: self.places,
            tls: self.certificate.clone(),
            closing: CancellationToken::new(),
            over: CancellationToken::new(),
        };
        Serving {
            closing: door.closing.clone(),
            over: door.over.clone(),
            certificate: self.certificate,
            task: system::spawn(door.open(self.tcp)),
        }
    }
}

/// The limits of connections: those of the settings, or what the process's descriptors leave over.
fn caps(settings: &config::Http, slots: u32) -> Caps {
    use nix::sys::resource::{Resource, getrlimit};
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft);
    let all = places::connections_of(descriptors, slots);
    let doors = &settings.doors;
    Caps {
        all: doors.connections.unwrap_or(all),
        per_address: doors.connections_per_address,
    }
}

impl Serving {
    /// Takes no more requests and lets open ones end, for a while.
    pub async fn stop(self) {
        self.closing.cancel();
        let task = self.task;
        let abort = task.abort_handle();
        if system::within(CLOSE_LIMIT, task).await.is_none() {
            self.over.cancel();
            abort.abort();
        }
    }

    /// The certificate, if it serves https.
    #[must_use]
    pub const fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }
}

fn router(views: Views, places: &Arc<Places>, https: bool) -> Router {
    let sources = Arc::new(Sources {
        node: views.metrics,
        outside: views.outside,
        places: Arc::clone(places),
        logins: Arc::clone(&views.guard.logins),
        people: views.guard.people.clone(),
    });
    let metrics = Router::new()
        .route("/metrics", get(metrics))
        .with_state(sources);
    let metrics = if views.metrics_public {
        metrics
    } else {
        let guard = views.guard.clone();
        let metrics = metrics.layer(axum::middleware::from_fn(guard::may_see));
        metrics.layer(axum::middleware::from_fn_with_state(
            guard,
            guard::authenticate,
        ))
    };
    let site = match views.control {
        Some(control) => {
            let bodies = Arc::new(views.bodies);
            let api = crate::api::router(control, views.guard.clone());
            let bounded = axum::middleware::from_fn_with_state(bodies, bodies::bounded);
            let site = pages::router().merge(api.layer(bounded));
            match &views.guard.people {
                Some(people) => site.merge(access::router(Arc::clone(people))),
                None => site,
            }
        }
        None => Router::new().fallback(|| async {
            let detail =
                "this node serves health and metrics alone: give it the role `api` for more";
            Problem::new(StatusCode::NOT_FOUND, detail)
        }),
    };
    let site = site
        .merge(metrics)
        .layer(axum::middleware::from_fn_with_state(
            views.guard,
            guard::same_site,
        ));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Arc::new(views.health))
        .merge(site)
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            let detail = "a defect: the node's log has more";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
        }))
        .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
        .layer(fixed(header::X_FRAME_OPTIONS, "DENY"))
        .layer(fixed(header::CACHE_CONTROL, "no-store"))
        .layer(axum::middleware::from_fn_with_state(https, strict_transport))
        .layer(fixed(
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
             form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        ))
}

fn fixed(name: header::HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    let report = health.report().await;
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, axum::Json(report)).into_response()
}

/// Tells browsers to come back over https alone, for a year. Not where this machine is called `localhost`: they would
/// hold every other service of the machine to it.
async fn strict_transport(State(https): State<bool>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|v| v.to_str().ok()).unwrap_or_default();
    let name = host
        .split(':')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let shared = name == "localhost" || name.ends_with(".localhost");
    let mut response = next.run(request).await;
    if https && !shared {
        let value = HeaderValue::from_static("max-age=31536000");
        response
            .headers_mut()
            .insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
    response
}

/// Whose figures `/metrics` shows.
struct Sources {
    node: Exposition,
    outside: Outside,
    places: Arc<Places>,
    logins: Arc<Logins>,
    people: Option<Arc<Access>>,
}

async fn metrics(State(sources): State<Arc<Sources>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut text = sources.places.text();
    text.push_str(&sources.logins.text());
    if let Some(people) = &sources.people {
        text.push_str(&people.text());
    }
    text.push_str(&sources.outside.text());
    sources.node.refresh().await;
    text.push_str(&sources.node.text());
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
