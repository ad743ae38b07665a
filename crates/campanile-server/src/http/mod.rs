//! The HTTP service of a node: listener, health, metrics, pages, and behind the token the API. Owns what is served to
//! whom and how it starts and stops; what the answers say is made elsewhere.

mod health;
mod metrics;
mod pages;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use campanile::control::Control;
use campanile::system;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

pub use self::health::Health;
pub use self::metrics::Metrics;
use crate::api::guard::{self, Guard};
use crate::api::problem::Problem;
use crate::config;

/// How long open requests may take once the service stops.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

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
    pub metrics: Metrics,
}

/// An address that is taken and not served yet.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// The service while it runs.
#[derive(Debug)]
pub struct Serving {
    closing: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Listener {
    /// Takes the address and reads the certificate.
    ///
    /// # Errors
    /// Either can't be had.
    pub async fn bind(settings: &config::Http) -> Result<Self, Error> {
        let tls = match &settings.tls {
            Some((cert, key)) => Some(tls::config(cert, key)?),
            None => None,
        };
        let bind = |source| Error::Bind {
            address: settings.listen,
            source,
        };
        let tcp = TcpListener::bind(settings.listen).await.map_err(bind)?;
        let address = tcp.local_addr().map_err(bind)?;
        Ok(Self { tcp, address, tls })
    }

    /// The address, with the port that was given.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is stopped.
    #[must_use]
    pub fn serve(self, views: Views) -> Serving {
        let closing = CancellationToken::new();
        let router = router(views);
        let closed = closing.clone().cancelled_owned();
        let task = match self.tls {
            None => system::spawn(async move {
                let served = axum::serve(self.tcp, router)
                    .with_graceful_shutdown(closed)
                    .await;
                report(served);
            }),
            Some(tls) => {
                let listener = tls::TlsListener::new(self.tcp, self.address, tls, closing.clone());
                system::spawn(async move {
                    let served = axum::serve(listener, router)
                        .with_graceful_shutdown(closed)
                        .await;
                    report(served);
                })
            }
        };
        Serving { closing, task }
    }
}

fn report(served: std::io::Result<()>) {
    if let Err(error) = served {
        tracing::error!(%error, "the HTTP service ended");
    }
}

impl Serving {
    /// Takes no more requests and lets open ones end, for a while.
    pub async fn stop(self) {
        self.closing.cancel();
        let task = self.task;
        let abort = task.abort_handle();
        if system::within(CLOSE_LIMIT, task).await.is_none() {
            abort.abort();
        }
    }
}

fn router(views: Views) -> Router {
    let metrics = Router::new()
        .route("/metrics", get(metrics))
        .with_state(Arc::new(views.metrics));
    let metrics = if views.metrics_public {
        metrics
    } else {
        let guard = views.guard.clone();
        metrics.layer(axum::middleware::from_fn_with_state(
            guard,
            guard::authenticate,
        ))
    };
    let site = match views.control {
        Some(control) => pages::router().merge(crate::api::router(control, views.guard.clone())),
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

async fn metrics(State(metrics): State<Arc<Metrics>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.text()).into_response()
}
